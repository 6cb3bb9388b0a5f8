package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// What the long tests of the daemon share: the programs as they are built, and one activated machine, of which each test takes a copy. Everything in here is a
// real process: the daemon, the back office's command, the software TPM. Only the administrator and the clients are this program.

const (
	passphrase = "a passphrase that nobody guesses"
	customer   = "Customer of the canaries"
	planted    = 4000 // copies the appliance was given
)

// site is an activated machine that was stopped cleanly.
type site struct {
	dir string // bin, fh, tpm, state, trust, pass
	id  capability.ActivationID
}

// lazySite is made when the first test asks for it.
type lazySite struct {
	once sync.Once
	site *site
	err  error
}

func (l *lazySite) get() (*site, error) {
	l.once.Do(func() { l.site, l.err = newSite() })
	return l.site, l.err
}

var theSite lazySite

func TestMain(m *testing.M) {
	code := m.Run()
	if s := theSite.site; s != nil {
		os.RemoveAll(s.dir)
	}
	os.Exit(code)
}

func newSite() (*site, error) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	if err := s.make(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *site) make() error {
	path := func(name string) string { return filepath.Join(s.dir, name) }
	if out, err := exec.Command("go", "build", "-o", path("bin")+"/", "../leaseholdd", "../leasehold", "../freehold").CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	if err := os.WriteFile(path("pass"), []byte(passphrase+"\n"), 0o600); err != nil {
		return err
	}
	o := office{s.dir, path("fh")}
	if _, err := o.run("init", "--producer", "Works", "--trust", path("trust"), "--minimum-tier", "software"); err != nil {
		return err
	}
	out, err := o.run("entitle", "--customer", customer, "--product", "Render", "--feature", "render:2026.1", "--feature", "paint:1.0", "--count", fmt.Sprint(planted))
	if err != nil {
		return err
	}
	s.id = capability.ActivationID(strings.TrimSpace(out))
	for _, name := range []string{"tpm", "state"} {
		if err := os.Mkdir(path(name), 0o700); err != nil {
			return err
		}
	}
	chip, err := tpmtest.New(path("tpm"), tpmtest.P256)
	if err != nil {
		return err
	}
	defer chip.Close()
	b := &box{dir: s.dir, site: s, office: o, state: path("state"), chip: chip}
	if err := b.open(); err != nil {
		return err
	}
	defer b.close()
	if err := b.start(); err != nil {
		return err
	}
	request, err := b.request(s.id)
	if err != nil {
		return err
	}
	response, err := o.respond(request)
	if err != nil {
		return err
	}
	if err := b.imports(response); err != nil {
		return err
	}
	return b.halt()
}

// office is the back office's command with its directory.
type office struct{ site, dir string }

func (o office) run(args ...string) (string, error) {
	c := exec.Command(filepath.Join(o.site, "bin", "freehold"), append([]string{"--dir", o.dir, "--passphrase-file", filepath.Join(o.site, "pass")}, args...)...)
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("freehold %s: %w: %s%s", args[0], err, out.String(), said.String())
	}
	return out.String(), nil
}

// respond answers a request; the error has what was said against it.
func (o office) respond(request []byte, more ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "R.LHQ")
	if err := os.WriteFile(file, request, 0o600); err != nil {
		return nil, err
	}
	if _, err := o.run(append([]string{"respond", file, "-o", dir}, more...)...); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.LHR"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%d responses: %w", len(found), err)
	}
	return os.ReadFile(found[0])
}

// box is one machine: a TPM, a state directory, and now and then a daemon. Its two sockets live longer than the daemon, as under a service manager: who comes
// while none runs waits for the next, and the first answer says that it has started.
type box struct {
	dir    string // for short socket names
	site   *site
	office office
	state  string
	chip   *tpmtest.TPM
	bus    string // address of the TPM as the daemon sees it; empty: its own
	trust  string // bundle; empty: the site's
	level  string
	extra  []string // environment of the daemon
	cores  bool     // it may dump, into a directory of its own

	clients, admin net.Listener
	files          []*os.File
	cmd            *exec.Cmd
	log            *bytes.Buffer
	ended          chan struct{}
	starts         int
}

