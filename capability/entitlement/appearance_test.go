package entitlement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

func nic(n int) hostid.ID { return hostid.ID{Type: hostid.Ethernet, Value: fmt.Sprintf("%012X", n)} }

// shows is a machine's next request with these host IDs beside its TPM's.
func (w *world) shows(m *machine, ids ...hostid.ID) Answer {
	a := m.request(uint64(m.number), want(testID(w.t, 1), 1))
	a.Request.Hosts = append(a.Request.Hosts, ids...)
	a.Digest, a.Boot = w.codec.RequestDigest(a.Request), state(1)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	return a
}

func TestAppearances(t *testing.T) {
	w := newWorld(t, anyTier())
	w.entitle(1, 1, nil)
	m := newMachine(1)
	first := w.now
	disk := hostid.ID{Type: hostid.Disk, Value: "S1"}
	for _, step := range []struct {
		ids    []hostid.ID
		change func(*Answer)
		kept   int
	}{
		{[]hostid.ID{nic(2), nic(1), disk}, func(*Answer) {}, 1},
		{[]hostid.ID{disk, nic(1), nic(2)}, func(*Answer) {}, 1}, // in another order
		{[]hostid.ID{disk, nic(1), nic(2)}, func(a *Answer) { a.Shown.Why = "because" }, 1},
		{[]hostid.ID{nic(1), nic(3), disk}, func(*Answer) {}, 2},
		{[]hostid.ID{nic(1), nic(3), disk}, func(a *Answer) { a.Identity.Tier = Virtual }, 3},
		{[]hostid.ID{nic(1), nic(3), disk}, func(a *Answer) { a.Identity.Tier, a.Shown.Platform = Virtual, "kvm" }, 4},
		{[]hostid.ID{nic(1), nic(3), disk}, func(a *Answer) { a.Identity.Tier, a.Shown.Platform, a.Boot = Virtual, "kvm", state(2) }, 5},
		{nil, func(a *Answer) { a.Identity.Tier, a.Shown.Platform, a.Boot = Virtual, "kvm", state(2) }, 6},
	} {
		w.now += 10
		a := w.shows(m, step.ids...)
		step.change(&a)
		d := w.mustDo(a)
		if h, _ := w.book.Host(m.id.Host); len(h.Appearances) != step.kept || len(d.Host.Appearances) != step.kept {
			t.Errorf("%v: %d kept, want %d", step.ids, len(h.Appearances), step.kept)
		}
		// Nothing that a machine shows beside its TPM refuses anything.
		if len(d.Response.Items) != 1 || d.Response.Status != capability.StatusOK {
			t.Errorf("%v: %s, %v", step.ids, d.Response.Status, d.Response.Items)
		}
	}
	h, _ := w.book.Host(m.id.Host)
	gone, came := h.Appearances[1].Drift(&h.Appearances[0])
	if !slices.Equal(gone, []hostid.ID{nic(2)}) || !slices.Equal(came, []hostid.ID{nic(3)}) {
		t.Errorf("gone %v, came %v", gone, came)
	}
	if a := h.Appearances[0]; a.Number != 1 || a.Time != first+10 || !slices.Equal(a.Hosts, []hostid.ID{nic(1), nic(2), disk}) {
		t.Errorf("first is %+v", a)
	}
	again, err := Restore(w.book.Snapshot())
	if err != nil || again.Digest() != w.book.Digest() {
		t.Errorf("restored: %v", err)
	}
}

