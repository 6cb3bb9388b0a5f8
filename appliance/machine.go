package appliance

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// The daemon's own sandbox hides network cards and the board from it. Another program looks, and tells what it found: Recognize. What that says of a TPM is not heard, for the one
// of this appliance is known; and nothing that is told has proven itself: a security key does so by answering a Challenge.

// silence is how long nobody may tell what the machine shows, where the producer asks for more than its TPM: three looks. While it sleeps nobody can.
const silence = 16 * time.Minute

// One look may be wrong: a bus resets, a driver is loaded again. So what is missing is looked for again, and counts when it is missing twice, or when nobody looks again. Where a
// dongle is asked for that must be over two seconds after it was pulled out.
const (
	lookAgain       = 3 * time.Second
	lookAgainDongle = time.Second
	doubtFor        = 10 * time.Second
)

// doubt is a look by which the machine would not be served as it was, and what becomes of it.
type doubt struct {
	since   time.Duration
	command ledger.Command
}

// Seen is what a probe told last in this run.
type Seen struct {
	Machine hostid.Machine
	At      capability.Time // zero: nobody has told anything
	Again   time.Duration   // not zero: the look is taken for a mistake so far, and is to be repeated after it
}

// watchful is what an owner knows of the machine beside its ledger.
type watchful struct {
	seen   Seen
	heard  time.Duration // when it was told, or when the run began
	alarms map[capability.Code]*Suspicion
	copies map[copied]bool // what has looked like a copy already
	keys   map[hostid.ID]*hostid.Watch
	ends   time.Duration // when the first of them is missed; zero: none is there
	doubt  *doubt        // nil: the last look was believed
}

// Suspicion is an alarm with what it was about last, for the people on this site only.
type Suspicion struct {
	capability.Alarm
	Subject string
}

// copied is a key that used what is another's. A client that asks again and again is one.
type copied struct {
	code    capability.Code
	subject string
	key     capability.Digest
}

const maxCopies = 4096 // that are told apart in one run

// Recognize takes what a probe found. The verdict is durable when it answers, unless the look is to be repeated: Seen.Again.
func (a *Appliance) Recognize(ctx context.Context, m hostid.Machine) error {
	var c *call
	var again time.Duration
	var refused error
	if err := a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		look := ledger.Recognize{Shown: a.counts(m), Platform: capability.PlatformOf(m)}
		if again, refused = a.doubted(l, now, look); again == 0 {
			c = &call{command: look}
		}
	}); err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	if c != nil {
		if err := a.do(ctx, c); err != nil {
			return err
		}
	}
	return a.Look(ctx, func(_ *ledger.Ledger, now ledger.Now) {
		a.watchful.seen, a.watchful.heard = Seen{m, now.Wall, again}, a.Awake()
	})
}

// doubted is after how long a look is to be repeated by which the machine would not be served as it is; zero: it counts.
func (a *Appliance) doubted(l *ledger.Ledger, now ledger.Now, look ledger.Recognize) (again time.Duration, err error) {
	d, err := l.Decide(now, look)
	if err != nil {
		return 0, err
	}
	bad := func(o hostid.Outcome) bool { return o == hostid.Grace || !o.Serves() }
	was := a.watchful.doubt
	a.watchful.doubt = nil
	if bad(l.Machine(now).Outcome) || !slices.ContainsFunc(d.Entries, func(e ledger.Entry) bool { return e.Judged != nil && bad(e.Judged.Outcome) }) {
		return 0, nil
	}
	again = lookAgain
	if l.Policy().Binding.AsksDongle() {
		again = lookAgainDongle
	}
	since := a.Awake()
	if was != nil {
		since = was.since
	}
	if again -= a.Awake() - since; again <= 0 {
		return 0, nil
	}
	a.watchful.doubt = &doubt{since, look}
	return again, nil
}

// undoubted is the command of a look that nobody has repeated, or nil.
func (a *Appliance) undoubted() ledger.Command {
	d := a.watchful.doubt
	if d == nil || a.Awake()-d.since < doubtFor {
		return nil
	}
	a.watchful.doubt = nil
	return d.command
}

