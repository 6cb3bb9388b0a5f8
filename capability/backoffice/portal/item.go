package portal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

func (p *Portal) itemRoutes() []route {
	list := []route{
		{pattern: "GET /items", gate: needs(entitlement.ToSee), do: (*visit).items},
		{pattern: "GET /items/new", gate: needs(entitlement.ToEntitle), do: (*visit).newItemPage},
		{pattern: "POST /items/new", gate: needs(entitlement.ToEntitle), do: (*visit).newItem},
		{pattern: "GET /items/{id}", gate: needs(entitlement.ToSee), do: (*visit).itemPage},
		{pattern: "GET /items/{id}/slip", gate: needs(entitlement.ToSee), do: (*visit).itemSlip},
		{pattern: "POST /items/{id}/split", gate: needs(entitlement.ToEntitle), do: (*visit).split},
		{pattern: "POST /items/{id}/retire", gate: needs(entitlement.ToMove), do: (*visit).retire},
	}
	for _, a := range alterations() {
		list = append(list, route{pattern: "POST /items/{id}/" + a.String(), gate: needs(entitlement.ToEntitle), do: func(v *visit) error { return v.alter(a) }})
	}
	return list
}

// alterations are what a form can do with a line item, but for a split, which makes another one.
func alterations() []entitlement.Alter {
	return []entitlement.Alter{entitlement.Deploy, entitlement.Suspend, entitlement.Resume, entitlement.Renew, entitlement.Archive, entitlement.Merge, entitlement.SetCopies, entitlement.SetExtra}
}

type itemsView struct {
	Search   web.Search
	Rows     []itemRow
	Next     string
	Entitles bool
}

type itemRow struct {
	ID, Customer, Entitlement, Product, Model, State, Class, Expires string
	Copies, Used, Left                                               uint32
}

func rowOf(i *entitlement.ItemView) itemRow {
	state, class := stateWords(i)
	return itemRow{string(i.ActivationID), i.Customer, i.EntitlementID, i.Product + " " + i.ProductVersion.String(), i.Model, state, class, until(i.Expiry), i.Copies, i.Used, i.Left}
}

// stateWords is the state of a line item, and its color.
func stateWords(i *entitlement.ItemView) (words, class string) {
	words = string(i.State)
	if i.Over > 0 {
		return fmt.Sprintf("%s, %d over", words, i.Over), "bad"
	}
	switch i.State {
	case entitlement.Available, entitlement.PartlyUsed, entitlement.FullyUsed:
		return words, "good"
	case entitlement.Expired, entitlement.Suspended:
		return words, "bad"
	case entitlement.InGrace, entitlement.Retiring:
		return words, "warn"
	}
	return words, ""
}

// itemStates are what a list of line items can be cut to.
func itemStates() []string {
	list := []string{""}
	for _, s := range []entitlement.State{entitlement.Available, entitlement.PartlyUsed, entitlement.FullyUsed, entitlement.Draft, entitlement.Suspended, entitlement.InGrace, entitlement.Expired, entitlement.Retiring, entitlement.Merged, entitlement.Inactive, entitlement.Obsolete} {
		list = append(list, string(s))
	}
	return list
}

