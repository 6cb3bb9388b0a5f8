package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// CloseUsage ends the running period, so that what was used until now is in the records. While earlier records wait for their acknowledgment, and within the
// hour, the period goes on: who writes many requests makes few records.
//
// Where the policy asks for states, only the days before now end. Of the day that runs the request says the state.
type CloseUsage struct{}

// Counted: the running period of usage has ended.
type Counted struct {
	Days bool `cbor:"1,keyasint,omitzero"` // only at the midnights up to now
}

func (CloseUsage) command() {}

func (l *Ledger) closeUsage(now Now) Decision {
	if l.usage.from == 0 || now.Wall <= l.usage.from || !l.provisioned() {
		return Decision{}
	}
	if l.stated(now) {
		d := l.advanceTo(now)
		if len(d.Entries) == 0 && now.Wall/daySeconds > l.now.Wall/daySeconds && len(l.used(now.Wall, now.Lease)) > 0 {
			d = l.decided(now, Entry{Counted: &Counted{Days: true}})
		}
		return d
	}
	if l.usage.last > l.acknowledged() && now.Wall < l.usage.from+leastPeriod {
		return Decision{}
	}
	if n := len(l.used(now.Wall, now.Lease)); n == 0 || l.waitingRecords()+n > RecordsKept {
		return Decision{}
	}
	return l.decided(now, Entry{Counted: &Counted{}})
}

// stateRoom is what the states of a request may have of a file, in bytes: 150 are one of them. Where there is more to say the period ends, and records tell.
const stateRoom = 256 << 10

// stated says that of the running period the requests say the state: the policy asks for it, and it has room in a request.
func (l *Ledger) stated(now Now) bool {
	if !l.applied.Policy.States {
		return false
	}
	used := l.used(now.Wall, now.Lease)
	return len(used) <= capability.MaxStates && len(l.codec.Encode(used)) <= stateRoom
}

// States are how the running period stands, for a request that is written at that moment. There are none where the policy does not ask for them.
func (l *Ledger) States(now Now) []capability.Usage {
	if l.usage.from == 0 || now.Wall <= l.usage.from || !l.provisioned() || !l.stated(now) {
		return nil
	}
	return l.used(now.Wall, now.Lease)
}

// acknowledged is the number up to which the back office has the records.
func (l *Ledger) acknowledged() uint64 { return min(l.applied.Records, l.usage.last) }

// oldest is the number of the oldest record kept; one above the last where none is.
func (l *Ledger) oldest() uint64 { return l.usage.last + 1 - uint64(len(l.usage.kept)) }

// waitingRecords is how many of the records kept are not acknowledged.
func (l *Ledger) waitingRecords() int {
	return int(min(l.usage.last-l.acknowledged(), uint64(len(l.usage.kept))))
}

// room makes room for n more records, and says whether there is. Of the acknowledged ones those go that are old enough, and as many more as must.
func (l *Ledger) room(n int, now capability.Time) bool {
	if l.waitingRecords()+n > RecordsKept {
		return false
	}
	done := len(l.usage.kept) - l.waitingRecords()
	drop := max(0, len(l.usage.kept)+n-RecordsKept)
	for drop < done && l.usage.kept[drop].until.Add(RecordRetention) <= now {
		drop++
	}
	if drop > 0 {
		l.usage.kept = slices.Clone(l.usage.kept[drop:])
	}
	return true
}

// Records are the records from that number on, the oldest first, as many as fit into so many bytes of a request. Zero, and a number of one that waits, begin with
// the oldest that waits for its acknowledgment, so that none is left out; a lower number begins with what is still kept from there on.
func (l *Ledger) Records(from uint64, room int) (out []capability.Record) {
	if next := l.acknowledged() + 1; from == 0 || from > next {
		from = next
	}
	from = max(from, l.oldest())
	for i, k := range l.usage.kept[from-l.oldest():] {
		if room -= len(k.body) + recordHead; room < 0 || i == capability.MaxRecords {
			break
		}
		out = append(out, capability.Record{Number: from + uint64(i), Body: k.body})
	}
	return out
}

// recordHead is the most that a record takes beside its body: a map, two keys, a number and a length.
const recordHead = 1 + 1 + 9 + 1 + 3

// UsageView is how far usage has been told to the back office.
type UsageView struct {
	Counted      bool            // usage is counted at all
	Last         uint64          // number of the newest record
	Acknowledged uint64          // up to this number the back office has them
	Oldest       uint64          // number of the oldest one kept; none where it is above Last
	Waiting      int             // kept and not acknowledged
	Since        capability.Time // from then on the back office knows nothing
	Detailed     bool            // users are told apart
	Full         bool            // no room is left: the running period is longer than a day
}

// Usage says so.
func (l *Ledger) Usage() UsageView {
	v := UsageView{Counted: l.usage.from != 0, Last: l.usage.last, Acknowledged: l.acknowledged(), Oldest: l.oldest(), Waiting: l.waitingRecords(), Detailed: l.usage.users != nil}
	v.Since, v.Full = l.usage.from, l.usage.from != 0 && l.now.Wall-l.usage.from > daySeconds && v.Waiting > 0
	if v.Waiting > 0 {
		if u, err := l.codec.DecodeUsage(l.usage.kept[len(l.usage.kept)-v.Waiting].body); err == nil {
			v.Since = u.From
		}
	}
	return v
}

