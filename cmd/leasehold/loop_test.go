package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// forgetful is a vault without a disk. It moves the TPM's counter, once there is one.
type forgetful struct {
	entries, epoch uint64
	counter        *tpm.Binding
}

func secret() []byte { return bytes.Repeat([]byte{1}, 32) }

func (v *forgetful) Begin(e ...[]byte) error { return v.Commit(e) }
func (v *forgetful) Commit(e [][]byte) error { v.entries += uint64(len(e)); return nil }
func (v *forgetful) Move(_ []byte, e [][]byte) error {
	if v.counter != nil {
		if err := v.counter.Advance(secret(), v.epoch); err != nil {
			return err
		}
	}
	v.epoch++
	return v.Commit(e)
}
func (v *forgetful) Snapshot([]byte) error        { return nil }
func (v *forgetful) JournalBytes() int64          { return 0 }
func (v *forgetful) Epoch() uint64                { return v.epoch }
func (v *forgetful) Head() (p uint64, h [32]byte) { return v.entries, h }
func (v *forgetful) Stop() error                  { return nil }
func (v *forgetful) Close() error                 { return nil }

// appliance is a real one, but for its disk, on the machine's socket and on a port of its own.
func (m *machine) appliance(p *producer) {
	t := m.t
	t.Helper()
	device := tpmtest.Start(t).Device(t)
	id, err := device.HostID()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := wire.New().DecodeTrust(p.trust)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	a, err := appliance.New(appliance.Options{
		Ledger: ledger.New(), Vault: &forgetful{}, Machine: device, Host: hostid.OfDigest(hostid.TPMEK, id), Index: attest.EpochIndex, Trust: trust,
		Start: ledger.Start{BootID: "boot", Cause: "test"}, Now: time.Now, Elapsed: func() time.Duration { return time.Since(begin) }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Counter: func() (uint64, error) { return 0, nil },
		Found: func(capability.Boot, bool, []byte) (appliance.Vault, uint64, error) {
			counter := device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
			epoch, err := counter.Provision(secret())
			return &forgetful{epoch: epoch, counter: counter}, 0, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.Listen("unix", m.dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := console.Console{Appliance: a, Host: a.Host, Trust: p.trust, Version: "development", Start: "test", Since: capability.At(begin), Allowed: func(console.Peer) bool { return true },
		Doctor: func(context.Context) []console.Examination { return nil }}
	s := &http.Server{Handler: c.Handler(), ConnContext: console.WithPeer, ReadHeaderTimeout: time.Minute}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	go func() { ended <- a.Run(ctx) }()
	go func() { ended <- a.Serve(ctx, port) }()
	go func() { ended <- s.Serve(local) }()
	t.Cleanup(func() {
		s.Close()
		stop()
		for range 3 {
			if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	m.put("producer.lht", p.trust)
	m.env = append(m.env, "LEASEHOLD_SERVER="+port.Addr().String(), "LEASEHOLD_TRUST="+m.dir+"/producer.lht")
}

// respond answers a request as the back office does, without a book.
func (p *producer) respond(t *testing.T, file []byte, serial uint64, change func(*capability.Response), items ...capability.LineItem) []byte {
	t.Helper()
	c := wire.New()
	req, err := c.ReadRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	e, err := attest.DecodeEvidence(req.Signature)
	if err != nil {
		t.Fatal(err)
	}
	id, err := attest.Verify(e, attest.Request, req.Digest[:])
	if err != nil {
		t.Fatal(err)
	}
	boot, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	state, err := attest.SignState(rand.Reader, boot, []byte("ref"), id.PCRs)
	if err != nil {
		t.Fatal(err)
	}
	bootKey, err := x509.MarshalPKIXPublicKey(&boot.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	host, now := req.Request.Hosts[0], capability.At(time.Now())
	certificate, err := c.CertifyAppliance(p.key, &wire.ApplianceCertificate{Host: host, AK: id.AK, Serial: serial, From: now})
	if err != nil {
		t.Fatal(err)
	}
	r := &capability.Response{
		Version: capability.Protocol, For: host, Serial: serial, Time: now, Lifetime: 3600, Request: req.Digest, Number: req.Request.Number, Correlation: req.Request.Correlation,
		Items: items, Certificate: certificate, Policy: capability.Policy{Lease: 60, RenewPercent: 5, Holders: capability.HoldersNames},
		Boot: capability.Boot{Key: bootKey, Ref: []byte("ref"), States: [][]byte{state.Encode()}},
	}
	if change != nil {
		change(r)
	}
	key := make([]byte, wire.ContentKeySize)
	rand.Read(key)
	w, err := attest.Wrap(rand.Reader, id, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.SealResponse(p.key, p.certificate, r, w.Encode(), key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The whole life of an appliance and its clients, by the commands a user types.
func TestLoop(t *testing.T) {
	m := newMachine(t)
	p := newProducer(t, 1)
	m.appliance(p)
	id := activationID(3)
	do := func(wanted int, code capability.Code, part string, args ...string) string {
		t.Helper()
		status, out, stderr := m.run(args...)
		if status != wanted || !strings.Contains(out+stderr, part) {
			t.Errorf("%s: exit status %d where %d and %q are wanted\n%s%s", strings.Join(args, " "), status, wanted, part, out, stderr)
		}
		if code != 0 {
			fourLines(t, strings.Join(args, " "), stderr, code)
		}
		return out
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(m.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// Each client is a device of its own: another directory.
	client := func(name string, args ...string) []string {
		return append([]string{"--dir", m.dir + "/" + name}, args...)
	}

	do(0, 0, "not activated", "status")
	do(12, capability.ErrNotProvisioned, "", client("a", "acquire", "render")...)
	do(0, 0, "request 1 written", "request", "--id", string(id), "--count", "4", "-o", ".")
	do(0, 0, "signature: GOOD  by a key in the TPM of LH-", "inspect", "REQ-0001.LHQ")
	it := capability.LineItem{ActivationID: id, Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 4, Copies: 4}
	first := p.respond(t, read("REQ-0001.LHQ"), 1, nil, it)
	m.put("RSP-0001.LHR", first)
	do(0, 0, "signature: GOOD  key producer-2026-A (Ed25519 good, ML-DSA-87 good)", "inspect", "RSP-0001.LHR")
	if err := os.Rename(m.dir+"/producer.lht", m.dir+"/elsewhere.lht"); err != nil {
		t.Fatal(err)
	}
	named := m.env
	m.env = append(m.env[:len(m.env):len(m.env)], "LEASEHOLD_TRUST=")
	do(0, 0, "(this appliance)", "inspect", "RSP-0001.LHR") // the bundle is the appliance's then
	m.env = named
	if err := os.Rename(m.dir+"/elsewhere.lht", m.dir+"/producer.lht"); err != nil {
		t.Fatal(err)
	}
	do(0, 0, "LH-2201 response 1 applied: signatures good, for this appliance\nrender 0 -> 4", "import", ".")
	do(0, 0, "already applied", "import", "RSP-0001.LHR")
	do(0, 0, "serving", "status")
	do(0, 0, "render   2026.1   4", "features")

	do(0, 0, "acquired 2 of render until", client("a", "acquire", "render:2026.1", "--count", "2")...)
	m.golden("lease.json", do(0, 0, "", client("g", "acquire", "render", "--json")...))
	m.golden("release.json", do(0, 0, "", client("g", "release", "render", "--json")...))
	m.golden("version.json", do(0, 0, "", "version", "--json"))
	do(0, 0, "acquired 1 of render until", client("b", "acquire", "render")...)
	do(10, capability.ErrNoSeat, "held: ", client("c", "acquire", "render", "--count", "2")...)
	do(12, capability.ErrVersion, "", client("c", "acquire", "render:2027")...)
	do(12, capability.ErrNotEntitled, "", client("c", "acquire", "nothing")...)
	if out := do(0, 0, "DEVICE_KEY", "devices"); strings.Count(out, "render") != 2 {
		t.Errorf("devices: %s", out)
	}
	do(13, capability.ErrInUse, "", "return", string(id), "--count", "3")
	do(0, 0, "released render", client("a", "release", "render")...)
	do(4, capability.ErrNoSuchLease, "", client("a", "release", "render")...)
	do(0, 0, "released render", client("b", "release", "render")...)

	do(7, 0, "", client("a", "acquire", "render", "--count", "4", "--", "sh", "-c", "exit 7")...)
	do(0, 0, "4 of render", client("b", "acquire", "render", "--count", "4", "--", "echo", "4 of render")...)
	do(128+9, 0, "", client("a", "acquire", "render", "--", "sh", "-c", "kill -9 $$")...)
	if out := do(0, 0, "", "devices"); strings.Contains(out, "render") {
		t.Errorf("programs that ended hold %s", out)
	}

	do(0, 0, "1 copy of "+string(id)+" returned", "return", string(id), "--count", "1", "-o", ".")
	do(0, 0, "proof", "inspect", "REQ-0002.LHQ")
	do(4, capability.ErrNothingToReturn, "", "return", string(activationID(9)))
	it.Count, it.Copies = 3, 3
	do(0, 0, "render   2026.1   3", "features")
	second := p.respond(t, read("REQ-0002.LHQ"), 2, func(r *capability.Response) {
		request, err := wire.New().ReadRequest(read("REQ-0002.LHQ"))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range request.Request.Returns {
			r.Acknowledged = append(r.Acknowledged, b.ID)
		}
	}, it)
	m.put("RSP-0002.LHR", second)
	do(0, 0, "credited: 1 return", "import", "RSP-0002.LHR")
	do(0, 0, "LH-2203 a newer response is in force", "import", "RSP-0001.LHR")
	second[len(second)-5] ^= 1
	m.put("RSP-0003.LHR", second)
	do(20, capability.ErrOneSignature, "", "import", "RSP-0003.LHR")
	do(20, 0, "signature: BAD  key producer-2026-A (Ed25519 good, ML-DSA-87 bad)", "inspect", "RSP-0003.LHR")
}

// golden compares an output that holds moments, keys or versions of today; they are blanked.
func (m *machine) golden(name, out string) {
	m.t.Helper()
	for _, p := range []string{`"expiry": [1-9]\d+`, `"report": "\w+"`, `"value": "\w+"`, `"go": "[^"]+"`} {
		out = regexp.MustCompile(p).ReplaceAllStringFunc(out, func(s string) string { return s[:strings.Index(s, ":")] + `: "*"` })
	}
	file := filepath.Join("testdata", name)
	if os.Getenv("LEASEHOLD_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != out {
		m.t.Errorf("not as in %s: %v\n%s", file, err, out)
	}
}

// signalled is the argument that makes of this test a program under a lease, which says that it is up and its number, and ends by the first signal, whose name it says. A shell will not do:
// one that comes between its trap and its read is taken up only after the read.
const signalled = "end-by-signal"

var statusOf = map[os.Signal]int{syscall.SIGTERM: 9, syscall.SIGHUP: 8, syscall.SIGINT: 7}

func untilSignalled() {
	come := make(chan os.Signal, 1)
	signal.Notify(come, slices.Collect(maps.Keys(statusOf))...)
	fmt.Printf("up\n%d\n", os.Getpid())
	s := <-come
	fmt.Println(s)
	os.Exit(statusOf[s])
}

// A program whose lease is lost gets SIGTERM, and the reason is the program's end. Another program of the device releases for all of it.
func TestLostLeaseEndsTheProgram(t *testing.T) {
	t.Parallel() // it waits for a renewal, which comes after 5 s
	m := newMachine(t)
	m.activated(newProducer(t, 1))
	c := exec.Command(os.Args[0], "acquire", "render", "--", os.Args[0], signalled)
	c.Dir, c.Env = m.dir, m.env
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatal(line, err)
	}
	if status, _, stderr := m.run("release", "render"); status != 0 {
		t.Fatal(stderr)
	}
	c.Wait()
	if c.ProcessState.ExitCode() != 4 || !strings.Contains(stderr.String(), "stopping the program") {
		t.Errorf("%d, %s", c.ProcessState.ExitCode(), &stderr)
	}
	fourLines(t, "a lost lease", stderr.String(), capability.ErrNoSuchLease)
}

// activated brings an appliance and its first response: four counts of render.
func (m *machine) activated(p *producer) {
	m.t.Helper()
	m.appliance(p)
	if status, _, stderr := m.run("request", "-o", "."); status != 0 {
		m.t.Fatal(stderr)
	}
	b, err := os.ReadFile(filepath.Join(m.dir, "REQ-0001.LHQ"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.put("RSP-0001.LHR", p.respond(m.t, b, 1, nil, capability.LineItem{ActivationID: activationID(3), Feature: "render", Count: 4, Copies: 4}))
	if status, _, stderr := m.run("import", "."); status != 0 {
		m.t.Fatal(stderr)
	}
}

// Signals reach the program, and the counts come back when it ends.
func TestSignalsArePassedOn(t *testing.T) {
	m := newMachine(t)
	m.activated(newProducer(t, 1))
	for s, want := range statusOf {
		c := exec.Command(os.Args[0], "acquire", "render", "--", os.Args[0], signalled)
		c.Dir, c.Env = m.dir, m.env
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
			t.Fatal(line, err)
		}
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		c.Wait()
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit status %d where the program's is %d", s, got, want)
		}
		if _, out, _ := m.run("devices"); strings.Contains(out, "render") {
			t.Errorf("%s: still held: %s", s, out)
		}
	}
	// What another device holds, an administrator can end.
	if status, _, stderr := m.run("acquire", "render"); status != 0 {
		t.Fatal(stderr)
	}
	_, out, _ := m.run("devices")
	fields := strings.Fields(strings.Split(out, "\n")[1])
	device := fields[len(fields)-1]
	if status, out, stderr := m.run("release", "render", "--device", device, "--reason", "test"); status != 0 || !strings.Contains(out, fmt.Sprintf("1 of render, held by %s-%s, come free at ", device[:4], device[4:8])) {
		t.Error(status, out, stderr)
	}
	if status, _, stderr := m.run("release", "nothing", "--device", device); status != 4 {
		t.Error(status, stderr)
	}
}
