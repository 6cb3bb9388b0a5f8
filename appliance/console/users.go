package console

import (
	"context"
	"net/http"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// User is a login, in GET users and GET users/{name}; POST users, PUT users/{name} and POST first-login answer with it.
type User struct {
	Name     string            `json:"name"`
	Roles    []capability.Role `json:"roles"`
	Disabled bool              `json:"disabled,omitempty"`
	Made     capability.Time   `json:"made"`
	Since    capability.Time   `json:"since"` // the last change of what it may or of how it signs in
	Tokens   []UserToken       `json:"tokens"`
}

// UserToken is a token of a login, without its text.
type UserToken struct {
	Name string          `json:"name"`
	Made capability.Time `json:"made"`
	Ends capability.Time `json:"ends"`
}

// UserForm is the body of POST users and PUT users/{name}, of DELETE users/{name}, and of what changes tokens of others. PUT leaves as it is what is absent. Current is the password of who asks: over the
// network it is asked again.
type UserForm struct {
	Name     string             `json:"name,omitempty"`
	Roles    *[]capability.Role `json:"roles,omitempty"`
	Disabled *bool              `json:"disabled,omitempty"`
	Password string             `json:"password,omitempty"`
	Current  string             `json:"current,omitempty"`
}

// CurrentForm is the body of what removes something: the password of who asks, where it is asked over the network.
type CurrentForm struct {
	Current string `json:"current,omitempty"`
}

// TokenForm is the body of POST tokens and of POST users/{name}/tokens.
type TokenForm struct {
	Name    string             `json:"name"`
	Life    capability.Seconds `json:"life,omitempty"` // zero: 90 days
	Current string             `json:"current,omitempty"`
}

// NewToken answers them: the text is shown once.
type NewToken struct {
	Name  string          `json:"name"`
	Token string          `json:"token"`
	Ends  capability.Time `json:"ends"`
}

// Session answers GET session: who asks, and what they may.
type Session struct {
	By          string            `json:"by,omitempty"` // as entries name it; absent: nobody known
	Name        string            `json:"name,omitempty"`
	Roles       []capability.Role `json:"roles"`
	Permissions []string          `json:"permissions"`
}

// SignInForm is the body of POST session.
type SignInForm struct {
	Name      string `json:"name"`
	Password  string `json:"password"`
	Directory bool   `json:"directory,omitempty"` // the directory of the site judges them, and not the appliance
}

// SignedIn answers POST session: a token for the requests that follow, good for so many seconds.
type SignedIn struct {
	Token string             `json:"token"`
	Life  capability.Seconds `json:"life"`
}

// PasswordForm is the body of PUT password, for the own one.
type PasswordForm struct {
	Current  string `json:"current"`
	Password string `json:"password"`
}

// FirstLogin answers GET first-login.
type FirstLogin struct {
	Code string `json:"firstLoginCode"`
}

// FirstLoginForm is the body of POST first-login.
type FirstLoginForm struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

// userOperations are those about who may sign in.
func (c *Console) userOperations() []operation {
	admit := needs(ledger.ToAdmit)
	return []operation{
		{pattern: "GET session", gate: anyone, do: c.session},
		secretly(operation{pattern: "POST session", gate: anyone, do: c.openSession}),
		{pattern: "DELETE session", gate: signedIn, do: c.closeSession},
		{pattern: "PUT password", gate: signedIn, do: c.ownPassword},
		secretly(operation{pattern: "POST tokens", gate: signedIn, do: c.ownToken}),
		{pattern: "DELETE tokens/{token}", gate: signedIn, do: c.endOwnToken},
		{pattern: "GET first-login", gate: rootOnly, do: c.firstCodeFor},
		{pattern: "POST first-login", gate: anyone, do: c.makeFirstLogin},
		{pattern: "GET users", gate: admit, do: c.users},
		{pattern: "POST users", gate: admit, do: c.addUser},
		{pattern: "GET users/{name}", gate: admit, do: func(r *http.Request, _ asker) (any, error) { return c.user(r.Context(), r.PathValue("name")) }},
		{pattern: "PUT users/{name}", gate: admit, do: c.changeUser},
		{pattern: "DELETE users/{name}", gate: admit, do: c.removeUser},
		secretly(operation{pattern: "POST users/{name}/tokens", gate: admit, do: c.tokenOf}),
		{pattern: "DELETE users/{name}/tokens/{token}", gate: admit, do: c.endTokenOf},
	}
}

func userOf(g *ledger.Login) User {
	u := User{Name: g.Name, Roles: g.Roles, Disabled: g.Disabled, Made: g.Made, Since: g.Since, Tokens: []UserToken{}}
	if u.Roles == nil {
		u.Roles = []capability.Role{}
	}
	for _, t := range g.Tokens {
		u.Tokens = append(u.Tokens, UserToken{t.Name, t.Made, t.Ends})
	}
	return u
}

func (c *Console) user(ctx context.Context, name string) (any, error) {
	g, err := c.login(ctx, name)
	if err != nil {
		return nil, err
	}
	return userOf(&g), nil
}

func (c *Console) users(r *http.Request, _ asker) (any, error) {
	out := []User{}
	err := c.Appliance.Look(r.Context(), func(l *ledger.Ledger, _ ledger.Now) {
		for _, g := range l.Logins() {
			out = append(out, userOf(&g))
		}
	})
	return out, err
}

// proven has who asks over the network show its own password again: logins are worth more than a token that was left somewhere.
func (c *Console) proven(r *http.Request, a asker, current string) error {
	if a.local {
		return nil
	}
	if current == "" {
		return &capability.Malformed{Field: "current", Cause: "your own password is asked for"}
	}
	if a.guest != "" {
		return c.provenGuest(r, a, current)
	}
	_, err := c.known(r.Context(), a.name, current, web.AddressOf(r))
	return err
}

func (c *Console) addUser(r *http.Request, a asker) (any, error) {
	var form UserForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	if form.Disabled != nil {
		return nil, &capability.Malformed{Field: "disabled", Cause: "not of a new login"}
	}
	if err := c.proven(r, a, form.Current); err != nil {
		return nil, err
	}
	var roles []capability.Role
	if form.Roles != nil {
		roles = *form.Roles
	}
	if err := c.makeLogin(r.Context(), form.Name, roles, form.Password, a.by); err != nil {
		return nil, err
	}
	return c.user(r.Context(), form.Name)
}

// makeLogin admits somebody with a first password, in the name of somebody who may.
func (c *Console) makeLogin(ctx context.Context, name string, roles []capability.Role, password, by string) error {
	kept, err := c.entry().passwords.make(ctx, c, name, password)
	if err != nil {
		return err
	}
	_, err = c.Appliance.Change(ctx, ledger.AddLogin{Name: name, Roles: roles, Password: kept, By: by}, "login made", by)
	return err
}

func (c *Console) changeUser(r *http.Request, a asker) (any, error) {
	var form UserForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	if form.Name != "" {
		return nil, &capability.Malformed{Field: "name", Cause: "a login keeps its name"}
	}
	if err := c.proven(r, a, form.Current); err != nil {
		return nil, err
	}
	g, err := c.login(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	change := ledger.ChangeLogin{Name: g.Name, Roles: form.Roles, Disabled: form.Disabled, By: a.by}
	if form.Password != "" {
		if change.Password, err = c.entry().passwords.make(r.Context(), c, g.Name, form.Password); err != nil {
			return nil, err
		}
	}
	if _, err := c.Appliance.Change(r.Context(), change, "login changed", a.by); err != nil {
		return nil, err
	}
	return c.user(r.Context(), g.Name)
}

func (c *Console) removeUser(r *http.Request, a asker) (any, error) {
	current, err := currentIn(r)
	if err == nil {
		err = c.proven(r, a, current)
	}
	if err == nil {
		_, err = c.Appliance.Change(r.Context(), ledger.RemoveLogin{Name: r.PathValue("name"), By: a.by}, "login removed", a.by)
	}
	return struct{}{}, err
}

// currentIn is the password of who asks, in a body that may be empty.
func currentIn(r *http.Request) (string, error) {
	var form CurrentForm
	if r.ContentLength == 0 {
		return "", nil
	}
	err := decode(r, &form)
	return form.Current, err
}

func (c *Console) tokenOf(r *http.Request, a asker) (any, error) {
	var form TokenForm
	err := decode(r, &form)
	if err == nil {
		err = c.proven(r, a, form.Current)
	}
	if err != nil {
		return nil, err
	}
	return c.newToken(r, a, r.PathValue("name"), form)
}

// newToken gives a login a token for a program.
func (c *Console) newToken(r *http.Request, a asker, login string, form TokenForm) (any, error) {
	text, err := newToken(c.Appliance.Rand)
	if err != nil {
		return nil, err
	}
	if form.Life < 0 {
		return nil, &capability.Malformed{Field: "life", Cause: "less than nothing"}
	}
	if _, err := c.Appliance.Change(r.Context(), ledger.AddToken{Login: login, Name: form.Name, Hash: ledger.TokenHash(text), Life: form.Life, By: a.by}, "token made", a.by); err != nil {
		return nil, err
	}
	out := NewToken{Name: form.Name, Token: text}
	err = c.Appliance.Look(r.Context(), func(l *ledger.Ledger, now ledger.Now) {
		_, t, _ := l.OfToken(text, now.Wall)
		out.Ends = t.Ends
	})
	return out, err
}

func (c *Console) endTokenOf(r *http.Request, a asker) (any, error) {
	current, err := currentIn(r)
	if err == nil {
		err = c.proven(r, a, current)
	}
	if err != nil {
		return nil, err
	}
	return c.endToken(r, a, r.PathValue("name"))
}

func (c *Console) endToken(r *http.Request, a asker, login string) (any, error) {
	_, err := c.Appliance.Change(r.Context(), ledger.EndToken{Login: login, Name: r.PathValue("token"), By: a.by}, "token ended", a.by)
	return struct{}{}, err
}

// own is the login of who asks. The Unix socket has none.
func own(a asker) (string, error) {
	if a.guest != "" {
		return "", capability.Refuse(capability.ErrDirectoryLogin, "", "")
	}
	if a.name == "" {
		return "", capability.Refuse(capability.ErrForbidden, "", "there is no login of %s", a.by)
	}
	return a.name, nil
}

func (c *Console) ownToken(r *http.Request, a asker) (any, error) {
	var form TokenForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	name, err := own(a)
	if err == nil {
		err = c.proven(r, a, form.Current)
	}
	if err != nil {
		return nil, err
	}
	return c.newToken(r, a, name, form)
}

func (c *Console) endOwnToken(r *http.Request, a asker) (any, error) {
	name, err := own(a)
	if err != nil {
		return nil, err
	}
	return c.endToken(r, a, name)
}

func (c *Console) ownPassword(r *http.Request, a asker) (any, error) {
	var form PasswordForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	name, err := own(a)
	if err != nil {
		return nil, err
	}
	g, err := c.newOwnPassword(r.Context(), name, form.Current, form.Password, web.AddressOf(r))
	if err != nil {
		return nil, err
	}
	return userOf(&g), nil
}

func (c *Console) session(r *http.Request, a asker) (any, error) {
	out := Session{By: a.by, Name: a.name, Roles: []capability.Role{}, Permissions: []string{}}
	for _, p := range ledger.AllPermissions() {
		if a.may(p) {
			out.Permissions = append(out.Permissions, p.String())
		}
	}
	if a.guest != "" {
		out.Roles = a.roles
	}
	if a.guest != "" || a.name == "" {
		return out, nil
	}
	g, err := c.login(r.Context(), a.name)
	out.Roles = userOf(&g).Roles
	return out, err
}

func (c *Console) openSession(r *http.Request, _ asker) (any, error) {
	var form SignInForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	s, err := c.signInBy(r.Context(), form.Directory, form.Name, form.Password, web.AddressOf(r))
	if err != nil {
		return nil, err
	}
	var life capability.Seconds
	if err := c.Appliance.Look(r.Context(), func(l *ledger.Ledger, _ ledger.Now) { life = l.BearerLife() }); err != nil {
		return nil, err
	}
	now := c.Appliance.Now()
	text, err := c.entry().bearers.begin(s, now, now.Add(time.Duration(life)*time.Second), c.Appliance.Rand)
	return SignedIn{text, life}, err
}

// signInBy signs somebody in by name and password, as a login of the appliance or as a guest.
func (c *Console) signInBy(ctx context.Context, directory bool, name, password, from string) (signedInAs, error) {
	if directory {
		return c.guestSignIn(ctx, name, password, from)
	}
	g, err := c.signIn(ctx, name, password, from)
	return asLogin(&g), err
}

func (c *Console) closeSession(r *http.Request, a asker) (any, error) {
	if text, ok := bearerOf(r); !ok || !c.entry().bearers.end(text) {
		return nil, capability.Refuse(capability.ErrNotFound, "", "this was not asked with the token of a session")
	}
	return struct{}{}, nil
}

func (c *Console) firstCodeFor(r *http.Request, _ asker) (any, error) {
	code, err := c.firstLoginCode(r.Context())
	return FirstLogin{code}, err
}

func (c *Console) makeFirstLogin(r *http.Request, _ asker) (any, error) {
	var form FirstLoginForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	g, err := c.firstLogin(r.Context(), form.Code, form.Name, form.Password, web.AddressOf(r))
	if err != nil {
		return nil, err
	}
	return userOf(&g), nil
}
