package portal

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/web"
)

// Most pages are lists of facts, forms made of the columns of a table, and lists with a search; these are what the parts of package web do not have.

// until is an expiry in words.
func until(t capability.Time) string {
	if t == 0 {
		return "never"
	}
	return t.String()
}

// pageOf is the page of a list that is whole in memory which begins where a parameter of the address says, and the path of the next one; empty: there is none.
func pageOf[T any](v *visit, list []T, path, parameter string) (page []T, next string) {
	from, _ := strconv.Atoi(v.query(parameter))
	from = min(max(from, 0), len(list))
	if page = list[from:]; len(page) > pageRows {
		return page[:pageRows], web.PathTo(path, parameter, strconv.Itoa(from+pageRows))
	}
	return page, ""
}

// query is a parameter of the address.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

// fill puts into fields what was typed into them when their form was refused, else what they say of a row.
func (v *visit) fill(form string, fields []web.Field, texts map[string]string) []web.Field {
	for i := range fields {
		f := &fields[i]
		text, known := texts[f.Name]
		if !known {
			text = f.Value
		}
		if f.Kind == web.KindArea {
			text = strings.NewReplacer(";", "\n", "%20", " ").Replace(text)
		}
		if f.Kind == web.KindDate && len(text) > len("2006-01-02") {
			text = text[:len("2006-01-02")]
		}
		f.Value = v.Typed(form, f.Name, text)
	}
	return fields
}

// row is what the fields of a form say, as a row of a table.
func row(n backoffice.Noun, form url.Values, fields []web.Field) (backoffice.Row, error) {
	r, err := backoffice.TypedRow(n, func(column string) string {
		for _, f := range fields {
			if f.Name != column {
				continue
			}
			text := form.Get(column)
			if f.Kind == web.KindArea {
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
	Fields              []web.Field
	Rest                []web.Field // what is rarely needed
}
