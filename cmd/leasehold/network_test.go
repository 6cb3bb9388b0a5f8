package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// Without a password a card is set up only where there is no daemon to ask for it: one that is slow is there.
func TestUnasked(t *testing.T) {
	unable := func(c capability.Code) error {
		return unserved{&capability.Refusal{Denial: capability.Denial{Code: c}}}
	}
	for _, c := range []struct {
		what string
		err  error
		want bool
	}{
		{"asked, and may", nil, false},
		{"asked, and may not", capability.Refuse(capability.ErrForbidden, "", ""), false},
		{"nobody listens", terminal.Coded(capability.ErrNoDaemon, errors.New("connection refused")), true},
		{"no answer for a minute", terminal.Coded(capability.ErrNoDaemon, fmt.Errorf("socket: %w", context.DeadlineExceeded)), false},
		{"it cannot start", unable(capability.ErrNoTPM), true},
		{"it is busy", unable(capability.ErrBusy), false},
	} {
		if got := unasked(c.err); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
