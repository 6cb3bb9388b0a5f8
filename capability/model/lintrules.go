package model

import "fmt"

// rules finds what is odd about rules, and says which of them can be reached.
func (l *linter) rules(m *Model) []bool {
	places := map[string]int{}
	for i, p := range m.Pools {
		places[p.Name] = i
	}
	reached := make([]bool, len(m.Rules))
	before := decided{all: -1, atoms: map[string]int{}, conditions: map[string]int{}}
	gathered := false
	for i := range m.Rules {
		r := &m.Rules[i]
		reached[i] = l.reached(m, i, &before)
		l.mixed(&r.Condition)
		l.order(r, places)
		if r.Spec != nil {
			for _, n := range r.Spec.All {
				if n.Text == DefaultPool {
					l.say(n.Position, SymbolEmptyClause, "pool %q has no allocations of its own, so that nothing is asked from it", n.Text)
				}
			}
		}
		switch r.Action {
		case Continue:
			gathered = gathered || len(r.Use) > 0 && reached[i]
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
			before.add(&r.Condition, i)
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

// order finds pools that are used in another order than they are filled.
func (l *linter) order(r *Rule, places map[string]int) {
	last, highest := "", -1
	for _, n := range r.Use {
		place, named := places[n.Text]
		if !named {
			continue
		}
		if place < highest {
			l.say(n.Position, SymbolUseOrder, "pool %q is used after %q but filled before it", n.Text, last)
			return
		}
		last, highest = n.Text, place
	}
}

func (l *linter) reached(m *Model, i int, before *decided) bool {
	r := &m.Rules[i]
	value, known := r.Condition.constant()
	by, all := before.all, before.all >= 0
	if !all && !known {
		by, all = before.covers(&r.Condition)
	}
	switch {
	case known && !value:
		l.say(r.Position, SymbolUnreachable, "rule %d is never reached: its condition is never true", i+1)
	case all:
		l.say(r.Position, SymbolUnreachable, "rule %d is never reached: the rules up to %d, at %s, decide all its requests", i+1, by+1, m.Rules[by].Position)
	default:
		return true
	}
	return false
}

// constant is the value of a condition that has the same for every request.
func (c *Condition) constant() (value, known bool) {
	switch c.Operator {
	case IsTest:
		return true, c.Test.Subject == AnyRequest
	case Not:
		value, known = c.Parts[0].constant()
		return !value, known
	}
	deciding := c.Operator == Or // the value of one part that decides the whole
	known = true
	for i := range c.Parts {
		v, k := c.Parts[i].constant()
		if k && v == deciding {
			return deciding, true
		}
		known = known && k
	}
	return !deciding, known
}

// decided is what the rules so far accept or deny. It knows less than all of it, but nothing that is not so.
type decided struct {
	all        int            // the rule that decides every request; -1 is none
	atoms      map[string]int // single patterns, and the rule that decides them
	conditions map[string]int // whole conditions as printed
}

func (d *decided) add(c *Condition, rule int) {
	if value, known := c.constant(); known && value {
		d.all = rule
	}
	put(d.conditions, c.bare(), rule)
	switch c.Operator {
	case Or:
		for i := range c.Parts {
			d.add(&c.Parts[i], rule)
		}
	case IsTest:
		if len(c.Test.keys) > 1 {
			return // one pattern alone is not enough
		}
		for _, alternatives := range c.Test.atoms() {
			for _, a := range alternatives {
				put(d.atoms, a[0], rule)
			}
		}
	}
}

func put(m map[string]int, key string, rule int) {
	if _, is := m[key]; !is {
		m[key] = rule
	}
}

// covers says whether the rules so far decide every request for which c is true, and the last of them that it takes.
func (d *decided) covers(c *Condition) (rule int, all bool) {
	if rule, all = d.conditions[c.bare()]; all {
		return rule, true
	}
	switch c.Operator {
	case Or:
		for i := range c.Parts {
			r, is := d.covers(&c.Parts[i])
			if !is {
				return 0, false
			}
			rule = max(rule, r)
		}
		return rule, true
	case And:
		for i := range c.Parts {
			if rule, all = d.covers(&c.Parts[i]); all {
				return rule, true
			}
		}
	case IsTest:
		for _, alternatives := range c.Test.atoms() {
			if rule, all = d.coversEach(alternatives); all {
				return rule, true
			}
		}
	}
	return 0, false
}

func (d *decided) coversEach(alternatives [][]string) (rule int, all bool) {
	for _, names := range alternatives {
		found := false
		for _, n := range names {
			if r, is := d.atoms[n]; is && !found {
				rule, found = max(rule, r), true
			}
		}
		if !found {
			return 0, false
		}
	}
	return rule, true
}

// atoms takes a test apart: all of the outer list must be true, each by any of its alternatives. An alternative has its own name first, then that
// of one that is true whenever it is.
func (t *Test) atoms() [][][]string {
	if t.Subject == AnyRequest {
		return nil
	}
	if t.Subject != Dictionary {
		var each [][]string
		for _, p := range t.Patterns {
			each = append(each, []string{atom(t.Subject, "", p)})
		}
		return [][][]string{each}
	}
	byKey := make([][][]string, len(t.keys))
	for i, k := range t.keys {
		present := fmt.Sprintf("%s %q", Dictionary, k.key)
		for _, p := range t.Pairs {
			switch {
			case p.Key != k.key:
			case p.AnyValue:
				byKey[i] = append(byKey[i], []string{present})
			default:
				byKey[i] = append(byKey[i], []string{atom(Dictionary, p.Key, p.Pattern), present})
			}
		}
	}
	return byKey
}

func atom(s Subject, key string, p Pattern) string {
	if p.Regexp {
		return fmt.Sprintf("%s %q ~ %s", s, key, p.Text)
	}
	return fmt.Sprintf("%s %q = %s", s, key, p.value)
}
