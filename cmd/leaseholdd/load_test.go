package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/hostid"
)

// desk is one client with a key of its own, which writes down what it was told. It speaks the protocol itself: an SDK that answers from what it kept would hide
// what the appliance forgot.
type desk struct {
	id     hostid.ID
	config *tls.Config
	codec  *wire.Codec
	conn   *tls.Conn
	until  context.Context   // the end of all waiting, if set
	server ed25519.PublicKey // of the last answer
	heard  func()            // called as soon as an answer is there, before anything is made of it

	mu       sync.Mutex
	held     uint32          // counts of the last verified answer
	expiry   capability.Time // of them
	asked    uint32          // counts in a request that was not answered
	open     bool            // there is such a request
	answered int
	serial   uint64
	wrong    []string
}

func newDesk() (*desk, error) {
	key, id, err := rig.NewDevice()
	if err != nil {
		return nil, err
	}
	return &desk{
		id: id, codec: wire.New(), config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{*key}},
	}, nil
}

func desks(n int) ([]*desk, error) {
	all := make([]*desk, n)
	for i := range all {
		var err error
		if all[i], err = newDesk(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// want asks for so many counts and waits for the answer. denied is a decision; any error is silence.
func (d *desk) want(address string, count uint32, fill func(*capability.Request)) (denied []capability.Denial, err error) {
	d.mu.Lock()
	d.asked, d.open = count, true
	d.mu.Unlock()
	defer func() {
		if err != nil && d.conn != nil {
			d.conn.Close()
			d.conn = nil
		}
	}()
	if d.conn == nil {
		raw, err := net.DialTimeout("tcp", address, 30*time.Second)
		if err != nil {
			return nil, err
		}
		d.conn = tls.Client(raw, d.config)
	}
	if err := d.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if conn := d.conn; d.until != nil {
		over := make(chan struct{})
		stop := context.AfterFunc(d.until, func() { conn.SetDeadline(time.Unix(1, 0)); close(over) })
		defer func() {
			if !stop() {
				<-over // or it would end the next wait
			}
		}()
	}
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{d.id}}
	if count > 0 {
		r.Desired = []capability.Desired{{Feature: "render", Version: version(), Count: count}}
	}
	rand.Read(r.Correlation[:])
	if fill != nil {
		fill(r)
	}
	if err := d.codec.WriteFrame(d.conn, wire.MessageRequest, r); err != nil {
		return nil, err
	}
	kind, body, err := d.codec.ReadFrame(d.conn)
	if err != nil {
		return nil, err
	}
	if d.heard != nil {
		d.heard()
	}
	var a wire.Answer
	if kind != wire.MessageAnswer {
		return nil, fmt.Errorf("message %d for an answer", kind)
	}
	if err := d.codec.Decode(body, &a, capability.MaxFrame); err != nil {
		return nil, err
	}
	key, ok := d.conn.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the server's key is no Ed25519 key")
	}
	d.server = key
	resp, _, err := d.codec.VerifyAnswer(key, &a)
	if err != nil {
		return nil, err
	}
	if resp.Correlation != r.Correlation {
		return nil, fmt.Errorf("an answer to another request")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = false
	d.answered++
	for _, l := range resp.Lines {
		if l.Denial.Code != 0 {
			denied = append(denied, l.Denial)
		}
	}
	denied = append(denied, resp.Denials...)
	if resp.Serial == 0 {
		return denied, nil // nothing was decided
	}
	if resp.Serial <= d.serial {
		d.wrong = append(d.wrong, fmt.Sprintf("serial %d after %d", resp.Serial, d.serial))
	}
	d.serial, d.held, d.expiry = resp.Serial, 0, 0
	for _, right := range resp.Rights {
		d.held += right.Count
		d.expiry = max(d.expiry, right.Expiry)
	}
	if len(denied) == 0 && d.held != count {
		d.wrong = append(d.wrong, fmt.Sprintf("asked for %d, got %d, and no denial", count, d.held))
	}
	return denied, nil
}

func version() capability.Version {
	f, err := capability.ParseFeature("render:2026.1")
	if err != nil {
		panic(err)
	}
	return f.Version
}

// work asks over a connection of its own for one count after another, until ctx ends or nobody answers: that is the error.
func (d *desk) work(ctx context.Context, address string, chance *mrand.Rand) error {
	d.leave() // the daemon that it was with may be gone
	d.until = ctx
	defer func() { d.until = nil }()
	for {
		denied, err := d.want(address, uint32(chance.IntN(10)), nil)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if len(denied) > 0 {
			d.mu.Lock()
			d.wrong = append(d.wrong, fmt.Sprintf("denied: %v", denied))
			d.mu.Unlock()
		}
	}
}

// leave ends the connection.
func (d *desk) leave() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// audit compares what the appliance has with what this client was told: that, or what it asked for last if nothing was heard of it.
func (d *desk) audit(has uint32, now capability.Time) (wrong []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lapsed := d.held > 0 && now >= d.expiry-1
	if has != d.held && !(d.open && has == d.asked) && !(lapsed && has == 0) {
		d.wrong = append(d.wrong, fmt.Sprintf("%s has %d, was told %d, asked for %d (unanswered %v)", d.id, has, d.held, d.asked, d.open))
	}
	wrong, d.wrong = d.wrong, nil
	d.held, d.open = has, false
	return wrong
}

// audit compares all clients with the appliance's own list, in which nobody else is.
func (b *box) audit(all []*desk) (wrong []string, err error) {
	var devices []console.Device
	if err := b.get("devices", &devices); err != nil {
		return nil, err
	}
	has := map[string]uint32{}
	for _, d := range devices {
		for _, h := range d.Holdings {
			has[d.Host.String()] += h.Count
		}
	}
	now := capability.At(time.Now())
	for _, d := range all {
		name := console.HostOf(d.id).String()
		wrong = append(wrong, d.audit(has[name], now)...)
		delete(has, name)
	}
	for name, n := range has {
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("%s has %d and nobody of that name asked", name, n))
		}
	}
	return wrong, nil
}
