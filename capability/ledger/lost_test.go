package ledger

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// After a loss nothing is served and every refusal says what was lost; the response that repairs brings the rights in a hold, which only receipts pass.
func TestLostStorage(t *testing.T) {
	before := begin(t, lineItem('a', "f:1.0", 4))
	kept := before.ask("d", "f:1.0 3")

	v := &life{t: t, l: New(), now: At(5, day+60)}
	v.must(Start{Life: capability.LifeID{7}, Lost: capability.ErrRollback})
	v.must(Start{Life: capability.LifeID{8}}) // a restart changes neither
	if mode := v.l.Media(); mode != MediaConfirm {
		t.Errorf("sticks are let in as %s, whatever was set before", mode)
	}
	if s := v.l.Status(v.now); s.Life != (capability.LifeID{7}) || s.Lost != capability.ErrRollback {
		t.Errorf("%+v", s)
	}
	if r := v.ask("d", "f:1.0 1"); len(r.Denials) != 1 || r.Denials[0].Code != capability.ErrRollback {
		t.Errorf("%+v", r)
	}
	v.refused(v.giveUp(1, 'a', 1), capability.ErrRollback)

	other := v.response(9, capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 4)}, Life: capability.LifeID{8}})
	v.refused(Provision{Response: other, Digest: capability.Digest{1}}, capability.ErrResponseEpoch)
	v.serial = 8
	v.respond(capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 4)}, Life: capability.LifeID{7}})
	s := v.l.Status(v.now)
	if mode := v.l.Media(); mode != MediaAuto {
		t.Errorf("after a response sticks are let in as %s", mode)
	}
	if lease := v.l.Policy().Lease; s.Lost != 0 || s.Hold != v.now.Lease+capability.MaxLease || lease == capability.MaxLease {
		t.Errorf("a lease lasts for %s, and %+v: what was lost may have had the longest", lease, s)
	}
	v.expect("e f:1.0 1", "PARTLY | INSUFFICIENT 0 E_HOLD | has 0")
	req := v.request("d", "f:1.0 3")
	req.Applied = kept.Serial
	r := *v.must(Serve{Key: key("d"), Request: req, Receipt: ReceiptOf(&kept)}).Response
	if show(r) != "OK | OK 3 | has 3" || r.Serial <= kept.Serial {
		t.Errorf("with a receipt: %s, serial %d after %d", show(r), r.Serial, kept.Serial)
	}
	v.pass(s.Hold - v.now.Lease)
	v.expect("e f:1.0 1", "OK | OK 1 | has 1")
	v.must(Start{Lost: capability.ErrCorrupt}) // with rights in force nothing was lost
	if s := v.l.Status(v.now); s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	v.respond(capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 5)}})
	if s := v.l.Status(v.now); s.Hold != 0 {
		t.Errorf("an ordinary response begins a hold: %+v", s)
	}
	l, err := Restore(v.l.Snapshot())
	if err != nil || l.Status(v.now).Life != (capability.LifeID{7}) {
		t.Fatalf("restored: %v", err)
	}
}

// Apply finds wrong what Decide never writes about lives and losses.
func TestForgedLives(t *testing.T) {
	fresh := func() *life { return &life{t: t, l: New(), now: At(5, day)} }
	lost := fresh()
	lost.must(Start{Life: capability.LifeID{7}, Lost: capability.ErrCorrupt})
	r := capability.Response{Version: capability.Protocol, For: hostid.ID{Type: hostid.TPMEK, Value: "00ff"}, Serial: 1, Time: day}
	for name, f := range map[string]Entry{
		"a second life":         {Started: &Started{Life: capability.LifeID{8}, Lost: capability.ErrCorrupt}},
		"a loss forgotten":      {Started: &Started{}},
		"a repair without hold": {Provisioned: &Provisioned{Response: r}},
		"a hold that is over":   {Provisioned: &Provisioned{Response: r, Hold: 5}},
	} {
		l, err := Restore(lost.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		d := l.decided(lost.now, f)
		if err := l.Apply(d.Entries[0]); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	v := begin(t, lineItem('a', "f:1.0", 4))
	for name, f := range map[string]Entry{
		"a loss beside rights":  {Started: &Started{Lost: capability.ErrCorrupt}},
		"a hold without a loss": {Provisioned: &Provisioned{Response: v.response(9, r), Hold: 5000}},
	} {
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(l.decided(v.now, f).Entries[0]); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	v.must(WriteRequest{Number: 1, Digest: capability.Digest{1}, Epoch: 7})
	if _, err := v.do(WriteRequest{Number: 2, Digest: capability.Digest{2}, Epoch: 6}); err == nil {
		t.Error("an epoch that goes back is taken")
	}
	if err := v.l.Apply(v.l.decided(v.now, Entry{Requested: &Requested{Written: Written{2, capability.Digest{2}}, Epoch: 6}}).Entries[0]); err == nil {
		t.Error("an entry whose epoch goes back is taken")
	}
}
