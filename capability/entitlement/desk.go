package entitlement

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Desk is what one run of the back office heard of sessions and did not write: when each was told to stop, and when it was last used. A new Desk knows nothing, and nothing is lost with an old one but
// time: until the book's promise ends, a session counts. It belongs to the goroutine of its book.
type Desk struct {
	heard map[SessionID]presence
}

type presence struct {
	runs capability.Time // what its device was told last
	used capability.Time
}

// NewDesk is one that has heard nothing.
func NewDesk() *Desk { return &Desk{heard: map[SessionID]presence{}} }

// Told keeps what a device was told, after the entries of the decision are durable.
func (d *Desk) Told(g *Granted) { d.heard[g.Session.ID] = presence{g.Runs, g.Session.Used} }

// Take completes the command with what the desk knows of the sessions of its item.
func (d *Desk) Take(b *Book, c TakeSession, now capability.Time) TakeSession {
	c.Lapsed, c.Runs = d.Lapsed(b, c.ActivationID, now), map[SessionID]capability.Time{}
	if i := b.byID[c.ActivationID]; i != nil {
		for _, s := range i.sessions {
			if p, ok := d.heard[s.ID]; ok {
				c.Runs[s.ID] = p.runs
			}
		}
	}
	return c
}

// Disconnect completes the command with when the session stops, as its device was told last.
func (d *Desk) Disconnect(c Disconnect) Disconnect {
	c.Runs = d.heard[c.ID].runs
	return c
}

// Lapsed are the sessions of an item whose products have stopped, by what they were told. It forgets those that the book has forgotten.
func (d *Desk) Lapsed(b *Book, id capability.ActivationID, now capability.Time) (ids []SessionID) {
	i := b.byID[id]
	if i == nil {
		return nil
	}
	for _, s := range i.sessions {
		if p, ok := d.heard[s.ID]; ok && p.runs <= now {
			ids = append(ids, s.ID)
		}
	}
	for id := range d.heard {
		if b.sessionOf[id] == nil {
			delete(d.heard, id)
		}
	}
	return ids
}

// Sessions are the book's, corrected by what was heard since: who has stopped is left out.
func (d *Desk) Sessions(b *Book, id capability.ActivationID, now capability.Time) []SessionView {
	list := slices.DeleteFunc(b.Sessions(id, now), func(v SessionView) bool {
		p, ok := d.heard[v.ID]
		return ok && p.runs <= now
	})
	for n := range list {
		if p, ok := d.heard[list[n].ID]; ok {
			list[n].Runs, list[n].Used = min(p.runs, list[n].Runs), max(p.used, list[n].Used)
			list[n].Idle = capability.Seconds(max(now-list[n].Used, 0))
		}
	}
	slices.SortStableFunc(list, func(a, b SessionView) int { return cmp.Compare(b.Idle, a.Idle) })
	return list
}
