package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// itemsData is freehold.items/1.
type itemsData struct {
	terminal.Data
	Items []entitlement.ItemView `json:"items"`
	More  bool                   `json:"more,omitempty"` // after the last of them
}

func itemCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "item", Short: "Change line items: suspend, renew, split, merge, archive",
		Long: "A line item is what entitle made, named by its activation ID. What is done with it touches no machine: what machines have they keep until it ends or comes back.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(itemList(f))
	for _, v := range []struct{ do, short, long string }{
		{"deploy", "Put a draft into use", "Of a draft, which entitle --draft makes, nobody is given anything. From now on machines can ask for it."},
		{"resume", "End a suspension", "The line item is what it was before it was suspended."},
		{"archive", "Put a line item away for good", "What is inactive, or has expired and is over its grace, becomes obsolete, which is final. No response has it any more."},
	} {
		c.AddCommand(once(f, itemVerb(f, v.do, v.short, v.long)))
	}
	c.AddCommand(once(f, itemSuspend(f)), once(f, itemRenew(f)), once(f, itemSplit(f)), once(f, itemMerge(f)),
		once(f, itemCount(f, "quantity", entitlement.SetCopies, "Change how many copies are entitled",
			"With less than are in use, the overage is shown, and nothing more of the line item is given until it has ended: by returns, or by the expiry of what machines have.")),
		once(f, itemCount(f, "extra", entitlement.SetExtra, "Allow copies beyond those entitled",
			"Extra copies are given like others. The license model says how many may be allowed, in all or in a span of time; without a word from it there are none. A lower number needs no allowance.")))
	return c
}

// did has something done with the line item that the first argument names, and shows it.
func (f *flags) did(w io.Writer, name string, change entitlement.ItemChange) error {
	id, err := capability.ParseActivationID(name)
	if err != nil {
		return terminal.Usage("%w", err)
	}
	change.ActivationID = id
	return f.alter(func(*backoffice.Office) (entitlement.Command, error) {
		return entitlement.ChangeItem{Change: change, By: operator()}, nil
	}, func(o *backoffice.Office) error { return f.showOne(w, o, string(id)) })
}

func itemVerb(f *flags, do, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: do + " ACTIVATION-ID", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			what := map[string]entitlement.Alter{"deploy": entitlement.Deploy, "resume": entitlement.Resume, "archive": entitlement.Archive}[do]
			return f.did(c.OutOrStdout(), args[0], entitlement.ItemChange{Do: what})
		},
	}
}

func itemSuspend(f *flags) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "suspend ACTIVATION-ID", Short: "Give nothing more of a line item for a while", Args: cobra.ExactArgs(1),
		Long: "Nothing new is given until it is resumed. What machines have runs on until it ends.",
		RunE: func(c *cobra.Command, args []string) error {
			return f.did(c.OutOrStdout(), args[0], entitlement.ItemChange{Do: entitlement.Suspend, Reason: reason})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`words` for the record")
	return c
}

func itemRenew(f *flags) *cobra.Command {
	var expires string
	var permanent bool
	c := &cobra.Command{
		Use: "renew ACTIVATION-ID {--expires DATE | --permanent}", Short: "Let a line item expire later", Args: cobra.ExactArgs(1),
		Long: "The new date is later than the old one and than today. Machines have it with their next response.",
		RunE: func(c *cobra.Command, args []string) error {
			if (expires == "") == !permanent {
				return terminal.Usage("say until when, with --expires or with --permanent")
			}
			until, err := date("expires", expires, true)
			if err != nil {
				return err
			}
			return f.did(c.OutOrStdout(), args[0], entitlement.ItemChange{Do: entitlement.Renew, Expiry: until})
		},
	}
	c.Flags().StringVar(&expires, "expires", "", "last `date` on which the rights can be used, as 2027-03-31")
	c.Flags().BoolVar(&permanent, "permanent", false, "they never expire")
	return c
}

func itemSplit(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "split ACTIVATION-ID COPIES", Short: "Take copies into a line item of their own, and get its activation ID", Args: cobra.ExactArgs(2),
		Long: "The copies come of what is left. Where not so many are left, the machines that have the others are named: there they have to be returned first.",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := capability.ParseActivationID(args[0])
			if err != nil {
				return terminal.Usage("%w", err)
			}
			n, err := copies(args[1])
			if err != nil {
				return err
			}
			return f.look(func(o *backoffice.Office) error {
				v, err := o.Split(id, n, operator(), now())
				if err != nil {
					return f.said(err)
				}
				return f.printNew(c.OutOrStdout(), v)
			})
		},
	}
}

func itemMerge(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "merge ACTIVATION-ID INTO", Short: "Make one line item of two that differ in nothing but their number", Args: cobra.ExactArgs(2),
		Long: "What is left goes over at once, and what machines have of the first one when it comes back. Customer, product, license model, features and dates must be the same.",
		RunE: func(c *cobra.Command, args []string) error {
			into, err := capability.ParseActivationID(args[1])
			if err != nil {
				return terminal.Usage("%w", err)
			}
			return f.did(c.OutOrStdout(), args[0], entitlement.ItemChange{Do: entitlement.Merge, To: into})
		},
	}
}

