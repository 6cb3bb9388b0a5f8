package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// told is every record in words, by activation letter, the period from the first day that the tests know: "a 0+900 peak 3 served 3 seconds 2700 no E_NO_SEAT*2".
func (v *life) told(from uint64) string {
	v.t.Helper()
	var out []string
	for _, r := range v.l.Records(from, capability.MaxFile) {
		u, err := v.l.codec.DecodeUsage(r.Body)
		if err != nil {
			v.t.Fatal(err)
		}
		s := fmt.Sprintf("%d: %s %s%d+%d peak %d served %d seconds %d", r.Number, name(u.ID()), u.User, u.From-day, u.Until-u.From, u.Peak, u.Served, u.Seconds)
		for _, d := range u.Denials {
			s += fmt.Sprintf(" %s*%d", d.Code.Symbol(), d.Count)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func (v *life) wants(what, want string) {
	v.t.Helper()
	if got := v.told(0); got != want {
		v.t.Fatalf("%s:\ngot\n%s\nwant\n%s", what, got, want)
	}
}

// rest is what is left of the day on which the tests begin.
const rest = capability.Seconds(86400 - day%86400)

func TestUsageOfADay(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 4))
	v.ask("d", "f:1.0 3")
	v.pass(100)
	v.ask("d", "f:1.0 3") // a renewal is no new count
	v.ask("e", "f:1.0 2") // refused
	v.ask("e", "f:1.0 1", "none-of-ours:1.0 1")
	v.pass(100)
	v.ask("e", "f:1.0 0")
	v.wants("before the end", "")
	v.must(CloseUsage{})
	v.wants("closed", "1: ? 0+200 peak 0 served 0 seconds 0 E_NOT_ENTITLED*1\n2: a 0+200 peak 4 served 4 seconds 700 E_NO_SEAT*1")
	if d := v.must(CloseUsage{}); len(d.Entries) != 0 {
		t.Fatal("an empty period is closed")
	}
	v.pass(50)
	if d := v.must(CloseUsage{}); len(d.Entries) != 0 {
		t.Fatal("a period within the hour is closed while records wait")
	}
	v.respond(capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 4)}, Records: 2})
	v.wants("acknowledged", "")
	v.must(CloseUsage{})
	v.wants("the next trip", "3: a 200+50 peak 3 served 0 seconds 150")
	// The lease of 900 seconds that d renewed at 100 ends at 1000, long before midnight; nobody looks until the next day.
	v.pass(rest + 10)
	v.ask("d", "f:1.0 1")
	v.wants("the day", "3: a 200+50 peak 3 served 0 seconds 150\n4: a 250+"+fmt.Sprint(int64(rest)-250)+" peak 3 served 0 seconds 2250")
	if u := v.l.Usage(); u.Waiting != 2 || u.Since != day+200 || u.Last != 4 || u.Acknowledged != 2 || u.Full {
		t.Errorf("%+v", u)
	}
	if got := v.told(1); !strings.HasPrefix(got, "1: ? 0+200") || strings.Count(got, "\n") != 3 {
		t.Errorf("from the first one on:\n%s", got)
	}
	if got := v.told(99); !strings.HasPrefix(got, "3: ") {
		t.Errorf("a number above what waits leaves records out:\n%s", got)
	}
}

// A borrow of many days without any entry is counted by day, also after the clock was set ahead while the machine was off.
func TestUsageOverDays(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4, func(i *capability.LineItem) { i.Borrow = 10 * 86400 }))
	r := v.request("d", "f:1.0 2")
	r.Borrow = 3 * 86400
	v.serve(Serve{Key: key("d"), Request: r})
	v.pass(5 * 86400)
	v.must(Advance{})
	day1 := int64(rest)
	v.wants("three days", fmt.Sprintf("1: a 0+%d peak 2 served 2 seconds %d\n2: a %d+86400 peak 2 served 0 seconds 172800\n3: a %d+86400 peak 2 served 0 seconds 172800\n4: a %d+86400 peak 2 served 0 seconds %d",
		day1, 2*day1, day1, day1+86400, day1+2*86400, 2*(86400-day1)))
	if d := v.must(CloseUsage{}); len(d.Entries) != 0 {
		t.Fatal("days of nothing are closed")
	}
	v.ask("d", "f:1.0 1")
	v.now.Wall += 100 * 86400 // off, or set: the lease clock stood still
	v.now.Lease += 10
	v.ask("d", "f:1.0 0")
	v.must(CloseUsage{})
	got := v.told(5)
	if n := strings.Count(got, "\n") + 1 - 4; n != 2 || !strings.Contains(got, "served 1 seconds") && !strings.Contains(got, "seconds 10") {
		t.Errorf("%d records of a time that was not lived:\n%s", n, got)
	}
}

