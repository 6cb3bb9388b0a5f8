package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/backoffice/portal"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// seating is a real back office in a bubble with a clock of its own, whose network can be cut, and machines that ask it.
type seating struct {
	t      *testing.T
	desk   *backoffice.Desk
	h      http.Handler
	trust  []byte
	way    sync.Mutex // of what follows
	cut    bool
	denies capability.Code     // what somebody on the way answers instead
	spoils func([]byte) []byte // what somebody on the way does to answers
}

func (w *seating) RoundTrip(r *http.Request) (*http.Response, error) {
	w.way.Lock()
	cut, denies, spoils := w.cut, w.denies, w.spoils
	w.way.Unlock()
	if cut {
		return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
	}
	rec := httptest.NewRecorder()
	if denies != 0 {
		rec.WriteHeader(http.StatusForbidden)
		rec.Write(wire.New().Encode(&capability.Denial{Code: denies}))
		return rec.Result(), nil
	}
	r.RemoteAddr, r.Host = "192.0.2.1:1000", "office.example"
	w.h.ServeHTTP(rec, r)
	if spoils != nil {
		b := spoils(rec.Body.Bytes())
		rec.Body.Reset()
		rec.Body.Write(b)
	}
	return rec.Result(), nil
}

// meddle changes what happens on the way, while machines ask.
func (w *seating) meddle(change func()) {
	w.way.Lock()
	defer w.way.Unlock()
	change()
}

const (
	acme  = "ACME Works"
	ana   = "ana@acme.example"
	words = "a long enough pass phrase"
)

func inOffice(t *testing.T, policy entitlement.OnlinePolicy, f func(*testing.T, *seating)) {
	dir := t.TempDir()
	// Its sessions begin what never ends, which a bubble would wait for.
	p, err := portal.New(portal.Options{Hosts: []string{"office.example"}, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), CodeOf: backoffice.Code})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		place := backoffice.Dir(filepath.Join(dir, "office"))
		setup := backoffice.Setup{Policy: entitlement.DefaultPolicy("Example"), KeyName: "example-A", By: "test", Cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}}
		setup.Policy.MinimumTier, setup.Policy.Online = entitlement.Software, policy
		if _, err := backoffice.Create(place, []byte("pass phrase"), setup, capability.At(time.Now()), rand.Reader); err != nil {
			t.Fatal(err)
		}
		o, err := backoffice.Open(place, []byte("pass phrase"), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		w := &seating{t: t, desk: backoffice.NewDesk(o), trust: wire.New().EncodeTrust(o.Trust())}
		defer func() {
			err := w.desk.Ask(func(o *backoffice.Office) error { return o.Book().Check() })
			if err := errors.Join(err, w.desk.Close()); err != nil {
				t.Error(err)
			}
		}()
		p.Desk = w.desk
		w.h = p.Handler()
		f(t, w)
	})
}

func (w *seating) office() *Office {
	return &Office{URL: "https://office.example", carry: w}
}

// do has something done at the back office.
func (w *seating) do(f func(*backoffice.Office, capability.Time) error) {
	w.t.Helper()
	if err := w.desk.Ask(func(o *backoffice.Office) error { return f(o, capability.At(time.Now())) }); err != nil {
		w.t.Fatal(err)
	}
}

// license makes an item for users and gives a user one seat of it, and the code of a slip.
func (w *seating) license(feature, user string, tolerance capability.Seconds) (id capability.ActivationID, code string) {
	w.t.Helper()
	w.do(func(o *backoffice.Office, now capability.Time) error {
		model := entitlement.LicenseModel{Name: "desk " + feature, Kind: entitlement.FixedUser, Tolerance: tolerance}
		for _, state := range []entitlement.ModelState{entitlement.ModelState(0), entitlement.ModelState(1)} {
			model.State = state
			if err := o.Do(entitlement.SetModel{Model: model, By: "test"}, now); err != nil {
				return err
			}
		}
		v, err := o.Entitle(entitlement.Item{Customer: acme, Product: "Test Studio", Copies: 3, Model: model.Name, Features: []entitlement.Feature{{Name: feature, Version: capability.Version{Major: 2}, PerCopy: 1}}}, "test", now)
		if err != nil {
			return err
		}
		id = v.ActivationID
		var hash capability.Digest
		u := entitlement.UserID{Account: acme, Name: user}
		if code, hash, err = o.Slip(u); err != nil {
			return err
		}
		return o.Do(entitlement.AssignSeat{ActivationID: id, User: u, Code: hash, By: "test"}, now)
	})
	return id, code
}

