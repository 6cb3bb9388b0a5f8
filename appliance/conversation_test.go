package appliance

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
)

// conversation is an appliance in service on a disk and a TPM in memory, and those who talk to it over real TLS: an honest client, two that are not, and a fourth
// with the key of the second. Time is a bubble's.
type conversation struct {
	*testing.T
	w       *world
	b       *box
	a       *Appliance
	lobby   *lobby
	stop    context.CancelFunc
	ended   chan error // of Run
	closed  chan error // of Serve
	wrong   atomic.Int64
	booted  time.Time
	told    uint64 // entries behind what somebody was told
	parties [4]*party
	open    [4]*channel
	holds   map[hostid.ID]*holding
	number  uint16 // of the last correlation ID
	armed   bool   // a step of the disk or the TPM ends the process, or fails
}

// holding is what the newest answer to a device says.
type holding struct {
	serial uint64
	rights []believed
	told   capability.Time // when the last of them ends
}

// prepared is a machine in service, and its parties: making them costs more than a conversation.
type prepared struct {
	w       *world
	image   *image
	parties [4]*party
}

func prepare(t testing.TB) *prepared {
	p := &prepared{w: newWorld(t, 1, 1, 1)}
	b := p.w.boxes[0]
	operations["stop"](p.w, 0, 0, 0)
	p.image = b.stores[0].copy()
	p.image.chip = b.chip
	for i := range p.parties {
		var err error
		p.parties[i], err = newParty([...]byte{1, 2, 3, 2}[i])
		must(t, err)
		p.parties[i].address = named(fmt.Sprintf("10.0.0.%d:1000", i))
	}
	return p
}

// begin is the machine, switched on and serving.
func (p *prepared) begin(t *testing.T) *conversation {
	<-time.After(time.Until(capability.Time(p.w.now).Std()))
	w := *p.w
	w.TB, w.moves, w.counts = t, map[*chip]int64{}, map[string]int{}
	b := &box{w: &w, n: 1, m: storagetest.New(1)}
	chip := *p.image.chip
	b.chip, chip.b = &chip, b
	for i := range b.stores {
		b.stores[i] = &store{b: b, requests: b.m.AddDisk(nil), vault: b.m.AddDisk(nil)}
	}
	b.stores[0].requests.Restore(p.image.requests)
	b.stores[0].vault.Restore(p.image.vault)
	b.stores[0].record = p.image.record
	b.stores[0].heads = append([]capability.Digest(nil), p.image.heads...)
	b.power()
	s := &conversation{T: t, w: &w, b: b, booted: time.Now(), holds: map[hostid.ID]*holding{}}
	for i := range p.parties {
		own := *p.parties[i]
		s.parties[i] = &own
	}
	s.Cleanup(func() { s.shut() })
	s.start()
	return s
}

// start starts the appliance on its disk, again where a fault planned before ends it on the way.
func (s *conversation) start() {
	for {
		o, err := s.b.stores[0].open()
		if err == nil {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(s.wrong.Load())) }
			o.Elapsed = func() time.Duration { return time.Since(s.booted) }
			if s.a, err = New(*o); err != nil {
				o.Vault.Close()
			}
		}
		if err == nil {
			break
		}
		if !s.struck() {
			s.Fatalf("the appliance does not start: %v", err)
		}
		s.fall(s.b.blow)
	}
	if at := s.a.Ledger.Status(ledger.Now{}).Position; at < s.told {
		s.Fatalf("%d entries are there after a start, somebody was told of %d", at, s.told)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.lobby = stop, newLobby()
	s.ended, s.closed = make(chan error, 1), make(chan error, 1)
	go func() { s.ended <- s.a.Run(ctx) }()
	go func() { s.closed <- s.a.Serve(ctx, s.lobby) }()
	chain, err := s.a.Chain(ctx)
	if err == nil && s.w.proven[sha256.Sum256(chain.Appliance)] {
		err = attest.JudgeSession(s.b.chip.AK, chain.Statement, chain.Serving)
	} else if err == nil {
		_, err = s.w.codec.VerifyChain(s.w.office.trust(), chain, attest.JudgeSession)
	}
	if synctest.Wait(); err != nil && !s.over() {
		s.Fatalf("the chain: %v", err)
	}
	s.settle()
}

// over says whether the appliance has ended.
func (s *conversation) over() bool {
	select {
	case <-s.a.Done():
		return true
	default:
		return false
	}
}

func (s *conversation) count(what string) { s.w.count(what) }

