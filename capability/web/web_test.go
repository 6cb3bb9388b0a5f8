package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is what a browser with or without a cookie sees of a handler behind sessions.
type site struct {
	t        *testing.T
	sessions *Sessions
	handler  http.Handler
}

// newSite signs in at /in?NAME, out at /out, and says at / who it is; at /slow it waits meanwhile.
func newSite(t *testing.T, now func() time.Time, slow func()) *site {
	s := &site{t: t, sessions: NewSessions(now)}
	mux := http.NewServeMux()
	mux.HandleFunc("/in", func(w http.ResponseWriter, r *http.Request) {
		if err := s.sessions.Begin(r.Context(), r.URL.RawQuery, 7); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/out", func(w http.ResponseWriter, r *http.Request) {
		if err := s.sessions.End(r.Context()); err != nil {
			t.Error(err)
		}
	})
	who := func(w http.ResponseWriter, r *http.Request) {
		name, since := s.sessions.Who(r.Context())
		fmt.Fprint(w, name, since, s.sessions.Proved(r.Context()))
	}
	mux.HandleFunc("/", who)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { slow(); who(w, r) })
	mux.HandleFunc("/put", func(w http.ResponseWriter, r *http.Request) { s.sessions.Put(r.Context(), "said", "hello") })
	mux.HandleFunc("/take", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s.sessions.Take(r.Context(), "said")) })
	s.handler = s.sessions.Handler(mux)
	return s
}

func (s *site) get(path, cookie string) (body, set string) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: cookie})
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 43 && c.MaxAge >= 0 {
			s.t.Errorf("cookie %v", c)
		}
		if c.MaxAge >= 0 {
			set = c.Value
		}
	}
	return w.Body.String(), set
}

const nobody = "0 false"

func TestSessions(t *testing.T) {
	s := newSite(t, time.Now, nil)
	if body, set := s.get("/", ""); body != nobody || set != "" {
		t.Errorf("who is nobody is %q and gets %q", body, set)
	}
	_, a := s.get("/in?ana", "")
	if body, _ := s.get("/", a); body != "ana7 true" {
		t.Error(body)
	}
	if body, _ := s.get("/", a[:len(a)-1]); body != nobody {
		t.Error(body)
	}
	// Somebody else signs in under a cookie that was planted: another one is given out, and the planted one is worth nothing.
	_, b := s.get("/in?bob", a)
	if a == b {
		t.Fatal("the same cookie before and after signing in")
	}
	if body, _ := s.get("/", a); body != nobody {
		t.Errorf("the cookie from before is %q", body)
	}
	if body, _ := s.get("/", b); body != "bob7 true" {
		t.Error(body)
	}
	s.get("/out", b)
	if body, _ := s.get("/", b); body != nobody {
		t.Errorf("after the end: %q", body)
	}
	// A planted value does not outlive the sign-in either; what is kept is given back once.
	_, c := s.get("/put", "")
	_, d := s.get("/in?ana", c)
	if body, _ := s.get("/take", d); body != "" {
		t.Errorf("from before signing in: %q", body)
	}
	s.get("/put", d)
	if body, _ := s.get("/take", d); body != "hello" {
		t.Error(body)
	}
	if body, _ := s.get("/take", d); body != "" {
		t.Errorf("taken twice: %q", body)
	}
}

// Thirty minutes without a request, or eight hours in all.
func TestSessionsEndByTime(t *testing.T) {
	clock := time.Now()
	s := newSite(t, func() time.Time { return clock }, nil)
	later := func(d time.Duration) { clock = clock.Add(d) }
	_, a := s.get("/in?ana", "")
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{Fresh - time.Second, "ana7 true"}, {time.Second, "ana7 false"}, {Idle - time.Second, "ana7 false"}, {Idle, nobody}, {0, nobody},
	} {
		later(c.after)
		if body, _ := s.get("/", a); body != c.want {
			t.Errorf("%s later: %q, want %q", c.after, body, c.want)
		}
	}

	began := clock
	_, b := s.get("/in?ana", "")
	for clock.Sub(began) < Longest-time.Second {
		later(min(Idle-time.Second, Longest-time.Second-clock.Sub(began)))
		if body, _ := s.get("/", b); body[:4] != "ana7" {
			t.Fatal("ended after", clock.Sub(began))
		}
	}
	later(time.Second)
	if body, _ := s.get("/", b); body != nobody {
		t.Error("goes on after 8 hours:", body)
	}
}

