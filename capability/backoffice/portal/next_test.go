package portal

import (
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// Whoever has a browser is told what to press, and no command; every refusal of the back office has a step of its own.
func TestNextSteps(t *testing.T) {
	general, own := 0, 0
	for _, e := range capability.Catalog() {
		step := Next(e.Code)
		for _, command := range []string{"freehold", "leasehold", "systemctl", "openssl", "--", "FILE", "DIR", "NAME"} {
			if strings.Contains(step, command) {
				t.Errorf("%s %s: %q is a command", e.Code, e.Symbol, step)
			}
		}
		if step == "" || strings.HasSuffix(step, ".") || strings.ToUpper(step[:1]) == step[:1] {
			t.Errorf("%s %s: %q", e.Code, e.Symbol, step)
		}
		switch {
		case !strings.HasPrefix(step, "ask the producer, and name the code"):
			own++
		case e.Code >= 5000 && e.Code < 6000:
			t.Errorf("%s %s has no step of its own", e.Code, e.Symbol)
		default:
			general++
		}
	}
	t.Logf("%d codes have a step of their own, %d of appliances and programs the general one", own, general)
	for code, step := range steps() {
		if step == code.Entry().Next {
			t.Errorf("%s says what the catalog says", code)
		}
	}
	if next := capability.ErrRepair.Entry().Next; !strings.Contains(next, "freehold respond") {
		t.Errorf("the catalog's step is for a terminal, and is %q", next)
	}
}

// On the pages too.
func TestNextStepsOnPages(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id := w.entitle("ACME", 5)
	m := w.station()
	w.answer(m.request(id, 2))
	m.number, m.life = 0, 2
	b := w.signedIn("keller", "", capability.Operator)
	b.drop("", sent{"lost", m.request(id, 2)})
	if page := b.get("/inbox"); !strings.Contains(page.body, "LH-5030") || !strings.Contains(page.body, "propose it to a second person") || strings.Contains(page.body, "freehold respond") {
		t.Error(page)
	}
	if a := b.get("/items/none"); a.status != http.StatusNotFound || strings.Contains(a.body, "freehold show") || !strings.Contains(a.body, "lists of this portal") {
		t.Error(a)
	}
}
