package wire

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// RevokedKey is a signing key that counts no more. Nothing that it signed is taken from then on, whatever date it bears: who has the key chooses the date.
type RevokedKey struct {
	Key   capability.Digest `cbor:"1,keyasint,omitzero" json:"key"`   // its fingerprint
	Since capability.Time   `cbor:"2,keyasint,omitzero" json:"since"` // from when on it may have been in other hands, for people
}

// Bounds of what a root signs. A chain of one certificate with as many revoked keys and as long a name still fits a frame.
const (
	MaxRevokedKeys   = 32
	MaxKeyName       = 64
	MaxProductLimits = 64
)

// Learn is what is known of revoked keys after a certificate was believed: more than before, or the same, in order.
func Learn(known []capability.Digest, k *KeyCertificate) []capability.Digest {
	for _, r := range k.Revoked {
		if at, there := find(known, r.Key); !there {
			known = slices.Insert(slices.Clone(known), at, r.Key)
		}
	}
	return known
}

// StillCounts is ErrRevoked for the certificate of a key that is known as revoked, from it or from another. known is in the order of Learn.
func (c *Codec) StillCounts(k *KeyCertificate, known []capability.Digest) error {
	if len(known) == 0 {
		return nil
	}
	f := c.Fingerprint(k.Keys)
	if _, revoked := find(known, f); revoked {
		return fmt.Errorf("key %q, fingerprint %.8x: %w", k.Name, f[:], ErrRevoked)
	}
	return nil
}

func find(known []capability.Digest, key capability.Digest) (int, bool) {
	return slices.BinarySearchFunc(known, key, func(a, b capability.Digest) int { return bytes.Compare(a[:], b[:]) })
}

// validateRevoked: a certificate names each key once, and not its own.
func (c *Codec) validateRevoked(k *KeyCertificate) error {
	if len(k.Revoked) > MaxRevokedKeys {
		return fmt.Errorf("key certificate: %w: it revokes %d keys where at most %d are allowed", ErrMalformed, len(k.Revoked), MaxRevokedKeys)
	}
	known := Learn(nil, k)
	if len(known) != len(k.Revoked) || slices.Contains(known, capability.Digest{}) {
		return fmt.Errorf("key certificate: %w: it revokes a key twice, or none", ErrMalformed)
	}
	return c.StillCounts(k, known)
}

// KeyRequest is what a back office asks its root for: a certificate of this key. It is signed by the key itself, so that nobody has another's certified.
type KeyRequest struct {
	Keys  PublicKeys        `cbor:"1,keyasint,omitzero" json:"keys"`
	Name  string            `cbor:"2,keyasint,omitzero" json:"name"`
	From  capability.Time   `cbor:"3,keyasint,omitzero" json:"from"`
	Until capability.Time   `cbor:"4,keyasint,omitzero" json:"until,omitempty"`
	Root  capability.Digest `cbor:"5,keyasint,omitzero" json:"root"` // fingerprint of the root that is asked
}

// Validate checks what a request says without a look at its signatures.
func (r *KeyRequest) Validate() error {
	if err := capability.CheckName("name", r.Name); err != nil {
		return fmt.Errorf("key request: %w: %w", ErrMalformed, err)
	}
	if len(r.Name) > MaxKeyName {
		return fmt.Errorf("key request: %w: a name of %d bytes where at most %d are allowed", ErrMalformed, len(r.Name), MaxKeyName)
	}
	if r.From <= 0 || r.Until < 0 || r.Until != 0 && r.Until < r.From {
		return fmt.Errorf("key request: %w: good from %s to %s", ErrMalformed, r.From, r.Until)
	}
	return r.Keys.validate()
}

// SealKeyRequest makes the file of a request; both halves of the key sign it.
func (c *Codec) SealKeyRequest(key *ProducerKey, r *KeyRequest) ([]byte, error) {
	r.Keys = key.Public
	if err := r.Validate(); err != nil {
		return nil, err
	}
	b, err := c.signTwice(key, TypKeyRequest, c.Encode(r), unprotected{})
	return append(keyRequestMagic(), b...), err
}

