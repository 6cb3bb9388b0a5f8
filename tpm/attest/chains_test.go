package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/tpm/attest"
)

// maker is the public key infrastructure of a TPM maker, before its certificates are signed: whoever forges changes one thing of it.
type maker struct {
	rng                *rand.Rand
	root, middle, leaf *x509.Certificate // templates
	rootKey, middleKey crypto.Signer
	leafSigns          crypto.Signer    // instead of the intermediate's key
	ek                 crypto.PublicKey // in the leaf
	issuer             *x509.Certificate
	pinned             bool // the root is one that is trusted
	further            []*x509.Certificate
	other              *x509.Certificate       // an honest authority of the same name, for virtual TPMs
	spoil              func(der []byte) []byte // of the leaf
	at                 time.Time
	weakRSA, goodRS    *rsa.PrivateKey
}

// seeded keys make a failure repeat.
func (m *maker) key(curve elliptic.Curve) *ecdsa.PrivateKey {
	for {
		b := make([]byte, (curve.Params().BitSize+7)/8)
		for i := range b {
			b[i] = byte(m.rng.Uint32())
		}
		if key, err := ecdsa.ParseRawPrivateKey(curve, b); err == nil {
			return key
		}
	}
}

func (m *maker) pick(n int) int { return m.rng.IntN(n) }

func directory(t testing.TB, oids ...asn1.ObjectIdentifier) asn1.RawValue {
	t.Helper()
	var names pkix.RDNSequence
	for _, oid := range oids {
		names = append(names, []pkix.AttributeTypeAndValue{{Type: oid, Value: "id:49465800"}})
	}
	b, err := asn1.Marshal(names)
	must(t, err)
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: b}
}

func alternative(t testing.TB, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	b, err := asn1.Marshal(names)
	must(t, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: b}
}

func tpmNames() []asn1.ObjectIdentifier {
	return []asn1.ObjectIdentifier{{2, 23, 133, 2, 1}, {2, 23, 133, 2, 2}, {2, 23, 133, 2, 3}}
}

func newMaker(t testing.TB, rng *rand.Rand, ek crypto.PublicKey) *maker {
	m := &maker{rng: rng, ek: ek, pinned: true, at: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	authority := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: m.at.AddDate(-5, 0, 0), NotAfter: m.at.AddDate(20, 0, 0),
			IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{byte(serial)},
		}
	}
	m.root, m.middle = authority("A maker's root", 1), authority("A maker's intermediate", 2)
	m.leaf = &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: m.at.AddDate(-1, 0, 0), NotAfter: m.at.AddDate(10, 0, 0), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageKeyAgreement,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}, ExtraExtensions: []pkix.Extension{alternative(t, directory(t, tpmNames()...))},
	}
	m.rootKey, m.middleKey = m.key(elliptic.P256()), m.key(elliptic.P256())
	return m
}

func (m *maker) certify(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(crand.Reader, template, parent, public, by)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return c
}

