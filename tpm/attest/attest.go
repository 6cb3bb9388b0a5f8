// Package attest judges what a TPM says and writes what only one TPM can read.
// It has no TPM and needs none: clients and the back office use it, and package
// tpm uses it to say the same things the verifiers expect. Pure: callers hand in
// time and chance.
//
// Start with [Verify] for the evidence in a request, [VerifySession] for a
// server's statement about its serving key, [VerifyEpoch] for the proof in a
// return, and [Wrap] to encrypt a content key to one machine. Each verifier says
// what it checks and why; the bytes of each item are in codec.go.
package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// HostID names one machine: SHA-256("leasehold tpm host v1\0" || Name of the
// TPM's P-256 endorsement key). It outlives reinstallation and TPM2_Clear.
type HostID [32]byte

// String returns the ID as 64 hexadecimal digits.
func (h HostID) String() string { return hex.EncodeToString(h[:]) }

// A Purpose keeps a statement made for one use from passing as another.
type Purpose string

const (
	Request Purpose = "request" // data is the digest of a request's body
	Session Purpose = "session" // data is the serving key of one start of the daemon
	Return  Purpose = "return"  // data is the digest of a return; see EpochProof
)

// Qualifying returns what a quote or certification over data carries as its
// extraData: SHA-256("leasehold " || purpose || " v1\0" || data).
func (p Purpose) Qualifying(data []byte) []byte {
	h := sha256.New()
	h.Write([]byte("leasehold " + string(p) + " v1\x00"))
	h.Write(data)
	return h.Sum(nil)
}

// Evidence holds TPM wire bytes as received; capability/wire carries it as one
// opaque item. For a session only Quoted and Signature are there.
type Evidence struct {
	EK        []byte // TPMT_PUBLIC of the P-256 endorsement key
	AK        []byte // TPMT_PUBLIC of the attestation key
	Quoted    []byte // TPMS_ATTEST, a quote of PCRs 7, 11 and 12
	Signature []byte // TPMT_SIGNATURE by AK over Quoted
	PCRs      []byte // values of PCR 7, 11 and 12, 96 bytes

	// EKCertificates are DER, of the P-256 or the RSA-2048 endorsement key,
	// at most one each.
	EKCertificates [][]byte

	// Intermediates are DER, of authorities between a maker's root and
	// EKCertificates as the TPM has them: at most MaxIntermediates of
	// MaxIntermediateBytes together. Nobody trusts them: they show a way to a root
	// that is trusted, or count for nothing.
	Intermediates [][]byte

	// EventLog is what firmware and boot loader say they measured (TCG PC Client
	// Platform Firmware Profile), at most MaxEventLogBytes. Nothing signs it: it
	// proves itself by extending to PCRs, or counts for nothing.
	EventLog []byte
}

// Identity is what verified evidence says of a machine. Until a response wrapped
// to it came back applied, that EK and AK share a TPM is only claimed.
type Identity struct {
	HostID   HostID
	EK, AK   []byte // TPMT_PUBLIC, as in the evidence
	AKName   []byte
	PCRs     []byte // PCR 7, 11 and 12 as quoted, 96 bytes
	Clock    Clock
	Firmware uint64

	// EKCertificates, Intermediates and EventLog are not judged yet: see TierOf for
	// the former two. Of Intermediates only what is a certificate is here.
	EKCertificates []*x509.Certificate
	Intermediates  []*x509.Certificate
	EventLog       []byte
}

// Verify says what e proves of data. It does not prove that AK and EK share a
// TPM: see [Wrap].
func Verify(e *Evidence, p Purpose, data []byte) (*Identity, error) {
	ek, err := parseEK(e.EK)
	if err != nil {
		return nil, err
	}
	ak, err := parseAK(e.AK)
	if err != nil {
		return nil, err
	}
	if len(e.EventLog) > MaxEventLogBytes {
		return nil, fmt.Errorf("event log has %d bytes, at most %d are allowed", len(e.EventLog), MaxEventLogBytes)
	}
	if err := checkIntermediates(e.Intermediates); err != nil {
		return nil, err
	}
	if len(e.PCRs) != bootStateBytes {
		return nil, fmt.Errorf("values of PCR 7, 11 and 12 have %d bytes, want %d", len(e.PCRs), bootStateBytes)
	}
	said, err := verifyQuote(ak, e, p, data)
	if err != nil {
		return nil, err
	}
	certificates, err := parseCertificates(e.EKCertificates, ek)
	if err != nil {
		return nil, err
	}
	return &Identity{
		HostID:         hostID(ek.name),
		EK:             bytes.Clone(e.EK),
		AK:             bytes.Clone(e.AK),
		AKName:         ak.name,
		PCRs:           bytes.Clone(e.PCRs),
		Clock:          clockOf(said.ClockInfo),
		Firmware:       said.FirmwareVersion,
		EKCertificates: certificates,
		Intermediates:  parseIntermediates(e.Intermediates),
		EventLog:       bytes.Clone(e.EventLog),
	}, nil
}

