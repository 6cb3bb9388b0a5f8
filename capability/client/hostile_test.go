package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

func TestHostileServers(t *testing.T) {
	p, stranger := newProducer(t, 1), newProducer(t, 50)
	_, otherKey, _ := ed25519.GenerateKey(rand.Reader)
	for _, row := range []struct {
		name string
		do   func(s *server)
		want error
	}{
		{"chain of another producer", func(s *server) { s.producer = stranger; s.restart() }, ErrServerUnproven},
		{"statement about another key", func(s *server) { s.chain.Statement = said([]byte("ak"), []byte("other")) }, ErrServerUnproven},
		{"statement of another TPM", func(s *server) { s.chain.Statement = said([]byte("another"), s.chain.Serving) }, ErrServerUnproven},
		{"certificates exchanged", func(s *server) { s.chain.Key, s.chain.Appliance = s.chain.Appliance, s.chain.Key }, ErrServerUnproven},
		{"another key in TLS", func(s *server) { s.other = otherKey }, ErrServerUnproven},
		{"answers signed by another key", func(s *server) { s.serving = otherKey; s.other = nil }, ErrServerUnproven},
		{"certified until yesterday", func(s *server) { s.until = capability.At(time.Now()) - 86400; s.restart() }, ErrServerUnproven},
		{"answer from after its certificate", func(s *server) {
			s.until = capability.At(time.Now()) + 60
			s.restart()
			s.alter = func(r *capability.Response) { r.Time += 120 }
		}, ErrServerUnproven},
		{"not activated", func(s *server) { s.chain.Key, s.chain.Appliance = nil, nil }, ErrNotProvisioned},
		{"answer for another device", func(s *server) { s.alter = func(r *capability.Response) { r.For.Value = "AA" } }, ErrServerUnproven},
		{"answer for another key", func(s *server) { s.alter = func(r *capability.Response) { r.Key[0] ^= 1 } }, ErrServerUnproven},
		{"answer for no key", func(s *server) { s.alter = func(r *capability.Response) { r.Key = capability.Digest{} } }, ErrServerUnproven},
		{"answers to nobody's request", func(s *server) { s.alter = func(r *capability.Response) { r.Correlation[0] ^= 1 } }, ErrServerUnreachable},
		{"stale", func(s *server) {
			s.alter = func(r *capability.Response) { r.Time -= 7200; r.Lifetime = 3600 }
		}, ErrResponseStale},
		{"granted without rights", func(s *server) { s.alter = func(r *capability.Response) { r.Rights = nil } }, ErrProto},
		{"too few rights", func(s *server) { s.alter = func(r *capability.Response) { r.Rights[0].Count = 1 } }, ErrProto},
		{"too few lines", func(s *server) { s.alter = func(r *capability.Response) { r.Lines = nil } }, ErrProto},
		{"refused frame", func(s *server) { s.spoil = func([]byte) []byte { return s.codec.Refused() } }, ErrProto},
		{"cut frame", func(s *server) {
			s.spoil = func(f []byte) []byte { go s.set(false); return f[:len(f)/2] }
		}, ErrServerUnreachable},
		{"oversize frame", func(s *server) {
			s.spoil = func([]byte) []byte { return binary.BigEndian.AppendUint32(nil, capability.MaxFrame+1) }
		}, ErrProto},
		{"empty frame", func(s *server) { s.spoil = func([]byte) []byte { return make([]byte, 4) } }, ErrProto},
		{"noise", func(s *server) { s.spoil = func([]byte) []byte { return []byte{0, 0, 0, 2, 0xff, 0xff} } }, ErrProto},
		{"chain instead of an answer", func(s *server) { s.spoil = func([]byte) []byte { return s.codec.Frame(wire.MessageChain, s.chain) } }, ErrProto},
		{"malformed answer", func(s *server) { s.spoil = func([]byte) []byte { return s.codec.Frame(wire.MessageAnswer, "x") } }, ErrProto},
		{"one flipped bit in the response", func(s *server) { s.spoil = flip(s, func(a *wire.Answer) []byte { return a.Response }) }, ErrServerUnproven},
		{"one flipped bit in the proof", func(s *server) { s.spoil = flip(s, func(a *wire.Answer) []byte { return a.Proof }) }, ErrServerUnproven},
		{"denied", func(s *server) {
			s.alter = func(r *capability.Response) {
				r.Status, r.Lines, r.Rights, r.Denials = capability.StatusDenied, nil, nil, []capability.Denial{{Code: capability.ErrDeviceKey}}
			}
		}, ErrDeviceKey},
		{"denied without a reason", func(s *server) {
			s.alter = func(r *capability.Response) { r.Status, r.Lines, r.Rights = capability.StatusDenied, nil, nil }
		}, ErrProto},
		{"down", func(s *server) { s.set(true) }, ErrServerUnreachable},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, p, item("render", "1.0", 3))
			s.producer = p
			c := s.client(t.TempDir(), func(o *Options) { o.Trust = p.trust; o.Timeout = 2 * time.Second })
			s.mu.Lock()
			do := row.do
			s.mu.Unlock()
			do(s)
			l, err := c.Acquire(t.Context(), "render", Count(2))
			if l != nil || !errors.Is(err, row.want) {
				t.Fatalf("%v, %v where %v is wanted", l, err, row.want)
			}
			if held, err := c.Held(t.Context()); err != nil || len(held) != 0 {
				t.Errorf("held %v, %v", held, err)
			}
		})
	}
}

