package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Options say whom a client asks, whom it believes and who it is. Only a trust bundle is needed; everything else has a default.
type Options struct {
	Server    string   // host:port of the appliance; 127.0.0.1:7070
	Servers   []string // or several, tried in this order
	Trust     []byte   // the producer's trust bundle, as a program embeds it
	TrustFile string   // or where it is

	Dir  string        // what this device keeps; DefaultDir
	Key  crypto.Signer // the device's key, in its TPM for instance; an Ed25519 key kept in Dir
	Host hostid.ID     // the digest of the device's key

	Alias      string // for people; the host name
	User       string // a claim, not a proof
	DeviceType string
	Dictionary []capability.Pair

	Borrow  time.Duration    // longest time without asking again, in whole seconds; the server's
	Timeout time.Duration    // of one exchange; 10 s
	Clock   func() time.Time // time.Now

	dial  func(ctx context.Context, address string) (net.Conn, error)
	judge func(ak, statement, serving []byte) error
}

const defaultTimeout = 10 * time.Second

// DefaultDir is where a device keeps its key and leases unless it is told: $XDG_STATE_HOME/leasehold, or ~/.local/state/leasehold.
func DefaultDir() (string, error) {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "leasehold"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a directory for leases: %w", err)
	}
	return filepath.Join(home, ".local", "state", "leasehold"), nil
}

// Client is one program's part of a device. Its methods are for any number of goroutines.
type Client struct {
	options Options
	codec   *wire.Codec
	device  *device
	store   *store
	link    *link // used under the store's lock

	mu      sync.Mutex
	leases  map[*Lease]struct{}
	over    []*Lease // ended by their time: their shares are still to be taken out of the set
	anchor  anchor
	serial  uint64    // of the answer that the leases stand on
	renewAt time.Time // when to ask again; zero without leases
	failed  int       // renewals in a row that did not come through
	since   time.Time // of the first of them, while no server answers
	closed  bool
	wake    chan struct{} // something above changed
	done    chan struct{}
	ended   sync.WaitGroup
}

