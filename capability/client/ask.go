package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A request whose answer was not heard may have been decided or not. Until it is known this device believes in the less of what it had and of what it asked
// for, and in nothing longer than it was told before; the same request goes out again, with the same correlation ID, before anything else is asked of that
// appliance. The order of writes is: the request and what it gives back, then the request on the wire, then its answer. A cut at the first gap leaves a request
// that is sent for the first time later; at the second one, a request that is sent again and answered as before.

// request is the whole wish of this device. Naming a feature with nothing says "give it back" where an empty set would mean "what is mine".
func (c *Client) request(op capability.Operation, s *state, atomic bool) (*capability.Request, []capability.Desired) {
	r := &capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{c.device.host}, Operation: op, Atomic: atomic, Desired: s.desired(),
		User: c.options.User, Alias: c.options.Alias, DeviceType: c.options.DeviceType, Dictionary: c.options.Dictionary,
		Borrow: max(capability.Seconds(c.options.Borrow/time.Second), s.Borrow),
	}
	if op == capability.Grant { // decided, it overtakes every file from before
		r.Number = s.Filed.Number
	}
	for _, u := range s.Metered { // what may be used again would be given back by not naming it
		if op != capability.Report {
			r.Desired = append(r.Desired, capability.Desired{Feature: u.Feature, Version: u.Version, Count: u.Count})
		}
	}
	if kept := c.kept(s); op == capability.Grant && len(r.Desired) == 0 && kept != nil {
		for _, l := range s.Less {
			r.Desired = giveBack(r.Desired, l.Feature)
		}
		for _, g := range kept.Rights {
			r.Desired = giveBack(r.Desired, g.Feature)
		}
	}
	return r, r.Desired
}

func giveBack(lines []capability.Desired, feature string) []capability.Desired {
	if slices.ContainsFunc(lines, func(d capability.Desired) bool { return d.Feature == feature }) {
		return lines
	}
	return append(lines, capability.Desired{Feature: feature})
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

// askOnce sends a request to the first server that answers, after what that one has not answered yet. A connection that the server ended since the last exchange
// is made anew once: the same bytes count once, however often they arrive. One that is silent is left for another server, if there is one.
func (c *Client) askOnce(ctx context.Context, s *state, r *capability.Request) (*capability.Response, error) {
	r.Correlation = capability.CorrelationID{}
	had, made := c.link.conn != nil, c.link.made
	old := had && c.link.used
	sent := c.clock()
	resp, err := c.tryAsk(ctx, s, r, sent)
	if errors.Is(err, ErrServerUnreachable) && ctx.Err() == nil && (old || len(c.link.servers) > 1 && (had || c.link.made > made)) {
		resp, err = c.tryAsk(ctx, s, r, sent)
	}
	if err == nil && r.Operation == capability.Grant && resp.Status != capability.StatusDenied && resp.Status != capability.StatusUnchanged {
		c.paid() // the appliance has the whole set
	}
	return resp, c.concluded(ctx, s, err)
}

// paid notes that no appliance is owed anything.
func (c *Client) paid() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed = false
}

// settle asks a server once more what it has not answered.
func (c *Client) settle(ctx context.Context, s *state) error {
	if !s.pending() {
		return nil
	}
	_, err := c.tryAsk(ctx, s, nil, time.Time{})
	return c.concluded(ctx, s, err)
}

// concluded notes what became of an exchange, and is its error.
func (c *Client) concluded(ctx context.Context, s *state, err error) error {
	if err == nil {
		c.heard(nil)
		return nil
	}
	if s.pending() {
		c.owe(backoff(c.tries()))
	}
	if ctx.Err() != nil { // who asks has had enough, which says nothing of the server
		return fmt.Errorf("ask the license server: %w", context.Cause(ctx))
	}
	c.heard(err)
	return err
}

