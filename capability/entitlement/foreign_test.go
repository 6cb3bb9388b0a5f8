package entitlement

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// robbed is a book with a machine that has applied a thief's response: of that serial, with so many copies, and all the thief was told acknowledged.
func robbed(t *testing.T, p Policy, serial uint64, copies uint32) (w *world, id capability.ActivationID, m *machine) {
	w = newWorld(t, p)
	id = w.entitle(1, 10, nil)
	m = newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	w.mustDo(TakeSigner{Signer: certificate(1, 'a')})
	w.thief(m, serial, id, copies)
	return w, id, m
}

// thief makes a response to the machine's newest request, which the machine applies.
func (w *world) thief(m *machine, serial uint64, id capability.ActivationID, copies uint32) {
	m.request(700 + serial)
	m.epoch++
	r := &capability.Response{Serial: serial, Life: m.life, Number: m.number, BookHead: capability.Digest{'x'}}
	for _, t := range m.returns {
		r.Acknowledged = append(r.Acknowledged, t.ID)
	}
	if copies > 0 {
		r.Items = []capability.LineItem{{ActivationID: id, Copies: copies}}
	}
	m.apply(r)
}

// overrule is the request with the word of two persons.
func overrule(a Answer) Answer {
	a.Repair, a.Approved, a.By = "the thief's file", "M. Chen", "clerk"
	return a
}

// forked has a request be refused as one of another history.
func (w *world) forked(a Answer, words string) {
	w.t.Helper()
	if _, err := w.do(a); code(err) != capability.ErrFork || !strings.Contains(err.Error(), words) {
		w.t.Errorf("%v, want %q", err, words)
	}
}

