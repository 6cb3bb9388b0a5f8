package ledger

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func TestHoldEnds(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	hold := func(want capability.Seconds) {
		t.Helper()
		s := v.l.Status(v.now)
		if s.Hold != want || want != 0 && s.HoldUntil != v.now.Told(want) {
			t.Errorf("hold until %d, %s, where %d is wanted", s.Hold, s.HoldUntil, want)
		}
	}
	hold(0)
	v.must(Start{BootID: "2", HoldFor: 100, Cause: "power"})
	hold(1100)
	v.pass(50)
	v.must(Start{BootID: "2"}) // kill -9 does not end it
	hold(1100)
	v.must(Start{BootID: "3", HoldFor: 20}) // nor does a shorter one
	hold(1100)
	v.must(Start{BootID: "4", HoldFor: 100})
	hold(1150)
	if r := v.ask("d", "f:1.0 1"); r.Hold != v.now.Told(1150) || show(r) != "PARTLY | INSUFFICIENT 0 E_HOLD | has 0" || r.Lines[0].Denial.Until != r.Hold {
		t.Errorf("%+v", r)
	}
	v.refused(v.giveUp(1, 'a', 1), capability.ErrHold)
	v.now.Wall += 100000 // the wall clock ends no hold
	v.pass(99)
	hold(1150)
	v.expect("d f:1.0 1", "PARTLY | INSUFFICIENT 0 E_HOLD | has 0")
	v.pass(1)
	hold(0)
	if r := v.ask("d", "f:1.0 1"); r.Hold != 0 || show(r) != "OK | OK 1 | has 1" {
		t.Errorf("%+v", r)
	}
	var m *capability.Malformed
	if _, err := v.do(Start{HoldFor: -1}); !asMalformed(err, &m) {
		t.Error(err)
	}
}

// After a power loss a lease can go on past the expiry of its item. What is told stays within the dates, and the rest is only kept from others.
func TestHoldPastExpiry(t *testing.T) {
	const expiry = day + 1200
	v := begin(t, lineItem('a', "f:1.0", 1, until(expiry)))
	v.lossy = true
	kept := v.ask("d", "f:1.0 1")
	v.now.Wall += 600
	v.must(Start{BootID: "2", HoldFor: 900})
	r := v.request("d", "f:1.0 1")
	r.Applied = kept.Serial
	d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: r, Receipt: ReceiptOf(&kept)})
	if a := d.Response; err != nil || show(*a) != "OK | OK 1 | has 1" || kept.Rights[0].Expiry >= expiry || a.Rights[0].Expiry != expiry {
		t.Fatalf("first %+v, then %+v, %v", kept.Rights, a.Rights, err)
	}
	forged := *d.Entries[0].Served
	forged.Leases = []Lease{forged.Leases[0]}
	forged.Leases[0].Lead -= 1
	e := d.Entries[0]
	e.Served = &forged
	if l, err := Restore(v.l.Snapshot()); err != nil || !errors.Is(l.Apply(e), ErrCorrupt) {
		t.Errorf("a second past the expiry is taken: %v", err)
	}
	v.apply(d.Entries...)
	if got := v.holds("d"); got != "a*1@900" {
		t.Errorf("holds %s", got)
	}
}

