package web

import (
	"sync"
	"time"
)

// maxRated addresses are told apart; with the next one those that have their whole burst again are forgotten, and all where that does not help.
const maxRated = 100_000

// Rate lets each address, with what is Nearby, do so many things at once, and then one more in every interval.
type Rate struct {
	now   func() time.Time
	burst int
	every time.Duration

	mu sync.Mutex
	// full says when an address has its whole burst again.
	full map[string]time.Time
}

// NewRate has seen nobody.
func NewRate(now func() time.Time, burst int, every time.Duration) *Rate {
	return &Rate{now: now, burst: burst, every: every, full: map[string]time.Time{}}
}

// Take counts one thing of an address, or says how long it has to wait; then it counts nothing.
func (r *Rate) Take(address string) time.Duration {
	address = Nearby(address)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	full := r.full[address]
	if full.Before(now) {
		full = now
	}
	full = full.Add(r.every)
	if wait := full.Sub(now) - time.Duration(r.burst)*r.every; wait > 0 {
		return wait
	}
	if _, known := r.full[address]; !known && len(r.full) >= maxRated {
		r.forget(now)
	}
	r.full[address] = full
	return 0
}

func (r *Rate) forget(now time.Time) {
	for a, full := range r.full {
		if !full.After(now) {
			delete(r.full, a)
		}
	}
	if len(r.full) >= maxRated {
		clear(r.full)
	}
}
