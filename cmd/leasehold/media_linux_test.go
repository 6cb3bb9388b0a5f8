package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// plugged is a stick with a response on it, and a daemon for which there is a return to be told too: a visit of it writes all that a visit may write.
type plugged struct {
	*machine
	d        *daemon
	t        *testing.T
	dir      string // of the stick
	applied  atomic.Bool
	requests atomic.Uint64
	mode     atomic.Value // of sticks
	returned capability.Return
}

func newPlugged(t *testing.T) *plugged {
	s := &plugged{machine: newMachine(t), t: t}
	s.dir = filepath.Join(s.machine.dir, "stick")
	s.env = append(s.env, "LEASEHOLD_TOLD="+filepath.Join(s.machine.dir, "told"))
	s.returned = capability.Return{ID: capability.ReturnID{7}, ActivationID: activationID(1), Copies: 1, Epoch: 2, Time: 1795160000, Serial: 1}
	d := s.daemon()
	s.d = d
	d.does("GET health", func([]byte) (any, *capability.Refusal) {
		h := console.Health{Host: here(), State: "serving", Media: s.mode.Load().(string), Requests: s.requests.Load(), Waiting: 1, Returns: []capability.Return{s.returned}}
		if s.applied.Load() {
			h.Applied = 1
		}
		return h, nil
	})
	d.does("POST responses", func([]byte) (any, *capability.Refusal) {
		in := console.Imported{Code: capability.Applied, Serial: 1, Clear: wire.Clear{For: here(), Serial: 1, Number: 1}, Changes: []console.Change{{Feature: "render", After: 5}}}
		if s.applied.Swap(true) {
			in.Code, in.Changes = capability.AlreadyHere, nil
		}
		return in, nil
	})
	d.says("GET features", []console.Feature{{LineItem: capability.LineItem{Feature: "render", Product: "Render"}, Total: 5}})
	d.does("POST requests", func([]byte) (any, *capability.Refusal) {
		n := s.requests.Add(1)
		b, _, err := wire.New().SignRequest(&capability.Request{Version: 1, Hosts: []hostid.ID{here()}, Correlation: capability.CorrelationID{1}, Number: n, Applied: 1, Returns: []capability.Return{s.returned}}, wire.AlgTPMQuote, wire.KeyID{1},
			func(capability.Digest) ([]byte, error) { return []byte("evidence"), nil })
		if err != nil {
			t.Error(err)
		}
		return console.Written{Number: n, Name: capability.FileName("REQ", n, "LHQ"), File: b}, nil
	})
	return s
}

// anew is the stick as it was plugged in first.
func (s *plugged) anew() {
	s.t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	s.applied.Store(false)
	s.requests.Store(1)
	s.mode.Store("auto")
	s.put("stick/LEASEHOLD/7F3A22C9/RSP-0001.LHR", newProducer(s.t, 1).response(s.t, here(), 1))
}

// sound says what is wrong with the files of the stick: each request is whole and has its description beside it. whole: and all is there that a visit writes, and nothing more.
func (s *plugged) sound(whole bool) error {
	own := filepath.Join(s.dir, "LEASEHOLD/7F3A22C9")
	names, err := os.ReadDir(own)
	if err != nil {
		return err
	}
	requests := 0
	for _, e := range names {
		switch name := e.Name(); filepath.Ext(name) {
		case ".LHQ":
			b, err := os.ReadFile(filepath.Join(own, name))
			if err != nil {
				return err
			}
			if in, err := client.Inspect(b, nil); err != nil || len(in.Request.Fields.Returns) != 1 {
				return fmt.Errorf("%s is not whole: %w", name, err)
			}
			if text, err := os.ReadFile(filepath.Join(own, strings.TrimSuffix(name, "LHQ")+"TXT")); err != nil || len(text) < 100 {
				return fmt.Errorf("%s has no description: %w", name, err)
			}
			requests++
		case ".TMP":
			if whole {
				return fmt.Errorf("%s is left over", name)
			}
		}
	}
	if !whole {
		return nil
	}
	if requests == 0 {
		return errors.New("no request")
	}
	for _, name := range []string{"RCP-0001.TXT", "../README.TXT"} {
		if b, err := os.ReadFile(filepath.Join(own, name)); err != nil || len(b) < 100 {
			return fmt.Errorf("%s: %d bytes, %w", name, len(b), err)
		}
	}
	return nil
}

