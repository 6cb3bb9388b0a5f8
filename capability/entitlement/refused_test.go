package entitlement

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What is refused for good is told so by name, is never credited afterwards, whatever comes, and stays counted as the machine's. What may still turn good is not.
func TestReturnRefusedForGood(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *world, m *machine, a *Answer)
		code  capability.Code
		final bool
	}{
		{"a proof that does not verify", func(_ *world, _ *machine, a *Answer) { a.Proofs[0] = Proof{Fault: "another key"} }, capability.ErrReturnProof, true},
		{"a proof of an earlier epoch", func(_ *world, _ *machine, a *Answer) { a.Proofs[0].Epoch-- }, capability.ErrReturnProof, true},
		{"an epoch that was seen before", func(_ *world, m *machine, a *Answer) { a.Request.Returns[0].Epoch--; m.returns[0].Epoch-- }, capability.ErrRollbackSuspect, true},
		{"more than it has", func(_ *world, m *machine, a *Answer) { a.Request.Returns[0].Copies = 7; m.returns[0].Copies = 7 }, capability.ErrReturnProof, true},
		{"of what nobody knows", func(w *world, m *machine, a *Answer) {
			a.Request.Returns[0].ActivationID, m.returns[0].ActivationID = testID(w.t, 77), testID(w.t, 77)
		}, capability.ErrUnknownID, true},
		{"of no response", func(_ *world, m *machine, a *Answer) { a.Request.Returns[0].Serial, m.returns[0].Serial = 0, 0 }, capability.ErrReturnProof, true},
		{"no proof yet", func(_ *world, _ *machine, a *Answer) {
			a.Request.Returns[0].Proof, a.Proofs[0] = nil, Proof{Fault: "epoch proof is empty"}
		}, capability.ErrReturnProof, false},
		{"a request of an earlier epoch", func(_ *world, _ *machine, a *Answer) {
			a.Request.Returns[0].Epoch++
			a.Proofs[0].Epoch++
		}, capability.ErrRollbackSuspect, false},
		{"of a response that a book from a copy does not know", func(_ *world, _ *machine, a *Answer) { a.Request.Returns[0].Serial = 9 }, capability.ErrReturnProof, false},
		{"of an item that a book from a copy does not know", func(w *world, _ *machine, a *Answer) {
			a.Request.Returns[0].ActivationID, a.Request.Returns[0].Serial = testID(w.t, 77), 9
		}, capability.ErrUnknownID, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, anyTier())
			id := w.entitle(1, 10, nil)
			m := newMachine(1)
			m.apply(w.mustDo(m.request(1, want(id, 6))).Response)
			m.apply(w.mustDo(m.request(2)).Response)
			m.giveBack(id, 4)
			a := m.request(3)
			c.spoil(w, m, &a)
			a.Digest = w.codec.RequestDigest(a.Request)
			m.outstanding[len(m.outstanding)-1].Digest = a.Digest
			d := w.mustDo(a)
			if got := d.Response.Denials[0]; got.Code != c.code || d.Response.Refuses(a.Request.Returns[0]) != c.final || len(d.Response.Denials) == 2 != c.final || d.Host.held(id) != 6 {
				t.Fatalf("%+v, held %d", d.Response.Denials, d.Host.held(id))
			}
			if !c.final {
				return
			}
			if seen := d.Host.Returns[0]; !seen.Final || seen.Refused != c.code {
				t.Errorf("on record: %+v", seen)
			}
			// Whoever never took that response sends it again, with the best of proofs: the machine that took it has the rights.
			late := m.copied()
			late.epoch += 9
			for range 2 {
				if d = w.mustDo(late.request(4)); len(d.Credited) != 0 || len(d.Response.Acknowledged) != 0 || !d.Response.Refuses(late.returns[0]) || d.Host.held(id) != 6 {
					t.Fatalf("sent again: %+v, credited %d, held %d", d.Response.Denials, len(d.Credited), d.Host.held(id))
				}
			}
			late.apply(d.Response)
			if len(late.returns) != 0 || late.rights[id] != 6 {
				t.Errorf("after the refusal: %d returns wait, %d rights", len(late.returns), late.rights[id])
			}
			late.giveBack(id, 4)
			if d := w.mustDo(late.request(5)); len(d.Credited) != 1 || d.Host.held(id) != 2 {
				t.Errorf("returned once more: %+v", d.Response.Denials)
			}
		})
	}
}

// Refused for a reason that may end, on record so, and then for good: the record takes that up once, also in a copy of the book.
func TestReturnRefusedForGoodLater(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 6))).Response)
	m.apply(w.mustDo(m.request(2)).Response)
	m.giveBack(id, 4)
	a := m.request(3)
	a.Request.Returns[0].Proof, a.Proofs[0] = nil, Proof{Fault: "epoch proof is empty"}
	if d := w.mustDo(a); d.Host.Returns[0].Final {
		t.Fatalf("%+v", d.Host.Returns)
	}
	b := m.request(4)
	b.Proofs[0] = Proof{Fault: "another key"}
	d := w.mustDo(b)
	if len(d.Host.Returns) != 1 || !d.Host.Returns[0].Final || !d.Response.Refuses(m.returns[0]) {
		t.Fatalf("%+v, %+v", d.Host.Returns, d.Response.Denials)
	}
	if r, err := Restore(w.book.Snapshot()); err != nil || r.Digest() != w.book.Digest() {
		t.Fatal(err)
	}
	again := d.Entries[0]
	again.Answer.Request.Number, again.Answer.Request.Serial = 9, d.Response.Serial+1
	if err := plausible(w.book.byKey[m.id.Host], again.Answer); err == nil {
		t.Error("an entry refuses for good what was refused for good")
	}
}

// A host whose returns fill the book is told nothing that the book does not keep.
func TestReturnRefusedAndNotKept(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 6))).Response)
	m.giveBack(id, 4)
	one := m.returns[0]
	m.returns = nil
	for n := range maxReturnsKept {
		r := one
		r.ID = capability.ReturnID{2, byte(n), byte(n >> 8)}
		m.returns = append(m.returns, r)
		if len(m.returns) == capability.MaxReturns {
			a := m.request(uint64(n))
			for i := range a.Proofs {
				a.Proofs[i] = Proof{Fault: "another key"}
			}
			w.mustDo(a)
			m.returns = nil
		}
	}
	m.returns = []capability.Return{one}
	a := m.request(9999)
	a.Proofs[0] = Proof{Fault: "another key"}
	if d := w.mustDo(a); d.Response.Refuses(one) || d.Response.Denials[0].Code != capability.ErrReturnProof {
		t.Fatalf("%+v", d.Response.Denials)
	}
}
