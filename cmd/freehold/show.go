package main

import (
	"errors"
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

// bookData is freehold.book/1.
type bookData struct {
	terminal.Data
	Policy  entitlement.Policy     `json:"policy"`
	Entries uint64                 `json:"entries"`
	Head    string                 `json:"head"` // hash of the last entry
	Items   []entitlement.ItemView `json:"items"`
	Hosts   []hostSummary          `json:"hosts"`
	// There are more after the last of them.
	MoreItems bool `json:"moreItems,omitempty"`
	MoreHosts bool `json:"moreHosts,omitempty"`
}

type hostSummary struct {
	Host      string                    `json:"host"`
	Alias     string                    `json:"alias,omitempty"`
	Tier      entitlement.Tier          `json:"tier"`
	Proven    bool                      `json:"proven"`
	Answered  uint64                    `json:"answered"`
	Serial    uint64                    `json:"serial"`
	Epoch     uint64                    `json:"epoch"`
	Incidents int                       `json:"incidents"`
	Forked    bool                      `json:"forked"`  // two histories of it have sent requests
	Repairs   int                       `json:"repairs"` // in the last 365 days
	Holds     []entitlement.Fulfillment `json:"holds"`
}

// hostData is freehold.host/1.
type hostData struct {
	terminal.Data
	hostSummary
	Audit        capability.Head          `json:"audit"` // end of the machine's audit trail as it last named it: number of entries, hash of the last
	AuditRequest uint64                   `json:"auditRequest"`
	Metered      []capability.Meter       `json:"metered"` // what it has used of its metered items
	Requests     []entitlement.Known      `json:"requests"`
	Returns      []entitlement.ReturnSeen `json:"returns"`
	Refused      []refusedRequest         `json:"refused"`
	Past         []entitlement.PastLife   `json:"past"`
	Moved        *entitlement.Moved       `json:"moved,omitempty"` // its rights went to another machine
	Appearances  []entitlement.Appearance `json:"appearances"`     // what it showed of itself beside its TPM, each where that changed
}

// refusedRequest is an incident with the files that show it, in the directory of the back office. Empty: there is none, or it is damaged.
type refusedRequest struct {
	entitlement.Incident
	File        string `json:"file"`        // of the request
	AgainstFile string `json:"againstFile"` // of the answered request that says otherwise
}

func showCommand(f *flags) *cobra.Command {
	var page pageFlags
	c := &cobra.Command{
		Use: "show [ACTIVATION-ID | HOST]", Short: "Show the book, one line item or one machine",
		Long: "Show prints what was entitled, how much of it is left, and which machines hold the rest. " +
			"A machine is named by its host ID or the first digits of it, as 7F3A-22C9. With a machine, what it showed of itself is shown with every change of it, and the requests that were refused, with the files that are kept as evidence: freehold inspect says what is in them.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.open()
			if err != nil {
				return err
			}
			defer o.Close()
			if len(args) == 0 {
				return f.showBook(c.OutOrStdout(), o, &page)
			}
			return f.showOne(c.OutOrStdout(), o, args[0])
		},
	}
	page.add(c, "line item, or of machines after the host,")
	return c
}

func (f *flags) showOne(w io.Writer, o *backoffice.Office, name string) error {
	id, err := capability.ParseActivationID(name)
	if err == nil {
		v, ok := o.Book().Item(id, now())
		if !ok {
			return capability.Refuse(capability.ErrUnknownID, string(id), "in %s", f.dir)
		}
		if f.json {
			return printJSON(w, itemData{terminal.NewData("freehold.item/1"), v})
		}
		printItem(w, &v)
		return nil
	}
	h, hostErr := findHost(o.Book(), name)
	if r := (*capability.Refusal)(nil); errors.As(hostErr, &r) {
		r.Detail += ", and " + err.Error()
	}
	if hostErr != nil {
		return hostErr
	}
	return f.showHost(w, o, h)
}

