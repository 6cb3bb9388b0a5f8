package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// clerk is the program that asks a directory, which has what a test puts into it.
type clerk struct {
	t       *testing.T
	program http.Handler

	mu     sync.Mutex
	people map[string]*Person                             // by their names
	says   func(q *DirectoryQuestion, a *DirectoryAnswer) // instead
	asked  []DirectoryQuestion
}

// newClerk runs beside a console until the test ends.
func newClerk(t *testing.T, c *Console) *clerk {
	t.Helper()
	c.Directory = NewDirectory(c.Appliance)
	k := &clerk{t: t, program: c.Directory.Handler(c), people: map[string]*Person{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			k.serve(ctx)
		}
	}()
	t.Cleanup(func() { c.Directory.Stop(); cancel(); <-ended })
	for !c.Directory.running() {
		<-time.After(time.Millisecond)
	}
	return k
}

func (k *clerk) call(ctx context.Context, path string, body any) (int, []byte) {
	b, err := json.Marshal(body)
	if err != nil {
		k.t.Error(err)
	}
	w := httptest.NewRecorder()
	k.program.ServeHTTP(w, httptest.NewRequest("POST", Base+path, bytes.NewReader(b)).WithContext(ctx))
	return w.Code, w.Body.Bytes()
}

func (k *clerk) serve(ctx context.Context) {
	var q DirectoryQuestion
	if _, b := k.call(ctx, "directory/next", nil); json.Unmarshal(b, &q) != nil || q.Number == 0 {
		return
	}
	a := DirectoryAnswer{Number: q.Number}
	k.mu.Lock()
	k.asked = append(k.asked, q)
	switch says := k.says; {
	case says != nil:
		says(&q, &a)
	case q.Password != nil && k.people[q.Password.Name] != nil && q.Password.Password == passwordOf(q.Password.Name):
		a.Person = k.people[q.Password.Name]
	case q.Code != nil && k.people[q.Code.Code] != nil:
		a.Person = k.people[q.Code.Code]
	case q.Address != nil:
		a.Address = fmt.Sprintf("%s/authorize?state=%s", q.URL, q.Address.Trip.State)
	default:
		a.Denial = &capability.Denial{Code: capability.ErrApplianceSignIn}
	}
	k.mu.Unlock()
	if a.Number != 0 {
		k.call(ctx, "directory/answer", a)
	}
}

func (k *clerk) knows(name string, groups ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.people[name] = &Person{"uid=" + name, name, groups}
}

func (k *clerk) all() []DirectoryQuestion {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.asked)
}

func (k *clerk) count() int { return len(k.all()) }

func (k *clerk) will(says func(q *DirectoryQuestion, a *DirectoryAnswer)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.says = says
}

// withDirectory is a gateway with a local security administrator, and a directory whose groups have roles.
func withDirectory(t *testing.T) (*gateway, *clerk) {
	g := newGateway(t, ledger.New())
	g.login("Keller", capability.SecurityAdministrator)
	k := newClerk(t, g.c)
	g.set(ledger.DirectoryURL, "ldaps://dc.example.org")
	g.set(ledger.DirectoryRole(capability.Viewer), "cn=all; cn=plant")
	g.set(ledger.DirectoryRole(capability.SecurityAdministrator), "cn=security")
	g.set(ledger.DirectoryRole(capability.LicenseAdministrator), "cn=licenses")
	return g, k
}

func (g *gateway) set(name, value string) {
	g.t.Helper()
	if _, err := g.c.Appliance.Change(g.t.Context(), ledger.SetPolicy{Name: name, Value: value, By: "test"}, "test", "test"); err != nil {
		g.t.Fatal(err)
	}
}

func guestForm(name, password string) string {
	return fmt.Sprintf(`{"name":%q,"password":%q,"directory":true}`, name, password)
}

// guest gives the token of a session.
func (g *gateway) guest(name string) string {
	g.t.Helper()
	return read[SignedIn](g.t, g.must("", "POST session", guestForm(name, passwordOf(name)))).Token
}

