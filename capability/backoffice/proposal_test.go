package backoffice

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// A repair and a re-host are proposed by one login with the request, and done on the word of another with the very file that was kept.
func TestProposedRequests(t *testing.T) {
	p, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id := entitle(t, o, 9)
	for name, role := range map[string]capability.Role{"keller": capability.LicenseAdministrator, "security": capability.SecurityAdministrator} {
		if err := o.Do(entitlement.AddLogin{Name: name, Roles: []capability.Role{role}, By: "test"}, today); err != nil {
			t.Fatal(err)
		}
	}
	w, fresh := newWorkstation(t), newWorkstation(t)
	mustRespond(t, o, w.request(o, id, 4, asIs))
	w.number = 0
	lost := w.request(o, id, 4, func(r *capability.Request) {
		r.Life, r.Epoch, r.Correlation = capability.LifeID{2}, 7, capability.CorrelationID{9}
	})
	dead := fresh.request(o, id, 1, asIs)
	nobodys := newWorkstation(t).request(o, id, 1, func(r *capability.Request) { r.Desired = nil })
	propose := func(file []byte, order Order) uint64 {
		t.Helper()
		if err := o.ProposeAnswer(file, order, today); err != nil {
			t.Fatal(err)
		}
		list := o.Book().Proposals(today, "")
		return list[len(list)-1].Number
	}
	for name, c := range map[string]struct {
		file  []byte
		order Order
		code  capability.Code
	}{
		"nothing to repair": {dead, Order{By: "keller", Repair: "x"}, 0},
		"of nobody":         {dead, Order{By: "keller", Repair: "x", Rehost: newWorkstation(t).host()}, capability.ErrNoRehost},
		"by nobody":         {lost, Order{By: "nobody", Repair: "x"}, capability.ErrPermission},
		"of another's":      {lost, Order{By: "keller", Repair: "x", Within: "Other"}, capability.ErrNotFound},
		"to another's":      {nobodys, Order{By: "keller", Repair: "x", Rehost: w.host(), Within: "Other"}, capability.ErrNotFound},
		"without a reason":  {lost, Order{By: "keller"}, capability.ErrRepair},
	} {
		before := o.Book().Digest()
		if err := o.ProposeAnswer(c.file, c.order, today); err == nil || codeOf(err) != c.code || o.Book().Digest() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
	n := propose(lost, Order{By: "keller", Repair: "the disk died", Within: "ACME Works"})
	proposal, _ := o.Book().Proposal(n, today)
	if look, err := o.Proposed(&proposal, today); err != nil || !look.Repaired {
		t.Errorf("%+v %v", look, err)
	}
	if _, err := o.Approve(n, "keller", today); codeOf(err) != capability.ErrPermission && codeOf(err) != capability.ErrSecondPerson {
		t.Errorf("by itself: %v", err)
	}
	if o.RequestFile(proposal.Request) == "" {
		t.Fatal("the file was not kept")
	}
	res, err := o.Approve(n, "security", today)
	if err != nil || !res.Repaired || res.Serial != 2 || len(res.File) == 0 {
		t.Fatalf("%+v %v", res, err)
	}
	if _, err := o.Approve(n, "security", today); codeOf(err) != capability.ErrProposalOver {
		t.Errorf("twice: %v", err)
	}
	n = propose(dead, Order{By: "keller", Repair: "it burnt", Rehost: w.host(), Within: "ACME Works"})
	if res, err = o.Approve(n, "security", today); err != nil || res.Rehosted != w.host() {
		t.Fatalf("%+v %v", res, err)
	}
	if h, _ := o.Book().Host(w.host()); h.Moved == nil || h.Moved.By != "keller" || h.Moved.Approved != "security" {
		t.Errorf("%+v", h.Moved)
	}
	// A file that is gone, or another one, is said to be.
	third := newWorkstation(t)
	n = propose(third.request(o, id, 0, func(r *capability.Request) { r.Desired = nil }), Order{By: "keller", Repair: "it burnt too", Rehost: fresh.host()})
	proposal, _ = o.Book().Proposal(n, today)
	place, ok := p.Evidence.(interface{ Remove(string) error })
	if !ok || place.Remove(requestName(proposal.Request)) != nil {
		t.Fatal("no file to remove")
	}
	if _, err := o.Approve(n, "security", today); codeOf(err) != capability.ErrBookDamaged {
		t.Errorf("without its file: %v", err)
	}
	if err := o.Do(entitlement.EndProposal{Number: n, By: "security"}, today); err != nil {
		t.Error(err)
	}
}

// The file of a proposal is kept as long as somebody may approve it: an approved one is beside its response then, and of the others nothing is left, but for what is evidence of something else.
func TestProposalFiles(t *testing.T) {
	p, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id := entitle(t, o, 9)
	for name, role := range map[string]capability.Role{"keller": capability.LicenseAdministrator, "security": capability.SecurityAdministrator} {
		if err := o.Do(entitlement.AddLogin{Name: name, Roles: []capability.Role{role}, By: "test"}, today); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() int {
		t.Helper()
		names, err := p.Evidence.List()
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	w := newWorkstation(t)
	mustRespond(t, o, w.request(o, id, 4, asIs))
	anew := func(life byte) []byte {
		w.number = 0
		return w.request(o, id, 4, func(r *capability.Request) {
			r.Life, r.Epoch, r.Correlation = capability.LifeID{life}, 7, capability.CorrelationID{life}
		})
	}
	now := today
	propose := func(file []byte, order Order) uint64 {
		t.Helper()
		if order.By, order.Repair = "keller", "it burnt"; o.ProposeAnswer(file, order, now) != nil {
			t.Fatal("not proposed")
		}
		list := o.Book().Proposals(now, "")
		return list[len(list)-1].Number
	}
	end := func(n uint64) {
		t.Helper()
		if err := o.EndProposal(entitlement.EndProposal{Number: n, By: "security"}, now); err != nil {
			t.Error(err)
		}
	}
	// Turned down.
	n := propose(anew(2), Order{})
	if kept() != 1 {
		t.Errorf("%d files of one proposal", kept())
	}
	if end(n); kept() != 0 {
		t.Errorf("%d files of one that was turned down", kept())
	}
	// Two proposals about one request: the file is both's.
	spare := newWorkstation(t)
	file := spare.request(o, id, 0, func(r *capability.Request) { r.Desired, r.Condition = nil, capability.ErrStorageGone })
	n = propose(file, Order{Rehost: w.host()})
	burnt := newWorkstation(t)
	mustRespond(t, o, burnt.request(o, id, 1, asIs))
	other := propose(file, Order{Rehost: burnt.host()})
	if end(other); kept() != 1 {
		t.Errorf("%d files where another proposal is open", kept())
	}
	if _, err := o.Approve(n, "security", now); err != nil || kept() != 0 {
		t.Errorf("%d files of one that was approved, %v", kept(), err)
	}
	if proposal, _ := o.Book().ProposalOver(n, now); !strings.HasPrefix(o.RequestFile(proposal.Request), "responses/") {
		t.Errorf("the request is at %q", o.RequestFile(proposal.Request))
	}
	// What nobody approved in time goes with the next proposal.
	w = newWorkstation(t)
	mustRespond(t, o, w.request(o, id, 1, asIs))
	propose(anew(3), Order{})
	now = now.Add(entitlement.ProposalLife)
	if n = propose(anew(4), Order{}); kept() != 1 {
		t.Errorf("%d files after one lapsed", kept())
	}
	// What is evidence of an incident stays.
	if _, err := o.Respond(anew(4), "", "test", now); codeOf(err) != capability.ErrRepair {
		t.Fatal(err)
	}
	files := kept()
	if end(n); kept() != files {
		t.Errorf("%d files, %d before a proposal ended about one that is evidence", kept(), files)
	}
}
