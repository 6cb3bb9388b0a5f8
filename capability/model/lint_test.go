package model

import (
	"os"
	"strings"
	"testing"
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
		`8:15: pool "0800 - PUNE" is named twice; the first is at 5:5`,
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
