package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// listener is a browser that listens to the events of a page.
type listener struct {
	t      *testing.T
	leave  context.CancelFunc
	header http.Header
	over   chan struct{} // closed: the answer has ended

	mu     sync.Mutex
	status int
	came   strings.Builder
	deaf   bool          // it reads nothing more
	cut    chan struct{} // closed: whoever writes to it has waited long enough
}

func (l *listener) Header() http.Header             { return l.header }
func (l *listener) Flush()                          {}
func (l *listener) SetReadDeadline(time.Time) error { return nil }
func (l *listener) SetWriteDeadline(time.Time) error {
	close(l.cut)
	return nil
}

func (l *listener) WriteHeader(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		<-l.cut
		return 0, os.ErrDeadlineExceeded
	}
	return l.came.Write(b)
}

// events are what has come since the last call, comments left out.
func (l *listener) events() (list []string) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range strings.Split(l.came.String(), "\n\n") {
		if e != "" && !strings.HasPrefix(e, ":") {
			list = append(list, e)
		}
	}
	l.came.Reset()
	return list
}

// ended says whether the answer has.
func (l *listener) ended() bool {
	synctest.Wait()
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// theatre is a console without a network, in a bubble of its own time.
type theatre struct {
	*pageWorld
	pages http.Handler
}

func play(t *testing.T, f func(t *testing.T, w *theatre)) {
	synctest.Test(t, func(t *testing.T) {
		w := &theatre{pageWorld: newPageWorld(t, (*pageWorld).addFirst)}
		w.pages = w.c.Pages()
		f(t, w)
		w.c.EndLive()
		synctest.Wait()
	})
}

// enter signs a login in, and gives its cookie.
func (w *theatre) enter(name string) *http.Cookie {
	w.t.Helper()
	w.login(name)
	r := httptest.NewRequest(http.MethodPost, "https://127.0.0.1/sign-in", strings.NewReader("name="+name+"&password="+strings.ReplaceAll(pagePassword, " ", "+")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	w.pages.ServeHTTP(answer, r)
	for _, c := range answer.Result().Cookies() {
		if c.Name == "__Host-session" {
			return c
		}
	}
	w.t.Fatalf("sign in as %s: %d", name, answer.Code)
	return nil
}

func (w *theatre) request(path string, session *http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://127.0.0.1"+path, nil)
	if session != nil {
		r.AddCookie(session)
	}
	return r
}

// get has a page, which keeps the session alive.
func (w *theatre) get(path string, session *http.Cookie) int {
	answer := httptest.NewRecorder()
	w.pages.ServeHTTP(answer, w.request(path, session))
	return answer.Code
}

func (w *theatre) listen(path string, session *http.Cookie) *listener {
	l := &listener{t: w.t, header: http.Header{}, over: make(chan struct{}), cut: make(chan struct{}), status: http.StatusOK}
	r := w.request(path, session)
	ctx, leave := context.WithCancel(r.Context())
	l.leave = leave
	w.t.Cleanup(leave)
	go func() {
		w.pages.ServeHTTP(l, r.WithContext(ctx))
		close(l.over)
	}()
	synctest.Wait()
	return l
}

// The parts come at once, again within seconds when something has happened, and not when nothing has.
func TestLivePages(t *testing.T) {
	play(t, func(t *testing.T, w *theatre) {
		session := w.enter("both")
		overview, seats := w.listen("/live/overview", session), w.listen("/live/seats?feature=f", session)
		for name, l := range map[string]*listener{"now": overview, "waiting": seats} {
			first := l.events()
			if len(first) != 1 || !strings.HasPrefix(first[0], "event: shown\ndata: <div id=") || !strings.Contains(first[0], `<div id="`+name+`">`) || !strings.Contains(first[0], `<div id="list">`) || strings.Contains(first[0], "<nav class=\"side") {
				t.Errorf("%s: %d %q", name, l.status, first)
			}
			if kind := l.header.Get("Content-Type"); kind != "text/event-stream" || l.header.Get("Cache-Control") != "no-store" || !strings.Contains(l.header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s: %v", name, l.header)
			}
		}
		<-time.After(10 * liveAgain)
		if late := append(overview.events(), seats.events()...); len(late) > 0 {
			t.Errorf("nothing has changed, and %q came", late)
		}
		if _, err := w.c.dropLease(t.Context(), Drop{Device: Host{"STRING", "d"}, Feature: "f", Reason: "test"}, "test"); err != nil {
			t.Fatal(err)
		}
		<-time.After(livePause)
		if now := seats.events(); len(now) != 1 || !strings.Contains(now[0], "not renewed") {
			t.Errorf("a seat that is freed: %q", now)
		}
		overview.leave()
		if !overview.ended() || seats.ended() {
			t.Error("who leaves has left, and nobody else")
		}
		w.c.EndLive()
		if !seats.ended() {
			t.Error("a daemon that stops waits for who listens")
		}
	})
}

// To listen keeps no session alive, and a stream ends with what allowed it.
func TestLiveEnds(t *testing.T) {
	for name, row := range map[string]struct {
		login string
		act   func(w *theatre, session *http.Cookie)
		over  bool
	}{
		"29 idle minutes": {"viewer", func(w *theatre, _ *http.Cookie) { w.passes(29 * time.Minute) }, false},
		"31 idle minutes": {"viewer", func(w *theatre, _ *http.Cookie) { w.passes(31 * time.Minute) }, true},
		"two times 16 minutes": {"viewer", func(w *theatre, _ *http.Cookie) {
			w.passes(16 * time.Minute)
			<-time.After(liveAgain)
			w.passes(16 * time.Minute)
		}, true},
		"with a page between them": {"viewer", func(w *theatre, session *http.Cookie) {
			w.passes(16 * time.Minute)
			if code := w.get("/overview", session); code != http.StatusOK {
				w.t.Fatal(code)
			}
			w.passes(16 * time.Minute)
		}, false},
		"signed out": {"viewer", func(w *theatre, session *http.Cookie) {
			r := w.request("/sign-out", session)
			r.Method = http.MethodPost
			w.pages.ServeHTTP(httptest.NewRecorder(), r)
		}, true},
		"without its role": {"viewer", func(w *theatre, _ *http.Cookie) {
			if _, err := w.c.Appliance.Change(w.t.Context(), ledger.ChangeLogin{Name: "viewer", Roles: &[]capability.Role{capability.Auditor}, By: "test"}, "test", "test"); err != nil {
				w.t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, w *theatre) {
				session := w.enter(row.login)
				l := w.listen("/live/overview", session)
				l.events()
				row.act(w, session)
				<-time.After(2 * liveAgain)
				if came := l.events(); row.over != l.ended() || row.over && (len(came) == 0 || came[len(came)-1] != "event: over\ndata") {
					t.Errorf("ended %t, and %q came", l.ended(), came)
				}
			})
		})
	}
}

// Who may not see a page hears nothing of it; an address has some streams and no more, and one that is not read is left.
func TestLiveBounds(t *testing.T) {
	play(t, func(t *testing.T, w *theatre) {
		for name, session := range map[string]*http.Cookie{"a stranger": nil, "nothing": w.enter("nothing")} {
			if l := w.listen("/live/overview", session); !l.ended() || l.status != http.StatusUnauthorized || strings.Contains(l.came.String(), "shown") {
				t.Errorf("%s: %d %q", name, l.status, l.came.String())
			}
		}
		session := w.enter("both")
		var all []*listener
		for range 4 {
			all = append(all, w.listen("/live/seats", session))
		}
		if l := w.listen("/live/seats", session); !l.ended() || l.status != http.StatusServiceUnavailable {
			t.Errorf("one more: %d", l.status)
		}
		deaf := all[0]
		deaf.mu.Lock()
		deaf.deaf = true
		deaf.mu.Unlock()
		<-time.After(liveAgain + liveUnread + time.Second)
		if !deaf.ended() || all[1].ended() {
			t.Error("who does not read is not left")
		}
		if l := w.listen("/live/seats", session); l.ended() {
			t.Errorf("its place is not free: %d", l.status)
		}
		if code := w.get("/live/users", session); code != http.StatusNotFound {
			t.Errorf("events of a page that has none: %d", code)
		}
	})
}

// All who look at a page look at the ledger together: once in livePause at most, and never at what was before that which they know of.
func TestLiveLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, looks, begin, journal := newLive(), 0, time.Now(), uint64(0)
		look := func(ctx context.Context, page string, head uint64) any {
			what, err := l.look(ctx, page, head, func() uint64 { return max(head, journal) }, func() (any, error) {
				looks++
				return looks, nil
			})
			if err != nil {
				return err
			}
			return what
		}
		var all sync.WaitGroup
		for range liveStreams {
			all.Go(func() {
				if got := look(t.Context(), "/seats", 7); got != 1 {
					t.Errorf("look %v", got)
				}
			})
		}
		all.Wait()
		if got := look(t.Context(), "/overview", 7); got != 2 {
			t.Errorf("the looks of two pages are one: %v", got)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("who is first waits for %s", took)
		}
		hurried, hurry := context.WithTimeout(t.Context(), livePause/2)
		defer hurry()
		if got := look(hurried, "/seats", 8); got != context.DeadlineExceeded {
			t.Errorf("what is older than the entry: %v", got)
		}
		for range liveStreams {
			all.Go(func() {
				if got := look(t.Context(), "/seats", 8); got != 3 || time.Since(begin) != livePause {
					t.Errorf("look %v after %s", got, time.Since(begin))
				}
			})
		}
		all.Wait()
		for n := range uint64(liveStreams) { // while they wait there are more and more entries, and one look has them all
			journal = 9 + n
			all.Go(func() {
				if got := look(t.Context(), "/seats", 9+n); got != 4 || time.Since(begin) != 2*livePause {
					t.Errorf("look %v after %s", got, time.Since(begin))
				}
			})
			synctest.Wait()
		}
		all.Wait()
		<-time.After(livePause)
		synctest.Wait()
		if len(l.looks) != 0 {
			t.Errorf("%d looks are kept", len(l.looks))
		}
		if got := look(t.Context(), "/seats", 8); got != 5 {
			t.Errorf("nothing has happened, and what is old is shown: %v", got)
		}
		l.end()
		if got := look(t.Context(), "/seats", 99); got != 6 {
			t.Errorf("a daemon that stops waits: %v", got)
		}
		<-time.After(livePause)
	})
}

