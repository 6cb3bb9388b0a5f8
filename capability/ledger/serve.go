package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// serve is the grant algorithm: what the device held counts as given back, then every line is granted anew, in order.
func (l *Ledger) serve(now Now, c Serve) (Decision, error) {
	req := &c.Request
	if err := validate(req); err != nil {
		return Decision{}, err
	}
	r := l.devices[req.Hosts[0]]
	s := &serving{draft: l.draft(now, r), req: req, policy: l.policy(), hold: l.holdAt(now), room: holdersRoom}
	s.answer = capability.Response{
		Version: capability.Protocol, For: req.Hosts[0], Key: c.Key, Correlation: req.Correlation, Time: now.Wall, Lifetime: s.policy.ResponseLife,
		Policy: capability.Policy{Lease: s.policy.Lease, RenewPercent: s.policy.RenewPercent, Tolerance: s.policy.Tolerance},
	}
	if s.hold != 0 {
		s.answer.Hold = now.Told(s.hold)
	}
	switch {
	case !l.provisioned():
		return s.deny(capability.Denial{Code: capability.ErrNotProvisioned})
	case req.Operation == capability.Undo:
		return s.deny(capability.Denial{Code: capability.ErrOperation, Subject: req.Operation.String()})
	case r != nil && r.key != c.Key && len(s.held) > 0:
		return s.deny(capability.Denial{Code: capability.ErrDeviceKey, Subject: r.name(), Until: now.Told(lastEnd(s.held))})
	}
	body := digest(l.codec.Encode(req))
	if r != nil && r.key == c.Key && r.correlation == req.Correlation {
		if r.body != body {
			return s.deny(capability.Denial{Code: capability.ErrCorrelationReused})
		}
		var again capability.Response
		if err := l.codec.Decode(r.answer, &again, MaxEntry); err != nil {
			return Decision{}, corrupt("remembered answer to %s: %w", r.id, err)
		}
		return Decision{Response: again}, nil
	}

	var serial uint64
	if r != nil {
		serial = r.serial
	}
	s.receipt = c.Receipt
	if !s.receipt.proves(req, c.Key, serial) {
		s.receipt = nil
	}
	// A device that has seen a newer answer than this ledger knows of shows that the state is an older copy: what the ledger has for it may have gone to
	// another since. In a hold it gets what its receipt proves, or hears nothing and keeps what it has.
	stale := s.hold != 0 && max(req.Applied, s.receipt.serial()) > serial
	late := capability.Denial{Code: capability.ErrHold, Until: now.Told(s.hold)}
	if req.Operation == capability.Report {
		if stale {
			return s.deny(late)
		}
		s.release()
		s.restore()
		s.tell(s.merged())
		return Decision{Response: s.answer}, nil
	}
	s.release()
	pure := s.lines()
	if stale && !pure && (len(s.refused) > 0 || s.receipt.serial() < req.Applied) {
		return s.deny(late)
	}
	s.settle(pure)
	grants := s.merged()
	s.tell(grants)
	if many := len(grants) + len(s.answer.Lines); many > fewLines && len(l.codec.Encode(&s.answer)) > maxAnswer {
		return Decision{}, malformed("desired", "%d lines answered with %d rights do not fit one message", len(s.answer.Lines), len(grants))
	}
	if req.Operation == capability.Preview {
		s.answer.Status = capability.StatusPreview
		return Decision{Response: s.answer}, nil
	}
	s.answer.Serial = max(serial, s.receipt.serial(), claimed(req.Applied)) + 1
	entry := &Served{
		Answer: s.answer, Body: body, Receipt: s.used,
		Who: Who{User: req.User, Alias: req.Alias, DeviceType: req.DeviceType},
	}
	for _, g := range grants {
		entry.Leases = append(entry.Leases, g.lease())
	}
	d := l.decided(now, Entry{Served: entry})
	d.Response, d.Move = s.answer, s.moves(grants)
	return d, nil
}

// An answer that does not fit a frame with its proof is never told, so nothing may be decided by it. Up to fewLines of the longest lines and rights always fit.
const (
	maxAnswer   = capability.MaxFrame - 2<<10
	fewLines    = 12
	holdersRoom = 4 << 10 // bytes of all the holders named in one answer
)

// tell puts what the device holds into the answer. In a hold nobody is told a later end than before without a receipt: the lease clock of an older copy is behind,
// and what ended since may have gone to another. A lease that ended by what was told stays booked, but is not told again.
func (s *serving) tell(grants []grant) {
	for i := range grants {
		g := &grants[i]
		if told := s.now.Told(g.end); s.hold == 0 || told < g.told {
			g.told = told
		}
		if g.told > s.now.Wall {
			s.answer.Rights = append(s.answer.Rights, capability.Right{
				Feature: g.item.Feature, Version: g.item.Version, Count: g.count, Expiry: g.told, Final: g.item.Expiry, Vendor: g.item.VendorString,
			})
		}
	}
}

