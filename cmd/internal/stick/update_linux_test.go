package stick

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A stick is handed over once, by the name of a device and by nothing that leads elsewhere. Several wait for each other.
func TestHandOver(t *testing.T) {
	dir := t.TempDir()
	if _, err := TakeOver(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("nothing was handed over: %v", err)
	}
	for _, name := range []string{"", "../sda", "sd a", "sda1\n", "SDA", "1sda", "sda/1", "abcdefghijklmnopqrstuvwxyzabcdefg"} {
		if err := HandOver(dir, name); err == nil {
			t.Errorf("%q is handed over", name)
		}
	}
	waits := filepath.Join(dir, updatesDir)
	for _, name := range []string{"sd a", "SDA", "1sda"} {
		if err := errors.Join(os.MkdirAll(waits, 0o700), os.WriteFile(filepath.Join(waits, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if got, err := TakeOver(dir); err == nil {
			t.Errorf("%q is taken over as %q", name, got)
		}
	}
	for i, name := range []string{"sdc1", "sdb1", "sda"} {
		at := time.Unix(int64(1000+i), 0)
		if err := errors.Join(HandOver(dir, name), os.Chtimes(filepath.Join(waits, name), at, at)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"sdc1", "sdb1", "sda"} {
		if got, err := TakeOver(dir); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := TakeOver(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("taken over twice: %v", err)
	}
	if left, err := os.ReadDir(waits); err != nil || len(left) > 0 {
		t.Errorf("a unit that waits for anything here starts again and again: %v, %v", left, err)
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
