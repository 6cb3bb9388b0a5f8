package portal

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

var (
	entryLink      = regexp.MustCompile(`href="/audit/([0-9]+)"`)
	nextLink       = regexp.MustCompile(`<a href="([^"]+)">Next page</a>`)
	withdrawButton = regexp.MustCompile(`name="withdraw" value="([0-9a-f]+)"`)
)

// A report is the same as a page, as CSV and as JSON, draws what it says, and has of a customer's login what is within its account.
func TestReports(t *testing.T) {
	s := newStock(t)
	soon := capability.At(s.now()).Add(40 * dayLong)
	err := s.desk.Ask(func(o *backoffice.Office) error {
		for _, customer := range []string{"Acme", "Bolt"} {
			if _, err := o.Entitle(entitlement.Item{Customer: customer, Product: "=" + evil, Copies: 7, Expiry: soon, Features: []entitlement.Feature{{Name: "f", PerCopy: 1}}}, "test", capability.At(s.now())); err != nil {
				return err
			}
		}
		return o.Do(entitlement.AssignSeat{ActivationID: s.fixed, User: entitlement.UserID{Account: "Acme", Name: "a.larsen@acme.example"}, By: "test"}, capability.At(s.now()))
	})
	if err != nil {
		t.Fatal(err)
	}
	staff, acme := s.signedIn("keller", "", capability.Viewer), s.signedIn("larsen", "Acme", capability.Viewer)
	for _, c := range []struct {
		name  string
		b     *browser
		path  string
		query string
		rows  int
	}{
		{"licenses", staff, "licenses", "", 8}, {"licenses of an account", staff, "licenses", "?account=Acme", 5}, {"licenses of a customer", acme, "licenses", "", 5}, {"licenses of a part", acme, "licenses", "?account=Acme+Lyon", 1},
		{"expiring", staff, "expiring", "", 2}, {"expiring of a customer", acme, "expiring", "", 1}, {"expiring later", staff, "expiring", "?from=2090-01-01&to=2091-01-01", 0},
		{"seats", staff, "seats", "", 1}, {"seats of another", staff, "seats", "?account=Bolt", 0}, {"unused of a group that is none", staff, "unused", "?group=none", 0}, {"unused", acme, "unused", "", 5},
		{"usage", staff, "usage", "", 0}, {"denials", acme, "denials", "", 0}, {"devices", acme, "devices", "", 0},
	} {
		page := c.b.get("/reports/" + c.path + c.query)
		if rows := strings.Count(page.body, "<tr>"); page.status != http.StatusOK || rows != c.rows+min(c.rows, 1) || strings.Contains(page.body, "<script>alert") {
			t.Errorf("%s: %d rows, want %d: %v", c.name, rows, c.rows, page)
		}
		if (c.rows > 0) != strings.Contains(page.body, `role="img"`) {
			t.Errorf("%s: it is drawn, or not", c.name)
		}
		table, err := csv.NewReader(strings.NewReader(c.b.get("/reports/" + c.path + ".csv" + c.query).body)).ReadAll()
		if err != nil || len(table) != c.rows+1 {
			t.Errorf("%s: %d lines of CSV: %v", c.name, len(table), err)
		}
		var report struct {
			Schema string
			Rows   []map[string]any
			Totals map[string]uint64
		}
		if err := json.Unmarshal([]byte(c.b.get("/reports/"+c.path+".json"+c.query).body), &report); err != nil || report.Schema != "freehold.report/1" || len(report.Rows) != c.rows {
			t.Errorf("%s: %+v: %v", c.name, report, err)
		}
		sum := 0.0
		for n, row := range report.Rows {
			copies, _ := row["copies"].(float64)
			sum += copies
			if n+1 < len(table) && strings.HasPrefix(fmt.Sprint(row["product"]), "=") != strings.Contains(strings.Join(table[n+1], "\x00"), "'=") {
				t.Errorf("%s: a formula: %q", c.name, table[n+1])
			}
		}
		if uint64(sum) != report.Totals["copies"] {
			t.Errorf("%s: %v copies add up to %d", c.name, sum, report.Totals["copies"])
		}
		if a := c.b.get("/reports/" + c.path + ".svg" + c.query); a.status != http.StatusOK || !strings.HasPrefix(a.body, "<svg") || a.header.Get("Content-Type") != "image/svg+xml" || strings.Contains(a.body, "<script") {
			t.Errorf("%s: %v", c.name, a)
		}
	}
	for path, want := range map[string]int{"/reports/licenses?account=Bolt": 404, "/reports/licenses.csv?account=Bolt": 404, "/reports/nothing": 404, "/reports/licenses.exe": 404, "/reports/usage?from=soon": 400, "/reports/usage?from=2027-01-01&to=2026-01-01": 400} {
		if a := acme.get(path); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
}

// The bars of a usage report are the sums of its days; rows that name a user are in no bar.
func TestUsageIsDrawn(t *testing.T) {
	const today capability.Time = 1_800_000_000 / 86400 * 86400
	forms := reportForms()
	r := &capability.Table{Columns: []string{"day", "user", "served", "denied"}, Rows: [][]any{
		{today, "", uint64(3), uint64(1)}, {today, "larsen", uint64(3), uint64(1)}, {today.Add(dayLong), "", uint64(4), uint64(0)}, {today, "", uint64(5), uint64(0)},
	}}
	p := forms[0].plot(r, backoffice.Query{From: today, Until: today.Add(3 * dayLong)})
	if got := fmt.Sprint(p.Labels, p.Series); got != "[2027-01-15 2027-01-16] [{served [8 4]} {denied [1 0]}]" {
		t.Error(got)
	}
	months := forms[3].plot(&capability.Table{Columns: []string{"expires", "copies", "in_use"}, Rows: [][]any{{today.Add(60 * dayLong), uint64(2), uint64(1)}}}, backoffice.Query{From: today, Until: today.Add(364 * dayLong)})
	if len(months.Labels) != 12 && len(months.Labels) != 13 || months.Series[0].Values[2] != 2 {
		t.Errorf("%+v", months)
	}
}

// The audit has the newest first, page by page without a gap, finds by who and what, and shows an entry whole, but nothing that is secret.
func TestAudit(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("keller", "", capability.Auditor)
	for n := range 120 {
		s.do(entitlement.SetAccount{Account: entitlement.Account{Name: "Acme", Contact: fmt.Sprintf("c%d", n)}, By: map[bool]string{true: "larsen", false: evil}[n%2 == 0]})
	}
	length := s.entries()
	seen, last, path := 0, length+1, "/audit"
	for path != "" {
		a := b.get(path)
		if a.status != http.StatusOK || strings.Contains(a.body, "<script>alert") {
			t.Fatal(a)
		}
		for _, m := range found(entryLink, a.body) {
			var n uint64
			fmt.Sscan(m, &n)
			if n != last-1 {
				t.Errorf("entry %d behind entry %d", n, last)
			}
			last = n
			seen++
		}
		path = ""
		if next := found(nextLink, a.body); len(next) > 0 {
			path = strings.ReplaceAll(next[0], "&amp;", "&")
		}
	}
	if uint64(seen) != length || last != 1 {
		t.Errorf("%d of %d entries, down to %d", seen, length, last)
	}
	for query, want := range map[string]int{"?q=acme+lyon": 1, "?by=larsen&q=account": 50, "?q=nothing+of+it": 0} {
		if n := len(found(entryLink, b.get("/audit"+query).body)); n != want {
			t.Errorf("%s: %d entries, want %d", query, n, want)
		}
	}
	if a := b.post("/audit/verify"); a.status != http.StatusSeeOther || !strings.Contains(b.get("/audit").body, fmt.Sprintf("%d entries, each follows", length)) {
		t.Error(a)
	}
	refused := answer{}
	for range 2 * verifiesAtOnce { // each keeps everybody waiting
		if refused = b.post("/audit/verify"); refused.status != http.StatusSeeOther {
			break
		}
	}
	if refused.status != http.StatusTooManyRequests || !strings.Contains(refused.body, "it was checked just now") {
		t.Error(refused)
	}
	for n := uint64(1); n <= length; n++ {
		if a := b.get(fmt.Sprintf("/audit/%d", n)); a.status != http.StatusOK || strings.Contains(a.body, "argon2id") || strings.Contains(a.body, "<script>alert") {
			t.Errorf("entry %d: %v", n, a)
		}
	}
	for _, path := range []string{"/audit/0", "/audit/99999", "/audit/-1", "/audit/x"} {
		if a := b.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// The settings show what signs and what may, and no secret; what is set is set, and what cannot be is said.
func TestSettings(t *testing.T) {
	s := newStock(t)
	b := s.signedIn("keller", "", capability.SecurityAdministrator)
	page := b.get("/settings")
	if page.status != http.StatusOK || !strings.Contains(page.body, "example-A") || !strings.Contains(page.body, "signs") {
		t.Fatal(page)
	}
	post := func(path string, want int, pairs ...string) answer {
		t.Helper()
		a := b.fill("/settings", path, pairs...)
		if a.status != want || strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s %v: %v", path, pairs, a)
		}
		return a
	}
	policy := func() (p entitlement.Policy) {
		if err := s.desk.Ask(func(o *backoffice.Office) error { p = o.Book().Policy(); return nil }); err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := policy()
	post("/settings/policy", 303, "online", "known", "write_offs", "0", "detail", "yes", "states", "yes", "excluded", "DEVICE_KEY\r\nETHERNET", "client_type", "TPM_EK", "server_type", "")
	p := policy()
	if p.Online != entitlement.KnownOnline || p.WriteOffs.Count() != 0 || !p.Detail || !p.States || len(p.Excluded) != 2 || p.ClientType.String() != "TPM_EK" || p.Producer != before.Producer || p.Lease != before.Lease || p.MinimumTier != before.MinimumTier {
		t.Errorf("%+v", p)
	}
	post("/settings/policy", 400, "online", "known", "write_offs", "many")
	post("/settings/policy", 400, "online", "known", "write_offs", "1000")
	post("/settings/policy", 400, "online", "sometimes", "write_offs", "2")
	if a := post("/settings/policy", 400, "online", "off", "write_offs", "2", "excluded", evil); !strings.Contains(a.body, "&lt;script&gt;") {
		t.Error(a)
	}
	if n := policy(); n.Online != p.Online || len(n.Excluded) != 2 {
		t.Errorf("%+v", n)
	}
	state := strings.Repeat("0a", entitlement.StateBytes)
	post("/settings/boot", 400, "state", "zz", "note", "x")
	post("/settings/boot", 400, "state", state[2:], "note", "x")
	post("/settings/boot", 303, "state", state, "note", evil)
	id := found(withdrawButton, b.get("/settings").body)
	if len(id) != 1 {
		t.Fatalf("%q", id)
	}
	post("/settings/boot", 404, "withdraw", "0000")
	post("/settings/boot", 303, "withdraw", id[0])
	post("/settings/boot", 400, "withdraw", id[0])
}
