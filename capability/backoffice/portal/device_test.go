package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

var nextPage = regexp.MustCompile(`<a href="([^"]+)">Next page</a>`)

// A list of many devices is read page by page, each device once, and searched; a customer's has its own only.
func TestDeviceLists(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	own, other := w.entitle("ACME Works", 200), w.entitle("Other", 10)
	for n := range 60 {
		m := w.station()
		w.answer(m.request(own, 1, func(r *capability.Request) { r.Alias = fmt.Sprintf("hall %d", n) }))
		if n%6 == 0 {
			w.do(entitlement.SetDevice{Device: entitlement.Device{ID: w.station().host(), Name: fmt.Sprintf("spare %d", n), Account: "ACME Works"}, By: "test"})
		}
	}
	theirs := w.station()
	w.answer(theirs.request(other, 1, func(r *capability.Request) { r.Alias = "foreign" }))
	row := regexp.MustCompile(`<tr><td><a class="id" href="(/devices/[^"]+)"`)
	for _, c := range []struct {
		login, account string
		want           int
	}{{"keller", "", 71}, {"larsen", "ACME Works", 70}, {"nemo", "Nobody", 0}} {
		b := w.signedIn(c.login, c.account, capability.LicenseAdministrator)
		seen, path := map[string]bool{}, "/devices"
		for path != "" {
			a := b.get(path)
			if a.status != http.StatusOK {
				t.Fatal(a)
			}
			rows := found(row, a.body)
			if len(rows) > pageRows {
				t.Errorf("%d rows in a page", len(rows))
			}
			for _, r := range rows {
				if seen[r] {
					t.Errorf("%s is listed twice", r)
				}
				seen[r] = true
			}
			path = ""
			if next := found(nextPage, a.body); len(next) > 0 {
				path = strings.ReplaceAll(next[0], "&amp;", "&")
			}
		}
		if len(seen) != c.want || c.account != "" && seen[devicePath(theirs.host())] {
			t.Errorf("%s sees %d devices, want %d", c.login, len(seen), c.want)
		}
		for text, want := range map[string]int{"hall 59": 1, "SPARE 1": 2, "acme": 50, theirs.host().Short(): 1, "foreign": 1, "<script>": 0} {
			if strings.Contains("foreign"+theirs.host().Short(), text) && c.account != "" || c.want == 0 {
				want = 0
			}
			if a := b.get("/devices?q=" + url.QueryEscape(text)); len(found(row, a.body)) != want || strings.Contains(a.body, "<script>h") {
				t.Errorf("%s finds %d by %q, want %d", c.login, len(found(row, a.body)), text, want)
			}
		}
	}
}

