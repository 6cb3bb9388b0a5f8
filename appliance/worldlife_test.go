package appliance

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// op is one operation of a life. What its numbers mean is in the table below; any number is allowed, so that a schedule stays one when operations are taken out.
type op struct {
	name    string
	a, b, c int
}

func (o op) String() string { return fmt.Sprintf("%s %d %d %d", o.name, o.a, o.b, o.c) }

// schedule is a whole life.
type schedule struct {
	seed           uint64
	boxes, clients int
	ops            []op
}

func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "life %d %d %d\n", s.seed, s.boxes, s.clients)
	for _, o := range s.ops {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}

// parse reads what String writes. Lines that begin with # are comments.
func parse(text string) (s schedule, err error) {
	for n, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 4 {
			return s, fmt.Errorf("line %d: %d words where 4 are wanted", n+1, len(f))
		}
		var v [3]int
		for i := range v {
			if v[i], err = strconv.Atoi(f[i+1]); err != nil {
				return s, fmt.Errorf("line %d: %w", n+1, err)
			}
		}
		if f[0] == "life" {
			s.seed, s.boxes, s.clients = uint64(v[0]), v[1], v[2]
			continue
		}
		if operations[f[0]] == nil {
			return s, fmt.Errorf("line %d: there is no operation %q", n+1, f[0])
		}
		s.ops = append(s.ops, op{f[0], v[0], v[1], v[2]})
	}
	if s.boxes == 0 || s.clients == 0 {
		return s, fmt.Errorf("no line says whose life it is")
	}
	return s, nil
}

// longest is how long what may be borrowed may be.
const longest capability.Seconds = 48 * 60 * 60

// borrows are the intervals that a client may ask for: as long as a hold, shorter, and two that move the epoch.
var borrows = [4]capability.Seconds{interval, 600, 2 * 60 * 60, longest}

var featureOf = [2]string{"render", "solve"}

