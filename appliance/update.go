package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Image is the image that runs, as it says itself; its words are measured with the rest of it. The zero value is a machine that runs no image of the producer's.
type Image struct {
	Version  string
	Security uint32
}

// ImageCounter is what the TPM remembers of images; package tpm has it. It only rises.
type ImageCounter interface {
	Count() (uint64, error)
	Provision() (uint64, error)
	Raise(to uint64) error
}

// Public is the public part of a vault: anybody can read it, and only who can unseal the vault can write one that holds.
type Public struct {
	capability.Boot
	// Base is what the counter of images was at where security version 0 was the lowest. Zero: nothing is counted yet.
	Base uint64 `cbor:"4,keyasint,omitzero"`
}

// Lowest is the lowest security version that may run: it is ErrCounter's where the counter is gone or is before its base, which it never was.
func (p *Public) Lowest(images ImageCounter) (uint32, error) {
	if p.Base == 0 {
		return 0, nil
	}
	count, err := images.Count()
	if err != nil {
		return 0, err
	}
	if count < p.Base || count-p.Base > wire.MaxSecurity {
		return 0, capability.Refuse(capability.ErrCounter, "", "the counter of images is at %d, and began at %d", count, p.Base)
	}
	return uint32(count - p.Base), nil
}

// MayRun refuses an image that is older than the lowest that may run.
func (p *Public) MayRun(i Image, images ImageCounter) error {
	lowest, err := p.Lowest(images)
	if err == nil && i.Security < lowest {
		return capability.Refuse(capability.ErrImageOlder, "", "the image has security version %d, and the lowest that may run is %d", i.Security, lowest)
	}
	return err
}

// reseal is what is changed in the public part of the vault, or, early, of the storage that is there before it.
type reseal struct {
	boot  capability.Boot // states that are added
	base  uint64
	early bool
}

// errFounded is the answer to what was for the storage before the vault when that was there.
var errFounded = errors.New("the first response came meanwhile")

// sealedTo is the public part with a change, and whether it differs. Only the owner asks.
func (r *reseal) sealedTo(p Public) (Public, bool) {
	if r.base != 0 {
		p.Base = r.base
		return p, true
	}
	with, fresh := withStates(p.Boot, r.boot)
	p.Boot = with
	return p, fresh
}

// Updating is what was found of an update.
type Updating struct {
	Update *wire.Update
	Lowest uint32 // security version that may run
}

// Update judges an update of the image by its signed part: it is the producer's, newer than what runs, not below the lowest security version that may run, and signed ahead for the
// firmware of this machine. With keep the boot state that it will be in is durable before this returns, so that trusted storage opens after it. Nothing else is changed.
func (a *Appliance) Update(ctx context.Context, file []byte, keep bool) (*Updating, error) {
	if a.Image.Security == 0 {
		return nil, capability.Refuse(capability.ErrNoImage, "", "")
	}
	u, signer, err := a.codec.OpenUpdate(a.Trust, file)
	if err != nil {
		return nil, refuse(err)
	}
	var revoked []capability.Digest
	var public Public
	var lost capability.Code
	vault := false
	if err := a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		revoked, public, vault, lost = l.Revoked(), a.sealed(), a.Found == nil, l.Status(now).Lost
	}); err != nil {
		return nil, err
	}
	if lost != 0 { // no boot state can be added to it, and what it knows of images and keys is not known
		return nil, capability.Refuse(lost, "", "no update is taken until that is mended")
	}
	if err := a.codec.StillCounts(signer, revoked); err != nil {
		return nil, refuse(err)
	}
	lowest, err := public.Lowest(a.Images)
	if err != nil {
		return nil, fmt.Errorf("read which images may run: %w", err)
	}
	lowest = max(lowest, a.Image.Security)
	if u.Security < lowest {
		return nil, capability.Refuse(capability.ErrUpdateSecurity, "", "it has security version %d, and the lowest that may run is %d", u.Security, lowest)
	}
	if wire.CompareReleases(u.Version, a.Image.Version) <= 0 {
		return nil, capability.Refuse(capability.UpdateHere, "", "it is %s, and %s runs", u.Version, a.Image.Version)
	}
	found := &Updating{u, lowest}
	known := public.Boot
	if !vault { // what is here opens in any boot state; the vault to come is sealed to the producer's word, whatever key that is by
		known = u.Boot
	}
	ahead, err := a.statesAhead(known, u.Boot, sha256.Sum256(file))
	if no := (*capability.Refusal)(nil); !vault && errors.As(err, &no) && no.Code == capability.ErrUpdateState {
		return found, nil
	}
	if err != nil || !keep {
		return found, err
	}
	if err := a.do(ctx, &call{reseal: &reseal{boot: ahead, early: !vault}}); err != nil {
		return nil, err
	}
	a.Log.Info("signed ahead for an update of the image", "version", u.Version, "security", u.Security)
	return found, nil
}