// validate is what the ledger asks of a request beyond its own Validate: features only, and no sum of lines that a count could not hold.
func validate(req *capability.Request) error {
	if err := req.Validate(); err != nil {
		return err
	}
	sums := make(map[string]uint64, len(req.Desired))
	for _, w := range req.Desired {
		if w.ActivationID != "" {
			return malformed("desired", "an appliance serves features, and %s is an activation ID", w.ActivationID)
		}
		if sums[w.Feature] += uint64(w.Count); sums[w.Feature] > capability.MaxCount {
			return malformed("desired", "the lines of %q ask for more than %d", w.Feature, capability.MaxCount)
		}
	}
	return nil
}

// claimed is the serial that a device says it has applied. It only makes the next one larger; what cannot be counted on from is not believed.
func claimed(applied uint64) uint64 {
	if applied >= 1<<62 {
		return 0
	}
	return applied
}

func lastEnd(leases []*lease) (end capability.Seconds) {
	for _, s := range leases {
		end = max(end, s.end)
	}
	return end
}

// proves says that the receipt is about this device and key, and not older than what the ledger knows.
func (r *Receipt) proves(req *capability.Request, key capability.Digest, serial uint64) bool {
	return r != nil && r.For == req.Hosts[0] && r.Key == key && r.Serial >= serial && r.Serial < 1<<62
}

func (r *Receipt) serial() uint64 {
	if r == nil {
		return 0
	}
	return r.Serial
}

// serving is one request on its way through the algorithm.
type serving struct {
	*draft
	req     *capability.Request
	policy  capability.Policy
	hold    capability.Seconds // end of the running hold, or zero
	receipt *Receipt           // nil unless it proves something
	rights  []capability.Right // of the receipt, less what lines have renewed
	used    uint64             // serial of the receipt, once it renewed something
	refused []string           // features with a refused line
	room    int                // bytes left for holders
	answer  capability.Response
}

// deny refuses the request as a whole: nothing changes, nothing is told of what the device has.
func (s *serving) deny(no capability.Denial) (Decision, error) {
	s.answer.Status, s.answer.Lines, s.answer.Denials = capability.StatusDenied, nil, []capability.Denial{no}
	return Decision{Response: s.answer}, nil
}

// lines grants every line, in order. A request that desires nothing, or counts of zero only, is a pure giving back.
func (s *serving) lines() (pure bool) {
	if s.receipt != nil {
		s.rights = slices.Clone(s.receipt.Rights)
	}
	pure = true
	for _, w := range s.req.Desired {
		pure = pure && w.Count == 0
		s.answer.Lines = append(s.answer.Lines, s.line(w))
	}
	return pure
}

// line grants one line in full, or in part where that will do, or not at all.
func (s *serving) line(w capability.Desired) capability.Line {
	if w.Count == 0 {
		return capability.Line{}
	}
	refuse := func(no capability.Denial) capability.Line {
		s.refused = append(s.refused, w.Feature)
		return capability.Line{Status: capability.LineInsufficient, Denial: no}
	}
	for _, h := range s.held {
		if h.dropped && h.item.Feature == w.Feature {
			return refuse(capability.Denial{Code: capability.ErrNoSeat, Subject: w.Feature, Asked: w.Count, Until: s.now.Told(h.end), Detail: "an administrator dropped this lease"})
		}
	}
	asked := w.Count
	if s.hold != 0 {
		covered := s.cover(w, asked)
		if covered == 0 || covered < asked && !w.Partial {
			return refuse(capability.Denial{Code: capability.ErrHold, Subject: w.Feature, Asked: asked, Available: covered, Until: s.now.Told(s.hold)})
		}
		asked = covered
	}
	var available uint64
	sources := s.sources(w)
	for _, it := range sources {
		available += s.free(it)
	}
	if available < uint64(asked) && (!w.Partial || s.hold != 0 && available == 0) {
		return refuse(s.explain(w, available))
	}
	if s.hold != 0 {
		s.spend(w, clip(min(uint64(asked), available)))
	}
	need := clip(min(uint64(asked), available))
	out := capability.Line{Count: need}
	if need < w.Count {
		out.Status, out.Denial = capability.LinePartial, s.explain(w, available)
	}
	for _, it := range sources {
		if n := clip(min(uint64(need), s.free(it))); n > 0 {
			s.take(it, n, s.end(it))
			need -= n
		}
	}
	return out
}

// sources is every item that may serve the line now, in serving order: the requested version first, then higher ones, then non-grace, then shorter expiry, then ID.
func (s *serving) sources(w capability.Desired) (out []*item) {
	for _, it := range s.l.features[w.Feature] {
		if it.Version.Compare(w.Version) >= 0 && it.dated(s.now.Wall) == 0 && selects(it.Selectors, w.Selectors) {
			out = append(out, it)
		}
	}
	return out
}

