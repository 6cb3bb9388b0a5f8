package appliance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/attest/attesttest"
)

// chip is a modeled TPM: its keys, one counter, one running digest, and a key for what is sealed here. A copy of it is a clone of a virtual TPM.
type chip struct {
	*attesttest.Chip
	b        *box
	storage  [32]byte // key of what is sealed here
	counter  uint64   // value of the epoch counter, also the highest that any ever had
	made     bool     // the counter is there
	auth     [32]byte // hash of the secret that may move it
	digest   [32]byte
	resets   uint32
	restarts uint32
	line     *line
}

func newChip(b *box, seed byte) *chip {
	key := func(n byte) *ecdsa.PrivateKey {
		d := sha256.Sum256([]byte{seed, n})
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
		must(b.w, err)
		return k
	}
	keys, err := attesttest.New(key(1), key(2))
	must(b.w, err)
	return &chip{Chip: keys, b: b, counter: 100, storage: sha256.Sum256([]byte{seed, 3})}
}

var errNotHere = errors.New("the blob does not unseal here and now")

// Provision makes the counter above every value that one ever had.
func (c *chip) Provision(secret []byte) (epoch uint64, err error) {
	err = c.b.command(func() error {
		c.counter++
		c.auth, c.made, epoch = sha256.Sum256(secret), true, c.counter
		return nil
	})
	return epoch, err
}

func (c *chip) Epoch() (epoch uint64, err error) {
	err = c.b.command(func() error {
		if epoch = c.counter; !c.made {
			return errors.New("there is no counter")
		}
		return nil
	})
	return epoch, err
}

func (c *chip) Advance(secret []byte, _ uint64) error {
	return c.b.command(func() error {
		if !c.made || sha256.Sum256(secret) != c.auth {
			return errors.New("the counter is moved with another secret")
		}
		c.counter++
		c.b.w.moved(c)
		return nil
	})
}

func (c *chip) Extend(group [32]byte) error {
	return c.b.command(func() error { c.extend(group); return nil })
}

func (c *chip) extend(group [32]byte) { c.digest = sha256.Sum256(append(c.digest[:], group[:]...)) }

func (c *chip) Running() (digest [32]byte, resets, restarts uint32, err error) {
	err = c.b.command(func() error { digest, resets, restarts = c.digest, c.resets, c.restarts; return nil })
	return digest, resets, restarts, err
}

func (c *chip) mac(b []byte) []byte {
	h := hmac.New(sha256.New, c.storage[:])
	h.Write(b)
	return h.Sum(nil)
}

// Seal hides nothing, but only this chip takes the blob back.
func (c *chip) Seal(secret []byte, epoch uint64) (blob []byte, err error) {
	err = c.b.command(func() error {
		blob = append(binary.BigEndian.AppendUint64(nil, epoch), secret...)
		blob = append(blob, c.mac(blob)...)
		return nil
	})
	return blob, err
}

func (c *chip) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	return c.unseal(blob, func(sealed uint64) bool { return epoch == c.counter && sealed == c.counter && c.made })
}

func (c *chip) unseal(blob []byte, fits func(uint64) bool) (secret []byte, err error) {
	err = c.b.command(func() error {
		at := len(blob) - sha256.Size
		if at < 8 || !bytes.Equal(c.mac(blob[:at]), blob[at:]) || !fits(binary.BigEndian.Uint64(blob)) {
			return errNotHere
		}
		secret = bytes.Clone(blob[8:at])
		return nil
	})
	return secret, err
}

// anyEpoch seals to the chip alone: for the storage of requests.
type anyEpoch struct{ *chip }

func (s anyEpoch) Unseal(blob []byte, _ uint64) ([]byte, error) {
	return s.unseal(blob, func(uint64) bool { return true })
}

// epoch is the counter as the daemon reads it before the first response: where none is, it makes one that nobody can move.
func (c *chip) epoch() (uint64, error) {
	if !c.made {
		return c.Provision([]byte("thrown away"))
	}
	return c.Epoch()
}

// Evidence, Session, CertifyEpoch and Activate are those of Machine.
func (c *chip) Evidence(p attest.Purpose, data []byte) (e *attest.Evidence, err error) {
	err = c.b.command(func() error { e, err = c.Quote(p, data, c.clock()); return err })
	return e, err
}

func (c *chip) Session(data []byte) (e *attest.Evidence, err error) {
	err = c.b.command(func() error { e, err = c.Chip.Session(data, c.clock()); return err })
	return e, err
}

func (c *chip) CertifyEpoch(index uint32, data []byte) (p *attest.EpochProof, err error) {
	err = c.b.command(func() error { p, err = c.Chip.CertifyEpoch(index, c.counter, data, c.clock()); return err })
	if err == nil && misproved(data) {
		p.Signature[len(p.Signature)-1] ^= 1
	}
	return p, err
}

// misproved says of the digest of a return that a bit of its proof is wrong from the beginning: one in eight is never credited.
func misproved(digest []byte) bool { return digest[0]%8 == 0 }

func (c *chip) Activate(w *attest.Wrapped) (key []byte, err error) {
	err = c.b.command(func() error { key, err = c.Chip.Activate(w); return err })
	return key, err
}

func (c *chip) clock() tpm2.TPMSClockInfo {
	return tpm2.TPMSClockInfo{Clock: 1000 * uint64(c.b.w.now-begins), ResetCount: c.resets, RestartCount: c.restarts, Safe: true}
}
