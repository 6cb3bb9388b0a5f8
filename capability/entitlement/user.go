package entitlement

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"cmp"
	"github.com/leasehold/leasehold/capability"
	"unicode/utf8"
)

// A user is a person, or a program, of an account whose name stands for seats. Of a user nothing is kept but the name, what it may do, and the hash of a code on a paper slip with which the person
// shows once who it is; the code itself is nowhere.

// UserID names a user: within an account no two names are equal but for case.
type UserID struct {
	Account string `cbor:"1,keyasint,omitzero" json:"account"`
	Name    string `cbor:"2,keyasint,omitzero" json:"name"` // a mail address, or another name
}

func (u UserID) String() string { return u.Name }

func (u UserID) validate() error {
	if err := capability.CheckName("account", u.Account); err != nil {
		return err
	}
	return capability.CheckName("user", u.Name)
}

// folded is what two names of one user share.
func (u UserID) folded() UserID { return UserID{u.Account, strings.ToLower(u.Name)} }

func compareUsers(a, b UserID) int {
	if n := strings.Compare(a.Account, b.Account); n != 0 {
		return n
	}
	return strings.Compare(a.Name, b.Name)
}

// User is one as the book knows it.
type User struct {
	ID       UserID            `cbor:"1,keyasint,omitzero" json:"id"`
	Service  bool              `cbor:"2,keyasint,omitzero" json:"service"`           // a program, a build machine: nobody sits there
	Disabled bool              `cbor:"3,keyasint,omitzero" json:"disabled"`          // takes no session and no seat; what it has stays its own
	Made     capability.Time   `cbor:"4,keyasint,omitzero" json:"made"`              // when it was put into the book
	Code     capability.Digest `cbor:"5,keyasint,omitzero" json:"-"`                 // CodeHash of the code on its slip; zero: none waits to be used
	CodeEnds capability.Time   `cbor:"6,keyasint,omitzero" json:"codeEnds,omitzero"` // from when on it is worth nothing
	Claimed  capability.Time   `cbor:"7,keyasint,omitzero" json:"claimed,omitempty"` // when the last code was used
	Groups   []string          `cbor:"8,keyasint,omitempty" json:"groups,omitempty"` // in order, each once
	Password string            `cbor:"9,keyasint,omitzero" json:"-"`                 // the hash of it, set with a code; empty: none
}

// UserFact is the fact that a user is so from now on, or is none any more.
type UserFact struct {
	User   User `cbor:"1,keyasint,omitzero" json:"user"`
	Remove bool `cbor:"2,keyasint,omitzero" json:"remove,omitempty"`
}

// ErrUser is in the error of a user that cannot be in the book; it says why.
var ErrUser = errors.New("user")

// AddUser puts a user into the book.
type AddUser struct {
	ID      UserID
	Service bool
	Code    capability.Digest // CodeHash of the code on its slip; zero: none
	By      string
}

// ChangeUser changes what is named; nil and zero leave as it is. A new code ends the one before.
type ChangeUser struct {
	ID                UserID
	Service, Disabled *bool
	Code              capability.Digest
	By                string
}

// RemoveUser takes a user out of the book: one without a seat, a session or a place in a pool.
type RemoveUser struct {
	ID UserID
	By string
}

// UseCode shows with the code of a slip who a user is. It can be done once for each code.
type UseCode struct {
	ID       UserID
	Code     string
	Password string // the hash of a new one; empty: as it was
	By       string
}

const (
	// CodeLife is how long a code on a slip can be used.
	CodeLife capability.Seconds = 30 * day

	codeSymbols  = 16 // of five bits: nobody guesses 80
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// NewCode draws a code: four groups of four symbols, which cannot be mistaken for each other.
func NewCode(rand io.Reader) (string, error) {
	var b [codeSymbols]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a code: %w", err)
	}
	var s strings.Builder
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(codeAlphabet[c&31])
	}
	return s.String(), nil
}

// CodeHash is what the book keeps of a code, which belongs to its user alone. It takes the code as people type it.
func CodeHash(id UserID, code string) capability.Digest {
	plain := strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
	id = id.folded()
	return sha256.Sum256(fmt.Appendf(nil, "leasehold user code v1\x00%d:%s%d:%s%s", len(id.Account), id.Account, len(id.Name), id.Name, plain))
}

// user is the one of that name, however its case was typed.
func (b *Book) user(id UserID) *User { return b.userByID[id.folded()] }

// Users are all users, in the order they were made.
func (b *Book) Users() []User {
	list := make([]User, 0, len(b.users))
	for _, u := range b.users {
		list = append(list, u.clone())
	}
	return list
}

