package backoffice

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
)

// ErrNoSigningKey: none of the keys here may sign at this moment.
var ErrNoSigningKey = errors.New("no signing key may sign")

// ErrToken: what holds the Ed25519 half of a signing key does not sign with it.
var ErrToken = errors.New("the token does not sign")

// Unlock is what opens signing.key, and what has the part of it that is elsewhere.
type Unlock struct {
	Passphrase []byte
	// TPM opens a signing.key that is sealed to a TPM, and seals it. Nil: it is sealed with the passphrase.
	TPM storage.Sealer
	// Token signs with the Ed25519 half that is kept in a token: messages, not digests. Nil: no key has such a half.
	Token crypto.Signer
}

// secrets is what signing.key holds: all that answering takes, and nothing of the root.
type secrets struct {
	Seed        []byte `cbor:"1,keyasint,omitempty"` // of the first signing key, where it is not among Keys
	Boot        []byte `cbor:"2,keyasint,omitempty"` // P-256 scalar of the boot key
	Book        []byte `cbor:"3,keyasint,omitempty"` // wraps the book's secret
	Certificate []byte `cbor:"4,keyasint,omitempty"` // of the first signing key, by the root
	Keys        []held `cbor:"5,keyasint,omitempty"` // in the order they were made
}

// held is one signing key.
type held struct {
	Name        string      `cbor:"1,keyasint,omitzero"`
	Seed        []byte      `cbor:"2,keyasint,omitempty"` // of both halves, or of the ML-DSA-87 half where the other is in a token
	Token       []byte      `cbor:"3,keyasint,omitempty"` // Ed25519 public key of that half
	Certificate []byte      `cbor:"4,keyasint,omitempty"` // none: it was asked for and has not come
	Limits      wire.Limits `cbor:"5,keyasint,omitzero"`
}

// maxHeld keys: a year of one a month, and those that wait. Each is 7.5 kB with its certificate.
const maxHeld = 7

// public is the key's pair, which needs no token.
func (h *held) public() (wire.PublicKeys, error) {
	k, err := h.key(storedHalf{h.Token})
	if err != nil {
		return wire.PublicKeys{}, err
	}
	return k.Public, nil
}

// storedHalf is the Ed25519 half of a key whose token is not here.
type storedHalf struct{ key ed25519.PublicKey }

func (s storedHalf) Public() crypto.PublicKey { return s.key }

func (s storedHalf) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, fmt.Errorf("%w: none was named", ErrToken)
}

// key is the key, with the token for its other half where it has one there.
func (h *held) key(token crypto.Signer) (*wire.ProducerKey, error) {
	if len(h.Token) == 0 {
		return wire.NewProducerKey(h.Seed)
	}
	if token == nil {
		token = storedHalf{h.Token}
	}
	if public, ok := token.Public().(ed25519.PublicKey); !ok || !public.Equal(ed25519.PublicKey(h.Token)) {
		return nil, fmt.Errorf("%w: it has another key than %q", ErrToken, h.Name)
	}
	return wire.NewSplitKey(token, h.Seed)
}

// createKeys makes the root, unless it is elsewhere, and the first signing key and writes the files, the root first: a signing key without its root could never be replaced.
func createKeys(c *wire.Codec, d storage.Disk, passphrase []byte, s *Setup, now capability.Time, rand io.Reader) (*wire.Trust, *secrets, error) {
	cost := s.Cost
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	if err := cost.check(); err != nil {
		return nil, nil, err
	}
	keys, err := newSecrets(rand)
	if err != nil {
		return nil, nil, err
	}
	trust := s.Root
	if trust == nil {
		rootSeed := make([]byte, wire.SeedSize)
		keys.Seed = make([]byte, wire.SeedSize)
		for _, seed := range [][]byte{rootSeed, keys.Seed} {
			if _, err := io.ReadFull(rand, seed); err != nil {
				return nil, nil, fmt.Errorf("draw the producer's keys: %w", err)
			}
		}
		root, err := wire.NewProducerKey(rootSeed)
		if err != nil {
			return nil, nil, err
		}
		signer, err := wire.NewProducerKey(keys.Seed)
		if err != nil {
			return nil, nil, err
		}
		if keys.Certificate, err = c.CertifyKey(root, &wire.KeyCertificate{Keys: signer.Public, Name: s.KeyName, From: now}); err != nil {
			return nil, nil, err
		}
		trust = &wire.Trust{Producer: s.Policy.Producer, Root: root.Public}
		if err := writeKeyFile(d, rootName, rootSeed, Unlock{Passphrase: passphrase}, cost, rand); err != nil {
			return nil, nil, err
		}
	}
	return trust, keys, keys.write(c, d, Unlock{Passphrase: passphrase}, cost, rand)
}

