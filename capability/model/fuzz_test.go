package model

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// FuzzParse: no text makes the reader fall over; what it takes is the same after it was printed and read again; and each finding is a place in
// the text.
func FuzzParse(f *testing.F) {
	figure, err := os.ReadFile("testdata/figure11.model")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(figure)
	for seed := range uint64(20) {
		f.Add([]byte(writer{rand.New(rand.NewPCG(seed, 3))}.model()))
	}
	for _, s := range []string{"", "\ufeff", `model "\\" {}//`, ruled(`on not(user(~/\//))&&any(){max"f"1.2 3per user accept}`), pooled(`"f" 1 50% vendor string matches ~/\\/`)} {
		f.Add([]byte(s))
	}
	items := stockOf(item{feature: "f", count: 5}, item{feature: "eb-feature-android-eval", version: "2.0", count: 8})
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text)
		r := Check(text, now, items)
		if (err == nil) != (r.Model != nil) {
			t.Fatalf("Parse says %v, Check says %v", err, r.Findings)
		}
		if !slices.IsSortedFunc(r.Findings, inText) {
			t.Fatalf("the findings are not in the order of the text: %v", r.Findings)
		}
		lines := bytes.Split(text, []byte("\n"))
		for _, at := range r.Findings {
			if at.Line < 1 || at.Line > len(lines) || at.Column < 1 || at.Column > len(lines[at.Line-1])+1 {
				t.Fatalf("%s is no place in the text", at)
			}
		}
		if m == nil {
			return
		}
		same(t, m)
		m.Route(Facts{User: "a", Alias: "b", Dictionary: pairs("a=b")})
	})
}
