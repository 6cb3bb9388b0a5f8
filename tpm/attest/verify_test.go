package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"go/parser"
	"go/token"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func data() []byte { return []byte("digest of a request") }

func TestVerify(t *testing.T) {
	f := newForger(t)
	e := f.evidence(attest.Request, data(), nil)
	id, err := attest.Verify(e, attest.Request, data())
	must(t, err)
	name, _ := names(f.akArea, tpm2.TPMRHEndorsement)
	want := attest.Clock{Elapsed: 1234 * time.Millisecond, Resets: 5, Restarts: 6, Safe: true}
	if id.Clock != want || id.Firmware != 0x0102030405060708 || !bytes.Equal(id.AKName, name) || !bytes.Equal(id.PCRs, f.pcrs) {
		t.Errorf("identity is %+v", id)
	}
	if host, err := attest.HostIDOf(e.EK); err != nil || host != id.HostID {
		t.Errorf("host ID is %v, %v, want %v", host, err, id.HostID)
	}
}

// TestVerifyRefuses has one forgery for each thing that is checked. All else in
// each is right, the signature too, and the error names what is wrong.
func TestVerifyRefuses(t *testing.T) {
	quote := func(change func(*tpm2.TPMSQuoteInfo)) func(*tpm2.TPMSAttest) {
		return func(s *tpm2.TPMSAttest) {
			q, err := s.Attested.Quote()
			must(t, err)
			change(q)
		}
	}
	select_ := func(s tpm2.TPMLPCRSelection) func(*tpm2.TPMSAttest) {
		return quote(func(q *tpm2.TPMSQuoteInfo) { q.PCRSelect = s })
	}
	sha1 := attest.BootPCRs()
	sha1.PCRSelections[0].Hash = tpm2.TPMAlgSHA1
	twice := attest.BootPCRs()
	twice.PCRSelections = append(twice.PCRSelections, twice.PCRSelections[0])

	for _, c := range []struct {
		name   string
		change func(*tpm2.TPMSAttest)
		want   string
	}{
		{"magic", func(s *tpm2.TPMSAttest) { s.Magic = 0x12345678 }, "magic"},
		{"type", func(s *tpm2.TPMSAttest) {
			s.Type = tpm2.TPMSTAttestNV
			s.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestNV, &tpm2.TPMSNVCertifyInfo{})
		}, "type"},
		{"qualifying data", func(s *tpm2.TPMSAttest) { s.ExtraData.Buffer = attest.Request.Qualifying([]byte("other")) }, "not about this request"},
		{"purpose", func(s *tpm2.TPMSAttest) { s.ExtraData.Buffer = attest.Session.Qualifying(data()) }, "not about this request"},
		{"no qualifying data", func(s *tpm2.TPMSAttest) { s.ExtraData.Buffer = nil }, "not about this request"},
		{"qualifying data and more", func(s *tpm2.TPMSAttest) { s.ExtraData.Buffer = append(s.ExtraData.Buffer, 0) }, "not about this request"},
		{"other PCRs", select_(attest.SelectPCRs(7, 11)), "not of PCR 7, 11 and 12"},
		{"resettable PCRs", select_(attest.SelectPCRs(16, 23)), "not of PCR 7, 11 and 12"},
		{"another bank", select_(sha1), "not of PCR 7, 11 and 12"},
		{"two banks", select_(twice), "not of PCR 7, 11 and 12"},
		{"no bank", select_(tpm2.TPMLPCRSelection{}), "not of PCR 7, 11 and 12"},
		{"PCR digest", quote(func(q *tpm2.TPMSQuoteInfo) { q.PCRDigest.Buffer = make([]byte, 32) }), "PCR values hash to"},
		{"short PCR digest", quote(func(q *tpm2.TPMSQuoteInfo) { q.PCRDigest.Buffer = nil }), "digest of the quoted PCRs"},
		{"signer of the owner hierarchy", func(s *tpm2.TPMSAttest) {
			_, s.QualifiedSigner.Buffer = names(attest.AKTemplate(), tpm2.TPMRHOwner)
		}, "endorsement hierarchy"},
		{"no signer", func(s *tpm2.TPMSAttest) { s.QualifiedSigner.Buffer = nil }, "endorsement hierarchy"},
	} {
		f := newForger(t)
		refused(t, c.name, f.evidence(attest.Request, data(), c.change), c.want)
	}

	for _, c := range []struct {
		name   string
		change func(f *forger, e *attest.Evidence)
		want   string
	}{
		{"signature flipped", func(_ *forger, e *attest.Evidence) { e.Signature[len(e.Signature)-1] ^= 1 }, "does not verify"},
		{"signature by another key", func(f *forger, e *attest.Evidence) {
			f.ak = newKey(t)
			e.Signature = f.sign(e.Quoted, nil)
		}, "does not verify"},
		{"signature with SHA-1", func(f *forger, e *attest.Evidence) {
			e.Signature = f.sign(e.Quoted, func(s *tpm2.TPMSSignatureECC) { s.Hash = tpm2.TPMAlgSHA1 })
		}, "hashes with"},
		{"number longer than needed", func(f *forger, e *attest.Evidence) {
			e.Signature = f.sign(e.Quoted, func(s *tpm2.TPMSSignatureECC) { s.SignatureR.Buffer = append([]byte{0}, s.SignatureR.Buffer...) })
		}, "numbers of 33 and 32 bytes"},
		{"signature of zeros", func(f *forger, e *attest.Evidence) {
			e.Signature = f.sign(e.Quoted, func(s *tpm2.TPMSSignatureECC) { s.SignatureR.Buffer, s.SignatureS.Buffer = nil, nil })
		}, "does not verify"},
		{"signature as ECDAA", func(_ *forger, e *attest.Evidence) { e.Signature[1] = 0x1A }, "not ECDSA"},
		{"no signature", func(_ *forger, e *attest.Evidence) { e.Signature = nil }, "not ECDSA"},
		{"null signature", func(_ *forger, e *attest.Evidence) { e.Signature = []byte{0, 0x10} }, "not ECDSA"},
		{"left over after signature", func(_ *forger, e *attest.Evidence) { e.Signature = append(e.Signature, 0) }, "left over"},
		{"huge signature", func(_ *forger, e *attest.Evidence) { e.Signature = make([]byte, 129) }, "at most 128"},
		{"left over after statement", func(f *forger, e *attest.Evidence) {
			e.Quoted = append(e.Quoted, 0)
			e.Signature = f.sign(e.Quoted, nil)
		}, "left over"},
		{"second encoding of a yes", func(f *forger, e *attest.Evidence) {
			e.Quoted = bytes.Replace(e.Quoted, []byte{0, 0, 0, 6, 1}, []byte{0, 0, 0, 6, 2}, 1) // restart count, then safe
			e.Signature = f.sign(e.Quoted, nil)
		}, "second encoding"},
		{"statement cut short", func(f *forger, e *attest.Evidence) {
			e.Quoted = e.Quoted[:100]
			e.Signature = f.sign(e.Quoted, nil)
		}, "statement"},
		{"no statement", func(_ *forger, e *attest.Evidence) { e.Quoted = nil }, "cut short"},
		{"huge statement", func(_ *forger, e *attest.Evidence) { e.Quoted = make([]byte, 513) }, "at most 512"},
		{"other PCR values", func(_ *forger, e *attest.Evidence) { e.PCRs = make([]byte, 96) }, "PCR values hash to"},
		{"too few PCR values", func(_ *forger, e *attest.Evidence) { e.PCRs = e.PCRs[:64] }, "want 96"},
		{"no PCR values", func(_ *forger, e *attest.Evidence) { e.PCRs = nil }, "want 96"},
		{"no EK", func(_ *forger, e *attest.Evidence) { e.EK = nil }, "endorsement key"},
		{"no AK", func(_ *forger, e *attest.Evidence) { e.AK = nil }, "attestation key"},
		{"EK for AK", func(_ *forger, e *attest.Evidence) { e.AK = e.EK }, "attestation key"},
		{"AK for EK", func(_ *forger, e *attest.Evidence) { e.EK = e.AK }, "endorsement key"},
		{"huge EK", func(_ *forger, e *attest.Evidence) { e.EK = make([]byte, 513) }, "at most 512"},
	} {
		f := newForger(t)
		e := f.evidence(attest.Request, data(), nil)
		c.change(f, e)
		refused(t, c.name, e, c.want)
	}
}