// newBox is a copy of the site: the same TPM, state and book.
func newBox(t testing.TB) *box {
	t.Helper()
	s, err := theSite.get()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{dir: dir, site: s, office: office{s.dir, filepath.Join(dir, "fh")}, state: filepath.Join(dir, "state")}
	t.Cleanup(func() {
		b.close()
		if b.chip != nil {
			b.chip.Close()
		}
		os.RemoveAll(dir)
	})
	for _, name := range []string{"state", "fh", "tpm"} {
		if err := copyTree(filepath.Join(s.dir, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if b.chip, err = tpmtest.New(filepath.Join(dir, "tpm")); err != nil {
		t.Fatal(err)
	}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	return b
}

// copyTree is cp -r of plain files. A file that goes away meanwhile is left out, as a copy of a running machine does.
func copyTree(from, to string) error {
	err := os.MkdirAll(to, 0o700)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.IsDir():
			err = copyTree(source, target)
		case e.Type().IsRegular():
			var b []byte
			if b, err = os.ReadFile(source); err == nil {
				err = os.WriteFile(target, b, 0o600)
			}
		}
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		err = nil
	}
	return err
}

// replaceTree puts a copy in the place of a directory.
func replaceTree(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return copyTree(from, to)
}

func (b *box) open() (err error) {
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
	b.files, b.clients, b.admin = nil, nil, nil
}

// spawn starts the daemon and does not wait. The descriptors are numbered from 3, and LISTEN_PID is the daemon's own, which only a shell that becomes it knows.
func (b *box) spawn() error {
	bus, trust, level := b.bus, b.trust, b.level
	if bus == "" {
		bus = b.chip.Address()
	}
	if trust == "" {
		trust = filepath.Join(b.site.dir, "trust")
	}
	if level == "" {
		level = "info"
	}
	become := `LISTEN_PID=$$ exec "$@"`
	if b.cores {
		become = "ulimit -c unlimited; " + become
	}
	b.cmd = exec.Command("sh", "-c", become, "sh", filepath.Join(b.site.dir, "bin", "leaseholdd"),
		"--state", b.state, "--tpm", bus, "--trust", trust, "--log-level", level)
	b.cmd.Env = append(append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=clients:admin"), b.extra...)
	if b.cores {
		b.cmd.Dir = filepath.Join(b.dir, "cwd")
		if err := os.MkdirAll(b.cmd.Dir, 0o700); err != nil {
			return err
		}
	}
	b.cmd.ExtraFiles = b.files
	b.log = new(bytes.Buffer)
	b.cmd.Stderr = b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.starts++
	cmd, ended := b.cmd, make(chan struct{})
	b.ended = ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return nil
}

// start starts the daemon and waits for its first answer.
func (b *box) start() error {
	if err := b.spawn(); err != nil {
		return err
	}
	var h console.Health
	return b.get("health", &h)
}

// kill is kill -9, of nothing where nothing runs.
func (b *box) kill() {
	if b.ended == nil {
		return
	}
	b.cmd.Process.Kill()
	<-b.ended
	b.ended = nil
}

func (b *box) halt() error {
	b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.ended
	b.ended = nil
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the daemon stopped with %d:\n%s", code, b.log)
	}
	return nil
}

// ask is one exchange over the administrators' socket. Where the daemon ends first, the error has its log.
func (b *box) ask(method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ended := b.ended
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	var send []byte
	switch body := body.(type) {
	case nil:
	case []byte:
		send = body
	default:
		send, _ = json.Marshal(body)
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
		return b.silent(path, err)
	}
	defer w.Body.Close()
	back, err := io.ReadAll(w.Body)
	if err != nil {
		return b.silent(path, err)
	}
	if w.StatusCode != http.StatusOK {
		p := &refusal{status: w.StatusCode}
		if json.Unmarshal(back, &p.Problem) != nil {
			p.Text = string(back)
		}
		return p
	}
	if raw, ok := answer.(*[]byte); ok {
		*raw = back
		return nil
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(back, answer)
}

// silence is no answer: nobody knows whether it became a fact.
type silence struct {
	path string
	err  error
	log  string
}

func (s *silence) Error() string { return fmt.Sprintf("%s: %v\n%s", s.path, s.err, s.log) }

func (b *box) silent(path string, err error) error {
	s := &silence{path: path, err: err}
	select {
	case <-b.ended:
		s.log = b.log.String()
	default:
	}
	return s
}

// refusal is an answer that is a no.
type refusal struct {
	console.Problem
	status int
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.Symbol, r.Text) }

func (b *box) get(path string, answer any) error { return b.ask("GET", path, nil, answer) }

func (b *box) request(ids ...capability.ActivationID) ([]byte, error) {
	var wish console.Wish
	for _, id := range ids {
		wish.Desired = append(wish.Desired, capability.Desired{ActivationID: id, Count: planted})
	}
	var w console.Written
	err := b.ask("POST", "requests", wish, &w)
	return w.File, err
}

func (b *box) imports(file []byte) error {
	var in console.Imported
	return b.ask("POST", "responses", file, &in)
}