// User is one user.
func (b *Book) User(id UserID) (User, bool) {
	u := b.user(id)
	if u == nil {
		return User{}, false
	}
	return u.clone(), true
}

// FindUser is the user that a name means for an account: the account's own, else the only one below it. ok is false where several have the name; where nobody has it, it is the account's own to be made.
func (b *Book) FindUser(account, name string) (id UserID, ok bool) {
	if u := b.user(UserID{account, name}); u != nil {
		return u.ID, true
	}
	var found []UserID
	for _, u := range b.users {
		if strings.EqualFold(u.ID.Name, name) && b.Within(u.ID.Account, account) {
			found = append(found, u.ID)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	return UserID{account, name}, len(found) == 0
}

func (u *User) clone() User {
	c := *u
	c.Groups = slices.Clone(u.Groups)
	return c
}

func (c AddUser) decide(b *Book, now capability.Time) (*Decision, error) {
	e, err := b.addUser(now, c.ID, c.Service, c.Code, c.By)
	if err != nil {
		return nil, err
	}
	return &Decision{Entries: []*Entry{e}}, nil
}

func (b *Book) addUser(now capability.Time, id UserID, service bool, code capability.Digest, by string) (*Entry, error) {
	if u := b.user(id); u != nil {
		return nil, fmt.Errorf("%w: %s is in the account %s already", ErrUser, u.ID.Name, u.ID.Account)
	}
	for _, err := range []error{legible("user", id.Name), b.newAccount(id.Account)} {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUser, err)
		}
	}
	u := User{ID: id, Service: service, Made: now}
	u.give(code, now)
	return b.userEntry(now, by, UserFact{User: u})
}

func (u *User) give(code capability.Digest, now capability.Time) {
	if u.Code = code; code != (capability.Digest{}) {
		u.CodeEnds = now.Add(CodeLife)
	}
}

func (b *Book) userEntry(now capability.Time, by string, f UserFact) (*Entry, error) {
	if err := b.userFact(&f, now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUser, err)
	}
	e := b.entry(now, by)
	e.User = &f
	return e, nil
}

func (c ChangeUser) decide(b *Book, now capability.Time) (*Decision, error) {
	u, err := b.mustUser(c.ID)
	if err != nil {
		return nil, err
	}
	changed := u.clone()
	if c.Service != nil {
		changed.Service = *c.Service
	}
	if c.Disabled != nil {
		changed.Disabled = *c.Disabled
	}
	if c.Code != (capability.Digest{}) {
		changed.give(c.Code, now)
	}
	if changed.Service && !u.Service && !b.policy.ServiceSeats {
		if s := b.seatOf(u.ID); s != nil {
			return nil, capability.Refuse(capability.ErrService, u.ID.Name, "it has seat %d of %s: unassign it first", s.Number, s.ActivationID)
		}
	}
	e, err := b.userEntry(now, c.By, UserFact{User: changed})
	if err != nil {
		return nil, err
	}
	return &Decision{Entries: []*Entry{e}}, nil
}

func (b *Book) mustUser(id UserID) (*User, error) {
	if u := b.user(id); u != nil {
		return u, nil
	}
	return nil, capability.Refuse(capability.ErrNoUser, id.Name, "in the account %s", id.Account)
}

func (c RemoveUser) decide(b *Book, now capability.Time) (*Decision, error) {
	u, err := b.mustUser(c.ID)
	if err != nil {
		return nil, err
	}
	if where := b.usedBy(u.ID, now); where != "" {
		return nil, capability.Refuse(capability.ErrUsers, u.ID.Name, "%s", where)
	}
	e, err := b.userEntry(now, c.By, UserFact{User: u.clone(), Remove: true})
	if err != nil {
		return nil, err
	}
	return &Decision{Entries: []*Entry{e}}, nil
}

// usedBy says where a user still is; empty: nowhere.
func (b *Book) usedBy(id UserID, now capability.Time) string {
	for _, i := range b.items {
		for _, s := range i.seats {
			if s.User == id {
				return fmt.Sprintf("it has seat %d of %s", s.Number, i.ActivationID)
			}
		}
		for _, s := range i.sessions {
			if s.User == id && s.Through > now {
				return fmt.Sprintf("its session of %s may run until %s", i.ActivationID, s.Through)
			}
		}
		if _, there := i.findMember(id); there {
			return fmt.Sprintf("it is in the pool of %s", i.ActivationID)
		}
	}
	return ""
}

