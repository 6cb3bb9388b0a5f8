package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// teller is what the host IDs of this machine are shown for: to the daemon.
type teller struct {
	tell    bool
	planned bool
	machine string // file
	key     keyFlags
}

func (t *teller) flags(c *cobra.Command) {
	c.Flags().BoolVar(&t.tell, "tell", false, "tell leaseholdd what this machine shows, and print its verdict; the unit leasehold-hostid does so by itself")
	c.Flags().StringVar(&t.machine, "machine", "", "tell what is in this JSON `FILE` instead of looking")
	c.Flags().BoolVar(&t.planned, "planned", false, "say that this machine will be changed within a day: what is missing meanwhile is reported, and nothing else comes of it")
	t.key.flags(c)
	c.MarkFlagsMutuallyExclusive("tell", "planned", "enroll-key")
	c.MarkFlagFilename("machine", "json")
}

func (t *teller) given() bool { return t.tell || t.planned || t.machine != "" || t.key.enroll }

// speak does what the flags say; look finds out what this machine shows.
func (p *program) speak(ctx context.Context, t teller, look func() (hostid.Machine, error)) error {
	var m console.Machine
	switch {
	case t.machine != "" && !t.tell:
		return terminal.Usage("--machine is for --tell")
	case t.key.enroll:
		return p.enrollKey(ctx, keysHere(), t.key.file)
	case t.planned:
		if err := p.call(ctx, http.MethodPost, "hostids/planned", nil, &m); err != nil {
			return err
		}
	default:
		shown, err := t.shown(look)
		if err != nil {
			return err
		}
		if err := p.call(ctx, http.MethodPut, "hostids", shown, &m); err != nil {
			return err
		}
		if err := p.proveKey(ctx, keysHere(), t.key.file, &m); err != nil {
			return err
		}
	}
	return p.printVerdict(&m)
}

// shown is what the machine shows, by the file that was named, or by its own look.
func (t *teller) shown(look func() (hostid.Machine, error)) (m hostid.Machine, err error) {
	if t.machine == "" {
		return look()
	}
	b, err := courier.ReadFile(t.machine)
	if err != nil {
		return m, terminal.Coded(courier.Code(err), err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, terminal.Coded(capability.ErrFileForm, fmt.Errorf("%s: %w", t.machine, err))
	}
	return m, nil
}

// printVerdict says what the machine is to its binding.
func (p *program) printVerdict(m *console.Machine) error {
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			console.Machine
		}{terminal.NewData("leasehold.machine/1", verdictNotes(m)...), *m}))
	}
	p.printf("machine  %s, by the rule %s\n", m.Outcome, m.Rule)
	if m.Of > 0 {
		p.printf("score    %d of %d\n", m.Score, m.Of)
	}
	if m.Planned != 0 {
		p.printf("planned  a change, until %s\n", m.Planned)
	}
	for _, n := range verdictNotes(m) {
		p.printf("# %s\n", n)
	}
	return nil
}

func verdictNotes(m *console.Machine) []string {
	notes := bindingNotes(&m.Binding)
	if m.Outcome == hostid.Grace.String() {
		notes = append(notes, fmt.Sprintf("from %s on nothing is served", m.Grace))
	}
	if len(m.Changes) > 0 && !m.Requested {
		notes = append(notes, "no request has named this yet; the next one does")
	}
	return notes
}
