package appliance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
)

// world is a customer's site and its producer: machines with their TPMs, clients, the back office, sticks in a bag, and an administrator who may be the
// adversary. It keeps books of its own and never asks the code whether it was right. Nothing in it is left to chance: its operations are its whole life.
type world struct {
	testing.TB
	seed    uint64
	now     int64 // true time
	codec   *wire.Codec
	office  *office
	boxes   []*box
	clients []*client
	bag     []stick
	first   []stick // the first response to each machine
	beliefs map[*client][]*belief
	proven  map[capability.Digest]bool // certificates of appliances that a client has checked

	correlations uint64
	counts       map[string]int
	moves        map[*chip]int64
	wrong        error // the first thing that is not as it must be
}

// stick is a file on its way.
type stick struct {
	request bool
	file    []byte
	host    hostid.ID
}

const bagSize = 24

// newWorld is a site in service: each machine has its share of what is entitled.
func newWorld(t testing.TB, seed uint64, boxes, clients int) *world {
	w := &world{TB: t, seed: seed, now: begins, codec: wire.New(), beliefs: map[*client][]*belief{}, counts: map[string]int{}, moves: map[*chip]int64{}, proven: map[capability.Digest]bool{}}
	w.office = newOffice(w)
	w.office.entitle(uint32(3+seed%4)*uint32(boxes), entitlement.Feature{Name: "render", Version: capability.Version{Major: 1}, PerCopy: 1})
	w.office.entitle(uint32(4*boxes), entitlement.Feature{Name: "render", Version: capability.Version{Major: 1}, PerCopy: 1}, entitlement.Feature{Name: "solve", Version: capability.Version{Major: 1}, PerCopy: 2})
	for n := range boxes {
		w.boxes = append(w.boxes, newBox(w, n+1))
	}
	for n := range clients {
		w.clients = append(w.clients, newClient(w, n))
	}
	for _, b := range w.boxes {
		w.begin(b, 0)
		w.write(b, []capability.Desired{{ActivationID: w.office.items[0].ActivationID, Count: 3}, {ActivationID: w.office.items[1].ActivationID, Count: 2}})
		b.images[3] = b.stores[0].copy()
		w.carry(len(w.bag)-1, nil)
		w.first = append(w.first, last(w.bag))
		w.carry(len(w.bag)-1, b)
		if w.wrong == nil && b.chip.line.serial != 1 {
			w.fail("%s did not come into service", b)
		}
	}
	return w
}

// fail keeps the first violation.
func (w *world) fail(format string, args ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf(format, args...)
	}
}

func (w *world) count(what string) { w.counts[what]++ }

func (w *world) moved(c *chip) { w.moves[c]++ }

func (w *world) boxOf(host hostid.ID) *box {
	for _, b := range w.boxes {
		if b.chip.Host == host {
			return b
		}
	}
	return nil
}

// pass lets time go on. Owners wake when something is due.
func (w *world) pass(seconds int64) {
	for end := w.now + seconds; ; {
		next, who := end, (*daemon)(nil)
		for _, b := range w.boxes {
			for _, d := range b.daemons {
				if d == nil {
					continue
				}
				if due := w.now + int64(d.a.untilDue().Seconds()); due < next {
					next, who = due, d
				}
			}
		}
		w.now = next
		if who == nil {
			return
		}
		who.do(&call{command: ledger.Advance{}})
		who.b.settle()
	}
}

// begin starts a daemon and says whether it serves.
func (w *world) begin(b *box, place int) bool {
	if b.daemons[place] != nil {
		return true
	}
	err := b.start(place)
	b.settle()
	switch {
	case err == nil:
		b.served = b.served || place == 0
		return b.daemons[place] != nil
	case errors.Is(err, storagetest.ErrStopped):
	case errors.Is(err, ledger.ErrCorrupt):
		w.fail("%s does not start: %v", b, err)
	case b.tampered:
		w.count("start refused")
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrRolledBack), errors.Is(err, errNotHere):
		w.fail("%s does not start again: %v", b, err)
	}
	return false
}