func (c UseCode) decide(b *Book, now capability.Time) (*Decision, error) {
	no := func(format string, args ...any) (*Decision, error) {
		return nil, capability.Refuse(capability.ErrUserCode, c.ID.Name, format, args...)
	}
	u := b.user(c.ID)
	if u == nil {
		u = &User{ID: c.ID} // whoever guesses names learns nothing
	}
	hash := CodeHash(c.ID, c.Code)
	fits := subtle.ConstantTimeCompare(hash[:], u.Code[:]) == 1
	switch {
	case !fits && u.Code == (capability.Digest{}) && u.Claimed != 0:
		return no("its code was used %s", u.Claimed)
	case !fits || u.Code == (capability.Digest{}):
		return no("the code is not the one on its newest slip")
	case now >= u.CodeEnds:
		return no("the code could be used until %s", u.CodeEnds)
	case u.Disabled:
		return no("the user is disabled")
	}
	changed := u.clone()
	changed.Code, changed.CodeEnds, changed.Claimed = capability.Digest{}, 0, now
	changed.Password = cmp.Or(c.Password, changed.Password)
	e, err := b.userEntry(now, c.By, UserFact{User: changed})
	if err != nil {
		return nil, err
	}
	return &Decision{Entries: []*Entry{e}}, nil
}

// userFact says why a fact about a user cannot be.
func (b *Book) userFact(f *UserFact, now capability.Time) error {
	u, was := &f.User, b.user(f.User.ID)
	if err := u.ID.validate(); err != nil {
		return err
	}
	if err := validateGroups(u.Groups); err != nil {
		return err
	}
	none := capability.Digest{}
	switch {
	case f.Remove && was == nil:
		return fmt.Errorf("%s is removed and not in the book", u.ID)
	case f.Remove:
		if where := b.usedBy(was.ID, now); where != "" {
			return fmt.Errorf("%s is removed: %s", u.ID, where)
		}
	case was == nil && (u.Made != now || u.Claimed != 0):
		return fmt.Errorf("%s is new, and has a past", u.ID)
	case was != nil && (was.ID != u.ID || was.Made != u.Made):
		return fmt.Errorf("%s becomes %s", was.ID, u.ID)
	case was != nil && u.Claimed != was.Claimed && (was.Code == none || u.Code != none || u.Claimed != now || now >= was.CodeEnds):
		return fmt.Errorf("%s uses a code that it does not have", u.ID)
	case u.Password != "" && u.Claimed == 0 || was != nil && u.Password != was.Password && u.Claimed != now:
		return fmt.Errorf("%s has a password that no code set", u.ID)
	case len(u.Password) > capability.MaxDetail || !utf8.ValidString(u.Password):
		return fmt.Errorf("%s has a password hash of %d bytes, or not in UTF-8", u.ID, len(u.Password))
	case (u.Code == none) != (u.CodeEnds == 0):
		return fmt.Errorf("%s has a code without an end, or an end without a code", u.ID)
	}
	return nil
}

func (b *Book) applyUser(e *Entry) error {
	f := e.User
	if err := b.userFact(f, e.Time); err != nil {
		return err
	}
	was, u := b.user(f.User.ID), f.User.clone()
	switch {
	case f.Remove:
		b.forget(was.ID)
		b.users = slices.DeleteFunc(b.users, func(o *User) bool { return o == was })
		delete(b.userByID, u.ID.folded())
	case was != nil:
		*was = u
	default:
		b.users = append(b.users, &u)
		b.userByID[u.ID.folded()] = &u
	}
	return nil
}

// forget drops the sessions of a user: their promise is over, or the user would be kept.
func (b *Book) forget(id UserID) {
	for _, i := range b.items {
		kept := slices.DeleteFunc(slices.Clone(i.sessions), func(s *Session) bool { return s.User == id })
		if len(kept) == len(i.sessions) {
			continue
		}
		for _, s := range i.sessions {
			if s.User == id {
				delete(b.sessionOf, s.ID)
			}
		}
		i.sessions = kept
		b.settle(i)
	}
}

func (b *Book) checkUsers() error {
	for _, u := range b.users {
		if b.user(u.ID) != u || u.ID.validate() != nil || u.Made == 0 || validateGroups(u.Groups) != nil {
			return fmt.Errorf("user %s of %s is there twice, or is none", u.ID.Name, u.ID.Account)
		}
	}
	if len(b.users) != len(b.userByID) {
		return fmt.Errorf("%d users are found as %d", len(b.users), len(b.userByID))
	}
	return nil
}
