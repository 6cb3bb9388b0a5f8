package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web/issuer"
	"github.com/leasehold/leasehold/capability/web/issuer/issuertest"
)

// madeIssuer is the issuer of a test.
type madeIssuer struct {
	*issuertest.Issuer
	t *testing.T
}

func newIssuer(t *testing.T) *madeIssuer {
	t.Helper()
	i, err := issuertest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return &madeIssuer{i, t}
}

func (i *madeIssuer) options(o *Options) {
	o.OIDC = []OIDC{{Name: "corp", Issuer: i.URL, ClientID: issuertest.Client, Secret: issuertest.Secret, Transport: i.Client().Transport}}
}

// begin has a browser begin to sign in, and the user say yes there: the answer is what the browser is sent back with.
func (i *madeIssuer) begin(b *browser, to string) url.Values {
	i.t.Helper()
	return i.beginAt(b, "/sign-in/with/corp?to="+url.QueryEscape(to))
}

func (i *madeIssuer) beginAt(b *browser, link string) url.Values {
	i.t.Helper()
	a := b.get(link)
	u, err := url.Parse(a.location)
	if err != nil || a.status != http.StatusSeeOther {
		i.t.Fatal(a, err)
	}
	back, redirect, err := i.Grant(a.location)
	if err != nil || redirect != b.w.server.URL+"/sign-in/oidc/corp" || u.Query().Get("scope") != "openid" {
		i.t.Fatal(a, err)
	}
	if c := a.header.Get("Set-Cookie"); !strings.HasPrefix(c, "__Host-errand-corp=") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "HttpOnly") || strings.Contains(c, u.Query().Get("nonce")) {
		i.t.Errorf("cookie %s", c)
	}
	return back
}

func (b *browser) back(v url.Values) answer {
	b.w.t.Helper()
	return b.get("/sign-in/oidc/corp?" + v.Encode())
}

// Whom the provider names is signed in if the book has that name, and goes on to the page that was asked for.
func TestOIDC(t *testing.T) {
	i := newIssuer(t)
	w := newWorld(t, i.options)
	w.do(entitlement.AddLogin{Name: "larsen", Account: "ACME", Roles: []capability.Role{capability.Viewer}, Subject: "corp 4711", By: "test"})
	for _, alg := range []string{"RS256", "ES256"} {
		i.Say(alg, nil)
		b := w.browser()
		if a := b.get("/sign-in?to=/devices"); !strings.Contains(a.body, `href="/sign-in/with/corp?to=%2fdevices"`) {
			t.Error(a)
		}
		came := i.begin(b, "/devices?q=x")
		a := b.back(came)
		if a.status != http.StatusOK || a.header.Get("Refresh") != "0; url=/devices?q=x" || !strings.Contains(a.body, `href="/devices?q=x"`) {
			t.Fatal(a)
		}
		if c := strings.Join(a.header.Values("Set-Cookie"), "\n"); !strings.Contains(c, "__Host-session=") || !strings.Contains(c, "SameSite=Strict") || !strings.Contains(c, "__Host-errand-corp=;") {
			t.Error(c)
		}
		if a := b.get("/devices"); a.status != http.StatusOK || !strings.Contains(a.body, "larsen, ACME") {
			t.Error(a)
		}
		if a := b.back(came); a.status != http.StatusUnauthorized {
			t.Error("the same answer again:", a)
		}
	}
	// To no other site, whatever was asked for.
	for _, to := range []string{"https://evil.example/", "//evil.example", "/\t/evil.example", "/\\evil.example", ""} {
		b := w.browser()
		if a := b.back(i.begin(b, to)); a.header.Get("Refresh") != "0; url=/" {
			t.Errorf("%q: %v", to, a)
		}
	}
}

// Nobody becomes a login by what a provider says.
func TestOIDCKnowsOnlyTheBook(t *testing.T) {
	i := newIssuer(t)
	w := newWorld(t, i.options)
	yes := true
	w.do(entitlement.AddLogin{Name: "other", Subject: "adfs 4711", By: "test"}, entitlement.AddLogin{Name: "4711", By: "test"}, entitlement.AddLogin{Name: "corp 4711", By: "test"},
		entitlement.AddLogin{Name: "gone", Subject: "corp 9", By: "test"}, entitlement.ChangeLogin{Name: "gone", Disabled: &yes, By: "test"})
	for _, sub := range []string{"4711", "9", "corp 4711", "", " 4711", "471"} {
		i.Say("RS256", map[string]any{"sub": sub, "email": "other", "preferred_username": "other"})
		b := w.browser()
		a := b.back(i.begin(b, "/"))
		if a.status != http.StatusUnauthorized || b.get("/me").status != http.StatusSeeOther {
			t.Errorf("%q: %v", sub, a)
		}
		if sub != "" && !strings.Contains(a.body, "ask a security administrator") {
			t.Errorf("%q: nobody says whom to ask: %v", sub, a)
		}
	}
}

