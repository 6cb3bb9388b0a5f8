package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

const (
	patience  = time.Minute // a return waits for the TPM and the disk
	maxAnswer = 16 << 20    // bytes of a reply: 4,096 line items or ten thousand devices
)

// call asks the daemon on its socket. in is sent as JSON, or as it is when it is []byte; the answer is read into out, octets into a *[]byte.
func (p *program) call(ctx context.Context, method, path string, in, out any) error {
	body, kind, err := encode(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://leaseholdd"+console.Base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	w, err := p.daemon(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	b, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer+1))
	if err != nil || len(b) > maxAnswer {
		return terminal.Coded(capability.ErrNoDaemon, fmt.Errorf("read the answer of the daemon, %d bytes so far: %w", len(b), errors.Join(err, io.ErrUnexpectedEOF)))
	}
	if w.StatusCode != http.StatusOK {
		return problemOf(w, b)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return terminal.Coded(capability.ErrInternal, fmt.Errorf("the daemon's answer to %s is not the JSON this program knows: %w", path, err))
	}
	return nil
}

// stream asks the daemon for an answer that may be larger than memory, and reads it with f.
func (p *program) stream(ctx context.Context, path string, f func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://leaseholdd"+console.Base+path, nil)
	if err != nil {
		return err
	}
	w, err := p.daemon(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer))
		if err != nil {
			return terminal.Coded(capability.ErrNoDaemon, err)
		}
		return problemOf(w, b)
	}
	return f(w.Body)
}

func (p *program) daemon(r *http.Request) (*http.Response, error) {
	if p.remote.away() {
		return p.remoteDaemon(r)
	}
	if p.remote.token != "" { // somebody has signed in on this machine
		r.Header.Set("Authorization", "Bearer "+p.remote.token)
	}
	daemon := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.socket)
		},
	}}
	w, err := daemon.Do(r)
	if err != nil {
		code := capability.ErrNoDaemon
		if errors.Is(err, fs.ErrPermission) {
			code = capability.ErrForbidden
		}
		return nil, terminal.Coded(code, fmt.Errorf("%s: %w", p.socket, cause(err)))
	}
	return w, nil
}

func problemOf(w *http.Response, b []byte) error {
	var problem console.Problem
	if json.Unmarshal(b, &problem) != nil || problem.Code == 0 {
		return terminal.Coded(capability.ErrInternal, fmt.Errorf("the daemon answers %s and says no code", w.Status))
	}
	problem.Denial.Code = problem.Code
	no := &capability.Refusal{Denial: problem.Denial}
	if w.StatusCode == http.StatusServiceUnavailable {
		return unserved{no}
	}
	return no
}

// unserved is the answer of a daemon that cannot start, or is about to end: it has nothing of what it is asked for, and says why.
type unserved struct{ *capability.Refusal }

func (u unserved) Unwrap() error { return u.Refusal }

func encode(in any) (body []byte, kind string, err error) {
	switch x := in.(type) {
	case nil:
		return nil, "application/json", nil
	case []byte:
		return x, "application/octet-stream", nil
	}
	body, err = json.Marshal(in)
	return body, "application/json", err
}

// cause is what the network said, without the address that means nothing here.
func cause(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (p *program) health(ctx context.Context) (*console.Health, error) {
	var h console.Health
	return &h, p.call(ctx, http.MethodGet, "health", nil, &h)
}
