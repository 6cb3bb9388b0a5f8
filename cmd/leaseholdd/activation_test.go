package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// Under a service manager the daemon takes its sockets, says READY when it answers, feeds the watchdog, and says STOPPING before it ends cleanly.
func TestServiceManager(t *testing.T) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := func(name string) string { return filepath.Join(dir, name) }
	if out, err := exec.Command("go", "build", "-o", dir, "../leaseholdd", "../leasehold", "../freehold").CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	if err := os.WriteFile(path("pass"), []byte("a passphrase that nobody guesses\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path("freehold"), "--dir", path("fh"), "--passphrase-file", path("pass"), "init", "--producer", "Works", "--trust", path("trust")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := net.Listen("unix", path("admin"))
	if err != nil {
		t.Fatal(err)
	}
	// The file descriptors are numbered from 3, and LISTEN_PID is the daemon's own, which only a shell that becomes it can know.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", path("leaseholdd"), "--state", path("state"), "--tpm", tpmtest.Start(t).Address(), "--trust", path("trust"),
		"--listen", "127.0.0.1:1", "--socket", path("nowhere/none"))
	for _, l := range []interface{ File() (*os.File, error) }{clients.(*net.TCPListener), admin.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=clients:admin", "NOTIFY_SOCKET="+path("notify"), "WATCHDOG_USEC=400000")
	var log strings.Builder
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	next := func() string {
		b := make([]byte, 4096)
		manager.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := manager.Read(b)
		if err != nil {
			t.Fatalf("nothing was said: %v\n%s", err, log.String())
		}
		return string(b[:n])
	}
	if s := next(); !strings.HasPrefix(s, "READY=1\nSTATUS=not activated") {
		t.Errorf("first %q", s)
	}
	out, err := exec.Command(path("leasehold"), "status", "--socket", path("admin")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "not activated") {
		t.Errorf("over the passed socket: %v\n%s", err, out)
	}
	for range 2 {
		if s := next(); s != "WATCHDOG=1" {
			t.Errorf("then %q", s)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s := next()
	for s == "WATCHDOG=1" {
		s = next()
	}
	if s != "STOPPING=1" {
		t.Errorf("at the end %q", s)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, log.String())
	}
}
