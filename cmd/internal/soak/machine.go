package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what figures depend on.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	TPM    string `json:"tpm"` // the software TPM of the tests
}

func thisMachine() (machine, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return machine{}, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	m := machine{CPU: "unknown processor", Cores: runtime.NumCPU(), Kernel: unix.ByteSliceToString(u.Release[:]), Go: runtime.Version()}
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

// commit names what is tested; -dirty where the tree differs from it.
func commit() (string, error) {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the commit: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