// chain signs everything: the leaf's DER, what is trusted, and what is between them, which the verifier knows or the machine shows.
func (m *maker) chain(t testing.TB) (leaf []byte, roots attest.Roots, between [][]byte) {
	t.Helper()
	root := m.certify(t, m.root, m.root, m.rootKey.Public(), m.rootKey)
	middle := m.certify(t, m.middle, root, m.middleKey.Public(), m.rootKey)
	issuer, signer := middle, m.middleKey
	if m.issuer != nil {
		issuer = m.issuer
	}
	if m.leafSigns != nil {
		signer = m.leafSigns
	}
	leaf, err := x509.CreateCertificate(crand.Reader, m.leaf, issuer, m.ek, signer)
	must(t, err)
	if m.spoil != nil {
		leaf = m.spoil(leaf)
	}
	roots = attest.Roots{Hardware: x509.NewCertPool(), Virtual: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	add := func(c *x509.Certificate) {
		roots.Intermediates.AddCert(c)
		between = append(between, c.Raw)
	}
	if m.other != nil {
		roots.Virtual.AddCert(m.other) // others are trusted besides
	}
	if m.pinned {
		roots.Hardware.AddCert(root)
	} else {
		add(root)
	}
	add(middle)
	for _, c := range m.further {
		add(c)
	}
	return leaf, roots, between
}

type forgery struct {
	family string
	forge  func(t testing.TB, m *maker)
}

func forgeries() []forgery {
	day := 24 * time.Hour
	some := func(m *maker, most int) time.Duration { return time.Duration(1+m.pick(most)) * day }
	anyOf := func(m *maker) *x509.Certificate {
		return []*x509.Certificate{m.root, m.middle, m.leaf}[m.pick(3)]
	}
	return []forgery{
		{"expired", func(_ testing.TB, m *maker) { anyOf(m).NotAfter = m.at.Add(-some(m, 300)) }},
		{"not yet valid", func(_ testing.TB, m *maker) { anyOf(m).NotBefore = m.at.Add(some(m, 3000)) }},
		{"wrong extended key usage", func(_ testing.TB, m *maker) {
			m.leaf.UnknownExtKeyUsage = [][]asn1.ObjectIdentifier{nil, {{2, 23, 133, 8, 3}}, {{2, 23, 133, 8, 1, 1}}, {{2, 23, 133, 8}}}[m.pick(4)]
			m.leaf.ExtKeyUsage = [][]x509.ExtKeyUsage{nil, {x509.ExtKeyUsageServerAuth}, {x509.ExtKeyUsageAny}, {x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageCodeSigning}}[m.pick(4)]
		}},
		{"wrong key usage", func(_ testing.TB, m *maker) {
			m.leaf.KeyUsage = []x509.KeyUsage{x509.KeyUsageDigitalSignature, x509.KeyUsageCertSign | x509.KeyUsageKeyAgreement, x509.KeyUsageContentCommitment, x509.KeyUsageCRLSign | x509.KeyUsageKeyEncipherment}[m.pick(4)]
		}},
		{"self-signed", func(t testing.TB, m *maker) {
			own := m.key(elliptic.P256())
			self := *m.leaf
			self.Subject = []pkix.Name{m.middle.Subject, {CommonName: "myself"}}[m.pick(2)]
			self.IsCA = m.pick(2) == 0
			m.issuer, m.leafSigns = m.certify(t, &self, &self, own.Public(), own), own
			m.further = append(m.further, m.issuer)
		}},
		{"an authority that nobody trusts", func(_ testing.TB, m *maker) { m.pinned = false }},
		{"an authority of the same name", func(t testing.TB, m *maker) {
			twin := newMaker(t, m.rng, m.ek) // names, serial numbers and key IDs are the same
			root := m.certify(t, twin.root, twin.root, twin.rootKey.Public(), twin.rootKey)
			middle := m.certify(t, twin.middle, root, twin.middleKey.Public(), twin.rootKey)
			m.issuer, m.leafSigns, m.further = middle, twin.middleKey, []*x509.Certificate{root, middle}
		}},
		{"signed by another key", func(_ testing.TB, m *maker) {
			if m.pick(2) == 0 {
				m.leafSigns, m.issuer = m.key(elliptic.P256()), &x509.Certificate{Subject: m.middle.Subject, SubjectKeyId: m.middle.SubjectKeyId}
			} else {
				twin := m.key(elliptic.P256())
				m.spoil = func(der []byte) []byte { return resigned(der, twin) }
			}
		}},
		{"swapped key", func(_ testing.TB, m *maker) { m.ek = m.key(elliptic.P256()).Public() }},
		{"wrong alternative name", func(t testing.TB, m *maker) {
			maker := directory(t, tpmNames()...)
			switch m.pick(7) {
			case 0:
				m.leaf.ExtraExtensions = nil
			case 1:
				m.leaf.ExtraExtensions = []pkix.Extension{alternative(t, directory(t, asn1.ObjectIdentifier{2, 5, 4, 3}))}
			case 2:
				m.leaf.ExtraExtensions = []pkix.Extension{alternative(t, maker, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("tpm.example")})}
			case 3:
				m.leaf.ExtraExtensions, m.leaf.DNSNames = nil, []string{"tpm.example"}
			case 4:
				m.leaf.ExtraExtensions, m.leaf.EmailAddresses, m.leaf.URIs = nil, []string{"tpm@example"}, []*url.URL{{Scheme: "urn", Opaque: "tpm"}}
			case 5:
				m.leaf.ExtraExtensions, m.leaf.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)}
			case 6:
				m.leaf.ExtraExtensions = []pkix.Extension{alternative(t)}
			}
		}},
		{"intermediate not an authority", func(_ testing.TB, m *maker) {
			switch m.pick(3) {
			case 0:
				m.middle.IsCA, m.middle.MaxPathLen = false, 0
			case 1:
				m.middle.BasicConstraintsValid, m.middle.IsCA, m.middle.MaxPathLen = false, false, 0
			case 2:
				m.middle.KeyUsage = x509.KeyUsageDigitalSignature
			}
		}},
		{"path length", func(t testing.TB, m *maker) {
			if m.pick(2) == 0 {
				m.root.MaxPathLen, m.root.MaxPathLenZero = 0, true
				return
			}
			// An endorsement key's intermediate of no further authorities certifies one.
			m.middle.MaxPathLen, m.middle.MaxPathLenZero = 0, true
			below := newMaker(t, m.rng, m.ek)
			below.middle.Subject.CommonName, below.middle.SubjectKeyId = "below", []byte{9}
			parent := *m.middle
			parent.PublicKey = m.middleKey.Public()
			last := m.certify(t, below.middle, &parent, below.middleKey.Public(), m.middleKey)
			m.issuer, m.leafSigns, m.further = last, below.middleKey, []*x509.Certificate{last}
		}},
		{"name constraints", func(_ testing.TB, m *maker) {
			of := []*x509.Certificate{m.root, m.middle}[m.pick(2)]
			of.PermittedDNSDomainsCritical = m.pick(2) == 0
			if m.pick(2) == 0 {
				of.PermittedDNSDomains = []string{"example.com"}
			} else {
				of.ExcludedDNSDomains = []string{"example.com"}
			}
		}},
		{"weak keys", func(_ testing.TB, m *maker) {
			switch m.pick(3) {
			case 0:
				m.middleKey = m.weakRSA
			case 1:
				m.rootKey = m.weakRSA
			case 2:
				m.middleKey = m.key(elliptic.P224())
			}
		}},
		{"signed with SHA-1", func(_ testing.TB, m *maker) {
			if m.pick(2) == 0 {
				m.rootKey, m.middle.SignatureAlgorithm = m.goodRS, x509.SHA1WithRSA
			} else {
				m.middleKey, m.leaf.SignatureAlgorithm = m.goodRS, x509.SHA1WithRSA
			}
		}},
		{"a key of an authority", func(_ testing.TB, m *maker) { m.leaf.IsCA, m.leaf.MaxPathLen = true, m.pick(3)-1 }},
		{"an unknown critical extension", func(_ testing.TB, m *maker) {
			of := []*x509.Certificate{m.middle, m.leaf}[m.pick(2)]
			of.ExtraExtensions = append(slices.Clone(of.ExtraExtensions), pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1 + m.pick(9)}, Critical: true, Value: []byte{5, 0}})
		}},
		{"a bit flipped", func(_ testing.TB, m *maker) {
			m.spoil = func(der []byte) []byte {
				der = bytes.Clone(der)
				der[m.pick(len(der))] ^= 1 << m.pick(8)
				return der
			}
		}},
		{"cut or with a tail", func(_ testing.TB, m *maker) {
			m.spoil = func(der []byte) []byte {
				if m.pick(2) == 0 {
					return der[:m.pick(len(der))]
				}
				return append(bytes.Clone(der), make([]byte, 1+m.pick(20))...)
			}
		}},
	}
}

