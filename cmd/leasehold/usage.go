package main

import (
	"context"
	"encoding/hex"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

type usageResult struct {
	terminal.Data
	Feature string `json:"feature"`
	Total   uint32 `json:"total"` // used by this device in all
	Report  string `json:"report"`
}

func (p *program) reportCommand() *cobra.Command {
	var count int64
	var user string
	c := &cobra.Command{
		Use: "report FEATURE[:VERSION] [--count N]", Short: "Say what was used of a metered feature, or show what was used of this appliance", Args: cobra.ExactArgs(1),
		Long: "Adds to what this device has used of the feature, and prints the ID of the report, with which it can be taken back for a while: leasehold undo ID. " +
			"Where the producer allows that counts are used again, a number below zero gives back.\n\n" +
			"A report that went out and was not answered counts: it is sent again by itself. Then the exit status is that of a server that cannot be reached, and the ID is printed all the same.\n\n" +
			"With the name of a report in place of a feature it shows what was used of the whole appliance. A metered feature that is called like a report is named with its version.",
		Example: "  leasehold report pages --count 12\n  leasehold report slots --count=-1",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := capability.ParseFeature(args[0]); err != nil {
				return terminal.Usage("%q: %w", args[0], err)
			}
			if count == 0 || max(count, -count) > capability.MaxCount {
				return terminal.Usage("--count %d: want a number up to %d, or as far below zero", count, capability.MaxCount)
			}
			return p.with(user, func(sdk *client.Client) error { return p.report(c.Context(), sdk, args[0], count) })
		},
		ValidArgsFunction: p.completeFeature,
	}
	c.AddCommand(p.reportKindCommands()...)
	c.Flags().Int64Var(&count, "count", 1, "how much more was used, `N`")
	c.Flags().StringVar(&user, "user", "", "`name` of the user, as claimed to the appliance")
	return c
}

// with runs f with the SDK's client.
func (p *program) with(user string, f func(*client.Client) error) error {
	c, err := p.open(user)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c.Client)
}

func (p *program) report(ctx context.Context, sdk *client.Client, feature string, count int64) error {
	u, err := sdk.Report(ctx, feature, count)
	if u.ID == (capability.CorrelationID{}) {
		return explained(p, err)
	}
	r := usageResult{terminal.NewData("leasehold.usage/1"), feature, u.Total, hex.EncodeToString(u.ID[:])}
	if p.json {
		if failed := terminal.JSON(p.out, terminal.Hexed(r)); failed != nil {
			return failed
		}
		return err
	}
	p.printf("reported %+d of %s, %d in all by this device\nto take it back: leasehold undo %s\n", count, r.Feature, r.Total, r.Report)
	return err
}

func (p *program) undoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "undo ID", Short: "Take a report of metered usage back", Args: cobra.ExactArgs(1),
		Long: "Takes back what one report counted, while the undo interval of the item runs. Each report can be taken back once, from the device that made it.",
		RunE: func(c *cobra.Command, args []string) error {
			var id capability.CorrelationID
			b, err := hex.DecodeString(args[0])
			if err != nil || len(b) != len(id) {
				return terminal.Usage("%q: want the ID that leasehold report printed, %d hex digits", args[0], 2*len(id))
			}
			copy(id[:], b)
			return p.with("", func(sdk *client.Client) error {
				if err := sdk.Undo(c.Context(), id); err != nil {
					return err
				}
				if p.json {
					return terminal.JSON(p.out, terminal.Hexed(struct {
						terminal.Data
						Report string `json:"report"`
					}{terminal.NewData("leasehold.undo/1"), args[0]}))
				}
				p.printf("taken back\n")
				return nil
			})
		},
	}
}

func (p *program) previewCommand() *cobra.Command {
	var count uint32
	var user string
	c := &cobra.Command{
		Use: "preview FEATURE[:VERSION] [--count N]", Short: "Say what acquire would get, and take nothing", Args: cobra.ExactArgs(1),
		Long: "Asks the appliance what acquire would get now. Nothing changes. The exit status is that of acquire.",
		RunE: func(c *cobra.Command, args []string) error {
			f, err := capability.ParseFeature(args[0])
			if err != nil {
				return terminal.Usage("%q: %w", args[0], err)
			}
			if count == 0 || count > capability.MaxCount {
				return terminal.Usage("--count %d: want a number from 1 to %d", count, capability.MaxCount)
			}
			return p.with(user, func(sdk *client.Client) error {
				if _, err := sdk.Preview(c.Context(), args[0], client.Count(count)); err != nil {
					return explained(p, err)
				}
				if p.json {
					return terminal.JSON(p.out, terminal.Hexed(struct {
						terminal.Data
						Feature string             `json:"feature"`
						Version capability.Version `json:"version"`
						Count   uint32             `json:"count"`
					}{terminal.NewData("leasehold.preview/1"), f.Name, f.Version, count}))
				}
				p.printf("acquire would get %d of %s\n", count, f.Name)
				return nil
			})
		},
		ValidArgsFunction: p.completeFeature,
	}
	c.Flags().Uint32Var(&count, "count", 1, "counts to ask for, `N`")
	c.Flags().StringVar(&user, "user", "", "`name` of the user, as claimed to the appliance")
	return c
}
