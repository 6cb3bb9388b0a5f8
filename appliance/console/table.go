package console

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability/web"
)

// Every list of the console is a table of this kind: searched in every column, narrowed by a text for one column, sorted by a column and paged here, with the columns that its reader wants to see.

// column is one of a table of T.
type column[T any] struct {
	name, title string
	text        func(*T) string
	less        func(a, b *T) int // nil: by its text
	path        func(*T) string   // where its text leads; nil: nowhere
	class       func(*T) string   // in which color beside the words; nil: in none
	count       bool              // a number
	id          bool              // read digit by digit
	when        bool              // a moment, which stays on one line
	// Of what can be done with a row a column has one, instead of a text: a form, a box that a form elsewhere looks at, or a link.
	form func(*T) *rowForm
	pick func(*T) *pickView
	link func(*T) *pageLink
}

// rowForm is a form in a row; without a button there is none.
type rowForm struct {
	Path, Button, Label string // Label says to who hears the page which row it is
	Hidden              []pair
	Fields              []web.Field
}

// pickView is a box of a row, for the form of that ID.
type pickView struct{ Form, Name, Value, Label string }

// tableView is a page of a table.
type tableView struct {
	Path    string
	Search  string
	Total   int // records that were found
	Of      int // records in all
	From    int // number of the first record of this page
	To      int
	Columns []headView
	Filters []filterView
	Hidden  []pair // what a search keeps
	Rows    [][]cellView
	Picker  []pageLink
	Page    int
	Pages   int
	All     []choice // columns, for who picks them
	Empty   string
}

type headView struct {
	Title, Class, Sort, Sorted string // Sorted: ascending, descending, or empty
}

type filterView struct{ Name, Label, Value string }

type pair struct{ Name, Value string }

type pageLink struct {
	Title, Label, Path string
	Here               bool
}

type choice struct {
	Name, Title string
	Chosen      bool
}

type cellView struct {
	Text, Path, Class string
	Form              *rowForm
	Pick              *pickView
	Link              *pageLink
}

