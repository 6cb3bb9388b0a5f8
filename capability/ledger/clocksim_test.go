package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakClockSchedules plays a machine whose system clock is set, wound, frozen and lost at will, through runs, kills and times off, against true time. What may
// never happen: trusted time that goes back or stands still while the machine runs, a lease longer than its length, and an item served a minute past its expiry
// by a system clock that is right, or past it by more than the machine was off unseen. Some devices hold on to what they have, by receipts where the power failed.
func TestSoakClockSchedules(t *testing.T) {
	short := 1000
	if testing.Short() {
		short = 200
	}
	first, last := uint64(1), uint64(storagetest.Size(t, short, 1000, 10_000))
	if only, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64); err == nil {
		first, last = only, only
	}
	tried, failed := 0, 0
	seen := map[string]int{}
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d schedules: %v", tried, seen)
	}()
	for seed := first; seed <= last; seed++ {
		s := newSchedule(t, seed)
		tried++
		for s.step = range 25 {
			if err := s.act(); err != nil {
				failed++
				t.Fatalf("seed %d, step %d (SIM_SEED=%d go test -run TestSoakClockSchedules): %v", seed, s.step, seed, err)
			}
		}
		for what, n := range s.seen {
			seen[what] += n
		}
	}
	for _, what := range []string{"trusted", "behind", "held", "ahead", "served", "refused for the clock", "refused as expired", "stated", "signed", "slept", "started", "renewed in a hold", "cut to the expiry in a hold"} {
		if seen[what] == 0 && last > first {
			t.Errorf("no schedule had one that is %s", what)
		}
	}
}

type schedule struct {
	*life
	rng    *rand.Rand
	step   int
	truth  capability.Time    // which no machine of ours knows
	off    capability.Seconds // of the system clock from it
	frozen capability.Time    // where it stands still; zero: it runs
	ticks  uint64             // of the TPM, in milliseconds: it runs 10 percent fast
	wall   capability.Time    // the latest trusted time
	unseen capability.Seconds // how long the machine was off since trusted time was true: it may lag by as much
	seen   map[string]int
	kept   map[string]capability.Response // the newest answers that those who hold on have heard
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	v := begin(t, lineItem('a', "f:1.0", 9, until(day.Add(3*hour))), lineItem('b', "b:1.0", 9, until(day.Add(3*days))), lineItem('c', "c:1.0", 9, until(day.Add(40*days))),
		lineItem('d', "d:1.0", 9, until(day.Add(4*366*days))), lineItem('e', "g:1.0", 9), lineItem('i', "h:1.0", 9, from(day.Add(5*days))))
	return &schedule{life: v, rng: rand.New(rand.NewPCG(seed, 11)), truth: day, ticks: 1, wall: day, seen: map[string]int{}, kept: map[string]capability.Response{}}
}

// does is a life's do without its checks, which come once a step: there are many commands here, and few kinds.
func (s *schedule) does(c Command) (Decision, error) {
	d, err := s.l.Decide(s.now, c)
	for _, e := range d.Entries {
		if err := s.l.Apply(e); err != nil {
			return d, err
		}
		s.now = e.Now
	}
	return d, err
}

// length is from a second to the most, as often short as long.
func (s *schedule) length(most capability.Seconds) capability.Seconds {
	bits := 0
	for most>>bits > 1 {
		bits++
	}
	return min(1+capability.Seconds(s.rng.Int64N(1<<(1+s.rng.IntN(bits)))), most)
}

func (s *schedule) raw() capability.Time {
	if s.frozen != 0 {
		return s.frozen
	}
	return min(max(s.truth.Add(s.off), 1), lastTime)
}

func (s *schedule) act() error {
	switch n := s.rng.IntN(20); {
	case n < 7:
		d := s.length(3 * days)
		s.truth = s.truth.Add(d)
		s.runs(d)
		s.ticks += uint64(d) * 1100
	case n < 11:
		s.off += s.length(100*366*days) * []capability.Seconds{1, -1}[s.rng.IntN(2)]
	case n < 12:
		s.frozen = s.raw()
	case n < 15:
		s.off, s.frozen = 0, 0
	case n < 17:
		if err := s.reboot(); err != nil {
			return err
		}
	case n < 18:
		if err := s.state(); err != nil {
			return err
		}
	case n < 19:
		if err := s.sign(); err != nil {
			return err
		}
	default:
		if err := s.dusk(); err != nil {
			return err
		}
	}
	return s.look()
}

// dusk is a power loss of some minutes shortly before an item expires, of a machine whose clock is right: leases of before can go on past the expiry.
func (s *schedule) dusk() error {
	s.off, s.frozen = 0, 0
	lease := s.l.Policy().Lease
	for _, it := range s.l.Items(s.now) {
		d := capability.Seconds(it.Expiry-s.truth) - lease - s.length(lease)
		if it.Expiry == 0 || d <= 0 {
			continue
		}
		s.truth = s.truth.Add(d)
		s.runs(d)
		s.ticks += uint64(d) * 1100
		if err := s.look(); err != nil {
			return err
		}
		return s.down(s.length(lease), true)
	}
	return nil
}

// reboot ends the run, and begins another after some time: with the clock as it was, or stopped meanwhile, or in 1970. Often the machine stays powered.
func (s *schedule) reboot() error { return s.down(s.length(10*days), s.rng.IntN(3) == 0) }

