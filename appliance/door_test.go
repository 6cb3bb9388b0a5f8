package appliance

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// journal is a log that tests read while others write.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

// says waits until the journal has a word, and forgets what it had.
func (j *journal) says(t *testing.T, name, word string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
		j.mu.Lock()
		has := strings.Contains(j.b.String(), word)
		if has {
			j.b.Reset()
		}
		j.mu.Unlock()
		if has {
			return
		}
	}
	t.Errorf("%s: the journal does not say %s", name, word)
}

// hear makes the site's journal readable, and lets every connection have a line.
func (s *site) hear() *journal {
	j := &journal{}
	s.a.door.log = slog.New(slog.NewTextHandler(j, nil))
	var now time.Duration
	s.a.door.elapsed = func() time.Duration { now += tallyInterval; return now } // always under the door's lock, but for ages nobody asks for here
	return j
}

// TestWhatIsNoClient: everything else on the port hears an alert, the hint or nothing, and has its code in the journal.
func TestWhatIsNoClient(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	j := s.hear()
	addr := s.listen()
	const alert = "remote error: "
	for _, row := range []struct {
		name   string
		change func(*tls.Config)
		hears  string
		code   capability.Code
	}{
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, alert + tls.AlertError(70).Error(), capability.ErrTLSVersion},
		{"TLS 1.0", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, alert + tls.AlertError(70).Error(), capability.ErrTLSVersion},
		{"a browser", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, alert + tls.AlertError(120).Error(), capability.ErrALPN},
		{"the next version", func(c *tls.Config) { c.NextProtos = []string{"leasehold/2"} }, alert + tls.AlertError(120).Error(), capability.ErrALPN},
		{"no protocol", func(c *tls.Config) { c.NextProtos = nil }, alert + tls.AlertError(80).Error(), capability.ErrALPN},
		{"no certificate", func(c *tls.Config) { c.Certificates = nil }, alert + tls.AlertError(116).Error(), capability.ErrHandshake},
	} {
		cert, _ := deviceCertificate(t)
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{cert}}
		row.change(config)
		c, err := tls.Dial("tcp", addr, config)
		if err == nil { // in TLS 1.3 a client is done before the server has seen its certificate
			_, err = io.ReadAll(c)
			c.Close()
		}
		if err == nil || err.Error() != row.hears {
			t.Errorf("%s hears %v, want %s", row.name, err, row.hears)
		}
		j.says(t, row.name, row.code.String())
	}
	for _, row := range []struct {
		name, say, hears string
		code             capability.Code
	}{
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", hint, capability.ErrPlain},
		{"HTTP, an upload", "POST /api HTTP/1.1\r\n\r\n", hint, capability.ErrPlain},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", hint, capability.ErrPlain},
		{"SSH", "SSH-2.0-OpenSSH_9\r\n", "", capability.ErrPlain},
		{"a frame without TLS", string(s.a.codec.Ask()), "", capability.ErrPlain},
		{"zeros", strings.Repeat("\x00", 64), "", capability.ErrPlain},
		{"nothing", "", "", capability.ErrHandshake},
		{"half a record", "\x16\x03\x01\x02\x00\x01", "", capability.ErrHandshake},
		{"a record that is no hello", "\x16\x03\x01\x00\x04\xff\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a", capability.ErrHandshake},
	} {
		c, err := net.Dial("tcp", addr)
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		io.WriteString(c, row.say)
		must(t, c.(*net.TCPConn).CloseWrite())
		b, _ := io.ReadAll(c)
		c.Close()
		if string(b) != row.hears {
			t.Errorf("%s hears %q, want %q", row.name, b, row.hears)
		}
		j.says(t, row.name, row.code.String())
	}
	c, _ := dial(t, addr, nil)
	c.Write([]byte{0, 0, 0, 0})
	if fixed, _ := answered(c, s.a.codec); !fixed {
		t.Error("not the fixed frame")
	}
	j.says(t, "no frame", capability.ErrProto.String())
	// A certificate's dates are no business of the server: clients' clocks are wrong.
	c, id := dial(t, addr, func(c *tls.Config) { c.Time = func() time.Time { return time.Unix(0, 0) } })
	if r := s.roundTrip(c, want(id, 1, "render", 1)); r.Denials[0].Code != capability.ErrNotProvisioned {
		t.Errorf("%+v", r)
	}
}

