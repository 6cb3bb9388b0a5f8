package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Apply makes an entry a fact. It asserts what Decide refuses; an error is ErrCorrupt, after which the ledger must not be used.
func (l *Ledger) Apply(e Entry) error {
	_, err := l.Enter(&e)
	return err
}

// Enter is Apply, and gives the encoding of the entry, whose hash the next one names.
func (l *Ledger) Enter(e *Entry) (encoded []byte, err error) {
	if err := l.apply(e); err != nil {
		return nil, err
	}
	encoded = e.Encode(l.codec)
	l.position, l.head = e.Position, digest(encoded)
	return encoded, nil
}

func (l *Ledger) apply(e *Entry) error {
	switch {
	case e.Position != l.position+1:
		return corrupt("entry %d where the next is %d", e.Position, l.position+1)
	case e.Previous != l.head:
		return corrupt("entry %d follows %x where the one before is %x", e.Position, e.Previous[:8], l.head[:8])
	case e.Now.before(l.now) || e.Now.Wall <= 0:
		return corrupt("entry %d is of %d and %s where the one before is of %d and %s", e.Position, e.Now.Lease, e.Now.Wall, l.now.Lease, l.now.Wall)
	}
	l.advance(e.Now)
	err := l.applyClock(e)
	switch {
	case err != nil:
	case e.Started != nil:
		err = l.applyStarted(e.Started)
	case e.Advanced != nil, e.Watched != nil, e.Stated != nil:
	case e.Counted != nil:
		if !e.Counted.Days {
			l.endPeriod(l.now.Wall, l.moment)
		}
	case e.Provisioned != nil:
		err = l.applyProvisioned(e.Provisioned)
	case e.Served != nil:
		err = l.applyServed(e.Served, e.Transfers, e.Booked)
	case e.Returned != nil:
		err = l.applyReturned(e.Returned)
	case e.Proved != nil:
		err = l.applyProved(e.Proved)
	case e.Requested != nil:
		err = l.applyRequested(e.Requested)
	case e.Dropped != nil:
		err = l.applyDropped(e.Dropped)
	case e.Modeled != nil:
		err = l.applyModeled(e.Modeled)
	case e.Reserved != nil:
		err = l.applyReserved(e.Reserved)
	case e.Configured != nil:
		err = l.applyConfigured(e.Configured)
	case e.Recovery != nil:
		err = l.applyRecovery(e.Recovery)
	case e.Drained != nil:
		err = l.applyDrained(e.Drained)
	case e.Recognized != nil:
		err = l.applyRecognized(e.Recognized)
	case e.Planned != nil:
		err = l.applyPlanned(e.Planned)
	case e.Admitted != nil:
		err = l.applyAdmitted(e.Admitted)
	case e.SignedIn != nil:
		err = e.SignedIn.check()
	case e.Certified != nil:
		err = e.Certified.check()
	case e.Registered != nil:
		err = l.applyRegistered(e.Registered)
	default:
		err = corrupt("no fact")
	}
	if err == nil {
		err = l.applySlices(e)
	}
	if err == nil {
		err = l.applyJudged(e)
	}
	if err != nil {
		return corrupt("apply entry %d: %w", e.Position, err)
	}
	l.sweep()
	return nil
}

// applySlices applies what a fact means for the slices of items.
func (l *Ledger) applySlices(e *Entry) error {
	divides := e.Provisioned != nil || e.Returned != nil || e.Modeled != nil || e.Reserved != nil
	ruled := l.model != nil || len(l.groups) > 0
	switch {
	case divides && (e.Division != nil) != ruled, e.Division != nil && !divides && (e.Advanced == nil || !ruled):
		return corrupt("a division where none belongs, or none where one does")
	case len(e.Transfers)+len(e.Booked) > 0 && (e.Division != nil || e.Served == nil && e.Advanced == nil):
		return corrupt("transfers where none belong")
	case divides || e.Division != nil:
		return l.divide(e.Division)
	case e.Advanced != nil:
		if err := l.transfer(e.Transfers); err != nil {
			return err
		}
		for _, t := range e.Transfers {
			if it := l.items[t.Item]; !it.fits() {
				return corrupt("transfers of %s take what is in use", it.ID())
			}
		}
		return l.bookOver(e.Booked)
	}
	return nil
}

