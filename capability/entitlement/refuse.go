package entitlement

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// An operator may refuse what a request asks for, with a reason that its machine shows. The refusal is a response like every other: it has a serial, credits what came back, takes records, and says the
// whole of what the machine has, which stays as it is on record. Nothing is given by it: no line, and nothing that waits for the machine's next response. For another answer the machine writes another
// request.

// checkRefusal refuses a refusal that would do something beside.
func (c *Answer) checkRefusal() error {
	if c.Refused == "" {
		return nil
	}
	if c.Repair != "" || c.Rehost != (hostid.ID{}) || c.Approved != "" || c.Seat != nil || c.Online {
		return errors.New("a request is refused by an operator, and then nothing is repaired, re-hosted or assigned with it")
	}
	if err := checkReason(c.Refused); err != nil {
		return fmt.Errorf("%w: %w", ErrDevice, err)
	}
	return nil
}

// checkReason says whether the customer can read a reason.
func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return errors.New("a refusal needs a reason, which the customer reads")
	}
	if err := capability.CheckText(reason); err != nil {
		return fmt.Errorf("reason: %w", err)
	}
	return nil
}

// refuse says no to every line that would change something, and why to the whole.
func (c *Answer) refuse(h *Host, resp *capability.Response) {
	resp.Status = capability.StatusDenied
	resp.Denials = deny(resp.Denials, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrRefused, Detail: c.Refused}})
	if c.Request.Operation != capability.Grant {
		return
	}
	for _, w := range c.Request.Desired {
		line := capability.Line{Count: h.given(w.ActivationID)}
		if line.Count != w.Count {
			subject := string(w.ActivationID)
			if subject == "" {
				subject = w.Feature
			}
			line.Status, line.Denial = capability.LineInsufficient, capability.Denial{Code: capability.ErrRefused, Subject: subject, Asked: w.Count}
		}
		resp.Lines = append(resp.Lines, line)
	}
}

// checkRefused asserts what refuse promises: nothing is given. h is the host as it was.
func (a *Answered) checkRefused(h *Host) error {
	for _, k := range append([]Known{a.Request}, a.Named...) {
		if err := k.checkRefused(); err != nil {
			return err
		}
	}
	if a.Request.Refused == "" {
		return nil
	}
	if a.Repair != nil || a.Rehosted != nil || a.Foreign != nil || a.Account != "" {
		return fmt.Errorf("request %d is refused, and something is done with it", a.Request.Number)
	}
	for _, f := range a.Holds {
		if have := h.held(f.ActivationID); f.Copies > have {
			return fmt.Errorf("request %d is refused, and its machine gets %d copies of %s where it had %d", a.Request.Number, f.Copies, f.ActivationID, have)
		}
	}
	return nil
}

// checkRefused says whether the refusal of a request can be on record: it was answered by it.
func (k *Known) checkRefused() error {
	switch {
	case k.Refused == "":
		return nil
	case k.Serial == 0:
		return fmt.Errorf("request %d is refused, and was not answered", k.Number)
	}
	return checkReason(k.Refused)
}
