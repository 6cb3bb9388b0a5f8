package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// said changes what a request says of its sender: "bu=a" is an entry of the dictionary, "@name" the alias, "user:name" the user, "is:VALUE/TYPE" the first host ID;
// and of itself: "cor:x" is its correlation, "undoes:x" that of the report to undo.
func said(r *capability.Request, words ...string) {
	for _, w := range words {
		switch key, value, pair := strings.Cut(w, "="); {
		case pair:
			r.Dictionary = append(r.Dictionary, capability.Pair{Key: key, Value: value})
		case w[0] == '@':
			r.Alias = w[1:]
		case strings.HasPrefix(w, "user:"):
			r.User = w[len("user:"):]
		case strings.HasPrefix(w, "cor:"):
			r.Correlation = named(w[len("cor:"):])
		case strings.HasPrefix(w, "undoes:"):
			r.Undoes = named(w[len("undoes:"):])
		case strings.HasPrefix(w, "is:"):
			id, err := hostid.Parse(w[len("is:"):])
			if err != nil {
				panic(err)
			}
			r.Hosts[0] = id
		default:
			panic(w)
		}
	}
}

func named(s string) (id capability.CorrelationID) {
	copy(id[:], "named "+s)
	return id
}

// isSaid says that a word is for said, and not a line.
func isSaid(w string) bool {
	verb, _, is := strings.Cut(w, ":")
	return strings.ContainsAny(w, "=@") || is && slices.Contains([]string{"user", "is", "cor", "undoes"}, verb)
}

// say is a step in words: "d1 bu=a user:u f:1.0 3, g:1.0 1" after an optional atomic, preview, report or undo. What has no digit after a space is said of the sender.
func (v *life) say(words string) capability.Response {
	v.t.Helper()
	return v.serve(v.saying(words))
}

func (v *life) saying(words string) Serve {
	v.t.Helper()
	fields := strings.Fields(words)
	operations := map[string]capability.Operation{"preview": capability.Preview, "report": capability.Report, "undo": capability.Undo}
	op, is := operations[fields[0]]
	atomic := fields[0] == "atomic"
	if is || atomic {
		fields = fields[1:]
	}
	device, said1 := fields[0], []string(nil)
	fields = fields[1:]
	for len(fields) > 0 && isSaid(fields[0]) {
		said1, fields = append(said1, fields[0]), fields[1:]
	}
	var lines []string
	if len(fields) > 0 {
		lines = strings.Split(strings.Join(fields, " "), ", ")
	}
	r := v.request(device, lines...)
	r.Operation, r.Atomic, r.Alias = op, atomic, ""
	said(&r, said1...)
	return Serve{Key: key(device), Request: r}
}

// has is what the device holds, as "item*count@source", by item and source.
func (v *life) has(device string) string {
	var out []string
	for _, d := range v.l.Devices(v.now) {
		if d.Key != key(device) {
			continue
		}
		for _, h := range d.Holdings {
			out = append(out, fmt.Sprintf("%s*%d@%s", name(h.Item), h.Count, h.Source))
		}
	}
	return strings.Join(out, " ")
}

// slices is every slice that has or is something, as "pool item used/count", with the computed count where it differs.
func (v *life) slices() string {
	var out []string
	for _, s := range v.l.Slices() {
		t := fmt.Sprintf("%s %s %d/%d", s.Source, name(s.Item), s.Used, s.Count)
		if s.Computed != s.Count {
			t += fmt.Sprintf(" of %d", s.Computed)
		}
		out = append(out, t)
	}
	return strings.Join(out, ", ")
}

func (v *life) model(pools, rules string) {
	v.t.Helper()
	v.must(SetModel{Text: []byte(`model "m" { partitions { ` + pools + ` } ` + rules + ` }`), By: "admin"})
}