// However early a visit ends, before each of its changes of the stick, nothing on it is half, and the next visit writes what is missing.
func TestStickPulledAtEachGap(t *testing.T) {
	s := newPlugged(t)
	for gap := 1; ; gap++ {
		s.anew()
		killed := s.killedAt(gap)
		if err := s.sound(!killed); err != nil {
			t.Fatalf("at gap %d: %v", gap, err)
		}
		if !killed {
			if gap < 20 {
				t.Fatalf("a visit makes only %d changes: they are not seen", gap-1)
			}
			t.Logf("killed at %d gaps", gap-1)
			return
		}
		if status, out, stderr := s.run("media", "--at", "stick"); status != 0 {
			t.Fatalf("after gap %d: %d\n%s%s", gap, status, out, stderr)
		}
		if err := s.sound(true); err != nil {
			t.Fatalf("after gap %d: %v", gap, err)
		}
	}
}

// killedAt starts a visit and kills it before it begins the change of that number: a directory or a file made, bytes written, synced, renamed or taken away.
func (s *plugged) killedAt(gap int) (killed bool) {
	s.t.Helper()
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	c := exec.Command(os.Args[0], "media", "--at", "stick")
	c.Dir, c.Env = s.machine.dir, s.env
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	pid := c.Process.Pid
	defer c.Process.Release()
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		s.t.Fatal(err)
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		s.t.Fatal(err)
	}
	on := func(thread, signal int) {
		if err := unix.PtraceSyscall(thread, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			s.t.Fatal(err)
		}
	}
	on(pid, 0)
	for changes := 0; ; {
		thread, err := unix.Wait4(-pid, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return killed
		case err != nil:
			s.t.Fatal(err)
		case status.Exited() && thread == pid:
			if status.ExitStatus() != 0 {
				s.t.Fatalf("the visit ends with %d", status.ExitStatus())
			}
			return false
		case status.Signaled() && thread == pid:
			return true
		case !status.Stopped():
			continue
		}
		switch signal := status.StopSignal(); signal {
		case unix.SIGTRAP | 0x80:
			if !killed && s.changes(pid, thread) {
				if changes++; changes == gap {
					killed = true
					if err := unix.Kill(pid, unix.SIGKILL); err != nil {
						s.t.Fatal(err)
					}
					continue
				}
			}
			on(thread, 0)
		case unix.SIGTRAP, unix.SIGSTOP: // a thread begins
			on(thread, 0)
		default:
			on(thread, int(signal))
		}
	}
}

// systemCall is struct ptrace_syscall_info at the beginning of a call.
type systemCall struct {
	op, _, _, _ uint8
	_           uint32
	_, _        uint64
	number      uint64
	args        [6]uint64
}

// changes says that a thread is at the beginning of a system call that changes the stick.
func (s *plugged) changes(pid, thread int) bool {
	const getSyscallInfo, entry = 0x420e, 1
	var c systemCall
	if _, _, no := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(thread), unsafe.Sizeof(c), uintptr(unsafe.Pointer(&c)), 0, 0); no != 0 || c.op != entry {
		return false
	}
	switch c.number {
	case unix.SYS_OPENAT:
		if c.args[2]&unix.O_CREAT == 0 {
			return false
		}
	case unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_FSYNC, unix.SYS_WRITE:
	default:
		return false
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(c.args[0])))
	return err == nil && strings.HasPrefix(at, s.dir)
}

// seen is a stick in the place of a mounted one, which writes down what is done with it.
type seen struct {
	stick.Place
	done   *[]string
	locked bool
	leave  error
}

func (s *seen) Writable() error {
	*s.done = append(*s.done, "writable")
	if s.locked {
		return fmt.Errorf("mount it for writing: %w", unix.EROFS)
	}
	return nil
}

func (s *seen) Leave() (bool, error) {
	*s.done = append(*s.done, "left")
	return s.leave == nil, s.leave
}

