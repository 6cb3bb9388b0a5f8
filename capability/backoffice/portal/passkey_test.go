package portal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// authenticator is one in software (WebAuthn level 3, 6): it holds one key.
type authenticator struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	id     []byte
	handle []byte
	count  uint32

	rp, origin string
	flags      byte // beside that a key is attested
}

const userPresent, userVerified = 0x01, 0x04

func (w *world) authenticator() *authenticator {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &authenticator{t: w.t, key: key, id: id, rp: "localhost", origin: "https://localhost:" + w.portal.origin.Port(), flags: userPresent | userVerified}
}

// question is what a server asks an authenticator.
type question struct {
	PublicKey struct {
		Challenge        string
		RPID             string
		UserVerification string
		RP, User         struct{ ID string }
		Exclude          []struct{ ID string }                          `json:"excludeCredentials"`
		Allow            []struct{ ID string }                          `json:"allowCredentials"`
		Selection        struct{ UserVerification, ResidentKey string } `json:"authenticatorSelection"`
	} `json:"publicKey"`
}

func (b *browser) question(path string, pairs ...string) question {
	b.w.t.Helper()
	var q question
	a := b.post(path, pairs...)
	if err := json.Unmarshal([]byte(a.body), &q); err != nil || a.status != http.StatusOK || len(q.PublicKey.Challenge) < 22 {
		b.w.t.Fatal(a, err)
	}
	if c := a.header.Get("Set-Cookie"); !strings.Contains(c, "__Host-errand-") || !strings.Contains(c, "SameSite=Strict") {
		b.w.t.Error(c)
	}
	return q
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (a *authenticator) said(what, challenge string) []byte {
	b, err := json.Marshal(map[string]any{"type": what, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

func (a *authenticator) data(flags byte) []byte {
	sum := sha256.Sum256([]byte(a.rp))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), a.count)
}

func (a *authenticator) json(response map[string]any) string {
	b, err := json.Marshal(map[string]any{"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

// make answers the wish for a new key.
func (a *authenticator) make(q question) string {
	a.t.Helper()
	if q.PublicKey.RP.ID != "localhost" || q.PublicKey.Selection.UserVerification != "required" || q.PublicKey.Selection.ResidentKey != "required" {
		a.t.Errorf("asked for %+v", q)
	}
	var err error
	if a.handle, err = base64.RawURLEncoding.DecodeString(q.PublicKey.User.ID); err != nil || len(a.handle) != 32 {
		a.t.Error(q.PublicKey.User.ID, err)
	}
	public, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	key, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: public[1:33], -3: public[33:]}) // EC2, ES256, P-256
	if err != nil {
		a.t.Fatal(err)
	}
	data := append(a.data(a.flags|0x40), make([]byte, 16)...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(a.id))), a.id...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, key...)})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.json(map[string]any{"clientDataJSON": b64(a.said("webauthn.create", q.PublicKey.Challenge)), "attestationObject": b64(object)})
}

// use answers the question who is there.
func (a *authenticator) use(q question) string {
	a.t.Helper()
	if a.count > 0 {
		a.count++
	}
	data, said := a.data(a.flags), a.said("webauthn.get", q.PublicKey.Challenge)
	hash := sha256.Sum256(said)
	sum := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return a.json(map[string]any{"clientDataJSON": b64(said), "authenticatorData": b64(data), "signature": b64(sig), "userHandle": b64(a.handle)})
}

// add adds a passkey to who uses a browser.
func (b *browser) add(a *authenticator, name string) answer {
	b.w.t.Helper()
	return b.post("/me/passkeys", "passkey", name, "credential", a.make(b.question("/me/passkeys/options")))
}

func (b *browser) passkey(a *authenticator) answer {
	b.w.t.Helper()
	return b.post("/sign-in/passkey", "credential", a.use(b.question("/sign-in/passkey/options")), "to", "/me")
}

