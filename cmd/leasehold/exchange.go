package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// wish collects what is wanted, each followed by its count.
type wish []capability.Desired

// byID takes --id.
func (w *wish) byID() pflag.Value {
	return wished{w, "ID", func(s string) (d capability.Desired, err error) {
		d.ActivationID, err = capability.ParseActivationID(s)
		return d, err
	}}
}

// byFeature takes --feature.
func (w *wish) byFeature() pflag.Value {
	return wished{w, "FEATURE", func(s string) (capability.Desired, error) {
		name, err := capability.ParseFeature(s)
		return capability.Desired{Feature: name.Name, Version: name.Version}, err
	}}
}

type wished struct {
	to   *wish
	kind string
	read func(string) (capability.Desired, error)
}

func (w wished) String() string { return "" }
func (w wished) Type() string   { return w.kind }
func (w wished) Set(s string) error {
	d, err := w.read(s)
	if err != nil {
		return err
	}
	d.Count = 1
	*w.to = append(*w.to, d)
	return nil
}

// wishCount takes --count, which belongs to what was wanted last: in the first of these that has anything.
type wishCount []*wish

func (w wishCount) String() string { return "" }
func (w wishCount) Type() string   { return "N" }
func (w wishCount) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > capability.MaxCount {
		return fmt.Errorf("want a number from 0 to %d", capability.MaxCount)
	}
	for _, of := range w {
		if last := len(*of) - 1; last >= 0 {
			(*of)[last].Count = uint32(n)
			return nil
		}
	}
	return errors.New("it counts copies of the --id before it, or counts of the --feature, and there is none")
}

// place is where -o or --stick says a request goes.
type place struct{ dir, stick string }

func (l *place) flags(c *cobra.Command) {
	c.Flags().StringVarP(&l.dir, "output", "o", "", "write into this `directory`, which is made if its parent is there")
	c.Flags().StringVar(&l.stick, "stick", "", "write into the LEASEHOLD folder of the stick at this `directory`, which is made if it is not there")
	c.MarkFlagsMutuallyExclusive("output", "stick")
	c.MarkFlagDirname("output")
	c.MarkFlagDirname("stick")
}

func (l *place) given() bool { return l.dir != "" || l.stick != "" }

func (l *place) open(host hostid.ID) (*courier.Medium, error) {
	if l.stick != "" {
		return courier.OpenStick(l.stick, host, true)
	}
	// Its parent must be there: the directory of a stick that is not mounted is no place to begin.
	if err := courier.MakeDirectory(l.dir, 0o755); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is made only where the directory above it is there: mkdir -p %s", l.dir, filepath.Dir(filepath.Clean(l.dir)))
	} else if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return courier.Open(l.dir, host)
}

