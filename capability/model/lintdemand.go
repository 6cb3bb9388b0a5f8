package model

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// claims are what pools ask of one feature through the same filters.
type claims struct {
	filters []Filter
	lowest  capability.Version
	want    uint64
	short   *Share // the first that got less than it wants, of pool
	pool    string
}

func (c *claims) add(sh *Share, pool string) {
	if sh.Allocation.Version.Compare(c.lowest) < 0 {
		c.lowest = sh.Allocation.Version
	}
	if sh.Allocation.Amount.Measure != Remainder {
		c.want += sh.Want
	}
	if c.short == nil && sh.Short() > 0 {
		c.short, c.pool = sh, pool
	}
}

// demand finds features of which the pools ask for more than there is, at the first allocation that goes short: first those of which it can be said
// in which group of items, then in all.
func (l *linter) demand(d Distribution, s *stock) {
	type group struct{ feature, kind string }
	groups := map[group]*claims{}
	byFeature := map[string][]*claims{}
	var features []string
	for i := range d.Pools {
		for j := range d.Pools[i].Shares {
			sh := &d.Pools[i].Shares[j]
			a := sh.Allocation
			if byFeature[a.Feature] == nil {
				features = append(features, a.Feature)
			}
			g := group{a.Feature, a.kind()}
			if groups[g] == nil {
				groups[g] = &claims{filters: a.Filters, lowest: a.Version}
				byFeature[a.Feature] = append(byFeature[a.Feature], groups[g])
			}
			groups[g].add(sh, d.Pools[i].Name)
		}
	}
	for _, name := range features {
		l.demandOf(byFeature[name], s)
	}
}

func (l *linter) demandOf(all []*claims, s *stock) {
	var short *claims // whose share is the first in the text
	for _, c := range all {
		if c.short == nil {
			continue
		}
		a := c.short.Allocation
		if f := s.shelves[a.Feature]; f != nil && len(c.filters) > 0 {
			if total := s.total(f, f.from(c.lowest), s.sieves(c.filters)); c.want > total {
				l.say(a.Position, SymbolOversubscribed, "%q is oversubscribed: the pools ask for %d of %d of %s; pool %q gets %d of %d", a.Feature, c.want, total, a.kind(), c.pool, c.short.Got, c.short.Want)
				continue
			}
		}
		if short == nil || a.Position.compare(short.short.Allocation.Position) < 0 {
			short = c
		}
	}
	if short == nil {
		return
	}
	a, sh := short.short.Allocation, short.short
	var want uint64
	for _, c := range all {
		want += c.want
	}
	if total := s.wanted(a.Feature, all); want > total {
		l.say(a.Position, SymbolOversubscribed, "%q is oversubscribed: the pools ask for %d of %d; pool %q gets %d of %d", a.Feature, want, total, short.pool, sh.Got, sh.Want)
		return
	}
	l.say(a.Position, SymbolShort, "pool %q gets %d of %d %q %s: what else there is is below that version, not let in by a filter, or in a pool before", short.pool, sh.Got, sh.Want, a.Feature, a.Version)
}

// wanted is the counts of all items of a feature that any of the claims is about.
func (s *stock) wanted(feature string, all []*claims) (sum uint64) {
	f := s.shelves[feature]
	if f == nil {
		return 0
	}
	sieves := make([][]sieve, len(all))
	for i, c := range all {
		sieves[i] = s.sieves(c.filters)
	}
	for _, it := range f.items {
		for i, c := range all {
			if it.item.Version.Compare(c.lowest) >= 0 && s.pass(sieves[i], it) {
				sum += uint64(it.item.Count)
				break
			}
		}
	}
	return sum
}

// kind is what an allocation's filters say of items: vendor string "v".
func (a *Allocation) kind() string {
	all := make([]string, len(a.Filters))
	for i, f := range a.Filters {
		all[i] = fmt.Sprintf("%s %s", f.Property, f.Pattern)
	}
	return strings.Join(all, " and ")
}
