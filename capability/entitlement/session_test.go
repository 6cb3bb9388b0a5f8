package entitlement

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// take is a session of a device, both by a number.
func take(session byte, id capability.ActivationID, user UserID, device byte) TakeSession {
	return TakeSession{ID: SessionID{session}, ActivationID: id, User: user, Device: capability.Digest{device}}
}

func (w *world) granted(c Command) *Granted {
	w.t.Helper()
	d := w.mustDo(c)
	if d.Session == nil {
		w.fatalf("%T tells nothing", c)
	}
	return d.Session
}

func renew(session, device byte) RenewSession {
	return RenewSession{ID: SessionID{session}, Device: capability.Digest{device}}
}

func TestFixedUserSessions(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 3, FixedUser, ByKind)
	ana, bob := person("ana"), person("bob")
	w.refused(take(1, testID(t, 9), ana, 1), capability.ErrUnknownID)
	w.refused(take(1, id, ana, 1), capability.ErrUnassigned, "administrator of "+acme)
	w.mustDo(AddUser{ID: ana})
	w.refused(take(1, id, ana, 1), capability.ErrUnassigned, "no seat", "assigned yet", "administrator of "+acme)
	w.mustDo(AssignSeat{ActivationID: id, User: ana})
	w.mustDo(AssignSeat{ActivationID: id, User: ana})
	w.mustDo(AddUser{ID: bob})
	w.refused(take(1, id, bob, 1), capability.ErrUnassigned, "2 of 3 seats")
	w.mustDo(take(1, id, person("Ana"), 1))
	w.mustDo(take(2, id, ana, 2))
	w.refused(take(3, id, ana, 3), capability.ErrSessionElsewhere, "proof of who you are") // two seats, so not on a third machine
	w.refused(take(1, id, ana, 3), 0)                                                      // a name that was used
	w.mustDo(AssignSeat{ActivationID: id, User: bob})
	w.mustDo(take(4, id, bob, 1)) // the same machine, another person
	w.refused(UnassignSeat{ActivationID: id, User: ana}, capability.ErrInUse)
	w.mustDo(EndSession{ID: SessionID{2}, Device: capability.Digest{2}})
	w.mustDo(UnassignSeat{ActivationID: id, User: ana})
	w.refused(take(5, id, ana, 3), capability.ErrSessionElsewhere)
	for _, s := range w.book.Sessions(id, w.now) {
		if s.Machine != "" {
			t.Errorf("the name of a machine is kept: %q", s.Machine)
		}
	}
}

func TestFloatingSessions(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, Floating, Online)
	ana := person("ana")
	w.mustDo(AddUser{ID: ana})
	w.refused(take(1, id, ana, 1), capability.ErrUnassigned, "not in the pool")
	w.mustDo(SetPool{ActivationID: id, Everybody: true})
	on := func(c TakeSession, machine string) TakeSession { c.Machine = machine; return c }
	w.mustDo(on(take(1, id, ana, 1), "WS-114"))
	w.mustDo(on(take(2, id, ana, 2), "WS-115")) // one person on two machines takes two seats
	w.mustDo(AddUser{ID: person("bob")})
	d, err := w.do(on(take(3, id, person("bob"), 3), "WS-116"))
	if code(err) != capability.ErrNoSeat || d != nil {
		t.Errorf("a third machine of two: %v", err)
	}
	w.refused(on(take(3, id, ana, 3), "WS-116"), capability.ErrSessionElsewhere, "WS-114")
	w.mustDo(EndSession{ID: SessionID{1}, Device: capability.Digest{1}})
	w.mustDo(on(take(3, id, person("bob"), 3), "WS-116"))
	w.refused(SetPool{ActivationID: w.entitleKind(2, 1, FixedUser, ByKind), User: ana}, capability.ErrMode)
	if _, err := w.do(SetPool{ActivationID: id, Everybody: true}); err == nil {
		t.Error("a pool is opened twice")
	}
	w.mustDo(AddUser{ID: UserID{"Another", "eve"}})
	w.refused(take(9, id, UserID{"Another", "eve"}, 9), capability.ErrUnassigned)
	// Who is taken out is not renewed.
	w.mustDo(SetPool{ActivationID: id, Everybody: true, Remove: true})
	w.refused(renew(3, 3), capability.ErrUnassigned)
}

