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

// client is a device that keeps the rules of the SDK: it believes verified answers only, counts their time on its own clock from the moment it asked, and
// stops using what it gives back before it says so.
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
	serial  uint64 // of the newest answer, or of one that may be on its way
	receipt []byte
	rights  []capability.Right // of the receipt
	wants   map[string]uint32
}

// belief is what one answer makes a client believe, on the true clock.
type belief struct {
	line   *line
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
	return &client{n: n, server: n % len(w.boxes), key: key, host: hostid.OfDigest(hostid.DeviceKey, key), kept: kept{wants: map[string]uint32{}}}
}

// request is the whole wish of the device.
func (c *client) request(w *world, wants map[string]uint32, borrow capability.Seconds) *capability.Request {
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{c.host}, Applied: c.serial, Borrow: borrow}
	w.correlations++
	binary.BigEndian.PutUint64(r.Correlation[:], w.correlations)
	for _, f := range slices.Sorted(maps.Keys(wants)) {
		r.Desired = append(r.Desired, capability.Desired{Feature: f, Count: wants[f]})
	}
	return r
}

// ask sends a wish and hears the answer, at once, later or never. What the device gives back it stops using first; what may end sooner by a shorter
// interval it believes no longer than that.
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
		a := &asking{wish: wi, d: d, wants: wants, before: maps.Clone(c.wants), sent: w.now}
		r := c.request(w, wants, wi.borrow)
		if wi.receipt {
			r.Receipt = c.receipt
		}
		w.send(a, r)
		if byDaemon[d] == nil {
			order = append(order, d)
		}
		byDaemon[d] = append(byDaemon[d], a)
	}
	for _, d := range order {
		asked := byDaemon[d]
		w.exchange(d, asked)
		// As the SDK does it: refused for a hold, it shows its receipt.
		var again []*asking
		for _, a := range asked {
			if a.resp != nil && denies(a.resp, capability.ErrHold) && a.c.receipt != nil && !a.receipt && d.err == nil {
				r := a.c.request(w, a.wants, a.borrow)
				r.Receipt = a.c.receipt
				w.send(a, r)
				again = append(again, a)
			}
		}
		w.exchange(d, again)
		for _, a := range asked {
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
	d      *daemon
	wants  map[string]uint32
	before map[string]uint32
	sent   int64
	call   *call
	resp   *capability.Response
}

func denies(r *capability.Response, code capability.Code) bool {
	return slices.ContainsFunc(r.Denials, func(d capability.Denial) bool { return d.Code == code }) ||
		slices.ContainsFunc(r.Lines, func(l capability.Line) bool { return l.Denial.Code == code })
}

func (w *world) send(a *asking, r *capability.Request) {
	c := a.c
	c.last, c.answer = r, nil
	for _, f := range features {
		w.clip(c, f, a.wants[f], a.borrow)
	}
	a.call = a.d.a.asked(c.key, r, nil)
}

// clip is what a client does before it asks: it uses no more than it asks for.
func (w *world) clip(c *client, feature string, n uint32, borrow capability.Seconds) {
	for _, b := range w.beliefs[c] {
		left := n
		for i := range b.rights {
			if r := &b.rights[i]; r.feature == feature {
				r.count = min(r.count, left)
				left -= r.count
				r.until = min(r.until, w.now+int64(borrow))
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
	if r.Serial == 0 {
		return
	}
	b := &belief{line: d.b.chip.line, s: d.s, at: d.s.told, serial: r.Serial, resp: r, chain: chain, raw: a.call.answer}
	for _, g := range r.Rights {
		b.rights = append(b.rights, believed{g.Feature, g.Count, a.sent + int64(g.Expiry-r.Time)})
	}
	if len(a.call.decision.Entries) > 0 && r.Serial <= c.serial && !c.rolled {
		w.fail("client %d is told serial %d after %d", c.n, r.Serial, c.serial)
	}
	c.answer = b
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
	if b.serial <= c.serial && !c.rolled {
		return
	}
	w.believe(c, b)
	c.serial, c.rights = b.serial, b.resp.Rights
	c.receipt = w.codec.Encode(wire.Receipt{Answer: b.raw, Serving: b.chain.Serving, Statement: b.chain.Statement})
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

// conclude is what the client wants after the answer: what was refused it does not, and what it gave back it does not either, answered or not.
func (w *world) conclude(a *asking) {
	c := a.c
	if a.resp == nil || a.fate != 0 {
		// It may have been done. What it renewed may end sooner now, when another item of the feature serves it; the answer would say so.
		for _, old := range w.beliefs[c] {
			for i := range old.rights {
				if r := &old.rights[i]; old != c.answer {
					r.until = min(r.until, a.sent+int64(interval))
				}
			}
		}
		// An answer that was not heard counts as seen, or what was given back could come back by the receipt.
		if a.feature != "" && a.wants[a.feature] < a.before[a.feature] {
			c.wants, c.serial, c.receipt = a.wants, c.serial+1, nil
		}
		return
	}
	w.adopt(c, a)
	refused := a.resp.Status == capability.StatusDenied
	for i, d := range c.last.Desired {
		refused = refused || d.Feature == a.feature && i < len(a.resp.Lines) && a.resp.Lines[i].Status == capability.LineInsufficient
	}
	if !refused || a.wants[a.feature] < a.before[a.feature] {
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
