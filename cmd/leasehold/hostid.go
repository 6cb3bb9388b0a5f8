package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/probe"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

// hostPatience is how long the host of a container, or a daemon that is only asked for the TPM's identity, may take to answer.
const hostPatience = 2 * time.Second

// looking says where to look for host IDs, and what is told besides.
type looking struct {
	root, record   string
	tpm, container string
	dongles        []string
	agreed         []string
}

func (l *looking) flags(f *pflag.FlagSet) {
	f.StringVar(&l.root, "root", "", "read a recorded `directory` instead of this machine")
	f.StringVar(&l.tpm, "tpm", "", "ask the TPM at this `address` for its keys: a device, unix:SOCKET or tcp:HOST:PORT; else the daemon is asked")
	f.StringVar(&l.container, "container-socket", "", "ask the container's host on this Unix `socket` for the container's ID")
	f.StringArrayVar(&l.dongles, "dongle", nil, "`VENDOR[:PRODUCT]` of USB devices that are dongles too, as lsusb prints them; may be repeated")
	f.StringArrayVar(&l.agreed, "agreed", nil, "`VALUE/TYPE` of a host ID that this machine has by agreement: STRING, USER, INTERNET, INTERNET6, EXTENDED, PUBLISHER_DEFINED; may be repeated")
}

func (p *program) hostidCommand() *cobra.Command {
	var l looking
	var t teller
	var order, manual string
	c := &cobra.Command{
		Use: "hostid", Short: "List the host IDs of this machine", Args: cobra.NoArgs,
		Long: "Lists every identity that this machine shows, how much it is worth, where it was read, and what it is to the binding: identity (a key in hardware, or what " +
			"stands for one), counts (one of the parts that say that the machine is still the same), if chosen (a dongle, or what was told), or no, and why not.\n\n" +
			"One of them is the identity of this machine: that of --choose, else the first of --order, else the TPM, then built-in network cards first.\n\n" +
			"The board's UUID and some serial numbers can only be read by root. Network cards count by the permanent address of a built-in PCI card; docks, USB and wireless " +
			"adapters, bonds and bridges never do, so none of them makes a machine another one.\n\n" +
			"The host of a container tells its ID on a Unix socket in one line: whatever connects gets it.\n\n" +
			"--tell tells the daemon, which judges whether it is still the machine that the rights belong to, and the firmware's log of what was started, where the daemon wants it and cannot read it: requests carry it. --planned announces that it will be changed.\n\n" +
			"--record writes to a directory what was read, to be sent to support: serial numbers, addresses and UUIDs are made-up ones of the same kind there, and host names, " +
			"user names, labels and comments are not in it. The recording shows the same verdicts: leasehold hostid --root DIRECTORY.",
		Example: "  sudo leasehold hostid\n  leasehold hostid --choose 2CEA7FA1B210/ETHERNET\n  sudo leasehold hostid --record /tmp/recording",
		RunE: func(c *cobra.Command, _ []string) error {
			if t.given() {
				t.root = l.root
				return p.speak(c.Context(), t, func() (hostid.Machine, error) {
					m, _, err := p.look(c.Context(), &l)
					return m, err
				})
			}
			types, err := parseOrder(order)
			if err != nil {
				return err
			}
			var hand hostid.ID
			if manual != "" {
				if hand, err = hostid.Parse(manual); err != nil {
					return terminal.Usage("--choose %q: %w", manual, err)
				}
			}
			m, notes, err := p.look(c.Context(), &l)
			if err != nil {
				return err
			}
			chosen, unfit := hostid.Choose(m, types, hand)
			if unfit != nil && manual == "" { // a machine may well show nothing, and has been asked for nothing
				notes, unfit = append(notes, unfit.Error()), nil
			}
			if err := p.printMachine(m, chosen, notes); err != nil {
				return err
			}
			if l.record != "" {
				p.say("The recording is in %s.\n", l.record)
			}
			if unfit != nil {
				return terminal.Advised(capability.ErrNotFound, unfit, "leasehold hostid, and name one without a flaw with --choose")
			}
			return nil
		},
	}
	l.flags(c.Flags())
	t.flags(c)
	c.Flags().StringVar(&l.record, "record", "", "write what was read, without what is private, to this new or empty `directory`")
	c.Flags().StringVar(&order, "order", "", "`types` of host IDs in the order in which the identity is chosen, with commas")
	c.Flags().StringVar(&manual, "choose", "", "`VALUE/TYPE` of the identity")
	c.MarkFlagDirname("root")
	c.MarkFlagDirname("record")
	return c
}

