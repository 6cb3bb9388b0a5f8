package wire

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"filippo.io/mldsa"

	"github.com/leasehold/leasehold/capability"
)

// PublicKeys are the two public keys of a producer's root or signing key. Every signature is two, and both must verify.
type PublicKeys struct {
	Ed25519 []byte `cbor:"1,keyasint,omitempty" json:"ed25519"`
	MLDSA87 []byte `cbor:"2,keyasint,omitempty" json:"mldsa87"`
}

// Fingerprint is the digest that names the pair: SHA-256 over a label and its encoding.
func (c *Codec) Fingerprint(k PublicKeys) capability.Digest {
	h := sha256.New()
	h.Write([]byte("leasehold producer key v1\x00"))
	h.Write(c.Encode(k))
	return capability.Digest(h.Sum(nil))
}

func (c *Codec) keyID(k PublicKeys) KeyID {
	f := c.Fingerprint(k)
	return KeyID(f[:16])
}

func (k PublicKeys) validate() error {
	if len(k.Ed25519) != ed25519.PublicKeySize || len(k.MLDSA87) != mldsa.MLDSA87PublicKeySize {
		return fmt.Errorf("%w: public keys of %d and %d bytes", ErrMalformed, len(k.Ed25519), len(k.MLDSA87))
	}
	if zeros(k.Ed25519) || zeros(k.MLDSA87) {
		return fmt.Errorf("%w: a public key of zeros, which says that there is none", ErrMalformed)
	}
	return nil
}

func zeros(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }

// ProducerKey signs for a producer: as its root, or as a signing key that the root certified.
type ProducerKey struct {
	ed     crypto.Signer
	ml     *mldsa.PrivateKey
	Public PublicKeys
}

// SeedSize is the secret of a ProducerKey: 32 bytes for each of its two algorithms.
const SeedSize = ed25519.SeedSize + mldsa.PrivateKeySize

// NewProducerKey makes the key pair of a seed of SeedSize bytes of chance.
func NewProducerKey(seed []byte) (*ProducerKey, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("producer key: seed of %d bytes where %d are needed", len(seed), SeedSize)
	}
	ed := ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize])
	ml, err := mldsa.NewPrivateKey(mldsa.MLDSA87(), seed[ed25519.SeedSize:])
	if err != nil {
		return nil, fmt.Errorf("producer key: %w", err)
	}
	return &ProducerKey{ed, ml, PublicKeys{ed.Public().(ed25519.PublicKey), ml.PublicKey().Bytes()}}, nil
}

// NewSplitKey makes the key whose Ed25519 half is kept elsewhere, in a token: ed signs messages, not digests, as package crypto/ed25519 does.
// What it signs is verified before anyone sees it. The ML-DSA-87 half is made of 32 bytes of chance.
func NewSplitKey(ed crypto.Signer, seed []byte) (*ProducerKey, error) {
	public, ok := ed.Public().(ed25519.PublicKey)
	if !ok || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("producer key: %T where an Ed25519 key is wanted", ed.Public())
	}
	ml, err := mldsa.NewPrivateKey(mldsa.MLDSA87(), seed)
	if err != nil {
		return nil, fmt.Errorf("producer key: %w", err)
	}
	return &ProducerKey{ed, ml, PublicKeys{public, ml.PublicKey().Bytes()}}, nil
}

func (k *ProducerKey) signEd25519(message []byte) ([]byte, error) {
	sig, err := k.ed.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("sign with Ed25519: %w", err)
	}
	if !ed25519.Verify(k.Public.Ed25519, message, sig) {
		return nil, fmt.Errorf("sign with Ed25519: %w: what holds the key gave another", ErrSignature)
	}
	return sig, nil
}

