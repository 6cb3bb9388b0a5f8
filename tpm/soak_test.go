package tpm_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// blow is what happens to one command, and to those after it.
type blow struct {
	name    string
	refuse  tpm2.TPMRC                // instead of the command
	lost    error                     // instead of its answer; unrun says that it did not run either
	unrun   bool                      //
	garbage []byte                    // in the place of its answer
	power   func(*tpmtest.TPM) error  // before the command
	forever bool                      // all that follow too
	passes  bool                      // the operation may succeed all the same
	class   func(err error) (ok bool) // of its error; nil: any that has a name
}

func unavailable(err error) bool { return errors.Is(err, tpm.ErrUnavailable) }

func blows() []blow {
	return []blow{
		{name: "RETRY", refuse: tpm2.TPMRCRetry, passes: true},
		{name: "RETRY forever", refuse: tpm2.TPMRCRetry, forever: true, class: unavailable},
		{name: "NV_RATE", refuse: tpm2.TPMRCNVRate, passes: true},
		{name: "NV_RATE forever", refuse: tpm2.TPMRCNVRate, forever: true, class: unavailable},
		{name: "NV_UNAVAILABLE", refuse: tpm2.TPMRCNVUnavailable, passes: true, class: unavailable},
		{name: "NV_UNAVAILABLE forever", refuse: tpm2.TPMRCNVUnavailable, forever: true, class: unavailable},
		{name: "LOCKOUT", refuse: tpm2.TPMRCLockout, class: func(err error) bool { return unavailable(err) || errors.Is(err, tpm.ErrLockout) }},
		{name: "OBJECT_MEMORY", refuse: tpm2.TPMRCObjectMemory, passes: true, class: unavailable},
		{name: "OBJECT_MEMORY forever", refuse: tpm2.TPMRCObjectMemory, forever: true, class: unavailable},
		{name: "SESSION_MEMORY", refuse: tpm2.TPMRCSessionMemory, passes: true, class: unavailable},
		{name: "FAILURE forever", refuse: tpm2.TPMRCFailure, forever: true, class: unavailable},
		{name: "timeout", lost: os.ErrDeadlineExceeded, class: unavailable},
		{name: "EIO", lost: syscall.EIO, unrun: true, class: unavailable},
		{name: "EIO of the answer", lost: syscall.EIO, class: unavailable},
		{name: "gone", lost: io.EOF, unrun: true, forever: true, class: unavailable},
		{name: "garbage", garbage: []byte("\x80\x01\x00\x00\x00\x14\x00\x00\x00\x00garbage!!!")},
		{name: "a short frame", garbage: []byte{0x80, 1, 0, 0, 0, 10}, class: unavailable},
		{name: "power cut", power: (*tpmtest.TPM).Cut, passes: true},
		{name: "orderly reset", power: (*tpmtest.TPM).PowerCycle, passes: true},
		{name: "restart", power: (*tpmtest.TPM).Restart, passes: true},
	}
}

// bench is a TPM that can be struck at one command, and says how many there were.
type bench struct {
	m      *tpmtest.TPM
	d      *tpm.Device
	seen   int
	at     int // -1: never
	blow   blow
	struck tpm2.TPMCC
}

func newBench(t *testing.T) *bench {
	b := &bench{m: tpmtest.Start(t, tpmtest.None), at: -1}
	b.d = b.device(t)
	return b
}

// device is what a new process has.
func (b *bench) device(t testing.TB) *tpm.Device {
	t.Helper()
	d, err := tpm.New(&tpmtest.Faulty{TPM: b.m.Bus(), Fault: b.strike})
	if err != nil {
		t.Fatal(err)
	}
	d.SetWait(func(time.Duration) {})
	return d
}

func (b *bench) arm(at int, w blow) { b.seen, b.at, b.blow, b.struck = 0, at, w, 0 }

