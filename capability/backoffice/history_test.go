package backoffice

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// full is a back office whose next run takes a snapshot.
func full(t testing.TB, seed uint64) (*storagetest.Machine, Place) {
	t.Helper()
	m := storagetest.New(seed)
	p := simulated(m)
	if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
		t.Fatal(err)
	}
	fill(t, m, p, compactAfter)
	return m, p
}

// copies gives machines with the disks that one had, as many as are wanted: to let its next run end in several ways.
func copies(t testing.TB, from Place) func() (*storagetest.Machine, Place) {
	t.Helper()
	disks := func(p Place) (all []*storagetest.Disk) {
		for _, d := range []storage.Disk{p.Top, p.Book, p.History, p.Keys, p.Responses, p.Hardware, p.Virtual} {
			all = append(all, d.(*storagetest.Disk))
		}
		return all
	}
	var images []storagetest.Image
	for _, d := range disks(from) {
		images = append(images, d.Copy())
	}
	return func() (*storagetest.Machine, Place) {
		m := storagetest.New(2)
		p := simulated(m)
		for i, d := range disks(p) {
			d.Restore(images[i])
		}
		return m, p
	}
}

// fill entitles in one run.
func fill(t testing.TB, m *storagetest.Machine, p Place, n int) {
	t.Helper()
	o := mustOpen(t, p, m)
	defer o.Close()
	for range n {
		entitle(t, o, 1)
	}
}

func verify(t testing.TB, o *Office, name string, entries ...uint64) {
	t.Helper()
	if n, err := o.Verify(); err != nil || !slices.Contains(entries, n) {
		t.Fatalf("%s: %d entries, want %d: %v", name, n, entries, err)
	}
}

// The process ends at every step of the change that takes a snapshot, and the power with it or not: no entry is lost, and none is there twice.
func TestCrashInSnapshot(t *testing.T) {
	_, p := full(t, 1)
	begin := copies(t, p)
	m, p := begin()
	m.Plan(nil)
	o := mustOpen(t, p, m)
	entitle(t, o, 1)
	if o.past.base != compactAfter+1 || len(o.past.fresh) != 1 {
		t.Fatalf("%d entries are in the history, %d in the vault", o.past.base, len(o.past.fresh))
	}
	o.Close()
	calls := m.Calls()
	for n := range calls {
		for k, ending := range endings() {
			name := fmt.Sprintf("step %d (%v), ending %d", n, calls[n], k)
			m, p := begin()
			m.Plan(storagetest.At(n, ending))
			told := uint64(0)
			if o, err := Open(p, passphrase(), m); err == nil {
				if _, err := o.Entitle(anItem(), "operator", today); err == nil {
					told = 1
				}
				o.Close()
			}
			if m.Plan(nil); n%2 == 0 {
				m.PowerCut(uint64(n))
			} else {
				m.Kill()
			}
			o := mustOpen(t, p, m)
			verify(t, o, name, compactAfter+1+told, compactAfter+2)
			entitle(t, o, 1)
			verify(t, o, name+", and on", compactAfter+2+told, compactAfter+3)
			o.Close()
			if (n+k)%8 != 0 {
				continue
			}
			fill(t, m, p, compactAfter)
			fill(t, m, p, 1)
			o = mustOpen(t, p, m)
			verify(t, o, name+", and the next", 2*compactAfter+3+told, 2*compactAfter+4)
			if o.past.base < 2*compactAfter {
				t.Fatalf("%s: the next snapshot has %d entries", name, o.past.base)
			}
			o.Close()
		}
	}
}

func anItem() entitlement.Item {
	return entitlement.Item{Customer: "ACME Works", Product: "Render Pro", Copies: 1, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}
}

// A disk that is full or broken at any step of it: an error, nothing was told, and what was there is there.
func TestBrokenDiskInSnapshot(t *testing.T) {
	_, p := full(t, 1)
	begin := copies(t, p)
	for _, c := range []struct {
		fault storagetest.Fault
		code  capability.Code
	}{{storagetest.NoSpace(), capability.ErrBookFull}, {storagetest.Broken(), capability.ErrBookWrite}} {
		for n := 0; ; n++ {
			m, p := begin()
			o := mustOpen(t, p, m)
			m.Plan(storagetest.At(n, c.fault))
			_, err := o.Entitle(anItem(), "operator", today)
			done := len(m.Calls()) <= n
			m.Plan(nil)
			if err != nil && Code(err) != c.code {
				t.Fatalf("step %d: %v is %s, want %s", n, err, Code(err), c.code)
			}
			o.Close()
			o = mustOpen(t, p, m)
			if err == nil {
				verify(t, o, fmt.Sprint("step ", n), compactAfter+2)
			} else {
				verify(t, o, fmt.Sprint("step ", n), compactAfter+1, compactAfter+2)
			}
			o.Close()
			if done {
				break
			}
		}
	}
}

