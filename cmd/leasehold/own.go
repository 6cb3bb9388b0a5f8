package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/probe"
	"github.com/leasehold/leasehold/tpm"
)

// own is where this machine keeps rights of its own, which need no appliance and no daemon.
type own struct {
	dir, machine, tpm, keep string
	newDevice               bool // though this machine shows too little of itself
	makes                   bool // the directory, where it is not there yet
	replace                 bool // another store, which is gone
}

func ownOfEnvironment() own {
	return own{machine: from("LEASEHOLD_MACHINE", ""), tpm: from("LEASEHOLD_TPM", ""), keep: from("LEASEHOLD_KEEP_KEY", "")}
}

func (o *own) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.dir, "store", "", "`directory` of rights of this machine's own: no appliance is asked")
	c.Flags().StringVar(&o.tpm, "tpm", o.tpm, "`address` of this machine's TPM, or none to use none; /dev/tpmrm0 where there is one ($LEASEHOLD_TPM)")
	c.Flags().StringVar(&o.machine, "machine", o.machine, "what this machine shows is in this JSON `file`, of leasehold hostid --json for instance; else it is looked at ($LEASEHOLD_MACHINE)")
	c.MarkFlagFilename("machine", "json")
}

func (o *own) given() bool { return o.dir != "" }

// shown is what this machine shows of itself.
func (o *own) shown() (m hostid.Machine, err error) {
	if o.machine == "" {
		return probe.Live(probe.Options{})
	}
	b, err := courier.ReadFile(o.machine)
	if err != nil {
		return m, terminal.Coded(courier.Code(err), err)
	}
	if m, err = machineOf(b); err != nil {
		return m, terminal.Coded(capability.ErrFileForm, fmt.Errorf("%s: %w", o.machine, err))
	}
	return m, nil
}

// machineOf reads what leasehold hostid --json printed, or a machine as a probe gives it.
func machineOf(b []byte) (m hostid.Machine, err error) {
	var printed struct {
		Virtual, Container string
		IDs                []listedID
	}
	if json.Unmarshal(b, &printed) != nil || len(printed.IDs) == 0 {
		return m, json.Unmarshal(b, &m)
	}
	m.Virtual, m.Container = printed.Virtual, printed.Container
	for _, row := range printed.IDs {
		f := hostid.Finding{ID: hostid.ID{Value: row.Value}, Source: row.Source, Flaw: row.Flaw}
		if f.ID.Type, err = hostid.ParseType(row.Type); err != nil {
			return m, err
		}
		if f.Strength, err = hostid.ParseStrength(row.Strength); err != nil {
			return m, err
		}
		m.Findings = append(m.Findings, f)
	}
	return m, nil
}

// keys says how the key of the device that asks appliances is kept: as it is already, or as was said.
func (o *own) keys(options *client.Options) (err error) {
	dir := options.Dir
	if dir == "" {
		if dir, err = client.DefaultDir(); err != nil {
			return err
		}
	}
	how := client.HowKept(dir)
	if how == "" || how == client.KeptInFile && o.keep == client.KeptByMachine {
		how = o.keep
	}
	switch how {
	case "", client.KeptInFile:
	case client.KeptInTPM:
		options.Keys = keysIn{o.tpm}
	case client.KeptByMachine:
		options.NewDevice = o.newDevice
		options.Machine, err = o.shown()
	default:
		return terminal.Usage("--keep-key %q: want %s, %s or %s", how, client.KeptInFile, client.KeptByMachine, client.KeptInTPM)
	}
	return err
}

// openOwn opens a directory of this machine's, and its TPM, which is to be closed after it; nil: there is none.
func (p *program) openOwn(ctx context.Context, options client.StandaloneOptions) (s *client.Standalone, d *tpm.Device, err error) {
	if options.Machine, err = p.own.shown(); err != nil {
		return nil, nil, err
	}
	options.TrustFile = p.trust
	if d, err = openTPM(p.own.tpm); err != nil {
		return nil, nil, err
	}
	if d != nil {
		if options.Chip, err = newChip(d); err != nil {
			return nil, nil, errors.Join(err, d.Close())
		}
	}
	if s, err = client.OpenStandalone(ctx, options); err != nil && d != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return s, d, err
}

