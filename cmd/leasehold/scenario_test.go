package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// Whatever is wrong is named by its path, or by line and column where it is no JSON.
func TestScenarioFaults(t *testing.T) {
	const device = `"device":{"type":"STRING","value":"d"}`
	item := func(s string) string { return `{"items":[{"id":"a","feature":"f"` + s + `}]}` }
	request := func(s string) string { return `{"steps":[{"advance":"1s"},{"request":{` + device + s + `}}]}` }
	for _, c := range []struct{ text, says string }{
		{``, "1:1: not JSON: there is nothing in it"},
		{"\n \n", "1:1: not JSON: there is nothing in it"},
		{"\ufeff{}", "1:1: not JSON: begins with a byte order mark"},
		{"{\n\"model\":\"\xff\"}", "2:10: not JSON: byte 0xff is not UTF-8"},
		{"{\"\xc0\x80\":1}", "1:3: not JSON: byte 0xc0 is not UTF-8"},
		{`{"model":"\ud83d"}`, "model: half of a character"},
		{`{"items":[{"\udc00":1}]}`, "items[0]: a key with half of a character"},
		{`null`, "nothing where an object is wanted"},
		{`{"now":01}`, "1:9: not JSON: "},
		{`{"now":NaN}`, "1:8: not JSON: "},
		{`{"now":0,}`, "1:10: not JSON: "},
		{`{"now":1e999999}`, "now: 1e999999 where a whole number is wanted"},
		{`{"now":10000000000000000000000}`, "now: 10000000000000000000000 where 0 to"},
		{`{"steps":[` + strings.Repeat("0,", 1<<20) + `0]}`, "steps[1048574]: more than 1048576 values in all"},
		{"{\n  \"now\": 0,", "2:11: not JSON: unexpected end of JSON input"},
		{"{\n  \"now\" 0}", "2:9: not JSON: "},
		{`{} {}`, "1:4: not JSON: invalid character '{' after top-level value"},
		{"{}\n]", "2:1: not JSON: "},
		{`{}x`, "1:3: not JSON: "},
		{`[]`, "a list where an object is wanted"},
		{`{"now":0,"now":0}`, "now: is there twice"},
		{`{"n\u006fw":0,"now":null}`, "now: is there twice"},
		{item(`,"count":1,"count":2`), "items[0].count: is there twice"},
		{item(`,"counts":1`), "items[0].counts: no such key; there are id, feature"},
		{request(`,"alias":"a","alias":"a"`), "steps[1].request.alias: is there twice"},
		{request(`,"dictionary":{"k":["v"],"k":["w"]}`), "steps[1].request.dictionary.k: is there twice"},
		{request(`,"hostIds":[{"type":"STRING","value":"a","kind":1}]`), "steps[1].request.hostIds[0].kind: no such key; there are type, value"},
		{`{"reservations":[{"host":{}}]}`, "reservations[0].host: no such key; there are group, hostId"},
		{`{"Now":0}`, "Now: no such key"},
		{`{"\u001b":0}`, `["\x1b"]: no such key`},
		{`{"now":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, "more than 16 lists"},
		{`{"now":-1}`, "now: -1 where 0 to 253402300799 is allowed"},
		{`{"now":253402300800}`, "now: 253402300800 where"},
		{`{"now":1.5}`, "now: 1.5 where a whole number is wanted"},
		{`{"now":1e3}`, "now: 1e3 where a whole number is wanted"},
		{`{"now":"0"}`, `now: "0" where a whole number is wanted`},
		{`{"model":1}`, "model: 1 where text in quotes is wanted"},
		{`{"steps":{}}`, "steps: an object where a list is wanted"},
		{`{"items":[{"feature":"f"}]}`, "items[0].id: "},
		{`{"items":[{"id":"a"}]}`, "items[0].feature: "},
		{`{"items":[{"id":"a","feature":"f"},{"id":"a","feature":"g"}]}`, `items[1].id: "a" is there twice`},
		{item(`,"count":9223372036854775808`), "items[0].count: 9223372036854775808 where 0 to 1073741824 is allowed"},
		{item(`,"count":9223372036854775807`), "items[0].count: 9223372036854775807 where"},
		{item(`,"count":-1`), "items[0].count: -1 where"},
		{item(`,"overdraft":1073741825`), "items[0].overdraft: 1073741825 where"},
		{item(`,"version":"6.1.3"`), `items[0].version: "6.1.3" is not a version`},
		{item(`,"version":6.1`), `items[0].version: 6.1 where a version in quotes is wanted`},
		{item(`,"start":-5`), "items[0].start: -5 where"},
		{item(`,"expiry":"2027-02-30"`), `items[0].expiry: "2027-02-30" where a whole number is wanted`},
		{item(`,"start":10,"expiry":10`), "items[0].start: 10 where less than the expiry, 10, is wanted"},
		{item(`,"start":86400,"expiry":5`), "items[0].start: 86400 where less than the expiry, 5, is wanted"},
		{item(`,"metered":1`), "items[0].metered: 1 where true or false is wanted"},
		{item(`,"undoInterval":-1`), "items[0].undoInterval: -1 where"},
		{item(`,"activationId":7`), "items[0].activationId: 7 where text in quotes is wanted"},
		{item(`,"activationId":"` + strings.Repeat("a", 257) + `"`), "items[0].activationId: 257 bytes where at most 256 are allowed"},
		{item(`,"activationId":"\u202e"`), "items[0].activationId: character U+202E at byte 0 is not allowed"},
		{`{"items":[{"id":"a@p","feature":"f"}]}`, `items[0].id: "a@p" has an @, which stands between`},
		{`{"steps":[{"items":[{"id":"@","feature":"f"}]}]}`, `steps[0].items[0].id: "@" has an @, which stands between`},
		{`{"reservations":[{"group":"g","hostId":{"type":"NONE","value":"x"},"feature":"f","count":1}]}`, `reservations[0].hostId.type: `},
		{`{"reservations":[{"group":"g","hostId":{"type":"USER","value":"x"},"feature":"f"}]}`, `reservations[0].count: 0 where 1 to`},
		{`{"reservations":[{"group":"g","feature":"f","count":1}]}`, `reservations[0].hostId: nothing where an object is wanted`},
		{`{"steps":[{}]}`, "steps[0]: a step is one of request, advance, model, items and reservations, and this is 0"},
		{`{"steps":[{"advance":"1s","model":""}]}`, "steps[0]: a step is one of"},
		{`{"steps":[{"advance":"-1s"}]}`, `steps[0].advance: "-1s" where no less than none is allowed`},
		{`{"steps":[{"advance":"-1ns"}]}`, `steps[0].advance: "-1ns" where no less than none is allowed`},
		{`{"steps":[{"advance":"-100000000h"}]}`, `steps[0].advance: "-100000000h" where no less than none is allowed`},
		{`{"steps":[{"advance":"100000000h"}]}`, `steps[0].advance: "100000000h" is too large: at most 2562047h0m0s is allowed`},
		{`{"steps":[{"advance":"2562048h"}]}`, `steps[0].advance: "2562048h" is too large`},
		{`{"steps":[{"advance":"99999999999999999999999ns"}]}`, `steps[0].advance: "99999999999999999999999ns" is too large`},
		{`{"steps":[{"advance":"100000000x"}]}`, `steps[0].advance: "100000000x" where a duration like`},
		{`{"steps":[{"advance":""}]}`, `steps[0].advance: "" where a duration like`},
		{`{"steps":[{"advance":60}]}`, `steps[0].advance: 60 where text in quotes is wanted`},
		{`{"now":253402300799,"steps":[{"advance":"999ms"},{"advance":"1ms"}]}`, `steps[1].advance: leads past the year 9999`},
		{`{"steps":[{"advance":"60"}]}`, `steps[0].advance: "60" where a duration like`},
		{`{"now":253402300799,"steps":[{"advance":"1s"}]}`, `steps[0].advance: leads past the year 9999`},
		{`{"steps":[{"request":{}}]}`, "steps[0].request.device: nothing where an object is wanted"},
		{request(`,"operation":"grab"`), `steps[1].request.operation: "grab" where`},
		{request(`,"undoes":"x"`), `steps[1].request.undoes: only an undo has one`},
		{request(`,"operation":"undo","undoes":"x","desired":[{"feature":"f"}]`), `steps[1].request.desired: `},
		{request(`,"operation":"undo"`), `steps[1].request.undoes: absent`},
		{request(`,"borrow":-1`), `steps[1].request.borrow: -1 where`},
		{request(`,"dictionary":{"k":"v"}`), `steps[1].request.dictionary.k: "v" where a list of values is wanted`},
		{request(`,"dictionary":{"k":[1]}`), `steps[1].request.dictionary.k[0]: 1 where text in quotes is wanted`},
		{request(`,"desired":[{"feature":"f","count":1,"partal":true}]`), `steps[1].request.desired[0].partal: no such key; there are feature, version, count, partial`},
		{request(`,"desired":[{"count":1}]`), `steps[1].request.desired[0].feature: `},
		{request(`,"desired":[{"feature":"f"},{"feature":"f","count":9223372036854775808}]`), `steps[1].request.desired[1].count: 9223372036854775808 where 0 to 1073741824`},
		{request(`,"desired":[{"feature":"f","count":18446744073709551616}]`), `steps[1].request.desired[0].count: 18446744073709551616 where`},
		{request(`,"desired":[{"feature":"f","count":-1}]`), `steps[1].request.desired[0].count: -1 where`},
		{request(`,"desired":[{"feature":"f","count":1.0}]`), `steps[1].request.desired[0].count: 1.0 where a whole number`},
		{request(`,"desired":[{"feature":"f","count":1e3}]`), `steps[1].request.desired[0].count: 1e3 where a whole number`},
		{request(`,"desired":[{"feature":"f","version":""}]`), `steps[1].request.desired[0].version: "" is not a version`},
		{request(`,"desired":[{"feature":"f","version":"1."}]`), `steps[1].request.desired[0].version: "1." is not a version`},
		{request(`,"desired":[{"feature":"f","version":"-1.0"}]`), `steps[1].request.desired[0].version: "-1.0" is not a version`},
		{request(`,"desired":[{"feature":"f","version":"1.4294967296"}]`), `steps[1].request.desired[0].version: "1.4294967296" is not a version`},
		{request(`,"user":"` + strings.Repeat("u", 257) + `"`), `steps[1].request.user: 257 bytes`},
		{request(`,"hostIds":[` + strings.TrimSuffix(manyHosts(64), ",") + `]`), `steps[1].request.hostIds: `},
		{item(`,"product":"` + strings.Repeat("p", 257) + `"`), "items[0].product: 257 bytes"},
	} {
		if _, err := parseScenario([]byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.says) && !strings.Contains(err.Error(), ": "+c.says) {
			t.Errorf("%.80s\nsays %v\nwant %s", c.text, err, c.says)
		}
	}
}

// manyHosts is so many host IDs, with a comma after each.
func manyHosts(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(`{"type":"STRING","value":"h%d"},`, i)
	}
	return s
}

// Whatever bytes there are: they are refused, or play to their end with every invariant of the ledger in force, twice alike.
func FuzzScenario(f *testing.F) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) < 15 {
		f.Fatal(scripts, err)
	}
	for _, s := range scripts {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(b).Files {
			if strings.HasSuffix(file.Name, ".json") {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sc, err := parseScenario(b)
		if err != nil || len(sc.steps) > 100 {
			return
		}
		once, _, err := begin(sc)
		if err != nil {
			return
		}
		twice, _, err := begin(sc)
		if err != nil {
			t.Fatal(err)
		}
		for i := range sc.steps {
			for _, s := range []*simulation{once, twice} {
				if _, err := s.play(i, &sc.steps[i]); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if err := s.ledger.Check(); err != nil {
					t.Fatalf("after step %d: %v", i, err)
				}
			}
		}
		once.slices()
		if once.ledger.Digest() != twice.ledger.Digest() {
			t.Error("the same scenario ends in two states")
		}
	})
}
