package client

import (
	"bytes"
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// certified makes the producer sign with another key from now on, whose certificate revokes those named.
func (p *producer) certified(t *testing.T, n byte, revoked ...capability.Digest) *producer {
	t.Helper()
	next := *p
	root, err := wire.NewProducerKey(bytes.Repeat([]byte{1}, wire.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	if next.key, err = wire.NewProducerKey(bytes.Repeat([]byte{n}, wire.SeedSize)); err != nil {
		t.Fatal(err)
	}
	k := &wire.KeyCertificate{Keys: next.key.Public, Name: "next", From: 1, Number: uint64(n)}
	for _, r := range revoked {
		k.Revoked = append(k.Revoked, wire.RevokedKey{Key: r})
	}
	if next.certificate, err = p.codec.CertifyKey(root, k); err != nil {
		t.Fatal(err)
	}
	return &next
}

// A device hears of a revocation from an appliance that has, keeps it, and lets nobody serve it by the revoked key from then on; what it was granted stays to its end.
func TestRevokedKeyServesNobody(t *testing.T) {
	p := newProducer(t, 1)
	s := newServer(t, p, item("render", "1.0", 9))
	dir, ctx := t.TempDir(), t.Context()
	first := s.client(dir)
	other := s.client(t.TempDir())
	acquire := func(c *Client, by *producer) error {
		t.Helper()
		s.mu.Lock()
		s.producer = by
		s.mu.Unlock()
		s.restart()
		_, err := c.Acquire(ctx, "render")
		return err
	}
	next := p.certified(t, 7, p.codec.Fingerprint(p.key.Public))
	for _, step := range []struct {
		name string
		c    *Client
		by   *producer
		ok   bool
	}{
		{"before", first, p, true},
		{"a device that has not heard", other, p, true},
		{"by the next key", first, next, true},
		{"by the revoked key", first, p, false},
		{"by the revoked key, another program of the device", s.client(dir), p, false},
		{"by the revoked key, a device that has not heard", other, p, true},
		{"by a third key that says nothing of the first", first, p.certified(t, 8), true},
		{"by the revoked key again", first, p, false},
		{"by the revoked key, under a certificate that revokes itself", other, p.certified(t, 2, p.codec.Fingerprint(p.key.Public)), false},
	} {
		err := acquire(step.c, step.by)
		if !step.ok {
			var no *capability.Refusal
			if !errors.Is(err, ErrServerUnproven) || !errors.As(err, &no) || no.Code != capability.ErrKeyRevoked && step.c == first {
				t.Errorf("%s: %v", step.name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	if held, err := first.Held(ctx); err != nil || len(held) != 1 || held[0].Count != 3 {
		t.Errorf("held %v, %v", held, err)
	}
	// A connection that was made before counts no more either.
	late := s.client(dir)
	if err := acquire(late, next); err != nil {
		t.Fatal(err)
	}
	third := p.certified(t, 9, p.codec.Fingerprint(p.key.Public), next.codec.Fingerprint(next.key.Public))
	late.link.revoked = nil
	if err := late.store.with(ctx, func(st *state) error {
		k, err := p.codec.SigningKey(late.link.trust, third.certificate)
		if err != nil {
			return err
		}
		st.Revoked = wire.Learn(st.Revoked, k)
		return late.store.keep(st)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Acquire(ctx, "render"); !errors.Is(err, ErrServerUnproven) {
		t.Errorf("over a connection made before: %v", err)
	}
}
