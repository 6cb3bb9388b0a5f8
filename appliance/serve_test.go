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
	"runtime"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// listen serves the site on a loopback port.
func (s *site) listen() string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.a.Serve(ctx, l) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	return l.Addr().String()
}

func deviceCertificate(t testing.TB) (tls.Certificate, hostid.ID) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	d, err := deviceKey(tls.ConnectionState{NegotiatedProtocol: wire.ALPN, PeerCertificates: []*x509.Certificate{c}})
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hostid.OfDigest(hostid.DeviceKey, d)
}

func dial(t testing.TB, addr string, change func(*tls.Config)) (*tls.Conn, hostid.ID) {
	t.Helper()
	cert, id := deviceCertificate(t)
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{cert}}
	if change != nil {
		change(config)
	}
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return nil, id
	}
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c, id
}

// answered says whether the connection ends without an answer, or with the fixed one.
func answered(c *tls.Conn, codec *wire.Codec) (fixed, ended bool) {
	b, err := io.ReadAll(c)
	return bytes.Equal(b, codec.Refused()), len(b) == 0 || bytes.Equal(b, codec.Refused()) && (err == nil || !errors.Is(err, context.DeadlineExceeded))
}

func TestChannelRules(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	addr := s.listen()
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2":               func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"no protocol named":     func(c *tls.Config) { c.NextProtos = nil },
		"another protocol":      func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		"no client certificate": func(c *tls.Config) { c.Certificates = nil },
	} {
		c, _ := dial(t, addr, change)
		if c == nil {
			continue
		}
		c.Write(s.a.codec.Ask())
		if b, _ := io.ReadAll(c); len(b) != 0 {
			t.Errorf("%s: %d bytes came back", name, len(b))
		}
	}
	// What is no message gets the one fixed frame, whatever is wrong with it.
	request := s.a.codec.Encode(&capability.Request{Version: 1})
	for name, b := range map[string][]byte{
		"length zero":          {0, 0, 0, 0},
		"length of a gigabyte": {0x40, 0, 0, 0, 1},
		"one above the limit":  append(binary.BigEndian.AppendUint32(nil, capability.MaxFrame+1), make([]byte, capability.MaxFrame+1)...),
		"no CBOR":              {0, 0, 0, 2, 0xff, 0xff},
		"trailing byte":        {0, 0, 0, 4, 0x82, 2, 0xf6, 0},
		"unknown kind":         {0, 0, 0, 3, 0x82, 9, 0xf6},
		"a server's message":   s.a.codec.Refused(),
		"ask with a body":      {0, 0, 0, 3, 0x82, 2, 1},
		"nobody's request":     s.a.codec.Frame(wire.MessageRequest, &capability.Request{Version: 1}),
		"request not a map":    s.a.codec.Frame(wire.MessageRequest, request),
	} {
		c, _ := dial(t, addr, nil)
		c.Write(b)
		if fixed, _ := answered(c, s.a.codec); !fixed {
			t.Errorf("%s: not the fixed frame", name)
		}
	}
	// And the server is well.
	c, _ := dial(t, addr, nil)
	c.Write(s.a.codec.Ask())
	kind, body, err := s.a.codec.ReadFrame(c)
	must(t, err)
	var chain wire.Chain
	must(t, s.a.codec.Decode(body, &chain, capability.MaxFrame))
	if kind != wire.MessageChain || len(chain.Key) != 0 || !bytes.Equal(chain.Serving, c.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey)) {
		t.Errorf("kind %d, chain %+v", kind, chain)
	}
}

func TestFrameCutIsLetGo(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	c, _ := dial(t, s.listen(), nil)
	c.Write([]byte{0, 0, 1, 0, 0x82}) // 251 bytes never come
	if fixed, _ := answered(c, s.a.codec); !fixed {
		t.Error("a half frame was waited for")
	}
}