// A passkey is added, signs in without a name, counts, and is worth nothing when it is removed.
func TestPasskeys(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.Viewer)
	for _, first := range []uint32{0, 7} { // some authenticators do not count
		a := w.authenticator()
		a.count = first
		if got := b.add(a, "phone <b>"); got.status != http.StatusSeeOther {
			t.Fatal(got)
		}
		if page := b.get("/me").body; !strings.Contains(page, "phone &lt;b&gt;") || !strings.Contains(page, b64(a.id)) {
			t.Error(page)
		}
		for range 2 {
			c := w.browser()
			if got := c.passkey(a); got.status != http.StatusSeeOther || got.location != "/me" {
				t.Fatal(got)
			}
			if got := c.get("/me"); got.status != http.StatusOK || !strings.Contains(got.body, "keller") {
				t.Error(got)
			}
		}
		if got := b.get("/me"); got.status != http.StatusOK {
			t.Error("a sign-in elsewhere ended a session:", got)
		}
		if got := b.post("/me/passkeys/remove", "passkey", b64(a.id)); got.status != http.StatusSeeOther {
			t.Error(got)
		}
		if got := w.browser().passkey(a); got.status != http.StatusUnauthorized {
			t.Error("removed, and good:", got)
		}
	}
	// To add or to remove one asks who is there, after five minutes.
	a := w.authenticator()
	if got := b.add(a, "key"); got.status != http.StatusSeeOther {
		t.Fatal(got)
	}
	w.clock = time.Now().Add(6 * time.Minute)
	if got := b.post("/me/passkeys/options"); got.status != http.StatusUnauthorized {
		t.Error(got)
	}
	if got := b.post("/me/passkeys/remove", "passkey", b64(a.id)); got.status != http.StatusUnauthorized {
		t.Error(got)
	}
	if got := b.post("/me/passkeys", "passkey", "x", "credential", "{}"); got.status != http.StatusUnauthorized {
		t.Error(got)
	}
	if q := b.question("/me/passkeys/options", "password-current", password); len(q.PublicKey.Exclude) != 1 || q.PublicKey.Exclude[0].ID != b64(a.id) {
		t.Errorf("%+v", q)
	}
	if q := b.question("/sign-in/passkey/options"); len(q.PublicKey.Allow) != 0 || q.PublicKey.UserVerification != "required" || q.PublicKey.RPID != "localhost" {
		t.Errorf("%+v", q)
	}
}

// What an authenticator says for another place, to another question, a second time or as somebody else signs nobody in.
func TestPasskeysRefused(t *testing.T) {
	var log written
	w := newWorld(t, log.options)
	keller, larsen := w.signedIn("keller", "", capability.SecurityAdministrator), w.signedIn("larsen", "ACME", capability.Viewer)
	a, other := w.authenticator(), w.authenticator()
	a.count = 5
	for b, key := range map[*browser]*authenticator{keller: a, larsen: other} {
		if got := b.add(key, "key"); got.status != http.StatusSeeOther {
			t.Fatal(got)
		}
	}
	for what, c := range map[string]struct {
		change func(a *authenticator, q *question)
		after  func(b *browser, answer string) string
		why    string
	}{
		"another origin": {change: func(a *authenticator, _ *question) { a.origin = "https://evil.example" }, why: "rigin"},
		"another port":   {change: func(a *authenticator, _ *question) { a.origin = "https://localhost:1" }, why: "rigin"},
		"without TLS":    {change: func(a *authenticator, _ *question) { a.origin = strings.Replace(a.origin, "https", "http", 1) }, why: "rigin"},
		"a name below": {change: func(a *authenticator, _ *question) {
			a.origin = strings.Replace(a.origin, "localhost", "a.localhost", 1)
		}, why: "rigin"},
		"another party":      {change: func(a *authenticator, _ *question) { a.rp = "evil.example" }, why: "RP Hash"},
		"nobody there":       {change: func(a *authenticator, _ *question) { a.flags = userVerified }, why: "resen"},
		"nobody verified":    {change: func(a *authenticator, _ *question) { a.flags = userPresent }, why: "erifi"},
		"another question":   {change: func(_ *authenticator, q *question) { q.PublicKey.Challenge = b64(make([]byte, 32)) }, why: "hallenge"},
		"another's question": {change: func(_ *authenticator, q *question) { *q = w.browser().question("/sign-in/passkey/options") }, why: "hallenge"},
		"another key":        {change: func(a *authenticator, _ *question) { a.key = other.key }, why: "ignature"},
		"another's handle":   {change: func(a *authenticator, _ *question) { a.handle = other.handle }, why: "andle"},
		"no handle":          {change: func(a *authenticator, _ *question) { a.handle = nil }, why: "andle"},
		"another's key":      {change: func(a *authenticator, _ *question) { a.id, a.key = other.id, other.key }, why: "andle"},
		"a key nobody has":   {change: func(a *authenticator, _ *question) { a.id = []byte("nobody's") }, why: ""},
		"counted back":       {change: func(a *authenticator, _ *question) { a.count = 1 }, why: "counted back"},
		"not counted":        {change: func(a *authenticator, _ *question) { a.count = 4 }, why: "counted back"},
		"of a new key": {after: func(_ *browser, s string) string { return s }, change: func(a *authenticator, q *question) {
			q.PublicKey.Challenge = keller.question("/me/passkeys/options").PublicKey.Challenge
		}, why: "hallenge"},
		"no answer":       {after: func(*browser, string) string { return "" }},
		"no JSON":         {after: func(*browser, string) string { return "<script>" }},
		"an empty answer": {after: func(*browser, string) string { return "{}" }},
		"deep":            {after: func(*browser, string) string { return strings.Repeat(`{"id":`, 10_000) }},
		"large":           {after: func(*browser, string) string { return strings.Repeat("x", maxCredential+1) }, why: "allowed"},
		"another browser": {after: func(b *browser, s string) string { b.Jar = w.browser().Jar; return s }, why: "not begun in this browser"},
	} {
		log.take()
		b, key := w.browser(), *a
		q := b.question("/sign-in/passkey/options")
		if c.change != nil {
			c.change(&key, &q)
		}
		text := key.use(q)
		if c.after != nil {
			text = c.after(b, text)
		}
		if got := b.post("/sign-in/passkey", "credential", text); got.status != http.StatusUnauthorized || b.get("/me").status != http.StatusSeeOther {
			t.Errorf("%s: %v", what, got)
		}
		if why := log.take(); !strings.Contains(why, c.why) {
			t.Errorf("%s: refused for another reason: %s", what, why)
		}
	}
	// A good answer is good once, in its browser.
	b := w.browser()
	text := a.use(b.question("/sign-in/passkey/options"))
	cookies := b.Jar.Cookies(b.address())
	if got := b.post("/sign-in/passkey", "credential", text); got.status != http.StatusSeeOther {
		t.Fatal(got)
	}
	for range 2 {
		if got := b.post("/sign-in/passkey", "credential", text); got.status != http.StatusUnauthorized {
			t.Error("again:", got)
		}
		b = w.browser()
		b.Jar.SetCookies(b.address(), cookies)
	}
	// And so it is with an authenticator that does not count.
	b = w.browser()
	text = other.use(b.question("/sign-in/passkey/options"))
	cookies = b.Jar.Cookies(b.address())
	if got := b.post("/sign-in/passkey", "credential", text); got.status != http.StatusSeeOther {
		t.Fatal(got)
	}
	b = w.browser()
	b.Jar.SetCookies(b.address(), cookies)
	if got := b.post("/sign-in/passkey", "credential", text); got.status != http.StatusUnauthorized {
		t.Error("again, without a counter:", got)
	}
	// Whoever is disabled has no passkey.
	yes := true
	w.do(entitlement.ChangeLogin{Name: "larsen", Disabled: &yes, By: "test"})
	if got := w.browser().passkey(other); got.status != http.StatusUnauthorized {
		t.Error(got)
	}
}

