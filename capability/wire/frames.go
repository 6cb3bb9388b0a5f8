package wire

import (
	"fmt"
	"strconv"
	"strings"
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
			list = append(list, fmt.Sprintf("LH1/%dOF%d/%s", n+1, total, base45(file[n*part:min((n+1)*part, len(file))])))
		}
		return list
	}
}

// base45 writes two bytes as three symbols, and a last one as two.
func base45(b []byte) string {
	const symbols = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
	var s strings.Builder
	for ; len(b) >= 2; b = b[2:] {
		n := int(b[0])<<8 | int(b[1])
		s.WriteByte(symbols[n%45])
		s.WriteByte(symbols[n/45%45])
		s.WriteByte(symbols[n/45/45])
	}
	if len(b) == 1 {
		s.WriteByte(symbols[b[0]%45])
		s.WriteByte(symbols[b[0]/45])
	}
	return s.String()
}
