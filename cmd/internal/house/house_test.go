package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/leasehold/leasehold"

// file is one parsed source file.
type file struct {
	path string // from the module's root
	pkg  string // directory of it
	test bool
	ast  *ast.File
	text string
}

func imports(f file) []string {
	var out []string
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func files(t *testing.T) (*token.FileSet, []file) {
	t.Helper()
	top := root(t)
	set := token.NewFileSet()
	var out []file
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "testdata" || n == "node_modules" || strings.HasPrefix(n, ".") && path != top {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		a, err := parser.ParseFile(set, path, b, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		out = append(out, file{rel, filepath.ToSlash(filepath.Dir(rel)), strings.HasSuffix(rel, "_test.go"), a, string(b)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d files were found: the test looks in the wrong place", len(out))
	}
	return set, out
}

// layers says for every package which layer it is in. A package that is in none has no room in this house.
func layer(pkg string) (int, bool) {
	switch pkg {
	case "hostid", "capability":
		return 0, true
	case "tpm/attest", "capability/wire", "capability/model", "capability/ledger", "capability/ledger/history", "capability/entitlement":
		return 1, true
	case "storage", "tpm", "hostid/probe", "hostid/dongle", "systemd", "capability/client", "capability/web", "capability/web/issuer", "capability/directory", "image":
		return 2, true
	case "appliance", "appliance/certificate", "appliance/console", "appliance/metrics", "appliance/courier", "capability/backoffice", "capability/backoffice/portal":
		return 3, true
	case "tpm/tpmtest", "tpm/attest/attesttest", "hostid/dongle/dongletest", "hostid/probe/probetest", "storage/storagetest", "capability/capabilitytest", "capability/directory/directorytest", "capability/web/issuer/issuertest", "image/lint", "image/packaging", "image/vmtest":
		return 5, true
	}
	if strings.HasPrefix(pkg, "cmd/") {
		return 4, true
	}
	return 0, false
}

// allowed is the layer table: may a package import another of ours?
func allowed(from, to string) bool {
	if from == to {
		return true
	}
	a, okA := layer(from)
	b, okB := layer(to)
	if !okA || !okB {
		return false
	}
	switch a {
	case 0:
		return from == "capability" && to == "hostid"
	case 1:
		if b == 0 {
			return true
		}
		if from == "capability/ledger/history" {
			return to == "capability/ledger" || to == "capability/wire" // it reads entries
		}
		return (from == "capability/ledger" || from == "capability/entitlement") && (to == "capability/model" || to == "capability/wire")
	case 2:
		return b <= 1 || from == "capability/web/issuer" && to == "capability/web"
	case 3:
		// The back office keeps its book with the storage code of layer 2; nothing else of layer 3 reaches below itself but to words and pure packages.
		return b <= 1 || from == "appliance/metrics" && to == "appliance/console" || from == "appliance/console" && (to == "appliance" || to == "appliance/certificate" || to == "capability/web") || from == "capability/backoffice" && to == "storage" ||
			from == "capability/backoffice/portal" && (to == "capability/backoffice" || to == "capability/web" || to == "capability/web/issuer")
	case 4:
		return b != 5
	}
	return b != 4
}

func TestLayers(t *testing.T) {
	set, all := files(t)
	for _, f := range all {
		if _, ok := layer(f.pkg); !ok {
			t.Errorf("%s: package %s has no room in the house", f.path, f.pkg)
			continue
		}
		for _, imp := range imports(f) {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			if f.test && !strings.HasPrefix(to, "cmd/") {
				continue // tests may use every package but programs
			}
			if !allowed(f.pkg, to) && !unshipped(f.pkg, to) {
				t.Errorf("%s: %s may not import %s", set.Position(f.ast.Package).Filename, f.pkg, to)
			}
		}
	}
}

// unshipped programs are for this repository only, and start software TPMs.
func unshipped(from, to string) bool {
	return slices.Contains([]string{"cmd/internal/demo", "cmd/internal/bench", "cmd/internal/flood", "cmd/internal/rig"}, from) && to == "tpm/tpmtest"
}

func TestTableCanRefuse(t *testing.T) {
	for _, arrow := range [][2]string{
		{"storage", "tpm"}, {"tpm", "storage"}, {"capability", "capability/wire"}, {"capability/ledger", "storage"}, {"capability/wire", "tpm/attest"},
		{"appliance", "storage"}, {"appliance", "tpm"}, {"cmd/leaseholdd", "tpm/tpmtest"}, {"hostid", "capability"}, {"capability/client", "storage"}, {"appliance", "cmd/leasehold"},
	} {
		if allowed(arrow[0], arrow[1]) {
			t.Errorf("%s may import %s", arrow[0], arrow[1])
		}
	}
}

// Pure packages know no clock, no disk, no network, no chance, no lock and no log.
func TestPurity(t *testing.T) {
	_, all := files(t)
	forbidden := []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "sync", "sync/atomic", "log", "log/slog", "os/exec", "syscall", "golang.org/x/sys/unix", "io/ioutil", "path/filepath"}
	for _, f := range all {
		n, _ := layer(f.pkg)
		if f.test || n > 1 {
			continue
		}
		for _, imp := range imports(f) {
			if slices.Contains(forbidden, imp) {
				t.Errorf("%s imports %s, and %s is pure", f.path, imp, f.pkg)
			}
			if n == 0 && strings.Contains(imp, ".") && !strings.HasPrefix(imp, module) {
				t.Errorf("%s imports %s, and words need only the standard library", f.path, imp)
			}
			if f.pkg == "tpm/attest" && strings.HasPrefix(imp, "github.com/google/go-tpm/tpm2/transport") {
				t.Errorf("%s imports %s: a verifier has no TPM", f.path, imp)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s starts a goroutine, and %s is pure", f.path, f.pkg)
			}
			return true
		})
	}
}

// The clock is read in programs, in systemd, in the SDK and in tests only; other programs are run and connections made only where that is the job.
func TestCallsInTheirPlaces(t *testing.T) {
	set, all := files(t)
	places := []struct {
		call  string
		where []string
	}{
		{"time.Now", []string{"cmd/", "systemd", "capability/client", "tpm/tpmtest", "storage/storagetest", "capability/capabilitytest", "capability/directory/directorytest", "capability/web/issuer/issuertest"}},
		{"time.Since", []string{"cmd/", "systemd", "capability/client", "tpm/tpmtest", "storage/storagetest"}},
		{"time.Sleep", []string{"tpm"}}, // a TPM that is busy says: try again later
		{"exec.Command", []string{"cmd/", "tpm/tpmtest", "capability/directory/directorytest", "image/vmtest"}},
		{"exec.CommandContext", []string{"cmd/", "tpm/tpmtest", "image/vmtest"}},
		{"net.Dial", []string{"cmd/", "tpm", "tpm/tpmtest", "capability/client", "capability/directory/directorytest"}},
		{"os.Exit", []string{"cmd/"}},
	}
	for _, f := range all {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			for _, p := range places {
				if x.Name+"."+sel.Sel.Name != p.call {
					continue
				}
				if f.test && p.call != "time.Sleep" {
					continue
				}
				if !slices.ContainsFunc(p.where, func(w string) bool {
					return f.pkg == strings.TrimSuffix(w, "/") || strings.HasSuffix(w, "/") && strings.HasPrefix(f.pkg, w)
				}) {
					t.Errorf("%s: %s has no business in %s", set.Position(sel.Pos()), p.call, f.pkg)
				}
			}
			return true
		})
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	_, all := files(t)
	has := map[string]bool{}
	for _, f := range all {
		if f.test {
			continue
		}
		has[f.pkg] = has[f.pkg] || f.ast.Doc != nil && len(f.ast.Doc.Text()) > 40
	}
	for pkg, ok := range has {
		if !ok {
			t.Errorf("%s has no package comment that a newcomer could act on", pkg)
		}
	}
}

// No init, no package-level variable that could change, no name that says nothing, no message that says "failed to".
func TestHabits(t *testing.T) {
	set, all := files(t)
	vague := regexp.MustCompile(`(?i)(manager|service|helper|util)s?$`)
	for _, f := range all {
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc", "types", "models"}, f.ast.Name.Name) {
			t.Errorf("%s: a package called %s", f.path, f.ast.Name.Name)
		}
		if !f.test && regexp.MustCompile(`"[^"\n]*failed to `).MatchString(f.text) {
			t.Errorf("%s says \"failed to\"", f.path)
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: init", set.Position(d.Pos()))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if vague.MatchString(s.Name.Name) && s.Name.IsExported() {
							t.Errorf("%s: a type called %s", set.Position(s.Pos()), s.Name.Name)
						}
					case *ast.ValueSpec:
						if n, _ := layer(f.pkg); d.Tok == token.VAR && !f.test && n != 5 && !constant(s) {
							t.Errorf("%s: package-level variable %s could change", set.Position(s.Pos()), s.Names[0].Name)
						}
					}
				}
			}
		}
	}
}