// VerifySession judges a session statement over data, a serving key's public
// bytes, against ak, the TPMT_PUBLIC that the producer's response names. e needs
// Quoted and Signature only; an AK it carries must be ak, and PCR values it
// carries must be those quoted.
func VerifySession(ak []byte, e *Evidence, data []byte) error {
	if len(e.EventLog) != 0 {
		return errors.New("session statement carries an event log")
	}
	if len(e.Intermediates) != 0 {
		return errors.New("session statement carries intermediate certificates")
	}
	if len(e.AK) != 0 && !bytes.Equal(e.AK, ak) {
		return errors.New("session statement is by another attestation key")
	}
	key, err := parseAK(ak)
	if err != nil {
		return err
	}
	_, err = verifyQuote(key, e, Session, data)
	return err
}

// HostIDOf returns the host ID of an endorsement key, which must be a TPMT_PUBLIC
// made from the standard P-256 template.
func HostIDOf(ek []byte) (HostID, error) {
	key, err := parseEK(ek)
	if err != nil {
		return HostID{}, err
	}
	return hostID(key.name), nil
}

func hostID(ekName []byte) HostID {
	return sha256.Sum256(append([]byte("leasehold tpm host v1\x00"), ekName...))
}

func verifyQuote(ak *publicKey, e *Evidence, p Purpose, data []byte) (*tpm2.TPMSAttest, error) {
	said, err := verifyStatement(ak, e.Quoted, e.Signature, tpm2.TPMSTAttestQuote, p, data)
	if err != nil {
		return nil, err
	}
	quote, err := said.Attested.Quote()
	if err != nil {
		return nil, fmt.Errorf("read quote: %w", err)
	}
	if !bytes.Equal(tpm2.Marshal(quote.PCRSelect), tpm2.Marshal(BootPCRs())) {
		return nil, errors.New("quote is not of PCR 7, 11 and 12 in the SHA-256 bank")
	}
	if n := len(quote.PCRDigest.Buffer); n != sha256.Size {
		return nil, fmt.Errorf("digest of the quoted PCRs has %d bytes, want %d", n, sha256.Size)
	}
	if len(e.PCRs) != 0 {
		if sum := sha256.Sum256(e.PCRs); !bytes.Equal(sum[:], quote.PCRDigest.Buffer) {
			return nil, fmt.Errorf("PCR values hash to %x, the quote says %x", sum, quote.PCRDigest.Buffer)
		}
	}
	return said, nil
}

// verifyStatement checks all that is common to what a TPM signs: origin, type,
// signer, qualifying data, one encoding only, and the signature.
func verifyStatement(ak *publicKey, statement, signature []byte, kind tpm2.TPMST, p Purpose, data []byte) (*tpm2.TPMSAttest, error) {
	said, err := parseStatement(statement, kind)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(said.QualifiedSigner.Buffer, ak.qualifiedName()) {
		return nil, errors.New("statement is by another key, or by one outside the endorsement hierarchy")
	}
	if want := p.Qualifying(data); !bytes.Equal(said.ExtraData.Buffer, want) {
		return nil, fmt.Errorf("statement is not about this %s: it qualifies %x, want %x", p, said.ExtraData.Buffer, want)
	}
	if err := ak.verify(statement, signature); err != nil {
		return nil, err
	}
	return said, nil
}

