//go:build unix

package client

import (
	"errors"
	"os"
	"syscall"
)

// nonblock keeps the opening of what is no file from waiting for its other end.
const nonblock = syscall.O_NONBLOCK

// tryLock takes an exclusive lock on a file, which ends with its process or its closing. False: somebody else has it.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// syncDir makes durable what a directory lists.
func syncDir(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
