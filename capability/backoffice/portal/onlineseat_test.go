package portal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

func (w *world) program(path string, body []byte) answer {
	w.t.Helper()
	return w.browser().send(http.NewRequest(http.MethodPost, w.server.URL+path, bytes.NewReader(body)))
}

// What is no request for a seat is refused in words, and changes nothing: a request that goes by file among them.
func TestSeatRefuses(t *testing.T) {
	w := newWorld(t)
	w.online(entitlement.AnyoneOnline)
	id, m := w.item(), w.machine()
	numbered := m.request(id, nil)
	bare := func(change func(*capability.Request)) []byte {
		return m.request(id, func(r *capability.Request) { r.Number, r.Epoch, r.Outstanding = 0, 0, nil; change(r) })
	}
	for name, test := range map[string]struct {
		body   []byte
		status int
		code   capability.Code
	}{
		"a request by file": {numbered, http.StatusBadRequest, capability.ErrForm},
		"two lines": {bare(func(r *capability.Request) {
			r.Desired = append(r.Desired, capability.Desired{Feature: "render", Count: 1})
		}), http.StatusBadRequest, capability.ErrForm},
		"no line":            {bare(func(r *capability.Request) { r.Desired = nil }), http.StatusBadRequest, capability.ErrForm},
		"two seats":          {bare(func(r *capability.Request) { r.Desired[0].Count = 2 }), http.StatusBadRequest, capability.ErrForm},
		"a report":           {bare(func(r *capability.Request) { r.Operation = capability.Report }), http.StatusConflict, capability.ErrOperation},
		"nobody's":           {bare(func(*capability.Request) {}), http.StatusForbidden, capability.ErrSessionEnded},
		"given back, unheld": {bare(func(r *capability.Request) { r.Desired[0].Count = 0 }), http.StatusOK, 0},
		"garbage":            {[]byte("garbage"), http.StatusUnprocessableEntity, capability.ErrFileKind},
		"too large":          {make([]byte, maxSeatFile+1), http.StatusRequestEntityTooLarge, capability.ErrFileSize},
	} {
		before := w.length()
		a := w.program("/seat", test.body)
		if a.status != test.status || test.code != 0 && a.code(t) != test.code {
			t.Errorf("%s: %s", name, a)
		}
		if w.length() != before {
			t.Errorf("%s: entries", name)
		}
	}
	// And a request for a seat is none by file.
	if a := w.exchange(bare(func(*capability.Request) {}), ""); a.status == http.StatusOK {
		t.Error(a)
	}
	for _, path := range []string{"/seat", "/token"} {
		if a := w.browser().get(path); a.status == http.StatusOK {
			t.Error(path, a)
		}
	}
}

// A form that asks for a token has four fields and nothing else, and what a password is, is in no answer.
func TestTokenForms(t *testing.T) {
	w := newWorld(t)
	w.online(entitlement.AnyoneOnline)
	device := wire.DeviceOf(w.machine().public())
	d := hex.EncodeToString(device[:])
	for name, test := range map[string]struct {
		body string
		code capability.Code
	}{
		"nothing":     {"", capability.ErrForm},
		"no JSON":     {"account=a", capability.ErrForm},
		"other field": {fmt.Sprintf(`{"account":"a","user":"u","password":"secret words","device":%q,"admin":true}`, d), capability.ErrForm},
		"no device":   {`{"account":"a","user":"u","password":"secret words"}`, capability.ErrForm},
		"half device": {fmt.Sprintf(`{"account":"a","user":"u","password":"secret words","device":%q}`, d[:32]), capability.ErrForm},
		"nobody":      {fmt.Sprintf(`{"account":"<b>a</b>","user":"u","password":"secret words","device":%q}`, d), capability.ErrSignIn},
		"too large":   {`{"account":"` + strings.Repeat("x", maxTokenForm) + `"}`, capability.ErrForm},
	} {
		if a := w.program("/token", []byte(test.body)); a.code(t) != test.code || strings.Contains(a.body, "secret words") {
			t.Errorf("%s: %s", name, a)
		}
	}
}

// Who guesses codes learns nothing of users, and who uses one is nobody else in the book: of one who has used a code the answer is that of one whose code waits, and of nobody.
func TestGuessedCodes(t *testing.T) {
	w := newWorld(t)
	w.online(entitlement.AnyoneOnline)
	device := wire.DeviceOf(w.machine().public())
	id := func(name string) entitlement.UserID { return entitlement.UserID{Account: "ACME", Name: name} }
	for _, name := range []string{"waits", "claimed"} {
		w.do(entitlement.AddUser{ID: id(name), Code: entitlement.CodeHash(id(name), "0000-0000-0000-0000"), By: "test"})
	}
	send := func(name, code string) answer {
		form, err := json.Marshal(tokenForm{"ACME", name, password, code, hex.EncodeToString(device[:])})
		if err != nil {
			t.Fatal(err)
		}
		return w.program("/token", form)
	}
	if a := send("claimed", "0000-0000-0000-0000"); a.status != http.StatusOK {
		t.Fatal(a)
	}
	var by string
	if err := w.desk.Ask(func(o *backoffice.Office) error {
		return o.History(1, func(_ uint64, e *entitlement.Entry) error { by = e.By; return nil })
	}); err != nil || by != byOnline {
		t.Errorf("a code was used by %q, %v", by, err)
	}
	nobody := send("nobody", "1111-1111-1111-1111")
	for _, name := range []string{"waits", "claimed"} {
		if a := send(name, "1111-1111-1111-1111"); a.status != nobody.status || strings.ReplaceAll(a.body, name, "nobody") != nobody.body {
			t.Errorf("%s: %s\nof nobody: %s", name, a, nobody)
		}
	}
}

// No form takes guesses of a password back: neither one that is refused for something else, nor one of nobody. And where the producer serves nothing over the network nobody guesses at all.
func TestTokenGuesses(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now() // stands still, so that no wait is over
	device := wire.DeviceOf(w.machine().public())
	send := func(password, code string) capability.Code {
		form, err := json.Marshal(tokenForm{"ACME", "ana@acme.example", password, code, hex.EncodeToString(device[:])})
		if err != nil {
			t.Fatal(err)
		}
		return w.program("/token", form).code(t)
	}
	for range 2 * web.FreeTries {
		if code := send(password, ""); code != capability.ErrOnline {
			t.Fatal(code)
		}
	}
	w.online(entitlement.AnyoneOnline)
	w.do(entitlement.AddUser{ID: entitlement.UserID{Account: "ACME", Name: "ana@acme.example"}, By: "test"})
	for range web.FreeTries {
		if code := send("a guess at somebody's", ""); code != capability.ErrSignIn {
			t.Fatal(code)
		}
		if code := send("short", "0000-0000-0000-0000"); code != capability.ErrForm {
			t.Fatal(code)
		}
	}
	form := fmt.Sprintf(`{"account":"ACME","user":"Ana@acme.example","password":"a guess at somebody's","device":%q}`, hex.EncodeToString(device[:]))
	if a := w.program("/token", []byte(form)); !strings.Contains(a.body, "too many tries") {
		t.Error(a)
	}
}
