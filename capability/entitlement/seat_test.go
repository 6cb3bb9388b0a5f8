package entitlement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

const acme = "ACME Works"

func person(name string) UserID { return UserID{acme, name} }

// entitleKind adds an item of a kind, in a mode.
func (w *world) entitleKind(n uint64, copies uint32, kind Kind, mode Mode) capability.ActivationID {
	w.t.Helper()
	return w.entitle(n, copies, func(i *Item) { i.Model, i.Mode = w.model(LicenseModel{Kind: kind}), mode })
}

// model is a deployed license model like that one, made if there is none.
func (w *world) model(m LicenseModel) string {
	w.t.Helper()
	m.Name, m.State = fmt.Sprint(m.Kind, m.Tolerance, m.GraceDays), ModelDeployed
	if _, there := w.book.Model(m.Name); !there {
		w.mustDo(SetModel{Model: m})
	}
	return m.Name
}

// refused wants a command to be refused with a code, and words in its detail.
func (w *world) refused(c Command, want capability.Code, words ...string) {
	w.t.Helper()
	d, err := w.do(c)
	if code(err) != want {
		w.fatalf("%T: %v, want %v", c, err, want)
	}
	if d != nil && len(d.Entries) > 0 {
		w.fatalf("%T was refused and changed the book", c)
	}
	for _, s := range words {
		if !strings.Contains(err.Error(), s) {
			w.fatalf("%T: %q does not say %q", c, err, s)
		}
	}
}

func (w *world) seats(id capability.ActivationID, want ...string) {
	w.t.Helper()
	var got []string
	for _, s := range w.book.Seats(id) {
		got = append(got, s.User.Name+" "+string(s.State))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		w.fatalf("seats %q, want %q", got, want)
	}
}

func TestUsers(t *testing.T) {
	w := newWorld(t, anyTier())
	ana, hash := person("Ana@acme.example"), CodeHash(person("ana@ACME.example"), "ABCD-EFGH-JKMN-PQRS")
	w.mustDo(AddUser{ID: ana, Code: hash})
	if _, err := w.do(AddUser{ID: person("ana@acme.EXAMPLE")}); err == nil {
		t.Error("two users of one account differ by case only")
	}
	w.mustDo(AddUser{ID: UserID{"Another", "ana@acme.example"}}) // another account's
	for _, bad := range []UserID{{}, {Account: acme}, {Name: "x"}, {acme, strings.Repeat("x", capability.MaxName+1)}, {acme, "a\x00"}} {
		if _, err := w.do(AddUser{ID: bad}); err == nil {
			t.Errorf("user %q is made", bad)
		}
	}

	use := func(id UserID, text string) UseCode { return UseCode{ID: id, Code: text} }
	w.refused(use(ana, "ABCD-EFGH-JKMN-PQRT"), capability.ErrUserCode, "newest slip")
	w.refused(use(ana, ""), capability.ErrUserCode)
	w.refused(use(person("nobody"), "ABCD-EFGH-JKMN-PQRS"), capability.ErrUserCode, "newest slip")
	w.refused(use(UserID{"Another", "ana@acme.example"}, "ABCD-EFGH-JKMN-PQRS"), capability.ErrUserCode)
	w.mustDo(use(person("ana@acme.example"), "abcd efgh jkmn pqrs")) // as people type it
	w.refused(use(ana, "ABCD-EFGH-JKMN-PQRS"), capability.ErrUserCode, "was used")

	// A new slip ends the one before, and has an end itself.
	w.mustDo(ChangeUser{ID: ana, Code: CodeHash(ana, "one")})
	w.mustDo(ChangeUser{ID: ana, Code: CodeHash(ana, "two")})
	w.refused(use(ana, "one"), capability.ErrUserCode)
	w.now = w.now.Add(CodeLife)
	w.refused(use(ana, "two"), capability.ErrUserCode, "until")
	w.mustDo(ChangeUser{ID: ana, Code: CodeHash(ana, "three")})
	yes, no := true, false
	w.mustDo(ChangeUser{ID: ana, Disabled: &yes})
	w.refused(use(ana, "three"), capability.ErrUserCode, "disabled")
	w.mustDo(ChangeUser{ID: ana, Disabled: &no})
	w.now = w.now.Add(CodeLife - 1)
	w.mustDo(use(ana, "three"))

	u, ok := w.book.User(person("ANA@acme.example"))
	if !ok || u.ID != ana || u.Code != (capability.Digest{}) || u.Claimed != w.now {
		t.Errorf("user %+v", u)
	}
	w.mustDo(RemoveUser{ID: ana})
	w.refused(RemoveUser{ID: ana}, capability.ErrNoUser)
	if got := len(w.book.Users()); got != 1 {
		t.Errorf("%d users are left", got)
	}
	// A user of that name who comes again is another one.
	w.mustDo(AddUser{ID: ana})
	w.refused(use(ana, "three"), capability.ErrUserCode, "newest slip")
}

