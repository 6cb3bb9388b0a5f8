package web

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"testing"
)

func TestNamesOnce(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}`: true, `[1,"a","a",null]`: true, `"a"`: true,
		`{"a":1,"a":2}`: false, `{"a":1,"A":2}`: false, `{"x":[{"k":{"a":1,"b":2,"a":3}}]}`: false,
	} {
		if err := NamesOnce([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A value is the same in both forms, and CBOR that is not plain is refused.
func TestCBORIsTheJSON(t *testing.T) {
	for text, want := range map[string]string{`{"b":1,"a":[true,null,"x",-7,1.5]}`: "a2616185f5f66178" + "26f93e00" + "616201", `[0,-1,1000000]`: "8300201a000f4240"} {
		b, err := ToCBOR(json.RawMessage(text))
		if err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%s: %x %v", text, b, err)
		}
		back, err := FromCBOR(b)
		if again, _ := ToCBOR(json.RawMessage(back)); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: back %s %v", text, back, err)
		}
	}
	for name, b := range map[string][]byte{
		"a key twice": {0xa2, 0x61, 'a', 1, 0x61, 'a', 2}, "a key that is a number": {0xa1, 1, 2}, "no length": {0x9f, 1, 0xff}, "a tag": {0xc1, 1}, "cut": {0x82, 1}, "two": {1, 2},
		"deep": append(bytes.Repeat([]byte{0x81}, 17), 1),
	} {
		if text, err := FromCBOR(b); err == nil {
			t.Errorf("%s: %x is %s", name, b, text)
		}
	}
}

func TestWantsCBOR(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "application/json": false, CBORType: true, "text/html, application/cbor;q=0.9": true, "application/json, application/cbor": false, "*/*": false, "Application/CBOR": true,
	} {
		if got := WantsCBOR(&http.Request{Header: http.Header{"Accept": {accept}}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
