package storage

import (
	"os"
	"syscall"
)

const noFollow = syscall.O_NOFOLLOW

// lockFile takes the lock of a file, or says EWOULDBLOCK.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func (f osFile) Datasync() error {
	return retried(func() error { return syscall.Fdatasync(int(f.Fd())) })
}
