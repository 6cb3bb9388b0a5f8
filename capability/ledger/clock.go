package ledger

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// The system clock is not believed, it is judged. Whoever is root can set it, and one whose battery is dead starts in 1970. What is expected is the wall time of
// the last entry and what has passed since on the lease clock, which nobody can set. A reading up to a day ahead is followed. One up to a day behind changes
// nothing: trusted time goes on as expected, so winding back gains nothing, and neither does a clock that stands still. One that is further off is not believed:
//
//   - further behind, the clock is held. What the true time is nobody knows, so items with a start or an expiry grant and renew nothing; the others go on.
//   - further ahead, what it says is quarantined. Nothing is served that would have expired by it and nothing starts by it; when it is set back, all is as before.
//
// An administrator's word ends both, and so does the time in a response of the back office. Leases and holds run on the lease clock throughout.

const (
	clockTolerance capability.Seconds = 24 * 60 * 60
	clockStep      capability.Seconds = 60 // what differs by less makes no entry: a clock that is slewed must not fill the journal
)

// ClockState is how far the system clock is believed. Numbers are on disk.
type ClockState uint8

// The states.
const (
	ClockTrusted ClockState = iota
	ClockBehind             // by a minute to a day: trusted time goes on without it
	ClockHeld               // by more than a day
	ClockAhead              // of trusted time, by more than a day: quarantined
)

func (s ClockState) String() string {
	return [...]string{"trusted", "behind", "held", "ahead"}[min(s, ClockAhead)]
}

// Clock is what is held of the system clock.
type Clock struct {
	State      ClockState         `cbor:"1,keyasint,omitzero"`
	Ahead      capability.Seconds `cbor:"2,keyasint,omitzero"` // of ClockAhead: from trusted time to what the system clock says
	Correction capability.Seconds `cbor:"3,keyasint,omitzero"` // what is added to the system clock in this run, since its time was stated
}

// Doubted says that some dates cannot be judged.
func (c Clock) Doubted() bool { return c.State == ClockHeld || c.State == ClockAhead }

func (c Clock) check() error {
	if c.State > ClockAhead || (c.State == ClockAhead) != (c.Ahead > clockTolerance) || c.Ahead < 0 || max(c.Ahead, c.Correction, -c.Correction) > capability.Seconds(lastTime) {
		return corrupt("a clock in state %d, %d seconds ahead, corrected by %d", c.State, c.Ahead, c.Correction)
	}
	return nil
}

// dates is the moment that the dates of items are judged at.
type dates struct {
	from  capability.Time // for a start: trusted time
	until capability.Time // for an expiry: what a quarantined clock says, trusted time else
	held  bool
}

func (c Clock) dates(now Now) dates {
	return dates{now.Wall, now.Wall.Add(c.Ahead), c.State == ClockHeld}
}

func (l *Ledger) dates(now Now) dates { return l.clock.dates(now) }

// dated is why an item does not serve at that moment: NotStarted, Expired, or Doubted where the system clock decides and is not believed; Usable if it does.
func (i *item) dated(at dates) Reason {
	switch {
	case i.Expiry != 0 && at.from >= i.Expiry:
		return Expired
	case at.held && (i.Start != 0 || i.Expiry != 0), i.Expiry != 0 && at.until >= i.Expiry, at.from < i.Start && i.Start <= at.until:
		return Doubted
	case at.from < i.Start:
		return NotStarted
	}
	return Usable
}

// unexpired is the inventory without what has expired by a quarantined clock.
func (at dates) unexpired(items []capability.LineItem) []capability.LineItem {
	if at.from == at.until {
		return items
	}
	out := make([]capability.LineItem, len(items))
	for i, it := range items {
		if out[i] = it; it.Expiry != 0 && at.until >= it.Expiry {
			out[i].Count = 0
		}
	}
	return out
}

// ends is when a lease of the item is told to end: what is metered lasts as long as its item, by a quarantined clock too.
func (d *draft) ends(it *item, end capability.Seconds) capability.Time {
	told := d.now.ends(it, end)
	if end == forever && it.Expiry != 0 {
		told = max(told.Add(-d.l.clock.Ahead), 1)
	}
	return told
}