func itemCount(f *flags, verb string, do entitlement.Alter, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ACTIVATION-ID COPIES", Short: short, Long: long, Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := copies(args[1])
			if err != nil {
				return err
			}
			return f.did(c.OutOrStdout(), args[0], entitlement.ItemChange{Do: do, Copies: n})
		},
	}
}

// copies reads a number of copies.
func copies(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > capability.MaxCount {
		return 0, terminal.Usage("%q is not a number of copies: want 0 to %d", s, capability.MaxCount)
	}
	return uint32(n), nil
}

func itemList(f *flags) *cobra.Command {
	var (
		filter entitlement.ItemFilter
		state  string
		page   pageFlags
	)
	c := &cobra.Command{
		Use: "list", Short: "Show line items", Args: cobra.NoArgs,
		Long: "List shows the line items with what became of them, of one account and those below it if one is named, a page at a time.",
		RunE: func(c *cobra.Command, _ []string) error {
			filter.State = entitlement.State(state)
			var after capability.ActivationID
			if page.after != "" {
				id, err := capability.ParseActivationID(page.after)
				if err != nil {
					return terminal.Usage("--after: %w", err)
				}
				after = id
			}
			return f.look(func(o *backoffice.Office) error {
				items, more := o.Book().ItemPage(now(), filter, after, page.size())
				data := itemsData{terminal.NewData("freehold.items/1"), items, more}
				if f.json {
					return printJSON(c.OutOrStdout(), data)
				}
				t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				itemRows(t, data.Items)
				if more {
					fmt.Fprintf(t, "more: freehold item list --after %s\n", items[len(items)-1].ActivationID)
				}
				return t.Flush()
			})
		},
	}
	c.Flags().StringVar(&filter.Within, "account", "", "only those of this `account` and of accounts below it")
	c.Flags().StringVar(&filter.Product, "product", "", "only those of this `product`")
	c.Flags().StringVar(&filter.EntitlementID, "entitlement", "", "only those of the entitlement of this `ID`")
	c.Flags().StringVar(&state, "state", "", "only those in this `state`, as available or expired")
	page.add(c, "line item")
	return c
}

// pageFlags say which page of a list is shown.
type pageFlags struct {
	limit int
	after string
}

func (p *pageFlags) add(c *cobra.Command, what string) {
	c.Flags().IntVar(&p.limit, "limit", 100, "most `lines` of a page; 0 for all")
	c.Flags().StringVar(&p.after, "after", "", "the page after the "+what+" of this `ID`")
}

func (p *pageFlags) size() int {
	if p.limit <= 0 {
		return math.MaxInt
	}
	return p.limit
}

func itemRows(w io.Writer, items []entitlement.ItemView) {
	fmt.Fprintln(w, "ACTIVATION ID\tCUSTOMER\tPRODUCT\tMODEL\tCOPIES\tUSED\tLEFT\tSTATE\tEXPIRES")
	for _, v := range items {
		state := string(v.State)
		if v.Over > 0 {
			state += fmt.Sprintf(", %d over", v.Over)
		}
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\t%d\t%d\t%d\t%s\t%s\n", v.ActivationID, terminal.Plain(v.Customer), terminal.Plain(v.Product), v.ProductVersion, terminal.Plain(v.Model), v.Copies, v.Used, v.Left, state, until(v.Expiry))
	}
}

// printLife shows what was done with a line item.
func printLife(w io.Writer, v *entitlement.ItemView) {
	l := v.Life
	if v.Model != "" {
		fmt.Fprintf(w, "model        %s\n", terminal.Plain(v.Model))
	}
	if v.Over > 0 {
		fmt.Fprintf(w, "overage      %d more are in use than entitled; nothing more is given meanwhile\n", v.Over)
	}
	if l.Extra > 0 {
		fmt.Fprintf(w, "extra        %s beyond those entitled\n", capability.Counted(l.Extra, "copy"))
	}
	if l.Gone > 0 {
		fmt.Fprintf(w, "gone         %s returned and not credited\n", capability.Counted(l.Gone, "copy"))
	}
	if l.Suspended != 0 {
		fmt.Fprintf(w, "suspended    %s: %s\n", l.Suspended, terminal.Plain(l.Reason))
	}
	if l.MergedTo != "" {
		fmt.Fprintf(w, "merged       into %s\n", l.MergedTo)
	}
	if l.SplitFrom != "" {
		fmt.Fprintf(w, "split        from %s\n", l.SplitFrom)
	}
	for _, a := range v.Acts {
		fmt.Fprintf(w, "counted      %s: %d\n", a.Act, a.Total)
	}
}
