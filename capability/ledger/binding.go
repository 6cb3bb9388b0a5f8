package ledger

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Rights belong to a machine, which shows itself by its IDs. It is bound as it was when they came: as the request says that the response answers, or as it first shows
// itself after the response. What it is to that binding is judged whenever it shows something else, or the producer asks for something else: package hostid has the rule.
//
// Where something is missing that the producer asks for, a grace runs on the lease clock, and from its end on nothing is granted or renewed. It ends sooner when what was bound is
// there again, or with a response to a request that names what is there instead. What was used of a grace comes back as time goes on in which nothing is missing, a
// tenth as fast: a dongle that is carried from machine to machine serves none of them for long.

const (
	// PlannedFor is how long an administrator's word freezes the score.
	PlannedFor capability.Seconds = 24 * 60 * 60
	// repayment is how many seconds in which nothing is missing give back one of a grace.
	repayment = 10
	// mostPlanned bounds what any release may have written as the end of a planned change.
	mostPlanned capability.Seconds = 366 * 24 * 60 * 60
	// MaxNamed bounds how often the machine may change between requests that have no answer: a response to an older one says nothing about the binding.
	MaxNamed = 8
)

// Recognize says what counts of what the machine shows, its own TPM first. Nothing new, no entry.
type Recognize struct {
	Shown    []hostid.Shown
	Platform capability.Platform
}

// PlanChange is an administrator's word that the machine will be changed within a day: what is missing in that time starts no grace. It is taken once for each response in
// force, or nothing would ever be missing. While it counts, the same again changes nothing.
type PlanChange struct{ By string }

func (Recognize) command()  {}
func (PlanChange) command() {}

// Recognized: the machine shows this from now on.
type Recognized struct {
	Shown    []hostid.Shown      `cbor:"1,keyasint,omitempty"`
	Platform capability.Platform `cbor:"2,keyasint,omitzero"`
}

// Planned: nothing that is missing counts until then on the lease clock.
type Planned struct {
	Until capability.Seconds `cbor:"1,keyasint,omitzero"`
	By    string             `cbor:"2,keyasint,omitzero"`
}

// Judged is what is bound, and what the machine is to it.
type Judged struct {
	Bound    hostid.Binding     `cbor:"1,keyasint,omitzero"`
	Outcome  hostid.Outcome     `cbor:"2,keyasint,omitzero"`
	Deadline capability.Seconds `cbor:"3,keyasint,omitzero"` // of the grace, on the lease clock; after it the outcome is broken
	Used     capability.Seconds `cbor:"4,keyasint,omitzero"` // of the last grace,
	At       capability.Seconds `cbor:"5,keyasint,omitzero"` // when it ended
}

// machine is what the ledger knows of the machine that it is on.
type machine struct {
	Shown    []hostid.Shown      `cbor:"1,keyasint,omitempty"` // none: nobody has looked
	Platform capability.Platform `cbor:"2,keyasint,omitzero"`
	Judged   Judged              `cbor:"3,keyasint,omitzero"`
	Since    capability.Time     `cbor:"4,keyasint,omitzero"` // of the outcome
	Planned  Planned             `cbor:"5,keyasint,omitzero"` // until it is judged anew
	Response uint64              `cbor:"6,keyasint,omitzero"` // in force when a change was planned last
	Named    []naming            `cbor:"7,keyasint,omitempty"`
}

// naming is what requests say of the machine, from one on.
type naming struct {
	From  uint64         `cbor:"1,keyasint"`
	Shown []hostid.Shown `cbor:"2,keyasint,omitempty"`
}

// same says that two are alike, whatever their memory is.
func (j Judged) same(o Judged) bool {
	return j.Bound.EK == o.Bound.EK && j.Bound.Dongle == o.Bound.Dongle && slices.Equal(j.Bound.Others, o.Bound.Others) &&
		j.Outcome == o.Outcome && j.Deadline == o.Deadline && j.Used == o.Used && j.At == o.At
}

