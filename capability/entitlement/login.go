package entitlement

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// A login is somebody who may sign in at the portal: of the producer's staff, or of a customer's account. The book knows what it may do, and how it shows who it is: a password's hash, passkeys, or a
// name at an identity provider. Hashes and keys are made and judged outside; here they are facts.

// MaxPasskeys of one login: a phone, a computer, and keys for the safe.
const MaxPasskeys = 8

const (
	maxPassword = 512     // bytes of a hash with its parameters
	maxPasskey  = 2 << 10 // bytes of a credential
)

// Login is one as the book knows it.
type Login struct {
	Name     string            `cbor:"1,keyasint,omitzero" json:"name"`              // no two are equal but for case
	Account  string            `cbor:"2,keyasint,omitzero" json:"account,omitempty"` // empty: the producer's staff
	Roles    []capability.Role `cbor:"3,keyasint,omitempty" json:"roles"`            // in order, each once; none: sees its own seats only
	Password string            `cbor:"4,keyasint,omitzero" json:"-"`                 // hash with its parameters, as the portal writes it; empty: none
	Code     capability.Digest `cbor:"5,keyasint,omitzero" json:"-"`                 // LoginHash of the one-time code on its slip; zero: none waits to be used
	CodeEnds capability.Time   `cbor:"6,keyasint,omitzero" json:"codeEnds,omitzero"` // from when on it is worth nothing
	Passkeys []Passkey         `cbor:"7,keyasint,omitempty" json:"passkeys,omitempty"`
	Subject  string            `cbor:"8,keyasint,omitzero" json:"subject,omitempty"` // what an identity provider calls it: the provider's name, a space, the name there
	Local    bool              `cbor:"9,keyasint,omitzero" json:"local,omitempty"`   // signs in with password or passkey also where an identity provider is for everybody
	Disabled bool              `cbor:"10,keyasint,omitzero" json:"disabled,omitempty"`
	Made     capability.Time   `cbor:"11,keyasint,omitzero" json:"made"`
	Since    capability.Time   `cbor:"12,keyasint,omitzero" json:"since"` // sessions from before end: the last change of how it signs in or of what it may
	Tokens   []Token           `cbor:"13,keyasint,omitempty" json:"tokens,omitempty"`
}

// Passkey is a public key of a login (WebAuthn, level 2, 4 and 6.1).
type Passkey struct {
	ID         []byte          `cbor:"1,keyasint,omitzero" json:"id"`
	Name       string          `cbor:"2,keyasint,omitzero" json:"name"` // what the login calls it
	Credential []byte          `cbor:"3,keyasint,omitzero" json:"-"`    // as the portal writes it
	Made       capability.Time `cbor:"4,keyasint,omitzero" json:"made"`
}

// LoginFact is the fact that a login is so from now on, or is none any more.
type LoginFact struct {
	Login  Login `cbor:"1,keyasint,omitzero" json:"login"`
	Remove bool  `cbor:"2,keyasint,omitzero" json:"remove,omitempty"`
}

// SignIn is the fact that somebody signed in, or that a login was closed for a while because too many tries failed.
type SignIn struct {
	Name   string          `cbor:"1,keyasint,omitzero" json:"name"` // as it was typed, where no login has it
	From   string          `cbor:"2,keyasint,omitzero" json:"from"` // the address
	How    string          `cbor:"3,keyasint,omitzero" json:"how"`  // password, passkey, the identity provider's name
	Failed uint32          `cbor:"4,keyasint,omitzero" json:"failed,omitempty"`
	Closed capability.Time `cbor:"5,keyasint,omitzero" json:"closed,omitzero"` // until then
}

// ErrLogin is in the error of a login that cannot be in the book; it says why.
var ErrLogin = errors.New("login")

// AddLogin puts a login into the book.
type AddLogin struct {
	Name, Account string
	Roles         []capability.Role
	Subject       string
	Local         bool
	Code          capability.Digest // LoginHash of its one-time code; zero: none
	By            string
}

// ChangeLogin changes what is named; nil and zero leave as it is. A new code ends the one before, and with Forget the password.
type ChangeLogin struct {
	Name            string
	Roles           *[]capability.Role
	Subject         *string
	Local, Disabled *bool
	Code            capability.Digest
	Forget          bool
	By              string
}

// RemoveLogin takes a login out of the book.
type RemoveLogin struct{ Name, By string }

// ClaimLogin uses the one-time code of a login to give it a password. It can be done once for each code.
type ClaimLogin struct {
	Name, Code, Password string
	By                   string
}

