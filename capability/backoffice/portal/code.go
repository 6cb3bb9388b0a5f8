package portal

import (
	"fmt"
	"strings"

	"rsc.io/qr"

	"github.com/leasehold/leasehold/capability/wire"
)

// largestCode is how many characters the largest code holds, of the alphabet that it packs closest.
const largestCode = 4_296

// frames are the texts of the codes of a file: one, or a cycle.
func frames(file []byte) []string { return wire.Frames(file, largestCode) }

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
