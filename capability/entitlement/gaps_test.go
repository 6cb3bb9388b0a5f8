package entitlement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func ada() UserID { return UserID{Account: "ACME Works", Name: "ada"} }

// seated is a book with an offline seat on a machine that has imported it.
func seated(t *testing.T) (w *world, id capability.ActivationID, m *machine) {
	w = newWorld(t, anyTier())
	id = w.entitleKind(1, 3, FixedUser, Offline)
	m = newMachine(1)
	m.apply(w.mustDo(w.assign(m, id, ada(), 1)).Response)
	ask(w, m, 2, false)
	return w, id, m
}

// A seat that was asked back and is asked for no more is what it was before.
func TestWithdrawalTakenBack(t *testing.T) {
	for name, back := range map[string]func(w *world, m *machine, id capability.ActivationID) Command{
		"the mapping ends": func(w *world, m *machine, id capability.ActivationID) Command {
			return Unmap{Device: m.id.Host, ActivationID: id}
		},
		"it is mapped again": func(w *world, m *machine, id capability.ActivationID) Command {
			return Map{Device: m.id.Host, ActivationID: id, Copies: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, id, m := seated(t)
			w.mustDo(WithdrawSeat{ActivationID: id, User: ada(), By: "chief"})
			w.refused(WithdrawSeat{ActivationID: id, User: ada()}, capability.ErrSeatElsewhere, "asked back")
			ask(w, m, 3, false)
			if s := w.book.Seats(id); s[0].State != SeatWithdrawn || m.rights[id] != 0 {
				t.Fatalf("%+v", s)
			}
			w.mustDo(back(w, m, id))
			if s := w.book.Seats(id); s[0].State != SeatConfirmed || s[0].WithdrawnBy != "" {
				t.Errorf("%+v", s)
			}
			if ask(w, m, 4, false); m.rights[id] != 1 {
				t.Errorf("it has %d", m.rights[id])
			}
			// It can be withdrawn again, and then it is free.
			w.mustDo(WithdrawSeat{ActivationID: id, User: ada()})
			ask(w, m, 5, false)
			m.epoch++
			ask(w, m, 6, true)
			if s := w.book.Seats(id); len(s) != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// In a book of before, the end of the mapping left the seat withdrawn. It can be withdrawn anew.
func TestWithdrawalOfBefore(t *testing.T) {
	w, id, m := seated(t)
	w.mustDo(WithdrawSeat{ActivationID: id, User: ada()})
	for _, b := range []*Book{w.book, w.replica} {
		e := b.entry(w.now, "")
		e.Map = &Mapping{Device: m.id.Host, ActivationID: id, Ended: true}
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.book.Seats(id); s[0].State != SeatWithdrawn {
		t.Fatalf("%+v", s)
	}
	w.now += 60
	w.mustDo(WithdrawSeat{ActivationID: id, User: ada(), By: "chief"})
	if s := w.book.Seats(id); s[0].State != SeatWithdrawn || s[0].Withdrawn != w.now || s[0].WithdrawnBy != "chief" {
		t.Errorf("%+v", s)
	}
}

func TestForgedWithdrawals(t *testing.T) {
	w, id, _ := seated(t)
	s := w.book.Seats(id)[0].Seat
	w.forced(Entry{Seat: &SeatFact{Seat: s}}, "is not withdrawn") // it never was
	w.mustDo(WithdrawSeat{ActivationID: id, User: ada(), By: "chief"})
	w.forced(Entry{Seat: &SeatFact{Seat: s}}, "asked for all the same")
}

// likeSeats entitles two items of one license, and gives each a machine with a seat.
func likeSeats(t *testing.T, second UserID, on byte) (w *world, ids [2]capability.ActivationID, machines [2]*machine) {
	w = newWorld(t, anyTier())
	ids[0] = w.entitleKind(1, 3, FixedUser, Offline)
	model := w.item(ids[0]).Model
	ids[1] = w.entitle(2, 3, func(i *Item) { i.Model, i.Mode = model, Offline })
	machines[0] = newMachine(1)
	machines[0].apply(w.mustDo(w.assign(machines[0], ids[0], ada(), 1)).Response)
	if machines[1] = machines[0]; on != 1 {
		machines[1] = newMachine(on)
	}
	machines[1].apply(w.mustDo(w.assign(machines[1], ids[1], second, 2)).Response)
	return w, ids, machines
}

// A merge gives nobody a second seat of a license, and no machine the seats of two users.
func TestMergeOfSeats(t *testing.T) {
	bob := UserID{Account: "ACME Works", Name: "bob"}
	merge := func(ids [2]capability.ActivationID) ChangeItem {
		return ChangeItem{Change: ItemChange{ActivationID: ids[0], Do: Merge, To: ids[1]}}
	}
	w, ids, _ := likeSeats(t, UserID{Account: "ACME Works", Name: "ADA"}, 2)
	w.refused(merge(ids), capability.ErrSeatElsewhere, "ada", string(ids[0]), string(ids[1]))
	w, ids, _ = likeSeats(t, bob, 1)
	w.refused(merge(ids), capability.ErrSeatElsewhere, "4BF5", "one user")
	w, ids, m := likeSeats(t, bob, 2)
	w.mustDo(merge(ids))
	// What was merged in counts from then on.
	third := newMachine(3)
	if _, err := w.do(w.assign(third, ids[1], ada(), 3)); code(err) != capability.ErrSeatElsewhere || !strings.Contains(err.Error(), "return it there first") {
		t.Errorf("%v", err)
	}
	if _, err := w.do(w.assign(m[0], ids[1], UserID{Account: "ACME Works", Name: "eve"}, 4)); code(err) != capability.ErrSeatElsewhere || !strings.Contains(err.Error(), "of one user") {
		t.Errorf("%v", err)
	}
	w.refused(PlanRehost{From: m[1].id.Host, To: m[0].id.Host, ActivationID: ids[1]}, capability.ErrSeatElsewhere, "of one user")
	if _, err := w.do(w.rehostOf(m[0], m[1], 9)); code(err) != capability.ErrNoRehost || !strings.Contains(err.Error(), "merged") {
		t.Errorf("%v", err)
	}
	w.mustDo(w.assign(third, ids[1], UserID{Account: "ACME Works", Name: "eve"}, 5))
}

// What is archived is final: it does not become inactive with what it was merged into.
func TestObsoleteStaysObsolete(t *testing.T) {
	w := newWorld(t, anyTier())
	first, second, third := w.entitle(1, 5, nil), w.entitle(2, 5, nil), w.entitle(3, 5, nil)
	m := newMachine(1)
	ask(w, m, 1, false, want(third, 2))
	for _, id := range []capability.ActivationID{first, third} {
		w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Merge, To: second}})
	}
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: first, Do: Archive}})
	w.mustDo(Retire{ActivationID: second})
	for id, state := range map[capability.ActivationID]State{first: Obsolete, second: Inactive, third: Retiring} {
		if v := w.item(id); v.State != state {
			t.Errorf("%s is %s, want %s", id, v.State, state)
		}
	}
	ask(w, m, 2, false)
	m.epoch++
	ask(w, m, 3, true)
	if v := w.item(third); v.State != Inactive {
		t.Errorf("%+v", v)
	}
	// As entries of before say it.
	w2 := newWorld(t, anyTier())
	first, second = w2.entitle(1, 5, nil), w2.entitle(2, 5, nil)
	w2.mustDo(ChangeItem{Change: ItemChange{ActivationID: first, Do: Merge, To: second}})
	w2.mustDo(ChangeItem{Change: ItemChange{ActivationID: first, Do: Archive}})
	e := w2.book.entry(w2.now, "")
	e.Retire = &Retired{ActivationID: second}
	if err := w2.book.Apply(e); err != nil {
		t.Fatal(err)
	}
	if v := w2.item(first); v.State != Inactive {
		t.Errorf("%+v", v)
	}
}

