package ledger

import (
	"fmt"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// serve is the grant algorithm: what the device held counts as given back, then every line is granted anew, in order.
func (l *Ledger) serve(now Now, c *Serve) (Decision, error) {
	req := &c.Request
	if err := validate(req); err != nil {
		return Decision{}, err
	}
	r, other := l.owner(req.Hosts[0], c.Key, now)
	s := &serving{draft: l.draft(now, r, req.User), req: req, policy: l.policy(), hold: l.holdAt(now), room: holdersRoom}
	f := &Served{}
	s.answer = &f.Answer
	*s.answer = capability.Response{
		Version: capability.Protocol, For: req.Hosts[0], Key: c.Key, Correlation: req.Correlation, Time: now.Wall, Lifetime: l.lifetime(s.policy),
		Policy: capability.Policy{Lease: s.policy.Lease, RenewPercent: s.policy.RenewPercent, Tolerance: s.policy.Tolerance},
	}
	if s.hold != 0 {
		s.answer.Hold = now.Told(s.hold)
	}
	body := l.codec.RequestDigest(req)
	var before remembered
	repeats := false
	if r != nil && r.key == c.Key {
		before, repeats = r.recall(req.Correlation, now)
	}
	passed := r.passed(c, repeats && before.Body == body)
	switch {
	case passed.Code != 0:
		return s.deny(passed)
	case repeats && before.Body == body:
		again := new(capability.Response)
		if err := l.codec.Decode(before.Answer, again, MaxEntry); err != nil {
			return Decision{}, corrupt("remembered answer to %s: %w", r.id, err)
		}
		return Decision{Response: again}, nil
	case !l.provisioned():
		return s.deny(capability.Denial{Code: l.absent()})
	case other != nil:
		return s.deny(capability.Denial{Code: capability.ErrDeviceKey, Subject: other.name(), Until: now.Told(lastEnd(other.live(now)))})
	case repeats, req.Operation == capability.Report && r != nil && slices.ContainsFunc(r.reports, func(p Reported) bool { return p.Correlation == req.Correlation }):
		// A report that another request came after would be counted beside itself, and an undo would take back one of the two.
		return s.deny(capability.Denial{Code: capability.ErrCorrelationReused})
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
	f.Body, f.Until, f.Who, f.Idle = body, now.Lease+remembers, Who{User: req.User, Alias: req.Alias, DeviceType: req.DeviceType}, req.Idle
	s.entries = l.own(req.Hosts[0], req.User)
	if c.Heard || max(req.Applied, s.receipt.serial()) >= serial {
		s.hear()
	}
	var wants []want
	pure := false
	switch reports := s.reports(); {
	case req.Operation == capability.Undo && stale:
		return s.deny(late)
	case req.Operation == capability.Undo:
		if no := s.undo(f); no.Code != 0 {
			return s.deny(no)
		}
		s.touch(nil)
	case req.Operation == capability.Report && stale:
		return s.deny(late)
	case req.Operation == capability.Report && !reports:
		for _, w := range req.Desired {
			s.answer.Lines = append(s.answer.Lines, s.repeat(w))
		}
		s.release()
		s.restore(func(*lease) bool { return true })
		grants := s.merged()
		s.tell(grants)
		return Decision{Response: s.answer}, s.fits(grants)
	default:
		s.route = l.routeOf(req)
		wants = s.wants()
		pure = !slices.ContainsFunc(wants, func(w want) bool { return w.Count > 0 })
		switch {
		case pure:
		case l.unbound(now):
			s.barred = capability.Denial{Code: capability.ErrBinding}
		case l.strange(c.Key):
			s.barred = capability.Denial{Code: capability.ErrClientKey}
		case !s.route.Accept:
			s.barred = s.ruledOut()
		}
		if s.barred.Code != 0 && !s.givesBack(wants) {
			return s.deny(s.barred)
		}
		if c.Filed {
			s.stays = s.staying(wants)
		}
		s.release()
		s.claim()
		s.lines(wants)
		if stale && !pure && (len(s.refused) > 0 || s.receipt.serial() < req.Applied) {
			return s.deny(late)
		}
		s.settleLines(pure)
		f.Claimed = s.claimed()
	}
	if c.Filed && s.answer.Status == capability.StatusUnchanged {
		return s.deny(s.refusedFile())
	}
	move := s.ration()
	if !c.Heard && !s.covered() {
		s.withhold(s.asksAgain(wants))
	}
	s.settleItems()
	grants := s.merged()
	if len(grants) > MaxLeases {
		return s.deny(capability.Denial{Code: capability.ErrUnheard, Detail: fmt.Sprintf("%d leases where at most %d are kept", len(grants), MaxLeases)})
	}
	s.tell(grants)
	if err := s.fits(grants); err != nil {
		return Decision{}, err
	}
	if req.Operation == capability.Preview {
		s.answer.Status = capability.StatusPreview
		return Decision{Response: s.answer, Explained: s.explained, Lines: s.clause, Notices: s.notices}, nil
	}
	if move {
		f.Spent = l.ration.after(now).spent
	}
	s.answer.Serial = max(serial, s.receipt.serial(), claimed(req.Applied)) + 1
	f.Receipt, f.Waits, f.Number = s.used, s.waits, r.overtakes(c)
	if len(grants) > 0 {
		f.Leases = make([]Lease, len(grants))
	}
	for i, g := range grants {
		f.Leases[i] = g.lease()
	}
	if req.Operation == capability.Report {
		f.Reported = s.reported()
	}
	d := l.decided(now, Entry{Served: f, Transfers: s.transfers(), Booked: s.bookings(s.touched)})
	d.Response, d.Move, d.Explained, d.Lines, d.Notices = s.answer, move, s.explained, s.clause, s.notices
	return d, nil
}

// routeOf is where the rules of the model lead the request.
func (l *Ledger) routeOf(req *capability.Request) model.Route {
	return l.model.Route(model.Facts{Hosts: req.Hosts, User: req.User, Alias: req.Alias, DeviceType: req.DeviceType, Dictionary: req.Dictionary})
}

// An answer that does not fit a frame with its proof is never told, so nothing may be decided by it. Up to fewLines of the longest lines and rights always fit.
const (
	maxAnswer   = capability.MaxFrame - 2<<10
	fewLines    = 12
	holdersRoom = 4 << 10 // bytes of all the holders named in one answer
)

// fits says that the answer fits one message. The error is a *capability.Malformed.
func (s *serving) fits(grants []grant) error {
	if many := len(grants) + len(s.answer.Lines); many > fewLines && len(s.l.codec.Encode(s.answer)) > maxAnswer {
		return malformed("desired", "%d lines answered with %d rights do not fit one message", len(s.answer.Lines), len(grants))
	}
	return nil
}

// tell puts what the device holds into the answer. In a hold nobody is told a later end than before without a receipt: the lease clock of an older copy is behind,
// and what ended since may have gone to another. A lease that ended by what was told stays booked, but is not told again.
func (s *serving) tell(grants []grant) {
	for i := range grants {
		g := &grants[i]
		it := g.slice.item
		if told := s.ends(it, g.end-g.lead); s.hold == 0 || told < g.told {
			g.told = max(1, told)
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
	claims    []Booking          // of what was used before the repair
	used      uint64             // serial of the receipt, once it renewed something
	barred    capability.Denial  // why nothing is granted, of a request that gives back
	stays     map[string]uint64  // units of features that a file which gives back leaves as they are
	refused   []string           // features with a refused line
	waits     []Wait
	explained []Explained
	clause    []Line // of the model, in place of lines of the request
	notices   []capability.Denial
	touched   []*item
	repeated  map[*lease]uint32    // units that lines of a report have repeated
	owners    map[uint64]hostid.ID // of reservation entries, once an explanation asks
	renews    map[string]uint64    // of a feature, while a dongle is missing; nil: it may have more
	room      int                  // bytes left for holders
	answer    *capability.Response // of the fact that it becomes, if one does
}

// want is a line of the request, or one that stands for a request that names nothing.
type want struct {
	capability.Desired
	entry uint64 // of this reservation entry only
}

// deny refuses the request as a whole: nothing changes, nothing is told of what the device has.
func (s *serving) deny(no capability.Denial) (Decision, error) {
	s.answer.Status, s.answer.Lines, s.answer.Denials = capability.StatusDenied, nil, []capability.Denial{no}
	s.explained = []Explained{{Denial: no, Whole: true, Rule: s.route.At, Number: s.route.Rule}}
	return Decision{Response: s.answer, Explained: s.explained}, nil
}

// wants is the lines of the request. A request that names nothing asks for what is its own: all that is reserved for the device and the user, or what the model says.
func (s *serving) wants() (out []want) {
	if n := len(s.req.Desired); n > 0 {
		out = make([]want, n)
	}
	for i, w := range s.req.Desired {
		out[i].Desired = w
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

// asksAgain is how much of a feature the device goes on believing in, if it had as much: what the lines ask for. A report and an undo leave alone what is not metered.
func (s *serving) asksAgain(wants []want) func(feature string) uint64 {
	sums := make(map[string]uint64, len(wants))
	for _, w := range wants {
		sums[w.Feature] += uint64(w.Count)
	}
	return func(feature string) uint64 {
		if s.req.Operation != capability.Grant {
			return math.MaxUint64
		}
		return sums[feature]
	}
}

// spec is what the clause of the model asks for where a request names nothing. "all from" asks for what each allocation of its pools was given.
func (s *serving) spec() []capability.Desired {
	return s.l.given.Lines(s.route.Spec)
}

// lines grants every line, in order.
func (s *serving) lines(wants []want) {
	if s.receipt != nil {
		s.rights = slices.Clone(s.receipt.Rights)
	}
	s.limits, s.renews = s.limitsOf(), s.renewable()
	s.touch(wants)
	s.settleItems()
	if n := len(s.req.Desired); n > 0 {
		s.answer.Lines = make([]capability.Line, 0, n)
	}
	for i, w := range wants {
		line := s.line(i, w)
		switch {
		case len(s.req.Desired) > 0:
			s.answer.Lines = append(s.answer.Lines, line)
		case w.entry == 0:
			s.clause = append(s.clause, Line{w.Feature, w.Version, w.Count, line})
		}
	}
}

// touch notes the items of the features in question: those asked for, and those of what the device held.
func (s *serving) touch(wants []want) {
	names := make([]string, 0, len(wants)+len(s.held))
	for _, w := range wants {
		names = append(names, w.Feature)
	}
	for _, list := range [...][]*lease{s.held, s.past} {
		for _, h := range list {
			names = append(names, h.slice.item.Feature)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		s.touched = append(s.touched, s.l.features[name]...)
	}
}

// settleItems puts the counts of these items where they belong.
func (s *serving) settleItems() {
	for _, it := range s.touched {
		s.settle(it, s.reaches)
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
	if _, stays := s.stays[w.Feature]; stays || s.req.Operation == capability.Report && !s.metered(w.Feature) {
		return s.repeat(w.Desired)
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
	if no := s.barred; no.Code != 0 {
		no.Subject, no.Asked = w.Feature, w.Count
		return refuse(no)
	}
	asked := w.Count
	if s.hold != 0 {
		covered := s.cover(w.Desired, asked)
		if covered == 0 || covered < asked && !w.Partial {
			return refuse(capability.Denial{Code: capability.ErrHold, Subject: w.Feature, Asked: asked, Available: covered, Until: s.now.Told(s.hold)})
		}
		asked = covered
	}
	missing := s.undongled(w, asked)
	if missing.Code != 0 && (missing.Available == 0 || !w.Partial) {
		return refuse(missing)
	}
	if missing.Code != 0 {
		asked = missing.Available
	}
	sources := s.sources(w)
	ahead := s.ahead(w.Feature)
	available, limited := s.draw(sources, uint64(asked), ahead, false)
	if available < uint64(asked) {
		if !w.Partial || s.hold != 0 && available == 0 {
			no := s.why(w, sources, limited)
			if s.hold != 0 && no.Code == capability.ErrNoSeat && no.Available >= asked { // of versions that the receipt does not prove
				no = capability.Denial{Code: capability.ErrHold, Subject: w.Feature, Asked: asked, Available: clip(available), Until: s.now.Told(s.hold)}
			}
			s.enqueue(w, &no)
			return refuse(no)
		}
		asked = clip(available)
	}
	if s.hold != 0 {
		s.used = s.receipt.Serial
	}
	out := capability.Line{Count: asked}
	if s.renews != nil {
		s.renews[w.Feature] -= uint64(asked)
	}
	if asked < w.Count {
		out.Status, out.Denial = capability.LinePartial, missing
		if missing.Code == 0 || asked < missing.Available {
			out.Denial = s.why(w, sources, limited)
		}
		s.explain(i, w, &out.Denial)
	}
	s.draw(sources, uint64(asked), ahead, true)
	return out
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
	return r.Feature == w.Feature && r.Version.Compare(w.Version) >= 0 && r.Expiry > s.l.dates(s.now).until
}

// spend takes up to n units of the item's version from the rights, so that no right covers two lines, and says how many there were. Another version is another
// count, which this copy of the state may show as free after it went to somebody else.
func (s *serving) spend(rights []capability.Right, it *item, n uint64) (spent uint64) {
	for i := range rights {
		if r := &rights[i]; r.Version == it.Version && s.covers(*r, capability.Desired{Feature: it.Feature, Version: it.Version}) {
			k := min(r.Count, clip(n-spent))
			r.Count -= k
			spent += uint64(k)
		}
	}
	return spent
}

// givesBack says that the request asks for less of a feature than the device holds: that never needs rights that are in order. All or nothing of one that asks for more of another as well is nothing.
func (s *serving) givesBack(wants []want) bool {
	held := map[string]int64{}
	for _, h := range s.held {
		if h.end > s.now.Lease && (!h.slice.item.Metered || h.slice.item.Reusable) {
			held[h.slice.item.Feature] += int64(h.count)
		}
	}
	for _, w := range wants {
		held[w.Feature] -= int64(w.Count)
	}
	less, more := false, false
	for _, n := range held {
		less, more = less || n > 0, more || n < 0
	}
	return less && !(more && s.req.Atomic) && s.req.Operation != capability.Report
}

// outOfOrder says that a feature was refused for the state of the machine or of the rights, and not for what others hold.
func (s *serving) outOfOrder(name string) bool {
	for i, l := range s.answer.Lines {
		switch l.Denial.Code {
		case capability.ErrBinding, capability.ErrClientKey, capability.ErrRule, capability.ErrClock, capability.ErrExpired:
			if s.req.Desired[i].Feature == name {
				return true
			}
		}
	}
	return false
}

// settleLines applies what refusals mean for what the device had, and says the outcome. Where it stays as it was, the lines still say what they would have had. In a hold, and where rights are not in order, a line that is not renewed
// gives back what it did not ask for.
// What is metered and not reusable never goes down, and a report leaves alone what it does not name.
func (s *serving) settleLines(pure bool) {
	slices.Sort(s.refused)
	s.refused = slices.Compact(s.refused)
	if len(s.refused) > 0 && s.req.Atomic && s.barred.Code == 0 {
		s.restore(s.mayKeep)
		s.answer.Status = capability.StatusUnchanged
		return
	}
	for _, name := range s.refused {
		limit := uint64(math.MaxUint64)
		if s.hold != 0 || s.outOfOrder(name) {
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
	for name, n := range s.stays {
		s.keep(func(h *lease) bool { return h.slice.item.Feature == name }, n)
	}
	s.keep(func(h *lease) bool { return h.slice.item.Metered && !h.slice.item.Reusable }, math.MaxUint64)
	if s.req.Operation == capability.Report {
		s.keep(func(h *lease) bool { return !h.slice.item.Metered || !s.names(h.slice.item.Feature) }, math.MaxUint64)
	}
	switch {
	case len(s.refused) > 0:
		s.answer.Status = capability.StatusPartly
	case len(s.grants) == 0 && s.req.Operation != capability.Report && (pure || len(s.req.Desired) == 0):
		s.answer.Status = capability.StatusReturned
	}
}

// mayKeep says that a lease can stay with its device whatever became of the request: what is reserved for another user than the one who asks now goes back.
func (s *serving) mayKeep(h *lease) bool { return h.slice.source.Entry == 0 || s.reaches(h.slice) }

// keep is rule K for what the device may keep.
func (s *serving) keep(which func(*lease) bool, limit uint64) {
	s.draft.keep(func(h *lease) bool { return which(h) && s.mayKeep(h) }, limit)
}

// names says that the request has a line of the feature.
func (s *serving) names(feature string) bool {
	return slices.ContainsFunc(s.req.Desired, func(w capability.Desired) bool { return w.Feature == feature })
}
