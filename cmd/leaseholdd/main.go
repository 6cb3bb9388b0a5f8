// Leaseholdd is the appliance's daemon: it opens the TPM and trusted storage, decides how to start, and serves.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/settings"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/image"
	"github.com/leasehold/leasehold/systemd"
	"github.com/leasehold/leasehold/tpm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := terminal.Program(command(ctx), os.Stderr)
	stop()
	os.Exit(code)
}

// flags are what an administrator may say on the command line.
type flags struct {
	config, state, tpm, trust, listen, socket, poll, directory, level, events, brand, release string
	names                                                                                     []string
}

func command(ctx context.Context) *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   "leaseholdd",
		Short: "Serve licenses to an isolated network",
		Long: "Leaseholdd keeps a producer's rights in trusted storage sealed to this machine's TPM and serves them to the producer's software on port 7070 (TLS 1.3), where browsers find its console.\n\n" +
			"Without a TPM 2.0 it does not start: nothing would tell an older copy of its disk. Whether a TPM is a chip, the firmware's or a virtual one, and what each may hold, is the producer's policy. " +
			"A machine without one can have rights of its own where that policy allows it: leasehold request --store.\n\n" +
			"Under systemd it takes its sockets from leaseholdd.socket (clients), leaseholdd-admin.socket (the leasehold command), leaseholdd-poll.socket (leasehold poll) and leaseholdd-directory.socket (leasehold directory); otherwise it opens them itself.\n\n" +
			"Each flag but --config can be set by a file instead: leaseholdd.toml, and then each file in conf.d, by name; what is said later counts, and a flag counts more than a file. " +
			"A key that is not known, or a value that cannot be used, keeps it from starting: see leasehold-config-check(1).\n\n" +
			"It never connects to anything. Files carried by an administrator are its link to the producer, see leasehold-request(1) and leasehold-import(1), or another program that carries the same bytes, where an " +
			"administrator starts that: see leasehold-poll(1). People may be known to a directory of the site, which a program of its own asks: see leasehold-directory(1).",
		Args:    cobra.NoArgs,
		Version: terminal.Version(),
		RunE: func(c *cobra.Command, _ []string) error {
			passed, err := systemd.Listeners() // once: who takes them leaves none
			if err != nil {
				return err
			}
			serves := false
			if err = configure(c.Flags(), f.config); err == nil {
				err = run(ctx, f, passed, &serves)
			}
			if err != nil && !serves {
				return unable(ctx, f, passed["admin"], err)
			}
			return err
		},
	}
	root.Flags().StringVar(&f.config, "config", settings.Dir, "`directory` with leaseholdd.toml and conf.d/*.toml, whose keys are the names of the flags here")
	root.Flags().StringVar(&f.state, "state", env("STATE_DIRECTORY", "/var/lib/leasehold"), "`directory` of trusted storage, on a disk that keeps what it was told to sync ($STATE_DIRECTORY)")
	root.Flags().StringVar(&f.tpm, "tpm", tpm.DefaultAddress, "`address` of the TPM 2.0: a device, unix:SOCKET or tcp:HOST:PORT")
	root.Flags().StringVar(&f.events, "event-log", firmwareLog, "`file` with the firmware's log of what was started, which goes with requests where this account may read it, or root tells it; empty: none goes")
	root.Flags().StringVar(&f.trust, "trust", "/etc/leasehold/producer.lht", "`file` with the producer's root public keys")
	root.Flags().StringVar(&f.listen, "listen", ":7070", "`address` for clients, when systemd passed no socket")
	root.Flags().StringVar(&f.socket, "socket", "/run/leasehold/leaseholdd.sock", "Unix socket `path` for the leasehold command, when systemd passed none")
	root.Flags().StringVar(&f.poll, "poll-socket", "", "Unix socket `path` for leasehold poll, when systemd passed none; empty: no back office is asked over the network")
	root.Flags().StringVar(&f.directory, "directory-socket", "", "Unix socket `path` for leasehold directory, when systemd passed none; empty: no directory is asked who signs in")
	root.Flags().StringSliceVar(&f.names, "name", nil, "`name` that browsers find this machine by, besides the host name; may be repeated, or several with commas")
	root.Flags().StringVar(&f.brand, "branding", "", "`folder` with what the console shows in place of ours: logo.png, logo.jpg or logo.jpeg, and menu.json, as leaseholdd menu prints one; empty: none")
	root.Flags().StringVar(&f.release, "os-release", image.ReleaseFile, "`file` that says which image runs; updates are taken, and older images kept out, where it is the producer's")
	root.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	root.AddCommand(unitsCommand(), catalogCommand(), menuCommand(), terminal.Man(root))
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// configure gives the flags that nobody typed the values of the configuration files.
func configure(flags *pflag.FlagSet, dir string) error {
	conf, err := settings.Read(dir)
	if err != nil {
		return err
	}
	for _, s := range conf.Settings {
		if flags.Changed(s.Name) {
			continue
		}
		if err := flags.Set(s.Name, s.Value); err != nil {
			return terminal.Coded(capability.ErrConfig, fmt.Errorf("%s: line %d: %s: %w", s.File, s.Line, s.Name, err))
		}
	}
	return nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
