package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// A TPM on paper: the few structures of SPEC.md 7.2, written and judged from the specification alone, so that the vectors have true evidence
// and the specification is shown to be enough. The machine's own code is package tpm, the judge that programs use is tpm/attest.

type paperTPM struct {
	ak     *ecdsa.PrivateKey
	EK, AK []byte // TPMT_PUBLIC
}

func newPaperTPM(t testing.TB, n byte) *paperTPM {
	t.Helper()
	key := func(n byte) *ecdsa.PrivateKey {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{n}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ek, ak := key(n), key(n+1)
	return &paperTPM{ak: ak, EK: append(unhex(ekStart), point(ek)...), AK: append(unhex(akStart), point(ak)...)}
}

const (
	// type ECC, name algorithm SHA-256, attributes, authPolicy, symmetric, scheme, curve, kdf
	ekStart = "0023" + "000b" + "000300b2" + "0020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa" + "000600800043" + "0010" + "0003" + "0010"
	akStart = "0023" + "000b" + "00050472" + "0000" + "0010" + "0018000b" + "0003" + "0010"
	pcrs    = "00000001" + "000b" + "03801800" // one bank, SHA-256, PCR 7, 11 and 12
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func point(k *ecdsa.PrivateKey) []byte {
	b, err := k.PublicKey.Bytes() // 04 || x || y
	if err != nil {
		panic(err)
	}
	return slices.Concat(sized(b[1:33]), sized(b[33:]))
}

func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func tpmName(public []byte) []byte {
	d := sha256.Sum256(public)
	return append([]byte{0, 0x0b}, d[:]...)
}

func hostOf(ek []byte) string {
	d := sha256.Sum256(append([]byte("leasehold tpm host v1\x00"), tpmName(ek)...))
	return strings.ToUpper(hex.EncodeToString(d[:]))
}

func qualifying(purpose string, data []byte) []byte {
	d := sha256.Sum256(append([]byte("leasehold "+purpose+" v1\x00"), data...))
	return d[:]
}

func qualifiedName(ak []byte) []byte {
	d := sha256.Sum256(append([]byte{0x40, 0, 0, 0x0b}, tpmName(ak)...))
	return append([]byte{0, 0x0b}, d[:]...)
}

// evidence quotes boot state of zeros over data. A session's needs neither keys nor PCR values.
func (p *paperTPM) evidence(t testing.TB, purpose string, data []byte) []byte {
	t.Helper()
	return p.forged(t, purpose, data, func(f *forgery) {
		if purpose == "session" {
			f.EK, f.AK, f.PCRs = nil, nil, nil
		}
	})
}

// forgery is evidence with whatever somebody would like to be different, truly signed by the AK.
type forgery struct {
	Format       byte
	EK, AK       []byte
	Head         []byte // magic and type
	Signer       []byte
	Extra        []byte
	Clock        []byte // clock, resets, restarts, safe; firmware
	Selection    []byte
	Digest       []byte // of the PCRs
	Tail         []byte
	PCRs         []byte
	Certificates [][]byte
	Sign         func(r, s *big.Int) []byte // TPMT_SIGNATURE
}

func (p *paperTPM) forged(t testing.TB, purpose string, data []byte, change func(*forgery)) []byte {
	t.Helper()
	boot := make([]byte, 96)
	pcrDigest := sha256.Sum256(boot)
	f := &forgery{Format: 0x11, EK: p.EK, AK: p.AK, Head: unhex("ff544347" + "8018"), Signer: qualifiedName(p.AK), Extra: qualifying(purpose, data),
		Clock: unhex("0000000000001000" + "00000001" + "00000002" + "01" + "2026000000000000"), Selection: unhex(pcrs), Digest: pcrDigest[:], PCRs: boot, Sign: signature32}
	change(f)
	quoted := slices.Concat(f.Head, sized(f.Signer), sized(f.Extra), f.Clock, f.Selection, sized(f.Digest), f.Tail)
	b := slices.Concat([]byte{f.Format}, sized(f.EK), sized(f.AK), sized(quoted), sized(f.Sign(p.sign(t, quoted))), sized(f.PCRs), []byte{byte(len(f.Certificates))})
	for _, der := range f.Certificates {
		b = append(b, sized(der)...)
	}
	return b
}

// sign is the AK's signature over what its TPM says, deterministic (RFC 6979).
func (p *paperTPM) sign(t testing.TB, said []byte) (r, s *big.Int) {
	t.Helper()
	digest := sha256.Sum256(said)
	der, err := p.ak.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	return rs.R, rs.S
}

// signature32 is the TPMT_SIGNATURE of TPMs that write zeros in front.
func signature32(r, s *big.Int) []byte {
	return slices.Concat(unhex("0018000b"), sized(r.FillBytes(make([]byte, 32))), sized(s.FillBytes(make([]byte, 32))))
}

// parts are evidence taken apart: EK, AK, Quoted, Signature, PCRs, and the EK certificates.
type parts struct {
	f            [5][]byte
	certificates [][]byte
}

// takeSized takes a field with its length off b, at most so many bytes.
func takeSized(b []byte, most int) (field, rest []byte, err error) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) || int(binary.BigEndian.Uint16(b)) > most {
		return nil, nil, fmt.Errorf("%w: evidence ends in a field, or one is too long", ErrMalformed)
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}

// takeList takes fields with their count off b.
func takeList(b []byte, least, most, each int) (list [][]byte, rest []byte, err error) {
	if len(b) < 1 || int(b[0]) < least || int(b[0]) > most {
		return nil, nil, fmt.Errorf("%w: no certificates where there are some, or too many", ErrMalformed)
	}
	n, b := int(b[0]), b[1:]
	for range n {
		var field []byte
		if field, b, err = takeSized(b, each); err != nil {
			return nil, nil, err
		}
		list = append(list, field)
	}
	return list, b, nil
}

// fields takes evidence apart: the sizes of SPEC.md 7.2, step 1.
func fields(evidence []byte) (p parts, err error) {
	if len(evidence) == 0 || evidence[0] < 0x11 || evidence[0] > 0x13 {
		return p, fmt.Errorf("%w: not evidence", ErrMalformed)
	}
	if evidence[0] == 0x11 && len(evidence) > 16384 {
		return p, fmt.Errorf("%w: evidence of %d bytes", ErrMalformed, len(evidence))
	}
	rest := evidence[1:]
	for i, most := range []int{512, 512, 512, 128, 96} {
		if p.f[i], rest, err = takeSized(rest, most); err != nil {
			return p, err
		}
	}
	if p.certificates, rest, err = takeList(rest, 0, 2, 4096); err != nil {
		return p, err
	}
	if evidence[0] == 0x13 {
		var between [][]byte
		if between, rest, err = takeList(rest, 1, 6, 6144); err != nil {
			return p, err
		}
		if n := len(slices.Concat(between...)); n > 6144 {
			return p, fmt.Errorf("%w: intermediates of %d bytes", ErrMalformed, n)
		}
	}
	var log []byte // which is not judged here
	if evidence[0] != 0x11 {
		if log, rest, err = takeSized(rest, 65535); err != nil {
			return p, err
		}
	}
	if len(rest) > 0 || evidence[0] == 0x12 && len(log) == 0 {
		return p, fmt.Errorf("%w: bytes left over, or no event log", ErrMalformed)
	}
	return p, nil
}

// paperKey is step 2 of SPEC.md 7.2: a public that differs from its template in its point only.
func paperKey(public []byte, template string) (*ecdsa.PublicKey, error) {
	start := unhex(template)
	if len(public) != len(start)+68 || !bytes.HasPrefix(public, start) || !bytes.Equal(public[len(start):][:2], []byte{0, 32}) || !bytes.Equal(public[len(start)+34:][:2], []byte{0, 32}) {
		return nil, fmt.Errorf("%w: a key that is not of its template", ErrMalformed)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, public[len(start)+2:len(start)+34], public[len(start)+36:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return key, nil
}

// judge is SPEC.md 7.2 for a statement by ak about data. It compares with the one form that statement can have.
func judge(ak, evidence []byte, purpose string, data []byte) error {
	p, err := fields(evidence)
	if err != nil {
		return err
	}
	key, err := paperKey(ak, akStart)
	if err != nil {
		return err
	}
	head := slices.Concat(unhex("ff544347"+"8018"), sized(qualifiedName(ak)), sized(qualifying(purpose, data)))
	quoted, sig, boot := p.f[2], p.f[3], p.f[4]
	if len(quoted) > 145 && bytes.HasPrefix(quoted, head) && bytes.Equal(quoted[101:111], unhex(pcrs)) {
		return fmt.Errorf("%w: bytes behind what the TPM says", ErrMalformed)
	}
	if len(quoted) != 145 || !bytes.HasPrefix(quoted, head) || !bytes.Equal(quoted[101:111], unhex(pcrs)) {
		return fmt.Errorf("%w: the quote is not about this", ErrSignature)
	}
	if sum := sha256.Sum256(boot); len(boot) != 0 && !bytes.Equal(quoted[113:], sum[:]) {
		return fmt.Errorf("%w: other PCR values", ErrSignature)
	}
	if len(sig) < 4 || !bytes.Equal(sig[:4], unhex("0018000b")) {
		return fmt.Errorf("%w: not of ECDSA with SHA-256", ErrSignature)
	}
	r, rest, err := takeSized(sig[4:], 128)
	if err != nil {
		return err
	}
	s, rest, err := takeSized(rest, 128)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("%w: a signature that ends too early or too late", ErrMalformed)
	}
	if digest := sha256.Sum256(quoted); len(r) > 32 || len(s) > 32 || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)) {
		return fmt.Errorf("%w: of the quote", ErrSignature)
	}
	return nil
}

