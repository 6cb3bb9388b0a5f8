package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
)

// What one program of a device gives back or hears, the others follow before anybody else can have it.
func TestProgramsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		it := capabilitytest.Item("render", 4)
		it.Borrow = 30 * 24 * 60 * 60
		p := capability.DefaultPolicy()
		p.BorrowMaximum = it.Borrow
		a := capabilitytest.New(t)
		a.SetPolicy(p)
		a.Provision(it)
		dir := t.TempDir()
		open := func(borrow time.Duration) *Client {
			c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, Borrow: borrow})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		long, short := open(10*day), open(15*time.Minute)
		l, err := long.Acquire(t.Context(), "render")
		if err != nil || time.Until(l.Expiry()) < 9*day {
			t.Fatal(err, l)
		}
		<-time.After(time.Minute)
		if _, err := short.Acquire(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		a.Down()
		<-time.After(2 * wakeUp)
		synctest.Wait()
		if left := time.Until(l.Expiry()); left > 15*time.Minute {
			t.Errorf("another program heard that it ends in 15 minutes, and here %s are left", left)
		}
		a.Up()
		<-time.After(time.Minute)
		synctest.Wait()
		if left := time.Until(l.Expiry()); l.Err() != nil || left < 10*time.Minute {
			t.Errorf("asked again, %s are left; %v", left, l.Err())
		}
		if err := short.Release(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * wakeUp)
		synctest.Wait()
		if !errors.Is(l.Err(), ErrReleased) {
			t.Errorf("released by another program %s ago: %v", 2*wakeUp, l.Err())
		}
	})
}
