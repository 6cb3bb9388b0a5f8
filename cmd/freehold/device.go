package main

import (
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

// devicesData is freehold.devices/1.
type devicesData struct {
	terminal.Data
	Devices []entitlement.DeviceView `json:"devices"`
	Orphans []entitlement.Orphan     `json:"orphans"` // copies on machines that are to have none of them
}

// deviceData is freehold.device/1.
type deviceData struct {
	terminal.Data
	entitlement.DeviceView
	Served *entitlement.ServedView `json:"served,omitempty"` // absent: it never sent a record of usage
}

func deviceCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "device", Short: "Keep devices: names, contacts, and what each waits for",
		Long: "A device is a machine as you know it; it may be entered before it has ever asked. It is named by its name, its host ID, or the first digits of that. " +
			"What you say of it proves nothing: rights reach the machine whose TPM or device key proves the host ID, and no other.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(once(f, deviceSet(f)), deviceList(f), deviceShow(f))
	return c
}

func deviceSet(f *flags) *cobra.Command {
	var said entitlement.Device
	c := &cobra.Command{
		Use: "set DEVICE", Short: "Enter a device, or change what is said of one",
		Long: "Set enters a device by its host ID, as leasehold hostid prints it on the machine, or changes what the flags name and leaves the rest. Only an ID that a request proves will do: TPM_EK or DEVICE_KEY. " +
			"Without --account the first activation ID that it is given decides whose it is.",
		Example: "  freehold device set 3F2A.../TPM_EK --name \"Mill 3\" --server --contact \"A. Ray\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var id hostid.ID
			return f.alter(func(o *backoffice.Office) (_ entitlement.Command, err error) {
				p, name := o.Book().Policy(), args[0]
				if len(name) == 64 && !strings.Contains(name, "/") { // of the type that the policy says
					kind := p.ClientType
					if said.Server {
						kind = p.ServerType
					}
					if kind == 0 {
						kind = entitlement.HostType(hostid.TPMEK)
					}
					name += "/" + kind.String()
				}
				if id, err = findDevice(o.Book(), name); err != nil {
					return nil, err
				}
				d := entitlement.Device{ID: id}
				if v, ok := o.Book().DeviceOf(id); ok {
					d = v.Device
				}
				for _, flag := range []struct {
					name string
					set  func()
				}{
					{"name", func() { d.Name = said.Name }}, {"server", func() { d.Server = said.Server }},
					{"contact", func() { d.Contact = said.Contact }}, {"account", func() { d.Account = said.Account }},
				} {
					if c.Flags().Changed(flag.name) {
						flag.set()
					}
				}
				return entitlement.SetDevice{Device: d, By: operator()}, nil
			}, func(o *backoffice.Office) error { return f.printDevice(c.OutOrStdout(), o.Book(), id) })
		},
	}
	c.Flags().StringVar(&said.Name, "name", "", "a `name` that no other device has")
	c.Flags().BoolVar(&said.Server, "server", false, "it runs an appliance, which serves others")
	c.Flags().StringVar(&said.Contact, "contact", "", "a `person` to ask about it")
	c.Flags().StringVar(&said.Account, "account", "", "`name` of the customer's account")
	return c
}

func deviceList(f *flags) *cobra.Command {
	var waiting bool
	c := &cobra.Command{
		Use: "list", Short: "List devices and machines, and what they wait for", Args: cobra.NoArgs,
		Long: "List shows every machine on record and every device that was entered. Below it are copies on machines that are to have none of them, and have not proved that they are gone.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.look(func(o *backoffice.Office) error {
				data := devicesData{terminal.NewData("freehold.devices/1"), []entitlement.DeviceView{}, o.Book().Orphans()}
				for _, v := range o.Book().Devices() {
					if !waiting || v.Standing == entitlement.WaitsForDevice {
						data.Devices = append(data.Devices, v)
					}
				}
				if f.json {
					return printJSON(c.OutOrStdout(), data)
				}
				return printDevices(c.OutOrStdout(), &data)
			})
		},
	}
	c.Flags().BoolVar(&waiting, "waiting", false, "only those whose next request is waited for")
	return c
}

