package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// A guest is somebody whom a directory knows, while he is signed in. The ledger keeps no login of his: he may what the roles of his groups allow, as the settings say at this moment, and is looked up anew
// each time he signs in. Whatever becomes of the directory, the appliance's own logins are not touched by it, and the last of those who admit others is one of them.

// guestMark begins the names of sessions of guests; no login's name can.
const guestMark = "\x00"

const (
	maxGuests = web.MaxSessions
	guestLife = 25 * time.Hour // longer than any session
)

type guest struct {
	name, url string
	groups    []string // that had a role when he signed in
	since     capability.Time
	seen      time.Time
}

// guests are those who signed in, by what their directory calls them; in memory. A restart ends them all, as it ends all sessions.
type guests struct {
	mu    sync.Mutex
	of    map[string]guest
	drawn capability.Time
}

// signedInAs is whose session it is, and as of which change of what he may.
type signedInAs struct {
	name  string
	since capability.Time
}

// begin keeps that a directory has named somebody just now. Who comes with the same name and groups again stays signed in elsewhere; else his sessions from before are over.
func (g *guests) begin(url string, p *Person, now time.Time) signedInAs {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of == nil {
		g.of = map[string]guest{}
	}
	key := guestMark + p.Subject
	was, known := g.of[key]
	if !known && len(g.of) >= maxGuests {
		g.makeRoom(now)
	}
	is := guest{name: p.Name, url: url, groups: p.Groups, since: was.since, seen: now}
	if !known || was.url != url || was.name != p.Name || strings.Join(was.groups, "\x00") != strings.Join(p.Groups, "\x00") {
		g.drawn++
		is.since = g.drawn
	}
	g.of[key] = is
	return signedInAs{key, is.since}
}

// makeRoom drops those whose sessions are over, and the one who came longest ago where none is.
func (g *guests) makeRoom(now time.Time) {
	oldest := ""
	for key, one := range g.of {
		if now.Sub(one.seen) >= guestLife {
			delete(g.of, key)
		} else if oldest == "" || one.seen.Before(g.of[oldest].seen) {
			oldest = key
		}
	}
	if len(g.of) >= maxGuests {
		delete(g.of, oldest)
	}
}

// end has a guest sign in again, everywhere.
func (g *guests) end(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.of, key)
}

func (g *guests) whose(key string, since capability.Time) (guest, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one, ok := g.of[key]
	return one, ok && one.since == since
}

// guestAsks is a guest who asks for something: with the roles of his groups now, while the same directory is asked. Without one he is a stranger.
func (c *Console) guestAsks(ctx context.Context, key string, since capability.Time) (a asker, err error) {
	if one, ok := c.entry().guests.whose(key, since); ok {
		err = c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
			d := l.Directory()
			roles := d.RolesOf(one.groups)
			if d.URL != one.url || len(roles) == 0 {
				return
			}
			a = asker{by: ledger.ByDirectory + " " + one.name, name: one.name, guest: key, roles: roles, permissions: (&ledger.Login{Roles: roles}).Permissions(), idle: l.SessionTimeout()}
		})
	}
	if err == nil && a.by == "" {
		return c.strangerAsks(ctx)
	}
	return a, err
}

// account is who asks, told apart from everybody else.
func (a asker) account() string {
	if a.guest != "" {
		return a.guest
	}
	return a.name
}

// directory are the settings, where people may sign in by them.
func (c *Console) directory(ctx context.Context) (d ledger.Directory, err error) {
	none := false
	err = c.Appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		if l.Status(now).Lost == 0 {
			d = l.Directory()
		}
		none = len(l.Logins()) == 0
	})
	switch {
	case err != nil:
	case d.URL == "":
		err = capability.Refuse(capability.ErrDirectoryOff, "", "%s is not set", ledger.DirectoryURL)
	case none: // whoever could repair the settings without it
		err = capability.Refuse(capability.ErrDirectoryOff, "", "the appliance has no login of its own yet")
	}
	return d, err
}

// guestSignIn is who the directory says has this name and password, with a role here.
func (c *Console) guestSignIn(ctx context.Context, name, password, from string) (signedInAs, error) {
	d, p, err := c.judged(ctx, name, password, from)
	if err != nil {
		return signedInAs{}, err
	}
	return c.welcome(ctx, d, p, from)
}

// judged has a directory judge a name and a password. A try counts as failed until the directory has said yes.
func (c *Console) judged(ctx context.Context, name, password, from string) (d ledger.Directory, p *Person, err error) {
	if d, err = c.directory(ctx); err != nil {
		return d, nil, err
	}
	if d.Issuer() {
		return d, nil, capability.Refuse(capability.ErrDirectoryOff, "", "it takes no passwords here: sign in with a browser")
	}
	e := c.entry()
	tried := ledger.ByDirectory + guestMark + strings.ToLower(name)
	try := e.throttle.Try(tried, from)
	if try.Wait > 0 {
		return d, nil, tooSoon(try.Wait)
	}
	q := questionOf(&d)
	q.Password = &PasswordQuestion{name, password}
	p, err = c.named(ctx, from, q)
	no := (*capability.Refusal)(nil)
	switch {
	case err == nil:
		e.throttle.Succeeded(tried, from)
	case errors.As(err, &no) && no.Code == capability.ErrApplianceSignIn:
		c.failed(ctx, try, ledger.SignedIn{From: from, How: ledger.ByDirectory})
	case ctx.Err() == nil: // who hangs up before the answer has tried all the same
		e.throttle.Undecided(tried, from) // or who signs in at the appliance itself would wait for a directory that is away
	}
	return d, p, err
}

// named is whom the directory names, for somebody at an address.
func (c *Console) named(ctx context.Context, from string, q DirectoryQuestion) (*Person, error) {
	a, err := c.Directory.ask(ctx, from, q)
	if err != nil {
		return nil, err
	}
	p, err := a.person(&q)
	if err != nil {
		return nil, c.Directory.noted(capability.Refuse(capability.ErrDirectory, "", "what the program answers is no person: %v", err))
	}
	c.Directory.reached()
	return p, nil
}

// welcome signs somebody in whom the directory of these settings has named. That is in the audit trail before anybody hears of it.
func (c *Console) welcome(ctx context.Context, d ledger.Directory, p *Person, from string) (signedInAs, error) {
	if len(d.RolesOf(p.Groups)) == 0 {
		c.entry().guests.end(guestMark + p.Subject)
		return signedInAs{}, capability.Refuse(capability.ErrDirectoryRole, "", "")
	}
	how := ledger.ByDirectory + " as " + p.Subject
	if len(how) > capability.MaxText {
		how = strings.ToValidUTF8(how[:capability.MaxText-3], "") + "..."
	}
	if err := c.note(ctx, ledger.SignedIn{Name: p.Name, From: from, How: how}); err != nil {
		return signedInAs{}, err
	}
	return c.entry().guests.begin(d.URL, p, c.Appliance.Now()), nil
}

// provenGuest has a guest show again who he is, by the password that his directory knows.
func (c *Console) provenGuest(r *http.Request, a asker, password string) error {
	d, p, err := c.judged(r.Context(), a.name, password, web.AddressOf(r))
	switch {
	case err != nil:
		return err
	case guestMark+p.Subject != a.guest:
		return capability.Refuse(capability.ErrApplianceSignIn, "", "")
	case !slices.Equal(d.RolesOf(p.Groups), a.roles):
		c.entry().guests.end(a.guest)
		return capability.Refuse(capability.ErrDirectoryRole, "", "the groups are others by now: sign in again")
	}
	return nil
}