// TestLongWords: what a client says of itself does not fill the journal.
func TestLongWords(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	j := s.hear()
	var protocols []string
	for range 240 {
		protocols = append(protocols, strings.Repeat("\x01", 255))
	}
	if c, _ := dial(t, s.listen(), func(c *tls.Config) { c.NextProtos = protocols }); c != nil {
		t.Fatal("another protocol is spoken")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(j.b.String(), capability.ErrALPN.String()) && time.Now().Before(end); {
		j.mu.Unlock()
		<-time.After(time.Millisecond)
		j.mu.Lock()
	}
	if n := j.b.Len(); n == 0 || n > 1000 {
		t.Errorf("%d bytes of journal: %.300s", n, j.b.String())
	}
	for _, length := range []int{maxCause, maxCause + 1, maxCause + 2, 1 << 20} {
		cause := ("x" + strings.Repeat("é", length/2))[:length] // may end amid a character
		if got := brief(cause); length > maxCause && (len(got) > maxCause || len(got) < maxCause-4 || !utf8.ValidString(got)) || length <= maxCause && got != cause {
			t.Errorf("a cause of %d bytes is said in %d", length, len(got))
		}
	}
}

// TestWhoIsKnown: while the owner is busy those at the door wait; each way to hear nothing from it has its own code, and none when the appliance has ended.
func TestWhoIsKnown(t *testing.T) {
	a := &Appliance{wake: make(chan struct{}, 1), finish: make(chan struct{}), door: newDoor(slog.New(slog.DiscardHandler), func() time.Duration { return 0 })}
	for range maxWaiting {
		_, err := a.join(&call{command: ledger.Provision{}})
		must(t, err)
	}
	if err := a.do(context.Background(), &call{}); err == nil {
		t.Fatal("there is room")
	}
	knows := func(ctx context.Context) (answer chan error) {
		answer = make(chan error, 1)
		go func() {
			_, err := a.knows(ctx, a.door, capability.Digest{1})
			answer <- err
		}()
		return answer
	}
	code := func(err error) capability.Code {
		if r, is := errors.AsType[*refused](err); is {
			return r.code
		}
		return 0
	}
	late, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	if err := <-knows(late); code(err) != capability.ErrBusy {
		t.Errorf("no answer in time: %v", err)
	}
	out, cancel := context.WithCancel(context.Background())
	cancel()
	if err := <-knows(out); code(err) != capability.ErrHandshake {
		t.Errorf("put out: %v", err)
	}
	waits := knows(context.Background())
	g := a.take()
	close(g.done)
	for room := false; !room; runtime.Gosched() { // until it has found the room
		a.mu.Lock()
		room = len(last(a.queue).calls) == 1 && last(a.queue).calls[0].look != nil
		a.mu.Unlock()
	}
	a.end(nil)
	if err := <-waits; !errors.Is(err, ErrEnded) || code(err) != 0 {
		t.Errorf("ended: %v", err)
	}
}

// TestAtTheDoor: who lost its place before it came in is not told that the house is full, and whom the ledger knew stays known.
func TestAtTheDoor(t *testing.T) {
	d := newDoor(slog.New(slog.DiscardHandler), func() time.Duration { return 0 })
	conn, _ := net.Pipe()
	key := capability.Digest{1}
	g := d.arrive(conn, func() {})
	d.leave(g)
	if err, is := errors.AsType[*refused](d.enter(g, key, true)); !is || err.code != capability.ErrHandshake || d.hasServed(key) {
		t.Errorf("put out: %v", err)
	}
	must(t, d.enter(d.arrive(conn, func() {}), key, true))
	if !d.hasServed(key) {
		t.Error("a device that the ledger knows is forgotten when it has given everything back")
	}
	d.places.most.open = 1
	if err, is := errors.AsType[*refused](d.enter(d.arrive(conn, func() {}), capability.Digest{2}, false)); !is || err.code != capability.ErrCrowded || d.hasServed(capability.Digest{2}) {
		t.Errorf("no place: %v", err)
	}
}

// TestFramesThatLie: a frame cut at any byte, with its own length or another, gets the one answer and nothing else.
func TestFramesThatLie(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	addr := s.listen()
	_, id := deviceCertificate(t)
	good := s.a.codec.Frame(wire.MessageRequest, want(id, 1, "render", 1))
	var frames [][]byte
	for i := 1; i < len(good); i++ {
		frames = append(frames, good[:i])
	}
	for i := 1; i < len(good)-4; i++ {
		shorter := append(binary.BigEndian.AppendUint32(nil, uint32(i)), good[4:]...)
		longer := append(binary.BigEndian.AppendUint32(nil, uint32(len(good)-4+i)), good[4:]...)
		frames = append(frames, shorter[:4+i], shorter, longer)
	}
	var running sync.WaitGroup
	next := make(chan []byte)
	for range 4 {
		running.Go(func() {
			for b := range next {
				c, _ := dial(t, addr, nil)
				if c == nil {
					t.Error("no connection")
					continue
				}
				c.Write(b)
				c.CloseWrite()
				if fixed, _ := answered(c, s.a.codec); !fixed {
					t.Errorf("%x: not the fixed frame", b)
				}
				c.Close()
			}
		})
	}
	for _, b := range frames {
		next <- b
	}
	close(next)
	running.Wait()
	if n := s.a.Connections(); n.Open > 1 {
		t.Errorf("%+v are left", n)
	}
}

// TestTwoClientsWithOneKey: a copied key is one device. Its second program gets no counts of its own, and the connections of a key have an end.
func TestTwoClientsWithOneKey(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 5))
	s.a.door.places.most.openOf = 2
	j := s.hear()
	addr := s.listen()
	cert, id := deviceCertificate(t)
	own := func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} }
	first, _ := dial(t, addr, own)
	if r := s.roundTrip(first, want(id, 1, "render", 3)); r.Rights[0].Count != 3 || r.Serial != 1 {
		t.Fatalf("%+v", r)
	}
	second, _ := dial(t, addr, own)
	if r := s.roundTrip(second, want(id, 2, "render", 2)); r.Rights[0].Count != 2 || r.Serial != 2 {
		t.Errorf("the second program has %+v", r)
	}
	if r := s.roundTrip(second, want(id, 1, "render", 2)); r.Status != capability.StatusDenied || r.Denials[0].Code != capability.ErrCorrelationReused {
		t.Errorf("the first one's correlation ID: %+v", r)
	}
	j.says(t, "the first one's correlation ID", capability.ErrCorrelationReused.String())
	if r := s.roundTrip(first, want(id, 3, "render", 5)); r.Rights[0].Count != 5 || r.Serial != 3 {
		t.Errorf("the first program has %+v", r)
	}
	other, oid := dial(t, addr, nil)
	if r := s.roundTrip(other, want(oid, 1, "render", 1)); r.Lines[0].Denial.Code != capability.ErrNoSeat {
		t.Errorf("%+v", r)
	}
	third, _ := dial(t, addr, own)
	if r := s.roundTrip(third, want(id, 4, "render", 1)); r.Rights[0].Count != 1 {
		t.Errorf("the third program has %+v", r)
	}
	if b, err := io.ReadAll(second); len(b) != 0 || timedOut(err) {
		t.Errorf("the connection silent longest: %q, %v", b, err)
	}
	if r := s.roundTrip(first, want(id, 5, "render", 0)); r.Status != capability.StatusReturned {
		t.Errorf("%+v", r)
	}
	// And one device with two keys is the key's that asked first.
	shared := hostid.ID{Type: hostid.String, Value: "ws-1"}
	if r := s.roundTrip(first, want(shared, 6, "render", 1)); len(r.Rights) != 1 {
		t.Errorf("%+v", r)
	}
	if r := s.roundTrip(other, want(shared, 7, "render", 1)); r.Status != capability.StatusDenied || r.Denials[0].Code != capability.ErrDeviceKey {
		t.Errorf("%+v", r)
	}
	j.says(t, "another key for a device", capability.ErrDeviceKey.String())
}

