package entitlement

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// TokenUsed is the part of an entry that says with which token a program asked for it. Who made the token has its text, and may be the one who asked.
type TokenUsed struct {
	Name string `cbor:"1,keyasint,omitzero" json:"name"`         // of the login in the entry
	By   string `cbor:"2,keyasint,omitzero" json:"by,omitempty"` // who made it; empty, in tokens of before: nobody said
}

// Through is a command that a program asks for with a token of a login. Each entry of the login that follows from it says so.
type Through struct {
	Login   string
	Token   TokenUsed
	Command Command
}

func (c Through) decide(b *Book, now capability.Time) (*Decision, error) {
	if a, is := c.Command.(Approve); is {
		a.maker = c.Token.By
		c.Command = a
	}
	d, err := c.Command.decide(b, now)
	if d == nil {
		return d, err
	}
	for _, e := range d.Entries {
		if e.By == c.Login { // what was proposed is done in the name of who proposed it
			token := c.Token
			e.Token = &token
		}
	}
	b.chain(d)
	return d, err
}

// Who is who asked for an entry, in words: the login, and the token where a program asked for it.
func (e *Entry) Who() string {
	if e.Token == nil {
		return e.By
	}
	return e.By + ", token " + e.Token.Name
}

// maker is who made the token with which an entry was asked for; empty: there was none, or nobody said.
func (e *Entry) maker() string {
	if e.Token == nil {
		return ""
	}
	return e.Token.By
}

// tokenable asserts what Through promises of an entry.
func (e *Entry) tokenable() error {
	if e.Token == nil {
		return nil
	}
	if err := capability.CheckText(e.Token.By); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return capability.CheckName("token", e.Token.Name)
}

// samePerson says why somebody who approves is one with somebody who proposed; empty: they are two. Each is known by the login, and by who made the token that was used.
func (p *Proposal) samePerson(by, maker string) string {
	same := func(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
	switch {
	case same(by, p.By):
		return "it is your own proposal"
	case same(by, p.Maker):
		return fmt.Sprintf("%s made the token that it was proposed with", by)
	case same(maker, p.By):
		return fmt.Sprintf("%s proposed it, and made this token", p.By)
	case same(maker, p.Maker):
		return fmt.Sprintf("%s made this token, and the one that it was proposed with", maker)
	}
	return ""
}
