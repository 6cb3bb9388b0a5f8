package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"crypto/ecdsa"

	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/image"
	"github.com/leasehold/leasehold/tpm/attest"
)

// built PREFIX VERSION SECURITY writes the three files of an image, as small as they can be: the kernel has the parts that an update is read from.
func builtImage(ts *testscript.TestScript, _ bool, args []string) {
	hash := sha256.Sum256([]byte(args[1]))
	u := wire.Update{RootHash: hash}
	root, verity := u.Partitions()
	prefix := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(prefix+"_"+root+".root", []byte("root of "+args[1]), 0o600))
	ts.Check(os.WriteFile(prefix+"_"+verity+".verity", []byte("tree of "+args[1]), 0o600))
	release := "ID=debian\nIMAGE_VERSION=" + args[1] + "\n"
	if len(args) > 2 {
		release += image.SecuritySetting + "=" + args[2] + "\n"
	}
	ts.Check(os.WriteFile(prefix+".efi", kernelOf([][2]string{{".osrel", release}, {".cmdline", "roothash=" + hex.EncodeToString(hash[:]) + " ro"}, {".linux", "kernel of " + args[1]}}), 0o600))
}

// kernelOf is a PE file with these sections, 512 bytes at most each.
func kernelOf(sections [][2]string) []byte {
	var out, body bytes.Buffer
	out.WriteString("MZ")
	out.Write(make([]byte, 0x3a))
	binary.Write(&out, binary.LittleEndian, uint32(0x40))
	out.WriteString("PE\x00\x00")
	binary.Write(&out, binary.LittleEndian, pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: uint16(len(sections))})
	for i, s := range sections {
		h := pe.SectionHeader32{VirtualSize: uint32(len(s[1])), SizeOfRawData: 512, PointerToRawData: uint32(512 * (i + 1))}
		copy(h.Name[:], s[0])
		binary.Write(&out, binary.LittleEndian, h)
		body.WriteString(s[1])
		body.Write(make([]byte, 512-len(s[1])))
	}
	out.Write(make([]byte, 512-out.Len()))
	out.Write(body.Bytes())
	return out.Bytes()
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
