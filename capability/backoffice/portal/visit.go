package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/web"
)

const (
	maxForm  = 1 << 20 // bytes of a form without files
	maxNames = 10_000  // values of a form
)

// visit is one request of a browser, and who sends it.
type visit struct {
	asker
	w http.ResponseWriter

	typed
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

// form reads a form without files. What is wrong with it is the sender's fault.
func (v *visit) form() (url.Values, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return nil, unread(err)
	}
	return v.values()
}

// unread refuses a form that could not be read: for what it is, or because there is no room for it now.
func unread(err error) error {
	if errors.Is(err, web.ErrRoom) {
		return capability.Refuse(capability.ErrThrottled, "", "%v", err)
	}
	return capability.Refuse(capability.ErrForm, "", "%v", err)
}

func (v *visit) values() (url.Values, error) {
	n := 0
	for _, list := range v.r.PostForm {
		n += len(list)
	}
	if n > maxNames {
		return nil, capability.Refuse(capability.ErrForm, "", "%d values", n)
	}
	return v.r.PostForm, nil
}

// once is the name of the field by which a form that is sent twice counts once.
const once = "once"

// secret says that a password or a code is in a field: that goes into no digest that the book keeps.
func secret(field string) bool {
	return field == "again" || field == "code" || strings.HasPrefix(field, "password")
}

// act has f done with the back office on behalf of who visits. The form that asked for it counts once, however often it is sent.
func (v *visit) act(f func(o *backoffice.Office) error) error {
	key := v.r.PostForm.Get(once)
	if key == "" {
		return v.office(f)
	}
	key = "form " + key
	if err := capability.CheckName("key", key); err != nil {
		return field(once, err)
	}
	return v.office(func(o *backoffice.Office) error {
		o.Once(key, v.asked())
		return f(o)
	})
}

// asked is the digest of who asks for what.
func (v *visit) asked() capability.Digest {
	h := sha256.New()
	said := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
	said(v.login.Name)
	said(v.r.URL.RequestURI())
	names := make([]string, 0, len(v.r.PostForm))
	for name := range v.r.PostForm {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == once || secret(name) {
			continue
		}
		said(name)
		for _, value := range v.r.PostForm[name] {
			said(value)
		}
	}
	return capability.Digest(h.Sum(nil))
}

// from is the address of who visits.
func (v *visit) from() string { return addressOf(v.r) }

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// goTo is where the browser goes after a form: a page that can be loaded again.
func (v *visit) goTo(path string) error {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// say keeps a sentence for the next page.
func (v *visit) say(format string, args ...any) {
	v.p.sessions.Put(v.r.Context(), "said", fmt.Sprintf(format, args...))
}

func newOnce() string { return rand.Text() }