// machine is one without a TPM.
func (w *seating) machine(n int) *Standalone {
	w.t.Helper()
	var m hostid.Machine
	for kind, value := range map[hostid.Type]string{hostid.BoardUUID: fmt.Sprintf("4C4C4544-%04d", n), hostid.Ethernet: fmt.Sprintf("02000000%04d", n), hostid.Disk: fmt.Sprintf("SN-%04d", n)} {
		m.Findings = append(m.Findings, hostid.Finding{ID: hostid.ID{Type: kind, Value: value}, Strength: hostid.Firm, Source: "test"})
	}
	s, err := OpenStandalone(w.t.Context(), StandaloneOptions{Dir: w.t.TempDir(), Trust: w.trust, Machine: m})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

func (w *seating) signIn(s *Standalone, code string) string {
	w.t.Helper()
	token, until, err := s.SignIn(w.t.Context(), w.office(), acme, ana, words, code)
	if err != nil {
		w.t.Fatal(err)
	}
	if until != capability.At(time.Now()).Add(backoffice.TokenLife) {
		w.t.Errorf("the token counts until %s", until)
	}
	return token
}

func (w *seating) seat(s *Standalone, token string, takeOver bool) (*Seat, error) {
	return s.Seat(w.t.Context(), SeatOptions{Office: w.office(), Feature: "test", Version: capability.Version{Major: 1}, Token: token, TakeOver: takeOver})
}

// after lets so much time go by.
func after(d time.Duration) { <-time.After(d) }

func has(err error, c capability.Code) bool {
	no := (*capability.Refusal)(nil)
	return errors.As(err, &no) && no.Code == c
}

// A seat is its user's on any machine, one at a time: on the same machine it is there again at once, on another one the user takes it over, and what was taken over, disconnected or given back ends.
func TestSeat(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		id, code := w.license("test", ana, 24*3600)
		one, two := w.machine(1), w.machine(2)
		if _, err := w.seat(one, "", false); !errors.Is(err, ErrSessionEnded) {
			t.Errorf("without a token: %v", err)
		}
		token := w.signIn(one, code)
		first, err := w.seat(one, token, false)
		if err != nil {
			t.Fatal(err)
		}
		if i := first.Items(); len(i) != 1 || i[0].Feature != "test" || i[0].Count != 1 || i[0].ActivationID != id {
			t.Errorf("%+v", i)
		}
		after(2 * time.Hour) // many leases: it is renewed
		if left, err := first.Left(); err != nil || left < 23*time.Hour || first.Err() != nil {
			t.Errorf("%s left: %v", left, err)
		}
		crashed, err := w.seat(one, token, false)
		if err != nil || len(w.sessions()) != 1 {
			t.Fatalf("after a crash: %v, %d sessions", err, len(w.sessions()))
		}
		other := w.signIn(two, "")
		if _, err := w.seat(two, token, false); !errors.Is(err, ErrUserToken) {
			t.Errorf("with the token of another machine: %v", err)
		}
		if _, err := w.seat(two, other, false); !has(err, capability.ErrSessionElsewhere) {
			t.Errorf("on another machine: %v", err)
		}
		second, err := w.seat(two, other, true)
		if err != nil {
			t.Fatal(err)
		}
		<-first.Done()
		<-crashed.Done()
		if !errors.Is(first.Err(), ErrSessionEnded) {
			t.Errorf("what was taken over: %v", first.Err())
		}
		w.do(func(o *backoffice.Office, now capability.Time) error {
			for _, s := range o.Sessions(id, now) {
				if s.Ended == 0 {
					return o.Disconnect(entitlement.Disconnect{ID: s.ID, By: "the administrator"}, now)
				}
			}
			return errors.New("no session runs")
		})
		<-second.Done()
		if left, err := second.Left(); left != 0 || !errors.Is(err, ErrSessionEnded) {
			t.Errorf("what was disconnected: %s, %v", left, err)
		}
		after(25 * time.Hour) // what was taken over may have run until then
		third, err := w.seat(one, w.signIn(one, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := third.Release(t.Context()); err != nil || third.Err() != ErrReleased {
			t.Errorf("%v, %v", err, third.Err())
		}
		if err := third.Release(t.Context()); err != nil {
			t.Errorf("given back twice: %v", err)
		}
		if n := len(w.sessions()); n != 0 {
			t.Errorf("%d sessions after all was given back", n)
		}
	})
}

func (w *seating) sessions() (list []entitlement.SessionView) {
	w.do(func(o *backoffice.Office, now capability.Time) error { list = o.Sessions("", now); return nil })
	return list
}

// When the link breaks the product runs on for as long as the license model says, to the minute, and goes on when it comes back in time.
func TestSeatWithoutItsLink(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		_, code := w.license("test", ana, 24*3600)
		one := w.machine(1)
		seat, err := w.seat(one, w.signIn(one, code), false)
		if err != nil {
			t.Fatal(err)
		}
		w.meddle(func() { w.cut = true })
		begin := time.Now()
		after(23*time.Hour + 59*time.Minute)
		if left, err := seat.Left(); seat.Err() != nil || left != time.Minute || !errors.Is(err, ErrOfficeUnreachable) {
			t.Errorf("after 23:59: %s left, %v, %v", left, err, seat.Err())
		}
		w.meddle(func() { w.cut = false })
		after(seatRetry + time.Hour/3)
		if left, err := seat.Left(); seat.Err() != nil || err != nil || left < 23*time.Hour {
			t.Errorf("after the link came back: %s left, %v, %v", left, err, seat.Err())
		}
		w.meddle(func() { w.cut = true })
		at, left := time.Now(), time.Duration(0)
		left, _ = seat.Left()
		<-seat.Done()
		if ran := time.Since(at); ran != left || time.Since(begin) < 47*time.Hour {
			t.Errorf("it ran on for %s, and %s were left", ran, left)
		}
		if _, err := w.seat(one, "a token", false); !errors.Is(err, ErrOfficeUnreachable) {
			t.Error(err)
		}
	})
}

