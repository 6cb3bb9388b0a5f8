// Package storagetest is a machine for tests of trusted storage: a disk that tears, loses and reorders what was not synced, lies
// about syncs, fills up and goes back in time, and a software model of the TPM's counter and digest.
//
// New makes a Machine; Options makes a vault on it. Each call to the disk and the TPM is a step: a Plan lets the n-th one fail, or
// end the process before, amid or after it. Then Kill, PowerCut or Restart say what the world does, and the vault is opened again.
// Everything follows from a seed. For tests only; nothing here is secure.
package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"

	"github.com/leasehold/leasehold/storage"
)

// ErrStopped is what every call gives after the step at which the process ended.
var ErrStopped = errors.New("the process has ended")

// Effect is how much of a call happens before its fault.
type Effect int

const (
	None  Effect = iota
	Half         // the first half of a write; nothing of another call
	Whole        // all of it
	// Astray and above: a write is put in a wrong place and reported as done; Astray+k names the place. Nothing of another call.
	Astray
)

// Mode is what a power cut leaves of the writes since the last sync.
type Mode int

const (
	Lost      Mode = iota // nothing, and no name that changed
	Kept                  // all
	Torn                  // those up to some moment, and the last of them in part
	Reordered             // each unit as it was after any of the writes to it
)

// Loss is one power cut: what a disk does that writes Unit bytes whole. Seed chooses where there is a choice.
type Loss struct {
	Mode Mode
	Unit int64 // 512 or 4096
	Seed uint64
}

func (l Loss) String() string {
	return fmt.Sprintf("power cut, %s by %d bytes, seed %d", [...]string{"lost", "kept", "torn", "reordered"}[l.Mode], l.Unit, l.Seed)
}

// Fault is what happens at one step. A fault without Err and Stop is a lie: the call reports success with no more
// than Effect.
type Fault struct {
	Err    error
	Effect Effect
	Stop   bool // the process ends here
	Reset  bool // the TPM restarts before the call, and the process does not notice
}

// Call names one step.
type Call struct {
	Op   string // create, open, read, list, write, datasync, sync, rename, remove, syncdir, lock, close; provision, epoch, advance, extend, running, seal, unseal
	Name string // of the file
}

func (c Call) String() string { return fmt.Sprintf("%s %s", c.Op, c.Name) }

// Plan decides about the n-th step since it was set, from 0; nil lets it pass.
type Plan func(n int, c Call) *Fault

// At is one fault, at step n.
func At(n int, f Fault) Plan {
	return func(i int, _ Call) *Fault {
		if i == n {
			return &f
		}
		return nil
	}
}

// From is a fault at step n and forever after, for calls of the same kind.
func From(n int, f Fault) Plan {
	var op string
	return func(i int, c Call) *Fault {
		if i == n {
			op = c.Op
		}
		if i >= n && c.Op == op {
			return &f
		}
		return nil
	}
}

// On is a fault at every call of that kind.
func On(op string, f Fault) Plan {
	return func(_ int, c Call) *Fault {
		if c.Op == op {
			return &f
		}
		return nil
	}
}

// NoSpace and Broken are the usual faults of a call.
func NoSpace() Fault { return Fault{Err: syscall.ENOSPC} }
func Broken() Fault  { return Fault{Err: syscall.EIO} }

// Machine is one computer with a disk and a TPM. Safe for several goroutines.
type Machine struct {
	Disk *Disk
	TPM  *TPM

	// Watch, when set, is called before each step with a fork of the machine as it is then. It may not use the machine itself.
	Watch func(c Call, fork *Machine)

	disks   []*Disk
	mu      sync.Mutex
	rand    *rand.ChaCha8
	plan    Plan
	calls   []Call
	stopped bool
	process int // number of the process; files of an earlier one are dead
}

