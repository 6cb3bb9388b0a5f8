package appliance

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// check is every invariant of places.
func (p *places) check() error {
	from, of := map[netip.Prefix]source{}, map[capability.Digest]int{}
	for _, l := range []*list.List{&p.halfOpen, &p.strangers, &p.known, &p.browsers} {
		for e := l.Front(); e != nil; e = e.Next() {
			g := e.Value.(*guest)
			if g.in != l || g.at != e || g.from != p.from[g.address] {
				return fmt.Errorf("a guest of %s does not know its place", g.address)
			}
			n := from[g.address]
			switch l {
			case &p.halfOpen:
				n.halfOpen++
			case &p.browsers:
				n.browsers++
			default:
				n.open++
				of[g.key]++
			}
			from[g.address] = n
		}
	}
	for a, n := range from {
		if n != *p.from[a] || n.halfOpen > p.most.halfOpenFrom || n.open > p.most.openFrom || n.browsers > p.most.browsersFrom {
			return fmt.Errorf("%+v of %s, counted %+v, at most %+v", n, a, *p.from[a], p.most)
		}
	}
	for k, n := range of {
		if n != p.of[k] || n > p.most.openOf {
			return fmt.Errorf("%d open of key %x, counted %d, at most %d", n, k[0], p.of[k], p.most.openOf)
		}
	}
	if len(from) != len(p.from) || len(of) != len(p.of) {
		return fmt.Errorf("counts of nobody: %d addresses, %d keys", len(p.from), len(p.of))
	}
	if p.halfOpen.Len() > p.most.halfOpen || p.strangers.Len()+p.known.Len() > p.most.open || p.browsers.Len() > p.most.browsers {
		return fmt.Errorf("%d half-open, %d open, %d browsers", p.halfOpen.Len(), p.strangers.Len()+p.known.Len(), p.browsers.Len())
	}
	return nil
}

func address(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 32) }

// TestPlaces plays short stories. A step is NAME@ADDRESS arrives, NAME+ finishes its handshake with the key of its first letter and is known if that is a
// capital, NAME^ is a browser after its handshake, NAME! asks, NAME* asks and is known by now, NAME~ got the server's part of the handshake, NAME- leaves; =NAMES are those who lost their places at that step, ? is a newcomer refused.
func TestPlaces(t *testing.T) {
	small := limits{halfOpen: 3, halfOpenFrom: 2, open: 3, openFrom: 3, openOf: 2, browsers: 3, browsersFrom: 2}
	for _, row := range []struct{ name, story string }{
		{"the oldest half-open goes", "a@1 b@2 c@3 d@4=a e@5=b"},
		{"an address at its share loses its own", "a@1 b@2 c@2 d@2=b a@1=c"},
		{"an address that has most loses its own", "a@1 b@2 c@2 d@3=b e@4=a"},
		{"half-open ones take nothing from open ones", "a@1 a+ b@1 b+ c@1 c+ d@2 e@3 f@4 g@5=d"},
		{"work that was done is kept", "a@1 b@2 c@3 a~ d@4=b"},
		{"who lost its place does not come in", "a@1 b@2 c@3 d@4=a a+?"},
		{"a stranger displaces the stranger silent longest", "a@1 a+ b@2 b+ c@3 c+ a! d@4 d+=b"},
		{"a stranger never displaces a device", "A@1 A+ B@2 B+ C@3 C+ d@4 d+?"},
		{"a device displaces a stranger first", "A@1 A+ b@2 b+ C@3 C+ b! D@4 D+=b"},
		{"and a device where there is no stranger", "A@1 A+ B@2 B+ C@3 C+ A! D@4 D+=B"},
		{"who was served is a device", "a@1 a+ b@2 b+ c@3 c+ a* d@4 d+=b e@4 e+=c f@4 f+=d"},
		{"a key loses its own", "a1@1 a1+ a2@2 a2+ a3@3 a3+=a1 b@4 b+"},
		{"a key of devices too", "A1@1 A1+ A2@2 A2+ A1! A3@3 A3+=A2"},
		{"a key and an address at their limits", "a1@1 a1+ a2@2 a2+ b@2 b+ b! c@2 c! a3@2 a3+=a1"},
		{"the browser silent longest goes", "a@1 a^ b@2 b^ c@3 c^ a! d@4 d^=b"},
		{"an address at its share loses its own browser", "a@1 a^ b@2 b^ c@2 c^ b! d@2 d^=c"},
		{"a browser takes no place of a client", "A@1 A+ b@2 b+ C@3 C+ d@1 d^ e@2 e^ f@3 f^ g@4 g^=d b!"},
		{"and no client takes one of a browser", "a@1 a^ b@2 b^ c@3 c^ D@1 D+ E@2 E+ F@3 F+ G@4 G+=D"},
		{"a browser that lost its place before has none", "a@1 b@2 c@3 d@4=a a^ e@5=b"},
		{"a place that is left is free", "a@1 a+ b@2 b+ c@3 c+ b- d@4 d+"},
		{"leaving twice is leaving once", "a@1 a+ a- a- b@1 b- b-"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, all := newPlaces(small), map[string]*guest{}
			name := func(g *guest) string {
				for n, o := range all {
					if o == g {
						return n
					}
				}
				return ""
			}
			for step := range strings.FieldsSeq(row.story) {
				what, want, _ := strings.Cut(step, "=")
				what, refuse := strings.CutSuffix(what, "?")
				var out []*guest
				ok := true
				if n, from, is := strings.Cut(what, "@"); is {
					all[n] = &guest{address: address(from[0])}
					out = append(out, p.arrive(all[n]))
				} else {
					n, does := what[:len(what)-1], what[len(what)-1]
					known := strings.ToUpper(n) == n
					switch g := all[n]; does {
					case '+':
						out, ok = p.enter(g, capability.Digest{n[0]}, known)
					case '^':
						if o := p.visit(g); o != nil {
							out = append(out, o)
						}
					case '!':
						p.use(g, known)
					case '*':
						p.use(g, true)
					case '~':
						p.advance(g)
					case '-':
						p.leave(g)
					}
				}
				var went string
				for _, o := range out {
					went += name(o)
				}
				if err := p.check(); err != nil || went != want || ok == refuse {
					t.Fatalf("%s: put out %q, ok %v: %v", step, went, ok, err)
				}
			}
		})
	}
}

