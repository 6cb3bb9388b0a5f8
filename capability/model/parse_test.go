package model

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func must(t testing.TB, text string) *Model {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}

// item is a line item in the few words a test needs; now is 100 in all tests.
type item struct {
	id, feature, version string
	count                uint32
	start, expiry        capability.Time
	vendor, product      string
	metered, uncounted   bool
}

const now capability.Time = 100

// stockOf makes line items; those without an ID are A0, A1 and so on.
func stockOf(all ...item) []capability.LineItem {
	out := make([]capability.LineItem, len(all))
	for i, it := range all {
		if it.id == "" {
			it.id = fmt.Sprintf("A%d", i)
		}
		if it.version == "" {
			it.version = "1.0"
		}
		v, err := capability.ParseVersion(it.version)
		if err != nil {
			panic(err)
		}
		out[i] = capability.LineItem{ActivationID: capability.ActivationID(it.id), Feature: it.feature, Version: v, Count: it.count, Start: it.start,
			Expiry: it.expiry, VendorString: it.vendor, Product: it.product, Metered: it.metered, Uncounted: it.uncounted}
	}
	return out
}

// marked takes the mark ‸ out of a text and says at which line and column it stood.
func marked(t *testing.T, text string) (string, Position) {
	t.Helper()
	before, after, is := strings.Cut(text, "‸")
	if !is {
		t.Fatalf("no place is marked in\n%s", text)
	}
	lines := strings.Split(before, "\n")
	return before + after, Position{len(lines), len([]rune(lines[len(lines)-1])) + 1}
}

// within is a model around pools and rules.
func within(pools, rules string) string {
	return "model \"m\" {\npartitions {\n" + pools + "\n}\n" + rules + "\n}"
}

func pooled(allocations string) string { return within(`partition "p" {`+allocations+`}`, "") }
func ruled(rule string) string         { return within(`partition "p" {}`, rule) }

