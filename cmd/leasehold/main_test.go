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
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// TestMain is also the program itself, so that the tests run what users run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == signalled {
		untilSignalled()
	}
	if os.Getenv("LEASEHOLD_TEST_PROGRAM") != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"leasehold": main})
}

// The scripts say what a user without a daemon meets. Each runs in an empty directory.
func TestScripts(t *testing.T) {
	p := newProducer(t, 1)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("LEASEHOLD_SOCKET", e.WorkDir+"/socket")
			e.Setenv("LEASEHOLD_SERVER", "127.0.0.1:1")
			r := p.response(t, here(), 12)
			flipped := bytes.Clone(r)
			flipped[len(flipped)-1] ^= 1
			for name, b := range map[string][]byte{"producer.lht": p.trust, "other.lht": newProducer(t, 50).trust, "RSP-0012.LHR": r, "flipped.lhr": flipped, "cut.lhr": r[:len(r)/2], "REQ-0003.LHQ": request(t, 3)} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), b, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// machine is where one test runs the program: a directory, an environment, and a daemon if it started one.
type machine struct {
	t   *testing.T
	dir string
	env []string
}

func newMachine(t *testing.T) *machine {
	dir, err := os.MkdirTemp("", "lh") // a socket's path is at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &machine{t, dir, []string{
		"LEASEHOLD_TEST_PROGRAM=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LEASEHOLD_SOCKET=" + dir + "/socket", "LEASEHOLD_SERVER=127.0.0.1:1",
		"GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}}
}

// run is the program's answer to one command line; file names are in the machine's directory.
func (m *machine) run(args ...string) (status int, stdout, stderr string) {
	m.t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Dir, c.Env = m.dir, m.env
	var out, err bytes.Buffer
	c.Stdout, c.Stderr = &out, &err
	failed := c.Run()
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		m.t.Fatal(failed)
	}
	return c.ProcessState.ExitCode(), out.String(), err.String()
}

func (m *machine) put(name string, b []byte) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		m.t.Fatal(err)
	}
}

func here() hostid.ID { return hostid.OfDigest(hostid.TPMEK, [32]byte{0x7f, 0x3a, 0x22, 0xc9}) }

func there() hostid.ID { return hostid.OfDigest(hostid.TPMEK, [32]byte{0x91, 0xbb, 0x0c, 0x4d}) }

// daemon answers on the machine's socket with what a test gives it, by method and path.
type daemon struct {
	mu      sync.Mutex
	answers map[string]func(body []byte) (any, *capability.Refusal)
	bodies  map[string][]byte // of the last request each
}

func (m *machine) daemon() *daemon {
	d := &daemon{answers: map[string]func([]byte) (any, *capability.Refusal){}, bodies: map[string][]byte{}}
	l, err := net.Listen("unix", m.dir+"/socket")
	if err != nil {
		m.t.Fatal(err)
	}
	s := &http.Server{Handler: d, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { s.Serve(l); close(ended) }()
	m.t.Cleanup(func() { s.Shutdown(context.Background()); <-ended })
	d.says("GET health", console.Health{Version: "development", Host: here(), State: "serving", Start: "stopped cleanly", Since: 1795161600, Now: 1795248000, Epoch: 7, Applied: 12, AppliedAt: 1795160000,
		Requests: 12, Total: 50, Used: 43, Features: 6, Devices: 3, Expiry: 1806451199, Policy: capability.DefaultPolicy(), Media: "auto",
		Binding: console.Binding{Rule: "secondaries", Outcome: "grace", Score: 2, Of: 5, Changes: []string{"02004C4F4F50/ETHERNET is gone", "S1/DISK is gone"}, Since: 1795240000, Grace: 1795844800},
		Alarms:  []console.Alarm{{Code: capability.ErrDeviceKey, Title: capability.ErrDeviceKey.Entry().Title, Count: 3, Last: 1795247000, Subject: "WS-1"}},
		Usage:   &console.Usage{Last: 40, Acknowledged: 28, Waiting: 12, Since: 1795160000},
		Clock:   &console.Clock{State: "trusted", Trusted: 1795248000, System: 1795248000}})
	return d
}

func (d *daemon) says(what string, v any) {
	if h, is := v.(console.Health); is && h.Conditions == nil {
		h.Conditions = console.Conditions(&h)
		v = h
	}
	d.does(what, func([]byte) (any, *capability.Refusal) { return v, nil })
}

func (d *daemon) does(what string, f func(body []byte) (any, *capability.Refusal)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[what] = f
}

// asked is the body of the last request of a kind.
func (d *daemon) asked(t *testing.T, what string, v any) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := json.Unmarshal(d.bodies[what], v); err != nil {
		t.Error(err)
	}
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 2*capability.MaxFile))
	what := r.Method + " " + strings.TrimPrefix(r.URL.Path, console.Base)
	d.mu.Lock()
	f := d.answers[what]
	d.bodies[what] = body
	d.mu.Unlock()
	if f == nil || err != nil {
		http.NotFound(w, r)
		return
	}
	v, no := f(body)
	if no != nil {
		status := http.StatusConflict
		if no.Code.Entry().Exit == capability.ExitTemporary {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
		v = console.Problem{Code: no.Code, Symbol: no.Code.Symbol(), Denial: no.Denial, Text: no.Sentence()}
	}
	if all, is := v.(stream); is {
		for _, v := range all {
			json.NewEncoder(w).Encode(v)
		}
		return
	}
	json.NewEncoder(w).Encode(v)
}

