package entitlement

import (
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// at is the request with another checkpoint.
func (w *world) at(a Answer, position uint64, hash byte) Answer {
	a.Request.Head = capability.Head{Position: position, Hash: capability.Digest{hash}}
	a.Digest = w.codec.RequestDigest(a.Request)
	return a
}

// sent is a machine's next request with that checkpoint, which it remembers.
func (w *world) sent(m *machine, salt, position uint64, hash byte) Answer {
	a := w.at(m.request(salt), position, hash)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	return a
}

func warning() Policy {
	p := anyTier()
	p.Forks = WarnForks
	return p
}

func TestAuditCheckpoints(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   []capability.Head // of the requests answered
		position uint64
		hash     byte
		code     capability.Code
		words    []string
	}{
		{"none at all", []capability.Head{{}, {}}, 0, 0, 0, nil},
		{"the first one", []capability.Head{{}, {}}, 7, 1, 0, nil},
		{"it grew", []capability.Head{{}, {Position: 7, Hash: capability.Digest{1}}}, 8, 2, 0, nil},
		{"it stayed", []capability.Head{{Position: 7, Hash: capability.Digest{1}}}, 7, 1, 0, nil},
		{"another hash", []capability.Head{{Position: 7, Hash: capability.Digest{1}}}, 7, 2, capability.ErrFork, []string{"entry 7", "request 1", "0100000000000000", "request 2", "0200000000000000"}},
		{"it shrank", []capability.Head{{Position: 7, Hash: capability.Digest{1}}}, 6, 9, capability.ErrFork, []string{"request 1 named 7", "request 2 names 6"}},
		{"it is gone", []capability.Head{{Position: 7, Hash: capability.Digest{1}}}, 0, 0, capability.ErrFork, []string{"request 1 named 7", "request 2 names 0"}},
		{"below the newest, above one before", []capability.Head{{Position: 3, Hash: capability.Digest{1}}, {Position: 9, Hash: capability.Digest{2}}}, 5, 3, capability.ErrFork, []string{"request 2 named 9", "request 3 names 5"}},
		{"a hash and no position is none", []capability.Head{{}, {}}, 0, 5, 0, nil},
	} {
		w := newWorld(t, anyTier())
		m := newMachine(1)
		for n, h := range c.before {
			m.apply(w.mustDo(w.sent(m, uint64(n), h.Position, h.Hash[0])).Response)
		}
		last := m.number
		a := w.sent(m, 50, c.position, c.hash)
		_, err := w.do(a)
		h, _ := w.book.Host(m.id.Host)
		if code(err) != c.code || h.Forked() != (c.code != 0) {
			t.Errorf("%s: %v, incidents %+v", c.name, err, h.Incidents)
		}
		for _, word := range c.words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", c.name, err, word)
			}
		}
		if c.code != 0 {
			if i := h.Incidents[0]; i.Warned || i.Digest != a.Digest || i.Against != h.Requests[last-1].Digest {
				t.Errorf("%s: incident %+v", c.name, i)
			}
			continue
		}
		want := capability.Head{Position: c.position}
		if c.position != 0 {
			want.Hash = capability.Digest{c.hash}
		}
		if k := h.Requests[len(h.Requests)-1]; k.Audit != want {
			t.Errorf("%s: on record is %+v", c.name, k.Audit)
		}
		if at, number := h.Audit(); at != want || c.position != 0 && number != m.number {
			t.Errorf("%s: newest is %+v of request %d", c.name, at, number)
		}
	}
}

// A new life begins a new audit trail.
func TestAuditOfAnotherLife(t *testing.T) {
	w := newWorld(t, anyTier())
	old := newMachine(1)
	old.apply(w.mustDo(w.sent(old, 1, 700, 1)).Response)
	m := old.wiped()
	repair := w.sent(m, 2, 3, 9)
	repair.Repair = "the disk died"
	m.apply(w.mustDo(repair).Response)
	if _, err := w.do(w.sent(m.copied(), 3, 2, 8)); code(err) != capability.ErrFork {
		t.Errorf("it shrank in the new life: %v", err)
	}
	w.mustDo(w.sent(m, 4, 4, 7))
	h, _ := w.book.Host(m.id.Host)
	if at, _ := h.Audit(); at.Position != 4 || h.Past[0].Requests[0].Audit.Position != 700 {
		t.Errorf("%+v", h)
	}
}

