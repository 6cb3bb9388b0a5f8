package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// frost lets a server fall silent: what is sent to it goes nowhere, and nothing comes.
type frost struct {
	dialer func(context.Context, string) (net.Conn, error)
	on     atomic.Bool
}

func (f *frost) dial(ctx context.Context, address string) (net.Conn, error) {
	if f.on.Load() {
		here, _ := net.Pipe()
		return &frozen{here, f}, nil
	}
	c, err := f.dialer(ctx, address)
	if err != nil {
		return nil, err
	}
	return &frozen{c, f}, nil
}

type frozen struct {
	net.Conn
	f *frost
}

func (c *frozen) Write(p []byte) (int, error) {
	if c.f.on.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// appliances are two of one producer, at "one" and "two".
func appliances(t *testing.T) (one, two *server, frosts map[string]*frost) {
	t.Helper()
	p := newProducer(t, 1)
	one, two = newServer(t, p, item("render", "1.0", 9)), newServer(t, p)
	two.host = hostid.OfDigest(hostid.TPMEK, sha256.Sum256([]byte("another host")))
	two.provision(item("render", "1.0", 9))
	two.restart()
	return one, two, map[string]*frost{"one": {dialer: one.dial}, "two": {dialer: two.dial}}
}

func both(frosts map[string]*frost) func(*Options) {
	return func(o *Options) {
		o.Servers = []string{"one", "two"}
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return frosts[address].dial(ctx, address) }
	}
}

// A server that takes connections and says nothing keeps nobody from the next one, whenever it falls silent; and the one that was good is asked first from then on.
func TestFrozenServerLeavesTimeForTheNext(t *testing.T) {
	for _, when := range []string{"before the first connection", "before the next connection", "amid a connection"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, two, frosts := appliances(t)
				frosts["one"].on.Store(when == "before the first connection")
				c := one.client(t.TempDir(), both(frosts))
				defer c.Close()
				if when != "before the first connection" {
					if l, err := c.Acquire(t.Context(), "render"); err != nil || one.used("render") != 1 {
						t.Fatal(err, l)
					}
					frosts["one"].on.Store(true)
				}
				if when == "before the next connection" {
					one.restart()
				}
				begin := time.Now()
				if _, err := c.Acquire(t.Context(), "render"); err != nil || two.used("render") == 0 {
					t.Fatalf("after %s: %v", time.Since(begin), err)
				}
				if d := time.Since(begin); d > defaultTimeout+time.Second {
					t.Errorf("the second server was reached after %s", d)
				}
				two.restart()
				begin = time.Now()
				if _, err := c.Acquire(t.Context(), "render"); err != nil || time.Since(begin) > time.Second {
					t.Errorf("the server that was good is asked after %s: %v", time.Since(begin), err)
				}
			})
		})
	}
}

// A server that falls silent is a server that cannot be reached, for the keeper too, and takes no second from the end of a lease.
func TestFrozenServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		f := &frost{dialer: s.dial}
		c := s.client(t.TempDir(), func(o *Options) { o.Dial = f.dial })
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		end := l.Expiry()
		f.on.Store(true)
		pass(4 * time.Minute) // it asks after three
		if n := l.Notice(); !strings.Contains(n, "license server not reachable since") {
			t.Errorf("a minute after a renewal was not answered: %q", n)
		}
		<-l.Lost()
		if late := time.Since(end); late > time.Second || late < -2*time.Second {
			t.Errorf("lost %s after its end", late)
		}
		if !errors.Is(l.Err(), ErrServerUnreachable) {
			t.Errorf("lost because of %v", l.Err())
		}
	})
}

// occupy locks a directory as a program of the device does that is amid an exchange, until the test ends or is told to.
func occupy(t *testing.T, dir string) (leave func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for locked := false; !locked; runtime.Gosched() {
		if locked, err = tryLock(f); err != nil {
			t.Fatal(err)
		}
	}
	leave = sync.OnceFunc(func() { f.Close() })
	t.Cleanup(leave)
	return leave
}

// A program that keeps the leases locked for long delays no lease's end, and keeps no other program from starting.
func TestAnotherProgramKeepsTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := capabilitytest.New(t, capabilitytest.Item("render", 4))
		dir := t.TempDir()
		open := func(dir string) (*Client, error) {
			return New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, machine: "one"})
		}
		c, err := open(dir)
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		end := l.Expiry()
		leave := occupy(t, dir)
		begin := time.Now()
		second, err := open(dir)
		if err != nil || time.Since(begin) > 0 || second.Host() != c.Host() {
			t.Errorf("another program, after %s: %v", time.Since(begin), err)
		}
		<-l.Lost()
		if late := time.Since(end); late > time.Second || late < -2*time.Second {
			t.Errorf("lost %s after its end", late)
		}
		if !errors.Is(l.Err(), ErrClientStore) {
			t.Errorf("lost because of %v", l.Err())
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Held(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("held beside the lock: %v", err)
		}
		leave()
		if held, err := c.Held(t.Context()); err != nil || len(held) != 0 {
			t.Errorf("held %v, %v", held, err)
		}
		if err := errors.Join(second.Close(), c.Close()); err != nil {
			t.Error(err)
		}
		// The first program of a device has its key to make, and says why it cannot.
		empty := t.TempDir()
		occupy(t, empty)
		for _, machine := range []string{"one", ""} {
			if _, err := New(Options{Trust: a.Trust(), Dir: empty, machine: machine}); !errors.Is(err, ErrClientStore) {
				t.Errorf("a first program: %v", err)
			}
		}
		if _, err := os.Stat(filepath.Join(empty, machineFile)); err == nil {
			t.Error("the machine of a directory is written down beside the lock")
		}
	})
}

// Who looks for a server keeps no other program of the device waiting.
func TestDialsWithoutTheLock(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	dir := t.TempDir()
	dials := 0
	c := s.client(dir, func(o *Options) {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
			free := false
			if err == nil {
				free, err = tryLock(f)
				f.Close()
			}
			if dials++; !free {
				t.Errorf("connection %d: the lock is taken: %v", dials, err)
			}
			return s.dial(ctx, address)
		}
	})
	s.set(true)
	if _, err := c.Acquire(t.Context(), "render"); !errors.Is(err, ErrServerUnreachable) || dials != 1 {
		t.Errorf("%v after %d connections", err, dials)
	}
	s.set(false)
	if _, err := c.Acquire(t.Context(), "render"); err != nil || dials != 2 {
		t.Errorf("%v after %d connections", err, dials)
	}
}

// The producer renews the certificate of an appliance that runs: its serving key stays, and its chain is another.
func TestRenewedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
		s.until = capability.At(time.Now().Add(2 * time.Minute))
		s.restart()
		c := s.client(t.TempDir())
		defer c.Close()
		l, err := c.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		ak, _ := s.certify(s.chain.Serving)
		s.chain.Appliance, err = s.codec.CertifyAppliance(s.producer.key, &wire.ApplianceCertificate{Host: s.host, AK: ak, Serial: 2, From: 1000})
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		pass(4 * time.Minute)
		if l.Notice() != "" || time.Until(l.Expiry()) < 12*time.Minute {
			t.Errorf("two minutes after the old certificate ended: %q, ends in %s", l.Notice(), time.Until(l.Expiry()))
		}
	})
}