// findHost is the one machine on record whose host ID begins so.
func findHost(b *entitlement.Book, name string) (*entitlement.Host, error) {
	switch found, more := b.HostPage(entitlement.HostFilter{ID: func(id hostid.ID) bool { return matches(id, name) }}, hostid.ID{}, 1); {
	case more:
		return nil, terminal.Usage("several machines begin with %q: give more digits", name)
	case len(found) == 0:
		return nil, capability.Refuse(capability.ErrNotFound, name, "it is no host on record")
	default:
		return &found[0], nil
	}
}

// matches compares as people type: with or without hyphens and type, in any case, the first digits being enough.
func matches(id hostid.ID, name string) bool {
	value, _, _ := strings.Cut(name, "/")
	value = strings.ReplaceAll(strings.TrimPrefix(strings.ToUpper(value), "LH-"), "-", "")
	return len(value) >= 4 && strings.HasPrefix(strings.ToUpper(id.Value), value)
}

func short(host string) string {
	id, err := hostid.Parse(host)
	if err != nil {
		return host
	}
	return id.Short()
}

func summary(h *entitlement.Host) hostSummary {
	s := hostSummary{h.Host.String(), h.Alias, h.Tier, h.Proven, h.Answered, h.Serial, h.Epoch, len(h.Incidents), h.Forked(), h.Repairs(now()), h.Holds}
	if s.Holds == nil {
		s.Holds = []entitlement.Fulfillment{}
	}
	return s
}

