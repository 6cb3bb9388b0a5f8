package entitlement

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// ask lets the machine ask, says whether what it lent of what was left out has ended, and applies the answer.
func ask(w *world, m *machine, salt uint64, settled bool, desired ...capability.Desired) *capability.Response {
	w.t.Helper()
	a := m.request(salt, desired...)
	a.Request.Settled = settled && m.applied > 0
	a.Digest = w.codec.RequestDigest(a.Request)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	r := w.mustDo(a).Response
	m.apply(r)
	return r
}

// copies is what a response gives of an item.
func copies(r *capability.Response, id capability.ActivationID) uint32 {
	for _, i := range r.Items {
		if i.ActivationID == id {
			return i.Copies
		}
	}
	return 0
}

// sums says how many copies are used, reserved and left.
func (w *world) sums(id capability.ActivationID, used, reserved, left uint32) {
	w.t.Helper()
	if v, _ := w.book.Item(id, w.now); v.Used != used || v.Reserved != reserved || v.Left != left {
		w.t.Errorf("%d used, %d reserved, %d left where %d, %d and %d were expected", v.Used, v.Reserved, v.Left, used, reserved, left)
	}
	if b, err := Restore(w.book.Snapshot()); err != nil || b.Digest() != w.book.Digest() {
		w.t.Fatalf("the book does not come back: %v", err)
	}
}

func TestMappingReservesAndGives(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m, other := newMachine(1), newMachine(2)
	w.mustDo(SetDevice{Device: Device{ID: m.id.Host, Name: "Mill 3", Server: true, Contact: "A. Ray"}})
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 6})
	w.sums(id, 0, 6, 4)
	if v, ok := w.book.DeviceOf(m.id.Host); !ok || v.Known || v.Standing != "waiting for device" || v.Name != "Mill 3" || v.Rights[0].Reserved != 6 || *v.Rights[0].Mapped != 6 {
		t.Errorf("%+v", v)
	}
	// Nobody else gets what is reserved.
	if r := ask(w, other, 1, false, want(id, 5)); r.Lines[0].Denial.Code != capability.ErrHeldElsewhere && r.Lines[0].Denial.Code != capability.ErrTooFew || copies(r, id) != 0 {
		t.Errorf("%+v", r)
	}
	// The machine gets it with its first response, whatever it asks for.
	if r := ask(w, m, 2, false, want(id, 1)); copies(r, id) != 6 || r.Lines[0].Denial.Code != capability.ErrMapped || r.ReturnAsked {
		t.Errorf("%+v", r)
	}
	w.sums(id, 6, 0, 4)
	if v, _ := w.book.DeviceOf(m.id.Host); v.Standing != "done" || v.Rights[0].Mapped != nil || v.Rights[0].Held != 6 {
		t.Errorf("%+v", v)
	}
	// Then its own wishes count again.
	if r := ask(w, m, 3, false, want(id, 8)); copies(r, id) != 8 {
		t.Errorf("%+v", r)
	}
}

// Less is asked back: left out at once, counted until it is proved to be gone.
func TestMappingAsksBack(t *testing.T) {
	for name, row := range map[string]struct {
		settled bool
		later   capability.Time // from the first request that names the response without them
		used    uint32          // after that request, and after another one so much later
		then    uint32
	}{
		"a machine that says that nothing is lent": {settled: true, used: 4, then: 4},
		"one that does not, at once":               {used: 10, then: 10},
		"one that does not, in an hour":            {later: 3600, used: 10, then: 10},
		"one that does not, when it must be over":  {later: capability.Time(capability.MaxLease + longestRounding), used: 10, then: 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, anyTier())
			id := w.entitle(1, 10, nil)
			m := newMachine(1)
			ask(w, m, 1, true, want(id, 10))
			w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 4})
			w.sums(id, 10, 0, 0)
			r := ask(w, m, 2, true)
			if copies(r, id) != 4 || !r.ReturnAsked || r.Denials[0].Code != capability.AskedBack || r.Denials[0].Asked != 6 || r.Status != capability.StatusOK {
				t.Errorf("%+v", r)
			}
			w.sums(id, 10, 0, 0)
			m.epoch++ // it was applied
			ask(w, m, 3, row.settled)
			w.sums(id, row.used, 0, 10-row.used)
			w.now += row.later
			r = ask(w, m, 4, row.settled)
			w.sums(id, row.then, 0, 10-row.then)
			v, _ := w.book.DeviceOf(m.id.Host)
			if done := row.then == 4; done != (v.Standing == "done") || done == r.ReturnAsked || copies(r, id) != 4 {
				t.Errorf("%+v, %+v", v, r)
			}
			if !row.settled && row.later == 0 && (v.Rights[0].Waiting != 6 || v.Rights[0].Confirmed == 0 || v.Rights[0].Asked == 0) {
				t.Errorf("%+v", v.Rights[0])
			}
		})
	}
}

