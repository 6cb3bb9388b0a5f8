package storage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
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

// kept is what a vault has on its page: the root secret, and the key of the segment in use, so that a group does not derive it again.
type kept []byte

const keptBytes = secretBytes + 32

func (k kept) root() secret { return secret(k[:secretBytes]) }

// draw makes a new root secret.
func (k kept) draw(rand io.Reader) (err error) {
	Guard(func() { _, err = io.ReadFull(rand, k.root()) })
	if err != nil {
		return fmt.Errorf("make the root secret: %w", err)
	}
	return nil
}

// journal is the AEAD of the segment with that salt, until the next call.
func (k kept) journal(salt []byte) cipher.AEAD {
	Guard(func() { copy(k[secretBytes:], k.root().key(labelJournal, salt)) })
	return keyed{key: k[secretBytes:]}
}

// key gives the 32 bytes of one label and salt, for use inside Guard. HKDF and AES refuse only lengths, and these are right.
func (s secret) key(label string, salt []byte) []byte {
	key, err := hkdf.Key(sha256.New, s, salt, label, 32)
	if err != nil {
		panic("storage: " + err.Error())
	}
	return key
}

// mac authenticates the plain parts of a file under the key of its kind.
func (s secret) mac(label string, data []byte) []byte {
	sum := make([]byte, 0, macBytes)
	Guard(func() {
		h := hmac.New(sha256.New, s.key(label, nil))
		h.Write(data)
		sum = h.Sum(sum)
	})
	return sum
}

// genuine says whether data ends in the MAC of all before.
func (s secret) genuine(label string, data []byte) bool {
	at := len(data) - macBytes
	return at >= 0 && hmac.Equal(s.mac(label, data[:at]), data[at:])
}

// aead is AES-256-GCM under a key that only this label and salt have.
func (s secret) aead(label string, salt []byte) cipher.AEAD {
	return keyed{secret: s, label: label, salt: bytes.Clone(salt)}
}

// keyed is AES-256-GCM that keeps no schedule of its key, which would begin with the key: each use makes one inside Guard, and first the key where that is
// not kept. For a group of records that is a microsecond or two beside a sync of the disk.
type keyed struct {
	key    []byte // nil: from the secret
	secret secret
	label  string
	salt   []byte
}

const nonceBytes = 12

func (k keyed) NonceSize() int { return nonceBytes }
func (k keyed) Overhead() int  { return tagBytes }

func (k keyed) Seal(dst, nonce, plain, data []byte) (sealed []byte) {
	dst = slices.Grow(dst, len(plain)+tagBytes)
	Guard(func() { sealed = k.cipher().Seal(dst, nonce, plain, data) })
	return sealed
}

func (k keyed) Open(dst, nonce, sealed, data []byte) (plain []byte, err error) {
	dst = slices.Grow(dst, max(0, len(sealed)-tagBytes))
	Guard(func() { plain, err = k.cipher().Open(dst, nonce, sealed, data) })
	return plain, err
}

func (k keyed) cipher() cipher.AEAD {
	key := k.key
	if key == nil {
		key = k.secret.key(k.label, k.salt)
	}
	block, err := aes.NewCipher(key)
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
