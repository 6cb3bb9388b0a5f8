package entitlement

import (
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What short lives and twisted commands found in the rules of the book, each as the shortest story that shows it.

func TestFirstEntryUnderAKey(t *testing.T) {
	b := New()
	c := Once{Key: "the first", Asked: capability.Digest{1}, Command: SetPolicy{Policy: anyTier()}}
	d, err := b.Decide(1_800_000_000, c)
	if err != nil || b.Apply(d.Entries[0]) != nil {
		t.Fatalf("a book whose first entry has a key: %v", err)
	}
	if done, ok := b.Done("the first", 0); !ok || done.Entry != 1 {
		t.Errorf("%+v", done)
	}
	if _, err := New().Decide(1, Once{Key: "another", Asked: capability.Digest{1}, Command: SetAccount{Account: Account{Name: "A"}}}); err == nil {
		t.Error("a book without a policy has accounts")
	}
}

func TestReservedBeyondWhatIsThere(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 5, nil)
	m, other := newMachine(1), newMachine(2)
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 4})
	w.mustDo(Map{Device: other.id.Host, ActivationID: id, Copies: 1})
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 3}})
	if r := ask(w, m, 1, false); copies(r, id) != 3 {
		t.Errorf("%d copies of the 3 that are there", copies(r, id))
	}
	if r := ask(w, other, 2, false); copies(r, id) != 0 {
		t.Errorf("%d copies of none that are left", copies(r, id))
	}
}

func TestReturnedForNothingIsNotGivenAgain(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetModel{Model: LicenseModel{Name: "burnt", State: ModelDeployed, NoCredit: true}})
	id := w.entitle(1, 4, func(i *Item) { i.Model = "burnt" })
	m := newMachine(1)
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 3})
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 1}})
	if r := ask(w, m, 1, false); copies(r, id) != 1 {
		t.Fatalf("%d copies of one", copies(r, id))
	}
	m.giveBack(id, 1)
	before := w.book.Snapshot()
	if r := ask(w, m, 2, false); copies(r, id) != 0 {
		t.Errorf("%d copies of none: the one that came back is gone", copies(r, id))
	}
	if v, _ := w.book.Item(id, w.now); v.Copies != 0 || v.Used != 0 || v.Over != 0 {
		t.Errorf("%+v", v)
	}
	// An entry that gives it again is damage.
	b, err := Restore(before)
	if err != nil {
		t.Fatal(err)
	}
	e, err := DecodeEntry(w.codec, w.entries[len(w.entries)-1])
	if err != nil {
		t.Fatal(err)
	}
	e.Answer.Holds, e.Answer.Mapped = nil, nil
	if err := b.Apply(e); err == nil || !strings.Contains(err.Error(), "returned for nothing") {
		t.Errorf("it is given once more: %v", err)
	}
}

func TestOperatorIsText(t *testing.T) {
	w := newWorld(t, anyTier())
	for _, by := range []string{"\xff", "a\x00b", strings.Repeat("x", capability.MaxText+1)} {
		if _, err := w.do(SetAccount{Account: Account{Name: "A"}, By: by}); err == nil {
			t.Errorf("%q made an account, and the book can no longer be read", by)
		}
	}
	if _, err := w.do(ChangeItem{Change: ItemChange{ActivationID: w.entitle(1, 1, nil), Do: Suspend, To: "\xff"}}); err == nil {
		t.Error("a suspension to another activation ID")
	}
	if _, err := w.do(NoteLimited{Detail: "of no machine"}); err == nil {
		t.Error("a limit was met by nobody")
	}
	m := newMachine(1)
	w.mustDo(NoteLimited{Host: m.id.Host, Detail: strings.Repeat("ü", capability.MaxDetail)})
	for _, e := range w.entries {
		if _, err := DecodeEntry(w.codec, e); err != nil {
			t.Errorf("an entry that cannot be read: %v", err)
		}
	}
}

func TestAnsweredAreMachines(t *testing.T) {
	w := newWorld(t, anyTier())
	for _, change := range []func(*Identity){func(i *Identity) { i.Host.Value = "" }, func(i *Identity) { i.Tier = 0 }, func(i *Identity) { i.Tier = Hardware + 1 }} {
		a := newMachine(1).request(1)
		if change(&a.Identity); true {
			if _, err := w.do(a); err == nil {
				t.Errorf("%+v is answered", a.Identity)
			}
		}
	}
}

