package portal

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// script asks the REST API with a token.
type script struct {
	w     *world
	token string
}

// tokenOf makes a token of a login, by somebody.
func (w *world) tokenOf(login, by string, life capability.Seconds) string {
	w.t.Helper()
	text, err := entitlement.NewToken(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.do(entitlement.AddToken{Login: login, Name: "token " + text[3:11], Hash: entitlement.TokenHash(text), Life: life, By: by})
	return text
}

// script is one with a token of a new login.
func (w *world) script(login, account string, roles ...capability.Role) *script {
	w.t.Helper()
	w.do(entitlement.AddLogin{Name: login, Account: account, Roles: roles, By: "test"})
	return &script{w, w.tokenOf(login, login, 0)}
}

// reply is what came back.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

func (r *reply) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// problem is the body of a refusal.
func (r *reply) problem() (q problem) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, &q); err != nil || r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Fatalf("%s is no problem: %s %v", r.header.Get("Content-Type"), r, err)
	}
	return q
}

// into reads an answer that has to be one.
func (r *reply) into(v any) {
	r.t.Helper()
	if r.status != http.StatusOK {
		r.t.Fatal(r)
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatal(r, err)
	}
}

// send sends a body: bytes as they are, anything else as JSON; nil none. Pairs are headers.
func (p *script) send(method, path string, body any, pairs ...string) *reply {
	p.w.t.Helper()
	var content io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
		kind = ""
	case []byte:
		content, kind = bytes.NewReader(b), "application/octet-stream"
	case string:
		content = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			p.w.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, p.w.server.URL+restBase+path, content)
	if err != nil {
		p.w.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := p.w.server.Client().Do(r)
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return &reply{p.w.t, resp.StatusCode, resp.Header, got}
}

func (p *script) get(path string, pairs ...string) *reply {
	p.w.t.Helper()
	return p.send(http.MethodGet, path, nil, pairs...)
}

func (p *script) post(path string, body any, pairs ...string) *reply {
	p.w.t.Helper()
	return p.send(http.MethodPost, path, body, pairs...)
}

// fields is a body.
type fields map[string]any

// entries is how many entries the book has.
func (w *world) entries() (n uint64) {
	w.t.Helper()
	if err := w.desk.Ask(func(o *backoffice.Office) error { _, n = o.Book().Head(); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return n
}
