package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

// canary is a value that is sought everywhere: as it is, in hex and in base64.
type canary struct {
	name  string
	value []byte
	// secret: it opens or signs something. It is sought in memory too, where it must be for a while; hidden says that even there it is not found.
	secret, hidden bool
	allowed        map[string]string // place: why it may be there
}

func (c *canary) count(b []byte) (n int) {
	for _, form := range [][]byte{c.value, fmt.Appendf(nil, "%x", c.value), fmt.Appendf(nil, "%X", c.value), []byte(base64.StdEncoding.EncodeToString(c.value)), []byte(base64.RawURLEncoding.EncodeToString(c.value))} {
		n += bytes.Count(b, form)
	}
	return n
}

// The places, and something that is known to be in each: a search that does not find it would find nothing else either.
const (
	inMemory   = "memory"    // all that can be written of the running daemon, read as root from /proc/PID/mem
	inCrash    = "crash log" // what the runtime says when the daemon is made to dump, with every register and stack
	inDisk     = "state"     // the directory of trusted storage and archive, all files
	inFiles    = "stick"     // request files and their texts, as leasehold writes them
	inWire     = "wire"      // both directions between clients and the daemon
	inBus      = "bus"       // both directions between the daemon and the TPM
	inDebugLog = "log"       // at level debug
)

// hiddenInMemory are the secrets that must not even be found in memory, once the daemon has used none of them for a while. At rest all of them are on a page
// that only the daemon can read. A use copies them to stack and heap: what is on the stack is erased when the use ends, what is on the heap by the next run of
// the collector, which the daemon asks for every eraseEvery. So the key of the journal and the serving key, which every answer uses, are to be seen for that
// long, and the others for the moment of a start, a snapshot, a move, an import or a backup. A build without the runtime's erasure leaves the copies of all of them
// where they were until something is written over them, and a kernel without memfd_secret shows the page: nothing is promised then, and doctor says so.
//
// The recovery key is not among them: it is shown to the administrator, and the buffers of the connection that carried it belong to net/http, which uses them again
// as they are.
func hiddenInMemory() []string {
	if !storage.Erases || storage.NewPage().Weakness() != nil {
		return nil
	}
	return []string{
		"root secret of the vault", "key of headers", "key of segment headers", "key of the journal", "key of the snapshot", "secret of the archive",
		"auth value of the counter", "content key of the response", "serving key",
	}
}

// quiet reads the memory of a daemon that has nothing to do until none of the secrets is found in it, or long after a collection should have erased them.
func (b *box) quiet(t testing.TB, secrets ...[]byte) []byte {
	t.Helper()
	for deadline := time.Now().Add(6 * eraseEvery); ; {
		memory := b.memory(t)
		found := slices.ContainsFunc(secrets, func(s []byte) bool { return len(s) > 0 && bytes.Contains(memory, s) })
		if !found || len(hiddenInMemory()) == 0 || time.Now().After(deadline) {
			return memory
		}
	}
}