// unbound says that nothing is granted or renewed on this machine.
func (j Judged) unbound(now Now) bool {
	return !j.Outcome.Serves() || j.Outcome == hostid.Grace && j.Deadline <= now.Lease
}

func (l *Ledger) unbound(now Now) bool { return l.machine.Judged.unbound(now) }

// graceOf is how long what a policy asks of the machine may be missing.
func graceOf(p capability.Policy) capability.Seconds {
	switch p.Grace {
	case 0:
		return capability.DefaultGrace
	case capability.NoGrace:
		return 0
	}
	return p.Grace
}

func (l *Ledger) recognize(now Now, c Recognize) (Decision, error) {
	if err := checkShown(c.Shown); err != nil {
		return Decision{}, malformed("shown", "%v", err)
	}
	if err := c.Platform.Validate(); err != nil {
		return Decision{}, malformed("platform", "%v", err)
	}
	e := Entry{Recognized: &Recognized{Shown: c.Shown, Platform: c.Platform}}
	var judged Judged
	if l.provisioned() {
		judged = l.judge(now, l.bind(c.Shown), c.Shown, l.applied.Policy, l.planned(now))
		e.Judged = &judged
	}
	if slices.Equal(c.Shown, l.machine.Shown) && c.Platform == l.machine.Platform && judged.same(l.machine.Judged) {
		return Decision{}, nil
	}
	return l.decided(now, e), nil
}

func checkShown(shown []hostid.Shown) error {
	if len(shown) == 0 || len(shown) > hostid.MaxShown {
		return fmt.Errorf("%d IDs where 1 to %d are wanted", len(shown), hostid.MaxShown)
	}
	for i, s := range shown {
		if err := s.ID.Validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(shown[:i], func(o hostid.Shown) bool { return o.ID == s.ID }) {
			return fmt.Errorf("%s is there twice", s.ID)
		}
	}
	return nil
}

// bind is what is bound, once this is shown: what was not there when the rights came is taken from the first machine that shows it.
func (l *Ledger) bind(shown []hostid.Shown) hostid.Binding {
	p := l.applied.Policy
	b, seen := l.machine.Judged.Bound, hostid.Bind(shown, p.Binding, p.Dongle)
	if l.machine.Judged.Outcome == hostid.Same && hostid.Score(b.Others, seen.Others) == hostid.Score(b.Others, b.Others) { // a card or a disk was late at the first look
		b = b.Completed(seen)
	}
	return completed(b, seen, p)
}

// rebind is what is bound once a response is in force: what its request said of the machine. What that did not name stays bound.
func (l *Ledger) rebind(r *capability.Response) hostid.Binding {
	p := r.Policy
	b := hostid.Bind(l.namedIn(r.Number), p.Binding, p.Dongle)
	if ek := l.machine.Judged.Bound.EK; ek != (hostid.ID{}) {
		b.EK = ek // whatever was named: a TPM that was bound stays
	}
	b = completed(b, l.machine.Judged.Bound, p)
	return completed(b, hostid.Bind(l.machine.Shown, p.Binding, p.Dongle), p)
}

// completed is a binding with what it lacks from another, and with the dongle that the producer asks for.
func completed(b, other hostid.Binding, p capability.Policy) hostid.Binding {
	if b.EK == (hostid.ID{}) && len(b.Others) == 0 {
		b.EK = other.EK
	}
	if len(b.Others) == 0 {
		b.Others = other.Others
	}
	switch {
	case !p.Binding.AsksDongle():
		b.Dongle = hostid.ID{}
	case p.Dongle != hostid.ID{}:
		b.Dongle = p.Dongle
	case b.Dongle == hostid.ID{}:
		b.Dongle = other.Dongle
	}
	return b
}

