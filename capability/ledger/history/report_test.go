package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// try is one attempt of the generator: a device that wants a unit for some time.
type try struct {
	at, end capability.Time
	device  int
	served  bool
}

// days makes some days of use of one feature through a real ledger: each device comes now and then, asks for a unit, renews it while it works, and gives it back.
func days(t *testing.T, seed uint64, days int, devices, seats int) (*site, []try) {
	s := newSite(t, item('a', "cad", uint32(seats)))
	rng := rand.New(rand.NewPCG(seed, 2))
	until := map[int]*try{}
	var all []*try
	for range days * 24 * 12 {
		s.pass(300)
		for d := range devices { // who is done makes room for who comes in the same second
			if w := until[d]; w != nil && s.now.Wall >= w.end {
				s.serve(d, "", 0, want("cad", 0))
				delete(until, d)
			}
		}
		for d := range devices {
			if until[d] != nil {
				s.serve(d, "", 0, want("cad", 1))
			} else if rng.IntN(90) == 0 {
				w := &try{at: s.now.Wall, end: s.now.Wall.Add(capability.Seconds(300 * (1 + rng.IntN(40)))), device: d}
				r := s.serve(d, fmt.Sprint("user ", d/2), 0, want("cad", 1))
				if w.served = r.Lines[0].Status == capability.LineOK; w.served {
					until[d] = w
				}
				all = append(all, w)
			}
		}
	}
	for d := range devices { // so that all of it has ended
		if w := until[d]; w != nil {
			w.end = s.now.Wall
			s.serve(d, "", 0, want("cad", 0))
		}
	}
	s.pass(3600)
	s.do(ledger.Start{BootID: "last"})
	out := make([]try, len(all))
	for i, w := range all {
		out[i] = *w
	}
	return s, out
}

// at is how many attempts were served and under way at a moment.
func at(tries []try, t capability.Time) (n uint64) {
	for _, w := range tries {
		if w.served && w.at <= t && t < w.end {
			n++
		}
	}
	return n
}

// What the generator knows is what the reports say: peaks and seconds of every hour and day, refusals and who was refused, the seconds at each level, and the week.
func TestReportsAreTheGenerators(t *testing.T) {
	s, tries := days(t, 7, 4, 16, 5)
	q := Query{"cad", 0, forever}
	refusals := 0
	for _, w := range tries {
		if !w.served {
			refusals++
		}
	}
	if refusals < 10 || len(tries) < 100 {
		t.Fatalf("%d of %d attempts refused: the test shows nothing", refusals, len(tries))
	}
	for _, step := range []Step{Hour, Day, Month} {
		var lines, served, seconds uint64
		for _, b := range s.h.Usage(q, step, 0) {
			var peak, sum uint64
			for m := b.From; m < b.Until; m += 300 { // the generator moves every five minutes
				n := at(tries, m)
				peak, sum = max(peak, n), sum+n*uint64(min(300, b.Until-m, s.h.Now()-m))
			}
			if b.Peak != peak || b.Seconds != sum || b.On != uint64(min(b.Until, s.h.Now())-b.From) || b.Entitled != (Entitled{Count: 5}) {
				t.Errorf("%s from %s: %+v, the generator has a peak of %d and %d seconds", step, b.From, b, peak, sum)
			}
			people := map[int]bool{}
			n := 0
			for _, w := range tries {
				if !w.served && b.From <= w.at && w.at < b.Until {
					people[w.device/2] = true
					n++
				}
			}
			switch {
			case n == 0 && len(b.Denials) == 0:
			case len(b.Denials) != 1 || b.Denials[0] != Denial{capability.ErrNoSeat, uint64(n), len(people)}:
				t.Errorf("%s from %s: refused %+v, the generator has %d of %d people", step, b.From, b.Denials, n, len(people))
			}
			lines, served, seconds = lines+uint64(n), served+b.Served, seconds+b.Seconds
		}
		if lines != uint64(refusals) || served != uint64(len(tries)-refusals) {
			t.Errorf("by %s: %d refused and %d served of %d and %d", step, lines, served, refusals, len(tries)-refusals)
		}
	}
	var on, sum uint64
	for _, l := range s.h.Levels(q) {
		on, sum = on+l.Seconds, sum+l.Units*l.Seconds
	}
	days := s.h.Usage(q, Day, 0)
	var seconds uint64
	for _, b := range days {
		seconds += b.Seconds
	}
	if on != uint64(s.h.Now()-s.h.Since()) || sum != seconds {
		t.Errorf("the levels are of %d seconds and %d units times seconds, where %d and %d are right", on, sum, s.h.Now()-s.h.Since(), seconds)
	}
	var week uint64
	used, unused := s.h.Week(q, 2*60*60), s.h.Week(Query{"never", q.From, q.Until}, 0)
	if !used.Used() || unused.Used() {
		t.Errorf("used: %t, of what never was: %t", used.Used(), unused.Used())
	}
	for _, hours := range used {
		for _, cell := range hours {
			week += cell.Seconds
		}
	}
	if week != seconds {
		t.Errorf("the week has %d seconds of %d", week, seconds)
	}
	if zoned := s.h.Usage(q, Day, -5*60*60); zoned[1].From%daySeconds != 5*60*60 {
		t.Errorf("the days of a zone begin at %s", zoned[1].From)
	}
}

