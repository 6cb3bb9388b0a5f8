package appliance

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Bounds on what one client may keep of the server.
const (
	maxConnections   = 8192
	maxPerAddress    = maxConnections / 8 // a gateway may hide a plant, but nobody takes all places
	maxInFlight      = 64                 // requests of one connection that wait for the owner
	readAhead        = 1 << 10            // bytes of requests: a few, of 300 each; longer ones are read in place
	handshakeTimeout = 5 * time.Second    // a TLS handshake takes 1 ms of work and two round trips
	frameTimeout     = 2 * time.Second    // from the first byte of a frame to its last
	writeTimeout     = 5 * time.Second    // for a client that does not read
	helloTimeout     = 10 * time.Second   // from the handshake to the first byte: whoever connects wants something
	idleTimeout      = 2 * time.Hour      // twice the longest lease: whoever is silent longer holds nothing
)

// Serve answers clients that come in over l until ctx ends. TLS 1.3 proves both ends: the server's key is the serving key that the chain names, the client's
// key is the device key its leases belong to.
func (a *Appliance) Serve(ctx context.Context, l net.Listener) error {
	config, err := a.tlsConfig()
	if err != nil {
		return err
	}
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	places := &places{taken: map[string]int{}}
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if !passing(err) {
				return fmt.Errorf("accept a client: %w", err)
			}
			a.Log.Warn("no client can be taken for the moment", "cause", err.Error())
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		address := hostOf(conn.RemoteAddr())
		if !places.take(address) {
			conn.Close()
			continue
		}
		conns.Go(func() {
			defer places.leave(address)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if err := a.converse(ctx, tls.Server(conn, config)); err != nil {
				a.Log.Debug("connection ended", "peer", conn.RemoteAddr().String(), "cause", err.Error())
			}
		})
	}
}

// acceptPause is the wait for descriptors or memory to come back.
const acceptPause = 50 * time.Millisecond

// passing says whether an error of accept(2) is of the moment: the client went away, or descriptors or memory have run out.
func passing(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR, unix.EPROTO, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// places are the connections there may be, in all and from one address.
type places struct {
	mu    sync.Mutex
	all   int
	taken map[string]int
}

func (p *places) take(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == maxConnections || p.taken[address] == maxPerAddress {
		return false
	}
	p.all++
	p.taken[address]++
	return true
}

func (p *places) leave(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.taken[address]--; p.taken[address] == 0 {
		delete(p.taken, address)
	}
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// tlsConfig shows a certificate that holds the serving key and nothing to believe: whoever checks it compares the key with the chain's.
func (a *Appliance) tlsConfig() (*tls.Config, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "leasehold"},
		// The key's lifetime is this process's; dates would only add a clock to trust.
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(a.Rand, template, template, a.Serving.Public(), a.Serving)
	if err != nil {
		return nil, fmt.Errorf("make the server's certificate: %w", err)
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: a.Serving}},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{wire.ALPN},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // a resumed session would not prove the client's key again
		Time:                   a.Now,
		Rand:                   a.Rand,
	}, nil
}

// deviceKey is the key behind a client's certificate: SHA-256 of its SPKI. Ed25519 and P-256 are taken.
func deviceKey(s tls.ConnectionState) (capability.Digest, error) {
	if s.NegotiatedProtocol != wire.ALPN {
		return capability.Digest{}, fmt.Errorf("protocol %q where %q is served", s.NegotiatedProtocol, wire.ALPN)
	}
	if len(s.PeerCertificates) == 0 {
		return capability.Digest{}, errors.New("no client certificate")
	}
	c := s.PeerCertificates[0]
	switch k := c.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return capability.Digest{}, fmt.Errorf("device key on curve %s", k.Curve.Params().Name)
		}
	default:
		return capability.Digest{}, fmt.Errorf("device key of type %T", c.PublicKey)
	}
	return sha256.Sum256(c.RawSubjectPublicKeyInfo), nil
}

