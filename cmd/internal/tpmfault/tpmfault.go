// Package tpmfault gives errors of a TPM their codes, for the programs that keep rights by one: leaseholdd and leasehold. It is apart from what all programs share,
// so that none has a TPM's code in it that does not use one.
package tpmfault

import (
	"errors"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm"
)

// Code is the code for an error of package tpm, or zero for any other.
func Code(err error) capability.Code {
	for _, m := range []struct {
		err  error
		code capability.Code
	}{
		{tpm.ErrBootState, capability.ErrSealed},
		{tpm.ErrEpoch, capability.ErrRollback},
		{tpm.ErrCounter, capability.ErrCounter},
		{tpm.ErrNotOurs, capability.ErrTPMCleared},
		{tpm.ErrLockout, capability.ErrTPMLockout},
		{tpm.ErrPassword, capability.ErrTPMPassword},
		{tpm.ErrOld, capability.ErrOldTPM},
		{tpm.ErrUnavailable, capability.ErrTPMAbsent},
	} {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	return 0
}
