package console

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

func entry(group, device string, count uint32) Reserved {
	return Reserved{Group: group, Host: Host{"USER", device}, Feature: "f", Version: capability.Version{Major: 1}, Count: count}
}

func idOf(r Reserved) string { return strconv.FormatUint(r.ID, 10) }

// editFields are the fields of the page that edits an entry, as its form sends them.
func editFields(r Reserved, pairs ...string) []string {
	return append([]string{"id", idOf(r), "seen", r.seen(), "group", r.Group, "device", r.Host.Value, "type", r.Host.Type, "feature", r.Feature, "version", r.Version.String()}, pairs...)
}

// Reservations are collected and submitted, edited in place, exported and imported as they were, deleted when that is submitted, and brought back.
func TestReservationPages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("operator")
	// What is added waits in the page, and nothing is reserved yet.
	a := b.post("/reservations/add", "do", "add", "group", "Design", "device", "bob", "type", "USER", "feature", "f", "version", "1.0", "count", "2")
	if a.status != http.StatusOK || !strings.Contains(a.body, `name="pending"`) || len(w.reserved()) != 0 {
		t.Fatalf("add: %d %s", a.status, words(a.body))
	}
	for _, wrong := range [][]string{{"count", "0"}, {"count", "-1"}, {"count", "x"}, {"version", "6.1.3"}, {"device", ""}, {"type", "NOTHING"}, {"group", " "}} {
		form := []string{"do", "add", "group", "Design", "device", "kept<b>", "type", "USER", "feature", "f", "version", "1.0", "count", "2"}
		form[slices.Index(form, wrong[0])+1] = wrong[1]
		a := b.post("/reservations/add", form...)
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, `role="alert"`) || strings.Contains(a.body, `name="pending"`) || wrong[0] != "device" && !strings.Contains(a.body, "kept&lt;b&gt;") {
			t.Errorf("%v: %d %s", wrong, a.status, words(a.body))
		}
	}
	if a := b.post("/reservations/add", "do", "remove 0", "pending", new(entry("g", "x", 1)).line()); strings.Contains(a.body, `name="pending"`) {
		t.Error("what is removed waits")
	}
	if a := b.post("/reservations/add", "do", "submit"); a.status != http.StatusBadRequest {
		t.Errorf("nothing is submitted: %d", a.status)
	}
	if a := b.post("/reservations/add", "do", "cancel", "pending", new(entry("g", "x", 1)).line()); a.location != "/reservations" || len(w.reserved()) != 0 {
		t.Error("canceled, and reserved")
	}
	b.reserve(entry("Design", "bob", 2), entry("Design", "eve", 1))
	b.reserve(entry("Design", "zoe", 100)) // into a group that is there
	rows := w.reserved()
	if len(rows) != 3 || rows[0].GroupID != rows[2].GroupID || rows[0].Status != "satisfied" || rows[2].Status != "unsatisfied" {
		t.Fatalf("%+v", rows)
	}
	page := b.page("/reservations")
	if !strings.Contains(page, `<td class="bad">unsatisfied</td>`) || !strings.Contains(page, `<td class="good">satisfied</td>`) {
		t.Error("a state is no word")
	}

	// Edited in place: it keeps its group and the others their IDs.
	edit := func(form ...string) answer { return b.post("/reservations/edit", form...) }
	if a := edit(editFields(rows[1], "once", "e1", "count", "3")...); a.status != http.StatusSeeOther {
		t.Fatalf("edit: %d %s", a.status, words(a.body))
	}
	after := w.reserved()
	if len(after) != 3 || after[1].Count != 3 || after[1].ID != rows[1].ID || after[0].ID != rows[0].ID {
		t.Errorf("%+v", after)
	}
	// Another tab that saw it before loses nothing by itself: it is told, and what it typed is still there.
	a = edit(editFields(rows[1], "once", "e2", "count", "7")...)
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "LH-3409") || !strings.Contains(words(a.body), "it is now 3 of f 1.0 for eve/USER") || !strings.Contains(a.body, `value="7"`) || w.reserved()[1].Count != 3 {
		t.Errorf("a stale tab: %d %s", a.status, words(a.body))
	}
	if !strings.Contains(a.body, after[1].seen()) {
		t.Error("whoever has read what it is now cannot save it")
	}
	if a := edit(editFields(after[1], "once", "e3", "count", "7")...); a.status != http.StatusSeeOther || w.reserved()[1].Count != 7 {
		t.Errorf("saved again: %d", a.status)
	}

	// What is exported can be imported, and changes nothing.
	before := w.reserved()
	exported := b.get("/reservations/export.json")
	if a := b.sendFile("/reservations/import", []byte(exported.body), "once", "i1"); a.status != http.StatusSeeOther {
		t.Errorf("import: %d %s", a.status, words(a.body))
	}
	if now := w.reserved(); !slices.Equal(now, before) {
		t.Errorf("an import of what is there: %+v, not %+v", now, before)
	}
	for name, content := range map[string]string{"none": "", "cut": exported.body[:len(exported.body)/2], "another": `{"groups":[]}`, "twice": strings.Replace(exported.body, `"group"`, `"group": "x", "group"`, 1), "unknown": strings.Replace(exported.body, `"USER"`, `"NOBODY"`, 1)} {
		if a := b.sendFile("/reservations/import", []byte(content), "once", "i2"+name); a.status == http.StatusSeeOther || a.status >= 500 || !slices.Equal(w.reserved(), before) {
			t.Errorf("import of what is %s: %d", name, a.status)
		}
	}

	// Deleted when that is submitted, and undone for ten minutes.
	ids := url.Values{"id": {idOf(before[0]), idOf(before[1])}}
	if p := b.page("/reservations/delete?" + ids.Encode()); !strings.Contains(p, "Pending Deletions") || len(w.reserved()) != 3 {
		t.Error("deleted by looking")
	}
	for range 2 { // sent twice it counts once
		if a := b.post("/reservations/delete", "once", "d1", "id", idOf(before[0]), "id", idOf(before[1])); a.status != http.StatusSeeOther || len(w.reserved()) != 1 {
			t.Fatalf("delete: %d %s, %d left", a.status, words(a.body), len(w.reserved()))
		}
	}
	if !strings.Contains(b.page("/reservations"), "Undo, until") {
		t.Error("it cannot be undone")
	}
	other := w.signedIn("license administrator")
	if strings.Contains(other.page("/reservations"), "Undo, until") || other.post("/reservations/undo", "once", "u0").status == http.StatusSeeOther {
		t.Error("somebody else undoes it")
	}
	for range 2 {
		if a := b.post("/reservations/undo", "once", "u1"); a.status != http.StatusSeeOther || len(w.reserved()) != 3 {
			t.Errorf("undo: %d %s", a.status, words(a.body))
		}
	}
	if a := b.post("/reservations/undo", "once", "u2"); a.status != http.StatusNotFound || len(w.reserved()) != 3 {
		t.Errorf("undone twice: %d", a.status)
	}
}

