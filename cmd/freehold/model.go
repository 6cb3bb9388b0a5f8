package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// modelData is freehold.model/1.
type modelData struct {
	terminal.Data
	Models []entitlement.LicenseModel `json:"models"`
}

func modelCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "model", Short: "Keep license models: how copies may be used",
		Long: "A license model says how the copies of a line item may be used: floating, node-locked or by fixed users, metered or leased, on which machines, how often they may be returned or moved. " +
			"It is a draft, is deployed and then does not change any more, becomes inactive (no machine is given more under it) and obsolete. A line item without a model allows everything and adds nothing.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(once(f, modelSet(f)), modelList(f))
	for _, v := range []struct {
		verb, short, long string
		to                entitlement.ModelState
	}{
		{"deploy", "Put a license model into use", "From now on line items can have the model, and nothing of it but its state changes any more.", entitlement.ModelDeployed},
		{"end", "Make a license model inactive", "No line item can be made with the model, and no machine is given more of those that have it. What machines have they keep.", entitlement.ModelInactive},
		{"obsolete", "Make a license model obsolete", "The same as inactive, and list shows the model only with --all.", entitlement.ModelObsolete},
	} {
		c.AddCommand(once(f, &cobra.Command{
			Use: v.verb + " NAME", Short: v.short, Long: v.long, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return f.moveModel(c.OutOrStdout(), args[0], v.to)
			},
		}))
	}
	return c
}

// moveModel moves a license model to another state.
func (f *flags) moveModel(w io.Writer, name string, to entitlement.ModelState) error {
	return f.alter(func(o *backoffice.Office) (entitlement.Command, error) {
		m, err := findModel(o.Book(), name)
		if err != nil {
			return nil, err
		}
		m.State = to
		return entitlement.SetModel{Model: m, By: operator()}, nil
	}, func(o *backoffice.Office) error { return f.printModel(w, o, name) })
}

func (f *flags) printModel(w io.Writer, o *backoffice.Office, name string) error {
	m, err := findModel(o.Book(), name)
	if err != nil {
		return err
	}
	return f.printModels(w, []entitlement.LicenseModel{m})
}

func findModel(b *entitlement.Book, name string) (entitlement.LicenseModel, error) {
	m, ok := b.Model(name)
	if !ok {
		return m, capability.Refuse(capability.ErrNotFound, name, "it is no license model on record; freehold model list --all shows them")
	}
	return m, nil
}

func modelSet(f *flags) *cobra.Command {
	var (
		said                      entitlement.LicenseModel
		kind, tier, aggregation   string
		limits, types             []string
		undo, borrow, tolerance   time.Duration
		overdraft, renew          uint8
		grace                     uint16
		noVirtual, whole, forfeit bool
	)
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a license model, or change a draft of one", Args: cobra.ExactArgs(1),
		Long: "Set makes a draft with what the flags say, or puts it in the place of the draft of this name; with model deploy it comes into use.\n\n" +
			"A limit says how often something may be done with one line item, for good or in a span of time: rehost, return, repair, and extra, which are copies beyond those entitled. Without a limit there is none, but of extra copies there are none without one.",
		Example: "  freehold model set Team --kind floating --overdraft 10 --grace 14 --limit return:4:365d --limit rehost:2:365d --no-virtual",
		RunE: func(c *cobra.Command, args []string) (err error) {
			m := said
			m.Name, m.Overdraft, m.Renew, m.GraceDays, m.NoVirtual, m.NoPartial, m.NoCredit = args[0], overdraft, renew, grace, noVirtual, whole, forfeit
			if m.Kind, err = entitlement.ParseKind(kind); err != nil {
				return terminal.Usage("--kind: %w", err)
			}
			if m.Aggregation, err = entitlement.ParseAggregation(aggregation); err != nil {
				return terminal.Usage("--aggregation: %w", err)
			}
			if tier != "" {
				if m.MinimumTier, err = entitlement.ParseTier(tier); err != nil {
					return terminal.Usage("--minimum-tier: %w", err)
				}
			}
			if m.HostTypes, err = hostTypes("host-type", types); err != nil {
				return err
			}
			for _, s := range limits {
				l, err := entitlement.ParseActLimit(s)
				if err != nil {
					return terminal.Usage("--limit: %w", err)
				}
				m.Limits = append(m.Limits, l)
			}
			for _, d := range []struct {
				flag string
				from time.Duration
				to   *capability.Seconds
			}{{"undo", undo, &m.UndoInterval}, {"borrow", borrow, &m.Borrow}, {"tolerance", tolerance, &m.Tolerance}} {
				if d.from != d.from.Truncate(time.Second) || d.from < 0 {
					return terminal.Usage("--%s %s: want whole seconds", d.flag, d.from)
				}
				*d.to = capability.Seconds(d.from / time.Second)
			}
			return f.alter(func(*backoffice.Office) (entitlement.Command, error) {
				return entitlement.SetModel{Model: m, By: operator()}, nil
			}, func(o *backoffice.Office) error { return f.printModel(c.OutOrStdout(), o, m.Name) })
		},
	}
	c.Flags().StringVar(&kind, "kind", entitlement.Floating.String(), "what a copy is tied to: `floating`, node-locked or fixed-user")
	c.Flags().BoolVar(&said.Metered, "metered", false, "counts are used up, not leased")
	c.Flags().BoolVar(&said.Reusable, "reusable", false, "metered counts may go down again")
	c.Flags().DurationVar(&undo, "undo", 0, "`time` in which a device can take a metered report back, as 10m")
	c.Flags().Uint8Var(&overdraft, "overdraft", 0, "`percent` of the counts that each machine may serve above them")
	c.Flags().Uint16Var(&grace, "grace", 0, "`days` that rights go on after the line item has expired")
	c.Flags().DurationVar(&borrow, "borrow", 0, "longest lease, a `time` as 72h; the policy's if absent")
	c.Flags().Uint8Var(&renew, "renew", 0, "`percent` of a lease after which clients renew; the policy's if absent")
	c.Flags().DurationVar(&tolerance, "tolerance", 0, "`time` for which an assigned seat goes on without its server, as 24h")
	c.Flags().BoolVar(&noVirtual, "no-virtual", false, "not on virtual machines")
	c.Flags().StringSliceVar(&types, "host-type", nil, "`types` of host IDs that machines must be known by, as TPM_EK; all if absent")
	c.Flags().StringVar(&tier, "minimum-tier", "", "lowest `tier` of machines; the policy's if absent")
	c.Flags().BoolVar(&whole, "no-partial", false, "a machine is given all that it asks for, or nothing")
	c.Flags().StringVar(&aggregation, "aggregation", entitlement.Sum.String(), "what equal records of one machine are worth together: their `sum`, or the max of them")
	c.Flags().BoolVar(&forfeit, "no-credit", false, "what is returned is gone, and cannot be given again")
	c.Flags().StringArrayVar(&limits, "limit", nil, "how often something may be done with one line item, as `ACT:COUNT[:TIME]` (return:4:365d); may be repeated")
	return c
}