func parseOrder(s string) (types []hostid.Type, err error) {
	if s == "" {
		return nil, nil
	}
	for _, name := range strings.Split(s, ",") {
		t, err := hostid.ParseType(strings.TrimSpace(name))
		if err != nil || t == hostid.Unknown {
			return nil, terminal.Usage("--order: %q is no type of host ID", name)
		}
		types = append(types, t)
	}
	return types, nil
}

// look is all that this machine, or a recorded one, shows of itself, and what could not be asked.
func (p *program) look(ctx context.Context, l *looking) (m hostid.Machine, notes []string, err error) {
	var o probe.Options
	for _, s := range l.dongles {
		d, err := probe.ParseDongle(s)
		if err != nil {
			return m, nil, terminal.Usage("--dongle: %w", err)
		}
		o.Dongles = append(o.Dongles, d)
	}
	told, err := agreed(l.agreed)
	if err != nil {
		return m, nil, err
	}
	switch {
	case l.tpm != "":
		o.Given, err = askTPM(l.tpm)
		if err != nil {
			return m, nil, terminal.Coded(capability.ErrTPMAbsent, err)
		}
	case l.root == "":
		asked, cancel := context.WithTimeout(ctx, hostPatience)
		defer cancel()
		h, err := p.health(asked)
		if err == nil && h.Host.Type == hostid.TPMEK {
			o.Given = append(o.Given, hostid.Finding{ID: h.Host, Strength: hostid.Proven, Source: "TPM, by the daemon"})
		} else {
			notes = append(notes, unaskedTPM(tpm.DefaultAddress)...)
		}
	}
	if l.container != "" {
		o.Given = append(o.Given, askHost(ctx, l.container))
	}
	o.Given = append(o.Given, told...)
	m, err = l.read(o)
	return m, notes, err
}

// unaskedTPM is how the TPM at an address can be asked for its key, where one is there; nothing is said of one that is not.
func unaskedTPM(address string) []string {
	if _, err := os.Stat(address); err != nil {
		return nil
	}
	return []string{"no daemon answers for the TPM; ask it with --tpm " + address}
}

// read probes this machine or the recorded one, and records.
func (l *looking) read(o probe.Options) (m hostid.Machine, err error) {
	var root, into *os.Root
	if l.root != "" {
		if root, err = os.OpenRoot(l.root); err != nil {
			return m, terminal.Coded(capability.ErrFileRead, err)
		}
		defer root.Close()
	}
	if l.record != "" {
		if into, err = emptyDirectory(l.record); err != nil {
			return m, err
		}
		defer into.Close()
	}
	switch {
	case root != nil && into != nil:
		m, err = probe.Record(root, into, o)
	case root != nil:
		m = probe.Probe(root, o)
	case into != nil:
		m, err = probe.RecordLive(into, o)
	default:
		m, err = probe.Live(o)
	}
	return m, err
}

func emptyDirectory(name string) (*os.Root, error) {
	if err := os.MkdirAll(name, 0o755); err != nil {
		return nil, err
	}
	if there, err := os.ReadDir(name); err != nil {
		return nil, err
	} else if len(there) > 0 {
		return nil, terminal.Usage("%s is not empty: a recording has a directory of its own", name)
	}
	return os.OpenRoot(name)
}

// agreed reads what an administrator says of this machine. What is measured cannot be told.
func agreed(all []string) (out []hostid.Finding, err error) {
	for _, s := range all {
		id, err := hostid.Parse(s)
		if err != nil {
			return nil, terminal.Usage("--agreed %q: %w", s, err)
		}
		switch id.Type {
		case hostid.String, hostid.User, hostid.Internet, hostid.Internet6, hostid.Extended, hostid.PublisherDefined:
			out = append(out, hostid.Finding{ID: id, Strength: hostid.Told, Source: "the command line"})
		default:
			return nil, terminal.Usage("--agreed %q: a host ID of type %s is read, not told", s, id.Type)
		}
	}
	return out, nil
}

