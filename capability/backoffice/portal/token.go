package portal

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// Tokens for programs are made on the own page, and for others by who admits them. The text of one is shown once.

func (p *Portal) tokenRoutes() []route {
	return []route{
		{pattern: "POST /me/tokens", gate: signedIn, do: (*visit).ownTokens},
		{pattern: "GET /me/token", gate: signedIn, do: (*visit).tokenSlip},
		{pattern: "POST /login/tokens", gate: needs(entitlement.ToAdmit), do: (*visit).tokensOf},
	}
}

// tokensView are the tokens of a login, with the forms for them.
type tokensView struct {
	Path, Login string // where the forms go, and whose they are; without a name: of who visits
	Rows        []tokenRow
	Asks        bool // for the current password
	Name, Days  string
}

type tokenRow struct{ Name, By, Made, Ends, Used string }

func (v *visit) tokensView(l *entitlement.Login, path, name string) tokensView {
	view := tokensView{Path: path, Login: name, Asks: !v.p.sessions.Proved(v.r.Context()), Name: v.Typed(path, "token", ""), Days: v.Typed(path, "days", strconv.Itoa(int(entitlement.TokenLife/dayLong)))}
	for _, t := range l.Tokens {
		used := "not since this program started"
		if at := v.p.tokens.of(t.Hash); at != 0 {
			used = at.String()
		}
		view.Rows = append(view.Rows, tokenRow{t.Name, t.By, t.Made.String(), t.Ends.String(), used})
	}
	return view
}

func (v *visit) ownTokens() error {
	if _, err := v.form(); err != nil {
		return err
	}
	return v.changeTokens("/me", (*visit).ownPage, func(*backoffice.Office) (entitlement.Login, error) { return v.login, nil })
}

// tokensOf is for the logins of others: the own ones are on the own page.
func (v *visit) tokensOf() error {
	if _, err := v.form(); err != nil {
		return err
	}
	// What is not there, or another's, is said before anything is asked.
	if err := v.office(func(o *backoffice.Office) error { _, err := v.theLogin(o); return err }); err != nil {
		return err
	}
	return v.changeTokens(loginPath(v.r.PostForm.Get("name")), (*visit).loginPage, v.theLogin)
}

// changeTokens makes a token of a login, or revokes one.
func (v *visit) changeTokens(back string, page func(*visit) error, of func(*backoffice.Office) (entitlement.Login, error)) error {
	form := v.r.PostForm
	if err := v.proven(form); err != nil {
		return v.again(err, page)
	}
	name, text := strings.TrimSpace(form.Get("token")), ""
	err := v.act(func(o *backoffice.Office) error {
		l, err := of(o)
		if err != nil {
			return err
		}
		switch do := form.Get("do"); do {
		case "make":
			days, err := strconv.Atoi(cmp.Or(strings.TrimSpace(form.Get("days")), "0"))
			if most := int(entitlement.MaxTokenLife / dayLong); err != nil || days < 1 || days > most {
				return capability.Refuse(capability.ErrForm, "days", "%q is no number from 1 to %d", form.Get("days"), most)
			}
			if text, err = entitlement.NewToken(v.p.Rand); err != nil {
				return err
			}
			add := entitlement.AddToken{Login: l.Name, Name: name, Hash: entitlement.TokenHash(text), Life: capability.Seconds(days) * dayLong, By: v.login.Name}
			if err := o.Do(add, v.now); err != nil {
				return err
			}
			if _, _, good := o.Book().OfToken(text, v.now); !good {
				text = "" // it was drawn for a form that had been sent before
			}
			return nil
		case "revoke":
			return o.Do(entitlement.RevokeToken{Login: l.Name, Name: name, By: v.login.Name}, v.now)
		default:
			return capability.Refuse(capability.ErrForm, "do", "%q is nothing that can be done with a token", do)
		}
	})
	if err != nil {
		return v.again(err, page)
	}
	if text == "" {
		return v.goTo(back)
	}
	v.p.sessions.Put(v.r.Context(), "token", strings.Join([]string{name, text, back}, "\x00"))
	return v.goTo("/me/token")
}

type tokenSlipView struct{ Name, Token, Back, Address string }

// tokenSlip shows a token, once.
func (v *visit) tokenSlip() error {
	part := strings.Split(v.p.sessions.Take(v.r.Context(), "token"), "\x00")
	if len(part) != 3 {
		return capability.Refuse(capability.ErrNotFound, "token", "a token is shown once; make another one where it was not taken down, and revoke this one")
	}
	return v.show("token", "Token "+part[0], tokenSlipView{part[0], part[1], part[2], "https://" + v.r.Host + restBase})
}
