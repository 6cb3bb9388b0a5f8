package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func TestAcquireAddsAndReleaseTakesAway(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "2026.1", 5), item("export", "1.0", 2))
	c := s.client(t.TempDir())
	ctx := t.Context()
	a, err := c.Acquire(ctx, "render:2026.1", Count(2))
	if err != nil {
		t.Fatal(err)
	}
	if end := time.Until(a.Expiry()); end < 14*time.Minute || end > 15*time.Minute {
		t.Errorf("the lease lasts %s where 15 minutes are given", end)
	}
	b, err := c.Acquire(ctx, "render", Count(3))
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Acquire(ctx, "export")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.used("render"); n != 5 {
		t.Errorf("%d of render in use where 2 and 3 were acquired", n)
	}
	held, err := c.Held(ctx)
	if err != nil || len(held) != 3 {
		t.Fatalf("held %v, %v", held, err)
	}
	if err := a.Release(ctx); err != nil {
		t.Error(err)
	}
	if n := s.used("render"); n != 3 {
		t.Errorf("%d of render in use after 2 of 5 were released", n)
	}
	if err := a.Release(ctx); err != nil {
		t.Errorf("a second release: %v", err)
	}
	if err := b.Release(ctx); err != nil {
		t.Error(err)
	}
	if r, e := s.used("render"), s.used("export"); r != 0 || e != 1 {
		t.Errorf("%d of render and %d of export in use, want 0 and 1", r, e)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if <-e.Lost(); !errors.Is(e.Err(), ErrReleased) {
		t.Errorf("after Close the lease says %v", e.Err())
	}
	if n := s.used("export"); n != 0 {
		t.Errorf("%d of export in use after Close", n)
	}
	if _, err := c.Acquire(ctx, "render"); err == nil {
		t.Error("a closed client acquires")
	}
}

func TestRefusalsChangeNothing(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "2026.1", 3), item("old", "1.0", 1))
	c := s.client(t.TempDir())
	ctx := t.Context()
	if _, err := c.Acquire(ctx, "render", Count(2)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		feature string
		count   uint32
		want    error
	}{
		{"render", 2, ErrNoSeat}, {"nothing", 1, ErrNotEntitled}, {"old:2.0", 1, ErrVersion}, {"render:2027.0", 1, ErrVersion}, {"old", 2, ErrNoSeat},
	} {
		before, _ := c.Held(ctx)
		_, err := c.Acquire(ctx, row.feature, Count(row.count))
		var refusal *capability.Refusal
		if !errors.Is(err, row.want) || !errors.As(err, &refusal) {
			t.Errorf("%d of %s: %v where %v is wanted", row.count, row.feature, err, row.want)
		}
		after, _ := c.Held(ctx)
		if !slices.EqualFunc(before, after, sameHeld) || s.used("render") != 2 {
			t.Errorf("%d of %s: held %v before and %v after the refusal", row.count, row.feature, before, after)
		}
		if _, err := c.Preview(ctx, row.feature, Count(row.count)); !errors.Is(err, row.want) {
			t.Errorf("preview of %d of %s: %v where %v is wanted", row.count, row.feature, err, row.want)
		}
	}
	if line, err := c.Preview(ctx, "old"); err != nil || line.Count != 1 || s.used("old") != 0 {
		t.Errorf("preview: %+v, %v; %d in use", line, err, s.used("old"))
	}
	for _, bad := range []string{"", ":1", "a:b", "a\n", "x:1.2.3"} {
		if _, err := c.Acquire(ctx, bad); err == nil {
			t.Errorf("acquires %q", bad)
		}
	}
	for _, n := range []uint32{0, capability.MaxCount + 1} {
		if _, err := c.Acquire(ctx, "render", Count(n)); err == nil {
			t.Errorf("acquires %d", n)
		}
	}
	if err := c.Release(ctx, "old"); !errors.Is(err, ErrNoSuchLease) {
		t.Errorf("release of what is not held: %v", err)
	}
}

// sameHeld leaves the fractions of a second aside that the wire does not carry.
func sameHeld(a, b Held) bool {
	return a.Feature == b.Feature && a.Version == b.Version && a.Count == b.Count && a.Expiry.Sub(b.Expiry).Abs() < 2*time.Second
}

