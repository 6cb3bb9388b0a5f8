package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What a TPM might say that it must not be believed: SPEC.md 7.2, step by step.

// makerCertificate is an EK certificate by a test authority with an Ed25519 key, so that it is the same in every run.
func (s *set) makerCertificate(public any, number int64) []byte {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x45}, 32))
	t := &x509.Certificate{SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "a TPM"}, NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(4000000000, 0), KeyUsage: x509.KeyUsageKeyAgreement}
	by := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: t.NotBefore, NotAfter: t.NotAfter, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(nil, t, by, public, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return der
}

func (s *set) evidences() {
	c := s.c
	r := capability.Request{Version: 1, Hosts: []hostid.ID{s.appliance()}, Correlation: correlation(), Number: 1,
		Desired: []capability.Desired{{ActivationID: s.id(7), Count: 4}}, Alias: "line 4", Producer: digest(5)}
	kid, payload := AttestationKeyID(s.tpm.AK), c.Encode(&r)
	protected := c.Encode(header{Alg: AlgTPMQuote, KID: kid, Typ: TypRequest})
	d := sumOf(c.toBeSigned(protected, payload))
	good := func(name, description string, change func(*forgery)) {
		b := s.good("request-file", "request-file-"+name, description, requestFileInput{r, kid, s.tpm.forged(s.t, "request", d[:], change)}, nil)
		s.last().Digest = s.digestOf(b)
	}
	bad := func(name, expect, description string, change func(*forgery)) {
		e := sign1{Protected: protected, Payload: &payload, Signature: s.tpm.forged(s.t, "request", d[:], change)}
		s.bad("request-file", "request-file-evidence-"+name, expect, description, append(requestMagic(), c.Encode(e)...), nil)
	}
	ek, err := paperKey(s.tpm.EK, ekStart)
	if err != nil {
		s.t.Fatal(err)
	}
	stranger, err := paperKey(newPaperTPM(s.t, 0x31).EK, ekStart)
	if err != nil {
		s.t.Fatal(err)
	}
	own, ofRSA := s.makerCertificate(ek, 2), s.makerCertificate(&testRSA().PublicKey, 3)
	certificates := func(ders ...[]byte) func(*forgery) { return func(f *forgery) { f.Certificates = ders } }
	good("certificates", "the evidence has certificates of both endorsement keys", certificates(own, ofRSA))
	s.certifiedRequest = capability.Digest(unhex(s.last().Digest))
	good("short-signature", "r of the TPM's signature begins with a zero, which this TPM does not write", func(f *forgery) {
		f.Clock = s.clockOfShortSignature(f)
		f.Sign = func(r, s *big.Int) []byte {
			return append(append(unhex("0018000b"), sized(r.Bytes())...), sized(s.FillBytes(make([]byte, 32)))...)
		}
	})

	// Step 1.
	bad("format", "malformed", "a format byte that is not known", func(f *forgery) { f.Format = 0x14 })
	bad("pcrs-short", "malformed", "PCR values of 95 bytes", func(f *forgery) { f.PCRs = f.PCRs[:95] })
	bad("no-pcrs", "malformed", "no PCR values, which only a statement about a serving key may lack", func(f *forgery) { f.PCRs = nil })
	bad("quoted-long", "malformed", "a byte behind what the TPM says, and the AK has signed it", func(f *forgery) { f.Tail = []byte{0} })
	bad("signature-long", "malformed", "a byte behind the TPM's signature", func(f *forgery) {
		f.Sign = func(r, s *big.Int) []byte { return append(signature32(r, s), 0) }
	})
	bad("certificates-three", "malformed", "three EK certificates", certificates(own, ofRSA, own))
	bad("certificate-long", "malformed", "an EK certificate of 4097 bytes", certificates(make([]byte, 4097)))
	// Step 2.
	template := func(public []byte, at int, b byte) []byte {
		public = bytes.Clone(public)
		public[at] = b
		return public
	}
	bad("ek-template", "malformed", "an EK that is not restricted: software could decrypt with it", func(f *forgery) { f.EK = template(f.EK, 5, 0x02) })
	bad("ak-template", "malformed", "an AK that is not restricted: it signs what nobody's TPM made", func(f *forgery) { f.AK = template(f.AK, 5, 0x04) })
	bad("ek-off-curve", "malformed", "the point of the EK is on no curve", func(f *forgery) { f.EK = flip(f.EK, -1) })
	bad("ak-off-curve", "malformed", "the point of the AK is on no curve", func(f *forgery) { f.AK = flip(f.AK, -1) })
	bad("ak-coordinate", "malformed", "a coordinate of the AK has a zero more in front, which would be another Name of the same key", func(f *forgery) {
		start := len(unhex(akStart))
		f.AK = append(append(bytes.Clone(f.AK[:start]), sized(append([]byte{0}, f.AK[start+2:start+34]...))...), f.AK[start+34:]...)
	})
	// Steps 3 to 5: the AK has truly signed these.
	bad("magic", "signature", "what is signed does not say that a TPM made it", func(f *forgery) { f.Head = unhex("ff544346" + "8018") })
	bad("type", "signature", "what is signed is no quote", func(f *forgery) { f.Head = unhex("ff544347" + "8017") })
	bad("signer", "signature", "the qualified signer is one of another hierarchy", func(f *forgery) {
		sum := sumOf(append([]byte{0x40, 0, 0, 0x01}, tpmName(f.AK)...))
		f.Signer = append([]byte{0, 0x0b}, sum[:]...)
	})
	bad("purpose", "signature", "the quote is about this digest, as one of a return", func(f *forgery) { f.Extra = qualifying("return", d[:]) })
	bad("selection", "signature", "a quote of PCR 8, 11 and 12", func(f *forgery) { f.Selection = unhex("00000001" + "000b" + "03001900") })
	bad("no-bank", "signature", "a quote of no PCR", func(f *forgery) { f.Selection = unhex("00000000") })
	bad("two-banks", "signature", "a quote of two banks", func(f *forgery) { f.Selection = unhex("00000002" + "000b" + "03801800" + "0004" + "03000000") })
	// Step 6.
	bad("scheme", "signature", "a signature with another hash algorithm", func(f *forgery) {
		f.Sign = func(r, s *big.Int) []byte { return append(unhex("0018000c"), signature32(r, s)[4:]...) }
	})
	bad("r-long", "signature", "r of the signature has a zero in front, and 33 bytes", func(f *forgery) {
		f.Sign = func(r, s *big.Int) []byte {
			return append(append(unhex("0018000b"), sized(r.FillBytes(make([]byte, 33)))...), sized(s.FillBytes(make([]byte, 32)))...)
		}
	})
	bad("r-zero", "signature", "r and s of the signature are 0", func(f *forgery) {
		f.Sign = func(r, s *big.Int) []byte { return signature32(new(big.Int), new(big.Int)) }
	})
	bad("r-order", "signature", "r of the signature is n, the order of the group", func(f *forgery) {
		f.Sign = func(r, s *big.Int) []byte { return signature32(elliptic.P256().Params().N, s) }
	})
	// Step 7.
	bad("certificate-of-another", "signature", "the certificate of another P-256 EK", certificates(s.makerCertificate(stranger, 4)))
	bad("certificates-of-one-kind", "signature", "the same certificate twice", certificates(own, own))
	bad("certificate-none", "signature", "a certificate that is none", certificates([]byte("not DER")))
	p384 := func() *ecdsa.PublicKey {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), bytes.Repeat([]byte{0x21}, 48))
		if err != nil {
			s.t.Fatal(err)
		}
		return &k.PublicKey
	}()
	bad("certificate-p384", "signature", "the certificate of a P-384 key", certificates(s.makerCertificate(p384, 5)))
	small := testRSA().PublicKey
	small.E = 3
	bad("certificate-exponent", "signature", "the certificate of an RSA key with exponent 3", certificates(s.makerCertificate(&small, 6)))
}

// clockOfShortSignature is the first clock whose quote is signed with an r of 31 bytes.
func (s *set) clockOfShortSignature(f *forgery) []byte {
	for n := uint16(0); ; n++ {
		clock := bytes.Clone(f.Clock)
		clock[6], clock[7] = byte(n>>8), byte(n)
		quoted := bytes.Join([][]byte{f.Head, sized(f.Signer), sized(f.Extra), clock, f.Selection, sized(f.Digest)}, nil)
		if r, _ := s.tpm.sign(s.t, quoted); len(r.Bytes()) == 31 {
			return clock
		}
	}
}
