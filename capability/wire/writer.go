package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/leasehold/leasehold/capability"
)

// Writer writes one item by hand, the same bytes as Encode gives: for the few types of which every request makes several. Keys come in ascending order, and as
// with Encode what is zero is absent. The zero Writer is empty. It is large and meant for the stack: only what was written is allocated.
type Writer struct {
	room  [1024]byte // enough for most
	n     int        // bytes in it
	full  []byte     // what came before them, once that is more
	pairs int        // of the innermost open map
}

// Written is a copy of what was written.
func (w *Writer) Written() []byte {
	return append(append(make([]byte, 0, len(w.full)+w.n), w.full...), w.room[:w.n]...)
}

// wrote says that exactly b was written.
func (w *Writer) wrote(b []byte) bool {
	n := len(w.full)
	return len(b) == n+w.n && bytes.Equal(b[:n], w.full) && bytes.Equal(b[n:], w.room[:w.n])
}

// digest is the SHA-256 of what was written.
func (w *Writer) digest() capability.Digest {
	if len(w.full) == 0 {
		return sha256.Sum256(w.room[:w.n])
	}
	return sha256.Sum256(w.Written())
}

// spill makes room.
func (w *Writer) spill() { w.full, w.n = append(w.full, w.room[:w.n]...), 0 }

func (w *Writer) put(b byte) {
	if w.n == len(w.room) {
		w.spill()
	}
	w.room[w.n] = b
	w.n++
}

// head is the shortest head of an item.
func (w *Writer) head(major byte, n uint64) {
	if n < 24 {
		w.put(major | byte(n))
		return
	}
	w.longHead(major, n)
}

func (w *Writer) longHead(major byte, n uint64) {
	if w.n+9 > len(w.room) {
		w.spill()
	}
	b := w.room[w.n:]
	switch {
	case n <= math.MaxUint8:
		b[0], b[1] = major|24, byte(n)
		w.n += 2
	case n <= math.MaxUint16:
		b[0] = major | 25
		binary.BigEndian.PutUint16(b[1:], uint16(n))
		w.n += 3
	case n <= math.MaxUint32:
		b[0] = major | 26
		binary.BigEndian.PutUint32(b[1:], uint32(n))
		w.n += 5
	default:
		b[0] = major | 27
		binary.BigEndian.PutUint64(b[1:], n)
		w.n += 9
	}
}

// Outer is what a map is in.
type Outer struct{ at, pairs int }

// Map begins a map. Close ends it.
func (w *Writer) Map() Outer {
	o := Outer{len(w.full) + w.n, w.pairs}
	w.put(mapping)
	w.pairs = 0
	return o
}

// Close ends the innermost open map.
func (w *Writer) Close(o Outer) {
	n := w.pairs
	w.pairs = o.pairs
	at := o.at - len(w.full)
	if n < 24 && at >= 0 {
		w.room[at] = mapping | byte(n)
		return
	}
	w.spill()
	if n < 24 {
		w.full[o.at] = mapping | byte(n)
		return
	}
	w.full = append(w.full, 0) // no type has as many as 256 fields
	copy(w.full[o.at+2:], w.full[o.at+1:])
	w.full[o.at], w.full[o.at+1] = mapping|24, byte(n)
}

// Key is the key of a pair. Its value comes next.
func (w *Writer) Key(k uint64) {
	w.pairs++
	w.head(unsigned, k)
}

// PutUint writes a number.
func (w *Writer) PutUint(n uint64) { w.head(unsigned, n) }

// PutInt writes a number.
func (w *Writer) PutInt(n int64) {
	if n < 0 {
		w.head(negative, uint64(-(n + 1)))
		return
	}
	w.head(unsigned, uint64(n))
}

// PutText writes a text.
func (w *Writer) PutText(s string) {
	w.head(text, uint64(len(s)))
	if len(s) > len(w.room)-w.n {
		w.spill()
		w.full = append(w.full, s...)
		return
	}
	w.n += copy(w.room[w.n:], s)
}

// PutBytes writes a string of bytes.
func (w *Writer) PutBytes(b []byte) {
	w.head(octets, uint64(len(b)))
	w.putAll(b)
}

func (w *Writer) putAll(b []byte) {
	if len(b) > len(w.room)-w.n {
		w.spill()
		w.full = append(w.full, b...)
		return
	}
	w.n += copy(w.room[w.n:], b)
}

// PutArray begins an array of n items, which come next.
func (w *Writer) PutArray(n int) { w.head(array, uint64(n)) }

// Put writes what has no method here, with the library.
func (w *Writer) Put(c *Codec, v any) { w.putAll(c.byLibrary(v)) }

// Uint is a pair, or nothing for zero.
func (w *Writer) Uint(k, n uint64) {
	if n != 0 {
		w.Key(k)
		w.head(unsigned, n)
	}
}

// Int is a pair, or nothing for zero.
func (w *Writer) Int(k uint64, n int64) {
	if n != 0 {
		w.Key(k)
		w.PutInt(n)
	}
}

// Bool is a pair, or nothing for false.
func (w *Writer) Bool(k uint64, v bool) {
	if v {
		w.Key(k)
		w.put(simpleTrue)
	}
}

// Text is a pair, or nothing without a character.
func (w *Writer) Text(k uint64, s string) {
	if s != "" {
		w.Key(k)
		w.PutText(s)
	}
}

// Bytes is a pair, or nothing without a byte.
func (w *Writer) Bytes(k uint64, b []byte) {
	if len(b) != 0 {
		w.Key(k)
		w.PutBytes(b)
	}
}

// Array begins an array of n items as a pair, or nothing without one.
func (w *Writer) Array(k uint64, n int) {
	if n != 0 {
		w.Key(k)
		w.PutArray(n)
	}
}
