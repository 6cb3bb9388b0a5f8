package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Inspect looks at the directory of a vault, or at one whose subdirectories of these names are vaults, and changes nothing. Err, which may
// join several, says what must be put right before it is opened; warnings are what works and is not as it should be. A directory that
// is not there yet is judged by the one it will be made in.
func Inspect(path string, vaults ...string) (warnings []error, err error) {
	return inspect(path, vaults, os.Geteuid(), syscall.Statfs)
}

func inspect(path string, vaults []string, uid int, statfs func(string, *syscall.Statfs_t) error) (warnings []error, err error) {
	place, err := filepath.EvalSymlinks(path) // the directory itself may be a link, nothing in it
	there := !errors.Is(err, fs.ErrNotExist)
	if !there {
		place = filepath.Dir(path)
	} else if err != nil {
		return nil, fmt.Errorf("look at trusted storage: %w", err)
	}
	var on syscall.Statfs_t
	if err := statfs(place, &on); err != nil {
		return nil, fmt.Errorf("ask for the file system of %s: %w", place, err)
	}
	const readOnly = 1 // ST_RDONLY, statfs(2)
	if on.Flags&readOnly != 0 && uint32(on.Type) == tmpfs {
		return nil, fmt.Errorf("%s has no disk below it: %w", place, ErrNoDisk)
	}
	name, fitness := judgeFileSystem(uint32(on.Type))
	var stops []error
	switch fitness {
	case unfit:
		stops = append(stops, fmt.Errorf("%s is on %s: %w", place, name, ErrFileSystem))
	case doubtful:
		warnings = append(warnings, fmt.Errorf("%s is on %s: %w", place, name, ErrFileSystem))
	}
	if on.Flags&readOnly != 0 {
		stops = append(stops, fmt.Errorf("%s is on a file system mounted read-only: %w", place, ErrReadOnly))
	}
	if !there {
		return warnings, errors.Join(stops...)
	}
	foreign, wrong, err := inspectTree(place, vaults, uid)
	if err != nil {
		return warnings, err
	}
	return append(warnings, foreign...), errors.Join(append(stops, wrong...)...)
}

// inspectTree looks at the directory and what a vault has in it.
func inspectTree(top string, vaults []string, uid int) (foreign, wrong []error, err error) {
	err = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		in, _ := filepath.Rel(top, path)
		if !ours(in, vaults) {
			foreign = append(foreign, fmt.Errorf("%q: %w", path, ErrForeign))
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if slices.Contains(vaults, in) && !info.IsDir() {
			return nil // whoever opens that vault says so
		}
		wrong = append(wrong, inspectFile(path, info, uid)...)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look at trusted storage: %w", err)
	}
	return foreign, wrong, nil
}

func inspectFile(path string, info fs.FileInfo, uid int) (wrong []error) {
	if mode := info.Mode(); !mode.IsDir() && !mode.IsRegular() {
		return []error{fmt.Errorf("%s is a %s, where a vault has a plain file: %w", path, kindOf(mode), ErrForeign)}
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != uid {
		wrong = append(wrong, fmt.Errorf("%s belongs to user %d and this program runs as %d: %w", path, s.Uid, uid, ErrOwner))
	}
	mode := info.Mode()
	if mode&0o077 != 0 {
		wrong = append(wrong, fmt.Errorf("%s has mode %04o: %w", path, mode.Perm(), ErrMode))
	}
	if own := fs.FileMode(0o600); mode.IsDir() && mode&0o700 != 0o700 || !mode.IsDir() && mode&own != own {
		wrong = append(wrong, fmt.Errorf("%s has mode %04o, which keeps its owner out: %w", path, mode.Perm(), ErrReadOnly))
	}
	return wrong
}

// kindOf names what is neither a file nor a directory.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeSymlink:
		return "link"
	case fs.ModeNamedPipe:
		return "pipe"
	case fs.ModeSocket:
		return "socket"
	}
	return "device"
}

// ours says whether a vault makes the file of that path, from the directory that is looked at.
func ours(path string, vaults []string) bool {
	if path == "." || path == lockName {
		return true
	}
	dir, name := filepath.Split(path)
	if dir = filepath.Clean(dir); len(vaults) > 0 {
		if dir == "." {
			return slices.Contains(vaults, name)
		}
		if !slices.Contains(vaults, dir) {
			return false
		}
	} else if dir != "." {
		return false
	}
	name = strings.TrimSuffix(name, newSuffix)
	if _, ok := partOf(name); ok || name == noteName || name == keyName {
		return true
	}
	kind, _, numbered := nameOf(name)
	return name == lockName || numbered && slices.Contains([]string{"header", "journal", "snapshot"}, kind)
}

// fitness is whether a file system keeps, over a power cut, what it said it had synced.
type fitness int

const (
	fit      fitness = iota
	doubtful         // it may, depending on what is below it; or its files never outlive the power, which loses rights and grants none
	unfit            // it has no journal, or no owners, or another machine decides
)

// tmpfs is the number of that file system, which is memory.
const tmpfs = 0x01021994

// judgeFileSystem names a file system by the number that statfs(2) gives.
func judgeFileSystem(magic uint32) (name string, f fitness) {
	switch magic {
	case 0xef53:
		return "ext4", fit // or ext2 or ext3: they have one number
	case 0x58465342:
		return "XFS", fit
	case 0x9123683e:
		return "btrfs", fit
	case 0xf2f52010:
		return "F2FS", fit
	case 0x2fc12fc1:
		return "ZFS", fit
	case 0xca451a4e:
		return "bcachefs", fit
	case tmpfs:
		return "tmpfs, which is memory", doubtful
	case 0x858458f6:
		return "ramfs, which is memory", doubtful
	case 0x794c7630:
		return "overlayfs, as in a container's own layer", doubtful
	case 0x01021997:
		return "9p, a directory of another machine", doubtful
	case 0x65735546:
		return "FUSE, a program's own file system", doubtful
	case 0x4d44:
		return "FAT", unfit
	case 0x2011bab0:
		return "exFAT", unfit
	case 0x5346544e, 0x7366746e:
		return "NTFS", unfit
	case 0x6969:
		return "NFS", unfit
	case 0xff534d42, 0xfe534d42, 0x517b:
		return "SMB", unfit
	case 0x9660:
		return "ISO 9660", unfit
	}
	return fmt.Sprintf("a file system of type %#x, which this program does not know", magic), doubtful
}