// namedIn is what the request of that number said of the machine, where that is known.
func (l *Ledger) namedIn(number uint64) []hostid.Shown {
	for _, n := range slices.Backward(l.machine.Named) {
		if n.From <= number {
			return n.Shown
		}
	}
	return nil
}

// planned says that a planned change counts at that moment.
func (l *Ledger) planned(now Now) bool { return now.Lease < l.machine.Planned.Until }

// judge is what a machine that shows this is to a binding, and how long it may be so.
func (l *Ledger) judge(now Now, b hostid.Binding, shown []hostid.Shown, p capability.Policy, planned bool) Judged {
	was := l.machine.Judged
	j := Judged{Bound: b, Outcome: hostid.Judge(b, shown, p.Binding, planned).Outcome, Used: was.Used, At: was.At}
	if len(shown) == 0 || b.None() {
		j.Outcome = hostid.Unjudged
		if p.Binding != hostid.RuleTPM && !planned {
			j.Outcome = hostid.Grace // what is asked for was not seen yet
		}
	}
	whole := graceOf(l.applied.Policy)
	switch running := was.Deadline != 0; {
	case j.Outcome == hostid.Grace && running:
		j.Deadline = max(1, was.Deadline+graceOf(p)-whole)
	case j.Outcome == hostid.Grace:
		owed := max(0, was.Used-(now.Lease-was.At)/repayment)
		j.Deadline, j.Used, j.At = max(1, now.Lease+max(0, graceOf(p)-owed)), 0, 0
	case running:
		j.Used, j.At = max(0, whole-max(0, was.Deadline-now.Lease)), now.Lease
	}
	if j.Outcome == hostid.Grace && j.Deadline <= now.Lease {
		j.Outcome = hostid.Broken
	}
	return j
}

// answered is the judgment with which a response is in force. What was bound by it owes no part of a grace.
func (l *Ledger) answered(now Now, r *capability.Response) Judged {
	j := l.judge(now, l.rebind(r), l.machine.Shown, r.Policy, l.planned(now))
	if l.namedIn(r.Number) != nil && j.Outcome != hostid.Grace && j.Outcome.Serves() {
		j.Used, j.At = 0, 0
	}
	return j
}

func (l *Ledger) planChange(now Now, c PlanChange) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	switch m := &l.machine; {
	case !l.provisioned():
		return Decision{}, capability.Refuse(l.absent(), "", "")
	case l.planned(now):
		return Decision{}, nil
	case m.Judged.Deadline != 0 || !m.Judged.Outcome.Serves():
		return Decision{}, capability.Refuse(capability.ErrPlanned, "", "the outcome is %s already", l.Machine(now).Outcome)
	case m.Response == l.applied.Serial:
		return Decision{}, capability.Refuse(capability.ErrPlanned, "", "one was planned since response %d came", m.Response)
	}
	judged := l.judge(now, l.machine.Judged.Bound, l.machine.Shown, l.applied.Policy, true)
	return l.decided(now, Entry{Planned: &Planned{Until: now.Lease + PlannedFor, By: c.By}, Judged: &judged}), nil
}

// rejudged is the judgment once a planned change or a grace is over, or nil where neither is.
func (l *Ledger) rejudged(now Now) *Judged {
	m := &l.machine
	over := m.Planned.Until != 0 && !l.planned(now)
	if !over && (m.Judged.Outcome != hostid.Grace || m.Judged.Deadline > now.Lease) {
		return nil
	}
	j := l.judge(now, m.Judged.Bound, m.Shown, l.applied.Policy, l.planned(now))
	return &j
}

// judgedDue is when the judgment may be another one by itself, or zero.
func (l *Ledger) judgedDue() (due capability.Seconds) {
	due = l.machine.Planned.Until
	if j := &l.machine.Judged; j.Outcome == hostid.Grace && (due == 0 || j.Deadline < due) {
		due = j.Deadline
	}
	return due
}

