package console

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// visit is one request of a browser, and who sends it.
type visit struct {
	*site
	asker
	w       http.ResponseWriter
	r       *http.Request
	gate    gate   // of the route
	live    bool   // only the parts of the page are written that are brought up to date
	atLeast uint64 // of a live page: the head of the journal that it shows, or a later one

	web.Sent
	view views
}

// errSignInFirst: the page is for those who are signed in.
var errSignInFirst = errors.New("sign in first")

// enter finds out who visits, and whether what has that gate is for them.
func (v *visit) enter(g gate) error {
	changed, err := v.who()
	if changed {
		err = v.sessions.End(v.r.Context())
	}
	if err != nil {
		return err
	}
	if v.idle > 0 {
		v.sessions.SetIdle(v.idle.Duration())
	}
	v.view = v.readViews()
	err = v.passes(g)
	if r := (*capability.Refusal)(nil); errors.As(err, &r) && r.Code == capability.ErrSignInFirst {
		return errSignInFirst
	}
	return err
}

// who finds out who visits; changed: the login has changed since, so nobody does.
func (v *visit) who() (changed bool, err error) {
	name, since := v.session(v.r)
	if name == "" {
		v.asker, err = v.strangerAsks(v.r.Context())
		return false, err
	}
	v.asker, err = v.loginAsks(v.r.Context(), name, since)
	return err == nil && v.name == "", err
}

// query is a parameter of the address.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

// form reads a form without files. Who sends it slowly may be somebody else when its end has come.
func (v *visit) form() (url.Values, error) {
	form, err := web.ReadForm(v.w, v.r)
	if err == nil {
		err = v.enter(v.gate)
	}
	return form, err
}

// uploads reads a form with files.
func (v *visit) uploads() (url.Values, []web.Upload, error) {
	form, files, err := web.ReadUploads(v.w, v.r)
	if err == nil {
		err = v.enter(v.gate)
	}
	return form, files, err
}

