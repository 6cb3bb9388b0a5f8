package entitlement

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// licenseModel puts a license model into use.
func (w *world) licenseModel(name string, change func(*LicenseModel)) {
	w.t.Helper()
	m := LicenseModel{Name: name, State: ModelDeployed}
	if change != nil {
		change(&m)
	}
	w.mustDo(SetModel{Model: m})
}

func TestModelBounds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*LicenseModel)
		words  string // empty: allowed
	}{
		"as it is": {func(*LicenseModel) {}, ""},
		"all of a floating one": {func(m *LicenseModel) {
			m.Overdraft, m.GraceDays, m.Renew, m.Borrow, m.Tolerance = 100, 366, 90, capability.MaxInterval, capability.MaxGrace
		}, ""},
		"metered":                 {func(m *LicenseModel) { m.Metered, m.Reusable, m.UndoInterval = true, true, capability.MaxInterval }, ""},
		"no name":                 {func(m *LicenseModel) { m.Name = "" }, "0 bytes"},
		"state":                   {func(m *LicenseModel) { m.State = 4 }, "state 4"},
		"kind":                    {func(m *LicenseModel) { m.Kind = 3 }, "kind 3"},
		"aggregation":             {func(m *LicenseModel) { m.Aggregation = 2 }, "aggregation 2"},
		"tier":                    {func(m *LicenseModel) { m.MinimumTier = 4 }, "tier 4"},
		"reusable, not metered":   {func(m *LicenseModel) { m.Reusable = true }, "not metered"},
		"undone, not metered":     {func(m *LicenseModel) { m.UndoInterval = 1 }, "not metered"},
		"metered users":           {func(m *LicenseModel) { m.Metered, m.Kind = true, FixedUser }, "no users"},
		"the most of metered":     {func(m *LicenseModel) { m.Metered, m.Aggregation = true, Max }, "add up"},
		"overdraft above all":     {func(m *LicenseModel) { m.Overdraft = 101 }, "101%"},
		"overdraft of a node":     {func(m *LicenseModel) { m.Overdraft, m.Kind = 1, NodeLocked }, "node-locked"},
		"overdraft of a user":     {func(m *LicenseModel) { m.Overdraft, m.Kind = 1, FixedUser }, "fixed-user"},
		"long grace":              {func(m *LicenseModel) { m.GraceDays = 367 }, "367 days"},
		"late renewal":            {func(m *LicenseModel) { m.Renew = 91 }, "91%"},
		"long lease":              {func(m *LicenseModel) { m.Borrow = capability.MaxInterval + 1 }, "leases of"},
		"short lease":             {func(m *LicenseModel) { m.Borrow = 59 }, "at least"},
		"negative lease":          {func(m *LicenseModel) { m.Borrow = -1 }, "leases of"},
		"long tolerance":          {func(m *LicenseModel) { m.Tolerance = capability.MaxGrace + 1 }, "tolerance"},
		"unknown type":            {func(m *LicenseModel) { m.HostTypes = []HostType{0} }, "UNKNOWN"},
		"type of another century": {func(m *LicenseModel) { m.HostTypes = []HostType{257} }, "not known"},
		"a type twice":            {func(m *LicenseModel) { m.HostTypes = []HostType{1, 1} }, "there twice"},
		"17 types": {func(m *LicenseModel) {
			for n := range 17 {
				m.HostTypes = append(m.HostTypes, HostType(n+1))
			}
		}, "17 host ID types"},
		"a limit twice":          {func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn}, {Act: ActReturn, Count: 1}} }, "there twice"},
		"a limit of nothing":     {func(m *LicenseModel) { m.Limits = []ActLimit{{Act: 0, Count: 1}} }, "not counted"},
		"a limit beyond":         {func(m *LicenseModel) { m.Limits = []ActLimit{{Act: 5, Count: 1}} }, "not counted"},
		"more than can be kept":  {func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn, Count: 501, Span: 3600}} }, "501 times"},
		"as many as can be kept": {func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn, Count: 500, Span: 3600}} }, ""},
		"a span of a second":     {func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn, Count: 1, Span: 3599}} }, "span of"},
		"a span of a century": {func(m *LicenseModel) {
			m.Limits = []ActLimit{{Act: ActReturn, Count: 1, Span: capability.MaxInterval + 1}}
		}, "span of"},
	} {
		m := LicenseModel{Name: "M"}
		c.change(&m)
		err := m.Validate()
		if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
}