func printDevices(w io.Writer, data *devicesData) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tNAME\tACCOUNT\tTIER\tLAST\tSTANDING")
	for _, v := range data.Devices {
		last := "never asked"
		if v.Known {
			last = v.Last.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", v.ID.Short(), terminal.Plain(nameOf(&v)), terminal.Plain(v.Account), v.Tier.String(), last, v.Standing)
	}
	if len(data.Orphans) > 0 {
		fmt.Fprintln(t, "\nDEVICE\tACTIVATION ID\tCOPIES\tSINCE\tSTANDING")
	}
	for _, o := range data.Orphans {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", o.Host.Short(), o.ActivationID, o.Copies, o.Since, orphanWords(&o))
	}
	return t.Flush()
}

// orphanWords says where copies stand that their machine is to have no more.
func orphanWords(o *entitlement.Orphan) string {
	switch {
	case o.WrittenOff:
		return "written off"
	case o.Confirmed != 0:
		return "left out and applied; what it lent of them may run"
	case o.Told != 0:
		return fmt.Sprintf("left out of response %d, no proof yet", o.Told)
	}
	return "the machine has not asked since"
}

// nameOf is what people call a device.
func nameOf(v *entitlement.DeviceView) string {
	if v.Name == "" {
		return v.Alias
	}
	return v.Name
}

func deviceShow(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "show DEVICE", Short: "Show one device: what it is to have, has, and waits for, since when", Args: cobra.ExactArgs(1),
		Long: "Show says what is reserved for the device, what was asked back and which proof of it is missing, and what was written off. Of an appliance it says what it served in the 30 days before its newest record of usage, and since when nothing is known; records name features, and users where they may, and no devices. freehold show HOST has its requests and responses.",
		RunE: func(c *cobra.Command, args []string) error {
			return f.look(func(o *backoffice.Office) error {
				id, err := findDevice(o.Book(), args[0])
				if err != nil {
					return err
				}
				return f.printDevice(c.OutOrStdout(), o.Book(), id)
			})
		},
	}
}

func (f *flags) printDevice(w io.Writer, b *entitlement.Book, id hostid.ID) error {
	v, ok := b.DeviceOf(id)
	if !ok {
		return capability.Refuse(capability.ErrNotFound, id.Short(), "it was never entered and has never asked")
	}
	if f.json {
		data := deviceData{terminal.NewData("freehold.device/1"), v, nil}
		if served, known := b.ServedBy(id); known {
			data.Served = &served
		}
		return printJSON(w, data)
	}
	line := func(format string, args ...any) { fmt.Fprintln(w, terminal.Plain(fmt.Sprintf(format, args...))) }
	line("%s%s  %s", v.ID, quoted(nameOf(&v)), v.Standing)
	switch {
	case !v.Known:
		line("machine      it has never asked")
	default:
		line("machine      tier %s, keys %s, last answered %s", v.Tier, keys(v.Proven), v.Last)
	}
	if v.Server {
		line("server       it runs an appliance")
	}
	if v.Account != "" {
		line("account      %s", v.Account)
	}
	if v.Contact != "" {
		line("contact      %s", v.Contact)
	}
	for _, r := range v.Rights {
		line("%s  %s  %s", r.ActivationID, r.Product, rightWords(&r))
		if r.Waiting > 0 {
			line("  waiting    %s", waitingWords(&r))
		}
	}
	printServed(line, b, &v)
	for _, o := range v.Orders {
		line("order        %s", orderWords(&o))
	}
	for _, off := range v.Off {
		line("written off  %s", offWords(&off))
	}
	if m := v.Moved; m != nil {
		line("re-hosted    %s", movedWords(m))
	}
	for _, p := range v.Provisional {
		if p.Until > now() {
			line("provisional  until %s: its rights were re-hosted from %s, which has not proved that they are gone", p.Until, p.From.Short())
		}
	}
	if v.Revoked {
		line("revoked      its next response says so")
	}
	return nil
}

// printServed says what an appliance served, as far as its records tell: nobody changes that by hand.
func printServed(line func(format string, args ...any), b *entitlement.Book, v *entitlement.DeviceView) {
	served, known := b.ServedBy(v.ID)
	switch {
	case !v.Known:
		return
	case !known:
		line("served       not known: it has never sent a record of usage")
		return
	}
	line("served       from %s to %s, and not synchronized since; %s", served.From, served.Until, capability.Counted(served.Upto, "record"))
	if served.Missing > 0 {
		line("  missing    %s never came", capability.Counted(served.Missing, "record"))
	}
	for _, f := range served.Features {
		what, users := string(f.ActivationID)+"  "+f.Feature, ""
		if f.Feature == "" {
			what = "without a right"
		}
		if len(f.Users) > 0 {
			users = ", users " + strings.Join(f.Users, ", ")
		}
		line("  %s  %d served, %d at once, %d refused%s", what, f.Served, f.Peak, f.Denied, users)
	}
}

