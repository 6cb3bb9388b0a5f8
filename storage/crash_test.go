package storage_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// workload goes through every operation, over several segments; it ends at the first error.
func workload(w *world) error {
	steps := []func() error{
		w.create, w.begin,
		func() error { return w.commit(1, 60) },
		func() error { return w.commit(3, 500) },
		func() error { return w.commit(0, 0) },
		func() error { return w.move(2) },
		func() error { return w.commit(1, 3000) },
		func() error { return w.commit(1, 2500) },
		w.snapshot,
		func() error { return w.commit(2, 50) },
		func() error { return w.move(0) },
		w.stop,
		func() error { _, err := w.open(); return err },
		w.begin,
		func() error { return w.commit(1, 1200) },
		func() error { return w.v.Close() },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// ends are what the world does after the process has ended at some step, and what the next start must say.
type end struct {
	name    string
	do      func(*storagetest.Machine)
	cut     bool
	mayHold bool // without a cut
}

func ends(cuts uint64) []end {
	list := []end{
		{"kill", (*storagetest.Machine).Kill, false, false},
		{"restart", (*storagetest.Machine).Restart, true, true},
	}
	for seed := range cuts {
		list = append(list, end{fmt.Sprintf("cut %d", seed), func(m *storagetest.Machine) { m.PowerCut(seed) }, true, true})
	}
	return list
}

// recover opens after an end; a vault whose Create was cut may be absent, and is made again.
func (w *world) recover(e end) {
	w.Helper()
	e.do(w.m)
	r, err := w.open()
	if errors.Is(err, storage.ErrAbsent) && !w.made {
		w.must(w.create())
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	if w.o.Anchor == nil {
		if r.Verdict != storage.Exact {
			w.Fatalf("verdict without an anchor is %s", r.Verdict)
		}
		return
	}
	if e.cut && r.Verdict == storage.Exact {
		w.Fatal("exact after power was lost")
	}
	if !e.cut && !e.mayHold && r.Verdict == storage.Hold {
		w.Fatalf("hold after a kill: %s", r.Cause)
	}
}

// stepsOf counts the steps of a run that nothing disturbs.
func stepsOf(w *world, run func(*world) error) int {
	w.must(run(w))
	return len(w.m.Calls())
}

// TestEndAtEveryStep ends the process before, amid and after each call to disk and TPM, of every operation.
func TestEndAtEveryStep(t *testing.T) {
	t.Run("anchor", func(t *testing.T) { endAtEveryStep(t, 150, newWorld) })
	t.Run("no anchor", func(t *testing.T) { endAtEveryStep(t, 80, newBook) })
}

// newBook is a world without an anchor.
func newBook(t testing.TB, seed uint64) *world {
	w := newWorld(t, seed)
	w.o.Anchor, w.o.Sealer = nil, book{}
	return w
}

func endAtEveryStep(t *testing.T, least int, make func(testing.TB, uint64) *world) {
	total := stepsOf(make(t, 1), workload)
	if total < least {
		t.Fatalf("workload has %d steps only", total)
	}
	for n := range total {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			for _, effect := range []storagetest.Effect{storagetest.None, storagetest.Half, storagetest.Whole} {
				for _, e := range ends(4) {
					w := make(t, uint64(n))
					w.m.Plan(storagetest.At(n, storagetest.Fault{Effect: effect, Stop: true}))
					if err := workload(w); err != nil && !errors.Is(err, storagetest.ErrStopped) {
						t.Fatalf("effect %d: %v", effect, err)
					} else if !w.m.Stopped() {
						t.Fatalf("step was not reached: %v", err)
					}
					last := w.m.Calls()
					w.TB = named{t, fmt.Sprintf("stopped with effect %d at %s, then %s", effect, last[n], e.name)}
					w.recover(e)
					w.serves()
				}
			}
		})
	}
}

// TestEndWhileRecovering ends the process once in the workload, and again at each step of the start after it.
func TestEndWhileRecovering(t *testing.T) {
	total := stepsOf(newWorld(t, 1), workload)
	for n := range total {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			first := ends(1)[n%3]
			for again := n % 2; ; again += 2 {
				w := newWorld(t, uint64(n))
				w.m.Plan(storagetest.At(n, storagetest.Fault{Effect: storagetest.Whole, Stop: true}))
				if err := workload(w); err != nil && !errors.Is(err, storagetest.ErrStopped) {
					t.Fatal(err)
				}
				first.do(w.m)
				w.m.Plan(storagetest.At(again, storagetest.Fault{Effect: storagetest.None, Stop: true}))
				_, err := w.open()
				if err == nil {
					err = w.begin()
				}
				stopped := w.m.Stopped()
				w.TB = named{t, fmt.Sprintf("%s, then stopped at step %d of the start", first.name, again)}
				ends(3)[(again+n)%5].do(w.m)
				if _, err := w.open(); errors.Is(err, storage.ErrAbsent) && !w.made {
					w.must(w.create())
				} else {
					w.must(err)
				}
				w.serves()
				if !stopped {
					if err != nil && !errors.Is(err, storage.ErrAbsent) {
						w.Fatal(err)
					}
					break
				}
			}
		})
	}
}

// named puts what was done before what went wrong.
type named struct {
	testing.TB
	name string
}

func (n named) Fatal(args ...any) {
	n.Helper()
	n.TB.Fatal(append([]any{n.name + ":"}, args...)...)
}

func (n named) Fatalf(format string, args ...any) {
	n.Helper()
	n.TB.Fatalf(n.name+": "+format, args...)
}
