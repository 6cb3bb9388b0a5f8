package ledger

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// Reusable or not, capped or not, inside and outside of the undo interval.
func TestMetered(t *testing.T) {
	for _, c := range []struct {
		name  string
		item  capability.LineItem
		steps [][2]string
	}{
		{"reusable and capped", lineItem('m', "m:1.0", 5, metered(true, 0)), [][2]string{
			{"d1 m:1.0 3", "OK | OK 3 | has 3"},
			{"d2 m:1.0 3", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"d1 m:1.0 1", "OK | OK 1 | has 1"},
			{"d2 m:1.0 3", "OK | OK 3 | has 3"},
			{"+100000", ""},
			{"items", "a 0/4, m 4/5"}, // it has no end of its own
			{"d1", "RETURNED | has 0"},
			{"items", "a 0/4, m 3/5"},
		}},
		{"not reusable", lineItem('m', "m:1.0", 5, metered(false, 0)), [][2]string{
			{"d1 m:1.0 3", "OK | OK 3 | has 3"},
			{"d1 m:1.0 1", "OK | OK 1 | has 3"},
			{"d1", "OK | has 3"},
			{"d2 m:1.0 3", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
			{"d1 m:1.0 5", "OK | OK 5 | has 5"},
			{"items", "a 0/4, m 5/5"},
		}},
		{"uncapped records only", lineItem('m', "m:1.0", 1, metered(true, 0), uncounted), [][2]string{
			{"d1 m:1.0 300", "OK | OK 300 | has 300"},
			{"items", "a 0/4, m 300/1"},
		}},
		{"a report leaves alone what it does not name", lineItem('m', "m:1.0", 9, metered(true, 100)), [][2]string{
			{"d1 f:1.0 2, m:1.0 1", "OK | OK 2 | OK 1 | has 3"},
			{"+100", ""},
			{"report d1 m:1.0 4", "OK | OK 4 | has 6"},
			{"has d1", "a*2@default m*4@default"},
			{"report d1 m:1.0 20", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 6"},
			{"report d1 f:1.0 2", "OK | OK 2 | has 6"},
			{"report d1 m:1.0 2, f:1.0 3", "OK | OK 2 | PARTIAL 2 | has 4"},
			{"report d1 f:1.0 1, m:1.0 2, f:1.0 3, f:2.0 1, x:1.0 1, f:1.0 0", "OK | OK 1 | OK 2 | PARTIAL 1 | PARTIAL 0 | PARTIAL 0 | OK 0 | has 4"},
			{"report d1 m:1.0 20, f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | OK 1 | has 4"},
			{"has d1", "a*2@default m*2@default"},
			{"report d2 f:1.0 2, m:1.0 1", "OK | PARTIAL 0 | OK 1 | has 1"},
			{"report d2 f:1.0 2, m:1.0 0", "OK | PARTIAL 0 | OK 0 | has 0"},
			{"preview d1 m:1.0 9", "PREVIEW | OK 9 | has 9"},
			{"+800", ""},
			{"has d1", "m*2@default"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin(t, c.item, lineItem('a', "f:1.0", 4)).play(c.steps[:])
		})
	}
}

func TestUndo(t *testing.T) {
	for _, reusable := range []bool{false, true} {
		v := begin(t, lineItem('m', "m:1.0", 9, metered(reusable, 100)), lineItem('n', "n:1.0", 9, metered(reusable, 0)), lineItem('a', "f:1.0", 4))
		report := func(words ...string) capability.CorrelationID {
			r := v.request("d", words...)
			r.Operation = capability.Report
			v.serve(Serve{Key: key("d"), Request: r})
			return r.Correlation
		}
		undo := func(id capability.CorrelationID, want string) {
			t.Helper()
			r := v.request("d")
			r.Operation, r.Undoes = capability.Undo, id
			if got := show(v.serve(Serve{Key: key("d"), Request: r})); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		v.ask("d", "m:1.0 1", "f:1.0 2")
		first := report("m:1.0 3")
		v.pass(50)
		second := report("m:1.0 7", "n:1.0 2")
		undo(first, "OK | has 9")
		undo(first, "DENIED E_UNDO | has 0")
		if got := v.has("d"); got != "a*2@default m*5@default n*2@default" {
			t.Error(got)
		}
		v.pass(99)
		undo(second, "OK | has 5")
		third := report("m:1.0 2")
		v.pass(100)
		undo(third, "DENIED E_UNDO | has 0")
		undo(report("n:1.0 3"), "DENIED E_UNDO | has 0")
		for i := range MaxReports + 5 {
			report(fmt.Sprintf("m:1.0 %d", 1+i%9))
		}
		if n := len(v.l.devices[v.l.rows[0].id][0].reports); n > MaxReports || n == 0 {
			t.Errorf("%d reports are kept", n)
		}
		undo(capability.CorrelationID{77}, "DENIED E_UNDO | has 0")
	}
}

// An undo has a correlation of its own: the same one again is answered as it was, another finds nothing to undo.
func TestUndoCorrelation(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps [][2]string
	}{
		{"again", [][2]string{
			{"report d cor:r m:1.0 5", "OK | OK 5 | has 5"}, {"undo d cor:u undoes:r", "OK | has 0"}, {"undo d cor:u undoes:r", "OK | has 0"},
			{"undo d cor:v undoes:r", "DENIED E_UNDO | has 0"}, {"has d", ""},
		}},
		{"the report again, while it is remembered", [][2]string{
			{"report d cor:r m:1.0 5", "OK | OK 5 | has 5"}, {"undo d undoes:r", "OK | has 0"}, {"report d cor:r m:1.0 5", "OK | OK 5 | has 5"}, {"has d", ""},
			{"report d cor:r m:1.0 4", "DENIED E_CORRELATION_REUSED | has 0"}, {"has d", ""},
		}},
		{"the correlation of a report", [][2]string{
			{"report d cor:r m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:s m:1.0 6", "OK | OK 6 | has 6"},
			{"undo d cor:r undoes:s", "DENIED E_CORRELATION_REUSED | has 0"}, {"has d", "m*6@default"},
		}},
		{"the first of two", [][2]string{
			{"report d cor:r m:1.0 3", "OK | OK 3 | has 3"}, {"report d cor:s m:1.0 5", "OK | OK 5 | has 5"}, {"undo d undoes:r", "OK | has 2"}, {"has d", "m*2@default"},
		}},
		{"another's report", [][2]string{
			{"report d cor:r m:1.0 3", "OK | OK 3 | has 3"}, {"undo e undoes:r", "DENIED E_UNDO | has 0"}, {"has d", "m*3@default"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin(t, lineItem('m', "m:1.0", 9, metered(false, 60))).play(c.steps)
		})
	}
	v := begin(t, lineItem('m', "m:1.0", 9, metered(false, 60)))
	v.say("report d cor:r m:1.0 3")
	var bad *capability.Malformed
	r := v.request("d", "m:1.0 1")
	r.Operation, r.Undoes = capability.Undo, named("r")
	if _, err := v.do(Serve{Key: key("d"), Request: r}); !asMalformed(err, &bad) || bad.Field != "desired" {
		t.Errorf("an undo with a line: %v", err)
	}
}

// An undo of a report that lowered a count gives it again where that is still free, all of it or nothing.
func TestUndoOfLess(t *testing.T) {
	model := [2]string{"", `on any() { use "default" max "m" 1.0 6 per user, "m" 1.0 5 per device accept }`}
	for _, c := range []struct {
		name   string
		model  bool
		change func(*capability.LineItem)
		steps  [][2]string
	}{
		{"free", false, metered(true, 60), [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"undo d cor:u undoes:r", "OK | has 5"}, {"has d", "m*5@default"},
			{"undo d cor:u undoes:r", "OK | has 5"}, {"undo d undoes:r", "DENIED E_UNDO | has 0"}, {"has d", "m*5@default"},
		}},
		{"to nothing and back", false, metered(true, 60), [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 0", "OK | OK 0 | has 0"}, {"undo d undoes:r", "OK | has 5"}, {"has d", "m*5@default"},
		}},
		{"taken by another", false, metered(true, 60), [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"e m:1.0 5", "OK | OK 5 | has 5"},
			{"undo d undoes:r", "DENIED E_NO_SEAT | has 0"}, {"has d", "m*2@default"},
			{"e m:1.0 4", "OK | OK 4 | has 4"}, {"undo d undoes:r", "OK | has 5"}, {"has d", "m*5@default"},
		}},
		{"out of the overdraft", false, func(i *capability.LineItem) { metered(true, 60)(i); i.Count, i.Copies, i.Overdraft = 3, 1, 2 }, [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"undo d undoes:r", "OK | has 5"}, {"has d", "m*3@default m*2@overdraft"},
		}},
		{"over", false, metered(true, 60), [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"+60", ""}, {"undo d undoes:r", "DENIED E_UNDO | has 0"}, {"has d", "m*2@default"},
		}},
		{"above what the user may have", true, metered(true, 60), [][2]string{
			{"report d user:u m:1.0 5", "OK | OK 5 | has 5"}, {"report d user:u cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"e user:u m:1.0 2", "OK | OK 2 | has 2"},
			{"undo d user:u undoes:r", "DENIED E_LIMIT | has 0"}, {"has d", "m*2@default"},
			{"e user:u m:1.0 1", "OK | OK 1 | has 1"}, {"undo d user:u undoes:r", "OK | has 5"},
		}},
		{"above what the device may have", true, metered(true, 60), [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"report d m:1.0 3", "OK | OK 3 | has 3"},
			{"undo d undoes:r", "DENIED E_LIMIT | has 0"}, {"has d", "m*3@default"},
		}},
		{"assigned to another", false, func(i *capability.LineItem) { metered(true, 60)(i); i.User = "u" }, [][2]string{
			{"report d user:u m:1.0 5", "OK | OK 5 | has 5"}, {"report d user:u cor:r m:1.0 2", "OK | OK 2 | has 2"}, {"undo d user:x undoes:r", "DENIED E_ASSIGNED | has 0"}, {"has d", "m*2@default"},
			{"undo d user:u undoes:r", "OK | has 5"},
		}},
		{"one item up, another down", false, metered(true, 60), [][2]string{
			{"report d m:1.0 5", "OK | OK 5 | has 5"}, {"report d cor:r m:1.0 2, n:1.0 3", "OK | OK 2 | OK 3 | has 5"}, {"undo d undoes:r", "OK | has 5"}, {"has d", "m*5@default"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('m', "m:1.0", 9, c.change), lineItem('n', "n:1.0", 9, metered(true, 60)))
			if c.model {
				v.model(model[0], model[1])
			}
			v.play(c.steps)
			if l, err := Restore(v.l.Snapshot()); err != nil || l.Digest() != v.l.Digest() {
				t.Error("another state: ", err)
			}
		})
	}
	// Nothing is given in a hold, and nothing of an item that is not served.
	for name, c := range map[string]struct {
		before func(*life)
		code   capability.Code
	}{
		"hold":    {func(v *life) { v.must(Start{HoldFor: 40}) }, capability.ErrHold},
		"expired": {func(v *life) { v.provision(lineItem('m', "m:1.0", 9, metered(true, 7200), until(v.now.Wall))) }, capability.ErrExpired},
		"broken":  {func(v *life) { v.shows("Ebnd"); v.shows("Xbnd") }, capability.ErrBinding},
		"gone":    {func(v *life) { v.provision(lineItem('n', "n:1.0", 9)) }, capability.ErrNotEntitled},
		"moved":   {func(v *life) { v.pass(meterPeriod) }, 0},
	} {
		v := begin(t, lineItem('m', "m:1.0", 9, metered(true, 7200)))
		v.say("report d m:1.0 5")
		v.say("report d cor:r m:1.0 2")
		c.before(v)
		undo := v.request("d")
		undo.Operation, undo.Undoes = capability.Undo, named("r")
		d := v.must(Serve{Key: key("d"), Request: undo})
		if got := d.Response.Denials; c.code != 0 && (len(got) != 1 || got[0].Code != c.code) || c.code == 0 && (len(got) > 0 || !d.Move) {
			t.Errorf("%s: %v, move %v", name, got, d.Move)
		}
	}
}