func refused(t *testing.T, name string, e *attest.Evidence, want string) {
	t.Helper()
	if id, err := attest.Verify(e, attest.Request, data()); err == nil || id != nil {
		t.Errorf("%s: accepted", name)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want something about %q", name, err, want)
	}
}

// TestTemplates: an EK or AK that differs from its template in anything but its
// point is refused, though it signs well.
func TestTemplates(t *testing.T) {
	attributes := []func(*tpm2.TPMAObject) *bool{
		func(a *tpm2.TPMAObject) *bool { return &a.FixedTPM },
		func(a *tpm2.TPMAObject) *bool { return &a.STClear },
		func(a *tpm2.TPMAObject) *bool { return &a.FixedParent },
		func(a *tpm2.TPMAObject) *bool { return &a.SensitiveDataOrigin },
		func(a *tpm2.TPMAObject) *bool { return &a.UserWithAuth },
		func(a *tpm2.TPMAObject) *bool { return &a.AdminWithPolicy },
		func(a *tpm2.TPMAObject) *bool { return &a.NoDA },
		func(a *tpm2.TPMAObject) *bool { return &a.EncryptedDuplication },
		func(a *tpm2.TPMAObject) *bool { return &a.Restricted },
		func(a *tpm2.TPMAObject) *bool { return &a.Decrypt },
		func(a *tpm2.TPMAObject) *bool { return &a.SignEncrypt },
		func(a *tpm2.TPMAObject) *bool { return &a.X509Sign },
	}
	type change struct {
		name string
		do   func(p *tpm2.TPMTPublic)
	}
	var changes []change
	for i, attribute := range attributes {
		changes = append(changes, change{"attribute " + strconv.Itoa(i), func(p *tpm2.TPMTPublic) {
			b := attribute(&p.ObjectAttributes)
			*b = !*b
		}})
	}
	parameters := func(do func(*tpm2.TPMSECCParms)) func(p *tpm2.TPMTPublic) {
		return func(p *tpm2.TPMTPublic) {
			was, err := p.Parameters.ECCDetail()
			must(t, err)
			now := *was
			do(&now)
			p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &now)
		}
	}
	point := func(x, y []byte) func(p *tpm2.TPMTPublic) {
		return func(p *tpm2.TPMTPublic) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: x}, Y: tpm2.TPM2BECCParameter{Buffer: y},
			})
		}
	}
	x, y := coordinates(&newKey(t).PublicKey)
	changes = append(changes,
		change{"policy", func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 32) }},
		change{"policy cut", func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 31) }},
		change{"name algorithm", func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA384 }},
		change{"curve", parameters(func(p *tpm2.TPMSECCParms) { p.CurveID = tpm2.TPMECCNistP384 })},
		change{"scheme", parameters(func(p *tpm2.TPMSECCParms) {
			p.Scheme = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgRSASSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256})}
		})},
		change{"scheme's hash", parameters(func(p *tpm2.TPMSECCParms) {
			p.Scheme = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA1})}
		})},
		change{"key derivation", parameters(func(p *tpm2.TPMSECCParms) {
			p.KDF = tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgMGF1, Details: tpm2.NewTPMUKDFScheme(tpm2.TPMAlgMGF1, &tpm2.TPMSKDFSchemeMGF1{HashAlg: tpm2.TPMAlgSHA256})}
		})},
		change{"off the curve", point(x, x)},
		change{"infinity", point(make([]byte, 32), make([]byte, 32))},
		change{"padded point", point(append([]byte{0}, x...), y)},
		change{"short point", point(x, y[1:])},
		change{"no point", point(nil, nil)},
		change{"coordinate above the field", point(bytes.Repeat([]byte{0xff}, 32), y)},
	)
	for _, c := range changes {
		f := newForger(t)
		c.do(&f.ekArea)
		refused(t, "EK: "+c.name, f.evidence(attest.Request, data(), nil), "endorsement key")
		f = newForger(t)
		c.do(&f.akArea)
		refused(t, "AK: "+c.name, f.evidence(attest.Request, data(), nil), "attestation key")
	}
	f := newForger(t)
	f.akArea = tpm2.RSAEKTemplate
	refused(t, "AK is RSA", f.evidence(attest.Request, data(), nil), "not an elliptic-curve key")
	for _, extra := range [][]byte{{0}, make([]byte, 100)} {
		f := newForger(t)
		e := f.evidence(attest.Request, data(), nil)
		e.EK = append(e.EK, extra...)
		refused(t, "left over after EK", e, "template")
		e = f.evidence(attest.Request, data(), nil)
		e.AK = append(e.AK, extra...)
		refused(t, "left over after AK", e, "template")
	}
}