// A silence of many years ends fewer periods than days, and loses no second.
func TestUsageAfterYears(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4, func(i *capability.LineItem) { i.Borrow = 40 * 366 * 86400 }))
	r := v.request("d", "f:1.0 1")
	r.Borrow = 30 * 366 * 86400
	v.serve(Serve{Key: key("d"), Request: r})
	v.pass(20 * 366 * 86400)
	v.must(Advance{}) // nothing is due: no entry
	v.ask("e", "f:1.0 1")
	records := v.l.Records(0, capability.MaxFile)
	var seconds uint64
	for _, r := range records {
		u, _ := v.l.codec.DecodeUsage(r.Body)
		seconds += u.Seconds
	}
	if len(records) < daysApart || len(records) > daysApart+1 || seconds+uint64((v.now.Wall%86400)) != 20*366*86400 {
		t.Errorf("%d records of %d seconds", len(records), seconds)
	}
}

// What is metered is told by what was newly used, not by seconds. An item that goes in the middle of a period is told all the same.
func TestUsageOfMeteredAndGone(t *testing.T) {
	v := begin(t, lineItem('m', "m:1.0", 9, metered(true, 0)), lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 4))
	v.serve(Serve{Key: key("d"), Request: v.operation(capability.Report, "d", "m:1.0 3")})
	v.ask("d", "f:1.0 1", "g:1.0 1", "m:1.0 3")
	v.pass(60)
	v.ask("d", "m:1.0 2")
	v.provision(lineItem('m', "m:1.0", 9, metered(true, 0)), lineItem('b', "g:1.0", 4))
	if got := v.step("items"); got != "b 0/4, m 2/9" {
		t.Fatal(got)
	}
	v.pass(60)
	v.provision(lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 4), lineItem('m', "m:1.0", 9, metered(true, 0)))
	v.ask("d", "f:1.0 2", "m:1.0 2")
	v.pass(10)
	v.must(CloseUsage{})
	v.wants("all", "1: a 0+130 peak 2 served 3 seconds 80\n2: b 0+130 peak 1 served 1 seconds 60\n3: m 0+130 peak 3 served 3 seconds 0")
}

// Names leave only where the producer and the site both say so, and what was told apart is forgotten where one of them changes its mind.
func TestUsageOfUsers(t *testing.T) {
	items := []capability.LineItem{lineItem('a', "f:1.0", 9)}
	allow := func(v *life, producer bool, site string) {
		v.respond(capability.Response{Items: items, Policy: capability.Policy{Detail: producer}, Records: v.l.Usage().Last})
		v.must(SetPolicy{Name: UsageDetail, Value: site, By: "admin"})
	}
	ask := func(v *life, device, user string, n int) {
		r := v.request(device, fmt.Sprintf("f:1.0 %d", n))
		r.User = user
		v.serve(Serve{Key: key(device), Request: r})
	}
	for _, c := range []struct {
		producer bool
		site     string
		want     string
	}{
		{false, "", "1: a 0+300 peak 4 served 4 seconds 800"},
		{true, "", "1: a 0+300 peak 4 served 4 seconds 800"},
		{true, "false", "1: a 0+300 peak 4 served 4 seconds 800"},
		{false, "true", "1: a 0+300 peak 4 served 4 seconds 800"},
		{true, "true", "1: a 0+300 peak 4 served 4 seconds 800\n2: a ana0+300 peak 3 served 3 seconds 500\n3: a ben0+300 peak 1 served 1 seconds 300"},
	} {
		v := begin(t, items...)
		allow(v, c.producer, c.site)
		ask(v, "d", "ana", 1)
		ask(v, "e", "ben", 1)
		v.pass(100)
		ask(v, "x", "ana", 2)
		v.pass(100)
		ask(v, "x", "ana", 0)
		v.pass(100)
		v.must(CloseUsage{})
		v.wants(fmt.Sprintf("producer %v, site %q", c.producer, c.site), c.want)
		if c.want = v.told(0); strings.Contains(c.want, "ana") != (c.producer && c.site == "true") {
			t.Errorf("producer %v, site %q: %s", c.producer, c.site, c.want)
		}
	}
	v := begin(t, items...)
	allow(v, true, "true")
	ask(v, "d", "ana", 1)
	v.pass(100)
	v.must(SetPolicy{Name: UsageDetail, Value: "false", By: "admin"})
	v.must(CloseUsage{})
	v.wants("switched off", "1: a 0+100 peak 1 served 1 seconds 100")
	allow(v, true, "true")
	v.pass(100)
	v.must(CloseUsage{})
	v.wants("switched on", "2: a 100+100 peak 1 served 0 seconds 100\n3: a ana100+100 peak 1 served 0 seconds 100")
}

