package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/hostid"
)

const feature = "render"

func version() capability.Version { return capability.Version{Major: 2026, Minor: 1} }

// device is a client's key with, or without, a connection.
type device struct {
	address string
	from    net.IP
	codec   *wire.Codec
	config  *tls.Config
	id      hostid.ID
	conn    *tls.Conn
	again   int // connections after the first
}

func newDevice(address string, from net.IP) (*device, error) {
	key, id, err := rig.NewDevice()
	if err != nil {
		return nil, err
	}
	return &device{
		address: address, from: from, codec: wire.New(), id: id,
		config: &tls.Config{
			InsecureSkipVerify: true, // what proves a server is its chain, and here it is known
			MinVersion:         tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{wire.ALPN},
			Certificates: []tls.Certificate{*key},
		},
	}, nil
}

// dial opens a raw connection from an address of this machine.
func dial(address string, from net.IP, within time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: within, LocalAddr: &net.TCPAddr{IP: from}}
	return d.Dial("tcp", address)
}

func (d *device) connect(within time.Duration) (*tls.Conn, error) {
	raw, err := dial(d.address, d.from, within)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, d.config)
	if err := errors.Join(conn.SetDeadline(time.Now().Add(within)), conn.Handshake()); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// patience of an honest client: as the SDK it makes a connection anew that was cut, and sends the same request again.
const patience = 10 * time.Second

// ask asks for exactly so many counts until there is an answer. One that is not the wanted one is an error, and so is none within patience.
func (d *device) ask(count uint32) error {
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{d.id}}
	if count > 0 {
		r.Desired = []capability.Desired{{Feature: feature, Version: version(), Count: count}}
	}
	rand.Read(r.Correlation[:])
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); d.again++ {
		if err = d.try(r, count, time.Until(end)); err == nil {
			return nil
		}
		if d.conn != nil {
			d.conn.Close()
			d.conn = nil
		}
		if wrong := (*wrongAnswer)(nil); errors.As(err, &wrong) {
			return err
		}
	}
	return fmt.Errorf("no answer within %s: %w", patience, err)
}

type wrongAnswer struct{ what string }

func (w *wrongAnswer) Error() string { return w.what }

func (d *device) try(r *capability.Request, count uint32, within time.Duration) (err error) {
	if d.conn == nil {
		if d.conn, err = d.connect(within); err != nil {
			return err
		}
	}
	if err := d.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if err := d.codec.WriteFrame(d.conn, wire.MessageRequest, r); err != nil {
		return err
	}
	kind, body, err := d.codec.ReadFrame(d.conn)
	if err != nil {
		return err
	}
	var a wire.Answer
	if kind != wire.MessageAnswer || d.codec.Decode(body, &a, capability.MaxFrame) != nil {
		return &wrongAnswer{fmt.Sprintf("message %d where an answer is wanted", kind)}
	}
	resp, _, err := d.codec.VerifyAnswer(d.conn.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey), &a)
	if err != nil {
		return &wrongAnswer{err.Error()}
	}
	var has uint32
	for _, right := range resp.Rights {
		has += right.Count
	}
	if resp.Correlation != r.Correlation || has != count {
		return &wrongAnswer{fmt.Sprintf("%d where %d were asked for: %s, %v", has, count, resp.Status, resp.Denials)}
	}
	return nil
}

func (d *device) leave() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// tallied is what became of the requests of one kind in one phase.
type tallied struct {
	Tried  int      `json:"tried"`
	Failed int      `json:"failed"`
	Again  int      `json:"connectedAgain"` // connections that were cut, and made anew
	P50    float64  `json:"p50ms"`
	P99    float64  `json:"p99ms"`
	Most   float64  `json:"maxms"`
	Why    []string `json:"why,omitempty"`

	took []time.Duration
}

func (t *tallied) add(took time.Duration, again int, err error) {
	t.Tried++
	t.Again += again
	if t.took = append(t.took, took); err != nil {
		if t.Failed++; len(t.Why) < 5 {
			t.Why = append(t.Why, err.Error())
		}
	}
}

func (t *tallied) sum() {
	slices.Sort(t.took)
	at := func(q float64) float64 {
		if len(t.took) == 0 {
			return 0
		}
		return float64(t.took[int(q*float64(len(t.took)-1))].Microseconds()) / 1000
	}
	t.P50, t.P99, t.Most = at(.5), at(.99), at(1)
}

// honest is what the plant's clients do all the time, whoever else is there.
type honest struct {
	target  *target
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	seen *heard // of the present phase
}

// heard is what the clients heard in one phase. Renewals come over connections that stay, Returning over new ones of devices that hold a lease, Newcomers from keys that nobody knows.
type heard struct {
	Renewals  tallied `json:"renewals"`
	Returning tallied `json:"returning"`
	Checkouts tallied `json:"checkouts"`
	Newcomers tallied `json:"newcomers"`
}

// How many of each there are, and the pause between two requests of one.
const (
	renewers, renewEvery     = 8, 50 * time.Millisecond
	returners, returnEvery   = 2, 200 * time.Millisecond
	workers, workEvery       = 4, 10 * time.Millisecond
	newcomers, newcomerEvery = 1, time.Second
	honestConnections        = renewers + returners + workers + newcomers
)

func begin(t *target) (*honest, error) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &honest{target: t, stop: cancel, seen: &heard{}}
	for _, kind := range []struct {
		n     int
		every time.Duration
		does  func(d *device)
	}{
		{renewers, renewEvery, func(d *device) { h.note(func(s *heard) *tallied { return &s.Renewals }, d, 1) }},
		{returners, returnEvery, func(d *device) { h.note(func(s *heard) *tallied { return &s.Returning }, d, 1); d.leave() }},
		{workers, workEvery, func(d *device) {
			h.note(func(s *heard) *tallied { return &s.Checkouts }, d, 1)
			if err := d.ask(0); err != nil {
				h.add(func(s *heard) *tallied { return &s.Checkouts }, 0, 0, err)
			}
		}},
		{newcomers, newcomerEvery, func(old *device) {
			d, err := newDevice(old.address, old.from)
			if err != nil {
				h.add(func(s *heard) *tallied { return &s.Newcomers }, 0, 0, err)
				return
			}
			h.note(func(s *heard) *tallied { return &s.Newcomers }, d, 1)
			d.leave()
		}},
	} {
		for range kind.n {
			d, err := newDevice(t.Address(), net.IPv4(127, 0, 0, 1))
			if err == nil && kind.n != newcomers {
				err = d.ask(1)
			}
			if err != nil {
				cancel()
				return nil, err
			}
			h.running.Go(func() {
				defer d.leave()
				for ctx.Err() == nil {
					kind.does(d)
					select {
					case <-time.After(kind.every):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	return h, nil
}

func (h *honest) note(of func(*heard) *tallied, d *device, count uint32) {
	begun, before := time.Now(), d.again
	err := d.ask(count)
	h.add(of, time.Since(begun), d.again-before, err)
}

func (h *honest) add(of func(*heard) *tallied, took time.Duration, again int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of(h.seen).add(took, again, err)
}

// phase gives what was heard since the last call, and begins anew.
func (h *honest) phase() *heard {
	h.mu.Lock()
	s := h.seen
	h.seen = &heard{}
	h.mu.Unlock()
	for _, t := range []*tallied{&s.Renewals, &s.Returning, &s.Checkouts, &s.Newcomers} {
		t.sum()
	}
	return s
}

func (h *honest) end() {
	h.stop()
	h.running.Wait()
}