// The running period in a snapshot: first what is in its header, then each tally that is not as it began, then the records.
type usagePart struct {
	From  capability.Time     `cbor:"1,keyasint,omitzero"`
	Last  uint64              `cbor:"2,keyasint,omitzero"`
	Kept  uint64              `cbor:"3,keyasint,omitzero"`
	Open  uint64              `cbor:"4,keyasint,omitzero"`
	Other []capability.Denied `cbor:"5,keyasint,omitempty"`
}

type tallyPart struct {
	Item    capability.ItemID   `cbor:"1,keyasint"`
	User    string              `cbor:"2,keyasint,omitzero"`
	Peak    uint64              `cbor:"3,keyasint,omitzero"`
	Served  uint64              `cbor:"4,keyasint,omitzero"`
	Seconds uint64              `cbor:"5,keyasint,omitzero"`
	Denials []capability.Denied `cbor:"6,keyasint,omitempty"`
}

type recordPart struct {
	Body []byte `cbor:"1,keyasint,omitempty"`
}

// tallyParts are the tallies that are not as a period begins; of users, all of them. Seconds are counted up to now.
func (l *Ledger) tallyParts() (out []tallyPart) {
	if l.usage.from == 0 {
		return nil
	}
	add := func(k userOf, used, began uint64, t *sum) {
		p := tallyPart{k.item, k.user, t.peak, t.served, t.until(used, l.now.Lease), t.denials}
		if k.user != "" || p.Peak != began || p.Served > 0 || p.Seconds > 0 || len(p.Denials) > 0 {
			out = append(out, p)
		}
	}
	for _, it := range l.items {
		add(userOf{item: it.ID()}, it.leased(), it.taken(), &it.tally)
	}
	for i := range l.usage.gone {
		add(userOf{item: l.usage.gone[i].id}, 0, 0, &l.usage.gone[i].tally)
	}
	for k, t := range l.usage.users {
		used := l.usedBy(k)
		if it := l.find(k.item); it != nil && it.Metered {
			used = 0
		}
		add(k, used, 0, t)
	}
	slices.SortFunc(out, compareTallies)
	return out
}

func compareTallies(a, b tallyPart) int {
	return compareUsers(userOf{a.User, a.Item}, userOf{b.User, b.Item})
}

// restoreUsage reads what the header, and next, say of it. The items and rows are there.
func (l *Ledger) restoreUsage(h usagePart, next func(any) error) error {
	l.usage.from, l.usage.last, l.usage.other = h.From, h.Last, h.Other
	if h.From == 0 && (h.Open > 0 || h.Kept > 0 || h.Last > 0) || h.Kept > min(RecordsKept, h.Last) {
		return corrupt("%d records of %d since %s, %d tallies", h.Kept, h.Last, h.From, h.Open)
	}
	if h.From != 0 {
		for _, it := range l.items {
			it.tally = periodOf(it.taken(), l.moment)
		}
	}
	if l.detailed() {
		l.usage.users = map[userOf]*sum{}
	}
	var before tallyPart
	for i := range h.Open {
		var p tallyPart
		if err := next(&p); err != nil {
			return err
		}
		if i > 0 && compareTallies(before, p) >= 0 {
			return corrupt("the tally of %s is out of order", p.Item)
		}
		before = p
		t := sum{peak: p.Peak, served: p.Served, seconds: p.Seconds, denials: p.Denials, at: l.moment}
		switch it := l.find(p.Item); {
		case p.User != "" && l.usage.users == nil:
			return corrupt("a tally of %q, and users are not told apart", p.User)
		case p.User != "":
			l.usage.users[userOf{p.User, p.Item}] = &t
		case it != nil:
			it.tally = t
		default:
			l.usage.gone = append(l.usage.gone, goneTally{p.Item, t})
		}
	}
	for range h.Kept {
		var p recordPart
		if err := next(&p); err != nil {
			return err
		}
		u, err := l.codec.DecodeUsage(p.Body)
		if err != nil {
			return corrupt("record: %w", err)
		}
		l.usage.kept = append(l.usage.kept, kept{u.Until, p.Body})
	}
	return nil
}

// checkUsage: records follow each other, users are told apart only where both allow it, and no tally is behind what is in use.
func (l *Ledger) checkUsage() error {
	u := &l.usage
	if u.from == 0 {
		if u.last > 0 || len(u.kept)+len(u.gone)+len(u.other) > 0 || u.users != nil {
			return corrupt("%d records, and nothing is counted", u.last)
		}
		return nil
	}
	if u.from > l.now.Wall || uint64(len(u.kept)) > u.last || len(u.kept) > RecordsKept || len(u.users) > maxDetailed || l.detailed() != (u.users != nil) || l.moment != l.now.Lease {
		return corrupt("%d of %d records, %d users since %s, at %d", len(u.kept), u.last, len(u.users), u.from, l.moment)
	}
	var until capability.Time
	for _, k := range u.kept {
		if k.until < until || k.until > u.from {
			return corrupt("a record until %s after one until %s, and the period began %s", k.until, until, u.from)
		}
		until = k.until
	}
	for _, it := range l.items {
		if t := &it.tally; t.peak < min(it.taken(), capability.MaxUsed) || t.at > l.now.Lease || t.change != 0 {
			return corrupt("%d of %s are in use, and the most was %d", it.taken(), it.ID(), t.peak)
		}
	}
	for i, g := range u.gone {
		if l.find(g.id) != nil || i > 0 && compareItems(u.gone[i-1].id, g.id) >= 0 {
			return corrupt("%s is gone, and is here", g.id)
		}
	}
	return nil
}