func (l *Ledger) applyRecognized(f *Recognized) error {
	if err := checkShown(f.Shown); err != nil {
		return corrupt("the machine shows %v: %w", f.Shown, err)
	}
	if err := f.Platform.Validate(); err != nil {
		return corrupt("the machine runs on %v: %w", f.Platform, err)
	}
	l.machine.Shown, l.machine.Platform = slices.Clone(f.Shown), f.Platform
	return nil
}

func (l *Ledger) applyPlanned(f *Planned) error {
	if f.Until <= l.now.Lease || f.Until > l.now.Lease+mostPlanned || !l.provisioned() || l.machine.Response == l.applied.Serial || l.machine.Judged.Deadline != 0 {
		return corrupt("a change is planned until %d, it is %d, and response %d is in force", f.Until, l.now.Lease, l.applied.Serial)
	}
	l.machine.Planned, l.machine.Response = *f, l.applied.Serial
	return nil
}

// applyNamed notes what a request says of the machine, where that is something else than the one before said.
func (l *Ledger) applyNamed(f *Requested) error {
	if len(f.Shown) == 0 {
		return nil
	}
	if err := checkShown(f.Shown); err != nil {
		return corrupt("request %d names %v: %w", f.Written.Number, f.Shown, err)
	}
	m := &l.machine
	m.Named = append(m.Named, naming{f.Written.Number, slices.Clone(f.Shown)})
	m.Named = slices.Clone(m.Named[max(0, len(m.Named)-MaxNamed):])
	return nil
}

// forget forgets what requests before that number said.
func (m *machine) forget(number uint64) {
	for len(m.Named) > 1 && m.Named[1].From <= number {
		m.Named = slices.Clone(m.Named[1:])
	}
}

// applyJudged applies what a fact means for the binding.
func (l *Ledger) applyJudged(e *Entry) error {
	belongs := e.Recognized != nil || e.Planned != nil || e.Provisioned != nil || e.Advanced != nil
	needed := e.Planned != nil || e.Recognized != nil && l.provisioned() // a response may leave all as it was
	switch m := &l.machine; {
	case e.Judged == nil && needed, e.Judged != nil && (!belongs || !l.provisioned()):
		return corrupt("a judgment of the machine where none belongs, or none where one does")
	case e.Judged != nil && m.Judged.Bound.EK != (hostid.ID{}) && e.Judged.Bound.EK != m.Judged.Bound.EK:
		return corrupt("a binding to %v where %s is bound", e.Judged.Bound.EK, m.Judged.Bound.EK)
	case e.Judged == nil:
		return nil
	default:
		if m.Planned.Until <= l.now.Lease {
			m.Planned = Planned{}
		}
		if e.Judged.Outcome != m.Judged.Outcome {
			m.Since = l.now.Wall
		}
		m.Judged = *e.Judged
		m.Judged.Bound.Others = slices.Clone(m.Judged.Bound.Others)
		return m.check(l.now)
	}
}

// check is what is always true of the machine, whatever the rule was.
func (m *machine) check(now Now) error {
	j := &m.Judged
	if len(m.Shown) > 0 {
		if err := checkShown(m.Shown); err != nil {
			return corrupt("the machine shows %v: %w", m.Shown, err)
		}
	}
	if err := j.Bound.Validate(); err != nil {
		return corrupt("binding: %w", err)
	}
	other := j.Bound.EK != (hostid.ID{}) && len(m.Shown) > 0 && !slices.ContainsFunc(m.Shown, func(s hostid.Shown) bool { return s.ID == j.Bound.EK })
	switch {
	case !j.Outcome.Known() || (j.Outcome == hostid.Grace || j.Outcome == hostid.Same || j.Outcome == hostid.Drifted) && other:
		return corrupt("the machine is judged to be %s, and its TPM is %v", j.Outcome, m.Shown)
	case j.Outcome == hostid.Grace && j.Deadline <= 0, j.Deadline < 0, j.Deadline != 0 && j.Outcome != hostid.Grace && j.Outcome != hostid.Broken:
		return corrupt("a grace until %d of a machine that is %s", j.Deadline, j.Outcome)
	case j.Used < 0 || j.At < 0 || j.At > now.Lease:
		return corrupt("%d of a grace were used until %d, and it is %d", j.Used, j.At, now.Lease)
	case m.Planned.Until < 0 || m.Planned.Until > now.Lease+mostPlanned || m.Since < 0 || m.Since > now.Wall:
		return corrupt("a change is planned until %d, and it is %d", m.Planned.Until, now.Lease)
	case len(m.Named) > MaxNamed:
		return corrupt("%d machines are named where at most %d are", len(m.Named), MaxNamed)
	}
	return m.Platform.Validate()
}

