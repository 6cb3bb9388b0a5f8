package entitlement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// What may be done with a line item only so often is counted with it: re-hosts, returns, repairs, and activations beyond what was entitled. A model says how often, for good or in a span of
// time. A limit is of the item, however many machines have copies of it; what was split off has been used as often as what it came from.

// Act is something that is counted.
type Act uint8

const (
	ActRehost Act = 1 // all that one machine has of the item went to another one
	ActReturn Act = 2 // a machine gave copies back
	ActRepair Act = 3 // a machine that has copies begins a new trusted storage
	ActExtra  Act = 4 // a copy more than entitled, on the producer's word
)

func (a Act) String() string {
	if names := [...]string{"", "rehost", "return", "repair", "extra"}; a > 0 && int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("act %d", uint8(a))
}

// MarshalText makes JSON show the name.
func (a Act) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAct.
func (a *Act) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAct(string(b))
	return err
}

// ParseAct reads a name.
func ParseAct(text string) (Act, error) {
	for a := ActRehost; a <= ActExtra; a++ {
		if text == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q is not counted: want rehost, return, repair or extra", text)
}

// The bounds of limits. Of each act in a span the time is kept.
const (
	MaxInSpan                    = 500
	MinSpan   capability.Seconds = 60 * 60
)

// ActLimit is how often something may be done with one line item. Without a limit a model allows everything as often as anyone likes, but for what is extra: of that nothing.
type ActLimit struct {
	Act   Act                `cbor:"1,keyasint,omitzero" json:"act"`
	Count uint32             `cbor:"2,keyasint,omitzero" json:"count"`
	Span  capability.Seconds `cbor:"3,keyasint,omitzero" json:"span,omitempty"` // in any span of this length; zero: in all
}

// ParseActLimit reads ACT:COUNT or ACT:COUNT:TIME, as return:4:365d.
func ParseActLimit(s string) (ActLimit, error) {
	part := strings.Split(s, ":")
	if len(part) < 2 || len(part) > 3 {
		return ActLimit{}, fmt.Errorf("%q is no limit: want ACT:COUNT or ACT:COUNT:TIME, as return:4:365d", s)
	}
	act, err := ParseAct(part[0])
	if err != nil {
		return ActLimit{}, err
	}
	n, err := strconv.ParseUint(part[1], 10, 32)
	if err != nil {
		return ActLimit{}, fmt.Errorf("%q is not a number of times", part[1])
	}
	l := ActLimit{Act: act, Count: uint32(n)}
	if len(part) == 3 {
		if l.Span, err = parseLife(part[2]); err != nil {
			return ActLimit{}, err
		}
	}
	return l, l.validate()
}

// String is the form that ParseActLimit reads.
func (l ActLimit) String() string {
	s := fmt.Sprintf("%s:%d", l.Act, l.Count)
	switch {
	case l.Span%day == 0 && l.Span > 0:
		s += fmt.Sprintf(":%dd", l.Span/day)
	case l.Span > 0:
		s += ":" + l.Span.String()
	}
	return s
}

func (l ActLimit) validate() error {
	switch {
	case l.Act < ActRehost || l.Act > ActExtra:
		return fmt.Errorf("%s is not counted", l.Act)
	case l.Count > capability.MaxCount || l.Span > 0 && l.Count > MaxInSpan:
		return fmt.Errorf("%s %d times: up to %d, and in a span of time up to %d, are allowed", l.Act, l.Count, capability.MaxCount, MaxInSpan)
	case l.Span != 0 && (l.Span < MinSpan || l.Span > capability.MaxInterval):
		return fmt.Errorf("%s in a span of %s: %s to %s are allowed", l.Act, l.Span, MinSpan, capability.MaxInterval)
	}
	return nil
}

func validateActLimits(list []ActLimit) error {
	for n, l := range list {
		if err := l.validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(list[:n], func(o ActLimit) bool { return o.Act == l.Act }) {
			return fmt.Errorf("the limit of %s is there twice", l.Act)
		}
	}
	return nil
}

// Acts is how often something was done with a line item.
type Acts struct {
	Act   Act               `cbor:"1,keyasint,omitzero" json:"act"`
	Total uint32            `cbor:"2,keyasint,omitzero" json:"total"`
	Times []capability.Time `cbor:"3,keyasint,omitempty" json:"times,omitempty"` // of the last ones, where a span is limited
}

// actsRecord is what was done with an item, in a snapshot.
type actsRecord struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero"`
	Acts         []Acts                  `cbor:"2,keyasint,omitempty"` // by act
}

