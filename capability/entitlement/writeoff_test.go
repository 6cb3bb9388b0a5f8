package entitlement

import (
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// stolen is a machine with 6 of 10 copies that were written off.
func stolen(t *testing.T) (w *world, id capability.ActivationID, m *machine) {
	w = newWorld(t, anyTier())
	id = w.entitle(1, 10, nil)
	m = newMachine(1)
	ask(w, m, 1, true, want(id, 6))
	w.mustDo(WriteOff{Host: m.id.Host, ActivationID: id, Reason: "stolen", By: "A. Ray", Approved: "M. Chen"})
	w.sums(id, 0, 0, 10)
	return w, id, m
}

// Whatever proves it, it closes the matter, and no copy is credited a second time.
func TestWriteOff(t *testing.T) {
	for name, row := range map[string]struct {
		proves func(w *world, id capability.ActivationID, m *machine)
		closed bool
	}{
		"nothing":                {func(*world, capability.ActivationID, *machine) {}, false},
		"a response applied":     {func(w *world, _ capability.ActivationID, m *machine) { m.epoch++; ask(w, m, 5, true) }, true},
		"applied, and lent":      {func(w *world, _ capability.ActivationID, m *machine) { m.epoch++; ask(w, m, 5, false) }, false},
		"at an epoch of before":  {func(w *world, _ capability.ActivationID, m *machine) { ask(w, m, 5, true) }, false},
		"a return of half of it": {func(w *world, id capability.ActivationID, m *machine) { m.back(id, 3); ask(w, m, 5, false) }, false},
		"two returns": {func(w *world, id capability.ActivationID, m *machine) {
			m.back(id, 3)
			m.back(id, 3)
			ask(w, m, 5, false)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, id, m := stolen(t)
			other := newMachine(2)
			ask(w, other, 2, false, want(id, 10))
			w.sums(id, 10, 0, 0)
			// It asks after all: it hears of it, gets nothing, and others hear that it is revoked.
			r := ask(w, m, 3, false, want(id, 6))
			if copies(r, id) != 0 || r.Lines[0].Denial.Code != capability.ErrWrittenOff || r.Denials[0].Code != capability.ErrWrittenOff || !slices.Contains(r.Revoked, w.book.byKey[m.id.Host].Revocation()) {
				t.Errorf("%+v", r)
			}
			row.proves(w, id, m)
			w.sums(id, 10, 0, 0)
			h, _ := w.book.Host(m.id.Host)
			if closed := h.Off[0].Closed != 0; closed != row.closed || closed == h.isRevoked() {
				t.Errorf("%+v", h.Off)
			}
			r = ask(w, other, 6, false)
			if revoked := len(r.Revoked) == 1; revoked == row.closed {
				t.Errorf("others hear %x", r.Revoked)
			}
			if code := ask(w, m, 7, false, want(id, 1)).Lines[0].Denial.Code; (code == capability.ErrWrittenOff) == row.closed {
				t.Errorf("it is told %s", code)
			}
		})
	}
}

// back is a return of rights that came with the first response, made before it heard of anything since.
func (m *machine) back(id capability.ActivationID, copies uint32) {
	m.rights[id] += copies
	m.giveBack(id, copies)
	m.returns[len(m.returns)-1].Serial = 1
}

// An answer of before that the machine has not applied is not handed out again.
func TestWriteOffTakesOldAnswersBack(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	a := m.request(1, want(id, 6))
	w.mustDo(a)
	w.mustDo(WriteOff{Host: m.id.Host, ActivationID: id, Reason: "stolen", By: "A. Ray", Approved: "M. Chen"})
	if d, err := w.do(a); d != nil || code(err) != capability.ErrWrittenOff {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWriteOffRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(w *world, id capability.ActivationID, c *WriteOff)
		code   capability.Code
	}{
		"by one person":     {func(_ *world, _ capability.ActivationID, c *WriteOff) { c.Approved = "" }, capability.ErrNoWriteOff},
		"by the same twice": {func(_ *world, _ capability.ActivationID, c *WriteOff) { c.Approved = "a. ray" }, 0},
		"without a reason":  {func(_ *world, _ capability.ActivationID, c *WriteOff) { c.Reason = "" }, 0},
		"with odd words":    {func(_ *world, _ capability.ActivationID, c *WriteOff) { c.Reason = "stolen\n" }, 0},
		"of nobody":         {func(_ *world, _ capability.ActivationID, c *WriteOff) { c.Host = hostid.ID{} }, capability.ErrNoWriteOff},
		"of nothing":        {func(w *world, _ capability.ActivationID, c *WriteOff) { c.ActivationID = w.entitle(7, 1, nil) }, capability.ErrNoWriteOff},
		"of an unknown ID":  {func(w *world, _ capability.ActivationID, c *WriteOff) { c.ActivationID = testID(w.t, 8) }, capability.ErrUnknownID},
		"of what is metered": {func(w *world, _ capability.ActivationID, c *WriteOff) {
			c.ActivationID = w.entitle(7, 3, func(i *Item) { i.Metered = true })
			m := newMachine(4)
			ask(w, m, 8, true, want(c.ActivationID, 1))
			c.Host = m.id.Host
		}, capability.ErrNoWriteOff},
		"too often": {func(w *world, id capability.ActivationID, _ *WriteOff) {
			for n := range byte(2) {
				m := newMachine(5 + n)
				ask(w, m, uint64(20+n), false, want(id, 1))
				w.mustDo(WriteOff{Host: m.id.Host, ActivationID: id, Reason: "stolen", By: "A. Ray", Approved: "M. Chen"})
				w.now += capability.Time(WriteOffSpan) / 2
			}
			w.now--
		}, capability.ErrNoWriteOff},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, anyTier())
			id := w.entitle(1, 10, nil)
			m := newMachine(1)
			ask(w, m, 1, true, want(id, 6))
			c := WriteOff{Host: m.id.Host, ActivationID: id, Reason: "stolen", By: "A. Ray", Approved: "M. Chen"}
			row.change(w, id, &c)
			before := w.book.Digest()
			if d, err := w.do(c); d != nil || err == nil || code(err) != row.code {
				t.Errorf("%+v, %v", d, err)
			}
			if w.book.Digest() != before {
				t.Error("the book changed")
			}
			if name == "too often" {
				w.now++ // the first of them is 365 days ago
				w.mustDo(c)
			}
		})
	}
}