// stream is an answer of several objects.
type stream []any

// fourLines checks the form of an error, and that nothing that steers a terminal is in it.
func fourLines(t *testing.T, what, stderr string, code capability.Code) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if len(lines) > 4 {
		lines = lines[len(lines)-4:] // talk may come before
	}
	e := code.Entry()
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "error: "+code.String()+" ") || lines[1] != "cause: "+e.Cause || !strings.HasPrefix(lines[2], "next: ") || lines[3] != "more: leasehold explain "+code.String() {
		t.Errorf("%s: %s is wanted, and it says\n%s", what, code, stderr)
	}
	if strings.ContainsAny(stderr, "\x1b\x07\x00") {
		t.Errorf("%s: control codes in %q", what, stderr)
	}
}

func TestWithoutADaemon(t *testing.T) {
	m := newMachine(t)
	p := newProducer(t, 1)
	m.put("producer.lht", p.trust)
	m.put("noise.lht", []byte("noise"))
	m.put("RSP-0012.LHR", p.response(t, here(), 12))
	for _, row := range []struct {
		args   string
		status int
		code   capability.Code
		stdout string
	}{
		{"", 0, 0, "Available Commands:"},
		{"--help", 0, 0, "LEASEHOLD_SERVER"},
		{"help acquire", 0, 0, "--wait"},
		{"version", 0, 0, "leasehold/1"},
		{"completion bash", 0, 0, "leasehold"},
		{"explain", 0, 0, "LH-3104"},
		{"explain e_no_seat", 0, 0, "LH-3104 E_NO_SEAT: no seat free\ncause: "},
		{"explain 9999", 4, capability.ErrNotFound, ""},
		{"inspect --trust producer.lht RSP-0012.LHR", 0, 0, "signature: GOOD  key producer-2026-A (Ed25519 good, ML-DSA-87 good)  for LH-7F3A-22C9\nresponse 12, answers request 12"},
		{"inspect RSP-0012.LHR", 20, 0, "signature: UNKNOWN KEY"},
		{"inspect producer.lht", 20, 0, "signature: UNKNOWN KEY  trust bundle of Example Works"},
		{"inspect --trust noise.lht RSP-0012.LHR", 2, capability.ErrTrust, ""},
		{"inspect --trust none.lht RSP-0012.LHR", 2, capability.ErrTrust, ""},
		{"inspect none", 1, capability.ErrFileRead, ""},
		{"inspect .", 1, capability.ErrFileRead, ""},
		{"inspect noise.lht", 20, capability.ErrFileKind, "signature: BAD"},
		{"inspect", 2, capability.ErrUsage, ""},
		{"hlep", 2, capability.ErrUsage, ""},
		{"--nonsense", 2, capability.ErrUsage, ""},
		{"status", 3, capability.ErrNoDaemon, ""},
		{"status --json", 3, capability.ErrNoDaemon, ""},
		{"features", 3, capability.ErrNoDaemon, ""},
		{"devices", 3, capability.ErrNoDaemon, ""},
		{"doctor", 3, capability.ErrNoDaemon, "failure  daemon"},
		{"request -o .", 3, capability.ErrNoDaemon, ""},
		{"request", 2, capability.ErrUsage, ""},
		{"request -o . --stick .", 2, capability.ErrUsage, ""},
		{"request -o . --count 3", 2, capability.ErrUsage, ""},
		{"request -o . --id WRONG", 2, capability.ErrUsage, ""},
		{"request -o . --id " + string(activationID(1)) + " --count x", 2, capability.ErrUsage, ""},
		{"request -o . extra", 2, capability.ErrUsage, ""},
		{"return", 2, capability.ErrUsage, ""},
		{"return " + string(activationID(1)) + " --count 0", 2, capability.ErrUsage, ""},
		{"return " + string(activationID(1)) + " -o .", 3, capability.ErrNoDaemon, ""},
		{"return nothing", 2, capability.ErrUsage, ""},
		{"import", 2, capability.ErrUsage, ""},
		{"import none", 1, capability.ErrFileRead, ""},
		{"import RSP-0012.LHR", 3, capability.ErrNoDaemon, ""},
		{"import .", 3, capability.ErrNoDaemon, ""},
		{"acquire", 2, capability.ErrUsage, ""},
		{"acquire render:x", 2, capability.ErrUsage, ""},
		{"acquire render other", 2, capability.ErrUsage, ""},
		{"acquire render --count 0", 2, capability.ErrUsage, ""},
		{"acquire render --count -1", 2, capability.ErrUsage, ""},
		{"acquire render --wait=-1s", 2, capability.ErrUsage, ""},
		{"acquire render --json -- true", 2, capability.ErrUsage, ""},
		{"acquire render -- no-such-program", 4, capability.ErrNotFound, ""},
		{"acquire render", 2, capability.ErrTrust, ""},
		{"acquire render --trust producer.lht", 75, capability.ErrServerUnreachable, ""},
		{"acquire render --trust producer.lht -- true", 75, capability.ErrServerUnreachable, ""},
		{"release render --trust producer.lht", 4, capability.ErrNoSuchLease, ""},
		{"release render:1.0", 2, capability.ErrUsage, ""},
		{"release render --reason x", 2, capability.ErrUsage, ""},
		{"release render --device x/y", 2, capability.ErrUsage, ""},
		{"release render --device AA/DEVICE_KEY", 3, capability.ErrNoDaemon, ""},
		{"man none", 1, capability.ErrFileRead, ""},
	} {
		status, stdout, stderr := m.run(strings.Fields(row.args)...)
		if status != row.status || !strings.Contains(stdout, row.stdout) {
			t.Errorf("%s: exit status %d where %d is wanted\n%s%s", row.args, status, row.status, stdout, stderr)
		}
		if row.code != 0 {
			fourLines(t, row.args, stderr, row.code)
		} else if stderr != "" {
			t.Errorf("%s: says %s", row.args, stderr)
		}
		if strings.Contains(stdout, "\x1b") {
			t.Errorf("%s: escapes in %q", row.args, stdout)
		}
	}
}

