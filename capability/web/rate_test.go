package web

import (
	"fmt"
	"testing"
	"time"
)

// An address has its burst, then one more in each interval, and never more than its burst again; others are not slowed down by it.
func TestRate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := NewRate(func() time.Time { return now }, 3, time.Second)
	for _, step := range []struct {
		after time.Duration
		takes int           // that go through
		wait  time.Duration // of the next one
	}{{0, 3, time.Second}, {time.Second / 2, 0, time.Second / 2}, {time.Second / 2, 1, time.Second}, {time.Hour, 3, time.Second}, {2 * time.Second, 2, time.Second}} {
		now = now.Add(step.after)
		for i := range step.takes {
			if wait := r.Take("a"); wait != 0 {
				t.Errorf("after %s, number %d waits %s", step.after, i, wait)
			}
		}
		if wait := r.Take("a"); wait != step.wait {
			t.Errorf("after %s one too many waits %s, want %s", step.after, wait, step.wait)
		}
	}
	if wait := r.Take("b"); wait != 0 {
		t.Errorf("another address waits %s", wait)
	}
}

// However many addresses there are, so many are remembered, and those that still wait before those that do not.
func TestRateForgets(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := NewRate(func() time.Time { return now }, 1, time.Minute)
	for i := range maxRated {
		r.Take(fmt.Sprint(i))
	}
	now = now.Add(30 * time.Second)
	r.Take("0") // waits, and is kept as it is
	now = now.Add(29 * time.Second)
	r.Take("late") // all are still waiting, so that all are forgotten
	if len(r.full) != 1 {
		t.Errorf("%d addresses", len(r.full))
	}
	for i := range maxRated - 1 {
		r.Take(fmt.Sprint(i))
	}
	now = now.Add(time.Minute)
	r.full["waits"] = now.Add(time.Minute)
	delete(r.full, "0")
	r.Take("another")
	if len(r.full) != 2 || r.Take("waits") == 0 {
		t.Errorf("%d addresses", len(r.full))
	}
}

// A subscriber has many addresses of IPv6, and no more for it.
func TestRateOfOneNetwork(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := NewRate(func() time.Time { return now }, 3, time.Second)
	for i := range 5 {
		if wait := r.Take(fmt.Sprintf("2001:db8::%x", i)); (wait != 0) != (i >= 3) {
			t.Errorf("address %d waits %s", i, wait)
		}
	}
	if wait := r.Take("2001:db8:0:1::1"); wait != 0 {
		t.Errorf("another network waits %s", wait)
	}
}