func parseStatement(b []byte, kind tpm2.TPMST) (*tpm2.TPMSAttest, error) {
	if len(b) > maxStatementBytes {
		return nil, fmt.Errorf("statement has %d bytes, at most %d are allowed", len(b), maxStatementBytes)
	}
	if len(b) < 6 {
		return nil, fmt.Errorf("statement of %d bytes is cut short", len(b))
	}
	// Magic and type come first and are compared before anything is parsed: the
	// type selects a union, of which one member only is ever read.
	if magic := tpm2.TPMGenerated(binary.BigEndian.Uint32(b)); magic != tpm2.TPMGeneratedValue {
		return nil, fmt.Errorf("statement was not made by a TPM: magic %#x", uint32(magic))
	}
	if got := tpm2.TPMST(binary.BigEndian.Uint16(b[4:])); got != kind {
		return nil, fmt.Errorf("statement is of type %#x, want %#x", uint16(got), uint16(kind))
	}
	said, err := tpm2.Unmarshal[tpm2.TPMSAttest](b)
	if err != nil {
		return nil, fmt.Errorf("read statement: %w", err)
	}
	if !bytes.Equal(tpm2.Marshal(said), b) {
		return nil, errors.New("statement has bytes left over or a second encoding")
	}
	return said, nil
}

// publicKey is a P-256 key made from one of the two templates.
type publicKey struct {
	public tpm2.TPMTPublic
	point  *ecdsa.PublicKey
	name   []byte
}

func parseEK(b []byte) (*publicKey, error) {
	k, err := parsePublic(b, tpm2.ECCEKTemplate)
	if err != nil {
		return nil, fmt.Errorf("endorsement key: %w", err)
	}
	return k, nil
}

func parseAK(b []byte) (*publicKey, error) {
	k, err := parsePublic(b, AKTemplate())
	if err != nil {
		return nil, fmt.Errorf("attestation key: %w", err)
	}
	return k, nil
}

// parsePublic reads a TPMT_PUBLIC which may differ from template in its point
// only: that compares type, curve, scheme, attributes and policy at once.
// Coordinates are 32 bytes, zeros in front included, as TPMs since revision 1.38
// of the specification write them; else one key could have two names.
func parsePublic(b []byte, template tpm2.TPMTPublic) (*publicKey, error) {
	if len(b) > maxPublicBytes {
		return nil, fmt.Errorf("public area has %d bytes, at most %d are allowed", len(b), maxPublicBytes)
	}
	if len(b) < 2 || tpm2.TPMAlgID(binary.BigEndian.Uint16(b)) != tpm2.TPMAlgECC {
		return nil, errors.New("public area is not an elliptic-curve key")
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
	if err != nil {
		return nil, fmt.Errorf("read public area: %w", err)
	}
	point, err := public.Unique.ECC()
	if err != nil {
		return nil, fmt.Errorf("read point: %w", err)
	}
	if len(point.X.Buffer) != coordinateBytes || len(point.Y.Buffer) != coordinateBytes {
		return nil, fmt.Errorf("coordinates have %d and %d bytes, want %d each", len(point.X.Buffer), len(point.Y.Buffer), coordinateBytes)
	}
	want := template
	want.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, point)
	if !bytes.Equal(tpm2.Marshal(want), b) {
		return nil, errors.New("public area was not made from our template")
	}
	parameters, err := want.Parameters.ECCDetail()
	if err != nil {
		return nil, fmt.Errorf("read curve: %w", err)
	}
	key, err := tpm2.ECDSAPub(parameters, point)
	if err != nil {
		return nil, fmt.Errorf("read point: %w", err)
	}
	if _, err := key.ECDH(); err != nil {
		return nil, fmt.Errorf("point is not on P-256: %w", err)
	}
	name, err := tpm2.ObjectName(&want)
	if err != nil {
		return nil, fmt.Errorf("compute name: %w", err)
	}
	return &publicKey{public: want, point: key, name: name.Buffer}, nil
}

// qualifiedName is the Name that a primary of the endorsement hierarchy signs
// under: the hash algorithm, then SHA-256(hierarchy || Name). A key of the owner
// hierarchy, whose statements hide counts and firmware, has another.
func (k *publicKey) qualifiedName() []byte {
	h := sha256.New()
	h.Write(tpm2.PrimaryHandleName(tpm2.TPMRHEndorsement))
	h.Write(k.name)
	return h.Sum(binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMAlgSHA256)))
}

