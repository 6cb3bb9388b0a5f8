package client

import (
	"errors"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Two goroutines run beside the calls of a client. The watch ends leases at their time and waits for nothing else. The keeper asks servers and changes the state
// of the device, and so may be kept waiting by both: it renews, follows the other programs, and gives back what a call could not.

// owe lets the keeper tell an appliance in a while what it has not heard, or ask again what it has not answered.
func (c *Client) owe(in time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mustTell(in)
}

// mustTell is owe. Under c.mu.
func (c *Client) mustTell(in time.Duration) {
	soon := c.clock().Add(in)
	if c.renewAt.IsZero() || len(c.leases) == 0 && !c.owed || soon.Before(c.renewAt) {
		c.renewAt = soon
	}
	c.owed = true
	c.stir()
}

// tries is how many renewals in a row did not come through.
func (c *Client) tries() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// wakeUp is how often the keeper looks at the clock: its timer stands still while the machine sleeps.
const wakeUp = 5 * time.Second

// leastRenewal keeps a lease that cannot be renewed past its item's end from being asked for ever faster.
const leastRenewal = 5 * time.Second

// stir makes watch and keep look again. Under c.mu or not.
func (c *Client) stir() {
	for _, who := range []chan struct{}{c.wake, c.sooner} {
		select {
		case who <- struct{}{}:
		default:
		}
	}
}

// heard notes whether a server could be reached.
func (c *Client) heard(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !errors.Is(err, ErrServerUnreachable) {
		c.since = time.Time{}
	} else if c.since.IsZero() {
		c.since = c.clock()
	}
}

// watch ends leases when their time is over, whatever a server or another program of the device keeps the keeper waiting for, until Close.
func (c *Client) watch() {
	for c.sleep(c.sooner, c.soonest) {
		c.expire()
	}
}

// keep renews the leases of this client and takes what has ended out of the set, until Close.
func (c *Client) keep() {
	for c.sleep(c.wake, c.next) {
		if c.store.changed() {
			c.tell(c.follow)
		}
		c.expire() // after a sleep of the machine, before they are renewed
		if c.untidy() {
			c.tell(func(*state) error { return nil }) // takes their shares out, so that no program of the device asks for them again
		}
		c.renew()
	}
}

// sleep waits until there is something to do, which may come sooner while it waits. False: the client was closed.
func (c *Client) sleep(stirred <-chan struct{}, next func() (time.Time, bool)) bool {
	for {
		var timer <-chan time.Time
		if at, any := next(); any {
			timer = time.After(min(max(at.Sub(c.clock()), 0), wakeUp))
		}
		select {
		case <-c.life.Done():
			return false
		case <-stirred:
		case <-timer:
			return true
		}
	}
}

// follow takes over what another program of the device has given back or heard: leases that end sooner by it, and those that are over.
func (c *Client) follow(s *state) error {
	kept := c.kept(s)
	c.mu.Lock()
	c.lapse(s)
	made, serial := c.before, c.serial
	c.mu.Unlock()
	if kept != nil && kept.Serial > serial && c.shorten(s, kept, anchor{made, kept.Time.Add(1)}) {
		c.mu.Lock()
		c.renewAt = c.clock() // how much sooner is asked
		c.mu.Unlock()
	}
	return nil
}

// tell changes the state of the device for the keeper, which waits for the other programs as long as for a server.
func (c *Client) tell(f func(*state) error) error {
	ctx, cancel := patience(c.life, c.options.Timeout)
	defer cancel()
	return c.change(ctx, f)
}

// soonest is when the first lease ends.
func (c *Client) soonest() (at time.Time, any bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.leases {
		if !any || l.expiry.Before(at) {
			at, any = l.expiry, true
		}
	}
	return at, any
}

// next is when the keeper has something to do.
func (c *Client) next() (at time.Time, any bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.leases) > 0 || c.owed {
		at, any = c.renewAt, true
	}
	if !c.tidyAt.IsZero() && (!any || c.tidyAt.Before(at)) {
		at, any = c.tidyAt, true
	}
	return at, any
}

// untidy says whether something that has ended is to be taken out of the set now.
func (c *Client) untidy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.tidyAt.IsZero() && !c.clock().Before(c.tidyAt)
}

// expire ends the leases whose time is over.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	for l := range c.leases {
		if now.Before(l.expiry) {
			continue
		}
		why := l.no
		if why == nil {
			why = denied(capability.Denial{Code: capability.ErrExpired, Subject: l.feature.Name, Detail: "the lease was not renewed in time"})
		}
		l.lose(why)
		c.tidyAt = now
		c.stir()
	}
}

// renew asks for the same set again, unless another program of the device did it meanwhile. Lines are renewed each for itself: one that is refused keeps no other from being renewed.
func (c *Client) renew() {
	c.mu.Lock()
	due := (len(c.leases) > 0 || c.owed) && !c.clock().Before(c.renewAt)
	serial, owed := c.serial, c.owed
	c.mu.Unlock()
	if !due {
		return
	}
	known := func(s *state) bool {
		kept := c.kept(s)
		if owed || s.Late || kept == nil || kept.Serial <= serial {
			return false
		}
		c.adopt(s, kept)
		return c.notYet()
	}
	done := false
	err := c.tell(func(s *state) error { done = known(s); return nil })
	if done {
		return
	}
	if err == nil {
		err = c.renewNow(known)
	}
	if err != nil {
		c.missed(err)
	}
}

// renewNow asks, unless it is known by then.
func (c *Client) renewNow(known func(*state) bool) error {
	if err := c.turn(c.life); err != nil {
		return err
	}
	defer c.store.leave()
	c.approach(c.life)
	wait, cancel := patience(c.life, c.options.Timeout)
	defer cancel()
	return c.changed(wait, func(s *state) error {
		if known(s) {
			return nil
		}
		if err := c.settle(c.life, s); err != nil {
			return err
		}
		r, lines := c.request(capability.Grant, s, false)
		if len(r.Desired) == 0 { // nothing was had and nothing is wanted
			c.paid()
			c.adopt(s, &capability.Response{Time: c.now()})
			return nil
		}
		resp, err := c.ask(c.life, s, r)
		if err != nil {
			return err
		}
		if resp.Status == capability.StatusDenied {
			if !denies(resp, capability.ErrHold) { // asked again, it says the same
				c.paid()
			}
			return denied(firstDenial(resp))
		}
		c.adopt(s, resp)
		c.refused(resp, lines)
		return nil
	})
}

func (c *Client) notYet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock().Before(c.renewAt)
}

// refused notes for each lease whether its line was renewed.
func (c *Client) refused(r *capability.Response, lines []capability.Desired) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.leases {
		_, l.no = lineOf(r, lines, l.feature)
	}
}

// missed plans the next try after a renewal that did not come through.
func (c *Client) missed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.leases {
		l.no = err
	}
	c.renewAt = c.clock().Add(backoff(c.failed))
	c.failed++
}