// operations by name: clients, the world, the courier, and the adversary.
var operations = map[string]func(w *world, a, b, c int){
	// A client asks for so many; c says what becomes of the answer, and for how long it wants them.
	"ask": func(w *world, a, b, c int) { w.ask([]wish{newWish(w, a, b, c)}) },
	// Several in one group, or in two daemons' groups.
	"storm": func(w *world, a, b, c int) {
		var all []wish
		for n := range 2 + b%4 {
			all = append(all, newWish(w, a+n, b+n, c+n))
		}
		w.ask(all)
	},
	"renew": func(w *world, a, b, c int) { w.ask([]wish{{c: w.client(a), borrow: borrows[b%3], fate: c % 3}}) },
	"release": func(w *world, a, b, c int) {
		w.ask([]wish{{c: w.client(a), feature: featureOf[b%2], fate: c % 3}})
	},
	"late": func(w *world, a, _, _ int) {
		if c := w.client(a); len(c.late) > 0 {
			w.hear(c, c.late[0])
			c.late = c.late[1:]
		}
	},
	"again": func(w *world, a, b, _ int) { w.again(w.client(a), b%2) },
	"route": func(w *world, a, b, _ int) { w.client(a).server = b % len(w.boxes) },
	"keep": func(w *world, a, _, _ int) {
		c := w.client(a)
		c.old = append(c.old, c.kept.clone())
	},
	"older": func(w *world, a, b, _ int) {
		if c := w.client(a); len(c.old) > 0 {
			c.kept = c.old[b%len(c.old)].clone()
			w.taint(c)
		}
	},
	"wait": func(w *world, a, _, _ int) { w.pass(int64(a)) },
	// Parts of a machine are others now, and a probe says so.
	"drift": func(w *world, a, b, _ int) { w.drift(w.box(a), b) },

	"start": func(w *world, a, _, _ int) { w.begin(w.box(a), 0) },
	"stop": func(w *world, a, b, _ int) {
		if d := w.box(a).daemons[b%2]; d != nil {
			d.err = d.a.leave(nil)
			if d.err == nil {
				d.err = ErrEnded
			}
			w.box(a).settle()
		}
	},
	"kill":   func(w *world, a, _, _ int) { w.box(a).fall(blow{after: 0}) },
	"cut":    func(w *world, a, b, _ int) { w.box(a).fall(blow{after: 1, seed: uint64(b)}) },
	"reboot": func(w *world, a, _, _ int) { w.box(a).fall(blow{after: 2}) },
	// At the b-th step from here the process ends, or a call fails; c says how.
	"strike": func(w *world, a, b, c int) {
		x := w.box(a)
		x.left, x.blow = b, blow{effect: storagetest.Effect(c % 3), after: c / 3 % 3, seed: uint64(c)}
		if c/9%4 == 3 {
			x.blow.fault = storagetest.Broken().Err
			x.blow.effect = storagetest.None
		}
	},
	"snapshot": func(w *world, a, b, _ int) {
		if d := w.box(a).daemons[b%2]; d != nil {
			d.a.compactAt = 0
		}
	},

	"request": func(w *world, a, b, c int) {
		var desired []capability.Desired
		if c > 0 {
			desired = []capability.Desired{{ActivationID: w.office.items[b%2].ActivationID, Count: uint32(c%6 + 1)}}
		}
		w.write(w.box(a), desired)
	},
	"return": func(w *world, a, b, c int) { w.giveBack(w.box(a), b, uint32(c%3)) },
	"carry": func(w *world, a, _, _ int) {
		if len(w.bag) > 0 {
			w.carry(len(w.bag)-1-a%len(w.bag), nil)
		}
	},
	"elsewhere": func(w *world, a, b, _ int) {
		if len(w.bag) > 0 {
			w.carry(len(w.bag)-1-a%len(w.bag), w.box(b))
		}
	},
	// The very first response comes again.
	"first": func(w *world, a, _, _ int) {
		if a < len(w.first) {
			w.bag = append(w.bag, w.first[a])
			w.carry(len(w.bag)-1, nil)
		}
	},
	"lose": func(w *world, a, _, _ int) {
		if n := len(w.bag); n > 0 {
			w.bag = append(w.bag[:a%n:a%n], w.bag[a%n+1:]...)
		}
	},

	"copy":    func(w *world, a, b, _ int) { w.box(a).images[b%4] = w.box(a).stores[0].copy() },
	"restore": func(w *world, a, b, _ int) { w.restore(w.box(a), b%4, 0) },
	// What ran before the adversary came is put back, if nothing else starts.
	"mend": func(w *world, a, _, _ int) {
		if b := w.box(a); b.good != nil && (!w.begin(b, 0) || b.daemons[0].ledger().Serial == 0) {
			b.fall(blow{})
			b.stores[0].restore(b.good)
			w.begin(b, 0)
		}
	},
	"second": func(w *world, a, b, _ int) {
		if w.box(a).daemons[1] == nil && w.restore(w.box(a), b%4, 1) {
			w.begin(w.box(a), 1)
		}
	},
	"suspend": func(w *world, a, b, _ int) { w.suspend(w.box(a), b%4) },
	"elevate": func(w *world, a, b, _ int) { w.clone(w.box(a), w.box(a+1), b%4) },
	"junk": func(w *world, a, b, _ int) {
		w.box(a).chip.extend([32]byte{byte(b)})
		w.box(a).extended = true
	},
	"wind": func(w *world, a, b, _ int) { w.box(a).wind = int64(b) },
	"wipe": func(w *world, a, b, _ int) { w.wipe(w.box(a), b%4) },
	"clear": func(w *world, a, _, _ int) {
		w.box(a).fall(blow{after: 1})
		w.box(a).chip.made = false
		w.box(a).tampered = true
	},
}

// newWish reads what c says: the fate of the answer, the interval, whether the receipt comes along, and which of two daemons is asked.
func newWish(w *world, a, b, c int) wish {
	return wish{
		c: w.client(a), feature: featureOf[b%2], count: uint32(1 + b/2%3),
		fate: []int{0, 0, 1, 2}[c%4], borrow: borrows[c/4%4], receipt: c/16%2 == 1, place: c / 32 % 2,
	}
}

// again is a request that is sent once more, byte for byte: the answer is the same, and nothing changes by it.
func (w *world) again(c *client, place int) {
	d := w.boxes[c.server].daemons[place]
	if d == nil || c.last == nil || c.answer == nil || c.answer.s != d.s || c.answer.serial != c.peers[c.server].serial {
		return
	}
	ca := callOf(d.a, c.key, c.last)
	d.do(ca)
	if ca.err == nil && len(ca.answer.Response) > 0 {
		w.alone(d)
	}
	if ca.err == nil && len(ca.answer.Response) > 0 && c.answer.at <= d.s.told {
		r, _, err := w.codec.VerifyAnswer(d.a.chain.Serving, &ca.answer)
		switch {
		case err != nil:
			w.fail("client %d: %v", c.n, err)
		case len(ca.decision.Entries) > 0 && c.answer.s == d.s && r.Serial == c.answer.serial:
			w.fail("the same request of client %d became a fact twice", c.n)
		case len(ca.decision.Entries) == 0 && r.Serial == c.answer.serial && fmt.Sprint(r.Rights) != fmt.Sprint(c.answer.resp.Rights):
			w.fail("the same request of client %d is answered by %v, then by %v", c.n, c.answer.resp.Rights, r.Rights)
		}
		if p := c.peers[c.server]; len(ca.decision.Entries) > 0 && r.Serial > p.serial {
			p.serial = r.Serial // done anew by an older copy of the disk
			c.peers[c.server] = p
		}
		w.count("again")
	}
	d.b.settle()
}

