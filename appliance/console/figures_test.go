package console

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// TestFigures: what monitoring is told of an appliance that serves, and of one that does not.
func TestFigures(t *testing.T) {
	c, _ := runningConsole(t, noon)
	f, err := c.Figures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var total, used uint64
	for _, s := range f.Seats {
		if s.Feature != "f" {
			t.Errorf("%+v", s)
		}
		total += s.Total
		used += s.Used
	}
	if total != 10 || used != 4 || !f.Features["f"] || len(f.Features) != 1 || len(f.Expiries) != 0 {
		t.Errorf("%+v", f)
	}
	c.media.count(capability.Applied)
	c.media.count(capability.Applied)
	if f, err = c.Figures(t.Context()); err != nil || f.Media[capability.Applied] != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err = refusing(t, capability.ErrCorrupt).Figures(t.Context()); err != nil || len(f.Seats) != 0 || len(f.Conditions) != 1 {
		t.Errorf("refusing: %+v, %v", f, err)
	}
	a, _ := started(t, ledger.New(), 0, noon)
	if f, err = (&Console{Appliance: a}).Figures(t.Context()); err != nil || len(f.Seats) != 0 || f.Conditions[0].Code != capability.ErrNotProvisioned {
		t.Errorf("not activated: %+v, %v", f, err)
	}
}
