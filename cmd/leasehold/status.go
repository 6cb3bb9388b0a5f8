package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the appliance is", Args: cobra.NoArgs,
		Long: "Shows the state, the seats, the next expiry and what the back office still has to hear.\n\nThe exit status is that of the condition where the appliance refuses to serve, and 3 where it cannot be reached.",
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := p.health(c.Context())
			if err != nil {
				return err
			}
			var notes []string
			if v := terminal.Version(); h.Version != v {
				notes = append(notes, fmt.Sprintf("this program is version %s and the daemon %s", v, h.Version))
			}
			notes = append(notes, conditionWords(h.Conditions)...)
			if p.json {
				err = terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					console.Health
				}{terminal.NewData("leasehold.status/1", notes...), *h}))
			} else {
				p.printStatus(h, p.licensed(c.Context(), h), notes)
			}
			if err == nil && h.Condition != nil {
				d := h.Condition.Denial
				d.Code = h.Condition.Code
				return &capability.Refusal{Denial: d}
			}
			return err
		},
	}
}

func (p *program) printStatus(h *console.Health, f licensed, notes []string) {
	p.printf("leaseholdd %s %s since %s (%s)     LH-%s\n", h.Version, h.State, minute(h.Since), days(h.Now-h.Since), h.Host.Short())
	p.printf("start        %s\n", h.Start)
	if h.HoldUntil != 0 {
		p.printf("hold         until %s\n", h.HoldUntil)
	}
	if h.State != "refusing" || h.Applied != 0 {
		p.printf("seats        %d of %d in use by %s, %s%s\n", h.Used, h.Total, capability.Counted(h.Devices, "device"), capability.Counted(h.Features, "line item"), f.fullWords())
		if h.Expiry != 0 {
			p.printf("expiry       next %s (in %s)%s\n", minute(h.Expiry), days(h.Expiry-h.Now), f.expiringWords())
		} else {
			p.printf("expiry       none to come\n")
		}
		p.printf("back office  %s; %s\n", exchange(h), waiting(h))
		if h.Polling != nil {
			p.printf("polling      %s every %s: %s\n", h.Polling.URL, h.Polling.Every, pollingWords(h.Polling))
		}
		if u := h.Usage; u != nil && u.Waiting > 0 {
			p.printf("usage        %s since %s for the next requests%s\n", capability.Counted(u.Waiting, "record"), minute(u.Since), usageEnd(u))
		}
		for _, d := range h.Drains {
			p.printf("returning    %s of %s, %d in the way, renewed until %s\n", capability.Counted(d.Copies, "copy"), d.ActivationID, d.InTheWay, minute(d.Deadline))
		}
		p.printf("lease        %s, renewed after %d %%\n", h.Policy.Lease, h.Policy.RenewPercent)
	}
	if v := h.Certificate; v != nil {
		p.printf("browsers     https://%s:%d, certificate %s\n", v.Names[0], wire.Port, v.Fingerprint)
	}
	p.printf("host ID      %s\n", h.Host)
	if o := h.Binding.Outcome; o != "" && o != hostid.Unjudged.String() {
		p.printf("machine      %s%s\n", h.Binding.Outcome, bindingEnd(&h.Binding))
	}
	if len(notes) > 0 {
		p.printf("# Health:\n")
	}
	for _, n := range notes {
		p.printf("#   %s\n", n)
	}
	if len(f.full) > 0 {
		p.printf("# See who holds %q: leasehold seats %s\n", f.full[0], f.full[0])
	}
}

// licensed is what status says of features by name.
type licensed struct{ full, expiring []string }

// licensed asks for the features that are full, and those that expire next. A status without them is one.
func (p *program) licensed(ctx context.Context, h *console.Health) (f licensed) {
	var rows []console.Feature
	if h.Applied == 0 || p.call(ctx, http.MethodGet, "features", nil, &rows) != nil {
		return f
	}
	room := map[string]bool{}
	var names []string
	for _, r := range rows {
		if r.Expiry == h.Expiry && h.Expiry != 0 && !slices.Contains(f.expiring, r.Feature) {
			f.expiring = append(f.expiring, r.Feature)
		}
		if r.Status != "valid" {
			continue
		}
		if _, seen := room[r.Feature]; !seen {
			names = append(names, r.Feature)
		}
		room[r.Feature] = room[r.Feature] || r.Uncounted || r.Available > 0
	}
	for _, name := range names {
		if !room[name] {
			f.full = append(f.full, name)
		}
	}
	return f
}

func (f licensed) fullWords() string {
	if len(f.full) == 0 {
		return ""
	}
	return fmt.Sprintf(", %s full: %s", capability.Counted(len(f.full), "feature"), some(f.full))
}

func (f licensed) expiringWords() string {
	if len(f.expiring) == 0 {
		return ""
	}
	return ": " + some(f.expiring)
}

