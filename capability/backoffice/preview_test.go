package backoffice

import (
	"bytes"
	"crypto/rand"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// preview looks at a file, and sees that looking changed nothing.
func preview(t testing.TB, o *Office, file []byte, order Order) (*Preview, error) {
	t.Helper()
	before := o.Book().Digest()
	p, err := o.Preview(file, order, today)
	if o.Book().Digest() != before {
		t.Fatal("looking at a request changed the book")
	}
	return p, err
}

// What a preview says is what the answer is then; a file that is refused is refused alike, and only the answer puts that on record.
func TestPreview(t *testing.T) {
	_, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id, w := entitle(t, o, 3), newWorkstation(t)
	first := w.request(o, id, 2, asIs)
	p, err := preview(t, o, first, Order{})
	if err != nil || p.Again || p.File != nil || len(p.Asked) != 1 || p.Account != "" || len(p.Outcomes) != 1 || p.Outcomes[0].Had != 0 || p.Outcomes[0].Has != 2 || p.Outcomes[0].Left != 1 {
		t.Fatalf("%+v %v", p, err)
	}
	res, err := o.Respond(first, "", "operator", today)
	if err != nil {
		t.Fatal(err)
	}
	same := *res
	if same.File = nil; !reflect.DeepEqual(p.Result, same) {
		t.Errorf("foretold\n%+v\nanswered\n%+v", p.Result, same)
	}
	if v, _ := o.Book().Item(id, today); v.Left != p.Outcomes[0].Left {
		t.Errorf("%d are left, %d were foretold", v.Left, p.Outcomes[0].Left)
	}
	again, err := preview(t, o, first, Order{})
	if err != nil || !again.Again || again.File != nil || again.Newer != 0 || again.Account != "ACME Works" {
		t.Errorf("%+v %v", again, err)
	}
	kept, err := o.Response(p.Request)
	if err != nil || !bytes.Equal(kept.File, res.File) || kept.Name != res.Name || kept.Host != w.host() {
		t.Errorf("the response of before: %v", err)
	}
	if _, err := o.Response(capability.Digest{1}); codeOf(err) != capability.ErrNotFound {
		t.Errorf("a response that never was: %v", err)
	}
	if _, err := o.Respond(w.request(o, id, 2, func(r *capability.Request) { r.Applied = 1 }), "", "operator", today); err != nil {
		t.Fatal(err)
	}
	if again, err := preview(t, o, first, Order{}); err != nil || again.Newer != 2 {
		t.Errorf("another was made since: %+v %v", again, err)
	}
	// A number that was answered, with other contents.
	w.number = 0
	other := w.request(o, id, 3, asIs)
	if p, err := preview(t, o, other, Order{}); codeOf(err) != capability.ErrFork || p == nil || p.Host != w.host() {
		t.Errorf("%+v %v", p, err)
	}
	if h, _ := o.Book().Host(w.host()); len(h.Incidents) != 0 {
		t.Error("looking put an incident on record")
	}
	if _, err := o.Respond(other, "", "operator", today); codeOf(err) != capability.ErrFork {
		t.Error(err)
	}
	if p, err := preview(t, o, first[:100], Order{}); p != nil || err == nil {
		t.Errorf("half a file: %+v %v", p, err)
	}
}

// Who answers for an account finds machines and activation IDs of that account and of those below it, and of others the same as of what is not there.
func TestWithin(t *testing.T) {
	_, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	do := func(c entitlement.Command) {
		t.Helper()
		if err := o.Do(c, today); err != nil {
			t.Fatal(err)
		}
	}
	do(entitlement.SetAccount{Account: entitlement.Account{Name: "ACME"}})
	do(entitlement.SetAccount{Account: entitlement.Account{Name: "ACME East", Parent: "ACME"}})
	of := func(customer string) capability.ActivationID {
		i := anItem()
		i.Customer, i.Copies = customer, 100
		v, err := o.Entitle(i, "operator", today)
		if err != nil {
			t.Fatal(err)
		}
		return v.ActivationID
	}
	whole, east, foreign := of("ACME"), of("ACME East"), of("Other")
	answered := func(id capability.ActivationID) *workstation {
		m := newWorkstation(t)
		if _, err := o.Respond(m.request(o, id, 1, asIs), "", "operator", today); err != nil {
			t.Fatal(err)
		}
		return m
	}
	entered := newWorkstation(t)
	do(entitlement.SetDevice{Device: entitlement.Device{ID: entered.host(), Account: "Other"}})
	mapped := newWorkstation(t)
	do(entitlement.Map{Device: mapped.host(), ActivationID: foreign, Copies: 1})
	nothing := func(r *capability.Request) { r.Desired, r.Applied = nil, r.Number-1 }
	since := func(serial uint64) func(*capability.Request) {
		return func(r *capability.Request) { r.Applied = serial }
	}
	both := answered(east) // and a copy of the account above
	if _, err := o.Respond(both.request(o, whole, 1, since(1)), "", "operator", today); err != nil {
		t.Fatal(err)
	}
	nowhere, err := capability.NewActivationID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		m      *workstation
		id     capability.ActivationID
		copies uint32
		change func(*capability.Request)
		ok     []string // accounts that may have it answered
	}{
		"a new machine, by its activation ID":   {newWorkstation(t), whole, 1, asIs, []string{"ACME"}},
		"of an account below":                   {newWorkstation(t), east, 1, asIs, []string{"ACME", "ACME East"}},
		"of another account":                    {newWorkstation(t), foreign, 1, asIs, []string{"Other"}},
		"a new machine that wants nothing":      {newWorkstation(t), whole, 1, nothing, nil},
		"its own machine that wants nothing":    {answered(east), east, 1, nothing, []string{"ACME", "ACME East"}},
		"another's machine that wants nothing":  {answered(foreign), east, 1, nothing, []string{"Other"}},
		"another's machine with our ID":         {answered(foreign), whole, 1, asIs, nil},
		"our machine with another's ID":         {answered(whole), foreign, 1, asIs, nil},
		"what it has of the account above":      {both, whole, 1, since(2), []string{"ACME", "ACME East"}},
		"more of the account above":             {both, whole, 2, since(2), []string{"ACME"}},
		"a device that was said to be anothers": {entered, whole, 1, asIs, nil},
		"a device that waits for another's":     {mapped, whole, 1, asIs, nil},
		"an ID that is nowhere":                 {newWorkstation(t), nowhere, 1, asIs, nil},
	} {
		for _, account := range []string{"ACME", "ACME East", "Other"} {
			may := false
			for _, ok := range c.ok {
				may = may || ok == account
			}
			m := *c.m
			file := m.request(o, c.id, c.copies, c.change)
			_, err := preview(t, o, file, Order{Within: account})
			if may != (err == nil) || !may && codeOf(err) != capability.ErrNotFound {
				t.Errorf("%s, for %s: %v", name, account, err)
			}
			if may {
				continue
			}
			before := o.Book().Digest()
			if _, err := o.RespondTo(file, Order{By: "a.larsen", Within: account}, today); codeOf(err) != capability.ErrNotFound || o.Book().Digest() != before {
				t.Errorf("%s, for %s: answered with %v", name, account, err)
			}
		}
	}
}
