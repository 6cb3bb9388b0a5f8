package portal

import (
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// A request is refused with a reason: the machine gets a response that says so, the book has who and why, and nothing was given.
func TestRefuse(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id := w.entitle("ACME Works", 10)
	m := w.station()
	b := w.signedIn("keller", "", capability.Operator)
	file := m.request(id, 4)
	b.drop("", sent{"one", file})
	one := w.tray("keller")[0].ID
	if page := b.get("/inbox"); !strings.Contains(page.body, "/inbox/refuse") {
		t.Fatal(page)
	}
	const reason = "the invoice of <October> is open"
	for _, c := range []struct {
		file, reason string
		status       int
	}{
		{one, "  ", http.StatusBadRequest},
		{one, strings.Repeat("r", 257), http.StatusBadRequest},
		{"none", reason, http.StatusNotFound},
	} {
		if a := b.post("/inbox/refuse", "file", c.file, "reason", c.reason); a.status != c.status {
			t.Errorf("%q: %v", c.reason, a)
		}
	}
	for range 2 { // sent twice it counts once
		if a := b.post("/inbox/refuse", "file", one, "reason", reason); a.status != http.StatusSeeOther {
			t.Fatal(a)
		}
	}
	page := b.get("/inbox")
	if !strings.Contains(page.body, "refuses LH-5020") || !strings.Contains(page.body, "the invoice of &lt;October&gt; is open") || strings.Contains(page.body, "/inbox/refuse") {
		t.Error(page)
	}
	paths := found(download, page.body)
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	if a := b.get(paths[0]); a.status != http.StatusOK {
		t.Error(a.status)
	}
	w.book(func(book *entitlement.Book) {
		h, _ := book.Host(m.host())
		if len(h.Holds) != 0 || h.Serial != 1 || h.Requests[0].Refused != reason {
			t.Errorf("%+v", h)
		}
	})
	if a := b.get(devicePath(m.host())); !strings.Contains(a.body, "refused: the invoice") {
		t.Error(a)
	}
	// Dropped once more it says what it was; a response to it is the same refusal.
	b.post("/inbox/clear")
	b.drop("", sent{"one", file})
	page = b.get("/inbox")
	if !strings.Contains(page.body, "refused 20") || !strings.Contains(page.body, "LH-5020") {
		t.Error(page)
	}
	if b.create(page); !strings.Contains(b.get("/inbox").body, "LH-5020") {
		t.Error("answered otherwise the second time")
	}
}

// A customer refuses the requests of its own machines, and of another's finds nothing. What needs two persons is not refused with one's word: it has no answer at all, and waits for the two as before.
func TestRefuseWhatIsNotOnesOwn(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id, other := w.entitle("ACME Works", 10), w.entitle("Other", 10)
	m, theirs := w.station(), w.station()
	w.answer(m.request(id, 4))
	larsen := w.signedIn("larsen", "ACME Works", capability.LicenseAdministrator)
	m.number, m.life = 0, 2
	larsen.drop("", sent{"theirs", theirs.request(other, 1)}, sent{"lost", m.request(id, 4)})
	files := w.tray("larsen")
	if a := larsen.post("/inbox/refuse", "file", files[0].ID, "reason", "no"); a.status != http.StatusNotFound {
		t.Error(a)
	}
	if a := larsen.post("/inbox/refuse", "file", files[1].ID, "reason", "no"); a.status != http.StatusConflict || !strings.Contains(a.body, "LH-5030") {
		t.Error(a)
	}
	w.book(func(book *entitlement.Book) {
		if _, known := book.Host(theirs.host()); known {
			t.Error("another's machine was refused")
		}
		if h, _ := book.Host(m.host()); h.Serial != 1 || h.Life[0] != 1 {
			t.Errorf("%+v", h)
		}
	})
}