// fits says that no share has more in use than it holds.
func (it *item) fits() bool {
	return !slices.ContainsFunc(it.shares(), func(s *slice) bool { return s.used > s.count })
}

// advance ends what is due.
func (l *Ledger) advance(now Now) {
	before := l.now
	l.now = now
	l.hold = l.holdAt(now)
	l.passDays(before, now)
	l.endWaits()
}

// endDue ends the leases that end up to that moment on the lease clock, in the order of their ends, and goes on to it.
func (l *Ledger) endDue(at capability.Seconds) {
	for len(l.ends) > 0 {
		s := l.ends[0].leases[0]
		if s.end > at {
			break
		}
		l.moment = max(l.moment, s.end)
		l.end(s)
	}
	l.moment = max(l.moment, at)
}

// end takes a lease out.
func (l *Ledger) end(s *lease) {
	s.row.leases = slices.DeleteFunc(s.row.leases, func(o *lease) bool { return o == s })
	l.unbook(s)
	l.gone = l.gone || s.slice.item.cut
}

// sweep forgets cut items that nobody holds any more. They keep their places until their entry is applied.
func (l *Ledger) sweep() {
	if !l.gone {
		return
	}
	l.gone = false
	l.items = slices.DeleteFunc(l.items, func(it *item) bool {
		goes := it.cut && it.idle()
		if goes {
			l.leave(it)
		}
		return goes
	})
	l.index()
}

func (l *Ledger) applyStarted(f *Started) error {
	if f.Hold != 0 && f.Hold <= l.now.Lease || f.Hold < l.hold {
		return corrupt("the hold ends at %d, it is %d and the running one ends at %d", f.Hold, l.now.Lease, l.hold)
	}
	if f.Slept < 0 || f.Slept > maxSlept || f.At < 0 || f.At > l.now.Lease {
		return corrupt("a start at %d, and %d seconds after the entry before, while it is %d", f.At, f.Slept, l.now.Lease)
	}
	if f.Life != (capability.LifeID{}) {
		if l.life != (capability.LifeID{}) {
			return corrupt("life %x began in the middle of %x", f.Life, l.life)
		}
		l.life = f.Life
	}
	if f.Lost != l.lost && (l.provisioned() || f.Lost == 0) {
		return corrupt("what was lost before is %s, and %s now", l.lost, f.Lost)
	}
	l.run, l.hold, l.lost = *f, f.Hold, f.Lost
	if f.Counts {
		if l.usage.from != 0 {
			return corrupt("usage is counted from now on, and was since %s", l.usage.from)
		}
		l.beginUsage()
	}
	return nil
}

func (l *Ledger) applyProvisioned(f *Provisioned) error {
	r := f.Response
	if err := r.Validate(); err != nil {
		return err
	}
	if err := l.revoke(f.Revoked); err != nil {
		return err
	}
	if r.Serial <= l.applied.Serial {
		return corrupt("serial %d where %d is in force", r.Serial, l.applied.Serial)
	}
	if (f.Hold != 0) != l.beginsHeld(&r) || f.Hold != 0 && f.Hold < max(l.hold, l.now.Lease+1) {
		return corrupt("a hold until %d with a response, it is %d, and what was lost is %s", f.Hold, l.now.Lease, l.lost)
	}
	if f.Hold != 0 {
		l.run.Hold, l.hold, l.lost = f.Hold, f.Hold, 0
	}
	for _, it := range l.items {
		it.cut = true
	}
	for _, i := range r.Items {
		it := l.find(i.ID())
		if it != nil {
			it.tally.run(it.leased(), l.moment)
		} else {
			it = newItem(i)
			l.come(it)
			l.items = append(l.items, it)
			l.features[i.Feature] = append(l.features[i.Feature], it)
		}
		it.LineItem, it.cut = i, false
		it.UsedBefore = 0
	}
	// What is metered is counted as long as its item is here and metered, and nothing that was leased turns into a count.
	for _, it := range l.items {
		for _, sl := range it.slices {
			for _, s := range slices.Clone(sl.leases) {
				if endless := s.end == forever; endless != it.Metered || endless && it.cut {
					l.end(s)
				}
			}
		}
	}
	l.gone = true
	l.index()
	for _, id := range r.Acknowledged {
		if i := l.pending(id); i >= 0 {
			l.returns = slices.Delete(l.returns, i, i+1)
			l.closed = append(l.closed, id)
		}
	}
	l.returns = slices.DeleteFunc(l.returns, func(t capability.Return) bool {
		refused := r.Refuses(t)
		if refused {
			l.closed = append(l.closed, t.ID)
		}
		return refused
	})
	l.endDrains(func(d Drained) bool { _, copies := l.activation(d.ActivationID); return copies == 0 })
	l.closed = l.closed[max(0, len(l.closed)-capability.MaxReturns):]
	l.written = slices.DeleteFunc(l.written, func(w Written) bool { return w.Number <= r.Number })
	l.machine.forget(r.Number)
	first, items := !l.provisioned(), r.Items
	r.Items = nil
	if l.applied, l.digest = r, f.Digest; first {
		l.before.id = r.For
		l.bookBefore(items)
	}
	l.detail()
	return nil
}