func (p *program) requestCommand() *cobra.Command {
	var w wish
	var to place
	var from uint64
	var t trip
	c := &cobra.Command{
		Use: "request [--id ID --count N]... (-o DIR | --stick DIR)", Short: "Write a request for the back office, or of a PC for an appliance", Args: cobra.NoArgs,
		Long: "Writes REQ-nnnn.LHQ, and beside it REQ-nnnn.TXT, which says in words every datum in it.\n\n" +
			"Without --id it asks for what is this appliance's own. With --id, the count is the whole wanted total of that activation ID: asking for 10 twice gives 10. " +
			"A request can be written any number of times; proofs of returns ride in each until they are credited.\n\n" +
			"What was used goes along until the back office has acknowledged it, the oldest first, as much as one file holds; --from sends again what is still kept of before.\n\n" +
			"With --store it is this machine that asks, for rights of its own, and no daemon is needed: it signs with its TPM, or, where it has none, with a key that is bound to it.\n\n" +
			"With --feature and --borrow it is a PC that asks an appliance which it cannot reach, and no daemon is needed either: the appliance's administrator answers the file with leasehold import, and " +
			"the answer is imported here. The seat is used with leasehold acquire, and given back early with leasehold release FEATURE -o DIR.",
		Example: "  leasehold request --stick /media/usb\n  leasehold request --id 7K2QF-0H3ZD-9XW4M-PRT2A --count 40 -o .\n  leasehold request --borrow 720h --feature render:2026.1 -o /media/usb",
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case t.given():
				if err := checkTrip(t, w, from, p.own.given()); err != nil {
					return err
				}
				return p.requestTrip(c.Context(), t, to)
			case p.own.given() && from != 0:
				return terminal.Usage("--from is about the records of an appliance, and --store says that there is none")
			case p.own.given():
				return p.requestOwn(c.Context(), w, to)
			}
			return p.request(c.Context(), console.Wish{Desired: w, From: from}, to)
		},
	}
	p.own.flags(c)
	c.Flags().BoolVar(&p.own.replace, "replace-store", false, "say that the other store of rights, or the appliance, that this machine's TPM counts for is gone for good: the response ends it")
	c.Flags().Var(w.byID(), "id", "activation `ID` to hold; may be given several times")
	c.Flags().Var(wishCount{&t.features, &w}, "count", "wanted total `N` of the --id or the --feature before it; 1")
	c.Flags().Var(t.features.byFeature(), "feature", "on a PC that reaches no appliance: borrow this `FEATURE[:VERSION]`; may be given several times")
	c.Flags().DurationVar(&t.borrow, "borrow", 0, "borrow for `TIME`, like 72h; what is longer than is allowed is cut")
	c.Flags().Uint64Var(&t.above, "above", 0, "number the request above `N`, of which the appliance said that it was decided")
	c.Flags().StringVar(&p.own.keep, "keep-key", p.own.keep, "`how` the key of a PC that has none yet is kept: file, machine or tpm ($LEASEHOLD_KEEP_KEY)")
	c.Flags().Uint64Var(&from, "from", 0, "send the records of usage from number `N` on again, as far as they are kept")
	to.flags(c)
	c.MarkFlagsOneRequired("output", "stick")
	return c
}

type writtenRequest struct {
	Number      uint64    `json:"number"`
	Host        hostid.ID `json:"host"`
	Request     string    `json:"request"`          // path
	Description string    `json:"description"`      // path
	Size        int       `json:"size"`             // bytes
	Records     []uint64  `json:"records"`          // of usage: number of the first and of the last that go along
	States      int       `json:"states,omitempty"` // how many uses of the day that runs it tells
}

func (p *program) request(ctx context.Context, w console.Wish, to place) error {
	r, err := p.writeRequest(ctx, w, to)
	if err != nil {
		return err
	}
	return p.printRequest(r)
}

func (p *program) printRequest(r *writtenRequest) error {
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			writtenRequest
		}{terminal.NewData("leasehold.request/1"), *r}))
	}
	p.requested(r)
	return nil
}

func (p *program) requested(r *writtenRequest) {
	p.printf("request %d written: %s (%d bytes)\n", r.Number, r.Request, r.Size)
	if len(r.Records) == 2 {
		p.printf("usage: records %d to %d go along\n", r.Records[0], r.Records[1])
	}
	if r.States > 0 {
		p.printf("usage: how the day stands goes along, of %s\n", capability.Counted(r.States, "use"))
	}
	p.say("%s says in words everything that is in it.\nnext: take it to the back office, and bring back the response: leasehold import FILE\n", r.Description)
}

func (p *program) writeRequest(ctx context.Context, w console.Wish, to place) (*writtenRequest, error) {
	h, err := p.health(ctx)
	if err != nil {
		return nil, err
	}
	m, err := to.open(h.Host) // before a number is spent
	if err != nil {
		return nil, terminal.Coded(courier.Code(err), err)
	}
	defer m.Close()
	var r console.Written
	if err := p.call(ctx, http.MethodPost, "requests", w, &r); err != nil {
		return nil, err
	}
	return describeRequest(m, h.Host, r.Number, r.File)
}

// describeRequest writes a request and, beside it, every datum of it in words.
func describeRequest(m *courier.Medium, host hostid.ID, number uint64, file []byte) (*writtenRequest, error) {
	in, err := client.Inspect(file, nil)
	if err != nil {
		return nil, terminal.Coded(capability.ErrInternal, fmt.Errorf("the request cannot be read: %w", err))
	}
	name, err := m.Write(number, file, terminal.Describe(in, hostid.ID{}))
	if err != nil {
		return nil, terminal.Coded(courier.Code(err), err)
	}
	path := m.Path() + "/" + name
	w := &writtenRequest{number, host, path, strings.TrimSuffix(path, ".LHQ") + ".TXT", len(file), []uint64{}, len(in.Request.Fields.States)}
	if records := in.Request.Fields.Records; len(records) > 0 {
		w.Records = []uint64{records[0].Number, records[len(records)-1].Number}
	}
	return w, nil
}

