package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// away is a PC that no wire leads to, and the appliance that it borrows of.
type away struct {
	*testing.T
	a    *capabilitytest.Appliance
	dir  string
	wall atomic.Int64 // how far its clock is ahead, in nanoseconds
	key  func(*Options)
}

func lender(t *testing.T, seats uint32) *capabilitytest.Appliance {
	it := capabilitytest.Item("render:2026.1", seats)
	it.Borrow = 30 * 24 * 60 * 60
	a := capabilitytest.New(t)
	p := capability.DefaultPolicy()
	p.BorrowMaximum, p.ResponseLife = it.Borrow, 24*60*60
	a.SetPolicy(p)
	a.Provision(it)
	return a
}

func newAway(t *testing.T, seats uint32) *away {
	return &away{T: t, a: lender(t, seats), dir: t.TempDir()}
}

func noRoute(context.Context, string) (net.Conn, error) { return nil, errors.New("no route to host") }

// open is a program on it.
func (p *away) open() *Client {
	p.Helper()
	o := Options{Trust: p.a.Trust(), Dir: p.dir, Dial: noRoute, Alias: "away", Clock: func() time.Time { return time.Now().Add(time.Duration(p.wall.Load())) }}
	if p.key != nil {
		p.key(&o)
	}
	c, err := New(o)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { c.Close() })
	return c
}

func render(n uint32) []capability.Desired {
	return []capability.Desired{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: n}}
}

// file is what a call that writes a file gave.
func (p *away) file(f *RequestFile, err error) *RequestFile {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
	return f
}

func (p *away) answer(f *RequestFile) []byte {
	p.Helper()
	b, err := p.a.AnswerFile(f.Bytes)
	if err != nil {
		p.Fatal(err)
	}
	return b
}

func (p *away) imported(c *Client, b []byte, want capability.Code) *Imported {
	p.Helper()
	in, err := c.ImportFile(p.Context(), b)
	if err != nil || in.Code != want {
		p.Fatalf("%+v, %v where %s is wanted", in, err, want)
	}
	return in
}

// serves says whether a program gets a seat, which it gives back.
func (p *away) serves(c *Client) bool {
	p.Helper()
	l, err := c.Acquire(p.Context(), "render:2026.1")
	if err != nil {
		return false
	}
	if err := l.Release(p.Context()); err != nil {
		p.Errorf("what was used of a borrowed seat is given back to nobody: %v", err)
	}
	return true
}