// A deletion can be undone for ten minutes and no longer.
func TestUndoEnds(t *testing.T) {
	d := newDeletions()
	d.keep("a", []Reserved{{ID: 1}}, 1000)
	if d.of("a", 1000+capability.Time(undoTime)-1) == nil || d.of("b", 1000) != nil {
		t.Error("it is gone too early, or is everybody's")
	}
	if d.of("a", 1000+capability.Time(undoTime)) != nil {
		t.Error("it stays")
	}
}

// A model is checked without being put in force, put in force, named as why nothing can be reserved, and deleted.
func TestModelPages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("operator")
	a := b.sendFile("/pools/model/check", []byte(poolsText), "once", "c1")
	if a.status != http.StatusOK || !strings.Contains(words(a.body), "It would be taken") || !strings.Contains(words(a.body), "No model is in force") || !strings.Contains(words(a.body), "What each pool gets") {
		t.Fatalf("check: %d %s", a.status, words(a.body))
	}
	a = b.sendFile("/pools/model", []byte("model x"), "once", "m0")
	if a.status < 400 || a.status >= 500 || !strings.Contains(a.body, "LH-3401") || !strings.Contains(words(a.body), "Line and column") || !strings.Contains(words(a.body), "No model is in force") {
		t.Errorf("a bad one: %d %s", a.status, words(a.body))
	}
	if a := b.sendFile("/pools/model", []byte(poolsText), "once", "m1"); a.status != http.StatusSeeOther {
		t.Fatalf("upload: %d %s", a.status, words(a.body))
	}
	if p := words(b.page("/pools")); !strings.Contains(p, `The model "m" divides the counts`) || !strings.Contains(p, "/ p ") {
		t.Error(p)
	}
	if p := b.page("/pools/model"); !strings.Contains(words(p), "on any()") {
		t.Error("its text is not there")
	}
	a = b.post("/reservations/add", "once", "r", "do", "submit", "pending", new(entry("g", "x", 1)).line())
	if a.status != http.StatusConflict && a.status != http.StatusForbidden || !strings.Contains(a.body, "LH-3402") || !strings.Contains(a.body, `name="pending"`) {
		t.Errorf("reserved beside a model: %d %s", a.status, words(a.body))
	}
	if a := b.post("/pools/model/delete", "once", "d0"); a.status != http.StatusBadRequest {
		t.Errorf("deleted unasked: %d", a.status)
	}
	if a := b.post("/pools/model/delete", "once", "d1", "sure", "yes"); a.status != http.StatusSeeOther || !strings.Contains(words(b.page("/pools/model")), "No model is in force") {
		t.Errorf("delete: %d", a.status)
	}
	b.reserve(entry("g", "x", 1))
	if p := words(b.page("/pools/model?from=reservations")); !strings.Contains(p, "reservations as pools") {
		t.Error("no model equals the reservations")
	}
}

