package appliance

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Bounds on what clients may keep of the server.
const (
	maxConnections       = 4096               // open ones; with as many half-open ones as there may be, 191 MiB in a flood
	maxPerAddress        = maxConnections / 4 // a gateway may hide a plant, but nobody takes all places
	maxPerKey            = 64                 // the programs of one device
	maxHalfOpen          = 2048               // without a key yet
	maxBrowsers          = 256                // open ones besides: each takes some 50 kB
	maxBrowsersFrom      = maxBrowsers / 4
	maxHalfOpenFrom      = maxHalfOpen / 2
	maxInFlight          = 64   // requests of one connection that wait for the owner
	maxStrangersInFlight = 256  // of all connections whose devices hold nothing: a quarter of a group
	maxDevicesInFlight   = 2048 // of all others
	maxAsks              = 2    // chains for one connection: each is 13 kB for 7 bytes, and one is enough

	handshakeTimeout = 5 * time.Second  // a TLS handshake takes 1 ms of work and two round trips
	frameTimeout     = 2 * time.Second  // from the first byte of a frame to its last
	writeTimeout     = 5 * time.Second  // for a client that does not read
	helloTimeout     = 10 * time.Second // from the handshake to the first byte: whoever connects wants something
	idleTimeout      = 2 * time.Hour    // twice the longest lease: whoever is silent longer holds nothing
)

// Serve answers clients that come in over l until ctx ends. TLS 1.3 proves both ends: the server's key is the serving key that the chain names, the client's
// key is the device key its leases belong to. Who asks for HTTP is handed to Browsers, and Serve ends when the last of those is closed.
func (a *Appliance) Serve(ctx context.Context, l net.Listener) error {
	config, err := a.tlsConfig()
	if err != nil {
		return err
	}
	d := a.door
	defer d.close()
	all, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer a.browsers.Close()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if !passing(err) {
				cut()
				return fmt.Errorf("accept a client: %w", err)
			}
			a.warn(&a.unaccepted, "no client can be taken for the moment", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if ctx.Err() != nil { // it came as the port ended
			conn.Close()
			return nil
		}
		inside, end := context.WithCancel(all)
		outlive := context.AfterFunc(ctx, end)
		g := d.arrive(conn, end)
		conns.Go(func() {
			defer d.leave(g)
			defer conn.Close()
			defer end()
			defer outlive()
			defer context.AfterFunc(inside, func() { conn.Close() })()
			err := a.receive(inside, outlive, conn, config, d, g)
			if no := (*refused)(nil); errors.As(err, &no) && ctx.Err() == nil {
				d.said(no.code, conn.RemoteAddr(), no.Error)
			} else if err != nil {
				a.Log.Debug("connection ended", "peer", conn.RemoteAddr().String(), "cause", err.Error())
			}
		})
	}
}

// acceptPause is the wait for descriptors or memory to come back.
const acceptPause = 50 * time.Millisecond

// passing says whether an error of accept(2) is of the moment: the client went away, or descriptors or memory have run out.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// receive takes a connection through the door and serves it. A browser's outlives the end of Serve.
func (a *Appliance) receive(ctx context.Context, outlive func() bool, raw net.Conn, config *tls.Config, d *door, g *guest) error {
	hs, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	// A handshake needs a deep stack. It has one of its own, which ends with it, so that a connection does not keep it.
	var conn *tls.Conn
	var step *doorstep
	var key capability.Digest
	var err error
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		conn, step, key, err = a.shake(hs, raw, config, d, g)
	}()
	if <-shaken; err != nil {
		return err
	}
	if step.gone != nil {
		if err := d.visit(g); err != nil {
			return err
		}
		outlive()
		return a.browsers.hand(ctx, hs, conn, step)
	}
	known, err := a.knows(hs, d, key)
	if err != nil {
		return err
	}
	if err := d.enter(g, key, known); err != nil {
		return err
	}
	c := &connection{a: a, conn: conn, key: key, door: d, guest: g, slots: make(chan struct{}, maxInFlight), more: make(chan flight)}
	c.unread = patience{length: writeTimeout, set: conn.SetWriteDeadline}
	c.id = hostid.OfDigest(hostid.DeviceKey, key)
	c.known.Store(known)
	cancel()
	defer c.flying.Wait()
	defer close(c.more)
	return c.converse(ctx)
}

