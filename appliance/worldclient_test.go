package appliance

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// client is a device that keeps the rules of the SDK and no others: it believes verified answers only, counts their time on its own clock from the moment it asked,
// and stops using what it gives back before it says so. What was not answered it sends again before anything else, and believes meanwhile in the less of what it
// had and of what it asked for, for as long as it was told.
type client struct {
	n      int
	server int // the machine it talks to
	key    capability.Digest
	host   hostid.ID
	kept          // what it has on its disk
	old    []kept // copies of its store that somebody made
	rolled bool   // it runs on such a copy; until an answer outside a hold what it believes does not count
	late   []*belief
	last   *capability.Request
	answer *belief // to the last request
}

// kept is the store of a client on its disk.
type kept struct {
	peers   map[int]peer // where it stands with each machine
	receipt *belief      // the newest answer
	less    map[string]uint32
	wants   map[string]uint32
}

type peer struct {
	serial  uint64              // of the newest answer that was heard
	pending *capability.Request // that was not answered
	sent    int64               // when it was, first
	before  map[string]uint32   // what less was before it
}

func (k kept) clone() kept {
	k.peers, k.less, k.wants = maps.Clone(k.peers), maps.Clone(k.less), maps.Clone(k.wants)
	return k
}

// belief is what one answer makes a client believe, on the true clock.
type belief struct {
	line   *line
	server int
	s      *store // that told it
	at     int    // entries behind it
	serial uint64
	rights []believed
	resp   *capability.Response
	chain  wire.Chain
	raw    wire.Answer
}

type believed struct {
	feature string
	count   uint32
	until   int64
}

func newClient(w *world, n int) *client {
	key := sha256.Sum256([]byte{byte(n), byte(w.seed)})
	return &client{n: n, server: n % len(w.boxes), key: key, host: hostid.OfDigest(hostid.DeviceKey, key), kept: kept{wants: map[string]uint32{}, peers: map[int]peer{}}}
}

// request is the whole wish of the device.
func (c *client) request(w *world, wants map[string]uint32, borrow capability.Seconds) *capability.Request {
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{c.host}, Applied: c.peers[c.server].serial, Borrow: borrow}
	w.correlations++
	binary.BigEndian.PutUint64(r.Correlation[:], w.correlations)
	for _, f := range slices.Sorted(maps.Keys(wants)) {
		r.Desired = append(r.Desired, capability.Desired{Feature: f, Count: wants[f]})
	}
	return r
}

// show is the receipt, which nothing shows that names what was given back.
func (c *client) show(w *world) []byte {
	if b := c.receipt; b != nil && len(c.less) == 0 {
		return w.codec.Encode(wire.Receipt{Answer: b.raw, Serving: b.chain.Serving, Statement: b.chain.Statement})
	}
	return nil
}

// ask sends wishes and hears the answers, at once, later or never. What a device gives back it stops using first.
func (w *world) ask(wishes []wish) {
	byDaemon := map[*daemon][]*asking{}
	var order []*daemon
	for _, wi := range wishes {
		c := wi.c
		d := w.boxes[c.server].daemons[wi.place]
		if d == nil {
			d = w.boxes[c.server].daemons[1-wi.place]
		}
		if d == nil || slices.ContainsFunc(byDaemon[d], func(a *asking) bool { return a.c == c }) {
			continue
		}
		wants := maps.Clone(c.wants)
		if wi.feature != "" {
			wants[wi.feature] = wi.count
		}
		a := &asking{wish: wi, d: d, wants: wants, sent: w.now}
		if a.gives = wi.feature != "" && wi.count < c.wants[wi.feature]; a.gives {
			c.wants = wants
		}
		if byDaemon[d] == nil {
			order = append(order, d)
		}
		byDaemon[d] = append(byDaemon[d], a)
	}
	for _, d := range order {
		var settled, again []*asking
		var before []*asking // what was not answered comes first
		for _, a := range byDaemon[d] {
			if r := a.c.peers[a.c.server].pending; r != nil {
				a.again = true
				a.c.last, a.c.answer = r, nil
				a.call = callOf(d.a, a.c.key, r)
				before = append(before, a)
			}
		}
		w.exchange(d, before)
		for _, a := range byDaemon[d] {
			if a.c.peers[a.c.server].pending == nil && len(a.wants) > 0 && d.err == nil {
				a.again = false
				r := a.c.request(w, a.wants, a.borrow)
				if a.receipt {
					r.Receipt = a.c.show(w)
				}
				w.send(a, r)
				settled = append(settled, a)
			}
		}
		w.exchange(d, settled)
		// As the SDK does it: refused for a hold, it shows its receipt.
		for _, a := range settled {
			if a.heard() && denies(a.resp, capability.ErrHold) && !a.receipt && d.err == nil {
				if receipt := a.c.show(w); receipt != nil {
					r := a.c.request(w, a.wants, a.borrow)
					r.Receipt = receipt
					w.send(a, r)
					again = append(again, a)
				}
			}
		}
		w.exchange(d, again)
		for _, a := range settled {
			w.conclude(a)
		}
	}
}

