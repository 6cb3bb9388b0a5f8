package entitlement

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// TestItemLife: every command in every state. What is not named is refused and changes nothing.
func TestItemLife(t *testing.T) {
	start := capability.Time(1_800_000_000)
	expiry := start.Add(100 * day)
	states := map[State]func(w *world, id, twin capability.ActivationID){
		Draft:     func(*world, capability.ActivationID, capability.ActivationID) {},
		Available: func(w *world, id, _ capability.ActivationID) { w.change(id, Deploy) },
		PartlyUsed: func(w *world, id, _ capability.ActivationID) {
			w.change(id, Deploy)
			w.asks(newMachine(1), 1, id, 3, nil)
		},
		FullyUsed: func(w *world, id, _ capability.ActivationID) {
			w.change(id, Deploy)
			w.asks(newMachine(1), 1, id, 10, nil)
		},
		Suspended: func(w *world, id, _ capability.ActivationID) { w.change(id, Deploy); w.change(id, Suspend) },
		InGrace:   func(w *world, id, _ capability.ActivationID) { w.change(id, Deploy); w.now = expiry },
		Expired:   func(w *world, id, _ capability.ActivationID) { w.change(id, Deploy); w.now = expiry.Add(5 * day) },
		Retiring: func(w *world, id, _ capability.ActivationID) {
			w.change(id, Deploy)
			w.asks(newMachine(1), 1, id, 3, nil)
			w.mustDo(Retire{ActivationID: id})
		},
		Merged: func(w *world, id, twin capability.ActivationID) {
			w.change(id, Deploy)
			w.asks(newMachine(1), 1, id, 3, nil)
			w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Merge, To: twin}})
		},
		Inactive: func(w *world, id, _ capability.ActivationID) {
			w.change(id, Deploy)
			w.mustDo(Retire{ActivationID: id})
		},
		Obsolete: func(w *world, id, _ capability.ActivationID) { w.change(id, Archive) },
	}
	then := map[State]map[Alter]State{
		Draft:      {Deploy: Available, Renew: Draft, Archive: Obsolete, Split: Draft, SetCopies: Draft, SetExtra: Draft},
		Available:  {Suspend: Suspended, Renew: Available, Split: Available, Merge: Inactive, SetCopies: Available, SetExtra: Available},
		PartlyUsed: {Suspend: Suspended, Renew: PartlyUsed, Split: PartlyUsed, Merge: Merged, SetCopies: FullyUsed, SetExtra: PartlyUsed},
		FullyUsed:  {Suspend: Suspended, Renew: FullyUsed, Merge: Merged, SetCopies: FullyUsed, SetExtra: PartlyUsed},
		Suspended:  {Resume: Available, Renew: Suspended, Split: Suspended, SetCopies: Suspended, SetExtra: Suspended},
		InGrace:    {Suspend: Suspended, Renew: Available, Split: InGrace, Merge: Inactive, SetCopies: InGrace, SetExtra: InGrace},
		Expired:    {Suspend: Suspended, Renew: Available, Archive: Obsolete, Split: Expired, Merge: Inactive, SetCopies: Expired, SetExtra: Expired},
		Retiring:   {Suspend: Retiring},
		Merged:     {},
		Inactive:   {Archive: Obsolete},
		Obsolete:   {},
	}
	for state, into := range states {
		for do := Deploy; do <= SetExtra; do++ {
			w := newWorld(t, anyTier())
			w.licenseModel("M", func(m *LicenseModel) { m.GraceDays, m.Limits = 5, []ActLimit{{Act: ActExtra, Count: 9}} })
			like := func(i *Item) { i.Model, i.Expiry = "M", expiry }
			id := w.entitle(1, 10, func(i *Item) { like(i); i.Life.Stage = StageDraft })
			twin := w.entitle(2, 10, like)
			into(w, id, twin)
			if i, _ := w.book.Item(id, w.now); i.State != state {
				t.Fatalf("the item is %s where %s is meant", i.State, state)
			}
			c := ItemChange{ActivationID: id, Do: do}
			switch do {
			case Renew:
				c.Expiry = expiry.Add(50 * day)
			case Split:
				c.Copies, c.To = 4, testID(t, 3)
			case Merge:
				c.To = twin
			case SetCopies, SetExtra:
				c.Copies = 3
			}
			d, err := w.book.Decide(w.now, ChangeItem{Change: c})
			want, allowed := then[state][do]
			if (err == nil) != allowed {
				t.Errorf("%s, %s: %v", state, do, err)
				continue
			}
			if err != nil {
				if no := code(err); no != capability.ErrItemState && no != capability.ErrTooFew {
					t.Errorf("%s, %s: %v", state, do, err)
				}
				w.forced(Entry{Change: &c}, "")
				continue
			}
			if err := w.book.Apply(d.Entries[0]); err != nil {
				t.Fatalf("%s, %s: %v", state, do, err)
			}
			if i, _ := w.book.Item(id, w.now); i.State != want {
				t.Errorf("%s, %s: %s where %s is wanted", state, do, i.State, want)
			}
			if err := w.book.Check(); err != nil {
				t.Errorf("%s, %s: %v", state, do, err)
			}
		}
	}
}

