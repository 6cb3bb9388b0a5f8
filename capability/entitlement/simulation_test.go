package entitlement

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakBook plays seeded lives: machines ask, files are lost, late and repeated, copies are returned with and without proof, machines are copied,
// boot states are allowed and withdrawn, the book is restored from a snapshot; half of the books only warn of forks. After each step the book is whole, and what all machines can serve is never more than was entitled.
// At the end a replica that saw only the entries has the same digest.
func TestSoakBook(t *testing.T) {
	const steps = 150
	short := 200
	if testing.Short() {
		short = 100
	}
	lives, tried := storagetest.Size(t, short, 6_700, 1_000_000), 0
	defer func() {
		failed := 0
		if t.Failed() {
			failed = 1
		}
		storagetest.Tried(t, tried, failed)
	}()
	var sold soldOutcomes
	var seen outcomes
	for seed := range uint64(lives) {
		s := newSimulation(t, seed)
		for s.step = range steps {
			s.act()
			s.check()
		}
		if s.w.book.Digest() != s.w.replica.Digest() {
			s.w.fatalf("the replica differs at the end")
		}
		tried++
		sold.add(s.sold.seen)
		seen.add(s.seen)
	}
	t.Logf("%d lives: %+v", lives, sold)
	if !sold.all() {
		t.Errorf("a kind of outcome never came: %+v", sold)
	}
	t.Logf("%d lives: %+v", lives, seen)
	if seen.Answered == 0 || seen.Again == 0 || seen.Older == 0 || seen.Forks == 0 || seen.Credited == 0 || seen.Refused == 0 || seen.Repaired == 0 || seen.Replaced == 0 ||
		seen.Warned == 0 || seen.Approved == 0 || seen.Withdrawn == 0 || seen.Rehosted == 0 || seen.Gone == 0 || seen.Late == 0 ||
		seen.Reserved == 0 || seen.Mapped == 0 || seen.LeftOut == 0 || seen.Proved == 0 || seen.Waited == 0 || seen.Moved == 0 || seen.Done == 0 || seen.Off == 0 || seen.Closed == 0 || seen.Retired == 0 ||
		seen.Limited == 0 || seen.Capped == 0 || seen.Drifted == 0 || seen.Alarmed == 0 || seen.TurnedDown == 0 {
		t.Errorf("a kind of outcome never came: %+v", seen)
	}
}

type outcomes struct {
	Answered, Again, Older, Forks, Credited, Refused, Repaired, Replaced, Warned, Approved, Withdrawn, Rehosted, Gone, Late int

	Reserved, Mapped, LeftOut, Proved, Waited, Moved, Done, Off, Closed, Retired int // what staff do with devices

	TurnedDown int // by an operator

	Limited, Capped, Drifted, Alarmed int // a line above its tier's limit, a right that ends early, a change of what a machine shows, a machine that hears of its copy
}

func (o *outcomes) add(p outcomes) {
	o.Answered, o.Again, o.Older = o.Answered+p.Answered, o.Again+p.Again, o.Older+p.Older
	o.TurnedDown += p.TurnedDown
	o.Repaired, o.Replaced = o.Repaired+p.Repaired, o.Replaced+p.Replaced
	o.Warned, o.Approved, o.Withdrawn = o.Warned+p.Warned, o.Approved+p.Approved, o.Withdrawn+p.Withdrawn
	o.Rehosted, o.Gone, o.Late = o.Rehosted+p.Rehosted, o.Gone+p.Gone, o.Late+p.Late
	o.Limited, o.Capped, o.Drifted, o.Alarmed = o.Limited+p.Limited, o.Capped+p.Capped, o.Drifted+p.Drifted, o.Alarmed+p.Alarmed
	o.Reserved, o.Mapped, o.LeftOut, o.Proved, o.Waited = o.Reserved+p.Reserved, o.Mapped+p.Mapped, o.LeftOut+p.LeftOut, o.Proved+p.Proved, o.Waited+p.Waited
	o.Moved, o.Done, o.Off, o.Closed, o.Retired = o.Moved+p.Moved, o.Done+p.Done, o.Off+p.Off, o.Closed+p.Closed, o.Retired+p.Retired
	o.Forks, o.Credited, o.Refused = o.Forks+p.Forks, o.Credited+p.Credited, o.Refused+p.Refused
}

