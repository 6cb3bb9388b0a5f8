package ledger

import (
	"bytes"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Revoked are the fingerprints of signing keys whose responses are not taken any more, in order. It only ever grows: an older certificate gives no key back.
// The caller must not change it.
func (l *Ledger) Revoked() []capability.Digest { return l.revoked }

func compareDigests(a, b capability.Digest) int { return bytes.Compare(a[:], b[:]) }

func (l *Ledger) isRevoked(key capability.Digest) bool {
	_, there := slices.BinarySearchFunc(l.revoked, key, compareDigests)
	return there
}

// revokes refuses a response by a key that is known as revoked, from it or from one before: whoever has such a key chooses the dates and the serial of what he signs.
func (l *Ledger) revokes(c *Provision) error {
	if l.isRevoked(c.Key) || c.Key != (capability.Digest{}) && slices.Contains(c.Revoked, c.Key) {
		return capability.Refuse(capability.ErrKeyRevoked, "", "its key has the fingerprint %.8x", c.Key[:])
	}
	if n := len(l.revoked) + len(l.unheard(c.Revoked)); n > capability.MaxRevoked {
		return malformed("revoked", "%d keys in all where at most %d are allowed", n, capability.MaxRevoked)
	}
	return nil
}

// unheard are those of the keys that are not known as revoked yet, in order.
func (l *Ledger) unheard(keys []capability.Digest) []capability.Digest {
	var list []capability.Digest
	for _, k := range keys {
		if !l.isRevoked(k) && !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, compareDigests)
	return list
}

// revoke takes in what an entry says: keys that were not known before, in order.
func (l *Ledger) revoke(keys []capability.Digest) error {
	if !slices.Equal(keys, l.unheard(keys)) || len(l.revoked)+len(keys) > capability.MaxRevoked {
		return corrupt("%d keys are revoked beside %d of before, twice or out of order", len(keys), len(l.revoked))
	}
	if len(keys) > 0 {
		l.revoked = append(slices.Clone(l.revoked), keys...)
		slices.SortFunc(l.revoked, compareDigests)
	}
	return nil
}

func (l *Ledger) checkRevoked() error {
	for n, k := range l.revoked {
		if k == (capability.Digest{}) || n > 0 && compareDigests(l.revoked[n-1], k) >= 0 {
			return corrupt("revoked key %d of %d is none, twice or out of order", n+1, len(l.revoked))
		}
	}
	if len(l.revoked) > capability.MaxRevoked || len(l.revoked) > 0 && !l.provisioned() {
		return corrupt("%d keys are revoked, and a response is in force: %t", len(l.revoked), l.provisioned())
	}
	return nil
}
