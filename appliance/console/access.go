package console

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// asker is who asks for something, on the Unix socket or over the network, with a browser or with a program: the one value that says who may do what.
type asker struct {
	by          string // as entries name it: "uid 0 (pid 12)", or "login keller"; empty: nobody known
	name        string // of the login; empty on the Unix socket
	permissions ledger.Permissions
	local       bool // on the Unix socket
	root        bool // root, or the account of the daemon, there
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

// WithPeer is for http.Server.ConnContext: it asks the kernel who connected.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, Peer{int(cred.Pid), int(cred.Uid), int(cred.Gid)})
}

// peerAsks is who asks on the Unix socket. Who may steer has every permission, everybody else there may look.
func (c *Console) peerAsks(r *http.Request) (asker, error) {
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
