package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// counting is an API of two operations: one counts how often it was done, and one shows something once.
func counting(again *again, done *int, fails *error) func(key, path, body string, by asker) *httptest.ResponseRecorder {
	var mu sync.Mutex
	c := &Console{}
	return func(key, path, body string, by asker) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		err := again.once(w, r, by, path == "/secret", func(w http.ResponseWriter, r *http.Request) {
			c.reply(w, r, func(r *http.Request) (any, error) {
				b, err := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				if *done++; *fails != nil || err != nil {
					return nil, errors.Join(*fails, err)
				}
				return map[string]any{"n": *done, "body": string(b)}, nil
			})
		})
		if err != nil {
			c.reply(w, r, func(*http.Request) (any, error) { return nil, err })
		}
		return w
	}
}

// What has a key is done once and answered alike, also when it is sent many times at one moment; keys are each asker's own, and one is good for one request.
func TestOnceByKey(t *testing.T) {
	var done int
	var fails error
	ask := counting(&again{}, &done, &fails)
	ada, root := asker{by: "login ada"}, asker{by: "uid 0 (pid 7)", permissions: ledger.Everything}
	var all sync.WaitGroup
	bodies := make([]string, 20)
	for i := range bodies {
		all.Go(func() { bodies[i] = ask("k1", "/do", "a", ada).Body.String() })
	}
	all.Wait()
	for _, b := range bodies {
		if b != bodies[0] || !strings.Contains(b, `"n":1`) {
			t.Errorf("%q and %q", b, bodies[0])
		}
	}
	for _, c := range []struct {
		key, path, body string
		by              asker
		n               int // times that anything was done by then
		code            capability.Code
	}{
		{"k1", "/do", "b", ada, 1, capability.ErrKeyUsed},
		{"k1", "/else", "a", ada, 1, capability.ErrKeyUsed},
		{"k1", "/do", "a", root, 2, 0},
		{"k1", "/do", "a", asker{by: "uid 0 (pid 8)"}, 2, 0},
		{"", "/do", "a", ada, 3, 0},
		{"", "/do", "a", ada, 4, 0},
		{strings.Repeat("x", maxKey+1), "/do", "a", ada, 4, capability.ErrForm},
		{"k\n", "/do", "a", ada, 4, capability.ErrForm},
		{"s1", "/secret", "a", ada, 5, 0},
		{"s1", "/secret", "a", ada, 5, capability.ErrKeyUsed},
		{"long", "/do", strings.Repeat("x", maxDoneBytes), ada, 6, 0},
		{"long", "/do", strings.Repeat("x", maxDoneBytes), ada, 6, capability.ErrKeyUsed},
	} {
		w := ask(c.key, c.path, c.body, c.by)
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != c.code || done != c.n || (c.code != 0) != (p.Status == w.Code && w.Code != 200) {
			t.Errorf("%.10s %s %.10s by %s: %d %s, done %d times, want %s after %d", c.key, c.path, c.body, c.by.by, w.Code, p.Code, done, c.code, c.n)
		}
	}
	// What could not be done now is tried again under its key; what is refused for good is not.
	fails = capability.Refuse(capability.ErrBusy, "", "")
	ask("busy", "/do", "a", ada)
	ask("busy", "/do", "a", ada)
	fails = capability.Refuse(capability.ErrNotFound, "", "")
	ask("gone", "/do", "a", ada)
	ask("gone", "/do", "a", ada)
	if done != 9 {
		t.Errorf("done %d times, want 9", done)
	}
	fails = nil
	for i := range maxDone {
		ask(fmt.Sprint("many ", i), "/do", "a", ada)
	}
	before := done
	if ask("k1", "/do", "a", ada); done != before+1 {
		t.Error("the oldest key is remembered beside all others")
	}
}

// However long the answers are, so many bytes of them are kept and no more: the oldest go.
func TestKeptAnswersAreBounded(t *testing.T) {
	var done int
	var fails error
	g := &again{}
	ask := counting(g, &done, &fails)
	body := strings.Repeat("x", maxDoneBytes/2)
	for n := range 3 * maxKept / len(body) {
		ask(fmt.Sprint("k", n), "/do", body, asker{by: "login ada"})
		sum := 0
		for _, d := range g.done {
			sum += len(d.body)
		}
		if sum != g.bytes || sum > maxKept || len(g.done) != len(g.order) {
			t.Fatalf("after %d: %d bytes are kept, %d counted, %d and %d keys", n, sum, g.bytes, len(g.done), len(g.order))
		}
	}
	before := done
	if ask(fmt.Sprint("k", 3*maxKept/len(body)-1), "/do", body, asker{by: "login ada"}); done != before {
		t.Error("the newest is done again")
	}
}

// The API says the same in CBOR to those who ask for it, and takes forms in it.
func TestAPIInCBOR(t *testing.T) {
	c := refusing(t, capability.ErrRollback)
	ask := func(method, path, kind string, body []byte) (*httptest.ResponseRecorder, []byte) {
		r := httptest.NewRequest(method, Base+path, bytes.NewReader(body))
		r.Header.Set("Accept", kind)
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, r)
		b := w.Body.Bytes()
		if strings.HasSuffix(w.Header().Get("Content-Type"), "cbor") {
			var err error
			if b, err = web.FromCBOR(b); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		return w, b
	}
	for _, path := range []string{"health", "trust", "hostids", "features", "nowhere"} {
		a, text := ask(http.MethodGet, path, "application/json", nil)
		b, same := ask(http.MethodGet, path, web.CBORType, nil)
		var x, y map[string]any
		if path == "trust" {
			continue // bytes either way
		}
		if err := errors.Join(json.Unmarshal(text, &x), json.Unmarshal(same, &y)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, v := range []map[string]any{x, y} {
			delete(v, "goroutines")
			delete(v, "clock")
			delete(v, "now")
		}
		if a.Code != b.Code || fmt.Sprint(x) != fmt.Sprint(y) || strings.Replace(a.Header().Get("Content-Type"), "json", "cbor", 1) != b.Header().Get("Content-Type") {
			t.Errorf("%s: %d %s\n%v\n%d %s\n%v", path, a.Code, a.Header().Get("Content-Type"), x, b.Code, b.Header().Get("Content-Type"), y)
		}
	}
}

func TestFormsInCBOR(t *testing.T) {
	form := func(kind string, v any) (ClockForm, error) {
		b, err := web.ToCBOR(v)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(b))
		r.Header.Set("Content-Type", kind)
		var f ClockForm
		err = decode(r, &f)
		return f, err
	}
	if f, err := form(web.CBORType, ClockForm{Time: 1_900_000_000}); err != nil || f.Time != 1_900_000_000 {
		t.Errorf("%+v %v", f, err)
	}
	for _, v := range []any{map[string]any{"tim": 1}, map[string]any{"time": 1, "Time": 2}, []any{}, map[string]any{"time": "x"}} {
		if _, err := form(web.CBORType, v); err == nil {
			t.Errorf("%v is taken", v)
		}
	}
	if _, err := form("application/json", ClockForm{Time: 1}); err == nil {
		t.Error("CBOR is taken for JSON")
	}
}
