package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/tpm"
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
	directory, err := net.Listen("unix", path("directory"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []interface{ File() (*os.File, error) }{clients.(*net.TCPListener), admin.(*net.UnixListener), directory.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES=clients:admin:directory", "NOTIFY_SOCKET="+path("notify"), "WATCHDOG_USEC=400000")
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
	// The socket of the program that asks a directory answers that, and nothing else.
	if out, err := exec.Command(path("leasehold"), "users", "--socket", path("directory")).CombinedOutput(); err == nil || !strings.Contains(string(out), capability.ErrNotFound.String()) {
		t.Errorf("over the socket of the directory: %v\n%s", err, out)
	}
	for range 2 {
		if s := next(); s != "WATCHDOG=1" {
			t.Errorf("then %q", s)
		}
	}
	// A manager that does not hear it for a while ends nothing.
	manager.Close()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if out, err := exec.Command(path("leasehold"), "status", "--socket", path("admin")).CombinedOutput(); err != nil {
			t.Fatalf("unheard by the manager: %v\n%s", err, out)
		}
	}
	if err := os.Remove(path("notify")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if manager, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if s := next(); s != "WATCHDOG=1" {
		t.Errorf("heard again %q", s)
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

// An owner that waits is alive for as long as the TPM answers, and for no other reason.
func TestAlive(t *testing.T) {
	dead := errors.New("it has ended")
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name    string
		owner   func(context.Context) error
		answers uint64 // of the TPM meanwhile
		want    error
	}{
		{"it answers", func(context.Context) error { return nil }, 0, nil},
		{"it waits, and the TPM answers", waits, 1, nil},
		{"it waits, and the TPM is silent", waits, 0, context.DeadlineExceeded},
		{"it has ended, and the TPM answers", func(context.Context) error { return dead }, 1, dead},
	} {
		n := uint64(7)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := alive(func(ctx context.Context) error { n += c.answers; return c.owner(ctx) }, func() uint64 { return n })(ctx)
		cancel()
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A device that is there and is not ours is not a TPM that is not there.
func TestNotOpened(t *testing.T) {
	for _, c := range []struct {
		err  error
		code capability.Code
	}{
		{&os.PathError{Op: "open", Path: "/dev/tpmrm0", Err: syscall.EACCES}, capability.ErrTPMAccess},
		{fmt.Errorf("open tpm: %w: %w", tpm.ErrUnavailable, syscall.EPERM), capability.ErrTPMAccess},
		{fmt.Errorf("open tpm: %w: %w", tpm.ErrUnavailable, syscall.ENOENT), capability.ErrNoTPM},
		{fmt.Errorf("open tpm: %w", tpm.ErrUnavailable), capability.ErrTPMAbsent},
	} {
		if code := terminal.CodeOf(notOpened("/dev/tpmrm0", c.err)); code != c.code {
			t.Errorf("%v: %s, want %s", c.err, code, c.code)
		}
	}
	// A socket that is not there is no machine without a TPM.
	if code := terminal.CodeOf(notOpened("unix:/run/swtpm", fmt.Errorf("open tpm: %w: %w", tpm.ErrUnavailable, syscall.ENOENT))); code != capability.ErrTPMAbsent {
		t.Errorf("a socket: %s", code)
	}
}
