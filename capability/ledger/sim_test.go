package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
)

const simSteps = 80

// TestSoakSimulation plays many short lives of one appliance, its clients and its back office. After each step every invariant is checked, and what the clients
// were told, all of them together and on their own clocks, is counted against what the back office entitled.
func TestSoakSimulation(t *testing.T) {
	short, fewest := 600, 200
	if testing.Short() {
		short = fewest
	}
	first, last := uint64(1), uint64(storagetest.Size(t, short, 12_500, 1_000_000))
	if only, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64); err == nil {
		first, last = only, only
	}
	if n, err := strconv.ParseUint(os.Getenv("SIM_LIVES"), 10, 64); err == nil {
		last = n
	}
	tried, failed := 0, 0
	defer func() { storagetest.Tried(t, tried, failed) }()
	var sum [outcomes]int
	for seed := first; seed <= last; seed++ {
		w := newWorld(seed)
		tried++
		if err := w.live(); err != nil {
			failed++
			t.Fatalf("seed %d, step %d (SIM_SEED=%d go test -run TestSoakSimulation): %v", w.seed, w.step, w.seed, err)
		}
		for i, n := range w.happened {
			sum[i] += n
		}
	}
	t.Logf("%d lives: %s", tried, describe(sum))
	for i, n := range sum {
		if n == 0 && tried >= fewest { // fewer need not have seen it all
			t.Errorf("the lives never had a %s", outcome(i))
		}
	}
}

// What must have happened at least once in all the lives, or the simulation shows nothing.
type outcome int

const (
	granted outcome = iota
	refusedSeat
	refusedOverage
	refusedHold
	renewedByReceipt
	deniedStale
	applied
	appliedStale
	returned
	refusedInUse
	modeled
	refusedModel
	reserved
	configured
	doubted
	believed
	refusedClock
	overdrawn
	covered
	drained
	refusedDrain
	shortened
	counted
	undone
	queued
	disconnected
	fromEntry
	fromPool
	denied
	limited
	compared
	crashed
	lostTold
	resent
	late
	driftedAway
	refusedBinding
	admitted
	refusedLast
	outcomes
)

func (o outcome) String() string {
	return [...]string{"grant", "refusal for a seat", "refusal for an overage", "refusal in a hold", "renewal by receipt", "denial of an older copy", "response", "stale response",
		"return", "refused return", "model", "refused model", "reservation", "setting", "doubted clock", "clock that is believed again", "refusal for the clock", "overdraft",
		"overdraft that was covered", "request in a drain", "refusal for a drain", "shortened lease", "metered count", "undo", "place in a queue", "idle disconnect",
		"grant of a reservation", "grant of a pool", "denial by a rule", "limit", "comparison with the slow way", "kill", "power loss that lost what was told", "resend", "late duplicate", "changed machine", "refusal for the binding", "login", "refusal for the last administrator"}[o]
}

func describe(sum [outcomes]int) (s string) {
	for i, n := range sum {
		s += fmt.Sprintf("%d %s; ", n, outcome(i))
	}
	return s
}

type world struct {
	seed     uint64
	step     int
	rng      *rand.Rand
	network  *rand.Rand // what comes late does not change what else happens
	nature   *rand.Rand // nor does what becomes of the machine, but in lives whose producer asks for more than its TPM
	staff    *rand.Rand // nor do its logins
	machine  string
	l        *Ledger
	journal  [][]byte // encoded entries
	moved    int      // no copy of the state with fewer entries can come back
	snapshot []byte
	snapAt   int
	now      Now
	real     capability.Seconds // true time, which no machine of ours knows
	clients  []*client
	ration   ration // at the beginning
	calls    uint64

	// The back office.
	copies    map[capability.ActivationID]uint32
	credited  []capability.ReturnID
	refused   []capability.ReturnID // for good
	denials   []capability.Denial   // that say so
	responses []made
	inForce   made
	all       []capability.Return // every return that was ever decided
	requests  uint64
	happened  [outcomes]int
}

// made is a response and what the back office had credited, or refused for good, when it made it.
type made struct {
	Provision
	credited []capability.ReturnID
}

// class is what rights are told of: all items of one feature and version.
type class struct {
	feature string
	version capability.Version
}

