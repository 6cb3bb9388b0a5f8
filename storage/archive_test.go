package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

func archiveSecret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func openArchive(t *testing.T, m *storagetest.Machine) *storage.Archive {
	t.Helper()
	a, err := storage.OpenArchive(m.Disk, archiveSecret(1), m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// record is what position n holds; large ones do not compress away.
func record(n uint64, size int) []byte {
	b := []byte(fmt.Sprintf("record %d ", n))
	for x := n*2654435761 + 1; len(b) < size; x = x*6364136223846793005 + 1442695040888963407 {
		b = append(b, byte(x>>56))
	}
	return b
}

func batch(first, count uint64, size int) (out [][]byte) {
	for n := range count {
		out = append(out, record(first+n, size))
	}
	return out
}

// whole reads all, and says which positions are there; each must be what was put.
func whole(t *testing.T, a *storage.Archive, from uint64, size int) (first, last uint64) {
	t.Helper()
	if err := a.Read(from, func(position uint64, r []byte) error {
		if want := record(position, size); !bytes.Equal(r, want) {
			return fmt.Errorf("position %d holds %.30q", position, r)
		}
		if first == 0 {
			first = position
		} else if position != last+1 {
			return fmt.Errorf("position %d follows %d", position, last)
		}
		last = position
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return first, last
}

// Records that are small as a file and large when they are unpacked do not join what has no room for them.
func TestArchiveOfWhatCompresses(t *testing.T) {
	m := storagetest.New(1)
	a, err := storage.CreateArchive(m.Disk, archiveSecret(1), nil, m)
	if err != nil {
		t.Fatal(err)
	}
	const count = 5 // of 15 MiB
	for n := range uint64(count) {
		if err := a.Append(n+1, [][]byte{make([]byte, 15<<20)}); err != nil {
			t.Fatalf("record %d: %v", n+1, err)
		}
	}
	read := 0
	if err := openArchive(t, m).Read(1, func(_ uint64, r []byte) error { read += len(r); return nil }); err != nil || read != count*15<<20 {
		t.Errorf("%d bytes: %v", read, err)
	}
}

func TestArchive(t *testing.T) {
	m := storagetest.New(1)
	if _, err := storage.ArchiveKey(m.Disk); !errors.Is(err, storage.ErrAbsent) {
		t.Fatal(err)
	}
	a, err := storage.CreateArchive(m.Disk, archiveSecret(1), []byte("wrapped"), m)
	if err != nil {
		t.Fatal(err)
	}
	const size = 2000
	next := uint64(41)
	for range 300 { // 6 MB of what does not compress: some twenty parts
		if err := a.Append(next, batch(next, 10, size)); err != nil {
			t.Fatal(err)
		}
		if next += 10; a.Next() != next || a.First() != 41 {
			t.Fatalf("next %d, first %d", a.Next(), a.First())
		}
	}
	names, _ := m.Disk.List()
	if len(names) < 15 || len(names) > 30 {
		t.Errorf("%d files", len(names))
	}
	for _, from := range []uint64{0, 41, 42, 1000, next - 1, next} {
		first, last := whole(t, openArchive(t, m), from, size)
		if from < next && (first != max(from, 41) || last != next-1) || from == next && first != 0 {
			t.Errorf("from %d: %d to %d", from, first, last)
		}
	}
	if key, err := storage.ArchiveKey(m.Disk); err != nil || string(key) != "wrapped" {
		t.Errorf("%q %v", key, err)
	}
	if _, err := storage.CreateArchive(m.Disk, archiveSecret(1), nil, m); !errors.Is(err, storage.ErrPresent) {
		t.Error(err)
	}
	for _, first := range []uint64{0, next - 1, next + 1} {
		if err := a.Append(first, batch(first, 1, size)); err == nil {
			t.Errorf("records from %d on are taken", first)
		}
	}
	if err := a.Append(next, nil); err != nil || a.Next() != next {
		t.Error("no records are an error")
	}
	stop := errors.New("enough")
	if err := a.Read(0, func(uint64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := a.Append(next, [][]byte{make([]byte, storage.MaxPartBytes+1)}); !errors.Is(err, storage.ErrTooLarge) {
		t.Error(err)
	}
	if err := a.Trim(2 << 20); err != nil {
		t.Fatal(err)
	}
	if first, last := whole(t, openArchive(t, m), 0, size); first <= 41 || first != a.First() || last != next-1 {
		t.Errorf("after trimming %d to %d", first, last)
	}
	if err := a.Trim(0); err != nil || a.Next() != next {
		t.Errorf("the last part goes: %v", err)
	}
}

func TestArchiveNote(t *testing.T) {
	m := storagetest.New(1)
	a := openArchive(t, m)
	if n, err := a.Note(); n != nil || err != nil {
		t.Errorf("%q %v", n, err)
	}
	for _, note := range []string{"one", strings.Repeat("two", 1000), ""} {
		if err := a.SetNote([]byte(note)); err != nil {
			t.Fatal(err)
		}
		if n, err := openArchive(t, m).Note(); string(n) != note || err != nil {
			t.Errorf("%.20q %v", n, err)
		}
	}
	if err := a.SetNote(make([]byte, storage.MaxNoteBytes+1)); !errors.Is(err, storage.ErrTooLarge) {
		t.Error(err)
	}
}

// An archive cut off at any step has every record that was acknowledged, and takes the next ones.
func TestArchiveIsCutAnywhere(t *testing.T) {
	const size = 60 << 10 // five records make a part that is not small
	life := func(m *storagetest.Machine, a *storage.Archive) (acked uint64) {
		for n := uint64(1); n <= 11; n += 2 {
			if err := a.Append(n, batch(n, 2, size)); err != nil {
				return acked
			}
			acked = n + 1
			if a.SetNote(record(n, 50)) != nil {
				return acked
			}
		}
		return acked
	}
	m := storagetest.New(7)
	m.Plan(nil)
	life(m, openArchive(t, m))
	steps := len(m.Calls())
	if steps < 50 {
		t.Fatalf("%d steps", steps)
	}
	for step := range steps {
		for _, effect := range []storagetest.Effect{storagetest.None, storagetest.Half, storagetest.Whole} {
			for _, cut := range []bool{false, true} {
				m := storagetest.New(7)
				a := openArchive(t, m)
				m.Plan(storagetest.At(step-1, storagetest.Fault{Effect: effect, Stop: true})) // opening took a step
				acked := life(m, a)
				if m.Kill(); cut {
					m.PowerCut(uint64(step))
				}
				a = openArchive(t, m)
				if _, last := whole(t, a, 0, size); last < acked {
					t.Fatalf("step %d, effect %d, cut %v: %d were acknowledged and %d are there", step, effect, cut, acked, last)
				}
				if _, err := a.Note(); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				next := max(a.Next(), 1)
				if err := a.Append(next, batch(next, 1, size)); err != nil {
					t.Fatalf("step %d, effect %d, cut %v: %v", step, effect, cut, err)
				}
				whole(t, a, 0, size)
			}
		}
	}
}

// Whatever is changed is found: bytes, names, places, and parts of another archive.
func TestArchiveIsChanged(t *testing.T) {
	made := func(secret byte) *storagetest.Machine {
		m := storagetest.New(3)
		a, err := storage.CreateArchive(m.Disk, archiveSecret(secret), []byte("k"), m)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.Append(1, batch(1, 8, 40<<10)), a.Append(9, batch(9, 3, 100)), a.SetNote([]byte("note"))); err != nil {
			t.Fatal(err)
		}
		return m
	}
	const first, second = "part-0000000000000001-0000000000000008", "part-0000000000000009-000000000000000b"
	all := func(m *storagetest.Machine) error {
		a, err := storage.OpenArchive(m.Disk, archiveSecret(1), m)
		if err == nil {
			err = a.Read(0, func(uint64, []byte) error { return nil })
		}
		if err == nil {
			_, err = a.Note()
		}
		return err
	}
	if err := all(made(1)); err != nil {
		t.Fatal(err)
	}
	if err := all(made(2)); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("another secret: %v", err)
	}
	for name, change := range map[string]func(storagetest.Image){
		"a part is gone":            func(i storagetest.Image) { i["part-000000000000000d-000000000000000d"] = i[second] },
		"a part has another's name": func(i storagetest.Image) { i["part-0000000000000009-000000000000000c"] = i[second] },
		"a part in another's place": func(i storagetest.Image) { i[first] = i[second] },
		"the note in a part":        func(i storagetest.Image) { i[second] = i["note"] },
		"a part in the note":        func(i storagetest.Image) { i["note"] = i[second] },
		"another archive's note":    func(i storagetest.Image) { i["note"] = made(2).Disk.Copy()["note"] },
		"a part is empty":           func(i storagetest.Image) { i[second] = nil },
	} {
		m := made(1)
		image := m.Disk.Copy()
		change(image)
		m.Disk.Restore(image)
		if err := all(m); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := made(1).Disk.Copy()
	m := storagetest.New(3)
	for _, name := range []string{second, "note"} {
		for bit := range len(whole[name]) * 8 {
			image := maps.Clone(whole)
			image[name] = bytes.Clone(whole[name])
			image[name][bit/8] ^= 1 << (bit % 8)
			delete(image, first) // reading it each time would take long
			m.Disk.Restore(image)
			if err := all(m); !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("bit %d of %s: %v", bit, name, err)
			}
		}
	}
	if _, err := storage.OpenArchive(storagetest.New(1).Disk, []byte("short"), storagetest.New(1)); err == nil {
		t.Error("a short secret is taken")
	}
}

func TestWrap(t *testing.T) {
	m := storagetest.New(5)
	wrapped, err := storage.Wrap("code", archiveSecret(9), m)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := storage.Unwrap("code", wrapped); err != nil || !bytes.Equal(s, archiveSecret(9)) {
		t.Errorf("%x %v", s, err)
	}
	if _, err := storage.Unwrap("codf", wrapped); !errors.Is(err, storage.ErrCode) {
		t.Error(err)
	}
	for n := range wrapped {
		other := bytes.Clone(wrapped)
		other[n] ^= 4
		if _, err := storage.Unwrap("code", other); !errors.Is(err, storage.ErrCode) {
			t.Errorf("byte %d: %v", n, err)
		}
		if _, err := storage.Unwrap("code", wrapped[:n]); !errors.Is(err, storage.ErrCode) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
