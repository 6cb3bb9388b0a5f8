package entitlement

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A machine is its TPM; everything else it shows of itself may change, and is only kept on record: an administrator who changed a board and a thief who moved the TPM look alike, and people tell them
// apart. So what a request shows is written down where it differs from the one before, and refuses nothing.

// MaxAppearances are kept of one machine; older ones are in the entries.
const MaxAppearances = 32

// Appearance is what a machine showed of itself in a request that was answered.
type Appearance struct {
	Number   uint64          `cbor:"1,keyasint,omitzero" json:"number"` // of the request
	Time     capability.Time `cbor:"2,keyasint,omitzero" json:"time"`
	Tier     Tier            `cbor:"3,keyasint,omitzero" json:"tier"`
	Why      string          `cbor:"4,keyasint,omitzero" json:"why,omitempty"`      // what the tier follows from; differs without being a change
	Hosts    []hostid.ID     `cbor:"5,keyasint,omitempty" json:"hosts"`             // its host IDs beside the TPM's, by type and value
	Platform string          `cbor:"6,keyasint,omitzero" json:"platform,omitempty"` // the virtual machine or container that it says it is
	State    []byte          `cbor:"7,keyasint,omitempty" json:"state,omitempty"`   // the boot state it quoted, StateBytes long
	Booted   string          `cbor:"8,keyasint,omitzero" json:"booted,omitempty"`   // what its log says was started, as far as the quote bears it out
}

// Shown is what the judge of a request found besides the identity: texts for people.
type Shown struct {
	Why      string // what the tier follows from
	Platform string
	Booted   string
}

func (s *Shown) check() error {
	for _, t := range []string{s.Why, s.Platform, s.Booted} {
		if err := capability.CheckText(t); err != nil {
			return fmt.Errorf("what a machine showed: %w", err)
		}
	}
	return nil
}

// appears is what a request shows of a machine, nil where it is what the one before showed.
func (h *Host) appears(now capability.Time, c *Answer) *Appearance {
	a := &Appearance{
		Number: c.Request.Number, Time: now, Tier: c.Identity.Tier, Why: c.Shown.Why, Hosts: sorted(c.Request.Hosts[1:]), Platform: c.Shown.Platform,
		State: bytes.Clone(c.Boot), Booted: c.Shown.Booted,
	}
	if n := len(h.Appearances); n > 0 && h.Appearances[n-1].same(a) {
		return nil
	}
	return a
}

func (a *Appearance) same(b *Appearance) bool {
	return a.Tier == b.Tier && a.Platform == b.Platform && a.Booted == b.Booted && bytes.Equal(a.State, b.State) && slices.Equal(a.Hosts, b.Hosts)
}

func sorted(ids []hostid.ID) []hostid.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareHosts)
	return ids
}

func compareHosts(a, b hostid.ID) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
}

// Drift is what of the host IDs is gone since the appearance before, and what came.
func (a *Appearance) Drift(before *Appearance) (gone, came []hostid.ID) {
	return without(before.Hosts, a.Hosts), without(a.Hosts, before.Hosts)
}

func without(list, others []hostid.ID) (left []hostid.ID) {
	for _, id := range list {
		if !slices.Contains(others, id) {
			left = append(left, id)
		}
	}
	return left
}

// shows writes an appearance into the host; the oldest makes room.
func (h *Host) shows(a *Appearance) {
	if a == nil {
		return
	}
	if n := len(h.Appearances); n >= MaxAppearances {
		h.Appearances = slices.Clone(h.Appearances[n-MaxAppearances+1:])
	}
	h.Appearances = append(h.Appearances, *a)
}

// check asserts what appears promises of an entry.
func (a *Appearance) check(e *Entry) error {
	switch {
	case a.Number != e.Answer.Request.Number || a.Time != e.Time || a.Tier != e.Answer.Identity.Tier:
		return fmt.Errorf("request %d, of tier %s, shows request %d, of tier %s", e.Answer.Request.Number, e.Answer.Identity.Tier, a.Number, a.Tier)
	case len(a.Hosts) >= capability.MaxHosts || !slices.IsSortedFunc(a.Hosts, compareHosts):
		return fmt.Errorf("request %d shows %d host IDs, or not in order", a.Number, len(a.Hosts))
	}
	return (&Shown{a.Why, a.Platform, a.Booted}).check()
}

// checkAppearances says whether the appearances of a host are in order, and the last is of the tier on record.
func (h *Host) checkAppearances() error {
	n := len(h.Appearances)
	if n > MaxAppearances {
		return fmt.Errorf("%d appearances", n)
	}
	for i := range h.Appearances[:max(n-1, 0)] {
		if a, b := &h.Appearances[i], &h.Appearances[i+1]; a.same(b) || a.Time > b.Time {
			return fmt.Errorf("request %d shows what request %d showed, or came before it", b.Number, a.Number)
		}
	}
	if n > 0 && h.Appearances[n-1].Tier != h.Tier {
		return fmt.Errorf("it is of tier %s, and last showed tier %s", h.Tier, h.Appearances[n-1].Tier)
	}
	return nil
}
