package entitlement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// OnlinePolicy says which machines are answered over the network, where no operator looks at their requests first.
type OnlinePolicy uint8

// The policies for requests over the network. Nothing is answered there before the producer has said so: an answer is signed with its key, and whoever reaches the address may ask for one.
const (
	NothingOnline  OnlinePolicy = 0
	KnownOnline    OnlinePolicy = 1 // machines on record; a first request goes past an operator
	AnyoneOnline   OnlinePolicy = 2 // also a first request, if it names an activation ID that there is
	onlinePolicies              = "off, known, all"
)

func (p OnlinePolicy) String() string {
	switch p {
	case NothingOnline:
		return "off"
	case KnownOnline:
		return "known"
	case AnyoneOnline:
		return "all"
	}
	return fmt.Sprintf("online(%d)", uint8(p))
}

// MarshalText makes JSON show off, known or all.
func (p OnlinePolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ParseOnlinePolicy reads a name.
func ParseOnlinePolicy(s string) (OnlinePolicy, error) {
	for p := NothingOnline; p <= AnyoneOnline; p++ {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of %s", s, onlinePolicies)
}

// online refuses a request that came over the network where the policy wants an operator to look at it: also one that was answered before, by whoever was asked then.
func (b *Book) online(c *Answer) error {
	if !c.Online {
		return nil
	}
	host := c.Identity.Host.Short()
	switch h := b.byKey[c.Identity.Host]; {
	case b.policy.Online == NothingOnline:
		return capability.Refuse(capability.ErrOnline, host, "the producer answers files only")
	case h != nil && h.Serial != 0:
		return nil
	case b.policy.Online == KnownOnline:
		return capability.Refuse(capability.ErrOperator, host, "it has not been answered before")
	}
	// A machine is easily made up, an activation ID is not: without one, anybody could fill the book.
	for _, d := range c.Request.Desired {
		if b.byID[d.ActivationID] != nil {
			return nil
		}
	}
	return capability.Refuse(capability.ErrOperator, host, "it has not been answered before, and names no activation ID that there is")
}

// SessionOf is the session that a device may have of an item: that of a user, or where none is named the one that was taken last. On one device several users may follow each other, and the session of one
// who went without a word counts until its promise ends: it is not for the next one to renew, nor to give back.
func (b *Book) SessionOf(id capability.ActivationID, device capability.Digest, user UserID, now capability.Time) (last Session, there bool) {
	i := b.byID[id]
	if i == nil {
		return Session{}, false
	}
	for _, s := range i.sessions {
		if s.Device != device || s.Through <= now || s.Over || user != (UserID{}) && s.User.folded() != user.folded() {
			continue
		}
		if !there || s.Taken > last.Taken || s.Taken == last.Taken && s.Used > last.Used {
			last, there = *s, true
		}
	}
	return last, there
}

// SeatFor is the online item with a feature in which a user has a seat, or is in the pool: of several the one entitled first that could be used now. Its error is that of the first that could not.
func (b *Book) SeatFor(id UserID, feature string, version capability.Version, now capability.Time) (capability.ActivationID, error) {
	var first error
	for _, i := range b.items {
		has := slices.ContainsFunc(i.Features, func(f Feature) bool { return f.Name == feature && f.Version.Compare(version) >= 0 })
		if !has || b.mode(i) != Online {
			continue
		}
		_, err := b.takes(i, id, now, true)
		if err == nil {
			return i.ActivationID, nil
		}
		if first == nil && b.Within(id.Account, i.Customer) {
			first = err
		}
	}
	return "", cmp.Or(first, error(capability.Refuse(capability.ErrUnassigned, id.Name, "no license of %s for users is of this account", feature)))
}
