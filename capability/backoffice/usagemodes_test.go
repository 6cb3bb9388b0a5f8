package backoffice

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// site is an appliance's ledger and a producer's book, with files between them that may be lost.
type site struct {
	t       *testing.T
	name    string
	codec   *wire.Codec
	book    *entitlement.Book
	l       *ledger.Ledger
	ids     []capability.ActivationID
	host    entitlement.Identity
	now     ledger.Now
	calls   uint64
	life    byte
	repair  string
	stated  int // states that the book was told
	counted int // records
}

func newSite(t *testing.T, name string, states bool) *site {
	s := &site{t: t, name: name, codec: wire.New(), book: entitlement.New(), now: ledger.At(1000, 1_800_000_000)}
	key := capability.Digest{7}
	s.host = entitlement.Identity{Host: hostid.OfDigest(hostid.TPMEK, key), AKName: append([]byte{0, 11}, key[:]...), AK: key[:8], EK: key[8:16], Tier: entitlement.Hardware}
	p := entitlement.DefaultPolicy("Works")
	p.Detail, p.States, p.Repairs = true, states, entitlement.MaxRepairs
	s.write(entitlement.SetPolicy{Policy: p})
	for n, feature := range []string{"render", "solve", "count"} {
		id, err := capability.NewActivationID(strings.NewReader(strings.Repeat(string(rune('a'+n)), 18)))
		if err != nil {
			t.Fatal(err)
		}
		s.ids = append(s.ids, id)
		s.write(entitlement.Entitle{Item: entitlement.Item{ActivationID: id, Customer: "Acme", EntitlementID: "E-1", Product: "Suite", Copies: 4, Metered: feature == "count", Reusable: feature == "count",
			Features: []entitlement.Feature{{Name: feature, Version: capability.Version{Major: 1}, PerCopy: 1}}}})
	}
	s.begin()
	return s
}

// write makes a command of the book a fact.
func (s *site) write(c entitlement.Command) *entitlement.Decision {
	s.t.Helper()
	d, err := s.book.Decide(s.now.Wall, c)
	for i := 0; err == nil && i < len(d.Entries); i++ {
		var e *entitlement.Entry
		if e, err = entitlement.DecodeEntry(s.codec, d.Entries[i].Encode(s.codec)); err == nil {
			err = s.book.Apply(e)
		}
	}
	if err == nil {
		err = s.book.Check()
	}
	if err != nil {
		s.t.Fatalf("%s: %T: %v", s.name, c, err)
	}
	return d
}

// do makes a command of the ledger a fact.
func (s *site) do(c ledger.Command) ledger.Decision {
	s.t.Helper()
	d, err := s.l.Decide(s.now, c)
	for i := 0; err == nil && i < len(d.Entries); i++ {
		err = s.l.Apply(d.Entries[i])
	}
	if err == nil {
		err = s.l.Check()
	}
	if err != nil {
		s.t.Fatalf("%s: %T: %v", s.name, c, err)
	}
	return d
}

// begin is a trusted storage that was made anew.
func (s *site) begin() {
	s.life++
	s.l = ledger.New()
	start := ledger.Start{BootID: "boot", Life: capability.LifeID{s.life}}
	if s.life > 1 {
		start.Lost, s.repair = capability.ErrStorageGone, "the disk died"
	}
	s.do(start)
	s.do(ledger.SetPolicy{Name: ledger.UsageDetail, Value: "true", By: "admin"})
	s.exchange(true, true)
}

func (s *site) pass(d capability.Seconds) {
	s.now.Lease += d
	s.now.Wall = s.now.Wall.Add(d)
}

// ask is a client that wants to hold so many of each feature.
func (s *site) ask(client, render, solve, count int) {
	s.calls++
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: fmt.Sprint("client", client)}}, User: fmt.Sprint("user", client%2)}
	binary.BigEndian.PutUint64(r.Correlation[8:], s.calls)
	for n, feature := range []string{"render", "solve", "count"} {
		r.Desired = append(r.Desired, capability.Desired{Feature: feature, Count: uint32([]int{render, solve, count}[n])})
	}
	s.do(ledger.Serve{Key: capability.Digest{byte(client), 1}, Request: r, Heard: true})
}

