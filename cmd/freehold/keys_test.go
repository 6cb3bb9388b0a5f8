package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// keyCommands are those of scripts about keys.
func keyCommands(all map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	all["fingerprint"], all["chip"], all["hsm"] = fingerprint, chipCommand, hsm
	return all
}

// fingerprint VAR KEY takes the fingerprint of a key from what key list or key request said.
func fingerprint(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(`(?m)^\w+ +` + regexp.QuoteMeta(args[1]) + `(?:, .*)?\n  fingerprint  ([0-9a-f]{64})$`).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("no key %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// chip VAR starts a software TPM, whose address is in $VAR.
func chipCommand(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("", "lh")
	ts.Check(err)
	m, err := tpmtest.New(dir)
	ts.Check(err)
	ts.Defer(func() { ts.Check(m.Close()); ts.Check(os.RemoveAll(dir)) })
	ts.Setenv(args[0], m.Address())
}

// tokenProgram is freehold-token, built once: it links C code, and has a module of its own.
var tokenProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-C", "../freehold-token", "-o", dir+"/", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build freehold-token, which needs gcc (make deps): %w\n%s", err, out)
	}
	return filepath.Join(dir, "freehold-token"), nil
})

const hsmModule = "/usr/lib/softhsm/libsofthsm2.so"

// hsm VAR LABEL ARGS... starts freehold-token with a software token of that label, which is made if it is not there, and puts its socket into $VAR. hsm VAR ends it.
func hsm(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	if len(args) == 1 {
		stop := ts.Value(boxKey("hsm")).(map[string]func())[name]
		stop()
		return
	}
	program, err := tokenProgram()
	ts.Check(err)
	if _, err := os.Stat(hsmModule); err != nil {
		ts.Fatalf("%v: make deps", err)
	}
	dir := ts.MkAbs("hsm")
	conf := filepath.Join(dir, "softhsm2.conf")
	env := append(os.Environ(), "SOFTHSM2_CONF="+conf)
	if _, err := os.Stat(conf); err != nil {
		ts.Check(os.MkdirAll(filepath.Join(dir, "tokens"), 0o700))
		ts.Check(os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\n"), 0o600))
		ts.Check(os.WriteFile(filepath.Join(dir, "pin"), []byte("1234\n"), 0o600))
	}
	show := exec.Command("softhsm2-util", "--show-slots")
	show.Env = env
	out, err := show.CombinedOutput()
	if err != nil {
		ts.Fatalf("softhsm2-util (make deps): %v: %s", err, out)
	}
	if !regexp.MustCompile(`Label: +` + args[1] + `\b`).Match(out) {
		start := exec.Command("softhsm2-util", "--init-token", "--free", "--label", args[1], "--so-pin", "12345678", "--pin", "1234")
		start.Env = env
		if out, err := start.CombinedOutput(); err != nil {
			ts.Fatalf("%v: %s", err, out)
		}
	}
	short, err := os.MkdirTemp("", "lh")
	ts.Check(err)
	socket := filepath.Join(short, "s")
	cmd, done := exec.Command(program, append([]string{"--module", hsmModule, "--token", args[1], "--pin-file", filepath.Join(dir, "pin"), "--socket", socket, "--generate"}, args[2:]...)...), make(chan error, 1)
	cmd.Env, cmd.Stderr = env, ts.Stderr()
	ts.Check(cmd.Start())
	go func() { done <- cmd.Wait(); close(done) }()
	ts.Defer(func() {
		cmd.Process.Kill()
		<-done
		os.RemoveAll(short)
	})
	for end := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-done:
			ts.Fatalf("freehold-token ended")
		default:
		}
		if time.Now().After(end) {
			ts.Fatalf("freehold-token does not listen: %v", err)
		}
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		ts.Fatalf("the socket is %v, %v", info.Mode(), err)
	}
	ts.Setenv(name, socket)
	ts.Value(boxKey("hsm")).(map[string]func())[name] = func() {
		ts.Check(cmd.Process.Signal(os.Interrupt))
		<-done
	}
}
