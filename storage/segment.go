package storage

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// A segment is one file of the journal. It is made ahead of its use: a header, then zeros, durable with its name, so that a
// group costs one write and one fdatasync that touch no metadata. Each has a salt, hence a key, of its own, and is written by one
// run of one process only: whatever a cut tore off, no nonce is used twice.
type segment struct {
	number uint64
	size   int64 // bytes durable as header and zeros
	offset int64 // where the next frame goes
	salt   []byte
	aead   cipher.AEAD // while records are written
	file   File
}

const (
	segmentMagic  = "LHj1"
	segmentHeader = 4 + 8 + saltBytes + macBytes // magic, number, salt, MAC: 60 bytes
	zeroChunk     = 256 << 10
)

func segmentName(number uint64) string { return fmt.Sprintf("journal-%016x", number) }

func encodeSegmentHeader(s secret, number uint64, salt []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte(segmentMagic), number)
	b = append(b, salt...)
	return append(b, s.mac(labelSegment, b)...)
}

// decodeSegmentHeader gives the salt; ok is false when the header is not this vault's header of that number.
func decodeSegmentHeader(s secret, number uint64, data []byte) (salt []byte, ok bool) {
	if len(data) < segmentHeader || string(data[:4]) != segmentMagic || binary.BigEndian.Uint64(data[4:]) != number {
		return nil, false
	}
	return data[12 : 12+saltBytes], s.genuine(labelSegment, data[:segmentHeader])
}

// makeSegment leaves a durable, empty segment. A cut on the way leaves a name with a part of it: the next start removes that.
func makeSegment(d Disk, s secret, number uint64, salt []byte, size int64) (*segment, error) {
	name := segmentName(number)
	f, err := d.Create(name)
	if err != nil {
		return nil, diskError("make a journal segment", err)
	}
	g := &segment{number: number, offset: segmentHeader, salt: salt, file: f}
	err = g.fill(encodeSegmentHeader(s, number, salt), size)
	if err != nil {
		err = diskError("make a journal segment", err)
	} else if err = d.Sync(); err != nil {
		// Not ErrFull, whatever the cause: another sync of the directory would succeed and might mean nothing.
		err = fmt.Errorf("sync the directory after making %s: %w", name, err)
	}
	if err != nil {
		// Part of a segment on a full disk would keep it full. What cannot be removed now is removed at the next start.
		f.Close()
		d.Remove(name)
		return nil, err
	}
	return g, nil
}

// fill writes start and then zeros up to size, and makes them durable.
func (g *segment) fill(start []byte, size int64) error {
	chunk := make([]byte, min(zeroChunk, size))
	copy(chunk, start)
	for at := g.size; at < size; at += int64(len(chunk)) {
		chunk = chunk[:min(int64(len(chunk)), size-at)]
		if err := writeAt(g.file, chunk, at); err != nil {
			return err
		}
		clear(chunk[:min(len(chunk), len(start))])
	}
	if err := g.file.Sync(); err != nil {
		return err
	}
	g.size = size
	return nil
}