// Who the user is, is shown with a code once and with a password from then on; guessing is slowed down, and what was said for another machine, or is hours old, counts nothing.
func TestSignIn(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		_, code := w.license("test", ana, 0)
		one := w.machine(1)
		try := func(name, user, password, code string, want capability.Code) {
			t.Helper()
			if _, _, err := one.SignIn(t.Context(), w.office(), acme, user, password, code); !has(err, want) {
				t.Errorf("%s: %v", name, err)
			}
			after(20 * time.Minute)
		}
		try("no password yet", ana, words, "", capability.ErrSignIn)
		try("a wrong code", ana, words, "0000-0000-0000-0000", capability.ErrUserCode)
		try("a password that is none", ana, "short", code, capability.ErrForm)
		try("the code of another", "ben@acme.example", words, code, capability.ErrUserCode)
		token := w.signIn(one, code)
		try("the code again", ana, words, code, capability.ErrUserCode)
		try("a wrong password", ana, words+"x", "", capability.ErrSignIn)
		try("no such user", "ben@acme.example", words, "", capability.ErrSignIn)
		token = w.signIn(one, "")
		seat, err := w.seat(one, token, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := seat.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := "x"
		if strings.HasPrefix(token, other) {
			other = "y"
		}
		for name, bad := range map[string]string{"another's": other + token[1:], "cut": token[:len(token)-2], "longer": token + "AA", "no text": "***", "huge": string(make([]byte, 4000))} {
			if _, err := w.seat(one, bad, false); err == nil || name != "no text" && !errors.Is(err, ErrUserToken) {
				t.Errorf("a token that is %s opens a seat", name)
			}
		}
		after(12 * time.Hour)
		if _, err := w.seat(one, token, false); !errors.Is(err, ErrUserToken) {
			t.Errorf("after half a day: %v", err)
		}
		token = w.signIn(one, "")
		w.do(func(o *backoffice.Office, now capability.Time) error {
			disabled := true
			return o.Do(entitlement.ChangeUser{ID: entitlement.UserID{Account: acme, Name: ana}, Disabled: &disabled, By: "test"}, now)
		})
		if _, err := w.seat(one, token, false); !errors.Is(err, ErrUserToken) {
			t.Errorf("a user who is disabled: %v", err)
		}
		try("a user who is disabled", ana, words, "", capability.ErrSignIn)
		for range 12 {
			one.SignIn(t.Context(), w.office(), acme, ana, "guess and guess again", "")
		}
		if _, _, err := one.SignIn(t.Context(), w.office(), acme, ana, words, ""); !has(err, capability.ErrSignIn) {
			t.Errorf("after many guesses: %v", err)
		}
	})
}

