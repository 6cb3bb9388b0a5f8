package entitlement

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A machine's trusted storage has a life: it ends when the disk is lost, rolled back or cannot be opened any more, and the storage made in its place has another
// one, whose requests are numbered anew. The book takes the new life for the machine's only by an operator's word, because what the machine had may still
// be in use from a copy: then the machine has all it had, and whatever the old life still writes is refused.

// MaxReason bounds, in bytes, what an operator says about a repair.
const MaxReason = capability.MaxText

// PastLife is a trusted storage that a repair replaced.
type PastLife struct {
	Life     capability.LifeID `cbor:"1,keyasint,omitzero" json:"life"`
	Ended    capability.Time   `cbor:"2,keyasint,omitzero" json:"ended"`
	By       string            `cbor:"3,keyasint,omitzero" json:"by,omitempty"`
	Reason   string            `cbor:"4,keyasint,omitzero" json:"reason"`
	Cause    capability.Code   `cbor:"5,keyasint,omitzero" json:"cause,omitempty"` // what the machine said of its storage
	Epoch    uint64            `cbor:"6,keyasint,omitzero" json:"epoch"`           // of its last request answered
	Answered uint64            `cbor:"7,keyasint,omitzero" json:"answered"`        // the number of that
	Requests []Known           `cbor:"-" json:"requests"`
}

// Repaired is the part of an answer that begins a new life.
type Repaired struct {
	Reason string          `cbor:"1,keyasint,omitzero" json:"reason"`
	Cause  capability.Code `cbor:"2,keyasint,omitzero" json:"cause,omitempty"`
}

// renewed is the host as a request of another life finds it, and whether that is a repair. A host that was answered before lives had names takes the first one that comes.
func renewed(h *Host, c *Answer) (*Host, *Repaired, *capability.Refusal) {
	r, subject := c.Request, h.Host.Short()
	if h.Serial == 0 || h.Life == r.Life || h.Life == (capability.LifeID{}) {
		return h, nil, nil
	}
	if i := slices.IndexFunc(h.Past, func(p PastLife) bool { return p.Life == r.Life }); i >= 0 {
		return nil, nil, capability.Refuse(capability.ErrReplaced, subject, "request %d of a storage that was replaced %s: %s", r.Number, h.Past[i].Ended, h.Past[i].Reason)
	}
	switch {
	case c.Repair == "":
		return nil, nil, capability.Refuse(capability.ErrRepair, subject, "%s", lossOf(r.Condition))
	case r.Applied != 0:
		return nil, nil, capability.Refuse(capability.ErrFork, subject, "a storage that is new to this book has applied response %d", r.Applied)
	case r.Epoch < h.Epoch:
		return nil, nil, capability.Refuse(capability.ErrRollbackSuspect, subject, "the request is of epoch %d, request %d was of epoch %d: the TPM's counter does not go back", r.Epoch, h.Answered, h.Epoch)
	}
	return h, &Repaired{Reason: c.Repair, Cause: r.Condition}, nil
}

// lossOf is what a machine says of the storage it had.
func lossOf(c capability.Code) string {
	if c == 0 {
		return "the machine says nothing of a storage it had before"
	}
	return "the machine says: " + c.String() + ", " + c.Entry().Title
}

// replace ends the life of the host's storage.
func (h *Host) replace(r *Repaired, now capability.Time, by string) {
	h.Past = append(h.Past, PastLife{
		Life: h.Life, Ended: now, By: by, Reason: r.Reason, Cause: r.Cause, Epoch: h.Epoch, Answered: h.Answered, Requests: h.Requests,
	})
	h.Requests, h.Answered = nil, 0
}