// dated is negative before the start of an item, positive from its expiry on, and zero between.
func (i *item) dated(now capability.Time) int {
	switch {
	case now < i.Start:
		return -1
	case i.Expiry != 0 && now >= i.Expiry:
		return 1
	}
	return 0
}

// selects says that the item has every pair that the line names.
func selects(have, want []capability.Pair) bool {
	for _, p := range want {
		if !slices.Contains(have, p) {
			return false
		}
	}
	return true
}

// end is when a lease of the item that begins now ends: after the smallest interval that anyone named, and never past the item's expiry.
func (s *serving) end(it *item) capability.Seconds {
	length := s.policy.Lease
	for _, other := range []capability.Seconds{it.Borrow, s.req.Borrow, s.policy.BorrowMaximum} {
		if other > 0 {
			length = min(length, other)
		}
	}
	if it.Expiry != 0 {
		length = min(length, capability.Seconds(it.Expiry-s.now.Wall))
	}
	return s.now.Lease + length
}

// moves says that a lease is longer than a hold would last, so that a hold does not cover it.
func (s *serving) moves(grants []grant) bool {
	for _, g := range grants {
		if g.end-s.now.Lease > s.policy.Lease {
			return true
		}
	}
	return false
}

// cover is how much of the line the receipt's rights still cover.
func (s *serving) cover(w capability.Desired, asked uint32) uint32 {
	var n uint64
	for _, r := range s.rights {
		if s.covers(r, w) {
			n += uint64(r.Count)
		}
	}
	return clip(min(n, uint64(asked)))
}

func (s *serving) covers(r capability.Right, w capability.Desired) bool {
	return r.Feature == w.Feature && r.Version.Compare(w.Version) >= 0 && r.Expiry > s.now.Wall
}

// spend takes what a line renewed from the receipt's rights, lowest version first, so that no right covers two lines.
func (s *serving) spend(w capability.Desired, count uint32) {
	s.used = s.receipt.Serial
	slices.SortStableFunc(s.rights, func(a, b capability.Right) int { return a.Version.Compare(b.Version) })
	for i := range s.rights {
		if r := &s.rights[i]; s.covers(*r, w) {
			n := min(r.Count, count)
			r.Count -= n
			count -= n
		}
	}
}

// settle applies what refusals mean for what the device had, and says the outcome. In a hold a line that is not renewed gives back what it did not ask for.
func (s *serving) settle(pure bool) {
	switch {
	case len(s.refused) > 0 && s.req.Atomic:
		s.restore()
		s.answer.Status = capability.StatusUnchanged
		for i := range s.answer.Lines {
			if s.answer.Lines[i].Status != capability.LineInsufficient {
				s.answer.Lines[i].Count = 0
			}
		}
	case len(s.refused) > 0:
		slices.Sort(s.refused)
		for _, name := range slices.Compact(s.refused) {
			limit := uint64(1<<64 - 1)
			if s.hold != 0 {
				limit = 0
				for _, w := range s.req.Desired {
					if w.Feature == name {
						limit += uint64(w.Count)
					}
				}
			}
			s.keep(name, limit)
		}
		s.answer.Status = capability.StatusPartly
	case pure:
		s.answer.Status = capability.StatusReturned
	}
}

// explain says why a line gets less than it asked for, with the most useful code.
func (s *serving) explain(w capability.Desired, available uint64) capability.Denial {
	no := capability.Denial{Code: capability.ErrNotEntitled, Subject: w.Feature, Asked: w.Count}
	var fitting, dated []*item
	for _, it := range s.l.features[w.Feature] {
		switch {
		case it.cut || !selects(it.Selectors, w.Selectors):
			continue
		case it.Version.Compare(w.Version) < 0:
			if it.Version.Compare(no.Highest) > 0 {
				no.Highest = it.Version
			}
			no.Code = capability.ErrVersion
			continue
		}
		fitting = append(fitting, it)
		if it.dated(s.now.Wall) == 0 {
			dated = append(dated, it)
		}
	}
	if len(fitting) == 0 {
		return no
	}
	no.Highest = capability.Version{}
	if len(dated) == 0 {
		no.Code = capability.ErrExpired
		for _, it := range fitting {
			if it.dated(s.now.Wall) < 0 && (no.Code == capability.ErrExpired || it.Start < no.Until) {
				no.Code, no.Until = capability.ErrNotStarted, it.Start
			}
		}
		return no
	}
	no.Code, no.Available = capability.ErrNoSeat, clip(available)
	var total, used uint64
	for _, it := range dated {
		total += uint64(it.Count)
		used += uint64(s.draft.used(it))
		if s.over(it) {
			no.Code = capability.ErrOverage
		}
	}
	no.Total, no.Used = clip(total), clip(used)
	no.Until, no.Holders = s.holders(dated, s.policy.Holders, s.room)
	for _, h := range no.Holders {
		s.room -= len(h.Name) + holderBytes
	}
	return no
}
