package wire

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// Every rule of SPEC.md 18 has vectors that are refused, every vector that is refused shows a rule, and every section that says what a reader must not take has a rule.
func TestEveryRuleHasAVector(t *testing.T) {
	shown := map[string]bool{}
	for _, v := range readVectors(t) {
		if v.Expect != "ok" {
			shown[v.Name] = false
		}
	}
	sections := map[string]bool{}
	row := regexp.MustCompile(`^\| ([0-9., ]+) \| [^|]+ \| ([^|]+) \|$`)
	heading := regexp.MustCompile(`^#+ ([0-9.]*[0-9])\.? `)
	rules, at, musts := 0, "", map[string]bool{}
	for _, l := range readDocument(t, "SPEC.md") {
		if m := heading.FindStringSubmatch(l); m != nil {
			at = m[1]
		}
		if m := row.FindStringSubmatch(l); m != nil && at == "18" {
			rules++
			for _, s := range strings.Split(m[1], ", ") {
				sections[s] = true
			}
			for _, pattern := range strings.Fields(strings.ReplaceAll(m[2], "`", "")) {
				found := false
				for name := range shown {
					if ok, err := path.Match(pattern, name); err != nil {
						t.Fatalf("%s: %v", pattern, err)
					} else if ok {
						shown[name], found = true, true
					}
				}
				if !found {
					t.Errorf("no vector that is refused is named %s", pattern)
				}
			}
		} else if at != "18" && strings.Contains(l, "MUST") {
			musts[at] = true
		}
	}
	for name, is := range shown {
		if !is {
			t.Errorf("%s shows no rule", name)
		}
	}
	for s := range musts {
		if s != "" && !sections[s] && s != "12.1" { // TLS is not in vectors
			t.Errorf("section %s says MUST, and no rule is of it", s)
		}
	}
	if rules < 40 {
		t.Errorf("%d rules", rules)
	}
	t.Logf("%d rules, each with its vectors; %d vectors that are refused", rules, len(shown))
}

// Every field of every table says what it is, who sets it, what it means and what its absence means: somebody who has only SPEC.md asks for all of these.
func TestEveryFieldSaysAll(t *testing.T) {
	fields, table := 0, ""
	heading := regexp.MustCompile("^#.* `([a-z-]+)`$")
	field := regexp.MustCompile("^\\| -?[0-9]+ \\| `\\w+` \\|")
	writers := regexp.MustCompile(`^[CASBR]( [CASBR])*$`)
	for _, l := range readDocument(t, "SPEC.md") {
		if m := heading.FindStringSubmatch(l); m != nil {
			table = m[1]
		} else if strings.HasPrefix(l, "#") {
			table = ""
		}
		if table == "" || !field.MatchString(l) {
			continue
		}
		fields++
		cells := strings.Split(strings.Trim(l, "| "), " | ")
		if len(cells) != 6 || strings.TrimSpace(strings.Join(cells, "")) == "" {
			t.Errorf("%s: %d cells where 6 are wanted: %s", table, len(cells), l)
			continue
		}
		for i, what := range []string{"number", "name", "type", "set by", "meaning", "absent"} {
			if strings.TrimSpace(cells[i]) == "" {
				t.Errorf("%s: %s has no %s", table, cells[1], what)
			}
		}
		if !writers.MatchString(cells[3]) {
			t.Errorf("%s: %s is set by %q", table, cells[1], cells[3])
		}
	}
	if fields < 200 {
		t.Errorf("%d fields", fields)
	}
	t.Logf("%d fields", fields)
}
