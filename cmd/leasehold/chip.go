package main

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/cmd/internal/tpmfault"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

// noTPM is what --tpm says of a machine whose TPM is not to be used.
const noTPM = "none"

// openTPM opens the TPM at an address; nil: without one being named, the machine has none.
func openTPM(address string) (*tpm.Device, error) {
	if address == noTPM {
		return nil, nil
	}
	if address == "" {
		if _, err := os.Stat(tpm.DefaultAddress); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		address = tpm.DefaultAddress
	}
	d, err := tpm.Open(address)
	if errors.Is(err, fs.ErrPermission) {
		return nil, terminal.Coded(capability.ErrTPMAccess, err)
	}
	return d, ofTPM(err)
}

// ofTPM gives an error of the TPM its code.
func ofTPM(err error) error {
	if c := tpmfault.Code(err); c != 0 {
		return terminal.Coded(c, err)
	}
	return err
}

// chip is the TPM as rights of this machine need it.
type chip struct {
	d       *tpm.Device
	counter *tpm.Binding
	host    hostid.ID
}

func newChip(d *tpm.Device) (*chip, error) {
	id, err := d.HostID()
	if err != nil {
		return nil, ofTPM(err)
	}
	return &chip{d, d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil), hostid.OfDigest(hostid.TPMEK, id)}, nil
}

func (c *chip) Host() hostid.ID { return c.host }

// KeyID asks for the attestation key by a quote that nobody sees.
func (c *chip) KeyID() (wire.KeyID, error) {
	e, err := c.d.Evidence(attest.Request, make([]byte, 32))
	if err != nil {
		return wire.KeyID{}, ofTPM(err)
	}
	return wire.AttestationKeyID(e.AK), nil
}

func (c *chip) Quote(digest capability.Digest) ([]byte, error) {
	e, err := c.d.Evidence(attest.Request, digest[:])
	if err != nil {
		return nil, ofTPM(err)
	}
	return e.Encode(), nil
}

func (c *chip) Activate(wrap []byte) ([]byte, error) {
	w, err := attest.DecodeWrapped(wrap)
	if err != nil {
		return nil, err
	}
	key, err := c.d.Activate(w)
	return key, ofTPM(err)
}

func (c *chip) Certify(digest capability.Digest) ([]byte, error) {
	p, err := c.d.CertifyEpoch(attest.EpochIndex, digest[:])
	if err != nil {
		return nil, ofTPM(err)
	}
	return p.Encode(), nil
}

func (c *chip) Seal(secret []byte) ([]byte, error) {
	blob, err := c.d.Setup().Seal(secret, 0)
	return blob, ofTPM(err)
}

func (c *chip) Unseal(blob []byte) ([]byte, error) {
	secret, err := c.d.Setup().Unseal(blob, 0)
	if errors.Is(err, tpm.ErrNotOurs) {
		return nil, fmt.Errorf("%w: %w", client.ErrOtherMachine, err)
	}
	return secret, ofTPM(err)
}

func (c *chip) Epoch() (uint64, bool, error) {
	epoch, err := c.counter.Epoch()
	if errors.Is(err, tpm.ErrCounter) {
		return 0, false, nil
	}
	return epoch, err == nil, ofTPM(err)
}

func (c *chip) Moves(secret []byte) (bool, error) {
	moves, err := c.counter.Moves(secret)
	if errors.Is(err, tpm.ErrCounter) {
		return false, nil
	}
	return moves, ofTPM(err)
}

func (c *chip) Provision(secret []byte) (uint64, error) {
	epoch, err := c.counter.Provision(secret)
	return epoch, ofTPM(err)
}

func (c *chip) Advance(secret []byte, from uint64) error {
	return ofTPM(c.counter.Advance(secret, from))
}

// keysIn keeps the key of a device that asks appliances in the TPM at an address, which is opened when it is needed.
type keysIn struct{ address string }

func (k keysIn) NewKey() ([]byte, error) {
	d, err := k.open()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	blob, err := d.NewDeviceKey()
	return blob, ofTPM(err)
}

// OpenKey leaves the TPM open for as long as the program runs.
func (k keysIn) OpenKey(blob []byte) (crypto.Signer, error) {
	d, err := k.open()
	if err != nil {
		return nil, err
	}
	key, err := d.DeviceKey(blob)
	if err != nil {
		d.Close()
		if errors.Is(err, tpm.ErrNotOurs) {
			return nil, fmt.Errorf("%w: %w", client.ErrOtherMachine, err)
		}
		return nil, ofTPM(err)
	}
	return key, nil
}

func (k keysIn) open() (*tpm.Device, error) {
	d, err := openTPM(k.address)
	if err == nil && d == nil {
		err = terminal.Coded(capability.ErrTPMAbsent, errors.New("this machine shows no TPM"))
	}
	return d, err
}