// What a browser says of a new passkey counts for who asked for it, where it was asked for.
func TestNewPasskeysRefused(t *testing.T) {
	w := newWorld(t)
	keller, larsen := w.signedIn("keller", "", capability.SecurityAdministrator), w.signedIn("larsen", "ACME", capability.Viewer)
	for what, change := range map[string]func(a *authenticator, q *question){
		"another origin":   func(a *authenticator, _ *question) { a.origin = "https://evil.example" },
		"another party":    func(a *authenticator, _ *question) { a.rp = "evil.example" },
		"nobody verified":  func(a *authenticator, _ *question) { a.flags = userPresent },
		"another question": func(_ *authenticator, q *question) { q.PublicKey.Challenge = b64(make([]byte, 32)) },
		"to sign in": func(_ *authenticator, q *question) {
			q.PublicKey.Challenge = keller.question("/sign-in/passkey/options").PublicKey.Challenge
		},
	} {
		a := w.authenticator()
		q := keller.question("/me/passkeys/options")
		change(a, &q)
		q.PublicKey.RP.ID = "localhost"
		if got := keller.post("/me/passkeys", "passkey", "key", "credential", a.make(q)); got.status != http.StatusBadRequest || !strings.Contains(got.body, `value="key"`) {
			t.Errorf("%s: %v", what, got)
		}
	}
	// Asked for by one login, in a browser that has another one by now.
	a := w.authenticator()
	text := a.make(keller.question("/me/passkeys/options"))
	larsen.Jar.SetCookies(larsen.address(), errandOf(keller))
	if got := larsen.post("/me/passkeys", "passkey", "key", "credential", text); got.status != http.StatusBadRequest {
		t.Error(got)
	}
	if got := keller.post("/me/passkeys", "passkey", "key", "credential", text); got.status != http.StatusSeeOther {
		t.Error(got)
	}
	if got := keller.post("/me/passkeys", "passkey", "key", "credential", text); got.status != http.StatusBadRequest {
		t.Error("added twice:", got)
	}
	// A key that somebody has is nobody else's.
	if got := larsen.add(a, "key"); got.status != http.StatusBadRequest {
		t.Error(got)
	}
	if got := keller.add(w.authenticator(), ""); got.status != http.StatusBadRequest {
		t.Error("without a name:", got)
	}
	for _, id := range []string{"", "!", b64([]byte("nothing"))} {
		if got := keller.post("/me/passkeys/remove", "passkey", id); got.status != http.StatusBadRequest {
			t.Errorf("remove %q: %v", id, got)
		}
	}
	for _, name := range []string{"keller", "larsen"} {
		if l, _ := w.login(name); len(l.Passkeys) != map[string]int{"keller": 1}[name] {
			t.Errorf("%s has %d", name, len(l.Passkeys))
		}
	}
}