// TestRenewal: a renewal costs an entry only where the promise has to move, and no device is ever told more than is promised.
func TestRenewal(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 1, FixedUser, ByKind)
	w.mustDo(AssignSeat{ActivationID: id, User: person("ana")})
	w.mustDo(take(1, id, person("ana"), 1))
	lease := w.book.policy.Lease
	entries, renewals := 0, 0
	for range 200 {
		w.now = w.now.Add(lease / 2)
		d := w.mustDo(renew(1, 1))
		entries, renewals = entries+len(d.Entries), renewals+1
		promised := w.book.byID[id].sessions[0].Through
		if d.Session.Runs > promised || d.Session.Until != w.now.Add(lease) {
			t.Fatalf("a device may run until %s, and the book promises until %s", d.Session.Runs, promised)
		}
	}
	if want := renewals / (2 * sessionSlack); entries > want+1 || entries < want/2 {
		t.Errorf("%d renewals made %d entries", renewals, entries)
	}
	w.refused(renew(1, 2), capability.ErrSessionEnded) // another device
	w.refused(renew(2, 1), capability.ErrSessionEnded)
	w.now = w.book.byID[id].sessions[0].Through
	w.refused(renew(1, 1), capability.ErrSessionEnded)
	w.mustDo(take(2, id, person("ana"), 2)) // what is over is in nobody's way
	if n := len(w.book.byID[id].sessions); n != 1 {
		t.Errorf("%d sessions are kept", n)
	}
	yes := true
	w.mustDo(ChangeUser{ID: person("ana"), Disabled: &yes})
	w.refused(renew(2, 2), capability.ErrNoUser, "disabled")
}

// TestTolerance: a product whose link breaks runs as long as the model tolerates, and not longer; its seat is nobody else's until then.
func TestTolerance(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 1, func(i *Item) { i.Model = w.model(LicenseModel{Kind: FixedUser, Tolerance: 24 * 60 * 60}) })
	w.mustDo(AssignSeat{ActivationID: id, User: person("ana")})
	broken := w.now
	g := w.granted(take(1, id, person("ana"), 1))
	for _, c := range []struct {
		minutes int
		runs    bool
	}{{1, true}, {23*60 + 59, true}, {24 * 60, false}, {24*60 + 1, false}} {
		if at := broken.Add(capability.Seconds(c.minutes * 60)); (at < g.Runs) != c.runs {
			t.Errorf("after %d minutes: runs until %s", c.minutes, g.Runs)
		}
	}
	desk := NewDesk()
	desk.Told(g)
	w.now = broken.Add(23*60*60 + 59*60)
	w.refused(desk.Take(w.book, take(2, id, person("ana"), 2), w.now), capability.ErrSessionElsewhere, g.Runs.String())
	w.now = broken.Add(24*60*60 + 60)
	w.mustDo(desk.Take(w.book, take(2, id, person("ana"), 2), w.now))
	short := w.entitle(5, 1, func(i *Item) { i.Mode, i.Expiry = Online, w.now+50 })
	w.mustDo(SetPool{ActivationID: short, Everybody: true})
	if g := w.granted(take(5, short, person("ana"), 5)); g.Until != w.now+50 || g.Runs != w.now+50 || g.Session.Through != w.now+50 {
		t.Errorf("a session of what expires at %s: %+v", w.now+50, g)
	}
}