// What is shared is what the ledger has. Each sees of it what his address asks for and his roles allow, whoever came first.
func TestLiveIsEachOnes(t *testing.T) {
	play(t, func(t *testing.T, w *theatre) {
		serves, sees := w.enter("both"), w.enter("viewer")
		if w.enter("nothing"); w.listen("/live/seats", nil).status != http.StatusUnauthorized {
			t.Error("a stranger listens")
		}
		list := []*listener{w.listen("/live/seats", serves), w.listen("/live/seats", sees), w.listen("/live/seats?feature=other", sees), w.listen("/live/seats?idle=999999", serves)}
		check := func(what string) {
			t.Helper()
			for n, want := range []struct{ seat, form bool }{{true, true}, {true, false}, {false, false}, {false, false}} {
				came := strings.Join(list[n].events(), "")
				if strings.Contains(came, ">d/STRING<") != want.seat || strings.Contains(came, "/seats/free") != want.form {
					t.Errorf("%s, stream %d: %s", what, n, came)
				}
			}
		}
		check("at first")
		l := w.c.streams()
		l.mu.Lock()
		if looks := l.looks; len(looks) != 1 || looks["/seats"] == nil || len(looks["/seats"].what.(Seats).Held) == 0 {
			t.Errorf("four streams of one page, and %v were looked at", looks)
		}
		l.mu.Unlock()
		for range 3 { // whoever looks first now
			if _, err := w.c.dropLease(t.Context(), Drop{Device: Host{"STRING", "d"}, Feature: "f", Reason: "test"}, "test"); err != nil {
				t.Fatal(err)
			}
			<-time.After(2 * livePause)
		}
		for n, l := range list[:2] {
			if came := strings.Join(l.events(), ""); !strings.Contains(came, "not renewed") || strings.Contains(came, "/seats/free") {
				t.Errorf("stream %d: %s", n, came)
			}
		}
	})
}

