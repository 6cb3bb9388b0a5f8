package appliance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm/attest"
)

// maxBootStates is how many boot states a vault is told of: an image and its firmware for many years of updates.
const maxBootStates = 128

// withStates is what is known with the boot states of a response added, the new ones first; fresh says whether there are such. A state that was signed
// stays: what ran before an update must still start. Another boot key takes the place of the one before, and its states are all there are.
func withStates(known, b capability.Boot) (all capability.Boot, fresh bool) {
	was := known
	if !bytes.Equal(b.Key, known.Key) || !bytes.Equal(b.Ref, known.Ref) {
		known = capability.Boot{Key: b.Key, Ref: b.Ref}
	}
	has := map[string]bool{}
	for _, s := range known.States {
		if state, err := attest.DecodeSignedState(s); err == nil {
			has[string(state.PCRs)] = true
		}
	}
	var added [][]byte
	signed := signedStates(b)
	for _, s := range signed {
		if !has[string(s.PCRs)] {
			has[string(s.PCRs)], added = true, append(added, s.Encode())
		}
	}
	if len(added) == 0 {
		return was, false
	}
	// A response begins with the state that its request quoted: the one that runs, which is never cut off.
	runs := func(b []byte) bool {
		s, err := attest.DecodeSignedState(b)
		return err == nil && bytes.Equal(s.PCRs, signed[0].PCRs)
	}
	known.States = append(added, known.States...)
	if i := slices.IndexFunc(known.States, runs); i > 0 {
		state := known.States[i]
		known.States = slices.Insert(slices.Delete(known.States, i, i+1), 0, state)
	}
	known.States = slices.Clone(known.States[:min(len(known.States), maxBootStates)])
	return known, true
}

// signedStates are the states of b that its key has signed. What it has not signed is left out: it would open nothing, and stop the vault from being sealed.
func signedStates(b capability.Boot) (out []*attest.SignedState) {
	k, err := x509.ParsePKIXPublicKey(b.Key)
	if err != nil {
		return nil
	}
	public, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil
	}
	key := attest.BootKey{Public: public, Ref: b.Ref}
	for _, s := range b.States {
		if state, err := attest.DecodeSignedState(s); err == nil && key.Verify(state) == nil {
			out = append(out, state)
		}
	}
	return out
}
