package entitlement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What an item's life, its license model and its account have to say when a machine asks for more of it, and what they put into the rights that it is given.

// closed says why nobody is given more of an item, or nil. What machines have they keep.
func (b *Book) closed(i *item) *capability.Refusal {
	no := func(code capability.Code, format string, args ...any) *capability.Refusal {
		return capability.Refuse(code, string(i.ActivationID), format, args...)
	}
	m, l := b.modelOf(i), &i.Life
	switch {
	case l.MergedTo != "":
		return no(capability.ErrRetired, "it was merged into %s: ask for that", l.MergedTo)
	case l.Stage == StageRetiring:
		return no(capability.ErrRetired, "it was asked back")
	case l.Stage == StageInactive || l.Stage == StageObsolete:
		return no(capability.ErrRetired, "it was given back, or archived")
	case l.Stage == StageDraft:
		return no(capability.ErrDraft, "the producer has not deployed it")
	case l.Suspended != 0:
		return no(capability.ErrSuspended, "since %s", l.Suspended)
	case m.State != ModelDeployed:
		return no(capability.ErrLicenseModel, "its license model is %s", m.State)
	}
	return nil
}

// unfit says why an item is not for the kind of machine that asks, beside its tier; or nil.
func (b *Book) unfit(i *item, c *Answer) *capability.Refusal {
	no := func(code capability.Code, format string, args ...any) *capability.Refusal {
		return capability.Refuse(code, string(i.ActivationID), format, args...)
	}
	m, is, p := b.modelOf(i), HostType(c.Identity.Host.Type), c.Request.Platform
	switch {
	case slices.Contains(b.policy.Excluded, is):
		return no(capability.ErrHostType, "machines of type %s are given nothing by this producer", is)
	case len(m.HostTypes) > 0 && !slices.Contains(m.HostTypes, is):
		return no(capability.ErrHostType, "the machine is of type %s, and it is for %s", is, typeNames(m.HostTypes))
	case m.NoVirtual && c.Identity.Tier == Virtual:
		return no(capability.ErrVirtual, "the machine's TPM is that of a virtual machine")
	case m.NoVirtual && p.IsVirtual():
		return no(capability.ErrVirtual, "the machine says that it is virtual: %s, container %s", orBare(p.Virtual), orBare(p.Container))
	}
	return nil
}

func orBare(name string) string {
	if name == "" {
		return capability.Bare
	}
	return name
}

func typeNames(list []HostType) string {
	words := ""
	for n, t := range list {
		if n > 0 {
			words += ", "
		}
		words += t.String()
	}
	return words
}

// shut says why a machine is given no more of an item that it wants, or nil. What else there is to say, the tier and what is left, line says.
func (b *Book) shut(h *Host, c *Answer, w capability.Desired) *capability.Refusal {
	i := b.byID[w.ActivationID]
	if i == nil || w.Count <= h.held(w.ActivationID) {
		return nil
	}
	for _, no := range []*capability.Refusal{b.foreign(i, h), b.closed(i), b.unfit(i, c)} {
		if no != nil {
			no.Asked = w.Count
			return no
		}
	}
	return nil
}

// partial says whether less than all that a line wants will do, for its sender and for the model.
func (b *Book) partial(w capability.Desired) bool {
	i := b.byID[w.ActivationID]
	return w.Partial && (i == nil || !b.modelOf(i).NoPartial)
}

// fits says why what one machine has of an item cannot go to the machine of a request, or nil.
func (b *Book) fits(i *item, h *Host, c *Answer, now capability.Time) *capability.Refusal {
	var shut *capability.Refusal
	switch {
	case i.Life.Stage == StageObsolete:
		return b.spent(i, ActRehost, 1, now)
	case i.Life.Stage == StageRetiring || i.Life.Suspended != 0:
		shut = b.closed(i)
	}
	for _, no := range []*capability.Refusal{shut, b.foreign(i, h), b.unfit(i, c), b.spent(i, ActRehost, 1, now)} {
		if no != nil {
			return no
		}
	}
	return nil
}

// ends is when rights to an item end: at its expiry, and after the grace that its model adds.
func (b *Book) ends(i *item) capability.Time {
	if i.Expiry == 0 {
		return 0
	}
	return i.Expiry.Add(capability.Seconds(b.modelOf(i).GraceDays) * day)
}

// shape puts into a line item of a machine what the item's model says. In its grace it is served last.
func (b *Book) shape(line *capability.LineItem, i *item, now capability.Time) {
	m := b.modelOf(i)
	line.Borrow = m.Borrow
	line.Overdraft = uint32(uint64(line.Count) * uint64(m.Overdraft) / 100)
	line.Grace = m.GraceDays > 0 && i.Expiry != 0 && now >= i.Expiry
}

// aggregate leaves of equal records whose model counts the greatest only that one its counts: each stays a record of its own, because each is returned by its own activation ID.
func (b *Book) aggregate(list []capability.LineItem) {
	type key struct {
		feature, vendor, notice, serial, issuer, model string
		version                                        capability.Version
		expiry                                         capability.Time
	}
	greatest := map[key]int{}
	for n := range list {
		line := &list[n]
		i := b.byID[line.ActivationID]
		if b.modelOf(i).Aggregation != Max {
			continue
		}
		k := key{line.Feature, line.VendorString, line.Notice, line.SerialNumber, line.Issuer, i.Model, line.Version, line.Expiry}
		first, ok := greatest[k]
		less := n
		switch {
		case !ok:
			greatest[k] = n
			continue
		case line.Count > list[first].Count:
			less, greatest[k] = first, n
		}
		list[less].Count, list[less].Overdraft = 0, 0
	}
}

