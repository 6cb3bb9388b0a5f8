package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// producer is a vendor with fixed keys.
type producer struct {
	codec       *wire.Codec
	trust       []byte
	key         *wire.ProducerKey
	certificate []byte
}

func newProducer(t testing.TB, n byte) *producer {
	t.Helper()
	p := &producer{codec: wire.New()}
	root, err := wire.NewProducerKey(bytes.Repeat([]byte{n}, wire.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	if p.key, err = wire.NewProducerKey(bytes.Repeat([]byte{n + 1}, wire.SeedSize)); err != nil {
		t.Fatal(err)
	}
	p.trust = p.codec.EncodeTrust(&wire.Trust{Producer: "Example Works", Root: root.Public})
	if p.certificate, err = p.codec.CertifyKey(root, &wire.KeyCertificate{Keys: p.key.Public, Name: "producer-2026-A", From: 1}); err != nil {
		t.Fatal(err)
	}
	return p
}

// server is an appliance with the real ledger, real keys and no disk. The fields that tests change make it lie.
type server struct {
	t        testing.TB
	producer *producer
	codec    *wire.Codec
	host     hostid.ID
	begin    time.Time

	mu       sync.Mutex
	ledger   *ledger.Ledger
	response uint64
	serving  ed25519.PrivateKey
	chain    wire.Chain
	certify  func(serving []byte) (ak, statement []byte)
	requests []capability.Request
	conns    map[net.Conn]bool
	down     bool
	until    capability.Time // of the appliance certificate

	alter func(*capability.Response)               // before it is signed
	spoil func(frame []byte) []byte                // the answer's frame
	hand  func(r *capability.Request) *wire.Answer // instead of an answer of its own
	other ed25519.PrivateKey                       // shows this key in TLS
}

// said is what stands for a TPM's statement where none is at hand: it covers the serving key and the AK.
func said(ak, serving []byte) []byte {
	d := sha256.Sum256(append(bytes.Clone(ak), serving...))
	return d[:]
}

func judgeSaid(ak, statement, serving []byte) error {
	if !bytes.Equal(statement, said(ak, serving)) {
		return errors.New("not said")
	}
	return nil
}

func newServer(t testing.TB, p *producer, items ...capability.LineItem) *server {
	t.Helper()
	s := &server{t: t, producer: p, codec: wire.New(), host: hostid.OfDigest(hostid.TPMEK, sha256.Sum256([]byte("host"))), begin: time.Now(), ledger: ledger.New(), conns: map[net.Conn]bool{}}
	s.certify = func(serving []byte) ([]byte, []byte) { return []byte("ak"), said([]byte("ak"), serving) }
	s.must(ledger.Start{BootID: "first"})
	if len(items) > 0 {
		s.provision(items...)
	}
	s.restart()
	return s
}

func item(name, version string, count uint32) capability.LineItem {
	id, err := capability.NewActivationID(bytes.NewReader(append([]byte(name), make([]byte, 32)...)))
	v, err2 := capability.ParseVersion(version)
	if err := errors.Join(err, err2); err != nil {
		panic(err)
	}
	return capability.LineItem{ActivationID: id, Feature: name, Version: v, Count: count, Copies: count}
}

func (s *server) now() ledger.Now {
	now := time.Now()
	return ledger.At(capability.Seconds(now.Sub(s.begin)/time.Second), capability.At(now))
}

// must runs a command. Under mu, or before there are clients.
func (s *server) must(c ledger.Command) *capability.Response {
	s.t.Helper()
	d, err := s.ledger.Decide(s.now(), c)
	if err != nil {
		s.t.Fatalf("%T: %v", c, err)
	}
	for _, e := range d.Entries {
		if err := s.ledger.Apply(e); err != nil {
			s.t.Fatalf("%T: %v", c, err)
		}
	}
	return d.Response
}

func (s *server) provision(items ...capability.LineItem) {
	s.response++
	s.must(ledger.Provision{Digest: capability.Digest{byte(s.response)}, Response: capability.Response{
		Version: capability.Protocol, For: s.host, Serial: s.response, Time: capability.At(time.Now()), Items: items,
		Policy: capability.Policy{Lease: capability.DefaultLease, RenewPercent: 20, ResponseLife: 3600},
	}})
}

// restart draws a new serving key, as each start of the daemon does.
func (s *server) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	s.serving = key
	serving := key.Public().(ed25519.PublicKey)
	ak, statement := s.certify(serving)
	certificate, err := s.codec.CertifyAppliance(s.producer.key, &wire.ApplianceCertificate{Host: s.host, AK: ak, Serial: 1, From: 1000, Until: s.until})
	if err != nil {
		s.t.Fatal(err)
	}
	s.chain = wire.Chain{Key: s.producer.certificate, Appliance: certificate, Serving: serving, Statement: statement}
	for c := range s.conns {
		c.Close()
	}
}

func (s *server) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	for c := range s.conns {
		c.Close()
	}
}

