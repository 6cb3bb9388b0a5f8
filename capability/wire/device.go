package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A machine that has no TPM proves a key and nothing else. The key is in a file, so whoever copies the file is the machine: a back office classes it as software,
// whatever it says of itself. Its bytes are no CBOR, as those of a TPM's evidence: a format byte, then fields of fixed length.
const (
	formatDeviceEvidence = 0x81 // Key, Box, Signature
	formatDeviceProof    = 0x91 // Signature
	formatDeviceWrap     = 0xa1 // host ID, encapsulated key, ciphertext

	deviceEvidenceBytes = 1 + ed25519.PublicKeySize + boxBytes + ed25519.SignatureSize
	deviceProofBytes    = 1 + ed25519.SignatureSize
	deviceWrapBytes     = 1 + sha256.Size + boxBytes + ContentKeySize + 16
	boxBytes            = 32 // X25519
)

// DeviceEvidence is the signature field of a request file by a device key (AlgEd25519).
type DeviceEvidence struct {
	Key       []byte `json:"key"`       // Ed25519 public key: the host ID is its digest
	Box       []byte `json:"box"`       // X25519 public key: content keys are encrypted to it
	Signature []byte `json:"signature"` // by Key, over Box and the digest of the request
}

// DeviceOf is the digest by which a device key names its host: SHA-256 of its DER SubjectPublicKeyInfo.
func DeviceOf(key ed25519.PublicKey) capability.Digest {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return capability.Digest{} // of no key of that length
	}
	return sha256.Sum256(der)
}

// DeviceKeyID is the kid of a device key.
func DeviceKeyID(key ed25519.PublicKey) KeyID {
	d := DeviceOf(key)
	return KeyID(d[:16])
}

func deviceStatement(purpose string, parts ...[]byte) []byte {
	return append([]byte("leasehold device "+purpose+" v1\x00"), bytes.Join(parts, nil)...)
}

// SignAsDevice makes the evidence for the digest of a request.
func SignAsDevice(key ed25519.PrivateKey, box *ecdh.PublicKey, digest capability.Digest) []byte {
	b := append([]byte{formatDeviceEvidence}, key.Public().(ed25519.PublicKey)...)
	b = append(b, box.Bytes()...)
	return append(b, ed25519.Sign(key, deviceStatement("request", box.Bytes(), digest[:]))...)
}

// VerifyDevice judges a request file that a device key signed: the evidence, the key ID, and that the first host ID is that key's.
func VerifyDevice(s *SignedRequest) (*DeviceEvidence, error) {
	b := s.Signature
	if s.Alg != AlgEd25519 || len(b) != deviceEvidenceBytes || b[0] != formatDeviceEvidence {
		return nil, fmt.Errorf("device key: %w: no evidence of one in %d bytes", ErrMalformed, len(b))
	}
	e := &DeviceEvidence{Key: b[1:33], Box: b[33:65], Signature: b[65:]}
	switch {
	case s.KID != DeviceKeyID(e.Key):
		return nil, fmt.Errorf("device key: %w: the key ID is not that of the key in the evidence", ErrSignature)
	case !s.Request.Hosts[0].Is(hostid.DeviceKey, DeviceOf(e.Key)):
		return nil, fmt.Errorf("device key: %w: the request says it is %s, and another key signed it", ErrSignature, s.Request.Hosts[0])
	case !ed25519.Verify(e.Key, deviceStatement("request", e.Box, s.Digest[:]), e.Signature):
		return nil, fmt.Errorf("device key: %w", ErrSignature)
	}
	return e, nil
}

// ProveAsDevice makes the proof of a return: the key's word, which is worth what its machine is.
func ProveAsDevice(key ed25519.PrivateKey, digest capability.Digest) []byte {
	return append([]byte{formatDeviceProof}, ed25519.Sign(key, deviceStatement("return", digest[:]))...)
}

// VerifyDeviceProof judges the proof of a return with that digest. ErrSignature: it is not the key's.
func VerifyDeviceProof(key ed25519.PublicKey, proof []byte, digest capability.Digest) error {
	if len(proof) != deviceProofBytes || proof[0] != formatDeviceProof {
		return fmt.Errorf("proof by a device key: %w: %d bytes", ErrMalformed, len(proof))
	}
	if !ed25519.Verify(key, deviceStatement("return", digest[:]), proof[1:]) {
		return fmt.Errorf("proof by a device key: %w", ErrSignature)
	}
	return nil
}

// DeviceSuite is how a content key is encrypted to a device (RFC 9180, base mode): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, and an info that names the host.
func DeviceSuite(host capability.Digest) (hpke.KDF, hpke.AEAD, []byte) {
	return hpke.HKDFSHA256(), hpke.AES256GCM(), append([]byte("leasehold device wrap v1\x00"), host[:]...)
}

// DeviceWrap is the wrap of a response to a device: whom it is for, and what HPKE made of the content key.
func DeviceWrap(host capability.Digest, encrypted []byte) []byte {
	return append(append([]byte{formatDeviceWrap}, host[:]...), encrypted...)
}

// DeviceWrapFor is the host that a wrap is for; false where it is not one to a device.
func DeviceWrapFor(wrap []byte) (hostid.ID, bool) {
	if len(wrap) != deviceWrapBytes || wrap[0] != formatDeviceWrap {
		return hostid.ID{}, false
	}
	return hostid.OfDigest(hostid.DeviceKey, [32]byte(wrap[1:33])), true
}

// UnwrapAsDevice recovers the content key. ErrSignature: it is not for this device, or was altered.
func UnwrapAsDevice(box *ecdh.PrivateKey, host capability.Digest, wrap []byte) ([]byte, error) {
	id, ok := DeviceWrapFor(wrap)
	if !ok {
		return nil, fmt.Errorf("content key: %w: %d bytes, and not for a device key", ErrMalformed, len(wrap))
	}
	if !id.Is(hostid.DeviceKey, host) {
		return nil, fmt.Errorf("content key: %w: it is for %s", ErrSignature, id.Short())
	}
	key, err := hpke.NewDHKEMPrivateKey(box)
	if err != nil {
		return nil, fmt.Errorf("content key: %w", err)
	}
	kdf, aead, info := DeviceSuite(host)
	content, err := hpke.Open(key, kdf, aead, info, wrap[33:])
	if err != nil {
		return nil, fmt.Errorf("content key: %w: %w", ErrSignature, err)
	}
	return content, nil
}
