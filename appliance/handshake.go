package appliance

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// refused is why a connection was ended by this side, with the code that the journal names it by.
type refused struct {
	code  capability.Code
	cause error
}

func (r *refused) Error() string { return r.cause.Error() }
func (r *refused) Unwrap() error { return r.cause }

// doorstep is the connection below TLS. While the handshake runs, what has to be computed is computed in a turn, and nobody waits for the network in one.
type doorstep struct {
	net.Conn
	ctx   context.Context // ends with the time for a handshake, or with the place; nil: there is no handshake any more
	door  *door
	guest *guest
	turns *turns // of the present part
	turn  *turn
	no    error

	visit // of a browser, after the handshake
}

func (s *doorstep) Read(b []byte) (int, error) {
	if s.ctx == nil {
		n, err := s.Conn.Read(b)
		if s.gone != nil {
			s.door.use(s.guest)
		}
		return n, err
	}
	s.rest()
	n, err := s.Conn.Read(b)
	if err != nil {
		return n, err
	}
	s.turn = s.door.wait(s.turns, s.guest)
	select {
	case <-s.turn.ready:
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	return n, nil
}

// Write is of the server's part: what it cost must not be lost to whoever comes next.
func (s *doorstep) Write(b []byte) (int, error) {
	if s.ctx != nil {
		s.door.advance(s.guest)
		s.rest()
		s.turns = s.door.ends
	} else if err := s.patient(); err != nil {
		return 0, err
	}
	return s.Conn.Write(b)
}

func (s *doorstep) rest() {
	if s.turn != nil {
		s.door.end(s.turns, s.turn)
		s.turn = nil
	}
}

// hint is all that a client hears that speaks HTTP without TLS.
const hint = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nLH-3311 this port speaks TLS 1.3: in a browser, put https:// before the address.\n"

// shake makes a TLS connection of a raw one, before hs ends, and gives the device key at its other end, or notes that a browser is there.
func (a *Appliance) shake(hs context.Context, conn net.Conn, config *tls.Config, d *door, g *guest) (*tls.Conn, *doorstep, capability.Digest, error) {
	step := &doorstep{Conn: conn, ctx: hs, door: d, guest: g, turns: d.begins}
	secured := tls.Server(step, config)
	err := secured.HandshakeContext(hs)
	step.rest()
	step.ctx = nil
	plain := tls.RecordHeaderError{}
	switch {
	case err == nil:
	case step.no != nil:
		return nil, nil, capability.Digest{}, step.no
	case errors.As(err, &plain) && plain.Conn != nil:
		if speaksHTTP(plain.RecordHeader) && conn.SetWriteDeadline(a.Now().Add(writeTimeout)) == nil {
			conn.Write([]byte(hint))
		}
		return nil, nil, capability.Digest{}, &refused{capability.ErrPlain, fmt.Errorf("the first bytes are %q", plain.RecordHeader[:])}
	default:
		return nil, nil, capability.Digest{}, &refused{capability.ErrHandshake, fmt.Errorf("handshake: %w", err)}
	}
	state := secured.ConnectionState()
	if state.NegotiatedProtocol != wire.ALPN && a.browsers.config != nil { // which no other has got in with
		step.stay(a.Now)
		return secured, step, capability.Digest{}, nil
	}
	key, err := deviceKey(state)
	if err != nil {
		return nil, nil, key, &refused{capability.ErrHandshake, err}
	}
	return secured, step, key, nil
}

// greet looks at a client's first message before anything is computed for it. What TLS refuses itself gets the right alert from there; where no protocol is
// named it would go on. Who does not ask for the protocol of clients is a browser, where those are served.
func (a *Appliance) greet(h *tls.ClientHelloInfo) (*tls.Config, error) {
	no := judgeHello(h, a.browsers)
	if step, ok := h.Conn.(*doorstep); ok {
		step.no = no
	}
	switch {
	case no == nil && !slices.Contains(h.SupportedProtos, wire.ALPN):
		return a.browsers.config, nil
	case len(h.SupportedProtos) == 0:
		return nil, no
	}
	return nil, nil
}

// maxNamed is how many of what a client offers are looked at for the log: a first message may hold 64 KiB.
const maxNamed = 4

// judgeHello says what is wrong with a client's first message.
func judgeHello(h *tls.ClientHelloInfo, b *browsers) error {
	switch {
	case !slices.Contains(h.SupportedVersions, tls.VersionTLS13):
		return &refused{capability.ErrTLSVersion, fmt.Errorf("the client offers versions %x", h.SupportedVersions[:min(len(h.SupportedVersions), maxNamed)])}
	case !slices.Contains(h.SupportedProtos, wire.ALPN) && !b.speak(h.SupportedProtos...):
		return &refused{capability.ErrALPN, fmt.Errorf("the client asks for %d protocols: %.32q", len(h.SupportedProtos), h.SupportedProtos[:min(len(h.SupportedProtos), maxNamed)])}
	}
	return nil
}

// speaksHTTP knows a method, or the preface of HTTP/2 (RFC 9113, 3.4), by its first five bytes.
func speaksHTTP(head [5]byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO", "TRACE", "CONNE", "PRI *"}, string(head[:]))
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
		GetConfigForClient:     a.greet,
		SessionTicketsDisabled: true, // a resumed session would not prove the client's key again
		Time:                   a.Now,
		Rand:                   a.Rand,
	}, nil
}

// deviceKey is the key behind a client's certificate: SHA-256 of its SPKI. Ed25519, P-256 and RSA with 2048 bits are taken.
func deviceKey(s tls.ConnectionState) (capability.Digest, error) {
	if s.NegotiatedProtocol != wire.ALPN {
		return capability.Digest{}, fmt.Errorf("protocol %q where %q is served", s.NegotiatedProtocol, wire.ALPN)
	}
	if len(s.PeerCertificates) == 0 {
		return capability.Digest{}, errors.New("no client certificate")
	}
	c := s.PeerCertificates[0]
	if _, err := wire.KeyKindOf(c.PublicKey); err != nil {
		return capability.Digest{}, fmt.Errorf("device key: %w", err)
	}
	return sha256.Sum256(c.RawSubjectPublicKeyInfo), nil
}