// The output is the same on a pipe, without color, on a dumb terminal and with talk thrown away: no escape, all data.
func TestPlainOutput(t *testing.T) {
	m := newMachine(t)
	m.daemon().says("GET features", []console.Feature{{LineItem: capability.LineItem{Feature: "render\x1b[31m\a"}, Status: "valid"}})
	plain := m.env
	for _, args := range []string{"status", "features", "explain LH-3104", "version", "help"} {
		m.env = plain
		_, want, _ := m.run(strings.Fields(args)...)
		for _, env := range []string{"NO_COLOR=1", "TERM=dumb", "CLICOLOR_FORCE=1", "COLUMNS=20", "LANG=C"} {
			m.env = append(plain[:len(plain):len(plain)], env)
			if _, out, _ := m.run(strings.Fields(args)...); out != want || strings.ContainsAny(out, "\x1b\a") {
				t.Errorf("%s with %s: %q", args, env, out)
			}
		}
	}
}

func TestStoppedDaemonPrintsTheCommandThatStartsIt(t *testing.T) {
	if _, _, stderr := newMachine(t).run("status"); !strings.Contains(stderr, "next: systemctl start leaseholdd\n") {
		t.Error(stderr)
	}
}

func TestMisspelled(t *testing.T) {
	if _, _, stderr := newMachine(t).run("hlep"); !strings.Contains(stderr, "next: leasehold help (did you mean that?)\n") {
		t.Error(stderr)
	}
}

