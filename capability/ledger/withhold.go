package ledger

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// An answer that says less than the one before may be lost, and its device goes on believing in what it was told. What it may believe in stays booked, by leases
// that end later than the answer says, or that it does not mention, until the device shows that it has heard it.

// MaxLeases bounds the leases of one device, with those that it is not told of: they cost nothing in its answers, and a device that never says what it has
// heard could pile them up. An answer that fits a frame tells of fewer than 900. The readers of entries and snapshots take 4096 of anything, which leaves room
// for maxHeld.
const (
	MaxLeases = 1024
	maxHeld   = 2 * MaxLeases // what is booked over, or divided anew, makes of a lease at most two
)

// spot is where units were or are: grants of one spot are alike for a device that has heard nothing.
type spot struct {
	slice   *slice
	end     capability.Seconds
	dropped bool
}

func (g grant) spot() spot                  { return spot{g.slice, g.end, g.dropped} }
func (g grant) feature() capability.Feature { return g.slice.item.named() }

func (it *item) named() capability.Feature {
	return capability.Feature{Name: it.Feature, Version: it.Version}
}

// belief is what a device may believe in of one version of a feature until a moment, which goes back from the latest end to the soonest.
type belief struct {
	asked, told uint64  // of the feature; of this version, until that moment
	has         uint64  // granted until then, or kept
	next        []int   // grants that end sooner, the latest first
	long, left  []grant // what it had until then, the soonest end last: as far as grants may be prolonged for it, or something kept beside them
}

// withholding is withhold on its way. Grants are named by their places.
type withholding struct {
	*draft
	beliefs map[capability.Feature]*belief
	missing map[spot]int64 // what the device had there until that moment, less what it has
	sooner  map[spot][]int // grants that may be prolonged, the latest ends first, by a spot of no end
}

// covered says, of most requests that say the same again, that the device is given as much as it had, for no less time, so that nothing is to be withheld.
func (d *draft) covered() bool {
	if len(d.held) > 4 || len(d.grants) > 4 {
		return len(d.held) == 0
	}
	for _, s := range d.held {
		old, lasts := d.had(s)
		if !lasts || old.end == forever {
			continue
		}
		var had, has uint64
		for _, o := range d.held {
			if o.slice.item.named() == old.feature() {
				had += uint64(o.count)
			}
		}
		for _, g := range d.grants {
			if g.feature() == old.feature() && g.end >= old.end {
				has += uint64(g.count)
			}
		}
		if has < had {
			return false
		}
	}
	return true
}

// withhold keeps booked what the device may go on believing in until it hears an answer that says less, which may be lost: of each feature as much as it was told
// and asked for again, as long as it was told. For a device that hears the answer the grants are what they were.
func (d *draft) withhold(asked func(feature string) uint64) {
	none := func(g grant) bool { return g.count == 0 }
	before := d.before(func(s *lease) bool { return s.end != forever && asked(s.slice.item.Feature) > 0 })
	if len(before) == 0 {
		d.grants = slices.DeleteFunc(d.grants, none)
		return
	}
	w := withholding{draft: d, beliefs: map[capability.Feature]*belief{}, missing: map[spot]int64{}, sooner: map[spot][]int{}}
	for _, old := range before {
		if f := old.feature(); w.beliefs[f] == nil {
			w.beliefs[f] = &belief{asked: asked(f.Name)}
		}
	}
	places := make([]int, len(d.grants))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(d.grants[b].end, d.grants[a].end) })
	for _, i := range places {
		g := d.grants[i]
		if b := w.beliefs[g.feature()]; b != nil {
			part := spot{slice: g.slice, dropped: g.dropped}
			b.next, w.sooner[part] = append(b.next, i), append(w.sooner[part], i)
			w.missing[g.spot()] -= int64(g.count)
		}
	}
	for _, old := range before {
		w.look(w.beliefs[old.feature()], old)
	}
	d.grants = slices.DeleteFunc(d.grants, none)
}

