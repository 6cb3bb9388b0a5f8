package entitlement

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// ErrCorrupt is in every error of Apply, Restore and Check: the book is not what Decide wrote.
var ErrCorrupt = errors.New("the book is damaged")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

func compareIDs(a, b capability.ActivationID) int { return cmp.Compare(a, b) }

// Apply takes an entry in. It decides nothing; what Decide refuses, it finds wrong. On an error nothing was changed, and the book must not be used on.
func (b *Book) Apply(e *Entry) error {
	if e.Before != b.head {
		return corrupt("entry %d follows %.8x, the head is %.8x", b.length+1, e.Before[:], b.head[:])
	}
	if e.Time < b.last {
		return corrupt("entry %d is of %s, the one before of %s", b.length+1, e.Time, b.last)
	}
	sections := 0
	for _, there := range []bool{
		e.Policy != nil, e.Item != nil, e.Answer != nil, e.Incident != nil, e.Boot != nil, e.Signer != nil, e.Limited != nil, e.Update != nil, e.Account != nil, e.Product != nil, e.Model != nil, e.Change != nil,
		e.Device != nil, e.Map != nil, e.Order != nil, e.Step != nil, e.Retire != nil, e.WriteOff != nil,
		e.User != nil, e.Seat != nil, e.Pool != nil, e.Session != nil, e.Convert != nil, e.Group != nil, e.Login != nil, e.SignIn != nil, e.Proposed != nil, e.Question != nil,
	} {
		if there {
			sections++
		}
	}
	if sections != 1 || b.length == 0 && e.Policy == nil {
		return corrupt("entry %d has %d sections, or comes before a policy", b.length+1, sections)
	}
	err := cmp.Or(b.markable(e.Once), e.tokenable())
	switch {
	case err != nil:
	case e.Policy != nil:
		if err = e.Policy.Validate(); err == nil {
			b.policy = *e.Policy
			b.policy.Limits, b.policy.Excluded = slices.Clone(b.policy.Limits), slices.Clone(b.policy.Excluded)
		}
	case e.Item != nil:
		err = b.applyItem(*e.Item, e.Time)
	case e.Answer != nil:
		err = b.applyAnswer(e)
	case e.Incident != nil:
		err = b.applyIncident(*e.Incident)
	case e.Boot != nil:
		err = b.applyBoot(e)
	case e.Signer != nil || e.Limited != nil:
		err = b.applySigner(e)
	case e.Update != nil: // the record is all there is of it
		err = e.Update.validate()
	case e.Device != nil:
		err = b.applyDevice(*e.Device)
	case e.Map != nil:
		err = b.applyMapping(*e.Map, e.Time)
	case e.Order != nil:
		err = b.applyOrder(e)
	case e.Step != nil:
		err = b.endOrder(e)
	case e.Retire != nil:
		err = b.applyRetire(e)
	case e.WriteOff != nil:
		err = b.applyWriteOff(e)
	case e.User != nil:
		err = b.applyUser(e)
	case e.Seat != nil:
		err = b.applySeat(e)
	case e.Pool != nil:
		err = b.applyPool(e.Pool)
	case e.Session != nil:
		err = b.applySession(e)
	case e.Convert != nil:
		err = b.applyConvert(e)
	case e.Group != nil:
		err = b.applyGroup(e.Group)
	case e.Proposed != nil:
		err = b.applyProposed(e)
	case e.Question != nil:
		err = b.applyQuestion(e)
	case e.Login != nil || e.SignIn != nil:
		err = b.applyLogin(e)
	case e.Change != nil:
		err = b.applyChange(e)
	default:
		err = b.applyCatalog(e)
	}
	if err != nil {
		return corrupt("entry %d: %w", b.length+1, err)
	}
	b.head, b.last = e.Hash(b.codec), e.Time
	b.length++
	b.mark(e)
	return nil
}

