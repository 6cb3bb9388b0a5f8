package entitlement

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A line item of the kind fixed-user has as many seats as copies, and each seat belongs to one user or to nobody. Online, the assignment alone is the seat: its user takes a session for it. Offline, it is a
// copy on one machine, whose rights name the user: assigning it answers the request of that machine, and it is free again when the copy came back, by a proof and never on anyone's word.
//
// A floating line item that is used online has no seats of users, but a pool: its members, or everybody of the account, take sessions while copies are left.

// Seat is one seat of a fixed-user item that belongs to somebody. The rest of it is zero where the item is used online.
type Seat struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Number       uint32                  `cbor:"2,keyasint,omitzero" json:"number"` // of the seat in its item, from 1
	User         UserID                  `cbor:"3,keyasint,omitzero" json:"user"`
	Assigned     capability.Time         `cbor:"4,keyasint,omitzero" json:"assigned"`
	By           string                  `cbor:"5,keyasint,omitzero" json:"by,omitempty"`
	Host         hostid.ID               `cbor:"6,keyasint,omitzero" json:"host,omitzero"`          // the machine that has the copy
	Request      capability.Digest       `cbor:"7,keyasint,omitzero" json:"request,omitzero"`       // that the seat answered
	Serial       uint64                  `cbor:"8,keyasint,omitzero" json:"serial,omitempty"`       // of the response that brought it
	Bound        capability.Time         `cbor:"9,keyasint,omitzero" json:"bound,omitempty"`        // when a request first said that the machine has applied it
	Confirmed    capability.Time         `cbor:"10,keyasint,omitzero" json:"confirmed,omitempty"`   // when one first proved it
	Withdrawn    capability.Time         `cbor:"11,keyasint,omitzero" json:"withdrawn,omitempty"`   // when it was asked back
	WithdrawnBy  string                  `cbor:"12,keyasint,omitzero" json:"withdrawnBy,omitempty"` // by whom
}

// SeatState is what is known of a seat.
type SeatState string

const (
	SeatAssigned  SeatState = "assigned"        // online: its user takes sessions
	SeatIssued    SeatState = "issued"          // a response brings it; whether it was imported nobody knows yet
	SeatBound     SeatState = "bound"           // the machine says that it imported it
	SeatConfirmed SeatState = "bound confirmed" // and proved it
	SeatMoving    SeatState = "moving"          // back from one machine, and reserved for the one that an order names
	SeatWithdrawn SeatState = "being withdrawn" // asked back, and in use until the machine proves that it is not
)

// State is that of the seat.
func (s *Seat) State() SeatState {
	switch {
	case s.Withdrawn != 0:
		return SeatWithdrawn
	case s.Host == hostid.ID{}:
		return SeatAssigned
	case s.Serial == 0:
		return SeatMoving
	case s.Confirmed != 0:
		return SeatConfirmed
	case s.Bound != 0:
		return SeatBound
	}
	return SeatIssued
}

// SeatFact is the fact that a seat is so from now on, or free.
type SeatFact struct {
	Seat Seat `cbor:"1,keyasint,omitzero" json:"seat"`
	Free bool `cbor:"2,keyasint,omitzero" json:"free,omitempty"`
}

// AssignSeat gives a user a seat of a fixed-user item that is used online. Who is not in the book is put there with it. A user may have several: each is a machine more at the same time.
type AssignSeat struct {
	ActivationID capability.ActivationID
	User         UserID
	Code         capability.Digest // of the slip of a user who is not in the book yet
	By           string
}

// UnassignSeat takes one back. While sessions run that need it, it cannot.
type UnassignSeat struct {
	ActivationID capability.ActivationID
	User         UserID
	By           string
}

// WithdrawSeat asks for an offline seat back. It is free when its machine proved that it does not use it.
type WithdrawSeat struct {
	ActivationID capability.ActivationID
	User         UserID
	By           string
}

// seatItem is a fixed-user item that is used in a mode, or why it is none.
func (b *Book) seatItem(id capability.ActivationID, m Mode) (*item, error) {
	i := b.byID[id]
	switch {
	case i == nil:
		return nil, capability.Refuse(capability.ErrUnknownID, string(id), "it has no seats")
	case b.kindOf(i) != FixedUser:
		return nil, capability.Refuse(capability.ErrMode, string(id), "its kind is %s, and only seats of the kind %s are assigned to users", b.kindOf(i), FixedUser)
	case b.mode(i) != m && m == Online:
		return nil, capability.Refuse(capability.ErrMode, string(id), "it is used offline: a seat is assigned with the request of a machine, --request FILE")
	case b.mode(i) != m:
		return nil, capability.Refuse(capability.ErrMode, string(id), "it is used online: a seat is assigned without a machine; to use it offline: freehold convert %s --to offline", id)
	}
	return i, nil
}

