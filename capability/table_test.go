package capability

import (
	"bytes"
	"strings"
	"testing"
)

// A cell comes back as it was, whatever it is, and none is a formula.
func FuzzCells(f *testing.F) {
	for _, s := range []string{"", "=1", "'=1", "''=1", "'s", "''", "+", "-x", "@", "\tx", "\rx", "a=b", "'", `x;"=1`, "x;=1;'+2;y", `"=1`, `'"=1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		written := Neutral(s)
		if Plain(written) != s {
			t.Errorf("%q is written %q and read %q", s, written, Plain(written))
		}
		for part := range strings.SplitSeq(written, ";") { // as some spreadsheets read it
			if strings.IndexAny(strings.TrimLeft(part, `"`), "=+-@\t\r＝＋－＠") == 0 {
				t.Errorf("%q is written as the formula %q", s, part)
			}
		}
	})
}

// A table is written with its heading, times are as everywhere, and what would be a formula is none.
func TestTableAsCSV(t *testing.T) {
	table := NewTable("who", "since", "count")
	table.Row("=cmd()", Time(1), uint64(2))
	table.Row("a, b", Time(0), uint64(0))
	table.Add("count", 2)
	table.Add("count", MaxUsed)
	var b bytes.Buffer
	if err := table.WriteCSV(&b); err != nil || b.String() != "who,since,count\r\n'=cmd(),1970-01-01T00:00:01Z,2\r\n\"a, b\",,0\r\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if o := table.Objects(); len(o) != 2 || o[0]["count"] != uint64(2) || table.Totals["count"] != MaxUsed {
		t.Errorf("%v, %v", o, table.Totals)
	}
}
