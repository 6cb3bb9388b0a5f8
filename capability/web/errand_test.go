package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestErrands(t *testing.T) {
	clock := time.Unix(1_800_000_000, 0)
	e, err := NewErrands(func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	send := func(e *Errands, name, what string) *http.Cookie {
		t.Helper()
		w := httptest.NewRecorder()
		if err := e.Send(w, name, http.SameSiteLaxMode, what); err != nil {
			t.Fatal(err)
		}
		c := w.Result().Cookies()[0]
		if c.Name != "__Host-errand-"+name || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || len(what) > 3 && strings.Contains(c.Value, what) {
			t.Errorf("%v", c)
		}
		return c
	}
	back := func(name string, c *http.Cookie) (string, *Errand, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if c != nil {
			r.AddCookie(&http.Cookie{Name: cookieOf(name), Value: c.Value})
		}
		var what string
		d, err := e.Back(r, name, &what)
		return what, d, err
	}
	c := send(e, "corp", "state-and-nonce")
	what, first, err := back("corp", c)
	if err != nil || what != "state-and-nonce" {
		t.Fatal(what, err)
	}
	_, second, err := back("corp", c)
	if err != nil {
		t.Fatal("it is not done yet:", err)
	}
	if err := e.Done(httptest.NewRecorder(), "corp", first); err != nil {
		t.Error(err)
	}
	if err := e.Done(httptest.NewRecorder(), "corp", second); !errors.Is(err, ErrErrand) {
		t.Error("done twice:", err)
	}

	dropped := httptest.NewRecorder()
	e.Drop(dropped, "corp")
	if list := dropped.Result().Cookies(); len(list) != 1 || list[0].Name != cookieOf("corp") || list[0].Value != "" || list[0].MaxAge >= 0 || list[0].Path != "/" || !list[0].Secure {
		t.Errorf("%v", list)
	}

	stranger, err := NewErrands(func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	good := send(e, "corp", "x")
	changed := *good
	changed.Value = changed.Value[:len(changed.Value)-5] + "AAAAA"
	for what, c := range map[string]*http.Cookie{
		"none": nil, "empty": {}, "of another process": send(stranger, "corp", "x"), "for another provider": send(e, "other", "x"), "changed": &changed, "cut": {Value: good.Value[:20]}, "more": {Value: good.Value + "A"},
		"text": {Value: "!!!"},
	} {
		if _, _, err := back("corp", c); !errors.Is(err, ErrErrand) {
			t.Errorf("%s: %v", what, err)
		}
	}
	clock = clock.Add(ErrandLife - time.Second)
	if _, _, err := back("corp", good); err != nil {
		t.Error(err)
	}
	clock = clock.Add(time.Second)
	if _, _, err := back("corp", good); !errors.Is(err, ErrErrand) {
		t.Error("it came back late:", err)
	}
	if err := e.Send(httptest.NewRecorder(), "corp", http.SameSiteLaxMode, strings.Repeat("x", maxErrand)); err == nil {
		t.Error("an errand that fits no cookie was sent")
	}
	// However many are done, they are forgotten when none of them can come again.
	for n := range maxDone {
		e.done[[32]byte{1, byte(n), byte(n >> 8), byte(n >> 16)}] = clock.Add(ErrandLife)
	}
	_, d, err := back("corp", send(e, "corp", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Done(httptest.NewRecorder(), "corp", d); err == nil {
		t.Error("more are done than can be remembered")
	}
	clock = clock.Add(ErrandLife)
	_, d, err = back("corp", send(e, "corp", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Done(httptest.NewRecorder(), "corp", d); err != nil || len(e.done) != 1 {
		t.Error(err, len(e.done))
	}
}
