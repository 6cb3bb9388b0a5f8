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
		if s != "" && !sections[s] && !sections[strings.Split(s, ".")[0]] && s != "12.1" { // TLS is not in vectors
			t.Errorf("section %s says MUST, and no rule is of it", s)
		}
	}
	if rules < 40 {
		t.Errorf("%d rules", rules)
	}
	t.Logf("%d rules, each with its vectors; %d vectors that are refused", rules, len(shown))
}
