package history

import (
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Step is how long a bucket is.
type Step uint8

// The steps: as clocks and calendars have them, in the zone that is asked for.
const (
	Hour Step = iota
	Day
	Month
)

func (s Step) String() string { return [...]string{"hour", "day", "month"}[s] }

// ParseStep reads hour, day or month.
func ParseStep(text string) (s Step, ok bool) {
	for s := Hour; s <= Month; s++ {
		if s.String() == text {
			return s, true
		}
	}
	return 0, false
}

// next is the end of the bucket that a moment is in.
func (s Step) next(at capability.Time, zone capability.Seconds) capability.Time {
	local := at.Add(zone)
	switch s {
	case Hour:
		local += 60*60 - local%(60*60)
	case Day:
		local += daySeconds - local%daySeconds
	case Month:
		t := local.Std()
		local = capability.At(time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC))
	}
	return local.Add(-zone)
}

// Query is a feature and a time. An empty name is of what was refused of features that are not here.
type Query struct {
	Feature     string
	From, Until capability.Time // the first second, and the first that is not asked about any more
}

// Bucket is what was counted of a feature in a part of the time.
type Bucket struct {
	From, Until capability.Time
	Peak        uint64   // most units in use at one moment
	Seconds     uint64   // units in use, times the seconds that they were
	Served      uint64   // units that devices got and did not have before
	Idle        uint64   // seconds that devices held a unit and said that nobody used it
	On          uint64   // seconds that the appliance was on, as far as the history goes
	Entitled    Entitled // at the end of it
	Denials     []Denial
}

// Denial is what was refused for one reason. People are users by name, devices where no name was given.
type Denial struct {
	Code   capability.Code
	Lines  uint64
	People int
}

func (s *sums) denials() (out []Denial) {
	for _, d := range s.denied {
		out = append(out, Denial{d.code, d.lines, len(d.people)})
	}
	return out
}

// Features are the names of all features that are known of, in order.
func (h *History) Features() (names []string) {
	for name := range h.features {
		if name != other {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Detailed is the first moment whose changes are known; of days before it the sums are, in UTC.
func (h *History) Detailed() capability.Time { return max(h.since, h.detailed) }

// clip leaves of the time asked about what is known of: what happened in the present second, too, but nothing is in use for longer than until it began.
func (h *History) clip(q Query, from capability.Time) Query {
	q.From, q.Until = max(q.From, from), min(q.Until, h.now.Wall+1)
	return q
}

// Usage sums up the time asked about in buckets. Of days whose changes were let go of there are whole days in UTC only: they are left out where other buckets are asked for.
func (h *History) Usage(q Query, by Step, zone capability.Seconds) (out []Bucket) {
	f := h.features[q.Feature]
	if f == nil {
		f = &feature{}
	}
	wholeDays := by == Day && zone%capability.Seconds(daySeconds) == 0
	from := h.Detailed()
	if wholeDays {
		from = h.since
	}
	q = h.clip(q, from)
	if q.From >= q.Until {
		return nil
	}
	for at := q.From; at < q.Until; {
		end := min(by.next(at, zone), q.Until)
		out = append(out, Bucket{From: at, Until: end, On: uint64(h.on(at, min(end, h.now.Wall))), Entitled: f.entitled(end - 1)})
		at = end
	}
	all := make([]sums, len(out))
	b := 0
	in := func(at capability.Time) *sums {
		for b < len(out)-1 && at >= out[b].Until {
			b++
		}
		return &all[b]
	}
	// A whole day that is over is its sums. Of one whose changes were let go of nothing else is left.
	summed := func(d *day) bool {
		return d.changes == nil || wholeDays && d != f.days[len(f.days)-1] && q.From <= d.from && d.from+daySeconds <= q.Until
	}
	for _, d := range f.days {
		if summed(d) && d.from < q.Until && d.from+daySeconds > q.From {
			in(d.from).add(&d.sums)
		}
	}
	b = 0
	h.walk(f, q, summed, func(from, until capability.Time, used uint64) {
		for from < until {
			s := in(from)
			end := min(until, out[b].Until)
			s.peak, s.seconds = max(s.peak, used), s.seconds+used*uint64(h.on(from, end))
			from = end
		}
	}, func(c one, used uint64) {
		s := in(c.at)
		switch c.kind {
		case more:
			s.served, s.peak = s.served+c.units, max(s.peak, used)
		case refused:
			s.deny(c.code, c.asker)
		case idled:
			s.idle += c.units
		}
	})
	for i := range out {
		s := &all[i]
		out[i].Peak, out[i].Seconds, out[i].Served, out[i].Idle, out[i].Denials = s.peak, s.seconds, s.served, s.idle, s.denials()
	}
	return out
}

// folded says that nothing but the sums of a day is left.
func folded(d *day) bool { return d.changes == nil }

// walk goes through the changes of a feature in a time, with what was in use between them and after each. Times with nothing in use are walked through too, days that are to be skipped are not.
func (h *History) walk(f *feature, q Query, skip func(*day) bool, between func(from, until capability.Time, used uint64), at func(c one, used uint64)) {
	used, last := uint64(0), q.From
	until := func(t capability.Time) {
		if t = min(t, q.Until, h.now.Wall); t > last {
			between(last, t, used)
			last = t
		}
	}
	for _, d := range f.days {
		if d.from >= q.Until {
			break
		}
		if skip(d) {
			until(d.from)
			used, last = d.used, max(last, min(d.from+daySeconds, q.Until))
			continue
		}
		if d.from+daySeconds <= q.From { // nothing of this day is asked about
			used = d.used
			continue
		}
		until(d.from)
		used = d.began
		d.read(func(c one) {
			if c.at >= q.Until {
				return
			}
			until(c.at)
			switch c.kind {
			case more:
				used += c.units
			case less:
				used -= c.units
			}
			if c.at >= q.From {
				at(c, used)
			}
		})
	}
	until(q.Until)
}

// Level is for how many seconds exactly so many units were in use.
type Level struct{ Units, Seconds uint64 }

// Levels are the seconds that the appliance was on, by what was in use then, the least first.
func (h *History) Levels(q Query) (out []Level) {
	f := h.features[q.Feature]
	if f == nil {
		return nil
	}
	seconds := map[uint64]uint64{}
	q = h.clip(q, h.Detailed())
	h.walk(f, q, folded, func(from, until capability.Time, used uint64) { seconds[used] += uint64(h.on(from, until)) }, func(one, uint64) {})
	for units, s := range seconds {
		if s > 0 {
			out = append(out, Level{units, s})
		}
	}
	slices.SortFunc(out, func(a, b Level) int { return int(int64(a.Units) - int64(b.Units)) })
	return out
}

// Week is an hour of each weekday, Monday first: the most in use, and how much on average.
type Week [7][24]struct{ Peak, Seconds, On uint64 }

// Used says that any unit was in use.
func (w *Week) Used() bool {
	for day := range w {
		for hour := range w[day] {
			if w[day][hour].Peak > 0 {
				return true
			}
		}
	}
	return false
}

// Week is what was in use by weekday and hour in a zone.
func (h *History) Week(q Query, zone capability.Seconds) (w Week) {
	for _, b := range h.Usage(q, Hour, zone) {
		local := b.From.Add(zone).Std()
		cell := &w[(int(local.Weekday())+6)%7][local.Hour()]
		cell.Peak, cell.Seconds, cell.On = max(cell.Peak, b.Peak), cell.Seconds+b.Seconds, cell.On+b.On
	}
	return w
}