// Setting the system's clock lengthens nothing: the limits are those of the monotonic clock, whose reading is in the text of a time.
func TestSessionsKnowNoWallClock(t *testing.T) {
	s := newSite(t, time.Now, nil)
	_, a := s.get("/in?ana", "")
	s.get("/", a)
	for _, k := range s.sessions.m.Store.(*memory).kept {
		for _, at := range []time.Time{k.first, k.last} {
			if !strings.Contains(at.String(), " m=") {
				t.Errorf("%s is of the wall clock", at)
			}
		}
	}
}

// A request that was under way when its session ended does not bring it back.
func TestNoRequestBringsASessionBack(t *testing.T) {
	for what, end := range map[string]func(s *site, cookie string, clock *time.Time){
		"signed out":      func(s *site, cookie string, _ *time.Time) { s.get("/out", cookie) },
		"signed in again": func(s *site, cookie string, _ *time.Time) { s.get("/in?ana", cookie) },
		"over":            func(s *site, cookie string, clock *time.Time) { *clock = clock.Add(Idle) },
		"over and seen":   func(s *site, cookie string, clock *time.Time) { *clock = clock.Add(Idle); s.get("/", cookie) },
	} {
		t.Run(what, func(t *testing.T) {
			began, goOn, done := make(chan bool), make(chan bool), make(chan bool)
			clock := time.Now()
			s := newSite(t, func() time.Time { return clock }, func() { began <- true; <-goOn })
			_, a := s.get("/in?ana", "")
			go func() { s.get("/slow", a); close(done) }()
			<-began
			end(s, a, &clock)
			close(goOn)
			<-done
			if body, _ := s.get("/", a); body != nobody {
				t.Errorf("the session is back: %q", body)
			}
		})
	}
}

func TestSessionsAreBounded(t *testing.T) {
	clock := time.Now()
	s := newSite(t, func() time.Time { return clock }, nil)
	_, first := s.get("/in?first", "")
	clock = clock.Add(time.Second)
	_, second := s.get("/in?second", "")
	clock = clock.Add(time.Second)
	for range MaxSessions - 2 {
		s.get("/in?other", "")
	}
	clock = clock.Add(time.Second)
	s.get("/", first)
	s.get("/in?last", "")
	if n := len(s.sessions.m.Store.(*memory).kept); n > MaxSessions {
		t.Errorf("%d sessions", n)
	}
	if body, _ := s.get("/", first); !strings.HasPrefix(body, "first") {
		t.Error("one that was used just now ended:", body)
	}
	if body, _ := s.get("/", second); body != nobody {
		t.Error("the one idle for longest goes on:", body)
	}
}

