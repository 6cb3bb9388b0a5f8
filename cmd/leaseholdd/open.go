package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"

	"github.com/leasehold/leasehold/appliance"
)

// opened is trusted storage after its start decision.
type opened struct {
	ledger  *ledger.Ledger
	vault   *storage.Vault
	held    bool
	cause   string // the start decision in words
	counter func() (uint64, error)
	found   func(boot capability.Boot, state []byte) (appliance.Vault, error)
	settled func()
}

// The state directory holds one of two storages. requests is there before the first response: sealed to this TPM in any boot state, holding no right.
// vault is there after it: sealed to this TPM, a signed boot state and the epoch. When both are there, a power cut came between making the vault and leaving requests.
func open(state string, device *tpm.Device) (*opened, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	requests, vault := storage.Dir(filepath.Join(state, "requests")), storage.Dir(filepath.Join(state, "vault"))
	_, err := storage.Public(vault)
	switch {
	case err == nil:
		return openVault(state, vault, device)
	case !errors.Is(err, storage.ErrAbsent):
		return nil, condition(err)
	}
	o := storage.Options{Sealer: device.Setup(), Rand: rand.Reader}
	v, r, err := storage.Open(requests, o)
	if errors.Is(err, storage.ErrAbsent) {
		// A vault that is being made for the first time stands beside requests; files of one without its header and without requests are what is left of a life.
		if names, err := vault.List(); err != nil || len(names) > 0 {
			return nil, condition(errors.Join(err, fmt.Errorf("%w: the vault has %d files and no header", storage.ErrCorrupt, len(names))))
		}
		s := &opened{ledger: ledger.New(), cause: "first start", counter: counter(device)}
		if s.vault, err = storage.Create(requests, o, nil, s.ledger.Snapshot()); err != nil {
			return nil, condition(err)
		}
		s.found = founder(vault, device)
		s.settled = func() { os.RemoveAll(filepath.Join(state, "requests")) }
		return s, nil
	}
	if err != nil {
		return nil, condition(err)
	}
	s, err := restore(v, r)
	if err != nil {
		v.Close()
		return nil, err
	}
	s.cause, s.found, s.counter = "not activated", founder(vault, device), counter(device)
	s.settled = func() { os.RemoveAll(filepath.Join(state, "requests")) }
	return s, nil
}

func openVault(state string, vault storage.Disk, device *tpm.Device) (*opened, error) {
	v, r, err := storage.Open(vault, vaultOptions(device))
	if err != nil {
		return nil, condition(err)
	}
	s, err := restore(v, r)
	if err != nil {
		v.Close()
		return nil, err
	}
	s.held = r.Verdict == storage.Hold
	switch {
	case s.held:
		s.cause = "hold: " + r.Cause.String()
	case r.Verdict == storage.Clean:
		s.cause = "exact after a clean stop"
	default:
		s.cause = "exact after a crash"
	}
	if err := os.RemoveAll(filepath.Join(state, "requests")); err != nil {
		v.Close()
		return nil, err
	}
	return s, nil
}

// restore makes the ledger from the snapshot and the entries since, and checks every invariant before anything is served from it.
func restore(v *storage.Vault, r *storage.Restored) (*opened, error) {
	l, err := ledger.Restore(r.Snapshot)
	if err != nil {
		return nil, condition(err)
	}
	for _, b := range r.Records {
		e, err := ledger.DecodeEntry(b)
		if err != nil {
			return nil, condition(err)
		}
		if err := l.Apply(e); err != nil {
			return nil, condition(err)
		}
	}
	if err := l.Check(); err != nil {
		return nil, condition(err)
	}
	return &opened{ledger: l, vault: v}, nil
}

// counter reads the TPM's epoch counter, and makes one where none is: its value is above every one that this TPM ever had, and stays until the vault
// makes its own. The secret that could move it is thrown away.
func counter(device *tpm.Device) func() (uint64, error) {
	b := device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
	return func() (uint64, error) {
		epoch, err := b.Epoch()
		if !errors.Is(err, tpm.ErrCounter) {
			return epoch, err
		}
		secret := make([]byte, 32)
		rand.Read(secret)
		return b.Provision(secret)
	}
}

