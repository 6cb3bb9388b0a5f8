package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/hostid"
)

// A release that could not be done is done by the client as soon as it can be: with a context that has ended, as a program has that was interrupted, or on a full disk.
func TestReleaseThatCouldNotBeDone(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, why := range []string{"context ended", "disk full"} {
		for _, next := range []string{"wait", "close", "release", "be refused"} {
			for _, options := range [][]Option{nil, {Keep()}} {
				for _, other := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, then %s, %d options, beside another lease %t", why, next, len(options), other), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							a := capabilitytest.New(t, capabilitytest.Item("render", 4))
							dir := t.TempDir()
							c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial})
							if err != nil {
								t.Fatal(err)
							}
							l, err := c.Acquire(t.Context(), "render", options...)
							if err != nil {
								t.Fatal(err)
							}
							var stays *Lease
							want := uint64(0)
							if other {
								if stays, err = c.Acquire(t.Context(), "render", Keep()); err != nil {
									t.Fatal(err)
								}
								want = 1
							}
							full := filepath.Join(dir, stateFile+".new") // what is written first
							if why == "disk full" {
								if err := os.Mkdir(full, 0o700); err != nil {
									t.Fatal(err)
								}
								if err := l.Release(t.Context()); !errors.Is(err, ErrClientStore) {
									t.Errorf("released on a full disk: %v", err)
								}
								os.Remove(full)
							} else if err := l.Release(ended); !errors.Is(err, context.Canceled) {
								t.Errorf("released with a context that has ended: %v", err)
							}
							if !errors.Is(l.Err(), ErrReleased) {
								t.Errorf("it goes on: %v", l.Err())
							}
							switch next {
							case "be refused":
								if _, err := c.Acquire(t.Context(), "render", Count(5)); !errors.Is(err, ErrNoSeat) {
									t.Errorf("five of four: %v", err)
								}
								pass(wakeUp + time.Second)
							case "wait":
								pass(wakeUp + time.Second)
							case "release":
								if err := l.Release(t.Context()); err != nil {
									t.Errorf("released again: %v", err)
								}
							}
							if next == "close" {
								if err := c.Close(); err != nil {
									t.Error(err)
								}
							}
							if n := a.Used("render"); n != want {
								t.Errorf("%d are booked where %d are held", n, want)
							}
							if next != "close" {
								var sum uint64
								held, err := c.Held(t.Context())
								for _, h := range held {
									sum += uint64(h.Count)
								}
								if err != nil || sum != want {
									t.Errorf("held %v, %v", held, err)
								}
								if stays != nil && stays.Err() != nil {
									t.Errorf("the other lease: %v", stays.Err())
								}
							}
							if err := c.Close(); err != nil {
								t.Error(err)
							}
						})
					})
				}
			}
		}
	}
}

// What has ended while the answer to its renewal was under way is given back.
func TestReleasedAmidARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		s.mu.Lock()
		s.alter = func(*capability.Response) { // the renewal was decided
			s.alter = nil
			l.Release(ended)
		}
		s.mu.Unlock()
		pass(3*time.Minute + 10*time.Second)
		if n := s.used("render"); n != 0 {
			t.Errorf("%d booked", n)
		}
	})
}

