package entitlement

import (
	"errors"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func TestAnswerStatesEverything(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, func(i *Item) {
		i.Features = append(i.Features, Feature{Name: "export", Version: capability.Version{Major: 2}, PerCopy: 5})
		i.Expiry = w.now + 1000
	})
	other := w.entitle(2, 3, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(other, 3))).Response)
	headBefore, _ := w.book.Head()
	a := m.request(2, want(id, 4))
	a.Request.Alias = "hall 3"
	r := w.mustDo(a).Response

	if r.For != m.id.Host || r.Serial != 2 || r.Request != a.Digest || r.Number != 2 || r.Correlation != a.Request.Correlation || r.Time != w.now ||
		r.Lifetime != DefaultResponseLife || r.BookHead != headBefore || r.Status != capability.StatusOK || r.Policy.Lease != capability.DefaultLease {
		t.Errorf("response says %+v", r)
	}
	// The whole set: what was held before and not mentioned is there too.
	counts := map[string]uint32{}
	for _, i := range r.Items {
		counts[i.ID().String()] = i.Count
		if i.ActivationID == id && (i.Copies != 4 || i.Expiry != w.now+1000 || i.Product != "Render Pro" || i.Issuer != "Example Software" || i.EntitlementID != "ENT-1") {
			t.Errorf("item %+v", i)
		}
	}
	if want := map[string]uint32{string(other) + "/render": 3, string(id) + "/render": 4, string(id) + "/export": 20}; !reflect.DeepEqual(counts, want) {
		t.Errorf("counts %v, want %v", counts, want)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	v, _ := w.book.Item(id, w.now)
	if v.State != PartlyUsed || v.Used != 4 || v.Left != 6 || len(v.Hosts) != 1 || v.Hosts[0].Alias != "hall 3" {
		t.Errorf("item %+v", v)
	}
	if v, _ := w.book.Item(id, w.now+1000); v.State != Expired {
		t.Errorf("at its expiry the item is %s", v.State)
	}
}

