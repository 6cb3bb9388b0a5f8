package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// door is where connections come in: their places, the work that is done for them at once, and what is said of those that did not get in.
type door struct {
	log     *slog.Logger
	elapsed func() time.Duration

	// strangers and devices are the requests in flight. Strangers have fewer and wait for each other, so that a group of theirs is soon done.
	strangers, devices chan struct{}

	mu     sync.Mutex
	places *places
	// begins are for the work of a handshake up to the server's part of it, 0.5 ms, ends for the rest, so that no work is lost in a line of those who begin.
	// Together as many as there are cores: nobody waits for the network in a turn, so more would only stand in the way of whoever is inside.
	begins, ends *turns
	served       served[capability.Digest]
	near         served[netip.Prefix] // addresses that these came from
	tally        tally
}

// SpareProcessors is by how many a program should raise GOMAXPROCS above the machine's cores. While every processor of Go's scheduler is busy it looks at the network only every 10 ms,
// and a system call that took a while waits for a processor when it is done; an answer needs half a dozen such steps. Handshakes take as many processors as there
// are cores, and leave these to whoever is inside: between the two the kernel decides, which prefers who has slept.
const SpareProcessors = 2

func newDoor(log *slog.Logger, elapsed func() time.Duration) *door {
	begins, ends := turnsFor(runtime.GOMAXPROCS(0))
	return &door{
		log: log, elapsed: elapsed, tally: tally{},
		places: newPlaces(limits{halfOpen: maxHalfOpen, halfOpenFrom: maxHalfOpenFrom, open: maxConnections, openFrom: maxPerAddress, openOf: maxPerKey, browsers: maxBrowsers, browsersFrom: maxBrowsersFrom}),
		begins: newTurns(begins), ends: newTurns(ends),
		strangers: make(chan struct{}, maxStrangersInFlight), devices: make(chan struct{}, maxDevicesInFlight),
	}
}

func turnsFor(processors int) (begins, ends int) {
	cores := max(2, processors-SpareProcessors)
	return cores / 2, cores - cores/2
}

// arrive gives a connection a place among the half-open ones.
func (d *door) arrive(conn net.Conn, end func()) *guest {
	g := &guest{address: networkOf(conn.RemoteAddr()), close: end}
	d.mu.Lock()
	g.since = d.elapsed()
	out := d.places.arrive(g)
	d.mu.Unlock()
	if out != nil {
		out.close()
	}
	return g
}

func (d *door) advance(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places.advance(g)
}

func (d *door) wait(t *turns, g *guest) *turn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return t.wait(g.address, d.near.has(g.address))
}

func (d *door) end(t *turns, w *turn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.end(w)
}

// enter gives a connection that has shown its key a place among the open ones. A device that the ledger knows is one that was served: it stays known when it has given
// everything back.
func (d *door) enter(g *guest, key capability.Digest, known bool) error {
	d.mu.Lock()
	was := g.in != nil
	out, ok := d.places.enter(g, key, known)
	if ok && known {
		d.served.add(key)
		d.near.add(g.address)
	}
	d.mu.Unlock()
	for _, o := range out {
		o.close() // its own goroutine finds out and ends
	}
	switch {
	case !was:
		return putOut()
	case !ok:
		return &refused{capability.ErrCrowded, errors.New("every place is taken by a device that was served")}
	}
	return nil
}

// visit gives a browser's connection a place among those of browsers.
func (d *door) visit(g *guest) error {
	d.mu.Lock()
	was := g.in != nil
	out := d.places.visit(g)
	d.mu.Unlock()
	if out != nil {
		out.close()
	}
	if !was {
		return putOut()
	}
	return nil
}

func putOut() error {
	return &refused{capability.ErrHandshake, errors.New("newer connections needed its place before it was an open one")}
}

// use notes that a connection asks for something. It does not wait for those at the door: when they are busy nothing is noted.
func (d *door) use(g *guest) {
	if d.mu.TryLock() {
		d.places.use(g, false)
		d.mu.Unlock()
	}
}

// serve notes that the device of a connection was given rights, once for each.
func (d *door) serve(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places.use(g, true)
	d.served.add(g.key)
	d.near.add(g.address)
}

func (d *door) leave(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places.leave(g)
}

func (d *door) hasServed(key capability.Digest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.served.has(key)
}