// converse reads frames until the client ends, breaks a rule or falls silent.
func (c *connection) converse(ctx context.Context) error {
	in, silent := &ahead{Conn: c.conn}, patience{length: idleTimeout, set: c.conn.SetReadDeadline}
	if err := c.conn.SetReadDeadline(c.a.Now().Add(helloTimeout)); err != nil {
		return err
	}
	for {
		if err := in.wait(); err != nil {
			return err
		}
		var kind wire.MessageKind
		var body []byte
		var err error
		if message := in.message(); message != nil { // nearly always: what came together is not waited for, and is read where it is
			kind, body, err = c.a.codec.DecodeMessage(message)
		} else {
			silent.until = time.Time{}
			if err := c.conn.SetReadDeadline(c.a.Now().Add(frameTimeout)); err != nil {
				return err
			}
			kind, body, err = c.a.codec.ReadFrame(in)
		}
		if err == nil {
			c.door.use(c.guest)
			err = c.take(ctx, kind, body)
		}
		if err == nil {
			err = silent.begin(c.a.Now())
		}
		if err != nil {
			if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrMalformed) {
				c.write(c.a.codec.Refused())
				return &refused{capability.ErrProto, err}
			}
			return err
		}
	}
}

// ahead is a connection whose next bytes were waited for, and read: as many as came together, which TLS has in a buffer anyway.
type ahead struct {
	net.Conn
	room [512]byte // a request of some features
	rest []byte    // of room
}

func (a *ahead) wait() error {
	for len(a.rest) == 0 {
		n, err := a.Conn.Read(a.room[:])
		if a.rest = a.room[:n]; n == 0 && err != nil {
			return err
		}
	}
	return nil
}

// message takes what is in the next frame, if that is there to its end and not empty. The next wait is its end.
func (a *ahead) message() []byte {
	if len(a.rest) < 4 {
		return nil
	}
	n := uint64(binary.BigEndian.Uint32(a.rest))
	if n == 0 || n > uint64(len(a.rest)-4) {
		return nil
	}
	b := a.rest[4 : 4+n]
	a.rest = a.rest[4+n:]
	return b
}

