package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Check says whether every invariant of the book holds. It runs after each step of the tests, and whenever a book is opened.
func (b *Book) Check() error {
	if b.length == 0 {
		if len(b.items)+len(b.hosts) > 0 || b.head != (capability.Digest{}) {
			return corrupt("a book without entries has %d items and %d hosts", len(b.items), len(b.hosts))
		}
		return nil
	}
	if err := b.policy.Validate(); err != nil {
		return corrupt("policy: %w", err)
	}
	if err := b.checkBoots(); err != nil {
		return corrupt("boot states: %w", err)
	}
	held := map[capability.ActivationID]uint64{}
	answers := 0
	for _, h := range b.hosts {
		if b.byKey[h.Host] != h {
			return corrupt("host %s is there twice", h.Host)
		}
		n, err := b.checkHost(h)
		if err != nil {
			return corrupt("host %s: %w", h.Host.Short(), err)
		}
		answers += n
		for _, f := range h.Holds {
			held[f.ActivationID] += uint64(f.Copies)
		}
	}
	if len(b.byKey) != len(b.hosts) || len(b.byID) != len(b.items) || len(b.answered) != answers {
		return corrupt("%d hosts, %d items and %d answers are found as %d, %d and %d", len(b.hosts), len(b.items), answers, len(b.byKey), len(b.byID), len(b.answered))
	}
	for _, i := range b.items {
		if err := i.Validate(); err != nil {
			return corrupt("item %s: %w", i.ActivationID, err)
		}
		// What hosts hold and what is left are all the copies there are.
		if b.byID[i.ActivationID] != i || held[i.ActivationID] != uint64(i.used) || i.used > i.Copies {
			return corrupt("item %s: hosts hold %d, the sum says %d, of %d copies", i.ActivationID, held[i.ActivationID], i.used, i.Copies)
		}
	}
	return nil
}

// checkHost gives the number of requests of a host that were answered.
func (b *Book) checkHost(h *Host) (answers int, err error) {
	if h.Identity.Host.Validate() != nil || h.Tier < Software || h.Tier > Hardware {
		return 0, fmt.Errorf("identity %s of tier %d", h.Host, h.Tier)
	}
	last := capability.ActivationID("")
	for _, f := range h.Holds {
		if b.byID[f.ActivationID] == nil || f.Copies == 0 || f.ActivationID <= last {
			return 0, fmt.Errorf("%d copies of %s, not in order or not in the book", f.Copies, f.ActivationID)
		}
		last = f.ActivationID
	}
	for n, m := range h.Metered {
		if m.Validate() != nil || !b.metered(m.ID()) || n > 0 && compareMeters(h.Metered[n-1], m) >= 0 {
			return 0, fmt.Errorf("%d of %s are used, not in order or not metered", m.Count, m.ID())
		}
	}
	serial := uint64(0)
	lives := map[capability.LifeID]bool{h.Life: true}
	for _, p := range append(slices.Clone(h.Past), PastLife{Answered: h.Answered, Requests: h.Requests}) {
		number, audit := uint64(0), capability.Head{}
		for _, k := range p.Requests {
			if k.Number <= number {
				return 0, fmt.Errorf("request %d follows request %d", k.Number, number)
			}
			number = k.Number
			if k.Serial == 0 {
				continue
			}
			// Serials grow with the numbers of the requests they answer, without gaps, from life to life.
			if answers++; k.Serial != serial+1 || b.answered[k.Digest] != h {
				return 0, fmt.Errorf("response %d follows response %d", k.Serial, serial)
			}
			serial = k.Serial
			// The audit trail of a life only grows, and an entry that is there stays as it is.
			if k.Audit.Position < audit.Position || k.Audit.Position == audit.Position && k.Audit != audit && !k.Fork {
				return 0, fmt.Errorf("request %d names %d audit entries, a request before it %d, or another last one", k.Number, k.Audit.Position, audit.Position)
			}
			audit = k.Audit
		}
		if number != p.Answered || number == 0 {
			return 0, fmt.Errorf("request %d is the last of a life, on record %d", p.Answered, number)
		}
	}
	for _, p := range h.Past {
		if lives[p.Life] || len(p.Reason) > MaxReason || len(p.Approved) > capability.MaxName {
			return 0, fmt.Errorf("life %x is there twice, or ended for %d bytes of reasons", p.Life, len(p.Reason))
		}
		lives[p.Life] = true
	}
	if serial != h.Serial || serial == 0 {
		return 0, fmt.Errorf("response %d is the last, on record %d", h.Serial, serial)
	}
	ids := map[capability.ReturnID]bool{}
	for _, s := range h.Returns {
		if ids[s.ID] || s.Credited == (s.Refused != 0) || s.Credited && s.Epoch <= s.Floor {
			return 0, fmt.Errorf("return %.4x is there twice, or both credited and refused, or of an epoch seen before", s.ID[:])
		}
		ids[s.ID] = true
		if s.Credited && b.byID[s.ActivationID] == nil {
			return 0, fmt.Errorf("return %.4x of %s, which is not in the book", s.ID[:], s.ActivationID)
		}
	}
	if m := h.Moved; m != nil && (len(h.Holds)+len(h.Metered) > 0 || b.byKey[m.To] == nil || m.To == h.Host || m.Approved == "" || m.Serial > h.Serial) {
		return 0, fmt.Errorf("its rights went to %s with response %d, and it has some, or that is no other machine", m.To, m.Serial)
	}
	if err := h.checkAppearances(); err != nil {
		return 0, err
	}
	if len(h.Incidents) > MaxIncidents {
		return 0, fmt.Errorf("%d incidents", len(h.Incidents))
	}
	return answers, nil
}