// play is a list of steps with what comes of them: a request as say reads it, "has DEVICE", "slices", "items", "+SECONDS", "advance".
func (v *life) play(steps [][2]string) {
	v.t.Helper()
	for i, s := range steps {
		got, arg := "", ""
		verb, rest, _ := strings.Cut(s[0], " ")
		arg = rest
		switch {
		case verb == "has":
			got = v.has(arg)
		case verb == "slices":
			got = v.slices()
		case verb == "items":
			got = v.step("items")
		case verb == "advance":
			v.must(Advance{})
		case verb[0] == '+':
			var n capability.Seconds
			fmt.Sscan(verb[1:], &n)
			v.pass(n)
		default:
			got = show(v.say(s[0]))
		}
		if got != s[1] {
			v.t.Errorf("step %d, %s:\n got %s\nwant %s", i+1, s[0], got, s[1])
		}
	}
}

// What the clause of a model stood for is told beside the answer, with what came of it.
func TestClauseLines(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 3), lineItem('b', "g:1.1", 2))
	v.model(`partition "p" {"f" 1.0 2 "g" 1.0 50 %}`, `
		on user("u") {use "p" without requested features {all from "p"} accept}
		on any() {use "default" without requested features {"f" 1.0 4 "h" 1.0 1} accept}`)
	for words, want := range map[string]string{
		"d user:u":         "f 1.0 2: 2 OK LH-0000, g 1.0 1: 1 OK LH-0000",
		"preview d user:u": "f 1.0 2: 2 OK LH-0000, g 1.0 1: 1 OK LH-0000",
		"e":                "f 1.0 4: 1 PARTIAL LH-3104, h 1.0 1: 0 PARTIAL LH-3101",
		"d f:1.0 1":        "",
		"report e":         "",
	} {
		c := v.saying(words)
		d := v.must(c)
		var got []string
		for _, l := range d.Lines {
			got = append(got, fmt.Sprintf("%s %s %d: %d %s %s", l.Feature, l.Version, l.Asked, l.Count, l.Status, l.Denial.Code))
		}
		if strings.Join(got, ", ") != want || len(c.Request.Desired) == 0 && len(d.Response.Lines) > 0 {
			t.Errorf("%s: %s, %d lines in the answer", words, strings.Join(got, ", "), len(d.Response.Lines))
		}
		if words == "e" && (len(d.Explained) != 2 || d.Explained[1].Line != 1 || len(d.Explained[0].Looked) == 0) {
			t.Errorf("explained: %+v", d.Explained)
		}
	}
}

