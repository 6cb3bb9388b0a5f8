package image

import (
	"crypto/sha256"
	"debug/pe"
	"fmt"
	"io"
	"slices"
)

// PCR is the register that the stub of a unified kernel image extends with the image's parts and systemd with the phases of a boot.
const PCR = 11

// Ready is the phase in which the appliance's server runs: what systemd extends until then, in this order.
func Ready() []string { return []string{"enter-initrd", "leave-initrd", "sysinit", "ready"} }

// MaxSection limits a part of a unified kernel image, in bytes: the initrd is the largest and has 12 MiB.
const MaxSection = 256 << 20

// measured are the parts that systemd's stub measures, in its order; the signature among them (.pcrsig) is left out, as it signs the result.
func measured() []string {
	return []string{".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile", ".dtbauto", ".hwids"}
}

// Section is a part of a unified kernel image, as long as the stub sees it.
func Section(r io.ReaderAt, name string) ([]byte, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("read the unified kernel image: %w", err)
	}
	s := f.Section(name)
	if s == nil {
		return nil, fmt.Errorf("the unified kernel image has no section %s", name)
	}
	if s.VirtualSize > MaxSection || s.Size > MaxSection {
		return nil, fmt.Errorf("section %s has %d bytes where %d are allowed", name, max(s.VirtualSize, s.Size), MaxSection)
	}
	b, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read section %s: %w", name, err)
	}
	if uint32(len(b)) < s.VirtualSize {
		b = append(b, make([]byte, s.VirtualSize-uint32(len(b)))...)
	}
	return b[:s.VirtualSize], nil
}

// PCR11 is the SHA-256 value of register 11 after the stub of a unified kernel image has run and systemd has extended the phases.
func PCR11(r io.ReaderAt, phases []string) ([sha256.Size]byte, error) {
	var pcr [sha256.Size]byte
	f, err := pe.NewFile(r)
	if err != nil {
		return pcr, fmt.Errorf("read the unified kernel image: %w", err)
	}
	extend := func(b []byte) {
		digest := sha256.Sum256(b)
		pcr = sha256.Sum256(append(pcr[:], digest[:]...))
	}
	for _, name := range measured() {
		if !slices.ContainsFunc(f.Sections, func(s *pe.Section) bool { return s.Name == name }) {
			continue
		}
		b, err := Section(r, name)
		if err != nil {
			return pcr, err
		}
		extend(append([]byte(name), 0))
		extend(b)
	}
	for _, p := range phases {
		extend([]byte(p))
	}
	return pcr, nil
}
