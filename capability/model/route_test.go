package model

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// hosts reads host IDs as people type them.
func hosts(texts ...string) []hostid.ID {
	var all []hostid.ID
	for _, s := range texts {
		id, err := hostid.Parse(s)
		if err != nil {
			panic(err)
		}
		all = append(all, id)
	}
	return all
}

// pairs reads key=value.
func pairs(texts ...string) []capability.Pair {
	var all []capability.Pair
	for _, s := range texts {
		k, v, _ := strings.Cut(s, "=")
		all = append(all, capability.Pair{Key: k, Value: v})
	}
	return all
}

// way writes a route in one line.
func way(r Route) string {
	s := fmt.Sprintf("denied by %d at %s", r.Rule, r.At)
	if r.Accept {
		s = fmt.Sprintf("%s by %d", strings.Join(r.Pools, ","), r.Rule)
	}
	if r.Spec != nil {
		s += " " + r.Spec.String()
	}
	if len(r.Limits) > 0 {
		s += " max " + list(r.Limits)
	}
	return s
}

func TestRoute(t *testing.T) {
	const pools = `partition "a" {} partition "b" {} partition "c" {}`
	bu := func(units ...string) Facts {
		var f Facts
		for _, u := range units {
			f.Dictionary = append(f.Dictionary, capability.Pair{Key: "bu", Value: u})
		}
		return f
	}
	type ask struct {
		facts Facts
		want  string
	}
	for _, c := range []struct {
		name, rules string
		asks        []ask
	}{
		{"no rule", ``, []ask{{Facts{}, "default by 0"}}},
		{"W1 and W2", `on hostid("F01898AD8DD3/ETHERNET","5E00A4F17201/ETHERNET"){use "default" accept} on any(){deny}`, []ask{
			{Facts{Hosts: hosts("F01898AD8DD3/ETHERNET")}, "default by 1"},
			{Facts{Hosts: hosts("F01898AD8DD3/STRING")}, "denied by 2 at 5:82"},
		}},
		{"W3", `on hostid("bad"){deny} on any(){use "default" accept}`, []ask{
			{Facts{Hosts: hosts("bad")}, "denied by 1 at 5:1"},
			{Facts{Hosts: hosts("other")}, "default by 2"},
		}},
		{"W4: each its own", `on dictionary("bu":"eng"){use "a" accept} on dictionary("bu":"sales"){use "b" accept}`, []ask{
			{bu("eng"), "a by 1"}, {bu("sales"), "b by 2"}, {bu("eng", "sales"), "a by 1"}, {bu("sales", "eng"), "a by 1"}, {Facts{}, "default by 0"},
		}},
		{"W5", `on dictionary("bu":"eng"){use "a","default" accept}`, []ask{{bu("eng"), "a,default by 1"}, {Facts{}, "default by 0"}}},
		{"W6: an array", `on dictionary("bu":"eng"){use "a" accept}`, []ask{{bu("x", "eng"), "a by 1"}, {bu("x"), "default by 0"}}},
		{"W8", `on dictionary("bu":"a"){use "a" continue} on dictionary("bu":"b"){use "b" continue} on any(){use "default" accept}`, []ask{
			{bu("a", "b"), "a,b,default by 3"}, {bu("b"), "b,default by 3"}, {Facts{}, "default by 3"},
		}},
		{"W9", `on hostname("myhost"){use "a","default" without requested features {"f1" 1.0 1} accept}`, []ask{
			{Facts{Alias: "myhost"}, `a,default by 1 without requested features { "f1" 1.0 1 }`}, {Facts{Alias: "other"}, "default by 0"},
		}},
		{"W10", `on hostid("a") or hostid("b") and hostname("z"){deny}`, []ask{
			{Facts{Hosts: hosts("a")}, "denied by 1 at 5:1"},
			{Facts{Hosts: hosts("b"), Alias: "q"}, "default by 0"},
			{Facts{Hosts: hosts("b"), Alias: "z"}, "denied by 1 at 5:1"},
			{Facts{Hosts: hosts("a", "b"), Alias: "q"}, "denied by 1 at 5:1"},
			{Facts{Alias: "z"}, "default by 0"},
		}},
		{"W11: before", `on any(){use "a","default" accept}`, []ask{{Facts{Hosts: hosts("d1")}, "a,default by 1"}}},
		{"W11: after", `on hostid("d2"){use "b" accept} on any(){use "default" accept}`, []ask{
			{Facts{Hosts: hosts("d1")}, "default by 2"}, {Facts{Hosts: hosts("d2")}, "b by 1"},
		}},
		{"the end on continue is the gathered pools only", `on user("u"){use "b" continue} on user("u"){use "a" continue}`, []ask{
			{Facts{User: "u"}, "b,a by 0"}, {Facts{}, "default by 0"},
		}},
		{"continue without a pool", `on user("u"){continue}`, []ask{{Facts{User: "u"}, " by 0"}}},
		{"accept without a pool", `on user("u"){accept}`, []ask{{Facts{User: "u"}, " by 1"}}},
		{"a pool twice counts once, at its first place", `on any(){use "b","a","b" continue} on any(){use "c","b","default","a" accept}`, []ask{{Facts{}, "b,a,c,default by 2"}}},
		{"deny behind continue", `on any(){use "a" without requested features {} max "f" 1 1 per user continue} on any(){use "b" deny}`, []ask{{Facts{}, "denied by 2 at 5:79"}}},
		{"the first true clause decides", `on user("u"){without requested features {"no" 1 1} continue} on any(){use "a" continue}
			on any(){without requested features {all from "a"} continue} on any(){use "default" without requested features {"f" 1 1} accept}`, []ask{
			{Facts{}, `a,default by 4 without requested features { all from "a" }`},
			{Facts{User: "u"}, `a,default by 4 without requested features { "no" 1.0 1 }`},
		}},
		{"an empty clause decides too", `on any(){without requested features {} continue} on any(){without requested features {"f" 1 1} accept}`, []ask{{Facts{}, ` by 2 without requested features { }`}}},
		{"limits of all true rules", `on any(){max "f" 1 5 per device, "g" 2.1 3 per user continue} on user("x"){max "x" 1 1 per user continue} on any(){max "f" 1 2 per user accept}`, []ask{
			{Facts{}, ` by 3 max "f" 1.0 5 per device, "g" 2.1 3 per user, "f" 1.0 2 per user`},
		}},
	} {
		m := must(t, within(pools, c.rules))
		for _, a := range c.asks {
			r := m.Route(a.facts)
			if !r.Accept && !reflect.DeepEqual(r, Route{Rule: r.Rule, At: r.At}) {
				t.Errorf("%s: denied, and there is %+v", c.name, r)
			}
			if got := way(r); got != a.want || r.Default != slices.Contains(r.Pools, "default") {
				t.Errorf("%s: %+v\ngot  %s, default %t\nwant %s", c.name, a.facts, got, r.Default, a.want)
			}
		}
	}
	var none *Model
	if got := way(none.Route(Facts{})); got != "default by 0" || !none.Route(Facts{}).Default {
		t.Errorf("no model: %s", got)
	}
}

