package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Check looks at every invariant of the state. It runs after every step of the tests and in doctor; it costs as much as there are rows. The error is ErrCorrupt.
func (l *Ledger) Check() error { return l.verify(true) }

// verify leaves out the remembered answers unless it is told to look at them.
func (l *Ledger) verify(answers bool) error {
	if err := l.checkHeader(); err != nil {
		return err
	}
	if err := l.checkItems(); err != nil {
		return err
	}
	used := make(map[*item]uint64, len(l.items))
	leases := 0
	for i, r := range l.rows {
		if err := l.checkRow(i, r, answers); err != nil {
			return err
		}
		for _, s := range r.leases {
			used[s.item] += uint64(s.count)
		}
		leases += len(r.leases)
	}
	if leases != l.leases || len(l.devices) != len(l.rows) {
		return corrupt("%d leases of %d devices where %d of %d are counted", leases, len(l.rows), l.leases, len(l.devices))
	}
	for _, it := range l.items {
		if used[it] != it.used {
			return corrupt("item %s: %d in use, and the leases are %d", it.ID(), it.used, used[it])
		}
	}
	return nil
}

func (l *Ledger) checkHeader() error {
	switch {
	case (l.position == 0) != (l.head == capability.Digest{}):
		return corrupt("position %d with head %x", l.position, l.head[:8])
	case l.now.Lease < 0 || l.now.Wall < 0 || (l.position == 0) != (l.now == Now{}):
		return corrupt("entry %d at %d and %s", l.position, l.now.Lease, l.now.Wall)
	case l.hold != 0 && l.hold <= l.now.Lease:
		return corrupt("the hold ended at %d, and it is %d", l.hold, l.now.Lease)
	case l.run.Hold < l.hold:
		return corrupt("the hold ends at %d, and the run began with %d", l.hold, l.run.Hold)
	case len(l.applied.Items) > 0:
		return corrupt("items beside the items")
	case !l.provisioned() && len(l.items)+len(l.rows)+len(l.returns)+len(l.closed) > 0:
		return corrupt("%d items, %d devices and %d returns before the first response", len(l.items), len(l.rows), len(l.returns))
	case len(l.written) > capability.MaxOutstanding || len(l.returns) > capability.MaxReturns || len(l.closed) > capability.MaxReturns:
		return corrupt("%d requests and %d returns wait, %d returns are closed", len(l.written), len(l.returns), len(l.closed))
	}
	if l.provisioned() {
		if err := l.applied.Validate(); err != nil {
			return corrupt("response in force: %w", err)
		}
	}
	for i, w := range l.written {
		if want := l.number - uint64(len(l.written)-1-i); w.Number != want || w.Number == 0 {
			return corrupt("request %d waits where %d does", w.Number, want)
		}
	}
	for i, t := range l.returns {
		switch {
		case t.ID == capability.ReturnID{} || t.Copies == 0 || t.Serial > l.applied.Serial || len(t.Proof) > capability.MaxEvidence:
			return corrupt("return %x of %d copies, serial %d", t.ID, t.Copies, t.Serial)
		case l.pending(t.ID) != i || slices.Contains(l.closed, t.ID):
			return corrupt("return %x is there twice", t.ID)
		}
	}
	return nil
}

func (l *Ledger) checkItems() error {
	indexed, serving := 0, 0
	for i, it := range l.items {
		id := it.ID()
		if err := it.Validate(); err != nil {
			return corrupt("item %s: %w", id, err)
		}
		switch {
		case i > 0 && compareItems(l.items[i-1].ID(), id) >= 0:
			return corrupt("item %s is out of order", id)
		case !slices.Contains(l.features[it.Feature], it):
			return corrupt("item %s is not under its feature", id)
		case it.cut && it.used == 0:
			return corrupt("item %s is cut, and nobody holds it", id)
		case it.over != (!it.cut && !it.Uncounted && it.used > uint64(it.Count)):
			return corrupt("item %s: %d of %d in use", id, it.used, it.Count)
		case (it.used > 0) != (len(it.leases) > 0):
			return corrupt("item %s: %d in use by %d leases", id, it.used, len(it.leases))
		}
		for at, s := range it.leases {
			if s.at != at || s.item != it || at > 0 && s.before(it.leases[(at-1)/2]) {
				return corrupt("item %s: lease %d is in the wrong place", id, at)
			}
		}
		indexed += len(it.leases)
		if len(it.leases) > 0 {
			if serving++; it.at >= len(l.ends) || l.ends[it.at] != it || it.at > 0 && it.before(l.ends[(it.at-1)/2]) {
				return corrupt("item %s is in the wrong place of the ends", id)
			}
		}
	}
	if indexed != l.leases || serving != len(l.ends) {
		return corrupt("%d leases of %d items have an end where %d of %d do", indexed, serving, l.leases, len(l.ends))
	}
	listed := 0
	for _, name := range l.names() {
		list := l.features[name]
		if listed += len(list); len(list) == 0 || !slices.IsSortedFunc(list, servingOrder) {
			return corrupt("feature %q: %d items are out of order", name, len(list))
		}
	}
	if listed != len(l.items) {
		return corrupt("%d items under features where there are %d", listed, len(l.items))
	}
	return nil
}

// names is every feature once.
func (l *Ledger) names() (names []string) {
	for _, it := range l.items {
		if n := len(names); n == 0 || names[n-1] != it.Feature {
			names = append(names, it.Feature)
		}
	}
	return names
}

func (l *Ledger) checkRow(i int, r *row, answers bool) error {
	if r.sequence != uint64(i) || l.devices[r.id] != r || r.serial == 0 {
		return corrupt("device %s: row %d is at %d, serial %d", r.id, r.sequence, i, r.serial)
	}
	if err := r.id.Validate(); err != nil {
		return corrupt("device %d: %w", i, err)
	}
	for j, s := range r.leases {
		switch {
		case s.row != r || s.count == 0 || s.end <= l.now.Lease || s.told <= 0:
			return corrupt("device %s: lease of %d of %s until %d, and it is %d", r.id, s.count, s.item.ID(), s.end, l.now.Lease)
		case j > 0 && compareLeases(r.leases[j-1].lease(), s.lease()) >= 0:
			return corrupt("device %s: leases are out of order", r.id)
		case s.at >= len(s.item.leases) || s.item.leases[s.at] != s:
			return corrupt("device %s: lease of %s has no end", r.id, s.item.ID())
		}
	}
	if !answers {
		return nil
	}
	var a capability.Response
	if err := l.codec.Decode(r.answer, &a, MaxEntry); err != nil {
		return corrupt("device %s: remembered answer: %w", r.id, err)
	}
	if a.For != r.id || a.Key != r.key || a.Serial != r.serial || a.Correlation != r.correlation {
		return corrupt("device %s: the remembered answer is %d to %x, for %s", r.id, a.Serial, a.Correlation[:4], a.For)
	}
	return nil
}

func (s *lease) lease() Lease { return s.grant().lease() }