// A seat goes out by one file and comes back by another. What was given back is never served again, whichever file is brought in whatever order.
func TestBorrowByFile(t *testing.T) {
	for _, kind := range []string{"Ed25519", "P-256"} {
		t.Run(kind, func(t *testing.T) {
			p := newAway(t, 2)
			if kind == "P-256" {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				p.key = func(o *Options) { o.Key = key }
			}
			c := p.open()
			if p.serves(c) {
				t.Fatal("served before anything was borrowed")
			}
			first := p.file(c.BorrowFile(t.Context(), render(1), 10*day))
			if p.serves(c) {
				t.Fatal("served before the answer")
			}
			if again := p.file(c.BorrowFile(t.Context(), render(1), 10*day)); again.Number != 1 || first.Number != 1 || first.Name != "REQ-0001.LHQ" {
				t.Fatalf("the same wish again is request %d", again.Number)
			}
			lent := p.answer(first)
			p.a.Restart() // the answer is of a key that nobody has any more
			in := p.imported(c, lent, capability.Applied)
			if len(in.Response.Rights) != 1 || p.a.Used("render") != 1 {
				t.Fatalf("%+v, %d in use", in.Response, p.a.Used("render"))
			}
			p.imported(c, lent, capability.AlreadyHere)
			p.imported(c, p.answer(first), capability.AlreadyHere) // answered again, by the key of the new run

			program := p.open() // of another process, as far as it can tell
			l, err := program.Acquire(t.Context(), "render:2026.1")
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(l.Expiry()); left < 9*day || left > 10*day {
				t.Fatalf("%s are left", left)
			}
			if p.serves(c) {
				t.Fatal("one seat served two programs")
			}

			back := p.file(c.ReleaseFile(t.Context(), "render"))
			if back.Number != 2 || p.serves(c) || p.serves(program) {
				t.Fatalf("request %d; a seat that was given back is served", back.Number)
			}
			select {
			case <-l.Lost():
			case <-time.After(time.Minute):
				t.Fatal("a program goes on with a seat that was given back")
			}
			p.imported(c, lent, capability.OlderResponse)
			if p.serves(p.open()) {
				t.Fatal("the first answer brought again is served")
			}
			if again := p.file(c.ReleaseFile(t.Context(), "render")); again.Number != 2 {
				t.Fatalf("the same return again is request %d", again.Number)
			}
			if p.a.Used("render") != 1 {
				t.Fatal("the seat is free before the appliance has heard of it")
			}
			ack := p.answer(back)
			if p.answer(back); p.a.Used("render") != 0 {
				t.Fatalf("%d in use after the return", p.a.Used("render"))
			}
			if _, err := p.a.AnswerFile(first.Bytes); codeOf(err) != capability.ErrRequestPassed || p.a.Used("render") != 0 {
				t.Fatalf("the first request brought again: %v, %d in use", err, p.a.Used("render"))
			}
			p.imported(c, ack, capability.Applied)
			p.imported(c, lent, capability.OlderResponse)
			if _, err := c.ReleaseFile(t.Context(), "render"); !errors.Is(err, ErrNoSuchLease) {
				t.Fatalf("given back twice: %v", err)
			}
			p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(2), day))), capability.Applied)
			if !p.serves(c) || p.a.Used("render") != 2 {
				t.Fatal("borrowed once more, and not served")
			}
		})
	}
}

// codeOf is why something was refused.
func codeOf(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// What is given back is durable before its file is there: a disk that takes no writes makes no file, and takes nothing.
func TestReleaseIsDurableBeforeItsFile(t *testing.T) {
	p := newAway(t, 1)
	c := p.open()
	p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), day))), capability.Applied)
	kept, err := os.ReadFile(filepath.Join(p.dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(p.dir, stateFile+".new")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if f, err := c.ReleaseFile(t.Context(), "render"); !errors.Is(err, ErrClientStore) || f != nil {
		t.Fatalf("%+v, %v", f, err)
	}
	if b, err := os.ReadFile(filepath.Join(p.dir, stateFile)); err != nil || string(b) != string(kept) {
		t.Fatalf("the state has changed: %v", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	if !p.serves(p.open()) {
		t.Fatal("a return that was not written took the seat")
	}
	p.file(c.ReleaseFile(t.Context(), "render"))
	c.Close()
	if p.serves(p.open()) {
		t.Fatal("another program does not know of the return")
	}
}

// A file is refused with its code and changes nothing, wherever it is damaged, and whoever else's it is.
func TestHostileAnswerFiles(t *testing.T) {
	p := newAway(t, 3)
	c := p.open()
	q := p.file(c.BorrowFile(t.Context(), render(1), day))
	good := p.answer(q)
	other := &away{T: t, a: p.a, dir: t.TempDir()}
	foreign := other.answer(other.file(other.open().BorrowFile(t.Context(), render(1), day)))
	stranger := newAway(t, 1)
	codec := wire.New()
	f, err := codec.ReadAnswerFile(good)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*wire.AnswerFile)) []byte {
		g := *f
		change(&g)
		return codec.EncodeAnswerFile(&g)
	}
	g, err := codec.ReadAnswerFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		file []byte
		code capability.Code
	}{
		{"nothing", nil, capability.ErrFileCut},
		{"cut", good[:len(good)-1], capability.ErrFileCut},
		{"a byte too many", append(append([]byte(nil), good...), 0), capability.ErrFileForm},
		{"more than a file", make([]byte, capability.MaxFile+1), capability.ErrFileSize},
		{"the request itself", q.Bytes, capability.ErrFileKind},
		{"another device's", foreign, capability.ErrNotOurs},
		{"another response under the same proof", with(func(a *wire.AnswerFile) { a.Answer.Response = g.Answer.Response }), capability.ErrSignature},
		{"without its certificates", with(func(a *wire.AnswerFile) { a.Chain.Key, a.Chain.Appliance = nil, nil }), capability.ErrFileForm},
		{"of a serving key that nobody states", with(func(a *wire.AnswerFile) { a.Chain.Statement = []byte{1} }), capability.ErrSignature},
		{"a chain that no frame holds", with(func(a *wire.AnswerFile) { a.Chain.Statement = make([]byte, capability.MaxFrame) }), capability.ErrFileSize},
	} {
		if _, err := c.ImportFile(t.Context(), row.file); codeOf(err) != row.code {
			t.Errorf("%s: %v where %s is wanted", row.name, err, row.code)
		}
	}
	for at := 0; at < len(good); at += 23 { // the second reader flips every byte
		bad := append([]byte(nil), good...)
		bad[at] ^= 1 << (at / 23 % 8)
		if in, err := c.ImportFile(t.Context(), bad); codeOf(err) == 0 {
			t.Fatalf("byte %d flipped: %+v, %v", at, in, err)
		}
	}
	if p.serves(c) {
		t.Fatal("something of it is served")
	}
	// A program that trusts another producer takes nothing of this one.
	if _, err := stranger.open().ImportFile(t.Context(), good); codeOf(err) != capability.ErrOtherProducer && codeOf(err) != capability.ErrNotOurs {
		t.Errorf("at a device of another producer: %v", err)
	}
	p.imported(c, good, capability.Applied)
}

