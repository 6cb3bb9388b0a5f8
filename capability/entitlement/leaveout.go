package entitlement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Copies that a machine shall not have any more are left out of its responses, and stay counted as its own until they are proved to be gone.
//
// What proves that copies are gone: a return that the machine itself made; or a request of the same life that has applied a response without them, under an epoch above the one before, so that no copy
// of the storage brings them back, once what was lent of them has ended. The machine says that in the request (Settled). One that does not is believed when the longest lease has passed since it first
// named such a response: until it applied that one it may have lent.

// LeftOut are copies that are counted as a host's and that its responses leave out.
type LeftOut struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"2,keyasint,omitzero" json:"copies"`
	Serial       uint64                  `cbor:"3,keyasint,omitzero" json:"serial"`              // of the first response without all of them
	Epoch        uint64                  `cbor:"4,keyasint,omitzero" json:"epoch"`               // of the request which that one answers
	Since        capability.Time         `cbor:"5,keyasint,omitzero" json:"since"`               // when the first of them were left out
	Confirmed    capability.Time         `cbor:"6,keyasint,omitzero" json:"confirmed,omitempty"` // when a request first named that response, or a newer one, as applied
}

// Gone are copies that a request proves to be gone without a return.
type Gone struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"2,keyasint,omitzero" json:"copies"`
	Applied      uint64                  `cbor:"3,keyasint,omitzero" json:"applied"`           // as the request says
	Settled      bool                    `cbor:"4,keyasint,omitzero" json:"settled,omitempty"` // as it says too
}

// have is held of a host that may not be there.
func (h *Host) have(id capability.ActivationID) uint32 {
	if h == nil {
		return 0
	}
	return h.held(id)
}

// given is what responses say that the host has of an item.
func (h *Host) given(id capability.ActivationID) uint32 {
	n := h.held(id)
	if o := h.leftOut(id); o != nil {
		n -= min(n, o.Copies)
	}
	return n
}

func (h *Host) leftOut(id capability.ActivationID) *LeftOut {
	if h == nil {
		return nil
	}
	if at, ok := h.findOut(id); ok {
		return &h.Out[at]
	}
	return nil
}

func (h *Host) findOut(id capability.ActivationID) (int, bool) {
	return slices.BinarySearchFunc(h.Out, id, func(o LeftOut, id capability.ActivationID) int { return cmp.Compare(o.ActivationID, id) })
}

// leaveOut sets what is left out of an item, keeping the order; zero copies: nothing any more.
func (h *Host) leaveOut(o LeftOut) {
	at, ok := h.findOut(o.ActivationID)
	switch {
	case ok && o.Copies == 0:
		h.Out = slices.Delete(h.Out, at, at+1)
	case ok:
		h.Out[at] = o
	case o.Copies > 0:
		h.Out = slices.Insert(h.Out, at, o)
	}
}

// why is what the tier of the host followed from when it asked last.
func (h *Host) why() string {
	if n := len(h.Appearances); n > 0 {
		return h.Appearances[n-1].Why
	}
	return ""
}

// longest is the longest lease that a machine can have given of an item, with the rounding of its end: what it lent under a policy of before is no longer either.
func (b *Book) longest(i *item) capability.Seconds {
	return max(capability.MaxLease, b.modelOf(i).Borrow) + b.modelOf(i).Tolerance + longestRounding
}

// longestRounding: the end of a lease is rounded up to a second, a minute, an hour or a day, in a time zone.
const longestRounding capability.Seconds = 2 * day

// confirms says whether a request proves that its machine has applied a response, or a newer one, in a storage of which no copy knows an older one.
func confirms(h *Host, r *capability.Request, serial, epoch uint64) bool {
	return r.Applied >= serial && r.Epoch > epoch && proves(h, r)
}

