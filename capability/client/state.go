package client

import (
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// holderID names one running Client. It holds a lock on the file of that name as long as its process lives, so the others see when it died.
// The zero ID is nobody's: what it holds is kept without a process.
type holderID [16]byte

// holding is one program's share in what the device shall hold.
type holding struct {
	Holder  holderID           `cbor:"1,keyasint,omitzero"`
	Feature string             `cbor:"2,keyasint,omitzero"`
	Version capability.Version `cbor:"3,keyasint"`
	Count   uint32             `cbor:"4,keyasint,omitzero"`
}

// share is what one program holds, in its own words.
type share struct {
	Holder   holderID  `cbor:"1,keyasint,omitzero"`
	Holdings []holding `cbor:"2,keyasint,omitempty"`
}

// state is what the device keeps between programs. Nothing in it is believed because it is there: the answer proves itself through the chain.
type state struct {
	Format   uint8           `cbor:"1,keyasint,omitzero"`
	Holdings []holding       `cbor:"2,keyasint,omitempty"`
	Chain    wire.Chain      `cbor:"3,keyasint,omitzero"`
	Answer   wire.Answer     `cbor:"4,keyasint,omitzero"`  // the newest: with Chain it is the receipt
	Seen     capability.Time `cbor:"5,keyasint,omitzero"`  // the latest time of the appliance that is known here
	Less     []atMost        `cbor:"6,keyasint,omitempty"` // of the answer no more is believed: it was given back, and no answer to that was heard
	Late     bool            `cbor:"8,keyasint,omitzero"`  // the answer is to a request of some time ago: a receipt, and nothing to use without a server
	Stated   uint64          `cbor:"9,keyasint,omitzero"`  // serial of the kept answer when somebody said that the clock is right
	Metered  []usage         `cbor:"10,keyasint,omitempty"`
	Peers    []peer          `cbor:"7,keyasint,omitempty"` // the one asked last is last

	Away  []holding `cbor:"13,keyasint,omitempty"` // borrowed by files, or asked for in the newest one; nobody's
	Filed filed     `cbor:"14,keyasint,omitzero"`

	Borrow  capability.Seconds  `cbor:"12,keyasint,omitzero"`  // the longest time that an acquire asked for, while anything is held
	Revoked []capability.Digest `cbor:"11,keyasint,omitempty"` // signing keys of the producer that count no more, in the order of wire.Learn; it only grows
}

const (
	stateFormat = 1
	maxPeers    = 4 // appliances of which a device keeps where it stands with them; what it forgets costs a sooner end at most
)

// atMost is how much of a feature is believed in.
type atMost struct {
	Feature string `cbor:"1,keyasint,omitzero"`
	Count   uint32 `cbor:"2,keyasint,omitzero"`
}

// peer is where this device stands with one appliance. Serials of two appliances have no order.
type peer struct {
	Host    hostid.ID `cbor:"1,keyasint,omitzero"`
	Applied uint64    `cbor:"2,keyasint,omitzero"`  // serial of its newest answer that was heard
	Pending []byte    `cbor:"3,keyasint,omitempty"` // the request that it has not answered, as it was sent
	Before  []atMost  `cbor:"4,keyasint,omitempty"` // what Less was before that request
	Given   []atMost  `cbor:"5,keyasint,omitempty"` // of its answers no more is believed: files gave it back, and it is not known to have decided them, or the whole set since
}

// peer finds or makes where the device stands with an appliance.
func (s *state) peer(host hostid.ID) *peer {
	p := peer{Host: host}
	if i := slices.IndexFunc(s.Peers, func(p peer) bool { return p.Host == host }); i >= 0 {
		p = s.Peers[i]
		s.Peers = slices.Delete(s.Peers, i, i+1)
	}
	s.Peers = append(s.Peers[max(0, len(s.Peers)-maxPeers+1):], p)
	return &s.Peers[len(s.Peers)-1]
}

// lessen notes of which features a wish leaves less than was had by the kept answer, and says whether there are any.
func (s *state) lessen(kept *capability.Response, wish []capability.Desired, now capability.Time) bool {
	if kept == nil {
		return false
	}
	had := map[string]uint64{}
	for _, g := range kept.Rights {
		if g.Expiry > now {
			had[g.Feature] += uint64(g.Count)
		}
	}
	for _, d := range wish {
		had[d.Feature] -= min(had[d.Feature], uint64(d.Count))
	}
	less := false
	for _, g := range kept.Rights {
		if had[g.Feature] == 0 || g.Expiry <= now {
			continue
		}
		less = true
		var asked uint64
		for _, d := range wish {
			if d.Feature == g.Feature {
				asked += uint64(d.Count)
			}
		}
		s.Less = slices.DeleteFunc(s.Less, func(l atMost) bool { return l.Feature == g.Feature })
		s.Less = append(s.Less, atMost{g.Feature, uint32(asked)})
	}
	return less
}

// clip is what rights leave to believe in where something was given back: which of them the appliance took is not known, so it is the worst of them.
func (s *state) clip(rights []capability.Right) []capability.Right {
	for _, l := range s.Less {
		var worst capability.Right
		var sum uint64
		rights = slices.DeleteFunc(rights, func(g capability.Right) bool {
			if g.Feature != l.Feature {
				return false
			}
			if sum += uint64(g.Count); worst.Feature == "" {
				worst = g
			}
			worst.Expiry = min(worst.Expiry, g.Expiry)
			if g.Version.Compare(worst.Version) < 0 {
				worst.Version = g.Version
			}
			return true
		})
		if worst.Count = uint32(min(sum, uint64(l.Count))); worst.Count > 0 {
			rights = append(rights, worst)
		}
	}
	return rights
}

// add changes the count of one holder's line by n, which may be negative; a line of nothing is gone.
func (s *state) add(h holderID, f capability.Feature, n int64) {
	for i := range s.Holdings {
		l := &s.Holdings[i]
		if l.Holder == h && l.Feature == f.Name && l.Version == f.Version {
			if left := int64(l.Count) + n; left > 0 {
				l.Count = uint32(left)
			} else {
				s.Holdings = slices.Delete(s.Holdings, i, i+1)
			}
			return
		}
	}
	if n > 0 {
		s.Holdings = append(s.Holdings, holding{h, f.Name, f.Version, uint32(n)})
	}
}

// count is what holder h, or everybody for nil, holds of a feature at version v or above.
func (s *state) count(h *holderID, name string, v capability.Version) (n uint64) {
	for _, l := range s.Holdings {
		if l.Feature == name && l.Version.Compare(v) >= 0 && (h == nil || l.Holder == *h) {
			n += uint64(l.Count)
		}
	}
	return n
}

// fits says that an answer gives all that programs hold of a feature, whichever versions they hold.
func (s *state) fits(kept *capability.Response, name string, now capability.Time) bool {
	return !slices.ContainsFunc(s.Holdings, func(l holding) bool {
		return l.Feature == name && covered(kept, name, l.Version, s.count(nil, name, l.Version)) <= now
	})
}

// desired is the whole set as the wire wants it: a line for each feature and version, in one order, whoever's the shares are.
func (s *state) desired() []capability.Desired {
	var lines []capability.Desired
	for _, l := range s.whole() {
		i := slices.IndexFunc(lines, func(d capability.Desired) bool { return d.Feature == l.Feature && d.Version == l.Version })
		if i < 0 {
			lines = append(lines, capability.Desired{Feature: l.Feature, Version: l.Version, Count: l.Count})
			continue
		}
		lines[i].Count += l.Count
	}
	slices.SortFunc(lines, func(a, b capability.Desired) int {
		if c := strings.Compare(a.Feature, b.Feature); c != 0 {
			return c
		}
		return b.Version.Compare(a.Version) // the highest first: the lower ones can be met by what is left
	})
	return lines
}