// An answer that comes after its lifetime is refused, and the same wish is then another request.
func TestAnswerFileThatComesTooLate(t *testing.T) {
	p := newAway(t, 1)
	first := p.file(p.open().BorrowFile(t.Context(), render(1), 10*day))
	late := p.answer(first)
	p.wall.Store(int64(2 * day))
	c := p.open()
	if _, err := c.ImportFile(t.Context(), late); !errors.Is(err, ErrResponseStale) || p.serves(c) {
		t.Fatal(err)
	}
	p.a.Forward(2 * day)
	second := p.file(c.BorrowFile(t.Context(), render(1), 10*day))
	if second.Number != first.Number+1 {
		t.Fatalf("request %d after request %d", second.Number, first.Number)
	}
	p.imported(c, p.answer(second), capability.Applied)
	if !p.serves(c) || p.a.Used("render") != 1 {
		t.Fatalf("%d in use", p.a.Used("render"))
	}
}

// A clock that says 1970 takes the time of the answer; one that is set back later serves nothing, and one that goes on ends the seat in time.
func TestBorrowedSeatAndTheClock(t *testing.T) {
	p := newAway(t, 1)
	p.wall.Store(int64(time.Until(time.Unix(1000, 0))))
	c := p.open()
	p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), 10*day))), capability.Applied)
	l, err := c.Acquire(t.Context(), "render")
	if err != nil {
		t.Fatal(err)
	}
	if left := l.Expiry().Sub(time.Now().Add(time.Duration(p.wall.Load()))); left < 9*day || left > 10*day {
		t.Fatalf("%s are left", left)
	}
	c.Close()
	if p.serves(p.open()) {
		t.Fatal("served by a clock that is years behind")
	}
	p.wall.Store(int64(9 * day))
	if !p.serves(p.open()) {
		t.Fatal("not served on the ninth day")
	}
	p.wall.Store(int64(11 * day))
	if p.serves(p.open()) {
		t.Fatal("served on the eleventh day")
	}
}