// lifetime is how old an answer may be when it comes. A client that knows the time must not take an answer for a stale one because the appliance does not know it.
func (l *Ledger) lifetime(p capability.Policy) capability.Seconds {
	if l.clock.State == ClockHeld {
		return 0
	}
	return p.ResponseLife + l.clock.Ahead
}

// Reading is what the clocks of the machine say, judged.
type Reading struct {
	Now   Now
	Raw   capability.Time // what the system clock says
	Clock Clock
	Due   bool // Watch would make an entry
}

// Behind is how far the system clock, as corrected, is behind trusted time; negative where it is ahead of it.
func (r Reading) Behind() capability.Seconds {
	return capability.Seconds(r.Now.Wall-r.Raw) - r.Clock.Correction
}

// Read judges the system clock at a moment of the lease clock. The Now of the reading is that of every command; where the reading is Due, Watch comes first.
func (l *Ledger) Read(lease capability.Seconds, raw capability.Time) Reading {
	lease = max(lease, l.now.Lease)
	r := judge(lease, l.expected(lease), raw, l.clock)
	change := r.Clock.Ahead - l.clock.Ahead
	if r.Due = r.Clock.State != l.clock.State || r.Clock.Correction != l.clock.Correction || max(change, -change) > clockStep; !r.Due {
		r.Clock = l.clock
	}
	return r
}

// expected is the wall time at a moment of the lease clock if both went on alike since the last entry. Before the first one nothing is expected: it is zero.
func (l *Ledger) expected(lease capability.Seconds) capability.Time {
	if l.position == 0 {
		return 0
	}
	return l.now.Wall.Add(lease - l.now.Lease)
}

// judge compares the system clock with the time that is expected. Of a corrected and an uncorrected clock the nearer one is
// believed: a clock that was wrong and has been set since needs no correction any more.
func judge(lease capability.Seconds, expected, raw capability.Time, was Clock) Reading {
	raw = min(max(raw, 1), lastTime)
	off := capability.Seconds(raw - expected)
	c := Clock{Correction: was.Correction}
	if corrected := off + c.Correction; max(off, -off) <= max(corrected, -corrected) {
		c.Correction = 0
	} else {
		off = corrected
	}
	least := -clockStep
	if was.State == ClockBehind {
		least /= 2 // two clocks that jitter around the limit are one state
	}
	wall := expected
	switch {
	case expected == 0, off >= 0 && off <= clockTolerance:
		wall = expected.Add(off)
	case off > clockTolerance:
		c.State, c.Ahead = ClockAhead, off
	case off < -clockTolerance:
		c.State = ClockHeld
	case off < least:
		c.State = ClockBehind
	}
	return Reading{Now: At(lease, wall), Raw: raw, Clock: c}
}

// Watch looks at the system clock. Nothing to note, no entry.
type Watch struct{ Raw capability.Time }

// SetTime is an administrator's word that it is now Time, while the system clock says Raw; with both the same he confirms it. It ends a held clock and a
// quarantine, once: after the next Start the clock is judged anew.
type SetTime struct {
	Time capability.Time
	Raw  capability.Time
	By   string
}

func (Watch) command()   {}
func (SetTime) command() {}

// Watched: the system clock was judged anew; the entry has its state.
type Watched struct {
	Raw capability.Time `cbor:"1,keyasint,omitzero"`
}

// Stated: somebody said what time it is.
type Stated struct {
	Time capability.Time `cbor:"1,keyasint,omitzero"`
	Raw  capability.Time `cbor:"2,keyasint,omitzero"`
	By   string          `cbor:"3,keyasint,omitzero"`
}

func (l *Ledger) watch(now Now, c Watch) Decision {
	r := l.Read(now.Lease, c.Raw)
	if !r.Due {
		return Decision{}
	}
	return l.decided(r.Now, Entry{Watched: &Watched{Raw: r.Raw}, Clock: &r.Clock})
}