func writeAt(f File, b []byte, at int64) error {
	n, err := f.WriteAt(b, at)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// A frame is one record of the journal: a plain header {magic, length of the rest, position, epoch, CRC-32C of these} and an
// AES-256-GCM item whose associated data is that header and the hash of everything before. Its nonce is the position. The CRC
// is no protection: it tells a header that a power cut tore from one that was changed later.
const (
	frameMagic  = "LHf1"
	frameHeader = 4 + 4 + 8 + 8 + 4
	tagBytes    = 16
	runBytes    = 4 + 4 + 32
	maxBody     = 1 + runBytes + MaxGroupBytes
	minFrame    = frameHeader + 1 + tagBytes
	maxFrame    = frameHeader + maxBody + tagBytes
)

// What a record is; the first byte of its body.
const (
	kindGroup = 1 // entries
	kindRun   = 2 // start of a run: the anchor's reading before it, then entries
	kindMark  = 3 // clean stop
)

type frame struct {
	kind    byte
	epoch   uint64
	run     Running // of kindRun: the anchor before this group was extended
	entries [][]byte
}

// sealer of frames: buffers that live as long as the vault, so that a commit allocates nothing.
type framer struct {
	buf   []byte
	ad    [frameHeader + 32]byte
	nonce [12]byte
}

// next is the place after a record whose frame is b.
func (h head) next(b []byte) head {
	s := sha256.New()
	s.Write(h.hash[:])
	s.Write(b)
	n := head{position: h.position + 1}
	s.Sum(n.hash[:0])
	return n
}

// size of the frame that holds f; an error if it is above a limit.
func (f *frame) size() (int, error) {
	n := 0
	for _, e := range f.entries {
		if len(e) > MaxEntryBytes {
			return 0, fmt.Errorf("entry of %d bytes: %w, limit %d", len(e), ErrTooLarge, MaxEntryBytes)
		}
		n += 4 + len(e)
	}
	if n > MaxGroupBytes {
		return 0, fmt.Errorf("group of %d bytes: %w, limit %d", n, ErrTooLarge, MaxGroupBytes)
	}
	if f.kind == kindRun {
		n += runBytes
	}
	return frameHeader + 1 + n + tagBytes, nil
}

// seal gives the frame of f after h. The bytes are good until the next call.
func (w *framer) seal(aead cipher.AEAD, h head, f *frame, size int) []byte {
	b := slices.Grow(w.buf[:0], size)
	b = append(b, frameMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(size-frameHeader))
	b = binary.BigEndian.AppendUint64(b, h.position+1)
	b = binary.BigEndian.AppendUint64(b, f.epoch)
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	b = append(b, f.kind)
	if f.kind == kindRun {
		b = binary.BigEndian.AppendUint32(b, f.run.Resets)
		b = binary.BigEndian.AppendUint32(b, f.run.Restarts)
		b = append(b, f.run.Digest[:]...)
	}
	for _, e := range f.entries {
		b = appendBytes(b, e)
	}
	w.bind(b, h)
	b = aead.Seal(b[:frameHeader], w.nonce[:], b[frameHeader:], w.ad[:])
	w.buf = b[:0]
	return b
}

// bind sets nonce and associated data for a frame that starts with b and follows h.
func (w *framer) bind(b []byte, h head) {
	copy(w.ad[:], b[:frameHeader])
	copy(w.ad[frameHeader:], h.hash[:])
	binary.BigEndian.PutUint64(w.nonce[4:], h.position+1)
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// frameAt reads the plain header at the start of b. Size is within the limits; b may be shorter.
func frameAt(b []byte) (position uint64, size int, ok bool) {
	if len(b) < frameHeader || string(b[:4]) != frameMagic || checksum(b[:24]) != binary.BigEndian.Uint32(b[24:]) {
		return 0, 0, false
	}
	n := binary.BigEndian.Uint32(b[4:])
	return binary.BigEndian.Uint64(b[8:]), frameHeader + int(n), n > tagBytes && n <= maxBody+tagBytes
}

// open decrypts, in place, the frame at the start of b if it is the one that follows h. ok is false if it is not; b is
// unchanged then.
func (w *framer) open(aead cipher.AEAD, h head, b []byte) (f frame, next head, size int, ok bool) {
	position, size, ok := frameAt(b)
	if !ok || size > len(b) || position != h.position+1 {
		return f, h, 0, false
	}
	b = b[:size]
	next = h.next(b)
	w.bind(b, h)
	w.buf = append(w.buf[:0], b[frameHeader:]...) // GCM wipes what it cannot open
	body, err := aead.Open(b[frameHeader:frameHeader], w.nonce[:], b[frameHeader:], w.ad[:])
	if err != nil {
		copy(b[frameHeader:], w.buf)
		return f, h, 0, false
	}
	if f, ok = decodeBody(body); !ok {
		return f, h, 0, false
	}
	f.epoch = binary.BigEndian.Uint64(b[16:])
	return f, next, len(b), true
}

// decodeBody reads the body of an authenticated frame.
func decodeBody(b []byte) (f frame, ok bool) {
	if len(b) == 0 {
		return f, false
	}
	f.kind, b = b[0], b[1:]
	switch f.kind {
	case kindGroup:
	case kindRun:
		if len(b) < runBytes {
			return f, false
		}
		f.run = Running{Resets: binary.BigEndian.Uint32(b), Restarts: binary.BigEndian.Uint32(b[4:]), Digest: [32]byte(b[8:40])}
		b = b[runBytes:]
	case kindMark:
		return f, len(b) == 0
	default:
		return f, false
	}
	for len(b) > 0 {
		var e []byte
		if e, b, ok = cutBytes(b, MaxEntryBytes); !ok {
			return f, false
		}
		f.entries = append(f.entries, e)
	}
	return f, true
}

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// torn says whether data[at:], which holds no frame that follows position, may be what a power cut left of the last write.
// Then no frame of a higher position is there, since none is written before this one is durable; nothing lies beyond the end
// its header names, or beyond the longest frame; and a part of it, if its header is torn of the shortest frame, was never written.
func torn(data []byte, at int, position uint64) bool {
	for i := at; ; i++ {
		next := bytes.Index(data[i:], []byte(frameMagic))
		if next < 0 {
			break
		}
		i += next
		if p, _, ok := frameAt(data[i:]); ok && p > position+1 {
			return false
		}
	}
	size, seen := maxFrame, minFrame
	if p, n, ok := frameAt(data[at:]); ok {
		if p != position+1 {
			return false
		}
		size, seen = n, n
	}
	end := min(len(data), at+size)
	return zeros(data[end:]) && lost(data[:min(len(data), at+seen)], at)
}

// lost says whether a part of the frame data[at:] that shares a sector was not written, or not to its end: its last 4 bytes are
// zero, as the segment was before. Sealed bytes are so by chance once in 2^32 sectors; a plain header has zeros of its own, so a part
// that ends inside it is lost only if all of it is zero.
func lost(data []byte, at int) bool {
	header := at + frameHeader
	for at < len(data) {
		end := min(len(data), at-at%sectorBytes+sectorBytes)
		from := max(at, end-4)
		if end < header {
			from = at
		}
		if zeros(data[from:end]) {
			return true
		}
		at = end
	}
	return false
}