func TestSlip(t *testing.T) {
	text, err := NewCode(strings.NewReader(strings.Repeat("\xff\x00\x21\x1f", 4)))
	if err != nil || text != "Z01Z-Z01Z-Z01Z-Z01Z" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := NewCode(strings.NewReader("short")); err == nil {
		t.Error("a code of too little chance")
	}
	a := person("ana")
	if CodeHash(a, "Z01Z") != CodeHash(a, "z o-i z") || CodeHash(a, "Z01Z") == CodeHash(UserID{acme + "a", "na"}, "Z01Z") || CodeHash(a, "x") == CodeHash(person("bob"), "x") {
		t.Error("codes of users are mixed up")
	}
}

func TestOnlineSeats(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, ByKind)
	ana, bob, eve := person("ana"), person("bob"), person("eve")
	w.refused(AssignSeat{ActivationID: testID(t, 9), User: ana}, capability.ErrUnknownID)
	w.refused(AssignSeat{ActivationID: id, User: UserID{"Another", "x"}}, capability.ErrNoUser)
	d := w.mustDo(AssignSeat{ActivationID: id, User: ana, Code: CodeHash(ana, "slip")})
	if len(d.Entries) != 2 || d.Entries[0].User == nil || d.Entries[1].Seat.Seat.Number != 1 {
		t.Errorf("the first assignment makes %d entries", len(d.Entries))
	}
	w.mustDo(UseCode{ID: ana, Code: "slip"})
	if d = w.mustDo(AssignSeat{ActivationID: id, User: person("ANA")}); len(d.Entries) != 1 {
		t.Error("a known user is made again") // and has two seats
	}
	w.refused(AssignSeat{ActivationID: id, User: bob}, capability.ErrTooFew, "every seat is assigned")
	if v, _ := w.book.Item(id, w.now); v.Left != 0 {
		t.Errorf("%d are left of a license whose seats are assigned", v.Left)
	}
	w.refused(UnassignSeat{ActivationID: id, User: bob}, capability.ErrNoUser)
	w.mustDo(UnassignSeat{ActivationID: id, User: ana})
	w.mustDo(AssignSeat{ActivationID: id, User: bob})
	w.seats(id, "ana assigned", "bob assigned")
	w.refused(RemoveUser{ID: bob}, capability.ErrUsers, "seat 2")
	w.mustDo(UnassignSeat{ActivationID: id, User: ana})
	if d = w.mustDo(AssignSeat{ActivationID: id, User: eve}); d.Entries[1].Seat.Seat.Number != 1 {
		t.Error("the free number was not taken")
	}

	// A machine gets nothing of what is used online, however it asks.
	a := newMachine(1).request(1, want(id, 1))
	if r := w.mustDo(a).Response; r.Lines[0].Denial.Code != capability.ErrMode || len(r.Items) != 0 {
		t.Errorf("a machine has %v of an online license", r.Items)
	}

	yes := true
	w.mustDo(ChangeUser{ID: eve, Disabled: &yes})
	w.mustDo(UnassignSeat{ActivationID: id, User: bob})
	w.refused(AssignSeat{ActivationID: id, User: eve}, capability.ErrNoUser, "disabled")
	w.mustDo(AddUser{ID: person("robot"), Service: true})
	w.refused(AssignSeat{ActivationID: id, User: person("robot")}, capability.ErrService)
	w.mustDo(AssignSeat{ActivationID: id, User: bob})
	w.refused(ChangeUser{ID: bob, Service: &yes}, capability.ErrService, "unassign it first")
	w.mustDo(UnassignSeat{ActivationID: id, User: bob})
	p := anyTier()
	p.ServiceSeats = true
	w.mustDo(SetPolicy{Policy: p})
	w.mustDo(AssignSeat{ActivationID: id, User: person("robot")})

	node := w.entitleKind(2, 1, NodeLocked, ByKind)
	w.refused(AssignSeat{ActivationID: node, User: bob}, capability.ErrMode)
	gone := w.entitle(3, 1, func(i *Item) { i.Model, i.Expiry = w.model(LicenseModel{Kind: FixedUser}), w.now+10 })
	w.now += 10
	w.refused(AssignSeat{ActivationID: gone, User: bob}, capability.ErrBookExpired)
}

