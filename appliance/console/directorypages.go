package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func directoryRoutes() []route {
	admit := needs(ledger.ToAdmit)
	return []route{
		{pattern: "GET /sign-in/directory", gate: anyone, do: (*visit).sendToIssuer},
		{pattern: "POST /sign-in/directory", gate: anyone, do: (*visit).leaveForm},
		{pattern: "GET " + backFromIssuer, gate: anyone, do: (*visit).comeFromIssuer},
		{pattern: "GET /directory", gate: admit, do: (*visit).directoryPage},
		{pattern: "POST /directory", gate: admit, do: (*visit).directoryForm, stands: true},
	}
}

const (
	// backFromIssuer is where an issuer sends browsers; it is registered there.
	backFromIssuer = "/sign-in/directory/answer"
	issuerErrand   = "directory"

	// Of one address: each is a question to the program that asks. A company may come from one address in the morning.
	issuerAtOnce   = 60
	issuerInterval = time.Second
)

// toIssuer is an errand of a browser at an issuer.
type toIssuer struct {
	web.Trip
	Issuer string
	To     string
	Form   string // that waits
}

// DirectoryState answers GET directory.
type DirectoryState struct {
	URL      string          `json:"url,omitempty"` // empty: no directory is asked
	Running  bool            `json:"running"`       // the program that asks does
	Fault    *DirectoryFault `json:"fault,omitempty"`
	Settings []Setting       `json:"settings"` // of the directory
}

// DirectoryForm is the body of PUT directory: one of its settings. Current is the password of who asks, where it is asked over the network.
type DirectoryForm struct {
	SettingForm
	Current string `json:"current,omitempty"`
}

// directoryOperations are those about the directory.
func (c *Console) directoryOperations() []operation {
	admit := needs(ledger.ToAdmit)
	return []operation{
		{pattern: "GET directory", gate: admit, do: func(r *http.Request, _ asker) (any, error) { return c.directoryState(r.Context()) }},
		{pattern: "PUT directory", gate: admit, stands: true, do: c.setDirectory},
	}
}

// ofDirectory says that a setting is one of the directory's.
func ofDirectory(name string) bool {
	return slices.ContainsFunc(ledger.KnownSettings(), func(k ledger.Known) bool { return k.Name == name && k.Owner == ledger.Admitter })
}

// refuseDirectory is for who may set much, and not this.
func refuseDirectory(name string) *capability.Refusal {
	return capability.Refuse(capability.ErrApplianceRole, name, "it takes the role %s, on the page of the directory", capability.SecurityAdministrator)
}

func (c *Console) directoryState(ctx context.Context) (*DirectoryState, error) {
	s := &DirectoryState{Running: c.Directory.running(), Fault: c.Directory.fault()}
	err := c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		s.URL = l.Directory().URL
		s.Settings = slices.DeleteFunc(settings(l), func(one Setting) bool { return !ofDirectory(one.Name) })
	})
	return s, err
}

func (c *Console) setDirectory(r *http.Request, a asker) (any, error) {
	var form DirectoryForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	if err := c.proven(r, a, form.Current); err != nil {
		return nil, err
	}
	if err := c.putDirectory(r.Context(), form.SettingForm, a.by); err != nil {
		return nil, err
	}
	return c.directoryState(r.Context())
}

// putDirectory sets a setting of the directory, for who admits logins.
func (c *Console) putDirectory(ctx context.Context, form SettingForm, by string) error {
	if !ofDirectory(form.Name) {
		return capability.Refuse(capability.ErrNotFound, "", "no setting of the directory is called %q", form.Name)
	}
	_, err := c.Appliance.Change(ctx, ledger.SetPolicy{Name: form.Name, Value: form.Value, By: by}, "policy "+strconv.Quote(form.Name)+" set", by)
	return err
}

// directoryOffer is what the page to sign in offers of a directory; nil: none is asked.
type directoryOffer struct {
	Host   string
	Issuer bool
	Link   string // to the issuer
}

