package ledger

import (
	"cmp"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// Division says how the items are divided from its entry on: what the pools of the model, or the reservation entries, were given of them. The rest of each
// item is in the default pool. A source that got nothing is not in it.
type Division struct {
	Shares []Share `cbor:"1,keyasint,omitempty"` // pools in the order of the model, reservation entries by ID
	Split  bool    `cbor:"2,keyasint,omitzero"`  // a lease that a share has room for only in part keeps that part; else it leaves as a whole
}

// Share is what one source was given.
type Share struct {
	Source Source `cbor:"1,keyasint,omitzero"`
	Parts  []Part `cbor:"2,keyasint,omitempty"` // by item
}

// Part is what was given of one item.
type Part struct {
	_     struct{} `cbor:",toarray"`
	Item  uint64   // its place among the items, which are in order of feature and activation ID
	Count uint32
}

// Transfer moves counts between the default pool and a share of the same item: to the share when Count is positive.
type Transfer struct {
	_     struct{} `cbor:",toarray"`
	Item  uint64   // as in Part
	Share uint64   // place among the shares of the item
	Count int64
}

// rules is what decides about a division.
type rules struct {
	model  *model.Model
	groups []Group
}

func (l *Ledger) rules() rules { return rules{l.model, l.groups} }

// division computes the division of items, which are in order; nil without a model and reservations.
func (l *Ledger) division(r rules, now Now, at dates, items []capability.LineItem) *Division {
	switch {
	case len(r.groups) > 0:
		return l.satisfy(now, at, items, r.groups)
	case r.model == nil:
		return nil
	}
	d := &Division{Split: true}
	for _, p := range r.model.Distribute(at.from, at.unexpired(items)).Pools {
		s := Share{Source: Source{Pool: p.Name}}
		for _, part := range p.Slices() {
			at, _ := slices.BinarySearchFunc(items, part.Item, func(i capability.LineItem, id capability.ItemID) int { return compareItems(i.ID(), id) })
			s.Parts = append(s.Parts, Part{Item: uint64(at), Count: part.Count})
		}
		d.add(s)
	}
	return d
}

// add keeps a share that got something.
func (d *Division) add(s Share) {
	s.Parts = slices.DeleteFunc(s.Parts, func(p Part) bool { return p.Count == 0 })
	if len(s.Parts) > 0 {
		slices.SortFunc(s.Parts, func(a, b Part) int { return cmp.Compare(a.Item, b.Item) })
		d.Shares = append(d.Shares, s)
	}
}

// lasting is an expiry with permanent as the longest.
func lasting(expiry capability.Time) capability.Time {
	if expiry == 0 {
		return math.MaxInt64
	}
	return expiry
}

// divisible says that counts of the item may be in pools and reservations.
func (it *item) divisible() bool { return !it.Metered && !it.Uncounted }

// inventory is what there is to divide, in the order of the items. A cut item has nothing to give.
func (l *Ledger) inventory() []capability.LineItem {
	out := make([]capability.LineItem, len(l.items))
	for i, it := range l.items {
		if out[i] = it.LineItem; it.cut {
			out[i].Count = 0
		}
	}
	return out
}

// arriving is the inventory when a response brings these items: what it leaves out keeps its place while its entry is applied.
func (l *Ledger) arriving(items []capability.LineItem) []capability.LineItem {
	out := slices.Clone(items)
	here := make(map[capability.ItemID]bool, len(items))
	for _, i := range items {
		here[i.ID()] = true
	}
	for _, it := range l.items {
		if !here[it.ID()] {
			gone := it.LineItem
			gone.Count = 0
			out = append(out, gone)
		}
	}
	slices.SortFunc(out, func(a, b capability.LineItem) int { return compareItems(a.ID(), b.ID()) })
	return out
}

// divide puts a division in force. What is leased is never cut: it stays in its source while the new share has room for it, that of devices that asked first
// before that of others; the rest is booked on the default pool. Where that lacks room, shares give what is free in them, the last share first, and have a deficit.
// This is what entries of old journals mean: it does not change.
func (l *Ledger) divide(d *Division) error {
	if d == nil {
		d = &Division{}
	}
	given := make([][]*slice, len(l.items))
	sums := make([]uint64, len(l.items))
	var sources []Source
	places, last := l.places(), 0
	for _, s := range d.Shares {
		if at := places[s.Source]; len(s.Parts) > 0 && at > last {
			last = at
		} else {
			return corrupt("the share of %s is not in its place", s.Source)
		}
		sources = append(sources, s.Source)
		for j, p := range s.Parts {
			if p.Item >= uint64(len(l.items)) || j > 0 && p.Item <= s.Parts[j-1].Item {
				return corrupt("the share of %s names item %d", s.Source, p.Item)
			}
			it := l.items[p.Item]
			if sums[p.Item] += uint64(p.Count); p.Count == 0 || it.cut || !it.divisible() || sums[p.Item] > uint64(it.Count) {
				return corrupt("%d of %s for %s where there are %d", p.Count, it.ID(), s.Source, it.Count)
			}
			given[p.Item] = append(given[p.Item], &slice{item: it, source: s.Source, count: uint64(p.Count), computed: uint64(p.Count)})
		}
	}
	l.sources, l.divided, l.dividedAhead = sources, l.now.Wall, l.clock.Ahead
	l.give()
	touched := map[*row]bool{}
	var rows []*row
	for i, it := range l.items {
		old := it.shares()
		it.slices = append(slices.Clip(it.slices[:firstShare]), given[i]...)
		for _, from := range old {
			leases := slices.Clone(from.leases)
			slices.SortFunc(leases, func(a, b *lease) int {
				return cmp.Or(cmp.Compare(a.row.sequence, b.row.sequence), compareLeases(a.lease(), b.lease()))
			})
			for _, s := range leases {
				to, n := it.slice(from.source), uint64(0)
				if to != nil {
					n = min(uint64(s.count), to.count-to.used)
				}
				switch {
				case n == uint64(s.count):
					l.rebook(s, to)
				case n > 0 && d.Split:
					rest := l.split(s, uint32(n))
					l.rebook(s, to)
					l.rebook(rest, it.slices[inDefault])
				default:
					l.rebook(s, it.slices[inDefault])
				}
				if !touched[s.row] {
					touched[s.row] = true
					rows = append(rows, s.row)
				}
			}
		}
		it.recount()
		it.makeRoom()
	}
	for _, r := range rows {
		l.order(r)
	}
	return nil
}

// over says that more is in use than licensed.
func (it *item) over() bool { return !it.cut && !it.Uncounted && it.used > uint64(it.Count) }

// makeRoom takes what the default pool lacks from the shares, the last first, as far as it is free there.
func (it *item) makeRoom() {
	rest := it.slices[inDefault]
	for _, s := range slices.Backward(it.shares()) {
		if rest.used <= rest.count {
			return
		}
		n := min(rest.used-rest.count, s.count-s.used)
		s.count -= n
		rest.count += n
	}
}

// places is every source that the model or the reservations in force have, with its place in the order of the division, from 1.
func (l *Ledger) places() map[Source]int {
	out := map[Source]int{}
	for _, e := range entries(l.groups) {
		out[Source{Entry: e.ID}] = len(out) + 1
	}
	if l.model != nil {
		for _, p := range l.model.Pools {
			out[Source{Pool: p.Name}] = len(out) + 1
		}
	}
	return out
}

// give keeps what each allocation was given by the division in force, so that a request that names no feature need not divide again.
func (l *Ledger) give() {
	l.given = nil
	if l.model == nil || !slices.ContainsFunc(l.model.Rules, func(r model.Rule) bool { return r.Spec != nil && len(r.Spec.All) > 0 }) {
		return
	}
	at := dates{from: l.divided, until: l.divided.Add(l.dividedAhead)}
	l.given = l.model.Distribute(at.from, at.unexpired(l.inventory())).Given()
}

// transfer applies what a decision moved between slices.
func (l *Ledger) transfer(moves []Transfer) error {
	for i, t := range moves {
		if t.Item >= uint64(len(l.items)) || t.Share >= uint64(len(l.items[t.Item].shares())) || t.Count == 0 {
			return corrupt("transfer %d of item %d, share %d", t.Count, t.Item, t.Share)
		}
		if i > 0 && cmp.Or(cmp.Compare(moves[i-1].Item, t.Item), cmp.Compare(moves[i-1].Share, t.Share)) >= 0 {
			return corrupt("transfers of item %d are out of order", t.Item)
		}
		it := l.items[t.Item]
		share, rest := it.shares()[t.Share], it.slices[inDefault]
		to, from := int64(share.count)+t.Count, int64(rest.count)-t.Count
		if to < 0 || to > int64(share.computed) || from < 0 {
			return corrupt("transfer of %d of %s to %s, which has %d of %d, from %d", t.Count, it.ID(), share.source, share.count, share.computed, rest.count)
		}
		share.count, rest.count = uint64(to), uint64(from)
	}
	return nil
}

// nextDate is the trusted time at which another division is due, or zero: the first start or expiry of an item that the last one did not know of. Where it took
// an item for expired by a clock that was quarantined then and says less now, that is at once. Only items are looked at that the caller wants.
func (l *Ledger) nextDate(wanted func(*item) bool) (next capability.Time) {
	if l.model == nil && len(l.groups) == 0 || !l.followsDates() {
		return 0
	}
	sooner := func(date capability.Time) {
		if date = max(date, 1); next == 0 || date < next {
			next = date
		}
	}
	for _, it := range l.items {
		if it.cut || !it.divisible() || !wanted(it) {
			continue
		}
		if it.Start > l.divided {
			sooner(it.Start)
		}
		if it.Expiry == 0 {
			continue
		}
		switch expires := it.Expiry.Add(-l.clock.Ahead); {
		case it.Expiry > l.divided.Add(l.dividedAhead):
			sooner(expires)
		case expires > l.now.Wall:
			sooner(l.now.Wall)
		}
	}
	return next
}

func anyItem(*item) bool { return true }

// felt says of an item whether its dates leave a trace. Pools are filled feature by feature, and what nobody holds is divided as if for the first time. Which
// entries are satisfied depends on which were: their features are felt.
func (l *Ledger) felt() func(*item) bool {
	features := map[string]bool{}
	for _, e := range entries(l.groups) {
		features[e.Feature] = true
	}
	for _, it := range l.items {
		if it.divisible() && !it.idle() {
			features[it.Feature] = true
		}
	}
	return func(it *item) bool { return features[it.Feature] }
}
