package console

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
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
)

// serve puts a console on a Unix socket, as the daemon does, and gives a client of it.
func serve(t *testing.T, c *Console) func(method, path, body string) (int, Problem, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock := filepath.Join(dir, "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c.Handler(), ConnContext: WithPeer}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sock)
	}}}
	return func(method, path, body string) (int, Problem, string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://leasehold"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p Problem
		if bytes.HasPrefix(b, []byte("{")) {
			if err := json.Unmarshal(b, &p); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
		}
		return resp.StatusCode, p, string(b)
	}
}

// steering is every path that changes something, or keeps the ledger busy.
func steering() []string {
	return []string{
		"POST requests", "POST responses", "POST answers", "POST returns", "POST drains", "POST drains/cancel", "POST drops", "POST model/check", "PUT model", "DELETE model", "POST reservations", "PUT reservations",
		"POST reservations/edit", "DELETE reservations/1", "POST policies", "POST seats/disconnect", "POST time", "PUT hostids", "POST hostids/planned",
	}
}

// The kernel says who asks: whoever may not steer is refused before anything is read, on every path that steers, and may look.
func TestWhoMaySteer(t *testing.T) {
	var asked []Peer
	c := refusing(t, capability.ErrRollback)
	c.Allowed = func(p Peer) bool { asked = append(asked, p); return false }
	c.Doctor = func(context.Context) []Examination { return []Examination{{What: "x", Result: "failure"}} }
	call := serve(t, c)
	for _, path := range steering() {
		method, path, _ := strings.Cut(path, " ")
		if status, p, _ := call(method, Base+path, "{}"); status != http.StatusForbidden || p.Code != capability.ErrForbidden {
			t.Errorf("%s: %d %s", path, status, p.Code)
		}
	}
	if len(asked) != len(steering()) || asked[0].UID != os.Getuid() || asked[0].PID != os.Getpid() {
		t.Errorf("the kernel named %+v", asked)
	}
	if status, _, body := call("GET", Base+"health", ""); status != 200 || !strings.Contains(body, `"refusing"`) || !strings.Contains(body, "LH-4003") {
		t.Errorf("health: %d %s", status, body)
	}
	if status, _, body := call("GET", Base+"doctor", ""); status != 200 || !strings.Contains(body, "failure") {
		t.Errorf("doctor: %d %s", status, body)
	}
	for _, path := range []string{"features", "devices", "model", "pools", "reservations", "reservations/model", "policies", "seats"} {
		if status, p, _ := call("GET", Base+path, ""); status != http.StatusConflict || p.Code != capability.ErrRollback {
			t.Errorf("%s: %d %s", path, status, p.Code)
		}
	}
}

// A refusal is heard by whoever sends much and wants the connection closed, also when it is decided before anything of it was read.
func TestRefusalIsHeardBySenders(t *testing.T) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	c := refusing(t, capability.ErrCorrupt)
	server := &http.Server{Handler: c.Handler(), ConnContext: WithPeer}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	for range 50 {
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Repeat("x", 900<<10)
		go fmt.Fprintf(conn, "POST %smodel/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", Base, len(body), body)
		b, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !bytes.Contains(b, []byte("LH-4004")) {
			t.Fatalf("%v, heard %.100q", err, b)
		}
	}
}

