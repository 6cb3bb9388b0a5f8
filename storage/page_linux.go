package storage

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func hiddenMemory() ([]byte, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, pageBytes); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func lockedMemory() ([]byte, error) {
	b, err := unix.Mmap(-1, 0, pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	if err := errors.Join(unix.Mlock(b), unix.Madvise(b, unix.MADV_DONTDUMP), unix.Madvise(b, unix.MADV_WIPEONFORK)); err != nil {
		return nil, errors.Join(fmt.Errorf("mlock: %w", err), unix.Munmap(b))
	}
	return b, nil
}