// Records are kept until they are acknowledged and 90 days more. Where there is no room the oldest acknowledged go, then days are no longer told apart: nothing is lost.
func TestRecordsKept(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	nextDay := func() {
		v.ask("d", "f:1.0 1")
		v.pass(86400)
		v.must(CloseUsage{}) // within the hour of midnight it is none
	}
	for range 100 {
		nextDay()
	}
	if u := v.l.Usage(); u.Waiting < 99 || u.Oldest != 1 {
		t.Fatalf("%+v", u)
	}
	acknowledge := func() {
		v.respond(capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 4)}, Records: v.l.Usage().Last})
	}
	acknowledge()
	nextDay()
	if u := v.l.Usage(); u.Oldest < 9 || u.Oldest > 13 || u.Acknowledged < 99 {
		t.Errorf("90 days after: %+v", u)
	}

	full := func() {
		for len(v.l.usage.kept) < RecordsKept {
			v.l.usage.kept = append(v.l.usage.kept, v.l.usage.kept[len(v.l.usage.kept)-1])
			v.l.usage.last++
		}
	}
	full()
	last := v.l.usage.last
	nextDay()
	nextDay()
	v.pass(86400)
	v.ask("d", "f:1.0 0")
	u := v.l.Usage()
	if len(v.l.usage.kept) != RecordsKept || u.Last == last || u.Last > last+uint64(RecordsKept) {
		t.Fatalf("full with acknowledged ones: %+v", u)
	}
	for v.l.usage.last-v.l.acknowledged() < RecordsKept {
		nextDay()
	}
	last = v.l.usage.last
	for range 5 {
		nextDay()
	}
	if u = v.l.Usage(); u.Last != last || !u.Full || u.Waiting != RecordsKept {
		t.Fatalf("full: %+v", u)
	}
	acknowledge()
	v.pass(86400)
	v.ask("d", "f:1.0 1")
	got := v.told(0)
	var number, from, length, peak, served, seconds uint64
	if _, err := fmt.Sscanf(got, "%d: a %d+%d peak %d served %d seconds %d", &number, &from, &length, &peak, &served, &seconds); err != nil || served != 5 || seconds != 5*900 || length < 5*86400 {
		t.Errorf("after the room came back: %s: %v", got, err)
	}
	if u = v.l.Usage(); u.Full {
		t.Errorf("%+v", u)
	}
}