// A book from before there was a history opens, is moved over at the next change, and has lost nothing.
func TestBookWithoutHistory(t *testing.T) {
	m, p := full(t, 1)
	o := mustOpen(t, p, m)
	entitle(t, o, 1) // takes the snapshot
	entitle(t, o, 1)
	var log []byte
	if err := o.History(1, func(_ uint64, e *entitlement.Entry) error {
		log = appendEntry(log, e.Encode(o.codec))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	head, length := o.Book().Head()
	if err := o.vault.Snapshot(log); err != nil { // as it was written before
		t.Fatal(err)
	}
	o.Close()
	for _, name := range must(p.History.List()) {
		if err := p.History.Remove(name); err != nil && name != "lock" {
			t.Fatal(err)
		}
	}
	o = mustOpen(t, p, m)
	if h, n := o.Book().Head(); h != head || n != length || o.past.base != 0 {
		t.Fatalf("%d entries, head %.8x, want %d and %.8x", n, h[:], length, head[:])
	}
	verify(t, o, "old", length)
	o.Close()
	if names := must(p.History.List()); slices.ContainsFunc(names, isPart) {
		t.Errorf("opening has written a history: %v", names)
	}
	o = mustOpen(t, p, m)
	entitle(t, o, 1)
	verify(t, o, "moved", length+1)
	o.Close()
	o = mustOpen(t, p, m)
	defer o.Close()
	verify(t, o, "moved and opened", length+1)
	if o.past.base != length {
		t.Errorf("%d entries are in the history, want %d", o.past.base, length)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func isPart(name string) bool { return strings.HasPrefix(name, "part-") }

// History begins where it is asked to, on either side of the snapshot.
func TestHistoryFrom(t *testing.T) {
	m, p := full(t, 1)
	fill(t, m, p, 3)
	o := mustOpen(t, p, m)
	defer o.Close()
	_, length := o.Book().Head()
	for _, from := range []uint64{0, 1, 2, compactAfter, compactAfter + 1, compactAfter + 2, length, length + 1, length + 9} {
		next := max(from, 1)
		err := o.History(from, func(n uint64, e *entitlement.Entry) error {
			if n != next || (n == 1) != (e.Policy != nil) {
				t.Fatalf("from %d: entry %d, want %d", from, n, next)
			}
			next++
			return nil
		})
		if err != nil || next != max(length+1, from) {
			t.Errorf("from %d: up to %d, %v", from, next, err)
		}
	}
	wrong := errors.New("stop")
	if err := o.History(1, func(uint64, *entitlement.Entry) error { return wrong }); err != wrong {
		t.Errorf("an error of the reader: %v", err)
	}
}

// An entry of the history that is gone, changed, put in or of another copy of the book is found, by opening or by Verify.
func TestHistoryIsWhole(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, p Place, o *Office)
		opens  bool
	}{
		"all is gone": {damage: func(t *testing.T, p Place, _ *Office) { removeParts(t, p.History) }},
		"a bit": {opens: true, damage: func(t *testing.T, p Place, _ *Office) {
			name := parts(p.History)[0]
			b := must(p.History.Read(name, 1<<20))
			b[len(b)/2] ^= 1
			if err := put(p.History, name, b); err != nil {
				t.Fatal(err)
			}
		}},
		"the last entry": {damage: func(t *testing.T, p Place, o *Office) {
			rewrite(t, p, o, func(all [][]byte) [][]byte { return all[:len(all)-1] })
		}},
		"an entry in the middle": {opens: true, damage: func(t *testing.T, p Place, o *Office) {
			rewrite(t, p, o, func(all [][]byte) [][]byte { return append(slices.Delete(all, 5, 6), all[5]) })
		}},
		"an entry is another": {opens: true, damage: func(t *testing.T, p Place, o *Office) {
			rewrite(t, p, o, func(all [][]byte) [][]byte { all[7] = all[8]; return all })
		}},
		"who did it": {opens: true, damage: func(t *testing.T, p Place, o *Office) {
			rewrite(t, p, o, func(all [][]byte) [][]byte {
				e := must(entitlement.DecodeEntry(o.codec, all[9]))
				e.By = "somebody else"
				all[9] = e.Encode(o.codec)
				return all
			})
		}},
		"who did the last": {opens: true, damage: func(t *testing.T, p Place, o *Office) {
			rewrite(t, p, o, func(all [][]byte) [][]byte {
				e := must(entitlement.DecodeEntry(o.codec, all[len(all)-1]))
				e.By = "somebody else"
				all[len(all)-1] = e.Encode(o.codec)
				return all
			})
		}},
		"more than the book": {damage: func(t *testing.T, p Place, o *Office) {
			rewrite(t, p, o, func(all [][]byte) [][]byte {
				return append(all, all[1:20]...)
			})
		}},
		"the first entry is gone": {damage: func(t *testing.T, p Place, o *Office) {
			all := entriesOf(t, o)
			removeParts(t, p.History)
			a := archiveOf(t, p, o)
			if err := a.Append(2, all[1:]); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m, p := full(t, 1)
			fill(t, m, p, 3)
			o := mustOpen(t, p, m)
			c.damage(t, p, o)
			o.Close()
			o, err := Open(p, passphrase(), m)
			if err != nil {
				if c.opens || Code(err) != capability.ErrBookDamaged {
					t.Errorf("open: %v", err)
				}
				return
			}
			defer o.Close()
			if !c.opens {
				t.Error("it opens")
			}
			if err := o.History(1, func(uint64, *entitlement.Entry) error { return nil }); Code(err) != capability.ErrBookDamaged {
				t.Errorf("read from the first to the last: %v", err)
			}
			if n, err := o.Verify(); Code(err) != capability.ErrBookDamaged {
				t.Errorf("verified %d entries: %v", n, err)
			}
		})
	}
}

// Two copies of one book that went on apart have histories that do not pass for each other's, and nothing is written over either.
func TestHistoryOfAnotherCopy(t *testing.T) {
	m, p := full(t, 1)
	fill(t, m, p, compactAfter+1) // in the history, and as many again in the vault
	o := mustOpen(t, p, m)
	rewrite(t, p, o, func(all [][]byte) [][]byte {
		var fresh [][]byte
		for _, b := range o.past.fresh { // the other copy has done the same as somebody else
			e := must(entitlement.DecodeEntry(o.codec, b))
			e.By = "somebody else"
			fresh = append(fresh, e.Encode(o.codec))
		}
		return append(all, fresh[:40]...)
	})
	o.Close()
	o = mustOpen(t, p, m)
	defer o.Close()
	before := parts(p.History)
	if _, err := o.Entitle(anItem(), "operator", today); Code(err) != capability.ErrBookDamaged {
		t.Errorf("the next snapshot: %v", err)
	}
	if after := parts(p.History); !slices.Equal(before, after) {
		t.Errorf("%v became %v", before, after)
	}
}

// A cut right behind a snapshot leaves the vault without entries, and then the last one of the history is the book's head or none of its.
func TestHistoryEndsWithTheHead(t *testing.T) {
	m, p := full(t, 1)
	o := mustOpen(t, p, m)
	entitle(t, o, 1)
	if err := o.compact(); err != nil {
		t.Fatal(err)
	}
	rewrite(t, p, o, func(all [][]byte) [][]byte {
		e := must(entitlement.DecodeEntry(o.codec, all[len(all)-1]))
		e.By = "somebody else"
		return append(all[:len(all)-1], e.Encode(o.codec))
	})
	o.Close()
	o = mustOpen(t, p, m)
	defer o.Close()
	_, length := o.Book().Head()
	if len(o.past.fresh) > 0 {
		t.Fatalf("%d entries are in the vault", len(o.past.fresh))
	}
	for _, from := range []uint64{1, length} {
		if err := o.History(from, func(uint64, *entitlement.Entry) error { return nil }); Code(err) != capability.ErrBookDamaged {
			t.Errorf("from entry %d on: %v", from, err)
		}
	}
}

func parts(d storage.Disk) []string {
	return slices.DeleteFunc(must(d.List()), func(name string) bool { return !isPart(name) })
}

func removeParts(t testing.TB, d storage.Disk) {
	t.Helper()
	for _, name := range parts(d) {
		if err := d.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func archiveOf(t testing.TB, p Place, o *Office) *storage.Archive {
	t.Helper()
	return must(storage.OpenArchive(p.History, must(o.vault.Derive(historyLabel, 32)), o.rand))
}

// entriesOf are those in the history.
func entriesOf(t testing.TB, o *Office) (all [][]byte) {
	t.Helper()
	if err := o.past.archive.Read(1, func(_ uint64, b []byte) error { all = append(all, b); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// rewrite makes the history anew as somebody could who has its key.
func rewrite(t testing.TB, p Place, o *Office, change func([][]byte) [][]byte) {
	t.Helper()
	all := change(entriesOf(t, o))
	removeParts(t, p.History)
	if err := archiveOf(t, p, o).Append(1, all); err != nil {
		t.Fatal(err)
	}
}