// assign answers a machine's request with a seat.
func (w *world) assign(m *machine, id capability.ActivationID, user UserID, salt uint64) Answer {
	a := m.request(salt, want(id, 1))
	a.Seat = &SeatOrder{ActivationID: id, User: user}
	return a
}

// TestOfflineSeat goes every way of a seat: free, issued, bound, confirmed, returned, withdrawn.
func TestOfflineSeat(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, Offline)
	ana, bob := person("ana"), person("bob")
	one, two, three := newMachine(1), newMachine(2), newMachine(3)

	// Nobody runs before the assignment, and who assigns is said.
	plain := one.request(1, want(id, 1))
	if r := w.mustDo(plain).Response; r.Lines[0].Denial.Code != capability.ErrUnassigned || !strings.Contains(r.Lines[0].Denial.Detail, acme) {
		t.Errorf("a machine asked by itself: %+v", r.Lines)
	}
	// That request was answered, so a seat cannot come with it any more.
	plain.Seat = &SeatOrder{ActivationID: id, User: ana}
	w.refused(plain, capability.ErrSeatElsewhere, "write another one")
	w.refused(AssignSeat{ActivationID: id, User: ana}, capability.ErrMode, "--request")

	a := w.assign(one, id, ana, 2)
	d := w.mustDo(a)
	if i := d.Response.Items; len(i) != 1 || i[0].User != "ana" || i[0].Copies != 1 || d.Response.Lines[0].Denial.Code != 0 {
		t.Fatalf("the seat came as %+v", i)
	}
	w.seats(id, "ana issued")
	// The same request again is the same answer; with another user it is not.
	if again := w.mustDo(a); again.Known == nil || again.Known.Serial != d.Response.Serial {
		t.Error("the same request is answered anew")
	}
	other := a
	other.Seat = &SeatOrder{ActivationID: id, User: bob}
	w.refused(other, capability.ErrSeatElsewhere)

	// Another machine of hers, and another user on this machine: both are refused by name and date.
	date := w.now.String()[:10]
	w.refused(w.assign(two, id, person("ANA"), 3), capability.ErrSeatElsewhere, one.id.Host.Short(), date)
	w.refused(w.assign(one, id, bob, 4), capability.ErrSeatElsewhere, "seat 1", "ana", date)
	w.refused(w.assign(one, id, ana, 5), capability.ErrSeatElsewhere, "this machine")

	// The machine says that it applied it, then proves it.
	one.apply(d.Response)
	word := one.request(6)
	word.Request.BookHead = capability.Digest{}
	word.Digest = w.codec.RequestDigest(word.Request)
	one.outstanding[len(one.outstanding)-1].Digest = word.Digest
	one.apply(w.mustDo(word).Response)
	w.seats(id, "ana bound")
	d = w.mustDo(one.request(7))
	if d.Response.Items[0].User != "ana" {
		t.Error("a later response forgets whose seat it is")
	}
	one.apply(d.Response)
	w.seats(id, "ana bound confirmed")

	// Bob gets the second seat on another machine; there is no third.
	bobs := w.mustDo(w.assign(two, id, bob, 8)).Response
	w.refused(w.assign(three, id, person("eve"), 9), capability.ErrTooFew)

	// Asked back: in use until the machine proves that it is not. Only once.
	w.mustDo(WithdrawSeat{ActivationID: id, User: bob, By: "admin"})
	w.seats(id, "ana bound confirmed", "bob being withdrawn")
	w.refused(WithdrawSeat{ActivationID: id, User: bob}, capability.ErrSeatElsewhere, "already")
	w.refused(w.assign(three, id, bob, 10), capability.ErrSeatElsewhere, two.id.Host.Short())

	// A return with a proof frees it; the same proof again frees nothing more.
	two.apply(bobs)
	two.giveBack(id, 1)
	back := two.request(11)
	if d = w.mustDo(back); len(d.Credited) != 1 {
		t.Fatal("the return was not credited")
	}
	w.seats(id, "ana bound confirmed")
	w.mustDo(back)
	third := w.mustDo(w.assign(three, id, bob, 12)).Response
	if third.Items[0].User != "bob" {
		t.Errorf("%+v", third.Items)
	}
	if r := w.mustDo(two.request(13, want(id, 1))).Response; len(r.Items) != 0 || r.Lines[0].Denial.Code != capability.ErrUnassigned {
		t.Errorf("a machine whose seat is another's has %+v", r.Items)
	}
	if v, _ := w.book.Item(id, w.now); v.Used != 2 || v.Left != 0 {
		t.Errorf("%d used, %d left", v.Used, v.Left)
	}
}