// What is not the answer to what this browser was sent away with is refused, whoever signed it.
func TestOIDCRefuses(t *testing.T) {
	i := newIssuer(t)
	var log written
	w := newWorld(t, i.options, log.options)
	w.do(entitlement.AddLogin{Name: "larsen", Roles: []capability.Role{capability.Viewer}, Subject: "corp 4711", By: "test"})
	now := time.Now()
	for what, c := range map[string]struct {
		alg    string
		claims map[string]any
		change func(b *browser, came url.Values)
		why    string // in the log
	}{
		"another audience":      {claims: map[string]any{"aud": "another"}, why: "expected audience"},
		"two audiences":         {claims: map[string]any{"aud": []string{"leasehold", "another"}}, why: "it is for"},
		"for another party":     {claims: map[string]any{"aud": []string{"leasehold", "another"}, "azp": "another"}, why: "it is for"},
		"another issuer":        {claims: map[string]any{"iss": "https://evil.example"}, why: "issued by a different provider"},
		"no issuer":             {claims: map[string]any{"iss": nil}, why: "issued by a different provider"},
		"another nonce":         {claims: map[string]any{"nonce": "AAAA"}, why: "nonce"},
		"no nonce":              {claims: map[string]any{"nonce": nil}, why: "nonce"},
		"an empty nonce":        {claims: map[string]any{"nonce": ""}, why: "nonce"},
		"expired":               {claims: map[string]any{"exp": now.Add(-time.Minute).Unix()}, why: "expired"},
		"no end":                {claims: map[string]any{"exp": nil}, why: "expired"},
		"not yet good":          {claims: map[string]any{"nbf": now.Add(time.Hour).Unix()}, why: "before the nbf"},
		"nobody":                {claims: map[string]any{"sub": nil}, why: "names nobody"},
		"unsigned":              {alg: "none", why: "alg"},
		"signed with a public":  {alg: "HS256", why: "algorithm"},
		"signed by another":     {alg: "ES256!", why: "signature"},
		"another's state":       {change: func(_ *browser, came url.Values) { came.Set("state", i.begin(w.browser(), "/").Get("state")) }, why: "the state"},
		"no state":              {change: func(_ *browser, came url.Values) { came.Del("state") }, why: "the state"},
		"another browser":       {change: func(b *browser, _ url.Values) { b.Jar = w.browser().Jar }, why: "not begun in this browser"},
		"another browser's own": {change: func(b *browser, _ url.Values) { o := w.browser(); i.begin(o, "/"); b.Jar = o.Jar }, why: "the state"},
		"another's code":        {change: func(_ *browser, came url.Values) { came.Set("code", i.begin(w.browser(), "/").Get("code")) }, why: "invalid_grant"},
		"a code nobody gave":    {change: func(_ *browser, came url.Values) { came.Set("code", "guessed") }, why: "invalid_grant"},
		"no code":               {change: func(_ *browser, came url.Values) { came.Del("code") }, why: "no code"},
		"an error":              {change: func(_ *browser, came url.Values) { came.Set("error", "access_denied<script>") }, why: "access_denied"},
		"of another issuer":     {change: func(_ *browser, came url.Values) { came.Set("iss", "https://evil.example") }, why: "of the issuer"},
	} {
		i.Say(cmp.Or(c.alg, "RS256"), c.claims)
		b := w.browser()
		came := i.begin(b, "/")
		if c.change != nil {
			c.change(b, came)
		}
		a := b.back(came)
		if a.status != http.StatusUnauthorized || !strings.Contains(a.body, "LH-5103") || strings.Contains(a.body, "<script>") && strings.Contains(a.body, "denied") {
			t.Errorf("%s: %v", what, a)
		}
		if b.get("/me").status != http.StatusSeeOther {
			t.Errorf("%s: signed in", what)
		}
		if text := log.take(); !strings.Contains(text, c.why) {
			t.Errorf("%s: refused for another reason: %s", what, text)
		}
	}
	// And the same with nothing wrong.
	i.Say("RS256", map[string]any{"aud": []string{"leasehold", "another"}, "azp": "leasehold"})
	b := w.browser()
	if a := b.back(i.begin(b, "/")); a.status != http.StatusOK {
		t.Error(a)
	}
	// A code that was used is worth nothing, also with the state of another sign-in of the same browser.
	first := i.begin(b, "/")
	if a := b.back(first); a.status != http.StatusOK {
		t.Error(a)
	}
	second := i.begin(b, "/")
	second.Set("code", first.Get("code"))
	if a := b.back(second); a.status != http.StatusUnauthorized {
		t.Error(a)
	}
}

