package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A try that reached nothing is repeated after the retry period as often as is set; then the next period comes, with tries of its own, and so on for as long as nothing answers.
func TestSchedule(t *testing.T) {
	const minute = time.Minute
	p := ledger.Polling{Period: 3600, Retries: 2, RetryPeriod: 60}
	var s schedule
	for i, want := range []time.Duration{0, minute, 2 * minute, 62 * minute, 63 * minute, 64 * minute, 124 * minute} {
		at := s.due(p)
		if at != want {
			t.Errorf("try %d is due at %s, want %s", i+1, at, want)
		}
		s.begin(at)
		s.missed()
	}
	s.asked = true
	if at := s.due(p); at != 0 {
		t.Errorf("a try that is asked for is due at %s", at)
	}
	s.begin(200 * minute)
	s.reached(false)
	if at := s.due(p); at != 260*minute || s.failed != 0 {
		t.Errorf("after one that came through the next is due at %s", at)
	}
	s.begin(260 * minute)
	s.reached(true)
	if at := s.due(p); at != 0 {
		t.Errorf("after an answer that came late the next is due at %s", at)
	}
	for name, p := range map[string]ledger.Polling{"no retries": {Period: 3600, RetryPeriod: 60}, "retries slower than periods": {Period: 3600, Retries: 2, RetryPeriod: 7200}} {
		s := schedule{}
		s.begin(0)
		s.missed()
		if at := s.due(p); at != time.Hour {
			t.Errorf("%s: due at %s", name, at)
		}
	}
}

// polled is an appliance in a bubble with a clock of its own, and both ends of the exchange with it.
type polled struct {
	t       *testing.T
	c       *Console
	program http.Handler
	count   atomic.Int64 // errands that were handed out
}

const officeAt = "https://office.example:7443"