// judgeRequest is SPEC.md 7.2, step 8 included.
func judgeRequest(s *SignedRequest) error {
	p, err := fields(s.Signature)
	if err != nil {
		return err
	}
	if len(p.f[4]) != 96 {
		return fmt.Errorf("%w: PCR values of %d bytes", ErrMalformed, len(p.f[4]))
	}
	ek, err := paperKey(p.f[0], ekStart)
	if err != nil {
		return err
	}
	if err := judge(p.f[1], s.Signature, "request", s.Digest[:]); err != nil {
		return err
	}
	kinds := map[x509.PublicKeyAlgorithm]bool{}
	for _, der := range p.certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%w: an EK certificate that is none", ErrSignature)
		}
		of, is := c.PublicKey.(*rsa.PublicKey)
		if kinds[c.PublicKeyAlgorithm] || !ek.Equal(c.PublicKey) && (!is || of.N.BitLen() != 2048 || of.E != 65537) {
			return fmt.Errorf("%w: an EK certificate of another key, or of a kind that was there", ErrSignature)
		}
		kinds[c.PublicKeyAlgorithm] = true
	}
	if s.Request.Hosts[0].Value != hostOf(p.f[0]) || s.KID != AttestationKeyID(p.f[1]) {
		return fmt.Errorf("%w: another machine's host ID or kid", ErrSignature)
	}
	return nil
}

