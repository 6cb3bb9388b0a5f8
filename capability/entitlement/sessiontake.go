package entitlement

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Whoever asks for a session gets a free seat, one of their own that is on another machine, or a no.

// Granted is what a device is told of its session.
type Granted struct {
	Session  Session         `json:"session"`
	Until    capability.Time `json:"until"`    // the end of its lease: it should have been renewed by then
	Runs     capability.Time `json:"runs"`     // when its product stops if no renewal gets through: the end of the lease, or of what the license model tolerates
	Attached bool            `json:"attached"` // it was there already, and the device has it back
	Warning  string          `json:"warning,omitempty"`
}

// TakeSession gives a device of a user a seat of an online item. A device that has one for this user and item has it back at once.
type TakeSession struct {
	ID           SessionID // for a new one
	ActivationID capability.ActivationID
	User         UserID
	Device       capability.Digest
	Machine      string                        // name of the machine; kept of floating items only
	Platform     string                        // the virtual machine, container or build that it runs in; empty: none
	TakeOver     bool                          // the user proved to the caller who it is, and gives up the oldest of its own sessions for this one
	Lapsed       []SessionID                   // of the item, which have ended as the caller heard
	Runs         map[SessionID]capability.Time // what the caller knows of when sessions end, before their promise does
	By           string
}

// takes says why a user can take no session of an item, or cannot go on with one: that may be in the grace of its model.
func (b *Book) takes(i *item, id UserID, now capability.Time, fresh bool) (*User, error) {
	if no := b.closed(i); no != nil {
		return nil, no
	}
	switch {
	case b.mode(i) != Online || b.kindOf(i) == NodeLocked:
		return nil, capability.Refuse(capability.ErrMode, string(i.ActivationID), "it is used offline, on machines")
	case i.Expiry != 0 && (now >= b.ends(i) || fresh && now >= i.Expiry):
		return nil, capability.Refuse(capability.ErrBookExpired, string(i.ActivationID), "it expired %s", i.Expiry)
	case now < i.Start:
		return nil, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrNotStarted, Subject: string(i.ActivationID), Until: i.Start}}
	}
	u := b.user(id)
	switch {
	case u == nil:
		return nil, capability.Refuse(capability.ErrUnassigned, id.Name, "the license administrator of %s assigns seats of %s", i.Customer, i.Product)
	case u.Disabled:
		return nil, capability.Refuse(capability.ErrNoUser, u.ID.Name, "the user is disabled")
	case b.kindOf(i) == FixedUser && len(i.seatsOf(u.ID)) == 0:
		if n := len(i.seats); n > 0 {
			return nil, capability.Refuse(capability.ErrUnassigned, u.ID.Name, "%d of %d seats of %s are assigned, none to this user; the license administrator of %s assigns them", n, i.Copies, i.Product, i.Customer)
		}
		return nil, capability.Refuse(capability.ErrUnassigned, u.ID.Name, "no seat of %s is assigned yet; the license administrator of %s assigns them", i.Product, i.Customer)
	case b.kindOf(i) == Floating && !b.inPool(i, u.ID):
		return nil, capability.Refuse(capability.ErrUnassigned, u.ID.Name, "not in the pool of %s; the license administrator of %s decides who is", i.Product, i.Customer)
	}
	return u, nil
}

// grant is what a device is told at a moment, and the promise that covers it.
func (b *Book) grant(i *item, s Session, now capability.Time) *Granted {
	end := func(t capability.Time) capability.Time {
		if ends := b.ends(i); ends != 0 {
			return min(t, ends)
		}
		return t
	}
	g := &Granted{Until: end(now.Add(b.policy.Lease))}
	g.Runs = max(g.Until, end(now.Add(b.modelOf(i).Tolerance)))
	if s.Through < g.Runs {
		s.Through = end(g.Runs.Add(sessionSlack * b.policy.Lease))
	}
	if s.Automated && b.kindOf(i) == FixedUser {
		g.Warning = automated("a virtual machine, a container or a build")
	}
	g.Session = s
	return g
}

// most sessions that a user may have at once of an item, and what of them is in the way; those that are over count nothing.
func (b *Book) taken(i *item, u UserID, now capability.Time, gone func(SessionID) bool) (list []*Session, most int) {
	fixed := b.kindOf(i) == FixedUser
	for _, s := range i.sessions {
		if s.Through > now && !s.Over && !gone(s.ID) && (!fixed || s.User == u) {
			list = append(list, s)
		}
	}
	if fixed {
		return list, len(i.seatsOf(u))
	}
	return list, int(i.room())
}

