package entitlement

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// A token lets a program ask as a login does, without a person: it may what the login may at that moment, where the login may it, and never more. The book keeps its hash only; who loses the text makes
// another one. It ends by itself, with the login, and when it is revoked.

const (
	// MaxTokens of one login: one for each program, so that one can be revoked alone.
	MaxTokens = 16
	// TokenLife is how long a token is good where nobody says, and MaxTokenLife how long at most.
	TokenLife    capability.Seconds = 90 * day
	MaxTokenLife capability.Seconds = 365 * day

	tokenBytes  = 32 // that nobody guesses
	tokenPrefix = "fh_"
)

// Token is one as the book knows it.
type Token struct {
	Name string            `cbor:"1,keyasint,omitzero" json:"name"` // what it is for; no two of a login are equal but for case
	Hash capability.Digest `cbor:"2,keyasint,omitzero" json:"-"`    // TokenHash of its text
	Made capability.Time   `cbor:"3,keyasint,omitzero" json:"made"`
	Ends capability.Time   `cbor:"4,keyasint,omitzero" json:"ends"` // from when on it is worth nothing
	By   string            `cbor:"5,keyasint,omitzero" json:"by"`   // who made it
}

// AddToken gives a login a token. Those of the login that are over make room for it.
type AddToken struct {
	Login, Name string
	Hash        capability.Digest
	Life        capability.Seconds // zero: TokenLife
	By          string
}

// RevokeToken ends a token at once.
type RevokeToken struct{ Login, Name, By string }

// NewToken draws the text of a token.
func NewToken(rand io.Reader) (string, error) {
	var b [tokenBytes]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a token: %w", err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// TokenHash is what the book keeps of a token.
func TokenHash(text string) capability.Digest {
	return sha256.Sum256([]byte("leasehold api token v1\x00" + text))
}

// OfToken is the login that a token's text is of, and the token, while both are good. Every token is compared, each in the same time.
func (b *Book) OfToken(text string, now capability.Time) (login Login, token Token, ok bool) {
	hash := TokenHash(text)
	for _, l := range b.logins {
		for _, t := range l.Tokens {
			if subtle.ConstantTimeCompare(hash[:], t.Hash[:]) == 1 && now < t.Ends && !l.Disabled {
				login, token, ok = l.clone(), t, true
			}
		}
	}
	return login, token, ok
}

func (c AddToken) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Login)
	if err != nil {
		return nil, err
	}
	if c.Life == 0 {
		c.Life = TokenLife
	}
	if c.Life < 0 || c.Life > MaxTokenLife {
		return nil, fmt.Errorf("%w: a token of %s where at most %s are allowed", ErrLogin, c.Life, MaxTokenLife)
	}
	changed := l.clone()
	changed.Tokens = append(slices.DeleteFunc(changed.Tokens, func(t Token) bool { return now >= t.Ends }), Token{c.Name, c.Hash, now, now.Add(c.Life), c.By})
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

func (c RevokeToken) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Login)
	if err != nil {
		return nil, err
	}
	changed := l.clone()
	at := slices.IndexFunc(changed.Tokens, func(t Token) bool { return strings.EqualFold(t.Name, c.Name) })
	if at < 0 {
		return nil, capability.Refuse(capability.ErrNotFound, c.Name, "%s has no such token", l.Name)
	}
	if changed.Tokens = slices.Delete(changed.Tokens, at, at+1); len(changed.Tokens) == 0 {
		changed.Tokens = nil
	}
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

// validateTokens says why the tokens of a login cannot be.
func (l *Login) validateTokens() error {
	if len(l.Tokens) > MaxTokens {
		return fmt.Errorf("%d tokens where at most %d are allowed", len(l.Tokens), MaxTokens)
	}
	for n, t := range l.Tokens {
		if err := capability.CheckName("token", t.Name); err != nil {
			return err
		}
		switch {
		case t.Hash == (capability.Digest{}), t.Made == 0, t.Ends <= t.Made, t.Ends > t.Made.Add(MaxTokenLife):
			return fmt.Errorf("token %s is none", t.Name)
		case len(t.By) > capability.MaxName:
			return errors.New("a token made by a name that is too long")
		case slices.ContainsFunc(l.Tokens[:n], func(o Token) bool { return strings.EqualFold(o.Name, t.Name) || o.Hash == t.Hash }):
			return fmt.Errorf("token %s is there twice", t.Name)
		}
	}
	return nil
}

// tokenOfAnother says that a login beside this one has a token of that hash.
func (b *Book) tokenOfAnother(hash capability.Digest, of *Login) bool {
	return slices.ContainsFunc(b.logins, func(l *Login) bool {
		return l != of && slices.ContainsFunc(l.Tokens, func(t Token) bool { return t.Hash == hash })
	})
}