// actsOf is what was done of one kind; nil: nothing.
func (i *item) actsOf(a Act) *Acts {
	if at := slices.IndexFunc(i.acts(), func(x Acts) bool { return x.Act == a }); at >= 0 {
		return &i.ties.acts[at]
	}
	return nil
}

// limitOf is the limit of an act with an item, and whether there is one.
func (b *Book) limitOf(i *item, a Act) (ActLimit, bool) {
	m := b.modelOf(i)
	if at := slices.IndexFunc(m.Limits, func(l ActLimit) bool { return l.Act == a }); at >= 0 {
		return m.Limits[at], true
	}
	return ActLimit{Act: a}, a == ActExtra
}

// spent says why something may not be done n times more with an item at the moment now, or nil: how often it was done, how often it may, and from when it may again.
func (b *Book) spent(i *item, a Act, n uint32, now capability.Time) *capability.Refusal {
	i = b.target(i)
	limit, limited := b.limitOf(i, a)
	if !limited || n == 0 {
		return nil
	}
	used, again := uint32(0), capability.Time(0)
	if done := i.actsOf(a); done != nil && limit.Span == 0 {
		used = done.Total
	} else if done != nil {
		recent := recent(done.Times, now, limit.Span)
		used = uint32(len(recent))
		if over := int64(used) + int64(n) - int64(limit.Count); over > 0 && over <= int64(len(recent)) {
			again = recent[over-1].Add(limit.Span)
		}
	}
	if uint64(used)+uint64(n) <= uint64(limit.Count) {
		return nil
	}
	no := capability.Refuse(capability.ErrSpent, string(i.ActivationID), "%s: %d of %d done, %d remain", limit.Act, used, limit.Count, limit.Count-min(used, limit.Count))
	if limit.Span > 0 {
		no.Detail += " in " + limit.Span.String()
	}
	no.Until = again
	return no
}

// recent are the times that still count at now.
func recent(times []capability.Time, now capability.Time, span capability.Seconds) []capability.Time {
	at := slices.IndexFunc(times, func(t capability.Time) bool { return now < t.Add(span) })
	if at < 0 {
		return nil
	}
	return times[at:]
}

// count keeps that something was done n times with an item, or with what it was merged into.
func (b *Book) count(i *item, a Act, n uint32, now capability.Time) {
	i = b.target(i)
	times := []capability.Time(nil)
	if limit, _ := b.limitOf(i, a); limit.Span > 0 {
		times = slices.Repeat([]capability.Time{now}, int(min(n, MaxInSpan)))
		if done := i.actsOf(a); done != nil {
			done.Times = recent(done.Times, now, limit.Span)
		}
	}
	i.tie().did(Acts{a, n, times})
}

// did adds to what was done.
func (t *ties) did(more Acts) {
	at, ok := slices.BinarySearchFunc(t.acts, more.Act, func(x Acts, a Act) int { return int(x.Act) - int(a) })
	if !ok {
		t.acts = slices.Insert(t.acts, at, Acts{Act: more.Act})
	}
	done := &t.acts[at]
	done.Total = uint32(min(uint64(done.Total)+uint64(more.Total), capability.MaxCount))
	times := slices.Concat(done.Times, more.Times)
	slices.Sort(times)
	done.Times = times[max(0, len(times)-MaxInSpan):]
}

func (i *item) checkActs() error {
	for n, a := range i.acts() {
		if a.Act < ActRehost || a.Act > ActExtra || n > 0 && i.ties.acts[n-1].Act >= a.Act || a.Total == 0 || len(a.Times) > MaxInSpan || !slices.IsSorted(a.Times) {
			return fmt.Errorf("%s was done %d times, the times of %d are known, or it is not in order", a.Act, a.Total, len(a.Times))
		}
	}
	return nil
}
