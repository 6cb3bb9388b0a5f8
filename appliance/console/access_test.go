package console

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
)

// gateway is a console that is asked over the network, from an address of choice, with a clock of its own.
type gateway struct {
	t    *testing.T
	c    *Console
	mux  *http.ServeMux
	past atomic.Int64 // seconds since the beginning
	from string

	vault *kept
	key   string // Idempotency-Key
}

// pepperOf is what a TPM with that seed makes of a password.
func pepperOf(seed string) func([]byte) ([32]byte, error) {
	return func(b []byte) ([32]byte, error) {
		h := hmac.New(sha256.New, []byte(seed))
		h.Write(b)
		return [32]byte(h.Sum(nil)), nil
	}
}

func newGateway(t *testing.T, l *ledger.Ledger) *gateway {
	g := &gateway{t: t, mux: http.NewServeMux(), from: "10.0.0.9"}
	clock := func() time.Time { return noon().Add(time.Duration(g.past.Load()) * time.Second) }
	a, vault := started(t, l, 0, clock)
	g.vault = vault
	g.c = &Console{Appliance: a, Allowed: func(Peer) bool { return true }, Tells: func(Peer) bool { return true }, Pepper: pepperOf("this"), Doctor: nil}
	g.c.api(g.mux, g.c.networkAsks(nil))
	return g
}

// ask sends one request, with a token where there is one.
func (g *gateway) ask(token, pattern, body string) (int, Problem, string) {
	g.t.Helper()
	return g.askFrom(token, pattern, strings.NewReader(body))
}

func (g *gateway) askFrom(token, pattern string, body io.Reader) (int, Problem, string) {
	g.t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	r := httptest.NewRequest(method, Base+path, body)
	r.RemoteAddr = g.from + ":5"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if g.key != "" {
		r.Header.Set("Idempotency-Key", g.key)
	}
	w := httptest.NewRecorder()
	g.mux.ServeHTTP(w, r)
	var p Problem
	if w.Code >= 400 {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			g.t.Fatalf("%s: %v", w.Body, err)
		}
	}
	if asks := w.Header().Get("WWW-Authenticate") != ""; asks != (w.Code == http.StatusUnauthorized) {
		g.t.Errorf("%s: %d, and it asks to sign in: %v", pattern, w.Code, asks)
	}
	return w.Code, p, w.Body.String()
}

// must is ask where the answer is a yes.
func (g *gateway) must(token, pattern, body string) string {
	g.t.Helper()
	status, _, got := g.ask(token, pattern, body)
	if status != http.StatusOK {
		g.t.Fatalf("%s: %d %s", pattern, status, got)
	}
	return got
}

// no is ask where the answer is a refusal with this code.
func (g *gateway) no(token, pattern, body string, code capability.Code) Problem {
	g.t.Helper()
	status, p, got := g.ask(token, pattern, body)
	if p.Code != code || status < 400 {
		g.t.Fatalf("%s: %d %s, want %s", pattern, status, got, code)
	}
	return p
}

