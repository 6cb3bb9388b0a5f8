package wire

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// AttestationKeyID is the kid of an AK in a request: the first half of the SHA-256 of its TPMT_PUBLIC, which is also the digest inside its TPM Name.
func AttestationKeyID(ak []byte) KeyID {
	d := sha256.Sum256(ak)
	return KeyID(d[:16])
}

// Trust is what a program embeds to believe a producer: the public keys of its root, and nothing else.
type Trust struct {
	Producer string     `cbor:"1,keyasint,omitzero" json:"producer"` // its name, for people
	Root     PublicKeys `cbor:"2,keyasint,omitzero" json:"root"`
}

// EncodeTrust is the bundle as a file.
func (c *Codec) EncodeTrust(t *Trust) []byte {
	return append(trustMagic(), c.Encode(t)...)
}

// DecodeTrust reads a bundle.
func (c *Codec) DecodeTrust(file []byte) (*Trust, error) {
	b, err := body(file, KindTrust, trustMagic())
	if err != nil {
		return nil, err
	}
	var t Trust
	if err := c.Decode(b, &t, capability.MaxSigned); err != nil {
		return nil, err
	}
	if err := capability.CheckText(t.Producer); err != nil {
		return nil, fmt.Errorf("trust bundle: %w: producer: %w", ErrMalformed, err)
	}
	return &t, t.Root.validate()
}

// KeyCertificate is the root's word on a signing key, and on those that count no more.
type KeyCertificate struct {
	Keys    PublicKeys        `cbor:"1,keyasint,omitzero" json:"keys"`
	Name    string            `cbor:"2,keyasint,omitzero" json:"name"` // producer-2026-A
	From    capability.Time   `cbor:"3,keyasint,omitzero" json:"from"`
	Until   capability.Time   `cbor:"4,keyasint,omitzero" json:"until,omitempty"`
	Number  uint64            `cbor:"5,keyasint,omitzero" json:"number,omitempty"`   // of this root's certificates, each higher than the one before
	Revoked []RevokedKey      `cbor:"6,keyasint,omitempty" json:"revoked,omitempty"` // every signing key that was revoked before
	Limits  capability.Digest `cbor:"7,keyasint,omitzero" json:"limits,omitzero"`    // of what the key may sign (Limits); zero: anything
}

// ApplianceCertificate is a signing key's word on an appliance: answers certified by this AK come from this host, and its rights are the producer's.
// It travels inside the response to the appliance and from there, as it is, to the appliance's clients.
type ApplianceCertificate struct {
	Host   hostid.ID       `cbor:"1,keyasint,omitzero" json:"host"`
	AK     []byte          `cbor:"2,keyasint,omitempty" json:"ak"` // TPMT_PUBLIC
	Serial uint64          `cbor:"3,keyasint,omitzero" json:"serial"`
	From   capability.Time `cbor:"4,keyasint,omitzero" json:"from"`
	Until  capability.Time `cbor:"5,keyasint,omitzero" json:"until,omitempty"`
}

// CertifyKey signs a signing key's certificate with the root.
func (c *Codec) CertifyKey(root *ProducerKey, k *KeyCertificate) ([]byte, error) {
	return c.signTwice(root, TypKey, c.Encode(k), unprotected{})
}

// CertifyAppliance signs an appliance's certificate with a signing key.
func (c *Codec) CertifyAppliance(key *ProducerKey, a *ApplianceCertificate) ([]byte, error) {
	return c.signTwice(key, TypAppliance, c.Encode(a), unprotected{})
}

// SigningKey verifies a key certificate against the root. ErrOtherProducer: its kid is not this root's.
func (c *Codec) SigningKey(t *Trust, certificate []byte) (*KeyCertificate, error) {
	tw, err := c.openTwice(certificate, TypKey, capability.MaxSigned)
	if err != nil {
		return nil, fmt.Errorf("key certificate: %w", err)
	}
	if tw.kid != c.keyID(t.Root) {
		return nil, fmt.Errorf("key certificate: %w", ErrOtherProducer)
	}
	if err := c.verify(tw, t.Root).err("key certificate"); err != nil {
		return nil, err
	}
	var k KeyCertificate
	if err := c.Decode(tw.payload, &k, capability.MaxSigned); err != nil {
		return nil, fmt.Errorf("key certificate: %w", err)
	}
	if err := k.validate(); err != nil {
		return nil, fmt.Errorf("key certificate: %w", err)
	}
	return &k, c.validateRevoked(&k)
}

