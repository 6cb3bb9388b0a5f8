package console

import (
	"net/url"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func signRoutes() []route {
	return []route{
		{pattern: "GET /sign-in", gate: anyone, do: (*visit).signInPage},
		{pattern: "POST /sign-in", gate: anyone, do: (*visit).signInForm},
		{pattern: "POST /sign-out", gate: signedIn, do: (*visit).signOut},
		{pattern: "GET /first", gate: anyone, do: (*visit).firstPage},
		{pattern: "POST /first", gate: anyone, do: (*visit).firstForm},
		{pattern: "GET /me", gate: signedIn, do: (*visit).ownPage},
		{pattern: "POST /me/password", gate: signedIn, do: (*visit).ownPasswordForm},
	}
}

type signInView struct {
	web.Sent
	To    string // where to go afterwards
	Kept  string // a form that was interrupted
	First bool   // there is no login yet
	// Directory of the site that may be asked instead; nil: there is none.
	Directory *directoryOffer
}

func (v *visit) signInPage() error {
	if v.Action == "/sign-in" {
		return v.askToSignIn(v.Filled.Get("to"), v.Filled.Get("kept"))
	}
	return v.askToSignIn(v.query("to"), v.waiting.take(v.leftForm()))
}

// askToSignIn shows where to sign in, and carries along what comes after that.
func (v *visit) askToSignIn(to, kept string) error {
	if _, ok := web.ParseKept(kept); !ok {
		kept = "" // nothing comes of it
	}
	none, err := v.nobodyYet()
	if err != nil {
		return err
	}
	return v.show("signin", "Login", signInView{Sent: v.Sent, To: web.Local(to), Kept: kept, First: none, Directory: v.directoryOffer(to)})
}

// nobodyYet says that there is no login.
func (v *visit) nobodyYet() (none bool, err error) {
	err = v.Appliance.Look(v.r.Context(), func(l *ledger.Ledger, _ ledger.Now) { none = len(l.Logins()) == 0 })
	return none, err
}

// signInForm takes a name and a password.
func (v *visit) signInForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	name, password := form.Get("name"), form.Get("password")
	if name == "" || password == "" {
		return v.again(capability.Refuse(capability.ErrForm, "", "a name and a password are wanted"), (*visit).signInPage)
	}
	s, err := v.signInBy(v.r.Context(), form.Get("with") == "directory", name, password, web.AddressOf(v.r))
	if err != nil {
		return v.again(err, (*visit).signInPage)
	}
	if err := v.begin(s); err != nil {
		return err
	}
	return v.goTo(v.onward(form.Get("to"), form.Get("kept")))
}

// begin signs somebody in, whoever visited until now.
func (v *visit) begin(s signedInAs) error {
	return v.sessions.Begin(v.r.Context(), s.name, int64(s.since))
}

func (v *visit) signOut() error {
	if _, err := v.form(); err != nil {
		return err
	}
	if err := v.sessions.End(v.r.Context()); err != nil {
		return err
	}
	v.w.Header().Set("Clear-Site-Data", `"cache", "storage"`) // nothing is left for the back button
	return v.goTo("/sign-in")
}

type firstView struct {
	web.Sent
	None bool
}

func (v *visit) firstPage() error {
	none, err := v.nobodyYet()
	if err != nil {
		return err
	}
	return v.show("first", "First Login", firstView{v.Sent, none})
}

// firstForm makes the first login, by the code that the appliance shows to root.
func (v *visit) firstForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := twice(form); err != nil {
		return v.again(err, (*visit).firstPage)
	}
	g, err := v.firstLogin(v.r.Context(), form.Get("code"), form.Get("name"), form.Get("password"), web.AddressOf(v.r))
	if err != nil {
		return v.again(err, (*visit).firstPage)
	}
	if err := v.begin(asLogin(&g)); err != nil {
		return err
	}
	v.say("You are the first login, a security administrator. Make the logins of others, and give the roles that are needed: whoever brings licenses in is a license administrator.")
	return v.goTo("/users")
}

// twice refuses a new password that was typed in two ways.
func twice(form url.Values) error {
	if form.Get("password") != form.Get("again") {
		return capability.Refuse(capability.ErrForm, "password", "it was typed twice, not alike")
	}
	return nil
}

type ownView struct {
	web.Sent
	Guest  bool // of a directory: nothing of his is kept here
	Facts  web.Facts
	Tokens tokensView
}

// ownPage is where somebody changes the own password.
func (v *visit) ownPage() error {
	if v.guest != "" {
		view := ownView{Sent: v.Sent, Guest: true}
		view.Facts.Add("User Name", v.name)
		view.Facts.Add("Known to", "the directory")
		view.Facts.Add("Roles", roleWords(v.roles))
		return v.show("me", "My Login", view)
	}
	g, err := v.login(v.r.Context(), v.name)
	if err != nil {
		return err
	}
	u := userOf(&g)
	view := ownView{Sent: v.Sent, Tokens: v.tokensOf("/me/tokens", &u)}
	view.Facts.Add("User Name", u.Name)
	view.Facts.Add("Roles", roleWords(u.Roles))
	view.Facts.Add("Since", u.Made)
	return v.show("me", "Reset Password", view)
}

func (v *visit) ownPasswordForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if _, err := own(v.asker); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	if err := twice(form); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	g, err := v.newOwnPassword(v.r.Context(), v.name, form.Get("password-current"), form.Get("password"), web.AddressOf(v.r))
	if err != nil {
		return v.again(err, (*visit).ownPage)
	}
	// Every session of before is over, this one too.
	if err := v.begin(asLogin(&g)); err != nil {
		return err
	}
	v.say("The password is changed, and you are signed out everywhere else.")
	return v.goTo("/me")
}

// asks says that the password has to be typed again before something that matters more.
func (v *visit) asks() bool { return !v.sessions.Proved(v.r.Context()) }

// prove takes the password again, where it was not typed just now.
func (v *visit) prove(form url.Values) error {
	if !v.asks() {
		return nil
	}
	current := form.Get("password-current")
	if current == "" {
		return capability.Refuse(capability.ErrForm, "password-current", "your own password is asked for")
	}
	if err := v.proven(v.r, v.asker, current); err != nil {
		return err
	}
	v.sessions.Prove(v.r.Context())
	return nil
}