func TestCertificates(t *testing.T) {
	a, err := tpmtest.TheAuthority()
	must(t, err)
	f := newForger(t)
	certify := func(key crypto.PublicKey) []byte {
		t.Helper()
		der, err := a.Certify(key, nil)
		must(t, err)
		return der
	}
	rsaKey := func(bits int) *rsa.PrivateKey {
		t.Helper()
		key, err := rsa.GenerateKey(rand.Reader, bits)
		must(t, err)
		return key
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	rsa2048 := rsaKey(2048)
	own, second := certify(&f.ek.PublicKey), certify(&rsa2048.PublicKey)
	oddExponent := certify(&rsa.PublicKey{N: new(big.Int).Set(rsa2048.N), E: 3})
	for _, c := range []struct {
		name         string
		certificates [][]byte
		want         string // "": accepted
	}{
		{"none", nil, ""},
		{"P-256", [][]byte{own}, ""},
		{"RSA", [][]byte{second}, ""},
		{"both", [][]byte{own, second}, ""},
		{"three", [][]byte{own, second, second}, "at most 2"},
		{"two P-256", [][]byte{own, own}, "second one"},
		{"two RSA", [][]byte{second, certify(&rsaKey(2048).PublicKey)}, "second one"},
		{"another P-256 key", [][]byte{certify(&newKey(t).PublicKey)}, "another elliptic-curve key"},
		{"P-384", [][]byte{certify(&p384.PublicKey)}, "another elliptic-curve key"},
		{"Ed25519", [][]byte{certify(edwards)}, "Ed25519"},
		{"RSA-3072", [][]byte{certify(&rsaKey(3072).PublicKey)}, "RSA-3072"},
		{"RSA exponent", [][]byte{oddExponent}, "exponent 3"},
		{"noise", [][]byte{[]byte("noise")}, "certificate 0"},
		{"left over", [][]byte{append(bytes.Clone(own), 0)}, "certificate 0"},
		{"empty", [][]byte{nil}, "certificate 0"},
	} {
		f.certificates = c.certificates
		e := f.evidence(attest.Request, data(), nil)
		if c.want != "" {
			refused(t, c.name, e, c.want)
			continue
		}
		id, err := attest.Verify(e, attest.Request, data())
		if err != nil || len(id.EKCertificates) != len(c.certificates) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := attest.CheckCertificate(own, tpm2.Marshal(f.ekArea)); err != nil {
		t.Error(err)
	}
	if err := attest.CheckCertificate(own, tpm2.Marshal(newForger(t).ekArea)); err == nil {
		t.Error("a certificate passes beside another key")
	}
	if err := attest.CheckCertificate(make([]byte, 5000), tpm2.Marshal(f.ekArea)); err == nil {
		t.Error("a certificate of 5,000 bytes passes")
	}
}

// TestEveryByteFlipped: no byte of evidence can change and be accepted. A changed
// certificate is refused or raises no tier.
func TestEveryByteFlipped(t *testing.T) {
	a, err := tpmtest.TheAuthority()
	must(t, err)
	pool, err := tpmtest.Roots()
	must(t, err)
	f := newForger(t)
	der, err := a.Certify(&f.ek.PublicKey, nil)
	must(t, err)
	f.certificates = [][]byte{der}
	whole := f.evidence(attest.Request, data(), nil).Encode()
	roots := attest.Roots{Hardware: pool}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	accepted := func(b []byte) bool {
		e, err := attest.DecodeEvidence(b)
		if err != nil {
			return false
		}
		id, err := attest.Verify(e, attest.Request, data())
		if err != nil {
			return false
		}
		tier, _ := attest.TierOf(id, roots, at)
		return tier == attest.Hardware
	}
	if !accepted(whole) {
		t.Fatal("sound evidence is refused")
	}
	certificate := len(whole) - len(der)
	for i := range whole {
		for _, mask := range []byte{1, 0x80, 0xff} {
			forged := bytes.Clone(whole)
			forged[i] ^= mask
			if accepted(forged) {
				t.Errorf("byte %d of %d (certificate from %d), xor %#x: accepted", i, len(whole), certificate, mask)
			}
		}
		if accepted(whole[:i]) {
			t.Errorf("the first %d bytes: accepted", i)
		}
	}
}

func TestVerifySession(t *testing.T) {
	f := newForger(t)
	ak := tpm2.Marshal(f.akArea)
	small := func() *attest.Evidence {
		e := f.evidence(attest.Session, data(), nil)
		return &attest.Evidence{Quoted: e.Quoted, Signature: e.Signature}
	}
	for _, c := range []struct {
		name   string
		ak     []byte
		change func(*attest.Evidence)
		data   []byte
		ok     bool
	}{
		{"sound", ak, func(*attest.Evidence) {}, data(), true},
		{"with its AK", ak, func(e *attest.Evidence) { e.AK = ak }, data(), true},
		{"with its PCRs", ak, func(e *attest.Evidence) { e.PCRs = f.pcrs }, data(), true},
		{"with an event log", ak, func(e *attest.Evidence) { e.EventLog = []byte{1} }, data(), false},
		{"with other PCRs", ak, func(e *attest.Evidence) { e.PCRs = make([]byte, 96) }, data(), false},
		{"with another AK", ak, func(e *attest.Evidence) { e.AK = tpm2.Marshal(newForger(t).akArea) }, data(), false},
		{"against another AK", tpm2.Marshal(newForger(t).akArea), func(*attest.Evidence) {}, data(), false},
		{"against no AK", nil, func(*attest.Evidence) {}, data(), false},
		{"for other data", ak, func(*attest.Evidence) {}, []byte("other"), false},
		{"a request", ak, func(e *attest.Evidence) {
			r := f.evidence(attest.Request, data(), nil)
			e.Quoted, e.Signature = r.Quoted, r.Signature
		}, data(), false},
		{"no signature", ak, func(e *attest.Evidence) { e.Signature = nil }, data(), false},
		{"no statement", ak, func(e *attest.Evidence) { e.Quoted = nil }, data(), false},
	} {
		e := small()
		c.change(e)
		if err := attest.VerifySession(c.ak, e, c.data); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	whole := small().Encode()
	for i := range whole {
		forged := bytes.Clone(whole)
		forged[i] ^= 0x10
		if e, err := attest.DecodeEvidence(forged); err == nil && attest.VerifySession(ak, e, data()) == nil {
			t.Errorf("byte %d flipped: accepted", i)
		}
	}
}

func TestVerifyEpoch(t *testing.T) {
	f := newForger(t)
	id := &attest.Identity{AK: tpm2.Marshal(f.akArea)}
	if at, err := attest.VerifyEpoch(f.counter(attest.EpochIndex, 42, data(), nil), id, data()); err != nil || at != 42 {
		t.Fatalf("%d, %v", at, err)
	}
	nameOf := func(change func(*tpm2.TPMSNVPublic)) func(*tpm2.TPMSAttest, *tpm2.TPMSNVCertifyInfo) {
		return func(_ *tpm2.TPMSAttest, n *tpm2.TPMSNVCertifyInfo) {
			public := attest.EpochPublic(attest.EpochIndex)
			change(&public)
			name, err := tpm2.NVName(&public)
			must(t, err)
			n.IndexName = *name
		}
	}
	for _, c := range []struct {
		name   string
		change func(*tpm2.TPMSAttest, *tpm2.TPMSNVCertifyInfo)
		want   string
	}{
		{"an ordinary index", nameOf(func(p *tpm2.TPMSNVPublic) { p.Attributes.NT = tpm2.TPMNTOrdinary }), "not about an epoch counter"},
		{"not written", nameOf(func(p *tpm2.TPMSNVPublic) { p.Attributes.Written = false }), "not about an epoch counter"},
		{"written by the owner", nameOf(func(p *tpm2.TPMSNVPublic) { p.Attributes.OwnerWrite = true }), "not about an epoch counter"},
		{"orderly", nameOf(func(p *tpm2.TPMSNVPublic) { p.Attributes.Orderly = true }), "not about an epoch counter"},
		{"another index", nameOf(func(p *tpm2.TPMSNVPublic) { p.NVIndex++ }), "not about an epoch counter"},
		{"an offset", func(_ *tpm2.TPMSAttest, n *tpm2.TPMSNVCertifyInfo) { n.Offset = 1 }, "from byte 1"},
		{"seven bytes", func(_ *tpm2.TPMSAttest, n *tpm2.TPMSNVCertifyInfo) { n.NVContents.Buffer = make([]byte, 7) }, "7 bytes"},
		{"for a request", func(s *tpm2.TPMSAttest, _ *tpm2.TPMSNVCertifyInfo) {
			s.ExtraData.Buffer = attest.Request.Qualifying(data())
		}, "not about this return"},
		{"magic", func(s *tpm2.TPMSAttest, _ *tpm2.TPMSNVCertifyInfo) { s.Magic++ }, "magic"},
		{"signer", func(s *tpm2.TPMSAttest, _ *tpm2.TPMSNVCertifyInfo) { s.QualifiedSigner.Buffer = nil }, "endorsement hierarchy"},
	} {
		if at, err := attest.VerifyEpoch(f.counter(attest.EpochIndex, 42, data(), c.change), id, data()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d, %v, want something about %q", c.name, at, err, c.want)
		}
	}
	quoted := f.evidence(attest.Return, data(), nil)
	if at, err := attest.VerifyEpoch(&attest.EpochProof{Index: attest.EpochIndex, Certified: quoted.Quoted, Signature: quoted.Signature}, id, data()); err == nil {
		t.Errorf("a quote passes: %d", at)
	}
	if at, err := attest.VerifyEpoch(f.counter(attest.EpochIndex, 42, data(), nil), &attest.Identity{AK: tpm2.Marshal(newForger(t).akArea)}, data()); err == nil {
		t.Errorf("passes against another key: %d", at)
	}
	whole := f.counter(attest.EpochIndex, 42, data(), nil).Encode()
	for i := range whole {
		forged := bytes.Clone(whole)
		forged[i] ^= 0x10
		if p, err := attest.DecodeEpochProof(forged); err == nil {
			if at, err := attest.VerifyEpoch(p, id, data()); err == nil {
				t.Errorf("byte %d flipped: %d", i, at)
			}
		}
	}
}

// TestImports: this package is linked into clients and judges without a TPM.
func TestImports(t *testing.T) {
	entries, err := os.ReadDir(".")
	must(t, err)
	files := 0
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.ImportsOnly)
		must(t, err)
		for _, i := range parsed.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			must(t, err)
			if strings.Contains(path, "tpm2/transport") || strings.Contains(path, "leasehold") || path == "net" || path == "os" || path == "crypto/rand" || path == "sync" {
				t.Errorf("%s imports %s", entry.Name(), path)
			}
		}
	}
	if files < 5 {
		t.Errorf("%d files read", files)
	}
}