// What proves nothing: an older response applied, the epoch of before, another head, a storage made anew.
func TestMappingUnproved(t *testing.T) {
	for name, change := range map[string]func(m *machine, a *Answer, applied uint64, head capability.Digest){
		"another response applied": func(m *machine, a *Answer, applied uint64, head capability.Digest) {
			a.Request.Applied, a.Request.BookHead = applied, head
		},
		"the epoch of before": func(m *machine, a *Answer, _ uint64, _ capability.Digest) { a.Request.Epoch-- },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, anyTier())
			id := w.entitle(1, 10, nil)
			m := newMachine(1)
			ask(w, m, 1, true, want(id, 10))
			w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 4})
			applied, head, before := m.applied, m.head, m.outstanding
			ask(w, m, 2, true)
			m.epoch++
			a := m.request(3)
			a.Request.Settled = true
			if change(m, &a, applied, head); a.Request.Applied == applied {
				before = append(before, Known{Number: 2, Digest: w.book.hosts[0].Requests[1].Digest})
				a.Request.Outstanding = []capability.Digest{before[len(before)-1].Digest}
			}
			a.Digest = w.codec.RequestDigest(a.Request)
			w.mustDo(a)
			w.sums(id, 10, 0, 0)
		})
	}
	t.Run("a storage made anew", func(t *testing.T) {
		w := newWorld(t, anyTier())
		id := w.entitle(1, 10, nil)
		m := newMachine(1)
		ask(w, m, 1, true, want(id, 10))
		w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 4})
		ask(w, m, 2, true)
		m = m.wiped()
		a := m.request(3)
		a.Repair = "the disk died"
		r := w.mustDo(a).Response
		if m.apply(r); copies(r, id) != 4 {
			t.Errorf("%+v", r)
		}
		w.sums(id, 10, 0, 0)
		m.epoch++
		ask(w, m, 4, true)
		w.sums(id, 4, 0, 6)
	})
}

// The machine's own return is proof too, of what is asked back first.
func TestMappingReturned(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	ask(w, m, 1, true, want(id, 10))
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 4})
	m.giveBack(id, 6)
	if r := ask(w, m, 2, false); copies(r, id) != 4 || r.ReturnAsked || len(r.Acknowledged) != 1 {
		t.Errorf("%+v", r)
	}
	w.sums(id, 4, 0, 6)
	if _, mapped := w.book.deviceOf[m.id.Host].mapping(id); mapped {
		t.Error("the mapping is not done")
	}
}

func TestMappingEnds(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	ask(w, m, 1, true, want(id, 10))
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 4})
	ask(w, m, 2, true)
	w.mustDo(Unmap{Device: m.id.Host, ActivationID: id})
	m.epoch++
	if r := ask(w, m, 3, true); copies(r, id) != 10 || r.ReturnAsked {
		t.Errorf("what nobody asks for any more comes back: %+v", r)
	}
	w.sums(id, 10, 0, 0)
}

