package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// shownBy reads what a machine shows in short: E its TPM, X another; b and c boards, n and m network cards, d a disk, k and l dongles, K and L the same with their proof.
func shownBy(letters string) (out []hostid.Shown) {
	types := map[rune]hostid.Type{'e': hostid.TPMEK, 'x': hostid.TPMEK, 'b': hostid.BoardUUID, 'c': hostid.BoardUUID, 'n': hostid.Ethernet, 'm': hostid.Ethernet, 'd': hostid.Disk, 'k': hostid.Flexid9, 'l': hostid.Flexid9}
	for _, r := range letters {
		small := []rune(strings.ToLower(string(r)))[0]
		out = append(out, hostid.Shown{ID: hostid.ID{Type: types[small], Value: "part " + string(small)}, Proven: r != small})
	}
	return out
}

func piece(letter string) hostid.ID { return shownBy(letter)[0].ID }

// shows tells the ledger what the machine shows, and says what it is then.
func (v *life) shows(letters string) string {
	v.t.Helper()
	v.must(Recognize{Shown: shownBy(letters), Platform: capability.Platform{Virtual: capability.Bare}})
	return v.l.Machine(v.now).Outcome.String()
}

// asks the back office for its rights, naming what the machine shows, and gives the number of the request.
func (v *life) asksOffice() uint64 {
	v.t.Helper()
	n := v.l.Status(v.now).Number + 1
	v.must(WriteRequest{Number: n, Digest: capability.Digest{byte(n), 9}, Shown: v.l.Machine(v.now).Shown, By: "admin"})
	return n
}

// bound is a life with f:1.0 of which four are licensed, under that policy.
func bound(t testing.TB, p capability.Policy) *life {
	v := begin(t)
	v.answer(p, 0)
	return v
}

func (v *life) answer(p capability.Policy, number uint64) {
	v.t.Helper()
	v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 4)), Policy: p, Number: number})
}

func (v *life) serves(device string) bool {
	v.t.Helper()
	r := v.ask(device, "f:1.0 1")
	refused := r.Status == capability.StatusDenied && len(r.Denials) == 1 && r.Denials[0].Code == capability.ErrBinding ||
		len(r.Lines) == 1 && r.Lines[0].Status == capability.LineInsufficient && r.Lines[0].Denial.Code == capability.ErrBinding // a dongle is missing
	if refused == (len(r.Rights) == 1) || refused == (r.Status == capability.StatusOK) {
		v.t.Fatalf("%s is answered %s", device, show(r))
	}
	return r.Status == capability.StatusOK
}

// With the TPM intact and no more asked for, everything else may change: it is noted once each time, and nobody is served less for it.
func TestDefaultBinding(t *testing.T) {
	v := bound(t, capability.Policy{})
	if !v.serves("d1") || v.l.Machine(v.now).Outcome != hostid.Unjudged {
		t.Fatal("before anyone has looked")
	}
	for _, step := range [][2]string{{"Ebnd", "same"}, {"Ebnd", "same"}, {"Ebn", "drifted"}, {"Ecm", "drifted"}, {"E", "drifted"}, {"EbndkK", ""}, {"Ebndk", "same"}, {"Ebndl", "same"}, {"Endb", "same"}} {
		if step[1] == "" {
			if _, err := v.do(Recognize{Shown: shownBy(step[0])}); !asMalformed(err, new(*capability.Malformed)) {
				t.Errorf("%s: %v", step[0], err)
			}
			continue
		}
		if got := v.shows(step[0]); got != step[1] {
			t.Errorf("%s: %s, want %s", step[0], got, step[1])
		}
		before := v.l.Digest()
		if v.shows(step[0]); v.l.Digest() != before {
			t.Errorf("%s again makes an entry", step[0])
		}
		if !v.serves("d1") {
			t.Errorf("%s: not served", step[0])
		}
	}
	if due, any := v.l.NextDue(); any && due < v.now.Lease+100 {
		t.Errorf("something is due at %d", due)
	}
	// Another TPM is another machine, at once; no plan helps it.
	if got := v.shows("Xbnd"); got != "another machine" || v.serves("d1") {
		t.Errorf("another TPM: %s", got)
	}
	v.refused(PlanChange{By: "admin"}, capability.ErrPlanned)
	if alarms := v.l.Alarms(); len(alarms) != 1 || alarms[0].Code != capability.ErrBinding {
		t.Errorf("alarms: %+v", alarms)
	}
}