func TestChangesAreValid(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActExtra, Count: capability.MaxCount}} })
	id := w.entitle(1, 10, func(i *Item) { i.Features, i.Model, i.Expiry = features("f", 1<<20), "M", w.now+day })
	permanent := w.entitle(2, 10, nil)
	for words, c := range map[string]ItemChange{
		"LH-5002":                   {ActivationID: testID(t, 9), Do: Suspend},
		"is not known":              {ActivationID: id, Do: 10},
		"reason":                    {ActivationID: id, Do: Suspend, Reason: strings.Repeat("x", capability.MaxText+1)},
		"it does not expire":        {ActivationID: permanent, Do: Renew, Expiry: w.now + 2*day},
		"is not later than that":    {ActivationID: id, Do: Renew, Expiry: w.now + day},
		"at least one on each side": {ActivationID: permanent, Do: Split, Copies: 10, To: testID(t, 9)},
		"is in the book already":    {ActivationID: permanent, Do: Split, Copies: 1, To: id},
		"not an activation ID":      {ActivationID: permanent, Do: Split, Copies: 1, To: "X"},
		"merged into itself":        {ActivationID: id, Do: Merge, To: id},
		"to merge into":             {ActivationID: id, Do: Merge, To: testID(t, 9)},
		"is not the same":           {ActivationID: id, Do: Merge, To: permanent},
		"1 to 1024 are allowed":     {ActivationID: id, Do: SetCopies, Copies: 1025},
		"0 copies, with":            {ActivationID: id, Do: SetCopies},
		"at most 1024":              {ActivationID: id, Do: SetExtra, Copies: 1015},
	} {
		w.cannot(ChangeItem{Change: c}, words)
	}
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetExtra, Copies: 1014}})
	w.cannot(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 11}}, "with 1014 that are extra")
	w.cannot(ChangeItem{Change: ItemChange{ActivationID: id, Do: Split, Copies: 1, To: testID(t, 9)}}, "1014 copies are extra")
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetExtra}})
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 1024}})
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Renew}})
	if i, _ := w.book.Item(id, w.now+1000*day); i.Expiry != 0 || i.Copies != 1024 {
		t.Errorf("the item is %+v", i)
	}
	// Two that are each allowed are not allowed as one; what may come back counts too.
	alike := func(i *Item) { i.Features, i.Model, i.Expiry = features("f", 1<<20), "M", 0 }
	other, third := w.entitle(3, 1023, alike), w.entitle(4, 1, alike)
	w.cannot(ChangeItem{Change: ItemChange{ActivationID: other, Do: Merge, To: id}}, "more than the 1024 allowed")
	w.asks(newMachine(1), 1, third, 1, nil)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: third, Do: Merge, To: other}})
	w.cannot(ChangeItem{Change: ItemChange{ActivationID: other, Do: SetCopies, Copies: 1024}}, "1 that may come back")
	w.cannot(ChangeItem{Change: ItemChange{ActivationID: other, Do: SetExtra, Copies: 1}}, "at most 1024")
}