// TestModelStates: from draft to deployed, inactive and obsolete, never back, and nothing of a deployed one changes.
func TestModelStates(t *testing.T) {
	for from := ModelDraft; from <= ModelObsolete; from++ {
		for to := ModelDraft; to <= ModelObsolete; to++ {
			w := newWorld(t, anyTier())
			m := LicenseModel{Name: "M"}
			for ; m.State < from; m.State++ {
				w.mustDo(SetModel{Model: m})
			}
			w.mustDo(SetModel{Model: m})
			moved := m
			moved.State = to
			allowed := to >= from && (from != ModelDraft || to != ModelInactive)
			if _, err := w.do(SetModel{Model: moved}); (err == nil) != allowed || err != nil && !errors.Is(err, ErrCatalog) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
			if !allowed {
				w.forced(Entry{Model: &moved}, "license model")
				continue
			}
			changed := moved
			changed.Limits = []ActLimit{{Act: ActReturn, Count: 9}}
			draft := from == ModelDraft && to == ModelDraft
			if _, err := w.do(SetModel{Model: changed}); (err == nil) != draft {
				t.Errorf("%s, then %s: changed: %v", from, to, err)
			}
		}
	}
	w := newWorld(t, anyTier())
	w.cannot(SetModel{Model: LicenseModel{Name: "M", State: ModelInactive}}, "would begin inactive")
}

func TestItemsTakeOfTheirModel(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("Use", func(m *LicenseModel) { m.Metered, m.Reusable, m.UndoInterval = true, true, 600 })
	id := w.entitle(1, 5, func(i *Item) { i.Model = "Use" })
	if i, _ := w.book.Item(id, w.now); !i.Metered || !i.Reusable || i.UndoInterval != 600 {
		t.Errorf("the item is %+v", i.Item)
	}
	item := func(change func(*Item)) Entitle {
		i := Item{ActivationID: testID(t, 9), Customer: "C", EntitlementID: "E", Product: "P", Features: features("f", 1), Copies: 1}
		change(&i)
		return Entitle{Item: i}
	}
	w.mustDo(SetModel{Model: LicenseModel{Name: "Draft"}})
	w.cannot(item(func(i *Item) { i.Model = "Draft" }), "is draft")
	w.cannot(item(func(i *Item) { i.Model = "Missing" }), "no license model")
	w.cannot(item(func(i *Item) { i.Model, i.Metered = "Use", true }), "are said by the license model")
	w.licenseModel("Plain", nil)
	w.cannot(item(func(i *Item) { i.Model, i.Metered = "Plain", true }), "are said by the license model")
	w.cannot(item(func(i *Item) { i.Model, i.User = "Plain", "ann" }), "has no user")
	w.cannot(item(func(i *Item) { i.Copies = 0 }), "0 copies")
	w.cannot(item(func(i *Item) { i.Life.Extra = 1 }), "nothing was done with it yet")
	w.cannot(item(func(i *Item) { i.Life.Stage = StageRetiring }), "nothing was done with it yet")
	w.cannot(item(func(i *Item) { i.Marks = &Marks{Notice: "a\x1bb"} }), "not allowed")
	w.mustDo(SetModel{Model: LicenseModel{Name: "Use", State: ModelInactive, Metered: true, Reusable: true, UndoInterval: 600}})
	w.cannot(item(func(i *Item) { i.Model = "Use" }), "is inactive")
	bad := item(func(i *Item) { i.Model = "Use" })
	w.forced(Entry{Item: &bad.Item}, "is inactive")
}