// What is missing runs a grace down to its second, and then nobody is granted or renewed anything; giving back and returning go on. It ends when all is there again.
func TestGrace(t *testing.T) {
	const grace = 1000
	v := bound(t, capability.Policy{Binding: hostid.RuleSecondaries, Grace: grace})
	if m := v.l.Machine(v.now); m.Outcome != hostid.Grace || m.Grace != v.now.Wall+grace {
		t.Fatalf("nobody has looked, and more is asked for: %+v", m)
	}
	if v.shows("Ebnd") != "same" || v.shows("Ebd") != "drifted" || !v.serves("d1") {
		t.Fatal("3 of 5 are enough")
	}
	v.pass(grace)
	if v.shows("Ed") != "grace" || !v.serves("d1") || !v.serves("d2") {
		t.Fatal("1 of 5 is a grace")
	}
	if due, any := v.l.NextDue(); !any || due > v.now.Lease+grace {
		t.Errorf("the end of the grace is not due: %d", due)
	}
	m := v.l.Machine(v.now)
	if m.Grace != v.now.Wall+grace || m.Score != 1 || m.Of != 5 || len(m.Changes) != 2 || m.Rule != hostid.RuleSecondaries {
		t.Errorf("%+v", m)
	}
	v.pass(grace - 1)
	if !v.serves("d1") {
		t.Error("a second before the end")
	}
	v.pass(1)
	if v.serves("d1") || v.serves("d3") {
		t.Error("the grace is over")
	}
	if v.holds("d1") != "a*1@899" || v.l.Machine(v.now).Outcome != hostid.Broken {
		t.Errorf("d1 holds %s, the machine is %s", v.holds("d1"), v.l.Machine(v.now).Outcome)
	}
	p := v.request("d1", "f:1.0 1")
	if p.Operation = capability.Preview; v.serve(Serve{Key: key("d1"), Request: p}).Status != capability.StatusDenied {
		t.Error("a preview promises what nobody gets")
	}
	if d := v.must(Advance{}); len(d.Entries) != 1 || d.Entries[0].Judged == nil || d.Entries[0].Judged.Outcome != hostid.Broken {
		t.Errorf("the end of the grace makes %+v", d.Entries)
	}
	if d := v.must(Advance{}); len(d.Entries) != 0 {
		t.Errorf("and again %+v", d.Entries[0])
	}
	if v.shows("E") != "broken" || v.serves("d1") {
		t.Error("less than before is no way back")
	}
	if r := v.ask("d1"); r.Status != capability.StatusReturned {
		t.Errorf("giving back is answered %s", show(r))
	}
	v.must(v.giveUp(1, 'a', 1))
	if v.shows("Ebn") != "drifted" || !v.serves("d1") || !v.serves("d3") {
		t.Error("what was bound is there again")
	}
}

// A response binds what its request named, and nothing else does: not one to an older request, and not one whose request named nothing.
func TestRebound(t *testing.T) {
	p := capability.Policy{Binding: hostid.RuleSecondaries, Grace: 1000}
	v := bound(t, p)
	v.shows("Ebnd")
	old := v.asksOffice()
	if v.shows("Ec") != "grace" {
		t.Fatal("another board alone")
	}
	fresh := v.asksOffice()
	if m := v.l.Machine(v.now); !m.Asked {
		t.Error("the request names what is there")
	}
	v.answer(p, old)
	if m := v.l.Machine(v.now); m.Outcome != hostid.Grace || !slices.Equal(m.Bound.Others, []hostid.ID{piece("b"), piece("n"), piece("d")}) {
		t.Errorf("a response to request %d: %+v", old, m)
	}
	v.answer(p, 0)
	if m := v.l.Machine(v.now); m.Outcome != hostid.Grace {
		t.Errorf("a response to no request: %s", m.Outcome)
	}
	v.pass(1000)
	if v.serves("d1") {
		t.Error("the grace is over")
	}
	v.answer(p, fresh)
	if m := v.l.Machine(v.now); m.Outcome != hostid.Same || !slices.Equal(m.Bound.Others, []hostid.ID{piece("c")}) || m.Bound.EK != piece("E") || !v.serves("d1") {
		t.Errorf("a response to request %d: %+v", fresh, m)
	}
	if v.shows("Ebnd") != "grace" { // the old machine is the changed one now
		t.Error("the old parts are bound still")
	}
	// A request that names the TPM alone takes nothing away.
	v.shows("E")
	v.answer(p, v.asksOffice())
	if m := v.l.Machine(v.now); m.Outcome != hostid.Grace || !slices.Equal(m.Bound.Others, []hostid.ID{piece("c")}) {
		t.Errorf("nothing was named: %+v", m)
	}
	// Only so many machines are remembered.
	for i := range 3 * MaxNamed {
		v.shows("Eb" + []string{"n", "m"}[i%2])
		v.asksOffice()
	}
	if len(v.l.machine.Named) != MaxNamed {
		t.Errorf("%d are named", len(v.l.machine.Named))
	}
	v.answer(p, v.l.machine.Named[0].From-1)
	if m := v.l.Machine(v.now); m.Outcome != hostid.Grace || slices.Contains(m.Bound.Others, piece("b")) {
		t.Errorf("a request that is forgotten: %+v", m)
	}
}

