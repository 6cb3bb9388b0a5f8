package ledger

import (
	"encoding/binary"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// A snapshot is a sequence of parts, each a four-byte big-endian length and that many bytes of deterministic CBOR: one header, then the items by ID,
// then the rows by sequence, then what is used, then the logins, then the client keys. A reader of an older format is never edited; a new format gets a new number and a new reader.
const (
	snapshotFormat = 1
	maxPart        = 4 << 20 // the header: the response in force without its items, returns with proofs, digests, a model, reservations
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
	Model    []byte                `cbor:"15,keyasint,omitempty"`
	Groups   []Group               `cbor:"16,keyasint,omitempty"`
	LastID   uint64                `cbor:"17,keyasint,omitzero"`
	Sources  []Source              `cbor:"18,keyasint,omitempty"`
	Divided  capability.Time       `cbor:"19,keyasint,omitzero"`
	Settings []Setting             `cbor:"20,keyasint,omitempty"`
	Drains   []Drained             `cbor:"21,keyasint,omitempty"`
	Spent    capability.Seconds    `cbor:"22,keyasint,omitzero"`
	Moved    capability.Seconds    `cbor:"23,keyasint,omitzero"`

	Clock        Clock              `cbor:"30,keyasint,omitzero"`
	DividedAhead capability.Seconds `cbor:"31,keyasint,omitzero"`
	Life         capability.LifeID  `cbor:"40,keyasint,omitzero"`
	Lost         capability.Code    `cbor:"41,keyasint,omitzero"`
	Epoch        uint64             `cbor:"42,keyasint,omitzero"`
	Recovery     recovery           `cbor:"43,keyasint,omitzero"`
	Before       []leasePart        `cbor:"44,keyasint,omitempty"`
	Machine      machine            `cbor:"45,keyasint,omitzero"`

	Revoked []capability.Digest `cbor:"46,keyasint,omitempty"`
	Usage   usagePart           `cbor:"50,keyasint,omitzero"`
	Logins  uint64              `cbor:"51,keyasint,omitzero"`
	Keys    uint64              `cbor:"52,keyasint,omitzero"`

	LoginSpent capability.Seconds `cbor:"53,keyasint,omitzero"`
	KeySpent   capability.Seconds `cbor:"54,keyasint,omitzero"`
}

type itemPart struct {
	Item   capability.LineItem `cbor:"1,keyasint,omitzero"`
	Cut    bool                `cbor:"2,keyasint,omitzero"`
	Shares []sharePart         `cbor:"3,keyasint,omitempty"`
}

// sharePart names its source by its place among the sources of the header.
type sharePart struct {
	_        struct{} `cbor:",toarray"`
	Source   uint64
	Count    uint64
	Computed uint64
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
	Active      capability.Seconds       `cbor:"9,keyasint,omitzero"`
	Reports     []Reported               `cbor:"10,keyasint,omitempty"`
	Waits       []Wait                   `cbor:"11,keyasint,omitempty"`
	Until       capability.Seconds       `cbor:"12,keyasint,omitzero"` // of the answer
	Earlier     []remembered             `cbor:"13,keyasint,omitempty"`
	Leads       []capability.Seconds     `cbor:"14,keyasint,omitempty"` // of the leases in their order; none where all are zero
	Number      uint64                   `cbor:"15,keyasint,omitzero"`
}

// leasePart names its item by its place among the items of the snapshot, and the slice by its place in the item.
type leasePart struct {
	_       struct{} `cbor:",toarray"`
	Item    uint64
	Slice   uint64
	Count   uint32
	End     capability.Seconds
	Told    capability.Time
	Dropped bool
}

// Snapshot is the whole state as bytes. Equal states have equal bytes.
func (l *Ledger) Snapshot() []byte {
	var before []leasePart
	for _, s := range l.before.leases {
		before = append(before, leasePart{Item: uint64(s.slice.item.place), Slice: uint64(slices.Index(s.slice.item.slices, s.slice)), Count: s.count, End: s.end, Told: s.told})
	}
	open := l.tallyParts()
	b := l.part(make([]byte, 0, 1<<12+len(l.items)*256+len(l.rows)*512), &header{
		Format: snapshotFormat, Position: l.position, Head: l.head, Now: l.now, Run: l.run, Hold: l.hold, Applied: l.applied, Digest: l.digest, Revoked: l.revoked,
		Number: l.number, Written: l.written, Returns: l.returns, Closed: l.closed, Items: uint64(len(l.items)), Rows: uint64(len(l.rows)),
		Model: l.text, Groups: l.groups, LastID: l.lastID, Sources: l.sources, Divided: l.divided, Settings: l.settings, Drains: l.drains, Spent: l.ration.spent, Moved: l.ration.moved,
		Clock: l.clock, DividedAhead: l.dividedAhead,
		Life: l.life, Lost: l.lost, Epoch: l.epoch, Recovery: l.recovery, Before: before, Machine: l.machine,
		Usage:  usagePart{l.usage.from, l.usage.last, uint64(len(l.usage.kept)), uint64(len(open)), l.usage.other},
		Logins: uint64(len(l.logins)),
		Keys:   uint64(len(l.keys)), LoginSpent: l.loginSpent, KeySpent: l.keySpent,
	})
	places := make(map[*slice]uint64, len(l.items))
	for _, it := range l.items {
		p := itemPart{Item: it.LineItem, Cut: it.cut}
		for i, s := range it.slices {
			places[s] = uint64(i)
			if i >= firstShare {
				p.Shares = append(p.Shares, sharePart{Source: uint64(slices.Index(l.sources, s.source)), Count: s.count, Computed: s.computed})
			}
		}
		b = l.part(b, &p)
	}
	for _, r := range l.rows {
		p := rowPart{
			ID: r.id, Key: r.key, Serial: r.serial, Correlation: r.last.Correlation, Body: r.last.Body, Answer: r.last.Answer, Until: r.last.Until, Earlier: r.earlier,
			Who: r.who, Active: r.active, Reports: r.reports, Number: r.number,
		}
		for _, w := range r.waits {
			p.Waits = append(p.Waits, w.Wait)
		}
		for _, s := range r.leases {
			p.Leases = append(p.Leases, leasePart{Item: uint64(s.slice.item.place), Slice: places[s.slice], Count: s.count, End: s.end, Told: s.told, Dropped: s.dropped})
		}
		if slices.ContainsFunc(r.leases, func(s *lease) bool { return s.lead > 0 }) {
			for _, s := range r.leases {
				p.Leads = append(p.Leads, s.lead)
			}
		}
		b = l.part(b, &p)
	}
	for i := range open {
		b = l.part(b, &open[i])
	}
	for _, k := range l.usage.kept {
		b = l.part(b, &recordPart{k.body})
	}
	for _, g := range l.logins {
		b = l.part(b, g)
	}
	for i := range l.keys {
		b = l.part(b, &l.keys[i])
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
		part := rest[4 : 4+n]
		rest = rest[4+n:]
		if p, is := v.(*rowPart); is && readByHand(part, maxPart, p, (*rowPart).read) {
			return nil
		}
		if err := l.codec.Decode(part, v, maxPart); err != nil {
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
	l.position, l.head, l.now, l.run, l.hold, l.moment = h.Position, h.Head, h.Now, h.Run, h.Hold, h.Now.Lease
	l.applied, l.digest, l.number, l.written, l.returns, l.closed = h.Applied, h.Digest, h.Number, h.Written, h.Returns, h.Closed
	l.life, l.lost, l.epoch, l.recovery, l.machine = h.Life, h.Lost, h.Epoch, h.Recovery, h.Machine
	l.text, l.groups, l.lastID, l.sources, l.divided, l.settings, l.drains = h.Model, h.Groups, h.LastID, h.Sources, h.Divided, h.Settings, h.Drains
	l.ration, l.loginSpent, l.keySpent = ration{h.Spent, h.Moved}, h.LoginSpent, h.KeySpent
	l.clock, l.dividedAhead = h.Clock, h.DividedAhead
	l.revoked = h.Revoked
	if len(l.text) > 0 {
		var err error
		if l.model, err = model.Reread(l.text); err != nil {
			return nil, corrupt("model: %w", err)
		}
	}
	for range h.Items {
		var p itemPart
		if err := next(&p); err != nil {
			return nil, err
		}
		if n := len(l.items); n > 0 && compareItems(l.items[n-1].ID(), p.Item.ID()) >= 0 {
			return nil, corrupt("item %s is out of order", p.Item.ID())
		}
		it, err := l.restoreItem(&p)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, it)
	}
	if err := l.restoreBefore(h.Before); err != nil {
		return nil, err
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
	l.index()
	if err := l.restoreUsage(h.Usage, next); err != nil {
		return nil, err
	}
	for range h.Logins {
		g := new(Login)
		if err := next(g); err != nil {
			return nil, err
		}
		l.logins = append(l.logins, g)
	}
	for range h.Keys {
		var k ClientKey
		if err := next(&k); err != nil {
			return nil, err
		}
		l.keys = append(l.keys, k)
	}
	if len(rest) > 0 {
		return nil, corrupt("snapshot with %d bytes after its end", len(rest))
	}
	if err := l.verify(false); err != nil {
		return nil, err
	}
	l.give()
	return l, nil
}

// restoreItem reads an item with its shares. What they leave is the default pool's; whether the sums are right is for verify.
func (l *Ledger) restoreItem(p *itemPart) (*item, error) {
	it := newItem(p.Item)
	it.cut, it.place = p.Cut, len(l.items)
	var sum uint64
	for i, s := range p.Shares {
		if s.Source >= uint64(len(l.sources)) || i > 0 && s.Source <= p.Shares[i-1].Source {
			return nil, corrupt("item %s has a share of source %d, and there are %d", p.Item.ID(), s.Source, len(l.sources))
		}
		if s.Count > s.Computed || s.Computed == 0 || s.Computed > capability.MaxCount || sum+s.Computed > uint64(p.Item.Count) {
			return nil, corrupt("item %s: a share of %d of %d, and there are %d", p.Item.ID(), s.Count, s.Computed, p.Item.Count)
		}
		sum += s.Computed
		it.slices = append(it.slices, &slice{item: it, source: l.sources[s.Source], count: s.Count, computed: s.Computed})
	}
	it.recount()
	return it, nil
}

func (l *Ledger) restoreRow(p *rowPart) error {
	for _, o := range l.devices[p.ID] {
		if o.key == p.Key {
			return corrupt("device %s is there twice", p.ID)
		}
	}
	r := &row{
		sequence: uint64(len(l.rows)), id: p.ID, key: p.Key, serial: p.Serial, last: remembered{Correlation: p.Correlation, Body: p.Body, Answer: p.Answer, Until: p.Until},
		earlier: p.Earlier, who: p.Who, active: p.Active, reports: p.Reports, number: p.Number,
	}
	l.rows = append(l.rows, r)
	l.devices[p.ID] = append(l.devices[p.ID], r)
	if len(p.Leads) > 0 && (len(p.Leads) != len(p.Leases) || slices.Max(p.Leads) <= 0) {
		return corrupt("device %s has %d leases and %d leads", p.ID, len(p.Leases), len(p.Leads))
	}
	for i, n := range p.Leases {
		if n.Item >= uint64(len(l.items)) || n.Slice >= uint64(len(l.items[n.Item].slices)) {
			return corrupt("device %s holds of slice %d of item %d, and there are %d items", p.ID, n.Slice, n.Item, len(l.items))
		}
		s := &lease{row: r, slice: l.items[n.Item].slices[n.Slice], count: n.Count, end: n.End, told: n.Told, dropped: n.Dropped}
		if len(p.Leads) > 0 {
			s.lead = p.Leads[i]
		}
		l.book(s)
		r.leases = append(r.leases, s)
	}
	return l.applyWaits(r, p.Waits)
}