// endless says that what is told of the class may be above what is entitled: it is not counted, or it is metered, where what was told is what was used.
func (c class) endless() bool { return c.feature == "u" || c.feature == "m" || c.feature == "n" }

type client struct {
	id     hostid.ID
	key    capability.Digest
	last   capability.Response // the newest answer it heard
	held   []holding
	report capability.CorrelationID // of the last report
	sent   *Serve                   // the last request, for a resend
	waits  bool                     // for the answer to it
	sentAt capability.Seconds       // in true time, the first time

	answered []answered // the newest last
}

// answered is a request that may come again, with its answer.
type answered struct {
	Serve
	answer  capability.Response
	at      capability.Seconds // on the lease clock
	journal int                // entries with it
}

// holding is what a client believes it may use, until a moment of true time.
type holding struct {
	class
	count uint64
	until capability.Seconds
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), network: rand.New(rand.NewPCG(seed, 8)), nature: rand.New(rand.NewPCG(seed, 9)), staff: rand.New(rand.NewPCG(seed, 10)), machine: "Ebndk", now: At(0, day), copies: map[capability.ActivationID]uint32{}}
	if seed%3 == 0 { // clients have used up their moves
		w.ration.spent = (moveSaved - 1) * movePeriod
	}
	w.l = w.fresh()
	for i := range 5 {
		name := fmt.Sprintf("c%d", i)
		w.clients = append(w.clients, &client{id: hostid.ID{Type: hostid.Ethernet, Value: name}, key: key(name)})
	}
	w.clients = append(w.clients, &client{id: w.clients[0].id, key: key("another")})
	for _, it := range simItems() {
		w.copies[it.ActivationID] = 1 + w.rng.Uint32N(4)
	}
	return w
}

// fresh is the ledger with which the life begins.
func (w *world) fresh() *Ledger {
	l := New()
	l.ration = w.ration
	return l
}

// simItems is what the back office sells, a copy of each. Three activations share the feature f.
func simItems() []capability.LineItem {
	return items(
		lineItem('a', "f:1.0", 1), lineItem('b', "f:1.0", 2, copies(1), grace), lineItem('c', "f:2.0", 1, until(day+4000)),
		lineItem('c', "g:1.0", 2, copies(1), from(day+300), borrow(70)), lineItem('d', "g:1.0", 1, overdraft(2), borrow(300)), lineItem('e', "u:1.0", 1, uncounted),
		lineItem('m', "m:1.0", 4, copies(1), metered(true, 600)), lineItem('n', "n:1.0", 5, copies(1), metered(false, 500)),
	)
}

func (w *world) live() error {
	if err := w.run(Start{BootID: "1"}); err != nil {
		return err
	}
	for w.step = 1; w.step <= simSteps; w.step++ {
		if err := w.act(); err != nil {
			return err
		}
		if err := w.drift(); err != nil {
			return err
		}
		if err := w.admit(); err != nil {
			return err
		}
		if err := w.l.Check(); err != nil {
			return err
		}
	}
	return w.replicas()
}

func (w *world) act() error {
	if w.l.overdrawn > 0 && w.rng.IntN(10) == 0 {
		return w.sell()
	}
	switch n := w.rng.IntN(100); {
	case n < 4:
		return w.administer()
	case n < 50:
		return w.request(w.clients[w.rng.IntN(len(w.clients))])
	case n < 62:
		return w.pass(capability.Seconds(w.rng.IntN(150)))
	case n < 65:
		return w.pass(1000)
	case n < 66:
		w.now.Wall += capability.Time(w.rng.IntN(3000))
		return nil
	case n < 68:
		return w.watch()
	case n < 75:
		return w.backOffice()
	case n < 80:
		return w.giveUp()
	case n < 83:
		return w.writeRequest()
	case n < 84:
		return w.administer()
	case n < 85:
		c := w.clients[w.rng.IntN(len(w.clients))]
		return w.run(Drop{Device: c.id, Feature: []string{"f", "g", "u"}[w.rng.IntN(3)], By: "admin"})
	case n < 88:
		w.snapshot, w.snapAt = w.l.Snapshot(), len(w.journal)
		return nil
	case n < 91:
		return w.kill()
	case n < 93:
		return w.powerLoss()
	}
	return w.run(Advance{})
}

