package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/client"
)

// A panic is an error with a code, whatever it is of.
func TestGuard(t *testing.T) {
	var nothing map[string]int
	for _, f := range []func() error{
		func() error { panic("at the disco") }, func() error { nothing["a"] = 1; return nil }, func() error { panic(errors.New("wrapped")) },
		func() error { var s *session; return s.client.Close() },
	} {
		if no := explain(guard(f)); no.Code != capability.ErrInternal || no.sentence == "" || no.next == "" {
			t.Errorf("%+v", no)
		}
	}
	if err := guard(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// A text is cut between characters and always ends with a zero byte.
func TestPut(t *testing.T) {
	const text = "héllo wörld €"
	for size := range len(text) + 3 {
		buffer := []byte(strings.Repeat("\xff", size+1))
		n := put(buffer[:size], text)
		switch {
		case size == 0 && n == 0 && buffer[0] == 0xff:
		case size == 0 || buffer[n] != 0 || buffer[size] != 0xff || string(buffer[:n]) != text[:n] || !utf8.Valid(buffer[:n]) || n < min(len(text), size-1)-2:
			t.Errorf("%d bytes: %d, %q", size, n, buffer)
		}
	}
}

// An error has the facts of its refusal; one without a code is the caller's.
func TestExplain(t *testing.T) {
	no := &capability.Refusal{Denial: capability.Denial{Code: capability.ErrNoSeat, Subject: "render", Asked: 1, Total: 40, Used: 40, Until: 1795161600, Position: 2,
		Holders: []capability.Holder{{Name: "WS-114", Count: 2, Expiry: 1795161600}, {Count: 1, Expiry: 1795161700}}}}
	f := explain(fmt.Errorf("acquire: %w", errors.Join(errors.New("other"), no)))
	if f.Code != capability.ErrNoSeat || f.Position != 2 || f.Until != 1795161600 || !strings.HasPrefix(f.sentence, `LH-3104 no seat free for "render": 40 of 40 in use`) ||
		f.next != capability.ErrNoSeat.Entry().Next || f.holders != "2 by WS-114, until 2026-11-20T08:00:00Z\n1 by someone, until 2026-11-20T08:01:40Z\n" {
		t.Errorf("%+v", f)
	}
	for err, code := range map[error]capability.Code{client.ErrReleased: capability.ErrNoSuchLease, client.ErrClosed: capability.ErrUsage, errHandle: capability.ErrUsage} {
		if f := explain(err); f.Code != code || !strings.Contains(f.sentence, err.Error()) {
			t.Errorf("%v: %+v", err, f)
		}
	}
}

// handles stands for the table that package cgo has.
type handles struct {
	last uint64
	good map[uint64]*held
}

func (h *handles) give(l *held) uint64 { h.last++; h.good[h.last] = l; return h.last }
func (h *handles) take(n uint64)       { delete(h.good, n) }

// A handle is taken back once, by release or by close, and none is left behind.
func TestHandles(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render", 3))
	bundle := a.Trust()
	s, err := open(settings{servers: a.Server(), trust: bundle, directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	h := &handles{good: map[uint64]*held{}}
	var all []uint64
	for range 3 {
		n, err := s.acquire("render", terms{count: 1}, h.give)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if n, err := s.acquire("render", terms{count: 1}, h.give); n != 0 || !errors.Is(err, client.ErrNoSeat) || len(h.good) != 3 {
		t.Errorf("a fourth: %d, %v, %d handles", n, err, len(h.good))
	}
	l := h.good[all[0]]
	if !l.forget(all[0]) || l.forget(all[0]) {
		t.Error("a handle is not taken back exactly once")
	}
	h.take(all[0])
	if err := s.close(h.take); err != nil || len(h.good) != 0 || a.Used("render") != 0 {
		t.Errorf("closed: %v, with %d handles and %d seats left", err, len(h.good), a.Used("render"))
	}
	if l.forget(all[1]) {
		t.Error("a lease of a closed client has a handle")
	}
	if _, err := s.acquire("render", terms{count: 1}, h.give); err == nil || len(h.good) != 0 {
		t.Errorf("acquire of a closed client: %v, %d handles", err, len(h.good))
	}
}

func TestSettings(t *testing.T) {
	for _, s := range []settings{{borrow: -time.Second}, {timeout: -1}, {trustFile: "/nothing/here"}, {}} {
		s.directory = t.TempDir()
		if opened, err := open(s); err == nil || opened != nil {
			t.Errorf("%+v is opened", s)
		}
	}
	s := &session{}
	for _, row := range []struct {
		count int64
		wait  time.Duration
	}{{0, 0}, {-1, 0}, {1 << 32, 0}, {1, -1}, {1, maxWait + 1}} {
		if _, err := s.acquire("render", terms{count: row.count, wait: row.wait}, nil); err == nil {
			t.Errorf("%+v is asked for", row)
		}
	}
}