func TestLines(t *testing.T) {
	w := newWorld(t, DefaultPolicy("Example Software"))
	id := w.entitle(1, 10, nil)
	expired := w.entitle(2, 5, func(i *Item) { i.Expiry = w.now + 10 })
	soft := w.entitle(3, 5, func(i *Item) { i.MinimumTier = Software })
	unknown := testID(t, 99)
	other := newMachine(7)
	w.mustDo(other.request(1, want(id, 3)))
	holder := newMachine(1)
	holder.apply(w.mustDo(holder.request(1, want(id, 4))).Response)
	w.now += 10

	for _, c := range []struct {
		name    string
		tier    Tier
		desired capability.Desired
		atomic  bool
		count   uint32
		status  capability.LineStatus
		code    capability.Code
		all     capability.Status
	}{
		{"the same again", Hardware, want(id, 4), false, 4, capability.LineOK, 0, capability.StatusOK},
		{"all that is left", Hardware, want(id, 7), false, 7, capability.LineOK, 0, capability.StatusOK},
		{"one more than is left", Hardware, want(id, 8), false, 4, capability.LineInsufficient, capability.ErrHeldElsewhere, capability.StatusPartly},
		{"one more than there are", Hardware, want(id, 11), false, 4, capability.LineInsufficient, capability.ErrTooFew, capability.StatusPartly},
		{"partly", Hardware, capability.Desired{ActivationID: id, Count: 11, Partial: true}, false, 7, capability.LinePartial, capability.ErrTooFew, capability.StatusPartly},
		{"less without a proof", Hardware, want(id, 3), false, 4, capability.LineInsufficient, capability.ErrReturnProof, capability.StatusPartly},
		{"nothing without a proof", Hardware, want(id, 0), false, 4, capability.LineInsufficient, capability.ErrReturnProof, capability.StatusPartly},
		{"unknown", Hardware, want(unknown, 1), false, 0, capability.LineInsufficient, capability.ErrUnknownID, capability.StatusPartly},
		{"a feature", Hardware, capability.Desired{Feature: "render", Count: 1}, false, 0, capability.LineInsufficient, capability.ErrUnknownID, capability.StatusPartly},
		{"expired", Hardware, want(expired, 1), false, 0, capability.LineInsufficient, capability.ErrBookExpired, capability.StatusPartly},
		{"tier too low", Virtual, want(id, 5), false, 4, capability.LineInsufficient, capability.ErrTier, capability.StatusPartly},
		{"tier too low, nothing more asked", Software, want(id, 4), false, 4, capability.LineOK, 0, capability.StatusOK},
		{"an item for any tier", Software, want(soft, 1), false, 1, capability.LineOK, 0, capability.StatusOK},
		{"atomic", Hardware, want(id, 8), true, 4, capability.LineInsufficient, capability.ErrHeldElsewhere, capability.StatusUnchanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := holder.copied().request(2, c.desired, want(soft, 2))
			if c.desired.ActivationID == soft {
				a.Request.Desired = a.Request.Desired[:1]
			}
			a.Request.Atomic, a.Identity.Tier = c.atomic, c.tier
			d, err := w.book.Decide(w.now, a)
			if err != nil {
				t.Fatal(err)
			}
			line := d.Response.Lines[0]
			if line.Count != c.count || line.Status != c.status || line.Denial.Code != c.code || d.Response.Status != c.all {
				t.Errorf("%s, line %+v, want count %d %s %s %s", d.Response.Status, line, c.count, c.status, c.code, c.all)
			}
			wantSoft := uint32(2)
			if c.atomic {
				wantSoft = 0
			}
			if c.desired.ActivationID != soft && d.Host.held(soft) != wantSoft {
				t.Errorf("beside it %d copies were given, want %d", d.Host.held(soft), wantSoft)
			}
			// A refused line never takes: the items of the response say what the line says.
			for _, i := range d.Response.Items {
				if i.ActivationID == c.desired.ActivationID && i.Copies != c.count {
					t.Errorf("the response holds %d copies, the line says %d", i.Copies, c.count)
				}
			}
			if err := d.Response.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingWantedIsWhatIsMine(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1)).Response)
	if len(m.rights) != 0 {
		t.Errorf("an unknown machine was given %v", m.rights)
	}
	m.apply(w.mustDo(m.request(2, want(id, 6))).Response)
	w.now += 365 * 24 * 3600
	m.apply(w.mustDo(m.request(3)).Response)
	a := m.request(4, want(id, 9))
	a.Request.Operation = capability.Report
	m.apply(w.mustDo(a).Response)
	if m.rights[id] != 6 {
		t.Errorf("the machine has %d, want 6", m.rights[id])
	}
}

