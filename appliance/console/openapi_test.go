package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// The document has every operation and no other, each under an ID of its own, and every name that it refers to.
func TestDocumentIsOfTheOperations(t *testing.T) {
	c := refusing(t, capability.ErrCorrupt)
	c.Poll = NewPoll(c.Appliance, PollTimes{}, func(PollTimes) {})
	b, err := document(c.operations())
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                    `json:"operationId"`
			Security    []map[string][]string     `json:"security"`
			RequestBody *struct{ Content any }    `json:"requestBody"`
			Responses   map[string]map[string]any `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(b, &d); err != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("%v in %.200s", err, b)
	}
	want, ids := descriptions(), map[string]bool{}
	for _, op := range c.operations() {
		method, path, _ := strings.Cut(op.pattern, " ")
		said, is := d.Paths["/"+path][strings.ToLower(method)]
		if !is || ids[said.OperationID] || said.Responses["200"] == nil || (len(said.Security) == 0) != (op.gate == anyone) || (said.RequestBody == nil) != (want[op.pattern].takes == nil) {
			t.Errorf("%s: %+v", op.pattern, said)
		}
		ids[said.OperationID] = true
		delete(want, op.pattern)
	}
	if len(want) > 0 {
		t.Errorf("described, and not there: %v", slices.Sorted(maps.Keys(want)))
	}
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllSubmatch(b, -1) {
		if d.Components.Schemas[string(ref[1])] == nil {
			t.Errorf("%s is not there", ref[1])
		}
	}
	if n := len(ids); n < 45 {
		t.Errorf("%d operations", n)
	}
}

// Answers are of the types that the document says, member by member.
func TestAnswersAreAsDescribed(t *testing.T) {
	call, _ := running(t)
	n := 0
	for pattern, d := range descriptions() {
		method, path, _ := strings.Cut(pattern, " ")
		body := map[string]string{
			"POST reservations": `{"group":"g","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":1}`, "PUT reservations": `[]`, "POST model/check": poolsText, "PUT configuration": `{}`,
			"POST policies": `{"name":"borrow-maximum","value":"8h"}`, "POST seats/disconnect": `{"after":60}`,
		}[pattern]
		if strings.Contains(path, "{report}") {
			path = strings.Replace(path, "{report}", "inventory", 1)
		} else if method != http.MethodGet && body == "" || path == "doctor" {
			continue
		}
		status, _, text := call(method, Base+path, body)
		if status != http.StatusOK {
			continue // what this appliance does not have
		}
		if _, raw := d.answers.(octets); raw {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader([]byte(text)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(reflect.New(reflect.TypeOf(d.answers)).Interface()); err != nil {
			t.Errorf("%s: %v in %s", pattern, err, text)
		}
		n++
	}
	if n < 15 {
		t.Errorf("%d answers were looked at", n)
	}
}