// Close beside every other method: each ends with what it was about or with ErrClosed, nothing stays booked, and nothing of the client goes on.
func TestCloseBesideEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for round := range 8 {
			a := capabilitytest.New(t, capabilitytest.Item("render", 100))
			c, err := New(Options{Trust: a.Trust(), Dir: t.TempDir(), Dial: a.Dial})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			var calls atomic.Int64
			enough := make(chan struct{})
			for name, do := range map[string]func() error{
				"Acquire": func() error { _, err := c.Acquire(t.Context(), "render"); return err },
				"Wait":    func() error { _, err := c.Acquire(t.Context(), "render", Count(101), Wait(time.Hour)); return err },
				"Release": func() error {
					l, err := c.Acquire(t.Context(), "render")
					if err == nil {
						err = l.Release(t.Context())
					}
					return err
				},
				"all":     func() error { return c.Release(t.Context(), "render") },
				"Held":    func() error { _, err := c.Held(t.Context()); return err },
				"Preview": func() error { _, err := c.Preview(t.Context(), "render"); return err },
				"Report":  func() error { _, err := c.Report(t.Context(), "frames", 1); return err },
				"Undo":    func() error { return c.Undo(t.Context(), capability.CorrelationID{1}) },
				"Clock":   func() error { _, err := c.Clock(t.Context()); return err },
			} {
				all.Go(func() {
					var err error
					for !errors.Is(err, ErrClosed) {
						if calls.Add(1) == int64(1+9*round) {
							close(enough)
						}
						if err = do(); err != nil && !errors.Is(err, ErrClosed) && !errors.As(err, new(*capability.Refusal)) {
							t.Errorf("%s: %v", name, err)
							return
						}
					}
				})
			}
			<-enough
			if err := c.Close(); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			all.Wait()
			synctest.Wait()
			if n := a.Used("render"); n != 0 {
				t.Errorf("round %d: %d are booked", round, n)
			}
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			for _, g := range strings.Split(string(stacks), "\n\n") {
				if strings.Contains(g, "client.(*Client)") || strings.Contains(g, "client.(*link)") || strings.Contains(g, "client.(*store)") {
					t.Errorf("round %d: a goroutine is left:\n%s", round, g)
				}
			}
		}
	})
}

// While a server is silent Close ends what waits for it.
func TestCloseWhileAServerIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		f := &frost{dialer: s.dial}
		c := s.client(t.TempDir(), func(o *Options) { o.Dial = f.dial })
		if _, err := c.Acquire(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		f.on.Store(true)
		waits := make(chan error, 1)
		go func() { _, err := c.Acquire(t.Context(), "render"); waits <- err }()
		synctest.Wait()
		begin := time.Now()
		if err := c.Close(); !errors.Is(err, ErrServerUnreachable) || time.Since(begin) > defaultTimeout {
			t.Errorf("closed after %s: %v", time.Since(begin), err)
		}
		if err := <-waits; !errors.Is(err, ErrClosed) {
			t.Errorf("an acquire that waited: %v", err)
		}
	})
}

// A directory whose state is deleted or damaged costs no program that runs its leases, whoever of them asks next.
func TestStateIsLost(t *testing.T) {
	for _, how := range []string{"deleted", "damaged"} {
		for _, next := range []string{"renewal", "another program"} {
			t.Run(how+", "+next, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := capabilitytest.New(t, capabilitytest.Item("render", 9), capabilitytest.Item("export", 9))
					dir := t.TempDir()
					var leases []*Lease
					var programs []*Client
					for n := range uint32(3) {
						c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial})
						if err != nil {
							t.Fatal(err)
						}
						defer c.Close()
						programs = append(programs, c)
						for _, feature := range []string{"render", "export"} {
							l, err := c.Acquire(t.Context(), feature, Count(n+1))
							if err != nil {
								t.Fatal(err)
							}
							leases = append(leases, l)
						}
					}
					want := uint64(6)
					state := filepath.Join(dir, stateFile)
					if how == "deleted" {
						os.Remove(state)
					} else if err := os.WriteFile(state, []byte("x"), 0o600); err != nil {
						t.Fatal(err)
					}
					if next == "another program" {
						if _, err := programs[1].Acquire(t.Context(), "render"); err != nil {
							t.Fatal(err)
						}
						want++
					}
					pass(time.Hour)
					for i, l := range leases {
						if l.Err() != nil {
							t.Errorf("lease %d: %v", i, l.Err())
						}
					}
					if r, e := a.Used("render"), a.Used("export"); r != want || e != 6 {
						t.Errorf("%d of render and %d of export are booked, want %d and 6", r, e, want)
					}
					if err := programs[2].Close(); err != nil || a.Used("render") != want-3 {
						t.Errorf("%v; %d of render are booked after 3 went back", err, a.Used("render"))
					}
				})
			})
		}
	}
}