// A seat is freed with a reason, and the page says when it is free.
func TestSeatPages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("operator")
	if p := words(b.page("/seats")); !strings.Contains(p, "WS-1") || !strings.Contains(p, "ana") {
		t.Fatal(p)
	}
	if a := b.post("/seats/free", "once", "f0", "device", "nobody/STRING", "feature", "f", "reason", "x"); a.status == http.StatusSeeOther || !strings.Contains(a.body, `role="alert"`) {
		t.Errorf("a seat of nobody: %d", a.status)
	}
	if a := b.post("/seats/free", "once", "f1", "device", "d/STRING", "feature", "f", "reason", "on holiday"); a.status != http.StatusSeeOther {
		t.Fatalf("free: %d %s", a.status, words(a.body))
	}
	if p := words(b.page("/seats")); !strings.Contains(p, "is free when its lease ends, at 20") || !strings.Contains(p, "dropped, not renewed") {
		t.Error(p)
	}
}

// Settings are saved as they differ from what the page had; what somebody else has set meanwhile is named.
func TestPropertiesPage(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("license administrator")
	if a := b.post("/properties", "once", "1", "set-idle-limit", "8h", "was-idle-limit", "", "set-session-timeout", "", "was-session-timeout", ""); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if p := b.page("/properties"); !strings.Contains(p, "Saved: idle-limit.") || !strings.Contains(p, `name="set-idle-limit" type="text" value="28800"`) {
		t.Errorf("%s", words(p))
	}
	a := b.post("/properties", "once", "2", "set-idle-limit", "9h", "was-idle-limit", "")
	if !strings.Contains(a.body, "LH-3409") || !strings.Contains(words(a.body), `it is "28800" now`) || !strings.Contains(a.body, `value="9h"`) {
		t.Errorf("a stale tab: %d %s", a.status, words(a.body))
	}
	if a := b.post("/properties", "once", "3", "set-lease-interval", "60", "was-lease-interval", ""); !strings.Contains(a.body, "LH-3405") {
		t.Errorf("the producer's: %d %s", a.status, words(a.body))
	}
	if p := w.signedIn("viewer").page("/properties"); strings.Contains(p, `name="set-`) || strings.Contains(p, ">Save<") {
		t.Error("a viewer may set something")
	}
}

