package portal

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability/web"
)

// onward is where the browser goes once somebody has signed in: to where it was going, or back to the form that was interrupted.
func (v *visit) onward(to, kept string) string {
	k, ok := web.ParseKept(kept)
	if !ok {
		return web.Local(to)
	}
	v.p.sessions.Put(v.r.Context(), "kept", k.String())
	return k.Page
}

// resume puts the form that was interrupted back into its page.
func (v *visit) resume() {
	if v.r.Method != http.MethodGet || v.login.Name == "" {
		return
	}
	if k, ok := web.ParseKept(v.p.sessions.Take(v.r.Context(), "kept")); ok && k.Page == v.r.URL.RequestURI() {
		v.Sent = web.Sent{Action: k.Path, Filled: k.Values}
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
	if text == "" || len(text) > web.MaxKept {
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
