package main

import (
	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
)

func writeOffCommand(f *flags) *cobra.Command {
	var reason, approved string
	c := &cobra.Command{
		Use: "writeoff DEVICE ACTIVATION-ID --reason REASON --approved-by NAME", Short: "Credit what a machine has without proof, on the word of two persons",
		Long: "For a machine that proves nothing any more. Its copies of the activation ID are credited, it is revoked, and no response of before is handed out to it again. If it ever asks, it hears so; " +
			"its proof, if it comes, closes the matter and credits nothing a second time. The policy says how many machines of one activation ID may be written off in 365 days.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return f.steer(c.OutOrStdout(), args, func(_ *entitlement.Book, id hostid.ID, of capability.ActivationID) (entitlement.Command, error) {
				return entitlement.WriteOff{Host: id, ActivationID: of, Reason: reason, Approved: approved, By: operator()}, nil
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`reason`, for the record")
	c.Flags().StringVar(&approved, "approved-by", "", "`name` of a second person who stands for it")
	return c
}