func (l *Ledger) setTime(now Now, c SetTime) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	if min(c.Time, c.Raw) <= 0 || max(c.Time, c.Raw) > lastTime {
		return Decision{}, malformed("time", "%d while the system clock says %d", c.Time, c.Raw)
	}
	if c.Time.Add(clockStep) < now.Wall {
		return Decision{}, capability.Refuse(capability.ErrTime, "", "%s was stated, and it is at least %s", c.Time, now.Wall)
	}
	clock := Clock{Correction: capability.Seconds(c.Time - c.Raw)}
	if max(clock.Correction, -clock.Correction) <= clockStep {
		clock.Correction = 0
	}
	if clock == l.clock && c.Time <= now.Wall {
		return Decision{}, nil
	}
	now.Wall = max(now.Wall, c.Time)
	return l.decided(now, Entry{Stated: &Stated{Time: c.Time, Raw: c.Raw, By: c.By}, Clock: &clock}), nil
}

// signed is the moment at which a response is applied, and the clock after it if it changes. The signer's time is a floor. It says what time it is where the
// system clock is not believed, or would not be any more: the system clock itself where both are within a day, for a response is some time under way, else its own.
func (l *Ledger) signed(now Now, raw, at capability.Time) (Now, *Clock) {
	if at < now.Wall {
		return now, nil
	}
	now.Wall = at
	if raw == 0 {
		return now, nil
	}
	r := judge(now.Lease, at, raw, l.clock)
	if l.clock.Doubted() || r.Clock.Doubted() {
		if r = judge(now.Lease, at, raw, Clock{}); r.Clock.Doubted() {
			r = Reading{Now: now, Clock: Clock{Correction: capability.Seconds(at - r.Raw)}}
		}
	}
	if r.Clock == l.clock {
		return r.Now, nil
	}
	return r.Now, &r.Clock
}

// TPMClock is the TPM's own time: how long it was powered, and how often it was not. It goes on while the daemon does not run, and goes back when the power fails.
type TPMClock struct {
	Milliseconds uint64 `cbor:"1,keyasint,omitzero"`
	Resets       uint32 `cbor:"2,keyasint,omitzero"`
	Restarts     uint32 `cbor:"3,keyasint,omitzero"`
}

// maxSlept bounds what a TPM's clock is believed: its owner can set it forward.
const maxSlept capability.Seconds = 366 * 24 * 60 * 60

// slept is a lower bound of the time since the last entry, by the TPM's clock at the last start and now. Its oscillator may be 15 percent off.
func (l *Ledger) slept(lease capability.Seconds, c TPMClock) capability.Seconds {
	then := l.run.TPM
	switch {
	case then.Milliseconds == 0 || c.Milliseconds < then.Milliseconds || c.Resets < then.Resets, c.Resets == then.Resets && c.Restarts < then.Restarts:
		return 0 // not read, gone back, or another TPM
	}
	powered := capability.Seconds((c.Milliseconds - then.Milliseconds) / 1000)
	return min(max(powered/100*85-(lease-l.run.At), 0), maxSlept)
}

// applyClock: every run begins with what its own start found, and only what says something about the clock changes it.
func (l *Ledger) applyClock(e *Entry) error {
	if e.Started != nil {
		l.clock = Clock{}
	}
	says := e.Watched != nil || e.Stated != nil
	switch {
	case e.Clock == nil && says, e.Clock != nil && !says && e.Started == nil && e.Provisioned == nil:
		return corrupt("a clock where none belongs, or none where one does")
	case e.Clock == nil:
		return nil
	}
	l.clock = *e.Clock
	return l.clock.check()
}

// Sentence is the state of the clock for people, with what it means.
func (c Clock) Sentence(trusted capability.Time) string {
	switch c.State {
	case ClockHeld:
		return fmt.Sprintf("the system clock is more than a day behind the trusted time, %s", trusted)
	case ClockAhead:
		return fmt.Sprintf("the system clock says %s, and the trusted time is %s", trusted.Add(c.Ahead), trusted)
	case ClockBehind:
		return fmt.Sprintf("the system clock is behind the trusted time, %s", trusted)
	}
	return fmt.Sprintf("the trusted time is %s", trusted)
}