// asks has a machine ask for copies of an item and gives the line of the answer.
func (w *world) asks(m *machine, salt uint64, id capability.ActivationID, n uint32, change func(*Answer)) (capability.Line, *capability.Response) {
	w.t.Helper()
	a := m.request(salt, want(id, n))
	if change != nil {
		change(&a)
		a.Digest = w.codec.RequestDigest(a.Request)
		m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	}
	r := w.mustDo(a).Response
	m.apply(r)
	if err := r.Validate(); err != nil {
		w.fatalf("%v", err)
	}
	return r.Lines[0], r
}

// TestWhoGetsNothing: each reason is a refusal of the line in a response that leaves the machine what it has.
func TestWhoGetsNothing(t *testing.T) {
	policy := anyTier()
	policy.Excluded = []HostType{HostType(hostid.DeviceKey)}
	for name, c := range map[string]struct {
		model  func(*LicenseModel)
		answer func(*Answer)
		then   func(w *world, id capability.ActivationID) // after the machine has one copy
		code   capability.Code
		words  string
	}{
		"nothing is wrong":   {code: 0},
		"a virtual TPM":      {func(m *LicenseModel) { m.NoVirtual = true }, func(a *Answer) { a.Identity.Tier = Virtual }, nil, capability.ErrVirtual, "virtual machine"},
		"says it is virtual": {func(m *LicenseModel) { m.NoVirtual = true }, func(a *Answer) { a.Request.Platform.Virtual = "kvm" }, nil, capability.ErrVirtual, "kvm, container bare"},
		"in a container":     {func(m *LicenseModel) { m.NoVirtual = true }, func(a *Answer) { a.Request.Platform = capability.Platform{Virtual: "bare", Container: "docker"} }, nil, capability.ErrVirtual, "bare, container docker"},
		"says it is bare":    {func(m *LicenseModel) { m.NoVirtual = true }, func(a *Answer) { a.Request.Platform = capability.Platform{Virtual: "bare", Container: "bare"} }, nil, 0, ""},
		"virtual is allowed": {nil, func(a *Answer) { a.Request.Platform.Virtual = "kvm" }, nil, 0, ""},
		"another type":       {func(m *LicenseModel) { m.HostTypes = []HostType{HostType(hostid.DeviceKey), HostType(hostid.Flexid9)} }, nil, nil, capability.ErrHostType, "TPM_EK, and it is for DEVICE_KEY, FLEXID9"},
		"its type":           {func(m *LicenseModel) { m.HostTypes = []HostType{HostType(hostid.TPMEK)} }, nil, nil, 0, ""},
		"lowest tier":        {func(m *LicenseModel) { m.MinimumTier = Hardware }, func(a *Answer) { a.Identity.Tier = Virtual }, nil, capability.ErrTier, "hardware is needed"},
		"model inactive":     {nil, nil, func(w *world, _ capability.ActivationID) { w.end(ModelInactive) }, capability.ErrLicenseModel, "inactive"},
		"model obsolete":     {nil, nil, func(w *world, _ capability.ActivationID) { w.end(ModelObsolete) }, capability.ErrLicenseModel, "obsolete"},
		"suspended":          {nil, nil, func(w *world, id capability.ActivationID) { w.change(id, Suspend) }, capability.ErrSuspended, "since"},
		"suspended, resumed": {nil, nil, func(w *world, id capability.ActivationID) { w.change(id, Suspend); w.change(id, Resume) }, 0, ""},
		"retiring":           {nil, nil, func(w *world, id capability.ActivationID) { w.mustDo(Retire{ActivationID: id}) }, capability.ErrRetired, "asked back"},
		"inactive":           {nil, nil, func(w *world, id capability.ActivationID) { w.mustDo(Retire{ActivationID: id}) }, capability.ErrRetired, "asked back"},
		"obsolete":           {nil, nil, func(w *world, id capability.ActivationID) { w.stage(id, StageObsolete) }, capability.ErrRetired, "given back"},
		"merged": {nil, nil, func(w *world, id capability.ActivationID) {
			w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Merge, To: w.entitle(2, 1, func(i *Item) { i.Model = "M" })}})
		}, capability.ErrRetired, "was merged into"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, policy)
			w.licenseModel("M", c.model)
			id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
			m, salt := newMachine(1), uint64(1)
			var line capability.Line
			if c.then != nil {
				w.asks(m, salt, id, 1, nil)
				if name == "inactive" {
					m.giveBack(id, 1)
					w.asks(m, 100, id, 0, nil)
				}
				c.then(w, id)
			}
			line, r := w.asks(m, salt+1, id, 3, c.answer)
			if line.Denial.Code != c.code || !strings.Contains(line.Denial.Detail, c.words) || c.code != 0 && (line.Status != capability.LineInsufficient || line.Denial.Asked != 3 || line.Denial.Subject != string(id)) {
				t.Errorf("line %+v", line)
			}
			had := uint32(0)
			if c.then != nil && c.code != capability.ErrRetired || name == "merged" {
				had = 1
			}
			if c.code == 0 {
				had = 3
			}
			if line.Count != max(had, line.Count) || m.rights[id] != had || c.code != 0 && r.Status != capability.StatusPartly {
				t.Errorf("%d copies, %d in the line, status %s; had %d", m.rights[id], line.Count, r.Status, had)
			}
		})
	}
	w := newWorld(t, policy)
	id := w.entitle(1, 10, nil)
	device := newMachine(1)
	device.id.Host.Type = hostid.DeviceKey
	if line, _ := w.asks(device, 1, id, 1, nil); line.Denial.Code != capability.ErrHostType || !strings.Contains(line.Denial.Detail, "DEVICE_KEY") {
		t.Errorf("line %+v", line)
	}
}

