package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// repeating sends each request with a key, sends it again, and then another one under its key.
type repeating struct {
	*script
	t     *testing.T
	done  map[string]bool // operations
	steps int
}

// step sends one request that has to be answered, and gives its answer.
func (p *repeating) step(id, path string, body any) *reply {
	p.t.Helper()
	p.steps++
	key := fmt.Sprint("step ", p.steps, " ", id)
	p.done[id] = true
	before := p.w.entries()
	first := p.post(path, body, "Idempotency-Key", key)
	if first.status != http.StatusOK {
		p.t.Fatalf("%s: %s", id, first)
	}
	after := p.w.entries()
	again := p.post(path, body, "Idempotency-Key", key)
	if id == "import-table" { // what it found is not kept
		if !strings.Contains(string(again.body), `"again":true`) {
			p.t.Error(again)
		}
	} else if string(withoutCode(again)) != string(withoutCode(first)) || again.status != first.status || again.header.Get("Content-Type") != first.header.Get("Content-Type") {
		p.t.Errorf("%s: %s, and again %s", id, first, again)
	}
	other := p.post("/accounts", fields{"name": "Other", "contact": id}, "Idempotency-Key", key)
	if other.status != http.StatusConflict || other.problem().Code != capability.ErrKeyUsed {
		p.t.Errorf("another request under the key of %s: %s", id, other)
	}
	if n := p.w.entries(); n != after || after == before {
		p.t.Errorf("%s: %d entries, then %d, and at last %d", id, before, after, n)
	}
	return first
}

// withoutCode is an answer without what is shown once.
func withoutCode(a *reply) []byte {
	before, rest, shown := strings.Cut(string(a.body), `,"code":"`)
	if !shown {
		return a.body
	}
	_, after, _ := strings.Cut(rest, `"`)
	return []byte(before + after)
}

