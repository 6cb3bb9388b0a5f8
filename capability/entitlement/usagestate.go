package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Where the policy asks for states, a machine's records are of whole days, and each request says how the period that runs stands. What it says takes the place of what
// it said before, and a record takes the place of the state of the same use: so both add up to the same, whatever was lost. A state counts for good only where no record
// will come: where the trusted storage that it was told of is gone, and where the record of it is missing.

// stated are the states in the answer to a request: none of a disputed one.
func stated(r *capability.Request, disputed bool) []capability.Usage {
	if disputed {
		return nil
	}
	return slices.Clone(r.States)
}

// statable asserts that the states of an answer can be counted.
func statable(a *Answered) error {
	if len(a.States) > capability.MaxStates || len(a.States) > 0 && a.Request.Fork {
		return fmt.Errorf("%d states of host %s, or they are disputed", len(a.States), a.Identity.Host.Short())
	}
	_, err := capability.CheckStates(a.States)
	return err
}

// used is what a record or a state counts as; false: nothing. A machine can name whatever it likes. What the book does not know adds up in one row, so that no machine
// has more rows than the book has features; and of a user of that nothing is said, for another record tells of the same use.
func (b *Book) used(u *capability.Usage) (Used, bool) {
	v := Used{
		Day: u.From - u.From%capability.Time(day), ActivationID: u.ActivationID, Feature: u.Feature, User: u.User,
		Peak: u.Peak, Served: u.Served, Seconds: u.Seconds, Denials: u.Denials,
	}
	if i := b.byID[u.ActivationID]; i == nil || !i.has(u.Feature) {
		v.ActivationID, v.Feature = "", ""
		return v, u.User == ""
	}
	return v, true
}

// supersede takes out the state that a record takes the place of. What is of an earlier period than the record has none, and counts.
func (b *Book) supersede(s *synced, by *capability.Usage) {
	s.states = slices.DeleteFunc(s.states, func(u capability.Usage) bool {
		if u.From < by.From {
			b.keepState(s, &u)
			return true
		}
		return u.From == by.From && u.ID() == by.ID() && u.User == by.User
	})
}

// keepState counts a state for good.
func (b *Book) keepState(s *synced, u *capability.Usage) {
	s.Until = max(s.Until, u.Until)
	if v, counts := b.used(u); counts {
		s.take(&v)
	}
}

// keepStates counts all that there are for good.
func (b *Book) keepStates(s *synced) {
	for i := range s.states {
		b.keepState(s, &s.states[i])
	}
	s.states = nil
}

// applyStates takes in what a request says of the period that runs, once its records are.
func (b *Book) applyStates(s *synced, a *Answered) {
	if len(a.States) == 0 {
		return
	}
	if len(s.states) > 0 && s.states[0].From < a.States[0].From {
		b.keepStates(s)
	}
	s.States, s.states = a.Life, slices.Clone(a.States)
}

// summed is what a machine's records and states add up to. It is not the book's own, and not to be changed.
func (b *Book) summed(s *synced) *synced {
	if len(s.states) == 0 {
		return s
	}
	sum := &synced{Synced: s.Synced, rows: slices.Clone(s.rows), states: slices.Clone(s.states)}
	b.keepStates(sum)
	return sum
}
