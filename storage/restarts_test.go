package storage_test

import (
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// Each start and each move leaves a segment that is almost empty. They count for what the next start reads, or a daemon that ends again and again would
// never take a snapshot, and read gigabytes in the end.
func TestRestartsCountInTheJournal(t *testing.T) {
	m := storagetest.New(4)
	v, err := storage.Create(m.Disk, m.Options(), nil, []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	const limit = 40 * storage.MinSegmentBytes
	for n := range 200 {
		if err := v.Begin([]byte("run")); err != nil {
			t.Fatal(err)
		}
		if v.JournalBytes() > limit {
			if err := v.Snapshot([]byte("state")); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.Commit([][]byte{[]byte("entry")}); err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, b := range m.Disk.Copy() {
			size += int64(len(b))
		}
		if size > limit+20*storage.MinSegmentBytes {
			t.Fatalf("start %d: %d bytes on the disk, and JournalBytes says %d", n, size, v.JournalBytes())
		}
		m.Kill()
		if v, _, err = storage.Open(m.Disk, m.Options()); err != nil {
			t.Fatal(err)
		}
	}
}
