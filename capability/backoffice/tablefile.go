package backoffice

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
)

// A table is a CSV file, or a JSON file of objects whose members are called as the columns. A cell of a CSV file that a spreadsheet would take for a formula has an apostrophe before it, which
// is not of the value (capability.Neutral); so has one that begins with an apostrophe and what would then be taken for that.

// The bounds of a table that is read. A row has some 200 bytes.
const (
	MaxTableBytes = 256 << 20
	MaxTableRows  = 1_000_000
)

// RowError is what is wrong with a row of a table, and where. The rest of the file was not looked at, and nothing was written.
type RowError struct {
	Line   int
	Column string // empty: the row as a whole
	Cause  error
}

func (e *RowError) Error() string {
	if e.Line == 0 { // it is of no file
		return fmt.Sprintf("%s: %v", e.Column, e.Cause)
	}
	if e.Column == "" {
		return fmt.Sprintf("line %d: %v", e.Line, e.Cause)
	}
	return fmt.Sprintf("line %d, column %s: %v", e.Line, e.Column, e.Cause)
}

func (e *RowError) Unwrap() error { return e.Cause }

// WriteCSV writes a table.
func WriteCSV(w io.Writer, n Noun, rows []Row) error {
	out := csv.NewWriter(w)
	columns := columns(n)
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.name
	}
	if err := out.Write(cells); err != nil {
		return err
	}
	for r := range rows {
		for i, c := range columns {
			cells[i] = capability.Neutral(c.get(&rows[r]))
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func schema(n Noun) string { return "freehold." + string(n) + "-table/1" }

// WriteJSON writes a table, a row on a line, without empty cells.
func WriteJSON(w io.Writer, n Noun, rows []Row) error {
	columns := columns(n)
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"schema\": %q, \"rows\": [", schema(n))
	for r := range rows {
		b.WriteString(map[bool]string{true: "\n{", false: ",\n{"}[r == 0])
		first := true
		for _, c := range columns {
			value := c.get(&rows[r])
			if value == "" {
				continue
			}
			text, err := json.Marshal(value)
			if err != nil {
				return err
			}
			if !first {
				b.WriteString(", ")
			}
			first = false
			fmt.Fprintf(&b, "%q: %s", c.name, text)
		}
		b.WriteByte('}')
		if b.Len() > 1<<20 {
			if _, err := b.WriteTo(w); err != nil {
				return err
			}
		}
	}
	b.WriteString("\n]}\n")
	_, err := b.WriteTo(w)
	return err
}

// ReadTable reads a file of either form, and says what it lists: what a JSON file says of itself, and what the columns of a CSV file are of. The error is a *RowError.
func ReadTable(file []byte) (Noun, []Row, error) {
	if len(file) > MaxTableBytes {
		return "", nil, &RowError{1, "", fmt.Errorf("a file of %d bytes where at most %d are allowed", len(file), MaxTableBytes)}
	}
	file = bytes.TrimPrefix(file, []byte("\ufeff")) // some spreadsheets begin with it
	if !utf8.Valid(file) {
		return "", nil, &RowError{1, "", errors.New("the file is not UTF-8")}
	}
	if s := bytes.TrimLeft(file, " \t\r\n"); len(s) > 0 && s[0] == '{' {
		return readJSON(file)
	}
	return readCSV(file)
}

func readCSV(file []byte) (Noun, []Row, error) {
	in := csv.NewReader(bytes.NewReader(file))
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return "", nil, csvError(err)
	}
	header = slices.Clone(header)
	noun, err := nounOf(header)
	if err != nil {
		return "", nil, &RowError{1, "", err}
	}
	t, err := newFiller(noun, header)
	if err != nil {
		return "", nil, err
	}
	for _, c := range columns(noun) {
		if c.set != nil && !slices.Contains(header, c.name) {
			t.unsaid = append(t.unsaid, c)
		}
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return noun, t.rows, nil
		}
		if err != nil {
			return "", nil, csvError(err)
		}
		line, _ := in.FieldPos(0)
		for i, cell := range cells {
			cells[i] = capability.Plain(cell)
		}
		if err := t.fill(line, cells); err != nil {
			return "", nil, err
		}
	}
}

func csvError(err error) error {
	if p := (*csv.ParseError)(nil); errors.As(err, &p) {
		return &RowError{p.Line, "", p.Err}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file is empty")
	}
	return &RowError{1, "", err}
}

// nounOf is the table that has all these columns, and all that it needs among them.
func nounOf(header []string) (Noun, error) {
	for _, n := range Nouns() {
		all := columns(n)
		fits := !slices.ContainsFunc(all, func(c column) bool { return c.must && !slices.Contains(header, c.name) })
		for _, name := range header {
			fits = fits && slices.ContainsFunc(all, func(c column) bool { return c.name == name })
		}
		if fits {
			return n, nil
		}
	}
	return "", fmt.Errorf("no table has the columns %s: freehold export writes one to begin with", strings.Join(header, ", "))
}

