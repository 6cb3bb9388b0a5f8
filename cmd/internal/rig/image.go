package rig

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"

	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/image"
)

// Image writes the three files of an image that was built, as small as they can be: the kernel has the parts that an update is read from.
func Image(prefix, version string, security ...string) error {
	hash := sha256.Sum256([]byte(version))
	u := wire.Update{RootHash: hash}
	root, verity := u.Partitions()
	release := "ID=debian\n" + image.VersionSetting + "=" + version + "\n"
	for _, s := range security {
		release += image.SecuritySetting + "=" + s + "\n"
	}
	kernel := kernelOf([][2]string{{".osrel", release}, {".cmdline", "roothash=" + hex.EncodeToString(hash[:]) + " ro"}, {".linux", "kernel of " + version}})
	return errors.Join(
		os.WriteFile(prefix+"_"+root+".root", []byte("root of "+version), 0o600),
		os.WriteFile(prefix+"_"+verity+".verity", []byte("tree of "+version), 0o600),
		os.WriteFile(prefix+".efi", kernel, 0o600))
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
