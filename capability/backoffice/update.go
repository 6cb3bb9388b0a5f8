package backoffice

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm/attest"
)

// SignUpdate signs an update of an appliance's image, and ahead of it the boot states that machines will be in when they run it. PCR 7 is a machine's firmware and its keys, and stays as it is over an update: every
// value is taken that a machine on record quoted last, that is allowed ahead, or that further boot states have. pcr11 is what the new image measures; PCR 12 is zeros. Certificate and boot states of u are set here.
func (o *Office) SignUpdate(u *wire.Update, pcr11 [sha256.Size]byte, further [][]byte, now capability.Time) ([]byte, error) {
	s, err := o.signerAt(now)
	if err != nil {
		return nil, capability.Refuse(capability.ErrNoSigningKey, "", "%v", err)
	}
	public, err := x509.MarshalPKIXPublicKey(o.boot.Public())
	if err != nil {
		return nil, fmt.Errorf("boot key: %w", err)
	}
	ref := o.codec.Fingerprint(o.trust.Root)
	u.Time, u.Certificate, u.Boot = now, s.certificate, capability.Boot{}
	for _, pcr7 := range o.firmwares(further) {
		state, err := attest.SignState(o.rand, o.boot, ref[:], slices.Concat(pcr7, pcr11[:], make([]byte, sha256.Size)))
		if err != nil {
			return nil, err
		}
		u.Boot.States = append(u.Boot.States, state.Encode())
	}
	if len(u.Boot.States) > 0 {
		u.Boot.Key, u.Boot.Ref = public, ref[:]
	}
	return o.codec.SealUpdate(s.key, u)
}

// firmwares are the values of PCR 7 of all boot states that are known, each once, in order.
func (o *Office) firmwares(further [][]byte) (values [][]byte) {
	take := func(state []byte) {
		if len(state) != entitlement.StateBytes {
			return
		}
		if at, there := slices.BinarySearchFunc(values, state[:sha256.Size], bytes.Compare); !there {
			values = slices.Insert(values, at, bytes.Clone(state[:sha256.Size]))
		}
	}
	for h := range o.book.EachHost() {
		if n := len(h.Appearances); n > 0 {
			take(h.Appearances[n-1].State)
		}
	}
	for _, s := range o.book.BootStates() {
		if s.Withdrawn == 0 {
			take(s.State)
		}
	}
	for _, state := range further {
		take(state)
	}
	return values
}
