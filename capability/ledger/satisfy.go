package ledger

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A reservation entry is satisfied as a whole or not at all. One that is satisfied stays so while its counts are there. Where counts of its feature become
// fewer, what is free in the default pool goes first; then entries become unsatisfied, the newest first, until the rest fits beside what is leased; what is
// leased above that is overage. An entry that is not satisfied is tried again, the oldest first, when more is free for it than before, but never by a step that
// left another of its feature unsatisfied: what that one gave up is not divided again.

// stock is what there is of one item, by its place.
type stock struct {
	count    uint64 // that can be reserved
	before   uint64 // the same at the last division
	reserved uint64 // by that division
	lack     uint64 // what entries do not have of that yet
	used     uint64 // of the default pool
}

// satisfying is a new division on its way.
type satisfying struct {
	items []capability.LineItem
	stock []stock
	used  map[uint64][]Part            // leased of entries, by their ID
	sorts map[capability.Feature][]int // what fitting has found
	left  []uint64                     // of each item, after the shares
	share []Share
}

// satisfy decides which entries are satisfied from now on, and of what. The items are those of the new division, the state is that before it.
func (l *Ledger) satisfy(now Now, at dates, items []capability.LineItem, groups []Group) *Division {
	s := &satisfying{items: items, stock: make([]stock, len(items)), used: map[uint64][]Part{}, sorts: map[capability.Feature][]int{}}
	d, last := l.draft(now, nil, ""), dates{from: l.divided, until: l.divided.Add(l.dividedAhead)}
	for i, it := range items {
		s.stock[i].count = reservable(it, at)
		old := l.find(it.ID())
		if old == nil {
			continue
		}
		if !old.cut {
			s.stock[i].before = reservable(old.LineItem, last)
		}
		s.stock[i].used = uint64(max(0, d.used(old.slices[inDefault])))
		for _, sl := range old.shares() {
			s.stock[i].reserved += sl.computed
			s.stock[i].lack += sl.computed - sl.count
			s.used[sl.source.Entry] = append(s.used[sl.source.Entry], Part{Item: uint64(i), Count: clip(d.used(sl))})
		}
	}
	known, satisfied := map[uint64]ReservationEntry{}, map[uint64]bool{}
	for _, e := range entries(l.groups) {
		known[e.ID] = e
	}
	for _, source := range l.sources {
		satisfied[source.Entry] = true
	}
	var keep, try []ReservationEntry
	for _, e := range entries(groups) {
		if old, is := known[e.ID]; is && e.Count <= old.Count && satisfied[e.ID] {
			keep = append(keep, e)
		} else {
			try = append(try, e)
		}
	}
	fewer := map[string]bool{} // features with an entry that became unsatisfied
	for lost := s.tooMuch(keep); len(lost) > 0; lost = s.tooMuch(keep) {
		keep = slices.DeleteFunc(keep, func(e ReservationEntry) bool {
			fewer[e.Feature] = fewer[e.Feature] || lost[e.ID]
			return lost[e.ID]
		})
	}
	try = slices.DeleteFunc(try, func(e ReservationEntry) bool {
		old, is := known[e.ID]
		return is && old.Count == e.Count && (fewer[e.Feature] || !s.more(e))
	})
	for _, e := range try {
		if s.fits(e) {
			s.add(e)
		}
	}
	out := &Division{Split: true}
	slices.SortFunc(s.share, func(a, b Share) int { return cmp.Compare(a.Source.Entry, b.Source.Entry) })
	for _, share := range s.share {
		out.add(share)
	}
	return out
}

// reservable is how many counts of the item can be reserved at that moment.
func reservable(i capability.LineItem, at dates) uint64 {
	it := &item{LineItem: at.unexpired([]capability.LineItem{i})[0]}
	if !it.divisible() || it.User != "" || it.dated(dates{from: at.from, until: at.from}) != Usable {
		return 0
	}
	return uint64(it.Count)
}

