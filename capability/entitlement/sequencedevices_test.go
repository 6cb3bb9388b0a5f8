package entitlement

import (
	"crypto/sha256"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// deviceActs are what staff say of devices: what they are to have, and what is asked or written off.
func deviceActs() []act {
	return []act{
		{2, (*sequence).setDevice},
		{9, (*sequence).mapDevice},
		{3, (*sequence).unmapDevice},
		{4, (*sequence).planRehost},
		{4, (*sequence).carry},
		{2, (*sequence).endOrder},
		{4, (*sequence).retire},
		{3, (*sequence).writeOff},
	}
}

func deviceOutcomes() []outcome {
	return []outcome{
		{"device", 0}, {"map", 0}, {"unmap", 0}, {"order", 0}, {"end of an order", 0}, {"retire", 0}, {"write-off", 0}, {"entitle in another's place", 0},
		{"proved to be gone, settled", 0}, {"proved to be gone, in time", 0}, {"written off, and proved to be gone", 0}, {"return of what was written off", 0}, {"order credited", 0}, {"order done", 0}, {"mapping done", 0},
		{"map", capability.ErrTooFew}, {"map", capability.ErrNoMapping}, {"order", capability.ErrNoRehost}, {"retire", capability.ErrNoRetire}, {"write-off", capability.ErrNoWriteOff},
	}
}

// settle says whether anything is still lent, where the machine's program says that.
func (m *box) settle(r *capability.Request, now capability.Time) {
	r.Settled = m.settles && m.settled(now)
}

func settleUnproved(r *capability.Request) { r.Settled = true }

func saysSettled(r *capability.Request) bool { return r.Settled }

func closesWriteOff(t ReturnSeen) bool { return t.WrittenOff }

// proved takes off what is credited without a return. That the machine can use none of it any more, checkBoxes finds.
func (s *sequence) proved(l *letter, a *Answered) {
	at := l.by.at
	for _, g := range a.Gone {
		n := s.line[g.ActivationID]
		if at.charged[n] < g.Copies {
			s.fatalf("%d copies of %s are gone from %s, which has %d", g.Copies, g.ActivationID, at.id.Host.Short(), at.charged[n])
		}
		at.charged[n] -= g.Copies
		if g.Settled {
			s.seen[outcome{"proved to be gone, settled", 0}]++
		} else {
			s.seen[outcome{"proved to be gone, in time", 0}]++
		}
	}
	for _, step := range a.Steps {
		if step.Credited > 0 {
			s.seen[outcome{"order credited", 0}]++
		}
		if step.Done {
			s.seen[outcome{"order done", 0}]++
		}
	}
	s.seen[outcome{"mapping done", 0}] += len(a.Mapped)
	s.seen[outcome{"written off, and proved to be gone", 0}] += len(a.Closed)
}

// anyDevice is a machine that was met, or one that comes later, or never.
func (s *sequence) anyDevice() hostid.ID {
	return siteID(byte(1 + s.rng.IntN(5)))
}

func siteID(n byte) hostid.ID { return hostid.OfDigest(hostid.TPMEK, sha256.Sum256([]byte{n, 's'})) }

func (s *sequence) setDevice() {
	d := Device{ID: s.anyDevice(), Server: s.chance(2)}
	if s.chance(2) {
		d.Name = fmt.Sprintf("bench %d", s.rng.IntN(4))
	}
	if s.chance(4) {
		d.Account = "ACME"
	}
	s.do("device", SetDevice{Device: d})
}

func (s *sequence) mapDevice() {
	c := Map{Device: s.anyDevice(), ActivationID: s.anyID(), Copies: s.rng.Uint32N(6), By: "clerk"}
	if m := s.anyBox(); s.chance(2) { // of what a machine has
		if n, known := s.line[c.ActivationID]; known && m.at.charged[n] > 0 {
			c.Device, c.Copies = m.at.id.Host, s.rng.Uint32N(m.at.charged[n]+1)
		}
	}
	s.do("map", c)
}

// unmapDevice ends a mapping that is there, most often.
func (s *sequence) unmapDevice() {
	c := Unmap{Device: s.anyDevice(), ActivationID: s.anyID()}
	for _, d := range s.book.devices {
		if len(d.mapped) > 0 && s.rng.IntN(3) > 0 {
			c.Device, c.ActivationID = d.ID, d.mapped[s.rng.IntN(len(d.mapped))].ActivationID
		}
	}
	s.do("unmap", c)
}

func (s *sequence) planRehost() {
	c := PlanRehost{From: s.anyBox().at.id.Host, To: s.anyDevice()}
	if s.rng.IntN(3) > 0 {
		c.ActivationID, c.Copies = s.anyID(), s.rng.Uint32N(4)
	}
	s.do("order", c)
}

// carry brings what an order waits for: the files of the first machine, then those of the second.
func (s *sequence) carry() {
	if len(s.book.running) == 0 {
		return
	}
	o := s.book.running[s.rng.IntN(len(s.book.running))]
	for _, id := range []hostid.ID{o.From, o.To} {
		for _, m := range s.boxes {
			if m.at.id.Host == id {
				s.roundTrip(m)
				s.roundTrip(m)
				break
			}
		}
	}
}

func (s *sequence) endOrder() { s.do("end of an order", EndOrder{Number: uint64(s.rng.IntN(3))}) }

func (s *sequence) retire() {
	id := s.anyID()
	if _, err := s.do("retire", Retire{ActivationID: id}); err == nil {
		n := s.line[id]
		s.shut[n], s.retired[n] = true, true
	}
}

// writeOff credits what a machine has on the word of two persons: what it still uses of it is excused from then on.
func (s *sequence) writeOff() {
	at := s.anyBox().at
	c := WriteOff{Host: at.id.Host, ActivationID: s.anyID(), Reason: "it was stolen", By: "clerk", Approved: "second"}
	for n := range s.used {
		if at.charged[n] > 0 && s.chance(2) {
			c.ActivationID = s.names[n]
		}
	}
	if s.chance(8) {
		c.Approved = []string{"", "clerk"}[s.rng.IntN(2)]
	}
	if _, err := s.do("write-off", c); err == nil {
		s.writtenOff(c.Host, c.ActivationID)
	}
}

// writtenOff takes off what two persons gave up.
func (s *sequence) writtenOff(host hostid.ID, id capability.ActivationID) {
	at, n := s.site(host), s.line[id]
	at.charged[n], at.excused[n] = 0, at.serial
}

// replaces has an item take the place of one that was taken back; below zero: it takes nobody's.
func (s *sequence) replaces(i *Item) int {
	for n := range s.used {
		if s.book.byID[s.names[n]].Life.Retired != 0 && s.chance(2) {
			i.Replaces = s.names[n]
			return n
		}
	}
	return -1
}

// replaced: what took the place of an activation ID is no more than that was, and nothing of that is out ever after.
func (s *sequence) replaced(line int, copies uint32) {
	if copies > s.book.byID[s.names[line]].Copies || s.dead[line] {
		s.fatalf("%d copies take the place of %s, which had %d, or whose place was taken before", copies, s.names[line], s.book.byID[s.names[line]].Copies)
	}
	s.dead[line] = true
	s.seen[outcome{"entitle in another's place", 0}]++
}
