package image

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

type named struct{ name, content string }

// file is a PE file with the sections in this order, each padded to 512 bytes as linkers do.
func file(sections ...named) []byte {
	var out bytes.Buffer
	out.WriteString("MZ")
	out.Write(make([]byte, 0x3a))
	binary.Write(&out, binary.LittleEndian, uint32(0x40))
	out.WriteString("PE\x00\x00")
	binary.Write(&out, binary.LittleEndian, pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: uint16(len(sections))})
	at := uint32(512 * (1 + len(sections)/8))
	var body bytes.Buffer
	for _, s := range sections {
		h := pe.SectionHeader32{VirtualSize: uint32(len(s.content)), SizeOfRawData: uint32(len(s.content)+511) / 512 * 512, PointerToRawData: at + uint32(body.Len())}
		copy(h.Name[:], s.name)
		binary.Write(&out, binary.LittleEndian, h)
		body.WriteString(s.content)
		body.Write(make([]byte, int(h.SizeOfRawData)-len(s.content)))
	}
	out.Write(make([]byte, int(at)-out.Len()))
	out.Write(body.Bytes())
	return out.Bytes()
}

// extended is a register of zeros after one extension for each text.
func extended(texts ...string) [sha256.Size]byte {
	var pcr [sha256.Size]byte
	for _, t := range texts {
		d := sha256.Sum256([]byte(t))
		pcr = sha256.Sum256(slices.Concat(pcr[:], d[:]))
	}
	return pcr
}

// The stub measures by its own order, each part with its name and without padding; what it does not know, and the signature, it leaves out.
func TestPCR11(t *testing.T) {
	uki := file(named{".initrd", strings.Repeat("i", 700)}, named{".text", "the stub itself"}, named{".linux", "kernel"}, named{".pcrsig", "{}"}, named{".cmdline", "ro\x00"}, named{".sbat", "sbat,1"})
	parts := []string{".linux\x00", "kernel", ".cmdline\x00", "ro\x00", ".initrd\x00", strings.Repeat("i", 700), ".sbat\x00", "sbat,1"}
	for name, c := range map[string]struct{ phases []string }{"at the start": {nil}, "at ready": {Ready()}} {
		got, err := PCR11(bytes.NewReader(uki), c.phases)
		if want := extended(append(slices.Clone(parts), c.phases...)...); err != nil || got != want {
			t.Errorf("%s: %x, want %x: %v", name, got, want, err)
		}
	}
}

func TestSection(t *testing.T) {
	uki := bytes.NewReader(file(named{".cmdline", "ro quiet"}))
	if b, err := Section(uki, ".cmdline"); err != nil || string(b) != "ro quiet" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Section(uki, ".initrd"); err == nil || !strings.Contains(err.Error(), "no section .initrd") {
		t.Errorf("%v", err)
	}
	if _, err := Section(strings.NewReader("no PE file"), ".cmdline"); err == nil {
		t.Error("anything is a unified kernel image")
	}
	long := file(named{".linux", "kernel"})
	binary.LittleEndian.PutUint32(long[0x40+4+20+8:], MaxSection+1)
	if _, err := Section(bytes.NewReader(long), ".linux"); err == nil || !strings.Contains(err.Error(), "are allowed") {
		t.Errorf("a section of any length: %v", err)
	}
}
