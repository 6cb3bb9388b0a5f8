package storage

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
)

// Archive keeps what a vault lets go of: records in numbered parts that never change, and one note that is replaced as a whole. It is encrypted under a secret of its
// own, which opens nothing of the vault, so that it can be read where the vault cannot. No anchor dates it: what it holds proves itself, by a chain of hashes for
// instance, or it proves nothing. An Archive belongs to one goroutine.
//
// Files: part-FIRST-LAST (positions), note, and key, which is the caller's and not encrypted: what the secret can be had from.
type Archive struct {
	disk   Disk
	secret secret
	rand   io.Reader
	parts  []part         // by position, without gaps
	sizes  map[part]int64 // of the files that were written or read
}

// part is one file of records.
type part struct{ first, last uint64 }

const (
	partMagic     = "LHarchiv"
	archiveFormat = 2 // S2; what was written before is compress/flate, and still read
	archiveFlate  = 1
	partHeader    = 8 + 1 + saltBytes + 8 + 8
	noteName      = "note"
	keyName       = "key"
	labelArchive  = "leasehold archive v1"
	labelRecovery = "leasehold recovery v1"

	// smallPart is the size of a part, as a file, below which the next records join it.
	smallPart = 256 << 10
	// MaxPartBytes bounds the records of a part with their 4-byte lengths: a vault's journal before it takes a snapshot, twice.
	MaxPartBytes = 32 << 20
	maxPartFile  = MaxPartBytes + MaxPartBytes>>10 + 1<<10 // what does not compress grows a little
	// MaxNoteBytes bounds the note: a configuration of 1 MiB, and its names.
	MaxNoteBytes = 4 << 20
	maxKeyBytes  = 64 << 10
)

func partOf(name string) (p part, ok bool) {
	n, err := fmt.Sscanf(name, "part-%16x-%16x", &p.first, &p.last)
	return p, n == 2 && err == nil && name == p.name() && p.first <= p.last
}

func (p part) name() string { return fmt.Sprintf("part-%016x-%016x", p.first, p.last) }

// ArchiveKey reads what CreateArchive was given; ErrAbsent where no archive is.
func ArchiveKey(d Disk) ([]byte, error) {
	b, err := d.Read(keyName, maxKeyBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrAbsent
	}
	if err != nil {
		return nil, diskError("read the key of the archive", err)
	}
	return b, nil
}

// CreateArchive makes an empty archive under secret, 32 bytes, in a directory that is there and holds none.
func CreateArchive(d Disk, secret, key []byte, rand io.Reader) (*Archive, error) {
	a, err := OpenArchive(d, secret, rand)
	if err != nil {
		return nil, err
	}
	if len(key) > maxKeyBytes {
		return nil, fmt.Errorf("key of the archive, %d bytes: %w, limit %d", len(key), ErrTooLarge, maxKeyBytes)
	}
	if len(a.parts) > 0 {
		return nil, ErrPresent
	}
	return a, a.SetKey(key)
}

// SetKey replaces what the secret can be had from.
func (a *Archive) SetKey(key []byte) error { return replace(a.disk, keyName, key) }

