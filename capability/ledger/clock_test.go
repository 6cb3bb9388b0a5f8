package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
)

const (
	hour = capability.Seconds(3600)
	days = 24 * hour
)

// see reads a system clock that says so, as the owner does before a group.
func (v *life) see(raw capability.Time) Reading {
	v.t.Helper()
	r := v.l.Read(v.now.Lease, raw)
	v.now = r.Now
	if d := v.must(Watch{Raw: raw}); (len(d.Entries) > 0) != r.Due {
		v.t.Fatalf("a reading that is due %t makes %d entries", r.Due, len(d.Entries))
	}
	if d := v.must(Watch{Raw: raw}); len(d.Entries) > 0 {
		v.t.Fatalf("watching twice makes two entries: %+v", d.Entries[0].Clock)
	}
	if again := v.l.Read(v.now.Lease, raw); again.Due || again.Now != r.Now || again.Clock != r.Clock {
		v.t.Fatalf("read as %+v, and after the entry as %+v", r, again)
	}
	return r
}

// runs lets time pass while the machine runs.
func (v *life) runs(d capability.Seconds) { v.now.Lease += d }

// reads is a clock in short.
func reads(r Reading, since capability.Time) string {
	return fmt.Sprintf("%s %d", r.Clock.State, r.Now.Wall-since)
}

func TestClockReadings(t *testing.T) {
	for _, c := range []struct {
		off  capability.Seconds // of the system clock from what is expected
		want string
	}{
		{0, "trusted 0"}, {1, "trusted 1"}, {-1, "trusted 0"}, {-60, "trusted 0"}, {-61, "behind 0"},
		{-23 * hour, "behind 0"}, {-24 * hour, "behind 0"}, {-24*hour - 1, "held 0"}, {-25 * hour, "held 0"}, {-100 * 366 * days, "held 0"},
		{23 * hour, "trusted 82800"}, {24 * hour, "trusted 86400"}, {24*hour + 1, "ahead 0"}, {25 * hour, "ahead 0"}, {100 * 366 * days, "ahead 0"},
		{1 << 50, "ahead 0"}, {-1 << 50, "held 0"},
	} {
		v := begin(t)
		v.runs(500)
		r := v.see(day.Add(500 + c.off))
		if got := reads(r, day.Add(500)); got != c.want {
			t.Errorf("%d seconds off: %s where %s is wanted", c.off, got, c.want)
		}
		if ahead := r.Clock.Ahead; (ahead != 0) != (c.off > 24*hour) || ahead > 0 && ahead != min(c.off, capability.Seconds(lastTime-day.Add(500))) {
			t.Errorf("%d seconds off: %d ahead", c.off, ahead)
		}
		if s := v.l.Status(v.now); s.Clock != r.Clock || !strings.Contains(s.Clock.Sentence(v.now.Wall), v.now.Wall.String()) {
			t.Errorf("%d seconds off: status has %+v, %s", c.off, s.Clock, s.Clock.Sentence(v.now.Wall))
		}
		// Set right, nothing is left of it; what was followed stays.
		v.runs(60)
		if r := v.see(day.Add(560)); r.Clock.Doubted() || r.Now.Wall < day.Add(560) {
			t.Errorf("%d seconds off, and set back: %+v", c.off, r)
		}
		back, err := Restore(v.l.Snapshot())
		if err != nil || back.Digest() != v.l.Digest() {
			t.Errorf("%d seconds off: restored: %v", c.off, err)
		}
	}
}

// The very first reading is believed: there is nothing to compare it with.
func TestClockFirst(t *testing.T) {
	for _, raw := range []capability.Time{-5, 1, day, lastTime + 1} {
		l := New()
		r := l.Read(7, raw)
		d, err := l.Decide(r.Now, Start{BootID: "first", Raw: raw})
		if err != nil || d.Entries[0].Clock != nil || d.Entries[0].Now.Wall != min(max(raw, 1), lastTime) {
			t.Errorf("%d: %v %+v", raw, err, d)
		}
	}
}

