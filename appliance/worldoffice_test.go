package appliance

import (
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
)

const (
	begins   int64              = 1_800_000_000 // of every life, on the true clock
	interval capability.Seconds = 900           // lease, and hold
)

// office is the real back office on disks in memory, beside what its operator remembers.
type office struct {
	w      *world
	o      *backoffice.Office
	m      *storagetest.Machine
	items  []entitlement.ItemView
	made   map[hostid.ID]map[uint64][]capability.LineItem // items of each response, by serial
	asked  map[capability.Digest]*branch                  // who wrote a request file
	answer map[capability.Digest]capability.Digest        // of a request, by digest of the file
}

// founded is a new back office as its disks keep it: making one costs more than a life.
type founded [6]storagetest.Image

var theOffice = sync.OnceValues(func() (founded, error) {
	var f founded
	m := storagetest.New(1)
	place, disks := officePlace(m)
	policy := entitlement.DefaultPolicy("Example Works")
	policy.Lease, policy.MinimumTier = interval, entitlement.Software
	setup := backoffice.Setup{Policy: policy, KeyName: "producer-A", By: "operator", Cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}}
	_, err := backoffice.Create(place, []byte(passphrase), setup, capability.Time(begins), m)
	for i, d := range disks {
		f[i] = d.Copy()
	}
	return f, err
})

const passphrase = "correct horse battery"

func officePlace(m *storagetest.Machine) (backoffice.Place, [6]*storagetest.Disk) {
	var d [6]*storagetest.Disk
	for i := range d {
		d[i] = m.AddDisk(nil)
	}
	return backoffice.Place{Top: d[0], Book: d[1], Keys: d[2], Responses: d[3], Hardware: d[4], Virtual: d[5]}, d
}

func newOffice(w *world) *office {
	f, err := theOffice()
	must(w, err)
	m := storagetest.New(w.seed)
	place, disks := officePlace(m)
	for i, d := range disks {
		d.Restore(f[i])
	}
	o, err := backoffice.Open(place, []byte(passphrase), m)
	must(w, err)
	if w.seed%2 == 1 { // half of the lives tell how the day stands
		p := o.Book().Policy()
		p.States = true
		must(w, o.Do(entitlement.SetPolicy{Policy: p, By: "operator"}, capability.Time(begins)))
	}
	return &office{
		w: w, o: o, m: m, made: map[hostid.ID]map[uint64][]capability.LineItem{},
		asked: map[capability.Digest]*branch{}, answer: map[capability.Digest]capability.Digest{},
	}
}

func (o *office) trust() *wire.Trust { return o.o.Trust() }

func (o *office) entitle(copies uint32, features ...entitlement.Feature) {
	v, err := o.o.Entitle(entitlement.Item{Customer: "ACME", Product: "Suite", Copies: copies, Features: features}, "operator", capability.Time(o.w.now))
	must(o.w, err)
	o.items = append(o.items, v)
}

// respond answers a request file, and checks what the answer must be.
func (o *office) respond(file []byte) []byte {
	w := o.w
	signed, err := w.codec.ReadRequest(file)
	must(w, err)
	host := signed.Request.Hosts[0]
	res, err := o.o.Respond(file, "", "operator", capability.Time(w.now))
	o.m.Plan(nil)
	if err := o.o.Book().Check(); err != nil {
		w.fail("the book: %v", err)
	}
	branch := o.asked[sha256.Sum256(file)]
	branch.sent = true
	o.forks(host, branch, err)
	var refusal *capability.Refusal
	if errors.As(err, &refusal) {
		w.count("refused " + refusal.Code.String())
		switch refusal.Code {
		case capability.ErrFork, capability.ErrHostKey, capability.ErrRollbackSuspect, capability.ErrRepair, capability.ErrReplaced:
			if !w.boxOf(host).tampered {
				w.fail("%s is accused and did nothing: %v", w.boxOf(host), err)
			}
		case capability.ErrOlderRequest:
		default:
			w.fail("the back office refuses: %v", err)
		}
		return nil
	}
	if err != nil {
		w.fail("the back office: %v", err)
		return nil
	}
	if before, again := o.answer[signed.Digest]; again != res.Again || again && before != sha256.Sum256(res.File) {
		w.fail("request %d of %s is answered anew", res.Number, w.boxOf(host))
	}
	o.answer[signed.Digest] = sha256.Sum256(res.File)
	if res.Again {
		return res.File
	}
	refused := w.refusedForGood(host, res)
	for _, no := range res.Denials {
		if no.Code == capability.ErrReturnProof && refused > 0 {
			refused--
		} else if !w.boxOf(host).tampered && (no.Code == capability.ErrRollbackSuspect || no.Code == capability.ErrReturnProof) {
			w.fail("%s is not believed a return: %s %s", w.boxOf(host), no.Code, no.Detail)
		}
	}
	if o.made[host] == nil {
		o.made[host] = map[uint64][]capability.LineItem{}
	}
	o.made[host][res.Serial] = res.Items
	for _, credited := range res.Credited {
		w.credited(host, credited, res.Serial)
	}
	w.entitled()
	return res.File
}

// forks says that two lines of one machine that have both sent a request are known as such.
func (o *office) forks(host hostid.ID, mine *branch, err error) {
	forked := false
	for _, b := range o.asked {
		forked = forked || b.sent && b.root() == mine.root() && b.beside(mine)
	}
	if !forked {
		return
	}
	o.w.count("forks")
	h, _ := o.o.Book().Host(host)
	for _, i := range h.Incidents {
		// A storage made anew is a second line as well; the operator of this world never says that it takes the place of the first.
		if i.Code == capability.ErrFork || i.Code == capability.ErrRepair {
			return
		}
	}
	o.w.fail("two lines of %s have sent requests, and nobody says so: %v", o.w.boxOf(host), err)
}

// branch is one line of a state directory's life. Copying the directory ends it: what goes on and what is restored are its children.
type branch struct {
	above *branch
	sent  bool
}

func (b *branch) child() *branch { return &branch{above: b} }

func (b *branch) root() *branch {
	for b.above != nil {
		b = b.above
	}
	return b
}

func (b *branch) within(o *branch) bool {
	for ; b != nil; b = b.above {
		if b == o {
			return true
		}
	}
	return false
}

// beside says that neither comes from the other.
func (b *branch) beside(o *branch) bool { return !b.within(o) && !o.within(b) }

// line is the life of one TPM. A copy of its state makes two lines of it, and each has the rights.
type line struct {
	above   *line
	serial  uint64 // of the newest response that was applied
	returns []*returned
	ceiling map[string]uint64 // by feature: what clients may believe to hold, at most
}

type returned struct {
	capability.Return
	credit  uint64 // serial of the response that acknowledged it, or refused it for good
	refused uint64 // in the latter case
}

func (l *line) child() *line {
	c := &line{above: l, serial: l.serial, ceiling: map[string]uint64{}}
	for _, r := range l.returns {
		again := *r
		c.returns = append(c.returns, &again)
	}
	for f, n := range l.ceiling {
		c.ceiling[f] = n
	}
	return c
}

func (l *line) within(o *line) bool {
	for ; l != nil; l = l.above {
		if l == o {
			return true
		}
	}
	return false
}

func (l *line) find(id capability.ReturnID) *returned {
	for _, r := range l.returns {
		if r.ID == id {
			return r
		}
	}
	return nil
}
