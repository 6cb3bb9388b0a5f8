package portal

import (
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

func (p *Portal) seatRoutes() []route {
	assign := needs(entitlement.ToAssign)
	return []route{
		{pattern: "POST /items/{id}/assign", gate: assign, do: (*visit).assign},
		{pattern: "POST /items/{id}/unassign", gate: assign, do: (*visit).unassign},
		{pattern: "POST /items/{id}/withdraw", gate: assign, do: (*visit).withdraw},
		{pattern: "POST /items/{id}/pool", gate: assign, do: (*visit).pool},
		{pattern: "POST /items/{id}/convert", gate: needs(entitlement.ToMove), do: (*visit).convert},
		{pattern: "GET /sessions", gate: needs(entitlement.ToSee), do: (*visit).sessionsPage},
		{pattern: "POST /sessions", gate: assign, do: (*visit).disconnect},
	}
}

// seatsView are the seats of a line item, its pool and its sessions.
type seatsView struct {
	Has       bool // it has any: it is of users, or used online
	Fixed     bool
	Online    bool
	Convert   string // what it can be used as instead; empty: nothing
	Left      uint32
	Rows      []seatRow
	Next      string
	Pool      []userLink
	More      int // members of the pool that are not listed
	Everybody bool
	Account   string
	Sessions  []sessionRow
}

type userLink struct{ Account, Name, Path string }

func linkTo(u entitlement.UserID) userLink {
	return userLink{u.Account, u.Name, web.PathTo("/user", "account", u.Account, "name", u.Name)}
}

type seatRow struct {
	Number               uint32
	User                 userLink
	State, Where, Since  string
	Warning              string
	MayFree, MayWithdraw bool
}

type sessionRow struct {
	ID, Item, Product, Machine, Idle, State, Runs string
	User                                          userLink
	Ends                                          bool // it can be disconnected
}

func (view *seatsView) of(v *visit, o *backoffice.Office, i *entitlement.ItemView) {
	b, id := o.Book(), i.ActivationID
	kind, mode := b.Use(id)
	view.Fixed, view.Online, view.Left, view.Account, view.Everybody = kind == entitlement.FixedUser, mode == entitlement.Online, i.Left, i.Customer, i.Everybody
	if kind != entitlement.FixedUser && kind != entitlement.Floating {
		return
	}
	view.Has = view.Fixed || view.Online
	view.Convert = map[bool]entitlement.Mode{true: entitlement.Offline, false: entitlement.Online}[view.Online].String()
	seats, next := pageOf(v, b.Seats(id), "/items/"+string(id), "seats")
	view.Next = next
	for _, s := range seats {
		r := seatRow{Number: s.Number, User: linkTo(s.User), State: string(s.State), Since: web.When(s.Assigned), Warning: s.Warning, MayFree: view.Online, MayWithdraw: !view.Online && s.Withdrawn == 0}
		if s.Host != (hostid.ID{}) {
			if r.Where = s.Host.Short(); s.Alias != "" {
				r.Where += " " + s.Alias
			}
		}
		view.Rows = append(view.Rows, r)
	}
	pool := b.Pool(id)
	view.More = len(pool) - min(len(pool), pageRows)
	for _, u := range pool[:len(pool)-view.More] {
		view.Pool = append(view.Pool, linkTo(u))
	}
	sessions := o.Sessions(id, v.now)
	for _, s := range sessions[:min(len(sessions), pageRows)] {
		view.Sessions = append(view.Sessions, sessionOf(&s))
	}
}

func sessionOf(s *entitlement.SessionView) sessionRow {
	r := sessionRow{ID: s.ID.String(), Item: string(s.ActivationID), Product: s.Product, Machine: s.Machine, Idle: s.Idle.String(), State: "in use", Runs: web.When(s.Runs), User: linkTo(s.User), Ends: s.Ended == 0}
	switch {
	case s.Over:
		r.State = "taken over"
	case s.Ended != 0:
		r.State = "disconnected"
	}
	return r
}

// slipFor draws the code of a slip for a user who is not in the book yet, where the form asks for one.
func (v *visit) slipFor(o *backoffice.Office, user entitlement.UserID) (code string, hash capability.Digest, err error) {
	if _, known := o.Book().User(user); known || v.r.PostForm.Get("slip") != "yes" {
		return "", capability.Digest{}, nil
	}
	return o.Slip(user)
}

// assign gives a user a seat: online by a word, offline with the request of a machine, which the seat then answers.
func (v *visit) assign() error {
	_, files, err := web.ReadUploads(v.w, v.r)
	if err != nil {
		return err
	}
	slip := userSlip{}
	err = v.act(func(o *backoffice.Office) error {
		i, err := v.item(o)
		if err != nil {
			return err
		}
		slip.back = "/items/" + string(i.ActivationID)
		user, err := v.userFor(o, &i, userID(v.r.PostForm))
		if err != nil {
			return err
		}
		code, hash, err := v.slipFor(o, user)
		if err != nil {
			return err
		}
		if kind, mode := o.Book().Use(i.ActivationID); kind == entitlement.FixedUser && mode == entitlement.Offline {
			slip.back, err = v.seatFile(o, files, entitlement.SeatOrder{ActivationID: i.ActivationID, User: user, Code: hash})
		} else {
			err = o.Do(entitlement.AssignSeat{ActivationID: i.ActivationID, User: user, Code: hash, By: v.login.Name}, v.now)
		}
		if err != nil {
			return err
		}
		slip.keep(o, user, code)
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).itemPage)
	}
	return v.hand(slip)
}