// Small differences are no entries, and a clock that jitters around a limit is none at each reading.
func TestClockIsQuiet(t *testing.T) {
	v := begin(t)
	entries := func() int { return len(v.entries) }
	for _, c := range []struct {
		name string
		off  func(i int) capability.Seconds
		most int
	}{
		{"right", func(i int) capability.Seconds { return capability.Seconds(i % 2) }, 0},
		{"at the warning", func(i int) capability.Seconds { return -60 - capability.Seconds(i%2) }, 1},
		{"far ahead", func(i int) capability.Seconds { return 30*days + capability.Seconds(i%60) }, 1},
		{"running ahead at half speed", func(i int) capability.Seconds { return 30*days + capability.Seconds(i/2) }, 7},
		{"far behind", func(i int) capability.Seconds { return -30*days - capability.Seconds(i) }, 1},
		{"right again", func(int) capability.Seconds { return 0 }, 1},
	} {
		before := entries()
		for i := range 700 {
			v.runs(1)
			v.see(v.l.expected(v.now.Lease).Add(c.off(i)))
		}
		if n := entries() - before; n > c.most {
			t.Errorf("%s: %d entries in 700 readings", c.name, n)
		}
	}
}

// Winding back each day gains nothing: with the tolerance used to its end every day, trusted time is true for a month.
func TestClockWoundBackDaily(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1, until(day.Add(20*days))))
	truth := day
	for i := range 30 * 24 {
		v.runs(hour)
		truth = truth.Add(hour)
		r := v.see(truth.Add(-23 * hour))
		if off := truth - r.Now.Wall; off < -60 || off > 60 {
			t.Fatalf("hour %d: trusted time is %d off", i, off)
		}
		if r.Clock.State != ClockBehind {
			t.Fatalf("hour %d: %s", i, r.Clock.State)
		}
		want := "OK | OK 1 | has 1"
		if truth >= day.Add(20*days) {
			want = "PARTLY | INSUFFICIENT 0 E_EXPIRED | has 0"
		}
		v.expect("d f:1.0 1", want)
		v.pass0("d")
	}
	// Each day another day back: on the second the clock is held, and trusted time goes on all the same.
	v = begin(t, lineItem('a', "f:1.0", 1, until(day.Add(20*days))))
	for i := range 10 {
		v.runs(days)
		r := v.see(day.Add(days * capability.Seconds(i+1)).Add(-23 * hour * capability.Seconds(i+1)))
		if want := []ClockState{ClockBehind, ClockHeld}[min(i, 1)]; r.Clock.State != want || r.Now.Wall != day.Add(days*capability.Seconds(i+1)) {
			t.Fatalf("day %d: %+v", i, r)
		}
	}
}

// pass0 gives back all that a device has.
func (v *life) pass0(device string) { v.ask(device) }

// A clock that stands still does not stop time: a day later it is held.
func TestClockFreezes(t *testing.T) {
	v := begin(t)
	for i := range 26 {
		v.runs(hour)
		r := v.see(day.Add(5))
		if want := map[bool]ClockState{true: ClockHeld, false: ClockBehind}[i >= 24]; r.Clock.State != want || r.Now.Wall != day.Add(hour*capability.Seconds(i+1)) {
			t.Fatalf("hour %d: %+v", i+1, r)
		}
	}
}

// Wall time is in UTC: the changes of summer time are no jumps.
func TestClockSummerTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []time.Time{time.Date(2031, 3, 30, 1, 0, 0, 0, time.UTC), time.Date(2031, 10, 26, 1, 0, 0, 0, time.UTC)} {
		local := change.Add(-time.Hour).In(berlin)
		v := begin(t)
		v.now.Wall = capability.At(local)
		v.must(Start{})
		before := len(v.entries)
		for range 120 {
			v.runs(60)
			local = local.Add(time.Minute)
			if r := v.see(capability.At(local)); r.Clock != (Clock{}) || r.Now.Wall != capability.At(local.UTC()) {
				t.Fatalf("%s: %+v", local, r)
			}
		}
		if _, was := change.Add(-time.Hour).In(berlin).Zone(); func() bool { _, is := local.Zone(); return was == is }() || len(v.entries) != before {
			t.Fatalf("%s is no change of the zone, or made %d entries", change, len(v.entries)-before)
		}
	}
}