// New opens the device's directory and starts what renews leases. It asks no server yet. ErrTrust: the bundle is absent or damaged.
func New(o Options) (*Client, error) {
	codec := wire.New()
	trust, err := readTrust(codec, o.Trust, o.TrustFile)
	if err != nil {
		return nil, err
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Client{
		options: o, codec: codec,
		leases: map[*Lease]struct{}{}, wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	var mine holderID
	rand.Read(mine[:])
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	if c.store, err = openStore(ctx, codec, o.Dir, mine); err != nil {
		return nil, err
	}
	err = c.store.with(ctx, func(*state) error {
		key := o.Key
		if key == nil {
			if key, err = deviceKey(c.store.dir); err != nil {
				return err
			}
		}
		c.device, err = newDevice(key, o.Host)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, c.store.Close())
	}
	c.link = &link{
		codec: codec, trust: trust, servers: o.Servers, dial: o.dial, judge: o.judge, clock: o.Clock, proven: map[wire.KeyID]*wire.ApplianceCertificate{},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{c.device.certificate}, Time: o.Clock,
			// No authority of the web says who an appliance is: its chain does, which connectTo compares with the key of the certificate shown here.
			InsecureSkipVerify: true,
		},
	}
	c.ended.Go(c.keep)
	return c, nil
}

func readTrust(codec *wire.Codec, bundle []byte, file string) (*wire.Trust, error) {
	if bundle == nil {
		if file == "" {
			return nil, refuse(capability.ErrTrust, errors.New("none was given"))
		}
		var err error
		if bundle, err = os.ReadFile(file); err != nil {
			return nil, refuse(capability.ErrTrust, err)
		}
	}
	t, err := codec.DecodeTrust(bundle)
	if err != nil {
		return nil, refuse(capability.ErrTrust, err)
	}
	return t, nil
}

func (o *Options) complete() (err error) {
	if len(o.Servers) == 0 {
		if o.Server == "" {
			o.Server = fmt.Sprintf("127.0.0.1:%d", wire.Port)
		}
		o.Servers = []string{o.Server}
	}
	if o.Dir == "" {
		if o.Dir, err = DefaultDir(); err != nil {
			return err
		}
	}
	if o.Alias == "" {
		if o.Alias, err = os.Hostname(); err != nil {
			return fmt.Errorf("name this device: %w", err)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.dial == nil {
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if o.judge == nil {
		o.judge = attest.JudgeSession
	}
	return nil
}

// Host is the host ID under which appliances know this device.
func (c *Client) Host() hostid.ID { return c.device.host }

// Held is a lease of this device, whichever of its programs took it.
type Held struct {
	Feature string
	Version capability.Version // the least that is asked for
	Count   uint32
	Expiry  time.Time // zero: no answer that still counts covers it
}

// Held lists what this device holds by what was kept. It asks no server.
func (c *Client) Held(ctx context.Context) ([]Held, error) {
	var all []Held
	err := c.change(ctx, func(s *state) error {
		kept := c.kept(s)
		for _, d := range s.desired() {
			h := Held{Feature: d.Feature, Version: d.Version, Count: d.Count}
			if end := covered(kept, d.Feature, d.Version, s.count(nil, d.Feature, d.Version)); end > c.now() {
				h.Expiry = c.local(end)
			}
			all = append(all, h)
		}
		return nil
	})
	return all, err
}

// Preview says what Acquire would get now, and changes nothing. A refusal is an error as Acquire's; Wait and Keep mean nothing here.
func (c *Client) Preview(ctx context.Context, feature string, options ...Option) (capability.Line, error) {
	w, err := newWish(feature, options)
	if err != nil {
		return capability.Line{}, err
	}
	var line capability.Line
	err = c.change(ctx, func(s *state) error {
		s.add(c.store.mine, w.feature, int64(w.count))
		r, lines := c.request(capability.Preview, s, true)
		resp, err := c.ask(ctx, s, r)
		s.add(c.store.mine, w.feature, -int64(w.count))
		if err != nil {
			return err
		}
		line, err = lineOf(resp, lines, w.feature)
		return err
	})
	return line, err
}

// Release gives back everything this device holds of a feature, also what other programs on it acquired; their leases end. ErrNoSuchLease: it holds nothing of it.
// When no server can be reached the counts are given back with the next request, and ErrServerUnreachable says so.
func (c *Client) Release(ctx context.Context, feature string) error {
	return c.release(ctx, []string{feature}, func(s *state) error {
		before := len(s.Holdings)
		s.Holdings = slices.DeleteFunc(s.Holdings, func(h holding) bool { return h.Feature == feature })
		if len(s.Holdings) == before {
			return denied(capability.Denial{Code: capability.ErrNoSuchLease, Subject: feature})
		}
		return nil
	})
}

// release takes something of the features out of the set and tells the server. What was taken out stays out, whether a server hears of it or not.
func (c *Client) release(ctx context.Context, features []string, take func(*state) error) error {
	var told error
	err := c.change(ctx, func(s *state) error {
		if err := take(s); err != nil {
			return err
		}
		r, _ := c.request(capability.Grant, s, false)
		for _, f := range features {
			// Naming it with nothing says "give it back" also where an empty set would mean "what is mine".
			if s.count(nil, f, capability.Version{}) == 0 {
				r.Desired = append(r.Desired, capability.Desired{Feature: f})
			}
		}
		resp, err := c.ask(ctx, s, r)
		if err == nil && resp.Status == capability.StatusDenied {
			err = denied(firstDenial(resp))
		}
		if err == nil {
			c.adopt(s, resp)
		}
		told = err
		return nil
	})
	return errors.Join(err, told)
}

// Close gives back the leases of this client that were not released, except what was acquired to be kept, and ends its connection. It waits at most the time of one
// exchange. Leases that could not be given back end with their time.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	var names []string
	for l := range c.leases {
		if l.holder == c.store.mine && !slices.Contains(names, l.feature.Name) {
			names = append(names, l.feature.Name)
		}
		l.lose(ErrReleased)
	}
	close(c.done)
	c.mu.Unlock()
	c.ended.Wait()

	ctx, cancel := context.WithTimeout(context.Background(), c.options.Timeout)
	defer cancel()
	var err error
	if len(names) > 0 {
		err = c.release(ctx, names, func(s *state) error {
			s.Holdings = slices.DeleteFunc(s.Holdings, func(h holding) bool { return h.Holder == c.store.mine })
			return nil
		})
	}
	c.link.close()
	return errors.Join(err, c.store.Close())
}

// change runs f on the state of the device, without what has ended: leases of this client, and what was kept for nobody.
func (c *Client) change(ctx context.Context, f func(*state) error) error {
	var over []*Lease
	err := c.store.with(ctx, func(s *state) error {
		kept := c.kept(s)
		c.drop(s, kept)
		now := c.now()
		c.mu.Lock()
		over, c.over = c.over, nil
		c.mu.Unlock()
		for _, l := range over {
			s.add(l.holder, l.feature, -int64(l.count))
		}
		s.Holdings = slices.DeleteFunc(s.Holdings, func(h holding) bool {
			return h.Holder == holderID{} && covered(kept, h.Feature, h.Version, 1) <= now
		})
		err := f(s)
		if now = c.now(); now-s.Seen >= seenStep || now < s.Seen {
			s.Seen = now
		}
		return err
	})
	if err != nil { // nothing was kept: the next change takes them out
		c.mu.Lock()
		c.over = append(c.over, over...)
		c.mu.Unlock()
	}
	return err
}

// request is the whole wish of this device.
func (c *Client) request(op capability.Operation, s *state, atomic bool) (*capability.Request, []capability.Desired) {
	r := &capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{c.device.host}, Operation: op, Atomic: atomic, Desired: s.desired(),
		User: c.options.User, Alias: c.options.Alias, DeviceType: c.options.DeviceType, Dictionary: c.options.Dictionary,
		Borrow: capability.Seconds(c.options.Borrow / time.Second),
	}
	if k := c.kept(s); k != nil {
		r.Applied = k.Serial
	}
	return r, r.Desired
}

// ask sends a request, once more with the receipt if a hold asks for one and it covers the whole set, and gives the verified answer. What it states as held is kept.
func (c *Client) ask(ctx context.Context, s *state, r *capability.Request) (*capability.Response, error) {
	resp, err := c.askOnce(ctx, s, r)
	if err != nil || r.Operation != capability.Grant || !denies(resp, capability.ErrHold) || !c.receiptCovers(s) {
		return resp, err
	}
	again := *r
	again.Receipt = c.codec.Encode(wire.Receipt{Answer: s.Answer, Serving: s.Chain.Serving, Statement: s.Chain.Statement})
	return c.askOnce(ctx, s, &again)
}

func (c *Client) askOnce(ctx context.Context, s *state, r *capability.Request) (*capability.Response, error) {
	rand.Read(r.Correlation[:])
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	frame := c.codec.Frame(wire.MessageRequest, r)
	if len(frame) > capability.MaxFrame+4 {
		return nil, refuse(capability.ErrProto, fmt.Errorf("request of %d bytes where at most %d are allowed", len(frame), capability.MaxFrame))
	}
	once, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	sent := c.options.Clock()
	var resp *capability.Response
	var unproven error
	a, err := c.link.exchange(once, frame, func(a *wire.Answer) bool {
		resp, _, unproven = c.codec.VerifyAnswer(c.link.chain.Serving, a)
		return unproven != nil || resp.Correlation == r.Correlation
	})
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("ask the license server: %w", context.Cause(ctx))
	}
	c.heard(err)
	if err != nil {
		return nil, err
	}
	if unproven == nil {
		unproven = errors.Join(c.ours(resp), inTime(c.link.appliance, resp.Time))
	}
	if unproven != nil {
		c.link.close()
		return nil, refuse(capability.ErrServerUnproven, unproven)
	}
	if err := c.fresh(s, resp); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.anchor = anchor{sent, resp.Time.Add(1)} // its second may be almost over: better a lease ends a second early here than late
	c.mu.Unlock()
	if r.Operation == capability.Grant && resp.Serial != 0 && resp.Status != capability.StatusDenied && resp.Status != capability.StatusPreview {
		s.Chain, s.Answer = c.link.chain, *a
	}
	return resp, nil
}

// ours refuses what was signed for another device, or for another key of this one.
func (c *Client) ours(r *capability.Response) error {
	switch {
	case r.For != c.device.host:
		return fmt.Errorf("the answer is for %s, and this device is %s", r.For, c.device.host)
	case r.Key != c.device.key && (r.Key != capability.Digest{} || len(r.Rights) > 0):
		return errors.New("the answer is for another key of this device")
	}
	return nil
}

// fresh refuses an answer past its lifetime, and one that is older than what is kept while that still counts.
func (c *Client) fresh(s *state, r *capability.Response) error {
	now := capability.At(c.options.Clock())
	if end := r.Time.Add(r.Lifetime); r.Lifetime != 0 && now > end {
		return denied(capability.Denial{Code: capability.ErrResponseStale,
			Detail: fmt.Sprintf("the answer was made %s and counts until %s; the clock here says %s", r.Time, end, now)})
	}
	kept := c.kept(s)
	if kept == nil || r.Serial == 0 || r.Serial > kept.Serial || !c.sameAppliance(s) || !lasts(kept, c.now()) {
		return nil
	}
	code := capability.OlderResponse
	if r.Serial == kept.Serial {
		code = capability.ErrReplayedSerial // it answers another request than the kept one does
	}
	return denied(capability.Denial{Code: code, Detail: fmt.Sprintf("serial %d where %d is kept", r.Serial, kept.Serial)})
}

// receiptCovers says whether the kept answer still gives all that the set states: only then does it renew anything during a hold.
func (c *Client) receiptCovers(s *state) bool {
	kept := c.kept(s)
	return kept != nil && !slices.ContainsFunc(s.Holdings, func(h holding) bool {
		return covered(kept, h.Feature, h.Version, s.count(nil, h.Feature, h.Version)) <= c.now()
	})
}

// sameAppliance says whether the kept answer came from the appliance that is connected: serials of two appliances have no order.
func (c *Client) sameAppliance(s *state) bool {
	a, err := c.link.prove(&s.Chain)
	return err == nil && a.Host == c.link.appliance.Host
}

// kept is the kept answer if the producer's root leads to it and it is this device's; else nil.
func (c *Client) kept(s *state) *capability.Response {
	if len(s.Answer.Response) == 0 {
		return nil
	}
	appliance, err := c.link.prove(&s.Chain)
	if err != nil {
		return nil
	}
	r, _, err := c.codec.VerifyAnswer(s.Chain.Serving, &s.Answer)
	if err != nil || c.ours(r) != nil || inTime(appliance, r.Time) != nil {
		return nil
	}
	return r
}
