package storage

import (
	"encoding/binary"
	"math/bits"
)

// deflate appends p to b in the form of RFC 1951, which package compress/flate reads. It is for records that resemble the few before them but for hashes and names,
// which resemble nothing: codes made to measure would save little there, and to count for them takes as long as all the rest. So it has the fixed codes only, and looks
// at one earlier place for each. What does not shrink is stored, and grows by 5 bytes in 65535.
func deflate(b, p []byte) []byte {
	const (
		shortest = 6 // bytes that are worth a match
		unread   = 64 - 8*shortest
		farthest = 1 << 15 // of a match (3.2.5)
		places   = 14      // bits of a hash that choose a place
	)
	w := newBitWriter(b)
	w.bits(1, 1) // the last block
	w.bits(1, 2) // of fixed codes
	// Where bytes were seen last: 16 more bits of their hash, so that few places are looked at in vain, and 16 of where, which tell apart what a match can reach.
	seen := make([]uint32, 1<<places)
	done := 0 // bytes of p that are written
	for at := 0; at+8 <= len(p); at++ {
		word := binary.LittleEndian.Uint64(p[at:])
		hash := word << unread * 0x9e3779b97f4a7c15 // 2^64 by the golden ratio
		place := &seen[hash>>(64-places)]
		now, before := uint32(hash>>(48-places))<<16|uint32(uint16(at)), *place
		*place = now
		if (now^before)>>16 != 0 {
			continue
		}
		far := int(uint16(now - before))
		if far == 0 || far > farthest || far > at || (binary.LittleEndian.Uint64(p[at-far:])^word)<<unread != 0 {
			continue
		}
		for at > done && at > far && p[at-1] == p[at-1-far] {
			at--
		}
		w.literals(p[done:at])
		n := alike(p[at-far:], p[at:])
		w.match(n, far)
		done = at + n
		at = done - 1
	}
	w.literals(p[done:])
	w.bits(0, 7) // the end of the block
	if packed := w.whole(); len(packed)-len(b) < len(p) {
		return packed
	}
	return store(b, p)
}

// alike is how many bytes later begins with that earlier, which is longer, begins with too.
func alike(earlier, later []byte) (n int) {
	for ; n+8 <= len(later); n += 8 {
		if x := binary.LittleEndian.Uint64(earlier[n:]) ^ binary.LittleEndian.Uint64(later[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(later) && earlier[n] == later[n] {
		n++
	}
	return n
}

// store appends p as stored blocks (3.2.4).
func store(b, p []byte) []byte {
	for last := byte(0); last == 0; {
		n := min(len(p), 1<<16-1)
		if n == len(p) {
			last = 1
		}
		b = append(b, last, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
		b, p = append(b, p[:n]...), p[n:]
	}
	return b
}

// bitWriter appends bits to bytes, the lowest first. Codes come reversed: their first bit is the lowest (3.1.1).
type bitWriter struct {
	b       []byte
	rest    uint64 // bits that are no whole byte yet
	n       uint   // of them
	letters [256]code
}

// code is one of a literal, in the fixed codes (3.2.6).
type code struct {
	bits   uint16
	length uint8
}

func newBitWriter(b []byte) *bitWriter {
	w := &bitWriter{b: b}
	for c := range w.letters {
		if w.letters[c] = (code{uint16(bits.Reverse8(uint8(0x30 + c))), 8}); c >= 144 {
			w.letters[c] = code{uint16(bits.Reverse8(uint8(c)))<<1 | 1, 9}
		}
	}
	return w
}

// bits appends the n lowest bits of v, which has no others, at most 56.
func (w *bitWriter) bits(v uint64, n uint) {
	w.rest |= v << w.n
	w.n += n
	w.b = binary.LittleEndian.AppendUint64(w.b, w.rest)[:len(w.b)+int(w.n/8)]
	w.rest >>= w.n &^ 7
	w.n %= 8
}

// whole is all that was written, with zeros up to a whole byte.
func (w *bitWriter) whole() []byte {
	w.bits(0, 7)
	return w.b
}

// literals appends four bytes at a time. How long the code of one is nobody can tell before, least of all the processor, so nothing branches on it.
func (w *bitWriter) literals(p []byte) {
	for ; len(p) >= 4; p = p[4:] {
		var v uint64
		var n uint
		for _, c := range p[:4] {
			v |= uint64(w.letters[c].bits) << (n % 64)
			n += uint(w.letters[c].length)
		}
		w.bits(v, n)
	}
	for _, c := range p {
		w.bits(uint64(w.letters[c].bits), uint(w.letters[c].length))
	}
}

// match appends n bytes, at least 3, that are those so far before (3.2.5).
func (w *bitWriter) match(n, far int) {
	for n > 0 {
		m := min(n, 257) // 258 has a code of its own
		if n > m && n < m+3 {
			m -= 3
		}
		n -= m
		symbol, extra, rest := step(uint64(m-3), 2)
		if symbol++; symbol < 24 { // from 256 on
			w.bits(uint64(bits.Reverse8(uint8(symbol)<<1)), 7)
		} else {
			w.bits(uint64(bits.Reverse8(uint8(symbol)-24+0xc0)), 8)
		}
		w.bits(rest, extra)
		symbol, extra, rest = step(uint64(far-1), 1)
		w.bits(uint64(bits.Reverse8(uint8(symbol)<<3)), 5)
		w.bits(rest, extra)
	}
}

// step is the symbol of a number where 1<<fine symbols share each power of two, and the extra bits that tell numbers of one symbol apart.
func step(v uint64, fine uint) (symbol uint64, extra uint, rest uint64) {
	if v < 2<<fine {
		return v, 0, 0
	}
	extra = uint(bits.Len64(v)) - 1 - fine
	return uint64(extra)<<fine + v>>extra, extra, v & (1<<extra - 1)
}
