package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
)

// A TPM counts for one store. A second one neither ends the first by itself nor makes the producer repair anything: that takes somebody's word, for a store that has not moved since.
func TestOtherStore(t *testing.T) {
	chip := newTestChip(t)
	b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), chip: chip, machine: workstation(1)}
	ctx, id := t.Context(), b.o.entitle("render:1.0", 4)
	first := b.must()
	b.o.give(first, id, 2)
	other := *b
	other.dir = t.TempDir()
	wish := []capability.Desired{{ActivationID: id, Count: 1}}

	s := other.must()
	_, err := s.Request(ctx, wish)
	wantError(t, "a request of a second store", err, sentinel(capability.ErrOtherStore))
	v, err := s.Look(ctx)
	if err != nil || v.Lost == nil || v.Lost.Code != capability.ErrOtherStore {
		t.Errorf("a look at it: %+v, %v", v, err)
	}
	s.Close()

	other.replace = true
	s = other.must()
	ask := func() []byte {
		t.Helper()
		r, err := s.Request(ctx, wish)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.o.respond(r.Bytes, backoffice.Order{Repair: "the disk died"})
		if err != nil {
			t.Fatal(err)
		}
		return res.File
	}
	file := ask()
	if _, err := first.Acquire(ctx, "render"); err != nil {
		t.Errorf("the first store ended with a request of the second: %v", err)
	}
	if _, err := first.Return(ctx, id, 1); err != nil {
		t.Fatal(err)
	}
	_, err = s.Import(ctx, file)
	wantError(t, "the first store has moved since", err, sentinel(capability.ErrOtherStore))
	if _, err := first.Look(ctx); err != nil {
		t.Error(err)
	}

	file = ask()
	if a, err := s.Import(ctx, file); err != nil || len(a.After) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	_, err = first.Acquire(ctx, "render")
	wantError(t, "the store that was replaced", err, sentinel(capability.ErrOtherStore))
	_, err = first.Request(ctx, wish)
	wantError(t, "a request of the store that was replaced", err, sentinel(capability.ErrOtherStore))
	if v, err := s.Look(ctx); err != nil || v.Lost != nil || len(v.Items) != 1 {
		t.Errorf("the store that took its place: %+v, %v", v, err)
	}
}

// The counter may stand where a store that was replaced in the middle of a move expects it: it is another's all the same.
func TestOtherStoreAtTheSameEpoch(t *testing.T) {
	chip := newTestChip(t)
	b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), chip: chip, machine: workstation(1)}
	ctx, id := t.Context(), b.o.entitle("render:1.0", 2)
	s := b.must()
	b.o.give(s, id, 2)
	chip.advance = 1 // the second move of the return is written, and the counter has not moved for it
	if _, err := s.Return(ctx, id, 1); !errors.Is(err, errPowerCut) {
		t.Fatal(err)
	}
	s.Close()
	chip.advance = -1
	if _, err := chip.Provision([]byte("another store's")); err != nil {
		t.Fatal(err)
	}
	_, err := b.must().Acquire(ctx, "render")
	wantError(t, "a store whose epoch is another's", err, sentinel(capability.ErrOtherStore))
}

// Opening uses nothing of a TPM up, and looking at what is not there makes nothing.
func TestOpeningMakesNothing(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		s := b.must()
		if _, err := s.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if chip, ok := b.chip.(*testChip); ok && (chip.counts || chip.epoch != 0) {
			t.Errorf("a look made a counter, at %d", chip.epoch)
		}
		dir := filepath.Join(t.TempDir(), "mistyped")
		_, err := OpenStandalone(t.Context(), StandaloneOptions{Dir: dir, Trust: b.o.trust, Chip: b.chip, Machine: b.machine, Existing: true})
		wantError(t, "a store that is not there", err, ErrNotProvisioned)
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it was made: %v", err)
		}
		// A cut between the making of the counter and the writing of where it began costs nobody a repair.
		s = b.must()
		if chip, ok := b.chip.(*testChip); ok {
			if _, err := chip.Provision(s.secret); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		b.o.give(b.must(), b.o.entitle("render:1.0", 1), 1)
	})
}

// Without a TPM a clock that was years ahead costs nobody a re-host: what is repaired after it was set right comes after what was lost.
func TestEpochOfAClockAhead(t *testing.T) {
	for name, spoil := range map[string]func(b *standBox) error{
		"damaged": func(b *standBox) error { return os.WriteFile(filepath.Join(b.dir, rightsFile), []byte("x"), 0o600) },
		"deleted": func(b *standBox) error { return os.Remove(filepath.Join(b.dir, rightsFile)) },
	} {
		for _, ahead := range []time.Duration{0, 5 * 365 * 24 * time.Hour} {
			t.Run(fmt.Sprintf("%s, %s ahead", name, ahead), func(t *testing.T) {
				off := time.Duration(0)
				now := func() time.Time { return time.Now().Add(off) }
				b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), machine: workstation(1)}
				ctx, id := t.Context(), b.o.entitle("render:1.0", 2)
				open := func() *Standalone {
					t.Helper()
					s, err := OpenStandalone(ctx, StandaloneOptions{Dir: b.dir, Trust: b.o.trust, Machine: b.machine, Clock: now})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { s.Close() })
					return s
				}
				s := open()
				b.o.give(s, id, 2)
				s.Close()
				off = ahead
				s = open()
				if _, err := s.Return(ctx, id, 1); err != nil {
					t.Fatal(err)
				}
				r, err := s.Request(ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.o.respond(r.Bytes, backoffice.Order{}); err != nil {
					t.Fatal(err)
				}
				s.Close()
				off = 0 // it is set right
				if err := spoil(b); err != nil {
					t.Fatal(err)
				}
				s = open()
				if r, err = s.Request(ctx, []capability.Desired{{ActivationID: id, Count: 1}}); err != nil {
					t.Fatal(err)
				}
				res, err := b.o.respond(r.Bytes, backoffice.Order{Repair: "the disk died"})
				if err != nil {
					t.Fatal(err)
				}
				if a, err := s.Import(ctx, res.File); err != nil || len(a.After) != 1 {
					t.Errorf("%+v, %v: %+v", a, err, res.Denials)
				}
			})
		}
	}
}
