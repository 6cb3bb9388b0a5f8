package entitlement

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A return is credited once, where the TPM proves it. One that is not proved is refused, for good where no other request can prove it.

// proves says whether the request shows that its machine opened a response of ours: the head of the book is in no clear part.
func proves(h *Host, r *capability.Request) bool {
	k, ok := h.bySerial(r.Applied)
	return r.Applied > 0 && ok && k.Head == r.BookHead
}

// credit takes back what the request proves to have returned, each return once, and gives the copies that came back by activation ID.
func (b *Book) credit(now capability.Time, h *Host, c *Answer, a *Answered, d *Decision) map[capability.ActivationID]uint32 {
	back, credited := map[capability.ActivationID]uint32{}, map[capability.ActivationID]uint32{}
	for n, t := range c.Request.Returns {
		if slices.Contains(d.Response.Acknowledged, t.ID) {
			continue
		}
		seen, again := h.seen(t.ID)
		s := ReturnSeen{ID: t.ID, ActivationID: t.ActivationID, Copies: t.Copies, Epoch: t.Epoch, Floor: h.Epoch}
		if again {
			s.Floor = seen.Floor
		}
		refusal, final := b.judge(h, c, t, c.Proofs[n], seen, s.Floor)
		gone := false
		if i := b.byID[t.ActivationID]; refusal == nil && !(again && seen.Credited) && !h.coveredOff(t) {
			gone, s.Asked = b.modelOf(i).NoCredit && !b.leaving(h.Host, t.ActivationID), b.asked(h, t)
			if !s.Asked {
				// Above the limit it is refused for good, also where more may be returned later: meanwhile its machine has the copies again, and else nobody would.
				refusal = b.spent(i, ActReturn, 1+credited[t.ActivationID], d.Response.Time)
				final = refusal != nil
			}
		}
		switch {
		case refusal != nil:
			d.Response.Denials = deny(d.Response.Denials, refusal)
			s.Refused, s.Final, s.Asked = refusal.Code, final, false
			if !again && len(h.Returns) < maxReturnsKept || again && final && !seen.Credited && !seen.Final {
				a.Returns = append(a.Returns, s)
				h.note(s)
			}
			// The machine takes the rights back on that word, so it is given only where the book keeps it.
			if kept, ok := h.seen(t.ID); ok && final && (kept.Final || kept.Credited) {
				d.Response.Denials = deny(d.Response.Denials, &capability.Refusal{Denial: capability.RefuseReturn(t, refusal.Code)})
			}
		case again && seen.Credited:
			d.Response.Acknowledged = append(d.Response.Acknowledged, t.ID)
		default:
			s.Credited = true
			if s.WrittenOff = h.coveredOff(t); s.WrittenOff && h.returnOff(s, now) == nil {
				a.Returns = append(a.Returns, s)
				h.note(s)
				d.Response.Acknowledged = append(d.Response.Acknowledged, t.ID)
				continue
			}
			if s.Gone = gone; !s.Asked {
				credited[t.ActivationID]++
			}
			h.hold(t.ActivationID, h.held(t.ActivationID)-t.Copies)
			if !s.Gone {
				back[t.ActivationID] += t.Copies
			}
			a.Returns = append(a.Returns, s)
			h.note(s)
			d.Credited = append(d.Credited, s)
			d.Response.Acknowledged = append(d.Response.Acknowledged, t.ID)
		}
	}
	return back
}

// maxReturnsKept of one host: refused ones beyond it are refused again without being kept, so that nobody fills the book with them.
const maxReturnsKept = 4096

// judge says why a return is not credited, or nil; final: nothing that may happen changes that. One that was credited already needs no second proof, but must be the same.
func (b *Book) judge(h *Host, c *Answer, t capability.Return, p Proof, seen *ReturnSeen, floor uint64) (refusal *capability.Refusal, final bool) {
	r := c.Request
	no := func(final bool, code capability.Code, format string, args ...any) (*capability.Refusal, bool) {
		return capability.Refuse(code, string(t.ActivationID), format, args...), final
	}
	if seen != nil && (seen.ActivationID != t.ActivationID || seen.Copies != t.Copies || seen.Epoch != t.Epoch) {
		return no(true, capability.ErrReturnProof, "return %.4x is on record with %d copies of %s at epoch %d", t.ID[:], seen.Copies, seen.ActivationID, seen.Epoch)
	}
	if seen != nil && seen.Credited {
		return nil, false
	}
	if seen != nil && seen.Final {
		return no(true, seen.Refused, "return %.4x was refused for good before", t.ID[:])
	}
	// A book that was brought back from a copy may be behind the machine: then it waits until it has caught up.
	behind := t.Serial > h.Serial
	switch held := h.held(t.ActivationID); {
	case c.disowned(h, t):
		return no(true, capability.ErrReturnProof, "its rights came with response %d, which is none of this back office's", t.Serial)
	case b.byID[t.ActivationID] == nil:
		return no(!behind, capability.ErrUnknownID, "a return names it")
	case p.Fault != "":
		return no(len(t.Proof) > 0, capability.ErrReturnProof, "%s", p.Fault) // a later request may bring the proof
	case p.Epoch < t.Epoch:
		return no(true, capability.ErrReturnProof, "the TPM's counter was at %d, the return is of epoch %d", p.Epoch, t.Epoch)
	case t.Epoch <= floor || r.Epoch < t.Epoch:
		return no(t.Epoch <= floor, capability.ErrRollbackSuspect, "the return is of epoch %d, the request of epoch %d, and epoch %d was seen before it", t.Epoch, r.Epoch, floor)
	case t.Serial == 0 || behind:
		return no(!behind, capability.ErrReturnProof, "its rights came with response %d, and the last one was %d", t.Serial, h.Serial)
	case h.coveredOff(t):
	case t.Copies > held:
		return no(true, capability.ErrReturnProof, "%d copies, and this machine has %d", t.Copies, held)
	}
	return nil, false
}