// What serves while the clock is held: what has no dates.
func TestClockHeld(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 2, until(day.Add(90*days))), lineItem('b', "f:1.0", 1), lineItem('c', "g:1.0", 1, from(day-1)), lineItem('d', "h:1.0", 1),
		lineItem('e', "x:1.0", 1, until(day.Add(10))), lineItem('n', "n:1.0", 5, metered(false, 0), until(day.Add(90*days))))
	v.expect("d1 f:1.0 2", "OK | OK 2 | has 2")
	v.runs(100)
	v.see(day.Add(100).Add(-25 * hour))
	v.expect("d1 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 2") // two of three need the dated item
	v.expect("holds d1", "a*2@800")                                   // kept to its end, not renewed
	v.expect("d1 f:1.0 1", "OK | OK 1 | has 1")
	v.expect("holds d1", "b*1@900")
	v.expect("d2 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")
	v.expect("d2 f:1.0 9", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0") // the dated item would not have been enough
	v.expect("d2 f:1.0 3?", "OK | PARTIAL 0 E_CLOCK | has 0")
	v.expect("d2 g:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")
	v.expect("d2 h:1.0 1", "OK | OK 1 | has 1")
	v.expect("d3 h:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
	v.expect("d3 x:1.0 1", "PARTLY | INSUFFICIENT 0 E_EXPIRED | has 0") // by the floor, which is certain
	v.expect("report d4 n:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")
	d := v.must(Serve{Key: key("d5"), Request: v.request("d5", "g:1.0 1")})
	if e := strings.Join(d.Explained[0].Sentences(), "\n"); !strings.Contains(e, "has dates, and the system clock is not believed") || !strings.Contains(e, "next: "+capability.ErrClock.Entry().Next) ||
		!strings.Contains(e, "more than a day behind the trusted time") {
		t.Error(e)
	}
	if d.Response.Lifetime != 0 {
		t.Errorf("an answer that lives %d seconds, by a clock that is held", d.Response.Lifetime)
	}
	for _, it := range v.l.Items(v.now) {
		if dated := it.Start != 0 || it.Expiry != 0; (it.Dates == Usable) == dated || dated && it.Available != 0 {
			t.Errorf("%s: %d available, %d", it.ID(), it.Available, it.Dates)
		}
	}
	// Giving back and a return need no clock.
	v.expect("d1", "RETURNED | has 0")
	v.must(v.giveUp(1, 'a', 1))
	v.see(v.now.Wall)
	v.expect("d2 g:1.0 1", "OK | OK 1 | has 1")
}

// A jump ahead neither frees nor starts anything, and what has expired by it is not served; set back, everything is as before.
func TestClockAhead(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1, until(day.Add(25*hour))), lineItem('b', "g:1.0", 1, until(day.Add(100*days))), lineItem('c', "h:1.0", 1, from(day.Add(25*hour))),
		lineItem('d', "k:1.0", 1), lineItem('m', "m:1.0", 4, metered(false, 0), until(day.Add(40*hour))), lineItem('e', "s:1.0", 1, until(day.Add(30*hour).Add(400))))
	v.expect("d1 f:1.0 1, k:1.0 1", "OK | OK 1 | OK 1 | has 2")
	v.expect("report d1 m:1.0 2", "OK | OK 2 | has 4")
	before := len(v.entries)
	v.runs(100)
	v.see(day.Add(100 + 30*hour))
	v.expect("d2 h:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")                 // not started
	v.expect("d1 f:1.0 1, k:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | OK 1 | has 4") // expired, if it were so; what is held runs on
	v.expect("holds d1", "a*1@800 d*1@900 m*2@"+fmt.Sprintf("%d", forever-v.now.Lease))
	v.expect("d2 g:1.0 1", "OK | OK 1 | has 1")
	r := v.ask("d3", "s:1.0 1") // 300 seconds before it would have expired
	v.expect("holds d3", "e*1@300")
	if r.Lifetime != v.l.Policy().ResponseLife+30*hour || r.Time != day.Add(100) || r.Rights[0].Expiry != day.Add(400) {
		t.Errorf("%+v", r)
	}
	r = v.ask("d1", "k:1.0 1")
	for _, g := range r.Rights {
		if g.Feature == "m" && g.Expiry != day.Add(10*hour) {
			t.Errorf("a metered right is told until %s", g.Expiry)
		}
	}
	v.see(day.Add(100 + 200*days))
	v.expect("d4 g:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0") // taken, whatever the clock says
	v.expect("d4 s:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
	v.expect("d4 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
	v.expect("d2", "RETURNED | has 0")
	v.expect("d4 g:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")
	v.expect("d1 k:1.0 1", "OK | OK 1 | has 1") // the metered count is not told any more, and stays
	v.expect("holds d1", "d*1@900 m*2@"+fmt.Sprintf("%d", forever-v.now.Lease))
	v.runs(100)
	v.see(day.Add(200))
	v.expect("d1 f:1.0 1", "OK | OK 1 | has 3")
	v.expect("d4 h:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_STARTED | has 0")
	v.pass(25 * hour)
	v.see(v.now.Wall)
	v.expect("d4 h:1.0 1", "OK | OK 1 | has 1")
	v.expect("d1 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_EXPIRED | has 2")
	for _, e := range v.entries[before:] {
		if e.Now.Wall > day.Add(26*hour) {
			t.Errorf("entry %d is of %s", e.Position, e.Now.Wall)
		}
	}
}

// The division of items over pools and reservations sees the clock as the grants do, both ways, and at once.
func TestClockDivides(t *testing.T) {
	rules := map[string]func(*life){
		"pools": func(v *life) {
			v.model(`partition "p" {"f" 1.0 3}`, `on any() {use "p", "default" accept}`)
		},
		"reservations": func(v *life) { v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3")}) },
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 3, until(day.Add(50*days))), lineItem('b', "f:2.0", 3, from(day.Add(50*days))), lineItem('c', "f:3.0", 3))
			rule(v)
			share := func(want string) {
				t.Helper()
				got := ""
				for _, s := range v.l.Slices() {
					if s.Source != (Source{}) {
						got += fmt.Sprintf("%s*%d ", nameOf(s), s.Count)
					}
				}
				if strings.TrimSpace(got) != want {
					t.Errorf("the share is %s where %s is wanted", got, want)
				}
			}
			due := func(want bool) {
				t.Helper()
				at, any := v.l.NextDue()
				if now := any && at <= v.now.Lease; now != want {
					t.Errorf("due at %d, and it is %d", at, v.now.Lease)
				}
				v.must(Advance{})
				if d := v.must(Advance{}); len(d.Entries) > 0 {
					t.Errorf("advanced twice: %+v", d.Entries)
				}
			}
			share("a*3")
			v.runs(60)
			v.see(day.Add(60 + 100*days))
			due(true)
			share("c*3") // a would have expired, b is not started
			v.runs(60)
			v.see(day.Add(120 + 10*days))
			due(true)
			share("a*3")
			if at, any := v.l.NextDue(); !any || at != v.now.Lease+40*days-120 {
				t.Errorf("due at %d", at)
			}
			v.runs(60)
			v.see(day.Add(180 - 90*days))
			due(false)
			share("a*3") // a held clock moves nothing
			v.see(day.Add(180))
			due(false)
			v.pass(50 * days)
			v.see(v.now.Wall)
			due(true)
			share("b*3")
			back, err := Restore(v.l.Snapshot())
			if err != nil || back.Digest() != v.l.Digest() {
				t.Error(err)
			}
		})
	}
}

