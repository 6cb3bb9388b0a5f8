package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// The library is tested from C, as it is used: built by make lib, with programs that gcc compiles as strictly as it can, against a real daemon with a software TPM.

// site is a daemon that serves 200 of render and 1,000 pages, and the library.
type site struct {
	dir string // lib, trust, other
	box *rig.Box
}

type lazySite struct {
	once sync.Once
	site *site
	err  error
}

var theSite lazySite

func TestMain(m *testing.M) {
	code := m.Run()
	if s := theSite.site; s != nil {
		s.box.Close()
		os.RemoveAll(s.dir)
	}
	os.Exit(code)
}

func theLibrary(t *testing.T) *site {
	t.Helper()
	theSite.once.Do(func() {
		dir, err := os.MkdirTemp("", "lh")
		if err == nil {
			theSite.site = &site{dir: dir, box: &rig.Box{Dir: dir, Program: filepath.Join(dir, "bin", "leaseholdd"), Trust: filepath.Join(dir, "trust")}}
			err = theSite.site.make()
		}
		theSite.err = err
	})
	if theSite.err != nil {
		t.Fatal(theSite.err)
	}
	return theSite.site
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) make() error {
	if err := rig.Build(s.path("bin"), "../leaseholdd", "../freehold"); err != nil {
		return err
	}
	if out, err := exec.Command("make", "-C", "../..", "lib", "LIB="+s.path("lib")).CombinedOutput(); err != nil {
		return fmt.Errorf("make lib, which needs gcc (make deps): %w\n%s", err, out)
	}
	if err := os.WriteFile(s.path("pass"), []byte("a passphrase that nobody guesses\n"), 0o600); err != nil {
		return err
	}
	office := rig.Office{Program: s.path("bin/freehold"), Dir: s.path("fh"), Passphrase: s.path("pass")}
	other := rig.Office{Program: office.Program, Dir: s.path("fh2"), Passphrase: office.Passphrase}
	if _, err := other.Run("init", "--producer", "Others", "--trust", s.path("other"), "--minimum-tier", "software"); err != nil {
		return err
	}
	if _, err := office.Run("init", "--producer", "Works", "--trust", s.path("trust"), "--minimum-tier", "software"); err != nil {
		return err
	}
	if err := s.box.Open(tpmtest.P256); err != nil {
		return err
	}
	if err := s.box.Start(); err != nil {
		return err
	}
	for _, entitled := range []struct {
		copies uint32
		args   []string
	}{{200, []string{"--feature", "render:2026.1"}}, {1000, []string{"--feature", "pages:1.0", "--metered", "--undo", "1h"}}} {
		id, err := office.Entitle(append([]string{"--customer", "Acme", "--product", "Render", "--count", fmt.Sprint(entitled.copies)}, entitled.args...)...)
		if err != nil {
			return err
		}
		if err := office.Activate(s.box, id, entitled.copies); err != nil {
			return err
		}
	}
	return nil
}

// compile makes a program of a C file. What the compiler has to say of it is an error.
func (s *site) compile(t *testing.T, source string, more ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	args := append([]string{"-std=c11", "-D_DEFAULT_SOURCE", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-I" + s.path("lib"), source,
		"-L" + s.path("lib"), "-lleasehold", "-lpthread", "-Wl,-rpath," + s.path("lib"), "-o", program}, more...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", source, err, out)
	}
	return program
}

// run is a program's output. It must end with 0.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(program), err, out)
	}
	return string(out)
}

const saidBySample = "held 1, for a while\nused 3 pages\nundone\nreleased\n"

func TestSample(t *testing.T) {
	s := theLibrary(t)
	sample := s.compile(t, "sample/sample.c")
	for range 2 { // what it leaves behind is nothing
		if out := run(t, sample, s.box.Address(), s.path("trust"), t.TempDir()); out != saidBySample {
			t.Errorf("the sample says\n%s", out)
		}
	}
	var seats []struct{ Used uint64 }
	if err := s.box.Ask("GET", "features", nil, &seats); err != nil {
		t.Fatal(err)
	}
	for _, f := range seats {
		if f.Used != 0 {
			t.Errorf("%+v are in use when the sample has ended", seats)
		}
	}
}

