package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
)

const day = 24 * time.Hour

// traveler is a machine that took a lease of ten days along, whose clock the test sets.
type traveler struct {
	t     *testing.T
	a     *capabilitytest.Appliance
	dir   string
	off   time.Duration // of its clock
	slept time.Duration
	c     *Client
}

func (v *traveler) open() *Client {
	v.t.Helper()
	if v.c != nil {
		if err := v.c.Close(); err != nil {
			v.t.Fatal(err)
		}
	}
	c, err := New(Options{
		Trust: v.a.Trust(), Dir: v.dir, Alias: "laptop", Dial: v.a.Dial, Borrow: 10 * day, Clock: func() time.Time { return time.Now().Add(v.off).Round(0) },
		suspended: func() time.Duration { return v.slept },
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.c = c
	return c
}

// left is how long the kept lease can be used without a server.
func (v *traveler) left() time.Duration {
	v.t.Helper()
	held, err := v.c.Held(v.t.Context())
	if err != nil || len(held) != 1 {
		v.t.Fatal(held, err)
	}
	if held[0].Expiry.IsZero() {
		return 0
	}
	return held[0].Expiry.Sub(v.c.options.Clock())
}

func travel(t *testing.T, f func(t *testing.T, v *traveler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		it := capabilitytest.Item("render", 4)
		it.Borrow = 30 * 24 * 60 * 60
		p := capability.DefaultPolicy()
		p.BorrowMaximum = 30 * 24 * 60 * 60
		v := &traveler{t: t, a: capabilitytest.New(t), dir: t.TempDir()}
		v.a.SetPolicy(p)
		v.a.Provision(it)
		if _, err := v.open().Acquire(t.Context(), "render", Count(2), Keep()); err != nil {
			t.Fatal(err)
		}
		if l := v.left(); l < 10*day-time.Minute {
			t.Fatalf("lasts %s of ten days", l)
		}
		v.a.Down()
		t.Cleanup(func() { v.c.Close() })
		f(t, v)
	})
}

func TestClockOfATraveler(t *testing.T) {
	for _, row := range []struct {
		name  string
		off   time.Duration
		state ClockState
		left  time.Duration
	}{
		{"right", 0, ClockTrusted, 9 * day},
		{"a minute behind", -time.Minute, ClockTrusted, 9*day + time.Minute}, // the mark is two minutes old
		{"23 hours behind", -23 * time.Hour, ClockBehind, 9 * day},
		{"25 hours behind", -25 * time.Hour, ClockHeld, 0},
		{"in 1970", -30 * 365 * day, ClockHeld, 0},
		{"23 hours ahead", 23 * time.Hour, ClockTrusted, 8*day + time.Hour},
		{"25 hours ahead", 25 * time.Hour, ClockAhead, 8*day - time.Hour},
		{"ten days ahead", 10 * day, ClockAhead, 0},
		{"a hundred years ahead", 100 * 365 * day, ClockAhead, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			travel(t, func(t *testing.T, v *traveler) {
				v.open()
				<-time.After(day - 2*time.Minute)
				v.left() // the mark
				<-time.After(2 * time.Minute)
				v.off = row.off
				v.open()
				found, err := v.c.Clock(t.Context())
				if err != nil || found != row.state {
					t.Errorf("the clock is %s, %v; want %s", found, err, row.state)
				}
				if l := v.left(); (l - row.left).Abs() > 3*time.Minute {
					t.Errorf("%s are left, want %s", l, row.left)
				}
				if row.state == ClockHeld {
					if err := v.c.change(t.Context(), func(s *state) error { s.Holdings[0].Count--; return nil }); err != nil {
						t.Fatal(err)
					}
					_, err := v.c.Acquire(t.Context(), "render", Keep())
					var no *capability.Refusal
					if !errors.Is(err, ErrClock) || !errors.Is(err, ErrServerUnreachable) || !errors.As(err, &no) || no.Code != capability.ErrClock {
						t.Errorf("with a held clock: %v", err)
					}
				}
				// Set right, all is as before; up to a day ahead was followed.
				v.off = 0
				v.open()
				followed := time.Duration(0)
				if row.state == ClockTrusted {
					followed = max(0, row.off)
				}
				if state, _ := v.c.Clock(t.Context()); state != ClockTrusted && followed == 0 {
					t.Errorf("set right it is %s", state)
				}
				if l := v.left(); (l - 9*day + followed).Abs() > 3*time.Minute {
					t.Errorf("set right, %s are left", l)
				}
			})
		})
	}
}

