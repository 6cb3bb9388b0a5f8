package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The daemon has no profiler, counts no syncs and cannot be slowed down. For these measures one is built that can: two files and one line are laid over its source.

//go:embed testdata/*.txt
var instruments embed.FS

const (
	syncBegins = "func (f osFile) Datasync() error {\n"
	diskSource = "storage/dir_linux.go"
)

// instrumented builds that daemon.
func instrumented(dir string) (program string, err error) {
	top, err := os.Getwd()
	if err != nil {
		return "", err
	}
	lay := map[string]string{}
	over := func(path string, text []byte) error {
		at := filepath.Join(dir, strings.ReplaceAll(path, "/", "-"))
		lay[filepath.Join(top, path)] = at
		return os.WriteFile(at, text, 0o600)
	}
	source, err := os.ReadFile(diskSource)
	if err != nil {
		return "", err
	}
	if strings.Count(string(source), syncBegins) != 1 {
		return "", fmt.Errorf("%s has not one %q", diskSource, syncBegins)
	}
	if err := over(diskSource, []byte(strings.Replace(string(source), syncBegins, syncBegins+"\tbenchSync()\n", 1))); err != nil {
		return "", err
	}
	for path, name := range map[string]string{"storage/bench_overlay.go": "testdata/storage.go.txt", "cmd/leaseholdd/bench_overlay.go": "testdata/leaseholdd.go.txt"} {
		text, err := instruments.ReadFile(name)
		if err == nil {
			err = over(path, text)
		}
		if err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": lay})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "instrumented")
	if out, err := exec.Command("go", "build", "-trimpath", "-overlay", file, "-o", program, "./cmd/leaseholdd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the daemon with instruments: %w\n%s", err, out)
	}
	return program, nil
}

// slow is the appliance on a disk that takes 5 ms longer for each sync.
type slow struct {
	Connections int     `json:"connections"`
	Delay       float64 `json:"delayMs"`
	Rate        float64 `json:"opsPerSecond"`
	Bound       float64 `json:"connectionsPerTwoPeriods"` // connections / (2 x (delay + sync))
}

// profile is where the daemon's CPU went.
type profile struct {
	Workload    string `json:"workload"`
	Connections int    `json:"connections"`
	File        string `json:"file"`
	Costs       []cost `json:"costs"`
	Allocated   []cost `json:"allocated"` // bytes
}

// cost is the share of the CPU spent in some functions and all that they call; shares overlap.
type cost struct {
	What    string  `json:"what"`
	Percent float64 `json:"percent"`
}

// syncsCalled is how often fdatasync was called for so many operations: counted where it is called.
type syncsCalled struct {
	Connections int   `json:"connections"`
	Ops         int   `json:"ops"`
	Syncs       int64 `json:"syncs"`
}

const (
	busy    = 64 // connections of the measures that are taken at one number
	aBit    = time.Second
	profFor = 6 * time.Second
)

// instrumentedMeasures are all that need the daemon with instruments.
func (t *trial) instrumentedMeasures(profiles string) error {
	program, err := instrumented(t.dir)
	if err != nil {
		return err
	}
	b, err := t.site.box("i")
	if err != nil {
		return err
	}
	defer b.Close()
	b.Program = program
	syncs, prof := filepath.Join(b.Dir, "syncs"), filepath.Join(b.Dir, "profile")
	b.Environment = []string{"BENCH_SYNCS=" + syncs, "BENCH_PROFILE=" + prof}
	if err := b.Start(); err != nil {
		return err
	}
	for _, n := range []int{1, busy} {
		s, err := t.countSyncs(b, syncs, n, 2048/n)
		if err != nil {
			return err
		}
		t.figures.SyncsCalled = append(t.figures.SyncsCalled, s)
	}
	for _, w := range workloads()[:2] {
		p, err := t.profile(b, w, program, prof, syncs, profiles)
		if err != nil {
			return err
		}
		t.figures.Profiles = append(t.figures.Profiles, *p)
	}
	if err := b.Halt(); err != nil {
		return err
	}
	const delay = 5 * time.Millisecond
	b.Environment = []string{"BENCH_SYNC_DELAY=" + delay.String()}
	if err := b.Start(); err != nil {
		return err
	}
	r, err := b.subject(t.devices).run(workloads()[0], busy, t.warm, 2*aBit)
	if err != nil {
		return err
	}
	period := delay.Seconds() + *t.figures.Sync/1e6
	t.figures.Slow = &slow{busy, delay.Seconds() * 1000, r.Rate, busy / (2 * period)}
	return nil
}

// signaled sends a signal and waits for the file that answers it.
func (b *box) signaled(answer string) (string, error) {
	if err := os.Remove(answer); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := b.Cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		return "", err
	}
	var text []byte
	_, err := until(replyWithin, func() (err error) {
		text, err = os.ReadFile(answer)
		return err
	})
	return string(text), err
}

