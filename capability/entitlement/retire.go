package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A portal return takes a whole activation ID back from wherever it is: every response leaves its rights out from then on, and nothing of it is given any more. The copies stay counted as their
// machines' until each has proved that they are gone, or they were written off; then the ID is inactive, and the producer may entitle others in its place.

// Retired is the fact that an activation ID was taken back.
type Retired struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Final        bool                    `cbor:"2,keyasint,omitzero" json:"final,omitempty"` // what was merged into it and is obsolete stays so; entries of before made it inactive
}

// Retire takes an activation ID back.
type Retire struct {
	ActivationID capability.ActivationID
	By           string
}

func (c Retire) decide(b *Book, now capability.Time) (*Decision, error) {
	i := b.byID[c.ActivationID]
	if i == nil {
		return nil, capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "nothing is taken back")
	}
	no := func(format string, args ...any) (*Decision, error) {
		return nil, capability.Refuse(capability.ErrNoRetire, string(c.ActivationID), format, args...)
	}
	switch {
	case i.Life.Retired != 0:
		return no("it was taken back %s", i.Life.Retired)
	case i.Life.Stage != StageDeployed || i.Life.MergedTo != "":
		return no("it is %s", b.state(i, now))
	case b.modelOf(i).Kind == NodeLocked:
		return no("it is node-locked, and such rights leave only the machine that has them: return them there")
	case i.Metered:
		return no("it is metered, and what is used up of it only the machines know: return it there")
	}
	e := b.entry(now, c.By)
	e.Retire = &Retired{ActivationID: c.ActivationID, Final: true}
	return &Decision{Entries: []*Entry{e}}, nil
}

// applyRetire also ends the mappings and orders of the item: nobody is to have any of it. What was merged into it goes with it.
func (b *Book) applyRetire(e *Entry) error {
	i := b.byID[e.Retire.ActivationID]
	if i == nil || i.Life.Stage != StageDeployed || i.Life.MergedTo != "" || i.Metered || b.modelOf(i).Kind == NodeLocked {
		return fmt.Errorf("activation ID %s is taken back, and is not in the book, in use, or of a kind that comes back so", e.Retire.ActivationID)
	}
	for _, i := range i.whole() {
		if e.Retire.Final && i.Life.Stage == StageObsolete && i.used == 0 {
			continue
		}
		for _, d := range b.devices {
			b.unmap(d.ID, i.ActivationID)
		}
		for _, o := range b.running {
			if o.ActivationID == i.ActivationID {
				o.Ended = e.Time
			}
		}
		b.closeOrders()
		if i.Life.Retired = e.Time; !e.Retire.Final || i.Life.Stage != StageObsolete {
			i.Life.Stage = StageRetiring
		}
		b.settle(i)
	}
	return nil
}

// replaces says why an item cannot be entitled at the moment now in the place of a retired one, or nil.
func (b *Book) replaces(n *Item, now capability.Time) error {
	if n.Replaces == "" {
		return nil
	}
	i := b.byID[n.Replaces]
	switch {
	case i == nil:
		return capability.Refuse(capability.ErrUnknownID, string(n.Replaces), "it would be replaced")
	case i.Life.Retired == 0:
		return capability.Refuse(capability.ErrNoRetire, string(n.Replaces), "it is in use, and was not taken back")
	case slices.ContainsFunc(i.whole(), func(i *item) bool { return i.used > 0 }):
		return capability.Refuse(capability.ErrNoRetire, string(n.Replaces), "copies of it are on machines that have not proved that they are gone: %s", b.holdersWords(i))
	case i.runs(now) != nil:
		return capability.Refuse(capability.ErrNoRetire, string(n.Replaces), "%s by %s may run until %s", i.runs(now).where(), i.runs(now).User, i.runs(now).Through)
	case i.ties != nil && i.ties.replaced:
		return capability.Refuse(capability.ErrNoRetire, string(n.Replaces), "another activation ID took its place already")
	case n.Copies > i.Copies:
		return &capability.Refusal{Denial: capability.Denial{Code: capability.ErrTooFew, Subject: string(n.Replaces), Asked: n.Copies, Available: i.Copies, Total: i.Copies}}
	}
	return nil
}

// runs is a session of an item that may run at the moment now, or nil.
func (i *item) runs(now capability.Time) *Session {
	if at := slices.IndexFunc(i.sessions, func(s *Session) bool { return s.Through > now }); at >= 0 {
		return i.sessions[at]
	}
	return nil
}

// Orphan are copies on a machine that is to have none of them, and has not proved that they are gone.
type Orphan struct {
	Host         hostid.ID               `json:"host"`
	Alias        string                  `json:"alias,omitempty"`
	ActivationID capability.ActivationID `json:"activationId"`
	Copies       uint32                  `json:"copies"`
	Since        capability.Time         `json:"since"`               // taken back, or written off
	Told         uint64                  `json:"told,omitempty"`      // the response that left them out; zero: none was asked for since
	Confirmed    capability.Time         `json:"confirmed,omitempty"` // it has applied that, and what it lent of them may run
	WrittenOff   bool                    `json:"writtenOff,omitempty"`
}

// Orphans are all of them, machine by machine.
func (b *Book) Orphans() []Orphan {
	list := []Orphan{}
	for _, h := range b.hosts {
		for _, f := range h.Holds {
			i := b.byID[f.ActivationID]
			if i.Life.Retired == 0 {
				continue
			}
			o := Orphan{Host: h.Host, Alias: h.Alias, ActivationID: f.ActivationID, Copies: f.Copies, Since: i.Life.Retired}
			if out := h.leftOut(f.ActivationID); out != nil {
				o.Told, o.Confirmed = out.Serial, out.Confirmed
			}
			list = append(list, o)
		}
		for _, w := range h.Off {
			if w.Closed == 0 {
				list = append(list, Orphan{Host: h.Host, Alias: h.Alias, ActivationID: w.ActivationID, Copies: w.Copies - w.Returned, Since: w.Time, WrittenOff: true})
			}
		}
	}
	return list
}