// checkMachine looks at every invariant of the binding.
func (l *Ledger) checkMachine() error {
	m := &l.machine
	if err := m.check(l.now); err != nil {
		return err
	}
	if j := &m.Judged; !l.provisioned() && (!j.same(Judged{}) || m.Planned != (Planned{})) {
		return corrupt("%s is bound before the first response", j.Bound.EK)
	}
	for i, n := range m.Named {
		if n.From == 0 || n.From > l.number || i > 0 && n.From <= m.Named[i-1].From || checkShown(n.Shown) != nil {
			return corrupt("request %d names %v, and the last one is %d", n.From, n.Shown, l.number)
		}
	}
	return nil
}

// MachineView is the machine as people see it.
type MachineView struct {
	Shown    []hostid.Shown // none: nobody has looked
	Platform capability.Platform
	Bound    hostid.Binding
	Rule     hostid.Rule
	hostid.Verdict
	Since   capability.Time // of the outcome
	Grace   capability.Time // when it ends, or ended; zero: none runs
	Planned capability.Time // until when a change is planned
	By      string          // who said so
	Asked   bool            // the last request names what is shown
}

// Machine judges the machine as of that moment, with the words for it.
func (l *Ledger) Machine(now Now) MachineView {
	m := &l.machine
	v := MachineView{Shown: slices.Clone(m.Shown), Platform: m.Platform, Bound: m.Judged.Bound, Rule: l.applied.Policy.Binding, Since: m.Since}
	v.Bound.Others = slices.Clone(v.Bound.Others)
	v.Verdict = hostid.Judge(v.Bound, m.Shown, v.Rule, l.planned(now))
	if v.Outcome = m.Judged.Outcome; m.Judged.unbound(now) && v.Outcome == hostid.Grace {
		v.Outcome = hostid.Broken
	}
	if m.Judged.Deadline != 0 {
		v.Grace = now.Told(m.Judged.Deadline)
	}
	if l.planned(now) {
		v.Planned, v.By = now.Told(m.Planned.Until), m.Planned.By
	}
	v.Asked = slices.Equal(m.Shown, l.namedIn(l.number))
	return v
}

// Alarms is what has looked like a copy or a change of the machine, by code: what it is to its binding, and what the response in force says of its history.
func (l *Ledger) Alarms() (out []capability.Alarm) {
	switch o := l.machine.Judged.Outcome; {
	case o == hostid.Drifted:
		out = append(out, capability.Alarm{Code: capability.Recognized, Count: 1, Last: l.machine.Since})
	case o == hostid.Grace || !o.Serves():
		out = append(out, capability.Alarm{Code: capability.ErrBinding, Count: 1, Last: l.machine.Since})
	}
	for _, code := range []capability.Code{capability.ErrRollbackSuspect, capability.ErrFork} {
		if slices.ContainsFunc(l.applied.Denials, func(d capability.Denial) bool { return d.Code == code }) {
			out = append(out, capability.Alarm{Code: code, Count: 1, Last: l.applied.Time})
		}
	}
	return out
}