type wish struct {
	c       *client
	place   int // of the daemon, where a machine runs two
	feature string
	count   uint32
	borrow  capability.Seconds
	receipt bool // sent along without being asked
	fate    int  // of the answer: 0 arrives, 1 is lost, 2 is late
}

type asking struct {
	wish
	d     *daemon
	wants map[string]uint32
	gives bool // something back, and so wants it no more whatever is said
	again bool // it was sent before
	sent  int64
	call  *call
	resp  *capability.Response
}

// heard says that the answer arrived.
func (a *asking) heard() bool { return a.resp != nil && a.fate == 0 }

func denies(r *capability.Response, code capability.Code) bool {
	return slices.ContainsFunc(r.Denials, func(d capability.Denial) bool { return d.Code == code }) ||
		slices.ContainsFunc(r.Lines, func(l capability.Line) bool { return l.Denial.Code == code })
}

// send notes what goes out, and what of the kept answer is given back by it; what is given back is not used any more.
func (w *world) send(a *asking, r *capability.Request) {
	c := a.c
	c.last, c.answer = r, nil
	p := c.peers[c.server]
	p.pending, p.sent, p.before = r, w.now, maps.Clone(c.less)
	c.peers[c.server] = p
	if b := c.receipt; b != nil && b.server == c.server {
		had := map[string]uint32{}
		for _, g := range b.rights {
			if g.until > w.now {
				had[g.feature] += g.count
			}
		}
		for f, n := range had {
			if most, less := c.less[f]; less {
				n = min(n, most)
			}
			if asked := a.wants[f]; asked < n {
				if c.less == nil {
					c.less = map[string]uint32{}
				}
				c.less[f] = asked
			}
		}
	}
	for _, f := range features {
		w.clip(c, f, a.wants[f])
	}
	a.call = callOf(a.d.a, c.key, r)
}

// clip is what a client does before it asks: it uses no more than it asks for.
func (w *world) clip(c *client, feature string, n uint32) {
	for _, b := range w.beliefs[c] {
		if b.server != c.server {
			continue
		}
		left := n
		for i := range b.rights {
			if r := &b.rights[i]; r.feature == feature && r.until > w.now {
				r.count = min(r.count, left)
				left -= r.count
			}
		}
	}
}

// exchange is one group of requests.
func (w *world) exchange(d *daemon, asked []*asking) {
	if len(asked) == 0 {
		return
	}
	var calls []*call
	for _, a := range asked {
		calls = append(calls, a.call)
	}
	d.do(calls...)
	for _, a := range asked {
		a.resp = nil
		if a.call.err == nil && len(a.call.answer.Response) > 0 {
			w.answered(d, a)
		}
	}
}

// answered takes note of what left the appliance. Whatever becomes of an answer that is late, its client may believe it.
func (w *world) answered(d *daemon, a *asking) {
	c, chain := a.c, d.a.chain
	w.alone(d)
	r, _, err := w.codec.VerifyAnswer(chain.Serving, &a.call.answer)
	if err != nil {
		w.fail("client %d: %v", c.n, err)
		return
	}
	a.resp = r
	w.count(r.Status.String())
	for _, no := range r.Denials {
		w.count(r.Status.String() + " " + no.Code.String())
	}
	for _, l := range r.Lines {
		if l.Denial.Code != 0 {
			w.count("line " + l.Denial.Code.String())
		}
	}
	p := c.peers[c.server]
	if r.Serial == 0 {
		switch {
		case a.fate != 0:
			return
		case !a.again:
			c.less = p.before // nothing was decided, so nothing was given back
		case len(c.less) > 0:
			p.serial++ // another state of the machine than the one it went to says no
		}
		p.pending = nil
		c.peers[c.server] = p
		return
	}
	b := &belief{line: d.b.chip.line, server: c.server, s: d.s, at: d.s.told, serial: r.Serial, resp: r, chain: chain, raw: a.call.answer}
	for _, g := range r.Rights {
		b.rights = append(b.rights, believed{g.Feature, g.Count, p.sent + int64(g.Expiry-r.Time)})
	}
	if len(a.call.decision.Entries) > 0 && r.Serial <= p.serial && !c.rolled {
		w.fail("client %d is told serial %d after %d", c.n, r.Serial, p.serial)
	}
	c.answer = b
	if a.again {
		// When it was made is not known: it is a receipt, and takes over sooner ends, and gives nothing.
		if a.fate == 0 {
			w.adopt(c, a)
			b.rights = nil
			w.hear(c, b)
		}
		return
	}
	switch a.fate {
	case 0:
		w.hear(c, b)
	case 1:
	case 2:
		c.late = append(c.late, b)
		w.believe(c, b)
	}
}

