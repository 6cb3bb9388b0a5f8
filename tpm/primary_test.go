package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// What a TPM makes from its seed is the same whatever happens to it, and another's on another.
func TestPrimaryKeysStay(t *testing.T) {
	m, d := machine(t)
	authority, err := d.Authority()
	must(t, err)
	peppered, err := d.Pepper([]byte("a password"))
	must(t, err)
	same := func(name string, d *tpm.Device, want bool) {
		t.Helper()
		a, err := d.Authority()
		must(t, err)
		p, err := d.Pepper([]byte("a password"))
		must(t, err)
		if a.Public().(*ecdsa.PublicKey).Equal(authority.Public()) != want || p == peppered != want {
			t.Errorf("%s: another key %v, another pepper %v", name, !want, !want)
		}
		sum := sha256.Sum256([]byte(name))
		sig, err := authority.Sign(rand.Reader, sum[:], crypto.SHA256) // the one that was made before
		if err != nil || !ecdsa.VerifyASN1(authority.Public().(*ecdsa.PublicKey), sum[:], sig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same("at once", d, true)
	for name, event := range map[string]func() error{"power cut": m.Cut, "power cycle": m.PowerCycle, "restart": m.Restart, "clear": m.Clear} {
		must(t, event())
		same(name, d, true)
	}
	same("a copy of the TPM", m.Clone(t).Device(t), true)
	_, other := machine(t)
	same("another TPM", other, false)
}

func TestAuthoritySignsCertificates(t *testing.T) {
	_, d := machine(t)
	a, err := d.Authority()
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.Public(), a)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	must(t, c.CheckSignatureFrom(c))
	for _, o := range []crypto.Hash{crypto.SHA1, crypto.SHA384} {
		if _, err := a.Sign(nil, make([]byte, o.Size()), o); err == nil {
			t.Errorf("it signs %v", o)
		}
	}
	if _, err := a.Sign(nil, make([]byte, 31), crypto.SHA256); err == nil {
		t.Error("it signs 31 bytes")
	}
}

// Each password has its pepper, of any length, and what goes to the TPM and comes from it is not to be read on the way.
func TestPepper(t *testing.T) {
	m := tpmtest.Start(t)
	bus := &tpmtest.Recorder{TPM: m.Bus()}
	d, err := tpm.New(bus)
	must(t, err)
	seen := map[[32]byte]bool{}
	for _, password := range [][]byte{nil, {0}, []byte("a"), []byte("b"), bytes.Repeat([]byte("long"), 1<<18)} {
		p, err := d.Pepper(password)
		must(t, err)
		again, err := d.Pepper(password)
		must(t, err)
		if p != again || seen[p] {
			t.Errorf("%.9q: once %x, then %x", password, p, again)
		}
		seen[p] = true
		in := sha256.Sum256(append([]byte("leasehold password v1\x00"), password...))
		if bus.Saw(p[:8]) || bus.Saw(in[:8]) || bus.Saw(p[24:]) || bus.Saw(in[24:]) {
			t.Errorf("%.9q crossed the bus", password)
		}
	}
	noHandles(t, m)
}

// TestGoldenPrimary: what the TPM of the first release made from its seed it makes forever. Another template would lock everybody out who has a password.
func TestGoldenPrimary(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	work, err := os.MkdirTemp("", "lh")
	must(t, err)
	defer os.RemoveAll(work)
	copyFile(t, filepath.Join(dir, "tpm2-00.permall"), filepath.Join(work, "tpm2-00.permall"))
	m, err := tpmtest.New(work)
	must(t, err)
	defer m.Close()
	d := m.Device(t)
	a, err := d.Authority()
	must(t, err)
	key, err := a.Public().(*ecdsa.PublicKey).Bytes()
	must(t, err)
	pepper, err := d.Pepper([]byte("golden"))
	must(t, err)
	if *golden {
		must(t, os.WriteFile(filepath.Join(dir, "primary.txt"), fmt.Appendf(nil, "authority: %x\npepper: %x\n", key, pepper), 0o644))
	}
	field := readGolden(t, filepath.Join(dir, "primary.txt"))
	if !bytes.Equal(field["authority"], key) || !bytes.Equal(field["pepper"], pepper[:]) {
		t.Errorf("authority %x, want %x; pepper %x, want %x", key, field["authority"], pepper, field["pepper"])
	}
}

// A hierarchy with a password is said to be one, and a TPM that is away for the moment is.
func TestPrimaryKeysAway(t *testing.T) {
	m, _ := machine(t)
	for want, fault := range map[error]error{tpm.ErrPassword: tpm2.TPMRCBadAuth, tpm.ErrUnavailable: errors.New("no answer")} {
		d, err := tpm.New(&tpmtest.Faulty{TPM: m.Bus(), Fault: func(_ int, command []byte) ([]byte, error) {
			if !bytes.Equal(command[6:10], []byte{0, 0, 1, 0x31}) { // CreatePrimary
				return nil, nil
			}
			if rc, is := fault.(tpm2.TPMRC); is {
				return []byte{0x80, 1, 0, 0, 0, 10, 0, 0, byte(rc >> 8), byte(rc)}, nil
			}
			return nil, fault
		}})
		must(t, err)
		if _, err := d.Authority(); !errors.Is(err, want) {
			t.Errorf("the authority: %v, want %v", err, want)
		}
		if _, err := d.Pepper(nil); !errors.Is(err, want) {
			t.Errorf("the pepper: %v, want %v", err, want)
		}
	}
}