// login puts a login into the ledger, with a password made of its name.
func (g *gateway) login(name string, roles ...capability.Role) {
	g.t.Helper()
	kept, err := g.c.entry().passwords.make(g.t.Context(), g.c, name, passwordOf(name))
	if err == nil {
		_, err = g.c.Appliance.Change(g.t.Context(), ledger.AddLogin{Name: name, Roles: roles, Password: kept, By: "test"}, "test", "test")
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func passwordOf(name string) string {
	return fmt.Sprintf("the secret %x", sha256.Sum256([]byte(strings.ToLower(name))))[:24]
}

// signIn gives the token of a session.
func (g *gateway) signIn(name string) string {
	g.t.Helper()
	return read[SignedIn](g.t, g.must("", "POST session", fmt.Sprintf(`{"name":%q,"password":%q}`, name, passwordOf(name)))).Token
}

// entries is the audit trail, as it is exported.
func (g *gateway) entries() (raw []byte) {
	g.vault.mu.Lock()
	defer g.vault.mu.Unlock()
	for _, e := range g.vault.entries {
		raw = append(raw, e.Encode(wire.New())...)
	}
	return raw
}

func TestFirstLogin(t *testing.T) {
	g := newGateway(t, ledger.New())
	form := func(code string) string {
		return fmt.Sprintf(`{"code":%q,"name":"Keller","password":"correct horse"}`, code)
	}
	if p := g.no("", "POST first-login", form(""), capability.ErrFirstLogin); p.Denial.Detail != "" {
		t.Errorf("nobody has seen a code: %+v", p)
	}
	g.no("", "GET first-login", "", capability.ErrSignInFirst)

	// Root sees it on the socket, and nobody else there.
	root := serve(t, g.c)
	_, _, body := root("GET", Base+"first-login", "")
	code := read[FirstLogin](t, body).Code
	if !regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) {
		t.Fatalf("%q cannot be read aloud", code)
	}
	if _, _, again := root("GET", Base+"first-login", ""); read[FirstLogin](t, again).Code != code {
		t.Errorf("another code: %s", again)
	}
	other := &Console{Appliance: g.c.Appliance, Allowed: func(Peer) bool { return true }, Tells: func(Peer) bool { return false }}
	if status, p, _ := serve(t, other)("GET", Base+"first-login", ""); status != http.StatusForbidden || p.Code != capability.ErrForbidden {
		t.Errorf("the group sees the code: %d", status)
	}
	another := &Console{Appliance: g.c.Appliance, Allowed: func(Peer) bool { return true }, Tells: func(Peer) bool { return true }}
	if _, _, body := serve(t, another)("GET", Base+"first-login", ""); read[FirstLogin](t, body).Code == code {
		t.Error("another start has the same code")
	}

	g.no("", "POST first-login", form("0000-0000"), capability.ErrFirstLogin)
	g.no("", "POST first-login", fmt.Sprintf(`{"code":%q,"name":"Keller","password":"short"}`, code), capability.ErrForm)
	g.no("", "POST first-login", fmt.Sprintf(`{"code":%q,"name":"","password":"correct horse"}`, code), capability.ErrForm)
	typed := strings.ToLower(strings.ReplaceAll(code, "-", " "))
	u := read[User](t, g.must("", "POST first-login", form(typed)))
	if u.Name != "Keller" || !slices.Equal(u.Roles, []capability.Role{capability.SecurityAdministrator}) {
		t.Errorf("%+v", u)
	}
	g.no("", "POST first-login", form(code), capability.ErrFirstLogin)
	if _, p, _ := root("GET", Base+"first-login", ""); p.Code != capability.ErrFirstLogin {
		t.Errorf("the code is still shown: %+v", p)
	}
	token := read[SignedIn](t, g.must("", "POST session", `{"name":"keller","password":"correct horse"}`)).Token
	if s := read[Session](t, g.must(token, "GET session", "")); s.By != "login Keller" || s.Name != "Keller" || strings.Join(s.Permissions, " ") != "see report admit secure audit" {
		t.Errorf("%+v", s)
	}
}

// Letters that look like digits are taken for them, and a code that nobody has seen opens nothing.
func TestFirstCode(t *testing.T) {
	var f firstCode
	if f.fits("") || f.fits("0000-0000") {
		t.Error("no code fits where there is none")
	}
	if code, err := f.show(bytes.NewReader([]byte{0, 1, 10, 31, 32, 255, 2, 3})); err != nil || code != "01AZ-0Z23" {
		t.Errorf("%q, %v", code, err)
	}
	for _, typed := range []string{"01AZ-0Z23", "oIaz0z23", " OlaZ oz2 3"} {
		if !f.fits(typed) {
			t.Errorf("%q is not the code", typed)
		}
	}
	for _, typed := range []string{"", "01AZ-0Z2", "01AZ-0Z233", "01AZ-0Z24"} {
		if f.fits(typed) {
			t.Errorf("%q is the code", typed)
		}
	}
	if _, err := new(firstCode).show(bytes.NewReader(nil)); err == nil {
		t.Error("a code without chance")
	}
}

func TestSessionsOfPrograms(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("keller", capability.SecurityAdministrator)
	g.login("ada", capability.LicenseAdministrator)
	for _, form := range []string{`{"name":"ada","password":"wrong wrong wrong"}`, `{"name":"nobody","password":"wrong wrong wrong"}`, `{"name":"","password":""}`} {
		g.no("", "POST session", form, capability.ErrApplianceSignIn)
	}
	g.from = "10.0.0.10"
	ada := g.signIn("ada")
	g.must(ada, "GET policies", "")
	g.must(ada, "POST policies", `{"name":"token-life","value":"60"}`)
	short := g.signIn("Ada")
	g.past.Add(59)
	g.must(short, "GET policies", "")
	g.past.Add(1)
	g.no(short, "GET policies", "", capability.ErrApplianceToken)
	g.must(ada, "GET policies", "") // as long as it was to be when it began

	g.must(ada, "DELETE session", "")
	g.no(ada, "GET policies", "", capability.ErrApplianceToken)
	for _, bad := range []string{"lh_", "x", strings.Repeat("y", 9000)} {
		g.no(bad, "GET policies", "", capability.ErrApplianceToken)
	}

	// What a login may changes at once for who is signed in: it signs in anew.
	ada = g.signIn("ada")
	own := g.signIn("keller")
	g.must(own, "PUT users/ada", fmt.Sprintf(`{"roles":["viewer"],"current":%q}`, passwordOf("keller")))
	g.no(ada, "GET policies", "", capability.ErrApplianceToken)
	ada = g.signIn("ada")
	if p := g.no(ada, "POST policies", `{"name":"token-life","value":"61"}`, capability.ErrApplianceRole); !strings.Contains(p.Text, "license administrator") {
		t.Errorf("%q", p.Text)
	}
	g.must(own, "PUT users/ada", fmt.Sprintf(`{"disabled":true,"current":%q}`, passwordOf("keller")))
	g.no(ada, "GET policies", "", capability.ErrApplianceToken)
	g.no("", "POST session", fmt.Sprintf(`{"name":"ada","password":%q}`, passwordOf("ada")), capability.ErrApplianceSignIn)
}

// A login has so many sessions; with one more its oldest ends, and no other's.
func TestManySessions(t *testing.T) {
	b := bearers{of: map[capability.Digest]bearer{}}
	begin := func(name string, at, life int) string {
		text, err := b.begin(signedInAs{name, 1}, noon().Add(time.Duration(at)*time.Second), noon().Add(time.Duration(at+life)*time.Second), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	other := begin("bo", 0, 1000)
	var all []string
	for n := range maxBearers + 2 {
		all = append(all, begin("ada", n, 1000))
	}
	good := func(text string, at int) bool {
		_, _, ok := b.whose(text, noon().Add(time.Duration(at)*time.Second))
		return ok
	}
	if good(all[0], 40) || good(all[1], 40) || !good(all[2], 40) || !good(all[len(all)-1], 40) || !good(other, 999) || good(other, 1000) || len(b.of) != maxBearers+1 {
		t.Errorf("%d sessions", len(b.of))
	}
	if begin("cy", 5000, 1); len(b.of) != 1 {
		t.Errorf("%d sessions where all others are over", len(b.of))
	}
	if _, err := b.begin(signedInAs{}, noon(), noon(), bytes.NewReader(nil)); err == nil {
		t.Error("a token without chance")
	}
}

// After five tries the next one waits; the audit trail says so once, without the name that nobody has.
func TestTriesAreThrottled(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("keller", capability.SecurityAdministrator)
	for range 5 {
		g.no("", "POST session", `{"name":"my password","password":"wrong wrong wrong"}`, capability.ErrApplianceSignIn)
	}
	if status, p, _ := g.ask("", "POST session", fmt.Sprintf(`{"name":"keller","password":%q}`, passwordOf("keller"))); status != http.StatusTooManyRequests || p.Code != capability.ErrTries || !strings.Contains(p.Denial.Detail, "wait ") {
		t.Errorf("%d %+v", status, p)
	}
	g.from = "10.0.0.10"
	token := g.signIn("keller")
	raw := g.entries()
	if n := bytes.Count(raw, []byte("10.0.0.9")); n != 1 || bytes.Contains(raw, []byte("my password")) {
		t.Errorf("%d entries of the failed tries, in %q", n, raw)
	}
	g.from = "10.0.0.9"
	g.past.Add(3600)
	g.signIn("keller")

	// The own password cannot be guessed with somebody's token either.
	g.no(token, "GET session", "", capability.ErrApplianceToken)
	g.from = "10.0.0.11"
	token = g.signIn("keller")
	for range 5 {
		g.no(token, "PUT password", `{"current":"wrong wrong wrong","password":"another secret"}`, capability.ErrApplianceSignIn)
	}
	g.no(token, "PUT password", fmt.Sprintf(`{"current":%q,"password":"another secret"}`, passwordOf("keller")), capability.ErrTries)

	// Nor can the first-login code.
	first := newGateway(t, ledger.New())
	for range 5 {
		first.no("", "POST first-login", `{"code":"0000-0000","name":"a","password":"correct horse"}`, capability.ErrFirstLogin)
	}
	first.no("", "POST first-login", `{"code":"0000-0000","name":"a","password":"correct horse"}`, capability.ErrTries)
}

func TestUsers(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("keller", capability.SecurityAdministrator)
	token := g.signIn("keller")
	with := func(form string) string {
		return fmt.Sprintf(`{%s"current":%q}`, form, passwordOf("keller"))
	}
	u := read[User](t, g.must(token, "POST users", with(`"name":"Ada Müller","roles":["auditor","viewer"],"password":"a long secret",`)))
	if u.Name != "Ada Müller" || !slices.Equal(u.Roles, []capability.Role{capability.Viewer, capability.Auditor}) || u.Tokens == nil {
		t.Errorf("%+v", u)
	}
	ada := "users/Ada%20M%C3%BCller"
	if list := read[[]User](t, g.must(token, "GET users", "")); len(list) != 2 || list[1].Name != "Ada Müller" {
		t.Errorf("%+v", list)
	}

	// The own password is asked again, whatever is changed.
	for pattern, form := range map[string]string{
		"POST users": `{"name":"x","password":"a long secret"}`, "PUT " + ada: `{"roles":[]}`, "DELETE " + ada: ``, "POST " + ada + "/tokens": `{"name":"x"}`, "DELETE " + ada + "/tokens/x": ``, "POST tokens": `{"name":"x"}`,
	} {
		if p := g.no(token, pattern, form, capability.ErrForm); p.Denial.Subject != "current" {
			t.Errorf("%s: %+v", pattern, p)
		}
	}
	g.no(token, "PUT "+ada, `{"roles":[],"current":"wrong wrong wrong"}`, capability.ErrApplianceSignIn)

	for name, c := range map[string]struct {
		pattern, form string
		code          capability.Code
	}{
		"twice":             {"POST users", with(`"name":"ada müller","password":"a long secret",`), capability.ErrLoginTaken},
		"a short password":  {"POST users", with(`"name":"x","password":"a secret",`), capability.ErrForm},
		"the name in it":    {"POST users", with(`"name":"xyz","password":"a long xyz secret",`), capability.ErrForm},
		"a role of nobody":  {"POST users", with(`"name":"x","password":"a long secret","roles":["root"],`), capability.ErrForm},
		"disabled at first": {"POST users", with(`"name":"x","password":"a long secret","disabled":true,`), capability.ErrForm},
		"another name":      {"PUT " + ada, with(`"name":"x",`), capability.ErrForm},
		"nobody":            {"PUT users/x", with(`"disabled":true,`), capability.ErrApplianceLogin},
		"nobody is there":   {"GET users/x", "", capability.ErrApplianceLogin},
		"nobody goes":       {"DELETE users/x", with(""), capability.ErrApplianceLogin},
		"the last goes":     {"DELETE users/keller", with(""), capability.ErrApplianceLast},
		"the last disabled": {"PUT users/keller", with(`"disabled":true,`), capability.ErrApplianceLast},
		"the last stripped": {"PUT users/keller", with(`"roles":["license administrator"],`), capability.ErrApplianceLast},
		"no such token":     {"DELETE " + ada + "/tokens/x", with(""), capability.ErrNotFound},
		"a token of ages":   {"POST " + ada + "/tokens", with(`"name":"x","life":99999999,`), capability.ErrForm},
		"a token of before": {"POST " + ada + "/tokens", with(`"name":"x","life":-1,`), capability.ErrForm},
	} {
		if status, p, body := g.ask(token, c.pattern, c.form); p.Code != c.code {
			t.Errorf("%s: %d %s, want %s", name, status, body, c.code)
		}
	}

	// A token for a program of somebody's.
	made := read[NewToken](t, g.must(token, "POST "+ada+"/tokens", with(`"name":"nightly","life":100,`)))
	if made.Ends != capability.At(noon())+100 || read[Session](t, g.must(made.Token, "GET session", "")).Name != "Ada Müller" {
		t.Errorf("%+v", made)
	}
	g.no(made.Token, "GET users", "", capability.ErrApplianceRole)
	g.no(made.Token, "DELETE session", "", capability.ErrNotFound)
	if body := g.must(token, "GET "+ada, ""); strings.Contains(body, made.Token) || !strings.Contains(body, "nightly") {
		t.Error(body)
	}
	g.must(token, "DELETE "+ada+"/tokens/nightly", with(""))
	g.no(made.Token, "GET session", "", capability.ErrApplianceToken)

	// A password that an administrator gives anew, and then one's own.
	g.must(token, "PUT "+ada, with(`"password":"given by keller",`))
	own := read[SignedIn](t, g.must("", "POST session", `{"name":"ADA MÜLLER","password":"given by keller"}`)).Token
	g.no(own, "PUT password", `{"current":"given by keller","password":"short"}`, capability.ErrForm)
	g.must(own, "PUT password", `{"current":"given by keller","password":"chosen by herself"}`)
	g.no(own, "GET session", "", capability.ErrApplianceToken)
	own = read[SignedIn](t, g.must("", "POST session", `{"name":"Ada Müller","password":"chosen by herself"}`)).Token
	mine := read[NewToken](t, g.must(own, "POST tokens", `{"name":"mine","current":"chosen by herself"}`))
	g.must(mine.Token, "DELETE tokens/mine", "")
	g.no(mine.Token, "GET session", "", capability.ErrApplianceToken)

	// A token is made once under a key, and shown once.
	g.key = "k1"
	g.must(token, "POST "+ada+"/tokens", with(`"name":"keyed",`))
	g.no(token, "POST "+ada+"/tokens", with(`"name":"keyed",`), capability.ErrKeyUsed)
	g.must("", "POST session", `{"name":"Ada Müller","password":"chosen by herself"}`)
	g.must("", "POST session", `{"name":"Ada Müller","password":"chosen by herself"}`) // a stranger's keys are nobody's
	g.key = ""

	g.must(token, "DELETE "+ada, with(""))
	g.no(own, "GET session", "", capability.ErrApplianceToken)

	// Root on the socket needs no password, and has no login of its own.
	root := serve(t, g.c)
	if status, _, body := root("PUT", Base+"users/keller", `{"password":"given by root"}`); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	for pattern, form := range map[string]string{"PUT password": `{"current":"x","password":"y"}`, "POST tokens": `{"name":"x"}`, "DELETE tokens/x": ""} {
		method, path, _ := strings.Cut(pattern, " ")
		if status, p, _ := root(method, Base+path, form); status != http.StatusForbidden || p.Code != capability.ErrForbidden {
			t.Errorf("%s by root: %d %s", pattern, status, p.Code)
		}
	}
	g.must("", "POST session", `{"name":"keller","password":"given by root"}`)
}

// Strangers look where a setting says so, and change nothing.
func TestOpenReads(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("ada", capability.SecurityAdministrator, capability.LicenseAdministrator)
	ada := g.signIn("ada")
	g.no("", "GET features", "", capability.ErrSignInFirst)
	g.must(ada, "POST policies", `{"name":"open-reads","value":"true"}`)
	g.must("", "GET features", "")
	if s := read[Session](t, g.must("", "GET session", "")); s.By != "" || strings.Join(s.Permissions, " ") != "see" {
		t.Errorf("%+v", s)
	}
	for _, pattern := range []string{"POST drops", "GET users", "GET audit", "GET backup", "PUT hostids", "PUT password", "DELETE session"} {
		g.no("", pattern, "{}", capability.ErrSignInFirst)
	}
	g.no("lh_none", "GET features", "", capability.ErrApplianceToken)
	g.must(ada, "POST policies", `{"name":"open-reads","value":"false"}`)
	g.no("", "GET features", "", capability.ErrSignInFirst)
}

// Every operation over the network, with every role and every kind of credential.
func TestNetworkMatrix(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.c.Poll = NewPoll(g.c.Appliance, PollTimes{}, func(PollTimes) {})
	g.mux = http.NewServeMux()
	g.c.api(g.mux, g.c.networkAsks(nil))
	g.login("keller", capability.SecurityAdministrator)
	may := map[string]string{
		"": "", "none": "", "viewer": "see report", "operator": "see report serve", "license administrator": "see report serve exchange set",
		"security administrator": "see report admit secure audit", "auditor": "see report audit",
	}
	asked := 0
	for role, permissions := range may {
		credentials := map[string]string{"none": ""}
		if role != "" {
			var roles []capability.Role
			if r, err := capability.ParseRole(role); err == nil {
				roles = append(roles, r)
			}
			g.login(role, roles...)
			credentials = map[string]string{"a session": g.signIn(role)}
			text := "token of " + role
			if _, err := g.c.Appliance.Change(t.Context(), ledger.AddToken{Login: role, Name: "t", Hash: ledger.TokenHash(text)}, "test", "test"); err != nil {
				t.Fatal(err)
			}
			credentials["a token"] = text
		}
		for kind, token := range credentials {
			for pattern, needed := range wants() {
				if pattern == "GET doctor" || pattern == "DELETE session" {
					continue
				}
				path := strings.NewReplacer("{id}", "1", "{name}", "nobody", "{token}", "none").Replace(pattern)
				status, p, body := g.ask(token, path, "[") // no form
				asked++
				open := needed == "anyone" || needed == "signed in" && role != "" || slices.Contains(strings.Fields(permissions), needed)
				refused := p.Code == capability.ErrSignInFirst || p.Code == capability.ErrApplianceRole || p.Code == capability.ErrForbidden && strings.Contains(p.Denial.Detail, "that is for root")
				if open == refused {
					t.Errorf("%q with %s: %s, which is for %s: %d %.200s", role, kind, pattern, needed, status, body)
				}
			}
		}
	}
	t.Logf("%d requests of %d operations with %d roles, 0 surprises", asked, len(wants()), len(may))
}

// Who sends slowly is judged by what it may at the end.
func TestSlowSender(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("keller", capability.SecurityAdministrator)
	g.login("ada", capability.LicenseAdministrator)
	ada := g.signIn("ada")
	sent := false
	slow := readerFunc(func(p []byte) (int, error) {
		if sent {
			return 0, io.EOF
		}
		sent = true
		if _, err := g.c.Appliance.Change(t.Context(), ledger.RemoveLogin{Name: "ada", By: "test"}, "test", "test"); err != nil {
			t.Error(err)
		}
		return copy(p, `{"name":"open-reads","value":"true"}`), nil
	})
	if status, p, _ := g.askFrom(ada, "POST policies", slow); status != http.StatusUnauthorized || p.Code != capability.ErrApplianceToken {
		t.Errorf("%d %+v", status, p)
	}
	g.no("", "GET features", "", capability.ErrSignInFirst)

	large := strings.NewReader(strings.Repeat("x", maxRestore+2))
	if status, p, _ := g.askFrom("", "POST session", strings.NewReader(strings.Repeat("x", maxBody+2))); status != http.StatusUnprocessableEntity || p.Code != capability.ErrFileSize {
		t.Errorf("of a stranger: %d %+v", status, p)
	}
	keller := g.signIn("keller")
	if status, p, _ := g.askFrom(keller, "POST users", large); status != http.StatusUnprocessableEntity || p.Code != capability.ErrFileSize {
		t.Errorf("%d %+v", status, p)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Neither a password nor its hash is in the audit trail, and what is there is worth nothing with another TPM, or for another login.
func TestPasswordsAreInNoEntry(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("keller", capability.SecurityAdministrator)
	g.login("ada", capability.Viewer)
	raw := g.entries()
	for _, secret := range []string{passwordOf("keller"), passwordOf("ada"), "argon2"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q is in the audit trail", secret)
		}
	}
	ada, err := g.c.login(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	fits := func(p *passwords, l *ledger.Login, password string) bool {
		ok, err := p.fits(t.Context(), l, password)
		if err != nil {
			t.Error(err)
		}
		return ok
	}
	here := g.c.entry().passwords
	if !fits(here, &ada, passwordOf("ada")) || fits(here, &ada, passwordOf("keller")) || fits(here, &ada, "") || fits(here, &ada, strings.Repeat("x", 5000)) {
		t.Error("another password fits, or hers does not")
	}
	if fits(newPasswords(pepperOf("another")), &ada, passwordOf("ada")) {
		t.Error("another TPM judges")
	}
	moved := ada
	moved.Name = "keller"
	if fits(here, &moved, passwordOf("ada")) {
		t.Error("what is kept of one login's password opens another login")
	}
	again, err := here.make(t.Context(), g.c, "ada", passwordOf("ada"))
	if err != nil || bytes.Equal(again, ada.Password) || len(again) > ledger.MaxVerifier {
		t.Errorf("%d bytes, %v", len(again), err)
	}
	if _, err := newPasswords(nil).fits(t.Context(), &ada, "x"); err == nil {
		t.Error("a password is judged without a TPM")
	}
	broken := newPasswords(func([]byte) ([32]byte, error) { return [32]byte{}, os.ErrClosed })
	if _, err := broken.make(t.Context(), g.c, "ada", passwordOf("ada")); err == nil {
		t.Error("a password is kept without a TPM")
	}
}

// Of a list of operations the patterns are told apart by net/http, so that none hides another.
func TestOperationsAreDistinct(t *testing.T) {
	met := map[string]bool{}
	for _, op := range refusing(t, capability.ErrCorrupt).operations() {
		if met[op.pattern] || (op.do == nil) == (op.stream == nil) {
			t.Errorf("%s", op.pattern)
		}
		met[op.pattern] = true
	}
	if len(slices.Collect(maps.Keys(met))) < 40 {
		t.Errorf("%d operations", len(met))
	}
}

// Root that shows the token of a login on the socket is that login: it changes that one's own password, and may nothing that the login may not.
func TestTokenOnTheSocket(t *testing.T) {
	g := newGateway(t, ledger.New())
	g.login("keller", capability.SecurityAdministrator)
	g.login("ada", capability.Viewer)
	socket := http.NewServeMux()
	g.c.api(socket, g.c.peerAsks)
	ask := func(token, pattern, body string, want int) string {
		t.Helper()
		method, path, _ := strings.Cut(pattern, " ")
		r := httptest.NewRequest(method, Base+path, strings.NewReader(body))
		r = r.WithContext(context.WithValue(t.Context(), peerKey{}, Peer{}))
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		socket.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s with %q: %d %s", pattern, token, w.Code, w.Body)
		}
		return w.Body.String()
	}
	form := fmt.Sprintf(`{"current":%q,"password":"another secret"}`, passwordOf("ada"))
	ask("", "PUT password", form, http.StatusForbidden) // root has no password here
	ask("", "GET users", "", http.StatusOK)
	token := read[SignedIn](t, ask("", "POST session", fmt.Sprintf(`{"name":"ada","password":%q}`, passwordOf("ada")), http.StatusOK)).Token
	ask(token, "GET users", "", http.StatusForbidden)
	ask(token, "GET first-login", "", http.StatusForbidden)
	ask("no such token", "GET health", "", http.StatusUnauthorized)
	ask(token, "PUT password", `{"current":"wrong wrong wrong","password":"another secret"}`, http.StatusUnauthorized)
	ask(token, "PUT password", form, http.StatusOK)
	ask(token, "GET health", "", http.StatusUnauthorized) // another password ends every session
}
