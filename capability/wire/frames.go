package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

const (
	frameHead = "LH1/"
	symbols45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:" // of base 45
)

// LeastFrame is the shortest that a frame may have to be, in characters: its head and a few bytes, however many frames there are.
const LeastFrame = 32

// Frames is a file as the texts of a cycle of QR codes, in any order: LH1/, the number of the frame, OF, how many there are, /, and a part of the file in base 45 (RFC 9285). All of it is of
// the alphabet that a code packs closest. No frame is longer than symbols, which is at least LeastFrame; a frame holds two bytes in three characters.
func Frames(file []byte, symbols int) (list []string) {
	for digits := 1; ; digits++ {
		part := (max(symbols, LeastFrame) - len("LH1/OF/") - 2*digits) / 3 * 2
		total := (len(file) + part - 1) / part
		if len(strconv.Itoa(total)) > digits {
			continue // the heads are longer than was thought
		}
		for n := range total {
			list = append(list, fmt.Sprintf(frameHead+"%dOF%d/%s", n+1, total, base45(file[n*part:min((n+1)*part, len(file))])))
		}
		return list
	}
}

// base45 writes two bytes as three symbols, and a last one as two.
func base45(b []byte) string {
	var s strings.Builder
	for ; len(b) >= 2; b = b[2:] {
		n := int(b[0])<<8 | int(b[1])
		s.WriteByte(symbols45[n%45])
		s.WriteByte(symbols45[n/45%45])
		s.WriteByte(symbols45[n/45/45])
	}
	if len(b) == 1 {
		s.WriteByte(symbols45[b[0]%45])
		s.WriteByte(symbols45[b[0]/45])
	}
	return s.String()
}

// isFrame says that a line of a text is a frame.
func isFrame(line string) bool { return strings.HasPrefix(strings.TrimFunc(line, around), frameHead) }

// fromFrames is the file of frames, each on a line of its own, in any order and any of them more than once; other lines mean nothing.
// ErrCut: frames are missing; the first of them is named. ErrMalformed: a frame is not as it was written, or of another file; the error names it.
func fromFrames(text string) ([]byte, error) {
	parts, total := map[uint64]string{}, uint64(0)
	for line := range strings.Lines(text) {
		if !isFrame(line) {
			continue
		}
		head, symbols, whole := strings.Cut(strings.TrimPrefix(strings.TrimFunc(line, around), frameHead), "/")
		first, second, both := strings.Cut(head, "OF")
		n, ok1 := counting(first)
		of, ok2 := counting(second)
		if !whole || !both || !ok1 || !ok2 || n > of {
			return nil, fmt.Errorf("codes: %w: %q is not the number of a code and how many there are", ErrMalformed, head)
		}
		if total == 0 {
			total = of
		}
		symbols = strings.ReplaceAll(symbols, "\u00a0", " ")
		if was, had := parts[n]; of != total || had && was != symbols {
			return nil, fmt.Errorf("codes: %w: code %d of %d is of another file than a code before it", ErrMalformed, n, of)
		}
		parts[n] = symbols
	}
	var file []byte
	for n := uint64(1); n <= total; n++ {
		symbols, has := parts[n]
		if !has {
			return nil, fmt.Errorf("codes: %w: %d of %d, code %d is not among them", ErrCut, len(parts), total, n)
		}
		part, ok := unbase45(symbols)
		if full := len(parts[1]); !ok || len(part) == 0 || n < total && (len(symbols) != full || len(symbols)%3 != 0) || len(symbols) > full {
			return nil, fmt.Errorf("codes: %w: code %d of %d is not as it was written", ErrMalformed, n, total)
		}
		if file = append(file, part...); len(file) > capability.MaxFile {
			return nil, fmt.Errorf("codes: %w: more than %d bytes", ErrSize, capability.MaxFile)
		}
	}
	return file, nil
}

// counting reads a number of parts in decimal, without zeros before it: no file has more of them than bytes.
func counting(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return n, err == nil && n > 0 && n <= capability.MaxFile && strconv.FormatUint(n, 10) == s
}

// unbase45 is what base45 was given.
func unbase45(s string) (b []byte, ok bool) {
	for ; len(s) > 0; s = s[min(3, len(s)):] {
		n, weight := 0, 1
		for i := range min(3, len(s)) {
			v := strings.IndexByte(symbols45, s[i])
			if v < 0 {
				return nil, false
			}
			n += v * weight
			weight *= 45
		}
		switch {
		case len(s) >= 3 && n <= 0xffff:
			b = append(b, byte(n>>8), byte(n))
		case len(s) == 2 && n <= 0xff:
			b = append(b, byte(n))
		default:
			return nil, false
		}
	}
	return b, true
}
