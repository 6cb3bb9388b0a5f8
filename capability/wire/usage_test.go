package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// The largest body that says something fits its limit, and nothing longer is looked at.
func TestUsageFits(t *testing.T) {
	c := New()
	id, err := capability.NewActivationID(strings.NewReader(strings.Repeat("7", 18)))
	if err != nil {
		t.Fatal(err)
	}
	u := capability.Usage{From: 1 << 40, Until: 1 << 41, ActivationID: id, Feature: strings.Repeat("f", capability.MaxName), Peak: capability.MaxUsed, Served: capability.MaxUsed, Seconds: capability.MaxUsed}
	for i := range capability.MaxDenied {
		u.Denials = append(u.Denials, capability.Denied{Code: capability.Code(9000 + i), Count: capability.MaxUsed})
	}
	person := u
	person.Denials, person.User = nil, strings.Repeat("u", capability.MaxText)
	for _, u := range []capability.Usage{u, person} {
		b := c.Encode(&u)
		if again, err := c.DecodeUsage(b); err != nil || len(b) > capability.MaxUsage || len(again.Denials) != len(u.Denials) || again.User != u.User {
			t.Errorf("%d bytes are read as %+v: %v", len(b), again, err)
		}
		if _, err := c.DecodeUsage(append(b, make([]byte, capability.MaxUsage+1-len(b))...)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte above the limit: %v", err)
		}
	}
	if _, err := c.DecodeUsage(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no body: %v", err)
	}
}