func TestReturns(t *testing.T) {
	w := newWorld(t, anyTier())
	id, other := w.entitle(1, 10, nil), w.entitle(2, 10, nil)
	start := newMachine(1)
	start.apply(w.mustDo(start.request(1, want(id, 6))).Response)
	start.apply(w.mustDo(start.request(2)).Response)
	b := newMachine(2)

	for _, c := range []struct {
		name   string
		change func(a *Answer)
		code   capability.Code
		held   uint32
	}{
		{"proven", func(*Answer) {}, 0, 2},
		{"proven at a later epoch", func(a *Answer) { a.Proofs[0].Epoch++ }, 0, 2},
		{"no proof", func(a *Answer) { a.Proofs[0] = Proof{Fault: "epoch proof is empty"} }, capability.ErrReturnProof, 6},
		{"proof of an earlier epoch", func(a *Answer) { a.Proofs[0].Epoch-- }, capability.ErrReturnProof, 6},
		{"epoch was seen before", func(a *Answer) { a.Request.Returns[0].Epoch-- }, capability.ErrRollbackSuspect, 6},
		{"epoch above the request's", func(a *Answer) { a.Request.Returns[0].Epoch++; a.Proofs[0].Epoch++ }, capability.ErrRollbackSuspect, 6},
		{"more than held", func(a *Answer) { a.Request.Returns[0].Copies = 7 }, capability.ErrReturnProof, 6},
		{"of what was never held", func(a *Answer) { a.Request.Returns[0].ActivationID = other }, capability.ErrReturnProof, 6},
		{"of an unknown item", func(a *Answer) { a.Request.Returns[0].ActivationID = testID(t, 77) }, capability.ErrUnknownID, 6},
		{"of a response never given", func(a *Answer) { a.Request.Returns[0].Serial = 3 }, capability.ErrReturnProof, 6},
		{"twice in one request", func(a *Answer) {
			a.Request.Returns = append(a.Request.Returns, a.Request.Returns[0])
			a.Proofs = append(a.Proofs, a.Proofs[0])
		}, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := start.copied()
			m.giveBack(id, 4)
			a := m.request(3)
			c.change(&a)
			d, err := w.book.Decide(w.now, a)
			if err != nil {
				t.Fatal(err)
			}
			var got capability.Code
			if len(d.Response.Denials) > 0 {
				got = d.Response.Denials[0].Code
			}
			credited := c.code == 0
			if got != c.code || d.Host.held(id) != c.held || (len(d.Response.Acknowledged) == 1) != credited || (len(d.Credited) == 1) != credited {
				t.Errorf("%s, held %d, acknowledged %d; want %s, %d", got, d.Host.held(id), len(d.Response.Acknowledged), c.code, c.held)
			}
		})
	}

	// The return that was not proven in time is credited once it is; again it is acknowledged again, and credited no more.
	m := start
	m.giveBack(id, 4)
	a := m.request(3)
	a.Request.Returns[0].Proof = nil
	a.Proofs[0] = Proof{Fault: "epoch proof is empty"}
	w.mustDo(a)
	d := w.mustDo(m.request(4))
	if len(d.Credited) != 1 {
		t.Fatalf("a return proven later: %+v", d.Response.Denials)
	}
	again := w.mustDo(m.request(5))
	if len(again.Credited) != 0 || len(again.Response.Acknowledged) != 1 || again.Host.held(id) != 2 {
		t.Errorf("the same return again: credited %d, acknowledged %d, held %d", len(again.Credited), len(again.Response.Acknowledged), again.Host.held(id))
	}
	// Its ID in another return is no proof of that one.
	forged := m.copied()
	forged.returns[0].Copies = 1
	if d, err := w.book.Decide(w.now, forged.request(6)); err != nil || !d.Response.Refuses(forged.returns[0]) || d.Host.held(id) != 2 {
		t.Errorf("a return with a used ID: %v, %v", d, err)
	}
	if d := w.mustDo(b.request(1, want(id, 8))); d.Host.held(id) != 8 {
		t.Errorf("another machine gets %d of what came back, want 8: %+v", d.Host.held(id), d.Response.Lines)
	}
	// All given back, and the wish for some of it again in the same request.
	m.apply(again.Response)
	m.giveBack(id, 2)
	if d := w.mustDo(m.request(7)); d.Response.Status != capability.StatusReturned || len(d.Host.Holds) != 0 {
		t.Errorf("everything given back: %s, holds %v", d.Response.Status, d.Host.Holds)
	}
	b.apply(w.mustDo(b.request(2)).Response)
	b.giveBack(id, 8)
	if d := w.mustDo(b.request(3, want(id, 5))); d.Host.held(id) != 5 || len(d.Credited) != 1 || d.Response.Status != capability.StatusOK {
		t.Errorf("proof and wish in one: %s, held %d", d.Response.Status, d.Host.held(id))
	}
}

// prepared is a machine with responses 1 and 2 given, the first applied, and requests 1 to 3 written, the third not sent.
func prepared(t *testing.T) (w *world, m *machine, sent []Answer, unsent Answer) {
	w = newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m = newMachine(1)
	one := m.request(1, want(id, 2))
	m.apply(w.mustDo(one).Response)
	two := m.request(2, want(id, 3))
	w.mustDo(two)
	return w, m, []Answer{one, two}, m.request(3)
}

