package main

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
)

// FuzzAudit: an audit trail is refused, or every byte of it is in an entry, and a table of it has a line for each, none of which a spreadsheet takes for a formula.
func FuzzAudit(f *testing.F) {
	l, codec := ledger.New(), wire.New()
	var trail []byte
	for n := range 3 {
		d, err := l.Decide(ledger.Now{Wall: capability.Time(1000 + n)}, ledger.Start{Cause: "=test", Raw: capability.Time(1000 + n), Life: capability.LifeID{byte(n + 1)}})
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range d.Entries {
			if err := l.Apply(e); err != nil {
				f.Fatal(err)
			}
			trail = append(trail, e.Encode(codec)...)
		}
		f.Add(bytes.Clone(trail))
	}
	f.Add(trail[:len(trail)-1])
	f.Add(append(bytes.Clone(trail), 0xff))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, read := 0, 0
		err := entries(bytes.NewReader(b), func(item []byte) error { n++; read += len(item); return nil })
		if err == nil && read != len(b) {
			t.Fatalf("%d of %d bytes are read", read, len(b))
		}
		var out strings.Builder
		if table(bytes.NewReader(b), &out) != nil {
			return
		}
		rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
		if err != nil || len(rows) != n+1 {
			t.Fatalf("%d entries are %d rows: %v", n, len(rows), err)
		}
		for _, row := range rows[1:] {
			for _, field := range row {
				if field != "" && strings.ContainsAny(field[:1], "=+-@") {
					t.Fatalf("a field begins as a formula: %q", field)
				}
			}
		}
	})
}
