package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What is metered is counted, not leased: a count has no end of its own. A reusable count may go down again, another only up. A counted item refuses
// what is above its count, an uncounted one only records. A report sets the counts of metered features and touches nothing else: of what is leased it says what is held. An undo takes back what one
// report added, or gives again what it took where that is still free, while the undo interval of the item runs.

// MaxReports bounds the reports of one device that can be undone; the oldest go first.
const MaxReports = 32

// Reported is what one report changed.
type Reported struct {
	Correlation capability.CorrelationID `cbor:"1,keyasint,omitzero"`
	Parts       []ReportedPart           `cbor:"2,keyasint,omitempty"` // added
	Taken       []ReportedPart           `cbor:"3,keyasint,omitempty"` // of what may be used again
}

// all is every part, whichever way it went.
func (r Reported) all() []ReportedPart { return slices.Concat(r.Parts, r.Taken) }

// ReportedPart is what it added to one item or took from it, and until when that can be undone, on the lease clock.
type ReportedPart struct {
	_     struct{} `cbor:",toarray"`
	Item  capability.ItemID
	Count uint32
	Until capability.Seconds
}

// metered says that an item of the feature is.
func (s *serving) metered(feature string) bool {
	return slices.ContainsFunc(s.l.features[feature], func(it *item) bool { return it.Metered && !it.cut })
}

// reports says that the request is a report about something metered.
func (s *serving) reports() bool {
	return s.req.Operation == capability.Report && slices.ContainsFunc(s.req.Desired, func(w capability.Desired) bool { return s.metered(w.Feature) })
}

// repeat answers a line of a report about what is leased: with what the device holds of it, as far as no line before did. Nothing is granted or renewed.
func (s *serving) repeat(w capability.Desired) capability.Line {
	if s.repeated == nil {
		s.repeated = map[*lease]uint32{}
	}
	var out capability.Line
	for _, h := range s.held {
		if it := h.slice.item; it.Feature == w.Feature && it.Version.Compare(w.Version) >= 0 && selects(it.Selectors, w.Selectors) {
			n := min(h.count-s.repeated[h], w.Count-out.Count)
			s.repeated[h] += n
			out.Count += n
		}
	}
	if out.Count < w.Count {
		out.Status = capability.LinePartial
	}
	return out
}

// reported is what the report changed of items that have an undo interval; nil if nothing.
func (s *serving) reported() *Reported {
	r := &Reported{Correlation: s.req.Correlation}
	for _, it := range s.touched {
		if !it.Metered || it.UndoInterval <= 0 {
			continue
		}
		switch n := s.change.of(it.slices[inDefault]) + s.change.of(it.slices[inOverdraft]); {
		case n > 0:
			r.Parts = append(r.Parts, ReportedPart{Item: it.ID(), Count: clip(n), Until: s.now.Lease + it.UndoInterval})
		case n < 0:
			r.Taken = append(r.Taken, ReportedPart{Item: it.ID(), Count: clip(-n), Until: s.now.Lease + it.UndoInterval})
		}
	}
	if len(r.all()) == 0 {
		return nil
	}
	return r
}

// undo drafts what the device has without the report that the request names, or says why that cannot be.
func (s *serving) undo(f *Served) (no capability.Denial) {
	no.Code = capability.ErrUndo
	if s.row == nil {
		return no
	}
	i := slices.IndexFunc(s.row.reports, func(r Reported) bool { return r.Correlation == s.req.Undoes })
	if i < 0 || slices.ContainsFunc(s.row.reports[i].all(), func(p ReportedPart) bool { return p.Until <= s.now.Lease }) {
		return no
	}
	s.route = s.l.routeOf(s.req)
	s.release()
	s.restore(s.mayKeep)
	for _, p := range s.row.reports[i].Parts {
		for j := range s.grants {
			if g := &s.grants[j]; g.end == forever && g.slice.item.ID() == p.Item {
				n := min(g.count, p.Count)
				g.count -= n
				s.change.add(g.slice, -int64(n))
				p.Count -= n
			}
		}
	}
	s.grants = slices.DeleteFunc(s.grants, func(g grant) bool { return g.count == 0 })
	s.limits = s.limitsOf()
	for i := range s.limits {
		for _, g := range s.grants {
			if m := &s.limits[i]; m.covers(g.slice.item) {
				m.left -= min(m.left, uint64(g.count))
			}
		}
	}
	for _, p := range s.row.reports[i].Taken {
		if no := s.giveAgain(p); no.Code != 0 {
			return no
		}
	}
	f.Undone = s.req.Undoes
	return capability.Denial{}
}

// giveAgain takes for the device what a report took from it, all of it or nothing.
func (s *serving) giveAgain(p ReportedPart) capability.Denial {
	it := s.l.find(p.Item)
	w := want{Desired: capability.Desired{Feature: p.Item.Feature, Count: p.Count}}
	if it == nil || it.cut || !it.Metered {
		return capability.Denial{Code: capability.ErrNotEntitled, Subject: w.Feature, Asked: w.Count}
	}
	switch {
	case s.hold != 0:
		return capability.Denial{Code: capability.ErrHold, Subject: w.Feature, Asked: w.Count, Until: s.now.Told(s.hold)}
	case s.l.unbound(s.now):
		return capability.Denial{Code: capability.ErrBinding, Subject: w.Feature, Asked: w.Count}
	case s.l.strange(s.answer.Key):
		return capability.Denial{Code: capability.ErrClientKey, Subject: w.Feature, Asked: w.Count}
	}
	w.Version = it.Version
	var sources []*slice
	if it.dated(s.l.dates(s.now)) == Usable && it.serves(s.req.User) {
		sources = it.slices[:firstShare]
	}
	if got, limited := s.draw(sources, uint64(p.Count), 0, false); got < uint64(p.Count) {
		return s.why(w, sources, limited)
	}
	s.draw(sources, uint64(p.Count), 0, true)
	return capability.Denial{}
}

// applyMeter keeps what can still be undone.
func (l *Ledger) applyMeter(r *row, f *Served) error {
	if f.Undone != (capability.CorrelationID{}) {
		i := slices.IndexFunc(r.reports, func(p Reported) bool { return p.Correlation == f.Undone })
		if i < 0 {
			return corrupt("an undo of report %x, which is not here", f.Undone[:4])
		}
		r.reports = slices.Delete(r.reports, i, i+1)
	}
	r.reports = slices.DeleteFunc(r.reports, func(p Reported) bool {
		return !slices.ContainsFunc(p.all(), func(p ReportedPart) bool { return p.Until > l.now.Lease })
	})
	if f.Reported != nil {
		for _, p := range f.Reported.all() {
			if it := l.find(p.Item); it == nil || !it.Metered || p.Count == 0 || p.Until <= l.now.Lease {
				return corrupt("a report about %d of %s until %d", p.Count, p.Item, p.Until)
			}
		}
		r.reports = append(r.reports, *f.Reported)
		r.reports = slices.Clone(r.reports[max(0, len(r.reports)-MaxReports):])
	}
	return nil
}
