package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// header is what makes a directory a vault of one epoch: the sealed secret, the public part, and where the journal stood.
type header struct {
	epoch  uint64
	head   head
	public []byte
	blob   []byte
}

// head is a place in the journal: groups written since the vault was created, and the hash that chains them all.
type head struct {
	position uint64
	hash     [32]byte
}

const (
	headerMagic  = "LHheader"
	headerFormat = 1
	headerFixed  = 8 + 1 + 8 + 8 + 32 // before the two variable parts
	maxHeader    = headerFixed + 4 + MaxPublicBytes + 4 + MaxBlobBytes + macBytes
)

func headerName(epoch uint64) string { return fmt.Sprintf("header-%016x", epoch) }

func (h *header) encode(s secret) ([]byte, error) {
	if len(h.public) > MaxPublicBytes {
		return nil, fmt.Errorf("public part of %d bytes: %w, limit %d", len(h.public), ErrTooLarge, MaxPublicBytes)
	}
	if len(h.blob) > MaxBlobBytes {
		return nil, fmt.Errorf("sealed secret of %d bytes: %w, limit %d", len(h.blob), ErrTooLarge, MaxBlobBytes)
	}
	b := append([]byte(headerMagic), headerFormat)
	b = binary.BigEndian.AppendUint64(b, h.epoch)
	b = binary.BigEndian.AppendUint64(b, h.head.position)
	b = append(b, h.head.hash[:]...)
	b = appendBytes(b, h.public)
	b = appendBytes(b, h.blob)
	return append(b, s.mac(labelHeader, b)...), nil
}

// decodeHeader reads a header without judging it: the secret that authenticates it is inside.
func decodeHeader(data []byte) (*header, error) {
	if len(data) < headerFixed || string(data[:8]) != headerMagic {
		return nil, corrupt("header does not start as one")
	}
	if data[8] != headerFormat {
		return nil, corrupt("header has format %d, known is %d", data[8], headerFormat)
	}
	h := &header{epoch: binary.BigEndian.Uint64(data[9:]), head: head{position: binary.BigEndian.Uint64(data[17:])}}
	copy(h.head.hash[:], data[25:])
	var ok1, ok2 bool
	rest := data[headerFixed:]
	h.public, rest, ok1 = cutBytes(rest, MaxPublicBytes)
	h.blob, rest, ok2 = cutBytes(rest, MaxBlobBytes)
	if !ok1 || !ok2 || len(rest) != macBytes {
		return nil, corrupt("header of %d bytes has wrong lengths inside", len(data))
	}
	return h, nil
}

func appendBytes(b, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

// cutBytes takes a 4-byte length and that many bytes off the front.
func cutBytes(b []byte, limit uint32) (part, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if n > limit || uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n : 4+n], b[4+n:], true
}

// zeros says whether b holds nothing else: each byte is like the one before, and the first is zero.
func zeros(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