// Three MiB, as near as records come to it, take as many trips as files of 1 MiB hold, without a gap, and a lost answer repeats the same.
func TestRecordsOverTrips(t *testing.T) {
	v := begin(t, lineItem('a', repeated('f', capability.MaxName)+":1.0", 1<<20))
	v.respond(capability.Response{Items: []capability.LineItem{v.l.items[0].LineItem}, Policy: capability.Policy{Detail: true}})
	v.must(SetPolicy{Name: UsageDetail, Value: "true", By: "admin"})
	total, n := 0, 0
	apply := func(c Command) { // without the checks of every step, which cost as much as there is
		d, err := v.l.Decide(v.now, c)
		for i := 0; err == nil && i < len(d.Entries); i++ {
			err = v.l.Apply(d.Entries[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for total < 2_900_000 {
		for range 970 {
			r := v.request(fmt.Sprint("d", n%970), repeated('f', capability.MaxName)+":1.0 1")
			r.User = fmt.Sprintf("%0256d", n)
			apply(Serve{Key: key(r.Hosts[0].Value), Request: r, Heard: true})
			n++
		}
		v.pass(2 * 86400)
		apply(Advance{})
		total = 0
		for _, k := range v.l.usage.kept {
			total += len(k.body) + recordHead
		}
	}
	if err := v.l.Check(); err != nil {
		t.Fatal(err)
	}
	number, trips := uint64(0), 0
	for v.l.Usage().Waiting > 0 {
		records := v.l.Records(0, capability.MaxFile)
		if again := v.l.Records(0, capability.MaxFile); len(again) != len(records) || again[0].Number != records[0].Number {
			t.Fatal("a repeated request carries other records")
		}
		if encoded := v.l.codec.Encode(records); len(encoded) > capability.MaxFile || len(records) == 0 || len(records) > capability.MaxRecords {
			t.Fatalf("%d records of %d bytes in one trip", len(records), len(encoded))
		}
		for _, r := range records {
			if number++; r.Number != number {
				t.Fatalf("record %d where %d follows", r.Number, number)
			}
		}
		trips++
		v.serial++
		apply(Provision{Response: v.response(v.serial, capability.Response{Items: []capability.LineItem{v.l.items[0].LineItem}, Policy: capability.Policy{Detail: true}, Records: number}), Digest: capability.Digest{byte(v.serial)}})
	}
	if number != v.l.usage.last || trips != 3 {
		t.Errorf("%d of %d records (%d bytes) in %d trips", number, v.l.usage.last, total, trips)
	}
}

// The sums are those of someone who counts by hand, from the entries alone; and a ledger that was written down and read again goes on alike.
func TestUsageAddsUp(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 12
	}
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 7))
		v := begin(t, lineItem('a', "f:1.0", 6, func(i *capability.LineItem) { i.Overdraft = 2 }), lineItem('b', "f:2.0", 3), lineItem('c', "g:1.0", 5))
		v.lossy = seed%3 == 0
		byHand := newTally(v)
		for range 120 {
			switch k := rng.IntN(12); {
			case k < 7:
				lines := []string{fmt.Sprintf("f:%d.0 %d", 1+rng.IntN(2), rng.IntN(6)), fmt.Sprintf("g:1.0 %d?", rng.IntN(4))}
				r := v.request(fmt.Sprint("d", rng.IntN(4)), lines[:1+rng.IntN(2)]...)
				r.Borrow = capability.Seconds(rng.IntN(2000))
				v.serve(Serve{Key: key(r.Hosts[0].Value), Request: r})
			case k < 10:
				v.pass(capability.Seconds(rng.IntN(1200)))
			case k == 10 && rng.IntN(4) == 0:
				v.pass(capability.Seconds(rng.IntN(3 * 86400)))
				v.must(Advance{})
			case k == 10:
				v.must(CloseUsage{})
			case rng.IntN(3) == 0:
				restored, err := Restore(v.l.Snapshot())
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				v.l = restored
			default:
				v.respond(capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 6), lineItem('b', "f:2.0", uint32(rng.IntN(4))), lineItem('c', "g:1.0", 5)}, Records: v.l.usage.last})
			}
			byHand.read(v.entries)
		}
		v.pass(4000)
		v.must(Advance{})
		v.pass(4000)
		v.respond(capability.Response{Records: v.l.usage.last})
		v.must(CloseUsage{})
		byHand.read(v.entries)
		byHand.compare(seed)
		replica := New()
		for _, e := range v.entries {
			if err := replica.Apply(e); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if replica.Digest() != v.l.Digest() {
			t.Fatalf("seed %d: the replica differs", seed)
		}
	}
}

