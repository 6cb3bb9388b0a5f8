package appliance

import (
	"container/list"
	"net/netip"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// places says who may have a connection. It is a value that changes by what it is told, in the order in which it is told: it knows no clock, no network and no
// lock, and whom it puts out, the caller closes.
//
// Half-open connections, which have not shown a key, have places of their own, so that they never take anything from the others: when these run out the oldest of
// an address that has more than the mean goes, and whoever comes in hundreds loses its own. Among the open ones whoever was served is kept before whoever was not: a stranger that finds no room gets the place of the stranger that was silent
// longest, or none; a device that is known gets that place too, and where all are known, the place of the one that was silent longest, which loses nothing
// but the connection. The same holds within an address and within a key where those are at their limit.
//
// Browsers have places of their own too: they take none of a client, and find one where devices have all of the others. There the one that was silent longest goes.
type places struct {
	most      limits
	halfOpen  list.List // of *guest, oldest first
	strangers list.List // open and not known, silent longest first
	known     list.List // open and known, silent longest first
	browsers  list.List // open, silent longest first
	arriving  int       // addresses of half-open connections
	from      map[netip.Prefix]*source
	of        map[capability.Digest]int
}

// limits are the numbers of places. An address is an IPv4 address or an IPv6 network of 64 bits, which is as much as one machine is given.
type limits struct {
	halfOpen, halfOpenFrom int // in all, from one address
	open, openFrom, openOf int // in all, from one address, of one key
	browsers, browsersFrom int // in all, from one address
}

// source is an address with the number of its connections.
type source struct{ halfOpen, open, browsers int }

// guest is one connection.
type guest struct {
	address netip.Prefix
	from    *source // while it has a place
	key     capability.Digest
	in      *list.List // nil: it has no place any more
	at      *list.Element
	close   func()        // for the caller
	since   time.Duration // likewise
}

func newPlaces(most limits) *places {
	return &places{most: most, from: map[netip.Prefix]*source{}, of: map[capability.Digest]int{}}
}

// arrive gives a half-open connection a place, and says who loses it for that.
func (p *places) arrive(g *guest) (out *guest) {
	own := p.source(g)
	switch {
	case own.halfOpen >= p.most.halfOpenFrom:
		out = first(&p.halfOpen, func(o *guest) bool { return o.from == own })
	case p.halfOpen.Len() >= p.most.halfOpen:
		out = first(&p.halfOpen, func(o *guest) bool { return o.from.halfOpen*p.arriving >= p.halfOpen.Len() })
	}
	g.from = own
	if own.halfOpen++; own.halfOpen == 1 {
		p.arriving++
	}
	g.in, g.at = &p.halfOpen, p.halfOpen.PushBack(g)
	p.leave(out)
	return out
}

func (p *places) source(g *guest) *source {
	s := p.from[g.address]
	if s == nil {
		s = &source{}
		p.from[g.address] = s
	}
	return s
}

// advance notes that the server has done its part of a handshake: the work must not be lost to the next who comes.
func (p *places) advance(g *guest) {
	if g.in == &p.halfOpen {
		p.halfOpen.MoveToBack(g.at)
	}
}

// enter makes a connection an open one, when its key is known. Without a place it has none at all afterwards, and nobody loses one. Where several limits are
// reached, of the key, the address and all, one may go for each.
func (p *places) enter(g *guest, key capability.Digest, known bool) (out []*guest, ok bool) {
	if g.in != &p.halfOpen {
		return nil, false
	}
	from := g.from
	p.leave(g)
	for _, rule := range []struct {
		count, most int
		fits        func(*guest) bool
	}{
		{p.of[key], p.most.openOf, func(o *guest) bool { return o.key == key }},
		{from.open, p.most.openFrom, func(o *guest) bool { return o.from == from }},
		{p.strangers.Len() + p.known.Len(), p.most.open, func(*guest) bool { return true }},
	} {
		for _, o := range out {
			if rule.fits(o) {
				rule.count--
			}
		}
		if rule.count < rule.most {
			continue
		}
		// None of those that go already fits: else there would be room.
		goes := first(&p.strangers, rule.fits)
		if goes == nil && known {
			goes = first(&p.known, rule.fits)
		}
		if goes == nil {
			return nil, false
		}
		out = append(out, goes)
	}
	for _, o := range out {
		p.leave(o)
	}
	g.key, g.in = key, &p.strangers
	if known {
		g.in = &p.known
	}
	g.at = g.in.PushBack(g)
	g.from = p.source(g)
	g.from.open++
	p.of[key]++
	return out, true
}

// visit makes a half-open connection a browser's, if it still has a place, and says who loses one for that: of its own address where that has as many as it may have, else of all.
func (p *places) visit(g *guest) (out *guest) {
	if g.in != &p.halfOpen {
		return nil
	}
	from := g.from
	p.leave(g)
	switch {
	case from.browsers >= p.most.browsersFrom:
		out = first(&p.browsers, func(o *guest) bool { return o.from == from })
	case p.browsers.Len() >= p.most.browsers:
		out = first(&p.browsers, func(*guest) bool { return true })
	}
	p.leave(out)
	g.in, g.at = &p.browsers, p.browsers.PushBack(g)
	g.from = p.source(g)
	g.from.browsers++
	return out
}

// use notes that an open connection asks for something, and whether its device is known by now.
func (p *places) use(g *guest, known bool) {
	switch {
	case g.in == &p.strangers && known:
		p.strangers.Remove(g.at)
		g.in, g.at = &p.known, p.known.PushBack(g)
	case g.in == &p.strangers, g.in == &p.known, g.in == &p.browsers:
		g.in.MoveToBack(g.at)
	}
}

// leave takes the place of a connection back, if it has one.
func (p *places) leave(g *guest) {
	if g == nil || g.in == nil {
		return
	}
	g.in.Remove(g.at)
	switch g.in {
	case &p.halfOpen:
		if g.from.halfOpen--; g.from.halfOpen == 0 {
			p.arriving--
		}
	case &p.browsers:
		g.from.browsers--
	default:
		g.from.open--
		if p.of[g.key]--; p.of[g.key] == 0 {
			delete(p.of, g.key)
		}
	}
	if *g.from == (source{}) {
		delete(p.from, g.address)
	}
	g.in, g.at, g.from = nil, nil, nil
}

// first costs as much as there are places: a few microseconds, beside a handshake of hundreds.
func first(l *list.List, fits func(*guest) bool) *guest {
	for e := l.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); fits(g) {
			return g
		}
	}
	return nil
}
