package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// While the dongle is missing, what a device holds of a feature is renewed, and nobody gets more: no other device, no second line, no other feature.
func TestDongleIsMissing(t *testing.T) {
	const grace = 10_000
	for _, rule := range []hostid.Rule{hostid.RuleDongle, hostid.RuleProof} {
		p := capability.Policy{Binding: rule, Grace: grace, Dongle: piece("k")}
		v := begin(t)
		v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 10), lineItem('b', "g:1.0", 10), lineItem('c', "f:2.0", 10)), Policy: p})
		there, gone := "EbK", "Eb"
		if v.shows(there) != "same" {
			t.Fatal("it is there")
		}
		v.ask("d1", "f:1.0 3")
		if v.shows(gone) != "grace" {
			t.Fatal("it is gone")
		}
		refused := func(what string, r capability.Response, line int, available uint32) {
			t.Helper()
			if d := r.Lines[line].Denial; d.Code != capability.ErrBinding || d.Available != available {
				t.Errorf("%s, %s: answered %s", rule, what, show(r))
			}
		}
		for range 20 {
			v.pass(300)
			if r := v.ask("d1", "f:1.0 3"); r.Status != capability.StatusOK || r.Rights[0].Count != 3 {
				t.Fatalf("%s: a renewal is answered %s", rule, show(r))
			}
		}
		refused("another device", v.ask("d2", "f:1.0 1"), 0, 0)
		refused("one more", v.ask("d1", "f:1.0 4"), 0, 3)
		refused("another feature", v.ask("d1", "f:1.0 3", "g:1.0 1"), 1, 0)
		refused("a second line", v.ask("d1", "f:1.0 3", "f:1.0 1"), 1, 0)
		if r := v.ask("d1", "f:1.0 5?"); r.Status != capability.StatusOK || len(r.Rights) != 1 || r.Rights[0].Count != 3 || r.Lines[0].Denial.Code != capability.ErrBinding {
			t.Errorf("%s: what there is of five is answered %s", rule, show(r))
		}
		if r := v.ask("d1", "f:1.0 2"); r.Status != capability.StatusOK || r.Rights[0].Count != 2 {
			t.Errorf("%s: less than before is answered %s", rule, show(r))
		}
		refused("what it gave back", v.ask("d1", "f:1.0 3"), 0, 2)
		if r := v.ask("d1"); r.Status != capability.StatusReturned {
			t.Errorf("%s: giving back is answered %s", rule, show(r))
		}
		if v.serves("d1") || v.shows(there) != "same" || !v.serves("d1") || !v.serves("d2") {
			t.Errorf("%s: it is there again", rule)
		}
		v.shows(gone)
		v.pass(grace)
		if v.serves("d1") {
			t.Errorf("%s: renewed after the grace", rule)
		}
	}
}

// Only a dongle makes a grace stricter: what is missing of a board serves on.
func TestBoardIsMissing(t *testing.T) {
	v := bound(t, capability.Policy{Binding: hostid.RuleSecondaries, Grace: 1000})
	v.shows("Ebnd")
	if v.shows("E") != "grace" || !v.serves("d1") || !v.serves("d2") {
		t.Error("a grace for the board serves")
	}
}

// Apply takes no entry that gives more without the dongle, whoever decided it.
func TestApplyAssertsTheDongle(t *testing.T) {
	v := bound(t, capability.Policy{Binding: hostid.RuleDongle, Grace: 1000, Dongle: piece("k")})
	v.shows("Ek")
	v.ask("d1", "f:1.0 1")
	v.shows("E")
	loose, err := Restore(v.l.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	loose.applied.Policy.Binding = hostid.RuleTPM
	for lines, want := range map[string]bool{"f:1.0 1": true, "f:1.0 2": false} {
		strict, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		d, err := loose.Decide(v.now, Serve{Key: key("d1"), Request: v.request("d1", lines)})
		if err != nil || len(d.Entries) != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		if err := strict.Apply(d.Entries[0]); want && err != nil || !want && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s without the dongle: %v", lines, err)
		}
	}
}

// 1,000 times a dongle is pulled out and plugged in, among devices that ask for more and less: nobody gets more while it is out, nothing is renewed after the grace.
func TestDongleCycles(t *testing.T) {
	const cycles, grace = 1000, 2000
	rng := rand.New(rand.NewPCG(6, 17))
	v := bound(t, capability.Policy{Binding: hostid.RuleProof, Grace: grace, Dongle: piece("k")})
	var granted, renewed, wrongGrants, wrongRenewals, refused int
	holds := func(r capability.Response) (n uint32) {
		for _, right := range r.Rights {
			n += right.Count
		}
		return n
	}
	for range cycles {
		v.shows("EK")
		for range 1 + rng.IntN(3) {
			granted += int(holds(v.ask(fmt.Sprint("d", rng.IntN(3)), fmt.Sprintf("f:1.0 %d", 1+rng.IntN(2)))))
			v.pass(capability.Seconds(rng.IntN(500)))
		}
		v.shows([]string{"E", "Ek", "EL"}[rng.IntN(3)]) // nothing, only its number, another key
		end := v.l.Machine(v.now).Grace
		for range rng.IntN(5) {
			device := fmt.Sprint("d", rng.IntN(3))
			id := hostid.ID{Type: hostid.Ethernet, Value: device}
			before, _ := v.l.Device(id, v.now)
			var had uint32
			for _, h := range before.Holdings {
				had += h.Count
			}
			r := v.ask(device, fmt.Sprintf("f:1.0 %d", 1+rng.IntN(3)))
			switch n := holds(r); {
			case n > had:
				wrongGrants++
			case v.now.Wall >= end && r.Status != capability.StatusDenied && (len(r.Lines) != 1 || r.Lines[0].Denial.Code != capability.ErrBinding):
				wrongRenewals++
			case n > 0:
				renewed++
			default:
				refused++
			}
			v.pass(capability.Seconds(rng.IntN(700)))
		}
	}
	if wrongGrants+wrongRenewals > 0 {
		t.Errorf("%d grants without the dongle, %d renewals after the grace", wrongGrants, wrongRenewals)
	}
	if granted < cycles || renewed < cycles/10 || refused < cycles/10 {
		t.Errorf("%d granted, %d renewed, %d refused: the lives are not what they should be", granted, renewed, refused)
	}
	t.Logf("%d cycles: %d granted, %d renewed and %d refused without the dongle, none wrongly", cycles, granted, renewed, refused)
}
