package portal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/leasehold/leasehold/capability"
)

// OIDC is an identity provider of OpenID Connect (Core 1.0), asked for a code (3.1) with PKCE (RFC 7636).
type OIDC struct {
	Name     string // in paths and subjects
	Issuer   string // https
	ClientID string
	Secret   string // empty: a public client
	// Transport is how it is reached.
	Transport http.RoundTripper
}

type oidcProvider struct {
	OIDC
	p      *Portal
	client *http.Client
	found  atomic.Pointer[oidc.Provider] // what the issuer says of itself, once it was asked

	asking sync.Mutex
	asked  time.Time // when it was asked last and gave no good answer
	fault  error     // why not
}

// askAgain is how long an issuer that gave no good answer is not asked again, however many want to sign in.
const askAgain = 5 * time.Second

func (p *Portal) newOIDC(o OIDC) (provider, error) {
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("issuer %q is no address of https", o.Issuer)
	case o.ClientID == "":
		return nil, errors.New("no client_id")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	return &oidcProvider{OIDC: o, p: p, client: outward(o.Transport)}, nil
}

// round is an errand to a provider of OpenID Connect.
type round struct {
	State, Nonce, Verifier string
	To                     afterwards
}

// discover asks the issuer for its addresses and keys, the first time somebody signs in: a provider that is down stops nobody else.
func (o *oidcProvider) discover(ctx context.Context) (*oidc.Provider, error) {
	if found := o.found.Load(); found != nil {
		return found, nil
	}
	o.asking.Lock()
	defer o.asking.Unlock()
	if found := o.found.Load(); found != nil {
		return found, nil
	}
	if o.fault != nil && o.p.Now().Sub(o.asked) < askAgain {
		return nil, o.fault
	}
	// Its keys are asked for by later requests too: they are not this one's.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), o.client), o.Issuer)
	if err != nil {
		o.asked, o.fault = o.p.Now(), err
		return nil, err
	}
	o.found.Store(found)
	return found, nil
}

func (o *oidcProvider) config(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: o.ClientID, ClientSecret: o.Secret, Endpoint: found.Endpoint(), RedirectURL: o.p.here("sign-in", "oidc", o.Name).String(), Scopes: []string{oidc.ScopeOpenID}}
}

func (o *oidcProvider) send(v *visit, to afterwards) error {
	found, err := o.discover(v.r.Context())
	if err != nil {
		v.p.Log.Warn("identity provider", "provider", o.Name, "error", err)
		return capability.Refuse(capability.ErrSignIn, "", "%s does not answer; the portal's log says why", o.Name)
	}
	trip := round{rand.Text(), rand.Text(), oauth2.GenerateVerifier(), to}
	if err := v.p.errands.Send(v.w, o.Name, http.SameSiteLaxMode, trip); err != nil {
		return err
	}
	return v.goTo(o.config(found).AuthCodeURL(trip.State, oidc.Nonce(trip.Nonce), oauth2.S256ChallengeOption(trip.Verifier)))
}

func (v *visit) oidcAnswer() error {
	o, ok := v.p.providers[v.r.PathValue("provider")].(*oidcProvider)
	if !ok {
		return foreign(v.r.PathValue("provider"))
	}
	if err := v.mayAnswer(); err != nil {
		return err
	}
	said, err := o.answer(v)
	if err != nil {
		return v.refuseAnswer(o.Name, err)
	}
	return v.known(*said)
}

// answer judges what a browser brings back.
func (o *oidcProvider) answer(v *visit) (*who, error) {
	var trip round
	errand, err := v.p.errands.Back(v.r, o.Name, &trip)
	if err != nil {
		return nil, err
	}
	q := v.r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(trip.State)) != 1 {
		return nil, errors.New("the state is that of another browser")
	}
	if iss := q.Get("iss"); iss != "" && iss != o.Issuer { // RFC 9207
		return nil, fmt.Errorf("it is of the issuer %q", iss)
	}
	if q.Get("error") != "" || q.Get("code") == "" {
		return nil, fmt.Errorf("it has no code, but the error %q", q.Get("error"))
	}
	found, err := o.discover(v.r.Context())
	if err != nil {
		return nil, err
	}
	ctx := oidc.ClientContext(v.r.Context(), o.client)
	token, err := o.config(found).Exchange(ctx, q.Get("code"), oauth2.VerifierOption(trip.Verifier))
	if err != nil {
		return nil, fmt.Errorf("exchange the code: %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: o.ClientID, Now: v.p.Now, SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.ES384, oidc.EdDSA}}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	var claims struct {
		Party string `json:"azp"`
	}
	if err := id.Claims(&claims); err != nil {
		return nil, err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(trip.Nonce)) != 1:
		return nil, errors.New("the nonce is of another sign-in")
	case claims.Party != "" && claims.Party != o.ClientID, claims.Party == "" && len(id.Audience) > 1:
		return nil, fmt.Errorf("it is for %q", claims.Party)
	case id.Subject == "":
		return nil, errors.New("it names nobody")
	}
	return &who{o.Name, id.Subject, trip.To}, v.p.errands.Done(v.w, o.Name, errand)
}