// quick has commands done without a look at the whole book after each.
func (w *world) quick(list ...Command) {
	w.t.Helper()
	for _, c := range list {
		d, err := w.book.Decide(w.now, c)
		if err != nil {
			w.fatalf("%v", err)
		}
		for _, e := range d.Entries {
			for _, b := range []*Book{w.book, w.replica} {
				if err := b.Apply(e); err != nil {
					w.fatalf("%v", err)
				}
			}
		}
	}
}

// wide entitles items of as many features as there may be, under names of that length.
func wide(w *world, items int, name string) (ids []capability.ActivationID) {
	for n := range items {
		i := Item{ActivationID: testID(w.t, uint64(n+1)), Customer: "ACME Works", EntitlementID: "ENT-" + name, Product: "Render Pro" + name, Copies: 10}
		if len(name) > 10 {
			i.Marks = &Marks{strings.Repeat("v", capability.MaxText), strings.Repeat("n", capability.MaxText), strings.Repeat("s", capability.MaxText)}
		}
		for f := range MaxFeatures {
			i.Features = append(i.Features, Feature{Name: fmt.Sprintf("%s%d", name, f), PerCopy: 1})
		}
		w.quick(Entitle{Item: i})
		ids = append(ids, i.ActivationID)
	}
	return ids
}

