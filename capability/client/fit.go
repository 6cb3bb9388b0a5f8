package client

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A machine with rights of its own serves nobody else: what its programs hold must fit into what it has. A count of a version serves every program that needs that
// version or a lower one, and a count that is assigned to a user serves that user alone. So it fits when, from the highest version down, no more is needed than
// there is, each user's own counts first.

// claim is what one program holds of a stand-alone machine's rights.
type claim struct {
	Holder  holderID           `cbor:"1,keyasint,omitzero"`
	Feature string             `cbor:"2,keyasint,omitzero"`
	Version capability.Version `cbor:"3,keyasint"`
	Count   uint32             `cbor:"4,keyasint,omitzero"`
	User    string             `cbor:"5,keyasint,omitzero"` // by whom it was asked for
}

// level is a number of counts at a version.
type level struct {
	version capability.Version
	count   uint64
}

// fits says whether items serve all claims of a feature together.
func fits(items []capability.LineItem, claims []claim, feature string) bool {
	shared := stockOf(items, feature, "")
	var rest []level
	for _, user := range usersOf(claims, feature) {
		var need []level
		for _, c := range claims {
			if c.Feature == feature && c.User == user {
				need = append(need, level{c.Version, uint64(c.Count)})
			}
		}
		if user != "" {
			need = unmet(stockOf(items, feature, user), need)
		}
		rest = append(rest, need...)
	}
	return len(unmet(shared, rest)) == 0
}

// stockOf is what there is for a user alone, or for everybody where the user is empty.
func stockOf(items []capability.LineItem, feature, user string) (stock []level) {
	for _, i := range items {
		if i.Feature == feature && i.User == user {
			n := uint64(i.Count)
			if i.Uncounted {
				n = capability.MaxCount * boundless
			}
			stock = append(stock, level{i.Version, n})
		}
	}
	return stock
}

// boundless times the highest count is more than all claims together: there are fewer than that.
const boundless = 1 << 20

func usersOf(claims []claim, feature string) (users []string) {
	for _, c := range claims {
		if c.Feature == feature && !slices.Contains(users, c.User) {
			users = append(users, c.User)
		}
	}
	return users
}

// unmet is what of a need a stock leaves: the highest versions are met first, of whatever is high enough, so that what is left is as low and as little as can be.
func unmet(stock, need []level) (left []level) {
	down := func(a, b level) int { return b.version.Compare(a.version) }
	slices.SortFunc(stock, down)
	slices.SortFunc(need, down)
	var free uint64
	for _, n := range need {
		for len(stock) > 0 && stock[0].version.Compare(n.version) >= 0 {
			free, stock = free+stock[0].count, stock[1:]
		}
		if n.count > free {
			left = append(left, level{n.version, n.count - free})
		}
		free -= min(free, n.count)
	}
	return left
}

// served are the claims that items serve, the oldest first: where there is less than was claimed, the newest have lost it.
func served(items []capability.LineItem, claims []claim) []bool {
	ok := make([]bool, len(claims))
	var kept []claim
	for i, c := range claims {
		if with := append(kept, c); fits(items, with, c.Feature) {
			kept, ok[i] = with, true
		}
	}
	return ok
}

// inForce are the items that serve at that moment, without what was returned. doubted: the clock decides about dates and is not believed, so that nothing with a date serves.
func inForce(items []capability.LineItem, returns []capability.Return, now capability.Time, doubted bool) (list []capability.LineItem) {
	for _, i := range items {
		if i = without(i, returns); i.Copies == 0 || i.Metered {
			continue
		}
		if doubted && (i.Start != 0 || i.Expiry != 0) || now < i.Start || i.Expiry != 0 && now >= i.Expiry {
			continue
		}
		list = append(list, i)
	}
	return list
}

// without is an item after the returns of it.
func without(i capability.LineItem, returns []capability.Return) capability.LineItem {
	for _, t := range returns {
		if n := min(t.Copies, i.Copies); t.ActivationID == i.ActivationID && n > 0 {
			i.Count -= i.Count / i.Copies * n
			i.Copies -= n
		}
	}
	return i
}

// whyNot is the refusal of a claim that does not fit beside the others.
func whyNot(items []capability.LineItem, returns []capability.Return, claims []claim, c claim, now capability.Time, doubted bool) capability.Denial {
	d := capability.Denial{Subject: c.Feature, Asked: c.Count}
	known, high, expired, early, dated := false, false, capability.Time(0), capability.Time(0), false
	var highest capability.Version
	var others []capability.Holder
	var total uint64
	mine := false
	for _, i := range items {
		if i = without(i, returns); i.Feature != c.Feature || i.Copies == 0 {
			continue
		}
		known = true
		if i.Version.Compare(highest) > 0 {
			highest = i.Version
		}
		if i.Version.Compare(c.Version) < 0 {
			continue
		}
		high = true
		switch {
		case i.User != "" && i.User != c.User:
			others = append(others, capability.Holder{Name: i.User, Count: i.Count, Expiry: i.Expiry})
		case doubted && (i.Start != 0 || i.Expiry != 0):
			dated = true
		case i.Expiry != 0 && now >= i.Expiry:
			expired = max(expired, i.Expiry)
		case now < i.Start:
			early = i.Start
		case i.Metered:
		default:
			total, mine = total+uint64(i.Count), true
		}
	}
	switch {
	case !known:
		d.Code = capability.ErrNotEntitled
	case !high:
		d.Code, d.Highest = capability.ErrVersion, highest
	case mine:
		d.Code, d.Total = capability.ErrNoSeat, clipped(total)
		for _, o := range claims {
			if o.Feature == c.Feature {
				d.Used = clipped(uint64(d.Used) + uint64(o.Count))
			}
		}
		d.Available = d.Total - min(d.Total, d.Used)
	case dated:
		d.Code = capability.ErrClock
	case len(others) > 0:
		d.Code, d.Holders = capability.ErrAssigned, others[:min(len(others), capability.MaxHolders)]
		d.Detail = "it is " + others[0].Name + "'s"
	case expired != 0:
		d.Code, d.Until = capability.ErrExpired, expired
	case early != 0:
		d.Code, d.Until = capability.ErrNotStarted, early
	default:
		d.Code, d.Detail = capability.ErrNotEntitled, "it is counted by use, which needs an appliance"
	}
	return d
}

func clipped(n uint64) uint32 { return uint32(min(n, capability.MaxCount)) }
