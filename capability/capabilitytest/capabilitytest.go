// Package capabilitytest runs an appliance inside a test, for programs that use the SDK: a real ledger and a real server on a loopback port, with a modeled TPM and
// a disk in memory. Nothing has to be installed, and a test can do to it what happens to appliances:
//
//	a := capabilitytest.New(t, capabilitytest.Item("render:2026.1", 2))
//	c, err := client.New(client.Options{Server: a.Server(), Trust: a.Trust(), Dir: t.TempDir()})
//	...
//	a.PowerCut() // it comes back in a hold: what is held is renewed, nothing new is given
//
// It is for tests only: it has no disk, and its TPM keeps no secrets.
package capabilitytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/tpm/attest"
)

// T is what a test offers; *testing.T and *testing.B do.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Appliance is a license server of a test. It ends with the test. Its methods are for any number of goroutines.
type Appliance struct {
	t        T
	producer *producer
	chip     *chip
	disk     *disk
	clock    func() time.Time
	ahead    atomic.Int64 // nanoseconds, by Forward

	whole sync.RWMutex // one run ends and the next begins; also the producer answers

	mu       sync.Mutex
	policy   capability.Policy
	run      *run
	listener net.Listener
	conns    map[net.Conn]bool
	down     bool
}

// run is one process of it.
type run struct {
	*appliance.Appliance
	ledger   *ledger.Ledger // to be read when all has ended
	arrivals chan net.Conn
	ctx      context.Context
	end      context.CancelFunc
	ended    sync.WaitGroup
}

// Disk is a copy of an appliance's trusted storage.
type Disk struct{ snapshot []byte }

// New starts an appliance that serves these items: leases of 15 minutes, renewed after 15 % of them, unless SetPolicy says otherwise.
func New(t T, items ...capability.LineItem) *Appliance {
	t.Helper()
	a := &Appliance{t: t, producer: newProducer(t), chip: newChip(t), disk: &disk{}, policy: capability.DefaultPolicy(), clock: time.Now, conns: map[net.Conn]bool{}}
	a.start(ledger.New(), false, true)
	t.Cleanup(func() {
		a.whole.Lock()
		defer a.whole.Unlock()
		a.stop()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.listener != nil {
			a.listener.Close()
		}
	})
	a.Provision(items...)
	return a
}

// Item is a line item of a feature, as in "render" or "render:2026.1", that never expires.
func Item(feature string, count uint32) capability.LineItem {
	f, err := capability.ParseFeature(feature)
	if err != nil {
		panic(err)
	}
	id, err := capability.NewActivationID(rand.Reader)
	if err != nil {
		panic(err)
	}
	return capability.LineItem{ActivationID: id, Feature: f.Name, Version: f.Version, Count: count, Copies: max(count, 1)}
}

// Trust is the producer's trust bundle, for client.Options.Trust.
func (a *Appliance) Trust() []byte { return a.producer.codec.EncodeTrust(a.producer.trust) }

// Server is the address on the loopback network at which the appliance answers, for client.Options.Server. It stays the same over restarts.
func (a *Appliance) Server() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(a.t, err)
		a.listener = l
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if a.take(conn) != nil {
					conn.Close()
				}
			}
		}()
	}
	return a.listener.Addr().String()
}

// Dial is a connection that needs no network, for client.Options.Dial: with it time may be testing/synctest's.
func (a *Appliance) Dial(context.Context, string) (net.Conn, error) {
	there, here := net.Pipe()
	if err := a.take(there); err != nil {
		there.Close()
		here.Close()
		return nil, err
	}
	return here, nil
}

func (a *Appliance) take(conn net.Conn) error {
	a.mu.Lock()
	r, down := a.run, a.down
	if !down {
		a.conns[conn] = true
	}
	a.mu.Unlock()
	if down {
		return errors.New("the appliance cannot be reached")
	}
	select {
	case r.arrivals <- conn:
		return nil
	case <-r.ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.conns, conn)
		return errors.New("the appliance has stopped")
	}
}

func (a *Appliance) running() (*run, capability.Policy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.run, a.policy
}

// Provision brings a response of the producer: these items are all that the appliance has from now on. Leases of what is no more run out.
func (a *Appliance) Provision(items ...capability.LineItem) {
	a.t.Helper()
	a.whole.Lock()
	defer a.whole.Unlock()
	r, policy := a.running()
	f, err := r.Request(a.t.Context(), nil, "test")
	must(a.t, err)
	in, err := r.Import(a.t.Context(), a.producer.respond(a.t, f.Bytes, capability.At(a.Now()), policy, items))
	must(a.t, err)
	if in.Code != capability.Applied {
		a.t.Fatalf("the response was not applied: %s", in.Code)
	}
}

// SetPolicy is what the producer sets with the next Provision.
func (a *Appliance) SetPolicy(p capability.Policy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.policy = p
}

// AnswerFile is what the appliance answers to a request file of a device that cannot reach it.
func (a *Appliance) AnswerFile(file []byte) ([]byte, error) {
	r, _ := a.running()
	if r == nil {
		return nil, errors.New("the appliance is down")
	}
	out, err := r.AnswerFile(r.ctx, file, "a test")
	if err != nil {
		return nil, err
	}
	return out.Bytes, nil
}

// Used is how many counts of a feature are booked on devices.
func (a *Appliance) Used(feature string) (n uint64) {
	a.t.Helper()
	a.look(func(l *ledger.Ledger, now ledger.Now) {
		for _, it := range l.Items(now) {
			if it.Feature == feature {
				n += it.Used
			}
		}
	})
	return n
}