// TestSplit: what is left is divided, machines are not touched, and what was done so often as it may be stays done.
func TestSplit(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{ActReturn, 1, 0}, {ActExtra, 9, 0}} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m, other := newMachine(1), newMachine(2)
	w.asks(m, 1, id, 4, nil)
	w.asks(other, 2, id, 3, nil)
	m.giveBack(id, 1)
	w.asks(m, 3, id, 3, nil)
	split := ChangeItem{Change: ItemChange{ActivationID: id, Do: Split, Copies: 5, To: testID(t, 2)}}
	_, err := w.do(split)
	if code(err) != capability.ErrTooFew || !strings.Contains(err.Error(), "3 on "+m.id.Host.Short()) || !strings.Contains(err.Error(), "3 on "+other.id.Host.Short()) {
		t.Fatalf("more than is left: %v", err)
	}
	before := w.book.Hosts()
	split.Change.Copies = 4
	w.mustDo(split)
	for n, h := range w.book.Hosts() {
		if len(h.Holds) != len(before[n].Holds) || h.Holds[0] != before[n].Holds[0] || h.Serial != before[n].Serial {
			t.Errorf("a split touched %s: %+v", h.Host.Short(), h.Holds)
		}
	}
	i, _ := w.book.Item(id, w.now)
	part, _ := w.book.Item(split.Change.To, w.now)
	if i.Copies != 6 || i.Used != 6 || part.Copies != 4 || part.Used != 0 || part.Life.SplitFrom != id || part.Issued != w.now || part.Model != "M" || part.Acts[0].Total != 1 {
		t.Errorf("split into %+v and %+v", i, part)
	}
	// One return was allowed of the item, and is done; the part does not begin anew.
	w.asks(m, 4, part.ActivationID, 2, nil)
	m.giveBack(part.ActivationID, 1)
	if r := w.mustDo(m.request(5)).Response; len(r.ReturnsRefused()) != 1 || r.Denials[0].Code != capability.ErrSpent {
		t.Errorf("refused %+v", r.Denials)
	}
}

func TestSplitNamesEightMachines(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	for n := range byte(10) {
		w.asks(newMachine(n+1), uint64(n), id, 1, nil)
	}
	_, err := w.do(ChangeItem{Change: ItemChange{ActivationID: id, Do: Split, Copies: 1, To: testID(t, 2)}})
	if err == nil || !strings.HasSuffix(err.Error(), " and 2 machines more") {
		t.Error(err)
	}
}

// TestMerge: the other ID lives on where machines have it, and what comes back goes over, through however many merges.
func TestMerge(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{ActReturn, 4, 100 * day}} })
	like := func(i *Item) { i.Model, i.Expiry = "M", w.now+90*day }
	a, b, c := w.entitle(1, 10, like), w.entitle(2, 10, like), w.entitle(3, 10, like)
	merge := func(id, to capability.ActivationID) {
		t.Helper()
		w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Merge, To: to}})
	}
	says := func(id capability.ActivationID, copies, used, left uint32, s State) {
		t.Helper()
		if i, _ := w.book.Item(id, w.now); i.Copies != copies || i.Used != used || i.Left != left || i.State != s {
			t.Errorf("%s: %d copies, %d used, %d left, %s; want %d, %d, %d, %s", id, i.Copies, i.Used, i.Left, i.State, copies, used, left, s)
		}
	}
	m, n := newMachine(1), newMachine(2)
	w.asks(m, 1, a, 4, nil)
	w.asks(n, 2, b, 3, nil)
	m.giveBack(a, 1)
	w.asks(m, 3, a, 3, nil)
	merge(a, b)
	says(a, 3, 3, 0, Merged)
	says(b, 17, 3, 14, PartlyUsed)
	_, r := w.asks(m, 4, a, 3, nil)
	if m.rights[a] != 3 || r.Status != capability.StatusOK {
		t.Errorf("the machine has %d, %s", m.rights[a], r.Status)
	}
	merge(b, c)
	says(b, 3, 3, 0, Merged)
	says(c, 24, 0, 24, Available)

	m.giveBack(a, 2)
	m.apply(w.mustDo(m.request(5)).Response)
	says(a, 1, 1, 0, Merged)
	says(c, 26, 0, 26, Available)
	// The returns of all of it are counted together.
	n.giveBack(b, 1)
	n.apply(w.mustDo(n.request(6)).Response)
	says(b, 2, 2, 0, Merged)
	says(c, 27, 0, 27, Available)
	m.giveBack(a, 1)
	m.apply(w.mustDo(m.request(7)).Response)
	says(a, 0, 0, 0, Inactive)
	says(c, 28, 0, 28, Available)
	if i, _ := w.book.Item(c, w.now); i.Acts[0].Total != 4 || len(i.Acts[0].Times) != 4 {
		t.Errorf("counted %+v", i.Acts)
	}
	n.giveBack(b, 1)
	if r := w.mustDo(n.request(8)).Response; len(r.ReturnsRefused()) != 1 || r.Denials[0].Code != capability.ErrSpent {
		t.Errorf("refused %+v", r.Denials)
	}
	// What is done with the whole is done with its parts.
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: c, Do: Renew, Expiry: w.now + 95*day}})
	w.change(c, Suspend)
	if i, _ := w.book.Item(b, w.now); i.Expiry != w.now+95*day || i.Life.Suspended != w.now {
		t.Errorf("the part is %+v", i)
	}
	w.change(c, Resume)
	if i, _ := w.book.Item(b, w.now); i.Life.Suspended != 0 {
		t.Errorf("the part is %+v", i)
	}
	restored, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if i := restored.byID[c]; i.incoming() != 2 || len(i.whole()) != 3 {
		t.Errorf("%d copies may come back, of %d items", i.incoming(), len(i.whole()))
	}
	w.change(a, Archive)
	says(a, 0, 0, 0, Obsolete)
}