func nameOf(s Slice) string { return name(s.Item) }

// The machine was off for a weekend: it serves on, and warns until the time is confirmed.
func TestClockWeekend(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1, until(day.Add(2*days))), lineItem('b', "g:1.0", 1, until(day.Add(30*days))), lineItem('c', "h:1.0", 1, from(day.Add(2*days))))
	v.expect("d g:1.0 1", "OK | OK 1 | has 1")
	monday := day.Add(60 * hour)
	v.must(Start{BootID: "2", Raw: monday})
	if s := v.l.Status(v.now); s.Clock != (Clock{State: ClockAhead, Ahead: 60 * hour}) || s.Now.Wall != day {
		t.Errorf("%+v", s)
	}
	v.see(monday)
	v.expect("d g:1.0 1", "OK | OK 1 | has 1")
	v.expect("d f:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")
	v.expect("d h:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | has 0")
	v.must(SetTime{Time: monday, Raw: monday, By: "admin"})
	v.now.Wall = monday
	if r := v.see(monday); r.Clock != (Clock{}) || r.Now.Wall != monday {
		t.Errorf("%+v", r)
	}
	v.expect("d h:1.0 1", "OK | OK 1 | has 1")
	v.expect("d f:1.0 1", "PARTLY | INSUFFICIENT 0 E_EXPIRED | has 0")
	// Overnight it is simply followed.
	v.must(Start{BootID: "3", Raw: monday.Add(14 * hour)})
	if s := v.l.Status(v.now); s.Clock != (Clock{}) || s.Now.Wall != monday.Add(14*hour) {
		t.Errorf("%+v", s)
	}
}

