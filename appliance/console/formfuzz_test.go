package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// FuzzForm: a body is refused in a sentence, or is one JSON value that says the same when it is written again.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		`{"desired":[{"activationId":"AAAAA-BBBBB","count":3}]}`, `{"desired":[],"desired":[]}`, `{"Desired":null,"desired":[]}`, `{"other":1}`, `{}{}`, `{} x`, ``, `null`, `[`,
		`{"desired":[{"count":4294967296}]}`, `{"desired":[{"count":1,"COUNT":2}]}`, "{\"desired\":[{\"feature\":\"\\ud800\"}]}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) (w Wish, err error) {
			r, err := http.NewRequest("POST", "/", bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			return w, decode(r, &w)
		}
		w, err := read(b)
		if err != nil {
			if no := (*capability.Malformed)(nil); !errors.As(err, &no) {
				t.Fatal(err)
			}
			return
		}
		written, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := read(written); err != nil || !reflect.DeepEqual(again, w) && len(w.Desired) > 0 {
			t.Fatalf("%s is written as %s: %v", b, written, err)
		}
	})
}
