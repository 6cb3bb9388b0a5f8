package capability

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is what a report says: rows of cells, and what its columns add up to.
type Table struct {
	Columns []string
	Rows    [][]any           // of texts, numbers and times, as the columns
	Totals  map[string]uint64 // by column, of those that add up
}

// NewTable has no rows yet.
func NewTable(columns ...string) *Table {
	return &Table{Columns: columns, Rows: [][]any{}, Totals: map[string]uint64{}}
}

// Row adds a row of as many cells as there are columns.
func (t *Table) Row(cells ...any) { t.Rows = append(t.Rows, cells) }

// Add counts into the totals. Rows that say more of what others say count for nothing.
func (t *Table) Add(column string, n uint64) {
	t.Totals[column] = min(MaxUsed, t.Totals[column]+n)
}

// Objects are the rows with their cells by column.
func (t *Table) Objects() []map[string]any {
	list := []map[string]any{}
	for _, row := range t.Rows {
		m := map[string]any{}
		for i, v := range row {
			m[t.Columns[i]] = v
		}
		list = append(list, m)
	}
	return list
}

// Cell is a cell in words; nothing where there is nothing to say.
func Cell(v any) string {
	if at, is := v.(Time); is {
		if at == 0 {
			return ""
		}
		return at.String()
	}
	return fmt.Sprint(v)
}

// WriteCSV writes the rows with a heading, as RFC 4180 has it. No cell is a formula to the program that opens it.
func (t *Table) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(t.Columns); err != nil {
		return err
	}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = Neutral(Cell(v))
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// Neutral is a cell as it is written, of what a spreadsheet must not take for a formula. Some spreadsheets take each semicolon for the end of a cell, so each part has its apostrophe.
func Neutral(s string) string {
	return eachPart(s, func(part string) string {
		if formula(part) {
			return "'" + part
		}
		return part
	})
}

// Plain is Neutral undone.
func Plain(s string) string {
	return eachPart(s, func(part string) string {
		if rest, is := strings.CutPrefix(part, "'"); is && formula(rest) {
			return rest
		}
		return part
	})
}

func eachPart(s string, of func(string) string) string {
	if !strings.ContainsAny(s, "=+-@\t\r＝＋－＠") {
		return s // as nearly all are
	}
	parts := strings.Split(s, ";")
	for i, part := range parts {
		parts[i] = of(part)
	}
	return strings.Join(parts, ";")
}

// formula looks behind apostrophes, which are ours, and behind quotes, which spreadsheets take for empty text; and it knows the wide forms of the signs.
func formula(part string) bool {
	part = strings.TrimLeft(strings.TrimLeft(part, "'"), `"`)
	first, _ := utf8.DecodeRuneInString(part)
	return part != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", first)
}
