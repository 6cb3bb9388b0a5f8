package portal

import (
	"cmp"
	"encoding/base64"
	"html/template"
	"net/url"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) loginRoutes() []route {
	admit := needs(entitlement.ToAdmit)
	return []route{
		{pattern: "GET /logins", gate: admit, do: (*visit).logins},
		{pattern: "POST /logins", gate: admit, do: (*visit).addLogin},
		{pattern: "GET /login", gate: admit, do: (*visit).loginPage},
		{pattern: "POST /login", gate: admit, do: (*visit).changeLogin},
		{pattern: "GET /login/slip", gate: admit, do: (*visit).loginSlip},
	}
}

type loginsView struct {
	web.Sent
	Search  string
	Rows    []loginRow
	Next    string // the path of the next page; empty: this is the last
	Account string // of a login that is added, where nothing was typed
	Staff   bool
	Asks    bool // for the current password
	Roles   []roleBox
}

type loginRow struct{ Name, Path, Account, Roles, State string }

// roleBox is a role that can be checked.
type roleBox struct {
	Role capability.Role
	Has  bool
}

func boxes(has []capability.Role) (list []roleBox) {
	for _, r := range capability.Roles() {
		list = append(list, roleBox{r, slices.Contains(has, r)})
	}
	return list
}

func loginPath(name string) string { return "/login?name=" + url.QueryEscape(name) }

func loginRowOf(l *entitlement.Login) loginRow {
	var roles []string
	for _, r := range l.Roles {
		roles = append(roles, r.String())
	}
	return loginRow{l.Name, loginPath(l.Name), l.Account, strings.Join(roles, ", "), loginWords(l)}
}

// loginWords is the state of a login.
func loginWords(l *entitlement.Login) string {
	if l.Disabled {
		return "disabled"
	}
	var ways []string
	if l.Password != "" {
		ways = append(ways, "password")
	}
	if len(l.Passkeys) > 0 {
		ways = append(ways, "passkey")
	}
	if l.Subject != "" {
		ways = append(ways, l.Subject)
	}
	if l.Code != (capability.Digest{}) {
		ways = append(ways, "one-time code until "+l.CodeEnds.String())
	}
	if len(ways) == 0 {
		return "cannot sign in"
	}
	return "signs in by " + strings.Join(ways, ", ")
}