// What one route collected, the next must not find.
func TestRoutesAreSeparate(t *testing.T) {
	m := must(t, within(`partition "a" {}`, `on any(){use "a" max "f" 1 1 per user continue} on user("u"){use "default" max "g" 1 1 per user continue}`))
	first := m.Route(Facts{})
	m.Route(Facts{User: "u"})
	first.Limits[0].Feature, first.Pools[0] = "mine", "mine"
	first.Limits = append(first.Limits[:0], Limit{Feature: "mine"})
	if got := way(m.Route(Facts{User: "u"})); got != `a,default by 0 max "f" 1.0 1 per user, "g" 1.0 1 per user` {
		t.Error(got)
	}
}

func TestConditions(t *testing.T) {
	type facts struct {
		f    Facts
		want bool
	}
	dictionary := func(want bool, texts ...string) facts { return facts{Facts{Dictionary: pairs(texts...)}, want} }
	host := func(want bool, texts ...string) facts { return facts{Facts{Hosts: hosts(texts...)}, want} }
	user := func(want bool, u string) facts { return facts{Facts{User: u}, want} }
	for _, c := range []struct {
		cond  string
		cases []facts
	}{
		{`any()`, []facts{{Facts{}, true}}},
		// Host IDs: the type without regard to case, STRING without a type, the value exactly.
		{`hostid("ab")`, []facts{host(true, "ab"), host(true, "ab/STRING"), host(true, "x", "ab"), host(false, "AB"), host(false, "ab/ETHERNET"), host(false, "abc"), host(false)}},
		{`hostid("ab/eThErNeT")`, []facts{host(true, "ab/ETHERNET"), host(false, "ab"), host(false, "AB/ETHERNET")}},
		{`hostid("a/b/string")`, []facts{host(true, "a/b/STRING"), host(false, "b")}},
		{`hostid("x", "y", ~/z+/, ~/q\/ETHERNET/)`, []facts{host(true, "y"), host(false, "z"), host(true, "q/ETHERNET"), host(false, "q")}},
		{`hostid(~/z.*\/STRING/)`, []facts{host(true, "zz"), host(false, "zz/DISK"), host(false, "az")}},
		{`hostid("joe/USER")`, []facts{user(true, "joe"), host(true, "joe/USER"), host(false, "joe"), user(false, "jo")}},
		{`hostid(~/.*/)`, []facts{{Facts{Alias: "h", DeviceType: "t"}, false}, user(true, "u"), host(true, "x")}},
		// Texts, and regexps on the whole value.
		{`user("joe")`, []facts{user(true, "joe"), user(false, "Joe"), user(false, "joe "), user(false, ""), host(false, "joe/USER")}},
		{`user(~/j.e/)`, []facts{user(true, "joe"), user(false, "joey"), user(false, "a joe"), user(false, "")}},
		{`user(~/a|b/)`, []facts{user(true, "a"), user(true, "b"), user(false, "ab"), user(false, "ax"), user(false, "xb")}},
		{`user(~/(?i)joe/, ~/x$/)`, []facts{user(true, "JOE"), user(true, "x"), user(false, "X")}},
		{`user(~/(?m)^a$/)`, []facts{user(true, "a"), user(false, "a\nb"), user(false, "b\na")}},
		{`user(~/\Qa.b/)`, []facts{user(true, "a.b"), user(false, "axb"), user(false, "a.bc")}},
		{`user(~/\Qa.b|\E|(?i)c/, ~/x(?i:y)z/)`, []facts{user(true, "a.b|"), user(true, "C"), user(true, "xYz"), user(false, "Xyz")}},
		{`user(~/ab|cd/)`, []facts{user(true, "ab"), user(true, "cd"), user(false, "abx"), user(false, "xcd")}},
		{`user(~/.*/, "")`, []facts{user(false, ""), user(true, " ")}},
		{`user(~/.é/)`, []facts{user(true, "éé"), user(false, "é")}},
		{`hostname("h", ~/z.*/)`, []facts{{Facts{Alias: "h"}, true}, {Facts{Alias: "zzz"}, true}, {Facts{DeviceType: "h", User: "h", Hosts: hosts("h")}, false}}},
		{`hostname(~/.*/)`, []facts{{Facts{}, false}}},
		{`hosttype("t")`, []facts{{Facts{DeviceType: "t"}, true}, {Facts{Alias: "t", User: "t"}, false}, {Facts{}, false}}},
		{`hosttype(~/.*/)`, []facts{{Facts{}, false}}},
		// The dictionary.
		{`dictionary("k":"v")`, []facts{dictionary(true, "k=v"), dictionary(false, "k=w"), dictionary(false, "v=k"), dictionary(false), dictionary(true, "k=w", "k=v"), dictionary(false, "K=v")}},
		{`dictionary("k":*)`, []facts{dictionary(true, "k=v"), dictionary(true, "k="), dictionary(false, "l=v"), dictionary(false)}},
		{`dictionary("k":"*")`, []facts{dictionary(true, "k=*"), dictionary(false, "k=v")}},
		{`dictionary("k":"")`, []facts{dictionary(true, "k="), dictionary(false, "k=v"), dictionary(false)}},
		{`dictionary("k":~/v+/)`, []facts{dictionary(true, "k=vv"), dictionary(false, "k=vw"), dictionary(true, "k=x", "k=v")}},
		{`dictionary("k":"a","l":"b")`, []facts{dictionary(true, "k=a", "l=b"), dictionary(true, "l=b", "k=x", "k=a"), dictionary(false, "k=a"), dictionary(false, "l=b"), dictionary(false, "k=b", "l=a")}},
		{`dictionary("k":"a","k":~/b/)`, []facts{dictionary(true, "k=a"), dictionary(true, "k=b"), dictionary(false, "k=c"), dictionary(true, "k=c", "k=b")}},
		{`dictionary("k":"a","l":*,"k":"b")`, []facts{dictionary(true, "k=b", "l=x"), dictionary(false, "k=a", "k=b"), dictionary(false, "l=x")}},
		{`not dictionary("k":*)`, []facts{dictionary(true), dictionary(false, "k=")}},
		{`not user(~/.*/)`, []facts{user(true, ""), user(false, "x")}},
	} {
		m := must(t, `model "m" { on `+c.cond+` { deny } }`)
		for _, f := range c.cases {
			if got := !m.Route(f.f).Accept; got != f.want {
				t.Errorf("%s of %+v is %t", c.cond, f.f, got)
			}
		}
	}
}