// With fewer or more units the replay refuses what a straight one over the generator's attempts refuses.
func TestWhatIf(t *testing.T) {
	for seed := range uint64(5) {
		s, tries := days(t, seed, 3, 12, 5)
		q := Query{"cad", 0, forever}
		for count := uint64(0); count < 9; count++ {
			want := WhatIf{From: s.h.Since(), Until: s.h.Now() + 1, Count: count}
			type held struct {
				device int
				until  capability.Time
			}
			var busy []held
			for _, w := range tries {
				busy = slices.DeleteFunc(busy, func(b held) bool { return b.until <= w.at || b.device == w.device })
				full := uint64(len(busy)) >= count
				switch {
				case w.served && full:
					want.Lost++
				case w.served:
					busy = append(busy, held{w.device, w.end})
				case full:
					want.Refused++
				default:
					want.Refused++
					want.Won++
					busy = append(busy, held{w.device, w.at.Add(900)})
				}
			}
			if got := s.h.WhatIf(q, count, 900); got != want {
				t.Errorf("seed %d, %d units: %+v, the generator says %+v", seed, count, got, want)
			}
		}
	}
}

// Days whose changes were let go of keep their sums, and the rest goes on from who had what.
func TestTrimmed(t *testing.T) {
	s, _ := days(t, 3, 4, 12, 5)
	q := Query{"cad", 0, forever}
	days, whatIf := s.h.Usage(q, Day, 0), s.h.WhatIf(Query{"cad", midnight + 2*daySeconds, forever}, 3, 900)
	hours := s.h.Usage(Query{"cad", midnight + 2*daySeconds, forever}, Hour, 0)
	before := s.h.bytes
	for s.h.detailed < midnight+2*daySeconds {
		s.h.trim(s.h.bytes - 1)
	}
	if s.h.bytes >= before || s.h.Detailed() != midnight+2*daySeconds {
		t.Fatalf("%d bytes of %d, detailed from %s", s.h.bytes, before, s.h.Detailed())
	}
	if got := s.h.Usage(q, Day, 0); fmt.Sprint(got) != fmt.Sprint(days) {
		t.Errorf("the days are\n%+v, and were\n%+v", got, days)
	}
	if got := s.h.Usage(q, Hour, 0); fmt.Sprint(got) != fmt.Sprint(hours) {
		t.Errorf("the hours are\n%+v, and were\n%+v", got, hours)
	}
	if got := s.h.WhatIf(q, 3, 900); got != whatIf {
		t.Errorf("what if: %+v, and was %+v", got, whatIf)
	}
}

// A history that begins in the middle knows what it hears of from then on.
func TestBeginsInTheMiddle(t *testing.T) {
	s, _ := days(t, 5, 2, 12, 5)
	late := New()
	from := len(s.entries) / 2
	for i := range s.entries[from:] {
		late.Add(&s.entries[from+i])
	}
	if late.Complete() || !s.h.Complete() || late.Since() <= s.h.Since() {
		t.Errorf("complete: %v %v", late.Complete(), s.h.Complete())
	}
	q := Query{"cad", late.Since() + 3600, forever}
	a, b := s.h.Usage(q, Hour, 0), late.Usage(q, Hour, 0)
	for i := range a {
		if a[i].Peak != b[i].Peak || a[i].Seconds != b[i].Seconds {
			t.Errorf("from %s: %+v, and %+v where all is known", a[i].From, b[i], a[i])
		}
	}
}

// BenchmarkNinetyDays asks a history of 10,000,000 entries.
func BenchmarkNinetyDays(b *testing.B) {
	h, entries := New(), 10_000_000
	if testing.Short() {
		entries = 100_000
	}
	fill(h, entries)
	b.Logf("%d entries, %d bytes of changes", entries, h.bytes)
	q := Query{"f0", 0, forever}
	for _, question := range []struct {
		name string
		ask  func()
	}{
		{"hours", func() { h.Usage(q, Hour, 0) }},
		{"days", func() { h.Usage(q, Day, 0) }},
		{"levels", func() { h.Levels(q) }},
		{"what-if", func() { h.WhatIf(q, 300, 900) }},
	} {
		b.Run(question.name, func(b *testing.B) {
			for b.Loop() {
				question.ask()
			}
		})
	}
}

// fill makes entries of ninety days: 1,000 devices that take a unit, renew it, and give it back.
func fill(h *History, entries int) {
	rng := rand.New(rand.NewPCG(1, 1))
	held := make([]bool, 1000)
	each := 90 * daySeconds * 1000 / capability.Time(entries)
	for n := range entries {
		passed := capability.Time(n) * each / 1000
		d := rng.IntN(len(held))
		e := ledger.Entry{Position: uint64(n + 1), Now: ledger.At(1000+capability.Seconds(passed), midnight+passed)}
		s := &ledger.Served{Answer: capability.Response{For: hostid.ID{Type: hostid.Ethernet, Value: fmt.Sprintf("%012x", d)}, Key: capability.Digest{byte(d), byte(d >> 8)}}}
		if held[d] = !held[d] || rng.IntN(3) > 0; held[d] {
			s.Leases = []ledger.Lease{{Item: capability.ItemID{ActivationID: "x", Feature: "f0"}, Count: 1, End: e.Now.Lease + 3600}}
		}
		e.Served = s
		h.Add(&e)
	}
}
