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

// TestSoakLives leads random lives: groups, moves, snapshots, stops, faults, kills, power cuts, junk in S, older copies. The world says
// what the vault must know at each start, and what the verdict may be: all that was acknowledged is there, in its order, and nothing else.
func TestSoakLives(t *testing.T) {
	const steps = 120
	lives(t, storagetest.Size(t, 150, 20_000, 200_000), func(t testing.TB, seed uint64) { newLife(t, seed).lead(steps) })
}

// TestSoakTPMSchedules leads lives in which nothing fails but the TPM, at any call: it refuses, does what it was asked and loses the answer, is
// gone for good, or restarts in the middle.
func TestSoakTPMSchedules(t *testing.T) {
	const steps = 40
	lives(t, storagetest.Size(t, 300, 100_000, 1_000_000), func(t testing.TB, seed uint64) {
		l := newLife(t, seed)
		l.tpmFails = true
		l.lead(steps)
	})
}

func lives(t *testing.T, size int, lead func(t testing.TB, seed uint64)) {
	tried := counted(t)
	for seed := range uint64(size) {
		tried.n++
		lead(named{t, fmt.Sprintf("seed %d", seed)}, seed)
	}
}

type life struct {
	*world
	r         *rand.Rand
	copies    []copied // for the adversary
	running   bool
	tpmFails  bool
	reset     bool // the TPM has restarted amid the present operation
	lost      bool // power was lost or S extended by another since the last write: a start is no kill
	maybeLost bool // the same before a start that was cut: its run-start group may name the anchor as it is now
}

type copied struct {
	image storagetest.Image
	epoch uint64
}

func newLife(t testing.TB, seed uint64) *life {
	l := &life{world: newWorld(t, seed), r: rand.New(rand.NewPCG(seed, 2))}
	if seed%5 == 4 {
		l.o.Go = nil // real goroutines: the sync and the extend in any order; such a life does not repeat
	}
	l.must(l.create())
	l.must(l.begin())
	l.running = true
	return l
}

func (l *life) lead(steps int) {
	for step := range steps {
		t := l.TB
		l.TB = named{t, fmt.Sprintf("step %d", step)}
		if !l.running {
			l.start()
		} else if err := l.act(); err != nil {
			l.end(err)
		}
		l.TB = t
	}
	if l.running {
		if err := l.stop(); err != nil { // a segment made ahead met a fault
			l.stopped = false
		}
	}
	l.m.Kill()
	l.reopen()
	l.serves()
}

// act is one operation, sometimes with a fault in it.
func (l *life) act() error {
	err := l.operate()
	if l.reset && err == nil {
		l.Fatal("acknowledged although the TPM restarted")
	}
	return err
}

// failTPM lets the TPM fail in one of the next calls to it, in about every other operation. What it returns ends that.
func (l *life) failTPM(within int) (end func()) {
	kind, at := l.r.IntN(8), l.r.IntN(within)
	broken := errors.New("the TPM does not answer")
	seen := 0
	l.reset = false
	l.m.Plan(func(_ int, c storagetest.Call) *storagetest.Fault {
		if !slices.Contains([]string{"epoch", "advance", "extend", "running", "seal", "unseal"}, c.Op) {
			return nil
		}
		seen++
		switch {
		case kind == 0 && seen == at+1:
			return &storagetest.Fault{Err: broken}
		case kind == 1 && seen == at+1:
			return &storagetest.Fault{Err: broken, Effect: storagetest.Whole}
		case kind == 2 && seen > at:
			return &storagetest.Fault{Err: broken}
		case kind == 3 && seen == at+1:
			l.reset, l.lost = true, true
			return &storagetest.Fault{Reset: true, Effect: storagetest.Whole}
		}
		return nil
	})
	return func() { l.m.Plan(nil) }
}

