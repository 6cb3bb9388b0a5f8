package model

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// Parse reads a model of at most MaxFile bytes of UTF-8; a byte order mark is passed over. The error is a *SyntaxError and is about the first
// place, from the top, for which the text is refused.
func Parse(text []byte) (*Model, error) {
	return whole(reading(text, false))
}

// Reread reads a model that some release accepted, whatever has become forbidden since: characters that nobody sees, names that a screen would mix up or that are
// reserved by now, entries that say the same, host IDs of a form that is refused today, which match nothing. A journal must be readable forever; a text that comes
// from outside is for Parse. The error is a *SyntaxError.
func Reread(text []byte) (*Model, error) {
	return whole(reading(text, true))
}

func whole(m *Model, refusals []Finding) (*Model, error) {
	if len(refusals) > 0 {
		return nil, &SyntaxError{refusals[0]}
	}
	return m, nil
}

// read is Parse, but goes on behind a refusal where the text can still be understood. The model is nil where it cannot be to its end.
func read(text []byte) (*Model, []Finding) { return reading(text, false) }

// reading is read, with accepted of a text that was accepted once.
func reading(text []byte, accepted bool) (*Model, []Finding) {
	if len(text) > MaxFile {
		return nil, []Finding{refusal(Position{1, 1}, SymbolSize, "more than %d bytes, which is the most a model may have", MaxFile)}
	}
	s := strings.TrimPrefix(string(text), "\ufeff")
	if bad, ok := screen(s); !ok && !accepted {
		return nil, []Finding{bad}
	}
	p := &parser{lexer: lexer{rest: s, at: Position{1, 1}, accepted: accepted}, regexpCost: MaxRegexpCost}
	p.advance()
	m := p.model()
	slices.SortStableFunc(p.refusals, inText)
	if p.stopped {
		return nil, p.refusals
	}
	return m, p.refusals
}

// inText orders findings as they come in the text.
func inText(a, b Finding) int { return a.compare(b.Position) }

// parser reads by recursive descent. Once it has stopped every token is the end of the text, so that all loops end.
type parser struct {
	lexer       lexer
	token       token
	line        int // on which the token before ended
	refusals    []Finding
	stopped     bool
	inside      *[]comment // where comments of the allocation that is read go; nil outside
	pools       map[string]*namedPool
	allocations int
	regexpCost  int
	depth       int
}

func (p *parser) advance() {
	if p.stopped {
		return
	}
	p.line = p.lexer.at.Line
	t, bad := p.lexer.next()
	p.token = t
	if p.inside != nil {
		*p.inside = append(*p.inside, p.lexer.comments...)
	}
	if bad != nil {
		p.stop(*bad)
	}
}

// stop ends the reading: what follows cannot be understood.
func (p *parser) stop(f Finding) {
	if p.stopped {
		return
	}
	p.refusals = append(p.refusals, f)
	p.stopped = true
	p.token = token{Position: p.token.Position}
	p.lexer.comments = nil
}

// refuse notes that the text is refused; reading goes on.
func (p *parser) refuse(at Position, s Symbol, format string, args ...any) {
	if p.stopped || p.lexer.accepted && s.stricter() {
		return
	}
	if len(p.refusals) == MaxRefusals {
		p.stop(refusal(at, SymbolTooManyFindings, "more than %d findings; reading ended here", MaxRefusals))
		return
	}
	p.refusals = append(p.refusals, refusal(at, s, format, args...))
}

// wanted stops the reading at a token that is not what the grammar has here.
func (p *parser) wanted(what string) {
	p.stop(refusal(p.token.Position, SymbolSyntax, "want %s, found %s", what, p.token))
}

func (p *parser) is(text string) bool {
	return (p.token.kind == word || p.token.kind == mark) && p.token.text == text
}

// accept passes the token if it is one of these.
func (p *parser) accept(texts ...string) bool {
	if slices.ContainsFunc(texts, p.is) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) want(text string) { p.wantOr(text, strconv.Quote(text)) }

func (p *parser) wantOr(text, what string) {
	if !p.accept(text) {
		p.wanted(what)
	}
}