// What one response has no room for is refused where it is mapped, ordered, moved, seated or asked for; never is there an answer that cannot be made.
func TestRoomInAResponse(t *testing.T) {
	full := func() (*world, []capability.ActivationID, *machine) {
		w := newWorld(t, anyTier())
		ids := wide(w, 65, "f")
		m := newMachine(1)
		var desired []capability.Desired
		for _, id := range ids[:40] {
			desired = append(desired, want(id, 1))
		}
		ask(w, m, 1, false, desired...)
		for _, id := range ids[40:64] {
			w.quick(Map{Device: m.id.Host, ActivationID: id, Copies: 2})
		}
		return w, ids, m
	}
	w, ids, m := full()
	last := ids[64]
	w.refused(Map{Device: m.id.Host, ActivationID: last, Copies: 1}, capability.ErrNoRoom, "65 items of 4160 features", "4096 features")
	// Nor does the machine get it that the mapped ones are not given to yet.
	d := w.mustDo(m.request(2, want(last, 1)))
	if err := d.Response.Validate(); err != nil || len(d.Response.Items) != 64*MaxFeatures || d.Response.Lines[0].Denial.Code != capability.ErrNoRoom || d.Response.Lines[0].Count != 0 {
		t.Errorf("%v, %d items, %+v", err, len(d.Response.Items), d.Response.Lines)
	}
	m.apply(d.Response)
	other := newMachine(2)
	ask(w, other, 3, false, want(last, 1))
	w.refused(PlanRehost{From: other.id.Host, To: m.id.Host}, capability.ErrNoRoom, "65 items")
	w.refused(w.rehostOf(other, m, 4), capability.ErrNoRoom, "65 items")
	// More of the same is no more lines, and where one leaves there is room for another.
	w.mustDo(Map{Device: m.id.Host, ActivationID: ids[0], Copies: 5})
	m.giveBack(ids[63], 2)
	w.mustDo(m.request(5))
	w.mustDo(Map{Device: m.id.Host, ActivationID: last, Copies: 1})
	if r := ask(w, m, 6, false); len(r.Items) != 64*MaxFeatures || copies(r, last) != 1 {
		t.Errorf("%d items", len(r.Items))
	}
}

// Several orders at once are judged together.
func TestRoomForOrders(t *testing.T) {
	w := newWorld(t, anyTier())
	ids := wide(w, 66, "f")
	m, from := newMachine(1), newMachine(2)
	ask(w, from, 1, false, want(ids[64], 1), want(ids[65], 1))
	for _, id := range ids[:63] {
		w.quick(Map{Device: m.id.Host, ActivationID: id, Copies: 1})
	}
	w.refused(PlanRehost{From: from.id.Host, To: m.id.Host}, capability.ErrNoRoom, "65 items")
	w.mustDo(PlanRehost{From: from.id.Host, To: m.id.Host, ActivationID: ids[64]})
	w.refused(PlanRehost{From: from.id.Host, To: m.id.Host, ActivationID: ids[65]}, capability.ErrNoRoom, "65 items")
}

// Long names fill a response before its lines do.
func TestRoomInBytes(t *testing.T) {
	w := newWorld(t, anyTier())
	ids := wide(w, 9, strings.Repeat("n", capability.MaxName-12))
	m := newMachine(1)
	for _, id := range ids[:8] {
		w.quick(Map{Device: m.id.Host, ActivationID: id, Copies: 10})
	}
	w.refused(Map{Device: m.id.Host, ActivationID: ids[8], Copies: 10}, capability.ErrNoRoom, fmt.Sprint(maxRights))
	w.mustDo(Map{Device: m.id.Host, ActivationID: w.entitle(99, 1, nil), Copies: 1}) // a small one has room
	if r := ask(w, m, 1, false); len(r.Items) != 8*MaxFeatures+1 || len(w.codec.Encode(r)) > capability.MaxFile-300<<10 {
		t.Errorf("%d items, of %d bytes", len(r.Items), len(w.codec.Encode(r)))
	}
}

