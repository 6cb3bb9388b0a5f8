package entitlement

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// planned is a machine with 10 of 10 copies, and an order of 4 of them to another one.
func planned(t *testing.T) (w *world, id capability.ActivationID, from, to *machine) {
	w = newWorld(t, anyTier())
	id = w.entitle(1, 10, nil)
	from, to = newMachine(1), newMachine(2)
	ask(w, from, 1, true, want(id, 10))
	w.mustDo(PlanRehost{From: from.id.Host, To: to.id.Host, ActivationID: id, Copies: 4, By: "A. Ray"})
	return w, id, from, to
}

func (w *world) order(standing string, credited uint32) {
	w.t.Helper()
	if o := w.book.Orders()[0]; o.Standing() != standing || o.Credited != credited {
		w.t.Errorf("the order is %s with %d moved, where %s with %d was expected", o.Standing(), o.Credited, standing, credited)
	}
}

// The second machine gets the copies only once the first has proved that they are gone, whoever asks first.
func TestPlannedRehost(t *testing.T) {
	for name, returned := range map[string]bool{"proved by a response applied": false, "proved by a return": true} {
		t.Run(name, func(t *testing.T) {
			w, id, from, to := planned(t)
			if r := ask(w, to, 2, false, want(id, 4)); copies(r, id) != 0 {
				t.Errorf("before the first has proved anything: %+v", r)
			}
			w.order("waiting for "+from.id.Host.Short(), 0)
			if returned {
				from.giveBack(id, 4)
			} else {
				if r := ask(w, from, 3, true); copies(r, id) != 6 || !r.ReturnAsked {
					t.Errorf("%+v", r)
				}
				if r := ask(w, to, 4, false, want(id, 4)); copies(r, id) != 0 {
					t.Errorf("before the first has proved anything: %+v", r)
				}
				from.epoch++
			}
			// In one exchange: the first's request, which asks for all of them again, and the second's.
			if r := ask(w, from, 5, true, want(id, 10)); copies(r, id) != 6 {
				t.Errorf("%+v", r)
			}
			w.order("ready for "+to.id.Host.Short(), 4)
			w.sums(id, 6, 4, 0)
			if r := w.mustDo(to.request(6)).Response; copies(r, id) != 4 {
				t.Errorf("%+v", r)
			}
			w.order("given to "+to.id.Host.Short(), 4)
			w.sums(id, 10, 0, 0)
			ask(w, to, 7, false) // it has not applied that one
			w.order("given to "+to.id.Host.Short(), 4)
			ask(w, to, 8, false)
			w.order("done", 4)
			if len(w.book.running) != 0 {
				t.Error("it is open")
			}
		})
	}
}

// What comes back moves once, for the order that was given first.
func TestOrdersInTurn(t *testing.T) {
	w, id, from, _ := planned(t)
	w.mustDo(PlanRehost{From: from.id.Host, To: newMachine(3).id.Host, ActivationID: id, Copies: 3})
	from.giveBack(id, 5)
	ask(w, from, 2, false)
	if o := w.book.Orders(); o[0].Credited != 4 || o[1].Credited != 1 {
		t.Errorf("%+v", o)
	}
	w.sums(id, 5, 5, 0)
}

// An order goes on in parts, and what a write-off credits moves too.
func TestOrderInParts(t *testing.T) {
	w, id, from, to := planned(t)
	from.giveBack(id, 1)
	ask(w, from, 2, false)
	w.order("waiting for "+from.id.Host.Short(), 1)
	if r := ask(w, to, 3, false); copies(r, id) != 1 {
		t.Errorf("%+v", r)
	}
	w.mustDo(WriteOff{Host: from.id.Host, ActivationID: id, Reason: "stolen", By: "A. Ray", Approved: "M. Chen"})
	w.order("ready for "+to.id.Host.Short(), 4)
	w.sums(id, 1, 3, 6)
	if r := ask(w, to, 4, false); copies(r, id) != 4 {
		t.Errorf("%+v", r)
	}
}

