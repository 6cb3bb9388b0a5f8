package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
)

// secret is the root secret of a vault, the same at every epoch: a header prepared for the next one can be checked before the
// epoch moves. It is only sealed, and every key is derived from it under a label of its own.
type secret []byte

const (
	labelHeader   = "leasehold header v1"
	labelSegment  = "leasehold segment v1"
	labelJournal  = "leasehold journal v1"
	labelSnapshot = "leasehold snapshot v1"
	labelCaller   = "leasehold caller v1 "
)

const saltBytes = 16

func newSecret(rand io.Reader) (secret, error) {
	s := make(secret, secretBytes)
	if _, err := io.ReadFull(rand, s); err != nil {
		return nil, fmt.Errorf("make the root secret: %w", err)
	}
	return s, nil
}

func (s secret) derive(label string, salt []byte, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, s, salt, label, n)
}

// mac authenticates the plain parts of a file under the key of its kind.
func (s secret) mac(label string, data []byte) ([32]byte, error) {
	key, err := s.derive(label, nil, 32)
	if err != nil {
		return [32]byte{}, err
	}
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return [32]byte(h.Sum(nil)), nil
}

// aead is AES-256-GCM under a key that only this label and salt have.
func (s secret) aead(label string, salt []byte) (cipher.AEAD, error) {
	key, err := s.derive(label, salt, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