// tryAsk sends what is pending with the server that is reached, and then the request, if there is one. It was sent for the first time at that moment if it is pending itself.
func (c *Client) tryAsk(ctx context.Context, s *state, r *capability.Request, sent time.Time) (resp *capability.Response, err error) {
	once, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	if err := c.reach(once, s); err != nil {
		return nil, err
	}
	defer func() {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			c.link.pass()
		}
	}()
	p := s.peer(c.link.appliance.Host)
	if q := c.pending(p); q != nil && (r == nil || r.Operation != capability.Preview) {
		if r != nil && q.Correlation == r.Correlation {
			return c.exchange(once, s, p, q, sent)
		}
		if _, err := c.exchange(once, s, p, q, time.Time{}); err != nil {
			return nil, err
		}
	}
	if r == nil {
		return nil, nil
	}
	r.Applied = p.Applied
	rand.Read(r.Correlation[:])
	if err := c.begin(s, p, r); err != nil {
		return nil, err
	}
	return c.exchange(once, s, p, r, c.clock())
}

// reach makes sure that there is a connection, proven by a key that counts, and takes in what its certificate says of other keys. What was kept of an answer counts to its ends.
func (c *Client) reach(ctx context.Context, s *state) error {
	c.link.revoked = s.Revoked
	if err := c.link.reach(ctx); err != nil {
		return err
	}
	if err := c.link.stillCounts(); err != nil { // another program of this device heard of it since the connection was made
		c.link.close()
		return err
	}
	s.Revoked = wire.Learn(s.Revoked, c.link.signer)
	s.Revoked = s.Revoked[:min(len(s.Revoked), capability.MaxRevoked)]
	return nil
}

// pending is the request that an appliance has not answered, or nil. One in the name of another device was left behind with another key.
func (c *Client) pending(p *peer) *capability.Request {
	if len(p.Pending) == 0 {
		return nil
	}
	var q capability.Request
	if c.codec.DecodeRequest(p.Pending, &q, capability.MaxFrame) != nil || q.Validate() != nil || q.Hosts[0] != c.device.host {
		*p = peer{Host: p.Host}
		return nil
	}
	return &q
}

// begin makes durable that a request goes out, and that what it gives back is not believed in any more. Where nothing is given back, a disk that takes no writes
// keeps nothing from being asked: the appliance keeps what a device may believe in until it shows that it heard otherwise.
func (c *Client) begin(s *state, p *peer, r *capability.Request) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	body := c.codec.Encode(r)
	if len(c.codec.Frame(wire.MessageRequest, r)) > capability.MaxFrame+4 {
		return refuse(capability.ErrProto, fmt.Errorf("request of %d bytes where at most %d are allowed", len(body), capability.MaxFrame))
	}
	if r.Operation == capability.Preview {
		return nil
	}
	p.Pending, p.Before = body, slices.Clone(s.Less)
	c.mu.Lock()
	c.sent[r.Correlation] = c.clock()
	c.mu.Unlock()
	gives := r.Operation == capability.Grant && c.sameAppliance(s) && s.lessen(c.kept(s), r.Desired, c.now())
	err := c.store.keep(s)
	if err == nil {
		c.taking = nil // the set is written without them
		return nil
	}
	if gives {
		p.Pending, s.Less = nil, p.Before
		return err
	}
	return nil
}