func (a *Appliance) look(f func(*ledger.Ledger, ledger.Now)) {
	a.t.Helper()
	a.whole.RLock()
	defer a.whole.RUnlock()
	r, _ := a.running()
	must(a.t, r.Look(context.WithoutCancel(a.t.Context()), f))
}

// Down cuts every connection; nobody reaches the appliance until Up. It goes on by itself.
func (a *Appliance) Down() { a.cut(true) }

// Up ends what Down began.
func (a *Appliance) Up() { a.cut(false) }

func (a *Appliance) cut(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
	for c := range a.conns {
		c.Close()
	}
	clear(a.conns)
}

// Forward lets so much time pass for the appliance alone: leases end that are not renewed meanwhile. Clients do not notice.
func (a *Appliance) Forward(d time.Duration) { a.ahead.Add(int64(d)) }

// Now is the time as the appliance has it.
func (a *Appliance) Now() time.Time { return a.clock().Add(time.Duration(a.ahead.Load())) }

// Restart stops the appliance cleanly and starts it again: it serves at once, with another serving key.
func (a *Appliance) Restart() { a.t.Helper(); a.again(nil, false) }

// PowerCut ends the appliance as a power cut does. It comes back in a hold, which lasts one lease interval.
func (a *Appliance) PowerCut() { a.t.Helper(); a.again(nil, true) }

// Copy is the disk as it is now.
func (a *Appliance) Copy() (d Disk) {
	a.t.Helper()
	a.look(func(l *ledger.Ledger, _ ledger.Now) { d.snapshot = l.Snapshot() })
	return d
}

// Restore puts an older disk in the place of the one there is, as an administrator might try: the appliance comes back in a hold, and does not know what was told since.
func (a *Appliance) Restore(d Disk) { a.t.Helper(); a.again(&d, true) }

// again starts the appliance with a disk, or with the one that its run leaves: all that was answered is on it.
func (a *Appliance) again(d *Disk, held bool) {
	a.t.Helper()
	a.whole.Lock()
	defer a.whole.Unlock()
	left := a.stop()
	if d == nil {
		d = &Disk{left.Snapshot()}
	}
	l, err := ledger.Restore(d.snapshot)
	must(a.t, err)
	a.start(l, held, false)
}

func (a *Appliance) start(l *ledger.Ledger, held, first bool) {
	a.t.Helper()
	begin := a.Now()
	o := appliance.Options{
		Ledger: l, Vault: a.disk, Machine: a.chip, Host: a.chip.Host, Index: attest.EpochIndex, Trust: a.producer.trust, Start: ledger.Start{Cause: "test"}, Held: held,
		Now: a.Now, Elapsed: func() time.Duration { return a.Now().Sub(begin) }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Counter: func() (uint64, error) { return 1, nil },
	}
	if first {
		o.Found = func(capability.Boot, bool, []byte) (appliance.Vault, uint64, error) {
			a.disk.epoch = 1
			return a.disk, 0, nil
		}
	}
	server, err := appliance.New(o)
	must(a.t, err)
	r := &run{Appliance: server, ledger: l, arrivals: make(chan net.Conn)}
	r.ctx, r.end = context.WithCancel(context.Background())
	for _, part := range []func(context.Context) error{r.Run, func(ctx context.Context) error { return r.Serve(ctx, r) }} {
		r.ended.Go(func() {
			if err := part(r.ctx); err != nil {
				a.t.Errorf("the appliance ended by itself: %v", err)
			}
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run = r
}

func (a *Appliance) stop() *ledger.Ledger {
	r, _ := a.running()
	r.end()
	r.ended.Wait()
	return r.ledger
}

// Accept, Close and Addr make a run the listener that it serves.
func (r *run) Accept() (net.Conn, error) {
	select {
	case c := <-r.arrivals:
		return c, nil
	case <-r.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (r *run) Close() error   { return nil }
func (r *run) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// disk is a vault that keeps nothing but its epoch, over all runs: what else a run leaves is taken from its ledger.
type disk struct{ epoch uint64 }

func (d *disk) Begin(...[]byte) error               { d.epoch += 2; return nil }
func (d *disk) Commit([][]byte) error               { return nil }
func (d *disk) Move([]byte, [][]byte) error         { d.epoch++; return nil }
func (d *disk) Snapshot([]byte) error               { return nil }
func (d *disk) JournalBytes() int64                 { return 0 }
func (d *disk) Epoch() uint64                       { return d.epoch }
func (d *disk) Head() (position uint64, h [32]byte) { return 0, h }
func (d *disk) Stop() error                         { return nil }
func (d *disk) Close() error                        { return nil }

// Holders is how many counts of a feature each device holds, by its alias or host ID.
func (a *Appliance) Holders(feature string) map[string]uint32 {
	a.t.Helper()
	out := map[string]uint32{}
	a.look(func(l *ledger.Ledger, now ledger.Now) {
		for _, d := range l.Devices(now) {
			name := d.Who.Alias
			if name == "" {
				name = strings.ToLower(d.ID.Value)
			}
			for _, h := range d.Holdings {
				if h.Item.Feature == feature {
					out[name] += h.Count
				}
			}
		}
	})
	return out
}

func must(t T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// Example runs an appliance for a runnable example, which has no test to end with.
func Example(f func(a *Appliance), items ...capability.LineItem) {
	e := &example{}
	defer func() {
		for _, end := range e.ends {
			end()
		}
	}()
	f(New(e, items...))
}

type example struct{ ends []func() }

func (e *example) Helper()                           {}
func (e *example) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *example) Cleanup(f func())                  { e.ends = append(e.ends, f) }
func (e *example) Context() context.Context          { return context.Background() }
