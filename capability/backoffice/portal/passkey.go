package portal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

func (p *Portal) passkeyRoutes() []route {
	return []route{
		{pattern: "POST /sign-in/passkey/options", gate: anyone, do: (*visit).passkeyQuestion},
		{pattern: "POST /sign-in/passkey", gate: anyone, do: (*visit).passkeySignIn},
		{pattern: "POST /me/passkeys/options", gate: signedIn, do: (*visit).passkeyWish},
		{pattern: "POST /me/passkeys", gate: signedIn, do: (*visit).addPasskey},
		{pattern: "POST /me/passkeys/remove", gate: signedIn, do: (*visit).removePasskey},
	}
}

// The errands of passkeys: the challenge is bound to the browser that was given it, and good once. No identity provider can be called so: an errand to it would pass for one of these.
const (
	toSignIn = "passkey_in"
	toAdd    = "passkey_new"

	maxCredential = 64 << 10 // bytes of what a browser says of one
)

// openPasskeys are passkeys for the first name of a portal (WebAuthn level 3): they belong to a name, and a portal that goes by addresses only has none.
func openPasskeys(hosts []string, origin *url.URL) (*webauthn.WebAuthn, error) {
	at := slices.IndexFunc(hosts, func(h string) bool { return net.ParseIP(h) == nil })
	if at < 0 {
		return nil, nil
	}
	name, here := strings.ToLower(hosts[at]), "https://"+strings.ToLower(hosts[at])
	if port := origin.Port(); port != "" && port != "443" {
		here += ":" + port
	}
	return webauthn.New(&webauthn.Config{
		RPID: name, RPDisplayName: "Freehold", RPOrigins: []string{here}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired},
	})
}

// credential is what the book keeps of a passkey.
type credential struct {
	Key        []byte                            `json:"key"` // COSE_Key
	Flags      protocol.AuthenticatorFlags       `json:"flags"`
	Count      uint32                            `json:"count,omitempty"` // of its signatures, where it counts
	Transports []protocol.AuthenticatorTransport `json:"transports,omitempty"`
}

func pack(c *webauthn.Credential) ([]byte, error) {
	return json.Marshal(credential{c.PublicKey, c.Flags.ProtocolValue(), c.Authenticator.SignCount, c.Transport})
}

// holder is a login as the library wants to see it.
type holder struct {
	login entitlement.Login
	keys  []webauthn.Credential
}

func holderOf(l entitlement.Login) (*holder, error) {
	h := &holder{login: l}
	for _, k := range l.Passkeys {
		var c credential
		if err := json.Unmarshal(k.Credential, &c); err != nil {
			return nil, fmt.Errorf("passkey %s of %s: %w", k.Name, l.Name, err)
		}
		h.keys = append(h.keys, webauthn.Credential{ID: k.ID, PublicKey: c.Key, Transport: c.Transports, Flags: webauthn.NewCredentialFlags(c.Flags), Authenticator: webauthn.Authenticator{SignCount: c.Count}})
	}
	return h, nil
}

// WebAuthnID is what authenticators keep of the login: nothing that says whose it is, and another one for another login that gets the name later.
func (h *holder) WebAuthnID() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "leasehold passkey holder v1\x00%d %s", h.login.Made, strings.ToLower(h.login.Name)))
	return sum[:]
}
func (h *holder) WebAuthnName() string                       { return h.login.Name }
func (h *holder) WebAuthnDisplayName() string                { return h.login.Name }
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

func (v *visit) passkeys() (*webauthn.WebAuthn, error) {
	if v.p.keys == nil {
		return nil, foreign("passkeys")
	}
	return v.p.keys, nil
}

// passkeyForm is a form about passkeys, where there are any.
func (v *visit) passkeyForm() (*webauthn.WebAuthn, url.Values, error) {
	keys, err := v.passkeys()
	if err != nil {
		return nil, nil, err
	}
	form, err := v.form()
	return keys, form, err
}

// ask writes options for the browser's authenticator, and sends the browser on the errand of their challenge.
func (v *visit) ask(errand string, options any, session *webauthn.SessionData) error {
	if err := v.p.errands.Send(v.w, errand, http.SameSiteStrictMode, session); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(v.w).Encode(options)
}

// passkeyQuestion asks for any passkey of this portal.
func (v *visit) passkeyQuestion() error {
	keys, err := v.passkeys()
	if err != nil {
		return err
	}
	options, session, err := keys.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return err
	}
	return v.ask(toSignIn, options, session)
}

// passkeySignIn takes the answer of an authenticator: it names a login by a key that is in the book, and proves to have it.
func (v *visit) passkeySignIn() error {
	keys, form, err := v.passkeyForm()
	if err != nil {
		return err
	}
	l, err := v.proves(keys, form.Get("credential"))
	if code, _ := refusalOf(err); code == capability.ErrThrottled {
		return err
	}
	if err != nil {
		v.p.Log.Warn("passkey refused", "from", v.from(), "error", explained(err))
		return capability.Refuse(capability.ErrSignIn, "", "the passkey is not good here, or its answer came too late")
	}
	if err := v.begin(*l, "passkey"); err != nil {
		return err
	}
	return v.goTo(v.onward(form.Get("to"), form.Get("kept")))
}

func explained(err error) error {
	if e := (*protocol.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s %s", e.Details, e.DevInfo)
	}
	return err
}

