package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// ordersData is freehold.orders/1.
type ordersData struct {
	terminal.Data
	Orders []orderData `json:"orders"`
}

type orderData struct {
	entitlement.Order
	Standing string `json:"standing"`
}

func rehostCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "rehost", Short: "Move rights from one machine that still answers to another",
		Long: "A planned re-host is an order. The copies are asked back from the first machine, and given to the second once it is proved that they are gone; never are they on both. " +
			"Both requests can be answered in one run of freehold respond, the first machine's before the second's.\n\n" +
			"A machine that answers no more proves nothing: freehold respond --rehost gives what it had to another one, on the word of two persons.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(once(f, rehostOrder(f)), rehostList(f), once(f, rehostEnd(f)))
	return c
}

func rehostOrder(f *flags) *cobra.Command {
	var id string
	var count uint32
	c := &cobra.Command{
		Use: "order FROM TO", Short: "Order a re-host, or all that a device has to another one", Args: cobra.ExactArgs(2),
		Long:    "Without --id all that the first device has goes to the second, one order for each activation ID. TO may be a device that has never asked, named by its whole host ID.",
		Example: "  freehold rehost order \"Mill 3\" \"Mill 4\" --id 7K2QX-... --count 10",
		RunE: func(c *cobra.Command, args []string) error {
			return f.alter(func(o *backoffice.Office) (_ entitlement.Command, err error) {
				order := entitlement.PlanRehost{Copies: count, By: operator()}
				if order.From, err = findDevice(o.Book(), args[0]); err != nil {
					return nil, err
				}
				if order.To, err = findDevice(o.Book(), args[1]); err != nil {
					return nil, err
				}
				if id != "" {
					if order.ActivationID, err = capability.ParseActivationID(id); err != nil {
						return nil, terminal.Usage("--id: %w", err)
					}
				}
				return order, nil
			}, func(o *backoffice.Office) error { return f.printOrders(c.OutOrStdout(), o.Book(), true) })
		},
	}
	c.Flags().StringVar(&id, "id", "", "`activation ID` to move; all of them if absent")
	c.Flags().Uint32Var(&count, "count", 0, "`number` of copies; all of them if absent")
	return c
}

func rehostList(f *flags) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List the orders, and what each waits for", Args: cobra.NoArgs,
		Long: "List shows the orders that are open, with --all those that are done too.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.look(func(o *backoffice.Office) error { return f.printOrders(c.OutOrStdout(), o.Book(), !all) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that are done too")
	return c
}

func rehostEnd(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "end ORDER", Short: "End an order: what is not proved to be gone stays where it is", Args: cobra.ExactArgs(1),
		Long: "What was moved already stays moved.",
		RunE: func(c *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return terminal.Usage("%q is no number of an order: freehold rehost list", args[0])
			}
			return f.alter(func(*backoffice.Office) (entitlement.Command, error) {
				return entitlement.EndOrder{Number: n, By: operator()}, nil
			}, func(o *backoffice.Office) error { return f.printOrders(c.OutOrStdout(), o.Book(), true) })
		},
	}
}

func (f *flags) printOrders(w io.Writer, b *entitlement.Book, open bool) error {
	data := ordersData{terminal.NewData("freehold.orders/1"), []orderData{}}
	for _, o := range b.Orders() {
		if !open || o.Done == 0 && o.Ended == 0 {
			data.Orders = append(data.Orders, orderData{o, o.Standing()})
		}
	}
	if f.json {
		return printJSON(w, data)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORDER\tFROM\tTO\tACTIVATION ID\tCOPIES\tMOVED\tSINCE\tSTANDING")
	for _, o := range data.Orders {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", o.Number, o.From.Short(), o.To.Short(), o.ActivationID, o.Copies, o.Credited, o.Time, o.Standing)
	}
	return t.Flush()
}

func orderWords(o *entitlement.Order) string {
	return fmt.Sprintf("%d: %s of %s from %s to %s, %d moved, %s", o.Number, capability.Counted(o.Copies, "copy"), o.ActivationID, o.From.Short(), o.To.Short(), o.Credited, o.Standing())
}
