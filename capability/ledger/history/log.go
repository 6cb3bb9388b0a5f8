package history

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// feature is what is known of one feature: what it had, and its days with anything in use or refused, the oldest first.
type feature struct {
	name  string
	steps []step
	days  []*day
	used  uint64 // now
	// before is who had what when the changes that are kept begin.
	before map[uint32]uint64
}

// step is what a feature has from a moment on.
type step struct {
	from  capability.Time
	spans []span
}

// span is one line item, in its dates.
type span struct {
	count, overdraft uint64
	start, expiry    capability.Time
	uncounted        bool
}

func (s span) compare(o span) int {
	return cmp.Or(cmp.Compare(s.count, o.count), cmp.Compare(s.overdraft, o.overdraft), cmp.Compare(s.start, o.start), cmp.Compare(s.expiry, o.expiry))
}

// Entitled is what a feature may have in use at a moment.
type Entitled struct {
	Count     uint64
	Overdraft uint64 // more than that
	Uncounted bool
}

func (f *feature) entitled(at capability.Time) (e Entitled) {
	n, found := slices.BinarySearchFunc(f.steps, at, func(s step, at capability.Time) int { return cmp.Compare(s.from, at) })
	if found {
		n++
	}
	if n == 0 {
		return e
	}
	for _, s := range f.steps[n-1].spans {
		if s.start <= at && (s.expiry == 0 || at < s.expiry) {
			e.Count, e.Overdraft, e.Uncounted = e.Count+s.count, e.Overdraft+s.overdraft, e.Uncounted || s.uncounted
		}
	}
	return e
}

const daySeconds capability.Time = 24 * 60 * 60

// day is a day in UTC with something in use or refused.
type day struct {
	from    capability.Time
	began   uint64 // in use when it began
	changes []byte // nil once they were let go of
	last    capability.Time
	used    uint64 // after the last change
	sums
}

// sums are what is counted of a time.
type sums struct {
	peak, seconds, served, idle uint64
	denied                      []denied
}

// denied is what was refused with one code.
type denied struct {
	code   capability.Code
	lines  uint64
	people []uint32 // in order; each once
}

// The kinds of changes, in the lowest bits of the first number of each, whose others are the seconds since the one before.
const (
	more     = iota // holder, units
	less            // holder, units
	refused         // holder, who asked, units, code
	idled           // seconds times units
	kindBits = 2
)

// one is a change as it is read.
type one struct {
	at    capability.Time
	kind  int
	who   uint32
	asker uint32
	units uint64
	code  capability.Code
}

// day is the one of a moment. Days on which nothing changed are left out.
func (f *feature) day(h *History, at capability.Time) *day {
	from := at - at%daySeconds
	if n := len(f.days); n > 0 {
		last := f.days[n-1]
		if last.from == from {
			return last
		}
		h.close(last, f.used)
	}
	d := &day{from: from, began: f.used, last: from, used: f.used, changes: []byte{}}
	d.peak = f.used
	f.days = append(f.days, d)
	return d
}

// close counts the seconds of use up to the end of a day.
func (h *History) close(d *day, used uint64) {
	d.seconds += used * uint64(h.on(d.last, d.from+daySeconds))
	d.last = d.from + daySeconds
}

// on is how many seconds of a time the appliance was on.
func (h *History) on(from, until capability.Time) capability.Time {
	seconds := until - from
	n, _ := slices.BinarySearchFunc(h.off, from, func(g Gap, at capability.Time) int { return cmp.Compare(g.Until, at) })
	for _, g := range h.off[n:] {
		if g.From >= until {
			break
		}
		seconds -= max(0, min(g.Until, until)-max(g.From, from))
	}
	return seconds
}

// put writes a change to its day, and gives how many bytes that took.
func (f *feature) put(h *History, at capability.Time, kind int, numbers ...uint64) (*day, int) {
	d := f.day(h, at)
	before := len(d.changes)
	if at > d.last {
		d.seconds += f.used * uint64(h.on(d.last, at))
	}
	d.changes = binary.AppendUvarint(d.changes, uint64(max(0, at-d.last))<<kindBits|uint64(kind))
	d.last = max(d.last, at)
	for _, n := range numbers {
		d.changes = binary.AppendUvarint(d.changes, n)
	}
	return d, len(d.changes) - before
}

