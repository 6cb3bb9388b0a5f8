package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func secret() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return b
}

// bootKey makes a producer's key and its signature on the boot state of d.
func bootKey(t *testing.T, d *tpm.Device) (attest.BootKey, *ecdsa.PrivateKey, []attest.SignedState) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := attest.BootKey{Public: &private.PublicKey, Ref: []byte("product")}
	return k, private, []attest.SignedState{*sign(t, d, private, k.Ref)}
}

func sign(t *testing.T, d *tpm.Device, private *ecdsa.PrivateKey, ref []byte) *attest.SignedState {
	t.Helper()
	pcrs, err := d.BootState()
	if err != nil {
		t.Fatal(err)
	}
	s, err := attest.SignState(rand.Reader, private, ref, pcrs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBindingLife(t *testing.T) {
	m := tpmtest.Start(t)
	d, err := tpm.Open(m.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	k, _, signed := bootKey(t, d)
	b := d.Binding(attest.EpochIndex, attest.RunningPCR, k, signed)
	root := secret()
	epoch, err := b.Provision(root)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now, err := b.Seal(root, epoch)
		if err != nil {
			t.Fatal(err)
		}
		next, err := b.Seal(root, epoch+1)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Unseal(now, epoch); err != nil || !bytes.Equal(got, root) {
			t.Fatalf("unseal at %d: %x, %v", epoch, got, err)
		}
		if err := b.Advance(root, epoch); err != nil {
			t.Fatal(err)
		}
		epoch++
		if at, err := b.Epoch(); err != nil || at != epoch {
			t.Fatalf("epoch is %d, %v, want %d", at, err, epoch)
		}
		if got, err := b.Unseal(next, epoch); err != nil || !bytes.Equal(got, root) {
			t.Fatalf("unseal at %d: %x, %v", epoch, got, err)
		}
	}
}