// OpenArchive opens the archive in d. The secret stays the caller's, who keeps it as it is while the archive is in use. Unfinished files and parts that a longer one replaced are removed by the next Append.
func OpenArchive(d Disk, s []byte, rand io.Reader) (*Archive, error) {
	if len(s) != secretBytes {
		return nil, fmt.Errorf("secret of the archive has %d bytes, want %d", len(s), secretBytes)
	}
	a := &Archive{disk: d, secret: s, rand: rand, sizes: map[part]int64{}}
	names, err := d.List()
	if err != nil {
		return nil, diskError("list the archive", err)
	}
	var found []part
	for _, name := range names {
		if p, ok := partOf(name); ok {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(x, y part) int { // of parts with one beginning, the longest
		return cmp.Or(cmp.Compare(x.first, y.first), cmp.Compare(y.last, x.last))
	})
	for _, p := range found {
		switch n := len(a.parts); {
		case n > 0 && p.last <= a.parts[n-1].last: // a longer one has its records
		case n > 0 && p.first != a.parts[n-1].last+1:
			return nil, corrupt("the archive has records up to %d, and then from %d on", a.parts[n-1].last, p.first)
		default:
			a.parts = append(a.parts, p)
		}
	}
	return a, nil
}

// Next is the position that the next record must have, or zero while there is none: then any will do.
func (a *Archive) Next() uint64 {
	if n := len(a.parts); n > 0 {
		return a.parts[n-1].last + 1
	}
	return 0
}

// First is the position of the oldest record, or zero.
func (a *Archive) First() uint64 {
	if len(a.parts) == 0 {
		return 0
	}
	return a.parts[0].first
}

// Append makes records durable that begin at position first, at most MaxPartBytes. They join the last part where that is small and both fit one.
func (a *Archive) Append(first uint64, records [][]byte) error {
	if len(records) == 0 {
		return nil
	}
	if next := a.Next(); first == 0 || next != 0 && first != next {
		return fmt.Errorf("records from position %d on: the archive goes on at %d", first, next)
	}
	p := part{first, first + uint64(len(records)) - 1}
	joins := false
	if n := len(a.parts); n > 0 && a.sizes[a.parts[n-1]] < smallPart {
		old, err := a.read(a.parts[n-1])
		if err != nil {
			return err
		}
		if joins = len(old) < smallPart; joins {
			before, err := a.decode(a.parts[n-1], old)
			if err != nil {
				return err
			}
			if joins = lengthOf(before)+lengthOf(records) <= MaxPartBytes; joins { // what is small as a file may be large
				p.first, records = a.parts[n-1].first, append(before, records...)
			}
		}
	}
	b, err := a.encode(p, records)
	if err != nil {
		return err
	}
	if err := replace(a.disk, p.name(), b); err != nil {
		return err
	}
	// A cut here leaves the part that was joined beside the one that holds its records: the next opening passes it over.
	if joins {
		delete(a.sizes, a.parts[len(a.parts)-1])
		a.parts = a.parts[:len(a.parts)-1]
	}
	a.sizes[p] = int64(len(b))
	a.parts = append(a.parts, p)
	return a.tidy()
}

// tidy removes what is unfinished or replaced.
func (a *Archive) tidy() error {
	names, err := a.disk.List()
	if err != nil {
		return diskError("list the archive", err)
	}
	removed := false
	for _, name := range names {
		dead := strings.HasSuffix(name, newSuffix) ||
			strings.HasPrefix(name, "part-") && !slices.ContainsFunc(a.parts, func(p part) bool { return p.name() == name })
		if !dead {
			continue
		}
		if err := a.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError("remove "+name, err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	if err := a.disk.Sync(); err != nil {
		return diskError("tidy the archive", err)
	}
	return nil
}

// Trim removes the oldest parts until the files of all have at most limit bytes; the last part stays.
func (a *Archive) Trim(limit int64) error {
	sum := int64(0)
	for n := len(a.parts) - 1; n >= 0; n-- {
		size, known := a.sizes[a.parts[n]]
		if !known {
			b, err := a.read(a.parts[n])
			if err != nil {
				return err
			}
			size = int64(len(b))
		}
		if sum += size; sum > limit && n < len(a.parts)-1 {
			a.parts = slices.Clone(a.parts[n+1:])
			return a.tidy()
		}
	}
	return nil
}

// Read calls f for every record from position from on, in order, until it fails.
func (a *Archive) Read(from uint64, f func(position uint64, record []byte) error) error {
	for _, p := range a.parts {
		if p.last < from {
			continue
		}
		b, err := a.read(p)
		if err != nil {
			return err
		}
		records, err := a.decode(p, b)
		if err != nil {
			return err
		}
		for i, r := range records {
			if at := p.first + uint64(i); at >= from {
				if err := f(at, r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *Archive) read(p part) ([]byte, error) {
	b, err := a.disk.Read(p.name(), maxPartFile)
	if err != nil {
		return nil, diskError("read the archive", err)
	}
	a.sizes[p] = int64(len(b))
	return b, nil
}

// Files are the names of the archive's files.
func (a *Archive) Files() ([]string, error) {
	names, err := a.disk.List()
	if err != nil {
		return nil, diskError("list the archive", err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, is := partOf(name)
		return !is && name != noteName && name != keyName
	}), nil
}

// File is one of them as it is on the disk.
func (a *Archive) File(name string) ([]byte, error) { return a.disk.Read(name, maxPartFile) }

// SetNote replaces the note.
func (a *Archive) SetNote(note []byte) error {
	if len(note) > MaxNoteBytes {
		return fmt.Errorf("note of %d bytes: %w, limit %d", len(note), ErrTooLarge, MaxNoteBytes)
	}
	b, err := a.seal(part{}, note)
	if err != nil {
		return err
	}
	return replace(a.disk, noteName, b)
}

// OpenNote opens the bytes of a note, as a backup has them.
func OpenNote(s, note []byte) ([]byte, error) {
	return (&Archive{secret: s}).open(part{}, note, MaxNoteBytes)
}

// Note is the note, nil where there is none.
func (a *Archive) Note() ([]byte, error) {
	b, err := a.disk.Read(noteName, MaxNoteBytes+MaxNoteBytes>>10+1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError("read the note of the archive", err)
	}
	return a.open(part{}, b, MaxNoteBytes)
}

// lengthOf is what records take in a part.
func lengthOf(records [][]byte) (n int) {
	for _, r := range records {
		n += 4 + len(r)
	}
	return n
}

func (a *Archive) encode(p part, records [][]byte) ([]byte, error) {
	size := lengthOf(records)
	if size > MaxPartBytes {
		return nil, fmt.Errorf("records of %d bytes: %w, limit %d", size, ErrTooLarge, MaxPartBytes)
	}
	plain := make([]byte, 0, size)
	for _, r := range records {
		plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(r))), r...)
	}
	return a.seal(p, plain)
}

func (a *Archive) decode(p part, b []byte) ([][]byte, error) {
	plain, err := a.open(p, b, MaxPartBytes)
	if err != nil {
		return nil, err
	}
	records := make([][]byte, 0, min(p.last-p.first+1, uint64(len(plain)/4+1)))
	for len(plain) >= 4 {
		n := binary.BigEndian.Uint32(plain)
		if plain = plain[4:]; uint64(n) > uint64(len(plain)) {
			break
		}
		records = append(records, plain[:n:n])
		plain = plain[n:]
	}
	if len(plain) != 0 || uint64(len(records)) != p.last-p.first+1 {
		return nil, corrupt("%s holds %d records and %d bytes beside", p.name(), len(records), len(plain))
	}
	return records, nil
}

// seal compresses and encrypts under a key of its own: the salt is fresh, so the nonce is zero.
func (a *Archive) seal(p part, plain []byte) ([]byte, error) {
	salt, err := newSalt(a.rand)
	if err != nil {
		return nil, err
	}
	b := append(append(make([]byte, 0, partHeader+s2.MaxEncodedLen(len(plain))+tagBytes), partMagic...), archiveFormat)
	b = append(b, salt...)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, p.first), p.last)
	aead := a.secret.aead(labelArchive, salt)
	return aead.Seal(b, make([]byte, aead.NonceSize()), s2.Encode(b[partHeader:cap(b)], plain), b), nil // in its place
}

func (a *Archive) open(p part, b []byte, limit int64) ([]byte, error) {
	what := noteName
	if p != (part{}) {
		what = p.name()
	}
	if len(b) < partHeader+tagBytes || string(b[:8]) != partMagic {
		return nil, corrupt("%s does not start as a part of an archive", what)
	}
	if b[8] != archiveFormat && b[8] != archiveFlate {
		return nil, corrupt("%s has format %d, known are up to %d", what, b[8], archiveFormat)
	}
	const at = 9 + saltBytes
	aead := a.secret.aead(labelArchive, b[9:at])
	packed, err := aead.Open(nil, make([]byte, aead.NonceSize()), b[partHeader:], b[:partHeader])
	if err != nil || binary.BigEndian.Uint64(b[at:]) != p.first || binary.BigEndian.Uint64(b[at+8:]) != p.last {
		return nil, corrupt("%s is not what was written, or is of another archive", what)
	}
	plain, err := unpack(b[8], packed, limit)
	if err != nil {
		return nil, corrupt("unpack %s: %w", what, err)
	}
	return plain, nil
}

// unpack takes at most limit bytes of memory.
func unpack(format byte, packed []byte, limit int64) ([]byte, error) {
	if format == archiveFlate {
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), limit+1))
		if err == nil && int64(len(plain)) > limit {
			err = fmt.Errorf("more than %d bytes", limit)
		}
		return plain, err
	}
	if n, err := s2.DecodedLen(packed); err != nil {
		return nil, err
	} else if int64(n) > limit {
		return nil, fmt.Errorf("%d bytes where at most %d are allowed", n, limit)
	}
	return s2.Decode(nil, packed)
}

// Wrap encrypts a secret under a code that people keep, of at least 128 bits of chance: nothing slows a search for a shorter one down.
func Wrap(code string, s []byte, rand io.Reader) ([]byte, error) {
	salt, err := newSalt(rand)
	if err != nil {
		return nil, err
	}
	aead := secret(code).aead(labelRecovery, salt)
	return aead.Seal(salt, make([]byte, aead.NonceSize()), s, []byte(labelRecovery)), nil
}

// ErrCode is the refusal of Unwrap.
var ErrCode = errors.New("the code does not open this")

// Unwrap opens what Wrap made; ErrCode if the code or the bytes are others.
func Unwrap(code string, wrapped []byte) ([]byte, error) {
	if len(wrapped) < saltBytes+tagBytes {
		return nil, ErrCode
	}
	aead := secret(code).aead(labelRecovery, wrapped[:saltBytes])
	s, err := aead.Open(nil, make([]byte, aead.NonceSize()), wrapped[saltBytes:], []byte(labelRecovery))
	if err != nil {
		return nil, ErrCode
	}
	return s, nil
}