// opened compares what a start found with what was told before.
func (w *world) opened(s *store, found ledger.Status) {
	p := int(found.Position)
	switch {
	case p < s.told:
		w.fail("%s lost acknowledged entries: %d were told of, %d are there", s.b, s.told, p)
	case p > len(s.heads) || p > 0 && found.Head != s.heads[p-1]:
		w.fail("%s has a history that never was: %d entries", s.b, p)
	case p == s.told && found.Now != s.now && s.now.Wall != 0, found.Now.Lease < s.now.Lease || found.Now.Wall < s.now.Wall:
		w.fail("the clocks of %s went back: %v, then %v", s.b, s.now, found.Now)
	case found.Serial != 0 && found.Serial < s.b.chip.line.serial:
		w.fail("%s is back at response %d, %d was applied", s.b, found.Serial, s.b.chip.line.serial)
	}
	s.heads = s.heads[:min(p, len(s.heads))]
	s.durable = len(s.heads)
}

// began takes over what a start made a fact without telling it: a response or a return that was cut off after its write.
func (w *world) began(d *daemon) {
	w.told(d)
	d.b.chip.line.applied(w, d)
	chain := &wire.Chain{}
	err := d.drive(func(ctx context.Context) (err error) { chain, err = d.a.Chain(ctx); return err })
	if certificate := sha256.Sum256(chain.Appliance); err == nil && len(chain.Appliance) > 0 && w.proven[certificate] {
		err = attest.JudgeSession(d.b.chip.AK, chain.Statement, chain.Serving)
		if err != nil {
			w.fail("%s shows a chain that does not hold: %v", d.b, err)
		}
	} else if err == nil && len(chain.Appliance) > 0 {
		w.proven[certificate] = true
		if _, err := w.codec.VerifyChain(w.office.trust(), chain, attest.JudgeSession); err != nil {
			w.fail("%s shows a chain that does not hold: %v", d.b, err)
		}
	}
	w.kept(d)
}

// told is after every group: what was answered must be durable.
func (w *world) told(d *daemon) {
	at, s := d.ledger(), d.s
	if int(at.Position) > s.durable {
		w.fail("%s answered by %d entries, %d are durable", d.b, at.Position, s.durable)
	}
	if at.Now.Lease < s.now.Lease || at.Now.Wall < s.now.Wall {
		w.fail("the clocks of %s went back: %v, then %v", d.b, s.now, at.Now)
	}
	if s.told == int(at.Position) {
		return
	}
	s.told, s.now = int(at.Position), at.Now
	if err := d.a.Ledger.Check(); err != nil {
		w.fail("%s: %v", d.b, err)
	}
	w.counts["groups"]++
}

// kept says that every lease a client was told of by this very history is still booked.
func (w *world) kept(d *daemon) {
	now := d.a.now()
	for _, c := range w.clients {
		for _, b := range w.beliefs[c] {
			if b.s != d.s || b.at > d.s.told || b != last(w.beliefs[c]) || b.serial != c.peers[b.server].serial {
				continue
			}
			device, _ := d.a.Ledger.Device(c.host, now)
			for _, r := range b.rights {
				booked := uint64(0)
				for _, h := range device.Holdings {
					if h.Item.Feature == r.feature {
						booked += uint64(h.Count)
					}
				}
				if left := w.holds(c, b.line, r.feature); booked < left {
					w.fail("client %d holds %d of %s, %s knows of %d after its start", c.n, left, r.feature, d.b, booked)
				}
			}
		}
	}
}

func last[T any](list []T) T { return list[len(list)-1] }

// applied makes the response in force, and the returns made since, the measure of what this line may serve.
func (l *line) applied(w *world, d *daemon) {
	at := d.ledger()
	for _, r := range d.a.Ledger.Returns() {
		if l.find(r.ID) == nil {
			w.shrink(l, func() { l.returns = append(l.returns, &returned{Return: r}) })
		}
	}
	if at.Serial > l.serial {
		w.shrink(l, func() { l.serial = at.Serial })
		w.entitled()
	}
}

