package storage_test

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/storage"
)

// BenchmarkCommit is one group of one entry in a real directory, with an anchor that costs nothing: the price is one fdatasync.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{300, 20 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			o := onDisk(true)
			v, err := storage.Create(storage.Dir(b.TempDir()), o, nil, nil)
			must(b, err)
			must(b, v.Begin())
			group := [][]byte{make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				must(b, v.Commit(group))
				if v.JournalBytes() > 16<<20 {
					must(b, v.Snapshot(nil))
				}
			}
			b.StopTimer()
			must(b, v.Close())
		})
	}
}

// BenchmarkGroup is a group of so many entries of 300 bytes; us/entry is the share of each.
func BenchmarkGroup(b *testing.B) {
	for _, n := range []int{1, 8, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := onDisk(true)
			v, err := storage.Create(storage.Dir(b.TempDir()), o, nil, nil)
			must(b, err)
			must(b, v.Begin())
			group := make([][]byte, n)
			for i := range group {
				group[i] = make([]byte, 300)
			}
			b.ReportAllocs()
			for b.Loop() {
				must(b, v.Commit(group))
				if v.JournalBytes() > 16<<20 {
					must(b, v.Snapshot(nil))
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/entry")
			must(b, v.Close())
		})
	}
}

// BenchmarkOpen reads a journal of 100,000 records of 100 bytes, 64 a group.
func BenchmarkOpen(b *testing.B) {
	d, o := storage.Dir(b.TempDir()), onDisk(true)
	v, err := storage.Create(d, o, nil, nil)
	must(b, err)
	must(b, v.Begin())
	group := make([][]byte, 64)
	for i := range group {
		group[i] = make([]byte, 100)
	}
	for range 100_000 / 64 {
		must(b, v.Commit(group))
	}
	must(b, v.Close())
	b.ReportAllocs()
	for b.Loop() {
		v, r, err := storage.Open(d, o)
		must(b, err)
		if len(r.Records) < 99_000 {
			b.Fatalf("%d records", len(r.Records))
		}
		must(b, v.Close())
	}
}

// TestCommitAllocates holds the hot path to few allocations: what a group costs beside its goroutine and the anchor of the test.
// Two make the schedule of the key, which is not kept on the heap from one group to the next.
func TestCommitAllocates(t *testing.T) {
	o := onDisk(false)
	v, err := storage.Create(storage.Dir(t.TempDir()), o, nil, nil)
	must(t, err)
	must(t, v.Begin())
	group := [][]byte{make([]byte, 300)}
	must(t, v.Commit(group))
	if n := testing.AllocsPerRun(200, func() { must(t, v.Commit(group)) }); n > 6 {
		t.Fatalf("a commit allocates %.1f times", n)
	}
	must(t, v.Close())
}
