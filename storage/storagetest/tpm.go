package storagetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnsealed is the refusal of a blob: sealed to another epoch, or by another TPM.
var ErrUnsealed = errors.New("the blob does not unseal here and now")

// TPM is a storage.Sealer and storage.Anchor: a counter, a digest that a power cycle empties, and blobs that open at one epoch only.
type TPM struct {
	m                *Machine
	id               uint64 // blobs of another open not here
	epoch            uint64
	digest           [32]byte
	resets, restarts uint32
	auth             [32]byte // hash of the secret that may advance the counter
}

// Junk extends the digest as any process with access to the TPM can.
func (t *TPM) Junk(group [32]byte) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.extend(group)
}

// RestartAlone empties the digest and moves restarts while processes live on, as under a virtual TPM.
func (t *TPM) RestartAlone() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.restart()
}

func (t *TPM) restart() {
	t.digest = [32]byte{}
	t.restarts++
}

func (t *TPM) extend(group [32]byte) {
	t.digest = sha256.Sum256(append(t.digest[:], group[:]...))
}

func (t *TPM) step(op string, effect func() error) error {
	return t.m.step(t.m.now(), op, "", func(Effect) error { return effect() })
}

// Provision, Epoch, Advance, Extend and Running are those of storage.Anchor.
func (t *TPM) Provision(secret []byte) (epoch uint64, err error) {
	err = t.step("provision", func() error {
		t.auth = sha256.Sum256(secret)
		t.epoch++
		epoch = t.epoch
		return nil
	})
	return epoch, err
}

func (t *TPM) Epoch() (epoch uint64, err error) {
	err = t.step("epoch", func() error { epoch = t.epoch; return nil })
	return epoch, err
}

// Advance increments whatever from says, as the hardware does.
func (t *TPM) Advance(secret []byte, from uint64) error {
	return t.step("advance", func() error {
		if sha256.Sum256(secret) != t.auth {
			return errors.New("the counter is moved with another secret")
		}
		t.epoch++
		return nil
	})
}

func (t *TPM) Extend(group [32]byte) error {
	return t.step("extend", func() error { t.extend(group); return nil })
}

func (t *TPM) Running() (digest [32]byte, resets, restarts uint32, err error) {
	err = t.step("running", func() error {
		digest, resets, restarts = t.digest, t.resets, t.restarts
		return nil
	})
	return digest, resets, restarts, err
}

// Seal and Unseal are those of storage.Sealer. The blob hides nothing.
func (t *TPM) Seal(secret []byte, epoch uint64) (blob []byte, err error) {
	err = t.step("seal", func() error {
		blob = append(binary.BigEndian.AppendUint64(nil, epoch), secret...)
		sum := t.bind(blob)
		blob = append(blob, sum[:]...)
		return nil
	})
	return blob, err
}

func (t *TPM) Unseal(blob []byte, epoch uint64) (secret []byte, err error) {
	err = t.step("unseal", func() error {
		if len(blob) < 40 || epoch != t.epoch || binary.BigEndian.Uint64(blob) != t.epoch {
			return ErrUnsealed
		}
		at := len(blob) - 32
		if sum := t.bind(blob[:at]); !bytes.Equal(sum[:], blob[at:]) {
			return ErrUnsealed
		}
		secret = bytes.Clone(blob[8:at])
		return nil
	})
	return secret, err
}

// bind is what a blob ends in: only this TPM makes and takes it.
func (t *TPM) bind(blob []byte) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(bytes.Clone(blob), t.id))
}

// Increment moves the counter behind every vault's back.
func (t *TPM) Increment() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.epoch++
}

// Keep gives all that the TPM keeps, to be put back with Put: a state directory in a file is nothing without it.
func (t *TPM) Keep() []byte {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	return fmt.Appendf(nil, "id: %d\nepoch: %d\nauth: %x\ndigest: %x\nresets: %d\nrestarts: %d\n", t.id, t.epoch, t.auth, t.digest, t.resets, t.restarts)
}

// Put makes this TPM the one of which Keep gave b.
func (t *TPM) Put(b []byte) error {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	var auth, digest []byte
	_, err := fmt.Sscanf(string(b), "id: %d\nepoch: %d\nauth: %x\ndigest: %x\nresets: %d\nrestarts: %d\n", &t.id, &t.epoch, &auth, &digest, &t.resets, &t.restarts)
	if err != nil || len(auth) != 32 || len(digest) != 32 {
		return fmt.Errorf("not the state of a TPM: %w", err)
	}
	t.auth, t.digest = [32]byte(auth), [32]byte(digest)
	return nil
}