// Requests are written once for each form and fetched as often as wanted; what is no response changes nothing.
func TestOfflinePages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("license administrator")
	a := b.post("/offline/request", "once", "1")
	if a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	if again := b.post("/offline/request", "once", "1"); again.location != a.location {
		t.Errorf("sent twice: %s and %s", a.location, again.location)
	}
	page := b.page(a.location)
	if !strings.Contains(page, "/offline/requests/REQ-0001.LHQ") || strings.Contains(page, "REQ-0002") || !strings.Contains(words(page), "waiting for an answer") {
		t.Errorf("%s", words(page))
	}
	one, two := b.get("/offline/requests/REQ-0001.LHQ"), b.get("/offline/requests/REQ-0001.LHQ")
	if one.status != http.StatusOK || one.body != two.body || len(one.body) < 100 || !strings.Contains(one.header.Get("Content-Disposition"), "REQ-0001.LHQ") {
		t.Errorf("%d %d bytes", one.status, len(one.body))
	}
	if a := b.post("/offline/request", "id", "nothing", "count", "1"); a.status != http.StatusBadRequest || !strings.Contains(a.body, `value="nothing"`) {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if a := b.post("/offline/request", "do", "more", "id", string(w.item), "count", "3"); a.status != http.StatusOK || strings.Count(a.body, `name="id"`) != 2 || !strings.Contains(a.body, string(w.item)) {
		t.Errorf("%d, %d lines", a.status, strings.Count(a.body, `name="id"`))
	}
	for name, content := range map[string][]byte{"nothing": {}, "no file of ours": []byte("hello"), "a request": []byte(one.body), "large": make([]byte, capability.MaxFile+1)} {
		if a := b.sendFile("/offline/response", content, "once", "r"+name[:1]); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, `role="alert"`) {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	for _, pasted := range []string{"", "hello", wire.Text([]byte(one.body)), "LH1/1OF2/QED"} {
		if a := b.post("/offline/response", "once", "p"+pasted, "text", pasted); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, html.EscapeString(pasted)+"</textarea>") {
			t.Errorf("%.20q pasted: %d", pasted, a.status)
		}
	}
	if a := b.sendFile("/offline/response", []byte(one.body), "once", "both", "text", "LH1/1OF1/U5"); a.status < 400 || a.status >= 500 || !strings.Contains(words(a.body), "choose one response file, or paste it as text") {
		t.Errorf("a file and a text: %d %s", a.status, words(a.body))
	}
	if a := b.post("/online", "id", string(w.item), "count", "3"); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, "LH-") {
		t.Errorf("online without a back office: %d", a.status)
	}
}

// What was typed into a form is there again after the session has ended and somebody has signed in.
func TestInterruptedPages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("operator")
	b.reserve(entry("g", "bob", 2))
	r := w.reserved()[0]
	path := "/reservations/edit?id=" + idOf(r)
	b.page(path)
	w.passes(web.Idle + time.Minute)
	send := func(path, referer string, pairs ...string) answer {
		q, err := http.NewRequest(http.MethodPost, w.server.URL+path, strings.NewReader(formValues(pairs).Encode()))
		if err == nil {
			q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			q.Header.Set("Referer", w.server.URL+referer)
		}
		return b.send(q, err)
	}
	a := send("/reservations/edit", path, editFields(r, "once", "x", "count", "5", "password-current", "swordfish")...)
	if a.status != http.StatusUnauthorized || strings.Contains(a.body, "swordfish") || w.reserved()[0].Count != 2 {
		t.Fatalf("%d %s", a.status, words(a.body))
	}
	_, kept, _ := strings.Cut(a.body, `name="kept" value="`)
	kept, _, _ = strings.Cut(kept, `"`)
	kept = strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(kept)
	if a = b.post("/sign-in", "name", "operator", "password", pagePassword, "kept", kept); a.status != http.StatusSeeOther || a.location != path {
		t.Fatalf("%d to %s", a.status, a.location)
	}
	if p := b.page(path); !strings.Contains(p, `value="5"`) || !strings.Contains(p, "save it again") {
		t.Error(words(p))
	}
}