func (p *parser) model() *Model {
	m := &Model{Position: p.token.Position}
	p.pools = map[string]*namedPool{}
	p.want("model")
	name := p.name("the name of the model in double quotes")
	if m.Name = name.Text; m.Name == DefaultPool || m.Name == ReservedPool {
		p.refuse(name.Position, SymbolReserved, "%q is reserved: no model can have that name", m.Name)
	}
	p.want("{")
	if p.accept("partitions") {
		p.want("{")
		for p.is("partition") {
			if len(m.Pools) == MaxPools {
				p.stop(refusal(p.token.Position, SymbolLimit, "more than %d pools", MaxPools))
				break
			}
			m.Pools = append(m.Pools, p.pool())
		}
		p.wantOr("}", `"partition" or "}"`)
	}
	for p.is("on") {
		if len(m.Rules) == MaxRules {
			p.stop(refusal(p.token.Position, SymbolLimit, "more than %d rules", MaxRules))
			break
		}
		m.Rules = append(m.Rules, p.rule())
	}
	p.wantOr("}", `"on" or "}"`)
	if p.token.kind != endOfText {
		p.wanted("the end of the text")
	}
	return m
}

// namedPool is a pool, and where its name stands.
type namedPool struct {
	*Pool
	at Position
}

func (p *parser) pool() Pool {
	pool := Pool{Position: p.token.Position}
	p.want("partition")
	name := p.name("the name of a pool in double quotes")
	pool.Name = name.Text
	if name.Text == DefaultPool || name.Text == ReservedPool || name.Text == OverdraftPool {
		p.refuse(name.Position, SymbolReserved, "%q is reserved: no pool can have that name", name.Text)
	} else if first, known := p.pools[name.Text]; known {
		p.refuse(name.Position, SymbolDuplicatePool, "pool %q is named twice; the first is at %s", name.Text, first.at)
	}
	if p.pools[name.Text] == nil {
		p.pools[name.Text] = &namedPool{&pool, name.Position}
	}
	p.want("{")
	var before entries
	refused, line := len(p.refusals), 0
	for p.token.kind == quoted {
		if p.allocations++; p.allocations > MaxAllocations {
			p.stop(refusal(p.token.Position, SymbolLimit, "more than %d allocations", MaxAllocations))
			break
		}
		a := p.allocation(len(pool.Allocations) == 0)
		if first, why := before.add(a); why != "" {
			p.refuse(a.Position, SymbolDuplicateEntry, "duplicate feature entries: pool %q has %q %s already at %s, %s", pool.Name, a.Feature, a.Version, first, why)
		}
		pool.Allocations = append(pool.Allocations, a)
		line = p.line
	}
	p.wantOr("}", `a feature in double quotes or "}"`)
	if line == p.line && len(p.refusals) == refused { // a pool on one line may have its comment behind the bracket
		last := &pool.Allocations[len(pool.Allocations)-1]
		last.comments = p.beside(last.comments)
	}
	return pool
}

// entry is what must not be twice in a pool: a feature and version, with a vendor string or without.
type entry struct {
	feature string
	version capability.Version
	vendor  string
}

// entries are where the first of each is, and under no vendor string where the first with any is.
type entries struct{ exact, vendored map[entry]Position }

// add says beside which earlier allocation this one cannot stand, and why. Two of a feature and version can stand side by side only if each names
// a vendor string, and not the same.
func (e *entries) add(a Allocation) (at Position, why string) {
	if e.exact == nil {
		*e = entries{map[entry]Position{}, map[entry]Position{}}
	}
	bare := entry{a.Feature, a.Version, ""}
	full := entry{a.Feature, a.Version, a.vendor()}
	if at, why = e.exact[full], "with an equal vendor string"; at != (Position{}) {
		if full == bare {
			why = "and neither names a vendor string"
		}
		return at, why
	}
	e.exact[full] = a.Position
	other := e.vendored[bare]
	if full != bare {
		if other == (Position{}) {
			e.vendored[bare] = a.Position
		}
		other = e.exact[bare]
	}
	if other != (Position{}) {
		return other, "and only one of the two names a vendor string"
	}
	return Position{}, ""
}