// signTwice wraps payload in an Ed25519 envelope and that in an ML-DSA-87 envelope, so that stripping one signature leaves nothing that is taken.
// Both are deterministic: the same payload gives the same bytes.
func (c *Codec) signTwice(k *ProducerKey, typ string, payload []byte, u unprotected) ([]byte, error) {
	id := c.keyID(k.Public)
	inner := c.Encode(header{Alg: AlgEd25519, KID: id, Typ: typ})
	first, err := k.signEd25519(c.toBeSigned(inner, payload))
	if err != nil {
		return nil, err
	}
	in := c.Encode(sign1{Protected: inner, Payload: &payload, Signature: first})
	outer := c.Encode(header{Alg: AlgMLDSA87, KID: id, Typ: typ})
	sig, err := k.ml.SignDeterministic(c.toBeSigned(outer, in), nil)
	if err != nil {
		return nil, fmt.Errorf("sign with ML-DSA-87: %w", err)
	}
	return c.Encode(sign1{Protected: outer, Unprotected: u, Payload: &in, Signature: sig}), nil
}

// twice is a doubly signed item taken apart, with nothing checked but its form.
type twice struct {
	outer, inner *sign1
	kid          KeyID
	payload      []byte
	unprotected  unprotected
}

func (c *Codec) openTwice(b []byte, typ string, limit int) (*twice, error) {
	outer, oh, err := c.open(b, typ, limit, AlgMLDSA87)
	if err != nil {
		return nil, err
	}
	if outer.Payload == nil {
		return nil, fmt.Errorf("%w: no payload", ErrMalformed)
	}
	inner, ih, err := c.open(*outer.Payload, typ, limit, AlgEd25519)
	if err != nil {
		return nil, err
	}
	// Nobody signs the unprotected header: what is not wanted there is refused, so that a signed item has one form only.
	if outer.Unprotected.Proofs != nil || typ != TypResponse && len(outer.Unprotected.Certificate) != 0 {
		return nil, fmt.Errorf("%w: an unsigned header field that does not belong to %s", ErrMalformed, typ)
	}
	if inner.Payload == nil || ih.KID != oh.KID || !inner.Unprotected.empty() {
		return nil, fmt.Errorf("%w: the two envelopes do not belong together", ErrMalformed)
	}
	return &twice{outer, inner, oh.KID, *inner.Payload, outer.Unprotected}, nil
}

// Verdict says which of the two signatures of an item are good.
type Verdict struct {
	Ed25519 bool `json:"ed25519"`
	MLDSA87 bool `json:"mldsa87"`
}

// err is nil only when both are good.
func (v Verdict) err(what string) error {
	switch {
	case v.Ed25519 && v.MLDSA87:
		return nil
	case v.Ed25519:
		return fmt.Errorf("%s: %w: ML-DSA-87 is bad", what, ErrOneSignature)
	case v.MLDSA87:
		return fmt.Errorf("%s: %w: Ed25519 is bad", what, ErrOneSignature)
	}
	return fmt.Errorf("%s: %w", what, ErrSignature)
}

// verify judges both signatures, always both, so that the verdict can say which one is wrong.
func (c *Codec) verify(t *twice, k PublicKeys) Verdict {
	return k.judge(signed{c.toBeSigned(t.inner.Protected, t.payload), t.inner.Signature}, signed{c.toBeSigned(t.outer.Protected, *t.outer.Payload), t.outer.Signature})
}

// signed is a message with a signature that is said to be over it.
type signed struct{ message, signature []byte }

// judge says which of the two is signed by its half of the pair.
func (k PublicKeys) judge(classical, lattice signed) Verdict {
	if k.validate() != nil {
		return Verdict{}
	}
	ml, err := mldsa.NewPublicKey(mldsa.MLDSA87(), k.MLDSA87)
	if err != nil {
		return Verdict{}
	}
	return Verdict{
		Ed25519: ed25519.Verify(k.Ed25519, classical.message, classical.signature),
		MLDSA87: mldsa.Verify(ml, lattice.message, lattice.signature, nil) == nil,
	}
}
