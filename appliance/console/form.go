package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

const maxBody = 64 << 10 // of a JSON form

func decode(r *http.Request, v any) error { return decodeUpTo(maxBody, r, v) }

// decodeUpTo reads the form that is the body of a request: one value in JSON or CBOR, no unknown keys, none twice. The error is a *capability.Malformed.
func decodeUpTo(most int64, r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == web.CBORType {
		b, err = web.FromCBOR(b)
	}
	if err != nil {
		return &capability.Malformed{Field: "body", Cause: err.Error()}
	}
	return decodeBytes(b, v)
}

// decodeBytes does the same with JSON that is in memory.
func decodeBytes(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, after := d.Token(); !errors.Is(after, io.EOF) {
			err = errors.New("something follows after the end")
		}
	}
	if err == nil {
		err = web.NamesOnce(b)
	}
	if err != nil {
		return &capability.Malformed{Field: "body", Cause: err.Error()}
	}
	return nil
}
