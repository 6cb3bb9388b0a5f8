package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability/capabilitytest"
)

// cable is a network that breaks at one call of a connection, before it, amid it or after it, until it is mended.
type cable struct {
	a     *capabilitytest.Appliance
	mu    sync.Mutex
	left  int // calls until it breaks; below zero it does not
	how   string
	broke bool
	dir   string // of the program that is killed there
	found []byte // what it leaves
}

var fates = []string{"request lost", "cut half way", "answer lost", "killed"}

func (w *cable) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broke {
		return nil, errCut
	}
	c, err := w.a.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &breaking{c, w}, nil
}

func (w *cable) strikes() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = max(w.left-1, -2)
	if w.left == -1 {
		w.broke = true
		w.found, _ = os.ReadFile(filepath.Join(w.dir, stateFile))
	}
	return w.left == -1
}

// arm lets the n-th call from here break, and says whether the one armed before did.
func (w *cable) arm(n int, how string) (broke bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	broke, w.broke, w.left, w.how = w.broke, false, n, how
	return broke
}

type breaking struct {
	net.Conn
	w *cable
}

var errCut = errors.New("the cable was pulled")

func (b *breaking) Write(p []byte) (int, error) {
	if !b.w.strikes() {
		return b.Conn.Write(p)
	}
	defer b.Conn.Close()
	switch b.w.how {
	case fates[1]:
		b.Conn.Write(p[:len(p)/2])
	case fates[2], fates[3]:
		b.Conn.Write(p)
		b.Conn.Read(make([]byte, 1)) // it was answered
	}
	return 0, errCut
}

func (b *breaking) Read(p []byte) (int, error) {
	if !b.w.strikes() {
		return b.Conn.Read(p)
	}
	defer b.Conn.Close()
	if b.w.how == fates[1] {
		n, _ := b.Conn.Read(p[:max(1, len(p)/2)])
		return n / 2, errCut
	}
	return 0, errCut
}

func (w *cable) client(t *testing.T, dir, alias string) *Client {
	t.Helper()
	c, err := New(Options{Trust: w.a.Trust(), Dir: dir, Alias: alias, Dial: w.dial})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// believes is what a device could use of a feature now: its leases, and what it takes when no server can be reached.
func believes(t *testing.T, w *cable, c *Client, feature string) (n uint32) {
	t.Helper()
	c.mu.Lock()
	for l := range c.leases {
		if l.feature.Name == feature && c.options.Clock().Before(l.expiry) {
			n += l.count
		}
	}
	c.mu.Unlock()
	w.a.Down()
	defer w.a.Up()
	for {
		l, err := c.Acquire(t.Context(), feature)
		if err != nil {
			return n
		}
		n++
		defer c.change(t.Context(), func(s *state) error { // as if it had never been asked for
			c.mu.Lock()
			defer c.mu.Unlock()
			l.lose(ErrReleased)
			s.add(l.holder, l.feature, -1)
			return nil
		})
	}
}

// What is given back is not believed in any more, wherever the exchange breaks: neither without the server, nor from an older disk that is in a hold. And when all
// is well again, the appliance has booked exactly what is held.
func TestLostAtEveryPoint(t *testing.T) {
	const total = 4
	for name, op := range map[string]func(ctx context.Context, c *Client, l *Lease) error{
		"lease released":   func(ctx context.Context, _ *Client, l *Lease) error { return l.Release(ctx) },
		"feature released": func(ctx context.Context, c *Client, _ *Lease) error { return c.Release(ctx, "render") },
		"closed":           func(_ context.Context, c *Client, _ *Lease) error { return c.Close() },
		"more acquired": func(ctx context.Context, c *Client, _ *Lease) error {
			_, err := c.Acquire(ctx, "render")
			return err
		},
		"another acquired": func(ctx context.Context, c *Client, _ *Lease) error {
			_, err := c.Acquire(ctx, "export")
			return err
		},
	} {
		for _, how := range fates {
			if name != "lease released" && how != "answer lost" && !(name == "another acquired" && how == "killed") {
				continue // it is the same exchange
			}
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				points := 0
				for at, broke := 0, true; broke; at++ {
					for _, older := range []string{"that knows of the lease", "from before the lease"} {
						if older == "from before the lease" && name != "lease released" {
							continue // what is said to it does not depend on why
						}
						synctest.Test(t, func(t *testing.T) { broke = lostAt(t, op, at, how, older, total) })
					}
					points++
				}
				if points < 3 {
					t.Errorf("the exchange has %d points at which it was cut", points-1)
				}
			})
		}
	}
}

