package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func (p *program) reservationsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "reservations", Short: "Counts that belong to one device or one user", Args: cobra.NoArgs,
		Long: "A reservation entry keeps a count of a feature for one host ID, or for one user. Entries are in groups, and each level has an ID by which it can be deleted: " +
			"an entry, all that a host has in a group, or the group.\n\nThere are reservations or a model, never both.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.reservationsList(), p.reservationsAdd(), p.reservationsEdit(), p.reservationsDelete(), p.reservationsImport(), p.reservationsExport())
	return c
}

func (p *program) reservationsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all entries with what they have", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.askReservations(c, http.MethodGet, "reservations", nil)
		},
	}
}

// askReservations prints the entries that the daemon answers with: all of them, after whatever was asked.
func (p *program) askReservations(c *cobra.Command, method, path string, in any) error {
	rows := []console.Reserved{}
	if err := p.call(c.Context(), method, path, in, &rows); err != nil {
		return err
	}
	var notes []string
	for _, r := range rows {
		if r.Status == "unsatisfied" {
			notes = append(notes, fmt.Sprintf("entry %d asks for more than there is, and has nothing", r.ID))
		}
	}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			Reservations []console.Reserved `json:"reservations"`
		}{terminal.NewData("leasehold.reservations/1", notes...), rows}))
	}
	if len(rows) == 0 {
		p.say("Nothing is reserved.\n")
		return nil
	}
	if err := p.table("ID\tGROUP\tRESERVATION\tFOR\tFEATURE\tVERSION\tCOUNT\tHAS\tUSED\tSTATUS", len(rows), func(i int) string {
		r := rows[i]
		return fmt.Sprintf("%d\t%s (%d)\t%d\t%s/%s\t%s\t%s\t%d\t%d\t%d\t%s", r.ID, r.Group, r.GroupID, r.Reservation, r.Host.Value, r.Host.Type, r.Feature, r.Version, r.Count, r.Has, r.Used, r.Status)
	}); err != nil {
		return err
	}
	for _, n := range notes {
		p.say("warning: %s\n", n)
	}
	return nil
}

func (p *program) reservationsAdd() *cobra.Command {
	var group, host, user string
	c := &cobra.Command{
		Use: "add FEATURE[:VERSION] COUNT (--host ID | --user NAME)", Short: "Reserve a count for a device or a user", Args: cobra.ExactArgs(2),
		Example: "  leasehold reservations add render:2026.1 2 --host 001122334455/ETHERNET --group workstations",
		RunE: func(c *cobra.Command, args []string) error {
			f, err := capability.ParseFeature(args[0])
			if err != nil {
				return terminal.Usage("%w", err)
			}
			count, err := parseCount(args[1])
			if err != nil {
				return err
			}
			owner, err := parseOwner(host, user)
			if err != nil {
				return err
			}
			return p.askReservations(c, http.MethodPost, "reservations", console.Reserved{
				Group: group, Host: owner, Feature: f.Name, Version: f.Version, Count: count,
			})
		},
		ValidArgsFunction: p.completeFeature,
	}
	c.Flags().StringVar(&group, "group", "reservations", "`name` of the group; a new one is made")
	c.Flags().StringVar(&host, "host", "", "the host `ID` it is for, as VALUE/TYPE")
	c.Flags().StringVar(&user, "user", "", "the `name` of the user it is for")
	c.MarkFlagsMutuallyExclusive("host", "user")
	c.MarkFlagsOneRequired("host", "user")
	return c
}

func parseCount(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || err == nil && n == 0 {
		return 0, terminal.Usage("%q is not a count: want a whole number from 1", s)
	}
	if err != nil || n > capability.MaxCount {
		return 0, terminal.Usage("count %s where 1 to %d is allowed", s, capability.MaxCount)
	}
	return uint32(n), nil
}

func parseID(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, terminal.Usage("%q is not an ID: want a number, as leasehold reservations list shows it", s)
	}
	return n, nil
}

