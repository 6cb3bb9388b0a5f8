// Oci packs a static program into an image that container engines load, without one: an OCI image layout in one file, with a single layer.
//
//	go run ./cmd/internal/oci -program bin/leasehold -o bin/leasehold-oci.tar
//
// The same program gives the same bytes. Load it with podman load or docker load.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

func main() {
	program := flag.String("program", "bin/leasehold", "`file` of the program, statically linked")
	out := flag.String("o", "bin/leasehold-oci.tar", "`file` to write")
	flag.Parse()
	if err := run(*program, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(program, out string) error {
	b, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	image, err := pack(filepath.Base(program), b)
	if err != nil {
		return err
	}
	return os.WriteFile(out, image, 0o644)
}

// The kinds of what an image is made of (OCI image specification 1.1).
const (
	layerKind    = "application/vnd.oci.image.layer.v1.tar"
	configKind   = "application/vnd.oci.image.config.v1+json"
	manifestKind = "application/vnd.oci.image.manifest.v1+json"
	indexKind    = "application/vnd.oci.image.index.v1+json"
)

// nobody is the account that the program runs as: it needs none.
const nobody = 65534

// descriptor names a part of an image.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// layout is the archive as it grows.
type layout struct {
	buffer bytes.Buffer
	tar    *tar.Writer
	had    map[string]bool
}

// pack is the image of a program.
func pack(name string, program []byte) ([]byte, error) {
	architecture, err := architectureOf(program)
	if err != nil {
		return nil, err
	}
	layer, err := layerOf(name, program)
	if err != nil {
		return nil, err
	}
	l := &layout{had: map[string]bool{}}
	l.tar = tar.NewWriter(&l.buffer)
	if err := errors.Join(l.directory("blobs"), l.directory("blobs/sha256")); err != nil {
		return nil, err
	}
	top, err := l.blob(layerKind, layer)
	if err != nil {
		return nil, err
	}
	config, err := l.object(configKind, map[string]any{
		"architecture": architecture, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + name}, "User": fmt.Sprintf("%d:%d", nobody, nobody), "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{top.Digest}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := l.object(manifestKind, map[string]any{"schemaVersion": 2, "mediaType": manifestKind, "config": config, "layers": []descriptor{top}})
	if err != nil {
		return nil, err
	}
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": name + ":latest", "io.containerd.image.name": "localhost/" + name + ":latest"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": indexKind, "manifests": []descriptor{manifest}})
	if err != nil {
		return nil, err
	}
	// Older engines look for a manifest of their own.
	older, err := json.Marshal([]map[string]any{{"Config": blobOf(config), "RepoTags": []string{"localhost/" + name + ":latest"}, "Layers": []string{blobOf(top)}}})
	if err != nil {
		return nil, err
	}
	err = errors.Join(l.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)), l.file("index.json", index), l.file("manifest.json", older), l.tar.Close())
	return l.buffer.Bytes(), err
}

func blobOf(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }

// architectureOf is that of a program for Linux that is linked statically: there is nothing else in the image that it could load.
func architectureOf(program []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("the program is none for Linux: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", errors.New("the program is not linked statically")
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("a program for %s", f.Machine)
}

// layerOf is the one layer: the program, and nothing else.
func layerOf(name string, program []byte) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	err := errors.Join(
		t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(program)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}),
		write(t, program), t.Close())
	return b.Bytes(), err
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

func (l *layout) directory(name string) error {
	return l.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
}

func (l *layout) file(name string, b []byte) error {
	return errors.Join(
		l.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Clean(name), Mode: 0o644, Size: int64(len(b)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}),
		write(l.tar, b))
}

// blob adds a part under the name of its digest.
func (l *layout) blob(kind string, b []byte) (descriptor, error) {
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	d := descriptor{MediaType: kind, Digest: "sha256:" + name, Size: len(b)}
	if l.had[name] {
		return d, nil
	}
	l.had[name] = true
	return d, l.file("blobs/sha256/"+name, b)
}

// object adds a part that is JSON.
func (l *layout) object(kind string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return l.blob(kind, b)
}
