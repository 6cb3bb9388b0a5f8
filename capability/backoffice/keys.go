package backoffice

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"

	"github.com/leasehold/leasehold/storage"
)

// ErrPassphrase: a key file does not open. A wrong passphrase and a changed byte look the same.
var ErrPassphrase = errors.New("the passphrase is wrong, or the key file is damaged")

// ErrKeySealed: a key file that is sealed to a TPM does not open here.
var ErrKeySealed = errors.New("the TPM does not open it")

// MinPassphrase is the shortest passphrase that Create takes, in bytes. It is no measure of a good one.
const MinPassphrase = 8

// Cost is what one guess of a passphrase costs (argon2id, RFC 9106).
type Cost struct {
	Passes  uint32
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultCost is 0.2 s and 64 MiB a guess.
func DefaultCost() Cost { return Cost{Passes: 3, Memory: 64 << 10, Threads: 4} }

// check bounds what a file may ask of this machine before a byte of memory is taken.
func (c Cost) check() error {
	if c.Passes < 1 || c.Passes > 16 || c.Memory < 64 || c.Memory > 1<<20 || c.Threads < 1 || c.Threads > 16 {
		return fmt.Errorf("%w: it asks for %d passes over %d KiB with %d threads", ErrPassphrase, c.Passes, c.Memory, c.Threads)
	}
	return nil
}

// A key file: format (1), passes (4), memory in KiB (4), threads (1), salt (16), nonce (12), AES-256-GCM ciphertext. Everything before the ciphertext is
// authenticated with it, and so is the file's role, so that one file never opens as the other.
const (
	keyFormat     = 1
	keySalt       = 16
	keyNonce      = 12
	keyHeader     = 1 + 4 + 4 + 1 + keySalt + keyNonce
	maxKeyFile    = 64 << 10 // secrets of 200 bytes and a certificate of 7.4 kB
	bookKeyBytes  = 32
	bootKeyBytes  = 32
	maxBlobSealed = 8 << 10
)

func sealKey(c Cost, role string, passphrase, plain []byte, rand io.Reader) ([]byte, error) {
	b := []byte{keyFormat}
	b = binary.BigEndian.AppendUint32(b, c.Passes)
	b = binary.BigEndian.AppendUint32(b, c.Memory)
	b = append(b, c.Threads)
	chance := make([]byte, keySalt+keyNonce)
	if _, err := io.ReadFull(rand, chance); err != nil {
		return nil, fmt.Errorf("seal %s: %w", role, err)
	}
	b = append(b, chance...)
	aead, err := passphraseCipher(c, passphrase, chance[:keySalt])
	if err != nil {
		return nil, err
	}
	return aead.Seal(b, chance[keySalt:], plain, keyData(role, b)), nil
}

func openKey(role string, passphrase, file []byte) ([]byte, error) {
	if len(file) > 0 && file[0] == tpmFormat {
		return nil, fmt.Errorf("open %s: %w: it is sealed to a TPM", role, ErrKeySealed)
	}
	if len(file) < keyHeader || file[0] != keyFormat {
		return nil, fmt.Errorf("open %s: %w: it does not begin as a key file", role, ErrPassphrase)
	}
	c := Cost{binary.BigEndian.Uint32(file[1:]), binary.BigEndian.Uint32(file[5:]), file[9]}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("open %s: %w", role, err)
	}
	aead, err := passphraseCipher(c, passphrase, file[10:10+keySalt])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, file[10+keySalt:keyHeader], file[keyHeader:], keyData(role, file[:keyHeader]))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", role, ErrPassphrase)
	}
	return plain, nil
}

// A key file that is sealed to a TPM: format (2), length of what the TPM sealed (2), that, nonce (12), AES-256-GCM ciphertext under the 32 bytes that the TPM gives back.
// Everything before the ciphertext is authenticated with it, and the role.
const tpmFormat = 2

func sealToTPM(t storage.Sealer, role string, plain []byte, rand io.Reader) ([]byte, error) {
	chance := make([]byte, 32+keyNonce)
	if _, err := io.ReadFull(rand, chance); err != nil {
		return nil, fmt.Errorf("seal %s: %w", role, err)
	}
	blob, err := t.Seal(chance[:32], 0)
	if err != nil || len(blob) > maxBlobSealed {
		return nil, fmt.Errorf("seal %s, %d bytes: %w: %w", role, len(blob), ErrKeySealed, err)
	}
	b := append(binary.BigEndian.AppendUint16([]byte{tpmFormat}, uint16(len(blob))), blob...)
	b = append(b, chance[32:]...)
	aead, err := gcm(chance[:32])
	if err != nil {
		return nil, err
	}
	return aead.Seal(b, chance[32:], plain, keyData(role, b)), nil
}

func openWithTPM(t storage.Sealer, role string, file []byte) ([]byte, error) {
	if len(file) < 3 || file[0] != tpmFormat || len(file) < 3+int(binary.BigEndian.Uint16(file[1:]))+keyNonce {
		return nil, fmt.Errorf("open %s: %w: it does not begin as one that is sealed to a TPM", role, ErrKeySealed)
	}
	header := 3 + int(binary.BigEndian.Uint16(file[1:])) + keyNonce
	if t == nil {
		return nil, fmt.Errorf("open %s: %w: it is sealed to a TPM, and none was named", role, ErrKeySealed)
	}
	key, err := t.Unseal(file[3:header-keyNonce], 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: %w", role, ErrKeySealed, err)
	}
	defer clear(key)
	aead, err := gcm(key)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: %w", role, ErrKeySealed, err)
	}
	plain, err := aead.Open(nil, file[header-keyNonce:header], file[header:], keyData(role, file[:header]))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: the file is damaged", role, ErrKeySealed)
	}
	return plain, nil
}

func keyData(role string, header []byte) []byte {
	return append([]byte("leasehold key file v1 "+role+"\x00"), header...)
}

func passphraseCipher(c Cost, passphrase, salt []byte) (cipher.AEAD, error) {
	return gcm(argon2.IDKey(passphrase, salt, c.Passes, c.Memory, c.Threads, 32))
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func bootKey(scalar []byte) (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return nil, fmt.Errorf("boot key: %w", err)
	}
	return k, nil
}

// softwareKey seals the book's root secret without a TPM: it opens wherever signing.key opens.
type softwareKey struct {
	key  []byte
	rand io.Reader
}

func (k softwareKey) data(epoch uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("leasehold book secret v1\x00"), epoch)
}

// Seal is nonce and ciphertext; the epoch is authenticated.
func (k softwareKey) Seal(secret []byte, epoch uint64) ([]byte, error) {
	aead, err := gcm(k.key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(k.rand, nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, secret, k.data(epoch)), nil
}

// Unseal opens what Seal sealed for that epoch.
func (k softwareKey) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	aead, err := gcm(k.key)
	if err != nil {
		return nil, err
	}
	if len(blob) < aead.NonceSize() || len(blob) > maxBlobSealed {
		return nil, fmt.Errorf("%w: the sealed secret has %d bytes", storage.ErrCorrupt, len(blob))
	}
	secret, err := aead.Open(nil, blob[:aead.NonceSize()], blob[aead.NonceSize():], k.data(epoch))
	if err != nil {
		return nil, fmt.Errorf("%w: the book's secret does not open with the signing key", storage.ErrCorrupt)
	}
	return secret, nil
}
