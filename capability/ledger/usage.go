package ledger

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What is used is summed up from the entries, in periods: of each item the most that was in use, what was newly served, the seconds of use, and the lines that
// were refused. A period ends at midnight UTC, and where a request is written. Each item that was used in it makes a record, which rides in requests until the
// back office acknowledges it. No entry is longer for it, and a request of a client costs a few additions.
//
// Nothing is counted before the first start that says so, so that journals from before give the state they always gave.

// RecordsKept bounds the records kept, so many of 150 bytes as 50 features make in a year. Where there is no room the oldest acknowledged go first; where none is
// acknowledged the running period does not end: then days are no longer told apart, and nothing is lost.
const RecordsKept = 16384

// RecordRetention is how long after the end of its period an acknowledged record is kept, so that it can be sent again: 90 days.
const RecordRetention capability.Seconds = 90 * 24 * 60 * 60

// UsageDetail is the setting by which a site allows that records name users, as claimed. The producer's policy must ask for it as well.
const UsageDetail = "usage-detail"

const (
	daySeconds  capability.Time = 24 * 60 * 60
	daysApart                   = 400     // a longer time without any entry is one period up to the last so many days
	leastPeriod capability.Time = 60 * 60 // of what a request ends while earlier records wait for their acknowledgment
	maxDetailed                 = 1024    // users and items told apart in one period; what comes after is in the sums only
)

// usage is what is counted of the running period, and the records of those before.
type usage struct {
	from  capability.Time // when the running period began; zero: nothing is counted
	users map[userOf]*sum
	gone  []goneTally // of items that are no longer here, by item
	other []capability.Denied
	last  uint64 // number of the newest record
	kept  []kept // the newest records, in order
}

// userOf is what is counted of one user where that is asked for; nil maps count nothing.
type userOf struct {
	user string
	item capability.ItemID
}

type goneTally struct {
	id    capability.ItemID
	tally sum
}

// kept is a record without its number, which its place says.
type kept struct {
	until capability.Time
	body  []byte
}

// tally is what is counted of one item, or of one user and item.
type sum struct {
	peak, served, seconds uint64
	denials               []capability.Denied
	at                    capability.Seconds // until when on the lease clock the seconds are counted
	change                int64              // of the device being served
}

// run counts the seconds of use up to a moment.
func (t *sum) run(used uint64, at capability.Seconds) {
	t.seconds, t.at = t.until(used, at), at
}

func (t *sum) until(used uint64, at capability.Seconds) uint64 {
	high, low := bits.Mul64(used, uint64(max(0, at-t.at)))
	if high > 0 || low > capability.MaxUsed {
		low = capability.MaxUsed
	}
	return min(capability.MaxUsed, t.seconds+low)
}

// fresh says that there is nothing to tell of it.
func (t *sum) fresh() bool { return t.seconds == 0 && t.served == 0 && len(t.denials) == 0 }

// periodOf is the tally of a period that begins while so much is in use.
func periodOf(used uint64, at capability.Seconds) sum { return sum{peak: used, at: at} }

// taken is all that is in use of the item.
func (it *item) taken() uint64 { return it.used + it.slices[inOverdraft].used }

// leased is what counts for the seconds of use: what is metered is used up, not held.
func (it *item) leased() uint64 {
	if it.Metered {
		return 0
	}
	return it.taken()
}

// beginUsage counts from now on.
func (l *Ledger) beginUsage() {
	l.usage.from = l.now.Wall
	for _, it := range l.items {
		it.tally = periodOf(it.taken(), l.moment)
	}
	l.detail()
}

// detailed says that users are told apart.
func (l *Ledger) detailed() bool {
	return l.usage.from != 0 && l.applied.Policy.Detail && l.changed(UsageDetail) == "true"
}

// detail begins to tell users apart, or forgets what was told apart, where the producer or the site has changed their mind.
func (l *Ledger) detail() {
	if on := l.detailed(); on == (l.usage.users != nil) {
		return
	} else if !on {
		l.usage.users = nil
		return
	}
	held := make([]userOf, 0, len(l.users))
	for k := range l.users {
		held = append(held, userOf{k.user, k.item.ID()})
	}
	slices.SortFunc(held, compareUsers)
	l.usage.users = map[userOf]*sum{}
	for _, k := range held {
		l.tallyOf(k)
	}
}

// tallyOf is the tally of a user and an item, or nil where there are too many. A new one begins now.
func (l *Ledger) tallyOf(k userOf) *sum {
	t := l.usage.users[k]
	if t == nil && len(l.usage.users) < maxDetailed {
		began := periodOf(l.usedBy(k), l.moment)
		t = &began
		l.usage.users[k] = t
	}
	return t
}

// usedBy is what a user has in use of an item.
func (l *Ledger) usedBy(k userOf) uint64 {
	if it := l.find(k.item); it != nil {
		return l.users[held{k.user, it}]
	}
	return 0
}

func compareUsers(a, b userOf) int {
	return cmp.Or(compareItems(a.item, b.item), cmp.Compare(a.user, b.user))
}

// countItem counts up to this moment what is about to change by so many units, modulo 2^64.
func (l *Ledger) countItem(it *item, change uint64) {
	if l.usage.from == 0 {
		return
	}
	it.tally.run(it.leased(), l.moment)
	it.tally.peak = max(it.tally.peak, min(capability.MaxUsed, it.taken()+change))
}

// countUser does the same for what one user has.
func (l *Ledger) countUser(user string, it *item, change uint64) {
	if l.usage.users == nil {
		return
	}
	k := userOf{user, it.ID()}
	if t := l.tallyOf(k); t != nil {
		used := l.users[held{user, it}]
		if !it.Metered {
			t.run(used, l.moment)
		}
		t.peak = max(t.peak, min(capability.MaxUsed, used+change))
	}
}

