package console

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// entrance is where those come in who ask from another machine: by name and password, by a token, and at first by the code that only root can see.
type entrance struct {
	throttle  *web.Throttle
	passwords *passwords
	bearers   bearers
	guests    guests
	first     firstCode
}

// entry makes the entrance when somebody comes first.
func (c *Console) entry() *entrance {
	c.opening.Do(func() {
		c.entrance = &entrance{throttle: web.NewThrottle(c.Appliance.Now), passwords: newPasswords(c.Pepper), bearers: bearers{of: map[capability.Digest]bearer{}}}
	})
	return c.entrance
}

// signIn gives the login whose name and password these are, from that address. A success is in the audit trail before anybody hears of it; of failures the one is that closes the name or the address.
func (c *Console) signIn(ctx context.Context, name, password, from string) (ledger.Login, error) {
	g, err := c.known(ctx, name, password, from)
	if err != nil {
		return ledger.Login{}, err
	}
	return g, c.note(ctx, ledger.SignedIn{Name: g.Name, From: from, How: "password"})
}

// known is signIn for somebody who has signed in and shows again who it is.
func (c *Console) known(ctx context.Context, name, password, from string) (g ledger.Login, err error) {
	e := c.entry()
	try := e.throttle.Try(strings.ToLower(name), from)
	if try.Wait > 0 {
		return g, tooSoon(try.Wait)
	}
	if err := c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) { g, _ = l.Login(name) }); err != nil {
		return g, err
	}
	fits, err := e.passwords.fits(ctx, &g, password)
	if err != nil {
		return ledger.Login{}, err
	}
	if !fits || g.Disabled {
		c.failed(ctx, try, ledger.SignedIn{Name: g.Name, From: from, How: "password"})
		return ledger.Login{}, capability.Refuse(capability.ErrApplianceSignIn, "", "")
	}
	e.throttle.Succeeded(strings.ToLower(name), from)
	return g, nil
}

func tooSoon(wait time.Duration) error {
	return capability.Refuse(capability.ErrTries, "", "wait %s", wait.Round(time.Second)+time.Second)
}

// failed keeps that a try failed, where the next one has to wait for it.
func (c *Console) failed(ctx context.Context, try web.Verdict, s ledger.SignedIn) {
	if try.Closes == 0 {
		return
	}
	s.Failed, s.Closed = try.Failed, capability.At(c.Appliance.Now().Add(try.Closes))
	if err := c.note(ctx, s); err != nil {
		c.Appliance.Log.Warn("a failed sign-in is not in the audit trail", "from", s.From, "cause", err.Error())
	}
}

func (c *Console) note(ctx context.Context, s ledger.SignedIn) error {
	what := "signed in"
	if s.Failed > 0 {
		what = "sign-ins failed"
	}
	_, err := c.Appliance.Change(ctx, ledger.NoteSignIn{SignedIn: s}, what, s.Name)
	return err
}

// newOwnPassword gives a login another password, if the current one is known. Its sessions are over then.
func (c *Console) newOwnPassword(ctx context.Context, name, current, password, from string) (g ledger.Login, err error) {
	if g, err = c.known(ctx, name, current, from); err != nil {
		return ledger.Login{}, err
	}
	return c.setPassword(ctx, g.Name, password, "login "+g.Name)
}

func (c *Console) setPassword(ctx context.Context, name, password, by string) (g ledger.Login, err error) {
	kept, err := c.entry().passwords.make(ctx, c, name, password)
	if err != nil {
		return g, err
	}
	if _, err := c.Appliance.Change(ctx, ledger.ChangeLogin{Name: name, Password: kept, By: by}, "password changed", by); err != nil {
		return g, err
	}
	return c.login(ctx, name)
}

// login is the one of that name. The error is that there is none.
func (c *Console) login(ctx context.Context, name string) (g ledger.Login, err error) {
	here := false
	err = c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) { g, here = l.Login(name) })
	if err == nil && !here {
		err = capability.Refuse(capability.ErrApplianceLogin, "", "")
	}
	return g, err
}

// firstCode is the code by which the first login is made: of this run, and in memory only.
type firstCode struct {
	mu   sync.Mutex
	code string
}

