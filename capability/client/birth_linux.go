package client

import (
	"os"

	"golang.org/x/sys/unix"
)

// birth is when a file was made, as its file system says and can keep; zero where that does not keep it. Nobody can give a file another one.
func birth(f *os.File) born {
	var s unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &s) != nil || s.Mask&unix.STATX_BTIME == 0 {
		return born{}
	}
	grain := int64(1)
	var at unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &at) == nil {
		grain = grainOf(uint32(at.Type))
	}
	return born{s.Btime.Sec*1e9 + int64(s.Btime.Nsec), grain}
}

// grainOf is in what steps a file system keeps a time, in nanoseconds. In memory the kernel has it exactly, until the file is read from the disk again.
func grainOf(magic uint32) int64 {
	switch magic {
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return 2e9 // some writers keep no hundredths
	case 0x7366746e, 0x5346544e, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC: // NTFS, by either driver
		return 100
	}
	return 1
}
