package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// Vectors carry what goes in by the names of SPEC.md: byte strings in hex, arrays for versions, numbers for codes and times. The JSON forms of the
// Go types are for people and differ from that, so vectors are mapped here, by the json tag of each field.

// jsonName is a field's name in SPEC.md, or "" for one that is not a field.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func toInput(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == versionType() {
			return []any{v.Field(1).Uint(), v.Field(2).Uint()}
		}
		m := map[string]any{}
		for i := range v.NumField() {
			if name := jsonName(v.Type().Field(i)); name != "" && !v.Field(i).IsZero() {
				m[name] = toInput(v.Field(i))
			}
		}
		return m
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			return hex.EncodeToString(b)
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = toInput(v.Index(i))
		}
		return list
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	}
	if v.CanInt() {
		return v.Int()
	}
	return v.Uint()
}

// numbers is an input as it is read from a file: its numbers are JSON's.
func numbers(in any) any {
	b, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		panic(err)
	}
	return out
}

// fromInput is the way back. What it does not find is left zero; a name that is no field is an error.
func fromInput(in any, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == versionType() {
			list, ok := in.([]any)
			if !ok || len(list) != 2 {
				return fmt.Errorf("%v is not a version", in)
			}
			if err := fromInput(list[0], v.Field(1)); err != nil {
				return err
			}
			return fromInput(list[1], v.Field(2))
		}
		m, ok := in.(map[string]any)
		if !ok {
			return fmt.Errorf("%v is not a map", in)
		}
		found := 0
		for i := range v.NumField() {
			name := jsonName(v.Type().Field(i))
			value, there := m[name]
			if name == "" || !there {
				continue
			}
			found++
			if err := fromInput(value, v.Field(i)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if found != len(m) {
			return fmt.Errorf("%s has a name that is no field", v.Type())
		}
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			text, _ := in.(string)
			b, err := hex.DecodeString(text)
			if err != nil || v.Kind() == reflect.Array && len(b) != v.Len() {
				return fmt.Errorf("%q is not hex for %s", text, v.Type())
			}
			if v.Kind() == reflect.Slice {
				v.Set(reflect.MakeSlice(v.Type(), len(b), len(b)))
			}
			reflect.Copy(v, reflect.ValueOf(b))
			return nil
		}
		list, ok := in.([]any)
		if !ok {
			return fmt.Errorf("%v is not a list", in)
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		for i := range list {
			if err := fromInput(list[i], v.Index(i)); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
	case reflect.String:
		text, ok := in.(string)
		if !ok {
			return fmt.Errorf("%v is not a text", in)
		}
		v.SetString(text)
	case reflect.Bool:
		yes, ok := in.(bool)
		if !ok {
			return fmt.Errorf("%v is not a bool", in)
		}
		v.SetBool(yes)
	default:
		number, ok := in.(json.Number)
		if !ok {
			return fmt.Errorf("%v is not a number", in)
		}
		target := reflect.New(plainNumber(v))
		if err := json.Unmarshal([]byte(number), target.Interface()); err != nil {
			return err
		}
		v.Set(target.Elem().Convert(v.Type()))
	}
	return nil
}

// plainNumber is the number type without methods that read it differently, as a code's do.
func plainNumber(v reflect.Value) reflect.Type {
	if v.CanInt() {
		return reflect.TypeFor[int64]()
	}
	return reflect.TypeFor[uint64]()
}

func versionType() reflect.Type { return reflect.TypeFor[capability.Version]() }
