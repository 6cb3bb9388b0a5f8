package tpm_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// TestManufacturedBySwtpmSetup: a TPM as virtual machine monitors make it, with
// certificates by an authority that swtpm_setup makes itself. Theirs are for the
// RSA key, and for a P-384 one, which we leave alone.
func TestManufacturedBySwtpmSetup(t *testing.T) {
	dir, err := os.MkdirTemp("", "lh")
	must(t, err)
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(at("ca"), 0o700))
	must(t, os.WriteFile(at("options"), []byte("--platform-manufacturer Leasehold\n--platform-version 1\n--platform-model test\n"), 0o600))
	must(t, os.WriteFile(at("localca.conf"), fmt.Appendf(nil, "statedir = %s\nsigningkey = %s\nissuercert = %s\ncertserial = %s\n",
		at("ca"), at("ca/signkey.pem"), at("ca/issuercert.pem"), at("ca/certserial")), 0o600))
	tool, err := exec.LookPath("swtpm_localca")
	if err != nil {
		t.Fatal(tpmtest.ErrNotInstalled)
	}
	must(t, os.WriteFile(at("setup.conf"), fmt.Appendf(nil, "create_certs_tool = %s\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\nactive_pcr_banks = sha256\n",
		tool, at("localca.conf"), at("options")), 0o600))
	setup := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", dir, "--config", at("setup.conf"), "--create-ek-cert", "--lock-nvram", "--overwrite")
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", setup, err, out)
	}

	m, err := tpmtest.New(dir)
	must(t, err)
	defer m.Close()
	d := m.Device(t)
	id := identify(t, d)
	if len(id.EKCertificates) != 1 || id.EKCertificates[0].PublicKeyAlgorithm != x509.RSA {
		t.Fatalf("%d certificates, want one for the RSA key", len(id.EKCertificates))
	}
	roots := attest.Roots{Virtual: pool(t, at("ca/swtpm-localca-rootca-cert.pem")), Intermediates: pool(t, at("ca/issuercert.pem"))}
	if tier, err := attest.TierOf(id, roots, time.Now()); tier != attest.Virtual {
		t.Errorf("tier is %v, %v, want %v", tier, err, attest.Virtual)
	}
	content := secret()
	w := wrap(t, id, content)
	if got, err := d.Activate(w); !w.RSA.Present() || err != nil || !bytes.Equal(got, content) {
		t.Errorf("activate: %x, %v", got, err)
	}
	noHandles(t, m)
}

func pool(t *testing.T, path string) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		t.Fatalf("%s holds no certificate", path)
	}
	return p
}

// TestAuthorityFile: the authority that a new TPM's certificate is by is beside
// its state, for other processes.
func TestAuthorityFile(t *testing.T) {
	m := tpmtest.Start(t)
	b, err := os.ReadFile(filepath.Join(m.Dir(), "authority.pem"))
	must(t, err)
	block, _ := pem.Decode(b)
	a, err := tpmtest.TheAuthority()
	must(t, err)
	if block == nil || !bytes.Equal(block.Bytes, a.Certificate.Raw) {
		t.Errorf("authority.pem holds %x", b)
	}
	if tier, err := attest.TierOf(identify(t, m.Device(t)), attest.Roots{Virtual: pool(t, filepath.Join(m.Dir(), "authority.pem"))}, time.Now()); tier != attest.Virtual {
		t.Errorf("tier is %v, %v", tier, err)
	}
}

// TestKilledProcess: a TPM without power answers nothing and a Device is as
// before when it has power again.
func TestKilledProcess(t *testing.T) {
	m, d := machine(t)
	host, err := d.HostID()
	must(t, err)
	m.Kill()
	m.Kill()
	if err := m.Boot(); err != nil {
		t.Fatal(err)
	}
	if err := m.Boot(); err == nil {
		t.Error("two processes of one TPM")
	}
	if got, err := d.HostID(); err != nil || got != host {
		t.Errorf("host ID is %v, %v, was %v", got, err, host)
	}
	if _, err := (tpm2.ReadClock{}).Execute(m.Bus()); err != nil {
		t.Error(err)
	}
}
