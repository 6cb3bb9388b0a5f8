package portal

import (
	"net/url"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

func (p *Portal) restSeats() []operation {
	see, assign := needs(entitlement.ToSee), needs(entitlement.ToAssign)
	return []operation{
		ask("list-seats", "GET /items/{id}/seats", see, "Seats of a line item that belong to users", (*call).listSeats),
		ask("assign-seat", "POST /items/{id}/assign", assign, "Give a user a seat of a line item that is used online; of one that is used offline the user's machine asks, see answer-request", (*call).assignSeat),
		ask("unassign-seat", "POST /items/{id}/unassign", assign, "Free the seat of a user, online", (*call).unassignSeat),
		ask("withdraw-seat", "POST /items/{id}/withdraw", assign, "Ask the seat of a user back from its machine, offline", (*call).withdrawSeat),
		ask("list-pool", "GET /items/{id}/pool", see, "Users who may use a floating line item", (*call).listPool),
		ask("set-pool", "POST /items/{id}/pool", assign, "Put a user into a pool or take one out, or open or close it to everybody of the account", (*call).changePool),
		ask("list-sessions", "GET /sessions", see, "Sessions that may run, the longest idle first", (*call).listSessions),
		ask("disconnect-session", "POST /sessions/{id}/disconnect", assign, "End the renewals of a session", (*call).disconnectSession),
	}
}

func (p *Portal) restUsers() []operation {
	see, assign := needs(entitlement.ToSee), needs(entitlement.ToAssign)
	return []operation{
		ask("list-users", "GET /users", see, "Users", (*call).listUsers),
		ask("get-user", "GET /users/{account}/{name}", see, "A user", (*call).getUser),
		ask("add-user", "POST /users", assign, "Add a user", (*call).createUser),
		ask("change-user", "POST /users/{account}/{name}", assign, "Say what a user may do", (*call).alterUser),
		ask("draw-user-code", "POST /users/{account}/{name}/code", assign, "Draw another code for the slip of a user", (*call).codeUser),
		ask("remove-user", "POST /users/{account}/{name}/remove", assign, "Take a user out of the book", (*call).deleteUser),
	}
}

// pagedItem is a page of something of a line item.
type pagedItem struct {
	ItemPath
	Paging
}

func (c *call) listSeats(o *backoffice.Office, in *pagedItem) (page[entitlement.SeatView], error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return page[entitlement.SeatView]{}, err
	}
	list := pageFrom(o.Book().Seats(i.ActivationID), in.Paging)
	for n := range list.Items {
		s := &list.Items[n]
		c.veil(o, &s.By)
		c.veil(o, &s.WithdrawnBy)
	}
	return list, nil
}

// veil takes away the name of somebody of the staff, which customers do not read.
func (c *call) veil(o *backoffice.Office, by *string) {
	if *by != "" && !c.ofOwn(o, *by) {
		*by = theProducer
	}
}

type userRef struct {
	Account string `json:"account,omitempty" doc:"if empty, the one below the line item's account that the name means"`
	User    string `json:"user" required:"true"`
	Slip    bool   `json:"slip,omitempty" doc:"draw a code for the slip of a user who is new"`
}

type seatIn struct {
	ItemPath
	Body userRef
}

// slipOut is a user and, once, the code that the user shows who it is with.
type slipOut struct {
	User entitlement.UserID `json:"user"`
	Code string             `json:"code,omitempty" doc:"shown this once; a request that is repeated does not show it again"`
}

// slipOf draws the code for a user who is not in the book yet, where that is asked for.
func (c *call) slipOf(o *backoffice.Office, user entitlement.UserID, wanted bool) (code string, hash capability.Digest, err error) {
	if _, known := o.Book().User(user); known || !wanted {
		return "", capability.Digest{}, nil
	}
	return o.Slip(user)
}

// slip is the answer with the code, if it is the user's now. One that was drawn for a request that had been sent before is nobody's.
func slip(o *backoffice.Office, user entitlement.UserID, code string) slipOut {
	s := userSlip{user: user}
	s.keep(o, user, code)
	return slipOut{s.user, s.code}
}

