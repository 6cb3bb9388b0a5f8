package entitlement

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// What a machine's evidence is worth decides what it may have. MinimumTier says from which tier on it may have an item at all, a TierLimit how many copies of it, and for how long: rights under a
// limit end that long after the response that gave them. So the machine has to exchange files again in time, and what a copy of it serves ends, or the copy writes too and is found.
//
// A limit caps what is given. What a machine has from before, when the policy or its tier was another, is not taken: it is in use until it is returned. But it ends in time like the rest.

// TierLimit is what a machine of a tier may have of one item. At least one of Copies and Life is set.
type TierLimit struct {
	Tier    Tier               `cbor:"1,keyasint,omitzero" json:"tier"`
	Product string             `cbor:"2,keyasint,omitzero" json:"product,omitempty"` // in a policy: of this product, instead of the limit for all
	Copies  uint32             `cbor:"3,keyasint,omitzero" json:"copies,omitempty"`  // at most; zero: as many as there are
	Life    capability.Seconds `cbor:"4,keyasint,omitzero" json:"life,omitempty"`    // from a response to the end of its rights; zero: as long as the item
}

// The bounds of limits. Rights of less than an hour would end on the way to their machine.
const (
	MaxTierLimits                    = 64 // in a policy: with names of 128 bytes it still fits a record
	MinRightsLife capability.Seconds = 60 * 60
)

const day = 24 * 60 * 60

// ParseTierLimit reads TIER:COPIES:TIME[:PRODUCT], as virtual:10:30d. COPIES or TIME may be empty: no limit. TIME is days with a d, or a duration as 36h.
func ParseTierLimit(s string) (TierLimit, error) {
	part := strings.SplitN(s, ":", 4)
	if len(part) < 3 {
		return TierLimit{}, fmt.Errorf("%q is no limit of a tier: want TIER:COPIES:TIME, as virtual:10:30d", s)
	}
	tier, err := ParseTier(part[0])
	if err != nil {
		return TierLimit{}, err
	}
	l := TierLimit{Tier: tier}
	if part[1] != "" {
		n, err := strconv.ParseUint(part[1], 10, 32)
		if err != nil || n == 0 || n > capability.MaxCount {
			return TierLimit{}, fmt.Errorf("%q is not a number of copies: want 1 to %d", part[1], capability.MaxCount)
		}
		l.Copies = uint32(n)
	}
	if l.Life, err = parseLife(part[2]); err != nil {
		return TierLimit{}, err
	}
	if len(part) == 4 {
		if l.Product = part[3]; l.Product == "" {
			return TierLimit{}, fmt.Errorf("%q names a product of no letters", s)
		}
	}
	return l, l.validate()
}

func parseLife(s string) (capability.Seconds, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return capability.Seconds(n) * day, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d != d.Truncate(time.Second) {
		return 0, fmt.Errorf("%q is not a time: want days as 30d, or hours as 36h", s)
	}
	return capability.Seconds(d / time.Second), nil
}

// String is the form that ParseTierLimit reads.
func (l TierLimit) String() string {
	s := l.Tier.String() + ":"
	if l.Copies > 0 {
		s += strconv.FormatUint(uint64(l.Copies), 10)
	}
	s += ":"
	switch {
	case l.Life%day == 0 && l.Life > 0:
		s += strconv.FormatInt(int64(l.Life/day), 10) + "d"
	case l.Life > 0:
		s += l.Life.String()
	}
	if l.Product != "" {
		s += ":" + l.Product
	}
	return s
}

func (l *TierLimit) validate() error {
	switch {
	case l.Tier < Software || l.Tier > Hardware:
		return fmt.Errorf("tier %d is not known", l.Tier)
	case l.Copies == 0 && l.Life == 0:
		return fmt.Errorf("the limit of tier %s says neither how many copies nor how long", l.Tier)
	case l.Copies > capability.MaxCount:
		return fmt.Errorf("tier %s may have %d copies where at most %d are allowed", l.Tier, l.Copies, capability.MaxCount)
	case l.Life != 0 && (l.Life < MinRightsLife || l.Life > capability.MaxInterval):
		return fmt.Errorf("rights of tier %s for %s where %s to %s are allowed", l.Tier, l.Life, MinRightsLife, capability.MaxInterval)
	case l.Product != "":
		return capability.CheckName("product", l.Product)
	}
	return nil
}