func TestSeatMovesWithItsMachine(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 3, FixedUser, Offline)
	one, two, three := newMachine(1), newMachine(2), newMachine(3)
	w.mustDo(w.assign(one, id, person("ana"), 1))
	w.mustDo(w.assign(two, id, person("bob"), 2))
	move := func(m *machine, salt uint64) Answer {
		a := m.request(salt)
		a.Rehost, a.Repair, a.Approved = one.id.Host, "the board burnt", "a second person"
		return a
	}
	w.refused(move(two, 3), capability.ErrNoRehost, "ana and bob")
	d := w.mustDo(move(three, 4))
	if i := d.Response.Items; len(i) != 1 || i[0].User != "ana" {
		t.Errorf("the new machine has %+v", i)
	}
	if s := w.book.Seats(id)[0]; s.Host != three.id.Host || s.User.Name != "ana" {
		t.Errorf("the seat is on %s", s.Host)
	}
	if r := w.mustDo(one.request(5, want(id, 1))).Response; len(r.Items) != 0 {
		t.Errorf("the machine that is gone has %+v", r.Items)
	}
	w.refused(w.assign(one, id, person("eve"), 6), capability.ErrRehosted)
}

func TestSeatTiers(t *testing.T) {
	p := anyTier()
	p.MinimumTier = Hardware
	w := newWorld(t, p)
	id := w.entitleKind(1, 1, FixedUser, Offline)
	a := w.assign(newMachine(1), id, person("ana"), 1)
	a.Identity.Tier = Virtual
	w.refused(a, capability.ErrTier)
	a.Identity.Tier, a.Shown.Platform = Hardware, "kvm, container docker"
	w.mustDo(a)
	if s := w.book.Seats(id)[0]; !strings.Contains(s.Warning, "container docker") {
		t.Errorf("a seat in a container has the warning %q", s.Warning)
	}
}