// struck says whether what was planned has happened.
func (s *conversation) struck() bool {
	return s.armed && (s.b.ended || s.b.blow.fault != nil && s.b.left < 0)
}

// shut ends what runs of the appliance, and gives what its owner says.
func (s *conversation) shut() (err error) {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.stop = nil
	<-s.closed
	err = <-s.ended
	for i, c := range s.open {
		if c != nil {
			c.raw.Close()
			s.open[i] = nil
		}
	}
	return err
}

func (s *conversation) fall(how blow) {
	s.b.fall(how)
	s.armed = false
	if how.after != 0 {
		s.booted = time.Now()
	}
}

// settle waits until nobody has anything to do, and judges what was said and heard. Where the appliance was ended it starts again.
func (s *conversation) settle() {
	synctest.Wait()
	s.w.now = time.Now().Unix()
	over := s.over()
	for i, c := range s.open {
		if c != nil && s.judge(c, over) {
			s.open[i] = nil
		}
	}
	if over {
		if err := s.shut(); !s.struck() {
			s.Fatalf("the appliance ends by itself: %v", err)
		}
		s.count("ended amid")
		s.fall(s.b.blow)
		s.start()
		return
	}
	s.examine()
}

// judge looks at what came out of a connection, and says whether it has ended. Where the appliance has, some things need not have come.
func (s *conversation) judge(c *channel, over bool) (ended bool) {
	c.expect(s.w.codec, func(r *capability.Request) { s.clip(r) })
	if err := c.hears(s.w.codec, func(a *wire.Answer) error { return s.believe(c, a) }); err != nil {
		s.Fatalf("%s hears: %v", c.of.address, err)
	}
	_, ended = c.take()
	late := c.mayEnd(time.Now())
	switch {
	case c.fixed && late && !c.broken:
		s.count("cut short")
	case c.fixed:
		s.count("refused")
	case ended && late:
		s.count("silent")
	}
	switch {
	case c.fixed && !c.broken && !late && !c.below:
		s.Fatalf("%s is refused for nothing", c.of.address)
	case over || c.below:
	case ended && !c.fixed && !late:
		s.Fatalf("the connection of %s ends for nothing", c.of.address)
	case c.fixed && !ended:
		s.Fatalf("%s is refused, and heard on", c.of.address)
	case c.broken && !c.fixed:
		s.Fatalf("%s is not refused", c.of.address)
	case len(c.owed) > 0 || c.chains > 0:
		s.Fatalf("%s waits for %d answers and %d chains", c.of.address, len(c.owed), c.chains)
	case len(c.said) > 0 && !c.broken && !ended && time.Since(c.at) > frameTimeout+slack:
		s.Fatalf("%s is waited for amid a frame", c.of.address)
	}
	return ended
}

// clip is what a request says of itself: its sender uses no more than it asks for.
func (s *conversation) clip(r *capability.Request) {
	if r.Operation != capability.Grant {
		return
	}
	for _, h := range r.Hosts {
		if s.holds[h] == nil {
			continue
		}
		for _, f := range features {
			var left uint32
			for _, d := range r.Desired {
				if d.Feature == f {
					left += d.Count
				}
			}
			for i := range s.holds[h].rights {
				if g := &s.holds[h].rights[i]; g.feature == f {
					g.count = min(g.count, left)
					left -= g.count
				}
			}
		}
	}
}

// believe checks an answer as a client does, and takes its word.
func (s *conversation) believe(c *channel, a *wire.Answer) error {
	r, _, err := s.w.codec.VerifyAnswer(s.a.chain.Serving, a)
	switch {
	case err != nil:
		return err
	case c.owed[r.Correlation] == 0:
		return fmt.Errorf("an answer to %x, which is no request of this connection", r.Correlation)
	case r.Key != c.of.key:
		return errors.New("an answer for another key")
	}
	if r.For.Type == hostid.DeviceKey && r.For != c.of.id && r.Status != capability.StatusDenied {
		return errors.New("an answer to whoever is not there")
	}
	if c.owed[r.Correlation]--; c.owed[r.Correlation] == 0 {
		delete(c.owed, r.Correlation)
	}
	c.of.answer = r
	s.count(r.Status.String())
	if r.Hold != 0 {
		s.count("in a hold")
	}
	for _, no := range r.Denials {
		s.count(no.Code.String())
	}
	h := s.holds[r.For]
	if h == nil {
		h = &holding{}
		s.holds[r.For] = h
	}
	if r.Serial <= h.serial {
		return nil
	}
	c.of.receipt = s.w.codec.Encode(wire.Receipt{Answer: *a, Serving: s.a.chain.Serving, Statement: s.a.chain.Statement})
	*h = holding{serial: r.Serial}
	for _, g := range r.Rights {
		h.told = max(h.told, g.Expiry)
		h.rights = append(h.rights, believed{g.Feature, g.Count, s.w.now + int64(g.Expiry-r.Time)})
	}
	return nil
}

