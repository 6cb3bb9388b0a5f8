package history

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

const midnight capability.Time = 1_899_936_000 // of a day in 2030

// site is a ledger whose entries a history follows, with a record of its own of what should be known.
type site struct {
	t       *testing.T
	l       *ledger.Ledger
	h       *History
	now     ledger.Now
	serial  uint64
	calls   uint64
	entries []ledger.Entry
	agreed  int
}

func newSite(t *testing.T, items ...capability.LineItem) *site {
	s := &site{t: t, l: ledger.New(), h: New(), now: ledger.At(1000, midnight)}
	s.do(ledger.Start{BootID: "first"})
	s.provision(items...)
	return s
}

func (s *site) do(c ledger.Command) ledger.Decision {
	s.t.Helper()
	d, err := s.l.Decide(s.now, c)
	if err != nil {
		s.t.Fatalf("%T: %v", c, err)
	}
	for i := range d.Entries {
		e := d.Entries[i]
		if err := s.l.Apply(e); err != nil {
			s.t.Fatalf("%T: %v", c, err)
		}
		s.h.Add(&e)
		s.entries = append(s.entries, e)
	}
	return d
}

func (s *site) provision(items ...capability.LineItem) {
	s.t.Helper()
	s.serial++
	s.do(ledger.Provision{Digest: capability.Digest{byte(s.serial)}, Response: capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.TPMEK, Value: "00ff"}, Serial: s.serial, Time: midnight, Items: items, Policy: capability.Policy{Lease: 900},
	}})
}

func (s *site) pass(seconds capability.Seconds) {
	s.now.Lease, s.now.Wall = s.now.Lease+seconds, s.now.Wall.Add(seconds)
}

// serve asks for so many units of features for a device; of none it gives everything back.
func (s *site) serve(device int, user string, idle capability.Seconds, wants ...capability.Desired) *capability.Response {
	s.t.Helper()
	s.calls++
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: fmt.Sprintf("02000000%04x", device)}}, User: user, Idle: idle, Desired: wants}
	for i := range 8 {
		r.Correlation[15-i] = byte(s.calls >> (8 * i))
	}
	r.Correlation[0] = 1
	return s.do(ledger.Serve{Key: capability.Digest{byte(device), byte(device >> 8), 1}, Request: r, Heard: true}).Response
}

func want(feature string, count uint32) capability.Desired {
	return capability.Desired{Feature: feature, Version: capability.Version{Major: 1}, Count: count}
}

func item(id byte, feature string, count uint32) capability.LineItem {
	a, err := capability.NewActivationID(bytes.NewReader(bytes.Repeat([]byte{id}, 64)))
	if err != nil {
		panic(err) // there are bytes enough
	}
	return capability.LineItem{ActivationID: a, Feature: feature, Version: capability.Version{Major: 1}, Count: count, Copies: count}
}

// agree compares what is in use by the history with what is by the ledger.
func (s *site) agree(when string) {
	s.t.Helper()
	if s.h.now != s.now {
		return // the history hears of the time by the next entry
	}
	s.agreed++
	used := map[string]uint64{}
	for _, i := range s.l.Items(s.now) {
		if !i.Metered {
			used[i.Feature] += uint64(i.Used) + uint64(i.Overdrawn)
		}
	}
	for name, f := range s.h.features {
		if f.used != used[name] {
			s.t.Fatalf("%s: %d of %q are in use by the history, %d by the ledger", when, f.used, name, used[name])
		}
	}
}

// In random lives the history knows at each step what is in use, and at the end its days are the ledger's own records of usage.
func TestAgreesWithTheLedger(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		over := item('b', "mesh", 3)
		over.Overdraft = 2
		meter := item('c', "render", 1000)
		meter.Metered = true
		s := newSite(t, item('a', "cad", 5), over, meter)
		for step := range 400 {
			switch rng.IntN(12) {
			default:
				var wants []capability.Desired
				for _, feature := range []string{"cad", "mesh", "nothing", "render"} {
					if n := rng.IntN(4); n > 0 {
						wants = append(wants, want(feature, uint32(n)))
					}
				}
				if len(wants) == 0 {
					wants = append(wants, want("cad", 0))
				}
				s.serve(rng.IntN(9), []string{"", "ortiz", "chen"}[rng.IntN(3)], capability.Seconds(rng.IntN(600)), wants...)
			case 0, 1, 2:
				s.pass(capability.Seconds(rng.IntN(1200)))
				s.do(ledger.Advance{})
			case 3:
				s.pass(capability.Seconds(rng.IntN(100_000)))
			case 4: // off: time goes on, leases do not
				s.now.Wall = s.now.Wall.Add(capability.Seconds(leastGap + rng.IntN(100_000)))
				s.do(ledger.Start{BootID: fmt.Sprint(step)})
			case 5:
				cut := item('a', "cad", uint32(1+rng.IntN(6)))
				s.provision(cut, over, meter)
			}
			s.agree(fmt.Sprintf("seed %d, step %d", seed, step))
		}
		s.pass(2 * capability.Seconds(daySeconds))
		s.do(ledger.Advance{})
		s.do(ledger.CloseUsage{})
		if s.agreed < 200 {
			t.Errorf("seed %d: compared %d times", seed, s.agreed)
		}
		compareRecords(t, seed, s)
	}
}

