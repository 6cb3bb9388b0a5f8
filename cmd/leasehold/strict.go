package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A strict reader of JSON that people write: every complaint names the path of the value it is about, as steps[2].request.desired[0].count.

// value is a JSON value with its path: nil, a bool, a json.Number, a string, a []value or a []member.
type value struct {
	path string
	is   any
}

type member struct {
	name string
	value
}

const (
	maxDepth  = 16      // of lists and objects in each other: a form of ours has six
	maxValues = 1 << 20 // in all: ten thousand steps have half as many
)

// readJSON reads one JSON value. What is not JSON, or not UTF-8, is named by line and column.
func readJSON(b []byte) (value, error) {
	at := func(offset int) string {
		before := b[:min(offset, len(b))]
		return fmt.Sprintf("%d:%d: not JSON", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n'))
	}
	switch offset := firstInvalid(b); {
	case len(bytes.TrimSpace(b)) == 0:
		return value{}, fmt.Errorf("%s: there is nothing in it", at(0))
	case bytes.HasPrefix(b, []byte("\ufeff")):
		return value{}, fmt.Errorf("%s: begins with a byte order mark", at(0))
	case offset < len(b):
		return value{}, fmt.Errorf("%s: byte 0x%02x is not UTF-8", at(offset), b[offset])
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(b, new(json.RawMessage)); errors.As(err, &syntax) {
		return value{}, fmt.Errorf("%s: %w", at(int(syntax.Offset)-1), err)
	}
	r := &reader{json: json.NewDecoder(bytes.NewReader(b))}
	r.json.UseNumber()
	return r.value("", 0)
}

// firstInvalid is where b stops being UTF-8, or its length. The decoder would put the replacement character there and say nothing.
func firstInvalid(b []byte) int {
	for at := 0; at < len(b); {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return len(b)
}

// reader takes values out of a stream of JSON tokens.
type reader struct {
	json   *json.Decoder
	values int
}

func (r *reader) value(path string, depth int) (value, error) {
	t, err := r.json.Token()
	if err != nil {
		return value{}, err
	}
	if r.values++; r.values > maxValues {
		return value{}, fmt.Errorf("%s: more than %d values in all", path, maxValues)
	}
	v := value{path: path, is: t}
	delim, nested := t.(json.Delim)
	text, _ := t.(string)
	switch {
	case path != "" && strings.ContainsRune(text, utf8.RuneError):
		return value{}, fmt.Errorf("%s: half of a character: %q", path, text)
	case !nested:
		return v, nil
	case depth == maxDepth:
		return value{}, fmt.Errorf("%s: more than %d lists and objects in each other", path, maxDepth)
	case delim == '[':
		list := []value{}
		for r.json.More() {
			e, err := r.value(fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
			if err != nil {
				return value{}, err
			}
			list = append(list, e)
		}
		v.is = list
	default:
		members := []member{}
		for r.json.More() {
			key, err := r.json.Token()
			if err != nil {
				return value{}, err
			}
			name := key.(string)
			if strings.ContainsRune(name, utf8.RuneError) {
				return value{}, fmt.Errorf("%s: a key with half of a character: %q", path, name)
			}
			e, err := r.value(join(path, name), depth+1)
			if err != nil {
				return value{}, err
			}
			members = append(members, member{name, e})
		}
		v.is = members
	}
	_, err = r.json.Token() // the closing bracket
	return v, err
}

// join is the path of a member. A key that would not read well is quoted.
func join(path, name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	}) || name == "" {
		return fmt.Sprintf("%s[%q]", path, name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// form takes values out of an object and keeps the first complaint. After one, everything it gives is zero.
type form struct{ err error }

func (f *form) fail(path, format string, args ...any) {
	if f.err != nil {
		return
	}
	said := fmt.Errorf(format, args...)
	if path == "" {
		f.err = said
		return
	}
	f.err = fmt.Errorf("%s: %w", path, said)
}

// object is the members of an object by name, none but those with one of these keys. Null is absent.
func (f *form) object(v value, keys ...string) map[string]value {
	out := map[string]value{}
	members, is := v.is.([]member)
	if !is {
		f.fail(v.path, "%s where an object is wanted", v)
	}
	seen := map[string]bool{}
	for _, m := range members {
		switch {
		case seen[m.name]:
			f.fail(m.path, "is there twice")
		case !slices.Contains(keys, m.name):
			f.fail(m.path, "no such key; there are %s", strings.Join(keys, ", "))
		case m.is != nil:
			out[m.name] = m.value
		}
		seen[m.name] = true
	}
	for _, k := range keys {
		if _, present := out[k]; !present {
			out[k] = value{path: join(v.path, k)}
		}
	}
	return out
}

// String says what kind of value it is.
func (v value) String() string {
	switch is := v.is.(type) {
	case bool:
		return strconv.FormatBool(is)
	case json.Number:
		return is.String()
	case string:
		if len(is) > 40 {
			return fmt.Sprintf("%.40q and more", is)
		}
		return strconv.Quote(is)
	case []value:
		return "a list"
	case []member:
		return "an object"
	}
	return "nothing"
}

func (f *form) text(v value) string {
	s, is := v.is.(string)
	if !is && v.is != nil {
		f.fail(v.path, "%s where text in quotes is wanted", v)
	}
	return s
}

// line is text as an attribute may have it.
func (f *form) line(v value) string {
	s := f.text(v)
	if err := capability.CheckText(s); err != nil {
		f.fail(v.path, "%w", err)
	}
	return s
}

func (f *form) flag(v value) bool {
	b, is := v.is.(bool)
	if !is && v.is != nil {
		f.fail(v.path, "%s where true or false is wanted", v)
	}
	return b
}

func (f *form) list(v value) []value {
	l, is := v.is.([]value)
	if !is && v.is != nil {
		f.fail(v.path, "%s where a list is wanted", v)
	}
	return l
}

// number is a whole number from 0 to most.
func (f *form) number(v value, most int64) int64 {
	if v.is == nil {
		return 0
	}
	n, is := v.is.(json.Number)
	i, err := strconv.ParseInt(string(n), 10, 64)
	switch {
	case !is, err != nil && !errors.Is(err, strconv.ErrRange):
		f.fail(v.path, "%s where a whole number is wanted", v)
	case err != nil || i < 0 || i > most:
		f.fail(v.path, "%s where 0 to %d is allowed", v, most)
	default:
		return i
	}
	return 0
}

func (f *form) count(v value) uint32 { return uint32(f.number(v, capability.MaxCount)) }

func (f *form) version(v value) capability.Version {
	if v.is == nil {
		return capability.Version{}
	}
	s, is := v.is.(string)
	if !is {
		f.fail(v.path, "%s where a version in quotes is wanted, like \"2026.1\"", v)
		return capability.Version{}
	}
	parsed, err := capability.ParseVersion(s)
	if err != nil {
		f.fail(v.path, "%w", err)
	}
	return parsed
}

// host is an object with type and value.
func (f *form) host(v value) hostid.ID {
	o := f.object(v, "type", "value")
	id := hostid.ID{Value: f.text(o["value"])}
	t, err := hostid.ParseType(f.text(o["type"]))
	if err != nil {
		f.fail(o["type"].path, "%w", err)
	}
	id.Type = t
	if err := id.Validate(); err != nil {
		f.fail(v.path, "%w", err)
	}
	return id
}