func TestExplainEachCode(t *testing.T) {
	m := newMachine(t)
	status, all, _ := m.run("explain")
	if status != 0 {
		t.Fatal(status)
	}
	for i, e := range capability.Catalog() {
		if !strings.Contains(all, e.Code.String()) || !strings.Contains(all, e.Title) {
			t.Errorf("%s is not in the list", e.Code)
		}
		if i%8 != 0 {
			continue // each by itself costs a process; the list has the same source
		}
		if status, out, _ := m.run("explain", e.Code.String()); status != 0 || out != fmt.Sprintf("%s %s: %s\ncause: %s\nnext: %s\nexit status: %d\n", e.Code, e.Symbol, e.Title, e.Cause, e.Next, e.Exit) {
			t.Errorf("%s: %d, %s", e.Code, status, out)
		}
	}
}

// The list of codes grows, so it has no golden file: its form is compared with that of the catalog.
func TestCodesAsJSON(t *testing.T) {
	status, out, _ := newMachine(t).run("explain", "--json")
	var list struct {
		Schema   string                 `json:"schema"`
		Warnings []string               `json:"warnings"`
		Codes    []terminal.Explanation `json:"codes"`
	}
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil || status != 0 || list.Schema != "leasehold.codes/1" || list.Warnings == nil {
		t.Fatal(status, err, list.Schema)
	}
	all := capability.Catalog()
	if len(list.Codes) != len(all) {
		t.Fatalf("%d codes of %d", len(list.Codes), len(all))
	}
	for i, e := range all {
		if list.Codes[i] != terminal.Explanation(e) {
			t.Errorf("%+v where the catalog has %+v", list.Codes[i], e)
		}
	}
}

func TestManPagesForEachCommand(t *testing.T) {
	m := newMachine(t)
	if status, _, stderr := m.run("man", "."); status != 0 {
		t.Fatal(stderr)
	}
	for _, c := range command(nil, io.Discard, io.Discard).Commands() {
		if _, err := os.Stat(filepath.Join(m.dir, "leasehold-"+c.Name()+".1")); (err == nil) == c.Hidden {
			t.Errorf("man page of %s: %v", c.Name(), err)
		}
	}
}

// Every flag of every command says what it is for, and those with a variable name it.
func TestFlagsNameTheirVariables(t *testing.T) {
	_, help, _ := newMachine(t).run("acquire", "--help")
	for _, v := range []string{"$LEASEHOLD_SOCKET", "$LEASEHOLD_SERVER", "$LEASEHOLD_TRUST", "$LEASEHOLD_DIR", "$LEASEHOLD_WAIT"} {
		if !strings.Contains(help, v) {
			t.Errorf("the help does not name %s", v)
		}
	}
}

// producer is a vendor whose responses are sealed to a TPM that is not here.
type producer struct {
	trust       []byte
	key         *wire.ProducerKey
	certificate []byte
}

func newProducer(t *testing.T, n byte) *producer {
	t.Helper()
	c := wire.New()
	root, err := wire.NewProducerKey(bytes.Repeat([]byte{n}, wire.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	p := &producer{trust: c.EncodeTrust(&wire.Trust{Producer: "Example Works", Root: root.Public})}
	if p.key, err = wire.NewProducerKey(bytes.Repeat([]byte{n + 1}, wire.SeedSize)); err != nil {
		t.Fatal(err)
	}
	if p.certificate, err = c.CertifyKey(root, &wire.KeyCertificate{Keys: p.key.Public, Name: "producer-2026-A", From: 1}); err != nil {
		t.Fatal(err)
	}
	return p
}

func activationID(n byte) capability.ActivationID {
	id, err := capability.NewActivationID(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		panic(err)
	}
	return id
}

// prints compares what a command prints with a file, as JSON and for people.
func (m *machine) prints(schema, args string, status int) {
	m.t.Helper()
	for _, form := range []struct{ suffix, flag string }{{".json", "--json"}, {".txt", ""}} {
		got, out, stderr := m.run(strings.Fields(args + " " + form.flag)...)
		if got != status {
			m.t.Errorf("%s: exit status %d\n%s", args, got, stderr)
		}
		if form.flag != "" {
			var head struct {
				Schema   string
				Warnings []string
			}
			if err := json.Unmarshal([]byte(out), &head); err != nil || head.Warnings == nil || !strings.HasPrefix(head.Schema, "leasehold."+strings.TrimSuffix(schema, "-request")+"/") {
				m.t.Errorf("%s: %v, %+v", args, err, head)
			}
		}
		out = strings.ReplaceAll(out, m.dir, "DIR")
		file := filepath.Join("testdata", schema+form.suffix)
		if os.Getenv("LEASEHOLD_UPDATE") != "" {
			if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
				m.t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != out {
			m.t.Errorf("%s is not as in %s: %v\n%s", args, file, err, out)
		}
	}
}