func (v *visit) logins() error {
	q := v.r.URL.Query()
	view := loginsView{Sent: v.Sent, Search: q.Get("q"), Account: v.login.Account, Staff: v.login.Account == "", Asks: !v.p.sessions.Proved(v.r.Context()), Roles: boxes(nil)}
	err := v.office(func(o *backoffice.Office) error {
		page, more := o.Book().FindLogins(v.login.Account, view.Search, q.Get("after"), pageRows)
		for i := range page {
			view.Rows = append(view.Rows, loginRowOf(&page[i]))
		}
		if more {
			view.Next = "/logins?" + url.Values{"q": {view.Search}, "after": {page[len(page)-1].Name}}.Encode()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("logins", "Logins", view)
}

// rolesOf are the roles that a form names.
func rolesOf(form url.Values) (roles []capability.Role, err error) {
	for _, text := range form["role"] {
		r, err := capability.ParseRole(text)
		if err != nil {
			return nil, capability.Refuse(capability.ErrForm, "role", "%v", err)
		}
		roles = append(roles, r)
	}
	return roles, nil
}

func (v *visit) addLogin() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.proven(form); err != nil {
		return v.again(err, (*visit).logins)
	}
	add := entitlement.AddLogin{Name: strings.TrimSpace(form.Get("name")), Account: strings.TrimSpace(form.Get("account")), By: v.login.Name}
	if add.Roles, err = rolesOf(form); err != nil {
		return v.again(err, (*visit).logins)
	}
	if strings.EqualFold(add.Name, byOnline) {
		return v.again(capability.Refuse(capability.ErrForm, "name", "what the endpoint does by itself is in the book under this name"), (*visit).logins)
	}
	if v.login.Account == "" { // who somebody is at an identity provider is the producer's to say
		add.Subject, add.Local = strings.TrimSpace(form.Get("subject")), form.Get("local") == "yes"
	}
	code := ""
	err = v.act(func(o *backoffice.Office) (err error) {
		if !v.within(o, add.Account) {
			return foreign(add.Account)
		}
		if code, add.Code, err = o.LoginCode(add.Name); err != nil {
			return err
		}
		return o.Do(add, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).logins)
	}
	return v.handLogin(add.Name, code)
}

type loginView struct {
	web.Sent
	Login    loginRow
	Subject  string
	Local    bool
	Disabled bool
	Own      bool
	Staff    bool
	Asks     bool
	Roles    []roleBox
	Made     string
	Tokens   tokensView
	Passkeys []keyRow
}

// theLogin is the one that a request names, if who visits may see it.
func (v *visit) theLogin(o *backoffice.Office) (entitlement.Login, error) {
	name := cmp.Or(v.r.PostForm.Get("name"), v.r.URL.Query().Get("name"))
	l, ok := o.Book().Login(name)
	if !ok || !v.within(o, l.Account) {
		return l, foreign(name)
	}
	return l, nil
}

func (v *visit) loginPage() error {
	var l entitlement.Login
	err := v.office(func(o *backoffice.Office) (err error) { l, err = v.theLogin(o); return err })
	if err != nil {
		return err
	}
	view := loginView{Sent: v.Sent, Login: loginRowOf(&l), Subject: l.Subject, Local: l.Local, Disabled: l.Disabled, Own: l.Name == v.login.Name, Staff: v.login.Account == "",
		Asks: !v.p.sessions.Proved(v.r.Context()), Roles: boxes(l.Roles), Made: l.Made.String(), Passkeys: keyRows(&l), Tokens: v.tokensView(&l, "/login/tokens", l.Name)}
	return v.show("login", "Login "+l.Name, view)
}

// changeLogin does with a login what the button says that was pressed.
func (v *visit) changeLogin() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	// What is not there, or another's, is said before anything is asked.
	if err := v.office(func(o *backoffice.Office) error { _, err := v.theLogin(o); return err }); err != nil {
		return err
	}
	if err := v.proven(form); err != nil {
		return v.again(err, (*visit).loginPage)
	}
	name, code, back := "", "", "/logins"
	err = v.act(func(o *backoffice.Office) error {
		l, err := v.theLogin(o)
		if err != nil {
			return err
		}
		if l.Name == v.login.Name {
			return capability.Refuse(capability.ErrSecondPerson, l.Name, "nobody changes the own login here; the own page has password and passkeys")
		}
		if name = l.Name; form.Get("do") == "passkeys" {
			back = loginPath(name)
			return v.forgetPasskeys(o, &l)
		}
		var c entitlement.Command
		if code, c, err = v.loginChange(o, &l, form); err != nil {
			return err
		}
		if form.Get("do") != "remove" {
			back = loginPath(name)
		}
		return o.Do(c, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).loginPage)
	}
	if code != "" {
		return v.handLogin(name, code)
	}
	v.say("Done: %s.", name)
	return v.goTo(back)
}

// forgetPasskeys takes all passkeys of a login out of the book: a phone is lost, or somebody else has added one.
func (v *visit) forgetPasskeys(o *backoffice.Office, l *entitlement.Login) error {
	for _, k := range l.Passkeys {
		if err := o.Do(entitlement.SetPasskey{Name: l.Name, Passkey: entitlement.Passkey{ID: k.ID}, Remove: true, By: v.login.Name}, v.now); err != nil {
			return err
		}
	}
	return nil
}

// loginChange is what a form wants changed, with the new one-time code if it is that.
func (v *visit) loginChange(o *backoffice.Office, l *entitlement.Login, form url.Values) (code string, _ entitlement.Command, err error) {
	c := entitlement.ChangeLogin{Name: l.Name, By: v.login.Name}
	yes, no := true, false
	switch do := form.Get("do"); do {
	case "roles":
		roles, err := rolesOf(form)
		c.Roles = &roles
		return "", c, err
	case "code":
		code, c.Code, err = o.LoginCode(l.Name)
		c.Forget = true
		return code, c, err
	case "disable":
		c.Disabled = &yes
	case "enable":
		c.Disabled = &no
	case "sessions":
		return "", entitlement.EndSessions{Name: l.Name, By: v.login.Name}, nil
	case "remove":
		return "", entitlement.RemoveLogin{Name: l.Name, By: v.login.Name}, nil
	case "provider":
		if v.login.Account != "" {
			return "", nil, capability.Refuse(capability.ErrPermission, v.login.Name, "who somebody is at an identity provider is the producer's to say")
		}
		subject, local := strings.TrimSpace(form.Get("subject")), form.Get("local") == "yes"
		c.Subject, c.Local = &subject, &local
	default:
		return "", nil, capability.Refuse(capability.ErrForm, "do", "%q is nothing that can be done with a login", do)
	}
	return "", c, nil
}

// handLogin goes to the slip with a login's new code. A code that was drawn for a form that had been sent before is nobody's.
func (v *visit) handLogin(name, code string) error {
	err := v.office(func(o *backoffice.Office) error {
		if l, ok := o.Book().Login(name); !ok || l.Code != entitlement.LoginHash(name, code) {
			code = ""
		}
		return nil
	})
	if err != nil {
		return err
	}
	if code == "" {
		return v.goTo(loginPath(name))
	}
	v.p.sessions.Put(v.r.Context(), "login slip", name+"\x00"+code)
	return v.goTo("/login/slip")
}

type loginSlipView struct {
	Name, Path, Address, Code string
	Picture                   template.URL
}

// loginSlip shows a one-time code, once, on a sheet to print.
func (v *visit) loginSlip() error {
	name, code, ok := strings.Cut(v.p.sessions.Take(v.r.Context(), "login slip"), "\x00")
	if !ok {
		return capability.Refuse(capability.ErrNotFound, "slip", "a code is shown once; draw another one where it was not taken down")
	}
	image, err := picture(code)
	if err != nil {
		return err
	}
	return v.show("loginslip", "One-time code for "+name, loginSlipView{name, loginPath(name), "https://" + v.r.Host + "/claim", code, template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(image))})
}
