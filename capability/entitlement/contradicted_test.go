package entitlement

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What was decided and then found to be damage, or served more than was sold, when two things were done that contradict each other. After each command the book is whole.

func (w *world) rehostOf(from, to *machine, salt uint64) Answer {
	r := to.request(salt)
	r.Rehost, r.Repair, r.Approved, r.By = from.id.Host, "dead", "a second person", "an operator"
	return r
}

// A device goes to another account while a mapping waits for it: it is given nothing, and what it waited for stays reserved.
func TestAccountChangesUnderMapping(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 5, nil)
	w.mustDo(SetAccount{Account: Account{Name: acme}})
	w.mustDo(SetAccount{Account: Account{Name: "Site", Parent: acme}})
	m := newMachine(1)
	w.mustDo(SetDevice{Device: Device{ID: m.id.Host, Account: "Site"}})
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 2})
	w.mustDo(SetAccount{Account: Account{Name: "Site"}})
	if n := copies(ask(w, m, 1, true), id); n != 0 {
		t.Errorf("%d copies for a machine of another customer", n)
	}

	w = newWorld(t, anyTier())
	id = w.entitle(1, 5, nil)
	a, b := newMachine(1), newMachine(2)
	ask(w, a, 1, true, want(id, 2))
	w.mustDo(PlanRehost{From: a.id.Host, To: b.id.Host, ActivationID: id})
	a.giveBack(id, 2)
	ask(w, a, 2, true)
	w.mustDo(SetDevice{Device: Device{ID: b.id.Host, Account: "Other"}})
	if n := copies(ask(w, b, 3, true), id); n != 0 {
		t.Errorf("%d copies for a machine of another customer", n)
	}
}

// A user with more sessions than seats, because the number was lowered, takes none over.
func TestTakeOverAboveSeats(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 3, Floating, Online)
	w.mustDo(AddUser{ID: person("ana")})
	w.mustDo(SetPool{ActivationID: id, Everybody: true})
	for n := range byte(3) {
		w.mustDo(take(n+1, id, person("ana"), n+1))
	}
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 1}})
	c := take(9, id, person("ana"), 9)
	c.TakeOver = true
	w.refused(c, capability.ErrNoSeat)
}

// Sessions that are over do not come to life again with the last seat that is freed.
func TestSessionsOverAndSeatsFreed(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, Online)
	for n, name := range []string{"ana", "bob"} {
		w.mustDo(AssignSeat{ActivationID: id, User: person(name)})
		w.mustDo(take(byte(n+1), id, person(name), byte(n+1)))
	}
	w.now = w.now.Add(40 * day)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 1}})
	for _, name := range []string{"ana", "bob"} {
		w.mustDo(UnassignSeat{ActivationID: id, User: person(name)})
	}
	w.mustDo(AssignSeat{ActivationID: id, User: person("cem")})
	w.mustDo(UnassignSeat{ActivationID: id, User: person("cem")})
}

// A seat that is on its way between two machines, whose order was ended, is withdrawn.
func TestMovingSeatIsWithdrawn(t *testing.T) {
	for _, mapped := range []bool{true, false} {
		w := newWorld(t, anyTier())
		id := w.entitleKind(1, 3, FixedUser, Offline)
		a, b := newMachine(1), newMachine(2)
		r := a.request(1)
		r.Seat = &SeatOrder{ActivationID: id, User: person("ana")}
		a.apply(w.mustDo(r).Response)
		w.mustDo(PlanRehost{From: a.id.Host, To: b.id.Host, ActivationID: id})
		a.giveBack(id, 1)
		ask(w, a, 2, true)
		w.mustDo(EndOrder{Number: 1})
		if mapped {
			w.mustDo(Map{Device: b.id.Host, ActivationID: id})
		} else {
			w.mustDo(WithdrawSeat{ActivationID: id, User: person("ana")})
		}
		w.seats(id)
		if v, _ := w.book.Item(id, w.now); v.Left != 3 {
			t.Errorf("%d of 3 are left", v.Left)
		}
	}
}

// A machine to which an order moves copies does not lose its place before they came.
func TestRehostAmidAnOrder(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	a, x, c := newMachine(1), newMachine(2), newMachine(3)
	ask(w, a, 1, true, want(id, 2))
	ask(w, x, 2, true, want(id, 3))
	w.mustDo(PlanRehost{From: a.id.Host, To: x.id.Host, ActivationID: id})
	w.refused(w.rehostOf(x, c, 3), capability.ErrNoRehost)
	a.giveBack(id, 2)
	w.refused(w.rehostOf(x, a, 4), capability.ErrNoRehost)
}

// A machine that lost its rights and did not prove that they are gone gets no other's, but its own back.
func TestRehostToOneThatLostItsRights(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	b, c, d := newMachine(1), newMachine(2), newMachine(3)
	ask(w, b, 1, true, want(id, 1))
	ask(w, d, 2, true, want(id, 1))
	c.apply(w.mustDo(w.rehostOf(b, c, 3)).Response)
	w.refused(w.rehostOf(d, b, 4), capability.ErrNoRehost)
}

// What may not be re-hosted may not when it has expired and was archived either.
func TestRehostOfTheObsolete(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetModel{Model: LicenseModel{Name: "stays", State: ModelDeployed, Limits: []ActLimit{{Act: ActRehost, Count: 0}}}})
	id := w.entitle(1, 5, func(i *Item) { i.Model, i.Expiry = "stays", w.now.Add(10*day) })
	a, c := newMachine(1), newMachine(2)
	ask(w, a, 1, true, want(id, 2))
	w.now = w.now.Add(20 * day)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Archive}})
	w.refused(w.rehostOf(a, c, 3), capability.ErrSpent)
}

// What comes back from its machine only, or not at all, is not mapped away.
func TestMappedAwayAgainstTheModel(t *testing.T) {
	for n, m := range []LicenseModel{{Name: "locked", Kind: NodeLocked}, {Name: "gone", NoCredit: true}} {
		w := newWorld(t, anyTier())
		m.State = ModelDeployed
		w.mustDo(SetModel{Model: m})
		id := w.entitle(uint64(n+1), 5, func(i *Item) { i.Model = m.Name })
		a := newMachine(1)
		ask(w, a, 1, true, want(id, 5))
		w.refused(Map{Device: a.id.Host, ActivationID: id, Copies: 1}, capability.ErrNoMapping)
	}
}

// A license of one user for machines is not used online, whoever comes.
func TestNodeLockedHasNoSessions(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 3, func(i *Item) { i.User, i.Mode = "bob", Online })
	w.mustDo(AddUser{ID: person("bob")})
	w.refused(take(1, id, person("bob"), 1), capability.ErrMode)
}

// A license whose only session crashed is converted once that is over.
func TestConvertAfterACrash(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 3, Floating, Online)
	w.mustDo(AddUser{ID: person("ana")})
	w.mustDo(SetPool{ActivationID: id, Everybody: true})
	w.mustDo(take(1, id, person("ana"), 1))
	w.now = w.now.Add(40 * day)
	w.mustDo(SetPool{ActivationID: id, Everybody: true, Remove: true})
	w.mustDo(Convert{ActivationID: id, To: Offline})
}
