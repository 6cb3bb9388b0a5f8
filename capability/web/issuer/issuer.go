// Package issuer asks an issuer of OpenID Connect (Core 1.0) who a browser belongs to: for a code (3.1) with PKCE (RFC 7636). It is what connects to that one place, and so it is no part of a program that
// connects to nothing; those have web.Trip, and somebody else who asks.
//
// Start with New; Address is where a browser is sent, and Redeem judges what it came back with.
package issuer

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/leasehold/leasehold/capability/web"
)

// ErrOtherSignIn: the issuer does not take the code, or what it answers is of another sign-in. Who signs in begins anew; every other error of Redeem is about the issuer, or about how it is asked.
var ErrOtherSignIn = errors.New("it is of another sign-in, or was used before")

const (
	// AskAgain is how long an issuer that gave no good answer is not asked again, however many want to sign in.
	AskAgain = 5 * time.Second

	maxAnswer = 1 << 20 // bytes
	patience  = 15 * time.Second
)

// Options say which issuer it is, and how it is reached.
type Options struct {
	URL       string // https
	ClientID  string
	Secret    string            // empty: a public client
	Transport http.RoundTripper // nil: that of net/http
	Now       func() time.Time
}

// Issuer is one. Its addresses and keys are asked for when somebody signs in first: one that is down stops nobody else.
type Issuer struct {
	Options
	client *http.Client
	found  atomic.Pointer[oidc.Provider] // what the issuer says of itself, once it was asked

	asking sync.Mutex
	asked  time.Time // when it was asked last and gave no good answer
	fault  error     // why not
}

// New asks nobody yet. Its error is that there can be no such issuer.
func New(o Options) (*Issuer, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("issuer %q is no address of https", o.URL)
	case o.ClientID == "":
		return nil, errors.New("no client_id")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	return &Issuer{Options: o, client: outward(o.Transport)}, nil
}

func (i *Issuer) discover(ctx context.Context) (*oidc.Provider, error) {
	if found := i.found.Load(); found != nil {
		return found, nil
	}
	i.asking.Lock()
	defer i.asking.Unlock()
	if found := i.found.Load(); found != nil {
		return found, nil
	}
	if i.fault != nil && i.Now().Sub(i.asked) < AskAgain {
		return nil, i.fault
	}
	// Its keys are asked for by later requests too: they are not this one's.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), i.client), i.URL)
	if err != nil {
		i.asked, i.fault = i.Now(), err
		return nil, err
	}
	i.found.Store(found)
	return found, nil
}

func (i *Issuer) config(found *oidc.Provider, redirect string, scopes []string) *oauth2.Config {
	at := found.Endpoint()
	at.AuthStyle = i.style(found)
	return &oauth2.Config{ClientID: i.ClientID, ClientSecret: i.Secret, Endpoint: at, RedirectURL: redirect, Scopes: append([]string{oidc.ScopeOpenID}, scopes...)}
}

// style is how this client says its secret (Discovery 1.0, 3). An issuer that does not say how it is asked in both ways, and then a code that is not good is told as a client that is not.
func (i *Issuer) style(found *oidc.Provider) oauth2.AuthStyle {
	var says struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	switch err := found.Claims(&says); {
	case err != nil:
		return oauth2.AuthStyleAutoDetect
	case i.Secret == "":
		return oauth2.AuthStyleInParams
	case slices.Contains(says.Methods, "client_secret_basic"):
		return oauth2.AuthStyleInHeader
	case slices.Contains(says.Methods, "client_secret_post"):
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleAutoDetect
}

// Address is where a browser is sent, to come back to redirect. Scopes are asked for beside openid.
func (i *Issuer) Address(ctx context.Context, redirect string, t web.Trip, scopes ...string) (string, error) {
	found, err := i.discover(ctx)
	if err != nil {
		return "", err
	}
	return i.config(found, redirect, scopes).AuthCodeURL(t.State, oidc.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier)), nil
}

// Known is somebody whom an issuer has named.
type Known struct {
	Subject string // never another's, at this issuer
	token   *oidc.IDToken
}

// Claims reads what else is said into a value, as encoding/json does.
func (k *Known) Claims(into any) error { return k.token.Claims(into) }

// Redeem exchanges the code that a browser came back with. The error is ErrOtherSignIn, or that the issuer's answer is not good, or that there is none.
func (i *Issuer) Redeem(ctx context.Context, redirect, code string, t web.Trip) (*Known, error) {
	found, err := i.discover(ctx)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, i.client)
	token, err := i.config(found, redirect, nil).Exchange(ctx, code, oauth2.VerifierOption(t.Verifier))
	if err != nil {
		err = fmt.Errorf("exchange the code: %w", err)
		if no := (*oauth2.RetrieveError)(nil); errors.As(err, &no) && no.ErrorCode == "invalid_grant" {
			err = fmt.Errorf("%w: %w", ErrOtherSignIn, err)
		}
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: i.ClientID, Now: i.Now, SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.ES384, oidc.EdDSA}}).Verify(ctx, raw)
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
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(t.Nonce)) != 1:
		return nil, fmt.Errorf("%w: the nonce is another", ErrOtherSignIn)
	case claims.Party != "" && claims.Party != i.ClientID, claims.Party == "" && len(id.Audience) > 1:
		return nil, fmt.Errorf("it is for %q", claims.Party)
	case id.Subject == "":
		return nil, errors.New("it names nobody")
	}
	return &Known{id.Subject, id}, nil
}

// outward is how an issuer is asked: that one place, no other it points to, and no more than 1 MiB of answer.
func outward(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: bounded{transport}, Timeout: patience, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		return fmt.Errorf("it points to %s, and no redirect is followed", r.URL.Host)
	}}
}

type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not https", r.URL.Redacted())
	}
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}
