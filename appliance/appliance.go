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
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
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

// Options are the parts of an appliance. All but EventLog, WantsEventLog, Certificate, Answered, Shared, Serving, Guard, Found, Settled, Boot, Base, Image, Images, Journal, SnapshotBytes and Archive are required.
type Options struct {
	Ledger  *ledger.Ledger
	Vault   Vault
	Start   ledger.Start // how this run began; HoldFor is filled in from the policy when Held is set
	Held    bool         // the start decision was a hold,
	Shared  bool         // and the TPM was not restarted since, but used by another: a second instance or a copy
	Machine Machine
	Host    hostid.ID // of the TPM
	Index   uint32    // of the epoch counter
	Trust   *wire.Trust
	Now     func() time.Time     // the system's clock
	Elapsed func() time.Duration // time since some fixed moment of this boot, counting suspend
	Awake   func() time.Duration // the same without suspend: while a machine sleeps nobody can tell what it shows. Nil: Elapsed
	Rand    io.Reader
	Log     *slog.Logger

	// EventLog reads what the firmware says it measured, at most attest.MaxEventLogBytes; it goes with the evidence of requests. Nil, or no bytes: none goes.
	EventLog func() []byte
	// WantsEventLog: a log that is told does as well, where that reads none. HearEventLog takes it.
	WantsEventLog bool

	// Certificate is what browsers are shown on the port of clients, and programs that speak HTTP; Browsers gives their connections. Nil: they are refused.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// Answered is told of each answer to a client, and how long it took from the request to where it is durable. It must be quick. Nil: nobody is.
	Answered func(r *capability.Response, took time.Duration)

	// Serving signs for clients: an Ed25519 key of this run alone. Nil: one is drawn that is kept in ordinary memory.
	Serving crypto.Signer
	// Guard runs the use of a key so that no copies of the key stay behind. Nil: they do.
	Guard func(use func())

	// Counter reads the TPM's epoch counter. Until the first response it dates the requests: a response to one that was written before a vault may have told
	// anything is refused, or a wiped disk would take its old response again. Untold has the rule.
	Counter func() (uint64, error)

	// Found makes the vault that rights live in, when the first response has come; state is what it begins with. Until then Vault holds requests only,
	// and no epoch counts. Nil when Vault is that vault already. It gives the base of the counter of images too, which is begun where the image that runs is proved.
	// Where it moved the epoch counter and then failed, it gives an *UnmadeError.
	Found func(boot capability.Boot, proved bool, state []byte) (v Vault, base uint64, err error)
	// Boot is the producer's word on boot states that the vault is sealed to; what a response adds is added here. With Found it is what updates that came before the vault were signed ahead for, and the vault is
	// sealed to it too.
	Boot capability.Boot
	// Base is beside it in the public part of the vault: where the counter of images began; zero: there is none yet.
	Base uint64
	// Image is the image that runs. Zero: none of the producer's, and no update of one is taken.
	Image Image
	// Images counts the security versions of images. Nil, where Image is zero: nothing does.
	Images ImageCounter
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
	heardLog heardLog

	proved   bool // before there was a vault; only the owner asks
	proof    atomic.Pointer[proof]
	door     *door
	browsers *browsers
	unmade   uint64     // the counter behind a vault of this process that could not be made; zero: there is none
	requests sync.Mutex // one request file is written at a time, so that numbers follow each other

	mu     sync.Mutex
	queue  []*group
	err    error // why the owner ended
	wake   chan struct{}
	finish chan struct{}
}

// ErrStorage is in the error that ends an appliance when trusted storage fails.
var ErrStorage = errors.New("trusted storage")

// New begins a run: it certifies a fresh serving key with the TPM and writes the run's first entry. Run comes next.
func New(o Options) (*Appliance, error) {
	a := &Appliance{Options: o, codec: wire.New(), door: newDoor(o.Log, o.Elapsed), browsers: newBrowsers(o), wake: make(chan struct{}, 1), finish: make(chan struct{})}
	if a.Guard == nil {
		a.Guard = func(use func()) { use() }
	}
	if a.Awake == nil {
		a.Awake = a.Elapsed
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
	a.watchful = watchful{heard: a.Awake(), alarms: map[capability.Code]*Suspicion{}, copies: map[copied]bool{}, keys: map[hostid.ID]*hostid.Watch{}}
	if o.Shared {
		a.watchful.alarms[capability.ErrDisturbed] = &Suspicion{Alarm: capability.Alarm{Code: capability.ErrDisturbed, Count: 1, Last: max(1, capability.At(o.Now()))}}
	}
	a.leaseAt, a.at = o.Ledger.Status(ledger.Now{}).Now.Lease, o.Elapsed()+untilFull(o.Now())
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
	if c := a.reproved(); c != nil { // what a security key proved to an earlier run it proves to this one first
		if _, err := a.join(&call{command: c}); err != nil {
			return nil, err
		}
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
			if c := a.missed(); c != nil {
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

// untilDue is the time until a lease or the hold ends, at least a second so that rounding never spins, at most a minute so that the system clock is looked at.
func (a *Appliance) untilDue() time.Duration {
	wait := time.Minute
	if due, ok := a.Ledger.NextDue(); ok {
		wait = min(max(due-a.now().Lease, 1), 60).Duration()
	}
	if ends := a.watchful.ends; ends != 0 {
		wait = max(0, min(wait, ends-a.Awake()))
	}
	if d := a.watchful.doubt; d != nil {
		wait = max(0, min(wait, d.since+doubtFor-a.Awake()))
	}
	return wait
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

// warn writes one line of many that would say the same.
func (a *Appliance) warn(t *told, what string, cause error) {
	if n := t.note(a.Elapsed()); n > 0 {
		a.Log.Warn(what, "count", n, "cause", cause.Error())
	}
}
