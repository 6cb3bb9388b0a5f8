package entitlement

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// TestSeatLives plays seeded lives of users: seats are assigned and taken back, devices take sessions, renew them, lose answers and crash, users take over, administrators disconnect, the back office
// crashes and forgets what it heard, licenses are converted, machines get seats by file, return them, are asked for them and hand them on by order. After each step nothing runs anywhere beyond the seats
// there are, but for one product of a user whose seat was taken over, and a replica that saw only the entries has the same digest.
func TestSeatLives(t *testing.T) {
	lives := uint64(160)
	if testing.Short() {
		lives = 60
	}
	seen := map[string]int{}
	for seed := range lives {
		s := newSeatLife(t, seed, seen)
		for s.step = range 150 {
			s.act()
			s.check()
		}
		if s.w.book.Digest() != s.w.replica.Digest() {
			s.w.fatalf("the replica differs at the end")
		}
	}
	t.Logf("%d lives: %v", lives, seen)
	for _, kind := range []string{"taken", "attached", "taken over", "no seat", "elsewhere", "renewed", "written", "ended", "disconnected", "lapsed", "converted", "in use", "issued", "returned", "withdrawn", "gone", "ordered", "moved"} {
		if seen[kind] == 0 {
			t.Errorf("it never came to %q", kind)
		}
	}
}

// product is one that runs on a device for a user.
type product struct {
	item   capability.ActivationID
	user   UserID
	device byte
}

// runningProduct is what it knows.
type runningProduct struct {
	session SessionID
	runs    capability.Time // when it stops
	over    bool            // its user took its seat over
}

type seatLife struct {
	w        *world
	rng      *rand.Rand
	step     int
	salt     uint64
	drawn    byte
	desk     *Desk
	fixed    capability.ActivationID
	floating capability.ActivationID
	users    []UserID
	products map[product]*runningProduct
	machines []*machine
	of       map[*machine]string // whose seat it has
	answers  []*file
	seen     map[string]int
}

func newSeatLife(t *testing.T, seed uint64, seen map[string]int) *seatLife {
	p := anyTier()
	p.WaitTakeover = seed%5 == 0
	s := &seatLife{w: newWorld(t, p), rng: life(seed), desk: NewDesk(), products: map[product]*runningProduct{}, of: map[*machine]string{}, seen: seen}
	s.w.note = func() string { return fmt.Sprintf("seed %d, step %d: ", seed, s.step) }
	tolerance := capability.Seconds(0)
	if seed%2 == 0 {
		tolerance = 2 * 60 * 60
	}
	s.fixed = s.w.entitle(1, 1+s.rng.Uint32N(3), func(i *Item) { i.Model = s.w.model(LicenseModel{Kind: FixedUser, Tolerance: tolerance}) })
	s.floating = s.w.entitle(2, 1+s.rng.Uint32N(3), func(i *Item) { i.Model, i.Mode = s.w.model(LicenseModel{Tolerance: tolerance}), Online })
	for _, name := range []string{"ana", "bob", "cai"} {
		s.users = append(s.users, person(name))
		s.w.mustDo(AddUser{ID: person(name)})
	}
	for n := range 3 {
		s.machines = append(s.machines, newMachine(byte(n+1)))
	}
	return s
}

// try does a command that may be refused, and counts what came of it.
func (s *seatLife) try(c Command, done string) (*Decision, bool) {
	d, err := s.w.do(c)
	if err == nil {
		s.seen[done]++
		return d, true
	}
	switch code(err) {
	case 0:
		if _, pool := c.(SetPool); !pool {
			s.w.fatalf("%T: %v", c, err)
		}
	case capability.ErrNoSeat:
		s.seen["no seat"]++
	case capability.ErrSessionElsewhere:
		s.seen["elsewhere"]++
	case capability.ErrInUse, capability.ErrUsers:
		s.seen["in use"]++
	}
	return d, false
}