// not binds tighter than and, and than or.
func TestPrecedence(t *testing.T) {
	for _, c := range []struct {
		cond string
		want func(a, b, c bool) bool
	}{
		{`A or B and C`, func(a, b, c bool) bool { return a || b && c }},
		{`A and B or C`, func(a, b, c bool) bool { return a && b || c }},
		{`(A or B) and C`, func(a, b, c bool) bool { return (a || b) && c }},
		{`A and (B or C)`, func(a, b, c bool) bool { return a && (b || c) }},
		{`not A and B`, func(a, b, c bool) bool { return !a && b }},
		{`not A or B`, func(a, b, c bool) bool { return !a || b }},
		{`not (A and B)`, func(a, b, c bool) bool { return !(a && b) }},
		{`not (A or B) and C`, func(a, b, c bool) bool { return !(a || b) && c }},
		{`A && !B || !(C)`, func(a, b, c bool) bool { return a && !b || !c }},
		{`A or B or C`, func(a, b, c bool) bool { return a || b || c }},
		{`A and B and C`, func(a, b, c bool) bool { return a && b && c }},
		{`!A||!B&&!C`, func(a, b, c bool) bool { return !a || !b && !c }},
		{`(not (A)) or ((B))`, func(a, b, c bool) bool { return !a || b }},
		{`any() and A or not any()`, func(a, b, c bool) bool { return a }},
	} {
		cond := strings.NewReplacer("A", `user("u")`, "B", `hostname("h")`, "C", `hosttype("t")`).Replace(c.cond)
		m := must(t, `model "m" { on `+cond+` { deny } }`)
		for i := range 8 {
			var f Facts
			a, b, cc := i&1 != 0, i&2 != 0, i&4 != 0
			if a {
				f.User = "u"
			}
			if b {
				f.Alias = "h"
			}
			if cc {
				f.DeviceType = "t"
			}
			if got, want := !m.Route(f).Accept, c.want(a, b, cc); got != want {
				t.Errorf("%s of %t, %t, %t is %t", c.cond, a, b, cc, got)
			}
		}
	}
}

