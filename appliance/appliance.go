// Package appliance joins the ledger, trusted storage and the TPM into a license server.
//
// One goroutine owns the ledger: it takes all commands that wait as one group, decides and applies each, makes the group's entries durable with one write,
// signs its responses with one signature, and only then tells anyone. Clients come in over Serve, files over Import, Request and Return; subpackage console shows
// and steers, subpackage courier carries files. Start with New.
//
// A failure of trusted storage ends the owner, and with it the process: what the disk holds is then unknown, and the next start decides.
package appliance

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Vault is the trusted storage that an appliance needs; package storage has it. Any error of it is final.
type Vault interface {
	Begin(entries ...[]byte) error
	Commit(entries [][]byte) error
	Move(public []byte, entries [][]byte) error
	Snapshot(state []byte) error
	JournalBytes() int64
	Epoch() uint64
	Head() (position uint64, hash [32]byte)
	Stop() error
	Close() error
}

// Machine is the TPM that an appliance needs; package tpm has it.
type Machine interface {
	Evidence(p attest.Purpose, data []byte) (*attest.Evidence, error)
	Session(data []byte) (*attest.Evidence, error)
	CertifyEpoch(index uint32, data []byte) (*attest.EpochProof, error)
	Activate(w *attest.Wrapped) ([]byte, error)
}

// Options are the parts of an appliance. All but Serving, Guard, Found, Settled, Boot, Journal, SnapshotBytes and Archive are required.
type Options struct {
	Ledger  *ledger.Ledger
	Vault   Vault
	Start   ledger.Start // how this run began; HoldFor is filled in from the policy when Held is set
	Held    bool         // the start decision was a hold
	Machine Machine
	Host    hostid.ID // of the TPM
	Index   uint32    // of the epoch counter
	Trust   *wire.Trust
	Now     func() time.Time     // the system's clock
	Elapsed func() time.Duration // time since some fixed moment of this boot, counting suspend
	Rand    io.Reader
	Log     *slog.Logger

	// Serving signs for clients: an Ed25519 key of this run alone. Nil: one is drawn that is kept in ordinary memory.
	Serving crypto.Signer
	// Guard runs the use of a key so that no copies of the key stay behind. Nil: they do.
	Guard func(use func())

	// Counter reads the TPM's epoch counter. Until the first response it dates the requests: a response to one that was written before a vault may have told
	// anything is refused, or a wiped disk would take its old response again. Untold has the rule.
	Counter func() (uint64, error)

	// Found makes the vault that rights live in, when the first response has come; state is what it begins with. Until then Vault holds requests only,
	// and no epoch counts. Nil when Vault is that vault already. Where it moved the counter and then failed, it gives an *UnmadeError.
	Found func(boot capability.Boot, state []byte) (Vault, error)
	// Boot is the producer's word on boot states that the vault is sealed to; what a response adds is added here.
	Boot capability.Boot
	// Journal is the entries since the snapshot that Ledger was made from, for the archive.
	Journal [][]byte
	// SnapshotBytes is the length of that snapshot.
	SnapshotBytes int64
	// Archive opens the archive beside the vault; the entries that wait for it begin at first, last is the newest, recovery is the running
	// recovery key. Nil: nothing is kept.
	Archive func(v Vault, first, last uint64, recovery ledger.RecoveryView) (Archive, error)
	// Settled is called once, when the vault that Found made has taken the rights.
	Settled func()
}

const (
	maxGroupBytes = 3 << 20   // of entries in one write: storage takes 4 MiB, and the largest entry is a response of 1 MiB
	maxGroup      = 1024      // calls that share one write: 64 clients make groups of 40, a storm fills them
	maxWaiting    = 64        // groups that wait; beyond it callers are told to come again
	snapshotAfter = 16 << 20  // bytes of journal that a start would have to read: 0.2 s of two cores
	stopAfter     = 5 << 20   // the same for a stop, which keeps nobody waiting by it; a start counts a whole segment of 4 MiB for the one it found
	stopState     = 64 << 20  // bytes of a snapshot that a stop has time for
	earlyAfter    = 128 << 20 // the same before there is an archive: entries that wait for it are in the journal alone, which has some thirty starts in so much
)