// file is a request on a stick, with the machine that wrote it.
type file struct {
	request  Answer
	by       *machine
	response *capability.Response
}

type simulation struct {
	w        *world
	rng      *rand.Rand
	step     int
	salt     uint64
	ids      []capability.ActivationID
	machines []*machine
	copies   []*machine // of machines; what they serve is their owner's fraud until their next request
	written  []*file
	answers  map[capability.Digest]*capability.Response
	before   map[*machine]*machine // whose place a machine with another TPM took
	seen     outcomes
	sold     sold
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	p := anyTier()
	p.Forks, p.Repairs = ForkPolicy(seed%2), LimitRepairs(int(seed/2%3))
	p.Limits = limits(seed)
	s := &simulation{w: newWorld(t, p), rng: life(seed), answers: map[capability.Digest]*capability.Response{}, before: map[*machine]*machine{}}
	s.w.note = func() string { return fmt.Sprintf("seed %d, step %d: ", seed, s.step) }
	for n := range 3 {
		s.ids = append(s.ids, s.w.entitle(uint64(n+1), 1+s.rng.Uint32N(12), func(i *Item) { i.Metered = n == 2 }))
	}
	for n := range 3 {
		m := newMachine(byte(n + 1))
		m.audited = n > 0 // and an older program
		s.machines = append(s.machines, m)
	}
	s.sell(seed)
	return s
}

func (s *simulation) act() {
	if s.rng.IntN(8) == 0 {
		s.handle()
	}
	s.w.now += capability.Time(s.rng.IntN(100))
	m := s.machines[s.rng.IntN(len(s.machines))]
	switch k := s.rng.IntN(23); {
	case k >= 20:
		s.staff()
	case k < 6:
		s.write(m)
	case k < 13 && len(s.written) > 0: // any file ever written, so most are late or repeated
		f := s.written[s.rng.IntN(len(s.written))]
		if s.rng.IntN(2) == 0 {
			f = s.written[len(s.written)-1]
		}
		s.send(f)
	case k < 16 && len(s.written) > 0:
		if f := s.written[s.rng.IntN(len(s.written))]; f.response != nil {
			s.took(f.by, f.response)
		}
	case k < 17:
		id := s.ids[s.rng.IntN(len(s.ids))]
		if n := m.rights[id]; n > 0 && m.lent(id, s.w.now) == 0 {
			m.giveBack(id, 1+s.rng.Uint32N(n))
		}
	case k < 18:
		if len(s.copies) < 2 {
			s.copies = append(s.copies, m.copied())
		}
	case k < 19 && len(s.copies) > 0:
		s.write(s.copies[s.rng.IntN(len(s.copies))])
	case k < 19 && s.rng.IntN(4) == 0:
		s.wipe(s.rng.IntN(len(s.machines)))
	case k < 19 && s.rng.IntN(2) == 0:
		s.burn(s.rng.IntN(len(s.machines)))
	case k < 19:
		s.boot(state(byte(s.rng.IntN(4))))
	default:
		b, err := Restore(s.w.book.Snapshot())
		if err != nil {
			s.w.fatalf("%v", err)
		}
		s.w.book = b
	}
}

// wipe takes the storage of a machine; sometimes a copy of it turns up later.
func (s *simulation) wipe(n int) {
	old := s.machines[n]
	s.machines[n] = old.wiped()
	if s.rng.IntN(3) == 0 && len(s.copies) < 2 {
		s.copies = append(s.copies, old)
	}
}

// burn replaces the TPM of a machine; sometimes the old one still runs.
func (s *simulation) burn(n int) {
	old := s.machines[n]
	m := newMachine(byte(4 + len(s.before)))
	m.audited = old.audited
	s.machines[n], s.before[m] = m, old
	if s.rng.IntN(3) == 0 && len(s.copies) < 2 {
		s.copies = append(s.copies, old)
	}
	s.write(m)
}

