package model

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// plainMatch compiles the pattern anew.
func plainMatch(p Pattern, s string) bool {
	if p.Regexp {
		return regexp.MustCompile("^(" + p.Text + ")$").MatchString(s)
	}
	return p.Text == s
}

// division writes a distribution in a few lines: a pool, then got/want of each allocation and its slices, last what is left in default.
func division(d Distribution) string {
	var b strings.Builder
	for _, p := range d.Pools {
		fmt.Fprintf(&b, "%s:", p.Name)
		for _, s := range p.Shares {
			fmt.Fprintf(&b, " %d/%d", s.Got, s.Want)
			for _, part := range s.Slices {
				fmt.Fprintf(&b, " %s=%d", part.Item.ActivationID, part.Count)
			}
		}
		b.WriteString("; ")
	}
	b.WriteString("default:")
	for _, s := range d.Default {
		fmt.Fprintf(&b, " %s=%d", s.Item.ActivationID, s.Count)
	}
	return b.String()
}

func TestDistribute(t *testing.T) {
	ten := stockOf(item{feature: "f1", count: 10})
	for _, c := range []struct {
		name, pools string
		items       []capability.LineItem
		want        string
	}{
		{"no pool", ``, ten, "default: A0=10"},
		{"nothing there", `partition "p" {"f1" 1 5 "f1" 2 50 % "f2" 1 remainder}`, nil, "p: 0/5 0/0 0/0; default:"},
		{"W4", `partition "e" {"f1" 1.0 5} partition "s" {"f1" 1.0 5}`, ten, "e: 5/5 A0=5; s: 5/5 A0=5; default: A0=0"},
		{"W5", `partition "e" {"f1" 1.0 3}`, ten, "e: 3/3 A0=3; default: A0=7"},
		{"W6", `partition "e" {"cad" 1.0 100 %}`, stockOf(item{feature: "cad", count: 10}, item{feature: "text", count: 1}), "e: 10/10 A0=10; default: A0=0 A1=1"},
		{"W7", `partition "a" {"f1" 1.0 33 %} partition "b" {"f1" 1.0 33%} partition "c" {"f1" 1.0 remainder}`, ten, "a: 3/3 A0=3; b: 3/3 A0=3; c: 4/4 A0=4; default: A0=0"},
		{"W8", `partition "a" {"f1" 1.0 2} partition "b" {"f1" 1.0 3}`, ten, "a: 2/2 A0=2; b: 3/3 A0=3; default: A0=5"},
		{"W9", `partition "p1" {"f1" 1.0 10}`, ten, "p1: 10/10 A0=10; default: A0=0"},
		{"W11 before", `partition "p" {"f1" 1.0 4}`, ten, "p: 4/4 A0=4; default: A0=6"},
		{"W11 after", `partition "q" {"f1" 1.0 6}`, ten, "q: 6/6 A0=6; default: A0=4"},
		{"short", `partition "p" {"f1" 1.0 8} partition "q" {"f1" 1.0 8} partition "r" {"f1" 1.0 1}`, ten, "p: 8/8 A0=8; q: 2/8 A0=2; r: 0/1; default: A0=0"},
		{"nothing after a remainder", `partition "p" {"f1" 1.0 remainder} partition "q" {"f1" 1.0 remainder "f1" 0.9 50%}`, ten, "p: 10/10 A0=10; q: 0/0 0/5; default: A0=0"},
		{"the total of a percentage is before any pool", `partition "p" {"f1" 1.0 6} partition "q" {"f1" 1.0 50 %}`, ten, "p: 6/6 A0=6; q: 4/5 A0=4; default: A0=0"},
		{"a percentage is of the eligible only", `partition "p" {"f1" 2.0 50 %} partition "q" {"f1" 1.0 50 % vendor string matches "v"}`,
			stockOf(item{feature: "f1", count: 10, vendor: "v"}, item{feature: "f1", version: "2.0", count: 7}), "p: 3/3 A1=3; q: 5/5 A0=5; default: A0=5 A1=4"},
		{"0 and 100 percent", `partition "p" {"f1" 1 0 %} partition "q" {"f1" 1 100%}`, ten, "p: 0/0; q: 10/10 A0=10; default: A0=0"},
		{"versions: never lower, exact first, then next higher", `partition "p" {"f1" 1.9 10}`,
			stockOf(item{feature: "f1", version: "2.0", count: 3}, item{feature: "f1", version: "1.10", count: 3}, item{feature: "f1", version: "1.9", count: 3}, item{feature: "f1", version: "1.8", count: 9}),
			"p: 9/10 A2=3 A1=3 A0=3; default: A0=0 A1=0 A2=0 A3=9"},
		{"within a version the longest expiry, then the ID", `partition "p" {"f1" 1 9}`,
			stockOf(item{id: "D", feature: "f1", count: 2, expiry: 200}, item{id: "C", feature: "f1", count: 2}, item{id: "B", feature: "f1", count: 2, expiry: 300}, item{id: "A", feature: "f1", count: 2, expiry: 200}),
			"p: 8/9 C=2 B=2 A=2 D=2; default: A=0 B=0 C=0 D=0"},
		{"not started, expired, metered, uncounted", `partition "p" {"f1" 1 remainder}`,
			stockOf(item{feature: "f1", count: 1, start: 101}, item{feature: "f1", count: 2, expiry: 100}, item{feature: "f1", count: 3, metered: true}, item{feature: "f1", count: 4, uncounted: true},
				item{feature: "f1", count: 5, start: 100, expiry: 101}, item{feature: "F1", count: 6}),
			"p: 5/5 A4=5; default: A0=1 A1=2 A2=3 A3=4 A4=0 A5=6"},
		{"filters: all hold, and nothing matches what is absent", `partition "p" {"f1" 1 1 vendor string matches ~/.*/ "f1" 1 9 vendor string matches "v" product name matches ~/P./ activation id matches "A3"}`,
			stockOf(item{feature: "f1", count: 5}, item{feature: "f1", count: 5, vendor: "v"}, item{feature: "f1", count: 5, vendor: "v", product: "P"}, item{feature: "f1", count: 5, vendor: "v", product: "P1"}),
			"p: 1/1 A1=1 5/9 A3=5; default: A0=5 A1=4 A2=5 A3=0"},
		{"the largest sums", `partition "p" {"f1" 1 100 %} partition "q" {"f1" 1 remainder}`, stockOf(item{feature: "f1", count: MaxCount}, item{feature: "f1", count: MaxCount}, item{feature: "f1", count: MaxCount}, item{feature: "f1", count: MaxCount}),
			"p: 4294967296/4294967296 A0=1073741824 A1=1073741824 A2=1073741824 A3=1073741824; q: 0/0; default: A0=0 A1=0 A2=0 A3=0"},
	} {
		m := must(t, within(c.pools, ""))
		for range 3 { // whatever the order of the items
			if got := division(m.Distribute(now, c.items)); got != c.want {
				t.Errorf("%s\ngot  %s\nwant %s", c.name, got, c.want)
			}
			if n := len(c.items); n > 1 {
				c.items = append(slices.Clone(c.items[1:]), c.items[0])
			}
		}
	}
	var none *Model
	if got := division(none.Distribute(now, ten)); got != "default: A0=10" {
		t.Errorf("no model: %s", got)
	}
}

