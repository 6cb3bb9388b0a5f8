package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

const maxBody = 64 << 10 // of a JSON form

func decode(r *http.Request, v any) error { return decodeUpTo(maxBody, r, v) }

// decodeUpTo reads the form that is the body of a request: one JSON value, no unknown keys, none twice. The error is a *capability.Malformed.
func decodeUpTo(most int64, r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err = d.Decode(v); err == nil {
			if _, after := d.Token(); !errors.Is(after, io.EOF) {
				err = errors.New("something follows after the end")
			}
		}
	}
	if err == nil {
		err = once(json.NewDecoder(bytes.NewReader(b)), "")
	}
	if err != nil {
		return &capability.Malformed{Field: "body", Cause: err.Error()}
	}
	return nil
}

// once says which key of the next value of d is there twice: encoding/json keeps the last and says nothing, also where they differ in case. The value is known
// to be well formed, and nests no deeper than the forms do.
func once(d *json.Decoder, path string) error {
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
		if err := once(d, at); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}
