package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// auditData is freehold.audit/1, one for each entry.
type auditData struct {
	terminal.Data
	Number  uint64             `json:"number"` // from 1
	Time    capability.Time    `json:"time"`
	By      string             `json:"by,omitempty"`
	What    string             `json:"what"`
	Subject string             `json:"subject,omitempty"`
	Detail  string             `json:"detail,omitempty"`
	Key     string             `json:"key,omitempty"` // under which it was asked for
	Entry   *entitlement.Entry `json:"entry"`
}

// verifiedData is freehold.audit-verified/1.
type verifiedData struct {
	terminal.Data
	Entries uint64 `json:"entries"`
	Head    string `json:"head"` // hash of the last
}

// auditFilter says which entries are shown.
type auditFilter struct {
	by, what, subject string
	since, until      capability.Time
	last              int
}

func auditCommand(f *flags) *cobra.Command {
	var (
		filter       auditFilter
		since, until string
		verify       bool
	)
	c := &cobra.Command{
		Use: "audit", Short: "Show who did what and when, or verify that nothing of it was changed", Args: cobra.NoArgs,
		Long: "Every change of the book is an entry, and each entry names the hash of the one before. Audit shows the newest, the oldest of them first: number, time, who, what, about what.\n\n" +
			"With --verify it reads every entry ever made, and makes the book of them anew: one that was cut, changed or put in is found, and so is a book that is not what its entries say.",
		Example: "  freehold audit --since 2026-11-01 --what answered\n  freehold audit --subject 7F3A-22C9\n  freehold audit --verify",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if filter.since, err = date("since", since, false); err != nil {
				return err
			}
			if filter.until, err = date("until", until, true); err != nil {
				return err
			}
			if filter.last < 0 {
				return terminal.Usage("--last %d: want how many entries, 0 for all", filter.last)
			}
			return f.look(func(o *backoffice.Office) error {
				if verify {
					return f.verify(c.OutOrStdout(), o)
				}
				return f.audit(c.OutOrStdout(), o, &filter)
			})
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "read everything and say whether it is what was written")
	c.Flags().StringVar(&filter.by, "by", "", "only what this `operator` did")
	c.Flags().StringVar(&filter.what, "what", "", "only entries whose `words` contain this, as answered")
	c.Flags().StringVar(&filter.subject, "subject", "", "only what is about this `ID`: a line item, a machine or its first digits, an account")
	c.Flags().StringVar(&since, "since", "", "only from this `date` on")
	c.Flags().StringVar(&until, "until", "", "only to the end of this `date`")
	c.Flags().IntVar(&filter.last, "last", 100, "the newest `number` of them; 0 for all")
	c.MarkFlagsMutuallyExclusive("verify", "last")
	return c
}

func (f *flags) verify(w io.Writer, o *backoffice.Office) error {
	n, err := o.Verify()
	if err != nil {
		return f.coded(err)
	}
	head, _ := o.Book().Head()
	if f.json {
		return printJSON(w, verifiedData{terminal.NewData("freehold.audit-verified/1"), n, fmt.Sprintf("%x", head)})
	}
	_, err = fmt.Fprintf(w, "%s, each follows the one before, and together they are the book; head %.8x\n", capability.Counted(n, "entry"), head[:])
	return err
}

