package ledger

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What comes back covers overage first, then deficits, then the overdraft of whatever device, and only what is left is free.
func TestOverdraftIsLeft(t *testing.T) {
	for _, c := range []struct {
		name         string
		items        []capability.LineItem
		pools, rules string
		steps        [][2]string
		entries      int // of Advance at the end
	}{
		{name: "by giving back", items: items(lineItem('a', "f:1.0", 3, overdraft(2))), steps: [][2]string{
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
			{"slices", "default a 3/3, overdraft a 2/2"},
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"slices", "default a 3/3, overdraft a 1/2"},
			{"has d2", "a*1@default a*1@overdraft"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"}, // a renewal takes the place it has
			{"slices", "default a 3/3, overdraft a 1/2"},
			{"d3 f:1.0 1", "OK | OK 1 | has 1"},
			{"d1", "RETURNED | has 0"},
			{"slices", "default a 3/3, overdraft a 0/2"},
			{"d2", "RETURNED | has 0"},
			{"slices", "default a 1/3, overdraft a 0/2"},
		}},
		{name: "a renewal in full moves nobody", items: items(lineItem('a', "f:1.0", 3, overdraft(2))), steps: [][2]string{
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
			{"+5", ""},
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"has d1", "a*3@default"},
			{"has d2", "a*2@overdraft"},
			{"atomic d1 f:1.0 9", "UNCHANGED | INSUFFICIENT 0 E_NO_SEAT | has 3"},
			{"d1 f:1.0 9", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 3"},
			{"has d1", "a*3@default"},
			{"preview d1", "PREVIEW | has 0"},
			{"has d2", "a*2@overdraft"},
		}},
		{name: "by the end of a lease, those that end first", items: items(lineItem('a', "f:1.0", 2, overdraft(3))), entries: 1, steps: [][2]string{
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"+10", ""},
			{"d3 f:1.0 1", "OK | OK 1 | has 1"},
			{"+10", ""},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
			{"+880", ""},
			{"advance", "1"},
			{"has d3", "a*1@default"},
			{"has d2", "a*1@default a*1@overdraft"},
			{"+10", ""},
		}},
		{name: "deficits come first", items: items(lineItem('a', "f:1.0", 4, overdraft(2))),
			pools: `partition "p" { "f" 1.0 2 }`, rules: `on dictionary("bu":"p") { use "p" accept } on any() { use "default" accept }`, steps: [][2]string{
				{"delete", ""},
				{"d1 f:1.0 4", "OK | OK 4 | has 4"},
				{"d2 f:1.0 2", "OK | OK 2 | has 2"},
				{"model", ""},
				{"slices", "default a 4/4, overdraft a 2/2, p a 0/0 of 2"},
				{"d1 f:1.0 2", "OK | OK 2 | has 2"},
				{"slices", "default a 2/2, overdraft a 2/2, p a 0/2"},
				{"d1 f:1.0 1", "OK | OK 1 | has 1"},
				{"slices", "default a 2/2, overdraft a 1/2, p a 0/2"},
			}},
		{name: "more rights", items: items(lineItem('a', "f:1.0", 1, overdraft(2))), entries: 1, steps: [][2]string{
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"has d1", "a*1@default a*2@overdraft"},
			{"more", ""},
			{"slices", "default a 1/3, overdraft a 2/2"},
		}},
		{name: "an overage gives no overdraft", items: items(lineItem('a', "f:1.0", 3, overdraft(2))), steps: [][2]string{
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"less", ""},
			{"slices", "default a 3/1, overdraft a 0/2"},
			{"d2 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 0"},
			{"d1 f:1.0 1", "OK | OK 1 | has 1"},
			{"d2 f:1.0 1", "OK | OK 1 | has 1"},
			{"slices", "default a 1/1, overdraft a 1/2"},
		}},
		{name: "overage comes first", items: items(lineItem('a', "f:1.0", 3, overdraft(1))), steps: [][2]string{
			{"d1 f:1.0 1", "OK | OK 1 | has 1"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
			{"d3 f:1.0 1", "OK | OK 1 | has 1"},
			{"less", ""},
			{"d1", "RETURNED | has 0"},
			{"slices", "default a 2/1, overdraft a 1/1"},
			{"d2 f:1.0 0", "RETURNED | OK 0 | has 0"},
			{"slices", "default a 1/1, overdraft a 0/1"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, c.items...)
			if c.rules != "" {
				v.model(c.pools, c.rules)
			}
			for i, s := range c.steps {
				var got string
				it := c.items[0]
				switch s[0] {
				case "slices":
					got = v.slices()
				case "delete":
					v.must(DeleteModel{})
				case "model":
					v.model(c.pools, c.rules)
				case "advance":
					got = string(rune('0' + len(v.must(Advance{}).Entries)))
				case "more", "less":
					it.Count = map[string]uint32{"more": 3, "less": 1}[s[0]]
					it.Copies = it.Count
					v.provision(it)
				default:
					v.play([][2]string{s})
					continue
				}
				if got != s[1] {
					t.Fatalf("step %d, %s: %s where %s is wanted", i, s[0], got, s[1])
				}
			}
			due, _ := v.l.NextDue()
			if got := len(v.must(Advance{}).Entries); got != c.entries || (due <= v.now.Lease) != (got > 0) {
				t.Errorf("%d entries of Advance where %d are wanted; due at %d, and it is %d", got, c.entries, due, v.now.Lease)
			}
			if v.l.overdrawn > 0 && len(v.must(Advance{}).Entries) > 0 {
				t.Error("Advance again makes entries")
			}
		})
	}
}

// A journal that says more than is there is not believed.
func TestBookingsAreAsserted(t *testing.T) {
	for _, c := range []struct {
		name   string
		booked []Booking
		good   bool
	}{
		{"what is there", []Booking{{Item: 0, Count: 1}}, true},
		{"nothing", []Booking{{Item: 0}}, false},
		{"more than is free", []Booking{{Item: 0, Count: 2}}, false},
		{"more than the overdraft has", []Booking{{Item: 1, Count: 1}}, false},
		{"an item that is not here", []Booking{{Item: 3, Count: 1}}, false},
		{"uncounted", []Booking{{Item: 2, Count: 1}}, false},
		{"twice", []Booking{{Item: 0, Count: 1}, {Item: 0, Count: 1}}, false},
	} {
		v := begin(t, lineItem('a', "f:1.0", 2, overdraft(2)), lineItem('b', "g:1.0", 2, overdraft(2)), lineItem('c', "u:1.0", 1, uncounted))
		v.ask("d1", "f:1.0 1")
		v.ask("d2", "f:1.0 3")
		d, err := v.l.Decide(v.now, Serve{Key: key("d1"), Request: v.request("d1")})
		if err != nil || len(d.Entries) != 1 || len(d.Entries[0].Booked) != 1 {
			t.Fatal(d.Entries, err)
		}
		e := d.Entries[0]
		e.Booked = c.booked
		if err := v.l.Apply(e); (err == nil) != c.good || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	v := begin(t, lineItem('a', "f:1.0", 2, overdraft(2)))
	d, _ := v.l.Decide(v.now, WriteRequest{Number: 1, Digest: capability.Digest{1}})
	d.Entries[0].Booked = []Booking{{Item: 0, Count: 1}}
	if err := v.l.Apply(d.Entries[0]); !errors.Is(err, ErrCorrupt) {
		t.Error("a booking beside a request file:", err)
	}
}
