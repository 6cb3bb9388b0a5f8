//go:build vm && vmfull

package vm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// seed is the one that SEED names, or another each time. A run with the same one takes the same moments.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SEED")
	if text == "" {
		text = strconv.FormatInt(time.Now().Unix(), 10)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	t.Logf("seed %d", n)
	return n
}

// Check 6 at its full size, and more: 200 pulls of the stick at random moments.
func TestFullPulls(t *testing.T) {
	t.Parallel()
	pulls(t, 200, seed(t))
}

// 100 power cuts at random moments of serving, every fourth of them with another while the machine starts again: no lease that was confirmed is lost.
func TestFullPowerCuts(t *testing.T) {
	t.Parallel()
	const cuts, clients = 100, 4
	r := rand.New(rand.NewPCG(seed(t), 1))
	var survived, confirmed, lost atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d power cuts of %d went to their end: %d leases were confirmed, %d of them lost", survived.Load(), cuts, confirmed.Load(), lost.Load())
	})
	for i := range cuts {
		serving, starting := time.Duration(r.Int64N(int64(5*time.Second))), time.Duration(r.Int64N(int64(40*time.Second)))
		t.Run(fmt.Sprintf("cut %d", i), func(t *testing.T) {
			t.Parallel()
			s := goesOn(t, activated)
			held, end := s.loaded(clients)
			s.lets(serving)
			s.vm.Kill()
			end()
			if i%4 == 3 {
				s.switchesOn()
				s.lets(starting)
				s.vm.Kill()
			}
			s.boots()
			for _, h := range held {
				confirmed.Add(1)
				if err := h.other.Release(s.within(stepTime)); err != nil || !h.first.Expiry().After(h.until) {
					lost.Add(1)
					t.Errorf("%s has lost its lease, confirmed until %s: it ends at %s, %v", h.name, h.until, h.first.Expiry(), err)
				}
			}
			survived.Add(1)
		})
	}
}
