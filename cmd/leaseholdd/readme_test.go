package main

import (
	"bytes"
	"context"
	"go/format"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/cmd/internal/rig"
)

// readme is an indented block of the README's section on programs, without its indent.
func readme(t *testing.T, begins string) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## A program that asks\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var block []string
	for line := range strings.Lines(section) {
		text, indented := strings.CutPrefix(line, "    ")
		switch {
		case len(block) == 0 && !strings.HasPrefix(text, begins):
		case indented, len(block) > 0 && strings.TrimSpace(line) == "":
			block = append(block, text)
		default:
			return strings.TrimSpace(strings.Join(block, "")) + "\n"
		}
	}
	if len(block) == 0 {
		t.Fatalf("the README has no block that begins with %q", begins)
	}
	return strings.TrimSpace(strings.Join(block, "")) + "\n"
}

// The README's way from nothing to the first lease: its commands, run as they are, and its program of at most 15 lines, compiled as it is. Only the port is another one.
func TestREADME(t *testing.T) {
	dir, err := os.MkdirTemp("", "lh") // short, for the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := readme(t, "package main")
	lines := 0
	for line := range strings.Lines(program) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if formatted, err := format.Source([]byte(program)); err != nil || string(formatted) != program || lines > 15 {
		t.Errorf("the program has %d lines: %v\n%s", lines, err, formatted)
	}
	port := freePort(t)
	const stated = "127.0.0.1:7070"
	commands := readme(t, "swtpm socket")
	if strings.Count(commands, stated) != 1 || strings.Count(program, stated) != 1 {
		t.Fatalf("the commands and the program do not name %s once each", stated)
	}
	for name, source := range map[string]string{"stated": program, "first": strings.Replace(program, stated, port, 1)} {
		file := filepath.Join(dir, name+".go")
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := rig.Build(filepath.Join(dir, "bin"), "../leaseholdd", "../leasehold", "../freehold"); err != nil {
		t.Fatal(err)
	}
	// A person waits for the daemon's socket without knowing it; swtpm says where it is, so that it can be ended.
	const waited = "&\nwhile ! [ -S socket ]; do sleep 0.05; done; echo $! > daemon.pid\n"
	commands = strings.Replace(strings.Replace(commands, stated, port, 1), "&\n", waited, 1)
	commands = strings.Replace(commands, "swtpm socket ", "swtpm socket --pid file=swtpm.pid ", 1)
	script := commands + "./first\n"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-e", "-c", script)
	sh.Dir = dir
	sh.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_STATE_HOME="+dir)
	log, err := os.Create(filepath.Join(dir, "log")) // a file: what stays behind holds no pipe open
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	sh.Stdout, sh.Stderr = log, log
	t.Cleanup(func() {
		for _, name := range []string{"daemon.pid", "swtpm.pid"} {
			if pid, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				exec.Command("kill", "-9", string(bytes.TrimSpace(pid))).Run()
			}
		}
	})
	err = sh.Run()
	said, _ := os.ReadFile(log.Name())
	if err != nil || !bytes.HasSuffix(said, []byte(" licensed\n")) {
		t.Errorf("%v\n%s\nsays\n%s", err, script, said)
	}
}

// freePort is an address on which nobody listens just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
