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
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// total is the counts of the site: more than 1,000,000 leases and all clients hold.
const total = 1_200_000

// site is an activated appliance that was stopped cleanly: real programs, a software TPM, one producer. Every box begins as a copy of it.
type site struct {
	dir   string
	trust *wire.Trust
}

func newSite(dir string) (*site, error) {
	s := &site{dir: dir}
	if out, err := exec.Command("go", "build", "-trimpath", "-o", s.path("bin")+"/", "./cmd/leaseholdd", "./cmd/freehold").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	if err := os.WriteFile(s.path("pass"), []byte("a passphrase for figures only\n"), 0o600); err != nil {
		return nil, err
	}
	if _, err := s.freehold("init", "--producer", "Works", "--trust", s.path("trust"), "--minimum-tier", "software", "--lease-interval", "1h"); err != nil {
		return nil, err
	}
	entitle := []string{"entitle", "--customer", "Plant", "--product", "Render", "--count", fmt.Sprint(total)}
	for _, f := range sixFeatures() {
		entitle = append(entitle, "--feature", fmt.Sprintf("%s:%d.1", f, featureVersion))
	}
	out, err := s.freehold(entitle...)
	if err != nil {
		return nil, err
	}
	id := capability.ActivationID(strings.TrimSpace(out))
	b, err := os.ReadFile(s.path("trust"))
	if err != nil {
		return nil, err
	}
	if s.trust, err = wire.New().DecodeTrust(b); err != nil {
		return nil, err
	}
	return s, s.activate(id)
}

func sixFeatures() []string { return []string{feature, "paint", "model", "mesh", "light", "sound"} }

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) freehold(args ...string) (string, error) {
	c := exec.Command(s.path("bin/freehold"), append([]string{"--dir", s.path("fh"), "--passphrase-file", s.path("pass")}, args...)...)
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("freehold %s: %w: %s%s", args[0], err, &out, &said)
	}
	return out.String(), nil
}

// activate carries a request and its response between a first box and the producer. The box is what all others are copied from.
func (s *site) activate(id capability.ActivationID) error {
	if err := errors.Join(os.Mkdir(s.path("tpm"), 0o700), os.Mkdir(s.path("state"), 0o700)); err != nil {
		return err
	}
	b := &box{site: s, dir: s.dir}
	defer b.close()
	if err := b.open(tpmtest.P256); err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return err
	}
	var written console.Written
	if err := b.ask("POST", "requests", console.Wish{Desired: []capability.Desired{{ActivationID: id, Count: total}}}, &written); err != nil {
		return err
	}
	request, response := s.path("R.LHQ"), s.path("response")
	if err := os.WriteFile(request, written.File, 0o600); err != nil {
		return err
	}
	if _, err := s.freehold("respond", request, "-o", response); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(response, "*.LHR"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%d responses: %w", len(found), err)
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	var in console.Imported
	if err := b.ask("POST", "responses", file, &in); err != nil {
		return err
	}
	return b.halt()
}

// box is one appliance: a TPM, a state directory and a daemon. Its sockets live longer than the daemon, as under a service manager: who comes while none runs
// waits for the next.
type box struct {
	site        *site
	dir         string
	program     string   // the daemon; empty: as it is built for everyone
	environment []string // more of it
	bus         string   // address of the TPM as the daemon sees it; empty: its own

	chip           *tpmtest.TPM
	clients, admin net.Listener
	files          []*os.File
	cmd            *exec.Cmd
	log            bytes.Buffer
}

// box gives a copy of the site in a directory of its own; nothing runs yet but its TPM.
func (s *site) box(name string) (*box, error) {
	b := &box{site: s, dir: s.path(name)}
	for _, part := range []string{"state", "tpm"} {
		if err := copyTree(s.path(part), filepath.Join(b.dir, part)); err != nil {
			return nil, err
		}
	}
	if err := b.open(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// copyTree copies plain files; sockets stay behind.
func copyTree(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			err = copyTree(source, target)
		} else if e.Type().IsRegular() {
			var b []byte
			if b, err = os.ReadFile(source); err == nil {
				err = os.WriteFile(target, b, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *box) open(certificates ...tpmtest.Certificate) (err error) {
	if b.chip, err = tpmtest.New(filepath.Join(b.dir, "tpm"), certificates...); err != nil {
		return err
	}
	if b.clients, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if b.admin, err = net.Listen("unix", filepath.Join(b.dir, "a")); err != nil {
		return err
	}
	for _, l := range []interface{ File() (*os.File, error) }{b.clients.(*net.TCPListener), b.admin.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			return err
		}
		b.files = append(b.files, f)
	}
	return nil
}

func (b *box) address() string { return b.clients.Addr().String() }

// spawn starts the daemon and does not wait. LISTEN_PID is the daemon's own number, which only a shell that becomes it knows.
func (b *box) spawn() error {
	program, bus := b.program, b.bus
	if program == "" {
		program = b.site.path("bin/leaseholdd")
	}
	if bus == "" {
		bus = b.chip.Address()
	}
	b.log.Reset()
	b.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", program, "--state", filepath.Join(b.dir, "state"), "--tpm", bus, "--trust", b.site.path("trust"))
	b.cmd.Env = append(append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=clients:admin"), b.environment...)
	b.cmd.ExtraFiles = b.files
	b.cmd.Stderr = &b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return b.cmd.Start()
}

// start starts the daemon and waits until it serves.
func (b *box) start() error {
	if err := b.spawn(); err != nil {
		return err
	}
	_, err := b.health()
	return err
}

// halt stops the daemon cleanly.
func (b *box) halt() error {
	cmd := b.cmd
	b.cmd = nil
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the daemon did not stop cleanly: %w\n%s", err, &b.log)
	}
	return nil
}

func (b *box) kill() {
	if b.cmd != nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		b.cmd = nil
	}
}

func (b *box) close() {
	b.kill()
	for _, f := range b.files {
		f.Close()
	}
	for _, l := range []net.Listener{b.clients, b.admin} {
		if l != nil {
			l.Close()
		}
	}
	if b.chip != nil {
		b.chip.Close()
	}
}

func (b *box) health() (h console.Health, err error) { return h, b.ask("GET", "health", nil, &h) }

// ask is one exchange over the administrators' socket.
func (b *box) ask(method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), replyWithin)
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
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(b.dir, "a"))
	}}}
	w, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, &b.log)
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

// subject is this box under load. The clients are the same devices every time, so that the ledger does not grow from round to round.
func (b *box) subject(devices []device) *subject {
	return &subject{
		name: appliance, pid: b.cmd.Process.Pid, beside: b.chip.PID(),
		dial: func(w workload, i int) (speaker, error) { return w.client(b.address(), devices[i], "") },
		groups: func() (uint64, error) {
			h, err := b.health()
			return h.Journal.Position, err
		},
	}
}

// until is the time that something took, which is tried until it does not fail.
func until(limit time.Duration, try func() error) (time.Duration, error) {
	begun := time.Now()
	for {
		err := try()
		if took := time.Since(begun); err == nil || took > limit {
			return took, err
		}
		wait(time.Millisecond)
	}
}
