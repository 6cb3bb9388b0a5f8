package backoffice

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"fmt"
	"io"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm/attest"
)

// A machine without a TPM signs with a device key, and is of tier software: the policy says whether it may hold anything. To the book it is a machine like any other:
// its device key stands where the attestation key is, and the key that its content keys are encrypted to where the endorsement key is. It serves nobody, so its
// responses carry no boot states and no certificate.

// proveDevice says whose device key signed a request.
func proveDevice(signed *wire.SignedRequest) (*attest.Identity, error) {
	e, err := wire.VerifyDevice(signed)
	if err != nil {
		return nil, err
	}
	digest := wire.DeviceOf(e.Key)
	return &attest.Identity{HostID: attest.HostID(digest), AK: e.Key, AKName: slices.Concat([]byte{0, 0}, digest[:]), EK: e.Box}, nil
}

// isDevice tells a device key from that of a TPM, whose public area has more bytes.
func isDevice(id *attest.Identity) bool { return len(id.AK) == ed25519.PublicKeySize }

// deviceProof judges the proof of a return by the device key. It shows that the key's owner gave the rights up, at the epoch that he names.
func deviceProof(id *attest.Identity, t capability.Return, digest capability.Digest) entitlement.Proof {
	if err := wire.VerifyDeviceProof(id.AK, t.Proof, digest); err != nil {
		return entitlement.Proof{Fault: err.Error()}
	}
	return entitlement.Proof{Epoch: t.Epoch}
}

// sealToDevice is seal for a machine without a TPM.
func (o *Office) sealToDevice(r *capability.Response, id *attest.Identity) ([]byte, error) {
	key := make([]byte, wire.ContentKeySize)
	if _, err := io.ReadFull(o.rand, key); err != nil {
		return nil, fmt.Errorf("draw a content key: %w", err)
	}
	box, err := ecdh.X25519().NewPublicKey(id.EK)
	if err != nil {
		return nil, fmt.Errorf("wrap to a device key: %w", err)
	}
	public, err := hpke.NewDHKEMPublicKey(box)
	if err != nil {
		return nil, fmt.Errorf("wrap to a device key: %w", err)
	}
	host := capability.Digest(id.HostID)
	kdf, aead, info := wire.DeviceSuite(host)
	encrypted, err := hpke.Seal(public, kdf, aead, info, key)
	if err != nil {
		return nil, fmt.Errorf("wrap to a device key: %w", err)
	}
	s, err := o.signerAt(r.Time)
	if err != nil {
		return nil, err
	}
	return o.codec.SealResponse(s.key, s.certificate, r, wire.DeviceWrap(host, encrypted), key)
}