func (w *world) pass(d capability.Seconds) error {
	w.real += d
	w.now.Lease += d
	if w.rng.IntN(5) > 0 { // else the system clock is behind the floor, and the floor stands still
		w.now.Wall = w.now.Wall.Add(d)
	}
	if w.rng.IntN(2) == 0 {
		return w.run(Advance{})
	}
	return nil
}

// watch lets the machine read a system clock that may have been set, or an administrator say what time it is.
func (w *world) watch() error {
	before := w.l.Status(w.now).Clock.Doubted()
	some := capability.Seconds(w.rng.IntN(3000))
	off := []capability.Seconds{0, 0, some, -some, 30 * days, -30 * days, 24*hour + some, -24*hour - some}[w.rng.IntN(8)]
	raw := w.now.Wall.Add(off)
	r := w.l.Read(w.now.Lease, raw)
	if r.Now.Wall < w.l.Status(w.now).Now.Wall {
		return fmt.Errorf("%s is read as %+v", raw, r)
	}
	w.now.Wall = max(w.now.Wall, r.Now.Wall)
	var err error
	if w.rng.IntN(4) > 0 {
		err = w.run(Watch{Raw: raw})
	} else {
		err = w.run(SetTime{Time: w.now.Wall.Add(some / 10), Raw: raw, By: "admin"})
	}
	w.now.Wall = max(w.now.Wall, w.l.Status(w.now).Now.Wall)
	switch after := w.l.Status(w.now).Clock.Doubted(); {
	case after && !before:
		w.happened[doubted]++
	case before && !after:
		w.happened[believed]++
	}
	return err
}

// decide runs a command, applies what it says, and tries it again: a resend counts nothing twice.
func (w *world) decide(c Command) (Decision, error) {
	var before capability.Digest
	look := w.step%4 == 0
	if look {
		before = w.l.Digest()
	}
	d, err := w.l.Decide(w.now, c)
	if look && w.l.Digest() != before {
		return d, fmt.Errorf("Decide(%T) changed the state", c)
	}
	var no *capability.Refusal
	var bad *capability.Malformed
	if err != nil {
		if errors.As(err, &no) || errors.As(err, &bad) {
			return d, err
		}
		return d, fmt.Errorf("%T: neither refused nor malformed: %w", c, err)
	}
	for _, e := range d.Entries {
		b := e.Encode(w.l.codec)
		back, err := DecodeEntry(w.l.codec, b)
		if err == nil {
			err = w.l.Apply(back)
		}
		if err != nil {
			return d, fmt.Errorf("apply what Decide(%T) said: %w", c, err)
		}
		w.journal = append(w.journal, b)
		if len(e.Booked) > 0 {
			w.happened[covered]++
		}
	}
	if _, ok := c.(Advance); ok && (len(d.Entries) == 0 || d.Entries[0].Division == nil) && slices.ContainsFunc(w.l.items, w.l.overpaid) {
		return d, errors.New("an overdraft is in use beside free counts")
	}
	if _, ok := c.(Start); d.Move || ok {
		w.moved = len(w.journal)
	}
	again, err := w.l.Decide(w.now, c)
	if _, ok := c.(Advance); ok && len(again.Entries) > 0 && len(d.Entries) > 0 && d.Entries[0].Division != nil && again.Entries[0].Division == nil {
		return d, nil // what a new division leaves to be settled
	}
	if _, ok := c.(Start); !ok && !errors.Is(err, ErrCorrupt) && len(again.Entries) > 0 {
		return d, fmt.Errorf("%T again makes entries: %+v", c, again.Entries[0])
	}
	if _, ok := c.(Provision); ok && (!errors.As(err, &no) || no.Code != capability.AlreadyHere) {
		return d, fmt.Errorf("the same response again: %v", err)
	}
	if s, ok := c.(Serve); ok && len(d.Entries) > 0 && s.Request.Operation == capability.Grant && !reflect.DeepEqual(again.Response, d.Response) {
		return d, fmt.Errorf("a resend is answered %+v, first %+v", again.Response, d.Response)
	}
	return d, nil
}

// run is decide where a no is as good as a yes.
func (w *world) run(c Command) error {
	_, err := w.decide(c)
	return broken(err)
}

