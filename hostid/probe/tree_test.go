package probe

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/leasehold/leasehold/hostid/probe/probetest"
)

const dir = "testdata/trees"

func archive(t testing.TB, name string) *txtar.Archive { return probetest.Read(t, dir, name) }

func trees(t testing.TB) []string { return probetest.Trees(t, dir) }

func plant(t testing.TB, a *txtar.Archive) *os.Root { return probetest.Plant(t, a) }

func open(t testing.TB, dir string) *os.Root { return probetest.Open(t, dir) }

func place(root *os.Root, name string, text []byte) error { return probetest.Place(root, name, text) }

func options(t testing.TB, a *txtar.Archive) Options { return Options{Given: probetest.Given(t, a)} }

func reader(t testing.TB, files ...string) *tree {
	t.Helper()
	a := new(txtar.Archive)
	for _, f := range files {
		a.Files = append(a.Files, txtar.File{Name: f, Data: []byte("text\n")})
	}
	return &tree{root: plant(t, a)}
}

func TestReadsAreBounded(t *testing.T) {
	tr := reader(t, "d/file", "d/pipe (fifo)", "d/full (long 4096)", "d/over (long 4098)", "d/link -> file", "d/out -> /etc/passwd", "d/dir/x", "d/self -> self",
		"d/up -> ../../../../../../etc", "d/toward -> dir", "d/far -> toward", "d/lost -> nothing", "d/away -> ../d/dir/../../d/dir")
	for name, want := range map[string]error{
		"d/file": nil, "d/full": nil, "d/over": long, "d/pipe": irregular, "d/link": irregular, "d/out": irregular, "d/dir": irregular, "d/none": fs.ErrNotExist, "d/file/below": fs.ErrNotExist,
		"d/up/passwd": broken, "../etc/passwd": broken, "/etc/passwd": broken,
	} {
		if s, err := tr.read(name); !errors.Is(err, want) || err != nil && s != "" {
			t.Errorf("%s: %q, %v, want %v", name, shown(s), err, want)
		}
	}
	if s := tr.head("d/over", 100); len(s) != 100 {
		t.Errorf("the head has %d bytes", len(s))
	}
	for name, want := range map[string]error{
		"d": nil, "d/dir": nil, "d/toward": nil, "d/far": nil, "d/away": nil, "d/file": irregular, "d/pipe": irregular, "d/out": astray, "d/self": astray, "d/up": astray, "d/lost": astray, "d/none": fs.ErrNotExist,
	} {
		to, err := tr.follow(name)
		if !errors.Is(err, want) {
			t.Errorf("%s leads to %q, %v, want %v", name, to, err, want)
		}
		if want == nil && name != "d" && to != "d/dir" {
			t.Errorf("%s leads to %q", name, to)
		}
	}
	if _, err := tr.list("d/pipe"); err == nil {
		t.Error("a pipe is listed")
	}
}

func TestDirectoriesAreBounded(t *testing.T) {
	dir := t.TempDir()
	tr := &tree{root: open(t, dir)}
	for i := range maxEntries + 1 {
		if i == maxEntries {
			if names, err := tr.list("."); err != nil || len(names) != maxEntries {
				t.Fatalf("%d names, %v", len(names), err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := tr.list("."); !errors.Is(err, crowded) {
		t.Errorf("%d names, %v", len(names), err)
	}
}

func TestAllReadsTogetherAreBounded(t *testing.T) {
	tr := reader(t, "file", "dir/x")
	tr.reads = maxReads - 1
	if _, err := tr.read("file"); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.read("file"); !errors.Is(err, exhausted) {
		t.Error(err)
	}
	if _, err := tr.list("dir"); !errors.Is(err, exhausted) {
		t.Error(err)
	}
	if _, err := tr.follow("dir"); !errors.Is(err, exhausted) {
		t.Error(err)
	}
	if tr.has("file") {
		t.Error("still looking")
	}
}