func (f *flags) audit(w io.Writer, o *backoffice.Office, filter *auditFilter) error {
	_, length := o.Book().Head()
	from := uint64(1)
	if all := (auditFilter{last: filter.last}); *filter == all && filter.last > 0 && length > uint64(filter.last) {
		from = length - uint64(filter.last) + 1
	}
	var found []auditData
	err := o.History(from, func(n uint64, e *entitlement.Entry) error {
		what, detail := auditWords(e)
		d := auditData{terminal.NewData("freehold.audit/1"), n, e.Time, e.By, what, e.Subject(), detail, "", e}
		if e.Once != nil {
			d.Key = e.Once.Key
		}
		if !filter.passes(&d) {
			return nil
		}
		if found = append(found, d); filter.last > 0 && len(found) > 2*filter.last {
			found = append(found[:0], found[len(found)-filter.last:]...)
		}
		return nil
	})
	if err != nil {
		return f.coded(err)
	}
	if filter.last > 0 && len(found) > filter.last {
		found = found[len(found)-filter.last:]
	}
	if f.json {
		enc := json.NewEncoder(w)
		for _, d := range found {
			if err := enc.Encode(terminal.Hexed(d)); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range found {
		subject := d.Subject
		if id, err := hostid.Parse(subject); err == nil {
			subject = id.Short()
		}
		line := fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s", d.Number, d.Time, terminal.Plain(d.Entry.Who()), d.What, terminal.Plain(subject), terminal.Plain(d.Detail))
		fmt.Fprintln(t, strings.TrimRight(line, "\t"))
	}
	return t.Flush()
}

func (f *auditFilter) passes(d *auditData) bool {
	switch {
	case f.by != "" && d.By != f.by, f.what != "" && !strings.Contains(d.What, f.what), f.since != 0 && d.Time < f.since, f.until != 0 && d.Time > f.until:
		return false
	case f.subject == "" || d.Subject == f.subject:
		return true
	}
	id, err := hostid.Parse(d.Subject)
	if err == nil {
		return matches(id, f.subject)
	}
	item, err := capability.ParseActivationID(f.subject)
	return err == nil && d.Subject == string(item)
}

// auditWords says what an entry did, and what of it people want to know.
func auditWords(e *entitlement.Entry) (what, detail string) {
	switch {
	case e.Policy != nil:
		return "set the policy", fmt.Sprintf("lease interval %s, tier %s and above, responses good for %s", e.Policy.Lease, e.Policy.MinimumTier, e.Policy.ResponseLife)
	case e.Item != nil:
		return "entitled", fmt.Sprintf("%s to %s of %s %s, %s", e.Item.Customer, capability.Counted(e.Item.Copies, "copy"), e.Item.Product, e.Item.ProductVersion, until(e.Item.Expiry))
	case e.Answer != nil && e.Answer.Request.Refused != "":
		return "refused", answerWords(e.Answer)
	case e.Answer != nil:
		return "answered", answerWords(e.Answer)
	case e.Incident != nil && e.Incident.Warned:
		return "warned of", incidentWords(e.Incident)
	case e.Incident != nil:
		return "refused", incidentWords(e.Incident)
	case e.Boot != nil && e.Boot.Withdraw:
		return "withdrew a boot state", e.Boot.Note
	case e.Boot != nil:
		return "allowed a boot state", e.Boot.Note
	case e.Account != nil:
		return "set the account", under(e.Account.Parent)
	case e.Product != nil:
		return "set the product", fmt.Sprintf("version %s, %s, %s", e.Product.Version, capability.Counted(len(e.Product.Features), "feature"), capability.Counted(len(e.Product.Parts), "part"))
	case e.Model != nil:
		return "set the license model", fmt.Sprint(e.Model.State)
	case e.Change != nil:
		return "changed the line item", changeWords(e.Change)
	case e.Device != nil:
		return "set the device", e.Device.Name
	case e.Map != nil && e.Map.Ended:
		return "ended a mapping", "to " + e.Map.Device.Short()
	case e.Map != nil:
		return "mapped", fmt.Sprintf("%s to %s", capability.Counted(e.Map.Copies, "copy"), e.Map.Device.Short())
	case e.Order != nil:
		return "ordered a re-host", fmt.Sprintf("%s of %s from %s to %s", capability.Counted(e.Order.Copies, "copy"), e.Order.ActivationID, e.Order.From.Short(), e.Order.To.Short())
	case e.Step != nil:
		return "ended the order", ""
	case e.Retire != nil:
		return "asked back", ""
	case e.WriteOff != nil:
		return "wrote off", fmt.Sprintf("%s of %s, approved by %s: %s", capability.Counted(e.WriteOff.Copies, "copy"), e.WriteOff.Host.Short(), e.WriteOff.Approved, e.WriteOff.Reason)
	case e.Proposed != nil:
		return proposedWords(e.Proposed)
	case e.Question != nil && e.Question.Question != nil:
		return "asked the customer", fmt.Sprintf("about request %d: %s", e.Question.Question.Of, e.Question.Question.Text)
	case e.Question != nil:
		return "ended the question", ""
	case e.Login != nil:
		return loginWords(e.Login)
	case e.SignIn != nil:
		return signInWords(e.SignIn)
	}
	if what, detail = usersWords(e); what != "" {
		return what, detail
	}
	if what, detail = keysWords(e); what != "" {
		return what, detail
	}
	return otherWords(e)
}

// otherWords is about an entry that has no words here yet: its parts, as they are called.
func otherWords(e *entitlement.Entry) (what, detail string) {
	parts := map[string]json.RawMessage{}
	if b, err := json.Marshal(e); err != nil || json.Unmarshal(b, &parts) != nil {
		return "wrote", ""
	}
	for name, part := range parts {
		if name != "before" && name != "time" && name != "by" && name != "once" && name != "token" {
			return "wrote " + name, string(part) // there is one
		}
	}
	return "wrote", ""
}

func proposedWords(f *entitlement.Proposed) (what, detail string) {
	switch p := f.Proposal; {
	case p == nil && f.Approved != 0:
		return "approved the proposal", ""
	case p == nil:
		return "ended the proposal", f.Reason
	case p.Freeing == entitlement.FreeByWriteOff:
		return "proposed a write-off", fmt.Sprintf("of %s: %s", p.ActivationID, p.Reason)
	case p.Freeing == entitlement.FreeByRehost:
		return "proposed a re-host", fmt.Sprintf("to %s: %s", p.Host.Short(), p.Reason)
	default:
		return "proposed a repair", p.Reason
	}
}

func answerWords(a *entitlement.Answered) string {
	words := []string{fmt.Sprintf("request %d with response %d", a.Request.Number, a.Request.Serial)}
	if why := a.Request.Refused; why != "" {
		words = append(words, "reason: "+why)
	}
	for _, h := range a.Holds {
		words = append(words, fmt.Sprintf("%s: %s", h.ActivationID, capability.Counted(h.Copies, "copy")))
	}
	for _, s := range a.Returns {
		if s.Credited {
			words = append(words, fmt.Sprintf("%s of %s returned", capability.Counted(s.Copies, "copy"), s.ActivationID))
		} else if s.Final {
			words = append(words, fmt.Sprintf("a return of %s refused for good: %s", s.ActivationID, s.Refused))
		} else {
			words = append(words, fmt.Sprintf("a return of %s not credited: %s", s.ActivationID, s.Refused))
		}
	}
	if n := len(a.Records); n > 0 {
		words = append(words, fmt.Sprintf("records of usage %d to %d counted", a.Records[0].Number, a.Records[n-1].Number))
	}
	if n := len(a.States); n > 0 {
		words = append(words, fmt.Sprintf("%d states of the day that runs", n))
	}
	if a.Missing > 0 {
		words = append(words, fmt.Sprintf("%s of usage before them never came", capability.Counted(a.Missing, "record")))
	}
	for _, s := range a.Seats {
		words = append(words, fmt.Sprintf("seat %d of %s of %s is %s", s.Number, s.ActivationID, s.User, s.State()))
	}
	for _, g := range a.Gone {
		words = append(words, fmt.Sprintf("%s of %s asked back, proved to be gone", capability.Counted(g.Copies, "copy"), g.ActivationID))
	}
	if r := a.Repair; r != nil && r.Approved != "" {
		words = append(words, fmt.Sprintf("repaired, approved by %s: %s", r.Approved, r.Reason))
	} else if r != nil {
		words = append(words, "repaired: "+r.Reason)
	}
	if f := a.Foreign; f != nil {
		words = append(words, fmt.Sprintf("overruled response %d, approved by %s: %s", f.Applied, f.Approved, f.Reason))
	}
	if a.Rehosted != nil {
		words = append(words, fmt.Sprintf("re-hosted from %s, approved by %s: %s", a.Rehosted.From.Short(), a.Rehosted.Approved, a.Rehosted.Reason))
	}
	return strings.Join(words, "; ")
}

func incidentWords(i *entitlement.Incident) string {
	return fmt.Sprintf("request %d: %s %s: %s", i.Number, i.Code, i.Code.Entry().Title, i.Detail)
}

func changeWords(c *entitlement.ItemChange) string {
	words := fmt.Sprint(c.Do)
	if c.Copies > 0 {
		words += fmt.Sprintf(", %s", capability.Counted(c.Copies, "copy"))
	}
	if c.Expiry != 0 {
		words += ", " + until(c.Expiry)
	}
	switch c.Do {
	case entitlement.Split:
		words += " of " + string(c.ActivationID)
	case entitlement.Merge:
		words += " into " + string(c.To)
	}
	if c.Reason != "" {
		words += ": " + c.Reason
	}
	return words
}

func under(parent string) string {
	if parent == "" {
		return ""
	}
	return "under " + parent
}