// examine is what holds after every act: the ledger is sound, and nobody believes in more than there is.
func (s *conversation) examine() {
	var at ledger.Status
	err := s.a.Look(context.Background(), func(l *ledger.Ledger, now ledger.Now) {
		at = l.Status(now)
		if err := l.Check(); err != nil {
			s.Error(err)
		}
	})
	if err != nil && s.armed {
		s.settle() // it was ended by being asked
		return
	}
	must(s, err)
	s.told = at.Position
	if at.Used > at.Total || at.Overage > 0 {
		s.Fatalf("%d in use of %d", at.Used, at.Total)
	}
	for _, f := range features {
		var used uint64
		for _, h := range s.holds {
			used += h.of(f, s.w.now)
		}
		if n := s.w.capacity(s.b.chip.line, f); used > n {
			s.Fatalf("clients hold %d of %s, and there are %d", used, f, n)
		}
	}
}

func (h *holding) of(feature string, now int64) (n uint64) {
	if h == nil {
		return 0
	}
	for _, r := range h.rights {
		if r.feature == feature && r.until > now {
			n += uint64(r.count)
		}
	}
	return n
}

// reach gives the connection of a party, a new one where there is none.
func (s *conversation) reach(n int) *channel {
	if c := s.open[n]; c != nil {
		return c
	}
	p := s.parties[n]
	raw := s.lobby.bring(p.address, &s.wrong)
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{p.cert}, CurvePreferences: []tls.CurveID{tls.X25519}})
	if err := conn.Handshake(); err != nil {
		s.Fatalf("%s does not get in: %v", p.address, err)
	}
	c := &channel{of: p, raw: raw, tls: conn, at: time.Now(), silent: true, owed: map[capability.CorrelationID]int{}}
	s.open[n] = c
	go c.listen(conn)
	synctest.Wait()
	return c
}

// tell sends a request of a party in a frame.
func (s *conversation) tell(n int, r *capability.Request) {
	p := s.parties[n]
	p.sent = s.w.codec.Frame(wire.MessageRequest, r)
	p.answer = nil
	s.reach(n).say(p.sent)
}

// honest is the client that keeps the rules: it is answered whatever the others do, and what it has it keeps while it renews.
func (s *conversation) honest() {
	p := s.parties[0]
	had, told := s.holds[p.id].of("render", s.w.now+1) > 0, capability.Time(0)
	if had {
		told = s.holds[p.id].told
	}
	for range 3 { // the appliance may be ended amid
		r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{p.id}, Correlation: s.next(), Desired: []capability.Desired{{Feature: "render", Count: 1}}}
		if h := s.holds[p.id]; h != nil {
			r.Applied = h.serial
		}
		s.tell(0, r)
		s.settle()
		if p.answer != nil && denies(p.answer, capability.ErrHold) && p.receipt != nil {
			r.Correlation, r.Receipt = s.next(), p.receipt
			s.tell(0, r)
			s.settle()
		}
		if p.answer != nil {
			break
		}
	}
	switch {
	case p.answer == nil:
		s.Fatal("the honest client is not answered")
	case p.answer.Hold != 0 && p.answer.Time >= told: // the machine's clock went on by itself; in a hold nobody is told of a later end
	case had && s.holds[p.id].of("render", s.w.now+1) == 0:
		s.Fatalf("the honest client loses what it has: %+v", p.answer)
	}
}

func (s *conversation) next() (id capability.CorrelationID) {
	s.number++
	return capability.CorrelationID{1, byte(s.number >> 8), byte(s.number)}
}

const maxActs = 16

// FuzzConversation: whatever several clients send, in whatever order, while the appliance is ended and started and time goes on: nothing breaks, the honest one is
// served, every answer is proven and one to a request, no more is granted than there is, and what is no message hears the one fixed answer and the end.
func FuzzConversation(f *testing.F) {
	for _, b := range conversations {
		f.Add(b)
	}
	for seed := range byte(8) {
		b := make([]byte, 100)
		rand.NewChaCha8([32]byte{seed}).Read(b)
		f.Add(b)
	}
	p := prepare(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) { p.hold(t, b) })
	})
}

