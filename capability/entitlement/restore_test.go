package entitlement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// backwards is a Beside that begins with the last task.
func backwards(n int, task func(int)) {
	for n > 0 {
		n--
		task(n)
	}
}

// atOnce is a Beside that runs all tasks at the same time.
func atOnce(n int, task func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { task(i) })
	}
	all.Wait()
}

// joined is a snapshot of those records.
func joined(records [][]byte) (snapshot []byte) {
	for _, r := range records {
		snapshot = append(binary.BigEndian.AppendUint32(snapshot, uint32(len(r))), r...)
	}
	return snapshot
}

// Into whatever pieces a snapshot is cut, and whoever reads them first: it gives the same book, or the same error.
func TestPieces(t *testing.T) {
	many, apart, lived := large(t, 300), large(t, 300), lived(t).book
	for n, i := range apart.items { // items of one product that are not alike
		i.Features = slices.Clone(i.Features)
		i.Features[n%2].PerCopy += uint32(n % 3)
		i.Features = i.Features[:1+n%5/2%2]
	}
	for name, b := range map[string]*Book{"many": many, "apart": apart, "lived": lived} {
		whole := b.Snapshot()
		for _, size := range []int{0, 100, 1000, 5000, pieceBytes} {
			for kind, run := range map[string]Beside{"in turn": inTurn, "backwards": backwards, "at once": atOnce} {
				again, err := restore(run, whole, size)
				if err != nil {
					t.Fatalf("%s, %d, %s: %v", name, size, kind, err)
				}
				if string(again.Snapshot()) != string(whole) {
					t.Errorf("%s, %d, %s: another book", name, size, kind)
				}
			}
		}
	}
	whole := lived.Snapshot()
	for at := range whole {
		bad := slices.Clone(whole)
		bad[at] ^= 4
		_, want := restore(inTurn, bad, pieceBytes)
		for _, size := range []int{0, 700} {
			if _, err := restore(backwards, bad, size); fmt.Sprint(err) != fmt.Sprint(want) {
				t.Fatalf("byte %d, pieces of %d: %v, and as a whole %v", at, size, err, want)
			}
		}
	}
}

// The first thing that is wrong is named, in whatever piece it is.
func TestFirstDamage(t *testing.T) {
	all := records(large(t, 300).Snapshot())
	var items []int
	for n, r := range all {
		if sectionKey(r) == 2 {
			items = append(items, n)
		}
	}
	bad := slices.Clone(all)
	for _, n := range []int{items[150], items[20], items[290]} {
		bad[n] = slices.Clone(all[n])
		bad[n][5] ^= 1 // a symbol of the activation ID
	}
	named := string(bad[items[20]][5 : 5+5])
	for _, size := range []int{0, 1000, pieceBytes} {
		if _, err := restore(backwards, joined(bad), size); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), named) {
			t.Errorf("pieces of %d: %v, want it to name %s", size, err, named)
		}
	}
}

// A digest under which two requests were answered leaves one of them unfound.
func TestAnsweredTwice(t *testing.T) {
	b := large(t, 300)
	b.hosts[2].Requests[1].Digest = b.hosts[2].Requests[0].Digest
	if _, err := Restore(b.Snapshot()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "answers") {
		t.Error(err)
	}
}

// A record has one section. That it has another behind it is not passed over.
func TestOneSection(t *testing.T) {
	b := large(t, 300)
	all := records(b.Snapshot())
	for n, s := range map[int]section{1: {Item: &b.items[0].Item, Boot: &BootState{}}, 301: {Host: &hostRecord{Identity: b.hosts[0].Identity}, Incident: &Incident{}}} {
		bad := slices.Clone(all)
		bad[n] = b.codec.Encode(s)
		if _, err := Restore(joined(bad)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "one section") {
			t.Errorf("record %d: %v", n, err)
		}
	}
}

// What Check finds in a book that is in use, a start finds in its snapshot.
func TestRestoreIsStrict(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *Book)
		words  string
	}{
		"an item twice":            {func(b *Book) { b.items = append(b.items, b.items[7]) }, "twice"},
		"an item under two lines":  {func(b *Book) { i := *b.items[7]; i.hosts = nil; b.items = append(b.items, &i) }, "twice"},
		"an item of no customer":   {func(b *Book) { b.items[7].Customer = "" }, "customer"},
		"a name that turns around": {func(b *Book) { b.items[7].Customer = "Acme\u202egnp" }, "U+202E"},
		"a feature without a name": {func(b *Book) { b.items[7].Features = []Feature{{Name: "x", PerCopy: 1}, {PerCopy: 1}} }, "feature"},
		"a feature of no counts":   {func(b *Book) { b.items[7].Features = []Feature{{Name: "x", PerCopy: 1}, {Name: "y"}} }, "counts"},
		"too many counts":          {func(b *Book) { b.items[7].Features = []Feature{{Name: "x", PerCopy: 1 << 31}} }, "counts"},
		"an ID that is none":       {func(b *Book) { b.items[290].ActivationID = "7K2QF" }, "not an activation ID"},
		"held, and not there":      {func(b *Book) { b.hosts[2].Holds[3].ActivationID = testID(t, 1000) }, "not there"},
		"held twice":               {func(b *Book) { b.hosts[2].Holds[3] = b.hosts[2].Holds[2] }, ""},
		"held by none":             {func(b *Book) { b.hosts[2].Holds[3].Copies = 0 }, ""},
		"more than a count held":   {func(b *Book) { b.hosts[2].Holds[3].Copies = 1<<32 - 1 }, "not there"},
		"a host twice":             {func(b *Book) { b.hosts = append(b.hosts, b.hosts[2]) }, ""},
		"no such model":            {func(b *Book) { b.items[7].Model = "none" }, "license model"},
	} {
		b := large(t, 300)
		c.change(b)
		whole := b.Snapshot()
		for _, size := range []int{0, 1000, pieceBytes} {
			if _, err := restore(atOnce, whole, size); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s, pieces of %d: %v", name, size, err)
			}
		}
		if err := b.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Check says %v", name, err)
		}
	}
}
