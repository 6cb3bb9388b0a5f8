package stick

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/leasehold/leasehold/capability/wire"
)

// updatesDir has an empty file with the name of each device whose update is to be copied. A unit waits for the first.
const updatesDir = "updates"

// deviceForm is what the kernel calls a disk or a partition. Nothing else is ever looked up.
func deviceForm() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`) }

// HasUpdate says whether an update of the image lies on a stick whose root is at path.
func HasUpdate(path string) bool {
	root, err := os.OpenRoot(path)
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Stat(filepath.Join(filepath.FromSlash(wire.UpdateFolder), wire.UpdateFile))
	return err == nil && info.Mode().IsRegular()
}

// HandOver has the update on a device copied by who waits for it, after those that were handed over before.
func HandOver(dir, device string) error {
	if !deviceForm().MatchString(device) {
		return fmt.Errorf("%.64q is no name of a device", device)
	}
	dir = filepath.Join(dir, updatesDir)
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, device), nil, 0o644))
}

// TakeOver is the device that was handed over first, once. What is no name of a device is taken away, so that nobody waits behind it.
func TakeOver(dir string) (device string, err error) {
	dir = filepath.Join(dir, updatesDir)
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var first time.Time
	for _, e := range list {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", err
		}
		if at := info.ModTime(); device == "" || at.Before(first) {
			device, first = e.Name(), at
		}
	}
	if device == "" {
		return "", fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	if err := os.RemoveAll(filepath.Join(dir, device)); err != nil {
		return "", err
	}
	if !deviceForm().MatchString(device) {
		return "", fmt.Errorf("%.64q is no name of a device", device)
	}
	return device, nil
}
