package hostid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// A security key (FIDO2) is a dongle that proves itself: it made a pair of keys for us and signs what it is asked with the one that never leaves it. What it
// signs is the authenticator data (WebAuthn level 2, 6.1) followed by a digest that we choose, that of a Challenge.

// RelyingParty is for whom a security key makes its pair of keys. It is no domain name, so no web page can ever ask for the same signature.
const RelyingParty = "leasehold:dongle"

// MaxCredentialID bounds the name that a security key gives a pair of keys, in bytes (WebAuthn level 3, 4); many keys wrap the private key in it.
const MaxCredentialID = 1023

const (
	maxSignature      = 72 // an ECDSA signature on P-256 in DER: two integers of at most 33 bytes
	answerBytes       = 37 // authenticator data without more: digest of the relying party, flags, counter
	maxEnrolledBytes  = answerBytes + 16 + 2 + MaxCredentialID + coseKeyBytes
	coseKeyBytes      = 77  // the one encoding of a P-256 key for ES256 in CTAP2's canonical CBOR
	publicKeyBytes    = 65  // the point, uncompressed (SEC 1, 2.3.3)
	maxCredentialText = 128 // a serial number in a USB descriptor is at most 126 characters
)

// The errors of security keys.
var (
	ErrMalformedAnswer = errors.New("malformed answer of a security key")
	ErrOtherAnswer     = errors.New("not this security key's answer to this challenge")                               // another key, challenge, host or relying party
	ErrCopied          = errors.New("the security key's counter did not move on, so there may be a copy of the key")  // signed, and yet not believed
	ErrCopyable        = errors.New("the security key lets its secrets be copied, so it proves nothing about itself") // a passkey that syncs
)

// Flags of authenticator data.
const (
	flagUserPresent     byte = 1 << 0 // it was touched
	flagUserVerified    byte = 1 << 2
	flagBackupEligible  byte = 1 << 3 // the pair of keys may be copied to other devices
	flagBackedUp        byte = 1 << 4
	flagCredential      byte = 1 << 6 // a new pair of keys follows
	flagsOfAnyAnswer         = flagUserPresent | flagUserVerified
	flagsOfAnEnrollment      = flagUserPresent | flagUserVerified | flagCredential
)

// Purpose is what a security key is asked for. It is signed, and the numbers never change.
type Purpose uint8

// The purposes.
const (
	ToEnroll Purpose = 1 + iota // does the new key answer without being touched?
	ToStart                     // the first question after a start
	ToRenew                     // at every interval
	OnDemand                    // when it was plugged in again, or somebody wants to know
)

func (p Purpose) String() string {
	switch p {
	case ToEnroll:
		return "enroll"
	case ToStart:
		return "start"
	case ToRenew:
		return "renew"
	case OnDemand:
		return "demand"
	}
	return fmt.Sprintf("purpose %d", uint8(p))
}

// Nonce is what makes a challenge fresh: 32 bytes of chance, drawn by whoever judges the answer and never used twice. In text it is hexadecimal.
type Nonce [32]byte

// MarshalText writes 64 digits.
func (n Nonce) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText reads exactly 64 digits.
func (n *Nonce) UnmarshalText(text []byte) error {
	if len(text) != 2*len(n) {
		return fmt.Errorf("nonce: %d digits where there must be %d", len(text), 2*len(n))
	}
	if _, err := hex.Decode(n[:], text); err != nil {
		return fmt.Errorf("nonce: %w", err)
	}
	return nil
}

// Challenge is a question to a security key, which only that key can answer and only once.
type Challenge struct {
	Purpose Purpose `json:"purpose"`
	Nonce   Nonce   `json:"nonce"`
	Host    ID      `json:"host"` // who asks: an answer for one appliance is none for another
}