// What takes the place of an activation ID waits for the machines and the sessions of that.
func TestReplacementWaitsForSessions(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, ByKind)
	w.mustDo(AssignSeat{ActivationID: id, User: person("ana")})
	w.mustDo(take(1, id, person("ana"), 1))
	replacement := Entitle{Item: w.book.byID[id].Item}
	replacement.Item.ActivationID, replacement.Item.Replaces = testID(t, 9), id
	w.refused(replacement, capability.ErrNoRetire, "not taken back")
	w.mustDo(Retire{ActivationID: id})
	w.refused(renew(1, 1), capability.ErrRetired)
	w.refused(replacement, capability.ErrNoRetire, "may run until")
	w.now = w.book.byID[id].sessions[0].Through
	larger := replacement
	larger.Item.Copies = 3
	w.refused(larger, capability.ErrTooFew)
	w.mustDo(replacement)
	replacement.Item.ActivationID = testID(t, 10)
	w.refused(replacement, capability.ErrNoRetire, "took its place already")
}

// A user who is removed takes the sessions along whose promise is over, or the book would have a session of nobody.
func TestRemovedUserLeavesNoSession(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, ByKind)
	for n, name := range []string{"ana", "ben"} {
		w.mustDo(AssignSeat{ActivationID: id, User: person(name)})
		w.mustDo(take(byte(n+1), id, person(name), 1))
	}
	w.refused(UnassignSeat{ActivationID: id, User: person("ana")}, capability.ErrInUse)
	w.now = w.book.byID[id].sessions[0].Through
	w.mustDo(UnassignSeat{ActivationID: id, User: person("ana")})
	w.mustDo(RemoveUser{ID: person("ana")})
	if n := len(w.book.byID[id].sessions); n != 1 || len(w.book.sessionOf) != 1 {
		t.Errorf("%d sessions, found as %d", n, len(w.book.sessionOf))
	}
	if _, err := Restore(w.book.Snapshot()); err != nil {
		t.Error(err)
	}
}

// What an order brings to a machine waits while the same is written off there.
func TestOrderWaitsWhereItIsWrittenOff(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 6, nil)
	from, to := newMachine(1), newMachine(2)
	ask(w, from, 1, false, want(id, 3))
	ask(w, to, 2, false, want(id, 1))
	w.mustDo(PlanRehost{From: from.id.Host, To: to.id.Host, ActivationID: id, Copies: 2, By: "clerk"})
	w.mustDo(WriteOff{Host: to.id.Host, ActivationID: id, Reason: "stolen", By: "clerk", Approved: "second"})
	from.giveBack(id, 2)
	ask(w, from, 3, false)
	if r := ask(w, to, 4, false); copies(r, id) != 0 {
		t.Errorf("%d copies on a machine of which they were written off", copies(r, id))
	}
	w.sums(id, 1, 2, 3)
	to.epoch++
	ask(w, to, 5, true) // it has none of them any more
	if r := ask(w, to, 6, true); copies(r, id) != 2 {
		t.Errorf("%d copies where the order brings 2", copies(r, id))
	}
	w.sums(id, 3, 0, 3)
}

// A planned re-host from the order to its end, as staff see it.
func TestOrderStanding(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 3, nil)
	from, to := newMachine(1), newMachine(2)
	ask(w, from, 1, false, want(id, 3))
	w.mustDo(PlanRehost{From: from.id.Host, To: to.id.Host, By: "clerk"})
	standing := func(want string) {
		t.Helper()
		if o := w.book.Orders(); len(o) != 1 || !strings.HasPrefix(o[0].Standing(), want) {
			t.Errorf("%q where the order is %q", o[0].Standing(), want)
		}
	}
	standing("waiting for " + from.id.Host.Short())
	from.giveBack(id, 3)
	ask(w, from, 2, false)
	standing("ready for " + to.id.Host.Short())
	if r := ask(w, to, 3, false); copies(r, id) != 3 {
		t.Errorf("%+v", r.Items)
	}
	standing("given to " + to.id.Host.Short())
	ask(w, to, 4, false)
	standing("done")
	w.refused(EndOrder{Number: 1}, capability.ErrNoRehost, "done")
	w.refused(EndOrder{Number: 2}, capability.ErrNotFound)
}

