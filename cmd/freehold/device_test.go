package main

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
)

// A device that is named like another one's first digits is not taken for it, nor the other for it.
func TestFindDevice(t *testing.T) {
	b := entitlement.New()
	do := func(c entitlement.Command) {
		t.Helper()
		d, err := b.Decide(1_800_000_000, c)
		if err == nil {
			err = b.Apply(d.Entries[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	do(entitlement.SetPolicy{Policy: entitlement.DefaultPolicy("Works")})
	mill, press := hostid.OfDigest(hostid.TPMEK, capability.Digest{0x7f, 0x3a, 0x22}), hostid.OfDigest(hostid.TPMEK, capability.Digest{0x21})
	do(entitlement.SetDevice{Device: entitlement.Device{ID: mill, Name: "Mill 3"}})
	do(entitlement.SetDevice{Device: entitlement.Device{ID: press, Name: "7f3a"}})
	for name, want := range map[string]hostid.ID{"mill 3": mill, "7F3A22": mill, mill.String(): mill, "2100": press, "7F3A": {}, "7f3a": {}, "Mill 4": {}} {
		if got, err := findDevice(b, name); got != want || (err == nil) != (want != hostid.ID{}) {
			t.Errorf("%q is %s, want %s: %v", name, got, want, err)
		}
	}
	do(entitlement.SetDevice{Device: entitlement.Device{ID: press, Name: "7F3A-press"}})
	if got, err := findDevice(b, "7f3a"); got != mill {
		t.Errorf("%s: %v", got, err)
	}
}

// Who logged in is a number; where nobody did the kernel says the highest.
func TestLoginUID(t *testing.T) {
	for said, want := range map[string]string{"1000": "1000", "0": "0", "1000\n": "1000", "4294967295": "", "": "", "-1": "", "4294967296": "", "ana": ""} {
		if uid, logged := loginUID([]byte(said)); uid != want || logged != (want != "") {
			t.Errorf("%q is %q, %t", said, uid, logged)
		}
	}
	if operator() == "" {
		t.Error("nobody runs this test")
	}
}