// While trusted storage cannot be used, every change is refused with the reason, but for those that lead to its repair.
func TestRefusingChangesNothing(t *testing.T) {
	call := serve(t, refusing(t, capability.ErrCorrupt))
	if _, p, _ := call("POST", Base+"responses", "{}"); p.Code != capability.ErrFileKind {
		t.Errorf("a response is read: %+v", p)
	}
	for _, path := range steering() {
		method, path, _ := strings.Cut(path, " ")
		if path == "requests" || path == "responses" || path == "time" || path == "hostids" {
			continue
		}
		if _, p, _ := call(method, Base+path, "{}"); p.Code != capability.ErrCorrupt || p.Symbol != "E_CORRUPT" {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

func TestBadForms(t *testing.T) {
	call, _ := running(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               capability.Code
	}{
		{"POST", Base + "requests", `{"desired":`, 400, capability.ErrForm},
		{"POST", Base + "requests", `{"desired":[]} {}`, 400, capability.ErrForm},
		{"POST", Base + "requests", `{"desired":[],"desired":[]}`, 400, capability.ErrForm},
		{"POST", Base + "requests", `{"wanted":[]}`, 400, capability.ErrForm},
		{"POST", Base + "requests", `{"desired":[{"feature":"render","count":1}]}`, 400, capability.ErrForm},
		{"POST", Base + "requests", `{"desired":"` + strings.Repeat("x", maxBody) + `"}`, 400, capability.ErrForm},
		{"POST", Base + "returns", `{"activationId":"AAAAA-AAAAA-AAAAA-AAAAA"}`, 400, capability.ErrForm},
		{"POST", Base + "returns", `{"activationId":"","copies":-1}`, 400, capability.ErrForm},
		{"POST", Base + "responses", strings.Repeat("x", capability.MaxFile+2), 422, capability.ErrFileSize},
		{"POST", Base + "responses", "hello", 422, capability.ErrFileKind},
		{"POST", Base + "answers", "hello", 422, capability.ErrFileKind},
		{"POST", Base + "answers", strings.Repeat("x", capability.MaxFile+2), 422, capability.ErrFileSize},
		{"GET", Base + "nothing", "", 404, capability.ErrNotFound},
		{"GET", "/", "", 404, capability.ErrNotFound},
		{"GET", "/api/v1/instances/other/health", "", 404, capability.ErrNotFound},
		{"DELETE", Base + "health", "", 404, capability.ErrNotFound},
	} {
		status, p, body := call(c.method, c.path, c.body)
		if status != c.status || p.Code != c.code {
			t.Errorf("%s %s %.40s: %d %s, want %d %s\n%.200s", c.method, c.path, c.body, status, p.Code, c.status, c.code, body)
		}
	}
}

// When trusted storage or the TPM fails under a command, the administrator hears which, and that the daemon is gone.
func TestProblemNamesWhatEndedTheDaemon(t *testing.T) {
	full := errors.New("no space")
	c := &Console{CodeOf: func(err error) capability.Code {
		if errors.Is(err, full) {
			return capability.ErrStorageFull
		}
		return 0
	}}
	p := c.problem(fmt.Errorf("write: %w: %w", appliance.ErrStorage, full))
	if p.Code != capability.ErrStorageFull || !strings.Contains(p.Text, "the daemon has ended") {
		t.Errorf("%+v", p)
	}
	if p := c.problem(capability.Refuse(capability.ErrHold, "", "")); p.Code != capability.ErrHold {
		t.Errorf("%+v", p)
	}
}

// An error without a code is broken and says so; what a stopping appliance answers is temporary.
func TestProblemOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		code capability.Code
		http int
	}{
		{capability.Refuse(capability.ErrNoSeat, "render", ""), capability.ErrNoSeat, 409},
		{fmt.Errorf("import: %w", capability.Refuse(capability.ErrNotOurs, "", "")), capability.ErrNotOurs, 422},
		{&capability.Malformed{Field: "count", Cause: "negative"}, capability.ErrForm, 400},
		{appliance.ErrEnded, capability.ErrBusy, 503},
		{fmt.Errorf("write: %w", appliance.ErrStorage), capability.ErrBusy, 503},
		{context.DeadlineExceeded, capability.ErrBusy, 503},
		{errors.New("no idea"), capability.ErrInternal, 500},
	} {
		p := ProblemOf(c.err)
		if p.Code != c.code || status(p.Code) != c.http || p.Text == "" || p.Symbol == "" {
			t.Errorf("%v: %+v, HTTP %d", c.err, p, status(p.Code))
		}
	}
}