// What is metered and counted cannot be taken back by an older copy of the state, but for an hour of it: an increase moves the epoch when the last move is that long ago.
func TestMeteredMoves(t *testing.T) {
	v := begin(t, lineItem('m', "m:1.0", 9, metered(true, 0)), lineItem('n', "n:1.0", 1, metered(true, 0), uncounted))
	for _, c := range []struct {
		lines []string
		after capability.Seconds
		want  bool
	}{
		{[]string{"m:1.0 2"}, 0, true}, {[]string{"m:1.0 3"}, meterPeriod - 1, false}, {[]string{"m:1.0 4"}, 1, true}, {[]string{"m:1.0 4"}, meterPeriod, false},
		{[]string{"m:1.0 1"}, 0, false}, {[]string{"m:1.0 1", "n:1.0 50"}, 0, false}, {[]string{"m:1.0 3"}, 0, true},
	} {
		v.pass(c.after)
		if d := v.must(Serve{Key: key("d"), Request: v.request("d", c.lines...)}); d.Move != c.want {
			t.Errorf("%v: move %v", c.lines, d.Move)
		}
	}
	v.pass(meterPeriod)
	v.spend()
	if d := v.must(Serve{Key: key("d"), Request: v.request("d", "m:1.0 4")}); d.Move || d.Notices != nil {
		t.Error("a move without a ration")
	}
	// When its item is gone, or is not metered any more, so is the count.
	v.provision(lineItem('n', "n:1.0", 5))
	v.play([][2]string{{"items", "n 0/5"}})
}

// A count stays with its host ID when another key comes: there is no end to wait for.
func TestMeteredOutlivesKey(t *testing.T) {
	v := begin(t, lineItem('m', "m:1.0", 9, metered(false, 0)), lineItem('a', "f:1.0", 4))
	v.ask("d", "m:1.0 2", "f:1.0 1")
	heir := func(lines ...string) string {
		return show(v.serve(Serve{Key: key("heir"), Request: v.request("d", lines...)}))
	}
	if got := heir("m:1.0 3"); got != "DENIED E_DEVICE_KEY | has 0" {
		t.Error(got)
	}
	v.pass(900)
	if got := heir("m:1.0 3"); got != "OK | OK 3 | has 3" {
		t.Error(got)
	}
	v.play([][2]string{{"items", "a 0/4, m 3/9"}})
}