func (a *ahead) Read(b []byte) (int, error) {
	if len(a.rest) == 0 {
		return a.Conn.Read(b)
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// patience is a deadline that each of many waits has anew. Each wait may take length, and up to slack more: so one that was just set serves the next as well.
type patience struct {
	length time.Duration
	until  time.Time // what was set, or zero
	set    func(time.Time) error
}

// begin is called as a wait begins.
func (p *patience) begin(now time.Time) error {
	if left := p.until.Sub(now); left >= p.length && left <= p.length+slack {
		return nil
	}
	p.until = now.Add(p.length + slack)
	return p.set(p.until)
}

const slack = time.Second

// connection is one client. Answers go out in the order in which they are ready.
type connection struct {
	a        *Appliance
	conn     *tls.Conn
	key      capability.Digest
	id       hostid.ID // that key's
	door     *door
	guest    *guest
	known    atomic.Bool // its device was served
	asked    int         // chains
	slots    chan struct{}
	more     chan flight // to the goroutine that stays
	flying   sync.WaitGroup
	requests int // that had a goroutine of their own, from the first
	out      sync.Mutex
	unread   patience // of a client that does not read
}

func (c *connection) write(b []byte) error {
	c.out.Lock()
	defer c.out.Unlock()
	if err := c.unread.begin(c.a.Now()); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// take handles one message. An error ends the connection.
func (c *connection) take(ctx context.Context, kind wire.MessageKind, body []byte) error {
	switch kind {
	case wire.MessageAsk:
		if c.asked++; c.asked > maxAsks {
			return fmt.Errorf("%w: the chain was asked for %d times", wire.ErrMalformed, c.asked)
		}
		p, err := c.a.prove(ctx)
		if err != nil {
			return err
		}
		return c.write(p.frame)
	case wire.MessageRequest:
	default:
		return fmt.Errorf("%w: kind %d from a client", wire.ErrMalformed, kind)
	}
	ca := newServe()
	r := &ca.serve.Request
	if err := c.a.codec.Decode(body, r, capability.MaxFrame); err != nil {
		return err
	}
	// A denial: understood, but not as it must be. The answer says so, signed like every other.
	if err := c.validate(r); err != nil {
		if len(r.Hosts) == 0 || r.Hosts[0].Validate() != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		ca.denial = err
	}
	room := c.door.strangers
	if c.known.Load() {
		room = c.door.devices
	}
	for _, slots := range []chan struct{}{c.slots, room} {
		select {
		case slots <- struct{}{}:
			continue // which costs less than to look at both
		default:
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	q := flight{ca, room}
	select {
	case c.more <- q:
		return nil
	default:
	}
	// Who asks again will ask more: the goroutine of a second request stays for the next ones, since a new one has a small stack that grows under every answer.
	// While it is busy each request has its own.
	c.requests++
	stays := c.requests == 2
	c.flying.Go(func() { c.answer(ctx, q, stays) })
	return nil
}

// flight is a request on its way, with the slots that it has a place in.
type flight struct {
	call *call
	room chan struct{}
}

// answer answers a request, and with stays all that come while it waits for one.
func (c *connection) answer(ctx context.Context, q flight, stays bool) {
	for more := true; more; {
		if err := c.reply(ctx, q.call, q.room); err != nil {
			c.conn.Close()
			return
		}
		if !stays {
			return
		}
		q, more = <-c.more
	}
}

// reply has a request answered, and gives its slots back.
func (c *connection) reply(ctx context.Context, ca *call, room chan struct{}) error {
	defer func() { <-c.slots }()
	var since time.Duration
	if c.a.Answered != nil {
		since = c.a.Elapsed()
	}
	c.a.asked(c.key, ca)
	err := c.a.insist(ctx, ca)
	<-room // before the answer is written: who does not read it keeps nobody else waiting
	if err != nil {
		return err
	}
	if c.a.Answered != nil {
		c.a.Answered(ca.decision.Response, c.a.Elapsed()-since)
	}
	return c.tell(ca)
}

// tell writes an answer. Who gets rights by it is a device from now on. Refusals that say more of the asker than of what is free go into the journal too.
func (c *connection) tell(ca *call) error {
	for _, no := range ca.decision.Response.Denials {
		switch no.Code {
		case capability.ErrProto, capability.ErrCorrelationReused, capability.ErrDeviceKey:
			c.door.said(no.Code, c.conn.RemoteAddr(), func() string { return "device " + ca.decision.Response.For.Short() + ": " + no.Sentence() })
		}
	}
	if len(ca.decision.Response.Rights) > 0 && ca.decision.Response.Status != capability.StatusPreview && !c.known.Swap(true) {
		c.door.serve(c.guest)
	}
	return c.write(c.a.codec.Frame(wire.MessageAnswer, &ca.answer))
}

// validate is Request.Validate and what the channel adds: a host ID that claims to be a device key is the key of this channel.
func (c *connection) validate(r *capability.Request) error {
	if err := r.Validate(); err != nil {
		return err
	}
	for i, h := range r.Hosts {
		if h.Type == hostid.DeviceKey && h != c.id {
			return &capability.Malformed{Field: fmt.Sprintf("hosts[%d]", i), Cause: "is not the key of this connection"}
		}
	}
	return r.ToAppliance()
}

// newServe is a call for a client, whose request comes into serve: all that a request needs until it is answered is one piece of memory.
func newServe() *call {
	ca := &call{sign: true}
	ca.command = &ca.serve
	return ca
}

// asked completes the call for a request that came in from the holder of key. A receipt in it counts when it is this appliance's word.
func (a *Appliance) asked(key capability.Digest, ca *call) {
	s := &ca.serve
	s.Key = key
	if len(s.Request.Receipt) > 0 && ca.denial == nil {
		if kept, err := a.codec.VerifyReceipt(a.ak, s.Request.Receipt, attest.JudgeSession); err == nil {
			s.Receipt = ledger.ReceiptOf(kept)
		} else {
			a.Log.Debug("receipt not taken", "cause", err.Error())
		}
	}
}

// proof is the chain that clients get while one response is in force, and its frame: encoded once, it costs less to send than to ask for.
type proof struct {
	of    capability.Digest
	chain *wire.Chain
	frame []byte
}

// Chain is what leads a client from the producer's root to the serving key. Before the first response it has no certificates. The caller must not change it.
func (a *Appliance) Chain(ctx context.Context) (*wire.Chain, error) {
	p, err := a.prove(ctx)
	if err != nil {
		return nil, err
	}
	return p.chain, nil
}

func (a *Appliance) prove(ctx context.Context) (*proof, error) {
	var applied capability.Response
	var digest capability.Digest
	if err := a.insist(ctx, &call{look: func(l *ledger.Ledger, _ ledger.Now) { applied, digest = l.Applied() }}); err != nil {
		return nil, err
	}
	if p := a.proof.Load(); p != nil && p.of == digest {
		return p, nil
	}
	chain := a.chain
	if len(applied.Certificate) > 0 {
		var c certificates
		if err := a.codec.Decode(applied.Certificate, &c, 2*capability.MaxSigned); err != nil {
			return nil, fmt.Errorf("certificates in the ledger: %w", err)
		}
		chain.Key, chain.Appliance = c.Key, c.Appliance
	}
	p := &proof{digest, &chain, a.codec.Frame(wire.MessageChain, &chain)}
	a.proof.Store(p)
	return p, nil
}
