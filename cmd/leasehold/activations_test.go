package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// Ours sort as their ranks do, and each is an activation ID with its class in its place.
func TestOurID(t *testing.T) {
	var before capability.ActivationID
	for rank := 0; rank < 1<<20; rank = rank*2 + 1 {
		var all []string
		for _, class := range []int{1<<20 - 1, 0, 1 << 10, 31} {
			id, err := ourID(rank, class)
			if err == nil {
				err = id.Validate()
			}
			if err != nil || id <= before {
				t.Errorf("%d of class %d is %q, after %q: %v", rank, class, id, before, err)
			}
			all = append(all, string(id))
		}
		if got := classes(all); !slices.Equal(got, []string{"0-000", "0-00Z", "0-100", "Z-ZZZ"}) {
			t.Error(rank, got)
		}
		before = capability.ActivationID(slices.Max(all))
	}
}

// someActivations is items of two features, with what the scenario calls their activation IDs. Changed says that it called each something else before.
func someActivations(t *testing.T, changed bool, given ...string) activations {
	out := activations{}
	for i, text := range given {
		class := slices.Index(given, text)
		if changed {
			class = i / 3
		}
		id, err := ourID(i, class)
		if err != nil {
			t.Fatal(err)
		}
		out[capability.ItemID{ActivationID: id, Feature: "f"}] = text
		out[capability.ItemID{ActivationID: id, Feature: "g"}] = text + "x"
	}
	return out
}

// gets says whether the first pool gets the item, the only one there is.
func gets(m *model.Model, id capability.ActivationID, feature string) bool {
	items := []capability.LineItem{{ActivationID: id, Feature: feature, Count: 1, Copies: 1, Product: "P", VendorString: "V"}}
	return slices.ContainsFunc(m.Distribute(1, items).Pools[0].Shares, func(s model.Share) bool { return s.Got > 0 })
}

// In terms of ours a model takes the same items as it does by the given activation IDs, and its rules are on the same lines.
func TestModelInOurs(t *testing.T) {
	for _, changed := range []bool{false, true} {
		a := someActivations(t, changed, "ACT-1", "ACT-2", "ACT-1", "", "act-1", "ACT-10", `a"b\c/d`, "größe", "ACT-1", "a.c", "abc", "-", ".*")
		testInOurs(t, a)
	}
}

func testInOurs(t *testing.T, a activations) {
	for _, filters := range []string{
		`activation id matches "ACT-1"`,
		`activation id matches "ACT-2"`,
		`activation id matches "ACT-3"`,
		`activation id matches ""`,
		`activation id matches "-"`,
		`activation id matches ".*"`,
		`activation id matches "a.c"`,
		`activation id matches "a\"b\\c/d"`,
		`activation id matches "größe"`,
		`activation id matches ~/.*/`,
		`activation id matches ~/ACT-1/`,
		`activation id matches ~/ACT-1.*/`,
		`activation id matches ~/^ACT-\d$/`,
		`activation id matches ~/(?i)act-1/`,
		`activation id matches ~/a|ACT-2|.*c\/d/`,
		`activation id matches ~/.*\\c.*/`,
		`activation id matches ~/[^A].*/`,
		`activation id matches ~/()/`,
		`activation id matches ~/ACT-1/ activation id matches ~/.*-.*/`,
		`activation id matches ~/.*1.*/ vendor string matches "V" activation id matches "ACT-1"`,
		`vendor string matches "W" activation id matches ~/.*/`,
		"product\n  name matches \"P\" /* activation id matches \"ACT-2\"\n */ activation id // \"ACT-2\"\n matches \"ACT-1\"",
	} {
		text := "\ufeffmodel \"größe\" { partitions {\r\n  partition \"activation id\" { /* \"ö\" */ \"f\" 0.0 remainder " + filters + "\n\"g\" 0.0 100% " + filters +
			" } }\n on any() { use \"default\" accept }\n on user(\"ACT-1\") { deny } }\n// activation id matches \"ACT-1\""
		given, err := model.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", filters, err)
			continue
		}
		ours := a.inOurs(given, text)
		m, err := model.Parse([]byte(ours))
		if err != nil {
			t.Errorf("%s\nis in ours\n%s\n%v", filters, ours, err)
			continue
		}
		for id, activation := range a {
			if was, is := gets(given, capability.ActivationID(activation), id.Feature), gets(m, id.ActivationID, id.Feature); was != is {
				t.Errorf("%s of %q, %s: taken %t, and in ours %t\n%s", id.Feature, activation, filters, was, is, ours)
			}
		}
		for i, r := range given.Rules {
			if m.Rules[i].Line != r.Line {
				t.Errorf("%s: rule %d is at %s, and in ours at %s", filters, i+1, r.Position, m.Rules[i].Position)
			}
		}
	}
}

// A model that looks at no activation ID is as it was, byte for byte.
func TestModelInOursUntouched(t *testing.T) {
	const text = "model \"m\" { partitions { partition \"p\" { \"f\" 1.0 1 product name matches \"ACT-1\" } } }"
	m, err := model.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if ours := someActivations(t, false, "ACT-1").inOurs(m, text); ours != text {
		t.Error(ours)
	}
}

