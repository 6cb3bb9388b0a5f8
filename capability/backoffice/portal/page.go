package portal

import (
	"cmp"
	"embed"
	"errors"
	"html/template"
	"net/http"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

//go:embed templates
var templates embed.FS

// shown is what the frame shows around a page.
type shown struct {
	Title string
	At    string // the path of the page
	Nav   []link
	Login *entitlement.Login // nil: nobody is signed in
	Said  string
	// Problem is why the form on the page was refused; nil: it was not.
	Problem *web.Problem
	View    any
}

type link struct{ Path, Title string }

// nav are the pages that who visits can see, in order.
func (v *visit) nav() (list []link) {
	if v.login.Name == "" {
		return nil
	}
	for _, l := range []struct {
		link
		gate  gate
		staff bool
	}{
		{link{"/inbox", "Inbox"}, needs(entitlement.ToAnswer), false},
		{link{"/devices", "Devices"}, needs(entitlement.ToSee), false},
		{link{"/waiting", "Waiting"}, needs(entitlement.ToSee), false},
		{link{"/items", "Line items"}, needs(entitlement.ToSee), false},
		{link{"/users", "Users"}, needs(entitlement.ToSee), false},
		{link{"/sessions", "Sessions"}, needs(entitlement.ToSee), false},
		{link{"/groups", "Groups"}, needs(entitlement.ToSee), false},
		{link{"/accounts", "Accounts"}, needs(entitlement.ToSee), false},
		{link{"/products", "Products"}, needs(entitlement.ToSee), true},
		{link{"/models", "License models"}, needs(entitlement.ToSee), true},
		{link{"/reports", "Reports"}, needs(entitlement.ToReport), false},
		{link{"/audit", "Audit"}, needs(entitlement.ToAudit), true},
		{link{"/settings", "Settings"}, needs(entitlement.ToSet), true},
		{link{"/logins", "Logins"}, needs(entitlement.ToAdmit), false},
	} {
		if l.gate == signedIn || v.may(entitlement.Permission(l.gate)) && !(l.staff && v.login.Account != "") {
			list = append(list, l.link)
		}
	}
	return list
}

// show writes a page.
func (v *visit) show(name, title string, view any) error {
	return v.write(http.StatusOK, name, title, view)
}

func (v *visit) write(status int, name, title string, view any) error {
	s := shown{Title: title, At: v.r.URL.Path, Nav: v.nav(), View: view, Said: v.p.sessions.Take(v.r.Context(), "said")}
	if v.Refused != nil {
		code, problem := v.explain(v.Refused)
		s.Problem, status = &problem, statusOf(code)
	}
	if v.login.Name != "" {
		s.Login = &v.login
	}
	return v.p.pages.Write(v.w, status, name, s)
}

// problem shows what went wrong, as a page of its own.
func (v *visit) problem(err error) {
	if errors.Is(err, errSignInFirst) {
		if v.r.Method == http.MethodGet {
			http.Redirect(v.w, v.r, "/sign-in?to="+template.URLQueryEscaper(v.r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		err = capability.Refuse(capability.ErrSignIn, "", "the session has ended")
		if kept, ok := web.Interrupted(v.w, v.r, v.p.mux); ok {
			v.Sent = web.Sent{Refused: err}
			if err = v.askToSignIn(kept.Page, kept.String()); err == nil {
				return
			}
		}
	}
	code, view := v.explain(err)
	v.Refused = nil
	if werr := v.write(statusOf(code), "problem", code.Entry().Title, view); werr != nil {
		v.p.Log.Error("page", "path", v.r.URL.Path, "error", werr)
		http.Error(v.w, view.What, http.StatusInternalServerError)
	}
}

// explain is what a page says of an error.
func (v *visit) explain(err error) (capability.Code, web.Problem) {
	code, detail := v.asker.explain(err)
	e := code.Entry()
	return code, web.Problem{Code: code.String(), What: detail, Cause: e.Cause, Next: Next(code), SignIn: code == capability.ErrSignIn}
}

// explain is the code and the sentence of an error. What nobody but the producer should know stays in the log.
func (v *asker) explain(err error) (code capability.Code, detail string) {
	code = v.p.CodeOf(err)
	r := (*capability.Refusal)(nil)
	switch {
	case errors.As(err, &r):
		code, detail = r.Code, r.Sentence()
	case code != 0, errors.Is(err, entitlement.ErrItem), errors.Is(err, entitlement.ErrDevice), errors.Is(err, entitlement.ErrCatalog), errors.Is(err, entitlement.ErrUser), errors.Is(err, entitlement.ErrGroup),
		errors.Is(err, entitlement.ErrLogin):
		if detail = err.Error(); code == 0 {
			code = capability.ErrForm
		} else if code != capability.ErrRow && wire.Code(err) == 0 { // not of what was sent: something is wrong here
			v.p.Log.Error("page", "path", v.r.URL.Path, "error", err)
			if v.login.Name == "" || v.login.Account != "" {
				detail = ""
			}
		}
	default:
		code = capability.ErrInternal
		v.p.Log.Error("page", "path", v.r.URL.Path, "error", err)
	}
	return code, cmp.Or(detail, code.Entry().Title)
}

func statusOf(code capability.Code) int {
	switch code {
	case capability.ErrSignIn, capability.ErrAPIToken:
		return http.StatusUnauthorized
	case capability.ErrPermission:
		return http.StatusForbidden
	case capability.ErrInternal:
		return http.StatusInternalServerError
	case capability.ErrForm, capability.ErrRow:
		return http.StatusBadRequest
	case capability.ErrThrottled:
		return http.StatusTooManyRequests
	case capability.ErrFileSize:
		return http.StatusRequestEntityTooLarge
	}
	switch code.Entry().Exit {
	case capability.ExitNotFound:
		return http.StatusNotFound
	case capability.ExitFile, capability.ExitOtherHost:
		return http.StatusUnprocessableEntity
	case capability.ExitTemporary:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}

func (v *visit) nowhere() error {
	if v.login.Name == "" {
		return errSignInFirst
	}
	return foreign(v.r.URL.Path)
}
