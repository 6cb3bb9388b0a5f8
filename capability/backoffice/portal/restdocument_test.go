package portal

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

var update = flag.Bool("update", false, "write the list of operations anew")

// ticking is a clock that goes on when it is told to, so that nobody asks too often.
type ticking struct{ seconds atomic.Int64 }

func (c *ticking) options(o *Options) {
	start := time.Now()
	o.Now = func() time.Time { return start.Add(time.Duration(c.seconds.Load()) * time.Second) }
}

// pass lets enough time go by that an address that sent tokens that are none need not wait.
func (c *ticking) pass() { c.seconds.Add(1) }

// document is the OpenAPI document as it is served.
type document struct {
	OpenAPI string `json:"openapi"`
	Info    struct{ Title, Version string }
	Servers []struct{ URL string }
	Paths   map[string]map[string]struct {
		OperationID string                `json:"operationId"`
		Summary     string                `json:"summary"`
		Security    []map[string][]string `json:"security"`
		Parameters  []struct {
			Name, In string
			Required bool
			Schema   map[string]any
		} `json:"parameters"`
		RequestBody *struct {
			Content map[string]struct{ Schema map[string]any }
		} `json:"requestBody"`
		Responses map[string]struct {
			Description string
			Content     map[string]struct{ Schema map[string]any }
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas         map[string]map[string]any `json:"schemas"`
		SecuritySchemes map[string]map[string]any `json:"securitySchemes"`
	} `json:"components"`
}

func documentOf(t *testing.T, p *script) *document {
	t.Helper()
	var d document
	a := p.get("/openapi.json")
	if a.into(&d); a.header.Get("Content-Type") != "application/openapi+json" {
		t.Error(a.header)
	}
	return &d
}

// check compares an answer with what the document says of the operation's answers with that status.
func (d *document) check(id string, a *reply) error {
	for _, methods := range d.Paths {
		for _, op := range methods {
			if op.OperationID != id {
				continue
			}
			r, said := op.Responses[fmt.Sprint(a.status)]
			if !said {
				return fmt.Errorf("nothing is said of status %d", a.status)
			}
			kind := a.header.Get("Content-Type")
			content, said := r.Content[kind]
			if !said {
				return fmt.Errorf("nothing is said of an answer of the kind %q", kind)
			}
			if !strings.HasSuffix(kind, "json") {
				return nil
			}
			var v any
			if err := json.Unmarshal(a.body, &v); err != nil {
				return err
			}
			return d.fits(content.Schema, v, "body")
		}
	}
	return errors.New("the document does not have it")
}

// fits says whether a value is of a schema, as far as our schemas go.
func (d *document) fits(s map[string]any, v any, at string) error {
	if ref, is := s["$ref"].(string); is {
		named := d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
		if named == nil {
			return fmt.Errorf("%s: there is no %s", at, ref)
		}
		return d.fits(named, v, at)
	}
	kinds, is := s["type"].([]any)
	if one, single := s["type"].(string); single {
		kinds, is = []any{one}, true
	}
	if !is {
		return nil // anything
	}
	kind := ""
	switch v := v.(type) {
	case nil:
		kind = "null"
	case bool:
		kind = "boolean"
	case string:
		kind = "string"
	case float64:
		kind = "integer"
	case []any:
		kind = "array"
		items, _ := s["items"].(map[string]any)
		for n, e := range v {
			if err := d.fits(items, e, fmt.Sprintf("%s[%d]", at, n)); err != nil {
				return err
			}
		}
	case map[string]any:
		kind = "object"
		properties, _ := s["properties"].(map[string]any)
		for name, e := range v {
			p, known := properties[name].(map[string]any)
			if more, open := s["additionalProperties"].(map[string]any); !known && open {
				p, known = more, true
			}
			if !known {
				return fmt.Errorf("%s: nothing is said of %s", at, name)
			}
			if err := d.fits(p, e, at+"."+name); err != nil {
				return err
			}
		}
	}
	if !slices.Contains(kinds, any(kind)) {
		return fmt.Errorf("%s is of the kind %s, and the document says %v", at, kind, kinds)
	}
	return nil
}

// The document is OpenAPI 3.1, is served from here alone, and says of every operation who may, what it answers, and how it refuses. The list of operations changes knowingly only: go test -update.
func TestTheDocument(t *testing.T) {
	w := newWorld(t)
	stranger := &script{w: w}
	d := documentOf(t, stranger)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") || d.Info.Title == "" || d.Info.Version == "" || len(d.Servers) != 1 || d.Servers[0].URL != restBase {
		t.Errorf("%s %+v %+v", d.OpenAPI, d.Info, d.Servers)
	}
	if s := d.Components.SecuritySchemes["token"]; s["type"] != "http" || s["scheme"] != "bearer" {
		t.Error(s)
	}
	var lines []string
	ids := map[string]bool{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			lines = append(lines, fmt.Sprintf("%s %s %s", strings.ToUpper(method), path, op.OperationID))
			if ids[op.OperationID] || op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s %s has no ID of its own, or no summary", method, path)
			}
			ids[op.OperationID] = true
			statuses := []string{"200", "422", "429", "500", "503"}
			if op.OperationID != "health" {
				if len(op.Security) != 1 || op.Security[0]["token"] == nil {
					t.Errorf("%s does not say that it needs a token", op.OperationID)
				}
				statuses = append(statuses, "401", "403", "404")
			}
			if method == "post" {
				statuses = append(statuses, "400", "409", "413")
				if !slices.ContainsFunc(op.Parameters, func(p struct {
					Name, In string
					Required bool
					Schema   map[string]any
				}) bool {
					return p.Name == "Idempotency-Key" && p.In == "header"
				}) {
					t.Errorf("%s says nothing of keys", op.OperationID)
				}
			}
			for _, status := range statuses {
				r, there := op.Responses[status]
				if !there || r.Description == "" || len(r.Content) == 0 {
					t.Errorf("%s says nothing of %s", op.OperationID, status)
				}
				if status != "200" && r.Content["application/problem+json"].Schema["$ref"] != "#/components/schemas/Problem" {
					t.Errorf("%s: %s is no problem: %v", op.OperationID, status, r.Content)
				}
			}
			for _, p := range op.Parameters {
				if p.In == "path" && (!p.Required || !strings.Contains(path, "{"+p.Name+"}")) || p.Schema == nil {
					t.Errorf("%s: parameter %s", op.OperationID, p.Name)
				}
			}
			for _, part := range strings.Split(path, "/") {
				name, is := strings.CutPrefix(strings.TrimSuffix(part, "}"), "{")
				if !is {
					continue
				}
				found := false
				for _, p := range op.Parameters {
					found = found || p.In == "path" && p.Name == name
				}
				if !found {
					t.Errorf("%s says nothing of %s", op.OperationID, name)
				}
			}
		}
	}
	refs(t, d.Components.Schemas, d.Components.Schemas)
	if d.Components.Schemas["ErrorModel"] != nil {
		t.Error("it describes an answer that nobody gets")
	}
	a := stranger.get("/openapi.yaml")
	if a.status != http.StatusOK || !strings.Contains(string(a.body), "openapi: 3.1.") && !strings.Contains(string(a.body), `openapi: "3.1.`) {
		t.Errorf("%.200s", a)
	}
	slices.Sort(lines)
	list := strings.Join(lines, "\n") + "\n"
	golden := filepath.Join("testdata", "operations.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != list {
		t.Errorf("the operations are not those of %s: %v\n%s", golden, err, list)
	}
	t.Logf("%d operations, %d schemas", len(lines), len(d.Components.Schemas))
}

