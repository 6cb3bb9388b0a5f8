package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// TestGolden opens what the first release of each format sealed and signed, on
// the software TPM of then. These files are never edited: what a customer's disk
// holds must open forever. A new format adds a directory, written once with
// -golden.
func TestGolden(t *testing.T) {
	const version = "v1"
	dir := filepath.Join("testdata", version)
	if *golden {
		writeGolden(t, dir)
	}
	field := readGolden(t, filepath.Join(dir, "sealed.txt"))
	state, err := os.ReadFile(filepath.Join(dir, "tpm2-00.permall"))
	must(t, err)
	work, err := os.MkdirTemp("", "lh")
	must(t, err)
	defer os.RemoveAll(work)
	must(t, os.WriteFile(filepath.Join(work, "tpm2-00.permall"), state, 0o600))
	m, err := tpmtest.New(work)
	must(t, err)
	defer m.Close()
	d := m.Device(t)

	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), field["boot key"])
	must(t, err)
	signed, err := attest.DecodeSignedState(field["signed state"])
	must(t, err)
	b := d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{Public: public, Ref: field["reference"]}, []attest.SignedState{*signed})
	if got, err := b.Unseal(field["sealed"], 1); err != nil || !bytes.Equal(got, field["secret"]) {
		t.Errorf("vault: %x, %v", got, err)
	}
	if got, err := d.Setup().Unseal(field["setup"], 1); err != nil || !bytes.Equal(got, field["secret"]) {
		t.Errorf("settings: %x, %v", got, err)
	}
	must(t, b.Advance(field["secret"], 1)) // its auth value is derived as then
	w, err := attest.DecodeWrapped(field["wrapped"])
	must(t, err)
	if got, err := d.Activate(w); err != nil || !bytes.Equal(got, field["secret"]) {
		t.Errorf("response: %x, %v", got, err)
	}
	e, err := attest.DecodeEvidence(field["evidence"])
	must(t, err)
	id, err := attest.Verify(e, attest.Request, []byte("golden"))
	must(t, err)
	if host, err := d.HostID(); err != nil || host != id.HostID || host != w.HostID {
		t.Errorf("host ID is %v, %v, evidence says %v", host, err, id.HostID)
	}
	p, err := attest.DecodeEpochProof(field["epoch proof"])
	must(t, err)
	if epoch, err := attest.VerifyEpoch(p, id, []byte("golden")); err != nil || epoch != 1 {
		t.Errorf("epoch proof: %d, %v", epoch, err)
	}
}

var golden = flag.Bool("golden", false, "write the golden files of the newest format")

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	m, d := machine(t, tpmtest.P256)
	v := provision(t, d)
	settings, err := d.Setup().Seal(v.root, v.epoch)
	must(t, err)
	e, err := d.Evidence(attest.Request, []byte("golden"))
	must(t, err)
	p, err := d.CertifyEpoch(attest.EpochIndex, []byte("golden"))
	must(t, err)
	key, err := v.key.Public.Bytes()
	must(t, err)
	var b bytes.Buffer
	for _, f := range []struct {
		name  string
		value []byte
	}{
		{"secret", v.root}, {"boot key", key}, {"reference", v.key.Ref}, {"signed state", v.signed[0].Encode()},
		{"sealed", v.now}, {"setup", settings}, {"wrapped", wrap(t, identify(t, d), v.root).Encode()},
		{"evidence", e.Encode()}, {"epoch proof", p.Encode()},
	} {
		fmt.Fprintf(&b, "%s: %x\n", f.name, f.value)
	}
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "sealed.txt"), b.Bytes(), 0o644))
	m.Kill()
	state, err := os.ReadFile(filepath.Join(m.Dir(), "tpm2-00.permall"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "tpm2-00.permall"), state, 0o644))
	must(t, m.Boot())
}

func readGolden(t *testing.T, path string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	fields := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields[name], err = hex.DecodeString(value)
		must(t, err)
	}
	return fields
}

// TestGoldenVault opens a whole state directory of the first release of each format, on the software TPM of then, and goes on from it.
func TestGoldenVault(t *testing.T) {
	dir := filepath.Join("testdata", "v1", "vault")
	if *golden {
		writeGoldenVault(t, dir)
	}
	field := readGolden(t, filepath.Join(dir, "vault.txt"))
	work, err := os.MkdirTemp("", "lh")
	must(t, err)
	defer os.RemoveAll(work)
	copyFile(t, filepath.Join(dir, "tpm2-00.permall"), filepath.Join(work, "tpm2-00.permall"))
	m, err := tpmtest.New(work)
	must(t, err)
	defer m.Close()

	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), field["boot key"])
	must(t, err)
	signed, err := attest.DecodeSignedState(field["signed state"])
	must(t, err)
	s := &store{bench: &bench{m: m, at: -1}, TB: t, disk: storagetest.New(1), key: attest.BootKey{Public: public, Ref: field["reference"]}, sign: []attest.SignedState{*signed}}
	s.d = s.device(t)
	s.told = strings.Fields(string(field["entries"]))
	s.disk.Disk.Restore(diskIn(t, filepath.Join(dir, "disk")))
	verdict, err := s.open()
	must(t, err)
	if verdict != storage.Clean || len(s.told) < 4 {
		t.Fatalf("verdict is %s, with %d entries", verdict, len(s.told))
	}
	must(t, s.begin())
	must(t, s.move())
	must(t, s.v.Stop())
	s.noHandles(t)
}

func diskIn(t *testing.T, dir string) storagetest.Image {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	image := storagetest.Image{}
	for _, f := range files {
		image[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
	}
	return image
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o600))
}

func writeGoldenVault(t *testing.T, dir string) {
	t.Helper()
	s := newStore(t)
	must(t, s.create())
	for _, do := range []func() error{s.begin, s.commit, s.move, s.commit} {
		must(t, do())
	}
	must(t, s.v.Stop())
	key, err := s.key.Public.Bytes()
	must(t, err)
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(filepath.Join(dir, "disk"), 0o755))
	for name, b := range s.disk.Disk.Copy() {
		must(t, os.WriteFile(filepath.Join(dir, "disk", name), b, 0o644))
	}
	text := fmt.Sprintf("boot key: %x\nreference: %x\nsigned state: %x\nentries: %x\n", key, s.key.Ref, s.sign[0].Encode(), strings.Join(s.told, " "))
	must(t, os.WriteFile(filepath.Join(dir, "vault.txt"), []byte(text), 0o644))
	s.m.Kill()
	copyFile(t, filepath.Join(s.m.Dir(), "tpm2-00.permall"), filepath.Join(dir, "tpm2-00.permall"))
	must(t, s.m.Boot())
}