func TestPasswords(t *testing.T) {
	hash, err := HashPassword("a long enough pass phrase", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := HashPassword("a long enough pass phrase", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if hash == other || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Error(hash, other)
	}
	part := strings.Split(hash, "$")
	with := func(n int, text string) string {
		p := append([]string{}, part...)
		p[n] = text
		return strings.Join(p, "$")
	}
	for what, c := range map[string]struct {
		password, hash string
		want           bool
	}{
		"it":                  {"a long enough pass phrase", hash, true},
		"another":             {"a long enough pass phrasf", hash, false},
		"with more":           {"a long enough pass phrase ", hash, false},
		"in capitals":         {"A LONG ENOUGH PASS PHRASE", hash, false},
		"none":                {"", hash, false},
		"none for none":       {"", "", false},
		"no hash":             {"a long enough pass phrase", "", false},
		"text":                {"a long enough pass phrase", "a long enough pass phrase", false},
		"another kind":        {"a long enough pass phrase", with(1, "argon2i"), false},
		"another version":     {"a long enough pass phrase", with(2, "v=16"), false},
		"no lanes":            {"a long enough pass phrase", with(3, "m=19456,t=2,p=0"), false},
		"no passes":           {"a long enough pass phrase", with(3, "m=19456,t=0,p=1"), false},
		"more memory than is": {"a long enough pass phrase", with(3, "m=4294967295,t=2,p=1"), false},
		"passes for ever":     {"a long enough pass phrase", with(3, "m=19456,t=4294967295,p=1"), false},
		"no salt":             {"a long enough pass phrase", with(4, "!"), false},
		"another salt":        {"a long enough pass phrase", with(4, strings.Split(other, "$")[4]), false},
		"a short hash":        {"a long enough pass phrase", with(5, part[5][:8]), false},
		"an empty hash":       {"a long enough pass phrase", with(5, ""), false},
	} {
		if got := PasswordFits(c.password, c.hash); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
	for _, c := range []struct {
		password, name string
		good           bool
	}{
		{"twelve chars", "keller", true}, {"eleven char", "keller", false}, {"zwölf Zeichn", "", true}, {"", "", false}, {"with keller in it", "Keller", false}, {"a tab\tis in this one", "", false},
		{"not utf-8 \xff\xff\xff\xff", "", false}, {strings.Repeat("x", MaxPassword), "", true}, {strings.Repeat("x", MaxPassword+1), "", false},
	} {
		if err := CheckPassword(c.password, c.name); (err == nil) != c.good {
			t.Errorf("%.20q for %q: %v", c.password, c.name, err)
		}
	}
	long := strings.Repeat("x", MaxPassword)
	if hash, err = HashPassword(long, rand.Reader); err != nil || !PasswordFits(long, hash) || PasswordFits(long+"x", hash) {
		t.Error("the longest password", err)
	}
}

// However many passwords are sent at once, four are hashed at a time; who goes away meanwhile is not waited for.
func TestHashingIsBounded(t *testing.T) {
	h := NewHashing()
	var mu sync.Mutex
	now, most := 0, 0
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			err := h.turn(t.Context(), func() error {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				defer func() { mu.Lock(); now--; mu.Unlock() }()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most > cap(h) || cap(h) > 8 {
		t.Errorf("%d at once", most)
	}
	for range cap(h) {
		h <- struct{}{}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Fits(gone, "x", "y"); err == nil {
		t.Error("hashed for who has gone")
	}
	if _, err := h.Hash(gone, "x", rand.Reader); err == nil {
		t.Error("hashed for who has gone")
	}
}

func TestThrottle(t *testing.T) {
	clock := time.Unix(1_800_000_000, 0)
	th := NewThrottle(func() time.Time { return clock })
	try := func(name, address string) Verdict { return th.Try(name, address) }
	for n := range uint32(FreeTries) {
		v := try("ana", "192.0.2.1")
		if v.Wait != 0 || v.Failed != n+1 || (v.Closes != 0) != (n+1 == FreeTries) {
			t.Fatalf("try %d: %+v", n+1, v)
		}
	}
	// Each that failed after them doubles the wait, up to a quarter of an hour; what comes too soon counts nothing.
	wait := time.Second
	for n := range 20 {
		for _, from := range []string{"192.0.2.1", "198.51.100.7"} { // the name waits wherever it is tried from
			if v := try("ana", from); v.Wait != wait {
				t.Fatalf("after %d: %+v, want %s", n, v, wait)
			}
		}
		if v := try("bob", "192.0.2.1"); v.Wait != wait { // and the address, whoever it tries
			t.Fatalf("after %d: %+v, want %s", n, v, wait)
		}
		clock = clock.Add(wait)
		if v := try("ana", "192.0.2.1"); v.Wait != 0 || v.Closes != 0 {
			t.Fatalf("after %d: %+v", n, v)
		}
		wait = min(2*wait, 15*time.Minute)
	}
	// One that succeeds frees its name. The address goes on waiting for the others it tried.
	clock = clock.Add(15 * time.Minute)
	if v := try("ana", "192.0.2.1"); v.Wait != 0 {
		t.Fatal(v)
	}
	th.Succeeded("ana", "192.0.2.1")
	if v := try("ana", "198.51.100.7"); v.Wait != 0 || v.Failed != 1 {
		t.Error(v)
	}
	if v := try("carol", "192.0.2.1"); v.Wait == 0 {
		t.Error("a login of his own lets him guess at others at once")
	}
	clock = clock.Add(memoryOf + time.Second)
	if v := try("carol", "192.0.2.1"); v.Wait != 0 || v.Failed != 1 {
		t.Error("what was a day ago:", v)
	}
	// Signing in properly, over and over, closes nothing.
	for range 50 {
		if v := try("dora", "203.0.113.5"); v.Wait != 0 || v.Closes != 0 {
			t.Fatal(v)
		}
		th.Succeeded("dora", "203.0.113.5")
	}
	// What nobody could judge closes nothing, and frees nobody who has guessed before.
	for n := range 50 {
		if v := try(fmt.Sprint("emil", n), "203.0.113.6"); v.Wait != 0 || v.Closes != 0 {
			t.Fatal(v)
		}
		th.Undecided(fmt.Sprint("emil", n), "203.0.113.6")
	}
	for range FreeTries - 1 {
		try("frida", "203.0.113.7")
	}
	try("frida", "203.0.113.8")
	th.Undecided("frida", "203.0.113.8")
	if v := try("frida", "203.0.113.9"); v.Wait == 0 && v.Failed != FreeTries {
		t.Error("what nobody could judge forgets what failed:", v)
	}
}

// A thousand tries sent at once are a thousand: five are judged.
func TestTriesAtOnce(t *testing.T) {
	th := NewThrottle(time.Now)
	var mu sync.Mutex
	judged := 0
	var all sync.WaitGroup
	for n := range 1000 {
		all.Go(func() {
			if th.Try("ana", fmt.Sprintf("198.51.%d.%d", n/250, n%250)).Wait == 0 {
				mu.Lock()
				judged++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if judged != FreeTries {
		t.Errorf("%d were judged", judged)
	}
}

func TestNearby(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"::ffff:192.0.2.1", "192.0.2.1", true}, {"2001:db8::1", "2001:db8::ffff:1", true}, {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true}, {"@", "@", true}, {"", "192.0.2.1", false},
	} {
		if (Nearby(c.a) == Nearby(c.b)) != c.same {
			t.Errorf("%s and %s: %s, %s", c.a, c.b, Nearby(c.a), Nearby(c.b))
		}
	}
}

// Very many addresses push out what is old and what may try on, and last of all names that wait.
func TestThrottleIsBounded(t *testing.T) {
	clock := time.Now()
	th := NewThrottle(func() time.Time { return clock })
	for range FreeTries {
		th.Try("ana", "192.0.2.1")
	}
	for n := range maxTried {
		th.Try(fmt.Sprint(n), fmt.Sprintf("2001:db8:%x:%x::1", n>>16, n&0xffff))
	}
	if n := len(th.tried); n > maxTried+2 {
		t.Errorf("%d are remembered", n)
	}
	if v := th.Try("ana", "203.0.113.1"); v.Wait == 0 {
		t.Error("a name that waits was pushed out by others that need not")
	}
}

// What is remembered of a try is as long as any, however long the name that was typed.
func TestThrottleOfLongNames(t *testing.T) {
	clock := time.Now()
	th := NewThrottle(func() time.Time { return clock })
	const each, tries = 1 << 20, 200
	before := held()
	for n := range tries {
		if v := th.Try(strings.Repeat("x", each)+fmt.Sprint(n), fmt.Sprintf("192.0.2.%d", n)); v.Wait != 0 {
			t.Fatal(v)
		}
	}
	if grown := held() - before; grown > tries*each/20 {
		t.Errorf("%d bytes are kept of %d tries", grown, tries)
	}
	runtime.KeepAlive(th)
}

// held is how much memory is in use.
func held() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestProtect(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page") })
	h := Protect(next, []string{"licenses.example.com", "10.1.2.3", "::1"})
	for host, good := range map[string]bool{
		"licenses.example.com": true, "LICENSES.example.COM:7443": true, "10.1.2.3": true, "10.1.2.3:7443": true, "[::1]:7443": true, "[::1]": true,
		"": false, "example.com": false, "licenses.example.com.evil.example": false, "evil.example": false, "xlicenses.example.com": false, "10.1.2.4": false, "localhost": false,
		"licenses.example.com:7443:1": false, "<script>": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if (w.Code == http.StatusOK) != good || !good && (w.Code != http.StatusMisdirectedRequest || strings.Contains(w.Body.String(), "page")) {
			t.Errorf("%q: %d %s", host, w.Code, w.Body)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": Policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000", "Referrer-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%q: %s %q, want %q", host, name, got, want)
			}
		}
	}
	for _, must := range []string{"default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(Policy, must) {
			t.Errorf("the policy has no %s", must)
		}
	}
	if strings.Contains(Policy, "unsafe") || strings.Contains(Policy, "*") || strings.Contains(Policy, "http") {
		t.Error(Policy)
	}
}

func TestAssets(t *testing.T) {
	a, err := NewAssets()
	if err != nil {
		t.Fatal(err)
	}
	at, err := a.Path("style.css")
	if err != nil || !strings.HasPrefix(at, Root) {
		t.Fatal(at, err)
	}
	if _, err := a.Path("absent.css"); err == nil {
		t.Error("a file that is not there has a path")
	}
	for path, want := range map[string]int{at: 200, Root: 404, Root + "style.css": 404, Root + "../web.go": 404, Root + "htmx.LICENSE": 404} {
		w := httptest.NewRecorder()
		Protect(a, []string{"example.com"}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
		if want == 200 && (!strings.Contains(w.Header().Get("Cache-Control"), "immutable") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css")) {
			t.Error(w.Header())
		}
	}
}
