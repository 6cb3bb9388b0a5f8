package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Apply makes an entry a fact. It asserts what Decide refuses; an error is ErrCorrupt, after which the ledger must not be used.
func (l *Ledger) Apply(e Entry) error {
	switch {
	case e.Position != l.position+1:
		return corrupt("entry %d where the next is %d", e.Position, l.position+1)
	case e.Previous != l.head:
		return corrupt("entry %d follows %x where the one before is %x", e.Position, e.Previous[:8], l.head[:8])
	case e.Now.before(l.now) || e.Now.Wall <= 0:
		return corrupt("entry %d is of %d and %s where the one before is of %d and %s", e.Position, e.Now.Lease, e.Now.Wall, l.now.Lease, l.now.Wall)
	}
	l.advance(e.Now)
	var err error
	switch {
	case e.Started != nil:
		err = l.applyStarted(e.Started)
	case e.Advanced != nil:
	case e.Provisioned != nil:
		err = l.applyProvisioned(e.Provisioned)
	case e.Served != nil:
		err = l.applyServed(e.Served)
	case e.Returned != nil:
		err = l.applyReturned(e.Returned)
	case e.Proved != nil:
		err = l.applyProved(e.Proved)
	case e.Requested != nil:
		err = l.applyRequested(e.Requested)
	case e.Dropped != nil:
		err = l.applyDropped(e.Dropped)
	default:
		err = corrupt("no fact")
	}
	if err != nil {
		return corrupt("apply entry %d: %w", e.Position, err)
	}
	l.position, l.head = e.Position, digest(l.codec.Encode(e))
	return nil
}

// advance ends what is due.
func (l *Ledger) advance(now Now) {
	l.now = now
	l.hold = l.holdAt(now)
	for len(l.ends) > 0 {
		s := l.ends[0].leases[0]
		if s.end > now.Lease {
			return
		}
		s.row.leases = slices.DeleteFunc(s.row.leases, func(o *lease) bool { return o == s })
		l.unbook(s)
	}
}

func (l *Ledger) applyStarted(f *Started) error {
	if f.Hold != 0 && f.Hold <= l.now.Lease || f.Hold < l.hold {
		return corrupt("the hold ends at %d, it is %d and the running one ends at %d", f.Hold, l.now.Lease, l.hold)
	}
	l.run, l.hold = *f, f.Hold
	return nil
}

func (l *Ledger) applyProvisioned(f *Provisioned) error {
	r := f.Response
	if err := r.Validate(); err != nil {
		return err
	}
	if r.Serial <= l.applied.Serial {
		return corrupt("serial %d where %d is in force", r.Serial, l.applied.Serial)
	}
	for _, it := range l.items {
		it.cut = true
	}
	for _, i := range r.Items {
		it := l.find(i.ID())
		if it == nil {
			it = &item{}
			l.items = append(l.items, it)
			l.features[i.Feature] = append(l.features[i.Feature], it)
		}
		it.LineItem, it.cut = i, false
	}
	l.index()
	for _, id := range r.Acknowledged {
		if i := l.pending(id); i >= 0 {
			l.returns = slices.Delete(l.returns, i, i+1)
			l.closed = append(l.closed, id)
		}
	}
	l.closed = l.closed[max(0, len(l.closed)-capability.MaxReturns):]
	l.written = slices.DeleteFunc(l.written, func(w Written) bool { return w.Number <= r.Number })
	r.Items = nil
	l.applied, l.digest = r, f.Digest
	return nil
}

