package ledger

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/leasehold/leasehold/capability"
)

// draft is the state as it would be after one request: what is due has ended, and what the device held is free for it to take.
type draft struct {
	l      *Ledger
	now    Now
	row    *row             // nil for a device nobody knows
	held   []*lease         // of the row, not ended, also not for a device that has heard its last answer
	past   []*lease         // the others of the row, which that device has heard to have ended
	ended  map[*item]int64  // units whose end has come; nil where none has
	change tally            // units ended, given back and taken by this request
	shift  map[*slice]int64 // counts that move between slices of an item; nil before one does
	moved  []*slice         // shares in shift
	mine   map[*item]int64  // units of the user whose end has come; nil as ended is
	user   string
	heard  bool // the device has heard its last answer
	grants []grant
}

// tally counts units by slice. Most requests have to do with a few slices only, among which looking for one costs less than to make a map.
type tally struct {
	few [4]struct {
		slice *slice
		n     int64
	}
	many map[*slice]int64 // all others
}

func (t *tally) add(s *slice, n int64) {
	for i := range t.few {
		if f := &t.few[i]; f.slice == s || f.slice == nil {
			f.slice = s
			f.n += n
			return
		}
	}
	if t.many == nil {
		t.many = map[*slice]int64{}
	}
	t.many[s] += n
}

func (t *tally) of(s *slice) int64 {
	for i := range t.few {
		if f := &t.few[i]; f.slice == s {
			return f.n
		}
	}
	return t.many[s]
}

// grant is a lease that the draft would give, or keep.
type grant struct {
	slice   *slice
	count   uint32
	end     capability.Seconds
	lead    capability.Seconds // how much sooner it ends for a device that has heard so
	told    capability.Time    // when it ends, as the device heard or hears
	dropped bool
	kept    bool // as it was
}

func (s *lease) grant() grant { return grant{s.slice, s.count, s.end, s.lead, s.told, s.dropped, true} }

// had is what a lease is to a device that may have heard of its end, if that has not come.
func (d *draft) had(s *lease) (g grant, lasts bool) {
	if g = s.grant(); d.heard {
		g.end, g.lead = g.end-g.lead, 0
	}
	return g, g.end > d.now.Lease
}

func (l *Ledger) draft(now Now, r *row, user string) *draft {
	d := &draft{l: l, now: now, row: r, user: user}
	if len(l.ends) > 0 && l.ends[0].leases[0].end <= now.Lease {
		d.endDue()
	}
	if r != nil {
		d.held = r.live(now)
	}
	return d
}

// endDue makes what is due free.
func (d *draft) endDue() {
	l, now := d.l, d.now
	l.ends.each(func(sl *slice) bool {
		due := sl.leases[0].end <= now.Lease
		if due {
			sl.leases.each(func(s *lease) bool {
				if s.end > now.Lease {
					return false
				}
				d.end(s)
				l.step()
				return true
			})
		}
		return due
	})
}

// end makes free what has come to its end, whatever becomes of the request.
func (d *draft) end(s *lease) {
	if d.ended == nil {
		d.ended, d.mine = map[*item]int64{}, map[*item]int64{}
	}
	d.change.add(s.slice, -int64(s.count))
	if !s.slice.source.Overdraft {
		d.ended[s.slice.item] += int64(s.count)
	}
	if d.user != "" && s.row.who.User == d.user {
		d.mine[s.slice.item] += int64(s.count)
	}
}

// hear says that the device has heard its last answer, so that what was only kept from others has ended.
func (d *draft) hear() {
	d.heard = true
	if !slices.ContainsFunc(d.held, func(s *lease) bool { return s.unheard(d.now) }) {
		return
	}
	held := d.held[:0]
	for _, s := range d.held {
		if !s.unheard(d.now) {
			held = append(held, s)
			continue
		}
		d.end(s)
		d.past = append(d.past, s)
	}
	d.held = held
}

// live is what the device holds at that moment.
func (r *row) live(now Now) (out []*lease) {
	for _, s := range r.leases {
		if s.end > now.Lease {
			out = append(out, s)
		}
	}
	return out
}

// release makes what the device held free.
func (d *draft) release() {
	for _, s := range d.held {
		d.change.add(s.slice, -int64(s.count))
	}
}

// used is what is in use of the slice in this draft, count what it has.
func (d *draft) used(s *slice) int64  { return int64(s.used) + d.change.of(s) }
func (d *draft) count(s *slice) int64 { return int64(s.count) + d.shift[s] }

// inUse is what is in use of all slices of the item but the overdraft.
func (d *draft) inUse(it *item) (n int64) {
	n = int64(it.used)
	for _, s := range it.slices {
		if !s.source.Overdraft {
			n += d.change.of(s)
		}
	}
	return n
}