// An old line that is refused does not keep a new one from being granted.
func TestOldRefusalDoesNotBlockANewLine(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 2), item("export", "1.0", 2))
	c := s.client(t.TempDir())
	ctx := t.Context()
	l, err := c.Acquire(ctx, "render", Count(2))
	if err != nil {
		t.Fatal(err)
	}
	end := l.Expiry()
	s.mu.Lock()
	s.provision(item("render", "1.0", 1), item("export", "1.0", 2))
	s.mu.Unlock()
	if _, err := c.Acquire(ctx, "export"); err != nil {
		t.Fatalf("render is cut, and so export is refused: %v", err)
	}
	if d := l.Expiry().Sub(end).Abs(); d > time.Second || l.Err() != nil {
		t.Errorf("the cut lease moved by %s, %v", d, l.Err())
	}
}

func TestProgramsOfOneDeviceShareIt(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 10))
	dir, ctx := t.TempDir(), t.Context()
	one, two := s.client(dir), s.client(dir)
	if one.Host() != two.Host() {
		t.Fatal("two programs with one directory are two devices")
	}
	a, err := one.Acquire(ctx, "render", Count(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Acquire(ctx, "render", Count(3)); err != nil {
		t.Fatal(err)
	}
	if n := s.used("render"); n != 5 {
		t.Fatalf("%d in use where 2 and 3 were acquired", n)
	}
	// The second dies: the kernel lets go of its lock, and its share is not asked for again.
	two.mu.Lock()
	two.closed = true
	two.end(ErrClosed)
	two.mu.Unlock()
	two.ended.Wait()
	two.store.alive.Close()
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if n := s.used("render"); n != 0 {
		t.Errorf("%d in use after one program released and the other died", n)
	}

	many := make(chan error)
	for range 4 {
		go func() {
			c := s.client(dir)
			_, err := c.Acquire(ctx, "render", Count(2))
			many <- err
		}()
	}
	for range 4 {
		if err := <-many; err != nil {
			t.Error(err)
		}
	}
	if n := s.used("render"); n != 8 {
		t.Errorf("%d in use where four programs at once acquired 2 each", n)
	}
	if err := one.Release(ctx, "render"); err != nil || s.used("render") != 0 {
		t.Errorf("release for the whole device: %v, %d in use", err, s.used("render"))
	}
}

func TestKeptWithoutAProgram(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 10))
	dir, ctx := t.TempDir(), t.Context()
	for range 2 {
		c := s.client(dir)
		if _, err := c.Acquire(ctx, "render", Keep()); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.used("render"); n != 2 {
		t.Errorf("%d in use where two programs kept one each", n)
	}
	later := s.client(dir, func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(16 * time.Minute) } })
	if held, err := later.Held(ctx); err != nil || len(held) != 0 {
		t.Errorf("held after its end: %v, %v", held, err)
	}
}

// What is released while no server answers is over here at once, and given back with the next request.
func TestReleaseWithoutAServer(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 10), item("export", "1.0", 10))
	dir, ctx := t.TempDir(), t.Context()
	c := s.client(dir)
	l, err := c.Acquire(ctx, "render", Count(2))
	if err != nil {
		t.Fatal(err)
	}
	s.set(true)
	if err := l.Release(ctx); !errors.Is(err, ErrServerUnreachable) {
		t.Errorf("released without a server: %v", err)
	}
	if held, err := c.Held(ctx); err != nil || len(held) != 0 || !errors.Is(l.Err(), ErrReleased) {
		t.Errorf("held %v, %v; %v", held, err, l.Err())
	}
	s.set(false)
	if _, err := c.Acquire(ctx, "export"); err != nil || s.used("render") != 0 {
		t.Errorf("%v, %d of render in use", err, s.used("render"))
	}
	// The files of programs that were killed are swept away.
	left := filepath.Join(dir, holderDir, "00112233445566778899aabbccddeeff")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.client(dir)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dead program's file: %v", err)
	}
}