// 10,000 drifts of machines that keep their TPM: every one is answered, and what is kept stays bounded.
func TestDriftRefusesNothing(t *testing.T) {
	const lives, drifts = 100, 100
	for seed := range uint64(lives) {
		w, m, rng := newWorld(t, anyTier()), newMachine(1), life(seed)
		w.entitle(1, 1, nil)
		for n := range drifts {
			var ids []hostid.ID
			for range rng.IntN(capability.MaxHosts) {
				if id := nic(rng.IntN(40)); !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			d, err := w.book.Decide(w.now, w.shows(m, ids...))
			if err != nil || len(d.Response.Items) != 1 || len(d.Response.Denials) != 0 {
				t.Fatalf("seed %d, drift %d: %v", seed, n, err)
			}
			if err := w.book.Apply(d.Entries[0]); err != nil {
				t.Fatalf("seed %d, drift %d: %v", seed, n, err)
			}
			m.apply(d.Response)
		}
		if h, _ := w.book.Host(m.id.Host); len(h.Appearances) != MaxAppearances || w.book.Check() != nil {
			t.Errorf("seed %d: %d kept: %v", seed, len(h.Appearances), w.book.Check())
		}
	}
}

func TestApplyFindsForgedAppearances(t *testing.T) {
	w := newWorld(t, anyTier())
	w.entitle(1, 1, nil)
	m := newMachine(1)
	w.mustDo(w.shows(m, nic(1)))
	for name, change := range map[string]func(a *Answered){
		"another number":   func(a *Answered) { a.Appearance.Number++ },
		"another time":     func(a *Answered) { a.Appearance.Time++ },
		"another tier":     func(a *Answered) { a.Appearance.Tier = Virtual },
		"out of order":     func(a *Answered) { slices.Reverse(a.Appearance.Hosts) },
		"too many":         func(a *Answered) { a.Appearance.Hosts = slices.Repeat(a.Appearance.Hosts[:1], capability.MaxHosts) },
		"odd words":        func(a *Answered) { a.Appearance.Why = "a\x1bb" },
		"too many words":   func(a *Answered) { a.Appearance.Booted = strings.Repeat("x", capability.MaxText+1) },
		"a tier and no it": func(a *Answered) { a.Appearance, a.Identity.Tier = nil, Software },
	} {
		c := m.copied()
		d, err := w.book.Decide(w.now, w.shows(c, nic(1), nic(2)))
		if err != nil {
			t.Fatal(err)
		}
		change(d.Answered())
		before := w.book.Digest()
		if err := w.book.Apply(d.Entries[0]); !errors.Is(err, ErrCorrupt) || w.book.Digest() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, change := range []func(*Shown){
		func(s *Shown) { s.Why = strings.Repeat("x", capability.MaxText+1) }, func(s *Shown) { s.Platform = "a\nb" }, func(s *Shown) { s.Booted = "\u202e" },
	} {
		a := w.shows(m.copied(), nic(1))
		change(&a.Shown)
		if _, err := w.book.Decide(w.now, a); err == nil {
			t.Errorf("decided with %+v", a.Shown)
		}
	}
}

// What an operator wrote about a replaced storage is told to nobody outside, and words of an older book that no response could carry stop none.
func TestAlarmsTellNoReason(t *testing.T) {
	for _, i := range []Incident{
		{Code: capability.ErrReplaced, Number: 7, Time: 1000, Detail: "request 7 of a storage that was replaced: stolen by the night shift"},
		{Code: capability.ErrFork, Number: 7, Time: 1000, Detail: "two\nlines"},
		{Code: capability.ErrFork, Number: 7, Time: 1000, Detail: "Ger\xe4t"},
	} {
		i.Host = newMachine(1).id.Host
		d := i.alarm()
		if capability.CheckText(d.Detail) != nil || strings.Contains(d.Detail, "stolen") || !strings.HasSuffix(d.Detail, "request 7") {
			t.Errorf("%+v", d)
		}
	}
}

// A machine that was copied hears of it in every response, until it has applied one that says so; a machine that was not hears nothing.
func TestAlarms(t *testing.T) {
	for _, policy := range []ForkPolicy{RefuseForks, WarnForks} {
		p := anyTier()
		p.Forks = policy
		w := newWorld(t, p)
		w.entitle(1, 10, nil)
		m, innocent := newMachine(1), newMachine(2)
		m.apply(w.mustDo(m.request(1)).Response)
		w.now += 10
		twin := m.copied()
		m.apply(w.mustDo(m.request(2)).Response)
		w.now += 10
		if _, err := w.do(twin.request(3)); code(err) != capability.ErrFork {
			t.Fatalf("%s: %v", policy, err)
		}
		alarms := func(salt uint64) *capability.Response {
			t.Helper()
			w.now += 10
			r := w.mustDo(m.request(salt)).Response
			if r.Status != capability.StatusOK {
				t.Errorf("%s: an alarm makes the status %s", policy, r.Status)
			}
			return r
		}
		alarms(4) // a response that is lost
		r := alarms(5)
		if len(r.Denials) != 1 || r.Denials[0].Code != capability.ErrFork || r.Denials[0].Subject != m.id.Host.Short() || !strings.Contains(r.Denials[0].Detail, "request 2: ") {
			t.Errorf("%s: told %+v", policy, r.Denials)
		}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		m.apply(r)
		if r := alarms(6); len(r.Denials) != 0 {
			t.Errorf("%s: told again after it was heard: %+v", policy, r.Denials)
		}
		if r := w.mustDo(innocent.request(7)).Response; len(r.Denials) != 0 {
			t.Errorf("%s: an innocent is told %+v", policy, r.Denials)
		}
		if h, _ := w.book.Host(m.id.Host); !h.Forked() {
			t.Errorf("%s: not on record", policy)
		}
	}
	// Where the policy only warns, the response to the second history says it at once.
	w := newWorld(t, warning())
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1)).Response)
	w.mustDo(m.request(2))
	m.outstanding[0].Digest[0] ^= 1
	if r := w.mustDo(m.request(3)).Response; len(r.Denials) != 1 || r.Denials[0].Code != capability.ErrFork {
		t.Errorf("under a warning it is told %+v", r.Denials)
	}
}
