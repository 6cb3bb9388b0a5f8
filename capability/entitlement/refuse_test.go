package entitlement

import (
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

const reason = "the invoice of October is open"

// refused is a request as an operator refuses it.
func refused(a Answer) Answer {
	a.Refused, a.By = reason, "operator"
	return a
}

// perhapsRefused is an answer, refused in one of twelve cases.
func (s *simulation) perhapsRefused(a Answer) Answer {
	if s.rng.IntN(12) == 0 {
		return refused(a)
	}
	return a
}

// turnedDown: a refusal gives nothing, and what a machine has goes only as far as it came back.
func (s *simulation) turnedDown(d *Decision) {
	if d.Answered().Request.Refused == "" {
		return
	}
	s.seen.TurnedDown++
	before, _ := s.w.hostBefore(d.Host.Host)
	for _, f := range d.Host.Holds {
		if f.Copies > before.held(f.ActivationID) {
			s.w.fatalf("refused, and %s has %d of %s where it had %d", d.Host.Host.Short(), f.Copies, f.ActivationID, before.held(f.ActivationID))
		}
	}
	if d.Response.Status != capability.StatusDenied || !slices.ContainsFunc(d.Response.Denials, func(d capability.Denial) bool { return d.Code == capability.ErrRefused && d.Detail == reason }) {
		s.w.fatalf("refused, and told %s with %+v", d.Response.Status, d.Response.Denials)
	}
}

// A refusal leaves the machine what it has, says why, and is on record with who said it. The same request again is refused with the same response, and the next one is answered.
func TestRequestRefused(t *testing.T) {
	w := newWorld(t, anyTier())
	id, other := w.entitle(1, 10, nil), w.entitle(2, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 6))).Response)
	a := m.request(2, want(id, 8), want(other, 3))
	d := w.mustDo(refused(a))
	r := d.Response
	if r.Status != capability.StatusDenied || r.Serial != 2 || len(r.Items) != 1 || r.Items[0].Copies != 6 || len(r.Denials) != 1 || r.Denials[0].Code != capability.ErrRefused || r.Denials[0].Detail != reason {
		t.Fatalf("%s %d: %+v, %+v", r.Status, r.Serial, r.Items, r.Denials)
	}
	for n, count := range []uint32{6, 0} {
		if l := r.Lines[n]; l.Status != capability.LineInsufficient || l.Count != count || l.Denial.Code != capability.ErrRefused || l.Denial.Asked != a.Request.Desired[n].Count {
			t.Errorf("line %d: %+v", n, l)
		}
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	if e := d.Entries[0]; e.By != "operator" || e.Answer.Request.Refused != reason {
		t.Errorf("on record: %q, %q", e.By, e.Answer.Request.Refused)
	}
	for _, again := range []Answer{a, refused(a)} {
		if d := w.mustDo(again); d.Known == nil || d.Known.Serial != 2 || d.Known.Refused != reason || len(d.Entries) != 0 {
			t.Errorf("again: %+v", d.Known)
		}
	}
	b, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if h, _ := b.Host(m.id.Host); h.Requests[1].Refused != reason || b.Digest() != w.book.Digest() {
		t.Errorf("in a snapshot: %+v", h.Requests)
	}
	m.apply(r)
	d = w.mustDo(m.request(3, want(id, 8)))
	m.apply(d.Response)
	if m.rights[id] != 8 || d.Response.Status != capability.StatusOK {
		t.Errorf("the next request: %+v", d.Response)
	}
	// What was answered stays answered.
	w.refused(refused(Answer{Request: a.Request, Digest: w.book.hosts[0].Requests[2].Digest, Identity: m.id}), capability.ErrForm, "stays answered")
}

