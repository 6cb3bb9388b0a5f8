package terminal

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Field is one datum of a message: its path as SPEC.md names it, returns[0].proof, and its value in words.
type Field struct {
	Path  string
	Value string
}

// None is the value of a field that is absent.
const None = "none"

// Fields lists every datum of v, a struct with JSON names, in its order. What is absent is listed as none, so that a reader sees that nothing was left out.
func Fields(v any) []Field {
	return appendFields(nil, "", reflect.ValueOf(v))
}

func appendFields(fields []Field, path string, v reflect.Value) []Field {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(fields, Field{path, None})
		}
		v = v.Elem()
	}
	if r, is := v.Interface().(capability.Record); is {
		return append(fields, Field{path + ".number", fmt.Sprint(r.Number)}, Field{path + ".body", recordWords(r)})
	}
	if text, ok := scalar(v); ok {
		return append(fields, Field{path, text})
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, m := range members(v) {
			p := m.name
			if path != "" {
				p = path + "." + m.name
			}
			fields = appendFields(fields, p, m.value)
		}
		return fields
	case reflect.Slice:
		if v.Len() == 0 {
			return append(fields, Field{path, None})
		}
		for i := range v.Len() {
			fields = appendFields(fields, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
		return fields
	}
	panic(fmt.Sprintf("field %s: a %s has no words", path, v.Type()))
}

// recordWords is every datum of a record's body in one line; a body that is none of ours is shown as it is.
func recordWords(r capability.Record) string {
	u, err := wire.New().DecodeUsage(r.Body)
	if err != nil {
		text, _ := scalar(reflect.ValueOf(r.Body))
		return text
	}
	var words []string
	for _, f := range Fields(u) {
		words = append(words, f.Path+" "+f.Value)
	}
	return strings.Join(words, "; ")
}

type member struct {
	name  string
	value reflect.Value
}

// members are the exported fields of a struct under their JSON names; embedded structs lie flat.
func members(v reflect.Value) []member {
	var all []member
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			all = append(all, members(v.Field(i))...)
		case f.IsExported() && name != "" && name != "-":
			all = append(all, member{name, v.Field(i)})
		}
	}
	return all
}

// scalar is a value that is one datum, in words.
func scalar(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case capability.Time:
		return x.String(), true
	case capability.Seconds:
		if x == 0 {
			return None, true
		}
		return fmt.Sprintf("%d seconds", int64(x)), true
	case capability.Code:
		if x == 0 {
			return None, true
		}
		return x.String() + " " + x.Symbol(), true
	case capability.Version:
		return x.String(), true
	case capability.Operation:
		return x.String(), true
	case hostid.ID:
		if x == (hostid.ID{}) {
			return None, true
		}
		return x.String(), true
	}
	if b, ok := octets(v); ok {
		if len(bytes.Trim(b, "\x00")) == 0 && (v.Kind() == reflect.Array || len(b) == 0) {
			return None, true
		}
		if v.Kind() == reflect.Slice {
			return fmt.Sprintf("%x (%d bytes)", b, len(b)), true
		}
		return hex.EncodeToString(b), true
	}
	switch v.Kind() {
	case reflect.String:
		if v.Len() == 0 {
			return None, true
		}
		return v.String(), true
	case reflect.Bool:
		if v.Bool() {
			return "yes", true
		}
		return "no", true
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		return fmt.Sprint(v.Int()), true
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return fmt.Sprint(v.Uint()), true
	}
	return "", false
}

func octets(v reflect.Value) ([]byte, bool) {
	if k := v.Kind(); k != reflect.Array && k != reflect.Slice || v.Type().Elem().Kind() != reflect.Uint8 {
		return nil, false
	}
	b := make([]byte, v.Len())
	reflect.Copy(reflect.ValueOf(b), v)
	return b, true
}

// Hexed is v for JSON with every octet string in hex, as SPEC.md writes them, and every field there, also what is absent. Numbers stay numbers; no code is null.
func Hexed(v any) json.RawMessage {
	var b bytes.Buffer
	hexed(&b, reflect.ValueOf(v))
	return b.Bytes()
}

func hexed(b *bytes.Buffer, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		v = v.Elem()
	}
	if o, ok := octets(v); ok {
		fmt.Fprintf(b, `"%x"`, o)
		return
	}
	if c, ok := v.Interface().(capability.Code); ok && c == 0 {
		b.WriteString("null")
		return
	}
	switch _, text := v.Interface().(encoding.TextMarshaler); {
	case v.Kind() == reflect.Struct && !text:
		b.WriteByte('{')
		for i, m := range members(v) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, "%q:", m.name)
			hexed(b, m.value)
		}
		b.WriteByte('}')
	case v.Kind() == reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			hexed(b, v.Index(i))
		}
		b.WriteByte(']')
	default:
		j, err := json.Marshal(v.Interface())
		if err != nil {
			panic(fmt.Sprintf("%s in JSON: %v", v.Type(), err))
		}
		b.Write(j)
	}
}