// TestCrashRecovery: the same device has its session back at once; another one by the user's proof, once at a time.
func TestCrashRecovery(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 1, FixedUser, ByKind)
	ana := person("ana")
	w.mustDo(AssignSeat{ActivationID: id, User: ana})
	w.mustDo(take(1, id, ana, 1))
	w.now += 60
	if g := w.granted(take(2, id, ana, 1)); !g.Attached || g.Session.ID != (SessionID{1}) {
		t.Errorf("the same device has %+v", g)
	}
	over := func(session, device byte) TakeSession {
		c := take(session, id, ana, device)
		c.TakeOver = true
		return c
	}
	w.refused(take(2, id, ana, 2), capability.ErrSessionElsewhere)
	desk := NewDesk()
	desk.Told(w.granted(take(3, id, ana, 1)))
	w.mustDo(desk.Take(w.book, over(2, 2), w.now))
	w.refused(renew(1, 1), capability.ErrSessionEnded, "another machine")
	w.refused(desk.Take(w.book, over(3, 3), w.now), capability.ErrSessionElsewhere, "may still run")
	// The machine that was left hears it, and stops: then the seat can move on.
	w.mustDo(EndSession{ID: SessionID{1}, Device: capability.Digest{1}})
	w.mustDo(desk.Take(w.book, over(3, 3), w.now))
	// Nobody hears of the second one any more; it has stopped when its lease is over.
	w.now = w.now.Add(2 * sessionSlack * w.book.policy.Lease)
	w.mustDo(desk.Take(w.book, over(4, 4), w.now))

	p := anyTier()
	p.WaitTakeover = true
	w.mustDo(SetPolicy{Policy: p})
	w.refused(desk.Take(w.book, over(5, 5), w.now), capability.ErrSessionElsewhere)
}

// TestTakeOverBack: a user goes to another machine and comes back. What ran here and may run on ends with the new session, so it is in nobody's way; a third machine still waits for it.
func TestTakeOverBack(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 1, func(i *Item) { i.Model = w.model(LicenseModel{Kind: FixedUser, Tolerance: 24 * 60 * 60}) })
	w.mustDo(AssignSeat{ActivationID: id, User: person("ana")})
	w.mustDo(take(1, id, person("ana"), 1))
	for session, device := range []byte{2, 1, 2, 1} {
		w.now += 60
		third := take(99, id, person("ana"), 3)
		third.TakeOver = true
		if session > 0 {
			w.refused(third, capability.ErrSessionElsewhere, "may still run")
		}
		c := take(byte(2+session), id, person("ana"), device)
		c.TakeOver = true
		w.mustDo(c)
		if n := len(w.book.byID[id].sessions); n != 2 {
			t.Errorf("after the move to machine %d %d sessions are kept", device, n)
		}
	}
}

func TestDisconnect(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 1, Floating, Online)
	ana, bob := person("ana"), person("bob")
	w.mustDo(SetPool{ActivationID: id, User: ana})
	w.mustDo(SetPool{ActivationID: id, User: bob})
	desk := NewDesk()
	desk.Told(w.granted(take(1, id, ana, 1)))
	w.now += 600
	idle := renew(1, 1)
	idle.Idle = 500
	desk.Told(w.granted(idle))
	if v := desk.Sessions(w.book, id, w.now+60); len(v) != 1 || v[0].Idle != 560 || v[0].Runs != w.now.Add(w.book.policy.Lease) {
		t.Errorf("the idle view says %+v", v)
	}
	if v := NewDesk().Sessions(w.book, id, w.now); v[0].Idle != 600 || v[0].Runs <= w.now.Add(w.book.policy.Lease) {
		t.Errorf("after a crash the idle view says %+v", v) // what was told since is forgotten
	}
	w.refused(Disconnect{ID: SessionID{9}}, capability.ErrSessionEnded)
	w.mustDo(desk.Disconnect(Disconnect{ID: SessionID{1}, By: "carl"}))
	w.refused(desk.Disconnect(Disconnect{ID: SessionID{1}}), capability.ErrSessionEnded)
	w.refused(renew(1, 1), capability.ErrSessionEnded, "by carl")
	ends := w.book.byID[id].sessions[0].Through
	if ends != w.now.Add(w.book.policy.Lease) {
		t.Errorf("it has stopped by %s, told at %s", ends, w.now)
	}
	w.refused(desk.Take(w.book, take(2, id, bob, 2), w.now), capability.ErrNoSeat, ends.String())
	w.now = ends - 1
	w.refused(desk.Take(w.book, take(2, id, bob, 2), w.now), capability.ErrNoSeat)
	w.now = ends
	w.mustDo(desk.Take(w.book, take(2, id, bob, 2), w.now))
	w.mustDo(Disconnect{ID: SessionID{2}})
	if g := w.granted(take(3, id, bob, 2)); g.Attached { // its device asks anew: it has heard
		t.Error("a disconnected session is attached to")
	}
	if d := w.mustDo(EndLapsed{ActivationID: id, IDs: []SessionID{{9}, {2}}}); len(d.Entries) != 0 {
		t.Error("sessions end that are none")
	}
	if d := w.mustDo(EndLapsed{ActivationID: id, IDs: []SessionID{{3}, {3}}}); len(d.Entries) != 1 {
		t.Error("a session that lapsed goes on")
	}
}