func (c *call) assignSeat(o *backoffice.Office, in *seatIn) (slipOut, error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return slipOut{}, err
	}
	user, err := c.userFor(o, &i, entitlement.UserID{Account: in.Body.Account, Name: in.Body.User})
	if err != nil {
		return slipOut{}, err
	}
	code, hash, err := c.slipOf(o, user, in.Body.Slip)
	if err != nil {
		return slipOut{}, err
	}
	err = o.Do(entitlement.AssignSeat{ActivationID: i.ActivationID, User: user, Code: hash, By: c.login.Name}, c.now)
	return slip(o, user, code), err
}

func (c *call) onSeat(o *backoffice.Office, in *seatIn, command func(id capability.ActivationID, user entitlement.UserID) entitlement.Command) (entitlement.ItemView, error) {
	return c.onItem(o, &in.ItemPath, func(i *entitlement.ItemView) (entitlement.Command, error) {
		user, err := c.userFor(o, i, entitlement.UserID{Account: in.Body.Account, Name: in.Body.User})
		return command(i.ActivationID, user), err
	})
}

func (c *call) unassignSeat(o *backoffice.Office, in *seatIn) (entitlement.ItemView, error) {
	return c.onSeat(o, in, func(id capability.ActivationID, user entitlement.UserID) entitlement.Command {
		return entitlement.UnassignSeat{ActivationID: id, User: user, By: c.login.Name}
	})
}

func (c *call) withdrawSeat(o *backoffice.Office, in *seatIn) (entitlement.ItemView, error) {
	return c.onSeat(o, in, func(id capability.ActivationID, user entitlement.UserID) entitlement.Command {
		return entitlement.WithdrawSeat{ActivationID: id, User: user, By: c.login.Name}
	})
}

func (c *call) listPool(o *backoffice.Office, in *pagedItem) (page[entitlement.UserID], error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return page[entitlement.UserID]{}, err
	}
	return pageFrom(o.Book().Pool(i.ActivationID), in.Paging), nil
}

type poolIn struct {
	ItemPath
	Body struct {
		Do      string `json:"do" required:"true" enum:"add,remove,open,close"`
		Account string `json:"account,omitempty"`
		User    string `json:"user,omitempty"`
		Slip    bool   `json:"slip,omitempty"`
	}
}

func (c *call) changePool(o *backoffice.Office, in *poolIn) (slipOut, error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return slipOut{}, err
	}
	do := in.Body.Do
	set := entitlement.SetPool{ActivationID: i.ActivationID, Everybody: do == "open" || do == "close", Remove: do == "remove" || do == "close", By: c.login.Name}
	code := ""
	if !set.Everybody {
		if set.User, err = c.userFor(o, &i, entitlement.UserID{Account: in.Body.Account, Name: in.Body.User}); err != nil {
			return slipOut{}, err
		}
		if code, set.Code, err = c.slipOf(o, set.User, in.Body.Slip && do == "add"); err != nil {
			return slipOut{}, err
		}
	}
	err = o.Do(set, c.now)
	return slip(o, set.User, code), err
}

type sessionsIn struct {
	Paging
	Idle capability.Seconds `query:"idle" minimum:"0" doc:"idle for so many seconds at least"`
	Item string             `query:"item" maxLength:"64" doc:"of this line item"`
}

func (c *call) listSessions(o *backoffice.Office, in *sessionsIn) (page[entitlement.SessionView], error) {
	id := capability.ActivationID("")
	if in.Item != "" {
		i, err := c.itemOf(o, in.Item)
		if err != nil {
			return page[entitlement.SessionView]{}, err
		}
		id = i.ActivationID
	}
	var list []entitlement.SessionView
	for _, s := range o.Sessions(id, c.now) {
		if s.Idle < in.Idle || !c.seesSession(o, &s) {
			continue
		}
		c.veil(o, &s.EndedBy)
		list = append(list, s)
	}
	return pageFrom(list, in.Paging), nil
}

func (c *call) seesSession(o *backoffice.Office, s *entitlement.SessionView) bool {
	i, _ := o.Book().Item(s.ActivationID, c.now)
	return c.within(o, i.Customer)
}

type sessionIn struct {
	ID string `path:"id" maxLength:"64"`
}

