package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fxamacker/cbor/v2"
)

// Bodies in CBOR are the JSON with the same names: who knows the document knows both.

func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return e.Encode(v)
		},
		Unmarshal: func(b []byte, v any) error {
			if err := json.Unmarshal(b, v); err != nil {
				return err
			}
			return namesOnce(json.NewDecoder(bytes.NewReader(b)))
		},
	}
}

// namesOnce says whether each name is once in its object, in a text that is JSON: of two that differ in case only, one reader takes the first and another the second.
func namesOnce(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for t == json.Delim('{') && d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		folded := strings.ToLower(name.(string)) // names are texts, the decoder sees to that
		if names[folded] {
			return fmt.Errorf("%q is there twice", name)
		}
		names[folded] = true
		if err := namesOnce(d); err != nil {
			return err
		}
	}
	for t == json.Delim('[') && d.More() {
		if err := namesOnce(d); err != nil {
			return err
		}
	}
	if t == json.Delim('{') || t == json.Delim('[') {
		_, err = d.Token()
	}
	return err
}

func cborFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			var plain any
			if err := d.Decode(&plain); err != nil {
				return err
			}
			if plain, err = whole(plain); err != nil {
				return err
			}
			mode, err := cbor.CoreDetEncOptions().EncMode()
			if err != nil {
				return err
			}
			b, err := mode.Marshal(plain)
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		},
		Unmarshal: func(b []byte, v any) error {
			mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, MaxNestedLevels: 16}.DecMode()
			if err != nil {
				return err
			}
			var plain any
			if err := mode.Unmarshal(b, &plain); err != nil {
				return err
			}
			if plain, err = named(plain); err != nil {
				return err
			}
			text, err := json.Marshal(plain)
			if err != nil {
				return err
			}
			return json.Unmarshal(text, v)
		},
	}
}

// whole makes the numbers of a JSON value integers, of which all of ours are.
func whole(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		return v.Int64()
	case []any:
		for i := range v {
			if v[i], err = whole(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = whole(v[name]); err != nil {
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
