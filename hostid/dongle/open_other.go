//go:build !linux

package dongle

import (
	"errors"
	"fmt"
)

// Open is for Linux, which has hidraw devices.
func Open(d Device) (*Key, error) {
	return nil, fmt.Errorf("open %s: %w: %w", d.Path, ErrNotSupported, errors.ErrUnsupported)
}

func readOnce(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