// An answer counts only as what the producer signed, for this machine, to this very request; and nothing is served where the producer has not turned it on.
func TestSeatIsNotBelieved(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		_, code := w.license("test", ana, 24*3600)
		one, two := w.machine(1), w.machine(2)
		token := w.signIn(one, code)
		var old []byte
		w.meddle(func() { w.spoils = func(b []byte) []byte { old = append([]byte(nil), b...); return b } })
		seat, err := w.seat(one, token, false)
		if err != nil {
			t.Fatal(err)
		}
		w.meddle(func() { w.spoils = func([]byte) []byte { return old } })
		if _, err := w.seat(one, token, false); !errors.Is(err, ErrNotOurs) {
			t.Errorf("the answer of before: %v", err)
		}
		if _, err := w.seat(two, w2token(w, two), true); !errors.Is(err, ErrNotOurs) {
			t.Errorf("the answer to another machine: %v", err)
		}
		w.meddle(func() { w.spoils = func(b []byte) []byte { b[len(b)/2] ^= 1; return b } })
		if _, err := w.seat(one, token, false); err == nil {
			t.Error("a changed answer is believed")
		}
		w.meddle(func() { w.spoils = nil })
		if err := seat.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
	inOffice(t, entitlement.NothingOnline, func(t *testing.T, w *seating) {
		_, code := w.license("test", ana, 0)
		one := w.machine(1)
		if _, _, err := one.SignIn(t.Context(), w.office(), acme, ana, words, code); !has(err, capability.ErrOnline) {
			t.Error(err)
		}
		if _, err := w.seat(one, "a token", false); !has(err, capability.ErrOnline) {
			t.Error(err)
		}
	})
}

// What nobody signed takes nothing away: a refusal that anybody on the way could have made leaves the seat as it is, until the producer's own or the end of its time.
func TestSeatUnsignedRefusals(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		id, code := w.license("test", ana, 24*3600)
		one := w.machine(1)
		seat, err := w.seat(one, w.signIn(one, code), false)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []capability.Code{capability.ErrSessionEnded, capability.ErrUnassigned, capability.ErrNoUser, capability.ErrMode, capability.ErrSuspended, capability.ErrRetired, capability.ErrBookExpired, capability.ErrUserToken} {
			w.meddle(func() { w.denies = c })
			after(time.Hour)
			if left, err := seat.Left(); seat.Err() != nil || !has(err, c) || left == 0 {
				t.Fatalf("%s: %s left, %v, %v", c, left, err, seat.Err())
			}
		}
		w.meddle(func() { w.denies = 0 })
		after(time.Hour)
		if left, err := seat.Left(); left < 23*time.Hour || err != nil {
			t.Errorf("%s left: %v", left, err)
		}
		off := true
		w.do(func(o *backoffice.Office, now capability.Time) error {
			return o.Do(entitlement.ChangeUser{ID: entitlement.UserID{Account: acme, Name: ana}, Disabled: &off, By: "test"}, now)
		})
		at := time.Now()
		<-seat.Done()
		if !has(seat.Err(), capability.ErrNoUser) || time.Since(at) > time.Hour {
			t.Errorf("the producer's own word ends it after %s: %v", time.Since(at), seat.Err())
		}
		if list := w.sessions(); len(list) != 1 || list[0].ActivationID != id {
			t.Errorf("%+v", list)
		}
	})
}

