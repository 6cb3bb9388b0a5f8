package main

import (
	"context"
	"net/http"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// drain begins a return, or with cancel serves again what was to be returned.
func (p *program) drain(ctx context.Context, d console.Drain, length time.Duration, cancel bool) error {
	path := "drains"
	switch {
	case cancel:
		path = "drains/cancel"
	case length%time.Second != 0 || d.For < 1 || d.For > ledger.MaxDrain:
		return terminal.Usage("--drain %s: want whole seconds, from 1s to %s", length, ledger.MaxDrain)
	}
	var now console.Draining
	if err := p.call(ctx, http.MethodPost, path, d, &now); err != nil {
		return err
	}
	if p.json {
		return terminal.JSON(p.out, struct {
			terminal.Data
			Drain console.Draining `json:"drain"`
		}{terminal.NewData("leasehold.drain/1"), now})
	}
	if now.Copies == 0 {
		p.printf("%s is served as before\n", now.ActivationID)
		return nil
	}
	p.printf("%s of %s being returned: nothing of it is served anew, renewals until %s\n", capability.Counted(now.Copies, "copy"), now.ActivationID, minute(now.Deadline))
	if now.InTheWay == 0 {
		p.say("Nothing is in the way.\nnext: leasehold return %s --count %d\n", now.ActivationID, now.Copies)
		return nil
	}
	p.printf("%d in the way\n", now.InTheWay)
	p.holders(now.Holders)
	p.say("next: leasehold return %s --count %d, when they have ended; to serve it again: leasehold return %s --cancel\n", now.ActivationID, now.Copies, now.ActivationID)
	return nil
}

// holders lists who holds what is to be returned, those that end first.
func (p *program) holders(all []capability.Holder) {
	for _, h := range all {
		p.say("held: %d by %s until %s\n", h.Count, terminal.Plain(h.Name), minute(h.Expiry))
	}
}
