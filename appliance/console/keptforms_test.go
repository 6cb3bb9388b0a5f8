package console

import (
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

// What was typed into a form is there again after the session has ended and somebody has signed in at an issuer; for who signs in, and for nobody else.
func TestInterruptedAtAnIssuer(t *testing.T) {
	w, k := directed(t, idp)
	k.knows("ada", "cn=all")
	w.set(ledger.DirectoryRole(capability.Operator), "cn=all")
	b := w.signedIn("operator")
	b.reserve(entry("g", "bob", 2))
	path := "/reservations/edit?id=" + idOf(w.reserved()[0])
	b.page(path)
	w.clock = w.clock.Add(web.Idle + 60e9)
	q, err := http.NewRequest(http.MethodPost, w.server.URL+"/reservations/edit", strings.NewReader(formValues(editFields(w.reserved()[0], "once", "x", "count", "5")).Encode()))
	if err == nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Referer", w.server.URL+path)
	}
	a := b.send(q, err)
	_, kept, _ := strings.Cut(a.body, `name="kept" value="`)
	kept, _, _ = strings.Cut(kept, `"`)
	kept = strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(kept)
	if a.status != http.StatusUnauthorized || kept == "" || !strings.Contains(a.body, `<form method="post" action="/sign-in/directory">`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	leave := func(b *browser) url.Values {
		t.Helper()
		a := b.post("/sign-in/directory", "to", path, "kept", kept)
		to, local := strings.CutPrefix(a.header.Get("Refresh"), "0; url=")
		if !local || a.status != http.StatusOK || !strings.HasPrefix(to, "/sign-in/directory?") {
			t.Fatal(a)
		}
		if a = b.get(to); a.status != http.StatusSeeOther {
			t.Fatal(a)
		}
		u, err := url.Parse(a.location)
		if err != nil || strings.Contains(a.location, "count") {
			t.Fatalf("the issuer is told %s: %v", a.location, err)
		}
		return url.Values{"state": {u.Query().Get("state")}, "code": {"ada"}}
	}
	came := leave(b)
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

// What waits has its room, for each address and for all, and its time.
func TestWaitingForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaitingForms()
		form := web.KeptForm{Page: "/a", Path: "/b", Values: url.Values{"x": {strings.Repeat("y", web.MaxKept/2)}}}.String()
		if w.put("", "192.0.2.1") != "" || w.put("page=//evil.example&path=/b&form=x", "192.0.2.1") != "" {
			t.Error("what is no form is kept")
		}
		var names []string
		for w.put(form, "192.0.2.1") != "" {
			if names = append(names, "x"); len(names) > waitingBytesEach {
				t.Fatal("without an end")
			}
		}
		if want := waitingBytesEach / len(form); len(names) != want {
			t.Errorf("%d forms of one address, want %d", len(names), want)
		}
		name := w.put(form, "192.0.2.2")
		if w.look(name) != form || w.take(name) != form || w.take(name) != "" || w.look("") != "" {
			t.Error("not once")
		}
		name = w.put(form, "192.0.2.2")
		<-time.After(web.ErrandLife)
		synctest.Wait()
		if w.look(name) != "" || len(w.of) != 0 || !w.room.Take("192.0.2.1", waitingBytesEach) {
			t.Error("it waits longer than an errand")
		}
	})
}
