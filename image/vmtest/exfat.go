package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf16"
)

// ExFAT is the image of a stick with exFAT. No tool of a host without the driver writes into one, so what is needed of the format is here: a folder in the root, and the names of what a machine wrote.
// The sections are those of the exFAT specification, revision 1.00.
type ExFAT struct {
	b                              []byte
	path                           string
	table, heap, root, clusterSize uint32
}

// The types of directory entries, and how long each is.
const (
	exBitmap = 0x81
	exFile   = 0x85
	exStream = 0xc0
	exName   = 0xc1
	exEntry  = 32
)

// NewExFAT makes a stick with exFAT on the whole of it, and one empty folder. It has so many MiB.
func NewExFAT(ctx context.Context, path string, size int64, folder string) (*ExFAT, error) {
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size<<20)); err != nil {
		return nil, err
	}
	if err := run(ctx, "mkfs.exfat", path); err != nil {
		return nil, err
	}
	x, err := OpenExFAT(path)
	if err != nil {
		return nil, err
	}
	if err := x.mkdir(folder); err != nil {
		return nil, err
	}
	return x, os.WriteFile(path, x.b, 0o600)
}

// OpenExFAT reads the image as it is now.
func OpenExFAT(path string) (*ExFAT, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < 512 || string(b[3:11]) != "EXFAT   " {
		return nil, fmt.Errorf("%s has no exFAT", path)
	}
	sector := uint32(1) << b[108] // 3.1.14
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	return &ExFAT{b: b, path: path, table: u32(80) * sector, heap: u32(88) * sector, root: u32(96), clusterSize: sector << b[109]}, nil
}

// Stick is the same stick, to be plugged in.
func (x *ExFAT) Stick() Stick { return Stick(x.path) }

func (x *ExFAT) cluster(n uint32) []byte {
	at := x.heap + (n-2)*x.clusterSize
	return x.b[at : at+x.clusterSize]
}

// content is what a chain of clusters has, or so many that follow one another.
func (x *ExFAT) content(first uint32, contiguous bool, length uint64) (out []byte) {
	for n := first; n >= 2 && n < 0xfffffff7; {
		out = append(out, x.cluster(n)...)
		if contiguous {
			n++
			if uint64(len(out)) >= length {
				break
			}
			continue
		}
		n = binary.LittleEndian.Uint32(x.b[x.table+4*n:])
	}
	return out
}

// Files gives the files below the root by their paths.
func (x *ExFAT) Files() map[string][]byte {
	files := map[string][]byte{}
	x.walk("", x.content(x.root, false, 0), files)
	return files
}

func (x *ExFAT) walk(above string, directory []byte, files map[string][]byte) {
	for at := 0; at+exEntry <= len(directory) && directory[at] != 0; at += exEntry {
		e := directory[at:]
		if e[0] != exFile {
			continue
		}
		stream := e[exEntry:]
		var units []uint16
		for i := 2; i <= int(e[1]); i++ { // 7.4.1: how many entries follow
			for j := 2; j < exEntry; j += 2 {
				units = append(units, binary.LittleEndian.Uint16(e[i*exEntry+j:]))
			}
		}
		name := above + string(utf16.Decode(units[:stream[3]]))
		length := binary.LittleEndian.Uint64(stream[24:])
		content := x.content(binary.LittleEndian.Uint32(stream[20:]), stream[1]&2 != 0, length)
		if e[4]&0x10 != 0 { // 7.4.4: a directory
			x.walk(name+"/", content, files)
		} else {
			files[name] = content[:min(uint64(len(content)), length)]
		}
		at += int(e[1]) * exEntry
	}
}

// mkdir adds an empty folder to the root, in the first cluster that is free.
func (x *ExFAT) mkdir(name string) error {
	root := x.cluster(x.root)
	end := 0
	var bitmap []byte
	for ; end+exEntry <= len(root) && root[end] != 0; end += exEntry {
		if root[end] == exBitmap { // 7.1
			bitmap = x.cluster(binary.LittleEndian.Uint32(root[end+20:]))
		}
	}
	if bitmap == nil || end+4*exEntry > len(root) || len(name) > 15 {
		return errors.New("no room for a folder in the root")
	}
	free := uint32(0)
	for bitmap[free/8]&(1<<(free%8)) != 0 {
		free++
	}
	bitmap[free/8] |= 1 << (free % 8)
	clear(x.cluster(free + 2))

	set := root[end : end+3*exEntry]
	set[0], set[1], set[4] = exFile, 2, 0x10
	stream := set[exEntry:]
	stream[0], stream[1], stream[3] = exStream, 3, byte(len(name)) // allocated, and contiguous
	binary.LittleEndian.PutUint16(stream[4:], nameHash(name))
	binary.LittleEndian.PutUint64(stream[8:], uint64(x.clusterSize))
	binary.LittleEndian.PutUint32(stream[20:], free+2)
	binary.LittleEndian.PutUint64(stream[24:], uint64(x.clusterSize))
	words := set[2*exEntry:]
	words[0] = exName
	for i, r := range []byte(name) {
		words[2+2*i] = r
	}
	sum := uint16(0) // 6.3.3
	for i, c := range set {
		if i != 2 && i != 3 {
			sum = (sum<<15 | sum>>1) + uint16(c)
		}
	}
	binary.LittleEndian.PutUint16(set[2:], sum)
	return nil
}

// nameHash is that of a name of ASCII (7.6.4).
func nameHash(name string) (h uint16) {
	for _, c := range []byte(strings.ToUpper(name)) {
		for _, c := range []byte{c, 0} {
			h = (h<<15 | h>>1) + uint16(c)
		}
	}
	return h
}
