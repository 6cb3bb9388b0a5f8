package portal

import (
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) groupRoutes() []route {
	return []route{
		{pattern: "GET /groups", gate: needs(entitlement.ToSee), do: (*visit).groups},
		{pattern: "GET /group", gate: needs(entitlement.ToSee), do: (*visit).groupPage},
		{pattern: "POST /groups", gate: needs(entitlement.ToAssign), do: (*visit).setGroup},
	}
}

type groupsView struct {
	web.Sent
	Rows    []groupRow
	Assigns bool
}

type groupRow struct {
	Name, Path   string
	Items, Users int
}

func groupPath(name string) string { return web.PathTo("/group", "name", name) }

func (v *visit) groups() error {
	view := groupsView{Sent: v.Sent, Assigns: v.may(entitlement.ToAssign)}
	err := v.office(func(o *backoffice.Office) error {
		for _, g := range o.Book().GroupSizes(v.login.Account) {
			view.Rows = append(view.Rows, groupRow{g.Name, groupPath(g.Name), g.Items, g.Users})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("groups", "Groups", view)
}

type groupView struct {
	Name      string
	Items     []itemRow
	MoreItems string
	Users     []userLink
	MoreUsers string
	Report    string
}

// groupPage has the first of what is in a group, as far as who visits may see it. A group with nothing of theirs is none to them.
func (v *visit) groupPage() error {
	view := groupView{Name: v.query("name")}
	if v.may(entitlement.ToReport) {
		view.Report = web.PathTo("/reports/licenses", "group", view.Name)
	}
	err := v.office(func(o *backoffice.Office) error {
		s := entitlement.ItemSearch{Group: view.Name}
		s.Within = v.login.Account
		items, next := o.Book().FindItems(v.now, s, "", pageRows)
		for i := range items {
			view.Items = append(view.Items, rowOf(&items[i]))
		}
		if next != "" {
			view.MoreItems = web.PathTo("/items", "group", view.Name)
		}
		users, _, more := o.Book().FindUsers(entitlement.UserSearch{Within: v.login.Account, Group: view.Name}, entitlement.UserID{}, pageRows)
		for _, u := range users {
			view.Users = append(view.Users, linkTo(u.ID))
		}
		if more {
			view.MoreUsers = web.PathTo("/users", "group", view.Name)
		}
		if view.Name == "" || len(items)+len(users) == 0 && next == "" && !more {
			return foreign(view.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("group", view.Name, view)
}

// setGroup puts a line item or a user into a group, or takes it out.
func (v *visit) setGroup() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	set := entitlement.SetGroup{Group: strings.TrimSpace(form.Get("group")), Remove: form.Get("do") == "remove", By: v.login.Name}
	back := "/groups"
	err = v.act(func(o *backoffice.Office) error {
		if text := form.Get("item"); text != "" {
			id, err := capability.ParseActivationID(text)
			i, ok := o.Book().Item(id, v.now)
			if err != nil || !ok || !v.within(o, i.Customer) {
				return foreign(text)
			}
			set.ActivationID, back = i.ActivationID, "/items/"+string(i.ActivationID)
		} else {
			u, err := v.user(o, userID(form))
			if err != nil {
				return err
			}
			set.User, back = u.ID, linkTo(u.ID).Path
		}
		return o.Do(set, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).groups)
	}
	return v.goTo(back)
}