// Whoever sets the clock back each day gains nothing of what has passed while programs ran.
func TestSetBackDaily(t *testing.T) {
	travel(t, func(t *testing.T, v *traveler) {
		for n := range 9 {
			v.open()
			<-time.After(day - time.Minute)
			if l, want := v.left(), (9-time.Duration(n))*day; (l - want).Abs() > 30*time.Minute {
				t.Fatalf("on day %d, set back by %s, %s are left of %s", n+1, -v.off, l, want)
			}
			v.off = -23 * time.Hour
		}
	})
}

// An answer ends a held clock; without one an administrator can, once.
func TestClockRepaired(t *testing.T) {
	travel(t, func(t *testing.T, v *traveler) {
		<-time.After(day)
		v.open()
		v.left()
		v.off = -30 * 365 * day
		v.open()
		if v.left() != 0 {
			t.Fatal("a clock in 1970 is believed")
		}
		if err := v.c.ConfirmClock(t.Context()); !errors.Is(err, ErrTime) {
			t.Errorf("1970 is confirmed: %v", err)
		}
		v.a.Up()
		l, err := v.c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		if state, _ := v.c.Clock(t.Context()); state != ClockTrusted || v.left() < 10*day-time.Minute {
			t.Errorf("after an answer the clock is %s, and %s are left", state, v.left())
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		v.a.Down()
		// The mark went astray: a program ran for three days by a wrong clock that was set right then.
		v.off = 20 * time.Hour
		v.open()
		<-time.After(30 * time.Hour)
		v.left()
		v.off = -6 * time.Hour
		v.open()
		if state, _ := v.c.Clock(t.Context()); state != ClockHeld {
			t.Fatalf("the clock is %s", state)
		}
		if err := v.c.ConfirmClock(t.Context()); err != nil || v.left() == 0 {
			t.Fatalf("%v, %s are left", err, v.left())
		}
		<-time.After(time.Hour)
		if err := v.c.ConfirmClock(t.Context()); !errors.Is(err, ErrTime) {
			t.Errorf("confirmed twice: %v", err)
		}
	})
}

// A lease ends while the machine sleeps, though its timers stand still.
func TestEndsInSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &traveler{t: t, a: capabilitytest.New(t, capabilitytest.Item("render", 4)), dir: t.TempDir()}
		l, err := v.open().Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		v.a.Down()
		synctest.Wait()
		v.c.mu.Lock()
		v.slept = 20 * time.Minute // which the clock of the program does not count
		v.c.mu.Unlock()
		<-time.After(2 * wakeUp)
		synctest.Wait()
		if l.Err() == nil {
			t.Errorf("a lease of 15 minutes lasts over a sleep of 20, until %s", l.Expiry())
		}
		v.c.Close()
	})
}

func TestNoticeOfAClockBehind(t *testing.T) {
	travel(t, func(t *testing.T, v *traveler) {
		synctest.Wait()
		v.off = -2 * time.Hour
		v.open()
		if err := v.c.change(t.Context(), func(s *state) error { s.Holdings = nil; return nil }); err != nil {
			t.Fatal(err)
		}
		l, err := v.c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		v.c.mu.Lock()
		v.c.since = time.Time{}
		v.c.mu.Unlock()
		if n := l.Notice(); !strings.Contains(n, "behind the latest time seen here") {
			t.Errorf("says %q", n)
		}
	})
}

// What has no end is told as the end of the year 9999, further away than a Duration reaches.
func TestEndsFarAway(t *testing.T) {
	a := anchor{time.Unix(1_800_000_000, 0), 1_800_000_100}
	for _, c := range []struct{ at, want int64 }{{1_800_000_150, 1_800_000_050}, {1_799_999_000, 1_799_998_900}, {1_800_000_100 + 1<<34, 1_800_000_000 + 1<<34}, {253402300799, 253402300699}} {
		if got := a.at(capability.Time(c.at)).Unix(); got != c.want {
			t.Errorf("%d is %d here, want %d", c.at, got, c.want)
		}
	}
}
