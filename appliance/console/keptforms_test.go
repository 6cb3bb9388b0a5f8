package console

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// interrupted has a session end before a form of it is sent: it gives the page that was left, and the form as the page to sign in carries it.
func (b *browser) interrupted() (path, kept string) {
	b.w.t.Helper()
	b.reserve(entry("g", "bob", 2))
	path = "/reservations/edit?id=" + idOf(b.w.reserved()[0])
	b.page(path)
	b.w.passes(web.Idle + 60e9)
	q, err := http.NewRequest(http.MethodPost, b.w.server.URL+"/reservations/edit", strings.NewReader(formValues(editFields(b.w.reserved()[0], "once", "x", "count", "5")).Encode()))
	if err == nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Referer", b.w.server.URL+path)
	}
	a := b.send(q, err)
	if kept = keptIn(a.body); a.status != http.StatusUnauthorized || kept == "" || !strings.Contains(a.body, `<form method="post" action="/sign-in/directory">`) {
		b.w.t.Fatalf("%d %s", a.status, a.body)
	}
	return path, kept
}

// keptIn is the form that a page carries along; empty: none.
func keptIn(page string) string {
	_, kept, _ := strings.Cut(page, `name="kept" value="`)
	kept, _, _ = strings.Cut(kept, `"`)
	return html.UnescapeString(kept)
}

// leave leaves a form and has the browser begin to sign in at the issuer: it gives what the issuer would send it back with.
func (b *browser) leave(path, kept string) url.Values {
	b.w.t.Helper()
	a := b.post("/sign-in/directory", "to", path, "kept", kept)
	to, local := strings.CutPrefix(a.header.Get("Refresh"), "0; url=")
	if !local || a.status != http.StatusOK || to != "/sign-in/directory?to="+url.QueryEscape(path) {
		b.w.t.Fatal(a)
	}
	if a = b.get(to); a.status != http.StatusSeeOther {
		b.w.t.Fatal(a)
	}
	u, err := url.Parse(a.location)
	if err != nil || strings.Contains(a.location, "count") {
		b.w.t.Fatalf("the issuer is told %s: %v", a.location, err)
	}
	return url.Values{"state": {u.Query().Get("state")}, "code": {"ada"}}
}

// operated is a pageWorld with an issuer that knows ada, an operator and security administrator.
func operated(t *testing.T) (*pageWorld, *clerk) {
	t.Helper()
	w, k := directed(t, idp)
	k.knows("ada", "cn=all", "cn=security")
	w.set(ledger.DirectoryRole(capability.Operator), "cn=all")
	return w, k
}

// What was typed into a form is there again after the session has ended and somebody has signed in at an issuer; for who signs in, and for nobody else.
func TestInterruptedAtAnIssuer(t *testing.T) {
	w, _ := operated(t)
	b := w.signedIn("operator")
	path, kept := b.interrupted()
	came := b.leave(path, kept)
	if a := b.get(backFromIssuer + "?" + came.Encode()); a.status != http.StatusOK || a.header.Get("Refresh") != "0; url="+path {
		t.Fatal(a)
	}
	if p := b.page(path); !strings.Contains(p, `value="5"`) || !strings.Contains(p, "save it again") {
		t.Error(words(p))
	}
	if p := b.page(path); strings.Contains(p, `value="5"`) {
		t.Error("it is there twice")
	}
	if got := w.reserved()[0].Count; got != 2 {
		t.Errorf("%d are reserved, and nobody has saved", got)
	}
}

// A form that a stranger has left is in no other browser's page, whatever address that one is led to.
func TestLeftByAStranger(t *testing.T) {
	w, _ := operated(t)
	evil := web.KeptForm{Page: "/directory", Path: "/directory", Values: url.Values{"set-directory-url": {"https://evil.example"}}}.String()
	// left is what the stranger knows then: the query of the address he is led to, and his cookie.
	left := func() (query, sealed string) {
		t.Helper()
		a := w.browser().post("/sign-in/directory", "to", "/directory", "kept", evil)
		query, local := strings.CutPrefix(a.header.Get("Refresh"), "0; url=/sign-in/directory?")
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			if c.Name == "__Host-errand-form" {
				sealed = c.Value
				if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
					t.Errorf("%v", c)
				}
			}
		}
		if a.status != http.StatusOK || sealed == "" || !local {
			t.Fatal(a)
		}
		return query, sealed
	}
	for _, more := range []string{"", "form", "__Host-errand-form"} {
		query := func() string {
			query, sealed := left()
			if more != "" {
				query += "&" + more + "=" + sealed
			}
			return query
		}
		if p := w.browser().page("/sign-in?" + query()); keptIn(p) != "" {
			t.Errorf("%q: %s", more, p)
		}
		b := w.browser()
		a := b.get("/sign-in/directory?" + query())
		u, err := url.Parse(a.location)
		if err != nil || a.status != http.StatusSeeOther {
			t.Fatal(a, err)
		}
		came := url.Values{"state": {u.Query().Get("state")}, "code": {"ada"}}
		if a := b.get(backFromIssuer + "?" + came.Encode()); a.status != http.StatusOK {
			t.Fatal(a)
		}
		if a := b.get("/directory"); a.status != http.StatusOK || strings.Contains(a.body, "evil") {
			t.Errorf("%q: a stranger has filled in the page: %d", more, a.status)
		}
	}
}

