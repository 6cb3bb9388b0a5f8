package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"html"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// site is a console for browsers, of an appliance with what most pages show.
type pageWorld struct {
	t      *testing.T
	c      *Console
	server *httptest.Server
	past   atomic.Int64            // of its clock since the minute after start, in nanoseconds
	item   capability.ActivationID // of the feature f
}

// passes lets time go by, whoever looks at the clock meanwhile.
func (w *pageWorld) passes(d time.Duration) { w.past.Add(int64(d)) }

const pagePassword = "a long enough pass phrase"

// roleNames are the logins of a pageWorld, each with the role that it is called by.
func roleNames() []string {
	names := []string{"nothing", "both"}
	for _, r := range capability.Roles() {
		names = append(names, r.String())
	}
	return names
}

// newPages serves it. More are further features.
func newPages(t *testing.T, more ...capability.LineItem) *pageWorld {
	t.Helper()
	return newPagesWith(t, (*pageWorld).addFirst, more...)
}

// newPagesWith serves it with the logins that add makes.
func newPagesWith(t *testing.T, add func(*pageWorld), more ...capability.LineItem) *pageWorld {
	t.Helper()
	w := newPageWorld(t, add, more...)
	w.serve()
	return w
}

// newPageWorld is one that nobody serves yet.
func newPageWorld(t *testing.T, add func(*pageWorld), more ...capability.LineItem) *pageWorld {
	t.Helper()
	w := &pageWorld{t: t}
	l, now := ledger.New(), ledger.At(0, start)
	codec, journal := wire.New(), [][]byte(nil)
	do := func(c ledger.Command) {
		t.Helper()
		d, err := l.Decide(now, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Entries {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
			journal = append(journal, e.Encode(codec))
		}
	}
	w.item = activation(t, 1)
	do(ledger.Provision{Response: capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: start,
		Items: append([]capability.LineItem{{ActivationID: w.item, Feature: "f", Version: capability.Version{Major: 1}, Count: 10, Copies: 1, Product: "Render Pro", VendorString: "vendor's", EntitlementID: "ENT-1", Overdraft: 2}}, more...),
	}, Digest: capability.Digest{1}})
	do(w.given(4))
	archive := &shelf{}
	a, err := appliance.New(appliance.Options{
		Ledger: l, Vault: &kept{}, Machine: machine{}, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Trust: &wire.Trust{}, Now: func() time.Time { return time.Unix(start+60, 0) },
		Elapsed: func() time.Duration { return 0 }, Awake: func() time.Duration { return 0 }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Journal: journal,
		Archive: func(appliance.Vault, uint64, uint64, ledger.RecoveryView) (appliance.Archive, error) {
			return archive, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	w.c = &Console{
		Appliance: a, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Version: "1.2.3", Allowed: func(Peer) bool { return true },
		Now: func() time.Time { return time.Unix(start+60, w.past.Load()) }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Certificate: shownFor(t),
	}
	w.c.Pepper = func(b []byte) ([32]byte, error) { return sha256.Sum256(append([]byte("pepper"), b...)), nil }
	add(w)
	return w
}

// given has so many counts of f served to the device d.
func (w *pageWorld) given(count uint32) ledger.Serve {
	return ledger.Serve{Key: capability.Digest{2}, Request: capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.String, Value: "d"}}, Correlation: capability.CorrelationID{3, byte(count)}, Alias: "WS-1", User: "ana",
		Desired: []capability.Desired{{Feature: "f", Version: capability.Version{Major: 1}, Count: count}},
	}}
}

func (w *pageWorld) serve() {
	w.t.Helper()
	w.server = httptest.NewTLSServer(w.c.Pages())
	w.t.Cleanup(w.server.Close)
}

