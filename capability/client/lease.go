package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Option changes what Acquire asks for.
type Option func(*wish)

type wish struct {
	feature capability.Feature
	count   uint32
	wait    time.Duration
	keep    bool
	partial bool
	borrow  time.Duration
	waiting func(error)

	takeOver bool
	idle     func() time.Duration
}

// Count asks for n counts instead of one: 1 to capability.MaxCount.
func Count(n uint32) Option { return func(w *wish) { w.count = n } }

// Wait lets Acquire wait for a seat, the end of a hold, or a server that cannot be reached, for at most d. While it waits for a seat the device has a place in the
// queue of the feature: Denial.Position of the refusal.
func Wait(d time.Duration) Option { return func(w *wish) { w.wait = d } }

// Waiting has f told, while Acquire waits, why each try came to nothing, for a program that shows it. It runs before the next try, which waits for it.
func Waiting(f func(why error)) Option { return func(w *wish) { w.waiting = f } }

// Partial lets Acquire take what there is, if that is less than was asked for and not nothing: Lease.Count says how many. It means
// nothing to a machine's own rights, as Borrow.
func Partial() Option { return func(w *wish) { w.partial = true } }

// Borrow asks that leases last so long without being renewed, in whole seconds, for a machine that leaves its network. What is longer than the producer lets an item be
// borrowed, or the administrator, is cut, and Lease.Expiry says to when. Of several programs' times the longest is the device's, as long as it holds anything.
// With Keep the program need not run meanwhile; Release gives the counts back early.
func Borrow(d time.Duration) Option { return func(w *wish) { w.borrow = d } }

// Keep lets the device hold the counts when this program has ended, until Release or the end of the lease. Nobody renews them then,
// unless another program of the device does it with its own.
func Keep() Option { return func(w *wish) { w.keep = true } }

func newWish(feature string, options []Option) (w wish, err error) {
	if w.feature, err = capability.ParseFeature(feature); err != nil {
		return w, fmt.Errorf("feature %q: %w", feature, err)
	}
	w.count = 1
	for _, o := range options {
		o(&w)
	}
	if w.count == 0 || w.count > capability.MaxCount {
		return w, fmt.Errorf("count %d where 1 to %d are allowed", w.count, capability.MaxCount)
	}
	if w.borrow < 0 {
		return w, fmt.Errorf("borrow for %s, which is less than nothing", w.borrow)
	}
	return w, nil
}

// Lease is a served count with its time. It renews itself until it is released.
type Lease struct {
	c       *Client
	holder  holderID
	feature capability.Feature
	count   uint32
	lost    chan struct{}
	seat    *Seat // of a back office; nil: an appliance serves it

	// Under c.mu:
	expiry time.Time
	err    error // why it ended
	no     error // the last refusal to renew it
	told   bool  // the back office, that its seat is not used any more
	unsaid bool  // it was given back, and this call of Release did not tell a server
}

// Feature is what the lease is for: the name, and the least version.
func (l *Lease) Feature() capability.Feature { return l.feature }

// Count is how many counts it holds.
func (l *Lease) Count() uint32 { return l.count }

