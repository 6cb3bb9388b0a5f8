package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// stage is the place of one run: its directory, and whatever must end with it.
type stage struct {
	bin, dir string
	step     int
	closers  []func()
}

func (s *stage) clear() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// say prints one numbered line with its evidence.
func (s *stage) say(format string, args ...any) {
	s.step++
	fmt.Printf("%2d  %s\n", s.step, fmt.Sprintf(format, args...))
}

func fail(format string, args ...any) { panic(notSo{fmt.Sprintf(format, args...)}) }

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func (s *stage) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *stage) mkdir(parts ...string) string {
	p := s.path(parts...)
	check(os.MkdirAll(p, 0o700), "make a directory")
	return p
}

// result is what a program said and how it ended.
type result struct {
	args     []string
	out, err string
	code     int
}

// run runs one of the programs to its end.
func (s *stage) run(program string, args ...string) result {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	return finish(cmd, append([]string{program}, args...))
}

// tool runs a program of the system.
func (s *stage) tool(program string, args ...string) string {
	r := finish(exec.Command(program, args...), append([]string{program}, args...))
	if r.code != 0 {
		fail("%s", r)
	}
	return r.out
}

func finish(cmd *exec.Cmd, args []string) result {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MTOOLS_SKIP_CHECK=1")
	err := cmd.Run()
	r := result{args: args, out: out.String(), err: errs.String()}
	if x := (*exec.ExitError)(nil); err != nil {
		ok := false
		if x, ok = err.(*exec.ExitError); !ok {
			fail("%s: %v", strings.Join(args, " "), err)
		}
		r.code = x.ExitCode()
	}
	return r
}

func (r result) String() string {
	return fmt.Sprintf("%s ended with %d:\n%s%s", strings.Join(r.args, " "), r.code, r.out, r.err)
}

// wants ends the demo unless the program ended with code, and said all of the words.
func (r result) wants(code int, words ...string) result {
	if r.code != code {
		fail("want exit status %d: %s", code, r)
	}
	for _, w := range words {
		if !strings.Contains(r.out+r.err, w) {
			fail("want %q: %s", w, r)
		}
	}
	return r
}

// decode reads the JSON of a program's output.
func (r result) decode(v any) {
	check(json.Unmarshal([]byte(r.out), v), strings.Join(r.args, " "))
}

// line is the first line that holds a word, without the space around it.
func (r result) line(word string) string {
	for l := range strings.Lines(r.out + r.err) {
		if strings.Contains(l, word) {
			return strings.TrimSpace(l)
		}
	}
	fail("no line with %q: %s", word, r)
	return ""
}

// appliance is one machine: a software TPM that lives on when the daemon dies, and the daemon.
type appliance struct {
	s            *stage
	name         string
	tpm          *tpmtest.TPM
	state, admin string
	addr         string
	daemon       *exec.Cmd
	log          *os.File
}

