package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/hostid"
)

const (
	feature        = "render"
	featureVersion = 2026
	// verifyEvery: one answer in so many is decoded and its proof or signature checked, of the appliance, floor and baseline alike. The client runs on the
	// same cores, and a check costs as much as two answers do the server. Of all others correlation and outcome are looked at.
	verifyEvery = 64
	replyWithin = 10 * time.Minute // a start with many leases is waited for as well
)

// speaker is one client on one connection. do is one request and its answer; an answer that is not the wanted one is an error.
type speaker interface {
	do() error
	// leave gives back what is held and ends the connection.
	leave() error
}

// device is a client's key; its rights belong to it.
type device struct {
	certificate *tls.Certificate
	id          hostid.ID
}

func newDevices(n int) ([]device, error) {
	all := make([]device, n)
	for i := range all {
		c, id, err := rig.NewDevice()
		if err != nil {
			return nil, err
		}
		all[i] = device{c, id}
	}
	return all, nil
}

// message is an encoded request that is sent again and again; only its correlation changes, and its host where that is made up.
type message struct {
	frame       []byte
	correlation int // where it is in frame
	host        int // where 12 hex digits are; 0: the host stays
	want        capability.Status
	code        capability.Code // of the refusal that is wanted
}

// client speaks the capability protocol.
type client struct {
	codec    *wire.Codec
	conn     *tls.Conn
	in       *bufio.Reader
	server   ed25519.PublicKey
	messages []message // sent in turn
	last     message   // gives everything back
	unsigned bool      // the server proves nothing
	fresh    func() uint64
	turn     int
	id       [8]byte // of this connection, in every correlation
	body     []byte
	largest  int // bytes of an answer
}

// connect opens a connection for a device.
func connect(address string, d device) (*client, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: replyWithin}, "tcp", address, &tls.Config{
		InsecureSkipVerify: true, // what proves the server is its chain, not its certificate
		MinVersion:         tls.VersionTLS13, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{*d.certificate},
	})
	if err != nil {
		return nil, err
	}
	key, ok := conn.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		conn.Close()
		return nil, errors.New("the server's key is no Ed25519 key")
	}
	c := &client{codec: wire.New(), conn: conn, in: bufio.NewReader(conn), server: key, body: make([]byte, capability.MaxFrame)}
	rand.Read(c.id[:])
	c.last = c.message(d.id, capability.StatusReturned)
	return c, nil
}

func desired(name string, count uint32) capability.Desired {
	return capability.Desired{Feature: name, Version: capability.Version{Major: featureVersion, Minor: 1}, Count: count}
}

// message encodes a request for exactly these counts; none gives everything back.
func (c *client) message(id hostid.ID, want capability.Status, lines ...capability.Desired) message {
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{id}, Desired: lines}
	for i := range r.Correlation {
		r.Correlation[i] = byte(0xa0 + i)
	}
	m := message{frame: c.codec.Frame(wire.MessageRequest, r), want: want}
	m.correlation = bytes.Index(m.frame, r.Correlation[:])
	if id.Type == hostid.Ethernet {
		m.host = bytes.Index(m.frame, []byte(id.Value))
	}
	return m
}

func (c *client) do() error {
	m := &c.messages[c.turn%len(c.messages)]
	return c.exchange(m)
}