// modeled puts into the policy of a response what the models of a machine's items say: clients renew as soon as the most impatient of them wants, and assigned seats go on without their server as
// long as the strictest allows.
func (b *Book) modeled(p *capability.Policy, h *Host) {
	users, renew := false, uint8(maxPercent)
	for _, f := range h.Holds {
		m := b.modelOf(b.byID[f.ActivationID])
		renew = min(renew, cmp.Or(m.Renew, p.RenewPercent))
		if m.Kind == FixedUser {
			if !users || m.Tolerance < p.Tolerance {
				p.Tolerance = m.Tolerance
			}
			users = true
		}
	}
	if len(h.Holds) > 0 {
		p.RenewPercent = renew
	}
}

// begins says why an item cannot begin as it is said.
func (b *Book) begins(i *Item) error {
	if l := i.Life; l != (Life{Stage: l.Stage}) || l.Stage > StageDraft {
		return errors.New("a line item begins deployed or as a draft, and nothing was done with it yet")
	}
	if i.Copies == 0 {
		return fmt.Errorf("0 copies where 1 to %d are allowed", i.mostCopies())
	}
	if i.Everybody || len(i.Groups) > 0 || i.Metered && i.Mode == Online {
		return errors.New("a line item begins without users, and what is metered is used offline")
	}
	if i.Model == "" {
		return nil
	}
	m := b.catalog.models.named[i.Model]
	switch {
	case m == nil:
		return fmt.Errorf("there is no license model %q", i.Model)
	case m.State != ModelDeployed:
		return fmt.Errorf("license model %q is %s, and only one that is deployed can be sold", i.Model, m.State)
	case i.Metered != m.Metered || i.Reusable != m.Reusable || i.UndoInterval != m.UndoInterval:
		return fmt.Errorf("metered, reusable and the undo interval are said by the license model %q", i.Model)
	case i.User != "" && m.Kind != FixedUser:
		return fmt.Errorf("a %s license has no user", m.Kind)
	case i.Mode == Online && (m.Kind == NodeLocked || i.User != ""):
		return fmt.Errorf("a %s license is used offline", m.Kind)
	}
	return nil
}

// made completes an item with what its product and its license model say.
func (b *Book) made(i *Item) error {
	if len(i.Features) == 0 {
		features, ok := b.FeaturesOf(i.Product, i.ProductVersion)
		if !ok {
			return fmt.Errorf("there is no product %q %s on record, and no feature is named", i.Product, i.ProductVersion)
		}
		i.Features = features
	}
	if m := b.catalog.models.named[i.Model]; m != nil && !i.Metered && !i.Reusable && i.UndoInterval == 0 {
		i.Metered, i.Reusable, i.UndoInterval = m.Metered, m.Reusable, m.UndoInterval
	}
	return nil
}

// acted asserts that what an answer does with items may be done so often.
func (b *Book) acted(h, from *Host, a *Answered, now capability.Time) error {
	if a.Account != "" && h.Account != "" {
		return fmt.Errorf("host %s goes to another account", h.Host.Short())
	}
	returns, will := map[capability.ActivationID]uint32{}, h
	if from != nil {
		will = h.clone()
		will.takes(from)
	}
	for _, s := range a.Returns {
		i := b.byID[s.ActivationID]
		if !s.Credited || s.WrittenOff || i == nil {
			continue
		}
		if s.Gone != (b.modelOf(i).NoCredit && !b.leaving(h.Host, s.ActivationID)) {
			return fmt.Errorf("return %.4x of %s is credited to its item, or not, and its model says otherwise", s.ID[:], s.ActivationID)
		}
		if s.Asked {
			if !b.asked(will, capability.Return{ActivationID: s.ActivationID, Copies: s.Copies}) {
				return fmt.Errorf("return %.4x of %s was asked for, says the entry, and was not", s.ID[:], s.ActivationID)
			}
			continue
		}
		returns[s.ActivationID]++
		if no := b.spent(i, ActReturn, returns[s.ActivationID], now); no != nil {
			return no
		}
	}
	if a.Repair != nil {
		for _, f := range h.Holds {
			if no := b.spent(b.byID[f.ActivationID], ActRepair, 1, now); no != nil {
				return no
			}
		}
	}
	if from != nil {
		for _, f := range from.Holds {
			if no := b.spent(b.byID[f.ActivationID], ActRehost, 1, now); no != nil {
				return no
			}
		}
	}
	return nil
}

// counts keeps what an answer did with items. The host is as it was before, but for its totals; from still has what it loses.
func (b *Book) counts(repaired []Fulfillment, from *Host, a *Answered, now capability.Time) {
	for _, s := range a.Returns {
		if i := b.byID[s.ActivationID]; s.Credited && !s.WrittenOff && i != nil {
			if !s.Asked {
				b.count(i, ActReturn, 1, now)
			}
			if s.Gone {
				b.giveUp(i, s.Copies)
			}
		}
	}
	if a.Repair != nil {
		for _, f := range repaired {
			b.count(b.byID[f.ActivationID], ActRepair, 1, now)
		}
	}
	if from != nil {
		for _, f := range from.Holds {
			b.count(b.byID[f.ActivationID], ActRehost, 1, now)
		}
	}
}
