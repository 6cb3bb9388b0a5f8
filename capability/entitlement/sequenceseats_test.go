package entitlement

import (
	"encoding/binary"
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// seatings are the users' side of a life.
type seatings struct {
	seats    [maxLines]map[string]int // by line: seats without a machine, by user
	sessions []*running
	busy     bool // with people
}

// running is a product on a device of a user, which stops when it was told to, if nobody tells it another time first.
type running struct {
	id     SessionID
	line   int
	user   string
	device capability.Digest
	runs   capability.Time
	over   bool // its user gave its seat to another device, and it may run on beside it
}

func (r *running) uses(line int, now capability.Time) bool { return r.line == line && now < r.runs }

func seatActs() []act {
	return []act{
		{3, (*sequence).userChanges},
		{6, (*sequence).assignSeat},
		{3, (*sequence).unassignSeat},
		{3, (*sequence).seatOnMachine},
		{1, (*sequence).withdrawSeat},
		{4, (*sequence).setPool},
		{9, (*sequence).takeSession},
		{5, (*sequence).renewSession},
		{3, (*sequence).endSession},
		{3, (*sequence).convert},
		{1, (*sequence).setGroup},
	}
}

func seatOutcomes() (list []outcome) {
	for _, kind := range []string{
		"user", "change of a user", "removal of a user", "code", "seat", "seat freed", "seat with a request", "withdrawal", "pool", "session", "session taken back", "session taken over", "renewal", "renewal without an entry",
		"end of a session", "disconnect", "lapsed", "convert", "group",
	} {
		list = append(list, outcome{kind, 0})
	}
	return append(list, []outcome{
		{"seat", capability.ErrTooFew}, {"seat", capability.ErrMode}, {"seat freed", capability.ErrInUse}, {"seat with a request", capability.ErrSeatElsewhere}, {"session", capability.ErrNoSeat},
		{"session", capability.ErrSessionElsewhere}, {"session", capability.ErrUnassigned}, {"renewal", capability.ErrSessionEnded}, {"convert", capability.ErrUsers}, {"removal of a user", capability.ErrUsers},
	}...)
}

// seatsOut is how many copies of a line users have: seats, or sessions where those are more.
func (s *sequence) seatsOut(line int) uint64 {
	seats := uint64(0)
	for _, k := range s.seats[line] {
		seats += uint64(k)
	}
	return max(s.runningOf(line), seats)
}

// runningOf is how many products run on seats of a line.
func (s *sequence) runningOf(line int) (n uint64) {
	for _, r := range s.sessions {
		if r.uses(line, s.now) && !r.over {
			n++
		}
	}
	return n
}

// checkSessions: nobody uses more seats than are assigned to them, but for one product that may run on after its seat was taken over. A pool is used by sessions, and no machine has any of it.
func (s *sequence) checkSessions() {
	for n := range s.used {
		i := s.book.byID[s.names[n]]
		running, over := map[string]int{}, map[string]int{}
		for _, r := range s.sessions {
			switch {
			case !r.uses(n, s.now):
			case r.over:
				if over[r.user]++; over[r.user] > 1 {
					s.fatalf("%s: two products of %s run beside their seats", s.names[n], r.user)
				}
			default:
				if running[r.user]++; s.book.kindOf(i) == FixedUser && running[r.user] > s.seats[n][r.user] {
					s.fatalf("%s: %s runs %d products on %d seats", s.names[n], r.user, running[r.user], s.seats[n][r.user])
				}
			}
		}
		if len(running)+len(over) > 0 && (s.book.mode(i) != Online || i.used > 0) {
			s.fatalf("%s is used by sessions, and %s, with %d copies on machines", s.names[n], s.book.mode(i), i.used)
		}
	}
}

var sequenceUsers = [...]string{"ann@example.com", "bob@example.com", "build"}

// people begin a life in which most is about seats and sessions.
func (s *sequence) people() {
	for n, model := range []string{"fixed", "floating"} {
		if _, there := s.book.Model(model); !there {
			continue
		}
		i := Item{ActivationID: s.names[s.used], Customer: "ACME", EntitlementID: "ENT-2", Product: "Render", Copies: 1 + s.rng.Uint32N(3), Model: model}
		s.must("entitle", Entitle{Item: i})
		s.enter(i.ActivationID, -1, i.Copies)
		switch {
		case n == 1:
			s.must("convert", Convert{ActivationID: i.ActivationID, To: Online})
			s.must("pool", SetPool{ActivationID: i.ActivationID, Everybody: true})
		case s.chance(3):
			s.must("convert", Convert{ActivationID: i.ActivationID, To: Offline})
		default:
			s.assignSeat()
			s.assignSeat()
		}
	}
	s.busy = true
}

func (s *sequence) anyUser() UserID {
	u := UserID{"ACME", sequenceUsers[s.rng.IntN(len(sequenceUsers))]}
	if s.busy && s.chance(2) {
		u.Name = sequenceUsers[0]
	}
	if s.chance(8) {
		u.Account = "Other"
	}
	return u
}

// usable is an activation ID that users have to do with, most often.
func (s *sequence) usable(kind Kind, mode Mode) capability.ActivationID {
	for range 8 {
		id := s.anyID()
		if k, m := s.book.Use(id); k == kind && m == mode {
			return id
		}
	}
	return s.anyID()
}

func (s *sequence) userChanges() {
	u, yes, no := s.anyUser(), true, false
	const slip = "0000-1111-2222-3333"
	switch s.rng.IntN(6) {
	case 0, 1:
		s.do("user", AddUser{ID: u, Service: u.Name == "build", Code: CodeHash(u, slip)})
	case 2:
		s.do("change of a user", ChangeUser{ID: u, Disabled: &yes})
	case 3:
		s.do("change of a user", ChangeUser{ID: u, Disabled: &no, Code: CodeHash(u, slip)})
	case 4:
		s.do("code", UseCode{ID: u, Code: slip})
		s.do("change of a user", ChangeUser{ID: u, Service: [...]*bool{&yes, &no}[s.rng.IntN(2)]})
	default:
		s.do("removal of a user", RemoveUser{ID: u})
	}
}

func (s *sequence) assignSeat() {
	c := AssignSeat{ActivationID: s.usable(FixedUser, Online), User: s.anyUser()}
	if _, err := s.do("seat", c); err == nil {
		n := s.line[c.ActivationID]
		if s.seats[n] == nil {
			s.seats[n] = map[string]int{}
		}
		s.seats[n][c.User.Name]++
	}
}

func (s *sequence) unassignSeat() {
	c := UnassignSeat{ActivationID: s.usable(FixedUser, Online), User: s.anyUser()}
	if r := s.anySession(); s.used > 0 && s.chance(2) && r.user != "" {
		c.ActivationID, c.User = s.names[r.line], UserID{"ACME", r.user}
	}
	if _, err := s.do("seat freed", c); err == nil {
		s.seats[s.line[c.ActivationID]][c.User.Name]--
	}
}

// seatOnMachine answers the request of a machine with a seat.
func (s *sequence) seatOnMachine() {
	l, id := s.write(s.anyBox()), s.usable(FixedUser, Offline)
	l.answer.Seat = &SeatOrder{ActivationID: id, User: s.anyUser()}
	s.post(l)
	if s.busy && s.chance(3) {
		s.do("withdrawal", WithdrawSeat{ActivationID: id, User: l.answer.Seat.User})
	}
}

func (s *sequence) withdrawSeat() {
	s.do("withdrawal", WithdrawSeat{ActivationID: s.usable(FixedUser, Offline), User: s.anyUser()})
}

func (s *sequence) setPool() {
	c := SetPool{ActivationID: s.usable(Floating, Online), User: s.anyUser(), Remove: s.chance(4)}
	if s.chance(3) {
		c.User, c.Everybody = UserID{}, true
	}
	s.do("pool", c)
}

func (s *sequence) takeSession() {
	if s.busy {
		s.takeOne()
	}
	s.takeOne()
}

func (s *sequence) takeOne() {
	kind := FixedUser
	if s.chance(2) {
		kind = Floating
	}
	s.drawn++
	c := TakeSession{ActivationID: s.usable(kind, Online), User: s.anyUser(), TakeOver: s.chance(2), Runs: map[SessionID]capability.Time{}}
	binary.BigEndian.PutUint64(c.ID[:], s.drawn)
	c.Device[0] = byte(1 + s.rng.IntN(3))
	n, known := s.line[c.ActivationID]
	for _, r := range s.sessions { // what is known of sessions: nothing after a crash
		if !known || r.line != n || s.chance(3) {
			continue
		}
		if c.Runs[r.id] = r.runs; r.runs <= s.now {
			c.Lapsed = append(c.Lapsed, r.id)
		}
	}
	d, err := s.do("session", c)
	if err != nil || d.Session == nil {
		return
	}
	told := d.Session.Session
	if d.Session.Attached {
		s.seen[outcome{"session taken back", 0}]++
	}
	for _, e := range d.Entries {
		if e.Session == nil {
			continue
		}
		for _, put := range e.Session.Put {
			if r := s.running(put.ID); r != nil && put.Over {
				r.over = true
				s.seen[outcome{"session taken over", 0}]++
			}
		}
	}
	for _, r := range s.sessions { // a device runs one product of a line for its user
		if r.line == n && r.user == told.User.Name && r.device == told.Device && r.id != told.ID {
			r.runs = min(r.runs, s.now)
		}
	}
	s.told(d.Session)
}

func (s *sequence) running(id SessionID) *running {
	for _, r := range s.sessions {
		if r.id == id {
			return r
		}
	}
	return nil
}

// told is what a device does with what it hears: it runs until then. The book promised as much.
func (s *sequence) told(g *Granted) {
	r := s.running(g.Session.ID)
	if r == nil {
		r = &running{id: g.Session.ID, line: s.line[g.Session.ActivationID], user: g.Session.User.Name, device: g.Session.Device}
		s.sessions = append(s.sessions, r)
	}
	r.runs = g.Runs
	if g.Runs > g.Session.Through || g.Until > g.Runs {
		s.fatalf("session %s may run until %s, and the book promises %s", g.Session.ID, g.Runs, g.Session.Through)
	}
}

func (s *sequence) anySession() *running {
	if len(s.sessions) == 0 {
		return &running{id: SessionID{1}}
	}
	return s.sessions[s.rng.IntN(len(s.sessions))]
}

func (s *sequence) renewSession() {
	r := s.anySession()
	if r.runs <= s.now && s.chance(2) {
		return // its device has gone
	}
	d, err := s.do("renewal", RenewSession{ID: r.id, Device: r.device, Idle: capability.Seconds(s.rng.IntN(900))})
	if err == nil && d.Session != nil {
		if len(d.Entries) == 0 {
			s.seen[outcome{"renewal without an entry", 0}]++
		}
		s.told(d.Session)
	}
}

func (s *sequence) endSession() {
	r := s.anySession()
	switch s.rng.IntN(3) {
	case 0:
		if _, err := s.do("end of a session", EndSession{ID: r.id, Device: r.device}); err == nil {
			r.runs = min(r.runs, s.now)
		}
	case 1:
		c := Disconnect{ID: r.id}
		if s.chance(2) {
			c.Runs = r.runs
		}
		s.do("disconnect", c)
	default:
		c := EndLapsed{ActivationID: s.names[r.line]}
		for _, o := range s.sessions {
			if o.line == r.line && o.runs <= s.now {
				c.IDs = append(c.IDs, o.id)
			}
		}
		s.do("lapsed", c)
	}
}

func (s *sequence) convert() {
	kind := []Kind{Floating, FixedUser}[s.rng.IntN(2)]
	to := Mode(1 + s.rng.IntN(2))
	s.do("convert", Convert{ActivationID: s.usable(kind, Online+Offline-to), To: to})
}

func (s *sequence) setGroup() {
	c := SetGroup{Group: fmt.Sprintf("unit %d", s.rng.IntN(2)), User: s.anyUser(), Remove: s.chance(4)}
	if s.chance(2) {
		c.User, c.ActivationID = UserID{}, s.anyID()
	}
	s.do("group", c)
}