// prove takes back what the request proves to be gone without a return, and adds it to what came back. A request in dispute proves nothing.
func (b *Book) prove(now capability.Time, before, h *Host, c *Answer, a *Answered, back map[capability.ActivationID]uint32) {
	r := c.Request
	if before.Life != r.Life {
		return
	}
	for _, o := range slices.Clone(h.Out) {
		i := b.byID[o.ActivationID]
		target, is := b.shall(h, i)
		if !is || !confirms(before, r, o.Serial, o.Epoch) {
			continue
		}
		first := o.Confirmed == 0
		if first {
			o.Confirmed = now
			h.leaveOut(o)
		}
		have := h.held(o.ActivationID)
		gone := min(o.Copies, have-min(have, target))
		if gone == 0 || !r.Settled && (first || now < o.Confirmed.Add(b.longest(i))) {
			continue
		}
		a.Gone = append(a.Gone, Gone{o.ActivationID, gone, r.Applied, r.Settled})
		h.hold(o.ActivationID, have-gone)
		back[o.ActivationID] += gone
		o.Copies = 0
		h.leaveOut(o)
	}
}

// give brings the host to what it is to have: copies that are reserved for it, and fewer by leaving them out.
func (b *Book) give(now capability.Time, before, h *Host, c *Answer, a *Answered, back map[capability.ActivationID]uint32, resp *capability.Response) {
	for _, o := range slices.Clone(h.Out) {
		if _, is := b.shall(h, b.byID[o.ActivationID]); !is {
			h.leaveOut(LeftOut{ActivationID: o.ActivationID}) // nobody asks for them any more
		}
	}
	for _, i := range b.concerningBoth(h) {
		target, is := b.shall(h, i)
		have := h.held(i.ActivationID)
		if !is {
			continue
		}
		if target > have && c.Refused == "" {
			account := h.Account
			if h.Account = b.accountOf(h); h.Account == "" && b.deviceOf[h.Host] != nil {
				h.Account = b.deviceOf[h.Host].Account // what is said of the device counts, also when it was said later
			}
			if no := b.gives(now, h, i, c, target); no != nil {
				resp.Denials = deny(resp.Denials, no)
				h.Account = account
			} else {
				// What is reserved, and what came back just now, is enough; of a line item that was cut meanwhile there may be less.
				used := i.used - before.held(i.ActivationID) + have + a.gone(i.ActivationID)
				have += min(target-have, b.reservedFor(h.Host, i.ActivationID)+back[i.ActivationID], i.room()-min(i.room(), used+i.seated()))
				h.Account = cmp.Or(h.Account, i.Customer)
				h.hold(i.ActivationID, have)
			}
		}
		h.asks(i.ActivationID, have-min(have, target), now, c.Request, resp.Serial, before.Life != c.Request.Life || c.foreign != nil || c.disputed)
		if total, mapped := b.deviceOf[h.Host].mapping(i.ActivationID); mapped && have == total && h.leftOut(i.ActivationID) == nil {
			a.Mapped = append(a.Mapped, i.ActivationID)
		}
	}
	a.Out, resp.ReturnAsked = changedOut(before, h), len(h.Out) > 0
}

// gives says why a machine does not get what is reserved for it, or nil.
func (b *Book) gives(now capability.Time, h *Host, i *item, c *Answer, copies uint32) *capability.Refusal {
	switch {
	case h.Moved != nil:
		return capability.Refuse(capability.ErrRehosted, string(i.ActivationID), "%s", h.Moved)
	case i.Expiry != 0 && now >= i.Expiry:
		return capability.Refuse(capability.ErrBookExpired, string(i.ActivationID), "it expired %s", i.Expiry)
	}
	if no := b.shut(h, c, capability.Desired{ActivationID: i.ActivationID, Count: copies}); no != nil {
		return no
	}
	if own := cmp.Or(b.accountOf(h), b.device(h.Host).Account); own != "" && !b.Related(own, i.Customer) {
		return capability.Refuse(capability.ErrAccount, string(i.ActivationID), "the device belongs to another account")
	}
	return b.barred(i, c.Identity.Tier, copies, c.Shown.Why)
}

