package backoffice

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
)

// The producer's root may live on a machine without any network: a directory with root.key, trust.lht and every certificate that it ever signed. Files on a stick go
// there and come back: a key request, and the certified key. The root signs nothing else.

// ErrCeremony: a key request or a certificate does not fit; the error says why.
var ErrCeremony = errors.New("it does not fit")

// ErrName: a producer or a key cannot be called so.
var ErrName = errors.New("that is no name for it")

const issuedName = "cert%04d.lhk" // 8.3-safe up to 9,999 certificates

// CreateRoot makes the producer's root in a directory that holds none: the sealed key, and the trust bundle. It is the only secret of this directory.
func CreateRoot(d storage.Disk, producer string, passphrase []byte, cost Cost, rand io.Reader) (*wire.Trust, error) {
	if err := capability.CheckName("producer", producer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrName, err)
	}
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase of %d bytes; at least %d are needed", len(passphrase), MinPassphrase)
	}
	names, err := d.List()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{rootName, trustName} {
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("%w: there is a %s", ErrPresent, name)
		}
	}
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	if err := cost.check(); err != nil {
		return nil, err
	}
	seed := make([]byte, wire.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("draw the root: %w", err)
	}
	defer clear(seed)
	root, err := wire.NewProducerKey(seed)
	if err != nil {
		return nil, err
	}
	trust := &wire.Trust{Producer: producer, Root: root.Public}
	// A cut after the first leaves a root without its trust bundle, which nobody was told of; CopyRoot or CheckRoot of it says so.
	if err := writeKeyFile(d, rootName, seed, Unlock{Passphrase: passphrase}, cost, rand); err != nil {
		return nil, err
	}
	return trust, put(d, trustName, wire.New().EncodeTrust(trust))
}

// openRoot opens the root and compares it with the trust bundle.
func openRoot(c *wire.Codec, keys, top storage.Disk, passphrase []byte) (*wire.ProducerKey, *wire.Trust, error) {
	b, err := top.Read(trustName, capability.MaxSigned)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrTrust, trustName, err)
	}
	trust, err := c.DecodeTrust(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrTrust, trustName, err)
	}
	file, err := keys.Read(rootName, maxKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w: %w", rootName, ErrPassphrase, err)
	}
	seed, err := openKey(rootName, passphrase, file)
	if err != nil {
		return nil, nil, err
	}
	defer clear(seed)
	root, err := wire.NewProducerKey(seed)
	if err != nil {
		return nil, nil, err
	}
	if c.Fingerprint(root.Public) != c.Fingerprint(trust.Root) {
		return nil, nil, fmt.Errorf("%w: %s is another root than that of %s", ErrTrust, rootName, trustName)
	}
	return root, trust, nil
}

// CheckRoot reads a root back: its key opens, and is that of the trust bundle beside it.
func CheckRoot(d storage.Disk, passphrase []byte) (*wire.Trust, error) {
	_, trust, err := openRoot(wire.New(), d, d, passphrase)
	return trust, err
}

// CopyRoot writes a root, its trust bundle and its certificates to another directory that has none, and reads them back from there.
func CopyRoot(from, to storage.Disk, passphrase []byte) (*wire.Trust, error) {
	if _, err := CheckRoot(from, passphrase); err != nil {
		return nil, err
	}
	there, err := to.List()
	if err != nil {
		return nil, err
	}
	names, err := from.List()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name != rootName && name != trustName && issued(name) == 0 {
			continue
		}
		b, err := from.Read(name, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if slices.Contains(there, name) {
			if old, err := to.Read(name, maxKeyFile); err != nil || !slices.Equal(old, b) {
				return nil, fmt.Errorf("%w: there is another %s", ErrPresent, name)
			}
			continue
		}
		if err := put(to, name, b); err != nil {
			return nil, err
		}
	}
	return CheckRoot(to, passphrase)
}

// issued is the number in the name of a certificate's file, or zero.
func issued(name string) (n int) {
	if _, err := fmt.Sscanf(name, issuedName, &n); err != nil || name != fmt.Sprintf(issuedName, n) {
		return 0
	}
	return n
}

// Terms is what the root's people decide about a request.
type Terms struct {
	From, Until capability.Time // zero: as the request asks
	Limits      wire.Limits
	Revoke      []wire.RevokedKey // beside those that were revoked before
	Unknown     bool              // also keys that no certificate of before is of
	After       [][]byte          // certified keys from elsewhere, where the directory does not have all of them
}

// Certify judges a key request and signs its certificate, which it keeps beside the root and gives back as a file.
func Certify(d storage.Disk, passphrase, request []byte, t Terms) ([]byte, *wire.KeyCertificate, error) {
	c := wire.New()
	root, trust, err := openRoot(c, d, d, passphrase)
	if err != nil {
		return nil, nil, err
	}
	names, err := d.List()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if issued(name) == 0 {
			continue
		}
		b, err := d.Read(name, maxKeyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", name, err)
		}
		t.After = append(t.After, b)
	}
	var before []*wire.KeyCertificate
	for _, b := range t.After {
		_, k, err := c.ReadCertifiedKey(trust, b)
		if err != nil {
			return nil, nil, fmt.Errorf("an earlier certificate: %w", err)
		}
		before = append(before, k)
	}
	if key, is := t.unheard(c, before); is {
		return nil, nil, fmt.Errorf("%w: %x is no key that this root certified, here or in a file of --after: compare it with freehold key list; if it is one all the same, add --unknown", ErrCeremony, key[:])
	}
	file, k, err := certify(c, root, before, request, &t)
	if err != nil {
		return nil, nil, err
	}
	return file, k, put(d, fmt.Sprintf(issuedName, k.Number), file)
}

