package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLockoutEnds: a TPM that some program locked out says for how long, and goes on working for us.
func TestLockoutEnds(t *testing.T) {
	m, d := machine(t)
	v := provision(t, d)
	if info, err := d.Info(); err != nil || info.LockoutEnds != 0 || info.MaxTries == 0 {
		t.Fatalf("before: %+v, %v", info, err)
	}
	public := tpm2.ECCSRKTemplate
	public.ObjectAttributes.NoDA = false
	o, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(public),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte("secret")}}},
	}.Execute(m.Bus())
	must(t, err)
	for range 64 {
		if _, err = (tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: o.ObjectHandle, Name: o.Name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			InPublic:     tpm2.New2B(tpm2.ECCSRKTemplate),
		}).Execute(m.Bus()); errors.Is(err, tpm2.TPMRCLockout) {
			break
		}
	}
	if !errors.Is(err, tpm2.TPMRCLockout) {
		t.Fatalf("the TPM does not lock out: %v", err)
	}
	_, err = tpm2.FlushContext{FlushHandle: o.ObjectHandle}.Execute(m.Bus())
	must(t, err)
	if info, err := d.Info(); err != nil || info.LockoutEnds <= 0 || info.LockoutEnds > 24*time.Hour || info.Lockout < info.MaxTries {
		t.Fatalf("locked out: %+v, %v", info, err)
	}
	v.opens(t, v.now, v.epoch)
	must(t, v.Advance(v.root, v.epoch))

	// A chip that refuses us too: the error is temporary and says when it ends.
	bus := &tpmtest.Faulty{TPM: m.Bus(), Fault: func(_ int, command []byte) ([]byte, error) {
		if tpmtest.Command(command) == tpm2.TPMCCLoad {
			return tpmtest.Refusal(tpm2.TPMRCLockout), nil
		}
		return nil, nil
	}}
	refused, err := tpm.New(bus)
	must(t, err)
	v.reopen(refused)
	_, err = v.Unseal(v.next, v.epoch+1)
	if !errors.Is(err, tpm.ErrLockout) || errors.Is(err, tpm.ErrNotOurs) || !errors.Is(err, tpm2.TPMRCLockout) || !strings.Contains(err.Error(), "for up to ") {
		t.Fatalf("refused: %v", err)
	}
}