func (b *Book) applyItem(i Item, now capability.Time) error {
	if err := i.Validate(); err != nil {
		return err
	}
	if b.byID[i.ActivationID] != nil {
		return fmt.Errorf("activation ID %s is there twice", i.ActivationID)
	}
	if err := b.replaces(&i, now); err != nil {
		return err
	}
	if err := b.begins(&i); err != nil {
		return err
	}
	i.Features, i.Limits = slices.Clone(i.Features), slices.Clone(i.Limits)
	b.addItem(&item{Item: i})
	return nil
}

func (b *Book) applyIncident(i Incident) error {
	h := b.byKey[i.Host]
	if h == nil || len(h.Incidents) >= MaxIncidents {
		return fmt.Errorf("an incident of %s, which is not known or has %d", i.Host, MaxIncidents)
	}
	h.Incidents = append(h.Incidents, i)
	return nil
}

func (b *Book) applyAnswer(e *Entry) error {
	a := e.Answer
	if b.answered[a.Request.Digest] != nil {
		return fmt.Errorf("request %.8x was answered before", a.Request.Digest[:])
	}
	old := b.byKey[a.Identity.Host]
	h, held := &Host{Identity: a.Identity}, []Fulfillment(nil)
	if old != nil {
		h, held = old.clone(), old.Holds
	}
	if a.Repair != nil {
		if old == nil || a.Life == h.Life || slices.ContainsFunc(h.Past, func(p PastLife) bool { return p.Life == a.Life }) || a.Epoch < h.Epoch {
			return fmt.Errorf("host %s is repaired, and has had no other life before", a.Identity.Host.Short())
		}
		if err := a.Repair.approves(e.By, h.Repairs(e.Time), b.policy.Repairs.Count()); err != nil {
			return err
		}
		h.replace(a.Repair, e.Time, e.By)
	} else if old != nil && h.Life != (capability.LifeID{}) && a.Life != h.Life {
		return fmt.Errorf("host %s changes its life without a repair", h.Host.Short())
	}
	if a.Request.Fork && b.policy.Forks != WarnForks {
		return fmt.Errorf("a fork of host %s is answered, and the policy refuses it", h.Host.Short())
	}
	if err := b.overruled(h, e); err != nil {
		return err
	}
	if err := plausible(h, a); err != nil {
		return err
	}
	if err := a.checkRefused(h); err != nil {
		return err
	}
	if a.Appearance != nil {
		if err := a.Appearance.check(e); err != nil {
			return err
		}
		if n := len(h.Appearances); n > 0 && h.Appearances[n-1].same(a.Appearance) {
			return fmt.Errorf("request %d shows what the one before showed", a.Request.Number)
		}
	} else if n := len(h.Appearances); n > 0 && h.Appearances[n-1].Tier != a.Identity.Tier {
		return fmt.Errorf("host %s changes its tier and shows nothing else than before", h.Host.Short())
	}
	from, err := b.moves(e, h)
	if err != nil {
		return err
	}
	had := slices.Clone(h.Holds)
	if err := b.acted(h, from, a, e.Time); err != nil {
		return err
	}
	if from != nil {
		h.takes(from)
	}
	if err := b.answeredSeats(e, h, from); err != nil {
		return err
	}
	sums, err := b.sums(h, a)
	if err != nil {
		return err
	}
	if err := b.plausibleDevice(h, old, e, sums); err != nil {
		return err
	}
	if err := b.countable(a); err != nil {
		return err
	}
	if err := b.applyMetered(h, a.Metered); err != nil {
		return err
	}
	b.reserve(h.Host, false)
	for i, s := range sums {
		s.item.used = s.used
		if was, is := h.held(s.item.ActivationID), a.Holds[i].Copies; is > was {
			b.tally(e.Time, s.item.Product, uint64(is-was))
		}
		h.hold(s.item.ActivationID, a.Holds[i].Copies)
	}
	b.counts(had, from, a, e.Time)
	for _, s := range sums {
		b.settle(s.item)
	}
	b.applyRecords(a)
	record(h, a)
	if err := h.applyDevice(old, e); err != nil {
		return err
	}
	if old == nil {
		b.addHost(h)
	} else {
		*old = *h
		h = old
	}
	b.reindex(h, held)
	b.answered[a.Request.Digest] = h
	b.endQuestions(func(q *Question) bool { return q.Host == h.Host || q.Request == a.Request.Digest })
	b.tally(e.Time, "", 1)
	for _, id := range a.Mapped {
		b.dropMapping(h.Host, id)
	}
	b.reserve(h.Host, true)
	b.keepRevoked(h)
	for _, s := range a.Seats {
		b.sit(s)
	}
	b.step(a.Steps, e.Time)
	if from != nil {
		held = from.Holds
		b.reseat(from.Host, h.Host)
		from.leaves(h.Host, a.Rehosted, e.Time, e.By)
		b.reindex(from, held)
		b.keepRevoked(from)
	}
	b.vacate(h)
	return nil
}

