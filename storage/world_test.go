package storage_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// world is a vault on a machine beside what its clients know: what they were told must be there after anything.
type world struct {
	testing.TB
	m *storagetest.Machine
	o storage.Options
	v *storage.Vault

	told    []string // acknowledged entries, all there ever were
	maybe   []string // of the group whose end nobody heard of
	public  []string // public parts that may be found
	stopped bool     // a stop was acknowledged and nothing followed
	made    bool     // Create was acknowledged
	lies    bool     // the disk loses what it called durable
	n       int
}

// errShort is a hold that lacks acknowledged entries, on a disk that lies.
var errShort = errors.New("held, and entries are missing")

func newWorld(t testing.TB, seed uint64) *world {
	m := storagetest.New(seed)
	return &world{TB: t, m: m, o: m.Options()}
}

// state is a snapshot: all entries with their lengths.
func state(entries []string) (b []byte) {
	for _, e := range entries {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
	}
	return b
}

func entriesOf(r *storage.Restored) (list []string) {
	for b := r.Snapshot; len(b) > 0; {
		n := binary.BigEndian.Uint32(b)
		list = append(list, string(b[4:4+n]))
		b = b[4+n:]
	}
	for _, e := range r.Records {
		list = append(list, string(e))
	}
	return list
}

// entries makes n entries, each different, of some size.
func (w *world) entries(n, size int) (list []string) {
	for range n {
		w.n++
		e := fmt.Sprintf("entry %d ", w.n)
		list = append(list, e+strings.Repeat("x", max(0, size-len(e))))
	}
	return list
}

func raw(list []string) (b [][]byte) {
	for _, e := range list {
		b = append(b, []byte(e))
	}
	return b
}

func (w *world) create() error {
	w.told, w.maybe, w.public = nil, nil, []string{"public 0"}
	first := w.entries(1, 40)
	w.told = first // a vault that is there has its state, acknowledged or not
	v, err := storage.Create(w.m.Disk, w.o, []byte("public 0"), state(first))
	w.v = v
	w.made = w.made || err == nil
	return err
}

// group runs an operation that writes list.
func (w *world) group(list []string, op func([][]byte) error) error {
	w.stopped = false
	w.maybe = list
	if err := op(raw(list)); err != nil {
		return err
	}
	w.told, w.maybe = append(w.told, list...), nil
	return nil
}

func (w *world) begin() error {
	return w.group(w.entries(1, 30), func(b [][]byte) error { return w.v.Begin(b...) })
}

func (w *world) commit(n, size int) error { return w.group(w.entries(n, size), w.v.Commit) }

func (w *world) move(n int) error {
	public := fmt.Sprintf("public %d", w.n)
	w.public = append(w.public, public)
	err := w.group(w.entries(n, 50), func(b [][]byte) error { return w.v.Move([]byte(public), b) })
	if err == nil {
		w.public = []string{public}
	}
	return err
}

func (w *world) snapshot() error { return w.v.Snapshot(state(w.told)) }

func (w *world) stop() error {
	err := w.v.Stop()
	w.stopped = err == nil
	return err
}

// open opens the vault and compares it with what was told; the unknown group may be there, whole, or not.
func (w *world) open() (*storage.Restored, error) {
	v, r, err := storage.Open(w.m.Disk, w.o)
	if err != nil {
		return nil, err
	}
	w.v = v
	found := entriesOf(r)
	if with := append(slices.Clone(w.told), w.maybe...); slices.Equal(found, with) {
		w.told = with
	} else if w.lies && r.Verdict == storage.Hold && len(found) < len(with) && slices.Equal(found, with[:len(found)]) {
		return nil, errShort
	} else if !slices.Equal(found, w.told) {
		w.Fatalf("found %d entries, %d were told and %d perhaps written", len(found), len(w.told), len(w.maybe))
	}
	w.maybe = nil
	if !slices.Contains(w.public, string(r.Public)) {
		w.Fatalf("public part is %q, one of %q was written", r.Public, w.public)
	}
	w.public = []string{string(r.Public)}
	if w.stopped && !w.lies && r.Verdict != w.clean() {
		w.Fatalf("verdict after a clean stop is %s: %v", r.Verdict, r.Cause)
	}
	if (r.Verdict == storage.Hold) != (r.Cause != nil) {
		w.Fatalf("verdict %s has cause %v", r.Verdict, r.Cause)
	}
	return r, nil
}

// reopen is open where nothing may stand in its way, and a first life after it.
func (w *world) reopen() *storage.Restored {
	w.Helper()
	r, err := w.open()
	w.must(err)
	return r
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) mustBe(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("error is %v, want %v", err, want)
	}
}

// serves shows that the vault is whole: it takes groups, a move, a snapshot and a clean stop, and opens again.
func (w *world) serves() {
	w.Helper()
	w.must(w.begin())
	w.must(w.commit(1, 100))
	w.must(w.move(1))
	w.must(w.snapshot())
	w.must(w.commit(2, 700))
	w.must(w.stop())
	w.reopen() // it compares the verdict
	w.must(w.v.Close())
}

// clean is the verdict after a clean stop.
func (w *world) clean() storage.Verdict {
	if w.o.Anchor == nil {
		return storage.Exact
	}
	return storage.Clean
}

// running makes a vault that has begun, with a few groups.
func running(t testing.TB, seed uint64) *world {
	w := newWorld(t, seed)
	w.must(w.create())
	w.must(w.begin())
	w.must(w.commit(1, 60))
	w.must(w.commit(2, 300))
	return w
}
