// Package screen is the text console of an appliance: what its state is, what to do next, and a few things that can be done without a browser.
//
// It draws on VGA text consoles, serial lines and terminals of any size, and where nothing can be drawn it is a numbered menu. Start with State, whose Screen and Plain are
// functions of what is known; App and Menu show it and ask for it again.
//
// Rules, for everyone who adds to it: a state is a word, never only a color or a mark; nothing is drawn but what Safe lets through, because a VGA console has no other signs; and what it says of
// health comes from the one table of conditions.
package screen

import (
	"fmt"
	"strings"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/stick"
)

// State is what is known of an appliance at one moment.
type State struct {
	Version   string
	Now       time.Time
	Health    *console.Health // nil: the daemon does not answer,
	Problem   string          // and why; empty: it was not asked yet
	Next      string          // and what to do about it
	FirstCode string          // by which the first login is made; empty: there is one already, or who looks may not see it
	Network   []Interface
	Away      bool // the appliance is another machine than this, whose network cards nobody sees
	Told      []stick.Line
	Allowed   time.Duration // that sticks are let in for
}

// Interface is a network card and its addresses.
type Interface struct {
	Name      string
	Addresses []string // with the length of their prefix
	Cable     bool
}

// section is a label and what is said under it.
type section struct {
	label string
	lines []string
}

// sections are the whole of a state, the most important first.
func (s *State) sections() []section {
	word, next := s.state()
	if s.cut() {
		e := capability.ErrNoNetwork.Entry()
		word, next = fmt.Sprintf("%s; %s %s", word, e.Code, e.Title), append(next, e.Next)
	}
	list := []section{{"STATE", []string{word}}, {"NEXT", next}}
	if at := s.addresses(); len(at) > 0 {
		list = append(list, section{"CONSOLE", at})
	}
	list = append(list, section{"HEALTH", s.health()})
	if !s.Away {
		list = append(list, section{"NETWORK", s.network()})
	}
	return list
}

// state is the state in words, and what to do next.
func (s *State) state() (word string, next []string) {
	h := s.Health
	switch {
	case h == nil && s.Problem == "":
		return "STARTING - the license server is asked for its state", []string{"Wait: this takes a minute at most."}
	case h == nil:
		return "NOT RUNNING - " + s.Problem, []string{s.Next}
	case h.Condition != nil:
		e := h.Condition.Code.Entry()
		word = fmt.Sprintf("NOT SERVING - %s %s", h.Condition.Code, e.Title)
		if h.Condition.Denial.Detail != "" {
			word += ": " + h.Condition.Denial.Detail
		}
		return word, append([]string{e.Next}, s.carry(h)...)
	case h.State == "not activated" && h.Waiting > 0:
		return fmt.Sprintf("NOT ACTIVATED - WAITING for the response to request %d", h.Requests), append([]string{"Plug in the USB stick with the response: it is applied by itself."}, s.barred(h)...)
	case h.State == "not activated":
		word, next = "NOT ACTIVATED - no licenses yet", s.carry(h)
		for _, c := range h.Conditions {
			if c.Code == capability.ErrClock || c.Code == capability.ErrStorageFull { // these first, or it goes wrong
				word, next = fmt.Sprintf("%s; %s %s", word, c.Code, c.Title), append([]string{c.Next}, next...)
			}
		}
		return word, next
	case h.State == "holding":
		return fmt.Sprintf("HOLDING until %s - leases are renewed, nothing new is granted", minute(h.HoldUntil)), []string{"Wait: it serves again by itself."}
	}
	word = fmt.Sprintf("%s - %d of %s in use", strings.ToUpper(h.State), h.Used, capability.Counted(h.Total, "seat"))
	if h.Expiry != 0 {
		word += ", next expiry " + h.Expiry.Std().Format(time.DateOnly)
	}
	for _, c := range h.Conditions {
		if c.Severity != console.Note {
			return word, []string{c.Next}
		}
	}
	return word, []string{"Nothing to do."}
}

// carry is how a request leaves the machine and a response comes back.
func (s *State) carry(h *console.Health) []string {
	steps := []string{
		"1. Plug in a USB stick that has a folder named LEASEHOLD",
		"2. Wait for SAFE TO REMOVE (2 beeps), take it to your supplier",
		"3. Plug it in here again. Done.      No USB? press F4 for QR",
	}
	return append(s.barred(h), steps...)
}

// barred says what is in the way of sticks.
func (s *State) barred(h *console.Health) []string {
	switch {
	case h.Media == ledger.MediaOff:
		return []string{"Sticks are off here (media-mode): press F4 for QR, or in the browser."}
	case h.Media == ledger.MediaConfirm && s.Allowed <= 0:
		return []string{"Press F6 first: sticks are let in for five minutes then."}
	}
	return nil
}

