package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// What is kept for a device that may not have heard costs nothing in its answers, so it has a bound of its own. Whoever never says what he has applied meets
// it, and loses nothing by that.
func TestUnheardBound(t *testing.T) {
	const features, counts = 48, 32
	var all []capability.LineItem
	for i := range features {
		for version := 1; version <= 2; version++ {
			it := lineItem('a', fmt.Sprintf("f%d:%d.0", i, version), counts, borrow(86400))
			it.ActivationID = numbered(2*i + version)
			all = append(all, it)
		}
	}
	v := begin(t)
	v.respond(capability.Response{Items: items(all...), Policy: capability.Policy{Lease: capability.MaxLease}})
	length := capability.MaxLease
	ask := func(applied uint64, lines ...string) capability.Response {
		r := v.request("d", lines...)
		length--
		r.Borrow, r.Applied = length, applied
		d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: r})
		for _, e := range d.Entries {
			if e, err = DecodeEntry(v.l.codec, e.Encode(v.l.codec)); err == nil {
				err = v.l.Apply(e)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return *d.Response
	}
	// Each time a unit more of each feature, for a second less: as many ends as units. Then another version, and all of the first stays booked.
	var refused capability.Response
	var lines []string
	for first := 0; first < features && refused.Status != capability.StatusDenied; first += 16 {
		kept := lines
		for n := 1; n <= counts+1 && refused.Status != capability.StatusDenied; n++ {
			lines = slices.Clone(kept)
			for i := range 16 {
				if n <= counts {
					lines = append(lines, fmt.Sprintf("f%d:1.0 %d", first+i, n))
				} else {
					lines = append(lines, fmt.Sprintf("f%d:2.0 %d", first+i, counts))
				}
			}
			refused = ask(0, lines...)
		}
	}
	if got := show(refused); got != "DENIED E_UNHEARD | has 0" {
		t.Fatalf("%d lines: %s, %d leases", len(lines), got, len(v.l.rows[0].leases))
	}
	if had := len(v.l.rows[0].leases); had > MaxLeases || had < MaxLeases/2 {
		t.Errorf("refused with %d leases, of at most %d", had, MaxLeases)
	}
	if err := v.l.Check(); err != nil {
		t.Error(err)
	}
	crowded := v.l.Snapshot()
	for what, applied := range map[string]uint64{"giving back": 0, "having heard": v.l.rows[0].serial} {
		var err error
		if v.l, err = Restore(crowded); err != nil || !bytes.Equal(v.l.Snapshot(), crowded) {
			t.Fatalf("restored: %v", err)
		}
		asked := lines
		if applied == 0 {
			asked = lines[:1]
		}
		if got := show(ask(applied, asked...)); !strings.HasPrefix(got, "OK") || len(v.l.rows[0].leases) > 2*len(asked)+counts {
			t.Errorf("%s: %s, %d leases", what, got, len(v.l.rows[0].leases))
		}
	}

	// Apply and Check hold the bound too.
	d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: v.request("d", "f0:1.0 1")})
	if err != nil {
		t.Fatal(err)
	}
	e := d.Entries[0]
	one := e.Served.Leases[0]
	e.Served.Leases = nil
	for i := range MaxLeases + 1 {
		one.End++
		one.Lead = capability.Seconds(i)
		e.Served.Leases = append(e.Served.Leases, one)
	}
	if err := v.l.Apply(e); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "1025 leases") {
		t.Errorf("an entry above the bound: %v", err)
	}
}

// What is counted as had as long is not counted once more when it could be prolonged.
func TestUnheardCountsOnce(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1, borrow(5000)), lineItem('c', "f:1.0", 2, borrow(100)))
	v.lossy = true
	first := v.ask("d", "f:1.0 3")
	v.provision(lineItem('a', "f:1.0", 1, borrow(5000), until(day+1000)), lineItem('b', "f:1.0", 1, borrow(5000)), lineItem('c', "f:1.0", 2, borrow(100)))
	v.model(``, `on hostname("host of d") { use "default" max "f" 1.0 2 per device accept } on any() { use "default" accept }`)
	again := v.request("d", "f:1.0 3?")
	again.Applied = first.Serial
	if got := show(v.serve(Serve{Key: key("d"), Request: again})); got != "OK | PARTIAL 2 E_LIMIT | has 2" || v.holds("d") != "a*1@1000 b*1@5000 c*1@100" {
		t.Fatalf("%s, holds %s", got, v.holds("d"))
	}
	if got := show(v.ask("e", "f:1.0 2?")); got != "OK | PARTIAL 1 E_NO_SEAT | has 1" { // of the four the first may still use three
		t.Errorf("another: %s", got)
	}
}

// Units that were to end at one moment are kept together, whatever the device was told of each since.
func TestUnheardAlike(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('b', "f:2.0", 4))
	v.lossy = true
	v.ask("d", "f:1.0 4")
	sooner := v.request("d", "f:1.0 2", "f:2.0 2")
	sooner.Borrow = 800
	v.serve(Serve{Key: key("d"), Request: sooner})
	if got := v.holds("d"); got != "a*2@900 a*2@900 b*2@800" {
		t.Fatalf("holds %s", got)
	}
	v.ask("d", "f:2.0 4")
	if got := v.holds("d"); got != "a*4@900 b*4@900" {
		t.Errorf("holds %s", got)
	}
}

