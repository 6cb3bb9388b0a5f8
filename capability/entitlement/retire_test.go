package entitlement

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// item is one as it stands.
func (w *world) item(id capability.ActivationID) ItemView {
	v, _ := w.book.Item(id, w.now)
	return v
}

func TestRetire(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	one, two := newMachine(1), newMachine(2)
	ask(w, one, 1, true, want(id, 4))
	ask(w, two, 2, true, want(id, 3))
	w.mustDo(Map{Device: two.id.Host, ActivationID: id, Copies: 5})
	w.mustDo(Retire{ActivationID: id, By: "A. Ray"})
	if v := w.item(id); v.State != Retiring || v.Reserved != 0 || v.Used != 7 {
		t.Errorf("%+v", v)
	}
	if list := w.book.Orphans(); len(list) != 2 || list[0].Copies != 4 || list[0].Told != 0 {
		t.Errorf("%+v", list)
	}
	// Nobody gets any of it, and the next exchange clears it on the machine.
	if r := ask(w, newMachine(3), 3, false, want(id, 1)); r.Lines[0].Denial.Code != capability.ErrRetired {
		t.Errorf("%+v", r)
	}
	if r := ask(w, one, 4, true, want(id, 4)); copies(r, id) != 0 || r.Lines[0].Denial.Code != capability.ErrRetired || r.Denials[0].Code != capability.AskedBack || one.rights[id] != 0 {
		t.Errorf("%+v", r)
	}
	if list := w.book.Orphans(); len(list) != 2 || list[0].Told != 2 {
		t.Errorf("%+v", list)
	}
	again := Item{ActivationID: testID(t, 2), Customer: "ACME Works", EntitlementID: "ENT-1", Product: "Render Pro", Features: w.item(id).Features, Copies: 10, Replaces: id}
	if _, err := w.do(Entitle{Item: again}); code(err) != capability.ErrNoRetire {
		t.Errorf("before all of it is proved to be gone: %v", err)
	}
	one.epoch++
	ask(w, one, 5, true)
	if v := w.item(id); v.State != Retiring || v.Used != 3 {
		t.Errorf("%+v", v)
	}
	two.giveBack(id, 3)
	ask(w, two, 6, false)
	if v := w.item(id); v.State != Inactive || v.Used != 0 || len(w.book.Orphans()) != 0 {
		t.Errorf("%+v", v)
	}
	again.Copies = 11
	if _, err := w.do(Entitle{Item: again}); code(err) != capability.ErrTooFew {
		t.Errorf("more than it had: %v", err)
	}
	again.Copies = 6
	w.mustDo(Entitle{Item: again})
	again.ActivationID, again.Copies = testID(t, 3), 1
	if _, err := w.do(Entitle{Item: again}); code(err) != capability.ErrNoRetire {
		t.Errorf("a second one in its place: %v", err)
	}
	w.sums(id, 0, 0, 10)
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: Archive}})
}

// What nobody has is inactive at once.
func TestRetireOfWhatNobodyHas(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	w.mustDo(Retire{ActivationID: id})
	if v := w.item(id); v.State != Inactive {
		t.Errorf("%+v", v)
	}
}

func TestRetireRefused(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetModel{Model: LicenseModel{Name: "Node", Kind: NodeLocked, State: ModelDraft}})
	w.mustDo(SetModel{Model: LicenseModel{Name: "Node", Kind: NodeLocked, State: ModelDeployed}})
	once := w.entitle(4, 5, nil)
	w.mustDo(Retire{ActivationID: once})
	for name, row := range map[string]struct {
		id   capability.ActivationID
		code capability.Code
	}{
		"node-locked":     {w.entitle(1, 5, func(i *Item) { i.Model = "Node" }), capability.ErrNoRetire},
		"metered":         {w.entitle(2, 5, func(i *Item) { i.Metered = true }), capability.ErrNoRetire},
		"a draft":         {w.entitle(3, 5, func(i *Item) { i.Life.Stage = StageDraft }), capability.ErrNoRetire},
		"taken back":      {once, capability.ErrNoRetire},
		"not in the book": {testID(t, 9), capability.ErrUnknownID},
	} {
		if _, err := w.do(Retire{ActivationID: row.id}); code(err) != row.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}