// broken is err unless it is an answer.
func broken(err error) error {
	var no *capability.Refusal
	var bad *capability.Malformed
	if errors.As(err, &no) || errors.As(err, &bad) {
		return nil
	}
	return err
}

func (w *world) backOffice() error {
	if len(w.responses) == 0 || w.rng.IntN(3) > 0 {
		w.respond()
	}
	at := len(w.responses) - 1
	if w.rng.IntN(4) == 0 {
		at = w.rng.IntN(len(w.responses))
	}
	m := w.responses[at]
	stale := m.Response.Serial < w.inForce.Response.Serial
	_, err := w.decide(m.Provision)
	var no *capability.Refusal
	switch {
	case err == nil && stale:
		return fmt.Errorf("serial %d was applied over %d", m.Response.Serial, w.inForce.Response.Serial)
	case err == nil:
		w.happened[applied]++
		w.inForce = m
	case errors.As(err, &no) && stale && no.Code == capability.OlderResponse:
		w.happened[appliedStale]++
	}
	return broken(err)
}

// sell brings counts for overdrafts that are in use.
func (w *world) sell() error {
	for _, it := range simItems() {
		if it.Overdraft > 0 {
			w.copies[it.ActivationID] += 2
		}
	}
	if err := w.backOffice(); err != nil {
		return err
	}
	return w.run(Advance{})
}

// respond makes a response to a request that may be older than the last returns.
func (w *world) respond() {
	if w.rng.IntN(3) > 0 {
		for _, t := range w.l.Returns() {
			if t.Proof != nil && !slices.Contains(w.credited, t.ID) && !slices.Contains(w.refused, t.ID) {
				if w.nature.IntN(6) == 0 { // as it stays from then on
					w.refused, w.denials = append(w.refused, t.ID), append(w.denials, capability.RefuseReturn(t, capability.ErrReturnProof))
					continue
				}
				w.credited = append(w.credited, t.ID)
				w.copies[t.ActivationID] -= min(t.Copies, w.copies[t.ActivationID])
			}
		}
	}
	for _, it := range simItems() {
		if w.rng.IntN(6) == 0 {
			w.copies[it.ActivationID] = w.rng.Uint32N(5)
		}
	}
	r := capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.TPMEK, Value: "aa"}, Serial: uint64(len(w.responses)) + 1, Time: w.now.Wall,
		Acknowledged: slices.Clone(w.credited), Number: w.requests - min(w.requests, w.rng.Uint64N(3)),
		Policy: capability.Policy{Lease: []capability.Seconds{0, 60, 300}[w.rng.IntN(3)], Holders: capability.HolderPolicy(w.rng.IntN(3)), Granularity: uint8(max(0, w.rng.IntN(9)-6)), Duplicates: w.rng.IntN(4) == 0},
	}
	if w.strict() {
		r.Policy.Binding, r.Policy.Grace = hostid.Rule(w.nature.IntN(3)), []capability.Seconds{0, 200, capability.NoGrace}[w.nature.IntN(3)]
	}
	for _, it := range simItems() {
		if n := w.copies[it.ActivationID]; n > 0 {
			it.Count, it.Copies = it.Count*n, n
			r.Items = append(r.Items, it)
		}
	}
	r.Denials = slices.Clone(w.denials)
	w.responses = append(w.responses, made{Provision{Response: r, Digest: capability.Digest{byte(r.Serial), byte(r.Serial >> 8)}}, slices.Concat(w.credited, w.refused)})
}

// entitled is what the back office entitled of a class, by the response in force, less the returns that it did not know of when it made it.
func (w *world) entitled(c class) (n uint64) {
	for _, it := range w.inForce.Response.Items {
		if it.Feature != c.feature || it.Version != c.version {
			continue
		}
		left := it.Copies
		for _, t := range w.all {
			if t.ActivationID == it.ActivationID && !slices.Contains(w.inForce.credited, t.ID) {
				left -= min(left, t.Copies)
			}
		}
		n += uint64(it.Count/it.Copies*left) + uint64(min(left, 1)*it.Overdraft)
	}
	return n
}

