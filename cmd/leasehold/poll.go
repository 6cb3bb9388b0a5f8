package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

const (
	defaultPollSocket = "/run/leasehold/poll.sock"
	// daemonAway is the wait before a daemon that does not answer is asked again.
	daemonAway = 2 * time.Second
)

func (p *program) pollCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "poll", Short: "Carry requests to the back office and its answers back, as long as it runs", Args: cobra.NoArgs,
		Long: "Poll is the program of leasehold-poll.service, and beside leasehold-directory.service the only one on an appliance that connects to anything outside. The daemon says when and where, and what is sent: the bytes of a request file; what comes " +
			"back it judges as it judges every file. The address, the certificate and the periods are settings of the daemon:\n\n" +
			"  leasehold policies set backoffice-url https://licenses.example.com:7443\n  leasehold policies set backoffice-certificate SHA-256\n  leasehold policies set poll-period 8h\n" +
			"  leasehold policies set poll-retry-period 5m\n\n" +
			"Without backoffice-certificate an authority has to stand for the certificate: one in the file of --authority, or else one that this system knows.",
		RunE: func(c *cobra.Command, _ []string) error {
			o := poller{program: *p}
			o.socket, o.remote = c.Flag("poll-socket").Value.String(), remote{} // it runs on the appliance
			var err error
			if o.known, err = p.authorities(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return o.run(ctx)
		},
	}
	c.Flags().String("poll-socket", from("LEASEHOLD_POLL_SOCKET", defaultPollSocket), "`path` of the daemon's socket for this program ($LEASEHOLD_POLL_SOCKET)")
	return c
}

// poller is the program that carries; its socket is the daemon's for it.
type poller struct {
	program
	known *x509.CertPool // the authorities
}

func (o *poller) run(ctx context.Context) error {
	if err := systemd.Ready("asking the daemon"); err != nil {
		o.say("the service manager was not told: %s\n", err)
	}
	attend(ctx, &o.program, "poll/next", func(e *console.Errand) error {
		if e.Number == 0 {
			return nil
		}
		return o.carry(ctx, e)
	})
	return nil
}

// attend asks the daemon for something to do until ctx ends, and does it. A daemon that does not answer is asked again after a while.
func attend[E any](ctx context.Context, p *program, path string, do func(*E) error) {
	away := ""
	for ctx.Err() == nil {
		var e E
		if err := p.call(ctx, http.MethodPost, path, nil, &e); err != nil && ctx.Err() == nil {
			if said := err.Error(); said != away { // once for all that follow
				away = said
				p.say("%s\n", said)
			}
			t := time.NewTimer(daemonAway)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
			continue
		}
		away = ""
		if err := do(&e); err != nil && ctx.Err() == nil {
			p.say("%s\n", err)
		}
	}
}

// carry sends what the daemon handed out, and tells it how that ended.
func (o *poller) carry(ctx context.Context, e *console.Errand) error {
	office := &client.Office{URL: e.URL, Certificate: e.Certificate, Authorities: o.known}
	answer, err := office.Exchange(ctx, e.File)
	var done console.Outcome
	no := (*capability.Refusal)(nil)
	switch {
	case errors.As(err, &no):
		err = o.call(ctx, http.MethodPost, "poll/missed", console.Missed{Number: e.Number, Denial: no.Denial}, &done)
	case err == nil:
		err = o.call(ctx, http.MethodPost, fmt.Sprintf("poll/answer?number=%d", e.Number), answer, &done)
	}
	if err != nil {
		return err
	}
	if done.Problem != nil {
		o.say("request %d: %s %s\n", e.Number, done.Problem.Code, done.Problem.Text)
		return nil
	}
	o.say("request %d: response %d, %s\n", e.Number, done.Imported.Serial, done.Imported.Code.Entry().Title)
	return nil
}

func (p *program) refreshCommand() *cobra.Command {
	var w wish
	c := &cobra.Command{
		Use: "refresh [--id ID --count N]...", Short: "Ask the back office now, over the network", Args: cobra.NoArgs,
		Long: "Refresh has the program of leasehold-poll.service make an exchange now, waits for its end, and says what it changed. With --id it asks for activation IDs, as leasehold request does by file: the count is the " +
			"whole wanted total of that ID, and asking again gives nothing twice. What could not be sent is sent again by itself.",
		Example: "  leasehold refresh\n  leasehold refresh --id 7K2QF-0H3ZD-9XW4M-PRT2A --count 40",
		RunE:    func(c *cobra.Command, _ []string) error { return p.refresh(c.Context(), w) },
	}
	c.Flags().Var(w.byID(), "id", "activation `ID` to hold; may be given several times")
	c.Flags().Var(wishCount{&w}, "count", "wanted total `N` of the --id before it; 1")
	return c
}

// refreshed is leasehold.refresh/1.
type refreshed struct {
	terminal.Data
	console.Polling
}

func (p *program) refresh(ctx context.Context, w wish) error {
	var s console.Polling
	if err := p.call(ctx, http.MethodPost, "poll/refresh", console.Wish{Desired: w}, &s); err != nil {
		return err
	}
	before := s.Done
	for s.Done <= before { // the daemon answers when it has ended, or after a while
		if !s.Running {
			return capability.Refuse(capability.ErrNotPolled, "", "the program that asks has stopped; what was asked for goes when it runs again")
		}
		s = console.Polling{} // nothing of the answer before is in the next one
		if err := p.call(ctx, http.MethodGet, fmt.Sprintf("poll?done=%d", before), nil, &s); err != nil {
			return err
		}
	}
	last := s.Last
	if p.json {
		if err := terminal.JSON(p.out, terminal.Hexed(refreshed{terminal.NewData("leasehold.refresh/1"), s})); err != nil {
			return err
		}
	} else if last.Problem == nil {
		p.printf("%s", describeImport(&importResult{Imported: *last.Imported}))
		for _, a := range last.Lines {
			if a.Problem == nil { // the others are among what was refused
				p.printf("%s  %s here, as asked\n", a.ActivationID, capability.Counted(a.Count, "copy"))
			}
		}
	}
	if last.Problem != nil {
		d := last.Problem.Denial
		d.Code = last.Problem.Code
		return &capability.Refusal{Denial: d}
	}
	for _, a := range last.Lines {
		if a.Problem != nil {
			d := a.Problem.Denial
			d.Code = a.Problem.Code
			return &capability.Refusal{Denial: d}
		}
	}
	return nil
}

// pollingWords says how the back office was reached, and when it is asked next.
func pollingWords(s *console.Polling) string {
	said := "last exchange " + minute(s.Reached)
	if s.Reached == 0 {
		said = "no exchange yet"
	}
	if s.Since != 0 {
		said += fmt.Sprintf("; not reached since %s (%s)", s.Since, tries(s.Tries))
	}
	switch {
	case !s.Running:
		return said + "; nothing asks it"
	case s.Next == 0:
		return said + "; being asked now"
	}
	return fmt.Sprintf("%s; next try %s", said, s.Next)
}

func tries(n int) string {
	if n == 0 {
		return "not tried since the start"
	}
	return capability.Counted(n, "try")
}
