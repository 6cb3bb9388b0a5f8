package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/storage"
)

// openInTurn opens the back office, which one program at a time has open: it waits for the other one, for as long as --wait says, and then says who that is.
func (f *flags) openInTurn(u backoffice.Unlock) (*backoffice.Office, error) {
	// A book stays in memory: to look meanwhile for what does not costs a third of the time, and frees nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(openingGC))
	over := time.After(f.wait)
	for {
		o, err := backoffice.OpenWith(backoffice.Dir(f.dir), u, rand.Reader)
		if !errors.Is(err, storage.ErrLocked) {
			return o, err
		}
		select {
		case <-over:
			if who := holder(filepath.Join(f.dir, "book", "lock")); who != "" {
				return nil, fmt.Errorf("%w: %s", err, who)
			}
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// openingGC is how much the heap may grow from one look to the next, in percent. The first is when the snapshot is in memory, and with the book that is read from it there is five times as much.
const openingGC = 400

// holder says which process has locked a file, as the kernel knows it; empty where it does not say.
func holder(file string) string {
	var s syscall.Stat_t
	if syscall.Stat(file, &s) != nil {
		return ""
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(locks) { // 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF
		field := strings.Fields(string(line))
		if len(field) < 6 || field[1] != "FLOCK" || !strings.HasSuffix(field[5], ":"+strconv.FormatUint(s.Ino, 10)) {
			continue
		}
		return process(field[4])
	}
	return ""
}

// process is the number of a process, the first words of its command line, and whose it is.
func process(pid string) string {
	said := "process " + pid
	if line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline")); err == nil {
		words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		said += ", " + filepath.Base(words[0])
		for _, w := range words[1:] {
			if strings.HasPrefix(w, "-") || strings.ContainsAny(w, "/=") { // flags, and what they are about, are nobody's business
				break
			}
			said += " " + w
		}
	}
	if info, err := os.Stat(filepath.Join("/proc", pid)); err == nil {
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			if u, err := user.LookupId(strconv.FormatUint(uint64(s.Uid), 10)); err == nil {
				said += ", of " + u.Username
			}
		}
	}
	return said
}
