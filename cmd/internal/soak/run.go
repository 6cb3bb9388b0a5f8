package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// test is one soak test in the program that holds its package's tests.
type test struct{ name, pkg, program string }

// limit ends a test that hangs: a night is shorter, a release takes days.
const limit = 96 * time.Hour

// build finds the packages with soak tests below the present directory and builds their test programs.
func build(work string, want *regexp.Regexp, out io.Writer) ([]test, error) {
	packages, err := find(".")
	if err != nil {
		return nil, err
	}
	var tests []test
	for i, pkg := range packages {
		program := filepath.Join(work, fmt.Sprintf("%d.test", i))
		fmt.Fprintf(out, "build %s\n", pkg)
		if b, err := exec.Command("go", "test", "-c", "-o", program, pkg).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the tests of %s: %w\n%s", pkg, err, b)
		}
		list := exec.Command(program, "-test.list", "^TestSoak")
		list.Dir = pkg
		b, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("list the tests of %s: %w", pkg, err)
		}
		for _, name := range strings.Fields(string(b)) {
			if strings.HasPrefix(name, "TestSoak") && (want == nil || want.MatchString(name)) {
				tests = append(tests, test{name, pkg, program})
			}
		}
	}
	if len(tests) == 0 {
		return nil, errors.New("no test was found")
	}
	return tests, nil
}

// find gives the directories with a soak test, each as ./DIR.
func find(top string) ([]string, error) {
	declared := regexp.MustCompile(`(?m)^func TestSoak`)
	var found []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); path != top && (n == "testdata" || strings.HasPrefix(n, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if pkg := "./" + filepath.ToSlash(filepath.Dir(path)); err == nil && declared.Match(b) && !slices.Contains(found, pkg) {
			found = append(found, pkg)
		}
		return err
	})
	return found, err
}

// runAll runs the tests, atOnce side by side, and hands over the row of each as it ends, one after the other.
func runAll(tests []test, environment []string, done func(row)) {
	next := make(chan int)
	var running sync.WaitGroup
	var speak sync.Mutex
	for range atOnce {
		running.Go(func() {
			for i := range next {
				w := tests[i].run(environment)
				speak.Lock()
				done(w)
				speak.Unlock()
			}
		})
	}
	for i := range tests {
		next <- i
	}
	close(next)
	running.Wait()
}

// run runs one test in a process of its own, so that one that panics takes no other with it.
func (t test) run(environment []string) row {
	begun := time.Now()
	c := exec.Command(t.program, "-test.run", "^"+t.name+"$", "-test.v=test2json", "-test.timeout", limit.String(), "-test.count", "1")
	c.Dir = t.pkg
	c.Env = append(os.Environ(), environment...)
	b, err := c.CombinedOutput()
	r := row{Test: t.name, Package: t.pkg, Seconds: rounded(time.Since(begun))}
	r.read(b, err)
	return r
}

// attribute is the line with which a test reports, after a byte that marks lines of the test program itself; test2json(1).
const attribute = "\x16=== ATTR  "

// read takes the figures out of what a test program wrote, and the reason where it failed. The last word on each figure counts, and those of
// its subtests are added up.
func (r *row) read(output []byte, ended error) {
	// A line of a test's log says where it is written; what follows it in the same entry is indented.
	logged := regexp.MustCompile(`^\s+\w+\.go:\d+: (.+)$`)
	figures := map[string]map[string]int{} // name of the figure, then of the test
	passed := false
	var said []string // what is not framing
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, len(output)+1)
	for lines.Scan() {
		line := lines.Text()
		// A test may have written half a line before.
		_, after, framed := strings.Cut(line, attribute)
		if framed {
			if f := strings.Fields(after); len(f) == 3 {
				if n, err := strconv.Atoi(f[2]); err == nil {
					if figures[f[1]] == nil {
						figures[f[1]] = map[string]int{}
					}
					figures[f[1]][f[0]] = n
				}
			}
			continue
		}
		passed = passed || strings.Contains(line, "--- PASS: "+r.Test+" ")
		if !strings.HasPrefix(line, "\x16===") {
			said = append(said, strings.TrimPrefix(line, "\x16"))
		}
	}
	sum := func(name string) (n int) {
		for _, v := range figures[name] {
			n += v
		}
		return n
	}
	r.Asked, r.Size, r.Tried, r.Failed = sum("soak-asked"), sum("soak-size"), sum("soak-tried"), sum("soak-failed")
	switch {
	case ended != nil || !passed:
		r.Failed = max(1, r.Failed)
		r.Why = end(said)
	case figures["soak-tried"] == nil:
		r.Failed, r.Why = 1, "it ended without figures"
	default:
		for _, line := range said {
			if m := logged.FindStringSubmatch(line); m != nil {
				r.Said = append(r.Said, m[1])
			}
		}
		r.Said = r.Said[max(0, len(r.Said)-mostSaid):]
	}
}

// mostSaid lines of a test that passed are kept: the last ones sum up.
const mostSaid = 8

// end is the end of a long text: what failed is said there.
func end(lines []string) string {
	const most = 60
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
