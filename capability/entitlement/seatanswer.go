package entitlement

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What an answer has to do with seats: one may come by order with the request of its machine, a request says which are bound, and the rights name whose they are.

// SeatOrder is the seat that the answer to a machine's request shall bring.
type SeatOrder struct {
	ActivationID capability.ActivationID
	User         UserID
	Code         capability.Digest // of the slip of a user who is not in the book yet
}

// seatOrder is the seat that an answer brings by order, and the entry that makes its user, nil where the user is in the book. Without an order both are nil.
func (b *Book) seatOrder(now capability.Time, h *Host, c *Answer) (*Seat, *Entry, error) {
	if c.Seat == nil {
		return nil, nil, nil
	}
	s, u, err := b.seatFor(now, h, c)
	if err != nil || u != nil {
		return s, nil, err
	}
	e, err := b.addUser(now, c.Seat.User, false, c.Seat.Code, c.By)
	return s, e, err
}

// seatFor says why the answer to a request cannot bring the seat that was ordered with it, and gives the seat and its user, nil where the user is made with it.
func (b *Book) seatFor(now capability.Time, h *Host, c *Answer) (*Seat, *User, error) {
	i, err := b.seatItem(c.Seat.ActivationID, Offline)
	if err != nil {
		return nil, nil, err
	}
	u, err := b.seatable(i, c.Seat.User, now)
	if err != nil {
		return nil, nil, err
	}
	id := c.Seat.User
	if u != nil {
		id = u.ID
		if has := i.seatOfWhole(id); has != nil && has.Host != h.Host {
			return nil, nil, capability.Refuse(capability.ErrSeatElsewhere, id.Name, "%s: return it there first, or withdraw it", b.seatWhere(has))
		} else if has != nil {
			return nil, nil, capability.Refuse(capability.ErrSeatElsewhere, id.Name, "%s, which is this machine: its next response brings it again", b.seatWhere(has))
		}
	}
	if s := i.seatOnWhole(h.Host); s != nil {
		return nil, nil, capability.Refuse(capability.ErrSeatElsewhere, id.Name, "this machine has seat %d of %s for %s since %s, and a machine has the seat of one user", s.Number, i.ActivationID, s.User.Name, s.Assigned)
	}
	if h.Moved != nil {
		return nil, nil, capability.Refuse(capability.ErrRehosted, h.Host.Short(), "%s", h.Moved)
	}
	if off := h.off(i.ActivationID); off != nil {
		return nil, nil, capability.Refuse(capability.ErrWrittenOff, h.Host.Short(), "%s", off)
	}
	if o := b.ordered(h.Host, i.ActivationID); o != nil {
		return nil, nil, capability.Refuse(capability.ErrNoMapping, string(i.ActivationID), "%s", o.inTheWay())
	}
	if i.left() == 0 || uint32(len(i.seats)) >= i.room() {
		return nil, nil, i.tooFewSeats()
	}
	for _, no := range []*capability.Refusal{b.crowded(h.Host, h, i), b.foreign(i, h), b.unfit(i, c), b.barred(i, c.Identity.Tier, 1, c.Shown.Why)} {
		if no != nil {
			return nil, nil, no
		}
	}
	s := i.place(id, now, c.By)
	s.Host, s.Request = h.Host, c.Digest
	return &s, u, nil
}

// reissued judges an order of a seat whose request was answered before: with this very seat, then the answer of that time is the answer.
func (b *Book) reissued(c *Answer, h *Host, k *Known) error {
	i, err := b.seatItem(c.Seat.ActivationID, Offline)
	if err != nil {
		return err
	}
	s := i.seatOn(h.Host)
	if s == nil || s.User.folded() != c.Seat.User.folded() || s.Request != c.Digest {
		return capability.Refuse(capability.ErrSeatElsewhere, c.Seat.User.Name, "request %d was answered before, and not with this seat: have the machine write another one", k.Number)
	}
	return nil
}

// seatRefusal says why a machine gets nothing of an item that belongs to users, however it asks; nil where it may.
func (b *Book) seatRefusal(i *item) *capability.Refusal {
	switch {
	case b.mode(i) == Online:
		return capability.Refuse(capability.ErrMode, string(i.ActivationID), "it is used online; for machines by file the license administrator of %s converts it", i.Customer)
	case b.kindOf(i) == FixedUser:
		return capability.Refuse(capability.ErrUnassigned, string(i.ActivationID), "the license administrator of %s assigns a seat with the request of this machine", i.Customer)
	}
	return nil
}

// brings puts a new seat into an answer: the copy, and the user's name in the rights.
func (s *Seat) brings(h *Host, a *Answered, serial uint64, account string) {
	s.Serial, h.Account = serial, cmp.Or(h.Account, account)
	h.hold(s.ActivationID, h.held(s.ActivationID)+1)
	a.Seats = append(a.Seats, *s)
}

// knows puts into an answer what a request says of the seats of its machine, and those that an order brings to it.
func (b *Book) knows(now capability.Time, before, h *Host, c *Answer, a *Answered) {
	r := c.Request
	for _, s := range b.seatedOn[h.Host] {
		known := *s
		switch {
		case s.Serial == 0 && h.held(s.ActivationID) > 0:
			known.Serial, known.Request, known.Assigned = a.Request.Serial, c.Digest, now
		case s.Serial == 0 || r.Applied < s.Serial || c.foreign != nil:
			continue
		case proves(before, r) && s.Confirmed == 0:
			known.Confirmed = now
		}
		if s.Serial != 0 && s.Bound == 0 {
			known.Bound = now
		}
		if known != *s {
			a.Seats = append(a.Seats, known)
		}
	}
	slices.SortFunc(a.Seats, compareSeats)
}

// userOn is whose seat a machine has of an item; empty: nobody's in particular.
func (i *item) userOn(h hostid.ID) string {
	if s := i.seatOn(h); s != nil {
		return s.User.Name
	}
	return i.User
}

// nameUsers puts the users of seats that come with this very answer into its rights.
func (b *Book) nameUsers(items []capability.LineItem, from *Host, brought *Seat) {
	for n := range items {
		line := &items[n]
		if brought != nil && brought.ActivationID == line.ActivationID {
			line.User = brought.User.Name
		}
		if from == nil {
			continue
		}
		if s := b.byID[line.ActivationID].seatOn(from.Host); s != nil {
			line.User = s.User.Name
		}
	}
}