// TestFullHouse: while strangers hold every place a device that has a lease comes in, and strangers never put it out; where devices hold every place, it comes in too.
func TestFullHouse(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 5))
	s.a.door.places.most.open = 3
	j := s.hear()
	addr := s.listen()
	cert, id := deviceCertificate(t)
	own := func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} }
	c, _ := dial(t, addr, own)
	if r := s.roundTrip(c, want(id, 1, "render", 1)); len(r.Rights) != 1 {
		t.Fatalf("%+v", r)
	}
	c.Close()
	s.until("the device is gone", func(n Connections) bool { return n.Open == 0 })
	asks := func(c *tls.Conn) bool {
		c.Write(s.a.codec.Ask())
		kind, _, err := s.a.codec.ReadFrame(c)
		return err == nil && kind == wire.MessageChain
	}
	for range 5 {
		if c, _ := dial(t, addr, nil); !asks(c) {
			t.Fatal("a stranger found no place that another stranger had")
		}
	}
	s.until("three are left", func(n Connections) bool { return n.Open == 3 && n.Known == 0 })
	c, _ = dial(t, addr, own)
	if r := s.roundTrip(c, want(id, 2, "render", 1)); len(r.Rights) != 1 {
		t.Fatalf("%+v", r)
	}
	comes := func(i byte) {
		c, id := dial(t, addr, nil)
		if r := s.roundTrip(c, want(id, i, "render", 1)); len(r.Rights) != 1 {
			t.Fatalf("%+v", r)
		}
	}
	comes(10)
	comes(11)
	s.until("devices only", func(n Connections) bool { return n.Known == 3 && n.Open == 3 })
	if c, _ := dial(t, addr, nil); c != nil && asks(c) {
		t.Error("a stranger took a device's place")
	}
	j.says(t, "a full house", capability.ErrCrowded.String())
	if r := s.roundTrip(c, want(id, 3, "render", 1)); len(r.Rights) != 1 {
		t.Errorf("%+v", r)
	}
	c.Close()
	s.until("a place is free", func(n Connections) bool { return n.Open == 2 })
	comes(12)
	s.a.door.mu.Lock()
	s.a.door.served = served[capability.Digest]{} // as after a restart: the ledger still knows
	s.a.door.mu.Unlock()
	c, _ = dial(t, addr, own)
	if r := s.roundTrip(c, want(id, 4, "render", 1)); len(r.Rights) != 1 {
		t.Errorf("%+v", r)
	}
}