// alone says that a daemon that answers is the one that moved the counter last.
func (w *world) alone(d *daemon) {
	if e := d.a.Vault.Epoch(); d.a.Found == nil && e != d.b.chip.counter {
		w.fail("%s is answered for by a daemon that another one has overtaken: at epoch %d, the counter is at %d", d.b, e, d.b.chip.counter)
	}
}

// hear is an answer that arrives.
func (w *world) hear(c *client, b *belief) {
	p := c.peers[b.server]
	if b.serial <= p.serial && !c.rolled {
		return
	}
	w.believe(c, b)
	p.serial = b.serial
	if p.pending != nil && p.pending.Correlation == b.resp.Correlation {
		p.pending = nil
	}
	c.peers[b.server] = p
	c.receipt, c.less = b, nil
	if c.rolled && b.resp.Hold == 0 {
		c.rolled = false
	}
}

func (w *world) believe(c *client, b *belief) {
	if !slices.Contains(w.beliefs[c], b) {
		w.beliefs[c] = append(slices.DeleteFunc(w.beliefs[c], func(o *belief) bool {
			return !slices.ContainsFunc(o.rights, func(r believed) bool { return r.until > w.now })
		}), b)
	}
	w.limits(b.line)
}

// conclude is what the client wants after the answer: what was refused it does not.
func (w *world) conclude(a *asking) {
	c := a.c
	if !a.heard() {
		return
	}
	w.adopt(c, a)
	refused := a.resp.Status == capability.StatusDenied
	for i, d := range c.last.Desired {
		refused = refused || d.Feature == a.feature && i < len(a.resp.Lines) && a.resp.Lines[i].Status == capability.LineInsufficient
	}
	if !refused || a.gives {
		c.wants = a.wants
	}
}

// adopt is what an answer that covers a whole wish does to what was believed before: its end counts, also where it is sooner.
func (w *world) adopt(c *client, a *asking) {
	b := c.answer
	if b == nil {
		return
	}
	for _, f := range features {
		rights := slices.DeleteFunc(slices.Clone(b.rights), func(r believed) bool { return r.feature != f })
		slices.SortFunc(rights, func(x, y believed) int { return cmp.Compare(y.until, x.until) })
		sum, end := uint32(0), int64(0)
		for _, r := range rights {
			if sum < a.wants[f] {
				sum, end = sum+r.count, r.until
			}
		}
		if a.again && sum < a.wants[f] && len(rights) > 0 {
			sum, end = a.wants[f], last(rights).until
		}
		if sum < a.wants[f] || end == 0 {
			continue
		}
		for _, old := range w.beliefs[c] {
			for i := range old.rights {
				if r := &old.rights[i]; old != b && r.feature == f {
					r.until = min(r.until, end)
				}
			}
		}
	}
}

// holds is what the client believes to have of a feature by the word of that line: of each answer, as none takes back what another gave.
func (w *world) holds(c *client, l *line, feature string) (most uint64) {
	if c.rolled {
		return 0
	}
	for _, b := range w.beliefs[c] {
		if !l.within(b.line) {
			continue
		}
		var n uint64
		for _, r := range b.rights {
			if r.feature == feature && r.until > w.now {
				n += uint64(r.count)
			}
		}
		most = max(most, n)
	}
	return most
}

// callOf is the call for a request as it comes in from the holder of key.
func callOf(a *Appliance, key capability.Digest, r *capability.Request) *call {
	ca := newServe()
	ca.serve.Request = *r
	a.asked(key, ca)
	return ca
}
