package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A planned re-host is an order: copies go from one machine that still answers to another. They are asked back from the first (mapping.go), and each that is proved to be gone, or returned there, is
// reserved for the second in the same entry, so that nobody takes it on the way and it is never on both. The order is done when a request of the second names the response that gave it the last of them.

// Order is a planned re-host.
type Order struct {
	Number       uint64                  `cbor:"1,keyasint,omitzero" json:"number"` // from 1
	From         hostid.ID               `cbor:"2,keyasint,omitzero" json:"from"`
	To           hostid.ID               `cbor:"3,keyasint,omitzero" json:"to"`
	ActivationID capability.ActivationID `cbor:"4,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"5,keyasint,omitzero" json:"copies"`
	Time         capability.Time         `cbor:"6,keyasint,omitzero" json:"time"`
	By           string                  `cbor:"7,keyasint,omitzero" json:"by,omitempty"`
	Credited     uint32                  `cbor:"8,keyasint,omitzero" json:"credited"`         // of them: gone from the first, and the second's
	Serial       uint64                  `cbor:"9,keyasint,omitzero" json:"serial,omitempty"` // of the response to the second that has them all
	Done         capability.Time         `cbor:"10,keyasint,omitzero" json:"done,omitempty"`  // when it named that response
	Ended        capability.Time         `cbor:"11,keyasint,omitzero" json:"ended,omitempty"` // when staff let go of what was not credited
}

// OrderStep is what an entry changes of an order.
type OrderStep struct {
	Number   uint64 `cbor:"1,keyasint,omitzero" json:"number"`
	Credited uint32 `cbor:"2,keyasint,omitzero" json:"credited,omitempty"` // more copies
	Serial   uint64 `cbor:"3,keyasint,omitzero" json:"serial,omitempty"`
	Done     bool   `cbor:"4,keyasint,omitzero" json:"done,omitempty"`
	Ended    bool   `cbor:"5,keyasint,omitzero" json:"ended,omitempty"`
}

// PlanRehost orders copies from one machine to another; without an activation ID everything that it holds, one order for each.
type PlanRehost struct {
	From, To     hostid.ID
	ActivationID capability.ActivationID
	Copies       uint32 // zero: all
	By           string
}

// EndOrder lets go of what an order has not moved yet: it stays with the first machine. What it has moved is the second's.
type EndOrder struct {
	Number uint64
	By     string
}

func (o *Order) open() bool { return o.Done == 0 && o.Ended == 0 }

// moving says that copies of the first machine still go to the second.
func (o *Order) moving() bool { return o.open() && o.Credited < o.Copies }

// ordered is an open order that moves copies of an item from or to a device, or nil.
func (b *Book) ordered(id hostid.ID, of capability.ActivationID) *Order {
	for _, o := range b.running {
		if o.ActivationID == of && (o.From == id || o.To == id) {
			return o
		}
	}
	return nil
}

func (o *Order) inTheWay() string {
	return fmt.Sprintf("order %d moves copies of it from %s to %s: wait for it, or end it", o.Number, o.From.Short(), o.To.Short())
}

// leaving says that copies of an item on a machine are ordered to another: they come back to move, whatever the model says of returns.
func (b *Book) leaving(id hostid.ID, of capability.ActivationID) bool {
	o := b.ordered(id, of)
	return o != nil && o.From == id && o.moving()
}

// Standing says in words what the order waits for.
func (o *Order) Standing() string {
	switch {
	case o.Done != 0:
		return "done"
	case o.Ended != 0:
		return "ended"
	case o.Credited < o.Copies:
		return "waiting for " + o.From.Short()
	case o.Serial == 0:
		return "ready for " + o.To.Short()
	}
	return "given to " + o.To.Short()
}

// Orders are all orders, in order.
func (b *Book) Orders() []Order {
	list := make([]Order, len(b.orders))
	for n, o := range b.orders {
		list[n] = *o
	}
	return list
}

