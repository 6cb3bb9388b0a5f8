package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// target is an activated appliance of real programs on a software TPM, alone in a directory of its own.
type target struct {
	dir     string
	chip    *tpmtest.TPM
	address string
	cmd     *exec.Cmd
	log     *os.File
}

// counts of the site: nobody is refused for want of one.
const total = 100_000

func newTarget(dir string) (*target, error) {
	t := &target{dir: dir}
	if out, err := exec.Command("go", "build", "-trimpath", "-o", t.path("bin")+"/", "./cmd/leaseholdd", "./cmd/freehold").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	if err := os.WriteFile(t.path("pass"), []byte("a passphrase for figures only\n"), 0o600); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Mkdir(t.path("tpm"), 0o700), os.Mkdir(t.path("state"), 0o700)); err != nil {
		return nil, err
	}
	if _, err := t.freehold("init", "--producer", "Works", "--trust", t.path("trust"), "--minimum-tier", "software", "--lease-interval", "1h"); err != nil {
		return nil, err
	}
	id, err := t.freehold("entitle", "--customer", "Plant", "--product", "Render", "--count", fmt.Sprint(total), "--feature", feature+":2026.1")
	if err != nil {
		return nil, err
	}
	if t.chip, err = tpmtest.New(t.path("tpm"), tpmtest.P256); err != nil {
		return nil, err
	}
	if err := t.start(); err != nil {
		t.close()
		return nil, err
	}
	if err := t.activate(capability.ActivationID(strings.TrimSpace(id))); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *target) path(name string) string { return filepath.Join(t.dir, name) }

func (t *target) freehold(args ...string) (string, error) {
	c := exec.Command(t.path("bin/freehold"), append([]string{"--dir", t.path("fh"), "--passphrase-file", t.path("pass")}, args...)...)
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("freehold %s: %w: %s%s", args[0], err, &out, &said)
	}
	return out.String(), nil
}

// start starts the daemon on a free port and waits until it serves.
func (t *target) start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.address = l.Addr().String()
	l.Close()
	if t.log, err = os.Create(t.path("log")); err != nil {
		return err
	}
	t.cmd = exec.Command(t.path("bin/leaseholdd"), "--state", t.path("state"), "--tpm", t.chip.Address(), "--trust", t.path("trust"), "--listen", t.address, "--socket", t.path("a"))
	t.cmd.Stderr = t.log
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		return err
	}
	for begun := time.Now(); ; wait(20 * time.Millisecond) {
		_, err := t.health()
		if err == nil {
			return nil
		}
		if time.Since(begun) > 30*time.Second {
			said, _ := os.ReadFile(t.path("log"))
			return fmt.Errorf("the daemon does not answer: %w\n%s", err, said)
		}
	}
}

// activate carries a request and its response between the appliance and the producer.
func (t *target) activate(id capability.ActivationID) error {
	var written console.Written
	if err := t.ask("POST", "requests", console.Wish{Desired: []capability.Desired{{ActivationID: id, Count: total}}}, &written); err != nil {
		return err
	}
	if err := os.WriteFile(t.path("R.LHQ"), written.File, 0o600); err != nil {
		return err
	}
	if _, err := t.freehold("respond", t.path("R.LHQ"), "-o", t.path("response")); err != nil {
		return err
	}
	found, err := filepath.Glob(t.path("response/*.LHR"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%d responses: %w", len(found), err)
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	return t.ask("POST", "responses", file, &console.Imported{})
}

// halt stops the daemon cleanly.
func (t *target) halt() error {
	t.cmd.Process.Signal(syscall.SIGTERM)
	err := t.cmd.Wait()
	t.cmd = nil
	if err != nil {
		return fmt.Errorf("the daemon did not stop cleanly: %w", err)
	}
	return nil
}

func (t *target) close() {
	if t.cmd != nil {
		t.cmd.Process.Kill()
		t.cmd.Wait()
	}
	if t.chip != nil {
		t.chip.Close()
	}
}

func (t *target) health() (h console.Health, err error) { return h, t.ask("GET", "health", nil, &h) }

// ask is one exchange over the administrators' socket.
func (t *target) ask(method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send, is := body.([]byte)
	if !is && body != nil {
		var err error
		if send, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://leaseholdd"+console.Base+path, bytes.NewReader(send))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", t.path("a"))
	}}}
	w, err := client.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	back, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	if w.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, w.StatusCode, back)
	}
	return json.Unmarshal(back, answer)
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
	h, err := t.health()
	if err != nil {
		return s, err
	}
	s = size{Goroutines: h.Goroutines, HalfOpen: h.Connections.HalfOpen, Oldest: h.Connections.Oldest, Open: h.Connections.Open}
	dir := fmt.Sprintf("/proc/%d/fd", t.cmd.Process.Pid)
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
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.cmd.Process.Pid))
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

// wait lets time pass while others work.
func wait(d time.Duration) { <-time.After(d) }