// compareRecords holds the days of the history against the records that go to the back office.
func compareRecords(t *testing.T, seed uint64, s *site) {
	t.Helper()
	type total struct{ peak, seconds, served, denied uint64 }
	want, got := map[string]total{}, map[string]total{}
	c := wire.New()
	records := s.l.Records(1, 1<<30)
	if len(records) < 10 {
		t.Fatalf("seed %d: %d records of usage", seed, len(records))
	}
	for _, r := range records {
		u, err := c.DecodeUsage(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if u.Feature == "render" || u.From == s.h.since {
			continue
		}
		key := fmt.Sprint(u.Feature, " ", u.From-u.From%daySeconds)
		v := want[key]
		v.peak, v.seconds, v.served = max(v.peak, u.Peak), v.seconds+u.Seconds, v.served+u.Served
		for _, d := range u.Denials {
			v.denied += d.Count
		}
		want[key] = v
	}
	for _, name := range append(s.h.Features(), other) {
		for _, b := range s.h.Usage(Query{name, 0, forever}, Day, 0) {
			v := total{b.Peak, b.Seconds, b.Served, 0}
			for _, d := range b.Denials {
				v.denied += d.Lines
			}
			key := fmt.Sprint(name, " ", b.From-b.From%daySeconds)
			if b.From == s.h.since {
				continue
			}
			if v != (total{}) {
				got[key] = v
			}
		}
	}
	for key, v := range want {
		if got[key] != v {
			t.Errorf("seed %d: %s: the history has %+v, the record %+v", seed, key, got[key], v)
		}
	}
	for key, v := range got {
		if _, is := want[key]; !is && v.seconds+v.served+v.denied > 0 {
			t.Errorf("seed %d: %s: the history has %+v, and there is no record", seed, key, v)
		}
	}
}

// What a device says that nobody used, what a feature has in its dates and after a return, and who used it last.
func TestIdleEntitledAndLastUse(t *testing.T) {
	dated := item('b', "cad", 4)
	dated.Start, dated.Expiry = midnight+2*3600, midnight+4*3600
	over := item('c', "cad", 1)
	over.Overdraft = 2
	s := newSite(t, item('a', "cad", 6), dated, over)
	s.serve(1, "ortiz", 0, want("cad", 2))
	s.pass(600)
	s.serve(1, "ortiz", 200, want("cad", 2))
	s.pass(600)
	s.serve(1, "", 5000, want("cad", 0)) // idle for longer than since it was heard of
	s.pass(600)
	s.serve(1, "", 600, want("cad", 1)) // it had nothing then
	whole := s.h.Usage(Query{"cad", 0, forever}, Month, 0)
	if len(whole) != 1 || whole[0].Idle != 2*200+2*600 {
		t.Errorf("idle: %+v", whole)
	}
	if a, b := s.h.LastUse("ortiz", "cad"), s.h.LastUse("ortiz", "mesh"); a != midnight+600 || b != 0 {
		t.Errorf("last used %s and %s", a, b)
	}
	s.pass(5 * 3600)
	s.do(ledger.Return{ID: capability.ReturnID{1}, ActivationID: item('a', "", 0).ActivationID, Copies: 2, Epoch: 1, By: "test"})
	s.pass(3600)
	s.do(ledger.Start{BootID: "last"})
	var counts []uint64
	for _, b := range s.h.Usage(Query{"cad", midnight, forever}, Hour, 0) {
		counts = append(counts, b.Entitled.Count, b.Entitled.Overdraft)
	}
	if fmt.Sprint(counts) != "[7 2 7 2 11 2 11 2 7 2 5 2 5 2]" {
		t.Errorf("entitled: %d", counts)
	}
}

// Whoever claims another name each time fills no memory: so many are told apart, and it is said that there were more.
func TestNamesWithoutEnd(t *testing.T) {
	s := newSite(t, item('a', "cad", 1<<20))
	e := ledger.Entry{Position: s.h.first, Now: s.now}
	claim := func(n int) {
		e.Served = &ledger.Served{
			Who: ledger.Who{User: fmt.Sprint("user ", n)}, Answer: capability.Response{For: hostid.ID{Type: hostid.Ethernet, Value: "020000000001"}, Lines: []capability.Line{{Status: capability.LineInsufficient, Denial: capability.Denial{Code: capability.ErrNoSeat, Subject: "cad", Asked: 1}}}},
			Leases: []ledger.Lease{{Item: item('a', "cad", 1).ID(), Count: 1, End: s.now.Lease + 900}},
		}
		s.h.Add(&e)
	}
	for n := range maxPeople - 1 {
		claim(n)
	}
	if s.h.Crowded() {
		t.Error("it is crowded before it is")
	}
	for n := range 1000 {
		claim(maxPeople + n)
	}
	if !s.h.Crowded() || len(s.h.people) > maxPeople+1 || len(s.h.uses) > maxUses {
		t.Errorf("crowded %v: %d people, %d uses", s.h.Crowded(), len(s.h.people), len(s.h.uses))
	}
	if b := s.h.Usage(Query{"cad", 0, forever}, Month, 0); b[0].Denials[0].Lines != maxPeople+999 || b[0].Denials[0].People != maxPeople {
		t.Errorf("%+v", b[0].Denials)
	}
}

// A unit that is held for days is in use on each of them, also where nothing changed.
func TestHeldForDays(t *testing.T) {
	s := newSite(t, item('a', "cad", 6))
	s.pass(3600)
	for range 3 * 24 * 5 {
		s.serve(1, "", 0, want("cad", 1))
		s.pass(720)
	}
	s.serve(1, "", 0, want("cad", 0))
	var seconds []uint64
	for _, b := range s.h.Usage(Query{"cad", midnight, forever}, Day, 0) {
		seconds = append(seconds, b.Peak, b.Seconds)
	}
	if fmt.Sprint(seconds) != "[1 82800 1 86400 1 86400 1 3600]" {
		t.Errorf("peaks and seconds of the days: %d", seconds)
	}
}