// Columns and page size are as somebody chose them, in this browser and for this login.
func TestViewsAreKept(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("viewer")
	all := []string{"path", "/features"}
	for _, c := range summaryColumns() {
		all = append(all, "all", c.name)
		if c.name != "metered" {
			all = append(all, "column", c.name)
		}
	}
	if a := b.post("/columns", all...); a.location != "/features" {
		t.Errorf("%d to %s", a.status, a.location)
	}
	if p := b.page("/features"); strings.Contains(p, ">Metered</a>") || !strings.Contains(p, ">Counted</a>") {
		t.Error("a hidden column is seen")
	}
	if p := b.page("/overview"); !strings.Contains(p, ">Max Used</a>") {
		t.Error("another list lost a column")
	}
	if a := b.post("/settings", "size", "20"); a.status != http.StatusSeeOther {
		t.Error(a.status)
	}
	for _, wrong := range []string{"0", "-1", "1001", "x", ""} {
		if a := b.post("/settings", "size", wrong); a.status != http.StatusBadRequest {
			t.Errorf("%q: %d", wrong, a.status)
		}
	}
	if p := b.page("/help"); !strings.Contains(p, ", 1 to 20 here") {
		t.Error("pages have another size")
	}
	// Somebody else at the same window has lists as they were.
	w.login("auditor")
	if a := b.post("/sign-in", "name", "auditor", "password", pagePassword); a.status != http.StatusSeeOther {
		t.Fatal(a.status)
	}
	if p := b.page("/features"); !strings.Contains(p, ">Metered</a>") {
		t.Error("somebody else's columns")
	}
	if a := b.post("/columns", "path", "//elsewhere.example/"); a.location != "/" {
		t.Errorf("leads to %s", a.location)
	}
}