// Digest is what a security key signs of a challenge, in place of the hash of a browser's client data. Every part has a fixed length or says it.
func (c Challenge) Digest() [sha256.Size]byte {
	const version = "leasehold dongle v1"
	b := append([]byte(version), 0, byte(c.Purpose))
	b = append(b, c.Nonce[:]...)
	b = append(b, byte(c.Host.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.Host.Value)))
	return sha256.Sum256(append(b, c.Host.Value...))
}

// Credential is what is kept of a security key when it is enrolled: enough to know its answers, and nothing secret.
// Only ID and PublicKey decide; the rest was said by the key and by the machine it was plugged into, and is for people.
type Credential struct {
	ID        []byte   `cbor:"1,keyasint,omitzero" json:"id"`               // 1 to MaxCredentialID bytes, chosen by the key
	PublicKey []byte   `cbor:"2,keyasint,omitzero" json:"publicKey"`        // a point on P-256, uncompressed
	AAGUID    [16]byte `cbor:"3,keyasint,omitzero" json:"aaguid"`           // its make and model, unproven
	Vendor    uint16   `cbor:"4,keyasint,omitzero" json:"vendor"`           // USB vendor
	Product   uint16   `cbor:"5,keyasint,omitzero" json:"product"`          // USB product
	Serial    string   `cbor:"6,keyasint,omitzero" json:"serial,omitempty"` // USB serial number: at most 128 characters of printable ASCII, often none
}

// Validate checks what came from outside: an ID of an allowed length, a point that is on the curve, a serial number that can be shown.
func (c Credential) Validate() error {
	if n := len(c.ID); n == 0 || n > MaxCredentialID {
		return fmt.Errorf("%w: a credential ID of %d bytes where 1 to %d are allowed", ErrMalformedAnswer, n, MaxCredentialID)
	}
	if _, err := c.key(); err != nil {
		return err
	}
	if len(c.Serial) > maxCredentialText {
		return fmt.Errorf("%w: a serial number of %d characters where at most %d are allowed", ErrMalformedAnswer, len(c.Serial), maxCredentialText)
	}
	for i := range len(c.Serial) {
		if b := c.Serial[i]; b < 0x20 || b > 0x7e {
			return fmt.Errorf("%w: byte %#02x at %d of the serial number is not printable ASCII", ErrMalformedAnswer, b, i)
		}
	}
	return nil
}

func (c Credential) key() (*ecdsa.PublicKey, error) {
	if len(c.PublicKey) != publicKeyBytes {
		return nil, fmt.Errorf("%w: a public key of %d bytes where there must be %d", ErrMalformedAnswer, len(c.PublicKey), publicKeyBytes)
	}
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), c.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %w", ErrMalformedAnswer, err)
	}
	return k, nil
}

// HostID is the identity that the key proves: the digest of its public key. Anybody can write the same digits into the serial number of a USB stick, so a Finding
// with this ID counts for a security key only where it is Proven.
func (c Credential) HostID() ID { return OfDigest(Flexid10, sha256.Sum256(c.PublicKey)) }

// Finding is the key as a part of a machine, after Verify or a Watch said that it answered. One that was only seen on the bus is Weak, and no more than its
// serial number.
func (c Credential) Finding() Finding {
	source := fmt.Sprintf("security key %04x:%04x", c.Vendor, c.Product)
	if c.Serial != "" {
		source += ", serial number " + c.Serial
	}
	return Finding{ID: c.HostID(), Strength: Proven, Source: source}
}

// Assertion is the answer of a security key.
type Assertion struct {
	AuthenticatorData []byte `json:"authenticatorData"`
	Signature         []byte `json:"signature"` // ECDSA with SHA-256 in DER
}

