package entitlement

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// large is a book of so many items, a tenth as many hosts, and ten items on each host: what a producer has after years. Each host was answered three times.
func large(t testing.TB, items int) *Book {
	b := New()
	b.policy, b.length, b.last, b.head = anyTier(), uint64(items)*2, 1_800_000_000, capability.Digest{1}
	digest := func(n int) capability.Digest { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	for n := range items {
		product := n / 3 % 500
		i := &item{Item: Item{ActivationID: testID(t, uint64(n)), Customer: fmt.Sprint("Customer ", n/200), EntitlementID: fmt.Sprintf("ENT-2026-%06d", n/4), Product: fmt.Sprint("Product ", product),
			ProductVersion: capability.Version{Major: 2026}, Copies: uint32(n%40 + 1), Expiry: 1_900_000_000, Issued: 1_790_000_000,
			Features: []Feature{{Name: fmt.Sprint("feature-", product), Version: capability.Version{Major: 2026, Minor: 1}, PerCopy: 1}, {Name: fmt.Sprint("export-", product), PerCopy: 5}}}}
		b.addItem(i)
	}
	for n := range items / 10 {
		d := digest(n)
		h := &Host{Identity: Identity{Host: hostid.OfDigest(hostid.TPMEK, d), AKName: append([]byte{0, 11}, d[:]...), AK: append(d[:], make([]byte, 56)...), EK: append(d[:], make([]byte, 90)...), Tier: Hardware},
			Alias: "hall " + strconv.Itoa(n), Proven: true, Epoch: 7, Answered: 3, Serial: 3, Life: capability.LifeID{1}}
		for k := range uint64(3) {
			d := digest(items + 3*n + int(k))
			h.Requests = append(h.Requests, Known{Number: k + 1, Digest: d, Serial: k + 1, Head: d, File: d, Time: 1_799_000_000, Audit: capability.Head{Position: 100 + k, Hash: d}})
			b.answered[d] = h
		}
		h.Appearances = []Appearance{{Number: 1, Time: 1_799_000_000, Tier: Hardware, Why: "a certificate of a maker of TPMs", State: make([]byte, StateBytes), Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: fmt.Sprintf("%012X", n)}}}}
		b.addHost(h)
		for k := range 10 {
			i := b.items[n*10+k]
			h.hold(i.ActivationID, 1)
			i.used++
		}
		b.reindex(h, nil)
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	return b
}

// sizes are numbers of items; the largest is what a back office must hold.
func sizes(b *testing.B, run func(b *testing.B, book *Book)) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("it takes a minute to make")
			}
			run(b, large(b, n))
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	sizes(b, func(b *testing.B, book *Book) {
		s := book.Snapshot()
		*book = Book{}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.SetBytes(int64(len(s)))
		b.ResetTimer()
		for b.Loop() {
			again, err := Restore(s)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB/book")
			runtime.KeepAlive(again)
			b.StartTimer()
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	sizes(b, func(b *testing.B, book *Book) {
		for b.Loop() {
			b.SetBytes(int64(len(book.Snapshot())))
		}
	})
}

func BenchmarkPage(b *testing.B) {
	sizes(b, func(b *testing.B, book *Book) {
		half := book.items[len(book.items)/2].ActivationID
		for name, f := range map[string]ItemFilter{"all": {}, "customer": {Customer: book.items[len(book.items)/2].Customer}, "none": {State: Expired}} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					book.ItemPage(1_800_000_000, f, half, 100)
				}
			})
		}
		b.Run("hosts", func(b *testing.B) {
			for b.Loop() {
				book.HostPage(HostFilter{ID: func(id hostid.ID) bool { return id.Value[:4] == "7F3A" }}, hostid.ID{}, 100)
			}
		})
	})
}