// goTo is where the browser goes after a form: a page that can be loaded again.
func (v *visit) goTo(path string) error {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// say keeps a sentence for the next page.
func (v *visit) say(format string, args ...any) {
	v.sessions.Put(v.r.Context(), "said", fmt.Sprintf(format, args...))
}

// again shows the page of a form that was refused, with the reason above it and what was typed still in it. What has no page to go back to is shown by itself.
func (v *visit) again(err error, page func(*visit) error) error {
	if err == nil || errors.Is(err, errSignInFirst) {
		return err
	}
	v.Sent = web.Sent{Refused: err, Action: v.r.URL.Path, Filled: v.r.PostForm}
	return page(v)
}

// shown is what the frame shows around a page.
type shown struct {
	Title   string
	At      string // the path of the page
	Nav     []navGroup
	Name    string // of the login; empty: nobody is signed in
	Machine string
	Logo    string // path of the producer's; empty: there is none
	Said    string
	Live    string // where the page is brought up to date from; empty: it is not
	// Problem is why the form on the page was refused; nil: it was not.
	Problem *web.Problem
	View    any
}

type navGroup struct {
	Title string
	Links []menuLink
}

type navLink struct{ Path, Title string }

// menuLink is a page in the menu. Icon is a sign of the producer's in front of it.
type menuLink struct{ Path, Title, Icon string }

// menu are the pages of the navigation, in the groups and the order that administrators of other servers know.
func menu() []menuGroup {
	see := needs(ledger.ToSee)
	return []menuGroup{
		{"License Manager Configuration", []gated{{"/overview", "Overview", see}, {"/settings", "Settings", signedIn}, {"/about", "About", see}}},
		{"License Server Setup", []gated{{"/me", "My Login", signedIn}, {"/users", "Users", needs(ledger.ToAdmit)}, {"/properties", "Properties", see}, {"/hostids", "Host IDs", see}, {"/time", "Time", see}, {"/audit", "Audit", needs(ledger.ToAudit)}}},
		{"Licenses", []gated{{"/features", "Features", see}, {"/pools", "Named License Pools", see}, {"/devices", "Devices", see}, {"/reservations", "Reservations", see}, {"/seats", "Seats", see}, {"/reports/denials", "Denials", needs(ledger.ToReport)}, {"/reports", "Reports", needs(ledger.ToReport)}}},
		{"Back Office Operations", []gated{{"/online", "Online Server Updates", see}, {"/offline", "Offline Server Updates", see}, {"/keys", "Client Key Operations", see}, {"/help", "Help", anyone}}},
	}
}

type menuGroup struct {
	title string
	links []gated
}

// nav are the pages that who visits can see.
func (v *visit) nav() (groups []navGroup) {
	for _, g := range menu() {
		group := navGroup{Title: g.title}
		for _, l := range g.links {
			if v.passes(l.gate) == nil {
				label, icon := v.Brand.name(l.path, l.title)
				group.Links = append(group.Links, menuLink{l.path, label, icon})
			}
		}
		if len(group.Links) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

// gated is a page of the navigation.
type gated struct {
	path, title string
	gate        gate
}

// show writes a page.
func (v *visit) show(name, title string, view any) error {
	return v.write(http.StatusOK, name, title, view)
}

func (v *visit) write(status int, name, title string, view any) error {
	if v.live {
		return v.pages.WritePart(v.w, name, "live", view)
	}
	s := shown{Title: v.Brand.heading(v.r.URL.Path, title), Logo: v.Brand.Logo(), At: v.r.URL.Path, Nav: v.nav(), Name: v.name, Machine: "LH-" + v.Host.Short(), View: view, Said: v.sessions.Take(v.r.Context(), "said")}
	if v.r.Method == http.MethodGet && v.Filled == nil {
		s.Live = liveOf(v.r.URL.Path)
	}
	if v.Refused != nil {
		code, problem := v.explain(v.Refused)
		s.Problem, status = &problem, statusOf(code)
	}
	return v.pages.Write(v.w, status, name, s)
}

// problem shows what went wrong, as a page of its own.
func (v *visit) problem(err error) {
	if errors.Is(err, errSignInFirst) {
		if v.r.Method == http.MethodGet {
			http.Redirect(v.w, v.r, "/sign-in?to="+template.URLQueryEscaper(v.r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		err = capability.Refuse(capability.ErrSignInFirst, "", "the session has ended")
		if kept, ok := web.Interrupted(v.w, v.r, v.mux); ok {
			v.Sent = web.Sent{Refused: err}
			if err = v.askToSignIn(kept.Page, kept.String()); err == nil {
				return
			}
		}
	}
	code, view := v.explain(err)
	v.Refused = nil
	if werr := v.write(statusOf(code), "problem", code.Entry().Title, view); werr != nil {
		v.Log.Error("page", "path", v.r.URL.Path, "error", werr)
		http.Error(v.w, view.What, http.StatusInternalServerError)
	}
}

// explain is what a page says of an error: the words are those that every program of ours has.
func (v *visit) explain(err error) (capability.Code, web.Problem) {
	p := v.Console.problem(err)
	if p.Code == capability.ErrInternal {
		v.Log.Error("page", "path", v.r.URL.Path, "error", err)
	}
	e := p.Code.Entry()
	return p.Code, web.Problem{Code: p.Code.String(), What: p.Text, Cause: e.Cause, Next: e.Next, SignIn: p.Code == capability.ErrSignInFirst}
}

func statusOf(code capability.Code) int {
	switch code {
	case capability.ErrSignInFirst, capability.ErrApplianceSignIn:
		return http.StatusUnauthorized
	case capability.ErrTries:
		return http.StatusTooManyRequests
	}
	return status(code)
}

func (v *visit) nowhere() error {
	if v.name == "" {
		return errSignInFirst
	}
	return notThere(v.r.URL.Path)
}

// notThere is said of what is not there.
func notThere(subject string) error { return capability.Refuse(capability.ErrNotFound, subject, "") }

// resume puts a form that was interrupted back into its page.
func (v *visit) resume() {
	if v.r.Method != http.MethodGet || v.name == "" {
		return
	}
	if k, ok := web.ParseKept(v.sessions.Take(v.r.Context(), "kept")); ok && k.Page == v.r.URL.RequestURI() {
		v.Sent = web.Sent{Action: k.Path, Filled: k.Values}
		v.say("You were signed out before this was saved. What was typed is still here: look it over, and save it again.")
	}
}

// onward is where the browser goes once somebody has signed in: to where it was going, or back to the form that was interrupted.
func (v *visit) onward(to, kept string) string {
	k, ok := web.ParseKept(kept)
	if !ok {
		return web.Local(to)
	}
	v.sessions.Put(v.r.Context(), "kept", k.String())
	return k.Page
}