func (c *client) exchange(m *message) error {
	c.turn++
	correlation := m.frame[m.correlation : m.correlation+16]
	copy(correlation, c.id[:])
	binary.BigEndian.PutUint64(correlation[8:], uint64(c.turn))
	if m.host > 0 {
		var n [6]byte
		v := c.fresh()
		for i := range n {
			n[5-i] = byte(v >> (8 * i))
		}
		hex.Encode(m.frame[m.host:], n[:])
	}
	if _, err := c.conn.Write(m.frame); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > len(c.body) {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	if _, err := io.ReadFull(c.in, c.body[:n]); err != nil {
		return err
	}
	c.largest = max(c.largest, 4+n)
	if err := c.look(c.body[:n], m.want, correlation); err != nil {
		return err
	}
	if c.turn%verifyEvery == 1 && !c.unsigned {
		return c.verify(c.body[:n], m, correlation)
	}
	return nil
}

// look reads so much of an answer as tells a grant from a refusal: [1, {1: response, ...}], whose response begins {1: 1, 2: status unless OK, 3: ...
func (c *client) look(b []byte, want capability.Status, correlation []byte) error {
	head := []byte{0x82, byte(wire.MessageAnswer), 0xa2, 0x01}
	if !bytes.HasPrefix(b, head) || len(b) < 64 {
		return fmt.Errorf("message % x where an answer is wanted", b[:min(len(b), 48)])
	}
	at := len(head)
	switch b[at] {
	case 0x58:
		at += 2
	case 0x59:
		at += 3
	default:
		return fmt.Errorf("a response of initial byte %#x", b[at])
	}
	got := capability.StatusOK
	if b[at+3] == 2 {
		got = capability.Status(b[at+4])
	}
	if b[at+1] != 1 || b[at+2] != capability.Protocol || got != want {
		return fmt.Errorf("status %s where %s is wanted", got, want)
	}
	if !bytes.Contains(b[at:], correlation) {
		return errors.New("an answer to another request")
	}
	return nil
}

// verify is look with everything in it: the whole message, its proof, its rights.
func (c *client) verify(b []byte, m *message, correlation []byte) error {
	kind, body, err := c.codec.DecodeMessage(b)
	if err != nil || kind != wire.MessageAnswer {
		return fmt.Errorf("message %d where an answer is wanted: %w", kind, err)
	}
	var a wire.Answer
	if err := c.codec.Decode(body, &a, capability.MaxFrame); err != nil {
		return err
	}
	r, _, err := c.codec.VerifyAnswer(c.server, &a)
	if err != nil {
		return err
	}
	switch {
	case !bytes.Equal(r.Correlation[:], correlation):
		return errors.New("an answer to another request")
	case m.want == capability.StatusOK && len(r.Rights) == 0:
		return errors.New("a grant of nothing")
	case m.want == capability.StatusReturned && len(r.Rights) != 0:
		return errors.New("something is held after everything was given back")
	case m.code != 0 && (len(r.Lines) != 1 || r.Lines[0].Denial.Code != m.code):
		return fmt.Errorf("lines %+v where %s is wanted", r.Lines, m.code)
	}
	return nil
}

func (c *client) leave() error {
	err := c.exchange(&c.last)
	return errors.Join(err, c.conn.Close())
}

// echoer speaks to echo.
type echoer struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	answer  []byte
}

func newEchoer(address string, size int) (*echoer, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	e := &echoer{conn: conn, in: bufio.NewReader(conn), request: make([]byte, 4+size), answer: make([]byte, 4+echoTimes*size)}
	binary.BigEndian.PutUint32(e.request, uint32(size))
	return e, nil
}

func (e *echoer) do() error {
	if _, err := e.conn.Write(e.request); err != nil {
		return err
	}
	_, err := io.ReadFull(e.in, e.answer)
	return err
}

func (e *echoer) leave() error { return e.conn.Close() }

// caller speaks HTTP and JSON to baseline, with no more of a client than that needs.
type caller struct {
	conn   net.Conn
	in     *bufio.Reader
	server ed25519.PublicKey // nil: unsigned
	bodies []string          // sent in turn, with %032x for the correlation
	last   string
	turn   uint64
	id     uint64
}

func newCaller(address string, server ed25519.PublicKey, d device, renew bool) (*caller, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	rand.Read(id[:])
	begin := `{"host":"` + d.id.Value + `","correlation":"%016x%016x","desired":[`
	line := fmt.Sprintf(`{"feature":"%s","version":"%d.1","count":1}`, feature, featureVersion)
	take, give := begin+line+`]}`, begin+`]}`
	c := &caller{conn: conn, in: bufio.NewReader(conn), server: server, bodies: []string{take, give}, last: give, id: binary.BigEndian.Uint64(id[:])}
	if renew {
		if err := c.exchange(take, true); err != nil {
			return nil, err
		}
		c.bodies = []string{begin + line + `],"renew":true}`}
	}
	return c, nil
}

func (c *caller) do() error {
	body := c.bodies[c.turn%uint64(len(c.bodies))]
	return c.exchange(body, body != c.last)
}

func (c *caller) exchange(form string, grant bool) error {
	c.turn++
	body := fmt.Sprintf(form, c.id, c.turn)
	request := "POST /lease HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	if _, err := io.WriteString(c.conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	want := `"status":"RETURNED"`
	if grant {
		want = `"status":"OK"`
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(b, []byte(want)) || !bytes.Contains(b, fmt.Appendf(nil, "%016x%016x", c.id, c.turn)) {
		return fmt.Errorf("baseline answers %d: %s", resp.StatusCode, b)
	}
	if c.turn%verifyEvery != 1 || c.server == nil {
		return nil
	}
	var a struct {
		Response  json.RawMessage
		Signature []byte
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return err
	}
	if !ed25519.Verify(c.server, a.Response, a.Signature) {
		return fmt.Errorf("baseline's signature is bad: %s", b)
	}
	return nil
}

func (c *caller) leave() error {
	err := c.exchange(c.last, false)
	return errors.Join(err, c.conn.Close())
}

// keyOf asks baseline for its public key.
func keyOf(address string) (ed25519.PublicKey, error) {
	r, err := http.Get("http://" + address + "/key")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && len(b) != ed25519.PublicKeySize {
		err = fmt.Errorf("a key of %d bytes", len(b))
	}
	return b, err
}