func (f *flags) showBook(w io.Writer, o *backoffice.Office, page *pageFlags) error {
	b := o.Book()
	head, length := b.Head()
	data := bookData{Data: terminal.NewData("freehold.book/1"), Policy: b.Policy(), Entries: length, Head: fmt.Sprintf("%x", head), Items: []entitlement.ItemView{}, Hosts: []hostSummary{}}
	item, host := capability.ActivationID(""), hostid.ID{}
	if page.after != "" {
		var err error
		if item, err = capability.ParseActivationID(page.after); err != nil {
			h, err := findHost(b, page.after)
			if err != nil {
				return err
			}
			host = h.Host
		}
	}
	if host == (hostid.ID{}) {
		data.Items, data.MoreItems = b.ItemPage(now(), entitlement.ItemFilter{}, item, page.size())
	}
	if item == "" {
		var hosts []entitlement.Host
		hosts, data.MoreHosts = b.HostPage(entitlement.HostFilter{}, host, page.size())
		for _, h := range hosts {
			data.Hosts = append(data.Hosts, summary(&h))
		}
	}
	if f.json {
		return printJSON(w, data)
	}
	p := data.Policy
	fmt.Fprintf(w, "%s: lease interval %s, tier %s and above, responses good for %s; %s, head %.16s\n", terminal.Plain(p.Producer), p.Lease, p.MinimumTier, p.ResponseLife, capability.Counted(length, "entry"), data.Head)
	fmt.Fprintf(w, "forks: %s; repairs of a machine on one person's word: %d in 365 days\n", p.Forks, p.Repairs.Count())
	for _, l := range p.Limits {
		fmt.Fprintf(w, "limit: %s\n", limitWords(l))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(data.Items) > 0 {
		fmt.Fprintln(t, "\nACTIVATION ID\tCUSTOMER\tPRODUCT\tCOPIES\tUSED\tLEFT\tSTATE\tEXPIRES")
	}
	for _, v := range data.Items {
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%d\t%d\t%d\t%s\t%s\n", v.ActivationID, terminal.Plain(v.Customer), terminal.Plain(v.Product), v.ProductVersion, v.Copies, v.Used, v.Left, v.State, until(v.Expiry))
	}
	if data.MoreItems {
		fmt.Fprintf(t, "more: freehold show --after %s\n", data.Items[len(data.Items)-1].ActivationID)
	}
	if len(data.Hosts) > 0 {
		fmt.Fprintln(t, "\nHOST\tALIAS\tTIER\tKEYS\tREQUEST\tRESPONSE\tHOLDS\tREFUSED")
	}
	for _, h := range data.Hosts {
		var copies uint64
		for _, f := range h.Holds {
			copies += uint64(f.Copies)
		}
		refused := fmt.Sprint(h.Incidents)
		if h.Forked {
			refused += ", forked"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", short(h.Host), terminal.Plain(h.Alias), h.Tier, keys(h.Proven), h.Answered, h.Serial, capability.Counted(copies, "copy"), refused)
	}
	if data.MoreHosts {
		fmt.Fprintf(t, "more: freehold show --after %s\n", short(data.Hosts[len(data.Hosts)-1].Host))
	}
	return t.Flush()
}

func keys(proven bool) string {
	if proven {
		return "proven"
	}
	return "claimed"
}

func printItem(w io.Writer, v *entitlement.ItemView) {
	fmt.Fprintf(w, "%s  %s\n", v.ActivationID, v.State)
	fmt.Fprintf(w, "customer     %s\nentitlement  %s\nproduct      %s %s\n", terminal.Plain(v.Customer), terminal.Plain(v.EntitlementID), terminal.Plain(v.Product), v.ProductVersion)
	for _, f := range v.Features {
		fmt.Fprintf(w, "feature      %s:%s, %d a copy\n", terminal.Plain(f.Name), f.Version, f.PerCopy)
	}
	fmt.Fprintf(w, "copies       %d, used %d, left %d\n", v.Copies, v.Used, v.Left)
	printLife(w, v)
	if v.Metered {
		fmt.Fprintf(w, "metered      %s\n", meteredWords(&v.Item))
	}
	if v.Start != 0 {
		fmt.Fprintf(w, "starts       %s\n", v.Start)
	}
	fmt.Fprintf(w, "expires      %s\ntier         %s\n", v.Expiry, v.MinimumTier)
	for _, l := range v.Limits {
		fmt.Fprintf(w, "limit        %s\n", limitWords(l))
	}
	if v.Reserved > 0 {
		fmt.Fprintf(w, "reserved     %d, for devices with their next responses\n", v.Reserved)
	}
	for _, h := range v.Hosts {
		out := ""
		if h.Out > 0 {
			out = fmt.Sprintf(", %d of them asked back and not proved to be gone", h.Out)
		}
		fmt.Fprintf(w, "held         %d by %s%s%s\n", h.Copies, h.Host.Short(), terminal.Plain(quoted(h.Alias)), out)
	}
}

// limitWords says what a machine of a tier may have.
func limitWords(l entitlement.TierLimit) string {
	words := "a machine of tier " + l.Tier.String() + " may have "
	switch l.Copies {
	case 0:
		words += "all copies of an item"
	case 1:
		words += "1 copy of an item"
	default:
		words += fmt.Sprintf("%s of an item", capability.Counted(l.Copies, "copy"))
	}
	if l.Product != "" {
		words += " of " + terminal.Plain(l.Product)
	}
	if l.Life != 0 {
		words += ", until " + l.Life.String() + " after its last response"
	}
	return words
}

// meteredWords says how counts of a metered item are used.
func meteredWords(i *entitlement.Item) string {
	words := "counts are used up"
	if i.Reusable {
		words = "counts may go down again"
	}
	if i.UndoInterval > 0 {
		words += ", a report can be taken back for " + i.UndoInterval.String()
	}
	return words
}

func (f *flags) showHost(w io.Writer, o *backoffice.Office, h *entitlement.Host) error {
	refused := make([]refusedRequest, 0, len(h.Incidents))
	for _, i := range h.Incidents {
		refused = append(refused, refusedRequest{i, o.RequestFile(i.Digest), o.RequestFile(i.Against)})
	}
	audit, auditRequest := h.Audit()
	if f.json {
		data := hostData{terminal.NewData("freehold.host/1"), summary(h), audit, auditRequest, h.Metered, h.Requests, h.Returns, refused, h.Past, h.Moved, h.Appearances}
		if data.Metered == nil {
			data.Metered = []capability.Meter{}
		}
		if data.Returns == nil {
			data.Returns = []entitlement.ReturnSeen{}
		}
		if data.Appearances == nil {
			data.Appearances = []entitlement.Appearance{}
		}
		if data.Past == nil {
			data.Past = []entitlement.PastLife{}
		}
		return printJSON(w, data)
	}
	fmt.Fprintf(w, "%s%s  tier %s, keys %s\n", h.Host, terminal.Plain(quoted(h.Alias)), h.Tier, keys(h.Proven))
	fmt.Fprintf(w, "last         request %d, response %d, epoch %d\n", h.Answered, h.Serial, h.Epoch)
	printAppearances(w, h.Appearances)
	if auditRequest != 0 {
		fmt.Fprintf(w, "audit        %s, the last %.8x, as of request %d\n", capability.Counted(audit.Position, "entry"), audit.Hash[:], auditRequest)
	}
	if h.Forked() {
		fmt.Fprintln(w, "forked       two histories of this machine have sent requests: it, or its storage, was copied")
	}
	if m := h.Moved; m != nil {
		fmt.Fprintf(w, "re-hosted    %s\n", terminal.Plain(movedWords(m)))
	}
	for _, held := range h.Holds {
		fmt.Fprintf(w, "holds        %s of %s\n", capability.Counted(held.Copies, "copy"), held.ActivationID)
	}
	for _, o := range h.Out {
		fmt.Fprintf(w, "asked back   %s of %s %s, left out of response %d\n", capability.Counted(o.Copies, "copy"), o.ActivationID, o.Since, o.Serial)
	}
	for _, off := range h.Off {
		fmt.Fprintf(w, "written off  %s\n", terminal.Plain(offWords(&off)))
	}
	for _, m := range h.Metered {
		fmt.Fprintf(w, "used         %d of %s, metered, of %s, as of request %d\n", m.Count, terminal.Plain(m.Feature), m.ActivationID, h.Answered)
	}
	for _, s := range h.Returns {
		what := "credited"
		if !s.Credited {
			what = "not credited: " + s.Refused.String() + " " + s.Refused.Entry().Title
			if s.Final {
				what += ", for good"
			}
		}
		fmt.Fprintf(w, "returned     %s of %s at epoch %d, %s\n", capability.Counted(s.Copies, "copy"), s.ActivationID, s.Epoch, what)
	}
	for _, p := range h.Past {
		by := p.By
		if p.Approved != "" {
			by += ", approved by " + p.Approved
		}
		fmt.Fprintf(w, "repaired     %s by %s: %s; the storage before ended at epoch %d with request %d\n", p.Ended, terminal.Plain(by), terminal.Plain(p.Reason), p.Epoch, p.Answered)
	}
	for _, q := range o.Book().QuestionsTo(h.Host) {
		fmt.Fprintf(w, "waits        request %d, for the customer, who was asked %s: %s\n", q.Of, q.Time, terminal.Plain(q.Text))
	}
	for _, k := range h.Requests {
		if k.Refused != "" {
			fmt.Fprintf(w, "refused      %s  request %d, with response %d: %s\n", k.Time, k.Number, k.Serial, terminal.Plain(k.Refused))
		}
	}
	if n := h.Repairs(now()); n > 0 {
		fmt.Fprintf(w, "repairs      %d in 365 days, of %d on one person's word\n", n, o.Book().Policy().Repairs.Count())
	}
	for _, i := range refused {
		what := "refused "
		if i.Warned {
			what = "answered" // under a warning
		}
		fmt.Fprintf(w, "%s     %s  request %d  %s %s: %s\n", what, i.Time, i.Number, i.Code, i.Code.Entry().Title, terminal.Plain(i.Detail))
		if i.File != "" {
			fmt.Fprintf(w, "  evidence   %s\n", i.File)
		}
		if i.AgainstFile != "" {
			fmt.Fprintf(w, "  against    %s\n", i.AgainstFile)
		}
	}
	return nil
}
