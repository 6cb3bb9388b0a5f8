package backoffice

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
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

// Changes of signing.key. Each is one file written whole; what the book is told of a new certificate comes after it, and is made up for by the next answer after a cut.

// KeyAsk is what a key request asks for.
type KeyAsk struct {
	Name        string          // of a new key
	From, Until capability.Time // zero: from now; without end
	// Again asks for another certificate of the key that signs now, with other limits or revocations, instead of a new key.
	Again bool
	// InToken has the Ed25519 half of the new key be the token's.
	InToken bool
}

// RequestKey makes a new signing key that waits for its certificate, and the request for one. A key of that name that waits already is asked for again.
func (o *Office) RequestKey(u Unlock, ask KeyAsk, now capability.Time) ([]byte, error) {
	r := &wire.KeyRequest{Name: ask.Name, From: ask.From, Until: ask.Until, Root: o.codec.Fingerprint(o.trust.Root)}
	if r.From == 0 {
		r.From = now
	}
	if ask.Again {
		s, err := o.signerAt(now)
		if err != nil {
			return nil, err
		}
		if r.Name = s.said.Name; r.Name == "" {
			r.Name = "producer"
		}
		if ask.From == 0 {
			r.From = s.said.From
		}
		if ask.Until == 0 {
			r.Until = s.said.Until
		}
		return o.codec.SealKeyRequest(s.key, r)
	}
	if len(ask.Name) > wire.MaxKeyName {
		return nil, fmt.Errorf("%w: %d bytes where at most %d are allowed", ErrName, len(ask.Name), wire.MaxKeyName)
	}
	if err := capability.CheckName("name", ask.Name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrName, err)
	}
	at := slices.IndexFunc(o.secrets.Keys, func(h held) bool { return h.Name == ask.Name })
	switch {
	case at >= 0 && len(o.secrets.Keys[at].Certificate) > 0:
		return nil, fmt.Errorf("%w: a key of the name %q is certified already", ErrCeremony, ask.Name)
	case at < 0:
		h, err := o.newKey(ask, u.Token)
		if err != nil {
			return nil, err
		}
		keys := append(o.lasting(now), *h)
		if err := o.keep(u, keys); err != nil {
			return nil, err
		}
		at = len(keys) - 1
	}
	key, err := o.secrets.Keys[at].key(u.Token)
	if err != nil {
		return nil, err
	}
	return o.codec.SealKeyRequest(key, r)
}

func (o *Office) newKey(ask KeyAsk, token crypto.Signer) (*held, error) {
	h := &held{Name: ask.Name, Seed: make([]byte, wire.SeedSize)}
	if ask.InToken {
		if token == nil {
			return nil, fmt.Errorf("%w: none was named", ErrToken)
		}
		public, ok := token.Public().(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("%w: it has no Ed25519 key", ErrToken)
		}
		h.Token, h.Seed = public, h.Seed[ed25519.SeedSize:]
	}
	if _, err := io.ReadFull(o.rand, h.Seed); err != nil {
		return nil, fmt.Errorf("draw a signing key: %w", err)
	}
	return h, nil
}

// LastLimits are those of the key that signs now, or else of the one here that was certified last: what a new key is kept to unless the root's people say otherwise.
func (o *Office) LastLimits(now capability.Time) (l wire.Limits) {
	if s, err := o.signerAt(now); err == nil {
		return s.limits
	}
	var number uint64
	for _, s := range o.signers {
		if s.said.Number >= number {
			number, l = s.said.Number, s.limits
		}
	}
	return l
}

// Revocation says what is known of a key that is about to be revoked: whether it is one of this back office or of its record, and whether it is revoked already.
func (o *Office) Revocation(key capability.Digest) (ours, revoked bool) {
	for n := range o.secrets.Keys {
		public, err := o.secrets.Keys[n].public()
		ours = ours || err == nil && o.codec.Fingerprint(public) == key
	}
	ours = ours || slices.ContainsFunc(o.book.Signers(), func(s entitlement.Signer) bool { return s.Key == key })
	return ours, slices.Contains(o.known(), key)
}

// lasting are the keys that may sign now or later, or wait for their certificate.
func (o *Office) lasting(now capability.Time) (list []held) {
	for _, h := range o.secrets.Keys {
		if len(h.Certificate) > 0 {
			said, err := o.codec.SigningKey(o.trust, h.Certificate)
			if err == nil && (o.codec.StillCounts(said, o.known()) != nil || said.Until != 0 && said.Until < now) {
				continue
			}
		}
		list = append(list, h)
	}
	return list
}