func (c *call) disconnectSession(o *backoffice.Office, in *sessionIn) (done, error) {
	if c.repeated(o) {
		return done{true}, nil
	}
	for _, s := range o.Sessions("", c.now) {
		if strings.EqualFold(s.ID.String(), in.ID) && c.seesSession(o, &s) {
			return done{true}, o.Disconnect(entitlement.Disconnect{ID: s.ID, By: c.login.Name}, c.now)
		}
	}
	return done{}, foreign(in.ID)
}

type usersIn struct {
	Search
	Paging
	Group   string `query:"group" maxLength:"128"`
	Account string `query:"account" maxLength:"128" doc:"with its parts"`
}

func (c *call) listUsers(o *backoffice.Office, in *usersIn) (page[entitlement.User], error) {
	s := entitlement.UserSearch{Text: in.Text, Group: in.Group}
	var err error
	if s.Within, err = c.cut(o, in.Account); err != nil {
		return page[entitlement.User]{}, err
	}
	list, next, more := o.Book().FindUsers(s, userAfter(in.After), in.Limit)
	out := page[entitlement.User]{Items: list}
	if more {
		out.Next = url.QueryEscape(next.Account) + "/" + url.QueryEscape(next.Name)
	}
	return out, nil
}

// userAfter is the user that a page begins behind.
func userAfter(text string) (id entitlement.UserID) {
	account, name, _ := strings.Cut(text, "/")
	id.Account, _ = url.QueryUnescape(account)
	id.Name, _ = url.QueryUnescape(name)
	return id
}

// UserPath names a user of an account.
type UserPath struct {
	Account string `path:"account" maxLength:"128"`
	Name    string `path:"name" maxLength:"128"`
}

func (in *UserPath) id() entitlement.UserID {
	return entitlement.UserID{Account: in.Account, Name: in.Name}
}

func (c *call) getUser(o *backoffice.Office, in *UserPath) (entitlement.User, error) {
	return c.user(o, in.id())
}

type addUserIn struct {
	Body struct {
		Account string `json:"account" required:"true"`
		Name    string `json:"name" required:"true"`
		Service bool   `json:"service,omitempty" doc:"a program: nobody sits there"`
		Slip    bool   `json:"slip,omitempty" doc:"draw the code of a slip"`
	}
}

func (c *call) createUser(o *backoffice.Office, in *addUserIn) (slipOut, error) {
	id := entitlement.UserID{Account: in.Body.Account, Name: in.Body.Name}
	if !c.within(o, id.Account) {
		return slipOut{}, foreign(id.Account)
	}
	code, hash, err := c.slipOf(o, id, in.Body.Slip)
	if err != nil {
		return slipOut{}, err
	}
	err = o.Do(entitlement.AddUser{ID: id, Service: in.Body.Service, Code: hash, By: c.login.Name}, c.now)
	return slip(o, id, code), err
}

type changeUserIn struct {
	UserPath
	Body struct {
		Disabled *bool `json:"disabled,omitempty"`
		Service  *bool `json:"service,omitempty"`
	}
}

func (c *call) alterUser(o *backoffice.Office, in *changeUserIn) (entitlement.User, error) {
	u, err := c.user(o, in.id())
	if err != nil {
		return u, err
	}
	if in.Body.Disabled == nil && in.Body.Service == nil {
		return u, capability.Refuse(capability.ErrForm, "disabled", "say what changes")
	}
	if err := o.Do(entitlement.ChangeUser{ID: u.ID, Disabled: in.Body.Disabled, Service: in.Body.Service, By: c.login.Name}, c.now); err != nil {
		return u, err
	}
	return c.user(o, u.ID)
}

func (c *call) codeUser(o *backoffice.Office, in *UserPath) (slipOut, error) {
	u, err := c.user(o, in.id())
	if err != nil {
		return slipOut{}, err
	}
	code, hash, err := o.Slip(u.ID)
	if err != nil {
		return slipOut{}, err
	}
	err = o.Do(entitlement.ChangeUser{ID: u.ID, Code: hash, By: c.login.Name}, c.now)
	return slip(o, u.ID, code), err
}

func (c *call) deleteUser(o *backoffice.Office, in *UserPath) (done, error) {
	if c.repeated(o) {
		return done{true}, nil
	}
	u, err := c.user(o, in.id())
	if err != nil {
		return done{}, err
	}
	return done{true}, o.Do(entitlement.RemoveUser{ID: u.ID, By: c.login.Name}, c.now)
}
