package entitlement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Facts about seats, and what becomes of a seat when its copy moves: a seat is in the book by its item and by its machine.

func compareSeats(a, b Seat) int {
	return cmp.Or(compareIDs(a.ActivationID, b.ActivationID), cmp.Compare(a.Number, b.Number))
}

// seat is the one of that number.
func (i *item) seat(number uint32) (int, bool) {
	return slices.BinarySearchFunc(i.seats, number, func(s *Seat, n uint32) int { return cmp.Compare(s.Number, n) })
}

// seatFact says why a fact about an online seat, or a withdrawal, cannot be.
func (b *Book) seatFact(f *SeatFact, now capability.Time) error {
	s := &f.Seat
	i := b.byID[s.ActivationID]
	if i == nil || b.kindOf(i) != FixedUser || s.Number == 0 || b.user(s.User) == nil || b.user(s.User).ID != s.User {
		return fmt.Errorf("seat %d of %s for %s, which are not in the book, or of another kind", s.Number, s.ActivationID, s.User)
	}
	at, there := i.seat(s.Number)
	switch {
	case f.Free || there:
		if !there {
			return fmt.Errorf("seat %d of %s is freed, and nobody has it", s.Number, s.ActivationID)
		}
		was := *i.seats[at]
		if f.Free {
			if was.Host != (hostid.ID{}) || *s != was {
				return fmt.Errorf("seat %d of %s is freed, and it is on a machine, or another's", s.Number, s.ActivationID)
			}
			return i.vacant(s.User, now)
		}
		was.Withdrawn, was.WithdrawnBy = s.Withdrawn, s.WithdrawnBy
		withdrawn := s.Withdrawn == now && i.seats[at].Withdrawn == 0
		if target, is := b.deviceOf[s.Host].mapping(s.ActivationID); s.Withdrawn == 0 && s.WithdrawnBy == "" && i.seats[at].Withdrawn != 0 {
			withdrawn = !is || target > 0 // it was, and is not asked for any more
		}
		if *s != was || !withdrawn || s.Host == (hostid.ID{}) {
			return fmt.Errorf("seat %d of %s changes, and is not withdrawn, or asked for all the same", s.Number, s.ActivationID)
		}
	case b.mode(i) != Online || s.Host != hostid.ID{} || uint32(len(i.seats)) >= i.room() || s.Withdrawn != 0:
		return fmt.Errorf("seat %d of %s is assigned without a machine, or beyond %d copies", s.Number, s.ActivationID, i.Copies)
	}
	return nil
}

func (b *Book) applySeat(e *Entry) error {
	f := e.Seat
	if err := b.seatFact(f, e.Time); err != nil {
		return err
	}
	if f.Free {
		b.free(&f.Seat)
		if i := b.byID[f.Seat.ActivationID]; len(i.seats) == 0 {
			for _, s := range i.sessions {
				delete(b.sessionOf, s.ID)
			}
			i.sessions = nil
		}
	} else {
		b.sit(f.Seat)
	}
	b.settle(b.byID[f.Seat.ActivationID])
	return nil
}

// sit keeps a seat as it is from now on.
func (b *Book) sit(s Seat) {
	i := b.byID[s.ActivationID]
	at, there := i.seat(s.Number)
	if there {
		b.unseat(i.seats[at])
		*i.seats[at] = s
	} else {
		i.seats = slices.Insert(i.seats, at, &s)
	}
	if s.Host != (hostid.ID{}) {
		b.seatedOn[s.Host] = append(b.seatedOn[s.Host], i.seats[at])
	}
}

// unseat forgets where a seat is.
func (b *Book) unseat(s *Seat) {
	list := slices.DeleteFunc(b.seatedOn[s.Host], func(o *Seat) bool { return o == s })
	if b.seatedOn[s.Host] = list; len(list) == 0 {
		delete(b.seatedOn, s.Host)
	}
}

func (b *Book) free(s *Seat) {
	i := b.byID[s.ActivationID]
	if at, there := i.seat(s.Number); there {
		b.unseat(i.seats[at])
		i.seats = slices.Delete(i.seats, at, at+1)
	}
}

