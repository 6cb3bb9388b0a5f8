package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// The examples of RFC 8949, appendix A, by what SPEC.md 2 says of them: the first are items that it allows, the others are well-formed CBOR that breaks a rule of it.
func appendixA() map[string][]string {
	return map[string][]string{
		"": strings.Fields(`00 01 0a 17 1818 1819 1864 1903e8 1a000f4240 1b000000e8d4a51000 1bffffffffffffffff 3bffffffffffffffff 20 29 3863 3903e7 f4 f5 f6 40 4401020304
			60 6161 6449455446 62225c 62c3bc 63e6b0b4 64f0908591 80 83010203 8301820203820405 98190102030405060708090a0b0c0d0e0f101112131415161718181819 a0 a201020304`),
		"floating-point numbers": strings.Fields(`f90000 f98000 f93c00 fb3ff199999999999a f93e00 f97bff fa47c35000 fa7f7fffff fb7e37e43c8800759c f90001 f90400 f9c400 fbc010666666666666
			f97c00 f97e00 f9fc00 fa7f800000 fa7fc00000 faff800000 fb7ff0000000000000 fb7ff8000000000000 fbfff0000000000000`),
		"undefined, and simple values": strings.Fields(`f7 f0 f8ff`),
		"tags": strings.Fields(`c249010000000000000000 c349010000000000000000 c074323031332d30332d32315432303a30343a30305a c11a514b67b0 c1fb41d452d9ec200000 d74401020304 d818456449455446
			d82076687474703a2f2f7777772e6578616d706c652e636f6d`),
		"keys that are no integers": strings.Fields(`a26161016162820203 826161a161626163 a56161614161626142616361436164614461656145`),
		"indefinite lengths": strings.Fields(`5f42010243030405ff 7f657374726561646d696e67ff 9fff 9f018202039f0405ffff 9f01820203820405ff 83018202039f0405ff 83019f0203ff820405
			9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff bf61610161629f0203ffff 826161bf61626163ff bf6346756ef563416d7421ff`),
	}
}

// What appendix A calls well-formed is taken where a rule of ours allows it, and refused for the rule that it breaks, wherever in a request it stands: by this
// package and by the second reader.
func TestAppendixA(t *testing.T) {
	c := New()
	plain := map[int]string{1: "01", 2: "81a2011102624331", 3: "50" + strings.Repeat("c1", 16)}
	var in bytes.Buffer
	var want []string
	ask := func(name, kind, hexes, expect string) {
		if err := json.NewEncoder(&in).Encode(&vector{Name: name, Kind: kind, Hex: hexes, Expect: expect}); err != nil {
			t.Fatal(err)
		}
		want = append(want, expect)
	}
	var good, refused, places, taken int
	for rule, items := range appendixA() {
		for _, item := range items {
			expect := "malformed"
			if rule == "" {
				expect = "ok"
				good++
			} else {
				refused++
			}
			ask(item, "item", item, expect)
			for field := 1; field <= 40; field++ {
				b := []byte{0xa0}
				for k := 1; k <= 40; k++ {
					value := plain[k]
					if k == field {
						value = item
					}
					if value != "" {
						b[0]++
						b = append(append(b, c.Encode(k)...), unhex(value)...)
					}
				}
				err := judgeVector(&vector{Kind: "request"}, b)
				if places++; err == nil {
					taken++
				}
				if err == nil && rule != "" {
					t.Errorf("%s as field %d of a request is taken, and there are no %s", item, field, rule)
				}
				ask(fmt.Sprintf("%s as %d", item, field), "request", hex.EncodeToString(b), class(err))
			}
		}
	}
	lines, _ := SecondReader(t, in.Bytes(), "vectors.mjs", "-")
	for i, j := range readJudged(t, lines) {
		if !j.As {
			t.Errorf("%s: %s, the second reader says %s: %s", j.Name, want[i], j.Got, j.Refusal)
		}
	}
	if good+refused != 81 {
		t.Errorf("%d items", good+refused)
	}
	t.Logf("appendix A: %d items, of which %d are allowed and %d refused by name; %d requests with one of them in a field, of which %d are right, judged alike by both readers; 0 skipped", good+refused, good, refused, places, taken)
}
