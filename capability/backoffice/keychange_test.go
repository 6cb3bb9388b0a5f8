package backoffice

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
)

// No key signs whose certificate is from before a revocation: not when its successor has ended, and not when only the book knows the successor.
func TestNoResponseForgetsARevocation(t *testing.T) {
	c := newCeremony(t)
	p, o := c.bound()
	stolen := []wire.RevokedKey{{Key: capability.Digest{9}, Since: today}}
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{From: today - 100}))
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "B"}), Terms{From: today, Until: today + 100, Revoke: stolen, Unknown: true}))
	for range 2 {
		if s, err := o.signerAt(today + 100); err != nil || s.said.Name != "B" {
			t.Fatalf("%+v, %v", s, err)
		}
		if s, err := o.signerAt(today + 101); !errors.Is(err, ErrNoSigningKey) || !strings.Contains(err.Error(), "was revoked") && !strings.Contains(err.Error(), "B signs from") {
			t.Fatalf("after the end of its successor signs %+v: %v", s, err)
		}
		o.Close()
		o = mustOpen(t, p, rand.Reader)
	}
	views, err := o.Keys(today)
	if err != nil || views[0].State != "replaced" || views[1].State != "signs" {
		t.Errorf("%+v, %v", views, err)
	}
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "C"}), Terms{From: today + 50}))
	if s, err := o.signerAt(today + 101); err != nil || s.said.Name != "C" || len(s.said.Revoked) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := o.decide(today, entitlement.TakeSigner{Signer: entitlement.Signer{Key: capability.Digest{7}, Name: "D", From: today, Number: 9, Revoked: append(stolen, wire.RevokedKey{Key: capability.Digest{8}})}, By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if s, err := o.signerAt(today); !errors.Is(err, ErrNoSigningKey) {
		t.Errorf("the book knows of one more revocation, and %+v signs: %v", s, err)
	}
}

// A certificate that revokes a key at once and signs later would leave nobody to say so.
func TestRevocationFromTomorrow(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{}))
	late := c.certify(mustRequest(t, o, KeyAsk{Name: "B"}), Terms{From: today + 1, Revoke: []wire.RevokedKey{{Key: capability.Digest{9}}}, Unknown: true})
	if _, err := o.InstallKey(unlocked(), late, "operator", today); !errors.Is(err, ErrCeremony) || !strings.Contains(err.Error(), "signs only from") {
		t.Errorf("installed: %v", err)
	}
	if s, err := o.signerAt(today); err != nil || s.said.Name != "A" || len(o.book.Signers()) != 1 {
		t.Errorf("%+v signs, %d on record: %v", s, len(o.book.Signers()), err)
	}
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "B"}), Terms{From: today}))
	later := mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "C"}), Terms{From: today + 1})) // it revokes only what is revoked
	if s, err := o.signerAt(today); err != nil || s.said.Name != "B" || len(later.Revoked) != 1 {
		t.Errorf("%+v signs: %v", s, err)
	}
}

// A root that was used from a copy without the newest certificates forgets what they revoke; its certificates are not taken, however high their number is.
func TestCertificateOfAStaleRoot(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{}))
	stale := &ceremony{t, storage.Dir(t.TempDir()), c.trust}
	if _, err := CopyRoot(c.disk, stale.disk, passphrase()); err != nil {
		t.Fatal(err)
	}
	newest := c.certify(mustRequest(t, o, KeyAsk{Name: "B"}), Terms{Revoke: []wire.RevokedKey{{Key: capability.Digest{9}}}, Unknown: true})
	mustInstall(t, o, newest)
	request := mustRequest(t, o, KeyAsk{Name: "C"})
	stale.certify(request, Terms{})
	forgets := stale.certify(request, Terms{})
	if _, err := o.InstallKey(unlocked(), forgets, "operator", today); !errors.Is(err, ErrCeremony) || !strings.Contains(err.Error(), "--after") {
		t.Errorf("installed: %v", err)
	}
	if s, err := o.signerAt(today); err != nil || s.said.Name != "B" || len(o.book.Signers()) != 2 {
		t.Errorf("%+v signs, %d on record: %v", s, len(o.book.Signers()), err)
	}
	if k := mustInstall(t, o, stale.certify(request, Terms{After: [][]byte{newest}})); k.Number != 4 || len(k.Revoked) != 1 {
		t.Errorf("certificate %d revokes %v", k.Number, k.Revoked)
	}
}