func TestForksUnderAWarning(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*machine)
		at     byte // hash of the checkpoint
		code   capability.Code
		warned bool
	}{
		{"innocent", func(*machine) {}, 1, 0, false},
		{"another history, ahead", func(m *machine) { m.outstanding[0].Digest[0] ^= 1 }, 1, 0, true},
		{"it does not know what was answered, ahead", func(m *machine) { m.outstanding = nil }, 1, 0, true},
		{"another head of the book, ahead", func(m *machine) { m.head[0] ^= 1 }, 1, 0, true},
		{"another audit entry, ahead", func(*machine) {}, 2, 0, true},
		{"behind", func(m *machine) { m.number, m.outstanding = 1, nil }, 1, capability.ErrFork, false},
		{"an epoch that went back", func(m *machine) { m.epoch-- }, 1, capability.ErrRollbackSuspect, false},
		{"the book is older, and another history", func(m *machine) { m.applied = 9; m.outstanding[0].Digest[0] ^= 1 }, 1, capability.ErrFork, false},
		{"another key, and another history", func(m *machine) { m.id.AKName = newMachine(9).id.AKName; m.outstanding[0].Digest[0] ^= 1 }, 1, capability.ErrHostKey, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, warning())
			id := w.entitle(1, 10, nil)
			m := newMachine(1)
			m.apply(w.mustDo(w.sent(m, 1, 4, 1)).Response)
			w.mustDo(w.sent(m, 2, 4, 1))
			line := m.copied()
			c.change(line)
			a := line.request(77, want(id, 3))
			a = w.at(a, 4, c.at)
			d, err := w.do(a)
			if code(err) != c.code {
				t.Fatalf("%v, want %s", err, c.code)
			}
			h, _ := w.book.Host(m.id.Host)
			if len(h.Incidents) > 0 && h.Incidents[0].Warned != c.warned || (len(h.Incidents) == 1) != (c.warned || c.code != 0) {
				t.Errorf("incidents %+v", h.Incidents)
			}
			if c.code != 0 {
				if h.Serial != 2 {
					t.Errorf("it was answered: %+v", h)
				}
				return
			}
			if (d.Warning != nil) != c.warned || h.Forked() != c.warned || h.Requests[2].Fork != c.warned || d.Host.Forked() != c.warned || h.held(id) != 3 {
				t.Errorf("warning %v, host %+v", d.Warning, h)
			}
			if d.Answered() == nil || d.Response == nil || d.Response.Serial != 3 {
				t.Errorf("%+v", d)
			}
			if c.warned && h.Incidents[0].Against == (capability.Digest{}) {
				t.Error("the record does not say against what")
			}
			// The same again is the same answer, and the other line goes on once it is ahead.
			if again := w.mustDo(a); again.Known == nil || again.Known.Fork != c.warned {
				t.Errorf("again: %+v", again)
			}
			m.request(5)
			m.request(6)
			d, err = w.do(w.at(m.request(7), 5, 3))
			if err != nil || c.warned && d.Warning == nil {
				t.Errorf("the other line: %v, %+v", err, d)
			}
			b, err := Restore(w.book.Snapshot())
			if err != nil || b.Digest() != w.book.Digest() {
				t.Errorf("restored: %v", err)
			}
		})
	}
}

// The file of the request that says otherwise: the one with that number where it was answered, else the one that named it.
func TestAgainst(t *testing.T) {
	w, m, sent, unsent := prepared(t)
	named := m.request(4)
	w.mustDo(named)
	for _, c := range []struct {
		name    string
		change  func(*machine)
		against capability.Digest
	}{
		{"answered", func(m *machine) { m.number, m.outstanding = 1, nil }, sent[1].Digest},
		{"only named", func(m *machine) { m.number, m.outstanding = 2, m.outstanding[:1] }, named.Digest},
	} {
		c2 := m.copied()
		c.change(c2)
		if _, err := w.do(c2.request(99)); code(err) != capability.ErrFork {
			t.Fatalf("%s: %v", c.name, err)
		}
		h, _ := w.book.Host(m.id.Host)
		if i := h.Incidents[len(h.Incidents)-1]; i.Against != c.against {
			t.Errorf("%s: against %.4x, want %.4x", c.name, i.Against[:], c.against[:])
		}
	}
	if _, err := w.do(unsent); code(err) != capability.ErrOlderRequest {
		t.Errorf("the late file: %v", err)
	}
}