// over says that more than the item's count was in use before this request.
func (d *draft) over(it *item) bool {
	return it.over() && int64(it.used)-d.ended[it] > int64(it.Count)
}

// free is what the slice could still give. An item over its count, or cut, gives nothing, not even renewals; one that is being returned only what its drain leaves.
func (d *draft) free(s *slice) uint64 {
	it := s.item
	var n uint64
	switch {
	case it.cut, it.over() && d.inUse(it) > int64(it.Count):
	case it.Uncounted && s.source == Source{}:
		n = capability.MaxCount
	case !it.Uncounted:
		n = uint64(max(0, d.count(s)-d.used(s)))
	}
	if spare, drained := d.spare(s); drained {
		n = min(n, spare)
	}
	return n
}

// settle moves what is free where it belongs: first what the default pool lacks comes from the shares, the last first; then what came back to the default pool
// fills deficits, those that the request can reach first, then in the order of the division.
func (d *draft) settle(it *item, reach func(*slice) bool) {
	rest := it.slices[inDefault]
	free := func(s *slice) int64 { return max(0, d.count(s)-d.used(s)) }
	for _, s := range slices.Backward(it.shares()) {
		if lack := d.used(rest) - d.count(rest); lack > 0 {
			d.move(s, -min(lack, free(s)))
		}
	}
	for _, first := range []bool{true, false} {
		for _, s := range it.shares() {
			if reach(s) == first {
				d.move(s, min(free(rest), int64(s.computed)-d.count(s)))
			}
		}
	}
}

// move gives a share n counts of the default pool, or takes them back.
func (d *draft) move(share *slice, n int64) {
	if n != 0 {
		if d.shift == nil {
			d.shift = map[*slice]int64{}
		}
		if _, known := d.shift[share]; !known {
			d.moved = append(d.moved, share)
		}
		d.shift[share] += n
		d.shift[share.item.slices[inDefault]] -= n
	}
}

// transfers is what settle moved, as facts.
func (d *draft) transfers() (out []Transfer) {
	for _, s := range d.moved {
		if n := d.shift[s]; n != 0 {
			out = append(out, Transfer{Item: uint64(s.item.place), Share: uint64(slices.Index(s.item.shares(), s)), Count: n})
		}
	}
	slices.SortFunc(out, func(a, b Transfer) int { return cmp.Or(cmp.Compare(a.Item, b.Item), cmp.Compare(a.Share, b.Share)) })
	return out
}

// take gives count units of the slice until end.
func (d *draft) take(s *slice, count uint32, end capability.Seconds) {
	d.change.add(s, int64(count))
	d.grants = append(d.grants, grant{slice: s, count: count, end: end, told: d.ends(s.item, end)})
}

// granted is how much of the feature this draft gives.
func (d *draft) granted(feature string) (n uint64) {
	for _, g := range d.grants {
		if g.slice.item.Feature == feature {
			n += uint64(g.count)
		}
	}
	return n
}

// keep is rule K for some leases: of each source the device has the larger of what it was granted now and what it had before; the part above what was
// granted keeps its old end, what the device was told of first, of that the latest ends. At most limit units are kept. What settle moved away from a source comes back for it.
func (d *draft) keep(which func(*lease) bool, limit uint64) {
	have, before := map[*slice]uint64{}, map[*slice]uint64{}
	for _, g := range d.grants {
		have[g.slice] += uint64(g.count)
	}
	old := d.before(which)
	untold := func(g grant) bool { return g.end-g.lead <= d.now.Lease }
	slices.SortStableFunc(old, func(a, b grant) int { return compareBool(untold(a), untold(b)) })
	for _, g := range old {
		before[g.slice] += uint64(g.count)
	}
	for _, g := range old {
		if have[g.slice] >= before[g.slice] || limit == 0 {
			continue
		}
		g.count = uint32(d.room(g.slice, min(uint64(g.count), before[g.slice]-have[g.slice], limit)))
		have[g.slice] += uint64(g.count)
		limit -= uint64(g.count)
		d.stay(g)
	}
}

// before is what the device had of some leases, the latest ends first.
func (d *draft) before(which func(*lease) bool) (out []grant) {
	for _, s := range d.held {
		if g, lasts := d.had(s); lasts && which(s) {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b grant) int { return cmp.Compare(b.end, a.end) })
	return out
}

// stay leaves the device what it had.
func (d *draft) stay(g grant) {
	if g.count > 0 {
		d.change.add(g.slice, int64(g.count))
		d.grants = append(d.grants, g)
	}
}

