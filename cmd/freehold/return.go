package main

import (
	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func returnCommand(f *flags) *cobra.Command {
	var count uint32
	c := &cobra.Command{
		Use: "return DEVICE ACTIVATION-ID [--count COPIES]", Short: "Ask copies back from a device",
		Long: "The next response leaves them out. They are credited when a later request of the device shows that it applied that response and that nothing is lent of them any more; " +
			"freehold device show says what is waited for. Whoever has the machine at hand returns there, which proves it at once: leasehold return. " +
			"Node-locked rights come back only so.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return f.steer(c.OutOrStdout(), args, func(b *entitlement.Book, id hostid.ID, of capability.ActivationID) (entitlement.Command, error) {
				v, _ := b.DeviceOf(id)
				for _, r := range v.Rights {
					shall := r.Held
					if r.Mapped != nil {
						shall = min(shall, *r.Mapped)
					}
					if r.ActivationID != of || shall == 0 {
						continue
					}
					if count > shall {
						return nil, terminal.Usage("--count %d: it has %d that are not asked back", count, shall)
					}
					if count == 0 {
						return entitlement.Map{Device: id, ActivationID: of, By: operator()}, nil
					}
					return entitlement.Map{Device: id, ActivationID: of, Copies: shall - count, By: operator()}, nil
				}
				return nil, capability.Refuse(capability.ErrNothingToReturn, string(of), "%s has none that are not asked back", id.Short())
			})
		},
	}
	c.Flags().Uint32Var(&count, "count", 0, "`number` of copies; all of them if absent")
	return c
}
