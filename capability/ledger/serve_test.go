package ledger

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

func until(end capability.Time) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.Expiry = end }
}
func from(start capability.Time) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.Start = start }
}
func borrow(s capability.Seconds) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.Borrow = s }
}
func overdraft(n uint32) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.Overdraft = n }
}
func metered(reusable bool, undo capability.Seconds) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.Metered, i.Reusable, i.UndoInterval = true, reusable, undo }
}
func grace(i *capability.LineItem)     { i.Grace = true }
func uncounted(i *capability.LineItem) { i.Uncounted = true }

func items(i ...capability.LineItem) []capability.LineItem { return i }

func TestServe(t *testing.T) {
	for _, s := range []scene{
		{"not provisioned", nil, [][2]string{
			{"d1 f:1.0 1", "DENIED E_NOT_PROVISIONED | has 0"},
			{"d1", "DENIED E_NOT_PROVISIONED | has 0"},
		}},
		{"a request replaces, it never adds", items(lineItem('a', "f:1.0", 10), lineItem('b', "g:1.0", 10)), [][2]string{
			{"d1 f:1.0 3, g:1.0 2", "OK | OK 3 | OK 2 | has 5"},
			{"d1 f:1.0 3, g:1.0 2", "OK | OK 3 | OK 2 | has 5"},
			{"items", "a 3/10, b 2/10"},
			{"d1 f:1.0 4", "OK | OK 4 | has 4"},
			{"items", "a 4/10, b 0/10"},
			{"d1 f:1.0 0, g:1.0 1", "OK | OK 0 | OK 1 | has 1"},
			{"d1 h:9.0 0", "RETURNED | OK 0 | has 0"},
			{"items", "a 0/10, b 0/10"},
		}},
		{"desiring nothing gives everything back", items(lineItem('a', "f:1.0", 2)), [][2]string{
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"d1", "RETURNED | has 0"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
		}},
		{"all or nothing, and the 3 stay", items(lineItem('a', "f:1.0", 6)), [][2]string{
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
			{"+100", ""},
			{"d1 f:1.0 5", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 3"},
			{"holds d1", "a*3@800"},
			{"d1 f:1.0 4", "OK | OK 4 | has 4"},
			{"holds d1", "a*4@900"},
		}},
		{"partial", items(lineItem('a', "f:1.0", 4)), [][2]string{
			{"d1 f:1.0 5?", "OK | PARTIAL 4 E_NO_SEAT | has 4"},
			{"d2 f:1.0 5?", "OK | PARTIAL 0 E_NO_SEAT | has 0"},
			{"d1 f:1.0 4?", "OK | OK 4 | has 4"},
			{"d1 f:1.0 1, f:1.0 9?", "OK | OK 1 | PARTIAL 3 E_NO_SEAT | has 4"},
		}},
		{"atomic", items(lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 1)), [][2]string{
			{"d1 f:1.0 1, g:1.0 1", "OK | OK 1 | OK 1 | has 2"},
			{"+10", ""},
			{"atomic d1 f:1.0 3, g:1.0 2", "UNCHANGED | OK 3 | INSUFFICIENT 0 E_NO_SEAT | has 2"},
			{"atomic d1 f:1.0 1, f:1.0 9?, g:1.0 5, g:1.0 0", "UNCHANGED | OK 1 | PARTIAL 3 E_NO_SEAT | INSUFFICIENT 0 E_NO_SEAT | OK 0 | has 2"},
			{"atomic d2 f:1.0 3, g:1.0 1", "UNCHANGED | OK 3 | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"holds d1", "a*1@890 b*1@890"},
			{"atomic d1 f:1.0 3, g:1.0 2?", "OK | OK 3 | PARTIAL 1 E_NO_SEAT | has 4"},
			{"holds d1", "a*3@900 b*1@900"},
		}},
		{"rule K looks at features, not at lines", items(lineItem('a', "f:1.0", 2), lineItem('b', "f:2.0", 2), lineItem('c', "g:1.0", 2)), [][2]string{
			{"d1 f:1.0 3, g:1.0 2", "OK | OK 3 | OK 2 | has 5"},
			{"holds d1", "a*2@900 b*1@900 c*2@900"},
			{"d2 f:2.0 1", "OK | OK 1 | has 1"},
			{"+100", ""},
			// One more of version 2 than there is: the old 2 of a and 1 of b stay, the part of a that was granted is renewed. g is given back.
			{"d1 f:1.0 1, f:2.0 2", "PARTLY | OK 1 | INSUFFICIENT 0 E_NO_SEAT | has 3"},
			{"holds d1", "a*1@800 a*1@900 b*1@800"},
			{"+100", ""},
			// The renewed part of a is the larger of both: of the two old ends the later stays.
			{"d1 f:1.0 1, f:3.0 1", "PARTLY | OK 1 | INSUFFICIENT 0 E_VERSION | has 3"},
			{"holds d1", "a*1@800 a*1@900 b*1@700"},
			{"+700", ""},
			{"holds d1", "a*1@100 a*1@200"},
			{"+200", ""},
			{"holds d1", ""},
			{"items", "a 0/2, b 0/2, c 0/2"},
		}},
		{"rule K with more granted than before", items(lineItem('a', "f:1.0", 5)), [][2]string{
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"+1", ""},
			{"d1 f:1.0 4, f:1.0 4", "PARTLY | OK 4 | INSUFFICIENT 0 E_NO_SEAT | has 4"},
			{"holds d1", "a*4@900"},
		}},
		{"versions", items(lineItem('a', "f:1.9", 1), lineItem('b', "f:1.10", 1), lineItem('c', "f:2.0", 1)), [][2]string{
			{"d1 f:1.10 2", "OK | OK 2 | has 2"},
			{"holds d1", "b*1@900 c*1@900"},
			{"d2 f:1.10 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"d2 f:2.1 1", "PARTLY | INSUFFICIENT 0 E_VERSION | has 0"},
			{"d2 f 1", "OK | OK 1 | has 1"},
			{"holds d2", "a*1@900"},
		}},
		{"several items for one line, and the first lines draw first", items(lineItem('a', "f:1.0", 2), lineItem('b', "f:1.0", 3)), [][2]string{
			{"d1 f:1.0 4", "OK | OK 4 | has 4"},
			{"holds d1", "a*2@900 b*2@900"},
			{"d2 f:1.0 2, f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | OK 1 | has 1"},
		}},
		{"dates", items(lineItem('a', "f:1.0", 1, from(day+100)), lineItem('b', "g:1.0", 1, until(day+100)), lineItem('c', "h:1.0", 1, from(day+50), until(day+100))), [][2]string{
			{"d1 f:1.0 1, g:1.0 1, h:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_STARTED | OK 1 | INSUFFICIENT 0 E_NOT_STARTED | has 1"},
			{"holds d1", "b*1@100"}, // never past the item's expiry
			{"+99", ""},
			{"d1 f:1.0 1, g:1.0 1, h:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_STARTED | OK 1 | OK 1 | has 2"},
			{"holds d1", "b*1@1 c*1@1"},
			{"+1", ""},
			{"d1 f:1.0 1, g:1.0 1, h:1.0 1", "PARTLY | OK 1 | INSUFFICIENT 0 E_EXPIRED | INSUFFICIENT 0 E_EXPIRED | has 1"},
		}},
		{"wall time jumps, leases do not", items(lineItem('a', "f:1.0", 1, until(day+10000)), lineItem('b', "g:1.0", 1)), [][2]string{
			{"d1 f:1.0 1, g:1.0 1", "OK | OK 1 | OK 1 | has 2"},
			{"wall+10000", ""},
			{"holds d1", "a*1@900 b*1@900"},
			{"d2 f:1.0 1, g:1.0 1", "PARTLY | INSUFFICIENT 0 E_EXPIRED | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"d1 f:1.0 1, g:1.0 1", "PARTLY | INSUFFICIENT 0 E_EXPIRED | OK 1 | has 2"},
			{"+899", ""},
			{"holds d1", "a*1@1 b*1@1"},
			{"+1", ""},
			{"d2 g:1.0 1", "OK | OK 1 | has 1"},
		}},
		{"uncounted", items(lineItem('a', "f:1.0", 1, uncounted)), [][2]string{
			{"d1 f:1.0 500", "OK | OK 500 | has 500"},
			{"d2 f:1.0 1073741824", "OK | OK 1073741824 | has 1073741824"},
			{"items", "a 1073742324/1"},
			{"d1", "RETURNED | has 0"},
		}},
		{"uncounted in another version than counted", items(lineItem('a', "f:1.0", 2), lineItem('b', "f:2.0", 1, uncounted)), [][2]string{
			{"d1 f:1.0 5", "OK | OK 5 | has 5"},
			{"holds d1", "a*2@900 b*3@900"},
		}},
		{"an item has an interval of its own", items(lineItem('a', "f:1.0", 1, borrow(60)), lineItem('b', "g:1.0", 1, borrow(100000)), lineItem('c', "h:1.0", 1, borrow(60), until(day+30))), [][2]string{
			{"d1 f:1.0 1, g:1.0 1, h:1.0 1", "OK | OK 1 | OK 1 | OK 1 | has 3"},
			{"holds d1", "a*1@60 b*1@100000 c*1@30"},
		}},
		{"ends free counts without a timer", items(lineItem('a', "f:1.0", 2)), [][2]string{
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"+899", ""},
			{"d2 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"+1", ""},
			{"preview d2 f:1.0 2", "PREVIEW | OK 2 | has 2"},
			{"d2 f:1.0 2", "OK | OK 2 | has 2"},
			{"holds d1", ""},
		}},
		{"preview and report change nothing", items(lineItem('a', "f:1.0", 4)), [][2]string{
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"+10", ""},
			{"preview d1 f:1.0 4", "PREVIEW | OK 4 | has 4"},
			{"preview d1", "PREVIEW | has 0"},
			{"preview d2 f:1.0 3", "PREVIEW | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"report d1 f:1.0 4", "OK | PARTIAL 2 | has 2"},
			{"report d2 f:1.0 1", "OK | PARTIAL 0 | has 0"},
			{"report d1", "OK | has 2"},
			{"undo d1", "DENIED E_UNDO | has 0"},
			{"holds d1", "a*2@890"},
		}},
		{"why not", items(lineItem('a', "f:1.0", 4, until(day+5)), lineItem('b', "f:2.0", 4, from(day+5)), lineItem('c', "g:1.0", 0)), [][2]string{
			{"d1 x:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_ENTITLED | has 0"},
			{"d1 f:2.1 1", "PARTLY | INSUFFICIENT 0 E_VERSION | has 0"},
			{"d1 f:2.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_STARTED | has 0"},
			{"d1 f:1.0 5", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"d1 g:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"+5", ""},
			{"d1 f:1.0 5", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"d1 f:1.0 4", "OK | OK 4 | has 4"},
		}},
	} {
		t.Run(s.name, func(t *testing.T) { s.play(t) })
	}
}

// The serving order does not depend on the order of the inventory.
func TestServingOrder(t *testing.T) {
	ordered := items(
		lineItem('a', "f:2.0", 1, until(day+5000)), // requested version, shorter expiry
		lineItem('b', "f:2.0", 1, until(day+6000)),
		lineItem('c', "f:2.0", 1), // permanent, by ID
		lineItem('d', "f:2.0", 1),
		lineItem('e', "f:2.0", 1, grace, until(day+5000)), // grace after non-grace
		lineItem('f', "f:2.0", 1, grace),
		lineItem('g', "f:2.1", 1, until(day+1000)), // higher versions last
		lineItem('h', "f:3.0", 1, until(day+1000)),
		lineItem('i', "f:1.9", 1, until(day+1000)), // never
	)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		mixed := append([]capability.LineItem(nil), ordered...)
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		v := begin(t, mixed...)
		for i, it := range ordered[:8] {
			device := string(rune('k' + i))
			v.ask(device, "f:2.0 1")
			if got, want := v.holds(device), name(it.ID())+"*1@900"; got != want {
				t.Fatalf("place %d: %s where %s is wanted", i, got, want)
			}
		}
		if got := show(v.ask("last", "f:2.0 1")); got != "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0" {
			t.Fatal(got)
		}
	}
}

func TestBorrow(t *testing.T) {
	for _, c := range []struct{ policy, item, maximum, request, want capability.Seconds }{
		{0, 0, 0, 0, capability.DefaultLease},
		{600, 0, 0, 0, 600},
		{600, 300, 0, 0, 300},
		{600, 900, 0, 0, 900},
		{600, 900, 0, 700, 700},
		{600, 900, 0, 1000, 900},
		{600, 900, 800, 850, 800},
		{600, 0, 200, 0, 200},
		{600, 0, 0, 100, 100},
		{600, 300, 200, 100, 100},
		{600, 100, 200, 300, 100},
		{600, 300, 100, 200, 100},
		{60, 300, 200, 300, 200},
		{600, 0, 0, 1, 1},
	} {
		v := begin(t)
		v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 1, borrow(c.item))), Policy: capability.Policy{Lease: c.policy, BorrowMaximum: c.maximum}})
		r := v.request("d", "f:1.0 1")
		r.Borrow = c.request
		d := v.must(Serve{Key: key("d"), Request: r})
		if got := capability.Seconds(d.Response.Rights[0].Expiry - v.now.Wall); got != c.want || d.Move != (c.want > max(c.policy, 60) && c.policy != 0) {
			t.Errorf("%+v: %s, move %v", c, got, d.Move)
		}
	}
}