// TestConvert goes both ways of the mode of a license, and every guard of them.
func TestConvert(t *testing.T) {
	w := newWorld(t, anyTier())
	fixed, floating := w.entitleKind(1, 2, FixedUser, ByKind), w.entitleKind(2, 2, Floating, Online)
	node := w.entitleKind(3, 1, NodeLocked, ByKind)
	to := func(id capability.ActivationID, m Mode) Convert { return Convert{ActivationID: id, To: m} }
	w.refused(to(testID(t, 9), Offline), capability.ErrUnknownID)
	w.refused(to(node, Online), capability.ErrMode)
	w.refused(to(fixed, Online), capability.ErrMode, "already")
	if _, err := w.do(to(fixed, 7)); err == nil {
		t.Error("converted to a mode that is none")
	}

	ana := person("ana")
	w.mustDo(AssignSeat{ActivationID: fixed, User: ana})
	w.refused(to(fixed, Offline), capability.ErrUsers, "unassign")
	w.mustDo(UnassignSeat{ActivationID: fixed, User: ana})
	w.mustDo(to(fixed, Offline))
	w.refused(UnassignSeat{ActivationID: fixed, User: ana}, capability.ErrMode)
	w.refused(take(1, fixed, ana, 1), capability.ErrMode, "offline")
	m := newMachine(1)
	r := w.mustDo(w.assign(m, fixed, ana, 1)).Response
	w.refused(to(fixed, Online), capability.ErrUsers, m.id.Host.Short(), w.now.String()[:10])
	m.apply(r)
	m.giveBack(fixed, 1)
	w.mustDo(m.request(2))
	w.mustDo(to(fixed, Online))
	w.refused(w.assign(newMachine(2), fixed, ana, 3), capability.ErrMode, "convert")

	// Of a floating one the pool has to be empty, every session over, and then every copy home.
	w.mustDo(SetPool{ActivationID: floating, User: ana})
	w.refused(to(floating, Offline), capability.ErrUsers, "pool")
	w.mustDo(take(1, floating, ana, 1))
	w.mustDo(SetPool{ActivationID: floating, User: ana, Remove: true})
	w.refused(to(floating, Offline), capability.ErrUsers, "may run until")
	w.mustDo(SetPool{ActivationID: floating, Everybody: true})
	w.refused(to(floating, Offline), capability.ErrUsers, "everybody")
	w.mustDo(SetPool{ActivationID: floating, Everybody: true, Remove: true})
	w.mustDo(EndSession{ID: SessionID{1}, Device: capability.Digest{1}})
	w.mustDo(to(floating, Offline))
	m = newMachine(3)
	r = w.mustDo(m.request(4, want(floating, 1))).Response
	if len(r.Items) != 1 {
		t.Fatalf("an appliance gets no floating copy: %+v", r.Lines)
	}
	w.refused(to(floating, Online), capability.ErrUsers, "1 copy on "+m.id.Host.Short(), w.now.String()[:10])
	m.apply(r)
	m.giveBack(floating, 1)
	w.mustDo(m.request(5))
	w.mustDo(to(floating, Online))
}

func TestGroups(t *testing.T) {
	w := newWorld(t, anyTier())
	one, two := w.entitleKind(1, 1, NodeLocked, ByKind), w.entitleKind(2, 1, Floating, Online)
	w.mustDo(AddUser{ID: person("ana")})
	w.mustDo(SetGroup{Group: "Research", ActivationID: two})
	w.mustDo(SetGroup{Group: "Assembly", ActivationID: two})
	w.mustDo(SetGroup{Group: "Research", ActivationID: one})
	w.mustDo(SetGroup{Group: "Research", User: person("ANA")})
	for _, bad := range []SetGroup{
		{Group: "Research", ActivationID: one}, {Group: "Assembly", ActivationID: one, Remove: true}, {ActivationID: one}, {Group: "Research"},
		{Group: "Research", ActivationID: testID(t, 9)}, {Group: "Research", User: person("bob")}, {Group: "a\nb", ActivationID: one},
	} {
		if _, err := w.do(bad); err == nil {
			t.Errorf("%+v is done", bad)
		}
	}
	g := w.book.Groups()
	if len(g) != 2 || g[0].Name != "Assembly" || len(g[1].Items) != 2 || g[1].Items[0] != one || g[1].Users[0] != person("ana") {
		t.Errorf("groups %+v", g)
	}
	w.mustDo(SetGroup{Group: "Assembly", ActivationID: two, Remove: true})
	w.mustDo(SetGroup{Group: "Research", ActivationID: two, Remove: true})
	if g = w.book.Groups(); len(g) != 1 {
		t.Errorf("groups %+v", g)
	}
	for n := range MaxGroups {
		w.mustDo(SetGroup{Group: string(rune('a' + n)), ActivationID: two})
	}
	if _, err := w.do(SetGroup{Group: "zz", ActivationID: two}); err == nil {
		t.Error("more groups than there may be")
	}
}

