package tpm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// What SealBoot seals opens at every epoch, but in no other boot state, on no other TPM, under no other boot key, and not as a vault's secret.
func TestSealBoot(t *testing.T) {
	m, d := machine(t, tpmtest.None)
	v := provision(t, d)
	secret := bytes.Repeat([]byte{7}, 32)
	binding := func(d *tpm.Device, v *vault) *tpm.Binding {
		return d.Binding(attest.EpochIndex, attest.RunningPCR, v.key, v.signed)
	}
	sealed, err := binding(d, v).SealBoot(secret)
	if err != nil {
		t.Fatal(err)
	}
	opens := func(b *tpm.Binding, want error) {
		t.Helper()
		got, err := b.UnsealBoot(sealed)
		if want == nil && (err != nil || !bytes.Equal(got, secret)) || want != nil && !errors.Is(err, want) {
			t.Errorf("%x, %v, want %v", got, err, want)
		}
	}
	opens(binding(d, v), nil)
	if err := v.Advance(v.root, v.epoch); err != nil {
		t.Fatal(err)
	}
	opens(binding(d, v), nil)
	opens(binding(d, unprovisioned(t, d)), tpm.ErrBootState)
	if _, err := v.Unseal(sealed, 0); err == nil {
		t.Error("it opens as a vault's secret")
	}
	if _, err := binding(d, v).UnsealBoot(v.now); err == nil {
		t.Error("the secret of a vault opens without its epoch")
	}
	if _, err := binding(d, v).SealBoot(secret[:31]); err == nil {
		t.Error("a short secret is taken")
	}
	if _, err := d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil).SealBoot(secret); err == nil {
		t.Error("it seals without a boot key")
	}
	_, other := machine(t, tpmtest.None)
	opens(binding(other, v), tpm.ErrNotOurs)
	for n := range sealed {
		bad := bytes.Clone(sealed)
		bad[n] ^= 1
		if got, err := binding(d, v).UnsealBoot(bad); err == nil && !bytes.Equal(got, secret) {
			t.Fatalf("byte %d: opens as %x", n, got)
		}
	}
	extend(t, m, 7)
	opens(binding(d, v), tpm.ErrBootState)
}