// TestPlacesAreKept plays random arrivals against the rule itself: of those that stand in the way, a stranger goes before a device and then whoever was silent
// longest, and a stranger that could only displace a device has no place.
func TestPlacesAreKept(t *testing.T) {
	type seen struct {
		*guest
		class int // 0 half-open, 1 stranger, 2 device, 3 browser
		heard int // the step at which it last said something
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPlaces(limits{1 + r.IntN(8), 1 + r.IntN(4), 1 + r.IntN(12), 1 + r.IntN(6), 1 + r.IntN(3), 1 + r.IntN(4), 1 + r.IntN(3)})
		var all []*seen
		count := func(fits func(*seen) bool) (n int) {
			for _, s := range all {
				if fits(s) {
					n++
				}
			}
			return n
		}
		find := func(g *guest) *seen {
			if i := slices.IndexFunc(all, func(s *seen) bool { return s.guest == g }); i >= 0 {
				return all[i]
			}
			return nil
		}
		victim := func(class int, fits func(*seen) bool) (worst *seen) {
			for _, s := range all {
				if fits(s) && (worst == nil || s.class < worst.class || s.class == worst.class && s.heard < worst.heard) {
					worst = s
				}
			}
			if worst != nil && worst.class > class {
				return nil
			}
			return worst
		}
		for step := range 400 {
			var s *seen
			if len(all) > 0 && r.IntN(3) > 0 {
				s = all[r.IntN(len(all))]
			}
			var out, want []*seen
			ok, may := true, true
			what := r.IntN(6)
			switch {
			case s == nil:
				s = &seen{guest: &guest{address: address(byte(r.IntN(5)))}, heard: step}
				same := func(o *seen) bool { return o.class == 0 && o.address == s.address }
				half := func(o *seen) bool { return o.class == 0 }
				if count(same) >= p.most.halfOpenFrom {
					want = append(want, victim(0, same))
				} else if count(half) >= p.most.halfOpen {
					addresses := map[netip.Prefix]int{}
					for _, o := range all {
						if half(o) {
							addresses[o.address]++
						}
					}
					crowd := func(o *seen) bool { return half(o) && addresses[o.address]*len(addresses) >= count(half) }
					want = append(want, victim(0, crowd))
				}
				if g := p.arrive(s.guest); g != nil {
					out = append(out, find(g))
				}
				all = append(all, s)
			case what < 2 && s.class == 0:
				key, class := capability.Digest{byte(r.IntN(6))}, 1+r.IntN(2)
				open := func(o *seen) bool { return o.class == 1 || o.class == 2 }
				from := func(o *seen) bool { return open(o) && o.address == s.address }
				of := func(o *seen) bool { return open(o) && o.key == key }
				for _, rule := range []struct {
					most int
					fits func(*seen) bool
				}{{p.most.openOf, of}, {p.most.openFrom, from}, {p.most.open, open}} {
					stays := func(o *seen) bool { return rule.fits(o) && !slices.Contains(want, o) }
					if count(stays) < rule.most {
						continue
					}
					goes := victim(class, stays)
					if goes == nil {
						want, may = nil, false
						break
					}
					want = append(want, goes)
				}
				var left []*guest
				left, ok = p.enter(s.guest, key, class == 2)
				for _, g := range left {
					out = append(out, find(g))
				}
				if s.class, s.heard = class, step; !ok {
					all = slices.DeleteFunc(all, func(o *seen) bool { return o == s })
				}
			case what == 2:
				known := r.IntN(4) == 0
				if p.use(s.guest, known); s.class > 0 {
					if s.heard = step; known && s.class == 1 {
						s.class = 2
					}
				}
			case what == 3:
				if p.advance(s.guest); s.class == 0 {
					s.heard = step
				}
			case what == 4:
				p.leave(s.guest)
				all = slices.DeleteFunc(all, func(o *seen) bool { return o == s })
			case what == 5 && s.class == 0:
				browser := func(o *seen) bool { return o.class == 3 }
				same := func(o *seen) bool { return browser(o) && o.address == s.address }
				if count(same) >= p.most.browsersFrom {
					want = append(want, victim(3, same))
				} else if count(browser) >= p.most.browsers {
					want = append(want, victim(3, browser))
				}
				if g := p.visit(s.guest); g != nil {
					out = append(out, find(g))
				}
				s.class, s.heard = 3, step
			}
			all = slices.DeleteFunc(all, func(o *seen) bool { return slices.Contains(out, o) })
			if err := p.check(); err != nil || !slices.Equal(out, want) || ok != may || len(all) != p.halfOpen.Len()+p.strangers.Len()+p.known.Len()+p.browsers.Len() {
				t.Fatalf("seed %d, step %d: put out %+v where %+v goes, came in %v where %v, %d have places: %v", seed, step, out, want, ok, may, len(all), err)
			}
		}
	}
}