// Lists are searched in any column, narrowed in one, sorted and paged; links of pages keep what was asked.
func TestTables(t *testing.T) {
	var more []capability.LineItem
	for n := range 120 {
		more = append(more, capability.LineItem{ActivationID: activation(t, n+10), Feature: fmt.Sprintf("feature-%03d", n), Version: capability.Version{Major: 2026}, Count: uint32(n + 1), Copies: 1, Product: map[bool]string{true: "Mesh", false: "Grid"}[n%2 == 0]})
	}
	b := newPages(t, more...).signedIn("viewer")
	total := func(path string) string {
		t.Helper()
		_, rest, _ := strings.Cut(b.page(path), "Total number of records: ")
		rest, _, _ = strings.Cut(rest, "</p>")
		return rest
	}
	for path, want := range map[string]string{
		"/features":                                      "121, 1 to 50 here",
		"/features?page=3":                               "121, 101 to 121 here",
		"/features?page=99":                              "121, 101 to 121 here",
		"/features?page=x":                               "121, 1 to 50 here",
		"/features?q=URE-01":                             "10 found of 121, 1 to 10 here",
		"/features?q=nothing":                            "0 found of 121",
		"/features/details?in-product=mesh":              "60 found of 121, 1 to 50 here",
		"/features/details?in-product=mesh&q=feature-11": "5 found of 121, 1 to 5 here",
	} {
		if got := total(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	first := func(path string) string {
		_, rest, _ := strings.Cut(b.page(path), "<tbody>")
		rest, _, _ = strings.Cut(rest, "</tr>")
		return words(rest)
	}
	if f := first("/features?sort=total&order=descending"); !strings.HasPrefix(f, "feature-119 ") {
		t.Error(f)
	}
	if f := first("/features?sort=total"); !strings.HasPrefix(f, "feature-000 ") {
		t.Error(f)
	}
	if p := b.page("/features/details?in-product=mesh&sort=count&order=descending"); !strings.Contains(p, `aria-sort="descending"`) || !strings.Contains(p, `href="/features/details?in-product=mesh&amp;order=descending&amp;page=2&amp;sort=count"`) {
		t.Error("a link of a page forgets what was asked")
	}
}

// Names that mean something to a browser are text on every page.
func TestHostileNames(t *testing.T) {
	const bad = `<script>alert(1)</script>"'>{{.}}`
	w := newPages(t, capability.LineItem{ActivationID: activation(t, 7), Feature: bad, Version: capability.Version{Major: 1}, Count: 5, Copies: 1, Product: bad, VendorString: bad, EntitlementID: bad, Notice: bad, Issuer: bad})
	b := w.signedIn("both")
	b.reserve(Reserved{Group: bad, Host: Host{"USER", bad}, Feature: bad, Version: capability.Version{Major: 1}, Count: 1})
	q := url.QueryEscape(bad)
	for _, path := range []string{
		"/overview", "/overview?q=" + q, "/features?q=" + q + "&sort=" + q + "&in-feature=" + q, "/features/details", "/feature?id=" + string(activation(t, 7)) + "&name=" + q, "/feature?id=" + q + "&name=" + q, "/devices?q=" + q,
		"/devices/USER/" + url.PathEscape(bad), "/pools?q=" + q, "/pools?pool=" + q, "/pools/model?from=reservations", "/reservations", "/reservations/add", "/reservations/edit?id=" + idOf(w.reserved()[0]), "/reservations/delete?id=" + idOf(w.reserved()[0]),
		"/seats?feature=" + q + "&idle=" + q, "/help?q=" + q, "/sign-in?to=" + q, "/nowhere/" + url.PathEscape(bad), "/offline?written=" + q, "/audit?q=" + q + "&by=" + q,
	} {
		if a := b.get(path); a.status >= 500 || strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, `"'>{{`) {
			t.Errorf("%s: %d, and markup of a name", path, a.status)
		}
	}
	for _, post := range [][]string{
		{"/sign-in", "name", bad, "password", bad}, {"/reservations/add", "do", "add", "group", bad, "device", bad, "feature", bad, "version", bad, "count", bad, "type", bad}, {"/settings", "size", bad}, {"/online", "id", bad, "count", bad},
		{"/pools/model/check", "text", bad}, {"/properties", "set-idle-limit", bad, "was-idle-limit", ""}, {"/time", "time", bad}, {"/seats/free", "device", bad, "feature", bad, "reason", bad},
	} {
		if a := b.post(post[0], post[1:]...); a.status >= 500 || strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, `"'>{{`) {
			t.Errorf("%s: %d, and markup of a name", post[0], a.status)
		}
	}
	var rows []Reserved
	if err := json.Unmarshal([]byte(b.get("/reservations/export.json").body), &rows); err != nil || rows[0].Group != bad {
		t.Error("an export says another name", err)
	}
}

