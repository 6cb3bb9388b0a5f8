package stick

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/leasehold/leasehold/capability/wire"
)

// updateFile has the name of the device whose update is to be copied. A unit waits for it.
const updateFile = "update"

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

// HandOver has the update on a device copied by who waits for it.
func HandOver(dir, device string) error {
	if !deviceForm().MatchString(device) {
		return fmt.Errorf("%.64q is no name of a device", device)
	}
	path := filepath.Join(dir, updateFile)
	if err := os.WriteFile(path+".new", []byte(device), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// TakeOver is the device that was handed over, once.
func TakeOver(dir string) (device string, err error) {
	path := filepath.Join(dir, updateFile)
	b, err := os.ReadFile(path)
	if err = errors.Join(err, os.Remove(path)); err != nil {
		return "", err
	}
	if device = strings.TrimSpace(string(b)); !deviceForm().MatchString(device) {
		return "", fmt.Errorf("%.64q is no name of a device", device)
	}
	return device, nil
}
