package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What is metered is counted, not leased: a count has no end of its own. A reusable count may go down again, another only up. A counted item refuses
// what is above its count, an uncounted one only records. A report sets the counts of metered features and touches nothing else; an undo takes back what one
// report added, while the undo interval of the item runs.

// MaxReports bounds the reports of one device that can be undone; the oldest go first.
const MaxReports = 32

// Reported is what one report added.
type Reported struct {
	Correlation capability.CorrelationID `cbor:"1,keyasint,omitzero"`
	Parts       []ReportedPart           `cbor:"2,keyasint,omitempty"`
}

// ReportedPart is what it added to one item, and until when that can be undone, on the lease clock.
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

// reported is what the report added to items that have an undo interval; nil if nothing.
func (s *serving) reported(grants []grant) *Reported {
	r := &Reported{Correlation: s.req.Correlation}
	for _, g := range grants {
		it := g.slice.item
		if n := s.change[g.slice]; it.Metered && it.UndoInterval > 0 && n > 0 {
			r.Parts = append(r.Parts, ReportedPart{Item: it.ID(), Count: clip(n), Until: s.now.Lease + it.UndoInterval})
		}
	}
	if len(r.Parts) == 0 {
		return nil
	}
	return r
}

// undo drafts what the device has without the report that the request names by its correlation ID.
func (s *serving) undo(f *Served) bool {
	if s.row == nil {
		return false
	}
	i := slices.IndexFunc(s.row.reports, func(r Reported) bool { return r.Correlation == s.req.Correlation })
	if i < 0 || slices.ContainsFunc(s.row.reports[i].Parts, func(p ReportedPart) bool { return p.Until <= s.now.Lease }) {
		return false
	}
	s.release()
	s.restore(s.mayKeep)
	for _, p := range s.row.reports[i].Parts {
		for j := range s.grants {
			if g := &s.grants[j]; g.end == forever && g.slice.item.ID() == p.Item {
				n := min(g.count, p.Count)
				g.count -= n
				s.change[g.slice] -= int64(n)
				p.Count -= n
			}
		}
	}
	s.grants = slices.DeleteFunc(s.grants, func(g grant) bool { return g.count == 0 })
	f.Undone = s.req.Correlation
	return true
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
		return !slices.ContainsFunc(p.Parts, func(p ReportedPart) bool { return p.Until > l.now.Lease })
	})
	if f.Reported != nil {
		for _, p := range f.Reported.Parts {
			if it := l.find(p.Item); it == nil || !it.Metered || p.Count == 0 || p.Until <= l.now.Lease {
				return corrupt("a report of %d of %s until %d", p.Count, p.Item, p.Until)
			}
		}
		r.reports = append(r.reports, *f.Reported)
		r.reports = slices.Clone(r.reports[max(0, len(r.reports)-MaxReports):])
	}
	return nil
}