func TestSlices(t *testing.T) {
	m := must(t, within(`partition "p" {"f1" 2.0 2 "g" 1.0 1 "f1" 1.0 3}`, ""))
	d := m.Distribute(now, stockOf(item{feature: "f1", version: "2.0", count: 4}, item{feature: "f1", count: 2}, item{feature: "g", count: 1}))
	if got := fmt.Sprint(d.Pools[0].Slices()); got != "[{A0/f1 3} {A2/g 1} {A1/f1 2}]" {
		t.Error(got)
	}
	if d.Pools[0].Shares[2].Short() != 0 || len(d.Pools[0].Shares[0].Slices) != 1 {
		t.Errorf("taking the slices together changed the shares: %+v", d)
	}
}

func TestLines(t *testing.T) {
	m := must(t, within(`partition "p" {"f1" 1.0 8 "g" 1 50%} partition "q" {"f1" 1.0 8} partition "r" {"f1" 0 remainder}`,
		`on user("a") {without requested features {all from "q", "default", "q", "p", "q"} accept}
		on user("b") {without requested features {"x" 1.2 3 "x" 1.3 0} accept}`))
	d := m.Distribute(now, stockOf(item{feature: "f1", count: 10}, item{feature: "g", count: 3}))
	for user, want := range map[string]string{"a": "f1:1.0*2 f1:1.0*8 g:1.0*1", "b": "x:1.2*3 x:1.3*0", "c": ""} {
		var got []string
		for _, l := range d.Given().Lines(m.Route(Facts{User: user}).Spec) {
			got = append(got, fmt.Sprintf("%s*%d", capability.Feature{Name: l.Feature, Version: l.Version}, l.Count))
			if !l.Partial {
				t.Errorf("%s: line %+v is not partial", user, l)
			}
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: got %s, want %s", user, g, want)
		}
	}
	huge := must(t, within(`partition "p" {"f" 1 100 %}`, `on any() {without requested features {all from "p"} accept}`))
	d = huge.Distribute(now, stockOf(item{feature: "f", count: MaxCount}, item{feature: "f", count: MaxCount}))
	if l := d.Given().Lines(huge.Route(Facts{}).Spec); l[0].Count != MaxCount {
		t.Errorf("a line asks for %d, more than a request may", l[0].Count)
	}
}