// founder makes the vault when the first response has come. Its public part is the producer's word on boot states, which is needed to unseal it.
func founder(vault storage.Disk, device *tpm.Device) func(capability.Boot, []byte) (appliance.Vault, error) {
	return func(boot capability.Boot, state []byte) (appliance.Vault, error) {
		if _, err := binding(device, boot); err != nil {
			return nil, capability.Refuse(capability.ErrResponseForm, "boot", "%v", err)
		}
		v, err := storage.Create(vault, vaultOptions(device), wire.New().Encode(boot), state)
		if err != nil {
			return nil, coded(err)
		}
		return v, nil
	}
}

// vaultOptions tie a vault to the TPM: the sealer follows the public part, the anchor does not depend on it.
func vaultOptions(device *tpm.Device) storage.Options {
	return storage.Options{
		SealerFor: func(public []byte) (storage.Sealer, error) {
			var boot capability.Boot
			if err := wire.New().Decode(public, &boot, capability.MaxSigned); err != nil {
				return nil, fmt.Errorf("%w: boot states: %w", storage.ErrCorrupt, err)
			}
			return binding(device, boot)
		},
		Anchor: device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil),
		Rand:   rand.Reader,
	}
}

func binding(device *tpm.Device, boot capability.Boot) (*tpm.Binding, error) {
	k, err := x509.ParsePKIXPublicKey(boot.Key)
	if err != nil {
		return nil, fmt.Errorf("boot key: %w", err)
	}
	public, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("boot key of type %T where P-256 is needed", k)
	}
	key := attest.BootKey{Public: public, Ref: boot.Ref}
	var states []attest.SignedState
	for _, b := range boot.States {
		s, err := attest.DecodeSignedState(b)
		if err != nil {
			return nil, fmt.Errorf("signed boot state: %w", err)
		}
		if err := key.Verify(s); err != nil {
			return nil, fmt.Errorf("signed boot state: %w", err)
		}
		states = append(states, *s)
	}
	if len(states) == 0 {
		return nil, errors.New("no signed boot state")
	}
	return device.Binding(attest.EpochIndex, attest.RunningPCR, key, states), nil
}

// codeOf is the code for an error of storage, TPM or ledger; zero for any other.
func codeOf(err error) capability.Code {
	for _, m := range []struct {
		err  error
		code capability.Code
	}{
		{storage.ErrLocked, capability.ErrStorageLocked},
		{storage.ErrRolledBack, capability.ErrRollback},
		{storage.ErrCorrupt, capability.ErrCorrupt},
		{storage.ErrFull, capability.ErrStorageFull},
		{storage.ErrDisturbed, capability.ErrDisturbed},
		{storage.ErrFileSystem, capability.ErrFileSystem},
		{storage.ErrReadOnly, capability.ErrStorageReadOnly},
		{storage.ErrOwner, capability.ErrStorageOwner},
		{storage.ErrMode, capability.ErrStorageMode},
		{storage.ErrForeign, capability.ErrForeignFile},
		{tpm.ErrBootState, capability.ErrSealed},
		{tpm.ErrEpoch, capability.ErrRollback},
		{tpm.ErrCounter, capability.ErrCounter},
		{tpm.ErrNotOurs, capability.ErrTPMCleared},
		{tpm.ErrLockout, capability.ErrTPMLockout},
		{tpm.ErrUnavailable, capability.ErrTPMAbsent},
		{ledger.ErrCorrupt, capability.ErrCorrupt},
		{appliance.ErrStorage, capability.ErrStorage},
	} {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	return 0
}

// condition is a failure to open trusted storage as a refusal with its code: an administrator can ask about it.
func condition(err error) error {
	c := codeOf(err)
	if c == 0 {
		return err
	}
	return capability.Refuse(c, "", "%v", err)
}