func (p *program) returnCommand() *cobra.Command {
	var count uint32
	var again, cancel bool
	var drain time.Duration
	var to place
	c := &cobra.Command{
		Use: "return ID [--count N] [-o DIR | --stick DIR | --drain TIME | --cancel]", Short: "Take rights out of service for good, with proof", Args: cobra.ExactArgs(1),
		Long: "The counts leave service before this command ends, and cannot come back by an older disk. The proof rides in each request from then on, until the back office " +
			"has credited it; with -o or --stick such a request is written at once.\n\n" +
			"Only what nobody holds can be returned. --drain makes it free: nothing of it is served anew from then on, and from the end of that time on nothing is renewed " +
			"either; the leases run out. --cancel serves it again.",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := capability.ParseActivationID(args[0])
			if err != nil {
				return terminal.Usage("%w", err)
			}
			if c.Flags().Changed("count") && (count == 0 || count > capability.MaxCount) {
				return terminal.Usage("--count %d: want a number from 1 to %d, or leave it out to return all", count, capability.MaxCount)
			}
			if p.own.given() && (c.Flags().Changed("drain") || cancel) {
				return terminal.Usage("--drain and --cancel are for an appliance, and --store says that there is none")
			}
			if p.own.given() {
				return p.returnOwn(c.Context(), console.Giving{ActivationID: id, Copies: count}, again, to)
			}
			if c.Flags().Changed("drain") || cancel {
				return p.drain(c.Context(), console.Drain{ActivationID: id, Copies: count, For: capability.Seconds(drain / time.Second)}, drain, cancel)
			}
			return p.giveBack(c.Context(), console.Giving{ActivationID: id, Copies: count}, again, to)
		},
	}
	c.Flags().BoolVar(&again, "again", false, "return more although an earlier return of this ID still waits for the back office")
	c.Flags().Uint32Var(&count, "count", 0, "copies to return, `N`; all")
	c.Flags().DurationVar(&drain, "drain", 0, "return nothing yet: serve nothing of it anew, and renew for this `TIME` only")
	c.Flags().BoolVar(&cancel, "cancel", false, "end a drain, and serve as before")
	to.flags(c)
	p.own.flags(c)
	c.MarkFlagsMutuallyExclusive("drain", "cancel", "output", "stick")
	return c
}

func (p *program) giveBack(ctx context.Context, g console.Giving, again bool, to place) error {
	h, err := p.health(ctx)
	if err != nil {
		return err
	}
	// Whoever repeats a command because the first one said nothing must not give up twice as much.
	for _, t := range h.Returns {
		if t.ActivationID == g.ActivationID && !again {
			return capability.Refuse(capability.ErrReturnWaits, string(t.ActivationID), "%s returned %s, at epoch %d", capability.Counted(t.Copies, "copy"), t.Time, t.Epoch)
		}
	}
	if to.given() {
		// What cannot be written to is found before anything is given up.
		m, err := to.open(h.Host)
		if err != nil {
			return terminal.Coded(courier.Code(err), err)
		}
		m.Close()
	}
	// From here on the command cannot be interrupted: it takes a moment, and whoever waits must hear what became of it.
	signal.Ignore(os.Interrupt)
	defer signal.Reset(os.Interrupt)
	var t capability.Return
	if err := p.call(ctx, http.MethodPost, "returns", g, &t); err != nil {
		var no *capability.Refusal
		if errors.As(err, &no) && no.Code == capability.ErrInUse && !p.json {
			p.holders(no.Holders)
		}
		return err
	}
	return p.returned(&t, to.given(), func() (*writtenRequest, error) { return p.writeRequest(ctx, console.Wish{}, to) })
}