// A rule with ten thousand host IDs costs as much as one with ten.
func BenchmarkRoute(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		var ids strings.Builder
		for i := range n {
			fmt.Fprintf(&ids, "\"%012X/ETHERNET\",", i)
		}
		m := must(b, within(`partition "p" {}`, `on hostid(`+ids.String()+`"x") {use "p" accept}`))
		f := Facts{Hosts: hosts("AB/TPM_EK", "FFFFFFFFFFFF/ETHERNET"), User: "u"}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				m.Route(f)
			}
		})
	}
}

// writer makes random models in a small world, where much happens to be equal.
type writer struct{ *rand.Rand }

func (w writer) one(of ...string) string { return of[w.IntN(len(of))] }

func (w writer) list(most int, one func() string) string {
	texts := make([]string, 1+w.IntN(most))
	for i := range texts {
		texts[i] = one()
	}
	return strings.Join(texts, w.one(",", ", "))
}

func (w writer) pattern() string {
	return w.one(`"a"`, `"b"`, `"a\"\\"`, `~/a|b/`, `~/[^a]\/?/`, `~/.+/`)
}

func (w writer) cond(depth int) string {
	switch n := w.IntN(10); {
	case depth > 0 && n < 2:
		return w.cond(depth-1) + w.one(" or ", "||") + w.cond(depth-1)
	case depth > 0 && n < 4:
		return w.cond(depth-1) + w.one(" and ", "&&") + w.cond(depth-1)
	case depth > 0 && n < 6:
		return w.one("", "not ", "!") + "(" + w.cond(depth-1) + ")"
	case n == 6:
		return w.one("", "", "", "not ") + "any()"
	case n == 7:
		return w.one("", "not ") + "dictionary(" + w.list(3, func() string { return w.one(`"k"`, `"l"`) + ":" + w.one("*", w.pattern()) }) + ")"
	case n == 8:
		return w.one("", "!") + "hostid(" + w.list(3, func() string { return w.one(`"a"`, `"b/string"`, `"a/user"`, `~/a\/.*/`) }) + ")"
	}
	return w.one("", "", "not ") + w.one("hostname", "hosttype", "user") + "(" + w.list(3, w.pattern) + ")"
}

