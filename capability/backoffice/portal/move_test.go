package portal

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

var proposals = regexp.MustCompile(`href="(/proposals/[0-9]+)"`)

// A customer proposes a write-off of its own, staff approves: nobody the own one, a second time nothing, and both names are on record.
func TestFourEyes(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id, other := w.entitle("ACME Works", 10), w.entitle("Other", 10)
	m, theirs := w.station(), w.station()
	w.answer(m.request(id, 4))
	w.answer(theirs.request(other, 4))
	larsen := w.signedIn("larsen", "ACME Works", capability.LicenseAdministrator)
	nemo := w.signedIn("nemo", "Other", capability.LicenseAdministrator)
	keller := w.signedIn("keller", "", capability.LicenseAdministrator)
	chen := w.signedIn("chen", "", capability.SecurityAdministrator)
	operator := w.signedIn("operator", "", capability.Operator)
	propose := func(b *browser, once string, status int, m *station, id capability.ActivationID, reason string) answer {
		t.Helper()
		a := b.post("/devices/write-off", "once", once, "device", m.host().String(), "item", string(id), "reason", reason)
		if a.status != status {
			t.Errorf("%d, want %d: %v", a.status, status, a)
		}
		return a
	}
	propose(larsen, "1", http.StatusNotFound, theirs, other, "x")
	propose(larsen, "2", http.StatusNotFound, m, other, "x")
	propose(operator, "3", http.StatusForbidden, m, id, "x")
	if a := propose(larsen, "4", http.StatusBadRequest, m, id, ""); !strings.Contains(a.body, "needs a reason") || strings.Contains(a.body, "Proposed.") {
		t.Error(a)
	}
	for range 2 {
		propose(larsen, "5", http.StatusSeeOther, m, id, "stolen <b>")
	}
	waiting := larsen.get("/waiting")
	paths := found(proposals, waiting.body)
	if len(paths) != 1 || !strings.Contains(waiting.body, "stolen &lt;b&gt;") || strings.Contains(waiting.body, "stolen <b>") {
		t.Fatal(waiting)
	}
	number := strings.TrimPrefix(paths[0], "/proposals/")
	if a := nemo.get("/waiting"); strings.Contains(a.body, "stolen") || len(found(proposals, a.body)) != 0 || nemo.get(paths[0]).status != http.StatusNotFound {
		t.Error(a)
	}
	if a := larsen.post("/proposals/approve", "number", number); a.status != http.StatusForbidden {
		t.Error(a)
	}
	if a := operator.post("/proposals/approve", "number", number); a.status != http.StatusForbidden {
		t.Error(a)
	}
	if a := keller.post("/proposals/take-back", "number", number); a.status != http.StatusForbidden {
		t.Error(a)
	}
	w.book(func(b *entitlement.Book) {
		if v, _ := b.Item(id, capability.At(w.now())); v.Used != 4 {
			t.Error("done before it was approved")
		}
	})
	if a := chen.get(paths[0]); !strings.Contains(a.body, "/proposals/approve") || !strings.Contains(a.body, "stolen") {
		t.Error(a)
	}
	if a := chen.post("/proposals/approve", "number", number, "once", "a"); a.status != http.StatusSeeOther || a.location != devicePath(m.host()) {
		t.Error(a)
	}
	// Who comes late reads what became of it, and changes nothing; a customer reads it without names.
	length := w.length()
	for b, words := range map[*browser]string{chen: " by chen", keller: " by chen", larsen: ""} {
		path := "/proposals/approve"
		if b == larsen {
			path = "/proposals/take-back"
		}
		if a := b.post(path, "number", number, "once", "b"); a.status != http.StatusSeeOther || a.location != paths[0] {
			t.Error(a)
		}
		a := b.get(paths[0])
		if a.status != http.StatusOK || !strings.Contains(a.body, "Nothing was changed: it was approved, and done") || !strings.Contains(a.body, "The proposal is over: it was approved") || strings.Contains(a.body, "chen") != (words != "") && b != chen ||
			!strings.Contains(a.body, words) || strings.Contains(a.body, "/proposals/approve") || strings.Contains(a.body, "/proposals/take-back") {
			t.Error(a)
		}
	}
	if a := nemo.get(paths[0]); a.status != http.StatusNotFound {
		t.Error(a)
	}
	if w.length() != length {
		t.Error("something was written after it was over")
	}
	w.book(func(b *entitlement.Book) {
		h, _ := b.Host(m.host())
		if v, _ := b.Item(id, capability.At(w.now())); v.Used != 0 || len(h.Off) != 1 || h.Off[0].By != "larsen" || h.Off[0].Approved != "chen" || h.Off[0].Reason != "stolen <b>" {
			t.Errorf("%+v", h.Off)
		}
	})
	// What staff propose a customer sees, and neither who nor why; who proposed may not approve, and may take it back.
	again := w.station()
	w.answer(again.request(id, 2))
	propose(keller, "6", http.StatusSeeOther, again, id, "secret reason")
	paths = found(proposals, larsen.get("/waiting").body)
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	for _, at := range []string{"/waiting", paths[0]} {
		if a := larsen.get(at); a.status != http.StatusOK || strings.Contains(a.body, "secret") || strings.Contains(a.body, "keller") {
			t.Error(a)
		}
	}
	number = strings.TrimPrefix(paths[0], "/proposals/")
	if a := keller.get(paths[0]); strings.Contains(a.body, "/proposals/approve") || !strings.Contains(a.body, "Somebody else") {
		t.Error(a)
	}
	if a := keller.post("/proposals/approve", "number", number); a.status != http.StatusConflict || !strings.Contains(a.body, "LH-5105") {
		t.Error(a)
	}
	if a := chen.post("/proposals/turn-down", "number", number, "reason", strings.Repeat("x", 5000)); a.status != http.StatusBadRequest {
		t.Error(a.status)
	}
	if a := keller.post("/proposals/take-back", "number", number); a.status != http.StatusSeeOther || a.location != "/waiting" || len(found(proposals, keller.get("/waiting").body)) != 0 {
		t.Error(a)
	}
	// A page of a machine that a customer reads names nobody of the staff.
	if a := larsen.get(devicePath(m.host())); a.status != http.StatusOK || strings.Contains(a.body, "chen") {
		t.Error(a)
	}
}