// index puts the items in order.
func (l *Ledger) index() {
	slices.SortFunc(l.items, func(a, b *item) int { return compareItems(a.ID(), b.ID()) })
	clear(l.features)
	for at, it := range l.items {
		it.place = at
		l.features[it.Feature] = append(l.features[it.Feature], it)
	}
	for _, name := range l.names() {
		slices.SortFunc(l.features[name], servingOrder)
	}
}

// servingOrder is the order in which items of one feature serve: version, non-grace first, shorter expiry first, ID.
// Items below the version asked for do not serve at all, so the one asked for comes before higher ones.
func servingOrder(a, b *item) int {
	if c := a.Version.Compare(b.Version); c != 0 {
		return c
	}
	if a.Grace != b.Grace {
		return compareBool(a.Grace, b.Grace)
	}
	if a.Expiry != b.Expiry {
		// Zero is permanent, which is the longest; unsigned and less one it is the largest.
		if uint64(a.Expiry)-1 < uint64(b.Expiry)-1 {
			return -1
		}
		return 1
	}
	return compareItems(a.ID(), b.ID())
}

func (l *Ledger) applyServed(f *Served, moves []Transfer, booked []Booking) error {
	a := &f.Answer
	if err := a.Validate(); err != nil {
		return err
	}
	r, other := l.owner(a.For, a.Key, l.now)
	if other != nil {
		return corrupt("%s belongs to key %x, not %x", a.For, other.key[:8], a.Key[:8])
	}
	var serial uint64
	if r != nil {
		serial = r.serial
	}
	if !l.provisioned() || a.Serial <= serial {
		return corrupt("serial %d for %s where the last is %d, response %d in force", a.Serial, a.For, serial, l.applied.Serial)
	}
	if r == nil {
		r = &row{id: a.For, sequence: uint64(len(l.rows))}
		l.rows = append(l.rows, r)
		l.devices[a.For] = append(l.devices[a.For], r)
	}
	leases, err := l.assert(f, r)
	if err != nil {
		return err
	}
	if f.Spent != 0 {
		if f.Spent <= max(l.ration.spent, l.now.Lease) {
			return corrupt("a move that leaves the ration at %d, and it was at %d", f.Spent, l.ration.spent)
		}
		l.ration = ration{f.Spent, l.now.Lease}
	}
	uses, old := l.usesOf(r.leases, leases), r.leases
	for _, s := range r.leases {
		l.unbook(s)
		l.gone = l.gone || s.slice.item.cut
	}
	if err := l.applyClaims(f, r); err != nil {
		return err
	}
	if err := l.remember(r, f); err != nil {
		return err
	}
	r.serial, r.who, r.leases = a.Serial, f.Who, leases
	r.active = l.now.Lease - f.Idle
	if err := l.transfer(moves); err != nil {
		return err
	}
	for _, s := range leases {
		l.book(s)
	}
	l.countServed(f, old, leases)
	if err := l.applyMeter(r, f); err != nil {
		return err
	}
	for _, u := range uses {
		if err := u.assert(l.drainOf(u.slice.item.ActivationID)); err != nil {
			return err
		}
	}
	for _, t := range moves {
		if it := l.items[t.Item]; !it.fits() {
			return corrupt("transfers of %s take what is in use", it.ID())
		}
	}
	if err := l.bookOver(booked); err != nil {
		return err
	}
	return l.applyWaits(r, f.Waits)
}