func (b *bench) strike(_ int, command []byte) ([]byte, error) {
	n := b.seen
	b.seen++
	if b.at < 0 || n < b.at || n > b.at && !b.blow.forever {
		return nil, nil
	}
	if b.struck == 0 {
		b.struck = tpmtest.Command(command)
	}
	switch w := b.blow; {
	case w.power != nil:
		return nil, w.power(b.m)
	case w.refuse != 0:
		return tpmtest.Refusal(w.refuse), nil
	case !w.unrun:
		if _, err := b.m.Bus().Send(command); err != nil {
			return nil, err
		}
	}
	return b.blow.garbage, b.blow.lost
}

// judge is for an operation that was struck: it may succeed where that is right, and what it says must have a name.
func (b *bench) judge(t testing.TB, err error) {
	t.Helper()
	if b.struck == 0 || err == nil && (b.blow.passes || b.struck == tpm2.TPMCCFlushContext || b.struck == tpm2.TPMCCGetCapability) {
		return
	}
	if err == nil {
		// An answer that says nothing, or that no session covers, cannot be told from garbage.
		if b.blow.garbage != nil && slices.Contains([]tpm2.TPMCC{tpm2.TPMCCPCRExtend, tpm2.TPMCCPolicyPCR, tpm2.TPMCCPolicyAuthorize, tpm2.TPMCCNVReadPublic}, b.struck) {
			return
		}
		if b.struck == tpm2.TPMCCNVReadPublic || b.struck == tpm2.TPMCCNVRead {
			return // certificates that cannot be read are left out
		}
		t.Fatalf("%v passes for an answer", b.struck)
	}
	var refusal tpm2.TPMRC
	named := errors.As(err, &refusal) || errors.Is(err, storage.ErrDisturbed)
	for _, name := range []error{tpm.ErrUnavailable, tpm.ErrBootState, tpm.ErrEpoch, tpm.ErrCounter, tpm.ErrNotOurs} {
		named = named || errors.Is(err, name)
	}
	if !named || b.blow.class != nil && !b.blow.class(err) {
		t.Fatalf("%v at %v gives %v", b.blow.name, b.struck, err)
	}
}

// whole gives the TPM power, if it has none, and shows that the next operation leaves no handle.
func (b *bench) whole(t testing.TB) {
	t.Helper()
	b.at = -1
	d := b.device(t)
	if err := d.FlushAll(); err != nil { // as opening a socket does
		t.Fatal(err)
	}
}

func (b *bench) noHandles(t testing.TB) {
	t.Helper()
	if left, err := b.m.Handles(); err != nil || len(left) > 0 {
		t.Fatalf("handles left: %x, %v", left, err)
	}
}

// story puts the case before what went wrong.
type story struct {
	testing.TB
	name string
}

func (s story) Fatalf(format string, args ...any) {
	s.Helper()
	s.TB.Fatalf(s.name+": "+format, args...)
}

// store is a vault on a bench, on a disk in memory, beside what it acknowledged.
type store struct {
	*bench
	testing.TB
	disk  *storagetest.Machine
	key   attest.BootKey
	sign  []attest.SignedState
	v     *storage.Vault
	told  []string
	maybe []string
	n     int
	made  bool
}

func newStore(t *testing.T) *store {
	b := newBench(t)
	u := unprovisioned(t, b.d)
	return &store{bench: b, TB: t, disk: storagetest.New(1), key: u.key, sign: u.signed}
}

func (s *store) options() storage.Options {
	o := s.disk.Options()
	b := s.d.Binding(attest.EpochIndex, attest.RunningPCR, s.key, s.sign)
	o.Sealer, o.Anchor = b, b
	return o
}

func (s *store) create() (err error) {
	s.disk, s.told, s.maybe, s.made = storagetest.New(1), nil, nil, false
	s.v, err = storage.Create(s.disk.Disk, s.options(), nil, nil)
	s.made = err == nil
	return err
}

// group does what writes one new entry.
func (s *store) group(do func(entries ...[]byte) error) error {
	s.n++
	s.maybe = []string{fmt.Sprintf("entry-%d", s.n)}
	if err := do([]byte(s.maybe[0])); err != nil {
		return err
	}
	s.told, s.maybe = append(s.told, s.maybe...), nil
	return nil
}

