// Leasehold is the command line: on the appliance it steers the daemon over its Unix socket, on a client it acquires and releases counts over the network,
// and anywhere it says what is in a request or response file.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func main() {
	os.Exit(terminal.Program(command(os.Stdin, os.Stdout, os.Stderr), os.Stderr))
}

// program is what all commands share: the streams, and the flags that every one of them has.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	out            *terminal.Output // stdout, for data

	socket string
	server string
	trust  string
	dir    string
	json   bool

	authority string
	remote    remote

	own own
}

const (
	defaultSocket = "/run/leasehold/leaseholdd.sock"
	defaultTrust  = "/etc/leasehold/producer.lht"
	toldDir       = "/run/leasehold-media" // what was said of sticks
)

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, out: terminal.NewOutput(stdout), own: ownOfEnvironment()}
	root := &cobra.Command{
		Use:   "leasehold",
		Short: "Licenses for networks that never touch the internet",
		Long: "On an appliance, leasehold steers the daemon: requests and responses, returns, who holds what.\n\n" +
			"On a client it acquires counts of a feature from an appliance, by itself or for a program that it starts.\n\n" +
			"Anywhere it says what is in a request or response file, and what a code means.",
		Example: "  leasehold status\n  leasehold request --stick /media/usb\n  leasehold import /media/usb\n  leasehold acquire render:2026.1 -- render scene.blend",
		// Without this, cobra takes a misspelled command for an argument of this one.
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(stdin)
	root.SetOut(p.out)
	root.SetErr(stderr)
	f := root.PersistentFlags()
	f.StringVar(&p.socket, "socket", from("LEASEHOLD_SOCKET", defaultSocket), "`path` of the daemon's Unix socket ($LEASEHOLD_SOCKET)")
	f.StringVar(&p.server, "server", from("LEASEHOLD_SERVER", fmt.Sprintf("127.0.0.1:%d", wire.Port)), "`host:port` of the appliance, or https://host:port of a back office, or several with commas ($LEASEHOLD_SERVER)")
	f.StringVar(&p.trust, "trust", from("LEASEHOLD_TRUST", defaultTrust), "`file` with the producer's trust bundle ($LEASEHOLD_TRUST)")
	f.StringVar(&p.dir, "dir", from("LEASEHOLD_DIR", ""), "`directory` for this device's key and leases ($LEASEHOLD_DIR; else $XDG_STATE_HOME/leasehold or ~/.local/state/leasehold)")
	f.StringVar(&p.authority, "authority", from("LEASEHOLD_AUTHORITY", ""), "PEM `file` of the authorities that stand for the certificate of a back office, or of an appliance that is managed from here ($LEASEHOLD_AUTHORITY)")
	p.remote.flags(f)
	f.BoolVar(&p.json, "json", false, "print JSON")
	root.AddCommand(
		p.statusCommand(), p.requestCommand(), p.importCommand(), p.returnCommand(), p.featuresCommand(), p.devicesCommand(),
		p.acquireCommand(), p.previewCommand(), p.releaseCommand(), p.reportCommand(), p.undoCommand(), p.inspectCommand(), p.rightsCommand(), terminal.Text(p.readFile), terminal.Explain("leasehold", &p.json), p.doctorCommand(), p.versionCommand(), p.fingerprintCommand(), p.certificateCommand(), p.webCommand(),
		p.simulateCommand(), p.modelCommand(), p.reservationsCommand(), p.poolsCommand(), p.policiesCommand(), p.seatsCommand(), p.timeCommand(),
		p.hostidCommand(), p.recoveryCommand(), p.recoverCommand(), p.auditCommand(), p.configurationCommand(), p.backupCommand(), p.restoreCommand(), p.pollCommand(), p.refreshCommand(), p.directoryCommand(),
		p.loginCommand(), p.logoutCommand(), p.seatCommand(),
		p.isActiveCommand(), p.waitCommand(), p.configCommand(), p.supportBundleCommand(),
		p.usersCommand(), p.keysCommand(), p.firstLoginCommand(), p.sessionCommand(), p.passwordCommand(), p.consoleCommand(),
	)
	root.AddCommand(p.onAppliance()...)
	root.AddCommand(terminal.Man(root))
	return root
}

// from is the value of an environment variable, or a default.
func from(variable, otherwise string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return otherwise
}

// printf is data, for stdout, whose first error the program ends with; say is talk, for stderr.
func (p *program) printf(format string, args ...any) {
	fmt.Fprint(p.out, lines(fmt.Sprintf(format, args...)))
}

func (p *program) say(format string, args ...any) {
	fmt.Fprint(p.stderr, lines(fmt.Sprintf(format, args...)))
}

// lines makes each line safe for a terminal.
func lines(s string) string {
	all := strings.SplitAfter(s, "\n")
	for i, l := range all {
		text, end := strings.CutSuffix(l, "\n")
		if all[i] = terminal.Plain(text); end {
			all[i] += "\n"
		}
	}
	return strings.Join(all, "")
}
