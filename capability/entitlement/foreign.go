package entitlement

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Who has stolen a signing key makes responses that machines apply, and that no book knows. Such a machine contradicts the record for ever: it has applied what was never made here. Once a signing
// key is revoked, two persons may have it answered all the same. The answer goes above every serial that the machine names, and has what the book says and nothing else; what the machine gave back
// of the other's rights is not credited, and what was left out before is left out anew, because it may have had it again.

// Foreign is the part of an answer that goes above a response which is none of this book's.
type Foreign struct {
	Applied  uint64 `cbor:"1,keyasint,omitzero" json:"applied"` // serial of that response, as the request says
	Reason   string `cbor:"2,keyasint,omitzero" json:"reason"`
	Approved string `cbor:"3,keyasint,omitzero" json:"approved"` // the second person
}

// maxForeign is the highest serial that an answer goes above: so many are left for the machine's life, whatever a thief wrote.
const maxForeign = math.MaxUint64 / 2

// foreign says that a request names as applied what this book did not make: a response above the last one, or one that tells another head.
func (h *Host) foreign(r *capability.Request) bool {
	k, ok := h.bySerial(r.Applied)
	return r.Applied > h.Serial || ok && r.BookHead != (capability.Digest{}) && k.Head != r.BookHead
}

// revokedOne says whether a certificate on record revokes a signing key.
func (b *Book) revokedOne() bool {
	return slices.ContainsFunc(b.signers, func(s Signer) bool { return len(s.Revoked) > 0 })
}

// overrules is what lets a request be answered that a foreign response explains, or why it stays refused: nil and nil where nobody asked for it, or no key is revoked.
func (b *Book) overrules(c *Answer, q *dispute) (*Foreign, *dispute) {
	r, still := c.Request, *q
	no := func(advice string) (*Foreign, *dispute) {
		still.advice = "; " + advice
		return nil, &still
	}
	switch {
	case !q.foreign || !b.revokedOne() && c.Repair == "" || q.ahead && b.policy.Forks == WarnForks && c.Approved == "":
		return nil, q
	case !b.revokedOne():
		return no("it is answered all the same only once a signing key was revoked, whose thief may have made that response")
	case c.Rehost != hostid.ID{}:
		return no("have it answered without --rehost first")
	case r.Applied > maxForeign:
		return no("no serial is left above that: the machine needs a new trusted storage, and a repair")
	case c.Repair == "" || c.Approved == "":
		return no("if it was made with a signing key that is revoked now: --repair REASON --approved-by NAME")
	}
	return &Foreign{Applied: r.Applied, Reason: c.Repair, Approved: c.Approved}, nil
}

// above is the serial of the next response to a host, which has applied another's.
func (h *Host) above(f *Foreign) uint64 {
	if f == nil {
		return h.Serial + 1
	}
	return max(h.Serial, f.Applied) + 1
}

// overruled asserts what overrules promises of an entry, and that no other answer leaves serials out.
func (b *Book) overruled(h *Host, e *Entry) error {
	a, f := e.Answer, e.Answer.Foreign
	switch {
	case f == nil && a.Request.Claimed == 0:
		return nil
	case f == nil || f.Applied != a.Request.Claimed || f.Applied == 0 || f.Applied > maxForeign || a.Request.Fork || a.Repair != nil || a.Rehosted != nil:
		return fmt.Errorf("request %d has applied response %d, which nobody made", a.Request.Number, a.Request.Claimed)
	case !b.revokedOne():
		return fmt.Errorf("host %s has applied response %d, and no signing key is revoked", h.Host.Short(), f.Applied)
	case f.Reason == "" || f.Approved == "" || strings.EqualFold(f.Approved, e.By):
		return errors.New("a response of a thief is overruled without a reason, or nobody else approved it")
	}
	return nil
}

// disowned says that a return is of rights that came with a foreign response: it proves nothing about those of this book.
func (c *Answer) disowned(h *Host, t capability.Return) bool {
	return c.foreign != nil && (t.Serial > h.Serial || t.Serial >= c.Request.Applied)
}
