package portal

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability/web"
)

// A form that is sent when its session has ended is not lost: the page that asks to sign in carries it along, and afterwards its own page has what was typed again. Nothing is done with it until somebody who
// is signed in sends it. Files, passwords and codes are not carried.

// maxKept is how much of a form is carried, in bytes as it is sent; a session holds it until the next page.
const maxKept = 64 << 10

// keptForm is a form that waits until somebody has signed in.
type keptForm struct {
	page   string // where it is filled in
	path   string // where it is sent to
	values url.Values
}

func (k keptForm) String() string {
	return url.Values{"page": {k.page}, "path": {k.path}, "form": {k.values.Encode()}}.Encode()
}

// parseKept reads what String wrote. It has been with the browser: its page is one of this portal, or there is none.
func parseKept(text string) (k keptForm, ok bool) {
	if text == "" || len(text) > maxKept {
		return k, false
	}
	all, err := url.ParseQuery(text)
	if err != nil {
		return k, false
	}
	k.page, k.path = all.Get("page"), all.Get("path")
	k.values, err = url.ParseQuery(all.Get("form"))
	return k, err == nil && k.page == local(k.page) && k.path == local(k.path) && len(k.values) > 0
}

// interrupted is the form that was sent now, as far as it can be carried; empty: there is nothing.
func (v *visit) interrupted() string {
	form, err := v.form()
	if err != nil {
		return ""
	}
	k := keptForm{v.formPage(), v.r.URL.Path, url.Values{}}
	for name, list := range form {
		if name != once && !secret(name) {
			k.values[name] = list
		}
	}
	text := k.String()
	if _, ok := parseKept(text); !ok {
		return ""
	}
	return text
}

// formPage is the page that a form came from, as browsers say of pages of the same site. A form that was refused is shown where it was sent to; then the page above that path is its own.
func (v *visit) formPage() string {
	from, err := url.Parse(v.r.Referer())
	if err != nil || from.Host != v.r.Host {
		return "/"
	}
	for at, query := from.Path, from.RawQuery; at != "/" && at != "."; at, query = path.Dir(at), "" {
		_, pattern := v.p.mux.Handler(&http.Request{Method: http.MethodGet, Host: v.r.Host, URL: &url.URL{Path: at}})
		if strings.HasPrefix(pattern, "GET ") {
			return local((&url.URL{Path: at, RawQuery: query}).String())
		}
	}
	return "/"
}

// onward is where the browser goes once somebody has signed in: to where it was going, or back to the form that was interrupted.
func (v *visit) onward(to, kept string) string {
	k, ok := parseKept(kept)
	if !ok {
		return local(to)
	}
	v.p.sessions.Put(v.r.Context(), "kept", k.String())
	return k.page
}

// resume puts the form that was interrupted back into its page.
func (v *visit) resume() {
	if v.r.Method != http.MethodGet || v.login.Name == "" {
		return
	}
	if k, ok := parseKept(v.p.sessions.Take(v.r.Context(), "kept")); ok && k.page == v.r.URL.RequestURI() {
		v.typed = typed{form: k.path, values: k.values}
		v.say("You were signed out before this was saved. What was typed is still here: look it over, and save it again.")
	}
}

// What is kept for who signs in at an identity provider does not fit into a cookie, and is no business of the provider's: it waits here, under a ticket that goes along. Whoever is not signed in may leave
// something, so there is room for so much and the oldest makes room. A ticket is good in the browser that got it: nobody is led to a form that somebody else has filled in.
const (
	maxWaiting  = 4 << 20 // bytes of all forms that wait
	waitingLife = web.ErrandLife
	ticketName  = "kept_form" // of the errand that binds a ticket to its browser: no provider is called so
)

// leave puts a form into the cloakroom, and binds its ticket to the browser.
func (v *visit) leave(kept string) (ticket string, err error) {
	ticket = v.p.cloaks.leave(kept)
	return ticket, v.p.errands.Send(v.w, ticketName, http.SameSiteStrictMode, ticket)
}

// ticket is the one that a link has, if it is this browser's; otherwise there is none.
func (v *visit) ticket(of string) string {
	own := ""
	if _, err := v.p.errands.Back(v.r, ticketName, &own); err != nil || own != of {
		return ""
	}
	return own
}

// cloakroom is where forms wait, by ticket.
type cloakroom struct {
	now func() time.Time

	mu    sync.Mutex
	forms map[string]waitingForm
	bytes int
}

type waitingForm struct {
	text string
	left time.Time
}

func newCloakroom(now func() time.Time) *cloakroom {
	return &cloakroom{now: now, forms: map[string]waitingForm{}}
}

// leave takes a form in and gives its ticket; empty where there is no form.
func (c *cloakroom) leave(text string) string {
	if text == "" || len(text) > maxKept {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ticket := rand.Text()
	c.forms[ticket] = waitingForm{text, c.now()}
	for c.bytes += len(text); c.bytes > maxWaiting; {
		oldest := ""
		for t, f := range c.forms {
			if t != ticket && (oldest == "" || f.left.Before(c.forms[oldest].left)) {
				oldest = t
			}
		}
		c.drop(oldest)
	}
	return ticket
}

// fetch gives a form out, once.
func (c *cloakroom) fetch(ticket string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.forms[ticket]
	if c.drop(ticket); !ok || c.now().Sub(f.left) >= waitingLife {
		return ""
	}
	return f.text
}

func (c *cloakroom) drop(ticket string) {
	c.bytes -= len(c.forms[ticket].text)
	delete(c.forms, ticket)
}
