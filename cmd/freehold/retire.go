package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// retireData is freehold.retire/1.
type retireData struct {
	terminal.Data
	ActivationID capability.ActivationID `json:"activationId"`
	State        entitlement.State       `json:"state"`
	Unproved     []entitlement.Orphan    `json:"unproved"` // on machines that have not proved that they are gone
}

func retireCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "retire ACTIVATION-ID", Short: "Take a whole activation ID back, from wherever it is",
		Long: "Nothing of it is given any more, and the next response to each machine leaves it out. When each has proved that it is gone, or was written off, the ID is inactive, and another one can take its place: freehold entitle --replaces. " +
			"Where the machines are at hand, return there first: leasehold return proves it at once.\n\n" +
			"Node-locked rights are refused: they leave only the machine that has them.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := capability.ParseActivationID(args[0])
			if err != nil {
				return terminal.Usage("%w", err)
			}
			return f.alter(func(*backoffice.Office) (entitlement.Command, error) {
				return entitlement.Retire{ActivationID: id, By: operator()}, nil
			}, func(o *backoffice.Office) error { return f.printRetired(c.OutOrStdout(), o.Book(), id) })
		},
	}
}

func (f *flags) printRetired(w io.Writer, b *entitlement.Book, id capability.ActivationID) error {
	v, _ := b.Item(id, now())
	data := retireData{terminal.NewData("freehold.retire/1"), id, v.State, []entitlement.Orphan{}}
	for _, o := range b.Orphans() {
		if o.ActivationID == id {
			data.Unproved = append(data.Unproved, o)
		}
	}
	if f.json {
		return printJSON(w, data)
	}
	fmt.Fprintf(w, "%s  %s\n", id, v.State)
	printUnproved(w, data.Unproved)
	return nil
}

// printUnproved warns of machines that may still use what was taken back.
func printUnproved(w io.Writer, list []entitlement.Orphan) {
	if len(list) > 0 {
		fmt.Fprintf(w, "warning      %s without a proof of removal may use it until the next exchange\n", capability.Counted(len(list), "machine"))
	}
	for _, o := range list {
		fmt.Fprintln(w, terminal.Plain(fmt.Sprintf("unproved     %d on %s%s: %s", o.Copies, o.Host.Short(), quoted(o.Alias), orphanWords(&o))))
	}
}
