package model

import "slices"

func (p *parser) rule() Rule {
	r := Rule{Position: p.token.Position}
	p.want("on")
	r.Condition = p.condition()
	p.want("{")
	if p.accept("use") {
		r.Use = p.poolNames()
	}
	if p.is("without") {
		r.Spec = p.spec()
	}
	if p.accept("max") {
		r.Limits = p.limits()
	}
	switch {
	case p.accept("accept"):
		r.Action = Accept
	case p.accept("continue"):
		r.Action = Continue
	case p.accept("deny"):
		r.Action = Deny
	default:
		p.stop(refusal(p.token.Position, SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found %s`, p.token))
	}
	p.wantOr("}", `"}" behind the action`)
	return r
}

func (p *parser) spec() *Spec {
	s := &Spec{Position: p.token.Position}
	p.want("without")
	p.want("requested")
	p.want("features")
	p.want("{")
	lines := 0
	if p.accept("all") {
		p.want("from")
		s.All = p.poolNames()
		for _, n := range s.All {
			if pool := p.pools[n.Text]; pool != nil {
				lines += len(pool.Allocations)
			}
		}
		p.wantOr("}", `"," or "}"`)
	} else {
		for p.token.kind == quoted && lines <= MaxLines {
			l := SpecLine{Position: p.token.Position}
			l.Feature = p.name("a feature in double quotes").Text
			l.Version = p.version()
			l.Count = p.count()
			s.Lines = append(s.Lines, l)
			lines++
		}
		if lines <= MaxLines {
			p.wantOr("}", `"all", a feature in double quotes or "}"`)
		}
	}
	if lines > MaxLines {
		p.stop(refusal(s.Position, SymbolLimit, "a clause of more than %d features", MaxLines))
	}
	return s
}

func (p *parser) limits() []Limit {
	var all []Limit
	for {
		l := Limit{Position: p.token.Position}
		l.Feature = p.name("a feature in double quotes").Text
		l.Version = p.version()
		l.Count = p.count()
		p.want("per")
		switch {
		case p.accept("device"):
			l.Per = PerDevice
		case p.accept("user"):
			l.Per = PerUser
		default:
			p.wanted(`"device" or "user"`)
		}
		if len(all) == MaxLimits {
			p.stop(refusal(l.Position, SymbolLimit, "more than %d limits in a rule", MaxLimits))
		}
		all = append(all, l)
		if !p.accept(",") {
			return all
		}
	}
}

func (p *parser) condition() Condition { return p.joined(Or, p.conjunction, "or", "||") }

func (p *parser) conjunction() Condition { return p.joined(And, p.negation, "and", "&&") }

func (p *parser) joined(o Operator, part func() Condition, signs ...string) Condition {
	first := part()
	if !slices.ContainsFunc(signs, p.is) {
		return first
	}
	c := Condition{Position: first.Position, Operator: o, Parts: []Condition{first}}
	for p.accept(signs...) {
		c.Parts = append(c.Parts, part())
	}
	return c
}

func (p *parser) negation() Condition {
	at := p.token.Position
	if p.accept("not", "!") {
		return Condition{Position: at, Operator: Not, Parts: []Condition{p.operand(`"dictionary"`)}}
	}
	return p.operand(`"dictionary", "not"`)
}

// operand reads a test or what stands in parentheses; last is what a message names as the last that could stand here.
func (p *parser) operand(last string) Condition {
	at := p.token.Position
	if !p.accept("(") {
		return Condition{Position: at, Operator: IsTest, Test: p.test(last)}
	}
	if p.depth++; p.depth > MaxNesting {
		p.stop(refusal(at, SymbolLimit, "more than %d parentheses inside each other", MaxNesting))
		return Condition{}
	}
	c := p.condition()
	p.depth--
	p.wantOr(")", `"and", "or" or ")"`)
	c.Parenthesized = true
	return c
}

func (p *parser) test(last string) Test {
	t := Test{Position: p.token.Position}
	switch {
	case p.accept("any"):
		p.want("(")
		p.want(")")
		return t
	case p.accept("hostid"):
		t.Subject = HostID
	case p.accept("hostname"):
		t.Subject = Hostname
	case p.accept("hosttype"):
		t.Subject = HostType
	case p.accept("user"):
		t.Subject = User
	case p.accept("dictionary"):
		t.Subject = Dictionary
	default:
		p.wanted(`a condition: "any", "hostid", "hostname", "hosttype", "user", ` + last + ` or "("`)
		return t
	}
	p.want("(")
	for {
		if t.Subject == Dictionary {
			t.Pairs = append(t.Pairs, p.pair())
		} else {
			t.Patterns = append(t.Patterns, p.value(t.Subject))
		}
		if !p.accept(",") {
			break
		}
	}
	p.wantOr(")", `"," or ")"`)
	if !p.stopped {
		t.prepare()
		if len(t.keys) > MaxKeys {
			p.stop(refusal(t.Position, SymbolLimit, "more than %d different keys in a dictionary test", MaxKeys))
		}
	}
	return t
}

// value reads what a fact is compared with. Texts for host IDs are read as host IDs.
func (p *parser) value(s Subject) Pattern {
	t := p.pattern()
	if s == HostID && !t.Regexp && !p.stopped {
		var err error
		if t.value, err = hostText(t.Text); err != nil {
			p.refuse(t.Position, SymbolHostID, "%q is %v", shorten(t.Text), err)
		}
	}
	return t
}

func (p *parser) pair() Pair {
	n := p.name("a key in double quotes")
	pair := Pair{Position: n.Position, Key: n.Text}
	p.want(":")
	if pair.AnyValue = p.accept("*"); !pair.AnyValue {
		pair.Pattern = p.pattern()
	}
	return pair
}

// prepare makes the look-ups of a test.
func (t *Test) prepare() {
	for _, v := range t.Patterns {
		t.values.add(v)
	}
	places := map[string]int{}
	for _, pair := range t.Pairs {
		i, known := places[pair.Key]
		if !known {
			i = len(t.keys)
			places[pair.Key] = i
			t.keys = append(t.keys, keyMatcher{key: pair.Key})
		}
		if k := &t.keys[i].values; pair.AnyValue {
			k.any = true
		} else {
			k.add(pair.Pattern)
		}
	}
}