// index forgets cut items without leases, and puts the rest in order.
func (l *Ledger) index() {
	l.items = slices.DeleteFunc(l.items, func(it *item) bool { return it.cut && it.used == 0 })
	slices.SortFunc(l.items, func(a, b *item) int { return compareItems(a.ID(), b.ID()) })
	clear(l.features)
	for _, it := range l.items {
		it.over = !it.cut && !it.Uncounted && it.used > uint64(it.Count)
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

// forget takes one item out.
func (l *Ledger) forget(it *item) {
	is := func(o *item) bool { return o == it }
	l.items = slices.DeleteFunc(l.items, is)
	list := slices.DeleteFunc(l.features[it.Feature], is)
	if len(list) == 0 {
		delete(l.features, it.Feature)
	} else {
		l.features[it.Feature] = list
	}
}

func (l *Ledger) applyServed(f *Served) error {
	a := &f.Answer
	if err := a.Validate(); err != nil {
		return err
	}
	r := l.devices[a.For]
	var serial uint64
	var old []*lease
	if r != nil {
		if serial, old = r.serial, r.leases; r.key != a.Key && len(old) > 0 {
			return corrupt("%s belongs to key %x, not %x", a.For, r.key[:8], a.Key[:8])
		}
	}
	if !l.provisioned() || a.Serial <= serial {
		return corrupt("serial %d for %s where the last is %d, response %d in force", a.Serial, a.For, serial, l.applied.Serial)
	}
	leases, err := l.assert(f, old)
	if err != nil {
		return err
	}
	if r == nil {
		r = &row{id: a.For, sequence: uint64(len(l.rows))}
		l.rows = append(l.rows, r)
		l.devices[a.For] = r
	}
	r.key, r.serial, r.correlation, r.body, r.who = a.Key, a.Serial, a.Correlation, f.Body, f.Who
	r.answer = l.codec.Encode(a)
	// The new leases come before the old ones go, so that a cut item that is kept is not forgotten in between.
	r.leases = nil
	for _, s := range leases {
		s.row = r
		l.book(s)
	}
	for _, s := range old {
		l.unbook(s)
	}
	return nil
}

// assert is what Decide promised: the leases are in order, and what is new in them could be given: of an item in force and in its dates, within its count, and in a hold only by a receipt.
func (l *Ledger) assert(f *Served, old []*lease) ([]*lease, error) {
	type use struct{ before, after uint64 }
	uses := map[*item]*use{}
	of := func(it *item) *use {
		if uses[it] == nil {
			uses[it] = &use{}
		}
		return uses[it]
	}
	for _, s := range old {
		of(s.item).before += uint64(s.count)
	}
	leases := make([]*lease, 0, len(f.Leases))
	for i, n := range f.Leases {
		it := l.find(n.Item)
		switch {
		case it == nil:
			return nil, corrupt("lease of %s, which is not here", n.Item)
		case n.Count == 0 || n.End <= l.now.Lease || n.Told <= 0:
			return nil, corrupt("lease of %d of %s until %d, told %s, and it is %d and %s", n.Count, n.Item, n.End, n.Told, l.now.Lease, l.now.Wall)
		case i > 0 && compareLeases(f.Leases[i-1], n) >= 0:
			return nil, corrupt("leases of %s and %s are out of order", f.Leases[i-1].Item, n.Item)
		}
		kept := slices.ContainsFunc(old, func(s *lease) bool {
			return s.item == it && s.end == n.End && s.dropped == n.Dropped && s.count >= n.Count && (l.hold == 0 || n.Told <= s.told)
		})
		switch {
		case kept:
		case it.cut || it.dated(l.now.Wall) != 0 || n.Dropped:
			return nil, corrupt("a new lease of %s, which does not serve", n.Item)
		case it.Expiry != 0 && l.now.Told(n.End) > it.Expiry:
			return nil, corrupt("lease of %s until %s, past its expiry %s", n.Item, l.now.Told(n.End), it.Expiry)
		case l.hold != 0 && f.Receipt == 0:
			return nil, corrupt("a new lease of %s in a hold, without a receipt", n.Item)
		}
		of(it).after += uint64(n.Count)
		leases = append(leases, &lease{item: it, count: n.Count, end: n.End, told: n.Told, dropped: n.Dropped})
	}
	for _, s := range leases {
		it, u := s.item, uses[s.item]
		if total := it.used - u.before + u.after; !it.Uncounted && u.after > u.before && total > uint64(it.Count) {
			return nil, corrupt("%d of %s in use where there are %d", total, it.ID(), it.Count)
		}
	}
	return leases, nil
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
		if it.used > uint64(rest.Count) && !it.Uncounted || it.used > 0 && rest.Copies == 0 {
			return corrupt("%d of %s in use where %d would be left", it.used, it.ID(), rest.Count)
		}
		it.LineItem = rest
		it.cut = rest.Copies == 0
	}
	l.index()
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
	l.number = f.Written.Number
	l.written = append(l.written, f.Written)
	l.written = slices.Clone(l.written[max(0, len(l.written)-capability.MaxOutstanding):])
	return nil
}

func (l *Ledger) applyDropped(f *Dropped) error {
	r := l.devices[f.Device]
	if r == nil {
		return corrupt("%s is not known", f.Device)
	}
	found := false
	for _, s := range r.leases {
		if s.item.Feature == f.Feature && !s.dropped {
			s.dropped, found = true, true
		}
	}
	if !found {
		return corrupt("%s holds nothing of %q to drop", f.Device, f.Feature)
	}
	return nil
}