// look goes back to the end of something that the device had, and sees to it that it has as much until then as it may believe. Where one thing had is of no more
// use it is of none later: grants only grow.
func (w *withholding) look(b *belief, old grant) {
	w.missing[old.spot()] += int64(old.count)
	b.told += uint64(old.count)
	b.long, b.left = append(b.long, old), append(b.left, old)
	for ; len(b.next) > 0 && w.grants[b.next[0]].end >= old.end; b.next = b.next[1:] {
		b.has += uint64(w.grants[b.next[0]].count)
		w.l.step()
	}
	believed := min(b.told, b.asked)
	for ; b.has < believed && len(b.long) > 0; w.l.step() {
		had := b.long[len(b.long)-1]
		if n := w.prolong(had, old.end, believed-b.has); n > 0 {
			b.has += n
		} else {
			b.long = b.long[:len(b.long)-1]
		}
	}
	for ; b.has < believed && len(b.left) > 0; w.l.step() {
		had := b.left[len(b.left)-1]
		if n := w.leave(had, believed-b.has); n > 0 {
			b.has += n
		} else {
			b.left = b.left[:len(b.left)-1]
		}
	}
}

// lacks is how much of n units the device does not have any more of what it had there.
func (w *withholding) lacks(had grant, n uint64) uint64 {
	return min(n, uint64(max(0, w.missing[had.spot()])))
}

// prolong books up to n units of one grant that ends before a moment for as long as the device had them, and says how many.
func (w *withholding) prolong(had grant, moment capability.Seconds, n uint64) uint64 {
	part := spot{slice: had.slice, dropped: had.dropped}
	if n = w.lacks(had, n); n == 0 {
		return 0
	}
	list := w.sooner[part]
	for len(list) > 0 && (w.grants[list[0]].count == 0 || w.grants[list[0]].end >= moment) {
		list = list[1:]
		w.l.step()
	}
	if w.sooner[part] = list; len(list) == 0 {
		return 0
	}
	g := w.grants[list[0]]
	n = min(n, uint64(g.count))
	w.grants[list[0]].count -= uint32(n)
	w.missing[g.spot()] += int64(n)
	g.count, g.end, g.lead = uint32(n), had.end, had.end-(g.end-g.lead)
	w.missing[g.spot()] -= int64(n)
	w.grants = append(w.grants, g)
	return n
}

// leave keeps up to n units of what the device had, which its answer does not mention, and says how many.
func (w *withholding) leave(had grant, n uint64) uint64 {
	n = w.room(had.slice, w.lacks(had, n))
	if spare, drained := w.spare(had.slice); drained {
		n = min(n, spare)
	}
	w.missing[had.spot()] -= int64(n)
	had.count, had.lead = uint32(n), had.end-w.now.Lease
	w.stay(had)
	return n
}

// keeping is what a device may keep of what it had, each unit once: until the end that it may believe in, or where it heard its last answer, until the end of that.
// An entry does not say which, but it is one of the two for all of it.
type keeping struct {
	before []*lease
	ways   [2]struct {
		left  []uint32 // units of each lease
		wrong bool
	}
}

// keeps says why a lease is neither kept nor, as to what is not, a new one, whichever way it was. In a hold nothing is kept that is told a later end than before.
func (k *keeping) keeps(n *lease, hold bool, fresh func(count uint32) error) (err error) {
	kept := false
	for i := range k.ways {
		way := &k.ways[i]
		if way.wrong {
			continue
		}
		if way.left == nil {
			for _, s := range k.before {
				way.left = append(way.left, s.count)
			}
		}
		rest := n.count
		for rest > 0 {
			at := -1 // what was told the soonest end leaves most to others
			for j, s := range k.before {
				end := s.end - s.lead*capability.Seconds(i)
				if way.left[j] > 0 && s.slice == n.slice && end == n.end && s.dropped == n.dropped && (!hold || n.told <= s.told) && (at < 0 || s.told < k.before[at].told) {
					at = j
				}
			}
			if at < 0 {
				break
			}
			m := min(rest, way.left[at])
			way.left[at] -= m
			rest -= m
		}
		if rest > 0 {
			err = fresh(rest)
			way.wrong = err != nil
		}
		kept = kept || !way.wrong
	}
	if kept {
		return nil
	}
	return err
}