// What the machine shows before the rights come is bound by them, and what it first shows after them otherwise.
func TestFirstBinding(t *testing.T) {
	p := capability.Policy{Binding: hostid.RuleSecondaries, Grace: 1000}
	v := begin(t)
	if v.shows("Ebnd") != "not judged" || v.l.Machine(v.now).Bound.EK != (hostid.ID{}) {
		t.Error("bound before there are rights")
	}
	n := v.asksOffice()
	v.shows("Ecmd")
	v.answer(p, n)
	if m := v.l.Machine(v.now); !slices.Equal(m.Bound.Others, []hostid.ID{piece("b"), piece("n"), piece("d")}) || m.Outcome != hostid.Grace {
		t.Errorf("the request named another machine: %+v", m)
	}
	v = begin(t)
	v.shows("Ebn")
	v.answer(p, 0)
	if m := v.l.Machine(v.now); !slices.Equal(m.Bound.Others, []hostid.ID{piece("b"), piece("n")}) || m.Outcome != hostid.Same {
		t.Errorf("what is there when the rights come: %+v", m)
	}
	v = bound(t, p)
	if v.shows("E") != "grace" || v.shows("Ebn") != "same" || v.shows("E") != "grace" {
		t.Error("a machine that shows nothing at first")
	}
	// A policy that asks for less ends a grace, and one that asks for more begins it.
	v.answer(capability.Policy{}, 0)
	if m := v.l.Machine(v.now); m.Outcome != hostid.Drifted || m.Grace != 0 {
		t.Errorf("nothing is asked for any more: %+v", m)
	}
	v.pass(5000)
	v.answer(p, 0)
	if m := v.l.Machine(v.now); m.Outcome != hostid.Grace || m.Grace != v.now.Wall+1000 {
		t.Errorf("asked for again: %+v", m)
	}
	// The producer lengthens a grace that runs, and brings back one that has ended; without a length it is a week, and there may be none.
	v.answer(capability.Policy{Binding: hostid.RuleSecondaries}, 0)
	if m := v.l.Machine(v.now); m.Grace != v.now.Wall.Add(capability.DefaultGrace) {
		t.Errorf("the default: %s", m.Grace)
	}
	v.pass(capability.DefaultGrace)
	if v.serves("d1") {
		t.Error("a week is over")
	}
	v.must(Advance{})
	v.answer(capability.Policy{Binding: hostid.RuleSecondaries, Grace: capability.DefaultGrace + 10}, 0)
	if v.l.Machine(v.now).Outcome != hostid.Grace || !v.serves("d1") {
		t.Error("ten seconds more")
	}
	v = bound(t, capability.Policy{Binding: hostid.RuleSecondaries, Grace: capability.NoGrace})
	if v.serves("d1") || v.shows("Ebnd") != "same" || !v.serves("d1") || v.shows("Ed") != "broken" || v.serves("d1") {
		t.Error("no grace at all")
	}
}