// askTPM has the TPM prove both keys: the attestation key signs a fresh challenge, and the endorsement key opens what was sealed to the two.
func askTPM(address string) ([]hostid.Finding, error) {
	d, err := tpm.Open(address)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	const purpose attest.Purpose = "host id"
	challenge := make([]byte, attest.KeyBytes)
	if _, err := rand.Read(challenge); err != nil {
		return nil, err
	}
	e, err := d.Evidence(purpose, challenge)
	if err != nil {
		return nil, err
	}
	id, err := attest.Verify(e, purpose, challenge)
	if err != nil {
		return nil, err
	}
	w, err := attest.Wrap(rand.Reader, id, challenge)
	if err != nil {
		return nil, err
	}
	if opened, err := d.Activate(w); err != nil || !bytes.Equal(opened, challenge) {
		return nil, fmt.Errorf("the TPM does not open what was sealed to its key: %w", errors.Join(err, tpm.ErrNotOurs))
	}
	source := "TPM at " + address
	out := []hostid.Finding{{ID: hostid.OfDigest(hostid.TPMEK, id.HostID), Strength: hostid.Proven, Source: source}}
	if n := id.AKName; len(n) == 34 { // two bytes that name the hash, and SHA-256
		out = append(out, hostid.Finding{ID: hostid.OfDigest(hostid.TPMAK, [32]byte(n[2:])), Strength: hostid.Proven, Source: source})
	}
	return out, nil
}

// askHost reads one line from the container's host. A host that does not answer is listed as one.
func askHost(ctx context.Context, socket string) hostid.Finding {
	f := hostid.Finding{ID: hostid.ID{Type: hostid.ContainerID}, Strength: hostid.Told, Source: "the container's host on " + socket}
	value, err := oneLine(ctx, socket)
	f.ID.Value = value
	if err == nil {
		err = f.ID.Validate()
	}
	if err != nil {
		f.Strength, f.Flaw = hostid.Worthless, "the host does not tell it: "+cause(err).Error()
	}
	return f
}

func oneLine(ctx context.Context, socket string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetReadDeadline(deadline); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(c, hostid.MaxValue+2))
	line, rest, whole := strings.Cut(string(b), "\n")
	switch {
	case whole && rest == "": // what comes after the line is not waited for
		return line, nil
	case err != nil:
		return "", err
	case whole || len(b) > hostid.MaxValue:
		return "", errors.New("more than one line of 128 bytes")
	}
	return line, nil
}

// listedID is a finding as it is printed.
type listedID struct {
	Type     string `json:"type"`
	Value    string `json:"value"`
	Strength string `json:"strength"`
	Source   string `json:"source"`
	Binding  string `json:"binding"`        // identity, counts, if chosen, no
	Flaw     string `json:"flaw,omitempty"` // why not
	Chosen   bool   `json:"chosen,omitempty"`
}

// part is what a finding is to the binding.
func part(f hostid.Finding) string {
	switch {
	case f.Flaw != "":
		return "no"
	case f.ID.Type == hostid.TPMEK, f.ID.Type == hostid.TPMAK, f.ID.Type == hostid.Composite:
		return "identity"
	case f.ID.Type == hostid.BoardUUID, f.ID.Type == hostid.VMUUID, f.ID.Type == hostid.Ethernet, f.ID.Type == hostid.Disk:
		return "counts"
	}
	return "if chosen"
}

func (p *program) printMachine(m hostid.Machine, chosen hostid.Finding, notes []string) error {
	rows := []listedID{}
	for _, f := range m.Findings {
		rows = append(rows, listedID{f.ID.Type.String(), f.ID.Value, f.Strength.String(), f.Source, part(f), f.Flaw, f == chosen && f.Flaw == ""})
	}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			Virtual   string     `json:"virtual"`   // empty on bare metal
			Container string     `json:"container"` // empty outside of one
			IDs       []listedID `json:"ids"`
		}{terminal.NewData("leasehold.hostid/1", notes...), m.Virtual, m.Container, rows}))
	}
	if m.Virtual != "" {
		p.printf("virtual machine: %s\n", m.Virtual)
	}
	if m.Container != "" {
		p.printf("container: %s\n", m.Container)
	}
	if len(rows) == 0 {
		p.say("This machine shows nothing of itself.\n")
	} else if err := p.table("TYPE\tVALUE\tSTRENGTH\tBINDING\tSOURCE", len(rows), func(i int) string {
		r := rows[i]
		is := r.Binding
		if r.Chosen {
			is += ", chosen"
		}
		if r.Flaw != "" {
			is += ": " + r.Flaw
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r.Type, dash(r.Value), r.Strength, is, r.Source)
	}); err != nil {
		return err
	}
	for _, n := range notes {
		p.say("note: %s\n", n)
	}
	return nil
}