// The worked examples of the model language, but for those that refuse an upload.
func TestWorkedExamples(t *testing.T) {
	f10 := items(lineItem('a', "f1:1.0", 10))
	granted, denied, none := "OK | OK 1 | has 1", "DENIED E_RULE | has 0", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"
	for _, c := range []struct {
		name, pools, rules string
		items              []capability.LineItem
		steps              [][2]string
	}{
		{"W1 W2", "", `on hostid("F01898AD8DD3/ETHERNET","5E00A4F17201/ETHERNET"){use "default" accept} on any(){deny}`, f10, [][2]string{
			{"d1 is:F01898AD8DD3/ETHERNET f1:1.0 1", granted},
			{"d2 is:F01898AD8DD3/STRING f1:1.0 1", denied},
		}},
		{"W3", "", `on hostid("bad"){deny} on any(){use "default" accept}`, f10, [][2]string{
			{"d1 is:bad/STRING f1:1.0 1", denied},
			{"d1 is:bad/STRING f1:1.0 0", "RETURNED | OK 0 | has 0"},
			{"d2 f1:1.0 1", granted},
		}},
		{"W4", `partition "engineering" {"f1" 1.0 5} partition "sales" {"f1" 1.0 5}`,
			`on dictionary("bu":"engineering"){use "engineering" accept} on dictionary("bu":"sales"){use "sales" accept}`, f10, [][2]string{
				{"d1 bu=engineering f1:1.0 6", none},
				{"d1 bu=engineering f1:1.0 5", "OK | OK 5 | has 5"},
				{"has d1", "a*5@engineering"},
				{"d3 f1:1.0 1", none},
			}},
		{"W5", `partition "engineering" {"f1" 1.0 3}`, `on dictionary("bu":"engineering"){use "engineering","default" accept} on any(){use "default" accept}`, f10, [][2]string{
			{"d1 f1:1.0 8", none},
			{"d1 f1:1.0 5", "OK | OK 5 | has 5"},
			{"has d1", "a*5@default"},
			{"d2 bu=engineering f1:1.0 5", "OK | OK 5 | has 5"},
			{"has d2", "a*2@default a*3@engineering"},
		}},
		{"W6", `partition "engineering" {"cad" 1.0 100 %}`, `on dictionary("bu":"engineering"){use "engineering" accept} on any(){use "default" accept}`,
			items(lineItem('a', "cad:1.0", 10), lineItem('b', "text:1.0", 1)), [][2]string{
				{"d1 cad:1.0 1, text:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | OK 1 | has 1"},
				{"d2 bu=marketing bu=engineering cad:1.0 10", "OK | OK 10 | has 10"},
			}},
		{"W7", `partition "p" {"f1" 1.0 33%} partition "q" {"f1" 1.0 33%} partition "r" {"f1" 1.0 remainder}`, "", f10, [][2]string{
			{"slices", "default a 0/0, p a 0/3, q a 0/3, r a 0/4"},
		}},
		{"W8", `partition "a" {"f1" 1.0 2} partition "b" {"f1" 1.0 3}`,
			`on dictionary("bu":"a"){use "a" continue} on dictionary("bu":"b"){use "b" continue} on any(){use "default" accept}`, f10, [][2]string{
				{"d1 bu=a bu=b f1:1.0 10", "OK | OK 10 | has 10"},
				{"has d1", "a*5@default a*2@a a*3@b"},
			}},
		{"W9", `partition "p1" {"f1" 1.0 10}`, `on hostname("myhost"){use "p1","default" without requested features {"f1" 1.0 1} accept}`, f10, [][2]string{
			{"d1 @myhost", "OK | has 1"},
			{"has d1", "a*1@p1"},
			{"d2 @other", "RETURNED | has 0"},
			{"d1 @myhost f1:1.0 4", "OK | OK 4 | has 4"},
			{"has d1", "a*4@p1"},
		}},
		{"W10", "", `on hostid("a") or hostid("b") and hostname("z"){deny} on any(){use "default" accept}`, f10, [][2]string{
			{"d1 is:a/STRING f1:1.0 1", denied},
			{"d2 is:b/STRING @q f1:1.0 1", granted},
			{"d2 is:b/STRING @z f1:1.0 1", denied},
			{"has d2", "a*1@default"}, // a refused device keeps what it holds
			{"d2 is:b/STRING @z", "RETURNED | has 0"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, c.items...)
			v.model(c.pools, c.rules)
			v.play(c.steps)
		})
	}
}

