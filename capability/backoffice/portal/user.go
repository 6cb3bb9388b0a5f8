package portal

import (
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) userRoutes() []route {
	see, assign := needs(entitlement.ToSee), needs(entitlement.ToAssign)
	return []route{
		{pattern: "GET /users", gate: see, do: (*visit).users},
		{pattern: "POST /users", gate: assign, do: (*visit).addUser},
		{pattern: "GET /user", gate: see, do: (*visit).userPage},
		{pattern: "POST /user", gate: assign, do: (*visit).changeUser},
		{pattern: "GET /user/slip", gate: assign, do: (*visit).userSlipPage},
	}
}

type usersView struct {
	web.Sent
	Search   web.Search
	Rows     []userRow
	Next     string
	Assigns  bool
	Account  string // of a user who is added, where nothing was typed
	Accounts []string
}

type userRow struct {
	User          userLink
	State, Groups string
}

// userWords is the state of a user.
func userWords(u *entitlement.User) string {
	words := "a person"
	if u.Service {
		words = "a service account"
	}
	if u.Disabled {
		words += ", disabled"
	}
	if u.Code != (capability.Digest{}) {
		words += ", a code waits until " + u.CodeEnds.String()
	}
	return words
}

func (v *visit) users() error {
	s := entitlement.UserSearch{Within: v.login.Account, Text: v.query("q"), Group: v.query("group")}
	view := usersView{Sent: v.Sent, Assigns: v.may(entitlement.ToAssign), Account: v.login.Account, Search: web.Search{Path: "/users", Text: s.Text, More: []web.Field{{Name: "group", Label: "Group", Kind: web.KindText, Value: s.Group}}}}
	err := v.office(func(o *backoffice.Office) error {
		page, next, more := o.Book().FindUsers(s, entitlement.UserID{Account: v.query("account"), Name: v.query("after")}, pageRows)
		for i := range page {
			view.Rows = append(view.Rows, userRow{linkTo(page[i].ID), userWords(&page[i]), strings.Join(page[i].Groups, ", ")})
		}
		if more {
			view.Next = web.PathTo("/users", "q", s.Text, "group", s.Group, "account", next.Account, "after", next.Name)
		}
		accounts, _, _ := o.Book().FindAccounts(v.login.Account, "", "", maxOffered)
		for _, a := range accounts {
			view.Accounts = append(view.Accounts, a.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("users", "Users", view)
}

// userSlip is the code of a slip, on its way to the page that shows it once.
type userSlip struct {
	user       entitlement.UserID
	code, back string
}

// keep takes the code that a user was given. One that was drawn for a form that had been sent before is nobody's.
func (s *userSlip) keep(o *backoffice.Office, user entitlement.UserID, code string) {
	if u, ok := o.Book().User(user); ok && code != "" && entitlement.CodeHash(u.ID, code) == u.Code {
		s.user, s.code = u.ID, code
	}
}

// hand goes to the slip, or back where there is none.
func (v *visit) hand(s userSlip) error {
	if s.code == "" {
		return v.goTo(s.back)
	}
	v.p.sessions.Put(v.r.Context(), "slip", strings.Join([]string{s.user.Account, s.user.Name, s.code, s.back}, "\x00"))
	return v.goTo("/user/slip")
}

type userSlipView struct{ Account, Name, Code, Back string }

// userSlipPage shows a code, this once.
func (v *visit) userSlipPage() error {
	part := strings.Split(v.p.sessions.Take(v.r.Context(), "slip"), "\x00")
	if len(part) != 4 {
		return capability.Refuse(capability.ErrNotFound, "slip", "a code is shown once; draw a new one where it was not taken down")
	}
	return v.show("userslip", "Slip for "+part[1], userSlipView{part[0], part[1], part[2], part[3]})
}

func (v *visit) addUser() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	id, slip := userID(form), userSlip{}
	slip.back = web.PathTo("/user", "account", id.Account, "name", id.Name)
	err = v.act(func(o *backoffice.Office) error {
		if !v.within(o, id.Account) {
			return foreign(id.Account)
		}
		code, hash, err := v.slipFor(o, id)
		if err != nil {
			return err
		}
		if err := o.Do(entitlement.AddUser{ID: id, Service: form.Get("service") == "yes", Code: hash, By: v.login.Name}, v.now); err != nil {
			return err
		}
		slip.keep(o, id, code)
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).users)
	}
	return v.hand(slip)
}

type userView struct {
	web.Sent
	User              userLink
	Facts             web.Facts
	Groups            []string
	Disabled, Service bool
	Assigns           bool
}

func (v *visit) userPage() error {
	return v.showUser(entitlement.UserID{Account: v.query("account"), Name: v.query("name")})
}

func (v *visit) showUser(id entitlement.UserID) error {
	view := userView{Sent: v.Sent, Assigns: v.may(entitlement.ToAssign)}
	err := v.office(func(o *backoffice.Office) error {
		u, err := v.user(o, id)
		if err != nil {
			return err
		}
		view.User, view.Groups, view.Disabled, view.Service = linkTo(u.ID), u.Groups, u.Disabled, u.Service
		view.Facts.Link("Account", u.ID.Account, web.PathTo("/account", "name", u.ID.Account))
		view.Facts.Add("State", userWords(&u))
		view.Facts.Add("Made", u.Made)
		view.Facts.Add("Used a code", u.Claimed)
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("user", view.User.Name, view)
}

// changeUser does one thing with a user: what it may do, its code, or its end.
func (v *visit) changeUser() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	slip := userSlip{}
	err = v.act(func(o *backoffice.Office) error {
		if id := userID(form); form.Get("do") == "remove" && v.within(o, id.Account) { // who is gone already is not looked for: the form may have been sent twice
			slip.back = "/users"
			return o.Do(entitlement.RemoveUser{ID: id, By: v.login.Name}, v.now)
		}
		u, err := v.user(o, userID(form))
		if err != nil {
			return err
		}
		yes, no := true, false
		c, code := entitlement.ChangeUser{ID: u.ID, By: v.login.Name}, ""
		slip.back = linkTo(u.ID).Path
		switch do := form.Get("do"); do {
		case "disable":
			c.Disabled = &yes
		case "enable":
			c.Disabled = &no
		case "service":
			c.Service = &yes
		case "person":
			c.Service = &no
		case "code":
			if code, c.Code, err = o.Slip(u.ID); err != nil {
				return err
			}
		default:
			return capability.Refuse(capability.ErrForm, "do", "%q is not known", do)
		}
		if err := o.Do(c, v.now); err != nil {
			return err
		}
		slip.keep(o, u.ID, code)
		return nil
	})
	if err != nil {
		return v.again(err, func(v *visit) error { return v.showUser(userID(form)) })
	}
	return v.hand(slip)
}
