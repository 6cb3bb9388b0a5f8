package main

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// A scenario names its items itself, and calls their activation IDs what it likes: the same for two of them, another one tomorrow, or nothing at all. For the ledger
// each item has an activation ID of ours, made of its place among the names of the scenario, and filters of a model speak of those.

// rankedID is an activation ID made of a number; IDs sort as their numbers do.
func rankedID(rank int) (capability.ActivationID, error) {
	symbols := make([]byte, 18) // of five bits each
	for i := len(symbols) - 1; rank > 0; i-- {
		symbols[i] = byte(rank & 31)
		rank >>= 5
	}
	return capability.NewActivationID(bytes.NewReader(symbols))
}

// activations is what the scenario calls the activation ID of each item; empty where it says nothing.
type activations map[capability.ItemID]string

// inOurs is the text of m with its filters on activation IDs in terms of ours. Every line stays where it is.
func (a activations) inOurs(m *model.Model, text string) string {
	text = strings.TrimPrefix(text, "\ufeff")
	var b strings.Builder
	done, at, here := 0, 0, model.Position{Line: 1, Column: 1}
	ours := a.patterns()
	for _, pool := range m.Pools {
		for _, allocation := range pool.Allocations {
			for _, f := range allocation.Filters {
				if f.Property != model.ActivationID {
					continue
				}
				for here != f.Pattern.Position {
					r, size := utf8.DecodeRuneInString(text[at:])
					at += size
					here.Column++
					if r == '\n' {
						here = model.Position{Line: here.Line + 1, Column: 1}
					}
				}
				b.WriteString(text[done:at])
				b.WriteString(ours(allocation.Feature, f.Pattern).String())
				done = at + len(f.Pattern.String()) // a pattern is written in one way only
			}
		}
	}
	b.WriteString(text[done:])
	return b.String()
}

// patterns is a function that puts a pattern in terms of ours: what it gives matches the items of the feature whose given activation IDs the pattern matches.
func (a activations) patterns() func(feature string, p model.Pattern) model.Pattern {
	items := map[string][]capability.ItemID{}
	for id := range a {
		items[id.Feature] = append(items[id.Feature], id)
	}
	for _, all := range items {
		slices.SortFunc(all, func(a, b capability.ItemID) int {
			return strings.Compare(string(a.ActivationID), string(b.ActivationID))
		})
	}
	known := map[[2]string]model.Pattern{}
	return func(feature string, p model.Pattern) model.Pattern {
		key := [2]string{feature, p.String()}
		if _, is := known[key]; !is {
			matches := whole(p)
			var yes, no []string
			for _, id := range items[feature] {
				if given := a[id]; given != "" && matches(given) {
					yes = append(yes, string(id.ActivationID))
				} else {
					no = append(no, string(id.ActivationID))
				}
			}
			switch len(yes) {
			case 0:
				known[key] = model.Pattern{Text: "-"} // which is no activation ID
			case 1:
				known[key] = model.Pattern{Text: yes[0]}
			default:
				known[key] = model.Pattern{Text: telling(yes, no), Regexp: true}
			}
		}
		return known[key]
	}
}

// passing says whether an item is one for an allocation with these filters.
func passing(filters []model.Filter) func(capability.LineItem) bool {
	tests := make([]func(string) bool, len(filters))
	for i, f := range filters {
		tests[i] = whole(f.Pattern)
	}
	return func(it capability.LineItem) bool {
		for i, f := range filters {
			s := [...]string{model.VendorString: it.VendorString, model.ProductName: it.Product, model.ActivationID: string(it.ActivationID)}[f.Property]
			if s == "" || !tests[i](s) {
				return false
			}
		}
		return true
	}
}

// whole says whether a text is what the pattern wants, as the model would.
func whole(p model.Pattern) func(string) bool {
	if !p.Regexp {
		return func(s string) bool { return s == p.Text }
	}
	tree, err := syntax.Parse(p.Text, syntax.Perl)
	if err != nil { // no model that was read has it
		return func(string) bool { return false }
	}
	return regexp.MustCompile(`\A(?:` + tree.String() + `)\z`).MatchString
}

// telling is a regexp that matches all of yes and none of no. The texts are different, of the same length and in order.
func telling(yes, no []string) string {
	if len(no) == 0 {
		return ".*"
	}
	heads := map[string]string{} // the first symbols before each tail
	var tails []string
	for i := 0; i < len(yes); {
		head := yes[i][0]
		ours, others := behind(yes[i:], head), behind(no, head)
		i += len(ours)
		tail := telling(ours, others)
		if heads[tail] == "" {
			tails = append(tails, tail)
		}
		heads[tail] += string(head)
	}
	for i, tail := range tails {
		if len(heads[tail]) > 1 {
			tails[i] = "[" + heads[tail] + "]" + tail
		} else {
			tails[i] = heads[tail] + tail
		}
	}
	if len(tails) == 1 {
		return tails[0]
	}
	return "(?:" + strings.Join(tails, "|") + ")"
}

// behind is what follows head in those of all that begin with it.
func behind(all []string, head byte) (out []string) {
	for _, s := range all {
		if s[0] == head {
			out = append(out, s[1:])
		}
	}
	return out
}