// flip changes one bit in the middle of a part of an answer.
func flip(s *server, part func(*wire.Answer) []byte) func([]byte) []byte {
	return func(frame []byte) []byte {
		_, body, err := s.codec.DecodeMessage(frame[4:])
		var a wire.Answer
		if err == nil {
			err = s.codec.Decode(body, &a, capability.MaxFrame)
		}
		if err != nil {
			s.t.Error(err)
		}
		b := part(&a)
		b[len(b)/2] ^= 4
		return s.codec.Frame(wire.MessageAnswer, &a)
	}
}

func TestReplayedSerialIsIgnored(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	dir, ctx := t.TempDir(), t.Context()
	c := s.client(dir)
	for range 3 {
		if _, err := c.Acquire(ctx, "render"); err != nil {
			t.Fatal(err)
		}
	}
	for serial, want := range map[uint64]error{1: ErrOlderResponse, 3: ErrReplayedSerial} {
		s.mu.Lock()
		s.alter = func(r *capability.Response) { r.Serial = serial }
		s.mu.Unlock()
		if _, err := c.Acquire(ctx, "render"); !errors.Is(err, want) {
			t.Fatalf("serial %d where 3 is kept: %v", serial, err)
		}
	}
	if held, err := c.Held(ctx); err != nil || len(held) != 1 || held[0].Count != 3 {
		t.Errorf("held %v, %v", held, err)
	}
}

func TestStrangeAnswersArePassedOver(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	c := s.client(t.TempDir())
	s.spoil = func(f []byte) []byte {
		old := s.sign(capability.Response{Version: 1, For: c.Host(), Key: c.device.key, Time: 1, Correlation: capability.CorrelationID{9}})
		return append(s.codec.Frame(wire.MessageAnswer, old), f...)
	}
	if _, err := c.Acquire(t.Context(), "render"); err != nil {
		t.Error(err)
	}
}

func TestTheFirstServerThatAnswers(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 9))
	c := s.client(t.TempDir(), func(o *Options) { o.Servers = []string{"down:1", "appliance:7070"} })
	if _, err := c.Acquire(t.Context(), "render"); err != nil {
		t.Error(err)
	}
}

func TestDirectoryIsNotBelieved(t *testing.T) {
	p := newProducer(t, 1)
	s := newServer(t, p, item("render", "1.0", 100))
	ctx := t.Context()
	prepare := func(t *testing.T) string {
		dir := t.TempDir()
		c := s.client(dir)
		if _, err := c.Acquire(ctx, "render", Count(3), Keep()); err != nil {
			t.Fatal(err)
		}
		c.Close()
		return dir
	}
	state1 := func(t *testing.T, dir string, f func(*state)) {
		b, err := os.ReadFile(filepath.Join(dir, stateFile))
		var st state
		if err == nil {
			err = p.codec.Decode(b, &st, stateLimit)
		}
		if err != nil {
			t.Fatal(err)
		}
		f(&st)
		if err := os.WriteFile(filepath.Join(dir, stateFile), p.codec.Encode(&st), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	offline := func(o *Options) { o.Server = "down:1" }
	for _, row := range []struct {
		name  string
		do    func(t *testing.T, dir string)
		count uint32
		ok    bool
	}{
		{"as it was", func(*testing.T, string) {}, 3, true},
		{"more than was served", func(*testing.T, string) {}, 4, false},
		{"answer altered", func(t *testing.T, dir string) { state1(t, dir, func(s *state) { s.Answer.Response[9] ^= 1 }) }, 1, false},
		{"chain altered", func(t *testing.T, dir string) { state1(t, dir, func(s *state) { s.Chain.Appliance[900] ^= 1 }) }, 1, false},
		{"another device's key", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, keyFile)) }, 1, false},
		{"cut short", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, stateFile), 100) }, 1, false},
		{"too large", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, stateFile), stateLimit+1) }, 1, false},
		{"empty", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, stateFile), 0) }, 1, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := prepare(t)
			state1(t, dir, func(s *state) { s.Holdings = nil }) // nobody uses them now
			row.do(t, dir)
			c := s.client(dir, offline)
			l, err := c.Acquire(ctx, "render", Count(row.count))
			if (err == nil) != row.ok {
				t.Fatalf("offline from what was kept: %v", err)
			}
			if !row.ok {
				if !errors.Is(err, ErrServerUnreachable) {
					t.Error(err)
				}
				return
			}
			if left := time.Until(l.Expiry()); left <= 0 || left > 15*time.Minute {
				t.Errorf("lasts %s", left)
			}
			if n := l.Notice(); !bytes.Contains([]byte(n), []byte("license server not reachable since")) {
				t.Errorf("says %q", n)
			}
		})
	}
	// What is damaged is set aside, and the server states the set again.
	dir := prepare(t)
	os.WriteFile(filepath.Join(dir, stateFile), []byte("nonsense"), 0o600)
	c := s.client(dir)
	if _, err := c.Acquire(ctx, "render"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile+".damaged")); err != nil {
		t.Error(err)
	}
}