func (w writer) model() string {
	var b strings.Builder
	b.WriteString("model \"m\" { partitions {\n")
	pool := []string{`"default"`}
	for _, name := range []string{`"p"`, `"q"`, `"r"`}[:w.IntN(4)] {
		pool = append(pool, name)
		fmt.Fprintf(&b, " partition %s {\n", name)
		for v := range w.IntN(4) { // rising versions: never a duplicate
			fmt.Fprintf(&b, "  %s %d.%d %s", w.one(`"f"`, `"g"`), v/2, v%2, w.one(fmt.Sprint(w.IntN(12)), fmt.Sprintf("%d %%", w.IntN(101)), "remainder", "33%"))
			for range w.IntN(3) {
				b.WriteString(w.one("", " vendor string matches ", " product name matches ", " activation id matches "))
				if strings.HasSuffix(b.String(), "matches ") {
					b.WriteString(w.one(w.pattern(), `~/A[0-3]/`))
				}
			}
			b.WriteString(w.one("\n", " // 3\n", " /* = 4 */\n"))
		}
		b.WriteString(" }\n")
	}
	b.WriteString("}\n")
	for range w.IntN(6) {
		fmt.Fprintf(&b, "on %s {", w.cond(3))
		if w.IntN(3) > 0 {
			fmt.Fprintf(&b, " use %s", w.list(3, func() string { return w.one(pool...) }))
		}
		switch w.IntN(4) {
		case 0:
			fmt.Fprintf(&b, " without requested features { all from %s }", w.list(3, func() string { return w.one(pool...) }))
		case 1:
			b.WriteString(` without requested features {"f" 1 1 "g" 1.1 2}`)
		}
		if w.IntN(4) == 0 {
			b.WriteString(` max "f" 1 1 per user, "f" 2 1 per device`)
		}
		fmt.Fprintf(&b, " %s }\n", w.one("accept", "continue", "continue", "deny"))
	}
	b.WriteString("}\n")
	return b.String()
}