// A snapshot says of leads only what Snapshot would.
func TestForgedLeads(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('m', "m:1.0", 4, metered(true, 0)))
	v.ask("d", "f:1.0 2", "m:1.0 1")
	whole := v.l.Snapshot()
	at, end := 0, 0 // of the row, which follows the header and two items
	for range 4 {
		at, end = end, end+4+int(binary.BigEndian.Uint32(whole[end:]))
	}
	for _, c := range []struct {
		leads []capability.Seconds
		good  bool
	}{
		{nil, true}, {[]capability.Seconds{5, 0}, true}, {[]capability.Seconds{0, 0}, false}, {[]capability.Seconds{5}, false}, {[]capability.Seconds{5, 1}, false},
		{[]capability.Seconds{-5, 5}, false}, {[]capability.Seconds{-5, 0}, false}, {[]capability.Seconds{1901, 0}, false},
	} {
		var p rowPart
		if err := v.l.codec.Decode(whole[at+4:end], &p, maxPart); err != nil || len(p.Leases) != 2 {
			t.Fatal(p, err)
		}
		p.Leads = c.leads
		b := append(v.l.part(slices.Clone(whole[:at]), &p), whole[end:]...)
		l, err := Restore(b)
		if good := err == nil; good != c.good || good && !bytes.Equal(l.Snapshot(), b) || !good && !errors.Is(err, ErrCorrupt) {
			t.Errorf("leads %v: %v", c.leads, err)
		}
	}
}

// What a device had justifies as many units that are kept in a hold, and no more: not once more with another lead, and not once for each of two ends.
func TestKeptOnce(t *testing.T) {
	for _, c := range []struct {
		what string
		kept []Lease // units, ends after the sooner one, leads and when they are told, after the sooner end
		good bool
	}{
		{"as they were", []Lease{{Count: 2, End: 100, Lead: 100}}, true},
		{"as heard", []Lease{{Count: 2}}, true},
		{"apart", []Lease{{Count: 1, End: 100, Lead: 100}, {Count: 1, End: 100, Lead: 900}}, true},
		{"fewer", []Lease{{Count: 1}}, true},
		{"more", []Lease{{Count: 3, End: 100, Lead: 100}}, false},
		{"again with another lead", []Lease{{Count: 2, End: 100, Lead: 100}, {Count: 1, End: 100, Lead: 900}}, false},
		{"for both ends", []Lease{{Count: 2}, {Count: 2, End: 100, Lead: 100}}, false},
		{"one for each end", []Lease{{Count: 1}, {Count: 1, End: 100, Lead: 100}}, false},
		{"told later", []Lease{{Count: 2, Told: 1}}, false},
	} {
		v := begin(t, lineItem('a', "f:1.0", 9))
		v.lossy = true
		v.ask("d", "f:1.0 2")
		sooner := v.request("d", "f:1.0 2")
		sooner.Borrow = 800
		v.serve(Serve{Key: key("d"), Request: sooner})
		v.must(Start{BootID: "2", HoldFor: 900})
		had := v.l.rows[0].leases[0]
		if v.holds("d") != "a*2@900" || had.lead != 100 {
			t.Fatalf("holds %s", v.holds("d"))
		}
		d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: v.request("d", "f:1.0 2")})
		if err != nil {
			t.Fatal(err)
		}
		e := d.Entries[0]
		e.Served.Leases = nil
		for _, n := range c.kept {
			n.Item, n.End, n.Told = had.slice.item.ID(), n.End+had.end-had.lead, n.Told+had.told
			e.Served.Leases = append(e.Served.Leases, n)
		}
		if err := v.l.Apply(e); (err == nil) != c.good || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// What has ended for a device that has heard so is nothing that it had: it is not dropped, not repeated in a report, and does not go before those who wait. Of what
// a device may keep that has not heard, what it was told of comes first.
func TestHeardToHaveEnded(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(v *life, applied uint64) capability.Response
		want string
		has  string
	}{
		{"dropped", func(v *life, applied uint64) capability.Response {
			v.pass(850) // what it was told of has ended
			v.must(Drop{Device: v.request("d").Hosts[0], Feature: "f", By: "admin"})
			r := v.request("d", "f:1.0 1")
			r.Applied = applied
			return v.serve(Serve{Key: key("d"), Request: r})
		}, "OK | OK 1 | has 1", "a*1@900"},
		{"reported", func(v *life, applied uint64) capability.Response {
			r := v.operation(capability.Report, "d", "f:1.0 5")
			r.Applied = applied
			return v.serve(Serve{Key: key("d"), Request: r})
		}, "OK | PARTIAL 2 | has 2", "a*2@900 b*2@800"},
		{"before those who wait", func(v *life, applied uint64) capability.Response {
			waits := v.request("e", "f:1.0 5")
			waits.Desired[0].Wait = true
			v.serve(Serve{Key: key("e"), Request: waits})
			r := v.request("d", "f:1.0 4?")
			r.Applied = applied
			return v.serve(Serve{Key: key("d"), Request: r})
		}, "OK | PARTIAL 2 E_NO_SEAT | has 2", "a*2@900 b*2@800"},
		{"kept in a hold", func(v *life, _ uint64) capability.Response {
			v.must(Start{BootID: "2", HoldFor: 900})
			return v.ask("d", "f:1.0 1")
		}, "PARTLY | INSUFFICIENT 0 E_HOLD | has 1", "a*1@900 b*1@800"},
	} {
		v := begin(t, lineItem('a', "f:1.0", 2), lineItem('b', "f:2.0", 2))
		v.lossy = true
		v.ask("d", "f:1.0 2")
		other := v.request("d", "f:2.0 2")
		other.Borrow = 800
		applied := v.serve(Serve{Key: key("d"), Request: other}).Serial
		if v.holds("d") != "a*2@900 b*2@800" {
			t.Fatalf("holds %s", v.holds("d"))
		}
		if got := show(c.then(v, applied)); got != c.want || v.holds("d") != c.has {
			t.Errorf("%s: %s, holds %s", c.name, got, v.holds("d"))
		}
	}
}