// What a device keeps has a limit that is known before anything is asked for, and nothing larger is written than is read again.
func TestStateIsBounded(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	dir := t.TempDir()
	c, other := s.client(dir), s.client(dir)
	if _, err := c.Acquire(t.Context(), "render"); err != nil {
		t.Fatal(err)
	}
	if err := c.change(t.Context(), func(s *state) error { s.Chain.Key = make([]byte, stateLimit); return nil }); !errors.Is(err, ErrClientStore) {
		t.Errorf("a state that is not read again is written: %v", err)
	}
	if held, err := c.Held(t.Context()); err != nil || len(held) != 1 {
		t.Errorf("held %v, %v", held, err)
	}
	err := c.change(t.Context(), func(s *state) error {
		for n := len(s.Holdings); n < maxHoldings; n++ {
			s.add(other.store.mine, capability.Feature{Name: fmt.Sprintf("feature-%03d", n)}, 1)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	before := s.count()
	if _, err := c.Acquire(t.Context(), "export"); !errors.Is(err, ErrClientStore) || s.count() != before {
		t.Errorf("line %d: %v after %d requests", maxHoldings+1, err, s.count()-before)
	}
}

// The same for a whole feature: its leases here end at once, and what they held is given back when the disk takes it.
func TestReleaseOfAFeatureOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := capabilitytest.New(t, capabilitytest.Item("render", 4), capabilitytest.Item("export", 1))
		dir := t.TempDir()
		c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var leases []*Lease
		for _, options := range [][]Option{nil, {Keep(), Count(2)}} {
			l, err := c.Acquire(t.Context(), "render", options...)
			if err != nil {
				t.Fatal(err)
			}
			leases = append(leases, l)
		}
		other, err := c.Acquire(t.Context(), "export")
		if err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(dir, stateFile+".new")
		if err := os.Mkdir(full, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := c.Release(t.Context(), "render"); !errors.Is(err, ErrClientStore) {
			t.Errorf("released on a full disk: %v", err)
		}
		pass(30 * time.Second)
		os.Remove(full)
		pass(30 * time.Second)
		for i, l := range leases {
			if !errors.Is(l.Err(), ErrReleased) {
				t.Errorf("lease %d: %v", i, l.Err())
			}
		}
		if r, e := a.Used("render"), a.Used("export"); r != 0 || e != 1 || other.Err() != nil {
			t.Errorf("%d of render and %d of export are booked, want 0 and 1; %v", r, e, other.Err())
		}
		if held, err := c.Held(t.Context()); err != nil || len(held) != 1 {
			t.Errorf("held %v, %v", held, err)
		}
	})
}

// One of two leases is given back on a machine whose binding is broken: the other one stays to its end.
func TestReleaseWithoutTheBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := capabilitytest.New(t, capabilitytest.Item("render", 4), capabilitytest.Item("paint", 4))
		c, err := New(Options{Trust: a.Trust(), Dir: t.TempDir(), Dial: a.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		render, err := c.Acquire(t.Context(), "render", Count(2))
		if err != nil {
			t.Fatal(err)
		}
		paint, err := c.Acquire(t.Context(), "paint")
		if err != nil {
			t.Fatal(err)
		}
		a.SetPolicy(capability.Policy{Binding: hostid.RuleSecondaries, Grace: capability.NoGrace})
		a.Provision(capabilitytest.Item("render", 4), capabilitytest.Item("paint", 4))
		pass(time.Second)
		if err := paint.Release(t.Context()); err != nil {
			t.Errorf("released: %v", err)
		}
		if p, r := a.Used("paint"), a.Used("render"); p != 0 || r != 2 {
			t.Errorf("%d of paint and %d of render are booked", p, r)
		}
		if err := render.Err(); err != nil {
			t.Errorf("the other lease: %v", err)
		}
		if _, err := c.Acquire(t.Context(), "paint"); !errors.Is(err, ErrBinding) {
			t.Errorf("acquired with a broken binding: %v", err)
		}
	})
}
