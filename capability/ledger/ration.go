package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A move of the epoch is a write to memory that wears out. What clients ask for is therefore rationed: one move in 72 minutes in the long run, which is 20 a
// day, and a month of them saved up. What is given without a move must be such that an older copy of the state, which begins with a hold, cannot give it again:
// a lease no longer than a hold, or units that the device has as long already.
const (
	movePeriod capability.Seconds = 72 * 60
	moveSaved                     = 600
	// Reports of metered counts ask for a move this long after the last one only. Those between are durable, but not anchored: an older copy of the same epoch
	// begins with a hold and forgets at most an hour of metering, and the clients, which report totals, put it back.
	meterPeriod capability.Seconds = 60 * 60
)

// What logins do to themselves is rationed apart, so that neither takes the other's moves: one in 12 hours in the long run, and 20 of them saved up. What finds none left is done all the same, and is anchored by the next
// move, whatever that is for: each start makes one.
const (
	loginPeriod capability.Seconds = 12 * 60 * 60
	loginSaved                     = 20
)

// What administrators take away is rationed too, from client keys, one by one or all strange ones together, and from logins: they do it as often as they like. So many are saved up that a site of some hundred keys is cleared at once; then
// it is two a day. Without one left a key stays and who takes it is refused, because what was taken away with no move would be there again in an older copy. A login goes all the same, as one that must be shut out cannot wait, and is
// anchored by the next move.
const (
	keyPeriod capability.Seconds = 12 * 60 * 60
	keySaved                     = 600
)

// another is a ration, given as the theoretical arrival time of its next move, after a move now; zero where none is left of so many.
func another(spent capability.Seconds, now Now, period capability.Seconds, saved int) capability.Seconds {
	at := max(spent, now.Lease)
	if at-now.Lease > capability.Seconds(saved-1)*period {
		return 0
	}
	return at + period
}

// loginMove is the ration of logins after a move now, or zero where none is left.
func (l *Ledger) loginMove(now Now) capability.Seconds {
	return another(l.loginSpent, now, loginPeriod, loginSaved)
}

// takingMove is that of administrators after a move now that takes something from a login, or zero where none is left.
func (l *Ledger) takingMove(now Now) capability.Seconds {
	return another(l.keySpent, now, keyPeriod, keySaved)
}

// keyMove is the ration of administrators after a move now that takes a client key. It is refused where none is left, and zero before there is an epoch.
func (l *Ledger) keyMove(now Now, subject string) (capability.Seconds, error) {
	if !l.provisioned() {
		return 0, nil
	}
	if spent := l.takingMove(now); spent != 0 {
		return spent, nil
	}
	no := capability.Refuse(capability.ErrRation, subject, "")
	no.Until = now.Told(l.keySpent - (keySaved-1)*keyPeriod)
	return 0, no
}

// applyKeyMove asserts what keyMove decided.
func (l *Ledger) applyKeyMove(spent capability.Seconds) error {
	if spent == 0 {
		return nil
	}
	if spent <= max(l.keySpent, l.now.Lease) || spent-l.now.Lease > keySaved*keyPeriod {
		return fmt.Errorf("a move that leaves the ration of administrators at %d, and it was at %d", spent, l.keySpent)
	}
	l.keySpent = spent
	return nil
}

// ration is the moves that clients may still cause. Both moments are on the lease clock.
type ration struct {
	spent capability.Seconds // when the last move would have been at one in movePeriod: the theoretical arrival time of the next one
	moved capability.Seconds // when it was; spent is zero while there was none
}

// left says that there is a move left now.
func (r ration) left(now Now) bool {
	return max(r.spent, now.Lease)-now.Lease <= (moveSaved-1)*movePeriod
}

// after is the ration once a move was made.
func (r ration) after(now Now) ration {
	return ration{max(r.spent, now.Lease) + movePeriod, now.Lease}
}

// meters says that a report may ask for a move.
func (r ration) meters(now Now) bool {
	return r.left(now) && (r.spent == 0 || now.Lease-r.moved >= meterPeriod)
}

// ration makes the grants such that they need no move, or says that they need one. Without a move left, leases are cut to the length of a hold, but units that
// the device had longer keep an end that it had; at a later renewal they get all of their interval.
func (s *serving) ration() (move bool) {
	l, short := s.l, s.now.Lease+s.policy.Lease
	// What has its end already needs no move; what is kept comes first, as it was.
	slices.SortStableFunc(s.grants, func(a, b grant) int { return -compareBool(a.kept, b.kept) })
	metered := slices.ContainsFunc(s.grants, func(g grant) bool { return g.end == forever && !g.slice.item.Uncounted && s.change.of(g.slice) > 0 })
	if !slices.ContainsFunc(s.grants, func(g grant) bool { return g.end != forever && g.end > short }) {
		return metered && l.ration.meters(s.now)
	}
	held := slices.Clone(s.held)
	slices.SortStableFunc(held, func(a, b *lease) int { return cmp.Compare(a.end, b.end) })
	left := make([]uint32, len(held))
	for i, h := range held {
		left[i] = h.count
	}
	// had takes up to n units of the item that the device had at least until from, and says until when.
	had := func(it *item, n uint32, from capability.Seconds) (uint32, capability.Seconds) {
		for i, h := range held {
			if h.slice.item == it && left[i] > 0 && h.end >= from && h.end != forever {
				n = min(n, left[i])
				left[i] -= n
				return n, h.end
			}
		}
		return 0, 0
	}
	var fresh, rest []grant
	for _, g := range s.grants {
		if g.end == forever || g.end <= short {
			rest = append(rest, g)
			continue
		}
		for g.count > 0 {
			n, _ := had(g.slice.item, g.count, g.end)
			if n == 0 {
				fresh = append(fresh, g)
				break
			}
			part := g
			part.count = n
			rest = append(rest, part)
			g.count -= n
		}
	}
	if len(fresh) == 0 || l.ration.left(s.now) {
		return len(fresh) > 0 || metered && l.ration.meters(s.now)
	}
	s.grants = rest
	for _, g := range fresh {
		it := g.slice.item
		s.notices = append(s.notices, capability.Denial{Code: capability.BorrowShortened, Subject: it.Feature, Until: s.now.Told(short)})
		for g.count > 0 {
			n, end := had(it, g.count, short+1)
			if n == 0 {
				n, end = g.count, short
			}
			part := g
			part.count, part.end = n, min(end, g.end) // which is not past the expiry of the item
			part.told = s.ends(it, part.end)
			s.grants = append(s.grants, part)
			g.count -= n
		}
	}
	return false
}