func (c PlanRehost) decide(b *Book, now capability.Time) (*Decision, error) {
	from, to := b.byKey[c.From], b.byKey[c.To]
	no := func(format string, args ...any) (*Decision, error) {
		return nil, capability.Refuse(capability.ErrNoRehost, c.From.Short(), format, args...)
	}
	switch {
	case from == nil:
		return no("it is not on record")
	case from.Moved != nil:
		return no("%s", from.Moved)
	case c.From == c.To:
		return no("it is the machine that they would go to")
	case to != nil && to.Moved != nil:
		return no("the machine that they would go to is gone: %s", to.Moved)
	}
	if err := checkDeviceID(c.To); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	wanted := []Fulfillment{{c.ActivationID, c.Copies}}
	if c.ActivationID == "" {
		if wanted = nil; c.Copies != 0 {
			return nil, fmt.Errorf("%w: %d copies of nothing named", ErrDevice, c.Copies)
		}
		for _, f := range from.Holds {
			wanted = append(wanted, Fulfillment{f.ActivationID, 0})
		}
	}
	d, before, ordered := &Decision{}, b.head, []*item(nil)
	for _, w := range wanted {
		i := b.byID[w.ActivationID]
		if i == nil {
			return nil, capability.Refuse(capability.ErrUnknownID, string(w.ActivationID), "no order is made")
		}
		may := from.held(w.ActivationID) // and is not asked back for something else
		if n, is := b.shall(from, i); is {
			may = min(may, n)
		}
		if w.Copies == 0 {
			w.Copies = may
		}
		switch {
		case b.closed(i) != nil && c.ActivationID == "":
			continue // it cannot be given to another machine
		case b.closed(i) != nil:
			return nil, b.closed(i)
		case b.alien(i, to, b.deviceOf[c.To]) != nil:
			return nil, b.alien(i, to, b.deviceOf[c.To])
		case b.spent(i, ActRehost, 1, now) != nil:
			return nil, b.spent(i, ActRehost, 1, now)
		case i.Metered:
			return no("%s is metered, and what is used up of it only the machine knows: return it there", w.ActivationID)
		case w.Copies == 0 && c.ActivationID == "":
			continue
		case b.seatInTheWay(i, c.To) != nil:
			return nil, b.seatInTheWay(i, c.To)
		case w.Copies == 0 || w.Copies > may:
			return no("%d copies of %s, and it has %d that are not asked back", w.Copies, w.ActivationID, may)
		case i.Expiry != 0 && now >= i.Expiry:
			return nil, capability.Refuse(capability.ErrBookExpired, string(w.ActivationID), "it expired %s", i.Expiry)
		}
		if no := b.crowded(c.To, to, append(ordered, i)...); no != nil {
			no.Subject = string(i.ActivationID)
			return nil, no
		}
		ordered = append(ordered, i)
		if to != nil {
			if off := to.off(w.ActivationID); off != nil {
				return nil, capability.Refuse(capability.ErrWrittenOff, string(w.ActivationID), "%s", off)
			}
			if no := b.barred(i, to.Tier, to.held(w.ActivationID)+w.Copies, to.why()); no != nil {
				return nil, no
			}
		}
		e := b.entry(now, c.By)
		e.Before = before
		e.Order = &Order{Number: uint64(len(b.orders)+len(d.Entries)) + 1, From: c.From, To: c.To, ActivationID: w.ActivationID, Copies: w.Copies, Time: now, By: c.By}
		before = e.Hash(b.codec)
		d.Entries = append(d.Entries, e)
	}
	if len(d.Entries) == 0 {
		return no("it has no rights that are not asked back")
	}
	return d, nil
}

func (b *Book) applyOrder(e *Entry) error {
	o := *e.Order
	from := b.byKey[o.From]
	i := b.byID[o.ActivationID]
	switch {
	case o.Number != uint64(len(b.orders))+1 || o.Time != e.Time || o.By != e.By || o.Credited != 0 || o.Serial != 0 || o.Done != 0 || o.Ended != 0:
		return fmt.Errorf("order %d follows %d, or has begun before it was given", o.Number, len(b.orders))
	case from == nil || i == nil || b.closed(i) != nil || i.Metered || o.From == o.To || checkDeviceID(o.To) != nil:
		return fmt.Errorf("order %d moves %s from %s to %s", o.Number, o.ActivationID, o.From, o.To)
	}
	if no := b.seatInTheWay(i, o.To); no != nil {
		return no
	}
	may := from.held(o.ActivationID)
	if n, is := b.shall(from, i); is {
		may = min(may, n)
	}
	if o.Copies == 0 || o.Copies > may {
		return fmt.Errorf("order %d moves %d of %d copies of %s", o.Number, o.Copies, may, o.ActivationID)
	}
	if no := b.spent(i, ActRehost, 1, e.Time); no != nil {
		return no
	}
	b.count(i, ActRehost, 1, e.Time)
	b.mapTo(o.From, o.ActivationID, may-o.Copies)
	b.addOrder(&o)
	return nil
}

func (b *Book) addOrder(o *Order) {
	if b.orders = append(b.orders, o); o.open() {
		b.running = append(b.running, o)
	}
}

// closeOrders drops from those that are open what is not any more.
func (b *Book) closeOrders() {
	b.running = slices.DeleteFunc(b.running, func(o *Order) bool { return !o.open() })
}

func (c EndOrder) decide(b *Book, now capability.Time) (*Decision, error) {
	if c.Number == 0 || c.Number > uint64(len(b.orders)) {
		return nil, capability.Refuse(capability.ErrNotFound, fmt.Sprintf("order %d", c.Number), "there are %d", len(b.orders))
	}
	o := b.orders[c.Number-1]
	if !o.open() {
		return nil, capability.Refuse(capability.ErrNoRehost, o.From.Short(), "order %d is %s", o.Number, o.Standing())
	}
	e := b.entry(now, c.By)
	e.Step = &OrderStep{Number: c.Number, Ended: true}
	return &Decision{Entries: []*Entry{e}}, nil
}