// down is a reboot after that time, or after a power loss that begins a hold.
func (s *schedule) down(d capability.Seconds, lost bool) error {
	s.truth = s.truth.Add(d)
	if s.rng.IntN(2) == 0 {
		s.ticks += uint64(d) * 1100
	}
	s.frozen = 0
	switch s.rng.IntN(4) {
	case 0:
		s.off -= d
	case 1:
		s.off = capability.Seconds(30 - s.truth)
	}
	s.unseen += d
	start := Start{BootID: fmt.Sprint(s.step), Raw: s.raw(), TPM: TPMClock{Milliseconds: s.ticks, Resets: 1}}
	if lost {
		start.HoldFor = s.l.Policy().Lease
	}
	begun, err := s.does(start)
	if err != nil {
		return err
	}
	if begun.Entries[0].Started.Slept > 0 {
		s.seen["slept"]++
	}
	return nil
}

// state is an honest administrator's word.
func (s *schedule) state() error {
	d, err := s.does(SetTime{Time: s.truth, Raw: s.raw(), By: "admin"})
	var no *capability.Refusal
	if errors.As(err, &no) && no.Code == capability.ErrTime && s.now.Wall > s.truth {
		return nil
	}
	if err != nil {
		return err
	}
	s.seen["stated"] += len(d.Entries)
	if c := s.l.Status(s.now).Clock; c.Doubted() || s.now.Wall < s.truth {
		return fmt.Errorf("the time was stated, and the clock is %+v", c)
	}
	return nil
}

// sign brings a response that was an hour under way at most.
func (s *schedule) sign() error {
	s.serial++
	r := s.response(s.serial, capability.Response{Items: s.l.Inventory()})
	r.Time = s.truth.Add(-s.length(hour))
	s.seen["signed"]++
	_, err := s.does(Provision{Response: r, Digest: capability.Digest{byte(s.serial), byte(s.serial >> 8), 1}, Raw: s.raw()})
	return err
}

func (s *schedule) look() error {
	r := s.l.Read(s.now.Lease, s.raw())
	s.now = r.Now
	if d, err := s.does(Watch{Raw: s.raw()}); err != nil || (len(d.Entries) > 0) != r.Due {
		return fmt.Errorf("%d entries for %+v: %w", len(d.Entries), r, err)
	}
	s.seen[r.Clock.State.String()]++
	right := s.frozen == 0 && s.off == 0
	lag := capability.Seconds(s.truth - r.Now.Wall)
	switch {
	case r.Now.Wall < s.wall:
		return fmt.Errorf("trusted time goes back from %s to %s", s.wall, r.Now.Wall)
	case lag > s.unseen+2:
		return fmt.Errorf("trusted time lags by %s, and the machine was off for %s", lag, s.unseen)
	case right && lag < 0 && lag >= -24*hour && r.Clock.Doubted():
		return fmt.Errorf("a clock that is right is %+v", r.Clock)
	}
	s.wall, s.unseen = r.Now.Wall, max(0, min(s.unseen, lag))
	if _, err := s.does(Advance{}); err != nil {
		return err
	}
	for i, it := range s.l.Items(s.now) {
		device := fmt.Sprint("d", i)
		before := s.now.Lease
		d, err := s.does(Serve{Key: key(device), Request: s.request(device, fmt.Sprintf("%s:%s 1", it.Feature, it.Version))})
		if err != nil {
			return err
		}
		answer := d.Response
		granted := false
		dev, _ := s.l.Device(answer.For, s.now)
		for _, h := range dev.Holdings {
			if fresh := h.Item == it.ID() && answer.Status == capability.StatusOK; !fresh {
				continue
			}
			granted = true
			if h.End-before > 900 {
				return fmt.Errorf("a lease of %s", h.End-before)
			}
			if past := s.truth.Add(h.End-before) - it.Expiry; it.Expiry != 0 && (capability.Seconds(past) > s.unseen+60 || right && past > 60) {
				return fmt.Errorf("%s is served %d seconds past its expiry; off unseen for %s, clock right %t, %+v", it.ID(), past, s.unseen, right, r)
			}
			if s.now.Wall < it.Start {
				return fmt.Errorf("%s is served before it starts", it.ID())
			}
			if it.Start != 0 {
				s.seen["started"]++
			}
		}
		switch {
		case granted:
			s.seen["served"]++
		case it.Start == 0 && it.Expiry == 0 && answer.Hold == 0:
			return fmt.Errorf("what has no dates is not served: %s", show(*answer))
		case answer.Lines[0].Denial.Code == capability.ErrClock:
			s.seen["refused for the clock"]++
		case answer.Lines[0].Denial.Code == capability.ErrExpired:
			s.seen["refused as expired"]++
		}
		if _, err := s.does(Serve{Key: key(device), Request: s.request(device)}); err != nil {
			return err
		}
		if err := s.holdOn(fmt.Sprint("k", i), it); err != nil {
			return err
		}
	}
	return s.l.Check()
}

// holdOn lets a device renew what it has of an item. It does not hear every answer.
func (s *schedule) holdOn(device string, it Item) error {
	c := Serve{Key: key(device), Request: s.request(device, fmt.Sprintf("%s:%s 1", it.Feature, it.Version))}
	if last, has := s.kept[device]; has {
		c.Request.Applied, c.Receipt = last.Serial, ReceiptOf(&last)
	}
	d, err := s.does(c)
	if err != nil {
		return err
	}
	answer := d.Response
	if answer.Status == capability.StatusOK && it.Expiry != 0 {
		if told := answer.Rights[0].Expiry; told > it.Expiry {
			return fmt.Errorf("%s is told until %s, past its expiry %s", it.ID(), told, it.Expiry)
		} else if answer.Hold != 0 && told == it.Expiry {
			s.seen["cut to the expiry in a hold"]++
		}
	}
	if answer.Hold != 0 && answer.Status == capability.StatusOK {
		s.seen["renewed in a hold"]++
	}
	if answer.Serial != 0 && s.rng.IntN(8) > 0 {
		s.kept[device] = *answer
	}
	return nil
}