func TestSelectors(t *testing.T) {
	red := capability.Pair{Key: "color", Value: "red"}
	v := begin(t, lineItem('a', "f:1.0", 1), lineItem('b', "f:1.0", 1, func(i *capability.LineItem) { i.Selectors = []capability.Pair{{Key: "size", Value: "1"}, red} }))
	r := v.request("d", "f:1.0 2")
	r.Desired[0].Selectors = []capability.Pair{red}
	if got := show(v.serve(Serve{Key: key("d"), Request: r})); got != "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0" {
		t.Error(got)
	}
	r = v.request("d", "f:1.0 1")
	r.Desired[0].Selectors = []capability.Pair{red}
	if v.serve(Serve{Key: key("d"), Request: r}); v.holds("d") != "b*1@900" {
		t.Error(v.holds("d"))
	}
	r = v.request("e", "f:1.0 1")
	r.Desired[0].Selectors = []capability.Pair{{Key: "color", Value: "blue"}}
	if got := show(v.serve(Serve{Key: key("e"), Request: r})); got != "PARTLY | INSUFFICIENT 0 E_NOT_ENTITLED | has 0" {
		t.Error(got)
	}
}

func TestAnswer(t *testing.T) {
	v := begin(t)
	v.respond(capability.Response{
		Items:  items(lineItem('a', "f:1.5", 3, until(day+500), func(i *capability.LineItem) { i.VendorString = "site A" })),
		Policy: capability.Policy{Lease: 120, RenewPercent: 20, ResponseLife: 77, Tolerance: 5, Holders: capability.HoldersNames},
	})
	v.now = At(5000, day+7)
	r := v.request("d", "f:1.0 2")
	r.Applied = 41
	got := v.serve(Serve{Key: key("d"), Request: r})
	want := capability.Response{
		Version: 1, For: r.Hosts[0], Key: key("d"), Serial: 42, Correlation: r.Correlation, Time: day + 7, Lifetime: 77,
		Rights: []capability.Right{{Feature: "f", Version: capability.Version{Major: 1, Minor: 5}, Count: 2, Expiry: day + 127, Final: day + 500, Vendor: "site A"}},
		Lines:  []capability.Line{{Count: 2}},
		Policy: capability.Policy{Lease: 120, RenewPercent: 20, Tolerance: 5},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// The device's own serial goes on from there, another's begins at 1; a claim that leaves no room is not believed.
	if s := v.ask("d", "f:1.0 2").Serial; s != 43 {
		t.Errorf("serial %d", s)
	}
	r = v.request("e", "f:1.0 1")
	r.Applied = 1<<64 - 1
	if s := v.serve(Serve{Key: key("e"), Request: r}).Serial; s != 1 {
		t.Errorf("serial %d", s)
	}
	for _, op := range []capability.Operation{capability.Preview, capability.Report, capability.Undo} {
		r = v.operation(op, "d", "f:1.0 1")
		if d := v.must(Serve{Key: key("d"), Request: r}); d.Response.Serial != 0 || len(d.Entries) != 0 {
			t.Errorf("%s: serial %d, %d entries", op, d.Response.Serial, len(d.Entries))
		}
	}
}

func TestDenial(t *testing.T) {
	for policy, want := range map[capability.HolderPolicy][]capability.Holder{
		capability.HoldersCount:    nil,
		capability.HoldersInitials: {{Name: "HOD", Count: 1, Expiry: day + 800}, {Name: "HOD", Count: 3, Expiry: day + 900}},
		capability.HoldersNames:    {{Name: "host of d2", Count: 1, Expiry: day + 800}, {Name: "host of d1", Count: 3, Expiry: day + 900}},
	} {
		v := begin(t)
		v.respond(capability.Response{
			Items:  items(lineItem('a', "f:1.0", 4, func(i *capability.LineItem) { i.Borrow = 900 }), lineItem('b', "f:1.0", 2), lineItem('c', "f:0.9", 50), lineItem('e', "f:1.0", 50, from(day+9999))),
			Policy: capability.Policy{Holders: policy},
		})
		v.ask("d1", "f:1.0 3")
		r := v.request("d2", "f:1.0 1")
		r.Borrow = 800
		v.serve(Serve{Key: key("d2"), Request: r})
		v.ask("d3", "f:1.0 1")
		got := v.ask("d3", "f:1.0 7").Lines[0].Denial
		wanted := capability.Denial{Code: capability.ErrNoSeat, Subject: "f", Asked: 7, Available: 2, Total: 6, Used: 4, Until: day + 800, Holders: want}
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("policy %d:\n got %+v\nwant %+v", policy, got, wanted)
		}
		if e := v.ask("d4", "f:2.0 1").Lines[0].Denial; e.Code != capability.ErrVersion || e.Highest != (capability.Version{Major: 1}) {
			t.Errorf("%+v", e)
		}
	}
	v := begin(t, lineItem('a', "f:1.0", 4, from(day+50)), lineItem('b', "f:1.0", 4, from(day+40)), lineItem('c', "f:1.0", 4, until(day)))
	if e := v.ask("d", "f:1.0 1").Lines[0].Denial; e.Code != capability.ErrNotStarted || e.Until != day+40 {
		t.Errorf("%+v", e)
	}
}

