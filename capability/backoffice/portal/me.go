package portal

import (
	"net/url"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) ownRoutes() []route {
	return []route{
		{pattern: "GET /me", gate: signedIn, do: (*visit).ownPage},
		{pattern: "POST /me/password", gate: signedIn, do: (*visit).changePassword},
		{pattern: "POST /me/sign-out", gate: signedIn, do: (*visit).signOutEverywhere},
	}
}

type ownView struct {
	web.Sent
	Login       loginRow
	HasPassword bool
	Asks        bool // for the current password
	Keys        bool // there can be passkeys
	Rows        []keyRow
	Tokens      tokensView
}

func (v *visit) ownPage() error {
	return v.show("me", "My login", ownView{Sent: v.Sent, Login: loginRowOf(&v.login), HasPassword: v.login.Password != "", Asks: !v.p.sessions.Proved(v.r.Context()), Keys: v.p.keys != nil, Rows: keyRows(&v.login), Tokens: v.tokensView(&v.login, "/me/tokens", "")})
}

// proven wants who visits to have shown lately who it is: by signing in, or with the current password in this form.
func (v *visit) proven(form url.Values) error {
	if v.p.sessions.Proved(v.r.Context()) {
		return nil
	}
	return v.current(form)
}

// current wants the current password in a form.
func (v *visit) current(form url.Values) error {
	password := form.Get("password-current")
	if password == "" || v.login.Password == "" {
		return capability.Refuse(capability.ErrSignIn, "", "type your current password; who has none signs out and in again")
	}
	_, t, err := v.try(v.login.Name, "password")
	if err != nil {
		return err
	}
	fits, err := v.p.hashing.Fits(v.r.Context(), password, v.login.Password)
	if err != nil {
		return err
	}
	if !fits {
		return v.failed(t)
	}
	v.passed(t)
	v.p.sessions.Prove(v.r.Context())
	return nil
}

// changePassword always asks for the current one; who has none must have signed in just now.
func (v *visit) changePassword() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.newPassword(v.login.Name, form); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	asked := v.current
	if v.login.Password == "" {
		asked = v.proven
	}
	if err := asked(form); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	if err := v.often(&v.login); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	hash, err := v.p.hashing.Hash(v.r.Context(), form.Get("password"), v.p.Rand)
	if err != nil {
		return err
	}
	err = v.office(func(o *backoffice.Office) error {
		if err := o.Do(entitlement.SetPassword{Name: v.login.Name, Password: hash, By: v.login.Name}, v.now); err != nil {
			return err
		}
		v.login, _ = o.Book().Login(v.login.Name)
		return nil
	})
	if err != nil {
		return err
	}
	// All sessions have ended with it. This browser gets another one.
	if err := v.p.sessions.Begin(v.r.Context(), v.login.Name, int64(v.login.Since)); err != nil {
		return err
	}
	v.say("The password is changed, and every other browser is signed out.")
	return v.goTo("/me")
}

// signOutEverywhere ends every session of who visits.
func (v *visit) signOutEverywhere() error {
	if _, err := v.form(); err != nil {
		return err
	}
	err := v.act(func(o *backoffice.Office) error {
		return o.Do(entitlement.EndSessions{Name: v.login.Name, By: v.login.Name}, v.now)
	})
	if err != nil {
		return err
	}
	return v.signOut()
}
