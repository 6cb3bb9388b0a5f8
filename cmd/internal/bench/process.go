package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a server that this program started. It ends when its input does.
type child struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	address string
	said    strings.Builder
}

// startChild starts a program that prints its address as its first line.
func startChild(program string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...)}
	c.cmd.Stderr = &c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, &c.said)
	}
	c.address = strings.TrimSpace(line)
	return c, nil
}

func (c *child) stop() {
	c.stdin.Close()
	c.cmd.Process.Kill() // it has nothing to keep
	c.cmd.Wait()
}

// usage is what a process has used since it began.
type usage struct {
	cpu     time.Duration // of all its threads (schedstat)
	written uint64        // bytes of the page cache that it made dirty
}

// usageOf reads /proc. The bytes of a process that hides itself are for root only. A page cache of large folios counts a whole folio, 256 KiB in a segment of the
// appliance, for each byte that is written into it, and writes back its dirty blocks only: what reached the device says deviceBytes.
func usageOf(pid int) (u usage, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return u, err
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that ended
		}
		if err != nil {
			return u, err
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return u, fmt.Errorf("%s: %w", path, err)
		}
		u.cpu += time.Duration(n)
	}
	u.written, err = field(fmt.Sprintf("/proc/%d/io", pid), "write_bytes")
	return u, err
}

// deviceBytes is what was written to the device that holds a directory, by everyone: what others wrote meanwhile is in it. Where that is no disk of its own, in
// memory or an overlay, it is zero.
func deviceBytes(dir string) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return 0, err
	}
	path := fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(s.Dev), unix.Minor(s.Dev))
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	const sectorsWritten, sectorBytes = 6, 512 // whatever the device's own sectors are
	f := strings.Fields(string(b))
	if len(f) <= sectorsWritten {
		return 0, fmt.Errorf("%s has %d fields", path, len(f))
	}
	n, err := strconv.ParseUint(f[sectorsWritten], 10, 64)
	return n * sectorBytes, err
}

// residentBytes is the memory of a process now.
func residentBytes(pid int) (uint64, error) {
	kilobytes, err := field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
	return kilobytes << 10, err
}

// field is the number behind a name and a colon in a file of /proc.
func field(path, name string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, is := strings.CutPrefix(line, name+":"); is {
			f := strings.Fields(value)
			if len(f) == 0 {
				break
			}
			return strconv.ParseUint(f[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no field %s", path, name)
}

// busyShare is the part of all cores that is used while this program rests for a time: what others do.
func busyShare(rest time.Duration) (float64, error) {
	idle, all, err := ticks()
	if err != nil {
		return 0, err
	}
	wait(rest)
	idleThen, allThen, err := ticks()
	if err != nil {
		return 0, err
	}
	return 1 - float64(idleThen-idle)/float64(max(1, allThen-all)), nil
}

// ticks is what the cores have idled, and all their time (proc_stat(5)).
func ticks() (idle, all uint64, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q", first)
	}
	for i, f := range fields[1:9] { // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if all += n; i == 3 || i == 4 {
			idle += n
		}
	}
	return idle, all, nil
}
