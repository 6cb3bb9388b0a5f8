package storage_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// failures are the ways in which a call to the disk or the TPM fails.
func failures() map[string]storagetest.Fault {
	return map[string]storagetest.Fault{
		"EIO":                 storagetest.Broken(),
		"EIO after all":       {Effect: storagetest.Whole, Err: syscall.EIO},
		"ENOSPC":              storagetest.NoSpace(),
		"ENOSPC after half":   {Effect: storagetest.Half, Err: syscall.ENOSPC},
		"EDQUOT":              {Err: syscall.EDQUOT},
		"EINTR":               {Err: syscall.EINTR},
		"EINTR after half":    {Effect: storagetest.Half, Err: syscall.EINTR},
		"EROFS":               {Err: syscall.EROFS},
		"short write":         {Effect: storagetest.Half},
		"nothing was written": {Effect: storagetest.None},
	}
}

// TestSoakEveryCallFails lets each call of a life fail, once and forever, in each way; then the process is killed, or loses its power. The
// vault gives up or goes on, nothing acknowledged is lost, and after a sync that failed nothing is acknowledged and no sync tried again.
func TestSoakEveryCallFails(t *testing.T) {
	tried := counted(t)
	w := newWorld(t, 1)
	w.must(workload(w))
	calls := w.m.Calls()
	plans := map[string]func(int, storagetest.Fault) storagetest.Plan{"once": storagetest.At, "forever": storagetest.From}
	for n, call := range calls {
		for kind, fault := range failures() {
			if fault.Err == nil && call.Op != "write" {
				continue // only a write can be short
			}
			for often, plan := range plans {
				for _, e := range []end{ends(0)[0], {"cut", func(m *storagetest.Machine) { m.PowerCut(uint64(n)) }, true, true}} {
					tried.n++
					w := newWorld(t, 1)
					w.TB = named{t, fmt.Sprintf("%s %s at step %d, %s, then %s", kind, often, n, call, e.name)}
					w.m.Plan(plan(n, fault))
					err := workload(w)
					w.noSyncAgain(n, fault.Err)
					w.m.Plan(nil)
					if err != nil && w.v != nil {
						w.poisoned(err)
					}
					if full := errors.Is(fault.Err, syscall.ENOSPC) && err != nil && (call.Op == "write" || call.Op == "create"); full {
						w.mustBe(err, storage.ErrFull)
					}
					w.afterFault(e)
				}
			}
		}
	}
	t.Logf("%d calls", len(calls))
}

// noSyncAgain: the process that saw the sync at step n fail may not sync that file again, and writes and moves nothing any more; a group
// beside it may end, and is not acknowledged. Only a file for which there was no space is given up, and another may be made.
func (w *world) noSyncAgain(n int, err error) {
	w.Helper()
	calls := w.m.Calls()
	failed := calls[n]
	if err == nil || !strings.Contains(failed.Op, "sync") {
		return
	}
	full := failed.Op != "syncdir" && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
	for i, c := range calls[n+1:] {
		again := strings.Contains(c.Op, "sync") && c.Name == failed.Name && !strings.HasSuffix(c.Name, ".new")
		if again || !full && slices.Contains([]string{"write", "rename", "advance", "syncdir"}, c.Op) {
			w.Fatalf("after it failed, step %d is %s", n+1+i, c)
		}
	}
}

// poisoned: after an error of an operation the vault answers nothing but that error, although the disk works again. Open and Close
// leave no vault to ask; a Snapshot without space goes on.
func (w *world) poisoned(err error) {
	w.Helper()
	again := w.v.Commit(nil)
	if again == nil {
		if !errors.Is(err, storage.ErrFull) {
			w.Fatalf("commits after %v", err)
		}
		w.must(w.v.Snapshot(state(w.told)))
		return
	}
	if errors.Is(again, storage.ErrNotBegun) || errors.Is(again, storage.ErrClosed) {
		return
	}
	for _, call := range []func() error{
		func() error { return w.v.Commit([][]byte{{1}}) },
		func() error { return w.v.Move(nil, nil) },
		func() error { return w.v.Begin() },
		func() error { return w.v.Snapshot(nil) },
	} {
		if e := call(); e != again {
			w.Fatalf("a later call gives %v, the first error was %v", e, again)
		}
	}
}