// returned tells of a return, and writes the request with its proof if one is wanted at once.
func (p *program) returned(t *capability.Return, wanted bool, write func() (*writtenRequest, error)) error {
	switch {
	case p.json && wanted:
		// The return is told whatever becomes of the request: it is done, and the request can be written again.
		r, err := write()
		var warnings []string
		if err != nil {
			warnings = append(warnings, "no request was written: "+err.Error())
		}
		return errors.Join(terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			Return  capability.Return `json:"return"`
			Request *writtenRequest   `json:"request"`
		}{terminal.NewData("leasehold.return/2", warnings...), *t, r})), err)
	case p.json:
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			Return capability.Return `json:"return"`
		}{terminal.NewData("leasehold.return/1"), *t}))
	}
	p.printf("%s of %s returned at epoch %d; out of service here for good\n", capability.Counted(t.Copies, "copy"), t.ActivationID, t.Epoch)
	if wanted {
		r, err := write()
		if err != nil {
			return err
		}
		return p.printRequest(r)
	}
	p.say("The request with the proof can be written any number of times.\nnext: leasehold request -o DIR\n")
	return nil
}

func (p *program) importCommand() *cobra.Command {
	var to place
	c := &cobra.Command{
		Use: "import FILE|DIR", Short: "Apply a response of the back office, or answer the request of a PC", Args: cobra.ExactArgs(1),
		Long: "Applies one response, or from a directory or stick the newest one for this appliance; content decides what is one, not its name.\n\n" +
			"What is not for this appliance, older, or not the producer's changes nothing. The same response twice is \"already applied\", exit status 0.\n\n" +
			"A file may also be in its text form, or what a scanner reads of the QR codes of one, a line for each; - is standard input. With --store the response is for rights of this machine's own, and no daemon is needed.\n\n" +
			"On an appliance, a file that is the request of a PC to borrow or to give back is answered: the answer is written beside it, or where -o or --stick says. On that PC, the answer is imported, and no daemon is needed.",
		RunE: func(c *cobra.Command, args []string) error {
			if p.own.given() {
				return p.importOwn(c.Context(), args[0])
			}
			return p.importFrom(c.Context(), args[0], to)
		},
	}
	p.own.flags(c)
	to.flags(c)
	return c
}

// readFile reads a file of ours, in either form, by its name or from standard input.
func (p *program) readFile(path string) ([]byte, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(io.LimitReader(p.stdin, wire.MaxText+1))
	} else {
		b, err = courier.ReadFile(path)
	}
	if err == nil {
		b, err = wire.FromText(b)
	}
	if err != nil {
		return nil, terminal.Coded(courier.Code(err), err)
	}
	return b, nil
}

// candidate is a response file that may be applied.
type candidate struct {
	name string
	file []byte
}

type importResult struct {
	terminal.Data
	File string `json:"file"`
	console.Imported

	whose string // "appliance" or "machine"
}

func (p *program) importFrom(ctx context.Context, path string, to place) error {
	if !courier.IsDirectory(path) {
		b, err := p.readFile(path)
		if err != nil {
			return err
		}
		switch kind, _ := wire.Kind(b); {
		case kind == wire.KindRequest:
			return p.answerTrip(ctx, path, b, to)
		case to.given():
			return terminal.Usage("-o and --stick say where the answer to a PC's request goes, and %s is none", path)
		case kind == wire.KindAnswer:
			return p.importTrip(ctx, path, b)
		}
		done, err := p.apply(ctx, []candidate{{path, b}})
		if err != nil {
			return err
		}
		return p.imported(done)
	}
	h, err := p.health(ctx)
	if err != nil {
		return err
	}
	m, ours, skipped, err := findOurs(path, h.Host, "appliance")
	if err != nil {
		return err
	}
	defer m.Close()
	done, err := p.apply(ctx, ours)
	if err != nil {
		return err
	}
	done.Warnings = append(done.Warnings, skipped...)
	if _, err := m.Receipt(done.Clear.Number, receipt(h, done)); err != nil {
		done.Warnings = append(done.Warnings, "no receipt was written: "+err.Error())
	}
	return p.imported(done)
}