func (v *visit) directoryOffer(to string) *directoryOffer {
	d, err := v.directory(v.r.Context())
	if err != nil {
		return nil
	}
	host := d.URL
	if u, err := url.Parse(d.URL); err == nil {
		host = u.Hostname()
	}
	return &directoryOffer{host, d.Issuer(), web.PathTo("/sign-in/directory", "to", web.Local(to))}
}

// issuer are the settings of the directory, if it is one that browsers are sent to.
func (v *visit) issuer() (ledger.Directory, error) {
	if wait := v.sent.Take(web.AddressOf(v.r)); wait > 0 {
		return ledger.Directory{}, tooSoon(wait)
	}
	d, err := v.directory(v.r.Context())
	if err == nil && !d.Issuer() {
		err = capability.Refuse(capability.ErrDirectoryOff, "", "it takes a name and a password")
	}
	return d, err
}

// back is where this browser knows the appliance, for the issuer to send it there.
func (v *visit) back() string {
	return (&url.URL{Scheme: "https", Host: v.r.Host, Path: backFromIssuer}).String()
}

// leaveForm keeps a form that was interrupted, and leads to the issuer: by a page of ours in between, because a browser follows no form to another site.
func (v *visit) leaveForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	var name string
	if _, err = v.issuer(); err == nil {
		name, err = v.waiting.put(form.Get("kept"), web.AddressOf(v.r))
	}
	if err != nil {
		return v.again(err, func(v *visit) error { return v.askToSignIn(form.Get("to"), form.Get("kept")) })
	}
	if err := v.errands.Send(v.w, formErrand, http.SameSiteStrictMode, name); err != nil {
		return err
	}
	to := web.PathTo("/sign-in/directory", "to", web.Local(form.Get("to")))
	v.w.Header().Set("Refresh", "0; url="+to)
	return v.show("continue", "Login", to)
}

// sendToIssuer leads the browser to the issuer.
func (v *visit) sendToIssuer() error {
	d, err := v.issuer()
	if err != nil {
		return v.again(err, (*visit).signInPage)
	}
	trip := toIssuer{Trip: web.NewTrip(), Issuer: d.URL, To: web.Local(v.query("to"))}
	q := questionOf(&d)
	q.Address = &AddressQuestion{v.back(), trip.Trip}
	a, err := v.Directory.ask(v.r.Context(), web.AddressOf(v.r), q)
	if err != nil {
		return v.again(err, (*visit).signInPage)
	}
	at, err := a.sentTo(d.URL)
	if err != nil {
		return v.again(v.Directory.noted(capability.Refuse(capability.ErrDirectory, "", "%v", err)), (*visit).signInPage)
	}
	trip.Form = v.leftForm()
	if err := v.errands.Send(v.w, issuerErrand, http.SameSiteLaxMode, trip); err != nil {
		return err
	}
	return v.goTo(at)
}

// comeFromIssuer signs in whom the issuer means that sends this browser back.
func (v *visit) comeFromIssuer() error {
	trip, err := v.fromIssuer()
	if err != nil {
		if ProblemOf(err).Code == capability.ErrInternal {
			v.Log.Warn("answer of the directory refused", "from", web.AddressOf(v.r), "error", err)
			err = capability.Refuse(capability.ErrApplianceSignIn, "", "the answer of the issuer is not good; the log says why")
		}
		return v.again(err, func(v *visit) error { return v.askToSignIn(trip.To, v.waiting.take(trip.Form)) })
	}
	to := v.onward(trip.To, v.waiting.take(trip.Form))
	// The browser follows another site's lead and brings no session cookie: the next page is asked for by one of ours.
	v.w.Header().Set("Refresh", "0; url="+to)
	return v.show("continue", "Signed in", to)
}

