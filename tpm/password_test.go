package tpm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// TestPassword: where somebody gave a hierarchy a password, every operation that
// needs the hierarchy says so, the others go on, and without it all is as before.
func TestPassword(t *testing.T) {
	for _, c := range []struct {
		name      string
		hierarchy tpm2.TPMHandle
		needed    string // by these operations
	}{
		{"owner", tpm2.TPMRHOwner, "CertifyEpoch Setup.Seal Setup.Unseal Seal Unseal Epoch Advance Provision"},
		{"endorsement", tpm2.TPMRHEndorsement, "HostID Evidence Session CertifyEpoch Activate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, d := machine(t, tpmtest.P256)
			v := provision(t, d)
			all := operations(t, d, v)
			change := func(from, to string) {
				_, err := tpm2.HierarchyChangeAuth{
					AuthHandle: tpm2.AuthHandle{Handle: c.hierarchy, Auth: tpm2.PasswordAuth([]byte(from))},
					NewAuth:    tpm2.TPM2BAuth{Buffer: []byte(to)},
				}.Execute(m.Bus())
				must(t, err)
			}
			change("", "hunter2")
			for _, o := range all {
				err := o.do(d, v)
				if needed := slices.Contains(strings.Fields(c.needed), o.name); needed != errors.Is(err, tpm.ErrPassword) || !needed && err != nil {
					t.Errorf("%s: %v", o.name, err)
				}
				if errors.Is(err, tpm.ErrCounter) || errors.Is(err, tpm.ErrUnavailable) {
					t.Errorf("%s: named as something else too: %v", o.name, err)
				}
			}
			change("hunter2", "")
			for _, o := range all {
				if !slices.Contains(strings.Fields(c.needed), o.name) {
					continue // the others did their work, and some do it once
				}
				if err := o.do(d, v); err != nil {
					t.Errorf("%s, without the password: %v", o.name, err)
				}
			}
		})
	}
}