// TestSeatFacts gives Apply entries that Decide does not write.
func TestSeatFacts(t *testing.T) {
	w := newWorld(t, anyTier())
	online, offline := w.entitleKind(1, 1, FixedUser, ByKind), w.entitleKind(2, 1, FixedUser, Offline)
	pool := w.entitleKind(3, 1, Floating, Online)
	ana, bob := person("ana"), person("bob")
	w.mustDo(AssignSeat{ActivationID: online, User: ana})
	w.mustDo(AddUser{ID: bob})
	w.mustDo(SetPool{ActivationID: pool, User: ana})
	w.mustDo(take(1, pool, ana, 1))
	m := newMachine(1)
	w.mustDo(w.assign(m, offline, ana, 1))
	seat := func(change func(*Seat)) *SeatFact {
		f := &SeatFact{Seat: Seat{ActivationID: online, Number: 2, User: bob, Assigned: w.now}}
		change(&f.Seat)
		return f
	}
	held := w.book.Seats(offline)[0].Seat
	session := func(change func(*Session)) *SessionFact {
		s := Session{ID: SessionID{2}, ActivationID: pool, User: ana, Device: capability.Digest{2}, Taken: w.now, Used: w.now, Through: w.now + 100}
		change(&s)
		return &SessionFact{ActivationID: s.ActivationID, Put: []Session{s}}
	}
	was := *w.book.byID[pool].sessions[0]
	for name, e := range map[string]Entry{
		"a seat beyond the copies":       {Seat: seat(func(*Seat) {})},
		"a seat of another kind":         {Seat: seat(func(s *Seat) { s.ActivationID = pool })},
		"a seat of nobody":               {Seat: seat(func(s *Seat) { s.User = person("eve") })},
		"a seat on a machine by word":    {Seat: seat(func(s *Seat) { s.ActivationID, s.Host = offline, m.id.Host })},
		"an offline seat freed by word":  {Seat: &SeatFact{Seat: held, Free: true}},
		"a seat that nobody has, freed":  {Seat: &SeatFact{Seat: Seat{ActivationID: online, Number: 7, User: ana}, Free: true}},
		"another's seat, freed":          {Seat: &SeatFact{Seat: Seat{ActivationID: online, Number: 1, User: bob}, Free: true}},
		"an offline seat becomes bob's":  {Seat: &SeatFact{Seat: func() Seat { s := held; s.User = bob; return s }()}},
		"a user with a past":             {User: &UserFact{User: User{ID: person("new"), Made: w.now, Claimed: w.now}}},
		"a code without an end":          {User: &UserFact{User: User{ID: person("new"), Made: w.now, Code: capability.Digest{1}}}},
		"a code used that was not there": {User: &UserFact{User: User{ID: bob, Made: w.now, Claimed: w.now}}},
		"a user with a seat is removed":  {User: &UserFact{User: User{ID: ana, Made: w.now}, Remove: true}},
		"nobody is removed":              {User: &UserFact{User: User{ID: person("eve"), Made: w.now}, Remove: true}},
		"a user changes case":            {User: &UserFact{User: User{ID: person("ANA"), Made: w.now}}},
		"a pool of an offline item":      {Pool: &PoolFact{ActivationID: offline, User: bob}},
		"a member twice":                 {Pool: &PoolFact{ActivationID: pool, User: ana}},
		"a member who is none":           {Pool: &PoolFact{ActivationID: pool, User: bob, Remove: true}},
		"everybody, and one":             {Pool: &PoolFact{ActivationID: pool, User: bob, Everybody: true}},
		"everybody out of a closed pool": {Pool: &PoolFact{ActivationID: pool, Everybody: true, Remove: true}},
		"one session too many":           {Session: session(func(*Session) {})},
		"a session with a past":          {Session: session(func(s *Session) { s.ID, s.Taken = SessionID{3}, w.now-1 })},
		"a session of nobody":            {Session: session(func(s *Session) { s.User = person("eve") })},
		"a session of an offline item":   {Session: session(func(s *Session) { s.ActivationID = offline })},
		"a session that is over":         {Session: session(func(s *Session) { s.Through = w.now - 1 })},
		"a session of another device":    {Session: session(func(s *Session) { *s = was; s.Device = capability.Digest{9} })},
		"a session ends that is none":    {Session: &SessionFact{ActivationID: pool, Ended: []SessionID{{9}}}},
		"nothing about sessions":         {Session: &SessionFact{ActivationID: pool}},
		"converted with a user":          {Convert: &Converted{ActivationID: online, To: Offline}},
		"converted with a machine":       {Convert: &Converted{ActivationID: offline, To: Online}},
		"converted to where it is":       {Convert: &Converted{ActivationID: online, To: Online}},
		"a group of nothing":             {Group: &Grouped{Group: "x"}},
		"a group of two things":          {Group: &Grouped{Group: "x", ActivationID: pool, User: ana}},
	} {
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		e.Before, e.Time = b.head, w.now
		if err := b.Apply(&e); err == nil {
			t.Errorf("%s is applied", name)
		}
		if b.Digest() != w.book.Digest() {
			t.Errorf("%s changed the book", name)
		}
	}
}