// plainDistribute moves single units: for each unit of each allocation it looks through all items for the one to take it from.
func plainDistribute(m *Model, now capability.Time, items []capability.LineItem) string {
	left := make([]uint32, len(items))
	for i, it := range items {
		left[i] = it.Count
	}
	eligible := func(a Allocation, it capability.LineItem) bool {
		ok := it.Feature == a.Feature && it.Version.Compare(a.Version) >= 0 && !it.Metered && !it.Uncounted && it.Start <= now && (it.Expiry == 0 || it.Expiry > now)
		for _, f := range a.Filters {
			v := map[Property]string{VendorString: it.VendorString, ProductName: it.Product, ActivationID: string(it.ActivationID)}[f.Property]
			ok = ok && v != "" && plainMatch(f.Pattern, v)
		}
		return ok
	}
	better := func(a, b capability.LineItem) bool { // b is taken before a
		switch {
		case a.Version != b.Version:
			return b.Version.Compare(a.Version) < 0
		case a.Expiry != b.Expiry:
			return b.Expiry == 0 || a.Expiry != 0 && b.Expiry > a.Expiry
		}
		return b.ActivationID < a.ActivationID
	}
	var b strings.Builder
	for _, p := range m.Pools {
		fmt.Fprintf(&b, "%s:", p.Name)
		for _, a := range p.Allocations {
			total, rest := 0, 0
			for i, it := range items {
				if eligible(a, it) {
					total += int(it.Count)
					rest += int(left[i])
				}
			}
			want := int(a.Amount.Number)
			if a.Amount.Measure == Percent {
				want = (total*want - total*want%100) / 100
			} else if a.Amount.Measure == Remainder {
				want = rest
			}
			var from []int
			for range want {
				best := -1
				for i, it := range items {
					if left[i] > 0 && eligible(a, it) && (best < 0 || better(items[best], it)) {
						best = i
					}
				}
				if best < 0 {
					break
				}
				left[best]--
				from = append(from, best)
			}
			fmt.Fprintf(&b, " %d/%d", len(from), want)
			for i := 0; i < len(from); {
				n := 1
				for i+n < len(from) && from[i+n] == from[i] {
					n++
				}
				fmt.Fprintf(&b, " %s=%d", items[from[i]].ActivationID, n)
				i += n
			}
		}
		b.WriteString("; ")
	}
	b.WriteString("default:")
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return strings.Compare(string(items[a].ActivationID), string(items[b].ActivationID))
	})
	for _, i := range order {
		fmt.Fprintf(&b, " %s=%d", items[i].ActivationID, left[i])
	}
	return b.String()
}

func (w writer) items() []capability.LineItem {
	all := make([]item, w.IntN(9))
	for i := range all {
		all[i] = item{feature: w.one("f", "f", "g"), version: w.one("0.0", "0.1", "1.0", "1.1", "2.0"), count: w.Uint32N(12), vendor: w.one("", "a", "b"), product: w.one("", "a", "b/"),
			start: capability.Time(w.IntN(103)), expiry: []capability.Time{0, 0, 100, 101, 200, 300}[w.IntN(6)], metered: w.IntN(12) == 0, uncounted: w.IntN(12) == 0}
	}
	items := stockOf(all...)
	w.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return items
}

func TestDistributeAgainstUnits(t *testing.T) {
	full := 0
	for seed := range uint64(2000) {
		w := writer{rand.New(rand.NewPCG(seed, 2))}
		text := w.model()
		m, items := must(t, text), w.items()
		before := fmt.Sprint(items)
		d := m.Distribute(now, items)
		if got, want := division(d), plainDistribute(m, now, items); got != want {
			t.Fatalf("seed %d\n%s\n%+v\ngot  %s\nwant %s", seed, text, items, got, want)
		}
		for _, p := range d.Pools {
			full += len(p.Slices())
		}
		if fmt.Sprint(items) != before {
			t.Fatalf("seed %d: the items were changed", seed)
		}
		// Slices and rest are together the count.
		sum := map[capability.ItemID]uint32{}
		for _, s := range d.Default {
			sum[s.Item] += s.Count
		}
		for _, p := range d.Pools {
			for _, s := range p.Slices() {
				sum[s.Item] += s.Count
			}
		}
		for _, it := range items {
			if sum[it.ID()] != it.Count {
				t.Fatalf("seed %d: %s has %d of %d", seed, it.ID(), sum[it.ID()], it.Count)
			}
		}
	}
	if full < 1000 {
		t.Errorf("only %d slices in all: the random models fill nothing", full)
	}
}
