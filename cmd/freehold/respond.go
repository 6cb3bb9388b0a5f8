package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// respondData is freehold.respond/1.
type respondData struct {
	terminal.Data
	Files []answered `json:"files"`
}

// answered is what became of one request file. Code is absent when a response was made.
type answered struct {
	File        string                   `json:"file"`
	Code        capability.Code          `json:"code"`
	Error       string                   `json:"error,omitempty"`
	Host        string                   `json:"host,omitempty"`
	Alias       string                   `json:"alias,omitempty"`
	Number      uint64                   `json:"number,omitempty"`
	Signature   string                   `json:"signature,omitempty"`
	Tier        string                   `json:"tier,omitempty"`
	TierNote    string                   `json:"tierNote,omitempty"`
	Why         string                   `json:"why,omitempty"`    // what the tier follows from
	Booted      *backoffice.BootReport   `json:"booted,omitempty"` // what its event log says was started
	Gone        []hostid.ID              `json:"gone,omitempty"`   // host IDs that its request before had
	Came        []hostid.ID              `json:"came,omitempty"`
	Capped      bool                     `json:"capped,omitempty"` // rights end early because of the tier
	Alarms      []capability.Alarm       `json:"alarms,omitempty"` // what the machine says has looked like a copy or a change of it
	Proven      bool                     `json:"proven,omitempty"`
	Again       bool                     `json:"again,omitempty"`
	Refused     string                   `json:"refused,omitempty"` // why an operator refused the request
	Repaired    bool                     `json:"repaired,omitempty"`
	RepairNote  string                   `json:"repairNote,omitempty"` // why --repair changed nothing
	Rehosted    string                   `json:"rehosted,omitempty"`   // the machine whose rights it took over
	Foreign     uint64                   `json:"foreign,omitempty"`    // a response that the machine has applied, and nobody made here: the answer goes above it
	Warning     string                   `json:"warning,omitempty"`    // another history of this machine is known: what contradicts
	Serial      uint64                   `json:"serial,omitempty"`
	Made        capability.Time          `json:"made,omitempty"`
	ApplyBefore capability.Time          `json:"applyBefore,omitempty"`
	Status      string                   `json:"status,omitempty"`
	Lines       []backoffice.Line        `json:"lines,omitempty"`
	Items       []capability.LineItem    `json:"items,omitempty"`
	Credited    []entitlement.ReturnSeen `json:"credited,omitempty"`
	Proved      []entitlement.Gone       `json:"proved,omitempty"`  // copies asked back, and gone
	Counted     int                      `json:"counted,omitempty"` // records of usage, for the first time
	Stated      int                      `json:"stated,omitempty"`  // states of the day that runs, in place of those before
	Denials     []capability.Denial      `json:"denials,omitempty"`
	Response    string                   `json:"response,omitempty"` // the file that was written
}