// What no reader takes is not signed, and not kept: the root's directory works on.
func TestWhatARootNeverRevokes(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	request := mustRequest(t, o, KeyAsk{Name: "A"})
	root := o.codec.Fingerprint(c.trust.Root)
	for name, key := range map[string]capability.Digest{"no key": {}, "the root": root, "a key that nobody knows": {9}} {
		if _, _, err := Certify(c.disk, passphrase(), request, Terms{Revoke: []wire.RevokedKey{{Key: key}}}); !errors.Is(err, ErrCeremony) {
			t.Errorf("%s is revoked: %v", name, err)
		}
	}
	if _, err := ParseRevoked(strings.Repeat("0", 64), 0); err == nil {
		t.Error("zeros are read as a fingerprint")
	}
	if k := mustInstall(t, o, c.certify(request, Terms{})); k.Number != 1 {
		t.Errorf("what was refused has used a number: %d", k.Number)
	}
}

// A second restore changes nothing, and the next loss keeps what the first one kept.
func TestRestoreTwice(t *testing.T) {
	p, o := newOffice(t, nil)
	first, second, none := softwareKey{make([]byte, 32), rand.Reader}, softwareKey{bytes.Repeat([]byte{1}, 32), rand.Reader}, softwareKey{bytes.Repeat([]byte{2}, 32), rand.Reader}
	spare, err := o.Spare(passphrase(), cheap())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.CheckSpare(spare, passphrase()); err != nil {
		t.Error(err)
	}
	if err := o.CheckSpare(spare, []byte("another passphrase")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("with another passphrase: %v", err)
	}
	_, other := newOffice(t, nil)
	if err := other.CheckSpare(spare, passphrase()); !errors.Is(err, ErrPresent) {
		t.Errorf("the spare of another book: %v", err)
	}
	if err := o.SealKeys(Unlock{TPM: first}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	read := func(name string) []byte {
		b, err := p.Keys.Read(name, maxKeyFile)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sealed := read(signingName)
	restore := func(chip storage.Sealer) error {
		return RestoreSpare(p, spare, passphrase(), Unlock{Passphrase: passphrase(), TPM: chip}, unlocked(), cheap(), rand.Reader)
	}
	if err := restore(first); !errors.Is(err, ErrPresent) || !bytes.Equal(read(signingName), sealed) {
		t.Errorf("restored over what opens: %v", err)
	}
	if err := restore(none); err != nil {
		t.Fatal(err)
	}
	restored := read(signingName)
	if err := restore(none); !errors.Is(err, ErrPresent) || !bytes.Equal(read(signingName), restored) {
		t.Errorf("restored twice: %v", err)
	}
	if !bytes.Equal(read("signing.key.old"), sealed) {
		t.Error("the keys of before are not kept")
	}
	o = mustOpen(t, p, rand.Reader)
	if err := o.SealKeys(Unlock{TPM: second}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	again := read(signingName)
	if err := restore(none); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read("signing.key.old"), sealed) || !bytes.Equal(read("signing.key.old2"), again) {
		t.Error("what was kept before is replaced")
	}
}

// A new key is kept to the limits of the one before, also when that has ended.
func TestLimitsOfTheKeyBefore(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	if l := o.LastLimits(today); !l.None() {
		t.Errorf("of no key: %+v", l)
	}
	k := mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{Until: today + 9, Limits: wire.Limits{Hour: 3}}))
	for _, at := range []capability.Time{today, today + 10} {
		if l := o.LastLimits(at); l.Hour != 3 {
			t.Errorf("at %+d: %+v", at-today, l)
		}
	}
	if ours, revoked := o.Revocation(o.codec.Fingerprint(k.Keys)); !ours || revoked {
		t.Errorf("%t, %t", ours, revoked)
	}
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "B"}), Terms{Revoke: []wire.RevokedKey{{Key: capability.Digest{9}}}, Unknown: true}))
	if ours, revoked := o.Revocation(capability.Digest{9}); ours || !revoked {
		t.Errorf("%t, %t", ours, revoked)
	}
}