// keep writes signing.key with these keys, sealed as u says, and signs with them from then on.
func (o *Office) keep(u Unlock, keys []held) error {
	if len(keys) > maxHeld {
		return fmt.Errorf("%w: %d keys where at most %d are kept: revoke one, or wait until one has ended", ErrCeremony, len(keys), maxHeld)
	}
	s := &secrets{Boot: o.secrets.Boot, Book: o.secrets.Book, Keys: keys}
	if n := len(o.codec.Encode(s)); n > maxKeyFile-maxBlobSealed-keyHeader {
		return fmt.Errorf("%w: the keys and their limits have %d bytes, which are more than %s holds", ErrCeremony, n, signingName)
	}
	next := *o
	next.signers, next.revoked = nil, o.revoked
	if err := next.take(s, u.Token); err != nil {
		return err
	}
	cost, err := keptCost(o.place.Keys)
	if err != nil {
		return err
	}
	if err := s.write(o.codec, o.place.Keys, u, cost, o.rand); err != nil {
		return err
	}
	o.secrets, o.signers, o.revoked = s, next.signers, next.revoked
	return nil
}

// keptCost is what a guess of the passphrase costs today.
func keptCost(d storage.Disk) (Cost, error) {
	file, err := d.Read(signingName, maxKeyFile)
	if err != nil {
		return Cost{}, fmt.Errorf("open %s: %w", signingName, err)
	}
	if len(file) < keyHeader || file[0] != keyFormat {
		return DefaultCost(), nil
	}
	c := Cost{binary.BigEndian.Uint32(file[1:]), binary.BigEndian.Uint32(file[5:]), file[9]}
	return c, c.check()
}

// InstallKey takes a certified key that the root made for a key of this back office: a new one, or one that signs already. It must have a higher number than every
// certificate before, and revoke what any of them did. One that revokes more must leave a key that signs now, if there was one.
func (o *Office) InstallKey(u Unlock, file []byte, by string, now capability.Time) (*wire.KeyCertificate, error) {
	k, said, err := o.codec.ReadCertifiedKey(o.trust, file)
	if err != nil {
		return nil, err
	}
	fingerprint := o.codec.Fingerprint(said.Keys)
	known := o.known()
	if err := o.codec.StillCounts(said, known); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCeremony, err)
	}
	keys := slices.Clone(o.secrets.Keys)
	at := -1
	for n := range keys {
		public, err := keys[n].public()
		if err != nil {
			return nil, err
		}
		if o.codec.Fingerprint(public) == fingerprint {
			at = n
		}
		if len(keys[n].Certificate) == 0 {
			continue
		}
		before, err := o.codec.SigningKey(o.trust, keys[n].Certificate)
		if err != nil {
			return nil, err
		}
		if said.Number <= before.Number && !slices.Equal(keys[n].Certificate, k.Certificate) {
			return nil, fmt.Errorf("%w: it is certificate %d, and %d is here", ErrCeremony, said.Number, before.Number)
		}
	}
	if key, is := o.unheard(known, said); is {
		return nil, fmt.Errorf("%w: it does not revoke the key %.8x, which a certificate before it did: the root was used without that one. Certify again there, "+
			"with --after and the newest certified key, or with --revoke and that key", ErrCeremony, key[:])
	}
	if _, err := o.signerAt(now); err == nil && said.From > now && len(wire.Learn(known, said)) > len(known) {
		return nil, fmt.Errorf("%w: it revokes a key at once and signs only from %s; until then no key could sign that says so: certify again without a date from which it signs, or revoke later", ErrCeremony, said.From)
	}
	if at < 0 {
		return nil, fmt.Errorf("%w: the certificate is for the key %.8x, which is not here", ErrCeremony, fingerprint[:])
	}
	if !slices.ContainsFunc(o.book.Signers(), func(s entitlement.Signer) bool { return s.Number == said.Number && s.Key == fingerprint }) {
		s := signer{said: said, fingerprint: fingerprint}
		if _, err := o.book.Decide(now, entitlement.TakeSigner{Signer: s.recorded(), By: by}); err != nil {
			return nil, err
		}
	}
	keys[at].Name, keys[at].Certificate, keys[at].Limits = said.Name, k.Certificate, k.Limits
	if err := o.keep(u, keys); err != nil {
		return nil, err
	}
	// A cut here leaves a certificate that the book does not know, and is told of with the next answer.
	return said, o.recordSigners(by, now)
}

// recordSigners tells the book of certificates that it does not know. Those of the first keys have no number, and are on record by the answers.
func (o *Office) recordSigners(by string, now capability.Time) error {
	known := o.book.Signers()
	list := slices.Clone(o.signers)
	slices.SortFunc(list, func(a, b signer) int { return int(int64(a.said.Number) - int64(b.said.Number)) })
	for n := range list {
		s := list[n].recorded()
		if s.Number == 0 || len(known) > 0 && s.Number <= known[len(known)-1].Number {
			continue
		}
		if err := o.decide(now, entitlement.TakeSigner{Signer: s, By: by}); err != nil {
			return err
		}
	}
	return nil
}

// SealKeys writes signing.key anew: to the TPM of u, or with its passphrase where it has no TPM.
func (o *Office) SealKeys(u Unlock) error {
	if u.TPM == nil && len(u.Passphrase) < MinPassphrase {
		return fmt.Errorf("a passphrase of %d bytes; at least %d are needed", len(u.Passphrase), MinPassphrase)
	}
	return o.keep(u, o.secrets.Keys)
}

