package main

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// A scenario names its items itself, and calls their activation IDs what it likes: the same for two of them, another one tomorrow, or nothing at all. For the ledger
// each item has an activation ID of ours, and filters of a model speak of those.

// The part of an ID of ours that its class is in.
const classFrom, classTo = 16, 21

// ourID is an activation ID made of two numbers below 2^20. IDs sort by rank; those of one class are alike from classFrom to classTo.
func ourID(rank, class int) (capability.ActivationID, error) {
	symbols := make([]byte, 18) // of five bits each
	for i := range 4 {
		symbols[13-i] = byte(rank >> (5 * i) & 31)
		symbols[17-i] = byte(class >> (5 * i) & 31)
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
	ours := map[string]map[string][]string{} // by feature and given activation ID
	for id, given := range a {
		if ours[id.Feature] == nil {
			ours[id.Feature] = map[string][]string{}
		}
		ours[id.Feature][given] = append(ours[id.Feature][given], string(id.ActivationID))
	}
	known := map[[2]string]model.Pattern{}
	return func(feature string, p model.Pattern) model.Pattern {
		key := [2]string{feature, p.String()}
		if _, is := known[key]; !is {
			matches := whole(p)
			var yes, no []string
			for given, ids := range ours[feature] {
				if given != "" && matches(given) {
					yes = append(yes, ids...)
				} else {
					no = append(no, ids...)
				}
			}
			known[key] = apart(yes, no)
		}
		return known[key]
	}
}

// apart is a pattern that matches all of yes and none of no, which are IDs of ours.
func apart(yes, no []string) model.Pattern {
	switch len(yes) {
	case 0:
		return model.Pattern{Text: "-"} // which is no activation ID
	case 1:
		return model.Pattern{Text: yes[0]}
	}
	in, out := classes(yes), classes(no)
	if slices.ContainsFunc(in, func(c string) bool { _, both := slices.BinarySearch(out, c); return both }) {
		// An item had another activation ID before, so that its class says nothing.
		slices.Sort(yes)
		slices.Sort(no)
		return model.Pattern{Text: telling(yes, no), Regexp: true}
	}
	return model.Pattern{Text: fmt.Sprintf(".{%d}%s.*", classFrom, telling(in, out)), Regexp: true}
}

// classes is the classes of IDs of ours, in order and each once.
func classes(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id[classFrom:classTo]
	}
	slices.Sort(out)
	return slices.Compact(out)
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
