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
	for _, there := range []bool{e.Policy != nil, e.Item != nil, e.Answer != nil, e.Incident != nil, e.Boot != nil} {
		if there {
			sections++
		}
	}
	if sections != 1 || b.length == 0 && e.Policy == nil {
		return corrupt("entry %d has %d sections, or comes before a policy", b.length+1, sections)
	}
	var err error
	switch {
	case e.Policy != nil:
		if err = e.Policy.Validate(); err == nil {
			b.policy = *e.Policy
			b.policy.Limits = slices.Clone(b.policy.Limits)
		}
	case e.Item != nil:
		err = b.applyItem(*e.Item)
	case e.Answer != nil:
		err = b.applyAnswer(e)
	case e.Incident != nil:
		err = b.applyIncident(*e.Incident)
	case e.Boot != nil:
		err = b.applyBoot(e)
	}
	if err != nil {
		return corrupt("entry %d: %w", b.length+1, err)
	}
	b.head, b.last = e.Hash(b.codec), e.Time
	b.length++
	return nil
}

func (b *Book) applyItem(i Item) error {
	if err := i.Validate(); err != nil {
		return err
	}
	if b.byID[i.ActivationID] != nil {
		return fmt.Errorf("activation ID %s is there twice", i.ActivationID)
	}
	i.Features, i.Limits = slices.Clone(i.Features), slices.Clone(i.Limits)
	it := &item{Item: i}
	b.items, b.byID[i.ActivationID] = append(b.items, it), it
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
	h := &Host{Identity: a.Identity}
	if old != nil {
		h = old.clone()
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
	if err := plausible(h, a); err != nil {
		return err
	}
	if a.Appearance != nil {
		if err := a.Appearance.check(e); err != nil {
			return err
		}
	} else if n := len(h.Appearances); n > 0 && h.Appearances[n-1].Tier != a.Identity.Tier {
		return fmt.Errorf("host %s changes its tier and shows nothing else than before", h.Host.Short())
	}
	from, err := b.moves(e, h)
	if err != nil {
		return err
	}
	if from != nil {
		h.takes(from)
	}
	sums, err := b.sums(h, a)
	if err != nil {
		return err
	}
	for i, s := range sums {
		s.item.used = s.used
		h.hold(s.item.ActivationID, a.Holds[i].Copies)
	}
	if err := b.applyMetered(h, a.Metered); err != nil {
		return err
	}
	record(h, a)
	if old == nil {
		b.hosts, b.byKey[h.Host] = append(b.hosts, h), h
	} else {
		*old = *h
		h = old
	}
	b.answered[a.Request.Digest] = h
	if from != nil {
		from.leaves(h.Host, a.Rehosted, e.Time, e.By)
	}
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
	case r.Serial != h.Serial+1 || r.Number <= h.Answered:
		return fmt.Errorf("response %d to request %d follows response %d to request %d", r.Serial, r.Number, h.Serial, h.Answered)
	case h.Proven && !a.Proven:
		return fmt.Errorf("host %s was proven before", h.Host.Short())
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
		if twice || ok && (seen.Credited || !s.Credited) {
			return fmt.Errorf("return %.4x is there twice", s.ID[:])
		}
		if s.Credited == (s.Refused != 0) || s.Credited && (s.Copies == 0 || s.Epoch <= s.Floor) {
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
		if s.Credited {
			credited[s.ActivationID] += uint64(s.Copies)
		}
	}
	var list []sum
	for n, f := range a.Holds {
		i := b.byID[f.ActivationID]
		if i == nil || n > 0 && compareIDs(a.Holds[n-1].ActivationID, f.ActivationID) >= 0 {
			return nil, fmt.Errorf("total of %s is not in order, or not in the book", f.ActivationID)
		}
		have := h.held(f.ActivationID)
		used := uint64(i.used) - uint64(have) + uint64(f.Copies)
		if used > uint64(i.Copies) || used > math.MaxUint32 {
			return nil, fmt.Errorf("%d of %d copies of %s would be in use", used, i.Copies, f.ActivationID)
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
		if n > uint64(h.held(id)) {
			return nil, fmt.Errorf("%d copies of %s are returned where %d were held", n, id, h.held(id))
		}
	}
	return list, nil
}

// record writes everything of an answer into the host, but for the totals.
func record(h *Host, a *Answered) {
	h.Identity, h.Alias, h.Proven = a.Identity, a.Alias, a.Proven
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
