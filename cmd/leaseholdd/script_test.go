package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/capability/directory/directorytest"
	"github.com/leasehold/leasehold/capability/web/issuer/issuertest"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// The scripts run the three programs as they are built, against software TPMs.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../leaseholdd", "../leasehold", "../freehold")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("LEASEHOLD_UPDATE") != "", // what cmp finds otherwise is golden from then on
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			// Unix sockets have short names, and a script's own directory is long.
			short, err := os.MkdirTemp("", "lh")
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(short) })
			e.Setenv("S", short)
			m := &machines{dir: short, tpms: map[string]*tpmtest.TPM{}, daemons: map[string]*daemon{}, uploads: map[string]*upload{}, directories: map[string]*directorytest.Server{}}
			e.Defer(m.clear)
			e.Values[key{}] = m
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tpm":       script((*machines).tpm),
			"daemon":    script((*machines).daemon),
			"crash":     script((*machines).crash),
			"halt":      script((*machines).halt),
			"term":      script((*machines).term),
			"ends":      script((*machines).ends),
			"flip":      script((*machines).flip),
			"codes":     codes,
			"exits":     exits,
			"truncate":  script((*machines).truncate),
			"upload":    script((*machines).upload),
			"torn":      script((*machines).torn),
			"stranger":  script((*machines).stranger),
			"rogue":     script((*machines).rogue),
			"until":     until,
			"second":    second,
			"office":    script((*machines).office),
			"poller":    script((*machines).poller),
			"liar":      script((*machines).liar),
			"browse":    script((*machines).browse),
			"carry":     script((*machines).carry),
			"authority": script((*machines).authority),
			"ldap":      script((*machines).ldap),
			"clerk":     script((*machines).clerk),
			"built":     built,
			"sealedto":  sealedTo,
			"issuer":    script((*machines).startIssuer),
			"through":   script((*machines).through),
		},
	})
}

// A script that stops is passed, whatever follows: none does.
func TestScriptsGoToTheirEnd(t *testing.T) {
	scripts, err := filepath.Glob("../*/testdata/*.txtar")
	if err != nil || len(scripts) < 8 {
		t.Fatal(scripts, err)
	}
	for _, path := range scripts {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if word, _, _ := strings.Cut(line, " "); word == "stop" {
				t.Errorf("%s:%d: %s", path, i+1, line)
			}
		}
	}
}

type key struct{}

// machines are the TPMs and daemons of one script, by name.
type machines struct {
	dir     string
	tpms    map[string]*tpmtest.TPM
	daemons map[string]*daemon
	uploads map[string]*upload

	directories map[string]*directorytest.Server
	issuer      *issuertest.Issuer
}

type daemon struct {
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{}
	code  int
}

func (m *machines) clear() {
	for _, u := range m.uploads {
		u.conn.Close()
	}
	for _, d := range m.directories {
		d.Close()
	}
	for _, d := range m.daemons {
		d.cmd.Process.Kill()
		<-d.ended
	}
	for _, t := range m.tpms {
		t.Close()
	}
}

func script(f func(*machines, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command has no negative")
		}
		f(ts.Value(key{}).(*machines), ts, args)
	}
}

