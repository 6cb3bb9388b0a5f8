package client

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

const nonblock = 0

// tryLock takes an exclusive lock on a file, which ends with its process or its closing. False: somebody else has it. Locks keep others from reading here, so it is on a
// byte far behind what is in the file.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

// syncDir has nothing to do: the file system's journal has what a directory lists.
func syncDir(*os.Root) error { return nil }