// asks leaves copies out, from the response of that serial on where they are more than before, or anew: where another trusted storage is asked, or one that may have had them again from a response which
// is none of this book's.
func (h *Host) asks(id capability.ActivationID, copies uint32, now capability.Time, r *capability.Request, serial uint64, anew bool) {
	o := LeftOut{ActivationID: id, Since: now}
	if was := h.leftOut(id); was != nil {
		o = *was
	}
	if copies > o.Copies || o.Serial == 0 || anew {
		o.Serial, o.Epoch, o.Confirmed = serial, r.Epoch, 0
	}
	o.Copies = copies
	h.leaveOut(o)
}

// concerningBoth are the items that the host has, as it will be, or is to have.
func (b *Book) concerningBoth(h *Host) []*item {
	list := b.concerning(h.Host)
	for _, f := range h.Holds {
		if i := b.byID[f.ActivationID]; !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, c *item) int { return compareIDs(a.ActivationID, c.ActivationID) })
	return list
}

// changedOut is what is left out otherwise than before; zero copies: nothing any more.
func changedOut(before, after *Host) (list []LeftOut) {
	for _, o := range before.Out {
		if after.leftOut(o.ActivationID) == nil {
			list = append(list, LeftOut{ActivationID: o.ActivationID})
		}
	}
	for _, o := range after.Out {
		if was := before.leftOut(o.ActivationID); was == nil || *was != o {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, c LeftOut) int { return compareIDs(a.ActivationID, c.ActivationID) })
	return list
}

// applyGone asserts what prove promises of an entry, against the host as it was.
func (b *Book) applyGone(h *Host, e *Entry) error {
	a := e.Answer
	for n, g := range a.Gone {
		o := h.leftOut(g.ActivationID)
		switch {
		case n > 0 && compareIDs(a.Gone[n-1].ActivationID, g.ActivationID) >= 0 || o == nil || g.Copies == 0 || g.Copies > o.Copies:
			return fmt.Errorf("%d copies of %s are gone that were not left out", g.Copies, g.ActivationID)
		case g.Applied < o.Serial || g.Applied > h.Serial || a.Epoch <= o.Epoch || a.Request.Fork || a.Repair != nil:
			return fmt.Errorf("%d copies of %s are gone with response %d applied at epoch %d, and response %d left them out at epoch %d", g.Copies, g.ActivationID, g.Applied, a.Epoch, o.Serial, o.Epoch)
		case !g.Settled && (o.Confirmed == 0 || e.Time < o.Confirmed.Add(b.longest(b.byID[g.ActivationID]))):
			return fmt.Errorf("%d copies of %s are gone, and what was lent of them may run", g.Copies, g.ActivationID)
		}
	}
	return nil
}

// applyOut takes in what is left out from now on. The host has the totals of the answer already.
func (h *Host) applyOut(a *Answered) error {
	for n, o := range a.Out {
		was := h.leftOut(o.ActivationID)
		switch {
		case n > 0 && compareIDs(a.Out[n-1].ActivationID, o.ActivationID) >= 0:
			return fmt.Errorf("what is left out of %s is not in order", o.ActivationID)
		case o.Copies == 0:
		case o.Serial == a.Request.Serial && o.Epoch == a.Epoch && o.Confirmed == 0:
		case was == nil || o.Serial != was.Serial || o.Epoch != was.Epoch || o.Copies > was.Copies || a.Repair != nil:
			return fmt.Errorf("%d copies of %s were left out with response %d, and there is no such record", o.Copies, o.ActivationID, o.Serial)
		}
		h.leaveOut(o)
	}
	return nil
}

// checkOut: no host is asked back more than it has, with a response that was never made.
func (h *Host) checkOut() error {
	last := capability.ActivationID("")
	for _, o := range h.Out {
		if o.Copies == 0 || o.Copies > h.held(o.ActivationID) || o.Serial == 0 || o.Serial > h.Serial || o.ActivationID <= last {
			return fmt.Errorf("%d of %d copies of %s are left out with response %d of %d, or not in order", o.Copies, h.held(o.ActivationID), o.ActivationID, o.Serial, h.Serial)
		}
		last = o.ActivationID
	}
	return nil
}
