package entitlement

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// All rights of a machine come in one response, which lists so many line items and has so many bytes. What would not fit is refused when it is mapped, ordered, moved or asked for, so that no answer
// fails: an item has a line for each of its features, whatever number of copies the machine has.

const (
	// maxRights bytes of line items in a response: what is left of its file is for 256 lines and 256 denials of 500 bytes each, revocations of 35 kB, and certificates.
	maxRights = 640 << 10
	// maxLineBytes of one line item: four names, four texts, and 200 bytes of numbers and an activation ID.
	maxLineBytes = 4*capability.MaxName + 4*capability.MaxText + 200
)

// space is what rights take of a response.
type space struct{ lines, bytes int }

func (s space) fits() bool { return s.lines <= capability.MaxItems && s.bytes <= maxRights }

// space is what an item takes, with as many copies as there may be.
func (b *Book) space(i *item) (s space) {
	for _, f := range i.Features {
		line := i.lineItem(f, 1)
		b.shape(&line, i, 0)
		line.Count, line.Copies, line.Overdraft, line.UsedBefore, line.Issuer = capability.MaxCount, capability.MaxCount, capability.MaxCount, capability.MaxCount, b.policy.Producer
		line.Start, line.Expiry, line.Grace = i.Issued, i.Issued, true
		if b.kindOf(i) == FixedUser {
			s.bytes += capability.MaxText
		}
		s.lines++
		s.bytes += len(b.codec.Encode(line))
	}
	return s
}

// promised are the items that a machine has or is to have.
func (b *Book) promised(id hostid.ID, h *Host) (list []*item) {
	add := func(of capability.ActivationID) {
		if i := b.byID[of]; !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	if h != nil {
		for _, f := range h.Holds {
			add(f.ActivationID)
		}
	}
	if d := b.deviceOf[id]; d != nil {
		for _, f := range d.mapped {
			if f.Copies > 0 {
				add(f.ActivationID)
			}
		}
	}
	for _, o := range b.running {
		if o.To == id {
			add(o.ActivationID)
		}
	}
	return list
}

// crowded says why items do not fit a machine's responses beside those that it has, as h says, or is to have; nil: they fit.
func (b *Book) crowded(id hostid.ID, h *Host, more ...*item) *capability.Refusal {
	list := b.promised(id, h)
	for _, i := range more {
		if !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	lines, all := 0, space{}
	for _, i := range list {
		lines += len(i.Features)
	}
	if lines <= maxRights/maxLineBytes {
		return nil
	}
	for _, i := range list {
		s := b.space(i)
		all.lines, all.bytes = all.lines+s.lines, all.bytes+s.bytes
	}
	if all.fits() {
		return nil
	}
	return capability.Refuse(capability.ErrNoRoom, string(more[0].ActivationID),
		"with it %s would have %d items of %d features in all, of %d bytes, and one response has room for %d features and %d bytes", id.Short(), len(list), all.lines, all.bytes, capability.MaxItems, maxRights)
}

// fitting are as many of a machine's rights as one response has room for, item by item, and the items for which there is none: of a book in which more was given once.
func (b *Book) fitting(rights []capability.LineItem) (fit []capability.LineItem, out []capability.ActivationID) {
	if len(rights) <= maxRights/maxLineBytes {
		return rights, nil
	}
	used := space{}
	for from := 0; from < len(rights); {
		next, upto := space{}, from
		for ; upto < len(rights) && rights[upto].ActivationID == rights[from].ActivationID; upto++ {
			next.lines, next.bytes = next.lines+1, next.bytes+len(b.codec.Encode(rights[upto]))
		}
		if more := (space{used.lines + next.lines, used.bytes + next.bytes}); more.fits() {
			used, fit = more, append(fit, rights[from:upto]...)
		} else {
			out = append(out, rights[from].ActivationID)
		}
		from = upto
	}
	return fit, out
}
