package console

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func userRoutes() []route {
	admit := needs(ledger.ToAdmit)
	return []route{
		{pattern: "GET /users", gate: admit, do: (*visit).usersPage},
		{pattern: "POST /users", gate: admit, do: (*visit).addUserForm},
		{pattern: "GET /users/{name}", gate: admit, do: (*visit).userPage},
		{pattern: "POST /users/{name}/roles", gate: admit, do: (*visit).rolesForm},
		{pattern: "POST /users/{name}/password", gate: admit, do: (*visit).passwordForm},
		{pattern: "POST /users/{name}/state", gate: admit, do: (*visit).stateForm},
		{pattern: "POST /users/{name}/tokens", gate: admit, do: (*visit).tokensForm},
		{pattern: "POST /me/tokens", gate: signedIn, do: (*visit).ownTokensForm},
	}
}

func userPath(name string) string { return "/users/" + url.PathEscape(name) }

// roleChoice is a box for a role.
type roleChoice struct {
	Role   string
	Chosen bool
	May    string // what it may do
}

// roleChoices are the boxes of a form; roles are those that somebody has.
func (v *visit) roleChoices(form string, roles []capability.Role) (list []roleChoice) {
	for _, r := range capability.Roles() {
		c := roleChoice{Role: r.String(), Chosen: slices.Contains(roles, r)}
		if v.Action == form {
			c.Chosen = slices.Contains(v.Filled["role"], c.Role)
		}
		var may []string
		for _, p := range ledger.AllPermissions() {
			if ledger.PermissionsOfRole(r).Has(p) {
				may = append(may, p.String())
			}
		}
		c.May = strings.Join(may, ", ")
		list = append(list, c)
	}
	return list
}

// rolesOf are those that a form names.
func rolesOf(form url.Values) (list []capability.Role, err error) {
	for _, name := range form["role"] {
		r, err := capability.ParseRole(name)
		if err != nil {
			return nil, capability.Refuse(capability.ErrForm, "role", "%v", err)
		}
		list = append(list, r)
	}
	return list, nil
}

func roleWords(roles []capability.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}

type usersView struct {
	web.Sent
	Table tableView
	Roles []roleChoice
	Asks  bool
	// Directory of the site that is asked too.
	Directory web.Facts
}

func stateWord(u *User) string {
	if u.Disabled {
		return "disabled"
	}
	return "enabled"
}

func (v *visit) usersPage() error {
	all, err := v.Console.users(v.r, v.asker)
	if err != nil {
		return err
	}
	view := usersView{Sent: v.Sent, Roles: v.roleChoices("/users", nil), Asks: v.asks()}
	view.Table = tableOf(v, "/users", all.([]User), []column[User]{
		{name: "name", title: "User Name", text: func(u *User) string { return u.Name }, path: func(u *User) string { return userPath(u.Name) }},
		{name: "roles", title: "Roles", text: func(u *User) string { return roleWords(u.Roles) }},
		{name: "state", title: "State", text: stateWord},
		{name: "tokens", title: "Tokens", count: true, text: func(u *User) string { return strconv.Itoa(len(u.Tokens)) }, less: byNumber(func(u *User) int { return len(u.Tokens) })},
		{name: "made", title: "Made", when: true, text: func(u *User) string { return u.Made.String() }, less: byNumber(func(u *User) capability.Time { return u.Made })},
		{name: "since", title: "Changed", when: true, text: func(u *User) string { return u.Since.String() }, less: byNumber(func(u *User) capability.Time { return u.Since })},
	}, "There is no login.")
	state, err := v.directoryState(v.r.Context())
	if err != nil {
		return err
	}
	view.Directory = directoryFacts(state)
	return v.show("users", "Users", view)
}

// admitting has f done for who admits logins, once it is shown again who that is.
func (v *visit) admitting(page func(*visit) error, f func(form url.Values) (to string, err error)) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.prove(form); err != nil {
		return v.again(err, page)
	}
	return v.again(v.act(func() (string, error) { return f(form) }), page)
}

func (v *visit) addUserForm() error {
	return v.admitting((*visit).usersPage, func(form url.Values) (string, error) {
		roles, err := rolesOf(form)
		if err == nil {
			err = twice(form)
		}
		if err != nil {
			return "", err
		}
		name := strings.TrimSpace(form.Get("name"))
		if err := v.makeLogin(v.r.Context(), name, roles, form.Get("password"), v.by); err != nil {
			return "", err
		}
		v.say("%s can sign in now.", name)
		return userPath(name), nil
	})
}

type userView struct {
	web.Sent
	Path, Name string
	Facts      web.Facts
	Roles      []roleChoice
	Disabled   bool
	Asks       bool
	Tokens     tokensView
}

// tokensView are the tokens of a login.
type tokensView struct {
	Path string
	Rows []UserToken
	Asks bool
	Days string
	Name string
}

