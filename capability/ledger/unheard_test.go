package ledger

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// An answer that says less than the one before may be lost. Until the device shows that it has heard it, nobody else gets what the device may still believe in:
// as much as it was told and asked for again, as long as it was told.
func TestUnheard(t *testing.T) {
	onePerDevice := func(v *life) {
		v.model(``, `on hostname("host of d") { use "default" max "f" 1.0 1 per device accept } on any() { use "default" accept }`)
	}
	none := func(*life) {}
	for _, c := range []struct {
		name   string
		change func(*life)        // before it asks again
		borrow capability.Seconds // the first time 5,000
		lines  string             // the first time f:1.0 3 of three, beside one of f:2.0
		told   string
		free   [5]uint32 // for another, of the four: at once, 100 seconds later, when the device has asked again without having heard, and having heard, and 100 seconds after that
	}{
		{"as long", none, 5000, "f:1.0 3", "OK | OK 3 | has 3", [5]uint32{1, 1, 1, 1, 1}},
		{"sooner", none, 60, "f:1.0 3", "OK | OK 3 | has 3", [5]uint32{1, 1, 1, 1, 4}},
		{"given back", none, 60, "", "RETURNED | has 0", [5]uint32{4, 4, 4, 4, 4}},
		{"given back in part", none, 60, "f:1.0 1", "OK | OK 1 | has 1", [5]uint32{3, 3, 3, 3, 4}},
		{"fewer than it asks for", onePerDevice, 5000, "f:1.0 3?", "OK | PARTIAL 1 E_LIMIT | has 1", [5]uint32{1, 1, 1, 3, 3}},
		{"nothing of what it asks for", onePerDevice, 5000, "f:1.0 3", "PARTLY | INSUFFICIENT 0 E_LIMIT | has 3", [5]uint32{1, 1, 1, 1, 1}},
		{"another version", none, 5000, "f:2.0 1", "OK | OK 1 | has 1", [5]uint32{2, 2, 2, 3, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 3, borrow(86400)), lineItem('b', "f:2.0", 1, borrow(86400)))
			v.lossy = true
			ask := func(length capability.Seconds, applied uint64, line string) capability.Response {
				r := v.request("d")
				if line != "" {
					r = v.request("d", line)
				}
				r.Borrow, r.Applied = length, applied
				return v.serve(Serve{Key: key("d"), Request: r})
			}
			free := func() uint32 {
				r := v.operation(capability.Preview, "e", "f:1.0 1?", "f:1.0 1?", "f:1.0 1?", "f:1.0 1?", "f:1.0 1?")
				r.Hosts[0].Value = "e"
				var n uint32
				for _, l := range v.serve(Serve{Key: key("e"), Request: r}).Lines {
					n += l.Count
				}
				return n
			}
			first := ask(5000, 0, "f:1.0 3")
			c.change(v)
			second := ask(c.borrow, first.Serial, c.lines)
			if got := show(second); got != c.told {
				t.Fatalf("told %s, want %s", got, c.told)
			}
			if r, err := Restore(v.l.Snapshot()); err != nil || r.Digest() != v.l.Digest() {
				t.Errorf("restored: %v", err)
			}
			got := [5]uint32{free()}
			v.pass(100)
			got[1] = free()
			third := ask(c.borrow, first.Serial, c.lines)
			got[2] = free()
			ask(c.borrow, third.Serial, c.lines)
			got[3] = free()
			v.pass(100)
			got[4] = free()
			if got != c.free {
				t.Errorf("free %v, want %v", got, c.free)
			}
		})
	}
}

// A report and an undo leave alone what is not metered. What goes back because another user asks stays booked until that was heard.
func TestUnheardUndo(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 2), lineItem('m', "m:1.0", 4, metered(true, 600)))
	v.must(SetReservations{Groups: groups("g", "ann/USER f:1.0 2")})
	v.lossy = true
	v.say("d user:ann f:1.0 2")
	report := v.request("d", "m:1.0 1")
	report.Operation, report.User, report.Applied = capability.Report, "ann", 1
	v.serve(Serve{Key: key("d"), Request: report})
	undo := v.request("d")
	undo.Operation, undo.User, undo.Undoes, undo.Applied = capability.Undo, "bob", report.Correlation, 2
	if got := show(v.serve(Serve{Key: key("d"), Request: undo})); got != "OK | has 0" {
		t.Errorf("bob undoes: %s", got)
	}
	for i, want := range []string{"PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0", "OK | OK 1 | has 1"} {
		if got := show(v.say("e user:ann f:1.0 1")); got != want {
			t.Errorf("%d: ann elsewhere: %s, want %s", i, got, want)
		}
		again := v.request("d")
		again.User, again.Applied = "bob", 3
		v.serve(Serve{Key: key("d"), Request: again})
	}
	if err := v.l.Check(); err != nil {
		t.Error(err)
	}
}
