package main

import (
	"bytes"
	"encoding/hex"
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
)

// bootData is freehold.boot/1.
type bootData struct {
	terminal.Data
	States []bootState `json:"states"`
}

type bootState struct {
	ID string `json:"id"` // first 16 digits of the state's SHA-256
	entitlement.BootState
}

func bootCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "boot", Short: "Allow boot states ahead of an update of firmware or image",
		Long: "A machine's trusted storage opens only in boot states that the producer signed. Each response signs the one the machine's request quotes, and every state that is allowed here: " +
			"so a machine that applied such a response before an update opens its storage after it, and needs no repair.\n\n" +
			"A boot state is the values of PCR 7, 11 and 12, 96 bytes. Start the new image on one machine of each kind, write a request there, and take the state from it with --from.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(bootAllow(f), bootList(f), bootWithdraw(f))
	return c
}

func bootAllow(f *flags) *cobra.Command {
	var pcrs, from, note string
	c := &cobra.Command{
		Use: "allow {--pcrs HEX|FILE | --from REQUEST} --note TEXT", Short: "Sign a boot state into every response from now on",
		Long: "Allow adds a boot state to the book. At most 31 are allowed at once.",
		Example: "  freehold boot allow --from /media/stick/LEASEHOLD/7F3A22C9/REQ-0003.LHQ --note \"image 2026.2\"\n" +
			"  freehold boot allow --pcrs image-2026.2.pcrs --note \"image 2026.2\"",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (pcrs == "") == (from == "") {
				return terminal.Usage("name the state with --pcrs or with --from")
			}
			o, err := f.open()
			if err != nil {
				return err
			}
			defer o.Close()
			var state []byte
			if from != "" {
				state, err = f.quoted(o, from)
			} else {
				state, err = readState(pcrs)
			}
			if err != nil {
				return err
			}
			return f.changed(c.OutOrStdout(), o, state, o.AllowBoot(state, note, operator(), now()))
		},
	}
	c.Flags().StringVar(&pcrs, "pcrs", "", "the values of PCR 7, 11 and 12 as 192 hexadecimal `digits`, or a file with them, or with their 96 bytes")
	c.Flags().StringVar(&from, "from", "", "take the state that the request in `file` quotes")
	c.Flags().StringVar(&note, "note", "", "`words` that say what it is")
	if err := c.MarkFlagRequired("note"); err != nil {
		panic(err)
	}
	return c
}

func bootList(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the boot states that are allowed, and those that were withdrawn", Args: cobra.NoArgs,
		Long: "List shows every boot state that was ever allowed, by the first digits of its hash, in the order of time.",
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := f.open()
			if err != nil {
				return err
			}
			defer o.Close()
			return f.printStates(c.OutOrStdout(), o.Book().BootStates())
		},
	}
}

func bootWithdraw(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "withdraw STATE", Short: "Sign a boot state into no later response",
		Long: "Withdraw names the state by the first digits that list shows. No later response has it, and a request from a machine that runs in it is refused until the machine runs in another one. " +
			"A state that was signed stays valid where it is: a machine that has the signature opens its storage in that state as before. " +
			"So allow the new state first, answer the machines, and withdraw the old one when they have moved.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.open()
			if err != nil {
				return err
			}
			defer o.Close()
			state, err := findState(o.Book().BootStates(), args[0])
			if err != nil {
				return err
			}
			return f.changed(c.OutOrStdout(), o, state, o.WithdrawBoot(state, operator(), now()))
		},
	}
}

// quoted is the state in a request file.
func (f *flags) quoted(o *backoffice.Office, name string) ([]byte, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, about(name, err)
	}
	_, state, err := o.Quoted(b)
	if err != nil {
		return nil, about(name, f.coded(err))
	}
	return state, nil
}

// readState reads 192 digits, or a file of them or of the bytes themselves.
func readState(s string) ([]byte, error) {
	if state, err := hex.DecodeString(s); err == nil && len(state) == entitlement.StateBytes {
		return state, nil
	}
	b, err := readBounded(s)
	if isAbsent(s) {
		return nil, terminal.Usage("--pcrs: %.64q is neither %d hexadecimal digits nor a file", s, 2*entitlement.StateBytes)
	}
	if err != nil {
		return nil, about(s, err)
	}
	if len(b) == entitlement.StateBytes {
		return b, nil
	}
	digits := bytes.Join(bytes.Fields(b), nil)
	if state, err := hex.DecodeString(string(digits)); err == nil && len(state) == entitlement.StateBytes {
		return state, nil
	}
	return nil, terminal.Usage("--pcrs: %s holds %d bytes where the values of PCR 7, 11 and 12 are %d, or twice as many hexadecimal digits", s, len(b), entitlement.StateBytes)
}

// findState is the allowed state whose ID begins so.
func findState(states []entitlement.BootState, name string) ([]byte, error) {
	var found [][]byte
	for _, s := range states {
		if len(name) >= 4 && s.Withdrawn == 0 && strings.HasPrefix(s.ID(), strings.ToLower(name)) {
			found = append(found, s.State)
		}
	}
	switch len(found) {
	case 0:
		return nil, capability.Refuse(capability.ErrNotFound, name, "no boot state that is allowed begins so; freehold boot list shows them, and 4 digits are the least")
	case 1:
		return found[0], nil
	}
	return nil, terminal.Usage("%d boot states begin with %q: give more digits", len(found), name)
}

// changed prints the one state that a command was about.
func (f *flags) changed(w io.Writer, o *backoffice.Office, state []byte, err error) error {
	if errors.Is(err, entitlement.ErrBoot) {
		return terminal.Usage("%w", err)
	}
	if err != nil {
		return f.coded(err)
	}
	for _, s := range o.Book().BootStates() {
		if bytes.Equal(s.State, state) {
			return f.printStates(w, []entitlement.BootState{s})
		}
	}
	return nil
}

func (f *flags) printStates(w io.Writer, states []entitlement.BootState) error {
	if f.json {
		data := bootData{terminal.NewData("freehold.boot/1"), []bootState{}}
		for _, s := range states {
			data.States = append(data.States, bootState{s.ID(), s})
		}
		return printJSON(w, data)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range states {
		since := "allowed " + s.Allowed.String()
		if s.Withdrawn != 0 {
			since = "withdrawn " + s.Withdrawn.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.ID(), since, terminal.Plain(s.Note))
	}
	return t.Flush()
}
