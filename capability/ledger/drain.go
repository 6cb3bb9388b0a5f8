package ledger

import (
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// Only what nobody holds can be returned. A drain makes it free: from then on nobody is served anew what the return will take, and from its deadline on nobody is
// renewed it either, so that it comes free with the leases. What remains after the return is served as ever.

// MaxDrain is how far ahead the deadline of a drain may be: whoever wants to wait longer than a year can begin later.
const MaxDrain capability.Seconds = 366 * 24 * 60 * 60

// Drain begins a return, or changes one that has begun. The Return itself ends it.
type Drain struct {
	ActivationID capability.ActivationID
	Copies       uint32          // that will be returned; zero: all that are here
	Deadline     capability.Time // renewals go on until then
	By           string
}

// CancelDrain serves again what was to be returned. Without a drain it changes nothing.
type CancelDrain struct {
	ActivationID capability.ActivationID
	By           string
}

func (Drain) command()       {}
func (CancelDrain) command() {}

// Drained: so many copies are being returned from now on; none: no longer.
type Drained struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero"`
	Copies       uint32                  `cbor:"2,keyasint,omitzero"`
	Deadline     capability.Time         `cbor:"3,keyasint,omitzero"`
	By           string                  `cbor:"4,keyasint,omitzero"`
}

func (l *Ledger) drain(now Now, c Drain) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	if err := c.ActivationID.Validate(); err != nil {
		return Decision{}, malformed("activationId", "%v", err)
	}
	copies, err := l.returnable(c.ActivationID, c.Copies)
	if err != nil {
		return Decision{}, err
	}
	if d := l.drainOf(c.ActivationID); d != nil && d.Copies == copies && d.Deadline == c.Deadline {
		return Decision{}, nil
	}
	if c.Deadline <= now.Wall || c.Deadline > now.Wall.Add(MaxDrain) {
		return Decision{}, malformed("deadline", "%s where a time after %s and until %s is wanted", c.Deadline, now.Wall, now.Wall.Add(MaxDrain))
	}
	return l.decided(now, Entry{Drained: &Drained{c.ActivationID, copies, c.Deadline, c.By}}), nil
}

// returnable is the copies of an activation ID that a command names, all where it names none. The error is a *capability.Refusal.
func (l *Ledger) returnable(id capability.ActivationID, copies uint32) (uint32, error) {
	_, here := l.activation(id)
	switch {
	case !l.provisioned():
		return 0, capability.Refuse(l.absent(), string(id), "")
	case here == 0:
		return 0, capability.Refuse(capability.ErrNothingToReturn, string(id), "none is here")
	case copies > here:
		return 0, capability.Refuse(capability.ErrNothingToReturn, string(id), "%s where %d are here", capability.Counted(copies, "copy"), here)
	case copies == 0:
		return here, nil
	}
	return copies, nil
}

func (l *Ledger) cancelDrain(now Now, c CancelDrain) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	if l.drainOf(c.ActivationID) == nil {
		return Decision{}, nil
	}
	return l.decided(now, Entry{Drained: &Drained{ActivationID: c.ActivationID, By: c.By}}), nil
}

func (l *Ledger) applyDrained(f *Drained) error {
	_, here := l.activation(f.ActivationID)
	known := l.drainOf(f.ActivationID) != nil
	if f.Copies > here || f.Copies == 0 && (!known || f.Deadline != 0) || f.Copies > 0 && f.Deadline <= l.now.Wall {
		return corrupt("a drain of %d of %d copies of %s until %s", f.Copies, here, f.ActivationID, f.Deadline)
	}
	l.endDrains(func(d Drained) bool { return d.ActivationID == f.ActivationID })
	if f.Copies > 0 {
		l.drains = append(l.drains, *f)
		slices.SortFunc(l.drains, compareDrains)
	}
	return nil
}

func compareDrains(a, b Drained) int {
	return strings.Compare(string(a.ActivationID), string(b.ActivationID))
}

// endDrains takes out drains.
func (l *Ledger) endDrains(which func(Drained) bool) { l.drains = slices.DeleteFunc(l.drains, which) }

// drainOf is the drain of an activation ID, or nil.
func (l *Ledger) drainOf(id capability.ActivationID) *Drained {
	at, is := slices.BinarySearchFunc(l.drains, Drained{ActivationID: id}, compareDrains)
	if !is {
		return nil
	}
	return &l.drains[at]
}