// fitting is the places of the items that the entry may have counts of: the lowest version that will do comes first, then the longest expiry.
func (s *satisfying) fitting(e ReservationEntry) (out []int) {
	key := capability.Feature{Name: e.Feature, Version: e.Version}
	if out, known := s.sorts[key]; known {
		return out
	}
	first, _ := slices.BinarySearchFunc(s.items, e.Feature, func(i capability.LineItem, name string) int { return cmp.Compare(i.Feature, name) })
	for i := first; i < len(s.items) && s.items[i].Feature == e.Feature; i++ {
		if s.items[i].Version.Compare(e.Version) >= 0 {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int {
		return cmp.Or(s.items[a].Version.Compare(s.items[b].Version), cmp.Compare(lasting(s.items[b].Expiry), lasting(s.items[a].Expiry)))
	})
	s.sorts[key] = out
	return out
}

// fits says that all the entry asks for is left.
func (s *satisfying) fits(e ReservationEntry) bool {
	var sum uint64
	for _, i := range s.fitting(e) {
		sum += s.left[i]
	}
	return sum >= uint64(e.Count)
}

// more says that more is left for the entry than was by the last division.
func (s *satisfying) more(e ReservationEntry) bool {
	var now, before uint64
	for _, i := range s.fitting(e) {
		now += s.left[i]
		before += s.stock[i].before - min(s.stock[i].before, s.stock[i].reserved)
	}
	return now > before
}

// add gives an entry its share.
func (s *satisfying) add(e ReservationEntry) Share {
	share, need := Share{Source: Source{Entry: e.ID}}, uint64(e.Count)
	for _, i := range s.fitting(e) {
		if need == 0 {
			break
		}
		n := min(need, s.left[i])
		s.left[i] -= n
		need -= n
		share.Parts = append(share.Parts, Part{Item: uint64(i), Count: uint32(n)})
	}
	s.share = append(s.share, share)
	return share
}

// tooMuch gives these entries their shares, and is those that must be lost where that does not fit: one after the other, the newest of those that are in the way.
// Entries are placed in the order of their age, so that one that is lost changes nothing for an older one.
func (s *satisfying) tooMuch(keep []ReservationEntry) map[uint64]bool {
	s.left, s.share = make([]uint64, len(s.items)), nil
	for i := range s.items {
		s.left[i] = s.stock[i].count
	}
	lost := map[uint64]bool{}
	for at, e := range keep {
		if s.fits(e) {
			s.add(e)
			continue
		}
		// All newer ones that have of the same, or do not fit either, are in its way; then it is the newest.
		needs := s.fitting(e)
		lost[e.ID] = true
		for _, newer := range keep[at+1:] {
			switch {
			case newer.Feature != e.Feature:
			case !s.fits(newer):
				lost[newer.ID] = true
			default:
				has := s.add(newer)
				lost[newer.ID] = slices.ContainsFunc(has.Parts, func(p Part) bool { return p.Count > 0 && slices.Contains(needs, int(p.Item)) })
			}
		}
		return lost
	}
	return s.inTheWay(keep)
}

// inTheWay is the entries that must be lost because of what is leased beside the shares, where the counts of a feature have become fewer.
func (s *satisfying) inTheWay(keep []ReservationEntry) map[uint64]bool {
	fewer, beside := map[string]bool{}, make([]uint64, len(s.items))
	for i, it := range s.items {
		fewer[it.Feature] = fewer[it.Feature] || s.stock[i].count < s.stock[i].before
		beside[i] = s.stock[i].used
	}
	has := map[uint64]Share{}
	for _, share := range s.share {
		has[share.Source.Entry] = share
	}
	for id, used := range s.used {
		for _, p := range used {
			beside[p.Item] += uint64(p.Count - min(p.Count, has[id].of(p.Item)))
		}
	}
	lacks := func(i uint64) bool { return fewer[s.items[i].Feature] && beside[i] > s.left[i]+s.stock[i].lack }
	lost, done := map[uint64]bool{}, map[string]bool{} // features whose newest entry stays
	for _, e := range slices.Backward(keep) {
		if done[e.Feature] && len(lost) > 0 {
			continue
		}
		share := has[e.ID]
		if !slices.ContainsFunc(share.Parts, func(p Part) bool { return p.Count > 0 && lacks(p.Item) }) {
			done[e.Feature] = true
			continue
		}
		lost[e.ID] = true
		for _, p := range share.Parts {
			s.left[p.Item] += uint64(p.Count)
		}
		for _, p := range s.used[e.ID] {
			beside[p.Item] += uint64(min(p.Count, share.of(p.Item)))
		}
	}
	return lost
}

// of is what the share has of an item.
func (s Share) of(place uint64) uint32 {
	if at := slices.IndexFunc(s.Parts, func(p Part) bool { return p.Item == place }); at >= 0 {
		return s.Parts[at].Count
	}
	return 0
}