// The chosen dongle is the one that the producer names, or else the first that is there; one that only shows the number is not enough where proof is asked for.
func TestDongleBinding(t *testing.T) {
	v := bound(t, capability.Policy{Binding: hostid.RuleDongle, Grace: 100})
	for i, step := range [][2]string{{"Ebnd", "grace"}, {"Ebndkl", "same"}, {"Ebndl", "grace"}, {"Ebndk", "same"}, {"Ecmk", "drifted"}} {
		if got := v.shows(step[0]); got != step[1] {
			t.Errorf("step %d, %s: %s, want %s", i, step[0], got, step[1])
		}
	}
	// A request that names another dongle chooses it, and one that names none leaves it.
	v.shows("Ecml")
	v.answer(capability.Policy{Binding: hostid.RuleDongle, Grace: 100}, v.asksOffice())
	if m := v.l.Machine(v.now); m.Bound.Dongle != piece("l") || m.Outcome != hostid.Same {
		t.Errorf("the request named another dongle, and the response took it: %+v", m)
	}
	v.shows("Ecm")
	v.answer(capability.Policy{Binding: hostid.RuleDongle, Grace: 100}, v.asksOffice())
	if m := v.l.Machine(v.now); m.Bound.Dongle != piece("l") || m.Outcome != hostid.Grace {
		t.Errorf("the request named none: %+v", m)
	}
	v.answer(capability.Policy{Binding: hostid.RuleDongle, Grace: 100, Dongle: piece("k")}, 0)
	if v.shows("Ecml") != "grace" || v.shows("Ecmk") != "same" {
		t.Error("the producer chose")
	}
	v.answer(capability.Policy{Binding: hostid.RuleProof, Grace: 100, Dongle: piece("k")}, 0)
	if v.shows("Ecmk") != "grace" || v.shows("EcmK") != "same" || v.shows("EcmL") != "grace" {
		t.Error("a number is no proof")
	}
	if m := v.l.Machine(v.now); m.Bound.EK != piece("E") {
		t.Errorf("the TPM is not bound any more: %+v", m.Bound)
	}
	v.pass(100)
	if v.serves("d1") {
		t.Error("without the dongle")
	}
	v.answer(capability.Policy{}, 0)
	if m := v.l.Machine(v.now); m.Bound.Dongle != (hostid.ID{}) || !m.Outcome.Serves() || !v.serves("d1") {
		t.Errorf("no dongle is asked for any more: %+v", m)
	}
}

// A planned change freezes the score for a day and not for more; it is taken once for each response, and not once something is missing.
func TestPlannedChange(t *testing.T) {
	p := capability.Policy{Binding: hostid.RuleSecondaries, Grace: 1000}
	v := begin(t)
	v.refused(PlanChange{By: "admin"}, capability.ErrNotProvisioned)
	v.answer(p, 0)
	v.refused(PlanChange{By: "admin"}, capability.ErrPlanned) // nobody has looked yet, so a grace runs
	v.shows("Ebnd")
	v.must(PlanChange{By: "admin"})
	opened := v.now
	if d := v.must(PlanChange{By: "other"}); len(d.Entries) != 0 {
		t.Errorf("the same again: %+v", d.Entries[0])
	}
	v.pass(3600)
	if v.shows("Ed") != "drifted" || v.shows("E") != "drifted" || !v.serves("d1") {
		t.Error("the score is not frozen")
	}
	if m := v.l.Machine(v.now); !m.Frozen || m.Planned != opened.Wall.Add(PlannedFor) || m.By != "admin" || m.Grace != 0 || len(m.Changes) != 3 {
		t.Errorf("%+v", m)
	}
	v.now = At(opened.Lease+PlannedFor-1, opened.Wall.Add(PlannedFor-1))
	if d := v.must(Advance{}); v.shows("E") != "drifted" || len(d.Entries) > 0 && d.Entries[0].Judged != nil {
		t.Error("a second before its end")
	}
	if due, any := v.l.NextDue(); !any || due > v.now.Lease+1 {
		t.Errorf("its end is not due: %d", due)
	}
	v.pass(1)
	if d := v.must(Advance{}); len(d.Entries) != 1 || d.Entries[0].Judged == nil || d.Entries[0].Judged.Outcome != hostid.Grace {
		t.Errorf("its end makes %+v", d.Entries)
	}
	if m := v.l.Machine(v.now); m.Grace != v.now.Wall+1000 || m.Planned != 0 {
		t.Errorf("after it: %+v", m)
	}
	v.refused(PlanChange{By: "admin"}, capability.ErrPlanned) // a grace runs
	v.shows("Ebnd")
	v.refused(PlanChange{By: "admin"}, capability.ErrPlanned) // and this response has had its change
	v.answer(p, v.asksOffice())
	v.must(PlanChange{By: "admin"})
	if v.shows("Xbnd") != "another machine" || v.serves("d1") {
		t.Error("another TPM is planned by nobody")
	}
}

