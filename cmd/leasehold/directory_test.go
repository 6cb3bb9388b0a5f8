package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/directory/directorytest"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/web/issuer"
	"github.com/leasehold/leasehold/capability/web/issuer/issuertest"
)

// newClerk is the program without its loop, which believes this authority.
func newClerk(known *x509.Certificate, secret string) (*clerk, *bytes.Buffer) {
	said := &bytes.Buffer{}
	o := &clerk{program: program{stderr: said}, known: x509.NewCertPool(), secret: secret, issuers: map[string]*issuer.Issuer{}}
	if known != nil {
		o.known.AddCert(known)
	}
	return o, said
}

const back = "https://licenses.example.org:7070/sign-in/directory/answer"

// comes is whom the program names for a browser that was sent to the issuer and back.
func comes(t *testing.T, o *clerk, i *issuertest.Issuer, change func(*console.DirectoryQuestion)) *console.DirectoryAnswer {
	t.Helper()
	trip := web.NewTrip()
	q := console.DirectoryQuestion{Number: 1, URL: i.URL, Account: issuertest.Client, Name: "preferred_username", Claim: "groups", Scope: "groups", Groups: []string{"all", "security"}, Address: &console.AddressQuestion{Redirect: back, Trip: trip}}
	a := o.answer(t.Context(), &q)
	came, redirect, err := i.Grant(a.Address)
	u, _ := url.Parse(a.Address)
	if err != nil || redirect != back || u.Query().Get("scope") != "openid profile groups" {
		t.Fatalf("%+v: %v", a, err)
	}
	q = console.DirectoryQuestion{Number: 2, URL: q.URL, Account: q.Account, Name: q.Name, Claim: q.Claim, Groups: q.Groups, Code: &console.CodeQuestion{AddressQuestion: *q.Address, Code: came.Get("code")}}
	if change != nil {
		change(&q)
	}
	return o.answer(t.Context(), &q)
}

// What an issuer signs says who it is, and which of the groups that were asked for.
func TestIssuerNames(t *testing.T) {
	i, err := issuertest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	o, said := newClerk(i.Certificate(), issuertest.Secret)
	for _, c := range []struct {
		groups any
		want   []string
	}{
		{[]string{"all", "others", "security"}, []string{"all", "security"}}, {"all", []string{"all"}}, {[]any{"security", 7, nil, []string{"all"}}, []string{"security"}}, {[]string{"ALL", "all "}, nil}, {nil, nil}, {map[string]bool{"all": true}, nil}, {7, nil},
	} {
		i.Say("ES256", map[string]any{"preferred_username": "ada", "groups": c.groups})
		if a := comes(t, o, i, nil); a.Denial != nil || a.Number != 2 || a.Person.Subject != "4711" || a.Person.Name != "ada" || !slices.Equal(a.Person.Groups, c.want) {
			t.Errorf("%v: %+v %+v", c.groups, a.Person, a.Denial)
		}
	}
	good := map[string]any{"preferred_username": "ada", "groups": "all"}
	with := func(name string, v any) map[string]any {
		return map[string]any{"preferred_username": "ada", "groups": "all", name: v}
	}
	for what, c := range map[string]struct {
		alg    string
		claims map[string]any
		change func(*console.DirectoryQuestion)
		code   capability.Code
	}{
		"without a name":       {"RS256", with("preferred_username", nil), nil, capability.ErrDirectory},
		"an empty name":        {"RS256", with("preferred_username", " "), nil, capability.ErrDirectory},
		"a name of another":    {"RS256", with("preferred_username", []string{"ada"}), nil, capability.ErrDirectory},
		"for another":          {"RS256", with("aud", "another"), nil, capability.ErrDirectory},
		"of another issuer":    {"RS256", with("iss", "https://evil.example"), nil, capability.ErrDirectory},
		"of another sign-in":   {"RS256", with("nonce", "AAAA"), nil, capability.ErrApplianceSignIn},
		"over":                 {"RS256", with("exp", 1), nil, capability.ErrDirectory},
		"unsigned":             {"none", good, nil, capability.ErrDirectory},
		"signed with a public": {"HS256", good, nil, capability.ErrDirectory},
		"signed by another":    {"ES256!", good, nil, capability.ErrDirectory},
		"another verifier":     {"RS256", good, func(q *console.DirectoryQuestion) { q.Code.Trip.Verifier = web.NewTrip().Verifier }, capability.ErrApplianceSignIn},
		"another redirect":     {"RS256", good, func(q *console.DirectoryQuestion) { q.Code.Redirect = "https://evil.example/" }, capability.ErrApplianceSignIn},
		"another code":         {"RS256", good, func(q *console.DirectoryQuestion) { q.Code.Code = "guessed" }, capability.ErrApplianceSignIn},
	} {
		i.Say(c.alg, c.claims)
		said.Reset()
		if a := comes(t, o, i, c.change); a.Denial == nil || a.Denial.Code != c.code || a.Person != nil || a.Number != 2 || said.Len() == 0 || strings.Contains(said.String(), issuertest.Secret) {
			t.Errorf("%s: %+v, and said %q", what, a, said)
		}
	}
}