// A clock that lost its battery begins in 1970. A signed time ends that, and so does an administrator; the next start does not remember it.
func TestClockOf1970(t *testing.T) {
	for _, c := range []struct {
		name string
		ends func(v *life, raw capability.Time)
	}{
		{"signed", func(v *life, raw capability.Time) {
			r := v.response(v.serial+1, capability.Response{Items: items(lineItem('a', "f:1.0", 1, until(day.Add(90*days))), lineItem('b', "g:1.0", 1))})
			r.Time = day.Add(5 * days)
			v.serial++
			v.must(Provision{Response: r, Digest: capability.Digest{9}, Raw: raw})
		}},
		{"stated", func(v *life, raw capability.Time) { v.must(SetTime{Time: day.Add(5 * days), Raw: raw, By: "admin"}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 1, until(day.Add(90*days))), lineItem('b', "g:1.0", 1))
			raw := capability.Time(40)
			v.must(Start{BootID: "2", Raw: raw})
			v.runs(10)
			if r := v.see(raw + 10); r.Clock != (Clock{State: ClockHeld}) {
				t.Fatalf("%+v", r)
			}
			v.expect("d f:1.0 1, g:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLOCK | OK 1 | has 1")
			c.ends(v, raw+10)
			v.now = v.l.Status(v.now).Now
			if v.now.Wall != day.Add(5*days) {
				t.Fatalf("it is %s", v.now.Wall)
			}
			v.runs(2 * days)
			r := v.see(raw.Add(10 + 2*days))
			if r.Clock.State != ClockTrusted || r.Now.Wall != day.Add(7*days) || r.Behind() != 0 {
				t.Fatalf("%+v", r)
			}
			v.expect("d f:1.0 1, g:1.0 1", "OK | OK 1 | OK 1 | has 2")
			// The next start does not remember it.
			again, err := Restore(v.l.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			if d, err := again.Decide(v.now, Start{BootID: "3", Raw: raw.Add(10 + 2*days)}); err != nil || d.Entries[0].Clock == nil || *d.Entries[0].Clock != (Clock{State: ClockHeld}) {
				t.Fatalf("%+v, %v", d.Entries, err)
			}
			// Corrected or not, a jump is a jump.
			if r := v.see(raw.Add(10 + 5*days)); r.Clock.State != ClockAhead || r.Clock.Ahead != 3*days || r.Now.Wall != day.Add(7*days) {
				t.Fatalf("%+v", r)
			}
			// The clock is set: the correction has done its work.
			if r := v.see(day.Add(7 * days)); r.Clock != (Clock{}) || r.Now.Wall != day.Add(7*days) {
				t.Fatalf("%+v", r)
			}
			v.must(Start{BootID: "3", Raw: 90})
			if s := v.l.Status(v.now); s.Clock != (Clock{State: ClockHeld}) || s.Now.Wall != day.Add(7*days) {
				t.Fatalf("after a restart %+v", s.Clock)
			}
		})
	}
}