// copies is how many of an activation ID this line may serve.
func (w *world) copies(l *line, host hostid.ID, id capability.ActivationID) (n uint32) {
	for _, i := range w.office.made[host][l.serial] {
		if i.ActivationID == id {
			n = i.Copies
		}
	}
	for _, r := range l.returns {
		if r.ActivationID == id && (r.credit == 0 || r.credit > l.serial) {
			n -= min(n, r.Copies)
		}
	}
	return n
}

func (w *world) capacity(l *line, feature string) (n uint64) {
	host, ok := w.hostOf(l)
	if !ok {
		return 0
	}
	for _, i := range w.office.items {
		for _, f := range i.Features {
			if f.Name == feature {
				n += uint64(w.copies(l, host, i.ActivationID)) * uint64(f.PerCopy)
			}
		}
	}
	return n
}

func (w *world) hostOf(l *line) (hostid.ID, bool) {
	for _, b := range w.boxes {
		if b.chip.line == l {
			return b.chip.Host, true
		}
	}
	return hostid.ID{}, false
}

func (w *world) believed(l *line, feature string) (n uint64) {
	for _, c := range w.clients {
		n += w.holds(c, l, feature)
	}
	return n
}

// shrink changes what a line may serve. What is above it runs out.
func (w *world) shrink(l *line, change func()) {
	for _, f := range features {
		l.ceiling[f] = max(w.believed(l, f), w.capacity(l, f))
	}
	change()
	w.limits(l)
}

var features = []string{"render", "solve"}

// limits is the promise: clients never believe in more than the counts, but for what a cut left running.
func (w *world) limits(l *line) {
	if _, alive := w.hostOf(l); !alive {
		return
	}
	for _, f := range features {
		used, capacity := w.believed(l, f), w.capacity(l, f)
		if used > max(capacity, l.ceiling[f]) {
			w.fail("over-granted: clients hold %d of %s, the counts are %d", used, f, max(capacity, l.ceiling[f]))
		}
		l.ceiling[f] = max(capacity, min(used, l.ceiling[f]))
	}
}

// credited is a return that the back office took: from here on no lease comes from those copies.
func (w *world) credited(host hostid.ID, seen entitlement.ReturnSeen, serial uint64) {
	l := w.boxOf(host).chip.line
	r := l.find(seen.ID)
	if r == nil && w.boxOf(host).tampered {
		return // by another line of this machine
	}
	if r == nil || r.Copies != seen.Copies || r.ActivationID != seen.ActivationID || r.credit != 0 {
		w.fail("the back office credits return %.4x, which was not made so", seen.ID[:])
		return
	}
	r.credit = serial
	w.count("credited")
}

// refusedForGood takes in which returns a response closes without a credit, and how many of them had a wrong proof: from it on the machine has what it lists.
func (w *world) refusedForGood(host hostid.ID, res *backoffice.Result) (misproofs int) {
	b := w.boxOf(host)
	for _, no := range res.Denials {
		if no.Code != capability.ErrReturnRefused {
			continue
		}
		at := slices.IndexFunc(b.chip.line.returns, func(r *returned) bool { return r.ID.Subject() == no.Subject })
		if at < 0 {
			if !b.tampered {
				w.fail("the back office refuses return %s, which was not made", no.Subject)
			}
			continue
		}
		r := b.chip.line.returns[at]
		digest := w.codec.ReturnDigest(r.Return)
		if misproved(digest[:]) {
			misproofs++
		} else if !b.tampered {
			w.fail("%s is refused a return for good: %s", b, no.Detail)
		}
		if r.credit != 0 && r.refused == 0 {
			w.fail("return %s is refused for good, and was credited", no.Subject)
		}
		if r.credit == 0 {
			r.credit, r.refused = res.Serial, res.Serial
			w.count("refused for good")
		}
	}
	return misproofs
}

