package storage

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// on answers statfs as a file system of that number.
func on(magic uint32, flags int64) func(string, *syscall.Statfs_t) error {
	return func(_ string, s *syscall.Statfs_t) error {
		s.Type, s.Flags = int64(magic), flags
		return nil
	}
}

const ext4 = 0xef53

// TestInspect: each thing that is wrong is named, with its path; what is right passes.
func TestInspect(t *testing.T) {
	me := os.Geteuid()
	for _, row := range []struct {
		name   string
		change func(t *testing.T, top string)
		uid    int
		statfs func(string, *syscall.Statfs_t) error
		stops  error
		warns  error
		says   string
	}{
		{name: "as it should be"},
		{name: "not there yet", change: func(t *testing.T, top string) { removed(t, top) }},
		{name: "another owner", uid: me + 1, stops: ErrOwner, says: "belongs to user"},
		{name: "readable by all", change: func(t *testing.T, top string) { mode(t, top, 0o755) }, stops: ErrMode, says: "mode 0755"},
		{name: "writable by the group", change: func(t *testing.T, top string) { mode(t, top, 0o720) }, stops: ErrMode, says: "mode 0720"},
		{name: "a vault readable by all", change: func(t *testing.T, top string) { mode(t, filepath.Join(top, "vault"), 0o705) }, stops: ErrMode, says: "vault has mode 0705"},
		{name: "a file readable by all", change: func(t *testing.T, top string) { mode(t, filepath.Join(top, "vault", headerName(1)), 0o644) }, stops: ErrMode, says: headerName(1) + " has mode 0644"},
		{name: "a directory without write", change: func(t *testing.T, top string) { mode(t, top, 0o500) }, stops: ErrReadOnly, says: "mode 0500"},
		{name: "a file without write", change: func(t *testing.T, top string) { mode(t, filepath.Join(top, "vault", headerName(1)), 0o400) }, stops: ErrReadOnly, says: "mode 0400"},
		{name: "mounted read-only", statfs: on(ext4, 1), stops: ErrReadOnly, says: "mounted read-only"},
		{name: "to be made read-only", change: func(t *testing.T, top string) { removed(t, top) }, statfs: on(ext4, 1), stops: ErrReadOnly},
		{name: "FAT", statfs: on(0x4d44, 0), stops: ErrFileSystem, says: "on FAT"},
		{name: "NFS", statfs: on(0x6969, 0), stops: ErrFileSystem, says: "on NFS"},
		{name: "to be made on NFS", change: func(t *testing.T, top string) { removed(t, top) }, statfs: on(0x6969, 0), stops: ErrFileSystem},
		{name: "SMB", statfs: on(0xff534d42, 0), stops: ErrFileSystem, says: "on SMB"},
		{name: "nothing in place of the disk", statfs: on(tmpfs, 1), stops: ErrNoDisk, says: "no disk"},
		{name: "memory", statfs: on(0x01021994, 0), warns: ErrFileSystem, says: "tmpfs"},
		{name: "overlay", statfs: on(0x794c7630, 0), warns: ErrFileSystem, says: "overlayfs"},
		{name: "9p", statfs: on(0x01021997, 0), warns: ErrFileSystem, says: "9p"},
		{name: "FUSE", statfs: on(0x65735546, 0), warns: ErrFileSystem, says: "FUSE"},
		{name: "unknown", statfs: on(0x12345678, 0), warns: ErrFileSystem, says: "0x12345678"},
		{name: "a foreign file", change: func(t *testing.T, top string) { written(t, filepath.Join(top, "notes.txt")) }, warns: ErrForeign, says: "notes.txt"},
		{name: "a foreign file in a vault", change: func(t *testing.T, top string) { written(t, filepath.Join(top, "vault", "header-1")) }, warns: ErrForeign, says: "header-1"},
		{name: "a vault's file outside", change: func(t *testing.T, top string) { written(t, filepath.Join(top, headerName(1))) }, warns: ErrForeign, says: headerName(1)},
		{name: "a foreign directory", change: func(t *testing.T, top string) {
			must(t, os.MkdirAll(filepath.Join(top, "vault", "deep", "deeper"), 0o755))
		}, warns: ErrForeign, says: "deep"},
		{name: "a link in the lock's place", change: func(t *testing.T, top string) {
			removed(t, filepath.Join(top, "lock"))
			must(t, os.Symlink("x", filepath.Join(top, "lock")))
		}, stops: ErrForeign, says: "lock is a link"},
		{name: "a pipe in a header's place", change: func(t *testing.T, top string) {
			removed(t, filepath.Join(top, "vault", headerName(1)))
			must(t, syscall.Mkfifo(filepath.Join(top, "vault", headerName(1)), 0o600))
		}, stops: ErrForeign, says: "is a pipe"},
		{name: "a file in a vault's place", change: func(t *testing.T, top string) { written(t, filepath.Join(top, "requests")) }},
		{name: "a foreign link", change: func(t *testing.T, top string) { must(t, os.Symlink("/nowhere", filepath.Join(top, "link"))) }, warns: ErrForeign, says: "link"},
	} {
		t.Run(row.name, func(t *testing.T) {
			top := filepath.Join(t.TempDir(), "state")
			must(t, os.MkdirAll(filepath.Join(top, "vault"), 0o700))
			written(t, filepath.Join(top, "lock"))
			for _, name := range []string{"lock", headerName(1), segmentName(1), snapshotName(0), headerName(2) + newSuffix} {
				written(t, filepath.Join(top, "vault", name))
			}
			if row.change != nil {
				row.change(t, top)
			}
			if row.statfs == nil {
				row.statfs = on(ext4, 0)
			}
			if row.uid == 0 {
				row.uid = me
			}
			warnings, err := inspect(top, []string{"vault", "requests"}, row.uid, row.statfs)
			if !errors.Is(err, row.stops) {
				t.Fatalf("stops with %v, want %v", err, row.stops)
			}
			said := errors.Join(append(slices.Clone(warnings), err)...)
			if row.warns != nil && (len(warnings) != 1 || !errors.Is(warnings[0], row.warns)) || row.warns == nil && len(warnings) > 0 {
				t.Fatalf("warns of %v, want %v", warnings, row.warns)
			}
			if row.says != "" && !strings.Contains(said.Error(), row.says) {
				t.Fatalf("says %q, want %q in it", said, row.says)
			}
		})
	}
}

