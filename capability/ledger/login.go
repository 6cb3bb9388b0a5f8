package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// A login is somebody who may sign in from another machine. The ledger knows what it may do, and keeps what the console makes of its password, which only the TPM of this appliance can judge: entries are
// read by auditors, and a backup travels. Who owns the machine needs no login.

const (
	// MaxLogins of an appliance: those who manage it, not those who use its licenses.
	MaxLogins = 1000
	// ByDirectory begins how somebody signed in whom a directory knows: the appliance itself keeps no such login.
	ByDirectory = "directory"
	// MaxVerifier bounds what is kept of a password, in bytes.
	MaxVerifier = 512
)

// Login is one as the ledger knows it.
type Login struct {
	Name     string            `cbor:"1,keyasint,omitzero"`  // no two are equal but for case
	Roles    []capability.Role `cbor:"2,keyasint,omitempty"` // in order, each once; none: it may change its password
	Password []byte            `cbor:"3,keyasint,omitempty"` // as the console seals it
	Disabled bool              `cbor:"4,keyasint,omitzero"`
	Made     capability.Time   `cbor:"5,keyasint,omitzero"`
	Since    capability.Time   `cbor:"6,keyasint,omitzero"` // the last change of what it may or of how it signs in: what was signed in before is signed out
	Tokens   []Token           `cbor:"7,keyasint,omitempty"`
}

// Admission says what an entry changes of a login; several at once are added up. Numbers are on disk.
type Admission uint16

// The changes.
const (
	LoginMade Admission = 1 << iota
	LoginRemoved
	RolesChanged
	PasswordChanged
	LoginDisabled
	LoginEnabled
	TokenMade
	TokenEnded

	admissions = iota

	// takings are what administrators alone take away.
	takings = LoginRemoved | RolesChanged | LoginDisabled
)

func (a Admission) String() string {
	var all []string
	for n, name := range [admissions]string{"made", "removed", "roles changed", "password changed", "disabled", "enabled", "token made", "token ended"} {
		if a&(1<<n) != 0 {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}

// Admitted: a login is so from now on, or is none any more; then only its name is said.
type Admitted struct {
	Login Login     `cbor:"1,keyasint"`
	What  Admission `cbor:"2,keyasint,omitzero"`
	By    string    `cbor:"3,keyasint,omitzero"`

	Spent capability.Seconds `cbor:"4,keyasint,omitzero"` // of the ration of moves of logins, or of administrators for what they take, on the lease clock, after the one that this needed; zero: it needed none, or none was left
}

// SignedIn: somebody signed in, or so many tries failed that the next have to wait.
type SignedIn struct {
	Name   string          `cbor:"1,keyasint,omitzero"` // of a login, or as a directory says it; empty where none has the name that was typed, which may be a password
	From   string          `cbor:"2,keyasint,omitzero"` // the address
	How    string          `cbor:"3,keyasint,omitzero"` // password, first-login code, or ByDirectory and whom it means
	Failed uint32          `cbor:"4,keyasint,omitzero"` // tries in a row; zero: it succeeded
	Closed capability.Time `cbor:"5,keyasint,omitzero"` // until then
}

// AddLogin admits somebody. The first login is a security administrator, or nobody could admit others.
type AddLogin struct {
	Name     string
	Roles    []capability.Role
	Password []byte
	First    bool // there must be none yet
	By       string
}

// ChangeLogin changes what is not nil. Whoever sends a password has seen that the current one was known, or that who asks may do without.
type ChangeLogin struct {
	Name     string
	Roles    *[]capability.Role
	Disabled *bool
	Password []byte
	By       string
}

// RemoveLogin ends a login with its tokens.
type RemoveLogin struct{ Name, By string }

// NoteSignIn keeps that somebody signed in, or did not.
type NoteSignIn struct{ SignedIn }

func (AddLogin) command()    {}
func (ChangeLogin) command() {}
func (RemoveLogin) command() {}
func (NoteSignIn) command()  {}

// Permissions are what a login may do.
func (g *Login) Permissions() (all Permissions) {
	if g.Disabled {
		return 0
	}
	for _, r := range g.Roles {
		all |= PermissionsOfRole(r)
	}
	return all
}

func (g *Login) clone() Login {
	c := *g
	c.Roles, c.Password, c.Tokens = slices.Clone(g.Roles), bytes.Clone(g.Password), slices.Clone(g.Tokens)
	return c
}

// Logins are all logins, in the order they were made; copies.
func (l *Ledger) Logins() []Login {
	list := make([]Login, 0, len(l.logins))
	for _, g := range l.logins {
		list = append(list, g.clone())
	}
	return list
}

// Login is the one of that name, however its case was typed; a copy.
func (l *Ledger) Login(name string) (Login, bool) {
	if at := l.loginAt(name); at >= 0 {
		return l.logins[at].clone(), true
	}
	return Login{}, false
}

func (l *Ledger) loginAt(name string) int {
	return slices.IndexFunc(l.logins, func(g *Login) bool { return strings.EqualFold(g.Name, name) })
}

// theLogin is a copy of the one of that name.
func (l *Ledger) theLogin(name string) (Login, error) {
	g, ok := l.Login(name)
	if !ok {
		return g, capability.Refuse(capability.ErrApplianceLogin, subject(name), "")
	}
	return g, nil
}

// subject is a name as far as an answer can repeat it.
func subject(name string) string {
	if capability.CheckName("login", name) != nil {
		return ""
	}
	return name
}

func (l *Ledger) addLogin(now Now, c AddLogin) (Decision, error) {
	at := l.loginAt(c.Name)
	switch {
	case c.First && len(l.logins) > 0:
		return Decision{}, capability.Refuse(capability.ErrFirstLogin, "", "there is a login already")
	case at >= 0:
		return Decision{}, capability.Refuse(capability.ErrLoginTaken, l.logins[at].Name, "")
	case len(l.logins) >= MaxLogins:
		return Decision{}, malformed("name", "there are %d logins, and no more are kept", len(l.logins))
	}
	return l.admitted(now, Login{Name: c.Name, Roles: ordered(c.Roles), Password: bytes.Clone(c.Password), Made: now.Wall, Since: now.Wall}, c.By)
}

// ordered is roles as a login has them.
func ordered(roles []capability.Role) []capability.Role {
	if len(roles) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(roles)))
}