// A book in which a machine was given more than one response holds leaves the rest out, and says so.
func TestRoomOfBefore(t *testing.T) {
	w := newWorld(t, anyTier())
	ids := wide(w, 66, "f")
	m := newMachine(1)
	ask(w, m, 1, false)
	for _, b := range []*Book{w.book, w.replica} {
		for _, id := range ids {
			e := b.entry(w.now, "")
			e.Map = &Mapping{Device: m.id.Host, ActivationID: id, Copies: 1}
			if err := b.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := ask(w, m, 2, false)
	if err := r.Validate(); err != nil || len(r.Items) != 64*MaxFeatures || len(r.Denials) != 2 || r.Denials[0].Code != capability.ErrNoRoom || r.Denials[0].Subject == "" {
		t.Errorf("%v, %d items, %+v", err, len(r.Items), r.Denials)
	}
}

func TestSpace(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 1, func(i *Item) {
		long := strings.Repeat("x", capability.MaxName)
		i.Product, i.EntitlementID, i.Features[0].Name = long, long, long
		i.Marks = &Marks{strings.Repeat("v", capability.MaxText), strings.Repeat("n", capability.MaxText), strings.Repeat("s", capability.MaxText)}
	})
	i := w.book.byID[id]
	w.book.policy.Producer = strings.Repeat("p", capability.MaxName)
	if s := w.book.space(i); s.lines != 1 || s.bytes > maxLineBytes-capability.MaxText {
		t.Errorf("%+v, and no line has more than %d bytes", s, maxLineBytes)
	}
}

// An account is on record by whatever is of it.
func TestHasAccount(t *testing.T) {
	w := newWorld(t, anyTier())
	w.entitle(1, 5, nil)
	w.mustDo(SetAccount{Account: Account{Name: "ACME Works"}})
	w.mustDo(SetAccount{Account: Account{Name: "ACME Lyon", Parent: "ACME Works"}})
	w.mustDo(AddUser{ID: UserID{Account: "Of a user", Name: "ada"}})
	w.mustDo(SetDevice{Device: Device{ID: newMachine(3).id.Host, Name: "Mill", Account: "Of a device"}})
	m := newMachine(1)
	ask(w, m, 1, false, want(w.entitle(2, 5, func(i *Item) { i.Customer = "Of an item" }), 1))
	for name, has := range map[string]bool{"ACME Works": true, "ACME Lyon": true, "Of a user": true, "Of a device": true, "Of an item": true, "acme works": false, "Nobody": false} {
		if got := w.book.HasAccount(name); got != has {
			t.Errorf("%q: %t", name, got)
		}
	}
	if w.book.AccountOf(m.id.Host) != "Of an item" || w.book.AccountOf(newMachine(9).id.Host) != "" {
		t.Errorf("%q", w.book.AccountOf(m.id.Host))
	}
	_, err := w.do(Map{Device: m.id.Host, ActivationID: testID(t, 77), Copies: 1})
	if Code(err) != capability.ErrUnknownID || Code(nil) != 0 {
		t.Errorf("%v", err)
	}
}

func TestWordsOfModesAndPolicies(t *testing.T) {
	for m := Online; m <= Offline; m++ {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%s: %v", m, err)
		}
		if text, _ := m.MarshalText(); string(text) != m.String() {
			t.Errorf("%s", text)
		}
	}
	if _, err := ParseMode("by kind"); err == nil {
		t.Error("a mode that nobody says is read")
	}
	for p := NothingOnline; p <= AnyoneOnline; p++ {
		if got, err := ParseOnlinePolicy(p.String()); err != nil || got != p {
			t.Errorf("%s: %v", p, err)
		}
	}
	for f := RefuseForks; f <= WarnForks; f++ {
		if text, _ := f.MarshalText(); string(text) != f.String() {
			t.Errorf("%s", text)
		}
	}
}