// rehost gives a machine what the one before it had, on the word of two. What cannot move says why.
func (s *simulation) rehost(f *file) {
	old := s.before[f.by]
	if old == nil || s.rng.IntN(2) == 0 {
		return
	}
	had, known := s.w.book.Host(old.id.Host)
	order := f.request
	order.Rehost, order.Repair, order.Approved = old.id.Host, "the board burnt", "a second person"
	moves := known && had.Moved == nil && s.w.book.openMapping(old.id.Host) == "" && len(had.Holds) > 0 && (len(had.Metered) == 0 || order.Request.Applied == 0)
	if to, here := s.w.book.Host(f.by.id.Host); here && to.Moved != nil && to.Moved.Proved == 0 && to.Moved.To != old.id.Host {
		moves = false // it lost its own, and did not prove that they are gone
	}
	for _, o := range s.w.book.running {
		moves = moves && o.To != old.id.Host
	}
	d, err := s.w.do(order)
	if err == nil && d.Known == nil {
		s.limited(f, d)
	}
	switch {
	case err == nil && d.Known == nil && d.Answered().Rehosted != nil:
		if !moves {
			s.w.fatalf("%s has nothing to give, and it moved", old.id.Host.Short())
		}
		s.seen.Rehosted++
		s.answers[f.request.Digest], f.response = d.Response, d.Response
		if s.rng.IntN(2) == 0 {
			s.write(old) // it was not gone
		}
	case err == nil && d.Known == nil:
		s.w.fatalf("a re-host was ordered, and answered as if it was not")
	case code(err) == capability.ErrTierLimit && !moves:
		s.w.fatalf("%s has nothing to give, and it is too much: %v", old.id.Host.Short(), err)
	case code(err) == capability.ErrNoRehost && moves:
		s.w.fatalf("%s has %v, and a re-host is refused: %v", old.id.Host.Short(), had.Holds, err)
	}
}

// boot allows a boot state, or withdraws it.
func (s *simulation) boot(of []byte) {
	var c Command = AllowBoot{State: of, Note: "image"}
	if b := s.w.book.boot(of); b != nil && b.Withdrawn == 0 {
		c = WithdrawBoot{State: of}
	}
	s.w.mustDo(c)
	for _, b := range s.w.book.StatesFor(state(9))[1:] {
		if s.w.book.boot(b).Withdrawn != 0 {
			s.w.fatalf("a response would have a withdrawn boot state")
		}
	}
}

func (s *simulation) write(m *machine) {
	s.salt++
	if m.audited && s.rng.IntN(2) == 0 {
		m.log(s.salt << 32)
	}
	var desired []capability.Desired
	for _, id := range s.ids {
		if s.rng.IntN(2) == 0 {
			d := want(id, s.rng.Uint32N(14))
			d.Partial = s.rng.IntN(3) == 0
			desired = append(desired, d)
		}
	}
	if metered := s.ids[2]; m.rights[metered] > m.used {
		m.used++
	}
	a := m.request(s.salt, desired...)
	if m.used > 0 && m.applied > 0 {
		a.Request.Metered = []capability.Meter{{ActivationID: s.ids[2], Feature: "render", Count: m.used}}
	}
	a.Request.Settled = m.settled(s.w.now)
	a.Request.Atomic = s.rng.IntN(5) == 0
	a.Boot = state(byte(s.rng.IntN(8)))
	a.Identity.Tier = Tier(1 + s.rng.IntN(3)) // certificates come, and their authorities expire
	if s.rng.IntN(3) == 0 {
		m.shown = s.rng.IntN(3)
	}
	for n := range m.shown {
		a.Request.Hosts = append(a.Request.Hosts, hostid.ID{Type: hostid.Ethernet, Value: fmt.Sprint(n, s.rng.IntN(2))})
	}
	a.Digest = s.w.codec.RequestDigest(a.Request)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	for i := range a.Proofs {
		if s.rng.IntN(4) == 0 {
			a.Proofs[i] = Proof{Fault: "the statement does not verify"}
		}
	}
	s.written = append(s.written, &file{request: a, by: m})
}