// fromIssuer signs in whom the issuer means. The errand that the browser was on is given with an error too, where it has come back from one: what was typed before is not lost by it.
func (v *visit) fromIssuer() (trip toIssuer, err error) {
	errand, strayed := v.errands.Back(v.r, issuerErrand, &trip)
	d, err := v.issuer()
	if err != nil {
		return trip, err
	}
	if strayed != nil {
		return trip, capability.Refuse(capability.ErrApplianceSignIn, "", "%v", strayed)
	}
	if trip.Issuer != d.URL {
		return trip, capability.Refuse(capability.ErrApplianceSignIn, "", "another issuer is asked now")
	}
	q := questionOf(&d)
	q.Code = &CodeQuestion{AddressQuestion: AddressQuestion{v.back(), trip.Trip}}
	if q.Code.Code, err = trip.Code(v.r.URL.Query(), d.URL); err != nil {
		return trip, err
	}
	p, err := v.named(v.r.Context(), web.AddressOf(v.r), q)
	if err != nil {
		return trip, err
	}
	if err := v.errands.Done(v.w, issuerErrand, errand); err != nil {
		return trip, err
	}
	s, err := v.welcome(v.r.Context(), d, p, web.AddressOf(v.r))
	if err != nil {
		return trip, err
	}
	return trip, v.begin(s)
}

type directoryView struct {
	web.Sent
	Facts  web.Facts
	Back   string
	Fields []propertyField
	Asks   bool
}

// directoryFacts say which directory is asked, and whether it can be.
func directoryFacts(s *DirectoryState) (f web.Facts) {
	if s.URL == "" {
		f.Add("Directory", "none is asked: people sign in with logins of the appliance")
		return f
	}
	f.Add("Directory", s.URL)
	if s.Running {
		f.Marked("Program that asks", "runs", "good")
	} else {
		f.Marked("Program that asks", "does not run: systemctl enable --now leasehold-directory", "bad")
	}
	if s.Fault != nil {
		f.Marked("Not asked", s.Fault.At.String()+" "+s.Fault.Text, "bad")
	}
	return f
}

func (v *visit) directoryPage() error {
	s, err := v.directoryState(v.r.Context())
	if err != nil {
		return err
	}
	view := directoryView{Sent: v.Sent, Facts: directoryFacts(s), Back: v.back(), Asks: v.asks()}
	for _, one := range s.Settings {
		value := ""
		if one.Changed {
			value = one.Value
		}
		view.Fields = append(view.Fields, propertyField{Was: value, Field: web.Field{
			Name: "set-" + one.Name, Label: one.Name, Kind: web.KindText, Hint: directoryHint(one.Name), Value: v.Typed("/directory", "set-"+one.Name, value),
		}})
	}
	return v.show("directory", "Directory", view)
}

// directoryHint says what a setting of the directory is.
func directoryHint(name string) string {
	switch name {
	case ledger.DirectoryURL:
		return "ldaps://HOST, ldap://HOST with STARTTLS, or https://ISSUER; empty: no directory is asked"
	case ledger.DirectoryAccount:
		return "the DN that looks people up; of an issuer, the client ID"
	case ledger.DirectoryBase:
		return "the DN below which people are; not of an issuer"
	case ledger.DirectoryName:
		return "the attribute that names people; empty: uid, and of an issuer the claim preferred_username"
	case ledger.DirectoryGroups:
		return "of an issuer: the claim with the groups; empty: groups"
	case ledger.DirectoryScope:
		return "of an issuer: what is asked for beside openid and profile"
	}
	return "groups whose members have this role, with semicolons between them"
}

// directoryForm sets what is different from what the page had.
func (v *visit) directoryForm() error {
	return v.admitting((*visit).directoryPage, func(form url.Values) (string, error) {
		s, err := v.directoryState(v.r.Context())
		if err != nil {
			return "", err
		}
		var saved []string
		for _, one := range s.Settings {
			want := strings.TrimSpace(form.Get("set-" + one.Name))
			if !form.Has("set-"+one.Name) || want == form.Get("was-"+one.Name) {
				continue
			}
			if err := v.putDirectory(v.r.Context(), SettingForm{Name: one.Name, Value: want}, v.by); err != nil {
				return "", err
			}
			saved = append(saved, one.Name)
		}
		v.say("Saved: %s.", strings.Join(append(saved, "nothing else"), ", "))
		return "/directory", nil
	})
}
