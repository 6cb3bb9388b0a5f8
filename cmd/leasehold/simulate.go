package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) simulateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "simulate SCENARIO.json", Short: "Say what would be granted, without an appliance", Args: cobra.ExactArgs(1),
		Long: "Plays a scenario with the ledger and the model language of the daemon: an inventory, reservations or a model, and steps. It needs no daemon and no TPM, and looks at no clock.\n\n" +
			"The scenario is one JSON object: now, items, reservations, model and steps. A step is a request, an advance of the clock, or a new model, new items or new reservations.\n\n" +
			"An item has id, feature, version and count, and as needed start, expiry, vendorString, product, activationId, overdraft, uncounted, metered, reusable, undoInterval and grace. " +
			"A reservation has group, hostId, feature, version and count. A request has device, hostIds, user, alias, deviceType, dictionary, desired, atomic, operation (request, preview, report " +
			"or undo), borrow, correlation and undoes; each line of desired has feature, version, count and partial. A host ID has type and value. " +
			"Times are seconds, an advance is a duration like \"90s\", a version is text like \"2026.1\", and what is absent is zero. " +
			"An item is the same one in every list that has its ID; its activationId is any text, for the filters of a model to look at. Reservations age in the order in which they are listed.\n\n" +
			"With --json each step is one object on a line of its own, and the last line has the slices of all pools. A refused step is an answer: the exit status is 0. " +
			"A scenario that cannot be read ends with status 2 and names the path of what is wrong.",
		Example: `  echo '{"items":[{"id":"a","feature":"render","version":"1.0","count":2}],"steps":[{"request":{"device":{"type":"STRING",` +
			`"value":"ws-1"},"desired":[{"feature":"render","version":"1.0","count":3}]}}]}' >monday.json` +
			"\n  leasehold simulate monday.json\n  leasehold simulate --json monday.json | jq -c .holds",
		RunE: func(_ *cobra.Command, args []string) error {
			sc, sim, err := p.simulate(args[0])
			if err != nil {
				return err
			}
			write := func(st *step, o outcome) error { return p.printStep(st, o, sim.now.Wall) }
			encoder := json.NewEncoder(p.out)
			encoder.SetEscapeHTML(false)
			if p.json {
				write = func(_ *step, o outcome) error { return encoder.Encode(o) }
			}
			for i := range sc.steps {
				o, err := sim.play(i, &sc.steps[i])
				if err == nil {
					err = write(&sc.steps[i], o)
				}
				if err != nil {
					return err
				}
			}
			if p.json {
				return encoder.Encode(map[string]any{"slices": sim.slices()})
			}
			if len(sc.steps) > 0 {
				p.printf("\n")
			}
			return p.printSlices(sim)
		},
	}
}

// simulate reads a scenario and sets it up: everything but its steps.
func (p *program) simulate(path string) (*scenario, *simulation, error) {
	sc, err := readScenario(path)
	if err == nil {
		sim, where, err := begin(sc)
		var refusal *capability.Refusal
		var bad *model.SyntaxError
		switch {
		case err == nil:
			return sc, sim, nil
		case errors.As(err, &bad):
			return nil, nil, terminal.Coded(capability.ErrModel, fmt.Errorf("%s: %s: %w", path, where, err))
		case errors.As(err, &refusal):
			return nil, nil, terminal.Coded(refusal.Code, fmt.Errorf("%s: %s: %s", path, where, refusal.Detail))
		}
		return nil, nil, terminal.Coded(capability.ErrScenario, fmt.Errorf("%s: %s: %w", path, where, err))
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return nil, nil, terminal.Coded(capability.ErrFileRead, err)
	}
	return nil, nil, terminal.Coded(capability.ErrScenario, fmt.Errorf("%s: %w", path, err))
}

// outcome is what a step came to: its JSON is one line.
type outcome struct {
	Step   int               `json:"step"`
	Status string            `json:"status"`
	Lines  []outcomeLine     `json:"lines"`
	Holds  map[string]uint64 `json:"holds"` // of the asking device, by ITEM@POOL
	Error  *outcomeError     `json:"error,omitempty"`
}

type outcomeLine struct {
	Feature   string             `json:"feature"`
	Version   capability.Version `json:"version"`
	Requested uint32             `json:"requested"`
	Granted   uint64             `json:"granted"`
	Status    string             `json:"status"`
	Why       []string           `json:"why"`
}

