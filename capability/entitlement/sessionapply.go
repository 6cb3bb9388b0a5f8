package entitlement

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What sessions become in the book, and what must be so whatever was decided.

// SessionFact is the fact that sessions are so from now on, and others ended.
type SessionFact struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Put          []Session               `cbor:"2,keyasint,omitempty" json:"put,omitempty"`   // at most two: one that is taken, one whose seat it takes over
	Ended        []SessionID             `cbor:"3,keyasint,omitempty" json:"ended,omitempty"` // released, or their product has stopped

	// Signed is how many answers that give a seat the signing key signed since the last entry that said so, with the one that this is for. Entries of before do not say it, and count nothing.
	Signed uint64 `cbor:"4,keyasint,omitzero" json:"signed,omitempty"`
}

func sortSessions(f *SessionFact) {
	slices.SortFunc(f.Put, func(a, b Session) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	slices.SortFunc(f.Ended, func(a, b SessionID) int { return bytes.Compare(a[:], b[:]) })
}

// applySession takes sessions in, and forgets those of the item whose promise is over.
func (b *Book) applySession(e *Entry) error {
	f := e.Session
	i := b.byID[f.ActivationID]
	if i == nil || b.mode(i) != Online || len(f.Put) > 2 || len(f.Ended) > maxEnded || len(f.Put)+len(f.Ended) == 0 || f.Signed > 0 && len(f.Put) == 0 {
		return fmt.Errorf("%d sessions of %s, which is not used online", len(f.Put)+len(f.Ended), f.ActivationID)
	}
	kept := make([]*Session, 0, len(i.sessions)+1)
	for _, s := range i.sessions {
		if s.Through > e.Time && !slices.Contains(f.Ended, s.ID) {
			kept = append(kept, s)
		}
	}
	for n, id := range f.Ended {
		if _, s := b.session(id, e.Time); s == nil || s.ActivationID != i.ActivationID || n > 0 && bytes.Compare(f.Ended[n-1][:], id[:]) >= 0 {
			return fmt.Errorf("session %s ends, and is none, or is out of order", id)
		}
	}
	for n := range f.Put {
		s := f.Put[n]
		if n > 0 && bytes.Compare(f.Put[n-1].ID[:], s.ID[:]) >= 0 {
			return fmt.Errorf("session %s is out of order", s.ID)
		}
		at := slices.IndexFunc(kept, func(o *Session) bool { return o.ID == s.ID })
		if err := b.sessionFact(i, &s, kept, at, e.Time); err != nil {
			return fmt.Errorf("session %s: %w", s.ID, err)
		}
		if at >= 0 {
			kept[at] = &s
		} else {
			kept = append(kept, &s)
		}
	}
	slices.SortFunc(kept, func(a, b *Session) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	if err := b.seated(i, kept, f.Put); err != nil {
		return err
	}
	fresh := map[SessionID]bool{}
	for _, s := range f.Put {
		fresh[s.ID] = b.sessionOf[s.ID] == nil
	}
	for _, s := range i.sessions {
		delete(b.sessionOf, s.ID)
	}
	for _, s := range kept {
		b.sessionOf[s.ID] = i
	}
	i.sessions = kept
	if b.settle(i); f.Signed > 0 {
		b.tally(e.Time, "", f.Signed)
		for _, s := range f.Put {
			if fresh[s.ID] {
				b.tally(e.Time, i.Product, 1)
			}
		}
	}
	return nil
}

// sessionFact says why a session cannot be so. at is where it was in kept, below zero: it is new.
func (b *Book) sessionFact(i *item, s *Session, kept []*Session, at int, now capability.Time) error {
	u := b.user(s.User)
	if s.ActivationID != i.ActivationID || u == nil || u.ID != s.User || s.Device == (capability.Digest{}) || s.ID == (SessionID{}) || s.Used > now || s.Through < now || (s.Machine != "" && b.kindOf(i) != Floating) {
		return fmt.Errorf("it is of another item, of nobody, or over before it begins")
	}
	if at < 0 {
		if b.sessionOf[s.ID] != nil || s.Taken != now || s.Ended != 0 || s.Over {
			return fmt.Errorf("it is new, and has a past")
		}
		if slices.ContainsFunc(kept, func(o *Session) bool { return o.Device == s.Device && o.User == s.User }) {
			return fmt.Errorf("its device has one already")
		}
		return nil
	}
	was := *kept[at]
	if was.Ended != 0 && s.Through > was.Through {
		return fmt.Errorf("it was disconnected, and is renewed")
	}
	if s.Ended != 0 && s.Through > was.Through || was.Ended != 0 && s.Ended != was.Ended || was.Over && !s.Over || s.Over && s.Ended == 0 {
		return fmt.Errorf("it ends later than it was promised, or ends twice")
	}
	was.Used, was.Through, was.Ended, was.EndedBy, was.Over = s.Used, s.Through, s.Ended, s.EndedBy, s.Over
	if *s != was {
		return fmt.Errorf("it becomes another one")
	}
	return nil
}

// seated asserts that sessions which begin have a seat each, and that of a user and an item one at most runs on beside its seat.
func (b *Book) seated(i *item, kept []*Session, put []Session) error {
	for _, s := range put {
		if s.Taken == 0 || s.Over || b.sessionOf[s.ID] != nil {
			continue
		}
		n, most := 0, int(i.room())
		for _, o := range kept {
			if !o.Over && (b.kindOf(i) == Floating || o.User == s.User) {
				n++
			}
		}
		if b.kindOf(i) == FixedUser {
			most = len(i.seatsOf(s.User))
		} else if !b.inPool(i, s.User) {
			return fmt.Errorf("%s is not in the pool", s.User)
		}
		if n > most {
			return fmt.Errorf("%d sessions of %s on %d seats", n, i.ActivationID, most)
		}
	}
	over := map[UserID]bool{}
	for _, s := range kept {
		if s.Over && over[s.User] {
			return fmt.Errorf("%s took over two sessions of %s, and both may still run", s.User, i.ActivationID)
		}
		over[s.User] = over[s.User] || s.Over
	}
	return nil
}

// checkSessions says whether the sessions of an item hold: as many as were promised at most, each of somebody.
func (b *Book) checkSessions(i *item) error {
	over := map[UserID]bool{}
	for n, s := range i.sessions {
		u := b.user(s.User)
		if n > 0 && bytes.Compare(i.sessions[n-1].ID[:], s.ID[:]) >= 0 || b.sessionOf[s.ID] != i || s.ActivationID != i.ActivationID || u == nil || u.ID != s.User || b.mode(i) != Online {
			return fmt.Errorf("session %s is out of order, of nobody, or of an item that is used offline", s.ID)
		}
		if s.Over && (over[s.User] || s.Ended == 0) {
			return fmt.Errorf("session %s was taken over beside another one, or is renewed", s.ID)
		}
		over[s.User] = over[s.User] || s.Over
	}
	return nil
}
