package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const text = "one\ntwo\nthree\ntwo\nfive\n"

func TestApply(t *testing.T) {
	for _, c := range []struct{ name, diff, want string }{
		{"a line", "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three", "one\n2\nthree\ntwo\nfive\n"},
		{"no context", "@@ -4 +4,0 @@\n-two", "one\ntwo\nthree\nfive\n"},
		{"the nearest place", "@@ -9 +9 @@\n-two\n+2", "one\ntwo\nthree\n2\nfive\n"},
		{"two places, in order", "@@ -2 +2 @@\n-two\n+a\n@@ -3 +3 @@\n-two\n+b", "one\na\nthree\nb\nfive\n"},
		{"moved as far as the one before", "@@ -14 +14 @@\n-five\n+5", "one\ntwo\nthree\ntwo\n5\n"},
		{"an insertion", "@@ -5 +5,2 @@\n five\n+six\n\\ No newline at end of file", "one\ntwo\nthree\ntwo\nfive\nsix\n"},
		{"lines that are gone", "@@ -1,2 +1,2 @@\n one\n-three\n+3", ""},
		{"a line that is gone behind the first change", "@@ -5 +5 @@\n-five\n+5\n@@ -6 +6 @@\n-one\n+1", ""},
		{"more than there is", "@@ -5,3 +5,3 @@\n five\n \n-six\n+6", ""},
	} {
		changes, err := readDiff(strings.Split("--- a/f.go\n+++ b/f.go\n"+c.diff, "\n"))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := changes[0].apply(text)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestRead(t *testing.T) {
	const diff = "\n--- a/f.go\t2026-01-01\n+++ b/f.go\t2026-01-01\n@@ -1 +1 @@\n-a\n+b\n--- a/sub/g.go\n+++ b/sub/g.go\n@@ -1 +1 @@\n---- a\n++++ b\n"
	m, err := read("storage", "n", "what it is: a bug\ntests: ./storage ./cmd/leaseholdd/\nrun: ^TestA|B$\n"+diff)
	if err != nil || m.Bug != "what it is: a bug" || !slices.Equal(m.Tests, []string{"storage", "cmd/leaseholdd"}) || m.Run != "^TestA|B$" {
		t.Errorf("%+v, %v", m, err)
	}
	if len(m.changes) != 2 || m.changes[0].file != "f.go" || m.changes[1].file != "sub/g.go" || m.changes[1].hunks[0].old[0] != "--- a" || m.changes[1].hunks[0].new[0] != "+++ b" {
		t.Errorf("the changes are %+v", m.changes)
	}
	if m, err = read("storage", "n", "a bug\n"+diff); err != nil || !slices.Equal(m.Tests, []string{"storage"}) {
		t.Errorf("%+v, %v", m, err)
	}
	for want, text := range map[string]string{
		"there is no diff":                   "a bug\n",
		"want the bug in words":              diff,
		"and the tests":                      "a bug\ntests:\n" + diff,
		`found "test: ./x"`:                  "a bug\ntest: ./x\n" + diff,
		`"../f.go" is no file`:               "a bug\n\n--- a/../f.go\n+++ b/../f.go\n@@ -1 +1 @@\n-a\n+b\n",
		"want the name of a file":            "a bug\n\n--- a/f.go\n@@ -1 +1 @@\n-a\n+b\n",
		"want the place of a change":         "a bug\n\n--- a/f.go\n+++ b/f.go\n-a\n+b\n",
		"want the number of a line":          "a bug\n\n--- a/f.go\n+++ b/f.go\n@@ -x +1 @@\n-a\n+b\n",
		"want a line of a diff, found \"a\"": "a bug\n\n--- a/f.go\n+++ b/f.go\n@@ -1 +1 @@\na\n",
		"has no lines around it":             "a bug\n\n--- a/f.go\n+++ b/f.go\n@@ -1 +1 @@\n+a\n",
		"changes nothing":                    "a bug\n\n--- a/f.go\n+++ b/f.go\n@@ -1 +1 @@\n-a\n+a\n",
	} {
		if _, err := read("storage", "n", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestJudge(t *testing.T) {
	const timeout = "panic: test timed out after 30s\n"
	for _, c := range []struct {
		out        string
		ok, killed bool
		test       string
	}{
		{"=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\n", true, false, ""},
		{"=== RUN   TestA\n=== RUN   TestB\n--- FAIL: TestB (0.00s)\n    --- FAIL: TestB/c (0.00s)\nFAIL\n", false, false, "TestB"},
		{"=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\nfatal error: all goroutines are asleep\n", false, false, "TestB"},
		{"panic: in an initializer\n", false, false, "what comes before the tests"},
		{"=== RUN   TestA\n" + timeout + "\trunning tests:\n\t\tTestA (30s)\n", false, false, "TestA, which did not end,"},
		{"=== RUN   TestA\n" + timeout, false, false, ""},
		{"=== RUN   TestA\n", false, true, ""},
	} {
		if r := judge([]byte(c.out), c.ok, c.killed); r.test != c.test || r.failed() == c.ok {
			t.Errorf("%q: %+v, want %q", c.out, r, c.test)
		}
	}
}

// A module of its own is hunted through, with a bug of each fate.
func TestHunt(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	mutant := func(name, head, old, new string) {
		write("word/testdata/mutants/"+name+".patch", head+"\n\n--- a/word.go\n+++ b/word.go\n@@ -3 +3 @@\n-"+old+"\n+"+new+"\n")
	}
	const source = "package word\n\nfunc Twice(n int) int { return 2 * n }\n"
	const tests = "package %s\n\nimport (\n\t\"testing\"\n\n\t%s\"example.test/m/word\"\n)\n\nfunc TestIt(t *testing.T) {\n\tif word.Twice(%s) != %s {\n\t\tt.Error(\"wrong\")\n\t}\n}\n"
	fill := func(parts ...string) string {
		s := tests
		for _, p := range parts {
			s = strings.Replace(s, "%s", p, 1)
		}
		return s
	}
	write("go.mod", "module example.test/m\n\ngo 1.26\n")
	write("word/word.go", source)
	write("word/word_test.go", fill("word_test", "", "2", "4"))
	write("other/other_test.go", fill("other", "", "3", "6"))
	line := strings.Split(source, "\n")[2]
	mutant("added", "n and 2 are added", line, "func Twice(n int) int { return 2 + n }") // 2+2 is 4: only the other package sees it
	mutant("elsewhere", "n and 2 are added\ntests: ./word ./other", line, "func Twice(n int) int { return 2 + n }")
	mutant("narrow", "always 0\nrun: TestOther", line, "func Twice(n int) int { return 0 }")
	mutant("broken", "no number", line, "func Twice(n int) int { return }")
	mutant("stale", "what was", "func Thrice(n int) int { return 3 * n }", line)
	mutant("crash", "the process ends", line, "func Twice(n int) int { panic(n) }")

	var out strings.Builder
	if lost, err := hunt(t.Context(), selection{}, "report.json", &out); err != nil || lost != 4 {
		t.Errorf("%d not found, %v\n%s", lost, err, out.String())
	}
	for _, want := range []string{"word/added: not found: n and 2 are added\n", "word/elsewhere: found by TestIt (in other) in ", "word/narrow: not found: always 0\n", "word/broken: does not compile: ", "word/stale: does not apply: ",
		"word/crash: found by TestIt (in word) in ", "\n2 found, 4 not\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
	var s summary
	if b, err := os.ReadFile("report.json"); err != nil || json.Unmarshal(b, &s) != nil || s.Found != 2 || s.Lost != 4 || len(s.Mutants) != 6 || len(s.Unplanted) != 2 {
		t.Errorf("the report is %+v, %v", s, err)
	}
	if b, err := os.ReadFile("word/word.go"); err != nil || string(b) != source {
		t.Errorf("the source was changed to %q, %v", b, err)
	}

	var want selection
	if err := want.addName("crash.patch"); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if lost, err := hunt(t.Context(), want, "", &out); err != nil || lost != 0 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%d not found, %v\n%s", lost, err, out.String())
	}
	ended, end := context.WithCancel(t.Context())
	end()
	out.Reset()
	if _, err := hunt(ended, want, "", &out); err == nil || out.Len() > 0 {
		t.Errorf("it was ended, and it says %v\n%s", err, out.String())
	}
	write("word/word_test.go", fill("word_test", "", "2", "5"))
	if _, err := hunt(t.Context(), want, "", &out); err == nil || !strings.Contains(err.Error(), "nothing was planted") || !strings.Contains(err.Error(), "TestIt in word") {
		t.Errorf("the tests fail without a bug, and it says %v", err)
	}
	if err := want.addPackage("./other"); err != nil {
		t.Fatal(err)
	}
	if _, err := hunt(t.Context(), want, "", &out); err == nil || !strings.Contains(err.Error(), "no such patch") {
		t.Errorf("nothing was asked for, and it says %v", err)
	}
}
