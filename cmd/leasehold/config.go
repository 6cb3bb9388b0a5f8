package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/cmd/internal/settings"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Check the configuration files of the daemon", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var dir string
	check := &cobra.Command{
		Use: "check [--config DIR]", Short: "Say what the configuration files set, or what is wrong with them", Args: cobra.NoArgs,
		Long: "Reads leaseholdd.toml and conf.d/*.toml as leaseholdd does at its start, and says what they set and where; what is said later counts. It asks no daemon and changes nothing. " +
			"What keeps leaseholdd from starting ends this command with 2, and names file, line, key and the key that may have been meant.\n\n" +
			"Each key is the name of a flag of leaseholdd, as log-level = \"debug\"; see leaseholdd(8). A flag counts more than a file.",
		RunE: func(*cobra.Command, []string) error {
			conf, err := settings.Read(dir)
			if err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					*settings.Configuration
				}{terminal.NewData("leasehold.config/1"), conf})
			}
			if len(conf.Files) == 0 {
				p.say("There are no configuration files in %s: leaseholdd has its defaults, and what its flags say.\n", dir)
				return nil
			}
			for _, f := range conf.Files {
				p.say("%s is good\n", f)
			}
			return p.table("NAME\tVALUE\tFROM", len(conf.Settings), func(i int) string {
				s := conf.Settings[i]
				return fmt.Sprintf("%s\t%s\t%s:%d", s.Name, dash(s.Value), s.File, s.Line)
			})
		},
	}
	check.Flags().StringVar(&dir, "config", settings.Dir, "`directory` with leaseholdd.toml and conf.d")
	c.AddCommand(check)
	return c
}