// TestMergeWithoutCredit: what is not credited comes back to nobody.
func TestMergeWithoutCredit(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.NoCredit = true })
	like := func(i *Item) { i.Model = "M" }
	a, b := w.entitle(1, 10, like), w.entitle(2, 10, like)
	m := newMachine(1)
	w.asks(m, 1, a, 4, nil)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: a, Do: Merge, To: b}})
	m.giveBack(a, 3)
	w.mustDo(m.request(2))
	one, two := w.book.byID[a], w.book.byID[b]
	if one.Copies != 1 || one.Life.Gone != 3 || two.Copies != 16 || two.incoming() != 1 {
		t.Errorf("%+v and %+v, %d may come back", one.Item, two.Item, two.incoming())
	}
}

// TestOverage: below what is in use nothing is taken and nothing is given, until what is in use fits again.
func TestOverage(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m, n := newMachine(1), newMachine(2)
	w.asks(m, 1, id, 5, nil)
	w.asks(n, 2, id, 4, nil)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetCopies, Copies: 6}})
	i, _ := w.book.Item(id, w.now)
	if i.Over != 3 || i.Left != 0 || !i.Life.Cut || i.State != FullyUsed {
		t.Errorf("the item is %+v", i)
	}
	line, _ := w.asks(m, 3, id, 6, func(a *Answer) { a.Request.Desired[0].Partial = true })
	if line.Count != 5 || line.Denial.Code != capability.ErrTooFew || line.Denial.Total != 6 || line.Denial.Used != 9 || !strings.Contains(line.Denial.Detail, "3 more are in use") || m.rights[id] != 5 {
		t.Errorf("line %+v, %d copies", line, m.rights[id])
	}
	// Of what comes back with the same request only what is above the overage is there to give.
	n.giveBack(id, 4)
	line, _ = w.asks(n, 4, id, 2, nil)
	if line.Count != 0 || line.Denial.Available != 1 || n.rights[id] != 0 {
		t.Errorf("line %+v", line)
	}
	if i, _ = w.book.Item(id, w.now); i.Over != 0 || i.Left != 1 || i.Life.Cut {
		t.Errorf("the item is %+v", i)
	}
	if line, _ = w.asks(n, 5, id, 1, nil); line.Count != 1 {
		t.Errorf("line %+v", line)
	}
	w.forced(Entry{Answer: &Answered{Identity: n.id, Proven: true, Epoch: n.epoch, Life: n.life, Holds: []Fulfillment{{id, 2}},
		Request: Known{Number: n.number + 1, Serial: n.applied + 1, Digest: capability.Digest{9}}}}, "7 of 6 copies")
}

