package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What an answer does to mappings, orders and write-offs: first what the request proves to be gone, then what that moves, then what the machine is to have.

// steer decides it. back are the copies that the request's returns brought back; what is proved to be gone comes to them, what an order moves on goes.
func (b *Book) steer(now capability.Time, before, h *Host, c *Answer, a *Answered, back map[capability.ActivationID]uint32, resp *capability.Response) {
	if !c.disputed {
		b.prove(now, before, h, c, a, back)
		a.Closed = h.closes(before, c.Request)
		for _, g := range a.Closed {
			h.close(g, now)
		}
	}
	a.Steps = b.moved(h.Host, back)
	b.give(now, before, h, c, a, back, resp)
	a.Steps = append(a.Steps, b.reached(before, h, c.Request, resp.Serial)...)
	resp.Revoked = b.revocations(h)
}

// notices are what a machine is told beside the answer to its wishes: they refuse nothing of the request.
func (h *Host) notices() (list []capability.Denial) {
	for _, o := range h.Out {
		list = append(list, capability.Denial{Code: capability.AskedBack, Subject: string(o.ActivationID), Asked: o.Copies})
	}
	for n := range h.Off {
		if w := &h.Off[n]; w.Closed == 0 {
			list = append(list, capability.Denial{Code: capability.ErrWrittenOff, Subject: string(w.ActivationID), Asked: w.Copies - w.Returned, Detail: w.String()})
		}
	}
	return list
}

// plausibleDevice asserts what steer promises of an answer. h is the host as it was, with what it takes from another; old is nil where it is new.
func (b *Book) plausibleDevice(h, old *Host, e *Entry, sums []sum) error {
	a := e.Answer
	if err := b.applyGone(h, e); err != nil {
		return err
	}
	back, after := map[capability.ActivationID]uint64{}, h.clone()
	for _, s := range a.Returns {
		if s.Credited && !s.WrittenOff && !s.Gone {
			back[s.ActivationID] += uint64(s.Copies)
		}
	}
	for _, g := range a.Gone {
		back[g.ActivationID] += uint64(g.Copies)
	}
	if err := b.checkSteps(h.Host, a.Steps, a.Request.Serial, back); err != nil {
		return err
	}
	for i, s := range sums {
		after.hold(s.item.ActivationID, a.Holds[i].Copies)
	}
	after.Serial = a.Request.Serial
	if err := after.applyDevice(old, e); err != nil {
		return err
	}
	for n, id := range a.Mapped {
		if total, mapped := b.deviceOf[h.Host].mapping(id); n > 0 && a.Mapped[n-1] >= id || !mapped || total != after.held(id) || after.leftOut(id) != nil {
			return fmt.Errorf("the mapping of %s to %s is done with %d copies", id, h.Host.Short(), after.held(id))
		}
	}
	return nil
}

// applyDevice takes in what an answer changes of the host beside its totals, which it has already. before is nil where the host is new.
func (h *Host) applyDevice(before *Host, e *Entry) error {
	a := e.Answer
	for _, s := range a.Returns {
		if s.Credited && s.WrittenOff {
			if err := h.returnOff(s, e.Time); err != nil {
				return err
			}
		}
	}
	for _, g := range a.Closed {
		if before == nil || a.Request.Fork || a.Repair != nil || !h.closable(before, g, a.Epoch) {
			return fmt.Errorf("%d copies of %q that were written off are proved to be gone by response %d", g.Copies, g.ActivationID, g.Applied)
		}
		h.close(g, e.Time)
	}
	if err := h.applyOut(a); err != nil {
		return err
	}
	if err := h.checkOut(); err != nil {
		return err
	}
	return h.checkOff()
}

// reserve adds what is reserved for a device to the sums of the items, or takes it out while the totals of its machine change.
func (b *Book) reserve(id hostid.ID, add bool) {
	d := b.deviceOf[id]
	if d == nil {
		return
	}
	for _, f := range d.mapped {
		if n := b.reservedFor(id, f.ActivationID); add {
			b.byID[f.ActivationID].ties.reserved += n
		} else {
			b.byID[f.ActivationID].ties.reserved -= n
		}
	}
}

// reservedAfter is what will be reserved of an item once the host has so many copies.
func (b *Book) reservedAfter(h *Host, i *item, copies uint32, a *Answered) uint64 {
	total, _ := b.deviceOf[h.Host].mapping(i.ActivationID)
	if slices.Contains(a.Mapped, i.ActivationID) {
		total = 0
	}
	return uint64(i.reserved()) - uint64(b.reservedFor(h.Host, i.ActivationID)) + uint64(total-min(total, copies))
}

// restoreDevice takes in a record of a snapshot. The hosts are there already.
func (b *Book) restoreDevice(s *section) error {
	switch {
	case s.Device != nil:
		if b.deviceOf[s.Device.ID] != nil {
			return corrupt("snapshot has the device %s twice", s.Device.ID)
		}
		b.device(s.Device.ID).Device = *s.Device
	case s.Mapped != nil:
		m := s.Mapped
		if len(b.devices) == 0 || b.byID[m.ActivationID] == nil || m.Ended {
			return corrupt("snapshot has a mapping of %s before its device or item", m.ActivationID)
		}
		d := b.devices[len(b.devices)-1]
		if n := len(d.mapped); d.ID != m.Device || n > 0 && d.mapped[n-1].ActivationID >= m.ActivationID {
			return corrupt("snapshot has a mapping of %s out of order", m.ActivationID)
		}
		b.mapTo(m.Device, m.ActivationID, m.Copies)
	case s.Order != nil:
		b.addOrder(s.Order)
	}
	return nil
}

// restoreOff takes in what was written off of a host.
func (b *Book) restoreOff(h *Host, w *WrittenOff) error {
	i := b.byID[w.ActivationID]
	if i == nil || w.Host != (hostid.ID{}) || w.Orders != nil {
		return corrupt("snapshot has copies of %s written off, which is not in the book", w.ActivationID)
	}
	h.Off = append(h.Off, *w)
	i.tie().offs = append(i.tie().offs, w.Time)
	return nil
}