// In a hold a receipt renews until it ends by the later of the clocks: a quarantined one may be right.
func TestClockReceipts(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1))
	kept := v.ask("d", "f:1.0 1")
	v.must(Start{BootID: "2", HoldFor: 900, Raw: day.Add(60 * hour)})
	ask := func(want string) {
		t.Helper()
		if got := show(v.serve(Serve{Key: key("d"), Request: v.request("d", "f:1.0 1"), Receipt: ReceiptOf(&kept)})); got != want {
			t.Errorf("%s where %s is wanted", got, want)
		}
	}
	ask("PARTLY | INSUFFICIENT 0 E_HOLD | has 1")
	kept.Serial++ // of the answer before
	v.runs(1)
	v.see(day.Add(1))
	ask("OK | OK 1 | has 1")
}

// What a response of the back office does to the clock.
func TestClockSigned(t *testing.T) {
	for _, c := range []struct {
		name        string
		raw, signed capability.Seconds // from what is expected
		clock       Clock              // after
		wall        capability.Seconds // from what was expected
	}{
		{"right", 0, -3 * hour, Clock{}, 0},
		{"a signer who is ahead", 0, 3 * hour, Clock{State: ClockBehind}, 3 * hour},
		{"a clock that is slow by days", 0, 4 * days, Clock{Correction: 4 * days}, 4 * days},
		{"held, older than the floor", -30 * days, -1, Clock{State: ClockHeld}, 0},
		{"held", -30 * days, 0, Clock{Correction: 30 * days}, 0},
		{"held, later", -30 * days, 2 * days, Clock{Correction: 32 * days}, 2 * days},
		{"ahead, confirmed", 60 * hour, 50 * hour, Clock{}, 60 * hour},
		{"ahead, confirmed at the limit", 60 * hour, 36 * hour, Clock{}, 60 * hour},
		{"ahead, confirmed by a later one", 60 * hour, 61 * hour, Clock{State: ClockBehind}, 61 * hour},
		{"ahead, refuted", 60 * hour, 36*hour - 1, Clock{Correction: -24*hour - 1}, 36*hour - 1},
		{"ahead, older than the floor", 60 * hour, -1, Clock{State: ClockAhead, Ahead: 60 * hour}, 0},
		{"behind", -5 * hour, 0, Clock{State: ClockBehind}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 1))
			raw := day.Add(100 + c.raw)
			v.runs(100)
			v.see(raw)
			r := v.response(2, capability.Response{Items: items(lineItem('a', "f:1.0", 1))})
			r.Time = day.Add(100 + c.signed)
			v.must(Provision{Response: r, Digest: capability.Digest{2}, Raw: raw})
			if s := v.l.Status(v.now); s.Clock != c.clock || s.Now.Wall != day.Add(100+c.wall) {
				t.Errorf("%+v at %d", s.Clock, s.Now.Wall-day.Add(100))
			}
			v.now = v.l.Status(v.now).Now
			if read := v.see(raw); read.Clock != c.clock || read.Due || read.Now != v.now {
				t.Errorf("read as %+v", read)
			}
			// The same again changes nothing.
			v.refused(Provision{Response: r, Digest: capability.Digest{2}, Raw: raw}, capability.AlreadyHere)
			older := r
			older.Serial, older.Time = 1, day.Add(100*days)
			v.refused(Provision{Response: older, Digest: capability.Digest{3}, Raw: raw}, capability.OlderResponse)
		})
	}
	v := begin(t)
	r := v.response(1, capability.Response{})
	r.Time = day.Add(9 * days)
	v.must(Provision{Response: r, Digest: capability.Digest{2}})
	if s := v.l.Status(v.now); s.Clock != (Clock{}) || s.Now.Wall != r.Time {
		t.Errorf("without a system clock %+v", s)
	}
}