func (v *visit) items() error {
	s := entitlement.ItemSearch{Text: v.query("q"), Group: v.query("group")}
	s.State = entitlement.State(v.query("state"))
	view := itemsView{Entitles: v.may(entitlement.ToEntitle), Search: web.Search{Path: "/items", Text: s.Text, More: []web.Field{
		{Name: "state", Label: "State", Kind: web.KindSelect, Value: string(s.State), Options: itemStates()},
		{Name: "group", Label: "Group", Kind: web.KindText, Value: s.Group},
		{Name: "account", Label: "Account, with its parts", Kind: web.KindText, Value: v.query("account")},
	}}}
	err := v.office(func(o *backoffice.Office) error {
		var err error
		if s.Within, err = v.cut(o, v.query("account")); err != nil {
			return err
		}
		page, next := o.Book().FindItems(v.now, s, idOf(v.query("after")), pageRows)
		for i := range page {
			view.Rows = append(view.Rows, rowOf(&page[i]))
		}
		if next != "" {
			view.Next = web.PathTo("/items", "q", s.Text, "state", string(s.State), "group", s.Group, "account", v.query("account"), "after", string(next))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("items", "Line items", view)
}

// idOf is an activation ID; of what is none, the empty one.
func idOf(text string) capability.ActivationID {
	id, _ := capability.ParseActivationID(text)
	return id
}

// item is the line item that the address names, where who visits may see it.
func (v *visit) item(o *backoffice.Office) (entitlement.ItemView, error) {
	return v.itemOf(o, v.r.PathValue("id"))
}

type itemView struct {
	web.Sent
	ID, Path     string
	Facts        web.Facts
	Features     []featureRow
	Holders      []holderRow
	NextHolders  string
	Unproved     int // machines that have shown no proof
	Groups       []string
	Seats        seatsView
	Life         lifeView
	Moves        bool // who visits may take all of it back
	Assigns      bool
	MayBeRetired bool
}

type featureRow struct {
	Name, Version string
	PerCopy, All  uint32
}

type holderRow struct {
	Path, Short, Alias string
	Copies, Out        uint32
}

// lifeView are the forms that can be used in a line item's state.
type lifeView struct {
	May                                                          bool
	Deploy, Suspend, Resume, Renew, Archive, Split, Merge, Count bool
	Copies, Extra                                                uint32
}

func (v *visit) itemPage() error {
	view := itemView{Sent: v.Sent, Moves: v.may(entitlement.ToMove), Assigns: v.may(entitlement.ToAssign)}
	title := ""
	err := v.office(func(o *backoffice.Office) error {
		i, err := v.item(o)
		if err != nil {
			return err
		}
		title = i.Product + " " + i.ProductVersion.String()
		view.of(v, o, &i)
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("item", title, view)
}

func (view *itemView) of(v *visit, o *backoffice.Office, i *entitlement.ItemView) {
	b := o.Book()
	view.ID, view.Path, view.Groups = string(i.ActivationID), "/items/"+string(i.ActivationID), i.Groups
	view.Facts = itemFacts(b, i)
	for _, f := range i.Features {
		view.Features = append(view.Features, featureRow{f.Name, f.Version.String(), f.PerCopy, f.PerCopy * i.Copies})
	}
	shown, next := pageOf(v, i.Hosts, view.Path, "holders")
	view.NextHolders = next
	for _, h := range shown {
		r := holderRow{Short: h.Host.Short(), Alias: h.Alias, Copies: h.Copies, Out: h.Out}
		if v.within(o, b.AccountOf(h.Host)) {
			r.Path = devicePath(h.Host)
		}
		view.Holders = append(view.Holders, r)
	}
	l := &i.Life
	if l.Retired != 0 {
		view.Unproved = len(i.Hosts)
	}
	kind, _ := b.Use(i.ActivationID)
	running := l.Stage == entitlement.StageDeployed && l.MergedTo == ""
	view.MayBeRetired = running && kind != entitlement.NodeLocked && !i.Metered
	view.Seats.of(v, o, i)
	view.Life = lifeView{
		May: v.may(entitlement.ToEntitle), Deploy: l.Stage == entitlement.StageDraft, Suspend: l.Suspended == 0 && (running || l.Stage == entitlement.StageRetiring), Resume: l.Suspended != 0,
		Renew: running && i.Expiry != 0, Archive: l.Stage != entitlement.StageObsolete, Split: running && i.Copies > 1, Merge: running, Count: running || l.Stage == entitlement.StageDraft, Copies: i.Copies, Extra: l.Extra,
	}
}

// devicePath is where a device is shown.
func devicePath(h hostid.ID) string { return "/devices/" + h.String() }

// itemFacts says everything about a line item that is one line.
func itemFacts(b *entitlement.Book, i *entitlement.ItemView) (f web.Facts) {
	state, class := stateWords(i)
	kind, mode := b.Use(i.ActivationID)
	f.Add("Activation ID", string(i.ActivationID))
	f.Marked("State", state, class)
	f.Link("Account", i.Customer, web.PathTo("/account", "name", i.Customer))
	f.Add("Entitlement", i.EntitlementID)
	f.Add("License model", i.Model)
	f.Add("Kind", fmt.Sprintf("%s, used %s", kind, mode))
	f = append(f, web.Fact{Name: "Copies", Value: fmt.Sprintf("%d entitled, %d in use, %d left", i.Copies, i.Used, i.Left)})
	if i.Reserved > 0 {
		f.Add("Reserved", fmt.Sprintf("%d for devices, with their next responses", i.Reserved))
	}
	if i.Over > 0 {
		f.Marked("Overage", fmt.Sprintf("%d more are in use than entitled; nothing more is given meanwhile", i.Over), "bad")
	}
	l := &i.Life
	if l.Extra > 0 {
		f.Add("Extra", capability.Counted(l.Extra, "copy")+" beyond those entitled")
	}
	if l.Gone > 0 {
		f.Add("Gone", capability.Counted(l.Gone, "copy")+" returned and not credited")
	}
	f.Add("Starts", i.Start)
	f.Add("Expires", until(i.Expiry))
	f.Add("Issued", i.Issued)
	if l.Suspended != 0 {
		f.Marked("Suspended", l.Suspended.String()+" "+l.Reason, "bad")
	}
	f.Add("Taken back", l.Retired)
	f.Link("Merged into", string(l.MergedTo), "/items/"+string(l.MergedTo))
	f.Link("Split from", string(l.SplitFrom), "/items/"+string(l.SplitFrom))
	f.Link("In place of", string(i.Replaces), "/items/"+string(i.Replaces))
	f.Add("User", i.User)
	if i.MinimumTier != 0 {
		f.Add("Lowest tier", i.MinimumTier)
	}
	for _, limit := range i.Limits {
		f.Add("Limit of a tier", limit.String())
	}
	if i.Metered {
		words := "counts are used up"
		if i.Reusable {
			words += ", and can be given back"
		}
		if i.UndoInterval > 0 {
			words += ", within " + i.UndoInterval.String()
		}
		f.Add("Metered", words)
	}
	if m := i.Marks; m != nil {
		f.Add("Vendor string", m.VendorString)
		f.Add("Notice", m.Notice)
		f.Add("Serial number", m.SerialNumber)
	}
	for _, a := range i.Acts {
		f.Add("Counted", fmt.Sprintf("%s: %d", a.Act, a.Total))
	}
	return f
}

// forItem has a form about a line item done, and goes back to its page.
func (v *visit) forItem(do func(o *backoffice.Office, i *entitlement.ItemView) error) error {
	if _, err := v.form(); err != nil {
		return err
	}
	return v.onItem(do)
}

// onItem is forItem for a form that was read.
func (v *visit) onItem(do func(o *backoffice.Office, i *entitlement.ItemView) error) error {
	path := ""
	err := v.act(func(o *backoffice.Office) error {
		i, err := v.item(o)
		if err != nil {
			return err
		}
		path = "/items/" + string(i.ActivationID)
		return do(o, &i)
	})
	if err != nil {
		return v.again(err, (*visit).itemPage)
	}
	return v.goTo(path)
}

// alter does one thing with a line item.
func (v *visit) alter(do entitlement.Alter) error {
	return v.forItem(func(o *backoffice.Office, i *entitlement.ItemView) (err error) {
		form := v.r.PostForm
		c := entitlement.ItemChange{ActivationID: i.ActivationID, Do: do}
		switch do {
		case entitlement.Suspend:
			c.Reason = strings.TrimSpace(form.Get("reason"))
		case entitlement.Renew:
			if c.Expiry, err = parsed(form, "expires", day(true)); err == nil && (c.Expiry == 0) != (form.Get("permanent") == "yes") {
				err = capability.Refuse(capability.ErrForm, "expires", "say until when, or that it never expires")
			}
		case entitlement.Merge:
			c.To, err = parsed(form, "into", capability.ParseActivationID)
		case entitlement.SetCopies, entitlement.SetExtra:
			c.Copies, err = count(form, "copies")
		}
		if err != nil {
			return err
		}
		return o.Do(entitlement.ChangeItem{Change: c, By: v.login.Name}, v.now)
	})
}

// split takes copies into a line item of their own, and shows that.
func (v *visit) split() error {
	if _, err := v.form(); err != nil {
		return err
	}
	path := ""
	err := v.act(func(o *backoffice.Office) error {
		i, err := v.item(o)
		if err != nil {
			return err
		}
		n, err := count(v.r.PostForm, "copies")
		if err != nil {
			return err
		}
		made, err := o.Split(i.ActivationID, n, v.login.Name, v.now)
		path = "/items/" + string(made.ActivationID)
		return err
	})
	if err != nil {
		return v.again(err, (*visit).itemPage)
	}
	v.say("The copies have an activation ID of their own.")
	return v.goTo(path)
}

func (v *visit) retire() error {
	return v.forItem(func(o *backoffice.Office, i *entitlement.ItemView) error {
		if v.r.PostForm.Get("sure") != "yes" {
			return capability.Refuse(capability.ErrForm, "sure", "say that you mean it: it cannot be undone")
		}
		return o.Do(entitlement.Retire{ActivationID: i.ActivationID, By: v.login.Name}, v.now)
	})
}

// newItemFields are those of the form for a new line item: the columns of a table of them, but for what is another's to say.
func newItemFields() (fields, rest []web.Field) {
	fields = []web.Field{
		{Name: "customer", Label: "Account", Kind: web.KindText, Must: true},
		{Name: "product", Label: "Product", Kind: web.KindText, Must: true},
		{Name: "product_version", Label: "Version of the product", Hint: "as 2026.1; 0.0 if empty", Kind: web.KindText},
		{Name: "copies", Label: "Copies", Kind: web.KindNumber, Must: true},
		{Name: "start", Label: "First day", Hint: "at once if empty", Kind: web.KindDate},
		{Name: "expires", Label: "Last day", Hint: "never expires if empty", Kind: web.KindDate},
		{Name: "model", Label: "License model", Hint: "without one everything is allowed, and nothing added", Kind: web.KindText},
	}
	rest = []web.Field{
		{Name: "entitlement", Label: "Entitlement ID", Hint: "drawn if empty", Kind: web.KindText},
		{Name: "features", Label: "Features", Hint: "NAME:VERSION=COUNT, one a line; those of the product on record if empty", Kind: web.KindArea},
		{Name: "mode", Label: "Use", Hint: "online for fixed-user licenses and offline for others if not said", Kind: web.KindSelect, Options: []string{"", entitlement.Online.String(), entitlement.Offline.String()}},
		{Name: "draft", Label: "A draft: nothing of it is given until it is deployed", Kind: web.KindCheck},
		{Name: "user", Label: "User whose seats they are", Hint: "everybody's on the machine if empty", Kind: web.KindText},
		tierField("minimum_tier"),
		{Name: "limits", Label: "Limits of tiers", Hint: "TIER:COPIES:TIME, as virtual:10:30d, one a line; the policy's if empty", Kind: web.KindArea},
		{Name: "metered", Label: "Metered: counts are used up, not leased", Kind: web.KindCheck},
		{Name: "reusable", Label: "Metered counts may go down again", Kind: web.KindCheck},
		{Name: "undo", Label: "Time in which a metered report can be taken back", Hint: "as 10m", Kind: web.KindText},
		{Name: "replaces", Label: "Activation ID that was taken back, and whose place it takes", Kind: web.KindText},
		{Name: "vendor_string", Label: "Text for the programs that use it", Kind: web.KindText},
		{Name: "notice", Label: "Text for its users", Kind: web.KindText},
		{Name: "serial_number", Label: "Text that numbers it", Kind: web.KindText},
	}
	return fields, rest
}

func tierField(name string) web.Field {
	return web.Field{Name: name, Label: "Lowest tier of machines", Hint: "the policy's if not said", Kind: web.KindSelect, Options: []string{"", entitlement.Software.String(), entitlement.Virtual.String(), entitlement.Hardware.String()}}
}

// maxOffered names are offered to choose from; others can be typed.
const maxOffered = 200

func (v *visit) newItemPage() error {
	fields, rest := newItemFields()
	err := v.office(func(o *backoffice.Office) error {
		b := o.Book()
		accounts, _, _ := b.FindAccounts("", "", "", maxOffered)
		for _, a := range accounts {
			fields[0].Options = append(fields[0].Options, a.Name)
		}
		products := b.Products()
		for _, p := range products[:min(len(products), maxOffered)] {
			fields[1].Options = append(fields[1].Options, p.Name)
			fields[2].Options = append(fields[2].Options, p.Version.String())
		}
		for _, m := range b.Models() {
			if m.State == entitlement.ModelDeployed && len(fields[6].Options) < maxOffered {
				fields[6].Options = append(fields[6].Options, m.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	asked := map[string]string{"customer": v.query("account"), "product": v.query("product"), "product_version": v.query("version")}
	return v.show("form", "New line item", formView{"/items/new", "A line item entitles an account to copies of a product. Its activation ID is what the customer names in a request.", "Entitle", v.fill("/items/new", fields, asked), v.fill("/items/new", rest, nil)})
}

func (v *visit) newItem() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	path := ""
	err = v.act(func(o *backoffice.Office) error {
		fields, rest := newItemFields()
		r, err := row(backoffice.Entitlements, form, append(fields, rest...))
		if err != nil {
			return err
		}
		if r.Item.Mode, err = parsed(form, "mode", entitlement.ParseMode); err != nil {
			return err
		}
		if r.Item.Replaces, err = parsed(form, "replaces", capability.ParseActivationID); err != nil {
			return err
		}
		if form.Get("draft") == "yes" {
			r.Item.Life.Stage = entitlement.StageDraft
		}
		made, err := o.Entitle(r.Item, v.login.Name, v.now)
		path = "/items/" + string(made.ActivationID)
		return err
	})
	if err != nil {
		return v.again(err, (*visit).newItemPage)
	}
	v.say("The line item is in the book.")
	return v.goTo(path)
}
