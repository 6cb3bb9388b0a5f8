package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
)

// Bounds on what shares one write, and on what waits for the owner.
const (
	maxGroupBytes = 3 << 20 // of entries in one write: storage takes 4 MiB, and the largest entry is a response of 1 MiB
	maxGroup      = 1024    // calls that share one write: 64 clients make groups of 40, a storm fills them
	maxWaiting    = 64      // groups that wait; beyond it callers are told to come again
)

// group is the calls that one write makes durable. done is closed when all of them are answered.
type group struct {
	calls []*call
	done  chan struct{}
	alone bool
}

// call is one command, or one look at the ledger.
type call struct {
	command ledger.Command
	serve   ledger.Serve // what command is about when it is a client's
	look    func(*ledger.Ledger, ledger.Now)
	begun   atomic.Bool // the owner looks, or nobody waits for it any more
	denial  error       // the answer to command, decided before it reached the ledger
	sign    bool        // wants its response proven
	reseal  *reseal     // what is changed of what the vault is sealed to

	decision ledger.Decision
	bytes    []byte // of the response
	answer   wire.Answer
	err      error
}

// ErrEnded is what calls get when the appliance has stopped.
var ErrEnded = errors.New("the appliance has stopped")

// drain answers all groups that wait.
func (a *Appliance) drain() error {
	for g := a.take(); g != nil; g = a.take() {
		if err := a.answer(g); err != nil {
			return err
		}
	}
	return nil
}

// answer processes a group and tells those who wait for it.
func (a *Appliance) answer(g *group) error {
	err := a.process(g)
	if err != nil {
		for _, c := range g.calls {
			c.err = err
		}
	}
	close(g.done)
	return err
}

func (a *Appliance) take() *group {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return nil
	}
	g := a.queue[0]
	a.queue = a.queue[1:]
	return g
}

// join puts a call into the open group, or into one of its own when it must be alone.
func (a *Appliance) join(c *call) (*group, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return nil, a.err
	}
	_, alone := c.command.(ledger.Provision)
	n := len(a.queue)
	if alone || n == 0 || a.queue[n-1].alone || len(a.queue[n-1].calls) == maxGroup {
		if n == maxWaiting {
			return nil, capability.Refuse(capability.ErrBusy, "", "")
		}
		a.queue = append(a.queue, &group{done: make(chan struct{}), alone: alone})
		n++
	}
	g := a.queue[n-1]
	g.calls = append(g.calls, c)
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return g, nil
}

// end makes every call that waits, and every later one, fail.
func (a *Appliance) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err = ErrEnded; err != nil {
		a.err = err
	}
	for _, g := range a.queue {
		for _, c := range g.calls {
			c.err = a.err
		}
		close(g.done)
	}
	a.queue = nil
	close(a.finish)
}

// do waits until a call is answered. When ctx ends first the command may still become a fact, as after a lost answer. A look has no such afterlife: it was taken, or it never will be, so that what it writes to is
// the caller's again.
func (a *Appliance) do(ctx context.Context, c *call) error {
	g, err := a.join(c)
	if err != nil {
		return err
	}
	return c.wait(ctx, g)
}

func (c *call) wait(ctx context.Context, g *group) error {
	select {
	case <-g.done:
		return c.err
	case <-ctx.Done():
		if c.look != nil && !c.begun.CompareAndSwap(false, true) {
			<-g.done // the owner is at it
			return c.err
		}
		return ctx.Err()
	}
}

// insist is do for those who came in: where so much waits that others are told to come again, it waits until the first of that is done.
func (a *Appliance) insist(ctx context.Context, c *call) error {
	for {
		g, err := a.join(c)
		if err == nil {
			return c.wait(ctx, g)
		}
		if r := (*capability.Refusal)(nil); !errors.As(err, &r) || r.Code != capability.ErrBusy {
			return err
		}
		if err := a.roomAfter(ctx); err != nil {
			return err
		}
	}
}