// addresses are where the browser console is, and by what it is known.
func (s *State) addresses() []string {
	h := s.Health
	if h == nil || h.Certificate == nil {
		return nil
	}
	var lines []string
	for _, i := range s.Network {
		for _, a := range i.Addresses {
			ip, _, _ := strings.Cut(a, "/")
			if strings.Contains(ip, ":") {
				ip = "[" + ip + "]"
			}
			lines = append(lines, fmt.Sprintf("https://%s:%d/", ip, wire.Port))
		}
	}
	if len(lines) == 0 {
		for _, name := range h.Certificate.Names[:min(1, len(h.Certificate.Names))] {
			lines = append(lines, fmt.Sprintf("https://%s:%d/", name, wire.Port))
		}
	}
	digits := strings.ReplaceAll(h.Certificate.Fingerprint, ":", "")
	lines = append(lines, "certificate SHA-256")
	for ; len(digits) > 0; digits = digits[min(32, len(digits)):] {
		lines = append(lines, "  "+digits[:min(32, len(digits))])
	}
	if s.FirstCode != "" {
		lines = append(lines, fmt.Sprintf("first-login code %s (valid until first login)", s.FirstCode))
	}
	return lines
}

// health is the table of conditions, and what else a look should show.
func (s *State) health() (lines []string) {
	h := s.Health
	if h == nil {
		return []string{"not known"}
	}
	clock := "not judged"
	if h.Clock != nil {
		clock = h.Clock.State
	}
	sticks := h.Media
	if h.Media == ledger.MediaConfirm && s.Allowed > 0 {
		sticks = fmt.Sprintf("let in for %d more min", (s.Allowed+time.Minute-1)/time.Minute)
	}
	word := "ok"
	if len(h.Conditions) > 0 {
		word = capability.Counted(len(h.Conditions), "condition")
	}
	lines = append(lines, fmt.Sprintf("%s   clock: %s   sticks: %s", word, clock, sticks))
	for _, c := range h.Conditions {
		line := fmt.Sprintf("%s %s: %s", c.Code, c.Severity, c.Title)
		if c.Text != "" {
			line += " - " + c.Text
		}
		lines = append(lines, line)
	}
	return lines
}

// signsIn says that whoever changes this machine signs in: there is a login, and a daemon that knows it.
func (s *State) signsIn() bool { return s.Health != nil && s.FirstCode == "" }

// cut says that no program can reach this machine.
func (s *State) cut() bool { return !s.Away && len(s.Network) == 0 }

func (s *State) network() (lines []string) {
	if s.cut() {
		return []string{capability.ErrNoNetwork.Entry().Title}
	}
	for _, i := range s.Network {
		switch {
		case !i.Cable:
			lines = append(lines, i.Name+" no cable")
		case len(i.Addresses) == 0:
			lines = append(lines, i.Name+" no address")
		default:
			lines = append(lines, i.Name+" "+strings.Join(i.Addresses, " "))
		}
	}
	return lines
}

// told are the last lines about sticks, the newest last.
func (s *State) told() (lines []string) {
	for _, l := range s.Told {
		lines = append(lines, l.Time.Std().UTC().Format("15:04:05 ")+l.String())
	}
	return lines
}

// Plain is the state as lines for a log or a slow terminal, without the code of the first login: such lines are kept.
func (s *State) Plain() (lines []string) {
	open := *s
	open.FirstCode = ""
	lines = append(lines, Safe(strings.Join(open.title(), "  ")))
	for _, part := range open.sections() {
		for i, text := range part.lines {
			label := ""
			if i == 0 {
				label = part.label
			}
			lines = append(lines, Safe(fmt.Sprintf("%-8s %s", label, text)))
		}
	}
	return lines
}

// Opening is what is said once as lines when the appliance has come up, for whoever keeps what comes over a serial line: Plain, what its authority is known by, and the code of the first
// login where there is none yet. The code is worth nothing after that login.
func (s *State) Opening() []string {
	lines := s.Plain()
	if s.Health != nil && s.Health.Certificate != nil && s.Health.Certificate.Key != "" {
		lines = append(lines, Safe("authority    "+s.Health.Certificate.Authority), Safe("its key      "+s.Health.Certificate.Key))
	}
	if s.FirstCode != "" {
		lines = append(lines, "first-login code, valid until first login:", Safe(s.FirstCode))
	}
	return lines
}

// title is the program, the machine and the time.
func (s *State) title() []string {
	t := []string{"Leasehold " + s.Version}
	if s.Health != nil {
		t = append(t, "LH-"+s.Health.Host.Short())
	}
	return append(t, s.Now.UTC().Format("2006-01-02 15:04Z"))
}

func minute(t capability.Time) string { return t.Std().UTC().Format("2006-01-02 15:04Z") }