func (w writer) facts() Facts {
	f := Facts{User: w.one("", "a", "b", "c", `a"\`), Alias: w.one("", "a", "b", "x/"), DeviceType: w.one("", "a", "b", "zz")}
	for range w.IntN(3) {
		f.Hosts = append(f.Hosts, hosts(w.one("a", "b", "c", "a/USER", "a/DISK"))...)
	}
	for range w.IntN(4) {
		f.Dictionary = append(f.Dictionary, pairs(w.one("k", "l", "m")+"="+w.one("", "a", "b", "x"))...)
	}
	return f
}

// plainHolds evaluates a condition from its printed parts, one pattern at a time.
func plainHolds(c Condition, f Facts) bool {
	n := 0
	for _, p := range c.Parts {
		if plainHolds(p, f) {
			n++
		}
	}
	switch c.Operator {
	case Not:
		return n == 0
	case And:
		return n == len(c.Parts)
	case Or:
		return n > 0
	}
	var of []string
	switch c.Test.Subject {
	case AnyRequest:
		return true
	case Hostname:
		of = []string{f.Alias}
	case HostType:
		of = []string{f.DeviceType}
	case User:
		of = []string{f.User}
	case HostID:
		for _, h := range f.Hosts {
			of = append(of, h.String())
		}
		if f.User != "" {
			of = append(of, f.User+"/USER")
		}
	case Dictionary:
		for _, want := range c.Test.Pairs {
			met := false
			for _, alternative := range c.Test.Pairs {
				for _, p := range f.Dictionary {
					met = met || alternative.Key == want.Key && p.Key == want.Key && (alternative.AnyValue || plainMatch(alternative.Pattern, p.Value))
				}
			}
			if !met {
				return false
			}
		}
		return true
	}
	for _, v := range of {
		for _, p := range c.Test.Patterns {
			if c.Test.Subject == HostID && !p.Regexp {
				p.Text = hosts(p.Text)[0].String()
			}
			if v != "" && plainMatch(p, v) {
				return true
			}
		}
	}
	return false
}

// plainRoute is section by section what the language says of rules.
func plainRoute(m *Model, f Facts) string {
	pools, spec, limits, some := []string{}, "", []string{}, false
	end := 0
	for i, r := range m.Rules {
		if !plainHolds(r.Condition, f) {
			continue
		}
		some = true
		if r.Action == Deny {
			return fmt.Sprintf("denied by %d at %s", i+1, r.Position)
		}
		for _, n := range r.Use {
			pools = append(pools, n.Text)
		}
		if spec == "" && r.Spec != nil {
			spec = " " + r.Spec.String()
		}
		for _, l := range r.Limits {
			limits = append(limits, l.String())
		}
		if r.Action == Accept {
			end = i + 1
			break
		}
	}
	if !some {
		return "default by 0"
	}
	var once []string
	for i, p := range pools {
		if slices.Index(pools, p) == i {
			once = append(once, p)
		}
	}
	s := fmt.Sprintf("%s by %d%s", strings.Join(once, ","), end, spec)
	if len(limits) > 0 {
		s += " max " + strings.Join(limits, ", ")
	}
	return s
}

// Random models: read, printed and read again they are the same; they route as the plain rules do; and a rule that Lint calls unreachable, or a
// pool that it calls unused, never shows.
func TestRandomModels(t *testing.T) {
	for seed := range uint64(1000) {
		w := writer{rand.New(rand.NewPCG(seed, 1))}
		text := w.model()
		m := must(t, text)
		same(t, m)
		never, unused := map[Position]bool{}, map[string]bool{}
		for _, f := range m.Lint(now, nil) {
			switch f.Symbol {
			case SymbolUnreachable:
				never[f.Position] = true
			case SymbolUnusedPool:
				unused[f.Arguments[0]] = true
			}
		}
		for range 60 {
			f := w.facts()
			r := m.Route(f)
			if got, want := way(r), plainRoute(m, f); got != want {
				t.Fatalf("seed %d: %+v\n%s\ngot  %s\nwant %s", seed, f, text, got, want)
			}
			if r.Rule > 0 && never[r.At] {
				t.Fatalf("seed %d: %+v\n%s\nrule %d is said to be unreachable", seed, f, text, r.Rule)
			}
			for _, p := range r.Pools {
				if unused[p] {
					t.Fatalf("seed %d: %+v\n%s\npool %s is said to be unused", seed, f, text, p)
				}
			}
		}
	}
}
