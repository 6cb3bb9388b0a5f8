package ledger

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// A token lets a program ask as a login does: it may what the login may at that moment, and never more. The ledger keeps the hash of its text only; the text has more bits than anybody can try.

const (
	// MaxTokens of one login: one for each program, so that one can be ended alone.
	MaxTokens = 16
	// TokenLife is how long a token is good where nobody says, and MaxTokenLife how long at most.
	TokenLife    capability.Seconds = 90 * 24 * 60 * 60
	MaxTokenLife capability.Seconds = 366 * 24 * 60 * 60
)

// Token is one as the ledger knows it.
type Token struct {
	Name string            `cbor:"1,keyasint,omitzero"` // what it is for; no two of a login are equal but for case
	Hash capability.Digest `cbor:"2,keyasint,omitzero"` // TokenHash of its text
	Made capability.Time   `cbor:"3,keyasint,omitzero"`
	Ends capability.Time   `cbor:"4,keyasint,omitzero"` // from when on it is worth nothing
}

// AddToken gives a login a token. Those of the login that are over make room for it.
type AddToken struct {
	Login, Name string
	Hash        capability.Digest
	Life        capability.Seconds // zero: TokenLife
	By          string
}

// EndToken ends a token at once.
type EndToken struct{ Login, Name, By string }

func (AddToken) command() {}
func (EndToken) command() {}

// TokenHash is what is kept of a token.
func TokenHash(text string) capability.Digest {
	return sha256.Sum256([]byte("leasehold appliance token v1\x00" + text))
}

// OfToken is the login that a token's text is of, and the token, while both are good at that time. Every token is compared.
func (l *Ledger) OfToken(text string, at capability.Time) (login Login, token Token, ok bool) {
	hash := TokenHash(text)
	for _, g := range l.logins {
		for _, t := range g.Tokens {
			if subtle.ConstantTimeCompare(hash[:], t.Hash[:]) == 1 && at < t.Ends && !g.Disabled {
				login, token, ok = g.clone(), t, true
			}
		}
	}
	return login, token, ok
}

func (l *Ledger) addToken(now Now, c AddToken) (Decision, error) {
	g, err := l.theLogin(c.Login)
	if err != nil {
		return Decision{}, err
	}
	if c.Life == 0 {
		c.Life = TokenLife
	}
	if c.Life < 0 || c.Life > MaxTokenLife {
		return Decision{}, malformed("life", "%d seconds where 1 to %d are allowed", c.Life, MaxTokenLife)
	}
	if at := g.tokenNamed(c.Name); at >= 0 && now.Wall < g.Tokens[at].Ends {
		return Decision{}, malformed("token", "%s has one of that name already", g.Name)
	}
	g.Tokens = append(slices.DeleteFunc(g.Tokens, func(t Token) bool { return now.Wall >= t.Ends }), Token{c.Name, c.Hash, now.Wall, now.Wall.Add(c.Life)})
	return l.admitted(now, g, c.By)
}

func (l *Ledger) endToken(now Now, c EndToken) (Decision, error) {
	g, err := l.theLogin(c.Login)
	if err != nil {
		return Decision{}, err
	}
	at := g.tokenNamed(c.Name)
	if at < 0 {
		return Decision{}, capability.Refuse(capability.ErrNotFound, subject(c.Name), "%s has no such token", g.Name)
	}
	if g.Tokens = slices.Delete(g.Tokens, at, at+1); len(g.Tokens) == 0 {
		g.Tokens = nil
	}
	return l.admitted(now, g, c.By)
}

func (g *Login) tokenNamed(name string) int {
	return slices.IndexFunc(g.Tokens, func(t Token) bool { return strings.EqualFold(t.Name, name) })
}

func (g *Login) tokenOf(hash capability.Digest) int {
	return slices.IndexFunc(g.Tokens, func(t Token) bool { return t.Hash == hash })
}

// validateTokens says why the tokens of a login cannot be.
func (g *Login) validateTokens() error {
	if len(g.Tokens) > MaxTokens {
		return fmt.Errorf("%d where at most %d are kept", len(g.Tokens), MaxTokens)
	}
	for n, t := range g.Tokens {
		if err := capability.CheckName("token", t.Name); err != nil {
			return err
		}
		switch {
		case t.Hash == capability.Digest{} || t.Made <= 0 || t.Ends <= t.Made || t.Ends > t.Made.Add(MaxTokenLife):
			return fmt.Errorf("%s is none", t.Name)
		case g.tokenNamed(t.Name) != n || g.tokenOf(t.Hash) != n:
			return fmt.Errorf("%s is there twice", t.Name)
		}
	}
	return nil
}
