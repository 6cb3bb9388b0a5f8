package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed is in the error of everything that decodes: the bytes are not the one encoding of anything this package knows.
var ErrMalformed = errors.New("malformed")

// Codec encodes and decodes the one deterministic form (RFC 8949, 4.2.1): integer keys in order, shortest integers, no floats, no indefinite lengths,
// no tags inside, absent instead of empty. It holds no state and is safe for several goroutines.
type Codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

// New makes a codec. It panics if the options contradict each other, which a test of this package would show first.
func New() *Codec {
	e := cbor.CoreDetEncOptions()
	e.NilContainers = cbor.NilContainerAsEmpty
	enc, err := e.EncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxPairs,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return &Codec{enc, dec}
}

// Encode gives the one encoding of v. Values of this project's types always have one; anything else is a bug and panics.
func (c *Codec) Encode(v any) []byte {
	var w Writer
	if w.byHand(c, v) {
		return w.Written()
	}
	return c.byLibrary(v)
}

func (c *Codec) byLibrary(v any) []byte {
	b, err := c.enc.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// Cut divides a CBOR sequence (RFC 8742) behind its first item. The error is ErrMalformed where that is cut short or no item.
func (c *Codec) Cut(b []byte) (item, rest []byte, err error) {
	var raw cbor.RawMessage
	rest, err = c.dec.UnmarshalFirst(b, &raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return b[:len(b)-len(rest)], rest, nil
}

// Decode reads b into the pointer v, which points to a zero value, and accepts no other encoding than Encode's: what was decoded is encoded again and compared.
// The strictest options of the decoder alone still take longer integers than needed and keys out of order. What every request brings is read by hand, by the same rules.
// At most limit bytes are looked at. The error is ErrMalformed.
func (c *Codec) Decode(b []byte, v any, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes where at most %d are allowed", ErrMalformed, len(b), limit)
	}
	if readByHand(b, v) {
		return nil
	}
	return c.readByLibrary(b, v)
}

func (c *Codec) readByLibrary(b []byte, v any) error {
	if err := c.dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var w Writer
	var again []byte
	if w.byHand(c, v) {
		if w.wrote(b) {
			complete(v)
			return nil
		}
		again = w.Written()
	} else {
		var err error
		if again, err = c.enc.Marshal(v); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not the deterministic encoding: byte %d differs", ErrMalformed, firstDifference(again, b))
	}
	return nil
}

// Major types of CBOR (RFC 8949, 3.1), for what is written by hand.
const (
	unsigned = 0 << 5
	negative = 1 << 5
	octets   = 2 << 5
	text     = 3 << 5
	array    = 4 << 5
	mapping  = 5 << 5

	simpleFalse = 0xf4
	simpleTrue  = 0xf5
)

// appendHead is the shortest head of an item.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendBytes(b, item []byte) []byte {
	return append(appendHead(b, octets, uint64(len(item))), item...)
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