// plausible asserts what Decide promises of an answer, but for the counts.
func plausible(h *Host, a *Answered) error {
	r := a.Request
	switch {
	case a.Identity.Host.Validate() != nil || a.Identity.Tier < Software || a.Identity.Tier > Hardware:
		return fmt.Errorf("host %s of tier %d", a.Identity.Host, a.Identity.Tier)
	case string(h.AKName) != string(a.Identity.AKName):
		return fmt.Errorf("host %s changes its key", h.Host.Short())
	case r.Serial != h.above(a.Foreign) || r.Number <= h.Answered:
		return fmt.Errorf("response %d to request %d follows response %d to request %d", r.Serial, r.Number, h.Serial, h.Answered)
	case h.Proven && !a.Proven:
		return fmt.Errorf("host %s was proven before", h.Host.Short())
	}
	if r.Audit.Position == 0 && r.Audit != (capability.Head{}) {
		return fmt.Errorf("request %d names the hash of no audit entry", r.Number)
	}
	if q := h.audit(r.Number, r.Audit); q != nil && !(q.ahead && r.Fork) {
		return q.Refusal
	}
	if k, ok := h.known(r.Number); ok && k.Digest != r.Digest {
		return fmt.Errorf("request %d has two digests", r.Number)
	}
	last := uint64(0)
	for _, k := range a.Named {
		if _, ok := h.known(k.Number); ok || k.Number <= last || k.Number >= r.Number || k.Serial != 0 {
			return fmt.Errorf("request %d is named and known, answered or out of order", k.Number)
		}
		last = k.Number
	}
	for n, s := range a.Returns {
		seen, ok := h.seen(s.ID)
		twice := slices.ContainsFunc(a.Returns[:n], func(o ReturnSeen) bool { return o.ID == s.ID })
		if twice || ok && (seen.Credited || seen.Final || !s.Credited && !s.Final) {
			return fmt.Errorf("return %.4x is there twice", s.ID[:])
		}
		if s.Asked && !s.Credited {
			return fmt.Errorf("return %.4x was asked for, and is not credited", s.ID[:])
		}
		if s.Credited == (s.Refused != 0) || s.Credited && s.Final || s.Credited && (s.Copies == 0 || s.Epoch <= s.Floor) {
			return fmt.Errorf("return %.4x is both credited and refused, or of nothing, or of an epoch seen before", s.ID[:])
		}
	}
	return nil
}

// sum is what hosts together will have of an item.
type sum struct {
	item *item
	used uint32
}