// byHand counts from the entries, device by device and second by second of difference.
type byHand struct {
	v       *life
	read_   int
	at      Now
	leases  map[string][]Lease
	seconds map[string]uint64 // by letter and day
	served  map[string]uint64
	peak    map[string]uint64
}

func newTally(v *life) *byHand {
	return &byHand{v: v, leases: map[string][]Lease{}, seconds: map[string]uint64{}, served: map[string]uint64{}, peak: map[string]uint64{}}
}

func dayOf(letter string, t capability.Time) string { return fmt.Sprint(letter, " ", t/86400) }

func (b *byHand) read(entries []Entry) {
	for ; b.read_ < len(entries); b.read_++ {
		e := &entries[b.read_]
		for device, list := range b.leases {
			for _, s := range list {
				for at := b.at.Lease; at < min(e.Now.Lease, s.End); {
					wall := e.Now.Wall.Add(at - e.Now.Lease)
					next := min(e.Now.Lease, s.End, at+capability.Seconds(86400-wall%86400))
					b.seconds[dayOf(name(s.Item), wall)] += uint64(s.Count) * uint64(next-at)
					at = next
				}
			}
			b.leases[device] = slices.DeleteFunc(list, func(s Lease) bool { return s.End <= e.Now.Lease })
		}
		b.at = e.Now
		if f := e.Served; f != nil {
			change := map[string]int{}
			for _, s := range b.leases[f.Answer.For.Value] {
				change[name(s.Item)] -= int(s.Count)
			}
			for _, s := range f.Leases {
				change[name(s.Item)] += int(s.Count)
			}
			for letter, n := range change {
				b.served[letter] += uint64(max(0, n))
			}
			b.leases[f.Answer.For.Value] = slices.Clone(f.Leases)
		}
		used := map[string]uint64{}
		for _, list := range b.leases {
			for _, s := range list {
				used[name(s.Item)] += uint64(s.Count)
			}
		}
		for letter, n := range used {
			b.peak[letter] = max(b.peak[letter], n)
		}
	}
}

func (b *byHand) compare(seed uint64) {
	seconds, served, peak := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	for _, k := range b.v.l.usage.kept {
		u, err := b.v.l.codec.DecodeUsage(k.body)
		if err != nil {
			b.v.t.Fatal(err)
		}
		if u.Feature == "" {
			continue
		}
		letter := name(u.ID())
		if u.From/86400 != (u.Until-1)/86400 {
			b.v.t.Fatalf("seed %d: a period from %s until %s", seed, u.From, u.Until)
		}
		seconds[dayOf(letter, u.From)] += u.Seconds
		served[letter] += u.Served
		peak[letter] = max(peak[letter], u.Peak)
	}
	for what, m := range map[string][2]map[string]uint64{"seconds": {seconds, b.seconds}, "served": {served, b.served}, "peak": {peak, b.peak}} {
		for k, want := range m[1] {
			if m[0][k] != want {
				b.v.t.Fatalf("seed %d: %s of %s: %d where %d were", seed, what, k, m[0][k], want)
			}
		}
		for k, got := range m[0] {
			if m[1][k] != got {
				b.v.t.Fatalf("seed %d: %s of %s: %d where %d were", seed, what, k, got, m[1][k])
			}
		}
	}
}

// To count costs a request no allocation and no byte of journal.
func TestUsageIsCheap(t *testing.T) {
	var allocations [2]float64
	var bytes [2]int
	for i := range allocations {
		l, now := crowd(t, 100)
		if i == 1 {
			l.usage.from = now.Wall
		}
		call := uint64(1000)
		allocations[i] = testing.AllocsPerRun(200, func() {
			call++
			d, err := l.Decide(now, crowdServe(7, call, "f7", uint32(call%2)))
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Enter(&d.Entries[0])
			if err != nil {
				t.Fatal(err)
			}
			bytes[i] = len(b)
		})
	}
	if allocations[1] > allocations[0] || bytes[0] != bytes[1] {
		t.Errorf("%v allocations and %v bytes of a request, without and with usage", allocations, bytes)
	}
}