// What was typed is still there when nothing comes of signing in at the issuer: in the page, and nowhere else besides.
func TestLeftAndRefused(t *testing.T) {
	w, k := operated(t)
	b := w.signedIn("operator")
	path, kept := b.interrupted()
	left := func(what, again string, a answer, status int) {
		t.Helper()
		if got, _ := web.ParseKept(keptIn(a.body)); a.status != status || got.String() != kept || !strings.Contains(a.body, `name="to" value="`+html.EscapeString(path)+`"`) {
			t.Errorf("%s: %d, %q is left: %s", what, a.status, keptIn(a.body), words(a.body))
		}
		for _, at := range []string{again, "/sign-in"} {
			if again != "" && keptIn(b.get(at).body) != "" {
				t.Errorf("%s: %s has a second one", what, at)
			}
		}
	}
	for what, change := range map[string]func(url.Values){
		"a code nobody gave": func(v url.Values) { v.Set("code", "guessed") },
		"denied":             func(v url.Values) { v.Set("error", "denied") },
	} {
		came := b.leave(path, kept)
		change(came)
		back := backFromIssuer + "?" + came.Encode()
		left(what, back, b.get(back), http.StatusUnauthorized)
	}
	// The program that asks fails before the browser is gone.
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Denial = &capability.Denial{Code: capability.ErrDirectory}
	})
	if a := b.post("/sign-in/directory", "to", path, "kept", kept); a.status != http.StatusOK {
		t.Fatal(a)
	}
	to := "/sign-in/directory?to=" + url.QueryEscape(path)
	left("no answer", to, b.get(to), http.StatusServiceUnavailable)
	k.will(nil)
	// It is left, and the browser goes to the page to sign in instead.
	if a := b.post("/sign-in/directory", "to", path, "kept", kept); a.status != http.StatusOK {
		t.Fatal(a)
	}
	to = "/sign-in?to=" + url.QueryEscape(path)
	left("another way", to, b.get(to), http.StatusOK)
	left("a password that is none", "", b.post("/sign-in", "name", "operator", "password", "wrong", "to", path, "kept", kept), http.StatusUnauthorized)
}

// A form waits only where an issuer is asked, so often and no oftener, and as long as there is room; else it stays in the page, which says why.
func TestLeftWithoutAnIssuer(t *testing.T) {
	w, _ := operated(t)
	kept := web.KeptForm{Page: "/a", Path: "/b", Values: url.Values{"x": {strings.Repeat("y", web.MaxKept/2)}}}.String()
	refused := func(what string, status int, code, want string) {
		t.Helper()
		a := w.browser().post("/sign-in/directory", "to", "/devices", "kept", kept)
		if a.status != status || !strings.Contains(a.body, code) || keptIn(a.body) != want || !strings.Contains(a.body, `name="to" value="/devices"`) || a.header.Get("Refresh") != "" {
			t.Errorf("%s: %d %s", what, a.status, words(a.body))
		}
	}
	w.set(ledger.DirectoryURL, "ldaps://dc.example.org")
	refused("a directory", http.StatusForbidden, "LH-4312", kept)
	w.set(ledger.DirectoryURL, idp)
	n := 0
	for ; w.browser().post("/sign-in/directory", "kept", kept).status == http.StatusOK; n++ {
		if n > waitingBytesEach/len(kept) {
			t.Fatal("without an end")
		}
	}
	if n == 0 {
		t.Error("none has room")
	}
	refused("no room", http.StatusServiceUnavailable, "LH-6007", kept)
	whole := kept
	kept = "page=//evil.example&path=/b&form=x"
	refused("no form", http.StatusBadRequest, "LH-6010", "")
	kept = whole
	for range issuerAtOnce {
		w.browser().post("/sign-in/directory", "kept", kept)
	}
	refused("too often", http.StatusTooManyRequests, "LH-", kept)
}

// What waits has its room, for each address and for all, and its time.
func TestWaitingForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaitingForms()
		form := web.KeptForm{Page: "/a", Path: "/b", Values: url.Values{"x": {strings.Repeat("y", web.MaxKept/2)}}}.String()
		put := func(form, from string) string {
			name, err := w.put(form, from)
			if (name == "") != (err != nil) {
				t.Errorf("%q: %v", name, err)
			}
			return name
		}
		if put("", "192.0.2.1") != "" || put("page=//evil.example&path=/b&form=x", "192.0.2.1") != "" {
			t.Error("what is no form is kept")
		}
		for address, form := range map[string]string{"192.0.2.1": form, "192.0.2.2": "page=/&path=/&form=x"} { // a small one takes more than its text
			n := 0
			for put(form, address) != "" {
				if n++; n > waitingBytesEach {
					t.Fatal("without an end")
				}
			}
			if want := waitingBytesEach / (len(form) + 512); n != want {
				t.Errorf("%d forms of one address, want %d", n, want)
			}
		}
		name := put(form, "192.0.2.3")
		if w.take(name) != form || w.take(name) != "" || w.take("") != "" {
			t.Error("not once")
		}
		name = put(form, "192.0.2.3")
		<-time.After(web.ErrandLife)
		synctest.Wait()
		if w.take(name) != "" || len(w.of) != 0 || !w.room.Take("192.0.2.1", waitingBytesEach) {
			t.Error("it waits longer than an errand")
		}
	})
}
