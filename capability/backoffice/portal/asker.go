package portal

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
)

// asker is who asks for something, with a browser or with a program, and what there is for it: the one place that says who may do what, and who may see what.
type asker struct {
	p     *Portal
	r     *http.Request
	now   capability.Time
	login entitlement.Login // without a name: nobody is signed in
	token entitlement.Token // of the login; without a hash: a browser asks
}

// passes says that who asks may use what has that gate. Staff says that nobody of a customer may.
func (v *asker) passes(g gate, staff bool) error {
	switch {
	case g == anyone:
		return nil
	case v.login.Name == "":
		return errSignInFirst
	case staff && v.login.Account != "", g >= 0 && !v.login.May(entitlement.Permission(g)):
		return capability.Refuse(capability.ErrPermission, v.login.Name, "")
	}
	return nil
}

// may says whether who asks has a permission.
func (v *asker) may(p entitlement.Permission) bool { return v.login.May(p) }

// office has f done with the back office, if who asks may still: between the beginning of a request and its end lie minutes where somebody sends it slowly, and the login may be another one by then.
func (v *asker) office(f func(*backoffice.Office) error) error {
	return v.p.office(v.r.Context(), func(o *backoffice.Office) error {
		if err := v.still(o); err != nil {
			return err
		}
		return f(o)
	})
}

// read has f read the whole book, in pieces between which others are served. f begins anew whenever it is called.
func (v *asker) read(f func(*backoffice.Office, backoffice.Pause) error) error {
	return v.p.Desk.Read(func(o *backoffice.Office, pause backoffice.Pause) error {
		if err := v.still(o); err != nil {
			return err
		}
		return f(o, func() error { return cmp.Or(v.r.Context().Err(), pause()) }) // who has gone waits for no more
	})
}

// still says that who asks may still.
func (v *asker) still(o *backoffice.Office) error {
	if v.login.Name == "" {
		return nil
	}
	l, ok := o.Book().Login(v.login.Name)
	switch same := ok && !l.Disabled && l.Since == v.login.Since; {
	case v.token.Hash != capability.Digest{} && !(same && slices.Contains(l.Tokens, v.token)):
		return capability.Refuse(capability.ErrAPIToken, "", "the login has changed meanwhile")
	case !same:
		v.login = entitlement.Login{}
		return errSignInFirst
	}
	return nil
}

// within says that who asks may see what belongs to an account. What belongs to none yet is the staff's.
func (v *asker) within(o *backoffice.Office, account string) bool {
	return v.login.Account == "" || account != "" && o.Book().Within(account, v.login.Account)
}

// foreign is what is said of what is not there, and of what is another's.
func foreign(subject string) error { return capability.Refuse(capability.ErrNotFound, subject, "") }

// cut is the account that a list is cut to: the one that who asks names, or all that they may see.
func (v *asker) cut(o *backoffice.Office, account string) (string, error) {
	if account == "" {
		return v.login.Account, nil
	}
	if !v.within(o, account) {
		return "", foreign(account)
	}
	return account, nil
}

// itemOf is the line item that a text names, where who asks may see it.
func (v *asker) itemOf(o *backoffice.Office, text string) (entitlement.ItemView, error) {
	if id, err := capability.ParseActivationID(text); err == nil {
		if i, ok := o.Book().Item(id, v.now); ok && v.within(o, i.Customer) {
			return i, nil
		}
	}
	return entitlement.ItemView{}, foreign(text)
}

// deviceOf is the device that a text names, where who asks may see it.
func (v *asker) deviceOf(o *backoffice.Office, text string) (entitlement.DeviceView, error) {
	if id, err := hostid.Parse(strings.ToUpper(strings.TrimSpace(text))); err == nil {
		if d, ok := o.Book().DeviceOf(id); ok && v.within(o, o.Book().OwnerOf(id)) {
			return d, nil
		}
	}
	return entitlement.DeviceView{}, foreign(text)
}

// user is the one of that ID, where who asks may see it.
func (v *asker) user(o *backoffice.Office, id entitlement.UserID) (entitlement.User, error) {
	if u, ok := o.Book().User(id); ok && v.within(o, u.ID.Account) {
		return u, nil
	}
	return entitlement.User{}, foreign(id.Name)
}

// userFor is the user that is named for a line item: of the account that is named too, else the one that the name means there.
func (v *asker) userFor(o *backoffice.Office, i *entitlement.ItemView, id entitlement.UserID) (entitlement.UserID, error) {
	if id.Name == "" {
		return id, capability.Refuse(capability.ErrForm, "user", "name a user")
	}
	if id.Account != "" {
		if !v.within(o, id.Account) {
			return id, foreign(id.Account)
		}
		return id, nil
	}
	found, ok := o.Book().FindUser(i.Customer, id.Name)
	if !ok {
		return id, capability.Refuse(capability.ErrForm, "account", "several accounts below %s have a user %q: say which", i.Customer, id.Name)
	}
	return found, nil
}

// proposalOf is the one of that number, where who asks may see it, and whether it is open.
func (v *asker) proposalOf(o *backoffice.Office, text string) (p entitlement.Proposal, open bool, err error) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		known := true
		if p, open = o.Book().Proposal(n, v.now); !open {
			p, known = o.Book().ProposalOver(n, v.now)
		}
		if known && v.within(o, o.Book().OwnerOfFreed(&p)) {
			return p, open, nil
		}
	}
	return entitlement.Proposal{}, false, foreign(text)
}

// became says what became of a proposal that is over, as far as it is told to who asks.
func (v *asker) became(o *backoffice.Office, p *entitlement.Proposal) string {
	return p.Became(p.Over == nil || v.ofOwn(o, p.Over.By))
}

// orderOf is the number of the order that a text names, of a device.
func orderOf(o *backoffice.Office, device hostid.ID, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if orders := o.Book().Orders(); err != nil || n == 0 || n > uint64(len(orders)) || orders[n-1].From != device && orders[n-1].To != device {
		return 0, foreign("order " + text)
	}
	return n, nil
}

// ofOwn says that somebody of the account of who asks did something; of what staff did, a customer reads neither name nor reason.
func (v *asker) ofOwn(o *backoffice.Office, by string) bool {
	l, ok := o.Book().Login(by)
	return v.login.Account == "" || ok && l.Account != "" && o.Book().Within(l.Account, v.login.Account)
}

// theProducer is who did something, where its name is not told.
const theProducer = "the producer"

// order is what who asks says beside a request file.
func (v *asker) order() backoffice.Order {
	return backoffice.Order{By: v.login.Name, Within: v.login.Account}
}