func rightWords(r *entitlement.DeviceRight) string {
	words := fmt.Sprintf("has %d", r.Held)
	if r.Mapped != nil {
		words = fmt.Sprintf("shall have %d, has %d", *r.Mapped, r.Held)
	}
	if r.Reserved > 0 {
		words += fmt.Sprintf(", %d are reserved and given with its next response", r.Reserved)
	}
	if r.Retired {
		words += ", taken back"
	}
	return words
}

// waitingWords says what proof is missing.
func waitingWords(r *entitlement.DeviceRight) string {
	switch {
	case r.Confirmed != 0:
		return fmt.Sprintf("%s asked back %s; response %d was applied, and what was lent of them may run until %s", capability.Counted(r.Waiting, "copy"), r.Asked, r.Serial, r.Until)
	case r.Serial != 0:
		return fmt.Sprintf("%s asked back %s, left out of response %d; its next request proves that they are gone", capability.Counted(r.Waiting, "copy"), r.Asked, r.Serial)
	}
	return fmt.Sprintf("%s left out of its next response", capability.Counted(r.Waiting, "copy"))
}

func offWords(w *entitlement.WrittenOff) string {
	words := fmt.Sprintf("%s: %s of %s by %s, approved by %s: %s", w.Time, capability.Counted(w.Copies, "copy"), w.ActivationID, w.By, w.Approved, w.Reason)
	if w.Closed != 0 {
		words += fmt.Sprintf("; proved to be gone %s", w.Closed)
	}
	return words
}

func movedWords(m *entitlement.Moved) string {
	words := fmt.Sprintf("%s to %s by %s, approved by %s: %s", m.Time, m.To.Short(), m.By, m.Approved, m.Reason)
	if m.Proved != 0 {
		return words + fmt.Sprintf("; proved to be gone %s", m.Proved)
	}
	return words + fmt.Sprintf("; provisional until %s, or until it proves that they are gone", m.Until())
}

// findDevice is a device by its name, by its host ID, also one that is not on record, or by the first digits of one that is.
func findDevice(b *entitlement.Book, name string) (hostid.ID, error) {
	var found []hostid.ID
	var named hostid.ID
	for _, v := range b.Devices() {
		if v.Name != "" && strings.EqualFold(v.Name, name) {
			named = v.ID
		} else if matches(v.ID, name) {
			found = append(found, v.ID)
		}
	}
	switch {
	case named != hostid.ID{} && len(found) > 0: // customers name their devices too
		return hostid.ID{}, terminal.Usage("%q is the name of %s, and %s begins so: give the whole host ID", name, named, found[0])
	case named != hostid.ID{}:
		return named, nil
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return hostid.ID{}, terminal.Usage("%s begin with %q: give more digits", capability.Counted(len(found), "device"), name)
	}
	if strings.Contains(name, "/") {
		id, err := hostid.Parse(strings.ToUpper(strings.TrimPrefix(name, "LH-")))
		if err != nil {
			return id, terminal.Usage("%w", err)
		}
		return id, nil
	}
	return hostid.ID{}, capability.Refuse(capability.ErrNotFound, name, "no device has this name or host ID; a new one is named by its whole ID, as leasehold hostid prints it")
}

// deviceAndItem reads the two names that most commands about devices take.
func deviceAndItem(b *entitlement.Book, args []string) (id hostid.ID, of capability.ActivationID, err error) {
	if id, err = findDevice(b, args[0]); err != nil {
		return id, "", err
	}
	if of, err = capability.ParseActivationID(args[1]); err != nil {
		return id, "", terminal.Usage("%w", err)
	}
	return id, of, nil
}

// steer has a command about a device done, and shows the device.
func (f *flags) steer(w io.Writer, args []string, command func(b *entitlement.Book, id hostid.ID, of capability.ActivationID) (entitlement.Command, error)) error {
	return f.look(func(o *backoffice.Office) error {
		id, of, err := deviceAndItem(o.Book(), args)
		if err != nil {
			return err
		}
		made := entitlement.Made(func(b *entitlement.Book) (entitlement.Command, error) { return command(b, id, of) })
		if err := f.said(o.Do(made, now())); err != nil {
			return err
		}
		return f.printDevice(w, o.Book(), id)
	})
}