// TestSoakSecrets plants 20 canaries and lets a real daemon work; then it searches for them in seven places, and for a core.
//
// The secrets are known without any help of the daemon: the root secret is unsealed from a copy of the disk by the same TPM before the daemon starts, the keys are
// derived from it as storage's format says, the content key comes from the TPM by the response file, the serving key is found in memory by its public half, and the
// recovery key is shown to the administrator. Names are planted through requests and the administrators' interface.
//
// One case is one request of a client before the search.
func TestSoakSecrets(t *testing.T) {
	size := storagetest.Size(t, 100, 10_000, 10_000)
	b := newBox(t)
	b.Level = "debug"
	// A response that this daemon will import: its content key is drawn for it alone.
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	request, err := b.request()
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.office.Respond(request)
	if err != nil {
		t.Fatal(err)
	}
	b.Kill()
	unsealed, content := b.unsealed(t, response)
	bus := newTap(t, "unix", filepath.Join(b.Dir, "t"), false, func() (net.Conn, error) { return net.Dial("unix", strings.TrimPrefix(b.Chip.Address(), "unix:")) })
	line := newTap(t, "tcp", "127.0.0.1:0", false, func() (net.Conn, error) { return net.Dial("tcp", b.Clients.Addr().String()) })
	b.Bus, b.Environment = "unix:"+filepath.Join(b.Dir, "t"), []string{"GOTRACEBACK=crash"}
	b.Cores = true
	if err := errors.Join(b.Start(), b.Import(response)); err != nil {
		t.Fatal(err)
	}
	all, err := desks(4)
	if err != nil {
		t.Fatal(err)
	}
	word := func(what string) string { return "canary-" + what + "-" + rand.Text()[:12] }
	user, alias, kind, pair, group, model := word("user"), word("alias"), word("type"), word("pair"), word("group"), word("model")
	var key console.RecoveryKey
	for _, step := range []struct {
		method, path string
		body, answer any
	}{
		{"PUT", "model", []byte("// " + model + "\nmodel \"m\" {\n\ton any() { use \"default\" accept }\n}\n"), nil},
		{"DELETE", "model", nil, nil}, // one of the two is in force
		{"POST", "reservations", console.Reserved{Group: group, Host: console.HostOf(all[0].id), Feature: "paint", Version: capability.Version{Major: 1}, Count: 3}, nil},
		{"POST", "recovery", console.RecoveryForm{}, &key},
	} {
		if err := b.Ask(step.method, step.path, step.body, step.answer); err != nil {
			t.Fatalf("%s %s: %v", step.method, step.path, err)
		}
	}
	chance := mrand.New(mrand.NewPCG(9, 9))
	tried, failed := 0, 0
	defer func() { storagetest.Tried(t, tried, failed) }()
	for ; tried < size; tried++ {
		d := all[tried%len(all)]
		denied, err := d.want(line.address, uint32(chance.IntN(10)), func(r *capability.Request) {
			r.User, r.Alias, r.DeviceType, r.Dictionary = user, alias, kind, []capability.Pair{{Key: "site", Value: pair}}
		})
		if err != nil || len(denied) > 0 {
			t.Fatalf("request %d: %v %v", tried, denied, err)
		}
		if tried%500 == 50 {
			if err := b.Ask("POST", "returns", console.Giving{ActivationID: b.site.id, Copies: 1}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	stick := filepath.Join(b.Dir, "stick")
	if err := os.Mkdir(stick, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(b.site.dir, "bin", "leasehold"), "request", "--id", string(b.site.id), "--count", fmt.Sprint(planted), "-o", stick, "--socket", filepath.Join(b.Dir, "a")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	places := map[string][]byte{inDisk: readTree(t, b.State()), inFiles: readTree(t, stick)}
	serving := servingSeed(b.memory(t), all[0].server)
	journal := derive(t, unsealed, salt(t, b.State(), "vault/journal-*", 12), "leasehold journal v1")
	places[inMemory] = b.quiet(t, serving, journal)
	b.crash(t)
	places[inDebugLog], places[inCrash], _ = cutAt(b.Log.Bytes(), "SIGABRT")
	places[inWire], places[inBus] = line.seen(), bus.seen()

	device := func(i int) []byte {
		return all[i].config.Certificates[0].PrivateKey.(ed25519.PrivateKey).Seed()
	}
	byDesign := map[string]string{inFiles: "it is what is asked for", inDebugLog: "the line about a return names it"}
	canaries := []*canary{
		{name: "root secret of the vault", value: unsealed, secret: true},
		{name: "key of headers", value: derive(t, unsealed, nil, "leasehold header v1"), secret: true},
		{name: "key of segment headers", value: derive(t, unsealed, nil, "leasehold segment v1"), secret: true},
		{name: "key of the journal", value: journal, secret: true},
		{name: "key of the snapshot", value: derive(t, unsealed, salt(t, b.State(), "vault/snapshot-*", 9), "leasehold snapshot v1"), secret: true},
		{name: "secret of the archive", value: derive(t, unsealed, nil, "leasehold caller v1 archive"), secret: true},
		{name: "auth value of the counter", value: counterAuth(t, unsealed), secret: true},
		{name: "recovery key", value: []byte(key.Key), secret: true},
		{name: "content key of the response", value: content, secret: true},
		{name: "key of a client", value: device(0), secret: true, hidden: true},
		{name: "key of another client", value: device(1), secret: true, hidden: true},
		{name: "passphrase of the producer", value: []byte(passphrase), secret: true, hidden: true},
		{name: "user", value: []byte(user)},
		{name: "alias", value: []byte(alias)},
		{name: "device type", value: []byte(kind)},
		{name: "dictionary value", value: []byte(pair)},
		{name: "reservation group", value: []byte(group)},
		{name: "comment of the model", value: []byte(model)},
		{name: "activation ID", value: []byte(b.site.id), allowed: byDesign},
		{name: "serving key", value: serving, secret: true},
	}
	controls := map[string][]byte{
		inMemory: []byte(user), inDisk: []byte("snapshot-"), inFiles: []byte(b.site.id), inWire: []byte(wire.ALPN), inBus: {0x80, 0x02}, inDebugLog: []byte("LH-1001"), inCrash: []byte("goroutine "),
	}
	for place, control := range controls {
		if !bytes.Contains(places[place], control) {
			t.Errorf("%s: the search does not find %q in %d bytes, where it is", place, control, len(places[place]))
		}
	}
	order := []string{inMemory, inCrash, inDisk, inFiles, inWire, inBus, inDebugLog}
	t.Logf("hits in %v of", order)
	for _, place := range order {
		t.Logf("  %s: %d bytes", place, len(places[place]))
	}
	for _, c := range canaries {
		if len(c.value) < 8 {
			if c.name == "serving key" && storage.Erases && storage.NewPage().Weakness() == nil {
				continue // it rests on a page that no search reaches, and the copies that uses leave were erased before this one
			}
			t.Errorf("%s: not known", c.name)
			continue
		}
		var hits []int
		for _, place := range order {
			n := c.count(places[place])
			hits = append(hits, n)
			switch {
			case n == 0 || c.allowed[place] != "":
			case place == inMemory && !c.hidden && !slices.Contains(hiddenInMemory(), c.name):
			default:
				failed++
				t.Errorf("%s: %d hits in %s", c.name, n, place)
			}
		}
		t.Logf("%-28s %v", c.name, hits)
	}
}

func derive(t testing.TB, secret, salt []byte, label string) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, label, 32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func counterAuth(t testing.TB, secret []byte) []byte {
	raw, err := hkdf.Key(sha256.New, secret, nil, "leasehold epoch auth v1", 16)
	if err != nil {
		t.Fatal(err)
	}
	return hex.AppendEncode(nil, raw)
}

// salt is that of the newest file of a kind.
func salt(t testing.TB, state, pattern string, at int) []byte {
	names, err := filepath.Glob(filepath.Join(state, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	slices.Sort(names)
	b, err := os.ReadFile(names[len(names)-1])
	if err != nil || len(b) < at+16 {
		t.Fatal(err)
	}
	return b[at : at+16]
}

// watcher is a sealer that keeps what comes out.
type watcher struct {
	storage.Sealer
	saw []byte
}

func (w *watcher) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	secret, err := w.Sealer.Unseal(blob, epoch)
	w.saw = bytes.Clone(secret)
	return secret, err
}

// unsealed opens the box's vault as the daemon does, without beginning a run, and a response as the TPM does.
func (b *box) unsealed(t testing.TB, response []byte) (secret, content []byte) {
	t.Helper()
	device, err := tpm.Open(b.Chip.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	w := &watcher{}
	v, _, err := storage.Open(storage.Dir(filepath.Join(b.State(), "vault")), storage.Options{
		SealerFor: func(public []byte) (storage.Sealer, error) {
			var boot capability.Boot
			if err := wire.New().Decode(public, &boot, storage.MaxPublicBytes); err != nil {
				return nil, err
			}
			s, err := binding(device, boot)
			w.Sealer = s
			return w, err
		},
		Anchor: device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil),
		Rand:   rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	sealed, err := wire.New().ReadResponse(response)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := attest.DecodeWrapped(sealed.Wrap)
	if err != nil {
		t.Fatal(err)
	}
	if content, err = device.Activate(wrapped); err != nil {
		t.Fatal(err)
	}
	return w.saw, content
}

// tap is a proxy that keeps all that passes.
type tap struct {
	address string
	oneWay  bool // only what goes to the far end is kept
	mu      sync.Mutex
	bytes   []byte
}

func newTap(t testing.TB, network, address string, oneWay bool, dial func() (net.Conn, error)) *tap {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &tap{address: l.Addr().String(), oneWay: oneWay}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := dial()
			if err != nil {
				near.Close()
				continue
			}
			for i, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					var from io.Reader = way[0]
					if i == 0 || !p.oneWay {
						from = io.TeeReader(way[0], p)
					}
					io.Copy(way[1], from)
					way[0].Close()
					way[1].Close()
				}()
			}
		}
	}()
	return p
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes = append(p.bytes, b...)
	return len(b), nil
}

func (p *tap) seen() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.bytes)
}

func readTree(t testing.TB, dir string) (all []byte) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = written(append(append(all, d.Name()...), 0), b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// written appends b without its pages of zeros.
func written(all, b []byte) []byte {
	var zeros [4096]byte
	for page := range slices.Chunk(b, len(zeros)) {
		if !bytes.Equal(page, zeros[:len(page)]) {
			all = append(all, page...)
		}
	}
	return all
}

// memory is all that the daemon can write to and root can read.
func (b *box) memory(t testing.TB) (all []byte) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", b.Cmd.Process.Pid)
	maps, err := os.ReadFile(proc + "maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(proc + "mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var rights string
		if n, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); n != 3 || err != nil || !strings.HasPrefix(rights, "rw") {
			continue
		}
		part := make([]byte, 1<<20)
		for at := from; at < to; at += int64(len(part)) {
			n, _ := mem.ReadAt(part[:min(int64(len(part)), to-at)], at)
			all = written(all, part[:n])
		}
	}
	return all
}

