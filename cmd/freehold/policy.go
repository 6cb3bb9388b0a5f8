package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// policyData is freehold.policy/1.
type policyData struct {
	terminal.Data
	Policy entitlement.Policy `json:"policy"`
}

func policyCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Short: "Show or change what holds for all machines",
		Long: "The policy is set by init; what machines are told of it they have with their next response.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(once(f, policySet(f)))
	return c
}

func policySet(f *flags) *cobra.Command {
	var client, server string
	var excluded []string
	var writeOffs int
	var detail bool
	var online, records, holders string
	c := &cobra.Command{
		Use: "set", Short: "Say which types of host IDs are for machines, how usage is told, and how often is written off", Args: cobra.NoArgs,
		Long: "Set changes what the flags name.\n\nA machine that is known by a host ID of an excluded type is given nothing more; what it has it keeps.\n\n" +
			"With --usage-detail the records of usage name users as well, on machines whose administrator allows it there: leasehold policies set usage-detail true. Otherwise they name nobody.\n\n" +
			"With --usage-records states a machine tells how each day stands, in place of what it said of that day before, and keeps one record of it; with history each request ends a record, so that what was used between two requests can be told. " +
			"Reports have the same sums either way. Machines change over with their next response.",
		Example: "  freehold policy set --exclude-host-type DEVICE_KEY\n  freehold policy set --exclude-host-type \"\"",
		RunE: func(c *cobra.Command, _ []string) error {
			types, err := hostTypes("exclude-host-type", excluded)
			if err != nil {
				return err
			}
			var defaults [2]entitlement.HostType
			for n, d := range []struct{ flag, name string }{{"client-type", client}, {"server-type", server}} {
				if d.name == "" {
					continue
				}
				t, err := hostTypes(d.flag, []string{d.name})
				if err != nil {
					return err
				}
				defaults[n] = t[0]
			}
			return f.alter(func(o *backoffice.Office) (_ entitlement.Command, err error) {
				p := o.Book().Policy()
				if c.Flags().Changed("exclude-host-type") {
					p.Excluded = types
				}
				if c.Flags().Changed("client-type") {
					p.ClientType = defaults[0]
				}
				if c.Flags().Changed("server-type") {
					p.ServerType = defaults[1]
				}
				if c.Flags().Changed("online") {
					if p.Online, err = entitlement.ParseOnlinePolicy(online); err != nil {
						return nil, terminal.Usage("--online: %w", err)
					}
				}
				if c.Flags().Changed("holders") {
					if p.Holders, err = capability.ParseHolderPolicy(holders); err != nil {
						return nil, terminal.Usage("--holders: %w", err)
					}
				}
				if c.Flags().Changed("usage-detail") {
					p.Detail = detail
				}
				if c.Flags().Changed("usage-records") {
					if p.States, err = statesOf(records); err != nil {
						return nil, err
					}
				}
				if c.Flags().Changed("write-offs") {
					p.WriteOffs = entitlement.LimitRepairs(writeOffs)
				}
				if err := p.Validate(); err != nil {
					return nil, terminal.Usage("%w", err)
				}
				return entitlement.SetPolicy{Policy: p, By: operator()}, nil
			}, func(o *backoffice.Office) error {
				p := o.Book().Policy()
				if f.json {
					return printJSON(c.OutOrStdout(), policyData{terminal.NewData("freehold.policy/1"), p})
				}
				for _, t := range p.Excluded {
					fmt.Fprintf(c.OutOrStdout(), "excluded     %s\n", t)
				}
				for _, d := range []struct {
					of string
					is entitlement.HostType
				}{{"client", p.ClientType}, {"server", p.ServerType}} {
					if d.is != 0 {
						fmt.Fprintf(c.OutOrStdout(), "%s       %s\n", d.of, d.is)
					}
				}
				if p.Online != entitlement.NothingOnline {
					fmt.Fprintf(c.OutOrStdout(), "online       %s machines are answered\n", p.Online)
				}
				if p.Holders != capability.HoldersCount {
					fmt.Fprintf(c.OutOrStdout(), "holders      by their %s, to who waits for a seat\n", p.Holders)
				}
				if p.Detail {
					fmt.Fprintln(c.OutOrStdout(), "usage        names users, where the site allows it")
				}
				if p.States {
					fmt.Fprintln(c.OutOrStdout(), "records      of whole days, and of the day that runs how it stands")
				}
				return nil
			})
		},
	}
	c.Flags().StringSliceVar(&excluded, "exclude-host-type", nil, "`types` of host IDs, as DEVICE_KEY, whose machines are given nothing; empty: none")
	c.Flags().StringVar(&holders, "holders", capability.HoldersCount.String(), "`how` those who have the seats are shown to other users: count, initials, names; administrators always see names")
	c.Flags().BoolVar(&detail, "usage-detail", false, "have records of usage name users, where the site allows it")
	c.Flags().StringVar(&records, "usage-records", "history", "`how` machines tell what they use: history (a record up to each request), states (a record a day, and how the day stands)")
	c.Flags().StringVar(&online, "online", "off", "`whose` requests freehold serve answers over the network without an operator: off, known (machines on record), all (also a first request, with an activation ID)")
	c.Flags().IntVar(&writeOffs, "write-offs", entitlement.DefaultWriteOffs, "`number` of machines of one activation ID that may be written off in 365 days")
	c.Flags().StringVar(&client, "client-type", "", "`type` of host ID of a client that is put on record by hand, where nobody says another")
	c.Flags().StringVar(&server, "server-type", "", "the same of a server, a `type` of host ID")
	return c
}

// statesOf reads how machines shall tell what they use.
func statesOf(how string) (bool, error) {
	if how != "history" && how != "states" {
		return false, terminal.Usage("--usage-records %s: want history or states", terminal.Plain(how))
	}
	return how == "states", nil
}
