package storage_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

var golden = flag.Bool("golden", false, "write the golden state directories of the newest format")

// goldens are the ways in which a golden directory was left, and what a start must say of it.
func goldens() map[string]struct {
	leave func(*world)
	want  storage.Verdict
} {
	type left = struct {
		leave func(*world)
		want  storage.Verdict
	}
	return map[string]left{
		"stopped":   {func(w *world) { w.must(w.stop()) }, storage.Clean},
		"killed":    {func(w *world) { w.m.Kill() }, storage.Exact},
		"power cut": {func(w *world) { w.m.Cut(storagetest.Loss{Mode: storagetest.Torn, Unit: 512, Seed: 2}) }, storage.Hold},
		"cut move":  {func(w *world) { w.stopAt("advance", 1, storagetest.None, func() error { return w.move(1) }) }, storage.Exact},
		"no anchor": {func(w *world) { w.must(w.stop()) }, storage.Exact},
	}
}

// TestGolden opens state directories that the first release of each format wrote. They are never edited: what a customer's disk holds must
// open forever. A new format adds a directory, written once with -golden.
func TestGolden(t *testing.T) {
	const version = "v1"
	for name, left := range goldens() {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", version, strings.ReplaceAll(name, " ", "-"))
			made := newWorld
			if name == "no anchor" {
				made = newBook
			}
			if *golden {
				writeGolden(t, dir, made(t, 9), left.leave)
			}
			w := made(t, 1)
			image := storagetest.Image{}
			files, err := os.ReadDir(filepath.Join(dir, "disk"))
			must(t, err)
			for _, f := range files {
				image[f.Name()], err = os.ReadFile(filepath.Join(dir, "disk", f.Name()))
				must(t, err)
			}
			w.m.Disk.Restore(image)
			kept, err := os.ReadFile(filepath.Join(dir, "tpm.txt"))
			must(t, err)
			must(t, w.m.TPM.Put(kept))
			want, err := os.ReadFile(filepath.Join(dir, "entries.txt"))
			must(t, err)
			v, r, err := storage.Open(w.m.Disk, w.o)
			must(t, err)
			if found := entriesOf(r); !slices.Equal(found, strings.Split(strings.TrimSpace(string(want)), "\n")) || !strings.HasPrefix(string(r.Public), "public ") {
				t.Fatalf("found %q, %q", r.Public, found)
			}
			if r.Verdict != left.want {
				t.Fatalf("verdict is %s, want %s", r.Verdict, left.want)
			}
			// And it goes on.
			must(t, v.Begin())
			must(t, v.Commit([][]byte{[]byte("a new entry")}))
			must(t, v.Move(nil, [][]byte{[]byte("another")}))
			must(t, v.Stop())
		})
	}
}

func writeGolden(t *testing.T, dir string, w *world, leave func(*world)) {
	t.Helper()
	w.must(w.create())
	w.must(w.begin())
	w.must(w.commit(2, 90))
	w.must(w.snapshot())
	w.must(w.commit(1, 1700))
	w.must(w.move(1))
	w.must(w.commit(1, 90))
	leave(w)
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(filepath.Join(dir, "disk"), 0o755))
	for name, b := range w.m.Disk.Copy() {
		must(t, os.WriteFile(filepath.Join(dir, "disk", name), b, 0o644))
	}
	w.m.Kill()
	must(t, os.WriteFile(filepath.Join(dir, "tpm.txt"), w.m.TPM.Keep(), 0o644))
	_, err := w.open()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "entries.txt"), []byte(strings.Join(w.told, "\n")+"\n"), 0o644))
}
