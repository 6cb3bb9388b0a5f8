package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/capability/web"
)

// process starts a program under a name, by which it can be halted or crashed, and waits until its output has a match.
func (m *machines) process(ts *testscript.TestScript, name, begun string, args ...string) []string {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Path, cmd.Err = m.program(ts, args[0]), nil
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "GOCOVERDIR="+ts.Getenv("GOCOVERDIR"))
	d := m.begin(ts, name, cmd)
	want := regexp.MustCompile(begun)
	for end := time.Now().Add(60 * time.Second); ; {
		if found := want.FindStringSubmatch(ts.ReadFile(name + ".log")); found != nil {
			return found
		}
		select {
		case <-d.ended:
			ts.Fatalf("%s ended with %d:\n%s", name, d.code, ts.ReadFile(name+".log"))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			ts.Fatalf("%s does not begin:\n%s", name, ts.ReadFile(name+".log"))
		}
	}
}

// program is where one of ours is.
func (m *machines) program(ts *testscript.TestScript, name string) string {
	for _, dir := range regexp.MustCompile(string(os.PathListSeparator)).Split(ts.Getenv("PATH"), -1) {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return dir + "/" + name
		}
	}
	ts.Fatalf("no program %s", name)
	return ""
}

// office serves the back office in fh, again on the port it had before, and sets $OFFICE and $PIN.
func (m *machines) office(ts *testscript.TestScript, _ []string) {
	address := ts.Getenv("OFFICE_ADDRESS")
	if address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		address = l.Addr().String()
		ts.Check(l.Close())
		ts.Setenv("OFFICE_ADDRESS", address)
	}
	found := m.process(ts, "office", `serving (\S+)  certificate SHA-256 (\S+)`, "freehold", "--dir", "fh", "--passphrase-file", "pass", "serve", "--listen", address)
	ts.Setenv("OFFICE", found[1])
	ts.Setenv("PIN", found[2])
}

// poller NAME carries for the daemon of that name.
func (m *machines) poller(ts *testscript.TestScript, args []string) {
	m.process(ts, "poller-"+args[0], "", "leasehold", "poll", "--poll-socket", ts.Getenv("SOCK_"+args[0])+"p")
}

// liar FILE answers every request with the bytes of a file, and sets $LIAR and $LIAR_PIN.
func (m *machines) liar(ts *testscript.TestScript, args []string) {
	file := []byte(ts.ReadFile(args[0]))
	pem, err := web.NewCertificate([]string{"127.0.0.1"}, time.Now())
	ts.Check(err)
	c, err := tls.X509KeyPair(pem, pem)
	ts.Check(err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13})
	ts.Check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(file) }), ReadHeaderTimeout: time.Minute}
	go server.Serve(l)
	ts.Defer(func() { server.Close() })
	ts.Setenv("LIAR", "https://"+l.Addr().String())
	ts.Setenv("LIAR_PIN", fmt.Sprintf("%X", sha256.Sum256(c.Certificate[0])))
}