func (w *world) giveUp() error {
	it := simItems()[w.rng.IntN(8)]
	id := capability.ReturnID{1, byte(len(w.all)), byte(w.step), byte(w.rng.IntN(256))}
	told, over := w.toldAll(), w.over()
	d, err := w.decide(Return{ID: id, ActivationID: it.ActivationID, Copies: w.rng.Uint32N(3), Epoch: uint64(w.moved), By: "admin"})
	var no *capability.Refusal
	if errors.As(err, &no) && no.Code == capability.ErrInUse {
		w.happened[refusedInUse]++
	}
	if err != nil {
		return broken(err)
	}
	if w.now.Lease < w.l.hold {
		return errors.New("a return in a hold")
	}
	w.happened[returned]++
	w.all = append(w.all, d.Return)
	for c, n := range told {
		if !c.endless() && n > w.entitled(c)+over[c] {
			return fmt.Errorf("a return left %d entitled of %v while %d are told", w.entitled(c), c, n)
		}
	}
	if w.rng.IntN(4) > 0 {
		return w.run(Prove{ID: id, Proof: []byte{byte(w.step), 1}})
	}
	return nil
}

func (w *world) writeRequest() error {
	number := w.l.Status(w.now).Number + 1
	w.requests = max(w.requests, number)
	return w.run(WriteRequest{Number: number, Shown: w.l.Machine(w.now).Shown, Digest: capability.Digest{byte(w.step), byte(w.seed), 3}, By: "admin"})
}

// kill ends the daemon: the journal is whole, and the same state comes back.
func (w *world) kill() error {
	w.happened[crashed]++
	before := w.l.Digest()
	l, err := w.recover(len(w.journal))
	if err != nil {
		return err
	}
	if w.l = l; l.Digest() != before {
		return errors.New("another state after a kill")
	}
	return w.run(Start{BootID: "1"})
}

// powerLoss brings back any copy of the state that the epoch allows, also one without what clients were told since. The lease clock stood still, true time did not.
func (w *world) powerLoss() error {
	at := w.moved + w.rng.IntN(len(w.journal)-w.moved+1)
	for _, e := range w.journal[at:] {
		if e, err := DecodeEntry(w.l.codec, e); err == nil && e.Served != nil {
			w.happened[lostTold]++
		}
	}
	l, err := w.recover(at)
	if err != nil {
		return err
	}
	w.l, w.journal = l, w.journal[:at]
	for _, c := range w.clients {
		c.answered = slices.DeleteFunc(c.answered, func(a answered) bool { return a.journal > at })
	}
	if w.snapAt > at {
		w.snapshot = nil
	}
	w.now.Lease = l.Status(w.now).Now.Lease
	w.real += capability.Seconds(w.rng.IntN(400))
	w.now.Wall = max(w.now.Wall, day.Add(w.real)) + capability.Time(w.rng.IntN(400))
	return w.run(Start{BootID: fmt.Sprint(w.step), HoldFor: l.Policy().Lease, Cause: "power"})
}

// recover is the state after the first n entries, from the snapshot where there is one.
func (w *world) recover(n int) (*Ledger, error) {
	l, from := w.fresh(), 0
	if w.snapshot != nil && w.snapAt <= n {
		var err error
		if l, err = Restore(w.snapshot); err != nil {
			return nil, err
		}
		from = w.snapAt
	}
	return l, feed(l, w.journal[from:n])
}

func feed(l *Ledger, entries [][]byte) error {
	for _, b := range entries {
		e, err := DecodeEntry(wire.New(), b)
		if err == nil {
			err = l.Apply(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// replicas fed the journal alone, and a snapshot with the rest, are the same as the one that lived.
func (w *world) replicas() error {
	replica := w.fresh()
	for i, b := range w.journal {
		if i == len(w.journal)/2 {
			half, err := Restore(replica.Snapshot())
			if err != nil {
				return err
			}
			if err := feed(half, w.journal[i:]); err != nil {
				return err
			}
			if half.Digest() != w.l.Digest() {
				return errors.New("a replica from a snapshot and the rest has another digest")
			}
		}
		if err := feed(replica, [][]byte{b}); err != nil {
			return err
		}
	}
	if replica.Digest() != w.l.Digest() {
		return errors.New("a replica fed the journal has another digest")
	}
	return replica.Check()
}
