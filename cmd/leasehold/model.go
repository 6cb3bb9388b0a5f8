package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) modelCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "model", Short: "Named license pools: the model in force, and a check before an upload", Args: cobra.NoArgs,
		Long: "A model divides the counts of the appliance into named license pools and says who may draw on which. There is one model, or none: then everything is in the default pool.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.modelShow(), p.modelUpload(), p.modelDelete(), p.modelCheck())
	return c
}

func (p *program) modelShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the model in force, as it was uploaded", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var m console.Model
			if err := p.call(c.Context(), http.MethodGet, "model", nil, &m); err != nil {
				return err
			}
			if p.json {
				return p.printModel("leasehold.model/1", m)
			}
			p.printf("%s", m.Text)
			return nil
		},
	}
}

func (p *program) printModel(schema string, m console.Model) error {
	return terminal.JSON(p.out, terminal.Hexed(struct {
		terminal.Data
		console.Model
	}{terminal.NewData(schema), m}))
}

func (p *program) modelUpload() *cobra.Command {
	return &cobra.Command{
		Use: "upload FILE", Short: "Put a model in force, all or nothing", Args: cobra.ExactArgs(1),
		Long: "A text that cannot be used is refused with line and column, and the model in force stays. For FILE \"-\" it is read from standard input. Leases are never cut: those that fit in no pool of their name go on in the default pool.\n\n" +
			"What it says, gives to each pool and moves is printed as by: leasehold model check FILE --against live",
		Example: "  leasehold model check pools.model --against live\n  leasehold model upload pools.model",
		RunE: func(c *cobra.Command, args []string) error {
			text, err := p.readModel(args[0])
			if err != nil {
				return err
			}
			var done console.ModelCheck
			if err := p.call(c.Context(), http.MethodPut, "model", text, &done); err != nil {
				return err
			}
			if err := p.printCheck("leasehold.model-upload/1", &done, true); err != nil {
				return err
			}
			p.say("The model is in force.\n")
			return nil
		},
	}
}

func (p *program) modelDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete", Short: "Take the model out: everything is in the default pool again", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var m console.Model
			if err := p.call(c.Context(), http.MethodDelete, "model", nil, &m); err != nil {
				return err
			}
			if p.json {
				return p.printModel("leasehold.model-delete/1", m)
			}
			p.printf("model %q is deleted\n", m.Name)
			return nil
		},
	}
}

const live = "live"

func (p *program) modelCheck() *cobra.Command {
	var against string
	c := &cobra.Command{
		Use: "check FILE", Short: "Say what an upload of a model would do, and change nothing", Args: cobra.ExactArgs(1),
		Long: "Each finding has its line and column: an error refuses an upload, a warning does not. For FILE \"-\" the text is read from standard input.\n\n" +
			"Against an inventory it also says what each pool wants, gets and lacks, and which leases would move: --against live asks the appliance, and --against SCENARIO.json takes " +
			"what leasehold simulate would end with.\n\nThe exit status is 2 when an upload would be refused for the text, and 13 when it would be for reservations that are in force.",
		Example: "  leasehold model check pools.model --against monday.json",
		RunE: func(c *cobra.Command, args []string) error {
			text, err := p.readModel(args[0])
			if err != nil {
				return err
			}
			out, err := p.checkAgainst(c.Context(), text, against)
			if err != nil {
				return err
			}
			if err := p.printCheck("leasehold.model-check/1", out, against != ""); err != nil {
				return err
			}
			for _, f := range out.Findings {
				if f.Refused {
					return unusable(args[0], f)
				}
			}
			if out.Problem != nil {
				d := out.Problem.Denial
				d.Code = out.Problem.Code
				return &capability.Refusal{Denial: d}
			}
			return nil
		},
	}
	c.Flags().StringVar(&against, "against", "", "the inventory and leases of the appliance (`live`), or of a scenario's end")
	return c
}

// unusable is the first finding for which an upload of the file would be refused.
func unusable(path string, f model.Finding) error {
	name := path
	if path == "-" {
		name = "standard input"
	}
	next := fmt.Sprintf("correct %s at line %d, column %d, then: leasehold model check %s", name, f.Line, f.Column, path)
	return terminal.Advised(capability.ErrModel, fmt.Errorf("%s:%s", name, f), next)
}

// readModel reads a file, or standard input for "-", as far as a model may go, and one byte: what is longer is a finding of its own.
func (p *program) readModel(path string) ([]byte, error) {
	in := p.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, terminal.Coded(capability.ErrFileRead, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, model.MaxFile+1))
	if err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	return text, nil
}

func (p *program) checkAgainst(ctx context.Context, text []byte, against string) (*console.ModelCheck, error) {
	switch against {
	case "":
		return console.Checked(model.Check(text, 0, nil)), nil
	case live:
		var out console.ModelCheck
		return &out, p.call(ctx, http.MethodPost, "model/check", text, &out)
	}
	sc, sim, err := p.simulate(against)
	if err != nil {
		return nil, err
	}
	for i := range sc.steps {
		if _, err := sim.play(i, &sc.steps[i]); err != nil {
			return nil, err
		}
	}
	return sim.checkModel(text), nil
}

// printCheck prints findings, and with an inventory what the pools get and what moves.
func (p *program) printCheck(schema string, c *console.ModelCheck, inventory bool) error {
	if p.json {
		var notes []string
		for _, f := range c.Findings {
			if !f.Refused {
				notes = append(notes, f.String())
			}
		}
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			console.ModelCheck
		}{terminal.NewData(schema, notes...), *c}))
	}
	for _, f := range c.Findings {
		kind := "warning"
		if f.Refused {
			kind = "error"
		}
		p.printf("%s: %s: %s\n", f.Position, kind, f.Reason)
	}
	if len(c.Findings) == 0 {
		p.printf("no errors and no warnings\n")
	}
	if !inventory {
		return nil
	}
	if len(c.Pools) > 0 {
		if err := p.table("POOL\tFEATURE\tVERSION\tAMOUNT\tWANT\tGOT\tSHORT", len(c.Pools), func(i int) string {
			s := c.Pools[i]
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%d", s.Pool, s.Feature, s.Version, s.Amount, s.Want, s.Got, s.Short)
		}); err != nil {
			return err
		}
	}
	if c.Refused || c.Problem != nil {
		return nil
	}
	for _, a := range c.After {
		if a.Count < a.Computed {
			p.printf("pool %q holds %d of %d %s %s until leases have ended\n", a.Pool, a.Count, a.Computed, a.Feature, a.Version)
		}
	}
	if len(c.Moves) == 0 {
		p.printf("no lease moves\n")
		return nil
	}
	return p.table("DEVICE\tFEATURE\tCOUNT\tFROM\tTO\tACTIVATION ID", len(c.Moves), func(i int) string {
		m := c.Moves[i]
		return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s", m.Device, m.Feature, m.Count, m.From, m.To, m.ActivationID)
	})
}
