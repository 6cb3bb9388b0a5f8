package entitlement

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakHostile plays short lives, and before each command tries variants of it that nobody writes: fields at their edges and beyond, names that are none, lists with something missing or twice. A command is
// refused with a sentence, or what it decides is applied and leaves the book whole. An entry that Decide did not write is damage, and changes nothing, or leaves the book whole.
func TestSoakHostile(t *testing.T) {
	short := 120
	if testing.Short() {
		short = 60
	}
	lives := storagetest.Size(t, short, 3_000, 30_000)
	names, codec := sequenceNames(t), wire.New()
	wrong, h := 0, &hostile{codec: codec}
	tried := 0
	defer func() { storagetest.Tried(t, tried, wrong) }()
	for seed := range uint64(lives) {
		tried++
		h.rng = rand.New(rand.NewPCG(seed, 0x405711e))
		if _, err := playSequence(names, codec, seed<<20, tally{}, false, h.probe); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			if wrong++; wrong > 8 {
				break
			}
		}
	}
	t.Logf("%+v", h.count)
	if h.count.commands == 0 || h.count.decided == 0 || h.count.refused == 0 || h.count.damage == 0 || h.count.applied == 0 || h.count.snapshots == 0 {
		t.Errorf("a kind of outcome never came: %+v", h.count)
	}
}

type hostile struct {
	codec *wire.Codec
	rng   *rand.Rand
	count struct{ commands, refused, decided, entries, damage, applied, snapshots int }
}

// probe is called with every command before it is decided.
func (h *hostile) probe(s *sequence, c Command) {
	h.snapshot(s)
	for range 2 {
		now, bad := s.now, twisted(h.rng, c)
		if h.rng.IntN(10) == 0 {
			now = twisted(h.rng, now)
		}
		h.count.commands++
		d, err := s.book.Decide(now, bad)
		if errors.Is(err, ErrCorrupt) || err != nil && err.Error() == "" {
			s.fatalf("%T %+v: %v", bad, bad, err)
		}
		if r := (*capability.Refusal)(nil); errors.As(err, &r) && r.Code.Symbol() == "" {
			s.fatalf("%T %+v: a code of no catalog: %v", bad, bad, err)
		}
		if d == nil || len(d.Entries) == 0 {
			h.count.refused++
			continue
		}
		h.count.decided++
		b := h.twin(s)
		for _, e := range d.Entries {
			read, err := DecodeEntry(h.codec, e.Encode(h.codec))
			if err != nil {
				s.fatalf("%T %+v: what was decided cannot be read: %v", bad, bad, err)
			}
			h.entry(s, e)
			if err := b.Apply(read); err != nil {
				s.fatalf("%T %+v: what was decided is not applied: %v", bad, bad, err)
			}
		}
		h.whole(s, b, bad)
	}
}

// twin is another book in the same state.
func (h *hostile) twin(s *sequence) *Book {
	b, err := Restore(s.book.Snapshot())
	if err != nil {
		s.fatalf("%v", err)
	}
	return b
}

// whole: what was applied can be looked at, kept and brought back.
func (h *hostile) whole(s *sequence, b *Book, why any) {
	if err := b.Check(); err != nil {
		s.fatalf("after %T %+v: %v", why, why, err)
	}
	if _, err := Restore(b.Snapshot()); err != nil {
		s.fatalf("after %T %+v: %v", why, why, err)
	}
}

// entry has the book apply what nobody wrote.
func (h *hostile) entry(s *sequence, e *Entry) {
	bad := twisted(h.rng, e)
	if bad == nil || h.rng.IntN(2) == 0 {
		return
	}
	if h.rng.IntN(8) > 0 {
		bad.Before = s.book.head
	}
	if _, err := DecodeEntry(h.codec, bad.Encode(h.codec)); err != nil {
		return // what cannot be read is never applied
	}
	h.count.entries++
	b := h.twin(s)
	before := b.Snapshot()
	if err := b.Apply(bad); err != nil {
		h.count.damage++
		if !errors.Is(err, ErrCorrupt) {
			s.fatalf("%+v: %v", bad, err)
		}
		if !bytes.Equal(before, b.Snapshot()) {
			s.fatalf("an entry that is damage has changed the book: %v", err)
		}
		return
	}
	h.count.applied++
	h.whole(s, b, bad)
}

// snapshot has one record of a snapshot twisted: it is found, or the book is whole.
func (h *hostile) snapshot(s *sequence) {
	if h.rng.IntN(4) > 0 || s.book.length == 0 {
		return
	}
	var out []byte
	rest := s.book.Snapshot()
	records := 0
	for b := rest; len(b) > 0; b = b[4+binary.BigEndian.Uint32(b):] {
		records++
	}
	for n, at := 0, h.rng.IntN(records); len(rest) > 0; n++ {
		size := 4 + binary.BigEndian.Uint32(rest)
		record := rest[4:size]
		if rest = rest[size:]; n == at {
			var of section
			if err := h.codec.Decode(record, &of, maxRecord); err != nil {
				s.fatalf("%v", err)
			}
			record = h.codec.Encode(twisted(h.rng, of))
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(record))), record...)
	}
	h.count.snapshots++
	b, err := Restore(out)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		s.fatalf("%v", err)
	}
	if _, again := restore(backwards, out, h.rng.IntN(2000)); fmt.Sprint(again) != fmt.Sprint(err) {
		s.fatalf("a twisted snapshot: %v, and in pieces %v", err, again)
	}
	if err == nil {
		h.whole(s, b, "a twisted snapshot")
	}
}
