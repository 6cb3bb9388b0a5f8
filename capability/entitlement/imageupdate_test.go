package entitlement

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// An update that was signed is on record with what it is, and nothing else of the book changes by it.
func TestUpdateIsOnRecord(t *testing.T) {
	w := newWorld(t, anyTier())
	good := SignedUpdate{Version: "2026.2", Security: 3, RootHash: capability.Digest{1}, File: capability.Digest{2}, States: 4}
	for name, spoil := range map[string]func(*SignedUpdate){
		"no version":              func(u *SignedUpdate) { u.Version = "" },
		"a version that writes":   func(u *SignedUpdate) { u.Version = "2\x1b[31m" },
		"no security version":     func(u *SignedUpdate) { u.Security = 0 },
		"no root hash":            func(u *SignedUpdate) { u.RootHash = capability.Digest{} },
		"nothing that was signed": func(u *SignedUpdate) { u.File = capability.Digest{} },
	} {
		u := good
		spoil(&u)
		if d, err := w.do(NoteUpdate{Update: u}); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
		e := w.book.entry(w.now, "")
		e.Update = &u
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s is applied: %v", name, err)
		}
	}
	d := w.mustDo(NoteUpdate{Update: good, By: "operator"})
	if e := d.Entries[0]; len(d.Entries) != 1 || *e.Update != good || e.By != "operator" || e.Subject() != "2026.2" {
		t.Errorf("%+v", e)
	}
}
