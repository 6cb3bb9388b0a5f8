package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A client that no wire leads to sends an appliance the request that it would send over a connection, in a file. Over a connection the handshake proves its device
// key, and a challenge that the request is of now; in a file the key signs, and a number that only grows says which of two requests is the later one. The answer is
// the frame's, with the chain that a connection begins with beside it, so that it proves itself to whoever has the producer's root.

const (
	formatClientEvidence   = 0x82 // length of the key in 2 bytes, Key, Signature
	clientSignatureBytes   = 64   // of Ed25519; r and s of P-256
	mostClientKeyBytes     = 128  // DER of a P-256 key is 91
	clientRequestStatement = "leasehold client request v1\x00"
)

// SignClientRequest makes the request file of a client whose device key, Ed25519 or P-256, is key. random is for signatures that need it. The error of a request that no appliance takes from a file is a *capability.Malformed.
func (c *Codec) SignClientRequest(random io.Reader, key crypto.Signer, r *capability.Request) (file []byte, digest capability.Digest, err error) {
	if err := r.FromFile(); err != nil {
		return nil, digest, err
	}
	alg, err := AlgOfClient(key.Public())
	if err != nil {
		return nil, digest, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, digest, fmt.Errorf("device key: %w", err)
	}
	id := sha256.Sum256(der)
	return c.SignRequest(r, alg, KeyID(id[:16]), func(d capability.Digest) ([]byte, error) { return SignAsClient(random, key, d) })
}

// SignAsClient makes the evidence of a device key for the digest of a request to an appliance.
func SignAsClient(random io.Reader, key crypto.Signer, digest capability.Digest) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	alg, err := AlgOfClient(key.Public())
	if err != nil {
		return nil, err
	}
	said, how := append([]byte(clientRequestStatement), digest[:]...), crypto.Hash(0)
	if alg == AlgESP256 {
		sum := sha256.Sum256(said)
		said, how = sum[:], crypto.SHA256
	}
	signature, err := key.Sign(random, said, how)
	if err == nil && alg == AlgESP256 {
		signature, err = fixed(signature)
	}
	if err != nil {
		return nil, fmt.Errorf("sign with the device key: %w", err)
	}
	b := binary.BigEndian.AppendUint16([]byte{formatClientEvidence}, uint16(len(der)))
	return append(append(b, der...), signature...), nil
}

// fixed is a signature of P-256 as r and s of 32 bytes each.
func fixed(der []byte) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &rs)
	if err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 256 || rs.S.BitLen() > 256 {
		return nil, fmt.Errorf("%d bytes that are no signature of P-256", len(der))
	}
	b := make([]byte, clientSignatureBytes)
	rs.R.FillBytes(b[:32])
	rs.S.FillBytes(b[32:])
	return b, nil
}

// AlgOfClient is the algorithm by which a device key signs a request to an appliance.
func AlgOfClient(key crypto.PublicKey) (int64, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return AlgEd25519, nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return AlgESP256, nil
		}
	}
	return 0, fmt.Errorf("device key: a %T where Ed25519 or P-256 is wanted", key)
}

// OfClient says whether a request file is one to an appliance, by what stands in the place of its signature: another format is another asker's.
func (s *SignedRequest) OfClient() bool {
	return len(s.Signature) > 0 && s.Signature[0] == formatClientEvidence && s.Alg != AlgTPMQuote
}

// ClientKey is the DER SubjectPublicKeyInfo in a request that VerifyClient took.
func ClientKey(s *SignedRequest) []byte {
	return s.Signature[3 : len(s.Signature)-clientSignatureBytes]
}

// VerifyClient judges a request file to an appliance, and gives the digest of the device key that signed it: the form of the evidence, the key ID, that the first
// host ID is that key's, the signature, and that the request is one that an appliance takes from a file. *capability.Malformed names the field that is not.
func VerifyClient(s *SignedRequest) (capability.Digest, error) {
	var none capability.Digest
	b := s.Signature
	if !s.OfClient() || len(b) < 3 {
		return none, fmt.Errorf("device key: %w: no evidence of one that asks an appliance", ErrMalformed)
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if n > mostClientKeyBytes || len(b) != 3+n+clientSignatureBytes {
		return none, fmt.Errorf("device key: %w: evidence of %d bytes", ErrMalformed, len(b))
	}
	der, signature := b[3:3+n], b[3+n:]
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return none, fmt.Errorf("device key: %w: %w", ErrMalformed, err)
	}
	if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, der) {
		return none, fmt.Errorf("device key: %w: another encoding of it", ErrMalformed)
	}
	if alg, err := AlgOfClient(key); err != nil || alg != s.Alg {
		return none, fmt.Errorf("device key: %w: algorithm %d, and a %T", ErrMalformed, s.Alg, key)
	}
	if err := s.Request.FromFile(); err != nil {
		return none, err
	}
	digest := capability.Digest(sha256.Sum256(der))
	said := append([]byte(clientRequestStatement), s.Digest[:]...)
	good := false
	switch k := key.(type) {
	case ed25519.PublicKey:
		good = ed25519.Verify(k, said, signature)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(said)
		good = ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	switch {
	case !good:
		return none, fmt.Errorf("device key: %w", ErrSignature)
	case s.KID != KeyID(digest[:16]):
		return none, fmt.Errorf("device key: %w: the key ID is not that of the key in the evidence", ErrSignature)
	case !s.Request.Hosts[0].Is(hostid.DeviceKey, digest):
		return none, fmt.Errorf("device key: %w: the request says it is %s, and another key signed it", ErrSignature, s.Request.Hosts[0])
	}
	for i, h := range s.Request.Hosts[1:] {
		if h.Type == hostid.DeviceKey {
			return none, &capability.Malformed{Field: fmt.Sprintf("hosts[%d]", i+1), Cause: "is not the key that signed"}
		}
	}
	return digest, nil
}

// AnswerFile is what a file from an appliance to a client holds: what a connection brings in two frames.
type AnswerFile struct {
	Chain  Chain  `cbor:"1,keyasint,omitzero" json:"chain"`
	Answer Answer `cbor:"2,keyasint,omitzero" json:"answer"`
}

// EncodeAnswerFile is the file of it.
func (c *Codec) EncodeAnswerFile(f *AnswerFile) []byte {
	return append(answerMagic(), c.Encode(f)...)
}

// ReadAnswerFile reads the file without believing it. Each of its two parts has at most the bytes of a frame.
func (c *Codec) ReadAnswerFile(file []byte) (*AnswerFile, error) {
	b, err := body(file, KindAnswer, answerMagic())
	if err != nil {
		return nil, err
	}
	var f AnswerFile
	if err := c.Decode(b, &f, capability.MaxFile); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if n, m := len(c.Encode(&f.Chain)), len(c.Encode(&f.Answer)); n > capability.MaxFrame || m > capability.MaxFrame {
		return nil, fmt.Errorf("answer: %w: a chain of %d bytes and an answer of %d, where each has at most %d", ErrSize, n, m, capability.MaxFrame)
	}
	if len(f.Chain.Key) == 0 || len(f.Chain.Appliance) == 0 || len(f.Answer.Response) == 0 {
		return nil, fmt.Errorf("answer: %w: without certificates, or without a response", ErrMalformed)
	}
	return &f, nil
}
