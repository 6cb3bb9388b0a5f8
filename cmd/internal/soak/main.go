// Soak runs the long tests and says what they showed: how many cases each tried, how many failed, on which machine and commit.
//
//	soak [-o FILE] [-run REGEXP] [-budget DURATION]
//
// A long test is an ordinary one whose name begins with TestSoak, which takes its size from storagetest.Size and reports with
// storagetest.Tried. The environment's RELEASE=1 asks for the figures of a release instead of a night's. With -budget every test is first
// run at its ordinary size, and then all at the same share of what was asked, so that the whole ends in about that time; the report says
// both what was asked and what was run. The report is written after each test, and keeps the rows of tests that this run leaves out, with
// the commit that they are of, if it is of the same machine: a long night may be led in pieces. A test that panics, is killed by its time limit or ends without figures is a failed row.
// The status is 1 if any row failed.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/leasehold/leasehold/cmd/internal/machine"
)

func main() {
	var o options
	flag.StringVar(&o.report, "o", "bin/soak.json", "write the report to this `file`")
	flag.Func("run", "run only the tests whose name matches this `regexp`", func(s string) (err error) { o.run, err = regexp.Compile(s); return err })
	flag.DurationVar(&o.budget, "budget", 0, "end in about this `time`, with a share of each size")
	flag.Parse()
	o.release = os.Getenv("RELEASE") == "1"
	failed, err := soak(o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

type options struct {
	report  string
	run     *regexp.Regexp // nil: all
	budget  time.Duration  // 0: all that was asked
	release bool
}

func (o *options) mode() string {
	if o.release {
		return "release"
	}
	return "nightly"
}

// report is what is written: figures with all that is needed to judge them.
type report struct {
	Machine machine.Machine `json:"machine"`
	Mode    string          `json:"mode"`
	Rows    []row           `json:"rows"`
}

// row is one test. Asked, Size and Tried count cases: of the whole, of this run, and those that were run.
type row struct {
	Test    string  `json:"test"`
	Package string  `json:"package"`
	Asked   int     `json:"asked,omitempty"`
	Size    int     `json:"size,omitempty"`
	Tried   int     `json:"tried"`
	Failed  int     `json:"failed"`
	Seconds float64 `json:"seconds"`
	Commit  string  `json:"commit"`
	Started string  `json:"started"` // the run that it is of

	Said []string `json:"said,omitempty"` // the end of its log, where it passed: figures that are no counts
	Why  string   `json:"why,omitempty"`  // it failed
}

// atOnce is how many tests run side by side.
const atOnce = 2

func soak(o options, out io.Writer) (failed int, err error) {
	begun := time.Now()
	this, err := machine.This()
	if err != nil {
		return 0, err
	}
	commit, err := machine.Commit()
	if err != nil {
		return 0, err
	}
	r, err := readReport(o.report, this, o.mode())
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "soak")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	tests, err := build(work, o.run, out)
	if err != nil {
		return 0, err
	}
	environment := []string{"SOAK=" + r.Mode}
	if o.budget > 0 {
		var trial []row
		runAll(tests, []string{"SOAK="}, func(w row) { w.say(out); trial = append(trial, w) })
		part := fmt.Sprintf("%d/%d", share(trial, o.budget-time.Since(begun)), shares)
		environment = append(environment, "SOAK_SCALE="+part)
		fmt.Fprintf(out, "every test runs %s of its size\n", part)
	}
	var wrong error
	runAll(tests, environment, func(w row) {
		w.Commit, w.Started = commit, begun.UTC().Format(time.RFC3339)
		w.say(out)
		if w.Failed > 0 {
			failed++
		}
		r.add(w)
		wrong = errors.Join(wrong, r.write(o.report))
	})
	r.print(out)
	return failed, wrong
}

// readReport is the report of the runs before this one, if it is of this machine and of the same sizes.
func readReport(path string, this machine.Machine, mode string) (*report, error) {
	fresh := &report{Machine: this, Mode: mode}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	var r report
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("the report of before: %w", err)
	}
	if r.Machine != this || r.Mode != mode {
		return fresh, nil
	}
	return &r, nil
}

// add takes the place of the row of the same test.
func (r *report) add(w row) {
	r.Rows = slices.DeleteFunc(r.Rows, func(o row) bool { return o.Test == w.Test && o.Package == w.Package })
	r.Rows = append(r.Rows, w)
	slices.SortFunc(r.Rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Test, b.Test)) })
}

// say tells the row as soon as it is there.
func (w *row) say(out io.Writer) {
	fmt.Fprintf(out, "%s %s: %d tried, %d failed, %.1f s\n", w.Package, w.Test, w.Tried, w.Failed, w.Seconds)
	if w.Why != "" {
		fmt.Fprintln(out, w.Why)
	}
	for _, line := range w.Said {
		fmt.Fprintln(out, "  "+line)
	}
}

// shares is the finest part of a size that a budget can name.
const shares = 10_000

// share is the part of every size that fits into left, by what a trial at the ordinary sizes took: a test whose size does not follow what
// is asked of it takes the same again, another as much more as it has cases.
func share(trial []row, left time.Duration) int {
	seconds := func(over int) (sum float64) {
		for _, w := range trial {
			times := 1.0
			if w.Size > 0 {
				times = max(1, float64(w.Asked)*float64(over)/shares/float64(w.Size))
			}
			sum += w.Seconds * times
		}
		return sum / atOnce
	}
	low, high := 1, shares
	for low < high {
		if middle := (low + high + 1) / 2; seconds(middle) <= left.Seconds() {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

func rounded(d time.Duration) float64 { return float64(d.Milliseconds()/10) / 100 }

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s, %d cores, Linux %s, %s, %s\n%s\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.TPM, r.Mode)
	const form = "%10v %10v %7v %8v  %-12.12s  %s\n"
	fmt.Fprintf(out, form, "asked", "run", "failed", "seconds", "commit", "test")
	for _, t := range r.Rows {
		fmt.Fprintf(out, form, max(t.Asked, t.Tried), t.Tried, t.Failed, t.Seconds, t.Commit, t.Package+" "+t.Test)
	}
}

func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
