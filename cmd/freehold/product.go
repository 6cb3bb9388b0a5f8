package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// productData is freehold.product/1.
type productData struct {
	terminal.Data
	Products []productView `json:"products"`
}

type productView struct {
	entitlement.Product
	All []entitlement.Feature `json:"all"` // what a copy is worth, with the features of its parts
}

func productCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "product", Short: "Keep the products and bundles that customers are entitled to",
		Long: "A product has features, each with a version and a count per copy. A bundle has other products for parts, each so many times. " +
			"entitle copies the features of a product into the line item, so that a later change of the product changes nothing that was sold.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(once(f, productSet(f)), productList(f))
	return c
}

func productSet(f *flags) *cobra.Command {
	var (
		version         string
		features, parts []string
	)
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a product or a bundle, or give it other features", Args: cobra.ExactArgs(1),
		Long:    "Set makes the product, or replaces the one of this name and version with what the flags say.",
		Example: "  freehold product set Render --version 2026 --feature render:2026.1 --feature export:2026.1=5\n  freehold product set Suite --version 2026 --part Render:2026=3 --part Viewer:2026",
		RunE: func(c *cobra.Command, args []string) error {
			p := entitlement.Product{Name: args[0]}
			var err error
			if p.Version, err = versionFlag("version", version); err != nil {
				return err
			}
			for _, s := range features {
				feature, err := parseFeature(s)
				if err != nil {
					return terminal.Usage("--feature: %w", err)
				}
				p.Features = append(p.Features, feature)
			}
			for _, s := range parts {
				part, err := parsePart(s)
				if err != nil {
					return terminal.Usage("--part: %w", err)
				}
				p.Parts = append(p.Parts, part)
			}
			return f.alter(func(*backoffice.Office) (entitlement.Command, error) {
				return entitlement.SetProduct{Product: p, By: operator()}, nil
			}, func(o *backoffice.Office) error {
				return f.printProducts(c.OutOrStdout(), o.Book(), []entitlement.Product{p})
			})
		},
	}
	c.Flags().StringVar(&version, "version", "", "`version` of the product, as 2026.1; 0.0 if absent")
	c.Flags().StringArrayVar(&features, "feature", nil, "a feature as `NAME[:VERSION][=PER_COPY]`; may be repeated")
	c.Flags().StringArrayVar(&parts, "part", nil, "a product that is a part of it, as `NAME[:VERSION][=TIMES]`; may be repeated")
	return c
}

func versionFlag(flag, s string) (v capability.Version, err error) {
	if s == "" {
		return v, nil
	}
	if v, err = capability.ParseVersion(s); err != nil {
		return v, terminal.Usage("--%s: %w", flag, err)
	}
	return v, nil
}

// parsePart reads NAME[:VERSION][=TIMES].
func parsePart(s string) (entitlement.Part, error) {
	name, times, has := strings.Cut(s, "=")
	p := entitlement.Part{Product: name, Times: 1}
	if has {
		n, err := strconv.ParseUint(times, 10, 32)
		if err != nil || n == 0 {
			return p, fmt.Errorf("%q is not a number of times", times)
		}
		p.Times = uint32(n)
	}
	if at := strings.LastIndexByte(name, ':'); at >= 0 {
		v, err := capability.ParseVersion(name[at+1:])
		if err != nil {
			return p, err
		}
		p.Product, p.Version = name[:at], v
	}
	return p, nil
}

func productList(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "list [NAME]", Short: "Show the products and what a copy of each is worth", Args: cobra.MaximumNArgs(1),
		Long: "List shows all products in the order they were made, or all versions of one, each with its features and those of its parts.",
		RunE: func(c *cobra.Command, args []string) error {
			return f.look(func(o *backoffice.Office) error {
				var list []entitlement.Product
				for _, p := range o.Book().Products() {
					if len(args) == 0 || p.Name == args[0] {
						list = append(list, p)
					}
				}
				if len(args) > 0 && len(list) == 0 {
					return capability.Refuse(capability.ErrNotFound, args[0], "it is no product on record; freehold product list shows them")
				}
				return f.printProducts(c.OutOrStdout(), o.Book(), list)
			})
		},
	}
}

func (f *flags) printProducts(w io.Writer, b *entitlement.Book, list []entitlement.Product) error {
	data := productData{terminal.NewData("freehold.product/1"), []productView{}}
	for _, p := range list {
		all, _ := b.FeaturesOf(p.Name, p.Version)
		data.Products = append(data.Products, productView{p, all})
	}
	if f.json {
		return printJSON(w, data)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range data.Products {
		for n, feature := range p.All {
			name := ""
			if n == 0 {
				name = fmt.Sprintf("%s %s", terminal.Plain(p.Name), p.Version)
			}
			fmt.Fprintf(t, "%s\t%s:%s\t%d a copy\n", name, terminal.Plain(feature.Name), feature.Version, feature.PerCopy)
		}
	}
	return t.Flush()
}