// That a stick may be removed is said when it is unmounted, and never of one that could not be.
func TestStickIsSafeOnceItIsUnmounted(t *testing.T) {
	for _, row := range []struct {
		name   string
		locked bool
		leave  error
		gone   bool
		want   string // what is done, and then the last line
		code   capability.Code
	}{
		{"as it should be", false, nil, false, "writable left | Response 1: signatures good, for this appliance. APPLIED: 1 product, 1 feature, 5 seats. USB stick KINGSTON 8 GB - request 2 WRITTEN. SAFE TO REMOVE", 0},
		{"busy", false, unix.EBUSY, false, "writable left | Response 1: ", capability.ErrFileRead},
		{"write-protected", true, nil, false, "writable left | Response 1: signatures good, for this appliance. APPLIED: 1 product, 1 feature, 5 seats. Nothing was written on the stick: the medium is write-protected. SAFE TO REMOVE", 0},
		{"pulled", true, nil, true, "writable left | Response 1: ", capability.ErrStickPulled},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newPlugged(t)
			s.anew()
			var done []string
			told := filepath.Join(s.machine.dir, "told")
			p := &program{stdout: &strings.Builder{}, stderr: &strings.Builder{}, socket: s.machine.dir + "/socket"}
			p.out = terminal.NewOutput(p.stdout)
			v := &visit{program: p, name: "KINGSTON 8 GB", told: told, log: slog.New(slog.DiscardHandler), gone: func() bool { return row.gone },
				open: func() (stick.Place, error) { return &seen{stick.At(s.dir), &done, row.locked, row.leave}, nil }}
			err := v.serve(t.Context())
			lines, terr := stick.Told(told)
			if terr != nil || len(lines) < 2 {
				t.Fatal(lines, terr)
			}
			last := lines[len(lines)-1]
			if got := strings.Join(done, " ") + " | " + last.Text; row.code == 0 && got != row.want || !strings.HasPrefix(got, row.want) || !last.Last {
				t.Errorf("got %q", got)
			}
			for _, l := range lines[:len(lines)-1] {
				if strings.Contains(l.Text, "SAFE") || l.Last {
					t.Errorf("too early: %q", l.Text)
				}
			}
			if safe := strings.Contains(last.Text, "SAFE TO REMOVE"); safe != v.done.Safe || safe != (row.code == 0) {
				t.Errorf("safe is %v, and it says %q", v.done.Safe, last.Text)
			}
			if (err == nil) != (row.code == 0) || err != nil && !strings.Contains(last.Text, row.code.String()) {
				t.Errorf("%v: %q", err, last.Text)
			}
		})
	}
}

// A stick that cannot be mounted, or is none of ours, is left as it is.
func TestStickThatIsNotMounted(t *testing.T) {
	s := newPlugged(t)
	s.anew()
	for name, row := range map[string]struct {
		err  error
		code capability.Code
	}{
		"damaged":    {fmt.Errorf("mount /dev/sdb1: %w", stick.ErrSystem), capability.ErrStickSystem},
		"unreadable": {&fs.PathError{Op: "read", Path: "/dev/sdb1", Err: unix.EIO}, capability.ErrFileRead},
	} {
		p := &program{stdout: &strings.Builder{}, stderr: &strings.Builder{}, socket: s.machine.dir + "/socket"}
		p.out = terminal.NewOutput(p.stdout)
		v := &visit{program: p, name: "X", told: filepath.Join(s.machine.dir, "told"), log: slog.New(slog.DiscardHandler), gone: func() bool { return false }, open: func() (stick.Place, error) { return nil, row.err }}
		err := v.serve(t.Context())
		if err == nil || *v.done.Code != row.code || !v.done.Safe || s.applied.Load() {
			t.Errorf("%s: %v, %+v", name, err, v.done)
		}
	}
}

// visit is one of the stick's directory by this very program, with what is done with the stick written down.
func (s *plugged) visit(done *[]string) *visit {
	p := &program{stdout: &strings.Builder{}, stderr: &strings.Builder{}, socket: s.machine.dir + "/socket"}
	p.out = terminal.NewOutput(p.stdout)
	return &visit{program: p, name: "KINGSTON 8 GB", told: filepath.Join(s.machine.dir, "told"), log: slog.New(slog.DiscardHandler), gone: func() bool { return false },
		open: func() (stick.Place, error) {
			*done = append(*done, "mounted")
			return &seen{stick.At(s.dir), done, false, nil}, nil
		}}
}

