package client

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// maxStrangers is how many answers to other requests are passed over before a server counts as broken.
const maxStrangers = 16

// link is the connection to one of the servers. It is used by one exchange at a time, in the store's turn.
type link struct {
	codec   *wire.Codec
	trust   *wire.Trust
	servers []string
	tls     *tls.Config
	dial    func(ctx context.Context, address string) (net.Conn, error)
	judge   func(ak, statement, serving []byte) error
	proven  map[[sha256.Size]byte]*wire.ApplianceCertificate // chains that were checked: once a start of the server, or a renewal of its certificate, is enough

	clock func() time.Time

	passed passed

	first     int   // of the servers, to be tried: the last that was good
	missed    error // why no server was reached just now, so that the same exchange does not look again
	made      int   // connections so far
	used      bool  // the connection was, for an exchange
	conn      net.Conn
	chain     wire.Chain // of the server at the other end, and what it proves
	appliance *wire.ApplianceCertificate
	signer    *wire.KeyCertificate // of the producer's key that certified it

	revoked []capability.Digest // the producer's keys of which this device has heard that they count no more
}

// prove checks a chain from the producer's root, or remembers that it was.
func (l *link) prove(ch *wire.Chain) (*wire.ApplianceCertificate, error) {
	digest := sha256.Sum256(l.codec.Encode(ch))
	if a := l.proven[digest]; a != nil {
		return a, nil
	}
	a, err := l.codec.VerifyChain(l.trust, ch, l.judge)
	if err != nil {
		return nil, refuse(capability.ErrServerUnproven, err)
	}
	l.proven[digest] = a
	return a, nil
}

// inTime says whether an appliance was certified at a moment.
func inTime(a *wire.ApplianceCertificate, at capability.Time) error {
	if a.Until != 0 && at > a.Until {
		return fmt.Errorf("the appliance is certified until %s, and this is %s", a.Until, at)
	}
	return nil
}

// connect gets a proven connection to the first server that gives one, beginning with the last that did. Each has an equal share of the time that is left.
func (l *link) connect(ctx context.Context) error {
	var all []Passed
	for i := range l.servers {
		at := (l.first + i) % len(l.servers)
		err := l.connectIn(ctx, l.servers[at], len(l.servers)-i)
		if err == nil {
			l.first, l.used = at, false
			l.made++
			l.passed.note(l.servers, all)
			return nil
		}
		all = append(all, Passed{l.servers[at], err})
		l.close()
		if ctx.Err() != nil {
			break
		}
	}
	l.passed.note(l.servers, all)
	// An answer, even a bad one, says more than silence.
	for _, p := range all {
		if !errors.Is(p.Err, ErrServerUnreachable) {
			return p.Err
		}
	}
	return all[0].Err
}

// connectIn is connectTo with one of so many shares of the time.
func (l *link) connectIn(ctx context.Context, address string, shares int) error {
	if deadline, ok := ctx.Deadline(); ok {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
		defer cancel()
		ctx = share
	}
	return l.connectTo(ctx, address)
}

// pass lets the next connection begin with another server than the one that is silent.
func (l *link) pass() { l.first = (l.first + 1) % len(l.servers) }

func (l *link) connectTo(ctx context.Context, address string) error {
	raw, err := l.dial(ctx, address)
	if err != nil {
		return refuse(capability.ErrServerUnreachable, err)
	}
	conn := tls.Client(raw, l.tls)
	l.conn = conn
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return unsecured(address, err)
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != wire.ALPN {
		return refuseAs(capability.ErrALPN, ErrServerUnproven, fmt.Errorf("%s does not speak %s", address, wire.ALPN))
	}
	kind, body, err := l.roundTrip(ctx, l.codec.Ask())
	if err != nil {
		return err
	}
	if kind != wire.MessageChain {
		return refuse(capability.ErrProto, fmt.Errorf("%s answers with message %d where its chain is wanted", address, kind))
	}
	var chain wire.Chain
	if err := l.codec.Decode(body, &chain, capability.MaxFrame); err != nil {
		return refuse(capability.ErrProto, fmt.Errorf("chain: %w", err))
	}
	if len(chain.Key) == 0 {
		return denied(capability.Denial{Code: capability.ErrNotProvisioned, Detail: address})
	}
	a, err := l.prove(&chain)
	if err != nil {
		return err
	}
	if err := inTime(a, capability.At(l.clock())); err != nil {
		return refuse(capability.ErrServerUnproven, err)
	}
	if l.signer, err = l.codec.SigningKey(l.trust, chain.Key); err != nil {
		return refuse(capability.ErrServerUnproven, err)
	}
	if err := l.stillCounts(); err != nil {
		return err
	}
	// What was proven is a key; only now is it known that the other end of this connection has it.
	if key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey); !ok || !key.Equal(ed25519.PublicKey(chain.Serving)) {
		return refuse(capability.ErrServerUnproven, fmt.Errorf("%s shows another key than the one its chain proves", address))
	}
	l.chain, l.appliance = chain, a
	return nil
}

