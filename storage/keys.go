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

const (
	saltBytes = 16
	macBytes  = 32
)

func newSecret(rand io.Reader) (secret, error) {
	s := make(secret, secretBytes)
	if _, err := io.ReadFull(rand, s); err != nil {
		return nil, fmt.Errorf("make the root secret: %w", err)
	}
	return s, nil
}

// key gives the 32 bytes of one label and salt. HKDF and AES refuse only lengths, and these are right.
func (s secret) key(label string, salt []byte) []byte {
	key, err := hkdf.Key(sha256.New, s, salt, label, 32)
	if err != nil {
		panic("storage: " + err.Error())
	}
	return key
}

// mac authenticates the plain parts of a file under the key of its kind.
func (s secret) mac(label string, data []byte) []byte {
	h := hmac.New(sha256.New, s.key(label, nil))
	h.Write(data)
	return h.Sum(nil)
}

// genuine says whether data ends in the MAC of all before.
func (s secret) genuine(label string, data []byte) bool {
	at := len(data) - macBytes
	return at >= 0 && hmac.Equal(s.mac(label, data[:at]), data[at:])
}

// aead is AES-256-GCM under a key that only this label and salt have.
func (s secret) aead(label string, salt []byte) cipher.AEAD {
	block, err := aes.NewCipher(s.key(label, salt))
	if err != nil {
		panic("storage: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("storage: " + err.Error())
	}
	return aead
}

func newSalt(rand io.Reader) ([]byte, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return nil, fmt.Errorf("make a salt: %w", err)
	}
	return salt, nil
}
