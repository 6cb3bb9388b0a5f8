package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"
)

// efivars is where the firmware's variables are.
const efivars = "/sys/firmware/efi/efivars"

// espDirs are where the boot loader's partition is mounted when somebody looks there.
func espDirs() []string { return []string{"/boot", "/efi"} }

// espAt is the directory of the boot loader's partition: the one that was named, or the first that has kernel images.
func espAt(named string, dirs ...string) string {
	if named != "" {
		return named
	}
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "EFI/Linux")); err == nil {
			return d
		}
	}
	return dirs[0]
}

// booted is what the boot loader says of this start, and of the images that it can start.
type booted struct {
	efivars string // directory
	esp     string // directory of the boot loader's partition
}

// onTrial says whether the boot loader still counts the starts of the image that runs: it named the file that it had counted, and nobody has taken the count off the file's name since. A boot loader that
// counts nothing names none.
func (b booted) onTrial() (bool, error) {
	v, err := os.ReadFile(filepath.Join(b.efivars, "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	name := ""
	if len(v) > 4 { // behind the variable's attributes
		var text []uint16
		for v = v[4:]; len(v) >= 2; v = v[2:] {
			text = append(text, binary.LittleEndian.Uint16(v))
		}
		name = strings.TrimLeft(strings.ReplaceAll(strings.TrimRight(string(utf16.Decode(text)), "\x00"), `\`, "/"), "/")
	}
	if !filepath.IsLocal(name) {
		return false, fmt.Errorf("%.128q is no name of what was started", name)
	}
	at := filepath.Join(b.esp, name)
	if _, err := os.Stat(filepath.Dir(at)); err != nil { // nothing is known where the partition is not there
		return false, err
	}
	_, err = os.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// left are the releases of the images that are there and have used up their starts. The installer takes each for installed.
func (b booted) left() (releases []string) {
	files, err := os.ReadDir(filepath.Join(b.esp, "EFI/Linux"))
	if err != nil {
		return nil
	}
	for _, f := range files {
		name, ours := strings.CutPrefix(f.Name(), "leasehold_")
		release, tries, counted := strings.Cut(strings.TrimSuffix(name, ".efi"), "+")
		if n, _, _ := strings.Cut(tries, "-"); ours && counted && n == "0" {
			releases = append(releases, release)
		}
	}
	return releases
}
