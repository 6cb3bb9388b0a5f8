package ledger

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// agreeOnEntry reads b by hand and by the library. What is taken by hand is what the library makes of it.
func agreeOnEntry(t testing.TB, c *wire.Codec, b []byte) (taken bool) {
	t.Helper()
	var hand Entry
	taken = readByHand(b, MaxEntry, &hand, (*Entry).read)
	library, err := decodeByLibrary(c, b)
	switch {
	case taken && err != nil:
		t.Errorf("%x is taken by hand, and by the library: %v", b, err)
	case taken && !reflect.DeepEqual(hand, library):
		t.Errorf("%x is\n%+v by hand,\n%+v by the library", b, hand, library)
	case taken && !bytes.Equal(hand.Encode(c), b):
		t.Errorf("%x is taken by hand and encoded as\n%x", b, hand.Encode(c))
	case !taken && !reflect.DeepEqual(hand, Entry{}):
		t.Errorf("%x is not taken by hand, and leaves %+v", b, hand)
	}
	return taken
}

func agreeOnRow(t testing.TB, c *wire.Codec, b []byte) (taken bool) {
	t.Helper()
	var hand, library rowPart
	taken = readByHand(b, maxPart, &hand, (*rowPart).read)
	err := c.Decode(b, &library, maxPart)
	switch {
	case taken && err != nil:
		t.Errorf("row %x is taken by hand, and by the library: %v", b, err)
	case taken && !reflect.DeepEqual(hand, library):
		t.Errorf("row %x is\n%+v by hand,\n%+v by the library", b, hand, library)
	case !taken && !reflect.DeepEqual(hand, rowPart{}):
		t.Errorf("row %x is not taken by hand, and leaves %+v", b, hand)
	}
	return taken
}

// parts are those of a snapshot.
func parts(snapshot []byte) (list [][]byte) {
	for len(snapshot) > 0 {
		n := 4 + binary.BigEndian.Uint32(snapshot)
		list, snapshot = append(list, snapshot[4:n]), snapshot[n:]
	}
	return list
}

// full are an entry and a row with all that is read by hand.
func full() (*Entry, *rowPart) {
	k := capability.Digest{1}
	source := Source{Pool: "p", Entry: 300, Overdraft: true}
	item := capability.ItemID{ActivationID: "a", Feature: "render"}
	e := &Entry{
		Position: 1 << 40, Previous: capability.Digest{2}, Now: At(0, day), Transfers: []Transfer{{Item: 1, Share: 2, Count: -3}, {}}, Booked: []Booking{{Item: 1, Count: 2}, {}},
		Served: &Served{
			Answer: capability.Response{Version: 1, For: hostid.OfDigest(hostid.DeviceKey, k), Key: k, Serial: 70_000, Correlation: capability.CorrelationID{3}, Time: day},
			Body:   capability.Digest{4}, Leases: []Lease{{Item: item, Count: 1, End: -1, Dropped: true, Told: day, Source: source, Lead: 24}, {Item: item}}, Receipt: 256,
			Who: Who{User: "u", Alias: "zoë", DeviceType: "d"}, Idle: 1, Spent: 65536, Until: 1 << 32, Claimed: []Booking{{Count: 9}},
		},
	}
	p := &rowPart{
		ID: hostid.ID{Type: hostid.Ethernet, Value: "d1"}, Key: k, Serial: 23, Correlation: capability.CorrelationID{5}, Body: capability.Digest{6}, Answer: []byte{7}, Who: e.Served.Who,
		Leases: []leasePart{{Item: 1, Slice: 2, Count: 1 << 30, End: -5, Told: day, Dropped: true}, {}}, Active: 24, Until: 255,
		Earlier: []remembered{{Correlation: capability.CorrelationID{8}, Body: capability.Digest{9}, Answer: []byte{1, 2}, Until: 1}}, Leads: []capability.Seconds{0, 1},
	}
	return e, p
}

func TestReadByHand(t *testing.T) {
	c := wire.New()
	v := everything(t)
	entry, row := full()
	entries, rows := [][]byte{entry.Encode(c)}, [][]byte{c.Encode(row)}
	for _, e := range v.entries {
		entries = append(entries, e.Encode(c))
	}
	rows = append(rows, parts(v.l.Snapshot())...) // the header and the items are no rows
	for name, kind := range map[string]struct {
		all   [][]byte
		agree func(testing.TB, *wire.Codec, []byte) bool
		real  int
	}{"entries": {entries, agreeOnEntry, 5}, "rows": {rows, agreeOnRow, 2}} {
		taken, tried := 0, 0
		try := func(b []byte) bool {
			tried++
			ok := kind.agree(t, c, b)
			if ok {
				taken++
			}
			return ok
		}
		whole := 0
		for n, b := range kind.all {
			if len(b) > 2000 {
				continue
			}
			if try(b) {
				whole++
			} else if n == 0 {
				t.Errorf("%s: %x was not taken", name, b)
			}
			try(append(slices.Clone(b), 0))
			for i := 0; i < len(b) && !t.Failed(); i++ {
				try(b[:i])
				try(slices.Delete(slices.Clone(b), i, i+1))
				try(slices.Insert(slices.Clone(b), i, []byte{0x00, 0x18, 0x60, 0xa0, 0xf6, 0xff}[i%6]))
				for _, bit := range []byte{0x01, 0x20, 0x80} {
					bad := slices.Clone(b)
					bad[i] ^= bit
					try(bad)
				}
			}
		}
		if whole < kind.real || taken < 300 || tried < 2*taken {
			t.Errorf("%s: %d real ones and %d of %d in all were taken", name, whole, taken, tried)
		}
	}
	for what, b := range map[string][]byte{"who": {0xa2, 3, 0x82, 0, 0, 13, 0xa1, 5, 0xa0}, "source": {0xa2, 3, 0x82, 0, 0, 13, 0xa1, 3, 0x81, 0xa2, 1, 0x82, 0x61, 'a', 0x61, 'f', 6, 0xa0}, "answer": {0xa2, 3, 0x82, 0, 0, 13, 0xa1, 1, 0xa0}, "date": {0xa2, 1, 1, 13, 0xa0}} {
		if agreeOnEntry(t, c, b) {
			t.Errorf("an empty %s was taken", what)
		}
	}
}
