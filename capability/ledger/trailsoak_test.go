package ledger

import (
	"github.com/leasehold/leasehold/capability/wire"

	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakTrailTampered alters an audit trail in every way that an administrator may think of: bits and bytes, entries left out, doubled, exchanged, taken from
// another trail, or written anew with the right numbers. Whoever has the checkpoint of a request finds each. One case is one alteration.
func TestSoakTrailTampered(t *testing.T) {
	short := 2_000
	if testing.Short() {
		short = 300
	}
	size := storagetest.Size(t, short, 10_000, 1_000_000)
	tried, failed := 0, 0
	ways := map[string]int{}
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d alterations, all found: %v", tried, ways)
	}()
	trails := [2][][]byte{}
	for i := range trails {
		w := newWorld(uint64(71 + i))
		if err := w.live(); err != nil {
			t.Fatal(err)
		}
		trails[i] = w.journal
	}
	own, other := trails[0], trails[1]
	position, head, err := follow(own)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(16, 16))
	for tried < size {
		changed, at := slices.Clone(own), rng.IntN(len(own))
		way := ""
		switch rng.IntN(8) {
		case 0, 1:
			way = "a bit"
			changed[at] = bytes.Clone(changed[at])
			changed[at][rng.IntN(len(changed[at]))] ^= 1 << rng.IntN(8)
		case 2:
			way = "some bytes"
			changed[at] = bytes.Clone(changed[at])
			for range 1 + rng.IntN(6) {
				changed[at][rng.IntN(len(changed[at]))] = byte(rng.Uint32())
			}
		case 3:
			way = "left out"
			changed = slices.Delete(changed, at, at+1)
		case 4:
			way = "doubled"
			changed = slices.Insert(changed, at, changed[at])
		case 5:
			way = "exchanged"
			b := rng.IntN(len(own))
			changed[at], changed[b] = changed[b], changed[at]
		case 6:
			way = "of another trail"
			changed[at] = other[rng.IntN(len(other))]
		case 7:
			way = "written anew"
			changed = forged(changed, at)
		}
		if slices.EqualFunc(changed, own, bytes.Equal) {
			continue
		}
		tried++
		ways[way]++
		if p, h, err := follow(changed); err == nil && p == position && h == head {
			failed++
			t.Errorf("%s at entry %d is not found", way, at+1)
		}
	}
}

func follow(trail [][]byte) (position uint64, head [32]byte, err error) {
	var t Trail
	for _, b := range trail {
		if _, err := t.Add(b); err != nil {
			return 0, head, err
		}
	}
	if t.First != 1 {
		return 0, head, corrupt("the trail begins with entry %d", t.First)
	}
	return t.Position, t.Head, nil
}

// forged is the trail with one entry at another time, and all after it written so that each names the one before.
func forged(trail [][]byte, at int) [][]byte {
	var before [32]byte
	for i := range trail {
		e, err := DecodeEntry(wire.New(), trail[i])
		if err != nil {
			panic(err)
		}
		if i == at {
			e.Now.Wall++
		}
		if i > at {
			e.Previous = before
		}
		trail[i] = e.Encode(wire.New())
		before = digest(trail[i])
	}
	return trail
}