// A repair is proposed in the inbox with the file, by a customer for its own machine only, and what comes of it is downloaded like every response.
func TestProposedRepair(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id, other := w.entitle("ACME Works", 10), w.entitle("Other", 10)
	m, theirs, fresh := w.station(), w.station(), w.station()
	w.answer(m.request(id, 4))
	w.answer(theirs.request(other, 4))
	larsen := w.signedIn("larsen", "ACME Works", capability.LicenseAdministrator)
	chen := w.signedIn("chen", "", capability.SecurityAdministrator, capability.Operator)
	m.number, m.life = 0, 2
	lost := m.request(id, 4, func(r *capability.Request) { r.Epoch = 9 })
	larsen.drop("", sent{"lost", lost}, sent{"fresh", fresh.request(id, 1)})
	page := larsen.get("/inbox")
	if !strings.Contains(page.body, "LH-5030") || !strings.Contains(page.body, "/inbox/propose") {
		t.Fatal(page)
	}
	files := w.tray("larsen")
	propose := func(status int, file, reason, from string) {
		t.Helper()
		if a := larsen.post("/inbox/propose", "file", file, "reason", reason, "from", from); a.status != status {
			t.Errorf("%d, want %d: %v", a.status, status, a)
		}
	}
	propose(http.StatusBadRequest, files[0].ID, "", "")
	propose(http.StatusNotFound, "none", "x", "")
	propose(http.StatusNotFound, files[1].ID, "x", theirs.host().String())
	propose(http.StatusBadRequest, files[1].ID, "x", "")
	propose(http.StatusSeeOther, files[0].ID, "the disk died", "")
	propose(http.StatusSeeOther, files[1].ID, "burnt", m.host().String())
	paths := found(proposals, chen.get("/waiting").body)
	if len(paths) != 2 {
		t.Fatal(paths)
	}
	if a := chen.get(paths[0]); !strings.Contains(a.body, "the disk died") || !strings.Contains(a.body, string(id)) {
		t.Error(a)
	}
	a := chen.post("/proposals/approve", "number", strings.TrimPrefix(paths[0], "/proposals/"))
	if a.status != http.StatusSeeOther || a.location != devicePath(m.host()) {
		t.Fatal(a)
	}
	device := chen.get(a.location)
	if got := found(download, device.body); len(got) != 1 || chen.get(got[0]).status != http.StatusOK {
		t.Error(device)
	}
	if a := chen.post("/proposals/approve", "number", strings.TrimPrefix(paths[1], "/proposals/")); a.status != http.StatusSeeOther || a.location != devicePath(fresh.host()) {
		t.Error(a)
	}
	w.book(func(b *entitlement.Book) {
		h, _ := b.Host(m.host())
		if h.Moved == nil || h.Moved.By != "larsen" || h.Moved.Approved != "chen" || len(h.Past) != 1 || h.Past[0].Approved != "chen" {
			t.Errorf("%+v", h)
		}
	})
	steps := 0
	if err := w.desk.Ask(func(o *backoffice.Office) error {
		return o.History(1, func(_ uint64, e *entitlement.Entry) error {
			if e.Proposed != nil {
				steps++
			}
			return nil
		})
	}); err != nil || steps != 4 {
		t.Errorf("%d entries about proposals, %v", steps, err)
	}
}