// resigned is a certificate whose signature another key made.
func resigned(der []byte, by *ecdsa.PrivateKey) []byte {
	var c struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		panic(err)
	}
	h := crypto.SHA256.New()
	h.Write(c.TBS.FullBytes)
	signature, err := ecdsa.SignASN1(crand.Reader, by, h.Sum(nil))
	if err != nil {
		panic(err)
	}
	c.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	b, err := asn1.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

// TestForgedChains: of a sound chain everything that a forger can change is changed, one thing at a time. No forgery is classed hardware, or virtual. Before each the same chain without the change is
// classed hardware, so that it is the change which is found.
func TestForgedChains(t *testing.T) {
	const each = 60
	weak, err := rsa.GenerateKey(crand.Reader, 1024)
	must(t, err)
	good, err := rsa.GenerateKey(crand.Reader, 2048)
	must(t, err)
	f := newForger(t)
	class := func(leaf []byte, r attest.Roots, between [][]byte, at time.Time) (attest.Tier, error) {
		f.certificates, f.between = [][]byte{leaf}, between
		id, err := attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
		if err != nil {
			return attest.Software, err
		}
		return attest.TierOf(id, r, at)
	}
	honest := newMaker(t, rand.New(rand.NewPCG(0, 0)), &f.ek.PublicKey)
	other := honest.certify(t, honest.root, honest.root, honest.rootKey.Public(), honest.rootKey)
	total := 0
	for n, c := range forgeries() {
		found := 0
		for seed := range uint64(each) {
			m := newMaker(t, rand.New(rand.NewPCG(seed, uint64(n))), &f.ek.PublicKey)
			m.weakRSA, m.goodRS, m.other = weak, good, other
			// The intermediates are the verifier's, or the forger's own, or both have them.
			bare := func(r attest.Roots) attest.Roots { r.Intermediates = nil; return r }
			leaf, roots, between := m.chain(t)
			for whose, r := range map[string]attest.Roots{"the machine's": bare(roots), "both's": roots} {
				if tier, err := class(leaf, r, between, m.at); tier != attest.Hardware || err != nil {
					t.Fatalf("%s, seed %d, intermediates %s: the sound chain is classed %s: %v", c.family, seed, whose, tier, err)
				}
			}
			if tier, err := class(leaf, roots, nil, m.at); tier != attest.Hardware || err != nil {
				t.Fatalf("%s, seed %d: the sound chain is classed %s: %v", c.family, seed, tier, err)
			}
			c.forge(t, m)
			leaf, roots, between = m.chain(t)
			missed := 0
			for whose, o := range map[string]struct {
				roots   attest.Roots
				between [][]byte
			}{
				"the verifier's": {roots, nil},
				"the machine's":  {bare(roots), between},
				"both's":         {roots, between},
			} {
				if tier, err := class(leaf, o.roots, o.between, m.at); tier != attest.Software || err == nil {
					t.Errorf("%s, seed %d, intermediates %s: classed %s, %v", c.family, seed, whose, tier, err)
					missed++
				}
			}
			if missed == 0 {
				found++
			}
		}
		t.Logf("%-32s %d of %d found", c.family, found, each)
		total += found
	}
	if total < 1000 {
		t.Errorf("%d forged chains were found, want 1000", total)
	}
}

