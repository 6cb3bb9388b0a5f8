package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// held are the sockets that a service manager holds, whatever becomes of the daemon, and the place for one.
type held struct {
	t              *testing.T
	dir            string
	clients, admin net.Listener
	manager        *net.UnixConn
}

func newHeld(t *testing.T) *held {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	h := &held{t: t, dir: dir}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if out, err := exec.Command("go", "build", "-o", dir, "../leaseholdd", "../leasehold", "../freehold").CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	if err := os.WriteFile(h.path("pass"), []byte("a passphrase that nobody guesses\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(h.path("freehold"), "--dir", h.path("fh"), "--passphrase-file", h.path("pass"), "init", "--producer", "Works", "--trust", h.path("trust")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var errs [3]error
	h.clients, errs[0] = net.Listen("tcp", "127.0.0.1:0")
	h.admin, errs[1] = net.Listen("unix", h.path("admin"))
	h.manager, errs[2] = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: h.path("notify"), Net: "unixgram"})
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.clients.Close(); h.admin.Close(); h.manager.Close() })
	return h
}

func (h *held) path(name string) string { return filepath.Join(h.dir, name) }

// start starts the daemon, after a command of the shell.
func (h *held) start(before, state, tpm string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.Command("unshare", "-rm", "sh", "-ec", before+`
LISTEN_PID=$$ exec "$@"`, "sh", h.path("leaseholdd"), "--state", h.path(state), "--tpm", tpm, "--trust", h.path("trust"))
	for _, l := range []interface{ File() (*os.File, error) }{h.clients.(*net.TCPListener), h.admin.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			h.t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=clients:admin", "NOTIFY_SOCKET="+h.path("notify"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

// told is what the service manager hears next.
func (h *held) told() string {
	h.t.Helper()
	b := make([]byte, 4096)
	h.manager.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := h.manager.Read(b)
	if err != nil {
		h.t.Fatalf("nothing was said: %v", err)
	}
	return string(b[:n])
}

func (h *held) ask(args ...string) (string, int) {
	out, err := exec.Command(h.path("leasehold"), append(args, "--socket", h.path("admin"))...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// A daemon that cannot start says why to everyone who asks, and ends. Nobody waits at a socket behind which nothing is, and a console has its state, its next step and its code.
func TestUnableToStart(t *testing.T) {
	h := newHeld(t)
	good, old := tpmtest.Start(t).Address(), h.oldTPM()
	first := h.start("", "state", good)
	if s := h.told(); !strings.HasPrefix(s, "READY=1") {
		t.Fatal(s)
	}
	first.Process.Signal(syscall.SIGTERM)
	if s := h.told(); s != "STOPPING=1" {
		t.Fatal(s)
	}
	first.Wait()
	full := "mkdir -p full; mount -t tmpfs -o size=12m,mode=0700 none full; cp -a state/. full; dd if=/dev/zero of=full/fill bs=4k 2>/dev/null || true"
	for name, c := range map[string]struct {
		before, state, tpm string
		want               capability.Code
	}{
		"no TPM":          {"", "state", "/dev/tpm-that-is-not-there", capability.ErrNoTPM},
		"a TPM 1.2":       {"", "state", old, capability.ErrOldTPM},
		"a full disk":     {full, "full", good, capability.ErrStorageFull},
		"no disk":         {"mkdir -p none; mount -t tmpfs -o ro,mode=0700 none none", "none", good, capability.ErrNoDisk},
		"a socket":        {"set -- \"$@\" --poll-socket /proc/nowhere/socket", "state", good, capability.ErrUsage},
		"a configuration": {"set -- \"$@\" --config /nowhere/at/all", "state", good, capability.ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := h.start(c.before, c.state, c.tpm)
			e := c.want.Entry()
			if s := h.told(); !strings.HasPrefix(s, "STATUS=cannot start - "+e.Title) || !strings.HasSuffix(s, "next: "+e.Next) {
				t.Errorf("the service manager hears %q", s)
			}
			out, status := h.ask("console", "status")
			if status != e.Exit || !strings.Contains(out, "\nSTATE    NOT RUNNING - "+c.want.String()+" "+e.Title) || !strings.Contains(out, "\nNEXT     "+e.Next+"\n") {
				t.Errorf("the console: %d\n%s", status, out)
			}
			if out, status := h.ask("status"); status != e.Exit || !strings.HasPrefix(out, "error: "+c.want.String()) || !strings.Contains(out, "\nnext: "+e.Next+"\n") {
				t.Errorf("status: %d\n%s", status, out)
			}
			word := `"stopped"`
			if e.Exit == capability.ExitTemporary {
				word = `"waiting"` // for the TPM
			}
			if out, status := h.ask("is-active", "--json"); status != e.Exit || !strings.Contains(out, word) || !strings.Contains(out, c.want.String()) {
				t.Errorf("is-active: %d\n%s", status, out)
			}
			if out, _ := h.ask("wait", "--for", "ready", "--timeout", "1ms"); !strings.Contains(out, capability.ErrWaited.String()) {
				t.Errorf("wait: %s", out)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if s := h.told(); s != "STOPPING=1" {
				t.Errorf("the service manager hears %q of the stop", s)
			}
			if err := cmd.Wait(); err != nil { // nobody's unit has failed by a stop
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// A TPM that comes late is noticed, and the daemon ends for the service manager to start it again.
func TestLateTPM(t *testing.T) {
	h := newHeld(t)
	late := h.path("tpm")
	cmd := h.start("", "state", "unix:"+late)
	if s := h.told(); !strings.Contains(s, capability.ErrTPMAbsent.Entry().Title) {
		t.Fatal(s)
	}
	begin := time.Now()
	h.swtpm(late, "--tpm2")
	cmd.Wait()
	if took := time.Since(begin); cmd.ProcessState.ExitCode() != capability.ErrTPMAbsent.Entry().Exit || took >= unablePatience {
		t.Errorf("%v after %s", cmd.ProcessState, took)
	}
}

// Of a TPM that the kernel has, it says the version.
func TestOldTPMOfTheKernel(t *testing.T) {
	for want, files := range map[bool]map[string]string{true: {"tpm0": "1\n"}, false: {"tpm0": "1\n", "tpm1": "2\n"}} {
		dir := t.TempDir()
		if onlyOld(dir) {
			t.Error("where there is none")
		}
		for name, version := range files {
			if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o755), os.WriteFile(filepath.Join(dir, name, "tpm_version_major"), []byte(version), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if onlyOld(dir) != want {
			t.Errorf("%v", files)
		}
	}
}

// oldTPM is a TPM 1.2.
func (h *held) oldTPM() string {
	h.swtpm(h.path("old"))
	return "unix:" + h.path("old")
}

// swtpm runs a software TPM at a socket until the test ends.
func (h *held) swtpm(at string, kind ...string) {
	h.t.Helper()
	state := h.t.TempDir()
	flags := "not-need-init"
	if len(kind) > 0 {
		flags += ",startup-clear"
	}
	cmd := exec.Command("swtpm", append([]string{"socket", "--tpmstate", "dir=" + state, "--server", "type=unixio,path=" + at, "--flags", flags}, kind...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("%v; type: make deps", err)
	}
	h.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for {
		if _, err := os.Stat(at); err == nil {
			return
		}
		<-time.After(time.Millisecond)
	}
}