// The limit of write-offs is of the copies, whatever ID they have: what was split off has been written off as often, and what was merged brings what was done with it.
func TestWriteOffLimitOfKin(t *testing.T) {
	w := newWorld(t, anyTier())
	first, second, third, other := w.entitle(1, 20, nil), testID(t, 2), testID(t, 3), w.entitle(4, 9, nil)
	n := byte(0)
	off := func(id capability.ActivationID, want capability.Code) {
		t.Helper()
		n++
		m := newMachine(n)
		ask(w, m, uint64(n), false, capability.Desired{ActivationID: id, Count: 1})
		if _, err := w.do(WriteOff{Host: m.id.Host, ActivationID: id, Reason: "stolen", By: "A. Ray", Approved: "M. Chen"}); code(err) != want {
			t.Fatalf("machine %d: %v", n, err)
		}
	}
	off(first, 0)
	w.now += 60
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: first, Do: Split, Copies: 12, To: second}})
	w.now += 60
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: second, Do: Split, Copies: 6, To: third}})
	w.now += 60
	off(first, 0)
	off(first, capability.ErrNoWriteOff)
	off(second, 0) // the second of the first was after the split
	off(second, capability.ErrNoWriteOff)
	off(third, 0)
	off(third, capability.ErrNoWriteOff)
	off(other, 0)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: third, Do: Merge, To: other}})
	off(other, capability.ErrNoWriteOff)
	restored, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	w.book = restored
	off(other, capability.ErrNoWriteOff)
	w.now = w.now.Add(WriteOffSpan)
	off(other, 0)
	off(second, 0)
}
