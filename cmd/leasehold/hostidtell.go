package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/probe"
	"github.com/leasehold/leasehold/tpm/attest"
)

// teller is what the host IDs of this machine are shown for: to the daemon.
type teller struct {
	tell    bool
	planned bool
	machine string // file
	log     string // file of the firmware's log; empty: that of this machine,
	root    string // or of the recorded one in this directory
	key     keyFlags
}

func (t *teller) flags(c *cobra.Command) {
	c.Flags().BoolVar(&t.tell, "tell", false, "tell leaseholdd what this machine shows, and print its verdict; the unit leasehold-hostid does so by itself")
	c.Flags().StringVar(&t.machine, "machine", "", "tell what is in this JSON `FILE` instead of looking")
	c.Flags().StringVar(&t.log, "event-log", "", "tell the firmware's log in this `FILE`, instead of this machine's where the daemon cannot read that")
	c.Flags().BoolVar(&t.planned, "planned", false, "say that this machine will be changed within a day: what is missing meanwhile is reported, and nothing else comes of it")
	t.key.flags(c)
	c.MarkFlagsMutuallyExclusive("tell", "planned", "enroll-key")
	c.MarkFlagFilename("machine", "json")
}

func (t *teller) given() bool {
	return t.tell || t.planned || t.machine != "" || t.log != "" || t.key.enroll
}

// mostLooks bounds how often the machine is looked at before the daemon believes what it sees: it asks for a second look where something is missing.
const mostLooks = 4

// wait is longer than what it is asked for by a moment, within which clocks differ.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(min(d, hostPatience+hostPatience) + 20*time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// speak does what the flags say; look finds out what this machine shows.
func (p *program) speak(ctx context.Context, t teller, look func() (hostid.Machine, error)) error {
	var m console.Machine
	switch {
	case (t.machine != "" || t.log != "") && !t.tell:
		return terminal.Usage("--machine and --event-log are for --tell")
	case t.key.enroll:
		return p.enrollKey(ctx, keysHere(), t.key.file)
	case t.planned:
		if err := p.call(ctx, http.MethodPost, "hostids/planned", nil, &m); err != nil {
			return err
		}
	default:
		for n := 0; n == 0 || m.Again > 0 && n < mostLooks; n++ {
			if err := wait(ctx, time.Duration(m.Again)*time.Millisecond); err != nil {
				return err
			}
			shown, err := t.shown(look)
			if err != nil {
				return err
			}
			m = console.Machine{}
			if err := p.call(ctx, http.MethodPut, "hostids", shown, &m); err != nil {
				return err
			}
		}
		if err := p.tellLog(ctx, &t, &m); err != nil {
			return err
		}
		if err := p.proveKey(ctx, keysHere(), t.key.file, &m); err != nil {
			return err
		}
	}
	return p.printVerdict(&m)
}

// tellLog gives the daemon the firmware's log: the one that was named, or that of this machine where the daemon lacks it. A log that cannot be told stops nothing.
func (p *program) tellLog(ctx context.Context, t *teller, m *console.Machine) error {
	if t.log == "" && !m.LacksLog {
		return nil
	}
	dir, name := cmp.Or(t.root, "/"), probe.EventLogPath
	if t.log != "" {
		dir, name = filepath.Dir(t.log), filepath.Base(t.log)
	}
	log, err := readLog(dir, name)
	switch {
	case err != nil && t.log != "":
		return terminal.Coded(courier.Code(err), err)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		p.say("note: %v; requests go without it\n", err)
		return nil
	}
	return p.call(ctx, http.MethodPut, "hostids/eventlog", log, m)
}

func readLog(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return probe.EventLog(root, name, attest.MaxEventLogBytes)
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
	notes := conditionWords(console.Conditions(&console.Health{Binding: m.Binding}))
	if len(m.Changes) > 0 && !m.Requested {
		notes = append(notes, "no request has named this yet; the next one does")
	}
	return notes
}
