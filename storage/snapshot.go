package storage

import (
	"encoding/binary"
	"fmt"
	"io"
)

// snapshot is the caller's state at one place of the journal, with what the start decision needs of the groups before it.
type snapshot struct {
	head  head
	epoch uint64
	first uint64  // number of the first segment that is not covered
	run   Running // S as it was then, and its power cycle
	state []byte
}

const (
	snapshotMagic  = "LHsnapsh"
	snapshotFormat = 1
	snapshotHeader = 8 + 1 + saltBytes + 8 + 32 + 8 + 8
	maxSnapshot    = snapshotHeader + runBytes + MaxSnapshotBytes + tagBytes
)

func snapshotName(position uint64) string { return fmt.Sprintf("snapshot-%016x", position) }

// encode seals the snapshot under a key of its own: its salt is fresh, so the nonce is zero.
func (p *snapshot) encode(s secret, rand io.Reader) ([]byte, error) {
	if len(p.state) > MaxSnapshotBytes {
		return nil, fmt.Errorf("snapshot of %d bytes: %w, limit %d", len(p.state), ErrTooLarge, MaxSnapshotBytes)
	}
	salt, err := newSalt(rand)
	if err != nil {
		return nil, err
	}
	aead := s.aead(labelSnapshot, salt)
	b := make([]byte, 0, snapshotHeader+runBytes+len(p.state)+tagBytes)
	b = append(append(b, snapshotMagic...), snapshotFormat)
	b = append(b, salt...)
	b = binary.BigEndian.AppendUint64(b, p.head.position)
	b = append(b, p.head.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, p.epoch)
	b = binary.BigEndian.AppendUint64(b, p.first)
	b = binary.BigEndian.AppendUint32(b, p.run.Resets)
	b = binary.BigEndian.AppendUint32(b, p.run.Restarts)
	b = append(b, p.run.Digest[:]...)
	b = append(b, p.state...)
	return aead.Seal(b[:snapshotHeader], make([]byte, aead.NonceSize()), b[snapshotHeader:], b[:snapshotHeader]), nil
}

// decodeSnapshot opens, in place, the snapshot that the file of that position holds.
func decodeSnapshot(s secret, position uint64, b []byte) (*snapshot, error) {
	if len(b) < snapshotHeader+runBytes+tagBytes || string(b[:8]) != snapshotMagic {
		return nil, corrupt("snapshot %d does not start as one", position)
	}
	if b[8] != snapshotFormat {
		return nil, corrupt("snapshot %d has format %d, known is %d", position, b[8], snapshotFormat)
	}
	const at = 9 + saltBytes
	aead := s.aead(labelSnapshot, b[9:at])
	body, err := aead.Open(b[snapshotHeader:snapshotHeader], make([]byte, aead.NonceSize()), b[snapshotHeader:], b[:snapshotHeader])
	if err != nil {
		return nil, corrupt("snapshot %d is not what was written", position)
	}
	p := &snapshot{
		head:  head{position: binary.BigEndian.Uint64(b[at:]), hash: [32]byte(b[at+8:])},
		epoch: binary.BigEndian.Uint64(b[at+40:]),
		first: binary.BigEndian.Uint64(b[at+48:]),
		run:   Running{Resets: binary.BigEndian.Uint32(body), Restarts: binary.BigEndian.Uint32(body[4:]), Digest: [32]byte(body[8:])},
		state: body[runBytes:],
	}
	if p.head.position != position {
		return nil, corrupt("snapshot %d holds position %d", position, p.head.position)
	}
	return p, nil
}