// withOwn runs f with the rights of this machine.
func (p *program) withOwn(ctx context.Context, user string, f func(*client.Standalone) error) (err error) {
	o := &p.own
	s, d, err := p.openOwn(ctx, client.StandaloneOptions{Dir: o.dir, User: user, Existing: !o.makes, Replace: o.replace})
	if err != nil {
		return o.advised(err)
	}
	if d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
	}
	for _, c := range s.Changed() {
		p.say("note: %s that the rights in %s are bound to is not here any more, or not for this account to read; the next request names what is\n", c, o.dir)
	}
	err = f(s)
	return errors.Join(o.advised(err), s.Close())
}

// advised is an error with the next step where that is another one than on an appliance.
func (o *own) advised(err error) error {
	var no *capability.Refusal
	if !errors.As(err, &no) {
		return err
	}
	var next string
	switch {
	case errors.Is(err, client.ErrTooLittle):
		next = "use the TPM of this machine: --tpm ADDRESS; or try as root, who may read more of it: leasehold hostid; a guest or a container that shows nothing of its own asks an appliance: --server"
	case no.Code == capability.ErrBinding:
		next = "use it on the machine it belongs to, where nothing is lost; if that one is gone: leasehold request --store NEWDIR -o DIR, and ask the producer to re-host its rights (freehold respond FILE --rehost HOST)"
	case no.Code == capability.ErrRollback || no.Code == capability.ErrCorrupt || no.Code == capability.ErrCounter || no.Code == capability.ErrStorageGone:
		next = fmt.Sprintf("put the newest copy back, or have it repaired: leasehold request --store %s -o DIR, and bring back the response", o.dir)
	case no.Code == capability.ErrOtherStore:
		next = fmt.Sprintf("use the other store or the appliance of this machine; only if that is gone for good: leasehold request --store %s --replace-store -o DIR, and have it repaired", o.dir)
	case no.Code == capability.ErrNotProvisioned:
		next = fmt.Sprintf("leasehold request --store %s --id ID -o DIR, and import the response", o.dir)
	case no.Code == capability.ErrNothingToReturn:
		next = fmt.Sprintf("leasehold rights --store %s", o.dir)
	case no.Code == capability.ErrNotOpened || no.Code == capability.ErrResponseEpoch:
		next = fmt.Sprintf("write a new request: leasehold request --store %s -o DIR", o.dir)
	default:
		return err
	}
	said := no.Detail
	if no.Subject != "" {
		said = no.Subject + ": " + said
	}
	return terminal.Advised(no.Code, errors.New(said), next)
}

// requestOwn is request without a daemon.
func (p *program) requestOwn(ctx context.Context, w wish, to place) error {
	p.own.makes = true
	return p.withOwn(ctx, "", func(s *client.Standalone) error {
		r, err := p.writeOwn(ctx, s, w, to)
		if err != nil {
			return err
		}
		return p.printRequest(r)
	})
}

func (p *program) writeOwn(ctx context.Context, s *client.Standalone, w wish, to place) (*writtenRequest, error) {
	m, err := to.open(s.Host()) // before a number is spent
	if err != nil {
		return nil, terminal.Coded(courier.Code(err), err)
	}
	defer m.Close()
	r, err := s.Request(ctx, w)
	if err != nil {
		return nil, err
	}
	return describeRequest(m, s.Host(), r.Number, r.Bytes)
}

// importOwn applies a response without a daemon; of a directory or a stick the newest one for this machine.
func (p *program) importOwn(ctx context.Context, path string) error {
	p.own.makes = true // a response for another machine is told apart first
	return p.withOwn(ctx, "", func(s *client.Standalone) error {
		files, skipped := []candidate{{name: path}}, []string(nil)
		if !courier.IsDirectory(path) || path == "-" {
			b, err := p.readFile(path)
			if err != nil {
				return err
			}
			files[0].file = b
		} else {
			m, ours, passed, err := findOurs(path, s.Host(), "machine")
			if err != nil {
				return err
			}
			defer m.Close()
			files, skipped = ours, passed
		}
		done := &importResult{Data: terminal.NewData("leasehold.import/1"), whose: "machine"}
		var first error
		for _, f := range files {
			a, err := s.Import(ctx, f.file)
			if err == nil {
				done.File, done.Imported, done.Warnings = f.name, importedBy(a), append(done.Warnings, skipped...)
				return p.imported(done)
			}
			if first = cmp.Or(first, err); len(files) > 1 {
				done.Warnings = append(done.Warnings, f.name+": "+err.Error())
			}
		}
		return first
	})
}

