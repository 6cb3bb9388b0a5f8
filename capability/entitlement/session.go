package entitlement

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A session is the use of one seat of an online item on one device. Its device renews it; what it was told last is how long its product runs: to the end of a lease, or as long after the last renewal as
// the license model tolerates a broken link.
//
// A renewal is not an entry each. The book promises of every session a moment Through, the latest at which its product may still run, some leases ahead of what its device was told; a renewal within
// that is told and not written, and only one beyond it moves the promise, by an entry that is durable first. So no device was ever told more than the book knows, and after a crash, when what was told
// since is forgotten, each session counts until its promise ends, or until its device or its user comes back. Who knows better, because it heard the renewals, ends sessions early (Desk).

// SessionID names a session; it is drawn by the caller.
type SessionID [16]byte

func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes JSON show it in hexadecimal digits.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ParseSessionID reads what String writes.
func ParseSessionID(s string) (id SessionID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is no session: want %d hexadecimal digits", s, 2*len(id))
	}
	return SessionID(b), nil
}

// Session is one as the book knows it.
type Session struct {
	ID           SessionID               `cbor:"1,keyasint,omitzero" json:"id"`
	ActivationID capability.ActivationID `cbor:"2,keyasint,omitzero" json:"activationId"`
	User         UserID                  `cbor:"3,keyasint,omitzero" json:"user"`
	Device       capability.Digest       `cbor:"4,keyasint,omitzero" json:"device"`            // of the key of the device: who has it has the session
	Machine      string                  `cbor:"5,keyasint,omitzero" json:"machine,omitempty"` // its name, of floating items only, for who has to end one
	Taken        capability.Time         `cbor:"6,keyasint,omitzero" json:"taken"`
	Used         capability.Time         `cbor:"7,keyasint,omitzero" json:"used"`                 // when somebody last worked with it, as of its last entry
	Through      capability.Time         `cbor:"8,keyasint,omitzero" json:"through"`              // its product has stopped by then, unless the book says another time first
	Ended        capability.Time         `cbor:"9,keyasint,omitzero" json:"ended,omitempty"`      // from when on it is not renewed
	EndedBy      string                  `cbor:"10,keyasint,omitzero" json:"endedBy,omitempty"`   // who disconnected it
	Over         bool                    `cbor:"11,keyasint,omitzero" json:"over,omitempty"`      // its user took its seat over to another device, and it may run on until Through
	Automated    bool                    `cbor:"12,keyasint,omitzero" json:"automated,omitempty"` // it runs in a virtual machine, a container or a build
}

// where says where a session runs, as far as that is known.
func (s *Session) where() string {
	if s.Machine == "" {
		return fmt.Sprintf("a session since %s", s.Taken)
	}
	return fmt.Sprintf("a session on %s since %s", s.Machine, s.Taken)
}

const (
	// sessionSlack, in leases, is how far the promise of the book is ahead of what a device is told: one entry in so many leases, and as much longer a seat stays taken after a crash.
	sessionSlack = 4
	// maxEnded sessions in one entry.
	maxEnded = 256
)

// RenewSession moves the end of one. It decides no entry where the book's promise covers it.
type RenewSession struct {
	ID     SessionID
	Device capability.Digest
	Idle   capability.Seconds // for how long nobody has worked with it
	Signed uint64             // answers that give a seat, with the one to this, since the last entry that counts some
	By     string
}

// EndSession is the device's own word that its product has stopped.
type EndSession struct {
	ID     SessionID
	Device capability.Digest
	By     string
}

// Disconnect ends the renewals of a session: its seat is free when its device has heard it, or its product has stopped by itself.
type Disconnect struct {
	ID   SessionID
	Runs capability.Time // when it stops, as the caller knows; zero: as the book promises
	By   string
}

// EndLapsed ends sessions of an item whose products have stopped, as the caller heard.
type EndLapsed struct {
	ActivationID capability.ActivationID
	IDs          []SessionID
	By           string
}

// session is one that may run at that moment.
func (b *Book) session(id SessionID, now capability.Time) (*item, *Session) {
	if i := b.sessionOf[id]; i != nil {
		for _, s := range i.sessions {
			if s.ID == id && s.Through > now {
				return i, s
			}
		}
	}
	return nil, nil
}

