package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// itemData is freehold.item/1.
type itemData struct {
	terminal.Data
	entitlement.ItemView
}

func entitleCommand(f *flags) *cobra.Command {
	var (
		item                                                 entitlement.Item
		productVersion, start, expires, tier, mode, replaces string
		features, limits                                     []string
		draft                                                bool
		marks                                                entitlement.Marks
		undo                                                 time.Duration
	)
	c := &cobra.Command{
		Use: "entitle", Short: "Entitle a customer to copies of a product, and get the activation ID",
		Long: "Entitle adds a line item to the book and prints its activation ID, which the customer's administrator names in a request.\n\n" +
			"Each copy is worth one count of each feature, or as many as =PER_COPY says. A feature without a version is licensed for version 0 only.\n\n" +
			"A license model says how copies may be used (freehold model), and a product on record has its features (freehold product): --feature is for products that are not.\n\n" +
			"What a machine of a lower tier may have is limited with --tier-limit: not more copies than that, and its rights end so long after each response, so that it has to exchange files again in time.\n\n" +
			"With --metered the counts are used up, not leased: what a device reports stays used, also after a repair. --reusable lets it go down again, --undo lets a device take a report back for a while.",
		Example: "  freehold entitle --customer \"ACME Works\" --product \"Render Pro\" --product-version 2026 --feature render:2026.1 --feature export:2026.1=5 --count 40 --expires 2027-03-31",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			for _, s := range features {
				feature, err := parseFeature(s)
				if err != nil {
					return terminal.Usage("--feature: %w", err)
				}
				item.Features = append(item.Features, feature)
			}
			if productVersion != "" {
				if item.ProductVersion, err = capability.ParseVersion(productVersion); err != nil {
					return terminal.Usage("--product-version: %w", err)
				}
			}
			if item.Start, err = date("start", start, false); err != nil {
				return err
			}
			if item.Expiry, err = date("expires", expires, true); err != nil {
				return err
			}
			if undo != undo.Truncate(time.Second) || undo < 0 {
				return terminal.Usage("--undo %s: want whole seconds", undo)
			}
			item.UndoInterval = capability.Seconds(undo / time.Second)
			if replaces != "" {
				if item.Replaces, err = capability.ParseActivationID(replaces); err != nil {
					return terminal.Usage("--replaces: %w", err)
				}
			}
			if tier != "" {
				if item.MinimumTier, err = entitlement.ParseTier(tier); err != nil {
					return terminal.Usage("--minimum-tier: %w", err)
				}
			}
			if mode != "" {
				if item.Mode, err = entitlement.ParseMode(mode); err != nil {
					return terminal.Usage("--mode: %w", err)
				}
			}
			if item.Limits, err = tierLimits(limits); err != nil {
				return err
			}
			if draft {
				item.Life.Stage = entitlement.StageDraft
			}
			if marks != (entitlement.Marks{}) {
				item.Marks = &marks
			}
			return f.entitle(c.OutOrStdout(), item)
		},
	}
	c.Flags().StringVar(&item.Customer, "customer", "", "`name` of the customer")
	c.Flags().StringVar(&item.Product, "product", "", "`name` of the product")
	c.Flags().StringVar(&productVersion, "product-version", "", "`version` of the product, as 2026.1")
	c.Flags().StringArrayVar(&features, "feature", nil, "a feature as `NAME[:VERSION][=PER_COPY]`; may be repeated; those of the product on record if absent")
	c.Flags().Uint32Var(&item.Copies, "count", 0, "`number` of copies")
	c.Flags().StringVar(&start, "start", "", "`date` from which the rights can be used, as 2026-12-01; at once if absent")
	c.Flags().StringVar(&expires, "expires", "", "last `date` on which they can be used, as 2027-03-31; never if absent")
	c.Flags().StringVar(&item.EntitlementID, "entitlement", "", "`ID` of the customer's entitlement; drawn if absent")
	c.Flags().BoolVar(&item.Metered, "metered", false, "counts are used up, not leased")
	c.Flags().BoolVar(&item.Reusable, "reusable", false, "metered counts may go down again")
	c.Flags().DurationVar(&undo, "undo", 0, "`time` in which a device can take a metered report back, as 10m")
	c.Flags().StringVar(&item.User, "user", "", "`name` of the user whose seats they are; without it they are everybody's on the machine")
	c.Flags().StringVar(&replaces, "replaces", "", "`activation ID` that was taken back, and whose place it takes")
	c.Flags().StringVar(&mode, "mode", "", "how its seats are used, online or offline; if absent online for fixed-user licenses and offline for others")
	c.Flags().StringVar(&tier, "minimum-tier", "", "lowest `tier` of machines for these rights; the policy's if absent")
	c.Flags().StringArrayVar(&limits, "tier-limit", nil, "how many copies a machine of a tier may have, and for how long after each response, as `TIER:COPIES:TIME` (virtual:10:30d); instead of the policy's; may be repeated")
	c.Flags().StringVar(&item.Model, "model", "", "`name` of the license model; without one everything is allowed, and nothing added")
	c.Flags().BoolVar(&draft, "draft", false, "give nothing of it until freehold item deploy")
	c.Flags().StringVar(&marks.VendorString, "vendor-string", "", "`text` for the programs that use it")
	c.Flags().StringVar(&marks.Notice, "notice", "", "`text` for its users")
	c.Flags().StringVar(&marks.SerialNumber, "serial-number", "", "`text` that numbers it")
	for _, name := range []string{"customer", "product", "count"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}

