package storage_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// stopAt ends the process at the n-th call of that kind, counted from 1, with that effect, while op runs.
func (w *world) stopAt(op string, n int, effect storagetest.Effect, run func() error) {
	w.Helper()
	seen := 0
	w.m.Plan(func(_ int, c storagetest.Call) *storagetest.Fault {
		if c.Op != op {
			return nil
		}
		if seen++; seen != n {
			return nil
		}
		return &storagetest.Fault{Effect: effect, Stop: true}
	})
	w.mustBe(run(), storagetest.ErrStopped)
}

// TestStartDecision goes through the table of the design, row by row.
func TestStartDecision(t *testing.T) {
	commit := func(w *world) func() error { return func() error { return w.commit(1, 50) } }
	move := func(w *world) func() error { return func() error { return w.move(1) } }
	for _, row := range []struct {
		name    string
		happens func(w *world)
		want    storage.Verdict
		counts  bool // of the cause of a hold
		moved   bool // a prepared move is completed
	}{
		{"stopped cleanly", func(w *world) { w.must(w.stop()) }, storage.Clean, false, false},
		{"stopped cleanly, then power cut", func(w *world) { w.must(w.stop()); w.m.PowerCut(1) }, storage.Clean, false, false},
		{"stopped cleanly, then junk in S", func(w *world) { w.must(w.stop()); w.m.TPM.Junk([32]byte{1}) }, storage.Clean, false, false},
		{"closed", func(w *world) { w.must(w.v.Close()) }, storage.Exact, false, false},
		{"kill", func(w *world) { w.m.Kill() }, storage.Exact, false, false},
		{"kill between write and extend", func(w *world) {
			w.stopAt("extend", 1, storagetest.None, commit(w))
			w.m.Kill()
		}, storage.Exact, false, false},
		{"kill between extend and read-back", func(w *world) {
			w.stopAt("running", 1, storagetest.None, commit(w))
			w.m.Kill()
		}, storage.Exact, false, false},
		{"power cut", func(w *world) { w.m.PowerCut(1) }, storage.Hold, true, false},
		{"restart of the TPM", func(w *world) { w.m.Restart() }, storage.Hold, true, false},
		{"kill, then junk in S", func(w *world) { w.m.Kill(); w.m.TPM.Junk([32]byte{1}) }, storage.Hold, false, false},
		{"kill between write and extend, then junk", func(w *world) {
			w.stopAt("extend", 1, storagetest.None, commit(w))
			w.m.Kill()
			w.m.TPM.Junk([32]byte{1})
		}, storage.Hold, false, false},
		{"S past the head by one group", func(w *world) {
			image := w.m.Disk.Copy()
			w.must(w.commit(1, 50))
			w.m.Kill()
			w.m.Disk.Restore(image)
			w.told = w.told[:len(w.told)-1]
		}, storage.Hold, false, false},
		{"recorded groups extended again after a restart", func(w *world) {
			w.m.Restart()
			w.reopen()
			w.must(w.begin())
			_, one := w.v.Head()
			w.must(w.commit(1, 50))
			_, two := w.v.Head()
			want, _, _, _ := w.m.TPM.Running()
			w.m.Restart()
			w.m.TPM.Junk(one)
			w.m.TPM.Junk(two)
			if got, _, _, _ := w.m.TPM.Running(); got != want {
				w.Fatal("S is another: the attack was not made")
			}
		}, storage.Hold, true, false},
		{"recorded groups extended again after a power cut", func(w *world) {
			w.m.PowerCut(1)
			w.reopen()
			w.must(w.begin())
			_, one := w.v.Head()
			w.must(w.commit(1, 50))
			_, two := w.v.Head()
			want, _, _, _ := w.m.TPM.Running()
			w.m.PowerCut(1)
			w.m.TPM.Junk(one)
			w.m.TPM.Junk(two)
			if got, _, _, _ := w.m.TPM.Running(); got != want {
				w.Fatal("S is another: the attack was not made")
			}
		}, storage.Hold, true, false},
		{"move prepared, not extended", func(w *world) {
			w.stopAt("extend", 1, storagetest.None, move(w))
			w.m.Kill()
		}, storage.Exact, false, true},
		{"move prepared and extended", func(w *world) {
			w.stopAt("advance", 1, storagetest.None, move(w))
			w.m.Kill()
		}, storage.Exact, false, true},
		{"move prepared, then power cut", func(w *world) {
			w.stopAt("advance", 1, storagetest.None, move(w))
			w.m.PowerCut(1)
		}, storage.Hold, true, true},
		{"move prepared and extended, then junk", func(w *world) {
			w.stopAt("advance", 1, storagetest.None, move(w))
			w.m.Kill()
			w.m.TPM.Junk([32]byte{1})
		}, storage.Hold, false, true},
		{"move incremented, not told", func(w *world) {
			w.stopAt("advance", 1, storagetest.Whole, move(w))
			w.m.Kill()
		}, storage.Exact, false, false},
		{"stop prepared", func(w *world) {
			w.stopAt("advance", 1, storagetest.None, w.v.Stop)
			w.m.Kill()
		}, storage.Exact, false, true},
		{"stop incremented, no mark", func(w *world) {
			w.stopAt("write", 2, storagetest.None, w.v.Stop)
			w.m.Kill()
		}, storage.Exact, false, false},
		{"stop incremented, no mark, power cut", func(w *world) {
			w.stopAt("write", 2, storagetest.None, w.v.Stop)
			w.m.PowerCut(1)
		}, storage.Hold, true, false},
		{"stop marked, killed before it was synced", func(w *world) {
			w.stopAt("datasync", 1, storagetest.None, w.v.Stop)
			w.m.Kill()
		}, storage.Clean, false, false},
		{"run began after a clean stop, then kill before its group is extended", func(w *world) {
			w.must(w.stop())
			w.reopen()
			w.stopAt("extend", 1, storagetest.None, w.begin)
			w.m.Kill()
		}, storage.Exact, false, false},
		{"run began after a clean stop, then power cut before the move", func(w *world) {
			w.must(w.stop())
			w.reopen()
			w.stopAt("advance", 1, storagetest.None, w.begin)
			w.m.PowerCut(2)
		}, storage.Hold, true, true},
		{"run began in a hold, then kill", func(w *world) {
			w.m.PowerCut(1)
			w.reopen()
			w.must(w.begin())
			w.m.Kill()
		}, storage.Exact, false, false},
		{"snapshot, then kill", func(w *world) { w.must(w.snapshot()); w.m.Kill() }, storage.Exact, false, false},
		{"snapshot, then power cut", func(w *world) { w.must(w.snapshot()); w.m.PowerCut(1) }, storage.Hold, true, false},
		{"snapshot, then kill before a group is extended", func(w *world) {
			w.must(w.snapshot())
			w.stopAt("extend", 1, storagetest.None, commit(w))
			w.m.Kill()
		}, storage.Exact, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := running(t, 11)
			row.happens(w)
			epoch, err := w.m.TPM.Epoch()
			w.must(err)
			r := w.reopen()
			if r.Verdict != row.want {
				t.Fatalf("verdict is %s, want %s (%v)", r.Verdict, row.want, r.Cause)
			}
			if r.Cause != nil && r.Cause.Counts() != row.counts {
				t.Fatalf("cause is %s", r.Cause)
			}
			if moved := w.v.Epoch() == epoch+1; moved != row.moved || !moved && w.v.Epoch() != epoch {
				t.Fatalf("epoch was %d and is %d", epoch, w.v.Epoch())
			}
			w.must(w.v.Close())
			if again := w.reopen(); again.Verdict != r.Verdict {
				t.Fatalf("verdict is %s, opened again %s", r.Verdict, again.Verdict)
			}
			for name := range w.m.Disk.Copy() {
				if strings.HasPrefix(name, "header-") && name != fmt.Sprintf("header-%016x", w.v.Epoch()) {
					t.Fatalf("%s is still there at epoch %d", name, w.v.Epoch())
				}
			}
			if now, _ := w.m.TPM.Epoch(); now != w.v.Epoch() {
				t.Fatalf("epoch of the anchor is %d, of the vault %d", now, w.v.Epoch())
			}
			w.serves()
		})
	}
}