func (l *life) operate() error {
	if l.tpmFails {
		defer l.failTPM(14)()
	} else if l.r.IntN(8) == 0 {
		effect := storagetest.Effect(l.r.IntN(3))
		fault := []storagetest.Fault{{Effect: effect, Stop: true}, {Effect: effect, Stop: true}, storagetest.Broken(), storagetest.NoSpace()}[l.r.IntN(4)]
		l.m.Plan(storagetest.At(l.r.IntN(14), fault))
		defer l.m.Plan(nil)
	}
	switch l.r.IntN(16) {
	case 0:
		l.running = false
		return l.stop()
	case 1:
		return l.snapshot()
	case 2, 3:
		return l.move(l.r.IntN(3))
	case 4:
		return l.commit(0, 0)
	case 5:
		l.m.TPM.Junk([32]byte{byte(l.r.Uint32())})
		l.lost = true
		err := l.commit(1, 20)
		if err == nil {
			l.Fatal("acknowledged a group although S was extended by another")
		}
		return err
	case 6:
		return storagetest.ErrStopped // as if from outside
	case 7:
		l.keep()
		return nil
	}
	return l.commit(1+l.r.IntN(4), 10+l.r.IntN(1500))
}

func (l *life) keep() {
	l.copies = append(l.copies, copied{l.m.Disk.Copy(), l.v.Epoch()})
}

// end is what the world does after the process gave up or was ended.
func (l *life) end(err error) {
	if errors.Is(err, storage.ErrFull) && l.v.Commit(nil) == nil {
		return // a snapshot found no space
	}
	if errors.Is(err, storage.ErrDisturbed) && !l.lost {
		l.Fatal(err)
	}
	l.running, l.stopped = false, false
	l.m.Plan(func(int, storagetest.Call) *storagetest.Fault { return &storagetest.Fault{Stop: true} })
	l.v.Close() // ends its goroutines; nothing it does has an effect
	switch l.r.IntN(4) {
	case 0:
		l.m.PowerCut(l.r.Uint64())
		l.lost = true
	case 1:
		l.m.Restart()
		l.lost = true
	default:
		l.m.Kill()
	}
}

// start opens the vault, after the adversary has tried all copies of older epochs, and begins.
func (l *life) start() {
	l.m.Plan(nil)
	l.m.Kill()
	l.tryCopies()
	if l.tpmFails {
		defer l.failTPM(30)()
	} else if l.r.IntN(6) == 0 {
		l.m.Plan(storagetest.At(l.r.IntN(20), storagetest.Fault{Effect: storagetest.Effect(l.r.IntN(3)), Stop: true}))
	}
	r, err := l.open()
	if err == nil {
		switch {
		case r.Verdict == storage.Exact && l.lost:
			l.Fatal("exact after power was lost or S was extended by another")
		case r.Verdict == storage.Hold && !l.lost && !l.maybeLost:
			l.Fatalf("hold after a kill: %s", r.Cause)
		}
		before := l.reset
		if err = l.begin(); err != nil {
			l.lost, l.maybeLost = l.reset && !before, l.lost || l.maybeLost
		} else if l.reset && !before {
			l.Fatal("began although the TPM restarted")
		}
	}
	stopped := l.m.Stopped()
	l.m.Plan(nil)
	if err == nil {
		l.running, l.lost, l.maybeLost = true, false, false
		return
	}
	if !stopped && !l.tpmFails {
		l.Fatal(err)
	}
	l.end(storagetest.ErrStopped)
}

// tryCopies restores what the adversary kept: nothing of another epoch opens.
func (l *life) tryCopies() {
	image := l.m.Disk.Copy()
	now, err := l.m.TPM.Epoch()
	l.must(err)
	for _, c := range l.copies {
		if c.epoch == now {
			continue
		}
		l.m.Disk.Restore(c.image)
		_, _, err := storage.Open(l.m.Disk, l.o)
		l.mustBe(err, storage.ErrRolledBack)
	}
	if len(l.copies) > 5 {
		l.copies = l.copies[3:]
	}
	l.m.Disk.Restore(image)
}
