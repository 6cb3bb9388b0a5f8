package web

import (
	"fmt"
	"net/url"

	"github.com/leasehold/leasehold/capability"
)

// Most pages are lists of facts, forms made of fields, and lists with a search; these are their parts. Their templates are in templates/parts.html.

// Fact is a line about something. Class says in which color, beside the words.
type Fact struct{ Name, Value, Path, Class string }

// Facts collects those that say something.
type Facts []Fact

// Add is a fact, unless its value is empty or zero.
func (f *Facts) Add(name string, value any) {
	switch v := value.(type) {
	case capability.Time:
		value = When(v)
	case uint32:
		value = fmt.Sprint(v)
	}
	if s := fmt.Sprint(value); s != "" && s != "0" {
		*f = append(*f, Fact{Name: name, Value: s})
	}
}

// Link is a fact that leads somewhere.
func (f *Facts) Link(name, value, path string) {
	if value != "" {
		*f = append(*f, Fact{Name: name, Value: value, Path: path})
	}
}

// Marked is a fact in a color.
func (f *Facts) Marked(name, value, class string) {
	if value != "" {
		*f = append(*f, Fact{Name: name, Value: value, Class: class})
	}
}

// When is a moment in words; nothing where there is none.
func When(t capability.Time) string {
	if t == 0 {
		return ""
	}
	return t.String()
}

// Search is the form above a list.
type Search struct {
	Path, Text string
	More       []Field
}

// Field is a field of a form.
type Field struct {
	Name, Label, Hint, Kind, Value string
	Options                        []string
	Must, Fixed                    bool
}

// The kinds of fields.
const (
	KindText   = "text"
	KindNumber = "number"
	KindDate   = "date"
	KindCheck  = "check"
	KindSelect = "select"
	KindArea   = "area" // a line for each element
)

// PathTo is a path with a query of pairs of names and values, without what is empty.
func PathTo(path string, pairs ...string) string {
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

// Problem is a refusal in the four lines that every program of ours says it in.
type Problem struct {
	Code              string
	What, Cause, Next string
	SignIn            bool
}