// end moves the model of the tests to another state.
func (w *world) end(state ModelState) {
	w.t.Helper()
	m, _ := w.book.Model("M")
	m.State = state
	w.mustDo(SetModel{Model: m})
}

func (w *world) change(id capability.ActivationID, do Alter) {
	w.t.Helper()
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: do}})
}

// stage puts an item where other commands put it.
func (w *world) stage(id capability.ActivationID, s Stage) {
	for _, b := range []*Book{w.book, w.replica} {
		b.byID[id].Life.Stage = s
	}
}

func TestNoPartial(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("Whole", func(m *LicenseModel) { m.NoPartial = true })
	whole, any := w.entitle(1, 4, func(i *Item) { i.Model = "Whole" }), w.entitle(2, 4, nil)
	m := newMachine(1)
	a := m.request(1, want(whole, 10), want(any, 10))
	a.Request.Desired[0].Partial, a.Request.Desired[1].Partial = true, true
	r := w.mustDo(a).Response
	if r.Lines[0].Count != 0 || r.Lines[0].Status != capability.LineInsufficient || r.Lines[1].Count != 4 || r.Lines[1].Status != capability.LinePartial {
		t.Errorf("lines %+v", r.Lines)
	}
}

// TestModelReachesTheMachine: what a model says is in the line items, or in the policy, of the response.
func TestModelReachesTheMachine(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) {
		m.Overdraft, m.GraceDays, m.Borrow, m.Renew = 15, 10, 3*day, 50
	})
	w.licenseModel("Seats", func(m *LicenseModel) { m.Kind, m.Tolerance, m.Renew = FixedUser, day, 60 })
	w.licenseModel("Strict", func(m *LicenseModel) { m.Kind = FixedUser })
	expiry := w.now + 100*day
	id := w.entitle(1, 10, func(i *Item) {
		i.Model, i.Expiry, i.Features = "M", expiry, features("one", 1, "many", 7)
		i.Marks = &Marks{VendorString: "v", Notice: "n", SerialNumber: "s"}
	})
	m := newMachine(1)
	_, r := w.asks(m, 1, id, 9, nil)
	for n, c := range []struct{ count, over uint32 }{{9, 1}, {63, 9}} {
		i := r.Items[n]
		if i.Count != c.count || i.Overdraft != c.over || i.Borrow != 3*day || i.Grace || i.Expiry != expiry+10*day || i.VendorString != "v" || i.Notice != "n" || i.SerialNumber != "s" {
			t.Errorf("item %d: %+v", n, i)
		}
	}
	if r.Policy.RenewPercent != 50 || r.Policy.Tolerance != 0 {
		t.Errorf("policy %+v", r.Policy)
	}
	// Without a model the policy's word counts, and the most impatient of all.
	_, r = w.asks(m, 2, w.entitle(2, 1, nil), 1, nil)
	if r.Policy.RenewPercent != 15 {
		t.Errorf("policy %+v", r.Policy)
	}
	seats := newMachine(2)
	_, r = w.asks(seats, 3, w.entitle(3, 1, func(i *Item) { i.Model, i.User = "Seats", "ann" }), 1, nil)
	if r.Policy.Tolerance != day || r.Policy.RenewPercent != 60 {
		t.Errorf("policy %+v", r.Policy)
	}
	_, r = w.asks(seats, 4, w.entitle(4, 1, func(i *Item) { i.Model, i.User = "Strict", "ann" }), 1, nil)
	if r.Policy.Tolerance != 0 {
		t.Errorf("the stricter of two seats has a tolerance of %s", r.Policy.Tolerance)
	}

	// In its grace an item goes on where it is, is served last, and is given to nobody.
	for _, c := range []struct {
		at    capability.Time
		state State
		grace bool
	}{{expiry - 1, FullyUsed, false}, {expiry, InGrace, true}, {expiry + 10*day - 1, InGrace, true}, {expiry + 10*day, Expired, true}} {
		w.now = c.at
		line, r := w.asks(m, uint64(c.at), id, 10, nil)
		at := slices.IndexFunc(r.Items, func(i capability.LineItem) bool { return i.ActivationID == id })
		if i, _ := w.book.Item(id, w.now); i.State != c.state || r.Items[at].Grace != c.grace || r.Items[at].Expiry != expiry+10*day {
			t.Errorf("at %s the item is %s, %+v", c.at, i.State, r.Items[at])
		}
		if (line.Denial.Code == capability.ErrBookExpired) != c.grace {
			t.Errorf("at %s the line is %+v", c.at, line)
		}
		if !c.grace {
			m.giveBack(id, 1)
			w.asks(m, uint64(c.at)+1, id, 9, nil)
		}
	}
}