// answerFile answers a request file as the server answers a frame.
func (s *server) answerFile(file []byte) []byte {
	s.t.Helper()
	q, err := s.codec.ReadRequest(file)
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := wire.VerifyClient(q)
	if err != nil {
		s.t.Fatal(err)
	}
	_, body, err := s.codec.ReadFrame(bytes.NewReader(s.reply(key, wire.MessageRequest, s.codec.Encode(&q.Request))))
	var a wire.Answer
	if err == nil {
		err = s.codec.Decode(body, &a, capability.MaxFrame)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.codec.EncodeAnswerFile(&wire.AnswerFile{Chain: s.chain, Answer: a})
}

// A return is for the appliance that lent: what another one says to it takes nothing back and loses nothing.
func TestReturnTakenToAnotherAppliance(t *testing.T) {
	one, two, _ := appliances(t)
	away := func(o *Options) { o.Dial = noRoute }
	c := one.client(t.TempDir(), away)
	desired := []capability.Desired{{Feature: "render", Version: capability.Version{Major: 1}, Count: 2}}
	take := func(f *RequestFile, err error, from *server, want error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ImportFile(t.Context(), from.answerFile(f.Bytes)); !errors.Is(err, want) {
			t.Fatalf("%v where %v is wanted", err, want)
		}
	}
	f, err := c.BorrowFile(t.Context(), desired, 0)
	take(f, err, one, nil)
	f, err = c.ReleaseFile(t.Context(), "render")
	take(f, err, two, ErrOtherAppliance)
	if again, err := c.ReleaseFile(t.Context(), "render"); err != nil || again.Number != f.Number || one.used("render") != 2 {
		t.Fatalf("request %d, %v; %d in use", again.Number, err, one.used("render"))
	}
	take(f, nil, one, nil)
	if one.used("render") != 0 {
		t.Fatalf("%d in use", one.used("render"))
	}
	// Its certificate says until when an appliance is believed.
	two.until = 2000
	two.restart()
	f, err = c.BorrowFile(t.Context(), desired, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ImportFile(t.Context(), two.answerFile(f.Bytes)); codeOf(err) != capability.ErrSignature {
		t.Fatal(err)
	}
}

// A device whose state was lost or put back says at the appliance which number it has come to, and goes on above it.
func TestNumbersAfterALoss(t *testing.T) {
	p := newAway(t, 2)
	c := p.open()
	for range 3 {
		p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), day))), capability.Applied)
		p.imported(c, p.answer(p.file(c.ReleaseFile(t.Context(), "render"))), capability.Applied)
	}
	c.Close()
	if err := os.Remove(filepath.Join(p.dir, stateFile)); err != nil {
		t.Fatal(err)
	}
	c = p.open()
	_, err := p.a.AnswerFile(p.file(c.BorrowFile(t.Context(), render(1), day)).Bytes)
	if codeOf(err) != capability.ErrRequestPassed {
		t.Fatal(err)
	}
	if err := c.NumberAbove(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	f := p.file(c.BorrowFile(t.Context(), render(1), day))
	if f.Number != 7 {
		t.Fatalf("request %d", f.Number)
	}
	p.imported(c, p.answer(f), capability.Applied)
}

