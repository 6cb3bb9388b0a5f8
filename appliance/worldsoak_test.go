package appliance

import (
	"fmt"
	"sync"
	"testing"

	"github.com/leasehold/leasehold/storage/storagetest"
)

const (
	lifetime = 1000 // operations of a life
	atOnce   = 2    // lives that are led side by side
)

// A site lives for weeks under everything that happens and everything that its administrator tries, and keeps every promise after each step.
// The first life that ends badly is shrunk to a schedule that can be kept in testdata/schedules.
func TestSoakWholeSystem(t *testing.T) {
	lives := storagetest.Size(t, 12, 20_000, 200_000)
	var (
		mu             sync.Mutex
		next           uint64
		tried, failed  int
		days, restored int64
		counts         = map[string]int{}
		all            sync.WaitGroup
	)
	take := func() (seed uint64, more bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= uint64(lives) && failed == 0
	}
	for range atOnce {
		all.Go(func() {
			for seed, more := take(); more; seed, more = take() {
				s := draw(seed, lifetime)
				w, done, err := s.live(t)
				mu.Lock()
				tried++
				days += (w.now - begins) / 86400
				for what, n := range w.counts {
					counts[what] += n
				}
				restored += int64(w.counts["disks restored"])
				first := err != nil && failed == 0
				if err != nil {
					failed++
				}
				mu.Unlock()
				if first {
					short, wrong := s.shortest(t)
					t.Logf("seed %d fails at operation %d: %v\nthe shortest life that does, %d operations: %v\n%s", seed, done, err, len(short.ops), wrong, short)
				}
			}
		})
	}
	all.Wait()
	storagetest.Tried(t, tried, failed)
	t.Logf("%d lives of %d operations, %.1f years, %d disks restored: %s", tried, lifetime, float64(days)/365, restored, fmt.Sprint(counts))
}
