package portal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) catalogRoutes() []route {
	see, entitle := needs(entitlement.ToSee), needs(entitlement.ToEntitle)
	return []route{
		{pattern: "GET /accounts", gate: see, do: (*visit).accounts},
		{pattern: "GET /account", gate: see, do: (*visit).accountPage},
		{pattern: "GET /accounts/edit", gate: entitle, do: (*visit).editAccount},
		{pattern: "POST /accounts/edit", gate: entitle, do: (*visit).setAccount},
		{pattern: "GET /products", gate: see, staff: true, do: (*visit).products},
		{pattern: "GET /products/edit", gate: entitle, do: (*visit).editProduct},
		{pattern: "POST /products/edit", gate: entitle, do: (*visit).setProduct},
		{pattern: "GET /models", gate: see, staff: true, do: (*visit).models},
		{pattern: "GET /model", gate: see, staff: true, do: (*visit).modelPage},
		{pattern: "POST /model", gate: entitle, do: (*visit).moveModel},
		{pattern: "GET /models/edit", gate: entitle, do: (*visit).editModel},
		{pattern: "POST /models/edit", gate: entitle, do: (*visit).setModel},
	}
}

// listView is a list of links with what is said of each.
type listView struct {
	Search  *web.Search
	Intro   string
	Columns []string
	Rows    []listRow
	Next    string
	New     *link
}

type listRow struct {
	Name, Path string
	Cells      []string
}

func accountPath(name string) string { return web.PathTo("/account", "name", name) }

