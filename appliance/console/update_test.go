package console

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
)

// What was left is told until the machine says that nothing is, or a newer image runs; what is no form is refused.
func TestLeftUpdate(t *testing.T) {
	c := refusing(t, capability.ErrRollback)
	c.Appliance.Image = appliance.Image{Version: "2026.2", Security: 1}
	for _, row := range []struct{ body, left string }{{`{"left":"2026.3"}`, "2026.3"}, {`{}`, ""}, {`{"left":"2026.10"}`, "2026.10"}, {`{"left":"2026.2"}`, ""}, {`{"left":"2026.1.9"}`, ""}, {`{"left":"no release"}`, ""}} {
		if _, err := c.proved(httptest.NewRequest("POST", "/", strings.NewReader(row.body))); err != nil {
			t.Fatal(row.body, err)
		}
		h, err := c.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if (h.Left != nil) != (row.left != "") || h.Left != nil && *h.Left != (LeftUpdate{row.left, "2026.2"}) {
			t.Errorf("%s: %+v", row.body, h.Left)
		}
	}
	for _, body := range []string{"", `{"left":1}`, `{"right":""}`} {
		if _, err := c.proved(httptest.NewRequest("POST", "/", strings.NewReader(body))); err == nil {
			t.Errorf("%s is a form", body)
		}
	}
}
