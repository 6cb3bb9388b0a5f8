package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/image"
	"github.com/leasehold/leasehold/tpm/attest"
)

// built PREFIX VERSION [SECURITY] writes the three files of an image, as small as they can be.
func builtImage(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(rig.Image(ts.MkAbs(args[0]), args[1], args[2:]...))
}

// aheadof UPDATE TRUST KERNEL N wants an update that the producer signed, with N boot states that its boot key signed, each with what the kernel measures and an empty PCR 12.
func aheadOf(ts *testscript.TestScript, _ bool, args []string) {
	c := wire.New()
	trust, err := c.DecodeTrust([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	u, _, err := c.OpenUpdate(trust, []byte(ts.ReadFile(args[0])))
	ts.Check(err)
	pcr, err := image.PCR11(strings.NewReader(ts.ReadFile(args[2])), image.Ready())
	ts.Check(err)
	for _, b := range u.Boot.States {
		s, err := attest.DecodeSignedState(b)
		ts.Check(err)
		k, err := x509.ParsePKIXPublicKey(u.Boot.Key)
		ts.Check(err)
		ts.Check((attest.BootKey{Public: k.(*ecdsa.PublicKey), Ref: u.Boot.Ref}).Verify(s))
		if !bytes.Equal(s.PCRs[32:], append(pcr[:], make([]byte, 32)...)) {
			ts.Fatalf("it signs %x ahead, and its kernel measures %x", s.PCRs[32:], pcr)
		}
	}
	if got := fmt.Sprint(len(u.Boot.States)); got != args[3] {
		ts.Fatalf("%s boot states are signed ahead, want %s", got, args[3])
	}
	dir := filepath.Dir(args[0])
	for name, p := range map[string]wire.UpdatePart{wire.UpdateRoot: u.Root, wire.UpdateVerity: u.Verity, wire.UpdateKernel: u.Kernel} {
		b := ts.ReadFile(filepath.Join(dir, name))
		if uint64(len(b)) != p.Size || sha256.Sum256([]byte(b)) != p.SHA256 {
			ts.Fatalf("%s is not the file that the update names", name)
		}
	}
}
