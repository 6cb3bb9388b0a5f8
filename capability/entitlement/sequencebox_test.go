package entitlement

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// site is the identity of a machine, with what the facts of the book say it has.
type site struct {
	id      Identity
	charged [maxLines]uint32
	given   [maxLines]uint32 // by its last response
	excused [maxLines]uint64 // rights of responses up to this serial were given up without proof, by two persons
	serial  uint64           // of the last response
	sent    []*delivered
	copied  bool // a copy of it runs: what that does is found when it writes
	reported
}

// box is a machine that runs: the one of a site, or a copy of it.
type box struct {
	at       *site
	life     capability.LifeID
	number   uint64
	applied  uint64
	head     capability.Digest
	epoch    uint64
	written  []capability.Digest // since the last response that was applied
	rights   [maxLines]uint32
	busy     [maxLines]uint32          // what its clients may use beyond that, because it was lent before rights were left out
	until    [maxLines]capability.Time // when that has ended
	returns  []capability.Return
	settles  bool // its program says whether anything is lent
	anew     bool // its storage was made anew, and has applied nothing
	robbed   bool // what it applied last was made by a thief
	borrowed capability.Seconds
	metered  uint32
	recorded uint64
	records  []capability.Record
	served   []uint64 // as they say
}

// delivered is a response, as its machine reads it.
type delivered struct {
	serial, number uint64
	life           capability.LifeID
	rights         [maxLines]uint32
	acknowledged   []capability.ReturnID
	until          capability.Time // apply-before
	head           capability.Digest
	used           uint32
	records        uint64
}

// letter is a request on a stick.
type letter struct {
	answer Answer
	by     *box
	serial uint64
	served []uint64
}

// madeReturn is a return that a machine really made.
type madeReturn struct {
	at     *site
	line   int
	copies uint32
}

func (l *letter) String() string {
	r := l.answer.Request
	text := fmt.Sprintf("life %x, applied %d, epoch %d, settled %t;", r.Life[:8], r.Applied, r.Epoch, saysSettled(r))
	for _, d := range r.Desired {
		text += fmt.Sprintf(" %.5s %d", d.ActivationID, d.Count)
	}
	for _, t := range r.Returns {
		text += fmt.Sprintf(" back %.5s %d", t.ActivationID, t.Copies)
	}
	return text
}

func (s *sequence) newSite() *site {
	n := byte(len(s.sites) + 1)
	key := sha256.Sum256([]byte{n, 's'})
	at := &site{id: Identity{Host: siteID(n), AKName: append([]byte{0, 11}, key[:]...), AK: key[:8], EK: key[8:16], Tier: Hardware}}
	if s.chance(4) {
		at.id.Tier = Virtual
	}
	s.sites = append(s.sites, at)
	s.boxes = append(s.boxes, &box{at: at, life: s.newLife(), epoch: 3, settles: s.rng.IntN(3) > 0, borrowed: capability.Seconds(s.rng.IntN(int(capability.MaxLease) + 2*day))})
	return at
}

func (s *sequence) newLife() (l capability.LifeID) {
	s.drawn++
	binary.BigEndian.PutUint64(l[:], s.drawn)
	return l
}

func (s *sequence) anyBox() *box { return s.boxes[s.rng.IntN(len(s.boxes))] }

// uses is what clients of the machine can use of a line at this moment.
func (m *box) uses(line int, now capability.Time) uint32 {
	if e := m.at.excused[line]; e > 0 && (m.applied <= e || m.robbed) {
		return 0
	}
	return max(m.rights[line], m.lent(line, now))
}

// could is what they can use once the machine has applied any response that it still can.
func (m *box) could(line int, now capability.Time) uint32 {
	n := m.uses(line, now)
	for _, r := range m.at.sent {
		if m.applies(r, now) && r.serial > m.at.excused[line] {
			n = max(n, m.after(r, line))
		}
	}
	return n
}

// applies says whether the machine would take a response.
func (m *box) applies(r *delivered, now capability.Time) bool {
	return r.serial > m.applied && r.life == m.life && now < r.until
}

// after is what the machine has with a response: what it returned meanwhile stays returned.
func (m *box) after(r *delivered, line int) uint32 {
	n := r.rights[line]
	for _, t := range m.returns {
		if t.Copies > 0 && !slices.Contains(r.acknowledged, t.ID) && t.Serial < r.serial && m.lineOf(t) == line {
			n -= min(n, t.Copies)
		}
	}
	return n
}

