package tpm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// operate runs one operation with the device for itself. When the TPM lost or ran
// out of sessions and objects it flushes ours and runs the operation once more,
// so f starts from nothing and may run twice. What an operation that broke off
// left in the TPM is flushed before the next.
func (d *Device) operate(what string, f func() error) error {
	d.op.Lock()
	defer d.op.Unlock()
	if d.unclean {
		if err := d.link.flushAll(); err != nil {
			return explain(what, err)
		}
	}
	err := f()
	if slotsLost(err) && d.link.flushAll() == nil {
		err = f()
	}
	if isOneOf(err, tpm2.TPMRCLockout) {
		err = d.lockedOut(err)
	}
	var refusal tpm2.TPMRC
	d.unclean = err != nil && (errors.Is(err, ErrUnavailable) || !errors.As(err, &refusal))
	return explain(what, err)
}

// lockedOut adds when the lockout ends, if the TPM says so.
func (d *Device) lockedOut(err error) error {
	info, unknown := d.Info()
	if unknown != nil || info.LockoutEnds == 0 {
		return fmt.Errorf("%w: %w", ErrLockout, err)
	}
	return fmt.Errorf("%w for up to %v, after %d wrong tries by some program: %w", ErrLockout, info.LockoutEnds, info.Lockout, err)
}

// slotsLost tells the refusals that another try from a clean slate may mend: a
// leak, a TPM that restarted under us, or one that was busy.
func slotsLost(err error) bool {
	return isOneOf(err,
		tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionMemory, tpm2.TPMRCSessionHandles,
		tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceH1, tpm2.TPMRCReferenceH2,
		tpm2.TPMRCReferenceS0, tpm2.TPMRCReferenceS1, tpm2.TPMRCReferenceS2,
		tpm2.TPMRCNVUnavailable, tpm2.TPMRCCanceled)
}

// explain adds what was being done. Whatever is neither named already nor a
// refusal with a meaning of its own is a TPM that does not answer, or not in
// sentences: no caller could do anything but wait or look at it.
func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	for _, named := range []error{ErrUnavailable, ErrBootState, ErrEpoch, ErrCounter, ErrNotOurs, ErrLockout, ErrPassword, ErrOld} {
		if errors.Is(err, named) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if lasting(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// lasting tells a refusal by the TPM that is about what it was asked, from one
// about the state it is in and from no answer at all.
func lasting(err error) bool {
	var refusal tpm2.TPMRC
	return errors.As(err, &refusal) && !slotsLost(err) && !isOneOf(err,
		tpm2.TPMRCFailure, tpm2.TPMRCInitialize, tpm2.TPMRCPCRChanged, tpm2.TPMRCLockout,
		tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate)
}

// means names err when it is one of codes. The same code means different things
// from different commands, so each call says which it means there.
func means(err, name error, codes ...tpm2.TPMRC) error {
	if isOneOf(err, codes...) {
		return fmt.Errorf("%w: %w", name, err)
	}
	return err
}

func isOneOf(err error, codes ...tpm2.TPMRC) bool {
	return err != nil && slices.ContainsFunc(codes, func(c tpm2.TPMRC) bool { return errors.Is(err, c) })
}

// hierarchyError is for commands that are authorized by nothing but a hierarchy's
// empty password.
func hierarchyError(err error) error {
	return means(err, ErrPassword, tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail)
}

// counterError is for commands that name the epoch counter.
func counterError(err error) error {
	return means(err, ErrCounter, tpm2.TPMRCHandle, tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail, tpm2.TPMRCNVUninitialized, tpm2.TPMRCNVAuthorization)
}

// refused names any lasting refusal: for commands whose every complaint is about
// the bytes they were given.
func refused(err, name error) error {
	if lasting(err) {
		return fmt.Errorf("%w: %w", name, err)
	}
	return err
}