// filler makes rows of cells.
type filler struct {
	columns []column
	unsaid  []column
	rows    []Row
}

func newFiller(n Noun, names []string) (*filler, error) {
	all := columns(n)
	t := &filler{}
	for i, name := range names {
		at := slices.IndexFunc(all, func(c column) bool { return c.name == name })
		if at < 0 || slices.Contains(names[:i], name) {
			return nil, &RowError{1, name, errors.New("there is no such column, or it is there twice")}
		}
		t.columns = append(t.columns, all[at])
	}
	return t, nil
}

func (t *filler) fill(line int, cells []string) error {
	if len(t.rows) >= MaxTableRows {
		return &RowError{line, "", fmt.Errorf("more than %d rows", MaxTableRows)}
	}
	r := Row{Line: line, unsaid: t.unsaid}
	for i, c := range t.columns {
		if c.must && cells[i] == "" {
			return &RowError{line, c.name, errors.New("it is empty")}
		}
		if c.set == nil {
			continue
		}
		if err := c.set(&r, cells[i]); err != nil {
			return &RowError{line, c.name, err}
		}
	}
	t.rows = append(t.rows, r)
	return nil
}

// TypedRow makes a row of the texts of a form, which has them by column. The error is a *RowError without a line.
func TypedRow(n Noun, text func(column string) string) (Row, error) {
	t := &filler{columns: columns(n)}
	cells := make([]string, len(t.columns))
	for i, c := range t.columns {
		cells[i] = strings.TrimSpace(text(c.name))
	}
	if err := t.fill(0, cells); err != nil {
		return Row{}, err
	}
	return t.rows[0], nil
}

// Texts are the cells of a row by column, as TypedRow reads them.
func (r *Row) Texts(n Noun) map[string]string {
	texts := map[string]string{}
	for _, c := range columns(n) {
		texts[c.name] = c.get(r)
	}
	return texts
}

// lines counts those of a file up to a place that only grows.
type lines struct {
	file     []byte
	at, line int
}

func (l *lines) upTo(at int64) int {
	l.line += bytes.Count(l.file[l.at:at], []byte("\n"))
	l.at = int(at)
	return l.line
}

// readJSON reads {"schema": ..., "rows": [{column: value}]}. Values are texts, numbers, or true and false.
func readJSON(file []byte) (Noun, []Row, error) {
	in := json.NewDecoder(bytes.NewReader(file))
	in.UseNumber()
	where := &lines{file: file, line: 1}
	wrong := func(column string, err error) error {
		return &RowError{where.upTo(in.InputOffset()), column, err}
	}
	expect := func(want ...json.Token) error {
		for _, w := range want {
			got, err := in.Token()
			if err != nil {
				return wrong("", err)
			}
			if got != w {
				return wrong("", fmt.Errorf("%v where %v is wanted", got, w))
			}
		}
		return nil
	}
	if err := expect(json.Delim('{'), "schema"); err != nil {
		return "", nil, err
	}
	said, err := in.Token()
	if err != nil {
		return "", nil, wrong("", err)
	}
	at := slices.IndexFunc(Nouns(), func(n Noun) bool { return schema(n) == said })
	if at < 0 {
		return "", nil, wrong("", fmt.Errorf("no table is of the schema %v: freehold export --format json writes one to begin with", said))
	}
	noun := Nouns()[at]
	if err := expect("rows", json.Delim('[')); err != nil {
		return "", nil, err
	}
	all := columns(noun)
	t := &filler{columns: all}
	index := map[string]int{}
	for i, c := range all {
		index[c.name] = i
	}
	cells, seen := make([]string, len(all)), make([]bool, len(all))
	for in.More() {
		if err := expect(json.Delim('{')); err != nil {
			return "", nil, err
		}
		line := where.upTo(in.InputOffset())
		clear(cells)
		clear(seen)
		for in.More() {
			name, err := in.Token()
			if err != nil {
				return "", nil, wrong("", err)
			}
			i, known := index[fmt.Sprint(name)]
			if !known || seen[i] {
				return "", nil, wrong(fmt.Sprint(name), errors.New("there is no such column, or it is there twice"))
			}
			seen[i] = true
			value, err := in.Token()
			if err != nil {
				return "", nil, wrong(all[i].name, err)
			}
			switch value := value.(type) {
			case string:
				cells[i] = value
			case json.Number:
				cells[i] = value.String()
			case bool:
				cells[i] = fmt.Sprint(value)
			default:
				return "", nil, wrong(all[i].name, fmt.Errorf("%v where a text, a number, true or false is wanted", value))
			}
		}
		if err := expect(json.Delim('}')); err != nil {
			return "", nil, err
		}
		if err := t.fill(line, cells); err != nil {
			return "", nil, err
		}
	}
	if err := expect(json.Delim(']'), json.Delim('}')); err != nil {
		return "", nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return "", nil, wrong("", errors.New("something follows the table"))
	}
	return noun, t.rows, nil
}