// spare is what the drain of the slice's item lets the request take of it, and of all slices like it; drained is false where there is no drain. Until the
// deadline that is at least what the device had.
func (d *draft) spare(s *slice) (n uint64, drained bool) {
	if len(d.l.drains) == 0 {
		return 0, false
	}
	it := s.item
	dr := d.l.drainOf(it.ActivationID)
	if dr == nil {
		return 0, false
	}
	rest := less(it.LineItem, dr.Copies)
	switch {
	case rest.Copies > 0 && (it.Uncounted || s.source.Overdraft):
		return 0, false
	case rest.Copies > 0:
		n = uint64(max(0, int64(rest.Count)-d.inUse(it)))
	}
	if d.now.Wall >= dr.Deadline {
		return n, true
	}
	var own uint64
	like := func(o *slice) bool { return o.item == it && o.source.Overdraft == s.source.Overdraft }
	for _, h := range d.held {
		if like(h.slice) {
			own += uint64(h.count)
		}
	}
	for _, g := range d.grants {
		if like(g.slice) {
			own -= min(own, uint64(g.count))
		}
	}
	return max(n, own), true
}

// frees is what is free of each source, for a request that may take of all of them.
func (d *draft) frees(sources []*slice) []uint64 {
	type drain struct {
		item      *item
		overdraft bool
	}
	out := make([]uint64, len(sources))
	var taken map[drain]uint64
	for i, sl := range sources {
		out[i] = d.free(sl)
		if n, drained := d.spare(sl); drained {
			if taken == nil {
				taken = map[drain]uint64{}
			}
			k := drain{sl.item, sl.source.Overdraft}
			out[i] = min(out[i], n-min(n, taken[k]))
			taken[k] += out[i]
		}
	}
	return out
}

// drained says that a new lease of the item is of what is being returned. Leases beyond the deadline are judged with what others hold.
func (l *Ledger) drained(it *item, r *row, n Lease) bool {
	dr := l.drainOf(it.ActivationID)
	if dr == nil || l.now.Wall < dr.Deadline {
		return false
	}
	rest := less(it.LineItem, dr.Copies)
	if rest.Copies == 0 || it.Uncounted || n.Source.Overdraft {
		return rest.Copies == 0
	}
	others := it.used
	for _, s := range r.leases {
		if s.slice.item == it && !s.slice.source.Overdraft {
			others -= uint64(s.count)
		}
	}
	return others+uint64(n.Count) > uint64(rest.Count)
}

// Draining is a return that has begun, as people see it.
type Draining struct {
	ActivationID capability.ActivationID
	Copies       uint32
	Deadline     capability.Time
	By           string
	InTheWay     uint64              // units that must come free before the copies can be returned
	Holders      []capability.Holder // of its items, those that end first; at most capability.MaxHolders
	Last         capability.Time     // when the last lease of its items ends, if nothing is renewed; zero: there is none, or one has no end
}

// Drains is every return that has begun, by activation ID.
func (l *Ledger) Drains(now Now) []Draining {
	var out []Draining
	d := l.draft(now, nil, "")
	for _, dr := range l.drains {
		v := Draining{ActivationID: dr.ActivationID, Copies: dr.Copies, Deadline: dr.Deadline, By: dr.By}
		items, _ := l.activation(dr.ActivationID)
		var parts []*slice
		endless := false
		for _, it := range items {
			v.InTheWay += d.inTheWay(it, dr.Copies)
			parts = append(parts, it.slices...)
			for _, sl := range it.slices {
				for _, s := range sl.leases {
					v.Last = max(v.Last, now.ends(it, s.end))
					endless = endless || s.end == forever
				}
			}
		}
		if endless {
			v.Last = 0
		}
		_, v.Holders = d.holders(parts, capability.HoldersNames, capability.MaxFile)
		slices.SortStableFunc(v.Holders, func(a, b capability.Holder) int { return int(a.Expiry - b.Expiry) })
		out = append(out, v)
	}
	return out
}

// inTheWay is how many units of the item must come free before copies of it can be returned.
func (d *draft) inTheWay(it *item, copies uint32) uint64 {
	rest, used := less(it.LineItem, copies), d.inUse(it)
	switch {
	case rest.Copies == 0:
		return uint64(max(0, used+d.used(it.slices[inOverdraft])))
	case it.Uncounted:
		return 0
	}
	return uint64(max(0, used-int64(rest.Count)))
}