const spareName = "spare.key"

// Spare is a file with what of signing.key cannot be had again, the keys of book and boot states, sealed with a passphrase: for the day on which the TPM that signing.key
// is sealed to is lost. It holds no signing key: those are replaced.
func (o *Office) Spare(passphrase []byte, cost Cost) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase of %d bytes; at least %d are needed", len(passphrase), MinPassphrase)
	}
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	return sealKey(cost, spareName, passphrase, o.codec.Encode(&secrets{Boot: o.secrets.Boot, Book: o.secrets.Book}), o.rand)
}

// CheckSpare reads back a spare: that it opens with the passphrase, and is of this book.
func (o *Office) CheckSpare(spare, passphrase []byte) error {
	plain, err := openKey(spareName, passphrase, spare)
	if err != nil {
		return err
	}
	s, err := decodeSecrets(o.codec, spareName, plain)
	if err == nil && (!bytes.Equal(s.Boot, o.secrets.Boot) || !bytes.Equal(s.Book, o.secrets.Book)) {
		err = fmt.Errorf("%w: it is the spare of another book", ErrPresent)
	}
	return err
}

// RestoreSpare makes signing.key anew from a spare: without a signing key, sealed as u says. It refuses where signing.key opens with what there has: nothing is lost then.
// One that does not open is kept as signing.key.old, or signing.key.old2 and so on; what was kept before is never replaced.
func RestoreSpare(p Place, spare, passphrase []byte, there, u Unlock, cost Cost, rand io.Reader) error {
	c := wire.New()
	plain, err := openKey(spareName, passphrase, spare)
	if err != nil {
		return err
	}
	s, err := decodeSecrets(c, spareName, plain)
	if err != nil {
		return err
	}
	if u.TPM == nil && len(u.Passphrase) < MinPassphrase {
		return fmt.Errorf("a passphrase of %d bytes; at least %d are needed", len(u.Passphrase), MinPassphrase)
	}
	v, _, err := storage.Open(p.Book, p.vault(s, rand)) // before anything is written: it is the spare of this book, and nobody works with it
	if err != nil {
		return fmt.Errorf("open the book: %w", err)
	}
	defer v.Close()
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	if _, err := openSigning(c, p.Keys, there); err == nil {
		return fmt.Errorf("%w: there is a %s, and it opens: nothing is to be restored", ErrPresent, signingName)
	}
	if err := keepOld(p.Keys); err != nil {
		return err
	}
	return s.write(c, p.Keys, u, cost, rand)
}

// maxOld copies of signing.key are kept by RestoreSpare.
const maxOld = 99

// keepOld copies signing.key to a name that is free, unless it is kept already or not there.
func keepOld(d storage.Disk) error {
	now, err := d.Read(signingName, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("keep %s: %w", signingName, err)
	}
	for n := 1; n <= maxOld; n++ {
		name := signingName + ".old"
		if n > 1 {
			name = fmt.Sprintf("%s%d", name, n)
		}
		was, err := d.Read(name, maxKeyFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return put(d, name, now)
		case err == nil && bytes.Equal(was, now):
			return nil
		}
	}
	return fmt.Errorf("%w: %d copies of %s are kept already", ErrPresent, maxOld, signingName)
}

// KeyView is one signing key, for people.
type KeyView struct {
	Name        string            `json:"name"`
	Fingerprint capability.Digest `json:"fingerprint"`
	State       string            `json:"state"` // signs, ready, begins, ended, revoked, replaced, waits
	Number      uint64            `json:"number,omitempty"`
	From        capability.Time   `json:"from,omitempty"`
	Until       capability.Time   `json:"until,omitempty"`
	Token       bool              `json:"token,omitempty"` // its Ed25519 half is in a token
	Limits      wire.Limits       `json:"limits,omitzero"`
	Revoked     []wire.RevokedKey `json:"revoked,omitempty"`
}

// Keys are the signing keys here, and what each may do now.
func (o *Office) Keys(now capability.Time) ([]KeyView, error) {
	var list []KeyView
	best, _ := o.signerAt(now)
	known := o.known()
	for n := range o.secrets.Keys {
		h := &o.secrets.Keys[n]
		public, err := h.public()
		if err != nil {
			return nil, err
		}
		v := KeyView{Name: h.Name, Fingerprint: o.codec.Fingerprint(public), State: "waits", Token: len(h.Token) > 0, Limits: h.Limits}
		at := slices.IndexFunc(o.signers, func(s signer) bool { return s.fingerprint == v.Fingerprint })
		if at >= 0 {
			s := &o.signers[at]
			v.Name, v.Number, v.From, v.Until, v.Revoked = s.said.Name, s.said.Number, s.said.From, s.said.Until, s.said.Revoked
			if v.State, _ = o.standing(s, known, now); v.State == "" {
				v.State = "ready"
			}
			if s == best {
				v.State = "signs"
			}
		}
		list = append(list, v)
	}
	return list, nil
}