// A visit that was stopped while the stick is there says so, and not that somebody pulled it out.
func TestStickStopped(t *testing.T) {
	for _, gone := range []bool{false, true} {
		s := newPlugged(t)
		s.anew()
		var done []string
		v := s.visit(&done)
		ctx, stop := context.WithCancel(t.Context())
		var asked atomic.Bool
		s.d.does("POST responses", func([]byte) (any, *capability.Refusal) {
			s.applied.Store(true)
			asked.Store(true)
			stop() // while the daemon is at work: what it answers is heard all the same
			return console.Imported{Code: capability.Applied, Serial: 1, Clear: wire.Clear{For: here(), Serial: 1, Number: 1}}, nil
		})
		v.gone = func() bool { return gone && asked.Load() }
		want := capability.ErrStickStopped
		if gone {
			want = capability.ErrStickPulled
		}
		err := v.serve(ctx)
		lines, terr := stick.Told(v.told)
		if terr != nil || err == nil || *v.done.Code != want {
			t.Fatal(gone, err, terr)
		}
		last := lines[len(lines)-1].Text
		if !strings.Contains(last, "APPLIED") || !strings.Contains(last, want.String()) || strings.Contains(last, "SAFE TO REMOVE") == gone || strings.Contains(last, "Nothing was changed") {
			t.Errorf("%v: %q", gone, last)
		}
	}
}

// A visit that was killed leaves what it said last; its unit adds the last word, once, and to no visit that had its own.
func TestStickKilled(t *testing.T) {
	for _, row := range []struct {
		result string
		last   bool
		adds   int
	}{{"signal", false, 1}, {"timeout", false, 1}, {"signal", true, 0}, {"success", false, 0}, {"exit-code", false, 0}} {
		s := newPlugged(t)
		told := filepath.Join(s.machine.dir, "told")
		if err := errors.Join(os.MkdirAll(told, 0o755), stick.Tell(told, stick.Line{Text: "USB stick KINGSTON 8 GB - reading ...", Last: row.last})); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if status, _, stderr := s.run("media", "ended", row.result, "--told", told); status != 0 {
				t.Fatalf("%d %s", status, stderr)
			}
		}
		lines, err := stick.Told(told)
		if err != nil || len(lines) != 1+row.adds || row.adds > 0 && (!lines[1].Last || !strings.HasPrefix(lines[1].Text, "LH-2012 ") || !strings.HasSuffix(lines[1].Text, " SAFE TO REMOVE")) {
			t.Errorf("%+v: %+v, %v", row, lines, err)
		}
	}
}

// What lies in the way of a request is found before a number is spent on it.
func TestStickWithSomethingInTheWay(t *testing.T) {
	s := newPlugged(t)
	for _, name := range []string{"REQ-0002.LHQ", "REQ-0002.TXT", "REQ-0002.TMP"} {
		s.anew()
		if err := os.MkdirAll(filepath.Join(s.dir, "LEASEHOLD/7F3A22C9", name, "in it"), 0o755); err != nil {
			t.Fatal(err)
		}
		status, out, stderr := s.run("media", "--at", "stick")
		if status != 0 || s.requests.Load() != 1 || !strings.Contains(out, "Nothing was written on the stick") || !strings.Contains(stderr, name) {
			t.Errorf("%s: %d, %d requests\n%s%s", name, status, s.requests.Load(), out, stderr)
		}
	}
}

