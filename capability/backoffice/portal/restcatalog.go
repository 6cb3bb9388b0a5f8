package portal

import (
	"strconv"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

func (p *Portal) restPlain() []operation {
	return []operation{
		askSlowly("health", "GET /health", anyone, "Whether it answers", (*call).health),
		ask("version", "GET /version", signedIn, "What answers, and for whom", (*call).version),
		ask("me", "GET /me", signedIn, "The login and the token that ask", (*call).me),
	}
}

type healthOut struct {
	Status string `json:"status"`
}

// health says to strangers that somebody is there, and no more.
func (c *call) health(*nothing) (healthOut, error) {
	err := c.office(func(*backoffice.Office) error { return nil })
	return healthOut{"ok"}, err
}

type versionOut struct {
	Version  string `json:"version"`
	Producer string `json:"producer"`
}

func (c *call) version(o *backoffice.Office, _ *nothing) (versionOut, error) {
	return versionOut{c.p.Version, o.Book().Policy().Producer}, nil
}

type meOut struct {
	Name        string            `json:"name"`
	Account     string            `json:"account,omitempty"` // empty: the producer's staff
	Roles       []string          `json:"roles"`
	Permissions []string          `json:"permissions"`
	Token       entitlement.Token `json:"token"`
}

func (c *call) me(*backoffice.Office, *nothing) (meOut, error) {
	out := meOut{c.login.Name, c.login.Account, []string{}, []string{}, c.token}
	for _, r := range c.login.Roles {
		out.Roles = append(out.Roles, r.String())
	}
	for _, p := range entitlement.Permissions() {
		if c.may(p) {
			out.Permissions = append(out.Permissions, p.String())
		}
	}
	return out, nil
}

func (p *Portal) restCatalog() []operation {
	see, entitle := needs(entitlement.ToSee), needs(entitlement.ToEntitle)
	return []operation{
		ask("list-accounts", "GET /accounts", see, "Accounts", (*call).listAccounts),
		ask("get-account", "GET /accounts/{name}", see, "An account with its parts", (*call).getAccount),
		ask("set-account", "POST /accounts", entitle, "Make an account, or change it", (*call).saveAccount),
		ofStaff(ask("list-products", "GET /products", see, "Products", (*call).listProducts)),
		ask("set-product", "POST /products", entitle, "Make a product, or change the one of this name and version", (*call).saveProduct),
		ofStaff(ask("list-models", "GET /models", see, "License models", (*call).listModels)),
		ofStaff(ask("get-model", "GET /models/{name}", see, "A license model", (*call).getModel)),
		ask("set-model", "POST /models", entitle, "Make a license model, or change a draft", (*call).saveModel),
		ask("move-model", "POST /models/{name}/state", entitle, "Move a license model to a later state", (*call).stateModel),
		ask("list-groups", "GET /groups", see, "Groups of line items and users", (*call).listGroups),
		ask("set-group", "POST /groups", needs(entitlement.ToAssign), "Put a line item or a user into a group, or take it out", (*call).changeGroup),
	}
}

// NamePath names something.
type NamePath struct {
	Name string `path:"name" maxLength:"128"`
}

type accountsIn struct {
	Search
	Paging
}

// told is an account without a parent that who asks may not know of.
func (c *call) told(o *backoffice.Office, a entitlement.Account) entitlement.Account {
	if !c.within(o, a.Parent) {
		a.Parent = ""
	}
	return a
}

func (c *call) listAccounts(o *backoffice.Office, in *accountsIn) (page[entitlement.Account], error) {
	list, next, more := o.Book().FindAccounts(c.login.Account, in.Text, in.After, in.Limit)
	for i, a := range list {
		list[i] = c.told(o, a)
	}
	if !more {
		next = ""
	}
	return page[entitlement.Account]{list, next}, nil
}

type accountOut struct {
	entitlement.Account
	Parts []string `json:"parts"`
}

func (c *call) getAccount(o *backoffice.Office, in *NamePath) (accountOut, error) {
	b := o.Book()
	a, known := b.AccountRecord(in.Name)
	items, _ := b.FindItems(c.now, entitlement.ItemSearch{ItemFilter: entitlement.ItemFilter{Customer: in.Name}}, "", 1)
	if in.Name == "" || !c.within(o, in.Name) || !known && len(items) == 0 && in.Name != c.login.Account {
		return accountOut{}, foreign(in.Name)
	}
	a.Name = in.Name
	return accountOut{c.told(o, a), append([]string{}, b.Parts(in.Name)...)}, nil
}

type accountIn struct {
	Body entitlement.Account
}

func (c *call) saveAccount(o *backoffice.Office, in *accountIn) (entitlement.Account, error) {
	err := o.Do(entitlement.SetAccount{Account: in.Body, By: c.login.Name}, c.now)
	return in.Body, err
}

// pageFrom is a page of a list that is whole in memory.
func pageFrom[T any](list []T, in Paging) page[T] {
	from, _ := strconv.Atoi(in.After)
	from = min(max(from, 0), len(list))
	if list = append([]T{}, list[from:]...); len(list) > in.Limit {
		return page[T]{list[:in.Limit], strconv.Itoa(from + in.Limit)}
	}
	return page[T]{list, ""}
}

func (c *call) listProducts(o *backoffice.Office, in *Paging) (page[entitlement.Product], error) {
	return pageFrom(o.Book().Products(), *in), nil
}

type productIn struct {
	Body entitlement.Product
}

func (c *call) saveProduct(o *backoffice.Office, in *productIn) (entitlement.Product, error) {
	err := o.Do(entitlement.SetProduct{Product: in.Body, By: c.login.Name}, c.now)
	return in.Body, err
}

func (c *call) listModels(o *backoffice.Office, in *Paging) (page[entitlement.LicenseModel], error) {
	return pageFrom(o.Book().Models(), *in), nil
}

func (c *call) getModel(o *backoffice.Office, in *NamePath) (entitlement.LicenseModel, error) {
	m, ok := o.Book().Model(in.Name)
	if !ok {
		return m, foreign(in.Name)
	}
	return m, nil
}

type modelIn struct {
	Body entitlement.LicenseModel
}

func (c *call) saveModel(o *backoffice.Office, in *modelIn) (entitlement.LicenseModel, error) {
	if err := o.Do(entitlement.SetModel{Model: in.Body, By: c.login.Name}, c.now); err != nil {
		return in.Body, err
	}
	return c.getModel(o, &NamePath{in.Body.Name})
}

type modelStateIn struct {
	NamePath
	Body struct {
		State entitlement.ModelState `json:"state" required:"true"`
	}
}

func (c *call) stateModel(o *backoffice.Office, in *modelStateIn) (entitlement.LicenseModel, error) {
	m, err := c.getModel(o, &in.NamePath)
	if err != nil {
		return m, err
	}
	m.State = in.Body.State
	return m, o.Do(entitlement.SetModel{Model: m, By: c.login.Name}, c.now)
}

type groupOut struct {
	Name  string `json:"name"`
	Items int    `json:"items"`
	Users int    `json:"users"`
}

func (c *call) listGroups(o *backoffice.Office, in *Paging) (page[groupOut], error) {
	list := []groupOut{}
	for _, g := range o.Book().GroupSizes(c.login.Account) {
		list = append(list, groupOut{g.Name, g.Items, g.Users})
	}
	return pageFrom(list, *in), nil
}

type groupIn struct {
	Body struct {
		Group        string              `json:"group" required:"true"`
		ActivationID string              `json:"activationId,omitempty" doc:"of a line item; or"`
		User         *entitlement.UserID `json:"user,omitempty"`
		Remove       bool                `json:"remove,omitempty"`
	}
}

func (c *call) changeGroup(o *backoffice.Office, in *groupIn) (done, error) {
	set := entitlement.SetGroup{Group: in.Body.Group, Remove: in.Body.Remove, By: c.login.Name}
	switch {
	case (in.Body.ActivationID == "") == (in.Body.User == nil):
		return done{}, capability.Refuse(capability.ErrForm, "activationId", "name a line item or a user")
	case in.Body.User != nil:
		u, err := c.user(o, *in.Body.User)
		if err != nil {
			return done{}, err
		}
		set.User = u.ID
	default:
		i, err := c.itemOf(o, in.Body.ActivationID)
		if err != nil {
			return done{}, err
		}
		set.ActivationID = i.ActivationID
	}
	return done{true}, o.Do(set, c.now)
}
