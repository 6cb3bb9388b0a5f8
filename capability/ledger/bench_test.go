package ledger

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// rowsToTry are the sizes of a ledger; the largest takes half a minute to make, and is left out with -short.
func rowsToTry() []int {
	if testing.Short() {
		return []int{100, 10_000}
	}
	return []int{100, 10_000, 1_000_000}
}

// stand is a ledger under benchmark: every command is decided and applied, and nothing is encoded.
type stand struct {
	testing.TB
	l    *Ledger
	now  Now
	call uint64
}

func (s *stand) do(c Command) {
	d, err := s.l.Decide(s.now, c)
	for _, e := range d.Entries {
		if err == nil {
			err = s.l.Apply(e)
		}
	}
	if err != nil {
		s.Fatal(err)
	}
}

func newStand(b testing.TB, counts uint32) *stand {
	s := &stand{TB: b, l: New(), now: At(1000, day), call: 1 << 40}
	r := capability.Response{Version: capability.Protocol, For: hostid.ID{Type: hostid.TPMEK, Value: "aa"}, Serial: 1, Time: day, Policy: capability.Policy{Lease: capability.MaxLease}}
	r.Items = []capability.LineItem{lineItem('a', "f0:1.0", counts)}
	s.do(Provision{Response: r, Digest: capability.Digest{1}})
	return s
}

// cycle takes a count and gives it back: two commands.
func (s *stand) cycle(device int) {
	for _, n := range []uint32{1, 0} {
		s.call++
		s.do(crowdServe(device, s.call, "f0", n))
	}
}

func (s *stand) cycles(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s.cycle(int(s.call % 64))
	}
}

// BenchmarkGrant is a count taken and given back, among so many that are free.
func BenchmarkGrant(b *testing.B) {
	for _, n := range []uint32{100, 10_000} {
		b.Run(fmt.Sprintf("%d-free", n), func(b *testing.B) { newStand(b, n).cycles(b) })
	}
	for _, n := range rowsToTry() {
		b.Run(fmt.Sprintf("%d-leases", n), func(b *testing.B) {
			l, now := crowd(b, n)
			s := &stand{TB: b, l: l, now: now, call: 1 << 40}
			b.ReportAllocs()
			for b.Loop() {
				s.cycle(n + 1)
			}
		})
	}
}

// BenchmarkPools is the same where a model of so many pools routes each request by its alias.
func BenchmarkPools(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStand(b, 10_000)
			var pools, rules strings.Builder
			for i := range n {
				fmt.Fprintf(&pools, "partition \"p%d\" {\"f0\" 1.0 50}\n", i)
				fmt.Fprintf(&rules, "on dictionary(\"bu\" : \"%d\") {use \"p%d\" accept}\n", i, i)
			}
			s.do(SetModel{Text: []byte("model \"m\" { partitions { " + pools.String() + " } " + rules.String() + " on any() {use \"default\" accept} }"), By: "admin"})
			b.ReportAllocs()
			for b.Loop() {
				for _, count := range []uint32{1, 0} {
					s.call++
					c := crowdServe(7, s.call, "f0", count)
					c.Request.Dictionary = []capability.Pair{{Key: "bu", Value: fmt.Sprint(n - 1)}}
					s.do(c)
				}
			}
		})
	}
}

// BenchmarkReservations is the same for a device with a reservation, among so many.
func BenchmarkReservations(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStand(b, 10_000)
			var words []string
			for i := range n {
				words = append(words, fmt.Sprintf("%012x/ETHERNET f0:1.0 1", i))
			}
			s.do(SetReservations{Groups: groups("g", words...)})
			b.ReportAllocs()
			for b.Loop() {
				s.cycle(7)
			}
		})
	}
}

// unheard is a device that holds that many units, each of which ends at another time, and has never said what it heard.
func unheard(t testing.TB, units int) *stand {
	s := newStand(t, uint32(2*units))
	for n := 1; n <= units; n++ {
		s.askUnheard(n, n)
	}
	return s
}

func (s *stand) askUnheard(units, sooner int) {
	s.call++
	c := crowdServe(7, s.call, "f0", uint32(units))
	c.Request.Borrow = capability.MaxLease - capability.Seconds(sooner)
	s.do(c)
}

// BenchmarkUnheard is a request that changes nothing of a device with so many ends that it may believe in.
func BenchmarkUnheard(b *testing.B) {
	for _, n := range []int{1, 10, 100, 450} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := unheard(b, n)
			b.ReportAllocs()
			for b.Loop() {
				s.askUnheard(n, n)
			}
		})
	}
}

// BenchmarkDecideAndApply tells the two apart, with what is encoded for the journal and what a start reads.
func BenchmarkDecideAndApply(b *testing.B) {
	s := newStand(b, 10_000)
	s.cycle(7)
	serve := func() Serve {
		s.call++
		return crowdServe(7, s.call, "f0", 1)
	}
	b.Run("decide", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.l.Decide(s.now, serve()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("both", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.do(serve())
		}
	})
	d, err := s.l.Decide(s.now, serve())
	if err != nil {
		b.Fatal(err)
	}
	e := d.Entries[0]
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Encode(wire.New())
		}
	})
	text := e.Encode(wire.New())
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeEntry(wire.New(), text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRefuse is a request for more than there is.
func BenchmarkRefuse(b *testing.B) {
	s := newStand(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		s.call++
		s.do(crowdServe(7, s.call, "f0", 101))
	}
}

// BenchmarkRestore makes a ledger from a snapshot, as a start does.
func BenchmarkRestore(b *testing.B) {
	for _, n := range rowsToTry() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, _ := crowd(b, n)
			snapshot := l.Snapshot()
			b.SetBytes(int64(len(snapshot)))
			for b.Loop() {
				if _, err := Restore(snapshot); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(snapshot))/float64(n), "B/lease")
		})
	}
}

// BenchmarkSnapshot writes one.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range rowsToTry() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, _ := crowd(b, n)
			b.ReportAllocs()
			for b.Loop() {
				l.Snapshot()
			}
		})
	}
}

// BenchmarkCollect is a full garbage collection beside a ledger of so many leases; gc-ms is the CPU that it takes.
func BenchmarkCollect(b *testing.B) {
	for _, n := range rowsToTry() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, _ := crowd(b, n)
			runtime.GC()
			spent := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
			metrics.Read(spent)
			before := spent[0].Value.Float64()
			for b.Loop() {
				runtime.GC()
			}
			metrics.Read(spent)
			b.ReportMetric((spent[0].Value.Float64()-before)*1000/float64(b.N), "gc-ms")
			runtime.KeepAlive(l)
		})
	}
}
