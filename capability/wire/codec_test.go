package wire

import (
	"encoding/hex"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// None has one encoding: absent. An empty container, a zero and a null in its place are malformed.
func TestNoneHasOneEncoding(t *testing.T) {
	c := New()
	for name, in := range map[string]string{
		"empty array for absent": "a10580",       // {5: []}
		"null for absent":        "a105f6",       // {5: null}
		"zero for absent":        "a10400",       // {4: 0}
		"empty text":             "a10860",       // {8: ""}
		"false for absent":       "a107f4",       // {7: false}
		"empty struct":           "a117a0",       // {23: {}}
		"non-shortest integer":   "a1041801",     // {4: 1} in two bytes
		"keys out of order":      "a204010101",   // {4: 1, 1: 1}
		"duplicate key":          "a201010101",   // {1: 1, 1: 1}
		"indefinite map":         "bf0101ff",     // {_ 1: 1}
		"trailing byte":          "a1010100",     //
		"float":                  "a101f93c00",   // {1: 1.0}
		"tag":                    "a101c101",     // {1: 1(1)}
		"unknown field":          "a2010118fa01", // {1: 1, 250: 1}
		"invalid UTF-8":          "a10861ff",     //
		"negative for unsigned":  "a10120",       // {1: -1}
		"fixed array too short":  "a10341aa",     // {3: h'aa'}
		"text key":               "a1616101",     // {"a": 1}
		"cut":                    "a201",         //
		"nothing":                "",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		var r capability.Request
		if err := c.Decode(b, &r, 100); err == nil {
			t.Errorf("%s: %s was accepted as %+v", name, in, r)
		}
	}
	var r capability.Request
	if err := c.Decode([]byte{0xa1, 0x01, 0x01}, &r, 100); err != nil || r.Version != 1 {
		t.Errorf("the plain form: %+v, %v", r, err)
	}
}
