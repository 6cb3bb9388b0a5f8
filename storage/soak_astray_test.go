package storage_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakMisdirectedWrites puts each write of the last operation of every workload in each wrong place, which the disk reports as done. The
// vault that starts after it has everything that was acknowledged, or it says that something is wrong: it is corrupt or not sealed for this
// TPM, or it holds, and then has a beginning of what was acknowledged and nothing else.
func TestSoakMisdirectedWrites(t *testing.T) {
	size := storagetest.Size(t, 2_000, 60_000, 1_000_000)
	tried := counted(t)
	places := map[string]int{}
	list := workloads()
	for seed := uint64(0); tried.n < size; seed++ {
		r := rand.New(rand.NewPCG(seed, 12))
		for _, at := range r.Perm(len(list)) {
			for n, more := 0, true; more && tried.n < size; n++ {
				for k := range 9 {
					for _, a := range afterwards() {
						w := newWorld(t, seed)
						w.TB = named{t, fmt.Sprintf("%s; write %d went to place %d; then %s; seed %d", list[at], n, k, a.name, seed)}
						list[at].before(w)
						w.lies = true
						writes := 0
						w.m.Plan(func(_ int, c storagetest.Call) *storagetest.Fault {
							if c.Op != "write" {
								return nil
							}
							if writes++; writes != n+1 {
								return nil
							}
							return &storagetest.Fault{Effect: storagetest.Astray + storagetest.Effect(k)}
						})
						err := list[at].last(w)
						if more = writes > n; !more {
							break
						}
						tried.n++
						w.m.Plan(nil)
						if err == nil {
							err = a.do(w)
						}
						places[w.noticed(err)]++
					}
				}
			}
		}
	}
	t.Logf("%v", places)
	if places["nothing was lost"] == 0 || places["hold"] == 0 || places["corrupt"] == 0 {
		t.Errorf("writes did not go astray in every way: %v", places)
	}
}

// afterwards is what follows a fault that nobody noticed.
func afterwards() []operation {
	return []operation{
		{"a kill", nil, func(w *world) error { w.m.Kill(); return nil }},
		{"a power cut that loses nothing", nil, func(w *world) error { w.m.Cut(storagetest.Loss{Mode: storagetest.Kept, Unit: 512}); return nil }},
		{"a commit and a stop", nil, func(w *world) error {
			if err := w.commit(1, 200); err != nil {
				return err
			}
			return w.stop()
		}},
		{"a snapshot, a move and a kill", nil, func(w *world) error {
			if err := w.snapshot(); err != nil {
				return err
			}
			if err := w.move(1); err != nil {
				return err
			}
			w.m.Kill()
			return nil
		}},
	}
}

// noticed starts the vault after a fault of the disk, of which err came in the life itself, and says in what way it was noticed. It fails the
// test where it was not.
func (w *world) noticed(err error) string {
	w.Helper()
	if err != nil {
		return w.named(err)
	}
	w.m.Kill()
	v, r, err := storage.Open(w.m.Disk, w.o)
	if err != nil {
		return w.named(err)
	}
	w.must(v.Close())
	found := entriesOf(r)
	all := append(slices.Clone(w.told), w.maybe...)
	switch {
	case slices.Equal(found, w.told) || slices.Equal(found, all):
		return "nothing was lost"
	case r.Verdict != storage.Hold:
		w.Fatalf("verdict is %s with %d entries, %d were acknowledged", r.Verdict, len(found), len(w.told))
	case len(found) > len(all) || !slices.Equal(found, all[:len(found)]):
		w.Fatalf("held with entries that were not written")
	}
	return "hold"
}

// named gives the name of the error with which a start refuses a disk that was changed.
func (w *world) named(err error) string {
	w.Helper()
	switch {
	case errors.Is(err, errShort):
		return "hold"
	case errors.Is(err, storage.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, storage.ErrAbsent) && w.blank():
		return "all was taken away"
	case errors.Is(err, storage.ErrRolledBack):
		return "rolled back"
	case errors.Is(err, storagetest.ErrUnsealed):
		return "not unsealed"
	}
	w.Fatalf("a changed disk gives %v", err)
	return ""
}

// blank says whether the disk has no more than a Create leaves that was cut before its header: then no start can tell that there was a vault.
func (w *world) blank() bool {
	image := w.m.Disk.Copy()
	delete(image, "snapshot-0000000000000000")
	return len(image) == 0
}
