package main

import (
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// What systemctl status shows is what is served, and the worst condition in the words of the table; what is only good to know is not there.
func TestStatusLine(t *testing.T) {
	for want, h := range map[string]console.Health{
		"serving 43/50 seats, next expiry 2027-03-30":                                                                                                                           {State: "serving", Used: 43, Total: 50, Expiry: 1806451199, Returns: make([]capability.Return, 1)},
		"serving 0/0 seats - LH-4030 nobody has the recovery key; next: leasehold recovery show":                                                                                {State: "serving", NoPaper: true},
		"not activated - LH-4001 not activated; next: leasehold request -o DIR, and bring back the response":                                                                    {State: "not activated", NoPaper: true},
		"holding - LH-4002 hold after a power loss or a repair: until 1970-01-01T00:00:09Z leases are renewed, and nothing new is granted; next: wait; the hold ends by itself": {State: "holding", HoldUntil: 9, NoPaper: true},
	} {
		h.Conditions = console.Conditions(&h)
		if got := statusLine(&h); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