func activation(t *testing.T, n int) capability.ActivationID {
	t.Helper()
	id, err := capability.NewActivationID(strings.NewReader(strings.Repeat(fmt.Sprintf("%06d", n), 6)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// addFirst makes the login that is there before all others: each takes some time, so that the others are made when they are wanted.
func (w *pageWorld) addFirst() { w.login("both") }

// login makes the login of that name, unless it is there: of the role that it is called by, of both administrators, or of none.
func (w *pageWorld) login(name string) {
	w.t.Helper()
	if _, err := w.c.login(w.t.Context(), name); err == nil {
		return
	}
	var roles []capability.Role
	if r, err := capability.ParseRole(name); err == nil {
		roles = append(roles, r)
	}
	if name == "both" {
		roles = append(roles, capability.LicenseAdministrator, capability.SecurityAdministrator)
	}
	if err := w.c.makeLogin(w.t.Context(), name, roles, pagePassword, "test"); err != nil {
		w.t.Fatal(err)
	}
}

// browser is somebody's window.
type browser struct {
	w      *pageWorld
	client *http.Client
}

func (w *pageWorld) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c := *w.server.Client()
	c.Jar, c.CheckRedirect = jar, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{w, &c}
}

// signedIn is a window of a login.
func (w *pageWorld) signedIn(name string) *browser {
	w.t.Helper()
	w.login(name)
	b := w.browser()
	if a := b.post("/sign-in", "name", name, "password", pagePassword); a.status != http.StatusSeeOther {
		w.t.Fatalf("sign in as %s: %d %s", name, a.status, a.body)
	}
	return b
}

type answer struct {
	status         int
	body, location string
	header         http.Header
}

func (b *browser) send(r *http.Request, err error) answer {
	b.w.t.Helper()
	if err != nil {
		b.w.t.Fatal(err)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body), resp.Header.Get("Location"), resp.Header}
}

func (b *browser) get(path string) answer {
	b.w.t.Helper()
	return b.send(http.NewRequest(http.MethodGet, b.w.server.URL+path, nil))
}

// page is a path that has to be there.
func (b *browser) page(path string) string {
	b.w.t.Helper()
	a := b.get(path)
	if a.status != http.StatusOK {
		b.w.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	return a.body
}

func formValues(pairs []string) url.Values {
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

func (b *browser) post(path string, pairs ...string) answer {
	b.w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+path, strings.NewReader(formValues(pairs).Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.send(r, err)
}

// sendFile posts a form with a file.
func (b *browser) sendFile(path string, content []byte, pairs ...string) answer {
	b.w.t.Helper()
	var body strings.Builder
	m := multipart.NewWriter(&body)
	for name, list := range formValues(pairs) {
		for _, value := range list {
			m.WriteField(name, value)
		}
	}
	part, err := m.CreateFormFile("file", "it")
	if err != nil {
		b.w.t.Fatal(err)
	}
	part.Write(content)
	m.Close()
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+path, strings.NewReader(body.String()))
	if err == nil {
		r.Header.Set("Content-Type", m.FormDataContentType())
	}
	return b.send(r, err)
}

var (
	onceField = regexp.MustCompile(`name="once" value="([^"]+)"`)
	aTag      = regexp.MustCompile(`<[^>]*>`)
)

// once is the field of a page by which its form counts once.
func (b *browser) once(path string) string {
	b.w.t.Helper()
	m := onceField.FindStringSubmatch(b.page(path))
	if m == nil {
		b.w.t.Fatalf("no form on %s", path)
	}
	return m[1]
}

// words are what a page says.
func words(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(aTag.ReplaceAllString(page, " "))), " ")
}

// Every page that can be looked at is there, for who has every role.
func TestPagesAreThere(t *testing.T) {
	b := newPages(t).signedIn("both")
	for _, i := range ReportInfos() {
		b.page(reportPath(i.Kind))
	}
	if a := b.get("/reports/what-if?feature=f&count=5"); a.status != http.StatusOK || strings.Contains(a.body, "Name a feature") {
		t.Errorf("what if: %d %s", a.status, words(a.body))
	}
	if a := b.get("/reports/usage?by=second"); a.status != http.StatusBadRequest || !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, `name="from"`) {
		t.Errorf("a report that cannot be: %d", a.status)
	}
	for path, kind := range map[string]string{"csv": "text/csv; charset=utf-8", "json": "application/json", "svg": "image/svg+xml"} {
		if a := b.get("/reports/peaks/report." + path + "?feature=f"); a.status != http.StatusOK || a.header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, a.status, a.header.Get("Content-Type"))
		}
	}
	for _, path := range []string{
		"/overview", "/about", "/settings", "/me", "/features", "/features/details", "/feature?id=" + string(b.w.item) + "&name=f", "/devices", "/devices/STRING/d", "/seats", "/pools", "/pools/model", "/reservations",
		"/reservations/add", "/online", "/online/update", "/offline", "/properties", "/keys", "/audit", "/audit/1", "/hostids", "/time", "/help", "/reports", "/reports/denials", "/reports/usage",
	} {
		a := b.get(path)
		if a.status != http.StatusOK || !strings.Contains(a.body, "</html>") {
			t.Errorf("%s: %d %s", path, a.status, words(a.body))
		}
	}
}

// reserve reserves entries by the form.
func (b *browser) reserve(rows ...Reserved) {
	b.w.t.Helper()
	pairs := []string{"once", b.once("/reservations/add"), "do", "submit"}
	for _, r := range rows {
		pairs = append(pairs, "pending", r.line())
	}
	if a := b.post("/reservations/add", pairs...); a.status != http.StatusSeeOther || a.location != "/reservations" {
		b.w.t.Fatalf("reserve: %d %s", a.status, words(a.body))
	}
}

// reserved is what is reserved now.
func (w *pageWorld) reserved() []Reserved {
	w.t.Helper()
	rows, err := w.c.reservations(httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/", nil))
	if err != nil {
		w.t.Fatal(err)
	}
	return rows.([]Reserved)
}

// shownFor is a certificate that says which names the appliance goes by.
func shownFor(t *testing.T) func() *certificate.Shown {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := certificate.New(certificate.Options{
		Key: key, Machine: "test", Hosts: []string{"127.0.0.1"}, Keep: func([]byte) error { return nil }, Now: func() (time.Time, error) { return time.Unix(start, 0), nil }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() *certificate.Shown { return s }
}
