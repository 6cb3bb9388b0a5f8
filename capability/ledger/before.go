package ledger

import (
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What is metered is used up for good, so a repair must not begin it anew. The first response of a trusted storage says what the one before had counted, as
// far as the back office had heard, and that is booked on a row of its own: no device has it, no report lowers it and no undo takes it back. A device that
// shows by a receipt what it had of it takes that over, and counts on from there.

// BeforeRepair is the name, for people, of what an earlier trusted storage had counted.
const BeforeRepair = "before the repair"

// newBefore is that row. It comes after all devices.
func newBefore() *row { return &row{sequence: math.MaxUint64, who: Who{Alias: BeforeRepair}} }

// bookBefore books what the items of a first response bring.
func (l *Ledger) bookBefore(items []capability.LineItem) {
	for _, i := range items {
		if i.UsedBefore == 0 {
			continue
		}
		it, over := l.find(i.ID()), uint32(0)
		if !i.Uncounted && i.UsedBefore > i.Count {
			over = min(i.UsedBefore-i.Count, i.Overdraft)
		}
		l.bookFor(it.slices[inDefault], i.UsedBefore-over)
		l.bookFor(it.slices[inOverdraft], over)
	}
	l.order(l.before)
}

func (l *Ledger) bookFor(sl *slice, n uint32) {
	if n == 0 {
		return
	}
	s := &lease{row: l.before, slice: sl, count: n, end: forever, told: l.now.ends(sl.item, forever)}
	l.before.leases = append(l.before.leases, s)
	l.book(s)
}

// restoreBefore reads the row from a snapshot.
func (l *Ledger) restoreBefore(parts []leasePart) error {
	l.before.id = l.applied.For
	for _, p := range parts {
		if p.Item >= uint64(len(l.items)) || p.Slice > inOverdraft || p.End != forever || p.Dropped {
			return corrupt("%d of item %d were used before the repair, and there are %d items", p.Count, p.Item, len(l.items))
		}
		s := &lease{row: l.before, slice: l.items[p.Item].slices[p.Slice], count: p.Count, end: p.End, told: p.Told}
		l.before.leases = append(l.before.leases, s)
		l.book(s)
	}
	return nil
}

// checkBefore counts the leases of the row.
func (l *Ledger) checkBefore(used map[*slice]uint64) error {
	if r := l.before; len(r.reports)+len(r.waits) > 0 || r.serial != 0 || r.who != newBefore().who || len(r.leases) > 0 && r.id != l.applied.For {
		return corrupt("what was used before the repair is %s, serial %d", r.id, r.serial)
	}
	for i, s := range l.before.leases {
		if s.row != l.before || s.count == 0 || s.end != forever || s.told <= 0 || !s.slice.item.Metered || i > 0 && compareLeases(l.before.leases[i-1].lease(), s.lease()) >= 0 {
			return corrupt("%d of %s were used before the repair", s.count, s.slice.item.ID())
		}
		used[s.slice] += uint64(s.count)
	}
	return nil
}

// claim makes free for the request what its receipt proves to be the device's of what was used before the repair. A device that has used any of the item since
// has made its claim, or counts anew.
func (s *serving) claim() {
	if s.receipt == nil {
		return
	}
	rights := slices.Clone(s.receipt.Rights)
	for _, p := range s.l.before.leases {
		it := p.slice.item
		if p.slice.source.Overdraft || slices.ContainsFunc(s.held, func(h *lease) bool { return h.slice.item == it }) {
			continue
		}
		if n := s.spend(rights, it, uint64(p.count)); n > 0 {
			s.change.add(p.slice, -int64(n))
			s.claims = append(s.claims, Booking{Item: uint64(it.place), Count: n})
		}
	}
}

// claimed gives back what the request did not take of its claims, and says what it took.
func (s *serving) claimed() (out []Booking) {
	for _, c := range s.claims {
		it, taken := s.l.items[c.Item], uint64(0)
		for _, g := range s.grants {
			if g.slice.item == it && !g.slice.source.Overdraft {
				taken += uint64(g.count)
			}
		}
		taken = min(taken, c.Count)
		s.change.add(it.slices[inDefault], int64(c.Count-taken))
		if c.Count = taken; taken > 0 {
			out = append(out, c)
			s.used = s.receipt.Serial
		}
	}
	return out
}

// applyClaims moves to a device what it had before the repair; the leases of the entry hold it.
func (l *Ledger) applyClaims(f *Served, r *row) error {
	for i, c := range f.Claimed {
		if c.Item >= uint64(len(l.items)) || i > 0 && f.Claimed[i-1].Item >= c.Item || f.Receipt == 0 {
			return corrupt("a claim of %d of item %d by receipt %d", c.Count, c.Item, f.Receipt)
		}
		it := l.items[c.Item]
		var had *lease
		for _, s := range l.before.leases {
			if s.slice == it.slices[inDefault] {
				had = s
			}
		}
		var takes uint64
		for _, n := range f.Leases {
			if n.Item == it.ID() && !n.Source.Overdraft {
				takes += uint64(n.Count)
			}
		}
		switch {
		case had == nil || c.Count == 0 || c.Count > uint64(had.count) || c.Count > takes:
			return corrupt("a claim of %d of %s, of which %d are taken", c.Count, it.ID(), takes)
		case slices.ContainsFunc(r.leases, func(s *lease) bool { return s.slice.item == it }):
			return corrupt("a claim of %s by %s, which has some", it.ID(), r.id)
		case c.Count == uint64(had.count):
			l.end(had)
		default:
			l.count(had, had.slice.used-c.Count)
			had.count -= uint32(c.Count)
		}
	}
	return nil
}

// Metered is what is used of each metered item, by all devices together, by feature and activation ID; what is not used is not in it.
func (l *Ledger) Metered() (out []capability.Meter) {
	for _, it := range l.items {
		if n := it.used + it.slices[inOverdraft].used; it.Metered && !it.cut && n > 0 {
			out = append(out, capability.Meter{ActivationID: it.ActivationID, Feature: it.Feature, Count: clip(min(n, capability.MaxCount))})
		}
	}
	return out
}