// verify checks a TPMT_SIGNATURE, ECDSA with SHA-256, over message.
func (k *publicKey) verify(message, signature []byte) error {
	if len(signature) > maxSignatureBytes {
		return fmt.Errorf("signature has %d bytes, at most %d are allowed", len(signature), maxSignatureBytes)
	}
	if len(signature) < 2 || tpm2.TPMAlgID(binary.BigEndian.Uint16(signature)) != tpm2.TPMAlgECDSA {
		return errors.New("signature is not ECDSA")
	}
	parsed, err := tpm2.Unmarshal[tpm2.TPMTSignature](signature)
	if err != nil {
		return fmt.Errorf("read signature: %w", err)
	}
	s, err := parsed.Signature.ECDSA()
	if err != nil {
		return fmt.Errorf("read signature: %w", err)
	}
	if s.Hash != tpm2.TPMAlgSHA256 {
		return fmt.Errorf("signature hashes with algorithm %#x, want SHA-256", uint16(s.Hash))
	}
	if !bytes.Equal(tpm2.Marshal(parsed), signature) {
		return errors.New("signature has bytes left over or a second encoding")
	}
	if most := signatureBytes / 2; len(s.SignatureR.Buffer) > most || len(s.SignatureS.Buffer) > most {
		return fmt.Errorf("signature has numbers of %d and %d bytes, at most %d are allowed", len(s.SignatureR.Buffer), len(s.SignatureS.Buffer), most)
	}
	sum := sha256.Sum256(message)
	if !ecdsa.Verify(k.point, sum[:], new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer)) {
		return errors.New("signature by the attestation key does not verify")
	}
	return nil
}

// parseCertificates accepts at most one certificate of the P-256 EK, which must
// be ek itself, and at most one of the RSA-2048 EK, which Wrap then binds.
func parseCertificates(ders [][]byte, ek *publicKey) ([]*x509.Certificate, error) {
	if len(ders) > maxCertificates {
		return nil, fmt.Errorf("%d endorsement key certificates, at most %d are allowed", len(ders), maxCertificates)
	}
	var certificates []*x509.Certificate
	seen := map[x509.PublicKeyAlgorithm]bool{}
	for i, der := range ders {
		c, err := parseCertificate(der, ek)
		if err != nil {
			return nil, fmt.Errorf("endorsement key certificate %d: %w", i, err)
		}
		if seen[c.PublicKeyAlgorithm] {
			return nil, fmt.Errorf("endorsement key certificate %d is a second one for a key of type %v", i, c.PublicKeyAlgorithm)
		}
		seen[c.PublicKeyAlgorithm] = true
		certificates = append(certificates, c)
	}
	return certificates, nil
}

func parseCertificate(der []byte, ek *publicKey) (*x509.Certificate, error) {
	if len(der) > maxCertificateBytes {
		return nil, fmt.Errorf("certificate has %d bytes, at most %d are allowed", len(der), maxCertificateBytes)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if !key.Equal(ek.point) {
			return nil, errors.New("is for another elliptic-curve key than the evidence")
		}
	case *rsa.PublicKey:
		if key.N.BitLen() != 2048 || key.E != 65537 {
			return nil, fmt.Errorf("is for an RSA-%d key with exponent %d, want RSA-2048 with 65537", key.N.BitLen(), key.E)
		}
	default:
		return nil, fmt.Errorf("is for a key of type %v", c.PublicKeyAlgorithm)
	}
	return c, nil
}

// CheckCertificate tells whether Verify would take der beside ek, a TPMT_PUBLIC,
// so that a machine leaves out of its evidence what nobody can judge.
func CheckCertificate(der, ek []byte) error {
	key, err := parseEK(ek)
	if err != nil {
		return err
	}
	_, err = parseCertificate(der, key)
	return err
}

func clockOf(c tpm2.TPMSClockInfo) Clock {
	return NewClock(c.Clock, c.ResetCount, c.RestartCount, c.Safe)
}

// NewClock makes a Clock of a TPM's numbers; milliseconds above the longest
// time.Duration, 292 years, become that.
func NewClock(milliseconds uint64, resets, restarts uint32, safe bool) Clock {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return Clock{
		Elapsed:  time.Duration(min(milliseconds, most)) * time.Millisecond,
		Resets:   resets,
		Restarts: restarts,
		Safe:     safe,
	}
}

// JudgeSession is VerifySession of an encoded statement: whether it is the word
// of the TPM key ak over a serving key. It is the judge that a verifier of chains
// and receipts is handed.
func JudgeSession(ak, statement, serving []byte) error {
	e, err := DecodeEvidence(statement)
	if err != nil {
		return err
	}
	return VerifySession(ak, e, serving)
}
