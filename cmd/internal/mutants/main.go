// Mutants plants bugs in the source, one at a time, and says which test finds each: a bug that no test finds is a missing test.
//
//	mutants [-package P]... [-name N]... [-json FILE]
//
// A bug is a file NAME.patch in the directory testdata/mutants of a package. Its first line says in words what the bug is; then may follow
//
//	tests: ./storage ./appliance   (the packages whose tests must find it; without this line that of the patch)
//	run: REGEXP                    (only these tests)
//
// and then a unified diff, with paths from the package of the patch. Nothing in the tree changes: the build lays the patched file over the source.
// Before any bug is planted every package must pass its tests as it is, or nothing after would mean anything. The status is 1 unless every bug is
// found; one that does not apply any more, or does not compile, is not found.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// atOnce is how many builds and tests run side by side. Most tests are themselves concurrent.
const atOnce = 2

func main() {
	var want selection
	flag.Func("package", "plant only the bugs of this `package`, a directory like ./capability/model; may be repeated", want.addPackage)
	flag.Func("name", "plant only the bug of this `name`; may be repeated", want.addName)
	report := flag.String("json", "", "write what was found to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	lost, err := hunt(ctx, want, *report, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if err != nil || lost > 0 {
		os.Exit(1)
	}
}

// selection is what was asked for; empty lists ask for all.
type selection struct{ packages, names []string }

func (s *selection) addPackage(p string) error {
	s.packages = append(s.packages, filepath.Clean(p))
	return nil
}

func (s *selection) addName(n string) error {
	s.names = append(s.names, strings.TrimSuffix(n, ".patch"))
	return nil
}

func (s *selection) has(m mutant) bool {
	return (len(s.packages) == 0 || slices.Contains(s.packages, m.Package)) && (len(s.names) == 0 || slices.Contains(s.names, m.Name))
}

// summary is the report of a run.
type summary struct {
	Unplanted map[string]float64 `json:"unplanted"` // seconds that the tests of each package took without a bug, build included
	Mutants   []verdict          `json:"mutants"`
	Found     int                `json:"found"`
	Lost      int                `json:"lost"`
	Seconds   float64            `json:"seconds"`
}

// hunt plants what is wanted, says a line for each bug, and counts those that were not found.
func hunt(ctx context.Context, want selection, report string, out io.Writer) (lost int, err error) {
	begin := time.Now()
	root, err := moduleRoot()
	if err != nil {
		return 0, err
	}
	all, err := collect(root, want)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "m") // short, because tests have sockets below it
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	f := field{root: root, work: work}
	s := summary{Mutants: make([]verdict, len(all))}
	if s.Unplanted, err = f.unplanted(ctx, all); err != nil {
		return 0, fmt.Errorf("nothing was planted, because the tests must pass without a bug first: %w", err)
	}
	f.seconds = s.Unplanted
	var talk sync.Mutex
	each(len(all), func(i int) {
		v := f.plant(ctx, all[i])
		talk.Lock()
		defer talk.Unlock()
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintln(out, v)
		s.Mutants[i] = v
		if v.Outcome == found {
			s.Found++
		} else {
			s.Lost++
		}
	})
	if ctx.Err() != nil {
		return 0, fmt.Errorf("ended before all was planted: %w", context.Cause(ctx))
	}
	s.Seconds = seconds(begin)
	fmt.Fprintf(out, "%d found, %d not\n", s.Found, s.Lost)
	if report == "" {
		return s.Lost, nil
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s.Lost, err
	}
	return s.Lost, os.WriteFile(report, append(b, '\n'), 0o666)
}

// each calls do for 0 to n-1, some at once, and returns when all are done.
func each(n int, do func(i int)) {
	var all sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i := range n {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			do(i)
		})
	}
	all.Wait()
}

func seconds(since time.Time) float64 {
	return time.Since(since).Round(100 * time.Millisecond).Seconds()
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in this directory or above")
		}
	}
	return "", err
}

// collect reads the wanted patches of the tree, in the order of their paths.
func collect(root string, want selection) ([]mutant, error) {
	var all []mutant
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		dir, is := strings.CutSuffix(filepath.Dir(path), filepath.FromSlash("/testdata/mutants"))
		if d.IsDir() || !is || filepath.Ext(path) != ".patch" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		m, err := read(pkg, strings.TrimSuffix(filepath.Base(path), ".patch"), string(text))
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if want.has(m) {
			all = append(all, m)
		}
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("there is no such patch below %s", root)
	}
	return all, err
}
