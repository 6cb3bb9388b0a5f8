package portal

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/web"
)

// visit is one request of a browser, and who sends it.
type visit struct {
	asker
	w http.ResponseWriter

	web.Sent
}

// signInFirst: the page is for those who are signed in.
var errSignInFirst = errors.New("sign in first")

// enter finds out who visits, and whether the route is for them.
func (v *visit) enter(r route) error {
	if name, since := v.p.sessions.Who(v.r.Context()); name != "" {
		err := v.office(func(o *backoffice.Office) error {
			// What the login may do is what the book says now; a session from before its last change is over.
			if l, ok := o.Book().Login(name); ok && !l.Disabled && int64(l.Since) == since {
				v.login = l
			}
			return nil
		})
		if err != nil {
			return err
		}
		if v.login.Name == "" {
			if err := v.p.sessions.End(v.r.Context()); err != nil {
				return err
			}
		}
	}
	return v.passes(r.gate, r.staff)
}

// form reads a form without files.
func (v *visit) form() (url.Values, error) { return web.ReadForm(v.w, v.r) }

// act has f done with the back office on behalf of who visits. The form that asked for it counts once, however often it is sent.
func (v *visit) act(f func(o *backoffice.Office) error) error {
	key := v.r.PostForm.Get(web.Once)
	if key == "" {
		return v.office(f)
	}
	key = "form " + key
	if err := capability.CheckName("key", key); err != nil {
		return field(web.Once, err)
	}
	return v.office(func(o *backoffice.Office) error {
		o.Once(key, web.Asked(v.login.Name, v.r))
		return f(o)
	})
}

// from is the address of who visits.
func (v *visit) from() string { return web.AddressOf(v.r) }

// goTo is where the browser goes after a form: a page that can be loaded again.
func (v *visit) goTo(path string) error {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// say keeps a sentence for the next page.
func (v *visit) say(format string, args ...any) {
	v.p.sessions.Put(v.r.Context(), "said", fmt.Sprintf(format, args...))
}