// exchange writes a request file as an appliance does, and has it answered and applied where neither file is lost.
func (s *site) exchange(arrives, returns bool) {
	s.t.Helper()
	s.do(ledger.CloseUsage{})
	applied, _ := s.l.Applied()
	status := s.l.Status(s.now)
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{s.host.Host}, Number: status.Number + 1, Life: status.Life, Condition: status.Lost, Applied: applied.Serial, BookHead: applied.BookHead,
		Epoch: 3 + uint64(s.life), Head: capability.Head{Position: status.Position, Hash: status.Head}, Metered: s.l.Metered(), Settled: s.l.Settled(s.now), States: s.l.States(s.now), Records: s.l.Records(0, capability.MaxFile)}
	for _, w := range s.l.Outstanding() {
		r.Outstanding = append(r.Outstanding, w.Digest)
	}
	for _, id := range s.ids {
		r.Desired = append(r.Desired, capability.Desired{ActivationID: id, Count: 4})
	}
	s.calls++
	binary.BigEndian.PutUint64(r.Correlation[8:], s.calls)
	if err := r.Validate(); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	digest := s.codec.RequestDigest(&r)
	s.do(ledger.WriteRequest{Number: r.Number, Digest: digest, Epoch: r.Epoch, By: "admin"})
	if !arrives {
		return
	}
	d := s.write(entitlement.Answer{Request: &r, Digest: digest, Identity: s.host, By: "operator", Repair: s.repair})
	s.repair = ""
	s.stated, s.counted = s.stated+len(d.Answered().States), s.counted+len(d.Answered().Records)
	if returns {
		s.do(ledger.Provision{Response: *d.Response, Digest: capability.Digest(binary.BigEndian.AppendUint64(make([]byte, 24), d.Response.Serial))})
	}
}

// settle tells the book everything up to now: in an hour nothing waits, and nothing is too young to be told.
func (s *site) settle() {
	s.exchange(true, true)
	s.pass(3600)
	s.exchange(true, true)
}

func (s *site) set(states bool) {
	p := s.book.Policy()
	p.States = states
	s.write(entitlement.SetPolicy{Policy: p, By: "operator"})
}

// Full history, states, and a policy that changes between them add up to the same in the book, day by day, user by user and code by code: whatever files are lost, and
// with a trusted storage that is lost in between.
func TestUsageModesAddUpAlike(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 12
	}
	var stated, counted [3]int
	for seed := range uint64(seeds) {
		sites := [3]*site{newSite(t, fmt.Sprint("seed ", seed, ", history"), false), newSite(t, fmt.Sprint("seed ", seed, ", states"), true), newSite(t, fmt.Sprint("seed ", seed, ", both"), seed%2 == 0)}
		all := func(f func(*site)) {
			for _, s := range sites {
				f(s)
			}
		}
		rng := rand.New(rand.NewPCG(seed, 47))
		lost := 0
		for range 150 {
			switch k := rng.IntN(24); {
			case k < 12:
				client, render, solve, count := rng.IntN(4), rng.IntN(4), rng.IntN(6), rng.IntN(3)
				all(func(s *site) { s.ask(client, render, solve, count) })
			case k < 17:
				d := capability.Seconds(rng.IntN(8000))
				all(func(s *site) { s.pass(d) })
			case k < 18:
				d := capability.Seconds(rng.IntN(3 * 86400))
				all(func(s *site) { s.pass(d) })
			case k < 22:
				arrives, returns := rng.IntN(3) > 0, rng.IntN(3) > 0
				all(func(s *site) { s.exchange(arrives, returns) })
			case k < 23:
				sites[2].set(rng.IntN(2) == 0)
			case lost < 2 && rng.IntN(4) == 0:
				lost++
				all(func(s *site) { s.settle(); s.begin() })
			default: // the book is read again from what was written down
				all(func(s *site) {
					b, err := entitlement.Restore(s.book.Snapshot())
					if err != nil || b.Digest() != s.book.Digest() {
						t.Fatalf("%s: restore: %v", s.name, err)
					}
					s.book = b
				})
			}
		}
		all((*site).settle)
		var want []entitlement.UsageRow
		for i, s := range sites {
			stated[i], counted[i] = stated[i]+s.stated, counted[i]+s.counted
			rows := slices.Collect(s.book.EachUsage(0, 1<<40, ""))
			sums, _ := s.book.Synced(s.host.Host)
			for _, r := range rows {
				if r.User == "" {
					sums.Served, sums.Seconds, sums.Denied = sums.Served-r.Served, sums.Seconds-r.Seconds, sums.Denied-r.Denied()
				}
			}
			if sums.Served+sums.Seconds+sums.Denied+sums.Missing != 0 {
				t.Fatalf("%s: the rows are short of the sums by %d served, %d seconds, %d denied; %d records missing", s.name, sums.Served, sums.Seconds, sums.Denied, sums.Missing)
			}
			if i == 0 {
				want = rows
			}
			for n := range rows {
				// A part of a day in which what is metered was only held says nothing, and so not how much that was; of the whole day the most is told.
				if n < len(want) && rows[n].Feature == "count" && rows[n].Peak > want[n].Peak {
					rows[n].Peak = want[n].Peak
				}
			}
			for n := range max(len(rows), len(want)) {
				if n >= len(rows) || n >= len(want) || !reflect.DeepEqual(rows[n], want[n]) {
					t.Fatalf("%s: row %d of %d and %d:\n%+v\n%+v", s.name, n, len(rows), len(want), rows[n:min(n+1, len(rows))], want[n:min(n+1, len(want))])
				}
			}
		}
	}
	t.Logf("%v states and %v records were told", stated, counted)
	if stated[0] != 0 || stated[1] == 0 || stated[2] == 0 || counted[1] >= counted[0] {
		t.Errorf("%v states and %v records were told", stated, counted)
	}
}
