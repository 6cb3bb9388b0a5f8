package backoffice

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
)

// What was signed for an appliance's image is on record when its file is there; what is for too many machines is neither, and can be signed for some of them.
func TestSignUpdate(t *testing.T) {
	p, o := newOffice(t, nil)
	known := bytes.Repeat([]byte{7}, entitlement.StateBytes)
	if err := o.AllowBoot(known, "image", "operator", today); err != nil {
		t.Fatal(err)
	}
	part := wire.UpdatePart{Size: 1, SHA256: capability.Digest{1}}
	update := func(of Machines) (*wire.Update, []byte, error) {
		u := &wire.Update{Version: "2026.2", Security: 3, RootHash: capability.Digest{2}, Root: part, Verity: part, Kernel: part}
		file, err := o.SignUpdate(u, [sha256.Size]byte{11}, of, "operator", today)
		return u, file, err
	}
	fleet := Machines{}
	for n := range uint32(500) {
		fleet.States = append(fleet.States, append(binary.BigEndian.AppendUint32(nil, n+1), make([]byte, entitlement.StateBytes-4)...))
	}
	_, head := o.Book().Head()
	if _, file, err := update(fleet); codeOf(err) != capability.ErrUpdateMany || file != nil {
		t.Fatalf("%d bytes: %v", len(file), err)
	}
	if _, now := o.Book().Head(); now != head {
		t.Error("what was not signed is on record")
	}
	for _, row := range []struct {
		of     Machines
		states int
	}{{Machines{}, 1}, {Machines{States: fleet.States[:300]}, 301}, {Machines{States: fleet.States[:2], Only: true}, 2}, {Machines{Only: true}, 0}} {
		u, file, err := update(row.of)
		if err != nil || len(u.Boot.States) != row.states {
			t.Fatalf("%d boot states, want %d: %v", len(u.Boot.States), row.states, err)
		}
		o.Close()
		o = mustOpen(t, p, rand.Reader)
		_, n := o.Book().Head()
		if err := o.History(n, func(_ uint64, e *entitlement.Entry) error {
			want := entitlement.SignedUpdate{Version: "2026.2", Security: 3, RootHash: capability.Digest{2}, File: sha256.Sum256(file), States: uint32(row.states)}
			if e.Update == nil || *e.Update != want || e.By != "operator" || e.Time != today || e.Subject() != "2026.2" {
				t.Errorf("%+v is on record, want %+v", e.Update, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}
