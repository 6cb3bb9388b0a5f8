package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

// The files that are part of the program, so that a package or an administrator can put them where they belong.

func unitsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "units DIR", Short: "Write the systemd unit files into a directory", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			entries, err := fs.ReadDir(systemd.Units(), ".")
			if err != nil {
				return err
			}
			for _, e := range entries {
				b, err := fs.ReadFile(systemd.Units(), e.Name())
				if err != nil {
					return err
				}
				if err := write(c, filepath.Join(args[0], e.Name()), b); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func menuCommand() *cobra.Command {
	return &cobra.Command{
		Use: "menu", Short: "Print the console's menu, to be changed for --branding", Args: cobra.NoArgs,
		Long: "Prints a menu.json that changes nothing. In the folder of --branding it may have other labels, which the headings of the pages follow, and icons: a sign or two of text in front of a label. " +
			"Pages that are left out keep their names; a path that is none, and anything else in the file, is an error.",
		Example: "  leaseholdd menu > /etc/leasehold/branding/menu.json",
		RunE:    func(c *cobra.Command, _ []string) error { return terminal.JSON(c.OutOrStdout(), console.Menu()) },
	}
}

// brandOf reads the folder of --branding.
func brandOf(folder string) (*console.Brand, error) {
	if folder == "" {
		return nil, nil
	}
	b, err := console.ReadBrand(os.DirFS(folder))
	if err != nil {
		return nil, terminal.Coded(capability.ErrConfig, fmt.Errorf("--branding %s: %w", folder, err))
	}
	return b, nil
}

func catalogCommand() *cobra.Command {
	return &cobra.Command{
		Use: "catalog DIR", Short: "Write the journal's message catalogs into a directory", Args: cobra.ExactArgs(1),
		Long: "With them journalctl -x says of each message with a code what its cause is and what to do, in the language of who reads.\n\n" +
			"They belong into /usr/lib/systemd/catalog, or into /etc/systemd/catalog where no package puts them there; then: journalctl --update-catalog.",
		Example: "  leaseholdd catalog /etc/systemd/catalog && journalctl --update-catalog",
		RunE: func(c *cobra.Command, args []string) error {
			for _, l := range capability.Languages() {
				if err := write(c, filepath.Join(args[0], systemd.CatalogName(l)), systemd.Catalog(l)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// write writes a file, and prints where.
func write(c *cobra.Command, path string, b []byte) error {
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	fmt.Fprintln(c.OutOrStdout(), path)
	return nil
}
