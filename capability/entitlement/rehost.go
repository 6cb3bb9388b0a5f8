package entitlement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A machine whose TPM was replaced is another machine, and what the old one had is on record with that. A re-host gives it to the new one, on the producer's word
// alone: nothing proves that the old machine is gone. So two persons stand for each, and the old machine has no rights from then on: what it still asks for is refused,
// its next response takes what it has, and no answer from before is handed out again.

// Rehosted is the part of an answer that gives the machine everything another one has.
type Rehosted struct {
	From     hostid.ID `cbor:"1,keyasint,omitzero" json:"from"`
	Reason   string    `cbor:"2,keyasint,omitzero" json:"reason"`
	Approved string    `cbor:"3,keyasint,omitzero" json:"approved"` // the second person
}

// Moved is what became of a machine's rights.
type Moved struct {
	To       hostid.ID       `cbor:"1,keyasint,omitzero" json:"to"`
	Time     capability.Time `cbor:"2,keyasint,omitzero" json:"time"`
	By       string          `cbor:"3,keyasint,omitzero" json:"by,omitempty"`
	Approved string          `cbor:"4,keyasint,omitzero" json:"approved"`
	Reason   string          `cbor:"5,keyasint,omitzero" json:"reason"`
	Serial   uint64          `cbor:"6,keyasint,omitzero" json:"serial"`           // of the last response that had them
	Epoch    uint64          `cbor:"7,keyasint,omitzero" json:"epoch,omitempty"`  // of the request that it answers
	Proved   capability.Time `cbor:"8,keyasint,omitzero" json:"proved,omitempty"` // when the machine showed that it has none of them any more
}

// rehosted is the machine whose rights an answer moves, nil where none are, or why it cannot be. The new machine must be good enough for each of them.
func (b *Book) rehosted(now capability.Time, h *Host, c *Answer) (*Host, *capability.Refusal) {
	if c.Rehost == (hostid.ID{}) {
		return nil, nil
	}
	no := func(format string, args ...any) (*Host, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrNoRehost, c.Rehost.Short(), format, args...)
	}
	from := b.byKey[c.Rehost]
	switch {
	case from == nil:
		return no("it is not on record")
	case from.Host == h.Host:
		return no("it is the machine of the request: what it has comes back with --repair alone")
	case from.Moved != nil:
		return no("%s", from.Moved)
	case len(from.Holds) == 0:
		return no("it has no rights")
	case b.openMapping(from.Host) != "":
		return no("%s is to have another number of copies than it has: end that first", b.openMapping(from.Host))
	case h.Moved != nil && h.Moved.Proved == 0 && h.Moved.To != from.Host:
		return no("the machine of the request lost its own rights, and has not proved that they are gone: %s", h.Moved)
	case slices.ContainsFunc(b.running, func(o *Order) bool {
		return o.To == from.Host || o.To == h.Host && from.held(o.ActivationID) > 0 && b.kindOf(b.byID[o.ActivationID]) == FixedUser
	}):
		return no("an order moves copies to it, or a seat to the other: end that first")
	case c.Approved == "":
		return no("nothing proves that it is gone, so a second person must approve: --approved-by NAME")
	case len(from.Metered) > 0 && c.Request.Applied != 0:
		return no("it has used metered items, and only a trusted storage that has applied no response can begin with what was used")
	}
	if err := b.bothSeated(from.Host, h.Host); err != nil {
		return no("%v", err)
	}
	for _, s := range b.seatedOn[from.Host] {
		if o := b.target(b.byID[s.ActivationID]).seatOnWhole(h.Host); o != nil {
			return no("both have a seat of one license, %s and %s were merged: withdraw one first", s.ActivationID, o.ActivationID)
		}
	}
	all := h.clone()
	all.takes(from)
	if no := b.crowded(h.Host, all, b.byID[from.Holds[0].ActivationID]); no != nil {
		return nil, no
	}
	for _, f := range from.Holds {
		if no := b.fits(b.byID[f.ActivationID], h, c, now); no != nil {
			return nil, no
		}
		if no := b.barred(b.byID[f.ActivationID], c.Identity.Tier, h.held(f.ActivationID)+f.Copies, c.Shown.Why); no != nil {
			return nil, no
		}
		if off := h.off(f.ActivationID); off != nil {
			return no("%s: %s", f.ActivationID, off)
		}
	}
	return from, nil
}

// ProvisionalSpan is how long re-hosted rights are provisional, 30 days, unless the machine that had them proves before that they are gone.
const ProvisionalSpan capability.Seconds = 30 * day

// Until is when they are no longer provisional.
func (m *Moved) Until() capability.Time { return m.Time.Add(ProvisionalSpan) }

// Provisional says of a machine that rights it has were re-hosted, and from where.
type Provisional struct {
	From  hostid.ID       `json:"from"`
	Until capability.Time `json:"until"`
}

// provisional are the machines whose rights a host took over, and which have not proved since that they are gone.
func (b *Book) provisional(h *Host) (list []Provisional) {
	for _, from := range b.revoked {
		if m := from.Moved; m != nil && m.To == h.Host && m.Proved == 0 {
			list = append(list, Provisional{from.Host, m.Until()})
		}
	}
	return list
}

// String says where the rights went, when and why.
func (m *Moved) String() string {
	return fmt.Sprintf("its rights went to %s %s: %s", m.To.Short(), m.Time, m.Reason)
}

// takes gives the host what another one has. What both used of a metered item was used.
func (h *Host) takes(from *Host) {
	for _, f := range from.Holds {
		h.hold(f.ActivationID, h.held(f.ActivationID)+f.Copies)
	}
	for _, m := range from.Metered {
		m.Count = min(m.Count+h.used(m.ID()), capability.MaxCount)
		h.meter(m)
	}
	h.Moved = nil
	h.Account = cmp.Or(h.Account, from.Account)
}

// openMapping is an item that a device is mapped to, or empty.
func (b *Book) openMapping(id hostid.ID) capability.ActivationID {
	if d := b.deviceOf[id]; d != nil && len(d.mapped) > 0 {
		return d.mapped[0].ActivationID
	}
	return ""
}

// leaves is the other side of takes.
func (h *Host) leaves(to hostid.ID, r *Rehosted, now capability.Time, by string) {
	h.Holds, h.Metered, h.Out = nil, nil, nil
	h.Moved = &Moved{To: to, Time: now, By: by, Approved: r.Approved, Reason: r.Reason, Serial: h.Serial, Epoch: h.Epoch}
}

// moves asserts what rehosted promises, and gives the machine that loses its rights; nil where none does.
func (b *Book) moves(e *Entry, to *Host) (*Host, error) {
	r := e.Answer.Rehosted
	if r == nil {
		return nil, nil
	}
	from := b.byKey[r.From]
	switch {
	case from == nil || from.Host == e.Answer.Identity.Host || from.Moved != nil || len(from.Holds) == 0 || b.openMapping(from.Host) != "":
		return nil, fmt.Errorf("the rights of %s move, and it has none, or is not another machine", r.From)
	case r.Approved == "" || strings.EqualFold(r.Approved, e.By):
		return nil, errors.New("a re-host that no second person approved")
	}
	for _, f := range from.Holds {
		if no := b.barred(b.byID[f.ActivationID], e.Answer.Identity.Tier, to.held(f.ActivationID)+f.Copies, ""); no != nil {
			return nil, fmt.Errorf("a re-host of %s: %w", f.ActivationID, no)
		}
	}
	return from, nil
}
