package console

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// wants is what each operation is for, written down beside the table and not taken from it. Whoever adds an operation adds its line.
func wants() map[string]string {
	return map[string]string{
		"GET health": "see", "GET certificate": "see", "GET features": "see", "GET devices": "see", "GET doctor": "see", "GET trust": "see", "GET drains": "see", "GET time": "see", "GET hostids": "see",
		"GET openapi.json": "anyone", "GET recovery": "see", "GET configuration": "see", "GET poll": "see",
		"GET model": "see", "GET pools": "see", "GET reservations": "see", "GET reservations/model": "see", "GET policies": "see", "GET seats": "see", "GET keys": "see",

		"POST requests": "exchange", "POST responses": "exchange", "POST answers": "exchange", "POST returns": "exchange", "POST drains": "exchange", "POST drains/cancel": "exchange",
		"POST recovery": "exchange", "POST restore": "exchange", "GET backup": "exchange", "POST poll/refresh": "exchange",

		"POST drops": "serve", "POST model/check": "serve", "PUT model": "serve", "DELETE model": "serve", "POST reservations": "serve", "PUT reservations": "serve",
		"POST reservations/edit": "serve", "DELETE reservations/{id}": "serve", "POST seats/disconnect": "serve",

		"PUT configuration": "set", "POST policies": "set", "POST keys": "set", "DELETE keys/{key}": "set",
		"POST certificate/request": "secure", "PUT certificate": "secure", "DELETE certificate": "secure",
		"POST time": "secure", "POST hostids/planned": "secure",
		"PUT hostids": "root", "PUT hostids/eventlog": "root", "POST hostids/challenge": "root", "POST hostids/answer": "root", "POST updates/check": "root", "POST updates": "root", "POST updates/proved": "root",
		"GET audit": "audit",

		"GET session": "anyone", "POST session": "anyone", "POST first-login": "anyone", "DELETE session": "signed in", "PUT password": "signed in", "POST tokens": "signed in", "DELETE tokens/{token}": "signed in",
		"GET first-login": "root",
		"GET directory":   "admit", "PUT directory": "admit",
		"GET users": "admit", "POST users": "admit", "GET users/{name}": "admit", "PUT users/{name}": "admit", "DELETE users/{name}": "admit",
		"POST users/{name}/tokens": "admit", "DELETE users/{name}/tokens/{token}": "admit",
		"GET reports": "report", "GET reports/{report}": "report", "GET reports/{report}/csv": "report", "GET reports/{report}/svg": "report",
	}
}

// Every operation is in the table of what it is for, and the other way round.
func TestEveryOperationIsWanted(t *testing.T) {
	want := wants()
	c := refusing(t, capability.ErrCorrupt)
	c.Poll = NewPoll(c.Appliance, PollTimes{}, func(PollTimes) {})
	for _, op := range c.operations() {
		if want[op.pattern] != op.gate.String() {
			t.Errorf("%s is for %q, want %q", op.pattern, op.gate, want[op.pattern])
		}
		delete(want, op.pattern)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", slices.Sorted(maps.Keys(want)))
	}
}

