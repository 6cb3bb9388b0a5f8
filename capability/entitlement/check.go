package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Check says whether every invariant of the book holds. It runs after each step of the tests, and whenever a book is opened.
func (b *Book) Check() error { return b.check(inTurn, true) }

// check leaves out, unless it is told, what a start sees when it reads an item: that it is valid, and found by its ID.
func (b *Book) check(run Beside, read bool) error {
	if b.length == 0 {
		if len(b.items)+len(b.hosts) > 0 || b.head != (capability.Digest{}) {
			return corrupt("a book without entries has %d items and %d hosts", len(b.items), len(b.hosts))
		}
		return nil
	}
	if err := b.policy.Validate(); err != nil {
		return corrupt("policy: %w", err)
	}
	if err := b.checkCatalog(); err != nil {
		return corrupt("catalog: %w", err)
	}
	if err := b.checkBoots(); err != nil {
		return corrupt("boot states: %w", err)
	}
	if err := b.checkSigners(); err != nil {
		return corrupt("signing keys: %w", err)
	}
	if err := b.checkUsers(); err != nil {
		return corrupt("%w", err)
	}
	if err := b.checkLogins(); err != nil {
		return corrupt("%w", err)
	}
	if err := b.checkProposals(); err != nil {
		return corrupt("%w", err)
	}
	if err := b.checkQuestions(); err != nil {
		return corrupt("%w", err)
	}
	if err := b.checkMappings(); err != nil {
		return err
	}
	if err := b.checkOrders(); err != nil {
		return err
	}
	if err := b.checkUsage(); err != nil {
		return corrupt("%w", err)
	}
	if err := b.checkKeys(); err != nil {
		return corrupt("keys: %w", err)
	}
	if err := b.checkIndex(run); err != nil {
		return corrupt("%w", err)
	}
	answered := make([]int, len(b.hosts))
	err := first(run, len(b.hosts), func(n int) (err error) {
		h := b.hosts[n]
		if b.byKey[h.Host] != h {
			return corrupt("host %s is there twice", h.Host)
		}
		if answered[n], err = b.checkHost(h); err != nil {
			return corrupt("host %s: %w", h.Host.Short(), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	answers := 0
	for _, n := range answered {
		answers += n
	}
	if len(b.byKey) != len(b.hosts) || len(b.byID) != len(b.items) || len(b.answered) != answers {
		return corrupt("%d hosts, %d items and %d answers are found as %d, %d and %d", len(b.hosts), len(b.items), answers, len(b.byKey), len(b.byID), len(b.answered))
	}
	return first(run, len(b.items), func(n int) error {
		i := b.items[n]
		if read {
			if err := i.Validate(); err != nil {
				return corrupt("item %s: %w", i.ActivationID, err)
			}
			if b.byID[i.ActivationID] != i {
				return corrupt("item %s is there twice", i.ActivationID)
			}
		}
		if err := b.checkLife(i); err != nil {
			return corrupt("item %s: %w", i.ActivationID, err)
		}
		// What hosts hold and what is left are all the copies there are. That they hold nothing else was found with the index.
		held := uint64(0)
		for _, h := range i.hosts {
			held += uint64(h.held(i.ActivationID))
		}
		if held != uint64(i.used) {
			return corrupt("item %s: hosts hold %d, the sum says %d, of %d copies", i.ActivationID, held, i.used, i.Copies)
		}
		if err := b.checkSeats(i); err != nil {
			return corrupt("item %s: %w", i.ActivationID, err)
		}
		return nil
	})
}

// first is the error of check for the lowest of the numbers below n for which there is one.
func first(run Beside, n int, check func(int) error) error {
	const span = 8 << 10
	errs := make([]error, (n+span-1)/span)
	run(len(errs), func(s int) {
		for i := s * span; i < min(n, (s+1)*span) && errs[s] == nil; i++ {
			errs[s] = check(i)
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
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
		if f.Copies == 0 || f.ActivationID <= last {
			return 0, fmt.Errorf("%d copies of %s, not in order", f.Copies, f.ActivationID)
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
			if err := k.checkRefused(); err != nil {
				return 0, err
			}
			if k.Serial == 0 {
				continue
			}
			// Serials grow with the numbers of the requests they answer, from life to life, without gaps but for responses that others made.
			if answers++; k.Serial != max(serial, k.Claimed)+1 || b.answered[k.Digest] != h {
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
		if ids[s.ID] || s.Credited == (s.Refused != 0) || s.Credited && s.Final || s.Credited && s.Epoch <= s.Floor {
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
	if err := h.checkOut(); err != nil {
		return 0, err
	}
	if err := h.checkOff(); err != nil {
		return 0, err
	}
	if err := h.checkAppearances(); err != nil {
		return 0, err
	}
	if len(h.Incidents) > MaxIncidents {
		return 0, fmt.Errorf("%d incidents", len(h.Incidents))
	}
	return answers, nil
}