func inBubble(t *testing.T, f func(*testing.T, *polled)) {
	synctest.Test(t, func(t *testing.T) {
		l, now := ledger.New(), ledger.At(0, capability.At(time.Now()))
		for _, c := range []ledger.Command{
			ledger.Provision{Response: capability.Response{Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: now.Wall}, Digest: capability.Digest{1}},
			ledger.SetPolicy{Name: ledger.OfficeURL, Value: officeAt + "/", By: "test"},
			ledger.SetPolicy{Name: ledger.PollPeriod, Value: "1h", By: "test"},
			ledger.SetPolicy{Name: ledger.PollRetryPeriod, Value: "1m", By: "test"},
		} {
			d, err := l.Decide(now, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range d.Entries {
				if err := l.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
		}
		begin := time.Now()
		since := func() time.Duration { return time.Since(begin) + time.Hour }
		a, err := appliance.New(appliance.Options{
			Ledger: l, Vault: &kept{}, Machine: machine{}, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Trust: &wire.Trust{}, Now: time.Now, Elapsed: since, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- a.Run(ctx) }()
		c := &Console{Appliance: a, Allowed: func(Peer) bool { return true }, Poll: NewPoll(a)}
		p := &polled{t: t, c: c, program: c.Poll.Handler(c)}
		defer func() {
			c.Poll.Stop()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		f(t, p)
	})
}

// ask sends a request to one of the two handlers, and reads the answer into out.
func ask(t *testing.T, h http.Handler, method, path string, body, out any) (int, Problem) {
	t.Helper()
	b, raw := body.([]byte)
	if !raw {
		var err error
		if b, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, Base+path, bytes.NewReader(b))
	r = r.WithContext(context.WithValue(t.Context(), peerKey{}, Peer{}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var problem Problem
	to := out
	if w.Code != http.StatusOK {
		to = &problem
	}
	if to != nil {
		if err := json.Unmarshal(w.Body.Bytes(), to); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return w.Code, problem
}

// next is the next errand, however long that takes.
func (p *polled) next() Errand {
	p.t.Helper()
	for {
		var e Errand
		if status, problem := ask(p.t, p.program, "POST", "poll/next", nil, &e); status != http.StatusOK {
			p.t.Fatal(problem)
		}
		if e.Number != 0 {
			return e
		}
	}
}

// missed tells that an errand came to nothing, or was refused.
func (p *polled) missed(e Errand, code capability.Code) {
	p.t.Helper()
	if status, problem := ask(p.t, p.program, "POST", "poll/missed", Missed{e.Number, capability.Denial{Code: code, Detail: "said"}}, nil); status != http.StatusOK {
		p.t.Fatal(problem)
	}
}

func (p *polled) state() (s Polling) {
	p.t.Helper()
	if status, problem := ask(p.t, p.c.Handler(), "GET", "poll", nil, &s); status != http.StatusOK {
		p.t.Fatal(problem)
	}
	return s
}

// With the back office down for three periods the same bytes are sent again and again, the console says since when, nothing else changes, and after the first answer what has come up since goes at once.
func TestOfficeDownForPeriods(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		begin := capability.At(time.Now())
		first := p.next()
		if first.URL != officeAt || len(first.File) == 0 {
			t.Fatalf("%+v", first)
		}
		p.missed(first, capability.ErrOfficeUnreachable)
		for n := 2; n <= 3*5; n++ { // a try and four retries in each period
			e := p.next()
			if e.Number != first.Number || !bytes.Equal(e.File, first.File) {
				t.Fatalf("try %d sends request %d", n, e.Number)
			}
			p.missed(e, capability.ErrOfficeUnreachable)
			s := p.state()
			if s.Since != begin || s.Tries != n || s.Reached != 0 || !s.Running || s.Last.Problem.Code != capability.ErrOfficeUnreachable {
				t.Fatalf("try %d: %+v", n, s)
			}
			wait := capability.Seconds(60)
			if n%5 == 0 {
				wait = 3600
			}
			if s.Next != capability.At(time.Now()).Add(wait) {
				t.Errorf("try %d at %s: the next at %s", n, capability.At(time.Now()), s.Next)
			}
		}
		if gone := capability.At(time.Now()) - begin; gone != 2*3600+12*60 {
			t.Errorf("three periods took %d s", gone)
		}
		e := p.next()
		p.missed(e, capability.ErrOnline) // it answers again, and says no
		s := p.state()
		if s.Tries != 0 || s.Since != 0 || s.Reached == 0 || s.Last.Problem.Code != capability.ErrOnline {
			t.Errorf("%+v", s)
		}
		at := time.Now()
		if e := p.next(); e.Number != first.Number+1 || time.Now() != at {
			t.Errorf("after a late answer request %d goes after %s", e.Number, time.Since(at))
		} else {
			p.missed(e, capability.ErrOnline)
		}
		if e := p.next(); e.Number != first.Number+2 || time.Since(at) != time.Hour {
			t.Errorf("the next period brings request %d after %s", e.Number, time.Since(at))
		}
	})
}

// Somebody who does not want to wait has a try made now, for what he names, and hears how it ended; what could not be sent goes again by itself.
func TestRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		admin := p.c.Handler()
		id, err := capability.NewActivationID(strings.NewReader(strings.Repeat("b", 18)))
		if err != nil {
			t.Fatal(err)
		}
		if status, problem := ask(t, admin, "POST", "poll/refresh", Wish{}, nil); status != http.StatusForbidden || problem.Code != capability.ErrNotPolled {
			t.Errorf("nobody asks: %d %+v", status, problem)
		}
		e := p.next()
		var before Polling
		if status, problem := ask(t, admin, "POST", "poll/refresh", Wish{}, &before); status != http.StatusOK || before.Done != 1 {
			t.Errorf("while one is on its way: %+v %+v", problem, before)
		}
		p.missed(e, capability.ErrOnline)
		e = p.next()
		p.missed(e, capability.ErrOnline)
		waits := make(chan Errand)
		at := time.Now()
		go func() { waits <- p.next() }()
		synctest.Wait()
		if status, problem := ask(t, admin, "POST", "poll/refresh", Wish{Desired: []capability.Desired{{ActivationID: id, Count: 3}}}, &before); status != http.StatusOK || before.Done != 2 {
			t.Fatalf("%+v %+v", problem, before)
		}
		wished := <-waits
		if time.Now() != at || wished.Number != e.Number+1 || !bytes.Contains(wished.File, []byte(id)) {
			t.Errorf("request %d after %s", wished.Number, time.Since(at))
		}
		heard := make(chan Polling)
		go func() {
			var s Polling
			ask(t, admin, "GET", "poll?done=2", nil, &s)
			heard <- s
		}()
		synctest.Wait()
		p.missed(wished, capability.ErrOfficeUnreachable)
		if s := <-heard; s.Done != 3 || s.Last.Problem == nil || s.Last.Problem.Code != capability.ErrOfficeUnreachable || time.Now() != at {
			t.Errorf("%+v after %s", s, time.Since(at))
		}
		if again := p.next(); !bytes.Equal(again.File, wished.File) || time.Since(at) != time.Minute {
			t.Errorf("request %d goes again after %s", again.Number, time.Since(at))
		}
		for body, want := range map[string]capability.Code{`{"desired":[{"count":1}]}`: capability.ErrForm, `{"from":3}`: capability.ErrForm, `{"x":1}`: capability.ErrForm} {
			if _, problem := ask(t, admin, "POST", "poll/refresh", []byte(body), nil); problem.Code != want {
				t.Errorf("%s: %+v", body, problem)
			}
		}
	})
}

// A wish that was not answered is sent until it is, beside another one, and after a request went by file; not after rights were given back, which may be what was wished for.
func TestWishesStand(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		p.missed(p.next(), capability.ErrOnline)
		var ids []capability.ActivationID
		for _, letter := range []string{"b", "c"} {
			id, err := capability.NewActivationID(strings.NewReader(strings.Repeat(letter, 18)))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		named := func(what string, e Errand, want ...bool) {
			t.Helper()
			for i, id := range ids {
				if bytes.Contains(e.File, []byte(id)) != want[i] {
					t.Errorf("%s: request %d names ID %d: %t", what, e.Number, i, !want[i])
				}
			}
		}
		wish := func(id capability.ActivationID) Errand {
			t.Helper()
			e := make(chan Errand)
			go func() { e <- p.next() }()
			synctest.Wait()
			if status, problem := ask(t, p.c.Handler(), "POST", "poll/refresh", Wish{Desired: []capability.Desired{{ActivationID: id, Count: 3}}}, nil); status != http.StatusOK {
				t.Fatal(problem)
			}
			return <-e
		}
		e := wish(ids[0])
		named("wished for", e, true, false)
		p.missed(e, capability.ErrOfficeUnreachable)
		e = wish(ids[1])
		named("another one", e, true, true)
		p.missed(e, capability.ErrOfficeUnreachable)
		if _, err := p.c.Appliance.Request(t.Context(), nil, "test"); err != nil {
			t.Fatal(err)
		}
		e = p.next()
		named("after a file", e, true, true)
		p.missed(e, capability.ErrOfficeUnreachable)
		p.c.Poll.pending.gave++
		e = p.next()
		named("after a return", e, false, false)
		p.missed(e, capability.ErrOnline)
		e = wish(ids[1])
		named("once more", e, false, true)
		p.missed(e, capability.ErrOnline)
		named("after an answer", p.next(), false, false)
	})
}

// What happens beside an errand makes another request: one by file, and a change of the address takes effect at once.
func TestErrandsFollowWhatHappens(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		first := p.next()
		p.missed(first, capability.ErrOfficeUnreachable)
		if _, err := p.c.Appliance.Request(t.Context(), nil, "test"); err != nil { // somebody carries a file
			t.Fatal(err)
		}
		second := p.next()
		if second.Number != first.Number+2 {
			t.Errorf("after request %d went by file, request %d goes", first.Number+1, second.Number)
		}
		p.missed(second, capability.ErrOnline)
		e := p.next() // at once: the answer was late
		p.missed(e, capability.ErrOnline)
		at := time.Now()
		waits := make(chan Errand)
		go func() { waits <- p.next() }()
		synctest.Wait()
		for _, set := range []string{`{"name":"poll-period","value":"10m"}`, `{"name":"backoffice-url","value":"https://other.example"}`} {
			if status, problem := ask(t, p.c.Handler(), "POST", "policies", []byte(set), nil); status != http.StatusOK {
				t.Fatal(problem)
			}
		}
		if e := <-waits; e.URL != "https://other.example" || time.Since(at) != 10*time.Minute {
			t.Errorf("%s after %s", e.URL, time.Since(at))
		}
	})
}