// What a refused request gives back is credited, and what the producer reserved for the machine waits for its next response.
func TestRefusedRequestReturns(t *testing.T) {
	w := newWorld(t, anyTier())
	id, mapped := w.entitle(1, 10, nil), w.entitle(2, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 6))).Response)
	m.apply(w.mustDo(m.request(2)).Response)
	w.mustDo(Map{Device: m.id.Host, ActivationID: mapped, Copies: 4})
	m.giveBack(id, 2)
	d := w.mustDo(refused(m.request(3, want(id, 9))))
	m.apply(d.Response)
	if len(d.Credited) != 1 || m.rights[id] != 4 || m.rights[mapped] != 0 || len(m.returns) != 0 {
		t.Errorf("credited %d, has %v, %d returns wait", len(d.Credited), m.rights, len(m.returns))
	}
	if v, _ := w.book.Item(mapped, w.now); v.Reserved != 4 || v.Used != 0 {
		t.Errorf("reserved %d, used %d", v.Reserved, v.Used)
	}
	m.apply(w.mustDo(m.request(4)).Response)
	if m.rights[id] != 4 || m.rights[mapped] != 4 {
		t.Errorf("with the next: %v", m.rights)
	}
}

// A machine that nobody knows yet is told why it gets nothing, and belongs to nobody by that.
func TestFirstRequestRefused(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	d := w.mustDo(refused(m.request(1, want(id, 6))))
	if m.apply(d.Response); len(d.Response.Items) != 0 || w.book.OwnerOf(m.id.Host) != "" || m.applied != 1 {
		t.Errorf("%+v, owner %q", d.Response, w.book.OwnerOf(m.id.Host))
	}
	if m.apply(w.mustDo(m.request(2, want(id, 6))).Response); m.rights[id] != 6 {
		t.Errorf("then: %v", m.rights)
	}
}

// A refusal needs a reason that can be read, and does nothing else; without a person who says it there is none.
func TestRefusalIsOnlyThat(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 1))).Response)
	a := m.request(2, want(id, 2))
	for name, spoil := range map[string]func(*Answer){
		"blank":          func(a *Answer) { a.Refused = "  " },
		"too long":       func(a *Answer) { a.Refused = strings.Repeat("r", capability.MaxText+1) },
		"not a text":     func(a *Answer) { a.Refused = "no\x1b[2J" },
		"with a repair":  func(a *Answer) { a.Repair = "lost" },
		"with a re-host": func(a *Answer) { a.Repair, a.Rehost = "lost", newMachine(2).id.Host },
		"approved":       func(a *Answer) { a.Approved = "chief" },
		"with a seat":    func(a *Answer) { a.Seat = &SeatOrder{ActivationID: id, User: ada()} },
	} {
		c := refused(a)
		if spoil(&c); true {
			if d, err := w.do(c); err == nil || d != nil {
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
	}
	// The longest that is allowed fits.
	c := refused(a)
	c.Refused = strings.Repeat("r", capability.MaxText)
	if d := w.mustDo(c); d.Response.Validate() != nil || d.Response.Denials[0].Detail != c.Refused {
		t.Errorf("%+v", d.Response)
	}
}

// Apply finds wrong what Decide refuses: an entry that refuses and gives, or refuses what it does not answer.
func TestRefusalThatGives(t *testing.T) {
	for name, c := range map[string]struct {
		first uint32 // copies it has before
		spoil func(*Entry)
	}{
		"gives":            {1, func(e *Entry) { e.Answer.Request.Refused = reason }},
		"has no reason":    {1, func(e *Entry) { e.Answer.Request.Refused, e.Answer.Holds = " ", nil }},
		"is only named":    {1, func(e *Entry) { e.Answer.Named[0].Refused = reason }},
		"gives an account": {0, func(e *Entry) { e.Answer.Request.Refused, e.Answer.Holds = reason, nil }},
	} {
		w := newWorld(t, anyTier())
		id := w.entitle(1, 10, nil)
		m := newMachine(1)
		if c.first > 0 {
			m.apply(w.mustDo(m.request(1, want(id, c.first))).Response)
		}
		m.request(2)
		d, err := w.book.Decide(w.now, m.request(3, want(id, 2)))
		if err != nil {
			t.Fatal(err)
		}
		if c.spoil(d.Entries[0]); w.book.Apply(d.Entries[0]) == nil {
			t.Errorf("an entry that refuses and %s is taken in", name)
		}
	}
}