// roundTrip sends a request and verifies the answer.
func (s *site) roundTrip(c *tls.Conn, r *capability.Request) *capability.Response {
	s.t.Helper()
	must(s.t, s.a.codec.WriteFrame(c, wire.MessageRequest, r))
	kind, body, err := s.a.codec.ReadFrame(c)
	must(s.t, err)
	if kind != wire.MessageAnswer {
		s.t.Fatalf("kind %d", kind)
	}
	var a wire.Answer
	must(s.t, s.a.codec.Decode(body, &a, capability.MaxFrame))
	resp, _, err := s.a.codec.VerifyAnswer(s.a.chain.Serving, &a)
	must(s.t, err)
	return resp
}

func want(host hostid.ID, n byte, feature string, count uint32) *capability.Request {
	return &capability.Request{Version: 1, Hosts: []hostid.ID{host}, Correlation: capability.CorrelationID{n}, Desired: []capability.Desired{{Feature: feature, Count: count}}}
}

func TestRefusalsAreSignedAnswers(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	j := s.hear()
	addr := s.listen()
	c, id := dial(t, addr, nil)
	if r := s.roundTrip(c, want(id, 1, "render", 1)); r.Status != capability.StatusDenied || r.Denials[0].Code != capability.ErrNotProvisioned {
		t.Errorf("before the first response: %+v", r)
	}
	s.activate(item(t, 1, "render", 2))
	if r := s.roundTrip(c, want(id, 2, "render", 2)); r.Status != capability.StatusOK || r.Rights[0].Count != 2 {
		t.Errorf("%+v", r)
	}
	_, stranger := dial(t, addr, nil)
	for name, r := range map[string]*capability.Request{
		"another's key as host ID":   want(stranger, 3, "render", 1),
		"version of the future":      {Version: 2, Hosts: []hostid.ID{id}, Correlation: capability.CorrelationID{4}},
		"fields for the back office": {Version: 1, Hosts: []hostid.ID{id}, Correlation: capability.CorrelationID{5}, Settled: true},
		"a number without room":      {Version: 1, Hosts: []hostid.ID{id}, Correlation: capability.CorrelationID{7}, Number: capability.MaxNumber + 1},
	} {
		resp := s.roundTrip(c, r)
		if resp.Status != capability.StatusDenied || resp.Denials[0].Code != capability.ErrProto || resp.Correlation != r.Correlation {
			t.Errorf("%s: %+v", name, resp)
		}
		j.says(t, name, capability.ErrProto.String())
	}
	if r := s.roundTrip(c, want(id, 6, "render", 2)); r.Status != capability.StatusOK {
		t.Errorf("afterwards: %+v", r)
	}
	other, oid := dial(t, addr, nil)
	if r := s.roundTrip(other, want(oid, 1, "render", 1)); r.Lines[0].Denial.Code != capability.ErrNoSeat || r.Lines[0].Denial.Total != 2 {
		t.Errorf("%+v", r)
	}
}

// However a client sends them, requests of one connection share a write: nobody waits for the answer to another one.
func TestRequestsInFlight(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 100))
	s.vault.gate = make(chan struct{})
	c, id := dial(t, s.listen(), nil)
	send := func(n byte) {
		t.Helper()
		_, err := c.Write(s.a.codec.Frame(wire.MessageRequest, want(id, n, "render", 1))) // each a TLS record of its own
		must(t, err)
	}
	read := func() {
		t.Helper()
		_, _, err := s.a.codec.ReadFrame(c)
		must(t, err)
	}
	n := byte(0)
	for range 3 { // one by one, so that the connection has the goroutine that stays
		n++
		send(n)
		s.vault.gate <- struct{}{}
		read()
	}
	n++
	send(n)
	for s.waiting() > 0 || !s.writing() { // until the owner stands in its write
		runtime.Gosched()
	}
	const more = 20
	for range more {
		n++
		send(n)
	}
	for end := time.Now().Add(20 * time.Second); s.waiting() < more; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d of %d requests wait for the next write", s.waiting(), more)
		}
	}
	groups, _ := s.vault.count()
	close(s.vault.gate)
	for range more + 1 {
		read()
	}
	if after, _ := s.vault.count(); after-groups != 2 {
		t.Errorf("%d writes for 1 and %d requests", after-groups, more)
	}
}