// What leads nowhere is not there; another site's form is refused; a name that is not the appliance's is not answered.
func TestElsewhere(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("both")
	for _, path := range []string{"/nowhere", "/feature?id=x&name=f", "/devices/STRING/nobody", "/reservations/edit?id=99", "/audit/0", "/audit/99999", "/offline/requests/..%2f..%2fetc"} {
		if a := b.get(path); a.status != http.StatusNotFound || !strings.Contains(a.body, "LH-6004") {
			t.Errorf("%s: %d %s", path, a.status, words(a.body))
		}
	}
	r, err := http.NewRequest(http.MethodPost, w.server.URL+"/sign-out", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	if a := b.send(r, nil); a.status != http.StatusForbidden {
		t.Errorf("another site's form: %d", a.status)
	}
	r, err = http.NewRequest(http.MethodGet, w.server.URL+"/overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "elsewhere.example"
	if a := b.send(r, nil); a.status != http.StatusMisdirectedRequest {
		t.Errorf("another name: %d", a.status)
	}
}

// The audit has every entry, the newest first, in pages, and says nothing of what is kept of passwords.
func TestAuditPages(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("auditor")
	w.signedIn("operator").reserve(entry("g", "bob", 1))
	p := words(b.page("/audit"))
	if !strings.Contains(p, "reservations changed") || !strings.Contains(p, "login operator") || strings.Index(p, "reservations changed") > strings.Index(p, "response applied") {
		t.Error(p)
	}
	if p := words(b.page("/audit?q=reserv")); !strings.Contains(p, "reservations changed") || strings.Contains(p, "login made") {
		t.Error(p)
	}
	if p := words(b.page("/audit?by=operator")); !strings.Contains(p, "reservations changed") || strings.Contains(p, "login made") {
		t.Error(p)
	}
	b.post("/settings", "size", "3")
	first := b.page("/audit")
	_, next, found := strings.Cut(first, `href="/audit?before=`)
	next, _, _ = strings.Cut(next, `"`)
	if !found || strings.Count(first, `<tr><td class="count"><a href="/audit/`) != 3 {
		t.Fatal(words(first))
	}
	if second := b.page("/audit?before=" + next); !strings.Contains(second, `href="/audit/`+strconv.Itoa(atoi(t, next)-1)+`"`) || strings.Contains(second, `href="/audit/`+next+`"`) {
		t.Error(words(second))
	}
	for n := 1; ; n++ {
		a := b.get("/audit/" + strconv.Itoa(n))
		if a.status != http.StatusOK {
			break
		}
		if text := words(a.body); strings.Contains(text, "login made") && (strings.Contains(text, `"Password": "`) || !strings.Contains(text, `"Password": null`)) {
			t.Errorf("entry %d: %s", n, text)
		}
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The files that were written and read are found in the entries once: each page reads what is new, and no more than so many entries however long nobody looked.
func TestTransfersAreReadOnce(t *testing.T) {
	w := newPages(t)
	s, err := w.c.site()
	if err != nil {
		t.Fatal(err)
	}
	v := &visit{site: s, r: httptest.NewRequest(http.MethodGet, "/offline", nil)}
	read := func() []transfer {
		t.Helper()
		files, from, err := s.transfers.read(v)
		if err != nil || from != 1 {
			t.Fatal(from, err)
		}
		return files
	}
	if files := read(); len(files) != 1 || files[0].File != "response 1" {
		t.Errorf("%+v", files)
	}
	if _, err := w.c.writeRequest(t.Context(), Wish{}, "test"); err != nil {
		t.Fatal(err)
	}
	s.transfers.files[0].File = "from before" // what is not read again says so still
	if files := read(); len(files) != 2 || files[0].File != "from before" || files[1].File != "request 1" {
		t.Errorf("%+v", files)
	}
	read()[0].State = "another's"
	if head, _, err := v.head(); err != nil || s.transfers.next != head+1 || read()[0].State != "" {
		t.Errorf("read up to %d of %d: %v", s.transfers.next, head, err)
	}
	// Another storage has another trail, and a trail that is shorter than what was read is another one.
	for _, change := range []func(){func() { s.transfers.life[0]++ }, func() { s.transfers.next = 1 << 40 }} {
		change()
		if files := read(); len(files) != 2 || files[0].File != "response 1" {
			t.Errorf("%+v", files)
		}
	}
	s.transfers.files = slices.Repeat(s.transfers.files, mostTransfers)
	if files, from, err := s.transfers.read(v); len(files) != mostTransfers || from < 2 || err != nil {
		t.Errorf("%d files from %d: %v", len(files), from, err)
	}
}

// The page of a device says whether its leases belong to a key that somebody has registered.
func TestDeviceKey(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("viewer")
	if p := b.page("/devices/STRING/d"); !strings.Contains(p, "not registered") {
		t.Error(words(p))
	}
	if _, err := w.c.Appliance.Change(t.Context(), ledger.RegisterKey{Key: capability.Digest{2}, Kind: wire.KeyP256, Name: "floor <3>", By: "test"}, "test", "test"); err != nil {
		t.Fatal(err)
	}
	if p := b.page("/devices/STRING/d"); strings.Contains(p, "not registered") || !strings.Contains(p, "registered floor &lt;3&gt;, since ") || !strings.Contains(p, "/keys?q=0200") {
		t.Error(words(p))
	}
}