// importedBy is what a response did, as the daemon would say it.
func importedBy(a *client.Applied) console.Imported {
	in := console.Imported{Code: a.Code, Serial: a.Clear.Serial, Clear: a.Clear, Changes: []console.Change{}}
	if a.Response == nil {
		return in
	}
	in.Denials, in.Closed = a.Response.Denials, a.Response.Acknowledged
	for _, l := range a.Response.Lines {
		if l.Denial.Code != 0 {
			in.Denials = append(in.Denials, l.Denial)
		}
	}
	counts := map[string]*console.Change{}
	count := func(items []capability.LineItem, add func(*console.Change, uint64)) {
		for _, i := range items {
			if counts[i.Feature] == nil {
				counts[i.Feature] = &console.Change{Feature: i.Feature}
			}
			add(counts[i.Feature], uint64(i.Count))
		}
	}
	count(a.Before, func(c *console.Change, n uint64) { c.Before += n })
	count(a.After, func(c *console.Change, n uint64) { c.After += n })
	for _, c := range counts {
		if c.Before != c.After {
			in.Changes = append(in.Changes, *c)
		}
	}
	slices.SortFunc(in.Changes, func(a, b console.Change) int { return cmp.Compare(a.Feature, b.Feature) })
	return in
}

// returnOwn takes copies out of service without a daemon: first they are gone, then there is a request that proves it.
func (p *program) returnOwn(ctx context.Context, g console.Giving, again bool, to place) error {
	return p.withOwn(ctx, "", func(s *client.Standalone) error {
		v, err := s.Look(ctx)
		if err != nil {
			return err
		}
		for _, t := range v.Returns {
			if t.ActivationID == g.ActivationID && !again {
				return capability.Refuse(capability.ErrReturnWaits, string(t.ActivationID), "%s returned %s, at epoch %d", capability.Counted(t.Copies, "copy"), t.Time, t.Epoch)
			}
		}
		if to.given() {
			m, err := to.open(s.Host())
			if err != nil {
				return terminal.Coded(courier.Code(err), err)
			}
			m.Close()
		}
		signal.Ignore(os.Interrupt)
		defer signal.Reset(os.Interrupt)
		t, err := s.Return(ctx, g.ActivationID, g.Copies)
		if err != nil {
			return err
		}
		return p.returned(t, to.given(), func() (*writtenRequest, error) { return p.writeOwn(ctx, s, nil, to) })
	})
}

// rightsResult is leasehold.rights/1.
type rightsResult struct {
	terminal.Data
	Host     hostid.ID             `json:"host"`
	Serial   uint64                `json:"serial"` // of the response in force; zero: none
	Made     capability.Time       `json:"made"`
	Requests uint64                `json:"requests"`
	Epoch    uint64                `json:"epoch"`
	Clock    string                `json:"clock"`
	Items    []capability.LineItem `json:"items"`
	Held     []heldRow             `json:"held"`
	Returns  []capability.Return   `json:"returns"`
	Refused  []capability.Denial   `json:"refused,omitempty"`  // returns that are sent no more
	NotGiven *capability.Denial    `json:"notGiven,omitempty"` // why the producer refused the request that the response in force answers
}

func (p *program) rightsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rights --store DIR", Short: "Say what this machine has of its own", Args: cobra.NoArgs,
		Long: "Shows the rights that this machine keeps for itself, what programs hold of them, and returns that the back office has not credited yet. It needs no daemon.\n\n" +
			"With a TPM an older copy of the directory is refused, because the TPM's counter has moved since. Without one a file that was copied or restored is noticed by when it was made; " +
			"a disk that was copied as a whole is not, and shows at the back office when both copies ask.",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withOwn(c.Context(), "", func(s *client.Standalone) error { return p.printRights(c.Context(), s) })
		},
	}
	p.own.flags(c)
	if err := c.MarkFlagRequired("store"); err != nil {
		panic(err)
	}
	return c
}

