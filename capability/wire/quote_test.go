package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
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
	boot := make([]byte, 96)
	pcrDigest := sha256.Sum256(boot)
	quoted := slices.Concat(
		unhex("ff544347"+"8018"), sized(qualifiedName(p.AK)), sized(qualifying(purpose, data)),
		unhex("0000000000001000"+"00000001"+"00000002"+"01"), unhex("2026000000000000"), // clock, resets, restarts, safe; firmware
		unhex(pcrs), sized(pcrDigest[:]))
	digest := sha256.Sum256(quoted)
	der, err := p.ak.Sign(nil, digest[:], crypto.SHA256) // deterministic (RFC 6979)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	signature := slices.Concat(unhex("0018000b"), sized(rs.R.FillBytes(make([]byte, 32))), sized(rs.S.FillBytes(make([]byte, 32))))
	if purpose == "session" {
		return slices.Concat([]byte{0x11}, sized(nil), sized(nil), sized(quoted), sized(signature), sized(nil), []byte{0})
	}
	return slices.Concat([]byte{0x11}, sized(p.EK), sized(p.AK), sized(quoted), sized(signature), sized(boot), []byte{0})
}

// fields takes evidence apart: EK, AK, Quoted, Signature, PCRs.
func fields(evidence []byte) (f [5][]byte, err error) {
	if len(evidence) == 0 || evidence[0] < 0x11 || evidence[0] > 0x13 {
		return f, fmt.Errorf("%w: not evidence", ErrMalformed)
	}
	rest := evidence[1:]
	for i := range f {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return f, fmt.Errorf("%w: evidence ends in field %d", ErrMalformed, i)
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		f[i], rest = rest[2:n], rest[n:]
	}
	if evidence[0] == 0x13 {
		return f, intermediates(rest)
	}
	if evidence[0] == 0x12 && len(rest) > 3 && int(binary.BigEndian.Uint16(rest[1:])) == len(rest)-3 {
		rest = rest[:1] // an event log, which is not judged here
	} else if evidence[0] == 0x12 {
		return f, fmt.Errorf("%w: no event log, or one that is cut", ErrMalformed)
	}
	if !bytes.Equal(rest, []byte{0}) {
		return f, fmt.Errorf("%w: certificates, or bytes left over", ErrMalformed)
	}
	return f, nil
}

// intermediates takes the end of evidence apart that has some: no certificates, 1 to 6 intermediates of 6144 bytes together, and an event log, which may be empty.
func intermediates(rest []byte) error {
	if len(rest) < 2 || rest[0] != 0 || rest[1] == 0 || rest[1] > 6 {
		return fmt.Errorf("%w: certificates, or no intermediates, or more than 6", ErrMalformed)
	}
	count, size := int(rest[1]), 0
	rest = rest[2:]
	for i := range count + 1 { // the last is the log
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("%w: evidence ends in intermediate %d of %d", ErrMalformed, i, count)
		}
		n := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2+n:]; i < count {
			size += n
		}
	}
	if size > 6144 || len(rest) > 0 {
		return fmt.Errorf("%w: intermediates of %d bytes, or %d bytes left over", ErrMalformed, size, len(rest))
	}
	return nil
}

// judge is SPEC.md 7.2 for a statement by ak about data. It compares with the one form that statement can have.
func judge(ak, evidence []byte, purpose string, data []byte) error {
	f, err := fields(evidence)
	if err != nil {
		return err
	}
	start := unhex(akStart)
	if len(ak) != len(start)+68 || !bytes.HasPrefix(ak, start) {
		return fmt.Errorf("%w: not an AK", ErrMalformed)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, ak[len(start)+2:len(start)+34], ak[len(start)+36:]))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	head := slices.Concat(unhex("ff544347"+"8018"), sized(qualifiedName(ak)), sized(qualifying(purpose, data)))
	quoted, sig := f[2], f[3]
	if len(quoted) != 145 || !bytes.HasPrefix(quoted, head) || !bytes.Equal(quoted[101:111], unhex(pcrs)) {
		return fmt.Errorf("%w: the quote is not about this", ErrSignature)
	}
	if sum := sha256.Sum256(f[4]); len(f[4]) != 0 && !bytes.Equal(quoted[113:], sum[:]) {
		return fmt.Errorf("%w: other PCR values", ErrSignature)
	}
	digest := sha256.Sum256(quoted)
	if len(sig) != 72 || !bytes.HasPrefix(sig, unhex("0018000b0020")) || !bytes.Equal(sig[38:40], []byte{0, 32}) || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[6:38]), new(big.Int).SetBytes(sig[40:])) {
		return fmt.Errorf("%w: of the quote", ErrSignature)
	}
	return nil
}

// judgeRequest is SPEC.md 7.2, step 8 included.
func judgeRequest(s *SignedRequest) error {
	f, err := fields(s.Signature)
	if err != nil {
		return err
	}
	if err := judge(f[1], s.Signature, "request", s.Digest[:]); err != nil {
		return err
	}
	if !bytes.HasPrefix(f[0], unhex(ekStart)) || s.Request.Hosts[0].Value != hostOf(f[0]) || s.KID != AttestationKeyID(f[1]) {
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
		if f, err := fields(bad); err == nil && judge(f[1], bad, "request", d[:]) == nil {
			t.Errorf("byte %d flipped: accepted", i)
		}
	}
}

// counted is SPEC.md 7.3: the AK says what the counter at index has come to.
func (p *paperTPM) counted(t testing.TB, index uint32, epoch uint64, data []byte) []byte {
	t.Helper()
	certified := slices.Concat(counterHead(p.AK, index, data, unhex("0000000000001000"+"00000001"+"00000002"+"01"+"2026000000000000")), binary.BigEndian.AppendUint64(nil, epoch))
	digest := sha256.Sum256(certified)
	der, err := p.ak.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	signature := slices.Concat(unhex("0018000b"), sized(rs.R.FillBytes(make([]byte, 32))), sized(rs.S.FillBytes(make([]byte, 32))))
	return slices.Concat([]byte{0x21}, binary.BigEndian.AppendUint32(nil, index), sized(certified), sized(signature))
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