// tableOf is the page of a list that the address asks for. Kept are parameters of the address that every link keeps, beside those of the table.
func tableOf[T any](v *visit, path string, rows []T, columns []column[T], empty string, kept ...string) tableView {
	t := tableView{Path: path, Search: v.query("q"), Of: len(rows), Empty: empty}
	params := []string{"q", t.Search}
	for _, name := range kept {
		if value := v.query(name); value != "" {
			params = append(params, name, value)
			t.Hidden = append(t.Hidden, pair{name, value})
		}
	}
	for _, c := range columns {
		if c.text == nil {
			continue
		}
		f := filterView{"in-" + c.name, c.title, v.query("in-" + c.name)}
		t.Filters = append(t.Filters, f)
		params = append(params, f.Name, f.Value)
	}
	found := narrowed(rows, columns, t.Search, t.Filters)
	sort, down := v.query("sort"), v.query("order") == "descending"
	if c := columnOf(columns, sort); c != nil {
		order(found, c, down)
	} else {
		sort = ""
	}
	link := func(pairs ...string) string { return web.PathTo(path, append(slices.Clone(params), pairs...)...) }
	seen := v.columns(path, columnNames(columns))
	for i := range columns {
		c := &columns[i]
		t.All = append(t.All, choice{c.name, c.title, slices.Contains(seen, c.name)})
		if !slices.Contains(seen, c.name) {
			continue
		}
		h := headView{Title: c.title, Class: c.classOf()}
		if c.text != nil {
			h.Sort = link("sort", c.name)
			if c.name == sort {
				h.Sorted = "ascending"
				if down {
					h.Sorted = "descending"
				} else {
					h.Sort = link("sort", c.name, "order", "descending")
				}
			}
		}
		t.Columns = append(t.Columns, h)
	}
	size := v.pageSize()
	t.Total, t.Pages = len(found), max(1, (len(found)+size-1)/size)
	t.Page, _ = strconv.Atoi(v.query("page"))
	t.Page = min(max(t.Page, 1), t.Pages)
	from := (t.Page - 1) * size
	page := found[from:min(from+size, len(found))]
	t.From, t.To = min(from+1, t.Total), from+len(page)
	if sort != "" {
		params = append(params, "sort", sort)
		t.Hidden = append(t.Hidden, pair{"sort", sort})
		if down {
			params = append(params, "order", "descending")
			t.Hidden = append(t.Hidden, pair{"order", "descending"})
		}
	}
	t.Picker = picker(t.Page, t.Pages, func(n int) string { return link("page", strconv.Itoa(n)) })
	for _, r := range page {
		var cells []cellView
		for i := range columns {
			if c := &columns[i]; slices.Contains(seen, c.name) {
				cells = append(cells, c.cell(r))
			}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func columnNames[T any](columns []column[T]) (names []string) {
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

func columnOf[T any](columns []column[T], name string) *column[T] {
	if at := slices.IndexFunc(columns, func(c column[T]) bool { return c.name == name && c.text != nil }); at >= 0 {
		return &columns[at]
	}
	return nil
}

// narrowed are the rows that have a text in any column, and the texts of filters in theirs, in any case.
func narrowed[T any](rows []T, columns []column[T], text string, filters []filterView) []*T {
	text = strings.ToLower(strings.TrimSpace(text))
	type only struct {
		column *column[T]
		text   string
	}
	var all []only
	for _, f := range filters {
		if want := strings.ToLower(strings.TrimSpace(f.Value)); want != "" {
			all = append(all, only{columnOf(columns, strings.TrimPrefix(f.Name, "in-")), want})
		}
	}
	found := make([]*T, 0, len(rows))
next:
	for i := range rows {
		r := &rows[i]
		for _, o := range all {
			if !strings.Contains(strings.ToLower(o.column.text(r)), o.text) {
				continue next
			}
		}
		if text == "" || slices.ContainsFunc(columns, func(c column[T]) bool { return c.text != nil && strings.Contains(strings.ToLower(c.text(r)), text) }) {
			found = append(found, r)
		}
	}
	return found
}

// order sorts rows by a column; equal ones stay as they were.
func order[T any](rows []*T, c *column[T], down bool) {
	type keyed struct {
		row  *T
		text string
	}
	all := make([]keyed, len(rows))
	for i, r := range rows {
		all[i].row = r
		if c.less == nil {
			all[i].text = strings.ToLower(c.text(r))
		}
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if down {
			a, b = b, a
		}
		if c.less != nil {
			return c.less(a.row, b.row)
		}
		return cmp.Compare(a.text, b.text)
	})
	for i := range all {
		rows[i] = all[i].row
	}
}

func (c *column[T]) classOf() string {
	if c.count {
		return "count"
	}
	return ""
}

func (c *column[T]) cell(r *T) cellView {
	switch {
	case c.form != nil:
		return cellView{Form: c.form(r)}
	case c.pick != nil:
		return cellView{Pick: c.pick(r)}
	case c.link != nil:
		return cellView{Link: c.link(r)}
	}
	cell := cellView{Text: c.text(r), Class: c.classOf()}
	switch {
	case c.id:
		cell.Class = "id"
	case c.when:
		cell.Class = "when"
	}
	if c.path != nil {
		cell.Path = c.path(r)
	}
	if c.class != nil {
		cell.Class = strings.TrimSpace(cell.Class + " " + c.class(r))
	}
	return cell
}

// picker are links to the first and last page, and those around this one.
func picker(here, pages int, path func(int) string) (list []pageLink) {
	if pages == 1 {
		return nil
	}
	if here > 1 {
		list = append(list, pageLink{Title: "Previous", Label: "Previous page", Path: path(here - 1)})
	}
	last := 0
	for n := 1; n <= pages; n++ {
		if n != 1 && n != pages && (n < here-2 || n > here+2) {
			continue
		}
		if n > last+1 {
			list = append(list, pageLink{Title: "..."})
		}
		list = append(list, pageLink{Title: strconv.Itoa(n), Label: "Page " + strconv.Itoa(n), Path: path(n), Here: n == here})
		last = n
	}
	if here < pages {
		list = append(list, pageLink{Title: "Next", Label: "Next page", Path: path(here + 1)})
	}
	return list
}

// byNumber compares rows by a number.
func byNumber[T any, N cmp.Ordered](of func(*T) N) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(of(a), of(b)) }
}