func TestAutomatedSeat(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 1, FixedUser, ByKind)
	w.mustDo(AssignSeat{ActivationID: id, User: person("ana")})
	c := take(1, id, person("ana"), 1)
	c.Platform = "docker"
	if g := w.granted(c); g.Warning == "" || !g.Session.Automated {
		t.Errorf("a seat of a person in a container: %+v", g)
	}
	floating := w.entitleKind(2, 1, Floating, Online)
	w.mustDo(SetPool{ActivationID: floating, Everybody: true})
	c = take(2, floating, person("ana"), 2)
	c.Platform = "docker"
	if g := w.granted(c); g.Warning != "" {
		t.Errorf("a floating seat in a container: %q", g.Warning)
	}
}

// TestSessionOf: two users follow each other on one device. The second renews and gives back its own session, whatever the order of the IDs, and the first one's is found by its name alone.
func TestSessionOf(t *testing.T) {
	for _, ids := range [][2]byte{{1, 2}, {2, 1}} {
		w := newWorld(t, anyTier())
		id := w.entitleKind(1, 2, FixedUser, ByKind)
		ana, bob, device := person("ana"), person("bob"), capability.Digest{9}
		w.mustDo(AssignSeat{ActivationID: id, User: ana})
		w.mustDo(AssignSeat{ActivationID: id, User: bob})
		w.mustDo(take(ids[0], id, ana, 9))
		w.now += 60
		w.mustDo(take(ids[1], id, bob, 9))
		for user, want := range map[UserID]byte{{}: ids[1], ana: ids[0], {"ACME Works", "BOB"}: ids[1], person("eve"): 0} {
			if s, there := w.book.SessionOf(id, device, user, w.now); there != (want != 0) || s.ID != (SessionID{want}) {
				t.Errorf("the session of %q is %s, want %x", user, s.ID, want)
			}
		}
		if _, there := w.book.SessionOf(id, capability.Digest{8}, UserID{}, w.now); there {
			t.Error("another device has it")
		}
	}
}

// TestLeftAfterSessions: what a session had is left when its promise is over, also where nobody has asked since.
func TestLeftAfterSessions(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 2, Floating, Online)
	w.mustDo(SetPool{ActivationID: id, Everybody: true})
	w.mustDo(AddUser{ID: person("ana")})
	through := w.granted(take(1, id, person("ana"), 1)).Session.Through
	for at, left := range map[capability.Time]uint32{w.now: 1, through - 1: 1, through: 2} {
		if v, _ := w.book.Item(id, at); v.Left != left || v.Over != 0 {
			t.Errorf("at %s %d are left, %d over", at, v.Left, v.Over)
		}
	}
}