func (s *seatLife) act() {
	s.w.now += capability.Time(s.rng.IntN(1200))
	id, user := s.fixed, s.users[s.rng.IntN(len(s.users))]
	if s.rng.IntN(2) == 0 {
		id = s.floating
	}
	switch s.rng.IntN(16) {
	case 0:
		s.try(AssignSeat{ActivationID: s.fixed, User: user}, "assigned")
	case 1:
		s.try(UnassignSeat{ActivationID: s.fixed, User: user}, "unassigned")
	case 2:
		s.try(SetPool{ActivationID: s.floating, User: user, Remove: s.rng.IntN(3) == 0}, "pooled")
	case 3, 4, 5, 6:
		s.take(product{id, user, byte(1 + s.rng.IntN(4))})
	case 7, 8:
		s.renew()
	case 9:
		s.end()
	case 10:
		if list := s.desk.Sessions(s.w.book, id, s.w.now); len(list) > 0 {
			s.try(s.desk.Disconnect(Disconnect{ID: list[s.rng.IntN(len(list))].ID, By: "admin"}), "disconnected")
		}
	case 11:
		switch s.rng.IntN(3) {
		case 0:
			s.desk = NewDesk() // the back office crashed
		case 1:
			b, err := Restore(s.w.book.Snapshot())
			if err != nil {
				s.w.fatalf("%v", err)
			}
			s.w.book = b
		default:
			s.w.now = s.w.now.Add(5 * 60 * 60) // a night
		}
	case 12:
		_, mode := s.w.book.Use(id)
		s.try(Convert{ActivationID: id, To: Online + Offline - mode}, "converted")
	default:
		s.files(user)
	}
}

// pick is one of the products that run or ran, by chance.
func (s *seatLife) pick() (product, *runningProduct) {
	keys := slices.SortedFunc(maps.Keys(s.products), func(a, b product) int {
		if n := compareIDs(a.item, b.item); n != 0 {
			return n
		}
		if n := compareUsers(a.user, b.user); n != 0 {
			return n
		}
		return int(a.device) - int(b.device)
	})
	if len(keys) == 0 {
		return product{}, nil
	}
	p := keys[s.rng.IntN(len(keys))]
	return p, s.products[p]
}

func (s *seatLife) take(p product) {
	s.drawn++
	c := s.desk.Take(s.w.book, TakeSession{ID: SessionID{s.drawn, byte(s.step)}, ActivationID: p.item, User: p.user, Device: capability.Digest{p.device}, TakeOver: s.rng.IntN(2) == 0}, s.w.now)
	if len(c.Lapsed) > 0 {
		s.seen["lapsed"]++
	}
	d, ok := s.try(c, "taken")
	if !ok {
		return
	}
	if d.Session.Attached {
		s.seen["attached"]++
	} else {
		for _, put := range d.Entries[0].Session.Put {
			for _, r := range s.products {
				if put.Over && r.session == put.ID {
					r.over = true
					s.seen["taken over"]++
				}
			}
		}
	}
	s.told(p, d.Session)
}

// told is what a device hears; some answers are lost, and then the device knows what it knew. The back office may crash after it answered.
func (s *seatLife) told(p product, g *Granted) {
	if s.desk.Told(g); s.rng.IntN(30) == 0 {
		s.desk = NewDesk()
	}
	if s.rng.IntN(6) > 0 {
		s.products[p] = &runningProduct{session: g.Session.ID, runs: g.Runs}
	}
}

func (s *seatLife) renew() {
	p, r := s.pick()
	if r == nil || r.runs <= s.w.now {
		return
	}
	d, err := s.w.do(RenewSession{ID: r.session, Device: capability.Digest{p.device}, Idle: capability.Seconds(s.rng.IntN(900))})
	switch {
	case code(err) == capability.ErrSessionEnded:
		delete(s.products, p) // it hears it, and stops
	case err != nil:
	default:
		if s.seen["renewed"]++; len(d.Entries) > 0 {
			s.seen["written"]++
		}
		s.told(p, d.Session)
	}
}

func (s *seatLife) end() {
	p, r := s.pick()
	if r == nil {
		return
	}
	delete(s.products, p)
	if s.rng.IntN(3) > 0 { // or nobody hears it
		s.try(EndSession{ID: r.session, Device: capability.Digest{p.device}}, "ended")
	}
}