// A day of an operator, each step of it sent twice: every POST there is counts once under its key.
func TestEveryPostTwice(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	p := &repeating{w.script("ci", "", capability.LicenseAdministrator), t, map[string]bool{}, 0}
	second := &repeating{w.script("second", "", capability.LicenseAdministrator), t, p.done, 0}

	p.step("set-account", "/accounts", fields{"name": "ACME", "contact": "a.larsen@acme.example"})
	p.step("set-product", "/products", fields{"name": "Render", "version": "2026.1", "features": []any{fields{"name": "render", "version": "2026.1", "perCopy": 2}}})
	p.step("set-model", "/models", fields{"name": "Named", "kind": "fixed-user", "hostTypes": []string{"DEVICE_KEY", "TPM_EK"}, "limits": []any{fields{"act": "return", "count": 4, "span": 31536000}}})
	p.step("move-model", "/models/Named/state", fields{"state": "deployed"})
	p.step("set-model", "/models", fields{"name": "Team", "kind": "floating", "limits": []any{fields{"act": "extra", "count": 2}}})
	p.step("move-model", "/models/Team/state", fields{"state": "deployed"})
	p.step("import-table", "/tables", []byte("name,parent\nACME North,ACME\n"))

	item := func(more fields) string {
		body := fields{"customer": "ACME", "product": "Render", "productVersion": "2026.1", "copies": 10}
		for name, v := range more {
			body[name] = v
		}
		var i entitlement.ItemView
		p.step("new-item", "/items", body).into(&i)
		if i.Copies != 10 || len(i.Features) != 1 || i.Features[0].PerCopy != 2 {
			t.Fatalf("%+v", i)
		}
		return string(i.ActivationID)
	}
	first, last := item(fields{"draft": true, "model": "Team", "expiry": w.now().Unix() + 1_000_000}), item(nil)
	p.step("deploy-item", "/items/"+first+"/deploy", fields{})
	p.step("suspend-item", "/items/"+first+"/suspend", fields{"reason": "unpaid"})
	p.step("resume-item", "/items/"+first+"/resume", fields{})
	var split entitlement.ItemView
	p.step("split-item", "/items/"+first+"/split", fields{"copies": 4}).into(&split)
	p.step("merge-item", "/items/"+string(split.ActivationID)+"/merge", fields{"into": first})
	p.step("renew-item", "/items/"+first+"/renew", fields{"permanent": true})
	p.step("quantity-item", "/items/"+first+"/quantity", fields{"copies": 12})
	var extra entitlement.ItemView
	p.step("extra-item", "/items/"+first+"/extra", fields{"copies": 1}).into(&extra)
	if extra.Copies != 12 || extra.Life.Extra != 1 || extra.Left != 13 || extra.Expiry != 0 {
		t.Errorf("%+v", extra)
	}
	p.step("convert-item", "/items/"+last+"/convert", fields{"to": "online"})
	p.step("set-pool", "/items/"+last+"/pool", fields{"do": "open"})
	p.step("set-group", "/groups", fields{"group": "Design", "activationId": last})

	var s slipOut
	if p.step("add-user", "/users", fields{"account": "ACME", "name": "larsen", "slip": true}).into(&s); len(s.Code) != 19 || s.User.Name != "larsen" {
		t.Errorf("%+v", s)
	}
	p.step("change-user", "/users/ACME/larsen", fields{"disabled": true})
	p.step("draw-user-code", "/users/ACME/larsen/code", nil)
	p.step("remove-user", "/users/ACME/larsen/remove", nil)

	named, offline := item(fields{"model": "Named"}), item(fields{"model": "Named", "mode": "offline"})
	p.step("assign-seat", "/items/"+named+"/assign", fields{"account": "ACME", "user": "chen", "slip": true})
	p.step("unassign-seat", "/items/"+named+"/unassign", fields{"account": "ACME", "user": "chen"})
	seated := w.station()
	p.step("answer-request", "/requests?"+url.Values{"seat": {offline}, "account": {"ACME"}, "user": {"larsen"}}.Encode(), seated.request("", 0, func(r *capability.Request) { r.Desired = nil }))
	p.step("withdraw-seat", "/items/"+offline+"/withdraw", fields{"account": "ACME", "user": "larsen"})
	var session *entitlement.Granted
	err := w.desk.Ask(func(o *backoffice.Office) (err error) {
		session, err = o.TakeSession(entitlement.TakeSession{ActivationID: capability.ActivationID(last), User: entitlement.UserID{Account: "ACME", Name: "chen"}, Device: capability.Digest{1}, By: "test"}, capability.At(w.now()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.step("disconnect-session", "/sessions/"+session.Session.ID.String()+"/disconnect", nil)

	m, to := w.station(), w.station()
	at := "/devices/" + url.PathEscape(m.host().String())
	file := m.request(capability.ActivationID(first), 5)
	response := p.step("answer-request", "/requests", file)
	if response.header.Get("Content-Type") != responseKind {
		t.Error(response.header)
	}
	unpaid := w.station()
	p.step("answer-request", "/requests?refuse=unpaid", unpaid.request(capability.ActivationID(first), 1))
	w.book(func(b *entitlement.Book) {
		if h, _ := b.Host(unpaid.host()); len(h.Holds) != 0 || len(h.Requests) != 1 || h.Requests[0].Refused != "unpaid" {
			t.Errorf("%+v", h)
		}
	})
	p.step("set-device", "/devices", fields{"address": to.host().String(), "name": "spare", "account": "ACME"})
	p.step("map-device", at+"/map", fields{"activationId": first, "copies": 6})
	p.step("unmap-device", at+"/unmap", fields{"activationId": first})
	var moved deviceOut
	p.step("move-device", at+"/move", fields{"to": to.host().String(), "activationId": first, "copies": 2}).into(&moved)
	if len(moved.Orders) != 1 || moved.Orders[0].Copies != 2 {
		t.Fatalf("%+v", moved)
	}
	p.step("end-order", at+fmt.Sprintf("/orders/%d/end", moved.Orders[0].Number), nil)
	p.step("propose-write-off", at+"/write-off", fields{"activationId": first, "reason": "stolen"})
	p.step("take-back-proposal", fmt.Sprintf("/proposals/%d/take-back", p.proposal()), fields{"reason": "found"})
	m.life = 2
	m.number = 0
	lost := m.request(capability.ActivationID(first), 5, func(r *capability.Request) { r.Applied = 0 })
	var proposed proposalOut
	p.step("propose-answer", "/proposals?reason=disk+lost", lost).into(&proposed)
	second.step("turn-down-proposal", fmt.Sprintf("/proposals/%d/turn-down", proposed.Number), fields{"reason": "ask first"})
	var over proposalOut
	if p.get(fmt.Sprintf("/proposals/%d", proposed.Number)).into(&over); !strings.Contains(over.Became, "ask first") {
		t.Errorf("%+v", over)
	}
	if a := second.post(fmt.Sprintf("/proposals/%d/approve", proposed.Number), nil); a.problem().Code != capability.ErrProposalOver || a.status != http.StatusConflict {
		t.Error(a)
	}
	p.step("propose-answer", "/proposals?reason=disk+lost", lost).into(&proposed)
	second.step("approve-proposal", fmt.Sprintf("/proposals/%d/approve", proposed.Number), nil)
	if a := p.get("/responses/" + proposed.Request); a.status != http.StatusOK || len(a.body) < 1000 {
		t.Error(a)
	}
	p.step("retire-item", "/items/"+first+"/retire", nil)
	p.step("archive-item", "/items/"+string(split.ActivationID)+"/archive", fields{})

	posts := 0
	for _, op := range w.portal.operations() {
		if op.method == http.MethodPost {
			if posts++; !p.done[op.id] {
				t.Errorf("%s was not sent twice", op.id)
			}
		}
	}
	t.Logf("%d operations, each sent, sent again, and another one sent under its key", posts)

	// A key is of its login alone; a body that differs in a byte is another one.
	if a := second.post("/accounts", fields{"name": "Second"}, "Idempotency-Key", "step 1 set-account"); a.status != http.StatusOK {
		t.Error(a)
	}
	if a := p.post("/accounts", `{"name":"ACME","contact":"a.larsen@acme.example"} `, "Idempotency-Key", "step 1 set-account"); a.status != http.StatusConflict {
		t.Error(a)
	}
	for _, bad := range []string{strings.Repeat("x", maxKey+1), "a\tb", "\xff"} {
		if a := p.post("/accounts", fields{"name": "Bad"}, "Idempotency-Key", bad); a.status != http.StatusUnprocessableEntity || a.problem().Code != capability.ErrForm {
			t.Errorf("%q: %s", bad, a)
		}
	}
	if a := p.post("/accounts", fields{"name": "Long"}, "Idempotency-Key", strings.Repeat("x", maxKey)); a.status != http.StatusOK {
		t.Error(a)
	}
	// By whom is on record.
	var audit page[AuditEntry]
	w.script("auditor", "", capability.Auditor).get("/audit?by=second").into(&audit)
	if len(audit.Items) == 0 || slices.ContainsFunc(audit.Items, func(e AuditEntry) bool { return e.By != "second" }) {
		t.Errorf("%+v", audit)
	}
}

// proposal is the number of the one that is open.
func (p *repeating) proposal() uint64 {
	p.t.Helper()
	var list page[proposalOut]
	if p.get("/proposals").into(&list); len(list.Items) != 1 {
		p.t.Fatalf("%+v", list)
	}
	return list.Items[0].Number
}
