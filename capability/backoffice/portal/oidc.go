package portal

import (
	"net/http"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/web/issuer"
)

// OIDC is an identity provider of OpenID Connect.
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
	issuer *issuer.Issuer
}

func (p *Portal) newOIDC(o OIDC) (provider, error) {
	at, err := issuer.New(issuer.Options{URL: o.Issuer, ClientID: o.ClientID, Secret: o.Secret, Transport: o.Transport, Now: p.Now})
	if err != nil {
		return nil, err
	}
	return &oidcProvider{o, p, at}, nil
}

// round is an errand to a provider of OpenID Connect.
type round struct {
	web.Trip
	To afterwards
}

// back is where the provider sends browsers.
func (o *oidcProvider) back() string { return o.p.here("sign-in", "oidc", o.Name).String() }

func (o *oidcProvider) send(v *visit, to afterwards) error {
	trip := round{web.NewTrip(), to}
	address, err := o.issuer.Address(v.r.Context(), o.back(), trip.Trip)
	if err != nil {
		v.p.Log.Warn("identity provider", "provider", o.Name, "error", err)
		return capability.Refuse(capability.ErrSignIn, "", "%s does not answer; the portal's log says why", o.Name)
	}
	if err := v.p.errands.Send(v.w, o.Name, http.SameSiteLaxMode, trip); err != nil {
		return err
	}
	return v.goTo(address)
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
	code, err := trip.Code(v.r.URL.Query(), o.Issuer)
	if err != nil {
		return nil, err
	}
	id, err := o.issuer.Redeem(v.r.Context(), o.back(), code, trip.Trip)
	if err != nil {
		return nil, err
	}
	return &who{o.Name, id.Subject, trip.To}, v.p.errands.Done(v.w, o.Name, errand)
}
