package wire

import (
	"bytes"
	"encoding/hex"

	"github.com/leasehold/leasehold/capability"
)

// updates are the manifests of images for appliances.
func (s *set) updates() {
	c, keys := s.c, s.producerKeys()
	delete(keys, "contentKey")
	root, signing, err := keyPair(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	validity := KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000}
	u := Update{Version: "2026.10.2", Security: 300, Time: 5000, RootHash: digest(0x61), Root: UpdatePart{44040192, digest(0x62)}, Verity: UpdatePart{352256, digest(0x63)}, Kernel: UpdatePart{24012288, digest(0x64)},
		Boot: capability.Boot{Key: []byte("public key"), Ref: []byte("ref"), States: [][]byte{append([]byte{0x41}, make([]byte, 160)...)}}}
	good := s.good("update", "update-good", "an update of an image, with a boot state that is signed ahead", updateInput{validity, u}, keys)
	least := u
	least.Version, least.Security, least.Boot = "0.1", 1, capability.Boot{}
	s.good("update", "update-least", "an update of an image without boot states", updateInput{validity, least}, keys)

	validity.Keys = signing.Public
	if u.Certificate, err = c.CertifyKey(root, &validity); err != nil {
		s.t.Fatal(err)
	}
	judge := judgeKeys(keys)
	bad := func(name, expect, description string, b []byte) {
		s.bad("update", "update-"+name, expect, description, b, judge)
	}
	plain := func(*twiceSigned) {}
	signed := func(u Update, key *ProducerKey, f func(*twiceSigned)) []byte {
		return append(updateMagic(), s.twice(key, TypUpdate, c.Encode(&u), f)...)
	}
	bad("cut", "cut", "half of a good update", good[:len(good)/2])
	bad("kind", "kind", "an update under the magic of a response", append(responseMagic(), good[9:]...))
	bad("typ", "type", "the envelopes are of type response", append(updateMagic(), s.twice(signing, TypResponse, c.Encode(&u), plain)...))
	bad("one-signature", "one-signature", "the Ed25519 signature is bad", signed(u, signing, func(w *twiceSigned) { w.changeInner = lastFlipped }))
	bad("outer-flipped", "one-signature", "the ML-DSA-87 signature is bad", signed(u, signing, func(w *twiceSigned) { w.changeOuter = lastFlipped }))
	bad("anothers-key", "signature", "signed by another key than the certified one", signed(u, root, plain))
	bad("anothers-kid", "signature", "signed by another key under the kid of the certified one", signed(u, root, func(w *twiceSigned) {
		w.kidInner, w.kidOuter = c.keyID(signing.Public), c.keyID(signing.Public)
	}))
	bad("digest-flipped", "signature", "one bit of the digest of the root is another", s.flipIn(good, bytes.Repeat([]byte{0x62}, 32), 3))
	bad("smuggles", "malformed", "a certificate in the unprotected header", signed(u, signing, func(w *twiceSigned) { w.outerExtra.Certificate = u.Certificate }))
	bad("trailing-byte", "malformed", "one byte after a good update", append(bytes.Clone(good), 0))
	bad("oversize", "size", "an update above its limit", nil)
	s.last().Hex, s.last().Pad = hex.EncodeToString(good), capability.MaxSigned
	for _, row := range []struct {
		name, expect, description string
		change                    func(*Update)
	}{
		{"release", "malformed", "a release of letters", func(u *Update) { u.Version = "2026.b" }},
		{"release-zeros", "malformed", "a release with a leading zero, which would be another name of one", func(u *Update) { u.Version = "2026.01" }},
		{"release-one", "malformed", "a release of one number", func(u *Update) { u.Version = "2026" }},
		{"release-path", "malformed", "a release that leads elsewhere", func(u *Update) { u.Version = "../2026.1" }},
		{"security-none", "malformed", "without a security version", func(u *Update) { u.Security = 0 }},
		{"security-high", "malformed", "security version 4096", func(u *Update) { u.Security = MaxSecurity + 1 }},
		{"no-time", "malformed", "without a time", func(u *Update) { u.Time = 0 }},
		{"no-root-hash", "malformed", "without a root hash", func(u *Update) { u.RootHash = capability.Digest{} }},
		{"no-verity", "malformed", "without one of its files", func(u *Update) { u.Verity = UpdatePart{} }},
		{"no-digest", "malformed", "a file without a digest", func(u *Update) { u.Root.SHA256 = capability.Digest{} }},
		{"part-empty", "malformed", "a file of no bytes", func(u *Update) { u.Kernel.Size = 0 }},
		{"part-large", "malformed", "a file above its limit", func(u *Update) { u.Root.Size = MaxPart + 1 }},
		{"no-certificate", "malformed", "without a key certificate", func(u *Update) { u.Certificate = nil }},
		{"state", "malformed", "a signed boot state of 160 bytes", func(u *Update) { u.Boot.States = [][]byte{append([]byte{0x41}, make([]byte, 159)...)} }},
		{"key-expired", "signature", "made after the end of its key", func(u *Update) { u.Time = 9001 }},
		{"key-too-new", "signature", "made before the beginning of its key", func(u *Update) { u.Time = 999 }},
		{"by-itself", "other-producer", "the signing key certified itself", func(u *Update) { u.Certificate = s.twice(signing, TypKey, c.Encode(&validity), plain) }},
	} {
		o := u
		row.change(&o)
		bad(row.name, row.expect, row.description, signed(o, signing, plain))
	}
	f := c.Fingerprint(signing.Public)
	bad("revoked", "revoked", "good, by a key that the reader knows as revoked", good)
	known := judgeKeys(keys)
	known["revoked"] = hex.EncodeToString(f[:])
	s.last().Keys = known
}