// What was used of a grace comes back only with the time in which nothing is missing: one dongle does not serve many machines.
func TestGraceIsUsedUp(t *testing.T) {
	const grace = 1000
	p := capability.Policy{Binding: hostid.RuleDongle, Grace: grace}
	v := bound(t, p)
	v.shows("Ebk")
	v.shows("Eb")
	v.pass(900)
	if v.shows("Ebk") != "same" {
		t.Fatal("it is there again")
	}
	v.pass(50 * repayment)
	v.shows("Eb")
	if m := v.l.Machine(v.now); m.Grace != v.now.Wall+150 {
		t.Errorf("900 of %d used, 50 back, and it ends in %d", grace, m.Grace-v.now.Wall)
	}
	v.pass(150)
	if v.serves("d1") {
		t.Error("used up")
	}
	v.shows("Ebk")
	v.shows("Eb")
	if v.serves("d1") {
		t.Error("showing it for a moment gives a grace")
	}
	v.shows("Ebk")
	v.pass(grace * repayment)
	v.shows("Eb")
	if m := v.l.Machine(v.now); m.Grace != v.now.Wall+grace {
		t.Errorf("all of it is back, and it ends in %d", m.Grace-v.now.Wall)
	}
	// Two machines share one dongle, each for half of the time: neither is served for long.
	v = bound(t, p)
	v.shows("Ebk")
	served := 0
	for range 100 {
		v.shows("Ebk")
		v.pass(300)
		v.shows("Eb")
		for range 5 {
			v.pass(60)
			if v.serves("d1") {
				served++
			}
		}
	}
	if served > 100 { // of 500: the first grace, and a tenth of the time for which it was there
		t.Errorf("served %d times of 500 without the dongle", served)
	}
	// A response to a request that names what is there owes nothing.
	v.shows("Ebk")
	v.answer(p, v.asksOffice())
	v.shows("Eb")
	if m := v.l.Machine(v.now); m.Grace != v.now.Wall+grace {
		t.Errorf("after a response it ends in %d", m.Grace-v.now.Wall)
	}
}

// What Decide never says, Apply refuses.
func TestApplyAssertsBinding(t *testing.T) {
	v := bound(t, capability.Policy{Binding: hostid.RuleSecondaries})
	v.shows("Ebnd")
	d, err := v.l.Decide(v.now, Recognize{Shown: shownBy("Ec")})
	if err != nil || len(d.Entries) != 1 {
		t.Fatal(err)
	}
	base, snapshot := d.Entries[0], v.l.Snapshot()
	with := func(change func(e *Entry, f *Recognized, j *Judged)) Entry {
		e, f, j := base, *base.Recognized, *base.Judged
		e.Recognized, e.Judged = &f, &j
		change(&e, &f, &j)
		return e
	}
	if err := v.l.Apply(with(func(*Entry, *Recognized, *Judged) {})); err != nil {
		t.Fatal(err)
	}
	many := shownBy("E")
	for i := range hostid.MaxShown {
		many = append(many, hostid.Shown{ID: hostid.ID{Type: hostid.Ethernet, Value: fmt.Sprint(i)}})
	}
	plan := func(p Planned) func(e *Entry, _ *Recognized, _ *Judged) {
		return func(e *Entry, _ *Recognized, _ *Judged) { e.Recognized, e.Planned = nil, &p }
	}
	for name, e := range map[string]Entry{
		"no judgment": with(func(e *Entry, _ *Recognized, _ *Judged) { e.Judged = nil }),
		"a judgment of a setting": with(func(e *Entry, _ *Recognized, _ *Judged) {
			e.Recognized, e.Configured = nil, &Configured{Setting: Setting{Name: IdleLimit, Value: "60"}}
		}),
		"nothing shown":            with(func(_ *Entry, f *Recognized, _ *Judged) { f.Shown = nil }),
		"too much shown":           with(func(_ *Entry, f *Recognized, _ *Judged) { f.Shown = many }),
		"one shown twice":          with(func(_ *Entry, f *Recognized, _ *Judged) { f.Shown = shownBy("Ebb") }),
		"no ID":                    with(func(_ *Entry, f *Recognized, _ *Judged) { f.Shown = append(shownBy("E"), hostid.Shown{}) }),
		"no platform's name":       with(func(_ *Entry, f *Recognized, _ *Judged) { f.Platform.Virtual = "K V M" }),
		"an unknown outcome":       with(func(_ *Entry, _ *Recognized, j *Judged) { j.Outcome, j.Deadline = 77, 0 }),
		"a grace without an end":   with(func(_ *Entry, _ *Recognized, j *Judged) { j.Deadline = 0 }),
		"an end before time began": with(func(_ *Entry, _ *Recognized, j *Judged) { j.Deadline = -1 }),
		"an end without a grace":   with(func(_ *Entry, _ *Recognized, j *Judged) { j.Outcome = hostid.Drifted }),
		"used until tomorrow":      with(func(_ *Entry, _ *Recognized, j *Judged) { j.Used, j.At = 1, v.now.Lease+1 }),
		"less than nothing used":   with(func(_ *Entry, _ *Recognized, j *Judged) { j.Used = -1 }),
		"another TPM in a grace":   with(func(_ *Entry, f *Recognized, _ *Judged) { f.Shown = shownBy("Xbnd") }),
		"another TPM that is the same": with(func(_ *Entry, f *Recognized, j *Judged) {
			f.Shown, j.Outcome, j.Deadline = shownBy("Xbnd"), hostid.Same, 0
		}),
		"a binding to another TPM": with(func(_ *Entry, _ *Recognized, j *Judged) { j.Bound.EK = piece("X") }),
		"a binding to no TPM":      with(func(_ *Entry, _ *Recognized, j *Judged) { j.Bound.EK = hostid.ID{} }),
		"a binding to a device":    with(func(_ *Entry, _ *Recognized, j *Judged) { j.Bound.EK = hostid.ID{Type: hostid.DeviceKey, Value: "d"} }),
		"a binding to a user": with(func(_ *Entry, _ *Recognized, j *Judged) {
			j.Bound.Others = []hostid.ID{{Type: hostid.User, Value: "u"}}
		}),
		"a plan for ever":    with(plan(Planned{Until: v.now.Lease + mostPlanned + 1})),
		"a plan for no time": with(plan(Planned{})),
	} {
		l, err := Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Before rights came there is nothing to judge.
	l := begin(t).l
	e := with(func(*Entry, *Recognized, *Judged) {})
	e.Position, e.Previous = l.position+1, l.head
	if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a judgment before the rights: %v", err)
	}
	// A new lease on a machine that serves nothing.
	w := bound(t, capability.Policy{Binding: hostid.RuleSecondaries})
	w.shows("Ebnd")
	lease, err := w.l.Decide(w.now, Serve{Key: key("d"), Request: w.request("d", "f:1.0 1")})
	if err != nil {
		t.Fatal(err)
	}
	w.shows("Xbnd")
	e = lease.Entries[0]
	e.Position, e.Previous = w.l.position+1, w.l.head
	if err := w.l.Apply(e); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a lease on another machine: %v", err)
	}
	// A request that names nonsense.
	if _, err := w.l.Decide(w.now, WriteRequest{Number: 1, Digest: capability.Digest{1}, Shown: shownBy("Ebb")}); err == nil {
		t.Error("a request that names one twice")
	}
}

