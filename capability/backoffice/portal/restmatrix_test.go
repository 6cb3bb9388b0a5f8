package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// ruling is what an operation is for, written down beside the table of operations and not taken from it.
type ruling struct {
	id    string
	gate  string // anyone, signed in, or the permission
	staff bool   // nobody of a customer

	path  string // %s is the thing
	body  string // %s is the thing
	thing string // of ACME: see things. Of what is another's the answer is that of what is not there
	ok    int    // the status for who may; zero: any that refuses nobody
}

// rulings are all operations there are. Whoever adds one adds its line.
func rulings() []ruling {
	return []ruling{
		{id: "health", gate: "anyone", path: "/health", ok: 200},
		{id: "version", gate: "signed in", path: "/version", ok: 200},
		{id: "me", gate: "signed in", path: "/me", ok: 200},

		{id: "list-accounts", gate: "see", path: "/accounts", ok: 200},
		{id: "get-account", gate: "see", path: "/accounts/%s", thing: "account", ok: 200},
		{id: "list-products", gate: "see", staff: true, path: "/products", ok: 200},
		{id: "list-models", gate: "see", staff: true, path: "/models", ok: 200},
		{id: "get-model", gate: "see", staff: true, path: "/models/%s", thing: "model", ok: 200},
		{id: "list-groups", gate: "see", path: "/groups", ok: 200},
		{id: "list-items", gate: "see", path: "/items", ok: 200},
		{id: "get-item", gate: "see", path: "/items/%s", thing: "item", ok: 200},
		{id: "list-seats", gate: "see", path: "/items/%s/seats", thing: "item", ok: 200},
		{id: "list-pool", gate: "see", path: "/items/%s/pool", thing: "item", ok: 200},
		{id: "list-sessions", gate: "see", path: "/sessions?item=%s", thing: "item", ok: 200},
		{id: "list-users", gate: "see", path: "/users", ok: 200},
		{id: "get-user", gate: "see", path: "/users/ACME/%s", thing: "user", ok: 200},
		{id: "list-devices", gate: "see", path: "/devices", ok: 200},
		{id: "get-device", gate: "see", path: "/devices/%s", thing: "device", ok: 200},
		{id: "list-returns", gate: "see", path: "/devices/%s/returns", thing: "device", ok: 200},
		{id: "list-exchanges", gate: "see", path: "/devices/%s/requests", thing: "device", ok: 200},
		{id: "list-orders", gate: "see", path: "/orders", ok: 200},
		{id: "get-response", gate: "answer", path: "/responses/%s", thing: "response", ok: 200},
		{id: "list-proposals", gate: "see", path: "/proposals", ok: 200},
		{id: "get-proposal", gate: "see", path: "/proposals/%s", thing: "proposal", ok: 200},
		{id: "list-reports", gate: "report", path: "/reports", ok: 200},
		{id: "get-report", gate: "report", path: "/reports/licenses?account=%s", thing: "account", ok: 200},
		{id: "get-report-csv", gate: "report", path: "/reports/usage/csv?account=%s", thing: "account", ok: 200},
		{id: "export-table", gate: "report", path: "/tables/entitlements/csv", ok: 200},
		{id: "list-audit", gate: "audit", staff: true, path: "/audit", ok: 200},
		{id: "get-audit", gate: "audit", staff: true, path: "/audit/1", ok: 200},

		{id: "set-account", gate: "entitle", path: "/accounts", body: `{"name":"New"}`, ok: 200},
		{id: "set-product", gate: "entitle", path: "/products", body: `{"name":"New","version":"1.0","features":[{"name":"f","version":"1.0","perCopy":1}]}`, ok: 200},
		{id: "set-model", gate: "entitle", path: "/models", body: `{"name":"New","kind":"floating"}`},
		{id: "move-model", gate: "entitle", path: "/models/%s/state", body: `{"state":"draft"}`, thing: "model"},
		{id: "new-item", gate: "entitle", path: "/items", body: `{"customer":"ACME","product":"Render","copies":1,"features":[{"name":"render","version":"1.0","perCopy":1}]}`, ok: 200},
		{id: "deploy-item", gate: "entitle", path: "/items/%s/deploy", body: `{}`, thing: "item"},
		{id: "suspend-item", gate: "entitle", path: "/items/%s/suspend", body: `{"reason":"unpaid"}`, thing: "item"},
		{id: "resume-item", gate: "entitle", path: "/items/%s/resume", body: `{}`, thing: "item"},
		{id: "archive-item", gate: "entitle", path: "/items/%s/archive", body: `{}`, thing: "item"},
		{id: "renew-item", gate: "entitle", path: "/items/%s/renew", body: `{"permanent":true}`, thing: "item"},
		{id: "split-item", gate: "entitle", path: "/items/%s/split", body: `{"copies":1}`, thing: "item"},
		{id: "merge-item", gate: "entitle", path: "/items/%s/merge", body: `{"into":"%s"}`, thing: "item"},
		{id: "quantity-item", gate: "entitle", path: "/items/%s/quantity", body: `{"copies":5}`, thing: "item"},
		{id: "extra-item", gate: "entitle", path: "/items/%s/extra", body: `{"copies":1}`, thing: "item"},
		{id: "retire-item", gate: "move", path: "/items/%s/retire", thing: "item"},
		{id: "convert-item", gate: "move", path: "/items/%s/convert", body: `{"to":"offline"}`, thing: "item"},
		{id: "assign-seat", gate: "assign", path: "/items/%s/assign", body: `{"user":"somebody"}`, thing: "item"},
		{id: "unassign-seat", gate: "assign", path: "/items/%s/unassign", body: `{"user":"somebody"}`, thing: "item"},
		{id: "withdraw-seat", gate: "assign", path: "/items/%s/withdraw", body: `{"user":"somebody"}`, thing: "item"},
		{id: "set-pool", gate: "assign", path: "/items/%s/pool", body: `{"do":"open"}`, thing: "item"},
		{id: "disconnect-session", gate: "assign", path: "/sessions/%s/disconnect", thing: "session"},
		{id: "add-user", gate: "assign", path: "/users", body: `{"account":"%s","name":"another"}`, thing: "account below"},
		{id: "change-user", gate: "assign", path: "/users/ACME/%s", body: `{"disabled":false}`, thing: "user", ok: 200},
		{id: "draw-user-code", gate: "assign", path: "/users/ACME/%s/code", thing: "user", ok: 200},
		{id: "set-group", gate: "assign", path: "/groups", body: `{"group":"Another","activationId":"%s"}`, thing: "item"},
		{id: "remove-user", gate: "assign", path: "/users/ACME/%s/remove", thing: "user", ok: 409},
		{id: "set-device", gate: "move", path: "/devices", body: `{"address":"none"}`, ok: 422},
		{id: "map-device", gate: "move", path: "/devices/%s/map", body: `{"activationId":"ITEM","copies":3}`, thing: "device"},
		{id: "unmap-device", gate: "move", path: "/devices/%s/unmap", body: `{"activationId":"ITEM"}`, thing: "device"},
		{id: "move-device", gate: "move", path: "/devices/%s/move", body: `{"to":"none"}`, thing: "device"},
		{id: "end-order", gate: "move", path: "/devices/%s/orders/7/end", thing: "device", ok: 404},
		{id: "propose-write-off", gate: "move", path: "/devices/%s/write-off", body: `{"activationId":"ITEM","reason":"stolen"}`, thing: "device"},
		{id: "answer-request", gate: "answer", path: "/requests", body: "no file", ok: 422},
		{id: "propose-answer", gate: "move", path: "/proposals?reason=lost", body: "no file", ok: 422},
		{id: "take-back-proposal", gate: "move", path: "/proposals/%s/take-back", body: `{}`, thing: "proposal", ok: 403},
		{id: "turn-down-proposal", gate: "approve", staff: true, path: "/proposals/%s/turn-down", body: `{}`, thing: "proposal"},
		{id: "approve-proposal", gate: "approve", staff: true, path: "/proposals/%s/approve", thing: "proposal"},
		{id: "import-table", gate: "entitle", path: "/tables", body: "no table"},
	}
}

