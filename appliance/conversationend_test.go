package appliance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// party is a device key, and what its holder knows.
type party struct {
	cert    tls.Certificate
	key     capability.Digest
	id      hostid.ID
	address named
	receipt []byte // the newest answer, kept
	sent    []byte // the last frame
	answer  *capability.Response
}

// newParty is the n-th party; it is the same one each time.
func newParty(n byte) (*party, error) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	d, err := deviceKey(tls.ConnectionState{NegotiatedProtocol: wire.ALPN, PeerCertificates: []*x509.Certificate{c}})
	return &party{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, key: d, id: hostid.OfDigest(hostid.DeviceKey, d)}, err
}

// lobby is a listener to whom connections are brought.
type lobby struct {
	in     chan net.Conn
	closed context.Context
	end    context.CancelFunc
}

func newLobby() *lobby {
	ctx, end := context.WithCancel(context.Background())
	return &lobby{make(chan net.Conn), ctx, end}
}

func (l *lobby) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
}

func (l *lobby) Close() error   { l.end(); return nil }
func (l *lobby) Addr() net.Addr { return named("here") }

// bring gives the other end of a new connection, or none where nobody listens.
func (l *lobby) bring(from net.Addr, wrong *atomic.Int64) net.Conn {
	near, far := net.Pipe()
	select {
	case l.in <- &placed{far, from, wrong}:
		return near
	case <-l.closed.Done():
		return nil
	}
}

// placed is a connection that comes from an address, to a machine whose wall clock is wrong: what Go takes for a deadline is no wall time.
type placed struct {
	net.Conn
	from  net.Addr
	wrong *atomic.Int64 // nanoseconds
}

func (p *placed) RemoteAddr() net.Addr               { return p.from }
func (p *placed) right(t time.Time) time.Time        { return t.Add(-time.Duration(p.wrong.Load())) }
func (p *placed) SetDeadline(t time.Time) error      { return p.Conn.SetDeadline(p.right(t)) }
func (p *placed) SetReadDeadline(t time.Time) error  { return p.Conn.SetReadDeadline(p.right(t)) }
func (p *placed) SetWriteDeadline(t time.Time) error { return p.Conn.SetWriteDeadline(p.right(t)) }

// channel is a client's end of a connection, and what the rules of the protocol say must come out of it.
type channel struct {
	of  *party
	raw net.Conn
	tls *tls.Conn

	mu    sync.Mutex
	heard []byte // and not looked at
	ended bool

	said   []byte // and not looked at: a part of a frame, once it was
	at     time.Time
	silent bool // nothing was ever said
	asks   int
	broken bool // something said was no message: the rest is not read
	fixed  bool // the one fixed answer came
	chains int  // that must come
	owed   map[capability.CorrelationID]int
	below  bool // bytes went out that are no TLS: nothing need be understood
}

// listen collects what comes until the end.
func (c *channel) listen(from io.Reader) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		c.mu.Lock()
		c.heard = append(c.heard, b[:n]...)
		c.ended = err != nil
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take gives the frames that came.
func (c *channel) take() (heard []byte, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heard, c.heard = c.heard, nil
	return heard, c.ended
}

// say writes bytes as the client, as they are. An error is the end of the connection, which is judged by what was heard.
func (c *channel) say(b []byte) {
	if len(b) == 0 {
		return
	}
	c.said = append(c.said, b...)
	c.at, c.silent = time.Now(), false
	c.tls.Write(b)
}

// expect reads what was said as the other side must, and calls meant for every request.
func (c *channel) expect(codec *wire.Codec, meant func(*capability.Request)) {
	for !c.broken && len(c.said) >= 4 {
		n := binary.BigEndian.Uint32(c.said)
		if n > 0 && n <= capability.MaxFrame && uint64(len(c.said)-4) < uint64(n) {
			return
		}
		kind, body, err := codec.ReadFrame(bytes.NewReader(c.said))
		switch {
		case err != nil:
			c.broken = true
		case kind == wire.MessageAsk:
			if c.asks++; c.asks > maxAsks {
				c.broken = true
			} else {
				c.chains++
			}
		case kind == wire.MessageRequest:
			r := &capability.Request{}
			if err := codec.Decode(body, r, capability.MaxFrame); err != nil || r.Validate() != nil && (len(r.Hosts) == 0 || r.Hosts[0].Validate() != nil) {
				c.broken = true
				break
			}
			c.owed[r.Correlation]++
			meant(r)
		default:
			c.broken = true
		}
		if !c.broken {
			c.said = c.said[4+n:]
		}
	}
}

// mayEnd says whether the other side may have ended a connection for what its client did not do.
func (c *channel) mayEnd(now time.Time) bool {
	waited := now.Sub(c.at)
	return len(c.said) > 0 && waited >= frameTimeout || c.silent && waited >= helloTimeout || waited >= idleTimeout
}

// hears takes apart what came, and says what must not have.
func (c *channel) hears(codec *wire.Codec, answer func(*wire.Answer) error) error {
	heard, ended := c.take()
	for in := bytes.NewReader(heard); in.Len() > 0; {
		kind, body, err := codec.ReadFrame(in)
		switch {
		case err != nil:
			return err
		case kind == wire.MessageChain && c.chains > 0:
			c.chains--
		case kind == wire.MessageAnswer:
			var a wire.Answer
			if err := codec.Decode(body, &a, capability.MaxFrame); err != nil {
				return err
			}
			if err := answer(&a); err != nil {
				return err
			}
		case kind == wire.MessageRefused && !c.fixed && bytes.Equal(codec.Refused()[6:], body):
			c.fixed = true
		default:
			return errors.New("a message that nobody waits for")
		}
	}
	if ended {
		c.raw.Close()
	}
	return nil
}