// Who is known to the directory may what the roles of the groups allow, and nothing that belongs to a login of the appliance, also where one has the same name.
func TestGuests(t *testing.T) {
	g, k := withDirectory(t)
	k.knows("ada", "cn=all")
	k.knows("keller", "cn=all")
	k.knows("chen", "cn=plant", "cn=security")
	k.knows("bo")
	k.knows("li", "cn=others", "CN=SECURITY", "cn=security ")
	ada := g.guest("ada")
	if s := read[Session](t, g.must(ada, "GET session", "")); s.By != "directory ada" || s.Name != "ada" || fmt.Sprint(s.Roles) != "[viewer]" || fmt.Sprint(s.Permissions) != "[see report]" {
		t.Errorf("%+v", s)
	}
	g.must(ada, "GET policies", "")
	g.no(ada, "GET users", "", capability.ErrApplianceRole)
	g.no(ada, "POST requests", "{}", capability.ErrApplianceRole)
	chen := g.guest("chen")
	if s := read[Session](t, g.must(chen, "GET session", "")); fmt.Sprint(s.Roles) != "[viewer security administrator]" {
		t.Errorf("%+v", s)
	}
	g.must(chen, "GET users", "")
	g.no(chen, "POST requests", "{}", capability.ErrApplianceRole)

	// The local login of that name is another one.
	same := g.guest("keller")
	g.no(same, "GET users", "", capability.ErrApplianceRole)
	for pattern, body := range map[string]string{
		"PUT password": fmt.Sprintf(`{"current":%q,"password":"another secret 1"}`, passwordOf("keller")), "POST tokens": fmt.Sprintf(`{"name":"x","current":%q}`, passwordOf("keller")), "DELETE tokens/x": "",
	} {
		g.no(same, pattern, body, capability.ErrDirectoryLogin)
	}
	if s := read[Session](t, g.must(same, "GET session", "")); s.By != "directory keller" || fmt.Sprint(s.Roles) != "[viewer]" {
		t.Errorf("%+v", s)
	}

	// Wrong, unknown, without a role; and each is not the other.
	g.no("", "POST session", guestForm("ada", "wrong"), capability.ErrApplianceSignIn)
	g.no("", "POST session", guestForm("nobody", "wrong"), capability.ErrApplianceSignIn)
	g.no("", "POST session", guestForm("bo", passwordOf("bo")), capability.ErrDirectoryRole)
	g.no("", "POST session", guestForm("li", passwordOf("li")), capability.ErrDirectoryRole)
	g.no("", "POST session", fmt.Sprintf(`{"name":"ada","password":%q}`, passwordOf("ada")), capability.ErrApplianceSignIn)
	asked := k.count()
	g.signIn("Keller")
	if k.count() != asked {
		t.Error("the directory is told the password of a local login")
	}
	trail := string(g.entries())
	if !strings.Contains(trail, "directory as uid=ada") || strings.Contains(trail, passwordOf("ada")) || strings.Contains(trail, "nobody") {
		t.Error("the audit trail has another thing than that ada signed in through the directory")
	}
	for _, q := range k.all() {
		if fmt.Sprint(q.Groups) != "[cn=all cn=licenses cn=plant cn=security]" || q.Name != "uid" {
			t.Errorf("%+v", q)
		}
	}
}

// What a guest may follows the settings with the next request, and the directory with the next sign-in.
func TestGuestsFollow(t *testing.T) {
	g, k := withDirectory(t)
	k.knows("chen", "cn=all", "cn=security")
	one, two := g.guest("chen"), g.guest("chen")
	g.must(one, "GET users", "")
	g.set(ledger.DirectoryRole(capability.SecurityAdministrator), "")
	g.no(one, "GET users", "", capability.ErrApplianceRole)
	g.must(one, "GET policies", "")
	g.set(ledger.DirectoryRole(capability.Viewer), "")
	g.no(one, "GET policies", "", capability.ErrApplianceToken)
	g.set(ledger.DirectoryRole(capability.SecurityAdministrator), "cn=security")
	g.must(two, "GET users", "")

	// He is in another group: what he signed in as before is over, everywhere.
	k.knows("chen", "cn=licenses")
	three := g.guest("chen")
	g.no(two, "GET users", "", capability.ErrApplianceToken)
	g.no(three, "GET users", "", capability.ErrApplianceRole)
	k.knows("chen")
	g.no("", "POST session", guestForm("chen", passwordOf("chen")), capability.ErrDirectoryRole)
	g.no(three, "GET policies", "", capability.ErrApplianceToken)

	// Another directory knows other people, and without one nobody is a guest.
	k.knows("chen", "cn=security")
	four := g.guest("chen")
	g.set(ledger.DirectoryURL, "ldaps://other.example.org")
	g.no(four, "GET users", "", capability.ErrApplianceToken)
	five := g.guest("chen")
	g.set(ledger.DirectoryURL, "")
	g.no(five, "GET users", "", capability.ErrApplianceToken)
	g.no("", "POST session", guestForm("chen", passwordOf("chen")), capability.ErrDirectoryOff)
	g.set(ledger.DirectoryURL, "https://idp.example.org")
	g.no("", "POST session", guestForm("chen", passwordOf("chen")), capability.ErrDirectoryOff)

	// A session ends with its time, and by sign-out.
	g.set(ledger.DirectoryURL, "ldaps://dc.example.org")
	six, seven := g.guest("chen"), g.guest("chen")
	g.must(six, "DELETE session", "")
	g.no(six, "GET users", "", capability.ErrApplianceToken)
	g.must(seven, "GET users", "")
	g.past.Add(1801)
	g.no(seven, "GET users", "", capability.ErrApplianceToken)
}