// Appliance is a running license server.
type Appliance struct {
	Options
	codec     *wire.Codec
	chain     wire.Chain // Serving and Statement; the certificates are the ledger's
	ak        []byte
	leaseAt   capability.Seconds // of the lease clock when Elapsed was at
	at        time.Duration
	compactAt int64 // bytes of journal at which a snapshot is due
	keeper    keeper

	unshortened told // the journal
	unaccepted  told // clients

	watchful watchful

	proof    atomic.Pointer[proof]
	door     *door
	unmade   uint64     // the counter behind a vault of this process that could not be made; zero: there is none
	requests sync.Mutex // one request file is written at a time, so that numbers follow each other

	mu     sync.Mutex
	queue  []*group
	err    error // why the owner ended
	wake   chan struct{}
	finish chan struct{}
}

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
	denial  error // the answer to command, decided before it reached the ledger
	sign    bool  // wants its response proven

	decision ledger.Decision
	bytes    []byte // of the response
	answer   wire.Answer
	err      error
}

// ErrEnded is what calls get when the appliance has stopped.
var ErrEnded = errors.New("the appliance has stopped")

// ErrStorage is in the error that ends an appliance when trusted storage fails.
var ErrStorage = errors.New("trusted storage")

// New begins a run: it certifies a fresh serving key with the TPM and writes the run's first entry. Run comes next.
func New(o Options) (*Appliance, error) {
	a := &Appliance{Options: o, codec: wire.New(), door: newDoor(o.Log, o.Elapsed), wake: make(chan struct{}, 1), finish: make(chan struct{})}
	if a.Guard == nil {
		a.Guard = func(use func()) { use() }
	}
	if a.Serving == nil {
		_, key, err := ed25519.GenerateKey(o.Rand)
		if err != nil {
			return nil, fmt.Errorf("draw the serving key: %w", err)
		}
		a.Serving = key
	}
	public, ok := a.Serving.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("serving key of type %T where Ed25519 is needed", a.Serving.Public())
	}
	statement, err := o.Machine.Session(public)
	if err != nil {
		return nil, fmt.Errorf("certify the serving key: %w", err)
	}
	evidence, err := o.Machine.Evidence(attest.Session, public)
	if err != nil {
		return nil, fmt.Errorf("read the attestation key: %w", err)
	}
	a.ak = evidence.AK
	a.chain = wire.Chain{Serving: public, Statement: statement.Encode()}
	a.watchful = watchful{heard: o.Elapsed(), alarms: map[capability.Code]*Suspicion{}}
	a.leaseAt, a.at = o.Ledger.Status(ledger.Now{}).Now.Lease, o.Elapsed()
	a.compactAt = snapshotAfter
	if err := a.keeper.inherit(o.Journal); err != nil {
		return nil, err
	}
	a.keeper.off = a.Archive == nil
	if a.Journal = nil; a.Found == nil {
		if err := a.openArchive(o.Vault); err != nil {
			return nil, err
		}
	}
	a.keeper.own()
	if err := a.begin(o.Vault); err != nil {
		return nil, err
	}
	return a, nil
}

// begin writes the first entry of a run into v.
func (a *Appliance) begin(v Vault) error {
	start := a.Start
	if _, err := io.ReadFull(a.Rand, start.Life[:]); err != nil {
		return fmt.Errorf("draw the name of this life: %w", err)
	}
	if a.Held {
		start.HoldFor = a.Ledger.Policy().Lease
	}
	start.Raw = capability.At(a.Now())
	d, err := a.Ledger.Decide(a.now(), start)
	if err != nil {
		return fmt.Errorf("begin a run: %w", err)
	}
	entries := make([][]byte, len(d.Entries))
	for i := range d.Entries {
		entries[i] = d.Entries[i].Encode(a.codec)
	}
	if err := v.Begin(entries...); err != nil {
		return fmt.Errorf("begin a run: %w: %w", ErrStorage, err)
	}
	a.keeper.keep(d.Entries, entries)
	_, err = a.apply(nil, d.Entries)
	return err
}

