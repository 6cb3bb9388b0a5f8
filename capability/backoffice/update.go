package backoffice

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Machines are those for whose firmware an update is signed ahead. PCR 7 is a machine's firmware and its keys, and stays as it is over an update.
type Machines struct {
	States [][]byte // boot states that they are in,
	Only   bool     // and no others; else every one that a machine on record quoted last, or that is allowed ahead, too
}

// SignUpdate signs an update of an appliance's image, and ahead of it the boot states that machines will be in when they run it. pcr11 is what the new image measures; PCR 12 is zeros. Certificate and boot states of
// u are set here. What was signed is on record before this returns: ErrUpdateMany where it would be more than fits one update.
func (o *Office) SignUpdate(u *wire.Update, pcr11 [sha256.Size]byte, of Machines, by string, now capability.Time) ([]byte, error) {
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
	for _, pcr7 := range o.firmwares(of) {
		state, err := attest.SignState(o.rand, o.boot, ref[:], slices.Concat(pcr7, pcr11[:], make([]byte, sha256.Size)))
		if err != nil {
			return nil, err
		}
		u.Boot.States = append(u.Boot.States, state.Encode())
	}
	if len(u.Boot.States) > 0 {
		u.Boot.Key, u.Boot.Ref = public, ref[:]
	}
	file, err := o.codec.SealUpdate(s.key, u)
	if errors.Is(err, wire.ErrSize) {
		return nil, capability.Refuse(capability.ErrUpdateMany, "", "it would be signed for %d firmwares: %v", len(u.Boot.States), err)
	} else if err != nil {
		return nil, err
	}
	said := entitlement.SignedUpdate{Version: u.Version, Security: u.Security, RootHash: u.RootHash, File: sha256.Sum256(file), States: uint32(len(u.Boot.States))}
	if err := o.decide(now, entitlement.NoteUpdate{Update: said, By: by}); err != nil {
		return nil, err
	}
	return file, nil
}

// firmwares are the values of PCR 7 of these machines' boot states, each once, in order.
func (o *Office) firmwares(of Machines) (values [][]byte) {
	take := func(state []byte) {
		if len(state) != entitlement.StateBytes {
			return
		}
		if at, there := slices.BinarySearchFunc(values, state[:sha256.Size], bytes.Compare); !there {
			values = slices.Insert(values, at, bytes.Clone(state[:sha256.Size]))
		}
	}
	for _, state := range of.States {
		take(state)
	}
	if of.Only {
		return values
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
	return values
}