// room is how much of n the slice can hold, after what settle moved away came back as far as it is free. What was in use before has room in any case, but
// of the item as a whole not more than before, or than there is.
func (d *draft) room(s *slice, n uint64) uint64 {
	if it := s.item; !it.Uncounted && !s.source.Overdraft {
		n = min(n, uint64(max(0, max(int64(it.Count), int64(it.used)-d.ended[it])-d.inUse(it))))
	}
	lack := func() int64 { return d.used(s) + int64(n) - d.count(s) }
	if at := slices.Index(s.item.shares(), s); at >= 0 && lack() > 0 {
		d.move(s, min(lack(), max(0, -d.shift[s])))
	}
	if s.source == (Source{}) {
		for _, share := range slices.Backward(s.item.shares()) {
			if lack() > 0 {
				d.move(share, -min(lack(), max(0, d.shift[share]), max(0, d.count(share)-d.used(share))))
			}
		}
	}
	if s.item.Uncounted || lack() <= 0 || d.used(s)+int64(n) <= d.usedBefore(s) {
		return n
	}
	return n - min(n, uint64(lack()))
}

// usedBefore is what was in use of the slice when the request came.
func (d *draft) usedBefore(s *slice) int64 {
	n := int64(s.used)
	s.leases.each(func(o *lease) bool {
		if o.end > d.now.Lease {
			return false
		}
		n -= int64(o.count)
		return true
	})
	for _, o := range d.past {
		if o.slice == s {
			n -= int64(o.count)
		}
	}
	return n
}

// restore makes the draft what it was before the request, for some leases; the others stay given back.
func (d *draft) restore(which func(*lease) bool) {
	for _, g := range d.grants {
		d.change.add(g.slice, -int64(g.count))
	}
	d.grants = d.grants[:0]
	clear(d.shift)
	d.moved = nil
	for _, s := range d.held {
		if g, lasts := d.had(s); lasts && which(s) {
			d.stay(g)
		}
	}
}

// merged is the grants in order, with those of one slice, end and mark as one.
func (d *draft) merged() []grant {
	slices.SortStableFunc(d.grants, func(a, b grant) int { return compareLeases(a.lease(), b.lease()) })
	out := d.grants[:0]
	for _, g := range d.grants {
		if n := len(out); n > 0 && out[n-1].slice == g.slice && out[n-1].end == g.end && out[n-1].lead == g.lead && out[n-1].dropped == g.dropped {
			out[n-1].count += g.count
			out[n-1].told = min(out[n-1].told, g.told)
			out[n-1].kept = out[n-1].kept && g.kept
		} else {
			out = append(out, g)
		}
	}
	return out
}

func (g grant) lease() Lease {
	return Lease{Item: g.slice.item.ID(), Count: g.count, End: g.end, Lead: g.lead, Dropped: g.dropped, Told: g.told, Source: g.slice.source}
}

func (s *lease) lease() Lease { return s.grant().lease() }

func compareLeases(a, b Lease) int {
	return cmp.Or(compareItems(a.Item, b.Item), compareSources(a.Source, b.Source), cmp.Compare(a.End, b.End), cmp.Compare(a.Lead, b.Lead), compareBool(a.Dropped, b.Dropped))
}

func compareItems(a, b capability.ItemID) int {
	return cmp.Or(cmp.Compare(a.Feature, b.Feature), cmp.Compare(a.ActivationID, b.ActivationID))
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// holders is who else holds leases of the slices, those that end first, and the first end that is known. How they appear is policy's to say.
// The list ends at capability.MaxHolders, or before it takes more than room bytes.
func (d *draft) holders(sources []*slice, policy capability.HolderPolicy, room int) (until capability.Time, out []capability.Holder) {
	for _, sl := range sources {
		sl.leases.first(func(s *lease) bool {
			d.l.step()
			if s.end <= d.now.Lease || s.row == d.row && d.row != nil {
				return true
			}
			told := d.now.ends(sl.item, s.end)
			if s.end != forever && (until == 0 || told < until) {
				until = told
			}
			name := s.row.name()
			if policy == capability.HoldersInitials {
				name = initials(name)
			}
			room -= len(name) + holderBytes
			if policy == capability.HoldersCount || len(out) >= capability.MaxHolders || room < 0 {
				return false
			}
			out = append(out, capability.Holder{Name: name, Count: s.count, Expiry: told})
			return true
		})
	}
	return until, out
}

// holderBytes is what a holder takes in a message besides its name.
const holderBytes = 16

// name is the device's name for people.
func (r *row) name() string {
	if r.who.Alias != "" {
		return r.who.Alias
	}
	return r.id.Value
}

// initials is the first sign of each part of a name: render-node 7 is RN7.
func initials(name string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		for _, r := range part {
			b.WriteRune(unicode.ToUpper(r))
			break
		}
	}
	return b.String()
}

func clip[N int64 | uint64](n N) uint32 { return uint32(max(0, min(n, 1<<32-1))) }
