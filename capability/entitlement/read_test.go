package entitlement

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// records are those of a snapshot, without their lengths.
func records(snapshot []byte) (list [][]byte) {
	for len(snapshot) > 0 {
		n := binary.BigEndian.Uint32(snapshot)
		list = append(list, snapshot[4:4+n])
		snapshot = snapshot[4+n:]
	}
	return list
}

// lived is a book with something of everything that is read by hand.
func lived(t testing.TB) *world {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, func(i *Item) {
		i.Start, i.Expiry, i.MinimumTier, i.User = 5, 1_900_000_000, Virtual, "eva"
		i.Features = append(i.Features, Feature{Name: "export", PerCopy: 300})
	})
	w.entitle(2, 1, func(i *Item) { i.Metered, i.Limits = true, []TierLimit{{Tier: Virtual, Copies: 1}} })
	m := newMachine(1)
	m.audited, m.shown = true, 2
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	m.request(2)
	m.giveBack(id, 1)
	a := m.request(3)
	a.Boot, a.Shown = make([]byte, StateBytes), Shown{"why", "kvm", "signed"}
	w.mustDo(a)
	return w
}

// half is a piece in which the record can come, and a book that has an item, unless that is one.
func half(t testing.TB, record []byte) (*piece, *joining) {
	b := New()
	b.policy, b.length = anyTier(), 9
	if sectionKey(record) != 2 {
		b.addItem(&item{Item: Item{ActivationID: testID(t, 1), Copies: 1000}})
	}
	p := &piece{reader: newReader()}
	p.host(&hostRecord{Identity: Identity{Host: hostid.ID{Type: hostid.String, Value: "h"}}})
	p.last().Past = []PastLife{{}}
	return p, &joining{book: b}
}

// readTwice reads a record as a start does, and by the library alone, and wants the same of both.
func readTwice(t testing.TB, record []byte) error {
	t.Helper()
	hand, joinedByHand := half(t, record)
	library, joined := half(t, record)
	err := hand.record(joined.book.codec, record)
	var s section
	libraryErr := joined.book.codec.Decode(record, &s, maxRecord)
	if libraryErr == nil && record[0] != onePair {
		libraryErr = errors.New("it is not of one section")
	}
	if libraryErr == nil {
		libraryErr = library.section(&s)
	}
	for _, half := range []struct {
		err *error
		p   *piece
		r   *joining
	}{{&err, hand, joinedByHand}, {&libraryErr, library, joined}} {
		if *half.err == nil {
			half.r.book.nameAll([]*piece{half.p})
			half.p.find(half.r.book)
			*half.err = half.r.piece(half.p)
		}
	}
	if (err == nil) != (libraryErr == nil) {
		t.Fatalf("%x: by hand %v, by the library %v", record, err, libraryErr)
	}
	if err == nil && string(joinedByHand.book.Snapshot()) != string(joined.book.Snapshot()) {
		t.Fatalf("%x: read by hand as another record than by the library", record)
	}
	return err
}

// What is read by hand is what the library reads, for good records and for those with a byte that is another.
func TestReadByHand(t *testing.T) {
	w := lived(t)
	for _, record := range records(w.book.Snapshot()) {
		if err := readTwice(t, record); err != nil {
			t.Errorf("%x: %v", record, err)
		}
		for i := range record {
			for _, bit := range []byte{1, 4, 0x20, 0x80} {
				bad := append([]byte{}, record...)
				bad[i] ^= bit
				readTwice(t, bad)
			}
			readTwice(t, record[:i])
		}
	}
}

func FuzzReadByHand(f *testing.F) {
	for _, record := range records(lived(f).book.Snapshot()) {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record []byte) { readTwice(t, record) })
}

// Every section has its place, and one that is behind it is not taken.
func TestSectionsInOrder(t *testing.T) {
	list := ranks()
	s := reflect.TypeFor[section]()
	for i := range s.NumField() {
		key := 0
		for _, c := range s.Field(i).Tag.Get("cbor") {
			if c < '0' || c > '9' {
				break
			}
			key = key*10 + int(c-'0')
		}
		if list[key] == 0 {
			t.Errorf("section %s, key %d, has no place", s.Field(i).Name, key)
		}
	}
	w := lived(t)
	all := records(w.book.Snapshot())
	for n := range len(all) - 1 {
		a, b := sectionKey(all[n]), sectionKey(all[n+1])
		if a == b {
			continue // then their order is theirs
		}
		var out []byte
		for i, record := range all {
			switch i {
			case n:
				record = all[n+1]
			case n + 1:
				record = all[n]
			}
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(record))), record...)
		}
		if _, err := Restore(out); !errors.Is(err, ErrCorrupt) {
			t.Errorf("section %d before %d: %v", b, a, err)
		}
	}
}

// Pages walk through all, each once, and say where there is more.
func TestPages(t *testing.T) {
	b := large(t, 1000)
	for name, c := range map[string]struct {
		filter ItemFilter
		want   int
	}{
		"all": {ItemFilter{}, 1000}, "customer": {ItemFilter{Customer: "Customer 3"}, 200}, "both": {ItemFilter{Customer: "Customer 3", Product: "Product 201"}, 3},
		"nobody": {ItemFilter{Customer: "Customer 5"}, 0}, "entitlement": {ItemFilter{EntitlementID: "ENT-2026-000007"}, 4}, "state": {ItemFilter{State: FullyUsed}, 25},
	} {
		for _, limit := range []int{1, 7, 200, 5000} {
			seen, after := 0, capability.ActivationID("")
			for {
				page, more := b.ItemPage(1_800_000_000, c.filter, after, limit)
				if len(page) > limit || more && len(page) < limit {
					t.Fatalf("%s: a page of %d, limit %d, more %v", name, len(page), limit, more)
				}
				for _, v := range page {
					if f := c.filter; f.Customer != "" && v.Customer != f.Customer || f.Product != "" && v.Product != f.Product || f.State != "" && v.State != f.State {
						t.Fatalf("%s: %+v is on the page", name, v)
					}
					if len(v.Hosts) != 1 || v.Used != 1 {
						t.Fatalf("%s: %d hosts, %d used", name, len(v.Hosts), v.Used)
					}
					after = v.ActivationID
				}
				if seen += len(page); !more {
					break
				}
			}
			if seen != c.want {
				t.Errorf("%s by %d: %d items, want %d", name, limit, seen, c.want)
			}
		}
	}
	first, more := b.HostPage(HostFilter{}, hostid.ID{}, 60)
	rest, end := b.HostPage(HostFilter{}, first[59].Host, 60)
	if !more || end || len(rest) != 40 || first[0].Alias != "hall 0" || rest[0].Alias != "hall 60" {
		t.Errorf("%d hosts, %v, then %d, %v", len(first), more, len(rest), end)
	}
	only, _ := b.HostPage(HostFilter{ID: func(id hostid.ID) bool { return id == rest[3].Host }}, hostid.ID{}, 60)
	if len(only) != 1 || only[0].Alias != "hall 63" {
		t.Errorf("one host: %+v", only)
	}
}

// A snapshot of many is read as it was written.
func TestRestoreMany(t *testing.T) {
	b := large(t, 5000)
	again, err := Restore(b.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != b.Digest() {
		t.Error("the restored book differs")
	}
}