// endOrder gives the first machine back what is not moved: its mapping goes up by that, and is dropped where it asks for nothing more.
func (b *Book) endOrder(e *Entry) error {
	s := e.Step
	if !s.Ended || s.Credited != 0 || s.Serial != 0 || s.Done || s.Number == 0 || s.Number > uint64(len(b.orders)) || !b.orders[s.Number-1].open() {
		return fmt.Errorf("order %d ends, and is not open", s.Number)
	}
	o := b.orders[s.Number-1]
	rest := o.Copies - o.Credited
	o.Ended = e.Time
	b.closeOrders()
	if rest == 0 {
		return nil
	}
	if n, mapped := b.deviceOf[o.From].mapping(o.ActivationID); mapped {
		if n += rest; n >= b.byKey[o.From].have(o.ActivationID) {
			b.unmap(o.From, o.ActivationID)
		} else {
			b.mapTo(o.From, o.ActivationID, n)
		}
	}
	return nil
}

// moved are the steps of orders that follow from copies which came back from a host, and takes what they move out of them.
func (b *Book) moved(from hostid.ID, back map[capability.ActivationID]uint32) (steps []OrderStep) {
	for _, o := range b.running {
		if n := min(back[o.ActivationID], o.Copies-o.Credited); o.From == from && o.moving() && n > 0 {
			back[o.ActivationID] -= n
			steps = append(steps, OrderStep{Number: o.Number, Credited: n})
		}
	}
	return steps
}

// reached are the steps of orders to a host: a response that has everything, and a request that names such a response.
func (b *Book) reached(before, h *Host, r *capability.Request, serial uint64) (steps []OrderStep) {
	for _, o := range b.running {
		if o.To != h.Host || !o.open() || o.moving() {
			continue
		}
		total, mapped := b.deviceOf[h.Host].mapping(o.ActivationID)
		switch {
		case o.Serial == 0 && (!mapped || h.given(o.ActivationID) >= total):
			steps = append(steps, OrderStep{Number: o.Number, Serial: serial})
		case o.Serial != 0 && r.Applied >= o.Serial && proves(before, r):
			steps = append(steps, OrderStep{Number: o.Number, Done: true})
		}
	}
	return steps
}

// checkSteps asserts what moved and reached promise. back are the copies that came back from the host, by activation ID.
func (b *Book) checkSteps(host hostid.ID, steps []OrderStep, serial uint64, back map[capability.ActivationID]uint64) error {
	last := map[bool]uint64{}
	for _, s := range steps {
		if s.Number == 0 || s.Number > uint64(len(b.orders)) || s.Ended || s.Number <= last[s.Credited > 0] {
			return fmt.Errorf("a step of order %d, which is not there or comes out of order", s.Number)
		}
		last[s.Credited > 0] = s.Number
		o := b.orders[s.Number-1]
		switch {
		case s.Credited > 0 && (o.From != host || !o.moving() || s.Credited > o.Copies-o.Credited || uint64(s.Credited) > back[o.ActivationID] || s.Serial != 0 || s.Done):
			return fmt.Errorf("order %d moves %d copies that did not come back from %s", s.Number, s.Credited, host.Short())
		case s.Credited > 0:
			back[o.ActivationID] -= uint64(s.Credited)
		case o.To != host || !o.open() || o.moving() || s.Done == (s.Serial != 0):
			return fmt.Errorf("order %d reaches %s, and is %s", s.Number, host.Short(), o.Standing())
		case s.Serial != 0 && (o.Serial != 0 || s.Serial != serial) || s.Done && (o.Serial == 0 || o.Serial >= serial):
			return fmt.Errorf("order %d was given with response %d, or %d", s.Number, o.Serial, s.Serial)
		}
	}
	return nil
}

// step takes in the steps of an entry. The copies that came back are not the host's any more.
func (b *Book) step(steps []OrderStep, now capability.Time) {
	for _, s := range steps {
		o := b.orders[s.Number-1]
		if s.Credited > 0 {
			o.Credited += s.Credited
			total, mapped := b.deviceOf[o.To].mapping(o.ActivationID)
			if !mapped {
				total = b.byKey[o.To].have(o.ActivationID)
			}
			b.mapTo(o.To, o.ActivationID, total+s.Credited)
			b.reroute(o)
		}
		if s.Serial != 0 {
			o.Serial = s.Serial
		}
		if s.Done {
			o.Done = now
			b.closeOrders()
		}
	}
}

// checkOrders: numbers without gaps, and nothing moved that was not ordered.
func (b *Book) checkOrders() error {
	open := 0
	for n, o := range b.orders {
		if o.open() {
			open++
		}
		if o.Number != uint64(n)+1 || o.Credited > o.Copies || o.Copies == 0 || b.byID[o.ActivationID] == nil || b.byKey[o.From] == nil || o.Done != 0 && o.Serial == 0 || o.Serial != 0 && o.Credited < o.Copies {
			return corrupt("order %d of %s: %d of %d copies, response %d, done %s", o.Number, o.ActivationID, o.Credited, o.Copies, o.Serial, o.Done)
		}
	}
	if open != len(b.running) || slices.ContainsFunc(b.running, func(o *Order) bool { return !o.open() }) {
		return corrupt("%d orders are open, and found as %d", open, len(b.running))
	}
	return nil
}
