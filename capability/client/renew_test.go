package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// The policy of these tests: leases of 15 minutes, renewed after 20 % of them, which is 3 minutes.

// pass lets time of the bubble pass and everything that it wakes come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRenewsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render", Count(2))
		if err != nil {
			t.Fatal(err)
		}
		for hour := range 3 {
			pass(time.Hour)
			if l.Err() != nil || time.Until(l.Expiry()) < 11*time.Minute || s.used("render") != 2 {
				t.Fatalf("after %d hours: %v, ends in %s, %d in use", hour+1, l.Err(), time.Until(l.Expiry()), s.used("render"))
			}
		}
		if n := s.count(); n < 58 || n > 66 {
			t.Errorf("%d requests in 3 hours where one in 3 minutes is 60", n)
		}
	})
}

func TestServerAwayForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		s.set(true)
		pass(13 * time.Minute)
		if l.Err() != nil {
			t.Fatalf("lost before its end: %v", l.Err())
		}
		if n := l.Notice(); !strings.Contains(n, "license server not reachable since") || !strings.Contains(n, "works until") {
			t.Errorf("says %q", n)
		}
		s.set(false)
		pass(20 * time.Second)
		if l.Err() != nil || l.Notice() != "" || time.Until(l.Expiry()) < 14*time.Minute {
			t.Errorf("the server is back: %v, %q, ends in %s", l.Err(), l.Notice(), time.Until(l.Expiry()))
		}
	})
}

func TestServerAwayForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		s.set(true)
		begin := time.Now()
		<-l.Lost()
		if d := time.Since(begin); d < 14*time.Minute || d > 15*time.Minute {
			t.Errorf("lost after %s", d)
		}
		if !errors.Is(l.Err(), ErrServerUnreachable) {
			t.Errorf("lost because of %v", l.Err())
		}
		if held, err := c.Held(t.Context()); err != nil || len(held) > 0 {
			t.Errorf("held %v, %v", held, err)
		}
	})
}

func TestWaitsForASeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 1))
		one, two := s.client(t.TempDir()), s.client(t.TempDir())
		defer one.Close()
		defer two.Close()
		l, err := one.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := two.Acquire(t.Context(), "render", Wait(time.Minute)); !errors.Is(err, ErrNoSeat) || time.Since(begin) > time.Minute || time.Since(begin) < 40*time.Second {
			t.Errorf("waited %s: %v", time.Since(begin), err)
		}
		if _, err := two.Acquire(t.Context(), "nothing", Wait(time.Hour)); !errors.Is(err, ErrNotEntitled) {
			t.Errorf("what never comes: %v", err)
		}
		time.AfterFunc(10*time.Minute, func() { l.Release(t.Context()) })
		begin = time.Now()
		if _, err := two.Acquire(t.Context(), "render", Wait(time.Hour)); err != nil || time.Since(begin) > 10*time.Minute+16*time.Second {
			t.Errorf("waited %s: %v", time.Since(begin), err)
		}
	})
}

// Two programs of a device do not each renew: who comes second finds it done.
func TestOneProgramRenewsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		dir := t.TempDir()
		one, two := s.client(dir), s.client(dir)
		defer one.Close()
		defer two.Close()
		a, err := one.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		b, err := two.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if a.Err() != nil || b.Err() != nil || time.Until(a.Expiry()) < 11*time.Minute || time.Until(b.Expiry()) < 11*time.Minute {
			t.Errorf("%v, %v", a.Err(), b.Err())
		}
		if n := s.count(); n > 26 {
			t.Errorf("%d requests in an hour where 20 keep both", n)
		}
		// One releases for all: the other hears of it at its next look.
		if err := one.Release(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		<-b.Lost()
		if !errors.Is(b.Err(), ErrReleased) || s.used("render") != 0 {
			t.Errorf("%v, %d in use", b.Err(), s.used("render"))
		}
	})
}

func TestDroppedByAnAdministrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9), item("export", "1.0", 9))
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		other, err := c.Acquire(t.Context(), "export")
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.must(ledger.Drop{Device: c.Host(), Feature: "render", By: "a.larsen"})
		s.mu.Unlock()
		pass(4 * time.Minute)
		if l.Err() != nil || !strings.Contains(l.Notice(), "not renewed, works until") {
			t.Errorf("at once: %v, %q", l.Err(), l.Notice())
		}
		<-l.Lost()
		if !errors.Is(l.Err(), ErrNoSeat) || !strings.Contains(l.Err().Error(), "administrator") {
			t.Errorf("lost because of %v", l.Err())
		}
		// What is over is not asked for again, though the seat is free now and the other line goes on.
		pass(10 * time.Minute)
		if held, err := c.Held(t.Context()); err != nil || len(held) != 1 || s.used("render") != 0 {
			t.Errorf("held %v, %v; %d of render in use", held, err, s.used("render"))
		}
		if other.Err() != nil || time.Until(other.Expiry()) < 10*time.Minute {
			t.Errorf("the other line: %v, ends in %s", other.Err(), time.Until(other.Expiry()))
		}
	})
}

// An item that ends soon cannot be renewed past its end, and is not asked for ever faster.
func TestTheEndOfAnItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		it := item("render", "1.0", 9)
		it.Expiry = capability.At(time.Now().Add(10 * time.Minute))
		s := newServer(t, newProducer(t, 1), it)
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		<-l.Lost()
		if d := time.Since(begin); d < 10*time.Minute-2*time.Second || d > 10*time.Minute+time.Second {
			t.Errorf("lost after %s", d)
		}
		if n := s.count(); n > 40 {
			t.Errorf("%d requests in the last ten minutes", n)
		}
	})
}

// A clock that is wrong, or set while leases run, neither shortens nor lengthens them: only the appliance's time and what passes here count.
func TestWrongClockHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		begin := time.Now()
		offset := -3 * time.Hour
		c := s.client(t.TempDir(), func(o *Options) {
			o.Clock = func() time.Time { return begin.Add(time.Since(begin)).Add(offset) }
			o.Host = hostid.ID{Type: hostid.String, Value: "ws-1"}
		})
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		if left := l.Expiry().Sub(c.options.Clock()); left < 14*time.Minute || left > 15*time.Minute {
			t.Errorf("the lease lasts %s by a clock three hours behind", left)
		}
		pass(time.Hour)
		if l.Err() != nil || s.used("render") != 1 {
			t.Errorf("%v, %d in use", l.Err(), s.used("render"))
		}
	})
}

// A device whose clock is set back gains no time from what was kept: the latest time it has seen is written down.
func TestClockSetBackOffline(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	dir := t.TempDir()
	ahead := time.Duration(0)
	open := func() *Client {
		return s.client(dir, func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(ahead) } })
	}
	c := open()
	if _, err := c.Acquire(t.Context(), "render", Keep()); err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.set(true)
	ahead = 14 * time.Minute
	c = open()
	if held, err := c.Held(t.Context()); err != nil || len(held) != 1 || held[0].Expiry.IsZero() {
		t.Fatalf("within its time: %v, %v", held, err)
	}
	c.Close()
	ahead = 0
	c = open()
	held, err := c.Held(t.Context())
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	if left := time.Until(held[0].Expiry); left > 2*time.Minute {
		t.Errorf("after the clock was set back, %s are left of one minute", left)
	}
}
