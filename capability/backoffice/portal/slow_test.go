package portal

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// held is the body of a form that is sent when something else has happened: the server has begun with the request by then, because it has asked for the body.
type held struct {
	meanwhile func()
	io.Reader
}

func (h *held) Read(b []byte) (int, error) {
	if h.meanwhile != nil {
		h.meanwhile()
		h.meanwhile = nil
	}
	return h.Reader.Read(b)
}

// postAfter sends a form of which the server has the beginning before something happens.
func (b *browser) postAfter(meanwhile func(), path, form string) answer {
	b.w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+path, &held{meanwhile, strings.NewReader(form)})
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Expect", "100-continue")
	}
	return b.send(r, err)
}

// Whoever is shut out has no more say, also by a form that was begun before and is sent to its end after.
func TestShutOutMeanwhile(t *testing.T) {
	yes, none := true, []capability.Role{}
	for name, shut := range map[string]entitlement.Command{
		"disabled":                entitlement.ChangeLogin{Name: "Mallory", Disabled: &yes, By: "test"},
		"without roles":           entitlement.ChangeLogin{Name: "Mallory", Roles: &none, By: "test"},
		"removed":                 entitlement.RemoveLogin{Name: "Mallory", By: "test"},
		"signed out":              entitlement.EndSessions{Name: "Mallory", By: "test"},
		"with another password":   entitlement.SetPassword{Name: "Mallory", Password: passwordHash(t), By: "test"},
		"with a code to be used":  entitlement.ChangeLogin{Name: "Mallory", Code: entitlement.LoginHash("Mallory", "x"), Forget: true, By: "test"},
		"called so by a provider": entitlement.ChangeLogin{Name: "Mallory", Subject: new("corp 1"), By: "test"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.signedIn("keller", "", capability.SecurityAdministrator)
			b := w.signedIn("Mallory", "", capability.SecurityAdministrator, capability.LicenseAdministrator)
			b.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
			before := w.length()
			a := b.postAfter(func() { w.do(shut) }, "/logins", "name=another&role=security+administrator")
			if a.status != http.StatusUnauthorized || strings.Contains(a.body, "Mallory</a>") {
				t.Errorf("%v", a)
			}
			if n := w.length() - before; n != 1 {
				t.Errorf("%d entries besides the one that shuts out", n-1)
			}
		})
	}
}

// What has no room is refused for now, at every door, and what has room goes in beside it.
func TestNoRoom(t *testing.T) {
	w := newWorld(t)
	w.signedIn("keller", "", capability.Operator)
	const room = 256 << 10
	w.portal.room = web.NewRoom(room, room)
	w.server.Config.Handler = w.portal.Handler()
	b := w.browser()
	if a := b.post("/sign-in", "name", "keller", "password", password); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	large := strings.Repeat("x", room)
	b.post("/sign-out")
	for path, send := range map[string]func(path string) answer{
		"/sign-in":  func(path string) answer { return b.post(path, "name", large, "password", "x") },
		"/exchange": func(string) answer { return w.exchange([]byte(large), "") },
	} {
		if a := send(path); a.status != http.StatusTooManyRequests || strings.Contains(a.body, large) {
			t.Errorf("%s: %d %.200s", path, a.status, a.body)
		}
	}
	if a := b.post("/sign-in", "name", "keller", "password", password); a.status != http.StatusSeeOther {
		t.Errorf("afterwards: %v", a)
	}
	if a := b.drop(large); a.status != http.StatusTooManyRequests {
		t.Errorf("pasted: %d %.200s", a.status, a.body)
	}
}
