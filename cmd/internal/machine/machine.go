// Package machine says what measured figures depend on: the machine, its kernel, the versions of Go and of the software TPM, and the commit. A report names all of it.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what figures depend on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	TPM    string `json:"tpm"` // the software TPM of the tests
}

// This is the machine that the program runs on. Without swtpm it is an error.
func This() (Machine, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Machine{}, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	m := Machine{CPU: "unknown processor", Cores: runtime.NumCPU(), Kernel: unix.ByteSliceToString(u.Release[:]), Go: runtime.Version()}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	if f := regexp.MustCompile(`(?m)^model name\s*: (.+)$`).FindSubmatch(cpu); f != nil {
		m.CPU = string(f[1])
	}
	out, err := exec.Command("swtpm", "--version").Output()
	if err != nil {
		return m, fmt.Errorf("ask swtpm for its version: %w; type: make deps", err)
	}
	version := regexp.MustCompile(`version ([0-9.]+)`).FindSubmatch(out)
	if version == nil {
		return m, fmt.Errorf("swtpm says no version: %q", out)
	}
	m.TPM = "swtpm " + string(version[1])
	return m, nil
}

// Commit names what is checked out in the present directory; -dirty where the tree differs from it.
func Commit() (string, error) {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the commit: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