func (v *visit) accounts() error {
	text := v.query("q")
	view := listView{Search: &web.Search{Path: "/accounts", Text: text}, Columns: []string{"Account", "Part of", "Contact", "Use"}}
	if v.may(entitlement.ToEntitle) {
		view.New = &link{"/accounts/edit", "New account"}
	}
	err := v.office(func(o *backoffice.Office) error {
		page, next, more := o.Book().FindAccounts(v.login.Account, text, v.query("after"), pageRows)
		for _, a := range page {
			view.Rows = append(view.Rows, listRow{a.Name, accountPath(a.Name), []string{v.parentOf(o, &a), a.Contact, map[bool]string{true: "online only"}[a.KeepsOnline]}})
		}
		if more {
			view.Next = web.PathTo("/accounts", "q", text, "after", next)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("list", "Accounts", view)
}

// parentOf is what an account is a part of, where who visits may know.
func (v *visit) parentOf(o *backoffice.Office, a *entitlement.Account) string {
	if v.within(o, a.Parent) {
		return a.Parent
	}
	return ""
}

type accountView struct {
	Facts             web.Facts
	Parts             []listRow
	Items             []itemRow
	MoreItems         string
	Users, Edit, Sell string
}

func (v *visit) accountPage() error {
	name, view := v.query("name"), accountView{}
	err := v.office(func(o *backoffice.Office) error {
		b := o.Book()
		a, known := b.AccountRecord(name)
		items, next := b.FindItems(v.now, entitlement.ItemSearch{ItemFilter: entitlement.ItemFilter{Customer: name}}, "", pageRows)
		if name == "" || !v.within(o, name) || !known && len(items) == 0 && name != v.login.Account {
			return foreign(name)
		}
		if parent := v.parentOf(o, &a); parent != "" {
			view.Facts.Link("Part of", parent, accountPath(parent))
		}
		view.Facts.Add("Contact", a.Contact)
		if a.KeepsOnline {
			view.Facts.Add("Use", "its licenses may not be converted to their offline form")
		}
		for i := range items {
			view.Items = append(view.Items, rowOf(&items[i]))
		}
		if next != "" {
			view.MoreItems = web.PathTo("/items", "account", name)
		}
		for _, part := range b.Parts(name) {
			view.Parts = append(view.Parts, listRow{Name: part, Path: accountPath(part)})
		}
		view.Users = web.PathTo("/users", "q", name)
		if v.may(entitlement.ToEntitle) {
			view.Edit, view.Sell = web.PathTo("/accounts/edit", "name", name), web.PathTo("/items/new", "account", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("account", name, view)
}

// edit shows a form for something of the catalog, which has the texts of what there is, if there is something.
func (v *visit) edit(path, title, intro string, fields []web.Field, texts map[string]string) error {
	if texts != nil && v.Refused == nil {
		fields[0].Fixed = true // another name would be another one
	}
	return v.show("form", title, formView{Path: path, Intro: intro, Button: "Save", Fields: v.fill(path, fields, texts)})
}

// set has a form of the catalog done: the row that its fields say becomes a command.
func (v *visit) set(n backoffice.Noun, fields []web.Field, command func(r *backoffice.Row) entitlement.Command, page func(*visit) error, done func(r *backoffice.Row) string) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	var r backoffice.Row
	err = v.act(func(o *backoffice.Office) error {
		var err error
		if r, err = row(n, form, fields); err != nil {
			return err
		}
		return o.Do(command(&r), v.now)
	})
	if err != nil {
		return v.again(err, page)
	}
	return v.goTo(done(&r))
}

func accountFields() []web.Field {
	return []web.Field{
		{Name: "name", Label: "Name", Kind: web.KindText, Must: true},
		{Name: "parent", Label: "Part of", Hint: "another account; of none if empty", Kind: web.KindText},
		{Name: "contact", Label: "Contact", Hint: "a person to write to", Kind: web.KindText},
		{Name: "keeps_online", Label: "Its licenses may not be converted to their offline form", Kind: web.KindCheck},
	}
}

func (v *visit) editAccount() error {
	name, texts := v.query("name"), map[string]string(nil)
	err := v.office(func(o *backoffice.Office) error {
		if name != "" {
			texts = (&backoffice.Row{Account: o.Book().Account(name)}).Texts(backoffice.Accounts)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.edit("/accounts/edit", "Account", "An account is a customer, and may be a part of another one, as a site is of a company.", accountFields(), texts)
}

func (v *visit) setAccount() error {
	return v.set(backoffice.Accounts, accountFields(), func(r *backoffice.Row) entitlement.Command {
		return entitlement.SetAccount{Account: r.Account, By: v.login.Name}
	}, (*visit).editAccount, func(r *backoffice.Row) string { return accountPath(r.Account.Name) })
}

func (v *visit) products() error {
	view := listView{Columns: []string{"Product", "Version", "A copy is worth", "Parts"}, Intro: "A product has features, a bundle other products for parts. A line item has its own copy of them: a later change changes nothing that was sold."}
	if v.may(entitlement.ToEntitle) {
		view.New = &link{"/products/edit", "New product"}
	}
	err := v.office(func(o *backoffice.Office) error {
		page, next := pageOf(v, o.Book().Products(), "/products", "from")
		view.Next = next
		for _, p := range page {
			all, _ := o.Book().FeaturesOf(p.Name, p.Version)
			var features, parts []string
			for _, f := range all {
				features = append(features, fmt.Sprintf("%s %s: %d", f.Name, f.Version, f.PerCopy))
			}
			for _, part := range p.Parts {
				parts = append(parts, fmt.Sprintf("%d %s %s", part.Times, part.Product, part.Version))
			}
			r := listRow{Name: p.Name, Cells: []string{p.Version.String(), strings.Join(features, ", "), strings.Join(parts, ", ")}}
			if v.may(entitlement.ToEntitle) {
				r.Path = web.PathTo("/products/edit", "name", p.Name, "version", p.Version.String())
			}
			view.Rows = append(view.Rows, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("list", "Products", view)
}

func productFields() []web.Field {
	return []web.Field{
		{Name: "name", Label: "Name", Kind: web.KindText, Must: true},
		{Name: "version", Label: "Version", Hint: "as 2026.1; 0.0 if empty", Kind: web.KindText},
		{Name: "features", Label: "Features", Hint: "NAME:VERSION=COUNT, one a line, as render:2026.1=5", Kind: web.KindArea},
		{Name: "parts", Label: "Parts of a bundle", Hint: "PRODUCT:VERSION=TIMES, one a line", Kind: web.KindArea},
	}
}

func (v *visit) editProduct() error {
	name, texts := v.query("name"), map[string]string(nil)
	version, err := capability.ParseVersion(v.query("version"))
	if name != "" && err != nil {
		return foreign(name)
	}
	err = v.office(func(o *backoffice.Office) error {
		if name == "" {
			return nil
		}
		p, ok := o.Book().Product(name, version)
		if !ok {
			return foreign(name)
		}
		texts = (&backoffice.Row{Product: p}).Texts(backoffice.Products)
		return nil
	})
	if err != nil {
		return err
	}
	return v.edit("/products/edit", "Product", "What is saved takes the place of the product of this name and version.", productFields(), texts)
}

func (v *visit) setProduct() error {
	return v.set(backoffice.Products, productFields(), func(r *backoffice.Row) entitlement.Command {
		return entitlement.SetProduct{Product: r.Product, By: v.login.Name}
	}, (*visit).editProduct, func(*backoffice.Row) string { return "/products" })
}

func modelPath(name string) string { return web.PathTo("/model", "name", name) }

func (v *visit) models() error {
	view := listView{Columns: []string{"License model", "State", "Kind"}, Intro: "A license model says how the copies of a line item may be used. It is a draft, is deployed and then changes no more, becomes inactive and obsolete."}
	if v.may(entitlement.ToEntitle) {
		view.New = &link{"/models/edit", "New license model"}
	}
	err := v.office(func(o *backoffice.Office) error {
		page, next := pageOf(v, o.Book().Models(), "/models", "from")
		view.Next = next
		for _, m := range page {
			view.Rows = append(view.Rows, listRow{m.Name, modelPath(m.Name), []string{m.State.String(), m.Kind.String()}})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("list", "License models", view)
}

type modelView struct {
	web.Sent
	Name, Edit string
	Facts      web.Facts
	Next       []string // states that it can become
}

// modelPage shows a license model with everything that it says.
func (v *visit) modelPage() error { return v.showModel(v.query("name")) }

func (v *visit) showModel(name string) error {
	view := modelView{Sent: v.Sent, Name: name}
	err := v.office(func(o *backoffice.Office) error {
		m, ok := o.Book().Model(name)
		if !ok {
			return foreign(name)
		}
		view.Facts.Add("State", m.State)
		texts := (&backoffice.Row{Model: m}).Texts(backoffice.Models)
		for _, f := range modelFields()[1:] {
			view.Facts.Add(f.Label, strings.ReplaceAll(texts[f.Name], ";", ", "))
		}
		if !v.may(entitlement.ToEntitle) {
			return nil
		}
		if m.State == entitlement.ModelDraft {
			view.Edit = web.PathTo("/models/edit", "name", name)
		}
		for to := m.State + 1; to <= entitlement.ModelObsolete; to++ {
			if m.State != entitlement.ModelDraft || to != entitlement.ModelInactive {
				view.Next = append(view.Next, to.String())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("model", name, view)
}

// moveModel moves a license model to a later state.
func (v *visit) moveModel() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	name := form.Get("name")
	err = v.act(func(o *backoffice.Office) error {
		m, ok := o.Book().Model(name)
		if !ok {
			return foreign(name)
		}
		if m.State, err = parsed(form, "state", entitlement.ParseModelState); err != nil {
			return err
		}
		return o.Do(entitlement.SetModel{Model: m, By: v.login.Name}, v.now)
	})
	if err != nil {
		return v.again(err, func(v *visit) error { return v.showModel(name) })
	}
	return v.goTo(modelPath(name))
}

func modelFields() []web.Field {
	return []web.Field{
		{Name: "name", Label: "Name", Kind: web.KindText, Must: true},
		{Name: "kind", Label: "Kind", Hint: "what a copy is tied to", Kind: web.KindSelect, Value: entitlement.Floating.String(), Options: []string{entitlement.Floating.String(), entitlement.NodeLocked.String(), entitlement.FixedUser.String()}},
		{Name: "metered", Label: "Metered: counts are used up, not leased", Kind: web.KindCheck},
		{Name: "reusable", Label: "Metered counts may go down again", Kind: web.KindCheck},
		{Name: "undo", Label: "Undo", Hint: "time in which a device can take a metered report back, as 10m", Kind: web.KindText},
		{Name: "overdraft", Label: "Overdraft", Hint: "percent of the counts of each machine", Kind: web.KindNumber},
		{Name: "grace_days", Label: "Grace", Hint: "days that rights go on after the expiry", Kind: web.KindNumber},
		{Name: "borrow", Label: "Borrow", Hint: "longest lease, as 72h; the policy's if empty", Kind: web.KindText},
		{Name: "renew", Label: "Renew", Hint: "percent of a lease after which clients renew; the policy's if empty", Kind: web.KindNumber},
		{Name: "tolerance", Label: "Tolerance", Hint: "time for which an assigned seat goes on without its server, as 24h", Kind: web.KindText},
		{Name: "no_virtual", Label: "Not on virtual machines", Kind: web.KindCheck},
		{Name: "host_types", Label: "Types of host IDs", Hint: "that machines must be known by, one a line, as TPM_EK; all if empty", Kind: web.KindArea},
		tierField("minimum_tier"),
		{Name: "no_partial", Label: "A machine is given all that it asks for, or nothing", Kind: web.KindCheck},
		{Name: "aggregation", Label: "Aggregation", Hint: "what equal records of one machine are worth together", Kind: web.KindSelect, Value: entitlement.Sum.String(), Options: []string{entitlement.Sum.String(), entitlement.Max.String()}},
		{Name: "no_credit", Label: "What is returned is gone", Kind: web.KindCheck},
		{Name: "limits", Label: "Limits", Hint: "ACT:COUNT:TIME, one a line, as return:4:365d; acts are rehost, return, repair, extra", Kind: web.KindArea},
	}
}

func (v *visit) editModel() error {
	name, texts := v.query("name"), map[string]string(nil)
	err := v.office(func(o *backoffice.Office) error {
		if name == "" {
			return nil
		}
		m, ok := o.Book().Model(name)
		if !ok {
			return foreign(name)
		}
		texts = (&backoffice.Row{Model: m}).Texts(backoffice.Models)
		return nil
	})
	if err != nil {
		return err
	}
	return v.edit("/models/edit", "License model", "A draft can be changed until it is deployed.", modelFields(), texts)
}

func (v *visit) setModel() error {
	return v.set(backoffice.Models, modelFields(), func(r *backoffice.Row) entitlement.Command {
		return entitlement.SetModel{Model: r.Model, By: v.login.Name}
	}, (*visit).editModel, func(r *backoffice.Row) string { return modelPath(r.Model.Name) })
}
