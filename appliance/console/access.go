package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// asker is who asks for something, on the Unix socket or over the network, with a browser or with a program: the one value that says who may do what.
type asker struct {
	by          string            // as entries name it: "uid 0 (pid 12)", or "login keller"; empty: nobody known
	name        string            // of the login, or as a directory says it; empty on the Unix socket
	guest       string            // what a directory calls him; empty: he is none of a directory
	roles       []capability.Role // of a guest
	permissions ledger.Permissions
	local       bool               // on the Unix socket
	idle        capability.Seconds // that sessions of browsers last without a request, as an administrator has set it
	root        bool               // root, or the account of the daemon, there
}

// may says whether who asks has a permission.
func (a asker) may(p ledger.Permission) bool { return a.permissions.Has(p) }

// gate says who may ask for something: a permission, or one of those below.
type gate int

const (
	anyone   gate = -1 // also who is not signed in
	signedIn gate = -2 // every login, and everybody on the Unix socket
	rootOnly gate = -3 // root, and the account of the daemon, on the Unix socket alone
)

// needs is the gate of a permission.
func needs(p ledger.Permission) gate { return gate(p) }

func (g gate) String() string {
	switch g {
	case anyone:
		return "anyone"
	case signedIn:
		return "signed in"
	case rootOnly:
		return "root"
	}
	return ledger.Permission(g).String()
}

// passes says why who asks may not use what has that gate. The error is a *capability.Refusal.
func (a asker) passes(g gate) error {
	switch {
	case g == anyone, g == signedIn && a.by != "", g == rootOnly && a.root, g >= 0 && a.may(ledger.Permission(g)):
		return nil
	case a.by == "":
		return capability.Refuse(capability.ErrSignInFirst, "", "")
	case g == rootOnly:
		return capability.Refuse(capability.ErrForbidden, "", "%s: that is for root on the appliance", a.by)
	case a.local:
		return capability.Refuse(capability.ErrForbidden, "", "%s", a.by)
	}
	var roles []string
	for _, r := range ledger.RolesFor(ledger.Permission(g)) {
		roles = append(roles, r.String())
	}
	return capability.Refuse(capability.ErrApplianceRole, a.name, "it takes the role %s", strings.Join(roles, " or "))
}

// Peer is who is at the other end of the Unix socket, by the kernel's word.
type Peer struct{ PID, UID, GID int }

func (p Peer) String() string { return fmt.Sprintf("uid %d (pid %d)", p.UID, p.PID) }

type peerKey struct{}

// peerAsks is who asks on the Unix socket. Who may steer has every permission, everybody else there may look; who shows a token is its login, and nothing more.
func (c *Console) peerAsks(r *http.Request) (asker, error) {
	if r.Header.Get("Authorization") != "" {
		return c.bearerAsks(r)
	}
	p, ok := r.Context().Value(peerKey{}).(Peer)
	if !ok {
		return asker{local: true, by: "an unknown account", permissions: ledger.PermissionsOf(ledger.ToSee)}, nil
	}
	a := asker{by: p.String(), local: true, permissions: ledger.PermissionsOf(ledger.ToSee), root: c.Tells != nil && c.Tells(p)}
	if c.Allowed(p) {
		a.permissions = ledger.Everything
	}
	return a, nil
}

// askerOf is a login that asks.
func askerOf(g *ledger.Login) asker {
	return asker{by: "login " + g.Name, name: g.Name, permissions: g.Permissions()}
}

// networkAsks is who asks over the network: by a token, or by what session says of a browser, which may be nil. Who shows neither may look where that is open.
func (c *Console) networkAsks(session func(*http.Request) (name string, since capability.Time)) func(*http.Request) (asker, error) {
	return func(r *http.Request) (asker, error) {
		if r.Header.Get("Authorization") != "" {
			return c.bearerAsks(r)
		}
		if session != nil {
			if name, since := session(r); name != "" {
				return c.loginAsks(r.Context(), name, since)
			}
		}
		return c.strangerAsks(r.Context())
	}
}

// bearerAsks is the login that a token is of.
func (c *Console) bearerAsks(r *http.Request) (a asker, err error) {
	no := capability.Refuse(capability.ErrApplianceToken, "", "")
	text, ok := bearerOf(r)
	if !ok {
		return a, no
	}
	if name, since, ok := c.entry().bearers.whose(text, c.Appliance.Now()); ok {
		if a, err = c.loginAsks(r.Context(), name, since); err == nil && a.by == "" {
			err = no
		}
		return a, err
	}
	good := false
	err = c.Appliance.Look(r.Context(), func(l *ledger.Ledger, now ledger.Now) {
		var g ledger.Login
		if g, _, good = l.OfToken(text, now.Wall); good {
			a = askerOf(&g)
		}
	})
	if err == nil && !good {
		err = no
	}
	return a, err
}

// bearerOf is the token that a request shows.
func bearerOf(r *http.Request) (text string, ok bool) {
	kind, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return text, ok && strings.EqualFold(kind, "Bearer") && text != ""
}

// loginAsks is a login that signed in as of a change of it. After another change it is a stranger again.
func (c *Console) loginAsks(ctx context.Context, name string, since capability.Time) (a asker, err error) {
	if strings.HasPrefix(name, guestMark) {
		return c.guestAsks(ctx, name, since)
	}
	err = c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		if g, ok := l.Login(name); ok && !g.Disabled && g.Since == since {
			a = askerOf(&g)
			a.idle = l.SessionTimeout()
		}
	})
	if err == nil && a.by == "" {
		return c.strangerAsks(ctx)
	}
	return a, err
}

// strangerAsks is somebody who is not known: a setting says whether strangers may look.
func (c *Console) strangerAsks(ctx context.Context) (a asker, err error) {
	err = c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		if l.OpenReads() {
			a.permissions = ledger.PermissionsOf(ledger.ToSee)
		}
	})
	return a, err
}