// seatable says why a user can get no seat of an item; the user who is not in the book yet is nil.
func (b *Book) seatable(i *item, id UserID, now capability.Time) (*User, error) {
	if !b.Within(id.Account, i.Customer) {
		return nil, capability.Refuse(capability.ErrNoUser, id.Name, "the user is of another account than the line item")
	}
	if i.Expiry != 0 && now >= i.Expiry {
		return nil, capability.Refuse(capability.ErrBookExpired, string(i.ActivationID), "it expired %s", i.Expiry)
	}
	if no := b.closed(i); no != nil {
		return nil, no
	}
	u := b.user(id)
	switch {
	case u == nil:
		return nil, nil
	case u.Disabled:
		return nil, capability.Refuse(capability.ErrNoUser, u.ID.Name, "the user is disabled")
	case u.Service && !b.policy.ServiceSeats:
		return nil, capability.Refuse(capability.ErrService, u.ID.Name, "seats of the kind %s are for people", FixedUser)
	}
	return u, nil
}

// place is a new seat of an item: its lowest free number.
func (i *item) place(user UserID, now capability.Time, by string) Seat {
	n := uint32(1)
	for _, s := range i.seats { // by number
		if s.Number != n {
			break
		}
		n++
	}
	return Seat{ActivationID: i.ActivationID, Number: n, User: user, Assigned: now, By: by}
}

func (i *item) tooFewSeats() *capability.Refusal {
	return &capability.Refusal{Denial: capability.Denial{
		Code: capability.ErrTooFew, Subject: string(i.ActivationID), Asked: 1, Available: 0, Total: i.room(), Used: i.room(), Detail: "every seat is assigned",
	}}
}

func (c AssignSeat) decide(b *Book, now capability.Time) (*Decision, error) {
	i, err := b.seatItem(c.ActivationID, Online)
	if err != nil {
		return nil, err
	}
	u, err := b.seatable(i, c.User, now)
	if err != nil {
		return nil, err
	}
	if uint32(len(i.seats)) >= i.room() {
		return nil, i.tooFewSeats()
	}
	d, id, err := b.withUser(now, u, c.User, c.Code, c.By)
	if err != nil {
		return nil, err
	}
	s := i.place(id, now, c.By)
	e := b.entry(now, c.By)
	e.Seat = &SeatFact{Seat: s}
	d.Entries = append(d.Entries, e)
	b.chain(d)
	return d, nil
}

// withUser begins a decision that needs a user, who is made with it if need be.
func (b *Book) withUser(now capability.Time, u *User, id UserID, code capability.Digest, by string) (*Decision, UserID, error) {
	if u != nil {
		return &Decision{}, u.ID, nil
	}
	e, err := b.addUser(now, id, false, code, by)
	if err != nil {
		return nil, UserID{}, err
	}
	return &Decision{Entries: []*Entry{e}}, id, nil
}

// chain makes each entry of a decision name the one before.
func (b *Book) chain(d *Decision) {
	before := b.head
	for _, e := range d.Entries {
		e.Before = before
		before = e.Hash(b.codec)
	}
}

func (c UnassignSeat) decide(b *Book, now capability.Time) (*Decision, error) {
	i, err := b.seatItem(c.ActivationID, Online)
	if err != nil {
		return nil, err
	}
	mine := i.seatsOf(c.User)
	if len(mine) == 0 {
		return nil, capability.Refuse(capability.ErrNoUser, c.User.Name, "no seat of %s is assigned to this user", i.ActivationID)
	}
	s := mine[len(mine)-1]
	if err := i.vacant(s.User, now); err != nil {
		return nil, err
	}
	e := b.entry(now, c.By)
	e.Seat = &SeatFact{Seat: *s, Free: true}
	return &Decision{Entries: []*Entry{e}}, nil
}

// vacant says why a user cannot do with one seat less: sessions run, or may still run, that need it.
func (i *item) vacant(user UserID, now capability.Time) error {
	running, last := 0, (*Session)(nil)
	for _, s := range i.sessions {
		if s.User == user && s.Through > now {
			if running++; last == nil || s.Through > last.Through {
				last = s
			}
		}
	}
	if running == 0 || running < len(i.seatsOf(user)) {
		return nil
	}
	return &capability.Refusal{Denial: capability.Denial{Code: capability.ErrInUse, Subject: user.Name, Until: last.Through, Detail: last.where()}}
}

// seatsOf are the seats of a user, by number.
func (i *item) seatsOf(user UserID) (list []*Seat) {
	for _, s := range i.seats {
		if s.User.folded() == user.folded() {
			list = append(list, s)
		}
	}
	return list
}

// seatOfWhole is an offline seat of a user of an item, or of what was merged into it.
func (i *item) seatOfWhole(user UserID) *Seat {
	for _, i := range i.whole() {
		if list := i.seatsOf(user); len(list) > 0 {
			return list[0]
		}
	}
	return nil
}

// seatOnWhole is the seat of an item, or of what was merged into it, whose copy a machine has.
func (i *item) seatOnWhole(h hostid.ID) *Seat {
	for _, i := range i.whole() {
		if s := i.seatOn(h); s != nil {
			return s
		}
	}
	return nil
}

// sharedSeat is a seat of an item whose user has one of another item too, or nil.
func (i *item) sharedSeat(o *item) *Seat {
	for _, i := range i.whole() {
		for _, s := range i.seats {
			if o.seatOfWhole(s.User) != nil {
				return s
			}
		}
	}
	return nil
}