// New makes a machine with an empty disk and a fresh TPM.
func New(seed uint64) *Machine {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	m := &Machine{rand: rand.NewChaCha8(key)}
	m.Disk = m.AddDisk(nil)
	m.TPM = &TPM{m: m, id: seed, epoch: 100 + seed%7}
	return m
}

// AddDisk gives the machine one more disk, with a copy of image on it: for a second process beside the first.
func (m *Machine) AddDisk(image Image) *Disk {
	d := &Disk{m: m}
	d.Restore(image)
	m.disks = append(m.disks, d)
	return d
}

// Options are those of a vault on this machine, with the smallest segments and every task run at once, so that a life repeats.
func (m *Machine) Options() storage.Options {
	return storage.Options{Sealer: m.TPM, Anchor: m.TPM, Rand: m, SegmentBytes: storage.MinSegmentBytes, Go: func(task func()) { task() }}
}

// Read makes the machine the source of randomness of its vaults.
func (m *Machine) Read(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rand.Read(b)
}

// Plan sets what goes wrong from here on; nil is nothing.
func (m *Machine) Plan(p Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan, m.calls = p, nil
}

// Calls gives the steps since the last Plan.
func (m *Machine) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Call(nil), m.calls...)
}

// Stopped says whether a plan has ended the process.
func (m *Machine) Stopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopped
}

// Kill ends the process: what it wrote stays in the page cache, its lock is free.
func (m *Machine) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
}

func (m *Machine) kill() {
	m.plan, m.calls, m.stopped = nil, nil, false
	m.process++
	for _, d := range m.disks {
		d.locked = 0
	}
}

// PowerCut is a Cut of which the seed says everything.
func (m *Machine) PowerCut(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	unit := int64(sector)
	if r.IntN(3) == 0 {
		unit = 8 * sector
	}
	m.Cut(Loss{[]Mode{Lost, Kept, Torn, Reordered, Reordered}[r.IntN(5)], unit, seed})
}

// Cut ends the process, loses of the unsynced writes what l says, and empties the running digest.
func (m *Machine) Cut(l Loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
	r := rand.New(rand.NewPCG(l.Seed, 3))
	for _, d := range m.disks {
		d.crash(l, r)
	}
	m.TPM.digest = [32]byte{}
	m.TPM.resets++
}

// Fork gives a second machine in the same state, which shares nothing with this one: to let the world end in several ways.
func (m *Machine) Fork() *Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fork()
}

func (m *Machine) fork() *Machine {
	f := &Machine{rand: &rand.ChaCha8{}, stopped: m.stopped, process: m.process}
	state, err := m.rand.MarshalBinary()
	if err == nil {
		err = f.rand.UnmarshalBinary(state)
	}
	if err != nil {
		panic("storagetest: " + err.Error())
	}
	for _, d := range m.disks {
		f.disks = append(f.disks, d.fork(f))
	}
	f.Disk = f.disks[0]
	t := *m.TPM
	t.m = f
	f.TPM = &t
	return f
}

// Restart is an orderly Shutdown(STATE) and Startup(CLEAR): the disk is synced, the digest is empty, resets stay, restarts move.
func (m *Machine) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
	for _, d := range m.disks {
		d.syncAll()
	}
	m.TPM.restart()
}

// step runs one call: effect is given how much of it is to happen.
func (m *Machine) step(process int, op, name string, effect func(Effect) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || process != m.process {
		return ErrStopped
	}
	n := len(m.calls)
	c := Call{op, name}
	m.calls = append(m.calls, c)
	if m.Watch != nil {
		m.Watch(c, m.fork())
	}
	if m.plan == nil {
		return effect(Whole)
	}
	f := m.plan(n, c)
	if f == nil {
		return effect(Whole)
	}
	m.stopped = f.Stop
	if f.Reset {
		m.TPM.restart()
	}
	if f.Effect == Whole || f.Effect != None && op == "write" {
		if err := effect(f.Effect); err != nil {
			return err
		}
	}
	if f.Stop {
		return ErrStopped
	}
	return f.Err
}

func (m *Machine) now() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}