// findOurs opens a directory or a stick and gives the responses on it for host, the newest first, and what was passed over, in words.
func findOurs(path string, host hostid.ID, whose string) (m *courier.Medium, ours []candidate, skipped []string, err error) {
	m, err = courier.OpenStick(path, host, false)
	if errors.Is(err, courier.ErrNoFolder) {
		m, err = courier.Open(path, host)
	}
	if err != nil {
		return nil, nil, nil, terminal.Coded(courier.Code(err), err)
	}
	defer func(opened *courier.Medium) {
		if err != nil {
			opened.Close()
		}
	}(m)
	found, passed, err := m.Find()
	if err != nil {
		return nil, nil, nil, terminal.Coded(courier.Code(err), err)
	}
	for _, s := range passed {
		skipped = append(skipped, "passed over: "+s.Error())
	}
	var others []string
	for _, f := range found {
		if f.Ours {
			ours = append(ours, candidate{m.Path() + "/" + f.Name, f.File})
		} else {
			others = append(others, fmt.Sprintf("%s is for LH-%s", f.Name, f.Clear.For.Short()))
		}
	}
	if len(ours) == 0 {
		return nil, nil, nil, terminal.Coded(capability.ErrNotOurs, fmt.Errorf("this %s is LH-%s: %s", whose, host.Short(), strings.Join(others, ", ")))
	}
	return m, ours, skipped, nil
}

// apply hands responses to the daemon, the first first, until one is not refused. What was refused before it is a warning; if all are, the first refusal is the error.
func (p *program) apply(ctx context.Context, files []candidate) (*importResult, error) {
	var first error
	done := &importResult{Data: terminal.NewData("leasehold.import/1")}
	for _, f := range files {
		err := p.call(ctx, http.MethodPost, "responses", f.file, &done.Imported)
		if err == nil {
			done.File = f.name
			return done, nil
		}
		if refusal := (*capability.Refusal)(nil); !errors.As(err, &refusal) {
			return nil, err
		}
		if first == nil {
			first = err
		}
		done.Warnings = append(done.Warnings, f.name+": "+err.Error())
	}
	return nil, first
}

func (p *program) imported(r *importResult) error {
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(*r))
	}
	p.printf("%s", describeImport(r))
	for _, w := range r.Warnings {
		p.say("warning: %s\n", w)
	}
	return nil
}

// describeImport says in words what a response did.
func describeImport(r *importResult) string {
	var b strings.Builder
	e := r.Code.Entry()
	switch r.Code {
	case capability.Applied:
		fmt.Fprintf(&b, "%s response %d applied: signatures good, for this %s\n", r.Code, r.Serial, cmp.Or(r.whose, "appliance"))
	case capability.AlreadyHere:
		fmt.Fprintf(&b, "%s response %d already applied; nothing changed\n", r.Code, r.Serial)
	default:
		fmt.Fprintf(&b, "%s %s; response %d was ignored and nothing changed\n", r.Code, e.Title, r.Serial)
	}
	if r.Code == capability.Applied && len(r.Changes) == 0 {
		b.WriteString("no count changed\n")
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%s %d -> %d\n", c.Feature, c.Before, c.After)
	}
	for _, m := range r.Used {
		fmt.Fprintf(&b, "%s: %d of them are used, as the back office heard before the repair\n", m.Feature, m.Count)
	}
	for _, d := range r.Denials {
		if d.Code == capability.ErrReturnRefused {
			fmt.Fprintf(&b, "refused: %s\n", returnRefused(d))
			continue
		}
		fmt.Fprintf(&b, "refused: %s %s\n", d.Code, d.Sentence())
	}
	for _, n := range r.Notices {
		fmt.Fprintf(&b, "note: %s %s\n", n.Code, n.Sentence())
	}
	if n := len(r.Closed); n > 0 {
		fmt.Fprintf(&b, "credited: %s\n", capability.Counted(n, "return"))
	}
	return b.String()
}

// receipt is the RCP-nnnn.TXT of a stick.
func receipt(h *console.Health, r *importResult) string {
	return fmt.Sprintf("Receipt, for people; nobody imports it.\n\nAppliance  LH-%s  (%s)\nFile       %s, response %d to request %d, made %s\nWhen       %s\n\n%s",
		h.Host.Short(), h.Host, r.File, r.Serial, r.Clear.Number, r.Clear.Time, capability.At(time.Now()), describeImport(r))
}
