package ledger

import (
	"encoding/binary"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A snapshot is a sequence of parts, each a four-byte big-endian length and that many bytes of deterministic CBOR: one header, then the items by ID,
// then the rows by sequence. A reader of an older format is never edited; a new format gets a new number and a new reader.
const (
	snapshotFormat = 1
	maxPart        = capability.MaxFile + 1<<20 // the header: the response in force without its items, returns with proofs, digests
)

type header struct {
	Format   uint8                 `cbor:"1,keyasint"`
	Position uint64                `cbor:"2,keyasint,omitzero"`
	Head     capability.Digest     `cbor:"3,keyasint,omitzero"`
	Now      Now                   `cbor:"4,keyasint"`
	Run      Started               `cbor:"5,keyasint,omitzero"`
	Hold     capability.Seconds    `cbor:"6,keyasint,omitzero"`
	Applied  capability.Response   `cbor:"7,keyasint,omitzero"`
	Digest   capability.Digest     `cbor:"8,keyasint,omitzero"`
	Number   uint64                `cbor:"9,keyasint,omitzero"`
	Written  []Written             `cbor:"10,keyasint,omitempty"`
	Returns  []capability.Return   `cbor:"11,keyasint,omitempty"`
	Closed   []capability.ReturnID `cbor:"12,keyasint,omitempty"`
	Items    uint64                `cbor:"13,keyasint,omitzero"`
	Rows     uint64                `cbor:"14,keyasint,omitzero"`
}

type itemPart struct {
	Item capability.LineItem `cbor:"1,keyasint,omitzero"`
	Cut  bool                `cbor:"2,keyasint,omitzero"`
}

type rowPart struct {
	ID          hostid.ID                `cbor:"1,keyasint,omitzero"`
	Key         capability.Digest        `cbor:"2,keyasint,omitzero"`
	Serial      uint64                   `cbor:"3,keyasint,omitzero"`
	Correlation capability.CorrelationID `cbor:"4,keyasint,omitzero"`
	Body        capability.Digest        `cbor:"5,keyasint,omitzero"`
	Answer      []byte                   `cbor:"6,keyasint,omitempty"`
	Who         Who                      `cbor:"7,keyasint,omitzero"`
	Leases      []leasePart              `cbor:"8,keyasint,omitempty"`
}

// leasePart names its item by its place among the items of the snapshot.
type leasePart struct {
	_       struct{} `cbor:",toarray"`
	Item    uint64
	Count   uint32
	End     capability.Seconds
	Told    capability.Time
	Dropped bool
}

// Snapshot is the whole state as bytes. Equal states have equal bytes.
func (l *Ledger) Snapshot() []byte {
	b := l.part(make([]byte, 0, 1<<12+len(l.items)*256+len(l.rows)*512), &header{
		Format: snapshotFormat, Position: l.position, Head: l.head, Now: l.now, Run: l.run, Hold: l.hold, Applied: l.applied, Digest: l.digest,
		Number: l.number, Written: l.written, Returns: l.returns, Closed: l.closed, Items: uint64(len(l.items)), Rows: uint64(len(l.rows)),
	})
	places := make(map[*item]uint64, len(l.items))
	for i, it := range l.items {
		places[it] = uint64(i)
		b = l.part(b, &itemPart{it.LineItem, it.cut})
	}
	for _, r := range l.rows {
		p := rowPart{ID: r.id, Key: r.key, Serial: r.serial, Correlation: r.correlation, Body: r.body, Answer: r.answer, Who: r.who}
		for _, s := range r.leases {
			p.Leases = append(p.Leases, leasePart{Item: places[s.item], Count: s.count, End: s.end, Told: s.told, Dropped: s.dropped})
		}
		b = l.part(b, &p)
	}
	return b
}

func (l *Ledger) part(b []byte, v any) []byte {
	p := l.codec.Encode(v)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
}

// Restore reads what Snapshot wrote and nothing else: the same bytes come out again. The error is ErrCorrupt.
func Restore(snapshot []byte) (*Ledger, error) {
	l := New()
	rest := snapshot
	next := func(v any) error {
		if len(rest) < 4 {
			return corrupt("snapshot of %d bytes is cut", len(snapshot))
		}
		n := binary.BigEndian.Uint32(rest)
		if uint64(len(rest)-4) < uint64(n) {
			return corrupt("snapshot of %d bytes is cut", len(snapshot))
		}
		err := l.codec.Decode(rest[4:4+n], v, maxPart)
		rest = rest[4+n:]
		if err != nil {
			return corrupt("snapshot, before its last %d bytes: %w", len(rest), err)
		}
		return nil
	}
	var h header
	if err := next(&h); err != nil {
		return nil, err
	}
	if h.Format != snapshotFormat {
		return nil, corrupt("snapshot of format %d, and this program reads %d", h.Format, snapshotFormat)
	}
	l.position, l.head, l.now, l.run, l.hold = h.Position, h.Head, h.Now, h.Run, h.Hold
	l.applied, l.digest, l.number, l.written, l.returns, l.closed = h.Applied, h.Digest, h.Number, h.Written, h.Returns, h.Closed
	for range h.Items {
		var p itemPart
		if err := next(&p); err != nil {
			return nil, err
		}
		if n := len(l.items); n > 0 && compareItems(l.items[n-1].ID(), p.Item.ID()) >= 0 {
			return nil, corrupt("item %s is out of order", p.Item.ID())
		}
		l.items = append(l.items, &item{LineItem: p.Item, cut: p.Cut})
	}
	for range h.Rows {
		var p rowPart
		if err := next(&p); err != nil {
			return nil, err
		}
		if err := l.restoreRow(&p); err != nil {
			return nil, err
		}
	}
	if len(rest) > 0 {
		return nil, corrupt("snapshot with %d bytes after its end", len(rest))
	}
	if l.index(); uint64(len(l.items)) != h.Items {
		return nil, corrupt("snapshot with a cut item that nobody holds")
	}
	if err := l.verify(false); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Ledger) restoreRow(p *rowPart) error {
	if l.devices[p.ID] != nil {
		return corrupt("device %s is there twice", p.ID)
	}
	r := &row{sequence: uint64(len(l.rows)), id: p.ID, key: p.Key, serial: p.Serial, correlation: p.Correlation, body: p.Body, answer: p.Answer, who: p.Who}
	l.rows = append(l.rows, r)
	l.devices[p.ID] = r
	for _, n := range p.Leases {
		if n.Item >= uint64(len(l.items)) {
			return corrupt("device %s holds of item %d, and there are %d", p.ID, n.Item, len(l.items))
		}
		l.book(&lease{row: r, item: l.items[n.Item], count: n.Count, end: n.End, told: n.Told, dropped: n.Dropped})
	}
	return nil
}
