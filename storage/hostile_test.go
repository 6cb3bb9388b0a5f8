package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestMixedLines puts together what two lines of one vault have written, each genuine: a header prepared in one, a journal from the
// other.
func TestMixedLines(t *testing.T) {
	prepare := func(w *world, move func() error) storagetest.Image {
		w.stopAt("advance", 1, storagetest.None, move)
		w.m.Kill()
		return w.m.Disk.Copy()
	}
	for _, row := range []struct {
		name        string
		first       func(w *world) error // is prepared; its header is kept
		second      func(w *world) error // its journal is kept
		secondEnded bool
	}{
		{"two groups in one place", func(w *world) error { return w.move(1) }, func(w *world) error { return w.move(2) }, true},
		{"a group of N behind an empty move", func(w *world) error { return w.v.Stop() }, func(w *world) error { return w.commit(1, 30) }, false},
		{"a snapshot of N behind an empty move", func(w *world) error { return w.v.Stop() }, func(w *world) error { return errors.Join(w.commit(1, 30), w.snapshot()) }, false},
		{"no group behind a move with one", func(w *world) error { return w.move(1) }, func(w *world) error { return w.v.Close() }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := running(t, 41)
			one := prepare(w, func() error { return row.first(w) })
			w = running(t, 41) // of the same seed, so with the same secret: as a daemon that went on from the same files
			var two storagetest.Image
			if row.secondEnded {
				two = prepare(w, func() error { return row.second(w) })
			} else {
				w.must(row.second(w))
				two = w.m.Disk.Copy()
			}
			mixed := maps.Clone(two)
			for name, b := range one {
				if strings.HasPrefix(name, "header-") {
					mixed[name] = b
				}
			}
			w.m.Kill()
			w.m.Disk.Restore(mixed)
			_, _, err := storage.Open(w.m.Disk, w.o)
			w.mustBe(err, storage.ErrCorrupt)
		})
	}
}

// TestPreparedHeaderIsNotWhole: it was told to nobody, and is dropped; S tells whether its group was extended.
func TestPreparedHeaderIsNotWhole(t *testing.T) {
	for _, row := range []struct {
		name string
		move func(*world) error
		want storage.Verdict
	}{
		{"empty move", func(w *world) error { return w.v.Stop() }, storage.Exact},
		{"move with a group", func(w *world) error { return w.v.Move(nil, [][]byte{{1}}) }, storage.Hold},
	} {
		for what, spoil := range map[string]func([]byte) []byte{
			"flipped public part": func(b []byte) []byte { b[62] ^= 1; return b },
			"flipped epoch":       func(b []byte) []byte { b[16] ^= 2; return b },
			"cut":                 func(b []byte) []byte { return b[:30] },
			"empty":               func(b []byte) []byte { return nil },
		} {
			t.Run(row.name+", "+what, func(t *testing.T) {
				w := running(t, 7) // of epoch 103
				w.stopAt("advance", 1, storagetest.None, func() error { return row.move(w) })
				w.m.Kill()
				image := w.m.Disk.Copy()
				name := fmt.Sprintf("header-%016x", 104)
				if image[name] == nil {
					t.Fatal("nothing was prepared")
				}
				image[name] = spoil(image[name])
				w.m.Disk.Restore(image)
				r := w.reopen()
				if r.Verdict != row.want || w.v.Epoch() != 103 {
					t.Fatalf("verdict is %s at epoch %d", r.Verdict, w.v.Epoch())
				}
				w.serves()
			})
		}
	}
}

// TestStartFails: what stands in the way of a start is passed on, and the next start finds everything.
func TestStartFails(t *testing.T) {
	broken := errors.New("it does not answer")
	leave := func(w *world) { // a move prepared, its group not yet extended: the start does all it can ever have to do
		w.stopAt("extend", 1, storagetest.None, func() error { return w.move(1) })
		w.m.Kill()
	}
	for _, op := range []string{"list", "lock", "read", "open", "sync", "close", "syncdir", "remove", "epoch", "unseal", "running", "extend", "advance"} {
		for n := range 9 {
			w := running(t, 43)
			leave(w)
			seen := 0
			w.m.Plan(func(_ int, c storagetest.Call) *storagetest.Fault {
				if c.Op != op {
					return nil
				}
				if seen++; seen != n+1 {
					return nil
				}
				return &storagetest.Fault{Err: broken}
			})
			_, err := w.open()
			if seen <= n {
				if n == 0 {
					t.Errorf("a start never calls %s", op)
				}
				break
			}
			w.mustBe(err, broken)
			w.m.Plan(nil)
			w.reopen()
			w.serves()
		}
	}
}

// TestSealerForFails: whoever makes sealers may refuse, anywhere.
func TestSealerForFails(t *testing.T) {
	broken := errors.New("no such policy")
	for n := range 4 {
		w := newWorld(t, 44)
		calls := 0
		w.o.SealerFor = func([]byte) (storage.Sealer, error) {
			if calls++; calls == n+1 {
				return nil, broken
			}
			return w.m.TPM, nil
		}
		err := w.create() // 1
		if err == nil {
			w.must(w.begin())
			w.stopAt("advance", 1, storagetest.None, func() error { err = w.move(1); return nilAs(err, broken) }) // 2
			w.m.Kill()
			if !errors.Is(err, broken) {
				_, err = w.open() // 3: the header that opens; 4: the one that was prepared
			}
		}
		w.mustBe(err, broken)
	}
	w := newBook(t, 45)
	w.o.SealerFor = func(public []byte) (storage.Sealer, error) {
		if string(public) == "bad" {
			return nil, broken
		}
		return book{}, nil
	}
	w.must(w.create())
	w.must(w.begin())
	w.mustBe(w.v.Move([]byte("bad"), nil), broken)
	w.mustBe(w.v.Commit(nil), broken)
}

