package client

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// The list of servers may have back offices in it that serve seats to users, as https://HOST:PORT, beside appliances, as HOST:PORT. Acquire tries what is in it in order; all appliances together, where the
// first of them stands. What cannot be reached, or does not prove who it is, is passed over; a no is an answer, and ends the search.

// SeatsDir is the directory in Options.Dir where a device keeps who its user is to back offices, and its seats.
const SeatsDir = "online"

// ErrSessionElsewhere: the user's seats are in use on other machines; TakeOver moves one here.
var ErrSessionElsewhere error = sentinel(capability.ErrSessionElsewhere)

// Credentials are what shows a back office who a user is. Code is of the slip of a new user: then Password is the one to be set.
type Credentials struct {
	Account, User, Password, Code string
}

// TakeOver lets Acquire give up a seat of the same user on another machine for this one. It means nothing to appliances.
func TakeOver() Option { return func(w *wish) { w.takeOver = true } }

// Idle tells a back office how long nobody has worked with the program, by a function that says it; without it somebody always has. It means nothing to appliances.
func Idle(f func() time.Duration) Option { return func(w *wish) { w.idle = f } }

// places are the appliances of a list, and the order in which it is tried: back offices by their address, and empty for the appliances.
func places(list []string) (appliances, order []string, err error) {
	for _, server := range list {
		scheme, _, url := strings.Cut(server, "://")
		switch {
		case !url:
			if len(appliances) == 0 {
				order = append(order, "")
			}
			appliances = append(appliances, server)
		case strings.EqualFold(scheme, "http"):
			return nil, nil, refuse(capability.ErrPlain, fmt.Errorf("%q: a back office is asked over https:// only, and an appliance has no scheme: HOST:PORT", server))
		default:
			at, err := officeURL(server)
			if err != nil {
				return nil, nil, err
			}
			if !slices.Contains(order, at) {
				order = append(order, at)
			}
		}
	}
	return appliances, order, nil
}

// silent says that a server was not reached, or did not prove that it is one.
func silent(err error) bool {
	return errors.Is(err, ErrServerUnreachable) || errors.Is(err, ErrServerUnproven) || errors.Is(err, ErrOfficeUnreachable) || errors.Is(err, ErrOfficeCertificate)
}

// acquire tries the servers in order.
func (c *Client) acquire(ctx context.Context, w wish) (*Lease, error) {
	var all []error
	offices := map[string]error{}
	defer func() { c.link.passed.noteOffices(offices) }()
	for _, at := range c.order {
		l, err := (*Lease)(nil), error(nil)
		if at == "" {
			l, err = c.acquireServed(ctx, w)
		} else {
			l, err = c.acquireSeat(ctx, at, w)
		}
		if err == nil || !silent(err) || ctx.Err() != nil {
			return l, err
		}
		if all = append(all, err); at != "" {
			offices[at] = err
		}
	}
	// An answer, even a bad one, says more than silence.
	for _, err := range all {
		if !errors.Is(err, ErrServerUnreachable) && !errors.Is(err, ErrOfficeUnreachable) {
			return nil, err
		}
	}
	return nil, all[0]
}

// acquireSeat takes a seat at a back office.
func (c *Client) acquireSeat(ctx context.Context, at string, w wish) (*Lease, error) {
	if w.count != 1 && !w.partial {
		return nil, denied(capability.Denial{Code: capability.ErrLimit, Subject: w.feature.Name, Detail: fmt.Sprintf("%d asked, and a back office serves a user one seat on each machine", w.count)})
	}
	s, err := c.seats(ctx)
	if err != nil {
		return nil, err
	}
	office, err := s.OfficeAt(ctx, at)
	if err != nil {
		return nil, err
	}
	office.Authorities, office.Timeout, office.carry = c.options.Authorities, c.options.Timeout, c.options.carry
	o := SeatOptions{Office: office, Feature: w.feature.Name, Version: w.feature.Version, TakeOver: w.takeOver, Keep: w.keep, Alias: c.options.Alias, Idle: w.idle}
	seat, err := s.Seat(ctx, o)
	if errors.Is(err, ErrUserToken) && c.options.SignIn != nil {
		var who Credentials
		if who, err = c.options.SignIn(ctx, at); err == nil {
			_, err = s.KeepSignIn(ctx, office, who.Account, who.User, who.Password, who.Code)
		}
		if err == nil {
			seat, err = s.Seat(ctx, o)
		}
	}
	if err != nil {
		return nil, err
	}
	l := &Lease{c: c, holder: c.store.mine, feature: w.feature, count: 1, lost: make(chan struct{}), seat: seat}
	go func() { // Close ends the seat
		<-seat.Done()
		c.mu.Lock()
		defer c.mu.Unlock()
		l.lose(seat.Err())
	}()
	return l, nil
}

// seats opens where this machine keeps who its user is, once.
func (c *Client) seats(ctx context.Context) (*Standalone, error) {
	select {
	case c.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.opening }()
	if c.shut {
		return nil, ErrClosed
	}
	if c.own != nil {
		return c.own, nil
	}
	open := c.options.Seats
	if open == nil {
		open = func(ctx context.Context) (*Standalone, error) {
			o := &c.options
			return OpenStandalone(ctx, StandaloneOptions{Dir: filepath.Join(c.dir, SeatsDir), Trust: o.Trust, TrustFile: o.TrustFile, Machine: o.Machine, Clock: o.Clock, Timeout: o.Timeout})
		}
	}
	s, err := open(ctx)
	c.own = s
	return s, err
}

// closeSeats gives back the seats that were not kept.
func (c *Client) closeSeats() error {
	c.opening <- struct{}{}
	defer func() { <-c.opening }()
	c.shut = true
	if c.own == nil {
		return nil
	}
	return c.own.Close()
}

// seatNotice is Notice for a seat.
func (l *Lease) seatNotice(clock string) string {
	left, missed := l.seat.Left()
	if missed != nil {
		until := l.c.options.Clock().Add(left)
		if silent(missed) {
			return fmt.Sprintf("license server not reachable since %s, works until %s", l.seat.missedSince().Local().Format(clock), until.Local().Format(clock))
		}
		return fmt.Sprintf("not renewed, works until %s: %v", until.Local().Format(clock), missed)
	}
	return l.seat.Warning()
}