// use is what was in use of a slice before a device was served, all devices together, to be compared with what is after.
type use struct {
	slice        *slice
	before, item uint64
}

func (l *Ledger) usesOf(old, leases []*lease) []use {
	out := make([]use, 0, len(old)+len(leases))
	for _, list := range [][]*lease{old, leases} {
		for _, s := range list {
			if !slices.ContainsFunc(out, func(u use) bool { return u.slice == s.slice }) {
				out = append(out, use{s.slice, s.slice.used, s.slice.item.used})
			}
		}
	}
	return out
}

// assert says that nothing was given that was not there, or is being returned.
func (u use) assert(drain *Drained) error {
	it := u.slice.item
	if drain != nil {
		rest := less(it.LineItem, drain.Copies)
		if rest.Copies == 0 && u.slice.used > u.before && it.used > u.item || rest.Copies > 0 && !it.Uncounted && it.used > u.item && it.used > uint64(rest.Count) {
			return corrupt("%d of %s in use where %d remain after its return", it.used, it.ID(), rest.Count)
		}
	}
	switch {
	case it.Uncounted && u.slice.source == Source{}:
	case u.slice.used > u.before && u.slice.used > u.slice.count:
		return corrupt("%d of %s of %s in use where there are %d", u.slice.used, u.slice.source, it.ID(), u.slice.count)
	case it.used > u.item && it.used > uint64(it.Count) && !it.Uncounted:
		return corrupt("%d of %s in use where there are %d", it.used, it.ID(), it.Count)
	}
	return nil
}

// assert is what Decide promised: the leases are in order, and what is new in them could be given: of a slice that is, of an item in force and in its dates, reserved
// counts to their owner only, and in a hold only by a receipt.
func (l *Ledger) assert(f *Served, r *row) ([]*lease, error) {
	if len(f.Leases) > MaxLeases {
		return nil, corrupt("%d leases of %s where at most %d are kept", len(f.Leases), f.Answer.For, MaxLeases)
	}
	leases := make([]*lease, 0, len(f.Leases))
	own, kept := l.own(f.Answer.For, f.Who.User), keeping{before: r.leases}
	for i, n := range f.Leases {
		it := l.find(n.Item)
		if it == nil {
			return nil, corrupt("lease of %s, which is not here", n.Item)
		}
		sl := it.slice(n.Source)
		switch {
		case sl == nil:
			return nil, corrupt("lease of %s of %s, which has no part of it", n.Source, n.Item)
		case n.Count == 0 || n.End <= l.now.Lease || n.Lead < 0 || n.Lead > n.End || n.Told <= 0:
			return nil, corrupt("lease of %d of %s until %d, told %s, and it is %d and %s", n.Count, n.Item, n.End, n.Told, l.now.Lease, l.now.Wall)
		case i > 0 && compareLeases(f.Leases[i-1], n) >= 0:
			return nil, corrupt("leases of %s and %s are out of order", f.Leases[i-1].Item, n.Item)
		case (n.End == forever) != it.Metered || n.End > forever || n.End == forever && n.Lead != 0:
			return nil, corrupt("lease of %s until %d, and %d sooner", n.Item, n.End, n.Lead)
		}
		s := &lease{row: r, slice: sl, count: n.Count, end: n.End, lead: n.Lead, told: n.Told, dropped: n.Dropped}
		fresh := func(count uint32) error {
			n.Count = count
			return l.fresh(n, it, f, r, own)
		}
		if fresh(n.Count) != nil {
			if err := kept.keeps(s, l.hold != 0, fresh); err != nil {
				return nil, err
			}
		}
		leases = append(leases, s)
	}
	return leases, l.onlyRenewed(f, r.leases, leases)
}