// roomAfter waits for the group that is next.
func (a *Appliance) roomAfter(ctx context.Context) error {
	a.mu.Lock()
	if len(a.queue) == 0 {
		a.mu.Unlock()
		return nil
	}
	next := a.queue[0]
	a.mu.Unlock()
	select {
	case <-next.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// process answers one group. Its order is the promise of this package: decide and apply, make durable and sign side by side, only then tell.
//
// A power cut before the write leaves nothing of the group; after the write and before the answers it leaves facts that nobody was told,
// and askers ask again. An error ends the owner: what was applied here and is not durable there dies with the process.
func (a *Appliance) process(g *group) error {
	if g.alone && a.Found != nil {
		return a.found(g.calls[0])
	}
	for calls := g.calls; len(calls) > 0; {
		n, err := a.share(calls)
		if err != nil {
			return err
		}
		calls = calls[n:]
	}
	return nil
}

// share answers as many calls with one write as fit it, and says how many those are.
func (a *Appliance) share(calls []*call) (n int, err error) {
	watched, entries, err := a.watch()
	if err != nil {
		return 0, err
	}
	facts := append(make([][]ledger.Entry, 0, len(calls)+1), watched)
	entries = slices.Grow(entries, len(calls)) // most are a client's, of which each makes one
	responses := make([][]byte, 0, len(calls))
	var public []byte
	sealed := a.sealed() // what the vault is sealed to, once this is durable
	move, size := false, 0
	epoch := a.Vault.Epoch()
	var told capability.Response // one after the other: it has a salt, and what is in an entry has none
	var now ledger.Now           // one for requests that follow each other, since to look at the clock is a system call
	asked := false
	for _, c := range calls {
		if size > maxGroupBytes {
			break
		}
		n++
		_, asks := c.command.(*ledger.Serve)
		if !asked || !asks {
			now = a.now()
		}
		asked = asks
		if c.look != nil {
			if c.begun.CompareAndSwap(false, true) {
				c.look(a.Ledger, now)
			}
			continue
		}
		if c.reseal != nil {
			if c.reseal.early != (a.Found != nil) {
				c.err = errFounded
			} else if with, fresh := c.reseal.sealedTo(sealed); fresh {
				sealed, public, move = with, a.codec.Encode(with), true
			}
			continue
		}
		if r, ok := c.command.(ledger.Return); ok {
			r.Epoch = epoch + 1
			c.command = r
		}
		switch command := c.command.(type) {
		case ledger.Provision:
			command.Raw = capability.At(a.Now())
			c.command = command
		case ledger.SetTime:
			if command.Raw = capability.At(a.Now()); command.Time == 0 {
				command.Time = command.Raw
			}
			c.command = command
		}
		if c.err = c.denial; c.err == nil {
			c.decision, c.err = a.Ledger.Decide(now, c.command)
		}
		if c.err != nil {
			if !c.sign {
				continue
			}
			c.decision, c.err = ledger.Decision{Response: denied(&c.serve, now, c.err)}, nil
		}
		before := len(entries)
		if entries, err = a.apply(entries, c.decision.Entries); err != nil {
			return n, err
		}
		if p, ok := c.command.(ledger.Provision); ok && c.decision.Move { // one that was refused says nothing
			if with, fresh := withStates(sealed.Boot, p.Response.Boot); fresh {
				sealed.Boot = with
				public = a.codec.Encode(sealed)
			}
		}
		facts = append(facts, c.decision.Entries)
		for _, b := range entries[before:] {
			size += len(b)
		}
		move = move || c.decision.Move
		if c.sign {
			told = *c.decision.Response
			a.suspect(&told, now)
			if _, err := io.ReadFull(a.Rand, told.Salt[:]); err != nil {
				return n, fmt.Errorf("draw a salt: %w", err)
			}
			c.bytes = a.codec.Encode(&told)
			responses = append(responses, c.bytes)
		}
	}
	if move {
		epoch++
	}
	signed := make(chan *wire.SignedTree, 1)
	if len(responses) > 0 {
		at := a.now().Wall
		go func() { signed <- a.codec.SignTree(a.Serving, wire.Grow(responses), at, epoch) }()
	}
	if err := a.write(public, entries, move, len(responses) > 0); err != nil {
		return n, err
	}
	a.Boot, a.Base = sealed.Boot, sealed.Base
	for _, f := range facts {
		a.keeper.keep(f, entries[:len(f)])
		entries = entries[len(f):]
	}
	if len(responses) > 0 {
		tree, i := <-signed, 0
		for _, c := range calls[:n] {
			if c.sign {
				c.answer = a.codec.Answer(tree, i, c.bytes)
				i++
			}
		}
	}
	a.compact()
	return n, nil
}

// write makes a group durable. A group that only repeats answers reads the anchor back, because an answer by a daemon that was overtaken must not leave it.
func (a *Appliance) write(public []byte, entries [][]byte, move, tells bool) error {
	var err error
	switch {
	case move:
		err = a.Vault.Move(public, entries)
	case len(entries) > 0 || tells:
		err = a.Vault.Commit(entries)
	}
	if err != nil {
		return fmt.Errorf("write: %w: %w", ErrStorage, err)
	}
	return nil
}

// denied is the response to a request that the ledger does not take at all.
func denied(s *ledger.Serve, now ledger.Now, err error) *capability.Response {
	r := &capability.Response{Version: capability.Protocol, Status: capability.StatusDenied, For: s.Request.Hosts[0], Correlation: s.Request.Correlation, Time: now.Wall, Key: s.Key}
	var m *capability.Malformed
	var refusal *capability.Refusal
	switch {
	case errors.As(err, &refusal):
		r.Denials = []capability.Denial{refusal.Denial}
	case errors.As(err, &m):
		r.Denials = []capability.Denial{{Code: capability.ErrProto, Subject: m.Field, Detail: m.Cause[:min(len(m.Cause), capability.MaxName)]}}
	default:
		r.Denials = []capability.Denial{{Code: capability.ErrInternal}}
	}
	return r
}
