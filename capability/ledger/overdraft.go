package ledger

import (
	"slices"
)

// Overdraft is for what the counts do not cover. Counts that come back and are not missed by a share cover leases of it: they are booked over to the default
// pool, whoever holds them. A device sees nothing of that; it makes room in the overdraft for the next one.

// Booking moves units of overdraft leases of an item to its default pool: those that end first, and of leases that end together those of the device that asked first.
type Booking struct {
	_     struct{} `cbor:",toarray"`
	Item  uint64   // as in Part
	Count uint64
}

// overpaid says that leases of the overdraft could be of the default pool.
func (l *Ledger) overpaid(it *item) bool {
	rest := it.slices[inDefault]
	return l.coverable(it, int64(rest.count)-int64(rest.used), int64(it.used), int64(it.slices[inOverdraft].used)) > 0
}

// coverable is how much of the overdraft in use can be booked over to what is free: of an item that is being returned not what leaves with the return.
func (l *Ledger) coverable(it *item, free, used, over int64) int64 {
	if it.cut || it.Uncounted {
		return 0
	}
	if dr := l.drainOf(it.ActivationID); dr != nil {
		free = min(free, int64(less(it.LineItem, dr.Copies).Count)-used)
	}
	return min(free, over)
}

// bookings is what is free in the default pools of these items once the draft has settled, as far as their overdrafts are in use.
func (d *draft) bookings(items []*item) (out []Booking) {
	for _, it := range items {
		rest := it.slices[inDefault]
		if n := d.l.coverable(it, d.count(rest)-d.used(rest), d.inUse(it), d.used(it.slices[inOverdraft])); n > 0 {
			out = append(out, Booking{Item: uint64(it.place), Count: uint64(n)})
		}
	}
	slices.SortFunc(out, func(a, b Booking) int { return int(a.Item) - int(b.Item) })
	return out
}

// bookOver applies bookings. Which leases they mean is in the entries of old journals, and does not change.
func (l *Ledger) bookOver(booked []Booking) error {
	for i, b := range booked {
		if b.Item >= uint64(len(l.items)) || i > 0 && booked[i-1].Item >= b.Item {
			return corrupt("booking of item %d", b.Item)
		}
		it := l.items[b.Item]
		over, rest := it.slices[inOverdraft], it.slices[inDefault]
		if b.Count == 0 || b.Count > over.used || rest.used > rest.count || b.Count > rest.count-rest.used || it.cut || it.Uncounted {
			return corrupt("booking of %d of %s from the overdraft, with %d in use, to %d of %d", b.Count, it.ID(), over.used, rest.used, rest.count)
		}
		for left := b.Count; left > 0; {
			r, end := over.leases[0].row, over.leases[0].end
			s := r.leases[slices.IndexFunc(r.leases, func(s *lease) bool { return s.slice == over && s.end == end })]
			n := min(left, uint64(s.count))
			if left -= n; n < uint64(s.count) {
				l.split(s, uint32(n))
			}
			l.rebook(s, rest)
			l.order(r)
		}
	}
	return nil
}
