package wire

import (
	"crypto/sha256"
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// SignedRequest is a request file as received: what was signed is kept, and nothing is believed until the caller has judged the signature.
type SignedRequest struct {
	Request   capability.Request
	Alg       int64
	KID       KeyID
	Signature []byte            // evidence: of a TPM for AlgTPMQuote, of a device key for AlgEd25519 and AlgESP256
	Digest    capability.Digest // names the request: SHA-256 of what was signed
}

// SignRequest makes a request file. sign is given the digest of the Sig_structure and answers with the signature; with evidence that covers that digest: a TPM's for AlgTPMQuote, a device key's for AlgEd25519.
func (c *Codec) SignRequest(r *capability.Request, alg int64, kid KeyID, sign func(digest capability.Digest) ([]byte, error)) (file []byte, digest capability.Digest, err error) {
	if err := r.Validate(); err != nil {
		return nil, digest, err
	}
	payload := c.Encode(r)
	protected := c.Encode(header{Alg: alg, KID: kid, Typ: TypRequest})
	digest = sha256.Sum256(c.toBeSigned(protected, payload))
	sig, err := sign(digest)
	if err != nil {
		return nil, digest, fmt.Errorf("sign the request: %w", err)
	}
	file = append(requestMagic(), c.Encode(sign1{Protected: protected, Payload: &payload, Signature: sig})...)
	if len(file) > capability.MaxFile {
		return nil, digest, fmt.Errorf("request: %w: %d bytes where at most %d are allowed", ErrSize, len(file), capability.MaxFile)
	}
	return file, digest, nil
}

// ReadRequest reads a request file and validates its fields. The signature is the caller's to judge, over Digest.
func (c *Codec) ReadRequest(file []byte) (*SignedRequest, error) {
	b, err := body(file, KindRequest, requestMagic())
	if err != nil {
		return nil, err
	}
	s, h, err := c.open(b, TypRequest, capability.MaxFile, AlgTPMQuote, AlgEd25519, AlgESP256)
	if err != nil {
		return nil, err
	}
	if s.Payload == nil || !s.Unprotected.empty() {
		return nil, fmt.Errorf("%w: no payload, or an unsigned header", ErrMalformed)
	}
	r := &SignedRequest{Alg: h.Alg, KID: h.KID, Signature: s.Signature, Digest: sha256.Sum256(c.toBeSigned(s.Protected, *s.Payload))}
	if len(s.Signature) > capability.MaxQuoted {
		return nil, fmt.Errorf("%w: evidence of %d bytes where at most %d are allowed", ErrMalformed, len(s.Signature), capability.MaxQuoted)
	}
	if h.Alg == AlgESP256 && !r.OfClient() {
		return nil, fmt.Errorf("%w: algorithm %d is one for a request to an appliance only", ErrMalformed, h.Alg)
	}
	if err := c.DecodeRequest(*s.Payload, &r.Request, capability.MaxFile); err != nil {
		return nil, err
	}
	return r, nil
}

// DecodeRequest reads and validates a bare request, as it comes over a channel that proves the sender's key.
func (c *Codec) DecodeRequest(b []byte, r *capability.Request, limit int) error {
	if err := c.Decode(b, r, limit); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return r.Validate()
}

// RequestDigest names a bare request: SHA-256 over its encoding. Replay is judged by it.
func (c *Codec) RequestDigest(r *capability.Request) capability.Digest {
	var w Writer
	w.request(c, r)
	return w.digest()
}

// ReturnDigest is what the TPM's statement in a return covers: SHA-256 over a label and the return without its proof.
func (c *Codec) ReturnDigest(r capability.Return) capability.Digest {
	r.Proof = nil
	return sha256.Sum256(append([]byte("leasehold return v1\x00"), c.Encode(&r)...))
}
