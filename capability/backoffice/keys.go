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
	"io/fs"

	"golang.org/x/crypto/argon2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
)

// ErrPassphrase: a key file does not open. A wrong passphrase and a changed byte look the same.
var ErrPassphrase = errors.New("the passphrase is wrong, or the key file is damaged")

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

// secrets is what signing.key holds: all that answering takes, and nothing of the root.
type secrets struct {
	Seed        []byte `cbor:"1,keyasint,omitempty"` // of the signing key
	Boot        []byte `cbor:"2,keyasint,omitempty"` // P-256 scalar of the boot key
	Book        []byte `cbor:"3,keyasint,omitempty"` // wraps the book's secret
	Certificate []byte `cbor:"4,keyasint,omitempty"` // of the signing key, by the root
}

// createKeys makes the root and the first signing key and writes both files, the root first: a signing key without its root could never be replaced.
func createKeys(c *wire.Codec, d storage.Disk, passphrase []byte, s *Setup, now capability.Time, rand io.Reader) (*wire.Trust, *secrets, error) {
	cost := s.Cost
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	if err := cost.check(); err != nil {
		return nil, nil, err
	}
	chance := make([]byte, 2*wire.SeedSize+bookKeyBytes)
	if _, err := io.ReadFull(rand, chance); err != nil {
		return nil, nil, fmt.Errorf("draw the producer's keys: %w", err)
	}
	rootSeed, keys := chance[:wire.SeedSize], &secrets{Seed: chance[wire.SeedSize : 2*wire.SeedSize], Book: chance[2*wire.SeedSize:]}
	root, err := wire.NewProducerKey(rootSeed)
	if err != nil {
		return nil, nil, err
	}
	signer, err := wire.NewProducerKey(keys.Seed)
	if err != nil {
		return nil, nil, err
	}
	boot, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, nil, fmt.Errorf("draw the boot key: %w", err)
	}
	if keys.Boot, err = boot.Bytes(); err != nil {
		return nil, nil, fmt.Errorf("draw the boot key: %w", err)
	}
	if keys.Certificate, err = c.CertifyKey(root, &wire.KeyCertificate{Keys: signer.Public, Name: s.KeyName, From: now}); err != nil {
		return nil, nil, err
	}
	for _, f := range []struct {
		name  string
		plain []byte
	}{{rootName, rootSeed}, {signingName, c.Encode(keys)}} {
		b, err := sealKey(cost, f.name, passphrase, f.plain, rand)
		if err != nil {
			return nil, nil, err
		}
		if err := put(d, f.name, b); err != nil {
			return nil, nil, err
		}
	}
	return &wire.Trust{Producer: s.Policy.Producer, Root: root.Public}, keys, nil
}

func openSigning(c *wire.Codec, d storage.Disk, passphrase []byte) (*secrets, error) {
	file, err := d.Read(signingName, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTooLarge) {
		return nil, fmt.Errorf("open %s: %w: %w", signingName, ErrPassphrase, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", signingName, err)
	}
	plain, err := openKey(signingName, passphrase, file)
	if err != nil {
		return nil, err
	}
	var s secrets
	if err := c.Decode(plain, &s, maxKeyFile); err != nil {
		return nil, fmt.Errorf("open %s: %w: %w", signingName, ErrPassphrase, err)
	}
	if len(s.Seed) != wire.SeedSize || len(s.Boot) != bootKeyBytes || len(s.Book) != bookKeyBytes {
		return nil, fmt.Errorf("open %s: %w: secrets of %d, %d and %d bytes", signingName, ErrPassphrase, len(s.Seed), len(s.Boot), len(s.Book))
	}
	return &s, nil
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
