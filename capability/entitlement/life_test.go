package entitlement

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// lost is a book that answered a machine twice, and the machine after it lost its storage.
func lost(t *testing.T) (w *world, id capability.ActivationID, old, m *machine) {
	w = newWorld(t, anyTier())
	id = w.entitle(1, 10, nil)
	old = newMachine(1)
	old.apply(w.mustDo(old.request(1, want(id, 4))).Response)
	old.apply(w.mustDo(old.request(2, want(id, 6))).Response)
	return w, id, old, old.wiped()
}

func TestRepairGivesBackWhatIsOnRecord(t *testing.T) {
	w, id, old, m := lost(t)
	ask := m.request(3)
	ask.Request.Condition = capability.ErrRollback
	ask.Digest = w.codec.RequestDigest(ask.Request)
	if d, err := w.do(ask); code(err) != capability.ErrRepair || d == nil || !strings.Contains(err.Error(), "LH-4003") {
		t.Fatalf("%v, %+v", err, d)
	}
	repair := ask
	repair.Repair = "the disk died"
	d := w.mustDo(repair)
	if r := d.Response; r.Serial != 3 || r.Life != m.life || len(r.Items) != 1 || r.Items[0].Copies != 6 || r.Status != capability.StatusOK {
		t.Errorf("%+v", r)
	}
	h, _ := w.book.Host(m.id.Host)
	if p := h.Past; len(p) != 1 || p[0].Life != old.life || p[0].Reason != "the disk died" || p[0].Answered != 2 || len(p[0].Requests) != 2 || p[0].Cause != capability.ErrRollback {
		t.Errorf("past lives %+v", p)
	}
	if h.Life != m.life || h.Answered != 1 || h.Serial != 3 || len(h.Incidents) != 1 || h.Incidents[0].Code != capability.ErrRepair {
		t.Errorf("host %+v", h)
	}
	m.apply(d.Response)
	w.mustDo(m.request(4, want(id, 7))) // and goes on as any other

	// What the old storage writes is refused, and kept.
	if _, err := w.do(old.request(5)); code(err) != capability.ErrReplaced || !strings.Contains(err.Error(), "the disk died") {
		t.Errorf("%v", err)
	}
	if h, _ := w.book.Host(m.id.Host); len(h.Incidents) != 2 || h.Incidents[1].Code != capability.ErrReplaced {
		t.Errorf("incidents %+v", h.Incidents)
	}
	// A reason does not help it.
	again := old.request(6)
	again.Repair = "please"
	if _, err := w.do(again); code(err) != capability.ErrReplaced {
		t.Errorf("%v", err)
	}
}

func TestAnswersOfPastLivesStayAnswers(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	old := newMachine(1)
	first := old.request(1, want(id, 4))
	w.mustDo(first)
	m := old.wiped()
	repair := m.request(2)
	repair.Repair = "x"
	w.mustDo(repair)
	for serial, a := range map[uint64]Answer{1: first, 2: repair} {
		if d, err := w.do(a); err != nil || d.Known == nil || d.Known.Serial != serial {
			t.Errorf("response %d: %v %+v", serial, err, d)
		}
	}
	b, err := Restore(w.book.Snapshot())
	if err != nil || b.Digest() != w.book.Digest() {
		t.Fatalf("restored: %v", err)
	}
	if d, err := b.Decide(w.now, first); err != nil || d.Known == nil {
		t.Errorf("after a restore: %v", err)
	}
}

func TestRepairIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Answer, *machine)
		code   capability.Code
	}{
		{"it has applied a response", func(a *Answer, m *machine) { a.Request.Applied = 2 }, capability.ErrFork},
		{"the counter went back", func(a *Answer, m *machine) { a.Request.Epoch = 2 }, capability.ErrRollbackSuspect},
		{"another key", func(a *Answer, m *machine) { a.Identity.AKName = append([]byte{9}, a.Identity.AKName...) }, capability.ErrHostKey},
		{"no reason", func(a *Answer, m *machine) { a.Repair = "" }, capability.ErrRepair},
	} {
		w, _, _, m := lost(t)
		a := m.request(3)
		a.Repair = "x"
		c.change(&a, m)
		a.Digest = w.codec.RequestDigest(a.Request)
		if _, err := w.do(a); code(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
		if h, _ := w.book.Host(m.id.Host); len(h.Past) != 0 || h.Serial != 2 {
			t.Errorf("%s: %+v", c.name, h)
		}
	}
	w, _, _, m := lost(t)
	a := m.request(3)
	a.Repair = strings.Repeat("x", MaxReason+1)
	if _, err := w.do(a); err == nil {
		t.Error("a reason of any length is taken")
	}
	// A machine that is not on record needs no repair, and one whose first requests named no life takes the first that it names.
	n := newMachine(7)
	b := n.request(1)
	b.Repair = "x"
	if d := w.mustDo(b); d.Entries[0].Answer.Repair != nil {
		t.Error("a first answer is called a repair")
	}
	plain := newMachine(8)
	plain.life = capability.LifeID{}
	plain.apply(w.mustDo(plain.request(1)).Response)
	plain.life = capability.LifeID{8}
	w.mustDo(plain.request(2))
	if h, _ := w.book.Host(plain.id.Host); h.Life != plain.life || len(h.Past) != 0 {
		t.Errorf("%+v", h)
	}
}