func (c TakeSession) decide(b *Book, now capability.Time) (*Decision, error) {
	i := b.byID[c.ActivationID]
	if i == nil {
		return nil, capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "nobody can use it")
	}
	u, err := b.takes(i, c.User, now, true)
	if err != nil {
		return nil, err
	}
	if b.sessionOf[c.ID] != nil || c.ID == (SessionID{}) || c.Device == (capability.Digest{}) {
		return nil, &capability.Malformed{Field: "session", Cause: "its ID was used before, or it has no device"}
	}
	s := Session{ID: c.ID, ActivationID: i.ActivationID, User: u.ID, Device: c.Device, Taken: now, Used: now, Automated: c.Platform != ""}
	if b.kindOf(i) == Floating {
		s.Machine = c.Machine
		if err := capability.CheckText(c.Machine); err != nil {
			return nil, &capability.Malformed{Field: "machine", Cause: err.Error()}
		}
	}
	f := &SessionFact{ActivationID: i.ActivationID}
	for _, id := range c.Lapsed[:min(len(c.Lapsed), maxEnded-1)] {
		if _, old := b.session(id, now); old != nil && old.ActivationID == i.ActivationID && !slices.Contains(f.Ended, id) {
			f.Ended = append(f.Ended, id)
		}
	}
	gone := func(id SessionID) bool { return slices.Contains(f.Ended, id) }
	for _, old := range i.sessions {
		if old.Device != c.Device || old.User != u.ID || old.Through <= now || gone(old.ID) {
			continue
		}
		if old.Ended == 0 {
			back := *old
			back.Used = now
			return b.told(now, i, back, true, c.By), nil
		}
		f.Ended = append(f.Ended, old.ID) // the device that asks anew has heard that it was disconnected
	}
	list, most := b.taken(i, u.ID, now, gone)
	if len(list) >= most {
		over, err := b.takeover(i, u.ID, now, list, gone, &c)
		if err == nil && len(list) > most {
			err = &capability.Refusal{Denial: capability.Denial{Code: capability.ErrNoSeat, Subject: i.Product, Asked: 1, Total: uint32(most), Used: uint32(len(list))}}
		}
		if err != nil {
			return nil, err
		}
		f.Put = append(f.Put, over)
	}
	g := b.grant(i, s, now)
	f.Put = append(f.Put, g.Session)
	sortSessions(f)
	e := b.entry(now, c.By)
	e.Session = f
	return &Decision{Entries: []*Entry{e}, Session: g}, nil
}

// takeover is the session whose seat the user takes over, or why there is none: the oldest of its own. Of a user and an item one product may run on beside its seat, and not a second one; what is gone
// runs no more, also where the device that asks ran it itself.
func (b *Book) takeover(i *item, u UserID, now capability.Time, list []*Session, gone func(SessionID) bool, c *TakeSession) (Session, error) {
	var own, over *Session
	for _, s := range i.sessions {
		if s.User != u || s.Through <= now {
			continue
		}
		if s.Over && !gone(s.ID) {
			over = s
		} else if slices.Contains(list, s) && (own == nil || s.Taken < own.Taken) {
			own = s
		}
	}
	no := &capability.Refusal{Denial: capability.Denial{Code: capability.ErrNoSeat, Subject: i.Product, Asked: 1, Total: uint32(len(list)), Used: uint32(len(list))}}
	for _, s := range list {
		if ends := c.runs(s); no.Until == 0 || ends < no.Until {
			no.Until = ends
		}
	}
	switch {
	case own == nil:
		return Session{}, no
	case b.policy.WaitTakeover:
		no.Code, no.Detail = capability.ErrSessionElsewhere, own.where()
	case !c.TakeOver:
		no.Code, no.Detail = capability.ErrSessionElsewhere, own.where()+"; with a proof of who you are it can be taken over"
	case over != nil:
		no.Code, no.Detail, no.Until = capability.ErrSessionElsewhere, "one was taken over already, and may still run: "+over.where(), c.runs(over)
	default:
		taken := *own
		taken.Over, taken.Through = true, max(c.runs(own), now)
		if taken.Ended == 0 {
			taken.Ended = now
		}
		return taken, nil
	}
	return Session{}, no
}

// runs is when a session's product has stopped, as the caller or the book knows.
func (c *TakeSession) runs(s *Session) capability.Time {
	if t, ok := c.Runs[s.ID]; ok {
		return min(t, s.Through)
	}
	return s.Through
}