func TestParseRefuses(t *testing.T) {
	name := strings.Repeat("n", MaxName)
	for _, c := range []struct {
		text   string // the mark stands where the finding is
		symbol Symbol
		reason string
	}{
		// The frame.
		{`‸`, SymbolSyntax, `want "model", found the end of the text`},
		{`‸Model "m" {}`, SymbolSyntax, `want "model", found "Model"`},
		{`‸"model" "m" {}`, SymbolSyntax, `want "model", found the string "model"`},
		{`model ‸m {}`, SymbolSyntax, `want the name of the model in double quotes, found "m"`},
		{`model "m" ‸`, SymbolSyntax, `want "{", found the end of the text`},
		{`model "m" {‸`, SymbolSyntax, `want "on" or "}", found the end of the text`},
		{`model "m" {} ‸}`, SymbolSyntax, `want the end of the text, found "}"`},
		{`model "m" {} ‸model "n" {}`, SymbolSyntax, `want the end of the text, found "model"`},
		{`model "m" { on any() {accept} ‸partitions {} }`, SymbolSyntax, `want "on" or "}", found "partitions"`},
		{`model "m" { partitions {} ‸partitions {} }`, SymbolSyntax, `want "on" or "}", found "partitions"`},
		{`model "m" { partitions ‸partition "p" {} }`, SymbolSyntax, `want "{", found "partition"`},
		{"model \"m\" {\n\n\r\n/* a\nb\n\nc */ ‸return }", SymbolSyntax, `want "on" or "}", found "return"`},
		{`model "m" { ‸return }`, SymbolSyntax, `want "on" or "}", found "return"`},
		{`model ‸"default" {}`, SymbolReserved, `"default" is reserved: no model can have that name`},
		{`model ‸"reservations" {}`, SymbolReserved, `"reservations" is reserved: no model can have that name`},
		{`model ‸"" {}`, SymbolName, `a name of 0 bytes where 1 to 128 are allowed`},

		// Characters, strings, regexps, comments.
		{"model \"m\" {\n// caf\u00e9 ‸\xff\n}", SymbolCharacter, `byte 0xff is not UTF-8`},
		{"model \"m\" {\n// ‸\u202e }\n}", SymbolCharacter, `character U+202E is not allowed`},
		{"model \"m\" {\n\t// ‸\x00\n}", SymbolCharacter, `character U+0000 is not allowed`},
		{"model \"\u00a0‸\u0085\" {}", SymbolCharacter, `character U+0085 is not allowed`},
		{"model \"~‸\u009f\" {}", SymbolCharacter, `character U+009F is not allowed`},
		{"model \"\u2027‸\u2029\" {}", SymbolCharacter, `character U+2029 is not allowed`},
		{"model \"\u202f‸\u202a\" {}", SymbolCharacter, `character U+202A is not allowed`},
		{"model \"\u2065\u206a‸\u2069\" {}", SymbolCharacter, `character U+2069 is not allowed`},
		{"model \"‸\u2066\" {}", SymbolCharacter, `character U+2066 is not allowed`},
		{"model \"‸\u2028\" {}", SymbolCharacter, `character U+2028 is not allowed`},
		{"model \"‸\x7f\" {}", SymbolCharacter, `character U+007F is not allowed`},
		{"model \"‸\ufffd\" {}", SymbolCharacter, `character U+FFFD is not allowed`},
		{`model ‸"m {}`, SymbolUnclosed, `the string that begins here has no closing quote on its line`},
		{"model ‸\"m\n\" {}", SymbolUnclosed, `the string that begins here has no closing quote on its line`},
		{"model ‸\"m\r\n\" {}", SymbolUnclosed, `the string that begins here has no closing quote on its line`},
		{"model \"m‸\r\" {}", SymbolCharacter, `a carriage return without the line feed that ends a line`},
		{"model \"m\" {\r\n// é‸\r\r\n}", SymbolCharacter, `a carriage return without the line feed that ends a line`},
		{"model \"m\" {}‸\r", SymbolCharacter, `a carriage return without the line feed that ends a line`},
		{"model \"é‸\u200b\" {}", SymbolCharacter, `character U+200B is not allowed here: nobody sees it`},
		{"model \"m‸\ufeff\" {}", SymbolCharacter, `character U+FEFF is not allowed here: nobody sees it`},
		{ruled("on user(~/a‸\u2060/) {deny}"), SymbolCharacter, `character U+2060 is not allowed here: nobody sees it`},
		{ruled("on user(\"a‸\u200f\") {deny}"), SymbolCharacter, `character U+200F is not allowed`},
		{"model \"m\" {} // ‸\u061c", SymbolCharacter, `character U+061C is not allowed`},
		{"model \"m\" {} // ‸\u200e", SymbolCharacter, `character U+200E is not allowed`},
		{"model ‸\"m\tn\" {}", SymbolName, `a tab in a name, where nobody can tell it from spaces`},
		{ruled("on dictionary(‸\"a\tb\": *) {deny}"), SymbolName, `a tab in a name, where nobody can tell it from spaces`},
		{`model ‸"m\" {}`, SymbolUnclosed, `the string that begins here has no closing quote on its line`},
		{`model "éa‸\n" {}`, SymbolSyntax, `a backslash in a string is written \\, a quote \"`},
		{`model "a‸\`, SymbolSyntax, `a backslash in a string is written \\, a quote \"`},
		{"model \"m\" {\n} ‸/* no end", SymbolUnclosed, `the comment that begins here has no end`},
		{`model "m" { ‸/*/ }`, SymbolUnclosed, `the comment that begins here has no end`},
		{`model "m" { ‸/ }`, SymbolSyntax, `'/' begins nothing that belongs in a model`},
		{`model "m" { ‸ü }`, SymbolSyntax, `'ü' begins nothing that belongs in a model`},
		{ruled(`on user(‸~/abc) {deny}`), SymbolUnclosed, `the regexp that begins here has no closing slash on its line`},
		{ruled("on user(‸~/abc\n/) {deny}"), SymbolUnclosed, `the regexp that begins here has no closing slash on its line`},
		{ruled("on user(‸~/abc\r\n/) {deny}"), SymbolUnclosed, `the regexp that begins here has no closing slash on its line`},
		{ruled(`on user(‸~/abc\/) {deny}`), SymbolUnclosed, `the regexp that begins here has no closing slash on its line`},
		{ruled(`on user(‸~abc) {deny}`), SymbolSyntax, `'~' begins nothing that belongs in a model`},
		{ruled(`on user(‸~/a(b/) {deny}`), SymbolRegexp, "missing closing ): `a(b`"},
		{ruled(`on user(‸~/a)(b/) {deny}`), SymbolRegexp, "unexpected ): `a)(b`"},
		{ruled(`on user(‸~/(a)\1/) {deny}`), SymbolRegexp, "invalid escape sequence: `\\1`"},
		{ruled(`on user(‸~/a(?=b)/) {deny}`), SymbolRegexp, "invalid or unsupported Perl syntax: `(?=`"},
		{ruled(`on user(‸~/a{1001}/) {deny}`), SymbolRegexp, "invalid repeat count: `{1001}`"},
		{ruled(`on user(‸~/` + strings.Repeat("x{0,1000}", 40) + `/) {deny}`), SymbolRegexp, "the regexps of this model are too large together: repeats count as often as they repeat"},
		{ruled(`on user("u", ‸~/(` + strings.Repeat("x", 100) + `){700}/) {deny}`), SymbolRegexp, "the regexps of this model are too large together: repeats count as often as they repeat"},

		// Pools and allocations.
		{pooled(`‸f 1.0 1`), SymbolSyntax, `want a feature in double quotes or "}", found "f"`},
		{pooled(`‸"" 1.0 1`), SymbolName, `a name of 0 bytes where 1 to 128 are allowed`},
		{pooled(`‸"n` + name + `" 1.0 1`), SymbolName, `a name of 129 bytes where 1 to 128 are allowed`},
		{pooled(`"f" ‸"1.0" 1`), SymbolSyntax, `want a version like 2026.1, found the string "1.0"`},
		{pooled(`"f" 1.‸x 1`), SymbolSyntax, `want the second number of a version, found "x"`},
		{pooled(`"f" 6.1‸.3 1`), SymbolVersion, `a version has at most two numbers`},
		{pooled(`"f" ‸4294967296 1`), SymbolNumber, `a version number of 4294967296 where at most 4294967295 is allowed`},
		{pooled(`"f" 1.‸9999999999 1`), SymbolNumber, `a version number of 9999999999 where at most 4294967295 is allowed`},
		{pooled(`"f" 1.0 ‸9223372036854775808`), SymbolNumber, `a count of 9223372036854775808 where at most 1073741824 is allowed`},
		{pooled(`"f" 1.0 ‸1073741825`), SymbolNumber, `a count of 1073741825 where at most 1073741824 is allowed`},
		{pooled(`"f" 1.0 ‸` + strings.Repeat("9", 50)), SymbolNumber, `a count of ` + strings.Repeat("9", 40) + `... where at most 1073741824 is allowed`},
		{pooled(`"f" 1.0 ‸-1`), SymbolSyntax, `'-' begins nothing that belongs in a model`},
		{pooled(`"f" 1.0 ‸101 %`), SymbolNumber, `a percentage of 101 where at most 100 is allowed`},
		{pooled(`"f" 1.0 ‸all`), SymbolSyntax, `want a count, a percentage or "remainder", found "all"`},
		{pooled(`"f" 1.0 5 vendor ‸matches "a"`), SymbolSyntax, `want "string", found "matches"`},
		{pooled(`"f" 1.0 5 product ‸string matches "a"`), SymbolSyntax, `want "name", found "string"`},
		{pooled(`"f" 1.0 5 activation ‸"a"`), SymbolSyntax, `want "id", found the string "a"`},
		{pooled(`"f" 1.0 5 vendor string ‸"a"`), SymbolSyntax, `want "matches", found the string "a"`},
		{pooled(`"f" 1.0 5 vendor string matches ‸5`), SymbolSyntax, `want a string in double quotes or a regexp like ~/.../, found "5"`},
		{pooled(`"f" 1.0 5 product name matches ‸~/[/`), SymbolRegexp, "missing closing ]: `[`"},
		{within(`‸"p" {}`, ""), SymbolSyntax, `want "partition" or "}", found the string "p"`},
		{within(`partition ‸p {}`, ""), SymbolSyntax, `want the name of a pool in double quotes, found "p"`},
		{within(`partition ‸"default" {}`, ""), SymbolReserved, `"default" is reserved: no pool can have that name`},
		{within(`partition ‸"reservations" {}`, ""), SymbolReserved, `"reservations" is reserved: no pool can have that name`},
		{within(`partition ‸"overdraft" {}`, ""), SymbolReserved, `"overdraft" is reserved: no pool can have that name`},
		{within("partition \"é\" {} partition \"q\" {}\npartition ‸\"é\" {}", ""), SymbolDuplicatePool, `pool "é" is named twice; the first is at 3:11`},

		// W12 to W14 and their kin.
		{pooled(`"f1" 1.0 10 ‸"f1" 1.0 5`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and neither names a vendor string`},
		{pooled(`"f1" 1.0 10 vendor string matches "abc" ‸"f1" 1.0 20 vendor string matches "abc"`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, with an equal vendor string`},
		{pooled(`"f1" 1.0 10 ‸"f1" 1.0 20 vendor string matches "abc"`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and only one of the two names a vendor string`},
		{pooled(`"f1" 1.0 20 vendor string matches "abc" ‸"f1" 1.0 10`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and only one of the two names a vendor string`},
		{pooled(`"f1" 1 10 ‸"f1" 1.0 remainder`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and neither names a vendor string`},
		{pooled(`"f1" 1.0 10 product name matches "a" ‸"f1" 1.0 5 product name matches "b"`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and neither names a vendor string`},
		{pooled(`"f1" 1.0 1 vendor string matches "a" vendor string matches ~/b/ ‸"f1" 1.0 1 vendor string matches ~/b/ vendor string matches "a" vendor string matches "a"`),
			SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, with an equal vendor string`},
		{pooled(`"f1" 1.0 1 vendor string matches "a" "f1" 1.0 1 vendor string matches "b" ‸"f1" 1.0 1`), SymbolDuplicateEntry,
			`duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and only one of the two names a vendor string`},
		{pooled(`"f1" 1.0 1 ‸"f1" 1.0 9999999999`), SymbolDuplicateEntry, `duplicate feature entries: pool "p" has "f1" 1.0 already at 3:16, and neither names a vendor string`},

		// Rules.
		{ruled(`on ‸{accept}`), SymbolSyntax, `want a condition: "any", "hostid", "hostname", "hosttype", "user", "dictionary", "not" or "(", found "{"`},
		{ruled(`on ‸Any() {accept}`), SymbolSyntax, `want a condition: "any", "hostid", "hostname", "hosttype", "user", "dictionary", "not" or "(", found "Any"`},
		{ruled(`on any ‸{accept}`), SymbolSyntax, `want "(", found "{"`},
		{ruled(`on any(‸"a") {accept}`), SymbolSyntax, `want ")", found the string "a"`},
		{ruled(`on user ‸"a" {accept}`), SymbolSyntax, `want "(", found the string "a"`},
		{ruled(`on user(‸) {accept}`), SymbolSyntax, `want a string in double quotes or a regexp like ~/.../, found ")"`},
		{ruled(`on user("a" ‸"b") {accept}`), SymbolSyntax, `want "," or ")", found the string "b"`},
		{ruled(`on user("a",‸) {accept}`), SymbolSyntax, `want a string in double quotes or a regexp like ~/.../, found ")"`},
		{ruled(`on not ‸not any() {accept}`), SymbolSyntax, `want a condition: "any", "hostid", "hostname", "hosttype", "user", "dictionary" or "(", found "not"`},
		{ruled(`on (any() ‸{accept}`), SymbolSyntax, `want "and", "or" or ")", found "{"`},
		{ruled(`on any() ‸& any() {accept}`), SymbolSyntax, `'&' begins nothing that belongs in a model`},
		{ruled(`on any() ‸any() {accept}`), SymbolSyntax, `want "{", found "any"`},
		{ruled(`on dictionary(‸~/a/: "b") {accept}`), SymbolSyntax, `want a key in double quotes, found the regexp ~/a/`},
		{ruled(`on dictionary("a" ‸"b") {accept}`), SymbolSyntax, `want ":", found the string "b"`},
		{ruled(`on dictionary("a": ‸) {accept}`), SymbolSyntax, `want a string in double quotes or a regexp like ~/.../, found ")"`},
		{ruled(`on dictionary(‸"": *) {accept}`), SymbolName, `a name of 0 bytes where 1 to 128 are allowed`},
		{ruled(`on hostid(‸"") {accept}`), SymbolHostID, `"" is not a host ID: 0 bytes where 1 to 128 are allowed`},
		{ruled(`on hostid("ok", ‸"a/b") {accept}`), SymbolHostID, `"a/b" is not a host ID: type "b" is not known`},
		{ruled(`on hostid(‸"a/unknown") {accept}`), SymbolHostID, `"a/unknown" is not a host ID: type 0 is not known`},
		{ruled(`on any() {use "p", ‸"q" accept}`), SymbolUnknownPool, `there is no pool "q" in this model`},
		{ruled(`on any() {use ‸"reservations" accept}`), SymbolUnknownPool, `there is no pool "reservations" in this model`},
		{ruled(`on any() {use "p",‸accept}`), SymbolSyntax, `want the name of a pool in double quotes, found "accept"`},
		{ruled(`on any() {use "p" ‸use "p" accept}`), SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found "use"`},
		{ruled(`on any() {use "p" ‸}`), SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found "}"`},
		{ruled(`on any() {‸deny2}`), SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found "deny2"`},
		{ruled(`on any() {‸deny-all_Ö}`), SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found "deny-all_"`},
		{ruled(`on any() {‸}`), SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found "}"`},
		{ruled(`on any() {accept ‸deny}`), SymbolSyntax, `want "}" behind the action, found "deny"`},
		{ruled(`on any() {without ‸features {} accept}`), SymbolSyntax, `want "requested", found "features"`},
		{ruled(`on any() {without requested ‸{} accept}`), SymbolSyntax, `want "features", found "{"`},
		{ruled(`on any() {without requested features ‸accept}`), SymbolSyntax, `want "{", found "accept"`},
		{ruled(`on any() {without requested features {all ‸"p"} accept}`), SymbolSyntax, `want "from", found the string "p"`},
		{ruled(`on any() {without requested features {all from ‸"q"} accept}`), SymbolUnknownPool, `there is no pool "q" in this model`},
		{ruled(`on any() {without requested features {all from "p" ‸"f" 1.0 1} accept}`), SymbolSyntax, `want "," or "}", found the string "f"`},
		{ruled(`on any() {without requested features {"f" 1.0 1 ‸all from "p"} accept}`), SymbolSyntax, `want "all", a feature in double quotes or "}", found "all"`},
		{ruled(`on any() {without requested features {"f" 1.0 ‸remainder} accept}`), SymbolSyntax, `want a count, found "remainder"`},
		{ruled(`on any() {without requested features {"f" 1.0 1‸%} accept}`), SymbolSyntax, `want "all", a feature in double quotes or "}", found "%"`},
		{ruled(`on any() {max ‸f 1.0 1 per device accept}`), SymbolSyntax, `want a feature in double quotes, found "f"`},
		{ruled(`on any() {max "f" 1.0 1 ‸accept}`), SymbolSyntax, `want "per", found "accept"`},
		{ruled(`on any() {max "f" 1.0 1 per ‸pool accept}`), SymbolSyntax, `want "device" or "user", found "pool"`},
		{ruled(`on any() {max "f" 1.0 1 per user, ‸accept}`), SymbolSyntax, `want a feature in double quotes, found "accept"`},
		{ruled(`on any() {max "f" 1.0 1 per user ‸without requested features {} accept}`), SymbolAction, `want "accept", "continue" or "deny" as the end of the rule, found "without"`},
	} {
		text, at := marked(t, c.text)
		m, err := Parse([]byte(text))
		bad, is := errors.AsType[*SyntaxError](err)
		if !is {
			t.Errorf("%s\nwas read as\n%s", c.text, m.Print())
			continue
		}
		if want := at.String() + ": " + c.reason; err.Error() != want || bad.Symbol != c.symbol || !bad.Refused || m != nil {
			t.Errorf("%s\ngot  %s (%s)\nwant %s (%s)", c.text, err, bad.Symbol, want, c.symbol)
		}
	}
}

// All that refuses a text is named, as far as it can be read.
func TestReadGoesOn(t *testing.T) {
	_, all := read([]byte(`model "m" {
partitions {
partition "default" { "f" 1.0 101 % // 7
"g" 1.0 2 "g" 1.0 3 }
partition "p" { "f" 1.0 1 vendor string matches ~/(/ }
}
on hostid("a/b") { use "q" accept }
on any() { ends }
on any() { use "z" accept }
}`))
	var got []string
	for _, f := range all {
		got = append(got, f.Position.String()+" "+string(f.Symbol))
	}
	want := "3:11 reserved-name\n3:31 number\n4:11 duplicate-feature\n5:49 regexp\n7:11 host-id\n7:24 unknown-pool\n8:12 action"
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s\nwant\n%s", g, want)
	}
}

func TestLimits(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		most   int
		text   func(n int) string
		reason string
	}{
		{"file", MaxFile, func(n int) string { s := `model "m" {} `; return s + strings.Repeat(" ", n-len(s)) }, "1:1: more than 921600 bytes, which is the most a model may have"},
		{"pools", MaxPools, func(n int) string { return within(repeat(n, "partition \"p%d\" {}\n"), "") }, "4099:1: more than 4096 pools"},
		{"allocations", MaxAllocations, func(n int) string {
			return within("partition \"p\" {\n"+repeat(n-1, "\"f%d\" 1 1\n")+`} partition "q" { "f" 1 1 }`, "")
		}, "49156:19: more than 49152 allocations"},
		{"rules", MaxRules, func(n int) string { return `model "m" {` + strings.Repeat("on any(){deny}", n) + "}" }, "1:917516: more than 65536 rules"},
		{"nesting", MaxNesting, func(n int) string {
			return ruled("on " + strings.Repeat("(", n) + "any()" + strings.Repeat(")", n) + "{deny}")
		}, "5:36: more than 32 parentheses inside each other"},
		{"nesting with not", MaxNesting, func(n int) string {
			return ruled("on " + strings.Repeat("!(", n) + "any()" + strings.Repeat(")", n) + "{deny}")
		}, "5:69: more than 32 parentheses inside each other"},
		{"name of a model", MaxName, func(n int) string { return `model "` + long(n) + `" {}` }, "1:7: a name of 129 bytes where 1 to 128 are allowed"},
		{"name of a key", MaxName, func(n int) string { return ruled(`on dictionary("` + long(n) + `": *) {deny}`) }, "5:15: a name of 129 bytes where 1 to 128 are allowed"},
		{"string", MaxString, func(n int) string { return ruled(`on user("` + long(n) + `") {deny}`) }, "5:9: a string of more than 256 bytes"},
		{"unclosed string", MaxString, func(n int) string { return `model "` + long(n) }, "1:7: a string of more than 256 bytes"},
		{"regexp", MaxRegexp, func(n int) string { return ruled(`on user(~/` + long(n) + `/) {deny}`) }, "5:9: a regexp of more than 512 bytes"},
		{"keys", MaxKeys, func(n int) string { return ruled(`on dictionary(` + repeat(n, `"k%d": "a", `) + `"k0": *) {deny}`) }, "5:4: more than 64 different keys in a dictionary test"},
		{"features of a clause", MaxLines, func(n int) string {
			return ruled(`on any() { without requested features {` + repeat(n, `"f%d" 1 1 `) + `} deny}`)
		}, "5:12: a clause of more than 256 features"},
		{"features from pools", MaxLines, func(n int) string {
			return within(`partition "p" {`+repeat(n-1, `"f%d" 1 1 `)+`} partition "q" {"f" 1 1}`, `on any() { without requested features {all from "p", "q", "default"} deny}`)
		}, "5:12: a clause of more than 256 features"},
		{"limits", MaxLimits, func(n int) string {
			return ruled("on any() { max\n" + strings.TrimSuffix(repeat(n, "\"f%d\" 1 1 per user,\n"), ",\n") + " deny }")
		}, "262:1: more than 256 limits in a rule"},
		{"count", MaxCount, func(n int) string { return pooled(fmt.Sprintf(`"f" 1 %d`, n)) }, "3:22: a count of 1073741825 where at most 1073741824 is allowed"},
		{"count of a clause", MaxCount, func(n int) string {
			return ruled(fmt.Sprintf(`on any() { without requested features {"f" 1 %d} deny }`, n))
		}, "5:46: a count of 1073741825 where at most 1073741824 is allowed"},
		{"count of a limit", MaxCount, func(n int) string { return ruled(fmt.Sprintf(`on any() { max "f" 1 %d per user deny }`, n)) }, "5:22: a count of 1073741825 where at most 1073741824 is allowed"},
		{"percent", MaxPercent, func(n int) string { return pooled(fmt.Sprintf(`"f" 1 %d %%`, n)) }, "3:22: a percentage of 101 where at most 100 is allowed"},
		{"version", 1<<32 - 1, func(n int) string { return pooled(fmt.Sprintf(`"f" %d 1`, n)) }, "3:20: a version number of 4294967296 where at most 4294967295 is allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name != "unclosed string" {
				must(t, c.text(c.most))
			}
			if _, err := Parse([]byte(c.text(c.most + 1))); err == nil || err.Error() != c.reason {
				t.Errorf("one above: got %v, want %s", err, c.reason)
			}
		})
	}
}

// Parentheses count inside each other only, not one behind the other.
func TestNestingEnds(t *testing.T) {
	must(t, ruled("on "+strings.Repeat("((any())) or ", MaxNesting)+"(any()) {deny}\non (any()) {deny}"))
}

// The cost of regexps counts over the whole model, and what they would take is not taken first.
func TestRegexpCost(t *testing.T) {
	fits := `~/(` + strings.Repeat("x", 60) + `){1000}/` // 60 characters in parentheses, 1000 times
	if _, err := Parse([]byte(ruled(`on user(` + fits + `) {deny}`))); err != nil {
		t.Error(err)
	}
	_, err := Parse([]byte(ruled(`on user(` + fits + `) {deny} on user(~/a/, ` + fits + `) {deny}`)))
	if want := "the regexps of this model are too large together: repeats count as often as they repeat"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	// What the text bounds is free: a file full of ordinary patterns fits.
	ordinary := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < MaxFile-100; i++ {
			fmt.Fprintf(&b, format+",", i)
		}
		return `model "m" {on user(` + b.String() + `"x") {deny}}`
	}
	for _, format := range []string{`~/user-%d-[a-z]+/`, `~/%06X[0-9A-F]{6}\/ETHERNET/`, `~/.*[-_ ]%d(-x)?\.works/`} {
		must(t, ordinary(format))
	}
	if _, err := Parse([]byte(ordinary(`~/x{500}%d/`))); err == nil {
		t.Error("repeats are free")
	}
	for _, source := range []string{`((x{30}){30}){30}`, strings.Repeat(`\pL`, 160), `(?i)` + strings.Repeat(`[\p{Lu}\p{Ll}]`, 30), strings.Repeat("(", 250) + strings.Repeat(")", 250)} {
		left := MaxRegexpCost
		if _, err := compile(source, &left); err != nil && left >= 0 && !strings.Contains(err.Error(), "repeat") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestTooManyFindings(t *testing.T) {
	_, all := read([]byte(ruled(`on any() { use ` + strings.Repeat(`"q", `, MaxRefusals+9) + `"p" accept }`)))
	if len(all) != MaxRefusals+1 || all[MaxRefusals].Symbol != SymbolTooManyFindings {
		t.Errorf("%d findings, the last is %s", len(all), all[len(all)-1])
	}
	_, all = read([]byte(ruled(`on any() { use ` + strings.Repeat(`"q", `, MaxRefusals) + `"p" accept }`)))
	if len(all) != MaxRefusals || all[MaxRefusals-1].Symbol != SymbolUnknownPool {
		t.Errorf("%d findings, the last is %s", len(all), all[len(all)-1])
	}
}

// What is read, and how it is printed.
func TestPrint(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`model"m"{}`, `model "m" { }`},
		{"\ufeffmodel \"m\" {}", `model "m" { }`},
		{`model "a \"b\" \\ c" {}`, `model "a \"b\" \\ c" { }`},
		{`model "m" { partitions {} }`, `model "m" { }`},
		{"model/**/\"m\"/* } */ {// }\r\n}// no end of line", `model "m" { }`},
		{pooled(`"f1" 1.0 50`), `model "m" { partitions { partition "p" { "f1" 1.0 50 } } }`},
		{pooled(`"f1" 1.05 0`), `model "m" { partitions { partition "p" { "f1" 1.5 0 } } }`},
		{pooled(`"f1" 1 050%"g"007.10remainder`), `model "m" { partitions { partition "p" { "f1" 1.0 50 % "g" 7.10 remainder } } }`},
		{pooled(`"f1" 1 . 0 /* 3 */ 50 // 2
`), `model "m" { partitions { partition "p" { "f1" 1.0 50 } } }`},
		{pooled(`"f" 1 1 activation id matches ~/a\/b\\\/c\d/ vendor string matches "~/x/" product name matches ~//`),
			`model "m" { partitions { partition "p" { "f" 1.0 1 activation id matches ~/a\/b\\\/c\d/ vendor string matches "~/x/" product name matches ~// } } }`},
		{pooled(`"f" 1 1 vendor string matches "a" "f" 1 2 vendor string matches "b" "f" 1.1 3 "F" 1 4`),
			`model "m" { partitions { partition "p" { "f" 1.0 1 vendor string matches "a" "f" 1.0 2 vendor string matches "b" "f" 1.1 3 "F" 1.0 4 } } }`},
		{pooled(`"f" 1 1 vendor string matches ~/a\\/ "g" 1 2 vendor string matches ~/b/`),
			`model "m" { partitions { partition "p" { "f" 1.0 1 vendor string matches ~/a\\/ "g" 1.0 2 vendor string matches ~/b/ } } }`},
		{`model "m" { on !(user("a")||any())&&hostid("x","y/ethernet") { deny } }`, `model "m" { on not (user("a") or any()) and hostid("x", "y/ethernet") { deny } }`},
		{`model "m" { on ((any())) or any() and any() { accept } }`, `model "m" { on (any()) or any() and any() { accept } }`},
		{`model "m" { on dictionary("a":*,"a":"*","b":~/c/) { use "default","default" max "f" 1 2 per user,"f" 1 3 per device continue } }`,
			`model "m" { on dictionary("a": *, "a": "*", "b": ~/c/) { use "default", "default" max "f" 1.0 2 per user, "f" 1.0 3 per device continue } }`},
		{`model "m" { on hosttype("t") or hostname("h") { without requested features {} accept } }`, `model "m" { on hosttype("t") or hostname("h") { without requested features { } accept } }`},
		{`model "m" { on any() { without requested features {"f" 1 2"g" 3.4 5} accept } }`, `model "m" { on any() { without requested features { "f" 1.0 2 "g" 3.4 5 } accept } }`},
		{`model "m" { on any() { without requested features {all from "default","default"} accept } }`, `model "m" { on any() { without requested features { all from "default", "default" } accept } }`},
	} {
		m := must(t, c.text)
		if got := strings.Join(strings.Fields(string(m.Print())), " "); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.text, got, c.want)
		}
		same(t, m)
	}
}

