package ledger

import (
	"maps"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
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
	if err := l.checkUsage(); err != nil {
		return err
	}
	if err := l.checkLogins(); err != nil {
		return err
	}
	if err := l.checkKeys(); err != nil {
		return err
	}
	used, users := make(map[*slice]uint64, len(l.items)), map[held]uint64{}
	leases, waits := len(l.before.leases), 0
	if err := l.checkBefore(used); err != nil {
		return err
	}
	owners := l.owners()
	for i, r := range l.rows {
		if err := l.checkRow(i, r, answers); err != nil {
			return err
		}
		for _, s := range r.leases {
			used[s.slice] += uint64(s.count)
			// Not asked of a journal: earlier releases let a device keep what was reserved for the user before.
			if entry := s.slice.source.Entry; answers && entry != 0 && !s.unheard(l.now) && owners[entry] != r.id && owners[entry] != (hostid.ID{Type: hostid.User, Value: r.who.User}) {
				return corrupt("%s, user %q, holds %s of %s, which is reserved for %s", r.id, r.who.User, s.slice.source, s.slice.item.ID(), owners[entry])
			}
			if r.who.User != "" {
				users[held{r.who.User, s.slice.item}] += uint64(s.count)
			}
		}
		leases += len(r.leases)
		waits += len(r.waits)
	}
	if leases != l.leases || !maps.Equal(users, l.users) {
		return corrupt("%d leases of %d users and items where %d of %d are counted", leases, len(users), l.leases, len(l.users))
	}
	if waits != len(l.waiting) || waits > MaxWaiting || !slices.IsSortedFunc(l.waiting, compareWaits) {
		return corrupt("%d wait where %d do", len(l.waiting), waits)
	}
	for _, it := range l.items {
		for _, s := range it.slices {
			if used[s] != s.used {
				return corrupt("%s of item %s: %d in use, and the leases are %d", s.source, it.ID(), s.used, used[s])
			}
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
	case l.ration.moved > l.now.Lease || l.ration.moved < 0 || l.ration != (ration{}) && l.ration.spent <= l.ration.moved:
		return corrupt("the ration of moves is at %d since %d, and it is %d", l.ration.spent, l.ration.moved, l.now.Lease)
	case l.loginSpent < 0 || l.loginSpent-l.now.Lease > loginSaved*loginPeriod:
		return corrupt("the ration of moves of logins is at %d, and it is %d", l.loginSpent, l.now.Lease)
	case l.keySpent < 0 || l.keySpent-l.now.Lease > keySaved*keyPeriod:
		return corrupt("the ration of moves of administrators is at %d, and it is %d", l.keySpent, l.now.Lease)
	case l.hold != 0 && l.hold <= l.now.Lease:
		return corrupt("the hold ended at %d, and it is %d", l.hold, l.now.Lease)
	case l.run.Hold < l.hold:
		return corrupt("the hold ends at %d, and the run began with %d", l.hold, l.run.Hold)
	case l.recovery != (recovery{}) && (l.recovery.Taken == 0 || l.recovery.Taken > l.now.Wall || !l.provisioned()):
		return corrupt("recovery key %d was shown %s, and it is %s", l.recovery.Number, l.recovery.Taken, l.now.Wall)
	case l.lost != 0 && l.provisioned():
		return corrupt("the storage before was lost by %s, and a response is in force", l.lost)
	case len(l.applied.Items) > 0:
		return corrupt("items beside the items")
	case !l.provisioned() && len(l.items)+len(l.rows)+len(l.returns)+len(l.closed) > 0:
		return corrupt("%d items, %d devices and %d returns before the first response", len(l.items), len(l.rows), len(l.returns))
	case (l.model == nil) != (len(l.text) == 0) || l.model != nil && len(l.groups) > 0:
		return corrupt("a model of %d bytes beside %d reservation groups", len(l.text), len(l.groups))
	case l.divided < 0 || l.divided > l.now.Wall || l.dividedAhead < 0:
		return corrupt("the items were divided %s, and it is %s", l.divided, l.now.Wall)
	case len(l.written) > capability.MaxOutstanding || len(l.returns) > capability.MaxReturns || len(l.closed) > capability.MaxReturns:
		return corrupt("%d requests and %d returns wait, %d returns are closed", len(l.written), len(l.returns), len(l.closed))
	}
	if err := l.checkRevoked(); err != nil {
		return err
	}
	if err := l.clock.check(); err != nil {
		return err
	}
	if err := l.checkMachine(); err != nil {
		return err
	}
	if l.provisioned() {
		if err := l.applied.Validate(); err != nil {
			return corrupt("response in force: %w", err)
		}
	}
	if err := checkGroups(l.groups); err != nil {
		return corrupt("reservations: %w", err)
	}
	if err := checkIDs(l.groups, l.lastID); err != nil {
		return err
	}
	places, last := l.places(), 0
	for _, s := range l.sources {
		if places[s] <= last {
			return corrupt("source %s is not in its place", s)
		}
		last = places[s]
	}
	for i, s := range l.settings {
		k, is := known(s.Name)
		value, err := k.check(s.Value)
		if !is || k.Owner == Producer || s.Value == "" || value != s.Value || err != nil || i > 0 && l.settings[i-1].Name >= s.Name {
			return corrupt("setting %q is %q", s.Name, s.Value)
		}
	}
	for i, d := range l.drains {
		if _, copies := l.activation(d.ActivationID); copies == 0 || d.Copies == 0 || d.Deadline <= 0 || i > 0 && compareDrains(l.drains[i-1], d) >= 0 {
			return corrupt("a drain of %d copies of %s, of which %d are here, until %s", d.Copies, d.ActivationID, copies, d.Deadline)
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
		case it.cut && it.idle():
			return corrupt("item %s is cut, and nobody holds it", id)
		case it.place != i:
			return corrupt("item %s is at %d, not %d", id, it.place, i)
		}
		if err := l.checkSlices(it); err != nil {
			return err
		}
		for _, s := range it.slices {
			indexed += len(s.leases)
			if len(s.leases) == 0 {
				continue
			}
			if serving++; s.at >= len(l.ends) || l.ends[s.at] != s || s.at > 0 && s.before(l.ends[(s.at-1)/2]) {
				return corrupt("%s of item %s is in the wrong place of the ends", s.source, id)
			}
		}
	}
	if indexed != l.leases || serving != len(l.ends) {
		return corrupt("%d leases of %d slices have an end where %d of %d do", indexed, serving, l.leases, len(l.ends))
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

// checkSlices: together the slices are the count, no share has more in use than it holds, and the default pool only where all that is free of the shares is too little.
func (l *Ledger) checkSlices(it *item) error {
	id := it.ID()
	if len(it.slices) < firstShare || it.slices[inDefault].source != (Source{}) || it.slices[inOverdraft].source != (Source{Overdraft: true}) {
		return corrupt("item %s has %d slices", id, len(it.slices))
	}
	var sum, used uint64
	last := -1
	for i, s := range it.slices {
		if (s.used > 0) != (len(s.leases) > 0) || s.item != it {
			return corrupt("%s of item %s: %d in use by %d leases", s.source, id, s.used, len(s.leases))
		}
		for at, e := range s.leases {
			if e.at != at || e.slice != s || at > 0 && e.before(s.leases[(at-1)/2]) {
				return corrupt("%s of item %s: lease %d is in the wrong place", s.source, id, at)
			}
		}
		if i == inOverdraft {
			continue
		}
		sum += s.count
		used += s.used
		if i == inDefault {
			continue
		}
		at := slices.Index(l.sources, s.source)
		if at <= last || s.used > s.count || s.count > s.computed || it.cut || !it.divisible() {
			return corrupt("%s of item %s: %d in use, %d of %d", s.source, id, s.used, s.count, s.computed)
		}
		last = at
	}
	rest := it.slices[inDefault]
	switch {
	case sum != uint64(it.Count) || used != it.used:
		return corrupt("item %s: slices of %d with %d in use, and it has %d with %d", id, sum, used, it.Count, it.used)
	case rest.used > rest.count && !it.cut && !it.Uncounted && !it.over() && it.used > uint64(it.Count):
		return corrupt("item %s: %d of %d in use in the default pool", id, rest.used, rest.count)
	case it.slices[inOverdraft].count != uint64(it.Overdraft):
		return corrupt("item %s: an overdraft of %d, and the producer allows %d", id, it.slices[inOverdraft].count, it.Overdraft)
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
	if r.sequence != uint64(i) || !slices.Contains(l.devices[r.id], r) || r.serial == 0 || len(r.reports) > MaxReports || r.active > l.now.Lease {
		return corrupt("device %s: row %d is at %d, serial %d", r.id, r.sequence, i, r.serial)
	}
	if err := r.id.Validate(); err != nil {
		return corrupt("device %d: %w", i, err)
	}
	if len(r.leases) > maxHeld {
		return corrupt("device %s: %d leases where at most %d are kept", r.id, len(r.leases), maxHeld)
	}
	for j, s := range r.leases {
		switch {
		case s.row != r || s.count == 0 || s.end <= l.now.Lease || s.lead < 0 || s.lead > s.end || s.told <= 0:
			return corrupt("device %s: lease of %d of %s until %d, or %d sooner, and it is %d", r.id, s.count, s.slice.item.ID(), s.end, s.lead, l.now.Lease)
		case (s.end == forever) != s.slice.item.Metered || s.end > forever || s.end == forever && s.lead != 0:
			return corrupt("device %s: lease of %s until %d", r.id, s.slice.item.ID(), s.end)
		case j > 0 && compareLeases(r.leases[j-1].lease(), s.lease()) >= 0:
			return corrupt("device %s: leases are out of order", r.id)
		case s.at >= len(s.slice.leases) || s.slice.leases[s.at] != s:
			return corrupt("device %s: lease of %s has no end", r.id, s.slice.item.ID())
		}
	}
	if !answers {
		return nil
	}
	return l.checkRemembered(r)
}
