// Package history says what the entries of a ledger tell of the time gone by: what was in use at each moment, what was refused and why, and what would have been refused with another count.
//
// It follows the entries one by one, in their order, and decides nothing: New, History.Add, and then the questions of report.go. All of it is exact, for the entries say who held what until when. Answers come
// from a log of changes, five bytes each, by feature and day; renewals, which most entries are, change nothing in it. Of days whose changes were let go of the sums stay.
//
// A history may begin in the middle of a trail. What was held before then is not known until its device is heard of again.
package history

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// History is what is known. The zero value is not usable; New makes one. It is owned by one goroutine.
type History struct {
	first    uint64 // position of the first entry
	since    capability.Time
	now      ledger.Now
	features map[string]*feature
	items    map[capability.ItemID]capability.LineItem
	holders  map[holderKey]*holder
	ends     ends
	people   people
	off      []Gap
	bytes    int                      // of the changes that are kept
	detailed capability.Time          // of days before this one the sums are left
	uses     map[name]capability.Time // when who used what last
}

// New knows nothing yet.
func New() *History {
	return &History{
		features: map[string]*feature{}, items: map[capability.ItemID]capability.LineItem{}, holders: map[holderKey]*holder{}, people: people{}, uses: map[name]capability.Time{},
	}
}

// Gap is a time in which the appliance was off, or did not know what time it was: nothing is counted as in use.
type Gap struct{ From, Until capability.Time }

// leastGap is what the two clocks may differ by from one entry to the next without anybody having been off: they are read in whole seconds.
const leastGap = 60

// other is where refusals of features go that no item has: the name is whoever asked's, and is nobody's to repeat.
const other = ""

// MaxBytes is how many bytes of changes are kept; with more the oldest days keep their sums only. Changes of one lease take about ten.
const MaxBytes = 64 << 20

// Names are whatever clients claim, and may be another one each time: so many are told apart. Those that come after are one.
const (
	maxPeople = 200_000
	maxUses   = 100_000 // of which the last time is known
)

// holderKey is a device as the ledger tells devices apart.
type holderKey struct {
	host hostid.ID
	key  capability.Digest
}

type holder struct {
	key    holderKey
	number uint32 // of its host ID among the people
	leases []lease
	heard  capability.Seconds // on the lease clock
	turn   int                // of its place among the ends
}

type lease struct {
	feature *feature
	count   uint64
	end     capability.Seconds
}

// Add follows one more entry.
func (h *History) Add(e *ledger.Entry) {
	if h.first == 0 {
		h.first, h.since, h.now = e.Position, e.Now.Wall, e.Now
	}
	h.pass(e.Now)
	h.advance(e.Now)
	switch {
	case e.Provisioned != nil:
		clear(h.items)
		for _, i := range e.Provisioned.Response.Items {
			h.items[i.ID()] = i
		}
		h.entitle()
	case e.Returned != nil:
		h.giveBack(e.Returned.Return)
		h.entitle()
	case e.Served != nil:
		h.serve(e.Served)
	}
	if h.bytes > MaxBytes {
		h.trim(MaxBytes * 9 / 10)
	}
}

// Since is when the history begins; zero: nothing was added.
func (h *History) Since() capability.Time { return h.since }

// Complete says that it begins with the first entry of the trail.
func (h *History) Complete() bool { return h.first == 1 }

// Now is the time of the last entry.
func (h *History) Now() capability.Time { return h.now.Wall }

// Pass lets time go on without an entry, to the present moment.
func (h *History) Pass(now ledger.Now) {
	if h.first > 0 && now.Lease >= h.now.Lease && now.Wall >= h.now.Wall {
		h.pass(now)
		h.advance(now)
	}
}

// pass notes that the appliance was off between two entries. The time off comes first: what happened after it happened by the lease clock.
func (h *History) pass(now ledger.Now) {
	if off := now.Wall - h.now.Wall - capability.Time(now.Lease-h.now.Lease); off >= leastGap {
		h.off = append(h.off, Gap{h.now.Wall, h.now.Wall + off})
	}
}

// advance ends what was due up to now, each lease at its own moment.
func (h *History) advance(now ledger.Now) {
	for len(h.ends) > 0 && h.ends[0].at <= now.Lease {
		e := heap.Pop(&h.ends).(end)
		if e.turn == e.holder.turn {
			h.hold(e.holder, max(h.now.Wall, now.Wall-capability.Time(now.Lease-e.at)), func(l lease) bool { return l.end > e.at })
		}
	}
	h.now = now
}

// hold leaves a holder the leases that stay, and gives it the others.
func (h *History) hold(who *holder, at capability.Time, stays func(lease) bool, more ...lease) {
	kept := make([]lease, 0, len(who.leases)+len(more))
	for _, l := range who.leases {
		if stays(l) {
			kept = append(kept, l)
		}
	}
	kept = append(kept, more...)
	h.change(who, at, kept)
	who.leases = kept
	who.turn++
	if len(kept) == 0 {
		delete(h.holders, who.key)
		return
	}
	heap.Push(&h.ends, end{soonest(kept), who, who.turn})
}