// validate checks what a key certificate says without a look at what it revokes.
func (k *KeyCertificate) validate() error {
	if err := capability.CheckText(k.Name); err != nil {
		return fmt.Errorf("%w: name: %w", ErrMalformed, err)
	}
	if k.From < 0 || k.Until < 0 || slices.ContainsFunc(k.Revoked, func(r RevokedKey) bool { return r.Since < 0 }) {
		return fmt.Errorf("%w: a time before 1970", ErrMalformed)
	}
	return k.Keys.validate()
}

// validate checks what an appliance certificate says.
func (a *ApplianceCertificate) validate() error {
	if err := a.Host.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(a.AK) == 0 || len(a.AK) > maxPublic {
		return fmt.Errorf("%w: an AK of %d bytes where 1 to %d are allowed", ErrMalformed, len(a.AK), maxPublic)
	}
	if a.From < 0 || a.Until < 0 {
		return fmt.Errorf("%w: a time before 1970", ErrMalformed)
	}
	return nil
}

// signedBy opens an item that a certified signing key signed, and says which signatures are good. The payload is believed only when err is nil.
func (c *Codec) signedBy(k *KeyCertificate, tw *twice, what string) (Verdict, error) {
	if tw.kid != c.keyID(k.Keys) {
		return Verdict{}, fmt.Errorf("%s: %w: its key is not the certified one", what, ErrSignature)
	}
	v := c.verify(tw, k.Keys)
	return v, v.err(what)
}

// timely says why what was made at that time is not within the time of the key that signed it.
func (k *KeyCertificate) timely(what string, at capability.Time) error {
	if at < k.From || k.Until != 0 && at > k.Until {
		return fmt.Errorf("%s: %w: made %s by a key that is good from %s to %s", what, ErrSignature, at, k.From, k.Until)
	}
	return nil
}

// Chain is how a client gets from its producer's root to the serving key of an appliance.
type Chain struct {
	Key       []byte `cbor:"1,keyasint,omitempty" json:"key"`       // key certificate
	Appliance []byte `cbor:"2,keyasint,omitempty" json:"appliance"` // appliance certificate
	Serving   []byte `cbor:"3,keyasint,omitempty" json:"serving"`   // Ed25519 public key, fresh at every start of the appliance
	Statement []byte `cbor:"4,keyasint,omitempty" json:"statement"` // the AK's quote over Serving (tpm/attest)
}

// VerifyChain verifies a chain. judge says whether statement is the word of the TPM key ak over the serving key; tpm/attest has one.
func (c *Codec) VerifyChain(t *Trust, ch *Chain, judge func(ak, statement, serving []byte) error) (*ApplianceCertificate, error) {
	k, err := c.SigningKey(t, ch.Key)
	if err != nil {
		return nil, err
	}
	tw, err := c.openTwice(ch.Appliance, TypAppliance, capability.MaxSigned)
	if err != nil {
		return nil, fmt.Errorf("appliance certificate: %w", err)
	}
	if _, err := c.signedBy(k, tw, "appliance certificate"); err != nil {
		return nil, err
	}
	var a ApplianceCertificate
	if err := c.Decode(tw.payload, &a, capability.MaxSigned); err != nil {
		return nil, fmt.Errorf("appliance certificate: %w", err)
	}
	if err := a.validate(); err != nil {
		return nil, fmt.Errorf("appliance certificate: %w", err)
	}
	if err := k.timely("appliance certificate", a.From); err != nil {
		return nil, err
	}
	if len(ch.Serving) != 32 || zeros(ch.Serving) {
		return nil, fmt.Errorf("serving key: %w: %d bytes, or all of them zeros", ErrMalformed, len(ch.Serving))
	}
	if err := judge(a.AK, ch.Statement, ch.Serving); err != nil {
		return nil, fmt.Errorf("serving key: %w: %w", ErrSignature, err)
	}
	return &a, nil
}