// A stick that was pulled out too early is put right before it is written to, while it is not mounted; one that cannot be is served, and somebody is told; and one that is none of ours, or
// where nothing is to be written, is left as it is.
func TestStickIsMended(t *testing.T) {
	for _, row := range []struct {
		name, done, says, not string
		no                    error
		prepare               func(*plugged)
	}{
		{name: "mended", done: "mounted left mend mounted writable left", says: "It was pulled out too early before, and is put right.", not: "PC"},
		{name: "not mended", done: "mounted left mend mounted writable left", says: "have a PC check it.", not: "put right", no: errors.New("no such unit")},
		{name: "nothing to write", done: "mounted left", says: "have a PC check it.", not: "put right", prepare: func(s *plugged) {
			var done []string
			if err := s.visit(&done).serve(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		}},
		{name: "not ours", done: "mounted left", says: "LH-2103", not: "pulled out", prepare: func(s *plugged) {
			if err := os.RemoveAll(filepath.Join(s.dir, "LEASEHOLD")); err != nil {
				s.t.Fatal(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newPlugged(t)
			s.anew()
			if row.prepare != nil {
				row.prepare(s)
			}
			var done []string
			v := s.visit(&done)
			v.dirty = true
			v.mend = func(context.Context) error {
				done = append(done, "mend")
				return row.no
			}
			err := v.serve(t.Context())
			lines, terr := stick.Told(v.told)
			if err != nil || terr != nil {
				t.Fatal(err, terr)
			}
			last := lines[len(lines)-1].Text
			if got := strings.Join(done, " "); got != row.done || !strings.Contains(last, row.says) || strings.Contains(last, row.not) || !strings.HasSuffix(last, "SAFE TO REMOVE") {
				t.Errorf("%s: %q", got, last)
			}
		})
	}
}

// A visit that is stopped while the file system is put right neither mounts it meanwhile nor says that it is safe to remove.
func TestStickThatIsMendedWhenTheVisitStops(t *testing.T) {
	s := newPlugged(t)
	s.anew()
	var done []string
	v := s.visit(&done)
	v.dirty = true
	ctx, stop := context.WithCancel(t.Context())
	v.mend = func(context.Context) error {
		done = append(done, "mend")
		stop()
		return ctx.Err()
	}
	v.serve(ctx)
	lines, err := stick.Told(v.told)
	if err != nil {
		t.Fatal(err)
	}
	if got, last := strings.Join(done, " "), lines[len(lines)-1].Text; got != "mounted left mend" || strings.Contains(last, "SAFE TO REMOVE") {
		t.Errorf("%s: %q", got, last)
	}
}

// A stick that is a dongle of the appliance, shown or missed, is not even mounted; another one of the same kind is.
func TestStickThatIsADongle(t *testing.T) {
	s := newPlugged(t)
	s.anew()
	s.d.says("GET hostids", console.Machine{IDs: []console.MachineID{{Host: console.Host{Type: "flexid9", Value: "096E-0006-A1"}}}, Gone: []console.Host{{Type: "flexid9", Value: "096E-0006-B2"}}})
	for serial, served := range map[string]bool{"096E-0006-A1": false, "096E-0006-B2": false, "096E-0006-C3": true, "": true} {
		var done []string
		v := s.visit(&done)
		v.serial = serial
		if err := v.serve(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines, err := stick.Told(v.told)
		if err != nil {
			t.Fatal(err)
		}
		last := lines[len(lines)-1]
		if served != (len(done) > 0) || served == strings.Contains(last.Text, "is a dongle") || served != strings.Contains(last.Text, "SAFE TO REMOVE") || !served && last.Sound != stick.Silent {
			t.Errorf("%q: %q, %+v", serial, done, last)
		}
	}
}

// The golden file of a visit.
func TestGoldenOfMedia(t *testing.T) {
	s := newPlugged(t)
	s.anew()
	status, out, stderr := s.run("media", "--at", "stick", "--json")
	if status != 0 {
		t.Fatal(status, stderr)
	}
	s.golden("media.json", out)
}

// The setting says whether a stick is served, and somebody at the machine where it asks for that; a visit of a stick on which nothing is missing changes nothing.
func TestStickMode(t *testing.T) {
	s := newPlugged(t)
	s.anew()
	visit := func(want int) (out string) {
		t.Helper()
		status, out, stderr := s.run("media", "--at", "stick")
		if status != want {
			t.Errorf("%d\n%s%s", status, out, stderr)
		}
		return out
	}
	for _, mode := range []string{"off", "confirm"} {
		s.mode.Store(mode)
		if out := visit(capability.ExitPolicy); !strings.Contains(out, "LH-2007") || s.applied.Load() {
			t.Errorf("%s: %s", mode, out)
		}
	}
	if status, out, stderr := s.run("media", "allow"); status != 0 || !strings.Contains(out, "5 min") {
		t.Fatal(status, out, stderr)
	}
	if visit(0); !s.applied.Load() || s.requests.Load() != 2 {
		t.Errorf("applied: %v, %d requests", s.applied.Load(), s.requests.Load())
	}
	for range 2 {
		if out := visit(0); s.requests.Load() != 2 || !strings.Contains(out, "request 2 is on it") {
			t.Errorf("%d requests: %s", s.requests.Load(), out)
		}
	}
	s.mode.Store("off")
	if out := visit(capability.ExitPolicy); !strings.Contains(out, "LH-2007") {
		t.Error(out)
	}
}
