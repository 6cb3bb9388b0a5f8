package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Dir is the disk in a directory of the operating system. Nothing is touched before the first call; Lock makes the directory,
// for its owner only, if its parent is there.
func Dir(path string) Disk { return directory{path} }

type directory struct{ path string }

const lockName = "lock"

func (d directory) List() ([]string, error) {
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxFiles)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return names, err
}

// open never follows a link: whoever can place one in the directory must not choose what is written.
func (d directory) open(name string, flags int) (*os.File, error) {
	return os.OpenFile(filepath.Join(d.path, name), flags|noFollow, 0o600)
}

func (d directory) Read(name string, limit int64) ([]byte, error) {
	f, err := d.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", name)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes: %w, limit %d", name, info.Size(), ErrTooLarge, limit)
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

func (d directory) Create(name string) (File, error) {
	return wrap(d.open(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL))
}

func (d directory) Open(name string) (File, error) { return wrap(d.open(name, os.O_WRONLY)) }

func (d directory) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to))
}

func (d directory) Remove(name string) error { return os.Remove(filepath.Join(d.path, name)) }

func (d directory) Sync() error { return syncDirectory(d.path) }

func syncDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d directory) Lock() (io.Closer, error) {
	if err := os.Mkdir(d.path, 0o700); err == nil {
		if err := syncDirectory(filepath.Dir(d.path)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := d.open(lockName, os.O_RDWR|os.O_CREATE)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EISDIR) {
		return nil, fmt.Errorf("%s is no plain file: %w", filepath.Join(d.path, lockName), ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	// The kernel drops the lock with the last descriptor, so a killed process leaves none behind.
	if err := retried(func() error { return lockFile(f) }); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", d.path, err)
	}
	return f, nil
}

type osFile struct{ *os.File }

func wrap(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// retried repeats a call that a signal interrupted before it did anything.
func retried(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