func (s *stage) newAppliance(name string, certificate tpmtest.Certificate) *appliance {
	t, err := tpmtest.New(s.mkdir(name, "t"), certificate)
	check(err, "start a software TPM")
	s.closers = append(s.closers, func() { t.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err, "find a port")
	addr := l.Addr().String()
	l.Close()
	log, err := os.Create(s.path(name, "log"))
	check(err, "make the log")
	a := &appliance{s: s, name: name, tpm: t, state: s.path(name, "state"), admin: s.path(name, "sock"), addr: addr, log: log}
	s.closers = append(s.closers, func() { a.kill() })
	return a
}

// start starts the daemon and waits until it answers an administrator.
func (a *appliance) start() {
	a.daemon = exec.Command(filepath.Join(a.s.bin, "leaseholdd"), "--state", a.state, "--tpm", a.tpm.Address(), "--trust", a.s.path("producer.lht"), "--listen", a.addr, "--socket", a.admin)
	a.daemon.Stdout, a.daemon.Stderr = a.log, a.log
	a.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(a.daemon.Start(), "start leaseholdd")
	a.s.until(20*time.Second, "leaseholdd of "+a.name+" answers", func() bool {
		return a.leasehold("status").code != 3
	})
}

// leasehold runs the administrator's command on this appliance.
func (a *appliance) leasehold(args ...string) result {
	return a.s.run("leasehold", append(args, "--socket", a.admin)...)
}

// kill is kill -9: the daemon ends in the middle of whatever it does.
func (a *appliance) kill() {
	if a.daemon != nil {
		a.daemon.Process.Kill()
		a.daemon.Wait()
		a.daemon = nil
	}
}

// stop is what systemctl stop does.
func (a *appliance) stop() {
	check(a.daemon.Process.Signal(syscall.SIGTERM), "stop leaseholdd")
	if err := a.daemon.Wait(); err != nil {
		fail("leaseholdd of %s did not stop cleanly: %v", a.name, err)
	}
	a.daemon = nil
}

// cut is a power cut: daemon and TPM lose what they had in memory at the same time.
func (a *appliance) cut() {
	a.tpm.Kill()
	a.kill()
	check(a.tpm.Boot(), "boot the TPM")
}

// health is the part of `leasehold status --json` that the demo looks at.
type health struct {
	State     string `json:"state"`
	Start     string `json:"start"`
	Epoch     uint64 `json:"epoch"`
	Used      uint64 `json:"used"`
	Total     uint64 `json:"total"`
	HoldUntil int64  `json:"holdUntil"`
	Now       int64  `json:"now"`
	Applied   uint64 `json:"applied"`
	Condition *struct {
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"condition"`
}

func (a *appliance) health() (h health) {
	a.leasehold("status", "--json").decode(&h)
	return h
}

// device is the part of `leasehold devices --json` that the demo looks at.
type device struct {
	Alias    string `json:"alias"`
	Holdings []struct {
		Count  uint32 `json:"count"`
		Expiry int64  `json:"expiry"`
	} `json:"holdings"`
}

func (a *appliance) devices() []device {
	var d struct {
		Devices []device `json:"devices"`
	}
	a.leasehold("devices", "--json").wants(0).decode(&d)
	return d.Devices
}

// client is a licensed program on another machine: it runs for as long as the demo wants, and its lease renews by itself.
type client struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	err   *bytes.Buffer
}

// acquire starts `leasehold acquire ... -- cat` on the machine of that name, which holds the counts until cat ends.
func (s *stage) acquire(a *appliance, name string, count int) *client {
	c := &client{err: &bytes.Buffer{}}
	c.cmd = exec.Command(filepath.Join(s.bin, "leasehold"), append(s.asks(a, name, count), "--", "cat")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.cmd.Stderr = c.err
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	check(err, "open a pipe")
	check(c.cmd.Start(), "start a client")
	s.closers = append(s.closers, func() { c.cmd.Process.Kill() })
	return c
}

func (s *stage) asks(a *appliance, name string, count int) []string {
	return []string{"acquire", "render:2026.1", "--count", fmt.Sprint(count), "--server", a.addr, "--trust", s.path("producer.lht"), "--dir", s.mkdir("clients", name), "--user", name}
}

// end closes the program, which gives its counts back.
func (c *client) end() {
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		fail("a client ended with %v: %s", err, c.err)
	}
}

// until waits for something to become so, and ends the demo when it does not in time.
func (s *stage) until(limit time.Duration, what string, so func() bool) {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		if time.Now().After(deadline) {
			fail("not within %s: %s", limit, what)
		}
		<-tick.C
	}
}

// The stick is a FAT file system in an image. Machines see a copy of its files, as a mount would show them; what they wrote goes back into the image.
type stick struct {
	s     *stage
	image string
}

func (s *stage) newStick() *stick {
	k := &stick{s, s.path("stick.img")}
	f, err := os.Create(k.image)
	check(err, "make the stick")
	check(f.Truncate(8<<20), "make the stick")
	f.Close()
	s.tool("mkfs.vfat", "-n", "LEASEHOLD", k.image)
	s.tool("mmd", "-i", k.image, "::/LEASEHOLD")
	return k
}

// plug shows the stick's files in an empty directory to f, and writes them back when f is done.
func (k *stick) plug(f func(dir string)) {
	dir, err := os.MkdirTemp(k.s.dir, "m")
	check(err, "plug in the stick")
	k.s.tool("mcopy", "-i", k.image, "-s", "-n", "::/LEASEHOLD", dir)
	f(dir)
	k.s.tool("mcopy", "-i", k.image, "-s", "-o", filepath.Join(dir, "LEASEHOLD"), "::/")
	check(os.RemoveAll(dir), "pull the stick")
}

// list is every file on the stick.
func (k *stick) list() []string {
	out := k.s.tool("mdir", "-i", k.image, "-/", "-b", "::/LEASEHOLD")
	var files []string
	for l := range strings.Lines(out) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasSuffix(l, "/") {
			files = append(files, strings.TrimPrefix(l, "::/"))
		}
	}
	return files
}

// copyTree copies a directory, as an image of a disk is made.
func (s *stage) copyTree(from, to string) {
	check(os.RemoveAll(to), "copy a disk")
	check(os.CopyFS(to, os.DirFS(from)), "copy a disk")
	// An image keeps the modes of its files, and trusted storage wants them closed to others.
	check(filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if e.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	}), "copy a disk")
}

// first finds the first match of an expression's group in what a program said.
func (r result) first(expression string) string {
	m := regexp.MustCompile(expression).FindStringSubmatch(r.out)
	if m == nil {
		fail("nothing matches %s: %s", expression, r)
	}
	return m[1]
}
