//go:build !linux

package storage

import "errors"

// No vault is kept on these systems. A page is ordinary memory, and says so.

func hiddenMemory() ([]byte, error) { return nil, errors.ErrUnsupported }
func lockedMemory() ([]byte, error) { return nil, errors.ErrUnsupported }