// ReadKeyRequest reads the file of a request and verifies that the key in it signed it, with both halves.
func (c *Codec) ReadKeyRequest(file []byte) (*KeyRequest, error) {
	b, err := body(file, KindKeyRequest, keyRequestMagic())
	if err != nil {
		return nil, err
	}
	tw, err := c.openTwice(b, TypKeyRequest, capability.MaxSigned)
	if err != nil {
		return nil, fmt.Errorf("key request: %w", err)
	}
	var r KeyRequest
	if err := c.Decode(tw.payload, &r, capability.MaxSigned); err != nil {
		return nil, fmt.Errorf("key request: %w", err)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if tw.kid != c.keyID(r.Keys) {
		return nil, fmt.Errorf("key request: %w: signed by another key than the one it names", ErrSignature)
	}
	return &r, c.verify(tw, r.Keys).err("key request")
}

// Limits are what the root lets a signing key sign. The certificate names their digest; they themselves stay with the back office.
type Limits struct {
	Hour     uint32         `cbor:"1,keyasint,omitzero" json:"hour,omitempty"`      // responses in one hour; zero: any number
	Day      uint32         `cbor:"2,keyasint,omitzero" json:"day,omitempty"`       // and in one day
	Products []ProductLimit `cbor:"3,keyasint,omitempty" json:"products,omitempty"` // where there are any, no other product is signed
}

// ProductLimit is what a signing key may give of one product.
type ProductLimit struct {
	Product string `cbor:"1,keyasint,omitzero" json:"product"`
	Copies  uint32 `cbor:"2,keyasint,omitzero" json:"copies,omitempty"` // in one response; zero: any number
	Day     uint32 `cbor:"3,keyasint,omitzero" json:"day,omitempty"`    // more than the machines had before, in one day; zero: any number
}

// None says that nothing is limited.
func (l *Limits) None() bool { return l.Hour == 0 && l.Day == 0 && len(l.Products) == 0 }

// Validate checks the bounds: products are named once, in order.
func (l *Limits) Validate() error {
	if len(l.Products) > MaxProductLimits {
		return fmt.Errorf("limits: %w: %d products where at most %d are allowed", ErrMalformed, len(l.Products), MaxProductLimits)
	}
	for n, p := range l.Products {
		if err := capability.CheckName("product", p.Product); err != nil {
			return fmt.Errorf("limits: %w: %w", ErrMalformed, err)
		}
		if n > 0 && l.Products[n-1].Product >= p.Product {
			return fmt.Errorf("limits: %w: product %q is there twice, or out of order", ErrMalformed, p.Product)
		}
	}
	return nil
}

// LimitsDigest names limits in a certificate; no limits are named by none.
func (c *Codec) LimitsDigest(l Limits) capability.Digest {
	if l.None() {
		return capability.Digest{}
	}
	h := sha256.New()
	h.Write([]byte("leasehold signing limits v1\x00"))
	h.Write(c.Encode(l))
	return capability.Digest(h.Sum(nil))
}

// CertifiedKey is what the root gives to a back office: the certificate, which goes out with every response, and the limits that it names, which do not.
type CertifiedKey struct {
	Certificate []byte `cbor:"1,keyasint,omitempty" json:"certificate"`
	Limits      Limits `cbor:"2,keyasint,omitzero" json:"limits,omitzero"`
}

// EncodeCertifiedKey is the file of it.
func (c *Codec) EncodeCertifiedKey(k *CertifiedKey) []byte {
	return append(certifiedKeyMagic(), c.Encode(k)...)
}

// ReadCertifiedKey reads the file and verifies the certificate against the root, and that the limits are those it names.
func (c *Codec) ReadCertifiedKey(t *Trust, file []byte) (*CertifiedKey, *KeyCertificate, error) {
	b, err := body(file, KindCertifiedKey, certifiedKeyMagic())
	if err != nil {
		return nil, nil, err
	}
	var k CertifiedKey
	if err := c.Decode(b, &k, capability.MaxSigned); err != nil {
		return nil, nil, fmt.Errorf("certified key: %w", err)
	}
	certificate, err := c.Certified(t, &k)
	return &k, certificate, err
}

// Certified verifies the certificate of a certified key against the root, and that the limits are those it names.
func (c *Codec) Certified(t *Trust, k *CertifiedKey) (*KeyCertificate, error) {
	certificate, err := c.SigningKey(t, k.Certificate)
	if err != nil {
		return nil, err
	}
	if err := k.Limits.Validate(); err != nil {
		return nil, err
	}
	if got := c.LimitsDigest(k.Limits); got != certificate.Limits {
		return nil, fmt.Errorf("certified key: %w: its limits are not those that the root signed", ErrSignature)
	}
	return certificate, nil
}