// Snapshots carry all of it, and so does the journal.
func TestBindingSurvives(t *testing.T) {
	v := bound(t, capability.Policy{Binding: hostid.RuleDongle, Grace: 1000})
	v.shows("Ebndk")
	v.must(PlanChange{By: "admin"})
	v.asksOffice()
	v.shows("EcmL")
	v.asksOffice()
	v.pass(PlannedFor)
	v.must(Advance{})
	v.pass(10)
	v.shows("Eck")
	restored, err := Restore(v.l.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	replayed := New()
	for _, e := range v.entries {
		if err := replayed.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for name, l := range map[string]*Ledger{"snapshot": restored, "journal": replayed} {
		if err := l.Check(); err != nil || l.Digest() != v.l.Digest() || !reflect.DeepEqual(l.Machine(v.now), v.l.Machine(v.now)) || !reflect.DeepEqual(l.machine, v.l.machine) {
			t.Errorf("%s: %v\n%+v\n%+v", name, err, l.machine, v.l.machine)
		}
	}
	var words []string
	for _, e := range v.entries {
		if kind, subject, by := e.Words(); e.Recognized != nil || e.Planned != nil {
			words = append(words, strings.TrimSpace(kind+" "+subject+" "+by))
		}
	}
	if want := []string{"machine recognized 5 IDs, same", "change planned  admin", "machine recognized 4 IDs, drifted", "machine recognized 3 IDs, drifted"}; !slices.Equal(words, want) {
		t.Errorf("%q", words)
	}
	for name, value := range map[string]string{"binding": "dongle", "binding-grace": "1000", "binding-dongle": ""} {
		if got := v.l.setting(name); got != value {
			t.Errorf("%s is %q", name, got)
		}
	}
	v.refused(SetPolicy{Name: "binding", Value: "tpm"}, capability.ErrLocked)
}

// A suspicion of the back office is an alarm here, until a response has none.
func TestAlarmsOfTheResponse(t *testing.T) {
	v := begin(t)
	v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 4)), Denials: []capability.Denial{{Code: capability.ErrTooFew}, {Code: capability.ErrFork}, {Code: capability.ErrFork}}})
	if got, want := v.l.Alarms(), []capability.Alarm{{Code: capability.ErrFork, Count: 1, Last: day}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	v.provision(lineItem('a', "f:1.0", 4))
	if got := v.l.Alarms(); got != nil {
		t.Errorf("%+v", got)
	}
	v.shows("Eb")
	v.shows("E")
	if got := v.l.Alarms(); len(got) != 1 || got[0].Code != capability.Recognized {
		t.Errorf("%+v", got)
	}
}

