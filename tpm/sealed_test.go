package tpm_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// TestSealedAttributes: what is sealed stays under this TPM's storage root key, wrong authorizations elsewhere do not lock it, and no password opens
// what a policy guards. Settings have no policy and open with the empty password.
func TestSealedAttributes(t *testing.T) {
	_, d := machine(t, tpmtest.None)
	settings, err := d.Setup().Seal(secret(), 5)
	must(t, err)
	for name, c := range map[string]struct {
		blob []byte
		want tpm2.TPMAObject
	}{
		"trusted storage": {provision(t, d).now, tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true}},
		"settings":        {settings, tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true, UserWithAuth: true}},
	} {
		const private = 1 + 34 + 8 // format, Name of the storage root key, epoch
		public := private + 2 + int(binary.BigEndian.Uint16(c.blob[private:]))
		p, err := tpm2.Unmarshal[tpm2.TPMTPublic](c.blob[public+2:])
		must(t, err)
		if p.ObjectAttributes != c.want {
			t.Errorf("%s: attributes are %+v, want %+v", name, p.ObjectAttributes, c.want)
		}
		if guarded := len(p.AuthPolicy.Buffer) > 0; guarded != (name == "trusted storage") {
			t.Errorf("%s: has a policy: %t", name, guarded)
		}
	}
}