// nilAs makes an expected error the one that stopAt expects.
func nilAs(err, expected error) error {
	if errors.Is(err, expected) {
		return storagetest.ErrStopped
	}
	return err
}

// TestNoRandomness: without it nothing is written that would need it.
func TestNoRandomness(t *testing.T) {
	for _, n := range []int{0, 31, 32, 47, 48, 63} {
		w := newWorld(t, 46)
		w.o.Rand = bytes.NewReader(make([]byte, n))
		err := w.create()
		if err == nil {
			err = w.begin()
		}
		if err == nil || !strings.Contains(err.Error(), "make ") {
			t.Errorf("with %d random bytes: %v", n, err)
		}
	}
}

// TestSecretOfAnotherLength: a sealer that gives back something else is found.
func TestSecretOfAnotherLength(t *testing.T) {
	w := running(t, 47)
	w.must(w.v.Close())
	w.o.Sealer = short{w.m.TPM}
	_, err := w.open()
	w.mustBe(err, storage.ErrCorrupt)
}

type short struct{ storage.Sealer }

func (s short) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	b, err := s.Sealer.Unseal(blob, epoch)
	return b[:31], err
}

// TestPublicOfSpoiledHeader: it is read before anything can authenticate it, so it must bear anything.
func TestPublicOfSpoiledHeader(t *testing.T) {
	w := running(t, 48)
	w.must(w.v.Close())
	image := w.m.Disk.Copy()
	for name, b := range image {
		if !strings.HasPrefix(name, "header-") {
			continue
		}
		for n := range len(b) {
			w.m.Disk.Restore(storagetest.Image{name: b[:n]})
			_, err := storage.Public(w.m.Disk)
			w.mustBe(err, storage.ErrCorrupt)
		}
		b[8] = 2
		w.m.Disk.Restore(storagetest.Image{name: b})
		_, err := storage.Public(w.m.Disk)
		if w.mustBe(err, storage.ErrCorrupt); !strings.Contains(err.Error(), "format 2") {
			t.Fatal(err)
		}
	}
}

// TestTooManyFiles: a directory is looked at up to a limit.
func TestTooManyFiles(t *testing.T) {
	w := running(t, 49)
	w.must(w.v.Close())
	image := w.m.Disk.Copy()
	for i := range 1 << 16 {
		image[fmt.Sprint(i)] = nil
	}
	w.m.Disk.Restore(image)
	_, err := storage.Public(w.m.Disk)
	w.mustBe(err, storage.ErrCorrupt)
	_, err = w.open()
	w.mustBe(err, storage.ErrCorrupt)
}

// TestDirectoryInTheWay: what is no directory is no vault, and says why.
func TestDirectoryInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	d := storage.Dir(path)
	if _, err := storage.Public(d); err == nil || errors.Is(err, storage.ErrAbsent) {
		t.Fatalf("public part of a file: %v", err)
	}
	if _, _, err := storage.Open(d, onDisk(false)); err == nil || errors.Is(err, storage.ErrAbsent) {
		t.Fatalf("opened a file: %v", err)
	}
	if _, err := storage.Create(d, onDisk(false), nil, nil); err == nil {
		t.Fatal("created in a file")
	}
	if _, err := storage.Create(storage.Dir(filepath.Join(path, "below", "nothing")), onDisk(false), nil, nil); err == nil {
		t.Fatal("created below a file")
	}
	if _, err := d.Open("x"); err == nil {
		t.Fatal("opened a file below a file")
	}
	if err := storage.Dir(path + "-absent").Sync(); err == nil {
		t.Fatal("synced what is not there")
	}
}

func TestWordsOfVerdicts(t *testing.T) {
	for v, want := range map[storage.Verdict]string{storage.Clean: "clean", storage.Exact: "exact", storage.Hold: "hold", 0: "verdict 0"} {
		if v.String() != want {
			t.Errorf("%q, want %q", v, want)
		}
	}
	c := storage.Cause{Expected: storage.Running{Resets: 1, Restarts: 2}, Found: storage.Running{Resets: 3, Restarts: 2}}
	if s := c.String(); !c.Counts() || !strings.Contains(s, "resets 3") || !strings.Contains(s, "has 1 and 2") {
		t.Error(s)
	}
}

// TestHeaderLost: a vault without its header is not an empty disk, on which a Create would remove what is left of it.
func TestHeaderLost(t *testing.T) {
	for name, leave := range map[string]func(*world){
		"journal":  func(w *world) {},
		"snapshot": func(w *world) { w.must(w.snapshot()) },
	} {
		w := newBook(t, 50)
		w.must(w.create())
		w.must(w.begin())
		w.must(w.commit(1, 40))
		leave(w)
		w.m.Kill()
		image := w.m.Disk.Copy()
		for file := range image {
			if strings.HasPrefix(file, "header-") || name == "snapshot" && strings.HasPrefix(file, "journal-") {
				delete(image, file)
			}
		}
		w.m.Disk.Restore(image)
		_, err := storage.Public(w.m.Disk)
		w.mustBe(err, storage.ErrCorrupt)
		_, err = w.open()
		w.mustBe(err, storage.ErrCorrupt)
		_, err = storage.Create(w.m.Disk, w.o, nil, nil)
		w.mustBe(err, storage.ErrCorrupt)
		if left := w.m.Disk.Copy(); !maps.EqualFunc(left, image, bytes.Equal) {
			t.Errorf("%s: something was removed", name)
		}
	}
}
