package main

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// Each condition that the daemon tells is told by status, in the words of the daemon's table and in no others.
func TestStatusTellsTheTable(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	h := console.Health{Version: "development", State: "serving", NoPaper: true, Returns: make([]capability.Return, 2), Conditions: []console.Condition{
		{Code: capability.ErrCertificateEnds, Severity: console.Warning, Title: "the site's certificate ends", Text: "on 2027-01-01", Next: "leasehold certificate request -o DIR"},
		{Code: capability.ErrCertificateLost, Severity: console.Warning, Title: "gone", Next: "x"},
	}}
	d.says("GET health", h)
	status, out, stderr := m.run("status")
	_, told, _ := strings.Cut(out, "# Health:\n")
	if want := "#   LH-3327 the site's certificate ends: on 2027-01-01; next: leasehold certificate request -o DIR\n#   LH-3326 gone; next: x\n"; status != 0 || told != want {
		t.Errorf("%d\n%s%s\nwant\n%s", status, out, stderr, want)
	}
}
