package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// TOML reads a configuration file into the struct that v points to. What the file has and the struct has not is an error: it names line and key, and the key that
// may have been meant.
func TOML(b []byte, v any) error {
	meta, err := toml.Decode(string(b), v)
	if e := (toml.ParseError{}); errors.As(err, &e) {
		return fmt.Errorf("line %d: %s", e.Position.Line, e.Message)
	}
	if err != nil { // a value of another type: the line is in its words
		return errors.New(strings.TrimPrefix(err.Error(), "toml: "))
	}
	for _, key := range meta.Undecoded() {
		known := keysOf(reflect.TypeOf(v).Elem(), "")
		meant := Nearest(key.String(), known)
		if meant == "" {
			return fmt.Errorf("line %d: no key is called %s; there are %s", LineOf(b, key.String()), key, strings.Join(known, ", "))
		}
		return fmt.Errorf("line %d: no key is called %s; the nearest is %s", LineOf(b, key.String()), key, meant)
	}
	return nil
}

// keysOf are the keys of a file that is read into a struct.
func keysOf(t reflect.Type, before string) (keys []string) {
	for n := range t.NumField() {
		f := t.Field(n)
		key, inner := before+f.Tag.Get("toml"), f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			keys = append(keys, keysOf(inner, key+".")...)
		} else {
			keys = append(keys, key)
		}
	}
	return keys
}

// LineOf is the first line of a TOML file that gives a key a value, or begins its table; the key is written with dots. Zero is none.
func LineOf(b []byte, key string) int {
	table := ""
	for n, line := range bytes.Split(b, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if head, ok := strings.CutPrefix(text, "["); ok {
			head, _, _ = strings.Cut(strings.TrimPrefix(head, "["), "]")
			if table = strings.TrimSpace(head) + "."; strings.TrimSpace(head) == key {
				return n + 1
			}
			continue
		}
		name, _, ok := strings.Cut(text, "=")
		name = table + strings.Trim(strings.TrimSpace(name), `"'`)
		if ok && (name == key || strings.HasPrefix(key, name+".")) {
			return n + 1
		}
	}
	return 0
}
