package console

import (
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// api asks the API from a browser's window, with what headers there are.
func (b *browser) api(pattern, body string, headers ...string) answer {
	b.w.t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	r, err := http.NewRequest(method, b.w.server.URL+Base+path, strings.NewReader(body))
	for i := 0; err == nil && i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return b.send(r, err)
}

// Who has signed in with a browser asks the API as that login, and no other site asks it so. A token that is shown counts alone.
func TestBrowserAsksTheAPI(t *testing.T) {
	w := newPages(t)
	says := func(what string, a answer, status int, code capability.Code) {
		t.Helper()
		if a.status != status || code != 0 && !strings.Contains(a.body, code.String()) {
			t.Errorf("%s: %d %.200s, want %d", what, a.status, a.body, status)
		}
	}
	const set = `{"name":"idle-limit","value":"7200"}`
	says("a stranger", w.browser().api("GET features", ""), http.StatusUnauthorized, capability.ErrSignInFirst)
	viewer := w.signedIn("viewer")
	says("a viewer looks", viewer.api("GET features", ""), http.StatusOK, 0)
	says("a viewer sets", viewer.api("POST policies", set), http.StatusForbidden, capability.ErrApplianceRole)
	says("with a token that is none", viewer.api("GET features", "", "Authorization", "Bearer lh_none"), http.StatusUnauthorized, capability.ErrApplianceToken)
	says("with another kind of word", viewer.api("GET features", "", "Authorization", "Basic eDp5"), http.StatusUnauthorized, capability.ErrApplianceToken)

	admin := w.signedIn("license administrator")
	says("another site", admin.api("POST policies", set, "Origin", "https://elsewhere.example"), http.StatusForbidden, 0)
	says("another site, by what the browser says of it", admin.api("POST policies", set, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, 0)
	if a := admin.api("GET policies", ""); strings.Contains(a.body, "7200") {
		t.Error("another site has set something")
	}
	says("the own site", admin.api("POST policies", set, "Origin", w.server.URL, "Sec-Fetch-Site", "same-origin"), http.StatusOK, 0)

	// What the login may changes for its windows too.
	roles := []capability.Role{capability.Auditor}
	if _, err := w.c.Appliance.Change(t.Context(), ledger.ChangeLogin{Name: "viewer", Roles: &roles, By: "test"}, "test", "test"); err != nil {
		t.Fatal(err)
	}
	says("a window from before", viewer.api("GET features", ""), http.StatusUnauthorized, capability.ErrSignInFirst)
	says("a session of a program is not one of a browser", admin.api("DELETE session", ""), http.StatusNotFound, capability.ErrNotFound)
}