func TestSetTime(t *testing.T) {
	for _, c := range []struct {
		name         string
		raw          capability.Seconds // from what is expected
		stated       capability.Seconds
		refused      bool
		clock        Clock // of the next reading
		wall         capability.Seconds
		leavesNoMark bool
	}{
		{name: "confirmed though nothing is wrong", leavesNoMark: true},
		{name: "a second below", raw: -1, stated: -1, leavesNoMark: true},
		{name: "below the floor", raw: -61, stated: -61, refused: true, clock: Clock{State: ClockBehind}},
		{name: "held clock confirmed", raw: -30 * days, stated: -30 * days, refused: true, clock: Clock{State: ClockHeld}},
		{name: "held", raw: -30 * days, clock: Clock{Correction: 30 * days}},
		{name: "held, later", raw: -30 * days, stated: 9 * days, clock: Clock{Correction: 39 * days}, wall: 9 * days},
		{name: "ahead, confirmed", raw: 30 * days, stated: 30 * days, wall: 30 * days},
		{name: "ahead, refuted", raw: 30 * days, clock: Clock{Correction: -30 * days}},
		{name: "ahead, in between", raw: 30 * days, stated: 9 * days, clock: Clock{Correction: -21 * days}, wall: 9 * days},
		{name: "behind by an hour, stated", raw: -hour, clock: Clock{Correction: hour}},
		{name: "a little later", stated: hour, clock: Clock{Correction: hour}, wall: hour},
		{name: "seconds later", stated: 50, wall: 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t)
			v.runs(100)
			expected := day.Add(100)
			raw := expected.Add(c.raw)
			v.see(raw)
			set := SetTime{Time: expected.Add(c.stated), Raw: raw, By: "admin"}
			if c.refused {
				if no := v.refused(set, capability.ErrTime); !strings.Contains(no.Detail, set.Time.String()) || !strings.Contains(no.Detail, expected.String()) {
					t.Error(no.Detail)
				}
			} else {
				d := v.must(set)
				if (len(d.Entries) == 0) != c.leavesNoMark {
					t.Errorf("%d entries", len(d.Entries))
				}
				for _, e := range d.Entries {
					v.now = e.Now
				}
				if again := v.must(set); len(again.Entries) > 0 {
					t.Errorf("again: %+v", again.Entries[0].Clock)
				}
			}
			if r := v.see(raw); r.Clock != c.clock || r.Now.Wall != expected.Add(c.wall) || !c.refused && !c.leavesNoMark && r.Due {
				t.Errorf("read as %+v, %d", r, r.Now.Wall-expected)
			}
		})
	}
	v := begin(t)
	var m *capability.Malformed
	for _, bad := range []SetTime{{}, {Time: day}, {Raw: day}, {Time: -1, Raw: day}, {Time: lastTime + 1, Raw: day}, {Time: day, Raw: lastTime + 1}, {Time: day, Raw: day, By: repeated('x', capability.MaxText+1)}} {
		if _, err := v.do(bad); !errors.As(err, &m) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// The TPM's clock says how long the machine was powered while the daemon did not run. It is a lower bound, and only while it is this TPM's and has not gone back.
func TestClockSlept(t *testing.T) {
	const ms = 1000
	first := TPMClock{Milliseconds: 5_000_000 * ms, Resets: 3, Restarts: 4}
	for _, c := range []struct {
		name string
		ran  capability.Seconds // on the lease clock, in the run before
		then TPMClock
		now  TPMClock
		want capability.Seconds
	}{
		{"stopped for ten days", 0, first, TPMClock{Milliseconds: first.Milliseconds + 864_000*ms, Resets: 3, Restarts: 4}, 734_400},
		{"ran for a day of them", days, first, TPMClock{Milliseconds: first.Milliseconds + 864_000*ms, Resets: 3, Restarts: 4}, 648_000},
		{"never stopped", 9 * days, first, TPMClock{Milliseconds: first.Milliseconds + 864_000*ms, Resets: 3, Restarts: 4}, 0},
		{"over a reset", 0, first, TPMClock{Milliseconds: first.Milliseconds + 1000*ms, Resets: 4}, 850},
		{"gone back", 0, first, TPMClock{Milliseconds: first.Milliseconds - 1, Resets: 4}, 0},
		{"fewer resets", 0, first, TPMClock{Milliseconds: first.Milliseconds + 1000*ms, Resets: 2, Restarts: 9}, 0},
		{"fewer restarts", 0, first, TPMClock{Milliseconds: first.Milliseconds + 1000*ms, Resets: 3, Restarts: 3}, 0},
		{"not read now", 0, first, TPMClock{}, 0},
		{"not read then", 0, TPMClock{}, first, 0},
		{"set forward by its owner", 0, first, TPMClock{Milliseconds: 1 << 63, Resets: 3, Restarts: 4}, maxSlept},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t)
			v.must(Start{BootID: "2", Raw: day, TPM: c.then})
			v.runs(c.ran)
			v.see(day.Add(c.ran))
			v.must(Advance{})
			v.must(WriteRequest{Number: 1, Digest: capability.Digest{1}}) // the last entry is of the end of the run
			// The clock was wound back to where it was: trusted time goes on by what the TPM knows.
			lease := v.now.Lease
			d := v.must(Start{BootID: "3", Raw: day.Add(c.ran), TPM: c.now})
			if s := d.Entries[0].Started; s.Slept != c.want || d.Entries[0].Now != At(lease, day.Add(c.ran+c.want)) {
				t.Errorf("slept %d at %+v", s.Slept, d.Entries[0].Now)
			}
			// A start that brings the same reading again, minutes later, knows no more.
			v.now = d.Entries[0].Now
			v.runs(600)
			if d := v.must(Start{BootID: "3", Raw: v.now.Wall.Add(600), TPM: c.now}); d.Entries[0].Started.Slept != 0 || c.now != (TPMClock{}) && c.then != (TPMClock{}) && c.now != c.then && d.Entries[0].Started.At != lease {
				t.Errorf("%+v", d.Entries[0].Started)
			}
		})
	}
}

