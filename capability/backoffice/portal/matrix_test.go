package portal

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// want is what a route is for, written down beside the table of routes and not taken from it.
type want struct {
	route string
	gate  string // anyone, signed in, or the permission
	staff bool   // nobody of a customer

	path   string   // where the pattern has a part to be filled in; %s is the thing
	form   []string // names and values that are sent; %s is the thing
	thing  string   // of ACME: see things. Of what is another's the answer is that of what is not there
	ok     int      // the status for who may
	spoils bool     // it ends the session
}

// wants are all routes there are. Whoever adds a route adds its line.
func wants() []want {
	return slices.Concat(inboxWants(), []want{
		{route: "GET /{$}", path: "/", gate: "signed in", ok: 0},
		{route: "GET /sign-in", gate: "anyone", ok: 200},
		{route: "POST /sign-in", gate: "anyone", ok: 400},
		{route: "GET /claim", gate: "anyone", ok: 200},
		{route: "POST /claim", gate: "anyone", ok: 400},
		{route: "POST /sign-out", gate: "signed in", ok: 303, spoils: true},

		{route: "GET /sign-in/with/{provider}", path: "/sign-in/with/nobody", gate: "anyone", ok: 404},
		{route: "GET /sign-in/oidc/{provider}", path: "/sign-in/oidc/nobody", gate: "anyone", ok: 404},
		{route: "GET /sign-in/saml/{provider}", path: "/sign-in/saml/nobody", gate: "anyone", ok: 404},
		{route: "POST /sign-in/saml/{provider}", path: "/sign-in/saml/nobody", gate: "anyone", ok: 404},

		{route: "POST /sign-in/passkey/options", gate: "anyone", ok: 200},
		{route: "POST /sign-in/passkey", gate: "anyone", ok: 401},
		{route: "POST /me/passkeys/options", gate: "signed in", ok: 200},
		{route: "POST /me/passkeys", gate: "signed in", ok: 400},
		{route: "POST /me/passkeys/remove", gate: "signed in", ok: 400},

		{route: "GET /logins", gate: "admit", ok: 200},
		{route: "POST /logins", gate: "admit", ok: 0},
		{route: "GET /login", gate: "admit", path: "/login?name=%s", thing: "login", ok: 200},
		{route: "POST /login", gate: "admit", form: []string{"name", "%s"}, thing: "login", ok: 400},
		{route: "GET /login/slip", gate: "admit", ok: 0},
		{route: "GET /me", gate: "signed in", ok: 200},
		{route: "POST /me/password", gate: "signed in", ok: 400},
		{route: "POST /me/tokens", gate: "signed in", ok: 400},
		{route: "GET /me/token", gate: "signed in", ok: 404},
		{route: "POST /login/tokens", gate: "admit", form: []string{"name", "%s"}, thing: "login", ok: 400},
		{route: "POST /me/sign-out", gate: "signed in", ok: 303, spoils: true},

		{route: "GET /devices", gate: "see", ok: 200},

		{route: "GET /items", gate: "see", ok: 200},
		{route: "GET /items/new", gate: "entitle", ok: 200},
		{route: "POST /items/new", gate: "entitle", ok: 400},
		{route: "GET /items/{id}", path: "/items/%s", gate: "see", thing: "item", ok: 200},
		{route: "GET /items/{id}/slip", path: "/items/%s/slip", gate: "see", thing: "item", ok: 200},
		{route: "POST /items/{id}/deploy", path: "/items/%s/deploy", gate: "entitle", thing: "item"},
		{route: "POST /items/{id}/suspend", path: "/items/%s/suspend", gate: "entitle", thing: "item"},
		{route: "POST /items/{id}/resume", path: "/items/%s/resume", gate: "entitle", thing: "item"},
		{route: "POST /items/{id}/archive", path: "/items/%s/archive", gate: "entitle", thing: "item"},
		{route: "POST /items/{id}/renew", path: "/items/%s/renew", gate: "entitle", thing: "item", form: []string{"permanent", "yes"}},
		{route: "POST /items/{id}/split", path: "/items/%s/split", gate: "entitle", thing: "item", form: []string{"copies", "1"}},
		{route: "POST /items/{id}/merge", path: "/items/%s/merge", gate: "entitle", thing: "item", form: []string{"into", "%s"}},
		{route: "POST /items/{id}/quantity", path: "/items/%s/quantity", gate: "entitle", thing: "item", form: []string{"copies", "5"}},
		{route: "POST /items/{id}/extra", path: "/items/%s/extra", gate: "entitle", thing: "item", form: []string{"copies", "1"}},
		{route: "POST /items/{id}/retire", path: "/items/%s/retire", gate: "move", thing: "item"},
		{route: "POST /items/{id}/convert", path: "/items/%s/convert", gate: "move", thing: "item", form: []string{"to", "offline"}},
		{route: "POST /items/{id}/assign", path: "/items/%s/assign", gate: "assign", thing: "item", form: []string{"user", "somebody"}},
		{route: "POST /items/{id}/unassign", path: "/items/%s/unassign", gate: "assign", thing: "item", form: []string{"user", "somebody"}},
		{route: "POST /items/{id}/withdraw", path: "/items/%s/withdraw", gate: "assign", thing: "item", form: []string{"user", "somebody"}},
		{route: "POST /items/{id}/pool", path: "/items/%s/pool", gate: "assign", thing: "item", form: []string{"do", "open"}},
		{route: "GET /sessions", gate: "see", ok: 200},
		{route: "POST /sessions", form: []string{"session", "%s"}, gate: "assign", thing: "session"},
		{route: "GET /users", gate: "see", ok: 200},
		{route: "POST /users", form: []string{"account", "ACME", "user", "somebody"}, gate: "assign"},
		{route: "GET /user", path: "/user?account=ACME&name=%s", gate: "see", thing: "user", ok: 200},
		{route: "POST /user", form: []string{"account", "ACME", "user", "%s", "do", "enable"}, gate: "assign", thing: "user", ok: 303},
		{route: "GET /user/slip", gate: "assign", ok: 404},
		{route: "GET /accounts", gate: "see", ok: 200},
		{route: "GET /account", path: "/account?name=%s", gate: "see", thing: "account", ok: 200},
		{route: "GET /accounts/edit", gate: "entitle", ok: 200},
		{route: "POST /accounts/edit", gate: "entitle", ok: 400},
		{route: "GET /products", gate: "see", staff: true, ok: 200},
		{route: "GET /products/edit", gate: "entitle", ok: 200},
		{route: "POST /products/edit", gate: "entitle", ok: 400},
		{route: "GET /models", gate: "see", staff: true, ok: 200},
		{route: "GET /model", path: "/model?name=%s", gate: "see", staff: true, thing: "model", ok: 200},
		{route: "POST /model", form: []string{"name", "%s", "state", "draft"}, gate: "entitle", thing: "model"},
		{route: "GET /models/edit", gate: "entitle", ok: 200},
		{route: "POST /models/edit", gate: "entitle", ok: 400},
		{route: "GET /import", gate: "entitle", ok: 200},
		{route: "POST /import", gate: "entitle", ok: 400},
		{route: "GET /export/{table}", path: "/export/entitlements.csv", gate: "report", ok: 200},
		{route: "GET /reports", gate: "report", ok: 200},
		{route: "GET /reports/{report}", path: "/reports/licenses?account=ACME", gate: "report", ok: 0},
		{route: "GET /audit", gate: "audit", ok: 200},
		{route: "GET /audit/{number}", path: "/audit/1", gate: "audit", ok: 200},
		{route: "POST /audit/verify", gate: "audit", ok: 303},
		{route: "GET /settings", gate: "set", ok: 200},
		{route: "POST /settings/policy", gate: "set", ok: 400},
		{route: "POST /settings/boot", gate: "set", ok: 400},
		{route: "GET /groups", gate: "see", ok: 200},
		{route: "GET /group", path: "/group?name=%s", gate: "see", thing: "group", ok: 200},
		{route: "POST /groups", form: []string{"group", "Another", "item", "%s", "do", "add"}, gate: "assign", thing: "item"},
	})
}