// lineOf is kept in the ID of a return.
func (m *box) lineOf(t capability.Return) int { return int(t.ID[15]) }

func (m *box) apply(r *delivered, now capability.Time) {
	for n := range maxLines {
		had, has := m.rights[n], m.after(r, n)
		if e := m.at.excused[n]; e > 0 && (m.applied <= e || m.robbed) {
			m.until[n] = 0
		} else if lent := max(had, m.lent(n, now)); has < lent {
			m.busy[n] = lent
			if had > has {
				m.until[n] = max(m.until[n], now.Add(m.borrowed))
			}
		}
		m.rights[n] = has
	}
	m.robbed = false
	m.applied, m.head, m.metered = r.serial, r.head, max(m.metered, r.used)
	m.epoch++
	m.returns = slices.DeleteFunc(slices.Clone(m.returns), func(t capability.Return) bool { return slices.Contains(r.acknowledged, t.ID) })
	first := m.number - uint64(len(m.written))
	if answered := int64(r.number) - int64(first); answered > 0 {
		m.written = slices.Clone(m.written[min(int(answered), len(m.written)):])
	}
	m.anew = false
	m.acknowledgedUpto(r.records)
}

func (m *box) lent(line int, now capability.Time) uint32 {
	if now < m.until[line] {
		return m.busy[line]
	}
	return 0
}

// settled says that nothing is lent of what the response left out.
func (m *box) settled(now capability.Time) bool {
	for n := range maxLines {
		if m.lent(n, now) > m.rights[n] {
			return false
		}
	}
	return !m.anew
}

// ask has a machine write a request.
func (s *sequence) ask(m *box) *letter {
	l := s.write(m)
	for n := range s.used {
		if s.chance(3) {
			d := capability.Desired{ActivationID: s.names[n], Count: s.rng.Uint32N(7), Partial: s.chance(3)}
			if s.chance(2) {
				d.Count = max(d.Count, m.rights[n])
			}
			l.answer.Request.Desired = append(l.answer.Request.Desired, d)
		}
	}
	l.answer.Request.Atomic = s.chance(6)
	if s.chance(12) {
		l.answer.Request.Operation = capability.Report
	}
	s.tell("%s writes request %d: %s", m.at.id.Host.Short(), m.number, l)
	return l
}

func (s *sequence) write(m *box) *letter {
	m.number++
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{m.at.id.Host}, Number: m.number, Applied: m.applied, Epoch: m.epoch, BookHead: m.head, Life: m.life,
		Returns: slices.Clone(m.returns), Outstanding: slices.Clone(m.written)}
	d := s.digest()
	copy(r.Correlation[:], d[:8])
	r.Correlation[15] = 1
	s.meter(m, r)
	if s.chance(4) {
		s.record(m)
	}
	r.Records = m.records
	l := &letter{served: m.served, answer: Answer{Request: r, Digest: d, Identity: m.at.id, Boot: make([]byte, StateBytes), By: "clerk"}, by: m}
	m.settle(r, s.now)
	for range r.Returns {
		p := Proof{Epoch: m.epoch}
		if s.chance(6) {
			p = Proof{Fault: "the statement does not verify"}
		}
		l.answer.Proofs = append(l.answer.Proofs, p)
	}
	m.written = append(m.written, d)
	s.letters = append(s.letters, l)
	return l
}

// lie writes a request that claims what is not so: that a response was applied, which this machine has not, or that it is another machine.
func (s *sequence) lie(m *box) {
	if m.at.serial == 0 {
		return // whoever comes first under an identity is taken for it
	}
	l := s.write(m)
	r := l.answer.Request
	switch s.rng.IntN(4) {
	case 0: // it knows the serial from the clear part, and not the head from inside
		r.Applied, r.BookHead, r.Epoch = m.at.serial, capability.Digest{}, m.epoch+1
		settleUnproved(r)
	case 1:
		r.Applied, r.BookHead, r.Epoch = m.at.serial, s.digest(), m.epoch+1
		settleUnproved(r)
	case 2:
		l.answer.Identity.AKName = []byte{0, 11, 1, 2, 3}
	default: // returns that no TPM saw
		for n := range s.used {
			if m.rights[n] > 0 && len(r.Returns) < 3 {
				s.drawn++
				t := capability.Return{ActivationID: s.names[n], Copies: m.rights[n], Epoch: m.epoch + 1, Serial: max(1, m.applied), Proof: []byte{1}}
				binary.BigEndian.PutUint64(t.ID[:], s.drawn)
				r.Returns, r.Epoch = append(r.Returns, t), m.epoch+1
				l.answer.Proofs = append(l.answer.Proofs, []Proof{{Fault: "it is none"}, {Epoch: m.epoch}}[s.rng.IntN(2)])
			}
		}
	}
	m.epoch = r.Epoch // whoever lies can move the counter
	s.tell("%s lies in request %d: %s", m.at.id.Host.Short(), m.number, l)
	s.post(l)
}