func respondCommand(f *flags) *cobra.Command {
	var (
		dir, rehost string
		order       backoffice.Order
	)
	c := &cobra.Command{
		Use: "respond FILE... -o DIR", Short: "Answer request files",
		Long: "Respond judges each request file and writes a response file that only the machine of the request can open. Files are known by their content, not by their names, and may also be in their text form, or what a scanner reads of the QR codes of one, a line for each. " +
			"The same request again gives the same bytes; a line of a request that is refused is refused inside the response, so that the appliance shows why.\n\n" +
			"A machine whose trusted storage was lost, rolled back or cannot be opened writes requests from a new one. They are refused until an operator says --repair: the machine then gets all it has on record, " +
			"and the old storage is refused from then on. Ask what happened first; leases the machine had lent for longer than its lease interval may still be in use. " +
			"Above the number of repairs that the policy allows in 365 days a second person must stand for one, and is kept on record with it: --approved-by.\n\n" +
			"A machine whose TPM was replaced is another machine. With --rehost HOST it gets everything that HOST has on record, and HOST has no rights from then on: it gets no answer of before again, what it asks for is refused, and its next response takes what it has. " +
			"Nothing proves that the old machine is gone, so a second person must approve each; leases that it had lent may be in use for as long as it runs.\n\n" +
			"A machine that applied a file of somebody who had stolen a signing key contradicts the book for ever. Once that key is revoked, --repair REASON --approved-by NAME has it answered above the stolen response: it then has what the book says, and nothing of what the thief gave.\n\n" +
			"A request that contradicts the machine's earlier ones comes from a copy of the machine or of its storage. Its file is kept as evidence beside the ones it contradicts; freehold show HOST names them. " +
			"The policy refuses it, or warns and answers the history that is ahead.\n\n" +
			"With --refuse REASON a request gets nothing: its machine is told why, in these words, and keeps what it has on record. What it gave back is credited all the same. For another answer it writes another request.\n\n" +
			"Each file has its own verdict, and one bad file stops no other; the exit status is the highest of all. " +
			"If DIR is a stick with a folder LEASEHOLD, the response goes into the folder of its machine there; otherwise it goes into DIR itself, and into a folder of its machine only where another machine's response has the same name.",
		Example: "  freehold respond /media/stick/LEASEHOLD/*/REQ-*.LHQ -o /media/stick",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			order.By = operator()
			switch {
			case c.Flags().Changed("refuse") && (order.Repair != "" || rehost != "" || order.Approved != ""):
				return terminal.Usage("--refuse gives nothing: neither a repair nor a re-host goes with it")
			case c.Flags().Changed("refuse") && len(args) > 1:
				return terminal.Usage("--refuse is about one request: name one request file")
			case c.Flags().Changed("refuse") && strings.TrimSpace(order.Refuse) == "":
				return terminal.Usage("--refuse: the customer has to read a reason")
			case order.Repair != "" && len(args) > 1:
				return terminal.Usage("--repair is about one machine: name one request file")
			case rehost != "" && order.Repair == "":
				return terminal.Usage("--rehost needs a reason on record: say --repair REASON too")
			case order.Approved != "" && order.Repair == "":
				return terminal.Usage("--approved-by stands for a repair: say --repair REASON too")
			case order.Approved != "" && strings.EqualFold(order.Approved, order.By):
				return terminal.Usage("--approved-by: %s orders the repair, so somebody else has to approve it", order.By)
			}
			if order.Approved != "" {
				if err := capability.CheckName("name", order.Approved); err != nil {
					return terminal.Usage("--approved-by: %w", err)
				}
			}
			if err := capability.CheckText(order.Refuse); err != nil {
				return terminal.Usage("--refuse: %w", err)
			}
			return f.respond(c, args, dir, rehost, order)
		},
	}
	c.Flags().StringVar(&order.Repair, "repair", "", "`reason` to give the machine back what it has on record, into a trusted storage made anew")
	c.Flags().StringVar(&rehost, "rehost", "", "`host` that is gone, a host ID or its first digits: the machine of the request takes over what it has")
	c.Flags().StringVar(&order.Approved, "approved-by", "", "`name` of a second person who stands for the repair, or the re-host")
	c.Flags().StringVar(&order.Refuse, "refuse", "", "`reason` for which the request gets nothing; the customer reads it")
	c.Flags().StringVarP(&dir, "output", "o", "", "`directory` for the response files: a stick, or any other")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	return c
}

func (f *flags) respond(c *cobra.Command, files []string, dir, rehost string, order backoffice.Order) error {
	o, err := f.open()
	if err != nil {
		return err
	}
	defer o.Close()
	if rehost != "" {
		h, err := findHost(o.Book(), rehost)
		if err != nil {
			return err
		}
		order.Rehost = h.Host
	}
	out, err := openOutbox(dir)
	if err != nil {
		return err
	}
	data := respondData{Data: terminal.NewData("freehold.respond/1")}
	worst := capability.ExitOK
	for _, name := range files {
		a, err := f.answer(o, out, name, order)
		if err != nil {
			if !f.json {
				fmt.Fprintf(c.OutOrStdout(), "%s  no response\n", terminal.Plain(filepath.Base(name)))
			}
			worst = max(worst, terminal.Report(c.ErrOrStderr(), c.CommandPath(), err))
			a.Code, a.Error = terminal.CodeOf(err), err.Error()
		} else if !f.json {
			a.print(c.OutOrStdout())
		}
		data.Files = append(data.Files, *a)
	}
	if f.json {
		if err := printJSON(c.OutOrStdout(), data); err != nil {
			return err
		}
	}
	if worst != capability.ExitOK {
		return terminal.ExitStatus(worst)
	}
	return nil
}

func (f *flags) answer(o *backoffice.Office, out *outbox, name string, order backoffice.Order) (*answered, error) {
	a := &answered{File: name}
	b, err := readOurs(name)
	if err != nil {
		return a, about(name, err)
	}
	r, err := o.RespondTo(b, order, now())
	if err != nil {
		return a, about(name, f.said(err))
	}
	a.Host, a.Alias, a.Number, a.Tier, a.TierNote, a.Proven = r.Host.String(), r.Alias, r.Number, r.Tier.String(), r.TierNote, r.Proven
	a.Why, a.Booted, a.Gone, a.Came, a.Capped, a.Alarms = r.Why, r.Booted, r.Gone, r.Came, r.Capped, r.Alarms
	a.Refused = r.Refused
	a.Repaired, a.RepairNote, a.Warning, a.Foreign = r.Repaired, r.RepairNote, r.Warning, r.Foreign
	if r.Rehosted != (hostid.ID{}) {
		a.Rehosted = r.Rehosted.String()
	}
	a.Signature, a.Again, a.Serial, a.Made, a.ApplyBefore = "GOOD", r.Again, r.Serial, r.Made, r.ApplyBefore
	a.Lines, a.Items, a.Credited, a.Proved, a.Denials, a.Counted = r.Lines, r.Items, r.Credited, r.Proved, r.Denials, r.Counted
	a.Stated = r.Stated
	if !r.Again {
		a.Status = r.Status.String()
	}
	a.Response, err = out.put(r)
	return a, err
}

