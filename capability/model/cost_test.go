package model

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// crowd is a model of n allocations of one feature, each of another version and behind the filter, and an inventory of items with long vendor strings.
func crowd(t testing.TB, n, items int, amount, filter string, vendor func(int) string) (*Model, []capability.LineItem) {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\"f\" 0.%d %s%s\n", i, amount, strings.ReplaceAll(filter, "#", fmt.Sprint(i)))
	}
	all := make([]item, items)
	for i := range all {
		all[i] = item{feature: "f", count: 2, vendor: vendor(i)}
	}
	return must(t, within("partition \"p\" {\n"+b.String()+"}", `on any() {use "p" accept}`)), stockOf(all...)
}

// What a division costs is counted, not timed: an item is looked at once for each allocation that takes of it, and a regexp is matched once with each
// vendor string, however many allocations and items have them.
func TestDistributeCost(t *testing.T) {
	one := func(int) string { return strings.Repeat("a", 255) }
	other := func(i int) string { return fmt.Sprintf("%0255d", i) }
	for _, c := range []struct {
		name, amount, filter string
		n, items             int
		vendor               func(int) string
		looks, runs          int // at most
	}{
		{"units", "1", "", 8192, 4096, one, 8192 + 4096, 0},
		{"units that run out", "3", "", 8192, 4096, one, 2 * 4096, 0},
		{"percentages", "1 %", "", 8192, 4096, one, 8192 + 4096, 0},
		{"remainders", "remainder", "", 8192, 4096, one, 4096, 0},
		{"the same regexp, the same value", "1", " vendor string matches ~/(a|aa)*b/", 1000, 1000, one, 1_001_000, 1},
		{"other regexps, the same value", "1 %", " vendor string matches ~/(a|aa)*b#/", 1000, 1000, one, 2e6, 1000},
		{"the same regexp, other values", "1 %", " vendor string matches ~/0*[1-9]?/", 1000, 1000, other, 2e6, 1000},
	} {
		m, items := crowd(t, c.n, c.items, c.amount, c.filter, c.vendor)
		s := newStock(now, items)
		d := m.distribute(s)
		m.lint(d, s)
		if s.looks > c.looks || s.runs != c.runs {
			t.Errorf("%s: %d items looked at and %d regexps matched, where %d and %d are wanted", c.name, s.looks, s.runs, c.looks, c.runs)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	one := func(int) string { return strings.Repeat("a", 255) }
	other := func(i int) string { return fmt.Sprintf("%0255d", i) }
	for _, c := range []struct {
		name, amount, filter string
		n, items             int
		vendor               func(int) string
	}{
		{"units", "1", "", 8192, 4096, one},
		{"percentages", "1 %", "", 8192, 4096, one},
		{"texts", "1 %", ` vendor string matches "x#"`, 8192, 4096, other},
		{"one regexp", "1 %", " vendor string matches ~/.*b/", 8192, 4096, other},
		{"regexps", "1 %", " vendor string matches ~/works-#-.*/", 1000, 1000, other},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, items := crowd(b, c.n, c.items, c.amount, c.filter, c.vendor)
			text := m.Print()
			for b.Loop() {
				Check(text, now, items)
			}
		})
	}
}