// Who may not see the page any more when its parts are there, after a wait, has none of them.
func TestLiveWaitIsOver(t *testing.T) {
	for name, end := range map[string]func(w *theatre, session *http.Cookie){
		"signed out": func(w *theatre, session *http.Cookie) {
			r := w.request("/sign-out", session)
			r.Method = http.MethodPost
			w.pages.ServeHTTP(httptest.NewRecorder(), r)
		},
		"without its role": func(w *theatre, _ *http.Cookie) {
			if _, err := w.c.Appliance.Change(w.t.Context(), ledger.ChangeLogin{Name: "viewer", Roles: &[]capability.Role{capability.Auditor}, By: "test"}, "test", "test"); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, w *theatre) {
				session := w.enter("viewer")
				if first := w.listen("/live/seats", w.enter("both")).events(); len(first) != 1 {
					t.Fatalf("%q", first)
				}
				if _, err := w.c.dropLease(t.Context(), Drop{Device: Host{"STRING", "d"}, Feature: "f", Reason: "test"}, "test"); err != nil {
					t.Fatal(err)
				}
				l := w.listen("/live/seats", session)
				if came := l.events(); len(came) > 0 || l.ended() {
					t.Fatalf("it does not wait: %q", came)
				}
				end(w, session)
				<-time.After(livePause)
				if came := strings.Join(l.events(), ""); !l.ended() || l.status != http.StatusUnauthorized || strings.Contains(came, "shown") {
					t.Errorf("%d %s", l.status, came)
				}
			})
		})
	}
}

// The seats and the overview follow what happens while somebody looks at them, and say when they do no longer.
func TestLiveInABrowser(t *testing.T) {
	w := newPages(t)
	w.login("both")
	w.login("security administrator") // the last one keeps its role
	hand := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		var err error
		switch r.URL.Path {
		case "/drop":
			_, err = w.c.dropLease(r.Context(), Drop{Device: Host{"STRING", "d"}, Feature: "f", Reason: "test"}, "test")
		case "/release":
			_, err = w.c.Appliance.Change(r.Context(), w.given(0), "test", "test")
		case "/demote":
			_, err = w.c.Appliance.Change(r.Context(), ledger.ChangeLogin{Name: "both", Roles: &[]capability.Role{capability.Auditor}, By: "test"}, "test", "test")
		}
		if err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(hand.Close)
	walk(t, "live", w.server.URL, "NAME=both", "PASSWORD="+pagePassword, "HAND="+hand.URL)
}