// TestMovesAtStart counts increments: once after a clean stop, else twice; completing a prepared move does not count.
func TestMovesAtStart(t *testing.T) {
	for _, row := range []struct {
		name  string
		ends  func(*world)
		moves uint64
	}{
		{"clean", func(w *world) { w.must(w.stop()) }, 1},
		{"kill", func(w *world) { w.m.Kill() }, 2},
		{"cut", func(w *world) { w.m.PowerCut(0) }, 2},
		{"move prepared", func(w *world) {
			w.stopAt("advance", 1, storagetest.None, func() error { return w.move(1) })
			w.m.Kill()
		}, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := running(t, 12)
			row.ends(w)
			before, _ := w.m.TPM.Epoch()
			w.reopen()
			w.must(w.begin())
			if after, _ := w.m.TPM.Epoch(); after-before != row.moves {
				t.Fatalf("epoch moved by %d, want %d", after-before, row.moves)
			}
		})
	}
}

// TestOlderCopies restores every copy an adversary could keep. One of an older epoch is refused; one of the same epoch, after more
// groups, is a hold with a state that was once told.
func TestOlderCopies(t *testing.T) {
	type copied struct {
		image storagetest.Image
		epoch uint64
		told  int
	}
	w := newWorld(t, 13)
	w.must(w.create())
	var copies []copied
	keep := func() {
		copies = append(copies, copied{w.m.Disk.Copy(), w.v.Epoch(), len(w.told)})
	}
	keep()
	w.must(w.begin())
	keep()
	for range 3 {
		w.must(w.commit(1, 400))
		keep()
		w.must(w.move(1))
		keep()
		w.must(w.snapshot())
		keep()
	}
	w.must(w.commit(1, 40))
	keep()
	w.must(w.commit(2, 40))
	for _, end := range []func(){w.m.Kill, func() { w.m.PowerCut(5) }, w.m.Restart} {
		end()
		now, _ := w.m.TPM.Epoch()
		refused, held := 0, 0
		for i, c := range copies {
			w.m.Disk.Restore(c.image)
			v, r, err := storage.Open(w.m.Disk, w.o)
			if c.epoch != now {
				w.mustBe(err, storage.ErrRolledBack)
				refused++
				continue
			}
			w.must(err)
			if r.Verdict != storage.Hold || !slices.Equal(entriesOf(r), w.told[:c.told]) {
				t.Fatalf("copy %d: verdict is %s with %d entries", i, r.Verdict, len(entriesOf(r)))
			}
			held++
			w.must(v.Close())
		}
		if refused < 8 || held < 1 {
			t.Fatalf("%d refused, %d held", refused, held)
		}
	}
}

