package portal

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

// world is a portal over a real back office on a disk, behind real TLS.
type world struct {
	t      *testing.T
	desk   *backoffice.Desk
	portal *Portal
	server *httptest.Server
	clock  time.Time // not zero: the portal's time
}

const passphrase = "correct horse battery staple"

func (w *world) now() time.Time {
	if !w.clock.IsZero() {
		return w.clock
	}
	return time.Now()
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	place := backoffice.Dir(filepath.Join(t.TempDir(), "office"))
	setup := backoffice.Setup{Policy: entitlement.DefaultPolicy("Example"), KeyName: "example-A", By: "test", Cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}}
	if _, err := backoffice.Create(place, []byte(passphrase), setup, capability.At(time.Now()), rand.Reader); err != nil {
		t.Fatal(err)
	}
	o, err := backoffice.Open(place, []byte(passphrase), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, desk: backoffice.NewDesk(o)}
	w.server = httptest.NewUnstartedServer(nil)
	options := Options{Desk: w.desk, Hosts: []string{"127.0.0.1", "localhost"}, Origin: "https://" + w.server.Listener.Addr().String(), Now: w.now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), CodeOf: backoffice.Code, Words: testWords}
	for _, f := range change {
		f(&options)
	}
	if w.portal, err = New(options); err != nil {
		t.Fatal(err)
	}
	w.server.Config.Handler = w.portal.Handler()
	w.server.StartTLS()
	t.Cleanup(func() {
		w.server.Close()
		if err := w.desk.Ask(func(o *backoffice.Office) error { return o.Book().Check() }); err != nil {
			t.Error(err)
		}
		if err := w.desk.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// do has commands done in the back office.
func (w *world) do(commands ...entitlement.Command) {
	w.t.Helper()
	err := w.desk.Ask(func(o *backoffice.Office) error {
		for _, c := range commands {
			if err := o.Do(c, capability.At(w.now())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// browser is one with cookies. It does not follow redirects.
type browser struct {
	w *world
	*http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.server.Client()
	return &browser{w, &http.Client{Transport: c.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// address is where the portal is.
func (b *browser) address() *url.URL {
	b.w.t.Helper()
	u, err := url.Parse(b.w.server.URL)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return u
}

// answer is what came back.
type answer struct {
	status   int
	location string
	body     string
	header   http.Header
}

func (b *browser) send(r *http.Request, err error) answer {
	b.w.t.Helper()
	if err != nil {
		b.w.t.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Location"), string(body), resp.Header}
}

func (b *browser) get(path string) answer {
	b.w.t.Helper()
	return b.send(http.NewRequest(http.MethodGet, b.w.server.URL+path, nil))
}

func (b *browser) post(path string, pairs ...string) answer {
	b.w.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.send(r, err)
}

var onceField = regexp.MustCompile(`name="once" value="([^"]+)"`)

// once is the field of a page's form by which it counts once.
func (a answer) once() string {
	if m := onceField.FindStringSubmatch(a.body); m != nil {
		return m[1]
	}
	return ""
}

const password = "a long enough pass phrase"

// signedIn is a browser of a new login.
func (w *world) signedIn(name, account string, roles ...capability.Role) *browser {
	w.t.Helper()
	var code string
	err := w.desk.Ask(func(o *backoffice.Office) (err error) {
		var hash capability.Digest
		if code, hash, err = o.LoginCode(name); err != nil {
			return err
		}
		return o.Do(entitlement.AddLogin{Name: name, Account: account, Roles: roles, Code: hash, By: "test"}, capability.At(w.now()))
	})
	if err != nil {
		w.t.Fatal(err)
	}
	b := w.browser()
	if a := b.post("/claim", "name", name, "code", code, "password", password, "again", password); a.status != http.StatusSeeOther {
		w.t.Fatal(a)
	}
	return b
}

// The first login sets its password with its code, once; then the password signs in, and a session ends when it is signed out, when the login changes, and by time.
func TestSigningIn(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.SecurityAdministrator, capability.LicenseAdministrator)
	if a := b.get("/devices"); a.status != http.StatusOK || !strings.Contains(a.body, "No device") {
		t.Error(a)
	}
	if a := b.post("/sign-out"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := b.get("/devices"); a.status != http.StatusSeeOther || a.location != "/sign-in?to=%2Fdevices" {
		t.Error(a)
	}
	if a := b.post("/sign-in", "name", "keller", "password", "not it at all"); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "LH-5103") {
		t.Error(a)
	}
	if a := b.post("/sign-in", "name", "Keller", "password", password, "to", "//elsewhere.example"); a.status != http.StatusSeeOther || a.location != "/" {
		t.Error(a)
	}
	if a := b.get("/devices"); a.status != http.StatusOK {
		t.Error(a)
	}
	w.do(entitlement.SetPassword{Name: "keller", Password: "$argon2id$other", By: "test"})
	if a := b.get("/devices"); a.status != http.StatusSeeOther {
		t.Errorf("after the password was changed: %v", a)
	}
}

// One login fills neither the book with its sign-ins nor the memory with its sessions, and pushes nobody out.
func TestSigningInVeryOften(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now()
	keller := w.signedIn("keller", "")
	w.signedIn("larsen", "ACME")
	in := func(name string) answer { return w.browser().post("/sign-in", "name", name, "password", password) }
	for n := range signInsAtOnce { // the one with a code is an administrator's to give
		if a := in("larsen"); a.status != http.StatusSeeOther {
			t.Fatal(n, a)
		}
	}
	before := w.length()
	if a := in("Larsen"); a.status != http.StatusTooManyRequests || a.header.Get("Set-Cookie") != "" {
		t.Error(a)
	}
	if n := w.length() - before; n != 0 {
		t.Errorf("%d entries", n)
	}
	if a := in("keller"); a.status != http.StatusSeeOther {
		t.Errorf("somebody else: %v", a)
	}
	if a := keller.get("/me"); a.status != http.StatusOK {
		t.Error(a)
	}
	// Nor with what it changes of its own.
	key := w.authenticator()
	if a := keller.add(key, "key"); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	for range signInsAtOnce {
		w.browser().passkey(key)
	}
	before = w.length()
	if a := w.browser().passkey(key); a.status != http.StatusTooManyRequests {
		t.Errorf("with a passkey: %v", a)
	}
	for path, form := range map[string][]string{
		"/me/password": {"password-current", password, "password", "a new long pass phrase", "again", "a new long pass phrase"}, "/me/passkeys/remove": {"passkey", b64(key.id)},
	} {
		if a := keller.post(path, form...); a.status != http.StatusTooManyRequests {
			t.Errorf("%s: %v", path, a)
		}
	}
	if a := keller.add(w.authenticator(), "another"); a.status != http.StatusTooManyRequests {
		t.Errorf("another passkey: %v", a)
	}
	if n := w.length() - before; n != 0 {
		t.Errorf("%d entries of what is one's own", n)
	}
	w.clock = w.clock.Add(signInInterval)
	if a := in("larsen"); a.status != http.StatusSeeOther {
		t.Errorf("a minute later: %v", a)
	}
}

// What is wrong in the back office is in the log, and to its staff: a customer, or nobody, reads that something is, and no paths.
func TestFaultsAreTheProducers(t *testing.T) {
	log := &written{}
	w := newWorld(t, log.options)
	for _, l := range []entitlement.Login{{}, {Name: "larsen", Account: "ACME"}, {Name: "keller"}} {
		v := &visit{asker: asker{p: w.portal, r: httptest.NewRequest(http.MethodGet, "/items", nil), login: l}}
		for _, c := range []struct {
			err   error
			code  capability.Code
			tells bool
		}{
			{fmt.Errorf("/srv/freehold: %w", backoffice.ErrWrite), capability.ErrBookWrite, l.Name == "keller"},
			{fmt.Errorf("/srv/freehold: %w", backoffice.ErrRoots), capability.ErrUsage, l.Name == "keller"},
			{fmt.Errorf("/srv/freehold is closed"), capability.ErrInternal, false},
			{fmt.Errorf("your table: %w", &backoffice.RowError{Line: 3, Cause: wire.ErrSize}), capability.ErrRow, true},
			{fmt.Errorf("your file: %w", wire.ErrSize), capability.ErrFileSize, true},
		} {
			code, view := v.explain(c.err)
			ours := strings.HasPrefix(c.err.Error(), "/")
			if told := strings.Contains(view.What, c.err.Error()); code != c.code || told != c.tells || strings.Contains(log.take(), c.err.Error()) != ours || view.What == "" {
				t.Errorf("%q: %v is %s: %+v", l.Name, c.err, code, view)
			}
		}
	}
}

// What ends a handler is in the log with where it was, and not on the page.
func TestPanicsAreTold(t *testing.T) {
	log := &written{}
	w := newWorld(t, log.options)
	h := w.portal.told(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("it is broken") }))
	answer := httptest.NewRecorder()
	func() {
		defer func() {
			if why := recover(); why != http.ErrAbortHandler {
				t.Errorf("it goes on as %v", why)
			}
		}()
		h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/items", nil))
	}()
	if said := log.take(); !strings.Contains(said, "it is broken") || !strings.Contains(said, "TestPanicsAreTold") || !strings.Contains(said, "/items") || answer.Body.Len() > 0 {
		t.Errorf("%s %s", said, answer.Body)
	}
}

// A key that cannot be one is the sender's fault. And a form counts once for the whole address that it is sent to.
func TestKeysOfForms(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.SecurityAdministrator)
	w.do(entitlement.AddLogin{Name: "one", By: "test"}, entitlement.AddLogin{Name: "two", By: "test"})
	for _, key := range []string{strings.Repeat("x", 300), "a\nb", "\xff"} {
		if a := b.post("/login", "name", "one", "do", "disable", "once", key); a.status != http.StatusBadRequest {
			t.Errorf("%q: %v", key, a.status)
		}
	}
	if a := b.post("/login?name=one", "do", "disable", "once", "k"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := b.post("/login?name=two", "do", "disable", "once", "k"); a.status != http.StatusConflict {
		t.Errorf("under the key of another: %v", a)
	}
	if a := b.post("/login?name=one", "do", "disable", "once", "k"); a.status != http.StatusSeeOther {
		t.Errorf("again: %v", a)
	}
}

// Whoever sends a request from another site, or for another name of the host, gets nothing.
func TestForeignRequests(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.SecurityAdministrator)
	r, err := http.NewRequest(http.MethodPost, w.server.URL+"/sign-out", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := b.send(r, nil); a.status != http.StatusForbidden {
		t.Error(a)
	}
	r, err = http.NewRequest(http.MethodGet, w.server.URL+"/devices", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "elsewhere.example"
	if a := b.send(r, nil); a.status != http.StatusMisdirectedRequest {
		t.Error(a)
	}
	if a := b.get("/devices"); a.status != http.StatusOK || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error(a)
	}
}

func (a answer) String() string { return fmt.Sprintf("%d %s %s", a.status, a.location, a.body) }

func passwordHash(t *testing.T) string {
	t.Helper()
	hash, err := web.HashPassword(password, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// written is a log that a test reads.
type written struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *written) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take is what was written since it was asked last.
func (l *written) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	l.text.Reset()
	return text
}

func (l *written) options(o *Options) { o.Log = slog.New(slog.NewTextHandler(l, nil)) }

// testWords are enough of what an entry did to find it by.
func testWords(e *entitlement.Entry) (what, detail string) {
	if e.Account != nil {
		return "set the account", e.Account.Parent
	}
	return "wrote", e.Subject()
}
