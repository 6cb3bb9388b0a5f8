//go:build !linux

package screen

import (
	"os"

	"github.com/leasehold/leasehold/cmd/internal/stick"
)

// Beep rings the terminal's bell.
func Beep(_ *os.File, bell func()) func(stick.Sound) {
	return func(s stick.Sound) {
		if s != stick.Silent {
			bell()
		}
	}
}