func errandOf(b *browser) (list []*http.Cookie) {
	for _, c := range b.Jar.Cookies(b.address()) {
		if strings.HasPrefix(c.Name, "__Host-errand-") {
			list = append(list, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: true})
		}
	}
	return list
}

// A portal that goes by addresses has no passkeys, and says nothing of them.
func TestNoPasskeysWithoutAName(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Hosts = []string{"127.0.0.1"} })
	b := w.signedIn("keller", "", capability.Viewer)
	for _, path := range []string{"/sign-in/passkey/options", "/sign-in/passkey", "/me/passkeys/options", "/me/passkeys"} {
		if a := b.post(path); a.status != http.StatusNotFound {
			t.Error(path, a)
		}
	}
	if a := b.get("/sign-in"); strings.Contains(a.body, "passkey") {
		t.Error(a)
	}
	for _, c := range []struct{ hosts, origin, party, from string }{
		{"10.1.2.3 Licenses.example.com", "https://licenses.example.com", "licenses.example.com", "https://licenses.example.com"},
		{"licenses.example.com other.example", "https://licenses.example.com:7443", "licenses.example.com", "https://licenses.example.com:7443"},
		{"licenses.example.com", "https://licenses.example.com:443", "licenses.example.com", "https://licenses.example.com"},
	} {
		u, err := url.Parse(c.origin)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := openPasskeys(strings.Fields(c.hosts), u)
		if err != nil || keys.Config.RPID != c.party || len(keys.Config.RPOrigins) != 1 || keys.Config.RPOrigins[0] != c.from {
			t.Errorf("%+v: %+v %v", c, keys.Config, err)
		}
	}
}

// No provider's errand passes for one of a passkey: their cookies and seals go by these names.
func TestNoProviderIsAPasskey(t *testing.T) {
	for _, name := range []string{toSignIn, toAdd} {
		if CheckProvider(name) == nil {
			t.Errorf("a provider may be called %s", name)
		}
	}
}

// An administrator sees the passkeys of a login and takes them out, so that what a thief has added is worth nothing, nor a session begun with it.
func TestPasskeysForgotten(t *testing.T) {
	w := newWorld(t)
	admin, larsen := w.signedIn("keller", "", capability.SecurityAdministrator), w.signedIn("larsen", "ACME", capability.Viewer)
	phone, thiefs := w.authenticator(), w.authenticator()
	for name, a := range map[string]*authenticator{"phone": phone, "thief's": thiefs} {
		if got := larsen.add(a, name); got.status != http.StatusSeeOther {
			t.Fatal(got)
		}
	}
	thief := w.browser()
	if got := thief.passkey(thiefs); got.status != http.StatusSeeOther {
		t.Fatal(got)
	}
	page := admin.get("/login?name=larsen")
	if !strings.Contains(page.body, "thief&#39;s, added") || !strings.Contains(page.body, `value="passkeys"`) {
		t.Error(page)
	}
	for range 2 { // the form may be sent twice
		if got := admin.post("/login", "name", "larsen", "do", "passkeys", "once", "k"); got.status != http.StatusSeeOther || got.location != "/login?name=larsen" {
			t.Error(got)
		}
	}
	for _, a := range []*authenticator{phone, thiefs} {
		if got := w.browser().passkey(a); got.status != http.StatusUnauthorized {
			t.Errorf("forgotten, and good: %v", got)
		}
	}
	if got := thief.get("/me"); got.status != http.StatusSeeOther {
		t.Errorf("a session of the thief's: %v", got)
	}
	if page := admin.get("/login?name=larsen"); strings.Contains(page.body, `value="passkeys"`) {
		t.Error(page)
	}
}