// unheard is a key to revoke that no certificate of before is of, or revoked, unless that was meant: a slip of the hand would leave the one that is meant.
func (t *Terms) unheard(c *wire.Codec, before []*wire.KeyCertificate) (capability.Digest, bool) {
	for _, r := range t.Revoke {
		heard := slices.ContainsFunc(before, func(k *wire.KeyCertificate) bool {
			return c.Fingerprint(k.Keys) == r.Key || slices.ContainsFunc(k.Revoked, func(o wire.RevokedKey) bool { return o.Key == r.Key })
		})
		if !heard && !t.Unknown && r.Key != (capability.Digest{}) {
			return r.Key, true
		}
	}
	return capability.Digest{}, false
}

// certify signs a certificate with a number above those of all before, that revokes what any of them did.
func certify(c *wire.Codec, root *wire.ProducerKey, before []*wire.KeyCertificate, request []byte, t *Terms) ([]byte, *wire.KeyCertificate, error) {
	r, err := c.ReadKeyRequest(request)
	if err != nil {
		return nil, nil, err
	}
	ours := c.Fingerprint(root.Public)
	if r.Root != ours {
		return nil, nil, fmt.Errorf("%w: it asks the root %.8x, and this is %.8x", ErrCeremony, r.Root[:], ours[:])
	}
	k := &wire.KeyCertificate{Keys: r.Keys, Name: r.Name, From: r.From, Until: r.Until, Limits: c.LimitsDigest(t.Limits)}
	if t.From != 0 {
		k.From = t.From
	}
	if t.Until != 0 {
		k.Until = t.Until
	}
	if k.Until != 0 && k.Until < k.From {
		return nil, nil, fmt.Errorf("%w: good from %s to %s", ErrCeremony, k.From, k.Until)
	}
	if err := t.Limits.Validate(); err != nil {
		return nil, nil, err
	}
	for _, b := range append(before, &wire.KeyCertificate{Revoked: t.Revoke}) {
		k.Number = max(k.Number, b.Number)
		for _, revoked := range b.Revoked {
			if !slices.ContainsFunc(k.Revoked, func(o wire.RevokedKey) bool { return o.Key == revoked.Key }) {
				k.Revoked = append(k.Revoked, revoked)
			}
		}
	}
	k.Number++
	for _, revoked := range t.Revoke {
		switch revoked.Key {
		case capability.Digest{}:
			return nil, nil, fmt.Errorf("%w: zeros are the fingerprint of no key, and nothing is revoked by them", ErrCeremony)
		case ours:
			return nil, nil, fmt.Errorf("%w: %.8x is the root itself, which nothing revokes: a new root takes a new trust bundle", ErrCeremony, ours[:])
		}
	}
	if len(k.Revoked) > wire.MaxRevokedKeys {
		return nil, nil, fmt.Errorf("%w: %d keys would be revoked where a certificate names at most %d: a new root is due", ErrCeremony, len(k.Revoked), wire.MaxRevokedKeys)
	}
	if err := c.StillCounts(k, wire.Learn(nil, k)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCeremony, err)
	}
	certificate, err := c.CertifyKey(root, k)
	if err != nil {
		return nil, nil, err
	}
	file := c.EncodeCertifiedKey(&wire.CertifiedKey{Certificate: certificate, Limits: t.Limits})
	if _, _, err := c.ReadCertifiedKey(&wire.Trust{Root: root.Public}, file); err != nil { // before it is kept: the root reads all of them each time
		return nil, nil, fmt.Errorf("%w: nobody would take the certificate: %w", ErrCeremony, err)
	}
	return file, k, nil
}

// HasRoot says whether the root's key is kept beside the back office.
func HasRoot(p Place) bool {
	_, err := p.Keys.Read(rootName, maxKeyFile)
	return err == nil
}

// CertifyHere is Certify with the root that is kept beside the back office.
func (o *Office) CertifyHere(passphrase, request []byte, t Terms) ([]byte, error) {
	root, _, err := openRoot(o.codec, o.place.Keys, o.place.Top, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the root is not kept here: take the request to it", ErrCeremony)
	} else if err != nil {
		return nil, err
	}
	var before []*wire.KeyCertificate
	for _, s := range o.signers {
		before = append(before, s.said)
	}
	for _, s := range o.book.Signers() { // those of keys that are no longer here count too
		before = append(before, &wire.KeyCertificate{Number: s.Number, Revoked: s.Revoked})
	}
	file, _, err := certify(o.codec, root, before, request, &t)
	return file, err
}

// ParseRevoked reads a fingerprint in hexadecimal.
func ParseRevoked(s string, since capability.Time) (wire.RevokedKey, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(capability.Digest{}) {
		return wire.RevokedKey{}, fmt.Errorf("%q is no fingerprint of a key: want 64 hexadecimal digits", s)
	}
	if capability.Digest(b) == (capability.Digest{}) {
		return wire.RevokedKey{}, fmt.Errorf("%q is the fingerprint of no key", s)
	}
	return wire.RevokedKey{Key: capability.Digest(b), Since: since}, nil
}

// RootTrust reads the trust bundle beside a root. It needs no passphrase.
func RootTrust(d storage.Disk) ([]byte, *wire.Trust, error) { return Trust(Place{Top: d}) }
