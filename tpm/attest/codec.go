package attest

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Each item starts with a format byte: kind in the high half, version in the low.
// Then come its fields in order. "sized" is a 2-byte big-endian length and that
// many bytes; "list" is a 1-byte count and that many sized fields.
//
//	evidence      0x11  EK, AK, Quoted, Signature, PCRs sized; EKCertificates list
//	              0x12  the same, then EventLog sized, which is not empty
//	              0x13  as 0x11, then Intermediates list, which is not empty, and EventLog sized
//	epoch proof   0x21  Index 4 bytes big-endian; Certified, Signature sized
//	wrapped key   0x31  HostID 32 bytes; P256.Blob, P256.Secret, RSA.Blob, RSA.Secret sized
//	signed state  0x41  PCRs 96 bytes; Signature 64 bytes
const (
	formatEvidence    = 0x11
	formatWithLog     = 0x12
	formatWithChain   = 0x13
	formatEpochProof  = 0x21
	formatWrapped     = 0x31
	formatSignedState = 0x41
)

// Limits, checked before anything is parsed.
const (
	MaxEvidenceBytes   = 80 << 10  // with an event log or intermediates; without both maxPlainEvidence
	MaxEventLogBytes   = 1<<16 - 1 // logs have 20 to 50 KiB; what a 2-byte length can say
	MaxEpochProofBytes = 1 << 10   // a statement and a signature: about 250
	MaxWrappedBytes    = 1 << 10   // two credentials and a host ID: 501
	SignedStateBytes   = 1 + bootStateBytes + signatureBytes

	// Intermediates: makers keep three or four of 700 bytes, or one of 2 KiB. All
	// of them fit beside the longest log and the longest certificates.
	MaxIntermediates     = 6
	MaxIntermediateBytes = 6 << 10 // of all together

	maxPlainEvidence    = 16 << 10 // two certificates and about 500
	maxCertificates     = 2        // one a kind of EK
	maxCertificateBytes = 4 << 10  // theirs have 1 to 2 KiB
	maxPublicBytes      = 512      // TPMT_PUBLIC of a P-256 key: 120
	maxStatementBytes   = 512      // TPMS_ATTEST: 145 for a quote
	maxSignatureBytes   = 128      // TPMT_SIGNATURE, P-256: 72
	coordinateBytes     = 32       // P-256
	signatureBytes      = 64       // r and s, 32 bytes each
)

// Encode returns the one encoding of e. What exceeds the limits of this file is
// encoded too, but no decoder takes it.
func (e *Evidence) Encode() []byte {
	b := []byte{e.format()}
	for _, field := range [][]byte{e.EK, e.AK, e.Quoted, e.Signature, e.PCRs} {
		b = appendSized(b, field)
	}
	b = appendList(b, e.EKCertificates)
	if len(e.Intermediates) != 0 {
		b = appendList(b, e.Intermediates)
	}
	if b[0] != formatEvidence {
		b = appendSized(b, e.EventLog)
	}
	return b
}

// format is the first that has room for what is there.
func (e *Evidence) format() byte {
	switch {
	case len(e.Intermediates) != 0:
		return formatWithChain
	case len(e.EventLog) != 0:
		return formatWithLog
	}
	return formatEvidence
}

// DecodeEvidence reads what Encode wrote, at most MaxEvidenceBytes. It judges
// nothing: see Verify.
func DecodeEvidence(b []byte) (*Evidence, error) {
	format, limit := byte(formatEvidence), maxPlainEvidence
	if len(b) > 0 && (b[0] == formatWithLog || b[0] == formatWithChain) {
		format, limit = b[0], MaxEvidenceBytes
	}
	r, err := open(b, "evidence", format, limit)
	if err != nil {
		return nil, err
	}
	e := &Evidence{
		EK:             r.sized("EK"),
		AK:             r.sized("AK"),
		Quoted:         r.sized("Quoted"),
		Signature:      r.sized("Signature"),
		PCRs:           r.sized("PCRs"),
		EKCertificates: r.list("EKCertificates", maxCertificates),
	}
	// No intermediates, or 0x12 with an empty log, is not the one encoding.
	if format == formatWithChain {
		e.Intermediates = r.list("Intermediates", MaxIntermediates)
	}
	if format != formatEvidence {
		e.EventLog = r.sized("EventLog")
	}
	if err := r.close(e.Encode); err != nil {
		return nil, err
	}
	if err := checkIntermediates(e.Intermediates); err != nil {
		return nil, err
	}
	return e, nil
}

