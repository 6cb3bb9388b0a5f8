package portal

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
)

// Most pages are lists of facts, forms made of the columns of a table, and lists with a search; these are their parts.

// fact is a line about something. Class says in which color, beside the words.
type fact struct{ Name, Value, Path, Class string }

// facts collects those that say something.
type facts []fact

func (f *facts) add(name string, value any) {
	switch v := value.(type) {
	case capability.Time:
		value = when(v)
	case uint32:
		value = fmt.Sprint(v)
	}
	if s := fmt.Sprint(value); s != "" && s != "0" {
		*f = append(*f, fact{Name: name, Value: s})
	}
}

// link is a fact that leads somewhere.
func (f *facts) link(name, value, path string) {
	if value != "" {
		*f = append(*f, fact{Name: name, Value: value, Path: path})
	}
}

// marked is a fact in a color.
func (f *facts) marked(name, value, class string) {
	if value != "" {
		*f = append(*f, fact{Name: name, Value: value, Class: class})
	}
}

// when is a moment in words; nothing where there is none.
func when(t capability.Time) string {
	if t == 0 {
		return ""
	}
	return t.String()
}

// until is an expiry in words.
func until(t capability.Time) string {
	if t == 0 {
		return "never"
	}
	return t.String()
}

// searchView is the form above a list.
type searchView struct {
	Path, Text string
	More       []fieldView
}

// pathTo is a path with a query, without what is empty.
func pathTo(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// pageOf is the page of a list that is whole in memory which begins where a parameter of the address says, and the path of the next one; empty: there is none.
func pageOf[T any](v *visit, list []T, path, parameter string) (page []T, next string) {
	from, _ := strconv.Atoi(v.query(parameter))
	from = min(max(from, 0), len(list))
	if page = list[from:]; len(page) > pageRows {
		return page[:pageRows], pathTo(path, parameter, strconv.Itoa(from+pageRows))
	}
	return page, ""
}

// query is a parameter of the address.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

// fieldView is a field of a form.
type fieldView struct {
	Name, Label, Hint, Kind, Value string
	Options                        []string
	Must, Fixed                    bool
}

const (
	kindText   = "text"
	kindNumber = "number"
	kindDate   = "date"
	kindCheck  = "check"
	kindSelect = "select"
	kindArea   = "area" // a line for each element
)

// fill puts into fields what was typed into them when their form was refused, else what they say of a row.
func (v *visit) fill(form string, fields []fieldView, texts map[string]string) []fieldView {
	for i := range fields {
		f := &fields[i]
		text, known := texts[f.Name]
		if !known {
			text = f.Value
		}
		if f.Kind == kindArea {
			text = strings.NewReplacer(";", "\n", "%20", " ").Replace(text)
		}
		if f.Kind == kindDate && len(text) > len("2006-01-02") {
			text = text[:len("2006-01-02")]
		}
		f.Value = v.Typed(form, f.Name, text)
	}
	return fields
}

// row is what the fields of a form say, as a row of a table.
func row(n backoffice.Noun, form url.Values, fields []fieldView) (backoffice.Row, error) {
	r, err := backoffice.TypedRow(n, func(column string) string {
		for _, f := range fields {
			if f.Name != column {
				continue
			}
			text := form.Get(column)
			if f.Kind == kindArea {
				text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), ";")
			}
			return text
		}
		return ""
	})
	if err != nil {
		return r, capability.Refuse(capability.ErrForm, "", "%v", err)
	}
	return r, nil
}

// formView is a page that is one form.
type formView struct {
	Path, Intro, Button string
	Fields              []fieldView
	Rest                []fieldView // what is rarely needed
}
