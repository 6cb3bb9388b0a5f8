package main

import (
	"slices"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// A condition that the daemon tells of is told by status, once.
func TestOtherNotes(t *testing.T) {
	got := otherNotes([]console.Condition{
		{Code: capability.ErrCertificateEnds, Title: "the site's certificate ends", Text: "on 2027-01-01", Next: "leasehold certificate request -o DIR"},
		{Code: capability.ErrCertificateLost, Title: "gone", Next: "x"},
		{Code: capability.ErrClock, Title: "clock held"},
		{Code: capability.ErrNotPolled, Title: "told above"},
	}, []string{"LH-5115 the back office is not asked"})
	if want := []string{"LH-3327 the site's certificate ends: on 2027-01-01; leasehold certificate request -o DIR", "LH-3326 gone; x"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