func TestRolledBackNamesBothEpochs(t *testing.T) {
	w := running(t, 7) // its counter starts at 101
	image := w.m.Disk.Copy()
	w.must(w.move(1))
	w.m.Kill()
	w.m.Disk.Restore(image)
	_, _, err := storage.Open(w.m.Disk, w.o)
	w.mustBe(err, storage.ErrRolledBack)
	if s := err.Error(); !strings.Contains(s, "103") || !strings.Contains(s, "104") {
		t.Fatalf("%q does not say 103 and 104", s)
	}
}

// TestHeaderOfLaterEpoch: a header of the epoch after the next cannot be, whatever is in it.
func TestHeaderOfLaterEpoch(t *testing.T) {
	w := running(t, 47)
	w.m.Kill()
	image := w.m.Disk.Copy()
	image[fmt.Sprintf("header-%016x", w.v.Epoch()+2)] = []byte("LHheader")
	w.m.Disk.Restore(image)
	_, _, err := storage.Open(w.m.Disk, w.o)
	w.mustBe(err, storage.ErrCorrupt)
}

// TestCopyOfCleanStop: a copy made at a clean stop is stale once the vault has begun again.
func TestCopyOfCleanStop(t *testing.T) {
	w := running(t, 14)
	w.must(w.stop())
	image := w.m.Disk.Copy()
	w.reopen()
	w.must(w.begin())
	w.m.Kill()
	w.m.Disk.Restore(image)
	_, _, err := storage.Open(w.m.Disk, w.o)
	w.mustBe(err, storage.ErrRolledBack)
}