func (p *program) printRights(ctx context.Context, s *client.Standalone) error {
	v, err := s.Look(ctx)
	if err != nil {
		return err
	}
	r := rightsResult{Data: terminal.NewData("leasehold.rights/1"), Host: s.Host(), Serial: v.Serial, Made: v.Made, Requests: v.Requests, Epoch: v.Epoch, Clock: s.Clock().String(),
		Items: v.Items, Held: []heldRow{}, Returns: v.Returns, Refused: v.Refused, NotGiven: v.NotGiven}
	for _, h := range v.Held {
		r.Held = append(r.Held, heldRow{Feature: h.Feature, Version: h.Version, Count: h.Count})
	}
	if v.Lost != nil {
		r.Warnings = append(r.Warnings, v.Lost.Error())
	}
	if v.Asked {
		r.Warnings = append(r.Warnings, "the producer took rights back; a request shows that they are gone: leasehold request -o DIR")
	}
	if p.json {
		if r.Items == nil {
			r.Items = []capability.LineItem{}
		}
		if r.Returns == nil {
			r.Returns = []capability.Return{}
		}
		return terminal.JSON(p.out, terminal.Hexed(r))
	}
	p.printf("machine  LH-%s (%s)\nclock    %s\n", s.Host().Short(), s.Host(), r.Clock)
	if v.Serial != 0 {
		p.printf("response %d, made %s\n", v.Serial, v.Made)
	} else {
		p.printf("response none yet; %s written\n", capability.Counted(v.Requests, "request"))
	}
	for _, i := range v.Items {
		whose := ""
		if i.User != "" {
			whose = ", of " + i.User
		}
		end := "permanent"
		if i.Expiry != 0 {
			end = until(i.Expiry)
		}
		p.printf("has      %d of %s:%s  %s  (%s%s)\n", i.Count, i.Feature, i.Version, end, i.ActivationID, whose)
	}
	for _, h := range r.Held {
		p.printf("held     %d of %s:%s\n", h.Count, h.Feature, h.Version)
	}
	for _, t := range v.Returns {
		p.printf("returned %s of %s at epoch %d, not credited yet\n", capability.Counted(t.Copies, "copy"), t.ActivationID, t.Epoch)
	}
	if d := v.NotGiven; d != nil {
		p.printf("refused  %s %s: %s; %s\n", d.Code, d.Code.Entry().Title, d.Detail, d.Code.Entry().Next)
	}
	for _, d := range v.Refused {
		p.printf("refused  %s\n", returnRefused(d))
	}
	for _, w := range r.Warnings {
		p.say("warning: %s\n", w)
	}
	return nil
}

// acquireOwn takes counts of this machine's own rights and keeps them until they are released.
func (p *program) acquireOwn(ctx context.Context, user, feature string, options []client.Option) error {
	return p.withOwn(ctx, user, func(s *client.Standalone) error {
		l, err := s.Acquire(ctx, feature, append(options, client.Keep())...)
		if err != nil {
			return explained(p, err)
		}
		return p.printOwn(ctx, s, l.Feature(), l.Count(), l)
	})
}

func (p *program) releaseOwn(ctx context.Context, f capability.Feature) error {
	return p.withOwn(ctx, "", func(s *client.Standalone) error {
		if err := s.Release(ctx, f.Name); err != nil {
			return err
		}
		return p.printOwn(ctx, s, f, 0, nil)
	})
}

func (p *program) printOwn(ctx context.Context, s *client.Standalone, f capability.Feature, count uint32, l *client.LocalLease) error {
	v, err := s.Look(ctx)
	if err != nil {
		return err
	}
	r := leaseResult{Data: terminal.NewData("leasehold.lease/1"), Feature: f.Name, Version: f.Version, Count: count, Host: s.Host(), Held: []heldRow{}}
	if l != nil && !l.Expiry().IsZero() {
		r.Expiry = capability.At(l.Expiry())
	}
	for _, h := range v.Held {
		r.Held = append(r.Held, heldRow{Feature: h.Feature, Version: h.Version, Count: h.Count})
	}
	return p.showLease(&r)
}
