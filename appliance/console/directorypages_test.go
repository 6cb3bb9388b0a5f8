package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// directed is a pageWorld with a directory at this address.
func directed(t *testing.T, at string) (*pageWorld, *clerk) {
	t.Helper()
	w := newPages(t)
	k := newClerk(t, w.c)
	w.set(ledger.DirectoryURL, at)
	w.set(ledger.DirectoryRole(capability.Viewer), "cn=all")
	w.set(ledger.DirectoryRole(capability.SecurityAdministrator), "cn=security")
	return w, k
}

func (w *pageWorld) set(name, value string) {
	w.t.Helper()
	if _, err := w.c.Appliance.Change(w.t.Context(), ledger.SetPolicy{Name: name, Value: value, By: "test"}, "test", "test"); err != nil {
		w.t.Fatal(err)
	}
}

// The page to sign in offers a directory where one is asked, and nothing else.
func TestDirectoryIsOffered(t *testing.T) {
	w, _ := directed(t, "")
	page := func() string { return w.browser().page("/sign-in") }
	if p := page(); strings.Contains(p, "directory") {
		t.Error(words(p))
	}
	w.set(ledger.DirectoryURL, "ldaps://dc.example.org:1636")
	if p := page(); !strings.Contains(p, "Login with the directory dc.example.org<") || strings.Contains(p, "/sign-in/directory") {
		t.Error(words(p))
	}
	w.set(ledger.DirectoryURL, "https://idp.example.org/realm")
	if p := w.browser().page("/sign-in?to=/devices"); strings.Contains(p, "Login with the directory") || !strings.Contains(p, `href="/sign-in/directory?to=%2Fdevices">Login at idp.example.org</a>`) {
		t.Error(p)
	}
	b := w.signedIn("security administrator")
	for _, path := range []string{"/users", "/directory"} {
		if p := b.page(path); !strings.Contains(p, "https://idp.example.org/realm") || !strings.Contains(p, "runs") {
			t.Errorf("%s: %s", path, words(p))
		}
	}
	w.set(ledger.DirectoryURL, "")
	if p := b.page("/users"); !strings.Contains(p, "none is asked") {
		t.Error(words(p))
	}
}