func (l *Ledger) changeLogin(now Now, c ChangeLogin) (Decision, error) {
	g, err := l.theLogin(c.Name)
	if err != nil {
		return Decision{}, err
	}
	if c.Roles != nil {
		g.Roles = ordered(*c.Roles)
	}
	if c.Disabled != nil {
		g.Disabled = *c.Disabled
	}
	if c.Password != nil {
		g.Password = bytes.Clone(c.Password)
	}
	return l.admitted(now, g, c.By)
}

func (l *Ledger) removeLogin(now Now, c RemoveLogin) (Decision, error) {
	g, err := l.theLogin(c.Name)
	if err != nil {
		return Decision{}, err
	}
	return l.decidedLogin(now, &Admitted{Login: Login{Name: g.Name}, What: LoginRemoved, By: c.By})
}

// admitted makes a login this one, where it is another.
func (l *Ledger) admitted(now Now, g Login, by string) (Decision, error) {
	f := &Admitted{Login: g, What: l.admission(&g), By: by}
	if f.What == 0 {
		return Decision{}, nil
	}
	if f.What&(RolesChanged|PasswordChanged|LoginDisabled|LoginEnabled) != 0 {
		// Also where two changes come in one second.
		f.Login.Since = max(now.Wall, g.Since+1)
	}
	return l.decidedLogin(now, f)
}

func (l *Ledger) decidedLogin(now Now, f *Admitted) (Decision, error) {
	if err := checkBy(f.By); err != nil {
		return Decision{}, err
	}
	if f.What != LoginRemoved {
		if field, err := f.Login.validate(); err != nil {
			return Decision{}, malformed(field, "%v", err)
		}
	}
	if !l.admits(f) {
		return Decision{}, capability.Refuse(capability.ErrApplianceLast, f.Login.Name, "")
	}
	if err := l.loginFact(f, now.Wall); err != nil {
		return Decision{}, malformed("login", "%v", err)
	}
	// What is taken away stays away, whatever older copy of the disk is put back, as far as the ration goes that it is of: without one it could wear out the TPM.
	// Who is signed in is known in memory alone, and no copy brings a session back.
	switch {
	case !l.provisioned():
	case f.What&takings != 0:
		f.Spent = l.takingMove(now)
	case f.What&PasswordChanged != 0 || l.endsToken(now, f):
		f.Spent = l.loginMove(now)
	}
	d := l.decided(now, Entry{Admitted: f})
	d.Move = f.Spent != 0
	return d, nil
}

