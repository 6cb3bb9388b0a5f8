package appliance

import (
	"context"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// untilFull is what is left of a second of the system clock. The lease clock starts with the next one, so that the seconds of both begin together: an end on the lease clock
// would else be told now as one second, now as the next.
func untilFull(now time.Time) time.Duration {
	return (time.Second - time.Duration(now.Nanosecond())) % time.Second
}

// read is what both clocks say, as the ledger judges it. The lease clock goes on from the last entry of the run before, so time off frees nothing.
func (a *Appliance) read() ledger.Reading {
	return a.Ledger.Read(a.leaseAt+capability.Seconds((a.Elapsed()-a.at)/time.Second), capability.At(a.Now()))
}

// now is the moment on both clocks of the ledger.
func (a *Appliance) now() ledger.Now { return a.read().Now }

// tellClock writes a change of the clock into the log: an error code where rights are not served because of it.
func (a *Appliance) tellClock(e ledger.Entry) {
	c, log := *e.Clock, a.Log.Info
	code := capability.ClockJudged
	switch {
	case c.Doubted():
		code, log = capability.ErrClock, a.Log.Error
	case c.State == ledger.ClockBehind:
		log = a.Log.Warn
	}
	args := []any{"code", code.String(), "state", c.State.String(), "trusted", e.Now.Wall.String(), "system", capability.At(a.Now()).String()}
	if e.Stated != nil {
		args = append(args, "stated", e.Stated.Time.String(), "by", e.Stated.By)
	}
	log(c.Sentence(e.Now.Wall), args...)
}

// watch judges the system clock before a group. What it finds is an entry like any other, durable with the group.
func (a *Appliance) watch() (facts []ledger.Entry, encoded [][]byte, err error) {
	r := a.read()
	if !r.Due {
		return nil, nil, nil
	}
	d, err := a.Ledger.Decide(r.Now, ledger.Watch{Raw: r.Raw})
	if err != nil {
		return nil, nil, err
	}
	encoded, err = a.apply(nil, d.Entries)
	return d.Entries, encoded, err
}

// Clock is what both clocks say now.
func (a *Appliance) Clock(ctx context.Context) (r ledger.Reading, err error) {
	err = a.Look(ctx, func(*ledger.Ledger, ledger.Now) { r = a.read() })
	return r, err
}

// SetTime takes an administrator's word for what time it is; zero says that the system clock is right. It ends a held clock and a quarantine until the next start.
// A time below the trusted one is refused with ErrTime.
func (a *Appliance) SetTime(ctx context.Context, t capability.Time, by string) (ledger.Reading, error) {
	if err := a.do(ctx, &call{command: ledger.SetTime{Time: t, By: by}}); err != nil {
		return ledger.Reading{}, err
	}
	return a.Clock(ctx)
}
