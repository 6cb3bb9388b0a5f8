package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func usedBefore(n uint32) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.UsedBefore = n }
}

// repaired is an appliance whose storage was lost and comes back with these items, in the middle of its hold.
func repaired(t testing.TB, items ...capability.LineItem) *life {
	v := &life{t: t, l: New(), now: At(5, day)}
	v.must(Start{Life: capability.LifeID{7}, Lost: capability.ErrStorageGone})
	v.serial = 8
	v.provision(items...)
	v.pass(10)
	return v
}

func (v *life) endHold() { v.pass(max(0, v.l.Status(v.now).Hold-v.now.Lease)) }

// What was used before a repair is used after it, and belongs to nobody.
func TestUsedBefore(t *testing.T) {
	for _, c := range []struct {
		name  string
		item  capability.LineItem
		steps [][2]string
	}{
		{"the rest is left", lineItem('m', "m:1.0", 4, metered(false, 100), usedBefore(3)), [][2]string{
			{"items", "a 0/4, m 3/4"}, {"d m:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"}, {"d m:1.0 1", "OK | OK 1 | has 1"}, {"items", "a 0/4, m 4/4"},
			{"e m:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"}, {"d", "OK | has 1"}, {"items", "a 0/4, m 4/4"},
		}},
		{"reusable too", lineItem('m', "m:1.0", 4, metered(true, 0), usedBefore(3)), [][2]string{
			{"d m:1.0 1", "OK | OK 1 | has 1"}, {"d", "RETURNED | has 0"}, {"items", "a 0/4, m 3/4"},
		}},
		{"only the new reports can be undone", lineItem('m', "m:1.0", 4, metered(false, 100), usedBefore(3)), [][2]string{
			{"report d cor:r m:1.0 1", "OK | OK 1 | has 1"}, {"undo d undoes:r", "OK | has 0"}, {"undo d undoes:r", "DENIED E_UNDO | has 0"}, {"items", "a 0/4, m 3/4"},
		}},
		{"all of it", lineItem('m', "m:1.0", 4, metered(false, 0), usedBefore(4)), [][2]string{{"d m:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"}}},
		{"more than there is", lineItem('m', "m:1.0", 4, metered(false, 0), usedBefore(6)), [][2]string{{"items", "a 0/4, m 6/4 over"}, {"d m:1.0 1", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 0"}}},
		{"not counted", lineItem('m', "m:1.0", 1, metered(false, 0), uncounted, usedBefore(300)), [][2]string{{"items", "a 0/4, m 300/1"}, {"d m:1.0 5", "OK | OK 5 | has 5"}, {"items", "a 0/4, m 305/1"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := repaired(t, c.item, lineItem('a', "f:1.0", 4))
			v.endHold()
			v.play(c.steps)
			back, err := Restore(v.l.Snapshot())
			if err != nil || back.Digest() != v.l.Digest() || fmt.Sprint(back.Metered()) != fmt.Sprint(v.l.Metered()) {
				t.Fatalf("restored: %v", err)
			}
			if d := v.l.Idle(1, v.now); len(d) > 0 && d[len(d)-1].Who.Alias == BeforeRepair {
				t.Errorf("idle: %+v", d)
			}
			if d := v.l.Devices(v.now); len(d) == 0 || d[len(d)-1].Who.Alias != BeforeRepair || d[len(d)-1].ID.Value != "00ff" {
				t.Errorf("%+v", d)
			}
		})
	}
}

// Overdraft that was used stays used as overdraft, and is booked over as any other when counts come.
func TestUsedBeforeOfAnOverdraft(t *testing.T) {
	over := func(i *capability.LineItem) { i.Overdraft = 2 }
	v := repaired(t, lineItem('m', "m:1.0", 4, metered(false, 0), over, usedBefore(5)))
	v.endHold()
	v.play([][2]string{{"d m:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"}, {"d m:1.0 1", "OK | OK 1 | has 1"}})
	if i := v.l.Items(v.now)[0]; i.Used != 4 || i.Overdrawn != 2 || v.l.Metered()[0].Count != 6 {
		t.Errorf("%+v, %v", i, v.l.Metered())
	}
	v.provision(lineItem('m', "m:1.0", 8, metered(false, 0), over))
	v.must(Advance{})
	if i := v.l.Items(v.now)[0]; i.Used != 6 || i.Overdrawn != 0 || v.l.Metered()[0].Count != 6 {
		t.Errorf("%+v, %v", i, v.l.Metered())
	}
}

// Only the first response of a storage says what was used before it, and an item that goes takes its counts along.
func TestUsedBeforeIsBookedOnce(t *testing.T) {
	item := lineItem('m', "m:1.0", 4, metered(false, 0), usedBefore(3))
	v := repaired(t, item)
	v.provision(item)
	v.expect("items", "m 3/4")
	v.provision(lineItem('a', "f:1.0", 4))
	if got := v.l.Metered(); got != nil {
		t.Errorf("%v", got)
	}
	w := begin(t, lineItem('m', "m:1.0", 4, metered(false, 0)))
	w.provision(item)
	w.expect("items", "m 0/4")
}

// A receipt moves what a device had of it to the device, in the hold and after it, once, and never more than was there.
func TestClaims(t *testing.T) {
	for _, c := range []struct {
		name       string
		before     uint32
		held, asks uint32 // by the device: before the repair, and now in all
		want       string
		items      string
	}{
		{"as it was", 3, 3, 3, "OK | OK 3 | has 3", "m 3/4"},
		{"one more waits for the end of the hold", 3, 3, 4, "DENIED E_HOLD | has 0", "m 3/4"},
		{"less was heard of", 2, 3, 3, "OK | OK 3 | has 3", "m 3/4"},
		{"others had the rest", 4, 2, 2, "OK | OK 2 | has 2", "m 4/4"},
		{"it asks for less", 4, 3, 1, "OK | OK 1 | has 1", "m 4/4"},
		{"nothing is left to claim", 0, 3, 3, "OK | OK 3 | has 3", "m 3/4"},
	} {
		for _, hold := range []bool{true, false} {
			if !hold && c.asks > c.held {
				c.want, c.items = "OK | OK 4 | has 4", "m 4/4"
			}
			old := begin(t, lineItem('m', "m:1.0", 4, metered(false, 0)))
			kept := old.ask("d", fmt.Sprintf("m:1.0 %d", c.held))
			v := repaired(t, lineItem('m', "m:1.0", 4, metered(false, 0), usedBefore(c.before)))
			if !hold {
				v.endHold()
			}
			req := v.request("d", fmt.Sprintf("m:1.0 %d", c.asks))
			req.Applied = kept.Serial
			got := v.must(Serve{Key: key("d"), Request: req, Receipt: ReceiptOf(&kept)}).Response
			if show(*got) != c.want {
				t.Errorf("%s, hold %v: %s where %s is wanted", c.name, hold, show(*got), c.want)
			}
			v.expect("items", c.items)
			v.endHold()
			again := v.request("d", fmt.Sprintf("m:1.0 %d", c.asks))
			v.serve(Serve{Key: key("d"), Request: again, Receipt: ReceiptOf(&kept)})
			if n := v.l.Metered()[0].Count; n > 4 {
				t.Errorf("%s: %d are used", c.name, n)
			}
		}
	}
}

// What a claim does not take is no room for the overdraft of others.
func TestClaimLeavesTheRest(t *testing.T) {
	over := func(i *capability.LineItem) { i.Overdraft = 2 }
	old := begin(t, lineItem('m', "m:1.0", 4, metered(false, 0), over))
	kept := old.ask("d", "m:1.0 3")
	v := repaired(t, lineItem('m', "m:1.0", 4, metered(false, 0), over, usedBefore(4)))
	v.endHold()
	v.expect("e m:1.0 1", "OK | OK 1 | has 1")
	v.serve(Serve{Key: key("d"), Request: v.request("d", "m:1.0 1"), Receipt: ReceiptOf(&kept)})
	if i := v.l.Items(v.now)[0]; v.has("d") != "m*1@default" || i.Used != 4 || i.Overdrawn != 1 {
		t.Errorf("%s, %+v", v.has("d"), i)
	}
}

// An atomic request that is refused claims nothing; a receipt of another device, key or version neither.
func TestClaimsThatAreNot(t *testing.T) {
	for name, spoil := range map[string]func(*Receipt, *capability.Request){
		"atomic": func(_ *Receipt, r *capability.Request) {
			r.Atomic = true
			r.Desired = append(r.Desired, capability.Desired{Feature: "f", Version: capability.Version{Major: 9}, Count: 1})
		},
		"another device's": func(r *Receipt, _ *capability.Request) { r.For.Value = "e" },
		"another key's":    func(r *Receipt, _ *capability.Request) { r.Key = key("e") },
		"another version":  func(r *Receipt, _ *capability.Request) { r.Rights[0].Version.Major = 7 },
		"a preview":        func(_ *Receipt, r *capability.Request) { r.Operation = capability.Preview },
		"it used some":     func(*Receipt, *capability.Request) {},
	} {
		old := begin(t, lineItem('m', "m:1.0", 4, metered(false, 0)))
		kept := old.ask("d", "m:1.0 3")
		v := repaired(t, lineItem('m', "m:1.0", 5, metered(false, 0), usedBefore(3)))
		v.endHold()
		had := ""
		if name == "it used some" {
			v.expect("d m:1.0 1", "OK | OK 1 | has 1")
			had = "m*1@default"
		}
		req, receipt := v.request("d", "m:1.0 3"), ReceiptOf(&kept)
		spoil(receipt, &req)
		v.serve(Serve{Key: key("d"), Request: req, Receipt: receipt})
		if got := v.has("d"); got != had || v.l.before.leases[0].count != 3 {
			t.Errorf("%s: the device has %q, and %d are left", name, got, v.l.before.leases[0].count)
		}
	}
}

// Apply finds claims wrong that Decide never makes.
func TestForgedClaims(t *testing.T) {
	old := begin(t, lineItem('m', "m:1.0", 4, metered(false, 0)))
	kept := old.ask("d", "m:1.0 2")
	for name, spoil := range map[string]func(*Served){
		"as it is":         func(*Served) {},
		"no receipt":       func(f *Served) { f.Receipt = 0 },
		"more than taken":  func(f *Served) { f.Claimed[0].Count = 3 },
		"more than before": func(f *Served) { f.Claimed[0].Count, f.Leases[0].Count = 4, 4 },
		"nothing":          func(f *Served) { f.Claimed[0].Count = 0 },
		"no such item":     func(f *Served) { f.Claimed[0].Item = 9 },
		"twice":            func(f *Served) { f.Claimed = append(f.Claimed, f.Claimed[0]) },
	} {
		v := repaired(t, lineItem('m', "m:1.0", 4, metered(false, 0), usedBefore(3)))
		v.endHold()
		d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: v.request("d", "m:1.0 2"), Receipt: ReceiptOf(&kept)})
		if err != nil {
			t.Fatal(err)
		}
		spoil(d.Entries[0].Served)
		if err := v.l.Apply(d.Entries[0]); (err == nil) != (name == "as it is") {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := repaired(t, lineItem('m', "m:1.0", 4, metered(false, 0), usedBefore(3)))
	for name, spoil := range map[string]func(*lease){
		"nothing": func(s *lease) { s.count = 0 },
		"an end":  func(s *lease) { s.end = 5000 },
		"a row":   func(s *lease) { s.row = &row{} },
	} {
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		spoil(l.before.leases[0])
		if l.Check() == nil {
			t.Errorf("%s: Check finds nothing", name)
		}
	}
}

// However devices use up a capped item through storages that are lost and repaired, they never use more of it than there is: the back office hears of the
// totals at any moment before the loss, and only what was used since can be used once more.
func TestNothingIsUsedTwice(t *testing.T) {
	const count = 12
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		truly, receipts := map[string]uint32{}, map[string]*Receipt{}
		heard := uint32(0) // by the back office
		v := begin(t, lineItem('m', "m:1.0", count, metered(false, 50)))
		use := func() {
			d := string(rune('p' + r.IntN(3)))
			want := truly[d] + uint32(r.IntN(3))
			got := v.serve(Serve{Key: key(d), Request: v.request(d, fmt.Sprintf("m:1.0 %d", max(want, 1))), Receipt: receipts[d]})
			if len(got.Rights) == 1 && got.Status == capability.StatusOK {
				truly[d] = max(truly[d], got.Rights[0].Count)
				receipts[d] = ReceiptOf(&got)
			}
			v.pass(capability.Seconds(r.IntN(20)))
		}
		for range 4 {
			for range 8 {
				use()
			}
			if m := v.l.Metered(); len(m) == 1 {
				heard = max(heard, m[0].Count)
			}
			serial := v.serial
			v = &life{t: t, l: New(), now: At(5, v.now.Wall), serial: serial}
			v.must(Start{Life: capability.LifeID{byte(serial + 1)}, Lost: capability.ErrStorageGone})
			v.provision(lineItem('m', "m:1.0", count, metered(false, 50), usedBefore(heard)))
			if r.IntN(2) == 0 {
				v.endHold()
			}
		}
		sum := uint32(0)
		for _, n := range truly {
			sum += n
		}
		if sum > count {
			t.Fatalf("seed %d: %d of %d were used, %v", seed, sum, count, truly)
		}
	}
}
