package entitlement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	Approved string            `cbor:"8,keyasint,omitzero" json:"approved,omitempty"`
	Requests []Known           `cbor:"-" json:"requests"`
}

// Repaired is the part of an answer that begins a new life.
type Repaired struct {
	Reason string          `cbor:"1,keyasint,omitzero" json:"reason"`
	Cause  capability.Code `cbor:"2,keyasint,omitzero" json:"cause,omitempty"`
	// Approved is the second person who stands for the repair, where the policy asks for one or the operator named one.
	Approved string `cbor:"3,keyasint,omitzero" json:"approved,omitempty"`
}

// renewed is the host as a request of another life finds it, and whether that is a repair. A host that was answered before lives had names takes the first one that comes.
func (b *Book) renewed(now capability.Time, h *Host, c *Answer) (*Host, *Repaired, *capability.Refusal) {
	r, subject, limit := c.Request, h.Host.Short(), b.policy.Repairs.Count()
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
	case c.Approved == "" && h.Repairs(now) >= limit:
		return nil, nil, capability.Refuse(capability.ErrRepair, subject, "%d repairs of it in 365 days, and %d are allowed on one person's word: a second person must approve, --approved-by NAME", h.Repairs(now), limit)
	}
	for _, f := range h.Holds {
		if no := b.spent(b.byID[f.ActivationID], ActRepair, 1, now); no != nil {
			return nil, nil, no
		}
	}
	return h, &Repaired{Reason: c.Repair, Cause: r.Condition, Approved: c.Approved}, nil
}

// RepairSpan is the time over which repairs of a machine are counted, 365 days.
const RepairSpan capability.Seconds = 365 * 24 * 60 * 60

// Repairs is the number of repairs of the machine in the RepairSpan before now.
func (h *Host) Repairs(now capability.Time) int {
	n := 0
	for _, p := range h.Past {
		if now < p.Ended.Add(RepairSpan) {
			n++
		}
	}
	return n
}

// RepairLimit is how many repairs of a machine in RepairSpan one person may order; zero, in books from before there was one, is DefaultRepairs.
type RepairLimit int32

const (
	NoRepairs      RepairLimit = -1 // every repair needs a second person
	DefaultRepairs RepairLimit = 2
	MaxRepairs     RepairLimit = 100 // two a week: beyond that nobody looks at any of them
)

// LimitRepairs is the limit of n repairs.
func LimitRepairs(n int) RepairLimit {
	if n == 0 {
		return NoRepairs
	}
	return RepairLimit(max(int(NoRepairs)-1, min(n, int(MaxRepairs)+1))) // what is no limit stays none
}

// Count is the number of repairs that the limit allows.
func (l RepairLimit) Count() int {
	switch l {
	case 0:
		return int(DefaultRepairs)
	case NoRepairs:
		return 0
	}
	return int(l)
}

// MarshalJSON makes JSON show the number of repairs.
func (l RepairLimit) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, int64(l.Count()), 10), nil
}

// approves says why nobody, or the operator alone, stands for a repair beyond the limit.
func (r *Repaired) approves(by string, repairs, limit int) error {
	switch {
	case r.Approved == "" && repairs >= limit:
		return fmt.Errorf("%d repairs before, and one beyond the limit of %d that nobody approved", repairs, limit)
	case r.Approved != "" && strings.EqualFold(r.Approved, by):
		return fmt.Errorf("the repair was ordered and approved by the same person, %q", by)
	}
	return nil
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
		Life: h.Life, Ended: now, By: by, Reason: r.Reason, Cause: r.Cause, Approved: r.Approved, Epoch: h.Epoch, Answered: h.Answered, Requests: h.Requests,
	})
	h.Requests, h.Answered = nil, 0
}