// sharedMachine is a seat of an item on a machine that has one of another item too, or nil.
func (i *item) sharedMachine(o *item) *Seat {
	for _, i := range i.whole() {
		for _, s := range i.seats {
			if o.seatOnWhole(s.Host) != nil {
				return s
			}
		}
	}
	return nil
}

// seatOn is the seat whose copy a machine has.
func (i *item) seatOn(h hostid.ID) *Seat {
	for _, s := range i.seats {
		if s.Host == h && h != (hostid.ID{}) {
			return s
		}
	}
	return nil
}

// seatOf is a seat of a user anywhere.
func (b *Book) seatOf(user UserID) *Seat {
	for _, i := range b.items {
		if list := i.seatsOf(user); len(list) > 0 {
			return list[0]
		}
	}
	return nil
}

func (c WithdrawSeat) decide(b *Book, now capability.Time) (*Decision, error) {
	i, err := b.seatItem(c.ActivationID, Offline)
	if err != nil {
		return nil, err
	}
	mine := i.seatsOf(c.User)
	if len(mine) == 0 {
		return nil, capability.Refuse(capability.ErrNoUser, c.User.Name, "no seat of %s is assigned to this user", i.ActivationID)
	}
	s := *mine[0]
	if _, asked := b.deviceOf[s.Host].mapping(i.ActivationID); s.Withdrawn != 0 && asked {
		return nil, capability.Refuse(capability.ErrSeatElsewhere, c.User.Name, "seat %d was asked back %s already: %s", s.Number, s.Withdrawn, b.seatWhere(&s))
	}
	if s.Serial == 0 {
		return Unmap{Device: s.Host, ActivationID: i.ActivationID, By: c.By}.decide(b, now)
	}
	d, err := Map{Device: s.Host, ActivationID: i.ActivationID, By: c.By}.decide(b, now)
	if err != nil {
		return nil, err
	}
	if back := b.resumed(now, i, s.Host, c.By); back != nil { // in books of before, that kept it withdrawn when it was not asked for any more
		d.Entries = append([]*Entry{back}, d.Entries...)
	}
	s.Withdrawn, s.WithdrawnBy = now, c.By
	e := b.entry(now, c.By)
	e.Seat = &SeatFact{Seat: s}
	d.Entries = append(d.Entries, e)
	b.chain(d)
	return d, nil
}

// resumed is the entry that takes a withdrawal back, because the seat is its machine's again; nil where it was not withdrawn.
func (b *Book) resumed(now capability.Time, i *item, h hostid.ID, by string) *Entry {
	s := i.seatOn(h)
	if s == nil || s.Withdrawn == 0 {
		return nil
	}
	back := *s
	back.Withdrawn, back.WithdrawnBy = 0, ""
	e := b.entry(now, by)
	e.Seat = &SeatFact{Seat: back}
	return e
}

// seatWhere says where an offline seat is, and since when.
func (b *Book) seatWhere(s *Seat) string {
	name := s.Host.Short()
	if h := b.byKey[s.Host]; h != nil && h.Alias != "" {
		name = fmt.Sprintf("%s %q", name, h.Alias)
	}
	return fmt.Sprintf("it is on %s since %s", name, s.Assigned)
}

// seatInTheWay says why copies of an item cannot be ordered to a machine: it would have the seats of two users.
func (b *Book) seatInTheWay(i *item, to hostid.ID) *capability.Refusal {
	if b.kindOf(i) != FixedUser {
		return nil
	}
	if s := i.seatOnWhole(to); s != nil {
		return capability.Refuse(capability.ErrSeatElsewhere, s.User.Name, "%s has seat %d of %s already, and a machine has the seat of one user", to.Short(), s.Number, i.ActivationID)
	}
	if o := b.ordered(to, i.ActivationID); o != nil {
		return capability.Refuse(capability.ErrSeatElsewhere, string(i.ActivationID), "%s", o.inTheWay())
	}
	return nil
}

// SeatView is a seat with what people want to know of it.
type SeatView struct {
	Seat
	State   SeatState `json:"state"`
	Alias   string    `json:"alias,omitempty"`   // of its machine
	Product string    `json:"product"`           // of its item
	Warning string    `json:"warning,omitempty"` // its machine is no workplace of a person
}

// Seats are those of an item that belong to somebody, by number.
func (b *Book) Seats(id capability.ActivationID) []SeatView {
	list := []SeatView{}
	i := b.byID[id]
	if i == nil {
		return list
	}
	for _, s := range i.seats {
		v := SeatView{Seat: *s, State: s.State(), Product: i.Product}
		if h := b.byKey[s.Host]; h != nil {
			v.Alias = h.Alias
			if n := len(h.Appearances); n > 0 && h.Appearances[n-1].Platform != "" {
				v.Warning = automated(h.Appearances[n-1].Platform)
			}
		}
		list = append(list, v)
	}
	return list
}

// automated is the warning about a fixed seat where programs run by themselves.
func automated(platform string) string {
	return "a seat of the kind " + FixedUser.String() + " is for a person, and this machine says it is " + platform + ": floating seats are for virtual machines, containers and builds"
}