// TestAggregation: of equal records of one machine whose model says max, the greatest counts; each can still be returned by its own ID.
func TestAggregation(t *testing.T) {
	for _, c := range []struct {
		is   Aggregation
		want uint64
	}{{Sum, 201_000}, {Max, 200_000}} {
		w := newWorld(t, anyTier())
		w.licenseModel("M", func(m *LicenseModel) { m.Aggregation, m.Overdraft = c.is, 10 })
		id := func(n uint64, perCopy int, change func(*Item)) capability.ActivationID {
			return w.entitle(n, 1, func(i *Item) {
				i.Model, i.Features = "M", features("render", perCopy)
				if change != nil {
					change(i)
				}
			})
		}
		small, great := id(1, 1_000, nil), id(2, 200_000, nil)
		m := newMachine(1)
		a := m.request(1, want(small, 1), want(great, 1))
		r := w.mustDo(a).Response
		m.apply(r)
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		counted := func(r *capability.Response) (sum, over uint64) {
			for _, i := range r.Items {
				sum, over = sum+uint64(i.Count), over+uint64(i.Overdraft)
			}
			return sum, over
		}
		if sum, over := counted(r); sum != c.want || over != c.want/10 || len(r.Items) != 2 || r.Items[0].Copies != 1 || r.Items[1].Copies != 1 {
			t.Errorf("%s: %d counts and %d above them in %+v", c.is, sum, over, r.Items)
		}
		// What differs in anything is a record of its own.
		sum := c.want
		for n, change := range []func(*Item){
			func(i *Item) { i.Features[0].Version.Minor++ }, func(i *Item) { i.Marks = &Marks{VendorString: "v"} }, func(i *Item) { i.Marks = &Marks{Notice: "n"} },
			func(i *Item) { i.Marks = &Marks{SerialNumber: "s"} }, func(i *Item) { i.Expiry = w.now + day }, func(i *Item) { i.Model = "" }, func(i *Item) { i.Features[0].Name = "export" },
		} {
			other := id(uint64(10+n), 7, change)
			sum += 7
			if _, r := w.asks(m, uint64(10+n), other, 1, nil); true {
				if got, _ := counted(r); got != sum {
					t.Errorf("%s, difference %d: %d counts where %d are", c.is, n, got, sum)
				}
			}
		}
		// When the greatest goes back, the other one counts.
		m.giveBack(great, 1)
		r = w.mustDo(m.request(99)).Response
		if got, _ := counted(r); len(r.Acknowledged) != 1 || got != sum-c.want+1_000 {
			t.Errorf("%s: %d counts are left", c.is, got)
		}
		m.apply(r)
		m.giveBack(small, 1)
		if r = w.mustDo(m.request(100)).Response; len(r.Acknowledged) != 1 {
			t.Errorf("%s: %+v", c.is, r.Denials)
		}
	}
}

