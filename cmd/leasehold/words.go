package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func (p *program) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE", Short: "Say what is in a request, a response or a trust bundle", Args: cobra.ExactArgs(1),
		Long: "The first line is the verdict on the signatures, and the exit status follows it: 0 for GOOD, 20 for BAD and UNKNOWN KEY. It needs no daemon.\n\n" +
			"To judge a response it needs the producer's trust bundle: --trust FILE; on an appliance that answers, the one it trusts will do.",
		RunE: func(c *cobra.Command, args []string) error {
			trust, err := p.readTrust(c.Flags().Changed("trust"))
			if err != nil {
				return err
			}
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			var here hostid.ID
			if h, err := p.health(c.Context()); err == nil {
				here = h.Host
				if trust == nil { // on an appliance, whom it trusts
					var bundle []byte
					if p.call(c.Context(), http.MethodGet, "trust", nil, &bundle) == nil {
						trust, _ = wire.New().DecodeTrust(bundle) // damaged is as absent: the verdict then says so
					}
				}
			}
			return terminal.Inspect(p.out, p.json, b, trust, here)
		},
	}
}

// readTrust reads the trust bundle. One that nobody named may be absent.
func (p *program) readTrust(named bool) (*wire.Trust, error) {
	t, err := terminal.ReadTrust(p.trust)
	if errors.Is(err, fs.ErrNotExist) && !named && os.Getenv("LEASEHOLD_TRUST") == "" {
		return nil, nil
	}
	return t, err
}

func (p *program) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Examine the appliance, or why it does not answer", Args: cobra.NoArgs,
		Long: "Each line is success, warning or failure. The exit status is 1 when there is a failure, and 3 when the daemon does not answer; this side is examined all the same.",
		RunE: func(c *cobra.Command, _ []string) error {
			rows := p.examine()
			var theirs []console.Examination
			err := p.call(c.Context(), http.MethodGet, "doctor", nil, &theirs)
			if err != nil {
				rows = append(rows, console.Examination{What: "daemon", Result: "failure", Detail: err.Error()})
			} else {
				rows = append(rows, console.Examination{What: "daemon", Result: "success", Detail: "answers on " + p.socket})
			}
			rows = append(rows, theirs...)
			failed := 0
			for _, r := range rows {
				if r.Result == "failure" {
					failed++
				}
			}
			if p.json {
				if err := terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					Examinations []console.Examination `json:"examinations"`
				}{terminal.NewData("leasehold.doctor/1"), rows})); err != nil {
					return err
				}
			} else if err := p.table("RESULT\tWHAT\tDETAIL", len(rows), func(i int) string {
				detail := rows[i].Detail
				if rows[i].Code != nil {
					detail += " (" + *rows[i].Code + ")"
				}
				return rows[i].Result + "\t" + rows[i].What + "\t" + detail
			}); err != nil {
				return err
			}
			if err == nil && failed > 0 {
				return terminal.ExitStatus(capability.ExitError)
			}
			return err
		},
	}
}

// examine looks at what this side needs.
func (p *program) examine() []console.Examination {
	trust := console.Examination{What: "trust bundle", Result: "success", Detail: p.trust}
	t, err := p.readTrust(true)
	if err != nil {
		code := capability.ErrTrust.String()
		trust.Result, trust.Detail, trust.Code = "warning", err.Error()+"; this machine can be no client", &code
	} else {
		trust.Detail = fmt.Sprintf("%s, of %s, fingerprint %x", p.trust, t.Producer, wire.New().Fingerprint(t.Root))
	}
	return []console.Examination{trust}
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			daemon := ""
			var notes []string
			if h, err := p.health(c.Context()); err == nil {
				if daemon = h.Version; daemon != terminal.Version() {
					notes = append(notes, fmt.Sprintf("this program is version %s and the daemon %s", terminal.Version(), daemon))
				}
			}
			if p.json {
				return terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					Version  string `json:"version"`
					Daemon   string `json:"daemon"` // empty where none answers
					Protocol int    `json:"protocol"`
					Go       string `json:"go"`
				}{terminal.NewData("leasehold.version/1", notes...), terminal.Version(), daemon, capability.Protocol, runtime.Version()}))
			}
			p.printf("leasehold %s, protocol %s (%s)\n", terminal.Version(), wire.ALPN, runtime.Version())
			if daemon != "" {
				p.printf("leaseholdd %s\n", daemon)
			}
			for _, n := range notes {
				p.say("warning: %s\n", n)
			}
			return nil
		},
	}
}
