package storage_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

func TestOrderOfCalls(t *testing.T) {
	w := newWorld(t, 21)
	w.must(w.create())
	w.mustBe(w.v.Commit(nil), storage.ErrNotBegun)
	w.mustBe(w.v.Move(nil, nil), storage.ErrNotBegun)
	w.mustBe(w.v.Snapshot(nil), storage.ErrNotBegun)
	w.mustBe(w.v.Stop(), storage.ErrNotBegun)
	w.must(w.begin())
	if err := w.v.Begin(); err == nil {
		t.Fatal("began twice")
	}
	w.must(w.commit(1, 20)) // asking in the wrong order breaks nothing
	w.must(w.stop())
	w.mustBe(w.v.Commit(nil), storage.ErrClosed)
	w.mustBe(w.v.Stop(), storage.ErrClosed)
	_, err := w.v.Derive("x", 32)
	w.mustBe(err, storage.ErrClosed)
	w.must(w.v.Close())
}

// TestLimits: every maximum is taken, and one above is refused.
func TestLimits(t *testing.T) {
	full := make([]byte, storage.MaxEntryBytes)
	group := [][]byte{full[4:], full[4:]}
	for _, row := range []struct {
		name string
		op   func(*storage.Vault) error
		ok   bool
	}{
		{"entry", func(v *storage.Vault) error { return v.Commit([][]byte{full}) }, true},
		{"entry + 1", func(v *storage.Vault) error { return v.Commit([][]byte{append(full, 0)}) }, false},
		{"group", func(v *storage.Vault) error { return v.Commit(group) }, true},
		{"group + 1", func(v *storage.Vault) error { return v.Commit([][]byte{full[4:], full[3:]}) }, false},
		{"group of a move", func(v *storage.Vault) error { return v.Move(nil, group) }, true},
		{"group of a move + 1", func(v *storage.Vault) error { return v.Move(nil, append(group, nil)) }, false},
		{"public", func(v *storage.Vault) error { return v.Move(full[:storage.MaxPublicBytes], nil) }, true},
		{"public + 1", func(v *storage.Vault) error { return v.Move(full[:storage.MaxPublicBytes+1], nil) }, false},
		{"snapshot + 1", func(v *storage.Vault) error { return v.Snapshot(make([]byte, storage.MaxSnapshotBytes+1)) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := running(t, 22)
			err := row.op(w.v)
			if !row.ok {
				w.mustBe(err, storage.ErrTooLarge)
			} else {
				w.must(err)
			}
			w.must(w.v.Close())
			v, _, err := storage.Open(w.m.Disk, w.o)
			w.must(err)
			w.must(v.Begin(group...))
		})
	}
	for _, n := range []int{storage.MaxPublicBytes, storage.MaxPublicBytes + 1} {
		w := newWorld(t, 23)
		_, err := storage.Create(w.m.Disk, w.o, full[:n], nil)
		if n > storage.MaxPublicBytes {
			w.mustBe(err, storage.ErrTooLarge)
			for _, c := range w.m.Calls() {
				if c.Op == "provision" {
					t.Fatal("a counter was made for a vault that cannot be")
				}
			}
		} else {
			w.must(err)
		}
	}
	w := newWorld(t, 24)
	w.o.Sealer = bulky{w.m.TPM}
	w.mustBe(w.create(), storage.ErrTooLarge)
}

// bulky seals to a blob one byte above the limit.
type bulky struct{ storage.Sealer }

func (bulky) Seal([]byte, uint64) ([]byte, error) { return make([]byte, storage.MaxBlobBytes+1), nil }

func TestDerive(t *testing.T) {
	w := running(t, 25)
	a, err := w.v.Derive("a", 32)
	w.must(err)
	b, err := w.v.Derive("b", 32)
	w.must(err)
	if bytes.Equal(a, b) || len(a) != 32 {
		t.Fatal("two labels give one key")
	}
	w.must(w.move(1))
	w.must(w.v.Close())
	w.reopen()
	again, err := w.v.Derive("a", 32)
	w.must(err)
	if !bytes.Equal(a, again) {
		t.Fatal("a label gives another key after a move")
	}
	if _, err := w.v.Derive("a", storage.MaxDeriveBytes); err != nil {
		t.Fatal(err)
	}
	if _, err := w.v.Derive("a", storage.MaxDeriveBytes+1); err == nil {
		t.Fatal("derived more than HKDF gives")
	}
}