func (s *simulation) send(f *file) {
	s.rehost(f)
	d, err := s.w.do(s.perhapsRefused(f.request))
	if code(err) == capability.ErrRepair && s.rng.IntN(2) == 0 {
		repair := f.request
		repair.Repair = "the disk died"
		h, _ := s.w.book.Host(f.by.id.Host)
		if s.rng.IntN(2) == 0 {
			repair.Approved = "a second person"
		}
		if d, err = s.w.do(repair); err == nil {
			s.seen.Repaired++
			if h.Repairs(s.w.now) >= s.w.book.policy.Repairs.Count() {
				if s.seen.Approved++; repair.Approved == "" {
					s.w.fatalf("repair %d of %s on one person's word", h.Repairs(s.w.now)+1, h.Host.Short())
				}
			}
		}
	}
	switch c := code(err); {
	case c == capability.ErrForm: // it was answered before, and is not refused any more
		if s.answers[f.request.Digest] == nil {
			s.w.fatalf("%v", err)
		}
	case err == nil && d.Known != nil:
		s.seen.Again++
		if first := s.answers[f.request.Digest]; first == nil || first.Serial != d.Known.Serial {
			s.w.fatalf("request %d is said to be answered, and was not so", f.request.Request.Number)
		}
		f.response = s.answers[f.request.Digest]
	case err == nil:
		s.seen.Answered++
		if d.Host.Moved != nil {
			if s.seen.Late++; len(d.Response.Items) > 0 {
				s.w.fatalf("%s has rights that went to another machine", f.by.id.Host.Short())
			}
		}
		s.seen.Credited += len(d.Credited)
		s.seen.Refused += len(d.Response.Denials)
		if d.Warning != nil {
			s.seen.Warned++
			s.accused(f, d.Warning)
		}
		if s.answers[f.request.Digest] != nil {
			s.w.fatalf("request %d was answered twice", f.request.Request.Number)
		}
		if err := d.Response.Validate(); err != nil {
			s.w.fatalf("%v", err)
		}
		s.limited(f, d)
		s.turnedDown(d)
		s.steered(d)
		s.honest(d)
		s.answers[f.request.Digest], f.response = d.Response, d.Response
		s.named(f)
	case c == capability.ErrRepair && f.request.Request.Life != (capability.LifeID{}):
	case c == capability.ErrSpent:
		s.sold.seen.Spent++
	case c == capability.ErrReplaced:
		s.seen.Replaced++
		if h, _ := s.w.book.Host(f.by.id.Host); h.Life == f.by.life {
			s.w.fatalf("the running life of %s is said to be replaced", h.Host.Short())
		}
	case c == capability.ErrRehosted:
		s.seen.Gone++
		if h, _ := s.w.book.Host(f.by.id.Host); h.Moved == nil {
			s.w.fatalf("the rights of %s are said to have moved", h.Host.Short())
		}
	case c == capability.ErrWrittenOff:
		if h, _ := s.w.book.Host(f.by.id.Host); !h.isRevoked() {
			s.w.fatalf("rights of %s are said to be written off", h.Host.Short())
		}
	case c == capability.ErrSealed:
		s.seen.Withdrawn++
		if b := s.w.book.boot(f.request.Boot); b == nil || b.Withdrawn == 0 {
			s.w.fatalf("a boot state is said to be withdrawn, and was not")
		}
	case c == capability.ErrOlderRequest:
		s.seen.Older++
	case c == capability.ErrFork || c == capability.ErrRollbackSuspect:
		s.seen.Forks++
		s.accused(f, err)
	default:
		s.w.fatalf("%v", err)
	}
}

// limits differs from life to life: none, of all tiers, of one, of one product.
func limits(seed uint64) []TierLimit {
	switch seed / 6 % 4 {
	case 1:
		return []TierLimit{{Tier: Virtual, Copies: 3, Life: 7200}, {Tier: Software, Copies: 1, Life: 3600}}
	case 2:
		return []TierLimit{{Tier: Virtual, Life: 86400}, {Tier: Virtual, Product: "Render Pro", Copies: 2}}
	case 3:
		return []TierLimit{{Tier: Software, Product: "Another", Copies: 1, Life: 3600}, {Tier: Hardware, Copies: 8}}
	}
	return nil
}