// same says that a model, printed and read again, is the same model.
func same(t testing.TB, m *Model) {
	t.Helper()
	text := m.Print()
	again, err := Parse(text)
	if err != nil {
		if len(text) <= MaxFile {
			t.Fatalf("printed, but not read again: %v\n%s", err, text)
		}
		return
	}
	if a, b := shape(reflect.ValueOf(*m)), shape(reflect.ValueOf(*again)); a != b {
		t.Fatalf("not the same:\n%s\n%s", a, b)
	}
}

// shape writes every exported field but positions, without the code of the printer.
func shape(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return shape(v.Elem())
	case reflect.Slice:
		s := "["
		for i := range v.Len() {
			s += shape(v.Index(i)) + " "
		}
		return s + "]"
	case reflect.Struct:
		s := "{"
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Position" {
				s += shape(v.Field(i)) + " "
			}
		}
		return s + "}"
	}
	return fmt.Sprintf("%#v", v.Interface())
}

func TestPositions(t *testing.T) {
	m := must(t, "model \"m\" {\n partitions {\n  partition \"p\" {\n   \"é\" 1 1 vendor string matches \"v\" } }\n"+
		" on user(\"a\", \"b\") or (not dictionary(\"k\": ~/x/)) {\n  use \"p\"\n  without requested features { \"f\" 1 1 }\n  max \"f\" 1 2 per user deny } }")
	a, r := m.Pools[0].Allocations[0], m.Rules[0]
	for _, c := range []struct {
		got  Position
		want string
	}{
		{m.Position, "1:1"}, {m.Pools[0].Position, "3:3"}, {a.Position, "4:4"}, {a.Filters[0].Position, "4:12"}, {a.Filters[0].Pattern.Position, "4:34"},
		{r.Position, "5:2"}, {r.Condition.Position, "5:5"}, {r.Condition.Parts[0].Test.Patterns[1].Position, "5:15"}, {r.Condition.Parts[1].Position, "5:24"},
		{r.Condition.Parts[1].Parts[0].Test.Position, "5:28"}, {r.Condition.Parts[1].Parts[0].Test.Pairs[0].Position, "5:39"},
		{r.Use[0].Position, "6:7"}, {r.Spec.Position, "7:3"}, {r.Spec.Lines[0].Position, "7:32"}, {r.Limits[0].Position, "8:7"},
	} {
		if c.got.String() != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