// endsToken says that a fact takes a token away that is still good.
func (l *Ledger) endsToken(now Now, f *Admitted) bool {
	at := l.loginAt(f.Login.Name)
	return at >= 0 && f.What&TokenEnded != 0 && slices.ContainsFunc(l.logins[at].Tokens, func(t Token) bool {
		return now.Wall < t.Ends && f.Login.tokenOf(t.Hash) < 0
	})
}

// admission is what makes a login another one than it is.
func (l *Ledger) admission(g *Login) (what Admission) {
	at := l.loginAt(g.Name)
	if at < 0 {
		return LoginMade
	}
	was := l.logins[at]
	note := func(change Admission, is bool) {
		if is {
			what |= change
		}
	}
	lacks := func(all, some []Token) bool {
		return slices.ContainsFunc(some, func(t Token) bool { return !slices.Contains(all, t) })
	}
	note(RolesChanged, !slices.Equal(was.Roles, g.Roles))
	note(PasswordChanged, !bytes.Equal(was.Password, g.Password))
	note(LoginDisabled, g.Disabled && !was.Disabled)
	note(LoginEnabled, !g.Disabled && was.Disabled)
	note(TokenMade, lacks(was.Tokens, g.Tokens))
	note(TokenEnded, lacks(g.Tokens, was.Tokens))
	return what
}

// admits says that after a fact somebody can still admit logins, which is so from the first login on.
func (l *Ledger) admits(f *Admitted) bool {
	if f.What != LoginRemoved && f.Login.Permissions().Has(ToAdmit) {
		return true
	}
	return slices.ContainsFunc(l.logins, func(g *Login) bool {
		return !strings.EqualFold(g.Name, f.Login.Name) && g.Permissions().Has(ToAdmit)
	})
}

// loginFact says why a fact about a login cannot be.
func (l *Ledger) loginFact(f *Admitted, now capability.Time) error {
	g, at := &f.Login, l.loginAt(f.Login.Name)
	if !l.admits(f) {
		return fmt.Errorf("after %s is %s nobody can admit logins", g.Name, f.What)
	}
	if f.What == LoginRemoved {
		if at < 0 || l.logins[at].Name != g.Name || len(g.Roles)+len(g.Password)+len(g.Tokens) > 0 || g.Disabled || g.Made != 0 || g.Since != 0 {
			return fmt.Errorf("%s is removed and was not here so", g.Name)
		}
		return nil
	}
	if field, err := g.validate(); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	signsAnew := f.What&(LoginMade|RolesChanged|PasswordChanged|LoginDisabled|LoginEnabled) != 0
	switch {
	case f.What == 0 || f.What != l.admission(g):
		return fmt.Errorf("%s is %s, and what is changed is %s", g.Name, f.What, l.admission(g))
	case at < 0 && (len(l.logins) >= MaxLogins || g.Made != now || g.Since != now):
		return fmt.Errorf("%s is new since %s, beside %d", g.Name, g.Made, len(l.logins))
	case at >= 0 && (l.logins[at].Name != g.Name || l.logins[at].Made != g.Made || signsAnew != (g.Since > l.logins[at].Since) || g.Since < l.logins[at].Since):
		return fmt.Errorf("%s since %s becomes %s since %s", l.logins[at].Name, l.logins[at].Since, g.Name, g.Since)
	}
	for _, t := range g.Tokens {
		if slices.ContainsFunc(l.logins, func(o *Login) bool { return !strings.EqualFold(o.Name, g.Name) && o.tokenOf(t.Hash) >= 0 }) {
			return fmt.Errorf("token %s of %s is another login's", t.Name, g.Name)
		}
	}
	return nil
}

