package portal

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

var questions = regexp.MustCompile(`href="(/questions/[0-9]+)"`)

// An operator asks the customer before a request is answered: it waits, with a text to print, is found again by its machine, and ends with the answer, a refusal too.
func TestAskCustomer(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id := w.entitle("ACME Works", 10)
	m := w.station()
	w.answer(m.request(id, 1))
	b := w.signedIn("keller", "", capability.Operator)
	larsen := w.signedIn("larsen", "ACME Works", capability.LicenseAdministrator)
	nemo := w.signedIn("nemo", "Other", capability.LicenseAdministrator)
	file := m.request(id, 7)
	b.drop("", sent{"one", file})
	one := w.tray("keller")[0].ID
	if page := b.get("/inbox"); !strings.Contains(page.body, "/inbox/ask") {
		t.Fatal(page)
	}
	const text = "is this <hall 3>?"
	for _, bad := range []string{"", strings.Repeat("x", 257)} {
		if a := b.post("/inbox/ask", "file", one, "text", bad); a.status != http.StatusBadRequest {
			t.Errorf("%q: %v", bad, a)
		}
	}
	if a := b.post("/inbox/ask", "file", "none", "text", text); a.status != http.StatusNotFound {
		t.Error(a)
	}
	at := ""
	for range 2 { // sent twice it counts once
		a := b.post("/inbox/ask", "once", "a", "file", one, "text", text)
		if a.status != http.StatusSeeOther || at != "" && a.location != at {
			t.Fatal(a)
		}
		at = a.location
	}
	page := b.get(at)
	for _, words := range []string{"is this &lt;hall 3&gt;?", "request 2 of your machine " + m.host().Short(), "7 copies of " + string(id), "question " + strings.TrimPrefix(at, "/questions/") + ", machine", "by keller"} {
		if !strings.Contains(page.body, words) {
			t.Errorf("%q is not on %v", words, page)
		}
	}
	// It is listed, and found by its machine, by staff and by the customer, who reads nobody's name; another finds nothing.
	for _, path := range []string{"/waiting", devicePath(m.host()), at} {
		for _, who := range []*browser{b, larsen} {
			if a := who.get(path); !strings.Contains(a.body, "is this &lt;hall 3&gt;?") || path != at && len(found(questions, a.body)) != 1 || who == larsen && (strings.Contains(a.body, "keller") || strings.Contains(a.body, "/questions/end")) {
				t.Errorf("%s: %v", path, a)
			}
		}
		if a := nemo.get(path); strings.Contains(a.body, "hall 3") || path != "/waiting" && a.status != http.StatusNotFound {
			t.Errorf("%s: %v", path, a)
		}
	}
	for _, path := range []string{"/questions/answer", "/questions/end", "/inbox/ask"} {
		if a := larsen.post(path, "number", strings.TrimPrefix(at, "/questions/")); a.status != http.StatusForbidden {
			t.Errorf("%s: %v", path, a)
		}
	}
	// Another operator takes it up from there; the inbox says that it waits, and does not choose it by itself.
	other := w.signedIn("other", "", capability.Operator)
	if a := other.post("/questions/answer", "number", strings.TrimPrefix(at, "/questions/")); a.status != http.StatusSeeOther || a.location != "/inbox" {
		t.Fatal(a)
	}
	page = other.get("/inbox")
	if !strings.Contains(page.body, "the customer was asked") || strings.Contains(page.body, one+`" checked`) || !strings.Contains(page.body, one) {
		t.Error(page)
	}
	if a := other.post("/inbox/refuse", "file", one, "reason", "not in hall 3"); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	w.book(func(book *entitlement.Book) {
		if len(book.Questions("")) != 0 {
			t.Error("the question is open after the answer")
		}
	})
	if a := b.get(at); a.status != http.StatusNotFound {
		t.Error(a.status)
	}
	// What needs a repair can wait too, and be ended without an answer.
	m.number, m.life = 0, 2
	b.post("/inbox/clear")
	b.drop("", sent{"lost", m.request(id, 1)})
	a := b.post("/inbox/ask", "once", "b", "file", w.tray("keller")[0].ID, "text", "what happened?")
	if a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	if a := b.post("/questions/end", "once", "c", "number", strings.TrimPrefix(a.location, "/questions/")); a.status != http.StatusSeeOther || len(found(questions, b.get("/waiting").body)) != 0 {
		t.Error(a)
	}
	// What was answered waits for nothing.
	b.post("/inbox/clear")
	b.drop("", sent{"one", file})
	if a := b.post("/inbox/ask", "once", "d", "file", one, "text", text); a.status != http.StatusBadRequest || !strings.Contains(a.body, "was answered") {
		t.Error(a)
	}
}