// limited: nothing is given above what the tier of the moment may have, and nothing ends later than it may. What a machine showed is on record.
func (s *simulation) limited(f *file, d *Decision) {
	tier, was := f.request.Identity.Tier, map[capability.ActivationID]uint32{}
	if before, ok := s.w.hostBefore(f.by.id.Host); ok {
		for _, h := range before.Holds {
			was[h.ActivationID] = h.Copies
		}
	}
	for _, i := range d.Response.Items {
		limit := s.w.book.limit(s.w.book.byID[i.ActivationID], tier)
		if limit.Copies > 0 && i.Copies > limit.Copies && i.Copies > was[i.ActivationID] && d.Answered().Rehosted == nil {
			s.w.fatalf("tier %s is given %d copies where %d are allowed, and had %d", tier, i.Copies, limit.Copies, was[i.ActivationID])
		}
		if limit.Life > 0 {
			if s.seen.Capped++; i.Expiry == 0 || i.Expiry > s.w.now.Add(limit.Life) || d.Response.Lifetime > limit.Life {
				s.w.fatalf("tier %s has %s until %s, and the limit is %s", tier, i.ActivationID, i.Expiry, limit)
			}
		}
	}
	for _, l := range d.Response.Lines {
		if l.Denial.Code == capability.ErrTierLimit {
			s.seen.Limited++
		}
	}
	for _, no := range d.Response.Denials {
		if no.Code == capability.ErrFork || no.Code == capability.ErrReplaced {
			s.seen.Alarmed++
		}
	}
	h, _ := s.w.book.Host(f.by.id.Host)
	if len(h.Appearances) > 1 {
		s.seen.Drifted++
	}
	last := h.Appearances[len(h.Appearances)-1]
	if last.Tier != tier || len(last.Hosts) != len(f.request.Request.Hosts)-1 || string(last.State) != string(f.request.Boot) {
		s.w.fatalf("request %d showed %v, tier %s, and on record is %+v", f.request.Request.Number, f.request.Request.Hosts, tier, last)
	}
}

// accused: only a machine that was copied is said to be two. An older storage than the one on record, which the book never heard of, is suspect too.
func (s *simulation) accused(f *file, err error) {
	if h, ok := s.w.book.Host(f.by.id.Host); !s.isCopied(f.by) && (!ok || h.Life == f.by.life) {
		s.w.fatalf("a machine that was never copied is said to be two: %v", err)
	}
}

// named: of a machine and its copies, only one history may have been answered from where they part.
func (s *simulation) named(f *file) {
	for _, other := range s.written {
		if other != f && s.answers[other.request.Digest] != nil && other.request.Identity.Host == f.request.Identity.Host && other.request.Request.Life == f.request.Request.Life &&
			other.request.Request.Number == f.request.Request.Number {
			s.w.fatalf("two requests with number %d of one machine were answered", f.request.Request.Number)
		}
	}
}

func (s *simulation) isCopied(m *machine) bool {
	for _, c := range s.copies {
		if c.id.Host == m.id.Host {
			return true
		}
	}
	return false
}

// check compares what machines serve with what is entitled. A machine that was copied counts as the book has it: what the copies do beside
// that is found when they write, not before.
func (s *simulation) check() {
	s.inAll()
	live := map[capability.ActivationID]uint32{}
	for _, m := range s.machines {
		rights := map[capability.ActivationID]uint32{}
		h, known := s.w.book.Host(m.id.Host)
		for _, id := range s.ids {
			rights[id] = max(m.rights[id], m.lent(id, s.w.now))
			if known { // nothing proves that what was written off is gone
				rights[id] -= min(rights[id], s.off(&h, id))
			}
		}
		if s.isCopied(m) {
			rights = map[capability.ActivationID]uint32{}
			if h, ok := s.w.book.Host(m.id.Host); ok {
				for _, f := range h.Holds {
					rights[f.ActivationID] = f.Copies
				}
			}
		}
		for id, n := range rights {
			live[id] += n
		}
	}
	for _, v := range s.w.book.Items(s.w.now) {
		if n := live[v.ActivationID]; !v.fits(n) {
			s.w.fatalf("%s: machines serve %d, the book says %d used and %d left, of %d", v.ActivationID, n, v.Used, v.Left, v.Copies)
		}
		for _, m := range s.machines {
			h, ok := s.w.book.Host(m.id.Host)
			if s.isCopied(m) || !ok {
				continue
			}
			// A machine never has more than the book says it has: what it returned is credited later, never earlier.
			if have := max(m.rights[v.ActivationID], m.lent(v.ActivationID, s.w.now)); have > h.held(v.ActivationID)+s.off(&h, v.ActivationID) {
				s.w.fatalf("%s: %s serves %d, the book says %d; rights %v", v.ActivationID, m.id.Host.Short(), have, h.held(v.ActivationID), maps.Clone(m.rights))
			}
		}
	}
}
