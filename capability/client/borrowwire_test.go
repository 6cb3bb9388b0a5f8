package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

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

// What says nothing of the whole set, a report or what is refused as a whole, overtakes no file; and what a file gave back is not believed in again.
func TestOvertakesNoFile(t *testing.T) {
	for what, ask := range map[string]func(*Client) error{
		"a report": func(c *Client) error {
			_, err := c.Report(t.Context(), "page:1.0", 1)
			return err
		},
		"a refusal": func(c *Client) error {
			if _, err := c.Acquire(t.Context(), "nobody-has-this"); err == nil {
				return errors.New("acquired what there is not")
			}
			return nil
		},
	} {
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
		if err := ask(p.open()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		p.wired(false)
		if p.serves(p.open()) {
			t.Fatalf("a seat that was given back is served after %s", what)
		}
		p.imported(p.open(), p.answer(back), capability.Applied)
		if p.a.Used("render") != 0 {
			t.Fatalf("after %s: %d in use", what, p.a.Used("render"))
		}
	}
}

// A number that leaves no room above it is refused where it is said.
func TestNumberWithoutRoom(t *testing.T) {
	p := newAway(t, 2)
	c := p.open()
	for _, n := range []uint64{capability.MaxNumber, 1<<64 - 1} {
		if err := c.NumberAbove(t.Context(), n); err == nil {
			t.Fatalf("above %d", n)
		}
	}
	if err := c.NumberAbove(t.Context(), capability.MaxNumber/2); err != nil {
		t.Fatal(err)
	}
	for want := uint64(capability.MaxNumber/2 + 1); want < capability.MaxNumber/2+3; want++ {
		f := p.file(c.BorrowFile(t.Context(), render(uint32(want-capability.MaxNumber/2)), day))
		if f.Number != want {
			t.Fatalf("request %d", f.Number)
		}
		p.imported(c, p.answer(f), capability.Applied)
	}
}

// silent has no answer of the server arrive, though it decides what it is asked.
func (s *server) silent(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = nil
	if yes {
		s.spoil = func([]byte) []byte {
			for c := range s.conns {
				c.Close()
			}
			return nil
		}
	}
}

// lonely is a client of a server whose answers can be lost, and who may be off the wire.
func lonely(t *testing.T, s *server) (open func(wired bool) *Client) {
	dir := t.TempDir()
	return func(wired bool) *Client {
		return s.client(dir, func(o *Options) {
			if o.Timeout = time.Minute; !wired {
				o.Dial = noRoute
			}
		})
	}
}

var one = capability.Version{Major: 1}

// A request on the wire whose answer was lost neither undoes the file that was decided after it, nor takes away what was borrowed by that.
func TestLostAnswerAndAFileAfterIt(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 3))
	open := lonely(t, s)
	s.silent(true)
	home := open(true)
	if _, err := home.Acquire(t.Context(), "render"); err == nil {
		t.Fatal("an answer that nobody sent")
	}
	home.Close()
	s.silent(false)
	away := open(false)
	f, err := away.BorrowFile(t.Context(), []capability.Desired{{Feature: "render", Version: one, Count: 2}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.ImportFile(t.Context(), s.answerFile(f.Bytes)); err != nil {
		t.Fatal(err)
	}
	away.Close()
	s.silent(true) // what is asked next is decided, and its answer is lost too
	home = open(true)
	if _, err := home.Acquire(t.Context(), "nobody-has-this"); err == nil {
		t.Fatal("an answer that nobody sent")
	}
	home.Close()
	if n := s.used("render"); n != 2 {
		t.Fatalf("%d in use where two are borrowed", n)
	}
	s.silent(false)
	l, err := open(true).Acquire(t.Context(), "render", Count(2))
	if err != nil || s.used("render") != 2 {
		t.Fatalf("%v, %v, %d in use", l, err, s.used("render"))
	}
}

// A file that may have been overtaken by a request whose answer was lost is written as another one.
func TestFileThatWasOvertakenUnheard(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 3), item("solve", "1.0", 3))
	open := lonely(t, s)
	away := open(false)
	f, err := away.BorrowFile(t.Context(), []capability.Desired{{Feature: "render", Version: one, Count: 1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.ImportFile(t.Context(), s.answerFile(f.Bytes)); err != nil {
		t.Fatal(err)
	}
	back, err := away.ReleaseFile(t.Context(), "render")
	if err != nil {
		t.Fatal(err)
	}
	away.Close()
	s.silent(true)
	home := open(true)
	if _, err := home.Acquire(t.Context(), "solve"); err == nil {
		t.Fatal("an answer that nobody sent")
	}
	home.Close()
	s.silent(false)
	away = open(false)
	again, err := away.ReleaseFile(t.Context(), "render")
	if err != nil || again.Number <= back.Number {
		t.Fatalf("request %d after request %d, %v", again.Number, back.Number, err)
	}
	if third, err := away.ReleaseFile(t.Context(), "render"); err != nil || third.Number != again.Number {
		t.Fatalf("the same return again is request %d, %v", third.Number, err)
	}
	if _, err := away.ImportFile(t.Context(), s.answerFile(again.Bytes)); err != nil || s.used("render") != 0 {
		t.Fatalf("%v, %d in use", err, s.used("render"))
	}
}

// A wish in a file that the wire could not meet is not lost: it is another request from then on.
func TestWishThatTheWireCouldNotMeet(t *testing.T) {
	p := newAway(t, 2)
	other := newAway(t, 0)
	other.a = p.a
	o := other.open()
	other.imported(o, other.answer(other.file(o.BorrowFile(t.Context(), render(2), 10*day))), capability.Applied)
	c := p.open()
	wish := p.file(c.BorrowFile(t.Context(), render(1), 10*day))
	p.wired(true)
	home := p.open()
	if _, err := home.Acquire(t.Context(), "render:2026.1"); err == nil {
		t.Fatal("three seats of two")
	}
	p.wired(false)
	other.imported(o, other.answer(other.file(o.ReleaseFile(t.Context(), "render"))), capability.Applied)
	c = p.open()
	again := p.file(c.BorrowFile(t.Context(), render(1), 10*day))
	if again.Number < wish.Number {
		t.Fatalf("request %d after request %d", again.Number, wish.Number)
	}
	p.imported(c, p.answer(again), capability.Applied)
	if !p.serves(c) {
		t.Fatal("not served")
	}
}

// What a file gave back to one appliance is not believed in again because another one was asked since.
func TestFileAndTwoAppliances(t *testing.T) {
	first, second, _ := appliances(t)
	counted := item("page", "1.0", 10)
	counted.Metered = true
	first.provision(item("render", "1.0", 9), counted)
	dir := t.TempDir()
	open := func(dial func(context.Context, string) (net.Conn, error)) *Client {
		return first.client(dir, func(o *Options) { o.Dial = dial })
	}
	away := open(noRoute)
	f, err := away.BorrowFile(t.Context(), []capability.Desired{{Feature: "render", Version: one, Count: 1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.ImportFile(t.Context(), first.answerFile(f.Bytes)); err != nil {
		t.Fatal(err)
	}
	if _, err := away.ReleaseFile(t.Context(), "render"); err != nil {
		t.Fatal(err)
	}
	away.Close()
	there := open(second.dial)
	l, err := there.Acquire(t.Context(), "render")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	there.Close()
	home := open(first.dial)
	if _, err := home.Report(t.Context(), "page", 1); err != nil {
		t.Fatal(err)
	}
	home.Close()
	if l, err := open(noRoute).Acquire(t.Context(), "render"); err == nil {
		t.Fatalf("a seat that was given back is served after a report: %v", l.Expiry())
	}
}

// The answer to a file does not give back to the device what it gave back on the wire after it.
func TestAnswerFileFromBeforeAReturn(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 1), item("solve", "1.0", 1))
	open := lonely(t, s)
	home := open(true)
	l, err := home.Acquire(t.Context(), "solve")
	if err != nil {
		t.Fatal(err)
	}
	f, err := home.BorrowFile(t.Context(), []capability.Desired{{Feature: "render", Version: one, Count: 1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	answer := s.answerFile(f.Bytes)
	s.silent(true)
	l.Release(t.Context()) // decided, and the answer is lost
	home.Close()
	s.silent(false)
	if n := s.used("solve"); n != 0 {
		t.Fatalf("%d in use after it was given back", n)
	}
	away := open(false)
	if in, err := away.ImportFile(t.Context(), answer); err == nil && in.Code == capability.Applied {
		t.Fatal("an answer from before a return was taken")
	}
	if l, err := away.Acquire(t.Context(), "solve"); err == nil {
		t.Fatalf("served until %s, and free at the appliance", l.Expiry())
	}
}

// A return is for the appliance that lent, whichever one was asked on the wire since.
func TestReturnTakenToAnotherApplianceAfterAWire(t *testing.T) {
	first, second, _ := appliances(t)
	dir := t.TempDir()
	open := func(dial func(context.Context, string) (net.Conn, error)) *Client {
		return first.client(dir, func(o *Options) { o.Dial = dial })
	}
	away := open(noRoute)
	f, err := away.BorrowFile(t.Context(), []capability.Desired{{Feature: "render", Version: one, Count: 1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.ImportFile(t.Context(), first.answerFile(f.Bytes)); err != nil {
		t.Fatal(err)
	}
	back, err := away.ReleaseFile(t.Context(), "render")
	if err != nil {
		t.Fatal(err)
	}
	away.Close()
	there := open(second.dial)
	if _, err := there.Acquire(t.Context(), "nobody-has-this"); err == nil {
		t.Fatal("acquired what there is not")
	}
	there.Close()
	away = open(noRoute)
	if _, err := away.ImportFile(t.Context(), second.answerFile(back.Bytes)); !errors.Is(err, ErrOtherAppliance) {
		t.Fatalf("another appliance took it back: %v", err)
	}
	if _, err := away.ImportFile(t.Context(), first.answerFile(back.Bytes)); err != nil || first.used("render") != 0 {
		t.Fatalf("%v, %d in use", err, first.used("render"))
	}
}