// things are of account ACME: one that is there, and one like it that is not.
func things(w *world) map[string][2]string {
	w.t.Helper()
	w.do(entitlement.AddLogin{Name: "worker@acme.example", Account: "ACME", Roles: []capability.Role{capability.Viewer}, By: "test"})
	now, item, session := capability.At(w.now()), entitlement.ItemView{}, (*entitlement.Granted)(nil)
	larsen := entitlement.UserID{Account: "ACME", Name: "larsen"}
	err := w.desk.Ask(func(o *backoffice.Office) (err error) {
		item, err = o.Entitle(entitlement.Item{Customer: "ACME", Product: "Render", Copies: 9, Mode: entitlement.Online, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "test", now)
		if err != nil {
			return err
		}
		for _, c := range []entitlement.Command{
			entitlement.SetModel{Model: entitlement.LicenseModel{Name: "Team"}, By: "test"},
			entitlement.AddUser{ID: larsen, By: "test"}, entitlement.SetPool{ActivationID: item.ActivationID, User: larsen, By: "test"}, entitlement.SetGroup{Group: "Design", ActivationID: item.ActivationID, By: "test"},
		} {
			if err := o.Do(c, now); err != nil {
				return err
			}
		}
		session, err = o.TakeSession(entitlement.TakeSession{ActivationID: item.ActivationID, User: larsen, Device: capability.Digest{1}, By: "test"}, now)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	nothing, err := capability.NewActivationID(strings.NewReader(strings.Repeat("nothing", 9)))
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string][2]string{
		"item":    {string(item.ActivationID), string(nothing)},
		"user":    {larsen.Name, "nobody"},
		"group":   {"Design", "Nothing"},
		"account": {"ACME", "Nothing"},
		"model":   {"Team", "Nothing"},
		"login":   {"worker@acme.example", "worker@nowhere.example"},
		"session": {session.Session.ID.String(), strings.Repeat("0", 32)},
	}
	maps.Copy(all, inboxThings(w))
	return all
}

// mayBy says what each role may, of the staff and of a customer.
func mayBy() map[string]map[string][]string {
	return map[string]map[string][]string{
		"staff": {
			"":                       {},
			"viewer":                 {"see", "report"},
			"operator":               {"see", "report", "answer", "assign"},
			"license administrator":  {"see", "report", "answer", "assign", "move", "entitle", "approve"},
			"security administrator": {"see", "admit", "approve", "set"},
			"auditor":                {"see", "report", "audit"},
		},
		"customer": {
			"":                       {},
			"viewer":                 {"see", "report"},
			"operator":               {"see", "report", "answer", "assign"},
			"license administrator":  {"see", "report", "answer", "assign", "move"},
			"security administrator": {"see", "admit"},
			"auditor":                {"see", "report"},
		},
	}
}

// visitor is one of those who ask.
type visitor struct {
	name, account, role string
	in                  bool
	browser             *browser
}

func (v *visitor) kind() string {
	if v.account == "" {
		return "staff"
	}
	return "customer"
}

func (v *visitor) String() string {
	if !v.in {
		return "nobody"
	}
	return fmt.Sprintf("%q of %q", v.role, v.account)
}

func (v *visitor) may(g string) bool {
	switch g {
	case "anyone":
		return true
	case "signed in":
		return v.in
	}
	return v.in && slices.Contains(mayBy()[v.kind()][v.role], g)
}

// expected is the status of an answer: to who is not signed in, may not, asks for another's, or may. Zero: any that is none of the first three.
func (q *want) expected(v *visitor, there bool) int {
	switch {
	case q.gate != "anyone" && !v.in && strings.HasPrefix(q.route, "GET "):
		return http.StatusSeeOther
	case q.gate != "anyone" && !v.in:
		return http.StatusUnauthorized
	case !v.may(q.gate) || q.staff && v.account != "":
		return http.StatusForbidden
	case q.thing != "" && (!there || v.account == "Other"):
		return http.StatusNotFound
	}
	return q.ok
}

func (q *want) ask(v *visitor, thing string) answer {
	method, pattern, _ := strings.Cut(q.route, " ")
	path := q.path
	if path == "" {
		path = pattern
	}
	path = strings.ReplaceAll(path, "%s", thing)
	if method == http.MethodGet {
		return v.browser.get(path)
	}
	form := slices.Clone(q.form)
	for i := range form {
		form[i] = strings.ReplaceAll(form[i], "%s", thing)
	}
	return v.browser.post(path, form...)
}

// Every route is asked by everybody: by nobody, and by each role and none, of the staff, of an account, of the one above it and of another.
func TestWhoMayWhat(t *testing.T) {
	w := newWorld(t)
	w.do(entitlement.SetAccount{Account: entitlement.Account{Name: "Holding"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "ACME", Parent: "Holding"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "Other"}, By: "test"})
	thing := things(w)

	roles := []capability.Role{capability.Viewer, capability.Operator, capability.LicenseAdministrator, capability.SecurityAdministrator, capability.Auditor}
	visitors := []*visitor{{browser: w.browser()}}
	for _, account := range []string{"", "ACME", "Holding", "Other"} {
		for n := range len(roles) + 1 {
			v := &visitor{name: fmt.Sprintf("login %d of %q", n, account), account: account, in: true}
			var has []capability.Role
			if n > 0 {
				has, v.role = roles[n-1:n], roles[n-1].String()
			}
			v.browser = w.signedIn(v.name, account, has...)
			visitors = append(visitors, v)
		}
	}

	list := wants()
	for _, r := range w.portal.routes() {
		if !slices.ContainsFunc(list, func(q want) bool { return q.route == r.pattern }) {
			t.Errorf("nothing is said about who may use %s", r.pattern)
		}
	}
	asked, surprises := 0, 0
	for n := range list {
		q := &list[n]
		if !slices.ContainsFunc(w.portal.routes(), func(r route) bool { return r.pattern == q.route }) {
			t.Errorf("there is no %s", q.route)
			continue
		}
		if _, ok := thing[q.thing]; q.thing != "" && !ok {
			t.Fatalf("%s is about a %s, and there is none", q.route, q.thing)
		}
		for _, v := range visitors {
			there, absent := q.ask(v, thing[q.thing][0]), answer{}
			asked++
			if q.thing != "" {
				absent = q.ask(v, thing[q.thing][1])
				asked++
			}
			for _, c := range []struct {
				got   answer
				there bool
			}{{there, true}, {absent, false}} {
				if !c.there && q.thing == "" {
					continue
				}
				want := q.expected(v, c.there)
				refused := c.got.status == http.StatusUnauthorized || c.got.status == http.StatusForbidden || strings.HasPrefix(c.got.location, "/sign-in?")
				if want != 0 && c.got.status != want || want == 0 && (refused || c.got.status >= 500) {
					t.Errorf("%s for %s, there %t: %d, want %d", q.route, v, c.there, c.got.status, want)
					surprises++
				}
			}
			// Nobody learns by asking whether another's is there.
			if q.thing != "" && v.account == "Other" {
				if a, b := without(there.body, thing[q.thing][0]), without(absent.body, thing[q.thing][1]); a != b {
					t.Errorf("%s for %s: of what is another's\n%s\nof what is not there\n%s", q.route, v, a, b)
					surprises++
				}
			}
			if q.spoils && v.in {
				if a := v.browser.post("/sign-in", "name", v.name, "password", password); a.status != http.StatusSeeOther {
					t.Fatal(a)
				}
			}
		}
	}
	t.Logf("%d routes x %d visitors: %d requests, %d surprises", len(list), len(visitors), asked, surprises)
}

// without is a page with a name left out, but not where its letters are a part of another word.
func without(page, name string) string {
	return regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).ReplaceAllLiteralString(page, "it")
}