// refs wants every reference to lead somewhere.
func refs(t *testing.T, schemas map[string]map[string]any, v any) {
	switch v := v.(type) {
	case map[string]map[string]any:
		for _, e := range v {
			refs(t, schemas, e)
		}
	case map[string]any:
		for name, e := range v {
			if ref, is := e.(string); is && name == "$ref" && schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("there is no %s", ref)
			}
			refs(t, schemas, e)
		}
	case []any:
		for _, e := range v {
			refs(t, schemas, e)
		}
	}
}

// Every answer can be had in CBOR with the same names and values, and a body can be sent so.
func TestBodiesInCBOR(t *testing.T) {
	w := newWorld(t)
	p := w.script("ci", "", capability.LicenseAdministrator)
	decode := func(a *reply) (v any) {
		t.Helper()
		if err := cborFormat().Unmarshal(a.body, &v); err != nil {
			t.Fatal(err, a)
		}
		return v
	}
	var b strings.Builder
	if err := cborFormat().Marshal(&b, fields{"name": "ACME", "contact": "a.larsen@acme.example"}); err != nil {
		t.Fatal(err)
	}
	a := p.post("/accounts", []byte(b.String()), "Content-Type", web.CBORType, "Accept", web.CBORType)
	if v, is := decode(a).(map[string]any); a.status != http.StatusOK || a.header.Get("Content-Type") != web.CBORType || !is || v["contact"] != "a.larsen@acme.example" {
		t.Error(a)
	}
	for _, path := range []string{"/me", "/accounts", "/items", "/reports/licenses", "/audit", "/accounts/none"} {
		first, second := p.get(path), p.get(path, "Accept", web.CBORType)
		var want any
		if err := json.Unmarshal(first.body, &want); err != nil {
			t.Fatal(err)
		}
		kind := map[bool]string{true: web.CBORType, false: "application/problem+cbor"}[second.status == http.StatusOK]
		got, _ := json.Marshal(decode(second))
		again, _ := json.Marshal(want)
		if first.status != second.status || second.header.Get("Content-Type") != kind || string(got) != string(again) {
			t.Errorf("%s: %s is not %s", path, got, again)
		}
	}
	before := w.entries()
	for name, body := range map[string][]byte{
		"a field that is not known": []byte("\xa1\x64naem\x64ACME"), "a key that is no text": []byte("\xa1\x01\x64ACME"), "the same key twice": []byte("\xa2\x64name\x61A\x64name\x61B"), "a length that is not said": []byte("\xbf\x64name\x61A\xff"),
		"a tag": []byte("\xc1\xa1\x64name\x61A"), "more than one": []byte("\xa1\x64name\x61A\x00"), "cut": []byte("\xa1\x64nam"),
	} {
		if a := p.post("/accounts", body, "Content-Type", web.CBORType); a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity || a.problem().Code != capability.ErrForm {
			t.Errorf("%s: %s", name, a)
		}
	}
	if w.entries() != before {
		t.Error("something was done")
	}
}
