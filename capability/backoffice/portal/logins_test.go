package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

// login is one as the book has it.
func (w *world) login(name string) (l entitlement.Login, there bool) {
	w.t.Helper()
	if err := w.desk.Ask(func(o *backoffice.Office) error { l, there = o.Book().Login(name); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return l, there
}

func (w *world) accounts() {
	w.do(entitlement.SetAccount{Account: entitlement.Account{Name: "ACME"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "ACME East", Parent: "ACME"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "Other"}, By: "test"})
}

var slipCode = regexp.MustCompile(`<strong class="id">([0-9A-Z-]+)</strong>`)

// An administrator adds a login, hands its slip over, and that login signs in; roles, code and end follow.
func TestLoginsPage(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	admin := w.signedIn("keller", "", capability.SecurityAdministrator)
	once := admin.get("/logins").once()
	add := []string{"once", once, "name", "larsen <b>", "account", "ACME", "role", "viewer", "role", "operator"}
	if a := admin.post("/logins", add...); a.status != http.StatusSeeOther || a.location != "/login/slip" {
		t.Fatal(a)
	}
	slip := admin.get("/login/slip")
	m := slipCode.FindStringSubmatch(slip.body)
	if m == nil || !strings.Contains(slip.body, "data:image/svg&#43;xml;base64,") && !strings.Contains(slip.body, "data:image/svg+xml;base64,") || strings.Contains(slip.body, "larsen <b>") {
		t.Fatal(slip)
	}
	if a := admin.get("/login/slip"); a.status != http.StatusNotFound {
		t.Error("the slip is shown twice:", a)
	}
	// The same form again counts once: the code on the slip is still the one.
	if a := admin.post("/logins", add...); a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "/login?name=") {
		t.Error(a)
	}
	if a := admin.post("/logins", "name", "LARSEN <b>", "role", "viewer"); a.status != http.StatusBadRequest || !strings.Contains(a.body, `value="LARSEN &lt;b&gt;"`) {
		t.Error("a name twice:", a)
	}
	if a := admin.post("/logins", "name", "new", "role", "king"); a.status != http.StatusBadRequest {
		t.Error(a)
	}
	b := w.browser()
	if a := b.post("/claim", "name", "larsen <B>", "code", strings.ToLower(m[1]), "password", password, "again", password); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	if a := b.get("/devices"); a.status != http.StatusOK || strings.Contains(a.body, "larsen <b>") {
		t.Error(a)
	}
	if a := b.post("/claim", "name", "larsen <B>", "code", m[1], "password", password, "again", password); a.status != http.StatusConflict {
		t.Error("a code used twice:", a)
	}

	change := func(do string, more ...string) answer {
		t.Helper()
		return admin.post("/login", append([]string{"once", admin.get(loginPath("larsen <b>")).once(), "name", "larsen <b>", "do", do}, more...)...)
	}
	if a := change("roles"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if l, _ := w.login("larsen <b>"); len(l.Roles) != 0 {
		t.Error(l.Roles)
	}
	if a := b.get("/devices"); a.status != http.StatusSeeOther {
		t.Error("a session outlives the roles it was begun with:", a)
	}
	if a := change("provider", "subject", "corp 4711", "local", "yes"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if l, _ := w.login("larsen <b>"); l.Subject != "corp 4711" || !l.Local {
		t.Errorf("%+v", l)
	}
	if a := change("code"); a.location != "/login/slip" {
		t.Error(a)
	}
	if l, _ := w.login("larsen <b>"); l.Password != "" || l.Code == (capability.Digest{}) {
		t.Error("the password is not forgotten")
	}
	for _, do := range []string{"disable", "enable", "sessions"} {
		if a := change(do); a.status != http.StatusSeeOther {
			t.Error(do, a)
		}
		if l, _ := w.login("larsen <b>"); l.Disabled != (do == "disable") {
			t.Error(do, l.Disabled)
		}
	}
	if a := change("anything"); a.status != http.StatusBadRequest {
		t.Error(a)
	}
	if a := change("remove"); a.status != http.StatusSeeOther || a.location != "/logins" {
		t.Error(a)
	}
	if _, there := w.login("larsen <b>"); there {
		t.Error("it is still there")
	}
	// Nobody changes the own login here.
	for _, do := range []string{"roles", "disable", "remove", "provider", "code"} {
		if a := admin.post("/login", "name", "Keller", "do", do); a.status != http.StatusConflict || !strings.Contains(a.body, "LH-5105") {
			t.Error(do, a)
		}
	}
}

// What is at stake asks for the password again, after five minutes.
func TestLoginsAskForThePassword(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now()
	admin := w.signedIn("keller", "", capability.SecurityAdministrator)
	if strings.Contains(admin.get("/logins").body, "password-current") {
		t.Error("asked at once")
	}
	w.clock = w.clock.Add(6 * time.Minute)
	if !strings.Contains(admin.get("/logins").body, "password-current") {
		t.Error("not asked")
	}
	for _, wrong := range []string{"", "not it at all"} {
		if a := admin.post("/logins", "name", "larsen", "password-current", wrong); a.status != http.StatusUnauthorized || !strings.Contains(a.body, `value="larsen"`) || strings.Contains(a.body, "not it at all") {
			t.Error(a)
		}
	}
	if _, there := w.login("larsen"); there {
		t.Error("added without the password")
	}
	if a := admin.post("/logins", "name", "larsen", "password-current", password); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := admin.post("/login", "name", "larsen", "do", "disable"); a.status != http.StatusSeeOther {
		t.Error("asked again at once:", a)
	}
	// Guessing here is slowed down as it is at the door.
	w.clock = w.clock.Add(6 * time.Minute)
	for range 5 {
		admin.post("/login", "name", "larsen", "do", "enable", "password-current", "not it at all")
	}
	if a := admin.post("/login", "name", "larsen", "do", "enable", "password-current", password); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "the next one in") {
		t.Error(a)
	}
}

// A customer's security administrator has the logins of the own account and of those below it, and of others sees and changes none.
func TestLoginsOfACustomer(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	w.do(entitlement.AddLogin{Name: "staff", Roles: []capability.Role{capability.Viewer}, By: "test"}, entitlement.AddLogin{Name: "other", Account: "Other", By: "test"},
		entitlement.AddLogin{Name: "east", Account: "ACME East", By: "test"}, entitlement.AddLogin{Name: "acme", Account: "ACME", By: "test"})
	b := w.signedIn("larsen", "ACME", capability.SecurityAdministrator)
	page := b.get("/logins").body
	for name, shown := range map[string]bool{"east": true, "acme": true, "other": false, "staff": false} {
		if strings.Contains(page, ">"+name+"</a>") != shown {
			t.Errorf("%s is shown: %t", name, !shown)
		}
		want := http.StatusOK
		if !shown {
			want = http.StatusNotFound
		}
		if a := b.get(loginPath(name)); a.status != want {
			t.Errorf("%s: %v", name, a)
		}
		for _, do := range []string{"roles", "code", "disable", "enable", "sessions", "remove", "provider"} {
			was, _ := w.login(name)
			a := b.post("/login", "name", name, "do", do)
			switch now, _ := w.login(name); {
			case !shown && (a.status != http.StatusNotFound || now.Since != was.Since):
				t.Errorf("%s %s: %v", do, name, a)
			case shown && do == "provider" && (a.status != http.StatusForbidden || now.Since != was.Since):
				t.Errorf("%s %s: %v", do, name, a)
			case shown && do != "provider" && a.status != http.StatusSeeOther:
				t.Errorf("%s %s: %v", do, name, a)
			}
			if do == "remove" && shown {
				break
			}
		}
	}
	for _, account := range []string{"", "Other", "Nowhere", "acme"} {
		if a := b.post("/logins", "name", "new", "account", account, "role", "viewer"); a.status != http.StatusNotFound {
			t.Errorf("in %q: %v", account, a)
		}
	}
	if a := b.post("/logins", "name", "new", "account", "ACME East", "role", "viewer", "subject", "corp 1", "local", "yes"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if l, _ := w.login("new"); l.Subject != "" || l.Local || l.Account != "ACME East" {
		t.Errorf("%+v", l)
	}
}

// A password is changed with the current one only, and every session of before is over: that of a stolen cookie too.
func TestOwnPassword(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.Viewer)
	thief := w.browser()
	thief.Jar.SetCookies(b.address(), b.Jar.Cookies(b.address()))
	if a := thief.get("/devices"); a.status != http.StatusOK {
		t.Fatal("a copied cookie is worth nothing; this test shows nothing")
	}
	const other = "another long pass phrase"
	for _, c := range []struct {
		current, password, again string
		status                   int
	}{
		{"", other, other, 401}, {"wrong wrong wrong", other, other, 401}, {password, "short", "short", 400}, {password, other, other + "x", 400}, {password, "my name is keller", "my name is keller", 400},
	} {
		if a := b.post("/me/password", "password-current", c.current, "password", c.password, "again", c.again); a.status != c.status || strings.Contains(a.body, other) {
			t.Errorf("%+v: %v", c, a)
		}
	}
	if a := b.post("/me/password", "password-current", password, "password", other, "again", other); a.status != http.StatusSeeOther || a.location != "/me" {
		t.Fatal(a)
	}
	if a := b.get("/me"); a.status != http.StatusOK || !strings.Contains(a.body, "every other browser is signed out") {
		t.Error(a)
	}
	if a := thief.get("/devices"); a.status != http.StatusSeeOther {
		t.Error("the stolen cookie outlives the password:", a)
	}
	c := w.browser()
	if a := c.post("/sign-in", "name", "keller", "password", password); a.status != http.StatusUnauthorized {
		t.Error(a)
	}
	if a := c.post("/sign-in", "name", "keller", "password", other); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	// Signing out everywhere is everywhere, and what a browser kept goes.
	if a := b.post("/me/sign-out", "once", b.get("/me").once()); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Clear-Site-Data"), "cache") {
		t.Error(a)
	}
	for _, x := range []*browser{b, c} {
		if a := x.get("/devices"); a.status != http.StatusSeeOther {
			t.Error(a)
		}
	}
}

func TestFindLogins(t *testing.T) {
	w := newWorld(t)
	admin := w.signedIn("keller", "", capability.SecurityAdministrator)
	for n := range 120 {
		w.do(entitlement.AddLogin{Name: "user" + string(rune('a'+n%26)) + strings.Repeat("x", n/26), Account: []string{"ACME", "Other"}[n%2], By: "test"})
	}
	seen, path := 0, "/logins?q=USER"
	for pages := 0; path != "" && pages < 10; pages++ {
		a := admin.get(path)
		seen += strings.Count(a.body, `<tr><td><a href="/login?name=user`)
		path = ""
		if m := regexp.MustCompile(`href="(/logins\?[^"]+)">Next`).FindStringSubmatch(a.body); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if seen != 120 {
		t.Errorf("%d of 120 were seen", seen)
	}
	if a := admin.get("/logins?q=acme"); strings.Count(a.body, `<tr><td><a`) != 50 || strings.Contains(a.body, "<td>Other</td>") {
		t.Error(a)
	}
}

// What the book keeps of a form, so that it counts once, says nothing of a password or a code in it.
func TestNoDigestOfAPassword(t *testing.T) {
	digest := func(pairs ...string) capability.Digest {
		v := &visit{asker: asker{r: &http.Request{URL: &url.URL{Path: "/me"}, PostForm: url.Values{}}}}
		for i := 0; i < len(pairs); i += 2 {
			v.r.PostForm.Add(pairs[i], pairs[i+1])
		}
		return web.Asked(v.login.Name, v.r)
	}
	for _, field := range []string{"password", "password-current", "again", "code", "once"} {
		if digest(field, "one") != digest(field, "two") {
			t.Errorf("the digest is of %s", field)
		}
	}
	if digest("name", "one") == digest("name", "two") || digest("a", "b", "c", "d") == digest("a", "bc", "c", "d") {
		t.Error("two forms count as one")
	}
}

// Nobody is called as the endpoint that answers by itself, so that the book does not say of the one that it was the other.
func TestNobodyIsTheEndpoint(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "ACME", capability.SecurityAdministrator)
	if a := b.post("/logins", "name", "Online Endpoint", "account", "ACME"); a.status != http.StatusBadRequest {
		t.Error(a.status)
	}
	if _, there := w.login(byOnline); there {
		t.Error("it is a login")
	}
}

// A name that a device of another account has is taken, and that is all that is said of it.
func TestTakenNames(t *testing.T) {
	w := newWorld(t)
	theirs, ours := hostid.OfDigest(hostid.TPMEK, [32]byte{1}), hostid.OfDigest(hostid.TPMEK, [32]byte{2})
	w.do(entitlement.SetDevice{Device: entitlement.Device{ID: theirs, Name: "Mill", Account: "Other"}, By: "test"})
	b := w.signedIn("larsen", "ACME", capability.LicenseAdministrator)
	if a := b.post("/devices/new", "id", ours.String(), "name", "mill"); a.status != http.StatusBadRequest || strings.Contains(a.body, theirs.Short()) || strings.Contains(a.body, "Mill") {
		t.Error(a)
	}
}