// Copies of an activation ID that was taken back, or written off, are listed machine by machine until each has proved that they are gone.
func TestOrphans(t *testing.T) {
	w := newWorld(t, anyTier())
	id, lost := w.entitle(1, 3, nil), w.entitle(2, 3, nil)
	m := newMachine(1)
	ask(w, m, 1, false, want(id, 3), want(lost, 2))
	if list := w.book.Orphans(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	w.mustDo(Retire{ActivationID: id})
	w.mustDo(WriteOff{Host: m.id.Host, ActivationID: lost, Reason: "stolen", By: "clerk", Approved: "second"})
	list := w.book.Orphans()
	if len(list) != 2 || list[0].Copies != 3 || list[0].Told != 0 || !list[1].WrittenOff || list[1].Copies != 2 {
		t.Errorf("%+v", list)
	}
	h, _ := w.book.Host(m.id.Host)
	if revoked := w.book.RevokedHosts(); !slices.Equal(revoked, []capability.Digest{h.Revocation()}) {
		t.Errorf("revoked: %x", revoked)
	}
	m.epoch++
	if r := ask(w, m, 2, false); !slices.Contains(r.Revoked, h.Revocation()) || len(r.Items) != 0 {
		t.Errorf("%+v", r)
	}
	if list = w.book.Orphans(); list[0].Told != 2 || list[0].Confirmed != 0 {
		t.Errorf("%+v", list)
	}
	m.epoch++
	ask(w, m, 3, true)
	if list = w.book.Orphans(); len(list) != 0 || len(w.book.RevokedHosts()) != 0 {
		t.Errorf("%+v", list)
	}
	w.refused(Retire{ActivationID: id}, capability.ErrNoRetire, "taken back")
}

func TestFindUser(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetAccount{Account: Account{Name: acme}})
	for _, site := range []string{"East", "West"} {
		w.mustDo(SetAccount{Account: Account{Name: site, Parent: acme}})
	}
	for _, u := range []UserID{{acme, "ana"}, {"East", "ben"}, {"East", "eve"}, {"West", "Eve"}} {
		w.mustDo(AddUser{ID: u})
	}
	for _, c := range []struct {
		name string
		want UserID
		ok   bool
	}{{"ANA", UserID{acme, "ana"}, true}, {"ben", UserID{"East", "ben"}, true}, {"eve", UserID{acme, "eve"}, false}, {"new", UserID{acme, "new"}, true}} {
		if id, ok := w.book.FindUser(acme, c.name); id != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %t", c.name, id, ok)
		}
	}
}

// What a machine returns with the request that gives it another machine's rights comes back.
func TestReturnWithARehost(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 5, nil)
	m, lost := newMachine(1), newMachine(2)
	ask(w, m, 1, false, want(id, 2))
	ask(w, lost, 2, false, want(id, 2))
	m.giveBack(id, 2)
	a := m.request(3)
	a.Rehost, a.Repair, a.Approved = lost.id.Host, "the board burnt", "second"
	if r := w.mustDo(a).Response; copies(r, id) != 2 {
		t.Errorf("%d copies where 2 came back and 2 came", copies(r, id))
	}
	w.sums(id, 2, 0, 3)
}

// A device of which another account is said after it was mapped gets nothing of the one before, and is told so.
func TestDeviceOfAnotherAccountLater(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 5, nil)
	m := newMachine(1)
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 2})
	w.mustDo(SetDevice{Device: Device{ID: m.id.Host, Account: "Somebody else"}})
	r := ask(w, m, 1, false)
	if copies(r, id) != 0 || !slices.ContainsFunc(r.Denials, func(d capability.Denial) bool { return d.Code == capability.ErrAccount }) {
		t.Errorf("%d copies, %+v", copies(r, id), r.Denials)
	}
	w.sums(id, 0, 2, 3)
	w.mustDo(SetDevice{Device: Device{ID: m.id.Host, Account: acme}})
	if r := ask(w, m, 2, false); copies(r, id) != 2 {
		t.Errorf("%d copies", copies(r, id))
	}
}
