package model

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Lint finds what is allowed but may not be what was meant, in the order of the text. With nil items the inventory is not known, and only what
// shows without it is found.
func (m *Model) Lint(now capability.Time, items []capability.LineItem) []Finding {
	if items == nil {
		return m.lint(Distribution{}, nil)
	}
	s := newStock(now, items)
	return m.lint(m.distribute(s), s)
}

// lint is Lint with an inventory that was divided; a nil stock is one that is not known.
func (m *Model) lint(d Distribution, s *stock) []Finding {
	var l linter
	reached := l.rules(m)
	l.unused(m, reached)
	l.remainders(m)
	if s == nil {
		l.percentages(m)
		l.comments(m, nil)
	} else {
		l.demand(d, s)
		l.comments(m, d.Pools)
	}
	slices.SortStableFunc(l.findings, inText)
	return l.findings
}

type linter struct{ findings []Finding }

func (l *linter) say(at Position, s Symbol, format string, args ...any) {
	l.findings = append(l.findings, finding(at, s, format, args...))
}

// unused finds pools on which nobody can draw.
func (l *linter) unused(m *Model, reached []bool) {
	known := map[string]bool{}
	for i, r := range m.Rules {
		for _, n := range r.Use {
			known[n.Text] = known[n.Text] || reached[i] && r.Action != Deny
		}
	}
	for _, p := range m.Pools {
		if !known[p.Name] {
			l.say(p.Position, SymbolUnusedPool, "no rule lets anybody draw on pool %q", p.Name)
			known[p.Name] = true // say it once
		}
	}
}

// remainders finds allocations behind one that takes all that is left.
func (l *linter) remainders(m *Model) {
	type taker struct {
		pool string
		a    *Allocation
	}
	takers := map[string]taker{} // of each feature the one with the lowest version
	for i := range m.Pools {
		p := &m.Pools[i]
		for j := range p.Allocations {
			a := &p.Allocations[j]
			t, is := takers[a.Feature]
			if is && t.a.Version.Compare(a.Version) <= 0 {
				l.say(a.Position, SymbolAfterRemainder, "pool %q gets nothing of %q %s: pool %q takes all that is left at %s", p.Name, a.Feature, a.Version, t.pool, t.a.Position)
			} else if a.Amount.Measure == Remainder && len(a.Filters) == 0 {
				takers[a.Feature] = taker{p.Name, a}
			}
		}
	}
}

// percentages finds more than a whole, where the inventory is not known. Allocations with filters may be about different items and are left out.
func (l *linter) percentages(m *Model) {
	sums := map[entry]uint64{}
	for _, p := range m.Pools {
		for _, a := range p.Allocations {
			if a.Amount.Measure != Percent || len(a.Filters) > 0 {
				continue
			}
			key := entry{feature: a.Feature, version: a.Version}
			before := sums[key]
			sums[key] += uint64(a.Amount.Number)
			if before <= MaxPercent && sums[key] > MaxPercent {
				l.say(a.Position, SymbolOversubscribed, "%q is oversubscribed: with pool %q the pools ask for %d %% of version %s", a.Feature, p.Name, sums[key], a.Version)
			}
		}
	}
}
