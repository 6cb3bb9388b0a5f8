package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The same parts in any order give the same bill, each once.
func TestBill(t *testing.T) {
	a, err := debianParts("systemd 257.13-1~deb13u1 amd64\nlibc6 2.41-12 amd64\n")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	one, two := newBill("0.1.0", at, append(a, goPart("example.com/x", "v1.2.0"))), newBill("0.1.0", at, []part{goPart("example.com/x", "v1.2.0"), a[1], a[0], a[1]})
	if len(one.Components) != 3 || len(two.Components) != 3 || one.Serial != two.Serial {
		t.Errorf("%+v and %+v", one, two)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(one.Serial) {
		t.Errorf("%s is no UUID", one.Serial)
	}
	if other := newBill("0.1.1", at, a); other.Serial == one.Serial {
		t.Error("two images have one serial number")
	}
	if one.Components[1].URL != "pkg:deb/debian/systemd@257.13-1~deb13u1?arch=amd64" && one.Components[0].URL != "pkg:deb/debian/libc6@2.41-12?arch=amd64" {
		t.Errorf("%+v", one.Components)
	}
	if _, err := debianParts("systemd 257\n"); err == nil {
		t.Error("a package without an architecture")
	}
}

func TestFileList(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a file"), []byte("abc"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	b, err := fileList(dir)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "-rw-r----- ") || !strings.HasSuffix(lines[1], " 3 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad /a file") || !strings.HasSuffix(lines[2], " 0 -> a file /link") {
		t.Errorf("%q", lines)
	}
}