// apply makes entries facts and appends what they are encoded as.
func (a *Appliance) apply(encoded [][]byte, entries []ledger.Entry) ([][]byte, error) {
	for i := range entries {
		e := &entries[i]
		b, err := a.Ledger.Enter(e)
		if err != nil {
			return nil, err
		}
		if encoded = append(encoded, b); e.Clock != nil {
			a.tellClock(*e)
		}
		if e.Judged != nil {
			a.tellMachine(e)
		}
	}
	return encoded, nil
}

// Run owns the ledger until ctx ends, then stops cleanly; or until trusted storage or the ledger fails, which the error says. It returns when nothing of it runs any more.
func (a *Appliance) Run(ctx context.Context) error {
	return a.leave(a.own(ctx))
}

// leave stops cleanly, or after a failure as a crash would, and fails every call that waits.
func (a *Appliance) leave(err error) error {
	if err == nil {
		if err := a.archiveEntries(true); err != nil {
			a.Log.Warn("the archive is behind", "cause", err.Error()) // the journal has what it has not
		} else {
			a.shorten()
		}
		if err = a.Vault.Stop(); err != nil {
			err = fmt.Errorf("stop: %w: %w", ErrStorage, err)
		}
	} else {
		a.Vault.Close()
	}
	a.end(err)
	return err
}

func (a *Appliance) own(ctx context.Context) error {
	timer := time.NewTimer(a.untilDue())
	defer timer.Stop()
	for {
		select {
		case <-a.wake:
		case <-timer.C:
			a.join(&call{command: ledger.Advance{}})
			if c := a.silent(); c != nil {
				a.join(&call{command: c})
			}
		case <-ctx.Done():
			return nil
		}
		runtime.Gosched() // lets the callers that are ready join this group instead of waiting for the next write
		if err := a.drain(); err != nil {
			return err
		}
		timer.Reset(a.untilDue())
	}
}

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