// Connections are those that there are now.
type Connections struct {
	HalfOpen int     `json:"halfOpen"`              // have not shown a key yet
	Oldest   float64 `json:"oldestHalfOpenSeconds"` // of these
	Open     int     `json:"open"`
	Known    int     `json:"known"`    // of the open ones: of devices that hold something, or did in this run
	Browsers int     `json:"browsers"` // besides: of browsers, and of programs that speak HTTP
}

// Connections counts the connections on the port.
func (a *Appliance) Connections() Connections {
	a.door.mu.Lock()
	defer a.door.mu.Unlock()
	p := a.door.places
	var oldest time.Duration
	for e := p.halfOpen.Front(); e != nil; e = e.Next() {
		oldest = max(oldest, a.door.elapsed()-e.Value.(*guest).since)
	}
	return Connections{p.halfOpen.Len(), oldest.Seconds(), p.strangers.Len() + p.known.Len(), p.known.Len(), p.browsers.Len()}
}

// said writes one line about what was refused for a reason that has a code, and none about most of it: only then is the cause put into words.
func (d *door) said(code capability.Code, peer net.Addr, cause func() string) {
	d.mu.Lock()
	n := d.tally.note(code, d.elapsed())
	d.mu.Unlock()
	if n > 0 {
		d.log.Warn(code.Entry().Title, "code", code.String(), "count", n, "peer", peer.String(), "cause", brief(cause()))
	}
}

const maxCause = 256 // bytes of a cause in the log, which may have a client's words in it

func brief(s string) string {
	if len(s) > maxCause {
		s = strings.ToValidUTF8(s[:maxCause-len("…")], "") + "…"
	}
	return s
}

// close writes what was counted and not said.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range capability.Catalog() {
		if n := d.tally.rest(e.Code); n > 0 {
			d.log.Warn(e.Title, "code", e.Code.String(), "count", n)
		}
	}
}

// networkOf is the address that a connection counts for.
func networkOf(a net.Addr) netip.Prefix {
	from, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{} // no TCP: all of them are one
	}
	ip := from.Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		panic(fmt.Sprintf("%s has no network of %d bits: %v", ip, bits, err)) // bits are the address's own, or fewer
	}
	return p
}

// served are the keys that were given rights in this run, the latest of them: at least half of what it holds. What the ledger serves now is not asked of it.
type served[K comparable] struct {
	young, old map[K]struct{}
}

const maxServed = 8192 // 0.5 MB

func (s *served[K]) has(key K) bool {
	_, young := s.young[key]
	_, old := s.old[key]
	return young || old
}

func (s *served[K]) add(key K) {
	if _, is := s.young[key]; is {
		return
	}
	if s.young == nil || len(s.young) == maxServed {
		s.young, s.old = map[K]struct{}{}, s.young
	}
	s.young[key] = struct{}{}
}

// tally keeps a flood out of the journal: of each code one line at once, and then at most one in an interval, with the number of those it stands for.
type tally map[capability.Code]*told

// told is a line that is said at most once in an interval.
type told struct {
	said bool
	at   time.Duration // when it was said last
	more int           // since then
}

const tallyInterval = time.Minute

// note counts one and gives the number that is to be said now, or zero.
func (e *told) note(now time.Duration) (n int) {
	if e.more++; e.said && now-e.at < tallyInterval {
		return 0
	}
	n = e.more
	*e = told{said: true, at: now}
	return n
}

func (t tally) note(code capability.Code, now time.Duration) int {
	e := t[code]
	if e == nil {
		e = &told{}
		t[code] = e
	}
	return e.note(now)
}

// rest is what was counted and not said.
func (t tally) rest(code capability.Code) (n int) {
	if e := t[code]; e != nil {
		n, e.more = e.more, 0
	}
	return n
}

// knows says whether a device holds something, or did in this run, or has a key that an administrator registered. A device that the ledger knows by another host ID than its key is known once it was served.
func (a *Appliance) knows(ctx context.Context, d *door, key capability.Digest) (known bool, err error) {
	if d.hasServed(key) {
		return true, nil
	}
	err = a.insist(ctx, &call{look: func(l *ledger.Ledger, now ledger.Now) {
		device, ok := l.Device(hostid.OfDigest(hostid.DeviceKey, key), now)
		known = ok && device.Key == key && len(device.Holdings) > 0
		if _, registered := l.ClientKey(key); registered {
			known = true
		}
	}})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = &refused{capability.ErrBusy, errors.New("nobody could say in time whether its device is known")}
	case errors.Is(err, context.Canceled):
		err = putOut()
	}
	return known, err
}
