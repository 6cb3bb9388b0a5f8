//go:build !linux

package probe

import (
	"errors"
	"fmt"
)

// An appliance runs on Linux; elsewhere a tree that was recorded there can be looked at.
func live() (*tree, error) { return nil, fmt.Errorf("read this machine: %w", errors.ErrUnsupported) }

const directoryOnly = 0
