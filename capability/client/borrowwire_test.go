package client

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
)

// What was borrowed by a file is the device's also where it reaches the appliance: a program uses that seat, and gives back no other.
func TestBorrowedByFileAndOnTheWire(t *testing.T) {
	p := newAway(t, 3)
	c := p.open()
	p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), 10*day))), capability.Applied)
	p.key = func(o *Options) { o.Dial = p.a.Dial }
	home := p.open()
	l, err := home.Acquire(t.Context(), "render:2026.1")
	if err != nil || p.a.Used("render") != 1 {
		t.Fatalf("%v, %d in use", err, p.a.Used("render"))
	}
	more, err := home.Acquire(t.Context(), "render:2026.1")
	if err != nil || p.a.Used("render") != 2 {
		t.Fatalf("%v, %d in use", err, p.a.Used("render"))
	}
	for _, l := range []*Lease{more, l} {
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if p.a.Used("render") != 1 {
		t.Fatalf("%d in use where one is borrowed", p.a.Used("render"))
	}
	if err := home.Release(t.Context(), "render"); !errors.Is(err, ErrNoSuchLease) {
		t.Fatal(err)
	}
	p.key = nil
	if !p.serves(p.open()) {
		t.Fatal("not served without the wire any more")
	}
}

// wired has the next programs of this PC reach the appliance, or again nobody.
func (p *away) wired(yes bool) {
	p.key = nil
	if yes {
		p.key = func(o *Options) { o.Dial = p.a.Dial }
	}
}

// overtaken says that the appliance does not decide a file any more, and that this changed nothing.
func (p *away) overtaken(f *RequestFile) {
	p.Helper()
	before := p.a.Used("render")
	if _, err := p.a.AnswerFile(f.Bytes); codeOf(err) != capability.ErrRequestPassed || p.a.Used("render") != before {
		p.Fatalf("request %d: %v, %d in use where %d were", f.Number, err, p.a.Used("render"), before)
	}
}

// A seat that was given back by a file and asked for again on the wire is in use: the file, brought afterwards, gives nobody else what this device goes on with.
func TestFileIsOvertakenByTheWire(t *testing.T) {
	p := newAway(t, 3)
	c := p.open()
	p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), 10*day))), capability.Applied)
	back := p.file(c.ReleaseFile(t.Context(), "render")) // not brought yet
	p.wired(true)
	home := p.open()
	l, err := home.Acquire(t.Context(), "render:2026.1")
	if err != nil || p.a.Used("render") != 1 {
		t.Fatalf("%v, %d in use", err, p.a.Used("render"))
	}
	p.overtaken(back)
	if held, err := home.Held(t.Context()); err != nil || len(held) != 1 {
		t.Fatalf("%+v, %v", held, err)
	}

	// And a request to borrow that was not brought takes nothing away that was acquired since.
	away := p.file(home.BorrowFile(t.Context(), render(2), 10*day))
	more, err := home.Acquire(t.Context(), "render:2026.1", Count(3))
	if err == nil {
		t.Fatal("four seats of three")
	}
	if more, err = home.Acquire(t.Context(), "render:2026.1", Count(2)); err != nil || p.a.Used("render") != 3 {
		t.Fatalf("%v, %d in use", err, p.a.Used("render"))
	}
	p.overtaken(away)

	// What is written after it counts, and is a new request.
	for _, l := range []*Lease{l, more} {
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again := p.file(home.ReleaseFile(t.Context(), "render"))
	if again.Number <= away.Number {
		t.Fatalf("request %d after request %d", again.Number, away.Number)
	}
	p.imported(home, p.answer(again), capability.Applied)
	if p.a.Used("render") != 0 {
		t.Fatalf("%d in use", p.a.Used("render"))
	}
}

// A report says nothing of the whole set: what a file gave back is neither believed in again, nor is the file overtaken.
func TestReportOvertakesNoFile(t *testing.T) {
	p := newAway(t, 2)
	counted := capabilitytest.Item("page:1.0", 10)
	counted.Metered = true
	seats := capabilitytest.Item("render:2026.1", 2)
	seats.Borrow = 30 * 24 * 60 * 60
	p.a.Provision(seats, counted)
	c := p.open()
	p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), 10*day))), capability.Applied)
	back := p.file(c.ReleaseFile(t.Context(), "render"))
	p.wired(true)
	home := p.open()
	if _, err := home.Report(t.Context(), "page:1.0", 1); err != nil {
		t.Fatal(err)
	}
	p.wired(false)
	if p.serves(p.open()) {
		t.Fatal("a seat that was given back is served after a report")
	}
	p.imported(p.open(), p.answer(back), capability.Applied)
	if p.a.Used("render") != 0 {
		t.Fatalf("%d in use", p.a.Used("render"))
	}
}

// A number that leaves no room above it ends nothing for good: it is refused where it is said.
func TestNumberWithoutRoom(t *testing.T) {
	p := newAway(t, 2)
	c := p.open()
	for _, n := range []uint64{capability.MaxNumber, 1<<64 - 1} {
		if err := c.NumberAbove(t.Context(), n); err == nil {
			t.Fatalf("above %d", n)
		}
	}
	if err := c.NumberAbove(t.Context(), capability.MaxNumber-1); err != nil {
		t.Fatal(err)
	}
	f := p.file(c.BorrowFile(t.Context(), render(1), day))
	if f.Number != capability.MaxNumber {
		t.Fatalf("request %d", f.Number)
	}
	p.imported(c, p.answer(f), capability.Applied)
}
