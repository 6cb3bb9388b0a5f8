package portal

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// sendFiles sends a form with files.
func (b *browser) sendFiles(path string, files []sent, pairs ...string) answer {
	b.w.t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := m.WriteField(pairs[i], pairs[i+1]); err != nil {
			b.w.t.Fatal(err)
		}
	}
	for _, f := range files {
		w, err := m.CreateFormFile("file", f.name)
		if err == nil {
			_, err = w.Write(f.content)
		}
		if err != nil {
			b.w.t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		b.w.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+path, &body)
	if err == nil {
		r.Header.Set("Content-Type", m.FormDataContentType())
	}
	return b.send(r, err)
}

// What the forms of the catalog say is in the book with every attribute, and comes back into the form to be changed.
func TestCatalogForms(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.LicenseAdministrator)
	post := func(path string, want int, pairs ...string) answer {
		t.Helper()
		a := b.fill(path, path, pairs...)
		if a.status != want || strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s: %v", path, a)
		}
		return a
	}
	post("/accounts/edit", 303, "name", "Acme", "contact", evil, "keeps_online", "yes")
	post("/accounts/edit", 303, "name", evil, "parent", "Acme")
	post("/accounts/edit", 400, "name", "Acme", "parent", evil)
	post("/accounts/edit", 400, "name", "")
	post("/products/edit", 303, "name", "Render", "version", "2026", "features", "render:2026.1=2\nodd%3Bname\r\n")
	post("/products/edit", 303, "name", "Suite", "parts", "Render:2026=3")
	post("/products/edit", 400, "name", "Suite", "parts", "Suite")
	post("/products/edit", 400, "name", "Render", "version", "newest")
	model := []string{"name", "Team", "kind", "fixed-user", "grace_days", "14", "borrow", "72h", "renew", "50", "tolerance", "24h", "no_virtual", "yes", "host_types", "TPM_EK\nETHERNET",
		"minimum_tier", "virtual", "no_partial", "yes", "aggregation", "max", "no_credit", "yes", "limits", "return:4:365d\nrehost:2"}
	post("/models/edit", 303, model...)
	post("/models/edit", 303, "name", "Over", "kind", "floating", "overdraft", "10")
	post("/models/edit", 303, "name", "Pay", "kind", "floating", "metered", "yes", "reusable", "yes", "undo", "10m")
	post("/models/edit", 400, "name", "Other", "overdraft", "1000")
	err := w.desk.Ask(func(o *backoffice.Office) error {
		m, _ := o.Book().Model("Team")
		if m.Kind != entitlement.FixedUser || m.GraceDays != 14 || m.Borrow != 72*3600 || m.Renew != 50 || m.Tolerance != 24*3600 || !m.NoVirtual ||
			len(m.HostTypes) != 2 || m.MinimumTier != entitlement.Virtual || !m.NoPartial || m.Aggregation != entitlement.Max || !m.NoCredit || len(m.Limits) != 2 {
			t.Errorf("%+v", m)
		}
		if m, _ := o.Book().Model("Over"); m.Overdraft != 10 {
			t.Errorf("%+v", m)
		}
		if m, _ := o.Book().Model("Pay"); !m.Metered || !m.Reusable || m.UndoInterval != 600 {
			t.Errorf("%+v", m)
		}
		if a := o.Book().Account("Acme"); a.Contact != evil || !a.KeepsOnline {
			t.Errorf("%+v", a)
		}
		if f, _ := o.Book().FeaturesOf("Suite", capability.Version{}); len(f) != 2 || f[0].PerCopy != 6 || f[1].Name != "odd;name" {
			t.Errorf("%+v", f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// What comes back into the form, sent as it is, changes nothing.
	a := b.get("/models/edit?name=Team")
	for _, want := range []string{`value="72h0m0s"`, "TPM_EK\nETHERNET", "return:4:365d\nrehost:2", "readonly"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%q is not in the form: %v", want, a)
		}
	}
	for _, path := range []string{"/accounts", "/account?name=Acme", "/account?name=" + url.QueryEscape(evil), "/products", "/products/edit?name=Render&version=2026.0", "/models", "/model?name=Team", "/items/new?account=" + url.QueryEscape(evil)} {
		if a := b.get(path); a.status != http.StatusOK || strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s: %v", path, a)
		}
	}
	move := func(state string, want int) {
		t.Helper()
		if a := b.fill("/model?name=Team", "/model", "name", "Team", "state", state); a.status != want {
			t.Errorf("to %s: %v", state, a)
		}
	}
	move("inactive", 400)
	move("deployed", 303)
	post("/models/edit", 400, "name", "Team", "kind", "floating")
	move("draft", 400)
	move("inactive", 303)
	move("obsolete", 303)
}

// Lists that are whole in memory are shown a page at a time, and end.
func TestPagesOfTheCatalog(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.Viewer)
	for n := range 2*pageRows + 1 {
		w.do(entitlement.SetModel{Model: entitlement.LicenseModel{Name: fmt.Sprintf("model %d.", n)}, By: "test"})
	}
	for path, want := range map[string]int{"/models": pageRows, "/models?from=50": pageRows, "/models?from=100": 1, "/models?from=9999": 0, "/models?from=-7": pageRows, "/models?from=x": pageRows} {
		a := b.get(path)
		if rows := strings.Count(a.body, `href="/model?name=`); a.status != http.StatusOK || rows != want {
			t.Errorf("%s: %d rows, want %d", path, rows, want)
		}
		if more := strings.Contains(a.body, "Next page"); more != (want == pageRows) {
			t.Errorf("%s: there is a next page: %t", path, more)
		}
	}
}

