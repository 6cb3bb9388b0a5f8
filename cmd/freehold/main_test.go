package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// The test binary is the program.
func TestMain(m *testing.M) {
	// Guessing passphrases is dear, and so is giving one to each of a thousand commands.
	cheap := func() {
		os.Exit(terminal.Program(command(&flags{cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}}), os.Stderr))
	}
	testscript.Main(m, map[string]func(){"freehold": cheap})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("CREDENTIALS_DIRECTORY", "")
			e.Values[boxKey("boxes")] = map[string]*box{}
			e.Values[boxKey("hsm")] = map[string]func(){}
			e.Values[boxKey("office")] = &office{}
			return nil
		},
		Cmds: keyCommands(map[string]func(*testscript.TestScript, bool, []string){
			"status":    status,
			"fourlines": fourLines,
			"machine":   machine,
			"request":   request,
			"opens":     opens,
			"states":    states,
			"flip":      flip,
			"id":        id,
			"grow":      grow,
			"hold":      hold,
			"office":    startOffice,
			"api":       api,
			"keep":      keep,
			"built":     builtImage,
			"aheadof":   aheadOf,
		}),
	})
}

// status N PROGRAM ARGS runs a program and wants that exit status.
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		got = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// fourlines LH-nnnn wants one error in four lines on stderr, with that code.
func fourLines(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stderr"), "\n"), "\n")
	if len(lines) != 4 {
		ts.Fatalf("%d lines on stderr, want 4", len(lines))
	}
	for i, want := range []string{"error: " + args[0] + " ", "cause: ", "next: ", "more: freehold explain " + args[0]} {
		if !strings.HasPrefix(lines[i], want) {
			ts.Fatalf("line %d is %q, want it to begin with %q", i+1, lines[i], want)
		}
	}
}

// box is a machine with a software TPM.
type box struct {
	device      *tpm.Device
	host        hostid.ID
	number      uint64
	applied     *capability.Response
	outstanding []capability.Digest
	life        capability.LifeID
}

type boxKey string

// machine NAME makes a machine; its short host ID is in $NAME, and the authority of its certificate in authority.pem.
func machine(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("", "lh")
	ts.Check(err)
	m, err := tpmtest.New(dir, tpmtest.P256)
	ts.Check(err)
	ts.Defer(func() { ts.Check(m.Close()); ts.Check(os.RemoveAll(dir)) })
	pem, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("authority.pem"), pem, 0o600))
	d, err := tpm.New(m.Bus())
	ts.Check(err)
	h, err := d.HostID()
	ts.Check(err)
	b := &box{device: d, host: hostid.OfDigest(hostid.TPMEK, h), applied: &capability.Response{}, life: capability.LifeID{1}}
	boxes(ts)[args[0]] = b
	ts.Setenv(args[0], b.host.Short())
	ts.Setenv(args[0]+"FOLDER", strings.ReplaceAll(b.host.Short(), "-", ""))
}

// boxes are those of one script.
func boxes(ts *testscript.TestScript) map[string]*box {
	return ts.Value(boxKey("boxes")).(map[string]*box)
}

