package screen

import (
	"fmt"
	"strings"

	"rsc.io/qr"
	"rsc.io/qr/coding"

	"github.com/leasehold/leasehold/capability/wire"
)

// The border around a code, in modules: readers want four, and take less where the screen is as light beyond.
const (
	leastBorder = 5 // above and below together
	sideBorder  = 8 // left and right together
)

// Codes are the texts of the codes of a file, each of which is drawn on a screen of so many columns and rows. A screen that is too small for any is an error.
func Codes(file []byte, columns, rows int) ([]string, error) {
	side := min(columns-sideBorder, 2*rows-leastBorder)
	symbols := 0
	for v := coding.Version(coding.MinVersion); v <= coding.MaxVersion && 17+4*int(v) <= side; v++ {
		symbols = capacity(v)
	}
	if symbols < wire.LeastFrame {
		return nil, fmt.Errorf("a screen of %d columns and %d rows is too small for a QR code", columns, rows)
	}
	return wire.Frames(file, symbols), nil
}

// capacity is how many characters of its closest alphabet a code holds at the lowest level of correction (ISO/IEC 18004, 7.4.4): two in 11 bits, a last one in 6, after 4 bits for the mode and
// the length.
func capacity(v coding.Version) int {
	length := 9
	switch {
	case v > 26:
		length = 13
	case v > 9:
		length = 11
	}
	bits := v.DataBytes(coding.L)*8 - 4 - length
	n := bits / 11 * 2
	if bits%11 >= 6 {
		n++
	}
	return n
}

// Code draws a text as a code, two modules in a character, dark on light, with a border; dark is for terminals that write light on dark and cannot be told otherwise.
func Code(text string, dark bool) ([]string, error) {
	c, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, fmt.Errorf("draw a QR code of %d characters: %w", len(text), err)
	}
	const above, left = 2, sideBorder / 2
	set := func(x, y int) bool { return c.Black(x-left, y-above) != dark }
	var lines []string
	for y := 0; y < c.Size+leastBorder; y += 2 {
		var b strings.Builder
		for x := range c.Size + sideBorder {
			switch upper, lower := set(x, y), set(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		lines = append(lines, b.String())
	}
	return lines, nil
}