// newSecrets draws the keys that are no signing key.
func newSecrets(rand io.Reader) (*secrets, error) {
	keys := &secrets{Book: make([]byte, bookKeyBytes)}
	if _, err := io.ReadFull(rand, keys.Book); err != nil {
		return nil, fmt.Errorf("draw the book's key: %w", err)
	}
	boot, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err == nil {
		keys.Boot, err = boot.Bytes()
	}
	if err != nil {
		return nil, fmt.Errorf("draw the boot key: %w", err)
	}
	return keys, nil
}

// writeKeyFile seals a key file with the TPM where one is named, else with the passphrase.
func writeKeyFile(d storage.Disk, name string, plain []byte, u Unlock, cost Cost, rand io.Reader) error {
	var b []byte
	var err error
	if u.TPM != nil {
		b, err = sealToTPM(u.TPM, name, plain, rand)
	} else {
		b, err = sealKey(cost, name, u.Passphrase, plain, rand)
	}
	if err != nil {
		return err
	}
	return put(d, name, b)
}

func (s *secrets) write(c *wire.Codec, d storage.Disk, u Unlock, cost Cost, rand io.Reader) error {
	return writeKeyFile(d, signingName, c.Encode(s), u, cost, rand)
}

// SealedToTPM says without a secret whether signing.key is sealed to a TPM.
func SealedToTPM(p Place) (bool, error) {
	file, err := p.Keys.Read(signingName, maxKeyFile)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", signingName, err)
	}
	return len(file) > 0 && file[0] == tpmFormat, nil
}

func openSigning(c *wire.Codec, d storage.Disk, u Unlock) (*secrets, error) {
	file, err := d.Read(signingName, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTooLarge) {
		return nil, fmt.Errorf("open %s: %w: %w", signingName, ErrPassphrase, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", signingName, err)
	}
	var plain []byte
	if len(file) > 0 && file[0] == tpmFormat {
		plain, err = openWithTPM(u.TPM, signingName, file)
	} else {
		plain, err = openKey(signingName, u.Passphrase, file)
	}
	if err != nil {
		return nil, err
	}
	return decodeSecrets(c, signingName, plain)
}

func decodeSecrets(c *wire.Codec, name string, plain []byte) (*secrets, error) {
	var s secrets
	if err := c.Decode(plain, &s, maxKeyFile); err != nil {
		return nil, fmt.Errorf("open %s: %w: %w", name, ErrPassphrase, err)
	}
	if len(s.Boot) != bootKeyBytes || len(s.Book) != bookKeyBytes || len(s.Keys) > maxHeld {
		return nil, fmt.Errorf("open %s: %w: secrets of %d and %d bytes, %d keys", name, ErrPassphrase, len(s.Boot), len(s.Book), len(s.Keys))
	}
	if len(s.Seed) > 0 {
		s.Keys = append([]held{{Seed: s.Seed, Certificate: s.Certificate}}, s.Keys...)
		s.Seed, s.Certificate = nil, nil
	}
	for n := range s.Keys {
		if _, err := s.Keys[n].public(); err != nil {
			return nil, fmt.Errorf("open %s: %w: %w", name, ErrPassphrase, err)
		}
	}
	return &s, nil
}

// signer is a key that is certified.
type signer struct {
	key         *wire.ProducerKey
	certificate []byte
	said        *wire.KeyCertificate
	fingerprint capability.Digest
	limits      wire.Limits
}

// take makes the keys of their secrets, and checks that they belong to the root of the trust bundle.
func (o *Office) take(s *secrets, token crypto.Signer) error {
	var err error
	if o.boot, err = bootKey(s.Boot); err != nil {
		return err
	}
	for n := range s.Keys {
		h := &s.Keys[n]
		if len(h.Certificate) == 0 {
			continue
		}
		said, err := o.codec.Certified(o.trust, &wire.CertifiedKey{Certificate: h.Certificate, Limits: h.Limits})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTrust, err)
		}
		key, err := h.key(token)
		if err != nil {
			return err
		}
		fingerprint := o.codec.Fingerprint(key.Public)
		if fingerprint != o.codec.Fingerprint(said.Keys) {
			return fmt.Errorf("%w: the certificate is for another signing key", ErrTrust)
		}
		o.signers = append(o.signers, signer{key, h.Certificate, said, fingerprint, h.Limits})
		o.revoked = wire.Learn(o.revoked, said)
	}
	return nil
}

