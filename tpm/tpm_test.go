package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// machine is a TPM and a device on it; no handle may be left when the test ends.
func machine(t *testing.T, certificates ...tpmtest.Certificate) (*tpmtest.TPM, *tpm.Device) {
	t.Helper()
	m := tpmtest.Start(t, certificates...)
	d := m.Device(t)
	t.Cleanup(func() { noHandles(t, m) })
	return m, d
}

func noHandles(t *testing.T, m *tpmtest.TPM) {
	t.Helper()
	handles, err := m.Handles()
	if err != nil {
		t.Errorf("after the test: %v", err)
	}
	if len(handles) != 0 {
		t.Errorf("handles left in the TPM: %x", handles)
	}
}

func secret() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return b
}

// vault is what a storage has of a TPM: a provisioned counter at epoch and what
// is sealed for it and for the next.
type vault struct {
	*tpm.Binding
	d         *tpm.Device
	producer  *ecdsa.PrivateKey
	key       attest.BootKey
	signed    []attest.SignedState
	root      []byte
	epoch     uint64
	now, next []byte
}

// provision makes a vault, with the present boot state signed.
func provision(t *testing.T, d *tpm.Device) *vault {
	t.Helper()
	v := unprovisioned(t, d)
	v.provision(t)
	return v
}

func unprovisioned(t *testing.T, d *tpm.Device) *vault {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{d: d, producer: private, root: secret(), key: attest.BootKey{Public: &private.PublicKey, Ref: []byte("product")}}
	v.sign(t)
	return v
}

// sign signs the present boot state.
func (v *vault) sign(t *testing.T) {
	t.Helper()
	pcrs, err := v.d.BootState()
	if err != nil {
		t.Fatal(err)
	}
	s, err := attest.SignState(rand.Reader, v.producer, v.key.Ref, pcrs)
	if err != nil {
		t.Fatal(err)
	}
	v.signed = append(v.signed, *s)
	v.reopen(v.d)
}

// reopen forgets what the binding knew, as another start of the program does.
func (v *vault) reopen(d *tpm.Device) {
	v.d = d
	v.Binding = d.Binding(attest.EpochIndex, attest.RunningPCR, v.key, v.signed)
}

func (v *vault) provision(t *testing.T) {
	t.Helper()
	var err error
	if v.epoch, err = v.Provision(v.root); err != nil {
		t.Fatal(err)
	}
	v.seal(t)
}

func (v *vault) seal(t *testing.T) {
	t.Helper()
	var err error
	if v.now, err = v.Seal(v.root, v.epoch); err != nil {
		t.Fatal(err)
	}
	if v.next, err = v.Seal(v.root, v.epoch+1); err != nil {
		t.Fatal(err)
	}
}

func (v *vault) opens(t *testing.T, blob []byte, epoch uint64) {
	t.Helper()
	if got, err := v.Unseal(blob, epoch); err != nil || !bytes.Equal(got, v.root) {
		t.Fatalf("unseal at %d: %x, %v", epoch, got, err)
	}
}

func (v *vault) refuses(t *testing.T, blob []byte, epoch uint64, want error) {
	t.Helper()
	if got, err := v.Unseal(blob, epoch); !errors.Is(err, want) || got != nil {
		t.Fatalf("unseal at %d: %x, %v, want %v", epoch, got, err, want)
	}
}

// extend is what firmware, a boot loader or root does to a PCR.
func extend(t *testing.T, m *tpmtest.TPM, pcr int) {
	t.Helper()
	if _, err := (tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: secret()}}},
	}).Execute(m.Bus()); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