// files is what machines do with seats that are used offline.
func (s *seatLife) files(user UserID) {
	m := s.machines[s.rng.IntN(len(s.machines))]
	switch s.rng.IntN(8) {
	case 0, 1:
		s.salt++
		a := m.request(s.salt, want(s.fixed, 1))
		a.Seat = &SeatOrder{ActivationID: s.fixed, User: user}
		s.send(m, a, "issued")
	case 2, 3, 4:
		s.salt++
		a := m.request(s.salt, want(s.floating, s.rng.Uint32N(3)))
		if a.Request.Settled = m.applied > 0 && s.rng.IntN(3) > 0; m.applied > 0 {
			m.epoch++
			a.Request.Epoch = m.epoch
		}
		a.Digest = s.w.codec.RequestDigest(a.Request)
		m.outstanding[len(m.outstanding)-1].Digest = a.Digest
		s.send(m, a, "answered")
	case 5:
		for _, id := range []capability.ActivationID{s.fixed, s.floating} {
			if m.rights[id] > 0 {
				m.giveBack(id, m.rights[id])
				s.seen["returned"]++
			}
		}
	case 6:
		s.try(WithdrawSeat{ActivationID: s.fixed, User: user}, "withdrawn")
	default:
		if to := s.machines[s.rng.IntN(len(s.machines))]; to != m {
			s.try(PlanRehost{From: m.id.Host, To: to.id.Host, ActivationID: s.fixed}, "ordered")
		}
	}
}

func (s *seatLife) send(m *machine, a Answer, done string) {
	d, ok := s.try(a, done)
	if !ok || d.Response == nil {
		return
	}
	s.seen["gone"] += len(d.Answered().Gone)
	for _, seat := range d.Answered().Seats {
		if seat.Serial == d.Response.Serial && a.Seat == nil {
			s.seen["moved"]++
		}
	}
	s.answers = append(s.answers, &file{by: m, response: d.Response})
	// Files are brought late, and not all of them.
	if f := s.answers[max(0, len(s.answers)-1-s.rng.IntN(3))]; s.rng.IntN(4) > 0 {
		if f.response.Serial > f.by.applied {
			s.of[f.by] = ""
			for _, i := range f.response.Items {
				if i.ActivationID == s.fixed {
					s.of[f.by] = i.User
				}
			}
		}
		f.by.apply(f.response)
	}
}

// check compares what runs with the seats there are.
func (s *seatLife) check() {
	type of struct {
		item capability.ActivationID
		user UserID
	}
	all, mine, over := map[capability.ActivationID]int{}, map[of]int{}, map[of]int{}
	for p, r := range s.products {
		switch {
		case r.runs <= s.w.now:
		case r.over:
			over[of{p.item, p.user}]++
		default:
			all[p.item]++
			mine[of{p.item, p.user}]++
		}
	}
	for k, n := range over {
		if n > 1 {
			s.w.fatalf("%d products of %s run on beside the seat of %s", n, k.item, k.user)
		}
	}
	fixed := s.w.book.byID[s.fixed]
	for k, n := range mine {
		if k.item == s.fixed && n > len(fixed.seatsOf(k.user)) {
			s.w.fatalf("%s runs %d products on %d seats", k.user, n, len(fixed.seatsOf(k.user)))
		}
	}
	users := map[string]int{}
	for _, m := range s.machines {
		for _, id := range []capability.ActivationID{s.fixed, s.floating} {
			all[id] += int(m.rights[id])
		}
		if m.rights[s.fixed] > 0 {
			if users[s.of[m]]++; users[s.of[m]] > 1 || s.of[m] == "" {
				s.w.fatalf("%q has the seat of %s on two machines, or nobody has", s.of[m], s.fixed)
			}
		}
	}
	for id, n := range all {
		if v, _ := s.w.book.Item(id, s.w.now); n > int(v.Copies) {
			s.w.fatalf("%d of %d seats of %s are in use", n, v.Copies, id)
		}
	}
}
