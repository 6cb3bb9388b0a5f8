package storage_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage/storagetest"
)

// count reports how many cases a soak test tried when it ends, in whatever way.
type count struct{ n int }

func counted(t *testing.T) *count {
	c := &count{}
	t.Cleanup(func() {
		failed := 0
		if t.Failed() {
			failed = 1
		}
		storagetest.Tried(t, c.n, failed)
	})
	return c
}

// operation is one thing a workload does; prepare, if there is one, is what the world did before.
type operation struct {
	name    string
	prepare func(*world)
	do      func(*world) error
}

func start(w *world) error {
	if _, err := w.open(); err != nil {
		return err
	}
	return w.begin()
}

func operationsOf() []operation {
	return []operation{
		{"commit", nil, func(w *world) error { return w.commit(1, 60) }},
		{"large commit", nil, func(w *world) error { return w.commit(2, 1900) }}, // leaves its segment
		{"empty commit", nil, func(w *world) error { return w.commit(0, 0) }},
		{"move", nil, func(w *world) error { return w.move(1) }},
		{"empty move", nil, func(w *world) error { return w.move(0) }},
		{"snapshot", nil, (*world).snapshot},
		{"stop, start", nil, func(w *world) error {
			if err := w.stop(); err != nil {
				return err
			}
			return start(w)
		}},
		{"kill, start", func(w *world) { w.m.Kill() }, start},
		{"power cut, start", func(w *world) { w.m.Cut(storagetest.Loss{Mode: storagetest.Lost, Unit: 512}) }, start},
	}
}

// workload3 is up to three operations after the first start.
type workload3 []operation

// workloads gives all of up to three operations, the short ones first.
func workloads() []workload3 {
	list := []workload3{{}}
	for from, length := 0, 0; length < 3; length++ {
		to := len(list)
		for _, w := range list[from:to] {
			for _, o := range operationsOf() {
				list = append(list, append(slices.Clone(w), o))
			}
		}
		from = to
	}
	return list
}

func (l workload3) String() string {
	names := []string{"create, begin"}
	for _, o := range l {
		names = append(names, o.name)
	}
	return strings.Join(names, ", ")
}

// before leads a life up to the last operation, and last is that.
func (l workload3) before(w *world) {
	for i, o := range l {
		if i == 0 {
			w.must(w.create())
			w.must(w.begin())
		}
		if o.prepare != nil {
			o.prepare(w)
		}
		if i < len(l)-1 {
			w.must(o.do(w))
		}
	}
}

func (l workload3) last(w *world) error {
	if len(l) > 0 {
		return l[len(l)-1].do(w)
	}
	if err := w.create(); err != nil {
		return err
	}
	return w.begin()
}

// mayHold says whether even a kill may be followed by a hold: power was lost before the last operation.
func (l workload3) mayHold() bool {
	return len(l) > 0 && strings.HasPrefix(l[len(l)-1].name, "power cut")
}

// on is the world as it is now, on a fork of its machine: for one of several ends.
func (w *world) on(m *storagetest.Machine) *world {
	c := *w
	c.m, c.o = m, m.Options()
	c.told, c.maybe, c.public = slices.Clone(w.told), slices.Clone(w.maybe), slices.Clone(w.public)
	return &c
}

// losses are the ways in which the world ends at one moment.
func losses(seed uint64) []end {
	list := ends(0)
	for _, unit := range []int64{512, 4096} {
		for _, mode := range []storagetest.Mode{storagetest.Lost, storagetest.Kept, storagetest.Torn, storagetest.Reordered} {
			if unit == 4096 && mode < storagetest.Torn {
				continue // nothing is cut in two
			}
			l := storagetest.Loss{Mode: mode, Unit: unit, Seed: seed}
			list = append(list, end{l.String(), func(m *storagetest.Machine) { m.Cut(l) }, true, true})
		}
	}
	return list
}

// TestSoakPowerCutAtEveryBoundary ends the process before, amid and after each call to disk and TPM of the last operation of every workload;
// then the world kills it, restarts or loses its power in each way. What was acknowledged is there, entry by entry, and the vault goes on.
func TestSoakPowerCutAtEveryBoundary(t *testing.T) {
	size := storagetest.Size(t, 6_000, 500_000, 10_000_000)
	tried := counted(t)
	boundaries, whole := 0, 0
	list := workloads()
	for seed := uint64(0); tried.n < size; seed++ {
		r := rand.New(rand.NewPCG(seed, 11))
		order := r.Perm(len(list))
		first := slices.Index(order, 0) // how a vault is made comes into every run
		order[0], order[first] = 0, order[0]
		for _, at := range order {
			if tried.n >= size {
				break
			}
			if seed == 0 {
				whole++
			}
			list[at].boundaries(t, seed, func(w *world, moment string) {
				if seed == 0 {
					boundaries++
				}
				for _, e := range losses(seed) {
					tried.n++
					one := w.on(w.m.Fork())
					one.TB = named{t, fmt.Sprintf("%s; ended %s, then %s; seed %d", list[at], moment, e.name, seed)}
					e.mayHold = list[at].mayHold()
					one.recover(e)
					if tried.n%8 == 0 {
						one.serves()
					} else {
						one.goesOn()
					}
				}
			})
		}
	}
	t.Logf("%d of %d workloads, %d boundaries in them", whole, len(list), boundaries)
}

// boundaries gives the world as it is between any two steps of the last operation, and in the middle of each write.
func (l workload3) boundaries(t *testing.T, seed uint64, moment func(w *world, name string)) {
	w := newWorld(t, seed)
	l.before(w)
	var writes []int
	step, last := 0, storagetest.Call{Op: "nothing"}
	w.m.Plan(nil)
	w.m.Watch = func(c storagetest.Call, fork *storagetest.Machine) {
		moment(w.on(fork), "after "+last.String())
		if c.Op == "write" {
			writes = append(writes, step)
		}
		step, last = step+1, c
	}
	w.must(l.last(w))
	w.m.Watch = nil
	moment(w.on(w.m.Fork()), "after all")
	for _, n := range writes {
		w := newWorld(t, seed)
		l.before(w)
		seen := 0
		w.m.Plan(func(int, storagetest.Call) *storagetest.Fault {
			if seen++; seen == n+1 {
				return &storagetest.Fault{Effect: storagetest.Half, Stop: true}
			}
			return nil
		})
		if err := l.last(w); !w.m.Stopped() {
			t.Fatalf("%s: write at step %d was not reached: %v", l, n, err)
		}
		moment(w.on(w.m.Fork()), fmt.Sprintf("amid the write at step %d", n))
	}
}

// goesOn is a short serves: the vault begins, takes a group, and gives it back after a kill.
func (w *world) goesOn() {
	w.Helper()
	w.must(w.begin())
	w.must(w.commit(1, 100))
	w.m.Kill()
	w.reopen()
}