// tpm NAME ACTION: start, cut, kill, boot, clear, extend, share, uncount, lockout, measure LOG, password HIERARCHY. start sets $TPM_NAME and $ROOTS_NAME.
func (m *machines) tpm(ts *testscript.TestScript, args []string) {
	name, action := args[0], args[1]
	if action == "start" {
		dir := filepath.Join(m.dir, name)
		ts.Check(os.Mkdir(dir, 0o700))
		t, err := tpmtest.New(dir, tpmtest.P256)
		ts.Check(err)
		m.tpms[name] = t
		ts.Setenv("TPM_"+name, t.Address())
		ts.Setenv("ROOTS_"+name, filepath.Join(dir, "authority.pem"))
		return
	}
	t := m.tpms[name]
	switch action {
	case "cut":
		ts.Check(t.Cut())
	case "kill":
		t.Kill()
	case "boot":
		ts.Check(t.Boot())
	case "clear":
		ts.Check(t.Clear())
		ts.Setenv("TPM_"+name, t.Address())
	case "extend": // PCR 11, as another image does
		ts.Check(extend(t, 11))
		ts.Setenv("TPM_"+name, t.Address())
	case "share": // the running digest goes on without the daemon, as with a second one
		ts.Check(extend(t, attest.RunningPCR))
		ts.Setenv("TPM_"+name, t.Address())
	case "uncount": // the counter of the storage is deleted, as any root can
		ts.Check(uncount(t))
		ts.Setenv("TPM_"+name, t.Address())
	case "password":
		hierarchy := map[string]tpm2.TPMHandle{"owner": tpm2.TPMRHOwner, "endorsement": tpm2.TPMRHEndorsement}[args[2]]
		_, err := tpm2.HierarchyChangeAuth{AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)}, NewAuth: tpm2.TPM2BAuth{Buffer: []byte("hunter2")}}.Execute(t.Bus())
		ts.Check(err)
		ts.Setenv("TPM_"+name, t.Address())
	case "measure": // as firmware and boot loader do, into LOG
		log, err := measure(t, booted()...)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), log, 0o400))
		ts.Setenv("TPM_"+name, t.Address())
	case "lockout":
		ts.Check(lockOut(t))
		ts.Setenv("TPM_"+name, t.Address())
	default:
		ts.Fatalf("tpm %s %s", name, action)
	}
}

// extend measures something into a PCR.
func extend(t *tpmtest.TPM, pcr uint32) error {
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
	}.Execute(t.Bus())
	return err
}

// uncount deletes the epoch counter.
func uncount(t *tpmtest.TPM) error {
	index := tpm2.TPMHandle(attest.EpochIndex)
	rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t.Bus())
	if err == nil {
		_, err = tpm2.NVUndefineSpace{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, NVIndex: tpm2.NamedHandle{Handle: index, Name: rsp.NVName}}.Execute(t.Bus())
	}
	return err
}

// lockOut is some other program that tries wrong passwords on an object of its own until the TPM refuses.
func lockOut(t *tpmtest.TPM) error {
	bus := t.Bus()
	public := tpm2.ECCSRKTemplate
	public.ObjectAttributes.NoDA = false
	o, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(public),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte("secret")}}},
	}.Execute(bus)
	if err != nil {
		return err
	}
	defer tpm2.FlushContext{FlushHandle: o.ObjectHandle}.Execute(bus)
	for range 64 {
		_, err = tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: o.ObjectHandle, Name: o.Name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			InPublic: tpm2.New2B(tpm2.TPMTPublic{Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
				ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true}}),
			InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: []byte("x")})}},
		}.Execute(bus)
		if strings.Contains(fmt.Sprint(err), "LOCKOUT") {
			return nil
		}
	}
	return fmt.Errorf("the TPM does not lock out: %w", err)
}

