package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/cmd/internal/machine"
)

// TestRead: whatever way a test ends, its row says so.
func TestRead(t *testing.T) {
	const passed = "\x16=== RUN   TestSoakX\n\x16=== ATTR  TestSoakX soak-asked 500\n\x16=== ATTR  TestSoakX soak-size 50\n" +
		"\x16=== ATTR  TestSoakX soak-tried 7\nhalf a line\x16=== ATTR  TestSoakX soak-tried 50\n\x16=== ATTR  TestSoakX soak-failed 0\n\x16--- PASS: TestSoakX (0.10s)\nPASS\n"
	died := errors.New("exit status 2")
	for _, row := range []struct {
		name, output         string
		ended                error
		asked, tried, failed int
		why                  string
	}{
		{"passed", passed, nil, 500, 50, 0, ""},
		{"of subtests", strings.ReplaceAll(passed, "TestSoakX soak-", "TestSoakX/a soak-") + "\x16=== ATTR  TestSoakX/b soak-tried 5\n", nil, 500, 55, 0, ""},
		{"failed", "\x16=== ATTR  TestSoakX soak-tried 9\n\x16=== ATTR  TestSoakX soak-failed 3\n    x_test.go:1: it broke\n\x16--- FAIL: TestSoakX (0.10s)\n", died, 0, 9, 3, "it broke"},
		{"panicked", "\x16=== ATTR  TestSoakX soak-tried 9\npanic: no\n", died, 0, 9, 1, "panic: no"},
		{"out of time", "\x16=== RUN   TestSoakX\npanic: test timed out after 1s\n", died, 0, 0, 1, "timed out"},
		{"another passed", strings.ReplaceAll(passed, "PASS: TestSoakX", "PASS: TestSoakXY"), nil, 500, 50, 1, "PASS"},
		{"without figures", "\x16--- PASS: TestSoakX (0.10s)\nPASS\n", nil, 0, 0, 1, "without figures"},
		{"said nothing", "", nil, 0, 0, 1, ""},
	} {
		r := rowOf("TestSoakX")
		r.read([]byte(row.output), row.ended)
		if r.Asked != row.asked || r.Tried != row.tried || r.Failed != row.failed || !strings.Contains(r.Why, row.why) {
			t.Errorf("%s: %+v", row.name, r)
		}
	}
}

// TestSaid: figures that are no counts stay beside those that are.
func TestSaid(t *testing.T) {
	r := rowOf("TestSoakX")
	r.read([]byte("\x16=== ATTR  TestSoakX soak-tried 1\n    x_test.go:7: 3 writes\n        of them 2 in the night\nanother word\n    x_test.go:9: 4 writes: all\n"+
		"\x16--- PASS: TestSoakX (0.10s)\nPASS\n"), nil)
	if want := []string{"3 writes", "4 writes: all"}; r.Failed != 0 || !slices.Equal(r.Said, want) {
		t.Errorf("%+v, want %q", r, want)
	}
}

func rowOf(test string) row { return row{Test: test} }

// TestShare: what fits is run whole, what does not is cut evenly and never to nothing.
func TestShare(t *testing.T) {
	trial := []row{{Asked: 1000, Size: 10, Seconds: 2}, {Seconds: 20}, {Asked: 10, Size: 10, Seconds: 4}} // whole: 200, 20 and 4 s, two at a time
	for budget, want := range map[time.Duration]int{time.Hour: shares, 112 * time.Second: shares, 62 * time.Second: 5000, time.Second: 1} {
		if got := share(trial, budget); got != want {
			t.Errorf("in %s: %d of %d, want %d", budget, got, shares, want)
		}
	}
}

func TestFind(t *testing.T) {
	top := t.TempDir()
	for name, text := range map[string]string{
		"a/a_test.go":          "func TestSoakA(t *testing.T)",
		"a/b_test.go":          "func TestSoakB(t *testing.T)",
		"b/b_test.go":          "// func TestSoak in words\nfunc TestX(t *testing.T)",
		"c/c.go":               "func TestSoakC(t *testing.T)",
		"d/testdata/d_test.go": "func TestSoakD(t *testing.T)",
		".e/e_test.go":         "func TestSoakE(t *testing.T)",
		"f/g/g_test.go":        "package g\nfunc TestSoakG(t *testing.T)",
	} {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(top)
	found, err := find(".")
	if want := []string{"./a", "./f/g"}; err != nil || !slices.Equal(found, want) {
		t.Fatalf("%q, %v, want %q", found, err, want)
	}
}

// TestReport: a run keeps what another showed of tests that it leaves out, and nothing of another machine or other sizes.
func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bin", "soak.json")
	here := machine.Machine{CPU: "one", Cores: 2}
	for _, run := range []struct {
		machine machine.Machine
		mode    string
		rows    []row
		want    string
	}{
		{here, "nightly", []row{{Package: "./b", Test: "TestSoakX", Tried: 1, Commit: "c1"}, {Package: "./a", Test: "TestSoakX", Tried: 2, Commit: "c1"}}, "./a TestSoakX 2 c1; ./b TestSoakX 1 c1; "},
		{here, "nightly", []row{{Package: "./b", Test: "TestSoakX", Tried: 3, Commit: "c2"}}, "./a TestSoakX 2 c1; ./b TestSoakX 3 c2; "},
		{here, "release", []row{{Package: "./b", Test: "TestSoakY", Tried: 4, Commit: "c2"}}, "./b TestSoakY 4 c2; "},
		{machine.Machine{CPU: "another"}, "release", []row{{Package: "./c", Test: "TestSoakZ", Tried: 5, Commit: "c3"}}, "./c TestSoakZ 5 c3; "},
	} {
		r, err := readReport(path, run.machine, run.mode)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range run.rows {
			r.add(w)
			if err := r.write(path); err != nil {
				t.Fatal(err)
			}
		}
		if r, err = readReport(path, run.machine, run.mode); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, w := range r.Rows {
			got += fmt.Sprintf("%s %s %d %s; ", w.Package, w.Test, w.Tried, w.Commit)
		}
		if got != run.want {
			t.Errorf("%s where %s is wanted", got, run.want)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(path, here, "nightly"); err == nil {
		t.Error("half a report is taken")
	}
}