func TestDeviceKey(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	mine := v.request("d", "f:1.0 2")
	first := v.serve(Serve{Key: key("d"), Request: mine})
	for _, lines := range [][]string{{"f:1.0 1"}, nil} {
		no := v.serve(Serve{Key: key("thief"), Request: v.request("d", lines...)})
		if show(no) != "DENIED E_DEVICE_KEY | has 0" || no.Denials[0].Until != day+900 || no.Serial != 0 {
			t.Errorf("%+v", no)
		}
	}
	// Not even a copy of the first request is answered to another key.
	if no := v.serve(Serve{Key: key("thief"), Request: mine}); show(no) != "DENIED E_DEVICE_KEY | has 0" {
		t.Error(show(no))
	}
	r := v.request("d")
	r.Operation = capability.Report
	if no := v.serve(Serve{Key: key("thief"), Request: r}); len(no.Rights) != 0 {
		t.Errorf("told another key: %+v", no)
	}
	last := v.request("d")
	v.serve(Serve{Key: key("d"), Request: last})
	// A remembered answer is its own key's: another that sends the same bytes is decided anew.
	if copied := v.serve(Serve{Key: key("thief"), Request: last}); copied.Key != key("thief") || copied.Serial != first.Serial+2 {
		t.Errorf("serial %d after %d, key %x", copied.Serial, first.Serial, copied.Key[:8])
	}
	second := v.serve(Serve{Key: key("heir"), Request: v.request("d", "f:1.0 1")})
	if second.Serial <= first.Serial+1 || second.Key != key("heir") {
		t.Errorf("serial %d after %d, key %x", second.Serial, first.Serial, second.Key[:8])
	}
	if no := v.ask("d", "f:1.0 1"); show(no) != "DENIED E_DEVICE_KEY | has 0" {
		t.Error(show(no))
	}
	v.pass(900)
	if again := v.ask("d", "f:1.0 1"); show(again) != "OK | OK 1 | has 1" {
		t.Error(show(again))
	}
}

