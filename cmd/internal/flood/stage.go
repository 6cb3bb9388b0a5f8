package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// target is an activated appliance of real programs on a software TPM, alone in a directory of its own.
type target struct{ *rig.Box }

// counts of the site: nobody is refused for want of one.
const total = 100_000

func newTarget(dir string) (*target, error) {
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := rig.Build(path("bin"), "./cmd/leaseholdd", "./cmd/freehold"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path("pass"), []byte("a passphrase for figures only\n"), 0o600); err != nil {
		return nil, err
	}
	o := rig.Office{Program: path("bin/freehold"), Dir: path("fh"), Passphrase: path("pass")}
	if _, err := o.Run("init", "--producer", "Works", "--trust", path("trust"), "--minimum-tier", "software", "--lease-interval", "1h"); err != nil {
		return nil, err
	}
	id, err := o.Entitle("--customer", "Plant", "--product", "Render", "--count", fmt.Sprint(total), "--feature", feature+":2026.1")
	if err != nil {
		return nil, err
	}
	t := &target{&rig.Box{Dir: dir, Program: path("bin/leaseholdd"), Trust: path("trust")}}
	if err = t.Open(tpmtest.P256); err == nil {
		err = t.Start()
	}
	if err == nil {
		err = o.Activate(t.Box, id, total)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// size is what the daemon keeps at a moment.
type size struct {
	Resident    float64 `json:"residentMiB"`
	Descriptors int     `json:"descriptors"`
	Sockets     int     `json:"sockets"` // of the descriptors
	Goroutines  int     `json:"goroutines"`
	HalfOpen    int     `json:"halfOpen"`
	Oldest      float64 `json:"oldestHalfOpenSeconds"`
	Open        int     `json:"open"`
}

func (t *target) size() (s size, err error) {
	h, err := t.Health()
	if err != nil {
		return s, err
	}
	s = size{Goroutines: h.Goroutines, HalfOpen: h.Connections.HalfOpen, Oldest: h.Connections.Oldest, Open: h.Connections.Open}
	dir := fmt.Sprintf("/proc/%d/fd", t.Cmd.Process.Pid)
	all, err := os.ReadDir(dir)
	if err != nil {
		return s, err
	}
	s.Descriptors = len(all)
	for _, f := range all {
		if what, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasPrefix(what, "socket:") {
			s.Sockets++
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.Cmd.Process.Pid))
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kilobytes); n == 1 {
			s.Resident = kilobytes / 1024
		}
	}
	return s, nil
}

// larger is the largest of each.
func (s size) larger(o size) size {
	return size{
		max(s.Resident, o.Resident), max(s.Descriptors, o.Descriptors), max(s.Sockets, o.Sockets), max(s.Goroutines, o.Goroutines),
		max(s.HalfOpen, o.HalfOpen), max(s.Oldest, o.Oldest), max(s.Open, o.Open),
	}
}

// cores is how many cores a process had, on the mean, and how many of its threads were ready and waited for one. What it waited is the machine's doing: the attackers, and
// whatever else runs, share its cores.
type cores struct {
	Ran    float64 `json:"ran"`
	Waited float64 `json:"waited"`
}

// coresOf is in seconds, since the threads of the process began.
func coresOf(pid int) (c cores) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		panic(err) // the pattern is a good one
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		var ran, waited float64
		if err == nil {
			_, err = fmt.Sscan(string(text), &ran, &waited)
		}
		if err == nil { // else it has ended
			c.Ran, c.Waited = c.Ran+ran/1e9, c.Waited+waited/1e9
		}
	}
	return c
}

func (c cores) since(before cores, begun time.Time) cores {
	d := time.Since(begun).Seconds()
	return cores{(c.Ran - before.Ran) / d, (c.Waited - before.Waited) / d}
}

func (c cores) ratio() float64 { return c.Waited / max(c.Ran, 1e-9) }

// wait lets time pass while others work.
func wait(d time.Duration) { <-time.After(d) }
