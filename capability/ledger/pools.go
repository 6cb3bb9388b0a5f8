package ledger

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// SetModel puts a model in force. A text that cannot be used is refused with its line and column, and the model in force stays.
type SetModel struct {
	Text []byte
	By   string
}

// DeleteModel takes the model out: all counts go to the default pool.
type DeleteModel struct{ By string }

func (SetModel) command()    {}
func (DeleteModel) command() {}

func (l *Ledger) setModel(now Now, c SetModel) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	if len(l.groups) > 0 {
		return Decision{}, capability.Refuse(capability.ErrReserved, "", "delete the reservation groups first: %s", groupNames(l.groups))
	}
	m, err := model.Parse(c.Text)
	var bad *model.SyntaxError
	switch {
	case errors.As(err, &bad):
		return Decision{}, capability.Refuse(capability.ErrModel, "", "%v", err)
	case err != nil:
		return Decision{}, malformed("text", "%v", err)
	case bytes.Equal(c.Text, l.text):
		return Decision{}, nil
	}
	return l.decided(now, Entry{
		Modeled:  &Modeled{Text: slices.Clone(c.Text), By: c.By},
		Division: l.division(rules{model: m}, now, l.dates(now), l.inventory()),
	}), nil
}

func (l *Ledger) deleteModel(now Now, c DeleteModel) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	if l.model == nil {
		return Decision{}, capability.Refuse(capability.ErrNotFound, "", "no model is in force")
	}
	return l.decided(now, Entry{Modeled: &Modeled{By: c.By}}), nil
}

func (l *Ledger) applyModeled(f *Modeled) error {
	if len(f.Text) == 0 {
		l.text, l.model = nil, nil
		return nil
	}
	m, err := model.Reread(f.Text)
	if err != nil || len(l.groups) > 0 {
		return corrupt("a model of %d bytes beside %d reservation groups: %w", len(f.Text), len(l.groups), err)
	}
	l.text, l.model = slices.Clone(f.Text), m
	return nil
}

func groupNames(groups []Group) string {
	names := make([]string, 0, 4)
	for i, g := range groups {
		if i == 3 {
			names = append(names, "and others")
			break
		}
		names = append(names, g.Name)
	}
	return strings.Join(names, ", ")
}

// Model is the model in force and its text, or nil. The caller must not change them.
func (l *Ledger) Model() (*model.Model, []byte) { return l.model, l.text }

// Slice is the part of an item that one source holds, as people see it.
type Slice struct {
	Item     capability.ItemID
	Version  capability.Version
	Source   Source
	Count    uint64
	Computed uint64 // what the division gave it; more than Count while leases of the default pool are in the way
	Used     uint64
	Expiry   capability.Time
	Uncounted,
	Cut bool
}

// Slices is every slice as of the last entry, by item: the default pool, the overdraft where there is one, then the shares in the order of the division.
func (l *Ledger) Slices() (out []Slice) {
	for _, it := range l.items {
		for i, s := range it.slices {
			if i == inOverdraft && s.count == 0 && s.used == 0 {
				continue
			}
			v := Slice{
				Item: it.ID(), Version: it.Version, Source: s.source, Count: s.count, Computed: s.computed, Used: s.used,
				Expiry: it.Expiry, Uncounted: it.Uncounted, Cut: it.cut,
			}
			if i < firstShare {
				v.Computed = s.count
			}
			out = append(out, v)
		}
	}
	return out
}

// Distribution is what the model in force asks for and gets of the items at that moment; zero without a model.
func (l *Ledger) Distribution(now Now) model.Distribution {
	if l.model == nil {
		return model.Distribution{}
	}
	return l.model.Distribute(now.Wall, l.dates(now).unexpired(l.inventory()))
}

// Inventory is the items in force, for a dry run of a model.
func (l *Ledger) Inventory() []capability.LineItem {
	return slices.DeleteFunc(l.inventory(), func(i capability.LineItem) bool { return l.find(i.ID()).cut })
}

// Move is a lease that would be of another source.
type Move struct {
	Device   string
	Item     capability.ItemID
	Count    uint32
	From, To Source
}

// Moves says which leases a command would book on another source if it were applied. It works on a copy, and costs as much as a snapshot.
func (l *Ledger) Moves(now Now, c Command) ([]Move, error) {
	after, err := Restore(l.Snapshot())
	if err != nil {
		return nil, err
	}
	d, err := after.Decide(now, c)
	if err != nil {
		return nil, err
	}
	for _, e := range d.Entries {
		if err := after.Apply(e); err != nil {
			return nil, err
		}
	}
	var out []Move
	for i, r := range l.rows {
		out = append(out, moves(r, after.rows[i])...)
	}
	return out, nil
}

// moves pairs the leases of one device before and after: those that left a source with those that came to one.
func moves(before, after *row) (out []Move) {
	type place struct {
		item   capability.ItemID
		end    capability.Seconds
		source Source
	}
	at := func(s *lease) place { return place{s.slice.item.ID(), s.end, s.slice.source} }
	come := map[place]uint32{}
	for _, s := range after.leases {
		come[at(s)] += s.count
	}
	left := make([]uint32, len(before.leases))
	for i, s := range before.leases {
		n := min(s.count, come[at(s)])
		come[at(s)] -= n
		left[i] = s.count - n
	}
	for i, s := range before.leases {
		for _, t := range after.leases {
			if n := min(left[i], come[at(t)]); n > 0 && t.slice.item.ID() == s.slice.item.ID() && t.end == s.end {
				come[at(t)] -= n
				left[i] -= n
				out = append(out, Move{Device: before.name(), Item: s.slice.item.ID(), Count: n, From: s.slice.source, To: t.slice.source})
			}
		}
	}
	return out
}