// answeredSeats asserts what an answer says of seats. h is the machine as it will be.
func (b *Book) answeredSeats(e *Entry, h *Host, from *Host) error {
	for n, s := range e.Answer.Seats {
		i := b.byID[s.ActivationID]
		if i == nil || b.kindOf(i) != FixedUser || s.Host != h.Host || n > 0 && compareSeats(e.Answer.Seats[n-1], s) >= 0 || s.Serial > e.Answer.Request.Serial {
			return fmt.Errorf("seat %d of %s is not this machine's, or out of order", s.Number, s.ActivationID)
		}
		if at, there := i.seat(s.Number); there {
			was := *i.seats[at]
			if was.Bound, was.Confirmed = s.Bound, s.Confirmed; was.Serial == 0 {
				was.Serial, was.Request, was.Assigned = e.Answer.Request.Serial, e.Answer.Request.Digest, e.Time
			}
			if s != was {
				return fmt.Errorf("seat %d of %s becomes another one", s.Number, s.ActivationID)
			}
			continue
		}
		u := b.user(s.User)
		switch {
		case b.mode(i) != Offline || u == nil || u.ID != s.User || s.Number == 0 || uint32(len(i.seats)) >= i.room():
			return fmt.Errorf("seat %d of %s is assigned to %s beyond what there is", s.Number, s.ActivationID, s.User)
		case s.Request != e.Answer.Request.Digest || s.Serial != e.Answer.Request.Serial || s.Bound+s.Confirmed+s.Withdrawn != 0:
			return fmt.Errorf("seat %d of %s is new, and of another request", s.Number, s.ActivationID)
		case i.seatOn(h.Host) != nil || len(i.seatsOf(s.User)) > 0:
			return fmt.Errorf("seat %d of %s: the machine or its user has one already", s.Number, s.ActivationID)
		}
	}
	if from != nil {
		return b.bothSeated(from.Host, h.Host)
	}
	return nil
}

// bothSeated says why the seats of two machines cannot be on one.
func (b *Book) bothSeated(from, to hostid.ID) error {
	for _, s := range b.seatedOn[from] {
		if o := b.byID[s.ActivationID].seatOn(to); o != nil {
			return fmt.Errorf("both have a seat of %s, for %s and %s, and a machine has the seat of one user", s.ActivationID, s.User, o.User)
		}
	}
	return nil
}

// vacate brings the seats of a machine into line with what it holds: a seat without its copy is free.
func (b *Book) vacate(h *Host) {
	for _, s := range slices.Clone(b.seatedOn[h.Host]) {
		if s.Serial != 0 && h.held(s.ActivationID) == 0 {
			b.free(s)
		}
	}
}

// reseat moves the seats of one machine to another.
func (b *Book) reseat(from, to hostid.ID) {
	for _, s := range slices.Clone(b.seatedOn[from]) {
		if s.Serial != 0 {
			moved := *s
			moved.Host = to
			b.sit(moved)
		}
	}
}

// reroute sends a seat on its way to the machine that an order moves it to: its copy came back from the first, and is reserved for the second.
func (b *Book) reroute(o *Order) {
	if s := b.byID[o.ActivationID].seatOn(o.From); s != nil {
		b.sit(Seat{ActivationID: s.ActivationID, Number: s.Number, User: s.User, Assigned: s.Assigned, By: o.By, Host: o.To})
	}
}

// astray frees a seat that was on its way to a machine, and is not reserved for it any more.
func (b *Book) astray(to hostid.ID, id capability.ActivationID) {
	if s := b.byID[id].seatOn(to); s != nil && s.Serial == 0 {
		b.free(s)
	}
}

// checkSeats says whether the seats and the pool of an item hold.
func (b *Book) checkSeats(i *item) error {
	last, onMachines, fixed := uint32(0), uint32(0), b.kindOf(i) == FixedUser
	for _, s := range i.seats {
		u := b.user(s.User)
		if s.Number <= last || s.ActivationID != i.ActivationID || u == nil || u.ID != s.User || !fixed || (s.Host == hostid.ID{}) != (b.mode(i) == Online) {
			return fmt.Errorf("seat %d of %s is out of order, of nobody, or of another mode", s.Number, s.User)
		}
		if last = s.Number; s.Host == (hostid.ID{}) {
			continue
		}
		if s.Serial == 0 && b.reservedFor(s.Host, i.ActivationID) > 0 && slices.Contains(b.seatedOn[s.Host], s) {
			continue
		}
		onMachines++
		h := b.byKey[s.Host]
		if h == nil || h.held(i.ActivationID) != 1 || i.seatOn(s.Host) != s || !slices.Contains(b.seatedOn[s.Host], s) {
			return fmt.Errorf("seat %d is on %s, which does not hold one copy", s.Number, s.Host.Short())
		}
	}
	if fixed && onMachines != i.used {
		return fmt.Errorf("%d seats are on machines, and machines hold %d copies", onMachines, i.used)
	}
	if b.mode(i) == Online && i.used > 0 {
		return fmt.Errorf("it is used online, and machines hold %d copies", i.used)
	}
	for n, u := range i.pool {
		if b.user(u) == nil || b.user(u).ID != u || n > 0 && compareUsers(i.pool[n-1], u) >= 0 {
			return fmt.Errorf("%s is in the pool, and out of order or not in the book", u)
		}
	}
	return b.checkSessions(i)
}