// change logs of which features a holder has more or less from now on.
func (h *History) change(who *holder, at capability.Time, leases []lease) {
	for i, l := range who.leases {
		if slices.ContainsFunc(who.leases[:i], func(o lease) bool { return o.feature == l.feature }) {
			continue
		}
		h.log(l.feature, at, who.number, int64(sumOf(leases, l.feature))-int64(sumOf(who.leases, l.feature)))
	}
	for i, l := range leases {
		same := func(o lease) bool { return o.feature == l.feature }
		if !slices.ContainsFunc(leases[:i], same) && !slices.ContainsFunc(who.leases, same) {
			h.log(l.feature, at, who.number, int64(sumOf(leases, l.feature)))
		}
	}
}

func (h *History) log(f *feature, at capability.Time, who uint32, change int64) {
	if change != 0 {
		h.bytes += f.change(h, at, who, change)
	}
}

func sumOf(leases []lease, f *feature) (sum uint64) {
	for _, l := range leases {
		if l.feature == f {
			sum += l.count
		}
	}
	return sum
}

func soonest(leases []lease) capability.Seconds {
	next := capability.Seconds(math.MaxInt64)
	for _, l := range leases {
		next = min(next, l.end)
	}
	return next
}

// serve gives a device the leases that an entry says it has. What is metered is used up, and not held.
func (h *History) serve(s *ledger.Served) {
	key := holderKey{s.Answer.For, s.Answer.Key}
	device := s.Answer.For.String()
	who := h.holders[key]
	if who == nil {
		who = &holder{key: key, number: h.people.number(device), heard: h.now.Lease}
		h.holders[key] = who
	}
	if idle := min(s.Idle, h.now.Lease-who.heard); idle > 0 {
		for i, l := range who.leases {
			if !slices.ContainsFunc(who.leases[:i], func(o lease) bool { return o.feature == l.feature }) {
				h.bytes += l.feature.idle(h, h.now.Wall, sumOf(who.leases, l.feature)*uint64(idle))
			}
		}
	}
	who.heard = h.now.Lease
	var leases []lease
	for _, l := range s.Leases {
		if !l.Endless() {
			leases = append(leases, lease{h.feature(l.Item.Feature), uint64(l.Count), l.End})
		}
		h.use(device, l.Item.Feature)
		if s.Who.User != "" {
			h.use(s.Who.User, l.Item.Feature)
		}
	}
	h.hold(who, h.now.Wall, func(lease) bool { return false }, leases...)
	for i := range s.Answer.Lines {
		if line := &s.Answer.Lines[i]; line.Status == capability.LineInsufficient && line.Denial.Code != 0 {
			subject := line.Denial.Subject
			if h.features[subject] == nil {
				subject = other
			}
			f := h.feature(subject)
			h.bytes += f.refuse(h, h.now.Wall, who.number, h.people.number(cmp.Or(s.Who.User, s.Who.Alias, device)), max(1, line.Denial.Asked), line.Denial.Code)
		}
	}
}

func (h *History) use(who, feature string) {
	u := nameOf(who, feature)
	if _, known := h.uses[u]; known || len(h.uses) < maxUses {
		h.uses[u] = h.now.Wall
	}
}

// LastUse is when a feature was last served to a user by name, or to a device by its host ID in words; zero: not that it is known of.
func (h *History) LastUse(who, feature string) capability.Time { return h.uses[nameOf(who, feature)] }

// Crowded says that more people and devices were heard of than are told apart: there may have been more of them than is said.
func (h *History) Crowded() bool { return len(h.people) > maxPeople }

func (h *History) feature(name string) *feature {
	f := h.features[name]
	if f == nil {
		f = &feature{name: name}
		h.features[name] = f
	}
	return f
}

// giveBack takes copies off an item, as a return does.
func (h *History) giveBack(r capability.Return) {
	for id, i := range h.items {
		if id.ActivationID != r.ActivationID || i.Copies == 0 {
			continue
		}
		i.Count -= i.Count / i.Copies * min(r.Copies, i.Copies)
		i.Copies -= min(r.Copies, i.Copies)
		h.items[id] = i
	}
}

// entitle notes what every feature has from now on.
func (h *History) entitle() {
	now := map[string][]span{}
	for _, i := range h.items {
		if !i.Metered && i.Copies > 0 {
			now[i.Feature] = append(now[i.Feature], span{uint64(i.Count), uint64(i.Overdraft), i.Start, i.Expiry, i.Uncounted})
		}
		h.feature(i.Feature)
	}
	for name, f := range h.features {
		list := now[name]
		slices.SortFunc(list, span.compare)
		if last := len(f.steps) - 1; last >= 0 && slices.Equal(f.steps[last].spans, list) || last < 0 && len(list) == 0 {
			continue
		}
		f.steps = append(f.steps, step{h.now.Wall, list})
	}
}

// name is the digest of what somebody or something is called: names are long, and nobody asks for them back.
type name [16]byte

func nameOf(parts ...string) name {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return name(h.Sum(nil)[:len(name{})])
}

// people are names by number: a change names its holder in two bytes.
type people map[name]uint32

// number is a name's. All that come when there are too many have one.
func (p people) number(text string) uint32 {
	who := nameOf(text)
	n, known := p[who]
	if known {
		return n
	}
	if len(p) >= maxPeople {
		who = name{}
	}
	if n, known = p[who]; !known {
		n = uint32(len(p))
		p[who] = n
	}
	return n
}

// ends are the holders by the end of their first lease. A holder that was heard of since has another place, and its turn says so.
type ends []end

type end struct {
	at     capability.Seconds
	holder *holder
	turn   int
}

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}