// some is the first few names of a list.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// returnRefused says which return the back office credits never, and what to do about it.
func returnRefused(d capability.Denial) string {
	return fmt.Sprintf("%s %s: %s; %s", d.Code, d.Code.Entry().Title, d.Detail, d.Code.Entry().Next)
}

// bindingEnd is until when the machine is what it is.
func bindingEnd(b *console.Binding) string {
	switch {
	case b.Outcome == hostid.Grace.String():
		return fmt.Sprintf(" until %s", b.Grace)
	case b.Planned != 0:
		return fmt.Sprintf("; a change is planned until %s", b.Planned)
	}
	return ""
}

// usageEnd is what to know of the records that wait.
func usageEnd(u *console.Usage) string {
	switch {
	case u.Full:
		return "; there is no room for more, and days are no longer told apart"
	case u.Detailed:
		return "; they name users"
	}
	return ""
}

// conditionWords are the conditions of the daemon's table, as it tells them.
func conditionWords(all []console.Condition) (lines []string) {
	for _, c := range all {
		lines = append(lines, c.Words())
	}
	return lines
}

func exchange(h *console.Health) string {
	if h.Applied == 0 {
		return "no response yet"
	}
	return fmt.Sprintf("last exchange %s (response %d)", minute(h.AppliedAt), h.Applied)
}

func waiting(h *console.Health) string {
	if h.Waiting == 0 {
		return "nothing waiting"
	}
	return capability.Counted(h.Waiting, "request") + " without an answer"
}

// endless is the appliance's word for what has no end: the end of the year 9999.
const endless capability.Time = 253402300799

// until says when a lease ends, by this machine's clock, which may differ from the appliance's by hours.
func until(t capability.Time) string {
	if t > endless-7*24*60*60 {
		return "without end"
	}
	return "until " + t.String()
}

func minute(t capability.Time) string {
	switch {
	case t == 0:
		return "none"
	case t >= endless:
		return "never"
	}
	return t.Std().Format("2006-01-02 15:04Z")
}

// days is a length of time as a human plans: 130 d, 5 h, 12 min.
func days(t capability.Time) string {
	switch d := time.Duration(t) * time.Second; {
	case d < 0:
		return "the past"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
}

func (p *program) featuresCommand() *cobra.Command {
	return &cobra.Command{
		Use: "features", Short: "List what is licensed on the appliance", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows := []console.Feature{}
			if err := p.call(c.Context(), http.MethodGet, "features", nil, &rows); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					Features []console.Feature `json:"features"`
				}{terminal.NewData("leasehold.features/1"), rows}))
			}
			if len(rows) == 0 {
				p.say("Nothing is licensed on this appliance yet.\n")
				return nil
			}
			return p.table("FEATURE\tVERSION\tTOTAL\tUSED\tAVAILABLE\tEXPIRES\tSTATUS\tACTIVATION ID", len(rows), func(i int) string {
				f := rows[i]
				total, left := fmt.Sprint(f.Total), fmt.Sprint(f.Available)
				if f.Uncounted {
					total, left = "uncounted", "any"
				}
				expires := "never"
				if f.Expiry != 0 {
					expires = minute(f.Expiry)
				}
				return fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s", f.Feature, f.Version, total, f.Used, left, expires, f.Status, f.ActivationID)
			})
		},
	}
}

func (p *program) devicesCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "devices", Short: "List who holds what", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows := []console.Device{}
			if err := p.call(c.Context(), http.MethodGet, "devices", nil, &rows); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					Devices []console.Device `json:"devices"`
				}{terminal.NewData("leasehold.devices/2"), rows}))
			}
			var held []string
			for _, d := range rows {
				for _, h := range d.Holdings {
					end := ending(h.Expiry, h.Dropped, h.Unheard)
					held = append(held, fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s\t%s", dash(d.Alias), dash(d.User), h.Feature, h.Version, h.Count, end, d.Host))
				}
			}
			if len(held) == 0 {
				p.say("No device holds anything.\n")
				return nil
			}
			return p.table("DEVICE\tUSER\tFEATURE\tVERSION\tCOUNT\tENDS\tHOST ID", len(held), func(i int) string { return held[i] })
		},
	}
	c.AddCommand(p.devicesDrop())
	return c
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// table prints rows in columns as wide as they need to be.
func (p *program) table(head string, n int, row func(int) string) error {
	t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	for i := range n {
		cells := strings.Split(row(i), "\t")
		for j := range cells {
			cells[j] = terminal.Plain(cells[j])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// ending is when a lease ends, and why not later.
func ending(expiry capability.Time, dropped, unheard bool) string {
	switch {
	case dropped:
		return minute(expiry) + ", not renewed"
	case unheard:
		return minute(expiry) + ", or when the device asks again"
	}
	return minute(expiry)
}
