package storage_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// onDisk are the options of a vault in a real directory, tasks beside the caller as in a program.
func onDisk(anchor bool) storage.Options {
	o := storage.Options{Sealer: book{}, Rand: rand.Reader}
	if anchor {
		m := storagetest.New(1)
		o.Sealer, o.Anchor = m.TPM, m.TPM
	}
	return o
}

// TestDirectory leads a life over several segments and snapshots in a real directory, with and without an anchor.
func TestDirectory(t *testing.T) {
	for name, anchor := range map[string]bool{"anchor": true, "no anchor": false} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vault")
			d, o := storage.Dir(path), onDisk(anchor)
			o.SegmentBytes = 64 << 10
			_, err := storage.Public(d)
			mustBe(t, err, storage.ErrAbsent)
			_, _, err = storage.Open(d, o)
			mustBe(t, err, storage.ErrAbsent)
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("a look made the directory: %v", err)
			}

			v, err := storage.Create(d, o, []byte("public"), []byte("state 0"))
			must(t, err)
			_, err = storage.Create(d, o, nil, nil)
			mustBe(t, err, storage.ErrLocked)
			_, _, err = storage.Open(d, o)
			mustBe(t, err, storage.ErrLocked)
			must(t, v.Begin())
			entry := make([]byte, 5000)
			for range 40 {
				must(t, v.Commit([][]byte{entry}))
			}
			if n := v.JournalBytes(); n < 40*5000 || n > 41*6000 {
				t.Fatalf("journal has %d bytes", n)
			}
			must(t, v.Snapshot([]byte("state 1")))
			if v.JournalBytes() != 0 {
				t.Fatal("journal has bytes after a snapshot")
			}
			for range 40 {
				must(t, v.Commit([][]byte{entry, []byte("small")}))
			}
			must(t, v.Move([]byte("public 2"), [][]byte{[]byte("moved")}))
			large := make([]byte, 300<<10) // larger than a segment
			must(t, v.Commit([][]byte{large}))
			must(t, v.Commit([][]byte{[]byte("last")}))
			must(t, v.Close())
			mustBe(t, v.Commit(nil), storage.ErrClosed)
			must(t, v.Close())
			_, err = storage.Create(d, o, nil, nil)
			mustBe(t, err, storage.ErrPresent)

			public, err := storage.Public(d)
			must(t, err)
			blob, err := storage.Sealed(d)
			must(t, err)
			v, r, err := storage.Open(d, o)
			must(t, err)
			if len(blob) == 0 || string(public) != "public 2" || string(r.Public) != "public 2" || string(r.Snapshot) != "state 1" || len(r.Records) != 83 ||
				!slices.Equal(r.Records[81], large) || string(r.Records[82]) != "last" || r.Verdict != storage.Exact {
				t.Fatalf("found %q, %q, %d records, %s", public, r.Snapshot, len(r.Records), r.Verdict)
			}
			must(t, v.Begin())
			must(t, v.Stop())
			v, r, err = storage.Open(d, o)
			must(t, err)
			if want := map[bool]storage.Verdict{true: storage.Clean, false: storage.Exact}[anchor]; r.Verdict != want {
				t.Fatalf("verdict after a stop is %s", r.Verdict)
			}
			must(t, v.Close())
			modes(t, path)
		})
	}
}

// modes: everything is for the owner only.
func modes(t *testing.T, path string) {
	t.Helper()
	must(t, filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		must(t, err)
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
		return nil
	}))
}

func TestLinksAreNotFollowed(t *testing.T) {
	path, outside := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(outside, []byte("precious"), 0o600))
	for _, name := range []string{"lock", "header-0000000000000001.new", "snapshot-0000000000000000.new"} {
		must(t, os.Symlink(outside, filepath.Join(path, name)))
		v, err := storage.Create(storage.Dir(path), onDisk(false), nil, nil)
		if err == nil {
			must(t, v.Close())
		}
		if name == "lock" {
			mustBe(t, err, storage.ErrForeign)
		}
		b, err := os.ReadFile(outside)
		must(t, err)
		if string(b) != "precious" {
			t.Fatalf("%s was followed", name)
		}
		must(t, os.RemoveAll(path))
		must(t, os.Mkdir(path, 0o700))
	}
}

func TestNotPlainFiles(t *testing.T) {
	d, o := storage.Dir(t.TempDir()), onDisk(false)
	v, err := storage.Create(d, o, nil, nil)
	must(t, err)
	must(t, v.Close())
	for _, name := range []string{"header-0000000000000001", "snapshot-0000000000000000"} {
		path := filepath.Join(t.TempDir(), "copy")
		must(t, os.CopyFS(path, os.DirFS(dirOf(t, d))))
		must(t, os.Remove(filepath.Join(path, name)))
		must(t, os.Mkdir(filepath.Join(path, name), 0o700))
		if _, _, err := storage.Open(storage.Dir(path), o); err == nil {
			t.Fatalf("opened with a directory for %s", name)
		}
		must(t, os.Remove(filepath.Join(path, name)))
		f, err := os.Create(filepath.Join(path, name))
		must(t, err)
		must(t, f.Truncate(2<<30)) // a hole: it is not read into memory
		must(t, f.Close())
		_, _, err = storage.Open(storage.Dir(path), o)
		mustBe(t, err, storage.ErrTooLarge)
	}
}

func dirOf(t *testing.T, d storage.Disk) string {
	t.Helper()
	l, err := d.Lock()
	must(t, err)
	defer l.Close()
	return filepath.Dir(l.(*os.File).Name())
}

// TestOptions: what is missing is said, and nothing is written.
func TestOptions(t *testing.T) {
	good := onDisk(false)
	for name, change := range map[string]func(*storage.Options){
		"sealer":   func(o *storage.Options) { o.Sealer = nil },
		"random":   func(o *storage.Options) { o.Rand = nil },
		"4095":     func(o *storage.Options) { o.SegmentBytes = storage.MinSegmentBytes - 1 },
		"67108865": func(o *storage.Options) { o.SegmentBytes = storage.MaxSegmentBytes + 1 },
	} {
		o := good
		change(&o)
		d := storage.Dir(filepath.Join(t.TempDir(), "vault"))
		if _, err := storage.Create(d, o, nil, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if names, err := d.List(); err != nil || len(names) > 0 {
			t.Errorf("%s: left %q, %v", name, names, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}