// A machine that nobody knows and that lost something is told of a re-host, unless an operator knows better.
func TestLossOfAnUnknownMachine(t *testing.T) {
	w, id, _, _ := lost(t)
	n := newMachine(7)
	ask := n.request(1, want(id, 2))
	ask.Request.Condition = capability.ErrTPMCleared
	ask = ask.renamed(n)
	d, err := w.do(ask)
	if code(err) != capability.ErrRehost || d != nil || !strings.Contains(err.Error(), "LH-4103") {
		t.Fatalf("%v, %+v", err, d)
	}
	if _, known := w.book.Host(n.id.Host); known {
		t.Error("it is on record")
	}
	ask.Repair = "it never had any"
	if r := w.mustDo(ask).Response; len(r.Items) != 1 || r.Items[0].Copies != 2 {
		t.Errorf("%+v", r)
	}
}

// One beyond the limit that nobody approved is not in a book of ours.
func TestForgedRepairLimit(t *testing.T) {
	w, _, _, m := lost(t)
	a := m.request(3)
	a.Repair, a.Approved = "x", "M. Chen"
	p := anyTier()
	p.Repairs = NoRepairs
	w.mustDo(SetPolicy{Policy: p})
	d, err := w.book.Decide(w.now, a)
	if err != nil {
		t.Fatal(err)
	}
	d.Answered().Repair.Approved = ""
	if err := w.book.Apply(d.Entries[0]); err == nil {
		t.Error("it is taken")
	}
}

// Apply finds wrong what Decide never writes.
func TestForgedRepairs(t *testing.T) {
	for name, change := range map[string]func(*Entry, *machine, *machine){
		"a life without a repair":  func(e *Entry, _, _ *machine) { e.Answer.Repair = nil },
		"the same life":            func(e *Entry, old, _ *machine) { e.Answer.Life = old.life },
		"a lower epoch":            func(e *Entry, _, _ *machine) { e.Answer.Epoch = 1 },
		"a host of its own":        func(e *Entry, _, _ *machine) { e.Answer.Identity = newMachine(9).id },
		"approved by the operator": func(e *Entry, _, _ *machine) { e.By, e.Answer.Repair.Approved = "Me", "me" },
	} {
		w, _, old, m := lost(t)
		a := m.request(3)
		a.Repair = "x"
		d, err := w.book.Decide(w.now, a)
		if err != nil {
			t.Fatal(err)
		}
		change(d.Entries[0], old, m)
		if err := w.book.Apply(d.Entries[0]); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestRepairLimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit RepairLimit
		alone int // repairs that one person may order
	}{{"an old book", 0, 2}, {"the default", DefaultRepairs, 2}, {"none", NoRepairs, 0}, {"one", 1, 1}} {
		p := anyTier()
		p.Repairs = c.limit
		w := newWorld(t, p)
		m := newMachine(1)
		m.apply(w.mustDo(m.request(1)).Response)
		repair := func(approved string) error {
			a := m.request(9)
			a.Repair, a.Approved, a.By = "the disk died", approved, "operator"
			d, err := w.do(a)
			if err == nil {
				m.apply(d.Response)
			}
			return err
		}
		for n := range c.alone {
			if m = m.wiped(); repair("") != nil {
				t.Errorf("%s: repair %d needs a second person", c.name, n+1)
			}
		}
		m = m.wiped()
		if err := repair(""); code(err) != capability.ErrRepair || !strings.Contains(err.Error(), "second person") {
			t.Errorf("%s: repair %d: %v", c.name, c.alone+1, err)
		}
		m.number = 0
		m.outstanding = nil
		if err := repair("Operator"); err == nil {
			t.Errorf("%s: the operator is his own second person", c.name)
		}
		m.number = 0
		m.outstanding = nil
		if err := repair("a\x07"); err == nil {
			t.Errorf("%s: a name that rings is taken", c.name)
		}
		m.number = 0
		m.outstanding = nil
		if err := repair("M. Chen"); err != nil {
			t.Fatalf("%s: with a second person: %v", c.name, err)
		}
		h, _ := w.book.Host(m.id.Host)
		if last := h.Past[len(h.Past)-1]; last.Approved != "M. Chen" || last.By != "operator" || h.Repairs(w.now) != c.alone+1 {
			t.Errorf("%s: %+v", c.name, last)
		}
		if b, err := Restore(w.book.Snapshot()); err != nil || b.Digest() != w.book.Digest() {
			t.Errorf("%s: restored: %v", c.name, err)
		}
		// A year later those are forgotten, not a second sooner.
		first := h.Past[0].Ended
		if h.Repairs(first.Add(RepairSpan)-1) != c.alone+1 || h.Repairs(first.Add(RepairSpan)) != 0 {
			t.Errorf("%s: %d, then %d repairs", c.name, h.Repairs(first.Add(RepairSpan)-1), h.Repairs(first.Add(RepairSpan)))
		}
		w.now = first.Add(RepairSpan)
		m = m.wiped()
		if err := repair(""); (err == nil) != (c.alone > 0) {
			t.Errorf("%s: a year later: %v", c.name, err)
		}
	}
	for _, limit := range []RepairLimit{NoRepairs - 1, MaxRepairs + 1} {
		p := anyTier()
		if p.Repairs = limit; p.Validate() == nil {
			t.Errorf("a limit of %d is taken", limit)
		}
	}
}

// A limit that is none is none, however large the number.
func TestLimitRepairs(t *testing.T) {
	for n, good := range map[int]bool{0: true, 1: true, int(MaxRepairs): true, int(MaxRepairs) + 1: false, -2: false, 1<<32 + 1: false, -1 << 40: false} {
		p := anyTier()
		p.WriteOffs = LimitRepairs(n)
		if err := p.Validate(); (err == nil) != good {
			t.Errorf("%d write-offs: %v", n, err)
		}
	}
}
