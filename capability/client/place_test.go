package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

func TestPlaces(t *testing.T) {
	for _, row := range []struct{ list, appliances, order []string }{
		{[]string{"a:1", "b:2"}, []string{"a:1", "b:2"}, []string{""}},
		{[]string{"a:1", "https://Office.example:7443/", "b:2", "https://office.example:7443"}, []string{"a:1", "b:2"}, []string{"", "https://office.example:7443"}},
		{[]string{"https://one", "a:1", "https://two/licenses/"}, []string{"a:1"}, []string{"https://one", "", "https://two/licenses"}},
	} {
		appliances, order, err := places(row.list)
		if err != nil || !slices.Equal(appliances, row.appliances) || !slices.Equal(order, row.order) {
			t.Errorf("%q: %q, %q, %v", row.list, appliances, order, err)
		}
	}
	for address, want := range map[string]error{
		"http://office.example": ErrPlain, "https://": ErrOfficeUnreachable, "https://user:secret@office.example": ErrOfficeUnreachable, "https://office.example/?a=b": ErrOfficeUnreachable,
		"ftp://office.example": ErrOfficeUnreachable,
	} {
		if _, err := New(Options{Servers: []string{"a:1", address}, Trust: newProducer(t, 1).trust, Dir: t.TempDir()}); !errors.Is(err, want) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// The list is tried in its order: what cannot be reached is passed over, a no is an answer, and a seat of a back office is a lease like another.
func TestServerListWithAnOffice(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		_, code := w.license("render", ana, 24*3600)
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 1))
		asked := 0
		open := func(servers ...string) *Client {
			one := w.machine(1)
			options := one.options
			if err := one.Close(); err != nil {
				t.Fatal(err)
			}
			return s.client(t.TempDir(), func(o *Options) {
				o.Servers, o.carry = servers, w
				o.Seats = func(ctx context.Context) (*Standalone, error) { return OpenStandalone(ctx, options) }
				o.SignIn = func(_ context.Context, server string) (Credentials, error) {
					if asked++; server != "https://office.example" {
						t.Errorf("the user of %s is asked for", server)
					}
					c := Credentials{acme, ana, words, code}
					code = ""
					return c, nil
				}
			})
		}
		const office = "https://office.example"
		ctx := t.Context()

		c := open("one:7070", office)
		l, err := c.Acquire(ctx, "render:1.0")
		if err != nil || l.seat != nil || asked != 0 || len(w.sessions()) != 0 {
			t.Fatalf("the appliance is there, and the back office is asked: %v", err)
		}
		if _, err := c.Acquire(ctx, "render:1.0"); !errors.Is(err, ErrNoSeat) || len(w.sessions()) != 0 {
			t.Errorf("a no is passed over: %v", err)
		}
		if err := l.Release(ctx); err != nil {
			t.Fatal(err)
		}

		s.set(true)
		l, err = c.Acquire(ctx, "render:1.0")
		if err != nil || l.seat == nil || asked != 1 || len(w.sessions()) != 1 {
			t.Fatalf("the appliance is away: %v, asked %d times", err, asked)
		}
		if left := l.Expiry().Sub(time.Now()); left < 23*time.Hour || l.Count() != 1 || l.Feature().Name != "render" || l.Notice() != "" {
			t.Errorf("%s left, %d, %s, %q", left, l.Count(), l.Feature(), l.Notice())
		}
		if _, err := c.Acquire(ctx, "render:1.0", Count(2)); !has(err, capability.ErrLimit) {
			t.Errorf("two seats on one machine: %v", err)
		}
		if _, err := c.Acquire(ctx, "other"); err == nil || silent(err) {
			t.Errorf("a feature that the user has no seat of: %v", err)
		}
		after(2 * time.Hour)
		if l.Err() != nil {
			t.Error(l.Err())
		}
		w.meddle(func() { w.cut = true })
		after(time.Hour)
		if l.Err() != nil || l.Notice() == "" {
			t.Errorf("%v, %q", l.Err(), l.Notice())
		}
		if _, err := c.Acquire(ctx, "render:1.0"); !silent(err) {
			t.Errorf("nobody is there: %v", err)
		}
		if p := c.Passed(); len(p) != 2 || p[0].Server != "one:7070" || !errors.Is(p[0].Err, ErrServerUnreachable) || p[1].Server != office || !errors.Is(p[1].Err, ErrOfficeUnreachable) {
			t.Errorf("passed over: %v", p)
		}
		w.meddle(func() { w.cut = false })
		if err := l.Release(ctx); err != nil || l.Err() != ErrReleased || len(w.sessions()) != 0 {
			t.Errorf("%v, %v, %d sessions", err, l.Err(), len(w.sessions()))
		}

		// First in the list, the back office is first. Close gives its seats back, and what it signed as ended ends the lease.
		s.set(false)
		b := open(office, "one:7070")
		w.meddle(func() { w.cut = true })
		if l, err = b.Acquire(ctx, "render:1.0"); err != nil || l.seat != nil {
			t.Fatalf("the back office is away, and the appliance is not asked: %v", err)
		}
		if p := b.Passed(); len(p) != 1 || p[0].Server != office || !errors.Is(p[0].Err, ErrOfficeUnreachable) {
			t.Errorf("passed over: %v", p)
		}
		if err := l.Release(ctx); err != nil {
			t.Fatal(err)
		}
		w.meddle(func() { w.cut = false })
		if l, err = b.Acquire(ctx, "render:1.0", TakeOver()); err != nil || l.seat == nil || len(w.sessions()) != 1 || len(b.Passed()) != 0 {
			t.Fatal(err, b.Passed())
		}
		if err := b.Close(); err != nil || len(w.sessions()) != 0 {
			t.Errorf("%v, %d sessions", err, len(w.sessions()))
		}
		<-l.Lost()
		if _, err := b.Acquire(ctx, "render:1.0"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}

		// Without appliances the rest says so, and nobody who signs in is a refusal of its own.
		alone := open(office)
		alone.options.SignIn = nil
		if _, err := alone.Acquire(ctx, "render:1.0"); !errors.Is(err, ErrUserToken) {
			t.Errorf("nobody has signed in: %v", err)
		}
		if _, err := alone.Preview(ctx, "render:1.0"); !errors.Is(err, ErrServerUnreachable) {
			t.Error(err)
		}
		if err := errors.Join(alone.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
}