// As long as activation IDs do not change, any number of items in any order fits a model.
func TestApart(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var yes, no []string
	for i := range capability.MaxItems {
		class := random.IntN(40)
		id, err := ourID(i, class)
		if err != nil {
			t.Fatal(err)
		}
		if class%8 == 5 {
			yes = append(yes, string(id))
		} else {
			no = append(no, string(id))
		}
	}
	p := apart(yes, no)
	if matches := whole(p); len(p.Text) > model.MaxRegexp || slices.ContainsFunc(no, matches) || slices.ContainsFunc(yes, func(s string) bool { return !matches(s) }) {
		t.Error(p)
	}
}

// Whatever subset of the items: the regexp is all of it and nothing else. Those that are regular fit a model however many there are.
func TestTelling(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := 2; n < 200; n += 7 {
		checkTelling(t, n, func(int) bool { return random.IntN(3) > 0 })
	}
	for name, in := range map[string]func(int) bool{
		"every second":     func(i int) bool { return i%2 == 0 },
		"one of eight":     func(i int) bool { return i%8 == 3 },
		"one of 64":        func(i int) bool { return i%64 == 63 },
		"a thousand a row": func(i int) bool { return i >= 777 && i < 1777 },
		"all but one":      func(i int) bool { return i != 2048 },
		"the two ends":     func(i int) bool { return i == 0 || i == capability.MaxItems-1 },
	} {
		if got := checkTelling(t, capability.MaxItems, in); len(got) > model.MaxRegexp {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

func checkTelling(t *testing.T, n int, in func(int) bool) string {
	t.Helper()
	var yes, no []string
	for i := range n {
		id, err := ourID(i, 0)
		if err != nil {
			t.Fatal(err)
		}
		if in(i) {
			yes = append(yes, string(id))
		} else {
			no = append(no, string(id))
		}
	}
	source := telling(yes, no)
	matches := whole(model.Pattern{Text: source, Regexp: true})
	if i := slices.IndexFunc(yes, func(s string) bool { return !matches(s) }); i >= 0 {
		t.Fatalf("%d: %s does not match %s", n, source, yes[i])
	}
	if i := slices.IndexFunc(no, matches); i >= 0 {
		t.Fatalf("%d: %s matches %s", n, source, no[i])
	}
	return source
}

// Reservations age in the order of the input, and what is there again is what it was.
func TestReservationsOfAScenario(t *testing.T) {
	entry := func(group, host string, count int) string {
		return fmt.Sprintf(`{"group":%q,"hostId":{"type":"STRING","value":%q},"feature":"f","version":"1.0","count":%d}`, group, host, count)
	}
	list := func(all ...string) string { return "[" + strings.Join(all, ",") + "]" }
	const ask = `{"request":{"device":{"type":"STRING","value":"D"},"desired":[{"feature":"f","version":"1.0","count":2}]}}`
	for _, c := range []struct {
		name, first string
		steps       []string
		has, used   []uint64
	}{
		{"by host", list(entry("g", "D", 2), entry("g", "E", 2), entry("g", "D", 1)), nil, []uint64{2, 2, 0}, []uint64{0, 0, 0}},
		{"by group", list(entry("g", "D", 2), entry("h", "E", 2), entry("g", "F", 1)), nil, []uint64{2, 2, 0}, []uint64{0, 0, 0}},
		{"kept", list(entry("g", "D", 2)), []string{ask, `{"reservations":` + list(entry("g", "E", 2), entry("g", "D", 2)) + `}`}, []uint64{2, 2}, []uint64{0, 2}},
		{"the older keeps", list(entry("g", "D", 3)), []string{ask, `{"reservations":` + list(entry("g", "E", 2), entry("g", "D", 3)) + `}`}, []uint64{0, 3}, []uint64{0, 2}},
		{"same count first", list(entry("g", "D", 2), entry("g", "D", 1)), []string{ask, `{"reservations":` + list(entry("g", "D", 1), entry("g", "D", 2)) + `}`}, []uint64{1, 2}, []uint64{0, 2}},
		{"another count", list(entry("g", "D", 2)), []string{ask, `{"reservations":` + list(entry("g", "E", 1), entry("g", "D", 3)) + `}`}, []uint64{1, 3}, []uint64{0, 2}},
		{"another group", list(entry("g", "D", 2)), []string{ask, `{"reservations":` + list(entry("h", "D", 2)) + `}`}, []uint64{2}, []uint64{0}},
		{"out and in", list(entry("g", "D", 2)), []string{ask, `{"reservations":[]}`, `{"reservations":` + list(entry("g", "D", 2)) + `}`}, []uint64{2}, []uint64{0}},
	} {
		sc, err := parseScenario([]byte(`{"items":[{"id":"a","feature":"f","version":"1.0","count":4}],"reservations":` + c.first + `,"steps":` + list(c.steps...) + `}`))
		if err != nil {
			t.Fatal(c.name, err)
		}
		s, _, err := begin(sc)
		if err != nil {
			t.Fatal(c.name, err)
		}
		for i := range sc.steps {
			if o, err := s.play(i, &sc.steps[i]); err != nil || o.Status != "OK" {
				t.Fatal(c.name, i, o, err)
			}
		}
		slices := s.slices()
		for i := range c.has {
			if got, want := slices[fmt.Sprintf("reservation:%d", i)]["a"], (count{c.has[i], c.used[i]}); got != want {
				t.Errorf("%s: reservation:%d is %v, want %v", c.name, i, got, want)
			}
		}
		if err := s.ledger.Check(); err != nil {
			t.Error(c.name, err)
		}
	}
}
