package console

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

func drains(l *ledger.Ledger, now ledger.Now) []Draining {
	out := []Draining{}
	for _, d := range l.Drains(now) {
		row := Draining(d)
		if row.Holders == nil {
			row.Holders = []capability.Holder{}
		}
		out = append(out, row)
	}
	return out
}

func (c *Console) drains(r *http.Request) (any, error) {
	var out []Draining
	err := c.look(r, func(l *ledger.Ledger, now ledger.Now) { out = drains(l, now) })
	return out, err
}

func (c *Console) drain(r *http.Request, by string) (any, error) {
	var form Drain
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	if form.For <= 0 || form.For > ledger.MaxDrain {
		return nil, &capability.Malformed{Field: "for", Cause: strconv.FormatInt(int64(form.For), 10) + " seconds where 1 to " + strconv.FormatInt(int64(ledger.MaxDrain), 10) + " are wanted"}
	}
	command := ledger.Drain{ActivationID: form.ActivationID, Copies: form.Copies, By: by}
	if err := c.look(r, func(_ *ledger.Ledger, now ledger.Now) { command.Deadline = now.Wall.Add(form.For) }); err != nil {
		return nil, err
	}
	return c.draining(r, command, form.ActivationID, "drain of "+string(form.ActivationID)+" begun", by)
}

func (c *Console) cancelDrain(r *http.Request, by string) (any, error) {
	var form Drain
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	return c.draining(r, ledger.CancelDrain{ActivationID: form.ActivationID, By: by}, form.ActivationID, "drain of "+string(form.ActivationID)+" canceled", by)
}

// draining makes the command a fact, and says what the drain of the activation ID is then.
func (c *Console) draining(r *http.Request, command ledger.Command, id capability.ActivationID, what, by string) (any, error) {
	if err := id.Validate(); err != nil {
		return nil, &capability.Malformed{Field: "activationId", Cause: err.Error()}
	}
	if _, err := c.Appliance.Change(r.Context(), command, what, by); err != nil {
		return nil, err
	}
	out := Draining{ActivationID: id, Holders: []capability.Holder{}}
	err := c.look(r, func(l *ledger.Ledger, now ledger.Now) {
		all := drains(l, now)
		if i := slices.IndexFunc(all, func(d Draining) bool { return d.ActivationID == id }); i >= 0 {
			out = all[i]
		}
	})
	return out, err
}