// Every wrong argument, a dead server, another producer, no seat: a code each, and no crash.
func TestWrong(t *testing.T) {
	s := theLibrary(t)
	program := s.compile(t, "testdata/wrong.c")
	out := run(t, program, s.wrongs(t)...)
	if !strings.HasSuffix(out, ", 0 wrong\n") {
		t.Error(out)
	}
	t.Log(out)
}

// wrongs are the arguments of wrong.c, with a new directory.
func (s *site) wrongs(t *testing.T) []string {
	return []string{s.box.Address(), s.path("trust"), t.TempDir(), "127.0.0.1:1", s.path("other")}
}

// Nothing leaks that C could see, and no access is wrong. Valgrind watches every allocation of the C library, also those that cgo makes for the runtime; what it has
// to say of the runtime's own stacks, which it takes for errors, is not asked. The sanitizers of gcc watch the caller, and what the library reads and writes there.
// Both are shown a leak, so that it is known that they would find one.
func TestLeaks(t *testing.T) {
	s := theLibrary(t)
	lost := regexp.MustCompile(`(definitely|indirectly) lost: ([\d,]+) bytes in ([\d,]+) blocks`)
	for _, row := range []struct {
		program string
		leaks   bool
	}{{s.compile(t, "testdata/wrong.c"), false}, {s.compile(t, "testdata/wrong.c", "-DPLANT_A_LEAK"), true}} {
		args := append([]string{"--leak-check=full", "--undef-value-errors=no", row.program}, s.wrongs(t)...)
		c := exec.Command("valgrind", args...)
		c.Env = append(os.Environ(), "HOME="+t.TempDir())
		said, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("valgrind (make deps): %v\n%s", err, said)
		}
		found := lost.FindAllSubmatch(said, -1)
		leaks := slices.ContainsFunc(found, func(f [][]byte) bool { return string(f[2]) != "0" })
		if len(found) != 2 && !strings.Contains(string(said), "no leaks are possible") || leaks != row.leaks {
			t.Errorf("a leak is planted: %t; valgrind says\n%s", row.leaks, said)
		}
		t.Logf("valgrind, a leak planted %t: %q", row.leaks, found)
	}
	for _, more := range [][]string{{}, {"-DPLANT_A_LEAK"}} {
		program := s.compile(t, "testdata/wrong.c", append(more, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")...)
		c := exec.Command(program, s.wrongs(t)...)
		c.Env = append(os.Environ(), "HOME="+t.TempDir())
		said, err := c.CombinedOutput()
		if leaks := strings.Contains(string(said), "LeakSanitizer: detected memory leaks"); leaks != (len(more) > 0) || (err != nil) != leaks {
			t.Errorf("with %q: %v\n%s", more, err, said)
		}
	}
}

func TestThreads(t *testing.T) {
	s := theLibrary(t)
	out := run(t, s.compile(t, "testdata/threads.c"), s.box.Address(), s.path("trust"), t.TempDir())
	if out != "100 threads, 0 wrong\n" {
		t.Error(out)
	}
}

// The header alone is C and C++, and the library shows only what is in it.
func TestHeader(t *testing.T) {
	s := theLibrary(t)
	header, err := os.ReadFile("leasehold.h")
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range [][]string{{"-x", "c", "-std=c99"}, {"-x", "c", "-std=c17"}} {
		args := append(as, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "leasehold.h")
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	out, err := exec.Command("nm", "-D", "--defined-only", "--format=just-symbols", s.path("lib/libleasehold.so")).Output()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, name := range strings.Fields(string(out)) {
		name, _, _ = strings.Cut(name, "@")
		shown[name] = true
	}
	delete(shown, "LEASEHOLD_1")
	delete(shown, "LEASEHOLD_2")
	declared := regexp.MustCompile(`(?m)^(?:int32_t|size_t) (leasehold_\w+)\(`).FindAllStringSubmatch(string(header), -1)
	if len(declared) != 13 {
		t.Errorf("%d functions are declared", len(declared))
	}
	for _, d := range declared {
		if !shown[d[1]] {
			t.Errorf("%s is declared, and not there", d[1])
		}
		delete(shown, d[1])
	}
	if len(shown) > 0 {
		t.Errorf("the library shows besides: %v", shown)
	}
	entries, err := os.ReadDir(s.path("lib"))
	if err != nil || len(entries) != 2 {
		t.Errorf("make lib leaves %v, %v", entries, err)
	}
}
