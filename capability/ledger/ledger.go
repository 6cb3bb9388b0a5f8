// Package ledger is the appliance's ledger: which rights are here, who holds them, and until when.
//
// It is a pure state machine. Decide looks at the state and a command and says which entries would have to become facts and what the answer is;
// Apply makes an entry a fact. The owner makes entries durable in between: nothing of a Decision may be told before its entries are on disk. Decide sees
// only what is applied, so a group of commands is decided and applied one by one, made durable once, and told last. Decide may change from release
// to release, Apply may not: a journal of any age gives the same state forever.
//
// There are two clocks (Now). Leases and holds end on the lease clock, which stands still while the machine is off; wall time matters for the dates of
// items and for what is told. Every entry carries both, and leases end by the clock of the next entry, whatever it is.
//
// Start with New, Ledger.Decide and Ledger.Apply; the commands are Serve, Provision, Return, Prove, WriteRequest, Drop, Start, Advance, CloseUsage, Watch, Recognize, and those of an
// administrator: SetTime, PlanChange, SetModel, DeleteModel, SetReservations, PutGroup, DeleteReserved, SetPolicy, DisconnectIdle, Drain, CancelDrain, and of logins AddLogin, ChangeLogin, RemoveLogin, AddToken, EndToken and NoteSignIn, of client keys RegisterKey and RemoveKey, and NoteCertificate. A ledger is owned by one goroutine.
//
// The counts of an item are divided into slices: one for each pool of the model or for each reservation entry, the rest in the default pool, and the
// overdraft beside them. Every lease is of one slice.
//
// It knows no disk, no key and no signature: whatever a command carries was verified before.
package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// ErrCorrupt is in every error of Apply, Restore, DecodeEntry and Check: the state is not one that this package made. Serving on would be guessing.
var ErrCorrupt = errors.New("the ledger is corrupt")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// Now is the moment of a command on both clocks.
type Now struct {
	_     struct{}           `cbor:",toarray"`
	Lease capability.Seconds // the journal's clock: stands still while the machine is off, never goes back
	Wall  capability.Time    // trusted wall time, never below the floor
}

// At is the moment with these two clocks.
func At(lease capability.Seconds, wall capability.Time) Now { return Now{Lease: lease, Wall: wall} }

// Told is the wall time of a moment on the lease clock, as people and clients hear of it.
func (n Now) Told(end capability.Seconds) capability.Time { return n.Wall.Add(end - n.Lease) }

// ends is Told for a lease of the item: what is metered lasts as long as its item.
func (n Now) ends(it *item, end capability.Seconds) capability.Time {
	switch {
	case end != forever:
		return n.Told(end)
	case it.Expiry != 0:
		return it.Expiry
	}
	return lastTime
}

// A metered count has no end on the lease clock: forever stands for one. lastTime, the end of the year 9999, is what is told of a permanent item.
const (
	forever  capability.Seconds = 1 << 60
	lastTime capability.Time    = 253402300799
)

// before says that n lies before m on either clock.
func (n Now) before(m Now) bool { return n.Lease < m.Lease || n.Wall < m.Wall }

// Ledger is the state. The zero value is not usable; New and Restore make one.
type Ledger struct {
	codec    *wire.Codec
	position uint64 // entries applied
	head     capability.Digest
	now      Now
	run      Started
	hold     capability.Seconds // end of the running hold; zero when none runs
	life     capability.LifeID
	epoch    uint64 // of the last request written
	recovery recovery
	lost     capability.Code // why the storage before this one cannot be used; zero from the first response on

	applied  capability.Response // the response in force, without its items
	digest   capability.Digest   // of that response as it came
	revoked  []capability.Digest // fingerprints of signing keys, in order; none is ever taken away
	number   uint64              // of the last request file
	written  []Written
	returns  []capability.Return // not acknowledged yet, oldest first
	closed   []capability.ReturnID
	items    []*item // by ID
	features map[string][]*item
	ends     queue[*slice] // slices with leases, by the first end

	text     []byte       // of the model in force; nil where there is none
	model    *model.Model // the same, read
	groups   []Group      // of reservations; never beside a model
	lastID   uint64       // of a group, reservation or reservation entry
	sources  []Source     // of the shares that items are divided into, in their order
	divided  capability.Time
	given    model.Given // to each allocation at the last division; nil where no rule asks for it
	settings []Setting   // changed by an administrator, by name
	drains   []Drained   // returns that have begun, by activation ID
	gone     bool        // an item may be cut and idle

	rows    []*row // by sequence
	devices map[hostid.ID][]*row
	users   map[held]uint64 // units, by user and item
	before  *row            // what an earlier trusted storage had counted; no device's
	waiting []*wait         // the longest first
	leases  int

	logins       []*Login    // in the order they were made
	keys         []ClientKey // registered, by digest
	usage        usage
	moment       capability.Seconds // on the lease clock: that of the last entry, or while leases end with one, that of their end
	machine      machine
	clock        Clock
	dividedAhead capability.Seconds // of the clock at the last division

	overdrawn int // overdrafts in use
	ration    ration

	loginSpent capability.Seconds // of the ration of moves of logins
	keySpent   capability.Seconds // and of that of administrators: client keys, and what is taken from logins
	steps      func()             // counts work in tests of cost; nil otherwise
}

// item is a line item with its use. A cut item is in no response any more and stays until its last lease has ended.
// An item over its count serves nothing until enough of its leases have ended.
type item struct {
	capability.LineItem
	used   uint64 // of all slices but the overdraft
	cut    bool
	slices []*slice // the default pool, the overdraft, then the shares in the order of the division
	place  int      // among the items
	tally  sum      // of the running period of usage
}