// seatFile answers the request of a machine, a file or its text, with a seat, and says where the answer is. The same request again has the same answer.
func (v *visit) seatFile(o *backoffice.Office, files []web.Upload, seat entitlement.SeatOrder) (path string, err error) {
	content := []byte(v.r.PostForm.Get("text"))
	switch {
	case len(files) == 1 && len(files[0].Content) > 0:
		content = files[0].Content
	case len(files) > 1 || len(content) == 0 || len(content) > capability.MaxFile:
		return "", capability.Refuse(capability.ErrForm, "file", "a seat that is used offline is assigned with one request of the user's machine: choose its file, or paste its text")
	}
	file, err := wire.FromText(content)
	if err != nil {
		return "", field("file", err)
	}
	signed, err := wire.New().ReadRequest(file)
	if err != nil {
		return "", err
	}
	if _, err := o.RespondTo(file, backoffice.Order{By: v.login.Name, Seat: &seat, Within: v.login.Account}, v.now); err != nil {
		return "", err
	}
	return "/responses/" + hexOf(signed.Digest) + "/text", nil
}

// forSeat has a form about the seat of a user done.
func (v *visit) forSeat(command func(id capability.ActivationID, user entitlement.UserID) entitlement.Command) error {
	return v.forItem(func(o *backoffice.Office, i *entitlement.ItemView) error {
		user, err := v.userFor(o, i, userID(v.r.PostForm))
		if err != nil {
			return err
		}
		return o.Do(command(i.ActivationID, user), v.now)
	})
}

func (v *visit) unassign() error {
	return v.forSeat(func(id capability.ActivationID, user entitlement.UserID) entitlement.Command {
		return entitlement.UnassignSeat{ActivationID: id, User: user, By: v.login.Name}
	})
}

func (v *visit) withdraw() error {
	return v.forSeat(func(id capability.ActivationID, user entitlement.UserID) entitlement.Command {
		return entitlement.WithdrawSeat{ActivationID: id, User: user, By: v.login.Name}
	})
}

// pool puts a user into the pool of a line item or takes one out, or opens or closes it.
func (v *visit) pool() error {
	if _, err := v.form(); err != nil {
		return err
	}
	slip := userSlip{}
	err := v.act(func(o *backoffice.Office) error {
		i, err := v.item(o)
		if err != nil {
			return err
		}
		slip.back = "/items/" + string(i.ActivationID)
		do := v.r.PostForm.Get("do")
		set := entitlement.SetPool{ActivationID: i.ActivationID, Everybody: do == "open" || do == "close", Remove: do == "remove" || do == "close", By: v.login.Name}
		code := ""
		switch do {
		case "add", "remove":
			if set.User, err = v.userFor(o, &i, userID(v.r.PostForm)); err != nil {
				return err
			}
			if do == "add" {
				if code, set.Code, err = v.slipFor(o, set.User); err != nil {
					return err
				}
			}
		case "open", "close":
		default:
			return capability.Refuse(capability.ErrForm, "do", "%q is not known", do)
		}
		if err := o.Do(set, v.now); err != nil {
			return err
		}
		slip.keep(o, set.User, code)
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).itemPage)
	}
	return v.hand(slip)
}

func (v *visit) convert() error {
	return v.forItem(func(o *backoffice.Office, i *entitlement.ItemView) error {
		to, err := parsed(v.r.PostForm, "to", entitlement.ParseMode)
		if err != nil {
			return err
		}
		if v.r.PostForm.Get("sure") != "yes" {
			return capability.Refuse(capability.ErrForm, "sure", "say that you mean it")
		}
		return o.Do(entitlement.Convert{ActivationID: i.ActivationID, To: to, By: v.login.Name}, v.now)
	})
}

type sessionsView struct {
	web.Sent
	Idle    string
	Rows    []sessionRow
	More    int
	Assigns bool
}

// sessionsShown is how many sessions a page has at most: the longest idle, which are those that somebody wants to end.
const sessionsShown = 200

// sessionsPage has the sessions that may run, the longest idle first.
func (v *visit) sessionsPage() error {
	view := sessionsView{Sent: v.Sent, Idle: v.query("idle"), Assigns: v.may(entitlement.ToAssign)}
	least := time.Duration(0)
	if view.Idle != "" {
		var err error
		if least, err = time.ParseDuration(view.Idle); err != nil || least < 0 {
			return capability.Refuse(capability.ErrForm, "idle", "%q is no time like 30m", view.Idle)
		}
	}
	err := v.office(func(o *backoffice.Office) error {
		for _, s := range o.Sessions("", v.now) {
			i, _ := o.Book().Item(s.ActivationID, v.now)
			if s.Idle.Duration() < least || !v.within(o, i.Customer) {
				continue
			}
			if len(view.Rows) == sessionsShown {
				view.More++
				continue
			}
			view.Rows = append(view.Rows, sessionOf(&s))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("sessions", "Sessions", view)
}

// disconnect ends the renewals of the sessions that a form names.
func (v *visit) disconnect() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	ended := 0
	err = v.act(func(o *backoffice.Office) error {
		running := map[string]entitlement.SessionView{}
		for _, s := range o.Sessions("", v.now) {
			running[s.ID.String()] = s
		}
		for _, text := range form["session"] {
			s, ok := running[text]
			i, _ := o.Book().Item(s.ActivationID, v.now)
			if !ok || !v.within(o, i.Customer) {
				return foreign(text)
			}
		}
		for _, text := range form["session"] {
			if err := o.Disconnect(entitlement.Disconnect{ID: running[text].ID, By: v.login.Name}, v.now); err != nil {
				return err
			}
			ended++
		}
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).sessionsPage)
	}
	v.say("%d sessions are renewed no more. Each has stopped by the time that is shown.", ended)
	return v.goTo("/sessions")
}
