package model

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What a release accepted stays readable, with its meaning; what none ever accepted does not.
func TestReread(t *testing.T) {
	const rest = ` { partitions { partition "cad" { "render" 2026.1 3 } } on user("ana") { use "cad" accept } on any() { use "default" accept } }`
	for _, c := range []struct {
		name, text string
		pool       string
	}{
		{"today's", `model "m"` + rest, "cad"},
		{"a tab in a name", strings.ReplaceAll(`model "m"`+rest, `"cad"`, "\"c\tad\""), "c\tad"},
		{"a joiner in a name", strings.ReplaceAll(`model "m"`+rest, `"cad"`, "\"c\u200dad\""), "c\u200dad"},
		{"a mark of direction in a comment", "// \u200f\nmodel \"m\"" + rest, "cad"},
		{"a carriage return for a line end", "model \"m\"\r" + rest, "cad"},
		{"a reserved name of a model", `model "default"` + rest, "cad"},
		{"a reserved name of a pool", strings.ReplaceAll(`model "m"`+rest, `"cad"`, `"overdraft"`), "overdraft"},
		{"entries that say the same", strings.Replace(`model "m"`+rest, `"render" 2026.1 3`, `"render" 2026.1 3 "render" 2026.1 3`, 1), "cad"},
		{"a host ID of another form", strings.Replace(`model "m"`+rest, `on any()`, `on hostid("02-00/NOTHING") { accept } on any()`, 1), "cad"},
	} {
		m, err := Reread([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, err := Parse([]byte(c.text)); (err == nil) != (c.name == "today's") {
			t.Errorf("%s: for Parse it is %v", c.name, err)
		}
		if len(m.Pools) != 1 || m.Pools[0].Name != c.pool || m.Pools[0].Allocations[0].Amount.Number != 3 {
			t.Errorf("%s: %+v", c.name, m.Pools)
		}
		if r := m.Route(Facts{User: "ana"}); !r.Accept || len(r.Pools) != 1 || r.Pools[0] != c.pool {
			t.Errorf("%s: ana is led to %+v", c.name, r)
		}
		m.Distribute(0, []capability.LineItem{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 9, Copies: 9}})
	}
	for _, text := range []string{
		"", "model", `model "m" {`, `model "m" { on any() { use "none" accept } }`, `model "m" { on user(~/(/) { accept } }`, `model "m" { partitions { partition "a" { "f" 1 1 } partition "a" { "f" 1 1 } } }`,
		`model "m" { partitions { partition "a" { "f" 1 9999999999 } } }`, strings.Repeat(" ", MaxFile+1),
	} {
		if _, err := Reread([]byte(text)); err == nil {
			t.Errorf("%.40q is read", text)
		}
	}
}