// TestExtra: copies beyond those entitled are given like others.
func TestExtra(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{ActExtra, 3, 0}} })
	id := w.entitle(1, 2, func(i *Item) { i.Model = "M" })
	extra := func(n uint32) error {
		_, err := w.do(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetExtra, Copies: n}})
		return err
	}
	if err := extra(4); code(err) != capability.ErrSpent {
		t.Error(err)
	}
	if err := extra(2); err != nil {
		t.Error(err)
	}
	m := newMachine(1)
	if line, _ := w.asks(m, 1, id, 5, func(a *Answer) { a.Request.Desired[0].Partial = true }); line.Count != 4 || line.Denial.Total != 4 {
		t.Errorf("line %+v", line)
	}
	if err := extra(1); err != nil {
		t.Error(err)
	}
	if i, _ := w.book.Item(id, w.now); i.Over != 1 || i.Acts[0].Total != 2 {
		t.Errorf("the item is %+v", i)
	}
	if err := extra(3); code(err) != capability.ErrSpent { // 2 were allowed before, and this would be 2 more
		t.Error(err)
	}
	if err := extra(2); err != nil {
		t.Error(err)
	}
}

// TestSuspendedRightsEnd: rights that end after each response are not led on by responses after the suspension.
func TestSuspendedRightsEnd(t *testing.T) {
	p := anyTier()
	p.Limits = []TierLimit{{Tier: Hardware, Life: 10 * day}}
	w := newWorld(t, p)
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	w.asks(m, 1, id, 3, nil)
	w.now += 2 * day
	w.change(id, Suspend)
	until := w.now + 10*day
	w.now += 3 * day
	if _, r := w.asks(m, 2, id, 3, nil); r.Items[0].Expiry != until || r.Items[0].Copies != 3 {
		t.Errorf("after the suspension %+v", r.Items)
	}
	w.change(id, Resume)
	if _, r := w.asks(m, 3, id, 3, nil); r.Items[0].Expiry != w.now+10*day {
		t.Errorf("after its end %+v", r.Items)
	}
}

// TestRehostHasToFit: what an item, an account or a model forbids, two persons do not allow.
func TestRehostHasToFit(t *testing.T) {
	for name, c := range map[string]struct {
		then func(w *world, id capability.ActivationID, to *machine)
		code capability.Code
	}{
		"nothing":        {func(*world, capability.ActivationID, *machine) {}, 0},
		"model inactive": {func(w *world, _ capability.ActivationID, _ *machine) { w.end(ModelInactive) }, 0},
		"merged": {func(w *world, id capability.ActivationID, _ *machine) {
			w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Merge, To: w.entitle(2, 1, func(i *Item) { i.Model = "M" })}})
		}, 0},
		"suspended": {func(w *world, id capability.ActivationID, _ *machine) { w.change(id, Suspend) }, capability.ErrSuspended},
		"retiring":  {func(w *world, id capability.ActivationID, _ *machine) { w.mustDo(Retire{ActivationID: id}) }, capability.ErrRetired},
		"another account": {func(w *world, _ capability.ActivationID, to *machine) {
			w.asks(to, 7, w.entitle(2, 1, func(i *Item) { i.Customer = "Rival" }), 1, nil)
		}, capability.ErrAccount},
		"virtual": {func(_ *world, _ capability.ActivationID, to *machine) { to.id.Tier = Virtual }, capability.ErrVirtual},
	} {
		w := newWorld(t, anyTier())
		w.licenseModel("M", func(m *LicenseModel) { m.NoVirtual = true })
		id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
		from, to := newMachine(1), newMachine(2)
		w.asks(from, 1, id, 3, nil)
		c.then(w, id, to)
		a := to.request(9)
		a.Rehost, a.Repair, a.Approved = from.id.Host, "it burnt", "another"
		d, err := w.do(a)
		if code(err) != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (d.Response.Items[0].Copies != 3 || d.Host.Account != "ACME Works") {
			t.Errorf("%s: %+v, that of %q", name, d.Response.Items, d.Host.Account)
		}
	}
}

