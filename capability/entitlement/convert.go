package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A line item is used online or offline, and changes over only when nobody uses it: to offline without a user and without a session, back when every copy has come home.

// Convert changes how the seats of an item are used.
type Convert struct {
	ActivationID capability.ActivationID
	To           Mode
	By           string
}

// Converted is the fact of it.
type Converted struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	To           Mode                    `cbor:"2,keyasint,omitzero" json:"to"`
}

func (c Convert) decide(b *Book, now capability.Time) (*Decision, error) {
	i := b.byID[c.ActivationID]
	switch {
	case i == nil:
		return nil, capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "it cannot be converted")
	case c.To != Online && c.To != Offline:
		return nil, fmt.Errorf("convert to mode %d, which is not known", c.To)
	case b.kindOf(i) != FixedUser && b.kindOf(i) != Floating:
		return nil, capability.Refuse(capability.ErrMode, string(i.ActivationID), "its kind is %s, which is used offline only", b.kindOf(i))
	case b.mode(i) == c.To:
		return nil, capability.Refuse(capability.ErrMode, string(i.ActivationID), "it is used %s already", c.To)
	case c.To == Offline && b.keptOnline(i.Customer):
		return nil, capability.Refuse(capability.ErrConvert, string(i.ActivationID), "the producer does not allow the account %s to use licenses offline", i.Customer)
	}
	if err := b.unused(i, now); err != nil {
		return nil, err
	}
	e := b.entry(now, c.By)
	e.Convert = &Converted{c.ActivationID, c.To}
	return &Decision{Entries: []*Entry{e}}, nil
}

// keptOnline says that the producer keeps the licenses of an account online, or of one that it is a part of.
func (b *Book) keptOnline(account string) bool {
	return slices.ContainsFunc(b.above(account), func(name string) bool { return b.Account(name).KeepsOnline })
}

// unused says who uses an item, or has a seat of it; nil: nobody.
func (b *Book) unused(i *item, now capability.Time) error {
	no := func(format string, args ...any) error {
		return capability.Refuse(capability.ErrUsers, string(i.ActivationID), format, args...)
	}
	if len(i.seats) > 0 {
		s := i.seats[0]
		if b.mode(i) == Online {
			return no("%d seats are assigned, seat %d to %s: unassign them first", len(i.seats), s.Number, s.User)
		}
		return no("seat %d of %s is not free: %s", s.Number, s.User, b.seatWhere(s))
	}
	if len(i.pool) > 0 {
		return no("%d users are in its pool, %s is one: take them out first", len(i.pool), i.pool[0])
	}
	if i.Everybody {
		return no("its pool is open to everybody of the account: close it first")
	}
	for _, s := range i.sessions {
		if s.Through > now {
			return no("%s by %s may run until %s", s.where(), s.User, s.Through)
		}
	}
	for _, h := range b.hosts {
		if n := h.held(i.ActivationID); n > 0 {
			return no("%s on %s since %s: return them there first", capability.Counted(n, "copy"), h.Host.Short(), h.since(i.ActivationID))
		}
	}
	if i.used+i.reserved() > 0 {
		return no("%d of %d copies are not free", i.room()-i.left(), i.room())
	}
	return nil
}

// since is when the last response was made that the copies of an item were in.
func (h *Host) since(capability.ActivationID) capability.Time {
	for n := len(h.Requests) - 1; n >= 0; n-- {
		if h.Requests[n].Serial != 0 {
			return h.Requests[n].Time
		}
	}
	return 0
}

func (b *Book) applyConvert(e *Entry) error {
	c := e.Convert
	i := b.byID[c.ActivationID]
	if i == nil || c.To != Online && c.To != Offline || b.mode(i) == c.To || b.kindOf(i) != FixedUser && b.kindOf(i) != Floating {
		return fmt.Errorf("%s is converted to %s, and cannot be", c.ActivationID, c.To)
	}
	if err := b.unused(i, e.Time); err != nil {
		return err
	}
	for _, s := range i.sessions {
		delete(b.sessionOf, s.ID)
	}
	i.Mode, i.sessions = c.To, nil
	b.settle(i)
	return nil
}
