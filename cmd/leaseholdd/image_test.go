package main

import (
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/storage"
)

// built PREFIX VERSION [SECURITY] writes the three files of an image, as small as they can be.
func built(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(rig.Image(ts.MkAbs(args[0]), args[1], args[2:]...))
}

// sealedto STORAGE N wants a storage that knows so many boot states.
func sealedTo(ts *testscript.TestScript, neg bool, args []string) {
	b, err := storage.Public(storage.Dir(ts.MkAbs(args[0])))
	ts.Check(err)
	var public appliance.Public
	if len(b) > 0 {
		ts.Check(wire.New().Decode(b, &public, storage.MaxPublicBytes))
	}
	if got := fmt.Sprint(len(public.States)); got != args[1] {
		ts.Fatalf("%s knows %s boot states, want %s", args[0], got, args[1])
	}
}
