package client

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Less than was asked for is taken beside what the device has, is counted as what it is, and is renewed as that; nothing at all is a refusal that loses nothing.
func TestPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 7))
		one, two := s.client(t.TempDir()), s.client(t.TempDir())
		defer one.Close()
		defer two.Close()
		first, err := one.Acquire(t.Context(), "render", Count(2))
		if err != nil {
			t.Fatal(err)
		}
		more, err := one.Acquire(t.Context(), "render", Count(100), Partial())
		if err != nil || more.Count() != 5 || first.Count() != 2 || s.used("render") != 7 {
			t.Fatalf("%v; %d are in use", err, s.used("render"))
		}
		for _, c := range []*Client{one, two} {
			if _, err := c.Acquire(t.Context(), "render", Count(3), Partial()); !errors.Is(err, ErrNoSeat) {
				t.Errorf("of nothing: %v", err)
			}
		}
		<-time.After(20 * time.Minute) // renewed as what they are
		if first.Err() != nil || more.Err() != nil || s.used("render") != 7 {
			t.Errorf("%v, %v; %d are in use", first.Err(), more.Err(), s.used("render"))
		}
		if err := more.Release(t.Context()); err != nil || s.used("render") != 2 {
			t.Errorf("%v; %d are in use where 5 of 7 were given back", err, s.used("render"))
		}
		if l, err := two.Acquire(t.Context(), "render", Count(5), Partial()); err != nil || l.Count() != 5 {
			t.Errorf("all that was asked for: %v", err)
		}
	})
}

// Who waits has a place in the queue, and a seat that comes free is his, also if somebody else asks first.
func TestWaitKeepsAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 1))
		var all []*Client
		for range 3 {
			all = append(all, s.client(t.TempDir()))
		}
		held, err := all[0].Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := all[1].Acquire(t.Context(), "render", Wait(time.Hour))
			got <- err
		}()
		<-time.After(20 * time.Second) // it waits, and will ask again in up to 15 s
		_, err = all[2].Acquire(t.Context(), "render", Wait(time.Second))
		var no *capability.Refusal
		if !errors.As(err, &no) || no.Position != 2 {
			t.Errorf("the second in line: %v, %+v", err, no)
		}
		if err := held.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := all[2].Acquire(t.Context(), "render"); !errors.Is(err, ErrNoSeat) {
			t.Errorf("past somebody who waits: %v", err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
		for _, c := range all {
			c.Close()
		}
	})
}

// Who is first in line starts at the second that he was shown as the earliest known end, by a clock that is right or one that differs a little.
func TestWaitEndsAtTheKnownEnd(t *testing.T) {
	for _, off := range []time.Duration{0, -2 * time.Second, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, newProducer(t, 1), item("render", "1.0", 1))
			one, two := s.client(t.TempDir()), s.client(t.TempDir())
			two.options.Clock = func() time.Time { return time.Now().Add(off) }
			if _, err := one.Acquire(t.Context(), "render", Keep()); err != nil {
				t.Fatal(err)
			}
			one.Close() // and is not heard of again
			_, err := two.Acquire(t.Context(), "render")
			var no *capability.Refusal
			if !errors.As(err, &no) || no.Until == 0 {
				t.Fatalf("%v: no known end", err)
			}
			if _, err := two.Acquire(t.Context(), "render", Wait(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if late := time.Since(no.Until.Std()); late < 0 || late > off.Abs()+time.Second {
				t.Errorf("%s after the end that was shown, by a clock that is %s off", late, off)
			}
			two.Close()
		})
	}
}

// Who waits no more, because the time is over or somebody has had enough, leaves the queue, and keeps what the device has.
func TestWaitThatEndsLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 2))
		one, two, three := s.client(t.TempDir()), s.client(t.TempDir()), s.client(t.TempDir())
		held, err := one.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		also, err := two.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		enough, had := context.WithTimeout(t.Context(), 3*time.Second)
		defer had()
		for _, c := range []*Client{two, three} {
			if _, err := c.Acquire(t.Context(), "render", Wait(time.Second)); !errors.Is(err, ErrNoSeat) {
				t.Error(err)
			}
			if _, err := c.Acquire(enough, "render", Wait(time.Hour)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if err := held.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Acquire(t.Context(), "render"); err != nil {
			t.Errorf("behind nobody: %v", err)
		}
		if also.Err() != nil || s.used("render") != 2 {
			t.Errorf("%v, %d are in use", also.Err(), s.used("render"))
		}
		for _, c := range []*Client{one, two, three} {
			c.Close()
		}
	})
}