// stillCounts refuses a server whose certificate is by a revoked key: it has not heard of it yet, or it is none.
func (l *link) stillCounts() error {
	if err := l.codec.StillCounts(l.signer, l.revoked); err != nil {
		return refuseAs(capability.ErrKeyRevoked, ErrServerUnproven, err)
	}
	return nil
}

// Alerts by which a server says that it speaks another version of TLS (RFC 8446, 6.2), or another protocol (RFC 7301, 3.2).
const (
	alertProtocolVersion       = tls.AlertError(70)
	alertNoApplicationProtocol = tls.AlertError(120)
)

// unsecured says why a handshake came to nothing.
func unsecured(address string, err error) error {
	said := fmt.Errorf("TLS with %s: %w", address, err)
	broken, alert := tls.RecordHeaderError{}, (*net.OpError)(nil)
	switch {
	case errors.As(err, &broken):
		return refuseAs(capability.ErrPlain, ErrServerUnproven, fmt.Errorf("%s does not speak TLS: %w", address, err))
	case errors.As(err, &alert) && alert.Op == "remote error" && alert.Err.Error() == alertProtocolVersion.Error(),
		strings.Contains(err.Error(), "server selected unsupported protocol version"): // package tls has no type for its own refusal
		return refuseAs(capability.ErrTLSVersion, ErrServerUnreachable, said)
	case alert != nil && alert.Op == "remote error" && alert.Err.Error() == alertNoApplicationProtocol.Error():
		return refuseAs(capability.ErrALPN, ErrServerUnreachable, said)
	}
	return refuse(capability.ErrServerUnreachable, said)
}

// reach makes sure that there is a proven connection.
func (l *link) reach(ctx context.Context) error {
	missed := l.missed
	l.missed = nil
	switch {
	case l.conn != nil:
		return nil
	case missed != nil:
		return missed
	}
	return l.connect(ctx)
}

// answer sends a request and gives the first answer for which match is true.
func (l *link) answer(ctx context.Context, frame []byte, match func(*wire.Answer) bool) (*wire.Answer, error) {
	l.used = true
	for range maxStrangers {
		kind, body, err := l.roundTrip(ctx, frame)
		if err != nil {
			return nil, err
		}
		if kind != wire.MessageAnswer {
			l.close()
			return nil, refuse(capability.ErrProto, fmt.Errorf("message %d where an answer is wanted", kind))
		}
		var a wire.Answer
		if err := l.codec.Decode(body, &a, capability.MaxFrame); err != nil {
			l.close()
			return nil, refuse(capability.ErrProto, fmt.Errorf("answer: %w", err))
		}
		if match(&a) {
			return &a, nil
		}
		frame = nil // an answer to what nobody waits for any more: read on
	}
	l.close()
	return nil, refuse(capability.ErrProto, fmt.Errorf("%d answers, and none to this request", maxStrangers))
}

// roundTrip writes a frame, if there is one, and reads the next. Any error ends the connection.
func (l *link) roundTrip(ctx context.Context, frame []byte) (wire.MessageKind, []byte, error) {
	conn := l.conn
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	} else {
		conn.SetDeadline(time.Time{})
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var err error
	if frame != nil {
		_, err = conn.Write(frame)
	}
	var kind wire.MessageKind
	var body []byte
	if err == nil {
		kind, body, err = l.codec.ReadFrame(conn)
	}
	switch {
	case err == nil && kind == wire.MessageRefused:
		l.close()
		return 0, nil, denied(capability.Denial{Code: capability.ErrProto, Detail: "the server did not understand the request"})
	case err == nil:
		return kind, body, nil
	}
	l.close()
	if errors.Is(err, wire.ErrFrame) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		return 0, nil, refuse(capability.ErrProto, err)
	}
	return 0, nil, refuse(capability.ErrServerUnreachable, err)
}

func (l *link) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}
