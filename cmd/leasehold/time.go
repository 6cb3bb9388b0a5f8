package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) timeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "time", Short: "Show the system clock and the time that is trusted", Args: cobra.NoArgs,
		Long: "Trusted time never goes back. A system clock up to a day behind it changes nothing. One that is more than a day behind is held: rights with a start or an expiry " +
			"are not served until the clock is right again. One that is more than a day ahead is quarantined: what has expired by it is not served, and nothing starts by it.\n\n" +
			"Both end when the clock is set, when a new response of the back office says what time it is, or with: leasehold time set.",
		RunE: func(c *cobra.Command, _ []string) error {
			var t console.Clock
			if err := p.call(c.Context(), http.MethodGet, "time", nil, &t); err != nil {
				return err
			}
			return p.printTime(&t)
		},
	}
	c.AddCommand(p.timeSet())
	return c
}

// farAhead is where a stated time is more likely a slip than the truth. It could not be taken back: trusted time never goes below it again.
const farAhead = 366 * 24 * time.Hour

func (p *program) timeSet() *cobra.Command {
	var far bool
	c := &cobra.Command{
		Use: "set now|TIME", Short: "Say what time it is, or that the system clock is right", Args: cobra.ExactArgs(1),
		Long: "TIME is like 2026-11-20T08:00:00Z, in any zone. It counts until the daemon starts again; then the system clock is judged anew, so set that too.\n\n" +
			"A time below the trusted one is refused. One that was stated cannot be taken back.",
		Example: "  leasehold time set now\n  leasehold time set 2026-11-20T08:00:00Z",
		RunE: func(c *cobra.Command, args []string) error {
			var form console.ClockForm
			var t console.Clock
			if args[0] != "now" {
				at, err := time.Parse(time.RFC3339, args[0])
				if err != nil || at.Unix() <= 0 {
					return terminal.Usage("%q is no time like 2026-11-20T08:00:00Z", args[0])
				}
				form.Time = capability.At(at)
			}
			if !far {
				if err := p.call(c.Context(), http.MethodGet, "time", nil, &t); err != nil {
					return err
				}
				stated := form.Time
				if stated == 0 {
					stated = t.System
				}
				if stated.Std().Sub(t.Trusted.Std()) > farAhead {
					return terminal.Usage("%s is more than a year after the trusted time, %s, and cannot be taken back: if it is right, say --far", stated, t.Trusted)
				}
			}
			if err := p.call(c.Context(), http.MethodPost, "time", form, &t); err != nil {
				return err
			}
			return p.printTime(&t)
		},
	}
	c.Flags().BoolVar(&far, "far", false, "the time is right although it is more than a year after the trusted one")
	return c
}

func (p *program) printTime(t *console.Clock) error {
	notes := conditionWords(console.Conditions(&console.Health{Clock: t}))
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			console.Clock
		}{terminal.NewData("leasehold.time/1", notes...), *t}))
	}
	p.printf("trusted  %s\nsystem   %s%s\nstate    %s\n", t.Trusted, t.System, corrected(t), t.State)
	for _, n := range notes {
		p.printf("# %s\n", n)
	}
	return nil
}

func corrected(t *console.Clock) string {
	if t.Correction == 0 {
		return ""
	}
	return fmt.Sprintf(", taken for %s since the time was stated", t.System.Add(t.Correction))
}