// afterFault is recover, where the process may have ended in an orderly way too.
func (w *world) afterFault(e end) {
	w.Helper()
	w.stopped = w.stopped && !e.cut
	e.do(w.m)
	if _, err := w.open(); errors.Is(err, storage.ErrAbsent) && !w.made {
		w.must(w.create())
	} else {
		w.must(err)
	}
	w.serves()
}

func TestFullDiskKeepsServingUntilItMust(t *testing.T) {
	w := running(t, 3)
	w.m.Disk.Capacity = 22 << 10 // not a whole number of segments
	var err error
	for err == nil {
		err = w.commit(1, 600)
	}
	w.mustBe(err, storage.ErrFull)
	w.mustBe(err, syscall.ENOSPC)
	w.mustBe(w.v.Commit(nil), storage.ErrFull)
	w.v.Close()
	for name, b := range w.m.Disk.Copy() {
		if strings.HasPrefix(name, "journal-") && len(b) < storage.MinSegmentBytes {
			t.Fatalf("%s of %d bytes keeps the disk full", name, len(b))
		}
	}
	w.m.Disk.Capacity = 0
	if r := w.reopen(); r.Verdict != storage.Exact {
		t.Fatalf("verdict is %s", r.Verdict)
	}
	w.serves()
}

// TestFullDiskAtStart: a start needs room for its run; it says so before anything is told, and finds everything when there is some.
func TestFullDiskAtStart(t *testing.T) {
	w := running(t, 6)
	w.must(w.stop())
	w.m.Disk.Capacity = 1
	w.reopen()
	err := w.begin()
	w.mustBe(err, storage.ErrFull)
	w.mustBe(err, syscall.ENOSPC)
	w.m.Kill()
	w.stopped = true // and so it is still: nothing was told since
	w.m.Disk.Capacity = 0
	w.reopen()
	w.serves()
}

func TestSnapshotOnFullDiskGoesOn(t *testing.T) {
	w := running(t, 4)
	w.m.Disk.Capacity = 1
	w.mustBe(w.snapshot(), storage.ErrFull)
	w.mustBe(w.snapshot(), storage.ErrFull)
	for name := range w.m.Disk.Copy() {
		if strings.HasSuffix(name, ".new") {
			t.Fatalf("%s keeps the disk full", name)
		}
	}
	w.must(w.commit(1, 40))
	w.m.Disk.Capacity = 0
	w.must(w.snapshot())
	w.must(w.commit(1, 40))
	w.must(w.v.Close())
	w.reopen()
	w.serves()
}

// TestSnapshotOfUnknownName: once the new snapshot has its name, a failure leaves open which one a start finds; the vault may not go on
// in a segment that the new one covers.
func TestSnapshotOfUnknownName(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.NoSpace(), storagetest.Broken()} {
		w := running(t, 5)
		w.m.Plan(storagetest.On("syncdir", fault))
		err := w.snapshot()
		w.mustBe(err, fault.Err)
		w.m.Plan(nil)
		w.mustBe(w.v.Commit(nil), err)
		w.m.Kill()
		w.reopen()
		w.serves()
	}
}