// While the directory is away, the appliance's own logins go on; and where it has none, nobody comes in by a directory.
func TestDirectoryAway(t *testing.T) {
	g, k := withDirectory(t)
	k.knows("ada", "cn=all")
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Denial = &capability.Denial{Code: capability.ErrDirectory, Detail: "dial tcp 192.0.2.1:636: nobody is there"}
	})
	if p := g.no("", "POST session", guestForm("ada", passwordOf("ada")), capability.ErrDirectory); strings.Contains(p.Text, "192.0.2.1") {
		t.Errorf("a stranger hears %q", p.Text)
	}
	for range 8 { // from one address: those who try again close nothing for who has a login here
		g.no("", "POST session", guestForm("ada", passwordOf("ada")), capability.ErrDirectory)
	}
	keller := g.signIn("Keller")
	if s := read[DirectoryState](t, g.must(keller, "GET directory", "")); !s.Running || s.Fault == nil || !strings.Contains(s.Fault.Text, "192.0.2.1") || len(s.Settings) != 11 {
		t.Errorf("%+v", s)
	}
	k.will(nil)
	g.guest("ada")
	if s := read[DirectoryState](t, g.must(keller, "GET directory", "")); s.Fault != nil {
		t.Errorf("%+v", s.Fault)
	}
	none := newGateway(t, ledger.New())
	newClerk(t, none.c).knows("ada", "cn=all")
	none.set(ledger.DirectoryURL, "ldaps://dc.example.org")
	none.set(ledger.DirectoryRole(capability.SecurityAdministrator), "cn=all")
	none.no("", "POST session", guestForm("ada", passwordOf("ada")), capability.ErrDirectoryOff)
	none.c.Directory = nil
	none.login("Keller", capability.SecurityAdministrator)
	none.no("", "POST session", guestForm("ada", passwordOf("ada")), capability.ErrDirectory)
}

// The program is believed about what it was asked, and nothing else.
func TestDirectoryLies(t *testing.T) {
	g, k := withDirectory(t)
	for what, person := range map[string]*Person{
		"nobody": nil, "without a subject": {"", "ada", []string{"cn=all"}}, "without a name": {"uid=ada", "", []string{"cn=all"}}, "a name of lines": {"uid=ada", "a\nb", []string{"cn=all"}},
		"a long name": {"uid=ada", strings.Repeat("a", capability.MaxName+1), []string{"cn=all"}}, "a long subject": {strings.Repeat("a", maxSubject+1), "ada", []string{"cn=all"}}, "a subject of lines": {"a\x00b", "ada", []string{"cn=all"}},
	} {
		k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) { a.Person = person })
		if status, p, _ := g.ask("", "POST session", guestForm("ada", "x")); status != http.StatusServiceUnavailable || p.Code != capability.ErrDirectory {
			t.Errorf("%s: %d %+v", what, status, p)
		}
	}
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Denial = &capability.Denial{Code: capability.Applied}
		a.Person = &Person{"uid=ada", "ada", []string{"cn=all"}}
	})
	g.no("", "POST session", guestForm("ada", "x"), capability.ErrDirectory)
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Person = &Person{"uid=ada", "ada", []string{"cn=root", "cn=admin"}}
	})
	g.no("", "POST session", guestForm("ada", "x"), capability.ErrDirectoryRole)
	// A group that he was not asked about is none of his, also when it has a role later.
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Person = &Person{"uid=ada", "ada", []string{"cn=all", "cn=later"}}
	})
	ada := g.guest("ada")
	g.set(ledger.DirectoryRole(capability.Operator), "cn=later")
	if s := read[Session](t, g.must(ada, "GET session", "")); fmt.Sprint(s.Roles) != "[viewer]" {
		t.Errorf("%+v", s)
	}
	for path, body := range map[string]string{"directory/answer": `{"number":99}`, "users": "{}", "session": guestForm("ada", "x"), "poll/next": "{}"} {
		if status, b := k.call(t.Context(), path, json.RawMessage(body)); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
}