// The program that carries can be stopped, be there twice, or lie: each try ends once, and nothing but a response to this appliance changes anything.
func TestProgramIsNotBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		first := p.next()
		again := p.next() // it was started anew
		if s := p.state(); s.Tries != 1 || again.Number != first.Number || s.Last.Problem == nil {
			t.Errorf("%+v", s)
		}
		for name, want := range map[string]capability.Code{"poll/missed": capability.ErrNotFound, "poll/answer?number=99": capability.ErrNotFound, "poll/answer?number=x": capability.ErrForm} {
			if _, problem := ask(t, p.program, "POST", name, Missed{99, capability.Denial{Code: capability.ErrOnline}}, nil); problem.Code != want {
				t.Errorf("%s: %+v", name, problem)
			}
		}
		if _, problem := ask(t, p.program, "POST", "poll/missed", Missed{Number: again.Number}, nil); problem.Code != capability.ErrForm {
			t.Errorf("a refusal that is none: %+v", problem)
		}
		var o Outcome
		if status, problem := ask(t, p.program, "POST", fmt.Sprintf("poll/answer?number=%d", again.Number), []byte("<html>"), &o); status != http.StatusOK || o.Problem == nil || o.Problem.Code != capability.ErrFileKind {
			t.Errorf("%+v %+v", problem, o)
		}
		if s := p.state(); s.Tries != 2 || s.Reached != 0 {
			t.Errorf("%+v", s)
		}
		if _, problem := ask(t, p.program, "POST", fmt.Sprintf("poll/answer?number=%d", again.Number), []byte("<html>"), nil); problem.Code != capability.ErrNotFound {
			t.Errorf("told twice: %+v", problem)
		}
		e := p.next()
		if status, problem := ask(t, p.program, "POST", fmt.Sprintf("poll/answer?number=%d", e.Number), make([]byte, capability.MaxFile+1), &o); status != http.StatusOK || o.Problem.Code != capability.ErrFileSize {
			t.Errorf("%+v %+v", problem, o)
		}
		for _, path := range []string{"health", "requests", "responses", "policies", "poll", "poll/refresh"} {
			for _, method := range []string{"GET", "POST"} {
				if status, problem := ask(t, p.program, method, path, nil, nil); status != http.StatusNotFound || problem.Code != capability.ErrNotFound {
					t.Errorf("%s %s on the program's socket: %d", method, path, status)
				}
			}
		}
	})
}