// countServed counts what a device has now and did not have before, and what it was refused.
func (l *Ledger) countServed(f *Served, old, leases []*lease) {
	if l.usage.from == 0 {
		return
	}
	for _, s := range old {
		s.slice.item.tally.change -= int64(s.count)
	}
	for _, c := range f.Claimed { // it had those before the repair
		l.items[c.Item].tally.change -= int64(c.Count)
	}
	for _, s := range leases {
		s.slice.item.tally.change += int64(s.count)
	}
	for _, list := range [...][]*lease{old, leases} {
		for _, s := range list {
			t := &s.slice.item.tally
			if t.change > 0 {
				t.served = min(capability.MaxUsed, t.served+uint64(t.change))
				if l.usage.users != nil && f.Who.User != "" {
					if u := l.tallyOf(userOf{f.Who.User, s.slice.item.ID()}); u != nil {
						u.served = min(capability.MaxUsed, u.served+uint64(t.change))
					}
				}
			}
			t.change = 0
		}
	}
	for i := range f.Answer.Lines {
		if line := &f.Answer.Lines[i]; line.Status == capability.LineInsufficient && line.Denial.Code != 0 {
			list := &l.usage.other // the name of a feature that is not here is the sender's, and is told to nobody
			if items := l.features[line.Denial.Subject]; len(items) > 0 {
				list = &items[0].tally.denials
			}
			*list = addDenied(*list, line.Denial.Code)
		}
	}
}

// addDenied counts one more line that was refused.
func addDenied(list []capability.Denied, code capability.Code) []capability.Denied {
	at, here := slices.BinarySearchFunc(list, code, func(d capability.Denied, c capability.Code) int { return cmp.Compare(d.Code, c) })
	switch {
	case here:
		list[at].Count = min(capability.MaxUsed, list[at].Count+1)
	case len(list) < capability.MaxDenied:
		list = slices.Insert(list, at, capability.Denied{Code: code, Count: 1})
	}
	return list
}

// leave keeps what was counted of an item that goes, and come gives it back to one that is here again.
func (l *Ledger) leave(it *item) {
	if it.tally.fresh() {
		return
	}
	at, _ := l.goneAt(it.ID())
	l.usage.gone = slices.Insert(l.usage.gone, at, goneTally{it.ID(), it.tally})
}

func (l *Ledger) come(it *item) {
	it.tally = periodOf(0, l.moment)
	if at, here := l.goneAt(it.ID()); here {
		it.tally = l.usage.gone[at].tally
		it.tally.at = l.moment
		l.usage.gone = slices.Delete(l.usage.gone, at, at+1)
	}
}

func (l *Ledger) goneAt(id capability.ItemID) (int, bool) {
	return slices.BinarySearchFunc(l.usage.gone, id, func(g goneTally, id capability.ItemID) int { return compareItems(g.id, id) })
}

// passDays ends what is due up to now, and at each midnight on the way the running period.
func (l *Ledger) passDays(before, now Now) {
	if l.usage.from != 0 {
		midnight := max(before.Wall-before.Wall%daySeconds, now.Wall-now.Wall%daySeconds-daysApart*daySeconds) + daySeconds
		for ; midnight <= now.Wall; midnight += daySeconds {
			at := min(max(before.Lease, now.Lease-capability.Seconds(now.Wall-midnight)), now.Lease)
			l.endDue(at)
			l.endPeriod(midnight, at)
		}
	}
	l.endDue(now.Lease)
}

// endPeriod makes records of what was used in the running period, and begins the next one. Without room for the records it goes on.
func (l *Ledger) endPeriod(wall capability.Time, at capability.Seconds) {
	if wall <= l.usage.from {
		return
	}
	if used := l.used(wall, at); len(used) > 0 {
		if !l.room(len(used), wall) {
			return
		}
		for i := range used {
			l.usage.kept = append(l.usage.kept, kept{wall, l.codec.Encode(&used[i])})
		}
		l.usage.last += uint64(len(used))
	}
	l.usage.from, l.usage.gone, l.usage.other = wall, nil, nil
	for _, it := range l.items {
		it.tally = periodOf(it.taken(), at)
	}
	for k, t := range l.usage.users {
		if used := l.usedBy(k); used > 0 {
			*t = periodOf(used, at)
		} else {
			delete(l.usage.users, k)
		}
	}
}

// used is what was used in the running period, if it ended at that moment on both clocks: what was refused of no item, then the items, each before its users.
func (l *Ledger) used(wall capability.Time, at capability.Seconds) (out []capability.Usage) {
	add := func(k userOf, used uint64, t *sum) {
		total := *t
		if total.seconds = t.until(used, at); !total.fresh() {
			out = append(out, capability.Usage{
				From: l.usage.from, Until: wall, ActivationID: k.item.ActivationID, Feature: k.item.Feature, User: k.user,
				Peak: t.peak, Served: t.served, Seconds: total.seconds, Denials: t.denials,
			})
		}
	}
	if len(l.usage.other) > 0 {
		add(userOf{}, 0, &sum{denials: l.usage.other})
	}
	for _, it := range l.items {
		add(userOf{item: it.ID()}, it.leased(), &it.tally)
	}
	for i := range l.usage.gone {
		add(userOf{item: l.usage.gone[i].id}, 0, &l.usage.gone[i].tally)
	}
	for k, t := range l.usage.users {
		used := l.usedBy(k)
		if it := l.find(k.item); it != nil && it.Metered {
			used = 0
		}
		add(k, used, t)
	}
	slices.SortFunc(out, func(a, b capability.Usage) int {
		return compareUsers(userOf{a.User, a.ID()}, userOf{b.User, b.ID()})
	})
	return out
}
