package stick

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A stick is handed over once, by the name of a device and by nothing that leads elsewhere.
func TestHandOver(t *testing.T) {
	dir := t.TempDir()
	if _, err := TakeOver(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("nothing was handed over: %v", err)
	}
	for _, name := range []string{"", "../sda", "sd a", "sda1\n", "SDA", "1sda", "sda/1", "abcdefghijklmnopqrstuvwxyzabcdefg"} {
		if err := HandOver(dir, name); err == nil {
			t.Errorf("%q is handed over", name)
		}
		if err := os.WriteFile(filepath.Join(dir, updateFile), []byte("/"+name+"/"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := TakeOver(dir); err == nil {
			t.Errorf("%q is taken over as %q", name, got)
		}
	}
	if err := HandOver(dir, "sdb1"); err != nil {
		t.Fatal(err)
	}
	if got, err := TakeOver(dir); err != nil || got != "sdb1" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := TakeOver(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("taken over twice: %v", err)
	}
}

// An update is a plain file in the folder for it, and not what a link on the stick leads to.
func TestHasUpdate(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if HasUpdate(dir) || HasUpdate(filepath.Join(dir, "none")) {
		t.Error("there is none")
	}
	for _, d := range []string{dir, other} {
		if err := os.MkdirAll(filepath.Join(d, "LEASEHOLD"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(other, "UPDATE", "UPDATE.LHU"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(other, "UPDATE"), filepath.Join(dir, "LEASEHOLD", "UPDATE")); err != nil {
		t.Fatal(err)
	}
	if HasUpdate(dir) {
		t.Error("a link that leads away")
	}
	if err := os.Remove(filepath.Join(dir, "LEASEHOLD", "UPDATE")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "LEASEHOLD", "UPDATE", "UPDATE.LHU"), 0o700); err != nil {
		t.Fatal(err)
	}
	if HasUpdate(dir) {
		t.Error("a folder of that name")
	}
	if err := os.Remove(filepath.Join(dir, "LEASEHOLD", "UPDATE", "UPDATE.LHU")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "LEASEHOLD", "UPDATE", "UPDATE.LHU"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !HasUpdate(dir) {
		t.Error("there is one")
	}
}