// A license administrator of a customer moves rights between the own devices by forms, each counted once; of another's device or line item there is nothing.
func TestDeviceForms(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	own, other := w.entitle("ACME Works", 10), w.entitle("Other", 10)
	b := w.signedIn("larsen", "ACME Works", capability.LicenseAdministrator)
	one, two, third, theirs := w.station(), w.station(), w.station(), w.station()
	w.answer(one.request(own, 4))
	w.answer(theirs.request(other, 4))
	id, path := one.host().String(), devicePath(one.host())
	page := b.get(path)
	if page.status != http.StatusOK || !strings.Contains(page.body, "has 4") || !strings.Contains(page.body, "/responses/") {
		t.Fatal(page)
	}
	view := func(m *station) (d entitlement.DeviceView) {
		w.book(func(book *entitlement.Book) { d, _ = book.DeviceOf(m.host()) })
		return d
	}
	post := func(path string, status int, pairs ...string) answer {
		t.Helper()
		a := b.post(path, pairs...)
		if a.status != status {
			t.Errorf("%s %v: %v", path, pairs, a)
		}
		return a
	}
	// A new device, by hand, twice sent.
	for range 2 {
		post("/devices/new", http.StatusSeeOther, "once", "n1", "id", strings.ToLower(two.host().String()), "name", "Mill <4>", "contact", "A. Ray", "account", "Other", "server", "yes")
	}
	if d := view(two); d.Name != "Mill <4>" || d.Device.Account != "ACME Works" || !d.Server {
		t.Errorf("%+v", d)
	}
	if a := b.get(devicePath(two.host())); !strings.Contains(a.body, "Mill &lt;4&gt;") || strings.Contains(a.body, "Mill <4>") {
		t.Error(a)
	}
	if a := post("/devices/new", http.StatusBadRequest, "once", "n2", "id", two.host().String(), "name", "kept"); !strings.Contains(a.body, `value="kept"`) {
		t.Error("what was typed is lost")
	}
	post("/devices/new", http.StatusNotFound, "once", "n3", "id", theirs.host().String())
	post("/devices/set", http.StatusSeeOther, "once", "s1", "device", two.host().String(), "name", "Mill 4", "account", "Other")
	if d := view(two); d.Name != "Mill 4" || d.Device.Account != "ACME Works" {
		t.Errorf("%+v", d)
	}
	// Mapped, and let go again; more than there is shows the form again.
	for range 2 {
		post("/devices/map", http.StatusSeeOther, "once", "m1", "device", id, "item", string(own), "copies", "6")
	}
	if d := view(one); d.Rights[0].Reserved != 2 {
		t.Errorf("%+v", d.Rights)
	}
	if a := post("/devices/map", http.StatusConflict, "once", "m2", "device", id, "item", string(own), "copies", "77"); !strings.Contains(a.body, `value="77"`) || !strings.Contains(a.body, "LH-5003") {
		t.Error(a)
	}
	post("/devices/map", http.StatusBadRequest, "once", "m3", "device", id, "item", string(own), "copies", "-1")
	post("/devices/map", http.StatusNotFound, "once", "m4", "device", id, "item", string(other), "copies", "1")
	post("/devices/unmap", http.StatusSeeOther, "once", "u1", "device", id, "item", string(own))
	if d := view(one); d.Rights[0].Mapped != nil {
		t.Errorf("%+v", d.Rights)
	}
	// A planned re-host to the own device only.
	post("/devices/move", http.StatusNotFound, "once", "o1", "device", id, "to", theirs.host().String())
	post("/devices/move", http.StatusNotFound, "once", "o2", "device", id, "to", w.station().host().String())
	for range 2 {
		post("/devices/move", http.StatusSeeOther, "once", "o3", "device", id, "to", two.host().String(), "item", string(own), "copies", "3")
	}
	if d := view(one); len(d.Orders) != 1 || d.Orders[0].Copies != 3 {
		t.Errorf("%+v", d.Orders)
	}
	if a := b.get(path); !strings.Contains(a.body, "0 of 3") || !strings.Contains(a.body, "waiting for") {
		t.Error(a)
	}
	post("/devices/end-order", http.StatusNotFound, "once", "e1", "device", id, "order", "2")
	post("/devices/end-order", http.StatusNotFound, "once", "e2", "device", theirs.host().String(), "order", "1")
	w.do(entitlement.SetDevice{Device: entitlement.Device{ID: third.host(), Account: "ACME Works"}, By: "larsen"})
	post("/devices/end-order", http.StatusNotFound, "once", "e4", "device", third.host().String(), "order", "1")
	post("/devices/end-order", http.StatusSeeOther, "once", "e3", "device", id, "order", "1")
	if d := view(one); len(d.Orders) != 0 {
		t.Errorf("%+v", d.Orders)
	}
	for _, form := range []string{"new", "set", "map", "unmap", "move", "end-order"} {
		if a := b.post("/devices/" + form); a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
			t.Errorf("%s without fields: %v", form, a)
		}
	}
	// Who did it is on record.
	by := map[string]bool{}
	if err := w.desk.Ask(func(o *backoffice.Office) error {
		return o.History(1, func(_ uint64, e *entitlement.Entry) error {
			if e.Map != nil || e.Device != nil || e.Order != nil || e.Step != nil {
				by[e.By] = true
			}
			return nil
		})
	}); err != nil || len(by) != 1 || !by["larsen"] {
		t.Error(by, err)
	}
}