// Verify says whether a is the key's answer to the challenge, and gives the counter in it, which is the last one for the next call.
// The signature is judged before anything that a stranger could have written, so only the key itself, or a copy of it, is ever said to be copied.
//
// The counter must have grown; that of a key that has none is always zero (WebAuthn level 2, 6.1.1). Whether somebody touched the key does not matter.
// Of the two signatures s and n-s that ECDSA has for the same answer both count: the challenge is used up by either.
func (c Credential) Verify(ch Challenge, a Assertion, last uint32) (counter uint32, err error) {
	key, err := c.key()
	if err != nil {
		return 0, err
	}
	if n := len(a.AuthenticatorData); n != answerBytes {
		return 0, fmt.Errorf("%w: %d bytes of authenticator data where there must be %d", ErrMalformedAnswer, n, answerBytes)
	}
	if n := len(a.Signature); n > maxSignature {
		return 0, fmt.Errorf("%w: a signature of %d bytes where at most %d are allowed", ErrMalformedAnswer, n, maxSignature)
	}
	digest := ch.Digest()
	signed := sha256.Sum256(append(append(make([]byte, 0, answerBytes+len(digest)), a.AuthenticatorData...), digest[:]...))
	if !ecdsa.VerifyASN1(key, signed[:], a.Signature) {
		return 0, ErrOtherAnswer
	}
	flags, counter, err := header(a.AuthenticatorData)
	if err != nil {
		return 0, err
	}
	if flags&^flagsOfAnyAnswer != 0 {
		return 0, fmt.Errorf("%w: flags %#02x", ErrMalformedAnswer, flags)
	}
	if counter <= last && (counter != 0 || last != 0) {
		return 0, fmt.Errorf("%w: %d after %d", ErrCopied, counter, last)
	}
	return counter, nil
}

// Enrolled reads the authenticator data of a key that has just made a pair of keys for us because somebody touched it. Nothing in it is signed by the new key:
// whoever enrolls it asks it a Challenge next. ES256 on P-256 is the one algorithm, which every FIDO2 key knows.
func Enrolled(data []byte) (Credential, error) {
	if n := len(data); n < answerBytes+16+2+1+coseKeyBytes || n > maxEnrolledBytes {
		return Credential{}, fmt.Errorf("%w: %d bytes of authenticator data where a new credential has %d to %d", ErrMalformedAnswer,
			n, answerBytes+16+2+1+coseKeyBytes, maxEnrolledBytes)
	}
	flags, _, err := header(data[:answerBytes])
	if err != nil {
		return Credential{}, err
	}
	if flags&^flagsOfAnEnrollment != 0 || flags&flagCredential == 0 || flags&flagUserPresent == 0 {
		return Credential{}, fmt.Errorf("%w: flags %#02x", ErrMalformedAnswer, flags)
	}
	rest := data[answerBytes:]
	c := Credential{AAGUID: [16]byte(rest)}
	n := int(binary.BigEndian.Uint16(rest[16:]))
	rest = rest[18:]
	if len(rest) != n+coseKeyBytes {
		return Credential{}, fmt.Errorf("%w: %d bytes after the length of a credential ID of %d", ErrMalformedAnswer, len(rest), n)
	}
	c.ID = append(c.ID, rest[:n]...)
	// {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}, RFC 9053, 7.1.1
	const beforeX, beforeY = "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", "\x22\x58\x20"
	cose := rest[n:]
	if string(cose[:10]) != beforeX || string(cose[42:45]) != beforeY {
		return Credential{}, fmt.Errorf("%w: the public key is none for ES256", ErrMalformedAnswer)
	}
	c.PublicKey = append(append(append(c.PublicKey, 4), cose[10:42]...), cose[45:]...)
	return c, c.Validate()
}

// header reads the first 37 bytes of authenticator data.
func header(data []byte) (flags byte, counter uint32, err error) {
	if party := sha256.Sum256([]byte(RelyingParty)); [sha256.Size]byte(data) != party {
		return 0, 0, fmt.Errorf("%w: it was made for another relying party", ErrOtherAnswer)
	}
	flags = data[32]
	if flags&(flagBackupEligible|flagBackedUp) != 0 {
		return 0, 0, ErrCopyable
	}
	return flags, binary.BigEndian.Uint32(data[33:]), nil
}