// The longest borrow is the device's until it holds nothing, also for programs that begin later; a refused one changes nothing.
func TestBorrowIsTheDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := item("render", "1.0", 9)
		i.Borrow = 7 * 24 * 60 * 60
		s := newServer(t, newProducer(t, 1), i)
		dir := t.TempDir()
		asked := func(want time.Duration) {
			t.Helper()
			if got := s.last().Borrow.Duration(); got != want {
				t.Errorf("asked for %s where %s is wanted", got, want)
			}
		}
		take := func(options ...Option) {
			t.Helper()
			c := s.client(dir)
			defer c.Close()
			if _, err := c.Acquire(t.Context(), "render", append(options, Keep())...); err != nil {
				t.Fatal(err)
			}
		}
		take()
		asked(0)
		take(Borrow(72 * time.Hour))
		asked(72 * time.Hour)
		take(Borrow(time.Hour))
		asked(72 * time.Hour)
		c := s.client(dir)
		defer c.Close()
		if _, err := c.Acquire(t.Context(), "render", Borrow(100*time.Hour), Count(50)); !errors.Is(err, ErrNoSeat) {
			t.Error(err)
		}
		asked(100 * time.Hour)
		if _, err := c.Acquire(t.Context(), "render", Keep()); err != nil {
			t.Fatal(err)
		}
		asked(72 * time.Hour)
		if _, err := c.Acquire(t.Context(), "render", Borrow(-1)); err == nil {
			t.Error("a borrow of less than nothing")
		}
		if err := c.Release(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Acquire(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		asked(0)
	})
}

// What was passed over is told by server, and forgotten once it serves.
func TestPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProducer(t, 1)
		a, b := newServer(t, p, item("render", "1.0", 1)), newServer(t, newProducer(t, 7), item("render", "1.0", 1))
		at := map[string]*server{"a": a, "b": b, "c": a}
		c := a.client(t.TempDir(), func(o *Options) {
			o.Servers = []string{"dead", "b", "a"}
			o.Dial = dialled(at)
		})
		defer c.Close()
		if len(c.Passed()) != 0 {
			t.Error("passed over before anything was asked")
		}
		for range 2 {
			if _, err := c.Preview(t.Context(), "render"); err != nil {
				t.Fatal(err)
			}
			got := c.Passed()
			if len(got) != 2 || got[0].Server != "dead" || !errors.Is(got[0].Err, ErrServerUnreachable) || got[1].Server != "b" || !errors.Is(got[1].Err, ErrServerUnproven) {
				t.Errorf("passed over: %v", got)
			}
		}
	})
}

// A client that is closed leaves no goroutine, whatever it was doing.
func TestCloseLeavesNothing(t *testing.T) {
	mine := func() (n int) {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, g := range strings.Split(string(stacks), "\n\n") {
			if strings.Contains(g, "client.(*Client)") || strings.Contains(g, "client.(*link)") || strings.Contains(g, "client.(*store)") {
				n++
			}
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 2))
		for i, do := range []func(c *Client){
			func(c *Client) {},
			func(c *Client) { c.Acquire(t.Context(), "render") },
			func(c *Client) { go c.Acquire(t.Context(), "render", Count(9), Wait(time.Hour)) },
			func(c *Client) { go c.Preview(t.Context(), "render") },
			func(c *Client) { s.set(true); c.Acquire(t.Context(), "render") },
		} {
			c := s.client(t.TempDir())
			if do(c); i > 0 {
				synctest.Wait()
			}
			c.Close()
			s.set(false)
			synctest.Wait()
			if n := mine(); n > 0 {
				t.Errorf("%d: %d goroutines are left", i, n)
			}
		}
	})
}

// dialled connects to servers by name; another name is of nobody.
func dialled(at map[string]*server) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		if s := at[address]; s != nil {
			return s.dial(ctx, address)
		}
		return nil, errors.New("nobody listens")
	}
}
