package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// accountData is freehold.account/1: accounts, and with one that was named what belongs to it and to what is below it.
type accountData struct {
	terminal.Data
	Accounts []entitlement.Account  `json:"accounts"`
	Items    []entitlement.ItemView `json:"items,omitempty"`
	Hosts    []hostSummary          `json:"hosts,omitempty"`
}

func accountCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "account", Short: "Keep customers' accounts, and what is a part of what",
		Long: "An account is a customer, and may be a part of another one, as a site is of a company. A line item names its account. A machine belongs to the account of the first activation ID that it is given; " +
			"from then on it is given no ID of an account that is neither the same, nor above, nor below. An account that was never set has no parent.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(once(f, accountSet(f)), accountList(f), accountShow(f))
	return c
}

func accountSet(f *flags) *cobra.Command {
	var said entitlement.Account
	c := &cobra.Command{
		Use: "set NAME", Short: "Make an account, or change what is said of it",
		Long:    "Set makes the account, or changes what the flags name and leaves the rest. An account is a part of at most one other, in a line of at most 8.",
		Example: "  freehold account set \"ACME Works\" --contact licenses@acme.example\n  freehold account set \"ACME Lyon\" --parent \"ACME Works\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.alter(func(o *backoffice.Office) (entitlement.Command, error) {
				a := o.Book().Account(args[0])
				if c.Flags().Changed("parent") {
					a.Parent = said.Parent
				}
				if c.Flags().Changed("contact") {
					a.Contact = said.Contact
				}
				if c.Flags().Changed("keeps-online") {
					a.KeepsOnline = said.KeepsOnline
				}
				return entitlement.SetAccount{Account: a, By: operator()}, nil
			}, func(o *backoffice.Office) error {
				return f.printAccounts(c.OutOrStdout(), accountData{Data: terminal.NewData("freehold.account/1"), Accounts: []entitlement.Account{o.Book().Account(args[0])}})
			})
		},
	}
	c.Flags().StringVar(&said.Parent, "parent", "", "`account` that it is a part of; empty: of none")
	c.Flags().StringVar(&said.Contact, "contact", "", "a `person` to write to")
	c.Flags().BoolVar(&said.KeepsOnline, "keeps-online", false, "its licenses may not be converted to their offline form")
	return c
}

func accountList(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the accounts", Args: cobra.NoArgs,
		Long: "List shows the accounts that were set, in the order they were made.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.look(func(o *backoffice.Office) error {
				return f.printAccounts(c.OutOrStdout(), accountData{Data: terminal.NewData("freehold.account/1"), Accounts: o.Book().Accounts()})
			})
		},
	}
}

func accountShow(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show an account with its line items and machines", Args: cobra.ExactArgs(1),
		Long: "Show lists the line items and the machines of the account and of all accounts below it.",
		RunE: func(c *cobra.Command, args []string) error {
			return f.look(func(o *backoffice.Office) error {
				b := o.Book()
				data := accountData{Data: terminal.NewData("freehold.account/1"), Accounts: []entitlement.Account{b.Account(args[0])}, Items: itemsWithin(b, args[0])}
				for _, h := range b.Hosts() {
					if h.Account != "" && b.Within(h.Account, args[0]) {
						data.Hosts = append(data.Hosts, summary(&h))
					}
				}
				return f.printAccounts(c.OutOrStdout(), data)
			})
		},
	}
}

// itemsWithin are the items of an account and of those below it; of all, if none is named.
func itemsWithin(b *entitlement.Book, account string) []entitlement.ItemView {
	items, _ := b.ItemPage(now(), entitlement.ItemFilter{Within: account}, "", math.MaxInt)
	return items
}

func (f *flags) printAccounts(w io.Writer, data accountData) error {
	if f.json {
		return printJSON(w, data)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, a := range data.Accounts {
		part, form := "", ""
		if a.Parent != "" {
			part = "part of " + terminal.Plain(a.Parent)
		}
		if a.KeepsOnline {
			form = "online only"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", terminal.Plain(a.Name), part, terminal.Plain(a.Contact), form)
	}
	if len(data.Items) > 0 {
		fmt.Fprintln(t)
		itemRows(t, data.Items)
	}
	if len(data.Hosts) > 0 {
		fmt.Fprintln(t, "\nHOST\tALIAS\tTIER")
	}
	for _, h := range data.Hosts {
		fmt.Fprintf(t, "%s\t%s\t%s\n", short(h.Host), terminal.Plain(h.Alias), h.Tier)
	}
	return t.Flush()
}

// look opens the back office to read.
func (f *flags) look(then func(o *backoffice.Office) error) error {
	o, err := f.open()
	if err != nil {
		return err
	}
	defer o.Close()
	return then(o)
}

// alter opens the back office, has it do what command makes of it, and tells the outcome with then. What was said wrong is an error of usage.
func (f *flags) alter(command func(o *backoffice.Office) (entitlement.Command, error), then func(o *backoffice.Office) error) error {
	return f.look(func(o *backoffice.Office) error {
		c, err := command(o)
		if err != nil {
			return err
		}
		if err := f.said(o.Do(c, now())); err != nil {
			return err
		}
		return then(o)
	})
}

// said tells what was said wrong from what is wrong with the book.
func (f *flags) said(err error) error {
	if errors.Is(err, entitlement.ErrItem) || errors.Is(err, entitlement.ErrDevice) || errors.Is(err, entitlement.ErrCatalog) || errors.Is(err, entitlement.ErrUser) || errors.Is(err, entitlement.ErrGroup) || errors.Is(err, entitlement.ErrLogin) {
		return terminal.Usage("%w", err)
	}
	return f.coded(err)
}