type outcomeError struct {
	Line    int    `json:"line,omitempty"` // from 1; absent where it is not about a text
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// play does one step. Its error is a fault of the program; whatever the ledger refuses is an outcome.
func (s *simulation) play(n int, st *step) (outcome, error) {
	o := outcome{Step: n, Status: capability.StatusOK.String(), Lines: []outcomeLine{}, Holds: map[string]uint64{}}
	var err error
	switch {
	case st.request != nil:
		err = s.ask(st.request, &o)
	case st.advance != nil:
		err = s.advance(st.seconds)
	case st.model != nil:
		err = s.setModel(*st.model)
	case st.items != nil:
		err = s.provision(*st.items)
	default:
		if err = s.reserve(*st.reservations); err == nil {
			o.Lines = s.reservationLines()
		}
	}
	if err == nil {
		return o, nil
	}
	if o.Error = refused(err); o.Error == nil {
		return o, fmt.Errorf("%s: %w", st.path, err)
	}
	o.Status = "REFUSED"
	return o, nil
}

// refused is err as an outcome, or nil if it is none.
func refused(err error) *outcomeError {
	var bad *model.SyntaxError
	var refusal *capability.Refusal
	var malformed *capability.Malformed
	switch {
	case errors.As(err, &bad):
		return &outcomeError{bad.Line, bad.Column, bad.Reason}
	case errors.As(err, &refusal):
		return &outcomeError{Message: coded(refusal.Denial)}
	case errors.As(err, &malformed):
		return &outcomeError{Message: coded(capability.Denial{Code: capability.ErrProto, Detail: malformed.Error()})}
	}
	return nil
}

func (s *simulation) ask(r *capability.Request, o *outcome) error {
	d, err := s.do(ledger.Serve{Key: sha256.Sum256([]byte(r.Hosts[0].String())), Request: *r, Heard: true})
	if err == nil {
		o.Status = d.Response.Status.String()
		for i, w := range r.Desired {
			o.Lines = append(o.Lines, s.line(i, w, &d))
		}
		for i, l := range d.Lines {
			o.Lines = append(o.Lines, outcomeLine{l.Feature, l.Version, l.Asked, uint64(l.Count), l.Status.String(), s.whyNot(i, &d, l.Line)})
		}
		if len(r.Desired) == 0 && len(d.Response.Denials) > 0 {
			o.Error = &outcomeError{Message: s.why(0, &d, d.Response.Denials[0])[0]}
		}
	}
	device, _ := s.ledger.Device(r.Hosts[0], s.now)
	for _, h := range device.Holdings {
		o.Holds[s.names[h.Item]+"@"+s.pool(h.Source)] += uint64(h.Count)
	}
	return err
}

// line is what came of one line of a request. Where the request was denied as a whole, that is why each of its lines got nothing.
func (s *simulation) line(i int, w capability.Desired, d *ledger.Decision) outcomeLine {
	out := outcomeLine{Feature: w.Feature, Version: w.Version, Requested: w.Count, Status: capability.LineInsufficient.String(), Why: []string{}}
	switch {
	case i < len(d.Response.Lines):
		l := d.Response.Lines[i]
		out.Granted, out.Status, out.Why = uint64(l.Count), l.Status.String(), s.whyNot(i, d, l)
	case len(d.Response.Denials) > 0:
		out.Why = s.why(0, d, d.Response.Denials[0])
	}
	return out
}

// whyNot is why a line got less than it asked for; nothing where it did not.
func (s *simulation) whyNot(i int, d *ledger.Decision, l capability.Line) []string {
	if l.Denial.Code == 0 {
		return []string{}
	}
	return s.why(i, d, l.Denial)
}

// why is the explanation of a line in sentences, with the names and times of the scenario.
func (s *simulation) why(i int, d *ledger.Decision, no capability.Denial) []string {
	at := slices.IndexFunc(d.Explained, func(e ledger.Explained) bool { return e.Line == i })
	if at < 0 {
		no.Until = unshifted(no.Until)
		return []string{no.Sentence(), "next: " + no.Code.Entry().Next}
	}
	e := d.Explained[at]
	e.Denial.Until = unshifted(e.Denial.Until)
	e.Looked = slices.Clone(e.Looked)
	for j := range e.Looked {
		x := &e.Looked[j]
		x.At = unshifted(x.At)
		x.Item.ActivationID = capability.ActivationID(s.names[x.Item])
		if x.Source.Entry != 0 {
			x.Source = ledger.Source{Pool: s.pool(x.Source)}
		}
	}
	return e.Sentences()
}

// coded is a denial with the code and symbol that the manual has it under.
func coded(no capability.Denial) string {
	return fmt.Sprintf("%s %s %s", no.Code, no.Code.Symbol(), no.Sentence())
}

func unshifted(t capability.Time) capability.Time {
	if t == 0 {
		return 0
	}
	return t - shift
}

// reservationLines says of each entry, in the order of the scenario, what it has.
func (s *simulation) reservationLines() []outcomeLine {
	out := make([]outcomeLine, len(s.reservations))
	_, views := s.ledger.Reservations()
	for _, v := range views {
		l := outcomeLine{Feature: v.Feature, Version: v.Version, Requested: v.Count, Granted: v.Has, Status: capability.LineOK.String(), Why: []string{}}
		switch v.Status {
		case ledger.Pending:
			l.Status, l.Why = capability.LinePartial.String(), []string{"pending: leases of the default pool are in the way"}
		case ledger.Unsatisfied:
			l.Status, l.Why = capability.LineInsufficient.String(), []string{"unsatisfied: more than there is, so it holds nothing"}
		}
		out[s.entries[v.ID]] = l
	}
	return out
}

// pool is the name of a source as the scenario counts them.
func (s *simulation) pool(src ledger.Source) string {
	if src.Entry != 0 {
		return fmt.Sprintf("reservation:%d", s.entries[src.Entry])
	}
	return src.String()
}

type count struct {
	Count uint64 `json:"count"`
	Used  uint64 `json:"used"`
}

// slices is every slice by pool and item. A pool that got nothing of an item that it asks for has zero of it.
func (s *simulation) slices() map[string]map[string]count {
	out := map[string]map[string]count{model.DefaultPool: {}}
	items := s.ledger.Items(s.now)
	asked := func(pool, feature string, version capability.Version, filters []model.Filter) {
		if out[pool] == nil {
			out[pool] = map[string]count{}
		}
		passes := passing(filters)
		for _, it := range items {
			if it.Feature == feature && it.Version.Compare(version) >= 0 && passes(it.LineItem) {
				out[pool][s.names[it.ID()]] = count{}
			}
		}
	}
	if m, _ := s.ledger.Model(); m != nil {
		for _, p := range m.Pools {
			out[p.Name] = map[string]count{}
			for _, a := range p.Allocations {
				asked(p.Name, a.Feature, a.Version, a.Filters)
			}
		}
	} else {
		for i, e := range s.reservations {
			asked(fmt.Sprintf("reservation:%d", i), e.Feature, e.Version, nil)
		}
	}
	for _, sl := range s.ledger.Slices() {
		pool := s.pool(sl.Source)
		if out[pool] == nil {
			out[pool] = map[string]count{}
		}
		c := out[pool][s.names[sl.Item]]
		if !sl.Cut { // what is not licensed any more is used only
			c.Count += sl.Count
		}
		c.Used += sl.Used
		out[pool][s.names[sl.Item]] = c
	}
	return out
}

// printStep is a step for people, with the time it came to.
func (p *program) printStep(st *step, o outcome, now capability.Time) error {
	if o.Step > 0 {
		p.printf("\n")
	}
	p.printf("step %d  %s", o.Step, st)
	if st.advance != nil {
		p.printf(" to %s", unshifted(now))
	}
	p.printf(": %s\n", o.Status)
	if o.Error != nil {
		if o.Error.Line != 0 {
			p.printf("  line %d, column %d: ", o.Error.Line, o.Error.Column)
		} else {
			p.printf("  ")
		}
		p.printf("%s\n", o.Error.Message)
	}
	if len(o.Lines) > 0 {
		if err := p.table("  FEATURE\tVERSION\tASKED\tGRANTED\tSTATUS", len(o.Lines), func(i int) string {
			l := o.Lines[i]
			return fmt.Sprintf("  %s\t%s\t%d\t%d\t%s", l.Feature, l.Version, l.Requested, l.Granted, l.Status)
		}); err != nil {
			return err
		}
		for _, l := range o.Lines {
			for i, why := range l.Why {
				if i == 0 {
					p.printf("  %s: %s\n", l.Feature, why)
				} else {
					p.printf("    %s\n", why)
				}
			}
		}
	}
	if st.request != nil {
		p.printf("  holds %s\n", held(o.Holds))
	}
	return nil
}

func (st *step) String() string {
	switch {
	case st.request != nil:
		return fmt.Sprintf("%s by %s", st.request.Operation, st.request.Hosts[0])
	case st.advance != nil:
		return fmt.Sprintf("advance %s", *st.advance)
	case st.model != nil && *st.model == "":
		return "no model"
	case st.model != nil:
		return "new model"
	case st.items != nil:
		return fmt.Sprintf("inventory of %s", capability.Counted(len(st.items.items), "item"))
	}
	return capability.Counted(len(*st.reservations), "reserved feature")
}

func held(holds map[string]uint64) string {
	all := make([]string, 0, len(holds))
	for place, n := range holds {
		all = append(all, fmt.Sprintf("%s: %d", place, n))
	}
	if len(all) == 0 {
		return "nothing"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (p *program) printSlices(s *simulation) error {
	var rows []string
	for pool, items := range s.slices() {
		for item, c := range items {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%d", pool, item, c.Count, c.Used))
		}
	}
	slices.Sort(rows)
	return p.table("POOL\tITEM\tCOUNT\tUSED", len(rows), func(i int) string { return rows[i] })
}
