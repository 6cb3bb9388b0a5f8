package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
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
	Server    string   // host:port of the appliance, or https://host:port of a back office that serves seats to users; 127.0.0.1:7070
	Servers   []string // or several, tried in this order, of appliances beginning with the last that was good
	Trust     []byte   // the producer's trust bundle, as a program embeds it
	TrustFile string   // or where it is

	Dir  string        // what this device keeps; DefaultDir. A copy of it on another machine is another device.
	Key  crypto.Signer // the device's key; one that is kept in Dir
	Host hostid.ID     // the digest of the device's key

	// How the key is kept in Dir where it is not given: by Keys, in the machine's TPM; else in a file that is bound to Machine, if a probe found enough of that; else in a
	// file that its owner's account reads. A key that is there stays the device's.
	Keys    KeyMaker
	Machine hostid.Machine
	// NewDevice lets a machine that shows too little of itself to open a key that is bound to one begin as another device, without the leases of that one. Else it is ErrBinding.
	NewDevice bool

	Alias      string // for people; the host name
	User       string // a claim, not a proof
	DeviceType string
	Dictionary []capability.Pair

	Borrow  time.Duration    // longest time without asking again, in whole seconds; the server's
	Timeout time.Duration    // of one exchange, and of finding a server for it; 10 s
	Clock   func() time.Time // time.Now

	// Seats opens where this machine keeps who its user is to the back offices in the list, when one is asked first; nil: SeatsDir in Dir, bound to Machine. Close closes it.
	Seats       func(ctx context.Context) (*Standalone, error)
	Authorities *x509.CertPool // that stand for the certificates of back offices; nil: those of the system
	// SignIn asks the user who it is, for the back office at an address, where what KeepSignIn has kept does not count any more; nil: that is ErrUserToken.
	SignIn func(ctx context.Context, server string) (Credentials, error)

	// Dial makes a connection to a server; nil: over TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	judge     func(ak, statement, serving []byte) error
	suspended func() time.Duration // how long the machine has slept
	machine   string               // names it
	carry     http.RoundTripper    // to back offices, of tests
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

// Client is one program's part of a device. Held, Preview, Release and Report are about appliances; Acquire may end at a back office too. Its methods are for any number of goroutines.
type Client struct {
	options Options
	codec   *wire.Codec
	device  *device
	store   *store
	foreign error // the directory was begun by another machine
	link    *link // used in the store's turn
	life    context.Context
	end     context.CancelCauseFunc
	ended   sync.WaitGroup
	wake    chan struct{} // for keep: something below changed
	sooner  chan struct{} // and for watch

	dir     string   // of the device
	order   []string // of the list: back offices, and empty for the appliances
	opening chan struct{}
	own     *Standalone // where seats are kept, once one was asked for; in the turn of opening, as shut is
	shut    bool

	taking []*Lease // of over, by the change that runs; in the store's turn

	mu      sync.Mutex
	leases  map[*Lease]struct{}
	over    []*Lease  // acquired to be kept, and released: their shares are still to be taken out of the set
	tidyAt  time.Time // when what has ended is to be taken out of the set; zero: nothing has
	anchor  anchor
	judged  judged
	serial  uint64    // of the answer that the leases stand on
	renewAt time.Time // when to ask again; zero without leases
	failed  int       // renewals in a row that did not come through
	since   time.Time // of the first of them, while no server answers
	closed  bool
	owed    bool                                   // an appliance has not answered, or has not heard what was given back
	sent    map[capability.CorrelationID]time.Time // of requests that are not answered: when they went out, or no later
	looked  time.Time                              // at the state of the device, last
	before  time.Time                              // and the time before that
}

