package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// Algorithm identifiers. The first three are IANA's fully specified ones (RFC 9864, RFC 9964), the last is ours, from the range for private use.
const (
	AlgEd25519 int64 = -19
	AlgESP256  int64 = -9
	AlgMLDSA87 int64 = -50
	// AlgTPMQuote is a TPM 2.0 quote by a restricted ECDSA P-256 key whose qualifying data covers the Sig_structure; the signature field holds tpm/attest evidence.
	AlgTPMQuote int64 = -70001
)

// Types (RFC 9596, whose syntax is that of a media type with its "application/"): what an envelope holds. An envelope of one type is never read as another.
const (
	TypRequest   = "application/vnd.leasehold.request+cose"
	TypResponse  = "application/vnd.leasehold.response+cose"
	TypKey       = "application/vnd.leasehold.key+cose"
	TypAppliance = "application/vnd.leasehold.appliance+cose"
	TypGroup     = "application/vnd.leasehold.group+cose"
	// TypKeyRequest is what a signing key says of itself to its root.
	TypKeyRequest = "application/vnd.leasehold.key-request+cose"
	// TypUpdate is what an update of an appliance's image consists of.
	TypUpdate = "application/vnd.leasehold.update+cose"
)

// The kinds of no. Each wraps what it found.
var (
	ErrKind          = errors.New("not a file of this kind")
	ErrCut           = errors.New("cut short")
	ErrSize          = errors.New("too large")
	ErrType          = errors.New("an envelope of another type")
	ErrSignature     = errors.New("bad signature")
	ErrOneSignature  = errors.New("only one of the two signatures is good")
	ErrOtherProducer = errors.New("signed by another producer")
	ErrRevoked       = errors.New("signed by a revoked key")
)

// KeyID is the first half of a key's digest, as COSE's kid.
type KeyID [16]byte

// header is the protected header of all our envelopes (RFC 9052, 3; RFC 9596; RFC 9942 for vds).
type header struct {
	Alg    int64   `cbor:"1,keyasint"`
	KID    KeyID   `cbor:"4,keyasint,omitzero"`
	Claims *claims `cbor:"15,keyasint,omitempty"`
	Typ    string  `cbor:"16,keyasint"`
	VDS    uint8   `cbor:"395,keyasint,omitzero"`
}

// unprotected holds what need not be signed because it proves itself.
type unprotected struct {
	Proofs      *proofs `cbor:"396,keyasint,omitempty"`    // RFC 9942
	Certificate []byte  `cbor:"-70002,keyasint,omitempty"` // a key certificate
}

func (u unprotected) empty() bool { return u.Proofs == nil && len(u.Certificate) == 0 }

// sign1 is COSE_Sign1 (RFC 9052, 4.2), untagged. A nil payload is detached.
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected unprotected
	Payload     *[]byte
	Signature   []byte
}

// toBeSigned is the Sig_structure (RFC 9052, 4.4) without external data.
func (c *Codec) toBeSigned(protected, payload []byte) []byte {
	return c.Encode(struct {
		_         struct{} `cbor:",toarray"`
		Context   string
		Protected []byte
		External  []byte
		Payload   []byte
	}{Context: "Signature1", Protected: protected, External: nil, Payload: payload})
}

// open reads an envelope and its header, and checks type and algorithm before anything else is believed.
func (c *Codec) open(b []byte, typ string, limit int, algs ...int64) (*sign1, *header, error) {
	var s sign1
	if err := c.Decode(b, &s, limit); err != nil {
		return nil, nil, err
	}
	var h header
	if err := c.Decode(s.Protected, &h, maxHeader); err != nil {
		return nil, nil, fmt.Errorf("protected header: %w", err)
	}
	if h.Typ != typ {
		return nil, nil, fmt.Errorf("%w: %q where %q is wanted", ErrType, h.Typ, typ)
	}
	if h.KID == (KeyID{}) {
		return nil, nil, fmt.Errorf("%w: no kid", ErrMalformed)
	}
	if group := typ == TypGroup; group != (h.Claims != nil) || group != (h.VDS == vdsRFC9162) || !group && h.VDS != 0 {
		return nil, nil, fmt.Errorf("%w: a header field that does not belong to %s, or one that is missing", ErrMalformed, typ)
	}
	if h.Claims != nil && h.Claims.Size == 0 {
		return nil, nil, fmt.Errorf("%w: a tree of no leaves", ErrMalformed)
	}
	for _, a := range algs {
		if h.Alg == a {
			return &s, &h, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: algorithm %d is not one for %s", ErrMalformed, h.Alg, typ)
}

// The magic of files (RFC 9277): tag 55799, then ours, "LHRQ" or "LHRS"; then tag 18 of COSE_Sign1.
func requestMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'R', 'Q', 0xd2}
}
func responseMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'R', 'S', 0xd2}
}

// answerMagic is that of a response file by an appliance: no tag 18 follows, but the map of a chain and an answer.
func answerMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'R', 'S'}
}
func trustMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'T', 'R'}
}
func keyRequestMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'K', 'R', 0xd2}
}
func updateMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'U', 'P', 0xd2}
}
func certifiedKeyMagic() []byte {
	return []byte{0xd9, 0xd9, 0xf7, 0xda, 'L', 'H', 'K', 'C'}
}

// FileKind is what a file begins as.
type FileKind string

const (
	KindRequest  FileKind = "request"
	KindResponse FileKind = "response"
	KindTrust    FileKind = "trust bundle"
	// KindAnswer is a response file too: by an appliance, to a client.
	KindAnswer FileKind = "answer of an appliance"

	KindKeyRequest   FileKind = "key request"
	KindCertifiedKey FileKind = "certified key"
	KindUpdate       FileKind = "update"
)

// Kind looks at the magic only. The error is ErrKind, or ErrCut for a file that ends inside it.
func Kind(file []byte) (FileKind, error) {
	for _, k := range []struct {
		kind  FileKind
		magic []byte
	}{{KindRequest, requestMagic()}, {KindResponse, responseMagic()}, {KindAnswer, append(answerMagic(), answerHead)}, {KindTrust, trustMagic()}, {KindKeyRequest, keyRequestMagic()}, {KindCertifiedKey, certifiedKeyMagic()}, {KindUpdate, updateMagic()}} {
		if bytes.HasPrefix(file, k.magic) {
			return k.kind, nil
		}
		if len(file) < len(k.magic) && bytes.HasPrefix(k.magic, file) {
			return "", fmt.Errorf("%w: %d bytes", ErrCut, len(file))
		}
	}
	return "", fmt.Errorf("%w: it does not begin with the magic of one", ErrKind)
}

// answerHead begins the item in an answer file: a map of two.
const answerHead = 0xa2

// body strips the magic of the wanted kind. Size is judged first, so that a stranger's gigabyte is refused unread.
func body(file []byte, kind FileKind, magic []byte) ([]byte, error) {
	if len(file) > capability.MaxFile {
		return nil, fmt.Errorf("%w: %d bytes where at most %d are allowed", ErrSize, len(file), capability.MaxFile)
	}
	k, err := Kind(file)
	if err != nil {
		return nil, err
	}
	if k != kind {
		return nil, fmt.Errorf("%w: a %s where a %s is wanted", ErrKind, k, kind)
	}
	rest := file[len(magic):]
	if cut(rest) {
		return nil, fmt.Errorf("%w: %d bytes", ErrCut, len(file))
	}
	return rest, nil
}