// kinds are the letters of IDs that weigh together.
var kinds = []string{"b", "nm", "d"}

// bindsAlso shows a machine, and is what is bound then: a kind that was missing when all of the rest was there comes in with the first look that has it, and the rest still.
func (v *life) bindsAlso(bound, machine string) string {
	same := v.l.Machine(v.now).Outcome == hostid.Same
	v.shows(machine)
	for _, kind := range kinds {
		if shares := strings.ContainsFunc(kind, func(r rune) bool { return strings.ContainsRune(bound, r) && strings.ContainsRune(machine, r) }); strings.ContainsAny(bound, kind) && !shares {
			same = false
		}
	}
	for _, kind := range kinds {
		if same && !strings.ContainsAny(bound, kind) {
			bound += strings.Map(func(r rune) rune {
				if strings.ContainsRune(kind, r) {
					return r
				}
				return -1
			}, machine)
		}
	}
	return bound
}

// A card that was late at the first look is bound by the next; one that comes when something else is gone is not.
func TestLateAtTheFirstLook(t *testing.T) {
	p := capability.Policy{Binding: hostid.RuleSecondaries, Grace: 1000}
	v := bound(t, p)
	v.shows("Eb")
	if got := v.shows("Ebn"); got != "same" {
		t.Errorf("the card comes late: %s", got)
	}
	if got := v.shows("End"); got != "grace" {
		t.Errorf("a disk comes as the board goes: %s", got)
	}
	if m := v.l.Machine(v.now); !slices.Equal(m.Bound.Others, []hostid.ID{piece("b"), piece("n")}) {
		t.Errorf("bound: %v", m.Bound.Others)
	}
}

// Lives of machines that change, under rules that change, with power cuts, against a count by hand of how long what is asked for was missing: nobody is served past a grace,
// and nobody is refused while nothing is missing, which by the default rule is always.
func TestBindingLives(t *testing.T) {
	const lives, steps, grace = 60, 120, 600
	happened := map[string]int{}
	for seed := range uint64(lives) {
		rng := rand.New(rand.NewPCG(seed, 41))
		rules := []capability.Policy{{}, {Binding: hostid.RuleSecondaries, Grace: grace}, {Binding: hostid.RuleDongle, Grace: grace, Dongle: piece("k")}}
		rule := rules[rng.IntN(3)]
		v := begin(t)
		machine := "Ebndk"
		v.shows(machine)
		v.answer(rule, v.asksOffice())
		bound := machine
		var lacking capability.Seconds // without a break
		for range steps {
			switch rng.IntN(8) {
			case 0, 1, 2:
				machine = "E"
				for _, p := range []string{"b", "n", "d", "k", "m"} {
					if rng.IntN(3) > 0 {
						machine += p
					}
				}
				bound = v.bindsAlso(bound, machine)
			case 3:
				v.must(Start{BootID: fmt.Sprint(rng.Uint32())})
				bound = v.bindsAlso(bound, machine)
			case 4:
				if rng.IntN(3) == 0 {
					rule = rules[rng.IntN(3)]
					v.answer(rule, v.asksOffice())
					if strings.ContainsAny(machine, "bndm") {
						bound = machine
					}
					lacking = 0
				}
			case 5:
				l, err := Restore(v.l.Snapshot())
				if err != nil {
					t.Fatal(err)
				}
				v.l = l
			default:
				d := capability.Seconds(rng.IntN(900))
				v.pass(d)
				v.must(Advance{})
				lacking += d
			}
			score := 0
			for _, c := range []struct {
				of string
				n  int
			}{{"b", 2}, {"nm", 2}, {"d", 1}} {
				if strings.ContainsFunc(c.of, func(r rune) bool { return strings.ContainsRune(bound, r) && strings.ContainsRune(machine, r) }) {
					score += c.n
				}
			}
			most := 0
			for _, c := range []struct {
				of string
				n  int
			}{{"b", 2}, {"nm", 2}, {"d", 1}} {
				if strings.ContainsAny(bound, c.of) {
					most += c.n
				}
			}
			missing := rule.Binding == hostid.RuleDongle && !strings.Contains(machine, "k") || rule.Binding == hostid.RuleSecondaries && score < min(3, most)
			if !missing {
				lacking = 0
			}
			serves := v.serves(fmt.Sprint("d", rng.IntN(3)))
			switch {
			case !missing && !serves:
				t.Fatalf("seed %d: %s bound, %s shown, rule %s: refused", seed, bound, machine, rule.Binding)
			case missing && lacking >= grace && serves:
				t.Fatalf("seed %d: %s bound, %s shown, rule %s, for %d: served", seed, bound, machine, rule.Binding, lacking)
			case !serves:
				happened["refused"]++
			case missing:
				happened["served in a grace"]++
			default:
				happened["served"]++
			}
		}
	}
	t.Logf("%d lives: %v", lives, happened)
	for _, what := range []string{"refused", "served in a grace", "served"} {
		if happened[what] < lives {
			t.Errorf("%s only %d times", what, happened[what])
		}
	}
}