// counts is what counts of a machine that was told, behind the TPM that is this appliance's and the security keys that answered it. However many dongles are there, the one
// that is asked for is among them.
func (a *Appliance) counts(m hostid.Machine) []hostid.Shown {
	own := hostid.Machine{Findings: append([]hostid.Finding{{ID: a.Host, Strength: hostid.Proven}}, a.proven()...)}
	for _, f := range m.Findings {
		if f.ID.Type != hostid.TPMEK && f.ID.Type != hostid.TPMAK {
			f.Strength = min(f.Strength, hostid.Firm)
			own.Findings = append(own.Findings, f)
		}
	}
	chosen := a.Ledger.Machine(a.now()).Bound.Dongle
	slices.SortStableFunc(own.Findings, func(x, y hostid.Finding) int {
		rank := func(f hostid.Finding) int {
			if f.ID == chosen {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(x), rank(y))
	})
	return own.Counts()
}

// silent is the command that says so when nobody has told what the machine shows for too long, or nil. Of one that shows nothing nobody can say that it is the same.
func (a *Appliance) silent() ledger.Command {
	if a.Ledger.Policy().Binding == hostid.RuleTPM || a.Awake()-a.watchful.heard < silence {
		return nil
	}
	return ledger.Recognize{Shown: a.counts(hostid.Machine{})}
}

// PlanChange is an administrator's word that the machine will be changed within a day.
func (a *Appliance) PlanChange(ctx context.Context, by string) error {
	_, err := a.Change(ctx, ledger.PlanChange{By: by}, capability.ChangePlanned.Entry().Title, by)
	return err
}

// HostIDs is the machine as it was judged, what a probe told last behind the security keys that are there, and what has looked like a copy of it.
func (a *Appliance) HostIDs(ctx context.Context) (v ledger.MachineView, seen Seen, alarms []Suspicion, err error) {
	err = a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		v, seen, alarms = l.Machine(now), a.watchful.seen, a.suspicions()
		proven := a.proven()
		told := slices.DeleteFunc(slices.Clone(seen.Machine.Findings), func(f hostid.Finding) bool {
			return slices.ContainsFunc(proven, func(p hostid.Finding) bool { return p.ID == f.ID })
		})
		seen.Machine.Findings = append(proven, told...)
	})
	return v, seen, alarms, err
}

// suspect counts what looks like a copy, each key once: an answer that was refused for it.
func (a *Appliance) suspect(r *capability.Response, now ledger.Now) {
	for _, d := range r.Denials {
		if d.Code != capability.ErrDeviceKey {
			continue
		}
		c := copied{d.Code, d.Subject, r.Key}
		if a.watchful.copies[c] || len(a.watchful.copies) == maxCopies {
			continue
		}
		a.watchful.copies[c] = true
		s := a.watchful.alarms[d.Code]
		if s == nil {
			s = &Suspicion{Alarm: capability.Alarm{Code: d.Code}}
			a.watchful.alarms[d.Code] = s
		}
		s.Count += min(1, math.MaxUint32-s.Count)
		s.Last, s.Subject = now.Wall, d.Subject
	}
}

// suspicions is every alarm, by code.
func (a *Appliance) suspicions() (out []Suspicion) {
	for _, s := range a.watchful.alarms {
		out = append(out, *s)
	}
	for _, alarm := range a.Ledger.Alarms() {
		out = append(out, Suspicion{Alarm: alarm})
	}
	slices.SortFunc(out, func(x, y Suspicion) int { return cmp.Compare(x.Code, y.Code) })
	return out
}

// describe puts into a request what counts of this machine, what it runs on, and what has looked like a copy of it. A dongle that nobody asks for is nobody's business. It gives
// what is so named.
func (a *Appliance) describe(r *capability.Request, l *ledger.Ledger, now ledger.Now) []hostid.Shown {
	v := l.Machine(now)
	r.Platform = v.Platform
	for _, s := range v.Shown {
		if s.ID != a.Host && len(r.Hosts) < capability.MaxHosts && (!s.ID.Type.Dongle() || v.Rule.AsksDongle()) {
			r.Hosts = append(r.Hosts, s.ID)
		}
	}
	for _, s := range a.suspicions() {
		r.Alarms = append(r.Alarms, s.Alarm)
	}
	return v.Shown
}

// tellMachine writes a judgment of the machine into the log: an error code where it is not what the producer asks for.
func (a *Appliance) tellMachine(e *ledger.Entry) {
	v := a.Ledger.Machine(e.Now)
	code, log := capability.Recognized, a.Log.Info
	if v.Outcome == hostid.Grace || !v.Outcome.Serves() {
		code, log = capability.ErrBinding, a.Log.Error
	}
	args := []any{"code", code.String(), "outcome", v.Outcome.String(), "score", v.Score, "of", v.Of, "binding", v.Rule.String()}
	if v.Grace != 0 {
		args = append(args, "until", v.Grace.String())
	}
	log("the machine was judged: "+v.Sentence(), args...)
}
