package tpm

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
)

// Binding ties one trusted storage to this TPM: it seals the storage's root
// secret, counts its epochs and keeps its running digest. All its values are
// plain, so that it fits an interface that knows no TPM.
//
// The counter is an NV index that the owner reads and that only who knows the
// root secret moves. Root can destroy it, which reads as ErrCounter, and define
// another, whose values are higher; nobody can turn it back.
type Binding struct {
	d      *Device
	index  uint32
	pcr    int
	key    attest.BootKey
	signed []attest.SignedState

	// srk is the Name of the storage root key that the secret is sealed under,
	// once a blob told it. Sessions are salted to no other. Guarded by d.op.
	srk []byte
}

// Binding uses the NV counter at index and extends PCR pcr, by default
// attest.EpochIndex and attest.RunningPCR. Boot states are those that k signed in
// signed.
func (d *Device) Binding(index uint32, pcr int, k attest.BootKey, signed []attest.SignedState) *Binding {
	return &Binding{d: d, index: index, pcr: pcr, key: k, signed: signed}
}

// Provision defines the counter and returns its first value, one more than any
// counter of this TPM ever had. Once in a life: it ends a counter of ours that is
// there, because a start of provisioning that was cut off leaves one that nobody
// can use. Call it only where no storage exists.
func (b *Binding) Provision(secret []byte) (epoch uint64, err error) {
	auth, err := epochAuth(secret)
	if err != nil {
		return 0, fmt.Errorf("provision the epoch counter: %w", err)
	}
	err = b.d.operate("provision the epoch counter", func() error {
		srk, err := b.d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer b.d.flush(srk.handle)
		err = b.define(srk, auth)
		if errors.Is(err, tpm2.TPMRCNVDefined) {
			if err = b.undefine(); err == nil {
				err = b.define(srk, auth)
			}
		}
		if err != nil {
			return counterError(err)
		}
		// The first increment sets Written, which changes the Name.
		public := attest.EpochPublic(b.index)
		public.Attributes.Written = false
		fresh, err := tpm2.NVName(&public)
		if err != nil {
			return err
		}
		if err := b.increment(srk, *fresh, auth); err != nil {
			return err
		}
		if epoch, err = b.read(srk); err != nil {
			return err
		}
		b.srk = bytes.Clone(srk.name.Buffer)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

// Epoch reads E without the secret.
func (b *Binding) Epoch() (epoch uint64, err error) {
	err = b.d.operate("read the epoch", func() error {
		srk, err := b.d.storageRoot(b.srk)
		if err != nil {
			return err
		}
		defer b.d.flush(srk.handle)
		epoch, err = b.read(srk)
		return err
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

// Advance moves E from from to from+1 and writes NV; ErrEpoch if E is not from.
// After any error E is from or from+1: the caller ends and lets its start decide.
func (b *Binding) Advance(secret []byte, from uint64) error {
	auth, err := epochAuth(secret)
	if err != nil {
		return fmt.Errorf("move the epoch: %w", err)
	}
	name, err := epochName(b.index)
	if err != nil {
		return fmt.Errorf("move the epoch: %w", err)
	}
	moved := false // by the first of two runs of the operation
	return b.d.operate("move the epoch", func() error {
		srk, err := b.d.storageRoot(b.srk)
		if err != nil {
			return err
		}
		defer b.d.flush(srk.handle)
		if !moved {
			if err := b.expect(srk, from); err != nil {
				return err
			}
			if err := b.increment(srk, name, auth); err != nil {
				return err
			}
			moved = true
		}
		return b.expect(srk, from+1)
	})
}

// Moves tells whether secret moves the counter that is there. Nothing is written:
// the TPM judges the auth value before it sees that a counter such as ours has no
// lock. ErrCounter: there is no counter.
func (b *Binding) Moves(secret []byte) (moves bool, err error) {
	auth, err := epochAuth(secret)
	if err != nil {
		return false, fmt.Errorf("ask whose the epoch counter is: %w", err)
	}
	name, err := epochName(b.index)
	if err != nil {
		return false, fmt.Errorf("ask whose the epoch counter is: %w", err)
	}
	err = b.d.operate("ask whose the epoch counter is", func() error {
		srk, err := b.d.storageRoot(b.srk)
		if err != nil {
			return err
		}
		defer b.d.flush(srk.handle)
		if _, err := b.read(srk); err != nil {
			return err
		}
		index := tpm2.TPMHandle(b.index)
		_, err = tpm2.NVWriteLock{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: name, Auth: srk.hmac(tpm2.Auth(auth))},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: name},
		}.Execute(b.d.link)
		switch {
		case isOneOf(err, tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail):
			moves, err = false, nil
		case err == nil, isOneOf(err, tpm2.TPMRCAttributes):
			moves, err = true, nil
		}
		return err
	})
	return moves, err
}

func (b *Binding) expect(srk *key, epoch uint64) error {
	at, err := b.read(srk)
	if err == nil && at != epoch {
		return fmt.Errorf("%w: the counter is at %d, not at %d", ErrEpoch, at, epoch)
	}
	return err
}

// checkPCR refuses PCRs that anyone resets (16 to 23) or that sealing looks at.
func (b *Binding) checkPCR() error {
	if b.pcr < 0 || b.pcr > 15 || b.pcr == 7 || b.pcr == 11 || b.pcr == 12 {
		return fmt.Errorf("PCR %d cannot hold the running digest: want one of 0 to 15 but 7, 11 and 12", b.pcr)
	}
	return nil
}

// epochAuth is the counter's auth value. It is text: an auth value with a zero
// octet before its end would give a wrong HMAC.
func epochAuth(secret []byte) ([]byte, error) {
	if err := checkSecret(secret); err != nil {
		return nil, err
	}
	raw, err := hkdf.Key(sha256.New, secret, nil, "leasehold epoch auth v1", 16)
	if err != nil {
		return nil, err
	}
	return hex.AppendEncode(nil, raw), nil
}

// epochName is computed and never asked of the TPM: it is what says that the
// counter is a counter.
func epochName(index uint32) (tpm2.TPM2BName, error) {
	public := attest.EpochPublic(index)
	name, err := tpm2.NVName(&public)
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	return *name, nil
}

// owner authorizes with the owner's empty password.
func owner() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
}

func (b *Binding) define(srk *key, auth []byte) error {
	public := attest.EpochPublic(b.index)
	public.Attributes.Written = false
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: srk.hmac(tpm2.AESEncryption(128, tpm2.EncryptIn))},
		Auth:       tpm2.TPM2BAuth{Buffer: auth},
		PublicInfo: tpm2.New2B(public),
	}.Execute(b.d.link)
	return err
}

// undefine removes the index if it is a counter such as ours.
func (b *Binding) undefine() error {
	index := tpm2.TPMHandle(b.index)
	rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(b.d.link)
	if err != nil {
		return err
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		return err
	}
	was := *public
	was.Attributes.Written = true
	if !bytes.Equal(tpm2.Marshal(was), tpm2.Marshal(attest.EpochPublic(b.index))) {
		return fmt.Errorf("%w: NV index %#x holds something else", ErrCounter, b.index)
	}
	_, err = tpm2.NVUndefineSpace{
		AuthHandle: owner(),
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: rsp.NVName},
	}.Execute(b.d.link)
	return err
}

func (b *Binding) increment(srk *key, name tpm2.TPM2BName, auth []byte) error {
	index := tpm2.TPMHandle(b.index)
	_, err := tpm2.NVIncrement{
		AuthHandle: tpm2.AuthHandle{Handle: index, Name: name, Auth: srk.hmac(tpm2.Auth(auth))},
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: name},
	}.Execute(b.d.link)
	return counterError(err)
}

// read takes the value in a salted session, so that nobody on the bus changes it.
func (b *Binding) read(srk *key) (uint64, error) {
	name, err := epochName(b.index)
	if err != nil {
		return 0, err
	}
	rsp, err := tpm2.NVRead{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: srk.hmac()},
		NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(b.index), Name: name},
		Size:       8,
	}.Execute(b.d.link)
	if err != nil {
		return 0, counterError(err)
	}
	if n := len(rsp.Data.Buffer); n != 8 {
		return 0, fmt.Errorf("%w: it has %d bytes, want 8", ErrCounter, n)
	}
	return binary.BigEndian.Uint64(rsp.Data.Buffer), nil
}