// fresh says why a lease could not be a new one.
func (l *Ledger) fresh(n Lease, it *item, f *Served, r *row, own []ReservationEntry) error {
	switch {
	case it.cut || it.dated(l.dates(l.now)) != Usable || n.Dropped:
		return corrupt("a new lease of %s, which does not serve", n.Item)
	case !it.serves(f.Who.User):
		return corrupt("a new lease of %s for %q, and it is assigned to %q", n.Item, f.Who.User, it.User)
	case it.Expiry != 0 && n.End != forever && l.now.Told(n.End-n.Lead).Add(l.clock.Ahead) > it.Expiry:
		return corrupt("lease of %s until %s, past its expiry %s", n.Item, l.now.Told(n.End-n.Lead), it.Expiry)
	case l.unbound(l.now):
		return corrupt("a new lease of %s on a machine that is %s", n.Item, l.machine.Judged.Outcome)
	case l.drained(it, r, n):
		return corrupt("a new lease of %s, which is being returned", n.Item)
	case l.hold != 0 && f.Receipt == 0:
		return corrupt("a new lease of %s in a hold, without a receipt", n.Item)
	case n.Source.Entry != 0 && !slices.ContainsFunc(own, func(e ReservationEntry) bool { return e.ID == n.Source.Entry }):
		return corrupt("a new lease of %s of %s, which is not reserved for %s", n.Source, n.Item, f.Answer.For)
	}
	return nil
}

func (l *Ledger) applyReturned(f *Returned) error {
	t := f.Return
	items, copies := l.activation(t.ActivationID)
	switch {
	case t.ID == capability.ReturnID{} || t.Proof != nil || l.pending(t.ID) >= 0 || slices.Contains(l.closed, t.ID):
		return corrupt("return %x is not a new one", t.ID)
	case l.hold != 0 || len(l.returns) >= capability.MaxReturns:
		return corrupt("a return while the hold ends at %d and %d returns wait", l.hold, len(l.returns))
	case t.Copies == 0 || t.Copies > copies:
		return corrupt("return of %d copies of %s where there are %d", t.Copies, t.ActivationID, copies)
	}
	for _, it := range items {
		rest := less(it.LineItem, t.Copies)
		if it.used > uint64(rest.Count) && !it.Uncounted || !it.idle() && rest.Copies == 0 {
			return corrupt("%d of %s in use where %d would be left", it.used, it.ID(), rest.Count)
		}
		it.LineItem = rest
		it.cut = rest.Copies == 0
	}
	l.gone = true
	l.endDrains(func(d Drained) bool { return d.ActivationID == t.ActivationID })
	l.returns = append(l.returns, t)
	return nil
}

func (l *Ledger) applyProved(f *Proved) error {
	i := l.pending(f.ID)
	if i < 0 || l.returns[i].Proof != nil || len(f.Proof) == 0 || len(f.Proof) > capability.MaxEvidence {
		return corrupt("proof of %d bytes for return %x, which does not wait for one", len(f.Proof), f.ID)
	}
	l.returns[i].Proof = slices.Clone(f.Proof)
	return nil
}

func (l *Ledger) applyRequested(f *Requested) error {
	if f.Written.Number != l.number+1 {
		return corrupt("request %d where the next is %d", f.Written.Number, l.number+1)
	}
	if f.Epoch < l.epoch {
		return corrupt("request %d is of epoch %d, the one before of epoch %d", f.Written.Number, f.Epoch, l.epoch)
	}
	l.number, l.epoch = f.Written.Number, f.Epoch
	l.written = append(l.written, f.Written)
	l.written = slices.Clone(l.written[max(0, len(l.written)-capability.MaxOutstanding):])
	return l.applyNamed(f)
}

func (l *Ledger) applyDropped(f *Dropped) error {
	found := false
	for _, r := range l.devices[f.Device] {
		for _, s := range r.leases {
			if s.slice.item.Feature == f.Feature && !s.dropped {
				s.dropped, found = true, true
			}
		}
		l.order(r)
	}
	if !found {
		return corrupt("%s holds nothing of %q to drop", f.Device, f.Feature)
	}
	return nil
}