// A machine that applied a thief's response is answered once a signing key is revoked, on the word of two persons, above every serial it names, with what the book says.
func TestOverruleAThief(t *testing.T) {
	for name, row := range map[string]struct {
		serial uint64
		policy Policy
	}{
		"one ahead": {2, anyTier()}, "far ahead": {1 << 40, anyTier()}, "as far as can be": {maxForeign, anyTier()},
		"ahead, where forks are warned of": {9, warning()},
	} {
		t.Run(name, func(t *testing.T) {
			w, id, m := robbed(t, row.policy, row.serial, 9)
			a := m.request(2, want(id, 9))
			w.forked(overrule(a), "only once a signing key was revoked")
			w.forked(a, "the book may be an older copy")
			w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
			w.forked(a, "--repair REASON --approved-by NAME")
			alone := overrule(a)
			alone.Approved = ""
			w.forked(alone, "--approved-by")
			d := w.mustDo(overrule(a))
			if d.Response.Serial != row.serial+1 || copies(d.Response, id) != 9 || d.Answered().Foreign == nil || d.Answered().Foreign.Approved != "M. Chen" || d.Warning != nil || d.Response.Hold != 0 {
				t.Errorf("%+v", d.Response)
			}
			m.apply(d.Response)
			if m.rights[id] != 9 || m.applied != row.serial+1 {
				t.Errorf("%+v", m)
			}
			w.now += 60
			// From then on it is a machine like any other, and the same request has the same answer.
			if again := w.mustDo(overrule(a)); again.Known == nil || again.Known.Claimed != row.serial {
				t.Errorf("%+v", again)
			}
			ask(w, m, 5, false)
			if r := ask(w, m, 3, false); r.Serial != row.serial+3 || len(r.Denials) > 0 {
				t.Errorf("%+v", r)
			}
			w.sums(id, 9, 0, 1)
			if h, _ := w.book.Host(m.id.Host); !h.Proven || h.Past != nil {
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestThiefsRightsAreLeftOut(t *testing.T) {
	w, id, m := robbed(t, anyTier(), 7, 10)
	w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
	d := w.mustDo(overrule(m.request(2)))
	if m.apply(d.Response); copies(d.Response, id) != 4 || m.rights[id] != 4 {
		t.Errorf("%+v", d.Response.Items)
	}
}

// A serial above which nothing is left, another storage, another key, an epoch that went back: all are refused as ever.
func TestNotEveryThiefIsOverruled(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*machine)
		code   capability.Code
		words  string
	}{
		"no serial is left":          {func(m *machine) { m.applied = maxForeign + 1 }, capability.ErrFork, "no serial is left"},
		"a storage of another life":  {func(m *machine) { m.life[3]++ }, capability.ErrFork, "new to this book"},
		"another key":                {func(m *machine) { m.id.AKName = newMachine(9).id.AKName }, capability.ErrHostKey, ""},
		"an epoch of before":         {func(m *machine) { m.epoch = 2 }, capability.ErrRollbackSuspect, ""},
		"a request of before":        {func(m *machine) { m.number, m.outstanding = 0, nil }, capability.ErrFork, ""},
		"two digests of one request": {func(m *machine) { m.outstanding = []Known{{Number: 1, Digest: capability.Digest{9}}, {Number: 2}} }, capability.ErrFork, "number 1 is on record"},
	} {
		w, _, m := robbed(t, anyTier(), 7, 10)
		w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
		row.change(m)
		_, err := w.do(overrule(m.request(2)))
		if code(err) != row.code || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v", name, err)
		}
		if h, _ := w.book.Host(m.id.Host); h.Serial != 1 {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// A thief's response that took the serial of one of ours shows by the head that it names.
func TestOverruleTheSameSerial(t *testing.T) {
	for _, p := range []Policy{anyTier(), warning()} {
		w := newWorld(t, p)
		id := w.entitle(1, 10, nil)
		m := newMachine(1)
		m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
		w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
		w.mustDo(m.request(2)) // response 2 is lost
		w.thief(m, 2, id, 10)
		d := w.mustDo(overrule(m.request(3)))
		if d.Response.Serial != 3 || copies(d.Response, id) != 4 || d.Warning != nil || d.Answered().Request.Claimed != 2 {
			t.Errorf("%+v, warned %v", d.Response, d.Warning)
		}
		m.apply(d.Response)
		ask(w, m, 4, false)
	}
}

// A machine that the book has never met may come with a thief's response too.
func TestOverruleOfAStranger(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
	m := newMachine(1)
	w.thief(m, 5, id, 10)
	if _, err := w.do(m.request(2)); code(err) != capability.ErrFork {
		t.Errorf("%v", err)
	}
	d := w.mustDo(overrule(m.request(3, want(id, 2))))
	if m.apply(d.Response); d.Response.Serial != 6 || m.rights[id] != 2 {
		t.Errorf("%+v", d.Response)
	}
	w.sums(id, 2, 0, 8)
}

// What was left out before may have come back with the thief's response: it is left out anew, and proved anew.
func TestThiefGivesBackWhatWasLeftOut(t *testing.T) {
	w, id, m := robbed(t, anyTier(), 2, 4)
	w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
	m.apply(w.mustDo(overrule(m.request(2))).Response)
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 1})
	ask(w, m, 3, false) // leaves three out
	m.epoch++
	ask(w, m, 4, false) // is the first to name that response: what was lent of them may run
	w.thief(m, 50, id, 4)
	w.now = w.now.Add(90 * day)
	d := w.mustDo(overrule(m.request(5)))
	if len(d.Answered().Gone) > 0 || copies(d.Response, id) != 1 || !d.Response.ReturnAsked {
		t.Errorf("%+v, gone %+v", d.Response, d.Answered().Gone)
	}
	w.sums(id, 4, 0, 6)
	m.apply(d.Response)
	ask(w, m, 6, false)
	w.sums(id, 4, 0, 6)
	m.epoch++
	ask(w, m, 7, true)
	w.sums(id, 1, 0, 9)
}

// So it is where a request that contradicts the record is answered with a warning: the machine may have had them again from a response of somebody else's, and lent them.
func TestDisputedRequestLeavesOutAnew(t *testing.T) {
	w := newWorld(t, warning())
	id, m := w.entitle(1, 10, nil), newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 1})
	ask(w, m, 2, false) // leaves three out
	m.epoch++
	ask(w, m, 3, false)                     // is the first to name that response
	ours := w.mustDo(m.request(4)).Response // never reaches it
	w.thief(m, ours.Serial, id, 4)
	w.now = w.now.Add(90 * day)
	d := w.mustDo(m.request(5))
	if d.Warning == nil || len(d.Answered().Gone) > 0 || copies(d.Response, id) != 1 {
		t.Errorf("%v, %+v, gone %+v", d.Warning, d.Response, d.Answered().Gone)
	}
	m.apply(d.Response)
	m.epoch++
	ask(w, m, 6, false)
	w.sums(id, 4, 0, 6) // what was lent of them may run
	m.epoch++
	ask(w, m, 7, true)
	w.sums(id, 1, 0, 9)
}

// What a machine gave back of the thief's rights is no copy of ours. It is told so for good, and has ours.
func TestReturnOfAThiefsRights(t *testing.T) {
	w, id, m := robbed(t, anyTier(), 7, 10)
	w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
	m.giveBack(id, 3)
	r := m.returns[0]
	d := w.mustDo(overrule(m.request(2)))
	if len(d.Credited) > 0 || len(d.Response.ReturnsRefused()) != 1 || d.Response.Denials[0].Code != capability.ErrReturnProof {
		t.Errorf("%+v", d.Response)
	}
	if m.apply(d.Response); m.rights[id] != 4 || len(m.returns) > 0 {
		t.Errorf("%+v", m)
	}
	// Nor does it count later, when its serial is below ours.
	m.returns = append(m.returns, r)
	m.rights[id]--
	d = w.mustDo(m.request(3))
	if len(d.Credited) > 0 || len(d.Response.ReturnsRefused()) != 1 || copies(d.Response, id) != 4 {
		t.Errorf("%+v", d.Response)
	}
	w.sums(id, 4, 0, 6)
}

// A seat that an answer of ours brings is bound by that, and by no serial of a thief.
func TestThiefBindsNoSeat(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitleKind(1, 3, FixedUser, Offline)
	w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
	m := newMachine(1)
	w.mustDo(w.assign(m, id, UserID{Account: "ACME Works", Name: "ada"}, 1)) // is never imported
	w.thief(m, 9, id, 1)
	m.apply(w.mustDo(overrule(m.request(2))).Response)
	if s := w.book.Seats(id); len(s) != 1 || s[0].State != SeatIssued {
		t.Errorf("%+v", s)
	}
	ask(w, m, 3, false)
	if s := w.book.Seats(id); s[0].State != SeatConfirmed {
		t.Errorf("%+v", s)
	}
}

// Apply takes nothing that Decide would not have written.
func TestForgedForeign(t *testing.T) {
	for name, row := range map[string]struct {
		by     string
		change func(*Answered)
		words  string
	}{
		"as decided":             {"clerk", func(*Answered) {}, ""},
		"nobody approved":        {"clerk", func(a *Answered) { a.Foreign.Approved = "" }, "nobody else approved"},
		"one person did both":    {"M. Chen", func(*Answered) {}, "nobody else approved"},
		"without a reason":       {"clerk", func(a *Answered) { a.Foreign.Reason = "" }, "without a reason"},
		"only the serial":        {"clerk", func(a *Answered) { a.Foreign = nil }, "nobody made"},
		"another serial":         {"clerk", func(a *Answered) { a.Foreign.Applied++ }, "nobody made"},
		"a gap above":            {"clerk", func(a *Answered) { a.Request.Serial++ }, "follows response"},
		"the next one":           {"clerk", func(a *Answered) { a.Request.Serial = 2 }, "follows response"},
		"under a warning":        {"clerk", func(a *Answered) { a.Request.Fork = true }, "the policy refuses it"},
		"with another life":      {"clerk", func(a *Answered) { a.Repair = &Repaired{Reason: "x"} }, "no other life"},
		"beyond what is allowed": {"clerk", func(a *Answered) { a.Foreign.Applied, a.Request.Claimed, a.Request.Serial = 1<<63, 1<<63, 1<<63+1 }, "nobody made"},
	} {
		w, _, m := robbed(t, anyTier(), 7, 10)
		w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
		d, err := w.book.Decide(w.now, overrule(m.request(2)))
		if err != nil {
			t.Fatal(err)
		}
		e := d.Entries[0]
		e.By = row.by
		row.change(e.Answer)
		if err := w.book.Apply(e); (err == nil) != (row.words == "") || err != nil && !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w, _, m := robbed(t, anyTier(), 7, 10)
	e := w.book.entry(w.now, "clerk")
	e.Answer = &Answered{Identity: m.id, Epoch: m.epoch, Life: m.life, Foreign: &Foreign{7, "x", "y"}, Request: Known{Number: 9, Serial: 8, Claimed: 7, Digest: capability.Digest{9}}}
	if err := w.book.Apply(e); err == nil || !strings.Contains(err.Error(), "no signing key is revoked") {
		t.Errorf("%v", err)
	}
}

// Nothing is re-hosted to a machine that is ahead of the book: first it is answered.
func TestNoRehostToARobbedMachine(t *testing.T) {
	w, id, m := robbed(t, anyTier(), 7, 10)
	w.mustDo(TakeSigner{Signer: certificate(2, 'b', 'a')})
	from := newMachine(2)
	ask(w, from, 1, false, want(id, 2))
	w.forked(w.rehostOf(from, m, 2), "without --rehost first")
	m.apply(w.mustDo(overrule(m.request(3))).Response)
	w.mustDo(w.rehostOf(from, m, 4))
	w.sums(id, 6, 0, 4)
}
