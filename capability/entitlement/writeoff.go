package entitlement

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Copies on a machine that proves nothing any more can be written off: they are credited on the word of two persons, and the machine is revoked for it. Nothing shows that they are gone, so the number of
// times is limited, and the machine hears of it if it ever asks. Its proof, if it comes, closes the matter and credits nothing a second time.

// WrittenOff is what was written off of a machine.
type WrittenOff struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"2,keyasint,omitzero" json:"copies"`
	Time         capability.Time         `cbor:"3,keyasint,omitzero" json:"time"`
	By           string                  `cbor:"4,keyasint,omitzero" json:"by,omitempty"`
	Approved     string                  `cbor:"5,keyasint,omitzero" json:"approved"` // the second person
	Reason       string                  `cbor:"6,keyasint,omitzero" json:"reason"`
	Serial       uint64                  `cbor:"7,keyasint,omitzero" json:"serial"`             // of the last response that may have them
	Epoch        uint64                  `cbor:"8,keyasint,omitzero" json:"epoch"`              // of the request that it answers
	Returned     uint32                  `cbor:"9,keyasint,omitzero" json:"returned,omitempty"` // of them, since
	Closed       capability.Time         `cbor:"10,keyasint,omitzero" json:"closed,omitempty"`  // when it was proved that all are gone
	Host         hostid.ID               `cbor:"11,keyasint,omitzero" json:"host,omitzero"`     // in an entry: whose
	Orders       []OrderStep             `cbor:"12,keyasint,omitempty" json:"orders,omitempty"` // in an entry: what follows for orders
}

// String is what the machine is told of it. Why is the producer's own business.
func (w *WrittenOff) String() string {
	return fmt.Sprintf("%d copies of this machine were written off %s", w.Copies, w.Time)
}

// WriteOff credits what a machine has of an item, without proof.
type WriteOff struct {
	Host         hostid.ID
	ActivationID capability.ActivationID
	Reason       string
	By           string
	Approved     string // a second person
}

// WriteOffSpan is the time over which write-offs of an item are counted, 365 days.
const WriteOffSpan = RepairSpan

// DefaultWriteOffs is how many machines may be written off of an item in WriteOffSpan, where the policy says nothing.
const DefaultWriteOffs = 2

func (c WriteOff) decide(b *Book, now capability.Time) (*Decision, error) {
	h, i := b.byKey[c.Host], b.byID[c.ActivationID]
	no := func(format string, args ...any) (*Decision, error) {
		return nil, capability.Refuse(capability.ErrNoWriteOff, string(c.ActivationID), format, args...)
	}
	if c.Reason == "" {
		return nil, fmt.Errorf("%w: a write-off needs a reason: --reason REASON", ErrDevice)
	}
	if err := capability.CheckText(c.Reason); err != nil {
		return nil, fmt.Errorf("%w: reason: %w", ErrDevice, err)
	}
	switch {
	case h == nil:
		return no("the machine is not on record")
	case i == nil:
		return nil, capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "nothing is written off")
	case h.held(c.ActivationID) == 0:
		return no("%s has none of it", c.Host.Short())
	case c.Approved == "":
		return no("nothing proves that they are gone, so a second person must approve: --approved-by NAME")
	case i.Metered:
		return no("it is metered, and what is used up of it would be given a second time")
	case b.writtenOff(i, now) >= b.policy.writeOffs():
		return no("%d machines of it, of what it was split from or of what was merged with it were written off in 365 days, and %d are allowed", b.writtenOff(i, now), b.policy.writeOffs())
	}
	if err := legible("approver", c.Approved); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	if strings.EqualFold(c.Approved, c.By) {
		return nil, fmt.Errorf("%w: %q orders the write-off, so somebody else has to approve it", ErrDevice, c.By)
	}
	held := h.held(c.ActivationID)
	w := &WrittenOff{Host: c.Host, ActivationID: c.ActivationID, Copies: held, Time: now, By: c.By, Approved: c.Approved, Reason: c.Reason, Serial: h.Serial, Epoch: h.Epoch}
	w.Orders = b.moved(c.Host, map[capability.ActivationID]uint32{c.ActivationID: held})
	e := b.entry(now, c.By)
	e.WriteOff = w
	return &Decision{Entries: []*Entry{e}}, nil
}

// writeOffs is how many of one item the policy allows in WriteOffSpan.
func (p *Policy) writeOffs() int {
	if p.WriteOffs == 0 {
		return DefaultWriteOffs
	}
	return p.WriteOffs.Count()
}

// writtenOff is the number of write-offs of the item in the WriteOffSpan before now. Those of what was merged with it count, and those of what it was split from up to that day: to give an item another ID
// makes no room for more of them. Apply does not assert the limit, because books of before counted each ID alone.
func (b *Book) writtenOff(i *item, now capability.Time) (n int) {
	upto := map[*item]capability.Time{}
	b.kin(b.target(i), now, upto)
	for i, last := range upto {
		if i.ties == nil {
			continue
		}
		for _, t := range i.ties.offs {
			if t <= last && now < t.Add(WriteOffSpan) {
				n++
			}
		}
	}
	return n
}

// kin puts an item into upto with all that was merged into it and that those were split from, and until when what was done with each counts for the first.
func (b *Book) kin(i *item, last capability.Time, upto map[*item]capability.Time) {
	for _, m := range i.whole() {
		if was, met := upto[m]; met && was >= last {
			continue
		}
		upto[m] = last
		if from := b.byID[m.Life.SplitFrom]; from != nil {
			b.kin(from, min(last, m.Issued), upto)
		}
	}
}

func (b *Book) applyWriteOff(e *Entry) error {
	w := *e.WriteOff
	h, i := b.byKey[w.Host], b.byID[w.ActivationID]
	switch {
	case h == nil || i == nil || i.Metered || w.Copies == 0 || w.Copies != h.held(w.ActivationID):
		return fmt.Errorf("%d copies of %s are written off, and %s has not so many", w.Copies, w.ActivationID, w.Host)
	case w.Approved == "" || strings.EqualFold(w.Approved, e.By) || w.Reason == "":
		return errors.New("a write-off without a reason, or that no second person approved")
	case w.Time != e.Time || w.By != e.By || w.Serial != h.Serial || w.Epoch != h.Epoch || w.Returned != 0 || w.Closed != 0 || h.off(w.ActivationID) != nil:
		return fmt.Errorf("%s is written off of %s at response %d, which is at %d", w.ActivationID, w.Host.Short(), w.Serial, h.Serial)
	}
	if err := b.checkSteps(w.Host, w.Orders, 0, map[capability.ActivationID]uint64{w.ActivationID: uint64(w.Copies)}); err != nil {
		return err
	}
	steps := w.Orders
	b.unmap(w.Host, w.ActivationID)
	i.used -= w.Copies
	h.hold(w.ActivationID, 0)
	h.leaveOut(LeftOut{ActivationID: w.ActivationID})
	i.tie().offs = append(i.tie().offs, w.Time)
	w.Host, w.Orders = hostid.ID{}, nil
	h.Off = append(h.Off, w)
	b.step(steps, e.Time)
	b.vacate(h)
	b.settle(i)
	b.reindex(h, []Fulfillment{{w.ActivationID, w.Copies}})
	b.keepRevoked(h)
	return nil
}

// off is what was written off of an item and is not proved to be gone, or nil.
func (h *Host) off(id capability.ActivationID) *WrittenOff {
	for n := range h.Off {
		if w := &h.Off[n]; w.ActivationID == id && w.Closed == 0 {
			return w
		}
	}
	return nil
}

// isRevoked says that something of the host was written off, or its rights re-hosted, and nothing has proved since that they are gone.
func (h *Host) isRevoked() bool {
	return h.Moved != nil && h.Moved.Proved == 0 || slices.ContainsFunc(h.Off, func(w WrittenOff) bool { return w.Closed == 0 })
}

// taken says that a response of before may not be handed out any more, and why.
func (h *Host) taken(serial uint64) *capability.Refusal {
	for n := range h.Off {
		if w := &h.Off[n]; serial <= w.Serial && w.Closed == 0 {
			return capability.Refuse(capability.ErrWrittenOff, string(w.ActivationID), "%s", w)
		}
	}
	return nil
}

// closes are the write-offs that a request proves to be gone: the machine has applied a response of since, and what it had lent has ended. One without an activation ID is about rights that were re-hosted.
func (h *Host) closes(before *Host, r *capability.Request) (closed []Gone) {
	for _, w := range h.Off {
		if g := (Gone{w.ActivationID, w.Copies - w.Returned, r.Applied, r.Settled}); w.Closed == 0 && before.Life == r.Life && proves(before, r) && h.closable(before, g, r.Epoch) {
			closed = append(closed, g)
		}
	}
	if g := (Gone{Applied: r.Applied, Settled: r.Settled}); before.Life == r.Life && proves(before, r) && h.closable(before, g, r.Epoch) {
		closed = append(closed, g)
	}
	return closed
}

// closable says whether a response applied, and settled, at an epoch shows that what was written off, or re-hosted, is gone.
func (h *Host) closable(before *Host, g Gone, epoch uint64) bool {
	serial, seen, left := uint64(0), uint64(0), uint32(0)
	switch w := h.off(g.ActivationID); {
	case w != nil:
		serial, seen, left = w.Serial, w.Epoch, w.Copies-w.Returned
	case g.ActivationID == "" && h.Moved != nil && h.Moved.Proved == 0:
		serial, seen = h.Moved.Serial, h.Moved.Epoch
	default:
		return false
	}
	return g.Copies == left && g.Applied > serial && g.Applied <= before.Serial && g.Settled && epoch > seen
}

// close takes in that it is gone.
func (h *Host) close(g Gone, now capability.Time) {
	if w := h.off(g.ActivationID); w != nil {
		w.Closed = now
		return
	}
	m := *h.Moved
	m.Proved = now
	h.Moved = &m
}

// Revocation is the digest by which a response says that a machine is revoked: that of its attestation key.
func (h *Host) Revocation() capability.Digest { return sha256.Sum256(h.AK) }

// RevokedHosts are the digests of machines whose rights were written off or re-hosted, as long as nothing proves that they are gone; the last ones first.
func (b *Book) RevokedHosts() (list []capability.Digest) {
	for _, h := range slices.Backward(b.revoked) {
		list = append(list, h.Revocation())
	}
	return list
}

// revocations is what a response to a host says of others, and of itself as it will be: the last ones, if they are more than it can list.
func (b *Book) revocations(h *Host) (list []capability.Digest) {
	if h.isRevoked() {
		list = append(list, h.Revocation())
	}
	for _, other := range slices.Backward(b.revoked) {
		if other.Host != h.Host && len(list) < capability.MaxRevoked {
			list = append(list, other.Revocation())
		}
	}
	return list
}

// coveredOff says that a return is of copies that were written off: it closes that, and brings nothing back.
func (h *Host) coveredOff(t capability.Return) bool {
	w := h.off(t.ActivationID)
	return w != nil && t.Serial <= w.Serial && t.Copies <= w.Copies-w.Returned
}

// returnOff takes in that copies were returned which had been written off.
func (h *Host) returnOff(s ReturnSeen, now capability.Time) error {
	w := h.off(s.ActivationID)
	if w == nil || s.Copies > w.Copies-w.Returned {
		return fmt.Errorf("%d copies of %s are returned as if they had been written off", s.Copies, s.ActivationID)
	}
	if w.Returned += s.Copies; w.Returned == w.Copies {
		w.Closed = now
	}
	return nil
}

// checkOff: what was written off is not the host's any more.
func (h *Host) checkOff() error {
	open := map[capability.ActivationID]bool{}
	for _, w := range h.Off {
		if w.Copies == 0 || w.Returned > w.Copies || w.Approved == "" || w.Serial > h.Serial || w.Closed == 0 && (w.Returned == w.Copies || open[w.ActivationID] || h.held(w.ActivationID) > 0) {
			return fmt.Errorf("%d copies of %s were written off, %d returned, and it has %d", w.Copies, w.ActivationID, w.Returned, h.held(w.ActivationID))
		}
		open[w.ActivationID] = open[w.ActivationID] || w.Closed == 0
	}
	return nil
}
