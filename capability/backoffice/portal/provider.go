package portal

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// A provider is asked who a browser belongs to. What it calls somebody is a login's subject, which staff has written down: nobody becomes a login, or gets a role, by what a provider says.
type provider interface {
	// send leads the browser to the provider, on an errand whose answer is for this portal and that page of it.
	send(v *visit, to afterwards) error
}

// afterwards is where a browser goes that comes back from a provider: to a page, or to the form that waits under a ticket.
type afterwards struct{ Page, Ticket string }

// who is what a provider said.
type who struct {
	provider, name string
	to             afterwards
}

func (w who) subject() string { return w.provider + " " + w.name }

// CheckProvider says why a provider cannot be called so: its name is in paths, cookies and subjects.
func CheckProvider(name string) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`).MatchString(name) {
		return fmt.Errorf("%q is no name of an identity provider: want 1 to 32 small letters, digits and hyphens", name)
	}
	return nil
}

func (p *Portal) providerRoutes() []route {
	return []route{
		{pattern: "GET /sign-in/with/{provider}", gate: anyone, do: (*visit).signInWith},
		{pattern: "GET /sign-in/oidc/{provider}", gate: anyone, do: (*visit).oidcAnswer},
		{pattern: "GET /sign-in/saml/{provider}", gate: anyone, do: (*visit).samlMetadata},
		{pattern: "POST /sign-in/saml/{provider}", gate: anyone, fromElsewhere: true, do: (*visit).samlAnswer},
	}
}

// providing is what a portal has of identity providers.
type providing struct {
	origin        *url.URL
	errands       *web.Errands
	answers       *web.Rate // that providers give
	cloaks        *cloakroom
	keys          *webauthn.WebAuthn // nil: a portal without a name has no passkeys
	providers     map[string]provider
	providerNames []string // in the order of the options
}

// open makes the providers of the options.
func (p *Portal) openProviders() (err error) {
	if p.errands, err = web.NewErrands(p.Now); err != nil {
		return err
	}
	p.cloaks = newCloakroom(p.Now)
	p.answers = web.NewRate(p.Now, answersAtOnce, answerInterval)
	if p.origin, err = origin(p.Options); err != nil {
		return err
	}
	if p.keys, err = openPasskeys(p.Hosts, p.origin); err != nil {
		return err
	}
	p.providers = map[string]provider{}
	add := func(name string, made provider, err error) error {
		if err == nil {
			err = CheckProvider(name)
		}
		if err == nil && p.providers[name] != nil {
			err = errors.New("there are two of that name")
		}
		if err != nil {
			return fmt.Errorf("identity provider %s: %w", name, err)
		}
		p.providers[name] = made
		p.providerNames = append(p.providerNames, name)
		return nil
	}
	for _, o := range p.OIDC {
		made, err := p.newOIDC(o)
		if err := add(o.Name, made, err); err != nil {
			return err
		}
	}
	for _, s := range p.SAML {
		made, err := p.newSAML(s)
		if err := add(s.Name, made, err); err != nil {
			return err
		}
	}
	return nil
}

// signInWith sends the browser to a provider.
func (v *visit) signInWith() error {
	made := v.p.providers[v.r.PathValue("provider")]
	if made == nil {
		return foreign(v.r.PathValue("provider"))
	}
	q := v.r.URL.Query()
	return made.send(v, afterwards{web.Local(q.Get("to")), v.ticket(q.Get("kept"))})
}

// Of one address: an answer of a provider is a question to it, with this portal's secret, or a signature to be judged. A company may come from one address in the morning.
const (
	answersAtOnce  = 200
	answerInterval = time.Second
)

// mayAnswer lets an address bring so many answers of providers, and no more.
func (v *visit) mayAnswer() error {
	if wait := v.p.answers.Take(v.from()); wait > 0 {
		return capability.Refuse(capability.ErrThrottled, "", "the next one in %s", wait.Round(time.Second))
	}
	return nil
}

// refuseAnswer is for an answer of a provider that is not good. What is wrong with it is in the log; whoever sent it learns little.
func (v *visit) refuseAnswer(provider string, err error) error {
	v.p.Log.Warn("answer of an identity provider refused", "provider", provider, "from", v.from(), "error", err)
	if errors.Is(err, web.ErrErrand) {
		return capability.Refuse(capability.ErrSignIn, "", "%v", err)
	}
	return capability.Refuse(capability.ErrSignIn, "", "the answer of %s is not good; the portal's log says why", provider)
}

// known signs in whom a provider has named.
func (v *visit) known(w who) error {
	var l entitlement.Login
	err := v.office(func(o *backoffice.Office) error { l, _ = o.Book().LoginOf(w.subject()); return nil })
	if err != nil {
		return err
	}
	if l.Name == "" || l.Disabled {
		return capability.Refuse(capability.ErrSignIn, "", "%s says who you are, and nobody here is called that; ask a security administrator to write %q into your login", w.provider, w.subject())
	}
	if err := v.often(&l); err != nil {
		return err
	}
	if err := v.begin(l, w.provider); err != nil {
		return err
	}
	// The browser has come from another site and brings no session cookie while it follows that site's lead: the next page is asked for by one of ours.
	to := v.onward(w.to.Page, v.p.cloaks.fetch(w.to.Ticket))
	v.w.Header().Set("Refresh", "0; url="+to)
	return v.show("continue", "Signed in", to)
}

// here is an address of this portal as others know it.
func (p *Portal) here(path ...string) *url.URL {
	return p.origin.JoinPath(path...)
}

func origin(o Options) (*url.URL, error) {
	if o.Origin == "" && len(o.Hosts) > 0 {
		o.Origin = "https://" + o.Hosts[0]
		if strings.Contains(o.Hosts[0], ":") {
			o.Origin = "https://[" + o.Hosts[0] + "]"
		}
	}
	u, err := url.Parse(o.Origin)
	if err == nil && (u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "") {
		err = fmt.Errorf("%q is not the address of a server, as https://licenses.example.com", o.Origin)
	}
	return u, err
}
