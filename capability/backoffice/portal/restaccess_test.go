package portal

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// A token opens what its login may at that moment, until it is over, revoked, or its login is disabled or gone. Nothing else opens anything: no cookie, no password, no token of a user.
func TestTokensOpen(t *testing.T) {
	clock := &ticking{}
	w := newWorld(t, clock.options)
	p := w.script("ci", "", capability.Operator)
	wants := func(what string, p *script, status int, code capability.Code) {
		t.Helper()
		clock.pass()
		if a := p.get("/items"); a.status != status || status != http.StatusOK && (a.problem().Code != code || a.problem().Next == "") {
			t.Errorf("%s: %s", what, a)
		} else if status == http.StatusUnauthorized && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %v", what, a.header)
		}
	}
	wants("a good token", p, http.StatusOK, 0)
	wants("no token", &script{w: w}, http.StatusUnauthorized, capability.ErrAPIToken)
	wants("another token", &script{w, p.token + "x"}, http.StatusUnauthorized, capability.ErrAPIToken)
	clock.seconds.Add(60)
	wants("half a token", &script{w, p.token[:len(p.token)/2]}, http.StatusUnauthorized, capability.ErrAPIToken)

	b := w.signedIn("keller", "", capability.SecurityAdministrator, capability.LicenseAdministrator)
	if a := b.get(restBase + "/items"); a.status != http.StatusUnauthorized {
		t.Errorf("a cookie: %v", a)
	}
	r, err := http.NewRequest(http.MethodGet, w.server.URL+restBase+"/items", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("keller", password)
	if a := b.send(r, nil); a.status != http.StatusUnauthorized {
		t.Errorf("a password: %v", a)
	}
	// A token opens no page either, nor the other way in.
	for _, path := range []string{"/items", "/audit", "/settings"} {
		r, err := http.NewRequest(http.MethodGet, w.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+p.token)
		if a := w.browser().send(r, nil); a.status != http.StatusSeeOther {
			t.Errorf("%s: %v", path, a)
		}
	}

	yes, no := true, false
	w.do(entitlement.ChangeLogin{Name: "ci", Disabled: &yes, By: "test"})
	wants("of a login that is disabled", p, http.StatusUnauthorized, capability.ErrAPIToken)
	w.do(entitlement.ChangeLogin{Name: "ci", Disabled: &no, Roles: &[]capability.Role{}, By: "test"})
	wants("of a login without a role", p, http.StatusForbidden, capability.ErrPermission)
	w.do(entitlement.ChangeLogin{Name: "ci", Roles: &[]capability.Role{capability.Viewer}, By: "test"})
	wants("of a login that has another role", p, http.StatusOK, 0)
	short := &script{w, w.tokenOf("ci", "test", 3600)}
	wants("for an hour", short, http.StatusOK, 0)
	clock.seconds.Add(24 * 60 * 60)
	wants("for an hour, after a day", short, http.StatusUnauthorized, capability.ErrAPIToken)
	wants("for 90 days, after a day", p, http.StatusOK, 0)
	var me meOut
	if p.get("/me").into(&me); me.Name != "ci" || me.Token.By != "ci" || len(me.Permissions) != 2 {
		t.Errorf("%+v", me)
	}
	w.do(entitlement.RevokeToken{Login: "ci", Name: me.Token.Name, By: "test"})
	wants("that was revoked", p, http.StatusUnauthorized, capability.ErrAPIToken)
	again := &script{w, w.tokenOf("ci", "test", 0)}
	wants("another one", again, http.StatusOK, 0)
	w.do(entitlement.RemoveLogin{Name: "ci", By: "test"})
	wants("of a login that is gone", again, http.StatusUnauthorized, capability.ErrAPIToken)
	if a := (&script{w: w}).get("/health"); a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != `{"status":"ok"}` {
		t.Error(a)
	}
}

