package entitlement

import (
	"github.com/leasehold/leasehold/capability"
)

// What staff do with devices comes into the lives of the simulation: copies are mapped, asked back, ordered elsewhere, written off, and whole activation IDs are taken back, while machines apply
// responses late or never, lend what they have, and lie by being two.

// linger is what a machine has lent of rights that a response left out, and until when.
type linger struct {
	copies uint32
	until  capability.Time
}

// lent is what of an item a machine has lent at that moment of rights that it has no more.
func (m *machine) lent(id capability.ActivationID, now capability.Time) uint32 {
	if l := m.lingers[id]; now < l.until {
		return l.copies
	}
	return 0
}

// settled is what the machine says of all of them.
func (m *machine) settled(now capability.Time) bool {
	for _, l := range m.lingers {
		if now < l.until {
			return false
		}
	}
	return m.audited && m.applied > 0 // an older program does not say it
}

// took applies a response as an appliance does: under a new epoch, and what it had lent of what is left out runs on for up to a lease.
func (s *simulation) took(m *machine, r *capability.Response) {
	applied, before := m.applied, map[capability.ActivationID]uint32{}
	for _, id := range s.ids {
		before[id] = max(m.rights[id], m.lent(id, s.w.now))
	}
	if m.apply(r); m.applied == applied {
		return
	}
	m.epoch++
	lingers := map[capability.ActivationID]linger{}
	for id, had := range before {
		if had > m.rights[id] && s.rng.IntN(2) == 0 {
			lingers[id] = linger{had, s.w.now + capability.Time(1+s.rng.IntN(int(capability.MaxLease)))}
		}
	}
	for id, l := range m.lingers {
		if l.until > max(s.w.now, lingers[id].until) {
			lingers[id] = linger{max(l.copies, lingers[id].copies), l.until}
		}
	}
	m.lingers = lingers
}

// staff does something with a device or an item. What cannot be done says why.
func (s *simulation) staff() {
	id, host := s.ids[s.rng.IntN(len(s.ids))], s.anyone()
	b := s.w.book
	var c Command
	switch k := s.rng.IntN(24); {
	case k < 8:
		c = Map{Device: host.id.Host, ActivationID: id, Copies: s.rng.Uint32N(10)}
	case k < 10:
		c = Unmap{Device: host.id.Host, ActivationID: id}
	case k < 16:
		c = PlanRehost{From: host.id.Host, To: s.anyone().id.Host, ActivationID: id, Copies: s.rng.Uint32N(3)}
	case k < 18:
		c = EndOrder{Number: uint64(s.rng.IntN(len(b.orders) + 1))}
	case k < 20:
		c = WriteOff{Host: host.id.Host, ActivationID: id, Reason: "stolen", By: "one", Approved: "another"}
	case k < 21 && s.step > 50:
		c = Retire{ActivationID: id}
	case k < 22: // a day or two, after which what any machine has lent has ended
		s.w.now += capability.Time(day) * capability.Time(1+s.rng.IntN(3))
		return
	default:
		c = SetDevice{Device: Device{ID: host.id.Host, Name: string(rune('A' + s.rng.IntN(6)))}}
	}
	d, err := s.w.do(c)
	_, named := c.(SetDevice)
	if err != nil && code(err) == 0 && !named {
		s.w.fatalf("%T: %v", c, err)
	}
	if err != nil {
		return
	}
	switch e := d.Entries[0]; {
	case e.WriteOff != nil:
		s.seen.Off++
	case e.Retire != nil:
		s.seen.Retired++
	case e.Map != nil && !e.Map.Ended && s.w.book.byID[id].reserved() > 0:
		s.seen.Reserved++
	}
	if s.rng.IntN(2) == 0 {
		return
	}
	// Some machines do at once what they are asked for, and show it.
	for _, m := range s.machines {
		for range 1 + s.rng.IntN(3) {
			s.write(m)
			f := s.written[len(s.written)-1]
			if s.send(f); f.response != nil {
				s.took(m, f.response)
			}
			s.w.now += capability.Time(s.rng.IntN(2 * int(capability.MaxLease)))
		}
	}
}

// anyone is one of the machines, mostly one that runs.
func (s *simulation) anyone() *machine {
	if s.rng.IntN(8) == 0 {
		return newMachine(byte(20 + s.rng.IntN(2))) // it never asks
	}
	return s.machines[s.rng.IntN(len(s.machines))]
}

// steered counts what an answer did with devices.
func (s *simulation) steered(d *Decision) {
	a := d.Answered()
	s.seen.LeftOut += len(a.Out)
	s.seen.Proved += len(a.Gone)
	s.seen.Mapped += len(a.Mapped)
	s.seen.Closed += len(a.Closed)
	for _, g := range a.Gone {
		if !g.Settled {
			s.seen.Waited++
		}
	}
	for _, r := range a.Returns {
		if r.WrittenOff {
			s.seen.Closed++
		}
	}
	for _, o := range a.Steps {
		if o.Credited > 0 {
			s.seen.Moved++
		}
		if o.Done {
			s.seen.Done++
		}
	}
}

// off is what was written off of a machine and may be in use all the same.
func (s *simulation) off(h *Host, id capability.ActivationID) uint32 {
	if w := h.off(id); w != nil {
		return w.Copies - w.Returned
	}
	return 0
}
