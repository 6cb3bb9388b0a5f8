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
			{"report d1 f:1.0 2", "OK | has 6"},
			{"report d1 m:1.0 2, f:1.0 3", "PARTLY | OK 2 | INSUFFICIENT 0 E_OPERATION | has 4"},
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
			r.Operation, r.Correlation = capability.Undo, id
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
