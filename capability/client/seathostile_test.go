package client

import (
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
)

// What a machine slept counts, also where its clock on the wall was set back meanwhile; and so does what that says, where it is more.
func TestSeatCountsSleep(t *testing.T) {
	wall, slept := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), time.Hour
	s := &Standalone{options: StandaloneOptions{Clock: func() time.Time { return wall }, suspended: func() time.Duration { return slept }}}
	seat := &Seat{s: s, at: wall, slept: slept}
	for _, step := range []struct{ wall, slept, gone time.Duration }{
		{0, 0, 0},
		{time.Minute, 0, time.Minute},
		{-time.Hour, 30 * time.Hour, 29 * time.Hour}, // what is not monotonic here is on a real clock
		{0, 30 * time.Hour, 30 * time.Hour},
		{31 * time.Hour, 0, 31 * time.Hour},
	} {
		wall, slept = seat.at.Add(step.wall), seat.slept+step.slept
		if gone := seat.gone(); gone < step.gone {
			t.Errorf("%s by the clock, %s asleep: %s are gone", step.wall, step.slept, gone)
		}
	}
}

// A machine that only takes seats hears of revoked keys too, and keeps it.
func TestSeatsHearOfRevocations(t *testing.T) {
	inOffice(t, entitlement.KnownOnline, func(t *testing.T, w *seating) {
		s := w.machine(1)
		hears := func(s *Standalone, k *wire.KeyCertificate) error {
			return s.locked(t.Context(), func() error { return s.notRevoked(k) })
		}
		key := func(n byte, revoked ...*wire.KeyCertificate) *wire.KeyCertificate {
			p, err := wire.NewProducerKey(append(make([]byte, wire.SeedSize-1), n))
			if err != nil {
				t.Fatal(err)
			}
			k := &wire.KeyCertificate{Keys: p.Public, Name: "key"}
			for _, r := range revoked {
				k.Revoked = append(k.Revoked, wire.RevokedKey{Key: s.codec.Fingerprint(r.Keys)})
			}
			return k
		}
		first := key(1)
		for n, k := range []*wire.KeyCertificate{first, key(2, first), key(3)} {
			if err := hears(s, k); err != nil {
				t.Errorf("key %d: %v", n+1, err)
			}
		}
		if err := hears(s, first); !has(err, capability.ErrKeyRevoked) {
			t.Errorf("the revoked key: %v", err)
		}
		again, err := OpenStandalone(t.Context(), StandaloneOptions{Dir: s.options.Dir, Trust: w.trust, Machine: s.options.Machine})
		if err != nil {
			t.Fatal(err)
		}
		if err := hears(again, first); !has(err, capability.ErrKeyRevoked) {
			t.Errorf("the revoked key, another program: %v", err)
		}
		if _, err := again.Request(t.Context(), nil); err != nil { // a machine without rights as before
			t.Error(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// However short a lease is, and whatever a policy leaves out, nobody asks without a pause.
func TestSeatPace(t *testing.T) {
	for _, test := range []struct {
		policy capability.Policy
		want   time.Duration
	}{
		{capability.Policy{Lease: 900, RenewPercent: 15}, 135 * time.Second},
		{capability.Policy{Lease: 900}, 135 * time.Second},
		{capability.Policy{Lease: 60, RenewPercent: 1}, leastRenewal},
		{capability.Policy{}, 135 * time.Second},
	} {
		if got := paceOf(&test.policy); got != test.want {
			t.Errorf("%+v: %s", test.policy, got)
		}
	}
}