func TestCheckFindsUsage(t *testing.T) {
	for what, damage := range map[string]func(*usage, *Ledger){
		"not counted":     func(u *usage, _ *Ledger) { u.from = 0 },
		"tomorrow":        func(u *usage, l *Ledger) { u.from = l.now.Wall + 1 },
		"more than made":  func(u *usage, _ *Ledger) { u.last = 0 },
		"out of order":    func(u *usage, _ *Ledger) { u.kept[0].until++; u.kept[0].until = u.kept[len(u.kept)-1].until + 1 },
		"users":           func(u *usage, _ *Ledger) { u.users = map[userOf]*sum{} },
		"peak":            func(_ *usage, l *Ledger) { l.items[0].tally.peak = 0 },
		"ahead":           func(_ *usage, l *Ledger) { l.items[0].tally.at = l.now.Lease + 1 },
		"left over":       func(_ *usage, l *Ledger) { l.items[0].tally.change = 1 },
		"gone and here":   func(u *usage, l *Ledger) { u.gone = []goneTally{{id: l.items[0].ID()}} },
		"moment":          func(_ *usage, l *Ledger) { l.moment++ },
		"too many by far": func(u *usage, _ *Ledger) { u.last, u.kept = RecordsKept+9, make([]kept, RecordsKept+1) },
	} {
		v := begin(t, lineItem('a', "f:1.0", 4))
		v.ask("d", "f:1.0 1")
		v.pass(60)
		v.must(CloseUsage{})
		v.respond(capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 4)}, Records: 1})
		v.pass(60)
		v.must(CloseUsage{})
		if damage(&v.l.usage, v.l); v.l.Check() == nil {
			t.Errorf("%s: nothing found", what)
		}
	}
}

// A snapshot that says of usage what no ledger would is refused.
func TestForgedUsage(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.ask("d", "f:1.0 1")
	v.pass(60)
	v.must(CloseUsage{})
	v.ask("e", "f:1.0 1")
	good := v.l.Snapshot()
	if l, err := Restore(good); err != nil || l.Digest() != v.l.Digest() {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Ledger){
		"no beginning":  func(l *Ledger) { l.usage.from = 0 },
		"more kept":     func(l *Ledger) { l.usage.last = 0 },
		"no usage":      func(l *Ledger) { l.usage.kept[0].body = []byte{1} },
		"of later":      func(l *Ledger) { l.usage.from -= 61 },
		"a lesser peak": func(l *Ledger) { l.items[0].tally.peak = 1 },
	} {
		l, err := Restore(good)
		if err != nil {
			t.Fatal(err)
		}
		change(l)
		if _, err := Restore(l.Snapshot()); err == nil {
			t.Errorf("%s: restored", what)
		}
	}
}

