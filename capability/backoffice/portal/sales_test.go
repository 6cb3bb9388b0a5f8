package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

const evil = `<script>alert(1)</script>"'&`

// stock is a book with something of two accounts that have nothing to do with each other, and of a part of the first one.
type stock struct {
	*world
	own, part, other capability.ActivationID // floating, used offline
	fixed, pooled    capability.ActivationID // of the first account: seats of users, and floating used online
	foreign          capability.ActivationID // seats of users of the other account
}

func newStock(t *testing.T) *stock {
	t.Helper()
	s := &stock{world: newWorld(t)}
	s.do(
		entitlement.SetAccount{Account: entitlement.Account{Name: "Acme", Contact: "licenses@acme.example"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "Acme Lyon", Parent: "Acme"}, By: "test"},
		entitlement.SetAccount{Account: entitlement.Account{Name: "Bolt"}, By: "test"},
		entitlement.SetModel{Model: entitlement.LicenseModel{Name: "Seats", Kind: entitlement.FixedUser, State: entitlement.ModelDeployed}, By: "test"},
		entitlement.SetProduct{Product: entitlement.Product{Name: "Render", Version: capability.Version{Major: 2026}, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, By: "test"},
	)
	item := func(customer, model string, mode entitlement.Mode) (id capability.ActivationID) {
		t.Helper()
		err := s.desk.Ask(func(o *backoffice.Office) error {
			v, err := o.Entitle(entitlement.Item{Customer: customer, Product: "Render", ProductVersion: capability.Version{Major: 2026}, Copies: 3, Model: model, Mode: mode}, "test", capability.At(s.now()))
			id = v.ActivationID
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	s.own, s.part, s.other = item("Acme", "", 0), item("Acme Lyon", "", 0), item("Bolt", "", 0)
	s.fixed, s.pooled, s.foreign = item("Acme", "Seats", 0), item("Acme", "", entitlement.Online), item("Bolt", "Seats", 0)
	s.do(entitlement.AddUser{ID: entitlement.UserID{Account: "Acme", Name: "a.larsen@acme.example"}, By: "test"}, entitlement.AddUser{ID: entitlement.UserID{Account: "Bolt", Name: "b.moss@bolt.example"}, By: "test"})
	return s
}

// view is a line item as it is now.
func (s *stock) view(id capability.ActivationID) (v entitlement.ItemView) {
	s.t.Helper()
	if err := s.desk.Ask(func(o *backoffice.Office) error { v, _ = o.Book().Item(id, capability.At(s.now())); return nil }); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *stock) entries() (n uint64) {
	s.t.Helper()
	if err := s.desk.Ask(func(o *backoffice.Office) error { _, n = o.Book().Head(); return nil }); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// fill sends the form of a page, with the field by which it counts once.
func (b *browser) fill(page, path string, pairs ...string) answer {
	b.w.t.Helper()
	a := b.get(page)
	if a.once() == "" {
		b.w.t.Fatalf("%s has no form: %v", page, a)
	}
	return b.post(path, append(pairs, "once", a.once())...)
}

func itemPath(id capability.ActivationID, rest ...string) string {
	return "/items/" + string(id) + strings.Join(rest, "")
}

var listed = regexp.MustCompile(`href="/items/([0-9A-Z-]+)"`)

// items are those that a list has, in order.
func (a answer) items() string {
	var list []string
	for _, m := range listed.FindAllStringSubmatch(a.body, -1) {
		list = append(list, m[1])
	}
	return strings.Join(list, " ")
}

// A list has the newest first, what is searched, and of a customer what is the account's and what is below it.
func TestItemLists(t *testing.T) {
	s := newStock(t)
	staff, acme, lyon := s.signedIn("keller", "", capability.Viewer), s.signedIn("larsen", "Acme", capability.Viewer), s.signedIn("lemaire", "Acme Lyon", capability.Viewer)
	ids := func(list ...capability.ActivationID) string {
		var texts []string
		for _, id := range list {
			texts = append(texts, string(id))
		}
		return strings.Join(texts, " ")
	}
	for _, c := range []struct {
		name string
		b    *browser
		path string
		want string
	}{
		{"all", staff, "/items", ids(s.foreign, s.pooled, s.fixed, s.other, s.part, s.own)},
		{"by the account", staff, "/items?account=Acme", ids(s.pooled, s.fixed, s.part, s.own)},
		{"by text in any case", staff, "/items?q=bOLt", ids(s.foreign, s.other)},
		{"by activation ID", staff, "/items?q=" + string(s.part), ids(s.part)},
		{"by state", staff, "/items?state=expired", ""},
		{"after one", staff, "/items?after=" + string(s.fixed), ids(s.other, s.part, s.own)},
		{"of a customer", acme, "/items", ids(s.pooled, s.fixed, s.part, s.own)},
		{"of a customer, another's text", acme, "/items?q=bolt", ""},
		{"of a customer after another's, as after none", acme, "/items?after=" + string(s.other), ids(s.pooled, s.fixed, s.part, s.own)},
		{"of a part", lyon, "/items", ids(s.part)},
	} {
		if a := c.b.get(c.path); a.status != http.StatusOK || a.items() != c.want {
			t.Errorf("%s: %d %q, want %q", c.name, a.status, a.items(), c.want)
		}
	}
	if a := acme.get("/items?account=Bolt"); a.status != http.StatusNotFound {
		t.Error(a)
	}
}

// What is another's has the very same answer as what is not there, whatever is asked of it, and changes nothing.
func TestForeignItemsAndUsers(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("larsen", "Acme", capability.LicenseAdministrator, capability.SecurityAdministrator, capability.Auditor)
	none, err := capability.NewActivationID(strings.NewReader(strings.Repeat("x", 64)))
	if err != nil {
		t.Fatal(err)
	}
	before := s.entries()
	same := func(what string, theirs, nobodys answer, swap ...string) {
		t.Helper()
		blank := strings.NewReplacer(swap...)
		strip := func(a answer) string { return onceField.ReplaceAllString(blank.Replace(a.body), "") }
		if theirs.status != http.StatusNotFound || theirs.status != nobodys.status || strip(theirs) != strip(nobodys) {
			t.Errorf("%s: what is another's: %v\nwhat is not there: %v", what, theirs, nobodys)
		}
	}
	for _, path := range []string{"", "/slip"} {
		same(path, b.get(itemPath(s.foreign, path)), b.get(itemPath(none, path)), string(s.foreign), "X", string(none), "X")
	}
	for _, c := range []struct {
		verb  string
		pairs []string
	}{
		{"assign", []string{"user", "a.larsen@acme.example"}}, {"unassign", []string{"user", "b.moss@bolt.example"}}, {"withdraw", []string{"user", "b.moss@bolt.example"}},
		{"pool", []string{"user", "a.larsen@acme.example", "do", "add"}}, {"convert", []string{"to", "offline", "sure", "yes"}}, {"retire", []string{"sure", "yes"}},
	} {
		same(c.verb, b.post(itemPath(s.foreign, "/", c.verb), c.pairs...), b.post(itemPath(none, "/", c.verb), c.pairs...), string(s.foreign), "X", string(none), "X")
	}
	same("group of an item", b.post("/groups", "group", "g", "item", string(s.foreign), "do", "add"), b.post("/groups", "group", "g", "item", string(none), "do", "add"), string(s.foreign), "X", string(none), "X")
	moss, nobody := "b.moss@bolt.example", "n.body@bolt.example"
	user := func(name string) string { return "/user?" + url.Values{"account": {"Bolt"}, "name": {name}}.Encode() }
	same("user", b.get(user(moss)), b.get(user(nobody)), moss, "X", nobody, "X", url.QueryEscape(moss), "X", url.QueryEscape(nobody), "X")
	for _, do := range []string{"disable", "code", "remove", "service"} {
		same(do, b.post("/user", "account", "Bolt", "user", moss, "do", do), b.post("/user", "account", "Bolt", "user", nobody, "do", do), moss, "X", nobody, "X")
	}
	same("group of a user", b.post("/groups", "group", "g", "account", "Bolt", "user", moss, "do", "add"), b.post("/groups", "group", "g", "account", "Bolt", "user", nobody, "do", "add"), moss, "X", nobody, "X")
	same("a new user", b.post("/users", "account", "Bolt", "user", "x"), b.post("/users", "account", "Nobody", "user", "x"), "Bolt", "X", "Nobody", "X")
	same("a seat for a user of another account", b.post(itemPath(s.fixed, "/assign"), "account", "Bolt", "user", moss), b.post(itemPath(s.fixed, "/assign"), "account", "Nobody", "user", moss), "Bolt", "X", "Nobody", "X")
	for _, list := range []string{"/users", "/groups", "/sessions", "/items"} {
		if a := b.get(list); a.status != http.StatusOK || strings.Contains(a.body, "olt") {
			t.Errorf("%s: %v", list, a)
		}
	}
	if n := s.entries(); n != before {
		t.Errorf("%d entries were written", n-before)
	}
}

// Each verb does what it says, once however often its form is sent, in the name of who sent it.
func TestItemLife(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("keller", "", capability.LicenseAdministrator)
	page := itemPath(s.own)
	steps := []struct {
		verb  string
		pairs []string
		holds func(v entitlement.ItemView) bool
	}{
		{"suspend", []string{"reason", evil}, func(v entitlement.ItemView) bool { return v.State == entitlement.Suspended && v.Life.Reason == evil }},
		{"resume", nil, func(v entitlement.ItemView) bool { return v.State == entitlement.Available }},
		{"quantity", []string{"copies", "7"}, func(v entitlement.ItemView) bool { return v.Copies == 7 }},
		{"split", []string{"copies", "2"}, func(v entitlement.ItemView) bool { return v.Copies == 5 }},
		{"merge", []string{"into", string(s.part)}, func(v entitlement.ItemView) bool { return v.Copies == 5 }}, // refused: of another account
		{"retire", []string{"sure", "yes"}, func(v entitlement.ItemView) bool { return v.State == entitlement.Inactive }},
		{"archive", nil, func(v entitlement.ItemView) bool { return v.State == entitlement.Obsolete }},
	}
	for _, c := range steps {
		shown := b.get(page)
		if shown.status != http.StatusOK || strings.Contains(shown.body, "<script>alert") {
			t.Fatalf("before %s: %v", c.verb, shown)
		}
		form := append([]string{"once", shown.once()}, c.pairs...)
		first := b.post(page+"/"+c.verb, form...)
		if want := map[bool]int{true: http.StatusConflict, false: http.StatusSeeOther}[c.verb == "merge"]; first.status != want {
			t.Errorf("%s: %v", c.verb, first)
		}
		entries := s.entries()
		again := b.post(page+"/"+c.verb, form...)
		if again.status != first.status || again.location != first.location {
			t.Errorf("%s sent twice: %d %s, then %d %s", c.verb, first.status, first.location, again.status, again.location)
		}
		if n := s.entries(); n != entries {
			t.Errorf("%s sent twice wrote %d entries more", c.verb, n-entries)
		}
		if v := s.view(s.own); !c.holds(v) {
			t.Errorf("after %s: %+v", c.verb, v)
		}
	}
	err := s.desk.Ask(func(o *backoffice.Office) error {
		return o.History(1, func(n uint64, e *entitlement.Entry) error {
			if e.Change != nil && e.By != "keller" || e.Retire != nil && e.By != "keller" {
				t.Errorf("entry %d is by %q", n, e.By)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A form that says something else under the key of one that was sent is refused.
func TestOnceIsOfOneForm(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("keller", "", capability.LicenseAdministrator)
	key := b.get(itemPath(s.own)).once()
	if a := b.post(itemPath(s.own, "/quantity"), "copies", "7", "once", key); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	if a := b.post(itemPath(s.own, "/quantity"), "copies", "8", "once", key); a.status != http.StatusConflict {
		t.Error(a)
	}
	if a := b.post(itemPath(s.part, "/quantity"), "copies", "7", "once", key); a.status != http.StatusConflict {
		t.Error(a)
	}
	if v := s.view(s.own); v.Copies != 7 {
		t.Errorf("%d copies", v.Copies)
	}
}

// A refused form is there again, with the reason above it and what was typed still in it.
func TestRefusedFormsAreThereAgain(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("keller", "", capability.LicenseAdministrator)
	for _, c := range []struct {
		name, path string
		pairs      []string
		status     int
		has        []string
	}{
		{"no number", itemPath(s.own, "/quantity"), []string{"copies", "many"}, http.StatusBadRequest, []string{`value="many"`, "LH-6010"}},
		{"more than are left", itemPath(s.own, "/split"), []string{"copies", "3"}, http.StatusBadRequest, []string{`value="3"`}},
		{"no date", itemPath(s.own, "/renew"), []string{"expires", "soon"}, http.StatusBadRequest, []string{"LH-6010"}},
		{"no reason why", itemPath(s.own, "/resume"), nil, http.StatusConflict, []string{"not suspended"}},
		{"no word of it", itemPath(s.own, "/retire"), nil, http.StatusBadRequest, []string{"sure"}},
		{"no copies", "/items/new", []string{"customer", evil, "product", "Render", "product_version", "2026"}, http.StatusBadRequest, []string{"copies", `&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;`, `value="2026"`}},
		{"expired", "/items/new", []string{"customer", "Acme", "product", "Render", "product_version", "2026", "copies", "1", "expires", "2001-01-01"}, http.StatusBadRequest, []string{`value="2001-01-01"`}},
		{"a mode that is none", "/items/new", []string{"customer", "Acme", "product", "Render", "product_version", "2026", "copies", "1", "mode", "sideways"}, http.StatusBadRequest, []string{"mode"}},
		{"there already", "/users", []string{"account", "Acme", "user", "A.Larsen@acme.example"}, http.StatusBadRequest, []string{"A.Larsen@acme.example", "already"}},
		{"nobody", "/users", []string{"account", "Acme", "user", ""}, http.StatusBadRequest, []string{`value="Acme"`}},
		{"not in there", "/groups", []string{"group", evil, "item", string(s.own), "do", "remove"}, http.StatusBadRequest, []string{"not in there", "&lt;script&gt;"}},
		{"used offline", itemPath(s.own, "/pool"), []string{"do", "open"}, http.StatusConflict, []string{"used offline"}},
		{"a verb that is none", itemPath(s.pooled, "/pool"), []string{"do", "dance"}, http.StatusBadRequest, []string{"dance"}},
	} {
		before := s.entries()
		a := b.post(c.path, c.pairs...)
		if a.status != c.status || strings.Contains(a.body, "<script>alert") || !strings.Contains(a.body, `role="alert"`) || a.once() == "" {
			t.Errorf("%s: %v", c.name, a)
		}
		for _, want := range c.has {
			if !strings.Contains(a.body, want) {
				t.Errorf("%s: %q is not there: %v", c.name, want, a)
			}
		}
		if s.entries() != before {
			t.Errorf("%s: something was written", c.name)
		}
	}
}

// What a form for a new line item says is in the book, HTML in every name included, and shown as it is.
func TestNewItem(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("keller", "", capability.LicenseAdministrator)
	form := []string{"customer", evil, "product", evil, "product_version", "3.1", "copies", "4", "expires", "2099-12-31", "features", "render:2026.1=5\r\nexport\n", "vendor_string", evil, "minimum_tier", "software", "limits", "virtual:2:30d", "draft", "yes", "entitlement", evil}
	a := b.fill("/items/new", "/items/new", form...)
	if a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	id, err := capability.ParseActivationID(strings.TrimPrefix(a.location, "/items/"))
	if err != nil {
		t.Fatal(err)
	}
	v := s.view(id)
	if v.Customer != evil || v.Copies != 4 || len(v.Features) != 2 || v.Features[0].PerCopy != 5 || v.State != entitlement.Draft || v.MinimumTier != entitlement.Software || len(v.Limits) != 1 || v.Marks.VendorString != evil ||
		v.Expiry.String() != "2099-12-31T23:59:59Z" {
		t.Errorf("%+v", v)
	}
	for _, path := range []string{"/items", a.location, a.location + "/slip", "/items?q=" + url.QueryEscape(evil)} {
		if p := b.get(path); p.status != http.StatusOK || strings.Contains(p.body, "<script>alert") || !strings.Contains(p.body, string(id)) {
			t.Errorf("%s: %v", path, p)
		}
	}
}

// Users are added, given codes that are shown once, changed and removed.
func TestUsers(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("larsen", "Acme", capability.Operator)
	name := evil
	shown := b.get("/users")
	form := []string{"once", shown.once(), "account", "Acme Lyon", "user", name, "slip", "yes"}
	if a := b.post("/users", form...); a.status != http.StatusSeeOther || a.location != "/user/slip" {
		t.Fatal(a)
	}
	slip := b.get("/user/slip")
	code := regexp.MustCompile(`[0-9A-Z]{4}(-[0-9A-Z]{4}){3}`).FindString(slip.body)
	if slip.status != http.StatusOK || code == "" || strings.Contains(slip.body, "<script>alert") {
		t.Fatal(slip)
	}
	if a := b.get("/user/slip"); a.status != http.StatusNotFound || strings.Contains(a.body, code) {
		t.Errorf("shown twice: %v", a)
	}
	// The same form again draws a code that is nobody's, and does not show it.
	if a := b.post("/users", form...); a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "/user?") {
		t.Errorf("sent twice: %v", a)
	}
	id := entitlement.UserID{Account: "Acme Lyon", Name: name}
	page := web.PathTo("/user", "account", id.Account, "name", id.Name)
	change := func(do string, want int) {
		t.Helper()
		if a := b.fill(page, "/user", "account", id.Account, "user", id.Name, "do", do); a.status != want {
			t.Errorf("%s: %v", do, a)
		}
	}
	user := func() (u entitlement.User, ok bool) {
		if err := s.desk.Ask(func(o *backoffice.Office) error { u, ok = o.Book().User(id); return nil }); err != nil {
			t.Fatal(err)
		}
		return u, ok
	}
	s.do(entitlement.UseCode{ID: id, Code: code, By: "test"})
	for _, c := range []struct {
		do    string
		holds func(entitlement.User) bool
	}{
		{"disable", func(u entitlement.User) bool { return u.Disabled }}, {"enable", func(u entitlement.User) bool { return !u.Disabled }},
		{"service", func(u entitlement.User) bool { return u.Service }}, {"person", func(u entitlement.User) bool { return !u.Service }},
		{"code", func(u entitlement.User) bool { return u.Code != capability.Digest{} }},
	} {
		change(c.do, http.StatusSeeOther)
		if u, _ := user(); !c.holds(u) {
			t.Errorf("after %s: %+v", c.do, u)
		}
	}
	change("dance", http.StatusBadRequest)
	again := []string{"once", b.get(page).once(), "account", id.Account, "user", id.Name, "do", "code"}
	if first, second := b.post("/user", again...), b.post("/user", again...); first.location != "/user/slip" || second.location == "/user/slip" {
		t.Errorf("a new code, sent twice: %v, then %v", first, second)
	}
	if a := b.fill(page, "/groups", "account", id.Account, "user", id.Name, "group", "Design", "do", "add"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := b.get("/group?name=Design"); a.status != http.StatusOK || !strings.Contains(a.body, "&lt;script&gt;") {
		t.Error(a)
	}
	if a := s.signedIn("moss", "Bolt", capability.Operator).get("/group?name=Design"); a.status != http.StatusNotFound {
		t.Error(a)
	}
	change("remove", http.StatusSeeOther)
	if _, ok := user(); ok {
		t.Error("it is still there")
	}
}

// Seats are assigned and freed, pools opened and closed, and what is in the way of a conversion is said.
func TestSeats(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("larsen", "Acme", capability.LicenseAdministrator)
	post := func(id capability.ActivationID, verb string, want int, pairs ...string) answer {
		t.Helper()
		a := b.fill(itemPath(id), itemPath(id, "/", verb), pairs...)
		if a.status != want {
			t.Errorf("%s: %v", verb, a)
		}
		return a
	}
	post(s.fixed, "assign", http.StatusSeeOther, "user", "A.LARSEN@acme.example")
	if a := post(s.fixed, "assign", http.StatusSeeOther, "user", "new@acme.example", "slip", "yes"); a.location != "/user/slip" {
		t.Error(a)
	}
	if a := b.get(itemPath(s.fixed)); !strings.Contains(a.body, "a.larsen@acme.example") || !strings.Contains(a.body, "new@acme.example") || s.view(s.fixed).Left != 1 {
		t.Errorf("%d left: %v", s.view(s.fixed).Left, a)
	}
	if a := post(s.fixed, "convert", http.StatusConflict, "to", "offline", "sure", "yes"); !strings.Contains(a.body, "a.larsen@acme.example") {
		t.Errorf("nobody is named: %v", a)
	}
	post(s.fixed, "convert", http.StatusBadRequest, "to", "offline")
	for _, user := range []string{"a.larsen@acme.example", "new@acme.example"} {
		post(s.fixed, "unassign", http.StatusSeeOther, "user", user, "account", "Acme")
	}
	post(s.fixed, "unassign", http.StatusNotFound, "user", "a.larsen@acme.example")
	post(s.fixed, "convert", http.StatusSeeOther, "to", "offline", "sure", "yes")
	post(s.fixed, "convert", http.StatusSeeOther, "to", "online", "sure", "yes")
	post(s.pooled, "pool", http.StatusSeeOther, "do", "open")
	post(s.pooled, "pool", http.StatusSeeOther, "do", "close")
	post(s.pooled, "pool", http.StatusSeeOther, "do", "add", "user", "a.larsen@acme.example")
	var session *entitlement.Granted
	err := s.desk.Ask(func(o *backoffice.Office) (err error) {
		session, err = o.TakeSession(entitlement.TakeSession{ActivationID: s.pooled, User: entitlement.UserID{Account: "Acme", Name: "a.larsen@acme.example"}, Device: capability.Digest{1}, Machine: evil, By: "test"}, capability.At(s.now()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	id := session.Session.ID.String()
	if a := s.signedIn("moss", "Bolt", capability.Operator).post("/sessions", "session", id); a.status != http.StatusNotFound {
		t.Errorf("another account ends a session: %v", a)
	}
	if a := b.get("/sessions"); !strings.Contains(a.body, id) || strings.Contains(a.body, "<script>alert") {
		t.Error(a)
	}
	if a := b.fill("/sessions", "/sessions", "session", id); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := b.get("/sessions"); !strings.Contains(a.body, "disconnected") || strings.Contains(a.body, `value="`+id) {
		t.Error(a)
	}
	post(s.pooled, "pool", http.StatusSeeOther, "do", "remove", "user", "a.larsen@acme.example")
}
