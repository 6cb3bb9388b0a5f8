package console

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

// The code that root sees makes the first login, once, and with nothing else.
func TestFirstPage(t *testing.T) {
	w := newPagesWith(t, func(w *pageWorld) {})
	b := w.browser()
	if a := b.get("/"); a.location != "/sign-in" || !strings.Contains(b.page("/sign-in"), "Make the first login") {
		t.Error("nobody is led to the first login")
	}
	code, err := w.c.firstLoginCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	form := func(code, password, again string) answer {
		return b.post("/first", "code", code, "name", "keller", "password", password, "again", again)
	}
	for _, wrong := range [][3]string{{"AAAA-AAAA", pagePassword, pagePassword}, {code, pagePassword, pagePassword + "x"}, {code, "short", "short"}, {"", pagePassword, pagePassword}} {
		if a := form(wrong[0], wrong[1], wrong[2]); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, `value="keller"`) || strings.Contains(a.body, pagePassword) {
			t.Errorf("%.4q: %d", wrong[0], a.status)
		}
	}
	if a := form(strings.ToLower(code), pagePassword, pagePassword); a.status != http.StatusSeeOther || a.location != "/users" {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if p := b.page("/users"); !strings.Contains(p, "You are the first login") || !strings.Contains(p, "security administrator") {
		t.Error(words(p))
	}
	if a := w.browser().post("/first", "code", code, "name", "another", "password", pagePassword, "again", pagePassword); a.status == http.StatusSeeOther {
		t.Error("the code makes another login")
	}
}

var tokenText = regexp.MustCompile(`lh_[A-Za-z0-9_-]{20,}`)