// saveGood keeps the disk that served last.
func (b *box) saveGood() {
	if b.served {
		b.good, b.served = b.stores[0].copy(), false
	}
}

// restore puts a copy of the disk in the place of a state directory. What runs there is ended before.
func (w *world) restore(b *box, n, place int) bool {
	i := b.images[n]
	if i == nil {
		return false
	}
	s := b.stores[place]
	if place == 0 {
		b.fall(blow{})
		b.saveGood()
	}
	if i.chip == nil {
		s.restore(i)
	} else {
		// The whole machine goes back, TPM and all.
		b.fall(blow{})
		s.restore(i)
		again := *i.chip
		b.chip = &again
		b.chip.line = i.chip.line.child()
		w.moves[b.chip] = 0
		w.count("machines rolled back")
	}
	b.tampered = true
	w.count("disks restored")
	return true
}

// drift changes a machine: each bit of parts is a board, a card, a disk or a dongle that is there. Its TPM stays, so it stays the same machine.
func (w *world) drift(b *box, parts int) {
	d := b.daemons[0]
	if d == nil {
		return
	}
	m := hostid.Machine{Virtual: "kvm"}
	for i, t := range []hostid.Type{hostid.BoardUUID, hostid.BoardUUID, hostid.Ethernet, hostid.Ethernet, hostid.Disk, hostid.Flexid9, hostid.TPMEK} {
		if parts>>i&1 != 0 {
			m.Findings = append(m.Findings, hostid.Finding{ID: hostid.ID{Type: t, Value: fmt.Sprintf("part %d", i)}, Strength: hostid.Proven})
		}
	}
	d.do(&call{command: ledger.Recognize{Shown: d.a.counts(m), Platform: capability.PlatformOf(m)}})
	if d.err == nil && !d.a.Ledger.Machine(d.a.now()).Outcome.Serves() {
		w.fail("%s is not the same machine any more: %s", b, d.a.Ledger.Machine(d.a.now()).Sentence())
	}
	w.count("drifts")
	b.settle()
}

// suspend keeps the whole state of a machine, TPM and all.
func (w *world) suspend(b *box, n int) {
	i := b.stores[0].copy()
	frozen := *b.chip
	i.chip = &frozen
	b.chip.line = frozen.line.child()
	b.images[n] = i
}

// clone tries a disk on another machine: it never opens there.
func (w *world) clone(from, to *box, n int) {
	i := from.images[n]
	if i == nil || from == to {
		return
	}
	to.fall(blow{})
	s := to.stores[0]
	own, branch := s.copy(), s.branch
	s.requests.Restore(i.requests)
	s.vault.Restore(i.vault)
	if o, err := s.open(); err == nil && o.Ledger.Status(ledger.Now{}).Position > 0 {
		w.fail("a copy of the disk of %s opens on %s", from, to)
	}
	to.fall(blow{})
	s.restore(own)
	s.branch = branch
	w.count("disks cloned")
}

// wipe deletes the state directory; what was there is kept.
func (w *world) wipe(b *box, n int) {
	b.fall(blow{})
	s := b.stores[0]
	b.saveGood()
	b.images[n] = s.copy()
	s.restore(&image{record: record{branch: s.branch.root()}})
	b.tampered = true
	w.count("wiped")
}

// live leads a life and gives what went wrong, and after how many operations.
func (s schedule) live(t testing.TB) (w *world, done int, err error) {
	w = newWorld(t, s.seed, s.boxes, s.clients)
	for _, o := range s.ops {
		if w.wrong != nil {
			break
		}
		operations[o.name](w, o.a, o.b, o.c)
		for _, b := range w.boxes {
			b.settle()
		}
		done++
	}
	if w.wrong == nil {
		w.survive()
	}
	return w, done, w.wrong
}

// survive is the end of a life: a machine that nobody tampered with serves again.
func (w *world) survive() {
	for _, b := range w.boxes {
		b.left = -1
		if !b.tampered && !w.begin(b, 0) {
			w.fail("%s does not serve at the end", b)
		}
	}
}
