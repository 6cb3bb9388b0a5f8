package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// rootsData is freehold.roots/1.
type rootsData struct {
	terminal.Data
	Authorities []authorityData `json:"authorities"`
}

type authorityData struct {
	Tier    entitlement.Tier `json:"tier"`
	Subject string           `json:"subject"`
	Issuer  string           `json:"issuer"`
	From    capability.Time  `json:"from"`
	Until   capability.Time  `json:"until"`
	SHA256  string           `json:"sha256"`
	Source  string           `json:"source,omitempty"` // where it was published
	File    string           `json:"file,omitempty"`   // in the directory of the back office
	Flaw    string           `json:"flaw,omitempty"`   // why nothing that it certified counts
}

func rootsCommand(f *flags) *cobra.Command {
	var shipped, update bool
	c := &cobra.Command{
		Use: "roots", Short: "Show the authorities by which machines are classed",
		Long: "A machine is of tier hardware or virtual when the certificate of its TPM leads to an authority in roots/hardware or roots/virtual, PEM files in the directory of the back office. " +
			"A file that is put there, or taken away, counts from the next command on; machines that hold rights keep them. A machine that says itself that it is a virtual one is never more than virtual.\n\n" +
			"Init copies the authorities that ship with freehold there, as shipped.pem. After an update of freehold, --update brings the new ones.",
		Example: "  freehold roots --shipped\n  freehold roots --update",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := backoffice.Shipped()
			if err != nil {
				return err
			}
			if !shipped {
				place := backoffice.Dir(f.dir)
				if update {
					if err := backoffice.Look(place); err != nil {
						return f.coded(err)
					}
					if err := backoffice.WriteShipped(place, list); err != nil {
						return f.coded(err)
					}
				}
				if list, err = backoffice.Authorities(place); err != nil {
					return f.coded(err)
				}
			}
			return f.showRoots(c.OutOrStdout(), list)
		},
	}
	c.Flags().BoolVar(&shipped, "shipped", false, "show those that ship with this program, whether they are trusted or not")
	c.Flags().BoolVar(&update, "update", false, "first put those that ship with this program into roots/")
	c.MarkFlagsMutuallyExclusive("shipped", "update")
	return c
}

func (f *flags) showRoots(w io.Writer, list []backoffice.Authority) error {
	data := rootsData{terminal.NewData("freehold.roots/1"), []authorityData{}}
	for _, a := range list {
		c := a.Certificate
		data.Authorities = append(data.Authorities, authorityData{a.Tier, c.Subject.String(), c.Issuer.String(), capability.At(c.NotBefore), capability.At(c.NotAfter), a.Fingerprint(), a.Source, a.File, a.Flaw(now())})
	}
	if f.json {
		return printJSON(w, data)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIER\tAUTHORITY\tUNTIL\tSHA-256\tSOURCE")
	for _, a := range data.Authorities {
		source := a.Source
		if source == "" {
			source = a.File
		}
		if a.Flaw != "" {
			source += ", of no use: " + a.Flaw
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.16s\t%s\n", a.Tier, terminal.Plain(a.Subject), a.Until.Std().Format(time.DateOnly), a.SHA256, terminal.Plain(source))
	}
	return t.Flush()
}
