package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
)

// explained prints who has what was refused, as far as the appliance lets us see it, and when it may be otherwise; the error says the rest.
func explained(p *program, err error) error {
	var no *capability.Refusal
	if errors.As(err, &no) {
		p.say("%s", whoHas(no))
	}
	return err
}

// whoHas is what a person who wants a seat asks: who has them, when one comes free, and where in the line he stands. An end is one that is known, never a guess.
func whoHas(no *capability.Refusal) string {
	var b strings.Builder
	for _, h := range no.Holders {
		who := h.Name
		if who == "" {
			who = "someone"
		}
		fmt.Fprintf(&b, "held: %d by %s, until %s\n", h.Count, who, h.Expiry)
	}
	if no.Code == capability.ErrNoSeat || no.Code == capability.ErrOverage {
		if no.Until != 0 {
			fmt.Fprintf(&b, "earliest known end: %s\n", no.Until)
		} else {
			b.WriteString("earliest known end: none is known\n")
		}
		if no.Position > 0 {
			fmt.Fprintf(&b, "you are no. %d in line\n", no.Position)
		}
	}
	return b.String()
}

// waiting says while it is waited for a seat why, and where in the line this device stands; again only where that is otherwise.
func (p *program) waiting(wait time.Duration) client.Option {
	said := ""
	return client.Waiting(func(err error) {
		var no *capability.Refusal
		if !errors.As(err, &no) {
			return
		}
		what := fmt.Sprintf("waiting for at most %s: %s\n%s", wait, no, whoHas(no))
		if now := fmt.Sprint(no.Code, no.Used, no.Until, no.Position); now != said {
			said = now
			p.say("%s", what)
		}
	})
}
