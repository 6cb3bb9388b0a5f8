package entitlement

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// gone is a machine with 6 of 10 copies and 3 counts used, whose TPM was replaced: the machine after it, and what that asks.
func gone(t *testing.T) (w *world, id capability.ActivationID, old, m *machine, ask Answer) {
	w = newWorld(t, anyTier())
	id = w.entitle(1, 10, func(i *Item) { i.Metered = true })
	old, m = newMachine(1), newMachine(2)
	old.apply(w.mustDo(old.request(1, want(id, 6))).Response)
	used := old.request(2)
	used.Request.Metered = []capability.Meter{{ActivationID: id, Feature: "render", Count: 3}}
	used.Digest = w.codec.RequestDigest(used.Request)
	old.outstanding[len(old.outstanding)-1].Digest = used.Digest
	old.apply(w.mustDo(used).Response)
	ask = m.request(3)
	ask.Request.Condition = capability.ErrTPMCleared
	ask.Digest = w.codec.RequestDigest(ask.Request)
	m.outstanding[0].Digest = ask.Digest
	ask.By, ask.Rehost, ask.Repair, ask.Approved = "A. Ray", old.id.Host, "the board burnt", "M. Chen"
	return w, id, old, m, ask
}

func TestRehostMovesEverything(t *testing.T) {
	w, id, old, m, ask := gone(t)
	plain := ask
	plain.Rehost, plain.Repair, plain.Approved = hostid.ID{}, "", ""
	if _, err := w.do(plain); code(err) != capability.ErrRehost {
		t.Fatalf("without an order: %v", err)
	}
	d := w.mustDo(ask)
	r := d.Response
	if r.Serial != 1 || len(r.Items) != 1 || r.Items[0].Copies != 6 || r.Items[0].UsedBefore != 3 || r.Hold != w.now.Add(w.book.policy.Lease) {
		t.Errorf("%+v", r)
	}
	m.apply(r)
	if v, _ := w.book.Item(id, w.now); v.Used != 6 || len(v.Hosts) != 1 || v.Hosts[0].Host != m.id.Host {
		t.Errorf("%+v", v)
	}
	h, _ := w.book.Host(old.id.Host)
	if v := h.Moved; len(h.Holds)+len(h.Metered) != 0 || v == nil || v.To != m.id.Host || v.Time != w.now || v.By != "A. Ray" || v.Approved != "M. Chen" || v.Reason != "the board burnt" || v.Serial != 2 {
		t.Errorf("%+v, %+v", h, v)
	}
	if b, err := Restore(w.book.Snapshot()); err != nil || b.Digest() != w.book.Digest() {
		t.Fatal(err)
	}
	// The same request again is the same answer, and moves nothing.
	if d := w.mustDo(ask); d.Known == nil {
		t.Errorf("%+v", d)
	}

	// If the old machine still runs, it loses what it has and gets nothing.
	late := old.request(4, want(id, 3))                                                        // 4 are left
	late.Request.Metered = []capability.Meter{{ActivationID: id, Feature: "render", Count: 5}} // it went on, and says so
	late.Digest = w.codec.RequestDigest(late.Request)
	old.outstanding[len(old.outstanding)-1].Digest = late.Digest
	d = w.mustDo(late)
	if l := d.Response.Lines[0]; len(d.Response.Items) != 0 || l.Count != 0 || l.Denial.Code != capability.ErrRehosted || !strings.Contains(l.Denial.Detail, "the board burnt") || d.Response.Status != capability.StatusPartly {
		t.Errorf("%+v", d.Response)
	}
	old.giveBack(id, 2)
	if d := w.mustDo(old.request(5)); len(d.Credited) != 0 || d.Response.Denials[0].Code != capability.ErrReturnProof {
		t.Errorf("a return of what moved: %+v", d.Response)
	}
	if d := w.mustDo(late); d.Known == nil || d.Known.Serial != 3 {
		t.Errorf("an answer since: %+v", d)
	}

	// The board comes back repaired, and the rights with it.
	back := old.request(6)
	back.By, back.Rehost, back.Repair, back.Approved = "A. Ray", m.id.Host, "repaired", "M. Chen"
	if _, err := w.do(back); code(err) != capability.ErrNoRehost || !strings.Contains(err.Error(), "no response") {
		t.Errorf("what was used reaches it not: %v", err)
	}
	w2 := old.wiped()
	back = w2.request(7)
	back.By, back.Rehost, back.Repair, back.Approved = "A. Ray", m.id.Host, "repaired", "M. Chen"
	if r := w.mustDo(back).Response; len(r.Items) != 1 || r.Items[0].Copies != 6 || r.Items[0].UsedBefore != 3 {
		t.Errorf("%+v", r)
	}
	if h, _ := w.book.Host(old.id.Host); h.Moved != nil || h.held(id) != 6 || len(h.Past) != 1 {
		t.Errorf("%+v", h)
	}
}

