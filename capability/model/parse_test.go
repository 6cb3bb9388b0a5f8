package model

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func must(t testing.TB, text string) *Model {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}

// item is a line item in the few words a test needs; now is 100 in all tests.
type item struct {
	id, feature, version string
	count                uint32
	start, expiry        capability.Time
	vendor, product      string
	metered, uncounted   bool
}

const now capability.Time = 100

// stockOf makes line items; those without an ID are A0, A1 and so on.
func stockOf(all ...item) []capability.LineItem {
	out := make([]capability.LineItem, len(all))
	for i, it := range all {
		if it.id == "" {
			it.id = fmt.Sprintf("A%d", i)
		}
		if it.version == "" {
			it.version = "1.0"
		}
		v, err := capability.ParseVersion(it.version)
		if err != nil {
			panic(err)
		}
		out[i] = capability.LineItem{ActivationID: capability.ActivationID(it.id), Feature: it.feature, Version: v, Count: it.count, Start: it.start,
			Expiry: it.expiry, VendorString: it.vendor, Product: it.product, Metered: it.metered, Uncounted: it.uncounted}
	}
	return out
}
