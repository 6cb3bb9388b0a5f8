package portal

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

var shownToken = regexp.MustCompile(`fh_[A-Za-z0-9_-]{43}`)

// A token is made on the own page, and for another's login by who admits it; it is shown once, counts once, and the book does not have it. It is revoked by its name.
func TestTokensArePutOut(t *testing.T) {
	w := newWorld(t)
	keller := w.signedIn("keller", "", capability.SecurityAdministrator)
	w.do(entitlement.AddLogin{Name: "build", Roles: []capability.Role{capability.Operator}, By: "test"}, entitlement.AddLogin{Name: "theirs", Account: "ACME", By: "test"})
	larsen := w.signedIn("larsen", "ACME", capability.SecurityAdministrator)
	for _, c := range []struct {
		browser *browser
		path    string
		form    []string
		status  int
	}{
		{keller, "/login/tokens", []string{"name", "build", "token", "nightly", "days", "366"}, http.StatusBadRequest},
		{keller, "/login/tokens", []string{"name", "build", "token", "nightly", "days", "0"}, http.StatusBadRequest},
		{keller, "/login/tokens", []string{"name", "build", "token", "", "days", "1"}, http.StatusBadRequest},
		{larsen, "/login/tokens", []string{"name", "build", "token", "nightly", "days", "30"}, http.StatusNotFound},
		{larsen, "/login/tokens", []string{"name", "theirs", "token", "nightly", "days", "30"}, http.StatusSeeOther},
		{larsen, "/me/tokens", []string{"token", "own", "days", "30"}, http.StatusSeeOther},
	} {
		if a := c.browser.post(c.path, append(c.form, "do", "make")...); a.status != c.status {
			t.Errorf("%v: %v", c.form, a)
		}
	}
	form := []string{"name", "build", "token", "nightly", "days", "30", "do", "make", "once", "1"}
	a := keller.post("/login/tokens", form...)
	page := keller.get(a.location)
	text := shownToken.FindString(page.body)
	if a.location != "/me/token" || text == "" || !strings.Contains(page.body, restBase+"/openapi.json") {
		t.Fatal(a, page)
	}
	if again := keller.get(a.location); again.status != http.StatusNotFound || strings.Contains(again.body, text) {
		t.Error(again)
	}
	if a := keller.post("/login/tokens", form...); a.location != "/login?name=build" {
		t.Error(a)
	}
	p := &script{w, text}
	if a := p.get("/me"); a.status != http.StatusOK || !strings.Contains(string(a.body), `"by":"keller"`) {
		t.Error(a)
	}
	shown := keller.get("/login?name=build")
	if !strings.Contains(shown.body, "nightly") || strings.Contains(shown.body, text) || strings.Contains(shown.body, "not since this program started") {
		t.Error(shown)
	}
	err := w.desk.Ask(func(o *backoffice.Office) error {
		if strings.Contains(string(o.Book().Snapshot()), text) {
			t.Error("the book has the token")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if a := keller.post("/login/tokens", "name", "build", "token", "nightly", "do", "revoke", "once", "2"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := p.get("/me"); a.status != http.StatusUnauthorized {
		t.Error(a)
	}
	if a := larsen.get("/me"); !strings.Contains(a.body, ">own<") || !strings.Contains(a.body, "not since this program started") {
		t.Error(a)
	}
}

// A token is made only by who has shown lately who it is.
func TestTokensAskForThePassword(t *testing.T) {
	clock := &ticking{}
	w := newWorld(t, clock.options)
	b := w.signedIn("keller", "", capability.SecurityAdministrator)
	clock.seconds.Add(20 * 60)
	for _, more := range [][]string{nil, {"password-current", "not it"}} {
		if a := b.post("/me/tokens", append(more, "token", "x", "days", "1", "do", "make")...); a.status != http.StatusUnauthorized {
			t.Error(a)
		}
	}
	if a := b.post("/me/tokens", "token", "x", "days", "1", "do", "make", "password-current", password); a.status != http.StatusSeeOther {
		t.Error(a)
	}
}