func TestNamesOfModels(t *testing.T) {
	roundTrip := func(in, out interface{ UnmarshalText([]byte) error }) {
		t.Helper()
		b, err := json.Marshal(in)
		if err != nil || json.Unmarshal(b, out) != nil {
			t.Errorf("%s: %v", b, err)
		}
		if again, _ := json.Marshal(out); string(again) != string(b) {
			t.Errorf("%s is read as %s", b, again)
		}
		if out.UnmarshalText([]byte("nonsense")) == nil {
			t.Errorf("nonsense is one of %s", b)
		}
	}
	for n := range uint8(4) {
		s := ModelState(n)
		roundTrip(&s, new(ModelState))
		a := Act(n + 1)
		roundTrip(&a, new(Act))
	}
	for k := Floating; k <= FixedUser; k++ {
		roundTrip(&k, new(Kind))
	}
	for a := Sum; a <= Max; a++ {
		roundTrip(&a, new(Aggregation))
	}
	for ty := HostType(1); ty <= HostType(hostid.DeviceKey); ty++ {
		roundTrip(&ty, new(HostType))
	}
	for text, want := range map[string]string{
		ModelState(9).String(): "state 9", Kind(9).String(): "kind 9", Act(9).String(): "act 9", Act(0).String(): "act 0", Alter(0).String(): "change 0", Alter(10).String(): "change 10", SetCopies.String(): "quantity",
	} {
		if text != want {
			t.Errorf("%q where %q is wanted", text, want)
		}
	}
}

func TestPolicyHostTypes(t *testing.T) {
	for words, change := range map[string]func(*Policy){
		"17 excluded": func(p *Policy) {
			for n := range 17 {
				p.Excluded = append(p.Excluded, HostType(n+1))
			}
		},
		"there twice":  func(p *Policy) { p.Excluded = []HostType{1, 1} },
		"is not known": func(p *Policy) { p.ServerType = 99 },
		"or a default": func(p *Policy) { p.ClientType, p.Excluded = 17, []HostType{17} },
	} {
		p := anyTier()
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
}