// Without an address nothing is asked, and a stop lets nobody wait.
func TestNothingIsPolled(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		if status, problem := ask(t, p.c.Handler(), "POST", "policies", []byte(`{"name":"backoffice-url","value":""}`), nil); status != http.StatusOK {
			t.Fatal(problem)
		}
		at := time.Now()
		var e Errand
		if ask(t, p.program, "POST", "poll/next", nil, &e); e.Number != 0 || time.Since(at) != pollPatience {
			t.Errorf("%+v after %s", e, time.Since(at))
		}
		for _, path := range []string{"GET poll", "POST poll/refresh"} {
			method, path, _ := strings.Cut(path, " ")
			if _, problem := ask(t, p.c.Handler(), method, path, Wish{}, nil); problem.Code != capability.ErrNotPolled {
				t.Errorf("%s: %+v", path, problem)
			}
		}
		at = time.Now()
		done := make(chan bool)
		go func() { ask(t, p.program, "POST", "poll/next", nil, &e); done <- true }()
		synctest.Wait()
		p.c.Poll.Stop()
		if <-done; time.Since(at) != 0 {
			t.Errorf("a stop took %s", time.Since(at))
		}
	})
}

// Addresses and fingerprints have one form each; what could hold a secret, or reaches without TLS, is no address.
func TestPollingSettings(t *testing.T) {
	call, _ := running(t)
	pin := strings.Repeat("0aF1", 16)
	for _, test := range []struct{ name, value, kept string }{
		{"backoffice-url", "https://office.example:7443/", "https://office.example:7443"},
		{"backoffice-url", "https://[::1]:7443/freehold", "https://[::1]:7443/freehold"},
		{"backoffice-url", "http://office.example", ""},
		{"backoffice-url", "https://", ""},
		{"backoffice-url", "https://:7443", ""},
		{"backoffice-url", "https://user:secret@office.example", ""},
		{"backoffice-url", "https://office.example/?token=1", ""},
		{"backoffice-url", "https://office.example/?", ""},
		{"backoffice-url", "https://office.example/#x", ""},
		{"backoffice-url", "office.example", ""},
		{"backoffice-url", "https://office.example/\n", ""},
		{"backoffice-url", "https://" + strings.Repeat("x", 300), ""},
		{"backoffice-certificate", pin, strings.ToLower(pin)},
		{"backoffice-certificate", strings.TrimSuffix(strings.Repeat("0A:F1:", 16), ":"), strings.ToLower(pin)},
		{"backoffice-certificate", pin[1:], ""},
		{"backoffice-certificate", pin[:62] + "zz", ""},
		{"poll-retry-period", "0", ""},
		{"poll-period", "4", ""},
		{"poll-period", "8h", "28800"},
	} {
		status, problem, body := call("POST", Base+"policies", fmt.Sprintf(`{"name":%q,"value":%q}`, test.name, test.value))
		if test.kept == "" {
			if status != http.StatusBadRequest && status != http.StatusUnprocessableEntity {
				t.Errorf("%s %q: %d %+v", test.name, test.value, status, problem)
			}
		} else if s := read[Setting](t, body); status != http.StatusOK || s.Value != test.kept {
			t.Errorf("%s %q: %d %+v", test.name, test.value, status, s)
		}
	}
}
