// Package probetest makes machines of text, for tests of what a machine shows of itself.
//
// A tree is a txtar archive: a file is its text, "NAME -> TARGET" a link, "NAME (hex)" a file of such bytes, "NAME (fifo)" a pipe that nobody writes to,
// "NAME (long N)" a file of N letters. Lines "given: VALUE/TYPE" of the comment before them are host IDs that the tree itself does not show.
package probetest

import (
	"encoding/hex"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/hostid"
)

// Trees are the names of the archives in dir.
func Trees(t testing.TB, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d trees in %s, %v", len(files), dir, err)
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".txtar"))
	}
	return names
}

// Read is one of them.
func Read(t testing.TB, dir, name string) *txtar.Archive {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join(dir, name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Given is what an archive's comment hands in: keys of a TPM as proven, all else as told.
func Given(t testing.TB, a *txtar.Archive) (given []hostid.Finding) {
	t.Helper()
	for l := range strings.Lines(string(a.Comment)) {
		s, ok := strings.CutPrefix(strings.TrimSpace(l), "given: ")
		if !ok {
			continue
		}
		id, err := hostid.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		f := hostid.Finding{ID: id, Strength: hostid.Told, Source: "the test"}
		if id.Type == hostid.TPMEK || id.Type == hostid.TPMAK {
			f.Strength = hostid.Proven
		}
		given = append(given, f)
	}
	return given
}

// Plant makes a tree of an archive.
func Plant(t testing.TB, a *txtar.Archive) *os.Root {
	t.Helper()
	root := Open(t, t.TempDir())
	for _, f := range a.Files {
		if err := Place(root, f.Name, f.Data); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Open opens a directory until the test ends.
func Open(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// Place makes one file of a tree, and nothing outside of it, wherever its links lead.
func Place(root *os.Root, name string, text []byte) error {
	name, target, link := strings.Cut(name, " -> ")
	name, kind, _ := strings.Cut(name, " (")
	kind = strings.TrimSuffix(kind, ")")
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if link {
		return root.Symlink(target, name)
	}
	length, long := strings.CutPrefix(kind, "long ")
	switch {
	case kind == "fifo":
		dir, err := root.OpenFile(path.Dir(name), syscall.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer dir.Close()
		return unix.Mkfifoat(int(dir.Fd()), path.Base(name), 0o644)
	case kind == "hex":
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		return errors.Join(err, root.WriteFile(name, b, 0o644))
	case long:
		n, err := strconv.Atoi(length)
		return errors.Join(err, root.WriteFile(name, []byte(strings.Repeat("A9", min(max(n, 0), 1<<20)/2)), 0o644))
	}
	return root.WriteFile(name, text, 0o644)
}
