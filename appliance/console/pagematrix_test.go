package console

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability/ledger"
)

// pageWant is what a route is for, written down beside the table of routes and not taken from it.
type pageWant struct {
	route string
	gate  string // anyone, signed in, or the permission
	path  string // where the pattern has a part to be filled in, or an address needs a parameter
	form  []string
}

// pageWants are all routes there are. Whoever adds a route adds its line.
func pageWants(item string) []pageWant {
	return []pageWant{
		{route: "GET /{$}", gate: "anyone", path: "/"},
		{route: "GET /sign-in", gate: "anyone"},
		{route: "POST /sign-in", gate: "anyone"},
		{route: "GET /first", gate: "anyone"},
		{route: "POST /first", gate: "anyone"},
		{route: "GET /help", gate: "anyone"},
		{route: "POST /sign-out", gate: "signed in"},
		{route: "GET /sign-in/directory", gate: "anyone"},
		{route: "POST /sign-in/directory", gate: "anyone"},
		{route: "GET /sign-in/directory/answer", gate: "anyone"},
		{route: "GET /directory", gate: "admit"},
		{route: "POST /directory", gate: "admit"},
		{route: "GET /me", gate: "signed in"},
		{route: "POST /me/password", gate: "signed in"},
		{route: "GET /settings", gate: "signed in"},
		{route: "POST /settings", gate: "signed in"},
		{route: "POST /columns", gate: "signed in"},
		{route: "GET /overview", gate: "see"},
		{route: "GET /reports", gate: "report"},
		{route: "GET /reports/{report}", gate: "report", path: "/reports/denials"},
		{route: "GET /reports/{report}/{file}", gate: "report", path: "/reports/denials/report.csv"},
		{route: "GET /about", gate: "see"},
		{route: "GET /properties", gate: "see"},
		{route: "POST /properties", gate: "set"},
		{route: "GET /features", gate: "see"},
		{route: "GET /features/details", gate: "see"},
		{route: "GET /feature", gate: "see", path: "/feature?id=" + item + "&name=f"},
		{route: "GET /devices", gate: "see"},
		{route: "GET /devices/{type}/{value}", gate: "see", path: "/devices/STRING/d"},
		{route: "GET /seats", gate: "see"},
		{route: "POST /seats/free", gate: "serve"},
		{route: "POST /seats/disconnect", gate: "serve"},
		{route: "GET /pools", gate: "see"},
		{route: "GET /pools/model", gate: "see"},
		{route: "POST /pools/model/check", gate: "serve"},
		{route: "POST /pools/model", gate: "serve"},
		{route: "POST /pools/model/delete", gate: "serve"},
		{route: "GET /reservations", gate: "see"},
		{route: "GET /reservations/export.json", gate: "see"},
		{route: "POST /reservations/import", gate: "serve"},
		{route: "GET /reservations/add", gate: "serve"},
		{route: "POST /reservations/add", gate: "serve"},
		{route: "GET /reservations/edit", gate: "serve"},
		{route: "POST /reservations/edit", gate: "serve"},
		{route: "GET /reservations/delete", gate: "serve"},
		{route: "POST /reservations/delete", gate: "serve"},
		{route: "POST /reservations/undo", gate: "serve"},
		{route: "GET /online", gate: "see"},
		{route: "POST /online", gate: "exchange"},
		{route: "GET /online/update", gate: "see"},
		{route: "POST /online/update", gate: "exchange"},
		{route: "GET /offline", gate: "see"},
		{route: "POST /offline/request", gate: "exchange"},
		{route: "GET /offline/requests/{name}", gate: "exchange", path: "/offline/requests/REQ-0001.LHQ"},
		{route: "POST /offline/response", gate: "exchange"},
		{route: "GET /keys", gate: "see"},
		{route: "POST /keys", gate: "set"},
		{route: "POST /keys/remove", gate: "set"},
		{route: "GET /hostids", gate: "see"},
		{route: "POST /hostids/planned", gate: "secure"},
		{route: "GET /time", gate: "see"},
		{route: "POST /time", gate: "secure"},
		{route: "GET /users", gate: "admit"},
		{route: "POST /users", gate: "admit"},
		{route: "GET /users/{name}", gate: "admit", path: "/users/somebody"},
		{route: "POST /users/{name}/roles", gate: "admit", path: "/users/somebody/roles"},
		{route: "POST /users/{name}/password", gate: "admit", path: "/users/somebody/password"},
		{route: "POST /users/{name}/state", gate: "admit", path: "/users/somebody/state"},
		{route: "POST /users/{name}/tokens", gate: "admit", path: "/users/somebody/tokens"},
		{route: "POST /me/tokens", gate: "signed in"},
		{route: "GET /audit", gate: "audit"},
		{route: "GET /audit/{number}", gate: "audit", path: "/audit/1"},
	}
}

