//go:build !linux

package storage

import (
	"errors"
	"os"
)

// An archive is read on these systems, and no vault is kept on them.

const noFollow = 0

func lockFile(*os.File) error { return errors.ErrUnsupported }

func (f osFile) Datasync() error { return f.Sync() }
