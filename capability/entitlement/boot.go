package entitlement

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A machine's storage opens only in boot states that the producer signed. Every response signs the one that its request quoted. States that are allowed here
// are signed into every response beside it: so an update of firmware or image that is allowed ahead meets machines that open their storage after it.
//
// What was signed stays valid where it is. A state that is withdrawn is in no later response, and a request that quotes it is refused.

const (
	// StateBytes is the length of a boot state: the values of PCR 7, 11 and 12.
	StateBytes = 3 * 32
	// MaxBootStates allowed at once: an appliance keeps 32, and the one that its request quoted is among them.
	MaxBootStates = 31
)

// ErrBoot is in the error of a boot state that cannot be allowed or withdrawn; it says why.
var ErrBoot = errors.New("boot state")

// BootState is a boot state that was allowed ahead. One that was withdrawn can be allowed again.
type BootState struct {
	State     []byte          `cbor:"1,keyasint,omitempty" json:"state"` // PCR 7, 11, then 12
	Note      string          `cbor:"2,keyasint,omitzero" json:"note"`   // what it is, for people
	By        string          `cbor:"3,keyasint,omitzero" json:"by,omitempty"`
	Allowed   capability.Time `cbor:"4,keyasint,omitzero" json:"allowed"`
	Withdrawn capability.Time `cbor:"5,keyasint,omitzero" json:"withdrawn,omitempty"`
}

// ID is a short name of the state, 16 hexadecimal digits of its hash.
func (s *BootState) ID() string { return stateID(s.State) }

func stateID(state []byte) string {
	sum := sha256.Sum256(state)
	return fmt.Sprintf("%x", sum[:8])
}

// BootChange is the fact that a boot state was allowed or withdrawn.
type BootChange struct {
	State    []byte `cbor:"1,keyasint,omitempty" json:"state"`
	Note     string `cbor:"2,keyasint,omitzero" json:"note,omitempty"`
	Withdraw bool   `cbor:"3,keyasint,omitzero" json:"withdraw,omitempty"`
}

// AllowBoot has a boot state signed into every response from now on.
type AllowBoot struct {
	State []byte
	Note  string
	By    string
}

// WithdrawBoot ends that.
type WithdrawBoot struct {
	State []byte
	By    string
}

func (c AllowBoot) decide(b *Book, now capability.Time) (*Decision, error) {
	return b.change(now, c.By, BootChange{State: c.State, Note: c.Note})
}

func (c WithdrawBoot) decide(b *Book, now capability.Time) (*Decision, error) {
	return b.change(now, c.By, BootChange{State: c.State, Withdraw: true})
}

func (b *Book) change(now capability.Time, by string, c BootChange) (*Decision, error) {
	if err := b.changes(&c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBoot, err)
	}
	c.State = bytes.Clone(c.State)
	e := b.entry(now, by)
	e.Boot = &c
	return &Decision{Entries: []*Entry{e}}, nil
}

// changes says why a change cannot be.
func (b *Book) changes(c *BootChange) error {
	if len(c.State) != StateBytes {
		return fmt.Errorf("%d bytes where the values of PCR 7, 11 and 12 have %d", len(c.State), StateBytes)
	}
	s := b.boot(c.State)
	allowed := s != nil && s.Withdrawn == 0
	switch {
	case c.Withdraw && !allowed:
		return fmt.Errorf("%s is not allowed, so it cannot be withdrawn", stateID(c.State))
	case c.Withdraw:
		return nil
	case allowed:
		return fmt.Errorf("%s is allowed already: %s", s.ID(), s.Note)
	case len(b.allowed()) >= MaxBootStates:
		return fmt.Errorf("%d are allowed, and there is room for no more: withdraw one that no machine runs any more", MaxBootStates)
	}
	return capability.CheckName("note", c.Note)
}

func (b *Book) applyBoot(e *Entry) error {
	c := e.Boot
	if err := b.changes(c); err != nil {
		return err
	}
	if c.Withdraw {
		b.boot(c.State).Withdrawn = e.Time
		return nil
	}
	b.boots = slices.DeleteFunc(b.boots, func(s *BootState) bool { return bytes.Equal(s.State, c.State) })
	b.boots = append(b.boots, &BootState{State: bytes.Clone(c.State), Note: c.Note, By: e.By, Allowed: e.Time})
	return nil
}

// boot is a state that was allowed at some time.
func (b *Book) boot(state []byte) *BootState {
	for _, s := range b.boots {
		if bytes.Equal(s.State, state) {
			return s
		}
	}
	return nil
}

func (b *Book) allowed() [][]byte {
	var list [][]byte
	for _, s := range b.boots {
		if s.Withdrawn == 0 {
			list = append(list, s.State)
		}
	}
	return list
}

// BootStates are all that were ever allowed, also those that were withdrawn.
func (b *Book) BootStates() []BootState {
	list := make([]BootState, 0, len(b.boots))
	for _, s := range b.boots {
		list = append(list, *s)
	}
	return list
}

// StatesFor are the boot states that a response signs for a machine: first the one that its request quoted, then those that are allowed.
func (b *Book) StatesFor(quoted []byte) [][]byte {
	rest := slices.DeleteFunc(b.allowed(), func(s []byte) bool { return bytes.Equal(s, quoted) })
	return append([][]byte{quoted}, rest...)
}

// withdrawn refuses a request from a machine that runs in a state that was withdrawn: its response would have to sign it.
func (b *Book) withdrawn(c *Answer) *capability.Refusal {
	s := b.boot(c.Boot)
	if s == nil || s.Withdrawn == 0 {
		return nil
	}
	return capability.Refuse(capability.ErrSealed, c.Identity.Host.Short(), "request %d quotes the boot state %s, withdrawn %s: %s", c.Request.Number, s.ID(), s.Withdrawn, s.Note)
}

func (b *Book) checkBoots() error {
	for i, s := range b.boots {
		if len(s.State) != StateBytes || s.Allowed == 0 || b.boot(s.State) != s {
			return fmt.Errorf("number %d of %d is there twice, or is none", i+1, len(b.boots))
		}
	}
	if n := len(b.allowed()); n > MaxBootStates {
		return fmt.Errorf("%d where at most %d are allowed", n, MaxBootStates)
	}
	return nil
}