func (s *store) begin() error { return s.group(s.v.Begin) }

func (s *store) commit() error {
	return s.group(func(e ...[]byte) error { return s.v.Commit(e) })
}

func (s *store) move() error {
	return s.group(func(e ...[]byte) error { return s.v.Move(nil, e) })
}

// open compares what is found with what was acknowledged.
func (s *store) open() (storage.Verdict, error) {
	v, r, err := storage.Open(s.disk.Disk, s.options())
	if err != nil {
		return 0, err
	}
	s.v = v
	var found []string
	for _, e := range r.Records {
		found = append(found, string(e))
	}
	if with := append(slices.Clone(s.told), s.maybe...); slices.Equal(found, with) {
		s.told = with
	} else if !slices.Equal(found, s.told) {
		s.Fatalf("found %d entries, %d were acknowledged", len(found), len(s.told))
	}
	s.maybe = nil
	return r.Verdict, nil
}

// transaction is all that a vault asks of its TPM in one go; from says what comes before.
type transaction struct {
	name string
	from func(*store)
	do   func(*store) error
}

func (s *store) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%v", err)
	}
}

// running begins a run, if there is none.
func (s *store) running() {
	s.Helper()
	if s.v != nil {
		return
	}
	s.opened()
	s.must(s.begin())
}

func (s *store) closed() {
	s.Helper()
	s.running()
	s.kill()
}

func (s *store) opened() {
	s.Helper()
	_, err := s.open()
	s.must(err)
}

func (s *store) kill() {
	if s.v != nil {
		s.v.Close()
		s.v = nil
	}
	s.disk.Kill()
}

func transactions() []transaction {
	return []transaction{
		{"create", (*store).kill, (*store).create},
		{"open", (*store).closed, func(s *store) error { _, err := s.open(); return err }},
		{"open after a cut move", func(s *store) {
			s.running()
			s.disk.Plan(func(_ int, c storagetest.Call) *storagetest.Fault {
				if c.Op == "syncdir" {
					return &storagetest.Fault{Effect: storagetest.Whole, Stop: true}
				}
				return nil
			})
			if err := s.move(); !errors.Is(err, storagetest.ErrStopped) {
				s.Fatalf("the move was not cut: %v", err)
			}
			s.kill()
		}, func(s *store) error { _, err := s.open(); return err }},
		{"begin", func(s *store) { s.closed(); s.opened() }, (*store).begin},
		{"commit", (*store).running, (*store).commit},
		{"move", (*store).running, (*store).move},
		{"stop", (*store).running, func(s *store) error { err := s.v.Stop(); s.v = nil; return err }},
	}
}

// struckAt is one case: a transaction, the command at which it is struck, and how.
type struckAt struct {
	transaction
	at int
	blow
}

// TestSoakTPMFaults strikes each command of each transaction of a vault, on a software TPM, in each way. What it was acknowledged is there at
// the next start, a start after a TPM that lost its digest holds, the copy from before is refused, and no handle stays.
func TestSoakTPMFaults(t *testing.T) {
	s := newStore(t)
	s.must(s.create())
	s.must(s.begin())
	var cases []struckAt
	for _, x := range transactions() {
		x.from(s)
		s.arm(-1, blow{})
		s.must(x.do(s))
		n := s.seen
		if x.name == "create" {
			s.must(s.begin())
		}
		for _, w := range blows() {
			for at := range n {
				cases = append(cases, struckAt{x, at, w})
			}
		}
		s.kill()
		s.running()
	}
	size := storagetest.Size(t, 40, len(cases), len(cases))
	r := rand.New(rand.NewPCG(uint64(size), 17))
	r.Shuffle(len(cases), func(i, k int) { cases[i], cases[k] = cases[k], cases[i] })
	tried, struck := 0, 0
	defer func() { storagetest.Tried(t, tried, failures(t)) }()
	for _, c := range cases[:size] {
		tried++
		s.TB = story{t, fmt.Sprintf("%s, struck at command %d by %s", c.transaction.name, c.at, c.blow.name)}
		c.strike(s)
		if s.struck != 0 {
			struck++
		}
	}
	t.Logf("%d of %d cases, %d struck", tried, len(cases), struck)
}

