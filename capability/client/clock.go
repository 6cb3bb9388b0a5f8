package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Between answers nothing tells this device the time but its own clock, which whoever sits at it can set, and which starts in 1970 when its battery is dead. So it
// is judged by the high-water mark, the latest time this device has seen, when a program starts: a clock up to a day behind it changes nothing, time goes on from
// the mark. One further behind is held: what was kept is not used without a server. One more than a day ahead ends what would have ended by it, and leaves the mark
// where it was, so that all is as before when it is set back. While a program runs only what passes counts, suspend included. The time in an answer ends all doubts.

// ClockState is how far this machine's clock is believed.
type ClockState uint8

// The states.
const (
	ClockTrusted ClockState = iota
	ClockBehind             // the latest time seen, by up to a day: time goes on from there
	ClockHeld               // by more than a day: nothing that was kept is used without a server
	ClockAhead              // by more than a day: what ends by it has ended, and is back when it is set back
)

func (s ClockState) String() string {
	return [...]string{"trusted", "behind", "held", "ahead"}[min(s, ClockAhead)]
}

const (
	clockTolerance capability.Seconds = 24 * 60 * 60
	// seenStep is how often the latest known time is written down: often enough that a clock set back gains a minute, seldom enough to spare the disk.
	seenStep capability.Seconds = 60
)

// anchor ties this machine's clock to the appliance's: at local, it was server there. Between answers the local clock's monotonic reading counts on,
// so neither a wrong clock here nor one that is set makes a lease longer or shorter.
type anchor struct {
	local  time.Time
	server capability.Time
}

func (a anchor) at(t capability.Time) time.Time {
	const most = capability.Seconds(math.MaxInt64 / time.Second) // of a Duration: 292 years; what has no end is told as the end of the year 9999
	at, left := a.local, capability.Seconds(t-a.server)
	for ; left > most; left -= most {
		at = at.Add(most.Duration())
	}
	return at.Add(left.Duration())
}

// judged is what a program found of the clock when it started.
type judged struct {
	state    ClockState
	mark     anchor             // the high-water mark, as time goes on from there
	off      capability.Seconds // from the mark to what the clock said
	answered bool               // since the mark was written down
}

// drop casts the anchor where no answer has done it yet.
func (c *Client) drop(s *state, kept *capability.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.anchor.local.IsZero() {
		return
	}
	local, said := c.clock(), capability.At(c.options.Clock())
	mark := s.Seen
	if kept != nil {
		mark = max(mark, kept.Time)
	}
	c.judged, c.anchor = judgeClock(local, mark, said)
}

// judgeClock is what is found of a clock that says what it says when the latest time seen is mark, and how time goes on from there.
func judgeClock(local time.Time, mark, said capability.Time) (judged, anchor) {
	j := judged{mark: anchor{local, max(mark, said)}, off: capability.Seconds(said - mark)}
	switch {
	case mark == 0:
	case j.off < -clockTolerance:
		j.state = ClockHeld
	case j.off < 0:
		j.state = ClockBehind
	case j.off > clockTolerance:
		j.state, j.mark.server = ClockAhead, mark
	}
	return j, anchor{local, max(said, mark)}
}

// passed is the server's time when this machine's clock is at now.
func (a anchor) passed(now time.Time) capability.Time {
	return a.server.Add(capability.Seconds(now.Sub(a.local) / time.Second))
}

// told takes the time of an answer that was asked for at a moment. Under no lock.
func (c *Client) told(asked time.Time, at capability.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.anchor = anchor{asked, at}
	c.judged = judged{mark: c.anchor, answered: true}
}

// see moves the high-water mark. Only an answer takes it back.
func (c *Client) see(s *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.passed(c.judged.mark)
	if now-s.Seen >= capability.Time(seenStep) || c.judged.answered && now < s.Seen {
		s.Seen = now
	}
	c.judged.answered = false
}

// clock is this machine's clock with the time that it slept. Its wall clock reading is of no use.
func (c *Client) clock() time.Time { return c.options.Clock().Add(c.options.suspended()) }

// passed is the appliance's time by an anchor. Under c.mu.
func (c *Client) passed(a anchor) capability.Time { return a.passed(c.clock()) }

// now is the appliance's time as far as it is known.
func (c *Client) now() capability.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed(c.anchor)
}

// shown is a moment of clock as this machine's wall clock will show it. Under c.mu or not.
func (c *Client) shown(t time.Time) time.Time {
	away := t.Sub(c.clock())
	if away == math.MaxInt64 { // a Duration reaches no further; beside it the difference of the clocks is nothing
		return t.Round(0)
	}
	return c.options.Clock().Add(away).Round(0)
}

// local is a moment of the appliance in this machine's time.
func (c *Client) local(t capability.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown(c.anchor.at(t))
}

// believed refuses what needs this machine's clock while that is held.
func (c *Client) believed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.judged.state != ClockHeld {
		return nil
	}
	return refuse(capability.ErrClock, fmt.Errorf("the clock of this machine is %s behind the latest time that this device has seen, %s",
		(-c.judged.off).Duration(), c.judged.mark.server))
}

// Clock is how far this machine's clock was believed when this program started, or since an answer last told the time. It asks no server.
func (c *Client) Clock(ctx context.Context) (found ClockState, err error) {
	err = c.change(ctx, func(*state) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		found = c.judged.state
		return nil
	})
	return found, err
}

// ConfirmClock is an administrator's word that this machine's clock is right, for a device that reaches no server. It counts once for each answer that was kept.
// ErrTime: it has counted, or the clock is behind the time in that answer, which its signer knew.
func (c *Client) ConfirmClock(ctx context.Context) error {
	return c.change(ctx, func(s *state) error {
		said, kept := capability.At(c.options.Clock()), c.kept(s)
		switch {
		case kept == nil:
			return denied(capability.Denial{Code: capability.ErrTime, Detail: "nothing was kept that the clock could decide about"})
		case said < kept.Time:
			return refuse(capability.ErrTime, fmt.Errorf("the clock says %s, and the last answer was made %s", said, kept.Time))
		case s.Stated >= kept.Serial:
			return refuse(capability.ErrTime, errors.New("the clock was confirmed before, and no answer has come since"))
		}
		s.Stated, s.Seen = kept.Serial, said
		c.told(c.clock(), said)
		return nil
	})
}