// TestLyingSync: a disk that loses what it called durable is found out by the power cut that shows it: corrupt or a hold, never
// served as if nothing had happened, and never with entries that were not written.
func TestLyingSync(t *testing.T) {
	held, found := 0, 0
	for seed := range uint64(200) {
		w := running(t, seed)
		w.m.Plan(func(_ int, c storagetest.Call) *storagetest.Fault {
			if c.Op == "datasync" {
				return &storagetest.Fault{}
			}
			return nil
		})
		for range 5 {
			w.must(w.commit(1, 700))
		}
		all := w.told
		w.m.PowerCut(seed)
		_, r, err := storage.Open(w.m.Disk, w.o)
		switch {
		case errors.Is(err, storage.ErrCorrupt):
			found++
		case err != nil:
			t.Fatal(err)
		case r.Verdict != storage.Hold:
			t.Fatalf("seed %d: verdict %s", seed, r.Verdict)
		default:
			held++
			if list := entriesOf(r); !slices.Equal(list, all[:len(list)]) {
				t.Fatalf("seed %d: found entries that were not written in that order", seed)
			}
		}
	}
	if held == 0 || found == 0 {
		t.Fatalf("%d held, %d found corrupt: the disk did not lie in both ways", held, found)
	}
}

// TestFlippedBits flips every bit that carries something, and one of each byte that does not, of a small state.
func TestFlippedBits(t *testing.T) {
	states := map[string]func(*world){
		"running": func(w *world) { w.m.Kill() },
		"stopped": func(w *world) { w.must(w.stop()) },
		"compacted": func(w *world) {
			w.must(w.snapshot())
			w.must(w.commit(1, 30))
			w.m.Kill()
		},
		"no anchor": func(w *world) { w.m.Kill() },
	}
	for name, leave := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 7)
			if name == "no anchor" {
				w = newBook(t, 7)
			}
			w.must(w.create())
			w.must(w.begin())
			w.must(w.commit(1, 60))
			w.must(w.commit(2, 300))
			leave(w)
			image := w.m.Disk.Copy()
			for file, b := range image {
				if strings.HasPrefix(file, "journal") && !slices.ContainsFunc(b[60:], func(c byte) bool { return c != 0 }) {
					delete(image, file) // made ahead and not used: a start removes it unread
				}
			}
			flips, harmless := 0, 0
			for file, b := range image {
				for at := range b {
					for bit := range 8 {
						if b[at] == 0 && bit > 0 && zeroAround(b, at) {
							break
						}
						flips++
						b[at] ^= 1 << bit
						if w.flipped(image) {
							harmless++
							if !zeroAround(b, at) && b[at] != 1<<bit {
								t.Errorf("bit %d of byte %d of %s was flipped and not noticed", bit, at, file)
							}
						}
						b[at] ^= 1 << bit
					}
				}
			}
			if flips < 10_000 || harmless > flips/2 {
				t.Fatalf("%d of %d flips were without effect", harmless, flips)
			}
		})
	}
}

// zeroAround says whether the bytes beside at are zero: at lies where nothing was written yet.
func zeroAround(b []byte, at int) bool {
	for i := max(0, at-8); i < min(len(b), at+9); i++ {
		if b[i] != 0 && i != at {
			return false
		}
	}
	return true
}

// flipped opens image and says whether the vault opens with all that was told. It may not open with anything else.
func (w *world) flipped(image storagetest.Image) bool {
	w.Helper()
	w.m.Disk.Restore(image)
	v, r, err := storage.Open(w.m.Disk, w.o)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storagetest.ErrUnsealed) && !errors.Is(err, storage.ErrRolledBack) {
			w.Fatalf("a flipped bit gives %v", err)
		}
		return false
	}
	w.must(v.Close())
	if r.Verdict == storage.Hold {
		w.Fatal("a flipped bit gives a hold")
	}
	if !slices.Equal(entriesOf(r), w.told) {
		w.Fatal("a flipped bit gives other entries")
	}
	return true
}

// book is a sealer without a TPM.
type book struct{}

func (book) Seal(secret []byte, epoch uint64) ([]byte, error) {
	return append([]byte{byte(epoch)}, secret...), nil
}

func (book) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	if len(blob) == 0 || blob[0] != byte(epoch) {
		return nil, storagetest.ErrUnsealed
	}
	return slices.Clone(blob[1:]), nil
}