// A provider that is down, that points elsewhere or floods stops only itself, and nobody else's host is asked.
func TestOIDCIsReachedInOnePlace(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"down": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
		"floods": func(w http.ResponseWriter, r *http.Request) {
			for range 64 {
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
			fmt.Fprint(w, `{}`)
		},
		"of another issuer": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"issuer":"https://evil.example"}`) },
		"without https": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://%s","authorization_endpoint":"https://%[1]s/a","token_endpoint":"http://%[1]s/t","jwks_uri":"http://%[1]s/k"}`, r.Host)
		},
	} {
		s := httptest.NewTLSServer(answer)
		w := newWorld(t, func(o *Options) {
			o.OIDC = []OIDC{{Name: "corp", Issuer: s.URL, ClientID: "leasehold", Transport: s.Client().Transport}}
		})
		b := w.browser()
		a := b.get("/sign-in/with/corp")
		if what == "without https" {
			u, err := url.Parse(a.location)
			if err != nil {
				t.Fatal(err)
			}
			a = b.back(url.Values{"state": {u.Query().Get("state")}, "code": {"x"}})
		}
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: %v", what, a)
		}
		if a := w.signedIn("keller", "", capability.Viewer).get("/devices"); a.status != http.StatusOK {
			t.Errorf("%s: %v", what, a)
		}
		s.Close()
	}
}

func TestProvidersThatCannotBe(t *testing.T) {
	for _, o := range []OIDC{
		{}, {Name: "corp"}, {Name: "corp", Issuer: "http://idp.example", ClientID: "x"}, {Name: "corp", Issuer: "https://idp.example"}, {Name: "Corp", Issuer: "https://idp.example", ClientID: "x"},
		{Name: "a b", Issuer: "https://idp.example", ClientID: "x"}, {Name: "a/b", Issuer: "https://idp.example", ClientID: "x"}, {Name: "corp", Issuer: "https://idp.example?x", ClientID: "x"},
	} {
		if _, err := New(Options{Hosts: []string{"localhost"}, Now: time.Now, OIDC: []OIDC{o}}); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	good := OIDC{Name: "corp", Issuer: "https://idp.example", ClientID: "x"}
	if _, err := New(Options{Hosts: []string{"localhost"}, Now: time.Now, OIDC: []OIDC{good, good}}); err == nil {
		t.Error("two of one name are taken")
	}
	for _, origin := range []string{"http://a.example", "https://", "a.example", "https://a.example/path", "https://a.example?x"} {
		if _, err := New(Options{Hosts: []string{"localhost"}, Now: time.Now, Origin: origin}); err == nil {
			t.Errorf("%s is taken", origin)
		}
	}
}

// Where identity providers are for everybody, passwords and one-time codes are for local logins.
func TestSingleSignOn(t *testing.T) {
	i := newIssuer(t)
	w := newWorld(t, i.options, func(o *Options) { o.SingleSignOn = true })
	hash := passwordHash(t)
	for _, name := range []string{"larsen", "keller"} {
		w.do(entitlement.AddLogin{Name: name, Roles: []capability.Role{capability.Viewer}, Local: name == "keller", Code: entitlement.LoginHash(name, "ABCD"), By: "test"},
			entitlement.SetPassword{Name: name, Password: hash, By: "test"})
		b, want := w.browser(), http.StatusUnauthorized
		if name == "keller" {
			want = http.StatusSeeOther
		}
		if a := b.post("/sign-in", "name", name, "password", password); a.status != want {
			t.Errorf("%s: %v", name, a)
		}
		if name == "larsen" {
			want = http.StatusConflict
		}
		if a := b.post("/claim", "name", name, "code", "ABCD", "password", password, "again", password); a.status != want {
			t.Errorf("%s: %v", name, a)
		}
	}
}

// down is a provider that does not answer, and counts who asks.
type down struct{ asked atomic.Int64 }

func (d *down) RoundTrip(*http.Request) (*http.Response, error) {
	d.asked.Add(1)
	return nil, errors.New("nobody is there")
}

// A provider that does not answer is not asked by each who would sign in, and is asked again.
func TestProviderThatIsDown(t *testing.T) {
	d := &down{}
	w := newWorld(t, func(o *Options) {
		o.OIDC = []OIDC{{Name: "corp", Issuer: "https://idp.example", ClientID: "leasehold", Transport: d}}
	})
	w.clock = time.Now()
	var all sync.WaitGroup
	for range 20 {
		b := w.browser()
		all.Go(func() {
			if a := b.get("/sign-in/with/corp"); a.status != http.StatusUnauthorized {
				t.Errorf("%v", a)
			}
		})
	}
	all.Wait()
	if n := d.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w.clock = w.clock.Add(issuer.AskAgain)
	w.browser().get("/sign-in/with/corp")
	if n := d.asked.Load(); n != 2 {
		t.Errorf("asked %d times, and not again", n)
	}
}

// Answers of a provider are judged so often for one address and no oftener.
func TestProviderAnswersAreThrottled(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.OIDC = []OIDC{{Name: "corp", Issuer: "https://idp.example", ClientID: "leasehold", Transport: &down{}}}
	})
	w.clock = time.Now()
	b := w.browser()
	for n := range answersAtOnce {
		if a := b.get("/sign-in/oidc/corp?state=x&code=y"); a.status != http.StatusUnauthorized {
			t.Fatal(n, a)
		}
	}
	if a := b.get("/sign-in/oidc/corp?state=x&code=y"); a.status != http.StatusTooManyRequests {
		t.Error(a)
	}
}
