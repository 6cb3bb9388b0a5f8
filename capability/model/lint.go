package model

import (
	"slices"
	"strings"

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

// comments finds those that state another number than the allocation beside them. Shares are nil where the inventory is not known.
func (l *linter) comments(m *Model, shares []PoolShare) {
	for i, p := range m.Pools {
		for j, a := range p.Allocations {
			if a.Amount.Measure != Units && shares == nil {
				continue // the comment may be about what it comes to
			}
			right := []uint64{uint64(a.Amount.Number)}
			if a.Amount.Measure == Remainder {
				right = nil
			}
			if shares != nil {
				right = append(right, shares[i].Shares[j].Want)
			}
			for _, c := range a.comments {
				said := stated(c.text)
				if len(said) > 0 && !slices.ContainsFunc(said, func(n uint64) bool { return slices.Contains(right, n) }) {
					l.say(c.Position, SymbolComment, "the comment says %d where the allocation of %q is %s", said[0], a.Feature, a.Amount)
				}
			}
		}
	}
}

// stated are the numbers of a comment: those behind an equals sign if there are any, else all that stand alone. P1 and 2.0 are names, not numbers.
func stated(text string) []uint64 {
	var all, equal []uint64
	for i := 0; i < len(text); {
		n := span(text[i:], func(c byte) bool { return isDigit(c) || isLetter(c) || c >= 0x80 || strings.IndexByte("._-/#", c) >= 0 })
		if n == 0 {
			i++
			continue
		}
		number, is := plain(strings.TrimRight(text[i:i+n], "."))
		switch {
		case !is:
		case strings.HasSuffix(strings.TrimRight(text[:i], " \t"), "="):
			equal = append(equal, number)
		default:
			all = append(all, number)
		}
		i += n
	}
	if len(equal) > 0 {
		return equal
	}
	return all
}

func plain(s string) (uint64, bool) {
	if s == "" || len(s) > 10 || span(s, isDigit) < len(s) {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		n = n*10 + uint64(s[i]-'0')
	}
	return n, true
}