// rolePermissions are those of each login, written down anew.
func rolePermissions() map[string]string {
	return map[string]string{
		"nothing": "", "viewer": "see report", "operator": "see report serve", "license administrator": "see report serve exchange set",
		"security administrator": "see report admit secure audit", "auditor": "see report audit", "both": "see report serve exchange set admit secure audit",
	}
}

// Every route asked by everybody there is: nobody gets past a gate that is not theirs, and everybody past those that are. The number of questions is printed.
func TestPageMatrix(t *testing.T) {
	w := newPages(t)
	w.login("somebody") // whom others change
	wants := pageWants(string(w.item))
	left := map[string]bool{}
	for _, r := range (&site{Console: w.c}).routes() {
		left[r.pattern] = true
		at := slices.IndexFunc(wants, func(p pageWant) bool { return p.route == r.pattern })
		if at < 0 {
			t.Errorf("nobody has written down what %s is for", r.pattern)
		} else if wants[at].gate != r.gate.String() {
			t.Errorf("%s is for %q, want %q", r.pattern, r.gate, wants[at].gate)
		}
	}
	asked := 0
	ask := func(name, may string, b *browser, want pageWant) {
		asked++
		method, path, _ := strings.Cut(want.route, " ")
		if want.path != "" {
			path = want.path
		}
		var a answer
		if method == http.MethodGet {
			a = b.get(path)
		} else {
			a = b.post(path, want.form...)
		}
		in := want.gate == "anyone" || want.gate == "signed in" && name != "" || slices.Contains(strings.Fields(may), want.gate)
		switch {
		case a.status >= 500:
			t.Errorf("%s by %q: %d %s", want.route, name, a.status, words(a.body))
		case in && (a.status == http.StatusForbidden && strings.Contains(a.body, "LH-4303") || strings.Contains(a.body, "LH-4301") || want.gate != "anyone" && name == "" && a.status == http.StatusSeeOther):
			t.Errorf("%s refuses %q: %d %s", want.route, name, a.status, words(a.body))
		case !in && name == "" && method == http.MethodGet && (a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "/sign-in?to=")):
			t.Errorf("%s lets a stranger in: %d", want.route, a.status)
		case !in && name == "" && method == http.MethodPost && (a.status != http.StatusUnauthorized || !strings.Contains(a.body, "LH-4301")):
			t.Errorf("%s lets a stranger in: %d", want.route, a.status)
		case !in && name != "" && (a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-4303")):
			t.Errorf("%s lets %q in: %d", want.route, name, a.status)
		}
	}
	windows := map[string]*browser{"": w.browser()}
	for _, name := range roleNames() {
		windows[name] = w.signedIn(name)
	}
	for _, want := range wants {
		if !left[want.route] {
			t.Errorf("%s is not there", want.route)
		}
		if want.route == "POST /sign-out" {
			continue
		}
		for name, may := range rolePermissions() {
			ask(name, may, windows[name], want)
		}
		ask("", "", windows[""], want)
	}
	for name, may := range rolePermissions() {
		ask(name, may, windows[name], pageWant{route: "POST /sign-out", gate: "signed in"})
		ask("", "", windows[name], pageWant{route: "GET /overview", gate: "see"})
	}
	if len(rolePermissions()) != len(roleNames()) {
		t.Error("a role is not asked")
	}
	t.Logf("%d questions, %d routes, %d logins and a stranger", asked, len(wants), len(windows)-1)
}

// The navigation has what who looks may see, and nothing else.
func TestNavigation(t *testing.T) {
	w := newPages(t)
	for name, may := range rolePermissions() {
		b := w.signedIn(name)
		body := b.page("/help")
		for path, p := range map[string]ledger.Permission{"/features": ledger.ToSee, "/audit": ledger.ToAudit, "/overview": ledger.ToSee} {
			if has := strings.Contains(body, `<li><a href="`+path+`"`); has != slices.Contains(strings.Fields(may), p.String()) {
				t.Errorf("%s for %s: %t", path, name, has)
			}
		}
	}
}