// Who sends tokens that are none has to wait; whoever has a good one at the same address does not. And an address may ask so often and no oftener.
func TestGuessingTokens(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return now } })
	p, bad := w.script("ci", "", capability.Viewer), &script{w, "fh_guessed"}
	for n := range 5 {
		if a := bad.get("/me"); a.status != http.StatusUnauthorized {
			t.Fatal(n, a)
		}
	}
	for _, path := range []string{"/me", "/items"} {
		if a := bad.get(path); a.status != http.StatusTooManyRequests || a.problem().Code != capability.ErrThrottled || a.header.Get("Retry-After") != "1" {
			t.Error(a)
		}
	}
	for range 10 {
		if a := p.get("/me"); a.status != http.StatusOK {
			t.Fatal(a)
		}
	}
	w.signedIn("keller", "", capability.SecurityAdministrator) // from the same address
	throttled := 0
	for range callsAtOnce + 1 {
		if a := p.get("/health"); a.status == http.StatusTooManyRequests {
			throttled++
		}
	}
	if throttled != 18 { // 17 were asked before
		t.Errorf("%d of an address that asks too often were refused", throttled)
	}
}

// What a login of a customer is told of what staff did has neither name nor reason; and of lists it has its own part.
func TestCustomersAreToldTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	w.do(entitlement.SetAccount{Account: entitlement.Account{Name: "Holding"}, By: "test"}, entitlement.SetAccount{Account: entitlement.Account{Name: "ACME", Parent: "Holding"}, By: "test"}, entitlement.SetAccount{Account: entitlement.Account{Name: "Other"}, By: "test"},
		entitlement.AddUser{ID: entitlement.UserID{Account: "ACME", Name: "larsen"}, By: "test"}, entitlement.AddUser{ID: entitlement.UserID{Account: "Other", Name: "nemo"}, By: "test"})
	id, other := w.entitle("ACME", 10), w.entitle("Other", 10)
	m, theirs, to := w.station(), w.station(), w.station()
	w.answer(m.request(id, 4))
	w.answer(theirs.request(other, 4))
	staff := w.script("staffer", "", capability.LicenseAdministrator)
	second := w.script("second", "", capability.LicenseAdministrator)
	larsen := w.script("larsen", "ACME", capability.LicenseAdministrator)
	at := "/devices/" + url.PathEscape(m.host().String())
	for path, body := range map[string]fields{
		at + "/write-off": {"activationId": id, "reason": "a secret reason"},
		at + "/move":      {"to": to.host().String(), "activationId": id, "copies": 1},
	} {
		if a := staff.post(path, body); a.status != http.StatusOK {
			t.Fatal(a)
		}
	}
	var list page[proposalOut]
	if larsen.get("/proposals").into(&list); len(list.Items) != 1 || list.Items[0].By != theProducer || list.Items[0].Reason != "" {
		t.Errorf("%+v", list)
	}
	number := list.Items[0].Number
	for _, path := range []string{"/accounts", "/items", "/users", "/devices", "/sessions", "/groups", "/orders", "/proposals", at, at + "/requests", at + "/returns", fmt.Sprint("/proposals/", number), "/items/" + string(id), "/reports/devices", "/reports/licenses/csv", "/tables/entitlements/csv", "/accounts/ACME"} {
		a := larsen.get(path)
		if body := string(a.body); a.status != http.StatusOK || strings.Contains(body, "staffer") || strings.Contains(body, "secret reason") || strings.Contains(body, "Other") || strings.Contains(body, "Holding") || strings.Contains(body, theirs.host().Value) {
			t.Errorf("%s: %s", path, a)
		}
	}
	if a := staff.post(fmt.Sprintf("/proposals/%d/approve", number), nil); a.status != http.StatusConflict && a.status != http.StatusForbidden || a.problem().Code != capability.ErrSecondPerson {
		t.Errorf("the own proposal: %s", a)
	}
	// Nor does a second login help whose token the first one made.
	w.do(entitlement.AddLogin{Name: "hand", Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"})
	hand := &script{w, w.tokenOf("hand", "Staffer", 0)}
	if a := hand.post(fmt.Sprintf("/proposals/%d/approve", number), nil); a.problem().Code != capability.ErrSecondPerson {
		t.Errorf("by a token of the own making: %s", a)
	}
	if a := second.post(fmt.Sprintf("/proposals/%d/approve", number), nil); a.status != http.StatusOK {
		t.Error(a)
	}
	// And who made the token by which something is proposed approves it with nothing at all; the audit names the token.
	w.do(entitlement.AddToken{Login: "hand", Name: "nightly", Hash: entitlement.TokenHash("fh_nightly"), By: "second"})
	hand.token = "fh_nightly"
	if a := hand.post("/devices/"+url.PathEscape(theirs.host().String())+"/write-off", fields{"activationId": other, "reason": "another reason"}); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if staff.get("/proposals").into(&list); len(list.Items) != 1 {
		t.Fatalf("%+v", list)
	}
	number = list.Items[0].Number
	if a := second.post(fmt.Sprintf("/proposals/%d/approve", number), nil); a.problem().Code != capability.ErrSecondPerson {
		t.Errorf("by who made the token of the proposal: %s", a)
	}
	auditor := w.script("auditor", "", capability.Auditor)
	var trail page[AuditEntry]
	if auditor.get("/audit?by=HAND").into(&trail); len(trail.Items) == 0 || trail.Items[0].By != "hand" || trail.Items[0].Token != "nightly" || trail.Items[0].What == "" {
		t.Errorf("%+v", trail)
	}
	if a := larsen.get(at); a.status != http.StatusOK || strings.Contains(string(a.body), "second") || strings.Contains(string(a.body), "secret reason") || !strings.Contains(string(a.body), theProducer) {
		t.Error(a)
	}
	if a := staff.get(at); !strings.Contains(string(a.body), "secret reason") || !strings.Contains(string(a.body), `"approved":"second"`) {
		t.Error(a)
	}
	// A customer's device is its own account's, whatever is said; another's stays another's.
	if a := larsen.post("/devices", fields{"address": w.station().host().String(), "account": "Other"}); a.status != http.StatusOK || !strings.Contains(string(a.body), `"account":"ACME"`) {
		t.Error(a)
	}
	for _, path := range []string{"/items?account=Other", "/devices?account=Holding", "/users?account=Other", "/reports/usage?account=Holding", "/sessions?item=" + string(other), "/accounts/Holding", "/users/Other/nemo", "/tables/accounts/csv"} {
		if a := larsen.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %s", path, a)
		}
	}
	var session *entitlement.Granted
	err := w.desk.Ask(func(o *backoffice.Office) (err error) {
		floating, err := o.Entitle(entitlement.Item{Customer: "Other", Product: "Render", Copies: 1, Mode: entitlement.Online, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "test", capability.At(w.now()))
		if err != nil {
			return err
		}
		if err := o.Do(entitlement.SetPool{ActivationID: floating.ActivationID, Everybody: true, By: "test"}, capability.At(w.now())); err != nil {
			return err
		}
		session, err = o.TakeSession(entitlement.TakeSession{ActivationID: floating.ActivationID, User: entitlement.UserID{Account: "Other", Name: "nemo"}, Device: capability.Digest{1}, By: "test"}, capability.At(w.now()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	end := "/sessions/" + session.Session.ID.String() + "/disconnect"
	if a := larsen.post(end, nil); a.status != http.StatusNotFound || string(larsen.get("/sessions").body) != "{\"items\":[]}\n" {
		t.Error(a)
	}
	if a := staff.post(end, nil); a.status != http.StatusOK {
		t.Error(a)
	}
	// The seat of another's line item, the file of another's machine.
	if a := larsen.post("/requests?seat="+string(other)+"&user=larsen", theirs.request(other, 5)); a.status != http.StatusNotFound {
		t.Error(a)
	}
	if a := larsen.post("/requests", theirs.request(other, 5)); a.status == http.StatusOK {
		t.Error(a)
	}
	if a := larsen.get("/responses/" + hexOf(theirs.last)); a.status != http.StatusNotFound {
		t.Error(a)
	}
}

// What does not fit is refused with its place named, and nothing is done: fields and parameters that are not known, bodies that are none, too large or of another kind.
func TestStrictBodies(t *testing.T) {
	w := newWorld(t)
	p := w.script("ci", "", capability.LicenseAdministrator)
	before := w.entries()
	for _, c := range []struct {
		what, path string
		body       any
		kind       string
		status     int
		says       string
	}{
		{"a field that is not known", "/accounts", `{"name":"A","nmae":"secret value"}`, "", 422, "body.nmae: unexpected property"},
		{"one inside", "/products", `{"name":"A","features":[{"name":"f","count":3}]}`, "", 422, "body.features[0].count: unexpected property"},
		{"a name twice", "/accounts", `{"name":"A","name":"B"}`, "", 400, "twice"},
		{"a name twice but for case", "/products", `{"name":"A","features":[{"perCopy":1,"PerCopy":2}]}`, "", 400, "twice"},
		{"another type", "/accounts", `{"name":7}`, "", 422, "body.name: expected string"},
		{"a number that is too large", "/items", `{"customer":"A","product":"P","copies":99999999999}`, "", 422, "copies"},
		{"a number that is none", "/items", `{"customer":"A","product":"P","copies":1.5}`, "", 422, "copies"},
		{"a word that is none", "/models", `{"name":"M","kind":"king"}`, "", 422, "king"},
		{"no JSON", "/accounts", `{"name":`, "", 400, ""},
		{"two", "/accounts", `{"name":"A"}{"name":"B"}`, "", 400, ""},
		{"a list", "/accounts", `[]`, "", 422, "object"},
		{"nothing", "/accounts", ``, "", 400, ""},
		{"another kind", "/accounts", `<name>A</name>`, "application/xml", 415, ""},
		{"a form", "/accounts", `name=A`, "application/x-www-form-urlencoded", 415, ""},
		{"too much", "/accounts", `{"name":"` + strings.Repeat("x", maxRestForm) + `"}`, "", 413, ""},
		{"a parameter that is not known", "/accounts?force=yes", `{"name":"A"}`, "", 422, "query.force"},
		{"a file that is too large", "/requests", bytes.Repeat([]byte{1}, maxFileText+1), "", 413, ""},
		{"a file of nothing", "/requests", []byte{}, "", 400, ""},
		{"a file that nobody signed", "/requests", bytes.Repeat([]byte{1}, 1000), "", 422, ""},
		{"a table that is none", "/tables", []byte("a,b\n1\n"), "", 422, ""},
	} {
		var pairs []string
		if c.kind != "" {
			pairs = []string{"Content-Type", c.kind}
		}
		a := p.post(c.path, c.body, pairs...)
		if q := a.problem(); a.status != c.status && !(c.status == 415 && a.status == 422) || q.Status != a.status || q.Code == 0 || !strings.Contains(q.Detail, c.says) || strings.Contains(string(a.body), "secret value") {
			t.Errorf("%s: %s", c.what, a)
		}
	}
	for path, status := range map[string]int{"/items?limit=0": 422, "/items?limit=501": 422, "/items?limit=x": 422, "/items?q=a&q2=b": 422, "/items/none/none": 404, "/nothing": 404, "/": 404, "/proposals/x": 422, "/reports/none": 404, "/audit": 403} {
		if a := p.get(path); a.status != status || a.problem().Code == 0 {
			t.Errorf("%s: %s", path, a)
		}
	}
	if a := p.send(http.MethodDelete, "/items", nil); a.status != http.StatusNotFound || a.problem().Code != capability.ErrNotFound {
		t.Error(a)
	}
	if w.entries() != before {
		t.Error("something was done")
	}
}

// Lists go on where the page before ended, and have each entry once.
func TestPagesOfLists(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	p := w.script("ci", "", capability.LicenseAdministrator, capability.Auditor)
	for n := range 7 {
		w.do(entitlement.SetAccount{Account: entitlement.Account{Name: fmt.Sprint("Account ", n)}, By: "test"}, entitlement.SetModel{Model: entitlement.LicenseModel{Name: fmt.Sprint("Model ", n)}, By: "test"},
			entitlement.SetProduct{Product: entitlement.Product{Name: fmt.Sprint("Product ", n), Features: []entitlement.Feature{{Name: "f", PerCopy: 1}}}, By: "test"}, entitlement.AddUser{ID: entitlement.UserID{Account: "a/b c", Name: fmt.Sprint("user/", n)}, By: "test"})
		id := w.entitle("ACME", 5)
		w.do(entitlement.SetGroup{Group: fmt.Sprint("Group ", n), ActivationID: id, By: "test"})
		w.answer(w.station().request(id, 1))
	}
	for _, path := range []string{"/accounts", "/models", "/products", "/users", "/items", "/groups", "/devices", "/audit"} {
		seen, after, pages, name := map[string]bool{}, "", 0, "after"
		if path == "/audit" {
			name = "before"
		}
		for {
			q := url.Values{"limit": {"3"}}
			if after != "" {
				q.Set(name, after)
			}
			var list page[map[string]any]
			p.get(path + "?" + q.Encode()).into(&list)
			pages++
			for _, e := range list.Items {
				one := fmt.Sprint(e)
				if seen[one] {
					t.Errorf("%s: %s is there twice", path, one)
				}
				seen[one] = true
			}
			if after = list.Next; after == "" || pages > 99 {
				break
			}
		}
		if want := uint64(7); path == "/audit" {
			if want = w.entries(); uint64(len(seen)) != want {
				t.Errorf("%s: %d of %d", path, len(seen), want)
			}
		} else if uint64(len(seen)) != want || pages != 3 {
			t.Errorf("%s: %d on %d pages", path, len(seen), pages)
		}
	}
	var user entitlement.User
	if p.get("/users/a%2Fb%20c/user%2F3").into(&user); user.ID.Name != "user/3" {
		t.Errorf("%+v", user)
	}
}

// Programs that ask at once with one key have it done once.
func TestManyAtOnceUnderOneKey(t *testing.T) {
	w := newWorld(t)
	p := w.script("ci", "", capability.LicenseAdministrator)
	body := fields{"customer": "ACME", "product": "Render", "copies": 1, "features": []any{fields{"name": "render", "version": "1.0", "perCopy": 1}}}
	before := w.entries()
	ids := make(chan string, 8)
	for range cap(ids) {
		go func() { ids <- string(p.post("/items", body, "Idempotency-Key", "one").body) }()
	}
	first := <-ids
	for range cap(ids) - 1 {
		if other := <-ids; other != first {
			t.Errorf("%s and %s", first, other)
		}
	}
	if n := w.entries(); n != before+1 {
		t.Errorf("%d entries", n-before)
	}
	// It holds over a restart: the key is in the book.
	err := w.desk.Ask(func(o *backoffice.Office) error {
		b, err := entitlement.Restore(o.Book().Snapshot())
		if err != nil {
			return err
		}
		c := &call{asker: asker{r: &http.Request{Header: http.Header{"Idempotency-Key": {"one"}}}, login: entitlement.Login{Name: "CI"}}}
		if _, done := b.Done(c.key(), 0); !done {
			t.Error("the key is forgotten")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A token that is revoked while its request is on the way does nothing any more, nor does one whose login changes.
func TestTokensShutOutMeanwhile(t *testing.T) {
	w := newWorld(t)
	for name, command := range map[string]func(login, token string) entitlement.Command{
		"revoked": func(login, token string) entitlement.Command {
			return entitlement.RevokeToken{Login: login, Name: token, By: "test"}
		},
		"changed": func(login, _ string) entitlement.Command {
			return entitlement.ChangeLogin{Name: login, Roles: &[]capability.Role{}, By: "test"}
		},
		"removed": func(login, _ string) entitlement.Command { return entitlement.RemoveLogin{Name: login, By: "test"} },
	} {
		p := w.script(name, "", capability.Viewer)
		r := httptest.NewRequest(http.MethodGet, restBase+"/items", nil)
		r.Header.Set("Authorization", "Bearer "+p.token)
		c := &call{asker: asker{p: w.portal, r: r, now: w.portal.now()}}
		if err := c.signIn(httptest.NewRecorder()); err != nil {
			t.Fatal(err)
		}
		ran := 0
		ask := func() error { return c.office(func(*backoffice.Office) error { ran++; return nil }) }
		if err := ask(); err != nil || ran != 1 {
			t.Fatal(err)
		}
		w.do(command(name, c.token.Name))
		if err := ask(); ran != 1 || backoffice.Code(err) != capability.ErrAPIToken {
			t.Errorf("%s: %v", name, err)
		}
	}
}