// A customer sees of the accounts its own and what is below it, and not what it is a part of.
func TestAccountsOfACustomer(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("lemaire", "Acme Lyon", capability.Viewer)
	for path, want := range map[string]int{"/account?name=Acme+Lyon": 200, "/account?name=Acme": 404, "/account?name=Bolt": 404, "/account?name=": 404, "/accounts": 200, "/export/accounts.csv": 404, "/export/entitlements.csv": 200} {
		a := b.get(path)
		if a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
		if want == 200 && (strings.Contains(strings.NewReplacer("Acme Lyon", "", "Acme&#43;Lyon", "", "Acme+Lyon", "").Replace(a.body), "Acme") || strings.Contains(a.body, "Bolt")) {
			t.Errorf("%s: %v", path, a)
		}
	}
}

// A table is imported as a whole or not at all, once however often the form is sent; a wrong row is named.
func TestImport(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.LicenseAdministrator)
	const head = "key,customer,product,features,copies\n"
	rows := head
	for n := range 500 {
		rows += "order-" + string(rune('a'+n%26)) + strings.Repeat("x", n/26) + ",Acme," + `"=cmd()"` + ",render,2\n"
	}
	count := func() (n int) {
		if err := w.desk.Ask(func(o *backoffice.Office) error { n, _ = o.Book().Size(); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		name   string
		files  []sent
		status int
		has    string
	}{
		{"a wrong row", []sent{{"items.csv", []byte(rows + "last,Acme,Render,render,many\n")}}, 400, "line 502, column copies"},
		{"no table", []sent{{"../../etc/passwd", []byte("root:x:0:0\n")}}, 400, "no table has the columns"},
		{"an archive", []sent{{"items.zip", []byte("PK\x03\x04")}}, 400, "line 1"},
		{"nothing", nil, 400, "0 files"},
		{"two", []sent{{"a.csv", []byte(rows)}, {"b.csv", []byte(rows)}}, 400, "2 files"},
		{"more than a megabyte", []sent{{"items.csv", bytes.Repeat([]byte("x"), capability.MaxFile+1)}}, 400, "bytes"},
		{"HTML in its name", []sent{{evil, []byte("x")}}, 400, "script&gt;"},
	} {
		a := b.sendFiles("/import", c.files, "once", b.get("/import").once())
		if a.status != c.status || !strings.Contains(a.body, c.has) || strings.Contains(a.body, "<script>alert") || count() != 0 {
			t.Errorf("%s: %d line items, %v", c.name, count(), a)
		}
	}
	key := b.get("/import").once()
	for range 2 {
		if a := b.sendFiles("/import", []sent{{"items.csv", []byte(rows)}}, "once", key); a.status != http.StatusSeeOther || a.location != "/items" {
			t.Error(a)
		}
	}
	if a := b.sendFiles("/import", []sent{{"items.csv", []byte(head + "other,Acme,Render,render,2\n")}}, "once", key); a.status != http.StatusConflict {
		t.Errorf("another file under the key of the first: %v", a)
	}
	if n := count(); n != 500 {
		t.Errorf("%d line items", n)
	}
	a := b.get("/export/entitlements.csv")
	if a.status != http.StatusOK || strings.Count(a.body, "\n") != 501 || !strings.Contains(a.body, "'=cmd()") || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %.300s", a.status, a.body)
	}
	if a := b.sendFiles("/import", []sent{{"items.csv", []byte(a.body)}}, "once", b.get("/import").once()); a.status != http.StatusSeeOther || count() != 500 {
		t.Error(a)
	}
	if a := b.get("/export/passwords.csv"); a.status != http.StatusNotFound {
		t.Error(a)
	}
}