// Two requests after one response are no fork, in either order, under either policy.
func TestTwoRequestsAfterOneResponse(t *testing.T) {
	for _, p := range []Policy{anyTier(), warning()} {
		for _, order := range [][]int{{0, 1}, {1, 0}, {1}} {
			w := newWorld(t, p)
			m := newMachine(1)
			m.apply(w.mustDo(w.sent(m, 1, 3, 1)).Response)
			files := []Answer{w.sent(m, 2, 4, 2), w.sent(m, 3, 5, 3)}
			for _, n := range order {
				if d, err := w.do(files[n]); err != nil && code(err) != capability.ErrOlderRequest || d != nil && d.Warning != nil {
					t.Errorf("%s, order %v: %v", p.Forks, order, err)
				}
			}
			if h, _ := w.book.Host(m.id.Host); h.Forked() || len(h.Incidents) != 0 {
				t.Errorf("%s, order %v: %+v", p.Forks, order, h.Incidents)
			}
		}
	}
}

func TestIncidentsAreBounded(t *testing.T) {
	w, _, _, m := lost(t)
	for n := range uint64(MaxIncidents) {
		if _, err := w.do(m.request(100 + n)); code(err) != capability.ErrRepair {
			t.Fatal(err)
		}
	}
	h, _ := w.book.Host(m.id.Host)
	if len(h.Incidents) != maxRepairIncidents {
		t.Fatalf("%d incidents of a storage that waits for a repair", len(h.Incidents))
	}
	fork := newMachine(1) // its first life again, as it was
	for n := range uint64(MaxIncidents) {
		c := fork.copied()
		if _, err := w.do(c.request(1000 + n)); code(err) != capability.ErrFork {
			t.Fatal(err)
		}
		if h, _ := w.book.Host(m.id.Host); !h.Forked() {
			t.Fatal("the fork is hidden")
		}
	}
	if h, _ := w.book.Host(m.id.Host); len(h.Incidents) != MaxIncidents {
		t.Errorf("%d incidents", len(h.Incidents))
	}
}

// Apply takes no answer that contradicts the record, unless the policy warns and the entry says so.
func TestForgedForks(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		change func(*Answered)
		ok     bool
	}{
		"as decided":                   {anyTier(), func(*Answered) {}, true},
		"fewer audit entries":          {anyTier(), func(a *Answered) { a.Request.Audit.Position = 3 }, false},
		"fewer, and said to be a fork": {warning(), func(a *Answered) { a.Request.Audit.Position, a.Request.Fork = 3, true }, false},
		"another hash":                 {warning(), func(a *Answered) { a.Request.Audit = capability.Head{Position: 4, Hash: capability.Digest{8}} }, false},
		"another hash, under a warning": {warning(), func(a *Answered) {
			a.Request.Audit = capability.Head{Position: 4, Hash: capability.Digest{8}}
			a.Request.Fork = true
		}, true},
		"a warning that the policy refuses": {anyTier(), func(a *Answered) { a.Request.Fork = true }, false},
	} {
		w := newWorld(t, c.policy)
		m := newMachine(1)
		m.apply(w.mustDo(w.sent(m, 1, 4, 1)).Response)
		d, err := w.book.Decide(w.now, w.sent(m, 2, 5, 2))
		if err != nil {
			t.Fatal(err)
		}
		c.change(d.Answered())
		if err := w.book.Apply(d.Entries[0]); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.book.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckFindsAnAuditTrailThatShrank(t *testing.T) {
	w := newWorld(t, anyTier())
	m := newMachine(1)
	m.apply(w.mustDo(w.sent(m, 1, 4, 1)).Response)
	m.apply(w.mustDo(w.sent(m, 2, 4, 1)).Response)
	k := &w.book.hosts[0].Requests[1]
	for _, bad := range []capability.Head{{Position: 3, Hash: capability.Digest{1}}, {Position: 4, Hash: capability.Digest{2}}, {}} {
		was := k.Audit
		if k.Audit = bad; w.book.Check() == nil {
			t.Errorf("%+v after %+v is taken", bad, was)
		}
		k.Audit = was
	}
	if err := w.book.Check(); err != nil {
		t.Error(err)
	}
}

func TestForkPolicies(t *testing.T) {
	for _, p := range []ForkPolicy{RefuseForks, WarnForks} {
		if q, err := ParseForkPolicy(p.String()); err != nil || q != p {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := ParseForkPolicy("ignore"); err == nil {
		t.Error("a policy that is none was read")
	}
	if !slices.Equal([]int{RepairLimit(0).Count(), LimitRepairs(0).Count(), LimitRepairs(7).Count()}, []int{2, 0, 7}) {
		t.Error("limits of repairs")
	}
}