// W11: leases live through a new model.
func TestModelUnderLeases(t *testing.T) {
	v := begin(t, lineItem('a', "f1:1.0", 10))
	v.model(`partition "p" {"f1" 1.0 4}`, `on any(){use "p","default" accept}`)
	v.play([][2]string{
		{"d1 f1:1.0 9", "OK | OK 9 | has 9"},
		{"has d1", "a*5@default a*4@p"},
	})
	v.model(`partition "q" {"f1" 1.0 6}`, `on hostname("two"){use "q" accept} on any(){use "default" accept}`)
	v.play([][2]string{
		{"has d1", "a*9@default"},
		{"slices", "default a 9/9, q a 0/1 of 6"},
		{"d2 @two f1:1.0 3", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
		{"d1 f1:1.0 4", "OK | OK 4 | has 4"},
		{"slices", "default a 4/4, q a 0/6"},
		{"d2 @two f1:1.0 6", "OK | OK 6 | has 6"},
		{"has d2", "a*6@q"},
	})
}

// A lease is split where the pool has room for a part of it: two that became one fare like two.
func TestModelSplitsLeases(t *testing.T) {
	pool := func(n int) (string, string) {
		return fmt.Sprintf(`partition "p" {"f" 1.0 %d}`, n), `on any(){use "p","default" accept}`
	}
	for _, c := range []struct {
		name  string
		steps [][2]string // before the pool shrinks from 4 to 3
		after [][2]string
	}{
		{"one lease", [][2]string{{"d1 f:1.0 4", "OK | OK 4 | has 4"}}, [][2]string{
			{"has d1", "a*1@default a*3@p"}, {"slices", "default a 1/7, p a 3/3"}, {"d1 f:1.0 4", "OK | OK 4 | has 4"}, {"has d1", "a*1@default a*3@p"},
			{"d1 f:1.0 3", "OK | OK 3 | has 3"}, {"has d1", "a*3@p"},
		}},
		{"two lines that became one lease", [][2]string{{"d1 f:1.0 2, f:1.0 2", "OK | OK 2 | OK 2 | has 4"}}, [][2]string{{"has d1", "a*1@default a*3@p"}}},
		{"two devices, the one that asked first keeps its pool", [][2]string{{"d1 f:1.0 2", "OK | OK 2 | has 2"}, {"d2 f:1.0 2", "OK | OK 2 | has 2"}}, [][2]string{
			{"has d1", "a*2@p"}, {"has d2", "a*1@default a*1@p"},
		}},
		{"two ends", [][2]string{{"d1 f:1.0 2", "OK | OK 2 | has 2"}, {"+10", ""}, {"d1 f:1.0 2, f:1.0 9", "PARTLY | OK 2 | INSUFFICIENT 0 E_NO_SEAT | has 2"}, {"d2 f:1.0 2", "OK | OK 2 | has 2"}}, [][2]string{
			{"has d1", "a*2@p"}, {"has d2", "a*1@default a*1@p"}, {"+900", ""}, {"advance", ""}, {"slices", "default a 0/7, p a 0/3"},
		}},
		{"behind others in the default pool", [][2]string{{"d1 f:1.0 4", "OK | OK 4 | has 4"}, {"d2 f:1.0 6", "OK | OK 6 | has 6"}}, [][2]string{
			{"has d1", "a*1@default a*3@p"}, {"has d2", "a*6@default"}, {"slices", "default a 7/7, p a 3/3"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 10))
			v.model(pool(4))
			v.play(c.steps)
			v.model(pool(3))
			v.play(c.after)
		})
	}
	// In old journals a lease left its pool as a whole.
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.model(pool(4))
	v.say("d1 f:1.0 4")
	pools, rules := pool(3)
	d, err := v.l.Decide(v.now, SetModel{Text: []byte(`model "m" { partitions { ` + pools + ` } ` + rules + ` }`)})
	if err != nil {
		t.Fatal(err)
	}
	d.Entries[0].Division.Split = false
	v.apply(d.Entries...)
	if got := v.has("d1"); got != "a*4@default" {
		t.Error(got)
	}
}

