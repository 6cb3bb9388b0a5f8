// Package rig sets up what a long test and a measurement need around a daemon: the programs as they are built, a back office, a software TPM, a state directory,
// and the sockets that a service manager would hold. Everything in it is a real process. It is for the programs and tests of this repository, and never shipped.
package rig

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
	"syscall"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// Box is one machine: a TPM, a state directory, and now and then a daemon. Its two sockets live longer than the daemon, as under a service manager: who comes
// while none runs waits for the next, and the first answer says that it has started.
//
// Dir, Program and Trust are needed; its path must be short, for the names of sockets. State and TPM are in Dir. Its methods are for one goroutine, but Ask and what
// calls it are for any number.
type Box struct {
	Dir     string
	Program string // the daemon
	Trust   string // file with the producer's bundle

	Bus         string        // address of the TPM as the daemon sees it; empty: its own
	Level       string        // of the log; empty: info
	Environment []string      // more of it
	Cores       bool          // it may dump, into the directory cwd
	Within      time.Duration // an answer is waited for so long; zero: a minute

	Chip           *tpmtest.TPM
	Clients, Admin net.Listener
	Cmd            *exec.Cmd     // the newest daemon
	Log            *bytes.Buffer // of it: to be read when it has ended
	Ended          chan struct{} // closed once it has; nil before the first

	files []*os.File
}

// State is the daemon's state directory.
func (b *Box) State() string { return filepath.Join(b.Dir, "state") }

// Socket is the administrators' socket.
func (b *Box) Socket() string { return filepath.Join(b.Dir, "a") }

// Address is where clients connect.
func (b *Box) Address() string { return b.Clients.Addr().String() }

// Open gives the machine its TPM, a new one if certificates are named, and its sockets.
func (b *Box) Open(certificates ...tpmtest.Certificate) (err error) {
	for _, name := range []string{"tpm", "state"} {
		if err := os.MkdirAll(filepath.Join(b.Dir, name), 0o700); err != nil {
			return err
		}
	}
	if b.Chip, err = tpmtest.New(filepath.Join(b.Dir, "tpm"), certificates...); err != nil {
		return err
	}
	if b.Clients, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if b.Admin, err = net.Listen("unix", b.Socket()); err != nil {
		return err
	}
	for _, l := range []interface{ File() (*os.File, error) }{b.Clients.(*net.TCPListener), b.Admin.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			return err
		}
		b.files = append(b.files, f)
	}
	return nil
}

// Close ends all of it. The directory stays.
func (b *Box) Close() {
	b.Kill()
	for _, f := range b.files {
		f.Close()
	}
	for _, l := range []net.Listener{b.Clients, b.Admin} {
		if l != nil {
			l.Close()
		}
	}
	b.files, b.Clients, b.Admin = nil, nil, nil
	if b.Chip != nil {
		b.Chip.Close()
	}
}

// Spawn starts the daemon and does not wait. The descriptors are numbered from 3, and LISTEN_PID is the daemon's own, which only a shell that becomes it knows.
func (b *Box) Spawn() error {
	bus, level := b.Bus, b.Level
	if bus == "" {
		bus = b.Chip.Address()
	}
	if level == "" {
		level = "info"
	}
	become := `LISTEN_PID=$$ exec "$@"`
	if b.Cores {
		become = "ulimit -c unlimited; " + become
	}
	cmd := exec.Command("sh", "-c", become, "sh", b.Program, "--state", b.State(), "--tpm", bus, "--trust", b.Trust, "--log-level", level)
	cmd.Env = append(append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=clients:admin"), b.Environment...)
	if b.Cores {
		cmd.Dir = filepath.Join(b.Dir, "cwd")
		if err := os.MkdirAll(cmd.Dir, 0o700); err != nil {
			return err
		}
	}
	cmd.ExtraFiles = b.files
	b.Log = new(bytes.Buffer)
	cmd.Stderr = b.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	b.Cmd, b.Ended = cmd, ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return nil
}

// Start starts the daemon and waits for its first answer.
func (b *Box) Start() error {
	if err := b.Spawn(); err != nil {
		return err
	}
	_, err := b.Health()
	return err
}

// Runs says whether a daemon was started that has not ended.
func (b *Box) Runs() bool {
	if b.Ended == nil {
		return false
	}
	select {
	case <-b.Ended:
		return false
	default:
		return true
	}
}

// Kill is kill -9, of nothing where nothing runs.
func (b *Box) Kill() {
	if b.Ended == nil {
		return
	}
	b.Cmd.Process.Kill()
	<-b.Ended
}

// Halt stops the daemon cleanly.
func (b *Box) Halt() error {
	b.Cmd.Process.Signal(syscall.SIGTERM)
	<-b.Ended
	if code := b.Cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the daemon stopped with %d:\n%s", code, b.Log)
	}
	return nil
}

// Ask is one exchange over the administrators' socket: body is nothing, bytes as they are or something for JSON, answer is nothing, a *[]byte for what comes, or
// something for JSON. The error is a *Silence or a *Refusal, or of the answer.
func (b *Box) Ask(method, path string, body, answer any) error {
	within := b.Within
	if within == 0 {
		within = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	ended := b.Ended
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
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
		return new(net.Dialer).DialContext(ctx, "unix", b.Socket())
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
		p := &Refusal{Status: w.StatusCode}
		if json.Unmarshal(back, &p.Problem) != nil {
			p.Text = string(back)
		}
		return p
	}
	switch answer := answer.(type) {
	case nil:
		return nil
	case *[]byte:
		*answer = back
		return nil
	}
	return json.Unmarshal(back, answer)
}

// Silence is no answer: nobody knows whether it became a fact.
type Silence struct {
	path string
	err  error
	log  string
}

func (s *Silence) Error() string { return fmt.Sprintf("%s: %v\n%s", s.path, s.err, s.log) }
func (s *Silence) Unwrap() error { return s.err }

// silent has the daemon's log where it has ended.
func (b *Box) silent(path string, err error) error {
	s := &Silence{path: path, err: err}
	select {
	case <-b.Ended:
		s.log = b.Log.String()
	default:
	}
	return s
}

// Refusal is an answer that is a no.
type Refusal struct {
	console.Problem
	Status int
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Symbol, r.Text) }

// Health is what the daemon says of itself.
func (b *Box) Health() (h console.Health, err error) { return h, b.Ask("GET", "health", nil, &h) }

// Request is a new request file.
func (b *Box) Request(wish console.Wish) ([]byte, error) {
	var w console.Written
	err := b.Ask("POST", "requests", wish, &w)
	return w.File, err
}

// Import applies a response file.
func (b *Box) Import(file []byte) error { return b.Ask("POST", "responses", file, nil) }

// CopyTree is cp -r of plain files; sockets stay behind. A file that goes away meanwhile is left out, as a copy of a running machine does.
func CopyTree(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		var err error
		switch {
		case e.IsDir():
			err = CopyTree(source, target)
		case e.Type().IsRegular():
			var b []byte
			if b, err = os.ReadFile(source); err == nil {
				err = os.WriteFile(target, b, 0o600)
			}
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
