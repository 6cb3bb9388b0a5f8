package entitlement

import (
	"encoding/binary"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// piece is a run of records of a snapshot, each with its length before it, and what they say.
type piece struct {
	bytes []byte
	about int
	counts
	reader

	lines    []*item
	machines []*Host
	held     []Fulfillment // of all its hosts, each of which has a part of them
	holders  []*item       // what is held: filled by find
	known    []Known       // requests, as held
	rest     []leftover
	err      error // of the first record that cannot be read: those before it are good

	slab []item
}

// counts are numbers of records.
type counts struct{ items, hosts, holds, requests int }

func (c *counts) add(d counts) {
	c.items, c.hosts, c.holds, c.requests = c.items+d.items, c.hosts+d.hosts, c.holds+d.holds, c.requests+d.requests
}

// leftover is a record about which the book must be asked. So many lines or machines of the piece are before it.
type leftover struct {
	behind  int
	section *section
}

// read takes the records apart.
func (p *piece) read(c *wire.Codec) {
	p.reader = newReader()
	p.lines, p.machines = make([]*item, 0, p.items), make([]*Host, 0, p.hosts)
	p.held, p.known = make([]Fulfillment, 0, p.holds), make([]Known, 0, p.requests)
	for rest := p.bytes; len(rest) > 0 && p.err == nil; {
		n := 4 + binary.BigEndian.Uint32(rest)
		p.err = p.record(c, rest[4:n])
		rest = rest[n:]
	}
	p.reader = reader{} // what it knew is not needed for the book
}

const onePair = 0xa1 // the head of a map (RFC 8949, 3.1)

// record takes one record apart, by hand where it can.
func (p *piece) record(c *wire.Codec, record []byte) error {
	if len(record) == 0 || record[0] != onePair {
		return corrupt("snapshot has a record that is not of one section")
	}
	in := wire.NewReader(record)
	m := in.Open()
	in.Next(&m)
	switch m.Key {
	case 2:
		i := p.line()
		if p.reader.item(&in, &i.Item); in.Done() {
			return p.item(i)
		}
		i.Item = Item{}
	case 3:
		n := hostRecord{}
		if n.read(&in, p.texts); in.Done() {
			p.host(&n)
			return nil
		}
	case 4:
		f := Fulfillment{}
		if f.read(&in, &p.looked); in.Done() {
			p.hold(f)
			return nil
		}
	case 5:
		k := Known{}
		if k.read(&in); in.Done() {
			p.request(k)
			return nil
		}
	case 12:
		a := Appearance{}
		if a.read(&in, p.texts); in.Done() {
			p.shown(a)
			return nil
		}
	}
	var s section
	if err := c.Decode(record, &s, maxRecord); err != nil {
		return corrupt("snapshot: %w", err)
	}
	return p.section(&s)
}

// section takes in a record that the library read.
func (p *piece) section(s *section) error {
	switch {
	case s.Item != nil:
		i := p.line()
		i.Item = *s.Item
		return p.item(i)
	case s.Host != nil:
		p.host(s.Host)
	case s.Hold != nil:
		p.hold(*s.Hold)
	case s.Request != nil:
		p.request(*s.Request)
	case s.Shown != nil:
		p.shown(*s.Shown)
	default:
		p.rest = append(p.rest, leftover{len(p.lines) + len(p.machines), s})
	}
	return nil
}

// line is where the next item goes; nothing is there.
func (p *piece) line() *item {
	if len(p.slab) == 0 {
		p.slab = make([]item, 256)
	}
	return &p.slab[0]
}

func (p *piece) item(i *item) error {
	if err := i.Validate(); err != nil {
		return corrupt("item %s: %w", i.ActivationID, err)
	}
	p.slab, p.lines = p.slab[1:], append(p.lines, i)
	return nil
}

func (p *piece) host(n *hostRecord) {
	p.machines = append(p.machines, &Host{Identity: n.Identity, Alias: n.Alias, Proven: n.Proven, Epoch: n.Epoch, Answered: n.Answered, Serial: n.Serial, Life: n.Life, Moved: n.Moved, Account: n.Account})
}

// last is the host that the records are about: none comes before one.
func (p *piece) last() *Host { return p.machines[len(p.machines)-1] }

func (p *piece) hold(f Fulfillment) {
	h, from := p.last(), len(p.held)-len(p.last().Holds)
	p.held = append(p.held, f)
	h.Holds = p.held[from:len(p.held):len(p.held)]
}

func (p *piece) request(k Known) {
	h, from := p.last(), len(p.known)-len(p.last().Requests)
	p.known = append(p.known, k)
	h.Requests = p.known[from:len(p.known):len(p.known)]
}

func (p *piece) shown(a Appearance) { p.last().Appearances = append(p.last().Appearances, a) }

// nameAll has the items of pieces found by their IDs.
func (b *Book) nameAll(pieces []*piece) {
	for _, p := range pieces {
		for _, i := range p.lines {
			b.byID[i.ActivationID] = i
		}
	}
}

// find looks up what its hosts hold, in a book that has all items. What is not there is left out.
func (p *piece) find(b *Book) {
	p.holders = make([]*item, len(p.held))
	for n := range p.held {
		if i := b.byID[p.held[n].ActivationID]; i != nil {
			p.holders[n], p.held[n].ActivationID = i, i.ActivationID // one copy of the text
		}
	}
}

// joining puts pieces into a book.
type joining struct {
	book  *Book
	host  *Host // the last one
	slots []*Host

	seatKind, seatItem int // of the record before, where it was a user's: which, and the place of its item
}

func (r *joining) join(pieces []*piece) error {
	for _, p := range pieces {
		if err := r.piece(p); err != nil {
			return err
		}
	}
	return nil
}

func (r *joining) piece(p *piece) error {
	rest := p.rest
	parts := func(behind int) error {
		for len(rest) > 0 && rest[0].behind == behind {
			if err := r.part(rest[0].section); err != nil {
				return err
			}
			rest = rest[1:]
		}
		return nil
	}
	if err := parts(0); err != nil {
		return err
	}
	for n, i := range p.lines {
		r.book.place(i)
		if err := parts(n + 1); err != nil {
			return err
		}
	}
	r.book.sell(p.lines)
	holders := p.holders
	for n, h := range p.machines {
		if err := r.hosts(h, holders[:len(h.Holds)]); err != nil {
			return err
		}
		if err := parts(n + 1); err != nil {
			return err
		}
		holders = holders[len(h.Holds):]
	}
	return p.err
}

// hosts takes in a host with what it holds. Doubles are found by Check.
func (r *joining) hosts(h *Host, holders []*item) error {
	b := r.book
	r.host = h
	b.addHost(h)
	for n, i := range holders {
		f := h.Holds[n]
		if i == nil || uint64(i.used)+uint64(f.Copies) > 2*capability.MaxCount {
			return corrupt("snapshot has %d copies of %s held that are not there", f.Copies, f.ActivationID)
		}
		i.used += f.Copies
		if i.hosts == nil { // most items have one host
			if len(r.slots) == 0 {
				r.slots = make([]*Host, 1024)
			}
			i.hosts, r.slots = r.slots[:0:1], r.slots[1:]
		}
		if n := len(i.hosts); n == 0 || i.hosts[n-1] != h {
			i.hosts = append(i.hosts, h)
		}
	}
	for _, k := range h.Requests {
		if k.Serial != 0 {
			b.answered[k.Digest] = h
		}
	}
	return nil
}

// part takes in one section. What belongs to a host comes behind it; doubles are found by Check.
func (r *joining) part(s *section) error {
	b, h := r.book, r.host
	switch {
	case s.Head != nil:
		b.policy, b.head, b.length, b.last = s.Head.Policy, s.Head.Head, s.Head.Length, s.Head.Last
	case s.Account != nil || s.Product != nil || s.Model != nil:
		b.restoreCatalog(s)
	case s.Acts != nil:
		n := len(b.items) - 1
		if n < 0 || b.items[n].ActivationID != s.Acts.ActivationID || len(b.items[n].acts()) > 0 {
			return corrupt("snapshot says what was done with %s, which is not the item before, or twice", s.Acts.ActivationID)
		}
		b.items[n].tie().acts = s.Acts.Acts
	case s.Boot != nil:
		b.boots = append(b.boots, s.Boot)
	case s.Signer != nil || s.Signed != nil || s.Limited != nil:
		b.restoreSigner(s)
	case s.Proposal != nil:
		b.proposals = append(b.proposals, s.Proposal)
	case s.Question != nil:
		b.questions = append(b.questions, s.Question)
	case s.Login != nil:
		b.logins = append(b.logins, s.Login)
	case s.Done != nil:
		b.remember(s.Done)
	case s.Device != nil, s.Mapped != nil, s.Order != nil:
		return b.restoreDevice(s)
	case s.User != nil || s.Seat != nil || s.Member != nil || s.Session != nil:
		return r.seats(s)
	case s.Meter != nil:
		h.Metered = append(h.Metered, *s.Meter)
	case s.Return != nil:
		h.Returns = append(h.Returns, *s.Return)
	case s.Out != nil:
		h.Out = append(h.Out, *s.Out)
	case s.Off != nil:
		return b.restoreOff(h, s.Off)
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
	case s.Synced != nil || s.Used != nil || s.State != nil:
		return b.restoreUsage(h, s)
	case s.Incident != nil:
		h.Incidents = append(h.Incidents, *s.Incident)
	}
	return nil
}