func TestReplay(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.ask("e", "f:1.0 2")
	for _, lines := range [][]string{{"f:1.0 1"}, {"f:1.0 3"}, {"f:1.0 1", "g:1.0 1"}, nil} {
		r := v.request("d", lines...)
		first := v.serve(Serve{Key: key("d"), Request: r})
		for range 2 {
			v.pass(5)
			d := v.must(Serve{Key: key("d"), Request: r})
			if len(d.Entries) != 0 || !reflect.DeepEqual(*d.Response, first) {
				t.Errorf("%v: %d entries, %+v\nfirst %+v", lines, len(d.Entries), d.Response, first)
			}
		}
		// After a restart the same.
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		v.l = l
		if d := v.must(Serve{Key: key("d"), Request: r}); len(d.Entries) != 0 || !reflect.DeepEqual(*d.Response, first) {
			t.Errorf("%v, restored: %+v\nfirst %+v", lines, d.Response, first)
		}
		r.Borrow = 77
		if no := v.serve(Serve{Key: key("d"), Request: r}); show(no) != "DENIED E_CORRELATION_REUSED | has 0" {
			t.Errorf("%v: %s", lines, show(no))
		}
		r.Operation = capability.Preview
		if no := v.serve(Serve{Key: key("d"), Request: r}); show(no) != "DENIED E_CORRELATION_REUSED | has 0" {
			t.Errorf("%v: %s", lines, show(no))
		}
	}
}