// giveBack has a machine return what is not lent.
func (s *sequence) giveBack(m *box) {
	for n := range s.used {
		if free := m.rights[n]; free > 0 && m.applied > 0 && m.lent(n, s.now) == 0 && s.chance(2) {
			m.epoch++
			s.drawn++
			t := capability.Return{ActivationID: s.names[n], Copies: 1 + s.rng.Uint32N(free), Epoch: m.epoch, Serial: m.applied, Proof: []byte{1}}
			binary.BigEndian.PutUint64(t.ID[:], s.drawn)
			t.ID[15] = byte(n)
			m.rights[n] -= t.Copies
			m.returns = append(m.returns, t)
			s.made[t.ID] = madeReturn{m.at, n, t.Copies}
			s.tell("%s returns %d of %s", m.at.id.Host.Short(), t.Copies, t.ActivationID)
			return
		}
	}
}

// post gives a request to the book, and reads the facts of the answer.
func (s *sequence) post(l *letter) {
	kind := "answer"
	if l.answer.Seat != nil {
		kind = "seat with a request"
	}
	c := l.answer
	if kind == "answer" && s.chance(25) {
		c.Refused, kind = "not on this machine", "turned down"
	}
	d, err := s.do(kind, c)
	if code(err) == capability.ErrRepair && s.chance(2) {
		c := l.answer
		c.Repair = "the disk died"
		if s.chance(2) {
			c.Approved = "second"
		}
		kind = "repair"
		d, err = s.do(kind, c)
	}
	if code(err) == capability.ErrFork && l.by.robbed && s.chance(2) {
		c := l.answer
		c.Repair, c.Approved, kind = "a thief's file", "second", "overrule"
		d, err = s.do(kind, c)
	}
	s.posted(l, d, err)
}

// rob has a machine apply a response that a thief made, with serials above ours, or with one of ours. What it brings the machine has, or is asked to give back; more than that nobody here could help.
func (s *sequence) rob(m *box) {
	if m.at.serial == 0 || m.at.copied || m.anew {
		return
	}
	if !s.book.revokedOne() && s.chance(2) {
		next := Signer{Key: s.digest(), Name: "next", Number: 1 << 20, Revoked: []wire.RevokedKey{{Key: s.digest()}}}
		s.do("revoke", TakeSigner{Signer: next, By: "chief"})
	}
	l := s.write(m)
	r := &delivered{serial: m.applied + 1 + s.rng.Uint64N(4), number: l.answer.Request.Number, life: m.life, until: s.now + 1, head: s.digest(), used: m.metered}
	for n := range s.used {
		r.rights[n] = m.at.charged[n]
		if s.chance(3) {
			r.rights[n] = s.rng.Uint32N(m.at.charged[n] + 1)
		}
	}
	m.apply(r, s.now)
	m.robbed = true
	s.letters = slices.DeleteFunc(s.letters, func(l *letter) bool { return l.by == m }) // what they prove was so, and the thief undid it
	s.seen[outcome{"robbed", 0}]++
	s.tell("%s applies a thief's response %d: %v", m.at.id.Host.Short(), r.serial, m.rights)
}

func (s *sequence) posted(l *letter, d *Decision, err error) {
	if d == nil || err != nil || d.Done != nil {
		return
	}
	if d.Known != nil {
		if l.serial != d.Known.Serial {
			s.fatalf("request %d was answered with response %d, and now with %d", l.answer.Request.Number, l.serial, d.Known.Serial)
		}
		s.seen[outcome{"answered before", 0}]++
		return
	}
	s.answered(l, d)
}

