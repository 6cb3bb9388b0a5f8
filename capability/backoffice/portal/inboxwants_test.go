package portal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// What the inbox, devices and moves are for.
func inboxWants() []want {
	return []want{
		{route: "GET /inbox", gate: "answer", ok: 200},
		{route: "POST /inbox", gate: "answer", ok: 400},
		{route: "POST /inbox/create", gate: "answer", ok: 303},
		{route: "POST /inbox/refuse", gate: "answer", ok: 400},
		{route: "POST /inbox/ask", gate: "answer", staff: true, ok: 404},
		{route: "GET /questions/{number}", path: "/questions/%s", gate: "see", thing: "question", ok: 200},
		{route: "POST /questions/answer", gate: "answer", staff: true, form: []string{"number", "%s"}, thing: "question", ok: 303},
		{route: "POST /questions/end", gate: "answer", staff: true, form: []string{"number", "none"}, ok: 404},
		{route: "POST /inbox/clear", gate: "answer", ok: 303},
		{route: "GET /inbox/responses.zip", gate: "answer", ok: 404},
		{route: "GET /responses/{request}", path: "/responses/%s", gate: "answer", thing: "response", ok: 200},
		{route: "GET /responses/{request}/text", path: "/responses/%s/text", gate: "answer", thing: "response", ok: 200},
		{route: "GET /responses/{request}/qr", path: "/responses/%s/qr", gate: "answer", thing: "response", ok: 200},
		{route: "GET /responses/{request}/qr/{frame}", path: "/responses/%s/qr/1", gate: "answer", thing: "response", ok: 200},

		{route: "GET /devices/{id...}", path: "/devices/%s", gate: "see", thing: "device", ok: 200},
		{route: "GET /devices/new", gate: "move", ok: 200},
		{route: "POST /devices/new", gate: "move", ok: 400},
		{route: "POST /devices/set", gate: "move", form: []string{"device", "%s", "name", ""}, thing: "device", ok: 303},
		{route: "POST /devices/map", gate: "move", form: []string{"device", "%s", "item", "none"}, thing: "device", ok: 400},
		{route: "POST /devices/unmap", gate: "move", form: []string{"device", "%s", "item", "none"}, thing: "device", ok: 400},
		{route: "POST /devices/move", gate: "move", form: []string{"device", "%s", "to", "none"}, thing: "device"},
		{route: "GET /waiting", gate: "see", ok: 200},
		{route: "POST /devices/write-off", gate: "move", form: []string{"device", "%s", "item", "none"}, thing: "device", ok: 400},
		{route: "POST /inbox/propose", gate: "move", ok: 400},
		{route: "GET /proposals/{number}", path: "/proposals/%s", gate: "see", thing: "proposal", ok: 200},
		{route: "POST /proposals/take-back", gate: "move", form: []string{"number", "%s"}, thing: "proposal", ok: 403},
		{route: "POST /proposals/approve", gate: "approve", staff: true, form: []string{"number", "%s"}, thing: "proposal"},
		{route: "POST /proposals/turn-down", gate: "approve", staff: true, form: []string{"number", "%s"}, thing: "proposal"},
		{route: "POST /devices/end-order", gate: "move", form: []string{"device", "%s", "order", "7"}, thing: "device", ok: 404},
	}
}

// inboxThings are a machine of ACME and its response, each beside one that is not there.
func inboxThings(w *world) map[string][2]string {
	w.t.Helper()
	w.anyMachine()
	m := w.station()
	id := w.entitle("ACME", 10)
	w.answer(m.request(id, 3))
	w.do(entitlement.AddLogin{Name: "somebody", Account: "ACME", Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"},
		entitlement.Propose{Proposal: entitlement.Proposal{Freeing: entitlement.FreeByWriteOff, Host: m.host(), ActivationID: id, Reason: "stolen"}, By: "somebody"})
	proposal := ""
	digest := ""
	w.book(func(b *entitlement.Book) {
		h, _ := b.Host(m.host())
		digest = hexOf(h.Requests[0].Digest)
		proposal = fmt.Sprint(b.Proposals(capability.At(w.now()), "")[0].Number)
	})
	question := uint64(0)
	waits := m.request(id, 4)
	if err := w.desk.Ask(func(o *backoffice.Office) (err error) {
		question, err = o.AskCustomer(waits, "for which hall?", backoffice.Order{By: "keller"}, capability.At(w.now()))
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	nobody := w.station()
	return map[string][2]string{"response": {digest, strings.Repeat("1", 64)}, "proposal": {proposal, "999999"}, "question": {fmt.Sprint(question), "999999"}, "device": {m.host().String(), nobody.host().String()}}
}