// Somebody whom the directory knows uses the pages, and keeps nothing here.
func TestGuestPages(t *testing.T) {
	w, k := directed(t, "ldaps://dc.example.org")
	k.knows("both", "cn=all", "cn=security")
	k.knows("ada", "cn=all")
	guest := func(name, password, with string) (*browser, answer) {
		b := w.browser()
		return b, b.post("/sign-in", "name", name, "password", password, "with", with, "to", "/users")
	}
	for _, c := range [][3]string{{"nobody", "x", "directory"}, {"both", passwordOf("both"), ""}, {"both", pagePassword, "directory"}} {
		if b, a := guest(c[0], c[1], c[2]); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "LH-4302") || strings.Contains(a.body, c[1]+`"`) || b.get("/me").status != http.StatusSeeOther {
			t.Errorf("%q: %d", c, a.status)
		}
	}
	b, a := guest("both", passwordOf("both"), "directory")
	if a.status != http.StatusSeeOther || a.location != "/users" {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if p := b.page("/me"); !strings.Contains(p, "viewer, security administrator") || strings.Contains(p, `name="password"`) || strings.Contains(p, "/me/tokens") {
		t.Error(words(p))
	}
	// The login of the same name is not his, whatever is done to it.
	for path, form := range map[string][]string{"/me/password": {"password-current", pagePassword, "password", "a new pass phrase", "again", "a new pass phrase"}, "/me/tokens": {"token", "x", "days", "3"}} {
		if a := b.post(path, form...); a.status == http.StatusSeeOther || !strings.Contains(a.body, "LH-4314") {
			t.Errorf("%s: %d %s", path, a.status, words(a.body))
		}
	}
	if a := b.post("/users/both/roles", "role", "security administrator", "role", "license administrator", "role", "viewer", "once", b.once("/users")); a.location != "/users/both" {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if p := b.page("/me"); !strings.Contains(p, "viewer, security administrator") || strings.Contains(p, "license administrator") {
		t.Error(words(p))
	}
	// After a while he shows again who he is, to the directory.
	w.passes(6 * 60 * 1e9)
	send := func(password string) answer {
		return b.post("/directory", "set-directory-base", "dc=x", "was-directory-base", "", "password-current", password, "once", b.once("/directory"))
	}
	if a := send(pagePassword); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if a := send(passwordOf("both")); a.status != http.StatusSeeOther || !strings.Contains(b.page("/directory"), `value="dc=x"`) {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	// Two who share a name are two.
	k.mu.Lock()
	k.people["twin"] = &Person{"uid=twin", "ada", []string{"cn=all"}}
	k.mu.Unlock()
	one, _ := guest("ada", passwordOf("ada"), "directory")
	two, _ := guest("twin", passwordOf("twin"), "directory")
	if one.page("/me") == "" || two.page("/me") == "" || (asker{name: "ada", guest: "\x00uid=twin"}).account() == (asker{name: "ada", guest: "\x00uid=ada"}).account() {
		t.Error("they are one")
	}
	// Groups that go take the session with them.
	w.set(ledger.DirectoryRole(capability.Viewer), "")
	if a := one.get("/me"); a.status != http.StatusSeeOther {
		t.Errorf("%d", a.status)
	}
	if _, a := guest("ada", passwordOf("ada"), "directory"); a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-4313") {
		t.Errorf("%d %s", a.status, words(a.body))
	}
}

const idp = "https://idp.example.org/realm"

// toIssuer has a browser begin to sign in: it gives what the issuer would send it back with.
func (b *browser) toIssuer(to string) url.Values {
	b.w.t.Helper()
	a := b.get("/sign-in/directory?to=" + url.QueryEscape(to))
	u, err := url.Parse(a.location)
	if err != nil || a.status != http.StatusSeeOther || u.Host != "idp.example.org" {
		b.w.t.Fatal(a, err)
	}
	return url.Values{"state": {u.Query().Get("state")}, "code": {"ada"}}
}

// An issuer is asked through the browser, which comes back with what this sign-in began with, once.
func TestIssuer(t *testing.T) {
	w, k := directed(t, idp)
	k.knows("ada", "cn=all")
	for _, c := range []struct{ to, want string }{{"/devices?q=x", "/devices?q=x"}, {"https://evil.example/", "/"}, {"//evil.example", "/"}, {"", "/"}} {
		b := w.browser()
		came := b.toIssuer(c.to)
		thief := w.browser() // who has read what this browser has
		at, err := url.Parse(w.server.URL)
		if err != nil {
			t.Fatal(err)
		}
		thief.client.Jar.SetCookies(at, b.client.Jar.Cookies(at))
		a := b.get(backFromIssuer + "?" + came.Encode())
		if a.status != http.StatusOK || a.header.Get("Refresh") != "0; url="+c.want || b.get("/devices").status != http.StatusOK {
			t.Errorf("%q: %v", c.to, a)
		}
		if a := b.get(backFromIssuer + "?" + came.Encode()); a.status != http.StatusUnauthorized {
			t.Errorf("the same answer again: %d", a.status)
		}
		if a := thief.get(backFromIssuer + "?" + came.Encode()); a.status != http.StatusUnauthorized || thief.get("/me").status != http.StatusSeeOther {
			t.Errorf("the same answer from another browser with the same cookie: %d", a.status)
		}
	}
	all := k.all()
	at := slices.IndexFunc(all, func(q DirectoryQuestion) bool { return q.Code != nil })
	if q := all[at].Code; q.Code != "ada" || q.Redirect != w.server.URL+backFromIssuer || q.Redirect != all[at-1].Address.Redirect || q.Trip != all[at-1].Address.Trip || len(q.Trip.Verifier) != 43 || q.Trip.Nonce == q.Trip.State {
		t.Errorf("%+v", q)
	}
	for what, change := range map[string]func(*browser, url.Values){
		"another's state":     func(_ *browser, v url.Values) { v.Set("state", w.browser().toIssuer("/").Get("state")) },
		"no state":            func(_ *browser, v url.Values) { v.Del("state") },
		"another browser":     func(b *browser, _ url.Values) { b.client.Jar = w.browser().client.Jar },
		"no code":             func(_ *browser, v url.Values) { v.Del("code") },
		"an error":            func(_ *browser, v url.Values) { v.Set("error", "denied") },
		"of another issuer":   func(_ *browser, v url.Values) { v.Set("iss", "https://evil.example") },
		"a code nobody gave":  func(_ *browser, v url.Values) { v.Set("code", "guessed") },
		"the issuer is moved": func(*browser, url.Values) { w.set(ledger.DirectoryURL, "https://other.example.org") },
	} {
		b := w.browser()
		came, before := b.toIssuer("/"), k.count()
		change(b, came)
		if a := b.get(backFromIssuer + "?" + came.Encode()); a.status != http.StatusUnauthorized || b.get("/me").status != http.StatusSeeOther {
			t.Errorf("%s: %d %s", what, a.status, words(a.body))
		}
		if asked := k.count() - before; asked > 0 && what != "another's state" && what != "a code nobody gave" {
			t.Errorf("%s: the issuer is asked %d times", what, asked)
		}
		w.set(ledger.DirectoryURL, idp)
	}
	// Where the program would send a browser elsewhere, it is sent nowhere.
	for _, address := range []string{"https://evil.example/authorize", "http://idp.example.org/a", "https://u@idp.example.org/a", "", "//idp.example.org", "javascript:alert(1)", "https://idp.example.org:444/"} {
		k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) { a.Address = address })
		if a := w.browser().get("/sign-in/directory"); a.status != http.StatusServiceUnavailable || a.location != "" || !strings.Contains(a.body, "LH-4311") {
			t.Errorf("%q: %d %s", address, a.status, a.location)
		}
	}
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Denial = &capability.Denial{Code: capability.ErrDirectory, Detail: "secret place"}
	})
	if a := w.browser().get("/sign-in/directory"); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "secret place") {
		t.Error(a)
	}
	k.will(nil)
	// Passwords are not for an issuer, and browsers are not sent to a server of LDAP.
	if a := w.browser().post("/sign-in", "name", "ada", "password", "x", "with", "directory"); a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-4312") {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	w.set(ledger.DirectoryURL, "ldaps://dc.example.org")
	for _, path := range []string{"/sign-in/directory", backFromIssuer} {
		if a := w.browser().get(path); a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-4312") {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	// An address has the issuer asked so often and no oftener.
	var last answer
	for range issuerAtOnce + 1 {
		last = w.browser().get("/sign-in/directory")
	}
	if last.status != http.StatusTooManyRequests {
		t.Errorf("%d after %d", last.status, issuerAtOnce)
	}
}