// statesAhead are the states of an update in which this machine can be: those with its value of PCR 7. Another boot key opens nothing that is sealed here.
func (a *Appliance) statesAhead(known, signed capability.Boot, about [sha256.Size]byte) (capability.Boot, error) {
	e, err := a.Machine.Evidence(attest.Request, about[:])
	if err != nil {
		return capability.Boot{}, err
	}
	ours := capability.Boot{Key: known.Key, Ref: known.Ref}
	if bytes.Equal(signed.Key, known.Key) && bytes.Equal(signed.Ref, known.Ref) {
		for _, s := range signedStates(signed) {
			if len(e.PCRs) >= sha256.Size && bytes.Equal(s.PCRs[:sha256.Size], e.PCRs[:sha256.Size]) {
				ours.States = append(ours.States, s.Encode())
			}
		}
	}
	if len(ours.States) == 0 {
		return ours, capability.Refuse(capability.ErrUpdateState, "", "none of %s is of this firmware", capability.Counted(len(signed.States), "boot state"))
	}
	return ours, nil
}

// Proved says that the image that runs has started well, and gives the lowest security version that may run from now on: its own. Without a vault there is nothing that an older image could open, and it counts when that is made.
//
// Power cuts: a counter that was made and is not named yet is taken up the next time; behind that the counter is anywhere up to where it should be, and goes on from there.
func (a *Appliance) Proved(ctx context.Context) (lowest uint32, err error) {
	var public Public
	vault := false
	if err := a.Look(ctx, func(*ledger.Ledger, ledger.Now) { public, vault, a.proved = a.sealed(), a.Found == nil, true }); err != nil {
		return 0, err
	}
	if !vault || a.Image.Security == 0 || a.Images == nil {
		return 0, nil
	}
	if public.Base == 0 {
		if public.Base, err = a.Images.Provision(); err != nil {
			return 0, fmt.Errorf("count images: %w", err)
		}
		if err := a.do(ctx, &call{reseal: &reseal{base: public.Base}}); err != nil {
			return 0, err
		}
	}
	return a.raise(public)
}

// raise has the counter of images rise to the image that runs.
func (a *Appliance) raise(public Public) (lowest uint32, err error) {
	if public.Base == 0 {
		return 0, nil
	}
	was, err := public.Lowest(a.Images)
	if err != nil {
		return 0, fmt.Errorf("count images: %w", err)
	}
	if was >= a.Image.Security {
		return was, nil
	}
	if err := a.Images.Raise(public.Base + uint64(a.Image.Security)); err != nil {
		return 0, fmt.Errorf("count images: %w", err)
	}
	a.Log.Info(capability.ImageProved.Entry().Title, "code", capability.ImageProved.String(), "version", a.Image.Version, "lowest_security", a.Image.Security)
	return a.Image.Security, nil
}

// sealed is the public part of the vault; before there is one, of the storage of requests: what was signed ahead for the vault to come. Only the owner asks.
func (a *Appliance) sealed() Public { return Public{a.Boot, a.Base} }