func TestOrderEnds(t *testing.T) {
	w, id, from, to := planned(t)
	from.giveBack(id, 1)
	ask(w, from, 2, false)
	for name, c := range map[string]Command{
		"no such order": EndOrder{Number: 2}, "mapped by hand": Map{Device: from.id.Host, ActivationID: id, Copies: 10}, "unmapped by hand": Unmap{Device: to.id.Host, ActivationID: id},
	} {
		if _, err := w.do(c); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	w.mustDo(EndOrder{Number: 1})
	w.order("ended", 1)
	if r := ask(w, from, 3, false); copies(r, id) != 9 || r.ReturnAsked {
		t.Errorf("what is not moved stays: %+v", r)
	}
	if r := ask(w, to, 4, false); copies(r, id) != 1 {
		t.Errorf("what is moved stays moved: %+v", r)
	}
	if _, err := w.do(EndOrder{Number: 1}); code(err) != capability.ErrNoRehost {
		t.Errorf("a second time: %v", err)
	}
}

// All that a device has, one order for each item.
func TestTransferOfADevice(t *testing.T) {
	w := newWorld(t, anyTier())
	one, two := w.entitle(1, 10, nil), w.entitle(2, 5, nil)
	from, to := newMachine(1), newMachine(2)
	ask(w, from, 1, true, want(one, 7), want(two, 5))
	w.mustDo(PlanRehost{From: from.id.Host, To: to.id.Host})
	if list := w.book.Orders(); len(list) != 2 || list[0].Copies+list[1].Copies != 12 || list[1].Number != 2 {
		t.Fatalf("%+v", list)
	}
	ask(w, from, 2, true)
	from.epoch++
	if r := ask(w, from, 3, true); len(r.Items) != 0 {
		t.Errorf("%+v", r)
	}
	if r := ask(w, to, 4, false); copies(r, one) != 7 || copies(r, two) != 5 {
		t.Errorf("%+v", r)
	}
	w.sums(one, 7, 0, 3)
}

func TestPlanRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(w *world, id capability.ActivationID, from, to *machine, c *PlanRehost)
		code   capability.Code
	}{
		"more than it has": {func(_ *world, _ capability.ActivationID, _, _ *machine, c *PlanRehost) { c.Copies = 7 }, capability.ErrNoRehost}, // 4 of 10 are ordered
		"to itself":        {func(_ *world, _ capability.ActivationID, from, _ *machine, c *PlanRehost) { c.To = from.id.Host }, capability.ErrNoRehost},
		"from nobody": {func(_ *world, _ capability.ActivationID, _, _ *machine, c *PlanRehost) {
			c.From = newMachine(9).id.Host
		}, capability.ErrNoRehost},
		"to a claim":        {func(_ *world, _ capability.ActivationID, _, _ *machine, c *PlanRehost) { c.To = cardID() }, 0},
		"copies of nothing": {func(_ *world, _ capability.ActivationID, _, _ *machine, c *PlanRehost) { c.ActivationID = "" }, 0},
		"of an unknown item": {func(w *world, _ capability.ActivationID, _, _ *machine, c *PlanRehost) {
			c.ActivationID = testID(w.t, 9)
		}, capability.ErrUnknownID},
		"of what is suspended": {func(w *world, id capability.ActivationID, _, _ *machine, _ *PlanRehost) {
			w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Suspend}})
		}, capability.ErrSuspended},
		"to one that may not have it": {func(w *world, _ capability.ActivationID, _, to *machine, _ *PlanRehost) {
			to.id.Tier = Software
			ask(w, to, 5, false)
			p := w.book.Policy()
			p.MinimumTier = Hardware
			w.mustDo(SetPolicy{Policy: p})
		}, capability.ErrTier},
		"to another account": {func(w *world, _ capability.ActivationID, _, to *machine, _ *PlanRehost) {
			other := w.entitle(5, 3, func(i *Item) { i.Customer = "Somebody else" })
			ask(w, to, 5, false, want(other, 1))
		}, capability.ErrAccount},
	} {
		t.Run(name, func(t *testing.T) {
			w, id, from, to := planned(t)
			c := PlanRehost{From: from.id.Host, To: to.id.Host, ActivationID: id, Copies: 2}
			row.change(w, id, from, to, &c)
			before := w.book.Digest()
			if d, err := w.do(c); d != nil || err == nil || code(err) != row.code {
				t.Errorf("%+v, %v", d, err)
			}
			if w.book.Digest() != before {
				t.Error("the book changed")
			}
		})
	}
}

// The lost path does not take what is promised to another machine.
func TestLostWhileOrdered(t *testing.T) {
	w, _, from, to := planned(t)
	a := to.request(9)
	a.By, a.Rehost, a.Repair, a.Approved = "A. Ray", from.id.Host, "it burnt", "M. Chen"
	if _, err := w.do(a); code(err) != capability.ErrNoRehost {
		t.Error(err)
	}
	w.mustDo(EndOrder{Number: 1})
	w.mustDo(a)
	if v, _ := w.book.DeviceOf(to.id.Host); len(v.Provisional) != 1 || v.Provisional[0].From != from.id.Host || v.Provisional[0].Until != w.now.Add(ProvisionalSpan) {
		t.Errorf("%+v", v.Provisional)
	}
	// The first turns up, hears of it, and proves that it has nothing any more.
	if r := ask(w, from, 10, true); len(r.Items) != 0 || len(r.Revoked) != 1 {
		t.Errorf("%+v", r)
	}
	from.epoch++
	if r := ask(w, from, 11, true); len(r.Revoked) != 0 {
		t.Errorf("%+v", r)
	}
	if v, _ := w.book.DeviceOf(to.id.Host); len(v.Provisional) != 0 {
		t.Errorf("%+v", v.Provisional)
	}
}
