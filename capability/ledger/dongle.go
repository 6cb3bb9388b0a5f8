package ledger

import (
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A dongle is pulled out more easily than a board. While one that the producer asks for is missing the grace is for renewals alone: nobody gets more of a feature than
// it holds, or a dongle that is carried around would serve every place it was at.

// renewsOnly says that a dongle that is asked for is missing.
func (l *Ledger) renewsOnly() bool {
	return l.applied.Policy.Binding.AsksDongle() && l.machine.Judged.Outcome == hostid.Grace
}

// renewable is what the device holds of every feature, for a request that takes more, or nil where it may.
func (s *serving) renewable() map[string]uint64 {
	if s.req.Operation == capability.Report || s.hold != 0 || !s.l.renewsOnly() { // a hold is for renewals alone, and has receipts for them
		return nil
	}
	held := map[string]uint64{}
	for _, h := range s.held {
		if !h.dropped {
			held[h.slice.item.Feature] += uint64(h.count)
		}
	}
	return held
}

// undongled says why a line gets no more than the device holds, where it asks for more.
func (s *serving) undongled(w want, asked uint32) (no capability.Denial) {
	if had := s.renews[w.Feature]; s.renews != nil && had < uint64(asked) {
		no = capability.Denial{Code: capability.ErrBinding, Subject: w.Feature, Asked: asked, Available: clip(had), Detail: "the dongle is missing, so nothing new is granted"}
	}
	return no
}

// onlyRenewed asserts that no device is told of more of a feature than it had while the dongle is missing. What it is not told of may be more for a while: what it was told
// before and moved to another item stays booked until it has heard so.
func (l *Ledger) onlyRenewed(f *Served, before, after []*lease) error {
	if !l.renewsOnly() || l.hold != 0 || f.Reported != nil || f.Undone != (capability.CorrelationID{}) {
		return nil
	}
	counts := map[string]uint64{}
	for _, s := range before {
		counts[s.slice.item.Feature] += uint64(s.count)
	}
	for _, s := range after {
		name := s.slice.item.Feature
		if s.told <= l.now.Wall {
			continue
		}
		if counts[name] < uint64(s.count) {
			return corrupt("more %s for %s than it held, and the dongle is missing", name, f.Answer.For)
		}
		counts[name] -= uint64(s.count)
	}
	return nil
}
