package appliance

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTurns plays short stories with one turn at a time. A step is NAME@ADDRESS waits, at NAME+ADDRESS one that devices came from, NAME- ends; =NAMES are those who have turns after it.
func TestTurns(t *testing.T) {
	for _, row := range []struct{ name, story string }{
		{"the first works at once", "a@1=a a-= b@1=b"},
		{"in order within an address", "a@1=a b@1=a c@1=a a-=b b-=c c-="},
		{"addresses take turns", "a@1=a b@1=a c@1=a d@2=a e@3=a a-=b b-=d d-=e e-=c c-="},
		{"a flood waits for its own", "a@1=a b@1=a c@1=a d@1=a e@1=a a-=b x@2=b b-=c c-=x x-=d"},
		{"who left is passed over", "a@1=a b@1=a c@2=a b-=a a-=c c-="},
		{"devices go before strangers", "a@1=a b@2=a c@3=a x+9=a a-=x y+9=x x-=y y-=b b-=c c-="},
		{"and take turns", "a@1=a x+8=a y+8=a z+9=a a-=x x-=z z-=y y-="},
		{"but not for good", "a@1=a b@1=a v+8=a w+8=a x+8=a y+8=a a-=v v-=w w-=x x-=b b-=y y-="},
		{"who left takes none of their row", "a@1=a b@1=a v+8=a w+8=a x+8=a y+8=a v-=a a-=w w-=x x-=y y-=b b-="},
		{"ending twice is ending once", "a@1=a b@2=a a-=b a-=b"},
	} {
		turns, all := newTurns(1), map[string]*turn{}
		for step := range strings.FieldsSeq(row.story) {
			what, want, _ := strings.Cut(step, "=")
			if i := strings.IndexAny(what, "@+"); i > 0 {
				all[what[:i]] = turns.wait(address(what[i+1]), what[i] == '+')
			} else {
				turns.end(all[what[:1]])
			}
			var has []string
			for n, w := range all {
				if w.works() {
					has = append(has, n)
				}
			}
			if slices.Sort(has); strings.Join(has, "") != want {
				t.Fatalf("%s: %s: %q work", row.name, step, has)
			}
		}
	}
}

func (w *turn) works() bool {
	select {
	case <-w.ready:
		return !w.gone
	default:
		return false
	}
}

// TestTurnsLeaveProcessors: handshakes never work on the spare ones, and go on where there are none.
func TestTurnsLeaveProcessors(t *testing.T) {
	for processors := 1; processors <= 64; processors++ {
		begins, ends := turnsFor(processors)
		if begins < 1 || ends < begins || ends > begins+1 || begins+ends != max(2, processors-SpareProcessors) {
			t.Errorf("%d processors: %d and %d turns", processors, begins, ends)
		}
	}
}

// TestTurnsAreNotLost: never more work than may, never fewer while somebody waits, and at the end nothing is left.
func TestTurnsAreNotLost(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		most := 1 + r.IntN(3)
		turns := newTurns(most)
		var all []*turn
		for step := range 300 {
			if r.IntN(2) == 0 && step < 250 || len(all) == 0 {
				all = append(all, turns.wait(address(byte(r.IntN(4))), r.IntN(2) == 0))
			} else {
				i := r.IntN(len(all))
				turns.end(all[i])
				all = slices.Delete(all, i, i+1)
			}
			works := 0
			for _, w := range all {
				if w.works() {
					works++
				}
			}
			if works != min(most, len(all)) || works+turns.free != most {
				t.Fatalf("seed %d, step %d: %d of %d work, %d turns free of %d", seed, step, works, len(all), turns.free, most)
			}
		}
		for _, w := range all {
			turns.end(w)
		}
		if turns.free != most || turns.known.Len()+turns.others.Len() != 0 || len(turns.lines) != 0 {
			t.Fatalf("seed %d: at the end %d of %d turns are free, %d lines are left", seed, turns.free, most, len(turns.lines))
		}
	}
}