// servingSeed finds the seed of a key by its public half, beside which Go keeps it.
func servingSeed(memory []byte, public ed25519.PublicKey) []byte {
	for at := 0; ; at++ {
		i := bytes.Index(memory[at:], public)
		if i < 0 {
			return nil
		}
		if at += i; at >= ed25519.SeedSize {
			if seed := memory[at-ed25519.SeedSize : at]; bytes.Equal(ed25519.NewKeyFromSeed(seed)[ed25519.SeedSize:], public) {
				return bytes.Clone(seed)
			}
		}
	}
}

// crash makes the daemon dump where a core would be allowed, and shows that there is none. That the machine writes cores is shown by another program.
func (b *box) crash(t testing.TB) {
	t.Helper()
	control := exec.CommandContext(context.Background(), "sh", "-c", "ulimit -c unlimited; kill -ABRT $$")
	control.Dir = t.TempDir()
	control.Run()
	dumps := control.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
	b.Cmd.Process.Signal(syscall.SIGABRT)
	select {
	case <-b.Ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the daemon does not abort")
	}
	status := b.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	left, err := os.ReadDir(b.Cmd.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if status.CoreDump() || len(left) > 0 {
		t.Errorf("a core: %v, and %d files beside the daemon", status.CoreDump(), len(left))
	}
	t.Logf("core of the daemon: %v, of another program under the same limit: %v", status.CoreDump(), dumps)
}

func cutAt(b []byte, mark string) (before, after []byte, found bool) {
	i := bytes.Index(b, []byte(mark))
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i:], true
}