// Encode returns the one encoding of p.
func (p *EpochProof) Encode() []byte {
	b := binary.BigEndian.AppendUint32([]byte{formatEpochProof}, p.Index)
	return appendSized(appendSized(b, p.Certified), p.Signature)
}

// DecodeEpochProof reads what Encode wrote, at most MaxEpochProofBytes.
func DecodeEpochProof(b []byte) (*EpochProof, error) {
	r, err := open(b, "epoch proof", formatEpochProof, MaxEpochProofBytes)
	if err != nil {
		return nil, err
	}
	p := &EpochProof{}
	if index := r.fixed("Index", 4); index != nil {
		p.Index = binary.BigEndian.Uint32(index)
	}
	p.Certified = r.sized("Certified")
	p.Signature = r.sized("Signature")
	return p, r.close(p.Encode)
}

// Encode returns the one encoding of w.
func (w *Wrapped) Encode() []byte {
	b := append([]byte{formatWrapped}, w.HostID[:]...)
	for _, field := range [][]byte{w.P256.Blob, w.P256.Secret, w.RSA.Blob, w.RSA.Secret} {
		b = appendSized(b, field)
	}
	return b
}

// DecodeWrapped reads what Encode wrote, at most MaxWrappedBytes.
func DecodeWrapped(b []byte) (*Wrapped, error) {
	r, err := open(b, "wrapped key", formatWrapped, MaxWrappedBytes)
	if err != nil {
		return nil, err
	}
	w := &Wrapped{}
	copy(w.HostID[:], r.fixed("HostID", len(w.HostID)))
	w.P256 = Credential{Blob: r.sized("P256.Blob"), Secret: r.sized("P256.Secret")}
	w.RSA = Credential{Blob: r.sized("RSA.Blob"), Secret: r.sized("RSA.Secret")}
	return w, r.close(w.Encode)
}

// Encode returns the one encoding of s, SignedStateBytes long.
func (s *SignedState) Encode() []byte {
	b := append([]byte{formatSignedState}, s.PCRs...)
	return append(b, s.Signature...)
}

// DecodeSignedState reads what Encode wrote.
func DecodeSignedState(b []byte) (*SignedState, error) {
	r, err := open(b, "signed state", formatSignedState, SignedStateBytes)
	if err != nil {
		return nil, err
	}
	s := &SignedState{PCRs: r.fixed("PCRs", bootStateBytes), Signature: r.fixed("Signature", signatureBytes)}
	return s, r.close(s.Encode)
}

func appendSized(b, field []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(field)))
	return append(b, field...)
}

func appendList(b []byte, list [][]byte) []byte {
	b = append(b, byte(len(list)))
	for _, field := range list {
		b = appendSized(b, field)
	}
	return b
}

// reader takes fields off an item; the first error stays.
type reader struct {
	what  string
	whole []byte
	rest  []byte
	err   error
}

func open(b []byte, what string, format byte, limit int) (*reader, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are allowed", what, len(b), limit)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s is empty", what)
	}
	if b[0] != format {
		return nil, fmt.Errorf("%s has format %#02x, want %#02x", what, b[0], format)
	}
	return &reader{what: what, whole: b, rest: b[1:]}, nil
}

func (r *reader) fixed(field string, n int) []byte {
	if r.err != nil {
		return nil
	}
	if len(r.rest) < n {
		r.err = fmt.Errorf("%s: %s is cut short: %d bytes are left of %d", r.what, field, len(r.rest), n)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return bytes.Clone(b)
}

func (r *reader) sized(field string) []byte {
	length := r.fixed(field, 2)
	if length == nil {
		return nil
	}
	n := int(binary.BigEndian.Uint16(length))
	if n == 0 {
		return nil
	}
	return r.fixed(field, n)
}

func (r *reader) list(field string, limit int) [][]byte {
	count := r.fixed(field, 1)
	if count == nil {
		return nil
	}
	if n := int(count[0]); n > limit {
		r.err = fmt.Errorf("%s: %s has %d items, at most %d are allowed", r.what, field, n, limit)
		return nil
	}
	var list [][]byte
	for range count[0] {
		list = append(list, r.sized(field))
	}
	return list
}

// close tells whether all was read, and whether encoding it again gives the same
// bytes.
func (r *reader) close(encode func() []byte) error {
	if r.err != nil {
		return r.err
	}
	if len(r.rest) != 0 {
		return fmt.Errorf("%s: %d bytes are left over", r.what, len(r.rest))
	}
	if !bytes.Equal(encode(), r.whole) {
		return fmt.Errorf("%s is not in its one encoding", r.what)
	}
	return nil
}