// asks sends what a ruling is about, of one thing.
func (q *ruling) asks(p *script, method, thing, item string) *reply {
	fill := func(s, thing string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, "%s", thing), "ITEM", item)
	}
	path := fill(q.path, url.PathEscape(thing))
	if q.body == "" {
		return p.send(method, path, nil)
	}
	if strings.HasPrefix(q.body, "{") {
		return p.send(method, path, fill(q.body, thing))
	}
	return p.send(method, path, []byte(q.body))
}

// Every operation is asked by everybody: by nobody, and with a token of each role and of none, of the staff, of an account, of the one above it and of another.
func TestWhichTokenMayWhat(t *testing.T) {
	clock := &ticking{}
	w := newWorld(t, clock.options)
	w.do(entitlement.SetAccount{Account: entitlement.Account{Name: "Holding"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "ACME", Parent: "Holding"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "Other"}, By: "test"})
	thing := things(w)
	thing["account below"] = thing["account"]
	item := ""
	w.book(func(b *entitlement.Book) { // the line item that the machine has copies of
		for _, i := range b.Items(capability.At(w.now())) {
			if len(i.Hosts) > 0 {
				item = string(i.ActivationID)
			}
		}
	})

	visitors := []*visitor{{}}
	scripts := map[*visitor]*script{visitors[0]: {w: w}}
	for _, account := range []string{"", "ACME", "Holding", "Other"} {
		for n := range len(capability.Roles()) + 1 {
			v := &visitor{name: fmt.Sprintf("script %d of %q", n, account), account: account, in: true}
			var has []capability.Role
			if n > 0 {
				has, v.role = capability.Roles()[n-1:n], capability.Roles()[n-1].String()
			}
			scripts[v] = w.script(v.name, account, has...)
			visitors = append(visitors, v)
		}
	}

	list, operations := rulings(), w.portal.operations()
	for _, op := range operations {
		if !slices.ContainsFunc(list, func(q ruling) bool { return q.id == op.id }) {
			t.Errorf("nothing is said about who may use %s", op.id)
		}
	}
	document := documentOf(t, scripts[visitors[0]])
	asked, surprises := 0, 0
	for n := range list {
		q := &list[n]
		at := slices.IndexFunc(operations, func(op operation) bool { return op.id == q.id })
		if at < 0 {
			t.Errorf("there is no %s", q.id)
			continue
		}
		if _, ok := thing[q.thing]; q.thing != "" && !ok {
			t.Fatalf("%s is about a %s, and there is none", q.id, q.thing)
		}
		for _, v := range visitors {
			var replies [2]*reply
			for k := range replies {
				if k == 1 && q.thing == "" {
					continue
				}
				clock.pass()
				a := q.asks(scripts[v], operations[at].method, thing[q.thing][k], item)
				replies[k] = a
				asked++
				want := q.expected(v, k == 0)
				refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status == http.StatusTooManyRequests
				if want != 0 && a.status != want || want == 0 && (refused || a.status >= 500) {
					t.Errorf("%s for %s, there %t: %s, want %d", q.id, v, k == 0, a, want)
					surprises++
				}
				if err := document.check(q.id, a); err != nil {
					t.Errorf("%s for %s: %v: %s", q.id, v, err, a)
					surprises++
				}
			}
			// Nobody learns by asking whether another's is there.
			if q.thing != "" && v.account == "Other" {
				a := strings.ReplaceAll(string(replies[0].body), thing[q.thing][0], "it")
				b := strings.ReplaceAll(string(replies[1].body), thing[q.thing][1], "it")
				if a != b {
					t.Errorf("%s for %s: of what is another's\n%s\nof what is not there\n%s", q.id, v, a, b)
					surprises++
				}
			}
		}
	}
	t.Logf("%d operations x %d visitors: %d requests, %d surprises", len(list), len(visitors), asked, surprises)
}

// expected is the status of an answer: to who has no token, may not, asks for another's, or may.
func (q *ruling) expected(v *visitor, there bool) int {
	switch {
	case q.gate != "anyone" && !v.in:
		return http.StatusUnauthorized
	case !v.may(q.gate) || q.staff && v.account != "":
		return http.StatusForbidden
	case q.thing != "" && (!there || v.account == "Other"):
		if q.thing == "account below" && !there && v.account == "" {
			return 0 // an account without a record is the producer's to use
		}
		if q.thing == "account" && strings.HasPrefix(q.path, "/reports") && v.account == "" {
			return http.StatusOK
		}
		return http.StatusNotFound
	}
	return q.ok
}
