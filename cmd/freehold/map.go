package main

import (
	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func mapCommand(f *flags) *cobra.Command {
	var end bool
	c := &cobra.Command{
		Use: "map DEVICE ACTIVATION-ID {COPIES | --end}", Short: "Say how many copies a device shall have",
		Long: "What is above what the device has is reserved for it, so that nobody else gets it, and given with its next response. What is below is asked back: its next response leaves those copies out, " +
			"and they stay counted as its until a later request proves that they are gone. Until then the machine's own wishes for that activation ID do not count; after that they do again.\n\n" +
			"With --end they count at once: what was reserved is free, and what was asked back and not proved to be gone stays with the machine.",
		Example: "  freehold map \"Mill 3\" 7K2QX-... 40",
		Args:    cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			if end != (len(args) == 2) {
				return terminal.Usage("say how many copies, or --end")
			}
			return f.steer(c.OutOrStdout(), args, func(_ *entitlement.Book, id hostid.ID, of capability.ActivationID) (entitlement.Command, error) {
				if end {
					return entitlement.Unmap{Device: id, ActivationID: of, By: operator()}, nil
				}
				n, err := copies(args[2])
				return entitlement.Map{Device: id, ActivationID: of, Copies: n, By: operator()}, err
			})
		},
	}
	c.Flags().BoolVar(&end, "end", false, "let the machine's own wishes count again")
	return c
}
