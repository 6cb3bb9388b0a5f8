//go:build !linux

package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// onAppliance are the commands that only an appliance has a use for, which is Linux.
func (p *program) onAppliance() []*cobra.Command { return nil }

// allowSticks is for the appliance itself.
func allowSticks(string) error {
	return terminal.Coded(capability.ErrForbidden, errors.New("sticks are let in on the appliance itself"))
}

// sticksAllowed is for how much longer sticks are let in here.
func sticksAllowed(string) time.Duration { return 0 }