// Guessing at names of the directory is slowed down as it is at those of the appliance, and neither closes the other.
func TestGuestsAreThrottled(t *testing.T) {
	g, k := withDirectory(t)
	k.knows("ada", "cn=all")
	for range 5 {
		g.no("", "POST session", guestForm("ada", "wrong"), capability.ErrApplianceSignIn)
		g.from += "1"
	}
	asked := k.count()
	g.no("", "POST session", guestForm("ADA", passwordOf("ada")), capability.ErrTries)
	if k.count() != asked {
		t.Error("the directory is asked too soon")
	}
	if trail := string(g.entries()); !strings.Contains(trail, "directory") || strings.Contains(trail, "ada") {
		t.Error("that the tries failed is not in the audit trail, or with the name that was typed")
	}
	g.past.Add(60)
	g.guest("ada")
	g.signIn("Keller")
}

// The settings of the directory are for who admits logins, and shows again who that is: whoever may set everything else could make himself a security administrator.
func TestWhoSetsTheDirectory(t *testing.T) {
	g, k := withDirectory(t)
	g.login("ada", capability.LicenseAdministrator)
	g.login("both", capability.LicenseAdministrator, capability.SecurityAdministrator)
	ada, both, keller := g.signIn("ada"), g.signIn("both"), g.signIn("Keller")
	mine := ledger.DirectoryRole(capability.SecurityAdministrator)
	put := func(value, current string) string {
		return fmt.Sprintf(`{"name":%q,"value":%q,"current":%q}`, mine, value, current)
	}
	for _, token := range []string{ada, both} {
		g.no(token, "POST policies", fmt.Sprintf(`{"name":%q,"value":"cn=all"}`, mine), capability.ErrApplianceRole)
	}
	g.no(ada, "PUT directory", put("cn=all", passwordOf("ada")), capability.ErrApplianceRole)
	g.no(keller, "PUT directory", put("cn=all", ""), capability.ErrForm)
	g.no(keller, "PUT directory", put("cn=all", "wrong"), capability.ErrApplianceSignIn)
	g.no(keller, "PUT directory", fmt.Sprintf(`{"name":"borrow-maximum","value":"60","current":%q}`, passwordOf("keller")), capability.ErrNotFound)
	g.no(keller, "PUT directory", put(";", passwordOf("keller")), capability.ErrForm)
	if s := read[DirectoryState](t, g.must(keller, "PUT directory", put("cn=all", passwordOf("keller")))); s.URL != "ldaps://dc.example.org" {
		t.Errorf("%+v", s)
	}
	// A guest who admits shows who he is by the password that his directory knows.
	k.knows("chen", "cn=all")
	chen := g.guest("chen")
	g.no(chen, "PUT directory", put("cn=plant", passwordOf("keller")), capability.ErrApplianceSignIn)
	k.knows("li", "cn=all")
	k.will(func(_ *DirectoryQuestion, a *DirectoryAnswer) {
		a.Person = &Person{"uid=li", "chen", []string{"cn=all"}}
	})
	g.no(chen, "PUT directory", put("cn=plant", passwordOf("chen")), capability.ErrApplianceSignIn)
	k.will(nil)
	g.must(chen, "PUT directory", put("cn=plant", passwordOf("chen")))
	g.no(chen, "PUT directory", put("cn=all", passwordOf("chen")), capability.ErrApplianceRole) // he has taken it from himself

	// A configuration that is brought in changes them only for who admits; else all but them.
	conf := fmt.Sprintf(`{"settings":[{"name":"borrow-maximum","value":"60"},{"name":%q,"value":"cn=licenses"}]}`, mine)
	if c := read[Configured](t, g.must(ada, "PUT configuration", conf)); len(c.Refused) != 1 || c.Refused[0].Subject != mine || len(c.Changed) != 1 {
		t.Errorf("%+v", c)
	}
	conf = strings.Replace(conf, "cn=licenses", "cn=plant", 1)
	if c := read[Configured](t, g.must(ada, "PUT configuration", conf)); len(c.Refused) != 0 {
		t.Errorf("%+v", c)
	}
	call := serve(t, g.c)
	if status, p, body := call("POST", Base+"policies", fmt.Sprintf(`{"name":%q,"value":"cn=root"}`, mine)); status != http.StatusOK {
		t.Errorf("%d %+v %s", status, p, body)
	}
}