// What Decide never says, Apply refuses.
func TestApplyAssertsClocks(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1, until(day.Add(40*hour))), lineItem('b', "g:1.0", 1))
	v.runs(10)
	v.see(day.Add(10 + 30*hour))
	snapshot := v.l.Snapshot()
	d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: v.request("d", "f:1.0 1")})
	if err != nil || len(d.Entries) != 1 {
		t.Fatal(err)
	}
	late := *d.Entries[0].Served
	late.Leases = append([]Lease(nil), late.Leases...)
	late.Leases[0].End = v.now.Lease + 10*hour + 1 // inside its expiry by trusted time
	for name, e := range map[string]Entry{
		"watched without a clock": {Watched: &Watched{Raw: day}},
		"stated without a clock":  {Stated: &Stated{Time: day, Raw: day}},
		"advanced with one":       {Advanced: &Advanced{}, Clock: &Clock{}},
		"requested with one":      {Requested: &Requested{Written: Written{Number: 1}}, Clock: &Clock{State: ClockHeld}},
		"no state":                {Watched: &Watched{Raw: day}, Clock: &Clock{State: 4}},
		"ahead by too little":     {Watched: &Watched{Raw: day}, Clock: &Clock{State: ClockAhead, Ahead: 24 * hour}},
		"ahead without a state":   {Watched: &Watched{Raw: day}, Clock: &Clock{Ahead: 25 * hour}},
		"behind by ahead":         {Watched: &Watched{Raw: day}, Clock: &Clock{Ahead: -1}},
		"ahead beyond time":       {Watched: &Watched{Raw: day}, Clock: &Clock{State: ClockAhead, Ahead: capability.Seconds(lastTime) + 1}},
		"corrected beyond time":   {Stated: &Stated{Time: day, Raw: day}, Clock: &Clock{Correction: -capability.Seconds(lastTime) - 1}},
		"slept before":            {Started: &Started{Slept: -1}},
		"slept too long":          {Started: &Started{Slept: maxSlept + 1}},
		"started later":           {Started: &Started{At: v.now.Lease + 1}},
		"started before time":     {Started: &Started{At: -1}},
		"a lease past the later":  {Served: &late},
	} {
		e.Position, e.Previous, e.Now = d.Entries[0].Position, d.Entries[0].Previous, d.Entries[0].Now
		l, err := Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l, err := Restore(snapshot)
	if err != nil || l.Apply(d.Entries[0]) != nil || l.Check() != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Ledger){
		"a clock in no state":             func(l *Ledger) { l.clock.State = 9 },
		"a division by a clock that lags": func(l *Ledger) { l.dividedAhead = -1 },
		"ahead of nothing":                func(l *Ledger) { l.clock.Ahead = 5 },
	} {
		l, err := Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		spoil(l)
		if err := l.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