func TestRefusedWhole(t *testing.T) {
	for _, c := range []struct {
		name     string
		request  func(w *world, m *machine, sent []Answer, unsent Answer) Answer
		code     capability.Code
		recorded bool
	}{
		{"a late file whose digest is known", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			w.mustDo(m.request(4))
			return unsent
		}, capability.ErrOlderRequest, false},
		{"another key", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			unsent.Identity.AKName = newMachine(9).id.AKName
			return unsent
		}, capability.ErrHostKey, true},
		{"the number of an answered request", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			c := m.copied()
			c.number, c.outstanding = 1, nil
			return c.request(99)
		}, capability.ErrFork, true},
		{"a number that was only named", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			w.mustDo(m.request(4))
			c := m.copied()
			c.number, c.outstanding = 2, c.outstanding[:1]
			return c.request(99)
		}, capability.ErrFork, true},
		{"a history that knows another request of that number", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			c := m.copied()
			c.outstanding[0].Digest[0] ^= 1
			return c.request(99)
		}, capability.ErrFork, true},
		{"a history without the answered request", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			c := m.copied()
			c.outstanding = c.outstanding[1:]
			return c.request(99)
		}, capability.ErrFork, true},
		{"a response that was never given", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			c := m.copied()
			c.applied = 3
			return c.request(99)
		}, capability.ErrFork, true},
		{"another head of the book", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			c := m.copied()
			c.head[0] ^= 1
			return c.request(99)
		}, capability.ErrFork, true},
		{"an epoch that went back", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			c := m.copied()
			c.epoch--
			return c.request(99)
		}, capability.ErrRollbackSuspect, true},
		{"an operation for appliances", func(w *world, m *machine, sent []Answer, unsent Answer) Answer {
			unsent.Request.Operation, unsent.Request.Undoes, unsent.Request.Desired = capability.Undo, capability.CorrelationID{5}, nil
			return unsent
		}, capability.ErrOperation, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m, sent, unsent := prepared(t)
			a := c.request(w, m, sent, unsent)
			host, _ := w.book.Host(m.id.Host)
			items := w.book.Items(w.now)
			_, length := w.book.Head()
			_, err := w.do(a)
			if code(err) != c.code {
				t.Fatalf("%v, want %s", err, c.code)
			}
			after, _ := w.book.Host(m.id.Host)
			_, longer := w.book.Head()
			if (longer == length+1) != c.recorded || len(after.Incidents)-len(host.Incidents) != int(longer-length) {
				t.Errorf("%d entries more, incidents %v", longer-length, after.Incidents)
			}
			after.Incidents = host.Incidents
			if !reflect.DeepEqual(after, host) || !reflect.DeepEqual(w.book.Items(w.now), items) {
				t.Error("the refused request changed more than the record of it")
			}
			// The same once more is refused the same way, and kept once.
			if _, err := w.do(a); code(err) != c.code {
				t.Errorf("again: %v", err)
			}
			if _, n := w.book.Head(); n != longer {
				t.Errorf("again: %d entries more", n-longer)
			}
		})
	}
	for _, c := range []struct {
		name   string
		change func(r *capability.Request)
	}{
		{"no number", func(r *capability.Request) { r.Number = 0 }},
		{"more requests before it than there can be", func(r *capability.Request) { r.Number = 1 }},
		{"an item wanted twice", func(r *capability.Request) {
			r.Desired = []capability.Desired{want(testID(t, 1), 1), want(testID(t, 1), 2)}
		}},
		{"no hosts", func(r *capability.Request) { r.Hosts = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _, _, unsent := prepared(t)
			c.change(unsent.Request)
			d, err := w.book.Decide(w.now, unsent)
			if m := (*capability.Malformed)(nil); !errors.As(err, &m) || d != nil {
				t.Errorf("%v, want a malformed field", err)
			}
		})
	}
}

func TestInnocentHistories(t *testing.T) {
	w, m, sent, unsent := prepared(t)
	// The same request again is what it was, also after others.
	w.mustDo(unsent)
	for i, a := range append(sent, unsent) {
		d := w.mustDo(a)
		if d.Known == nil || d.Known.Serial != uint64(i+1) || len(d.Entries) != 0 || d.Response != nil {
			t.Errorf("request %d again: %+v", i+1, d)
		}
	}
	// A response that was lost: the machine goes on with more outstanding.
	w.mustDo(m.request(5))
	// A jump: request 5 was never sent, 6 names it.
	m.request(6)
	d := w.mustDo(m.request(7))
	if d.Response.Serial != 5 {
		t.Errorf("serial %d, want 5", d.Response.Serial)
	}
	m.apply(d.Response)
	m.apply(w.mustDo(m.request(8)).Response)
}

