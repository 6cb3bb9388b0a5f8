package entitlement

import (
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// SignedUpdate is the fact that an update of the appliances' image was signed. Nothing is decided by it: the file is good wherever it is, and this says later what there is.
type SignedUpdate struct {
	Version  string            `cbor:"1,keyasint,omitzero" json:"version"`
	Security uint32            `cbor:"2,keyasint,omitzero" json:"security"`
	RootHash capability.Digest `cbor:"3,keyasint,omitzero" json:"rootHash"`
	File     capability.Digest `cbor:"4,keyasint,omitzero" json:"file"`   // SHA-256 of what was signed
	States   uint32            `cbor:"5,keyasint,omitzero" json:"states"` // boot states in it
}

// NoteUpdate puts on record what was signed. The entry is durable before anybody has the file.
type NoteUpdate struct {
	Update SignedUpdate
	By     string
}

func (c NoteUpdate) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := c.Update.validate(); err != nil {
		return nil, fmt.Errorf("update: %w", err)
	}
	e := b.entry(now, c.By)
	e.Update = &c.Update
	return &Decision{Entries: []*Entry{e}}, nil
}

func (u *SignedUpdate) validate() error {
	if u.Security == 0 || u.RootHash == (capability.Digest{}) || u.File == (capability.Digest{}) {
		return errors.New("without a security version, a root hash or a file")
	}
	return capability.CheckName("version", u.Version)
}