// hold is one conversation. It gives how often what happened.
func (p *prepared) hold(t *testing.T, b []byte) map[string]int {
	s, in := p.begin(t), input(b)
	s.honest()
	for n := 0; n < maxActs && len(in) > 0; n++ {
		acts[in.of(len(acts))](s, &in)
		s.settle()
		s.honest()
	}
	s.b.left, s.armed = -1, false
	s.stopCleanly()
	return s.w.counts
}

// What must not be hears what it must, and the first conversations are about something.
func TestConversations(t *testing.T) {
	p, counts := prepare(t), map[string]int{}
	for _, b := range conversations {
		synctest.Test(t, func(t *testing.T) {
			for what, n := range p.hold(t, b) {
				counts[what] += n
			}
		})
	}
	for _, what := range []string{
		"OK", "PARTLY", "UNCHANGED", "PREVIEW", "RETURNED", "DENIED", "in a hold", "refused", "cut short", "silent", "ended amid", "the hint", "nothing", "TLS",
		capability.ErrProto.String(), capability.ErrCorrelationReused.String(),
	} {
		if counts[what] == 0 {
			t.Errorf("%s never happens: %v", what, counts)
		}
	}
}

// conversations begin the corpus: each act, and orders that matter.
var conversations = [][]byte{
	{0, 0, 0, 0, 0, 0},                                                               // the chain, once too often
	{1, 0, 1, 8, 1, 0, 33, 12, 2, 1, 0, 5, 28},                                       // a correlation ID again, and all or nothing
	{1, 0, 1, 8, 1, 1, 2, 8, 6, 1, 0, 0, 1, 2, 1, 12, 11, 9, 1, 0, 1, 8},             // taken, given back, and the same key elsewhere, before and after it has run out
	{2, 0, 5, 1, 4, 1, 8, 33, 4, 7, 1, 12, 129, 8, 1, 3, 6, 129, 16, 3, 7, 6, 1},     // many at once, one with a correlation ID that was used, a preview, a report
	{1, 1, 9, 8, 3, 1, 1, 9, 8, 2, 14, 1, 7, 1, 1, 17, 8, 1, 11, 10, 1, 1, 17, 8, 1}, // borrowed; after a power cut, a renewal by receipt
	{1, 0, 1, 8, 3, 0, 0, 3, 1, 0, 3, 0, 9, 11, 1, 3, 0, 9, 11, 3},                   // sent again, by another, and cut: a while, and too long
	{1, 0, 65, 4, 8, 5, 'p', 'l', 'a', 'n', 't', 1, 'a', 1, 'b', 1, 1, 1, 65, 8, 0, 1, 0, 0, 1, 4, 0, 0, 6, 9, 4, 1, 3, 3, 255, 2, 128, 40, 1, 30, 7}, // another name, another's, and bytes changed
	{5, 0, 4, 0, 0, 0, 0, 5, 1, 4, 255, 255, 255, 255, 5, 2, 2, 0, 0, 11, 2, 6, 0, 3, 0x82, 9, 0xf6, 6, 1, 2, 0xff, 0xff},                             // lengths that lie, kinds that are none
	{0, 0, 7, 0, 1, 0, 1, 8, 3, 0, 30, 7, 0, 8, 1, 9, 2, 6, 0x17, 3, 3, 0, 1, 7, 1, 2, 1, 8},                                                          // gone, amid a frame too, and no TLS
	append([]byte{10, 16}, "GET / HTTP/1.1\r\n\x0a\x09\x16\x03\x01\x00\x04\xff\x00\x00\x00\x0a\x00\x0a\x02\x16\x03"...),
	{11, 5, 12, 6, 1, 0, 1, 8, 12, 250, 11, 12, 12, 100, 1, 0, 1, 8, 12, 0, 1, 0, 1, 8}, // the wall clock goes ahead, behind, and far ahead
	{1, 0, 1, 8, 13, 1, 0, 1, 8, 14, 0, 0, 1, 0, 1, 8, 14, 2, 1, 1, 0, 1, 8, 16, 1, 1, 1, 4},
	{15, 0, 2, 1, 1, 0, 1, 8, 15, 4, 5, 2, 1, 0, 1, 4, 15, 9, 4, 3, 1, 0, 1, 8, 15, 10, 3, 4, 0, 0, 11, 9}, // ended at a step, and failing at one
}