func (f *feature) change(h *History, at capability.Time, who uint32, change int64) int {
	kind, units := more, uint64(change)
	if change < 0 {
		kind, units = less, uint64(-change)
	}
	d, n := f.put(h, at, kind, uint64(who), units)
	if f.used += uint64(change); kind == more {
		d.served += units
		d.peak = max(d.peak, f.used)
	}
	d.used = f.used
	return n
}

func (f *feature) refuse(h *History, at capability.Time, who, asker, units uint32, code capability.Code) int {
	d, n := f.put(h, at, refused, uint64(who), uint64(asker), uint64(units), uint64(code))
	d.deny(code, asker)
	return n
}

func (f *feature) idle(h *History, at capability.Time, seconds uint64) int {
	d, n := f.put(h, at, idled, seconds)
	d.idle += seconds
	return n
}

func (s *sums) deny(code capability.Code, who uint32) {
	at, here := slices.BinarySearchFunc(s.denied, code, func(d denied, c capability.Code) int { return cmp.Compare(d.code, c) })
	if !here {
		s.denied = slices.Insert(s.denied, at, denied{code: code})
	}
	d := &s.denied[at]
	d.lines++
	if at, known := slices.BinarySearch(d.people, who); !known {
		d.people = slices.Insert(d.people, at, who)
	}
}

// add puts the sums of a later time behind these.
func (s *sums) add(o *sums) {
	s.peak = max(s.peak, o.peak)
	s.seconds, s.served, s.idle = s.seconds+o.seconds, s.served+o.served, s.idle+o.idle
	for _, d := range o.denied {
		at, here := slices.BinarySearchFunc(s.denied, d.code, func(d denied, c capability.Code) int { return cmp.Compare(d.code, c) })
		if !here {
			s.denied = slices.Insert(s.denied, at, denied{code: d.code})
		}
		mine := &s.denied[at]
		mine.lines += d.lines
		mine.people = slices.Compact(slices.Sorted(slices.Values(slices.Concat(mine.people, d.people))))
	}
}

// read gives the changes of a day to f, in order.
func (d *day) read(f func(one)) {
	at := d.from
	for b := d.changes; len(b) > 0; {
		next := func() uint64 {
			n, size := binary.Uvarint(b)
			b = b[size:] // this package wrote it
			return n
		}
		first := next()
		at += capability.Time(first >> kindBits)
		c := one{at: at, kind: int(first & (1<<kindBits - 1))}
		switch c.kind {
		case more, less:
			c.who, c.units = uint32(next()), next()
		case refused:
			c.who, c.asker, c.units, c.code = uint32(next()), uint32(next()), next(), capability.Code(next())
		case idled:
			c.units = next()
		}
		f(c)
	}
}

// trim lets go of the changes of the oldest days until so many bytes are left. Their sums stay, and who had what after them.
func (h *History) trim(bytes int) {
	for h.bytes > bytes {
		oldest := capability.Time(0)
		for _, f := range h.features {
			for _, d := range f.days {
				if d.changes != nil && (oldest == 0 || d.from < oldest) {
					oldest = d.from
				}
				if d.changes != nil {
					break
				}
			}
		}
		if oldest == 0 || oldest == h.now.Wall-h.now.Wall%daySeconds {
			return
		}
		for _, f := range h.features {
			for _, d := range f.days {
				if d.changes != nil && d.from == oldest {
					f.fold(d)
					h.bytes -= len(d.changes)
					d.changes = nil
				}
			}
		}
		h.detailed = oldest + daySeconds
	}
}

// fold keeps who has what after a day whose changes are let go of.
func (f *feature) fold(d *day) {
	if f.before == nil {
		f.before = map[uint32]uint64{}
	}
	d.read(func(c one) {
		switch c.kind {
		case more:
			f.before[c.who] += c.units
		case less:
			if f.before[c.who] -= c.units; f.before[c.who] == 0 {
				delete(f.before, c.who)
			}
		}
	})
}