// SetPassword gives a login another password. Whoever sends this has seen that the current one was known.
type SetPassword struct{ Name, Password, By string }

// SetPasskey adds a passkey to a login, changes the one of that ID, or removes it.
type SetPasskey struct {
	Name    string
	Passkey Passkey
	Remove  bool
	By      string
}

// EndSessions signs a login out everywhere.
type EndSessions struct{ Name, By string }

// NoteSignIn keeps that somebody signed in.
type NoteSignIn struct{ SignIn }

// LoginHash is what the book keeps of a one-time code, which belongs to its login alone. It takes the code as people type it.
func LoginHash(name, code string) capability.Digest {
	plain := strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
	name = strings.ToLower(folded(name))
	return sha256.Sum256(fmt.Appendf(nil, "leasehold login code v1\x00%d:%s%s", len(name), name, plain))
}

// Logins are all logins, in the order they were made.
func (b *Book) Logins() []Login {
	list := make([]Login, 0, len(b.logins))
	for _, l := range b.logins {
		list = append(list, l.clone())
	}
	return list
}

// Login is the one of that name, however its case was typed.
func (b *Book) Login(name string) (Login, bool) {
	if l := b.login(name); l != nil {
		return l.clone(), true
	}
	return Login{}, false
}

// LoginOf is the one that an identity provider calls so.
func (b *Book) LoginOf(subject string) (Login, bool) {
	for _, l := range b.logins {
		if l.Subject == subject && subject != "" {
			return l.clone(), true
		}
	}
	return Login{}, false
}

func (b *Book) login(name string) *Login {
	for _, l := range b.logins {
		if strings.EqualFold(l.Name, name) {
			return l
		}
	}
	return nil
}

func (b *Book) mustLogin(name string) (*Login, error) {
	if l := b.login(name); l != nil {
		return l, nil
	}
	return nil, capability.Refuse(capability.ErrNoLogin, name, "")
}

func (l *Login) clone() Login {
	c := *l
	c.Roles, c.Passkeys, c.Tokens = slices.Clone(l.Roles), slices.Clone(l.Passkeys), slices.Clone(l.Tokens)
	return c
}

func (c AddLogin) decide(b *Book, now capability.Time) (*Decision, error) {
	err := legible("login", c.Name)
	if err == nil && c.Account != "" {
		err = b.newAccount(c.Account)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	if l := b.login(c.Name); l != nil {
		return nil, fmt.Errorf("%w: there is a %s already", ErrLogin, l.Name)
	}
	l := Login{Name: c.Name, Account: c.Account, Roles: slices.Sorted(slices.Values(c.Roles)), Subject: c.Subject, Local: c.Local, Made: now, Since: now}
	l.give(c.Code, now)
	return b.loginEntry(now, c.By, LoginFact{Login: l})
}

func (l *Login) give(code capability.Digest, now capability.Time) {
	if l.Code, l.CodeEnds = code, 0; code != (capability.Digest{}) {
		l.CodeEnds = now.Add(CodeLife)
	}
}

// endSessions makes every session from before one from before: also where two changes come in one second, and where the clock was set back.
func (l *Login) endSessions(now capability.Time) { l.Since = max(now, l.Since+1) }

func (c ChangeLogin) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Name)
	if err != nil {
		return nil, err
	}
	changed := l.clone()
	changed.endSessions(now)
	if c.Roles != nil {
		changed.Roles = slices.Sorted(slices.Values(*c.Roles))
	}
	if c.Subject != nil {
		changed.Subject = *c.Subject
	}
	if c.Local != nil {
		changed.Local = *c.Local
	}
	if c.Disabled != nil {
		changed.Disabled = *c.Disabled
	}
	if c.Code != (capability.Digest{}) {
		changed.give(c.Code, now)
	}
	if c.Forget {
		changed.Password = ""
	}
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

func (c RemoveLogin) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Name)
	if err != nil {
		return nil, err
	}
	return b.loginEntry(now, c.By, LoginFact{Login: l.clone(), Remove: true})
}