// sums asserts that copies only move between an item and the host: up as far as they are left, down exactly as far as returns are credited and
// not asked for again.
func (b *Book) sums(h *Host, a *Answered) ([]sum, error) {
	credited := map[capability.ActivationID]uint64{}
	for _, s := range a.Returns {
		if s.Credited && !s.WrittenOff {
			credited[s.ActivationID] += uint64(s.Copies)
		}
	}
	for _, g := range a.Gone {
		credited[g.ActivationID] += uint64(g.Copies)
	}
	var list []sum
	for n, f := range a.Holds {
		i := b.byID[f.ActivationID]
		if i == nil || n > 0 && compareIDs(a.Holds[n-1].ActivationID, f.ActivationID) >= 0 {
			return nil, fmt.Errorf("total of %s is not in order, or not in the book", f.ActivationID)
		}
		have := h.held(f.ActivationID)
		used := uint64(i.used) - uint64(have) + uint64(f.Copies)
		// What was reserved may be more than there is since the number was lowered: then a device gets what is there, and others wait in vain.
		room, was := uint64(i.Copies)+uint64(i.Life.Extra), uint64(i.used)+uint64(i.reserved())
		taken := used + b.reservedAfter(h, i, f.Copies, a)
		if f.Copies > have && (used > room || taken > max(room, was)) || used > math.MaxUint32 || i.overs(used, a) {
			return nil, fmt.Errorf("%d of %d copies of %s would be in use", used, i.Copies, f.ActivationID)
		}
		if no := b.closed(i); no != nil && f.Copies > have {
			return nil, fmt.Errorf("%d copies of %s are given: %w", f.Copies, f.ActivationID, no)
		}
		if own := cmp.Or(h.Account, a.Account); own != "" && f.Copies > have && !b.Related(own, i.Customer) {
			return nil, fmt.Errorf("%d copies of %s are given to a machine of %q", f.Copies, f.ActivationID, own)
		}
		if no := b.barred(i, a.Identity.Tier, f.Copies, ""); no != nil && f.Copies > have {
			return nil, fmt.Errorf("%d copies of %s are given: %w", f.Copies, f.ActivationID, no)
		}
		if uint64(f.Copies)+credited[f.ActivationID] < uint64(have) {
			return nil, fmt.Errorf("copies of %s go from %d to %d with %d returned", f.ActivationID, have, f.Copies, credited[f.ActivationID])
		}
		list = append(list, sum{i, uint32(used)})
	}
	for id, n := range credited {
		if n == 0 || n > uint64(h.held(id)) {
			return nil, fmt.Errorf("%d copies of %s are returned where %d were held", n, id, h.held(id))
		}
		if i := b.byID[id]; !slices.ContainsFunc(list, func(s sum) bool { return s.item == i }) && i.overs(uint64(i.used), a) {
			return nil, fmt.Errorf("%d copies of %s are returned for nothing, and given once more", a.gone(id), id)
		}
	}
	return list, nil
}

// overs says that more of an item would be in use above what is entitled than before, with what an answer takes out of that.
func (i *item) overs(used uint64, a *Answered) bool {
	room := uint64(i.Copies) + uint64(i.Life.Extra)
	room -= min(room, uint64(a.gone(i.ActivationID)))
	return used > room && used-room > uint64(i.overage())
}

// gone is how many copies of an item an answer takes out of what is entitled: they were returned, and are not credited to it.
func (a *Answered) gone(id capability.ActivationID) (n uint32) {
	for _, s := range a.Returns {
		if s.Credited && s.Gone && s.ActivationID == id {
			n += s.Copies
		}
	}
	return n
}

// record writes everything of an answer into the host, but for the totals.
func record(h *Host, a *Answered) {
	h.Identity, h.Alias, h.Proven = a.Identity, a.Alias, a.Proven
	h.Account = cmp.Or(h.Account, a.Account)
	h.Epoch, h.Answered, h.Serial, h.Life = a.Epoch, a.Request.Number, a.Request.Serial, a.Life
	for _, k := range append(slices.Clone(a.Named), a.Request) {
		at, ok := h.findRequest(k.Number)
		if ok {
			h.Requests[at] = k
			continue
		}
		h.Requests = slices.Insert(h.Requests, at, k)
	}
	for _, s := range a.Returns {
		h.note(s)
	}
	for _, m := range a.Metered {
		h.meter(m)
	}
	h.shows(a.Appearance)
}
