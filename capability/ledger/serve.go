package ledger

import (
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// serve is the grant algorithm (FEATURES.md 3): what the device held counts as given back, then every line is granted anew, in order.
func (l *Ledger) serve(now Now, c Serve) (Decision, error) {
	req := &c.Request
	if err := validate(req); err != nil {
		return Decision{}, err
	}
	r, other := l.owner(req.Hosts[0], c.Key, now)
	s := &serving{draft: l.draft(now, r, req.User), req: req, policy: l.policy(), hold: l.holdAt(now), room: holdersRoom}
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
	case other != nil:
		return s.deny(capability.Denial{Code: capability.ErrDeviceKey, Subject: other.name(), Until: now.Told(lastEnd(other.live(now)))})
	}
	body := digest(l.codec.Encode(req))
	if r != nil && r.key == c.Key && r.correlation == req.Correlation && req.Operation != capability.Undo {
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
	f := &Served{Body: body, Who: Who{User: req.User, Alias: req.Alias, DeviceType: req.DeviceType}, Idle: req.Idle}
	pure := false
	switch reports := s.reports(); {
	case req.Operation == capability.Undo:
		if !s.undo(f) {
			return s.deny(capability.Denial{Code: capability.ErrUndo})
		}
	case req.Operation == capability.Report && stale:
		return s.deny(late)
	case req.Operation == capability.Report && !reports:
		s.release()
		s.restore()
		s.tell(s.merged())
		return Decision{Response: s.answer}, nil
	default:
		s.route = l.model.Route(model.Facts{Hosts: req.Hosts, User: req.User, Alias: req.Alias, DeviceType: req.DeviceType, Dictionary: req.Dictionary})
		s.entries = l.own(req.Hosts[0], req.User)
		wants := s.wants()
		pure = !slices.ContainsFunc(wants, func(w want) bool { return w.Count > 0 })
		if !s.route.Accept && !pure {
			return s.deny(s.ruledOut())
		}
		s.release()
		s.lines(wants)
		if stale && !pure && (len(s.refused) > 0 || s.receipt.serial() < req.Applied) {
			return s.deny(late)
		}
		s.settleLines(pure)
	}
	grants := s.merged()
	s.tell(grants)
	if many := len(grants) + len(s.answer.Lines); many > fewLines && len(l.codec.Encode(&s.answer)) > maxAnswer {
		return Decision{}, malformed("desired", "%d lines answered with %d rights do not fit one message", len(s.answer.Lines), len(grants))
	}
	if req.Operation == capability.Preview {
		s.answer.Status = capability.StatusPreview
		return Decision{Response: s.answer, Explained: s.explained}, nil
	}
	s.answer.Serial = max(serial, s.receipt.serial(), claimed(req.Applied)) + 1
	f.Answer, f.Receipt, f.Waits = s.answer, s.used, s.waits
	for _, g := range grants {
		f.Leases = append(f.Leases, g.lease())
	}
	if req.Operation == capability.Report {
		f.Reported = s.reported(grants)
	}
	d := l.decided(now, Entry{Served: f, Transfers: s.transfers()})
	d.Response, d.Move, d.Explained = s.answer, s.moves(grants), s.explained
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
		it := g.slice.item
		if told := s.now.ends(it, g.end); s.hold == 0 || told < g.told {
			g.told = told
		}
		if g.told > s.now.Wall {
			s.answer.Rights = append(s.answer.Rights, capability.Right{
				Feature: it.Feature, Version: it.Version, Count: g.count, Expiry: g.told, Final: it.Expiry, Vendor: it.VendorString,
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
		if s.end != forever {
			end = max(end, s.end)
		}
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
	req       *capability.Request
	policy    capability.Policy
	route     model.Route
	entries   []ReservationEntry // that the request draws on
	limits    []limit
	hold      capability.Seconds // end of the running hold, or zero
	receipt   *Receipt           // nil unless it proves something
	rights    []capability.Right // of the receipt, less what lines have renewed
	used      uint64             // serial of the receipt, once it renewed something
	refused   []string           // features with a refused line
	waits     []Wait
	explained []Explained
	room      int // bytes left for holders
	answer    capability.Response
}

// want is a line of the request, or one that stands for a request that names nothing.
type want struct {
	capability.Desired
	entry uint64 // of this reservation entry only
}

// deny refuses the request as a whole: nothing changes, nothing is told of what the device has.
func (s *serving) deny(no capability.Denial) (Decision, error) {
	s.answer.Status, s.answer.Lines, s.answer.Denials = capability.StatusDenied, nil, []capability.Denial{no}
	return Decision{Response: s.answer, Explained: s.explained}, nil
}

// wants is the lines of the request. A request that names nothing asks for what is its own: all that is reserved for the device and the user, or what the model says.
func (s *serving) wants() (out []want) {
	for _, w := range s.req.Desired {
		out = append(out, want{Desired: w})
	}
	if len(out) > 0 || !s.route.Accept {
		return out
	}
	for _, e := range s.entries {
		out = append(out, want{capability.Desired{Feature: e.Feature, Version: e.Version, Count: e.Count, Partial: true}, e.ID})
	}
	for _, w := range s.spec() {
		out = append(out, want{Desired: w})
	}
	return out
}

// spec is what the clause of the model asks for where a request names nothing. "all from" asks for what each allocation of its pools was given.
func (s *serving) spec() []capability.Desired {
	switch {
	case s.route.Spec == nil:
		return nil
	case len(s.route.Spec.All) == 0:
		return model.Distribution{}.Lines(s.route.Spec)
	}
	return s.l.Distribution(s.now).Lines(s.route.Spec)
}

// lines grants every line, in order.
func (s *serving) lines(wants []want) {
	if s.receipt != nil {
		s.rights = slices.Clone(s.receipt.Rights)
	}
	s.limits = s.limitsOf()
	s.settleItems(wants)
	for i, w := range wants {
		line := s.line(i, w)
		if len(s.req.Desired) > 0 {
			s.answer.Lines = append(s.answer.Lines, line)
		}
	}
}

// settleItems puts the counts of the features in question where they belong, after what the device held came back.
func (s *serving) settleItems(wants []want) {
	names := make([]string, 0, len(wants)+len(s.held))
	for _, w := range wants {
		names = append(names, w.Feature)
	}
	for _, h := range s.held {
		names = append(names, h.slice.item.Feature)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		for _, it := range s.l.features[name] {
			s.settle(it, s.reaches)
		}
	}
}

// reaches says that the request may draw on a slice of that source.
func (s *serving) reaches(sl *slice) bool {
	switch src := sl.source; {
	case src.Overdraft:
		return s.route.Default
	case src.Entry != 0:
		return slices.ContainsFunc(s.entries, func(e ReservationEntry) bool { return e.ID == src.Entry })
	case src.Pool != "":
		return slices.Contains(s.route.Pools, src.Pool)
	}
	return s.route.Default
}

// line grants one line in full, or in part where that will do, or not at all.
func (s *serving) line(i int, w want) capability.Line {
	if w.Count == 0 {
		return capability.Line{}
	}
	refuse := func(no capability.Denial) capability.Line {
		s.refused = append(s.refused, w.Feature)
		s.explain(i, w, &no)
		return capability.Line{Status: capability.LineInsufficient, Denial: no}
	}
	if s.req.Operation == capability.Report && !s.metered(w.Feature) {
		return refuse(capability.Denial{Code: capability.ErrOperation, Subject: w.Feature, Detail: "a report grants nothing that is not metered"})
	}
	idle := s.l.interval(IdleLimit)
	for _, h := range s.held {
		if h.slice.item.Feature != w.Feature || h.end == forever {
			continue
		}
		no := capability.Denial{Subject: w.Feature, Asked: w.Count, Until: s.now.Told(h.end)}
		switch {
		case h.dropped:
			no.Code, no.Detail = capability.ErrNoSeat, "an administrator dropped this lease"
			return refuse(no)
		case idle > 0 && s.req.Idle >= idle:
			no.Code = capability.ErrIdle
			return refuse(no)
		}
	}
	asked := w.Count
	if s.hold != 0 {
		covered := s.cover(w.Desired, asked)
		if covered == 0 || covered < asked && !w.Partial {
			return refuse(capability.Denial{Code: capability.ErrHold, Subject: w.Feature, Asked: asked, Available: covered, Until: s.now.Told(s.hold)})
		}
		asked = covered
	}
	sources := s.sources(w)
	ahead := s.ahead(w.Feature)
	available, limited := s.draw(sources, uint64(asked), ahead, false)
	if available < uint64(asked) {
		if !w.Partial || s.hold != 0 && available == 0 {
			no := s.why(w, sources, limited)
			s.enqueue(w, &no)
			return refuse(no)
		}
		asked = clip(available)
	}
	if s.hold != 0 {
		s.spend(w.Desired, asked)
	}
	out := capability.Line{Count: asked}
	if asked < w.Count {
		out.Status, out.Denial = capability.LinePartial, s.why(w, sources, limited)
		s.explain(i, w, &out.Denial)
	}
	s.draw(sources, uint64(asked), ahead, true)
	return out
}

// draw goes through the sources and takes, or only counts, up to need units. Shared counts are left to those who wait ahead, but for what the device had before.
// limited says that a limit of the model, and nothing else, was in the way.
func (s *serving) draw(sources []*slice, need, ahead uint64, take bool) (got uint64, limited bool) {
	left := make([]uint64, len(s.limits))
	for i := range s.limits {
		left[i] = s.limits[i].left
	}
	shared := s.shared(sources, ahead)
	for _, sl := range sources {
		n := min(need-got, s.free(sl))
		if sl.source.Entry == 0 {
			n = min(n, shared)
		}
		want := n
		for i := range s.limits {
			if s.limits[i].covers(sl.item) {
				n = min(n, left[i])
			}
		}
		limited = limited || n < want
		if n == 0 {
			continue
		}
		for i := range s.limits {
			if s.limits[i].covers(sl.item) {
				left[i] -= n
			}
		}
		if sl.source.Entry == 0 {
			shared -= n
		}
		got += n
		if take {
			s.take(sl, clip(n), s.end(sl.item))
		}
	}
	if take {
		for i := range s.limits {
			s.limits[i].left = left[i]
		}
	}
	return got, limited
}

// limit is a limit of the model with what it leaves to this request.
type limit struct {
	model.Limit
	left uint64
}

func (m limit) covers(it *item) bool {
	return it.Feature == m.Feature && it.Version.Compare(m.Version) >= 0
}

// limitsOf is the limits on the way of the request. What other devices of the user hold counts against a limit per user.
func (s *serving) limitsOf() (out []limit) {
	for _, m := range s.route.Limits {
		n := limit{Limit: m, left: uint64(m.Count)}
		if m.Per == model.PerUser && s.req.User != "" {
			for _, it := range s.l.features[m.Feature] {
				if n.covers(it) {
					n.left -= min(n.left, s.l.users[held{s.req.User, it}]-uint64(s.mine[it])-s.own(it))
				}
			}
		}
		out = append(out, n)
	}
	return out
}

// own is what the device itself held of the item under the same user.
func (s *serving) own(it *item) (n uint64) {
	if s.row == nil || s.row.who.User != s.req.User {
		return 0
	}
	for _, h := range s.held {
		if h.slice.item == it {
			n += uint64(h.count)
		}
	}
	return n
}

// sources is every slice that may serve the line now: what is reserved for the device and the user, the pools in their order, the overdraft. In each, items in
// serving order: the requested version first, then higher ones, then non-grace, then shorter expiry, then ID.
func (s *serving) sources(w want) (out []*slice) {
	fitting := s.fitting(w)
	add := func(src Source) {
		for _, it := range fitting {
			if sl := it.slice(src); sl != nil {
				out = append(out, sl)
			}
		}
	}
	for _, e := range s.entries {
		if e.Feature == w.Feature && (w.entry == 0 || w.entry == e.ID) {
			add(Source{Entry: e.ID})
		}
	}
	if w.entry != 0 {
		return out
	}
	for _, pool := range s.route.Pools {
		if pool == model.DefaultPool {
			pool = ""
		}
		add(Source{Pool: pool})
	}
	if s.route.Default {
		add(Source{Overdraft: true})
	}
	return out
}

// fitting is every item that may serve the line now, in serving order.
func (s *serving) fitting(w want) (out []*item) {
	for _, it := range s.l.features[w.Feature] {
		if it.Version.Compare(w.Version) >= 0 && it.dated(s.now.Wall) == 0 && selects(it.Selectors, w.Selectors) && (it.Metered || s.req.Operation != capability.Report) {
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

// end is when a lease of the item that begins now ends (LS-18, LS-19): after the client's interval if that is smaller than the item's, or the policy's where the
// item has none; never above what the producer or an administrator allows; rounded up; and never past the item's expiry. What is metered has no end.
func (s *serving) end(it *item) capability.Seconds {
	if it.Metered {
		return forever
	}
	length := s.policy.Lease
	if it.Borrow > 0 {
		length = it.Borrow
	}
	for _, other := range []capability.Seconds{s.req.Borrow, s.policy.BorrowMaximum, s.l.interval(BorrowMaximum)} {
		if other > 0 {
			length = min(length, other)
		}
	}
	g := Granularity(s.policy.Granularity)
	if s.req.Granularity != 0 {
		g = Granularity(s.req.Granularity)
	}
	end := g.end(s.now.Wall.Add(length), s.l.interval(ZoneOffset))
	if it.Expiry != 0 {
		end = min(end, it.Expiry)
	}
	return s.now.Lease + capability.Seconds(end-s.now.Wall)
}

// moves says that something new was given that a hold would not cover: a lease longer than a hold lasts, or more of what is metered and counted.
func (s *serving) moves(grants []grant) bool {
	return slices.ContainsFunc(grants, func(g grant) bool {
		if g.end == forever {
			return !g.slice.item.Uncounted && s.change[g.slice] > 0
		}
		return !g.kept && g.end-s.now.Lease > s.policy.Lease
	})
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

// settleLines applies what refusals mean for what the device had, and says the outcome. In a hold a line that is not renewed gives back what it did not ask for.
// What is metered and not reusable never goes down, and a report leaves alone what it does not name.
func (s *serving) settleLines(pure bool) {
	slices.Sort(s.refused)
	s.refused = slices.Compact(s.refused)
	if len(s.refused) > 0 && s.req.Atomic {
		s.restore()
		s.answer.Status = capability.StatusUnchanged
		for i := range s.answer.Lines {
			if s.answer.Lines[i].Status != capability.LineInsufficient {
				s.answer.Lines[i].Count = 0
			}
		}
		return
	}
	for _, name := range s.refused {
		limit := uint64(math.MaxUint64)
		if s.hold != 0 {
			limit = 0
			for _, w := range s.wants() {
				if w.Feature == name {
					limit += uint64(w.Count)
				}
			}
			limit -= min(limit, s.granted(name))
		}
		s.keep(func(h *lease) bool { return h.slice.item.Feature == name }, limit)
	}
	s.keep(func(h *lease) bool { return h.slice.item.Metered && !h.slice.item.Reusable }, math.MaxUint64)
	if s.req.Operation == capability.Report {
		s.keep(func(h *lease) bool { return !h.slice.item.Metered || !s.names(h.slice.item.Feature) }, math.MaxUint64)
	}
	switch {
	case len(s.refused) > 0:
		s.answer.Status = capability.StatusPartly
	case pure || len(s.req.Desired) == 0 && len(s.grants) == 0:
		s.answer.Status = capability.StatusReturned
	}
}

// names says that the request has a line of the feature.
func (s *serving) names(feature string) bool {
	return slices.ContainsFunc(s.req.Desired, func(w capability.Desired) bool { return w.Feature == feature })
}
