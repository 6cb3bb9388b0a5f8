package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// CBORType is the kind of a body in CBOR (RFC 8949): the JSON with the same names, so that who knows the one knows both.
const CBORType = "application/cbor"

// ToCBOR is a value as CBOR in core deterministic encoding.
func ToCBOR(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		return nil, err
	}
	if plain, err = numbers(plain); err != nil {
		return nil, err
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(plain)
}

// FromCBOR is a body in CBOR as JSON. The error says what is not as it should be: keys that are no texts or are there twice, lengths that are not known beforehand, tags, or more than 16 levels.
func FromCBOR(b []byte) ([]byte, error) {
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, MaxNestedLevels: 16}.DecMode()
	if err != nil {
		return nil, err
	}
	var plain any
	if err := mode.Unmarshal(b, &plain); err != nil {
		return nil, err
	}
	if plain, err = named(plain); err != nil {
		return nil, err
	}
	return json.Marshal(plain)
}

// WantsCBOR says that whoever asks reads CBOR rather than JSON: of the two kinds it is the first that Accept names.
func WantsCBOR(r *http.Request) bool {
	for kind := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, _ = strings.Cut(kind, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case CBORType:
			return true
		case "application/json", "application/*", "*/*":
			return false
		}
	}
	return false
}

// NamesOnce says whether each name is once in its object, in a text that is JSON: of two that differ in case only, one reader takes the first and another the second.
func NamesOnce(text []byte) error { return twice(json.NewDecoder(bytes.NewReader(text)), "") }

// twice says which key of the next value of d is there twice: encoding/json keeps the last and says nothing, also where they differ in case. The value is known
// to be well formed, and nests no deeper than the forms do.
func twice(d *json.Decoder, path string) error {
	t, err := d.Token()
	delim, nested := t.(json.Delim)
	if err != nil || !nested {
		return err
	}
	var seen []string
	for i := 0; d.More(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := key.(string)
			at = strings.TrimPrefix(path+"."+name, ".")
			if slices.ContainsFunc(seen, func(s string) bool { return strings.EqualFold(s, name) }) {
				return fmt.Errorf("%s is there twice", at)
			}
			seen = append(seen, name)
		}
		if err := twice(d, at); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}

// numbers makes the numbers of a JSON value integers, as nearly all of ours are.
func numbers(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = numbers(v[name]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// named makes the maps of a CBOR value those of JSON: their keys are texts.
func named(v any) (_ any, err error) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = named(v[i]); err != nil {
				return nil, err
			}
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			name, is := key.(string)
			if !is {
				return nil, fmt.Errorf("the key %v is no text", key)
			}
			if m[name], err = named(value); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return v, nil
}