// An issuer is asked in its one place, by TLS that an authority stands for, and nothing that it points to.
func TestIssuerInVain(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"down": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
		"floods": func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				w.Write(bytes.Repeat([]byte(" "), 1<<16))
			}
			fmt.Fprint(w, "{}")
		},
		"another": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"https://evil.example"}`) },
	} {
		s := httptest.NewTLSServer(answer)
		o, _ := newClerk(s.Certificate(), "")
		q := console.DirectoryQuestion{Number: 1, URL: s.URL, Account: "x", Address: &console.AddressQuestion{Redirect: back, Trip: web.NewTrip()}}
		if a := o.answer(t.Context(), &q); a.Denial == nil || a.Denial.Code != capability.ErrDirectory || a.Address != "" {
			t.Errorf("%s: %+v", what, a)
		}
		s.Close()
	}
	i, err := issuertest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	q := console.DirectoryQuestion{Number: 1, URL: i.URL, Account: "x", Address: &console.AddressQuestion{Redirect: back, Trip: web.NewTrip()}}
	o, _ := newClerk(nil, "")
	if a := o.answer(t.Context(), &q); a.Denial == nil || !strings.Contains(a.Denial.Detail, "unknown authority") {
		t.Errorf("an authority that nobody knows: %+v", a)
	}
	// A client that the issuer does not know, and an issuer that is out of order, are no wrong sign-in.
	i.Say("RS256", map[string]any{"preferred_username": "ada"})
	o, _ = newClerk(i.Certificate(), "another secret")
	if a := comes(t, o, i, nil); a.Denial == nil || a.Denial.Code != capability.ErrDirectory || !strings.Contains(a.Denial.Detail, "invalid_client") {
		t.Errorf("a secret that is not ours: %+v", a)
	}
	for status, body := range map[int]string{http.StatusInternalServerError: "", http.StatusServiceUnavailable: "<html>", http.StatusBadRequest: `{"error":"unauthorized_client"}`, http.StatusOK: "{}"} {
		var s *httptest.Server
		s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","jwks_uri":"%[1]s/k"}`, s.URL)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		o, _ := newClerk(s.Certificate(), "")
		q := console.DirectoryQuestion{Number: 1, URL: s.URL, Account: "x", Code: &console.CodeQuestion{AddressQuestion: console.AddressQuestion{Redirect: back, Trip: web.NewTrip()}, Code: "c"}}
		if a := o.answer(t.Context(), &q); a.Denial == nil || a.Denial.Code != capability.ErrDirectory {
			t.Errorf("%d %s: %+v", status, body, a)
		}
		s.Close()
	}
	// Its tokens and keys are where it is.
	asked := 0
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer other.Close()
	var s *httptest.Server
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[1]s/a","token_endpoint":"%[2]s/t","jwks_uri":"%[2]s/k"}`, s.URL, other.URL)
	}))
	defer s.Close()
	o, _ = newClerk(s.Certificate(), "")
	o.known.AddCert(other.Certificate())
	q = console.DirectoryQuestion{Number: 1, URL: s.URL, Account: "x", Code: &console.CodeQuestion{AddressQuestion: console.AddressQuestion{Redirect: back, Trip: web.NewTrip()}, Code: "c"}}
	if a := o.answer(t.Context(), &q); a.Denial == nil || a.Denial.Code != capability.ErrDirectory || !strings.Contains(a.Denial.Detail, "is not asked") || asked != 0 {
		t.Errorf("%+v, asked %d times", a, asked)
	}
}

// A name and a password are judged by the directory; what is wrong with that is in the log, and who is unknown is not.
func TestDirectoryAnswers(t *testing.T) {
	d, err := directorytest.New(newMachine(t).dir, directorytest.Good)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	o, said := newClerk(nil, directorytest.Secret)
	o.known = d.Pool
	ask := func(name, password string) *console.DirectoryAnswer {
		return o.answer(t.Context(), &console.DirectoryQuestion{Number: 3, URL: d.TLS, Account: directorytest.Account, Base: directorytest.Base, Name: "uid", Groups: []string{directorytest.Viewers, directorytest.Security},
			Password: &console.PasswordQuestion{Name: name, Password: password}})
	}
	if a := ask("ada", directorytest.PasswordOf("ada")); a.Denial != nil || a.Person.Name != "ada" || len(a.Person.Groups) != 2 || a.Number != 3 {
		t.Errorf("%+v %+v", a.Person, a.Denial)
	}
	for _, c := range [][2]string{{"ada", "wrong"}, {"nobody", "x"}, {"*", "x"}, {"ada", ""}} {
		if a := ask(c[0], c[1]); a.Denial == nil || a.Denial.Code != capability.ErrApplianceSignIn || a.Person != nil {
			t.Errorf("%q: %+v", c, a)
		}
	}
	if said.Len() != 0 {
		t.Errorf("said %q", said)
	}
	o.secret = "another"
	if a := ask("ada", directorytest.PasswordOf("ada")); a.Denial == nil || a.Denial.Code != capability.ErrDirectory || !strings.Contains(said.String(), "sign in as "+directorytest.Account) || strings.Contains(said.String()+a.Denial.Detail, "a secret") {
		t.Errorf("%+v, said %q", a, said)
	}
	if a := o.answer(t.Context(), &console.DirectoryQuestion{Number: 4, URL: "https://localhost:1", Account: "x"}); a.Denial == nil || a.Denial.Code != capability.ErrDirectory || !strings.Contains(a.Denial.Detail, "older") {
		t.Errorf("%+v", a)
	}
}

// Without an authority nothing is asked, and a file that is none is said.
func TestDirectoryFlags(t *testing.T) {
	m := newMachine(t)
	m.put("empty.pem", nil)
	for _, args := range [][]string{{"directory"}, {"directory", "--authority", "empty.pem"}, {"directory", "x", "--authority", "empty.pem"}} {
		if status, _, stderr := m.run(args...); status != capability.ExitUsage {
			t.Errorf("%v: %d %s", args, status, stderr)
		}
	}
}
