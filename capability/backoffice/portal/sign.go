package portal

import (
	"errors"
	"net/url"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) signRoutes() []route {
	return []route{
		{pattern: "GET /sign-in", gate: anyone, do: (*visit).signInPage},
		{pattern: "POST /sign-in", gate: anyone, do: (*visit).signIn},
		{pattern: "GET /claim", gate: anyone, do: (*visit).claimPage},
		{pattern: "POST /claim", gate: anyone, do: (*visit).claim},
		{pattern: "POST /sign-out", gate: signedIn, do: (*visit).signOut},
	}
}

type signInView struct {
	web.Sent
	To        string // where to go afterwards
	Kept      string // a form that was interrupted
	Ticket    string // of it, where there are providers
	Providers []string
	Single    bool // passwords are for local logins only
	Passkeys  bool
}

func (v *visit) signInPage() error {
	to := v.r.URL.Query().Get("to")
	return v.askToSignIn(v.Typed("/sign-in", "to", to), v.Typed("/sign-in", "kept", ""))
}

// askToSignIn shows where to sign in, and carries along what comes after that.
func (v *visit) askToSignIn(to, kept string) error {
	view := signInView{Sent: v.Sent, To: web.Local(to), Kept: kept, Providers: v.p.providerNames, Single: v.p.SingleSignOn, Passkeys: v.p.keys != nil}
	if _, ok := web.ParseKept(kept); ok && len(view.Providers) > 0 {
		var err error
		if view.Ticket, err = v.leave(kept); err != nil {
			return err
		}
	}
	return v.show("signin", "Sign in", view)
}

// alone says that a login may sign in without an identity provider.
func (v *visit) alone(l *entitlement.Login) bool {
	return !l.Disabled && (!v.p.SingleSignOn || l.Local)
}

// signIn takes a name and a password.
func (v *visit) signIn() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	name, password := form.Get("name"), form.Get("password")
	if name == "" || password == "" {
		return v.again(capability.Refuse(capability.ErrForm, "", "a name and a password are wanted"), (*visit).signInPage)
	}
	l, t, err := v.try(name, "password")
	if err != nil {
		return v.again(err, (*visit).signInPage)
	}
	// The work of a hash is done outside the office's turn, and for a name that nobody has as well.
	fits, err := v.p.hashing.Fits(v.r.Context(), password, l.Password)
	if err != nil {
		return err
	}
	if !fits || !v.alone(&l) {
		return v.again(v.failed(t), (*visit).signInPage)
	}
	v.passed(t)
	if err := v.often(&l); err != nil {
		return err
	}
	if err := v.begin(l, t.how); err != nil {
		return err
	}
	return v.goTo(v.onward(form.Get("to"), form.Get("kept")))
}

// try is one attempt to sign in, which counts as failed until it has not.
type try struct {
	name string // the login's, or what was typed where no login has it
	how  string
	web.Verdict
}

// try finds a login for an attempt to sign in as it; a name that nobody has gets a login without anything. It refuses what comes too soon after attempts that failed.
func (v *visit) try(name, how string) (l entitlement.Login, t *try, err error) {
	err = v.office(func(o *backoffice.Office) error {
		var there bool
		if l, there = o.Book().Login(name); there {
			name = l.Name // whatever its case was typed like
		}
		return nil
	})
	if err != nil {
		return l, nil, err
	}
	t = &try{name, how, v.p.throttle.Try(name, v.from())}
	if t.Wait > 0 {
		return l, nil, capability.Refuse(capability.ErrSignIn, "", "too many tries failed; the next one in %s", t.Wait.Round(time.Second))
	}
	return l, t, nil
}

// failed refuses an attempt. The one that closes a login or an address for a while is an entry of the book.
func (v *visit) failed(t *try) error {
	if t.Closes > 0 && capability.CheckName("login", t.name) == nil {
		err := v.office(func(o *backoffice.Office) error {
			return o.Do(entitlement.NoteSignIn{SignIn: entitlement.SignIn{Name: t.name, From: v.from(), How: t.how, Failed: t.Failed, Closed: capability.At(v.p.Now().Add(t.Closes))}}, v.now)
		})
		if err != nil {
			return err
		}
	}
	return capability.Refuse(capability.ErrSignIn, "", "")
}

// passed takes an attempt back: it has not failed.
func (v *visit) passed(t *try) { v.p.throttle.Succeeded(t.name, v.from()) }

// Of one login: each of its sign-ins is an entry of the book, and a session, of which there are web.MaxSessions for all. So is what it changes of its own.
const (
	signInsAtOnce  = 30
	signInInterval = time.Minute
)

// often refuses what a login, whatever it may, does too often. It comes before anything is written.
func (v *visit) often(l *entitlement.Login) error {
	if wait := v.p.signIns.Take(l.Name); wait > 0 {
		return capability.Refuse(capability.ErrThrottled, l.Name, "it has signed in, or changed how it does, very often; the next time in %s", wait.Round(time.Second))
	}
	return nil
}

// begin signs a login in, whoever visited until now.
func (v *visit) begin(l entitlement.Login, how string) error {
	v.login = entitlement.Login{}
	err := v.office(func(o *backoffice.Office) error {
		return o.Do(entitlement.NoteSignIn{SignIn: entitlement.SignIn{Name: l.Name, From: v.from(), How: how}}, v.now)
	})
	if err != nil {
		return err
	}
	return v.p.sessions.Begin(v.r.Context(), l.Name, int64(l.Since))
}

func (v *visit) claimPage() error { return v.show("claim", "First login", nil) }

// claim gives a login its password, by the one-time code of its slip.
func (v *visit) claim() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	name, password := form.Get("name"), form.Get("password")
	if err := v.newPassword(name, form); err != nil {
		return err
	}
	l, t, err := v.try(name, "one-time code")
	if err != nil {
		return err
	}
	if !v.alone(&l) { // also where nobody has the name: the same answer to whoever guesses
		return v.noCode(t)
	}
	hash, err := v.p.hashing.Hash(v.r.Context(), password, v.p.Rand)
	if err != nil {
		return err
	}
	err = v.office(func(o *backoffice.Office) error {
		if err := o.Do(entitlement.ClaimLogin{Name: name, Code: form.Get("code"), Password: hash, By: t.name}, v.now); err != nil {
			return err
		}
		l, _ = o.Book().Login(name)
		return nil
	})
	if r := (*capability.Refusal)(nil); errors.As(err, &r) && r.Code == capability.ErrLoginCode {
		return v.noCode(t)
	}
	if err != nil {
		return err
	}
	v.passed(t)
	if err := v.begin(l, t.how); err != nil {
		return err
	}
	return v.goTo("/")
}

// noCode refuses a one-time code.
func (v *visit) noCode(t *try) error {
	r := (*capability.Refusal)(nil)
	if err := v.failed(t); !errors.As(err, &r) {
		return err
	}
	return capability.Refuse(capability.ErrLoginCode, t.name, "")
}

// newPassword says why a form's new password will not do.
func (v *visit) newPassword(name string, form url.Values) error {
	password := form.Get("password")
	if err := web.CheckPassword(password, name); err != nil {
		return capability.Refuse(capability.ErrForm, "password", "%v", err)
	}
	if password != form.Get("again") {
		return capability.Refuse(capability.ErrForm, "password", "it was typed twice, not alike")
	}
	return nil
}

func (v *visit) signOut() error {
	if err := v.p.sessions.End(v.r.Context()); err != nil {
		return err
	}
	v.w.Header().Set("Clear-Site-Data", `"cache", "storage"`) // nothing is left for the back button
	return v.goTo("/sign-in")
}
