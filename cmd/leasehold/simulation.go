package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// simulation is a ledger with the names of a scenario.
type simulation struct {
	ledger       *ledger.Ledger
	now          ledger.Now
	serial       uint64
	names        map[capability.ItemID]string
	given        activations // as of the last inventory
	model        string      // in force, as the scenario has it
	reservations []console.Reserved
	entries      map[uint64]int // places of reservation entries in the scenario, by their IDs
}

// begin sets up a scenario; where is the path in it that an error is about.
func begin(sc *scenario) (s *simulation, where string, err error) {
	s = &simulation{ledger: ledger.New(), now: ledger.At(0, sc.now), names: sc.names, given: maps.Clone(sc.given)}
	if err := s.provision(sc.items); err != nil {
		return nil, "items", err
	}
	if err := s.reserve(sc.reservations); err != nil {
		return nil, "reservations", err
	}
	return s, "model", s.setModel(sc.model)
}

// do makes a command a fact, and what is due by it at once.
func (s *simulation) do(c ledger.Command) (ledger.Decision, error) {
	d, err := s.ledger.Decide(s.now, c)
	if err != nil {
		return d, err
	}
	for _, e := range d.Entries {
		if err := s.ledger.Apply(e); err != nil {
			return d, err
		}
	}
	if due, any := s.ledger.NextDue(); any && due <= s.now.Lease && len(d.Entries) > 0 {
		_, err = s.do(ledger.Advance{})
	}
	return d, err
}

func (s *simulation) provision(inv inventory) error {
	maps.Copy(s.given, inv.given)
	if err := s.setModel(s.model); err != nil { // its filters may be about other items now
		return err
	}
	s.serial++
	_, err := s.do(ledger.Provision{
		Response: capability.Response{
			Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "simulation"}, Serial: s.serial, Time: s.now.Wall, Items: inv.items,
		},
		Digest: sha256.Sum256(fmt.Append(nil, "response ", s.serial)),
	})
	return err
}

// reserve puts reservations in force. Their age is their order in the scenario, whatever their groups and hosts: so the ledger has them in one group, each by itself.
// What was there is what it was.
func (s *simulation) reserve(all []console.Reserved) error {
	var groups []ledger.Group
	if len(all) > 0 {
		before, _ := s.ledger.Reservations()
		one := ledger.Group{Name: groupNames(all)}
		if len(before) > 0 {
			one.ID = before[0].ID
		}
		for _, e := range all {
			id, err := e.Host.ID()
			if err != nil {
				return err
			}
			one.Reservations = append(one.Reservations, ledger.Reservation{
				Host: id, Entries: []ledger.ReservationEntry{{Feature: e.Feature, Version: e.Version, Count: e.Count}},
			})
		}
		for was, at := range s.kept(all) {
			r := &one.Reservations[at]
			r.ID, r.Entries[0].ID = before[0].Reservations[was].ID, before[0].Reservations[was].Entries[0].ID
		}
		groups = append(groups, one)
	}
	if _, err := s.do(ledger.SetReservations{Groups: groups, By: "simulation"}); err != nil {
		return err
	}
	s.reservations, s.entries = all, map[uint64]int{}
	made, _ := s.ledger.Reservations()
	for _, g := range made {
		for i, r := range g.Reservations {
			s.entries[r.Entries[0].ID] = i
		}
	}
	return nil
}

// kept says of the reservations in force, by their places, where in all they are. One with another count is the same one if none has the same count.
func (s *simulation) kept(all []console.Reserved) map[int]int {
	out, taken := map[int]int{}, map[int]bool{}
	for _, sameCount := range []bool{true, false} {
		places := map[console.Reserved][]int{}
		key := func(r console.Reserved) console.Reserved {
			if !sameCount {
				r.Count = 0
			}
			return r
		}
		for i, r := range all {
			if !taken[i] {
				places[key(r)] = append(places[key(r)], i)
			}
		}
		for was, r := range s.reservations {
			if _, found := out[was]; found || len(places[key(r)]) == 0 {
				continue
			}
			at := places[key(r)][0]
			places[key(r)] = places[key(r)][1:]
			out[was], taken[at] = at, true
		}
	}
	return out
}

// groupNames is the names of all groups in one, as long as a name may be.
func groupNames(all []console.Reserved) string {
	var names []string
	for _, e := range all {
		if !slices.Contains(names, e.Group) {
			names = append(names, e.Group)
		}
	}
	const more = ", ..."
	out := strings.Join(names, ", ")
	if len(out) <= capability.MaxName {
		return out
	}
	end := capability.MaxName - len(more)
	for !utf8.RuneStart(out[end]) {
		end--
	}
	return out[:end] + more
}

func (s *simulation) setModel(text string) error {
	if text != "" {
		m, err := model.Parse([]byte(text))
		if err != nil {
			return err
		}
		if _, err = s.do(ledger.SetModel{Text: []byte(s.given.inOurs(m, text)), By: "simulation"}); err != nil {
			return err
		}
	} else if m, _ := s.ledger.Model(); m != nil {
		if _, err := s.do(ledger.DeleteModel{By: "simulation"}); err != nil {
			return err
		}
	}
	s.model = text
	return nil
}

// checkModel is the dry run of an upload of text at the end of the scenario.
func (s *simulation) checkModel(text []byte) *console.ModelCheck {
	items := s.ledger.Inventory()
	for i := range items {
		items[i].ActivationID = capability.ActivationID(s.given[items[i].ID()])
	}
	report := model.Check(text, s.now.Wall, items)
	found := console.Checked(report)
	if report.Model == nil {
		return found
	}
	out := console.CheckModel(s.ledger, s.now, []byte(s.given.inOurs(report.Model, string(text))))
	if !out.Refused {
		out.Findings = found.Findings
	}
	for i := range out.Moves {
		out.Moves[i].ActivationID = s.named(out.Moves[i].ActivationID, out.Moves[i].Feature)
	}
	for i := range out.After {
		out.After[i].ActivationID = s.named(out.After[i].ActivationID, out.After[i].Feature)
	}
	return out
}

// named puts the scenario's name of an item in the place of its activation ID.
func (s *simulation) named(id capability.ActivationID, feature string) capability.ActivationID {
	return capability.ActivationID(s.names[capability.ItemID{ActivationID: id, Feature: feature}])
}

// advance goes from one moment at which something is due to the next, as the daemon does, but past those that nobody feels.
func (s *simulation) advance(by capability.Seconds) error {
	end := s.now.Lease + by
	for {
		due, any := s.ledger.NextFelt()
		at := end
		if any && due < end {
			at = max(due, s.now.Lease)
		}
		s.now = ledger.At(at, s.now.Wall.Add(at-s.now.Lease))
		d, err := s.do(ledger.Advance{})
		if err != nil || at == end {
			return err
		}
		if len(d.Entries) == 0 {
			s.now = ledger.At(end, s.now.Wall.Add(end-s.now.Lease))
			_, err := s.do(ledger.Advance{})
			return err
		}
	}
}
