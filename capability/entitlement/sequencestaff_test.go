package entitlement

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// staffing is the staff's side of a life: who may sign in, and what one of them proposed and another approves.
type staffing struct {
	twin     *Book // the book that did not come back from a snapshot; nil: none did
	proposed []proposed
}

// proposed is a proposal with the request that it is about; nil: it is about none.
type proposed struct {
	number uint64
	letter *letter
}

func staffActs() []act {
	return []act{
		{3, (*sequence).loginChanges},
		{5, (*sequence).propose},
		{5, (*sequence).approve},
	}
}

func staffOutcomes() []outcome {
	return []outcome{
		{"login", 0}, {"change of a login", 0}, {"removal of a login", 0}, {"claim", 0}, {"proposal", 0}, {"approval", 0}, {"approved re-host", 0}, {"approved repair", 0}, {"end of a proposal", 0},
		{"approval", capability.ErrSecondPerson}, {"approval", capability.ErrPermission}, {"removal of a login", capability.ErrLastAdministrator},
	}
}

var sequenceStaff = [...]string{"kim", "lee", "ole"}

// staff are there from the first day: all of them may do everything.
func (s *sequence) staff() {
	for _, name := range sequenceStaff {
		s.must("login", AddLogin{Name: name, Roles: []capability.Role{capability.LicenseAdministrator, capability.SecurityAdministrator}, Code: LoginHash(name, "0000")})
	}
}

func (s *sequence) anyStaff() string { return sequenceStaff[s.rng.IntN(len(sequenceStaff))] }

func (s *sequence) loginChanges() {
	name, yes, no := s.anyStaff(), true, false
	switch s.rng.IntN(8) {
	case 0, 1:
		s.do("login", AddLogin{Name: name, Roles: []capability.Role{capability.LicenseAdministrator, capability.SecurityAdministrator}, Code: LoginHash(name, "0000"), By: s.anyStaff()})
	case 2:
		s.do("change of a login", ChangeLogin{Name: name, Disabled: &yes})
	case 3, 4:
		s.do("change of a login", ChangeLogin{Name: name, Disabled: &no, Roles: &[]capability.Role{capability.LicenseAdministrator, capability.Role(1 + s.rng.IntN(5))}})
	case 5:
		s.do("claim", ClaimLogin{Name: name, Code: "0000", Password: "hash"})
	case 6:
		s.do("sessions of a login", EndSessions{Name: name})
	default:
		for _, name := range sequenceStaff[:1+s.rng.IntN(3)] {
			s.do("removal of a login", RemoveLogin{Name: name})
		}
	}
}

// propose has one of the staff propose what takes two.
func (s *sequence) propose() {
	m, p := s.anyBox(), proposed{}
	c := Propose{By: s.anyStaff(), Proposal: Proposal{Host: m.at.id.Host, Reason: "it burnt"}}
	switch s.rng.IntN(3) {
	case 0:
		c.Proposal.Freeing, c.Proposal.ActivationID = FreeByWriteOff, s.anyHeld(m.at)
	case 1:
		p.letter = s.ask(m)
		c.Proposal.Freeing, c.Proposal.From = FreeByRehost, s.sites[s.rng.IntN(len(s.sites))].id.Host
	default:
		if m.at.serial > 0 && s.chance(3) {
			s.wipe(m)
			m = s.boxes[slices.IndexFunc(s.boxes, func(o *box) bool { return o.at == m.at })]
		}
		p.letter = s.ask(m)
		c.Proposal.Freeing = FreeByRepair
	}
	if p.letter != nil {
		c.Proposal.Request = p.letter.answer.Digest
	}
	if d, err := s.do("proposal", c); err == nil && d.Done == nil {
		p.number = d.Entries[0].Proposed.Proposal.Number
		s.proposed = append(s.proposed, p)
	}
}

// anyHeld is an activation ID of which a machine has something, if there is one.
func (s *sequence) anyHeld(at *site) capability.ActivationID {
	for n := range s.used {
		if at.charged[n] > 0 && s.chance(2) {
			return s.names[n]
		}
	}
	return s.anyID()
}

// approve has a proposal done, or ended, by whoever comes first. What it frees is what its command of old would.
func (s *sequence) approve() {
	if len(s.proposed) == 0 {
		return
	}
	p := s.proposed[s.rng.IntN(len(s.proposed))]
	open, was := s.book.Proposal(p.number, s.now)
	by := s.anyStaff()
	if s.chance(5) {
		s.do("end of a proposal", EndProposal{Number: p.number, Reason: "no", By: by})
		return
	}
	c := Approve{Number: p.number, By: by}
	if p.letter != nil {
		c.Answer = &p.letter.answer
	}
	d, err := s.do("approval", c)
	if err != nil || d == nil {
		return
	}
	if !was || open.By == by {
		s.fatalf("proposal %d of %q is approved by %q, and was open: %t", p.number, open.By, by, was)
	}
	first := d.Entries[0].Proposed
	if first == nil || first.Approved != p.number || d.Entries[0].By != by || len(d.Entries) < 2 {
		s.fatalf("proposal %d is done, and no entry says that %s approved it", p.number, by)
	}
	if p.letter == nil {
		s.writtenOff(open.Host, open.ActivationID)
		return
	}
	if d.Answered().Rehosted != nil {
		s.seen[outcome{"approved re-host", 0}]++
	} else {
		s.seen[outcome{"approved repair", 0}]++
	}
	s.posted(p.letter, d, nil)
}

// both has the book that never was a snapshot decide the same, and says where it decides otherwise.
func (s *sequence) both(c Command, d *Decision, err error) {
	if s.twin == nil {
		return
	}
	other, otherwise := s.twin.Decide(s.now, c)
	if (err == nil) != (otherwise == nil) || err != nil && err.Error() != otherwise.Error() || (d == nil) != (other == nil) {
		s.fatalf("%T: the book that was restored says %v, the one that was not %v", c, err, otherwise)
	}
	if d == nil {
		return
	}
	if len(d.Entries) != len(other.Entries) || !bytes.Equal(s.codec.Encode(d.Response), s.codec.Encode(other.Response)) || !reflect.DeepEqual(d.Session, other.Session) || !reflect.DeepEqual(d.Done, other.Done) || !reflect.DeepEqual(d.Credited, other.Credited) {
		s.fatalf("%T: the book that was restored answers otherwise than the one that was not", c)
	}
	for n, e := range d.Entries {
		if !bytes.Equal(e.Encode(s.codec), other.Entries[n].Encode(s.codec)) {
			s.fatalf("%T: the book that was restored writes otherwise than the one that was not", c)
		}
	}
	for _, e := range other.Entries {
		if err := s.twin.Apply(e); err != nil {
			s.fatalf("the book that was not restored applies what was decided: %v", err)
		}
	}
}

// same says that both books are.
func (s *sequence) same() {
	if s.twin != nil && !bytes.Equal(s.twin.Snapshot(), s.book.Snapshot()) {
		s.fatalf("the book that was restored is another one than that which was not")
	}
}