// Expiry is when the lease ends unless it is renewed before, in this machine's time.
func (l *Lease) Expiry() time.Time {
	if l.seat != nil {
		left, _ := l.seat.Left()
		return l.c.options.Clock().Add(left)
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.c.shown(l.expiry)
}

// Lost is closed when the lease has ended, for whatever reason; Err then says it.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err is why the lease ended, or nil while it lasts: ErrReleased, or the refusal that kept it from being renewed.
func (l *Lease) Err() error {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.err
}

// Notice is one sentence for people when something is not as usual, else empty: license server not reachable since 14:02, works until 14:15.
func (l *Lease) Notice() string {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	const clock = "15:04"
	switch {
	case l.err != nil:
		return "ended: " + l.err.Error()
	case l.seat != nil:
		return l.seatNotice(clock)
	case !l.c.since.IsZero():
		return fmt.Sprintf("license server not reachable since %s, works until %s", l.c.shown(l.c.since).Local().Format(clock), l.c.shown(l.expiry).Local().Format(clock))
	case l.c.judged.state == ClockBehind:
		return fmt.Sprintf("the clock of this machine is %s behind the latest time seen here", (-l.c.judged.off).Duration())
	case l.no != nil:
		return fmt.Sprintf("not renewed, works until %s: %v", l.c.shown(l.expiry).Local().Format(clock), l.no)
	}
	return ""
}

// Release gives the counts back. The lease is over even when no server can be reached, or when the context has ended; an error says that the counts come free
// later, when the client has told a server of it. Called again while no server has heard of it, Release tries again.
func (l *Lease) Release(ctx context.Context) error {
	c := l.c
	if l.seat != nil {
		c.mu.Lock()
		told := l.told
		c.mu.Unlock()
		if told {
			return nil
		}
		err := l.seat.Release(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		l.lose(ErrReleased)
		l.told = err == nil
		return err
	}
	c.mu.Lock()
	if l.err != nil && !(l.unsaid && c.owed) {
		c.mu.Unlock()
		return nil
	}
	if l.err == nil && l.holder != c.store.mine {
		c.over = append(c.over, l)
	}
	l.lose(ErrReleased)
	l.unsaid, c.owed = true, true // should Close come first, it knows
	c.mu.Unlock()
	err := c.release(ctx, []string{l.feature.Name}, func(*state) error { return nil })
	if err == nil {
		c.mu.Lock()
		l.unsaid = false
		c.mu.Unlock()
	}
	return err
}

// lose ends the lease once. Under c.mu.
func (l *Lease) lose(why error) {
	if l.err == nil {
		l.err = why
		close(l.lost)
		delete(l.c.leases, l)
	}
}

// Acquire takes counts of a feature, "render" or "render:2026.1", beside what the device holds already: all of it or, with an error, nothing, and nothing that was held is lost.
// Where the servers are back offices it takes one seat for the user who signed in; ErrUserToken: nobody has.
// When no server can be reached it takes what the device held before and no program uses now, until the end of that lease.
func (c *Client) Acquire(ctx context.Context, feature string, options ...Option) (*Lease, error) {
	w, err := newWish(feature, options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.living(ctx)
	defer cancel()
	until := c.options.Clock().Add(w.wait)
	for try := 0; ; try++ {
		l, err := c.acquire(ctx, w)
		pause := c.untilNextTry(try, err)
		if err == nil || !worthWaiting(err) || c.options.Clock().Add(pause).After(until) {
			c.leaveQueue(w, err)
			return l, err
		}
		if w.waiting != nil {
			w.waiting(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			c.leaveQueue(w, err)
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// leaveQueue gives up the place of who waits no more, so that nobody waits behind it. A server that does not hear of it forgets it by itself.
func (c *Client) leaveQueue(w wish, err error) {
	var no *capability.Refusal
	if !errors.As(err, &no) || no.Position == 0 {
		return
	}
	ctx, cancel := patience(context.Background(), c.options.Timeout)
	defer cancel()
	c.release(ctx, []string{w.feature.Name}, func(*state) error { return nil })
}

// backoff is 1 s, 2 s, 4 s ... 15 s: short enough for a human who waits for a seat, long enough for an appliance with a thousand of them.
func backoff(try int) time.Duration {
	return min(time.Second<<min(try, 10), 15*time.Second)
}

// nearEnd is how long after a known end who is first in line still asks every second: clocks differ a little.
const nearEnd = 5 * time.Second

// untilNextTry is backoff, but who is first in line asks at the end that is known. The others would only ask in vain then.
func (c *Client) untilNextTry(try int, err error) time.Duration {
	pause := backoff(try)
	var no *capability.Refusal
	if !errors.As(err, &no) || no.Position != 1 || no.Until == 0 {
		return pause
	}
	switch left := no.Until.Std().Sub(c.options.Clock()); {
	case left > 0:
		return min(pause, left)
	case left > -nearEnd:
		return min(pause, time.Second)
	}
	return pause
}

func worthWaiting(err error) bool {
	for _, e := range []error{ErrNoSeat, ErrOverage, ErrHold, ErrServerUnreachable, ErrOfficeUnreachable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// acquireServed asks the appliances.
func (c *Client) acquireServed(ctx context.Context, w wish) (l *Lease, err error) {
	l = &Lease{c: c, holder: c.store.mine, feature: w.feature, count: w.count, lost: make(chan struct{})}
	if w.keep {
		l.holder = holderID{}
	}
	granted := false
	err = c.converse(ctx, func(ctx context.Context, s *state) error {
		if s.count(nil, w.feature.Name, capability.Version{})+uint64(w.count) > math.MaxUint32 {
			return fmt.Errorf("count %d beside what is held is more than fits", w.count)
		}
		if s.add(l.holder, w.feature, int64(w.count)); len(s.Holdings) > maxHoldings {
			return broken("acquire "+w.feature.Name, fmt.Errorf("the programs of this device hold %d features and versions, and no more are kept", maxHoldings))
		}
		s.Borrow = max(s.Borrow, capability.Seconds(w.borrow/time.Second))
		resp, got, err := c.grant(ctx, s, w)
		if less := w.count - got; err == nil && less > 0 {
			s.add(l.holder, w.feature, -int64(less))
			l.count = got
		}
		if errors.Is(err, ErrServerUnreachable) {
			if c.foreign != nil {
				err = errors.Join(err, c.foreign)
			}
			if kept := c.kept(s); !s.Late && covered(kept, w.feature.Name, w.feature.Version, s.count(nil, w.feature.Name, w.feature.Version)) > c.now() {
				if doubt := c.believed(); doubt != nil {
					return errors.Join(doubt, err)
				}
				resp, err = kept, nil
			}
		}
		if err != nil {
			return err
		}
		granted = true
		c.mu.Lock()
		closed := c.closed
		if closed {
			c.mustTell(0) // Close does it
		} else {
			c.leases[l] = struct{}{}
		}
		c.mu.Unlock()
		if closed {
			return ErrClosed
		}
		c.adopt(s, resp)
		return nil
	})
	if err != nil {
		c.mu.Lock()
		l.lose(err) // it may be among the leases already when the disk is full
		c.mu.Unlock()
		if granted {
			c.owe(0)
		}
		return nil, err
	}
	return l, nil
}

// grant asks for the whole set with the new line in it, as one: a refusal changes nothing. If it is an old line that is refused, the new one is asked for without that bond;
// the old one then stays as it was until its own end. got is how much of the wish there was.
func (c *Client) grant(ctx context.Context, s *state, w wish) (resp *capability.Response, got uint32, err error) {
	f := w.feature
	for _, atomic := range []bool{true, false} {
		r, lines := c.request(capability.Grant, s, atomic)
		asked := w.mark(lines)
		if resp, err = c.ask(ctx, s, r); err != nil {
			return nil, 0, err
		}
		line, err := lineOf(resp, lines, f)
		if err != nil {
			return nil, 0, err
		}
		if resp.Status == capability.StatusUnchanged {
			continue
		}
		if got = w.count; line.Status == capability.LinePartial && w.partial {
			less := asked - min(asked, line.Count)
			if less >= w.count { // what was held is all that there is
				return nil, 0, denied(noneOf(line, f.Name))
			}
			got -= less
		}
		if covered(resp, f.Name, f.Version, s.count(nil, f.Name, f.Version)-uint64(w.count-got)) == 0 {
			return nil, 0, denied(capability.Denial{Code: capability.ErrProto, Subject: f.Name, Detail: "the line was granted and the rights do not cover it"})
		}
		return resp, got, nil
	}
	return nil, 0, denied(capability.Denial{Code: capability.ErrProto, Detail: "a request that was not atomic left everything unchanged"})
}

// mark says in the line of a wish how it is wished, and gives what the line asks for.
func (w wish) mark(lines []capability.Desired) (asked uint32) {
	for i := range lines {
		if d := &lines[i]; d.Feature == w.feature.Name && d.Version == w.feature.Version {
			d.Partial, d.Wait = w.partial, w.wait > 0
			asked = d.Count
		}
	}
	return asked
}

// noneOf is why a line that would have been content with less got nothing more.
func noneOf(line capability.Line, feature string) capability.Denial {
	if line.Denial.Code != 0 {
		return line.Denial
	}
	return capability.Denial{Code: capability.ErrNoSeat, Subject: feature}
}

// adopt takes over what an answer says about this client's leases, and when to ask again.
func (c *Client) adopt(s *state, r *capability.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial = r.Serial
	shortest := capability.Time(math.MaxInt64)
	c.lapse(s)
	if c.prune(s) { // a lease ended while this answer to its renewal was under way
		defer c.mustTell(0)
	}
	for l := range c.leases {
		// What an answer does not cover keeps the end it had.
		if end := covered(r, l.feature.Name, l.feature.Version, s.count(nil, l.feature.Name, l.feature.Version)); end != 0 {
			l.expiry = c.anchor.at(end)
			shortest = min(shortest, end)
		}
	}
	share := time.Duration(r.Policy.RenewPercent)
	if share == 0 {
		share = time.Duration(capability.DefaultPolicy().RenewPercent)
	}
	// From the time the answer was made, so that a program which adopts a kept answer asks when its maker would have.
	interval := max(time.Duration(min(shortest-r.Time, capability.Time(capability.MaxLease)*24*365))*time.Second*share/100, leastRenewal)
	c.renewAt = c.anchor.at(r.Time).Add(interval)
	if soon := c.clock().Add(leastRenewal); c.renewAt.Before(soon) {
		c.renewAt = soon
	}
	c.failed = 0
	c.stir()
}

// lapse ends the leases that the set has no counts for any more, and gives those of them that were acquired to be kept. Under c.mu.
func (c *Client) lapse(s *state) (kept []*Lease) {
	for l := range c.leases {
		if s.count(&l.holder, l.feature.Name, l.feature.Version) < uint64(l.count) {
			l.lose(ErrReleased)
			if l.holder != c.store.mine {
				kept = append(kept, l)
			}
		}
	}
	return kept
}

// shorten takes over the sooner ends of an answer that gives nothing else, by what is known of when it was made, and says whether there are any.
func (c *Client) shorten(s *state, r *capability.Response, made anchor) (sooner bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.leases {
		end := covered(r, l.feature.Name, l.feature.Version, s.count(nil, l.feature.Name, l.feature.Version))
		if end == 0 { // of what it does not cover it may be any
			end = covered(r, l.feature.Name, l.feature.Version, total(r, l.feature))
		}
		if at := made.at(end); end != 0 && at.Before(l.expiry) {
			l.expiry, sooner = at, true
			c.stir()
		}
	}
	return sooner
}
