package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// office is a freehold serve that a script has started.
type office struct {
	end  func(*testscript.TestScript)
	url  string
	http *http.Client
}

var servingLine = regexp.MustCompile(`^serving (\S+)  certificate SHA-256 ([0-9A-F]{64})\n$`)

// startOffice [ARGS]: office ARGS starts freehold serve with them, office alone ends it.
func startOffice(ts *testscript.TestScript, _ bool, args []string) {
	o := ts.Value(boxKey("office")).(*office)
	if o.end != nil {
		o.end(ts)
		o.end = nil
	}
	if len(args) == 0 {
		return
	}
	c := exec.Command("freehold", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	c.Dir, c.Env = ts.MkAbs("."), append(os.Environ(), "NOTIFY_SOCKET=")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	o.end = func(ts *testscript.TestScript) {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
		if err := c.Wait(); err != nil {
			ts.Fatalf("freehold serve: %v\n%s", err, &stderr)
		}
	}
	ts.Defer(func() {
		if o.end != nil {
			o.end(ts)
			o.end = nil
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	m := servingLine.FindStringSubmatch(line)
	if err != nil || m == nil {
		ts.Fatalf("freehold serve said %q: %v", line, err)
	}
	o.url = m[1]
	o.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { // it is pinned
		if got := fmt.Sprintf("%X", sha256.Sum256(raw[0])); got != m[2] {
			return errors.New("the certificate is " + got)
		}
		return nil
	}}}}
}

// api STATUS METHOD PATH [BODY | @FILE] [key=TEXT] [accept=KIND] asks the office's REST API with the token $TOKEN, wants that status, and leaves the answer in the file answer.
func api(ts *testscript.TestScript, _ bool, args []string) {
	o := ts.Value(boxKey("office")).(*office)
	var body io.Reader
	kind, header := "", http.Header{"Authorization": {"Bearer " + ts.Getenv("TOKEN")}}
	for _, arg := range args[3:] {
		switch {
		case strings.HasPrefix(arg, "@"):
			body, kind = strings.NewReader(ts.ReadFile(arg[1:])), "application/octet-stream"
		case strings.HasPrefix(arg, "key="):
			header.Set("Idempotency-Key", arg[4:])
		case strings.HasPrefix(arg, "accept="):
			header.Set("Accept", arg[7:])
		default:
			body, kind = strings.NewReader(arg), "application/json"
		}
	}
	r, err := http.NewRequest(args[1], o.url+"/api/v1"+args[2], body)
	ts.Check(err)
	if r.Header = header; kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := o.http.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), b, 0o600))
	if got := fmt.Sprint(resp.StatusCode); got != args[0] {
		ts.Fatalf("status %s, want %s: %s", got, args[0], b)
	}
	if strings.HasSuffix(resp.Header.Get("Content-Type"), "json") {
		ts.Logf("[answer]\n%s", b)
	}
}

// keep NAME FILE PATTERN keeps what the first group of a pattern finds in a file in $NAME.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if m == nil {
		ts.Fatalf("%s has nothing like %s", args[1], args[2])
	}
	ts.Setenv(args[0], m[1])
}