// TestHead: the position counts records, and the hash names all of them.
func TestHead(t *testing.T) {
	heads := map[[32]byte]bool{}
	for _, entry := range []string{"a", "b"} {
		w := running(t, 26)
		p0, h0 := w.v.Head()
		w.must(w.v.Commit([][]byte{[]byte(entry)}))
		p1, h1 := w.v.Head()
		if p1 != p0+1 || h1 == h0 {
			t.Fatalf("head went from %d to %d", p0, p1)
		}
		heads[h1] = true
		w.must(w.v.Commit(nil))
		w.must(w.v.Close())
		v, _, err := storage.Open(w.m.Disk, w.o)
		w.must(err)
		if p2, h2 := v.Head(); p2 != p1 || h2 != h1 {
			t.Fatal("head is another after a start")
		}
	}
	if len(heads) != 2 {
		t.Fatal("two journals have one head")
	}
}

// TestSealerFor: a move may change the public part and with it how the secret is sealed; a cut at any step opens with the one that
// belongs to the epoch.
func TestSealerFor(t *testing.T) {
	for n := 0; ; n++ {
		w := newWorld(t, 27)
		w.o.Sealer = nil
		w.o.SealerFor = func(public []byte) (storage.Sealer, error) { return labeled{w.m.TPM, string(public)}, nil }
		w.must(w.create())
		w.must(w.begin())
		w.m.Plan(storagetest.At(n, storagetest.Fault{Effect: storagetest.Whole, Stop: true}))
		err := w.move(1)
		w.m.Kill()
		w.reopen()
		w.must(w.begin())
		w.must(w.stop())
		w.reopen()
		if err == nil {
			if n < 10 {
				t.Fatalf("move has %d steps only", n)
			}
			return
		}
	}
}

// labeled seals to a label as well.
type labeled struct {
	storage.Sealer
	label string
}

func (l labeled) Seal(secret []byte, epoch uint64) ([]byte, error) {
	b, err := l.Sealer.Seal(secret, epoch)
	return append([]byte(l.label+"|"), b...), err
}

func (l labeled) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	b, ok := bytes.CutPrefix(blob, []byte(l.label+"|"))
	if !ok {
		return nil, storagetest.ErrUnsealed
	}
	return l.Sealer.Unseal(b, epoch)
}

// TestNothingReadable looks for a canary in all that is on the disk.
func TestNothingReadable(t *testing.T) {
	w := running(t, 28)
	const canary = "canary of the customer"
	w.must(w.v.Commit([][]byte{[]byte(canary)}))
	w.must(w.v.Move(nil, [][]byte{[]byte(canary)}))
	look := func() {
		t.Helper()
		for name, b := range w.m.Disk.Copy() {
			if strings.Contains(string(b), canary) {
				t.Fatalf("%s shows it", name)
			}
		}
	}
	look()
	w.must(w.v.Snapshot([]byte(canary)))
	look()
}

// TestNoNonceTwice: no two frames of one segment have one position, whatever was cut and dropped in between; segments never share a salt.
func TestNoNonceTwice(t *testing.T) {
	salts := map[string]string{}
	w := running(t, 29)
	for seed := range uint64(30) {
		w.stopAt("datasync", 1, storagetest.Whole, func() error { return w.commit(1, 600) })
		w.m.PowerCut(seed)
		w.reopen()
		w.must(w.begin())
		for name, b := range w.m.Disk.Copy() {
			if strings.HasPrefix(name, "journal-") && len(b) >= 28 {
				salt := string(b[12:28])
				if other := salts[salt]; other != "" && other != name {
					t.Fatalf("%s and %s share a salt", name, other)
				}
				salts[salt] = name
			}
		}
	}
	if len(salts) < 30 {
		t.Fatalf("%d segments in 30 runs", len(salts))
	}
}