func (s *server) certificate(key ed25519.PrivateKey) tls.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "leasehold"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Error(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// dial is a connection to the server that needs no network, so that time may be synctest's.
func (s *server) dial(_ context.Context, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || address == "down:1" {
		return nil, errors.New("connection refused")
	}
	there, here := net.Pipe()
	s.conns[there] = true
	key := s.serving
	if s.other != nil {
		key = s.other
	}
	config := &tls.Config{Certificates: []tls.Certificate{s.certificate(key)}, MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ALPN}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true}
	go func() {
		defer there.Close()
		s.converse(tls.Server(there, config))
	}()
	return here, nil
}

func (s *server) converse(conn *tls.Conn) {
	if conn.Handshake() != nil {
		return
	}
	key := capability.Digest(sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo))
	for {
		kind, body, err := s.codec.ReadFrame(conn)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				conn.Write(s.codec.Refused())
			}
			return
		}
		if _, err := conn.Write(s.reply(key, kind, body)); err != nil {
			return
		}
	}
}

func (s *server) reply(key capability.Digest, kind wire.MessageKind, body []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == wire.MessageAsk {
		return s.codec.Frame(wire.MessageChain, s.chain)
	}
	var r capability.Request
	if s.codec.DecodeRequest(body, &r, capability.MaxFrame) != nil {
		return s.codec.Refused()
	}
	s.requests = append(s.requests, r)
	if s.hand != nil {
		if a := s.hand(&r); a != nil {
			return s.codec.Frame(wire.MessageAnswer, a)
		}
	}
	c := ledger.Serve{Key: key, Request: r, Filed: r.Producer != capability.Digest{}}
	if len(r.Receipt) > 0 {
		ak, _ := s.certify(s.chain.Serving)
		if kept, err := s.codec.VerifyReceipt(ak, r.Receipt, judgeSaid); err == nil {
			c.Receipt = ledger.ReceiptOf(kept)
		}
	}
	resp := *s.must(c)
	if s.alter != nil {
		s.alter(&resp)
	}
	frame := s.codec.Frame(wire.MessageAnswer, s.sign(resp))
	if s.spoil != nil {
		frame = s.spoil(frame)
	}
	return frame
}

// sign puts a response among two others in a group, so that answers have a path.
func (s *server) sign(resp capability.Response) wire.Answer {
	rand.Read(resp.Salt[:])
	leaf := s.codec.Encode(&resp)
	group := [][]byte{[]byte("a"), leaf, []byte("b")}
	return s.codec.Answer(s.codec.SignTree(s.serving, wire.Grow(group), capability.At(time.Now()), 7), 1, leaf)
}

// used is how many counts of a feature the ledger has given out.
func (s *server) used(feature string) (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.ledger.Items(s.now()) {
		if it.Feature == feature {
			n += it.Used
		}
	}
	return n
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *server) last() capability.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

// client is a program of the device whose directory is dir.
func (s *server) client(dir string, change ...func(*Options)) *Client {
	s.t.Helper()
	o := Options{Server: "appliance:7070", Trust: s.producer.trust, Dir: dir, Alias: "ws-1", Dial: s.dial, judge: judgeSaid}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}