// In a hold a line is renewed as far as its receipt goes, and no further; giving back is possible.
func TestHoldReceipts(t *testing.T) {
	type receipt func(*Receipt)
	same := func(*Receipt) {}
	for _, c := range []struct {
		name    string
		receipt receipt // nil: none is sent
		request []string
		want    string
		holds   string
	}{
		{"no receipt", nil, []string{"f:1.0 3", "g:1.0 2"}, "PARTLY | INSUFFICIENT 0 E_HOLD | INSUFFICIENT 0 E_HOLD | has 5", "a*3@800 b*2@800"},
		{"receipt", same, []string{"f:1.0 3", "g:1.0 2"}, "OK | OK 3 | OK 2 | has 5", "a*3@900 b*2@900"},
		{"one line more than it had", same, []string{"f:1.0 4", "g:1.0 2"}, "PARTLY | INSUFFICIENT 0 E_HOLD | OK 2 | has 5", "a*3@800 b*2@900"},
		{"two lines share one right", same, []string{"f:1.0 2", "f:1.0 2"}, "PARTLY | OK 2 | INSUFFICIENT 0 E_HOLD | has 3", "a*1@800 a*2@900"},
		{"partial", same, []string{"f:1.0 4?"}, "OK | PARTIAL 3 E_NO_SEAT | has 3", "a*3@900"},
		{"partial without receipt keeps", nil, []string{"f:1.0 2?"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 2", "a*2@800"},
		{"less, with a receipt", same, []string{"f:1.0 1"}, "OK | OK 1 | has 1", "a*1@900"},
		{"less, without", nil, []string{"f:1.0 1", "g:1.0 0"}, "PARTLY | INSUFFICIENT 0 E_HOLD | OK 0 | has 1", "a*1@800"},
		{"nothing", nil, nil, "RETURNED | has 0", ""},
		{"another feature", same, []string{"h:1.0 1", "f:1.0 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | OK 3 | has 3", "a*3@900"},
		{"a higher version than proven", same, []string{"f:1.1 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 3", "a*3@800"},
		{"a lower version than proven", same, []string{"f:0.5 3"}, "OK | OK 3 | has 3", "a*3@900"},
		{"another device's", func(r *Receipt) { r.For.Value = "d2" }, []string{"f:1.0 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 3", "a*3@800"},
		{"another key's", func(r *Receipt) { r.Key = key("thief") }, []string{"f:1.0 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 3", "a*3@800"},
		{"an older one", func(r *Receipt) { r.Serial-- }, []string{"f:1.0 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 3", "a*3@800"},
		{"an expired one", func(r *Receipt) { r.Rights[0].Expiry = day + 100 }, []string{"f:1.0 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 3", "a*3@800"},
		{"the last second", func(r *Receipt) { r.Rights[0].Expiry = day + 101 }, []string{"f:1.0 3"}, "OK | OK 3 | has 3", "a*3@900"},
		{"counts that do not fit", func(r *Receipt) { r.Serial++; r.Rights[0].Count = 9 }, []string{"f:1.0 9"}, "DENIED E_HOLD | has 0", "a*3@800 b*2@800"},
		{"counts that fit in part", func(r *Receipt) { r.Rights[0].Count = 9 }, []string{"f:1.0 9?"}, "OK | PARTIAL 5 E_NO_SEAT | has 5", "a*5@900"},
		// A newer receipt than the ledger knows of: the state is an older copy, so only what the receipt proves is told.
		{"newer, fits", func(r *Receipt) { r.Serial++; r.Rights[0].Count = 5 }, []string{"f:1.0 5"}, "OK | OK 5 | has 5", "a*5@900"},
		{"newer, says it gave back", func(r *Receipt) { r.Serial++; r.Rights = nil }, []string{"f:1.0 3"}, "DENIED E_HOLD | has 0", "a*3@800 b*2@800"},
		{"newer, wants nothing", func(r *Receipt) { r.Serial++; r.Rights = nil }, nil, "RETURNED | has 0", ""},
		{"a serial nobody can count on from", func(r *Receipt) { r.Serial = 1 << 63 }, []string{"f:1.0 3"}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 3", "a*3@800"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 6), lineItem('b', "g:1.0", 2), lineItem('c', "h:1.0", 2))
			v.expect("d2 f:1.0 1", "OK | OK 1 | has 1")
			v.ask("d1", "f:1.0 1")
			kept := v.ask("d1", "f:1.0 3", "g:1.0 2")
			v.must(Start{HoldFor: 900})
			v.pass(100)
			s := Serve{Key: key("d1"), Request: v.request("d1", c.request...)}
			if c.receipt != nil {
				s.Receipt = ReceiptOf(&kept)
				c.receipt(s.Receipt)
			}
			d := v.must(s)
			if got := show(*d.Response); got != c.want || v.holds("d1") != c.holds {
				t.Errorf("\n got %s, %s\nwant %s, %s", got, v.holds("d1"), c.want, c.holds)
			}
			if s.Receipt != nil && len(d.Entries) > 0 && (d.Response.Serial <= kept.Serial || s.Receipt.Serial < 1<<62 && d.Response.Serial <= s.Receipt.Serial) {
				t.Errorf("serial %d after %d", d.Response.Serial, s.Receipt.Serial)
			}
			if len(d.Entries) > 0 && d.Entries[0].Served.Receipt != 0 && c.receipt == nil {
				t.Error("an entry names a receipt that did not come")
			}
		})
	}
}

// A device that names a newer serial and shows no receipt has held something this state does not know; it is told nothing, and keeps what it has.
func TestHoldClaims(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 6))
	kept := v.ask("d1", "f:1.0 3")
	v.must(Start{HoldFor: 900})
	for _, op := range []capability.Operation{capability.Grant, capability.Preview, capability.Report, capability.Undo} {
		r := v.operation(op, "d1", "f:1.0 2")
		r.Applied = kept.Serial + 1
		if got := v.serve(Serve{Key: key("d1"), Request: r, Receipt: ReceiptOf(&kept)}); show(got) != "DENIED E_HOLD | has 0" {
			t.Errorf("%s: %s", op, show(got))
		}
	}
	r := v.request("d1")
	r.Applied = kept.Serial + 1
	if got := v.serve(Serve{Key: key("d1"), Request: r}); show(got) != "RETURNED | has 0" || got.Serial != kept.Serial+2 {
		t.Errorf("%s, serial %d", show(got), got.Serial)
	}
}

func TestHoldAtomic(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 6), lineItem('b', "g:1.0", 2))
	kept := v.ask("d1", "f:1.0 3", "g:1.0 1")
	v.must(Start{HoldFor: 900})
	v.pass(10)
	r := v.request("d1", "f:1.0 3", "g:1.0 2")
	r.Atomic = true
	if got := v.serve(Serve{Key: key("d1"), Request: r, Receipt: ReceiptOf(&kept)}); show(got) != "UNCHANGED | OK 3 | INSUFFICIENT 0 E_HOLD | has 4" {
		t.Error(show(got))
	}
	v.expect("holds d1", "a*3@890 b*1@890")
}

// A receipt proves what it names: a count of another version, which an older copy shows as free, may have gone to another since.
func TestHoldVersions(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 3), lineItem('b', "f:2.0", 3))
	kept := v.ask("d1", "f:2.0 3")
	old := v.l.Snapshot()
	v.expect("d2 f:1.0 3", "OK | OK 3 | has 3")
	l, err := Restore(old)
	if err != nil {
		t.Fatal(err)
	}
	v.l = l
	v.must(Start{HoldFor: 900})
	v.provision(lineItem('a', "f:1.0", 3), lineItem('b', "f:2.0", 1))
	for line, want := range map[string]string{
		"f:1.0 3":  "PREVIEW | INSUFFICIENT 0 E_OVERAGE | has 3",
		"f:1.0 3?": "PREVIEW | PARTIAL 1 E_OVERAGE | has 1", // all that is left of version 2
		"f:1.0 1":  "PREVIEW | OK 1 | has 1",
	} {
		r := v.request("d1", line)
		r.Operation = capability.Preview
		if got := v.serve(Serve{Key: key("d1"), Request: r, Receipt: ReceiptOf(&kept)}); show(got) != want {
			t.Errorf("%s: %s", line, show(got))
		}
	}
	v.provision(lineItem('a', "f:1.0", 3))
	if got := v.serve(Serve{Key: key("d1"), Request: v.request("d1", "f:1.0 3"), Receipt: ReceiptOf(&kept)}); show(got) != "PARTLY | INSUFFICIENT 0 E_HOLD | has 3" {
		t.Error(show(got))
	}
}

// What the ledger lost in an older copy a receipt brings back, if it fits; what was given to another since does not.
func TestHoldAfterRollback(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.ask("d1", "f:1.0 3")
	old := v.l.Snapshot()
	v.expect("d1", "RETURNED | has 0")
	kept := v.ask("d2", "f:1.0 3")
	other := v.ask("d3", "f:1.0 1")
	l, err := Restore(old)
	if err != nil {
		t.Fatal(err)
	}
	v.l = l
	v.must(Start{HoldFor: 900})
	ask := func(device string, applied *capability.Response, lines ...string) string {
		r := v.request(device, lines...)
		r.Applied = applied.Serial
		return show(v.serve(Serve{Key: key(device), Request: r, Receipt: ReceiptOf(applied)}))
	}
	if got := ask("d2", &kept, "f:1.0 3"); got != "DENIED E_HOLD | has 0" {
		t.Error(got)
	}
	if got := ask("d3", &other, "f:1.0 1"); got != "OK | OK 1 | has 1" {
		t.Error(got)
	}
	v.expect("items", "a 4/4")
}

// The lease clock stands still while the machine is off. That frees nothing, but in a hold it must not be told as a later end either: in an older copy of the
// state the lease may have ended since, and its counts may be another's.
func TestHoldTellsNoLaterEnd(t *testing.T) {
	for _, c := range []struct {
		off  capability.Time
		want capability.Time // the end that is told; zero: not told
	}{
		{0, day + 900}, {100, day + 900}, {889, day + 900}, {890, 0}, {100000, 0},
	} {
		for _, op := range []capability.Operation{capability.Grant, capability.Preview, capability.Report} {
			v := begin(t, lineItem('a', "f:1.0", 6))
			v.ask("d1", "f:1.0 3")
			v.pass(10)
			v.now.Wall += c.off
			v.must(Start{HoldFor: 900})
			r := v.request("d1", "f:1.0 3")
			r.Operation = op
			got := v.serve(Serve{Key: key("d1"), Request: r})
			if (len(got.Rights) == 1) != (c.want != 0) || c.want != 0 && got.Rights[0].Expiry != c.want {
				t.Errorf("off %d s, %s: told %+v", c.off, op, got.Rights)
			}
			v.expect("holds d1", "a*3@890")
			v.pass(900 - 10 - 1)
			v.expect("items", "a 3/6")
		}
	}
	// Outside a hold what is kept is told as long as it is kept.
	v := begin(t, lineItem('a', "f:1.0", 6))
	v.ask("d1", "f:1.0 3")
	v.now.Wall += 500
	if got := v.ask("d1", "f:1.0 7"); got.Rights[0].Expiry != v.now.Wall+900 {
		t.Errorf("told %+v", got.Rights)
	}
}