// Giving back a part never needs rights that are in order: what is not asked for any more is free for others, and what is goes on to its end, no further.
func TestGivingBackPart(t *testing.T) {
	strict := capability.Policy{Binding: hostid.RuleSecondaries, Grace: 500}
	for _, x := range []struct {
		name  string
		code  capability.Code // of the refusal of the rest; zero: it is renewed
		spoil func(v *life)
	}{
		{"in order", 0, func(*life) {}},
		{"grace", 0, func(v *life) { v.shows("Ed") }},
		{"grace is over", capability.ErrBinding, func(v *life) { v.shows("Ed"); v.pass(500); v.must(Advance{}) }},
		{"grace is over, and nobody has noticed", capability.ErrBinding, func(v *life) { v.shows("Ed"); v.pass(500) }},
		{"another machine", capability.ErrBinding, func(v *life) { v.shows("Xbnd") }},
		{"clock is held", capability.ErrClock, func(v *life) { v.see(v.now.Wall.Add(-25 * hour)) }},
		{"refused by the model", capability.ErrRule, func(v *life) {
			v.must(SetModel{Text: []byte(`model "m" { on hostid("d1/ETHERNET") { deny } on any() { use "default" accept } }`), By: "admin"})
		}},
	} {
		for _, lines := range [][]string{{"f:1.0 1", "g:1.0 1"}, {"g:1.0 2"}, {"f:1.0 2"}, {"f:1.0 1"}} {
			t.Run(x.name+", "+strings.Join(lines, " and "), func(t *testing.T) {
				dated := func(i *capability.LineItem) { i.Expiry = 1 << 40 }
				v := begin(t)
				v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 2, dated), lineItem('b', "g:1.0", 2, dated)), Policy: strict})
				v.shows("Ebnd")
				if r := v.ask("d1", "f:1.0 2", "g:1.0 2"); r.Status != capability.StatusOK {
					t.Fatal(show(r))
				}
				x.spoil(v)
				before := v.ends("d1")
				r := v.ask("d1", lines...)
				want := map[string]uint64{}
				for _, l := range v.request("d1", lines...).Desired {
					want[l.Feature] = uint64(l.Count)
				}
				got := map[string]uint64{}
				id := hostid.ID{Type: hostid.Ethernet, Value: "d1"}
				d, _ := v.l.Device(id, v.now)
				for _, h := range d.Holdings {
					got[h.Item.Feature] += uint64(h.Count)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("asked for %v, and holds %v: %s", want, got, show(r))
				}
				for i, l := range r.Lines {
					if l.Denial.Code != x.code {
						t.Errorf("line %d: %s", i, show(r))
					}
				}
				if after := v.ends("d1"); x.code != 0 && after > before {
					t.Errorf("renewed from %d to %d", before, after)
				}
				if err := v.l.Check(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// ends is when the last of what a device holds does.
func (v *life) ends(device string) (last capability.Time) {
	d, _ := v.l.Device(hostid.ID{Type: hostid.Ethernet, Value: device}, v.now)
	for _, h := range d.Holdings {
		last = max(last, h.Expiry)
	}
	return last
}
