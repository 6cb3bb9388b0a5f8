package model

import (
	"slices"
	"strings"
)

// comments finds those that state another number than the allocation beside them. Shares are nil where the inventory is not known.
func (l *linter) comments(m *Model, shares []PoolShare) {
	for i, p := range m.Pools {
		for j, a := range p.Allocations {
			var want []uint64 // what it comes to
			if shares != nil {
				want = append(want, shares[i].Shares[j].Want)
			}
			for _, c := range a.comments {
				if f, wrong := contradicts(figures(c.text), a.Amount, want); wrong {
					l.say(c.Position, SymbolComment, "the comment says %s where the allocation of %q is %s", f, a.Feature, a.Amount)
				}
			}
		}
	}
}

// figure is a number in a comment.
type figure struct {
	number  uint64
	percent bool
	aside   bool // it may be anything: a date, a room, the total
}

func (f figure) String() string {
	if f.percent {
		return Amount{Percent, uint32(f.number)}.String()
	}
	return Amount{Units, uint32(f.number)}.String()
}

// contradicts gives the first figure that can only be meant as the amount, unless any of them is it.
func contradicts(all []figure, a Amount, want []uint64) (first figure, wrong bool) {
	for _, f := range all {
		switch {
		case f.percent != (a.Measure == Percent) && (f.percent || want == nil), a.Measure == Remainder && want == nil:
			continue // it may be about what the amount comes to, or of what it is a part
		case f.number == uint64(a.Number) && a.Measure != Remainder, !f.percent && slices.Contains(want, f.number):
			return figure{}, false
		case !f.aside && !wrong:
			first, wrong = f, true
		}
	}
	return first, wrong
}

// figures are the numbers of a comment: those behind an equals sign if there are any, else all that stand alone. P1 and 2.0 are names, not numbers.
func figures(text string) []figure {
	var all, equal []figure
	words := words(text)
	for i, w := range words {
		n, is := numeral(w.text)
		switch {
		case !is:
		case w.mark == '=':
			equal = append(equal, figure{number: n, percent: w.percent})
		default:
			words[i].aside = aside(words[:i+1], words[i+1:])
			all = append(all, figure{n, w.percent, words[i].aside})
		}
	}
	if len(equal) > 0 {
		return equal
	}
	return all
}

// commentWord is what stands between spaces and signs in a comment.
type commentWord struct {
	text    string
	mark    byte // the last sign before it other than a space; 0 is none
	percent bool // a percent sign follows
	grouped bool // it has been written apart: 1 000
	aside   bool
}

// words cuts a comment. 1,000 and 1'000 and 1 000 are one word, as 09:00 and 24/7 are.
func words(text string) (all []commentWord) {
	text = strings.ReplaceAll(text, "’", "'")
	var mark byte
	for i := 0; i < len(text); {
		n := 0
		for i+n < len(text) && inWord(text, i+n) {
			n++
		}
		last := len(all) - 1
		switch w := strings.TrimRight(text[i:i+n], "."); {
		case n == 0 && text[i] == '%' && last >= 0 && mark == 0:
			all[last].percent = true
			fallthrough
		case n == 0:
			if strings.IndexByte(" \t\r\n", text[i]) < 0 {
				mark = text[i]
			}
			i++
			continue
		case last >= 0 && mark == 0 && all[last].takes(w):
			all[last].text += w
			all[last].grouped = true
		case last >= 0 && mark == 0 && (strings.EqualFold(w, "percent") || strings.EqualFold(w, "pct")):
			all[last].percent = true
		default:
			all = append(all, commentWord{text: w, mark: mark})
		}
		mark = 0
		i += n
	}
	return all
}

func inWord(text string, i int) bool {
	switch c := text[i]; {
	case isDigit(c), isLetter(c), c >= 0x80, strings.IndexByte("._-/#+", c) >= 0:
		return true
	case c == ',' || c == ':' || c == '\'':
		return i > 0 && i+1 < len(text) && isDigit(text[i-1]) && isDigit(text[i+1])
	}
	return false
}

// takes says that digits are the next three of a number.
func (w commentWord) takes(digits string) bool {
	_, is := plain(w.text)
	_, also := plain(digits)
	return is && also && len(digits) == 3 && (w.grouped || len(w.text) <= 3)
}

// numeral reads digits, or those that signs part by thousands.
func numeral(s string) (uint64, bool) {
	for _, sign := range []string{",", "'"} {
		parts := strings.Split(s, sign)
		if whole := slices.IndexFunc(parts[1:], func(p string) bool { return len(p) != 3 }) < 0; whole && len(parts) > 1 && len(parts[0]) <= 3 {
			return plain(strings.Join(parts, ""))
		}
	}
	return plain(s)
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

// aside says that the number, the last of the words up to it, is that of a ticket or a room, a part of a date, a time or a phone number, or a total.
func aside(to, behind []commentWord) bool {
	w := to[len(to)-1]
	if len(behind) > 0 && behind[0].mark == 0 && (isMonth(behind[0].text) || isHour(behind[0].text)) {
		return true
	}
	if len(to) == 1 {
		return false
	}
	before := to[len(to)-2]
	switch _, is := numeral(before.text); {
	case is:
		year := len(w.text) == 4 && (strings.HasPrefix(w.text, "19") || strings.HasPrefix(w.text, "20"))
		return before.aside && (w.mark == 0 || w.mark == ',' && year)
	case w.mark != 0 && w.mark != ':':
		return false
	}
	return isMonth(before.text) || isLabel(before.text)
}

// isLabel says that a number behind the word names or dates something, and counts nothing here.
func isLabel(word string) bool {
	switch strings.ToLower(word) {
	case "ticket", "issue", "bug", "case", "order", "po", "invoice", "contract", "quote", "customer", "account", "id", "no", "nr", "number",
		"phone", "tel", "telephone", "mobile", "ext", "extension", "fax",
		"room", "building", "bldg", "floor", "level", "desk", "rack", "site", "plant", "street", "gate", "hall", "zone", "center", "centre", "dept", "department",
		"until", "till", "since", "from", "before", "after", "by", "in", "on", "valid", "expires", "expired", "was", "were", "formerly", "previously",
		"version", "release", "line", "page", "section", "chapter", "rule", "port", "step", "phase", "shift", "week", "quarter", "day", "year", "of":
		return true
	}
	return false
}

func isMonth(word string) bool {
	w := strings.ToLower(word)
	return len(w) >= 3 && slices.ContainsFunc([]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"},
		func(m string) bool { return w == m || w == m[:3] || w == "sept" })
}

func isHour(word string) bool {
	w := strings.ToLower(word)
	return w == "am" || w == "pm" || w == "a.m" || w == "p.m"
}