func (c ClaimLogin) decide(b *Book, now capability.Time) (*Decision, error) {
	no := func(format string, args ...any) (*Decision, error) {
		return nil, capability.Refuse(capability.ErrLoginCode, c.Name, format, args...)
	}
	l := b.login(c.Name)
	if l == nil {
		l = &Login{Name: c.Name} // whoever guesses names learns nothing
	}
	hash := LoginHash(c.Name, c.Code)
	switch {
	case subtle.ConstantTimeCompare(hash[:], l.Code[:]) != 1 || l.Code == (capability.Digest{}):
		return no("")
	case now >= l.CodeEnds:
		return no("it could be used until %s", l.CodeEnds)
	case l.Disabled:
		return no("the login is disabled")
	}
	changed := l.clone()
	changed.give(capability.Digest{}, now)
	changed.Password = c.Password
	changed.endSessions(now)
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

func (c SetPassword) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Name)
	if err != nil {
		return nil, err
	}
	changed := l.clone()
	changed.Password = c.Password
	changed.endSessions(now)
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

func (c EndSessions) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Name)
	if err != nil {
		return nil, err
	}
	changed := l.clone()
	changed.endSessions(now)
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

func (c SetPasskey) decide(b *Book, now capability.Time) (*Decision, error) {
	l, err := b.mustLogin(c.Name)
	if err != nil {
		return nil, err
	}
	changed := l.clone()
	at := slices.IndexFunc(changed.Passkeys, func(k Passkey) bool { return string(k.ID) == string(c.Passkey.ID) })
	switch {
	case at < 0 && c.Remove:
		return nil, fmt.Errorf("%w: %s has no such passkey", ErrLogin, l.Name)
	case c.Remove:
		changed.Passkeys = slices.Delete(changed.Passkeys, at, at+1)
		changed.endSessions(now)
	case at < 0:
		c.Passkey.Made = now
		changed.Passkeys = append(changed.Passkeys, c.Passkey)
	default:
		c.Passkey.Made = changed.Passkeys[at].Made
		changed.Passkeys[at] = c.Passkey
	}
	if len(changed.Passkeys) == 0 {
		changed.Passkeys = nil
	}
	return b.loginEntry(now, c.By, LoginFact{Login: changed})
}

func (c NoteSignIn) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := c.SignIn.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	e := b.entry(now, c.Name)
	if c.Failed > 0 {
		e.By = "" // whoever it was
	}
	e.SignIn = &c.SignIn
	return &Decision{Entries: []*Entry{e}}, nil
}

func (s *SignIn) validate() error {
	for _, text := range []struct{ field, text string }{{"name", s.Name}, {"address", s.From}, {"how", s.How}} {
		if err := capability.CheckName(text.field, text.text); err != nil {
			return err
		}
	}
	return nil
}

