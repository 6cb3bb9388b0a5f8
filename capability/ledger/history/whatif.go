package history

import (
	"maps"
	"math"

	"github.com/leasehold/leasehold/capability"
)

// WhatIf says what would have been refused with another count.
type WhatIf struct {
	From, Until capability.Time // what was looked at
	Count       uint64
	Refused     uint64 // lines that were refused because all was in use
	Lost        uint64 // grants that would have been refused with this count
	Won         uint64 // of what was refused, lines that would have been served
}

// WhatIf replays the time asked about as if a feature had so many units, and everybody had asked as they did. Who would have been refused a unit gives none back later. Who was refused and would have been served
// has it until the next time that the same device was served or gave back something of the feature, or for one lease, whichever is sooner; how long it would really have been held nobody knows.
func (h *History) WhatIf(q Query, count uint64, lease capability.Seconds) WhatIf {
	q = h.clip(q, h.Detailed())
	out := WhatIf{From: q.From, Until: max(q.From, q.Until), Count: count}
	f := h.features[q.Feature]
	if f == nil {
		return out
	}
	r := replay{count: count, missing: map[uint32]uint64{}, lent: map[uint32]loan{}, soonest: forever}
	before := maps.Clone(f.before)
	if before == nil {
		before = map[uint32]uint64{}
	}
	begun := false
	begin := func() { // what was held when the time began is held with any count, as a smaller one takes nothing away
		if !begun {
			begun = true
			for _, units := range before {
				r.used += units
			}
		}
	}
	for _, d := range f.days {
		if d.changes == nil {
			continue
		}
		d.read(func(c one) {
			switch {
			case c.at >= q.Until:
			case c.at >= q.From:
				begin()
				r.step(c, lease, &out)
			case c.kind == more:
				before[c.who] += c.units
			case c.kind == less:
				before[c.who] -= c.units
			}
		})
	}
	return out
}

// replay is what would be in use.
type replay struct {
	count, used uint64
	missing     map[uint32]uint64 // what a holder would not have been given
	lent        map[uint32]loan   // what a holder would have, and was refused
	soonest     capability.Time   // that one of them ends, or sooner
}

const forever capability.Time = math.MaxInt64

type loan struct {
	units uint64
	until capability.Time
}

func (r *replay) step(c one, lease capability.Seconds, out *WhatIf) {
	if r.soonest <= c.at {
		r.soonest = forever
		for who, l := range r.lent {
			if l.until <= c.at {
				r.end(who)
			} else {
				r.soonest = min(r.soonest, l.until)
			}
		}
	}
	switch c.kind {
	case more:
		r.end(c.who)
		if r.used+c.units > r.count {
			r.missing[c.who] += c.units
			out.Lost++
			return
		}
		r.used += c.units
	case less:
		r.end(c.who)
		gone := min(r.missing[c.who], c.units)
		if r.missing[c.who] -= gone; r.missing[c.who] == 0 {
			delete(r.missing, c.who)
		}
		r.used -= min(r.used, c.units-gone)
	case refused:
		if c.code.Entry().Exit != capability.ExitNoSeat {
			return
		}
		out.Refused++
		r.end(c.who)
		if r.used+c.units <= r.count {
			out.Won++
			r.used += c.units
			r.lent[c.who] = loan{c.units, c.at.Add(lease)}
			r.soonest = min(r.soonest, c.at.Add(lease))
		}
	}
}

func (r *replay) end(who uint32) {
	if len(r.lent) == 0 {
		return
	}
	r.used -= min(r.used, r.lent[who].units)
	delete(r.lent, who)
}
