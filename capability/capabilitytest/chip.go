package capabilitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/attest/attesttest"
)

// chip is a modeled TPM as a server asks it.
type chip struct{ *attesttest.Chip }

var clock = tpm2.TPMSClockInfo{Clock: 1, Safe: true}

func newChip(t T) *chip {
	t.Helper()
	ek, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c, err := attesttest.New(ek, ak)
	must(t, err)
	return &chip{c}
}

func (c *chip) Evidence(p attest.Purpose, data []byte) (*attest.Evidence, error) {
	return c.Quote(p, data, clock)
}

func (c *chip) Session(data []byte) (*attest.Evidence, error) { return c.Chip.Session(data, clock) }

// CertifyEpoch is for returns, which no client makes.
func (c *chip) CertifyEpoch(uint32, []byte) (*attest.EpochProof, error) {
	return nil, errors.New("this appliance gives nothing back to its producer")
}