// W15.
func TestReservedAndShared(t *testing.T) {
	v := begin(t, lineItem('a', "f1:1.0", 10))
	v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f1:1.0 3", "u1/USER f1:1.0 2"), By: "admin"})
	v.play([][2]string{
		{"slices", "default a 0/5, reservation 3 a 0/3, reservation 5 a 0/2"},
		{"d1 f1:1.0 4", "OK | OK 4 | has 4"},
		{"has d1", "a*1@default a*3@reservation 3"},
		{"d2 f1:1.0 3", "OK | OK 3 | has 3"},
		{"d2 user:u7", "RETURNED | has 0"},
		{"d2 user:u7 f1:1.0 4", "OK | OK 4 | has 4"},
		{"d2 user:u7 f1:1.0 3", "OK | OK 3 | has 3"},
		{"+10", ""},
		{"d2 user:u7 f1:1.0 5", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 3"},
		{"d1", "OK | has 3"},
		{"d3 user:u1", "OK | has 2"},
		{"has d3", "a*2@reservation 5"},
	})
}

// groups is a group of that name with a reservation for each "HOST feature:version count".
func groups(group string, reserved ...string) []Group {
	g := Group{Name: group}
	for _, words := range reserved {
		fields := strings.Fields(words)
		id, err := hostid.Parse(fields[0])
		if err != nil {
			panic(err)
		}
		f, err := capability.ParseFeature(fields[1])
		if err != nil {
			panic(err)
		}
		e := ReservationEntry{Feature: f.Name, Version: f.Version}
		fmt.Sscan(fields[2], &e.Count)
		if n := len(g.Reservations); n > 0 && g.Reservations[n-1].Host == id {
			g.Reservations[n-1].Entries = append(g.Reservations[n-1].Entries, e)
			continue
		}
		g.Reservations = append(g.Reservations, Reservation{Host: id, Entries: []ReservationEntry{e}})
	}
	return []Group{g}
}

// What returns to the default pool fills the deficits that the request can reach first; what the default pool lacks the last shares give first.
func TestDeficits(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.play([][2]string{{"d1 f:1.0 4", "OK | OK 4 | has 4"}, {"d2 f:1.0 2", "OK | OK 2 | has 2"}})
	v.model(`partition "p" {"f" 1.0 4} partition "q" {"f" 1.0 3} partition "r" {"f" 1.0 2}`, `on hostname("r") {use "r","default" accept} on any(){use "default" accept}`)
	v.play([][2]string{
		{"slices", "default a 6/6, p a 0/4, q a 0/0 of 3, r a 0/0 of 2"},
		{"d2 @r f:1.0 1", "OK | OK 1 | has 1"},
		{"slices", "default a 4/4, p a 0/4, q a 0/0 of 3, r a 1/2"},
		{"d1 f:1.0 1", "OK | OK 1 | has 1"},
		{"slices", "default a 1/1, p a 0/4, q a 0/3, r a 1/2"},
	})
}

// A device in an overage draws on a pool that its own release refilled; rule K must not give it back the rest as well.
func TestKeepInOverage(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 3), lineItem('b', "f:1.0", 1, until(day+9000)))
	v.play([][2]string{{"d1 f:1.0 4", "OK | OK 4 | has 4"}})
	v.provision(lineItem('a', "f:1.0", 2), lineItem('b', "f:1.0", 1, until(day+9000)))
	v.model(`partition "q" {"f" 1.0 remainder}`, `on any(){use "q","default" max "f" 1.0 3 per device accept}`)
	v.play([][2]string{
		{"slices", "default a 3/2, q a 0/0 of 2, default b 1/1, q b 0/0 of 1"},
		{"d1 f:1.0 2, f:1.0 8", "PARTLY | OK 2 | INSUFFICIENT 0 E_OVERAGE | has 4"},
		{"items", "a 3/2 over, b 1/1"},
	})
}

// Leases that become one are told to end when the first of them was.
func TestMergedLeases(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.model(`partition "p" {"f" 1.0 4}`, `on any(){use "p","default" accept}`)
	v.say("d1 f:1.0 6")
	v.l.rows[0].leases[0].told -= 5
	want := v.l.rows[0].leases[0].told
	v.must(DeleteModel{})
	if got := v.l.rows[0].leases; len(got) != 1 || got[0].count != 6 || got[0].told != want {
		t.Errorf("%+v", got)
	}
}

// A reservation takes the lowest version that will do, and of that what lasts longest.
func TestReservedItems(t *testing.T) {
	v := begin(t, lineItem('a', "f:2.0", 2, until(day+9000)), lineItem('b', "f:2.0", 2), lineItem('c', "f:1.0", 5), lineItem('d', "f:3.0", 2), lineItem('e', "f:2.0", 2, until(day+5000)))
	v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:2.0 3", "d2/ETHERNET f:2.0 4")})
	v.play([][2]string{{"slices", "default a 0/0, reservation 3 a 0/1, reservation 5 a 0/1, default b 0/0, reservation 3 b 0/2, default c 0/5, default d 0/1, reservation 5 d 0/1, default e 0/0, reservation 5 e 0/2"}})
}