// converse reads frames until the client ends, breaks a rule or falls silent.
func (a *Appliance) converse(ctx context.Context, conn *tls.Conn) error {
	hs, cancel := context.WithTimeout(ctx, handshakeTimeout)
	err := conn.HandshakeContext(hs)
	cancel()
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	key, err := deviceKey(conn.ConnectionState())
	if err != nil {
		return err
	}
	c := &connection{a: a, conn: conn, key: key, slots: make(chan struct{}, maxInFlight)}
	defer c.flying.Wait()
	in := bufio.NewReaderSize(conn, readAhead)
	patience := helloTimeout
	for {
		if err := conn.SetReadDeadline(a.Now().Add(patience)); err != nil {
			return err
		}
		patience = idleTimeout
		if _, err := in.Peek(1); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(a.Now().Add(frameTimeout)); err != nil {
			return err
		}
		kind, body, err := a.codec.ReadFrame(in)
		if err == nil {
			err = c.take(ctx, kind, body)
		}
		if err != nil {
			if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrMalformed) {
				c.write(a.codec.Refused())
			}
			return err
		}
	}
}

// connection is one client. Answers go out in the order in which they are ready.
type connection struct {
	a      *Appliance
	conn   *tls.Conn
	key    capability.Digest
	slots  chan struct{}
	flying sync.WaitGroup
	out    sync.Mutex
}

func (c *connection) write(b []byte) error {
	c.out.Lock()
	defer c.out.Unlock()
	if err := c.conn.SetWriteDeadline(c.a.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// take handles one message. An error ends the connection.
func (c *connection) take(ctx context.Context, kind wire.MessageKind, body []byte) error {
	switch kind {
	case wire.MessageAsk:
		chain, err := c.a.Chain(ctx)
		if err != nil {
			return err
		}
		return c.write(c.a.codec.Frame(wire.MessageChain, chain))
	case wire.MessageRequest:
	default:
		return fmt.Errorf("%w: kind %d from a client", wire.ErrMalformed, kind)
	}
	var r capability.Request
	err := c.a.codec.Decode(body, &r, capability.MaxFrame)
	if err != nil {
		return err
	}
	var denial error // understood, but not as it must be: the answer says so, signed like every other
	if err := c.validate(&r); err != nil {
		if len(r.Hosts) == 0 || r.Hosts[0].Validate() != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		denial = err
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.flying.Go(func() {
		defer func() { <-c.slots }()
		if err := c.answer(ctx, &r, denial); err != nil {
			c.conn.Close()
		}
	})
	return nil
}

// validate is Request.Validate and what the channel adds: a host ID that claims to be a device key is the key of this channel.
func (c *connection) validate(r *capability.Request) error {
	if err := r.Validate(); err != nil {
		return err
	}
	for i, h := range r.Hosts {
		if h.Type == hostid.DeviceKey && h != hostid.OfDigest(hostid.DeviceKey, c.key) {
			return &capability.Malformed{Field: fmt.Sprintf("hosts[%d]", i), Cause: "is not the key of this connection"}
		}
	}
	if len(r.Returns) != 0 || len(r.Records) != 0 || r.Number != 0 || len(r.Outstanding) != 0 || len(r.Metered) != 0 || r.Life != (capability.LifeID{}) {
		return &capability.Malformed{Field: "number", Cause: "fields for the back office in a request to an appliance"}
	}
	return nil
}

func (c *connection) answer(ctx context.Context, r *capability.Request, denial error) error {
	ca := c.a.asked(c.key, r, denial)
	if err := c.a.do(ctx, ca); err != nil {
		return err
	}
	return c.write(c.a.codec.Frame(wire.MessageAnswer, &ca.answer))
}

// asked is the call for a request that came in from the holder of key. A receipt in it counts when it is this appliance's word.
func (a *Appliance) asked(key capability.Digest, r *capability.Request, denial error) *call {
	s := ledger.Serve{Key: key, Request: *r}
	if len(r.Receipt) > 0 && denial == nil {
		if kept, err := a.codec.VerifyReceipt(a.ak, r.Receipt, attest.JudgeSession); err == nil {
			s.Receipt = ledger.ReceiptOf(kept)
		} else {
			a.Log.Debug("receipt not taken", "cause", err.Error())
		}
	}
	return &call{command: s, denial: denial, sign: true}
}

// Chain is what leads a client from the producer's root to the serving key. Before the first response it has no certificates.
func (a *Appliance) Chain(ctx context.Context) (*wire.Chain, error) {
	chain := a.chain
	var kept []byte
	if err := a.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		applied, _ := l.Applied()
		kept = applied.Certificate
	}); err != nil {
		return nil, err
	}
	if len(kept) > 0 {
		var c certificates
		if err := a.codec.Decode(kept, &c, 2*capability.MaxSigned); err != nil {
			return nil, fmt.Errorf("certificates in the ledger: %w", err)
		}
		chain.Key, chain.Appliance = c.Key, c.Appliance
	}
	return &chain, nil
}
