package portal

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// A file too long for one code is a cycle of frames, in any order: LH1/, the number of the frame, OF, how many there are, /, and a part of the file in base 45 (RFC 9285). All of it is of the alphabet that a
// code packs closest.

const frameBytes = 2_840 // of a file in one frame: 4,260 symbols, of the 4,296 that the largest code holds

// frames are the texts of the codes of a file.
func frames(file []byte) (list []string) {
	total := (len(file) + frameBytes - 1) / frameBytes
	for n := range total {
		part := file[n*frameBytes : min((n+1)*frameBytes, len(file))]
		list = append(list, fmt.Sprintf("LH1/%dOF%d/%s", n+1, total, base45(part)))
	}
	return list
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

// quiet is the width of the border that readers want (ISO/IEC 18004, 9.1), in modules.
const quiet = 4

// picture is a code as SVG.
func picture(text string) ([]byte, error) {
	c, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, fmt.Errorf("draw a QR code of %d symbols: %w", len(text), err)
	}
	side := c.Size + 2*quiet
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%dv%dH0z"/><path fill="#000" d="`, side, side, side, side)
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			from := x
			for x < c.Size && c.Black(x, y) {
				x++
			}
			if n := x - from; n > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+quiet, y+quiet, n, n)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return []byte(b.String()), nil
}