// What was typed stays on the page when it is refused, and what is different is saved.
func TestDirectoryPage(t *testing.T) {
	w, _ := directed(t, "")
	b := w.signedIn("security administrator")
	p := b.page("/directory")
	for _, name := range []string{"directory-url", "directory-viewer", "directory-license-administrator"} {
		if !strings.Contains(p, fmt.Sprintf(`name="set-%s"`, name)) {
			t.Errorf("no field for %s", name)
		}
	}
	if !strings.Contains(p, w.server.URL+backFromIssuer) {
		t.Error("nobody says where an issuer sends browsers")
	}
	if a := b.post("/directory", "set-directory-url", "http://x", "was-directory-url", "", "once", b.once("/directory")); a.status != http.StatusBadRequest || !strings.Contains(a.body, `value="http://x"`) {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if a := b.post("/directory", "set-directory-url", "ldaps://x", "was-directory-url", "", "set-directory-viewer", "cn=all", "was-directory-viewer", "cn=all", "once", b.once("/directory")); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if p := b.page("/directory"); !strings.Contains(p, "Saved: directory-url") || strings.Contains(p, "Saved: directory-url, directory-viewer") || !strings.Contains(p, `value="ldaps://x"`) {
		t.Error(words(p))
	}
	// Who may set everything else sees them among the settings, and cannot change them there.
	l := w.signedIn("license administrator")
	if p := l.page("/properties"); strings.Contains(p, `name="set-directory-url"`) || !strings.Contains(p, "locked: security administrator") {
		t.Error("the settings of the directory are changed with the others")
	}
	if a := l.post("/properties", "set-directory-url", "ldaps://y", "was-directory-url", "ldaps://x", "once", l.once("/properties")); a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-4303") {
		t.Errorf("%d %s", a.status, words(a.body))
	}
}
