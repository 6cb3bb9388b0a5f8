package appliance

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/storage/storagetest"
)

const lifetime = 1000 // operations of a life

// A site lives for weeks under everything that happens and everything that its administrator tries, and keeps every promise after each step.
func TestSoakWholeSystem(t *testing.T) {
	lives := storagetest.Size(t, 40, 20_000, 200_000)
	tried, failed := 0, 0
	var days int64
	counts := map[string]int{}
	for seed := range uint64(lives) {
		s := draw(seed, lifetime)
		w, done, err := s.live(t)
		days += (w.now - begins) / 86400
		tried++
		for what, n := range w.counts {
			counts[what] += n
		}
		if err != nil {
			failed++
			short, wrong := s.shortest(t)
			t.Logf("seed %d fails at operation %d: %v\nthe shortest life that does, %d operations: %v\n%s", seed, done, err, len(short.ops), wrong, short)
			if failed == 3 {
				break
			}
		}
	}
	storagetest.Tried(t, tried, failed)
	t.Logf("%d lives, %.1f years; %s", tried, float64(days)/365, fmt.Sprint(counts))
}
