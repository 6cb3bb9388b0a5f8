package entitlement

import (
	"errors"
	"fmt"
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
	Serial   uint64          `cbor:"6,keyasint,omitzero" json:"serial"` // of the last response that had them
}

// rehosted is the machine whose rights an answer moves, nil where none are, or why it cannot be. The new machine must be good enough for each of them.
func (b *Book) rehosted(h *Host, c *Answer) (*Host, *capability.Refusal) {
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
	case c.Approved == "":
		return no("nothing proves that it is gone, so a second person must approve: --approved-by NAME")
	case len(from.Metered) > 0 && c.Request.Applied != 0:
		return no("it has used metered items, and only a trusted storage that has applied no response can begin with what was used")
	}
	for _, f := range from.Holds {
		if no := b.barred(b.byID[f.ActivationID], c.Identity.Tier, h.held(f.ActivationID)+f.Copies, c.Shown.Why); no != nil {
			return nil, no
		}
	}
	return from, nil
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
}

// leaves is the other side of takes.
func (h *Host) leaves(to hostid.ID, r *Rehosted, now capability.Time, by string) {
	h.Holds, h.Metered = nil, nil
	h.Moved = &Moved{To: to, Time: now, By: by, Approved: r.Approved, Reason: r.Reason, Serial: h.Serial}
}

// moves asserts what rehosted promises, and gives the machine that loses its rights; nil where none does.
func (b *Book) moves(e *Entry, to *Host) (*Host, error) {
	r := e.Answer.Rehosted
	if r == nil {
		return nil, nil
	}
	from := b.byKey[r.From]
	switch {
	case from == nil || from.Host == e.Answer.Identity.Host || from.Moved != nil || len(from.Holds) == 0:
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