// TestSeatChecks damages a book, and Check finds it.
func TestSeatChecks(t *testing.T) {
	for name, damage := range map[string]func(b *Book, on, off, pool *item, h *Host){
		"a seat without its copy":     func(b *Book, on, off, pool *item, h *Host) { h.Holds, off.used = nil, 0 },
		"a copy without its seat":     func(b *Book, on, off, pool *item, h *Host) { off.seats = nil },
		"a seat of nobody":            func(b *Book, on, off, pool *item, h *Host) { on.seats[0].User.Name = "eve" },
		"a seat out of order":         func(b *Book, on, off, pool *item, h *Host) { on.seats[0].Number = 0 },
		"an online seat on a machine": func(b *Book, on, off, pool *item, h *Host) { on.seats[0].Host = h.Host },
		"an offline seat on none":     func(b *Book, on, off, pool *item, h *Host) { off.seats[0].Host = hostid.ID{} },
		"a member of nobody":          func(b *Book, on, off, pool *item, h *Host) { pool.pool[0].Name = "eve" },
		"a session of nobody":         func(b *Book, on, off, pool *item, h *Host) { pool.sessions[0].User.Name = "eve" },
		"a session of another item":   func(b *Book, on, off, pool *item, h *Host) { pool.sessions[0].ActivationID = on.ActivationID },
		"a user without a record":     func(b *Book, on, off, pool *item, h *Host) { b.users = nil },
		"taken over and renewed":      func(b *Book, on, off, pool *item, h *Host) { pool.sessions[0].Over = true },
	} {
		w := newWorld(t, anyTier())
		on, off, pool := w.entitleKind(1, 1, FixedUser, ByKind), w.entitleKind(2, 1, FixedUser, Offline), w.entitleKind(3, 1, Floating, Online)
		w.mustDo(AssignSeat{ActivationID: on, User: person("ana")})
		w.mustDo(w.assign(newMachine(1), off, person("ana"), 1))
		w.mustDo(SetPool{ActivationID: pool, User: person("ana")})
		w.mustDo(take(1, pool, person("ana"), 1))
		b := w.book
		damage(b, b.byID[on], b.byID[off], b.byID[pool], b.hosts[0])
		if b.Check() == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

// TestSeatWithdrawn asks a seat back from machines that never applied it, and that use it: it is free when a request proves that it is in use no more.
func TestSeatWithdrawn(t *testing.T) {
	for name, applied := range map[string]bool{"never applied": false, "in use": true} {
		w := newWorld(t, anyTier())
		id := w.entitleKind(1, 1, FixedUser, Offline)
		m := newMachine(1)
		m.apply(w.mustDo(m.request(1)).Response)
		if r := w.mustDo(w.assign(m, id, person("ana"), 2)).Response; applied {
			m.apply(r)
		}
		w.mustDo(WithdrawSeat{ActivationID: id, User: person("ana"), By: "admin"})
		if r := ask(w, m, 3, true); len(r.Items) != 0 || !r.ReturnAsked {
			t.Errorf("%s: the next response has %+v", name, r.Items)
		}
		w.seats(id, "ana being withdrawn")
		w.refused(Convert{ActivationID: id, To: Online}, capability.ErrUsers)
		m.epoch++
		ask(w, m, 4, true)
		w.seats(id)
		w.mustDo(Convert{ActivationID: id, To: Online})
	}
}

// TestSeatOrdered moves a seat from one computer to another: on the second only when it is proved to be gone from the first, and for the same user.
func TestSeatOrdered(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, Offline)
	one, two, three := newMachine(1), newMachine(2), newMachine(3)
	one.apply(w.mustDo(w.assign(one, id, person("ana"), 1)).Response)
	three.apply(w.mustDo(w.assign(three, id, person("bob"), 2)).Response)
	w.refused(PlanRehost{From: one.id.Host, To: three.id.Host, ActivationID: id}, capability.ErrSeatElsewhere, "seat 2")
	w.mustDo(PlanRehost{From: one.id.Host, To: two.id.Host, ActivationID: id})
	w.refused(w.assign(two, id, person("cai"), 3), capability.ErrNoMapping, "order 1")
	w.refused(PlanRehost{From: three.id.Host, To: two.id.Host, ActivationID: id}, capability.ErrSeatElsewhere, "order 1")
	if r := ask(w, two, 4, true); len(r.Items) != 0 {
		t.Errorf("the second computer has %+v before the first gave it back", r.Items)
	}
	ask(w, one, 5, true)
	one.epoch++
	ask(w, one, 6, true)
	w.seats(id, "ana moving", "bob issued")
	w.refused(WithdrawSeat{ActivationID: id, User: person("ana")}, capability.ErrNoMapping, "order 1")
	if r := ask(w, two, 7, true); len(r.Items) != 1 || r.Items[0].User != "ana" {
		t.Errorf("the second computer has %+v", r.Items)
	}
	w.seats(id, "ana issued", "bob issued")
	ask(w, two, 8, true)
	w.seats(id, "ana bound confirmed", "bob issued")
	if s := w.book.Seats(id)[0]; s.Host != two.id.Host || s.Number != 1 {
		t.Errorf("the seat is %+v", s)
	}
	// A write-off frees a seat too.
	w.mustDo(WriteOff{Host: two.id.Host, ActivationID: id, Reason: "stolen", Approved: "a second person", By: "admin"})
	w.seats(id, "bob issued")
}

func TestConvertIsTheProducersWord(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 1, FixedUser, ByKind)
	w.mustDo(SetAccount{Account: Account{Name: "Group", KeepsOnline: true}})
	w.mustDo(SetAccount{Account: Account{Name: acme, Parent: "Group"}})
	w.refused(Convert{ActivationID: id, To: Offline}, capability.ErrConvert, acme)
	w.mustDo(SetAccount{Account: Account{Name: "Group"}})
	w.mustDo(Convert{ActivationID: id, To: Offline})
}