// What a chain may be: with or without an intermediate, RSA or elliptic, further names in the alternative one. The tier says which pool it ended in.
func TestSoundChains(t *testing.T) {
	good, err := rsa.GenerateKey(crand.Reader, 2048)
	must(t, err)
	f := newForger(t)
	for name, change := range map[string]func(m *maker){
		"as it is":          func(*maker) {},
		"RSA authorities":   func(m *maker) { m.rootKey, m.middleKey = good, good },
		"encrypts keys":     func(m *maker) { m.leaf.KeyUsage = x509.KeyUsageKeyEncipherment },
		"says no key usage": func(m *maker) { m.leaf.KeyUsage = 0 },
		"further usages": func(m *maker) {
			m.leaf.UnknownExtKeyUsage = append(m.leaf.UnknownExtKeyUsage, asn1.ObjectIdentifier{1, 2, 3})
		},
		"a path length of 1": func(m *maker) { m.root.MaxPathLen = 1 },
		"a permanent other ID": func(m *maker) {
			other := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{6, 1, 42}}
			m.leaf.ExtraExtensions = []pkix.Extension{alternative(t, other, directory(t, tpmNames()...))}
		},
	} {
		m := newMaker(t, rand.New(rand.NewPCG(1, 2)), &f.ek.PublicKey)
		change(m)
		leaf, roots, _ := m.chain(t)
		f.certificates = [][]byte{leaf}
		id, err := attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
		must(t, err)
		tier, by, err := attest.Class(id, roots, m.at)
		if tier != attest.Hardware || err != nil || by == nil || by.Subject.CommonName != "A maker's root" {
			t.Errorf("%s: classed %s by %v: %v", name, tier, by, err)
		}
		roots.Hardware, roots.Virtual = roots.Virtual, roots.Hardware
		if tier, _, err := attest.Class(id, roots, m.at); tier != attest.Virtual || err != nil {
			t.Errorf("%s: under a virtual root classed %s: %v", name, tier, err)
		}
		if tier, by, err := attest.Class(id, attest.Roots{}, m.at); tier != attest.Software || by != nil || err == nil {
			t.Errorf("%s: under no root classed %s: %v", name, tier, err)
		}
	}
}

func TestCheckAuthority(t *testing.T) {
	weak, err := rsa.GenerateKey(crand.Reader, 1024)
	must(t, err)
	for name, c := range map[string]struct {
		change func(m *maker)
		ok     bool
	}{
		"sound":             {func(*maker) {}, true},
		"not an authority":  {func(m *maker) { m.root.IsCA, m.root.MaxPathLen = false, 0 }, false},
		"may not certify":   {func(m *maker) { m.root.KeyUsage = x509.KeyUsageDigitalSignature }, false},
		"expired":           {func(m *maker) { m.root.NotAfter = m.at.AddDate(0, 0, -1) }, false},
		"not yet":           {func(m *maker) { m.root.NotBefore = m.at.AddDate(0, 0, 1) }, false},
		"weak":              {func(m *maker) { m.rootKey = weak }, false},
		"some names only":   {func(m *maker) { m.root.PermittedDNSDomains = []string{"example.com"} }, false},
		"says no key usage": {func(m *maker) { m.root.KeyUsage = 0 }, true},
	} {
		m := newMaker(t, rand.New(rand.NewPCG(1, 2)), newKey(t).Public())
		c.change(m)
		root := m.certify(t, m.root, m.root, m.rootKey.Public(), m.rootKey)
		if err := attest.CheckAuthority(root, m.at); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