// stated is every state that a request would tell now, in words as those of told.
func (v *life) stated() string {
	var out []string
	for _, u := range v.l.States(v.now) {
		s := fmt.Sprintf("%s %s%d+%d peak %d served %d seconds %d", name(u.ID()), u.User, u.From-day, u.Until-u.From, u.Peak, u.Served, u.Seconds)
		for _, d := range u.Denials {
			s += fmt.Sprintf(" %s*%d", d.Code.Symbol(), d.Count)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

// Where the producer asks for states, a request says how the period that runs stands, and ends none; a record is of a whole day. Where it asks for records again, there is one of the rest.
func TestUsageStates(t *testing.T) {
	items := []capability.LineItem{lineItem('a', "f:1.0", 4, func(i *capability.LineItem) { i.Borrow = 10 * 86400 })}
	v := begin(t, items...)
	v.ask("d", "f:1.0 1")
	v.pass(50)
	if got := v.stated(); got != "" {
		t.Fatalf("not asked for: %s", got)
	}
	v.must(CloseUsage{})
	v.respond(capability.Response{Items: items, Policy: capability.Policy{States: true}, Records: 1})
	v.wants("history until now", "")
	v.pass(50)
	v.ask("e", "f:1.0 9")
	r := v.request("d", "f:1.0 2")
	r.Borrow = 3 * 86400
	v.serve(Serve{Key: key("d"), Request: r})
	v.pass(100)
	for range 2 {
		if d := v.must(CloseUsage{}); len(d.Entries) != 0 {
			t.Fatalf("%d entries", len(d.Entries))
		}
		if got, want := v.stated(), "a 50+150 peak 2 served 1 seconds 250 E_NO_SEAT*1"; got != want {
			t.Fatalf("%s\nwant %s", got, want)
		}
	}
	if u := v.l.Usage(); u.Waiting != 0 || u.Last != 1 || u.Since != day+50 {
		t.Errorf("%+v", u)
	}
	// Nobody asks until the next day: the request tells the day that is over in a record, and the one that runs in a state.
	v.pass(rest)
	if d := v.must(CloseUsage{}); len(d.Entries) != 1 || d.Entries[0].Counted == nil {
		t.Fatalf("midnight: %+v", d.Entries)
	}
	first := int64(rest)
	v.wants("the day that is over", fmt.Sprintf("2: a 50+%d peak 2 served 1 seconds %d E_NO_SEAT*1", first-50, 50+2*(first-100)))
	if got, want := v.stated(), fmt.Sprintf("a %d+200 peak 2 served 0 seconds 400", first); got != want {
		t.Fatalf("%s\nwant %s", got, want)
	}
	// A lease that has ended since the last entry is used no longer.
	v.pass(4 * 86400)
	v.must(CloseUsage{})
	if got := v.stated(); got != "" {
		t.Fatalf("nothing is used any more: %s", got)
	}
	r = v.request("d", "f:1.0 1")
	r.Borrow = 900
	v.serve(Serve{Key: key("d"), Request: r})
	v.pass(60)
	v.must(CloseUsage{})
	last := v.l.Usage().Last
	if got := v.stated(); !strings.HasSuffix(got, " peak 1 served 1 seconds 60") || strings.Contains(got, "\n") {
		t.Fatal(got)
	}
	v.pass(2000)
	if v.must(CloseUsage{}); !strings.HasSuffix(v.stated(), " seconds 900") || v.l.Usage().Last != last {
		t.Fatalf("after the end of the lease: %s", v.stated())
	}
	v.respond(capability.Response{Items: items, Records: last})
	if got := v.stated(); got != "" {
		t.Fatalf("the producer has changed its mind: %s", got)
	}
	v.must(CloseUsage{})
	if got := v.told(last + 1); !strings.HasSuffix(got, " peak 1 served 1 seconds 900") || strings.Contains(got, "\n") {
		t.Fatal(got)
	}
}

// What has no room in a request as states is told in records: more uses than are allowed, or too many bytes of them.
func TestUsageOfTooManyStates(t *testing.T) {
	for _, c := range []struct {
		feature string
		users   int
		stated  bool
	}{{"f", capability.MaxStates - 2, true}, {"f", capability.MaxStates, false}, {repeated('f', capability.MaxName), 500, true}, {repeated('f', capability.MaxName), 800, false}} {
		v := begin(t, lineItem('a', c.feature+":1.0", 1<<20))
		v.respond(capability.Response{Items: []capability.LineItem{v.l.items[0].LineItem}, Policy: capability.Policy{Detail: true, States: true}})
		v.must(SetPolicy{Name: UsageDetail, Value: "true", By: "admin"})
		for n := range c.users {
			r := v.request(fmt.Sprint("d", n), c.feature+":1.0 1")
			if r.User = fmt.Sprintf("%0200d", n); c.feature == "f" {
				r.User = fmt.Sprint(n)
			}
			d, err := v.l.Decide(v.now, Serve{Key: key(r.Hosts[0].Value), Request: r, Heard: true})
			for i := 0; err == nil && i < len(d.Entries); i++ {
				err = v.l.Apply(d.Entries[i])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		v.pass(60)
		records := c.users + 1
		if c.stated {
			if records = 0; len(v.l.States(v.now)) != c.users+1 {
				t.Errorf("%d users: %d states", c.users, len(v.l.States(v.now)))
			}
		} else if got := v.l.States(v.now); got != nil {
			t.Errorf("%d users: %d states", c.users, len(got))
		}
		if v.must(CloseUsage{}); v.l.Usage().Waiting != records {
			t.Errorf("%d users: %d records where %d are wanted", c.users, v.l.Usage().Waiting, records)
		}
	}
}