// TestNoConditionExcusesTheCounter: whatever a machine says of its storage, within one life of it the counter does not go back.
func TestNoConditionExcusesTheCounter(t *testing.T) {
	conditions := []capability.Code{0, capability.ErrStorageGone, capability.ErrRollback, capability.ErrCorrupt, capability.ErrSealed, capability.ErrCounter, capability.ErrTPMCleared, capability.ErrBinding, 65535}
	for _, policy := range []Policy{anyTier(), warning()} {
		for _, c := range conditions {
			for _, repair := range []string{"", "the disk died"} {
				w := newWorld(t, policy)
				id := w.entitle(1, 10, nil)
				m := newMachine(1)
				m.epoch = 9
				w.asks(m, 1, id, 3, nil)
				old := m.copied()
				old.epoch = 8
				a := old.request(2, want(id, 5))
				a.Request.Condition, a.Repair = c, repair
				a.Digest = w.codec.RequestDigest(a.Request)
				if _, err := w.do(a); code(err) != capability.ErrRollbackSuspect {
					t.Errorf("%s, repair %q: %v", c, repair, err)
				}
				if h, _ := w.book.Host(m.id.Host); h.Epoch != 9 || len(h.Incidents) != 1 || h.held(id) != 3 {
					t.Errorf("%s: on record is %+v", c, h)
				}
				// A storage that was made anew says so with a life of its own, and its counter is not below either.
				fresh := m.wiped()
				fresh.epoch = 8
				a = fresh.request(3)
				a.Request.Condition, a.Repair, a.Approved = c, "the disk died", "another"
				a.Digest = w.codec.RequestDigest(a.Request)
				if _, err := w.do(a); code(err) != capability.ErrRollbackSuspect {
					t.Errorf("%s, made anew: %v", c, err)
				}
				fresh = m.wiped()
				a = fresh.request(4)
				a.Request.Condition, a.Repair, a.Approved = c, "the disk died", "another"
				a.Digest = w.codec.RequestDigest(a.Request)
				if _, err := w.do(a); err != nil {
					t.Errorf("%s, made anew above: %v", c, err)
				}
			}
		}
	}
}

// TestCatalogSurvives: a snapshot has all of it, and one that says otherwise is not taken.
func TestCatalogSurvives(t *testing.T) {
	w := newWorld(t, anyTier())
	w.account("ACME", "")
	w.mustDo(SetProduct{Product: Product{Name: "P", Features: features("f", 1)}})
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{ActReturn, 5, day}}; m.HostTypes = []HostType{1} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m := newMachine(1)
	w.asks(m, 1, id, 3, nil)
	m.giveBack(id, 1)
	w.asks(m, 2, id, 2, nil)
	b, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if i, _ := b.Item(id, w.now); len(b.Accounts()) != 1 || len(b.Products()) != 1 || len(b.Models()) != 1 || len(i.Acts) != 1 || len(i.Acts[0].Times) != 1 || b.byKey[m.id.Host].Account != "ACME Works" {
		t.Errorf("restored is %+v", i)
	}
	for words, damage := range map[string]func(b *Book){
		"account \"ACME\"":          func(b *Book) { b.catalog.accounts.list[0].Parent = "ACME" },
		"2 accounts are found as 1": func(b *Book) { b.catalog.accounts.list = append(b.catalog.accounts.list, &Account{Name: "X"}) },
		"product \"P\"":             func(b *Book) { b.catalog.products.list[0].Features = nil },
		"2 products are found as 1": func(b *Book) { b.catalog.products.list = append(b.catalog.products.list, &Product{Name: "X"}) },
		"license model \"M\"":       func(b *Book) { b.catalog.models.list[0].Kind = 9 },
		"2 license models":          func(b *Book) { b.catalog.models.list = append(b.catalog.models.list, &LicenseModel{Name: "X"}) },
		"no license model \"N\"":    func(b *Book) { b.byID[id].Model = "N" },
		"stage 5":                   func(b *Book) { b.byID[id].Life.Stage = 5 },
		"it is cut or not":          func(b *Book) { b.byID[id].Life.Cut = true },
		"more are in use":           func(b *Book) { b.byID[id].Copies = 1 },
		"it was merged into":        func(b *Book) { b.byID[id].Life.MergedTo = id },
		"a reason of 257 bytes":     func(b *Book) { b.byID[id].Life.Reason = strings.Repeat("x", 257) },
		"return was done 0 times":   func(b *Book) { b.byID[id].ties.acts[0].Total = 0 },
		"act 7 was done":            func(b *Book) { b.byID[id].ties.acts[0].Act = 7 },
		"the times of 2 are known":  func(b *Book) { b.byID[id].ties.acts[0].Times = []capability.Time{2, 1} },
	} {
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		damage(b)
		if err := b.Check(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	for words, damage := range map[string]func(b *Book){
		"was merged into itself":   func(b *Book) { b.byID[id].Life.MergedTo = id },
		"which is not in the book": func(b *Book) { b.byID[id].Life.MergedTo = testID(t, 9) },
	} {
		b, _ := Restore(w.book.Snapshot())
		damage(b)
		if _, err := Restore(b.Snapshot()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
}
