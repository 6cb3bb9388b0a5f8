package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

var keptField = regexp.MustCompile(`name="kept" value="([^"]*)"`)

// kept is what a page that asks to sign in carries along.
func (a answer) kept() string {
	if m := keptField.FindStringSubmatch(a.body); m != nil {
		return strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`).Replace(m[1])
	}
	return ""
}

// postFrom sends a form as a browser does that is on a page.
func (b *browser) postFrom(page, path string, pairs ...string) answer {
	b.w.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Referer", b.w.server.URL+page)
	}
	return b.send(r, err)
}

// What was typed into a form is there again after the session has ended and somebody has signed in, also where that took two tries.
func TestInterruptedForms(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now()
	w.do(entitlement.SetAccount{Account: entitlement.Account{Name: "ACME"}, By: "test"})
	b := w.signedIn("keller", "", capability.LicenseAdministrator)
	for _, tt := range []struct {
		page, path string
		form       []string
		back       string // where it is filled in again
		want       string
	}{
		{"/users?q=x", "/users", []string{"account", "ACME", "user", `"><b>ortiz`}, "/users?q=x", `value="&#34;&gt;&lt;b&gt;ortiz"`},
		{"/users", "/users", []string{"account", "ACME", "user", "ortiz"}, "/users", `value="ortiz"`}, // refused before, so that the page is where it was sent to
		{"/accounts/edit?name=ACME", "/accounts/edit", []string{"name", "ACME", "contact", "A. Larsen"}, "/accounts/edit?name=ACME", `value="A. Larsen"`},
		{"/items/new/once/more", "/items/new", []string{"customer", "Umbrella"}, "/items/new", `value="Umbrella"`},
	} {
		w.clock = w.clock.Add(web.Idle)
		a := b.postFrom(tt.page, tt.path, append(tt.form, web.Once, "0123", "password-current", "swordfish")...)
		if a.status != http.StatusUnauthorized || !strings.Contains(a.body, "LH-5103") || a.kept() == "" {
			t.Fatalf("%s: %v", tt.path, a)
		}
		if strings.Contains(a.body, "swordfish") || strings.Contains(a.body, "0123") {
			t.Errorf("%s: a password or the name of the form is carried along", tt.path)
		}
		if a = b.post("/sign-in", "name", "keller", "password", "something else", "kept", a.kept()); a.status != http.StatusUnauthorized || a.kept() == "" || !strings.Contains(a.body, `value="keller"`) {
			t.Fatalf("%s: after a password that is wrong: %v", tt.path, a)
		}
		w.clock = w.clock.Add(time.Minute)
		if a = b.post("/sign-in", "name", "keller", "password", password, "kept", a.kept()); a.status != http.StatusSeeOther || a.location != tt.back {
			t.Fatalf("%s: %v", tt.path, a)
		}
		if a = b.get(a.location); a.status != http.StatusOK || !strings.Contains(a.body, tt.want) || !strings.Contains(a.body, "save it again") {
			t.Errorf("%s: %s not on %v", tt.path, tt.want, a)
		}
		if a = b.get(tt.back); strings.Contains(a.body, tt.want) && tt.path != "/accounts/edit" {
			t.Errorf("%s: typed values are there for good", tt.path)
		}
	}
	if a := b.get("/users"); strings.Contains(a.body, "ortiz") {
		t.Error("a form that nobody sent again was done")
	}
}