// validateLimits checks limits of a policy, or of an item, which name no product.
func validateLimits(list []TierLimit, products bool) error {
	if len(list) > MaxTierLimits {
		return fmt.Errorf("%d limits of tiers where at most %d are allowed", len(list), MaxTierLimits)
	}
	for n, l := range list {
		if err := l.validate(); err != nil {
			return err
		}
		if l.Product != "" && !products {
			return fmt.Errorf("the limit of tier %s in a line item is for the product %q", l.Tier, l.Product)
		}
		for _, other := range list[:n] {
			if other.Tier == l.Tier && other.Product == l.Product {
				return fmt.Errorf("the limit of tier %s is there twice", l.Tier)
			}
		}
	}
	return nil
}

// limit is what a machine of a tier may have of an item: the item's own word, else the policy's for its product, else the policy's for all. The zero limit allows all.
func (b *Book) limit(i *item, tier Tier) TierLimit {
	for _, l := range i.Limits {
		if l.Tier == tier {
			return l
		}
	}
	all := TierLimit{}
	for _, l := range b.policy.Limits {
		switch {
		case l.Tier != tier:
		case l.Product == i.Product:
			return l
		case l.Product == "":
			all = l
		}
	}
	return all
}

// barred says why a machine of a tier may not have so many copies of an item, or nil.
func (b *Book) barred(i *item, tier Tier, copies uint32, why string) *capability.Refusal {
	no := &capability.Refusal{Denial: capability.Denial{Code: capability.ErrTier, Subject: string(i.ActivationID)}}
	minimum, limit := b.minimum(i), b.limit(i, tier)
	switch {
	case tier < minimum:
		no.Detail = fmt.Sprintf("the machine is of tier %s, %s is needed", tier, minimum)
	case limit.Copies > 0 && copies > limit.Copies:
		no.Code, no.Detail = capability.ErrTierLimit, fmt.Sprintf("the machine is of tier %s, and may have %d of them", tier, limit.Copies)
	default:
		return nil
	}
	if why != "" {
		no.Detail += ", because " + why
	}
	no.Detail += tier.remedy()
	return no
}

// remedy says what would put a machine into a better tier.
func (t Tier) remedy() string {
	switch t {
	case Software:
		return "; a machine whose TPM has a certificate of a maker that the producer trusts is of a better tier"
	case Virtual:
		return "; a machine with a TPM chip of its own is of a better tier"
	}
	return ""
}

// most is how many copies of an item a machine of a tier may be given.
func (b *Book) most(i *item, tier Tier) uint32 {
	if tier < b.minimum(i) {
		return 0
	}
	if l := b.limit(i, tier); l.Copies > 0 {
		return l.Copies
	}
	return i.Copies + i.Life.Extra
}

// expiry is when the rights to an item end that a response gives to a machine of a tier. What begins later ends later.
func (b *Book) expiry(i *item, tier Tier, now capability.Time) capability.Time {
	life, ends := b.limit(i, tier).Life, b.ends(i)
	if life == 0 {
		return ends
	}
	if i.Life.Suspended != 0 {
		now = min(now, i.Life.Suspended) // what runs on is what was given before
	}
	end := max(now, i.Start).Add(life)
	if ends != 0 {
		end = min(end, ends)
	}
	return end
}

// lifetime is how long a response can be applied: never longer than the shortest of its rights.
func (b *Book) lifetime(h *Host, tier Tier) capability.Seconds {
	life := b.policy.ResponseLife
	for _, f := range h.Holds {
		if l := b.limit(b.byID[f.ActivationID], tier).Life; l != 0 {
			life = min(life, l)
		}
	}
	return life
}