func TestMapRefused(t *testing.T) {
	for name, row := range map[string]struct {
		prepare func(w *world, m *machine, id capability.ActivationID, c *Map)
		code    capability.Code
	}{
		"more than is left":   {func(_ *world, _ *machine, _ capability.ActivationID, c *Map) { c.Copies = 11 }, capability.ErrTooFew},
		"an unknown ID":       {func(w *world, _ *machine, _ capability.ActivationID, c *Map) { c.ActivationID = testID(w.t, 9) }, capability.ErrUnknownID},
		"as many as it has":   {func(_ *world, _ *machine, _ capability.ActivationID, c *Map) { c.Copies = 5 }, capability.ErrNoMapping},
		"what was taken back": {func(w *world, _ *machine, id capability.ActivationID, _ *Map) { w.mustDo(Retire{ActivationID: id}) }, capability.ErrRetired},
		"a low tier": {func(w *world, _ *machine, _ capability.ActivationID, _ *Map) {
			p := w.book.Policy()
			p.Limits = []TierLimit{{Tier: Hardware, Copies: 6}}
			w.mustDo(SetPolicy{Policy: p})
		}, capability.ErrTierLimit},
		"twice": {func(w *world, m *machine, id capability.ActivationID, _ *Map) {
			w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 8})
		}, capability.ErrNoMapping},
		"suspended": {func(w *world, _ *machine, id capability.ActivationID, _ *Map) {
			w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Suspend}})
		}, capability.ErrSuspended},
		"another account's": {func(w *world, _ *machine, _ capability.ActivationID, c *Map) {
			c.ActivationID = w.entitle(5, 10, func(i *Item) { i.Customer = "Somebody else" })
		}, capability.ErrAccount},
		"a metered one, less": {func(w *world, m *machine, _ capability.ActivationID, c *Map) {
			c.ActivationID = w.entitle(5, 10, func(i *Item) { i.Metered = true })
			ask(w, m, 7, true, want(c.ActivationID, 4))
			c.Copies = 2
		}, capability.ErrNoMapping},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, anyTier())
			id := w.entitle(1, 10, nil)
			m := newMachine(1)
			ask(w, m, 1, true, want(id, 5))
			c := Map{Device: m.id.Host, ActivationID: id, Copies: 8}
			row.prepare(w, m, id, &c)
			before := w.book.Digest()
			if d, err := w.do(c); d != nil || code(err) != row.code {
				t.Errorf("%+v, %v", d, err)
			}
			if w.book.Digest() != before {
				t.Error("the book changed")
			}
		})
	}
}

// What a device may not get when its request comes stays reserved, and the response says why.
func TestMappingWaitsForATier(t *testing.T) {
	p := anyTier()
	p.MinimumTier = Hardware
	w := newWorld(t, p)
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	w.mustDo(Map{Device: m.id.Host, ActivationID: id, Copies: 6})
	m.id.Tier = Virtual
	if r := ask(w, m, 1, false); copies(r, id) != 0 || len(r.Denials) != 1 || r.Denials[0].Code != capability.ErrTier {
		t.Errorf("%+v", r)
	}
	w.sums(id, 0, 6, 4)
	m.id.Tier = Hardware
	if r := ask(w, m, 2, false); copies(r, id) != 6 {
		t.Errorf("%+v", r)
	}
}

func TestDeviceRefused(t *testing.T) {
	w := newWorld(t, anyTier())
	m := newMachine(1)
	w.mustDo(SetDevice{Device: Device{ID: m.id.Host, Name: "Mill 3"}})
	for name, d := range map[string]Device{
		"the same name":    {ID: newMachine(2).id.Host, Name: "mill 3"},
		"no ID":            {Name: "Mill 4"},
		"a claim":          {ID: cardID(), Name: "Mill 4"},
		"odd words":        {ID: newMachine(2).id.Host, Name: "Mill\n4"},
		"an odd contact":   {ID: newMachine(2).id.Host, Contact: "A\x00"},
		"too long a place": {ID: newMachine(2).id.Host, Account: strings.Repeat("x", capability.MaxName+1)},
	} {
		if _, err := w.do(SetDevice{Device: d}); err == nil || !strings.HasPrefix(err.Error(), "device") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.mustDo(SetDevice{Device: Device{ID: m.id.Host, Name: "MILL 3", Contact: "M. Chen"}})
	if v := w.book.Devices(); len(v) != 1 || v[0].Contact != "M. Chen" || v[0].Standing != "never asked" {
		t.Errorf("%+v", v)
	}
}
