package wire

import "encoding/binary"

// cut says whether b ends before the one item it begins does. It walks heads only and allocates nothing, so that a file that lost its tail is
// told from one that was altered; everything else that is wrong is left to Decode.
func cut(b []byte) bool {
	_, short := walk(b, 0)
	return short
}

// walk steps over one item and returns what follows it. A form that Decode refuses ends the walk as not short.
func walk(b []byte, depth int) (rest []byte, short bool) {
	if len(b) == 0 {
		return nil, true
	}
	if depth > maxNesting {
		return nil, false
	}
	major, info := b[0]>>5, b[0]&31
	b = b[1:]
	var n uint64
	switch {
	case info < 24:
		n = uint64(info)
	case info <= 27:
		width := 1 << (info - 24)
		if len(b) < width {
			return nil, true
		}
		var wide [8]byte
		copy(wide[8-width:], b)
		n = binary.BigEndian.Uint64(wide[:])
		b = b[width:]
	default:
		return nil, false
	}
	switch major {
	case 2, 3:
		if n > uint64(len(b)) {
			return nil, true
		}
		return b[n:], false
	case 4, 5:
		if major == 5 {
			n *= 2
		}
		for range min(n, uint64(len(b))+1) {
			if b, short = walk(b, depth+1); short || b == nil {
				return b, short
			}
		}
	case 6:
		return walk(b, depth+1)
	}
	return b, false
}