// TestMarkMovedToAnotherState: the mark of a clean stop, put behind another state of its epoch, makes nothing clean.
func TestMarkMovedToAnotherState(t *testing.T) {
	w := running(t, 15)
	w.stopAt("write", 2, storagetest.None, w.v.Stop) // incremented, no mark
	w.m.Kill()
	before := w.m.Disk.Copy()
	w.reopen()
	w.must(w.v.Close())
	w.must(w.recoverTo(before))
	// A second life stops cleanly; its mark is of a later epoch and stands in a file of a later number.
	w.must(w.begin())
	w.must(w.commit(1, 40))
	w.must(w.stop())
	after := w.m.Disk.Copy()
	for name, b := range after {
		if strings.HasPrefix(name, "journal-") && before[name] == nil {
			mixed := storagetest.Image{name: b}
			for n, b := range before {
				mixed[n] = b
			}
			w.m.Disk.Restore(mixed)
			_, _, err := storage.Open(w.m.Disk, w.o)
			w.mustBe(err, storage.ErrRolledBack)
			for n, b := range after { // the right header, the wrong past
				if strings.HasPrefix(n, "header-") {
					mixed[n] = b
				}
			}
			w.m.Disk.Restore(mixed)
			if v, r, err := storage.Open(w.m.Disk, w.o); err == nil {
				v.Close()
				if r.Verdict != storage.Clean || !slices.Equal(entriesOf(r), w.told) {
					t.Fatalf("verdict %s of a mixture", r.Verdict)
				}
			} else {
				w.mustBe(err, storage.ErrCorrupt)
			}
		}
	}
}

func (w *world) recoverTo(image storagetest.Image) error {
	w.m.Disk.Restore(image)
	_, err := w.open()
	return err
}

// TestTwoDaemons: one TPM, two copies of one disk. The second start is seen by the first at its next read-back, and the second
// cannot go on beside the first either.
func TestTwoDaemons(t *testing.T) {
	for _, row := range []struct {
		name string
		act  func(first *world, second *storage.Vault) error // of the second, before the first goes on
	}{
		{"second begins", func(_ *world, v *storage.Vault) error { return v.Begin() }},
		{"second began unseen, then first goes on", func(w *world, v *storage.Vault) error { return nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := running(t, 16)
			o := w.o
			second, r, err := storage.Open(w.m.AddDisk(w.m.Disk.Copy()), o)
			w.must(err)
			if r.Verdict != storage.Exact {
				t.Fatalf("verdict of the second is %s", r.Verdict)
			}
			w.must(row.act(w, second))
			if row.name == "second begins" {
				w.mustBe(w.v.Commit(nil), storage.ErrDisturbed)
				w.mustBe(w.v.Commit([][]byte{{1}}), storage.ErrDisturbed)
				w.must(second.Commit([][]byte{{1}}))
				return
			}
			w.must(w.commit(1, 30))
			w.mustBe(second.Begin(), storage.ErrDisturbed)
			w.mustBe(second.Move(nil, nil), storage.ErrDisturbed)
			w.mustBe(w.v.Commit(nil), storage.ErrDisturbed) // it cannot know which of the two is real
		})
	}
}

// TestDisturbed lets something happen to the TPM before each operation; what is told then is nothing.
func TestDisturbed(t *testing.T) {
	disturb := map[string]func(*storagetest.TPM){
		"junk":    func(p *storagetest.TPM) { p.Junk([32]byte{3}) },
		"restart": (*storagetest.TPM).RestartAlone,
		"increment": func(p *storagetest.TPM) {
			p.Increment()
		},
	}
	ops := map[string]func(*world) error{
		"commit": func(w *world) error { return w.commit(1, 20) },
		"repeat": func(w *world) error { return w.commit(0, 0) },
		"move":   func(w *world) error { return w.move(1) },
		"stop":   func(w *world) error { return w.v.Stop() },
	}
	for what, happens := range disturb {
		for name, op := range ops {
			t.Run(what+", "+name, func(t *testing.T) {
				w := running(t, 17)
				happens(w.m.TPM)
				w.m.Plan(nil)
				err := op(w)
				if what == "increment" && (name == "commit" || name == "repeat") {
					w.must(err) // E is read before moves only; S and the counts tell of another daemon
					return
				}
				w.mustBe(err, storage.ErrDisturbed)
				for _, c := range w.m.Calls() {
					if c.Op == "advance" || name != "commit" && c.Op == "write" {
						t.Fatalf("went on to %s", c) // a move prepares nothing then
					}
				}
				if name != "stop" {
					w.mustBe(w.v.Commit(nil), storage.ErrDisturbed)
				}
			})
		}
	}
}