// answered sums up the facts of an answer.
func (s *sequence) answered(l *letter, d *Decision) {
	at, a, resp := l.by.at, d.Answered(), d.Response
	if l.serial != 0 {
		s.fatalf("request %d is answered twice", l.answer.Request.Number)
	}
	if string(l.answer.Identity.AKName) != string(at.id.AKName) && at.serial > 0 {
		s.fatalf("request %d of another machine is answered", l.answer.Request.Number)
	}
	if err := resp.Validate(); err != nil {
		s.fatalf("a response that is none: %v", err)
	}
	if a.Rehosted != nil {
		s.rehosted(at, a.Rehosted)
	}
	for _, t := range a.Returns {
		switch {
		case t.Credited:
			s.credited(l, t)
		case t.Final:
			s.seen[outcome{"return refused for good", 0}]++
			delete(s.made, t.ID) // it never counts
		}
	}
	for f, copies := range s.burns {
		if copies > 0 {
			s.burnt(f, copies)
		}
	}
	s.burns = [maxLines]uint32{}
	s.proved(l, a)
	r := &delivered{serial: resp.Serial, number: resp.Number, life: resp.Life, acknowledged: resp.Acknowledged, until: s.now.Add(resp.Lifetime), head: resp.BookHead, records: resp.Records}
	for _, t := range l.answer.Request.Returns {
		if resp.Refuses(t) { // it is settled too, and its copies are in service again
			r.acknowledged = append(slices.Clip(r.acknowledged), t.ID)
		}
	}
	s.reported(l, resp.Records)
	for _, i := range resp.Items {
		n := s.line[i.ActivationID]
		s.shaped(&i)
		r.rights[n], r.used = max(r.rights[n], i.Copies), max(r.used, i.UsedBefore)
	}
	for n := range s.used {
		if r.rights[n] > at.charged[n] {
			if at.charged[n] = r.rights[n]; s.shut[n] || a.Request.Refused != "" {
				s.fatalf("%s is given to %s, and is a draft, suspended, merged or taken back, or the request was refused", s.names[n], at.id.Host.Short())
			}
		}
	}
	last := at.serial
	if f := a.Foreign; f != nil {
		last = max(last, f.Applied)
		s.seen[outcome{"overruled", 0}]++
	}
	if resp.Serial != last+1 {
		s.fatalf("response %d follows response %d", resp.Serial, at.serial)
	}
	at.serial, at.given, l.serial = resp.Serial, r.rights, resp.Serial
	at.sent = append(at.sent, r)
	if d.Warning != nil {
		s.seen[outcome{"answered under a warning", 0}]++
	}
	if resp.Status == capability.StatusPartly {
		s.seen[outcome{"partly", 0}]++
	}
}

// shaped: what a machine may use beyond its counts stays within what the model of the item says.
func (s *sequence) shaped(i *capability.LineItem) {
	of := s.book.byID[i.ActivationID]
	m, _ := s.book.Model(of.Model)
	f := of.Features[slices.IndexFunc(of.Features, func(f Feature) bool { return f.Name == i.Feature })]
	if i.Count > i.Copies*f.PerCopy || uint64(i.Overdraft)*100 > uint64(i.Count)*uint64(m.Overdraft) || i.Grace && m.GraceDays == 0 {
		s.fatalf("%d copies of %s are %d counts, and %d beyond them", i.Copies, i.ActivationID, i.Count, i.Overdraft)
	}
	if of.Expiry != 0 && (i.Expiry == 0 || i.Expiry > of.Expiry.Add(capability.Seconds(m.GraceDays)*day)) {
		s.fatalf("%s ends %s, and is given until %s", i.ActivationID, of.Expiry, i.Expiry)
	}
}

// credited: a return counts once, and only one that its machine made.
func (s *sequence) credited(l *letter, t ReturnSeen) {
	made, ok := s.made[t.ID]
	if !ok || made.at != l.by.at || made.copies != t.Copies || s.names[made.line] != t.ActivationID {
		s.fatalf("return %.8x of %d copies of %s is credited, and was not made, or counted before", t.ID[:], t.Copies, t.ActivationID)
	}
	delete(s.made, t.ID)
	s.seen[outcome{"return credited", 0}]++
	if closesWriteOff(t) {
		s.seen[outcome{"return of what was written off", 0}]++
		return
	}
	at := l.by.at
	if at.charged[made.line] < t.Copies {
		s.fatalf("%d copies of %s come back from %s, which has %d", t.Copies, t.ActivationID, at.id.Host.Short(), at.charged[made.line])
	}
	at.charged[made.line] -= t.Copies
	if t.Gone {
		s.seen[outcome{"returned for nothing", 0}]++
		s.burns[s.head(made.line)] += t.Copies
	}
}