func lostAt(t *testing.T, op func(context.Context, *Client, *Lease) error, at int, how, older string, total uint32) (broke bool) {
	w := &cable{a: capabilitytest.New(t, capabilitytest.Item("render", total), capabilitytest.Item("export", 2)), left: -1}
	dir := t.TempDir()
	w.dir = dir
	c, other := w.client(t, dir, "ws-1"), w.client(t, t.TempDir(), "ws-2")
	defer other.Close()
	where := func() string { return fmt.Sprintf("point %d, a disk %s", at, older) }
	if _, err := c.Acquire(t.Context(), "export"); err != nil {
		t.Fatal(err)
	}
	before := w.a.Copy()
	if _, err := c.Acquire(t.Context(), "render", Count(2)); err != nil {
		t.Fatal(err)
	}
	l, err := c.Acquire(t.Context(), "render")
	if err != nil {
		t.Fatal(err)
	}
	if older == "that knows of the lease" {
		before = w.a.Copy()
	}

	w.arm(at, how)
	failed := op(t.Context(), c, l)
	broke = w.arm(-1, "")
	if how == "killed" {
		c.mu.Lock()
		if !c.closed {
			c.closed = true
			c.end(ErrClosed)
		}
		c.mu.Unlock()
		c.ended.Wait()
		c.link.close()
		c.store.alive.Close()
		if broke {
			if err := os.WriteFile(filepath.Join(dir, stateFile), w.found, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c = w.client(t, dir, "ws-1")
	} else if c.isClosed() {
		c = w.client(t, dir, "ws-1")
	}
	defer func() { c.Close() }()

	// What the appliance has free now, somebody else takes.
	taken := uint32(0)
	for taken < total {
		if _, err := other.Acquire(t.Context(), "render"); err != nil {
			break
		}
		taken++
	}
	if n := believes(t, w, c, "render"); n+taken > total {
		t.Fatalf("%s: believes in %d of %d while another holds %d; %v", where(), n, total, taken, failed)
	}
	w.a.Restore(before)
	for range total {
		c.Acquire(t.Context(), "render", Keep())
	}
	if n := believes(t, w, c, "render"); n+taken > total {
		t.Fatalf("%s: believes in %d of %d from an older disk while another holds %d", where(), n, total, taken)
	}
	<-time.After(16 * time.Minute) // the hold and all leases are over
	synctest.Wait()
	if err := c.Close(); err != nil {
		t.Errorf("%s: %v", where(), err)
	}
	if err := other.Close(); err != nil {
		t.Errorf("%s: %v", where(), err)
	}
	<-time.After(16 * time.Minute)
	synctest.Wait()
	if n := w.a.Used("render"); n != 0 {
		t.Errorf("%s: %d are booked when nobody is left", where(), n)
	}
	return broke
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// An appliance that knows nothing of the lease refuses the lines that stay, in a hold; then another copy of its disk comes back, which knows of all of it.
func TestGaveBackUnheardThenTwoOlderDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total = 4
		w := &cable{a: capabilitytest.New(t, capabilitytest.Item("render", total)), left: -1}
		c, other := w.client(t, t.TempDir(), "ws-1"), w.client(t, t.TempDir(), "ws-2")
		defer c.Close()
		defer other.Close()
		empty := w.a.Copy()
		if _, err := c.Acquire(t.Context(), "render", Count(2)); err != nil {
			t.Fatal(err)
		}
		l, err := c.Acquire(t.Context(), "render", Count(2))
		if err != nil {
			t.Fatal(err)
		}
		full := w.a.Copy()
		w.arm(0, "answer lost")
		if err := l.Release(t.Context()); !errors.Is(err, ErrServerUnreachable) {
			t.Fatal(err)
		}
		w.arm(-1, "")
		if _, err := other.Acquire(t.Context(), "render", Count(2)); err != nil {
			t.Fatal(err)
		}
		for _, disk := range []capabilitytest.Disk{empty, full} {
			w.a.Restore(disk)
			if _, err := c.Acquire(t.Context(), "render"); !errors.Is(err, ErrHold) {
				t.Errorf("a third one in a hold: %v", err)
			}
			if n := believes(t, w, c, "render"); n > total-2 {
				t.Errorf("believes in %d of %d while another holds 2", n, total)
			}
		}
	})
}

// An answer that is heard long after it was made gives no more time than it gave then: no more is believed at any time than the appliance has booked.
func TestHeardLate(t *testing.T) {
	for at := 8; at < 20; at++ { // the chain, what was not answered, and the next
		synctest.Test(t, func(t *testing.T) {
			w := &cable{a: capabilitytest.New(t, capabilitytest.Item("render", 4)), left: -1}
			c := w.client(t, t.TempDir(), "ws-1")
			defer c.Close()
			if _, err := c.Acquire(t.Context(), "render", Count(2)); err != nil {
				t.Fatal(err)
			}
			w.arm(0, "answer lost") // of the renewal after 135 s
			<-time.After(14 * time.Minute)
			w.arm(at, "request lost")
			<-time.After(30 * time.Second)
			for _, minute := range []time.Duration{1, 4, 5} {
				<-time.After(minute * time.Minute)
				if n, booked := believes(t, w, c, "render"), w.a.Used("render"); uint64(n) > booked {
					t.Fatalf("point %d: believes in %d, and %d are booked", at, n, booked)
				}
			}
		})
	}
}