// tierLimits reads TIER:COPIES:TIME, in a policy with :PRODUCT behind it.
func tierLimits(texts []string) (list []entitlement.TierLimit, err error) {
	for _, s := range texts {
		l, err := entitlement.ParseTierLimit(s)
		if err != nil {
			return nil, terminal.Usage("--tier-limit: %w", err)
		}
		list = append(list, l)
	}
	return list, nil
}

// parseFeature reads NAME[:VERSION][=PER_COPY].
func parseFeature(s string) (entitlement.Feature, error) {
	name, perCopy, has := strings.Cut(s, "=")
	f, err := capability.ParseFeature(name)
	if err != nil {
		return entitlement.Feature{}, err
	}
	n := uint64(1)
	if has {
		if n, err = strconv.ParseUint(perCopy, 10, 32); err != nil || n == 0 || n > capability.MaxCount {
			return entitlement.Feature{}, fmt.Errorf("%q is not a count per copy: want 1 to %d", perCopy, capability.MaxCount)
		}
	}
	return entitlement.Feature{Name: f.Name, Version: f.Version, PerCopy: uint32(n)}, nil
}

func date(flag, s string, end bool) (capability.Time, error) {
	if s == "" {
		return 0, nil
	}
	t, err := capability.ParseDate(s, end)
	if err != nil {
		return 0, terminal.Usage("--%s: %w", flag, err)
	}
	return t, nil
}

func (f *flags) entitle(w io.Writer, item entitlement.Item) error {
	o, err := f.open()
	if err != nil {
		return err
	}
	defer o.Close()
	v, err := o.Entitle(item, operator(), now())
	if err != nil {
		return f.said(err)
	}
	return f.printNew(w, v)
}

// printNew tells the activation ID of a line item that was made.
func (f *flags) printNew(w io.Writer, v entitlement.ItemView) error {
	if f.json {
		if err := printJSON(w, itemData{terminal.NewData("freehold.item/1"), v}); err != nil {
			return unheard(err)
		}
		return nil
	}
	if _, err := fmt.Fprintln(w, v.ActivationID); err != nil {
		return unheard(err)
	}
	return nil
}

// unheard is about an activation ID that is in the book and was printed nowhere.
func unheard(err error) error {
	return terminal.Advised(capability.ErrFileRead, fmt.Errorf("the line item is in the book, and its activation ID was not printed: %w", err), "freehold show")
}