// All programs of a machine share its seat, and it is given back when the last of them is done with it. What was kept stays, and what a program left that died is there for the next one.
func TestSeatIsShared(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		id, code := w.license("test", ana, 24*3600)
		one := w.machine(1)
		ctx := t.Context()
		if _, err := one.KeepSignIn(ctx, w.office(), acme, ana, words, code); err != nil {
			t.Fatal(err)
		}
		if in, err := one.SignIns(ctx); err != nil || len(in) != 1 || in[0].User != ana || in[0].URL != w.office().URL {
			t.Errorf("%+v, %v", in, err)
		}
		other, err := OpenStandalone(ctx, one.options) // another program
		if err != nil {
			t.Fatal(err)
		}
		first, err := w.seat(one, "", false)
		if err != nil {
			t.Fatal(err)
		}
		second, err := w.seat(other, "", false)
		if err != nil {
			t.Fatal(err)
		}
		after(13 * time.Hour) // it is renewed by both
		if held, err := one.HeldSeats(ctx); err != nil || len(held) != 1 || held[0].Programs != 2 || held[0].Kept || held[0].ActivationID != id || len(w.sessions()) != 1 {
			t.Errorf("%+v, %v, %d sessions", held, err, len(w.sessions()))
		}
		if err := other.FreeSeat(ctx, w.office(), id); !errors.Is(err, ErrInUse) {
			t.Errorf("given back under a program: %v", err)
		}
		if err := first.Release(ctx); err != nil || len(w.sessions()) != 1 {
			t.Errorf("%v, %d sessions when one of two is done", err, len(w.sessions()))
		}
		after(time.Hour)
		if second.Err() != nil {
			t.Errorf("the other one: %v", second.Err())
		}
		if err := other.Close(); err != nil || len(w.sessions()) != 0 {
			t.Errorf("%v, %d sessions when both are done", err, len(w.sessions()))
		}
		again, err := OpenStandalone(ctx, one.options)
		if err != nil {
			t.Fatal(err)
		}
		// The token of then is over. What the machine has it goes on with all the same.
		kept := func(s *Standalone) error {
			_, err := s.Seat(ctx, SeatOptions{Office: w.office(), Feature: "test", Version: capability.Version{Major: 1}, Keep: true})
			return err
		}
		if err := kept(again); !errors.Is(err, ErrSessionEnded) {
			t.Errorf("without a seat and without a token: %v", err)
		}
		if _, err := again.KeepSignIn(ctx, w.office(), acme, ana, words, ""); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(kept(again), again.Close()); err != nil || len(w.sessions()) != 1 {
			t.Errorf("%v, %d sessions when it is to be kept", err, len(w.sessions()))
		}
		after(13 * time.Hour)
		if err := kept(one); err != nil {
			t.Errorf("it goes on without a token: %v", err)
		}
		if held, err := one.HeldSeats(ctx); err != nil || len(held) != 1 || held[0].Programs != 0 || !held[0].Kept {
			t.Errorf("%+v, %v", held, err)
		}
		if out, err := one.SignOut(ctx, ""); err != nil || len(out) != 1 {
			t.Errorf("%+v, %v", out, err)
		}
		if err := one.FreeSeat(ctx, w.office(), id); err != nil || len(w.sessions()) != 0 {
			t.Errorf("%v, %d sessions after all was given back", err, len(w.sessions()))
		}
	})
}

// w2token signs in while answers are spoiled.
func w2token(w *seating, s *Standalone) string {
	spoils := w.spoils
	w.meddle(func() { w.spoils = nil })
	defer w.meddle(func() { w.spoils = spoils })
	return w.signIn(s, "")
}
