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
	row    *row            // nil for a device nobody knows
	held   []*lease        // of the row, not ended
	due    map[*item]int64 // units whose end has come
	change map[*item]int64 // units given back and taken by this request
	grants []grant
}

// grant is a lease that the draft would give, or keep.
type grant struct {
	item    *item
	count   uint32
	end     capability.Seconds
	told    capability.Time // when it ends, as the device heard or hears
	dropped bool
}

func (s *lease) grant() grant { return grant{s.item, s.count, s.end, s.told, s.dropped} }

func (l *Ledger) draft(now Now, r *row) *draft {
	d := &draft{l: l, now: now, row: r, due: map[*item]int64{}, change: map[*item]int64{}}
	l.ends.each(func(it *item) bool {
		due := it.leases[0].end <= now.Lease
		if due {
			it.leases.each(func(s *lease) bool {
				if s.end > now.Lease {
					return false
				}
				d.due[it] += int64(s.count)
				l.step()
				return true
			})
		}
		return due
	})
	if r != nil {
		for _, s := range r.leases {
			if s.end > now.Lease {
				d.held = append(d.held, s)
			}
		}
	}
	return d
}

// release makes what the device held free.
func (d *draft) release() {
	for _, s := range d.held {
		d.change[s.item] -= int64(s.count)
	}
}

// used is what is in use of the item in this draft.
func (d *draft) used(it *item) int64 { return int64(it.used) - d.due[it] + d.change[it] }

// over says that more than the item's count was in use before this request.
func (d *draft) over(it *item) bool {
	return it.over && int64(it.used)-d.due[it] > int64(it.Count)
}

// free is what the item could still give. An item over its count, or cut, gives nothing, not even renewals.
func (d *draft) free(it *item) uint64 {
	used := uint64(d.used(it))
	switch {
	case it.cut || !it.Uncounted && used >= uint64(it.Count):
		return 0
	case it.Uncounted:
		return capability.MaxCount
	}
	return uint64(it.Count) - used
}

// take gives count units of the item until end.
func (d *draft) take(it *item, count uint32, end capability.Seconds) {
	d.change[it] += int64(count)
	d.grants = append(d.grants, grant{item: it, count: count, end: end, told: d.now.Told(end)})
}

// granted is how much of the feature this draft gives anew.
func (d *draft) granted(feature string) (n uint64) {
	for _, g := range d.grants {
		if g.item.Feature == feature {
			n += uint64(g.count)
		}
	}
	return n
}

// keep is rule K for one feature: of each source the device has the larger of what it was granted now and what it had before; the part above what was
// granted keeps its old end, latest ends first. At most limit units of the feature stay in all.
func (d *draft) keep(feature string, limit uint64) {
	have := map[*item]uint64{}
	total := d.granted(feature)
	for _, g := range d.grants {
		have[g.item] += uint64(g.count)
	}
	old := slices.DeleteFunc(slices.Clone(d.held), func(s *lease) bool { return s.item.Feature != feature })
	before := map[*item]uint64{}
	for _, s := range old {
		before[s.item] += uint64(s.count)
	}
	slices.SortStableFunc(old, func(a, b *lease) int { return cmp.Compare(b.end, a.end) })
	for _, s := range old {
		if have[s.item] >= before[s.item] || total >= limit {
			continue
		}
		n := min(uint64(s.count), before[s.item]-have[s.item], limit-total)
		have[s.item] += n
		total += n
		d.change[s.item] += int64(n)
		kept := s.grant()
		kept.count = uint32(n)
		d.grants = append(d.grants, kept)
	}
}

// restore makes the draft what it was before the request.
func (d *draft) restore() {
	for _, g := range d.grants {
		d.change[g.item] -= int64(g.count)
	}
	d.grants = d.grants[:0]
	for _, s := range d.held {
		d.change[s.item] += int64(s.count)
		d.grants = append(d.grants, s.grant())
	}
}

// merged is the grants in order, with those of one item, end and mark as one.
func (d *draft) merged() []grant {
	slices.SortFunc(d.grants, func(a, b grant) int { return compareLeases(a.lease(), b.lease()) })
	out := d.grants[:0]
	for _, g := range d.grants {
		if n := len(out); n > 0 && out[n-1].item == g.item && out[n-1].end == g.end && out[n-1].dropped == g.dropped {
			out[n-1].count += g.count
			out[n-1].told = min(out[n-1].told, g.told)
		} else {
			out = append(out, g)
		}
	}
	return out
}

func (g grant) lease() Lease { return Lease{g.item.ID(), g.count, g.end, g.dropped, g.told} }

func compareLeases(a, b Lease) int {
	return cmp.Or(compareItems(a.Item, b.Item), cmp.Compare(a.End, b.End), compareBool(a.Dropped, b.Dropped))
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

// holders is who else holds leases of the items, those that end first, and the first end that is known. How they appear is policy's to say.
// The list ends at capability.MaxHolders, or before it takes more than room bytes.
func (d *draft) holders(items []*item, policy capability.HolderPolicy, room int) (until capability.Time, out []capability.Holder) {
	for _, it := range items {
		it.leases.first(func(s *lease) bool {
			d.l.step()
			if s.end <= d.now.Lease || s.row == d.row && d.row != nil {
				return true
			}
			told := d.now.Told(s.end)
			if until == 0 || told < until {
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

func clip[N int64 | uint64](n N) uint32 { return uint32(min(n, 1<<32-1)) }