// constant accepts what Go can only write as a variable: errors, embedded files, and assertions that a type satisfies an interface.
func constant(s *ast.ValueSpec) bool {
	for i, n := range s.Names {
		if n.Name == "_" || strings.HasPrefix(n.Name, "Err") {
			continue
		}
		if sel, ok := s.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "FS" {
			continue
		}
		if i >= len(s.Values) {
			return false
		}
		call, ok := s.Values[i].(*ast.CallExpr)
		if !ok {
			return false
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || !(x.Name == "errors" && sel.Sel.Name == "New" || x.Name == "fmt" && sel.Sel.Name == "Errorf") {
			return false
		}
	}
	return true
}

// What a program links is decided here, module by module; a new one comes with its reason in the commit that adds it.
func TestDependencies(t *testing.T) {
	top := root(t)
	b, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "\nreplace ") {
		t.Error("go.mod replaces a module")
	}
	_, all := files(t)
	trust := map[string]bool{}
	for _, f := range all {
		if f.test || !slices.Contains([]string{"capability/wire", "capability/ledger", "storage", "tpm", "tpm/attest", "hostid", "hostid/probe"}, f.pkg) {
			continue
		}
		for _, imp := range imports(f) {
			if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") && !strings.HasPrefix(imp, module) {
				parts := strings.Split(imp, "/")
				trust[strings.Join(parts[:min(3, len(parts))], "/")] = true
			}
		}
	}
	if len(trust) > 6 || len(trust) == 0 {
		t.Errorf("the trust core imports %d modules where at most 6 are allowed: %v", len(trust), trust)
	}
	for _, f := range all {
		if f.test {
			continue
		}
		for _, imp := range imports(f) {
			if strings.Contains(imp, "veraison/go-cose") {
				t.Errorf("%s imports %s, which is for tests", f.path, imp)
			}
			// They bring much with them, and a machine that asks needs none of it.
			if (strings.Contains(imp, "go-tpm-tools") || strings.Contains(imp, "go-eventlog")) && f.pkg != "capability/backoffice" {
				t.Errorf("%s imports %s, which is for the back office", f.path, imp)
			}
		}
	}
}

// On the top level is what was given, and dot-files.
func TestTopLevel(t *testing.T) {
	given := strings.Fields("cmd appliance hostid tpm capability storage systemd image go.mod go.sum Makefile README.md LICENSE bin dist")
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(given, e.Name()) {
			t.Errorf("%s is not of the top level", e.Name())
		}
	}
}

// What a merge, a patch or an editor leaves is no part of the repository.
func TestNoLeftovers(t *testing.T) {
	top := root(t)
	if err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == ".git" {
			return filepath.SkipDir
		}
		if leftover(e.Name()) {
			t.Errorf("%s is a leftover", strings.TrimPrefix(path, top+"/"))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"files.go.orig": true, "files.go.rej": true, "files.go~": true, "original.go": false, "orig": false, "a~b.go": false} {
		if leftover(name) != want {
			t.Errorf("%s: %v, want %v", name, !want, want)
		}
	}
}

func leftover(name string) bool {
	return strings.HasSuffix(name, ".orig") || strings.HasSuffix(name, ".rej") || strings.HasSuffix(name, "~")
}
