package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/network"
	"github.com/leasehold/leasehold/cmd/internal/screen"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

// networks are where it is kept what network cards are given. Empty: this program gives them nothing.
type networks struct {
	kept  string // from one start of the machine to the next
	until string // the next start, where nobody can be asked whether it may last longer
}

func (n *networks) flags(flags *pflag.FlagSet) {
	flags.StringVar(&n.kept, "networks", from("LEASEHOLD_NETWORKS", ""), "`directory` for what network cards are given, as on the appliance's own image; empty: none is set up here ($LEASEHOLD_NETWORKS)")
	flags.StringVar(&n.until, "networks-until-restart", from("LEASEHOLD_NETWORKS_UNTIL_RESTART", ""), "`directory` for what they are given while nobody's password can be asked for, which goes with the next start of the machine; empty: nothing is then ($LEASEHOLD_NETWORKS_UNTIL_RESTART)")
}

func (t *textConsole) networkCommand() *cobra.Command {
	var told string
	c := t.lines("network", "Print the network cards of this machine and their addresses", t.network)
	c.Long = "Prints the network cards of this machine and their addresses.\n\n" +
		"With --networkd it tells systemd-networkd what cards were given at the machine, as the unit leasehold-network does in each start of the appliance's own image. What is kept is read as what is typed is: what could not be typed is left out, and said."
	cards := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if told == "" {
			return cards(c, args)
		}
		list, wrong := network.Kept(t.networks.kept, t.networks.until)
		if wrong != nil {
			systemd.Journal("leasehold-network", t.stderr).Warn("left out", "cause", terminal.Plain(wrong.Error()))
		}
		if err := network.Tell(told, list); err != nil {
			return terminal.Coded(capability.ErrFileRead, err)
		}
		return nil
	}
	t.networks.flags(c.Flags())
	c.Flags().StringVar(&told, "networkd", "", "`directory` of systemd-networkd for what cards were given; empty: print them")
	return c
}

// setUp gives a network card of this machine an address, or has the network asked for one, and says so. As long as there is no login whoever stands here may; after that it takes the password of one who
// admits others. Where the daemon cannot be asked for that, whoever stands here may too, but not for longer than until the next start. It is in the journal.
func (t *textConsole) setUp(ctx context.Context, login, password, card, address, gateway string) (said string, err error) {
	s, err := network.Parse(card, address, gateway)
	if err != nil {
		return "", terminal.Usage("%w", err)
	}
	cards := interfaces()
	if !slices.ContainsFunc(cards, func(i screen.Interface) bool { return i.Name == s.Card }) {
		return "", terminal.Usage("this machine has no network card %s", s.Card)
	}
	if err := beside(s, cards, t.networks.kept, t.networks.until); err != nil {
		return "", terminal.Usage("%w", err)
	}
	lasts, err := t.mayChange(ctx, login, password)
	if err != nil {
		return "", err
	}
	if lasts {
		err = beside(s, cards, t.networks.kept) // which is what counts from the next start on
	}
	if err != nil {
		return "", terminal.Usage("%w", err)
	}
	said = fmt.Sprintf("The network card %s is set up.", s.Card)
	if !lasts {
		said = fmt.Sprintf("The network card %s is set up until the machine starts again: nobody's password can be asked for now.", s.Card)
	}
	if err := t.keep(s, cards, lasts); err != nil {
		return "", terminal.Coded(capability.ErrFileRead, err)
	}
	beside := t.stderr
	if t.drawn {
		beside = io.Discard
	}
	e, given := capability.NetworkSet.Entry(), "dhcp"
	if s.Address.IsValid() {
		given = s.Address.String()
	}
	systemd.Journal("leasehold-console", beside).Info(e.Title, "code", e.Code.String(), "card", s.Card, "address", given, "lasts", lasts, "login", terminal.Plain(login))
	if out, err := exec.CommandContext(ctx, "systemctl", "restart", "systemd-networkd.service").CombinedOutput(); err != nil {
		return "", terminal.Advised(capability.ErrNoDaemon, fmt.Errorf("it is kept, and systemd-networkd was not started anew: %w: %s", err, strings.TrimSpace(terminal.Plain(string(out)))), "restart the machine")
	}
	return said, nil
}

// keep puts what a card is given where it lasts, or where it goes with the next start, and takes away what was kept for cards that this one replaces.
func (t *textConsole) keep(s network.Setup, cards []screen.Interface, lasts bool) error {
	var here []string
	for _, i := range cards {
		here = append(here, i.Name)
	}
	if !lasts {
		return errors.Join(s.Replace(t.networks.until, here), s.Keep(t.networks.until))
	}
	return errors.Join(s.Replace(t.networks.kept, here), s.Keep(t.networks.kept), s.Replace(t.networks.until, here), network.Forget(t.networks.until, s.Card))
}

// beside says why a card cannot be given its address beside the other cards of this machine: what they have, and what they were given and have not while no cable is in.
func beside(s network.Setup, cards []screen.Interface, dirs ...string) error {
	var errs []error
	kept, _ := network.Kept(dirs...) // what of it is wrong is said in each start
	for _, i := range cards {
		for _, a := range i.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				errs = append(errs, s.Beside(i.Name, p))
			}
		}
		for _, k := range kept {
			if k.Card == i.Name {
				errs = append(errs, s.Beside(k.Card, k.Address))
			}
		}
	}
	return errors.Join(errs...)
}

// mayChange says why somebody may not change this machine, and whether the change lasts. The daemon is asked: it alone knows whether there is a login yet, and passwords. Where it cannot be, or where the logins are
// in a storage that does not open, what stays on the disk would outlive that: so whoever stands here may, and it ends with the next start.
func (t *textConsole) mayChange(ctx context.Context, login, password string) (lasts bool, err error) {
	if login == "" {
		var f console.FirstLogin
		if err = t.call(ctx, http.MethodGet, "first-login", nil, &f); err == nil && f.Code == "" {
			err = capability.Refuse(capability.ErrForbidden, "", "sign in: there are logins")
		}
	} else {
		o := *t.program
		err = o.signedIn(ctx, login, password, func() error {
			var users any
			return o.call(ctx, http.MethodGet, "users", nil, &users) // for who admits logins only
		})
	}
	if err == nil {
		var h *console.Health
		h, err = t.health(ctx)
		lasts = err == nil && h.Condition == nil
	}
	if unasked(err) && t.networks.until != "" {
		return false, nil
	}
	if err == nil && !lasts && t.networks.until == "" {
		err = capability.Refuse(capability.ErrForbidden, "", "the logins are in what does not open")
	}
	return lasts, err
}

// unasked says that there is no daemon that could be asked: none is there, or it says why it cannot start. One that is busy runs, and so does one that takes too long.
func unasked(err error) bool {
	var no unserved
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return err != nil && terminal.CodeOf(err) == capability.ErrNoDaemon || errors.As(err, &no) && no.Code != capability.ErrBusy
}