func TestApplyAssertsPools(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.model(`partition "p" {"f" 1.0 4}`, `on any(){use "p","default" accept}`)
	for n, want := range map[uint32]bool{4: true, 5: false} {
		d, err := v.l.Decide(v.now, Serve{Key: key("d1"), Request: v.request("d1", "f:1.0 4")})
		if err != nil {
			t.Fatal(err)
		}
		d.Entries[0].Served.Leases[0].Count = n
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(d.Entries[0]); errors.Is(err, ErrCorrupt) == want {
			t.Errorf("%d of 4: %v", n, err)
		}
	}
}

// A request that names no feature asks for what each allocation was given by the division in force, and does so after a restart too; it costs what a
// request costs, however many allocations and items there are.
func TestAllFromTheDivisionInForce(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.model(`partition "p" {"f" 2.0 50 % "f" 1.0 3}`, `on any() {use "p" without requested features {all from "p","p"} accept}`)
	v.play([][2]string{{"d1", "OK | has 3"}})
	if l, err := Restore(v.l.Snapshot()); err != nil || fmt.Sprint(l.given) != fmt.Sprint(v.l.given) || len(v.l.given["p"]) != 2 {
		t.Errorf("after a restart %v where %v was given, %v", l.given, v.l.given, err)
	}
	v.must(DeleteModel{})
	if v.l.given != nil {
		t.Errorf("without a model %v is given", v.l.given)
	}
	cost := map[int]float64{}
	for _, n := range []int{1, 200} {
		items := make([]capability.LineItem, n)
		for i := range items {
			items[i] = lineItem('a', "g:1.0", 10)
			items[i].ActivationID = numbered(i)
		}
		w := begin(t, append(items, lineItem('b', "f:1.0", 10))...)
		w.model(`partition "p" {"f" 1.0 5} partition "q" {"g" 1.0 200}`, `on any() {use "p" without requested features {all from "p"} accept}`)
		c := crowdServe(1, 1, "f", 1)
		c.Request.Desired = nil
		cost[n] = testing.AllocsPerRun(10, func() {
			if d, err := w.l.Decide(w.now, c); err != nil || len(d.Entries) != 1 {
				t.Fatal(err)
			}
		})
	}
	if cost[200] > cost[1]+2 {
		t.Errorf("%.0f allocations of memory with 200 items, %.0f with one", cost[200], cost[1])
	}
}

// The largest model gives the longest division, and its entry can be read from a journal: life reads every entry.
func TestLargestDivision(t *testing.T) {
	items := make([]capability.LineItem, 20)
	for i := range items {
		items[i] = lineItem('a', fmt.Sprintf("%c:1.0", 'a'+i), capability.MaxCount)
		items[i].ActivationID = numbered(i)
	}
	var pools strings.Builder
	for i := range model.MaxPools {
		fmt.Fprintf(&pools, "partition \"%04d\" {", i)
		for j := range model.MaxAllocations / model.MaxPools {
			fmt.Fprintf(&pools, `"%c"1 99999`, 'a'+j)
		}
		pools.WriteByte('}')
	}
	v := begin(t, items...)
	text := "model \"m\" {partitions{" + pools.String() + "}}"
	if len(text) > model.MaxFile {
		t.Fatalf("the model has %d bytes", len(text))
	}
	d := v.must(SetModel{Text: []byte(text)})
	if n := len(d.Entries[0].Division.Shares); n != model.MaxPools {
		t.Errorf("%d shares", n)
	}
	if _, err := Restore(v.l.Snapshot()); err != nil {
		t.Error(err)
	}
}
