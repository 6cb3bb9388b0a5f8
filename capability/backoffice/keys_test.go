package backoffice

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
)

// ceremony is a root on a medium of its own.
type ceremony struct {
	t     testing.TB
	disk  storage.Disk
	trust *wire.Trust
}

func newCeremony(t testing.TB) *ceremony {
	t.Helper()
	d := storage.Dir(t.TempDir())
	trust, err := CreateRoot(d, "Example Software", passphrase(), cheap(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &ceremony{t, d, trust}
}

func (c *ceremony) certify(request []byte, terms Terms) []byte {
	c.t.Helper()
	b, _, err := Certify(c.disk, passphrase(), request, terms)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// bound is a back office whose root is elsewhere.
func (c *ceremony) bound() (Place, *Office) {
	return newOffice(c.t, func(s *Setup) { s.Root = c.trust })
}

func unlocked() Unlock { return Unlock{Passphrase: passphrase()} }

func mustRequest(t testing.TB, o *Office, ask KeyAsk) []byte {
	t.Helper()
	b, err := o.RequestKey(unlocked(), ask, today)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustInstall(t testing.TB, o *Office, file []byte) *wire.KeyCertificate {
	t.Helper()
	k, err := o.InstallKey(unlocked(), file, "operator", today)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Whatever comes in the place of a certificate leaves the keys as they are.
func TestForgedCertificates(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	_, stranger := c.bound()
	request := mustRequest(t, o, KeyAsk{Name: "A"})
	first := c.certify(request, Terms{Limits: wire.Limits{Day: 9}})
	second := c.certify(request, Terms{})
	rogue := newCeremony(t)
	asked, err := o.codec.ReadKeyRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := openRoot(o.codec, rogue.disk, rogue.disk, passphrase())
	if err != nil {
		t.Fatal(err)
	}
	signed := func(by *wire.ProducerKey, k wire.KeyCertificate) []byte {
		b, err := o.codec.CertifyKey(by, &k)
		if err != nil {
			t.Fatal(err)
		}
		return o.codec.EncodeCertifiedKey(&wire.CertifiedKey{Certificate: b})
	}
	own, err := o.secrets.Keys[0].key(nil)
	if err != nil {
		t.Fatal(err)
	}
	mustInstall(t, o, second)
	before, _ := o.Keys(today)
	for name, file := range map[string][]byte{
		"an older one":                first,
		"another root's":              signed(root, wire.KeyCertificate{Keys: asked.Keys, Name: "A", From: 1, Number: 9}),
		"by the key itself":           signed(own, wire.KeyCertificate{Keys: asked.Keys, Name: "A", From: 1, Number: 9}),
		"of another key":              c.certify(mustRequest(t, stranger, KeyAsk{Name: "B"}), Terms{}),
		"a request":                   request,
		"one bit of it is another":    func() []byte { b := bytes.Clone(second); b[len(b)-100] ^= 1; return b }(),
		"half of it":                  second[:len(second)/2],
		"nothing":                     nil,
		"without the limits it names": stripLimits(t, o, c.certify(request, Terms{Limits: wire.Limits{Hour: 1}})),
	} {
		if _, err := o.InstallKey(unlocked(), file, "operator", today); err == nil {
			t.Errorf("%s is installed", name)
		}
		if after, _ := o.Keys(today); len(after) != 1 || after[0].Number != before[0].Number || after[0].State != "signs" {
			t.Errorf("%s changes the keys: %+v", name, after)
		}
	}
	// And the root certifies no request that is not for it, or that its key has not signed.
	for name, b := range map[string][]byte{"for another root": mustRequest(t, o, KeyAsk{Name: "C"}), "a certificate": second, "nothing": nil} {
		if _, _, err := Certify(rogue.disk, passphrase(), b, Terms{}); err == nil {
			t.Errorf("a request %s is certified", name)
		}
	}
	if _, _, err := Certify(c.disk, passphrase(), request, Terms{Revoke: []wire.RevokedKey{{Key: o.codec.Fingerprint(asked.Keys)}}}); !errors.Is(err, ErrCeremony) {
		t.Errorf("a key is certified and revoked at once: %v", err)
	}
}

func stripLimits(t testing.TB, o *Office, file []byte) []byte {
	t.Helper()
	k, _, err := o.codec.ReadCertifiedKey(o.trust, file)
	if err != nil {
		t.Fatal(err)
	}
	return o.codec.EncodeCertifiedKey(&wire.CertifiedKey{Certificate: k.Certificate})
}

// Of several keys the one signs that was certified last, of those in their time and not revoked.
func TestWhichKeySigns(t *testing.T) {
	c := newCeremony(t)
	p, o := c.bound()
	if _, err := o.signerAt(today); !errors.Is(err, ErrNoSigningKey) {
		t.Fatalf("before any certificate: %v", err)
	}
	var keys []*wire.KeyCertificate
	install := func(name string, terms Terms) {
		keys = append(keys, mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: name}), terms)))
	}
	install("A", Terms{From: today - 100})
	install("B", Terms{From: today + 100, Until: today + 200})
	signs := func(want map[capability.Time]string) {
		t.Helper()
		for _, office := range []*Office{o, nil} {
			if office == nil { // the same after a restart
				o.Close()
				o = mustOpen(t, p, rand.Reader)
				office = o
			}
			for at, name := range want {
				s, err := office.signerAt(at)
				got := ""
				if err == nil {
					got = s.said.Name
				}
				if got != name {
					t.Fatalf("at %+d signs %q, expected is %q; %v", at-today, got, name, err)
				}
			}
		}
	}
	signs(map[capability.Time]string{today - 101: "", today: "A", today + 99: "A", today + 100: "B", today + 200: "B", today + 201: "A"})
	install("C", Terms{From: today, Revoke: []wire.RevokedKey{{Key: o.codec.Fingerprint(keys[0].Keys)}}})
	signs(map[capability.Time]string{today - 1: "", today: "C", today + 150: "C"})
	views, err := o.Keys(today)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, v := range views {
		states = append(states, v.Name+" "+v.State)
	}
	if !slices.Equal(states, []string{"A revoked", "B replaced", "C signs"}) {
		t.Errorf("%q", states)
	}
	if n := len(o.book.Signers()); n != 3 {
		t.Errorf("%d certificates are on record", n)
	}
	own := o.codec.Fingerprint(keys[2].Keys)
	if key, is := o.unheard([]capability.Digest{own}, &wire.KeyCertificate{Keys: keys[2].Keys, Revoked: []wire.RevokedKey{{Key: own}}}); !is || key != own {
		t.Error("a certificate that revokes its own key lets it sign")
	}
	// The next key takes the place of what can sign no more.
	mustRequest(t, o, KeyAsk{Name: "D"})
	if views, _ := o.Keys(today); len(views) != 3 || views[0].Name != "B" {
		t.Errorf("%+v", views)
	}
}

// A request that was answered under a key that is revoked since is not answered with the same bytes again: the machine would refuse them.
func TestAnswersOfARevokedKey(t *testing.T) {
	p, o := newOffice(t, nil)
	id := entitle(t, o, 9)
	a := newAppliance(t)
	first := a.request(o, want(id, 2))
	mustRespond(t, o, first)
	was, err := o.Keys(today)
	if err != nil {
		t.Fatal(err)
	}
	request := mustRequest(t, o, KeyAsk{Name: "next"})
	file, err := o.CertifyHere(passphrase(), request, Terms{Revoke: []wire.RevokedKey{{Key: was[0].Fingerprint}}})
	if err != nil {
		t.Fatal(err)
	}
	mustInstall(t, o, file)
	for range 2 {
		var no *capability.Refusal
		if _, err := o.Respond(first, "", "operator", today); !errors.As(err, &no) || no.Code != capability.ErrKeyRevoked {
			t.Errorf("answered once more: %v", err)
		}
		o.Close()
		o = mustOpen(t, p, rand.Reader)
	}
	r := a.apply(o.Trust(), mustRespond(t, o, a.request(o, want(id, 3))).File)
	if len(r.Items) != 1 || r.Items[0].Copies != 3 {
		t.Errorf("%+v", r.Items)
	}
	o.Close()
}

func TestBeyond(t *testing.T) {
	signed := entitlement.Signed{Hour: 3, Day: 10, Products: map[string]uint64{"Mesh": 7}}
	for name, row := range map[string]struct {
		l     wire.Limits
		gains []entitlement.Gain
		says  string
	}{
		"none":                        {wire.Limits{}, []entitlement.Gain{{Product: "Mesh", Has: 1 << 40, More: 1 << 40}}, ""},
		"one more in the hour":        {wire.Limits{Hour: 4}, nil, ""},
		"the hour is full":            {wire.Limits{Hour: 3}, nil, "in this hour"},
		"one more in the day":         {wire.Limits{Day: 11}, nil, ""},
		"the day is full":             {wire.Limits{Day: 10}, nil, "the 23 hours before"},
		"a product that is allowed":   {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh"}}}, []entitlement.Gain{{Product: "Mesh", Has: 9, More: 9}}, ""},
		"one that is not":             {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh"}}}, []entitlement.Gain{{Product: "Mesh", Has: 9}, {Product: "Solve", Has: 1}}, "may not give"},
		"all that a response may":     {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh", Copies: 9}}}, []entitlement.Gain{{Product: "Mesh", Has: 9}}, ""},
		"one copy more":               {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh", Copies: 9}}}, []entitlement.Gain{{Product: "Mesh", Has: 10}}, "in one response"},
		"all that a day may":          {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh", Day: 9}}}, []entitlement.Gain{{Product: "Mesh", Has: 99, More: 2}}, ""},
		"one more than that":          {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh", Day: 9}}}, []entitlement.Gain{{Product: "Mesh", Has: 3, More: 3}}, "7 copies of"},
		"nothing new over a full day": {wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh", Day: 5}}}, []entitlement.Gain{{Product: "Mesh", Has: 7}}, ""},
	} {
		if got := beyond(&row.l, signed, row.gains); (got == "") != (row.says == "") || !strings.Contains(got, row.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A key file that a TPM sealed opens with that TPM and for its role, and every changed byte is found.
func TestKeyFileOfATPM(t *testing.T) {
	here, there := softwareKey{make([]byte, 32), rand.Reader}, softwareKey{bytes.Repeat([]byte{1}, 32), rand.Reader}
	file, err := sealToTPM(here, signingName, []byte("secret"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := openWithTPM(here, signingName, file); err != nil || string(plain) != "secret" {
		t.Fatalf("%q, %v", plain, err)
	}
	for name, row := range map[string]struct {
		by   storage.Sealer
		role string
		file []byte
	}{"no TPM": {nil, signingName, file}, "another TPM": {there, signingName, file}, "another role": {here, rootName, file}, "nothing": {here, signingName, nil}} {
		if _, err := openWithTPM(row.by, row.role, row.file); !errors.Is(err, ErrKeySealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range file {
		b := bytes.Clone(file)
		b[i] ^= 1
		if _, err := openWithTPM(here, signingName, b); !errors.Is(err, ErrKeySealed) {
			t.Errorf("byte %d is another: %v", i, err)
		}
		if _, err := openWithTPM(here, signingName, file[:i]); !errors.Is(err, ErrKeySealed) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := openKey(signingName, passphrase(), file); !errors.Is(err, ErrKeySealed) {
		t.Errorf("with a passphrase: %v", err)
	}
}

// Sealed to a TPM, and back, and from a spare of this very book.
func TestSealAndRestore(t *testing.T) {
	p, o := newOffice(t, nil)
	_, other := newOffice(t, nil)
	id := entitle(t, o, 9)
	chip, lost := softwareKey{make([]byte, 32), rand.Reader}, softwareKey{bytes.Repeat([]byte{1}, 32), rand.Reader}
	spare, err := o.Spare(passphrase(), cheap())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Spare(passphrase(), cheap())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.SealKeys(Unlock{TPM: chip}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	if _, err := Open(p, passphrase(), rand.Reader); !errors.Is(err, ErrKeySealed) {
		t.Errorf("with the passphrase: %v", err)
	}
	if o, err = OpenWith(p, Unlock{TPM: chip}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := o.signerAt(today); err != nil {
		t.Error(err)
	}
	if err := RestoreSpare(p, spare, passphrase(), Unlock{Passphrase: passphrase(), TPM: lost}, unlocked(), cheap(), rand.Reader); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	o.Close()
	for name, b := range map[string][]byte{"another book's": foreign, "a flipped byte": append(bytes.Clone(spare[:len(spare)-1]), spare[len(spare)-1]^1), "nothing": nil} {
		if err := RestoreSpare(p, b, passphrase(), Unlock{Passphrase: passphrase(), TPM: lost}, unlocked(), cheap(), rand.Reader); err == nil {
			t.Errorf("%s is restored from", name)
		}
	}
	if err := RestoreSpare(p, spare, passphrase(), Unlock{Passphrase: passphrase(), TPM: lost}, unlocked(), cheap(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	o = mustOpen(t, p, rand.Reader)
	defer o.Close()
	if _, ok := o.Book().Item(id, today); !ok {
		t.Error("the book has lost an item")
	}
	if _, err := o.signerAt(today); !errors.Is(err, ErrNoSigningKey) {
		t.Errorf("a spare has a signing key: %v", err)
	}
}

// With half of the key in a token nothing is signed without it, or with another one.
func TestKeyInAToken(t *testing.T) {
	c := newCeremony(t)
	p, o := c.bound()
	token, other := ed25519.NewKeyFromSeed(make([]byte, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	with := Unlock{Passphrase: passphrase(), Token: token}
	if _, err := o.RequestKey(unlocked(), KeyAsk{Name: "T", InToken: true}, today); !errors.Is(err, ErrToken) {
		t.Errorf("without a token: %v", err)
	}
	request, err := o.RequestKey(with, KeyAsk{Name: "T", InToken: true}, today)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.InstallKey(with, c.certify(request, Terms{}), "operator", today); err != nil {
		t.Fatal(err)
	}
	id := entitle(t, o, 9)
	a := newAppliance(t)
	a.apply(o.Trust(), mustRespond(t, o, a.request(o, want(id, 2))).File)
	o.Close()
	file := a.request(o, want(id, 3))
	if o, err = Open(p, passphrase(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Respond(file, "", "operator", today); !errors.Is(err, ErrToken) {
		t.Errorf("signed without the token: %v", err)
	}
	o.Close()
	if _, err := OpenWith(p, Unlock{Passphrase: passphrase(), Token: other}, rand.Reader); !errors.Is(err, ErrToken) {
		t.Errorf("opened with another token: %v", err)
	}
	if o, err = OpenWith(p, with, rand.Reader); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	a.apply(o.Trust(), mustRespond(t, o, file).File)
}

// Every certificate revokes what any before it did, also where the root is beside the book and the keys are gone from it.
func TestRevocationsAreCarried(t *testing.T) {
	_, o := newOffice(t, nil)
	lost := wire.RevokedKey{Key: capability.Digest{9}, Since: today}
	for n, terms := range []Terms{{Revoke: []wire.RevokedKey{lost}}, {}, {Revoke: []wire.RevokedKey{lost, {Key: capability.Digest{8}}}}, {}} {
		file, err := o.CertifyHere(passphrase(), mustRequest(t, o, KeyAsk{Again: true}), terms)
		if err != nil {
			t.Fatal(err)
		}
		k := mustInstall(t, o, file)
		if want := 1 + n/2; k.Number != uint64(n+1) || len(k.Revoked) != want || k.Revoked[0] != lost {
			t.Errorf("certificate %d revokes %v", k.Number, k.Revoked)
		}
	}
	if _, err := o.CertifyHere([]byte("another passphrase"), mustRequest(t, o, KeyAsk{Again: true}), Terms{}); !errors.Is(err, ErrPassphrase) {
		t.Errorf("with another passphrase: %v", err)
	}
}

// Beyond a limit nothing is signed, the book says so, and the machine asks again when it is allowed.
func TestLimitsAreKept(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{Limits: wire.Limits{Hour: 1}}))
	id := entitle(t, o, 9)
	a := newAppliance(t)
	a.apply(o.Trust(), mustRespond(t, o, a.request(o, want(id, 2))).File)
	file := a.request(o, want(id, 3))
	for range 2 {
		var no *capability.Refusal
		if _, err := o.Respond(file, "", "operator", today); !errors.As(err, &no) || no.Code != capability.ErrSigningLimit {
			t.Fatalf("a second response in the hour: %v", err)
		}
	}
	l, err := o.Limits(today)
	if err != nil || l.Limited == nil || l.Limited.Host != a.host || l.Signed.Hour != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	_, entries := o.Book().Head()
	if res, err := o.Respond(file, "", "operator", today+3600); err != nil || res.Items[0].Copies != 3 {
		t.Errorf("an hour later: %v", err)
	}
	if _, after := o.Book().Head(); after != entries+1 {
		t.Errorf("%d entries for one answer", after-entries)
	}
}