// An answer from before the re-host that never reached the old machine is not handed out after it.
func TestRehostTakesOldAnswersBack(t *testing.T) {
	w, id, old, _, ask := gone(t)
	lost := old.request(4, want(id, 7)) // its response stays on the stick
	w.mustDo(lost)
	w.mustDo(ask)
	if d, err := w.do(lost); code(err) != capability.ErrRehosted || d != nil {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestRehostRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(w *world, old *machine, a *Answer)
		code   capability.Code
		says   string
	}{
		"of nobody":         {func(_ *world, _ *machine, a *Answer) { a.Rehost = newMachine(9).id.Host }, capability.ErrNoRehost, "not on record"},
		"of itself":         {func(_ *world, _ *machine, a *Answer) { a.Rehost = a.Identity.Host }, capability.ErrNoRehost, "not on record"},
		"by one person":     {func(_ *world, _ *machine, a *Answer) { a.Approved = "" }, capability.ErrNoRehost, "--approved-by"},
		"by the same twice": {func(_ *world, _ *machine, a *Answer) { a.Approved = "a. ray" }, 0, "somebody else"},
		"without a reason":  {func(_ *world, _ *machine, a *Answer) { a.Repair = "" }, 0, "needs a reason"},
		"with odd words":    {func(_ *world, _ *machine, a *Answer) { a.Repair = "the board\nburnt" }, 0, "reason"},
		"in other bytes":    {func(_ *world, _ *machine, a *Answer) { a.Repair = "Ger\xe4t" }, 0, "reason"},
		"below the tier":    {func(_ *world, _ *machine, a *Answer) { a.Identity.Tier = Virtual }, capability.ErrTier, "hardware is needed"},
		"a second time": {func(w *world, old *machine, a *Answer) {
			other := newMachine(5).request(50)
			other.By, other.Rehost, other.Repair, other.Approved = a.By, a.Rehost, a.Repair, a.Approved
			w.mustDo(other)
		}, capability.ErrNoRehost, "its rights went to"},
		"of nothing": {func(w *world, old *machine, a *Answer) {
			id := testID(w.t, 1)
			old.giveBack(id, 6)
			w.mustDo(old.request(51))
		}, capability.ErrNoRehost, "no rights"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, old, _, ask := gone(t)
			if row.code == capability.ErrTier {
				p := w.book.Policy()
				p.MinimumTier = Hardware
				w.mustDo(SetPolicy{Policy: p})
			}
			row.change(w, old, &ask)
			before := w.book.Digest()
			if d, err := w.do(ask); d != nil || err == nil || code(err) != row.code || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%+v, %v", d, err)
			}
			if w.book.Digest() != before {
				t.Error("the book changed")
			}
		})
	}
}

// Entries that no Decide wrote are found.
func TestRehostApplied(t *testing.T) {
	for name, change := range map[string]func(a *Answered, e *Entry){
		"of nobody":  func(a *Answered, _ *Entry) { a.Rehosted.From = newMachine(9).id.Host },
		"of itself":  func(a *Answered, _ *Entry) { a.Rehosted.From = a.Identity.Host },
		"unapproved": func(a *Answered, _ *Entry) { a.Rehosted.Approved = "" },
		"own word":   func(a *Answered, e *Entry) { a.Rehosted.Approved = e.By },
		"not all of": func(a *Answered, _ *Entry) { a.Rehosted = nil; a.Holds[0].Copies = 5 },
	} {
		w, _, _, _, ask := gone(t)
		d, err := w.book.Decide(w.now, ask)
		if err != nil {
			t.Fatal(err)
		}
		change(d.Entries[0].Answer, d.Entries[0])
		if err := w.book.Apply(d.Entries[0]); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
}
