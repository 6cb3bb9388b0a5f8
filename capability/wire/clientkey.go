package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// KeyKind is what kind of key a client's device key is. Numbers are on disk.
type KeyKind uint8

// The kinds that a server takes.
const (
	KeyEd25519 KeyKind = iota + 1
	KeyP256
	KeyRSA2048

	lastKeyKind = KeyRSA2048
)

func (k KeyKind) String() string {
	if k == 0 || k > lastKeyKind {
		return "of no kind"
	}
	return [...]string{"Ed25519", "P-256", "RSA-2048"}[k-1]
}

// Taken says that the kind is one of those above.
func (k KeyKind) Taken() bool { return k != 0 && k <= lastKeyKind }

// MarshalText is the name.
func (k KeyKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes of a kind that is taken.
func (k *KeyKind) UnmarshalText(b []byte) error {
	for one := KeyEd25519; one <= lastKeyKind; one++ {
		if one.String() == string(b) {
			*k = one
			return nil
		}
	}
	return fmt.Errorf("%q is no kind of a client's key", b)
}

const rsaBits = 2048

// KeyKindOf says what kind of device key a public key is. The error is a *capability.Refusal: ErrKeySize or ErrKeyKind.
func KeyKindOf(public crypto.PublicKey) (KeyKind, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return KeyEd25519, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return 0, capability.Refuse(capability.ErrKeySize, "", "an elliptic curve key on %s", k.Curve.Params().Name)
		}
		return KeyP256, nil
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); {
		case bits != rsaBits:
			return 0, capability.Refuse(capability.ErrKeySize, "", "an RSA key of %d bits", bits)
		case k.E < 3 || k.E%2 == 0:
			return 0, capability.Refuse(capability.ErrKeyKind, "", "an RSA key with the exponent %d, with which anybody can sign", k.E)
		}
		return KeyRSA2048, nil
	}
	return 0, capability.Refuse(capability.ErrKeyKind, "", "a key of another algorithm")
}

// MaxKeyFile bounds the file of a public key, in bytes: RSA with 16384 bits fits, so that it is refused by its size.
const MaxKeyFile = 4 << 10

// ReadClientKey reads the file of a device key's public half: DER, as a SubjectPublicKeyInfo (RFC 5280) or of RSA as an RSAPublicKey (RFC 8017). The digest is that by which leases belong to the key: SHA-256 of its
// SubjectPublicKeyInfo. The error is a *capability.Refusal that names what the file is instead, and nothing of what is in it: ErrKeyPEM, ErrKeyPrivate, ErrKeySize, ErrKeyKind or ErrKeyForm.
func ReadClientKey(file []byte) (KeyKind, capability.Digest, error) {
	no := func(c capability.Code, format string, args ...any) (KeyKind, capability.Digest, error) {
		return 0, capability.Digest{}, capability.Refuse(c, "", format, args...)
	}
	switch {
	case len(file) == 0:
		return no(capability.ErrKeyForm, "the file is empty")
	case isPEM(file) && bytes.Contains(file, []byte("PRIVATE KEY-----")):
		return no(capability.ErrKeyPrivate, "in PEM")
	case isPEM(file):
		return no(capability.ErrKeyPEM, "")
	case len(file) > MaxKeyFile:
		return no(capability.ErrKeyForm, "%d bytes or more, where a public key has at most %d", MaxKeyFile+1, MaxKeyFile)
	}
	parts, ok := sequence(file)
	switch {
	case !ok:
		return no(capability.ErrKeyForm, "%d bytes that are no DER", len(file))
	case private(parts):
		return no(capability.ErrKeyPrivate, "in DER")
	case len(parts) == 3 && parts[0].Tag == asn1.TagSequence && parts[1].Tag == asn1.TagSequence && parts[2].Tag == asn1.TagBitString:
		return no(capability.ErrKeyKind, "a certificate, or a request for one, and not the key alone")
	}
	public, err := x509.ParsePKIXPublicKey(file)
	if err != nil {
		one, rerr := x509.ParsePKCS1PublicKey(file)
		if rerr != nil {
			return no(capability.ErrKeyForm, "%v", err)
		}
		public = one
	}
	kind, err := KeyKindOf(public)
	if err != nil {
		return 0, capability.Digest{}, err
	}
	info, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return no(capability.ErrKeyForm, "%v", err)
	}
	// A second form of the same key would have another digest than the one that a connection shows.
	if parts[0].Tag == asn1.TagSequence && !bytes.Equal(info, file) {
		return no(capability.ErrKeyForm, "not the DER that every program makes of this key")
	}
	return kind, sha256.Sum256(info), nil
}

// isPEM says that the file is text with a block of PEM in it, whole or cut.
func isPEM(file []byte) bool {
	block, _ := pem.Decode(file)
	return block != nil || bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN "))
}

// sequence is what a SEQUENCE in DER holds, where the file is one and nothing else.
func sequence(file []byte) (parts []asn1.RawValue, ok bool) {
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(file, &outer); err != nil || len(rest) > 0 || outer.Class != asn1.ClassUniversal || outer.Tag != asn1.TagSequence {
		return nil, false
	}
	for b := outer.Bytes; len(b) > 0; {
		var v asn1.RawValue
		var err error
		if b, err = asn1.Unmarshal(b, &v); err != nil {
			return nil, false
		}
		parts = append(parts, v)
	}
	return parts, len(parts) > 0
}

// private says that the parts are those of a private key. All its forms but the encrypted one begin with their version, a number that is no modulus (RFC 5958, 8017, 5915).
func private(parts []asn1.RawValue) bool {
	first := parts[0]
	versioned := first.Tag == asn1.TagInteger && len(first.Bytes) <= 2
	encrypted := len(parts) == 2 && first.Tag == asn1.TagSequence && parts[1].Tag == asn1.TagOctetString
	return versioned || encrypted
}