// Nothing is carried that is too large, has nothing typed in it, or leads elsewhere.
func TestKeptBounds(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	if a := b.postFrom("/users", "/users", "user", strings.Repeat("x", web.MaxKept)); a.status != http.StatusUnauthorized || a.kept() != "" {
		t.Errorf("a large form: %d %q", a.status, a.kept())
	}
	for _, none := range [][]string{{}, {web.Once, "0123"}, {"password", "swordfish"}} {
		if a := b.postFrom("/users", "/users", none...); a.status != http.StatusUnauthorized || a.kept() != "" {
			t.Errorf("%v: %d %q", none, a.status, a.kept())
		}
	}
	r, err := http.NewRequest(http.MethodPost, w.server.URL+"/users", strings.NewReader("user=x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Referer", "https://elsewhere.example/users")
	if k, ok := web.ParseKept(b.send(r, nil).kept()); !ok || k.Page != "/" {
		t.Errorf("the page is %q, %t", k.Page, ok)
	}
	fine := web.KeptForm{Page: "/users", Path: "/users", Values: url.Values{"user": {"x"}}}
	if _, ok := web.ParseKept(fine.String()); !ok {
		t.Fatal(fine)
	}
	for _, k := range []web.KeptForm{
		{Page: "//elsewhere.example", Path: "/users", Values: fine.Values},
		{Page: "https://elsewhere.example/", Path: "/users", Values: fine.Values},
		{Page: "/users", Path: `/\elsewhere.example`, Values: fine.Values},
		{Page: "", Path: "", Values: fine.Values},
		{Page: "/users", Path: "/users", Values: nil},
		{Page: "/users", Path: "/users", Values: url.Values{"user": {strings.Repeat("x", web.MaxKept)}}},
	} {
		if _, ok := web.ParseKept(k.String()); ok {
			t.Errorf("%.80s is kept", k)
		}
	}
}

var withProvider = regexp.MustCompile(`href="(/sign-in/with/corp[^"]*)"`)

// What was typed is there again also after a sign-in at an identity provider; in another browser the link brings nothing.
func TestInterruptedFormsAtAProvider(t *testing.T) {
	i := newIssuer(t)
	w := newWorld(t, i.options)
	w.clock = time.Now()
	w.do(entitlement.SetAccount{Account: entitlement.Account{Name: "ACME"}, By: "test"}, entitlement.AddLogin{Name: "larsen", Roles: []capability.Role{capability.LicenseAdministrator}, Subject: "corp 4711", By: "test"})
	interrupted := func(b *browser) (link string) {
		t.Helper()
		a := b.postFrom("/users?q=x", "/users", "account", "ACME", "user", "ortiz", web.Once, "0123")
		if m := withProvider.FindStringSubmatch(a.body); a.status == http.StatusUnauthorized && m != nil {
			return strings.ReplaceAll(m[1], "&amp;", "&")
		}
		t.Fatal(a)
		return ""
	}
	b, other := w.browser(), w.browser()
	link := interrupted(b)
	if !strings.Contains(link, "kept=") || strings.Contains(link, "ortiz") {
		t.Fatal(link)
	}
	for _, stolen := range []bool{true, false} {
		who := b
		if stolen {
			who = other
		}
		if a := who.back(i.beginAt(who, link)); a.status != http.StatusOK || a.header.Get("Refresh") != "0; url=/users?q=x" {
			t.Fatalf("stolen %t: %v", stolen, a)
		}
		if page := who.get("/users?q=x"); strings.Contains(page.body, `value="ortiz"`) == stolen || strings.Contains(page.body, "save it again") == stolen {
			t.Errorf("stolen %t: %v", stolen, page)
		}
	}
	if page := b.get("/users?q=x"); strings.Contains(page.body, "ortiz") {
		t.Error("typed values are there for good")
	}
	// A ticket is good once, and for so long.
	late := w.browser()
	link = interrupted(late)
	came := i.beginAt(late, link)
	w.clock = w.clock.Add(waitingLife - time.Second)
	i.Say("RS256", map[string]any{"exp": w.clock.Add(time.Minute).Unix()})
	if a := late.back(came); a.status != http.StatusOK || a.header.Get("Refresh") != "0; url=/users?q=x" {
		t.Error(a)
	}
	if text := w.portal.cloaks.fetch(strings.TrimPrefix(link[strings.Index(link, "kept="):], "kept=")); text != "" {
		t.Error("fetched twice")
	}
}

// The cloakroom holds so much, whoever fills it: the oldest forms make room, and what waits for too long is gone.
func TestCloakroom(t *testing.T) {
	now := time.Now()
	c := newCloakroom(func() time.Time { return now })
	first, large := c.leave("a form"), strings.Repeat("x", web.MaxKept)
	for range 2 * maxWaiting / web.MaxKept {
		now = now.Add(time.Second)
		c.leave(large)
	}
	if c.fetch(first) != "" || c.bytes > maxWaiting || len(c.forms) != maxWaiting/web.MaxKept {
		t.Errorf("%d forms of %d bytes", len(c.forms), c.bytes)
	}
	last := c.leave("the last")
	if c.fetch("") != "" || c.fetch("none") != "" || c.fetch(last) != "the last" || c.fetch(last) != "" {
		t.Error("a form is given out for another ticket, or twice, or not at all")
	}
	last = c.leave("the last")
	if now = now.Add(waitingLife); c.fetch(last) != "" {
		t.Error("given out too late")
	}
	if c.leave("") != "" || c.leave(large+"x") != "" {
		t.Error("nothing, or too much, was taken in")
	}
	n := 0
	for _, f := range c.forms {
		n += len(f.text)
	}
	if n != c.bytes {
		t.Errorf("%d bytes wait, %d are counted", n, c.bytes)
	}
}
