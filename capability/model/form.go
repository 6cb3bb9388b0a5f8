package model

import (
	"fmt"
	"slices"
	"strings"
)

// form is a condition in the one form in which conditions are compared: "not" stands at single patterns only, lists are taken apart, parts are sorted
// and each is there once. Conditions of equal keys are true for the same requests.
type form struct {
	operator Operator // IsTest is a single pattern; And without parts is always true, Or without parts never
	parts    []form
	key      string

	// Of a single pattern:
	opposite string // the key of its negation
	weaker   string // the key of one that is true whenever it is, or empty
	fact     string // that can be equal to no other text beside it, or empty
	not      bool
}

func constant(value bool) form {
	if value {
		return form{operator: And, key: "true"}
	}
	return form{operator: Or, key: "false"}
}

// never says that no request makes the condition true.
func (f *form) never() bool { return f.operator == Or && len(f.parts) == 0 }

// form is the form of the condition, or of its negation.
func (c *Condition) form(not bool) form {
	switch c.Operator {
	case IsTest:
		return c.Test.form(not)
	case Not:
		return c.Parts[0].form(!not)
	}
	parts := make([]form, len(c.Parts))
	for i := range c.Parts {
		parts[i] = c.Parts[i].form(not)
	}
	return joined(c.Operator, not, parts)
}

func (t *Test) form(not bool) form {
	var all []form
	switch t.Subject {
	case AnyRequest:
		return constant(!not)
	case Dictionary:
		for _, k := range t.keys { // each of them, by any of its values
			var values []form
			for _, p := range t.Pairs {
				if p.Key == k.key {
					values = append(values, p.form(not))
				}
			}
			all = append(all, joined(Or, not, values))
		}
		return joined(And, not, all)
	}
	for _, p := range t.Patterns {
		one := t.Subject == Hostname || t.Subject == HostType || t.Subject == User // of these a request has one at most
		if one && !p.Regexp && p.value == "" {
			all = append(all, constant(not)) // what is absent matches nothing
			continue
		}
		f := single(atom(t.Subject, "", p), not)
		if one && !p.Regexp {
			f.fact = t.Subject.String()
		}
		all = append(all, f)
	}
	return joined(Or, not, all)
}

func (p Pair) form(not bool) form {
	present := fmt.Sprintf("%s %q", Dictionary, p.Key)
	if p.AnyValue {
		return single(present, not)
	}
	f := single(atom(Dictionary, p.Key, p.Pattern), not)
	if !not {
		f.weaker = present
	}
	return f
}

func atom(s Subject, key string, p Pattern) string {
	if p.Regexp {
		return fmt.Sprintf("%s %q ~ %s", s, key, p.Text)
	}
	return fmt.Sprintf("%s %q = %s", s, key, p.value)
}

func single(name string, not bool) form {
	f := form{key: name, opposite: "not " + name, not: not}
	if not {
		f.key, f.opposite = f.opposite, f.key
	}
	return f
}

// joined joins parts by an operator; those of a negation are negated already, and the operator is to be.
func joined(o Operator, not bool, parts []form) form {
	if not {
		o = And + Or - o
	}
	var all []form
	for _, p := range parts {
		switch {
		case p.operator == o:
			all = append(all, p.parts...)
		case p.operator != IsTest && len(p.parts) == 0:
			return p // it decides the whole
		default:
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b form) int { return strings.Compare(a.key, b.key) })
	all = slices.CompactFunc(all, func(a, b form) bool { return a.key == b.key })
	if len(all) == 1 {
		return all[0]
	}
	keys := make([]string, len(all))
	has, values := make(map[string]bool, len(all)), map[string]bool{}
	for i, p := range all {
		// Neither x and not x, nor a fact with two values; and always one of their negations.
		if has[p.opposite] || p.fact != "" && p.not == (o == Or) && values[p.fact] {
			return constant(o == Or)
		}
		keys[i], has[p.key] = p.key, true
		if p.fact != "" && p.not == (o == Or) {
			values[p.fact] = true
		}
	}
	if len(all) == 0 {
		return constant(o == And)
	}
	return form{operator: o, parts: all, key: "(" + strings.Join(keys, fmt.Sprintf(" %d ", o)) + ")"}
}

// decided is what the rules so far accept or deny: conditions, and the rule that decides each. It knows less than all of it, but nothing that is not so.
type decided struct {
	all   int // the rule that decides what all before it leave; -1 is none
	rules map[string]int
}

// add notes that a rule decides what is true by c, and that nothing is left if all that is not was decided before.
func (d *decided) add(c *Condition, f form, rule int) {
	if other := c.form(true); d.all < 0 {
		if _, rest := d.covers(&other); rest {
			d.all = rule
		}
	}
	d.put(f, rule)
}

func (d *decided) put(f form, rule int) {
	if _, is := d.rules[f.key]; !is {
		d.rules[f.key] = rule
	}
	if f.operator == Or {
		for _, p := range f.parts {
			d.put(p, rule)
		}
	}
}

// covers says whether the rules so far decide every request for which f is true, and the last of them that it takes.
func (d *decided) covers(f *form) (rule int, all bool) {
	if rule, all = d.rules[f.key]; all {
		return rule, true
	}
	switch f.operator {
	case Or:
		for i := range f.parts {
			r, is := d.covers(&f.parts[i])
			if !is {
				return 0, false
			}
			rule = max(rule, r)
		}
		return rule, true
	case And:
		for i := range f.parts {
			if rule, all = d.covers(&f.parts[i]); all {
				return rule, true
			}
		}
		return 0, false
	}
	rule, all = d.rules[f.weaker]
	return rule, all
}

// gathering is what rules with "continue" gather: by the key of each condition that makes it certain.
type gathering map[string]*gathered

// gathered is pools, and which of them is filled last.
type gathered struct {
	pools map[string]bool
	last  string
	place int
}

// manyParts is how many parts of a condition are looked at for what is gathered before; those behind them are few people's.
const manyParts = 64

// add notes what a rule gathers: certain for each part of "or", as each is enough.
func (g gathering) add(f form, use []Name, places map[string]int) {
	keys := []string{f.key}
	if f.operator == Or {
		for _, p := range f.parts[:min(len(f.parts), manyParts)] {
			keys = append(keys, p.key)
		}
	}
	for _, k := range keys {
		if g[k] == nil {
			g[k] = &gathered{pools: map[string]bool{}, place: -1}
		}
		for _, n := range use {
			g[k].pools[n.Text] = true
			if place, named := places[n.Text]; named && place > g[k].place {
				g[k].last, g[k].place = n.Text, place
			}
		}
	}
}

// before is what certainly was gathered where f is true.
func (g gathering) before(f form) (all []*gathered) {
	keys := []string{"true", f.key, f.weaker}
	if f.operator == And {
		for _, p := range f.parts[:min(len(f.parts), manyParts)] {
			keys = append(keys, p.key, p.weaker)
		}
	}
	for _, k := range keys {
		if g[k] != nil {
			all = append(all, g[k])
		}
	}
	return all
}