// Nobody waits longer than the patience, and no more than so many at a time; a program that goes away is noticed.
func TestDirectoryPatience(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		p.c.Directory = NewDirectory(p.c.Appliance)
		defer p.c.Directory.Stop()
		h := p.c.Directory.Handler(p.c)
		d := p.c.Directory
		refused := func(err error, says string) {
			t.Helper()
			if pr := ProblemOf(err); pr.Code != capability.ErrDirectory || !strings.Contains(pr.Text, says) {
				t.Errorf("%+v, want %s", pr, says)
			}
		}
		_, err := d.ask(t.Context(), "192.0.2.1", DirectoryQuestion{})
		refused(err, "does not run")

		// It asks, and hears nothing: nobody signs in.
		var q DirectoryQuestion
		begin := time.Now()
		if ask(t, h, "POST", "directory/next", nil, &q); q.Number != 0 || time.Since(begin) != pollPatience || !d.running() {
			t.Errorf("%+v after %s", q, time.Since(begin))
		}
		// It runs still, for a while, and takes no question.
		begin = time.Now()
		_, err = d.ask(t.Context(), "192.0.2.1", DirectoryQuestion{})
		if refused(err, ""); time.Since(begin) != directoryPatience || d.fault() == nil {
			t.Errorf("after %s", time.Since(begin))
		}
		<-time.After(directorySilence)
		if d.running() {
			t.Error("a program that is gone runs")
		}
		// It takes questions and answers none; those are forgotten with whoever asked. One address takes up its own places, and no more.
		var all sync.WaitGroup
		for range directoryCrowd {
			all.Go(func() { ask(t, h, "POST", "directory/next", nil, new(DirectoryQuestion)) })
		}
		synctest.Wait()
		d.reached()
		leave, left := context.WithCancel(t.Context())
		for n := range directoryCrowd {
			from, ctx := fmt.Sprintf("198.51.100.%d", n/directoryOfOne), t.Context()
			if n == 0 {
				ctx = leave
			}
			all.Go(func() {
				_, err := d.ask(ctx, from, DirectoryQuestion{URL: "ldaps://x"})
				refused(err, "")
			})
			synctest.Wait()
			if n == directoryOfOne-1 {
				_, err = d.ask(t.Context(), from, DirectoryQuestion{})
				refused(err, "too many")
			}
		}
		_, err = d.ask(t.Context(), "192.0.2.1", DirectoryQuestion{})
		refused(err, "too many")
		left()
		synctest.Wait()
		if d.fault() != nil {
			t.Error("somebody hangs up, and the directory is at fault")
		}
		if !d.crowd.Take("198.51.100.0", 1) || d.crowd.Take("198.51.100.0", 1) {
			t.Error("who hung up has left no place, or more than one")
		}
		d.crowd.Give("198.51.100.0", 1)
		all.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.out) != 0 || !d.crowd.Take("192.0.2.1", directoryOfOne) || d.number != directoryCrowd || d.last == nil {
			t.Errorf("%d questions are out of %d, fault %+v", len(d.out), d.number, d.last)
		}
	})
}

// There is room for so many guests, and for those who came last.
func TestManyGuests(t *testing.T) {
	var g guests
	at := noon()
	first := g.begin("u", &Person{"0", "n", nil}, at)
	for n := 1; n <= maxGuests; n++ {
		g.begin("u", &Person{fmt.Sprint(n), "n", nil}, at.Add(time.Duration(n)*time.Millisecond))
	}
	if _, ok := g.whose(first.name, first.since); ok || len(g.of) != maxGuests {
		t.Errorf("%d guests, and the first is among them: %v", len(g.of), ok)
	}
	again := g.begin("u", &Person{"9", "n", nil}, at.Add(guestLife+time.Hour))
	if one, ok := g.whose(again.name, again.since); !ok || one.name != "n" || len(g.of) != maxGuests {
		t.Error("who is here takes no room of others")
	}
	g.begin("u", &Person{"new", "n", nil}, at.Add(guestLife+2*time.Hour))
	if len(g.of) != 2 {
		t.Errorf("%d guests where the sessions of all but two are over", len(g.of))
	}
}
