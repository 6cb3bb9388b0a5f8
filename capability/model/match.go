package model

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/leasehold/leasehold/hostid"
)

// matcher is a list of patterns made ready: one look-up finds any of the texts.
type matcher struct {
	texts   map[string]bool
	regexps []*regexp.Regexp
	any     bool
}

func (m *matcher) add(p Pattern) {
	if p.Regexp {
		m.regexps = append(m.regexps, p.compiled)
		return
	}
	if m.texts == nil {
		m.texts = map[string]bool{}
	}
	m.texts[p.value] = true
}

func (m *matcher) matches(s string) bool {
	if m.any || m.texts[s] {
		return true
	}
	for _, r := range m.regexps {
		if r.MatchString(s) {
			return true
		}
	}
	return false
}

// matches says whether a value is what the pattern wants. A value that is absent is nothing to match.
func (p Pattern) matches(s string) bool {
	switch {
	case s == "":
		return false
	case p.Regexp:
		return p.compiled.MatchString(s)
	}
	return s == p.value
}

// keyMatcher is what a test wants of one key of the dictionary.
type keyMatcher struct {
	key    string
	values matcher
}

// compile makes a regexp that matches whole values. The source must stand on its own, so that no bracket of it closes one of ours, and is written anew
// from what was understood, so that a \Q without its \E does not swallow ours; cost is what is left for this regexp and those after it, above what is free.
func compile(source string, cost *int) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return nil, err
	}
	free := FreeRegexpCost * len(source)
	above := max(0, weigh(tree, free+*cost)-free)
	if above > *cost {
		return nil, fmt.Errorf("the regexps of this model are too large together: repeats count as often as they repeat")
	}
	*cost -= above
	return regexp.Compile(`\A(?:` + tree.String() + `)\z`)
}

// weigh estimates the size of a compiled regexp and stops counting above most.
func weigh(r *syntax.Regexp, most int) int {
	n := 1 + len(r.Rune)
	for _, sub := range r.Sub {
		if n += weigh(sub, most); n > most {
			return most + 1
		}
	}
	if r.Op == syntax.OpRepeat {
		n *= max(r.Min, r.Max, 1)
	}
	return min(n, most+1)
}

// hostText is the form in which a host ID is compared: value/TYPE.
func hostText(s string) (string, error) {
	id, err := hostid.Parse(s)
	return id.String(), err
}