// TestDisturbedAmidMove: what happens between the reads before a move and its increment is seen after it.
func TestDisturbedAmidMove(t *testing.T) {
	for what, happens := range map[string]func(*storagetest.TPM){
		"another increment": (*storagetest.TPM).Increment,
		"junk":              func(p *storagetest.TPM) { p.Junk([32]byte{3}) },
		"restart":           (*storagetest.TPM).RestartAlone,
	} {
		for name, op := range map[string]func(*world) error{
			"move": func(w *world) error { return w.move(1) },
			"stop": func(w *world) error { return w.v.Stop() },
			"run":  func(w *world) error { return w.begin() },
		} {
			t.Run(what+", "+name, func(t *testing.T) {
				w := newWorld(t, 20)
				amid := &crowded{TPM: w.m.TPM}
				w.o.Anchor = amid
				w.must(w.create())
				if name != "run" {
					w.must(w.begin())
				}
				amid.happens = happens
				w.mustBe(op(w), storage.ErrDisturbed)
			})
		}
	}
}

// TestCountsAreReadBack: after a restart of the TPM alone, the recorded groups extended again give the old S; only the counts tell.
func TestCountsAreReadBack(t *testing.T) {
	w := newWorld(t, 20)
	w.must(w.create())
	w.must(w.begin())
	_, one := w.v.Head()
	w.must(w.commit(1, 50))
	_, two := w.v.Head()
	want, _, _, _ := w.m.TPM.Running()
	w.m.TPM.RestartAlone()
	w.m.TPM.Junk(one)
	w.m.TPM.Junk(two)
	if got, _, _, _ := w.m.TPM.Running(); got != want {
		t.Fatal("S is another: the attack was not made")
	}
	w.mustBe(w.v.Commit(nil), storage.ErrDisturbed)
}

// crowded is a TPM to which something happens right before each increment.
type crowded struct {
	*storagetest.TPM
	happens func(*storagetest.TPM)
}

func (c *crowded) Advance(secret []byte, from uint64) error {
	if c.happens != nil {
		c.happens(c.TPM)
	}
	return c.TPM.Advance(secret, from)
}

func TestWrongKey(t *testing.T) {
	w := running(t, 18)
	w.must(w.v.Close())
	w.o.Sealer = wrong{w.m.TPM}
	_, _, err := storage.Open(w.m.Disk, w.o)
	w.mustBe(err, storage.ErrCorrupt)
	w.o.Sealer = storagetest.New(19).TPM
	_, _, err = storage.Open(w.m.Disk, w.o)
	w.mustBe(err, storagetest.ErrUnsealed)
}

// wrong gives back another secret.
type wrong struct{ storage.Sealer }

func (w wrong) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	s, err := w.Sealer.Unseal(blob, epoch)
	return bytes.Repeat([]byte{1}, len(s)), err
}

// TestConfirmedGroupIsNotMissing: no hardware takes S back by one group. If it reads so nevertheless, only a group of the epoch that
// opens can be missing: before a header all others were read back.
func TestConfirmedGroupIsNotMissing(t *testing.T) {
	for _, row := range []struct {
		name string
		stop bool
		want storage.Verdict
	}{{"group of the epoch", false, storage.Exact}, {"group before the header of a stop", true, storage.Hold}} {
		w := running(t, 19)
		before, _, _, _ := w.m.TPM.Running()
		w.must(w.commit(1, 50))
		if row.stop {
			w.stopAt("advance", 1, storagetest.None, w.v.Stop)
		}
		w.m.Kill()
		w.o.Anchor = &rewound{TPM: w.m.TPM, digest: before}
		if r := w.reopen(); r.Verdict != row.want {
			t.Errorf("%s: verdict is %s", row.name, r.Verdict)
		}
	}
}

// TestDisturbedStart: S is read again after the missing group was extended.
func TestDisturbedStart(t *testing.T) {
	w := running(t, 20)
	w.stopAt("extend", 1, storagetest.None, func() error { return w.commit(1, 50) })
	w.m.Kill()
	before, _, _, _ := w.m.TPM.Running()
	w.o.Anchor = &rewound{TPM: w.m.TPM, digest: before} // its Extend does not arrive
	_, err := w.open()
	w.mustBe(err, storage.ErrDisturbed)
}

// rewound is a TPM whose S reads as digest until it is extended.
type rewound struct {
	*storagetest.TPM
	digest [32]byte
	went   bool
}

func (r *rewound) Extend([32]byte) error { r.went = true; return nil }

func (r *rewound) Running() ([32]byte, uint32, uint32, error) {
	d, resets, restarts, err := r.TPM.Running()
	if !r.went {
		d = r.digest
	}
	return d, resets, restarts, err
}