// about names the file in a refusal that names nothing yet.
func about(name string, err error) error {
	var r *capability.Refusal
	if errors.As(err, &r) && r.Subject == "" {
		d := r.Denial
		d.Subject = filepath.Base(name)
		return &capability.Refusal{Denial: d}
	}
	return err
}

// print says it in words: who, what was judged, what was given, what was refused, where the file is.
func (a *answered) print(w io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintln(w, terminal.Plain(fmt.Sprintf(format, args...))) }
	keys := "keys claimed"
	if a.Proven {
		keys = "keys proven"
	}
	by := "TPM"
	if strings.HasSuffix(a.Host, hostid.DeviceKey.String()) {
		by = "device key"
	}
	line("%s  %s  request %d  signature %s (%s, %s tier, %s)%s", filepath.Base(a.File), short(a.Host), a.Number, a.Signature, by, a.Tier, keys, quoted(a.Alias))
	if a.TierNote != "" {
		line("  note        %s", a.TierNote)
	} else if a.Why != "" {
		line("  tier        %s: %s", a.Tier, a.Why)
	}
	if a.Booted != nil {
		for _, l := range a.Booted.Lines() {
			line("  booted      %s", l)
		}
	}
	for _, m := range a.Alarms {
		line("  reports     %s %s, %s, last %s", m.Code, m.Code.Entry().Title, capability.Counted(m.Count, "time"), m.Last)
	}
	if drift := driftWords(a.Gone, a.Came); drift != "" {
		line("  drift       same TPM; %s", drift)
	}
	if a.Warning != "" {
		e := capability.ErrFork.Entry()
		line("  warning     %s %s: %s", capability.ErrFork, e.Title, a.Warning)
	}
	if a.Repaired {
		line("  repairs     what the machine has on record goes into its new trusted storage; the old one is refused from now on")
	}
	if a.Foreign != 0 {
		line("  overrules   response %d, which the machine has applied and which was not made here; it has what the book says, and nothing else", a.Foreign)
	}
	if a.Rehosted != "" {
		line("  re-hosts    what %s had is this machine's; %s gets nothing any more", short(a.Rehosted), short(a.Rehosted))
	}
	if a.RepairNote != "" {
		line("  note        --repair changed nothing: %s", a.RepairNote)
	}
	for _, s := range a.Credited {
		line("  credits     %s of %s, returned at epoch %d", capability.Counted(s.Copies, "copy"), s.ActivationID, s.Epoch)
	}
	for _, g := range a.Proved {
		line("  proves      %s of %s, asked back, are gone", capability.Counted(g.Copies, "copy"), g.ActivationID)
	}
	if a.Counted > 0 {
		line("  counts      %s of usage", capability.Counted(a.Counted, "record"))
	}
	if a.Stated > 0 {
		line("  takes       %s of the day that runs", capability.Counted(a.Stated, "state"))
	}
	if a.Refused != "" && a.Again {
		line("  refuses     %s %s: %s", capability.ErrRefused, capability.ErrRefused.Entry().Title, a.Refused)
	}
	for _, l := range a.Lines {
		if l.Denial.Code != 0 && l.Denial.Code != capability.ErrRefused {
			line("  refuses     %s %s", l.Denial.Code, l.Denial.Sentence())
		}
		if l.Count > 0 && a.Refused == "" {
			line("  gives       %s  %s  %d of %s asked", l.ActivationID, l.Product, l.Count, capability.Counted(l.Asked, "copy"))
		}
	}
	for _, d := range a.Denials {
		verb := "refuses"
		if entitlement.IsAlarm(d.Code) {
			verb = "tells" // the machine that it was copied
		}
		if d.Code == capability.AskedBack {
			verb = "asks back"
		}
		line("  %-11s %s %s", verb, d.Code, d.Sentence())
	}
	for _, i := range a.Items {
		line("  has         %d of %s:%s  %s", i.Count, i.Feature, i.Version, until(i.Expiry))
		if i.UsedBefore > 0 {
			line("  used        %d of them, as its last answered request said", i.UsedBefore)
		}
	}
	if a.Capped {
		line("  note        rights of a machine of tier %s end early: each new request moves their end", a.Tier)
	}
	again := ""
	if a.Again {
		again = ", answered already: the same bytes"
	}
	line("-> %s  response %d, made %s, apply before %s%s", a.Response, a.Serial, a.Made, a.ApplyBefore, again)
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("  %q", s)
}

func until(t capability.Time) string {
	if t == 0 {
		return "permanent"
	}
	return "to " + t.String()
}
