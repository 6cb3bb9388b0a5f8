package entitlement

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Outcome is what an answer makes of one line item: what its machine had of it, and will have.
type Outcome struct {
	Item ItemView
	Had  uint32 // copies that are counted as the machine's
	Has  uint32
	Left uint32 // of the item, for others, once the answer is given
}

// Outcomes are those of the items that the machine of a decided answer had, or will have, by activation ID. Nothing is changed; a decision that answers nothing has none.
func (b *Book) Outcomes(d *Decision, now capability.Time) (list []Outcome) {
	if d.Known != nil || d.Done != nil || len(d.Entries) == 0 || d.Answered() == nil {
		return nil
	}
	a := d.Answered()
	h := b.byKey[a.Identity.Host]
	if h == nil {
		h = &Host{Identity: a.Identity}
	}
	had := h
	if a.Rehosted != nil {
		had = h.clone()
		had.takes(b.byKey[a.Rehosted.From])
	}
	ids := []capability.ActivationID{}
	for _, f := range slices.Concat(had.Holds, d.Host.Holds, a.Holds) {
		ids = append(ids, f.ActivationID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		i, has := b.byID[id], had.held(id)
		for _, f := range a.Holds {
			if f.ActivationID == id {
				has = f.Copies
			}
		}
		list = append(list, Outcome{Item: b.view(i, now), Had: h.held(id), Has: has, Left: b.leftAfter(i, h, had, a, has)})
	}
	return list
}

// leftAfter is left of an item once its machine has so many copies of it. What others have of it, or what is reserved for them, an answer changes only where an order moves copies on.
func (b *Book) leftAfter(i *item, h, had *Host, a *Answered, has uint32) uint32 {
	if i.Life.MergedTo != "" {
		return 0 // what comes back goes on to the other item
	}
	taken := uint64(i.used) - uint64(had.held(i.ActivationID)) + uint64(has) + b.reservedAfter(h, i, has, a) + uint64(i.seated())
	moved := map[hostid.ID]uint32{}
	for _, s := range a.Steps {
		if o := b.orders[s.Number-1]; o.ActivationID == i.ActivationID {
			moved[o.To] += s.Credited
		}
	}
	for to, n := range moved {
		have := b.byKey[to].have(i.ActivationID)
		total, mapped := b.deviceOf[to].mapping(i.ActivationID)
		if !mapped {
			total = have
		}
		taken += uint64(total+n-min(total+n, have)) - uint64(b.reservedFor(to, i.ActivationID))
	}
	room := uint64(i.room())
	for _, m := range i.whole()[1:] { // what comes back to one that was merged into it comes to it
		has := had.held(m.ActivationID)
		if at := slices.IndexFunc(a.Holds, func(f Fulfillment) bool { return f.ActivationID == m.ActivationID }); at >= 0 {
			has = min(has, a.Holds[at].Copies)
		}
		back := had.held(m.ActivationID) - has
		room += uint64(back - min(back, a.gone(m.ActivationID)))
	}
	left := uint32(room - min(room, taken))
	return left - min(left, a.gone(i.ActivationID))
}

// AnswerTo is the machine that wrote the request of that digest, and what is known of the request, where it was answered and its answer may be handed out again.
func (b *Book) AnswerTo(request capability.Digest) (hostid.ID, Known, error) {
	h := b.answered[request]
	if h == nil {
		return hostid.ID{}, Known{}, capability.Refuse(capability.ErrNotFound, "", "no request with the digest %.8x was answered", request[:])
	}
	k, _ := h.byDigest(request)
	if no := h.stale(k); no != nil {
		return h.Host, *k, no
	}
	return h.Host, *k, nil
}

// stale says why an answer of before is not handed out again, or nil.
func (h *Host) stale(k *Known) *capability.Refusal {
	if h.Moved != nil && k.Serial <= h.Moved.Serial {
		return capability.Refuse(capability.ErrRehosted, h.Host.Short(), "%s", h.Moved)
	}
	return h.taken(k.Serial)
}

// OwnerOf is the account that a device belongs to: by what its machine was given first, by what is said of it, or by what it is to have; empty: none yet.
func (b *Book) OwnerOf(id hostid.ID) string {
	return b.ownerOf(b.byKey[id], b.deviceOf[id])
}

func (b *Book) ownerOf(h *Host, d *device) (own string) {
	if h != nil {
		own = b.accountOf(h)
	}
	if d != nil {
		own = cmp.Or(own, d.Account)
		for _, f := range d.mapped {
			own = cmp.Or(own, b.byID[f.ActivationID].Customer)
		}
	}
	return own
}
