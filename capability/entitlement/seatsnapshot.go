package entitlement

import "github.com/leasehold/leasehold/capability"

// What users have comes last in a snapshot, because it is on machines: all seats, then all pools, then all sessions, each by item.

// seatRank is that of the first of these sections.
const seatRank = deviceRank + 20

// memberRecord is a user in the pool of an item.
type memberRecord struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero"`
	User         UserID                  `cbor:"2,keyasint,omitzero"`
}

func (b *Book) seatSections(put func(section)) {
	for _, i := range b.items {
		for _, s := range i.seats {
			put(section{Seat: s})
		}
	}
	for _, i := range b.items {
		for _, u := range i.pool {
			put(section{Member: &memberRecord{i.ActivationID, u}})
		}
	}
	for _, i := range b.items {
		for _, s := range i.sessions {
			put(section{Session: s})
		}
	}
}

// seats takes in one record of users. What is out of order in an item is found by Check.
func (r *joining) seats(s *section) error {
	b, kind, id := r.book, 0, capability.ActivationID("")
	switch {
	case s.User != nil:
		b.users, b.userByID[s.User.ID.folded()] = append(b.users, s.User), s.User
		return nil
	case s.Seat != nil:
		kind, id = 1, s.Seat.ActivationID
	case s.Member != nil:
		kind, id = 2, s.Member.ActivationID
	case s.Session != nil:
		kind, id = 3, s.Session.ActivationID
	}
	i := b.byID[id]
	if i == nil || r.seatKind == kind && i.at < r.seatItem {
		return corrupt("snapshot has a seat, a user or a session of %s, which is not in it, or behind its place", id)
	}
	r.seatKind, r.seatItem = kind, i.at
	switch {
	case s.Seat != nil:
		if len(i.seats) > 0 && i.seats[len(i.seats)-1].Number >= s.Seat.Number {
			return corrupt("snapshot has seat %d of %s out of order", s.Seat.Number, id)
		}
		b.sit(*s.Seat)
	case s.Member != nil:
		i.pool = append(i.pool, s.Member.User)
	case s.Session != nil:
		i.sessions, b.sessionOf[s.Session.ID] = append(i.sessions, s.Session), i
	}
	return nil
}
