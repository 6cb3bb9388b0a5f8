package appliance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
)

// box is one machine: a TPM, two state directories, clocks, and at most two daemons, which share one process.
type box struct {
	w        *world
	n        int
	m        *storagetest.Machine
	chip     *chip
	stores   [2]*store
	daemons  [2]*daemon // of the store at the same place
	wind     int64      // seconds by which its wall clock is wrong
	booted   int64
	images   [4]*image
	served   bool   // what is on the first disk served
	good     *image // of what ran before the adversary put something else in its place
	tampered bool   // the administrator did what no honest one does
	extended bool   // somebody else extended the running digest

	left  int // steps until the process ends amid one; below zero: it does not
	blow  blow
	ended bool // by such a step
}

// blow is how a process ends at a step, and what the world does then.
type blow struct {
	effect storagetest.Effect
	after  int // 0 kill, 1 power cut, 2 orderly restart of the machine
	fault  error
	seed   uint64
}

// store is a state directory, and what must be true of it.
type store struct {
	b               *box
	requests, vault *storagetest.Disk
	record
}

// record is what an observer knows of a state directory: it goes where the bytes go.
type record struct {
	branch  *branch
	heads   []capability.Digest // hash of every entry that was handed to storage, by position from 1
	durable int                 // entries that storage has confirmed
	told    int                 // entries behind what somebody was told
	now     ledger.Now          // of the last of them
}

// image is a copy of a state directory, with or without the state of the TPM.
type image struct {
	requests, vault storagetest.Image
	record
	chip *chip
}

func newBox(w *world, n int) *box {
	b := &box{w: w, n: n, m: storagetest.New(w.seed*8 + uint64(n)), left: -1}
	b.chip = newChip(b, byte(n))
	b.chip.line = &line{ceiling: map[string]uint64{}}
	root := &branch{}
	for i := range b.stores {
		b.stores[i] = &store{b: b, requests: b.m.AddDisk(nil), vault: b.m.AddDisk(nil), record: record{branch: root.child()}}
	}
	b.power()
	return b
}

// power is a fresh process on a machine that runs.
func (b *box) power() {
	b.left, b.ended = -1, false
	b.m.Plan(func(int, storagetest.Call) *storagetest.Fault {
		if b.ended {
			return &storagetest.Fault{Stop: true}
		}
		if !b.strikes() {
			return nil
		}
		if b.blow.fault != nil {
			return &storagetest.Fault{Err: b.blow.fault, Effect: b.blow.effect}
		}
		b.ended = true
		return &storagetest.Fault{Effect: b.blow.effect, Stop: true}
	})
}

// strikes counts one step, of the disk or the TPM.
func (b *box) strikes() bool {
	b.left = max(b.left-1, -2)
	return b.left == -1
}

// command is one command to the TPM.
func (b *box) command(do func() error) error {
	if b.ended || b.m.Stopped() {
		return storagetest.ErrStopped
	}
	if b.strikes() {
		if b.blow.effect == storagetest.Whole {
			if err := do(); err != nil {
				return err
			}
		}
		if b.blow.fault != nil {
			return b.blow.fault
		}
		b.ended = true
		return storagetest.ErrStopped
	}
	return do()
}

// fall ends the processes of the machine as the world does it.
func (b *box) fall(how blow) {
	for i, d := range b.daemons {
		if d != nil {
			d.stop(storagetest.ErrStopped)
			b.daemons[i] = nil
		}
	}
	switch how.after {
	case 0:
		b.m.Kill()
	case 1:
		b.m.PowerCut(how.seed)
		b.chip.digest = [32]byte{}
		b.chip.resets++
		b.booted = b.w.now
	case 2:
		b.m.Restart()
		b.chip.digest = [32]byte{}
		b.chip.restarts++
		b.booted = b.w.now
	}
	b.power()
}

// settle takes note of daemons that have ended by themselves.
func (b *box) settle() {
	if b.ended {
		b.fall(b.blow)
		return
	}
	for i, d := range b.daemons {
		if d != nil && d.err != nil {
			b.daemons[i] = nil
		}
	}
}

func (s *store) copy() *image {
	i := &image{requests: s.requests.Copy(), vault: s.vault.Copy(), record: s.record}
	i.heads = slices.Clone(s.heads)
	s.branch = s.branch.child()
	return i
}

func (s *store) restore(i *image) {
	s.requests.Restore(i.requests)
	s.vault.Restore(i.vault)
	s.record = i.record
	s.heads = slices.Clone(i.heads)
	s.branch = i.branch.child()
	for _, list := range s.b.w.beliefs {
		for _, b := range list {
			if b.s == s && b.at > s.told {
				b.s = nil // what this directory does not know of any more
			}
		}
	}
}

// daemon is one process of the appliance, driven step by step.
type daemon struct {
	b   *box
	s   *store
	a   *Appliance
	err error // why it ended
}

// watched is a vault that shows what goes through it.
type watched struct {
	*storage.Vault
	s *store
}

func (v *watched) note(entries [][]byte, write func() error) error {
	for _, e := range entries {
		v.s.heads = append(v.s.heads, sha256.Sum256(e))
	}
	err := write()
	if err == nil {
		v.s.durable = len(v.s.heads)
	}
	return err
}

func (v *watched) Begin(entries ...[]byte) error {
	return v.note(entries, func() error { return v.Vault.Begin(entries...) })
}

func (v *watched) Commit(entries [][]byte) error {
	return v.note(entries, func() error { return v.Vault.Commit(entries) })
}

func (v *watched) Move(public []byte, entries [][]byte) error {
	return v.note(entries, func() error { return v.Vault.Move(public, entries) })
}