// begin starts a program under a name, by which it can be halted or crashed; what it says is in NAME.log.
func (m *machines) begin(ts *testscript.TestScript, name string, cmd *exec.Cmd) *daemon {
	log, err := os.Create(ts.MkAbs(name + ".log"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ts.Check(cmd.Start())
	d := &daemon{cmd: cmd, log: log, ended: make(chan struct{})}
	m.daemons[name] = d
	go func() {
		cmd.Wait()
		d.code = cmd.ProcessState.ExitCode()
		log.Close()
		close(d.ended)
	}()
	return d
}

// daemon NAME STATE [FLAG...]: starts leaseholdd on the TPM of that name, sets $SOCK_NAME and $ADDR_NAME, and waits until it answers.
func (m *machines) daemon(ts *testscript.TestScript, args []string) {
	name, state := args[0], ts.MkAbs(args[1])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr, sock := l.Addr().String(), filepath.Join(m.dir, name+".s")
	ts.Check(l.Close())
	program, err := exec.LookPath("leaseholdd")
	if err != nil {
		program = filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "leaseholdd")
	}
	cmd := exec.Command(program, "--state", state, "--tpm", ts.Getenv("TPM_"+name), "--trust", ts.MkAbs("producer.lht"), "--listen", addr, "--socket", sock, "--poll-socket", sock+"p", "--directory-socket", sock+"d", "--log-level", "debug")
	cmd.Args = append(cmd.Args, args[2:]...)
	d := m.begin(ts, name, cmd)
	ts.Setenv("SOCK_"+name, sock)
	ts.Setenv("ADDR_"+name, addr)
	deadline := time.Now().Add(30 * time.Second)
	for {
		if c, err := net.Dial("unix", sock); err == nil {
			c.Close()
			return
		}
		select {
		case <-d.ended:
			ts.Fatalf("leaseholdd of %s ended with %d:\n%s", name, d.code, ts.ReadFile(name+".log"))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			ts.Fatalf("leaseholdd of %s does not answer:\n%s", name, ts.ReadFile(name+".log"))
		}
	}
}

// crash NAME is kill -9.
func (m *machines) crash(ts *testscript.TestScript, args []string) {
	d := m.daemons[args[0]]
	d.cmd.Process.Kill()
	<-d.ended
	delete(m.daemons, args[0])
}

// halt NAME is systemctl stop: it must end with 0. The name stop is taken: it ends a script as passed, whatever follows.
func (m *machines) halt(ts *testscript.TestScript, args []string) {
	d := m.daemons[args[0]]
	ts.Check(d.cmd.Process.Signal(syscall.SIGTERM))
	<-d.ended
	delete(m.daemons, args[0])
	if d.code != 0 {
		ts.Fatalf("leaseholdd of %s stopped with %d:\n%s", args[0], d.code, ts.ReadFile(args[0]+".log"))
	}
}

// term NAME: the daemon is told to stop, and takes no more connections.
func (m *machines) term(ts *testscript.TestScript, args []string) {
	ts.Check(m.daemons[args[0]].cmd.Process.Signal(syscall.SIGTERM))
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("unix", ts.Getenv("SOCK_"+args[0]))
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(end) {
			ts.Fatalf("leaseholdd of %s takes connections for 30 s after it was told to stop", args[0])
		}
	}
}

// ends NAME CODE: the daemon ends by itself with that status.
func (m *machines) ends(ts *testscript.TestScript, args []string) {
	d := m.daemons[args[0]]
	select {
	case <-d.ended:
	case <-time.After(60 * time.Second):
		ts.Fatalf("leaseholdd of %s does not end", args[0])
	}
	delete(m.daemons, args[0])
	if fmt.Sprint(d.code) != args[1] {
		ts.Fatalf("leaseholdd of %s ended with %d, want %s:\n%s", args[0], d.code, args[1], ts.ReadFile(args[0]+".log"))
	}
}

// exits CODE PROGRAM ARGS...: the program ends with that status; what it said is stdout and stderr, as after exec.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if x, ok := err.(*exec.ExitError); ok {
		code = x.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

// flip FILE OFFSET TO: copies a file with one bit changed; a negative offset counts from the end.
func (m *machines) flip(ts *testscript.TestScript, args []string) {
	matches, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(matches) == 0 {
		ts.Fatalf("no %s", args[0])
	}
	b, err := os.ReadFile(matches[0])
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	to := matches[0]
	if len(args) > 2 {
		to = ts.MkAbs(args[2])
	}
	ts.Check(os.WriteFile(to, b, 0o600))
}

// truncate FILE N TO: copies the first N bytes; a negative N leaves off so many.
func (m *machines) truncate(ts *testscript.TestScript, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 {
		n += len(b)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b[:n], 0o600))
}