// vendor is what an allocation says of the vendor string, in one form.
func (a Allocation) vendor() string {
	var all []string
	for _, f := range a.Filters {
		if f.Property == VendorString {
			all = append(all, f.Pattern.String())
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// allocation reads an allocation with the comments before it on its line, inside it, and behind it on its last line. One between two allocations of
// a line is that of the first.
func (p *parser) allocation(first bool) Allocation {
	a := Allocation{Position: p.token.Position}
	refused := len(p.refusals)
	for _, c := range p.lexer.comments {
		if c.Line+strings.Count(c.text, "\n") == a.Line && (first || c.Line != p.line) {
			a.comments = append(a.comments, c)
		}
	}
	p.inside = &a.comments
	defer func() { p.inside = nil }()
	a.Feature = p.name("a feature in double quotes").Text
	a.Version = p.version()
	switch {
	case p.accept("remainder"):
		a.Amount.Measure = Remainder
	case p.token.kind == number:
		at := p.token
		n := p.digits()
		if p.accept("%") {
			a.Amount = Amount{Percent, p.bounded(at, n, MaxPercent, "a percentage of %s where at most %d is allowed")}
			break
		}
		a.Amount = Amount{Units, p.bounded(at, n, MaxCount, "a count of %s where at most %d is allowed")}
	default:
		p.wanted(`a count, a percentage or "remainder"`)
	}
	for !p.stopped {
		f := Filter{Position: p.token.Position}
		switch {
		case p.accept("vendor"):
			p.want("string")
			f.Property = VendorString
		case p.accept("product"):
			p.want("name")
			f.Property = ProductName
		case p.accept("activation"):
			p.want("id")
			f.Property = ActivationID
		default:
			a.comments = p.beside(a.comments[:len(a.comments)-len(p.lexer.comments)])
			if len(p.refusals) > refused {
				a.comments = nil // they stand beside a number that was not taken
			}
			return a
		}
		p.want("matches")
		f.Pattern = p.pattern()
		a.Filters = append(a.Filters, f)
	}
	return a
}

// beside adds the comments that stand on the line of the token before.
func (p *parser) beside(to []comment) []comment {
	for _, c := range p.lexer.comments {
		if c.Line == p.line {
			to = append(to, c)
		}
	}
	return to
}

func (p *parser) version() capability.Version {
	const tooHigh = "a version number of %s where at most %d is allowed"
	var v capability.Version
	if p.token.kind != number {
		p.wanted("a version like 2026.1")
		return v
	}
	at := p.token
	v.Major = p.bounded(at, p.digits(), math.MaxUint32, tooHigh)
	if !p.accept(".") {
		return v
	}
	if p.token.kind != number {
		p.wanted("the second number of a version")
		return v
	}
	at = p.token
	v.Minor = p.bounded(at, p.digits(), math.MaxUint32, tooHigh)
	if p.is(".") {
		p.stop(refusal(p.token.Position, SymbolVersion, "a version has at most two numbers"))
	}
	return v
}

// count reads a plain number of units.
func (p *parser) count() uint32 {
	if p.token.kind != number {
		p.wanted("a count")
		return 0
	}
	at := p.token
	return p.bounded(at, p.digits(), MaxCount, "a count of %s where at most %d is allowed")
}

// digits passes a number and drops its leading zeros.
func (p *parser) digits() string {
	s := strings.TrimLeft(p.token.text, "0")
	p.advance()
	if s == "" {
		return "0"
	}
	return s
}

func (p *parser) bounded(at token, digits string, most uint64, format string) uint32 {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > most {
		p.refuse(at.Position, SymbolNumber, format, shorten(digits), most)
		return 0
	}
	return uint32(n)
}

// name reads a string that names something: 1 to MaxName bytes.
func (p *parser) name(what string) Name {
	n := Name{p.token.Position, p.token.text}
	if p.token.kind != quoted {
		p.wanted(what)
		return Name{}
	}
	if n.Text == "" || len(n.Text) > MaxName {
		p.refuse(n.Position, SymbolName, "a name of %d bytes where 1 to %d are allowed", len(n.Text), MaxName)
	} else if strings.Contains(n.Text, "\t") {
		p.refuse(n.Position, SymbolName, "a tab in a name, where nobody can tell it from spaces")
	}
	p.advance()
	return n
}

// poolNames reads names of pools, of which each must exist.
func (p *parser) poolNames() []Name {
	var all []Name
	for {
		n := p.name("the name of a pool in double quotes")
		if p.pools[n.Text] == nil && n.Text != DefaultPool {
			p.refuse(n.Position, SymbolUnknownPool, "there is no pool %q in this model", shorten(n.Text))
		}
		all = append(all, n)
		if !p.accept(",") {
			return all
		}
	}
}

func (p *parser) pattern() Pattern {
	t := Pattern{Position: p.token.Position, Text: p.token.text, value: p.token.text}
	switch p.token.kind {
	case quoted:
	case regex:
		t.Regexp = true
		var err error
		if t.compiled, err = compile(t.Text, &p.regexpCost); err != nil {
			t.Regexp, t.value = false, "" // which matches nothing
			p.refuse(t.Position, SymbolRegexp, "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	default:
		p.wanted("a string in double quotes or a regexp like ~/.../")
	}
	p.advance()
	return t
}
