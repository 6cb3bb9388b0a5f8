// Package stick takes a USB stick to where its files can be reached and away again, and keeps what was told about it for whoever looks at the machine's screen.
//
// Only the kernel's drivers for FAT and exFAT are asked, read-only first. Names and labels of a stick are a stranger's: they are shown, and never looked up or run.
// Start with Look and Device.Mount; a stick that somebody else has mounted is At.
package stick

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Place is where the files of a stick are.
type Place interface {
	// Path is its root.
	Path() string
	// Writable lets it be written to; before that nothing on it can be changed. A stick that is write-protected is an error.
	Writable() error
	// Leave ends its use. What was written is on it then, and without an error it may be pulled out where safe is true; else whoever mounted it has to unmount it.
	Leave() (safe bool, err error)
}

// The file systems that are mounted; no other driver is ever asked.
const (
	VFAT  = "vfat"
	ExFAT = "exfat"
)

// sectorSize is how much of a stick is looked at, in bytes: what both file systems begin with.
const sectorSize = 512

// Sector says which of the two file systems the first sector belongs to, or none, and whether it was left without being unmounted: pulled out too early.
func Sector(b []byte) (fileSystem string, dirty bool) {
	if len(b) < sectorSize || b[510] != 0x55 || b[511] != 0xaa {
		return "", false
	}
	// Each begins with a jump, and then a name of eight letters.
	switch name := string(b[3:11]); {
	case name == "EXFAT   ":
		return ExFAT, b[0x6a]&2 != 0 // VolumeFlags, VolumeDirty
	case name == "NTFS    " || b[0] != 0xeb && b[0] != 0xe9:
		return "", false
	case binary.LittleEndian.Uint16(b[0x16:]) == 0: // no size of a FAT in 16 bits: FAT32
		return VFAT, b[0x41]&1 != 0
	}
	return VFAT, b[0x25]&1 != 0
}

// maxName bounds what a stick calls itself, in characters.
const maxName = 32

// called is what a stick is called on a screen: by its maker, or else its model, and how large it is.
func called(vendor, model string, bytes uint64) string {
	name := plain(vendor)
	if name == "" || strings.EqualFold(name, "generic") {
		name = plain(model)
	}
	if name == "" {
		name = "without a name"
	}
	switch {
	case bytes >= 1e12:
		return fmt.Sprintf("%s %.1f TB", name, float64(bytes)/1e12)
	case bytes >= 1e9:
		return fmt.Sprintf("%s %d GB", name, (bytes+5e8)/1e9)
	case bytes > 0:
		return fmt.Sprintf("%s %d MB", name, (bytes+5e5)/1e6)
	}
	return name
}

// plain is the printable ASCII of a text, with single spaces.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), maxName)]
}
