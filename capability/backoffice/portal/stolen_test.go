package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// copied is a browser with the cookies of another: a thief's, or the same one after its cookies were set back.
func (b *browser) copied() *browser {
	c := b.w.browser()
	c.Jar.SetCookies(b.address(), b.Jar.Cookies(b.address()))
	return c
}

// A stolen cookie is worth nothing when the session is over: signed out, idle, too long, or ended by an administrator.
func TestStolenSessions(t *testing.T) {
	for what, end := range map[string]func(w *world, b *browser){
		"signed out":            func(_ *world, b *browser) { b.post("/sign-out") },
		"signed out everywhere": func(_ *world, b *browser) { b.copied().post("/me/sign-out", "once", "x") },
		"idle":                  func(w *world, _ *browser) { w.clock = w.clock.Add(web.Idle) },
		"disabled": func(w *world, _ *browser) {
			yes := true
			w.do(entitlement.ChangeLogin{Name: "keller", Disabled: &yes, By: "test"})
		},
		"other roles": func(w *world, _ *browser) {
			w.do(entitlement.ChangeLogin{Name: "keller", Roles: &[]capability.Role{capability.Auditor}, By: "test"})
		},
		"removed": func(w *world, _ *browser) { w.do(entitlement.RemoveLogin{Name: "keller", By: "test"}) },
		"used for eight hours": func(w *world, b *browser) {
			for range 16 {
				w.clock = w.clock.Add(29 * time.Minute)
				b.get("/devices")
			}
			w.clock = w.clock.Add(16 * time.Minute)
		},
	} {
		w := newWorld(t)
		w.clock = time.Now()
		b := w.signedIn("keller", "", capability.Viewer)
		thief := b.copied()
		if a := thief.get("/devices"); a.status != http.StatusOK {
			t.Fatalf("%s: a copied cookie is worth nothing; this shows nothing", what)
		}
		end(w, b)
		for who, x := range map[string]*browser{"the browser": b, "the thief": thief} {
			if a := x.get("/devices"); a.status != http.StatusSeeOther {
				t.Errorf("%s: %s is still in: %v", what, who, a)
			}
			if a := x.post("/me/password", "password", "a new long pass phrase", "again", "a new long pass phrase"); a.status != http.StatusUnauthorized {
				t.Errorf("%s: %s: %v", what, who, a)
			}
		}
	}
}

// Nothing of a page is kept for the back button, and signing out clears what is.
func TestBackButton(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.SecurityAdministrator, capability.LicenseAdministrator)
	for _, path := range []string{"/devices", "/logins", "/me", "/login/slip", "/sign-in", "/nowhere"} {
		if a := b.get(path); !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	if a := b.post("/sign-out"); a.header.Get("Clear-Site-Data") != `"cache", "storage"` || a.location != "/sign-in" {
		t.Error(a)
	}
	for _, path := range []string{"/devices", "/logins", "/me"} {
		if a := b.get(path); a.status != http.StatusSeeOther || strings.Contains(a.body, "keller") {
			t.Errorf("%s: %v", path, a)
		}
	}
}

// A cookie that somebody planted before the sign-in is not the one of the session, and nobody changes anything by a link.
func TestPlantedSessions(t *testing.T) {
	w := newWorld(t)
	w.signedIn("keller", "", capability.Viewer)
	thief := w.signedIn("mallory", "ACME", capability.Viewer)
	victim := thief.copied() // the thief's own session is planted
	if a := victim.post("/sign-in", "name", "keller", "password", password); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	if a := victim.get("/me"); !strings.Contains(a.body, "keller") {
		t.Error(a)
	}
	if a := thief.get("/me"); a.status != http.StatusSeeOther {
		t.Error("the planted session goes on as somebody:", a)
	}
	for _, path := range []string{"/sign-out", "/me/sign-out", "/me/password"} {
		victim.get(path)
		if a := victim.get("/me"); a.status != http.StatusOK {
			t.Errorf("a link to %s did something", path)
		}
	}
}

// Guessing is slowed down by the name and by the address, and what closed a login is in the book.
func TestGuessing(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now()
	w.signedIn("keſler", "", capability.Viewer)
	wrong := func(name string) answer {
		return w.browser().post("/sign-in", "name", name, "password", "not it at all")
	}
	for n, name := range []string{"keſler", "KEſLER", "kesler", "Kesler", "keſler"} { // one login, however it is typed
		if a := wrong(name); a.status != http.StatusUnauthorized || strings.Contains(a.body, "the next one in") {
			t.Fatal(n, a)
		}
	}
	if a := w.browser().post("/sign-in", "name", "keſler", "password", password); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "the next one in") {
		t.Error(a)
	}
	var closed []entitlement.SignIn
	err := w.desk.Ask(func(o *backoffice.Office) error {
		return o.History(1, func(_ uint64, e *entitlement.Entry) error {
			if e.SignIn != nil && e.SignIn.Failed > 0 {
				closed = append(closed, *e.SignIn)
				if e.By != "" {
					t.Errorf("somebody is named who may not have been it: %s", e.By)
				}
			}
			return nil
		})
	})
	if err != nil || len(closed) != 1 || closed[0].Name != "keſler" || closed[0].Failed != 5 || closed[0].How != "password" || closed[0].Closed <= capability.At(w.clock) {
		t.Errorf("%+v %v", closed, err)
	}
	w.clock = w.clock.Add(time.Second)
	if a := w.browser().post("/sign-in", "name", "keſler", "password", password); a.status != http.StatusSeeOther {
		t.Error(a)
	}
}
