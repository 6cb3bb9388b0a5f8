package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Clear is the part of a response file that anyone may read: for whom it is and what it answers.
type Clear struct {
	For         hostid.ID         `cbor:"1,keyasint,omitzero" json:"for"`
	Serial      uint64            `cbor:"2,keyasint,omitzero" json:"serial"`
	Request     capability.Digest `cbor:"3,keyasint,omitzero" json:"request"`
	Number      uint64            `cbor:"4,keyasint,omitzero" json:"number"`
	Time        capability.Time   `cbor:"5,keyasint,omitzero" json:"time"`
	ApplyBefore capability.Time   `cbor:"6,keyasint,omitzero" json:"applyBefore"`
}

// ContentKeySize is the key that a response is encrypted with, in bytes. It is used once.
const ContentKeySize = 32

// sealed is what a response file's signatures cover.
type sealed struct {
	Clear  Clear  `cbor:"1,keyasint,omitzero"`
	Wrap   []byte `cbor:"2,keyasint,omitempty"` // the content key, readable by one TPM (tpm/attest)
	Cipher []byte `cbor:"3,keyasint,omitempty"` // AES-256-GCM, zero nonce, Clear as associated data
}

// SealedResponse is a response file as received.
type SealedResponse struct {
	Clear  Clear
	Wrap   []byte
	Digest capability.Digest // of what the signatures cover: another certificate for the same key makes another file of the same response
	Size   int               // of the ciphertext

	cipher      []byte
	certificate []byte
	twice       *twice
}

// SealResponse makes a response file: r encrypted with key, which wrap carries to one TPM, signed twice. The clear part is taken from r.
func (c *Codec) SealResponse(signer *ProducerKey, certificate []byte, r *capability.Response, wrap, key []byte) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if r.Lifetime == 0 {
		return nil, &capability.Malformed{Field: "lifetime", Cause: "absent: the file would be too late at once"}
	}
	s := sealed{Clear: clearOf(r), Wrap: wrap}
	aead, err := contentCipher(key)
	if err != nil {
		return nil, err
	}
	// The key encrypts this one message, so one nonce is enough (NIST SP 800-38D, 8.2).
	s.Cipher = aead.Seal(nil, make([]byte, aead.NonceSize()), c.Encode(r), c.associated(s.Clear))
	b, err := c.signTwice(signer, TypResponse, c.Encode(s), unprotected{Certificate: certificate})
	if err != nil {
		return nil, err
	}
	file := append(responseMagic(), b...)
	if len(file) > capability.MaxFile {
		return nil, fmt.Errorf("response: %w: %d bytes where at most %d are allowed", ErrSize, len(file), capability.MaxFile)
	}
	return file, nil
}

func clearOf(r *capability.Response) Clear {
	return Clear{For: r.For, Serial: r.Serial, Request: r.Request, Number: r.Number, Time: r.Time, ApplyBefore: r.Time.Add(r.Lifetime)}
}

func (c *Codec) associated(cl Clear) []byte {
	return append([]byte("leasehold response v1\x00"), c.Encode(cl)...)
}

func contentCipher(key []byte) (cipher.AEAD, error) {
	if len(key) != ContentKeySize {
		return nil, fmt.Errorf("content key of %d bytes where %d are needed", len(key), ContentKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// ReadResponse reads a response file without believing it: Verify comes next.
func (c *Codec) ReadResponse(file []byte) (*SealedResponse, error) {
	b, err := body(file, KindResponse, responseMagic())
	if err != nil {
		return nil, err
	}
	tw, err := c.openTwice(b, TypResponse, capability.MaxFile)
	if err != nil {
		return nil, err
	}
	var s sealed
	if err := c.Decode(tw.payload, &s, capability.MaxFile); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if err := s.Clear.For.Validate(); err != nil {
		return nil, fmt.Errorf("%w: clear part: for: %w", ErrMalformed, err)
	}
	if s.Clear.Time <= 0 || s.Clear.ApplyBefore <= 0 || len(s.Wrap) == 0 || len(s.Wrap) > maxWrap || len(s.Cipher) == 0 {
		return nil, fmt.Errorf("%w: made %s, to be applied before %s, wrap of %d bytes, content of %d", ErrMalformed, s.Clear.Time, s.Clear.ApplyBefore, len(s.Wrap), len(s.Cipher))
	}
	return &SealedResponse{Clear: s.Clear, Wrap: s.Wrap, Digest: sha256.Sum256(tw.payload), Size: len(s.Cipher),
		cipher: s.Cipher, certificate: tw.unprotected.Certificate, twice: tw}, nil
}

// Verify checks the chain from the root and both signatures. ErrOtherProducer, ErrOneSignature and ErrSignature tell the three ways to fail apart.
func (c *Codec) Verify(t *Trust, s *SealedResponse) (*KeyCertificate, Verdict, error) {
	k, err := c.SigningKey(t, s.certificate)
	if err != nil {
		return nil, Verdict{}, err
	}
	v, err := c.signedBy(k, s.twice, "response")
	if err == nil {
		err = k.timely("response", s.Clear.Time)
	}
	return k, v, err
}

// Certificate is the key certificate that came with the response, as received.
func (s *SealedResponse) Certificate() []byte { return s.certificate }

// Open decrypts a verified response. ErrSignature: the key is not the one it was sealed with, or the ciphertext was altered.
// ErrMalformed: the content contradicts the clear part.
func (c *Codec) Open(s *SealedResponse, key []byte) (*capability.Response, error) {
	aead, err := contentCipher(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), s.cipher, c.associated(s.Clear))
	if err != nil {
		return nil, fmt.Errorf("open the response: %w", ErrSignature)
	}
	var r capability.Response
	if err := c.Decode(plain, &r, capability.MaxFile); err != nil {
		return nil, fmt.Errorf("response content: %w", err)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("response content: %w: %w", ErrMalformed, err)
	}
	if r.Lifetime == 0 {
		return nil, fmt.Errorf("%w: a response file without a lifetime", ErrMalformed)
	}
	if clearOf(&r) != s.Clear {
		return nil, fmt.Errorf("%w: the clear part says %+v and the content %+v", ErrMalformed, s.Clear, clearOf(&r))
	}
	return &r, nil
}
