package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/cmd/internal/rig"
)

// built PREFIX VERSION [SECURITY] writes the three files of an image, as small as they can be.
func built(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(rig.Image(ts.MkAbs(args[0]), args[1], args[2:]...))
}