func (p *program) reservationsEdit() *cobra.Command {
	var group, feature, version, host, user string
	c := &cobra.Command{
		Use: "edit ID [COUNT]", Short: "Change an entry in place, whom a reservation is for, or the name of a group", Args: cobra.RangeArgs(1, 2),
		Long: "An entry can have another count, feature, version, owner and group; all that a host has in a group another owner and group; a group another name.\n\n" +
			"With another count an entry stays what it was. With another owner, feature or version it is a new one: it has a new ID, and is the first to lose its counts when there are fewer.",
		Example: "  leasehold reservations edit 5 4\n  leasehold reservations edit 5 --version 2027.1\n  leasehold reservations edit 2 --host 001122334455/ETHERNET\n  leasehold reservations edit 1 --group workshop",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			edit := console.ReservedEdit{ID: id}
			if len(args) > 1 {
				count, err := parseCount(args[1])
				if err != nil {
					return err
				}
				edit.Count = &count
			}
			given := c.Flags().Changed
			if given("group") {
				edit.Group = &group
			}
			if given("feature") {
				edit.Feature = &feature
			}
			if given("version") {
				v, err := capability.ParseVersion(version)
				if err != nil {
					return terminal.Usage("--version: %w", err)
				}
				edit.Version = &v
			}
			if given("host") || given("user") {
				owner, err := parseOwner(host, user)
				if err != nil {
					return err
				}
				edit.Host = &owner
			}
			if edit == (console.ReservedEdit{ID: id}) {
				return terminal.Usage("what shall be different of %d? A count, or one of --group, --feature, --version, --host and --user", id)
			}
			return p.askReservations(c, http.MethodPost, "reservations/edit", edit)
		},
	}
	c.Flags().StringVar(&group, "group", "", "another `name` of a group; an entry or a reservation goes to the group of that name")
	c.Flags().StringVar(&feature, "feature", "", "another `name` of the feature")
	c.Flags().StringVar(&version, "version", "", "another `version`, as 2026.1")
	c.Flags().StringVar(&host, "host", "", "another host `ID` it is for, as VALUE/TYPE")
	c.Flags().StringVar(&user, "user", "", "another `name` of the user it is for")
	c.MarkFlagsMutuallyExclusive("host", "user")
	return c
}

// parseOwner is the host ID, or the user where none is given.
func parseOwner(host, user string) (console.Host, error) {
	id := hostid.ID{Type: hostid.User, Value: user}
	err := id.Validate()
	if host != "" {
		id, err = hostid.Parse(host)
	}
	if err != nil {
		return console.Host{}, terminal.Usage("%w", err)
	}
	return console.HostOf(id), nil
}

func (p *program) reservationsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete an entry, all that a host has in a group, or a group", Args: cobra.ExactArgs(1),
		Long: "What is free goes back to the default pool at once, and what is leased when the leases end.",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return p.askReservations(c, http.MethodDelete, fmt.Sprintf("reservations/%d", id), nil)
		},
	}
}

func (p *program) reservationsImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Replace all reservations by those of a file", Args: cobra.ExactArgs(1),
		Long:    "The file is what leasehold reservations export writes: an object with a list \"reservations\" of group, hostId, feature, version and count, as in a scenario. All of it is taken, or nothing.",
		Example: "  leasehold reservations export >reservations.json\n  leasehold reservations import reservations.json",
		RunE: func(c *cobra.Command, args []string) error {
			rows, err := readReservations(args[0])
			if err != nil {
				return err
			}
			return p.askReservations(c, http.MethodPut, "reservations", rows)
		},
	}
}

func readReservations(path string) ([]console.Reserved, error) {
	b, err := terminal.ReadFile(path, capability.MaxFile)
	var v value
	if err == nil {
		v, err = readJSON(b)
	}
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, terminal.Coded(capability.ErrFileRead, err)
	case err != nil:
		return nil, terminal.Coded(capability.ErrImport, fmt.Errorf("%s: %w", path, err))
	}
	var f form
	rows := f.reservations(f.object(v, "schema", "warnings", "reservations")["reservations"])
	if f.err != nil {
		return nil, terminal.Coded(capability.ErrImport, fmt.Errorf("%s: %w", path, f.err))
	}
	return rows, nil
}

func (p *program) reservationsExport() *cobra.Command {
	var asModel bool
	c := &cobra.Command{
		Use: "export", Short: "Write all reservations as JSON, or as a model that does the same", Args: cobra.NoArgs,
		Long: "Writes what leasehold reservations import reads. With --model it writes a model with a pool for each entry, and says in comments where the two differ: an entry that is not satisfied is a comment itself.",
		RunE: func(c *cobra.Command, _ []string) error {
			if asModel {
				var m console.Model
				if err := p.call(c.Context(), http.MethodGet, "reservations/model", nil, &m); err != nil {
					return err
				}
				if p.json {
					return p.printModel("leasehold.model/1", m)
				}
				p.printf("%s", m.Text)
				return nil
			}
			rows := []console.Reserved{}
			if err := p.call(c.Context(), http.MethodGet, "reservations", nil, &rows); err != nil {
				return err
			}
			for i, r := range rows {
				rows[i] = console.Reserved{Group: r.Group, Host: r.Host, Feature: r.Feature, Version: r.Version, Count: r.Count}
			}
			return terminal.JSON(p.out, struct {
				terminal.Data
				Reservations []console.Reserved `json:"reservations"`
			}{terminal.NewData("leasehold.reservations-export/1"), rows})
		},
	}
	c.Flags().BoolVar(&asModel, "model", false, "write a model")
	return c
}