func TestProven(t *testing.T) {
	w := newWorld(t, anyTier())
	m := newMachine(1)
	d := w.mustDo(m.request(1))
	if d.Host.Proven {
		t.Error("proven before it opened anything")
	}
	guess := m.copied()
	guess.applied = 1 // its serial anyone can read
	if d, err := w.book.Decide(w.now, guess.request(2)); err != nil || d.Host.Proven {
		t.Errorf("proven by a serial alone: %v", err)
	}
	m.apply(d.Response)
	if d := w.mustDo(m.request(3)); !d.Host.Proven {
		t.Error("not proven by the head that only the opened response says")
	}
	if d := w.mustDo(m.request(4)); !d.Host.Proven {
		t.Error("no longer proven")
	}
}

func TestEntitleAndPolicyBounds(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	good := Item{ActivationID: testID(t, 2), Customer: "c", EntitlementID: "e", Product: "p", Copies: 2, Features: []Feature{{Name: "f", PerCopy: 1}}}
	for name, change := range map[string]func(*Item){
		"no customer":            func(i *Item) { i.Customer = "" },
		"a customer that writes": func(i *Item) { i.Customer = "a\x1b[31m" },
		"no product":             func(i *Item) { i.Product = "" },
		"no entitlement":         func(i *Item) { i.EntitlementID = "" },
		"no feature":             func(i *Item) { i.Features = nil },
		"a feature twice":        func(i *Item) { i.Features = []Feature{{Name: "f", PerCopy: 1}, {Name: "f", PerCopy: 2}} },
		"a feature of nothing":   func(i *Item) { i.Features = []Feature{{Name: "f"}} },
		"no copies":              func(i *Item) { i.Copies = 0 },
		"too many counts":        func(i *Item) { i.Copies, i.Features = 1<<20, []Feature{{Name: "f", PerCopy: 1 << 11}} },
		"ends before it starts":  func(i *Item) { i.Start, i.Expiry = w.now+20, w.now+10 },
		"has expired":            func(i *Item) { i.Expiry = w.now },
		"tier":                   func(i *Item) { i.MinimumTier = 4 },
		"ID in the book":         func(i *Item) { i.ActivationID = id },
		"ID with a wrong symbol": func(i *Item) { i.ActivationID = "00000-00000-00000-00001" },
	} {
		i := good
		change(&i)
		if d, err := w.do(Entitle{Item: i}); err == nil || d != nil {
			t.Errorf("%s: was taken", name)
		}
	}
	w.mustDo(Entitle{Item: good})
	for name, change := range map[string]func(*Policy){
		"no producer": func(p *Policy) { p.Producer = "" },
		"short lease": func(p *Policy) { p.Lease = 59 },
		"long lease":  func(p *Policy) { p.Lease = 3601 },
		"holders":     func(p *Policy) { p.Holders = 3 },
		"short life":  func(p *Policy) { p.ResponseLife = 3599 },
		"long life":   func(p *Policy) { p.ResponseLife = MaxResponseLife + 1 },
		"no tier":     func(p *Policy) { p.MinimumTier = 0 },
		"forks":       func(p *Policy) { p.Forks = 2 },
	} {
		p := anyTier()
		change(&p)
		if d, err := w.do(SetPolicy{Policy: p}); err == nil || d != nil {
			t.Errorf("policy, %s: was taken", name)
		}
	}
	if _, err := New().Decide(w.now, Entitle{Item: good}); err == nil {
		t.Error("a book without a policy took an item")
	}
}

func TestClock(t *testing.T) {
	w := newWorld(t, anyTier())
	w.now -= 3600
	w.entitle(1, 1, nil) // a small step back is a correction: the entry has the time of the last
	w.now--
	if _, err := w.do(SetPolicy{Policy: anyTier()}); code(err) != capability.ErrClock {
		t.Errorf("a large step back: %v", err)
	}
}

// A clock from which no interval can be counted decides nothing.
func TestClockThatIsNone(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	for _, now := range []capability.Time{farthest + 1, 1<<63 - 1} {
		if d, err := w.book.Decide(now, Retire{ActivationID: id}); d != nil || code(err) != capability.ErrClock {
			t.Errorf("%d: %v", now, err)
		}
	}
}
