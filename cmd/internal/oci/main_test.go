package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unpack is every file of an archive.
func unpack(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// What an engine would do: from the index to the manifest, from there to the layer, each checked by its digest; then the program runs out of the layer.
func TestImageLoads(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "leasehold")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/leasehold/leasehold/cmd/leasehold")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	image := filepath.Join(dir, "image.tar")
	if err := run(program, image); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, b)
	blob := func(d descriptor) []byte {
		t.Helper()
		content := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if sum := sha256.Sum256(content); "sha256:"+hex.EncodeToString(sum[:]) != d.Digest || len(content) != d.Size {
			t.Fatalf("%s of %d bytes is not %s of %d", hex.EncodeToString(sum[:]), len(content), d.Digest, d.Size)
		}
		return content
	}
	read := func(b []byte, v any) {
		t.Helper()
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
	}
	var index struct{ Manifests []descriptor }
	read(files["index.json"], &index)
	if string(files["oci-layout"]) != `{"imageLayoutVersion":"1.0.0"}` || len(index.Manifests) != 1 {
		t.Fatalf("%s, %+v", files["oci-layout"], index)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	read(blob(index.Manifests[0]), &manifest)
	var config struct {
		Architecture, OS string
		Config           struct {
			Entrypoint []string
			User       string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	read(blob(manifest.Config), &config)
	if len(manifest.Layers) != 1 || len(config.RootFS.DiffIDs) != 1 || config.RootFS.DiffIDs[0] != manifest.Layers[0].Digest || config.OS != "linux" || config.Config.User != "65534:65534" {
		t.Fatalf("%+v, %+v", manifest, config)
	}
	root := filepath.Join(dir, "root")
	for name, content := range unpack(t, blob(manifest.Layers[0])) {
		if err := errors.Join(os.MkdirAll(root, 0o755), os.WriteFile(filepath.Join(root, name), content, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(filepath.Join(root, config.Config.Entrypoint[0]), "explain", "LH-3104").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("no seat free")) {
		t.Errorf("%v\n%s", err, out)
	}
	if again, err := pack("leasehold", mustRead(t, program)); err != nil || !bytes.Equal(again, b) {
		t.Errorf("the same program gives another image: %v", err)
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What could not run there is not packed.
func TestNoImage(t *testing.T) {
	if _, err := pack("x", []byte("#!/bin/sh\n")); err == nil {
		t.Error("a script is packed")
	}
	sh, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pack("x", sh); err == nil || !strings.Contains(err.Error(), "static") {
		t.Errorf("a program that loads others: %v", err)
	}
}
