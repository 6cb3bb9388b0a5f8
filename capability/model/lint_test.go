package model

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
)

func TestFigure11(t *testing.T) {
	text, err := os.ReadFile("testdata/figure11.model")
	if err != nil {
		t.Fatal(err)
	}
	r := Check(text, 1, stockOf(item{feature: "eb-feature-android-eval", version: "2.0", count: 8}))
	var got []string
	for _, f := range r.Findings {
		if f.Symbol != SymbolUnusedPool {
			got = append(got, f.String())
		}
	}
	want := []string{
		`8:15: pool "0800 - PUNE" is named twice; the first is at 5:15`,
		`12:39: the comment says 2 where the allocation of "eb-feature-android-eval" is 3`,
		`15:7: "eb-feature-android-eval" is oversubscribed: the pools ask for 11 of 8; pool "4600 - BRUSSELS" gets 0 of 2`,
		`15:39: the comment says 1 where the allocation of "eb-feature-android-eval" is 2`,
		`18:39: the comment says 4 where the allocation of "eb-feature-android-eval" is 1`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if r.Model != nil || !r.Read || len(r.Distribution.Pools) != 5 || r.Distribution.Pools[4].Shares[0].Short() != 1 {
		t.Errorf("the report is %+v", r)
	}
	for _, f := range r.Findings {
		if f.Refused != (f.Symbol == SymbolDuplicatePool) {
			t.Errorf("%s: refused is %t", f, f.Refused)
		}
	}
}

// One model or more for each finding, and one beside it that is good. The mark stands where the finding is; without a mark there is none.
func TestLint(t *testing.T) {
	const pools = `partition "p" {"f" 1 1} partition "q" {"f" 1 1} partition "r" {"f" 1 1}`
	const used = ` on any() {use "p","q","r","default" accept}`
	rules := func(s string) string { return within(pools, s) }
	alloc := func(s string) string { return within("partition \"p\" {\n"+s+"\n}", `on any() {use "p" accept}`) }
	ten := stockOf(item{feature: "f", count: 10})
	for _, c := range []struct {
		text   string
		items  []capability.LineItem
		symbol Symbol
		reason string
	}{
		{rules(used), ten, "", ""},

		{alloc("\"f\" 1 4\n‸\"f\" 0 7"), ten, SymbolOversubscribed, `"f" is oversubscribed: the pools ask for 11 of 10; pool "p" gets 6 of 7`},
		{alloc("\"f\" 1 4\n\"f\" 0 6"), ten, "", ""},
		{alloc("\"f\" 1 4\n\"f\" 0 7"), nil, "", ""},
		{alloc("‸\"f\" 1 4"), stockOf(), SymbolOversubscribed, `"f" is oversubscribed: the pools ask for 4 of 0; pool "p" gets 0 of 4`},
		{alloc("\"f\" 1 60 %\n‸\"f\" 0 50 %"), ten, SymbolOversubscribed, `"f" is oversubscribed: the pools ask for 11 of 10; pool "p" gets 4 of 5`},
		{alloc("‸\"f\" 1 4"), stockOf(item{feature: "f", count: 3}, item{feature: "f", version: "0.9", count: 9}, item{feature: "f", count: 9, expiry: 50}), SymbolOversubscribed,
			`"f" is oversubscribed: the pools ask for 4 of 3; pool "p" gets 3 of 4`},
		{within(`partition "p" {"f" 1 60 % "g" 1 60 %} partition "q" {‸"f" 1 41 %} partition "r" {"f" 1 9 % "f" 2 99 %}`, used), nil, SymbolOversubscribed,
			`"f" is oversubscribed: with pool "q" the pools ask for 101 % of version 1.0`},
		{within(`partition "p" {"f" 1 60 % "g" 1 60 %} partition "q" {"f" 1 40 %} partition "r" {"f" 1 9 % vendor string matches "v"}`, used), nil, "", ""},
		{within(`partition "p" {"f" 1 60 %} partition "q" {"f" 1 40 %} partition "r" {"f" 1 99}`, used), nil, "", ""},
		{within(`partition "p" {"f" 1 60 %} partition "q" {"f" 2 60 %} partition "r" {"f" 1 40 %}`, used), nil, "", ""},

		{within(`partition "p" {"f" 1 5 vendor string matches "x"} partition "q" {‸"f" 1 2 vendor string matches "x"}`, `on any() {use "p","q" accept}`),
			stockOf(item{feature: "f", count: 5, vendor: "x"}, item{feature: "f", count: 50, vendor: "y"}), SymbolOversubscribed,
			`"f" is oversubscribed: the pools ask for 7 of 5 of vendor string "x"; pool "q" gets 0 of 2`},
		{within(`partition "p" {"f" 2 5 vendor string matches "x" "f" 1 1 vendor string matches "y"} partition "q" {‸"f" 1 2 vendor string matches "x"}`, `on any() {use "p","q" accept}`),
			stockOf(item{feature: "f", version: "2.0", count: 5, vendor: "x"}, item{feature: "f", version: "0.9", count: 5, vendor: "x"}, item{feature: "f", count: 50, vendor: "y"}), SymbolOversubscribed,
			`"f" is oversubscribed: the pools ask for 7 of 5 of vendor string "x"; pool "q" gets 0 of 2`},
		{alloc("\"f\" 1 3 vendor string matches \"x\"\n‸\"f\" 2 3 vendor string matches ~/x|y/ product name matches \"P\""),
			stockOf(item{feature: "f", version: "2.0", count: 3, vendor: "x", product: "P"}, item{feature: "f", version: "2.0", count: 3, vendor: "z"}), SymbolOversubscribed,
			`"f" is oversubscribed: the pools ask for 6 of 3; pool "p" gets 0 of 3`},
		{alloc("\"f\" 1 3\n‸\"f\" 2 3 vendor string matches \"x\""),
			stockOf(item{feature: "f", version: "2.0", count: 3, vendor: "x"}, item{feature: "f", version: "3.0", count: 3}), SymbolShort,
			`pool "p" gets 0 of 3 "f" 2.0: what else there is is below that version, not let in by a filter, or in a pool before`},
		{alloc("\"f\" 1 1\n‸\"f\" 2 3"), stockOf(item{feature: "f", count: 8}, item{feature: "f", version: "2.0", count: 2}), SymbolShort,
			`pool "p" gets 2 of 3 "f" 2.0: what else there is is below that version, not let in by a filter, or in a pool before`},
		{alloc("\"f\" 1 1\n‸\"f\" 2 3"), stockOf(item{feature: "f", count: 2}, item{feature: "f", version: "2.0", count: 2}), SymbolShort, // as many as there are
			`pool "p" gets 2 of 3 "f" 2.0: what else there is is below that version, not let in by a filter, or in a pool before`},
		{within(`partition "p" {"f" 1 remainder vendor string matches "v"} partition "q" {‸"f" 1 3}`, `on any() {use "p","q" accept}`), stockOf(item{feature: "f", count: 10, vendor: "v"}),
			SymbolShort, `pool "q" gets 0 of 3 "f" 1.0: what else there is is below that version, not let in by a filter, or in a pool before`},

		{within(`partition "p" {"f" 1 1 "g" 1 remainder} partition "q" {"f" 1 remainder ‸"g" 2 remainder} partition "r" {"f" 0 1}`, used), nil, SymbolAfterRemainder,
			`pool "q" gets nothing of "g" 2.0: pool "p" takes all that is left at 3:24`},
		{within(`partition "p" {"f" 1 remainder "f" 0 remainder} partition "q" {‸"f" 0 1}`, `on any() {use "p","q" accept}`), nil, SymbolAfterRemainder,
			`pool "q" gets nothing of "f" 0.0: pool "p" takes all that is left at 3:32`},
		{within(`partition "p" {"f" 1 remainder vendor string matches "v"} partition "q" {"f" 1 1}`, `on any() {use "p","q" accept}`), nil, "", ""},

		{alloc(`"f" 1 3 ‸// 4 for sales`), ten, SymbolComment, `the comment says 4 where the allocation of "f" is 3`},
		{alloc(`"f" 1 3 // 3 for sales`), ten, "", ""},
		{alloc(`"f" 1 3 ‸/* = 2 of 3 */`), nil, SymbolComment, `the comment says 2 where the allocation of "f" is 3`},
		{alloc(`"f" 1 3 // 2 of 3`), nil, "", ""},
		{alloc(`"f" 1 3 // v2.0, P1, 1/2, 2026-01-01, 7th, #12, no-9, 99999999999, ½2`), nil, "", ""},
		{alloc(`"f" 1 3 ‸// sales: 4.`), nil, SymbolComment, `the comment says 4 where the allocation of "f" is 3`},
		{alloc("\"f\" 1 3\n// 4 on a line of its own\n\"g\" 1 0\n// 5 too\n"), nil, "", ""},
		{alloc("\"f\" 1 3\n‸/* 5 */ \"g\" 1 0"), nil, SymbolComment, `the comment says 5 where the allocation of "g" is 0`},
		{within(`partition "p" {‸/* 5 */ "f" 1 3}`, `on any() {use "p" accept}`), nil, SymbolComment, `the comment says 5 where the allocation of "f" is 3`},
		{within("partition \"p\" { // 5 in all\n\"f\" 1 3}", `on any() {use "p" accept}`), nil, "", ""},
		{alloc("\"f\" 1 3\n‸/* a\n5 */ \"g\" 1 0"), nil, SymbolComment, `the comment says 5 where the allocation of "g" is 0`},
		{alloc(`"f" 1 3 /* 3 */ "g" 1 4 // 4`), nil, "", ""},
		{alloc(`"f" 1 3 /* 3 */ "g" ‸/* 3 */ 1 4 // four`), nil, SymbolComment, `the comment says 3 where the allocation of "g" is 4`},
		{alloc("\"f\" 1 ‸// 2 seats\n3"), nil, SymbolComment, `the comment says 2 where the allocation of "f" is 3`},
		{alloc("\"f\" 1. ‸/* 2 seats */ 0 3 vendor /* 3 */ string matches \"v\""), nil, SymbolComment, `the comment says 2 where the allocation of "f" is 3`},
		{alloc(`"f" 1 3 /* no number */ vendor string matches ~/.*/ ‸// =9`), nil, SymbolComment, `the comment says 9 where the allocation of "f" is 3`},
		{alloc(`"f" 1 3 ‸/* 5 */ vendor string matches ~/.*/`), nil, SymbolComment, `the comment says 5 where the allocation of "f" is 3`},
		{within(`partition "p" {"f" 1 3 ‸/* 5 */ }`, `on any() {use "p" accept}`), nil, SymbolComment, `the comment says 5 where the allocation of "f" is 3`},
		{within("partition \"p\" {\"g\" 0 0\n\"f\" 1 3} ‸/* 5 */ partition \"q\" {} // 4\n", `on any() {use "p","q" accept}`), nil, SymbolComment, `the comment says 5 where the allocation of "f" is 3`},
		{within("partition \"p\" {\"f\" 1 3\n} // 5\n", `on any() {use "p" accept}`), nil, "", ""},
		{alloc(`"f" 1 33 % // 33 percent`), ten, "", ""},
		{alloc(`"f" 1 33 % // comes to 3`), ten, "", ""},
		{alloc(`"f" 1 33 % ‸// comes to 4`), ten, SymbolComment, `the comment says 4 where the allocation of "f" is 33 %`},
		{alloc(`"f" 1 33 % // comes to 4`), nil, "", ""},
		{alloc(`"f" 1 remainder // 10`), ten, "", ""},
		{alloc(`"f" 1 remainder ‸// 0`), ten, SymbolComment, `the comment says 0 where the allocation of "f" is remainder`},
		{alloc(`"f" 1 remainder // 0`), nil, "", ""},

		{within(`partition "p" {} ‸partition "q" {}`, `on any() {use "p" accept}`), nil, SymbolUnusedPool, `no rule lets anybody draw on pool "q"`},
		{within(`partition "p" {} partition "q" {}`, `on user("u") {use "q" continue} on any() {use "p" accept}`), nil, "", ""},

		{rules(`on user("u") {use "p" accept}` + used + ` ‸on user("v") {deny}`), nil, SymbolUnreachable, `rule 3 is never reached: the rules up to 2, at 5:31, decide all its requests`},
		{rules(`‸on not any() {deny}` + used), nil, SymbolUnreachable, `rule 1 is never reached: its condition is never true`},
		{rules(`‸on user("a") and not any() {deny}` + used), nil, SymbolUnreachable, `rule 1 is never reached: its condition is never true`},
		{rules(`‸on not (user("a") or any()) {deny}` + used), nil, SymbolUnreachable, `rule 1 is never reached: its condition is never true`},
		{rules(`on any() and any() {use "p","q","r" accept} ‸on user("v") {deny}`), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on user("u") or not (not any()) {use "p","q","r" accept} ‸on user("v") {deny}`), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on any() {use "p","q","r" continue} on user("v") {deny}`), nil, "", ""},
		{rules(`on user("a") and any() {deny} on user("b") {deny}` + used), nil, "", ""},
		{rules(`on user("a","b") {deny} ‸on user("b") {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on user("a") or hostname("h") {deny} on user("b") {deny} ‸on user("b","a") or hostname("h") {deny}` + used), nil, SymbolUnreachable, `rule 3 is never reached: the rules up to 2, at 5:38, decide all its requests`},
		{rules(`on user("a") {deny} on user("a") or hostname("h") {deny} on user("a","c") {deny}` + used), nil, "", ""},
		{rules(`on user("a") {deny} ‸on hostname("h") and user("a") {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on user("a") and hostname("h") {deny} on user("a") {deny}` + used), nil, "", ""},
		{rules(`on user("a") and hostname("h") {deny} ‸on (user("a") and hostname("h")) {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on not user("a") {use "p","q","r" accept} on user("a") {deny} ‸on any() {deny}`), nil, SymbolUnreachable, `rule 3 is never reached: the rules up to 2, at 5:43, decide all its requests`},
		{rules(`on user("a") {deny} on user("b") {deny} on not (user("b","a")) {use "p","q","r" accept} ‸on user("d") {deny}`), nil,
			SymbolUnreachable, `rule 4 is never reached: the rules up to 3, at 5:41, decide all its requests`},
		{rules(`on user("a") or not user("a") {use "p","q","r" accept} ‸on any() {deny}`), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`‸on user("a") and hostname("h") and not user("a") {deny}` + used), nil, SymbolUnreachable, `rule 1 is never reached: its condition is never true`},
		{rules(`‸on user("a") and user("b") {deny}` + used), nil, SymbolUnreachable, `rule 1 is never reached: its condition is never true`},
		{rules(`on not user("a") or not user("b") {use "p","q","r" accept} ‸on any() {deny}`), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on hostid("a") and hostid("b") {deny} on dictionary("k":"a") and dictionary("k":"b") {deny} on user("a") and user(~/a|b/) {deny} on user("a") and not user("b") {deny}` + used), nil, "", ""},
		{rules(`on not hostid("a") or not hostid("b") {deny} on user("a") or user("b") {deny}` + used), nil, "", ""},
		{rules(`‸on user("") {deny}` + used), nil, SymbolUnreachable, `rule 1 is never reached: its condition is never true`},
		{rules(`on dictionary("k":"") {deny}` + used), nil, "", ""},
		{rules(`on user("a") and hostname("h") {deny} ‸on hostname("h")&&(user("a")) {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on user("a") {deny} ‸on not (not user("a")) {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on not user("a") {use "p","q","r" accept} ‸on not (user("a") or user("b")) {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on dictionary("a":"1","b":"2") {deny} ‸on dictionary("b":"2","a":"1") {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on dictionary("a":"1","b":"2","a":"3") {deny} ‸on (dictionary("a":"3") or dictionary("a":"1")) and dictionary("b":"2") {deny}` + used), nil, SymbolUnreachable,
			`rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on not dictionary("k": *) {deny} on not dictionary("k":"a") {deny}` + used), nil, "", ""},
		{rules(`on user(~/a/) {deny} on user("a") {deny} on hostname("a") {deny}` + used), nil, "", ""},
		{rules(`on user(~/a|b/) {deny} ‸on user(~/a|b/) and any() {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on hostid("a") {deny} ‸on hostid("a/string") {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on dictionary("k": *) {deny} ‸on dictionary("l":"b", "k":"a") {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on dictionary("k":"a") {deny} on dictionary("k": *) {deny}` + used), nil, "", ""},
		{rules(`on dictionary("k":"a","l":"b") {deny} on dictionary("k":"a") {deny} on dictionary("l":"b") {deny}` + used), nil, "", ""},
		{rules(`on dictionary("k":"a","k":"b") {deny} ‸on dictionary("k":"b") {deny}` + used), nil, SymbolUnreachable, `rule 2 is never reached: the rules up to 1, at 5:1, decide all its requests`},
		{rules(`on user("a") {use "p" continue} on user("a") {deny}` + used), nil, "", ""},

		{rules(`on hostid("a") or ‸hostid("b") and hostname("z") or user("u") and any() {deny}` + used), nil, SymbolMixed,
			`"and" beside "or" without parentheses: this reads as (hostid("b") and hostname("z"))`},
		{rules(`on hostid("a") or (hostid("b") and hostname("z")) {deny}` + used), nil, "", ""},
		{rules(`on (hostid("a") or hostid("b")) and hostname("z") {deny}` + used), nil, "", ""},
		{rules(`on not (user("u") or ‸hostid("` + strings.Repeat("b", 40) + `") and any()) {deny}` + used), nil, SymbolMixed,
			`"and" beside "or" without parentheses: this reads as (hostid("` + strings.Repeat("b", 32) + `...)`},

		{rules(`on any() {use "r","default",‸"q","p" accept}`), nil, SymbolUseOrder, `pool "q" is used after "r" but filled before it`},
		{rules(`on any() {use "default","p","p","q","r" accept}`), nil, "", ""},
		{rules(`on any() {use "q" continue} on any() {use ‸"p","r" accept}`), nil, SymbolUseOrder, `pool "p" is used after "q" but filled before it`},
		{rules(`on any() {use "q","r" continue} on user("u") {use "r","q" continue} on user("v") {use ‸"p" accept} on any() {accept}`), nil, SymbolUseOrder, `pool "p" is used after "r" but filled before it`},
		{rules(`on any() {use "p" continue} on any() {use "r" continue} on any() {use "p",‸"q" accept}`), nil, SymbolUseOrder, `pool "q" is used after "r" but filled before it`},
		{rules(`on user("u") {use "r" continue} on not user("u") {use "p","q" accept}` + used), nil, "", ""},
		{rules(`on user("u") {use "r" continue} on user("v") {use "p","q" accept}` + used), nil, "", ""},
		{rules(`on user("u") {use "r" continue} on user("u") and hostname("h") {use ‸"q" accept}` + used), nil, SymbolUseOrder, `pool "q" is used after "r" but filled before it`},
		{rules(`on user("u","v") {use "r" continue} on user("v") {use ‸"q" accept}` + used), nil, SymbolUseOrder, `pool "q" is used after "r" but filled before it`},
		{rules(`on dictionary("k":*) {use "r" continue} on dictionary("k":"v") {use ‸"q" accept}` + used), nil, SymbolUseOrder, `pool "q" is used after "r" but filled before it`},
		{rules(`on dictionary("k":"v") {use "r" continue} on dictionary("k":*) {use "q" accept}` + used), nil, "", ""},
		{rules(`on user("u") {use "r" accept} on user("u","v") {use "q" accept}` + used), nil, "", ""},
		{rules(`on user("u") and hostname("h") {use "r" continue} on user("u") {use "q" accept}` + used), nil, "", ""},

		{rules(`‸on user("u") {accept}` + used), nil, SymbolNoPool, `rule 1 accepts but names no pool: nothing can be served`},
		{rules(`on any() {use "p","q","r" continue} on any() {accept}`), nil, "", ""},
		{rules(`on any() {continue} ‸on user("u") {accept}` + used), nil, SymbolNoPool, `rule 2 accepts but names no pool: nothing can be served`},

		{rules(`‸on user("u") {use "p" deny}` + used), nil, SymbolUseDenied, `rule 1 denies: what else it says has no effect`},
		{rules(`‸on user("u") {without requested features {} deny}` + used), nil, SymbolUseDenied, `rule 1 denies: what else it says has no effect`},
		{rules(`‸on user("u") {max "f" 1 1 per user deny}` + used), nil, SymbolUseDenied, `rule 1 denies: what else it says has no effect`},
		{rules(`on user("u") {deny}` + used), nil, "", ""},

		{rules(`on any() {use "p","q","r" without requested features {all from "p",‸"default"} accept}`), nil, SymbolEmptyClause, `pool "default" has no allocations of its own, so that nothing is asked from it`},
	} {
		want := ""
		if c.symbol != "" {
			var at Position
			c.text, at = marked(t, c.text)
			want = fmt.Sprintf("%s: %s (%s)\n", at, c.reason, c.symbol)
		}
		got := ""
		for _, f := range must(t, c.text).Lint(now, c.items) {
			got += fmt.Sprintf("%s (%s)\n", f, f.Symbol)
			if f.Refused {
				t.Errorf("%s refuses", f)
			}
		}
		if got != want {
			t.Errorf("%s\ngot\n%swant\n%s", c.text, got, want)
		}
	}
}

// A pool that only a rule out of reach, or a rule that denies, uses is used by nobody; and what decides is the rule that is reached.
func TestLintBehindAny(t *testing.T) {
	m := must(t, within(`partition "p" {} partition "q" {} partition "r" {}`, `on user("u") {use "r" deny}
on any() {use "p" accept}
on any() {use "q" accept}
on user("v") {use "q" accept}`))
	got := ""
	for _, f := range m.Lint(now, nil) {
		got += f.String() + "\n"
	}
	want := `3:18: no rule lets anybody draw on pool "q"
3:35: no rule lets anybody draw on pool "r"
5:1: rule 1 denies: what else it says has no effect
7:1: rule 3 is never reached: the rules up to 2, at 6:1, decide all its requests
8:1: rule 4 is never reached: the rules up to 2, at 6:1, decide all its requests
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// What is gathered by a rule that no request reaches is gathered for nobody.
func TestLintGatheredByNobody(t *testing.T) {
	m := must(t, within(`partition "p" {}`, `on not any() {use "p" continue}
on user("u") {accept}
on any() {use "p" accept}`))
	got := ""
	for _, f := range m.Lint(now, nil) {
		got += f.String() + "\n"
	}
	want := `5:1: rule 1 is never reached: its condition is never true
6:1: rule 2 accepts but names no pool: nothing can be served
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		text  string
		read  bool
		model bool
		want  string
	}{
		{pooled(`"f" 1 3 // 3` + "\n"), true, true, "unused-pool"},
		{pooled(`"f" 1 3 // 3` + "\n" + `"f" 1 4 // 5` + "\n"), true, false, "unused-pool duplicate-feature oversubscribed comment"},
		{pooled(`"f" 1 11 % vendor string matches ~/(/ // 5` + "\n"), true, false, "unused-pool regexp"},
		{pooled(`"f" 1 9999999999 // 5` + "\n"), true, false, "unused-pool number"},
		{pooled(`"f" 1 9999999999}/* 5 */ partition "q" {`), true, false, "unused-pool number unused-pool"},
		{pooled(`"f" 1 4 // 5`), false, false, "syntax"},
		{"model \"m\" {} \xff", false, false, "character"},
		{strings.Repeat(" ", MaxFile+1), false, false, "size"},
	} {
		r := Check([]byte(c.text), now, stockOf(item{feature: "f", count: 5}))
		var got []string
		for _, f := range r.Findings {
			got = append(got, string(f.Symbol))
		}
		if g := strings.Join(got, " "); g != c.want || r.Read != c.read || (r.Model != nil) != c.model || (len(r.Distribution.Pools) > 0) != c.read {
			t.Errorf("%.99s\ngot  %s, read %t, model %t, %d pools\nwant %s, read %t, model %t", c.text, g, r.Read, r.Model != nil, len(r.Distribution.Pools), c.want, c.read, c.model)
		}
	}
}

// What a comment says beside an allocation of that amount, against an inventory of ten or none; empty where it does not contradict.
func TestComments(t *testing.T) {
	ten := stockOf(item{feature: "f", count: 10})
	for _, c := range []struct {
		amount, comment string
		items           []capability.LineItem
		says            string
	}{
		{"3", "P1 license count = 3, was = 2", nil, ""},
		{"3", "P1 license count = 2", nil, "2"},
		{"3", "count=4", nil, "4"},
		{"3", "count: 4", nil, "4"},
		{"3", "x = 4 (y = 3)", nil, ""},
		{"3", "three (3) of 10", nil, ""},
		{"3", "10 in all, 3 here", nil, ""},
		{"3", "2 of 3", nil, ""},
		{"3", "0 licenses", nil, "0"},
		{"3", "now 4, was 3 before", nil, ""},
		{"3", "now 4, was 5 before", nil, "4"},
		{"1000", "1,000 seats", nil, ""},
		{"1000", "1 000 seats", nil, ""},
		{"1000", "1'000 seats", nil, ""},
		{"1000", "1’000 seats", nil, ""},
		{"1000000", "1 000 000, 1,000,000", nil, ""},
		{"3", "1,000 seats", nil, "1000"},
		{"3", "2 500 000 seats", nil, "2500000"},
		{"3", "1000 500 seats", nil, "1000"},
		{"3", "1.000 or 1_000 or 1k or 10,00 or 1'00 or 1000,000", nil, ""},
		{"3", "ticket 4711: Pune", nil, ""},
		{"3", "Ticket: 4711, ticket #4712", nil, ""},
		{"3", "ticket 4711, 5 seats", nil, "5"},
		{"3", "bldg. 12, Cost Center 4711, no. 9", nil, ""},
		{"3", "until 2027", nil, ""},
		{"3", "until (9)", nil, "9"},
		{"3", "ordered 5 March 2026", nil, ""},
		{"3", "ordered Sept 5, 2026", nil, ""},
		{"3", "ordered Mar 5, 6 seats", nil, "6"},
		{"3", "ordered Mar 5, 3000 seats", nil, "3000"},
		{"3", "24/7, 09:00, 9 am, 5 p.m., 2nd, -3, +1, room 3.14", nil, ""},
		{"3", "phone 555 1234", nil, ""},
		{"3", "phone 555 123 4567 89", nil, ""},
		{"3", "5 555", nil, "5555"},
		{"3", "50% of 6, 37.5 %", nil, ""},
		{"3", "% 4", nil, "4"},
		{"50 %", "60 %", nil, "60 %"},
		{"50 %", "= 60%", nil, "60 %"},
		{"50 %", "60 percent, 5 seats", nil, "60 %"},
		{"50 %", "50 pct, 60 %", nil, ""},
		{"50 %", "6 licenses", nil, ""},
		{"50 %", "6 licenses", ten, "6"},
		{"50 %", "5 licenses", ten, ""},
		{"50 %", "50 of them", ten, ""},
		{"remainder", "10 %", ten, ""},
		{"remainder", "10 left", ten, ""},
		{"remainder", "9 left", ten, "9"},
		{"remainder", "9 left", nil, ""},
	} {
		got := ""
		for _, f := range must(t, within("partition \"p\" {\n\"f\" 1 "+c.amount+" // "+c.comment+"\n}", `on any() {use "p" accept}`)).Lint(now, c.items) {
			if f.Symbol == SymbolComment {
				got += f.Arguments[0]
			}
		}
		if got != c.says {
			t.Errorf("%q beside %s: got %q, want %q", c.comment, c.amount, got, c.says)
		}
	}
}

// An inventory that is not known is not an empty one.
func TestCheckWithoutInventory(t *testing.T) {
	text := []byte(within(`partition "p" {"f" 1 1}`, `on any() {use "p" accept}`))
	if r := Check(text, now, nil); len(r.Findings) > 0 || r.Distribution.Pools[0].Shares[0].Short() != 1 {
		t.Errorf("not known: %+v", r)
	}
	if r := Check(text, now, []capability.LineItem{}); len(r.Findings) != 1 {
		t.Errorf("empty: %+v", r.Findings)
	}
}

func TestFindingArguments(t *testing.T) {
	_, err := Parse([]byte(pooled(`"f" 1 1 "f" 1 2`)))
	bad, _ := err.(*SyntaxError)
	if bad == nil || fmt.Sprint(bad.Arguments) != "[p f 1.0 3:16 and neither names a vendor string]" || bad.Line != 3 || bad.Column != 24 || bad.Reason == "" {
		t.Errorf("%+v", bad)
	}
}

// The largest texts of each shape are read and looked through in bounded time; what they cost is mostly what they are long.
func TestLargeModels(t *testing.T) {
	fill := func(before, unit, after string) string {
		return before + strings.Repeat(unit, (MaxFile-len(before)-len(after))/len(unit)) + after
	}
	for name, text := range map[string]string{
		"nothing":         fill("model \"m\" {}", "\n", ""),
		"comments":        fill("model \"m\" {", "/**/", "}"),
		"open comments":   fill("model \"m\" {", "/*", "}"),
		"parentheses":     fill("model \"m\" { on ", "(", ""),
		"nots":            fill("model \"m\" { on ", "!", ""),
		"patterns":        fill("model \"m\" { on user(", `"a",`, `"a") {deny} }`),
		"tests":           fill("model \"m\" { on ", `any()||`, `any() {deny} }`),
		"mixed tests":     fill("model \"m\" { on ", `any()||user("a")&&`, `any() {deny} }`),
		"pairs":           fill("model \"m\" { on dictionary(", `"a":*,`, `"a":*) {deny} }`),
		"uses":            fill("model \"m\" { on any() {use ", `"default",`, `"default" deny} }`),
		"unknown pools":   fill("model \"m\" { on any() {use ", `"p",`, `"p" deny} }`),
		"rules":           fill("model \"m\" {", strings.Repeat(" ", 86)+"on user(\"a\",\"b\"){deny}", "}"),
		"regexps":         fill("model \"m\" { on user(", `~/\pL/,`, `"a") {deny} }`),
		"allocations":     fill("model \"m\" { partitions { partition \"p\" {", `"f"1 1 `, "}}}"),
		"same allocation": "model \"m\" { partitions {" + strings.Repeat(`partition "p" {"f" 1 1}`, MaxPools) + "}}",
	} {
		start := time.Now()
		r := Check([]byte(text), now, stockOf(item{feature: "f", count: 5}))
		if spent := time.Since(start); spent > 20*time.Second {
			t.Errorf("%s: %d bytes took %s", name, len(text), spent)
		}
		if r.Model != nil {
			r.Model.Route(Facts{User: "a"})
			same(t, r.Model)
		}
	}
}