// open is the start of the program: one of two storages, as it does it.
func (s *store) open() (*Options, error) {
	b := s.b
	sealed := b.m.Options()
	sealed.Sealer, sealed.Anchor = b.chip, b.chip
	o := &Options{
		Machine: b.chip, Host: b.chip.Host, Index: attest.EpochIndex, Trust: b.w.office.trust(), Rand: b.m, Log: slog.New(slog.DiscardHandler), Counter: b.chip.epoch,
		Now: func() time.Time { return capability.Time(b.w.now + b.wind).Std() }, Elapsed: func() time.Duration { return time.Duration(b.w.now-b.booted) * time.Second },
	}
	finish := func(v *storage.Vault, r *storage.Restored) (*Options, error) {
		l, err := replay(r)
		if err != nil {
			v.Close()
			return nil, err
		}
		o.Vault, o.Ledger = &watched{v, s}, l
		return o, nil
	}
	_, err := storage.Public(s.vault)
	if err == nil {
		v, r, err := storage.Open(s.vault, sealed)
		if err != nil {
			return nil, err
		}
		o.Held, o.Start.Cause = r.Verdict == storage.Hold, r.Verdict.String()
		if err := empty(s.requests); err != nil {
			v.Close()
			return nil, err
		}
		return finish(v, r)
	}
	if !errors.Is(err, storage.ErrAbsent) {
		return nil, err
	}
	o.Found = func(_ capability.Boot, _ bool, state []byte) (Vault, uint64, error) {
		v, err := storage.Create(s.vault, sealed, nil, state)
		if unmade, ok := errors.AsType[*storage.UnmadeError](err); ok {
			return nil, 0, &UnmadeError{unmade.Epoch, err}
		} else if err != nil {
			return nil, 0, err
		}
		return &watched{v, s}, 0, nil
	}
	o.Settled = func() { empty(s.requests) }
	plain := b.m.Options()
	plain.Sealer, plain.Anchor = anyEpoch{b.chip}, nil
	v, r, err := storage.Open(s.requests, plain)
	if errors.Is(err, storage.ErrAbsent) {
		if names, err := s.vault.List(); err != nil || len(names) > 0 {
			return nil, errors.Join(err, storage.ErrCorrupt)
		}
		o.Ledger = ledger.New()
		if v, err = storage.Create(s.requests, plain, nil, o.Ledger.Snapshot()); err != nil {
			return nil, err
		}
		o.Vault = &watched{v, s}
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	return finish(v, r)
}

func replay(r *storage.Restored) (*ledger.Ledger, error) {
	l, err := ledger.Restore(r.Snapshot)
	if err != nil {
		return nil, err
	}
	for _, b := range r.Records {
		e, err := ledger.DecodeEntry(wire.New(), b)
		if err == nil {
			err = l.Apply(e)
		}
		if err != nil {
			return nil, err
		}
	}
	return l, l.Check()
}

func empty(d *storagetest.Disk) error {
	names, err := d.List()
	for _, name := range names {
		err = errors.Join(err, d.Remove(name))
	}
	return err
}

// start starts a daemon on a store. A refusal is an error; a process that was ended on the way is one too.
func (b *box) start(place int) error {
	s := b.stores[place]
	o, err := s.open()
	if err != nil {
		return err
	}
	before := o.Ledger.Status(ledger.Now{})
	b.w.opened(s, before)
	a, err := New(*o)
	if err != nil {
		o.Vault.Close()
		return err
	}
	d := &daemon{b: b, s: s, a: a}
	b.daemons[place] = d
	b.w.began(d)
	return nil
}

// drain is the owner: it answers what waits.
func (d *daemon) drain() {
	for d.err == nil && d.answer() {
	}
}

// answer answers the group that has waited longest, and says whether there was one.
func (d *daemon) answer() bool {
	g := d.a.take()
	if g == nil {
		return false
	}
	d.lend(g)
	if err := d.a.answer(g); err != nil {
		switch {
		case errors.Is(err, ledger.ErrCorrupt), errors.Is(err, storage.ErrCorrupt),
			errors.Is(err, storage.ErrDisturbed) && !d.b.tampered && !d.b.extended:
			d.b.w.fail("%s ends by itself: %v", d.b, err)
		}
		d.stop(err)
		return true
	}
	d.b.w.told(d)
	return true
}

// lend lets what comes from the back office be borrowed, but for its first item: the book does not know of it.
func (d *daemon) lend(g *group) {
	for _, c := range g.calls {
		p, ok := c.command.(ledger.Provision)
		if !ok {
			continue
		}
		p.Response.Items = slices.Clone(p.Response.Items)
		for i := range p.Response.Items {
			if item := &p.Response.Items[i]; item.ActivationID != d.b.w.office.items[0].ActivationID {
				item.Borrow = longest
			}
		}
		c.command = p
	}
}

func (d *daemon) stop(why error) {
	if d.err == nil {
		d.err = why
		d.a.leave(why)
	}
}

// drive runs what waits for the owner, and is the owner meanwhile: one group for each time that it is woken, so that a life does not depend on who is quicker.
func (d *daemon) drive(do func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- do(context.Background()) }()
	for {
		select {
		case <-d.a.wake:
			if d.err == nil {
				d.answer()
			}
		case err := <-done:
			return err
		}
	}
}

// do hands calls to the owner as one group.
func (d *daemon) do(calls ...*call) {
	for _, c := range calls {
		if _, err := d.a.join(c); err != nil {
			c.err = err
		}
	}
	d.drain()
}

func (d *daemon) ledger() ledger.Status { return d.a.Ledger.Status(d.a.now()) }

func (b *box) String() string { return fmt.Sprintf("machine %d", b.n) }