// validate says which part of a login cannot be, and why.
func (g *Login) validate() (field string, err error) {
	if err := capability.CheckName("login", g.Name); err != nil {
		return "name", err
	}
	if strings.TrimSpace(g.Name) != g.Name {
		return "name", errors.New("it begins or ends with a space")
	}
	for n, r := range g.Roles {
		if !r.Known() || n > 0 && g.Roles[n-1] >= r {
			return "roles", fmt.Errorf("%s is there twice, or out of order, or is none", r)
		}
	}
	if len(g.Password) == 0 || len(g.Password) > MaxVerifier {
		return "password", fmt.Errorf("%d bytes are kept of it where 1 to %d are allowed", len(g.Password), MaxVerifier)
	}
	return "tokens", g.validateTokens()
}

func (l *Ledger) applyAdmitted(f *Admitted) error {
	if err := l.loginFact(f, l.now.Wall); err != nil {
		return err
	}
	if f.What&takings != 0 {
		if err := l.applyKeyMove(f.Spent); err != nil {
			return err
		}
	} else if f.Spent != 0 {
		if f.Spent <= max(l.loginSpent, l.now.Lease) || f.Spent-l.now.Lease > loginSaved*loginPeriod {
			return fmt.Errorf("a move that leaves the ration of logins at %d, and it was at %d", f.Spent, l.loginSpent)
		}
		l.loginSpent = f.Spent
	}
	at, g := l.loginAt(f.Login.Name), f.Login.clone()
	switch {
	case f.What == LoginRemoved:
		l.logins = slices.Delete(l.logins, at, at+1)
	case at >= 0:
		l.logins[at] = &g
	default:
		l.logins = append(l.logins, &g)
	}
	return nil
}

func (l *Ledger) noteSignIn(now Now, c NoteSignIn) (Decision, error) {
	if err := c.SignedIn.check(); err != nil {
		return Decision{}, malformed("sign-in", "%v", err)
	}
	return l.decided(now, Entry{SignedIn: &c.SignedIn}), nil
}

func (s *SignedIn) check() error {
	for _, text := range []string{s.Name, s.From, s.How} {
		if err := capability.CheckText(text); err != nil {
			return err
		}
	}
	if s.Failed == 0 && s.Closed != 0 || s.Closed < 0 {
		return errors.New("what succeeded closes nothing")
	}
	return nil
}

func (l *Ledger) checkLogins() error {
	if len(l.logins) > MaxLogins {
		return corrupt("%d logins where at most %d are kept", len(l.logins), MaxLogins)
	}
	tokens := map[capability.Digest]bool{}
	for at, g := range l.logins {
		if field, err := g.validate(); err != nil {
			return corrupt("login %s: %s: %w", g.Name, field, err)
		}
		if l.loginAt(g.Name) != at || g.Made <= 0 || g.Since < g.Made {
			return corrupt("login %s is there twice, or was changed before it was made", g.Name)
		}
		for _, t := range g.Tokens {
			if tokens[t.Hash] {
				return corrupt("token %s of %s is another login's", t.Name, g.Name)
			}
			tokens[t.Hash] = true
		}
	}
	if len(l.logins) > 0 && !slices.ContainsFunc(l.logins, func(g *Login) bool { return g.Permissions().Has(ToAdmit) }) {
		return corrupt("of %d logins none can admit logins", len(l.logins))
	}
	return nil
}

// OpenReads says that strangers may look, as the producer or an administrator has set it.
func (l *Ledger) OpenReads() bool { return l.setting(openReads) == "true" }

// SessionTimeout is how long somebody who signed in with a browser stays so without asking for anything.
func (l *Ledger) SessionTimeout() capability.Seconds { return l.length(sessionTimeout) }

// BearerLife is how long somebody who signed in with a program stays so.
func (l *Ledger) BearerLife() capability.Seconds { return l.length(tokenLife) }

// length is the value of a setting that is an interval and has a default.
func (l *Ledger) length(name string) capability.Seconds {
	n, err := strconv.ParseInt(l.setting(name), 10, 64)
	if err != nil {
		return 0 // signed out at once: a setting that Check would have found
	}
	return capability.Seconds(n)
}