func timedOut(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// until waits for connections to be as wanted.
func (s *site) until(what string, as func(Connections) bool) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); !as(s.a.Connections()); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s: %+v", what, s.a.Connections())
		}
	}
}

func TestHalfOpenDoNotStay(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.a.door.places.most.halfOpen, s.a.door.places.most.halfOpenFrom = 3, 2
	addr := s.listen()
	var silent []net.Conn
	for range 5 {
		c, err := net.Dial("tcp", addr)
		must(t, err)
		defer c.Close()
		silent = append(silent, c)
	}
	for _, c := range silent[:3] { // their places went to later ones, long before their time was over
		must(t, c.SetReadDeadline(time.Now().Add(handshakeTimeout-time.Second)))
		if _, err := c.Read(make([]byte, 1)); err == nil || timedOut(err) {
			t.Errorf("the oldest stays: %v", err)
		}
	}
	c, id := dial(t, addr, nil)
	if r := s.roundTrip(c, want(id, 1, "render", 1)); r.Denials[0].Code != capability.ErrNotProvisioned {
		t.Errorf("%+v", r)
	}
}

func TestTheChainIsToldAFewTimes(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	c, _ := dial(t, s.listen(), nil)
	for i := range maxAsks + 1 {
		c.Write(s.a.codec.Ask())
		kind, _, err := s.a.codec.ReadFrame(c)
		if wanted := map[bool]wire.MessageKind{true: wire.MessageRefused, false: wire.MessageChain}[i == maxAsks]; err != nil || kind != wanted {
			t.Fatalf("%d: kind %d, %v", i, kind, err)
		}
	}
}

func TestNetworks(t *testing.T) {
	for from, want := range map[string]string{
		"10.1.2.3:5": "10.1.2.3/32", "[::ffff:10.1.2.3]:5": "10.1.2.3/32", "[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64", "[::1]:5": "::/64",
	} {
		if got := networkOf(named(from)).String(); got != want {
			t.Errorf("%s counts for %s, want %s", from, got, want)
		}
	}
	if networkOf(named("@")).IsValid() {
		t.Error("what is no TCP address has a network")
	}
}

type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }

func TestTally(t *testing.T) {
	tally := tally{}
	const a, b = capability.ErrPlain, capability.ErrProto
	for _, step := range []struct {
		code capability.Code
		at   time.Duration
		says int
	}{{a, 0, 1}, {a, 1, 0}, {b, 2, 1}, {a, tallyInterval - 1, 0}, {a, tallyInterval, 3}, {a, tallyInterval + 1, 0}, {b, 3 * tallyInterval, 1}} {
		if n := tally.note(step.code, step.at); n != step.says {
			t.Errorf("%s at %s: %d, want %d", step.code, step.at, n, step.says)
		}
	}
	if tally.rest(a) != 1 || tally.rest(a) != 0 || tally.rest(b) != 0 || tally.rest(capability.ErrALPN) != 0 {
		t.Error("the rest")
	}
}

func TestServedForgetsTheOldest(t *testing.T) {
	var s served[capability.Digest]
	key := func(i int) (k capability.Digest) { binary.BigEndian.PutUint32(k[:], uint32(i)); return k }
	for i := range 3 * maxServed {
		s.add(key(i))
		if i == maxServed {
			s.add(key(0)) // served again
		}
		if !s.has(key(i)) || !s.has(key(max(0, i-maxServed+2))) || len(s.young)+len(s.old) > 2*maxServed {
			t.Fatalf("after %d: %d and %d", i, len(s.young), len(s.old))
		}
	}
	if s.has(key(0)) {
		t.Error("nothing is forgotten")
	}
}