// hostTypes reads names of types of host IDs.
func hostTypes(flag string, names []string) (list []entitlement.HostType, err error) {
	for _, s := range names {
		var t entitlement.HostType
		if err := t.UnmarshalText([]byte(s)); err != nil {
			return nil, terminal.Usage("--%s: %w", flag, err)
		}
		list = append(list, t)
	}
	return list, nil
}

func modelList(f *flags) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list [NAME]", Short: "Show the license models", Args: cobra.MaximumNArgs(1),
		Long: "List shows the license models in the order they were made, or one of them.",
		RunE: func(c *cobra.Command, args []string) error {
			return f.look(func(o *backoffice.Office) error {
				if len(args) > 0 {
					return f.printModel(c.OutOrStdout(), o, args[0])
				}
				list := []entitlement.LicenseModel{}
				for _, m := range o.Book().Models() {
					if all || m.State != entitlement.ModelObsolete {
						list = append(list, m)
					}
				}
				return f.printModels(c.OutOrStdout(), list)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that are obsolete")
	return c
}

func (f *flags) printModels(w io.Writer, list []entitlement.LicenseModel) error {
	if f.json {
		return printJSON(w, modelData{terminal.NewData("freehold.model/1"), list})
	}
	for _, m := range list {
		fmt.Fprintf(w, "%s  %s\nkind         %s\n", terminal.Plain(m.Name), m.State, m.Kind)
		for _, line := range modelWords(&m) {
			fmt.Fprintf(w, "%-12s %s\n", line[0], line[1])
		}
	}
	return nil
}

// modelWords says what a model says, where it says something.
func modelWords(m *entitlement.LicenseModel) (list [][2]string) {
	add := func(there bool, name, format string, args ...any) {
		if there {
			list = append(list, [2]string{name, fmt.Sprintf(format, args...)})
		}
	}
	add(m.Metered, "metered", "%s", meteredWords(&entitlement.Item{Reusable: m.Reusable, UndoInterval: m.UndoInterval}))
	add(m.Overdraft > 0, "overdraft", "%d%% of the counts of each machine", m.Overdraft)
	add(m.GraceDays > 0, "grace", "%s after expiry", capability.Counted(m.GraceDays, "day"))
	add(m.Borrow > 0, "borrow", "up to %s", m.Borrow)
	add(m.Renew > 0, "renew", "after %d%% of a lease", m.Renew)
	add(m.Tolerance > 0, "tolerance", "%s without a server", m.Tolerance)
	add(m.NoVirtual, "machines", "not virtual ones")
	for _, t := range m.HostTypes {
		add(true, "host type", "%s", t)
	}
	add(m.MinimumTier > 0, "tier", "%s", m.MinimumTier)
	add(m.NoPartial, "partial", "a machine is given all that it asks for, or nothing")
	add(m.Aggregation == entitlement.Max, "aggregation", "max: equal records of one machine are worth as much as the greatest")
	add(m.NoCredit, "returns", "are not credited")
	for _, l := range m.Limits {
		span := ""
		if l.Span > 0 {
			span = " in " + l.Span.String()
		}
		add(true, "limit", "%s: %d%s", l.Act, l.Count, span)
	}
	return list
}