// known are the fingerprints of all keys that a certificate here or on record revokes, in order.
func (o *Office) known() []capability.Digest {
	known := o.revoked
	for _, s := range o.book.Signers() {
		known = wire.Learn(known, &wire.KeyCertificate{Revoked: s.Revoked})
	}
	return known
}

// unheard is a key that is known to be revoked and that a certificate says nothing of: the one that it is of, else one that it does not revoke. Neither may sign. Of a key that is revoked nobody takes
// anything; and whoever hears only of the other's responses would go on believing the key that was revoked.
func (o *Office) unheard(known []capability.Digest, k *wire.KeyCertificate) (capability.Digest, bool) {
	own := o.codec.Fingerprint(k.Keys)
	if slices.Contains(known, own) {
		return own, true
	}
	for _, key := range known {
		if !slices.ContainsFunc(k.Revoked, func(r wire.RevokedKey) bool { return r.Key == key }) {
			return key, true
		}
	}
	return capability.Digest{}, false
}

// standing is what keeps a key from signing at a moment, as a state and in words; both are empty where it may.
func (o *Office) standing(s *signer, known []capability.Digest, at capability.Time) (state, why string) {
	key, is := o.unheard(known, s.said)
	switch newer := o.book.Replaced(s.fingerprint, s.said.Number); {
	case is && key == s.fingerprint:
		return "revoked", fmt.Sprintf("%s is revoked", s.said.Name)
	case newer != "":
		return "replaced", fmt.Sprintf("%s: %s", s.said.Name, newer)
	case s.said.Until != 0 && at > s.said.Until:
		return "ended", fmt.Sprintf("%s signs from %s to %s, and it is %s", s.said.Name, s.said.From, s.said.Until, at)
	case is:
		return "replaced", fmt.Sprintf("%s was certified before the key %.8x was revoked, and its responses would not say so: have a new key certified", s.said.Name, key[:])
	case at < s.said.From:
		return "begins", fmt.Sprintf("%s signs from %s on, and it is %s", s.said.Name, s.said.From, at)
	}
	return "", ""
}

// signerAt is the key that signs at a moment: of those that may, the one that was certified last.
func (o *Office) signerAt(at capability.Time) (*signer, error) {
	var best *signer
	why := "none is certified"
	known := o.known()
	for n := range o.signers {
		s := &o.signers[n]
		if state, no := o.standing(s, known, at); state != "" {
			why = no
		} else if best == nil || s.said.Number > best.said.Number {
			best = s
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoSigningKey, why)
	}
	return best, nil
}

// recorded is what the book is told of a certificate.
func (s *signer) recorded() entitlement.Signer {
	k := s.said
	name := k.Name
	if name == "" {
		name = fmt.Sprintf("%.8x", s.fingerprint[:])
	}
	return entitlement.Signer{Key: s.fingerprint, Name: name, From: k.From, Until: k.Until, Number: k.Number, Limits: k.Limits, Revoked: k.Revoked}
}