func (v *visit) tokensOf(path string, u *User) tokensView {
	return tokensView{path, u.Tokens, v.asks(), v.Typed(path, "days", "90"), v.Typed(path, "token", "")}
}

func (v *visit) userPage() error {
	g, err := v.login(v.r.Context(), v.r.PathValue("name"))
	if err != nil {
		return err
	}
	u := userOf(&g)
	view := userView{Sent: v.Sent, Path: userPath(u.Name), Name: u.Name, Roles: v.roleChoices(userPath(u.Name)+"/roles", u.Roles), Disabled: u.Disabled, Asks: v.asks(), Tokens: v.tokensOf(userPath(u.Name)+"/tokens", &u)}
	view.Facts.Add("Roles", roleWords(u.Roles))
	view.Facts.Marked("State", stateWord(&u), map[bool]string{true: "bad", false: "good"}[u.Disabled])
	view.Facts.Add("Made", u.Made)
	view.Facts.Add("Changed", u.Since)
	return v.show("user", "User "+u.Name, view)
}

func (v *visit) rolesForm() error {
	return v.admitting((*visit).userPage, func(form url.Values) (string, error) {
		roles, err := rolesOf(form)
		if err != nil {
			return "", err
		}
		name := v.r.PathValue("name")
		if _, err := v.Appliance.Change(v.r.Context(), ledger.ChangeLogin{Name: name, Roles: &roles, By: v.by}, "login changed", v.by); err != nil {
			return "", err
		}
		return v.stillSignedIn(name, "The roles are set.")
	})
}

// stillSignedIn keeps who changed the own login signed in: every session from before a change is over.
func (v *visit) stillSignedIn(name, said string) (string, error) {
	if v.guest == "" && strings.EqualFold(name, v.name) {
		g, err := v.login(v.r.Context(), name)
		if err != nil {
			return "", err
		}
		if err := v.begin(asLogin(&g)); err != nil {
			return "", err
		}
		if !g.Permissions().Has(ledger.ToAdmit) {
			v.say("%s", said)
			return "/", nil
		}
	}
	v.say("%s", said)
	return userPath(name), nil
}

func (v *visit) passwordForm() error {
	return v.admitting((*visit).userPage, func(form url.Values) (string, error) {
		if err := twice(form); err != nil {
			return "", err
		}
		name := v.r.PathValue("name")
		if _, err := v.setPassword(v.r.Context(), name, form.Get("password"), v.by); err != nil {
			return "", err
		}
		return v.stillSignedIn(name, "The password is changed.")
	})
}

// stateForm disables a login, lets it sign in again, or removes it.
func (v *visit) stateForm() error {
	return v.admitting((*visit).userPage, func(form url.Values) (string, error) {
		name, no := v.r.PathValue("name"), form.Get("do") == "disable"
		var c ledger.Command = ledger.ChangeLogin{Name: name, Disabled: &no, By: v.by}
		to, said := userPath(name), map[bool]string{true: "It cannot sign in any more.", false: "It can sign in again."}[no]
		switch form.Get("do") {
		case "disable", "enable":
		case "remove":
			c, to, said = ledger.RemoveLogin{Name: name, By: v.by}, "/users", name+" is removed."
		default:
			return "", capability.Refuse(capability.ErrForm, "do", "say what shall be done")
		}
		if _, err := v.Appliance.Change(v.r.Context(), c, "login changed", v.by); err != nil {
			return "", err
		}
		v.say("%s", said)
		return to, nil
	})
}

func (v *visit) tokensForm() error {
	return v.tokenForm(v.r.PathValue("name"), userPath(v.r.PathValue("name")), (*visit).userPage)
}

func (v *visit) ownTokensForm() error {
	name, err := own(v.asker)
	if err != nil {
		return err
	}
	return v.tokenForm(name, "/me", (*visit).ownPage)
}

// tokenForm makes a token of a login, whose text is shown once, or ends one.
func (v *visit) tokenForm(login, to string, page func(*visit) error) error {
	return v.admitting(page, func(form url.Values) (string, error) {
		name := strings.TrimSpace(form.Get("token"))
		if form.Get("do") == "end" {
			if _, err := v.Appliance.Change(v.r.Context(), ledger.EndToken{Login: login, Name: name, By: v.by}, "token ended", v.by); err != nil {
				return "", err
			}
			v.say("The token %s opens nothing any more.", name)
			return to, nil
		}
		days, err := strconv.ParseInt(strings.TrimSpace(form.Get("days")), 10, 16)
		if err != nil || days < 1 {
			return "", capability.Refuse(capability.ErrForm, "days", "%q is no number of days", form.Get("days"))
		}
		t, err := v.newToken(v.r, v.asker, login, TokenForm{Name: name, Life: capability.Seconds(days * 24 * 60 * 60)})
		if err != nil {
			return "", err
		}
		one := t.(NewToken)
		v.say("The token %s is %s. It is shown this once, and good until %s.", one.Name, one.Token, one.Ends)
		return to, nil
	})
}