// proves judges the answer of an authenticator, and keeps how many signatures it has made by now.
func (v *visit) proves(keys *webauthn.WebAuthn, answer string) (*entitlement.Login, error) {
	var session webauthn.SessionData
	errand, err := v.p.errands.Back(v.r, toSignIn, &session)
	if err != nil {
		return nil, err
	}
	if len(answer) > maxCredential {
		return nil, fmt.Errorf("%d bytes where at most %d are allowed", len(answer), maxCredential)
	}
	said, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return nil, err
	}
	var whose entitlement.Login
	used, err := keys.ValidateDiscoverableLogin(func(id, _ []byte) (webauthn.User, error) {
		err := v.office(func(o *backoffice.Office) error { whose, _ = o.Book().LoginOfPasskey(id); return nil })
		if err != nil {
			return nil, err
		}
		return holderOf(whose) // that the handle is this login's is judged by the library
	}, session, said)
	switch {
	case err != nil:
		return nil, err
	case used.Authenticator.CloneWarning:
		return nil, fmt.Errorf("the key of %s has counted back: there may be a copy of it", whose.Name)
	case !v.alone(&whose):
		return nil, fmt.Errorf("%s may not sign in by a passkey", whose.Name)
	}
	if err := v.p.errands.Done(v.w, toSignIn, errand); err != nil {
		return nil, err
	}
	if err := v.often(&whose); err != nil {
		return nil, err
	}
	kept, err := pack(used)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(whose.Passkeys, func(k entitlement.Passkey) bool { return bytes.Equal(k.ID, used.ID) })
	was := whose.Passkeys[at]
	return &whose, v.office(func(o *backoffice.Office) error {
		now, ok := o.Book().LoginOfPasskey(used.ID)
		if !ok || now.Since != whose.Since || !slices.ContainsFunc(now.Passkeys, func(k entitlement.Passkey) bool {
			return bytes.Equal(k.ID, was.ID) && bytes.Equal(k.Credential, was.Credential)
		}) {
			return errors.New("the login has changed meanwhile")
		}
		if bytes.Equal(kept, was.Credential) {
			return nil // it does not count
		}
		return o.Do(entitlement.SetPasskey{Name: whose.Name, Passkey: entitlement.Passkey{ID: was.ID, Name: was.Name, Credential: kept}, By: whose.Name}, v.now)
	})
}

// passkeyWish asks for a new passkey of who visits, who has shown lately who it is.
func (v *visit) passkeyWish() error {
	keys, form, err := v.passkeyForm()
	if err != nil {
		return err
	}
	if err := v.proven(form); err != nil {
		return err
	}
	h, err := holderOf(v.login)
	if err != nil {
		return err
	}
	options, session, err := keys.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.keys).CredentialDescriptors()))
	if err != nil {
		return err
	}
	return v.ask(toAdd, options, session)
}

func (v *visit) addPasskey() error {
	keys, form, err := v.passkeyForm()
	if err != nil {
		return err
	}
	if err := v.proven(form); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	k, err := v.newPasskey(keys, form.Get("credential"))
	if err != nil {
		v.p.Log.Warn("new passkey refused", "login", v.login.Name, "error", explained(err))
		return v.again(capability.Refuse(capability.ErrForm, "passkey", "what the browser says of it is not good"), (*visit).ownPage)
	}
	if err := v.often(&v.login); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	k.Name = strings.TrimSpace(form.Get("passkey"))
	err = v.office(func(o *backoffice.Office) error {
		if _, there := o.Book().LoginOfPasskey(k.ID); there {
			return capability.Refuse(capability.ErrForm, "passkey", "it is in use already")
		}
		return o.Do(entitlement.SetPasskey{Name: v.login.Name, Passkey: *k, By: v.login.Name}, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).ownPage)
	}
	v.say("The passkey %s is added.", k.Name)
	return v.goTo("/me")
}

func (v *visit) newPasskey(keys *webauthn.WebAuthn, answer string) (*entitlement.Passkey, error) {
	var session webauthn.SessionData
	errand, err := v.p.errands.Back(v.r, toAdd, &session)
	if err != nil {
		return nil, err
	}
	if len(answer) > maxCredential {
		return nil, fmt.Errorf("%d bytes where at most %d are allowed", len(answer), maxCredential)
	}
	said, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return nil, err
	}
	h, err := holderOf(v.login)
	if err != nil {
		return nil, err
	}
	made, err := keys.CreateCredential(h, session, said) // which wants the session to be of this login
	if err != nil {
		return nil, err
	}
	kept, err := pack(made)
	if err != nil {
		return nil, err
	}
	return &entitlement.Passkey{ID: made.ID, Credential: kept}, v.p.errands.Done(v.w, toAdd, errand)
}

func (v *visit) removePasskey() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.proven(form); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	id, err := base64.RawURLEncoding.DecodeString(form.Get("passkey"))
	if err != nil {
		return v.again(field("passkey", err), (*visit).ownPage)
	}
	if err := v.often(&v.login); err != nil {
		return v.again(err, (*visit).ownPage)
	}
	err = v.office(func(o *backoffice.Office) error {
		if err := o.Do(entitlement.SetPasskey{Name: v.login.Name, Passkey: entitlement.Passkey{ID: id}, Remove: true, By: v.login.Name}, v.now); err != nil {
			return err
		}
		v.login, _ = o.Book().Login(v.login.Name)
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).ownPage)
	}
	if err := v.p.sessions.Begin(v.r.Context(), v.login.Name, int64(v.login.Since)); err != nil {
		return err
	}
	v.say("The passkey is removed, and every other browser is signed out.")
	return v.goTo("/me")
}

// keyRow is a passkey on the own page.
type keyRow struct{ Name, ID, Made string }

func keyRows(l *entitlement.Login) (rows []keyRow) {
	for _, k := range l.Passkeys {
		rows = append(rows, keyRow{k.Name, base64.RawURLEncoding.EncodeToString(k.ID), k.Made.String()})
	}
	return rows
}
