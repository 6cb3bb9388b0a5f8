package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outcome is what became of a planted bug.
type outcome string

const (
	found         outcome = "found"
	notFound      outcome = "not found"
	noPatch       outcome = "does not apply"
	doesNotBuild  outcome = "does not compile"
	outOfTime     outcome = "timed out"
	leastTestTime         = 30 * time.Second // and four times what the tests take without a bug
)

// verdict is what became of one mutant.
type verdict struct {
	Package string  `json:"package"`
	Name    string  `json:"name"`
	Bug     string  `json:"bug"`
	Outcome outcome `json:"outcome"`
	Test    string  `json:"test,omitempty"` // that found it
	In      string  `json:"in,omitempty"`   // the package of that test
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

func (v verdict) String() string {
	switch v.Outcome {
	case found:
		return fmt.Sprintf("%s/%s: found by %s (in %s) in %.1f s", v.Package, v.Name, v.Test, v.In, v.Seconds)
	case notFound:
		return fmt.Sprintf("%s/%s: not found: %s", v.Package, v.Name, v.Bug)
	}
	return fmt.Sprintf("%s/%s: %s: %s", v.Package, v.Name, v.Outcome, v.Detail)
}

// field is where bugs are planted.
type field struct {
	root, work string
	seconds    map[string]float64 // that the tests of each package take without a bug
}

// unplanted runs the tests of every package that a mutant names, without a bug, and says how long each took with its build.
func (f field) unplanted(ctx context.Context, all []mutant) (map[string]float64, error) {
	var packages []string
	for _, m := range all {
		packages = append(packages, m.Tests...)
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	took := map[string]float64{}
	var lock sync.Mutex
	var bad []error
	each(len(packages), func(i int) {
		begin := time.Now()
		s, err := f.site(fmt.Sprintf("u%d", i))
		var r result
		if err == nil {
			r, err = s.try(ctx, packages[i], "", 10*time.Minute)
		}
		if err == nil && r.failed() {
			err = fmt.Errorf("%s in %s: %s", r.test, packages[i], r.tail)
		}
		lock.Lock()
		defer lock.Unlock()
		if err != nil {
			bad = append(bad, err)
		}
		took[packages[i]] = seconds(begin)
	})
	return took, errors.Join(bad...)
}

// plant lays one bug over the source and runs the tests that must find it.
func (f field) plant(ctx context.Context, m mutant) verdict {
	begin := time.Now()
	v := verdict{Package: m.Package, Name: m.Name, Bug: m.Bug, Outcome: notFound}
	s, err := f.site(fmt.Sprintf("%s-%s", filepath.Base(m.Package), m.Name))
	if err == nil {
		defer os.RemoveAll(s.dir)
		err = s.cover(filepath.Join(f.root, m.Package), m.changes)
	}
	if err != nil {
		v.Outcome, v.Detail = noPatch, err.Error()
		return v
	}
	for _, p := range m.Tests {
		r, err := s.try(ctx, p, m.Run, max(leastTestTime, time.Duration(4*f.seconds[p]*float64(time.Second))))
		switch {
		case err != nil:
			v.Outcome, v.Detail = doesNotBuild, err.Error()
		case r.failed() && r.test == "":
			v.Outcome, v.Detail = outOfTime, r.tail
		case r.failed():
			v.Outcome, v.Test, v.In = found, r.test, p
		default:
			continue
		}
		break
	}
	v.Seconds = seconds(begin)
	return v
}

// site is a directory with what is laid over the source.
type site struct {
	root, dir string
	overlay   string // empty is none
}

func (f field) site(name string) (site, error) {
	s := site{root: f.root, dir: filepath.Join(f.work, name)}
	return s, os.MkdirAll(filepath.Join(s.dir, "t"), 0o777)
}

// cover makes the patched files.
func (s *site) cover(dir string, changes []change) error {
	replace := map[string]string{}
	for i, c := range changes {
		path := filepath.Join(dir, c.file)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		patched, err := c.apply(string(text))
		if err != nil {
			return err
		}
		replace[path] = filepath.Join(s.dir, fmt.Sprintf("%d-%s", i, filepath.Base(c.file)))
		if err := os.WriteFile(replace[path], []byte(patched), 0o666); err != nil {
			return err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	s.overlay = filepath.Join(s.dir, "overlay.json")
	return os.WriteFile(s.overlay, b, 0o666)
}

// result is what the tests of a package said.
type result struct {
	ok   bool
	test string // the one that failed; empty if the time was over and no test is to blame
	tail string // the end of what was printed
}

func (r result) failed() bool { return !r.ok }

// try builds the tests of a package and runs them. An error is about the build.
func (s site) try(ctx context.Context, pkg, run string, limit time.Duration) (result, error) {
	env := append(os.Environ(), "TMPDIR="+filepath.Join(s.dir, "t"))
	if s.overlay != "" { // tests may build programs; they are planted too
		env = append(env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+s.overlay))
	}
	binary := filepath.Join(s.dir, "tests")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", binary, "./"+filepath.ToSlash(pkg))
	build.Dir, build.Env = s.root, env
	if out, err := build.CombinedOutput(); err != nil {
		return result{}, fmt.Errorf("%s", tail(out))
	}
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second) // for tests that do not even time out
	defer cancel()
	tests := exec.CommandContext(ctx, binary, "-test.v", "-test.short", "-test.failfast", "-test.count=1", "-test.timeout="+limit.String(), "-test.run="+run)
	var out bytes.Buffer
	tests.Dir, tests.Env, tests.Stdout, tests.Stderr = filepath.Join(s.root, pkg), env, &out, &out
	// A group of their own, so that what the tests started ends with them, however they end.
	tests.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tests.Cancel = func() error { return syscall.Kill(-tests.Process.Pid, syscall.SIGKILL) }
	tests.WaitDelay = time.Second
	if err := tests.Start(); err != nil {
		return result{}, err
	}
	err := tests.Wait()
	_ = syscall.Kill(-tests.Process.Pid, syscall.SIGKILL) // most times there is nobody left
	return judge(out.Bytes(), err == nil, ctx.Err() != nil), nil
}

// judge reads from the output of verbose tests which of them failed.
func judge(out []byte, ok, killed bool) result {
	r := result{ok: ok, tail: tail(out)}
	last := func(re string) string {
		all := regexp.MustCompile(re).FindAllSubmatch(out, -1)
		if len(all) == 0 {
			return ""
		}
		return string(all[len(all)-1][1])
	}
	failed := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindSubmatch(out)
	switch {
	case ok:
	case failed != nil:
		r.test = string(failed[1])
	case bytes.Contains(out, []byte("panic: test timed out after")):
		if r.test = last(`(?m)^\trunning tests:\n\t\t(\S+) \(`); r.test != "" {
			r.test += ", which did not end,"
		}
	case !killed: // it panicked, or ended the process
		r.test = last(`(?m)^=== (?:RUN|CONT|NAME)\s+(\S+)$`)
		if r.test == "" {
			r.test = "what comes before the tests"
		}
	}
	return r
}

// tail is the end of a text that may be long.
func tail(out []byte) string {
	const most = 600
	out = bytes.TrimSpace(out)
	return string(out[max(0, len(out)-most):])
}
