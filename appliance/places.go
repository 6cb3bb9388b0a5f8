package appliance

import (
	"container/list"
	"net/netip"

	"github.com/leasehold/leasehold/capability"
)

// places says who may have a connection. It is a value that changes by what it is told, in the order in which it is told: it knows no clock, no network and no
// lock, and whom it puts out, the caller closes.
//
// Half-open connections, which have not shown a key, have places of their own: when these run out the oldest goes, so that they never take anything from the
// others. Among the open ones whoever was served is kept before whoever was not: a stranger that finds no room gets the place of the stranger that was silent
// longest, or none; a device that is known gets that place too, and where all are known, the place of the one that was silent longest, which loses nothing
// but the connection. The same holds within an address and within a key where those are at their limit.
type places struct {
	most      limits
	halfOpen  list.List // of *guest, oldest first
	strangers list.List // open and not known, silent longest first
	known     list.List // open and known, silent longest first
	arriving  map[netip.Prefix]int
	from      map[netip.Prefix]int
	of        map[capability.Digest]int
}

// limits are the numbers of places. An address is an IPv4 address or an IPv6 network of 64 bits, which is as much as one machine is given.
type limits struct {
	halfOpen, halfOpenFrom int // in all, from one address
	open, openFrom, openOf int // in all, from one address, of one key
}

// guest is one connection.
type guest struct {
	address netip.Prefix
	key     capability.Digest
	in      *list.List // nil: it has no place any more
	at      *list.Element
	close   func() // for the caller
}

func newPlaces(most limits) *places {
	return &places{most: most, arriving: map[netip.Prefix]int{}, from: map[netip.Prefix]int{}, of: map[capability.Digest]int{}}
}

// arrive gives a half-open connection a place, and says who loses it for that.
func (p *places) arrive(g *guest) (out *guest) {
	switch {
	case p.arriving[g.address] >= p.most.halfOpenFrom:
		out = first(&p.halfOpen, func(o *guest) bool { return o.address == g.address })
	case p.halfOpen.Len() >= p.most.halfOpen:
		out = first(&p.halfOpen, func(*guest) bool { return true })
	}
	p.leave(out)
	p.arriving[g.address]++
	g.in, g.at = &p.halfOpen, p.halfOpen.PushBack(g)
	return out
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
	p.leave(g)
	for _, rule := range []struct {
		count, most int
		fits        func(*guest) bool
	}{
		{p.of[key], p.most.openOf, func(o *guest) bool { return o.key == key }},
		{p.from[g.address], p.most.openFrom, func(o *guest) bool { return o.address == g.address }},
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
	p.from[g.address]++
	p.of[key]++
	return out, true
}

// use notes that an open connection asks for something, and whether its device is known by now.
func (p *places) use(g *guest, known bool) {
	switch {
	case g.in == &p.strangers && known:
		p.strangers.Remove(g.at)
		g.in, g.at = &p.known, p.known.PushBack(g)
	case g.in == &p.strangers, g.in == &p.known:
		g.in.MoveToBack(g.at)
	}
}

// leave takes the place of a connection back, if it has one.
func (p *places) leave(g *guest) {
	if g == nil || g.in == nil {
		return
	}
	g.in.Remove(g.at)
	if g.in == &p.halfOpen {
		drop(p.arriving, g.address)
	} else {
		drop(p.from, g.address)
		drop(p.of, g.key)
	}
	g.in, g.at = nil, nil
}

func drop[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] == 0 {
		delete(counts, k)
	}
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