func TestReceiptInAHold(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	dir, ctx := t.TempDir(), t.Context()
	c := s.client(dir)
	l, err := c.Acquire(ctx, "render", Count(2))
	if err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.mu.Lock()
	s.must(ledger.Start{BootID: "second", HoldFor: 600, Cause: "power loss"})
	s.mu.Unlock()
	c.mu.Lock()
	c.renewAt = time.Time{}
	c.mu.Unlock()
	before := l.Expiry()
	s.mu.Lock()
	s.begin = s.begin.Add(-time.Minute) // a minute passes on the lease clock
	s.mu.Unlock()
	c.renew()
	if r := s.last(); len(r.Receipt) == 0 {
		t.Error("the renewal in a hold came without its receipt")
	}
	if !l.Expiry().After(before.Add(-2*time.Second)) || l.Notice() != "" {
		t.Errorf("not renewed: ends %s, before %s; %s", l.Expiry(), before, l.Notice())
	}
	if _, err := c.Acquire(ctx, "render"); !errors.Is(err, ErrHold) {
		t.Errorf("a new grant in a hold: %v", err)
	}
	if err := l.Release(ctx); err != nil {
		t.Errorf("giving back in a hold: %v", err)
	}
	if n := s.used("render"); n != 0 {
		t.Errorf("%d in use", n)
	}
}

func TestDeviceKey(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	dir := t.TempDir()
	c := s.client(dir)
	i, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || i.Mode() != 0o600 {
		t.Errorf("the device key is %v, %v", i.Mode(), err)
	}
	if h := c.Host(); h.Type != hostid.DeviceKey || len(h.Value) != 64 || h.Validate() != nil {
		t.Errorf("host ID %s", h)
	}
	// A key held elsewhere, as in a TPM, and a host ID of its own.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := hostid.ID{Type: hostid.String, Value: "ws-7"}
	d := s.client(t.TempDir(), func(o *Options) { o.Key, o.Host = key, own })
	if _, err := d.Acquire(t.Context(), "render"); err != nil || s.last().Hosts[0] != own {
		t.Errorf("%v, asked as %v", err, s.last().Hosts)
	}
	// The same host ID with another key gets nothing of it.
	e := s.client(t.TempDir(), func(o *Options) { o.Host = own })
	if _, err := e.Acquire(t.Context(), "render"); !errors.Is(err, ErrDeviceKey) {
		t.Errorf("another key for the same device: %v", err)
	}
	for _, bad := range [][]byte{nil, []byte("x"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		broken := t.TempDir()
		if err := os.WriteFile(filepath.Join(broken, keyFile), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Trust: s.producer.trust, Dir: broken}); err == nil {
			t.Errorf("a device key of %q is taken", bad)
		}
	}
}

func TestTrustBundle(t *testing.T) {
	p := newProducer(t, 1)
	file := filepath.Join(t.TempDir(), "producer.lht")
	if err := os.WriteFile(file, p.trust, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		o    Options
		ok   bool
	}{
		{"bytes", Options{Trust: p.trust}, true}, {"file", Options{TrustFile: file}, true}, {"none", Options{}, false},
		{"no such file", Options{TrustFile: file + "x"}, false}, {"cut", Options{Trust: p.trust[:40]}, false}, {"empty", Options{Trust: []byte{}}, false},
	} {
		row.o.Dir = t.TempDir()
		c, err := New(row.o)
		if err == nil {
			err = c.Close()
		}
		if (err == nil) != row.ok || !row.ok && !errors.Is(err, ErrTrust) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if _, err := New(Options{TrustFile: file + "x", Dir: t.TempDir()}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// With a TPM's own statement about the serving key, and the judge that programs have.
func TestChainOfATPM(t *testing.T) {
	d := tpmtest.Start(t).Device(t)
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	s.certify = func(serving []byte) ([]byte, []byte) {
		full, err := d.Evidence(attest.Session, serving)
		if err != nil {
			t.Fatal(err)
		}
		e, err := d.Session(serving)
		if err != nil {
			t.Fatal(err)
		}
		return full.AK, e.Encode()
	}
	s.restart()
	c := s.client(t.TempDir(), func(o *Options) { o.judge = nil })
	if _, err := c.Acquire(t.Context(), "render"); err != nil {
		t.Fatal(err)
	}
	// Another start of the appliance, another serving key: proven anew. A statement about the former one proves nothing.
	old := s.chain.Statement
	s.restart()
	if _, err := c.Acquire(t.Context(), "render"); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.mu.Lock()
	s.chain.Statement = old
	s.mu.Unlock()
	if _, err := c.Acquire(t.Context(), "render"); !errors.Is(err, ErrServerUnproven) {
		t.Errorf("a statement about another key is taken: %v", err)
	}
}

func TestContextEndsAnAcquire(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 1))
	c := s.client(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Acquire(ctx, "render"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