// Who may what: every gate with everybody who can ask.
func TestGates(t *testing.T) {
	type who struct {
		asker
		may string // the gates that open
	}
	everybody := map[string]who{
		"a stranger":           {asker{}, "anyone"},
		"a stranger who looks": {asker{permissions: ledger.PermissionsOf(ledger.ToSee)}, "anyone see"},
		"root":                 {asker{by: "uid 0", local: true, root: true, permissions: ledger.Everything}, "anyone, signed in, root, see report serve exchange set admit secure audit"},
		"the group":            {asker{by: "uid 7", local: true, permissions: ledger.Everything}, "anyone, signed in, see report serve exchange set admit secure audit"},
		"an account":           {asker{by: "uid 8", local: true, permissions: ledger.PermissionsOf(ledger.ToSee)}, "anyone, signed in, see"},
		"no role":              {loginAsks(nil), "anyone, signed in"},
		"a viewer":             {loginAsks([]capability.Role{capability.Viewer}), "anyone, signed in, see report"},
		"an operator":          {loginAsks([]capability.Role{capability.Operator}), "anyone, signed in, see report serve"},
		"a license admin":      {loginAsks([]capability.Role{capability.LicenseAdministrator}), "anyone, signed in, see report serve exchange set"},
		"a security admin":     {loginAsks([]capability.Role{capability.SecurityAdministrator}), "anyone, signed in, see report admit secure audit"},
		"an auditor":           {loginAsks([]capability.Role{capability.Auditor}), "anyone, signed in, see report audit"},
		"both administrators":  {loginAsks([]capability.Role{capability.LicenseAdministrator, capability.SecurityAdministrator}), "anyone, signed in, see report serve exchange set admit secure audit"},
	}
	gates := []gate{anyone, signedIn, rootOnly}
	for _, p := range ledger.AllPermissions() {
		gates = append(gates, needs(p))
	}
	for name, w := range everybody {
		for _, g := range gates {
			may := strings.Contains(" "+strings.ReplaceAll(w.may, ",", " ")+" ", " "+g.String()+" ")
			err := w.passes(g)
			if may != (err == nil) {
				t.Errorf("%s and what is for %q: %v", name, g, err)
			}
			if err == nil {
				continue
			}
			code := capability.ErrApplianceRole
			switch {
			case w.by == "":
				code = capability.ErrSignInFirst
			case w.local || g == rootOnly:
				code = capability.ErrForbidden
			}
			if p := ProblemOf(err); p.Code != code {
				t.Errorf("%s and what is for %q: %s, want %s", name, g, p.Code, code)
			}
		}
	}
	if p := ProblemOf(loginAsks(nil).passes(needs(ledger.ToSecure))); !strings.Contains(p.Text, "security administrator") || status(p.Code) != http.StatusForbidden {
		t.Errorf("%d %q", status(p.Code), p.Text)
	}
	if status(capability.ErrSignInFirst) != http.StatusUnauthorized {
		t.Error("who is not signed in is not asked to")
	}
}

func loginAsks(roles []capability.Role) asker {
	return askerOf(&ledger.Login{Name: "ada", Roles: roles})
}

// Every operation asked on the Unix socket by root, by an account that may steer, and by another one: nobody gets past a gate that is not theirs, and everybody past those that are.
func TestSocketMatrix(t *testing.T) {
	for name, peer := range map[string]struct {
		allowed, tells bool
		may            string
	}{
		"root":       {true, true, "root anyone see report exchange serve set secure audit admit"},
		"the group":  {true, false, "anyone see report exchange serve set secure audit admit"},
		"an account": {false, false, "see anyone signed-in"},
		"odd":        {false, true, "root see anyone signed-in"},
	} {
		c := refusing(t, capability.ErrCorrupt)
		c.Poll = NewPoll(c.Appliance, PollTimes{}, func(PollTimes) {})
		c.Allowed, c.Tells = func(Peer) bool { return peer.allowed }, func(Peer) bool { return peer.tells }
		call := serve(t, c)
		for pattern, needed := range wants() {
			if pattern == "GET doctor" {
				continue // its answer is handed in
			}
			method, path, _ := strings.Cut(strings.ReplaceAll(pattern, "{id}", "1"), " ")
			status, p, body := call(method, Base+path, "[")                                                                              // no form
			refused := status == http.StatusForbidden && p.Code == capability.ErrForbidden && strings.HasPrefix(p.Denial.Detail, "uid ") // or the operation itself refuses
			if may := needed == "anyone" || needed == "signed in" || slices.Contains(strings.Fields(peer.may), needed); may == refused {
				t.Errorf("%s: %s, which is for %s: %d %.200s", name, pattern, needed, status, body)
			}
		}
	}
}