// exchange sends a request and hears its answer. Without the moment it was first sent the answer may be from long ago, and says nothing of the time now.
func (c *Client) exchange(ctx context.Context, s *state, p *peer, r *capability.Request, sent time.Time) (*capability.Response, error) {
	var resp *capability.Response
	var unproven error
	a, err := c.link.answer(ctx, c.codec.Frame(wire.MessageRequest, r), func(a *wire.Answer) bool {
		resp, _, unproven = c.codec.VerifyAnswer(c.link.chain.Serving, a)
		return unproven != nil || resp.Correlation == r.Correlation
	})
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
	if err := c.newest(s, p, resp); err != nil {
		if sent.IsZero() && resp.Serial < p.Applied { // it was decided before what was heard since, in a file
			p.Pending, p.Before = nil, nil
			if r.Operation != capability.Grant {
				s.meter(c.kept(s))
			}
			return resp, nil
		}
		return nil, err
	}
	if r.Operation == capability.Preview {
		return resp, c.inLife(resp)
	}
	p.Pending = nil
	switch {
	case resp.Serial != 0:
		p.Applied = max(p.Applied, resp.Serial)
		same := c.sameAppliance(s)
		current := r.Operation == capability.Grant && r.Number == s.Filed.Number
		whole := current && resp.Status != capability.StatusUnchanged
		switch {
		case whole:
			s.Less, p.Given = nil, nil
		case !same:
			s.Less = slices.Clone(p.Given) // what files gave back is given back still
		case current:
			s.Less = p.Before
		}
		if whole && (s.Filed.Lender == p.Host || s.Filed.Lender == hostid.ID{}) {
			s.overtaken(resp)
		}
		s.Chain, s.Answer, s.Late = c.link.chain, *a, sent.IsZero()
	case !sent.IsZero():
		s.Less = p.Before // nothing was decided, so nothing was given back
	case len(s.Less) > 0:
		// Another state of this appliance than the one that the request went to first says no. What was given back there may be somebody else's: this device
		// has seen that answer, or an older copy of the storage could give it once more.
		p.Applied++
	}
	p.Before = nil
	c.mu.Lock()
	first := c.sent[r.Correlation]
	delete(c.sent, r.Correlation)
	c.mu.Unlock()
	if r.Operation != capability.Grant {
		s.meter(c.kept(s))
	}
	if sent.IsZero() {
		c.shorten(s, resp, anchor{first, resp.Time.Add(1)})
		return resp, nil
	}
	if err := c.inLife(resp); err != nil {
		return nil, err
	}
	c.told(sent, resp.Time.Add(1)) // its second may be almost over: better a lease ends a second early here than late
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

// inLife refuses an answer past its lifetime.
func (c *Client) inLife(r *capability.Response) error {
	now := capability.At(c.options.Clock())
	if end := r.Time.Add(r.Lifetime); r.Lifetime != 0 && now > end {
		return denied(capability.Denial{Code: capability.ErrResponseStale,
			Detail: fmt.Sprintf("the answer was made %s and counts until %s; the clock here says %s", r.Time, end, now)})
	}
	return nil
}

// newest refuses an answer that is older than the newest one heard of that appliance, while what is kept of it still counts.
func (c *Client) newest(s *state, p *peer, r *capability.Response) error {
	kept := c.kept(s)
	if r.Serial == 0 || r.Serial > p.Applied || kept == nil || !c.sameAppliance(s) || !lasts(kept, c.now()) {
		return nil
	}
	code := capability.OlderResponse
	if r.Serial == p.Applied {
		code = capability.ErrReplayedSerial // it answers another request than the kept one does
	}
	return denied(capability.Denial{Code: code, Detail: fmt.Sprintf("serial %d where %d was heard", r.Serial, p.Applied)})
}

// receiptCovers says whether the kept answer still gives all that the set states: only then does it renew anything during a hold. Nothing does that names what was given back.
func (c *Client) receiptCovers(s *state) bool {
	kept := c.kept(s)
	return kept != nil && len(s.Less) == 0 && !slices.ContainsFunc(s.Holdings, func(h holding) bool {
		return covered(kept, h.Feature, h.Version, s.count(nil, h.Feature, h.Version)) <= c.now()
	})
}

// sameAppliance says whether the kept answer came from the appliance that is connected: serials of two appliances have no order.
func (c *Client) sameAppliance(s *state) bool {
	a, err := c.link.prove(&s.Chain)
	return err == nil && a.Host == c.link.appliance.Host
}

// kept is what may be believed of the kept answer if the producer's root leads to it and it is this device's; else nil.
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
	r.Rights = s.clip(r.Rights)
	return r
}
