package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/network"
	"github.com/leasehold/leasehold/cmd/internal/screen"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

// setUp gives a network card of this machine an address, or has the network asked for one. As long as there is no login whoever stands here may; after that it takes the password of one who
// admits others. It is in the journal.
func (t *textConsole) setUp(ctx context.Context, login, password, card, address, gateway string) error {
	s, err := network.Parse(card, address, gateway)
	if err != nil {
		return terminal.Usage("%w", err)
	}
	if !slices.ContainsFunc(interfaces(), func(i screen.Interface) bool { return i.Name == s.Card }) {
		return terminal.Usage("this machine has no network card %s", s.Card)
	}
	if err := t.mayChange(ctx, login, password); err != nil {
		return err
	}
	if err := s.Keep(t.networks); err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	beside := t.stderr
	if t.drawn {
		beside = io.Discard
	}
	e, given := capability.NetworkSet.Entry(), "dhcp"
	if s.Address.IsValid() {
		given = s.Address.String()
	}
	systemd.Journal("leasehold-console", beside).Info(e.Title, "code", e.Code.String(), "card", s.Card, "address", given, "login", terminal.Plain(login))
	if out, err := exec.CommandContext(ctx, "systemctl", "restart", "systemd-networkd.service").CombinedOutput(); err != nil {
		return terminal.Advised(capability.ErrNoDaemon, fmt.Errorf("it is kept, and systemd-networkd was not started anew: %w: %s", err, strings.TrimSpace(terminal.Plain(string(out)))), "restart the machine")
	}
	return nil
}

// mayChange says why somebody may not change this machine. The daemon is asked: it alone knows whether there is a login yet, and passwords.
func (t *textConsole) mayChange(ctx context.Context, login, password string) error {
	var f console.FirstLogin
	if login == "" {
		if err := t.call(ctx, http.MethodGet, "first-login", nil, &f); err != nil {
			return err
		}
		if f.Code == "" {
			return capability.Refuse(capability.ErrForbidden, "", "sign in: there are logins")
		}
		h, err := t.health(ctx)
		if err == nil && h.Condition != nil { // what stays on the disk outlives this state, in which nobody knows the logins that there are
			err = capability.Refuse(capability.ErrForbidden, "", "the logins are in what does not open: %s", h.Condition.Code)
		}
		return err
	}
	o := *t.program
	return o.signedIn(ctx, login, password, func() error {
		var users any
		return o.call(ctx, http.MethodGet, "users", nil, &users) // for who admits logins only
	})
}
