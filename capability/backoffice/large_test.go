package backoffice

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// grow entitles items to an office and answers a tenth as many machines, each holding ten of them, as long as it takes: then it lets go of the history.
func grow(t testing.TB, o *Office, items int) {
	t.Helper()
	codec := wire.New()
	scratch, err := entitlement.Restore(o.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var entries []*entitlement.Entry
	do := func(c entitlement.Command) {
		d, err := scratch.Decide(today, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Entries {
			if err := scratch.Apply(e); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
		if len(entries) >= importGroup {
			if err := o.commitGroups(entries); err != nil {
				t.Fatal(err)
			}
			entries = nil
		}
	}
	seed := func(n int) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	ids := make([]capability.ActivationID, items)
	for n := range items {
		s := seed(n)
		ids[n] = must(capability.NewActivationID(bytes.NewReader(s[:])))
		product := n / 3 % 500
		do(entitlement.Entitle{By: "operator", Item: entitlement.Item{ActivationID: ids[n], Customer: fmt.Sprint("Customer ", n/200), EntitlementID: fmt.Sprintf("ENT-2026-%06d", n/4), Product: fmt.Sprint("Product ", product),
			Copies: uint32(n%40 + 1), Expiry: 1_900_000_000, Features: []entitlement.Feature{{Name: fmt.Sprint("feature-", product), PerCopy: 1}, {Name: fmt.Sprint("export-", product), PerCopy: 5}}}})
	}
	for n := range items / 10 {
		s := seed(items + n)
		r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{hostid.OfDigest(hostid.TPMEK, s)}, Number: 1, Epoch: 3, Life: capability.LifeID{1}, Alias: fmt.Sprint("hall ", n)}
		binary.BigEndian.PutUint64(r.Correlation[:], uint64(n)+1)
		for _, id := range ids[n*10 : n*10+10] {
			r.Desired = append(r.Desired, capability.Desired{ActivationID: id, Count: 1})
		}
		do(entitlement.Answer{Request: r, Digest: codec.RequestDigest(r), By: "operator",
			Identity: entitlement.Identity{Host: r.Hosts[0], AKName: append([]byte{0, 11}, s[:]...), AK: append(s[:], make([]byte, 56)...), EK: append(s[:], make([]byte, 90)...), Tier: entitlement.Hardware}})
	}
	if err := o.commitGroups(entries); err != nil {
		t.Fatal(err)
	}
	if err := o.compact(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkOpen opens a back office from a disk, keys and all, by its number of line items; there is a machine for every ten of them. The pages are of 100 lines. The goal for 1,000,000 line items
// and 100,000 machines is 3 s, and 100 ms a page.
//
//	go test ./capability/backoffice -run '^$' -bench 'Open/1000000' -benchtime 3x
func BenchmarkOpen(b *testing.B) {
	for _, items := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(items), func(b *testing.B) {
			if items > 10_000 && testing.Short() {
				b.Skip("it takes minutes to make")
			}
			p := Dir(b.TempDir())
			s := setup(b)
			if _, err := Create(p, passphrase(), s, today, rand.Reader); err != nil {
				b.Fatal(err)
			}
			o := mustOpen(b, p, rand.Reader)
			grow(b, o, items)
			if err := o.Close(); err != nil {
				b.Fatal(err)
			}
			o = nil
			runtime.GC()
			for b.Loop() {
				spent := processorTime(b)
				o = mustOpen(b, p, rand.Reader)
				b.StopTimer()
				b.ReportMetric((processorTime(b) - spent).Seconds(), "cpu-s/op")
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB")
				book := o.Book()
				page, _ := book.ItemPage(today, entitlement.ItemFilter{}, "", 100)
				began := time.Now()
				book.ItemPage(today, entitlement.ItemFilter{}, page[len(page)-1].ActivationID, 100)
				b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/page")
				began = time.Now()
				book.ItemPage(today, entitlement.ItemFilter{State: entitlement.Suspended}, "", 100)
				b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/search")
				began = time.Now()
				book.HostPage(entitlement.HostFilter{}, page[0].Hosts[0].Host, 100)
				b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/hosts")
				if err := o.Close(); err != nil {
					b.Fatal(err)
				}
				o = nil
				b.StartTimer()
			}
		})
	}
}

// processorTime is what the process has used: the figure that other load on the machine does not change much.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A book of some thousands opens from its state, has all its history, and is changed and opened again.
func TestLargeBook(t *testing.T) {
	p, o := newOffice(t, nil)
	const items = 3000
	grow(t, o, items)
	o.Close()
	o = mustOpen(t, p, rand.Reader)
	if n := len(o.past.fresh); n != 0 || o.past.base != 1+items+items/10 {
		t.Errorf("a start reads %d entries, the history has %d", n, o.past.base)
	}
	verify(t, o, "large", 1+items+items/10)
	entitle(t, o, 1)
	o.Close()
	o = mustOpen(t, p, rand.Reader)
	defer o.Close()
	if n, hosts := o.Book().Size(); n != items+1 || hosts != items/10 || len(o.past.fresh) != 1 {
		t.Errorf("%d items, %d hosts, %d entries read", n, hosts, len(o.past.fresh))
	}
	verify(t, o, "changed", 2+items+items/10)
}
