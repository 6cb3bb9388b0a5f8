package model

import "slices"

// rules finds what is odd about rules, and says which of them can be reached.
func (l *linter) rules(m *Model) []bool {
	places := map[string]int{}
	for i, p := range m.Pools {
		places[p.Name] = i
	}
	reached := make([]bool, len(m.Rules))
	before, found := decided{all: -1, rules: map[string]int{}}, gathering{}
	gathered := false
	for i := range m.Rules {
		r := &m.Rules[i]
		f := r.Condition.form(false)
		reached[i] = l.reached(m, i, &f, &before)
		l.mixed(&r.Condition)
		if reached[i] && r.Action != Deny {
			l.order(r, places, found.before(f))
		} else {
			l.order(r, places, nil)
		}
		if r.Spec != nil {
			for _, n := range r.Spec.All {
				if n.Text == DefaultPool {
					l.say(n.Position, SymbolEmptyClause, "pool %q has no allocations of its own, so that nothing is asked from it", n.Text)
				}
			}
		}
		switch r.Action {
		case Continue:
			if reached[i] && len(r.Use) > 0 {
				gathered = true
				found.add(f, r.Use, places)
			}
			continue
		case Accept:
			if len(r.Use) == 0 && !gathered {
				l.say(r.Position, SymbolNoPool, "rule %d accepts but names no pool: nothing can be served", i+1)
			}
		case Deny:
			if len(r.Use) > 0 || r.Spec != nil || len(r.Limits) > 0 {
				l.say(r.Position, SymbolUseDenied, "rule %d denies: what else it says has no effect", i+1)
			}
		}
		if reached[i] {
			before.add(&r.Condition, f, i)
		}
	}
	return reached
}

// mixed finds "and" beside "or" where no parentheses say which comes first.
func (l *linter) mixed(c *Condition) {
	for i := range c.Parts {
		if p := &c.Parts[i]; c.Operator == Or && p.Operator == And && !p.Parenthesized {
			l.say(p.Position, SymbolMixed, `"and" beside "or" without parentheses: this reads as (%s)`, shorten(p.String()))
			break
		}
	}
	for i := range c.Parts {
		l.mixed(&c.Parts[i])
	}
}

// order finds pools that are used in another order than they are filled; those gathered before are used first.
func (l *linter) order(r *Rule, places map[string]int, before []*gathered) {
	last, highest := "", -1
	for _, g := range before {
		if g.place > highest {
			last, highest = g.last, g.place
		}
	}
	for _, n := range r.Use {
		place, named := places[n.Text]
		if !named || slices.ContainsFunc(before, func(g *gathered) bool { return g.pools[n.Text] }) {
			continue
		}
		if place < highest {
			l.say(n.Position, SymbolUseOrder, "pool %q is used after %q but filled before it", n.Text, last)
			return
		}
		last, highest = n.Text, place
	}
}

func (l *linter) reached(m *Model, i int, f *form, before *decided) bool {
	r := &m.Rules[i]
	by, all := before.all, before.all >= 0
	if !all {
		by, all = before.covers(f)
	}
	switch {
	case f.never():
		l.say(r.Position, SymbolUnreachable, "rule %d is never reached: its condition is never true", i+1)
	case all:
		l.say(r.Position, SymbolUnreachable, "rule %d is never reached: the rules up to %d, at %s, decide all its requests", i+1, by+1, m.Rules[by].Position)
	default:
		return true
	}
	return false
}