// request NAME TRUST FILE [ID=N | host:ID | log:FILE | virtual:NAME]... writes the machine's next request, with further host IDs, an event log, and what it says it runs on; again instead of an ID writes another one with the number of the last, lost the first one
// of a storage made anew.
func request(ts *testscript.TestScript, _ bool, args []string) {
	b, c := boxes(ts)[args[0]], wire.New()
	trust, err := c.DecodeTrust([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	var desired []capability.Desired
	salt, log := byte(1), []byte(nil)
	hosts, platform := []hostid.ID{b.host}, capability.Platform{}
	b.number++
	for _, arg := range args[3:] {
		if arg == "again" {
			b.number--
			b.outstanding, salt = b.outstanding[:len(b.outstanding)-1], 2
			continue
		}
		if arg == "lost" {
			b.life[1]++
			b.number, b.outstanding, b.applied = 1, nil, &capability.Response{}
			continue
		}
		if host, ok := strings.CutPrefix(arg, "host:"); ok {
			id, err := hostid.Parse(host)
			ts.Check(err)
			hosts = append(hosts, id)
			continue
		}
		if name, ok := strings.CutPrefix(arg, "virtual:"); ok {
			platform.Virtual = name
			continue
		}
		if name, ok := strings.CutPrefix(arg, "log:"); ok {
			log = []byte(ts.ReadFile(name))
			continue
		}
		id, n, _ := strings.Cut(arg, "=")
		count, err := strconv.ParseUint(n, 10, 32)
		ts.Check(err)
		desired = append(desired, capability.Desired{ActivationID: capability.ActivationID(id), Count: uint32(count)})
	}
	r := &capability.Request{Version: capability.Protocol, Hosts: hosts, Platform: platform, Number: b.number, Applied: b.applied.Serial, BookHead: b.applied.BookHead,
		Outstanding: b.outstanding, Epoch: 1, Life: b.life, Head: capability.Head{Position: 100 + b.number, Hash: capability.Digest{0xab, byte(b.number)}}, Desired: desired, Alias: "hall \"3\"", Producer: c.Fingerprint(trust.Root)}
	binary.BigEndian.PutUint64(r.Correlation[:], b.number)
	r.Correlation[15] = salt
	e, err := b.device.Evidence(attest.Request, nil)
	ts.Check(err)
	file, digest, err := c.SignRequest(r, wire.AlgTPMQuote, wire.AttestationKeyID(e.AK), func(d capability.Digest) ([]byte, error) {
		e, err := b.device.Evidence(attest.Request, d[:])
		if err != nil {
			return nil, err
		}
		e.EventLog = log
		return e.Encode(), nil
	})
	ts.Check(err)
	b.outstanding = append(b.outstanding, digest)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), file, 0o600))
}

// opens NAME TRUST FILE COUNT applies a response on a machine, which then has so many counts; with ! it must not open there.
func opens(ts *testscript.TestScript, neg bool, args []string) {
	b := boxes(ts)[args[0]]
	r, err := open(ts, b, args[1:])
	if neg {
		if !errors.Is(err, tpm.ErrNotOurs) {
			ts.Fatalf("on another machine: %v", err)
		}
		return
	}
	ts.Check(err)
	total := uint32(0)
	for _, i := range r.Items {
		total += i.Count
	}
	if fmt.Sprint(total) != args[3] {
		ts.Fatalf("the machine has %d, want %s", total, args[3])
	}
	b.applied, b.outstanding = r, nil
}

// states NAME TRUST FILE COUNT wants a response for a machine that signs so many boot states.
func states(ts *testscript.TestScript, _ bool, args []string) {
	r, err := open(ts, boxes(ts)[args[0]], args[1:])
	ts.Check(err)
	if n := len(r.Boot.States); fmt.Sprint(n) != args[3] {
		ts.Fatalf("%d boot states are signed, want %s", n, args[3])
	}
}

// open reads the response of a file with the trust bundle of another, on a machine. The error is the TPM's.
func open(ts *testscript.TestScript, b *box, args []string) (*capability.Response, error) {
	c := wire.New()
	trust, err := c.DecodeTrust([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	s, err := c.ReadResponse([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	_, _, err = c.Verify(trust, s)
	ts.Check(err)
	w, err := attest.DecodeWrapped(s.Wrap)
	ts.Check(err)
	key, err := b.device.Activate(w)
	if err != nil {
		return nil, err
	}
	r, err := c.Open(s, key)
	ts.Check(err)
	return r, nil
}

// flip FILE changes one bit in the middle.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// grow FROM TO copies a file and makes it one byte larger than any of ours.
func grow(ts *testscript.TestScript, _ bool, args []string) {
	b := append([]byte(ts.ReadFile(args[0])), make([]byte, capability.MaxFile)...)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:capability.MaxFile+1], 0o600))
}

// id NAME keeps the activation ID that was printed in $NAME.
func id(ts *testscript.TestScript, _ bool, args []string) {
	v, err := capability.ParseActivationID(strings.TrimSpace(ts.ReadFile("stdout")))
	ts.Check(err)
	ts.Setenv(args[0], string(v))
}

// hold DIR [PROGRAM ARGS] keeps a back office open as another process does: until the end of the script, or until the program it starts has waited for it for a while and then ends well.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	unlock, err := storage.Dir(ts.MkAbs(filepath.Join(args[0], "book"))).Lock()
	ts.Check(err)
	if len(args) == 1 {
		ts.Defer(func() { ts.Check(unlock.Close()) })
		return
	}
	timer := time.AfterFunc(time.Second, func() { unlock.Close() })
	defer timer.Stop()
	ts.Check(ts.Exec(args[1], args[2:]...))
}