// firstLetters are what can be read and typed without a mistake (as in RFC 4648 base32, but without I, L, O and U).
const firstLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// show draws the code when it is asked for first.
func (f *firstCode) show(chance io.Reader) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.code == "" {
		var b [8]byte
		if _, err := io.ReadFull(chance, b[:]); err != nil {
			return "", err
		}
		for i := range b {
			b[i] = firstLetters[b[i]%byte(len(firstLetters))]
		}
		f.code = string(b[:4]) + "-" + string(b[4:])
	}
	return f.code, nil
}

// fits takes the code as people type it. While nobody has seen a code, none fits.
func (f *firstCode) fits(typed string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	plain := strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(typed))
	return f.code != "" && subtle.ConstantTimeCompare([]byte(plain), []byte(strings.Replace(f.code, "-", "", 1))) == 1
}

// firstLoginCode is the code, while there is no login.
func (c *Console) firstLoginCode(ctx context.Context) (string, error) {
	if err := c.nobody(ctx); err != nil {
		return "", err
	}
	return c.entry().first.show(c.Appliance.Rand)
}

// nobody refuses where there is a login already.
func (c *Console) nobody(ctx context.Context) error {
	logins := 0
	if err := c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) { logins = len(l.Logins()) }); err != nil {
		return err
	}
	if logins > 0 {
		return capability.Refuse(capability.ErrFirstLogin, "", "there is a login already")
	}
	return nil
}

// firstLogin makes the first login, a security administrator, for who knows the code. It is done once.
func (c *Console) firstLogin(ctx context.Context, code, name, password, from string) (g ledger.Login, err error) {
	e := c.entry()
	try := e.throttle.Try("first login from "+from, from)
	if try.Wait > 0 {
		return g, tooSoon(try.Wait)
	}
	if err := c.nobody(ctx); err != nil {
		return g, err
	}
	if !e.first.fits(code) {
		c.failed(ctx, try, ledger.SignedIn{From: from, How: "first-login code"})
		return g, capability.Refuse(capability.ErrFirstLogin, "", "")
	}
	e.throttle.Succeeded("first login from "+from, from)
	kept, err := e.passwords.make(ctx, c, name, password)
	if err != nil {
		return g, err
	}
	by := "first-login code from " + from
	if _, err := c.Appliance.Change(ctx, ledger.AddLogin{Name: name, Roles: []capability.Role{capability.SecurityAdministrator}, Password: kept, First: true, By: by}, "first login made", by); err != nil {
		return g, err
	}
	return c.login(ctx, name)
}

// asLogin is a session of a login.
func asLogin(g *ledger.Login) signedInAs { return signedInAs{g.Name, g.Since} }

// maxBearers of one login at a time; with the next one its oldest ends.
const maxBearers = 32

// bearers are who signed in with a program: the hash of a token in memory, and what belongs to it. A restart ends them all.
type bearers struct {
	mu sync.Mutex
	of map[capability.Digest]bearer
}

type bearer struct {
	signedInAs
	made, ends time.Time
}

// tokenPrefix tells a token from other secrets, where one is found in the wrong place.
const tokenPrefix = "lh_"

// newToken draws the text of a token: 256 bits.
func newToken(chance io.Reader) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(chance, b[:]); err != nil {
		return "", err
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// begin gives who signed in a token that is good until ends.
func (b *bearers) begin(s signedInAs, now, ends time.Time, chance io.Reader) (string, error) {
	text, err := newToken(chance)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var oldest capability.Digest
	own := 0
	for hash, one := range b.of {
		switch {
		case !now.Before(one.ends):
			delete(b.of, hash)
		case one.name == s.name:
			if own++; own == 1 || one.made.Before(b.of[oldest].made) {
				oldest = hash
			}
		}
	}
	if own >= maxBearers {
		delete(b.of, oldest)
	}
	b.of[ledger.TokenHash(text)] = bearer{s, now, ends}
	return text, nil
}

// whose is the login that a token was given to, and as of which change of it, while the token is good.
func (b *bearers) whose(text string, now time.Time) (name string, since capability.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.of[ledger.TokenHash(text)]
	if !ok || !now.Before(one.ends) {
		return "", 0, false
	}
	return one.name, one.since, true
}

// end says whether there was such a token.
func (b *bearers) end(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	hash := ledger.TokenHash(text)
	_, was := b.of[hash]
	delete(b.of, hash)
	return was
}