func failures(t *testing.T) int {
	if t.Failed() {
		return 1
	}
	return 0
}

func (c struckAt) strike(s *store) {
	s.Helper()
	c.from(s)
	before := s.disk.Disk.Copy()
	s.arm(c.at, c.blow)
	err := c.do(s)
	s.judge(s.TB, err)
	lost := s.struck != 0 && c.power != nil
	if lost && err == nil && c.transaction.name != "create" && c.transaction.name != "open" && c.transaction.name != "open after a cut move" {
		s.Fatalf("acknowledged although the TPM lost its digest")
	}
	stopped := err == nil && c.transaction.name == "stop"
	s.kill()
	s.whole(s.TB)
	s.d = s.device(s.TB)
	if c.transaction.name == "create" && !s.made {
		if _, err := s.open(); err == nil {
			s.kill() // it had only to say so
		} else if !errors.Is(err, storage.ErrAbsent) {
			s.Fatalf("after a create that gave an error: %v", err)
		}
		s.must(s.create())
		s.must(s.begin())
		s.noHandles(s.TB)
		return
	}
	verdict, err := s.open()
	s.must(err)
	if verdict == storage.Exact && lost && c.transaction.name != "create" {
		s.Fatalf("exact although the TPM lost its digest")
	}
	if verdict == storage.Hold && !lost {
		s.Fatalf("a hold although the TPM lost nothing")
	}
	if stopped && verdict != storage.Clean {
		s.Fatalf("verdict after a stop is %s", verdict)
	}
	s.must(s.begin())
	s.noHandles(s.TB)
	if c.transaction.name == "create" {
		return
	}
	// The copy from before is of an older epoch: it never opens again.
	s.kill()
	now := s.disk.Disk.Copy()
	s.disk.Disk.Restore(before)
	if _, _, err := storage.Open(s.disk.Disk, s.options()); !errors.Is(err, storage.ErrRolledBack) {
		s.Fatalf("the copy from before gives %v", err)
	}
	s.disk.Disk.Restore(now)
}

// TestSoakDeviceFaults strikes each command of everything else that is asked of a TPM: quotes, certificates, activation, sealing, clock.
func TestSoakDeviceFaults(t *testing.T) {
	b := newBench(t)
	v := provision(t, b.d)
	var cases []struckAt
	list := operations(t, b.d, v)
	for i, o := range list {
		if o.name == "Advance" || o.name == "Provision" || o.name == "Extend" {
			continue // parts of the transactions of a vault
		}
		b.arm(-1, blow{})
		must(t, o.do(b.d, v))
		for _, w := range blows() {
			for at := range b.seen {
				cases = append(cases, struckAt{transaction{name: o.name}, at<<8 | i, w})
			}
		}
	}
	size := storagetest.Size(t, 100, len(cases), len(cases))
	r := rand.New(rand.NewPCG(uint64(size), 18))
	r.Shuffle(len(cases), func(i, k int) { cases[i], cases[k] = cases[k], cases[i] })
	tried := 0
	defer func() { storagetest.Tried(t, tried, failures(t)) }()
	for _, c := range cases[:size] {
		tried++
		o := list[c.at&0xff]
		tell := story{t, fmt.Sprintf("%s, struck at command %d by %s", o.name, c.at>>8, c.blow.name)}
		b.arm(c.at>>8, c.blow)
		b.judge(tell, o.do(b.d, v))
		b.whole(tell)
		b.d = b.device(tell)
		v.reopen(b.d)
		if err := o.do(b.d, v); err != nil {
			tell.Fatalf("and after it: %v", err)
		}
		b.noHandles(tell)
	}
	t.Logf("%d of %d cases", tried, len(cases))
}