func (b *Book) loginEntry(now capability.Time, by string, f LoginFact) (*Decision, error) {
	if len(f.Login.Roles) == 0 {
		f.Login.Roles = nil
	}
	if b.lastAdministrator(&f, now) {
		return nil, capability.Refuse(capability.ErrLastAdministrator, f.Login.Name, "")
	}
	if err := b.loginFact(&f, now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	e := b.entry(now, by)
	e.Login = &f
	return &Decision{Entries: []*Entry{e}}, nil
}

// admits says that a login can sign in by itself, without an identity provider, and admit others.
func (l *Login) admits(now capability.Time) bool {
	return l.Account == "" && l.May(ToAdmit) && (l.Password != "" || l.Code != (capability.Digest{}) && now < l.CodeEnds || len(l.Passkeys) > 0)
}

// lastAdministrator says that after a fact nobody could admit logins any more, and somebody can now.
func (b *Book) lastAdministrator(f *LoginFact, now capability.Time) bool {
	was := b.login(f.Login.Name)
	if was == nil || !was.admits(now) || !f.Remove && f.Login.admits(now) {
		return false
	}
	return !slices.ContainsFunc(b.logins, func(l *Login) bool { return l != was && l.admits(now) })
}

// loginFact says why a fact about a login cannot be.
func (b *Book) loginFact(f *LoginFact, now capability.Time) error {
	l, was := &f.Login, b.login(f.Login.Name)
	if err := l.validate(); err != nil {
		return err
	}
	switch {
	case f.Remove && was == nil:
		return fmt.Errorf("%s is removed and not in the book", l.Name)
	case b.lastAdministrator(f, now):
		return fmt.Errorf("%s is the last who could admit logins", l.Name)
	case f.Remove:
		return nil
	case was == nil && (l.Made != now || l.Since < now):
		return fmt.Errorf("%s is new, and has a past", l.Name)
	case was != nil && (was.Name != l.Name || was.Made != l.Made || was.Account != l.Account):
		return fmt.Errorf("%s of %q becomes %s of %q", was.Name, was.Account, l.Name, l.Account)
	case was != nil && l.Since < was.Since:
		return fmt.Errorf("%s has sessions from before its last change", l.Name)
	}
	if other, ok := b.LoginOf(l.Subject); ok && other.Name != l.Name {
		return fmt.Errorf("%s is called as %s is at the identity provider", l.Name, other.Name)
	}
	for _, t := range l.Tokens {
		if b.tokenOfAnother(t.Hash, was) {
			return fmt.Errorf("token %s of %s is another login's", t.Name, l.Name)
		}
	}
	return nil
}

func (l *Login) validate() error {
	if err := capability.CheckName("login", l.Name); err != nil {
		return err
	}
	if l.Account != "" {
		if err := capability.CheckName("account", l.Account); err != nil {
			return err
		}
	}
	if l.Subject != "" {
		if err := capability.CheckText(l.Subject); err != nil {
			return fmt.Errorf("subject: %w", err)
		}
	}
	for n, r := range l.Roles {
		if !r.Known() || n > 0 && l.Roles[n-1] >= r {
			return fmt.Errorf("%s is there twice, or out of order, or is none", r)
		}
	}
	switch {
	case len(l.Password) > maxPassword:
		return fmt.Errorf("a password's hash of %d bytes where at most %d are allowed", len(l.Password), maxPassword)
	case (l.Code == capability.Digest{}) != (l.CodeEnds == 0):
		return errors.New("a code without an end, or an end without a code")
	case len(l.Passkeys) > MaxPasskeys:
		return fmt.Errorf("%d passkeys where at most %d are allowed", len(l.Passkeys), MaxPasskeys)
	}
	for n, k := range l.Passkeys {
		if len(k.ID) == 0 || len(k.ID) > 1023 || len(k.Credential) == 0 || len(k.Credential) > maxPasskey || k.Made == 0 {
			return fmt.Errorf("passkey %d is none", n+1)
		}
		if err := capability.CheckName("passkey", k.Name); err != nil {
			return err
		}
		if slices.ContainsFunc(l.Passkeys[:n], func(o Passkey) bool { return string(o.ID) == string(k.ID) }) {
			return fmt.Errorf("passkey %d is there twice", n+1)
		}
	}
	return l.validateTokens()
}

func (b *Book) applyLogin(e *Entry) error {
	if e.SignIn != nil {
		return e.SignIn.validate()
	}
	f := e.Login
	if err := b.loginFact(f, e.Time); err != nil {
		return err
	}
	was, l := b.login(f.Login.Name), f.Login.clone()
	switch {
	case f.Remove:
		b.logins = slices.DeleteFunc(b.logins, func(o *Login) bool { return o == was })
	case was != nil:
		*was = l
	default:
		b.logins = append(b.logins, &l)
	}
	return nil
}

func (b *Book) checkLogins() error {
	met, tokens := map[string]bool{}, map[capability.Digest]bool{}
	for _, l := range b.logins {
		if err := l.validate(); err != nil {
			return fmt.Errorf("login %s: %w", l.Name, err)
		}
		name := folded(l.Name)
		if met[name] || l.Made == 0 || l.Since < l.Made {
			return fmt.Errorf("login %s is there twice, or is none", l.Name)
		}
		met[name] = true
		for _, t := range l.Tokens {
			if tokens[t.Hash] {
				return fmt.Errorf("token %s of %s is another login's", t.Name, l.Name)
			}
			tokens[t.Hash] = true
		}
	}
	return nil
}

// FindLogins is a page of the logins of an account and of those below it, or of all where it is empty: those with a text in name or account, in the order they were made, after the one of a name.
// More says that others follow.
func (b *Book) FindLogins(within, text, after string, limit int) (page []Login, more bool) {
	text = strings.ToLower(text)
	own := func(l *Login) bool { return within == "" || l.Account != "" && b.Within(l.Account, within) }
	from := 1 + slices.IndexFunc(b.logins, func(l *Login) bool { return after != "" && strings.EqualFold(l.Name, after) && own(l) })
	for _, l := range b.logins[from:] {
		if !own(l) || !strings.Contains(strings.ToLower(l.Name+"\n"+l.Account), text) {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, l.clone())
	}
	return page, false
}

// LoginOfPasskey is the one that has a passkey of that ID.
func (b *Book) LoginOfPasskey(id []byte) (Login, bool) {
	for _, l := range b.logins {
		if slices.ContainsFunc(l.Passkeys, func(k Passkey) bool { return string(k.ID) == string(id) }) {
			return l.clone(), true
		}
	}
	return Login{}, false
}