func TestServeMalformed(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	for field, change := range map[string]func(*Serve){
		"version":     func(s *Serve) { s.Request.Version = 2 },
		"hosts":       func(s *Serve) { s.Request.Hosts = nil },
		"hosts[0]":    func(s *Serve) { s.Request.Hosts[0] = hostid.ID{} },
		"correlation": func(s *Serve) { s.Request.Correlation = capability.CorrelationID{} },
		"desired":     func(s *Serve) { s.Request.Desired[0] = capability.Desired{ActivationID: activation('a')} },
		"desired ":    func(s *Serve) { s.Request.Desired[0].Count = capability.MaxCount },
	} {
		s := Serve{Key: key("d"), Request: v.request("d", "f:1.0 1", "f:2.0 1")}
		change(&s)
		_, err := v.do(s)
		var m *capability.Malformed
		if !asMalformed(err, &m) || m.Field != field[:len(m.Field)] {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// What an answer tells always fits a frame, and what does not fit is not decided.
func TestAnswerFits(t *testing.T) {
	long := func(n int) string { return repeated('x', n) }
	var many []capability.LineItem
	for i := range 120 {
		it := lineItem('a', "f:1.0", 1, func(it *capability.LineItem) { it.VendorString = long(capability.MaxText) })
		it.ActivationID = numbered(i)
		many = append(many, it)
	}
	v := begin(t)
	v.respond(capability.Response{Items: many, Policy: capability.Policy{Holders: capability.HoldersNames}})
	if _, err := v.do(Serve{Key: key("d"), Request: v.request("d", "f:1.0 120")}); err == nil {
		t.Error("an answer of 120 long rights was decided")
	}
	for i := range 100 {
		r := v.request("d"+string(rune('A'+i/26))+string(rune('a'+i%26)), "f:1.0 1")
		r.Alias = long(capability.MaxText)
		v.serve(Serve{Key: key(r.Hosts[0].Value), Request: r})
	}
	r := v.request("z", "f:1.0 21", "f:1.0 22", "f:1.0 23", "g:1.0 1")
	d := v.must(Serve{Key: key("z"), Request: r})
	if n := len(v.l.codec.Encode(d.Response)); n > maxAnswer || len(d.Response.Lines[0].Denial.Holders) == 0 {
		t.Errorf("answer of %d bytes names %d", n, len(d.Response.Lines[0].Denial.Holders))
	}
}