// TestInspectReal: on this machine, by way of the system's own calls, with a link for the directory.
func TestInspectReal(t *testing.T) {
	top := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(top, 0o700))
	link := top + "-link"
	must(t, os.Symlink(top, link))
	for _, path := range []string{top, link, top + "-absent"} {
		if _, err := Inspect(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	written(t, filepath.Join(top, headerName(1)))
	mode(t, filepath.Join(top, headerName(1)), 0o604)
	if _, err := Inspect(link); !errors.Is(err, ErrMode) {
		t.Errorf("a link to a directory with an open file: %v", err)
	}
	mode(t, filepath.Join(top, headerName(1)), 0o600)
	mode(t, top, 0o750)
	if _, err := Inspect(link); !errors.Is(err, ErrMode) {
		t.Errorf("a link to a directory open to the group: %v", err)
	}
	written(t, filepath.Join(t.TempDir(), "file"))
	if _, err := Inspect(filepath.Join(t.TempDir(), "file", "below")); err == nil {
		t.Error("a directory below nothing passes")
	}
}

func removed(t *testing.T, path string) { must(t, os.RemoveAll(path)) }

func mode(t *testing.T, path string, m os.FileMode) {
	must(t, os.Chmod(path, m))
	t.Cleanup(func() { os.Chmod(path, 0o700) })
}

func written(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