// untilDue is the time until a lease or the hold ends, at least a second so that rounding never spins, at most a minute so that the system clock is looked at.
func (a *Appliance) untilDue() time.Duration {
	due, ok := a.Ledger.NextDue()
	if !ok {
		return time.Minute
	}
	return min(max(due-a.now().Lease, 1), 60).Duration()
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

// do waits until a call is answered. When ctx ends first the command may still become a fact, as after a lost answer.
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

// Done is closed when the appliance has ended.
func (a *Appliance) Done() <-chan struct{} { return a.finish }

// Alive asks the owner for nothing, and fails when it has ended or does not answer.
func (a *Appliance) Alive(ctx context.Context) error {
	return a.do(ctx, &call{look: func(*ledger.Ledger, ledger.Now) {}})
}

// Look shows the ledger to f between two groups. f must be quick, and must not keep the ledger.
func (a *Appliance) Look(ctx context.Context, f func(*ledger.Ledger, ledger.Now)) error {
	return a.do(ctx, &call{look: f})
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
	boot := a.Boot // what the vault is sealed to, once this is durable
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
			c.look(a.Ledger, now)
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
			if with, fresh := withStates(boot, p.Response.Boot); fresh {
				boot, public = with, a.codec.Encode(with)
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
	a.Boot = boot
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

// compact moves entries to the archive, and replaces a long journal by a snapshot once the archive has all of it.
func (a *Appliance) compact() {
	due := a.Vault.JournalBytes() >= max(a.compactAt, a.keeper.least())
	err := a.archiveEntries(due)
	if due && err == nil {
		err = a.snapshot()
	}
	if err != nil {
		a.warn(&a.unshortened, "the journal was not shortened", err)
	}
	if due {
		// A large state is written less often, so that snapshots are never more than half of what is written.
		a.compactAt = a.Vault.JournalBytes() + max(snapshotAfter, a.SnapshotBytes)
	}
}

// snapshot replaces the journal. One that cannot be written, for want of space say, changes nothing: the journal goes on, and after as much again it is tried
// again. If more is wrong than that, the next write says so.
func (a *Appliance) snapshot() error {
	state := a.Ledger.Snapshot()
	if err := a.Vault.Snapshot(state); err != nil {
		return err
	}
	a.SnapshotBytes = int64(len(state))
	return nil
}

// shorten replaces the journal before a stop, so that the next start has none to read. A large state is written again only for what is no small part of it:
// reading that would take the start as long as writing takes the stop. One so large that a stop might be ended over it is not written at all.
func (a *Appliance) shorten() {
	due := min(a.compactAt, max(stopAfter, a.SnapshotBytes/4))
	if a.SnapshotBytes > stopState || a.Vault.JournalBytes() < max(due, a.keeper.least()) {
		return
	}
	if err := a.snapshot(); err != nil {
		a.warn(&a.unshortened, "the journal was not shortened", err)
	}
}

// warn writes one line of many that would say the same.
func (a *Appliance) warn(t *told, what string, cause error) {
	if n := t.note(a.Elapsed()); n > 0 {
		a.Log.Warn(what, "count", n, "cause", cause.Error())
	}
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

// found answers the first response: a vault is made that opens only in a signed boot state and at its epoch, and it takes the rights.
//
// Power cuts: before the vault's header is durable, the storage of requests is still the one that opens. After it and before the move, the vault opens
// without rights, and the response is imported again. After the move it has them.
func (a *Appliance) found(c *call) error {
	p := c.command.(ledger.Provision)
	if _, c.err = a.Ledger.Decide(a.now(), p); c.err != nil {
		return nil
	}
	epoch, err := a.Counter()
	if err == nil && !a.untold(p.Response.Epoch, epoch, a.Ledger.Status(a.now()).Lost) {
		err = capability.Refuse(capability.ErrResponseEpoch, "", "its request was written at epoch %d, and the counter is at %d", p.Response.Epoch, epoch)
	}
	if err != nil {
		c.err = err
		return nil
	}
	v, err := a.Found(p.Response.Boot, a.Ledger.Snapshot())
	if err != nil {
		c.err = err // nothing but the counter was changed, so this is no end
		if e, ok := errors.AsType[*UnmadeError](err); ok && e.Epoch == epoch+1 {
			a.unmade = e.Epoch
		}
		return nil
	}
	old := a.Vault
	a.Vault, a.Found, a.Boot = v, nil, p.Response.Boot
	if err := a.openArchive(v); err != nil {
		return err
	}
	// What came before the vault is in the storage of requests only, which goes. A cut up to here loses these entries for the audit trail, and nothing else.
	if err := a.archiveEntries(true); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("leave the storage of requests: %w: %w", ErrStorage, err)
	}
	a.Held = false
	if err := a.begin(v); err != nil {
		return err
	}
	p.Raw = capability.At(a.Now())
	if c.decision, c.err = a.Ledger.Decide(a.now(), p); c.err != nil {
		return fmt.Errorf("the response was refused after it was accepted: %w", c.err)
	}
	entries, err := a.apply(nil, c.decision.Entries)
	if err != nil {
		return err
	}
	if err := v.Move(nil, entries); err != nil {
		return fmt.Errorf("take the rights: %w: %w", ErrStorage, err)
	}
	a.keeper.keep(c.decision.Entries, entries)
	if a.Settled != nil {
		a.Settled()
	}
	return nil
}

// UnmadeError is the error of a vault that could not be made after the counter had moved for it.
type UnmadeError struct {
	Epoch uint64 // that the making moved the counter to
	Cause error
}

func (e *UnmadeError) Error() string { return e.Cause.Error() }
func (e *UnmadeError) Unwrap() error { return e.Cause }

// Untold says that a counter which is at epoch now was moved by no vault that told anything, since the first request of a storage without rights was written at
// written. To make a vault moves the counter once, to begin its run twice, and the fourth move brings it rights: up to three are of vaults whose making failed or was
// cut off. All requests of such a storage name the epoch of the first, or a copy of it could follow a vault in the making, move by move, with a request after each.
func Untold(written, epoch uint64) bool { return epoch >= written && epoch-written <= 3 }

// untold is Untold for a response to a request that was written at written. A storage that was lost (its code is lost) may have gone on beside the repair: what it told within one
// move ends within the hold. And behind a making of this process there was nothing: it began where nobody had told anything, moved the counter by one, and
// took it away from everybody else.
func (a *Appliance) untold(written, epoch uint64, lost capability.Code) bool {
	if a.unmade != 0 && epoch == a.unmade {
		return true
	}
	return Untold(written, epoch) && (lost == 0 || epoch-written <= 1)
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
