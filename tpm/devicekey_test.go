package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// A device key signs on its TPM after a restart too, and on no other.
func TestDeviceKey(t *testing.T) {
	m := tpmtest.Start(t)
	d := m.Device(t)
	blob, err := d.NewDeviceKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.DeviceKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("hello"))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), sum[:], sig) {
		t.Fatal(err)
	}
	if _, err := key.Sign(nil, sum[:20], crypto.SHA1); err == nil {
		t.Error("it signs another hash")
	}
	// It is good for the certificate that shows it in TLS.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := x509.ParseCertificate(der); err != nil || c.CheckSignature(x509.ECDSAWithSHA256, c.RawTBSCertificate, c.Signature) != nil {
		t.Error(err)
	}
	again, err := d.DeviceKey(blob)
	if err != nil || !again.Public().(*ecdsa.PublicKey).Equal(key.Public()) {
		t.Error(err)
	}
	other := tpmtest.Start(t).Device(t)
	if _, err := other.DeviceKey(blob); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("on another TPM: %v", err)
	}
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		if k, err := d.DeviceKey(bad); err == nil && !k.Public().(*ecdsa.PublicKey).Equal(key.Public()) {
			t.Errorf("byte %d changed, and it is another key", i)
		}
	}
	if _, err := d.DeviceKey(blob[:len(blob)-1]); err == nil {
		t.Error("a cut blob opens")
	}
}
