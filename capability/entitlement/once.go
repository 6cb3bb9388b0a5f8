package entitlement

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// Whoever sends a command may lose the answer to it, and send it again. Under a key it counts once: the book keeps which command a key was for and what came of it,
// for the last MaxKeys of them. A command that was refused has left nothing behind, and its key is free.

// MaxKeys is how many keys are remembered; with the next one the oldest is forgotten. A day of an operator every 9 seconds: who repeats a command does so sooner.
const MaxKeys = 10_000

// Once is a command that is done once under its key.
type Once struct {
	Key     string            // chosen by whoever sends it, 1 to capability.MaxName bytes
	Part    uint32            // from zero: what was asked may take several commands
	Asked   capability.Digest // of everything that was asked, so that no other command passes under the key
	Command Command
}

// Made is a command that follows from the book of its moment: as many fewer as the machine has by then, for instance. Under a key that was used it is not made again.
type Made func(b *Book) (Command, error)

func (m Made) decide(b *Book, now capability.Time) (*Decision, error) {
	c, err := m(b)
	if err != nil {
		return nil, err
	}
	return c.decide(b, now)
}

// Mark is the part of an entry that says under which key it was asked for. It is in the last one of a decision.
type Mark struct {
	Key   string            `cbor:"1,keyasint,omitzero" json:"key"`
	Part  uint32            `cbor:"2,keyasint,omitzero" json:"part,omitempty"`
	Asked capability.Digest `cbor:"3,keyasint,omitzero" json:"asked"`
}

// Done is what became of a command under a key.
type Done struct {
	Mark    Mark            `cbor:"1,keyasint,omitzero" json:"mark"`
	Entry   uint64          `cbor:"2,keyasint,omitzero" json:"entry"` // number of its last entry
	Time    capability.Time `cbor:"3,keyasint,omitzero" json:"time"`
	By      string          `cbor:"4,keyasint,omitzero" json:"by,omitempty"`
	Subject string          `cbor:"5,keyasint,omitzero" json:"subject,omitempty"` // what that entry is about: the activation ID that was drawn, for instance
}

// part is a command under a key.
type part struct {
	key  string
	part uint32
}

func (m *Mark) part() part { return part{m.Key, m.Part} }

func (m *Mark) validate() error {
	if m.Asked == (capability.Digest{}) {
		return fmt.Errorf("key %q is for nothing", m.Key)
	}
	return capability.CheckName("key", m.Key)
}

func (c Once) decide(b *Book, now capability.Time) (*Decision, error) {
	m := &Mark{c.Key, c.Part, c.Asked}
	if err := m.validate(); err != nil {
		return nil, err
	}
	if was := b.done[m.part()]; was != nil {
		if was.Mark != *m {
			return nil, capability.Refuse(capability.ErrKeyUsed, c.Key, "it was for another command, %s, entry %d", was.Time, was.Entry)
		}
		return &Decision{Done: was.copy()}, nil
	}
	d, err := c.Command.decide(b, now)
	if err != nil || len(d.Entries) == 0 {
		return d, err
	}
	d.Entries[len(d.Entries)-1].Once = m
	return d, nil
}

// Done is what became of a part of a command under a key, while it is remembered.
func (b *Book) Done(key string, n uint32) (Done, bool) {
	if d := b.done[part{key, n}]; d != nil {
		return *d, true
	}
	return Done{}, false
}

func (d *Done) copy() *Done { c := *d; return &c }

// markable asserts what Once promises.
func (b *Book) markable(m *Mark) error {
	if m == nil {
		return nil
	}
	if b.done[m.part()] != nil {
		return fmt.Errorf("key %q was used before", m.Key)
	}
	return m.validate()
}

// mark remembers the key of the entry that was applied last.
func (b *Book) mark(e *Entry) {
	if e.Once != nil {
		b.remember(&Done{*e.Once, b.length, e.Time, e.By, e.Subject()})
	}
}

func (b *Book) remember(d *Done) {
	if len(b.keys) == MaxKeys {
		delete(b.done, b.keys[0].Mark.part())
		b.keys = b.keys[1:]
	}
	b.keys = append(b.keys, d)
	b.done[d.Mark.part()] = d
}

func (b *Book) checkKeys() error {
	if len(b.keys) > MaxKeys || len(b.keys) != len(b.done) {
		return fmt.Errorf("%d keys are found as %d", len(b.keys), len(b.done))
	}
	last := uint64(0)
	for _, d := range b.keys {
		if err := d.Mark.validate(); err != nil {
			return err
		}
		if b.done[d.Mark.part()] != d || d.Entry <= last || d.Entry > b.length {
			return fmt.Errorf("key %q of entry %d follows entry %d", d.Mark.Key, d.Entry, last)
		}
		last = d.Entry
	}
	return nil
}