// One seat serves one program, whichever versions two of them ask for.
func TestOneSeatAndTwoVersionsWithoutAServer(t *testing.T) {
	p := newAway(t, 1)
	c := p.open()
	p.imported(c, p.answer(p.file(c.BorrowFile(t.Context(), render(1), day))), capability.Applied)
	l, err := c.Acquire(t.Context(), "render:2026.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire(t.Context(), "render:2026.1"); !errors.Is(err, ErrServerUnreachable) {
		t.Fatalf("the seat of another program: %v", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Only a device that is named by its key asks by file, and for what a file can say.
func TestBorrowFileOfWhatNoFileSays(t *testing.T) {
	p := newAway(t, 1)
	c := p.open()
	for name, d := range map[string][]capability.Desired{
		"nothing": nil, "no count": render(0), "no feature": {{Count: 1}}, "less": {{Feature: "render", Count: 1, Partial: true}}, "a queue": {{Feature: "render", Count: 1, Wait: true}},
	} {
		if f, err := c.BorrowFile(t.Context(), d, day); err == nil {
			t.Errorf("%s: request %d", name, f.Number)
		}
	}
	if _, err := c.BorrowFile(t.Context(), render(1), -day); err == nil {
		t.Error("for less than no time")
	}
	if _, err := c.ReleaseFile(t.Context(), "render"); !errors.Is(err, ErrNoSuchLease) {
		t.Error(err)
	}
	p.dir = t.TempDir()
	p.key = func(o *Options) { o.Host = hostid.ID{Type: hostid.Ethernet, Value: "0200C0A80001"} }
	if _, err := p.open().BorrowFile(t.Context(), render(1), day); codeOf(err) != capability.ErrOperation {
		t.Error(err)
	}
}

// Anybody can see what is in both files, and whose they are; a damaged one is nobody's.
func TestInspectFilesOfAClient(t *testing.T) {
	p := newAway(t, 2)
	q := p.file(p.open().BorrowFile(t.Context(), render(2), day))
	trust, err := wire.New().DecodeTrust(p.a.Trust())
	if err != nil {
		t.Fatal(err)
	}
	in, err := Inspect(q.Bytes, trust)
	if err != nil || in.Signature != Good || !in.Request.ForAppliance || !in.Request.ForTrusted || in.Request.Device.Host != in.Request.Fields.Hosts[0] || len(in.Request.Device.Box) != 0 || len(in.Request.Device.Key) != 44 {
		t.Fatalf("%+v, %v", in, err)
	}
	flipped := bytes.Clone(q.Bytes)
	flipped[len(flipped)-1] ^= 1
	if in, err := Inspect(flipped, trust); err != nil || in.Signature != Bad || in.Request.Device != nil {
		t.Fatalf("%+v, %v", in, err)
	}
	answer := p.answer(q)
	in, err = Inspect(answer, trust)
	if err != nil || in.Signature != Good || in.Answer.For.Type != hostid.DeviceKey || len(in.Answer.Rights) != 1 || in.Answer.Rights[0].Count != 2 || in.Answer.Appliance == (hostid.ID{}) {
		t.Fatalf("%+v, %v", in, err)
	}
	if in, err := Inspect(answer, nil); err != nil || in.Signature != UnknownKey || in.Answer.Appliance != (hostid.ID{}) {
		t.Fatalf("without a bundle: %+v, %v", in, err)
	}
	other, err := wire.New().DecodeTrust(newAway(t, 1).a.Trust())
	if err != nil {
		t.Fatal(err)
	}
	if in, err := Inspect(answer, other); err != nil || in.Signature != UnknownKey || in.Code != capability.ErrOtherProducer {
		t.Fatalf("another producer's: %+v, %v", in, err)
	}
	answer[len(answer)-1] ^= 1
	if in, err := Inspect(answer, trust); err != nil || in.Signature != Bad || in.Answer != nil {
		t.Fatalf("damaged: %+v, %v", in, err)
	}
}

// An answer in a file says what time it was when it was made, and not what time it is: what a program has lived through meanwhile counts.
func TestAnswerFileSetsNoClockBack(t *testing.T) {
	p := newAway(t, 1)
	b := p.answer(p.file(p.open().BorrowFile(t.Context(), render(1), 12*time.Hour)))
	p.wall.Store(int64(13 * time.Hour))
	c := p.open()
	p.imported(c, b, capability.Applied)
	if p.serves(c) {
		t.Fatal("served an hour after its end")
	}
}

// What was given back before its answer had arrived is not lent by that answer.
func TestAnswerThatWasOvertaken(t *testing.T) {
	p := newAway(t, 1)
	c := p.open()
	lent := p.answer(p.file(c.BorrowFile(t.Context(), render(1), day)))
	back := p.file(c.ReleaseFile(t.Context(), "render"))
	p.imported(c, lent, capability.OlderResponse)
	if p.serves(c) {
		t.Fatal("served from what was given back")
	}
	p.imported(c, p.answer(back), capability.Applied)
	if p.a.Used("render") != 0 {
		t.Fatalf("%d in use", p.a.Used("render"))
	}
}
