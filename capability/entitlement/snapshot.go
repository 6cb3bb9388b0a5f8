package entitlement

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/leasehold/leasehold/capability"
)

// A snapshot is a sequence of records, each with its length in 4 bytes before it: first the head, then items, boot states, then each host followed by what belongs
// to it. Small records keep every length inside the decoder's bounds, however large the book.
type section struct {
	Head     *headRecord       `cbor:"1,keyasint,omitempty"`
	Item     *Item             `cbor:"2,keyasint,omitempty"`
	Host     *hostRecord       `cbor:"3,keyasint,omitempty"`
	Hold     *Fulfillment      `cbor:"4,keyasint,omitempty"` // of the host before, as the next three
	Request  *Known            `cbor:"5,keyasint,omitempty"`
	Return   *ReturnSeen       `cbor:"6,keyasint,omitempty"`
	Incident *Incident         `cbor:"7,keyasint,omitempty"`
	Past     *PastLife         `cbor:"8,keyasint,omitempty"`
	Before   *Known            `cbor:"9,keyasint,omitempty"` // a request of the past life before
	Boot     *BootState        `cbor:"10,keyasint,omitempty"`
	Meter    *capability.Meter `cbor:"11,keyasint,omitempty"` // of the host before, as the next
	Shown    *Appearance       `cbor:"12,keyasint,omitempty"`
}

type headRecord struct {
	Policy Policy            `cbor:"1,keyasint,omitzero"`
	Head   capability.Digest `cbor:"2,keyasint,omitzero"`
	Length uint64            `cbor:"3,keyasint,omitzero"`
	Last   capability.Time   `cbor:"4,keyasint,omitzero"`
}

type hostRecord struct {
	Identity Identity `cbor:"1,keyasint,omitzero"`
	Alias    string   `cbor:"2,keyasint,omitzero"`
	Proven   bool     `cbor:"3,keyasint,omitzero"`
	Epoch    uint64   `cbor:"4,keyasint,omitzero"`
	Answered uint64   `cbor:"5,keyasint,omitzero"`
	Serial   uint64   `cbor:"6,keyasint,omitzero"`

	Life  capability.LifeID `cbor:"7,keyasint,omitzero"`
	Moved *Moved            `cbor:"8,keyasint,omitempty"`
}

// maxRecord: the largest record is an item with all its features, 64 of 150 bytes, and as many limits.
const maxRecord = 32 << 10

// Snapshot is the whole state in its one encoding. It holds no history: that is what entries are for.
func (b *Book) Snapshot() []byte {
	var out []byte
	put := func(s section) {
		record := b.codec.Encode(s)
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(record))), record...)
	}
	put(section{Head: &headRecord{b.policy, b.head, b.length, b.last}})
	for _, i := range b.items {
		put(section{Item: &i.Item})
	}
	for _, s := range b.boots {
		put(section{Boot: s})
	}
	for _, h := range b.hosts {
		put(section{Host: &hostRecord{h.Identity, h.Alias, h.Proven, h.Epoch, h.Answered, h.Serial, h.Life, h.Moved}})
		for _, f := range h.Holds {
			put(section{Hold: &f})
		}
		for _, m := range h.Metered {
			put(section{Meter: &m})
		}
		for _, k := range h.Requests {
			put(section{Request: &k})
		}
		for _, s := range h.Returns {
			put(section{Return: &s})
		}
		for _, i := range h.Incidents {
			put(section{Incident: &i})
		}
		for _, a := range h.Appearances {
			put(section{Shown: &a})
		}
		for _, p := range h.Past {
			put(section{Past: &p})
			for _, k := range p.Requests {
				put(section{Before: &k})
			}
		}
	}
	return out
}

// Digest names the state: two books with the same digest answer alike.
func (b *Book) Digest() capability.Digest { return sha256.Sum256(b.Snapshot()) }

// Restore reads what Snapshot wrote, and nothing else.
func Restore(snapshot []byte) (*Book, error) {
	b := New()
	rest := snapshot
	for first := true; len(rest) > 0; first = false {
		if len(rest) < 4 {
			return nil, corrupt("snapshot ends inside a length")
		}
		n := binary.BigEndian.Uint32(rest)
		if rest = rest[4:]; n > maxRecord || uint64(n) > uint64(len(rest)) {
			return nil, corrupt("snapshot has a record of %d bytes where %d follow and at most %d are allowed", n, len(rest), maxRecord)
		}
		var s section
		if err := b.codec.Decode(rest[:n], &s, maxRecord); err != nil {
			return nil, corrupt("snapshot: %w", err)
		}
		rest = rest[n:]
		if first != (s.Head != nil) {
			return nil, corrupt("snapshot does not begin with its head, or has two")
		}
		if err := b.restore(&s); err != nil {
			return nil, err
		}
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(b.Snapshot(), snapshot) {
		return nil, corrupt("snapshot is not in its one encoding")
	}
	return b, nil
}

// restore takes in one record. Order and doubles are found by Check and by writing the snapshot again.
func (b *Book) restore(s *section) error {
	var h *Host
	if len(b.hosts) > 0 {
		h = b.hosts[len(b.hosts)-1]
	}
	switch {
	case s.Head != nil:
		b.policy, b.head, b.length, b.last = s.Head.Policy, s.Head.Head, s.Head.Length, s.Head.Last
	case s.Item != nil:
		b.items = append(b.items, &item{Item: *s.Item})
		b.byID[s.Item.ActivationID] = b.items[len(b.items)-1]
	case s.Boot != nil:
		b.boots = append(b.boots, s.Boot)
	case s.Host != nil:
		r := s.Host
		h = &Host{Identity: r.Identity, Alias: r.Alias, Proven: r.Proven, Epoch: r.Epoch, Answered: r.Answered, Serial: r.Serial, Life: r.Life, Moved: r.Moved}
		b.hosts, b.byKey[h.Host] = append(b.hosts, h), h
	case h == nil:
		return corrupt("snapshot has a part of a host before the host")
	case s.Hold != nil:
		i := b.byID[s.Hold.ActivationID]
		if i == nil || s.Hold.Copies > i.left() {
			return corrupt("snapshot has %d copies of %s held that are not there", s.Hold.Copies, s.Hold.ActivationID)
		}
		i.used += s.Hold.Copies
		h.Holds = append(h.Holds, *s.Hold)
	case s.Meter != nil:
		h.Metered = append(h.Metered, *s.Meter)
	case s.Request != nil:
		h.Requests = append(h.Requests, *s.Request)
		if s.Request.Serial != 0 {
			b.answered[s.Request.Digest] = h
		}
	case s.Return != nil:
		h.Returns = append(h.Returns, *s.Return)
	case s.Shown != nil:
		h.Appearances = append(h.Appearances, *s.Shown)
	case s.Past != nil:
		h.Past = append(h.Past, *s.Past)
	case s.Before != nil:
		if len(h.Past) == 0 {
			return corrupt("snapshot has a request of a past life before the life")
		}
		p := &h.Past[len(h.Past)-1]
		p.Requests = append(p.Requests, *s.Before)
		if s.Before.Serial != 0 {
			b.answered[s.Before.Digest] = h
		}
	case s.Incident != nil:
		h.Incidents = append(h.Incidents, *s.Incident)
	}
	return nil
}