// TestForeignFiles: what is not ours stays, what is unfinished goes.
func TestForeignFiles(t *testing.T) {
	w := running(t, 30)
	w.must(w.v.Close())
	image := w.m.Disk.Copy()
	for _, name := range []string{"lost+found", "journal-1", "header-zz", "notes.new", "journal-000000000000000G"} {
		image[name] = []byte("not ours")
	}
	for _, name := range []string{"header-00000000000000ff.new", "snapshot-0000000000000001.new"} {
		image[name] = []byte("unfinished")
	}
	w.m.Disk.Restore(image)
	w.reopen()
	names := slices.Sorted(maps.Keys(w.m.Disk.Copy()))
	for _, name := range []string{"lost+found", "journal-1", "header-zz", "notes.new", "journal-000000000000000G"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".new") && name != "notes.new" {
			t.Errorf("%s is still there", name)
		}
	}
	w.serves()
}

// TestSwappedFiles: files in each other's place, missing or doubled are found.
func TestSwappedFiles(t *testing.T) {
	w := running(t, 31)
	for range 6 {
		w.must(w.commit(1, 1500))
	}
	w.must(w.v.Close())
	image := w.m.Disk.Copy()
	var used []string
	for _, name := range slices.Sorted(maps.Keys(image)) {
		if strings.HasPrefix(name, "journal-") && slices.ContainsFunc(image[name][60:], func(c byte) bool { return c != 0 }) {
			used = append(used, name)
		}
	}
	if len(used) < 3 {
		t.Fatalf("%d segments are too few", len(used))
	}
	for _, change := range []func(storagetest.Image){
		func(i storagetest.Image) { i[used[0]], i[used[1]] = i[used[1]], i[used[0]] },
		func(i storagetest.Image) { i[used[1]] = i[used[0]] },
		func(i storagetest.Image) { delete(i, used[0]) },
		func(i storagetest.Image) { delete(i, used[1]) },
		func(i storagetest.Image) { clear(i[used[0]]) },
		func(i storagetest.Image) { i[used[1]] = i[used[1]][:200] },
		func(i storagetest.Image) { delete(i, "snapshot-0000000000000000") },
		func(i storagetest.Image) { i["snapshot-0000000000000001"] = i["snapshot-0000000000000000"] },
		func(i storagetest.Image) { i["header-ffffffffffffffff"] = []byte{} },
	} {
		changed := storagetest.Image{}
		for name, b := range image {
			changed[name] = bytes.Clone(b)
		}
		change(changed)
		w.m.Disk.Restore(changed)
		_, _, err := storage.Open(w.m.Disk, w.o)
		w.mustBe(err, storage.ErrCorrupt)
	}
	// A journal cut at its end is not corrupt, but never exact.
	delete(image, used[len(used)-1])
	w.m.Disk.Restore(image)
	v, r, err := storage.Open(w.m.Disk, w.o)
	w.must(err)
	if r.Verdict != storage.Hold || !strings.Contains(r.Cause.String(), "running digest") {
		t.Fatalf("verdict %s, %v", r.Verdict, r.Cause)
	}
	w.must(v.Close())
}

// TestSyncsPerCommit: one sync a group, none where nothing is written.
func TestSyncsPerCommit(t *testing.T) {
	w := running(t, 32)
	w.o.SegmentBytes = 1 << 20
	w.must(w.v.Close())
	w.reopen()
	w.must(w.begin())
	syncs := 0
	w.m.Disk.OnSync = func() { syncs++ }
	for range 100 {
		w.must(w.commit(3, 100))
		w.must(w.commit(0, 0))
	}
	if syncs != 100 {
		t.Fatalf("%d syncs for 100 groups", syncs)
	}
}

// TestAnchorFails: every error of sealer and anchor is passed on.
func TestAnchorFails(t *testing.T) {
	broken := errors.New("tpm does not answer")
	for _, op := range []string{"provision", "epoch", "advance", "extend", "running", "seal", "unseal"} {
		w := newWorld(t, 33)
		w.m.Plan(storagetest.On(op, storagetest.Fault{Err: broken}))
		w.mustBe(workload(w), broken)
	}
}
