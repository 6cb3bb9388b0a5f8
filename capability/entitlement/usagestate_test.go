package entitlement

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// states makes a request tell how the day stands, beside the records from that number on.
func (m *reporter) states(from uint64, states ...capability.Usage) Answer {
	a := m.write(from, len(m.records)+1)
	a.Request.States = states
	a.Digest = m.w.codec.RequestDigest(a.Request)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	return a
}

// soFar is how a day stands: as the record of it, so far.
func soFar(n uint64, id capability.ActivationID, day int) capability.Usage {
	u := usage(n, id, day)
	u.Until = u.From + 3600
	return u
}

// served is what the book has of a machine, checked against its rows and against a book that was read again.
func (m *reporter) served() string {
	m.w.t.Helper()
	s, _ := m.w.book.Synced(m.id.Host)
	rows, users := uint64(0), 0
	for _, u := range m.w.book.Usage(0, 1<<40, "") {
		if u.User == "" {
			rows += u.Served
		} else {
			users++
		}
	}
	if rows != s.Served {
		m.w.fatalf("the rows have %d served, the sum is %d", rows, s.Served)
	}
	if view, _ := m.w.book.ServedBy(m.id.Host); view.Until != s.Until {
		m.w.fatalf("served until %s, told until %s", view.Until, s.Until)
	}
	b, err := Restore(m.w.book.Snapshot())
	if err != nil || b.Digest() != m.w.book.Digest() {
		m.w.fatalf("restore: %v", err)
	}
	if again, _ := b.Synced(m.id.Host); again != s {
		m.w.fatalf("%+v read again is %+v", s, again)
	}
	return fmt.Sprintf("%d served, %d denied, %d users", s.Served, s.Denied, users)
}

// A state takes the place of the one before, and a record takes its place: of its own use only.
func TestStatesAreReplaced(t *testing.T) {
	w := newWorld(t, anyTier())
	id, other := w.entitle(1, 9, nil), w.entitle(2, 9, nil)
	m := newReporter(w, 1)
	ana := usage(2, id, 0)
	ana.User, ana.Denials = "ana", nil
	for _, c := range []struct {
		what   string
		file   func() Answer
		served string
	}{
		{"first", func() Answer { return m.states(1, soFar(3, id, 0)) }, "3 served, 3 denied, 0 users"},
		{"newer, of two", func() Answer { return m.states(1, soFar(5, id, 0), soFar(6, other, 0), ana) }, "11 served, 6 denied, 1 users"},
		{"no word of it", func() Answer { return m.states(1) }, "11 served, 6 denied, 1 users"},
		{"a record of one", func() Answer { m.use(usage(9, id, 0)); return m.states(1) }, "15 served, 15 denied, 1 users"},
		{"a record of the other, and the next day", func() Answer { m.use(usage(6, other, 0)); m.use(ana); return m.states(2, soFar(1, id, 1)) }, "16 served, 15 denied, 1 users"},
		{"the next day", func() Answer { return m.states(9, soFar(2, id, 1)) }, "17 served, 15 denied, 1 users"},
	} {
		d := w.mustDo(c.file())
		if got := m.served(); got != c.served {
			t.Fatalf("%s: %s where it is %s", c.what, got, c.served)
		}
		m.hear(d.Response)
	}
}

// A state whose record will not come counts for good: of a storage that is gone, and of records that are missing.
func TestStatesThatStay(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	m := newReporter(w, 1)
	w.mustDo(m.states(1, soFar(5, id, 0)))
	next := &reporter{machine: m.wiped(), w: w, salt: 1000}
	a := next.states(1, soFar(2, id, 0))
	a.Repair = "the disk died"
	d := w.mustDo(a)
	if got := next.served(); got != "7 served, 0 denied, 0 users" {
		t.Fatalf("two lives: %s", got)
	}
	next.hear(d.Response)
	for n := range 4 {
		next.use(usage(uint64(10*n+10), id, n))
	}
	d = w.mustDo(next.states(3)) // the record of the day of the state is gone, and so is the one after
	if s, _ := w.book.Synced(m.id.Host); s.Missing != 2 || next.served() != "77 served, 30 denied, 0 users" {
		t.Fatalf("missing: %+v, %s", s, next.served())
	}
	next.hear(d.Response)
	w.mustDo(next.states(9, soFar(3, id, 5)))
	w.mustDo(next.states(9, soFar(4, id, 6))) // of a later day, and still no record of the one before
	if got := next.served(); got != "84 served, 33 denied, 0 users" {
		t.Fatalf("two days: %s", got)
	}
}

// What a copy of a machine says is added to nothing, and takes the place of nothing.
func TestStatesOfACopy(t *testing.T) {
	p := anyTier()
	p.Forks = WarnForks
	w := newWorld(t, p)
	id := w.entitle(1, 9, nil)
	m := newReporter(w, 1)
	first := w.mustDo(m.states(1, soFar(1, id, 0)))
	m.hear(first.Response)
	twin := &reporter{machine: m.copied(), w: w, salt: 1000}
	w.mustDo(m.states(1, soFar(2, id, 0)))
	twin.states(1) // lost; the next one is ahead of the other history
	d := w.mustDo(twin.states(1, soFar(50, id, 0)))
	if !d.Answered().Request.Fork || d.Answered().States != nil || m.served() != "2 served, 0 denied, 0 users" {
		t.Errorf("%+v: %s", d.Answered(), m.served())
	}
}

func TestApplyAssertsStates(t *testing.T) {
	for what, change := range map[string]func(*Answered){
		"of a fork":  func(a *Answered) { a.Request.Fork = true },
		"twice":      func(a *Answered) { a.States = append(a.States, a.States[0]) },
		"of nothing": func(a *Answered) { a.States[0].Served, a.States[0].Seconds = 0, 0 },
		"too many": func(a *Answered) {
			for n := range capability.MaxStates {
				u := a.States[0]
				u.User = fmt.Sprint(n)
				a.States = append(a.States, u)
			}
		},
	} {
		p := anyTier()
		p.Forks = WarnForks
		w := newWorld(t, p)
		id := w.entitle(1, 9, nil)
		m := newReporter(w, 1)
		d, err := w.book.Decide(w.now, m.states(1, soFar(1, id, 0)))
		if err != nil {
			t.Fatal(err)
		}
		change(d.Answered())
		if w.book.Apply(d.Entries[0]) == nil {
			t.Errorf("%s: applied", what)
		}
	}
}