// burnt: what is returned for nothing is entitled no more, but for what was out above that, or is reserved.
func (s *sequence) burnt(f int, copies uint32) {
	before, after, simple := int64(0), int64(0), true
	for n := range s.used {
		if s.head(n) == f {
			i := s.book.byID[s.names[n]]
			before, after = before+int64(s.copies[n]), after+int64(i.Copies)+int64(i.Life.Extra)
			simple = simple && s.over[n] == 0 && i.reserved() == 0
		}
	}
	if gone := before - after; gone < 0 || gone > int64(copies) || simple && gone < int64(copies) {
		s.fatalf("%d copies of %s are returned for nothing, and %d are taken out of what is entitled", copies, s.names[f], gone)
	}
	s.entitled[f] -= before - after
}

// rehosted: two persons gave everything of one machine to another, without a proof.
func (s *sequence) rehosted(to *site, r *Rehosted) {
	from := s.site(r.From)
	if from == nil || from == to || r.Approved == "" {
		s.fatalf("a re-host from %s, approved by %q", r.From, r.Approved)
	}
	for n := range s.used {
		to.charged[n] += from.charged[n]
		from.charged[n], from.excused[n] = 0, from.serial
	}
	s.seen[outcome{"rehosted", 0}]++
}

func (s *sequence) site(id hostid.ID) *site {
	for _, at := range s.sites {
		if at.id.Host == id {
			return at
		}
	}
	return nil
}

// reclass is a machine whose certificate or chip is another one: what it has it keeps.
func (s *sequence) reclass() {
	at := s.anyBox().at
	at.id.Tier = Tier(1 + s.rng.IntN(3))
	s.tell("%s is of tier %s", at.id.Host.Short(), at.id.Tier)
}

// wipe takes a machine its storage. Its clients use what it lent until that ends; sometimes the old storage runs on somewhere.
func (s *sequence) wipe(m *box) {
	w := &box{at: m.at, life: s.newLife(), epoch: m.epoch + 1, settles: m.settles, anew: true, borrowed: m.borrowed}
	for n := range maxLines {
		w.busy[n], w.until[n] = max(m.rights[n], m.lent(n, s.now)), s.now.Add(s.book.policy.Lease)
	}
	at := slices.Index(s.boxes, m)
	s.boxes[at] = w
	if s.chance(4) && len(s.boxes) < 6 {
		s.boxes, m.at.copied = append(s.boxes, m), true
	}
	s.tell("%s is wiped", m.at.id.Host.Short())
}

func (s *sequence) copyBox(m *box) {
	if len(s.boxes) >= 6 {
		return
	}
	c := *m
	c.written, c.returns = slices.Clone(m.written), slices.Clone(m.returns)
	s.boxes, m.at.copied = append(s.boxes, &c), true
	s.tell("%s is copied", m.at.id.Host.Short())
}

// deliver has a machine read one of the responses that were ever sent to it.
func (s *sequence) deliver(m *box) {
	if len(m.at.sent) == 0 {
		return
	}
	r := m.at.sent[len(m.at.sent)-1]
	if s.chance(3) {
		r = m.at.sent[s.rng.IntN(len(m.at.sent))]
	}
	if !m.applies(r, s.now) {
		s.seen[outcome{"a response that changes nothing", 0}]++
		return
	}
	m.apply(r, s.now)
	s.seen[outcome{"applied", 0}]++
	s.tell("%s applies response %d: %v", m.at.id.Host.Short(), r.serial, m.rights)
}

// checkBoxes: no machine can use more than the facts say it has, whatever file it still finds. What copies of a machine do beside it is found when they write, not before.
func (s *sequence) checkBoxes() {
	for _, m := range s.boxes {
		if m.at.copied {
			continue
		}
		for n := range s.used {
			if could := m.could(n, s.now); could > m.at.charged[n] {
				s.fatalf("%s can use %d copies of %s, and by the facts it has %d; rights %v", m.at.id.Host.Short(), could, s.names[n], m.at.charged[n], m.rights)
			}
		}
	}
}
