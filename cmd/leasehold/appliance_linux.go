package main

import "github.com/spf13/cobra"

// onAppliance are the commands that only an appliance has a use for.
func (p *program) onAppliance() []*cobra.Command {
	return []*cobra.Command{p.mediaCommand(), p.updateCommand()}
}