// TestSeatsOfParts: users of an account below have seats of the one above, not the other way round.
func TestSeatsOfParts(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 3, FixedUser, ByKind)
	w.mustDo(SetAccount{Account: Account{Name: acme}})
	w.mustDo(SetAccount{Account: Account{Name: "Mill", Parent: acme}})
	w.mustDo(AssignSeat{ActivationID: id, User: UserID{"Mill", "ana"}})
	if u, ok := w.book.FindUser(acme, "Ana"); !ok || u.Account != "Mill" {
		t.Errorf("found %+v", u)
	}
	if u, ok := w.book.FindUser("Mill", "bob"); !ok || u != (UserID{"Mill", "bob"}) {
		t.Errorf("to be made %+v", u)
	}
	below := w.entitle(2, 1, func(i *Item) { i.Customer, i.Model = "Mill", w.model(LicenseModel{Kind: FixedUser}) })
	w.refused(AssignSeat{ActivationID: below, User: person("bob")}, capability.ErrNoUser)
}

// TestCutUnderSeats: a quantity below what is assigned takes nothing away, and nothing more is assigned meanwhile.
func TestCutUnderSeats(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, FixedUser, ByKind)
	w.mustDo(AssignSeat{ActivationID: id, User: person("ana")})
	w.mustDo(AssignSeat{ActivationID: id, User: person("bob")})
	w.refused(ChangeItem{Change: ItemChange{ActivationID: id, Do: Split, To: testID(t, 7), Copies: 1}}, capability.ErrTooFew)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 1}})
	w.mustDo(take(1, id, person("bob"), 1))
	w.mustDo(UnassignSeat{ActivationID: id, User: person("ana")})
	w.refused(AssignSeat{ActivationID: id, User: person("ana")}, capability.ErrTooFew)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Suspend, Reason: "unpaid"}})
	w.refused(renew(1, 1), capability.ErrSuspended)
	w.refused(AssignSeat{ActivationID: id, User: person("ana")}, capability.ErrSuspended)
}