// entitled says that the rights at all machines are within what was entitled.
func (w *world) entitled() {
	for _, i := range w.office.items {
		var all uint32
		for _, b := range w.boxes {
			if b.chip.line.above == nil {
				all += w.copies(b.chip.line, b.chip.Host, i.ActivationID)
			}
		}
		if all > i.Copies {
			w.fail("machines have %d copies of %s, %d are entitled", all, i.ActivationID, i.Copies)
		}
	}
}

// write makes a request file on the machine and puts it into the bag.
func (w *world) write(b *box, desired []capability.Desired) {
	d := b.daemons[0]
	if d == nil {
		return
	}
	var f *File
	err := d.drive(func(ctx context.Context) (err error) { f, err = d.a.Request(ctx, desired, "admin"); return err })
	branch := d.s.branch
	b.settle()
	if err != nil {
		return
	}
	if known, again := w.office.asked[sha256.Sum256(f.Bytes)]; again && known != branch {
		w.fail("%s wrote the same request on two lines", b)
	}
	w.office.asked[sha256.Sum256(f.Bytes)] = branch
	w.pack(stick{true, f.Bytes, b.chip.Host})
	w.count("requests")
}

func (w *world) pack(s stick) {
	w.bag = append(w.bag, s)
	if len(w.bag) > bagSize {
		w.bag = w.bag[1:]
	}
}

// carry takes a file where it belongs: a request to the back office, whose answer comes back into the bag, a response to a machine. The file stays in the
// bag, so it may come again.
func (w *world) carry(n int, to *box) {
	if n < 0 || n >= len(w.bag) {
		return
	}
	s := w.bag[n]
	if s.request {
		if file := w.office.respond(s.file); file != nil {
			w.pack(stick{false, file, s.host})
		}
		return
	}
	if to == nil {
		to = w.boxOf(s.host)
	}
	d := to.daemons[0]
	if d == nil {
		return
	}
	before := d.ledger()
	in := &Imported{}
	err := d.drive(func(ctx context.Context) (err error) { in, err = d.a.Import(ctx, s.file); return err })
	if d.err == nil {
		to.chip.line.applied(w, d)
		after := d.ledger()
		if (err != nil || in.Code != capability.Applied) && after.Serial != before.Serial {
			w.fail("%s took a response that it refused: %v", to, err)
		}
		if err == nil && in.Code == capability.Applied && (s.host != to.chip.Host || after.Serial <= before.Serial) {
			w.fail("%s took response %d of %s at response %d", to, in.Clear.Serial, s.host.Short(), before.Serial)
		}
		var refusal *capability.Refusal
		if errors.As(err, &refusal) {
			w.count("import " + refusal.Code.String())
		} else if err == nil {
			w.count("import " + in.Code.String())
		}
	}
	to.settle()
}

// giveBack returns copies of an item. When it is told, no copy of the disk may serve them again.
func (w *world) giveBack(b *box, item int, copies uint32) {
	d := b.daemons[0]
	if d == nil {
		return
	}
	id := w.office.items[item%len(w.office.items)].ActivationID
	had := map[string]uint64{}
	for _, f := range features {
		had[f] = w.capacity(b.chip.line, f)
	}
	var r *capability.Return
	err := d.drive(func(ctx context.Context) (err error) { r, err = d.a.Return(ctx, id, copies, "admin"); return err })
	if err == nil {
		w.count("returns")
		l := b.chip.line
		if l.find(r.ID) == nil {
			w.shrink(l, func() { l.returns = append(l.returns, &returned{Return: *r}) })
		}
		for _, f := range features {
			if used, rest := w.believed(l, f), w.capacity(l, f); used > rest && used <= had[f] {
				w.fail("%s returned what is in use: clients hold %d of %s, %d are left", b, used, f, rest)
			}
		}
	}
	b.settle()
}

func (w *world) client(n int) *client { return w.clients[n%len(w.clients)] }
func (w *world) box(n int) *box       { return w.boxes[n%len(w.boxes)] }

func (w *world) taint(c *client) {
	c.rolled = true
	delete(w.beliefs, c)
	c.late = slices.Clip(c.late[:0])
}