// held is what the leases of one user are counted by.
type held struct {
	user string
	item *item
}

// row is what is known of one device. A row stays when its last lease ends: its serial must go on growing.
type row struct {
	sequence uint64
	id       hostid.ID
	key      capability.Digest
	serial   uint64
	number   uint64 // of the newest request of this key that came in a file and was decided
	last     remembered
	earlier  []remembered // the oldest first
	who      Who
	active   capability.Seconds // when it was last used, on the lease clock, as the device says
	leases   []*lease
	reports  []Reported // that can still be undone
	waits    []*wait
}

// lease is a served count with its end.
type lease struct {
	row     *row
	slice   *slice
	count   uint32
	end     capability.Seconds
	lead    capability.Seconds // how much sooner it ends for a device that has heard its last answer
	told    capability.Time    // when it ends, as that answer says
	dropped bool
	at      int
}

// unheard says that the lease has ended for a device that has heard its last answer.
func (a *lease) unheard(now Now) bool { return a.end-a.lead <= now.Lease }

func (a *lease) before(b *lease) bool {
	return a.end < b.end || a.end == b.end && a.row.sequence < b.row.sequence
}

//lint:ignore U1000 queue calls it, through its constraint
func (a *lease) place(at int) { a.at = at }

// New is the ledger of an appliance that has had no response yet. Every command works on it, but Serve denies and Return refuses.
func New() *Ledger {
	return &Ledger{
		codec: wire.New(), features: map[string][]*item{}, devices: map[hostid.ID][]*row{}, users: map[held]uint64{}, before: newBefore(),
	}
}

// Digest is the SHA-256 of the snapshot: two ledgers with one digest are the same. It costs as much as Snapshot.
func (l *Ledger) Digest() capability.Digest { return sha256.Sum256(l.Snapshot()) }

// NextDue is the moment on the lease clock at which Advance has something to do, if there is one: the first end of a lease, the end of the hold, or the
// first date at which the items are divided anew, as if both clocks went on alike; at once where leases can leave the overdraft.
func (l *Ledger) NextDue() (capability.Seconds, bool) {
	return l.nextDue(anyItem)
}

// NextFelt is NextDue without the dates that leave no trace, for one who passes over years at once: the next division, whenever it comes, makes the same of the
// features that nobody holds and nobody has reserved.
func (l *Ledger) NextFelt() (capability.Seconds, bool) { return l.nextDue(l.felt()) }

// nextDue looks at the dates of those items.
func (l *Ledger) nextDue(dated func(*item) bool) (capability.Seconds, bool) {
	due := l.hold
	sooner := func(at capability.Seconds) {
		if due == 0 || at < due {
			due = at
		}
	}
	if len(l.ends) > 0 && l.ends[0].leases[0].end != forever {
		sooner(l.ends[0].leases[0].end)
	}
	if date := l.nextDate(dated); date != 0 {
		sooner(l.now.Lease + max(0, capability.Seconds(date-l.now.Wall)))
	}
	if at := l.judgedDue(); at != 0 {
		sooner(at)
	}
	if l.overdrawn > 0 && slices.ContainsFunc(l.items, l.overpaid) {
		sooner(l.now.Lease)
	}
	return due, due != 0
}

// policy is the policy in force, with defaults where the producer said nothing. Duplicate clients are off while reservations exist, which would lose their owners.
func (l *Ledger) policy() capability.Policy {
	p, d := l.applied.Policy, capability.DefaultPolicy()
	p.Lease = leaseOf(p)
	if p.RenewPercent == 0 {
		p.RenewPercent = d.RenewPercent
	}
	if p.ResponseLife == 0 {
		p.ResponseLife = d.ResponseLife
	}
	p.Duplicates = l.duplicates()
	return p
}

// duplicates says that each key of a host ID has a row of its own.
func (l *Ledger) duplicates() bool { return l.applied.Policy.Duplicates && len(l.groups) == 0 }

// leaseOf is the lease interval of a policy.
func leaseOf(p capability.Policy) capability.Seconds {
	if p.Lease == 0 {
		return capability.DefaultPolicy().Lease
	}
	return p.Lease
}

// leasing says that the device holds something that ends: what is metered stays counted for its host ID, whatever key asks.
func (r *row) leasing(now Now) bool {
	return slices.ContainsFunc(r.leases, func(s *lease) bool { return s.end > now.Lease && s.end != forever })
}

// owner is the row that a request of this host and key is about, or nil where it would be a new one. Leases of a host ID belong to the key that asked first:
// other is the row of another key that is in the way. Where duplicate clients are allowed each key has a row of its own.
func (l *Ledger) owner(id hostid.ID, key capability.Digest, now Now) (r, other *row) {
	for _, o := range l.devices[id] {
		if o.key == key {
			r = o
		} else if o.leasing(now) && other == nil {
			other = o
		}
	}
	switch {
	case l.duplicates() || r != nil && r.leasing(now):
		return r, nil
	case r == nil && other == nil && len(l.devices[id]) > 0:
		return l.devices[id][0], nil
	}
	return r, other
}

// find is the item of that ID, or nil.
func (l *Ledger) find(id capability.ItemID) *item {
	for _, it := range l.features[id.Feature] {
		if it.ActivationID == id.ActivationID {
			return it
		}
	}
	return nil
}

func (l *Ledger) step() {
	if l.steps != nil {
		l.steps()
	}
}
