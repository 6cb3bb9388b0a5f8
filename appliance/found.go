package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/tpm/attest"
)

// found answers the first response: a vault is made that opens only in a signed boot state and at its epoch, and it takes the rights.
//
// Power cuts: before the vault's header is durable, the storage of requests is still the one that opens. After it and before the move, the vault opens
// without rights, and the response is imported again. After the move it has them.
func (a *Appliance) found(c *call) error {
	p := c.command.(ledger.Provision)
	if _, c.err = a.Ledger.Decide(a.now(), p); c.err != nil {
		return nil
	}
	epoch, err := a.Counter()
	if err == nil && !a.untold(p.Response.Epoch, epoch, a.Ledger.Status(a.now()).Lost) {
		err = capability.Refuse(capability.ErrResponseEpoch, "", "its request was written at epoch %d, and the counter is at %d", p.Response.Epoch, epoch)
	}
	if err != nil {
		c.err = err
		return nil
	}
	boot := p.Response.Boot
	if c.err = a.opensHere(boot, p.Response.Request); c.err != nil {
		return nil
	}
	if bytes.Equal(a.Boot.Key, boot.Key) && bytes.Equal(a.Boot.Ref, boot.Ref) { // of an update that was installed before
		boot, _ = withStates(boot, a.Boot)
	}
	v, base, err := a.Found(boot, a.proved, a.Ledger.Snapshot())
	if err != nil {
		c.err = err // nothing but the counter was changed, so this is no end
		if e, ok := errors.AsType[*UnmadeError](err); ok && e.Epoch == epoch+1 {
			a.unmade = e.Epoch
		}
		return nil
	}
	old := a.Vault
	a.Vault, a.Found, a.Boot, a.Base = v, nil, boot, base
	if err := a.openArchive(v); err != nil {
		return err
	}
	// What came before the vault is in the storage of requests only, which goes. A cut up to here loses these entries for the audit trail, and nothing else.
	if err := a.archiveEntries(true); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("leave the storage of requests: %w: %w", ErrStorage, err)
	}
	a.Held = false
	if err := a.begin(v); err != nil {
		return err
	}
	p.Raw = capability.At(a.Now())
	if c.decision, c.err = a.Ledger.Decide(a.now(), p); c.err != nil {
		return fmt.Errorf("the response was refused after it was accepted: %w", c.err)
	}
	entries, err := a.apply(nil, c.decision.Entries)
	if err != nil {
		return err
	}
	if err := v.Move(nil, entries); err != nil {
		return fmt.Errorf("take the rights: %w: %w", ErrStorage, err)
	}
	a.keeper.keep(c.decision.Entries, entries)
	if a.proved {
		if _, err := a.raise(a.sealed()); err != nil { // the next start does it
			a.Log.Warn("the image that runs is not counted yet", "cause", err.Error())
		}
	}
	if a.Settled != nil {
		a.Settled()
	}
	return nil
}

// opensHere refuses boot states of which none is that of the image that runs: an update was started since the request. Where no image of the producer's runs, that is the producer's to know.
func (a *Appliance) opensHere(boot capability.Boot, about capability.Digest) error {
	if a.Image.Security == 0 {
		return nil
	}
	e, err := a.Machine.Evidence(attest.Request, about[:])
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(signedStates(boot), func(s *attest.SignedState) bool { return bytes.Equal(s.PCRs, e.PCRs) }) {
		return capability.Refuse(capability.ErrResponseState, "", "none of %s is that of %s", capability.Counted(len(boot.States), "boot state"), a.Image.Version)
	}
	return nil
}

// UnmadeError is the error of a vault that could not be made after the counter had moved for it.
type UnmadeError struct {
	Epoch uint64 // that the making moved the counter to
	Cause error
}

func (e *UnmadeError) Error() string { return e.Cause.Error() }

func (e *UnmadeError) Unwrap() error { return e.Cause }

// Untold says that a counter which is at epoch now was moved by no vault that told anything, since the first request of a storage without rights was written at
// written. To make a vault moves the counter once, to begin its run twice, and the fourth move brings it rights: up to three are of vaults whose making failed or was
// cut off. All requests of such a storage name the epoch of the first, or a copy of it could follow a vault in the making, move by move, with a request after each.
func Untold(written, epoch uint64) bool { return epoch >= written && epoch-written <= 3 }

// untold is Untold for a response to a request that was written at written. A storage that was lost (its code is lost) may have gone on beside the repair: what it told within one
// move ends within the hold. And behind a making of this process there was nothing: it began where nobody had told anything, moved the counter by one, and
// took it away from everybody else.
func (a *Appliance) untold(written, epoch uint64, lost capability.Code) bool {
	if a.unmade != 0 && epoch == a.unmade {
		return true
	}
	return Untold(written, epoch) && (lost == 0 || epoch-written <= 1)
}