func judgeServing(ak, statement, serving []byte) error {
	return judge(ak, statement, "session", serving)
}

// A request's evidence must not pass for a session's, nor one over other bytes.
func TestPaperTPMJudges(t *testing.T) {
	p, other := newPaperTPM(t, 0x21), newPaperTPM(t, 0x31)
	d := capability.Digest{1, 2}
	good := p.evidence(t, "request", d[:])
	if err := judge(p.AK, good, "request", d[:]); err != nil {
		t.Fatal(err)
	}
	if judge(p.AK, good, "session", d[:]) == nil || judge(p.AK, good, "request", d[:31]) == nil || judge(other.AK, good, "request", d[:]) == nil {
		t.Error("accepted")
	}
	// The EK is claimed, not quoted: the host ID in the request covers it.
	for i := 3 + len(p.EK); i < len(good); i++ {
		bad := bytes.Clone(good)
		bad[i] ^= 4
		if f, err := fields(bad); err == nil && judge(f.f[1], bad, "request", d[:]) == nil {
			t.Errorf("byte %d flipped: accepted", i)
		}
	}
}

// counted is SPEC.md 7.3: the AK says what the counter at index has come to.
func (p *paperTPM) counted(t testing.TB, index uint32, epoch uint64, data []byte) []byte {
	t.Helper()
	certified := slices.Concat(counterHead(p.AK, index, data, unhex("0000000000001000"+"00000001"+"00000002"+"01"+"2026000000000000")), binary.BigEndian.AppendUint64(nil, epoch))
	return slices.Concat([]byte{0x21}, binary.BigEndian.AppendUint32(nil, index), sized(certified), sized(signature32(p.sign(t, certified))))
}

// counterHead is what an AK certifies of a counter, but for its value, which is the last 8 bytes.
func counterHead(ak []byte, index uint32, data, clock []byte) []byte {
	name := sha256.Sum256(slices.Concat(binary.BigEndian.AppendUint32(nil, index), unhex("000b"+"22020014"+"0000"+"0008")))
	return slices.Concat(unhex("ff544347"+"8014"), sized(qualifiedName(ak)), sized(qualifying("return", data)), clock,
		sized(append([]byte{0, 0x0b}, name[:]...)), unhex("0000"+"0008"))
}

// judgeCounted compares with the one form that a proof can have.
func judgeCounted(ak, proof, data []byte) error {
	const certifiedBytes = 6 + 36 + 34 + 25 + 36 + 4 + 8
	if len(proof) != 5+2+certifiedBytes+2+72 || proof[0] != 0x21 || !bytes.Equal(proof[5:7], []byte{0, certifiedBytes}) || !bytes.Equal(proof[7+certifiedBytes:][:2], []byte{0, 72}) {
		return fmt.Errorf("%w: not a proof of a TPM", ErrMalformed)
	}
	certified, sig := proof[7:][:certifiedBytes], proof[7+certifiedBytes+2:]
	if want := counterHead(ak, 0x01804c48, data, certified[76:101]); !bytes.HasPrefix(certified, want) || !bytes.Equal(proof[1:5], unhex("01804c48")) {
		return fmt.Errorf("%w: the proof is about something else", ErrSignature)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, ak[22:54], ak[56:]))
	if err != nil {
		return err
	}
	digest := sha256.Sum256(certified)
	if !bytes.HasPrefix(sig, unhex("0018000b0020")) || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[6:38]), new(big.Int).SetBytes(sig[40:])) {
		return fmt.Errorf("%w: of the proof", ErrSignature)
	}
	return nil
}