// Logins are made, changed and removed by who admits; what a login may do is so with its next click.
func TestUserPages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("security administrator")
	send := func(path string, pairs ...string) answer {
		return b.post(path, append(pairs, "once", b.once("/users"))...)
	}
	new := []string{"name", "m.chen <b>", "role", "viewer", "password", pagePassword + "2", "again", pagePassword + "2"}
	if a := send("/users", new...); a.status != http.StatusSeeOther || a.location != userPath("m.chen <b>") {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if a := send("/users", new...); a.status == http.StatusSeeOther || !strings.Contains(a.body, "LH-4307") || strings.Contains(a.body, pagePassword) || !strings.Contains(a.body, "m.chen &lt;b&gt;") {
		t.Errorf("twice: %d", a.status)
	}
	if a := send("/users", "name", "x", "role", "emperor", "password", pagePassword, "again", pagePassword); a.status != http.StatusBadRequest {
		t.Errorf("a role that is none: %d", a.status)
	}
	chen := w.browser()
	if a := chen.post("/sign-in", "name", "M.CHEN <b>", "password", pagePassword+"2"); a.status != http.StatusSeeOther {
		t.Fatalf("%d", a.status)
	}
	if chen.get("/audit").status != http.StatusForbidden {
		t.Error("a viewer audits")
	}
	if a := send(userPath("m.chen <b>")+"/roles", "role", "auditor"); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if a := chen.get("/audit"); a.status != http.StatusSeeOther {
		t.Errorf("a session from before a change: %d", a.status)
	}
	if a := chen.post("/sign-in", "name", "m.chen <b>", "password", pagePassword+"2"); a.status != http.StatusSeeOther || chen.get("/audit").status != http.StatusOK {
		t.Error("an auditor does not audit")
	}
	// A token is shown once, and is a program's.
	if a := chen.post("/me/tokens", "once", "t1", "do", "make", "token", "nightly", "days", "30"); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	text := tokenText.FindString(chen.page("/me"))
	if text == "" || tokenText.MatchString(chen.page("/me")) {
		t.Error("a token is shown never, or twice")
	}
	api := func(token string) int {
		r, err := http.NewRequest(http.MethodGet, w.server.URL+Base+"features", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return w.browser().send(r, nil).status
	}
	if got := api(text); got != http.StatusOK {
		t.Errorf("with the token: %d", got)
	}
	if got := api(text + "x"); got != http.StatusUnauthorized {
		t.Errorf("with another: %d", got)
	}
	if a := chen.get(Base + "features"); a.status != http.StatusOK || !strings.Contains(a.body, `"feature"`) {
		t.Errorf("the REST API with a session: %d", a.status)
	}
	if a := w.browser().get(Base + "features"); a.status != http.StatusUnauthorized {
		t.Errorf("the REST API without: %d", a.status)
	}
	if a := chen.post("/me/tokens", "once", "t2", "do", "end", "token", "nightly"); a.status != http.StatusSeeOther || api(text) != http.StatusUnauthorized {
		t.Errorf("ended: %d", a.status)
	}
	// The own password, with the current one.
	change := func(current string) answer {
		return chen.post("/me/password", "password-current", current, "password", pagePassword+"3", "again", pagePassword+"3")
	}
	if a := change("something else"); a.status != http.StatusUnauthorized {
		t.Errorf("changed without the current one: %d", a.status)
	}
	if a := change(pagePassword + "2"); a.status != http.StatusSeeOther || !strings.Contains(chen.page("/me"), "The password is changed") {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if a := send(userPath("m.chen <b>")+"/state", "do", "disable"); a.status != http.StatusSeeOther || chen.get("/overview").status != http.StatusSeeOther {
		t.Error("who is disabled is still in")
	}
	if a := send(userPath("m.chen <b>")+"/state", "do", "remove"); a.status != http.StatusSeeOther || a.location != "/users" || b.get(userPath("m.chen <b>")).status != http.StatusNotFound {
		t.Error("who is removed is still there")
	}
	// The last who admits others stays.
	if a := send(userPath("both")+"/state", "do", "remove"); a.status != http.StatusSeeOther {
		t.Error(a.status)
	}
	for path, pairs := range map[string][]string{"/state": {"do", "disable"}, "/roles": {"role", capability.Viewer.String()}} {
		if a := send(userPath("security administrator")+path, pairs...); a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-4305") {
			t.Errorf("%s of the last one: %d", path, a.status)
		}
	}
	if a := send(userPath("security administrator")+"/state", "do", "remove"); a.status != http.StatusForbidden {
		t.Errorf("the last one is removed: %d", a.status)
	}
}

// What matters more asks for the password again, once some minutes have gone by.
func TestPasswordAgain(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("both")
	for _, path := range []string{"/time", "/users"} {
		if strings.Contains(b.page(path), `name="password-current"`) {
			t.Errorf("%s asks at once", path)
		}
	}
	w.passes(web.Fresh)
	if !strings.Contains(b.page("/time"), `name="password-current"`) {
		t.Error("it is not asked again")
	}
	for _, wrong := range []string{"", "something else"} {
		if a := b.post("/time", "do", "right", "password-current", wrong); a.status == http.StatusSeeOther {
			t.Errorf("the time is stated with %q", wrong)
		}
	}
	if a := b.post("/time", "do", "right", "password-current", pagePassword); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if strings.Contains(b.page("/time"), `name="password-current"`) {
		t.Error("asked again at once")
	}
}

// A form that takes long to come is done in the name of who may still when its end has come.
func TestSlowForm(t *testing.T) {
	w := newPages(t)
	slow := w.signedIn("operator")
	key := slow.once("/reservations/add")
	body, rest := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, w.server.URL+"/reservations/add", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	came := make(chan answer)
	go func() { came <- slow.send(r, nil) }()
	whole := formValues([]string{"once", key, "do", "submit", "pending", new(entry("g", "bob", 1)).line()}).Encode()
	if _, err := io.WriteString(rest, whole[:10]); err != nil { // taken up by who answers
		t.Fatal(err)
	}
	b := w.signedIn("security administrator")
	if a := b.post(userPath("operator")+"/roles", "once", b.once("/users"), "role", "viewer"); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if _, err := io.WriteString(rest, whole[10:]); err != nil {
		t.Fatal(err)
	}
	rest.Close()
	if a := <-came; a.status == http.StatusSeeOther || len(w.reserved()) != 0 {
		t.Errorf("%d, %d reserved", a.status, len(w.reserved()))
	}
}

// While the trusted storage cannot be used, the overview says so and what to do; nothing can be changed that would be gone with its repair.
func TestPagesOfALostStorage(t *testing.T) {
	w := newPagesWith(t, func(w *pageWorld) {
		w.c = &Console{
			Appliance: refusing(t, capability.ErrCorrupt).Appliance, Lost: capability.Refuse(capability.ErrCorrupt, "", "test"), Host: w.c.Host, Now: w.c.Now, Log: w.c.Log, Certificate: w.c.Certificate, Pepper: w.c.Pepper,
		}
	})
	code, err := w.c.firstLoginCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	if a := b.post("/first", "code", code, "name", "keller", "password", pagePassword, "again", pagePassword); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if a := b.post(userPath("keller")+"/roles", "once", "1", "role", "security administrator", "role", "license administrator"); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if p := words(b.page("/overview")); !strings.Contains(p, "refusing") || !strings.Contains(p, "LH-4004") {
		t.Error(p)
	}
	for _, path := range []string{"/offline", "/time", "/hostids", "/help", "/about"} {
		b.page(path)
	}
	for _, path := range []string{"/reservations/add", "/properties", "/pools/model/delete", "/seats/free", "/online"} {
		if a := b.post(path, "once", "x"+path); a.status != http.StatusConflict || !strings.Contains(a.body, "LH-4004") {
			t.Errorf("%s: %d %s", path, a.status, words(a.body))
		}
	}
	for _, path := range []string{"/features", "/devices", "/properties", "/reports/usage"} {
		if a := b.get(path); a.status != http.StatusConflict || !strings.Contains(a.body, "LH-4004") {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := b.post("/offline/request", "once", "r"); a.status != http.StatusSeeOther {
		t.Errorf("no request for the repair: %d %s", a.status, words(a.body))
	}
}