func (b *box) syncs(answer string) (int64, error) {
	s, err := b.signaled(answer)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// countSyncs lets n clients do a known number of checkouts and counts the syncs of these, and of nothing else.
func (t *trial) countSyncs(b *box, answer string, n, each int) (c syncsCalled, err error) {
	workers, err := b.subject(t.devices).workers(workloads()[0], n)
	if err != nil {
		return c, err
	}
	before, err := b.syncs(answer)
	if err != nil {
		return c, err
	}
	var running sync.WaitGroup
	for _, k := range workers {
		running.Go(func() {
			for i := 0; i < each && k.err == nil; i++ {
				k.err = k.do()
			}
		})
	}
	running.Wait()
	after, err := b.syncs(answer)
	for _, k := range workers {
		if err = errors.Join(err, k.err); k.err == nil {
			err = errors.Join(err, k.leave())
		}
	}
	return syncsCalled{n, n * each, after - before}, err
}

// profile takes a CPU profile of the daemon under load, and keeps it.
func (t *trial) profile(b *box, w workload, program, prof, syncs, keep string) (*profile, error) {
	ended := make(chan error, 1)
	go func() {
		_, err := b.subject(t.devices).run(w, busy, 2*aBit, profFor)
		ended <- err
	}()
	wait(2 * aBit)
	if err := b.Cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return nil, err
	}
	wait(profFor - aBit)
	if _, err := b.signaled(syncs); err != nil {
		return nil, err
	}
	err := <-ended
	if err != nil {
		return nil, err
	}
	p := &profile{Workload: w.name, Connections: busy, File: filepath.Join(keep, "bench-"+w.name+".pprof")}
	if p.Costs, err = kept(program, prof, p.File, "cpu"); err == nil {
		p.Allocated, err = kept(program, prof+".allocs", filepath.Join(keep, "bench-"+w.name+"-allocs.pprof"), "alloc_space")
	}
	return p, err
}

// kept copies a profile to where the report is, and reads it.
func kept(program, from, to, index string) ([]cost, error) {
	text, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o644)); err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", "-cum", "-nodecount=100000", "-nodefraction=0", "-sample_index="+index, program, to).Output()
	if err != nil {
		return nil, fmt.Errorf("read the profile: %w", err)
	}
	return costs(string(out)), nil
}

// parts of the work, and the functions at whose call each begins.
func parts() []struct {
	what      string
	functions []string
} {
	const top = "github.com/leasehold/leasehold/"
	return []struct {
		what      string
		functions []string
	}{
		{"system calls", []string{"internal/runtime/syscall.Syscall6", "internal/runtime/syscall/linux.Syscall6", "syscall.rawVforkSyscall"}},
		{signatureAndTree, []string{top + "capability/wire.(*Codec).SignTree", top + "capability/wire.Grow"}},
		{"proofs of answers", []string{top + "capability/wire.(*Codec).Answer"}},
		{"decoding of requests, with the comparison", []string{top + "capability/wire.(*Codec).ReadFrame", top + "appliance.(*connection).take"}},
		{"encoding of messages", []string{top + "capability/wire.(*Codec).Encode"}},
		{"ledger: decide", []string{top + "capability/ledger.(*Ledger).Decide"}},
		{"ledger: apply", []string{top + "capability/ledger.(*Ledger).Apply", top + "capability/ledger.(*Ledger).Enter"}},
		{"ledger: encoding of entries", []string{top + "capability/ledger.Entry.Encode", top + "capability/ledger.(*Entry).Encode"}},
		{"new codecs", []string{top + "capability/wire.New"}},
		{"storage", []string{top + "storage.(*Vault).Commit", top + "storage.(*Vault).Move"}},
		{"the TPM's transport", []string{top + "tpm.(*Binding).Extend", top + "tpm.(*Binding).Running"}},
		{"archive", []string{top + "appliance.(*Appliance).archiveEntries", top + "appliance.(*keeper).keep"}},
		{"TLS and socket: write", []string{"crypto/tls.(*Conn).Write"}},
		{"TLS and socket: read", []string{"crypto/tls.(*Conn).Read"}},
		{"garbage collection in the background", []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge"}},
		{"allocation", []string{"runtime.mallocgc"}},
		{"scheduler", []string{"runtime.schedule"}},
	}
}

const signatureAndTree = "signature and tree"

// costs reads what pprof's top says. A line ends with: flat, flat%, sum%, cum, cum%, function.
func costs(top string) []cost {
	percent := map[string]float64{}
	for line := range strings.Lines(top) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSuffix(f[4], "%"), 64); err == nil && strings.HasSuffix(f[4], "%") {
			percent[f[5]] = v
		}
	}
	var all []cost
	for _, p := range parts() {
		c := cost{What: p.what}
		for _, f := range p.functions {
			c.Percent += percent[f]
		}
		all = append(all, c)
	}
	return all
}