// New opens the device's directory and starts what renews leases. It asks no server yet. ErrTrust: the bundle is absent or damaged. ErrClientStore: the directory
// cannot be used, its key is damaged, or this is the device's first program and another keeps the directory locked for longer than Timeout.
func New(o Options) (*Client, error) {
	codec := wire.New()
	trust, err := readTrust(codec, o.Trust, o.TrustFile)
	if err != nil {
		return nil, err
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	appliances, order, err := places(o.Servers)
	if err != nil {
		return nil, err
	}
	c := &Client{
		options: o, codec: codec, order: order, opening: make(chan struct{}, 1),
		leases: map[*Lease]struct{}{}, sent: map[capability.CorrelationID]time.Time{}, wake: make(chan struct{}, 1), sooner: make(chan struct{}, 1),
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	var mine holderID
	rand.Read(mine[:])
	ctx, cancel := patience(context.Background(), o.Timeout)
	defer cancel()
	dir, foreign, err := ownDir(ctx, o.Dir, o.machine)
	if err != nil {
		return nil, err
	}
	c.foreign, c.dir = foreign, dir
	if c.store, err = openStore(codec, dir, mine); err != nil {
		return nil, err
	}
	key := o.Key
	if key == nil {
		key, err = o.ownKey(ctx, codec, c.store.dir)
	}
	if errors.Is(err, ErrOtherMachine) { // a disk that was copied with all that names its machine
		c.foreign = refuse(capability.ErrBinding, err)
		if err = c.store.Close(); err != nil {
			return nil, err
		}
		c.dir = filepath.Join(dir, machinesDir, o.shown())
		if c.store, err = openStore(codec, c.dir, mine); err != nil {
			return nil, err
		}
		key, err = o.ownKey(ctx, codec, c.store.dir)
	}
	if err == nil {
		c.device, err = newDevice(key, o.Host)
	}
	if err != nil {
		return nil, errors.Join(err, c.store.Close())
	}
	c.link = &link{
		codec: codec, trust: trust, servers: appliances, dial: o.Dial, judge: o.judge, clock: o.Clock, proven: map[[sha256.Size]byte]*wire.ApplianceCertificate{},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{c.device.certificate}, Time: o.Clock,
			// No authority of the web says who an appliance is: its chain does, which connectTo compares with the key of the certificate shown here.
			InsecureSkipVerify: true,
		},
	}
	// The clock is judged before anything takes time.
	kept := c.store.peek()
	c.drop(kept, c.kept(kept))
	c.ended.Go(c.watch)
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
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if o.judge == nil {
		o.judge = attest.JudgeSession
	}
	if o.machine == "" {
		o.machine = thisMachine()
	}
	if o.suspended == nil {
		o.suspended = suspended
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
			if end := covered(kept, d.Feature, d.Version, max(s.count(nil, d.Feature, d.Version), uint64(d.Count))); end > c.now() && !s.Late && c.believed() == nil {
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
	err = c.converse(ctx, func(ctx context.Context, s *state) error {
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
			no := capability.Denial{Code: capability.ErrNoSuchLease, Subject: feature}
			if slices.ContainsFunc(s.Away, func(a holding) bool { return a.Feature == feature }) {
				no.Detail = "it is borrowed by a file, and given back by one: leasehold release " + feature + " -o DIR"
			}
			return denied(no)
		}
		return nil
	})
}

// release takes something of the features out of the set and tells the server. What was taken out stays out, whether a server hears of it or not.
func (c *Client) release(ctx context.Context, features []string, take func(*state) error) error {
	var told, no error
	err := c.converse(ctx, func(ctx context.Context, s *state) error {
		no, told = c.giveUp(ctx, s, features, take)
		return no
	})
	if err != nil && no == nil { // the set is as it was, and leases have ended: the keeper goes on
		c.owe(0)
	}
	return errors.Join(err, told)
}

// giveUp is release inside a change. no: nothing was taken out; told: no server has heard of what was.
func (c *Client) giveUp(ctx context.Context, s *state, features []string, take func(*state) error) (no, told error) {
	if err := take(s); err != nil {
		return err, nil
	}
	c.mu.Lock()
	c.taking = append(c.taking, c.lapse(s)...) // nobody uses any more what the server is told is free
	c.mu.Unlock()
	if c.lent(s) {
		c.paid()
		return nil, nil
	}
	r, _ := c.request(capability.Grant, s, false)
	if len(r.Desired) == 0 { // nothing was had, unless what was not answered has it
		if err := c.settle(ctx, s); err != nil {
			return nil, err
		}
		r, _ = c.request(capability.Grant, s, false)
	}
	for _, f := range features {
		if s.count(nil, f, capability.Version{}) == 0 {
			r.Desired = giveBack(r.Desired, f)
		}
	}
	if len(r.Desired) == 0 {
		c.paid()
		return nil, nil
	}
	resp, err := c.ask(ctx, s, r)
	if err == nil && resp.Status == capability.StatusDenied {
		err = denied(firstDenial(resp))
	}
	if err == nil {
		c.adopt(s, resp)
	} else {
		c.owe(backoff(c.tries()))
	}
	return nil, err
}

// Close gives back the leases of this client that were not released, except what was acquired to be kept, and ends its connection; whatever runs beside it ends with
// ErrClosed. It waits at most the time of one exchange. Leases that could not be given back end with their time.
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
	c.mu.Unlock()
	c.end(ErrClosed)
	unseated := c.closeSeats()
	c.ended.Wait()

	wait, cancel := patience(context.Background(), c.options.Timeout)
	defer cancel()
	if err := c.store.take(wait); err != nil {
		return errors.Join(unseated, err) // something still runs in spite of its context, and ends with what it finds here
	}
	defer c.store.leave()
	c.mu.Lock()
	owed := c.owed || len(c.over) > 0
	c.mu.Unlock()
	var err error
	if owed || len(names) > 0 {
		ask, cancel := context.WithTimeoutCause(context.Background(), c.options.Timeout, refuse(capability.ErrServerUnreachable, fmt.Errorf("no answer in %s", c.options.Timeout)))
		defer cancel()
		c.approach(ask)
		var no, told error
		err = c.changed(wait, func(s *state) error {
			no, told = c.giveUp(ask, s, names, func(*state) error { return nil })
			return no
		})
		err = errors.Join(err, told)
	}
	c.link.close()
	return errors.Join(unseated, err, c.store.Close())
}

// living is a context that ends with the client too.
func (c *Client) living(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// change runs f on the state of the device, without what has ended: leases of this client, and what was kept for nobody. What the device shall hold stays as it
// was if f says no; what was heard or sent meanwhile is kept all the same.
func (c *Client) change(ctx context.Context, f func(*state) error) error {
	ctx, cancel := c.living(ctx)
	defer cancel()
	if err := c.turn(ctx); err != nil {
		return err
	}
	defer c.store.leave()
	return c.changed(ctx, f)
}

// converse is change for what asks a server. A server is looked for before the other programs of the device are kept waiting.
func (c *Client) converse(ctx context.Context, f func(context.Context, *state) error) error {
	ctx, cancel := c.living(ctx)
	defer cancel()
	if err := c.turn(ctx); err != nil {
		return err
	}
	defer c.store.leave()
	c.approach(ctx)
	return c.changed(ctx, func(s *state) error { return f(ctx, s) })
}

// turn waits for the store's turn. ErrClosed: Close has had it, or will.
func (c *Client) turn(ctx context.Context) error {
	if err := c.store.take(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.store.leave()
		return ErrClosed
	}
	return nil
}

// approach tries to reach a server; that it could not, the first exchange that follows says. In the store's turn.
func (c *Client) approach(ctx context.Context) {
	once, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	c.link.missed = c.link.reach(once)
}

// changed is change in the store's turn.
func (c *Client) changed(ctx context.Context, f func(*state) error) error {
	var no error
	err := c.store.with(ctx, func(s *state) error {
		kept := c.kept(s)
		c.mu.Lock()
		now := c.passed(c.judged.mark) // a clock that is too far ahead ends nothing for good
		c.taking, c.over, c.tidyAt = c.over, nil, time.Time{}
		c.look(s)
		c.lapse(s) // another program gave back what this one holds: the keeper does not look again at what was read here
		c.prune(s)
		c.mu.Unlock()
		for _, l := range c.taking {
			s.add(l.holder, l.feature, -int64(l.count))
		}
		s.Holdings = slices.DeleteFunc(s.Holdings, func(h holding) bool {
			return h.Holder == holderID{} && covered(kept, h.Feature, h.Version, 1) <= now
		})
		if len(s.Filed.Request) == 0 {
			s.Away = slices.DeleteFunc(s.Away, func(a holding) bool { return covered(kept, a.Feature, a.Version, 1) <= now })
		}
		before, borrow := slices.Clone(s.Holdings), s.Borrow
		if no = f(s); no != nil {
			s.Holdings, s.Borrow = before, borrow
			if kept := c.kept(s); kept != nil && len(s.Less) == 0 && !s.Late {
				c.mu.Lock()
				made := c.anchor
				c.mu.Unlock()
				c.shorten(s, kept, made)
			}
		}
		if len(s.Holdings)+len(s.Away) == 0 {
			s.Borrow = 0
		}
		c.see(s)
		return nil
	})
	if err != nil { // not all was kept: the next change takes out what is over
		c.mu.Lock()
		c.over = append(c.over, c.taking...)
		c.tidyAt = c.clock().Add(wakeUp)
		c.mu.Unlock()
		c.stir()
	}
	c.taking = nil
	return errors.Join(no, err)
}

// prune takes out of the set what this client has no lease for any more, and says whether there was any. Under c.mu.
func (c *Client) prune(s *state) (any bool) {
	live := map[capability.Feature]uint32{}
	for l := range c.leases {
		if l.holder == c.store.mine {
			live[l.feature] += l.count
		}
	}
	for i := range s.Holdings {
		h := &s.Holdings[i]
		if n := live[capability.Feature{Name: h.Feature, Version: h.Version}]; h.Holder == c.store.mine && h.Count > n {
			h.Count, any = n, true
		}
	}
	s.Holdings = slices.DeleteFunc(s.Holdings, func(h holding) bool { return h.Count == 0 })
	return any
}

// look notes of requests that another program sent that it did so after the last look. Under c.mu.
func (c *Client) look(s *state) {
	pending := map[capability.CorrelationID]bool{}
	for i := range s.Peers {
		if q := c.pending(&s.Peers[i]); q != nil {
			pending[q.Correlation] = true
			if _, known := c.sent[q.Correlation]; !known {
				c.sent[q.Correlation] = c.looked
			}
		}
	}
	maps.DeleteFunc(c.sent, func(id capability.CorrelationID, _ time.Time) bool { return !pending[id] })
	c.before, c.looked = c.looked, c.clock()
}