// told renews a session: with an entry where the promise has to move, without one where it covers what is told.
func (b *Book) told(now capability.Time, i *item, s Session, attached bool, signed uint64, by string) *Decision {
	through := s.Through
	g := b.grant(i, s, now)
	g.Attached = attached
	d := &Decision{Session: g}
	if g.Session.Through > through {
		e := b.entry(now, by)
		e.Session = &SessionFact{ActivationID: i.ActivationID, Put: []Session{g.Session}, Signed: signed}
		d.Entries = []*Entry{e}
	}
	return d
}

// own is the session of a device, or why it has none.
func (b *Book) own(id SessionID, device capability.Digest, now capability.Time) (*item, *Session, error) {
	i, s := b.session(id, now)
	if s == nil || s.Device != device {
		return nil, nil, capability.Refuse(capability.ErrSessionEnded, id.String(), "no session of this device has that name any more")
	}
	return i, s, nil
}

func (c RenewSession) decide(b *Book, now capability.Time) (*Decision, error) {
	i, s, err := b.own(c.ID, c.Device, now)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Over:
		return nil, capability.Refuse(capability.ErrSessionEnded, s.User.Name, "its user took the seat over on another machine %s", s.Ended)
	case s.Ended != 0:
		return nil, capability.Refuse(capability.ErrSessionEnded, s.User.Name, "it was disconnected %s by %s", s.Ended, s.EndedBy)
	}
	if _, err := b.takes(i, s.User, now, false); err != nil {
		return nil, err
	}
	renewed := *s
	renewed.Used = max(s.Used, now.Add(-max(c.Idle, 0)))
	return b.told(now, i, renewed, true, c.Signed, c.By), nil
}

func (c EndSession) decide(b *Book, now capability.Time) (*Decision, error) {
	i, s, err := b.own(c.ID, c.Device, now)
	if err != nil {
		return nil, err
	}
	return b.end(now, i, c.By, s.ID), nil
}

func (b *Book) end(now capability.Time, i *item, by string, ids ...SessionID) *Decision {
	f := &SessionFact{ActivationID: i.ActivationID, Ended: ids}
	sortSessions(f)
	e := b.entry(now, by)
	e.Session = f
	return &Decision{Entries: []*Entry{e}}
}

func (c Disconnect) decide(b *Book, now capability.Time) (*Decision, error) {
	i, s := b.session(c.ID, now)
	if s == nil {
		return nil, capability.Refuse(capability.ErrSessionEnded, c.ID.String(), "no session has that name any more")
	}
	if s.Ended != 0 {
		return nil, capability.Refuse(capability.ErrSessionEnded, s.User.Name, "it was disconnected %s, and has ended %s at the latest", s.Ended, s.Through)
	}
	ended := *s
	ended.Ended, ended.EndedBy = now, cmp.Or(c.By, "an administrator")
	if c.Runs != 0 {
		ended.Through = max(min(c.Runs, s.Through), now)
	}
	e := b.entry(now, c.By)
	e.Session = &SessionFact{ActivationID: i.ActivationID, Put: []Session{ended}}
	return &Decision{Entries: []*Entry{e}}, nil
}

func (c EndLapsed) decide(b *Book, now capability.Time) (*Decision, error) {
	i := b.byID[c.ActivationID]
	var ids []SessionID
	for _, id := range c.IDs[:min(len(c.IDs), maxEnded)] {
		if of, s := b.session(id, now); s != nil && of == i && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return &Decision{}, nil
	}
	return b.end(now, i, c.By, ids...), nil
}

// SessionView is a session with what people want to know of it.
type SessionView struct {
	Session
	Product string             `json:"product"`
	Idle    capability.Seconds `json:"idle"`
	Runs    capability.Time    `json:"runs"` // its product has stopped by then, unless it is renewed
}

// Sessions are those of an item that may run at the moment now, the longest idle first; of an empty ID those of all items.
func (b *Book) Sessions(id capability.ActivationID, now capability.Time) []SessionView {
	list, items := []SessionView{}, b.items
	if id != "" {
		items = nil
		if i := b.byID[id]; i != nil {
			items = []*item{i}
		}
	}
	for _, i := range items {
		for _, s := range i.sessions {
			if s.Through > now {
				list = append(list, SessionView{*s, i.Product, capability.Seconds(max(now-s.Used, 0)), s.Through})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b SessionView) int { return cmp.Compare(b.Idle, a.Idle) })
	return list
}
